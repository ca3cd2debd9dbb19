package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

func TestRun_ChainsOfNamesComeRightInOneRun(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"worst order", "best order"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				h := open(t, s)
				const n = 12
				name := func(i int) string { return fmt.Sprintf("n%02d@acme.test", i) }
				for i := range n {
					h.source.add(fmt.Sprintf("u%02d", i), name(i))
					h.source.Groups[fmt.Sprintf("g%02d", i)] = fmt.Sprintf("Group %02d", i)
				}
				h.run(identity.RunDone)
				ids := map[string]string{}
				for i := range n {
					ids[fmt.Sprintf("u%02d", i)] = h.user(name(i)).ID
				}
				// Each takes the name of the next one; the last, or the first, gets a name of its own.
				step := 1
				if order == "best order" {
					step = -1
				}
				for i := range n {
					to := i + step
					if to < 0 {
						to = n
					}
					h.source.Users[fmt.Sprintf("u%02d", i)].Name = name(to)
					h.source.Groups[fmt.Sprintf("g%02d", i)] = fmt.Sprintf("Group %02d", to)
				}
				h.source.Groups["new"] = fmt.Sprintf("GROUP %02d", 0) // given up in the same run, or taken by g01
				if order == "best order" {
					h.source.Groups["new"] = fmt.Sprintf("Group %02d", n-1)
				}
				run := h.run(identity.RunDone)
				if run.Counts.Applied != 2*n+1 || run.Counts.Failed != 0 {
					t.Errorf("applied %d, failed %d, want %d and none", run.Counts.Applied, run.Counts.Failed, 2*n+1)
				}
				for id, p := range h.source.Users {
					if got := h.user(p.Name); got.SourceID != id || got.ID != ids[id] {
						t.Errorf("%s is %s (%s), want %s (%s)", p.Name, got.SourceID, got.ID, id, ids[id])
					}
				}
				h.wantEmpty()
			})
		})
	}
}

func TestRun_SwappedNamesAreReportedAndLoseNobody(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.run(identity.RunDone)
		ana, ben := h.user("ana@acme.test"), h.user("ben@acme.test")
		h.source.Users["u1"].Name, h.source.Users["u2"].Name = ben.UserName, ana.UserName
		h.source.Users["u3"].Title = "CEO"
		run := h.run(identity.RunPartial)
		if run.Counts.Failed != 2 || run.Counts.Applied != 1 {
			t.Errorf("failed %d, applied %d, want 2 and 1:\n%s", run.Counts.Failed, run.Counts.Applied, strings.Join(h.journal(run), "\n"))
		}
		for _, before := range []identity.User{ana, ben} {
			if got := h.user(before.UserName); got.ID != before.ID || got.SourceID != before.SourceID || got.Version != before.Version || !got.Active {
				t.Errorf("%s was touched: %+v", before.UserName, got)
			}
		}
		// Once one of them has another name, everything comes right.
		h.source.Users["u1"].Name = "ana.lee@acme.test"
		h.run(identity.RunDone)
		if h.user("ana.lee@acme.test").ID != ana.ID || h.user("ana@acme.test").ID != ben.ID {
			t.Error("the names went to the wrong people")
		}
		h.wantEmpty()
	})
}

func TestRun_RefusedChangesAreSkippedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		admin, err := h.applier.CreateAdmin(t.Context(), identity.Actor{Kind: "cli"}, "ana@acme.test", "hash", false)
		if err != nil {
			t.Fatal(err)
		}
		// An operator links the account to the person at the source, which is proof enough to take it over.
		tamper(t, s, "UPDATE users SET external_id = 'u1' WHERE user_name = 'ana@acme.test'")
		h.small()
		run := h.run(identity.RunPartial)
		if got := run.Counts.Skipped; got == 0 {
			t.Errorf("nothing was skipped:\n%s", strings.Join(h.journal(run), "\n"))
		}
		if got := h.user("ana@acme.test"); got.ID != admin.ID || got.Origin != identity.OriginLocal || !got.Active {
			t.Errorf("the last admin was touched: %+v", got)
		}
		if !h.user("ben@acme.test").Active {
			t.Error("the others were not created")
		}
	})
}

func TestRun_MappedGroupThatGoesIsHeld(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t), roles.Rule{Group: "Engineering", Grants: []identity.TeamRole{{Team: "root", Role: "admin"}}})
	h.guard = plan.DefaultGuard()
	h.small()
	h.run(identity.RunDone)
	delete(h.source.Groups, "g1")
	delete(h.source.Members, "g1")
	h.source.Users["u3"].Title = "CEO"
	run := h.run(identity.RunHeld)
	if want := "groups: Engineering with a role mapping would be deleted"; run.Guard != want || run.Counts.Held != 1 || run.Counts.Applied != 1 {
		t.Errorf("guard %q, held %d, applied %d, want %q, 1, 1", run.Guard, run.Counts.Held, run.Counts.Applied, want)
	}
	if _, err := h.store.GroupByName(t.Context(), "Engineering"); err != nil {
		t.Errorf("the held group: %v", err)
	}
}

func TestRun_MappedGroupWithOnlyUnknownMembersLeftIsHeld(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t), roles.Rule{Group: "Engineering", Grants: []identity.TeamRole{{Team: "root", Role: "admin"}}})
	h.guard = plan.DefaultGuard()
	h.small()
	h.run(identity.RunDone)
	clear(h.source.Members["g1"])
	h.source.join("g1", "somebody out of scope")
	run := h.run(identity.RunHeld)
	if want := "members: Engineering with a role mapping would be left empty"; run.Guard != want {
		t.Errorf("guard %q, want %q", run.Guard, want)
	}
}

// A push that confirms what is held, while a pull that read something else before is under way, is not undone.
func TestRun_ConfirmingPushDuringPullIsNotUndone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.run(identity.RunDone)
		ana, g1 := h.user("ana@acme.test"), "Engineering"
		h.source.Users["u1"].Status = identity.StatusInactive // read by the pull, then taken back and pushed
		delete(h.source.Members["g1"], "u2")
		pushed := false
		h.source.OnPage = func(phase connectors.Phase) {
			if phase != connectors.PhaseMembers || pushed {
				return
			}
			pushed = true
			h.source.Users["u1"].Status = identity.StatusActive
			_, err := h.applier.ChangeUser(t.Context(), pusher, "okta", ana.ID, 0, func(u *identity.User) error {
				u.Active = true
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			group, err := s.GroupByName(t.Context(), g1)
			if err != nil {
				t.Error(err)
			}
			_, err = h.applier.ChangeGroup(t.Context(), pusher, "okta", group.ID, 0, lifecycle.GroupChange{
				Members: []lifecycle.MemberOp{{Op: lifecycle.MembersAdd, IDs: []string{h.user("ben@acme.test").ID}}},
			})
			if err != nil {
				t.Error(err)
			}
		}
		h.wantJournal(h.run(identity.RunPartial),
			"skipped user deactivate ana@acme.test [active: true -> false] (pushed since it was read)",
			"skipped member remove Engineering [members: ben@acme.test -> <nil>] (pushed since it was read)",
		)
		if got := h.user("ana@acme.test"); !got.Active || got.Version != ana.Version {
			t.Errorf("undone: %+v", got)
		}
	})
}
