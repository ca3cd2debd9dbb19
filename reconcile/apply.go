package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// groupGrants plans what one group's grants differ in from the mapping.
func (w *work) groupGrants(ctx context.Context, g *identity.Group, team string, held []store.GroupGrant) error {
	add, remove := lifecycle.GrantDrift(held, w.mapping.Grants(g, team))
	change := func(op identity.Op, before, after any) identity.Change {
		return identity.Change{
			Object: identity.ObjectGrant, Op: op, SourceID: g.SourceID, ID: g.ID, Name: g.DisplayName, Version: g.Version,
			Reason: "role mapping", State: identity.StatePlanned, ReadAt: w.run.Started,
			Fields: []identity.FieldChange{{Path: "grants", Before: before, After: after}},
		}
	}
	for _, want := range add {
		if err := w.add(ctx, change(identity.OpAdd, nil, want.Team+":"+want.Role)); err != nil {
			return err
		}
	}
	for _, have := range remove {
		if err := w.add(ctx, change(identity.OpRemove, have.TeamName+":"+have.Role, nil)); err != nil {
			return err
		}
	}
	return nil
}

// recentRemovals is how long an applied removal counts when the guard looks at new ones.
const recentRemovals = 24 * time.Hour

// guard stages removals that are too many, by themselves or with those of the last 24 hours.
func (w *work) guard(ctx context.Context) error {
	recent, err := w.store.RecentRemovals(ctx, w.run.Connector, w.now().Add(-recentRemovals))
	if err != nil {
		return err
	}
	w.tally.Users.Recent, w.tally.Groups.Recent, w.tally.Members.Recent = recent[identity.ObjectUser], recent[identity.ObjectGroup], recent[identity.ObjectMember]
	limits := w.req.Source.Guard
	if n := w.req.MaxDeactivations; n != nil {
		limits.Users, w.tally.Users.Recent = plan.AtMost(*n), 0
	}
	verdict := limits.Check(w.tally)
	if !verdict.Held() {
		return nil
	}
	w.run.Guard = verdict.String()
	for object := range verdict {
		n, err := w.store.StageChanges(ctx, w.run.ID, object)
		if err != nil {
			return err
		}
		w.run.Counts.Held += n
	}
	if verdict[identity.ObjectUser] != "" {
		n, err := w.store.StageMembershipsOfHeld(ctx, w.run.ID)
		if err != nil {
			return err
		}
		w.run.Counts.Held += n
	}
	return w.hashHeld(ctx)
}

// hashHeld notes what is held, so that the same removals are known again.
func (w *work) hashHeld(ctx context.Context) error {
	var held plan.Hash
	query := store.ChangeQuery{RunID: w.run.ID, States: []identity.ChangeState{identity.StateStaged}, Limit: journalBatch}
	for c, err := range journal(ctx, w.store, query) {
		if err != nil {
			return err
		}
		plan.HeldHash(&held, &c)
	}
	w.run.HeldHash = held.String()
	return nil
}

// verifyParallel is the number of people who are read by id at the same time.
const verifyParallel = 4

// verify reads everybody again who is about to be deactivated for absence, and every group that is about to be deleted
// for it. Only evidence that the person left, or that the group is gone, counts; an error means keep.
func (w *work) verify(ctx context.Context) error {
	for _, step := range []struct {
		object identity.Object
		op     identity.Op
		read   func(context.Context, string) absence
	}{
		{identity.ObjectUser, identity.OpDeactivate, w.userAbsence},
		{identity.ObjectGroup, identity.OpDelete, w.groupAbsence},
	} {
		failures, err := w.verifyAll(ctx, step.object, step.op, step.read)
		if err != nil {
			return err
		}
		if failures > 0 {
			w.incomplete(fmt.Sprintf("%d absent %ss could not be read by id and were kept", failures, step.object))
		}
		if key := string(step.object) + "." + string(step.op); w.run.Counts.Changes[key] == 0 {
			delete(w.run.Counts.Changes, key)
		}
	}
	if w.run.Decision.Kind == "" { // what was approved keeps its hash
		w.run.PlanHash = w.hash.String()
	}
	return nil
}

