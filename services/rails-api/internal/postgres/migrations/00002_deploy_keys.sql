-- +goose Up

-- Deploy keys are SSH keys that open projects, not an account. user_id of one is who added it, for as long as that account exists.
ALTER TABLE ssh_keys
    ALTER COLUMN user_id DROP NOT NULL,
    ADD COLUMN kind text NOT NULL DEFAULT 'user',
    ADD CONSTRAINT ssh_keys_kind_check CHECK (kind IN ('user', 'deploy')),
    ADD CONSTRAINT ssh_keys_owner_check CHECK (kind = 'deploy' OR user_id IS NOT NULL);

CREATE TABLE deploy_keys_projects (
    key_id     bigint NOT NULL CONSTRAINT deploy_keys_projects_key_fkey REFERENCES ssh_keys ON DELETE CASCADE,
    project_id bigint NOT NULL CONSTRAINT deploy_keys_projects_project_fkey REFERENCES projects ON DELETE CASCADE,
    can_push   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT deploy_keys_projects_pkey PRIMARY KEY (key_id, project_id)
);
CREATE INDEX deploy_keys_projects_project_idx ON deploy_keys_projects (project_id);

-- +goose Down
DROP TABLE deploy_keys_projects;
DELETE FROM ssh_keys WHERE kind = 'deploy';
ALTER TABLE ssh_keys DROP COLUMN kind, ALTER COLUMN user_id SET NOT NULL;
