package reconcile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// house is an engine over a database and a source in memory.
type house struct {
	t       *testing.T
	store   *store.Store
	applier *lifecycle.Applier
	engine  *reconcile.Engine
	source  *directory
	guard   plan.Guard
}

// open returns a house whose guard holds nothing unless a test says so.
func open(t *testing.T, s *store.Store, rules ...roles.Rule) *house {
	t.Helper()
	mapping, err := roles.Compile(roles.Options{Rules: rules, DefaultRole: identity.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	applier, err := lifecycle.New(lifecycle.Options{Store: s, Mapping: mapping})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := reconcile.New(reconcile.Options{Store: s, Applier: applier})
	if err != nil {
		t.Fatal(err)
	}
	free := plan.Limits{Percent: 100, Floor: 1000}
	return &house{t, s, applier, engine, newDirectory(), plan.Guard{Users: free, Groups: free, Members: free}}
}

func (h *house) request(dryRun bool) reconcile.Request {
	return reconcile.Request{
		Source: reconcile.Source{Name: "okta", Connector: h.source, Guard: h.guard, Enforce: true}, DryRun: dryRun, Trigger: "test",
	}
}

// run pulls and repairs, and wants the run to end in a status.
func (h *house) run(want identity.RunStatus) identity.Run {
	h.t.Helper()
	run, err := h.engine.Run(h.t.Context(), h.request(false))
	if err != nil {
		h.t.Fatal(err)
	}
	if run.Status != want {
		h.t.Fatalf("run ended %s, want %s; incomplete %q, guard %q, journal:\n%s", run.Status, want, run.Incomplete, run.Guard, strings.Join(h.journal(run), "\n"))
	}
	return run
}

// journal prints the changes of a run, sorted.
func (h *house) journal(run identity.Run) []string {
	h.t.Helper()
	var lines []string
	for c, err := range reconcile.Changes(h.t.Context(), h.store, run.ID) {
		if err != nil {
			h.t.Fatal(err)
		}
		var fields []string
		for _, f := range c.Fields {
			fields = append(fields, fmt.Sprintf("%s: %v -> %v", f.Path, f.Before, f.After))
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s [%s] (%s)", c.State, c.Object, c.Op, c.Name, strings.Join(fields, ", "), c.Reason))
	}
	slices.Sort(lines)
	return lines
}

// wantEmpty wants a full plan that finds no drift.
func (h *house) wantEmpty() {
	h.t.Helper()
	req := h.request(true)
	req.Full = true
	run, err := h.engine.Run(h.t.Context(), req)
	if err != nil {
		h.t.Fatal(err)
	}
	if n := run.Counts.Planned(); n != 0 || run.Status != identity.RunPlanned {
		h.t.Fatalf("a second plan has %d changes and status %s, want none:\n%s", n, run.Status, strings.Join(h.journal(run), "\n"))
	}
}

func (h *house) wantJournal(run identity.Run, want ...string) {
	h.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, h.journal(run)); diff != "" {
		h.t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func (h *house) user(name string) identity.User {
	h.t.Helper()
	u, err := h.store.UserByName(h.t.Context(), name)
	if err != nil {
		h.t.Fatalf("user %s: %v", name, err)
	}
	return u
}

// tamper runs a statement behind the program's back.
func tamper(t *testing.T, s *store.Store, statement string) {
	t.Helper()
	if _, err := s.DB().ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// small fills the source with three people in two groups.
func (h *house) small() {
	h.source.add("u1", "ana@acme.test")
	h.source.add("u2", "ben@acme.test")
	h.source.add("u3", "cleo@acme.test")
	h.source.Groups["g1"], h.source.Groups["g2"] = "Engineering", "Sales"
	h.source.join("g1", "u1", "u2")
	h.source.join("g2", "u3")
}

func TestRun_CreatesAndThenPlansNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s, roles.Rule{Group: "engineering", Grants: []identity.TeamRole{{Team: "root", Role: "admin"}, {Team: "Payments", Role: "operator"}}})
		h.small()
		run := h.run(identity.RunDone)
		want := map[string]int{"user.create": 3, "group.create": 2, "member.add": 3}
		if diff := cmp.Diff(want, run.Counts.Changes); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
		if run.Counts.Applied != 8 {
			t.Errorf("applied %d, want 8", run.Counts.Applied)
		}
		for c, err := range reconcile.Changes(t.Context(), s, run.ID) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Object == identity.ObjectUser && c.ID != h.user(c.Name).ID {
				t.Errorf("the journal has %s created as %q, want %q", c.Name, c.ID, h.user(c.Name).ID)
			}
		}
		h.wantEmpty()
		ana := h.user("ana@acme.test")
		grants, err := s.EffectiveGrants(t.Context(), ana.ID)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, team := range roles.Explain(&ana, grants).Teams {
			for _, role := range team.Roles {
				got = append(got, fmt.Sprintf("%s:%s via %s", team.Team, role.Role, role.Via[0].Name))
			}
		}
		slices.Sort(got)
		wantRoles := []string{"Engineering:viewer via Engineering", "Payments:operator via Engineering", "root:admin via Engineering"}
		if diff := cmp.Diff(wantRoles, got); diff != "" {
			t.Errorf("access (-want +got):\n%s", diff)
		}
	})
}

