package reconcile_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

func TestJoin_WaitsForTheRunThatIsGoing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		if _, err := h.engine.Join(t.Context(), "okta"); !errors.Is(err, reconcile.ErrBusy) {
			t.Errorf("nothing to join: %v", err)
		}
		reading, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		h.source.OnPage = func(connectors.Phase) { once.Do(func() { close(reading); <-goOn }) }
		var first identity.Run
		var wait sync.WaitGroup
		wait.Go(func() {
			var err error
			if first, err = h.engine.Run(t.Context(), h.request(false)); err != nil {
				t.Errorf("the first run: %v", err)
			}
		})
		<-reading
		other := h.request(false)
		other.Source.Connector = newDirectory() // were it read, everybody would be gone
		if _, err := h.engine.Run(t.Context(), other); !errors.Is(err, reconcile.ErrBusy) {
			t.Errorf("a second run beside it: %v, want busy", err)
		}
		joined := make(chan identity.Run)
		wait.Go(func() {
			run, err := h.engine.Join(t.Context(), "okta")
			if err != nil {
				t.Errorf("Join: %v", err)
			}
			joined <- run
		})
		select {
		case run := <-joined:
			t.Errorf("joined run %s ended before the run did", run.ID)
		case <-time.After(600 * time.Millisecond):
		}
		close(goOn)
		run := <-joined
		wait.Wait()
		if run.ID != first.ID || run.Status != identity.RunJoined || run.Counts.Applied != first.Counts.Applied || first.Counts.Applied == 0 {
			t.Errorf("joined %+v, want run %s with %d applied", run, first.ID, first.Counts.Applied)
		}
	})
}
