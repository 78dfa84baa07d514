-- +goose Up

-- The first branch of a project is protected, whatever its name: git takes up to 1024 bytes here.
ALTER TABLE protected_branches DROP CONSTRAINT protected_branches_name_length_check;
ALTER TABLE protected_branches ADD CONSTRAINT protected_branches_name_length_check CHECK (octet_length(name) BETWEEN 1 AND 1024);

-- +goose Down
DELETE FROM protected_branches WHERE octet_length(name) > 255;
ALTER TABLE protected_branches DROP CONSTRAINT protected_branches_name_length_check;
ALTER TABLE protected_branches ADD CONSTRAINT protected_branches_name_length_check CHECK (octet_length(name) BETWEEN 1 AND 255);
