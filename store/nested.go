package store

import (
	"context"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// CycleError says that a group cannot become a member of another, because it is that group or holds it already.
type CycleError struct{ Group, Member GroupRef }

func (e *CycleError) Error() string {
	group := fmt.Sprintf("group %q (%s)", e.Group.DisplayName, e.Group.ID)
	if e.Group.ID == e.Member.ID {
		return group + " cannot be a member of itself"
	}
	return fmt.Sprintf("group %q (%s) cannot be a member of %s, which is in it already", e.Member.DisplayName, e.Member.ID, group)
}

// takeTurn lets one transaction at a time go on, from here to its end. Whoever may take the last local admin away and
// whoever changes which group is in which takes turns on the one row: with two there would be an order to get wrong.
// SQLite has one writer at a time.
func (tx *Tx) takeTurn(ctx context.Context) error {
	if !tx.d.postgres() {
		return nil
	}
	if _, err := tx.exec(ctx, "SELECT FROM teams WHERE id = ? FOR NO KEY UPDATE", identity.RootTeamID); err != nil {
		return fmt.Errorf("lock the root team: %w", err)
	}
	return nil
}

// AddNested makes groups members of a group, whose row the caller holds (LockGroup). It returns those that were not
// yet, and the ids that are no group's. A cycle is a *CycleError.
func (tx *Tx) AddNested(ctx context.Context, g GroupRef, ids []string) (added, unknown []string, err error) {
	valid := validIDs(ids)
	if len(valid) == 0 {
		return nil, ids, nil
	}
	if err := tx.takeTurn(ctx); err != nil {
		return nil, nil, err
	}
	members, err := tx.nestable(ctx, g.ID, valid)
	if err != nil {
		return nil, nil, err
	}
	known := make([]string, len(members))
	for i, m := range members {
		if m.Holds {
			return nil, nil, &CycleError{Group: g, Member: m.GroupRef}
		}
		known[i] = m.ID
	}
	unknown = without(ids, known)
	if len(known) == 0 {
		return nil, unknown, nil
	}
	err = tx.raw(ctx, "INSERT INTO group_nested (group_id, member_id) SELECT "+tx.d.uuid("?")+", id FROM groups WHERE "+tx.d.in("id", "uuid")+
		" ON CONFLICT DO NOTHING RETURNING member_id", g.ID, tx.d.list(known)).Scan(&added).Error
	if err != nil {
		return nil, nil, fmt.Errorf("nest groups: %w", err)
	}
	return added, unknown, tx.rebuildClosure(ctx, added)
}

// nestable is a group that is to be nested in another.
type nestable struct {
	GroupRef
	Holds bool // it is the other one, or has it among its members at some depth
}

// nestable returns those of these ids that are groups, and keeps them from being deleted until the transaction ends.
func (tx *Tx) nestable(ctx context.Context, groupID string, ids []string) ([]nestable, error) {
	var members []nestable
	err := tx.raw(ctx, "SELECT id, display_name, EXISTS (SELECT 1 FROM group_reach r WHERE r.member_id = "+tx.d.uuid("?")+
		" AND r.ancestor_id = groups.id) AS holds FROM groups WHERE "+tx.d.in("id", "uuid")+" ORDER BY seq"+tx.d.forKeyShare(),
		groupID, tx.d.list(ids)).Scan(&members).Error
	if err != nil {
		return nil, fmt.Errorf("read groups to nest: %w", err)
	}
	return members, nil
}

// RemoveNested ends these groups' membership of a group and returns those that were members.
func (tx *Tx) RemoveNested(ctx context.Context, groupID string, ids []string) ([]string, error) {
	valid := validIDs(ids)
	if len(valid) == 0 || !isID(groupID) {
		return nil, nil
	}
	return tx.unnest(ctx, "group_id = ? AND "+tx.d.in("member_id", "uuid"), groupID, tx.d.list(valid))
}

// KeepNested ends the membership of every group but these and returns those that were members.
func (tx *Tx) KeepNested(ctx context.Context, groupID string, ids []string) ([]string, error) {
	if !isID(groupID) {
		return nil, nil
	}
	return tx.unnest(ctx, "group_id = ? AND "+tx.d.notIn("member_id", "uuid"), groupID, tx.d.list(validIDs(ids)))
}

// unnest deletes edges. Whoever does so has taken the turn before: a role may go with them.
func (tx *Tx) unnest(ctx context.Context, where string, args ...any) ([]string, error) {
	var removed []string
	if err := tx.raw(ctx, "DELETE FROM group_nested WHERE "+where+" RETURNING member_id", args...).Scan(&removed).Error; err != nil {
		return nil, fmt.Errorf("remove nested groups: %w", err)
	}
	return removed, tx.rebuildClosure(ctx, removed)
}

// rebuildClosure finds anew what these groups, and all that are in them, are in. What is in them does not depend on
// what they are in, so the old pairs tell who is affected.
func (tx *Tx) rebuildClosure(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	var affected []string
	err := tx.raw(ctx, "SELECT DISTINCT member_id FROM group_reach WHERE "+tx.d.in("ancestor_id", "uuid"), tx.d.list(ids)).Scan(&affected).Error
	if err != nil {
		return fmt.Errorf("read nested groups: %w", err)
	}
	if _, err := tx.exec(ctx, "DELETE FROM group_closure WHERE "+tx.d.in("member_id", "uuid"), tx.d.list(affected)); err != nil {
		return fmt.Errorf("write nested groups: %w", err)
	}
	_, err = tx.exec(ctx, "WITH RECURSIVE reach (member_id, ancestor_id) AS ("+
		"SELECT member_id, group_id FROM group_nested WHERE "+tx.d.in("member_id", "uuid")+
		" UNION SELECT reach.member_id, n.group_id FROM reach JOIN group_nested n ON n.member_id = reach.ancestor_id) "+
		"INSERT INTO group_closure (member_id, ancestor_id) SELECT member_id, ancestor_id FROM reach", tx.d.list(affected))
	if err != nil {
		return fmt.Errorf("write nested groups: %w", err)
	}
	return nil
}

// TouchOuter gives the groups that a group is a member of a new version, because it is about to be deleted, and
// returns them. Their rows are held before the caller takes its turn, as by everybody who changes them.
func (tx *Tx) TouchOuter(ctx context.Context, groupID string, now time.Time) ([]GroupRef, error) {
	var outer []GroupRef
	err := tx.raw(ctx, "UPDATE groups SET version = version + 1, updated_at = ? WHERE id IN ("+
		"SELECT group_id FROM group_nested WHERE member_id = ?) RETURNING id, display_name", stamp(now), groupID).Scan(&outer).Error
	if err != nil {
		return nil, fmt.Errorf("write the groups around %s: %w", groupID, err)
	}
	return outer, nil
}
