package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

type conflictRow struct {
	ID, Connector, Object, SourceID, Name, Reason, Candidates, LastRunID, Status, DecidedBy string
	FirstSeen, LastSeen                                                                     time.Time
	DecidedAt                                                                               *time.Time
}

const conflictSelect = "SELECT id, connector, object, source_id, name, reason, candidates, first_seen, last_seen, last_run_id, status, decided_by, decided_at FROM conflicts "

func (row *conflictRow) conflict() (identity.Conflict, error) {
	c := identity.Conflict{
		ID: row.ID, Connector: row.Connector, Object: identity.Object(row.Object), SourceID: row.SourceID, Name: row.Name,
		Reason: row.Reason, FirstSeen: row.FirstSeen.UTC(), LastSeen: row.LastSeen.UTC(), LastRunID: row.LastRunID,
		Status: identity.ConflictStatus(row.Status), DecidedBy: row.DecidedBy, DecidedAt: timeOf(row.DecidedAt),
	}
	if err := json.Unmarshal([]byte(row.Candidates), &c.Candidates); err != nil {
		return c, fmt.Errorf("read conflict %s: candidates: %w", row.ID, err)
	}
	return c, nil
}

// NoteConflicts writes down what a run found: a record known from before keeps its id. One that was resolved or linked is
// open again; one that is ignored stays so.
func (tx *Tx) NoteConflicts(ctx context.Context, conflicts []identity.Conflict) error {
	for i := range conflicts {
		c := &conflicts[i]
		_, err := tx.exec(ctx, "INSERT INTO conflicts (id, connector, object, source_id, name, reason, candidates, first_seen, last_seen, last_run_id, status) "+
			"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connector, object, source_id) DO UPDATE SET name = excluded.name, "+
			"reason = excluded.reason, candidates = excluded.candidates, last_seen = excluded.last_seen, last_run_id = excluded.last_run_id, "+
			"first_seen = CASE WHEN conflicts.status IN ('open', 'ignored') THEN conflicts.first_seen ELSE excluded.first_seen END, "+
			"decided_by = CASE WHEN conflicts.status = 'ignored' THEN conflicts.decided_by ELSE '' END, "+
			"decided_at = CASE WHEN conflicts.status = 'ignored' THEN conflicts.decided_at END, "+
			"status = CASE WHEN conflicts.status = 'ignored' THEN 'ignored' ELSE 'open' END",
			c.ID, c.Connector, string(c.Object), c.SourceID, legible(c.Name), legible(c.Reason), encodeList(c.Candidates),
			stamp(c.LastSeen), stamp(c.LastSeen), c.LastRunID, string(identity.ConflictOpen))
		if err != nil {
			return fmt.Errorf("write conflict of %s %s: %w", c.Object, c.SourceID, err)
		}
	}
	return nil
}

// ResolveConflicts marks the open conflicts of these records as resolved, and returns how many they were.
func (tx *Tx) ResolveConflicts(ctx context.Context, connector string, object identity.Object, sourceIDs []string, now time.Time) (int, error) {
	n, err := tx.exec(ctx, "UPDATE conflicts SET status = ?, decided_at = ? WHERE connector = ? AND object = ? AND status = ? AND "+
		tx.d.in("source_id", "text"), string(identity.ConflictResolved), stamp(now), connector, string(object),
		string(identity.ConflictOpen), tx.d.list(sourceIDs))
	if err != nil {
		return 0, fmt.Errorf("resolve conflicts: %w", err)
	}
	return int(n), nil
}

// ResolveUnseenConflicts marks the open conflicts of a connector as resolved that a run did not see, and returns how many
// they were.
func (tx *Tx) ResolveUnseenConflicts(ctx context.Context, connector, runID string, now time.Time) (int, error) {
	n, err := tx.exec(ctx, "UPDATE conflicts SET status = ?, decided_at = ? WHERE connector = ? AND status = ? AND last_run_id <> ?",
		string(identity.ConflictResolved), stamp(now), connector, string(identity.ConflictOpen), runID)
	if err != nil {
		return 0, fmt.Errorf("resolve conflicts: %w", err)
	}
	return int(n), nil
}

