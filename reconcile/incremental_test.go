package reconcile_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// incremental is a house whose source gives checkpoints, after its first, full run.
func incremental(t *testing.T, s *store.Store, set func(*directory)) *house {
	t.Helper()
	h := open(t, s)
	h.small()
	h.source.Incremental = true
	if set != nil {
		set(h.source)
	}
	if run := h.run(identity.RunDone); run.Kind != identity.KindFull {
		t.Fatalf("the first run is %s, want full", run.Kind)
	}
	h.source.Reads = nil
	return h
}

// changes runs incrementally and wants a status, a journal, and these to be read by id.
func (h *house) changes(want identity.RunStatus, reads []string, journal ...string) identity.Run {
	h.t.Helper()
	h.source.Reads = nil
	run := h.run(want)
	if run.Kind != identity.KindIncremental {
		h.t.Errorf("the run is %s, want incremental", run.Kind)
	}
	h.wantJournal(run, journal...)
	slices.Sort(h.source.Reads)
	if diff := cmp.Diff(reads, h.source.Reads); diff != "" {
		h.t.Errorf("read by id (-want +got):\n%s", diff)
	}
	return run
}

// styles are the ways in which a source may state what changed.
func styles(t *testing.T, f func(t *testing.T, s *store.Store, style func(*directory))) {
	t.Parallel()
	for name, style := range map[string]func(*directory){
		"whole":  func(*directory) {},
		"deltas": func(d *directory) { d.Deltas, d.Partial = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, s *store.Store) { f(t, s, style) })
		})
	}
}

func TestIncremental_AppliesWhatChanged(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		h.changes(identity.RunDone, nil)
		h.source.Users["u1"].Title = "Director"
		h.source.Users["u2"].Status = identity.StatusInactive
		h.source.Groups["g2"] = "Renamed"
		h.source.add("u4", "dee@acme.test")
		h.source.join("g2", "u4", "u1")
		h.source.leave("u3")
		h.source.join("g1", "u3")
		created := `applied user create dee@acme.test [userName: <nil> -> dee@acme.test, externalId: <nil> -> u4, ` +
			`emails[type eq "work"].value: <nil> -> dee@acme.test, name.givenName: <nil> -> Given u4, name.familyName: <nil> -> Family, title: <nil> -> Engineer, active: <nil> -> true] ()`
		run := h.changes(
			identity.RunDone, nil,
			"applied user update ana@acme.test [title: Engineer -> Director] ()",
			"applied user deactivate ben@acme.test [active: true -> false] (stated inactive: inactive)",
			created,
			"applied group update Sales [displayName: Sales -> Renamed] ()",
			"applied member add Engineering [members: <nil> -> cleo@acme.test] ()",
			"applied member add Renamed [members: <nil> -> ana@acme.test] ()",
			"applied member add Renamed [members: <nil> -> dee@acme.test] ()",
			"applied member remove Renamed [members: cleo@acme.test -> <nil>] ()",
		)
		if c := run.Counts; c.Users != 6 || c.Groups != 1 { // the source states everybody twice
			t.Errorf("%d users and %d groups were read, want 6 and 1", c.Users, c.Groups)
		}
		h.changes(identity.RunDone, nil)
		h.wantEmpty()
	})
}

func TestIncremental_WhoGoesIsReadByIDFirst(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		h.source.leave("u2")
		delete(h.source.Users, "u2")
		h.changes(
			identity.RunDone, []string{"u2"},
			"applied user deactivate ben@acme.test [active: true -> false] (absent, not found by id)",
			"applied member remove Engineering [members: ben@acme.test -> <nil>] ()",
		)
		h.changes(identity.RunDone, nil) // who is known to be gone is not asked for again
		// The deletion is stated, and the read fails: nothing happens to somebody of whom nobody knows, and the next run asks
		// again.
		delete(h.source.Users, "u1")
		h.source.Broken = map[string]error{"u1": errors.New("status 500")}
		run := h.run(identity.RunPartial)
		if !h.user("ana@acme.test").Active || run.Counts.Applied != 0 {
			t.Errorf("somebody who could not be read was touched: %v", h.journal(run))
		}
		h.source.Broken = nil
		h.source.leave("u1")
		h.run(identity.RunDone)
		if h.user("ana@acme.test").Active {
			t.Error("somebody who is gone is active")
		}
		h.wantEmpty()
	})
}

