package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var nestedCases = []namedCase{
	{"nested groups tell what changed", changeNested},
	{"no group is in itself", cycles},
	{"nested groups among members and grants", nestedReads},
	{"a deleted group leaves no path behind", deleteNested},
	{"the closure follows any changes", closureFollows},
	{"parallel changes close no cycle", closeCycleAtOnce},
}

func ref(g identity.Group) store.GroupRef {
	return store.GroupRef{ID: g.ID, DisplayName: g.DisplayName}
}

// nest makes groups members of a group.
func (f *fixture) nest(g identity.Group, members ...string) {
	f.Helper()
	f.tx(func(tx *store.Tx) error {
		_, unknown, err := tx.AddNested(f.ctx, ref(g), members)
		f.equal("unknown", unknown, []string(nil))
		return err
	})
}

func changeNested(f *fixture) {
	g, a, b, c := f.group(), f.group(), f.group(), f.group()
	stranger, user := uuid.NewString(), f.user().ID
	f.tx(func(tx *store.Tx) error {
		added, unknown, err := tx.AddNested(f.ctx, ref(g), []string{a.ID, stranger, "me", b.ID, user})
		f.equal("added", sorted(added), sorted([]string{a.ID, b.ID}))
		f.equal("unknown", unknown, []string{stranger, "me", user})
		return err
	})
	f.tx(func(tx *store.Tx) error {
		added, unknown, err := tx.AddNested(f.ctx, ref(g), []string{b.ID, c.ID})
		f.equal("added, one known", added, []string{c.ID})
		f.equal("unknown", unknown, []string(nil))
		return err
	})
	f.tx(func(tx *store.Tx) error {
		added, unknown, err := tx.AddNested(f.ctx, ref(g), nil)
		f.equal("added, none asked for", append(added, unknown...), []string(nil))
		return err
	})
	f.tx(func(tx *store.Tx) error {
		removed, err := tx.RemoveNested(f.ctx, g.ID, []string{a.ID, stranger, "me"})
		f.equal("removed", removed, []string{a.ID})
		return err
	})
	f.tx(func(tx *store.Tx) error {
		removed, err := tx.KeepNested(f.ctx, g.ID, []string{c.ID, "me"})
		f.equal("not kept", removed, []string{b.ID})
		return err
	})
	f.tx(func(tx *store.Tx) error {
		removed, err := tx.KeepNested(f.ctx, g.ID, nil)
		f.equal("none kept", removed, []string{c.ID})
		return err
	})
	for _, id := range notIDs(g.ID) {
		f.tx(func(tx *store.Tx) error {
			removed, err := tx.RemoveNested(f.ctx, id, []string{a.ID})
			f.check(err)
			kept, err := tx.KeepNested(f.ctx, id, nil)
			f.equal("removed from no group", append(removed, kept...), []string(nil))
			return err
		})
	}
	if got := f.readGroup(g.ID); got.MemberCount != 0 || got.MemberHash != (identity.SetHash{}) {
		f.Errorf("nested groups count as %d members with hash %v", got.MemberCount, got.MemberHash)
	}
}

func cycles(f *fixture) {
	a, b, c := f.group(), f.group(), f.group()
	f.nest(a, b.ID)
	f.nest(b, c.ID)
	for _, members := range [][]string{{c.ID}, {b.ID}, {a.ID}, {f.group().ID, a.ID}} {
		group := c
		err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
			_, _, err := tx.AddNested(f.ctx, ref(group), members)
			return err
		})
		var cycle *store.CycleError
		if !errors.As(err, &cycle) || cycle.Group != ref(group) || cycle.Member.ID != members[len(members)-1] {
			f.Errorf("nesting %v: error %v, want a *store.CycleError", members, err)
		}
	}
	db := f.raw()
	if n := db.count("SELECT count(*) FROM group_nested"); n != 2 {
		f.Errorf("%d edges, want 2", n)
	}
	if err := db.exec("INSERT INTO group_nested (group_id, member_id) VALUES (?, ?)", a.ID, a.ID); err == nil {
		f.Error("the database takes a group for its own member")
	}
}

