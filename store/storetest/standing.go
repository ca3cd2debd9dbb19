package storetest

import (
	"errors"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var standingCases = []namedCase{
	{"how the runs of a connector went last", runStanding},
	{"how much is held", countHoldings},
	{"events are counted when they are committed, by the way they came", countRecorded},
}

func runStanding(f *fixture) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	run := func(id, connector, kind string, status identity.RunStatus, dry bool) {
		f.run(id, connector, func(r *identity.Run) {
			r.Kind, r.Status, r.DryRun, r.Finished = kind, status, dry, at
			if status == identity.RunRunning {
				r.Finished = time.Time{}
			}
		})
	}
	want := func(when, last, compared string) {
		f.Helper()
		got, err := f.s.RunStanding(f.ctx, "okta")
		f.check(err)
		if got.Last.ID != last || got.Compared.ID != compared {
			f.Errorf("%s: last %q, compared %q, want %q, %q", when, got.Last.ID, got.Compared.ID, last, compared)
		}
	}
	run("1", "entra", identity.KindFull, identity.RunDone, false)
	want("without a run", "", "")
	run("2", "okta", identity.KindFull, identity.RunHeld, false)
	want("a run", "2", "2")
	run("3", "okta", identity.KindFull, identity.RunPlanned, true)
	want("a dry run", "2", "3")
	run("4", "okta", identity.KindIncremental, identity.RunFailed, false)
	want("a run that failed", "4", "3")
	run("5", "okta", identity.KindObject, identity.RunDone, false)
	run("6", "okta", identity.KindFull, identity.RunRunning, false)
	want("one of a person, and one that is going", "4", "3")
	run("7", "okta", identity.KindIncremental, identity.RunDone, false)
	want("another", "7", "7")
}

func countHoldings(f *fixture) {
	of := func(source string, active bool) func(*identity.User) {
		return func(u *identity.User) { u.Source, u.Active = source, active }
	}
	okta := f.users(3, of("okta", true))
	f.users(2, of("okta", false))
	f.users(1, of("scim:k1", true))
	f.users(1, of("scim:k2", true))
	f.users(1, of("", true))
	f.users(1, func(u *identity.User) { u.Source, u.Active, u.DeletedAt = "okta", false, time.Now() })
	g := f.group(func(g *identity.Group) { g.Source = "okta" })
	f.group(func(g *identity.Group) { g.Source = "" })
	f.addMembers(g.ID, okta...)
	got, err := f.s.Holdings(f.ctx)
	f.check(err)
	f.equal("Holdings", got, store.Holdings{
		Active: map[string]int{"okta": 3, "scim": 2, "": 1}, Inactive: map[string]int{"okta": 2}, Groups: map[string]int{"okta": 1, "": 1},
		Memberships: 3, Teams: got.Teams,
	})
	if got.Teams < 1 {
		f.Errorf("%d teams, and root is one", got.Teams)
	}
}

func countRecorded(f *fixture) {
	event := identity.Event{At: time.Now(), Type: identity.EventUserCreated, Actor: identity.Actor{Kind: "system"}, Object: identity.ObjectUser, ObjectID: "u"}
	push := store.WithOrigin(f.ctx, "push")
	f.check(f.s.InTx(push, func(tx *store.Tx) error { return tx.Record(push, []identity.Event{event, event}) }))
	f.check(f.s.InTx(f.ctx, func(tx *store.Tx) error {
		return errors.Join(tx.Record(f.ctx, []identity.Event{event}), tx.Record(f.ctx, []identity.Event{event}))
	}))
	undone := errors.New("undone")
	f.isErr("InTx", f.s.InTx(push, func(tx *store.Tx) error {
		return errors.Join(tx.Record(push, []identity.Event{event}), undone)
	}), undone)
	f.equal("Recorded", f.s.Recorded(), map[store.Recorded]int64{
		{Type: identity.EventUserCreated, Origin: "push"}: 2, {Type: identity.EventUserCreated}: 2,
	})
}
