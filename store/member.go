package store

import (
	"context"
	"fmt"
	"slices"
)

// GroupRef names a group.
type GroupRef struct {
	ID          string
	DisplayName string
}

// MemberRef names a member of a group.
type MemberRef struct {
	ID          string
	UserName    string
	DisplayName string
	SourceID    string
	Active      bool
}

// AddMembers makes users members of a group and returns the ids of those who were not. Nothing is loaded, and
// parallel calls lose nothing. An id that is nobody's is an ErrNotFound; check with UsersByID first to name it.
func (tx *Tx) AddMembers(ctx context.Context, groupID string, userIDs []string) ([]string, error) {
	if !isID(groupID) {
		return nil, ErrNotFound
	}
	// The users' rows are held: a key that changes in the meantime would be missed by the pairs written here.
	var added []string
	err := tx.raw(ctx, "INSERT INTO group_members (group_id, user_id, key_hi, key_lo) "+
		"SELECT "+tx.d.uuid("?")+", id, key_hi, key_lo FROM users WHERE "+tx.d.in("id", "uuid")+" ORDER BY seq"+tx.d.forShare()+
		" ON CONFLICT DO NOTHING RETURNING user_id", groupID, tx.d.list(validIDs(userIDs))).Scan(&added).Error
	if isForeignKey(err) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("add members: %w", err)
	}
	if len(added) == len(userIDs) {
		return added, nil
	}
	distinct := slices.Compact(slices.Sorted(slices.Values(userIDs)))
	var known int
	if err := tx.raw(ctx, "SELECT count(*) FROM users WHERE "+tx.d.in("id", "uuid"), tx.d.list(validIDs(distinct))).Scan(&known).Error; err != nil {
		return nil, fmt.Errorf("add members: %w", err)
	}
	if known < len(distinct) {
		return nil, ErrNotFound
	}
	return added, nil
}

// RemoveMembers ends these users' membership of a group and returns the ids of those who were members.
func (tx *Tx) RemoveMembers(ctx context.Context, groupID string, userIDs []string) ([]string, error) {
	if !isID(groupID) {
		return nil, nil
	}
	var removed []string
	err := tx.raw(ctx, "DELETE FROM group_members WHERE group_id = ? AND "+tx.d.in("user_id", "uuid")+" RETURNING user_id",
		groupID, tx.d.list(validIDs(userIDs))).Scan(&removed).Error
	if err != nil {
		return nil, fmt.Errorf("remove members: %w", err)
	}
	return removed, nil
}

// KeepMembers ends the membership of everybody but these users and returns the ids of those who were members.
func (tx *Tx) KeepMembers(ctx context.Context, groupID string, userIDs []string) ([]string, error) {
	if !isID(groupID) {
		return nil, nil
	}
	var removed []string
	err := tx.raw(ctx, "DELETE FROM group_members WHERE group_id = ? AND NOT ("+tx.d.in("user_id", "uuid")+") RETURNING user_id",
		groupID, tx.d.list(validIDs(userIDs))).Scan(&removed).Error
	if err != nil {
		return nil, fmt.Errorf("remove members: %w", err)
	}
	return removed, nil
}

// UnknownUsers returns which of these ids are nobody's, or somebody's who was deleted.
func (r reader) UnknownUsers(ctx context.Context, ids []string) ([]string, error) {
	var known []string
	err := r.raw(ctx, "SELECT id FROM users WHERE deleted_at IS NULL AND "+r.d.in("id", "uuid"), r.d.list(validIDs(ids))).Scan(&known).Error
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	is := make(map[string]bool, len(known))
	for _, id := range known {
		is[id] = true
	}
	var unknown []string
	for _, id := range ids {
		if !is[id] {
			unknown = append(unknown, id)
		}
	}
	return unknown, nil
}

