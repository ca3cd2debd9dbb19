package storetest

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var memberCases = []namedCase{
	{"add, remove and keep tell whom they changed", changeMembers},
	{"unknown users and groups", unknownMembers},
	{"members page by page", memberPages},
	{"groups of users, members of groups", bothWays},
	{"count and set hash follow any changes", setHashFollows},
}

// checkHash compares what a group carries with what its pairs add up to.
func (f *fixture) checkHash(groupID string) {
	f.Helper()
	if err := f.hashErr(groupID); err != nil {
		f.Error(err)
	}
}

func (f *fixture) hashErr(groupID string) error {
	g, err := f.s.Group(f.ctx, groupID)
	if err != nil {
		return err
	}
	ids, err := f.s.MemberIDs(f.ctx, groupID, "", 1<<20)
	if err != nil {
		return err
	}
	users, err := f.s.UsersByID(f.ctx, ids)
	if err != nil {
		return err
	}
	var want identity.SetHash
	for _, u := range users {
		want.Toggle(u.MemberKey())
	}
	if g.MemberHash != want || g.MemberCount != len(ids) || len(users) != len(ids) {
		return fmt.Errorf("group carries %d members and hash %v, its %d pairs of %d users add up to %v",
			g.MemberCount, g.MemberHash, len(ids), len(users), want)
	}
	return nil
}

// sorted returns a sorted copy.
func sorted(ids []string) []string { return slices.Sorted(slices.Values(ids)) }

func changeMembers(f *fixture) {
	g := f.group()
	users := f.users(30)
	f.tx(func(tx *store.Tx) error {
		added, err := tx.AddMembers(f.ctx, g.ID, users[:20])
		f.equal("added", sorted(added), sorted(users[:20]))
		return err
	})
	f.tx(func(tx *store.Tx) error {
		added, err := tx.AddMembers(f.ctx, g.ID, append(users[10:], users[29], users[0]))
		f.equal("added, some known or named twice", sorted(added), sorted(users[20:]))
		return err
	})
	f.checkHash(g.ID)
	f.tx(func(tx *store.Tx) error {
		removed, err := tx.RemoveMembers(f.ctx, g.ID, append([]string{uuid.NewString(), "me"}, users[:10]...))
		f.equal("removed", sorted(removed), sorted(users[:10]))
		return err
	})
	f.tx(func(tx *store.Tx) error {
		removed, err := tx.RemoveMembers(f.ctx, g.ID, users[:10])
		f.equal("removed again", removed, []string(nil))
		return err
	})
	f.checkHash(g.ID)
	f.tx(func(tx *store.Tx) error {
		removed, err := tx.KeepMembers(f.ctx, g.ID, append([]string{"me"}, users[5:15]...))
		f.equal("not kept", sorted(removed), sorted(users[15:]))
		return err
	})
	f.checkHash(g.ID)
	f.tx(func(tx *store.Tx) error {
		removed, err := tx.KeepMembers(f.ctx, g.ID, nil)
		f.equal("not kept", sorted(removed), sorted(users[10:15]))
		return err
	})
	if g := f.readGroup(g.ID); g.MemberCount != 0 || g.MemberHash != (identity.SetHash{}) {
		f.Errorf("an empty group carries %d members and hash %v", g.MemberCount, g.MemberHash)
	}
}

func unknownMembers(f *fixture) {
	g := f.group()
	known := f.users(2)
	for _, id := range notIDs(known[0]) {
		f.isErr("AddMembers of "+id, f.s.InTx(f.ctx, func(tx *store.Tx) error {
			_, err := tx.AddMembers(f.ctx, g.ID, []string{known[0], id, known[1]})
			return err
		}), store.ErrNotFound)
	}
	for _, id := range notIDs(g.ID) {
		f.isErr("AddMembers to "+id, f.s.InTx(f.ctx, func(tx *store.Tx) error {
			_, err := tx.AddMembers(f.ctx, id, known)
			return err
		}), store.ErrNotFound)
		f.tx(func(tx *store.Tx) error {
			removed, err := tx.RemoveMembers(f.ctx, id, known)
			f.equal("removed", removed, []string(nil))
			if err != nil {
				return err
			}
			removed, err = tx.KeepMembers(f.ctx, id, known)
			f.equal("not kept", removed, []string(nil))
			return err
		})
		ids, err := f.s.MemberIDs(f.ctx, id, "", 10)
		f.check(err)
		f.equal("MemberIDs", ids, []string(nil))
	}
	if n := f.readGroup(g.ID).MemberCount; n != 0 {
		f.Errorf("MemberCount = %d, want 0", n)
	}
	f.tx(func(tx *store.Tx) error {
		added, err := tx.AddMembers(f.ctx, g.ID, nil)
		f.equal("added", added, []string(nil))
		return err
	})
}

