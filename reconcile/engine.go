// Package reconcile runs the comparison of a source with what is held, and its repair. A run is, in this order:
//
//	pull -> plan -> guard -> verify -> apply -> commit
//
// Pull streams pages; plan compares each with what is held and writes every difference as a row of the run's journal;
// guard holds removals that are too many; verify reads by id whoever seems absent; apply carries the journal out in
// batches, each fenced by the connector's lease; commit remembers how far the source is known. A phase of the pull that
// is not proven complete yields creates and updates, and no removals.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Source is a connector with how to treat what it states.
type Source struct {
	Name      string
	Connector connectors.Connector
	Guard     plan.Guard
	Enforce   bool // false: mode report, which finds drift and changes nothing
	Local     plan.Local
}

// Options are what an Engine is made of. Store and Applier are required.
type Options struct {
	Store    *store.Store
	Applier  *lifecycle.Applier
	Logger   *slog.Logger
	Metrics  *Metrics
	Now      func() time.Time
	Holder   string        // names this process in leases; default: a random id
	LeaseTTL time.Duration // how long a dead process blocks its connectors; default 30 s
	Tracer   trace.Tracer  // default: nothing is traced

	// Context, where set, returns the context of a run, for loggers that tell which run a line is of.
	Context func(ctx context.Context, runID string) context.Context
}

// Engine runs comparisons. It is safe for concurrent use; runs of one connector exclude each other, over all processes
// on the database.
type Engine struct {
	store    *store.Store
	applier  *lifecycle.Applier
	logger   *slog.Logger
	metrics  *Metrics
	now      func() time.Time
	holder   string
	leaseTTL time.Duration
	tracer   trace.Tracer

	runContext func(ctx context.Context, runID string) context.Context
}