func TestIncremental_MembershipDecidesAboutScope(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, func(d *directory) { style(d); d.Scoped = true; d.add("u9", "zed@acme.test") })
		h.source.leave("u3") // from the only group
		h.changes(
			identity.RunDone, []string{"u3"},
			"applied user deactivate cleo@acme.test [active: true -> false] (absent, not found by id)",
			"applied member remove Sales [members: cleo@acme.test -> <nil>] ()",
		)
		// Out of scope, a change of the person at the source is no reason to be let in.
		h.source.Users["u3"].Title = "Outsider"
		h.source.Users["u9"].Title = "Outsider"
		if run := h.run(identity.RunDone); h.user("cleo@acme.test").Active {
			t.Errorf("somebody out of scope was let in: %v", h.journal(run))
		}
		h.source.join("g1", "u3", "u9")
		run := h.run(identity.RunDone)
		if !h.user("cleo@acme.test").Active || !h.user("zed@acme.test").Active {
			t.Errorf("who joined a group in scope is not active: %v", h.journal(run))
		}
		h.changes(identity.RunDone, nil)
		delete(h.source.Groups, "g1")
		delete(h.source.Members, "g1")
		h.run(identity.RunDone)
		h.wantEmpty()
		if h.user("zed@acme.test").Active {
			t.Error("the members of a group that is gone are active")
		}
	})
}

func TestIncremental_FindsWhatWasChangedHere(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		for _, statement := range []string{
			"UPDATE users SET active = FALSE WHERE user_name = 'ana@acme.test'",
			`UPDATE users SET document = '{"title":"Intruder"}' WHERE user_name = 'ben@acme.test'`,
			"UPDATE groups SET display_name = 'Taken', display_name_key = 'taken' WHERE source_id = 'g2'",
			"DELETE FROM group_members WHERE user_id IN (SELECT id FROM users WHERE source_id = 'u1')",
			"INSERT INTO group_members (group_id, user_id, key_hi, key_lo) SELECT g.id, u.id, u.key_hi, u.key_lo FROM groups g, users u WHERE g.source_id = 'g2' AND u.source_id = 'u1'",
			"DELETE FROM group_grants WHERE group_id IN (SELECT id FROM groups WHERE source_id = 'g1')",
		} {
			tamper(t, s, statement)
		}
		h.changes(
			identity.RunDone, []string{"u1", "u2"},
			"applied user reactivate ana@acme.test [active: false -> true] (stated active)",
			`applied user update ben@acme.test [emails[type eq "work"].value: <nil> -> ben@acme.test, name.givenName: <nil> -> Given u2, name.familyName: <nil> -> Family, title: Intruder -> Engineer] ()`,
			"applied group update Taken [displayName: Taken -> Sales] ()",
			"applied member add Engineering [members: <nil> -> ana@acme.test] ()",
			"applied member remove Sales [members: ana@acme.test -> <nil>] ()",
			"applied grant add Engineering [grants: <nil> -> Engineering:viewer] (role mapping)",
		)
		h.changes(identity.RunDone, nil)
		h.wantEmpty()
	})
}

func TestIncremental_KeepsAtWhatWasLeftUndone(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		taken, err := h.applier.CreateAdmin(t.Context(), identity.Actor{Kind: "cli"}, "dee@acme.test", "hash", false)
		if err != nil {
			t.Fatal(err)
		}
		h.source.add("u4", "dee@acme.test")
		conflict := fmt.Sprintf("skipped user conflict dee@acme.test [] (dee@acme.test (%s) is a privileged account)", taken.ID)
		h.changes(identity.RunPartial, nil, conflict)
		h.changes(identity.RunPartial, []string{"u4"}, conflict)
		tamper(t, s, "UPDATE users SET user_name = 'root@acme.test', user_name_key = 'root@acme.test', email = '', email_key = '', document = '{}' WHERE id = '"+taken.ID+"'")
		run := h.run(identity.RunDone)
		if u := h.user("dee@acme.test"); u.SourceID != "u4" {
			t.Errorf("%s is held as %q: %v", u.UserName, u.SourceID, h.journal(run))
		}
		h.changes(identity.RunDone, nil)
	})
}

func TestIncremental_TheGuardHoldsAndTheNextRunLooksAgain(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		h.guard.Users = plan.Limits{Percent: 10}
		h.source.leave("u1")
		delete(h.source.Users, "u1")
		for range 2 {
			run := h.run(identity.RunHeld)
			if run.Kind != identity.KindIncremental || run.Counts.Changes["user.deactivate"] != 1 || !h.user("ana@acme.test").Active {
				t.Errorf("%s run: %v", run.Kind, h.journal(run))
			}
		}
		h.guard.Users = plan.Limits{Percent: 50}
		h.run(identity.RunDone)
		if h.user("ana@acme.test").Active {
			t.Error("who is gone is active after the guard was widened")
		}
		h.wantEmpty()
	})
}

