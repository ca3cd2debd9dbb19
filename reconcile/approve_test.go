package reconcile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

var operator = identity.Actor{Kind: "cli", ID: "ops", Name: "ops"}

// holding is a house in which a run has just held the deactivation of Ana and Ben, who are gone.
func holding(t *testing.T, s *store.Store, set func(*directory)) (*house, identity.Run) {
	t.Helper()
	h := incremental(t, s, set)
	h.guard.Users = plan.Limits{Percent: 10}
	for _, id := range []string{"u1", "u2"} {
		h.source.leave(id)
		delete(h.source.Users, id)
	}
	h.source.Users["u3"].Title = "Director"
	return h, h.run(identity.RunHeld)
}

func (h *house) approve(run identity.Run, hash string) (identity.Run, error) {
	return h.engine.Approve(h.t.Context(), reconcile.Approval{Source: h.request(false).Source, RunID: run.ID, PlanHash: hash, By: operator})
}

// wantRefused wants a decision to be refused for a reason, and nobody to be touched by it.
func (h *house) wantRefused(err error, reason string) {
	h.t.Helper()
	var refused *reconcile.DecisionError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), reason) {
		h.t.Errorf("error %v, want a refusal with %q", err, reason)
	}
	if !h.user("ana@acme.test").Active {
		h.t.Error("somebody was deactivated all the same")
	}
}

func (h *house) events(kind identity.EventType) (n int) {
	h.t.Helper()
	events, err := h.store.Audit(h.t.Context(), store.AuditQuery{Limit: 1000})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == kind {
			n++
		}
	}
	return n
}

func TestApprove_AppliesWhatWasHeldOnce(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h, run := holding(t, s, style)
		if u := h.user("cleo@acme.test"); u.Get(pathTitle) != "Director" {
			t.Errorf("an update was held with the removals: title %v", u.Get(pathTitle))
		}
		h.source.Reads = nil
		approved, err := h.approve(run, run.PlanHash)
		if err != nil || approved.Status != identity.RunDone || approved.PlanHash != run.PlanHash || approved.Counts.Held != 0 {
			t.Fatalf("approved run %+v, error %v", approved, err)
		}
		slices.Sort(h.source.Reads)
		if !slices.Equal(h.source.Reads, []string{"u1", "u2"}) {
			t.Errorf("read by id before they went: %v", h.source.Reads)
		}
		if h.user("ana@acme.test").Active || h.user("ben@acme.test").Active || !h.user("cleo@acme.test").Active {
			t.Errorf("who is active is wrong after the approval: %v", h.journal(approved))
		}
		if d := approved.Decision; d.Kind != identity.DecisionApproved || d.By != "ops" || time.Since(d.At) > time.Minute {
			t.Errorf("decision %+v", d)
		}
		if _, err := h.approve(run, run.PlanHash); err == nil || !strings.Contains(err.Error(), "it was approved by ops at ") {
			t.Errorf("a second approval: %v", err)
		}
		if n := h.events(identity.EventRunApproved); n != 1 {
			t.Errorf("%d events of an approval, want 1", n)
		}
		h.run(identity.RunDone)
		h.wantEmpty()
	})
}

func TestApprove_IsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before func(h *house, run *identity.Run)
		hash   string
		reason string
	}{
		"another hash": {hash: "sha256:0", reason: "not sha256:0: look at the plan that you approve"},
		"too late": {before: func(h *house, run *identity.Run) {
			run.Finished = run.Finished.Add(-reconcile.ApprovalLapses - time.Minute)
			if err := h.store.PutRun(h.t.Context(), run); err != nil {
				h.t.Fatal(err)
			}
		}, reason: "lapses after 24h"},
		"the plan changed": {before: func(h *house, _ *identity.Run) {
			h.source.leave("u3")
			delete(h.source.Users, "u3")
			h.run(identity.RunHeld)
		}, reason: "the plan changed"},
		"they came back": {before: func(h *house, _ *identity.Run) {
			h.source.add("u1", "ana@acme.test")
			h.source.add("u2", "ben@acme.test")
			h.source.join("g1", "u1", "u2")
			h.run(identity.RunDone)
		}, reason: "the plan changed"},
		"it was rejected": {before: func(h *house, run *identity.Run) {
			if _, err := h.engine.Reject(h.t.Context(), run.ID, operator); err != nil {
				h.t.Fatal(err)
			}
		}, reason: "it was rejected by ops"},
		"it held nothing": {before: func(h *house, run *identity.Run) {
			h.guard.Users = plan.Limits{Percent: 100, Floor: 100}
			h.source.add("u1", "ana@acme.test")
			*run = h.run(identity.RunDone)
		}, reason: "it is done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, run := holding(t, storetest.SQLite(t), nil)
			if test.before != nil {
				test.before(h, &run)
			}
			hash := test.hash
			if hash == "" {
				hash = run.PlanHash
			}
			_, err := h.approve(run, hash)
			h.wantRefused(err, test.reason)
		})
	}
}

