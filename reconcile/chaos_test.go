package reconcile_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

var chaosSeeds = flag.Uint64("chaos", 15, "seeds of TestProperty_PushesPullsCrashesAndFaults for each shard")

// storm is a source whose every change is pushed to a house that also pulls it, by two processes that fail and die.
type storm struct {
	*directory
	t        *testing.T
	rand     *rand.Rand
	house    *house
	replicas [2]*reconcile.Engine
	n        int
	log      []string
	steady   map[string]bool // active at the source, in scope, since the run began
	tally    map[string]int
}

func (s *storm) say(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

// live does one thing at the source, and pushes it or leaves it to the next pull.
func (s *storm) live() {
	before := maps.Clone(s.Users)
	for id, p := range before {
		copied := *p
		before[id] = &copied
	}
	s.n++
	what := wander(s.directory, s.rand, s.n)
	s.say("%s", what)
	for id := range s.steady {
		if p := s.Users[id]; p == nil || p.Status != identity.StatusActive || !s.inScope(id) {
			delete(s.steady, id)
		}
	}
	if s.rand.IntN(2) == 0 {
		return
	}
	s.say("pushed")
	s.tally["pushes"]++
	for _, id := range slices.Sorted(maps.Keys(s.Users)) {
		if p := before[id]; p == nil || *p != *s.Users[id] {
			s.push(id)
		}
	}
	for id := range before {
		if s.Users[id] == nil {
			s.deactivate(id)
		}
	}
}

// push states a person over SCIM, as a key that is bound to the connector does; a name that is taken is refused, and the
// next pull sees to it.
func (s *storm) push(id string) {
	p := s.Users[id]
	if p.Status != identity.StatusActive && p.Status != identity.StatusInactive || p.Status == identity.StatusActive && !s.inScope(id) {
		return
	}
	r := s.record(id, s.now())
	fill := func(u *identity.User) error {
		u.UserName, u.ExternalID, u.Active = r.UserName, id, p.Status == identity.StatusActive
		for _, stated := range r.Attributes {
			u.Set(stated.Path, stated.Value)
		}
		return nil
	}
	ctx := s.t.Context()
	held, err := s.house.store.HeldUsers(ctx, "okta", []string{id})
	if err == nil {
		if h, known := held[id]; known {
			_, err = s.house.applier.ChangeUser(ctx, pusher, "okta", h.ID, 0, fill)
		} else {
			var u identity.User
			_ = fill(&u)
			_, err = s.house.applier.CreateUser(ctx, pusher, "okta", u)
		}
	}
	s.accepted(err)
}

func (s *storm) deactivate(id string) {
	ctx := s.t.Context()
	held, err := s.house.store.HeldUsers(ctx, "okta", []string{id})
	if h, known := held[id]; known && h.Active {
		_, err = s.house.applier.ChangeUser(ctx, pusher, "okta", h.ID, 0, func(u *identity.User) error { u.Active = false; return nil })
	}
	s.accepted(err)
}

func (s *storm) accepted(err error) {
	s.t.Helper()
	var taken *store.DuplicateError
	if err != nil && !errors.As(err, &taken) && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatalf("%v: push: %v", s.log, err)
	}
}

// pull runs one of the processes, which may meet faults, pushes in the middle, and its death.
func (s *storm) pull() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	s.steady = map[string]bool{}
	for id, p := range s.Users {
		if p.Status == identity.StatusActive && s.inScope(id) {
			s.steady[id] = true
		}
	}
	before := s.active()
	die, busy, calls := s.rand.IntN(4) == 0, s.rand.IntN(3) == 0, 0
	at := 1 + s.rand.IntN(8)
	s.OnPage = func(connectors.Phase) {
		if calls++; die && calls == at {
			cancel()
		}
		if busy && s.rand.IntN(3) == 0 {
			s.live()
		}
	}
	defer func() { s.OnPage = nil }()
	switch s.rand.IntN(5) {
	case 0:
		s.Fail[[]connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers}[s.rand.IntN(3)]] = errors.New("status 503")
		s.tally["broken lists"]++
	case 1:
		for id := range s.Users {
			if s.rand.IntN(3) == 0 {
				s.Broken[id] = errors.New("status 503")
			}
		}
		s.tally["unreadable people"]++
	case 2:
		for id := range s.Users {
			if s.rand.IntN(5) == 0 {
				s.Hidden[id] = true // a list that claims to be whole and is not
			}
		}
		s.tally["short lists"]++
	}
	req := s.house.request(false)
	req.Full = s.rand.IntN(4) == 0
	engine := s.replicas[s.rand.IntN(2)]
	run, err := engine.Run(ctx, req)
	s.say("%s run %s", run.Kind, run.Status)
	s.tally["runs "+string(run.Status)]++
	if die && err != nil && ctx.Err() != nil {
		s.tally["deaths"]++
		s.bury(run.ID)
	}
	clear(s.Fail)
	clear(s.Broken)
	clear(s.Hidden)
	after := s.active()
	for id := range s.steady {
		if before[id] && !after[id] {
			s.t.Errorf("%v: %s was active at the source all the time and was deactivated", s.log, id)
		}
	}
}