func TestIncremental_GivesWayToAFullRun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set  func(*directory)
		ask  func(*reconcile.Request)
		want string
	}{
		"nothing speaks against it":      {want: identity.KindIncremental},
		"the checkpoint is refused":      {set: func(d *directory) { d.Resync = true }, want: identity.KindFull},
		"it is asked for":                {ask: func(r *reconcile.Request) { r.Full = true }, want: identity.KindFull},
		"nothing is repaired":            {ask: func(r *reconcile.Request) { r.Source.Enforce = false }, want: identity.KindFull},
		"too many have to be read by id": {set: func(d *directory) { d.crowd(1001) }, want: identity.KindFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := incremental(t, storetest.SQLite(t), func(d *directory) { d.Scoped = true })
			h.source.Users["u1"].Title = "Director"
			if test.set != nil {
				test.set(h.source)
			}
			req := h.request(false)
			if test.ask != nil {
				test.ask(&req)
			}
			run, err := h.engine.Run(t.Context(), req)
			if err != nil || run.Kind != test.want || run.Counts.Changes["user.update"] != 1 || run.Incomplete != "" {
				t.Errorf("%s run, error %v, incomplete %q, want %s: %v", run.Kind, err, run.Incomplete, test.want, run.Counts)
			}
		})
	}
}

// crowd adds people who are in no group.
func (d *directory) crowd(n int) {
	for i := range n {
		d.add(fmt.Sprintf("c%05d", i), fmt.Sprintf("c%05d@acme.test", i))
	}
}

