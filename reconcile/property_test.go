package reconcile_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// history is a random life of a source, told to two houses: one is pushed every step as it happens, the other pulls now
// and then. Both start from the same empty database.
type history struct {
	*directory
	rand   *rand.Rand
	next   int
	pushed *house
	ids    map[string]string // pushed: held id by the source's id, users and groups
	log    []string
}

var pusher = identity.Actor{Kind: "key", ID: "k1", Name: "okta push"}

// The guard always holds an empty source and a mapped group going empty, so one person stays in one group for good.
const anchorUser, anchorGroup = "u0000", "g0000"

// begin makes the anchor.
func (h *history) begin() {
	h.Groups[anchorGroup] = "Anchored"
	g, err := h.pushed.applier.CreateGroup(h.pushed.t.Context(), pusher, "okta", identity.Group{DisplayName: "Anchored", ExternalID: anchorGroup}, nil)
	h.must(err)
	h.ids[anchorGroup] = g.ID
	h.add(anchorUser, anchorUser+"@acme.test")
	h.join(anchorGroup, anchorUser)
	h.pushUser(anchorUser)
}

// step does one random thing at the source and pushes it, as an identity provider would.
func (h *history) step() {
	h.pushed.t.Helper()
	users, groups := slices.Sorted(maps.Keys(h.Users)), slices.Sorted(maps.Keys(h.Groups))
	user := func() string { return users[h.rand.IntN(len(users))] }
	group := func() string { return groups[h.rand.IntN(len(groups))] }
	h.next++
	kind := h.rand.IntN(12)
	if kind == 0 || kind == 1 {
		id := fmt.Sprintf("u%04d", h.next)
		p := h.add(id, id+"@acme.test")
		if h.rand.IntN(3) == 0 {
			p.Status = []identity.Status{identity.StatusInactive, identity.StatusPending, identity.StatusUnknown}[h.rand.IntN(3)]
		}
		h.say("new %s %s", id, p.Status)
		h.pushUser(id)
		return
	}
	if kind == 2 {
		id := fmt.Sprintf("g%04d", h.next)
		h.Groups[id] = "Group " + id
		h.say("new %s", id)
		g, err := h.pushed.applier.CreateGroup(h.pushed.t.Context(), pusher, "okta", identity.Group{DisplayName: h.Groups[id], ExternalID: id}, nil)
		h.must(err)
		h.ids[id] = g.ID
		return
	}
	switch kind {
	case 3:
		id := user()
		h.Users[id].Name = fmt.Sprintf("renamed%04d@acme.test", h.next)
		h.say("rename %s", id)
		h.pushUser(id)
	case 4:
		id := user()
		h.Users[id].Title = []string{"", "Engineer", "Director"}[h.rand.IntN(3)]
		h.say("title %s %q", id, h.Users[id].Title)
		h.pushUser(id)
	case 5:
		id := user()
		h.Users[id].Status = []identity.Status{identity.StatusActive, identity.StatusInactive}[h.rand.IntN(2)]
		h.say("status %s %s", id, h.Users[id].Status)
		h.pushUser(id)
	case 6:
		id := user()
		if id == anchorUser {
			return
		}
		h.say("delete %s", id)
		for _, g := range groups {
			if h.Members[g][id] {
				h.member(g, id, lifecycle.MembersRemove)
			}
		}
		h.Users[id].Status = identity.StatusInactive
		h.pushUser(id)
		delete(h.Users, id)
	case 7:
		id := group()
		h.Groups[id] = fmt.Sprintf("Renamed %04d", h.next)
		h.say("rename %s", id)
		name := h.Groups[id]
		_, err := h.pushed.applier.ChangeGroup(h.pushed.t.Context(), pusher, "okta", h.ids[id], 0, lifecycle.GroupChange{DisplayName: &name})
		h.must(err)
	case 8:
		if h.rand.IntN(3) > 0 {
			return
		}
		id := group()
		if id == anchorGroup {
			return
		}
		h.say("delete %s", id)
		delete(h.Groups, id)
		delete(h.Members, id)
		h.must(h.pushed.applier.DeleteGroup(h.pushed.t.Context(), pusher, "okta", h.ids[id], 0))
	default:
		g, u := group(), user()
		op := lifecycle.MembersAdd
		if g == anchorGroup && u == anchorUser {
			return
		}
		if h.Members[g][u] {
			op = lifecycle.MembersRemove
		}
		h.say("%s %s %s", op, g, u)
		h.member(g, u, op)
	}
}

