package store

import (
	"context"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// RoleHolder is a person who has a role on a team, with every reason for it.
type RoleHolder struct {
	User        identity.User // ID, UserName, Active, DeletedAt and Reason
	DisplayName string
	Grants      []identity.Grant // without TeamName
}

// HolderQuery selects who holds a role on a team.
type HolderQuery struct {
	TeamID   string
	Role     identity.Role
	Inactive bool // whose grants are suspended too
}

// RoleHolders calls each for everybody who holds a role on a team, in the order of their userNames, and stops at the first
// error that each returns. People come one by one from the database: a hundred thousand take no more memory than one.
func (r reader) RoleHolders(ctx context.Context, q HolderQuery, each func(*RoleHolder) error) error {
	where := "u.active AND u.deleted_at IS NULL"
	if q.Inactive {
		where = "TRUE"
	}
	rows, err := r.raw(ctx, "SELECT u.id, u.user_name, u.display_name, u.active, u.deleted_at, u.reason, v.kind, v.source_id, v.source_name, v.through FROM ("+
		"SELECT m.user_id, 'group' AS kind, CAST(g.id AS text) AS source_id, g.display_name AS source_name, '' AS through FROM group_grants gg "+
		"JOIN groups g ON g.id = gg.group_id JOIN group_members m ON m.group_id = g.id WHERE gg.team_id = ? AND gg.role = ? UNION ALL "+
		"SELECT m.user_id, 'group', CAST(g.id AS text), g.display_name, i.display_name FROM group_grants gg "+
		"JOIN groups g ON g.id = gg.group_id JOIN group_closure c ON c.ancestor_id = g.id JOIN groups i ON i.id = c.member_id "+
		"JOIN group_members m ON m.group_id = i.id WHERE gg.team_id = ? AND gg.role = ? "+
		"AND NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = g.id AND o.user_id = m.user_id) UNION ALL "+
		"SELECT d.user_id, d.kind, d.source_id, '', '' FROM grants d WHERE d.team_id = ? AND d.role = ?"+
		") v JOIN users u ON u.id = v.user_id WHERE "+where+" ORDER BY u.user_name_key",
		q.TeamID, q.Role, q.TeamID, q.Role, q.TeamID, q.Role).Rows()
	if err != nil {
		return fmt.Errorf("read holders of a role: %w", err)
	}
	defer rows.Close()
	var holder RoleHolder
	hand := func() error {
		if holder.User.ID == "" {
			return nil
		}
		holder.Grants = identity.SortGrants(holder.Grants)
		return each(&holder)
	}
	for rows.Next() {
		var (
			next    RoleHolder
			u       = &next.User
			deleted *time.Time
			g       = identity.Grant{TeamID: q.TeamID, Role: q.Role}
		)
		if err := rows.Scan(&u.ID, &u.UserName, &next.DisplayName, &u.Active, &deleted, &u.Reason, &g.Kind, &g.SourceID, &g.SourceName, &g.Through); err != nil {
			return fmt.Errorf("read holders of a role: %w", err)
		}
		if u.ID != holder.User.ID {
			if err := hand(); err != nil {
				return err
			}
			u.DeletedAt = timeOf(deleted)
			holder = next
		}
		g.UserID = u.ID
		holder.Grants = append(holder.Grants, g)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read holders of a role: %w", err)
	}
	return hand()
}
