package entra

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// run is a pull under way, of everything or of changes.
type run struct {
	*Connector
	out chan connectors.Page

	mu     sync.Mutex
	failed map[connectors.Phase]error // first cause of each incomplete phase
	start  time.Time                  // by Graph's clock, of the first answer
}

func newRun(c *Connector) *run {
	return &run{Connector: c, out: make(chan connectors.Page, 2), failed: map[connectors.Phase]error{}}
}

// stream yields the pages that work sends, and then its error.
func (r *run) stream(ctx context.Context, yield func(connectors.Page, error) bool, work func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var result error
	go func() {
		defer close(r.out)
		result = work(ctx)
	}()
	for page := range r.out {
		if !yield(page, nil) {
			cancel()
			for range r.out { // until the pull has wound up
			}
			return
		}
	}
	if result != nil {
		yield(connectors.Page{}, result)
	}
}

func (r *run) send(ctx context.Context, page connectors.Page) error {
	select {
	case r.out <- page:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", page.Phase, context.Cause(ctx))
	}
}

// noteDate keeps the time of the first answer by Graph's clock.
func (r *run) noteDate(date time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !date.IsZero() && (r.start.IsZero() || date.Before(r.start)) {
		r.start = date
	}
}

// fail notes why the phases are incomplete. It returns err if that ends the whole pull: with the credential rejected or
// the context over, no other phase fares better.
func (r *run) fail(ctx context.Context, err error, phases ...connectors.Phase) error {
	if ctx.Err() != nil || errors.Is(err, connectors.ErrUnauthorized) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, phase := range phases {
		if r.failed[phase] == nil {
			r.failed[phase] = err
		}
	}
	return nil
}

func (r *run) hasFailed(phase connectors.Phase) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed[phase] != nil
}

var phases = [...]connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers}

// incomplete returns why phases are incomplete, the first one's error around the others'; nil where none is.
func (r *run) incomplete() error {
	var result error
	for i := len(phases) - 1; i >= 0; i-- {
		if cause := r.failed[phases[i]]; cause != nil {
			if result != nil {
				cause = fmt.Errorf("%w; %w", cause, result)
			}
			result = &connectors.IncompleteError{Phase: phases[i], Err: cause}
		}
	}
	return result
}

// finish states which phases are complete, the checkpoint behind the last where all are, and returns why the others are
// not.
func (r *run) finish(ctx context.Context, checkpoint string) error {
	result := r.incomplete()
	for i, phase := range phases {
		if r.failed[phase] != nil {
			continue
		}
		page := connectors.Page{Phase: phase, Complete: true}
		if i == len(phases)-1 && result == nil {
			page.Checkpoint = checkpoint
		}
		if err := r.send(ctx, page); err != nil {
			return err
		}
	}
	return result
}
