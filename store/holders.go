package store

import (
	"context"
	"fmt"
	"slices"
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
	Role     identity.Role // "" for any
	Inactive bool          // whose grants are suspended too
	After    string        // userName to go on behind, "" to begin
}

// RoleHolders calls each for everybody who holds a role on a team, in the order of their userNames, and stops at the first
// error that each returns. People come one by one from the database: a hundred thousand take no more memory than one.
func (r reader) RoleHolders(ctx context.Context, q HolderQuery, each func(*RoleHolder) error) error {
	where := "u.active AND u.deleted_at IS NULL"
	if q.Inactive {
		where = "TRUE"
	}
	granted, given, args := "gg.team_id = ?", "d.team_id = ?", []any{q.TeamID}
	if q.Role != "" {
		granted, given, args = granted+" AND gg.role = ?", given+" AND d.role = ?", append(args, q.Role)
	}
	args = slices.Concat(args, args, args)
	if q.After != "" {
		where, args = where+" AND u.user_name_key > ?", append(args, identity.Normalize(q.After))
	}
	rows, err := r.raw(ctx, "SELECT u.id, u.user_name, u.display_name, u.active, u.deleted_at, u.reason, v.role, v.kind, v.source_id, v.source_name, v.through FROM ("+
		"SELECT m.user_id, gg.role, 'group' AS kind, CAST(g.id AS text) AS source_id, g.display_name AS source_name, '' AS through FROM group_grants gg "+
		"JOIN groups g ON g.id = gg.group_id JOIN group_members m ON m.group_id = g.id WHERE "+granted+" UNION ALL "+
		"SELECT m.user_id, gg.role, 'group', CAST(g.id AS text), g.display_name, i.display_name FROM group_grants gg "+
		"JOIN groups g ON g.id = gg.group_id JOIN group_closure c ON c.ancestor_id = g.id JOIN groups i ON i.id = c.member_id "+
		"JOIN group_members m ON m.group_id = i.id WHERE "+granted+" "+
		"AND NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = g.id AND o.user_id = m.user_id) UNION ALL "+
		"SELECT d.user_id, d.role, d.kind, d.source_id, '', '' FROM grants d WHERE "+given+
		") v JOIN users u ON u.id = v.user_id WHERE "+where+" ORDER BY u.user_name_key", args...).Rows()
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
			g       = identity.Grant{TeamID: q.TeamID}
		)
		if err := rows.Scan(&u.ID, &u.UserName, &next.DisplayName, &u.Active, &deleted, &u.Reason, &g.Role, &g.Kind, &g.SourceID, &g.SourceName, &g.Through); err != nil {
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
