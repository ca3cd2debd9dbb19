package reconcile_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

func TestScheduler_SlotRunsOnceOverReplicas(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		var mu sync.Mutex
		pulls := 0
		done := make(chan struct{})
		h.source.OnPage = func(phase connectors.Phase) {
			mu.Lock()
			defer mu.Unlock()
			if phase == connectors.PhaseGroups {
				if pulls++; pulls == 2 {
					close(done)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		schedule := []reconcile.Schedule{{Source: h.request(false).Source, Every: "@every 1s"}}
		var replicas sync.WaitGroup
		start := time.Now()
		for range 3 {
			scheduler, err := reconcile.NewScheduler(h.engine, schedule)
			if err != nil {
				t.Fatal(err)
			}
			replicas.Go(func() { _ = scheduler.Run(ctx) })
		}
		select {
		case <-done:
		case <-ctx.Done():
			t.Error("the second slot did not run")
		}
		cancel()
		replicas.Wait()
		elapsed := int(time.Since(start).Seconds())
		runs, err := s.Runs(context.WithoutCancel(t.Context()), "okta", 100)
		if err != nil {
			t.Fatal(err)
		}
		// The first slot is caught up at once, then there is one a second; three replicas make no more of them.
		if len(runs) > elapsed+3 {
			t.Errorf("%d runs in %d s by three replicas, want one for each slot", len(runs), elapsed)
		}
	})
}

func TestNewScheduler_NamesTheBadSchedule(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	for spec, want := range map[string]string{
		"every day":  "expected exactly 5 fields, found 2: [every day]",
		"0 0 30 2 *": "no such time ever comes",
	} {
		_, err := reconcile.NewScheduler(h.engine, []reconcile.Schedule{{Source: h.request(false).Source, Every: spec}})
		if want = fmt.Sprintf("connector okta: schedule %q: %s", spec, want); err == nil || err.Error() != want {
			t.Errorf("NewScheduler() = %v, want %s", err, want)
		}
	}
}

// A slot that passed while nobody was there is caught up once, however many replicas start; one that ran is not.
func TestScheduler_MissedSlotIsCaughtUpOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		schedule := []reconcile.Schedule{{Source: h.request(false).Source, Every: "@every 3h", Full: "@yearly"}}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			var replicas sync.WaitGroup
			for range 3 {
				scheduler, err := reconcile.NewScheduler(h.engine, schedule)
				if err != nil {
					t.Fatal(err)
				}
				replicas.Go(func() { _ = scheduler.Run(ctx) })
			}
			replicas.Wait()
			cancel()
			runs, err := s.Runs(t.Context(), "okta", 100)
			if err != nil || len(runs) != 1 || runs[0].Status != identity.RunDone {
				t.Fatalf("runs %+v (%v), want one", runs, err)
			}
		}
	})
}
