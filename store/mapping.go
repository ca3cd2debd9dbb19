package store

import (
	"context"
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

// RoleMappingSetting is the name of the setting whose version grows with each change of the stored role mapping.
const RoleMappingSetting = "role_mapping"

// ShareSetting returns a setting, and keeps it as it is until the transaction ends. Unlike LockSetting it lets others
// do the same meanwhile. The setting has to be there.
func (tx *Tx) ShareSetting(ctx context.Context, name string) (Setting, error) {
	return tx.setting(ctx, name, tx.d.forShare())
}

type ruleRow struct{ GroupKey, GroupRef, Team, Role string }

// RoleRules returns the stored role mapping: one rule for each group, in the order of the groups' names.
func (r reader) RoleRules(ctx context.Context) ([]identity.RoleRule, error) {
	var rows []ruleRow
	err := r.raw(ctx, "SELECT group_key, group_ref, team, role FROM role_mappings ORDER BY group_key, team_key, role").Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read the role mapping: %w", err)
	}
	var rules []identity.RoleRule
	last := ""
	for i, row := range rows {
		if i == 0 || row.GroupKey != last {
			rules, last = append(rules, identity.RoleRule{Group: row.GroupRef}), row.GroupKey
		}
		rule := &rules[len(rules)-1]
		rule.Grants = append(rule.Grants, identity.TeamRole{Team: row.Team, Role: row.Role})
	}
	return rules, nil
}

// PutRoleRules makes these rules the whole of the stored role mapping.
func (tx *Tx) PutRoleRules(ctx context.Context, rules []identity.RoleRule) error {
	if _, err := tx.exec(ctx, "DELETE FROM role_mappings"); err != nil {
		return fmt.Errorf("write the role mapping: %w", err)
	}
	var rows [][]any
	for _, rule := range rules {
		for _, g := range rule.Grants {
			rows = append(rows, []any{identity.Normalize(rule.Group), rule.Group, identity.Normalize(g.Team), g.Team, g.Role})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := tx.insertRows(ctx, "role_mappings", []string{"group_key", "group_ref", "team_key", "team", "role"}, rows); err != nil {
		return fmt.Errorf("write the role mapping: %w", err)
	}
	return nil
}

// HeldOn returns every role that active people hold on the teams with these normalized names, whatever the reason, each
// once. Only UserID, TeamName and Role are set.
func (r reader) HeldOn(ctx context.Context, teamKeys []string) ([]identity.Grant, error) {
	var rows []identity.Grant
	err := r.raw(ctx, "SELECT DISTINCT u.id AS user_id, t.name AS team_name, e.role FROM teams t JOIN effective_grants e ON e.team_id = t.id "+
		"JOIN users u ON u.id = e.user_id WHERE "+r.d.in("t.name_key", "text")+" AND u.active AND u.deleted_at IS NULL", r.d.list(teamKeys)).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read who holds what: %w", err)
	}
	return rows, nil
}

// HoldAny returns how many of these active people hold any role.
func (r reader) HoldAny(ctx context.Context, ids []string) (int, error) {
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM users u WHERE "+r.d.in("u.id", "uuid")+
		" AND EXISTS (SELECT 1 FROM effective_grants e WHERE e.user_id = u.id LIMIT 1 OFFSET 0)", r.d.list(validIDs(ids))).Scan(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count who holds a role: %w", err)
	}
	return n, nil
}

// CountHolders returns the number of active people who hold any role on any team.
func (r reader) CountHolders(ctx context.Context) (int, error) {
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM users u WHERE u.active AND u.deleted_at IS NULL "+
		"AND EXISTS (SELECT 1 FROM effective_grants e WHERE e.user_id = u.id LIMIT 1 OFFSET 0)").Scan(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count who holds a role: %w", err)
	}
	return n, nil
}

// UserNames returns the userNames of users, by their ids.
func (r reader) UserNames(ctx context.Context, ids []string) (map[string]string, error) {
	const page = 10_000
	names := make(map[string]string, len(ids))
	ids = validIDs(ids)
	for len(ids) > 0 {
		part := ids[:min(page, len(ids))]
		ids = ids[len(part):]
		var rows []struct{ ID, UserName string }
		if err := r.raw(ctx, "SELECT id, user_name FROM users WHERE "+r.d.in("id", "uuid"), r.d.list(part)).Scan(&rows).Error; err != nil {
			return nil, fmt.Errorf("read names of users: %w", err)
		}
		for _, row := range rows {
			names[row.ID] = row.UserName
		}
	}
	return names, nil
}
