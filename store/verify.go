package store

import (
	"context"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/chain"
	"github.com/idpsync/idpsync/store/identity"
)

// verifyBatch is how many entries of the chain one statement reads.
const verifyBatch = 5000

// AuditVerdict is what the verification of the audit log came to.
type AuditVerdict struct {
	Head     chain.Head // up to where the chain holds
	Events   int64      // in the log, sealed or not
	Unsealed int64      // events that wait to be sealed: nothing proves these yet
	Oldest   time.Time  // when the one of them that waits longest happened
}

// VerifyAudit compares the whole audit log with what was sealed, at one moment, and with a head that was noted outside,
// where there is one. A *chain.BrokenError says where it is not what it was. progress, if not nil, is told how many entries were
// looked at, and of how many.
func (s *Store) VerifyAudit(ctx context.Context, expect *chain.Head, progress func(done, of int64)) (verdict AuditVerdict, err error) {
	err = s.snapshot(ctx, func(r reader) error {
		standing, err := r.AuditStanding(ctx)
		if err != nil {
			return err
		}
		walk := chain.Walk{Expect: expect}
		for after := int64(0); ; {
			last, err := r.walk(ctx, &walk, after)
			verdict.Head = walk.Head()
			if err != nil {
				return err
			}
			if last == after {
				break
			}
			after = last
			if progress != nil {
				progress(after, standing.Head.Count)
			}
		}
		if err := walk.End(standing.Head); err != nil {
			return err
		}
		return r.verifyRest(ctx, &verdict)
	})
	return verdict, err
}

// walk goes on from a position, and returns up to where.
func (r reader) walk(ctx context.Context, walk *chain.Walk, after int64) (int64, error) {
	found := "LEFT JOIN LATERAL (SELECT * FROM audit_events WHERE seq = c.event_seq OFFSET 0) e ON TRUE" // as seal does
	if !r.d.postgres() {
		found = "LEFT JOIN audit_events e ON e.seq = c.event_seq"
	}
	rows, err := r.raw(ctx, "SELECT c.seq, c.event_seq, c.hash, "+eventRowColumns+" FROM (SELECT seq, event_seq, hash FROM audit_chain WHERE seq > ? ORDER BY seq LIMIT ?) c "+
		found+" ORDER BY c.seq", after, verifyBatch).Rows()
	if err != nil {
		return 0, fmt.Errorf("verify the audit log: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			entry chain.Entry
			hash  []byte
			m     maybeEvent
		)
		if err := rows.Scan(append([]any{&entry.Position, &entry.Seq, &hash}, m.into()...)...); err != nil {
			return 0, fmt.Errorf("verify the audit log: %w", err)
		}
		copy(entry.Hash[:], hash)
		if row := m.row(); row != nil {
			e, err := row.decoded()
			if err != nil {
				return 0, &chain.BrokenError{Position: entry.Position, Seq: row.Seq, EventID: row.ID, Problem: err.Error()}
			}
			entry.Event = &e
		}
		if err := walk.Step(entry); err != nil {
			return 0, err
		}
		after = entry.Position
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("verify the audit log: %w", err)
	}
	return after, nil
}

