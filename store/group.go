package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// groupRow is a row of the table groups, with its team.
type groupRow struct {
	ID           string
	Seq          int64
	DisplayName  string
	ExternalID   string
	Source       string
	SourceID     string
	Document     string
	Fingerprint  []byte
	MemberCount  int
	MemberHashHi int64
	MemberHashLo int64
	TeamID       *string
	Version      int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
	LastPushAt   *time.Time
	ObservedAt   *time.Time
	SortKey      *string // of an ordered result
}

const groupColumnList = "g.id, g.seq, g.display_name, g.external_id, g.source, g.source_id, g.document, g.fingerprint, " +
	"g.member_count, g.member_hash_hi, g.member_hash_lo, " +
	"(SELECT t.id FROM teams t WHERE t.group_id = g.id) AS team_id, " +
	"g.version, g.created_at, g.updated_at, g.last_push_at, g.observed_at"

const groupSelect = "SELECT " + groupColumnList + " FROM groups g "

var groupInsert = []string{
	"id", "display_name", "display_name_key", "external_id", "source", "source_id", "document", "fingerprint",
	"version", "created_at", "updated_at", "last_push_at", "observed_at",
}

func (row *groupRow) group() (identity.Group, error) {
	g := identity.Group{
		ID: row.ID, Seq: row.Seq, DisplayName: row.DisplayName, ExternalID: row.ExternalID, Source: row.Source,
		SourceID: row.SourceID, Fingerprint: fingerprint(row.Fingerprint), MemberCount: row.MemberCount,
		MemberHash: identity.SetHash{Hi: row.MemberHashHi, Lo: row.MemberHashLo}, Version: row.Version,
		Created: row.CreatedAt.UTC(), LastModified: row.UpdatedAt.UTC(), LastPushAt: timeOf(row.LastPushAt),
		ObservedAt: timeOf(row.ObservedAt),
	}
	if row.TeamID != nil {
		g.TeamID = *row.TeamID
	}
	var err error
	if g.Attributes, err = decodeAttributes(row.Document); err != nil {
		return g, fmt.Errorf("read group %s: %w", row.ID, err)
	}
	return g, nil
}

func groupValues(g *identity.Group) ([]any, error) {
	document, err := encodeAttributes(g.Attributes)
	if err != nil {
		return nil, fmt.Errorf("write group %s: document: %w", g.ID, err)
	}
	return []any{
		g.ID, g.DisplayName, identity.Normalize(g.DisplayName), g.ExternalID, g.Source, g.SourceID, document,
		fingerprintBytes(g.Fingerprint), g.Version, stamp(g.Created), stamp(g.LastModified), utc(g.LastPushAt),
		utc(g.ObservedAt),
	}, nil
}

// InsertGroup writes a new group without members. A name that is taken is a *DuplicateError.
func (tx *Tx) InsertGroup(ctx context.Context, g *identity.Group) error {
	values, err := groupValues(g)
	if err != nil {
		return err
	}
	return tx.insertRows(ctx, "groups", groupInsert, [][]any{values})
}

var groupUpdate = "UPDATE groups SET " + strings.Join(groupInsert[1:], " = ?, ") + " = ? WHERE id = ? AND version = ? " +
	"RETURNING member_count, member_hash_hi, member_hash_lo"

// UpdateGroup writes g over the row whose version is the given one; ErrStale when it has another. The member count and
// hash follow the members by themselves, and g has them then.
func (tx *Tx) UpdateGroup(ctx context.Context, g *identity.Group, version int64) error {
	values, err := groupValues(g)
	if err != nil {
		return err
	}
	var rows []struct {
		MemberCount                int
		MemberHashHi, MemberHashLo int64
	}
	if err := tx.scan(ctx, &rows, groupUpdate, append(values[1:], g.ID, version)...); err != nil {
		return fmt.Errorf("write group %s: %w", g.ID, err)
	}
	if len(rows) == 0 {
		return ErrStale
	}
	g.MemberCount, g.MemberHash = rows[0].MemberCount, identity.SetHash{Hi: rows[0].MemberHashHi, Lo: rows[0].MemberHashLo}
	return nil
}

// TouchGroup gives a group a new version: its members changed.
func (tx *Tx) TouchGroup(ctx context.Context, id string, now time.Time) error {
	_, err := tx.exec(ctx, "UPDATE groups SET version = version + 1, updated_at = ? WHERE id = ?", stamp(now), id)
	if err != nil {
		return fmt.Errorf("write group %s: %w", id, err)
	}
	return nil
}

