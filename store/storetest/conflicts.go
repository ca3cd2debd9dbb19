package storetest

import (
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var conflictCases = []namedCase{
	{"noted, noted again, resolved, and open again", noteConflicts},
	{"ignored ones stay so", ignoreConflicts},
	{"found by id and by its beginning", findConflicts},
	{"resolved when a full run does not see them", resolveUnseenConflicts},
}

// conflict notes one that a run saw.
func (f *fixture) conflict(connector string, object identity.Object, sourceID, run string, seen time.Time, candidates ...string) identity.Conflict {
	f.Helper()
	c := identity.Conflict{
		ID: uuid.NewString(), Connector: connector, Object: object, SourceID: sourceID, Name: "name of " + sourceID, Reason: "it's a 'conflict'",
		Candidates: candidates, FirstSeen: seen, LastSeen: seen, LastRunID: run, Status: identity.ConflictOpen,
	}
	f.tx(func(tx *store.Tx) error { return tx.NoteConflicts(f.ctx, []identity.Conflict{c}) })
	return c
}

func (f *fixture) conflicts(connector string, all bool) []identity.Conflict {
	f.Helper()
	list, err := f.s.Conflicts(f.ctx, connector, all)
	f.check(err)
	return list
}

func (f *fixture) decide(id string, edit func(*identity.Conflict)) {
	f.Helper()
	f.tx(func(tx *store.Tx) error {
		c, err := tx.LockConflict(f.ctx, id)
		if err != nil {
			return err
		}
		edit(&c)
		return tx.DecideConflict(f.ctx, &c)
	})
}

func noteConflicts(f *fixture) {
	a := f.conflict("okta", identity.ObjectUser, "u'1", "r1", at(0), "c1", "c2")
	g := f.conflict("okta", identity.ObjectGroup, "u'1", "r1", at(time.Second))
	e := f.conflict("entra", identity.ObjectUser, "u'1", "r1", at(2*time.Second))
	f.equal("Conflicts", f.conflicts("", false), []identity.Conflict{a, g, e})
	f.equal("Conflicts of entra", f.conflicts("entra", false), []identity.Conflict{e})

	again := f.conflict("okta", identity.ObjectUser, "u'1", "r2", at(time.Minute), "c3")
	again.ID, again.FirstSeen = a.ID, a.FirstSeen
	f.equal("Conflicts, noted again", f.conflicts("okta", false), []identity.Conflict{again, g})

	resolve := func(want int, ids ...string) {
		f.Helper()
		f.tx(func(tx *store.Tx) error {
			n, err := tx.ResolveConflicts(f.ctx, "okta", identity.ObjectUser, ids, at(time.Hour))
			f.equal("ResolveConflicts", n, want)
			return err
		})
	}
	resolve(0, "nobody")
	resolve(0)
	resolve(1, "nobody", "u'1")
	again.Status, again.DecidedAt = identity.ConflictResolved, at(time.Hour)
	f.equal("Conflicts, resolved", f.conflicts("okta", false), []identity.Conflict{g})
	f.equal("Conflicts, all", f.conflicts("okta", true), []identity.Conflict{again, g})

	reopened := f.conflict("okta", identity.ObjectUser, "u'1", "r3", at(2*time.Hour))
	reopened.ID = a.ID
	f.equal("Conflicts, open again", f.conflicts("okta", false), []identity.Conflict{g, reopened})
	counts, err := f.s.CountConflicts(f.ctx, "okta")
	f.check(err)
	f.equal("CountConflicts", counts, map[identity.ConflictStatus]int{identity.ConflictOpen: 2})
	ids, err := f.s.OpenConflicts(f.ctx, "okta", identity.ObjectUser, 10)
	f.check(err)
	f.equal("OpenConflicts", ids, []string{"u'1"})
}

func ignoreConflicts(f *fixture) {
	a := f.conflict("okta", identity.ObjectUser, "1", "r1", at(0))
	f.conflict("okta", identity.ObjectUser, "2", "r1", at(0))
	f.decide(a.ID, func(c *identity.Conflict) {
		c.Status, c.DecidedBy, c.DecidedAt = identity.ConflictIgnored, "op", at(time.Minute)
	})
	f.conflict("okta", identity.ObjectUser, "1", "r2", at(time.Hour))
	f.tx(func(tx *store.Tx) error {
		_, err := tx.ResolveUnseenConflicts(f.ctx, "okta", "r9", at(time.Hour))
		return err
	})
	got, err := f.s.Conflict(f.ctx, a.ID)
	f.check(err)
	if got.Status != identity.ConflictIgnored || got.DecidedBy != "op" || !got.DecidedAt.Equal(at(time.Minute)) {
		f.Errorf("an ignored conflict became %+v", got)
	}
	ignored, err := f.s.IgnoredRecords(f.ctx, "okta", identity.ObjectUser, []string{"1", "2", "3"})
	f.check(err)
	f.equal("IgnoredRecords", ignored, map[string]bool{"1": true})
	ignored, err = f.s.IgnoredRecords(f.ctx, "okta", identity.ObjectGroup, []string{"1", "2", "3"})
	f.check(err)
	f.equal("IgnoredRecords, groups", ignored, map[string]bool{})
}

func findConflicts(f *fixture) {
	a := f.conflict("okta", identity.ObjectUser, "1", "r1", at(0))
	for id, want := range map[string]error{
		a.ID: nil, a.ID[:4]: nil, "": store.ErrNotFound, "a\x00": store.ErrNotFound, "%": store.ErrNotFound, "é": store.ErrNotFound,
		a.ID + "0": store.ErrNotFound, uuid.NewString(): store.ErrNotFound,
	} {
		got, err := f.s.Conflict(f.ctx, id)
		if want != nil {
			f.isErr("Conflict "+id, err, want)
			continue
		}
		f.check(err)
		f.equal("Conflict", got, a)
	}
	for range 20 {
		f.conflict("okta", identity.ObjectUser, uuid.NewString(), "r1", at(0))
	}
	found, several := 0, 0
	for _, digit := range "0123456789abcdef" {
		if _, err := f.s.Conflict(f.ctx, string(digit)); err == nil {
			found++
		} else {
			f.isErr("Conflict", err, store.ErrNotFound)
			several++
		}
	}
	if several == 0 {
		f.Errorf("of 21 conflicts %d were found by one digit, want some to be refused", found)
	}
	f.isErr("LockConflict", f.s.InTx(f.ctx, func(tx *store.Tx) error {
		_, err := tx.LockConflict(f.ctx, a.ID[:8])
		return err
	}), store.ErrNotFound)
}

func resolveUnseenConflicts(f *fixture) {
	f.conflict("okta", identity.ObjectUser, "1", "r1", at(0))
	f.conflict("okta", identity.ObjectGroup, "1", "r1", at(0))
	seen := f.conflict("okta", identity.ObjectUser, "2", "r2", at(0))
	other := f.conflict("entra", identity.ObjectUser, "1", "r1", at(time.Second))
	f.tx(func(tx *store.Tx) error {
		n, err := tx.ResolveUnseenConflicts(f.ctx, "okta", "r2", at(time.Hour))
		f.equal("ResolveUnseenConflicts", n, 2)
		return err
	})
	f.equal("Conflicts", f.conflicts("", false), []identity.Conflict{seen, other})
}
