-- +goose Up

-- A second factor for signing in: a time-based one-time password (RFC 6238). The secret is sealed with the database key; a set
-- otp_enabled_at says that the owner has proven to have it. otp_last_step is the newest time step whose code was used: no code works twice.
-- Of the recovery codes only keyed digests are kept.
ALTER TABLE users
    ADD COLUMN otp_secret           bytea,
    ADD COLUMN otp_enabled_at       timestamptz,
    ADD COLUMN otp_last_step        bigint NOT NULL DEFAULT 0,
    ADD COLUMN otp_failures         integer NOT NULL DEFAULT 0,
    ADD COLUMN otp_locked_until     timestamptz,
    ADD COLUMN otp_recovery_digests bytea[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT users_otp_check CHECK (otp_enabled_at IS NULL OR otp_secret IS NOT NULL);

-- When the owner of an SSH key last proved the second factor over it.
ALTER TABLE ssh_keys ADD COLUMN otp_verified_at timestamptz;

-- +goose Down
ALTER TABLE ssh_keys DROP COLUMN otp_verified_at;
ALTER TABLE users
    DROP COLUMN otp_secret, DROP COLUMN otp_enabled_at, DROP COLUMN otp_last_step, DROP COLUMN otp_failures, DROP COLUMN otp_locked_until,
    DROP COLUMN otp_recovery_digests;
