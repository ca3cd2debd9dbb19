package store

import (
	"context"
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

// RunQuery selects runs, the newest first. What is zero selects everything.
type RunQuery struct {
	Connector string
	Status    identity.RunStatus
	Before    string // id of a run to go on behind
	Limit     int
}

// RunPage returns a page of the runs that a query selects.
func (r reader) RunPage(ctx context.Context, q RunQuery) ([]identity.Run, error) {
	statement, args := runSelect+"WHERE TRUE", []any{}
	for _, c := range []struct{ condition, value string }{
		{"connector = ?", q.Connector},
		{"status = ?", string(q.Status)},
		{"(started_at, id) < (SELECT b.started_at, b.id FROM runs b WHERE b.id = ?)", q.Before},
	} {
		if c.value != "" {
			statement, args = statement+" AND "+c.condition, append(args, c.value)
		}
	}
	var rows []runRow
	if err := r.raw(ctx, statement+" ORDER BY started_at DESC, id DESC LIMIT ?", append(args, q.Limit)...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	runs := make([]identity.Run, len(rows))
	for i := range rows {
		var err error
		if runs[i], err = rows[i].run(); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// NestedIn returns the groups that are members of a group, in the order of their names.
func (r reader) NestedIn(ctx context.Context, groupID string) ([]GroupRef, error) {
	if !isID(groupID) {
		return nil, nil
	}
	var groups []GroupRef
	err := r.raw(ctx, "SELECT g.id, g.display_name FROM group_nested n JOIN groups g ON g.id = n.member_id WHERE n.group_id = ? ORDER BY g.display_name_key",
		groupID).Scan(&groups).Error
	if err != nil {
		return nil, fmt.Errorf("read nested groups: %w", err)
	}
	return groups, nil
}

// GroupsAround returns the groups that a group is in, in the order of their names; Indirect are those that it is in only
// by others.
func (r reader) GroupsAround(ctx context.Context, groupID string) ([]GroupRef, error) {
	if !isID(groupID) {
		return nil, nil
	}
	var groups []GroupRef
	err := r.raw(ctx, "SELECT g.id, g.display_name, NOT EXISTS (SELECT 1 FROM group_nested n WHERE n.group_id = g.id AND n.member_id = c.member_id) AS indirect "+
		"FROM group_closure c JOIN groups g ON g.id = c.ancestor_id WHERE c.member_id = ? ORDER BY g.display_name_key", groupID).Scan(&groups).Error
	if err != nil {
		return nil, fmt.Errorf("read the groups around a group: %w", err)
	}
	return groups, nil
}
