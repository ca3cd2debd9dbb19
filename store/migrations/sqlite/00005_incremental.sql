-- +goose Up
-- The members that a group had when they last agreed with what its source states, in the form of its set hash: other
-- ones now mean that somebody changed them since.
ALTER TABLE groups ADD COLUMN settled_count integer;
ALTER TABLE groups ADD COLUMN settled_hash_hi integer;
ALTER TABLE groups ADD COLUMN settled_hash_lo integer;
CREATE INDEX users_unsettled ON users (source, seq) WHERE fingerprint IS NULL AND source_id <> '';
-- The run that moved the checkpoint: what it left undone is looked at again by the next.
ALTER TABLE connector_states ADD COLUMN checkpoint_run_id text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE connector_states DROP COLUMN checkpoint_run_id;
DROP INDEX users_unsettled;
ALTER TABLE groups DROP COLUMN settled_hash_lo;
ALTER TABLE groups DROP COLUMN settled_hash_hi;
ALTER TABLE groups DROP COLUMN settled_count;