// bury makes of a run that was broken off one whose process was killed: it counts as running, and its lease ran out.
func (s *storm) bury(runID string) {
	tamper(s.t, s.house.store, "UPDATE runs SET status = 'running', finished_at = NULL, error = '' WHERE id = '"+runID+"'")
}

func (s *storm) active() map[string]bool {
	s.t.Helper()
	users, _, err := s.house.store.Users(s.t.Context(), store.UserQuery{Limit: 10_000})
	if err != nil {
		s.t.Fatal(err)
	}
	active := map[string]bool{}
	for _, u := range users {
		active[u.SourceID] = u.Active
	}
	return active
}

// TestProperty_PushesPullsCrashesAndFaults lets pushes, pulls, faults and deaths of processes come in any order. Nobody who
// is active at the source is ever deactivated, and after a clean run what is held is what the source states, with a reason
// for every permission.
func TestProperty_PushesPullsCrashesAndFaults(t *testing.T) {
	t.Parallel()
	rules := roles.Rule{Group: "Anchored", Grants: []identity.TeamRole{{Team: "Payments", Role: "operator"}}}
	check := func(t *testing.T, seed uint64, used, fresh *store.Store) map[string]int {
		s := &storm{directory: newDirectory(), t: t, rand: rand.New(rand.NewPCG(seed, 11)), tally: map[string]int{}}
		s.Incremental, s.Deltas, s.Partial, s.Scoped = seed%5 != 0, seed&1 != 0, seed&2 != 0, seed&4 != 0
		s.house = open(t, used, rules)
		s.house.source = s.directory
		for i := range s.replicas {
			var err error
			s.replicas[i], err = reconcile.New(reconcile.Options{Store: used, Applier: s.house.applier, LeaseTTL: time.Second})
			if err != nil {
				t.Fatal(err)
			}
		}
		s.Groups[anchorGroup] = "Anchored"
		s.add(anchorUser, anchorUser+"@acme.test")
		s.join(anchorGroup, anchorUser)
		for range 10 {
			for range s.rand.IntN(5) {
				s.live()
			}
			if s.rand.IntN(6) == 0 {
				damage(t, s.rand, used)
				s.say("damage")
				s.tally["damage"]++
			}
			s.pull()
		}
		h := &history{directory: s.directory, pushed: s.house, log: s.log}
		settle(t, seed, h, s.house)
		full := s.house.request(false)
		full.Full = true
		if run, err := s.house.engine.Run(t.Context(), full); err != nil || run.Status != identity.RunDone {
			t.Fatalf("seed %d: %v: a clean run ended %s: %v\n%v", seed, s.log, run.Status, err, s.house.journal(run))
		}
		s.house.wantEmpty()
		puller := open(t, fresh, rules)
		puller.source = s.directory
		settle(t, seed, h, puller)
		if diff := cmp.Diff(activeOnly(h.state(puller)), activeOnly(h.state(s.house))); diff != "" {
			t.Errorf("seed %d: %v: what is held is not what the source states (-source +held):\n%s", seed, s.log, diff)
		}
		return s.tally
	}
	for name, on := range map[string]struct {
		open   func(testing.TB) *store.Store
		shards uint64
	}{"sqlite": {storetest.SQLite, 4}, "postgres": {storetest.Postgres, 1}} {
		for shard := range on.shards {
			t.Run(fmt.Sprint(name, shard), func(t *testing.T) {
				t.Parallel()
				used, fresh := on.open(t), on.open(t)
				total := map[string]int{}
				for seed := shard * *chaosSeeds; seed < shard**chaosSeeds+seeds(*chaosSeeds) && !t.Failed(); seed++ {
					for what, n := range check(t, seed, used, fresh) {
						total[what] += n
					}
					wipe(t, used)
					wipe(t, fresh)
				}
				t.Logf("%d seeds: %v", seeds(*chaosSeeds), total)
			})
		}
	}
}

// activeOnly leaves those out who are inactive: who came and went in between is known to one house only.
func activeOnly(state map[string]any) map[string]any {
	maps.DeleteFunc(state, func(_ string, value any) bool {
		u, is := value.([]any)
		return is && len(u) == 7 && u[2] == false
	})
	return state
}