func TestRun_FindsAndRepairsDriftOnBothSides(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.source.add("u4", "dan@acme.test")
		h.source.join("g1", "u4")
		h.run(identity.RunDone)
		id := h.user("ana@acme.test").ID

		// At the source: one is renamed, one changes group, one is suspended, one is deleted, one is new.
		h.source.Users["u1"].Name = "ana.lee@acme.test"
		h.source.leave("u2")
		h.source.join("g2", "u2")
		h.source.Users["u3"].Status = identity.StatusInactive
		delete(h.source.Users, "u4")
		h.source.leave("u4")
		h.source.add("u5", "eve@acme.test").Title = ""
		h.source.Groups["g2"] = "Field Sales"
		// Here: somebody edits a row behind the program's back.
		tamper(t, s, "UPDATE users SET active = FALSE WHERE user_name = 'ben@acme.test'")

		run := h.run(identity.RunDone)
		h.wantJournal(run,
			"applied user update ana@acme.test [userName: ana@acme.test -> ana.lee@acme.test, emails[type eq \"work\"].value: ana@acme.test -> ana.lee@acme.test] ()",
			"applied user reactivate ben@acme.test [active: false -> true] (stated active)",
			"applied user deactivate cleo@acme.test [active: true -> false] (stated inactive: inactive)",
			"applied user deactivate dan@acme.test [active: true -> false] (absent, not found by id)",
			"applied user create eve@acme.test [userName: <nil> -> eve@acme.test, externalId: <nil> -> u5, emails[type eq \"work\"].value: <nil> -> eve@acme.test, name.givenName: <nil> -> Given u5, name.familyName: <nil> -> Family, active: <nil> -> true] ()",
			"applied group update Sales [displayName: Sales -> Field Sales] ()",
			"applied member remove Engineering [members: ben@acme.test -> <nil>] ()",
			"applied member remove Engineering [members: dan@acme.test -> <nil>] ()",
			"applied member add Field Sales [members: <nil> -> ben@acme.test] ()",
		)
		h.wantEmpty()
		if got := h.user("ana.lee@acme.test"); got.ID != id {
			t.Errorf("the renamed user has id %s, want %s", got.ID, id)
		}
		if got := h.user("dan@acme.test"); got.Active || got.Deleted() {
			t.Errorf("the absent user is active %v, deleted %v, want neither", got.Active, got.Deleted())
		}

		// A group that goes takes its team and memberships along, and nobody else.
		delete(h.source.Groups, "g2")
		h.wantJournal(h.run(identity.RunDone), "applied group delete Field Sales [displayName: Field Sales -> <nil>] (absent, not found by id)")
		h.wantEmpty()
		if _, err := s.TeamByName(t.Context(), "Field Sales"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the team of a gone group: %v, want %v", err, store.ErrNotFound)
		}
	})
}

func TestRun_RepairsTamperedRowsOfEveryKind(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for _, statement := range []string{
			"UPDATE users SET user_name = 'mallory@acme.test', user_name_key = 'mallory@acme.test' WHERE source_id = 'u1'",
			`UPDATE users SET document = '{"title":"CEO"}' WHERE source_id = 'u1'`,
			"UPDATE users SET active = FALSE WHERE source_id = 'u1'",
			"UPDATE groups SET display_name = 'Admins' WHERE source_id = 'g1'",
			"DELETE FROM group_members WHERE user_id = (SELECT id FROM users WHERE source_id = 'u1')",
			"INSERT INTO group_members (group_id, user_id) SELECT g.id, u.id FROM groups g, users u WHERE g.source_id = 'g2' AND u.source_id = 'u1'",
			"DELETE FROM group_grants",
			"INSERT INTO group_grants (group_id, team_id, role) SELECT id, '00000000-0000-4000-8000-000000000001', 'admin' FROM groups",
		} {
			h := open(t, s)
			h.small()
			h.run(identity.RunDone)
			h.wantEmpty()
			tamper(t, s, statement)
			if run := h.run(identity.RunDone); run.Counts.Applied == 0 {
				t.Errorf("%s: nothing was repaired", statement)
			}
			h.wantEmpty()
		}
	})
}

