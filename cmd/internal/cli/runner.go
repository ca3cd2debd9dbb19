package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// watch is told of a run as it goes.
type watch struct {
	progress func(reconcile.Progress)
	step     func(reconcile.Step)
	joined   func() // another run was going, and is waited for
}

// runner runs connectors, in this process or on a server.
type runner interface {
	// run runs a connector and returns how that ended. The errors are those of reconcile.Engine.Run, and
	// *reconcile.NotFoundError among them.
	run(ctx context.Context, connector string, want *wanted, w watch) (identity.Run, error)
	// approve applies what a run held.
	approve(ctx context.Context, run *identity.Run, hash string, w watch) (identity.Run, error)
	// changes streams a run's journal.
	changes(ctx context.Context, runID string) iter.Seq2[identity.Change, error]
}

// localRunner runs connectors in this process.
type localRunner struct {
	env *env
	app *app.App
}

func (r *localRunner) run(ctx context.Context, connector string, want *wanted, w watch) (identity.Run, error) {
	sources, err := r.app.Sources(connector)
	if err != nil {
		return identity.Run{}, err
	}
	req := want.request(sources[0])
	req.By = r.env.actor()
	return r.request(ctx, req, w)
}

// request runs what is asked for, or joins the run that is going.
func (r *localRunner) request(ctx context.Context, req reconcile.Request, w watch) (identity.Run, error) {
	req.Progress, req.Step = w.progress, w.step
	run, err := r.app.Engine.Run(ctx, req)
	if errors.Is(err, store.ErrBusy) && w.joined != nil {
		w.joined()
		if run, err = r.app.Engine.Join(ctx, req.Source.Name); errors.Is(err, store.ErrBusy) {
			err = fmt.Errorf("run %s: %w", req.Source.Name, err)
		}
	}
	return run, err
}

func (r *localRunner) approve(ctx context.Context, run *identity.Run, hash string, w watch) (identity.Run, error) {
	sources, err := r.app.Sources(run.Connector)
	if err != nil {
		return *run, fmt.Errorf("run %s is of a connector that the configuration does not have: %w", run.ID, err)
	}
	return r.app.Engine.Approve(ctx, reconcile.Approval{Source: sources[0], RunID: run.ID, PlanHash: hash, By: r.env.actor(), Progress: w.progress})
}

func (r *localRunner) changes(ctx context.Context, runID string) iter.Seq2[identity.Change, error] {
	return reconcile.Changes(ctx, r.app.Store, runID)
}

// remoteRunner has a server run connectors, and follows the runs until they end.
type remoteRunner struct {
	env    *env
	client *client.Client
}

func (r *remoteRunner) run(ctx context.Context, connector string, want *wanted, w watch) (identity.Run, error) {
	body := object{"connectors": []string{connector}, "dry_run": want.dryRun, "full": want.full}
	if want.user != "" {
		body["user"] = want.user
	}
	if want.group != "" {
		body["group"] = want.group
	}
	if want.limited {
		body["max_deactivations"] = want.mostDeactivations
	}
	started, err := client.Do[api.Started](ctx, r.client, http.MethodPost, "/runs", nil, body)
	switch {
	case answered(err, problemBusy) != nil:
		return identity.Run{}, fmt.Errorf("run %s: %w", connector, store.ErrBusy)
	case err != nil:
		return identity.Run{}, fmt.Errorf("run %s: %w", connector, err)
	case len(started.Items) != 1:
		return identity.Run{}, fmt.Errorf("run %s: the server started %d runs", connector, len(started.Items))
	}
	joined := started.Items[0].Status == string(identity.RunJoined)
	if joined && w.joined == nil {
		return runFrom(&started.Items[0]), fmt.Errorf("run %s: %w", connector, store.ErrBusy)
	}
	if joined {
		w.joined()
	}
	ended, err := r.follow(ctx, &started.Items[0], w)
	if err != nil {
		return runFrom(ended), err
	}
	run := runFrom(ended)
	if joined {
		run.Status = identity.RunJoined
		return run, nil
	}
	for _, step := range ended.Steps {
		w.step(reconcile.Step{Kind: step.Step, Text: step.Text})
	}
	return run, failureOf(&run, want)
}

// failureOf is the error of a run that failed on a server, as it would be here.
func failureOf(run *identity.Run, want *wanted) error {
	if run.Status != identity.RunFailed {
		return nil
	}
	for _, unknown := range []*reconcile.NotFoundError{
		{Connector: run.Connector, Object: identity.ObjectUser, Name: want.user}, {Connector: run.Connector, Object: identity.ObjectGroup, Name: want.group},
	} {
		if run.Kind == identity.KindObject && run.Error == unknown.Error() {
			return fmt.Errorf("run %s: %w", run.Connector, unknown)
		}
	}
	return fmt.Errorf("run %s: %s", run.Connector, run.Error)
}