// verifyRest looks at what is not in the chain: each event is in it or waits, once, and what waits is there.
func (r reader) verifyRest(ctx context.Context, verdict *AuditVerdict) error {
	for _, suspect := range []struct{ problem, statement string }{
		{"two events have this id: one of them was written behind the program's back", "SELECT min(seq) AS seq, CAST(id AS text) AS id FROM audit_events GROUP BY id HAVING count(*) > 1 LIMIT 1"},
		{"the event was deleted before it was sealed", "SELECT 0 AS seq, CAST(u.event_id AS text) AS id FROM audit_unsealed u LEFT JOIN audit_events e ON e.id = u.event_id WHERE e.id IS NULL ORDER BY u.event_id LIMIT 1"},
	} {
		if err := r.suspect(ctx, suspect.problem, suspect.statement); err != nil {
			return err
		}
	}
	var counts []struct{ Events, Waiting int64 }
	err := r.raw(ctx, "SELECT (SELECT count(*) FROM audit_events) AS events, (SELECT count(*) FROM audit_unsealed) AS waiting").Scan(&counts).Error
	if err != nil {
		return fmt.Errorf("verify the audit log: %w", err)
	}
	verdict.Events, verdict.Unsealed = counts[0].Events, counts[0].Waiting
	if verdict.Events != verdict.Head.Count+verdict.Unsealed {
		err := r.suspect(ctx, "the event is neither sealed nor waiting to be: it was written behind the program's back, or its seal was taken away",
			"SELECT e.seq, CAST(e.id AS text) AS id FROM audit_events e LEFT JOIN audit_chain c ON c.event_seq = e.seq LEFT JOIN audit_unsealed u ON u.event_id = e.id "+
				"WHERE c.seq IS NULL AND u.event_id IS NULL ORDER BY e.seq LIMIT 1")
		if err != nil {
			return err
		}
		// Fewer events than places: what waits is sealed already, and is going to be taken off the list.
	}
	if verdict.Unsealed == 0 {
		return nil
	}
	var oldest []time.Time
	err = r.raw(ctx, "SELECT e.at FROM audit_unsealed u JOIN audit_events e ON e.id = u.event_id ORDER BY e.at LIMIT 1").Scan(&oldest).Error
	if err != nil {
		return fmt.Errorf("verify the audit log: %w", err)
	}
	if len(oldest) > 0 {
		verdict.Oldest = oldest[0].UTC()
	}
	return nil
}

// suspect returns what is wrong with the event that a statement finds, if any.
func (r reader) suspect(ctx context.Context, problem, statement string) error {
	var rows []struct {
		Seq int64
		ID  string
	}
	if err := r.raw(ctx, statement).Scan(&rows).Error; err != nil {
		return fmt.Errorf("verify the audit log: %w", err)
	}
	if len(rows) == 0 {
		return nil
	}
	return &chain.BrokenError{Seq: rows[0].Seq, EventID: rows[0].ID, Problem: problem}
}

// Link is an event's place in the chain.
type Link struct {
	Position int64
	Prev     chain.Hash
	Hash     chain.Hash
}

type linkRow struct {
	Position   int64
	EventSeq   int64
	Hash, Prev []byte
}

func (row *linkRow) link() Link {
	l := Link{Position: row.Position}
	copy(l.Hash[:], row.Hash)
	copy(l.Prev[:], row.Prev)
	return l
}

// Links returns the places of events in the chain, by Seq. Who is not sealed yet has none.
func (r reader) Links(ctx context.Context, events []identity.Event) (map[int64]Link, error) {
	seqs := make([]string, len(events))
	for i := range events {
		seqs[i] = fmt.Sprint(events[i].Seq)
	}
	var rows []linkRow
	err := r.raw(ctx, "SELECT c.seq AS position, c.event_seq, c.hash, p.hash AS prev FROM audit_chain c LEFT JOIN audit_chain p ON p.seq = c.seq - 1 WHERE "+
		r.d.in("c.event_seq", "bigint"), r.d.list(seqs)).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read the audit log's chain: %w", err)
	}
	links := make(map[int64]Link, len(rows))
	for i := range rows {
		links[rows[i].EventSeq] = rows[i].link()
	}
	return links, nil
}

// SealedEvent is an event with its place in the chain.
type SealedEvent struct {
	identity.Event
	Link Link
}

// SealedAudit returns events in the order of the chain, after a position. q's Before is nothing here.
func (r reader) SealedAudit(ctx context.Context, q AuditQuery, after int64) ([]SealedEvent, error) {
	q.Before = 0
	from, args := q.from(r.d)
	condition, more := q.where()
	args = append(append(args, more...), after, q.Limit)
	var rows []struct {
		LinkRow  linkRow  `gorm:"embedded"`
		EventRow eventRow `gorm:"embedded"`
	}
	err := r.raw(ctx, "SELECT c.seq AS position, c.event_seq, c.hash, p.hash AS prev, e.* FROM audit_chain c "+
		"JOIN (SELECT "+auditColumns+" FROM "+from+" WHERE "+condition+") e ON e.seq = c.event_seq "+
		"LEFT JOIN audit_chain p ON p.seq = c.seq - 1 WHERE c.seq > ? ORDER BY c.seq LIMIT ?", args...).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	events := make([]SealedEvent, len(rows))
	for i := range rows {
		e, err := rows[i].EventRow.decoded()
		if err != nil {
			return nil, err
		}
		events[i] = SealedEvent{e, rows[i].LinkRow.link()}
	}
	return events, nil
}
