-- +goose Up
-- A run of hundreds of thousands of changes is looked at kind by kind.
CREATE INDEX run_changes_kind ON run_changes (run_id, object, op, ord);

-- +goose Down
DROP INDEX run_changes_kind;