func (r *remoteRunner) approve(ctx context.Context, run *identity.Run, hash string, w watch) (identity.Run, error) {
	going, err := client.Do[api.Run](ctx, r.client, http.MethodPost, "/runs"+part(run.ID)+"/approve", nil, object{"plan_hash": hash})
	if answered(err, problemBusy) != nil {
		err = fmt.Errorf("run %s: %w", run.Connector, store.ErrBusy)
	}
	if err != nil {
		return *run, err
	}
	ended, err := r.follow(ctx, &going, w)
	out := runFrom(ended)
	if err == nil && out.Status == identity.RunFailed {
		err = fmt.Errorf("run %s: %s", out.ID, out.Error)
	}
	return out, err
}

func (r *remoteRunner) changes(ctx context.Context, runID string) iter.Seq2[identity.Change, error] {
	return func(yield func(identity.Change, error) bool) {
		stopped := false
		err := client.All(ctx, r.client, "/runs"+part(runID)+"/changes", nil, func(c api.Change) bool {
			stopped = !yield(changeFrom(runID, &c), nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(identity.Change{}, err)
		}
	}
}

const (
	followSoon  = 100 * time.Millisecond // from one look at a run to the next, at first
	followLater = 2 * time.Second        // and at most
	followBlind = time.Minute            // how long a server may be out of reach while a run is followed
)

// follow returns a run when it has ended. When ctx ends, the run goes on.
func (r *remoteRunner) follow(ctx context.Context, run *api.Run, w watch) (*api.Run, error) {
	pause, seen := followSoon, time.Now()
	for run.Finished == nil || run.Status == string(identity.RunRunning) {
		if w.progress != nil {
			w.progress(reconcile.Progress{Phase: run.Phase, Users: run.Counts.Users, Groups: run.Counts.Groups, Members: run.Counts.Members})
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.env.say("Not followed any longer. The run goes on at the server: idpsync runs show %s", run.RunID)
			return run, exitStatus(exitError)
		case <-timer.C:
		}
		pause = min(pause*3/2, followLater)
		now, err := client.Get[api.Run](ctx, r.client, "/runs"+part(run.RunID), nil)
		switch {
		case err == nil:
			run, seen = &now, time.Now()
		case ctx.Err() != nil: // said above
		case !passing(err) || time.Since(seen) > followBlind:
			return run, fmt.Errorf("run %s goes on at the server, and cannot be followed: %w", run.RunID, err)
		}
	}
	return run, nil
}

// passing tells whether an error may be over soon: the server is restarted, or asks to wait.
func passing(err error) bool {
	var away *unreachableError
	var p *api.Problem
	var other *client.NotAPIError
	return errors.As(err, &away) || errors.As(err, &p) && (p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError) ||
		errors.As(err, &other) && other.Status >= http.StatusInternalServerError
}

// runFrom is a run as the API tells of it.
func runFrom(run *api.Run) identity.Run {
	out := identity.Run{
		ID: run.RunID, Connector: run.Connector, Kind: run.Kind, Trigger: run.Trigger, DryRun: run.DryRun, Status: identity.RunStatus(run.Status),
		Phase: run.Phase, PlanHash: run.PlanHash, Counts: run.Counts, Guard: run.Guard, Incomplete: run.Incomplete, Error: run.Error,
		Requests: run.Requests, Started: run.Started,
	}
	if run.Finished != nil {
		out.Finished = *run.Finished
	}
	if d := run.Decision; d != nil {
		out.Decision = identity.Decision{Kind: identity.DecisionKind(d.Kind), By: d.By, At: d.At}
	}
	return out
}

func changeFrom(runID string, c *api.Change) identity.Change {
	out := identity.Change{
		RunID: runID, Ord: c.Ord, Op: identity.Op(c.Op), Object: identity.Object(c.Object), SourceID: c.SourceID, ID: c.ID, Name: c.Name,
		MemberSourceID: c.MemberSourceID, MemberID: c.MemberID, Reason: c.Reason, State: identity.ChangeState(c.State),
	}
	for _, f := range c.Fields {
		out.Fields = append(out.Fields, identity.FieldChange{Path: f.Path, Before: f.Before, After: f.After})
	}
	return out
}
