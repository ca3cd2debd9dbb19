package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store/identity"
)

var eventInsert = []string{
	"id", "at", "type", "actor_kind", "actor_id", "actor_name", "request_id", "run_id", "object", "object_id", "name",
	"fields", "members", "reason",
}

var (
	outboxInsert   = []string{"event_id", "type", "object_id", "created_at"}
	unsealedInsert = []string{"event_id"}
)

// Record appends events to the audit log, where Seal finds them, and an entry for each to the outbox.
func (tx *Tx) Record(ctx context.Context, events []identity.Event) error {
	tx.note(events)
	audit, outbox, unsealed := make([][]any, len(events)), make([][]any, len(events)), make([][]any, len(events))
	for i := range events {
		e := &events[i]
		fields, err := jsonList(e.Fields)
		if err != nil {
			return fmt.Errorf("record %s: %w", e.Type, err)
		}
		members, err := jsonList(e.Members)
		if err != nil {
			return fmt.Errorf("record %s: %w", e.Type, err)
		}
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("record %s: %w", e.Type, err)
		}
		at := stamp(e.At)
		audit[i] = []any{
			id.String(), at, string(e.Type), e.Actor.Kind, e.Actor.ID, legible(e.Actor.Name), legible(e.Actor.RequestID), e.Actor.RunID,
			string(e.Object), e.ObjectID, legible(e.Name), fields, members, legible(e.Reason),
		}
		outbox[i] = []any{id.String(), string(e.Type), e.ObjectID, at}
		unsealed[i] = []any{id.String()}
	}
	if tx.d.postgres() && 0 < len(events) && len(events) < copyFrom {
		return tx.recordAtOnce(ctx, audit)
	}
	if err := tx.insertRows(ctx, "audit_events", eventInsert, audit); err != nil {
		return err
	}
	if err := tx.insertRows(ctx, "audit_unsealed", unsealedInsert, unsealed); err != nil {
		return err
	}
	return tx.insertRows(ctx, "outbox", outboxInsert, outbox)
}

// recordAtOnce writes events and what goes with them in one statement: nearly every change records one or two, and
// another round trip would be a fifth of what it takes. SQLite has none to save, nor a statement that writes two tables.
func (tx *Tx) recordAtOnce(ctx context.Context, audit [][]any) error {
	head, args := insertOf("audit_events", eventInsert, audit)
	_, err := tx.exec(ctx, "WITH recorded AS ("+head+" RETURNING seq, id, type, object_id, at), "+
		"unsealed AS (INSERT INTO audit_unsealed (event_id) SELECT id FROM recorded) "+
		"INSERT INTO outbox ("+strings.Join(outboxInsert, ", ")+") SELECT id, type, object_id, at FROM recorded ORDER BY seq", args...)
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	return nil
}

func jsonList[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(list)
	return replaceNUL(string(b)), err
}

type eventRow struct {
	Seq                                            int64
	ID                                             string
	At                                             time.Time
	Type, ActorKind, ActorID, ActorName, RequestID string
	RunID, Object, ObjectID, Name                  string
	Fields, Members, Reason                        string
}

// decoded returns the row as an event. Numbers stay as they are written: they were sealed so.
func (row *eventRow) decoded() (identity.Event, error) {
	e := row.event()
	fields := json.NewDecoder(strings.NewReader(row.Fields))
	fields.UseNumber()
	if err := fields.Decode(&e.Fields); err != nil {
		return identity.Event{}, fmt.Errorf("read the audit log: event %d: %w", row.Seq, err)
	}
	if err := json.Unmarshal([]byte(row.Members), &e.Members); err != nil {
		return identity.Event{}, fmt.Errorf("read the audit log: event %d: %w", row.Seq, err)
	}
	return e, nil
}

// AuditQuery selects events, the newest first. What is zero selects everything.
type AuditQuery struct {
	ObjectID  string    // of what the event is about
	UserID    string    // about a person: the account's own events, and those by which it came into groups and left them
	ActorID   string    // of who did it
	Type      string    // of the event; with ".*" at its end, all that begin so
	RequestID string    // of the request that did it
	RunID     string    // of the run that did it
	From, To  time.Time // not before, and before
	Before    int64     // Seq to go on before
	Limit     int
}

const auditColumns = "seq, CAST(id AS text) AS id, at, type, actor_kind, actor_id, actor_name, request_id, run_id, object, object_id, name, fields, members, reason"

