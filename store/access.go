package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

// Access returns a user by userName, compared without case, and every reason for every role, as EffectiveGrants does, in
// the order of identity.SortGrants; ErrNotFound. Somebody who was deleted over SCIM is found, as Deleted. Of the user
// only ID, UserName, Active, DeletedAt and Reason are set. On PostgreSQL it takes one prepared statement.
func (s *Store) Access(ctx context.Context, userName string) (identity.User, []identity.Grant, error) {
	key := identity.Normalize(userName)
	if key == "" || !holdable(key) {
		return identity.User{}, nil, ErrNotFound
	}
	if s.d.postgres() {
		u, grants, found, err := s.accessAtOnce(ctx, key)
		switch {
		case errors.Is(err, errNotJoined):
		case err != nil:
			return identity.User{}, nil, fmt.Errorf("read access: %w", err)
		case !found:
			return identity.User{}, nil, ErrNotFound
		default:
			return u, grants, nil
		}
	}
	var rows []userRow
	err := s.raw(ctx, "SELECT id, user_name, active, deleted_at, reason FROM users WHERE user_name_key = ?", key).Scan(&rows).Error
	if err != nil {
		return identity.User{}, nil, fmt.Errorf("read access: %w", err)
	}
	if len(rows) == 0 {
		return identity.User{}, nil, ErrNotFound
	}
	u := identity.User{
		ID: rows[0].ID, UserName: rows[0].UserName, Active: rows[0].Active, DeletedAt: timeOf(rows[0].DeletedAt), Reason: rows[0].Reason,
	}
	grants, err := s.EffectiveGrants(ctx, u.ID)
	return u, identity.SortGrants(grants), err
}

// accessByName gives a user and the reasons for all roles, each as [team id, team, role, kind, source id, source name,
// through]. PostgreSQL is made to begin with the user's groups, and to look the rest up for each of these: left the choice,
// without statistics it goes through all that any group grants.
var accessByName = joined{"idpsync_access", "SELECT u.id, u.user_name, u.active, u.deleted_at, u.reason, " +
	"(SELECT json_agg(json_build_array(gg.team_id, t.name, gg.role, 'group', m.group_id, g.display_name, '')) FROM " + userGroups +
	grantsOf("m.group_id") + groupCalled("g", "m.group_id") + teamCalled("gg") + "), " +
	"(SELECT json_agg(json_build_array(gg.team_id, t.name, gg.role, 'group', c.ancestor_id, g.display_name, i.display_name)) FROM " + userGroups +
	"CROSS JOIN LATERAL (SELECT ancestor_id FROM group_closure WHERE member_id = m.group_id " +
	"AND NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = ancestor_id AND o.user_id = u.id) OFFSET 0) c " +
	grantsOf("c.ancestor_id") + groupCalled("g", "c.ancestor_id") + groupCalled("i", "m.group_id") + teamCalled("gg") + "), " +
	"(SELECT json_agg(json_build_array(d.team_id, t.name, d.role, d.kind, d.source_id, '', '')) FROM " +
	"(SELECT team_id, role, kind, source_id FROM grants WHERE user_id = u.id OFFSET 0) d " + teamCalled("d") + ") " +
	"FROM users u WHERE u.user_name_key = $1"}

// Parts of accessByName.
const userGroups = "(SELECT group_id FROM group_members WHERE user_id = u.id OFFSET 0) m "

func grantsOf(group string) string {
	return "CROSS JOIN LATERAL (SELECT team_id, role FROM group_grants WHERE group_id = " + group + " OFFSET 0) gg "
}

func groupCalled(name, id string) string {
	return "CROSS JOIN LATERAL (SELECT display_name FROM groups WHERE id = " + id + " OFFSET 0) " + name + " "
}

func teamCalled(of string) string {
	return "CROSS JOIN LATERAL (SELECT name FROM teams WHERE id = " + of + ".team_id OFFSET 0) t"
}

func (s *Store) accessAtOnce(ctx context.Context, key string) (u identity.User, grants []identity.Grant, found bool, err error) {
	found, err = s.oneRow(ctx, accessByName, []string{key}, func(row [][]byte) error {
		t := textRow{values: row}
		u = identity.User{ID: t.text(), UserName: t.text(), Active: t.bool(), DeletedAt: timeOf(t.maybeTime()), Reason: t.text()}
		for range 3 {
			list := t.bytesOf()
			if list == nil {
				continue
			}
			var reasons [][7]string
			if err := json.Unmarshal(list, &reasons); err != nil {
				return fmt.Errorf("read grants of a user: %w", err)
			}
			for _, r := range reasons {
				grants = append(grants, identity.Grant{
					UserID: u.ID, TeamID: r[0], TeamName: r[1], Role: r[2], Kind: identity.GrantKind(r[3]), SourceID: r[4], SourceName: r[5], Through: r[6],
				})
			}
		}
		return t.err
	})
	return u, identity.SortGrants(grants), found, err
}
