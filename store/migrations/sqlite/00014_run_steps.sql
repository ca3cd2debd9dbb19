-- +goose Up
-- What a run of one person or group read and matched, step by step, as it went.
ALTER TABLE runs ADD COLUMN steps text NOT NULL DEFAULT '[]';

-- +goose Down
ALTER TABLE runs DROP COLUMN steps;