// Conflicts returns conflicts, the oldest first: of one connector, or with "" of all; the open ones, or with all every
// one.
func (r reader) Conflicts(ctx context.Context, connector string, all bool) ([]identity.Conflict, error) {
	var rows []conflictRow
	err := r.raw(ctx, conflictSelect+"WHERE (? = '' OR connector = ?) AND (? OR status = ?) ORDER BY first_seen, connector, object, source_id",
		connector, connector, all, string(identity.ConflictOpen)).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read conflicts: %w", err)
	}
	conflicts := make([]identity.Conflict, len(rows))
	for i := range rows {
		if conflicts[i], err = rows[i].conflict(); err != nil {
			return nil, err
		}
	}
	return conflicts, nil
}

// Conflict returns the conflict with an id, or the only one whose id begins with it; ErrNotFound.
func (r reader) Conflict(ctx context.Context, id string) (identity.Conflict, error) {
	if !holdable(id) || id == "" {
		return identity.Conflict{}, ErrNotFound
	}
	var rows []conflictRow
	err := r.raw(ctx, conflictSelect+"WHERE substr(CAST(id AS text), 1, ?) = ? LIMIT 2", len(id), id).Scan(&rows).Error
	if err != nil {
		return identity.Conflict{}, fmt.Errorf("read conflict: %w", err)
	}
	if len(rows) != 1 {
		return identity.Conflict{}, ErrNotFound
	}
	return rows[0].conflict()
}

// LockConflict returns the conflict with an id and keeps others from changing it until the transaction ends; ErrNotFound.
func (tx *Tx) LockConflict(ctx context.Context, id string) (identity.Conflict, error) {
	if !isID(id) {
		return identity.Conflict{}, ErrNotFound
	}
	var rows []conflictRow
	if err := tx.raw(ctx, conflictSelect+"WHERE id = ?"+tx.d.forUpdate(), id).Scan(&rows).Error; err != nil {
		return identity.Conflict{}, fmt.Errorf("read conflict: %w", err)
	}
	if len(rows) == 0 {
		return identity.Conflict{}, ErrNotFound
	}
	return rows[0].conflict()
}

// DecideConflict writes down what was decided about a conflict.
func (tx *Tx) DecideConflict(ctx context.Context, c *identity.Conflict) error {
	_, err := tx.exec(ctx, "UPDATE conflicts SET status = ?, decided_by = ?, decided_at = ? WHERE id = ?",
		string(c.Status), legible(c.DecidedBy), utc(c.DecidedAt), c.ID)
	if err != nil {
		return fmt.Errorf("write conflict %s: %w", c.ID, err)
	}
	return nil
}

// CountConflicts returns how many conflicts a connector has, by status.
func (r reader) CountConflicts(ctx context.Context, connector string) (map[identity.ConflictStatus]int, error) {
	var rows []struct {
		Status identity.ConflictStatus
		N      int
	}
	if err := r.raw(ctx, "SELECT status, count(*) AS n FROM conflicts WHERE connector = ? GROUP BY status", connector).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("count conflicts: %w", err)
	}
	counts := make(map[identity.ConflictStatus]int, len(rows))
	for _, row := range rows {
		counts[row.Status] = row.N
	}
	return counts, nil
}

// IgnoredRecords returns which of these records of a connector are to be left alone.
func (r reader) IgnoredRecords(ctx context.Context, connector string, object identity.Object, sourceIDs []string) (map[string]bool, error) {
	var ids []string
	statement, args := r.d.lookup("source_id", "conflicts", "connector = ? AND object = ? AND status = ?",
		[]any{connector, string(object), string(identity.ConflictIgnored)}, "source_id", "text", sourceIDs)
	if err := r.raw(ctx, statement, args...).Scan(&ids).Error; err != nil {
		return nil, fmt.Errorf("read conflicts: %w", err)
	}
	ignored := make(map[string]bool, len(ids))
	for _, id := range ids {
		ignored[id] = true
	}
	return ignored, nil
}

// OpenConflicts returns the immutable ids of a connector's records with open conflicts, at most limit of them.
func (r reader) OpenConflicts(ctx context.Context, connector string, object identity.Object, limit int) ([]string, error) {
	var ids []string
	err := r.raw(ctx, "SELECT source_id FROM conflicts WHERE connector = ? AND object = ? AND status = ? ORDER BY source_id LIMIT ?",
		connector, string(object), string(identity.ConflictOpen), limit).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("read conflicts: %w", err)
	}
	return ids, nil
}