func nestedReads(f *fixture) {
	name := func(name string) func(*identity.Group) {
		return func(g *identity.Group) { g.DisplayName = name }
	}
	outer, inner, other := f.group(name("Outer")), f.group(name("inner")), f.group(name("Other"))
	deep := f.group(name("deep"))
	f.nest(outer, inner.ID, other.ID)
	f.nest(inner, deep.ID)
	ana, ben := f.user(), f.user()
	f.addMembers(deep.ID, ana.ID)
	f.addMembers(other.ID, ana.ID)
	f.addMembers(outer.ID, ben.ID)
	f.addMembers(inner.ID, ben.ID)

	groups, err := f.s.GroupsOfUsers(f.ctx, []string{ana.ID, ben.ID})
	f.check(err)
	direct := func(g identity.Group) store.GroupRef { return ref(g) }
	indirect := func(g identity.Group) store.GroupRef {
		return store.GroupRef{ID: g.ID, DisplayName: g.DisplayName, Indirect: true}
	}
	f.equal("GroupsOfUsers", groups, map[string][]store.GroupRef{
		ana.ID: {direct(deep), indirect(inner), direct(other), indirect(outer)},
		ben.ID: {direct(inner), direct(outer)},
	})
	for _, lookup := range []*store.UserLookup{{ID: ana.ID}, {UserName: ana.UserName}} {
		_, err := f.s.KeyHolder(f.ctx, "none", lookup)
		f.isErr("KeyHolder", err, store.ErrNotFound)
		f.equal("groups looked up along", lookup.Groups, groups[ana.ID])
	}
	members, err := f.s.MembersOfGroups(f.ctx, []string{outer.ID, inner.ID})
	f.check(err)
	user := func(u identity.User) store.MemberRef {
		return store.MemberRef{ID: u.ID, UserName: u.UserName, DisplayName: u.UserName, Active: true}
	}
	group := func(g identity.Group) store.MemberRef {
		return store.MemberRef{ID: g.ID, Group: true, DisplayName: g.DisplayName, Active: true}
	}
	f.equal("MembersOfGroups", members, map[string][]store.MemberRef{
		outer.ID: {user(ben), group(inner), group(other)},
		inner.ID: {user(ben), group(deep)},
	})

	around, err := f.s.GroupsAround(f.ctx, deep.ID)
	f.check(err)
	f.equal("GroupsAround", around, []store.GroupRef{direct(inner), indirect(outer)})
	for _, id := range []string{outer.ID, "not-an-id"} {
		around, err := f.s.GroupsAround(f.ctx, id)
		f.check(err)
		f.equal("GroupsAround of what is in none", len(around), 0)
	}

	team := f.team("Team")
	f.groupGrant(outer.ID, team.ID, "viewer")
	grant := identity.Grant{
		UserID: ben.ID, TeamID: team.ID, TeamName: "Team", Role: "viewer", Kind: identity.GrantGroup, SourceID: outer.ID, SourceName: "Outer",
	}
	got, err := f.s.EffectiveGrants(f.ctx, ben.ID)
	f.check(err)
	f.equal("EffectiveGrants of a member", got, []identity.Grant{grant})
	got, err = f.s.EffectiveGrants(f.ctx, ana.ID)
	f.check(err)
	grant.UserID, grant.Through = ana.ID, "deep, Other"
	f.equal("EffectiveGrants by two nested groups", got, []identity.Grant{grant})
}

func deleteNested(f *fixture) {
	top, middle, bottom, beside := f.group(), f.group(), f.group(), f.group()
	f.nest(top, middle.ID, beside.ID)
	f.nest(middle, bottom.ID)
	f.nest(beside, bottom.ID)
	var outer []store.GroupRef
	f.tx(func(tx *store.Tx) (err error) {
		if _, err = tx.LockGroup(f.ctx, middle.ID); err != nil {
			return err
		}
		if outer, err = tx.TouchOuter(f.ctx, middle.ID, at(1)); err != nil {
			return err
		}
		return tx.DeleteGroup(f.ctx, middle.ID)
	})
	f.equal("TouchOuter", outer, []store.GroupRef{ref(top)})
	if v := f.readGroup(top.ID).Version; v != 2 {
		f.Errorf("the outer group is at version %d, want 2", v)
	}
	want := newNesting()
	want.edges[pair{top.ID, beside.ID}], want.edges[pair{beside.ID, bottom.ID}] = true, true
	f.equal("closure", f.closure(), want.closure())
	f.tx(func(tx *store.Tx) error { return tx.DeleteGroup(f.ctx, beside.ID) })
	f.equal("closure", f.closure(), []pair(nil))
	f.readGroup(bottom.ID) // is still there
}