func (h *history) say(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *history) must(err error) {
	h.pushed.t.Helper()
	if err != nil {
		h.pushed.t.Fatalf("%v: push: %v", h.log, err)
	}
}

// member changes a membership at the source, and pushes it where the user was provisioned.
func (h *history) member(group, user string, op lifecycle.MemberOpKind) {
	h.join(group)
	if op == lifecycle.MembersAdd {
		h.Members[group][user] = true
	} else {
		delete(h.Members[group], user)
	}
	if h.ids[user] == "" {
		return
	}
	_, err := h.pushed.applier.ChangeGroup(h.pushed.t.Context(), pusher, "okta", h.ids[group], 0,
		lifecycle.GroupChange{Members: []lifecycle.MemberOp{{Op: op, IDs: []string{h.ids[user]}}}})
	h.must(err)
}

// pushUser pushes a user as it is now: POST when unknown, else PUT. Who has not begun, or is in an unknown state, is not
// pushed; groups are pushed for whoever becomes known.
func (h *history) pushUser(id string) {
	p := h.Users[id]
	if p.Status != identity.StatusActive && p.Status != identity.StatusInactive {
		return
	}
	r := h.record(id, h.now())
	fill := func(u *identity.User) error {
		u.UserName, u.ExternalID, u.Active = r.UserName, id, p.Status == identity.StatusActive
		for _, s := range r.Attributes {
			u.Set(s.Path, s.Value)
		}
		return nil
	}
	ctx := h.pushed.t.Context()
	if held := h.ids[id]; held != "" {
		_, err := h.pushed.applier.ChangeUser(ctx, pusher, "okta", held, 0, fill)
		h.must(err)
		return
	}
	var u identity.User
	_ = fill(&u)
	created, err := h.pushed.applier.CreateUser(ctx, pusher, "okta", u)
	h.must(err)
	h.ids[id] = created.ID
	for _, g := range slices.Sorted(maps.Keys(h.Groups)) {
		if h.Members[g][id] {
			h.member(g, id, lifecycle.MembersAdd)
		}
	}
}

// state is what both houses must agree on: everybody whom the source lists, and whoever is active.
func (h *history) state(house *house) map[string]any {
	house.t.Helper()
	ctx := house.t.Context()
	users, _, err := house.store.Users(ctx, store.UserQuery{Limit: 10_000})
	h.must(err)
	state := map[string]any{}
	for _, u := range users {
		if h.Users[u.SourceID] == nil && !u.Active {
			continue
		}
		grants, err := house.store.EffectiveGrants(ctx, u.ID)
		h.must(err)
		var may []string
		for _, g := range grants {
			may = append(may, g.TeamName+":"+g.Role+" via "+g.SourceName)
		}
		state["user "+u.SourceID] = []any{u.UserName, u.ExternalID, u.Active, u.Source, u.Origin, map[string]any(u.Attributes), may}
	}
	groups, _, err := house.store.Groups(ctx, store.GroupQuery{Limit: 10_000})
	h.must(err)
	for _, g := range groups {
		state["group "+g.SourceID] = []any{g.DisplayName, g.ExternalID, g.Source}
	}
	teams, err := house.store.Teams(ctx)
	h.must(err)
	for _, team := range teams {
		state["team "+team.Name] = team.GroupID != ""
	}
	return state
}

