package reconcile_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// TestRun_ShowsItsProgress sees that whoever looks at a run from elsewhere is told how far it has come, and that this does
// not bring back to life a run that was ended in its place.
func TestRun_ShowsItsProgress(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		var ticks atomic.Int64
		engine, err := reconcile.New(reconcile.Options{
			Store: s, Applier: h.applier,
			Now: func() time.Time { return time.Now().Add(time.Duration(ticks.Add(1)) * time.Second) }, // each look is a second later
		})
		if err != nil {
			t.Fatal(err)
		}
		var id string
		read, applied := 0, 0
		req := h.request(false)
		req.Begun = func(run identity.Run) { id = run.ID }
		req.Progress = func(p reconcile.Progress) {
			run, err := s.Run(t.Context(), id)
			if err != nil {
				t.Error(err)
			}
			if p.Phase == "pull" {
				read = max(read, run.Counts.Users)
			}
			if p.Phase == "apply" {
				applied = max(applied, run.Counts.Applied)
			}
		}
		run, err := engine.Run(t.Context(), req)
		if err != nil || run.Status != identity.RunDone {
			t.Fatalf("Run = %s, %v, want done", run.Status, err)
		}
		if read != 3 || applied != run.Counts.Applied {
			t.Errorf("shown on the way: %d read, %d applied, want 3 and %d", read, applied, run.Counts.Applied)
		}
		run.Counts.Applied = 1000
		if err := s.ShowProgress(t.Context(), &run); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Run(t.Context(), run.ID); err != nil || got.Counts.Applied == 1000 || got.Status != identity.RunDone {
			t.Errorf("progress of a run that ended is shown: %+v, %v", got.Counts, err)
		}
	})
}
