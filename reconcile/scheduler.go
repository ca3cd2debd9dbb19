package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/idpsync/idpsync/store"
)

// Schedule says when a connector runs. Both are standard cron expressions or descriptors, in UTC; a connector without
// any runs on demand only.
type Schedule struct {
	Source Source
	Every  string // "*/15 * * * *"
	Full   string // "@daily": slots in which the run is a full one
}

// Scheduler runs connectors at their slots. Over all replicas on one database a slot runs once; a slot that was missed,
// because nobody was there, is caught up once.
type Scheduler struct {
	engine *Engine
	store  *store.Store
	logger *slog.Logger
	jobs   []job
}

type job struct {
	source Source
	slots  []cron.Schedule
}

// NewScheduler returns a Scheduler, or an error that names the schedule that cannot be read.
func NewScheduler(e *Engine, schedules []Schedule) (*Scheduler, error) {
	s := &Scheduler{engine: e, store: e.store, logger: e.logger}
	for _, schedule := range schedules {
		j := job{source: schedule.Source}
		for _, spec := range []string{schedule.Every, schedule.Full} {
			if spec == "" {
				continue
			}
			slots, err := cron.ParseStandard(spec)
			if err != nil {
				return nil, fmt.Errorf("connector %s: schedule %q: %w", schedule.Source.Name, spec, err)
			}
			j.slots = append(j.slots, slots)
		}
		if len(j.slots) > 0 {
			s.jobs = append(s.jobs, j)
		}
	}
	return s, nil
}

// Run runs the connectors until ctx ends, and returns when the last run has.
func (s *Scheduler) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	for _, j := range s.jobs {
		wait.Go(func() { s.serve(ctx, j) })
	}
	wait.Wait()
	return nil
}

// serve runs one connector, slot after slot, never two at a time.
func (s *Scheduler) serve(ctx context.Context, j job) {
	slot := s.firstSlot(ctx, j)
	for {
		pause := time.NewTimer(time.Until(slot))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		s.runSlot(ctx, j, slot)
		slot = j.next(time.Now())
	}
}

// firstSlot returns the slot to begin with: now, where the connector has never run or slots passed unclaimed.
func (s *Scheduler) firstSlot(ctx context.Context, j job) time.Time {
	now := time.Now().UTC()
	state, err := s.store.ConnectorState(ctx, j.source.Name)
	if err != nil {
		s.logger.WarnContext(ctx, "read the last slot", "connector", j.source.Name, "error", err)
		return j.next(now)
	}
	if state.LastSlot.IsZero() || !j.next(state.LastSlot).After(now) {
		return now
	}
	return j.next(now)
}

// next returns the connector's first slot after a time.
func (j job) next(after time.Time) time.Time {
	after = after.UTC()
	var first time.Time
	for _, slots := range j.slots {
		if t := slots.Next(after); first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

func (s *Scheduler) runSlot(ctx context.Context, j job, slot time.Time) {
	claimed, err := s.store.ClaimSlot(ctx, j.source.Name, slot)
	if err != nil {
		s.logger.ErrorContext(ctx, "claim a slot", "connector", j.source.Name, "error", err)
		return
	}
	if !claimed {
		return // another replica has it
	}
	_, err = s.engine.Run(ctx, Request{Source: j.source, Trigger: "schedule"})
	if errors.Is(err, ErrBusy) {
		s.logger.InfoContext(ctx, "slot skipped: a run is going", "connector", j.source.Name)
	}
	// Every other outcome was logged by the run itself.
}
