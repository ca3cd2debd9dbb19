package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// ApprovalLapses is how long after a run what it held can be approved.
const ApprovalLapses = 24 * time.Hour

// DecisionError says why what a run held cannot be approved or rejected.
type DecisionError struct {
	RunID  string
	Reason string
}

func (e *DecisionError) Error() string { return fmt.Sprintf("run %s: %s", e.RunID, e.Reason) }

// Approval asks for the removals that the guard held in a run.
type Approval struct {
	Source   Source
	RunID    string
	PlanHash string // of the run, as it was looked at
	By       identity.Actor
	Progress func(Progress)
	Begun    func(identity.Run) // told of the run once the decision is written down
}

// Approve applies just what a run held, once: whoever is to be deactivated for absence is read by id again first. It returns
// the run as it ended. A *DecisionError says why it cannot be approved: another hash, too late, decided before, or a plan
// that changed since; ErrBusy, that a run of the connector is going.
func (e *Engine) Approve(ctx context.Context, a Approval) (identity.Run, error) {
	run, err := e.store.Run(ctx, a.RunID)
	if err != nil {
		return run, err
	}
	if run.Connector != a.Source.Name {
		return run, &DecisionError{run.ID, "it is a run of connector " + run.Connector}
	}
	parent := ctx
	lease, err := e.store.AcquireLease(ctx, "connector/"+run.Connector, e.holder, e.leaseTTL)
	if err != nil {
		return run, fmt.Errorf("approve run %s: %w", run.ID, err)
	}
	ctx, release := e.keepLease(ctx, lease)
	defer release()
	if _, err := e.store.InterruptRuns(ctx, run.Connector, e.now()); err != nil {
		return run, fmt.Errorf("approve run %s: %w", run.ID, err)
	}
	if run, err = e.approvable(ctx, run.ID, a.PlanHash); err != nil {
		return run, err
	}
	run.Status, run.Phase, run.LeaseEpoch = identity.RunRunning, "verify", lease.Epoch
	if err := e.decide(ctx, &run, lease, identity.DecisionApproved, a.By); err != nil {
		return run, err
	}
	if a.Begun != nil {
		a.Begun(run)
	}
	defer e.metrics.begun(run.Connector)()
	ctx, span := e.traceRun(store.WithOrigin(e.runContext(ctx, run.ID), "pull"), &run, "approve")
	defer func() { endRun(span, &run, err) }()
	w := newWork(e, Request{Source: a.Source, Trigger: run.Trigger, Progress: a.Progress}, &run, lease, store.ConnectorState{})
	w.appliedBefore = run.Counts.Applied
	err = w.doHeld(ctx)
	if parent.Err() != nil && err != nil {
		err = errStopped
	} else if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	err = e.finishApproved(context.WithoutCancel(ctx), w, err)
	return run, err
}

// approvable returns the run whose removals are to be applied: the one that was asked for, or a later one that held just
// the same.
func (e *Engine) approvable(ctx context.Context, runID, hash string) (identity.Run, error) {
	run, err := e.store.Run(ctx, runID)
	if err != nil {
		return run, err
	}
	if err := e.decidable(&run); err != nil {
		return run, err
	}
	if hash != run.PlanHash {
		return run, &DecisionError{run.ID, fmt.Sprintf("its plan has the hash %s, not %s: look at the plan that you approve", run.PlanHash, hash)}
	}
	if age := e.now().Sub(run.Finished); age > ApprovalLapses {
		return run, &DecisionError{run.ID, fmt.Sprintf("it ended %s ago, and what was held lapses after %s: run a resync and approve what that holds",
			age.Round(time.Minute), ApprovalLapses)}
	}
	last, err := e.store.LastRun(ctx, run.Connector)
	if err != nil {
		return run, err
	}
	if last.ID == run.ID {
		return run, nil
	}
	if last.Status != identity.RunHeld || last.HeldHash != run.HeldHash || last.Decision.Kind != "" {
		return run, &DecisionError{run.ID, fmt.Sprintf("the plan changed: run %s came after it and ended %s; look at that", last.ID, last.Status)}
	}
	return last, nil
}