func TestApprove_KeepsWhoCameBack(t *testing.T) {
	t.Parallel()
	h, run := holding(t, storetest.SQLite(t), nil)
	h.source.add("u1", "ana@acme.test")
	h.source.Broken = map[string]error{"u2": errors.New("status 500")}
	approved, err := h.approve(run, run.PlanHash)
	if err != nil || approved.Status != identity.RunPartial || approved.Counts.Kept != 2 {
		t.Errorf("approved run %+v, error %v", approved, err)
	}
	if !h.user("ana@acme.test").Active || !h.user("ben@acme.test").Active {
		t.Errorf("who is still there, or cannot be read, was deactivated: %v", h.journal(approved))
	}
}

func TestApprove_TheSamePlanOfALaterSlot(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h, run := holding(t, s, style)
		h.run(identity.RunHeld)
		full := h.request(false)
		full.Full = true
		later, err := h.engine.Run(t.Context(), full)
		if err != nil || later.Status != identity.RunHeld || later.HeldHash != run.HeldHash {
			t.Fatalf("a full run after it held %s, want %s; error %v: %v", later.HeldHash, run.HeldHash, err, h.journal(later))
		}
		if n := h.events(identity.EventRunHeld); n != 1 {
			t.Errorf("told %d times that the same is held, want once", n)
		}
		approved, err := h.approve(run, run.PlanHash)
		if err != nil || approved.ID != later.ID || h.user("ana@acme.test").Active {
			t.Errorf("approved run %s, want the newest, %s; error %v", approved.ID, later.ID, err)
		}
		h.run(identity.RunDone)
		h.wantEmpty()
	})
}

func TestReject(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h, run := holding(t, s, style)
		rejected, err := h.engine.Reject(t.Context(), run.ID, operator)
		if err != nil || rejected.Status != identity.RunPartial || rejected.Decision.Kind != identity.DecisionRejected {
			t.Fatalf("rejected run %+v, error %v", rejected, err)
		}
		h.run(identity.RunHeld) // it is still so, and is not told again
		if !h.user("ana@acme.test").Active || h.events(identity.EventRunHeld) != 1 || h.events(identity.EventRunRejected) != 1 {
			t.Errorf("%d times held, %d times rejected, want each once", h.events(identity.EventRunHeld), h.events(identity.EventRunRejected))
		}
	})
}

func TestGuard_CountsTheRemovalsOfADay(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := incremental(t, s, func(d *directory) {
			for i := range 40 {
				d.add(fmt.Sprintf("c%02d", i), fmt.Sprintf("c%02d@acme.test", i))
			}
		})
		h.guard.Users = plan.Limits{Percent: 10, Floor: 2}
		leave := func(n int, want identity.RunStatus) identity.Run {
			for i := range n {
				delete(h.source.Users, fmt.Sprintf("c%02d", i))
			}
			return h.run(want)
		}
		leave(2, identity.RunDone)
		leave(4, identity.RunDone) // four of 43
		run := leave(6, identity.RunHeld)
		if want := "users 14 % > 10 % (2 of 39, with 4 in the last 24 hours)"; run.Guard != want {
			t.Errorf("guard %q, want %q", run.Guard, want)
		}
		most := 1
		req := h.request(false)
		req.MaxDeactivations = &most
		if run, err := h.engine.Run(t.Context(), req); err != nil || run.Status != identity.RunHeld || run.Guard != "users 2 > 1" {
			t.Errorf("with at most 1: %s, %q, %v", run.Status, run.Guard, err)
		}
		most = 2
		if run, err := h.engine.Run(t.Context(), req); err != nil || run.Status != identity.RunDone {
			t.Errorf("with at most 2: %s, %q, %v", run.Status, run.Guard, err)
		}
	})
}
