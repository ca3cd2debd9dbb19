package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// joinEvery is how often somebody who joined a run looks whether it ended.
const joinEvery = 250 * time.Millisecond

// Join waits for the run of a connector that is going, and returns it with the status joined. It may have begun before
// what the caller is after happened. Without a run that is going it is ErrBusy: somebody holds the connector all the same.
func (e *Engine) Join(ctx context.Context, connector string) (identity.Run, error) {
	run, err := e.store.RunningRun(ctx, connector)
	if errors.Is(err, store.ErrNotFound) {
		return identity.Run{}, ErrBusy
	}
	for err == nil && run.Finished.IsZero() {
		timer := time.NewTimer(joinEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return run, context.Cause(ctx)
		case <-timer.C:
		}
		var held bool
		if held, err = e.store.LeaseHeld(ctx, "connector/"+connector); err == nil {
			run, err = e.store.Run(ctx, run.ID)
		}
		if err == nil && !held && run.Finished.IsZero() {
			return run, errDied
		}
	}
	if err == nil {
		run.Status = identity.RunJoined
	}
	return run, err
}

var errDied = errors.New("the run that was joined did not end: its process died; ask again")