// decidable tells whether anything waits for a decision.
func (e *Engine) decidable(run *identity.Run) error {
	switch {
	case run.Decision.Kind != "":
		return &DecisionError{run.ID, fmt.Sprintf("it was %s by %s at %s", run.Decision.Kind, run.Decision.By, run.Decision.At.Format(time.RFC3339))}
	case run.Status != identity.RunHeld:
		return &DecisionError{run.ID, fmt.Sprintf("it is %s: nothing of it is held", run.Status)}
	case run.DryRun:
		return &DecisionError{run.ID, "it was a dry run: run a resync and decide about that"}
	}
	return nil
}

// decide writes a decision down, with what it makes of the journal.
func (e *Engine) decide(ctx context.Context, run *identity.Run, lease store.Lease, kind identity.DecisionKind, by identity.Actor) error {
	run.Decision = identity.Decision{Kind: kind, By: orElse(by.Name, by.ID), At: e.now().UTC()}
	event := identity.Event{
		At: run.Decision.At, Type: identity.EventRunApproved, Actor: by, Object: "run", ObjectID: run.ID, Name: run.Connector, Reason: run.Guard,
	}
	event.Actor.RunID = run.ID
	if kind == identity.DecisionRejected {
		event.Type = identity.EventRunRejected
	}
	return e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Fence(ctx, lease); err != nil {
			return err
		}
		var err error
		if kind == identity.DecisionApproved {
			_, err = tx.UnstageChanges(ctx, run.ID)
		} else {
			_, err = tx.DismissStaged(ctx, run.ID, "rejected by "+run.Decision.By)
		}
		if err != nil {
			return err
		}
		if err := tx.PutRun(ctx, run); err != nil {
			return err
		}
		return tx.Record(ctx, []identity.Event{event})
	})
}

// doHeld verifies and applies what was held.
func (w *work) doHeld(ctx context.Context) error {
	w.run.Counts.Held = 0
	for _, phase := range phases {
		w.complete[phase] = true
	}
	err := w.verify(w.stages.enter(ctx, "verify"))
	if err == nil {
		w.run.Phase = "apply"
		err = w.store.PutRun(ctx, w.run)
	}
	if err == nil {
		err = w.apply(w.stages.enter(ctx, "apply"))
	}
	w.stages.end(err)
	return err
}

func (e *Engine) finishApproved(ctx context.Context, w *work, failure error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	run := w.run
	run.Requests += w.req.Source.Connector.Requests() - w.requestsBefore
	run.Status, run.Phase = identity.RunDone, "finished"
	switch {
	case failure != nil:
		run.Status, run.Error = identity.RunFailed, failure.Error()
	case run.Incomplete != "" || run.Counts.Failed > 0 || run.Counts.Skipped > 0:
		run.Status = identity.RunPartial
	}
	e.logger.InfoContext(ctx, "held removals applied", "connector", run.Connector, "run_id", run.ID, "by", run.Decision.By,
		"status", run.Status, "applied", run.Counts.Applied, "kept", run.Counts.Kept, "skipped", run.Counts.Skipped, "failed", run.Counts.Failed)
	err := e.conclude(ctx, w)
	if failure != nil {
		return fmt.Errorf("approve run %s: %w", run.ID, failure)
	}
	return err
}

// Reject lets what a run held be, for as long as it is not planned again. It returns the run; a *DecisionError says why it
// cannot be rejected.
func (e *Engine) Reject(ctx context.Context, runID string, by identity.Actor) (identity.Run, error) {
	run, err := e.store.Run(ctx, runID)
	if err != nil {
		return run, err
	}
	lease, err := e.store.AcquireLease(ctx, "connector/"+run.Connector, e.holder, e.leaseTTL)
	if err != nil {
		return run, fmt.Errorf("reject run %s: %w", run.ID, err)
	}
	release := func() error { return e.store.ReleaseLease(context.WithoutCancel(ctx), lease) }
	if run, err = e.store.Run(ctx, run.ID); err == nil {
		err = e.decidable(&run)
	}
	if err != nil {
		return run, errors.Join(err, release())
	}
	held := run.Counts.Held
	run.Status, run.Counts.Held, run.Counts.Skipped = identity.RunPartial, 0, run.Counts.Skipped+held
	err = e.decide(ctx, &run, lease, identity.DecisionRejected, by)
	return run, errors.Join(err, release())
}