// DeleteGroup removes a group with its memberships and what it grants; its team stays, without a group, and so do the
// groups that are in it. The caller holds the group's row.
func (tx *Tx) DeleteGroup(ctx context.Context, id string) error {
	if !isID(id) {
		return ErrNotFound
	}
	if _, err := tx.KeepNested(ctx, id, nil); err != nil {
		return err
	}
	n, err := tx.exec(ctx, "DELETE FROM groups WHERE id = ?", id)
	if err != nil {
		return fmt.Errorf("delete group %s: %w", id, err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// Group returns the group with an id; ErrNotFound.
func (r reader) Group(ctx context.Context, id string) (identity.Group, error) {
	if !isID(id) {
		return identity.Group{}, ErrNotFound
	}
	return r.oneGroup(ctx, "WHERE g.id = ?", id)
}

// GroupByName returns the group with a displayName, compared without case; ErrNotFound.
func (r reader) GroupByName(ctx context.Context, name string) (identity.Group, error) {
	if !holdable(name) {
		return identity.Group{}, ErrNotFound
	}
	return r.oneGroup(ctx, "WHERE g.display_name_key = ?", identity.Normalize(name))
}

// LockGroup is Group, and keeps others from changing the row until the transaction ends. They may refer to it: of two
// groups that are changed at once, each may be about to become a member of the other.
func (tx *Tx) LockGroup(ctx context.Context, id string) (identity.Group, error) {
	if !isID(id) {
		return identity.Group{}, ErrNotFound
	}
	return tx.oneGroup(ctx, "WHERE g.id = ?"+tx.d.forNoKeyUpdate(), id)
}

func (r reader) oneGroup(ctx context.Context, where string, args ...any) (identity.Group, error) {
	groups, err := r.scanGroups(ctx, groupSelect+where, args...)
	if err != nil {
		return identity.Group{}, err
	}
	if len(groups) == 0 {
		return identity.Group{}, ErrNotFound
	}
	return groups[0], nil
}

func (r reader) scanGroups(ctx context.Context, statement string, args ...any) ([]identity.Group, error) {
	var rows []groupRow
	if err := r.raw(ctx, statement, args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	groups := make([]identity.Group, len(rows))
	for i := range rows {
		var err error
		if groups[i], err = rows[i].group(); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

// HeldGroups returns what is held of the groups that a source knows by these ids, by the source's id.
func (r reader) HeldGroups(ctx context.Context, source string, sourceIDs []string) (map[string]identity.Group, error) {
	groups, err := r.scanGroups(ctx, groupSelect+"WHERE g.source = ? AND g.source_id <> '' AND "+r.d.in("g.source_id", "text"),
		source, r.d.list(sourceIDs))
	if err != nil {
		return nil, err
	}
	held := make(map[string]identity.Group, len(groups))
	for _, g := range groups {
		held[g.SourceID] = g
	}
	return held, nil
}

// OwnedGroups returns the groups that a source owns, or with source "" all groups, after a Seq, at most limit of
// them, in the order of Seq.
func (r reader) OwnedGroups(ctx context.Context, source string, after int64, limit int) ([]identity.Group, error) {
	if source == "" {
		return r.scanGroups(ctx, groupSelect+"WHERE g.seq > ? ORDER BY g.seq LIMIT ?", after, limit)
	}
	return r.scanGroups(ctx, groupSelect+"WHERE g.source = ? AND g.seq > ? ORDER BY g.seq LIMIT ?", source, after, limit)
}

// CountOwned returns the numbers of groups that a source owns and of memberships in them.
func (r reader) CountOwned(ctx context.Context, source string) (groups, members int, err error) {
	var row struct{ Groups, Members int }
	err = r.raw(ctx, "SELECT count(*) AS groups, CAST(coalesce(sum(member_count), 0) AS bigint) AS members FROM groups WHERE source = ?",
		source).Scan(&row).Error
	if err != nil {
		return 0, 0, fmt.Errorf("count owned groups: %w", err)
	}
	return row.Groups, row.Members, nil
}

// MappedGroups returns the groups that a role mapping names by these normalized references: externalId (compared
// without case), id or displayName.
func (r reader) MappedGroups(ctx context.Context, references []string) ([]identity.Group, error) {
	return r.scanGroups(ctx, groupSelect+"WHERE "+r.d.in("lower(g.external_id)", "text")+" OR "+r.d.in("g.display_name_key", "text")+
		" OR "+r.d.in("CAST(g.id AS text)", "text")+" ORDER BY g.seq", r.d.list(references), r.d.list(references), r.d.list(references))
}

// GroupCandidates returns the groups that one of the external ids or names may mean, without order.
func (r reader) GroupCandidates(ctx context.Context, externalIDs, names []string) ([]identity.Group, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = identity.Normalize(name)
	}
	return r.scanGroups(ctx, groupSelect+"WHERE g.id IN (SELECT id FROM groups WHERE external_id <> '' AND "+
		r.d.in("external_id", "text")+" UNION SELECT id FROM groups WHERE "+r.d.in("display_name_key", "text")+")",
		r.d.list(externalIDs), r.d.list(keys))
}
