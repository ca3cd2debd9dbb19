package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// GroupRef names a group.
type GroupRef struct {
	ID          string
	DisplayName string
	Indirect    bool // of a user: who is in it only by groups that are nested in it
}

// MemberRef names a member of a group: a user, or a nested group, which has no UserName and is always Active.
type MemberRef struct {
	ID          string
	Group       bool
	UserName    string
	DisplayName string
	SourceID    string
	Active      bool
}

// AddMembers makes users members of a group and returns the ids of those who were not. Nothing is loaded, and
// parallel calls lose nothing. An id that is nobody's is an ErrNotFound.
func (tx *Tx) AddMembers(ctx context.Context, groupID string, userIDs []string) ([]string, error) {
	added, err := tx.insertMembers(ctx, groupID, "", userIDs)
	if err != nil || len(added) == len(userIDs) {
		return added, err
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

// AddKnownMembers makes those of these ids that are users' members of a group. It returns whom it added, and the ids
// that are nobody's or somebody's who was deleted. Where all are new it takes one statement.
func (tx *Tx) AddKnownMembers(ctx context.Context, groupID string, ids []string) (added, unknown []string, err error) {
	if added, err = tx.insertMembers(ctx, groupID, " AND deleted_at IS NULL", ids); err != nil || len(added) == len(ids) {
		return added, nil, err
	}
	unknown, err = tx.UnknownUsers(ctx, without(ids, added))
	return added, unknown, err
}

// insertMembers writes the pairs of those users who are there and meet a condition, and returns whose are new.
func (tx *Tx) insertMembers(ctx context.Context, groupID, condition string, userIDs []string) ([]string, error) {
	if !isID(groupID) {
		return nil, ErrNotFound
	}
	valid := validIDs(userIDs)
	if len(valid) == 0 {
		return nil, nil
	}
	// The users' rows are held: a key that changes in the meantime would be missed by the pairs written here.
	var added []string
	err := tx.raw(ctx, "INSERT INTO group_members (group_id, user_id, key_hi, key_lo) "+
		"SELECT "+tx.d.uuid("?")+", id, key_hi, key_lo FROM users WHERE "+tx.d.in("id", "uuid")+condition+" ORDER BY seq"+tx.d.forShare()+
		" ON CONFLICT DO NOTHING RETURNING user_id", groupID, tx.d.list(valid)).Scan(&added).Error
	if isForeignKey(err) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("add members: %w", err)
	}
	return added, nil
}

// without returns the ids that are not among others.
func without(ids, others []string) []string {
	if len(others) == 0 {
		return ids
	}
	is := make(map[string]bool, len(others))
	for _, id := range others {
		is[id] = true
	}
	var rest []string
	for _, id := range ids {
		if !is[id] {
			rest = append(rest, id)
		}
	}
	return rest
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
	err := tx.raw(ctx, "DELETE FROM group_members WHERE group_id = ? AND "+tx.d.notIn("user_id", "uuid")+" RETURNING user_id",
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
	if unknown := without(ids, known); len(unknown) > 0 {
		return unknown, nil
	}
	return nil, nil
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

// GroupsOfUsers returns the groups of each of these users, by user id, in the order of their names: those that they are
// members of, and those that these are in.
func (r reader) GroupsOfUsers(ctx context.Context, userIDs []string) (map[string][]GroupRef, error) {
	var rows []struct {
		UserID, ID, DisplayName string
		Indirect                bool
	}
	list := r.d.list(validIDs(userIDs))
	if err := r.raw(ctx, groupsOf(r.d.in("m.user_id", "uuid")), list, list).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read groups of users: %w", err)
	}
	groups := make(map[string][]GroupRef, len(userIDs))
	for _, row := range rows {
		groups[row.UserID] = append(groups[row.UserID], GroupRef{row.ID, row.DisplayName, row.Indirect})
	}
	return groups, nil
}

// groupsOf returns the statement that reads the groups of users, whom a condition on m.user_id selects. Its parameters
// are given twice.
func groupsOf(who string) string {
	return "SELECT m.user_id, g.id, g.display_name, FALSE AS indirect, g.display_name_key " +
		"FROM group_members m JOIN groups g ON g.id = m.group_id WHERE " + who + " UNION ALL " +
		"SELECT DISTINCT m.user_id, g.id, g.display_name, TRUE, g.display_name_key FROM group_members m " +
		"JOIN group_closure c ON c.member_id = m.group_id JOIN groups g ON g.id = c.ancestor_id WHERE " + who +
		" AND NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = g.id AND o.user_id = m.user_id) " +
		"ORDER BY display_name_key"
}

// MembersOfGroups returns the members of each of these groups, by group id, users first, in the order of Seq. Members
// who were deleted over SCIM are left out.
func (r reader) MembersOfGroups(ctx context.Context, groupIDs []string) (map[string][]MemberRef, error) {
	var rows []struct {
		GroupID string
		MemberRef
		IsGroup bool
	}
	list := r.d.list(validIDs(groupIDs))
	err := r.raw(ctx, "SELECT m.group_id, FALSE AS is_group, u.seq, u.id, u.user_name, u.display_name, u.source_id, u.active "+
		"FROM group_members m JOIN users u ON u.id = m.user_id WHERE u.deleted_at IS NULL AND "+r.d.in("m.group_id", "uuid")+" UNION ALL "+
		"SELECT n.group_id, TRUE, g.seq, g.id, '', g.display_name, g.source_id, TRUE FROM group_nested n "+
		"JOIN groups g ON g.id = n.member_id WHERE "+r.d.in("n.group_id", "uuid")+" ORDER BY is_group, seq", list, list).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read members of groups: %w", err)
	}
	members := make(map[string][]MemberRef, len(groupIDs))
	for _, row := range rows {
		row.Group = row.IsGroup
		members[row.GroupID] = append(members[row.GroupID], row.MemberRef)
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
//
// The comparison looks ids up in lists of at most limit and joins nothing large: right after a big change, when the
// database has no statistics yet, a join would be planned wrong and take minutes.
func (r reader) MissingMembers(ctx context.Context, runID, source, groupSourceID, groupID, after string, limit int) ([]MemberDrift, error) {
	var missing []MemberDrift
	for {
		var stated []string
		err := r.raw(ctx, "SELECT user_source_id FROM run_members WHERE run_id = ? AND group_source_id = ? AND user_source_id > ? "+
			"ORDER BY user_source_id LIMIT ?", runID, groupSourceID, after, limit).Scan(&stated).Error
		if err != nil {
			return nil, fmt.Errorf("compare members: %w", err)
		}
		page, err := r.missingOf(ctx, runID, source, groupID, stated)
		if err != nil {
			return nil, fmt.Errorf("compare members: %w", err)
		}
		missing = append(missing, page...)
		if len(missing) >= limit {
			return missing[:limit], nil
		}
		if len(stated) < limit {
			return missing, nil
		}
		after = stated[len(stated)-1]
	}
}

// Provisioned returns who of these people of a source is held, or about to be by what a run planned.
func (r reader) Provisioned(ctx context.Context, runID, source string, sourceIDs []string) ([]MemberDrift, error) {
	if len(sourceIDs) == 0 {
		return nil, nil
	}
	provisioned, err := r.missingOf(ctx, runID, source, "", sourceIDs)
	if err != nil {
		return nil, fmt.Errorf("compare members: %w", err)
	}
	return provisioned, nil
}

// missingOf returns who of these stated members is provisioned and not held in the group.
func (r reader) missingOf(ctx context.Context, runID, source, groupID string, stated []string) ([]MemberDrift, error) {
	held, err := r.HeldUsers(ctx, source, stated)
	if err != nil {
		return nil, err
	}
	var unknown, ids []string
	for _, id := range stated {
		if h, ok := held[id]; ok {
			ids = append(ids, h.ID)
		} else {
			unknown = append(unknown, id)
		}
	}
	journaled, err := r.journaledUsers(ctx, runID, "source_id", unknown)
	if err != nil {
		return nil, err
	}
	for _, m := range journaled {
		if m.UserID != "" {
			ids = append(ids, m.UserID)
		}
	}
	in := map[string]bool{}
	if groupID != "" && len(ids) > 0 {
		var members []string
		statement, args := r.d.lookup("user_id", "group_members", "group_id = ?", []any{groupID}, "user_id", "uuid", ids)
		err := r.raw(ctx, statement, args...).Scan(&members).Error
		if err != nil {
			return nil, err
		}
		for _, id := range members {
			in[id] = true
		}
	}
	var missing []MemberDrift
	for _, id := range stated {
		m, known := journaled[id]
		if h, ok := held[id]; ok {
			m, known = MemberDrift{UserSourceID: id, UserID: h.ID, UserName: h.UserName}, true
		}
		if known && !in[m.UserID] {
			missing = append(missing, m)
		}
	}
	return missing, nil
}

// journaledUsers returns the people whom a run's journal is about to create or adopt, by the source's id: those whose
// column (source_id or object_id) is one of the values. Where several changes name one person, the first counts.
func (r reader) journaledUsers(ctx context.Context, runID, column string, values []string) (map[string]MemberDrift, error) {
	journaled := map[string]MemberDrift{}
	if len(values) == 0 {
		return journaled, nil
	}
	type change struct {
		Ord                      int64
		SourceID, ObjectID, Name string
	}
	var rows []change
	statement, args := r.d.lookup("ord, source_id, object_id, name", "run_changes",
		"run_id = ? AND object = 'user' AND state = 'planned' AND "+column+" <> ''", []any{runID}, column, "text", values)
	err := r.raw(ctx, statement, args...).Scan(&rows).Error
	if err != nil {
		return nil, err
	}
	// Sorted here: SQLite, asked for this order, goes through the whole journal to have it, once for each group.
	slices.SortFunc(rows, func(a, b change) int { return cmp.Compare(a.Ord, b.Ord) })
	for _, row := range rows {
		if _, twice := journaled[row.SourceID]; !twice {
			journaled[row.SourceID] = MemberDrift{UserSourceID: row.SourceID, UserID: row.ObjectID, UserName: row.Name}
		}
	}
	return journaled, nil
}

// ExtraMembers returns members of a group that were not spooled, in the order of their ids, after one, at most limit.
// Whom the run's journal is about to adopt counts as spooled when the source lists that person.
func (r reader) ExtraMembers(ctx context.Context, runID, source, groupSourceID, groupID, after string, limit int) ([]MemberDrift, error) {
	var extra []MemberDrift
	for {
		var members []struct{ UserID, UserName, Source, SourceID string }
		statement, args := "SELECT m.user_id, u.user_name, u.source, u.source_id FROM group_members m JOIN users u ON u.id = m.user_id WHERE m.group_id = ?", []any{groupID}
		if after != "" {
			statement, args = statement+" AND m.user_id > ?", append(args, after)
		}
		if err := r.raw(ctx, statement+" ORDER BY m.user_id LIMIT ?", append(args, limit)...).Scan(&members).Error; err != nil {
			return nil, fmt.Errorf("compare members: %w", err)
		}
		// By what id the source would list each of them.
		sourceIDs, stated := make(map[string]string, len(members)), []string{}
		ids := make([]string, len(members))
		for i, m := range members {
			ids[i] = m.UserID
			if m.Source == source && m.SourceID != "" {
				sourceIDs[m.UserID] = m.SourceID
			}
		}
		adopted, err := r.journaledUsers(ctx, runID, "object_id", ids) // from somebody else, or under a new id
		if err != nil {
			return nil, fmt.Errorf("compare members: %w", err)
		}
		for id, m := range adopted {
			sourceIDs[m.UserID] = id
		}
		for _, id := range sourceIDs {
			stated = append(stated, id)
		}
		var spooled []string
		spool, args := r.d.lookup("user_source_id", "run_members", "run_id = ? AND group_source_id = ?",
			[]any{runID, groupSourceID}, "user_source_id", "text", stated)
		err = r.raw(ctx, spool, args...).Scan(&spooled).Error
		if err != nil {
			return nil, fmt.Errorf("compare members: %w", err)
		}
		listed := make(map[string]bool, len(spooled))
		for _, id := range spooled {
			listed[id] = true
		}
		for _, m := range members {
			if id := sourceIDs[m.UserID]; id == "" || !listed[id] {
				known := MemberDrift{UserID: m.UserID, UserName: m.UserName}
				if m.Source == source {
					known.UserSourceID = m.SourceID
				}
				extra = append(extra, known)
			}
		}
		if len(extra) >= limit {
			return extra[:limit], nil
		}
		if len(members) < limit {
			return extra, nil
		}
		after = members[len(members)-1].UserID
	}
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