// verifyAll verifies the planned absences of one kind and returns how many could not be.
func (w *work) verifyAll(ctx context.Context, object identity.Object, op identity.Op, read func(context.Context, string) absence) (failures int, err error) {
	query := store.ChangeQuery{
		RunID: w.run.ID, Objects: []identity.Object{object}, Ops: []identity.Op{op},
		States: []identity.ChangeState{identity.StatePlanned}, Limit: 500,
	}
	var mu sync.Mutex
	for {
		page, err := w.store.Changes(ctx, query)
		if err != nil {
			return failures, err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(verifyParallel)
		for i := range page {
			c := &page[i]
			if !c.Absent {
				continue
			}
			group.Go(func() error {
				found := read(ctx, c.SourceID)
				if err := context.Cause(ctx); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				if found.failed {
					failures++
				}
				state := identity.StatePlanned
				if found.keep {
					state = identity.StateSkipped
					w.hash.Remove(c)
					w.run.Counts.Kept++
					w.run.Counts.Changes[string(object)+"."+string(op)]--
				}
				return w.store.MarkChange(ctx, w.run.ID, c.Ord, state, found.reason)
			})
		}
		if err := group.Wait(); err != nil {
			return failures, err
		}
		if len(page) < query.Limit {
			return failures, nil
		}
		query.After = page[len(page)-1].Ord
	}
}

// absence is what reading by id found out about somebody or something that a listing does not have.
type absence struct {
	keep   bool   // no evidence that it is gone
	gone   bool   // the source does not know it, or says that it is gone
	failed bool   // it could not be read
	reason string // for the journal
}

// notFoundByID is why somebody or something counts as absent.
const notFoundByID = "absent, not found by id"

// unread is the absence of what could not be read.
func unread(err error) absence {
	return absence{keep: true, failed: true, reason: "kept: could not be read by id: " + err.Error()}
}

// userAbsence reads one person by id.
func (w *work) userAbsence(ctx context.Context, sourceID string) absence {
	if found, read := w.verified[userKey(sourceID)]; read {
		return found
	}
	r, err := w.req.Source.Connector.User(ctx, sourceID)
	switch {
	case errors.Is(err, connectors.ErrNotFound):
		return absence{gone: true, reason: notFoundByID}
	case err != nil:
		return unread(err)
	case r.Status == identity.StatusGone, r.Status == identity.StatusInactive:
		return absence{gone: r.Status == identity.StatusGone, reason: "absent, " + r.RawStatus + " when read by id"}
	}
	return absence{keep: true, reason: fmt.Sprintf("kept: still %s when read by id", r.RawStatus)}
}

// groupAbsence reads one group by id. Its first page says whether it is there; its members do not matter.
func (w *work) groupAbsence(ctx context.Context, sourceID string) absence {
	if found, read := w.verified[groupKey(sourceID)]; read {
		return found
	}
	for _, err := range w.req.Source.Connector.Group(ctx, sourceID) {
		switch {
		case errors.Is(err, connectors.ErrNotFound):
			return absence{gone: true, reason: notFoundByID}
		case err != nil:
			return unread(err)
		}
		return absence{keep: true, reason: "kept: still there when read by id"}
	}
	return unread(errors.New("the source said nothing"))
}

// apply carries the plan out, in an order in which everything finds what it refers to: gone groups give their names
// free first, people exist before they become members, and who leaves goes last.
func (w *work) apply(ctx context.Context) error {
	if w.run.DryRun {
		return nil
	}
	total := w.run.Counts.Planned() - w.run.Counts.Held
	for _, step := range []struct {
		object identity.Object
		ops    []identity.Op
		batch  int
	}{
		{identity.ObjectGroup, []identity.Op{identity.OpDelete}, 50},
		{identity.ObjectUser, []identity.Op{identity.OpCreate, identity.OpUpdate, identity.OpReactivate, identity.OpConvert}, 500},
		{identity.ObjectUser, []identity.Op{identity.OpDeactivate}, 100},
		{identity.ObjectGroup, []identity.Op{identity.OpUpdate, identity.OpCreate}, 50},
		{identity.ObjectGrant, nil, 100},
		{identity.ObjectMember, nil, 2000},
	} {
		query := store.ChangeQuery{
			RunID: w.run.ID, Objects: []identity.Object{step.object}, Ops: step.ops,
			States: []identity.ChangeState{identity.StatePlanned}, Limit: step.batch,
		}
		if err := w.applyAll(ctx, query, total); err != nil {
			return err
		}
	}
	return nil
}

// retryMost bounds the changes that are tried again, retryPasses how often.
const retryMost, retryPasses = 1000, 8

// applyAll applies what a query selects, batch by batch. What failed for a name that was taken is tried again at the
// end, for as long as that helps: its owner may have given it up meanwhile. Each pass goes the other way round, so that
// a chain of names that was planned in the worst order comes right in one.
func (w *work) applyAll(ctx context.Context, query store.ChangeQuery, total int) error {
	var again []identity.Change
	for {
		page, err := w.store.Changes(ctx, query)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		failed, err := w.applyBatch(ctx, page)
		if err != nil {
			return err
		}
		again = append(again, failed[:min(len(failed), retryMost-len(again))]...)
		w.progress(ctx, w.run.Counts.Applied, total)
		query.After = page[len(page)-1].Ord
		if len(page) < query.Limit {
			break
		}
	}
	for pass := 0; len(again) > 0 && pass < retryPasses; pass++ {
		slices.Reverse(again)
		w.run.Counts.Failed -= len(again)
		failed, err := w.applyBatch(ctx, again)
		if err != nil || len(failed) == len(again) {
			return err
		}
		again = failed
	}
	return nil
}

// applyBatch applies changes, counts what became of them and returns those that failed.
func (w *work) applyBatch(ctx context.Context, changes []identity.Change) ([]identity.Change, error) {
	ctx, span := w.tracer.Start(ctx, "apply batch")
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attribute.Int("idpsync.changes", len(changes)), attribute.String("idpsync.object", string(changes[0].Object)))
	}
	outcomes, err := w.applier.Apply(ctx, lifecycle.Batch{
		Lease: w.lease, By: w.actor(), Source: w.run.Connector, Changes: changes,
	})
	var failed []identity.Change
	for i, o := range outcomes {
		if c := &changes[i]; c.Object == identity.ObjectMember {
			w.moved[c.SourceID] = w.moved[c.SourceID] || o.State != identity.StateApplied
		}
		switch o.State {
		case identity.StateApplied:
			w.run.Counts.Applied++
		case identity.StateSkipped:
			w.run.Counts.Skipped++
		default:
			w.run.Counts.Failed++
			failed = append(failed, changes[i])
		}
	}
	return failed, err
}

// settleGroups notes which groups' members agree with the source now: those that did before, and those all of whose
// changes were applied.
func (w *work) settleGroups(ctx context.Context, tx *store.Tx) error {
	if err := tx.SettleGroups(ctx, w.settled); err != nil || w.run.Guard != "" {
		return err // held removals leave members behind that the source does not list
	}
	var applied []string
	for id, left := range w.moved {
		if g := w.groups[id]; !left && g != nil && (g.last || w.since != nil) && w.complete[connectors.PhaseMembers] {
			applied = append(applied, id)
		}
	}
	return tx.SettleGroupsAsHeld(ctx, w.run.Connector, applied)
}