// pair is a group and a member, or a member and a group that it is in.
type pair struct{ A, B string }

func sortedPairs(set map[pair]bool) []pair {
	var list []pair
	for p := range set {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b pair) int { return slices.Compare([]string{a.A, a.B}, []string{b.A, b.B}) })
	return list
}

func (f *fixture) pairs(statement string) []pair {
	rows, err := f.s.DB().QueryContext(f.ctx, statement)
	f.check(err)
	defer rows.Close()
	var list []pair
	for rows.Next() {
		var p pair
		f.check(rows.Scan(&p.A, &p.B))
		list = append(list, p)
	}
	f.check(rows.Err())
	slices.SortFunc(list, func(a, b pair) int { return slices.Compare([]string{a.A, a.B}, []string{b.A, b.B}) })
	return list
}

// closure reads pairs of a member and a group that it is in.
func (f *fixture) closure() []pair {
	return f.pairs("SELECT CAST(member_id AS text), CAST(ancestor_id AS text) FROM group_closure")
}

// nesting is the model: which groups and users are in which groups.
type nesting struct{ edges, users map[pair]bool } // group, member

func newNesting() nesting { return nesting{map[pair]bool{}, map[pair]bool{}} }

func (f *fixture) nesting() nesting {
	n := newNesting()
	for _, p := range f.pairs("SELECT CAST(group_id AS text), CAST(member_id AS text) FROM group_nested") {
		n.edges[p] = true
	}
	for _, p := range f.pairs("SELECT CAST(group_id AS text), CAST(user_id AS text) FROM group_members") {
		n.users[p] = true
	}
	return n
}

// holds tells whether a group is another, or has it among its members at some depth.
func (n nesting) holds(group, member string) bool {
	if group == member {
		return true
	}
	for p := range n.edges {
		if p.A == group && n.holds(p.B, member) {
			return true
		}
	}
	return false
}

