-- +goose Up
-- What groups give their members, as administrators or a configuration have it: a row for each role. A group is named by
-- its externalId, id or displayName, a team by its name, and both before there is one.
CREATE TABLE role_mappings (
    group_key text NOT NULL,
    group_ref text NOT NULL,
    team_key  text NOT NULL,
    team      text NOT NULL,
    role      text NOT NULL,
    PRIMARY KEY (group_key, team_key, role)
);
CREATE INDEX role_mappings_team ON role_mappings (team_key);
-- Its version, for everybody to go by the same mapping, and to wait while it changes.
INSERT INTO settings (name, value, version, changed_at, changed_by_kind, changed_by_id, changed_by_name)
VALUES ('role_mapping', '{}', 0, '1970-01-01 00:00:00.000000+00:00', '', '', '') ON CONFLICT (name) DO NOTHING;
-- A team that an administrator made stays when nothing is granted on it; its scope says what its roles are for.
ALTER TABLE teams ADD COLUMN kept boolean NOT NULL DEFAULT FALSE;
ALTER TABLE teams ADD COLUMN scope text NOT NULL DEFAULT '[]';
UPDATE teams SET kept = TRUE WHERE name_key = 'root';

-- +goose Down
ALTER TABLE teams DROP COLUMN scope;
ALTER TABLE teams DROP COLUMN kept;
DELETE FROM settings WHERE name = 'role_mapping';
DROP TABLE role_mappings;
