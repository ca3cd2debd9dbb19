package storetest

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var spoolCases = []namedCase{
	{"missing: stated, not held", missingMembers},
	{"extra: held, not stated", extraMembers},
	{"whom the journal creates or adopts", journaledMembers},
	{"page by page", driftPages},
	{"dropped by group and by run", dropSpool},
}

func (f *fixture) spool(run, group string, users ...string) {
	f.Helper()
	f.tx(func(tx *store.Tx) error { return tx.SpoolMembers(f.ctx, run, group, users) })
}

func (f *fixture) missing(groupID string) []store.MemberDrift {
	f.Helper()
	got, err := f.s.MissingMembers(f.ctx, "r1", "okta", "g", groupID, "", 100)
	f.check(err)
	return got
}

func (f *fixture) extra(groupID string) []store.MemberDrift {
	f.Helper()
	got, err := f.s.ExtraMembers(f.ctx, "r1", "okta", "g", groupID, "", 100)
	f.check(err)
	return got
}

func drift(u identity.User) store.MemberDrift {
	return store.MemberDrift{UserSourceID: u.SourceID, UserID: u.ID, UserName: u.UserName}
}

func missingMembers(f *fixture) {
	f.run("r1", "okta")
	f.run("r2", "okta")
	g := f.group(ownedGroup("okta", "g"))
	held, lacking := f.user(owned("okta", "1")), f.user(owned("okta", "2'"))
	f.user(owned("entra", "3")) // the id is another source's
	f.addMembers(g.ID, held.ID)
	f.spool("r1", "g", "1", "2'", "3", "4")
	f.spool("r1", "other", "1")
	f.spool("r2", "g", "1", "2'")
	f.equal("MissingMembers", f.missing(g.ID), []store.MemberDrift{drift(lacking)})
	f.equal("MissingMembers of a group to be", f.missing(""), []store.MemberDrift{drift(held), drift(lacking)})
}

func extraMembers(f *fixture) {
	f.run("r1", "okta")
	g := f.group(ownedGroup("okta", "g"))
	stays, leaves := f.user(owned("okta", "1")), f.user(owned("okta", "2"))
	foreign, unowned := f.user(owned("entra", "1")), f.user()
	f.addMembers(g.ID, stays.ID, leaves.ID, foreign.ID, unowned.ID)
	f.spool("r1", "g", "1", "7")
	want := map[string]store.MemberDrift{leaves.ID: drift(leaves), foreign.ID: drift(foreign), unowned.ID: drift(unowned)}
	want[foreign.ID] = store.MemberDrift{UserID: foreign.ID, UserName: foreign.UserName} // nobody of the source
	got := map[string]store.MemberDrift{}
	for _, d := range f.extra(g.ID) {
		got[d.UserID] = d
	}
	f.equal("ExtraMembers", got, want)
}

func journaledMembers(f *fixture) {
	f.run("r1", "okta")
	g := f.group(ownedGroup("okta", "g"))
	adopted, adoptedMember := f.user(), f.user(owned("scim:k", "x"))
	f.addMembers(g.ID, adoptedMember.ID)
	changes := []identity.Change{
		{Op: identity.OpCreate, SourceID: "new", Name: "new@example.com"},
		{Op: identity.OpConvert, SourceID: "adopted", ID: adopted.ID, Name: adopted.UserName},
		{Op: identity.OpUpdate, SourceID: "adopted", ID: adopted.ID, Name: adopted.UserName},
		{Op: identity.OpUpdate, SourceID: "member", ID: adoptedMember.ID, Name: adoptedMember.UserName},
		{Op: identity.OpConflict, SourceID: "conflict", Name: "c@example.com"},
	}
	for i := range changes {
		c := &changes[i]
		c.RunID, c.Ord, c.Object, c.State = "r1", int64(i+1), identity.ObjectUser, identity.StatePlanned
		if c.Op == identity.OpConflict {
			c.State = identity.StateSkipped
		}
	}
	f.tx(func(tx *store.Tx) error { return tx.InsertChanges(f.ctx, changes) })
	f.spool("r1", "g", "new", "adopted", "member", "conflict", "unknown")
	missing := []store.MemberDrift{
		{UserSourceID: "adopted", UserID: adopted.ID, UserName: adopted.UserName},
		{UserSourceID: "new", UserName: "new@example.com"},
	}
	f.equal("MissingMembers", f.missing(g.ID), missing)
	f.equal("MissingMembers of a group to be", f.missing(""), []store.MemberDrift{
		missing[0], {UserSourceID: "member", UserID: adoptedMember.ID, UserName: adoptedMember.UserName}, missing[1],
	})
	f.equal("ExtraMembers", f.extra(g.ID), []store.MemberDrift(nil))
	provisioned, err := f.s.Provisioned(f.ctx, "r1", "okta", []string{"unknown", "new", "conflict", "member"})
	f.check(err)
	f.equal("Provisioned", provisioned, []store.MemberDrift{missing[1], {UserSourceID: "member", UserID: adoptedMember.ID, UserName: adoptedMember.UserName}})
	f.tx(func(tx *store.Tx) error { return tx.DropSpool(f.ctx, "r1", "g") })
	f.equal("ExtraMembers when nobody is stated", f.extra(g.ID), []store.MemberDrift{{UserID: adoptedMember.ID, UserName: adoptedMember.UserName}})
}

func driftPages(f *fixture) {
	f.run("r1", "okta")
	g := f.group()
	n := 0
	owner := func(u *identity.User) { n++; u.Source, u.SourceID = "okta", fmt.Sprintf("u%03d", n) }
	extra := f.users(25, owner)
	f.users(25, owner)
	f.addMembers(g.ID, extra...)
	var stated []string
	for i := 26; i <= 50; i++ {
		stated = append(stated, fmt.Sprintf("u%03d", i))
	}
	f.spool("r1", "g", stated...)
	var got []string
	for after := ""; ; {
		page, err := f.s.MissingMembers(f.ctx, "r1", "okta", "g", g.ID, after, 10)
		f.check(err)
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			got, after = append(got, d.UserSourceID), d.UserSourceID
		}
	}
	f.equal("MissingMembers", got, stated)
	got = nil
	for after := ""; ; {
		page, err := f.s.ExtraMembers(f.ctx, "r1", "okta", "g", g.ID, after, 10)
		f.check(err)
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			got, after = append(got, d.UserID), d.UserID
		}
	}
	f.equal("ExtraMembers", got, sorted(extra))
}

func dropSpool(f *fixture) {
	db := f.raw()
	f.run("r1", "okta")
	f.run("r2", "okta")
	many := make([]string, 2000)
	for i := range many {
		many[i] = uuid.NewString()
	}
	f.spool("r1", "g", many...)
	f.spool("r1", "h", "1")
	f.spool("r2", "g", "1")
	f.spool("r2", "empty")
	count := func(want int) {
		f.Helper()
		if n := db.count("SELECT count(*) FROM run_members"); n != want {
			f.Errorf("%d spooled, want %d", n, want)
		}
	}
	count(2002)
	f.tx(func(tx *store.Tx) error { return tx.DropSpool(f.ctx, "r1", "g") })
	count(2)
	f.tx(func(tx *store.Tx) error { return tx.DropSpool(f.ctx, "r1", "") })
	count(1)
}