// MemberIDs returns the ids of a group's members after an id, at most limit of them, in the order of their ids.
func (r reader) MemberIDs(ctx context.Context, groupID, after string, limit int) ([]string, error) {
	if !isID(groupID) {
		return nil, nil
	}
	var ids []string
	statement, args := "SELECT user_id FROM group_members WHERE group_id = ? ORDER BY user_id LIMIT ?", []any{groupID, limit}
	if after != "" {
		statement = "SELECT user_id FROM group_members WHERE group_id = ? AND user_id > ? ORDER BY user_id LIMIT ?"
		args = []any{groupID, after, limit}
	}
	if err := r.raw(ctx, statement, args...).Scan(&ids).Error; err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return ids, nil
}

// GroupsOfUsers returns the groups of each of these users, by user id, in the order of their names.
func (r reader) GroupsOfUsers(ctx context.Context, userIDs []string) (map[string][]GroupRef, error) {
	var rows []struct{ UserID, ID, DisplayName string }
	err := r.raw(ctx, "SELECT m.user_id, g.id, g.display_name FROM group_members m JOIN groups g ON g.id = m.group_id WHERE "+
		r.d.in("m.user_id", "uuid")+" ORDER BY g.display_name_key", r.d.list(validIDs(userIDs))).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read groups of users: %w", err)
	}
	groups := make(map[string][]GroupRef, len(userIDs))
	for _, row := range rows {
		groups[row.UserID] = append(groups[row.UserID], GroupRef{row.ID, row.DisplayName})
	}
	return groups, nil
}

// MembersOfGroups returns the members of each of these groups, by group id, in the order of Seq. Members who were
// deleted over SCIM are left out.
func (r reader) MembersOfGroups(ctx context.Context, groupIDs []string) (map[string][]MemberRef, error) {
	var rows []struct {
		GroupID, ID, UserName, DisplayName, SourceID string
		Active                                       bool
	}
	err := r.raw(ctx, "SELECT m.group_id, u.id, u.user_name, u.display_name, u.source_id, u.active FROM group_members m "+
		"JOIN users u ON u.id = m.user_id WHERE u.deleted_at IS NULL AND "+r.d.in("m.group_id", "uuid")+" ORDER BY u.seq",
		r.d.list(validIDs(groupIDs))).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read members of groups: %w", err)
	}
	members := make(map[string][]MemberRef, len(groupIDs))
	for _, row := range rows {
		members[row.GroupID] = append(members[row.GroupID], MemberRef{row.ID, row.UserName, row.DisplayName, row.SourceID, row.Active})
	}
	return members, nil
}

// SpoolMembers keeps what a pull stated of memberships that have to be compared one by one. What the source states
// twice is kept once.
func (r reader) SpoolMembers(ctx context.Context, runID, groupSourceID string, userSourceIDs []string) error {
	values := "SELECT ?, ?, value FROM json_each(?) WHERE TRUE"
	if r.d.postgres() {
		values = "SELECT ?, ?, value FROM unnest(?::text[]) AS t(value)"
	}
	_, err := r.exec(ctx, "INSERT INTO run_members (run_id, group_source_id, user_source_id) "+values+" ON CONFLICT DO NOTHING",
		runID, groupSourceID, r.d.list(userSourceIDs))
	if err != nil {
		return fmt.Errorf("spool members: %w", err)
	}
	return nil
}

// DropSpool forgets what was spooled for a run: of one group, or with groupSourceID "" of all.
func (r reader) DropSpool(ctx context.Context, runID, groupSourceID string) error {
	statement, args := "DELETE FROM run_members WHERE run_id = ?", []any{runID}
	if groupSourceID != "" {
		statement, args = statement+" AND group_source_id = ?", append(args, groupSourceID)
	}
	_, err := r.exec(ctx, statement, args...)
	return err
}

// MemberDrift is one membership that is stated and not held, or held and not stated.
type MemberDrift struct {
	UserSourceID string // "" when a member is nobody of the source
	UserID       string // "" when the user is yet to be created
	UserName     string
}

