-- +goose Up
-- Records that an operator has to say the meaning of: one row for each record, whatever becomes of it.
CREATE TABLE conflicts (
    id          uuid PRIMARY KEY,
    connector   text NOT NULL,
    object      text NOT NULL,
    source_id   text NOT NULL,
    name        text NOT NULL,
    reason      text NOT NULL,
    candidates  jsonb NOT NULL,
    first_seen  timestamptz NOT NULL,
    last_seen   timestamptz NOT NULL,
    last_run_id text NOT NULL,
    status      text NOT NULL,
    decided_by  text NOT NULL DEFAULT '',
    decided_at  timestamptz,
    UNIQUE (connector, object, source_id)
);
CREATE INDEX conflicts_status ON conflicts (connector, status);
-- What the last full comparison went by, besides the records themselves: another value now wants another one.
ALTER TABLE connector_states ADD COLUMN compared_by text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE connector_states DROP COLUMN compared_by;
DROP TABLE conflicts;