func TestIncremental_EveryDayIsCompared(t *testing.T) {
	t.Parallel()
	h := incremental(t, storetest.SQLite(t), nil)
	late, err := reconcile.New(reconcile.Options{
		Store: h.store, Applier: h.applier, Now: func() time.Time { return time.Now().Add(reconcile.FullEvery) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for engine, want := range map[*reconcile.Engine]string{h.engine: identity.KindIncremental, late: identity.KindFull} {
		if run, err := engine.Run(t.Context(), h.request(true)); err != nil || run.Kind != want {
			t.Errorf("a %s run, %v, want %s", run.Kind, err, want)
		}
	}
}

func TestIncremental_AFailedPhaseMovesNoCheckpoint(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		before, err := s.ConnectorState(t.Context(), "okta")
		if err != nil {
			t.Fatal(err)
		}
		h.source.Users["u1"].Title = "Director"
		h.source.leave("u3")
		for _, phase := range []connectors.Phase{connectors.PhaseUsers, connectors.PhaseMembers} {
			h.source.Fail = map[connectors.Phase]error{phase: errors.New("status 500")}
			h.run(identity.RunPartial)
			after, err := s.ConnectorState(t.Context(), "okta")
			if err != nil || after.Checkpoint != before.Checkpoint || after.CheckpointRunID != before.CheckpointRunID {
				t.Errorf("%s failed: the checkpoint moved from %s to %s, error %v", phase, before.Checkpoint, after.Checkpoint, err)
			}
		}
		h.source.Fail = nil
		h.run(identity.RunDone)
		h.wantEmpty()
	})
}

// wander does one random thing at the source.
func wander(d *directory, r *rand.Rand, n int) string {
	users, groups := slices.Sorted(maps.Keys(d.Users)), slices.Sorted(maps.Keys(d.Groups))
	u, g := users[r.IntN(len(users))], groups[r.IntN(len(groups))]
	switch kind := r.IntN(12); {
	case kind < 2:
		id := fmt.Sprintf("u%04d", n)
		d.add(id, id+"@acme.test").Status = []identity.Status{"active", "active", "active", "inactive", "pending", "unknown"}[r.IntN(6)]
		if r.IntN(2) == 0 {
			d.join(g, id)
		}
		return "new " + id
	case kind == 2:
		id := fmt.Sprintf("g%04d", n)
		d.Groups[id] = "Group " + id
		return "new " + id
	case kind == 3:
		d.Users[u].Title = fmt.Sprint("Title ", n)
		return "title " + u
	case kind == 4:
		d.Users[u].Status = []identity.Status{"active", "inactive", "gone"}[r.IntN(3)]
		if u == anchorUser {
			d.Users[u].Status = identity.StatusActive // an empty source is held
		}
		return fmt.Sprint("status ", u, d.Users[u].Status)
	case kind == 5 && u != anchorUser:
		d.leave(u)
		delete(d.Users, u)
		return "delete " + u
	case kind == 6:
		d.Groups[g] = fmt.Sprint("Renamed ", n)
		return "rename " + g
	case kind == 7 && g != anchorGroup && r.IntN(3) == 0:
		delete(d.Groups, g)
		delete(d.Members, g)
		return "delete " + g
	case kind == 8:
		d.Users[u].Name = fmt.Sprintf("renamed%04d@acme.test", n)
		return "rename " + u
	case u == anchorUser && g == anchorGroup:
		return ""
	case d.Members[g][u]:
		delete(d.Members[g], u)
		return "leave " + g + " " + u
	default:
		d.join(g, u)
		return "join " + g + " " + u
	}
}

// TestProperty_ChangesAndFullEndInTheSameState lets two houses pull one source: one compares everything every time, the
// other what changed, with faults and damage in between. After a clean run both hold the same.
func TestProperty_ChangesAndFullEndInTheSameState(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, seed uint64, whole, parts *store.Store) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := newDirectory()
		d.Incremental, d.Deltas, d.Partial, d.Scoped = true, seed&1 != 0, seed&2 != 0, seed&4 != 0
		d.Groups[anchorGroup] = "Anchored"
		d.add(anchorUser, anchorUser+"@acme.test")
		d.join(anchorGroup, anchorUser)
		rules := roles.Rule{Group: "Anchored", Grants: []identity.TeamRole{{Team: "Payments", Role: "operator"}}}
		full, changes := open(t, whole, rules), open(t, parts, rules)
		full.source, changes.source = d, d
		var log []string
		defer func() {
			if t.Failed() {
				t.Logf("seed %d: %q", seed, log)
			}
		}()
		kinds := map[string]int{}
		for n := range 12 {
			for range r.IntN(6) {
				log = append(log, wander(d, r, n*10+len(log)))
			}
			fault := r.IntN(6)
			if n == 0 {
				fault = 6 // the first run has to come to something
			}
			switch fault {
			case 0:
				d.Fail[[]connectors.Phase{connectors.PhaseUsers, connectors.PhaseMembers}[r.IntN(2)]] = errors.New("status 503")
			case 1:
				for id := range d.Users {
					if r.IntN(4) == 0 {
						d.Broken[id] = errors.New("status 503")
					}
				}
			case 2:
				damage(t, r, parts)
				log = append(log, "damage")
			}
			run, err := changes.engine.Run(t.Context(), changes.request(false))
			if err != nil {
				t.Fatalf("seed %d: %v: %v", seed, log, err)
			}
			kinds[run.Kind]++
			for id, p := range d.Users {
				if u, err := parts.UserByName(t.Context(), p.Name); err == nil && !u.Active && u.SourceID == id && p.Status == identity.StatusActive && d.inScope(id) {
					for c, err := range reconcile.Changes(t.Context(), parts, run.ID) {
						if err == nil && c.SourceID == id && c.Op == identity.OpDeactivate && c.State == identity.StateApplied {
							t.Errorf("seed %d: %v: %s is active at the source and was deactivated: %s", seed, log, id, c.Reason)
						}
					}
				}
			}
			clear(d.Fail)
			clear(d.Broken)
		}
		h := &history{directory: d, pushed: full}
		settle(t, seed, h, changes)
		changes.wantEmpty()
		settle(t, seed, h, full)
		// Who came and went between two full runs is known to one house only.
		active := func(state map[string]any) map[string]any {
			maps.DeleteFunc(state, func(key string, value any) bool {
				u, is := value.([]any)
				return is && strings.HasPrefix(key, "user ") && u[2] == false
			})
			return state
		}
		if diff := cmp.Diff(active(h.state(full)), active(h.state(changes))); diff != "" {
			t.Errorf("seed %d: %v: the states differ (-full +changes):\n%s", seed, log, diff)
		}
		if kinds[identity.KindIncremental] < 6 {
			t.Errorf("seed %d: %v runs, want most to be incremental", seed, kinds)
		}
	}
	for name, on := range map[string]struct {
		open             func(testing.TB) *store.Store
		shards, perShard uint64
	}{"sqlite": {storetest.SQLite, 4, 30}, "postgres": {storetest.Postgres, 2, 8}} {
		for shard := range on.shards {
			t.Run(fmt.Sprint(name, shard), func(t *testing.T) {
				t.Parallel()
				whole, parts := on.open(t), on.open(t)
				for seed := shard * on.perShard; seed < shard*on.perShard+seeds(on.perShard); seed++ {
					check(t, seed, whole, parts)
					wipe(t, whole)
					wipe(t, parts)
				}
			})
		}
	}
}