func TestRun_IncompletePhasesRemoveNothing(t *testing.T) {
	t.Parallel()
	for _, phase := range []connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			h := open(t, storetest.SQLite(t))
			h.small()
			for i := range 4 {
				h.source.add(fmt.Sprintf("x%d", i), fmt.Sprintf("x%d@acme.test", i))
			}
			h.run(identity.RunDone)
			h.source.Fail[phase] = errors.New("connection reset")
			switch phase {
			case connectors.PhaseUsers:
				delete(h.source.Users, "u2")
				h.source.Users["u1"].Status = identity.StatusInactive
			case connectors.PhaseGroups:
				delete(h.source.Groups, "g2")
			case connectors.PhaseMembers:
				delete(h.source.Members["g1"], "u2")
			}
			run := h.run(identity.RunPartial)
			if run.Counts.Applied != 0 || !strings.Contains(run.Incomplete, "connection reset") {
				t.Errorf("applied %d changes, incomplete %q; journal %v", run.Counts.Applied, run.Incomplete, h.journal(run))
			}
			if !h.user("ben@acme.test").Active {
				t.Error("a partial listing deactivated somebody")
			}
			delete(h.source.Fail, phase)
			if run := h.run(identity.RunDone); run.Counts.Applied == 0 {
				t.Error("the next complete run repaired nothing")
			}
			h.wantEmpty()
		})
	}
}

func TestRun_GuardHoldsRemovalsAndLetsTheRestGoOn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.guard = plan.DefaultGuard()
		for i := range 100 {
			h.source.add(fmt.Sprintf("u%03d", i), fmt.Sprintf("u%03d@acme.test", i))
		}
		h.run(identity.RunDone)
		for i := range 11 {
			delete(h.source.Users, fmt.Sprintf("u%03d", i))
		}
		h.source.add("new", "new@acme.test")
		run := h.run(identity.RunHeld)
		if want := "users 11 % > 10 % (11 of 100)"; run.Guard != want {
			t.Errorf("guard %q, want %q", run.Guard, want)
		}
		if run.Counts.Held != 11 || run.Counts.Applied != 1 || len(h.source.Reads) != 0 {
			t.Errorf("held %d, applied %d, read %d by id, want 11, 1, 0", run.Counts.Held, run.Counts.Applied, len(h.source.Reads))
		}
		if !h.user("u000@acme.test").Active || !h.user("new@acme.test").Active {
			t.Error("want the absent user kept and the new one created")
		}
		h.source.add("u000", "u000@acme.test")
		run = h.run(identity.RunDone)
		if got := run.Counts.Changes["user.deactivate"]; got != 10 || run.Counts.Applied != 10 {
			t.Errorf("deactivated %d of %d, want the 10 that the floor allows", run.Counts.Applied, got)
		}
	})
}

func TestRun_EmptySourceIsHeld(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.guard = plan.DefaultGuard()
	h.small()
	h.run(identity.RunDone)
	clear(h.source.Users)
	clear(h.source.Groups)
	clear(h.source.Members)
	run := h.run(identity.RunHeld)
	if want := "users: the source states none, 3 are held; groups: the source states none, 2 are held"; run.Guard != want {
		t.Errorf("guard %q, want %q", run.Guard, want)
	}
	if !h.user("ana@acme.test").Active {
		t.Error("an empty source deactivated somebody")
	}
}

func TestRun_MappedGroupGoingEmptyIsHeld(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t), roles.Rule{Group: "Engineering", Grants: []identity.TeamRole{{Team: "root", Role: "admin"}}})
	h.guard = plan.DefaultGuard()
	h.small()
	h.run(identity.RunDone)
	clear(h.source.Members["g1"])
	run := h.run(identity.RunHeld)
	if want := "members: Engineering with a role mapping would be left empty"; run.Guard != want {
		t.Errorf("guard %q, want %q", run.Guard, want)
	}
}

func TestRun_AbsenceIsVerifiedById(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.small()
	h.source.add("u4", "dan@acme.test")
	h.source.add("u5", "eve@acme.test")
	h.run(identity.RunDone)
	h.source.Hidden["u1"] = true                      // still there: the listing was wrong
	h.source.Users["u2"].Status = identity.StatusGone // listed no more, and says so
	delete(h.source.Users, "u3")                      // deleted
	h.source.Hidden["u4"] = true                      // cannot be read
	h.source.Broken["u4"] = errors.New("status 503")
	run := h.run(identity.RunPartial)
	h.wantJournal(run,
		"skipped user deactivate ana@acme.test [active: true -> false] (kept: still active when read by id)",
		"applied user deactivate ben@acme.test [active: true -> false] (absent, gone when read by id)",
		"applied user deactivate cleo@acme.test [active: true -> false] (absent, not found by id)",
		"skipped user deactivate dan@acme.test [active: true -> false] (kept: could not be read by id: status 503)",
	)
}

