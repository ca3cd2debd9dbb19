package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

func TestRun_HeldPeopleKeepTheirMemberships(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.guard = plan.DefaultGuard()
		h.source.Groups["g1"] = "Engineering"
		for i := range 40 {
			id := fmt.Sprintf("u%02d", i)
			h.source.add(id, id+"@acme.test")
			h.source.join("g1", id)
		}
		h.run(identity.RunDone)
		for i := range 20 {
			id := fmt.Sprintf("u%02d", i)
			delete(h.source.Users, id)
			h.source.leave(id)
		}
		h.source.leave("u39")
		run := h.run(identity.RunHeld)
		if run.Counts.Held != 40 || run.Counts.Applied != 1 {
			t.Errorf("held %d, applied %d, want the 20 people with their 20 memberships held and one other applied:\n%s",
				run.Counts.Held, run.Counts.Applied, strings.Join(h.journal(run), "\n"))
		}
		g, err := s.GroupByName(t.Context(), "Engineering")
		if err != nil || g.MemberCount != 39 {
			t.Errorf("the group has %d members (%v), want 39", g.MemberCount, err)
		}
	})
}

func TestRun_ToldToStop(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		ctx, stop := context.WithCancel(t.Context())
		h.source.OnPage = func(phase connectors.Phase) {
			if phase == connectors.PhaseMembers {
				stop()
			}
		}
		run, err := h.engine.Run(ctx, h.request(false))
		if err == nil || run.Status != identity.RunFailed || run.Error != "interrupted: the process was told to stop" {
			t.Errorf("run %s %q (%v), want failed and interrupted", run.Status, run.Error, err)
		}
		held, err := s.Run(t.Context(), run.ID)
		if err != nil || held.Status != identity.RunFailed || held.Finished.IsZero() {
			t.Errorf("the run is recorded as %s, finished %v (%v)", held.Status, held.Finished, err)
		}
		h.source.OnPage = nil
		h.run(identity.RunDone)
		h.wantEmpty()
	})
}

func TestRun_InterruptedRunLeavesNothingSpooled(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		ctx := t.Context()
		runs := []identity.Run{
			{ID: "dead", Connector: "okta", Status: identity.RunRunning, Started: time.Now()},
			{ID: "dry", Connector: "okta", Status: identity.RunRunning, DryRun: true, Started: time.Now()},
			{ID: "dead-dry", Connector: "okta", Status: identity.RunRunning, DryRun: true, Started: time.Now().Add(-24 * time.Hour)},
		}
		for i := range runs {
			if err := s.PutRun(ctx, &runs[i]); err != nil {
				t.Fatal(err)
			}
			if err := s.SpoolMembers(ctx, runs[i].ID, "g1", []string{"u1", "u2"}); err != nil {
				t.Fatal(err)
			}
		}
		ids, err := s.InterruptRuns(ctx, "okta", time.Now())
		slices.Sort(ids)
		if err != nil || !slices.Equal(ids, []string{"dead", "dead-dry"}) {
			t.Errorf("InterruptRuns() = %v, %v, want the dead ones and not a dry run that is going", ids, err)
		}
		var left int
		if err := s.DB().QueryRowContext(ctx, "SELECT count(*) FROM run_members").Scan(&left); err != nil || left != 2 {
			t.Errorf("%d spooled members are left (%v), want those of the run that is going", left, err)
		}
	})
}

func TestRun_AbsentGroupsAreVerifiedById(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.small()
	h.source.Groups["g3"], h.source.Groups["g4"] = "Legal", "Design"
	h.run(identity.RunDone)
	h.source.Hidden["g1"] = true  // still there: the listing was wrong
	delete(h.source.Groups, "g3") // deleted
	h.source.Hidden["g4"] = true  // cannot be read
	h.source.Broken["g4"] = errors.New("status 503")
	run := h.run(identity.RunPartial)
	h.wantJournal(run,
		"skipped group delete Engineering [displayName: Engineering -> <nil>] (kept: still there when read by id)",
		"applied group delete Legal [displayName: Legal -> <nil>] (absent, not found by id)",
		"skipped group delete Design [displayName: Design -> <nil>] (kept: could not be read by id: status 503)",
	)
}