func memberPages(f *fixture) {
	g := f.group()
	users := f.users(25)
	f.addMembers(g.ID, users...)
	var got []string
	for after := ""; ; {
		page, err := f.s.MemberIDs(f.ctx, g.ID, after, 10)
		f.check(err)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1]
	}
	f.equal("MemberIDs", got, sorted(users))
}

func bothWays(f *fixture) {
	b, a := f.group(func(g *identity.Group) { g.DisplayName = "b" }), f.group(func(g *identity.Group) { g.DisplayName = "A" })
	jo := f.user(owned("okta", "1"), func(u *identity.User) { u.Attributes = identity.Attributes{"displayName": "Jo"} })
	al := f.user(func(u *identity.User) { u.Active = false })
	gone := f.user(func(u *identity.User) { u.Active, u.DeletedAt = false, epoch })
	f.addMembers(a.ID, gone.ID, al.ID, jo.ID)
	f.addMembers(b.ID, jo.ID)
	groups, err := f.s.GroupsOfUsers(f.ctx, []string{jo.ID, al.ID, "me", uuid.NewString()})
	f.check(err)
	f.equal("GroupsOfUsers", groups, map[string][]store.GroupRef{
		jo.ID: {{ID: a.ID, DisplayName: "A"}, {ID: b.ID, DisplayName: "b"}},
		al.ID: {{ID: a.ID, DisplayName: "A"}},
	})
	members, err := f.s.MembersOfGroups(f.ctx, []string{a.ID, b.ID, "me"})
	f.check(err)
	joRef := store.MemberRef{ID: jo.ID, UserName: jo.UserName, DisplayName: "Jo", SourceID: "1", Active: true}
	f.equal("MembersOfGroups", members, map[string][]store.MemberRef{
		a.ID: {joRef, {ID: al.ID, UserName: al.UserName, DisplayName: al.UserName}},
		b.ID: {joRef},
	})
}

// setHashFollows makes random changes and recomputes the hashes after each.
func setHashFollows(f *fixture) {
	users := f.users(12)
	groups := []string{f.group().ID, f.group().ID}
	subset := rapid.SliceOfN(rapid.SampledFrom(users), 0, 6)
	apply := func(t *rapid.T) error {
		group := rapid.SampledFrom(groups).Draw(t, "group")
		op := rapid.SampledFrom([]string{"add", "remove", "keep", "key"}).Draw(t, "op")
		ids := subset.Draw(t, "users")
		return f.s.InTx(f.ctx, func(tx *store.Tx) (err error) {
			switch op {
			case "add":
				_, err = tx.AddMembers(f.ctx, group, ids)
			case "remove":
				_, err = tx.RemoveMembers(f.ctx, group, ids)
			case "keep":
				_, err = tx.KeepMembers(f.ctx, group, ids)
			case "key":
				for _, id := range sorted(ids) {
					u, err := tx.LockUser(f.ctx, id)
					if err != nil {
						return err
					}
					u.Source, u.SourceID = "okta", uuid.NewString()
					u.Version++
					if err := tx.UpdateUser(f.ctx, &u, u.Version-1); err != nil {
						return err
					}
				}
			}
			return err
		})
	}
	rapid.Check(f, func(t *rapid.T) {
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			if err := apply(t); err != nil {
				t.Fatal(err)
			}
		}
		for _, group := range groups {
			if err := f.hashErr(group); err != nil {
				t.Fatal(err)
			}
		}
	})
}
