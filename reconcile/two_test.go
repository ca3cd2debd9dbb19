package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// two are two connectors over one database. Some people and groups are in both directories, under the same names.
type two struct {
	*house
	rand    *rand.Rand
	sources map[string]*directory
	n       int
	log     []string
}

// step does one random thing in one of the directories. Names come from a few, so that both have the same often, and ids
// are the directory's own.
func (w *two) step() {
	name := []string{"okta", "entra"}[w.rand.IntN(2)]
	d := w.sources[name]
	w.n++
	if w.rand.IntN(3) == 0 {
		id, called := fmt.Sprint(name, "-", w.n), fmt.Sprintf("p%d@acme.test", w.rand.IntN(12))
		for _, p := range d.Users {
			if p.Name == called {
				return // one directory has a name once
			}
		}
		d.add(id, called)
		w.log = append(w.log, "new "+id+" "+called)
		return
	}
	if w.rand.IntN(4) == 0 {
		id, called := fmt.Sprint(name, "-g", w.n), fmt.Sprint("Group ", w.rand.IntN(4))
		for _, other := range d.Groups {
			if other == called {
				return
			}
		}
		d.Groups[id] = called
		w.log = append(w.log, "new "+id+" "+called)
		return
	}
	if len(d.Users) > 0 && len(d.Groups) > 0 {
		w.log = append(w.log, name+": "+wander(d, w.rand, w.n))
	}
}

// run pulls one of the directories.
func (w *two) run(name string) identity.Run {
	w.t.Helper()
	req := w.request(false)
	req.Source.Name, req.Source.Connector = name, w.sources[name]
	run, err := w.engine.Run(w.t.Context(), req)
	if err != nil {
		w.t.Fatalf("%q: %v", w.log, err)
	}
	w.log = append(w.log, "run "+name+" "+string(run.Status))
	return run
}

// owned is everything that is not a source's: whole people, groups and their members.
func (w *two) owned(except string) map[string]any {
	w.t.Helper()
	ctx := w.t.Context()
	users, _, err := w.store.Users(ctx, store.UserQuery{Limit: 1000, Deleted: true})
	if err != nil {
		w.t.Fatal(err)
	}
	state := map[string]any{}
	for _, u := range users {
		if u.Source != except {
			state["user "+u.ID] = u
		}
	}
	groups, _, err := w.store.Groups(ctx, store.GroupQuery{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range groups {
		if g.Source == except {
			continue
		}
		members, err := w.store.MembersOfGroups(ctx, []string{g.ID})
		if err != nil {
			w.t.Fatal(err)
		}
		state["group "+g.ID], state["members "+g.ID] = g, members[g.ID]
	}
	return state
}

// wantConflictsListed wants everybody who is stated and not held to be listed, and nobody else.
func (w *two) wantConflictsListed(name string) {
	w.t.Helper()
	open := map[string]bool{}
	conflicts, err := w.store.Conflicts(w.t.Context(), name, false)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range conflicts {
		open[string(c.Object)+" "+c.SourceID] = true
	}
	d := w.sources[name]
	for id, p := range d.Users {
		held, err := w.store.HeldUsers(w.t.Context(), name, []string{id})
		if err != nil {
			w.t.Fatal(err)
		}
		_, is := held[id]
		stated := p.Status == identity.StatusActive || p.Status == identity.StatusInactive
		if want := stated && !is; open["user "+id] != want {
			w.t.Errorf("%q: %s %s (%s), held %v, is listed as a conflict: %v", w.log, id, p.Name, p.Status, is, !want)
		}
	}
	for id := range d.Groups {
		held, err := w.store.HeldGroups(w.t.Context(), name, []string{id})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, is := held[id]; open["group "+id] == is {
			w.t.Errorf("%q: %s, held %v, is listed as a conflict: %v", w.log, id, is, is)
		}
	}
}

func TestProperty_ConnectorsTouchOnlyWhatTheyOwn(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, seed uint64, s *store.Store) {
		w := &two{house: open(t, s), rand: rand.New(rand.NewPCG(seed, 11)), sources: map[string]*directory{}}
		for i, name := range []string{"okta", "entra"} {
			d := newDirectory()
			d.Incremental, d.Deltas, d.Partial = seed&1 != 0, seed&2 != 0, seed&(4<<i) != 0
			w.sources[name] = d
		}
		_, err := w.applier.CreateGroup(t.Context(), pusher, "scim:k1", identity.Group{DisplayName: "Group 0", ExternalID: "x"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for range 14 {
			for range w.rand.IntN(8) {
				w.step()
			}
			name := []string{"okta", "entra"}[w.rand.IntN(2)]
			before := w.owned(name)
			run := w.run(name)
			if diff := cmp.Diff(before, w.owned(name)); diff != "" {
				t.Fatalf("seed %d: %q: %s touched what it does not own (-before +after):\n%s", seed, w.log, name, diff)
			}
			seen += run.Counts.Conflicts()
			if run.Counts.Failed == 0 && run.Incomplete == "" && run.Counts.Skipped == run.Counts.Conflicts() {
				w.wantConflictsListed(name)
			}
			if t.Failed() {
				t.Fatalf("seed %d, journal:\n%s", seed, strings.Join(w.journal(run), "\n"))
			}
		}
		if seen == 0 {
			t.Logf("seed %d: no conflict", seed)
		}
	}
	for name, on := range map[string]struct {
		open             func(testing.TB) *store.Store
		shards, perShard uint64
	}{"sqlite": {storetest.SQLite, 2, 24}, "postgres": {storetest.Postgres, 1, 8}} {
		for shard := range on.shards {
			t.Run(fmt.Sprint(name, shard), func(t *testing.T) {
				t.Parallel()
				s := on.open(t)
				for seed := shard * on.perShard; seed < shard*on.perShard+seeds(on.perShard); seed++ {
					check(t, seed, s)
					wipe(t, s)
				}
			})
		}
	}
}
