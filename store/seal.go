package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/idpsync/idpsync/store/chain"
)

// sealPause ends a transaction that seals and was left alone, on PostgreSQL: a process that is paused in it would keep
// all others from sealing.
const sealPause = 30 * time.Second

var chainInsert = []string{"seq", "event_seq", "hash"}

// Sealed is what one call of Seal came to.
type Sealed struct {
	Events  int // that have a place in the chain now
	Missing int // that wait to be sealed and are gone from the log
	Twice   int // that were to be sealed again
	Head    chain.Head
	next    string // where to go on
}

// Seal gives events that wait for it their places in the chain: at most limit, the oldest first, after the one of id
// after, which "" begins. It returns where to go on, "" when none are left. An event is sealed after its transaction
// was committed, in an order of the chain's own, so that nobody who writes waits for it. Of those who seal at once one
// does, and the others have ErrBusy.
func (s *Store) Seal(ctx context.Context, after string, limit int) (sealed Sealed, next string, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		sealed = Sealed{}
		head, err := tx.lockHead(ctx)
		if err != nil {
			return err
		}
		return tx.seal(ctx, head, after, limit, &sealed)
	})
	if err != nil {
		return Sealed{}, "", err
	}
	return sealed, sealed.next, nil
}

// SealAll seals all that waits; ErrBusy when somebody else is at it.
func (s *Store) SealAll(ctx context.Context) (Sealed, error) {
	var all Sealed
	for after := ""; ; {
		sealed, next, err := s.Seal(ctx, after, SealBatch)
		if err != nil {
			return all, err
		}
		all.Events, all.Missing, all.Twice, all.Head = all.Events+sealed.Events, all.Missing+sealed.Missing, all.Twice+sealed.Twice, sealed.Head
		if after = next; after == "" {
			return all, nil
		}
	}
}

// SealBatch is how many events are sealed in one transaction.
const SealBatch = 2000

// lockHead returns the head, which nobody else moves until the transaction ends; ErrBusy.
func (tx *Tx) lockHead(ctx context.Context) (chain.Head, error) {
	lock := ""
	if tx.d.postgres() {
		lock = " FOR UPDATE SKIP LOCKED"
		// Until the end of the transaction: nothing stays in the session, which with a pooler is not ours.
		var set string
		if err := tx.raw(ctx, "SELECT set_config('idle_in_transaction_session_timeout', ?, TRUE)", fmt.Sprint(sealPause.Milliseconds())).Scan(&set).Error; err != nil {
			return chain.Head{}, fmt.Errorf("seal the audit log: %w", err)
		}
	}
	var rows []headRow
	if err := tx.raw(ctx, "SELECT count, hash, sealed_at FROM audit_head"+lock).Scan(&rows).Error; err != nil {
		return chain.Head{}, fmt.Errorf("seal the audit log: %w", err)
	}
	if len(rows) == 0 {
		return chain.Head{}, ErrBusy
	}
	return rows[0].head()
}

type headRow struct {
	Count    int64
	Hash     []byte
	SealedAt *time.Time
}

func (row *headRow) head() (chain.Head, error) {
	h := chain.Head{Count: row.Count}
	if copy(h.Hash[:], row.Hash) != len(h.Hash) || len(row.Hash) != len(h.Hash) {
		return h, &chain.BrokenError{Position: row.Count, Problem: "the head that was written down is no hash"}
	}
	return h, nil
}

// eventRowColumns are those of eventRow, as scanEvent reads them.
const eventRowColumns = "e.seq, CAST(e.id AS text), e.at, e.type, e.actor_kind, e.actor_id, e.actor_name, e.request_id, e.run_id, e.object, e.object_id, e.name, e.fields, e.members, e.reason"

// maybeEvent is an eventRow of an outer join.
type maybeEvent struct {
	seq  *int64
	at   *time.Time
	text [13]*string
}

func (m *maybeEvent) into() []any {
	into := []any{&m.seq, &m.text[0], &m.at}
	for i := range m.text[1:] {
		into = append(into, &m.text[i+1])
	}
	return into
}

// row returns the event, or nil where there is none.
func (m *maybeEvent) row() *eventRow {
	if m.seq == nil {
		return nil
	}
	t := &m.text
	return &eventRow{
		Seq: *m.seq, ID: *t[0], At: *m.at, Type: *t[1], ActorKind: *t[2], ActorID: *t[3], ActorName: *t[4], RequestID: *t[5], RunID: *t[6],
		Object: *t[7], ObjectID: *t[8], Name: *t[9], Fields: *t[10], Members: *t[11], Reason: *t[12],
	}
}

