package api

import (
	"context"
	"errors"
	"sync"
)

// runner runs what a request starts and does not wait for. It has room for so many at a time.
type runner struct {
	jobs    chan func(context.Context)
	stopped chan struct{}
	room    chan struct{}
}

// mostRunning bounds what runs at a time. Runs of one connector exclude each other; dry runs do not.
const mostRunning = 8

func newRunner() *runner {
	return &runner{jobs: make(chan func(context.Context)), stopped: make(chan struct{}), room: make(chan struct{}, mostRunning)}
}

// Errors of start.
var (
	errStopping = errors.New("the server stops")
	errFull     = errors.New("too many runs are going")
)

// run runs jobs until ctx ends, tells those that are going to stop, and waits for them.
func (r *runner) run(ctx context.Context) error {
	defer close(r.stopped)
	var wait sync.WaitGroup
	defer wait.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case job := <-r.jobs:
			wait.Go(func() {
				defer func() { <-r.room }()
				job(ctx)
			})
		}
	}
}

// start hands a job over: it has begun when start returns nil. ctx bounds the handing over, not the job.
func (r *runner) start(ctx context.Context, job func(context.Context)) error {
	select {
	case r.room <- struct{}{}:
	default:
		return errFull
	}
	select {
	case r.jobs <- job:
		return nil
	case <-r.stopped:
		<-r.room
		return errStopping
	case <-ctx.Done():
		<-r.room
		return context.Cause(ctx)
	}
}