func TestProperty_PushingAndPullingEndInTheSameState(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, seed uint64, pushed, pulled *store.Store) {
		rules := []roles.Rule{{Group: anchorGroup, Grants: []identity.TeamRole{
			{Team: "Payments", Role: "operator"}, {Team: "Anchored", Role: "operator"}, {Team: "Group g0003", Role: "admin"},
		}}}
		h := &history{
			directory: newDirectory(), rand: rand.New(rand.NewPCG(seed, 1)), ids: map[string]string{},
			pushed: open(t, pushed, rules...),
		}
		puller := open(t, pulled, rules...)
		puller.source = h.directory
		h.pushed.source = h.directory
		h.Incremental, h.Deltas, h.Partial = seed%4 != 0, seed&8 != 0, seed&16 != 0
		h.begin()
		for range 10 + h.rand.IntN(40) {
			h.step()
			if h.rand.IntN(8) == 0 {
				settle(t, seed, h, puller)
				if h.Incremental && h.rand.IntN(3) == 0 {
					damage(t, h.rand, pulled)
				}
			}
		}
		settle(t, seed, h, puller)
		puller.wantEmpty()
		if diff := cmp.Diff(h.state(h.pushed), h.state(puller)); diff != "" {
			t.Errorf("seed %d: %v: pushed and pulled states differ (-pushed +pulled):\n%s", seed, h.log, diff)
		}
		// What was pushed is what the source states, so a pull of it finds no drift.
		h.pushed.wantEmpty()
	}
	for name, on := range map[string]struct {
		open             func(testing.TB) *store.Store
		shards, perShard uint64
	}{"sqlite": {storetest.SQLite, 4, 50}, "postgres": {storetest.Postgres, 2, 10}} {
		for shard := range on.shards {
			t.Run(fmt.Sprint(name, shard), func(t *testing.T) {
				t.Parallel()
				pushed, pulled := on.open(t), on.open(t)
				storetest.Unprotect(t, pushed)
				storetest.Unprotect(t, pulled)
				for seed := shard * on.perShard; seed < shard*on.perShard+seeds(on.perShard); seed++ {
					check(t, seed, pushed, pulled)
					wipe(t, pushed)
					wipe(t, pulled)
				}
			})
		}
	}
}

// seeds is how many histories of a shard are told: fewer where tests are to be short.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return max(n/6, 2)
	}
	return n
}

// wipe empties a database, which is faster than opening another.
func wipe(t *testing.T, s *store.Store) {
	t.Helper()
	storetest.Unprotect(t, s)
	for _, table := range []string{
		"outbox", "audit_unsealed", "audit_events", "run_members", "run_changes", "runs", "conflicts", "leases", "connector_states", "api_keys",
		"credentials", "grants", "group_grants", "group_members", "teams", "groups", "users",
	} {
		statement := "DELETE FROM " + table
		if table == "teams" {
			statement += " WHERE id <> '" + identity.RootTeamID + "'"
		}
		tamper(t, s, statement)
	}
}

// damage changes something behind the program's back. The anchor is left alone, as everywhere.
func damage(t *testing.T, r *rand.Rand, s *store.Store) {
	t.Helper()
	others := "FROM users WHERE source_id <> '" + anchorUser + "' AND source_id <> '' ORDER BY seq"
	tamper(t, s, []string{
		"UPDATE users SET active = NOT active WHERE id IN (SELECT id " + others + " LIMIT 1)",
		"UPDATE users SET document = '{\"title\": \"Intruder\"}' WHERE id IN (SELECT id " + others + " LIMIT 2)",
		"UPDATE groups SET display_name = 'Damaged', display_name_key = 'damaged' WHERE id IN (SELECT id FROM groups WHERE source_id <> '" + anchorGroup + "' ORDER BY seq LIMIT 1)",
		"DELETE FROM group_members WHERE user_id IN (SELECT id " + others + " LIMIT 3)",
		"INSERT INTO group_members (group_id, user_id, key_hi, key_lo) SELECT g.id, u.id, u.key_hi, u.key_lo FROM groups g, users u " +
			"WHERE g.source_id <> '" + anchorGroup + "' AND u.source_id <> '" + anchorUser + "' AND u.source_id <> '' ON CONFLICT DO NOTHING",
	}[r.IntN(5)])
}

// settle runs the puller until a run is done: a name may be free only after the run in which its owner gave it up.
func settle(t *testing.T, seed uint64, h *history, puller *house) {
	t.Helper()
	for range 3 {
		run, err := puller.engine.Run(t.Context(), puller.request(false))
		if err != nil && !errors.Is(err, store.ErrStale) {
			t.Fatalf("seed %d: %v: %v", seed, h.log, err)
		}
		if run.Status == identity.RunDone {
			return
		}
	}
	t.Fatalf("seed %d: %v: three runs did not repair everything", seed, h.log)
}