// New returns an Engine.
func New(o Options) (*Engine, error) {
	if o.Store == nil || o.Applier == nil {
		return nil, errors.New("reconcile: no store or no applier")
	}
	e := &Engine{o.Store, o.Applier, o.Logger, o.Metrics, o.Now, o.Holder, o.LeaseTTL, o.Tracer, o.Context}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	if e.metrics == nil {
		e.metrics = NewMetrics(nil)
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.holder == "" {
		e.holder = uuid.NewString()
	}
	if e.leaseTTL <= 0 {
		e.leaseTTL = 30 * time.Second
	}
	if e.tracer == nil {
		e.tracer = noop.NewTracerProvider().Tracer("")
	}
	if e.runContext == nil {
		e.runContext = func(ctx context.Context, _ string) context.Context { return ctx }
	}
	return e, nil
}

// Request asks for one run.
type Request struct {
	Source   Source
	DryRun   bool           // plan only: change nothing
	Full     bool           // compare everything, even where an incremental run would do
	User     string         // only this person: immutable id, id, userName or externalId
	Group    string         // only this group with its members: immutable id, id or displayName
	Trigger  string         // "schedule", "cli", "api", "demo"
	By       identity.Actor // who asked; the zero Actor for nobody, as the schedule is
	Progress func(Progress)
	Step     func(Step)         // of a run of one person or group: told what is read and matched
	Begun    func(identity.Run) // told of the run once it is written down

	// MaxDeactivations, where set, takes the place of the guard's limits for users in this run.
	MaxDeactivations *int
}

// Step is what a run of one person or group tells of itself as it goes.
type Step = identity.Step

func (r *Request) single() bool { return r.User != "" || r.Group != "" }

// Progress is how far a run has come.
type Progress struct {
	Phase   string // pull, plan, verify, apply
	Users   int    // records read
	Groups  int
	Members int
	Done    int // verify, apply: changes seen to
	Total   int // verify, apply: changes in all
}

// FullEvery is how often everything is compared at least: runs in between read what changed.
const FullEvery = 24 * time.Hour

// errStopped ends a run whose process was told to stop. The next run finds what is left.
var errStopped = errors.New("interrupted: the process was told to stop")

// ErrBusy is returned when another run of the connector is going.
var ErrBusy = store.ErrBusy

// Run compares one source with what is held and, unless it is a dry run or the source's mode is report, repairs the
// drift. How it ended is in the returned run; the error is set when it failed or could not begin (ErrBusy).
func (e *Engine) Run(ctx context.Context, req Request) (identity.Run, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return identity.Run{}, fmt.Errorf("run %s: %w", req.Source.Name, err)
	}
	run := identity.Run{
		ID: id.String(), Connector: req.Source.Name, Kind: identity.KindIncremental, Trigger: req.Trigger,
		DryRun: req.DryRun || !req.Source.Enforce, Status: identity.RunRunning, Phase: "pull",
		Counts: identity.Counts{Changes: map[string]int{}}, Started: e.now().UTC(),
	}
	parent, ctx := ctx, store.WithOrigin(e.runContext(ctx, run.ID), "pull")
	var lease store.Lease
	if !run.DryRun {
		if lease, err = e.store.AcquireLease(ctx, "connector/"+req.Source.Name, e.holder, e.leaseTTL); err != nil {
			return run, fmt.Errorf("run %s: %w", req.Source.Name, err)
		}
		var release func()
		ctx, release = e.keepLease(ctx, lease)
		defer release()
		run.LeaseEpoch = lease.Epoch
		if err := e.interrupt(ctx, req.Source.Name); err != nil {
			return run, fmt.Errorf("run %s: %w", req.Source.Name, err)
		}
	}
	state, err := e.store.ConnectorState(ctx, req.Source.Name)
	if err != nil {
		return run, err
	}
	switch {
	case req.single():
		run.Kind = identity.KindObject
	case req.Full || !req.Source.Enforce || state.Checkpoint == "" || e.now().Sub(state.LastFull) >= FullEvery, state.ComparedBy != req.Source.Local.String():
		run.Kind = identity.KindFull
	}
	if err := e.begin(ctx, &run, &req); err != nil {
		return run, err
	}
	if req.Begun != nil {
		req.Begun(run)
	}
	defer e.metrics.begun(run.Connector)()

	ctx, span := e.traceRun(ctx, &run, "run")
	defer func() { endRun(span, &run, err) }()
	w := newWork(e, req, &run, lease, state)
	err = w.do(ctx)
	if parent.Err() != nil && err != nil {
		err = errStopped
	} else if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	err = e.finish(context.WithoutCancel(ctx), w, err)
	return run, err
}

// keepLease renews a lease until release is called; when it is lost, the context ends with ErrLeaseLost as its cause.
func (e *Engine) keepLease(parent context.Context, lease store.Lease) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(e.leaseTTL / 3)
		defer ticker.Stop()
		renewed := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			err := e.store.RenewLease(ctx, lease, e.leaseTTL)
			switch {
			case err == nil:
				renewed = time.Now()
			case errors.Is(err, store.ErrLeaseLost), time.Since(renewed) > e.leaseTTL:
				e.metrics.lost.WithLabelValues(strings.TrimPrefix(lease.Name, "connector/")).Inc()
				cancel(store.ErrLeaseLost)
				return
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-stopped
		if err := e.store.ReleaseLease(context.WithoutCancel(parent), lease); err != nil {
			e.logger.WarnContext(parent, "release a lease", "lease", lease.Name, "error", err)
		}
	}
}

