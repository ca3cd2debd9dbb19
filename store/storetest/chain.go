package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/chain"
	"github.com/idpsync/idpsync/store/identity"
)

var chainCases = []namedCase{
	{"what was recorded is sealed, and found as it was", sealAll},
	{"sealing goes on where it ended", sealOn},
	{"a transaction that commits late is sealed late", sealLate},
	{"those who seal at once take turns", sealAtOnce},
	{"one seals and the others are told", sealBusy},
	{"the log and its chain are append-only", appendOnly},
	{"whoever changes the log is found out", tamperedLog},
	{"what a head from outside shows", expectedHead},
	{"what was exported is verified without the database", exportedLog},
	{"filters find what they are for, with and without seals", filteredAudit},
}

// chained records n events, some of them with everything that an event has, and seals them.
func (f *fixture) chained(n int) []identity.Event {
	f.Helper()
	f.recordSome(n)
	sealed, err := f.s.SealAll(f.ctx)
	f.check(err)
	if sealed.Events != n || sealed.Missing != 0 || sealed.Twice != 0 {
		f.Fatalf("SealAll = %+v, want %d events", sealed, n)
	}
	events, err := f.s.SealedAudit(f.ctx, store.AuditQuery{Limit: n + 1}, 0)
	f.check(err)
	plain := make([]identity.Event, len(events))
	for i := range events {
		plain[i] = events[i].Event
	}
	return plain
}

