-- +goose Up
-- A connector that fails waits longer and longer between scheduled tries.
ALTER TABLE connector_states ADD COLUMN failures integer NOT NULL DEFAULT 0;
ALTER TABLE connector_states ADD COLUMN next_try_at datetime;
ALTER TABLE connector_states ADD COLUMN failing_since datetime;
ALTER TABLE connector_states ADD COLUMN failure text NOT NULL DEFAULT '';
ALTER TABLE connector_states ADD COLUMN paused boolean NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE connector_states DROP COLUMN paused;
ALTER TABLE connector_states DROP COLUMN failure;
ALTER TABLE connector_states DROP COLUMN failing_since;
ALTER TABLE connector_states DROP COLUMN next_try_at;
ALTER TABLE connector_states DROP COLUMN failures;
