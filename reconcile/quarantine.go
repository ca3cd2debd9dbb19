package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// How long a connector that fails waits between scheduled tries: from the first to the last, doubling. A rejected
// credential is tried at the last's pace at once: more tries of it are how accounts get locked.
const (
	firstBackoff = time.Minute
	lastBackoff  = 2 * time.Hour
)

// quarantine returns how a connector fails after one more run, which ended in failure, or did not where it is nil.
func quarantine(before store.Quarantine, failure error, now time.Time) store.Quarantine {
	if failure == nil {
		return store.Quarantine{}
	}
	q := store.Quarantine{Failures: before.Failures + 1, Since: before.Since, Failure: failure.Error()}
	if before.Failures == 0 {
		q.Since = now
	}
	wait := min(firstBackoff<<min(before.Failures, 20), lastBackoff)
	if errors.Is(failure, connectors.ErrUnauthorized) {
		wait, q.Paused = lastBackoff, true
	}
	q.NextTry = now.Add(wait)
	return q
}

// watch writes down how a connector fails, or that it does not any more, and tells when it is paused and restored.
func (e *Engine) watch(ctx context.Context, w *work, failure error) error {
	var unknown *NotFoundError
	if errors.Is(failure, errStopped) || errors.Is(failure, store.ErrLeaseLost) || errors.As(failure, &unknown) || store.Failed(failure) {
		return nil // not the connector's fault
	}
	before := w.state.Quarantine
	after := quarantine(before, failure, w.run.Finished)
	if after == before {
		return nil
	}
	event := identity.Event{At: w.run.Finished, Actor: w.actor(), Object: "connector", ObjectID: w.run.Connector, Name: w.run.Connector}
	switch {
	case after.Paused && !before.Paused:
		event.Type, event.Reason = identity.EventConnectorPaused, after.Failure
		e.logger.ErrorContext(ctx, "connector paused: the credential was rejected", "connector", w.run.Connector, "next_try", after.NextTry, "error", failure)
	case after.Failures == 0 && before.Failures > 0:
		event.Type, event.Reason = identity.EventConnectorRestored, fmt.Sprintf("after %d failures since %s", before.Failures, before.Since.Format(time.RFC3339))
		e.logger.InfoContext(ctx, "connector restored", "connector", w.run.Connector, "failures", before.Failures, "since", before.Since)
	case after.Failures > 1:
		e.logger.WarnContext(ctx, "connector fails again", "connector", w.run.Connector, "failures", after.Failures, "next_try", after.NextTry)
	}
	err := e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Fence(ctx, w.lease); err != nil {
			return err
		}
		if event.Type != "" {
			if err := tx.Record(ctx, []identity.Event{event}); err != nil {
				return err
			}
		}
		return tx.PutQuarantine(ctx, w.run.Connector, after)
	})
	if errors.Is(err, store.ErrLeaseLost) {
		return nil // whoever took over knows better
	}
	return err
}
