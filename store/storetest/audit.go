package storetest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var auditCases = []namedCase{
	{"events come back as recorded, the newest first", recordEvents},
	{"a text that cannot be kept does not stop the record", recordAnyText},
	{"outbox entries and journals are pruned", prune},
}

func (f *fixture) record(events ...identity.Event) {
	f.Helper()
	f.tx(func(tx *store.Tx) error { return tx.Record(f.ctx, events) })
}

func (f *fixture) audit(q store.AuditQuery) []identity.Event {
	f.Helper()
	events, err := f.s.Audit(f.ctx, q)
	f.check(err)
	return events
}

func recordEvents(f *fixture) {
	full := identity.Event{
		At: epoch, Type: identity.EventUserUpdated,
		Actor:  identity.Actor{Kind: "key", ID: "k", Name: `O'Key "\`, RequestID: "q", RunID: "r"},
		Object: identity.ObjectUser, ObjectID: "u1", Name: "ü@example.com",
		Fields: []identity.FieldChange{
			{Path: "title", Before: nil, After: `<"\'ü>`},
			{Path: "active", Before: true, After: false},
			{Path: "name", Before: "", After: map[string]any{"a": []any{"b", nil}}},
			{Path: "n", Before: 1.5, After: json.Number("1.0")},
		},
		Members: []string{"m1", "m2"}, Reason: "because\nof it",
	}
	minimal := identity.Event{At: at(time.Second), Type: identity.EventRunFinished, Actor: identity.Actor{Kind: "system"}}
	f.record(full, minimal)
	var many []identity.Event
	for i := range 40 {
		many = append(many, identity.Event{At: at(time.Minute), Type: identity.EventUserCreated, Object: identity.ObjectUser, ObjectID: fmt.Sprint("many", i)})
	}
	f.record(many...)
	f.record()
	all := f.audit(store.AuditQuery{Limit: 100})
	if len(all) != 42 {
		f.Fatalf("%d events, want 42", len(all))
	}
	for i, e := range all {
		if i > 0 && e.Seq >= all[i-1].Seq {
			f.Fatalf("event %d after event %d", e.Seq, all[i-1].Seq)
		}
		if i < 40 && e.ObjectID != fmt.Sprint("many", 39-i) {
			f.Fatalf("event %d is of %s, want many%d", i, e.ObjectID, 39-i)
		}
	}
	full.Fields[3] = identity.FieldChange{Path: "n", Before: json.Number("1.5"), After: json.Number("1.0")} // as they were written
	ignore := cmpopts.IgnoreFields(identity.Event{}, "Seq", "ID")
	if diff := cmp.Diff([]identity.Event{minimal, full}, all[40:], ignore, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("Audit (-want +got):\n%s", diff)
	}
	if got := all[41].At.Location(); got != time.UTC {
		f.Errorf("At is in %s, want UTC", got)
	}
	for _, c := range []struct {
		query store.AuditQuery
		want  []identity.Event
	}{
		{store.AuditQuery{ObjectID: "u1", Limit: 9}, all[41:]},
		{store.AuditQuery{RunID: "r", Limit: 9}, all[41:]},
		{store.AuditQuery{RunID: "r", ObjectID: "many1", Limit: 9}, nil},
		{store.AuditQuery{Before: all[1].Seq, Limit: 3}, all[2:5]},
		{store.AuditQuery{Before: all[39].Seq, Limit: 99}, all[40:]},
	} {
		f.equal(fmt.Sprintf("Audit(%+v)", c.query), f.audit(c.query), c.want)
	}
	n, err := f.s.OutboxLen(f.ctx)
	f.check(err)
	if n != 42 {
		f.Errorf("OutboxLen = %d, want 42", n)
	}
}

func recordAnyText(f *fixture) {
	f.record(identity.Event{
		At: epoch, Type: identity.EventRefused, Name: "a\x00b", Reason: "\xff",
		Fields: []identity.FieldChange{{Path: "title", After: "c\x00d"}, {Path: "x", After: `\u0000`}},
	})
	got := f.audit(store.AuditQuery{Limit: 1})[0]
	if got.Name != "a\ufffdb" || got.Reason != "\ufffd" || got.Fields[0].After != "c\ufffdd" || got.Fields[1].After != `\u0000` {
		f.Errorf("Audit = %+v", got)
	}
}

func prune(f *fixture) {
	db := f.raw()
	f.record(identity.Event{At: epoch, Type: identity.EventUserCreated}, identity.Event{At: at(2 * time.Hour), Type: identity.EventUserCreated})
	f.run("old", "okta", func(r *identity.Run) { r.Finished = at(time.Minute) })
	f.run("young", "okta", func(r *identity.Run) { r.Finished = at(2 * time.Hour) })
	f.run("running", "okta")
	for _, id := range []string{"old", "young", "running"} {
		f.journal(id, identity.Change{Object: identity.ObjectUser, Op: identity.OpCreate})
	}
	f.check(f.s.Prune(f.ctx, at(time.Hour)))
	for statement, want := range map[string]int{
		"SELECT count(*) FROM outbox": 1, "SELECT count(*) FROM audit_events": 2, "SELECT count(*) FROM runs": 3,
		"SELECT count(*) FROM run_changes WHERE run_id = 'old'": 0, "SELECT count(*) FROM run_changes": 2,
	} {
		if got := db.count(statement); got != want {
			f.Errorf("%s = %d, want %d", statement, got, want)
		}
	}
}
