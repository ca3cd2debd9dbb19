-- +goose Up
-- The past is told from the audit log: whose memberships an event tells of, what a group was called and gave, and
-- what teams were called.
CREATE INDEX audit_events_members ON audit_events USING gin (members jsonb_path_ops) WITH (fastupdate = off)
    WHERE type IN ('membership.added', 'membership.removed');
CREATE INDEX audit_events_groups ON audit_events (object_id, seq)
    WHERE object = 'group' AND type NOT IN ('membership.added', 'membership.removed');
CREATE INDEX audit_events_teams ON audit_events (seq) WHERE object = 'team';

-- What applications may read: docs/architecture.md, "Reading access from the database". Columns are added, never changed.
CREATE VIEW access_now AS
    SELECT u.id AS user_id, u.user_name_key AS user_key, u.user_name, t.id AS team_id, t.name AS team, gg.role,
           'group' AS reason_kind, CAST(g.id AS text) AS reason_id, g.display_name AS reason_name
      FROM users u
      JOIN group_members m ON m.user_id = u.id
      JOIN group_grants gg ON gg.group_id = m.group_id
      JOIN groups g ON g.id = gg.group_id
      JOIN teams t ON t.id = gg.team_id
     WHERE u.active AND u.deleted_at IS NULL
    UNION ALL
    SELECT u.id, u.user_name_key, u.user_name, t.id, t.name, gg.role, 'group', CAST(g.id AS text), g.display_name
      FROM users u
      JOIN group_members m ON m.user_id = u.id
      JOIN group_closure c ON c.member_id = m.group_id
      JOIN group_grants gg ON gg.group_id = c.ancestor_id
      JOIN groups g ON g.id = gg.group_id
      JOIN teams t ON t.id = gg.team_id
     WHERE u.active AND u.deleted_at IS NULL
       AND NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = c.ancestor_id AND o.user_id = m.user_id)
       AND NOT EXISTS (SELECT 1 FROM group_members o JOIN group_closure oc ON oc.member_id = o.group_id
                        WHERE o.user_id = m.user_id AND o.group_id < m.group_id AND oc.ancestor_id = c.ancestor_id)
    UNION ALL
    SELECT u.id, u.user_name_key, u.user_name, t.id, t.name, d.role, d.kind, d.source_id,
           CASE d.kind WHEN 'direct' THEN 'attribute roles' ELSE '' END
      FROM users u
      JOIN grants d ON d.user_id = u.id
      JOIN teams t ON t.id = d.team_id
     WHERE u.active AND u.deleted_at IS NULL;

CREATE VIEW people AS
    SELECT id AS user_id, user_name_key AS user_key, user_name, external_id, email, display_name,
           active AND deleted_at IS NULL AS active, deleted_at IS NOT NULL AS deleted, reason, origin, source, source_id,
           created_at, updated_at
      FROM users;

CREATE VIEW team_members AS
    SELECT DISTINCT team_id, team, role, user_id, user_key, user_name FROM access_now;

-- +goose Down
DROP VIEW team_members;
DROP VIEW people;
DROP VIEW access_now;
DROP INDEX audit_events_teams;
DROP INDEX audit_events_groups;
DROP INDEX audit_events_members;
