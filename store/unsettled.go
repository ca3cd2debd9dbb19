package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

// UnsettledUsers returns the immutable ids of people of a source who were changed here since they last agreed with what
// the source states, at most limit of them.
func (r reader) UnsettledUsers(ctx context.Context, source string, limit int) ([]string, error) {
	var ids []string
	err := r.raw(ctx, "SELECT source_id FROM users WHERE source = ? AND fingerprint IS NULL AND source_id <> '' ORDER BY seq LIMIT ?",
		source, limit).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("read unsettled users: %w", err)
	}
	return ids, nil
}

// UnsettledGroups returns the immutable ids of groups of a source that were changed here, or whose members were, since
// they last agreed with what the source states, at most limit of them.
func (r reader) UnsettledGroups(ctx context.Context, source string, limit int) ([]string, error) {
	var ids []string
	err := r.raw(ctx, "SELECT source_id FROM groups WHERE source = ? AND source_id <> '' AND (fingerprint IS NULL OR settled_count IS NULL "+
		"OR (settled_count, settled_hash_hi, settled_hash_lo) <> (member_count, member_hash_hi, member_hash_lo)) ORDER BY seq LIMIT ?",
		source, limit).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("read unsettled groups: %w", err)
	}
	return ids, nil
}

// SettledGroup is a group whose members agree with what its source states.
type SettledGroup struct {
	ID    string
	Count int
	Hash  identity.SetHash
}

// SettleGroups notes of groups that the members they had, as given, agree with what the source states.
func (tx *Tx) SettleGroups(ctx context.Context, groups []SettledGroup) error {
	const most = 1000
	for len(groups) > 0 {
		part := groups[:min(len(groups), most)]
		groups = groups[len(part):]
		rows := make([][4]any, len(part))
		for i, g := range part {
			rows[i] = [4]any{g.ID, g.Count, g.Hash.Hi, g.Hash.Lo}
		}
		list, err := json.Marshal(rows)
		if err != nil {
			return fmt.Errorf("settle groups: %w", err)
		}
		agreed := "SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS n, json_extract(value, '$[2]') AS hi, json_extract(value, '$[3]') AS lo FROM json_each(?)"
		if tx.d.postgres() {
			agreed = "SELECT CAST(value ->> 0 AS uuid) AS id, CAST(value ->> 1 AS bigint) AS n, CAST(value ->> 2 AS bigint) AS hi, CAST(value ->> 3 AS bigint) AS lo FROM jsonb_array_elements(CAST(? AS jsonb))"
		}
		_, err = tx.exec(ctx, "UPDATE groups SET settled_count = agreed.n, settled_hash_hi = agreed.hi, settled_hash_lo = agreed.lo FROM ("+agreed+") AS agreed "+
			"WHERE groups.id = agreed.id AND (settled_count IS NULL OR (settled_count, settled_hash_hi, settled_hash_lo) <> (agreed.n, agreed.hi, agreed.lo))", string(list))
		if err != nil {
			return fmt.Errorf("settle groups: %w", err)
		}
	}
	return nil
}

// SettleGroupsAsHeld notes of groups of a source, by immutable id, that the members they have now agree with what the
// source states.
func (tx *Tx) SettleGroupsAsHeld(ctx context.Context, source string, sourceIDs []string) error {
	if len(sourceIDs) == 0 {
		return nil
	}
	_, err := tx.exec(ctx, "UPDATE groups SET settled_count = member_count, settled_hash_hi = member_hash_hi, settled_hash_lo = member_hash_lo "+
		"WHERE source = ? AND "+tx.d.in("source_id", "text"), source, tx.d.list(sourceIDs))
	if err != nil {
		return fmt.Errorf("settle groups: %w", err)
	}
	return nil
}

// Unfinished lists, by immutable id, whom and what an incremental run has to look at again whatever the source states: what
// the run that moved the checkpoint left undone, and whatever runs after it touched, which did not get so far. A group is
// listed for its members' sake too. At most limit of either are returned.
func (r reader) Unfinished(ctx context.Context, connector, checkpointRunID string, limit int) (users, groups []string, err error) {
	if checkpointRunID == "" {
		return nil, nil, nil
	}
	for _, list := range []struct {
		ids   *[]string
		where string
	}{{&users, "c.object = 'user'"}, {&groups, "c.object IN ('group', 'member')"}} {
		err := r.raw(ctx, "SELECT DISTINCT c.source_id FROM runs r JOIN run_changes c ON c.run_id = r.id "+
			"WHERE r.connector = ? AND NOT r.dry_run AND r.id >= ? AND (r.id > ? OR c.state <> ?) AND "+list.where+" AND c.source_id <> '' ORDER BY c.source_id LIMIT ?",
			connector, checkpointRunID, checkpointRunID, string(identity.StateApplied), limit).Scan(list.ids).Error
		if err != nil {
			return nil, nil, fmt.Errorf("read what runs left undone: %w", err)
		}
	}
	return users, groups, nil
}

// MembersAmong returns who of these people of a source is a member of a group, by immutable id.
func (r reader) MembersAmong(ctx context.Context, source, groupID string, sourceIDs []string) (map[string]MemberDrift, error) {
	held, err := r.HeldUsers(ctx, source, sourceIDs)
	if err != nil {
		return nil, err
	}
	ids, bySourceID := make([]string, 0, len(held)), make(map[string]string, len(held))
	for sourceID, h := range held {
		ids, bySourceID[h.ID] = append(ids, h.ID), sourceID
	}
	var members []string
	if len(ids) > 0 && isID(groupID) {
		statement, args := r.d.lookup("user_id", "group_members", "group_id = ?", []any{groupID}, "user_id", "uuid", ids)
		if err := r.raw(ctx, statement, args...).Scan(&members).Error; err != nil {
			return nil, fmt.Errorf("read members: %w", err)
		}
	}
	among := make(map[string]MemberDrift, len(members))
	for _, id := range members {
		h := held[bySourceID[id]]
		among[h.SourceID] = MemberDrift{UserSourceID: h.SourceID, UserID: h.ID, UserName: h.UserName}
	}
	return among, nil
}

// CountMemberships returns of how many of a source's groups each of these users is a member, by user id; of none, there
// is no entry.
func (r reader) CountMemberships(ctx context.Context, source string, userIDs []string) (map[string]int, error) {
	counts := make(map[string]int, len(userIDs))
	if len(userIDs) == 0 {
		return counts, nil
	}
	var rows []struct {
		UserID string
		N      int
	}
	err := r.raw(ctx, "SELECT m.user_id, count(*) AS n FROM group_members m JOIN groups g ON g.id = m.group_id WHERE g.source = ? AND "+
		r.d.in("m.user_id", "uuid")+" GROUP BY m.user_id", source, r.d.list(validIDs(userIDs))).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("count memberships: %w", err)
	}
	for _, row := range rows {
		counts[row.UserID] = row.N
	}
	return counts, nil
}

// DropJournal forgets what a run planned so far.
func (r reader) DropJournal(ctx context.Context, runID string) error {
	_, err := r.exec(ctx, "DELETE FROM run_changes WHERE run_id = ?", runID)
	if err != nil {
		return fmt.Errorf("forget a plan: %w", err)
	}
	return nil
}