func (f *fixture) recordSome(n int) {
	f.Helper()
	for range n {
		f.n++
		f.record(identity.Event{
			At: at(time.Duration(f.n) * time.Second), Type: identity.EventUserUpdated, Object: identity.ObjectUser, ObjectID: fmt.Sprint("object ", f.n), Name: "ü\t\"\u2028",
			Actor:   identity.Actor{Kind: "key", ID: "k", Name: "K", RequestID: fmt.Sprint("request ", f.n%3)},
			Fields:  []identity.FieldChange{{Path: "title", After: `<&>\`}, {Path: "n", Before: 1e21, After: json.Number("12345678901234567890")}, {Path: "o", After: map[string]any{"b": true, "a": []any{nil, 1}}}},
			Members: []string{"m1", "m2"}[:f.n%3], Reason: strings.Repeat("because ", f.n%2),
		})
	}
}

func (f *fixture) verify(expect *chain.Head) (store.AuditVerdict, error) {
	f.Helper()
	verdict, err := f.s.VerifyAudit(f.ctx, expect, nil)
	var broken *chain.BrokenError
	if err != nil && !errors.As(err, &broken) {
		f.Fatal(err)
	}
	return verdict, err
}

func (f *fixture) intact(sealed, unsealed int64) store.AuditVerdict {
	f.Helper()
	verdict, err := f.verify(nil)
	if err != nil || verdict.Head.Count != sealed || verdict.Unsealed != unsealed || verdict.Events != sealed+unsealed {
		f.Fatalf("VerifyAudit = %+v, error %v, want %d sealed and %d not", verdict, err, sealed, unsealed)
	}
	return verdict
}

func sealAll(f *fixture) {
	f.intact(0, 0)
	f.chained(40) // by COPY and by INSERT
	verdict := f.intact(40, 0)
	f.recordSome(2)
	if got := f.intact(40, 2); !got.Oldest.Equal(at(41 * time.Second)) {
		f.Errorf("the oldest that waits is of %s", got.Oldest)
	}
	standing, err := f.s.AuditStanding(f.ctx)
	f.check(err)
	if standing.Head != verdict.Head || standing.Unsealed != 2 || !standing.Oldest.Equal(at(41*time.Second)) || time.Since(standing.SealedAt) > time.Hour {
		f.Errorf("AuditStanding = %+v, want head %s", standing, verdict.Head)
	}
	// What is told of an event elsewhere is what was sealed.
	sealed, err := f.s.SealedAudit(f.ctx, store.AuditQuery{Limit: 100}, 0)
	f.check(err)
	newest := f.audit(store.AuditQuery{Limit: 100})
	links, err := f.s.Links(f.ctx, newest)
	f.check(err)
	if len(sealed) != 40 || len(links) != 40 {
		f.Fatalf("%d events of the chain and %d links, want 40", len(sealed), len(links))
	}
	prev := chain.Hash{}
	for i, s := range sealed {
		if s.Link != links[s.Seq] || s.Link.Position != int64(i+1) || s.Link.Prev != prev {
			f.Errorf("event %d: links %+v and %+v", s.Seq, s.Link, links[s.Seq])
		}
		got, err := chain.Of(prev, &s.Event)
		f.check(err)
		if got != s.Link.Hash {
			f.Errorf("event %d: hash %s, want %s", s.Seq, s.Link.Hash, got)
		}
		prev = s.Link.Hash
	}
}

func sealOn(f *fixture) {
	f.recordSome(7)
	var counts []int
	for after := ""; ; {
		sealed, next, err := f.s.Seal(f.ctx, after, 3)
		f.check(err)
		counts = append(counts, sealed.Events)
		if after = next; after == "" {
			break
		}
	}
	f.equal("events of each Seal", counts, []int{3, 3, 1})
	f.intact(7, 0)
	// An event that is to be sealed twice, and one that is not there, keep nothing from being sealed.
	db := f.raw()
	db.must("INSERT INTO audit_unsealed (event_id) SELECT id FROM audit_events WHERE seq = (SELECT min(seq) FROM audit_events)")
	db.must("INSERT INTO audit_unsealed (event_id) VALUES ('00000000-0000-4000-8000-000000000000')")
	f.recordSome(1)
	sealed, err := f.s.SealAll(f.ctx)
	f.check(err)
	if sealed.Events != 1 || sealed.Twice != 1 || sealed.Missing != 1 || sealed.Head.Count != 8 {
		f.Errorf("SealAll = %+v, want one of each", sealed)
	}
	if _, err := f.verify(nil); err == nil || !strings.Contains(err.Error(), "deleted before it was sealed") {
		f.Errorf("VerifyAudit: error %v", err)
	}
}

func sealLate(f *fixture) {
	if f.s.Dialect() == "sqlite" {
		return // one transaction at a time
	}
	begun, finish, done := make(chan struct{}), make(chan struct{}), make(chan error)
	event := identity.Event{At: epoch, Type: identity.EventUserCreated, ObjectID: "late"}
	go func() {
		done <- f.s.InTx(f.ctx, func(tx *store.Tx) error {
			err := tx.Record(f.ctx, []identity.Event{event})
			close(begun)
			<-finish
			return err
		})
	}()
	<-begun
	f.chained(3)
	f.intact(3, 0)
	close(finish)
	f.check(<-done)
	sealed, err := f.s.SealAll(f.ctx)
	f.check(err)
	if sealed.Events != 1 {
		f.Errorf("SealAll = %+v, want the late one", sealed)
	}
	f.intact(4, 0)
	events, err := f.s.SealedAudit(f.ctx, store.AuditQuery{Limit: 9}, 3)
	f.check(err)
	if len(events) != 1 || events[0].ObjectID != "late" {
		f.Errorf("at the end of the chain: %+v", events)
	}
}

func sealAtOnce(f *fixture) {
	const writers, each = 4, 25
	var writing, sealing sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		sealing.Go(func() {
			for {
				if _, err := f.s.SealAll(f.ctx); err != nil && !errors.Is(err, store.ErrBusy) {
					f.Errorf("SealAll: %v", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range writers {
		writing.Go(func() {
			for i := range each {
				event := identity.Event{At: epoch, Type: identity.EventUserCreated, ObjectID: fmt.Sprint(i)}
				if err := f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.Record(f.ctx, []identity.Event{event, event}) }); err != nil {
					f.Errorf("record: %v", err)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	sealing.Wait()
	_, err := f.s.SealAll(f.ctx)
	f.check(err)
	f.intact(2*writers*each, 0)
}

func sealBusy(f *fixture) {
	if f.s.Dialect() == "sqlite" {
		return // whoever writes waits for a turn
	}
	f.recordSome(1)
	db := f.raw()
	tx, err := db.BeginTx(f.ctx, nil)
	f.check(err)
	_, err = tx.ExecContext(f.ctx, "SELECT 1 FROM audit_head FOR UPDATE")
	f.check(err)
	_, err = f.s.SealAll(f.ctx)
	f.isErr("SealAll while somebody else seals", err, store.ErrBusy)
	f.recordSome(1) // whoever writes does not wait
	f.check(tx.Rollback())
	_, err = f.s.SealAll(f.ctx)
	f.check(err)
	f.intact(2, 0)
}

func appendOnly(f *fixture) {
	f.chained(3)
	db := f.raw()
	statements := []string{
		"UPDATE audit_events SET reason = 'x'", "UPDATE audit_events SET seq = seq + 100", "DELETE FROM audit_events", "DELETE FROM audit_events WHERE type = 'user.updated'",
		"UPDATE audit_chain SET event_seq = event_seq + 100", "DELETE FROM audit_chain",
		"INSERT INTO audit_events (seq, id, at, type, actor_kind, actor_id, actor_name, request_id, run_id, object, object_id, name, fields, members, reason) " +
			"SELECT seq, id, at, type, actor_kind, actor_id, actor_name, request_id, run_id, object, object_id, name, fields, members, reason FROM audit_events WHERE TRUE " +
			"ON CONFLICT (seq) DO UPDATE SET reason = 'x'",
		"INSERT INTO audit_chain (seq, event_seq, hash) SELECT seq, event_seq, hash FROM audit_chain WHERE TRUE ON CONFLICT (seq) DO UPDATE SET event_seq = 9",
	}
	if db.postgres {
		statements = append(statements, "TRUNCATE audit_events", "TRUNCATE audit_chain", "TRUNCATE users, audit_events CASCADE",
			"DO $$ BEGIN SET LOCAL session_replication_role = replica; DELETE FROM audit_events; END $$")
	} else {
		statements = append(statements,
			"REPLACE INTO audit_events SELECT seq, id, at, 'x', actor_kind, actor_id, actor_name, request_id, run_id, object, object_id, name, fields, members, reason FROM audit_events",
			"REPLACE INTO audit_events SELECT seq + 100, id, at, 'x', actor_kind, actor_id, actor_name, request_id, run_id, object, object_id, name, fields, members, reason FROM audit_events",
			"REPLACE INTO audit_chain SELECT seq, event_seq + 100, hash FROM audit_chain", "REPLACE INTO audit_chain SELECT seq + 100, event_seq, hash FROM audit_chain")
	}
	for _, statement := range statements {
		if err := db.exec(statement); err == nil || !strings.Contains(err.Error(), "the audit log is append-only") {
			f.Errorf("%s: error %v, want that it is refused", statement, err)
		}
	}
	f.intact(3, 0)
}

// An attack is what somebody does who owns the database.
type attack struct {
	name       string
	statements []string // $N is the seq of event N
	again      bool     // the chain is computed anew from what is there
	want       string   // in the error; "" for none
	position   int64
}

const copied = "at, type, actor_kind, actor_id, actor_name, request_id, run_id, object, object_id, name, fields, members, reason"

var attacks = []attack{
	{name: "an event is altered", statements: []string{"UPDATE audit_events SET reason = 'no reason' WHERE seq = $3"}, want: "the event is not the one that was sealed", position: 3},
	{name: "an event's time is altered", statements: []string{"UPDATE audit_events SET at = '2020-01-01 00:00:00+00:00' WHERE seq = $3"}, want: "the event is not the one that was sealed", position: 3},
	{name: "what an event tells is altered", statements: []string{`UPDATE audit_events SET fields = '[{"path":"title","before":null,"after":"y"}]' WHERE seq = $1`}, want: "the event is not the one", position: 1},
	{name: "the last event is altered", statements: []string{"UPDATE audit_events SET actor_id = 'somebody else' WHERE seq = $6"}, want: "the event is not the one", position: 6},
	{name: "an event is no event any more", statements: []string{`UPDATE audit_events SET fields = '{"a":1}' WHERE seq = $2`}, want: "event", position: 2},
	{name: "an event in the middle is deleted", statements: []string{"DELETE FROM audit_events WHERE seq = $3"}, want: "the event is gone", position: 3},
	{name: "the last event is deleted", statements: []string{"DELETE FROM audit_events WHERE seq = $6"}, want: "the event is gone", position: 6},
	{
		name: "the last event is deleted with its place", statements: []string{"DELETE FROM audit_events WHERE seq = $6", "DELETE FROM audit_chain WHERE seq = 6"},
		want: "the end of the chain is gone: 5 entries are there, 6 were sealed", position: 6,
	},
	{
		name: "everything is deleted, but for the head", statements: []string{"DELETE FROM audit_events", "DELETE FROM audit_chain", "DELETE FROM audit_unsealed"},
		want: "the end of the chain is gone: 0 entries are there", position: 1,
	},
	{name: "an event is inserted", statements: []string{"INSERT INTO audit_events (id, " + copied + ") SELECT '00000000-0000-4000-8000-000000000000', " + copied + " FROM audit_events WHERE seq = $2"}, want: "written behind the program's back"},
	{
		name: "an event is inserted and another deleted that waits",
		statements: []string{
			"INSERT INTO audit_events (id, " + copied + ") SELECT '00000000-0000-4000-8000-000000000000', " + copied + " FROM audit_events WHERE seq = $2",
			"DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_unsealed)",
		},
		want: "deleted before it was sealed",
	},
	{
		name:       "an event of the same id is inserted",
		statements: []string{"DROP INDEX audit_events_id", "INSERT INTO audit_events (id, " + copied + ") SELECT id, " + copied + " FROM audit_events WHERE seq = $2"},
		want:       "two events have this id",
	},
	{
		name: "two events change places", statements: []string{"UPDATE audit_events SET seq = -1 WHERE seq = $2", "UPDATE audit_events SET seq = $2 WHERE seq = $4", "UPDATE audit_events SET seq = $4 WHERE seq = -1"},
		want: "another one stands in its place", position: 2,
	},
	{
		name:       "two entries of the chain change places",
		statements: []string{"UPDATE audit_chain SET event_seq = -1 WHERE seq = 2", "UPDATE audit_chain SET event_seq = $2 WHERE seq = 4", "UPDATE audit_chain SET event_seq = $4 WHERE seq = 2"},
		want:       "another one stands in its place", position: 2,
	},
	{name: "an entry of the chain is altered", statements: []string{"UPDATE audit_chain SET hash = (SELECT hash FROM audit_chain WHERE seq = 1) WHERE seq = 3"}, want: "the entry of the chain was altered", position: 3},
	{name: "the last entry of the chain is altered", statements: []string{"UPDATE audit_chain SET hash = (SELECT hash FROM audit_chain WHERE seq = 1) WHERE seq = 6"}, want: "the entry of the chain was altered", position: 6},
	{name: "an entry of the chain is deleted", statements: []string{"DELETE FROM audit_chain WHERE seq = 3"}, want: "the entry is missing", position: 3},
	{
		name: "an event's seal is taken away at the end", statements: []string{"DELETE FROM audit_chain WHERE seq = 6", "UPDATE audit_head SET count = 5, hash = (SELECT hash FROM audit_chain WHERE seq = 5)"},
		want: "its seal was taken away",
	},
	{name: "an event that waits is deleted", statements: []string{"DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_unsealed)"}, want: "deleted before it was sealed"},
	{name: "an event is kept from being sealed", statements: []string{"DELETE FROM audit_unsealed"}, want: "neither sealed nor waiting"},
	{name: "the head is altered", statements: []string{"UPDATE audit_head SET count = 5"}, want: "the head that was written down is 5:", position: 6},
	{name: "the head is moved on", statements: []string{"UPDATE audit_head SET count = 7"}, want: "the end of the chain is gone", position: 7},
	{name: "the head is no hash", statements: []string{"UPDATE audit_head SET hash = (SELECT hash FROM audit_head WHERE FALSE)", "UPDATE audit_head SET hash = CAST('abc' AS blob)"}, want: "is no hash", position: 6},
	{name: "the head is deleted", statements: []string{"DELETE FROM audit_head"}, want: "the head is gone"},
	{name: "an event is altered and all is sealed anew", statements: []string{"UPDATE audit_events SET reason = 'no reason' WHERE seq = $3"}, again: true},
	{name: "an event is deleted and all is sealed anew", statements: []string{"DELETE FROM audit_events WHERE seq = $3"}, again: true},
	{name: "the end is deleted and all is sealed anew", statements: []string{"DELETE FROM audit_events WHERE seq >= $5"}, again: true},
	{name: "everything is deleted", statements: []string{"DELETE FROM audit_events"}, again: true},
}

// do does the attack on six sealed events and one that waits, and returns the head from before.
func (a *attack) do(f *fixture) chain.Head {
	f.wipe()
	events := f.chained(6)
	f.recordSome(1)
	before := f.intact(6, 1).Head
	db := f.raw()
	db.unlockAudit()
	defer db.lockAudit()
	statements := a.statements
	if a.again {
		statements = append(statements, "DELETE FROM audit_chain", "DELETE FROM audit_unsealed", "INSERT INTO audit_unsealed (event_id) SELECT id FROM audit_events",
			"UPDATE audit_head SET count = 0, hash = "+zeros(db.postgres))
	}
	for _, statement := range statements {
		for i := range events {
			statement = strings.ReplaceAll(statement, fmt.Sprint("$", i+1), fmt.Sprint(events[i].Seq))
		}
		if db.postgres {
			statement = strings.ReplaceAll(statement, "AS blob", "AS bytea")
		}
		if strings.Contains(statement, "WHERE FALSE") {
			continue
		}
		db.must(statement)
	}
	if a.again {
		_, err := f.s.SealAll(f.ctx)
		f.check(err)
	}
	return before
}

func zeros(postgres bool) string {
	if postgres {
		return "decode(repeat('00', 32), 'hex')"
	}
	return "zeroblob(32)"
}

func tamperedLog(f *fixture) {
	restore := f.restorer()
	for _, a := range attacks {
		before := a.do(f)
		_, err := f.verify(nil)
		var broken *chain.BrokenError
		switch {
		case a.want == "" && err != nil:
			f.Errorf("%s: error %v, want that only a head from outside shows it", a.name, err)
		case a.want == "":
			if _, err := f.verify(&before); err == nil {
				f.Errorf("%s: no error, although the head before is known", a.name)
			}
		case err == nil || !strings.Contains(err.Error(), a.want):
			f.Errorf("%s: error %v, want one with %q", a.name, err, a.want)
		case errors.As(err, &broken) && broken.Position != a.position:
			f.Errorf("%s: found at position %d, want %d: %v", a.name, broken.Position, a.position, err)
		}
		restore()
	}
}

// restorer returns what makes again what attacks take away for good.
func (f *fixture) restorer() func() {
	db := f.raw()
	return func() {
		db.unlockAudit()
		db.must("DELETE FROM audit_chain")
		db.must("DELETE FROM audit_events")
		db.lockAudit()
		db.must("DELETE FROM audit_unsealed")
		db.must("CREATE UNIQUE INDEX IF NOT EXISTS audit_events_id ON audit_events (id)")
		db.must("DELETE FROM audit_head")
		db.must("INSERT INTO audit_head (count, hash) VALUES (0, " + zeros(db.postgres) + ")")
	}
}

func expectedHead(f *fixture) {
	f.chained(3)
	early := f.intact(3, 0).Head
	f.chained1(2)
	now := f.intact(5, 0).Head
	for _, c := range []struct {
		name   string
		expect chain.Head
		want   string
	}{
		{"none", chain.Head{}, ""},
		{"an early one", early, ""},
		{"the one of now", now, ""},
		{"one of another log", chain.Head{Count: 3, Hash: now.Hash}, "expected was"},
		{"a longer one", chain.Head{Count: 6, Hash: now.Hash}, "the log is shorter than expected: 5 events are sealed, 6 were"},
	} {
		_, err := f.verify(&c.expect)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			f.Errorf("VerifyAudit with %s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// chained1 records and seals events in a log that has some.
func (f *fixture) chained1(n int) {
	f.Helper()
	f.recordSome(n)
	_, err := f.s.SealAll(f.ctx)
	f.check(err)
}

func exportedLog(f *fixture) {
	f.chained(9)
	head := f.intact(9, 0).Head
	events, err := f.s.SealedAudit(f.ctx, store.AuditQuery{Limit: 100}, 0)
	f.check(err)
	var file bytes.Buffer
	for _, e := range events {
		line, err := chain.Line(&e.Event, &chain.Link{Seq: e.Link.Position, Prev: e.Link.Prev, Hash: e.Link.Hash})
		f.check(err)
		file.Write(line)
	}
	got, err := chain.VerifyFile(&file, &head, false)
	if err != nil || got.Head != head || got.Events != 9 {
		f.Errorf("VerifyFile = %+v, error %v", got, err)
	}
	some, err := f.s.SealedAudit(f.ctx, store.AuditQuery{RequestID: "request 1", Limit: 2}, 1)
	f.check(err)
	if len(some) != 2 || some[0].Link.Position != 4 || some[1].Link.Position != 7 {
		f.Errorf("SealedAudit of a request = %+v", some)
	}
}

func filteredAudit(f *fixture) {
	event := func(kind identity.EventType, actor, request, run string) {
		f.record(identity.Event{At: at(time.Duration(f.n) * time.Second), Type: kind, Actor: identity.Actor{Kind: "key", ID: actor, RequestID: request, RunID: run}, ObjectID: fmt.Sprint(f.n)})
		f.n++
	}
	event(identity.EventUserCreated, "a", "q1", "")  // 0
	event(identity.EventUserUpdated, "a", "q1", "")  // 1
	event(identity.EventGroupCreated, "b", "q2", "") // 2
	event(identity.EventUserCreated, "c", "", "r")   // 3
	event(identity.EventUserDeleted, "c", "", "r")   // 4
	for _, c := range []struct {
		query store.AuditQuery
		want  string
	}{
		{store.AuditQuery{Type: "user.*"}, "4 3 1 0"},
		{store.AuditQuery{Type: "user.*", Limit: 2}, "4 3"},
		{store.AuditQuery{Type: "user.*", From: at(time.Second), To: at(4 * time.Second)}, "3 1"},
		{store.AuditQuery{Type: "user.*", ActorID: "a"}, "1 0"},
		{store.AuditQuery{Type: "user.created"}, "3 0"},
		{store.AuditQuery{Type: "*"}, "4 3 2 1 0"},
		{store.AuditQuery{Type: "nothing.*"}, ""},
		{store.AuditQuery{ActorID: "c"}, "4 3"},
		{store.AuditQuery{RequestID: "q1"}, "1 0"},
		{store.AuditQuery{RunID: "r"}, "4 3"},
	} {
		if c.query.Limit == 0 {
			c.query.Limit = 9
		}
		var got []string
		for _, e := range f.audit(c.query) {
			got = append(got, e.ObjectID)
		}
		if strings.Join(got, " ") != c.want {
			f.Errorf("Audit(%+v) = %v, want %s", c.query, got, c.want)
		}
	}
	seq := f.audit(store.AuditQuery{Type: "user.*", Limit: 9})[1].Seq
	if got := f.audit(store.AuditQuery{Type: "user.*", Before: seq, Limit: 1}); len(got) != 1 || got[0].ObjectID != "1" {
		f.Errorf("Audit before %d = %+v", seq, got)
	}
}
