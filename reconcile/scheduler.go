package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/idpsync/idpsync/store"
)

// Schedule says when a connector runs. Both are standard cron expressions or descriptors, in UTC; a connector without
// any runs on demand only.
type Schedule struct {
	Source  Source
	Every   string        // "*/15 * * * *"
	Full    string        // "@daily": slots in which the run is a full one
	Jitter  time.Duration // a run begins up to so much after its slot
	Windows []Window      // outside of which no scheduled run begins
}

// Window is a time in which scheduled runs may begin, or with Deny may not. Where there are windows to allow, runs begin in
// one of them only; one that denies weighs more.
type Window struct {
	Deny     bool
	Begins   string // a cron expression, in UTC
	Duration time.Duration
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
	jitter time.Duration
	allow  []window
	deny   []window
}

type window struct {
	begins   cron.Schedule
	duration time.Duration
}

// open tells whether the window is open at a time.
func (w window) open(at time.Time) bool {
	began := w.begins.Next(at.UTC().Add(-w.duration))
	return !began.IsZero() && !began.After(at)
}

// mayRun tells whether the windows let a scheduled run begin.
func (j job) mayRun(at time.Time) bool {
	open := func(w window) bool { return w.open(at) }
	return !slices.ContainsFunc(j.deny, open) && (len(j.allow) == 0 || slices.ContainsFunc(j.allow, open))
}

// NewScheduler returns a Scheduler, or an error that names the schedule that cannot be read.
func NewScheduler(e *Engine, schedules []Schedule) (*Scheduler, error) {
	s := &Scheduler{engine: e, store: e.store, logger: e.logger}
	for _, schedule := range schedules {
		j := job{source: schedule.Source, jitter: schedule.Jitter}
		for _, spec := range []string{schedule.Every, schedule.Full} {
			if spec == "" {
				continue
			}
			slots, err := parseSlots(spec)
			if err != nil {
				return nil, fmt.Errorf("connector %s: schedule %q: %w", schedule.Source.Name, spec, err)
			}
			j.slots = append(j.slots, slots)
			if spec == schedule.Full {
				j.full = slots
			}
		}
		for _, w := range schedule.Windows {
			begins, err := parseSlots(w.Begins)
			if err != nil {
				return nil, fmt.Errorf("connector %s: window %q: %w", schedule.Source.Name, w.Begins, err)
			}
			if w.Deny {
				j.deny = append(j.deny, window{begins, w.Duration})
			} else {
				j.allow = append(j.allow, window{begins, w.Duration})
			}
		}
		if len(j.slots) > 0 {
			s.jobs = append(s.jobs, j)
		}
	}
	return s, nil
}

func parseSlots(spec string) (cron.Schedule, error) {
	slots, err := cron.ParseStandard(spec)
	if err == nil && slots.Next(time.Now()).IsZero() {
		err = errors.New("no such time ever comes")
	}
	if every, ok := slots.(cron.ConstantDelaySchedule); ok {
		slots = interval(every.Delay)
	}
	return slots, err
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

// orphanEvery is how often a scheduler looks for runs whose process died.
const orphanEvery = 10 * time.Second

// serve runs one connector, slot after slot, never two at a time. In between it takes over from a process that died.
func (s *Scheduler) serve(ctx context.Context, j job) {
	slot, first := s.firstSlot(ctx, j), true
	orphans := time.NewTicker(orphanEvery)
	defer orphans.Stop()
	for {
		pause := time.NewTimer(time.Until(slot))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-orphans.C:
			pause.Stop()
			if s.orphaned(ctx, j) {
				s.logger.WarnContext(ctx, "a run died with its process; running anew", "connector", j.source.Name)
				s.runSlot(ctx, j, time.Now().UTC(), false)
			}
			continue
		case <-pause.C:
		}
		s.runSlot(ctx, j, slot, first)
		slot, first = j.next(time.Now()), false
	}
}

// orphaned tells whether a run of the connector counts as running although nobody holds the lease.
func (s *Scheduler) orphaned(ctx context.Context, j job) bool {
	if _, err := s.store.RunningRun(ctx, j.source.Name); err != nil {
		return false
	}
	held, err := s.store.LeaseHeld(ctx, "connector/"+j.source.Name)
	return err == nil && !held
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

// Next returns a connector's first slot after a time; zero where it has no schedule.
func (s *Scheduler) Next(connector string, after time.Time) time.Time {
	for _, j := range s.jobs {
		if j.source.Name == connector {
			return j.next(after)
		}
	}
	return time.Time{}
}

// wantsFull tells whether a slot is one for a full run.
func (j job) wantsFull(slot time.Time) bool {
	return j.full != nil && j.full.Next(slot.Add(-time.Second)).Equal(slot)
}

// runSlot runs the connector in a slot, unless another replica does, the windows are closed, or the connector fails and is
// not to be tried yet. The first slot of a process is tried all the same: maybe it was started with what was missing.
func (s *Scheduler) runSlot(ctx context.Context, j job, slot time.Time, first bool) {
	if !j.mayRun(time.Now()) {
		s.logger.InfoContext(ctx, "slot skipped: no window is open", "connector", j.source.Name)
		return
	}
	state, err := s.store.ConnectorState(ctx, j.source.Name)
	if err != nil {
		s.logger.ErrorContext(ctx, "read how the connector fares", "connector", j.source.Name, "error", err)
		return
	}
	if q := state.Quarantine; !first && time.Now().Before(q.NextTry) {
		s.logger.InfoContext(ctx, "slot skipped: the connector fails", "connector", j.source.Name, "failures", q.Failures, "paused", q.Paused, "next_try", q.NextTry)
		return
	}
	claimed, err := s.store.ClaimSlot(ctx, j.source.Name, slot)
	if err != nil {
		s.logger.ErrorContext(ctx, "claim a slot", "connector", j.source.Name, "error", err)
		return
	}
	if !claimed || !s.delay(ctx, j) {
		return // another replica has it, or the process ends
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

// delay waits a part of the jitter, so that not every installation asks the provider on the same second. It returns false
// when ctx ended.
func (s *Scheduler) delay(ctx context.Context, j job) bool {
	if j.jitter <= 0 {
		return true
	}
	timer := time.NewTimer(rand.N(j.jitter))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
