package storetest

import (
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var unsettledCases = []namedCase{
	{"people changed here", unsettledUsers},
	{"groups changed here", unsettledGroups},
	{"what runs left undone", unfinished},
	{"memberships of some", membersAmong},
	{"a plan is forgotten", dropJournal},
}

func (f *fixture) unsettled() (users, groups []string) {
	f.Helper()
	users, err := f.s.UnsettledUsers(f.ctx, "okta", 10)
	f.check(err)
	groups, err = f.s.UnsettledGroups(f.ctx, "okta", 10)
	f.check(err)
	return users, groups
}

var known = identity.Fingerprint{1}

func unsettledUsers(f *fixture) {
	seen := func(id string) func(*identity.User) {
		return func(u *identity.User) { u.Source, u.SourceID, u.Fingerprint = "okta", id, known }
	}
	u := f.user(seen("1"))
	f.user(seen("2"))
	f.user(owned("okta", "3"))  // never compared
	f.user(owned("entra", "4")) // another source's
	f.user()                    // nobody's
	users, _ := f.unsettled()
	f.equal("UnsettledUsers", users, []string{"3"})
	f.raw().exec("UPDATE users SET active = NOT active WHERE source_id = '2'")
	users, _ = f.unsettled()
	f.equal("UnsettledUsers after an edit", users, []string{"2", "3"})
	first, err := f.s.UnsettledUsers(f.ctx, "okta", 1)
	f.check(err)
	f.equal("UnsettledUsers, one", first, []string{"2"})
	f.tx(func(tx *store.Tx) error {
		return tx.MarkUsersSeen(f.ctx, []identity.Seen{{ID: u.ID, Version: u.Version, Fingerprint: identity.AbsentFingerprint()}})
	})
	users, _ = f.unsettled()
	f.equal("UnsettledUsers after somebody left", users, []string{"2", "3"})
}

func unsettledGroups(f *fixture) {
	group := func(id string) identity.Group {
		return f.group(ownedGroup("okta", id), func(g *identity.Group) { g.Fingerprint = known })
	}
	a, b := group("a"), group("b")
	f.group(ownedGroup("entra", "c"))
	u1, u2 := f.user(owned("okta", "1")), f.user(owned("okta", "2"))
	f.addMembers(a.ID, u1.ID)
	settle := func(ids ...string) {
		f.Helper()
		var agreed []store.SettledGroup
		for _, id := range ids {
			g := f.readGroup(id)
			agreed = append(agreed, store.SettledGroup{ID: g.ID, Count: g.MemberCount, Hash: g.MemberHash})
		}
		f.tx(func(tx *store.Tx) error { return tx.SettleGroups(f.ctx, agreed) })
	}
	want := func(what string, want ...string) {
		f.Helper()
		_, groups := f.unsettled()
		f.equal("UnsettledGroups "+what, groups, want)
	}
	want("before the first comparison", "a", "b")
	settle(a.ID, b.ID)
	want("when all agree")
	f.addMembers(b.ID, u1.ID, u2.ID)
	want("after somebody was added", "b")
	f.tx(func(tx *store.Tx) error { return tx.SettleGroupsAsHeld(f.ctx, "okta", []string{"b", "unknown"}) })
	want("when that agrees")
	f.raw().exec("DELETE FROM group_members WHERE user_id IN (SELECT id FROM users WHERE source_id = '1')")
	want("after somebody was removed by hand", "a", "b")
	settle(a.ID, b.ID)
	f.raw().exec("UPDATE groups SET display_name = 'x', display_name_key = 'x' WHERE source_id = 'b'")
	want("after a group was renamed by hand", "b")
	// What was agreed on is not what is held any more: somebody changed it in between.
	g := f.readGroup(a.ID)
	f.addMembers(a.ID, u2.ID)
	f.tx(func(tx *store.Tx) error {
		return tx.SettleGroups(f.ctx, []store.SettledGroup{{ID: g.ID, Count: g.MemberCount, Hash: g.MemberHash}})
	})
	want("when members came since they were compared", "a", "b")
}

func unfinished(f *fixture) {
	journal := func(run string, changes ...identity.Change) {
		for i := range changes {
			c := &changes[i]
			c.RunID, c.Ord, c.Op = run, int64(i+1), identity.OpUpdate
		}
		f.tx(func(tx *store.Tx) error { return tx.InsertChanges(f.ctx, changes) })
	}
	for id, connector := range map[string]string{"1": "okta", "2": "okta", "3": "okta", "4": "entra", "5": "okta"} {
		f.run(id, connector, func(r *identity.Run) { r.DryRun = id == "5" })
	}
	journal("1", identity.Change{Object: identity.ObjectUser, SourceID: "before", State: identity.StateFailed})
	journal("2",
		identity.Change{Object: identity.ObjectUser, SourceID: "done", State: identity.StateApplied},
		identity.Change{Object: identity.ObjectUser, SourceID: "conflict", State: identity.StateSkipped},
		identity.Change{Object: identity.ObjectUser, SourceID: "conflict", State: identity.StateFailed},
		identity.Change{Object: identity.ObjectMember, SourceID: "g1", MemberSourceID: "held", State: identity.StateStaged},
		identity.Change{Object: identity.ObjectGroup, SourceID: "g1", State: identity.StateFailed},
		identity.Change{Object: identity.ObjectGroup, SourceID: "g2", State: identity.StatePlanned},
		identity.Change{Object: identity.ObjectGrant, SourceID: "g3", State: identity.StateSkipped})
	journal("3", identity.Change{Object: identity.ObjectUser, SourceID: "after", State: identity.StateApplied})
	journal("4", identity.Change{Object: identity.ObjectUser, SourceID: "other", State: identity.StateFailed})
	journal("5", identity.Change{Object: identity.ObjectUser, SourceID: "dry", State: identity.StatePlanned})
	users, groups, err := f.s.Unfinished(f.ctx, "okta", "2", 10)
	f.check(err)
	f.equal("Unfinished, people", users, []string{"after", "conflict"})
	f.equal("Unfinished, groups", groups, []string{"g1", "g2"})
	users, groups, err = f.s.Unfinished(f.ctx, "okta", "", 10)
	f.check(err)
	f.equal("Unfinished without a checkpoint", append(users, groups...), []string(nil))
}

func membersAmong(f *fixture) {
	g, h := f.group(ownedGroup("okta", "g")), f.group(ownedGroup("okta", "h"))
	other := f.group(ownedGroup("entra", "g"))
	in, out := f.user(owned("okta", "1'")), f.user(owned("okta", "2"))
	foreign := f.user(owned("entra", "3"))
	f.addMembers(g.ID, in.ID, foreign.ID)
	f.addMembers(h.ID, in.ID)
	f.addMembers(other.ID, in.ID, out.ID)
	among, err := f.s.MembersAmong(f.ctx, "okta", g.ID, []string{"1'", "2", "3", "unknown"})
	f.check(err)
	f.equal("MembersAmong", among, map[string]store.MemberDrift{"1'": drift(in)})
	counts, err := f.s.CountMemberships(f.ctx, "okta", []string{in.ID, out.ID, foreign.ID})
	f.check(err)
	f.equal("CountMemberships", counts, map[string]int{in.ID: 2, foreign.ID: 1})
}

func dropJournal(f *fixture) {
	f.run("r1", "okta")
	f.run("r2", "okta")
	for _, run := range []string{"r1", "r2"} {
		f.journal(run, identity.Change{Object: identity.ObjectUser, Op: identity.OpCreate, SourceID: "1"})
	}
	f.check(f.s.DropJournal(f.ctx, "r1"))
	if n := f.raw().count("SELECT count(*) FROM run_changes WHERE run_id = 'r2'"); n != 1 {
		f.Errorf("%d changes of another run are left, want 1", n)
	}
	if n := f.raw().count("SELECT count(*) FROM run_changes WHERE run_id = 'r1'"); n != 0 {
		f.Errorf("%d changes are left", n)
	}
}
