package storetest

import (
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var groupCases = []namedCase{
	{"a full group comes back as written", fullGroup},
	{"reads by id and by name", readGroup},
	{"unique without case", uniqueGroups},
	{"update over the expected version only", updateGroup},
	{"delete takes memberships and grants along, not the team", deleteGroup},
	{"pages in the order of Seq", pageGroups},
	{"held, owned and counted", ownedGroups},
	{"a fingerprint is kept for the version seen", markGroupsSeen},
	{"candidates by external id and name", groupCandidates},
}

func everythingGroup(g *identity.Group) {
	g.DisplayName = `Plattform "Ä" 100%_\`
	g.ExternalID = "ext'g"
	g.Attributes = nastyAttributes()
	g.Source, g.SourceID = "okta", "00g'1"
	g.Fingerprint = identity.Fingerprint{9, 0, 1}
	g.LastPushAt = at(1)
	g.ObservedAt = at(1e9)
}

func fullGroup(f *fixture) {
	want := f.newGroup(everythingGroup)
	f.check(f.insertGroup(want))
	team := identity.Team{ID: uuid.NewString(), Name: "its team", GroupID: want.ID, Created: epoch}
	f.tx(func(tx *store.Tx) error { return tx.PutTeam(f.ctx, team) })
	got := f.readGroup(want.ID)
	want.Seq, want.TeamID = got.Seq, team.ID
	want.LastPushAt = epoch // a nanosecond is too little to keep
	f.equal("Group", got, want)
	if got.Seq == 0 {
		f.Error("Seq = 0, want a number")
	}
	minimal := f.newGroup()
	f.check(f.insertGroup(minimal))
	got = f.readGroup(minimal.ID)
	minimal.Seq = got.Seq
	f.equal("Group without anything", got, minimal)
}

func readGroup(f *fixture) {
	g := f.group(func(g *identity.Group) {
		g.ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
		g.DisplayName = "Équipe A"
	})
	for _, name := range []string{"Équipe A", "ÉQUIPE a", " équipe a "} {
		got, err := f.s.GroupByName(f.ctx, name)
		f.check(err)
		f.equal("GroupByName", got, g)
	}
	for _, name := range append([]string{"%", "a\x00", "\xff"}, nasty...) {
		_, err := f.s.GroupByName(f.ctx, name)
		f.isErr("GroupByName", err, store.ErrNotFound)
	}
	for _, id := range notIDs(g.ID) {
		_, err := f.s.Group(f.ctx, id)
		f.isErr("Group "+id, err, store.ErrNotFound)
		f.tx(func(tx *store.Tx) error {
			_, err := tx.LockGroup(f.ctx, id)
			f.isErr("LockGroup "+id, err, store.ErrNotFound)
			f.isErr("DeleteGroup "+id, tx.DeleteGroup(f.ctx, id), store.ErrNotFound)
			return nil
		})
	}
	f.tx(func(tx *store.Tx) error {
		got, err := tx.LockGroup(f.ctx, g.ID)
		f.equal("LockGroup", got, g)
		return err
	})
}

func uniqueGroups(f *fixture) {
	f.group(ownedGroup("okta", "1"), func(g *identity.Group) { g.DisplayName, g.ExternalID = "Åland", "e1" })
	f.group(func(g *identity.Group) { g.ExternalID = "e1" })
	other := f.group()
	for _, c := range []struct {
		attribute string
		edit      func(*identity.Group)
	}{
		{"displayName", func(g *identity.Group) { g.DisplayName = " åLAND" }},
		{"externalId", func(g *identity.Group) { g.Source, g.SourceID, g.ExternalID = "okta", "2", "e1" }},
		{"externalId", ownedGroup("okta", "1")},
	} {
		g := f.newGroup(c.edit)
		f.isDuplicate("InsertGroup", f.insertGroup(g), identity.ObjectGroup, c.attribute)
		g.ID = other.ID
		err := f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.UpdateGroup(f.ctx, &g, 1) })
		f.isDuplicate("UpdateGroup", err, identity.ObjectGroup, c.attribute)
	}
}

func updateGroup(f *fixture) {
	g := f.group()
	f.addMembers(g.ID, f.users(3)...)
	changed := f.readGroup(g.ID)
	everythingGroup(&changed)
	changed.LastPushAt = epoch
	changed.Version = 2
	f.tx(func(tx *store.Tx) error { return tx.UpdateGroup(f.ctx, &changed, 1) })
	f.equal("the group", f.readGroup(g.ID), changed)
	if changed.MemberCount != 3 {
		f.Errorf("MemberCount = %d, want 3", changed.MemberCount)
	}
	f.isErr("UpdateGroup at the old version", f.s.InTx(f.ctx, func(tx *store.Tx) error {
		return tx.UpdateGroup(f.ctx, &g, 1)
	}), store.ErrStale)
}

func deleteGroup(f *fixture) {
	g, kept := f.group(), f.group()
	users := f.users(3)
	f.addMembers(g.ID, users...)
	f.addMembers(kept.ID, users...)
	team := identity.Team{ID: uuid.NewString(), Name: "T", GroupID: g.ID, Created: epoch}
	f.tx(func(tx *store.Tx) error {
		if err := tx.PutTeam(f.ctx, team); err != nil {
			return err
		}
		return tx.AddGroupGrant(f.ctx, store.GroupGrant{GroupID: g.ID, TeamID: team.ID, Role: "viewer"})
	})
	f.tx(func(tx *store.Tx) error { return tx.DeleteGroup(f.ctx, g.ID) })
	_, err := f.s.Group(f.ctx, g.ID)
	f.isErr("Group", err, store.ErrNotFound)
	f.isErr("DeleteGroup again", f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.DeleteGroup(f.ctx, g.ID) }), store.ErrNotFound)
	left, err := f.s.TeamByName(f.ctx, "t")
	f.check(err)
	team.GroupID = ""
	f.equal("its team", left, team)
	grants, err := f.s.EffectiveGrants(f.ctx, users[0])
	f.check(err)
	f.equal("EffectiveGrants", grants, []identity.Grant{})
	groups, err := f.s.GroupsOfUsers(f.ctx, users[:1])
	f.check(err)
	f.equal("GroupsOfUsers", groups, map[string][]store.GroupRef{users[0]: {{ID: kept.ID, DisplayName: kept.DisplayName}}})
	if n := f.readGroup(kept.ID).MemberCount; n != 3 {
		f.Errorf("MemberCount of another group = %d, want 3", n)
	}
}

func pageGroups(f *fixture) {
	var want, got []string
	for range 7 {
		want = append(want, f.group().ID)
	}
	for offset := 0; offset < 12; offset += 3 {
		groups, total, err := f.s.Groups(f.ctx, store.GroupQuery{Offset: offset, Limit: 3})
		f.check(err)
		if total != 7 {
			f.Errorf("total = %d, want 7", total)
		}
		for i := range groups {
			got = append(got, groups[i].ID)
		}
	}
	f.equal("ids", got, want)
}

func ownedGroups(f *fixture) {
	a, b := f.group(ownedGroup("okta", "a'")), f.group(ownedGroup("okta", `b"`))
	other := f.group(ownedGroup("entra", "a'"))
	f.group(ownedGroup("okta", ""))
	users := f.users(5)
	f.addMembers(a.ID, users[:2]...)
	f.addMembers(b.ID, users...)
	f.addMembers(other.ID, users...)
	a, b = f.readGroup(a.ID), f.readGroup(b.ID)
	held, err := f.s.HeldGroups(f.ctx, "okta", []string{"a'", `b"`, "c", "", "\x00"})
	f.check(err)
	f.equal("HeldGroups", held, map[string]identity.Group{"a'": a, `b"`: b})
	page, err := f.s.OwnedGroups(f.ctx, "okta", a.Seq, 10)
	f.check(err)
	if len(page) != 2 || page[0].ID != b.ID {
		f.Errorf("OwnedGroups after the first = %v, want two", page)
	}
	page, err = f.s.OwnedGroups(f.ctx, "", 0, 3)
	f.check(err)
	if len(page) != 3 || page[2].ID != other.ID {
		f.Errorf("OwnedGroups of all sources = %v, want three", page)
	}
	groups, members, err := f.s.CountOwned(f.ctx, "okta")
	f.check(err)
	if groups != 3 || members != 7 {
		f.Errorf("CountOwned = %d, %d, want 3, 7", groups, members)
	}
	groups, members, err = f.s.CountOwned(f.ctx, "nobody")
	f.check(err)
	if groups != 0 || members != 0 {
		f.Errorf("CountOwned of an unknown source = %d, %d, want 0, 0", groups, members)
	}
}

func markGroupsSeen(f *fixture) {
	a, b := f.group(), f.group(func(g *identity.Group) { g.Version = 7 })
	seen := []identity.Seen{{ID: a.ID, Version: 1, Fingerprint: identity.Fingerprint{1}}, {ID: b.ID, Version: 6, Fingerprint: identity.Fingerprint{1}}}
	f.tx(func(tx *store.Tx) error { return tx.MarkGroupsSeen(f.ctx, seen) })
	a.Fingerprint = identity.Fingerprint{1}
	f.equal("the group seen", f.readGroup(a.ID), a)
	f.equal("the group that changed since", f.readGroup(b.ID), b)
}

func groupCandidates(f *fixture) {
	byExternal := f.group(func(g *identity.Group) { g.ExternalID = "X1" })
	byName := f.group(func(g *identity.Group) { g.DisplayName = "Équipe" })
	f.group(func(g *identity.Group) { g.ExternalID = "x1" })
	found, err := f.s.GroupCandidates(f.ctx, []string{"X1", ""}, []string{" éQUIPE", ""})
	f.check(err)
	got := map[string]bool{}
	for i := range found {
		got[found[i].ID] = true
	}
	f.equal("GroupCandidates", got, map[string]bool{byExternal.ID: true, byName.ID: true})
}
