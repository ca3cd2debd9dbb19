package reconcile_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
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
	_, err := reconcile.NewScheduler(h.engine, []reconcile.Schedule{{Source: h.request(false).Source, Every: "every day"}})
	if err == nil || err.Error() != `connector okta: schedule "every day": expected exactly 5 fields, found 2: [every day]` {
		t.Errorf("NewScheduler() = %v", err)
	}
}