func TestRun_PushDuringPullIsNotUndone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.run(identity.RunDone)
		ana := h.user("ana@acme.test")
		h.source.Users["u1"].Title = "Read before the push"
		pushed := false
		h.source.OnPage = func(phase connectors.Phase) {
			if phase != connectors.PhaseMembers || pushed {
				return
			}
			pushed = true
			_, err := h.applier.ChangeUser(t.Context(), identity.Actor{Kind: "key"}, "okta", ana.ID, 0, func(u *identity.User) error {
				u.Set(pathTitle, "Pushed later")
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		run := h.run(identity.RunPartial)
		h.wantJournal(run, "skipped user update ana@acme.test [title: Engineer -> Read before the push] (pushed since it was read)")
		if got := h.user("ana@acme.test").Attributes.Text(pathTitle); got != "Pushed later" {
			t.Errorf("title %q, want the pushed one", got)
		}
	})
}

func TestRun_OneAtATime(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		var second error
		h.source.OnPage = func(connectors.Phase) {
			if second == nil {
				_, second = h.engine.Run(t.Context(), h.request(false))
			}
		}
		h.run(identity.RunDone)
		if !errors.Is(second, reconcile.ErrBusy) {
			t.Errorf("a second run during the first: %v, want %v", second, reconcile.ErrBusy)
		}
		h.source.OnPage = nil
		h.run(identity.RunDone)
	})
}

func TestRun_StolenLeaseStopsWriting(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.source.OnPage = func(phase connectors.Phase) {
			if phase == connectors.PhaseGroups {
				tamper(t, s, "UPDATE leases SET holder = 'somebody else', epoch = epoch + 1")
			}
		}
		run, err := h.engine.Run(t.Context(), h.request(false))
		if !errors.Is(err, store.ErrLeaseLost) || run.Status != identity.RunFailed {
			t.Errorf("run %s: %v, want failed with %v", run.Status, err, store.ErrLeaseLost)
		}
		if _, total, err := s.Users(t.Context(), store.UserQuery{}); err != nil || total != 0 {
			t.Errorf("%d users were written without the lease (%v)", total, err)
		}
	})
}

func TestRun_ReportModeChangesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.small()
	req := h.request(false)
	req.Source.Enforce = false
	run, err := h.engine.Run(t.Context(), req)
	if err != nil || run.Status != identity.RunPlanned || run.Counts.Planned() != 8 {
		t.Errorf("run %s with %d changes (%v), want planned with 8", run.Status, run.Counts.Planned(), err)
	}
	if _, total, err := h.store.Users(t.Context(), store.UserQuery{}); err != nil || total != 0 {
		t.Errorf("mode report wrote %d users (%v)", total, err)
	}
}

func TestRun_SamePlanHasSameHash(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.small()
	hash := func() string {
		run, err := h.engine.Run(t.Context(), h.request(true))
		if err != nil {
			t.Fatal(err)
		}
		return run.PlanHash
	}
	first := hash()
	if second := hash(); second != first {
		t.Errorf("the same plan has the hashes %s and %s", first, second)
	}
	h.source.Users["u1"].Title = "Other"
	if other := hash(); other == first {
		t.Error("another plan has the same hash")
	}
}

func TestRun_ConflictsAreListedAndNeverGuessed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		admin, err := h.applier.CreateAdmin(t.Context(), identity.Actor{Kind: "cli"}, "ana@acme.test", "hash", false)
		if err != nil {
			t.Fatal(err)
		}
		h.small()
		run := h.run(identity.RunPartial)
		if got := run.Counts.Changes["user.conflict"]; got != 1 {
			t.Errorf("%d conflicts, want 1:\n%s", got, strings.Join(h.journal(run), "\n"))
		}
		if got := h.user("ana@acme.test"); got.ID != admin.ID || got.Origin != identity.OriginLocal || !got.Active {
			t.Errorf("the local admin was touched: %+v", got)
		}
		h.wantEmpty()
	})
}

func TestRun_InterruptedRunIsClosedByTheNext(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.small()
	dead := identity.Run{ID: "dead", Connector: "okta", Status: identity.RunRunning, Started: time.Now()}
	if err := h.store.PutRun(t.Context(), &dead); err != nil {
		t.Fatal(err)
	}
	h.run(identity.RunDone)
	got, err := h.store.Run(t.Context(), "dead")
	if err != nil || got.Status != identity.RunFailed || got.Error == "" {
		t.Errorf("the dead run is %s %q (%v), want failed with a reason", got.Status, got.Error, err)
	}
}
