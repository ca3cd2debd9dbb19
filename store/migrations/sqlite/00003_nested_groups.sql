-- +goose Up
-- Groups that are members of groups: group_nested has the edges as they are stated, group_closure every pair of a group
-- and one that it is in, at any depth. The program rebuilds what an edge changes of the second, in the same transaction.
CREATE TABLE group_nested (
    group_id  text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    member_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, member_id),
    CONSTRAINT group_nested_not_in_itself CHECK (group_id <> member_id)
) WITHOUT ROWID;
CREATE INDEX group_nested_member ON group_nested (member_id);

CREATE TABLE group_closure (
    member_id   text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    ancestor_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    PRIMARY KEY (member_id, ancestor_id),
    CONSTRAINT group_closure_no_cycle CHECK (member_id <> ancestor_id)
) WITHOUT ROWID;
CREATE INDEX group_closure_ancestor ON group_closure (ancestor_id);

-- Each group with itself and with all that are in it.
CREATE VIEW group_reach AS
    SELECT id AS member_id, id AS ancestor_id FROM groups
    UNION ALL
    SELECT member_id, ancestor_id FROM group_closure;

-- The members of a nested group hold what the outer one grants, and for that one reason once: whoever is in the outer
-- group too holds it so, and of several nested groups the first counts.
DROP VIEW effective_grants;
CREATE VIEW effective_grants AS
    SELECT m.user_id, gg.team_id, gg.role, 'group' AS kind, CAST(gg.group_id AS text) AS source_id
      FROM group_members m JOIN group_grants gg ON gg.group_id = m.group_id
    UNION ALL
    SELECT m.user_id, gg.team_id, gg.role, 'group', CAST(gg.group_id AS text)
      FROM group_members m
      JOIN group_closure c ON c.member_id = m.group_id
      JOIN group_grants gg ON gg.group_id = c.ancestor_id
     WHERE NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = c.ancestor_id AND o.user_id = m.user_id)
       AND NOT EXISTS (SELECT 1 FROM group_members o JOIN group_closure oc ON oc.member_id = o.group_id
                        WHERE o.user_id = m.user_id AND o.group_id < m.group_id AND oc.ancestor_id = c.ancestor_id)
    UNION ALL
    SELECT user_id, team_id, role, kind, source_id FROM grants;

-- +goose Down
DROP VIEW effective_grants;
CREATE VIEW effective_grants AS
    SELECT m.user_id, gg.team_id, gg.role, 'group' AS kind, CAST(gg.group_id AS text) AS source_id
      FROM group_members m JOIN group_grants gg ON gg.group_id = m.group_id
    UNION ALL
    SELECT user_id, team_id, role, kind, source_id FROM grants;
DROP VIEW group_reach;
DROP TABLE group_closure;
DROP TABLE group_nested;