func (n nesting) groups() []string {
	var ids []string
	for p := range n.edges {
		ids = append(ids, p.A, p.B)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// closure computes what group_closure has to hold.
func (n nesting) closure() []pair {
	set := map[pair]bool{}
	for _, group := range n.groups() {
		for _, member := range n.groups() {
			if group != member && n.holds(group, member) {
				set[pair{member, group}] = true
			}
		}
	}
	return sortedPairs(set)
}

// reasons computes whose member each user is, at any depth: a pair of user and group for each.
func (n nesting) reasons(all []string) []pair {
	set := map[pair]bool{}
	for in := range n.users {
		for _, group := range all {
			if n.holds(group, in.A) {
				set[pair{in.B, group}] = true
			}
		}
	}
	return sortedPairs(set)
}

// check compares what the database says with the model.
func (n nesting) check(f *fixture, groups, users []string) error {
	if diff := cmp.Diff(n.closure(), f.closure(), cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("closure (-want +got):\n%s", diff)
	}
	reasons := n.reasons(groups)
	got := f.pairs("SELECT CAST(user_id AS text), source_id FROM effective_grants")
	if diff := cmp.Diff(reasons, got, cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("effective_grants (-want +got):\n%s", diff)
	}
	var explained, listed []pair
	of, err := f.s.GroupsOfUsers(f.ctx, users)
	if err != nil {
		return err
	}
	for _, id := range sorted(users) {
		grants, err := f.s.EffectiveGrants(f.ctx, id)
		if err != nil {
			return err
		}
		for _, g := range grants {
			if (g.Through == "") != n.users[pair{g.SourceID, id}] {
				return fmt.Errorf("%s is in %s through %q", id, g.SourceID, g.Through)
			}
			explained = append(explained, pair{id, g.SourceID})
		}
		for _, g := range of[id] {
			if g.Indirect == n.users[pair{g.ID, id}] {
				return fmt.Errorf("%s is in %s: indirect is %v", id, g.ID, g.Indirect)
			}
			listed = append(listed, pair{id, g.ID})
		}
	}
	for what, list := range map[string][]pair{"EffectiveGrants": explained, "GroupsOfUsers": listed} {
		slices.SortFunc(list, func(a, b pair) int { return slices.Compare([]string{a.A, a.B}, []string{b.A, b.B}) })
		if diff := cmp.Diff(reasons, list, cmpopts.EquateEmpty()); diff != "" {
			return fmt.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	return nil
}

// closureFollows makes random changes and compares all that is derived from them with the model after each.
func closureFollows(f *fixture) {
	users := f.users(4)
	var groups []string
	for range 6 {
		groups = append(groups, f.group().ID)
		f.groupGrant(groups[len(groups)-1], identity.RootTeamID, "viewer")
	}
	one := rapid.SampledFrom(groups)
	some := rapid.SliceOfNDistinct(one, 0, 3, rapid.ID[string])
	apply := func(t *rapid.T, n nesting) error {
		group, ids := one.Draw(t, "group"), some.Draw(t, "groups")
		op := rapid.SampledFrom([]string{"nest", "nest", "nest", "unnest", "keep", "users", "delete"}).Draw(t, "op")
		wrong := op == "nest" && slices.ContainsFunc(ids, func(id string) bool { return n.holds(id, group) })
		err := f.s.InTx(f.ctx, func(tx *store.Tx) (err error) {
			switch op {
			case "nest":
				_, _, err = tx.AddNested(f.ctx, store.GroupRef{ID: group}, ids)
			case "unnest":
				_, err = tx.RemoveNested(f.ctx, group, ids)
			case "keep":
				_, err = tx.KeepNested(f.ctx, group, ids)
			case "users":
				members := rapid.SliceOfNDistinct(rapid.SampledFrom(users), 0, 3, rapid.ID[string]).Draw(t, "users")
				if _, err = tx.KeepMembers(f.ctx, group, members); err == nil {
					_, err = tx.AddMembers(f.ctx, group, members)
				}
			case "delete":
				err = f.remake(tx, group)
			}
			return err
		})
		var cycle *store.CycleError
		if errors.As(err, &cycle) == wrong {
			if wrong {
				return nil
			}
			return err
		}
		return fmt.Errorf("%s %v in %s: error %v, a cycle is %v", op, ids, group, err, wrong)
	}
	rapid.Check(f, func(t *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			before := f.nesting()
			if err := apply(t, before); err != nil {
				t.Fatal(err)
			}
			if err := f.nesting().check(f, groups, users); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// remake deletes a group and makes it again, empty.
func (f *fixture) remake(tx *store.Tx, id string) error {
	g, err := tx.LockGroup(f.ctx, id)
	if err != nil {
		return err
	}
	if err := tx.DeleteGroup(f.ctx, id); err != nil {
		return err
	}
	if err := tx.InsertGroup(f.ctx, &g); err != nil {
		return err
	}
	return tx.AddGroupGrant(f.ctx, store.GroupGrant{GroupID: id, TeamID: identity.RootTeamID, Role: "viewer"})
}

// closeCycleAtOnce has each of a ring of groups become the next one's member, all at once: one of them at least is
// refused, and nobody waits for a deadlock to be found.
func closeCycleAtOnce(f *fixture) {
	const n = 12
	var ring [n]identity.Group
	for i := range ring {
		ring[i] = f.group()
	}
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		refused  int
		attempts atomic.Int32
	)
	for i := range ring {
		wg.Go(func() {
			err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
				attempts.Add(1)
				g, err := tx.LockGroup(f.ctx, ring[i].ID)
				if err != nil {
					return err
				}
				if _, _, err = tx.AddNested(f.ctx, ref(g), []string{ring[(i+1)%n].ID}); err != nil {
					return err
				}
				return tx.TouchGroup(f.ctx, g.ID, epoch)
			})
			var cycle *store.CycleError
			if errors.As(err, &cycle) {
				mu.Lock()
				refused++
				mu.Unlock()
			} else if err != nil {
				f.Errorf("AddNested: %v", err)
			}
		})
	}
	wg.Wait()
	if refused != 1 {
		f.Errorf("%d of %d were refused, want one: the last", refused, n)
	}
	if got := attempts.Load(); got != n {
		f.Errorf("%d transactions took %d attempts: they lock each other out", n, got)
	}
	if err := f.nesting().check(f, nil, nil); err != nil {
		f.Error(err)
	}
}