// from returns what the query reads from, with its parameters. Whoever asks about a person is given the few events that two
// indexes find, all of them: a database that expects many goes through the log from its end until it has met enough.
func (q *AuditQuery) from(d dialect) (string, []any) {
	if q.UserID == "" {
		return "audit_events", nil
	}
	names, fence := "instr(members, ?) > 0", ""
	if d.postgres() {
		names, fence = "members @> jsonb_build_array(CAST(? AS text))", " OFFSET 0"
	}
	head := "SELECT " + auditColumns + " FROM audit_events WHERE "
	return "(" + head + "object_id = ? UNION ALL SELECT * FROM (" + head + ofMemberships + " AND " + names + " AND object_id <> ?" + fence + ") memberships) e",
		[]any{q.UserID, q.UserID, q.UserID}
}

// where returns the query's condition with its parameters. What has an index that is of part of the rows says which.
func (q *AuditQuery) where() (string, []any) {
	condition, args := "TRUE", []any{}
	add := func(wanted bool, text string, values ...any) {
		if wanted {
			condition, args = condition+" AND "+text, append(args, values...)
		}
	}
	add(q.ObjectID != "", "object_id = ?", q.ObjectID)
	add(q.ActorID != "", "actor_id = ?", q.ActorID)
	prefix, begins := strings.CutSuffix(q.Type, "*")
	add(begins, "substr(type, 1, ?) = ?", len(prefix), prefix)
	add(!begins && q.Type != "", "type = ?", q.Type)
	add(q.RequestID != "", "request_id = ? AND request_id <> ''", q.RequestID)
	add(q.RunID != "", "run_id = ? AND run_id <> ''", q.RunID)
	add(!q.From.IsZero(), "at >= ?", stamp(q.From))
	add(!q.To.IsZero(), "at < ?", stamp(q.To))
	add(q.Before > 0, "seq < ?", q.Before)
	return condition, args
}

// typesOf returns the types that a query asks for with a pattern, where nothing else in it makes the events few: then
// each type is looked up for itself.
func (q *AuditQuery) typesOf() []identity.EventType {
	prefix, begins := strings.CutSuffix(q.Type, "*")
	if !begins || prefix == "" || q.UserID+q.ObjectID+q.ActorID+q.RequestID+q.RunID != "" {
		return nil
	}
	return slices.DeleteFunc(identity.EventTypes(), func(t identity.EventType) bool { return !strings.HasPrefix(string(t), prefix) })
}

// statement returns what reads the events, the newest first.
func (q *AuditQuery) statement(d dialect) (string, []any) {
	types := q.typesOf()
	if len(types) == 0 {
		from, args := q.from(d)
		condition, more := q.where()
		return "SELECT " + auditColumns + " FROM " + from + " WHERE " + condition + " ORDER BY seq DESC LIMIT ?", append(append(args, more...), q.Limit)
	}
	var parts []string
	var args []any
	for _, t := range types {
		one := *q
		one.Type = string(t)
		condition, more := one.where()
		parts = append(parts, "SELECT * FROM (SELECT "+auditColumns+" FROM audit_events WHERE "+condition+" ORDER BY seq DESC LIMIT ?) t")
		args = append(append(args, more...), q.Limit)
	}
	return "SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") e ORDER BY seq DESC LIMIT ?", append(args, q.Limit)
}

// Audit returns events of the audit log, the newest first.
func (r reader) Audit(ctx context.Context, q AuditQuery) ([]identity.Event, error) {
	statement, args := q.statement(r.d)
	var rows []eventRow
	if err := r.raw(ctx, statement, args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	events := make([]identity.Event, len(rows))
	for i := range rows {
		var err error
		if events[i], err = rows[i].decoded(); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// OutboxLen returns the number of outbox entries that are not delivered.
func (r reader) OutboxLen(ctx context.Context) (int, error) {
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM outbox WHERE delivered_at IS NULL").Scan(&n).Error
	return n, err
}

// Prune forgets what has served its time: outbox entries and the journals of finished runs from before a time. Runs
// themselves and the audit log stay.
func (s *Store) Prune(ctx context.Context, before time.Time) error {
	return s.InTx(ctx, func(tx *Tx) error {
		if _, err := tx.exec(ctx, "DELETE FROM outbox WHERE created_at < ?", stamp(before)); err != nil {
			return fmt.Errorf("prune the outbox: %w", err)
		}
		if _, err := tx.exec(ctx, "DELETE FROM run_changes WHERE run_id IN (SELECT id FROM runs WHERE finished_at < ?)", stamp(before)); err != nil {
			return fmt.Errorf("prune journals: %w", err)
		}
		if _, err := tx.exec(ctx, "DELETE FROM run_members WHERE run_id IN (SELECT id FROM runs WHERE started_at < ?)", stamp(before)); err != nil {
			return fmt.Errorf("prune spooled members: %w", err)
		}
		return nil
	})
}