// seal seals a batch. Rows stream: of the events, which may name everybody, one at a time is in memory.
func (tx *Tx) seal(ctx context.Context, head chain.Head, after string, limit int, out *Sealed) error {
	beginning, args := "", []any{}
	if after != "" {
		beginning, args = " WHERE event_id > "+tx.d.uuid("?"), append(args, after)
	}
	waiting := "(SELECT event_id FROM audit_unsealed" + beginning + " ORDER BY event_id LIMIT ?) waiting "
	// PostgreSQL is made to look each event up: left the choice, it may read the whole log for a batch.
	found := "LEFT JOIN LATERAL (SELECT * FROM audit_events WHERE id = waiting.event_id OFFSET 0) e ON TRUE " +
		"LEFT JOIN LATERAL (SELECT seq FROM audit_chain WHERE event_seq = e.seq OFFSET 0) c ON TRUE"
	if !tx.d.postgres() {
		found = "LEFT JOIN audit_events e ON e.id = waiting.event_id LEFT JOIN audit_chain c ON c.event_seq = e.seq"
	}
	rows, err := tx.raw(ctx, "SELECT CAST(waiting.event_id AS text), c.seq, "+eventRowColumns+" FROM "+waiting+found+" ORDER BY waiting.event_id", append(args, limit)...).Rows()
	if err != nil {
		return fmt.Errorf("seal the audit log: %w", err)
	}
	defer rows.Close()
	var (
		entries [][]any
		settled []string
		n       int
		last    string
	)
	for rows.Next() {
		var (
			id string
			at *int64
			m  maybeEvent
		)
		if err := rows.Scan(append([]any{&id, &at}, m.into()...)...); err != nil {
			return fmt.Errorf("seal the audit log: %w", err)
		}
		if id != last {
			n++
		}
		last = id
		row := m.row()
		switch {
		case row == nil:
			out.Missing++ // it goes on waiting: there is no better trace of it
			continue
		case at != nil:
			out.Twice++
			settled = append(settled, id)
			continue
		}
		e, err := row.decoded()
		if err != nil {
			return err
		}
		if head.Hash, err = chain.Of(head.Hash, &e); err != nil {
			return fmt.Errorf("seal the audit log: %w", err)
		}
		head.Count++
		entries = append(entries, []any{head.Count, e.Seq, append([]byte(nil), head.Hash[:]...)})
		settled = append(settled, id)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("seal the audit log: %w", err)
	}
	if err := rows.Close(); err != nil {
		return fmt.Errorf("seal the audit log: %w", err)
	}
	out.Events, out.Head = len(entries), head
	if n == limit {
		out.next = last
	}
	if len(settled) == 0 {
		return nil
	}
	return tx.settleSealed(ctx, head, entries, settled)
}

func (tx *Tx) settleSealed(ctx context.Context, head chain.Head, entries [][]any, settled []string) error {
	if err := tx.insertRows(ctx, "audit_chain", chainInsert, entries); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, "DELETE FROM audit_unsealed WHERE "+tx.d.in("event_id", "uuid"), tx.d.list(settled)); err != nil {
		return fmt.Errorf("seal the audit log: %w", err)
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "UPDATE audit_head SET count = ?, hash = ?, sealed_at = ?", head.Count, head.Hash[:], stamp(now))
	if err != nil {
		return fmt.Errorf("seal the audit log: %w", err)
	}
	return nil
}

// AuditStanding is how far the audit log is sealed.
type AuditStanding struct {
	Head     chain.Head
	SealedAt time.Time // when the head was last moved; zero for never
	Unsealed int       // events that wait; at most UnsealedAtMost, which stands for more
	Oldest   time.Time // when the one that waits longest happened; zero where none waits
}

// UnsealedAtMost bounds what AuditStanding counts.
const UnsealedAtMost = 100_000

// AuditStanding tells how far the audit log is sealed, without reading it.
func (r reader) AuditStanding(ctx context.Context) (AuditStanding, error) {
	var rows []struct {
		HeadRow  headRow `gorm:"embedded"`
		Unsealed int
	}
	// In one statement: between two, the last ones may be sealed.
	err := r.raw(ctx, "SELECT count, hash, sealed_at, (SELECT count(*) FROM (SELECT 1 FROM audit_unsealed LIMIT ?) u) AS unsealed FROM audit_head", UnsealedAtMost).Scan(&rows).Error
	if err != nil {
		return AuditStanding{}, fmt.Errorf("read the audit log's head: %w", err)
	}
	if len(rows) == 0 {
		return AuditStanding{}, &chain.BrokenError{Problem: "the head is gone"}
	}
	head, err := rows[0].HeadRow.head()
	if err != nil {
		return AuditStanding{}, err
	}
	standing := AuditStanding{Head: head, SealedAt: timeOf(rows[0].HeadRow.SealedAt), Unsealed: rows[0].Unsealed}
	if standing.Unsealed == 0 {
		return standing, nil
	}
	var oldest []time.Time
	err = r.raw(ctx, "SELECT e.at FROM (SELECT event_id FROM audit_unsealed ORDER BY event_id LIMIT 1) u JOIN audit_events e ON e.id = u.event_id").Scan(&oldest).Error
	if err != nil {
		return AuditStanding{}, fmt.Errorf("read what waits to be sealed: %w", err)
	}
	if len(oldest) > 0 {
		standing.Oldest = oldest[0].UTC()
	}
	return standing, nil
}

// snapshot runs f on what the database holds at one moment, without keeping others from writing.
func (s *Store) snapshot(ctx context.Context, f func(reader) error) error {
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer conn.Close()
	begin := "BEGIN"
	if s.d.postgres() {
		begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	}
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") //nolint:errcheck // nothing was written
	db := s.db.Session(&gorm.Session{NewDB: true, Context: ctx})
	db.Statement.ConnPool = conn
	return f(reader{db: db, d: s.d})
}