// MissingMembers returns spooled members of a group that are not held: users of the source who are held, or whom the
// run's journal is about to create or adopt. Others whom the source lists are not provisioned, and left out. They come
// in the order of the source's ids, after one, at most limit of them. groupID is "" for a group yet to be created.
func (r reader) MissingMembers(ctx context.Context, runID, source, groupSourceID, groupID, after string, limit int) ([]MemberDrift, error) {
	statement := "SELECT s.user_source_id, coalesce(CAST(u.id AS text), c.object_id) AS user_id, coalesce(u.user_name, c.name) AS user_name FROM run_members s " +
		"LEFT JOIN users u ON u.source = ? AND u.source_id = s.user_source_id AND u.source_id <> '' " +
		// A journaled change names the user where the row is held under another source so far, or not yet.
		// Several changes of one person name the same one: the first counts.
		"LEFT JOIN run_changes c ON u.id IS NULL AND c.run_id = s.run_id AND c.object = 'user' AND c.source_id = s.user_source_id AND c.op <> 'conflict' " +
		"AND NOT EXISTS (SELECT 1 FROM run_changes o WHERE o.run_id = c.run_id AND o.object = 'user' AND o.source_id = c.source_id AND o.op <> 'conflict' AND o.ord < c.ord) " +
		"WHERE s.run_id = ? AND s.group_source_id = ? AND s.user_source_id > ? AND (u.id IS NOT NULL OR c.run_id IS NOT NULL)"
	args := []any{source, runID, groupSourceID, after}
	if groupID != "" {
		statement += " AND NOT EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = ? AND m.user_id = coalesce(u.id, " + r.d.uuid("nullif(c.object_id, '')") + "))"
		args = append(args, groupID)
	}
	var rows []MemberDrift
	err := r.raw(ctx, statement+" ORDER BY s.user_source_id LIMIT ?", append(args, limit)...).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("compare members: %w", err)
	}
	return rows, nil
}

// ExtraMembers returns members of a group that were not spooled, in the order of their ids, after one, at most limit.
// Whom the run's journal is about to adopt counts as spooled when the source lists that person.
func (r reader) ExtraMembers(ctx context.Context, runID, source, groupSourceID, groupID, after string, limit int) ([]MemberDrift, error) {
	statement := "SELECT CASE WHEN u.source = ? THEN u.source_id ELSE '' END AS user_source_id, u.id AS user_id, u.user_name FROM group_members m JOIN users u ON u.id = m.user_id " +
		"LEFT JOIN run_members s ON s.run_id = ? AND s.group_source_id = ? AND s.user_source_id = u.source_id AND u.source = ? AND u.source_id <> '' " +
		"WHERE m.group_id = ? AND s.run_id IS NULL AND NOT EXISTS (SELECT 1 FROM run_changes c " +
		"JOIN run_members a ON a.run_id = c.run_id AND a.group_source_id = ? AND a.user_source_id = c.source_id " +
		"WHERE c.run_id = ? AND c.object = 'user' AND c.op <> 'conflict' AND c.object_id <> '' AND c.object_id = CAST(u.id AS text))"
	args := []any{source, runID, groupSourceID, source, groupID, groupSourceID, runID}
	if after != "" {
		statement += " AND m.user_id > ?"
		args = append(args, after)
	}
	var rows []MemberDrift
	err := r.raw(ctx, statement+" ORDER BY m.user_id LIMIT ?", append(args, limit)...).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("compare members: %w", err)
	}
	return rows, nil
}

// ResolveUsers returns the ids of the users that a source knows by these ids, by the source's id.
func (r reader) ResolveUsers(ctx context.Context, source string, sourceIDs []string) (map[string]string, error) {
	held, err := r.HeldUsers(ctx, source, sourceIDs)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]string, len(held))
	for sourceID, h := range held {
		ids[sourceID] = h.ID
	}
	return ids, nil
}