// finish writes down how a run ended.
func (e *Engine) finish(ctx context.Context, w *work, failure error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ctx = w.stages.enter(ctx, "commit")
	defer w.stages.end(nil)
	run := w.run
	run.Finished, run.Requests = e.now().UTC(), w.req.Source.Connector.Requests()-w.requestsBefore
	switch {
	case failure != nil:
		run.Status, run.Error = identity.RunFailed, failure.Error()
	case run.Counts.Held > 0:
		run.Status = identity.RunHeld
	case run.Incomplete != "" || run.Counts.Failed > 0:
		run.Status = identity.RunPartial
	case run.DryRun:
		run.Status = identity.RunPlanned
	case run.Counts.Skipped > 0:
		run.Status = identity.RunPartial // a conflict, a refusal, or a push in between: drift is left
	default:
		run.Status = identity.RunDone
	}
	run.Phase = "finished"
	if run.Status == identity.RunHeld {
		last, err := e.store.LastRun(ctx, run.Connector)
		w.heldBefore = err == nil && last.HeldHash == run.HeldHash
	}
	errs := []error{e.conclude(ctx, w), e.store.DropSpool(ctx, run.ID, "")}
	if !run.DryRun {
		errs = append(errs, e.remember(ctx, w, failure), e.watch(ctx, w, failure))
	}
	e.metrics.observe(run)
	level := slog.LevelInfo
	if run.Status != identity.RunDone && run.Status != identity.RunPlanned && !w.heldBefore {
		level = slog.LevelWarn
	}
	e.logger.LogAttrs(ctx, level, "run finished", slog.String("connector", run.Connector), slog.String("run_id", run.ID),
		slog.String("status", string(run.Status)), slog.Bool("dry_run", run.DryRun), slog.String("trigger", run.Trigger),
		slog.Int("users", run.Counts.Users), slog.Int("groups", run.Counts.Groups), slog.Int("members", run.Counts.Members),
		slog.Int("changes", run.Counts.Planned()), slog.Int("applied", run.Counts.Applied), slog.Int("held", run.Counts.Held),
		slog.Int("skipped", run.Counts.Skipped), slog.Int("kept", run.Counts.Kept), slog.Int("failed", run.Counts.Failed), slog.Int64("requests", run.Requests),
		slog.Int64("duration_ms", run.Finished.Sub(run.Started).Milliseconds()), slog.String("incomplete", run.Incomplete),
		slog.String("guard", run.Guard), slog.String("error", run.Error))
	if failure != nil {
		return fmt.Errorf("run %s: %w", run.Connector, failure)
	}
	return errors.Join(errs...)
}

// remember writes down how far the source is known, unless another process has taken over: then it knows better.
func (e *Engine) remember(ctx context.Context, w *work, failure error) error {
	run := w.run
	state := store.ConnectorState{Connector: run.Connector, LastRunID: run.ID}
	if run.Status == identity.RunDone {
		state.LastSuccess = run.Finished
	}
	if failure == nil {
		state.Checkpoint, state.CheckpointRunID = w.checkpoint, run.ID
		if run.Kind == identity.KindFull && run.Incomplete == "" {
			state.LastFull, state.ComparedBy = run.Finished, w.req.Source.Local.String()
		}
	}
	err := e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Fence(ctx, w.lease); err != nil {
			return err
		}
		if failure == nil {
			if err := w.settleGroups(ctx, tx); err != nil {
				return err
			}
			if err := w.resolveUnseen(ctx, tx); err != nil {
				return err
			}
		}
		return tx.FinishConnectorRun(ctx, state)
	})
	if failure != nil && errors.Is(err, store.ErrLeaseLost) {
		return nil
	}
	return err
}

// Changes streams the journal of a run, in its order.
func Changes(ctx context.Context, s *store.Store, runID string) iter.Seq2[identity.Change, error] {
	return journal(ctx, s, store.ChangeQuery{RunID: runID, Limit: 1000})
}

// journal streams what a query selects, page by page.
func journal(ctx context.Context, s *store.Store, q store.ChangeQuery) iter.Seq2[identity.Change, error] {
	return func(yield func(identity.Change, error) bool) {
		for {
			page, err := s.Changes(ctx, q)
			if err != nil {
				yield(identity.Change{}, err)
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
			}
			if len(page) < q.Limit {
				return
			}
			q.After = page[len(page)-1].Ord
		}
	}
}
