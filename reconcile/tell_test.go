package reconcile_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// told returns what the audit log tells of a run itself, in its order.
func (h *house) told(run identity.Run) []string {
	h.t.Helper()
	events, err := h.store.Audit(h.t.Context(), store.AuditQuery{ObjectID: run.ID, Limit: 100})
	if err != nil {
		h.t.Fatal(err)
	}
	var list []string
	for _, e := range slices.Backward(events) {
		text := fmt.Sprintf("%s by %s: %s", e.Type, e.Actor.Kind, e.Reason)
		for _, f := range e.Fields {
			text += fmt.Sprintf(" %s=%v", f.Path, f.After)
		}
		if e.Actor.RunID != run.ID || e.Name != run.Connector {
			h.t.Errorf("event %+v of run %s", e, run.ID)
		}
		list = append(list, text)
	}
	return list
}

func (h *house) wantTold(run identity.Run, want ...string) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.told(run)); diff != "" {
		h.t.Errorf("run %s is told of as (-want +got):\n%s", run.Status, diff)
	}
}

func TestRun_TellsOfDrift(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.wantTold(h.run(identity.RunDone),
			"drift.found by connector: 8 differences group.create=2 member.add=3 user.create=3",
			"drift.repaired by connector: 8 repairs applied=8 held=0 skipped=0 failed=0",
			"run.finished by connector: done")
		h.wantTold(h.run(identity.RunDone), "run.finished by connector: done")
	})
}

func TestRun_TellsOfDriftThatIsOnlyReportedOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		report := func(dryRun bool) identity.Run {
			t.Helper()
			req := h.request(dryRun)
			req.Source.Enforce, req.Trigger = false, "schedule"
			if dryRun {
				req.Trigger = "cli"
			}
			run, err := h.engine.Run(t.Context(), req)
			if err != nil || run.Status != identity.RunPlanned {
				t.Fatalf("a run that reports ended %s, error %v", run.Status, err)
			}
			return run
		}
		h.wantTold(report(true)) // who asks is answered
		found := "drift.found by connector: %d differences group.create=2 member.add=3 user.create=%d"
		h.wantTold(report(false), fmt.Sprintf(found, 8, 3))
		h.wantTold(report(true))
		h.wantTold(report(false)) // the same
		h.source.add("u4", "dan@acme.test")
		h.wantTold(report(false), fmt.Sprintf(found, 9, 4))
	})
}

func TestRun_TellsOfWhatIsHeldAndWhatIsApproved(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h, run := holding(t, s, style)
		held := h.told(run)
		if len(held) != 4 || held[3] != fmt.Sprintf("run.held by connector: %s held=%d", run.Guard, run.Counts.Held) {
			t.Fatalf("a run that was held is told of as %q", held)
		}
		if _, err := h.approve(run, run.PlanHash); err != nil {
			t.Fatal(err)
		}
		after := h.told(run)[len(held):]
		want := []string{
			"run.approved by cli: " + run.Guard,
			fmt.Sprintf("drift.repaired by connector: %d repairs applied=%d held=0 skipped=0 failed=0", run.Counts.Held, run.Counts.Held),
			"run.finished by connector: done guard=" + run.Guard,
		}
		if diff := cmp.Diff(want, after); diff != "" {
			t.Errorf("after the approval (-want +got):\n%s", diff)
		}
	})
}

func TestRun_TellsWhoAsked(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		req := h.request(false)
		req.By, req.Full = identity.Actor{Kind: "user", ID: "u", Name: "ops", RequestID: "q"}, true
		run, err := h.engine.Run(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		h.wantTold(run, "run.started by user: resync of everything", "run.finished by connector: done")
		events, err := s.Audit(t.Context(), store.AuditQuery{RequestID: "q", Limit: 9})
		if err != nil || len(events) != 1 || events[0].Actor.ID != "u" {
			t.Errorf("events of the request: %+v, error %v", events, err)
		}
	})
}

func TestRun_TellsOfARunWhoseProcessEnded(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		dead := identity.Run{ID: "dead", Connector: "okta", Kind: identity.KindFull, Status: identity.RunRunning}
		if err := s.PutRun(t.Context(), &dead); err != nil {
			t.Fatal(err)
		}
		h.run(identity.RunDone)
		h.wantTold(dead, "run.finished by system: failed error=interrupted: the process ended before the run did")
	})
}
