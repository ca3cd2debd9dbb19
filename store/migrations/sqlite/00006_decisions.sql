-- +goose Up
-- What became of removals that the guard held, and what tells the same removals held again.
ALTER TABLE runs ADD COLUMN held_hash text NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN decision text NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN decided_by text NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN decided_at datetime;
CREATE INDEX runs_connector ON runs (connector, id);
-- The guard counts what was taken away in a day.
CREATE INDEX run_changes_removals ON run_changes (run_id, object) WHERE op IN ('deactivate', 'delete', 'remove');

-- +goose Down
DROP INDEX run_changes_removals;
DROP INDEX runs_connector;
ALTER TABLE runs DROP COLUMN decided_at;
ALTER TABLE runs DROP COLUMN decided_by;
ALTER TABLE runs DROP COLUMN decision;
ALTER TABLE runs DROP COLUMN held_hash;
