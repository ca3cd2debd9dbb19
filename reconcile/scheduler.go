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
	full   cron.Schedule // which of the slots are for full runs, nil for none
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
			if err == nil && slots.Next(time.Now()).IsZero() {
				err = errors.New("no such time ever comes")
			}
			if err != nil {
				return nil, fmt.Errorf("connector %s: schedule %q: %w", schedule.Source.Name, spec, err)
			}
			if every, ok := slots.(cron.ConstantDelaySchedule); ok {
				slots = interval(every.Delay)
			}
			j.slots = append(j.slots, slots)
			if spec == schedule.Full {
				j.full = slots
			}
		}
		if len(j.slots) > 0 {
			s.jobs = append(s.jobs, j)
		}
	}
	return s, nil
}

// interval is "@every": its slots are multiples of the interval, the same ones for every replica. cron counts from when
// it was asked.
type interval time.Duration

func (d interval) Next(t time.Time) time.Time {
	return t.Truncate(time.Duration(d)).Add(time.Duration(d))
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

// firstSlot returns the slot to begin with: the last one that passed, where nobody claimed it, or else the next.
func (s *Scheduler) firstSlot(ctx context.Context, j job) time.Time {
	now := time.Now().UTC()
	state, err := s.store.ConnectorState(ctx, j.source.Name)
	if err != nil {
		s.logger.WarnContext(ctx, "read the last slot", "connector", j.source.Name, "error", err)
		return j.next(now)
	}
	if last := j.last(now); last.After(state.LastSlot) {
		return last
	}
	return j.next(now)
}

// last returns the connector's last slot up to a time, looking back further and further; zero when none was ever.
func (j job) last(now time.Time) time.Time {
	const years = 6 * 366 * 24 * time.Hour // cron looks five years ahead
	for back := time.Minute; back < years; back *= 2 {
		var last time.Time
		for slot := j.next(now.Add(-back)); !slot.IsZero() && !slot.After(now); slot = j.next(slot) {
			last = slot
		}
		if !last.IsZero() {
			return last
		}
	}
	return time.Time{}
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

// wantsFull tells whether a slot is one for a full run.
func (j job) wantsFull(slot time.Time) bool {
	return j.full != nil && j.full.Next(slot.Add(-time.Second)).Equal(slot)
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
	run, err := s.engine.Run(ctx, Request{Source: j.source, Full: j.wantsFull(slot), Trigger: "schedule"})
	switch {
	case errors.Is(err, ErrBusy):
		s.logger.InfoContext(ctx, "slot skipped: a run is going", "connector", j.source.Name)
	case err != nil && run.Finished.IsZero():
		s.logger.ErrorContext(ctx, "begin a run", "connector", j.source.Name, "error", err)
	}
	// How a run ended that began, it logged itself.
}
