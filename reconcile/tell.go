package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

const objectRun = "run"

// begin writes a run down, and who asked for it. A dry run from the command line changes nothing and is nobody's business.
func (e *Engine) begin(ctx context.Context, run *identity.Run, req *Request) error {
	event := identity.Event{At: run.Started, Type: identity.EventRunStarted, Actor: req.By, Object: objectRun, ObjectID: run.ID, Name: run.Connector, Reason: asked(run, req)}
	event.Actor.RunID = run.ID
	return e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.PutRun(ctx, run); err != nil {
			return err
		}
		if req.By.Kind == "" || run.DryRun && req.By.RequestID == "" {
			return nil
		}
		return tx.Record(ctx, []identity.Event{event})
	})
}

// asked says what somebody asked for.
func asked(run *identity.Run, req *Request) string {
	text := "resync"
	if run.DryRun {
		text = "plan"
	}
	switch {
	case req.User != "":
		text += " of the person " + req.User
	case req.Group != "":
		text += " of the group " + req.Group
	case req.Full:
		text += " of everything"
	}
	if n := req.MaxDeactivations; n != nil {
		text += fmt.Sprintf(", at most %d deactivations", *n)
	}
	return text
}

// interrupt ends the runs of a connector whose processes ended before them, and tells of it.
func (e *Engine) interrupt(ctx context.Context, connector string) error {
	ids, err := e.store.InterruptRuns(ctx, connector, e.now())
	if err != nil || len(ids) == 0 {
		return err
	}
	events := make([]identity.Event, len(ids))
	for i, id := range ids {
		events[i] = identity.Event{
			At: e.now(), Type: identity.EventRunFinished, Actor: identity.Actor{Kind: "system", ID: "idpsync", Name: "idpsync", RunID: id},
			Object: objectRun, ObjectID: id, Name: connector, Reason: string(identity.RunFailed),
			Fields: []identity.FieldChange{{Path: "error", After: "interrupted: the process ended before the run did"}},
		}
	}
	return e.store.InTx(ctx, func(tx *store.Tx) error { return tx.Record(ctx, events) })
}

// conclude writes down how a run ended, and tells of it: what it found, what it repaired, and what it held unless the run
// before held the same.
func (e *Engine) conclude(ctx context.Context, w *work) error {
	known, err := e.store.LastPlanHash(ctx, w.run)
	if err != nil {
		return err
	}
	events := tell(w, w.run.PlanHash == known, e.now().UTC())
	return e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.PutRun(ctx, w.run); err != nil {
			return err
		}
		return tx.Record(ctx, events)
	})
}

// tell returns the events of a run that ended. known says that the run before had the same plan: what is held, or only
// reported, is found again by every run.
//
// Whoever asks for a plan is answered, and nothing is told. A connector that reports only, and does not repair, tells
// what it found.
func tell(w *work, known bool, at time.Time) []identity.Event {
	run := w.run
	if w.req.DryRun {
		return nil
	}
	event := func(kind identity.EventType, reason string, fields []identity.FieldChange) identity.Event {
		return identity.Event{At: at, Type: kind, Actor: w.actor(), Object: objectRun, ObjectID: run.ID, Name: run.Connector, Reason: reason, Fields: fields}
	}
	var events []identity.Event
	approved := run.Decision.Kind == identity.DecisionApproved
	if n := run.Counts.Planned(); n > 0 && !known && !approved {
		events = append(events, event(identity.EventDriftFound, fmt.Sprintf("%d differences", n), planned(&run.Counts)))
	}
	if n := run.Counts.Applied - w.appliedBefore; n > 0 {
		events = append(events, event(identity.EventDriftRepaired, fmt.Sprintf("%d repairs", n), repaired(&run.Counts, n)))
	}
	if !run.DryRun {
		events = append(events, event(identity.EventRunFinished, string(run.Status), ended(run)))
	}
	if run.Status == identity.RunHeld && !w.heldBefore {
		events = append(events, event(identity.EventRunHeld, run.Guard, []identity.FieldChange{{Path: "held", After: run.Counts.Held}}))
	}
	return events
}

// planned lists how many differences of each kind a run found.
func planned(c *identity.Counts) []identity.FieldChange {
	var fields []identity.FieldChange
	for _, kind := range slices.Sorted(maps.Keys(c.Changes)) {
		if n := c.Changes[kind]; n > 0 {
			fields = append(fields, identity.FieldChange{Path: kind, After: n})
		}
	}
	return fields
}

// repaired lists what became of the differences.
func repaired(c *identity.Counts, applied int) []identity.FieldChange {
	return []identity.FieldChange{
		{Path: "applied", After: applied},
		{Path: "held", After: c.Held},
		{Path: "skipped", After: c.Skipped},
		{Path: "failed", After: c.Failed},
	}
}

// ended lists why a run did not end well.
func ended(run *identity.Run) []identity.FieldChange {
	var fields []identity.FieldChange
	for _, f := range []struct{ path, text string }{{"error", run.Error}, {"incomplete", run.Incomplete}, {"guard", run.Guard}} {
		if f.text != "" {
			fields = append(fields, identity.FieldChange{Path: f.path, After: f.text})
		}
	}
	return fields
}
