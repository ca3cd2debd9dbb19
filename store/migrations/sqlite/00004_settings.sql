-- +goose Up
-- What administrators decide while the program runs: a row for each setting, for every replica to read.
CREATE TABLE settings (
    name            text NOT NULL PRIMARY KEY,
    value           text NOT NULL,
    version         integer NOT NULL,
    changed_at      datetime NOT NULL,
    changed_by_kind text NOT NULL,
    changed_by_id   text NOT NULL,
    changed_by_name text NOT NULL
);

-- +goose Down
DROP TABLE settings;
