-- +goose Up
-- A connector that fails waits longer and longer between scheduled tries.
ALTER TABLE connector_states ADD COLUMN failures bigint NOT NULL DEFAULT 0, ADD COLUMN next_try_at timestamptz,
    ADD COLUMN failing_since timestamptz, ADD COLUMN failure text NOT NULL DEFAULT '', ADD COLUMN paused boolean NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE connector_states DROP COLUMN failures, DROP COLUMN next_try_at, DROP COLUMN failing_since, DROP COLUMN failure, DROP COLUMN paused;
