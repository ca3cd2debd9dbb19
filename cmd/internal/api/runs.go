package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Run is one comparison of a connector's source with what is held, and its repair.
type Run struct {
	RunID      string          `json:"run_id"`
	Connector  string          `json:"connector"`
	Kind       string          `json:"kind" enum:"full,incremental,object"`
	Trigger    string          `json:"trigger"`
	DryRun     bool            `json:"dry_run"`
	Status     string          `json:"status" enum:"running,done,planned,held,partial,failed,joined" doc:"joined: another run was going, and this is it."`
	Phase      string          `json:"phase"`
	PlanHash   string          `json:"plan_hash" doc:"Over the planned changes; what an approval names."`
	Counts     identity.Counts `json:"counts"`
	Guard      string          `json:"guard,omitempty" doc:"What the guard held, and why."`
	Held       map[string]int  `json:"held,omitempty" doc:"What waits for a decision, by object and op, for example user.deactivate. In the answer for one run alone."`
	Decision   *Decision       `json:"decision,omitempty"`
	Incomplete string          `json:"incomplete,omitempty" doc:"Why the pull was not proven complete."`
	Error      string          `json:"error,omitempty"`
	Requests   int64           `json:"requests" doc:"Sent to the identity provider."`
	DurationMS int64           `json:"duration_ms"`
	Started    time.Time       `json:"started"`
	Finished   *time.Time      `json:"finished"`
	Steps      []RunStep       `json:"steps,omitempty" nullable:"false" doc:"Of a run of one person or group: what was read and matched. What is decided and done stands in its changes."`
}

// RunStep is what a run of one person or group tells of itself.
type RunStep struct {
	Step   string `json:"step" enum:"read,match"`
	Text   string `json:"text"`
	Object string `json:"object,omitempty" enum:"user,group" doc:"What was matched."`
	ID     string `json:"id,omitempty" doc:"Of the held user or group."`
}

// Decision is what became of removals that a run held.
type Decision struct {
	Kind string    `json:"kind" enum:"approved,rejected"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

func runOf(run *identity.Run) Run {
	out := Run{
		RunID: run.ID, Connector: run.Connector, Kind: run.Kind, Trigger: run.Trigger, DryRun: run.DryRun, Status: string(run.Status),
		Phase: run.Phase, PlanHash: run.PlanHash, Counts: run.Counts, Guard: run.Guard, Incomplete: run.Incomplete, Error: run.Error,
		Requests: run.Requests, Started: run.Started, Finished: orNil(run.Finished),
	}
	if out.Counts.Changes == nil {
		out.Counts.Changes = map[string]int{}
	}
	for _, step := range run.Steps {
		out.Steps = append(out.Steps, RunStep{step.Kind, step.Text, string(step.Object), step.ID})
	}
	if d := run.Decision; d.Kind != "" {
		out.Decision = &Decision{string(d.Kind), d.By, d.At}
	}
	if out.Finished != nil {
		out.DurationMS = run.Finished.Sub(run.Started).Milliseconds()
	}
	return out
}

// Change is one difference that a run found.
type Change struct {
	Ord            int64         `json:"ord"`
	Op             string        `json:"op" enum:"create,update,deactivate,reactivate,convert,delete,add,remove,conflict"`
	Object         string        `json:"object" enum:"user,group,member,grant"`
	SourceID       string        `json:"source_id"`
	ID             string        `json:"id"`
	Name           string        `json:"name"`
	MemberSourceID string        `json:"member_source_id,omitempty"`
	MemberID       string        `json:"member_id,omitempty"`
	Fields         []FieldChange `json:"fields" nullable:"false"`
	Reason         string        `json:"reason"`
	State          string        `json:"state" enum:"planned,staged,applied,skipped,failed"`
}

// FieldChange is one value before and after.
type FieldChange struct {
	Path   string `json:"path"`
	Before any    `json:"before"`
	After  any    `json:"after"`
}

func fieldsOf(fields []identity.FieldChange) []FieldChange {
	return each(fields, func(f *identity.FieldChange) FieldChange { return FieldChange{f.Path, f.Before, f.After} })
}

// Started is what came of a request for runs.
type Started struct {
	Items    []Run        `json:"items" nullable:"false"`
	Problems []NotStarted `json:"problems,omitempty" nullable:"false"`
}

// NotStarted is a connector of which no run was started.
type NotStarted struct {
	Connector string `json:"connector"`
	Detail    string `json:"detail"`
}

type startedOut struct {
	Location string `header:"Location"`
	Body     Started
}

type runOut struct {
	Location string `header:"Location"`
	Body     Run
}

const tagRuns = "runs"

func (a *API) registerRuns() {
	add(a, operation{
		id: "start-runs", method: http.MethodPost, path: "/runs", tag: tagRuns, need: needOperator, status: http.StatusAccepted,
		summary: "Pull, compare and repair now, in the background", description: "Where a run of a connector is going, it is joined: that run is answered, with the status joined.",
	}, a.startRuns)
	add(a, operation{
		id: "list-runs", method: http.MethodGet, path: "/runs", tag: tagRuns, need: needViewer, summary: "List runs, the newest first",
	}, a.listRuns)
	add(a, operation{
		id: "show-run", method: http.MethodGet, path: "/runs/{id}", tag: tagRuns, need: needViewer, summary: "Show a run (the beginning of the id is enough)",
	}, a.showRun)
	add(a, operation{
		id: "list-changes", method: http.MethodGet, path: "/runs/{id}/changes", tag: tagRuns, need: needViewer, summary: "List what a run found and did, in its order",
		description: "Kept for 30 days.",
	}, a.listChanges)
	add(a, operation{
		id: "approve-run", method: http.MethodPost, path: "/runs/{id}/approve", tag: tagRuns, need: needOperator, status: http.StatusAccepted,
		summary: "Apply what the guard held in a run, in the background", description: "Refused for another hash, after 24 hours, and where a later run planned something else.",
	}, a.approveRun)
	add(a, operation{
		id: "reject-run", method: http.MethodPost, path: "/runs/{id}/reject", tag: tagRuns, need: needOperator, summary: "Let be what the guard held in a run",
	}, func(ctx context.Context, in *ByID) (*bodyOf[Run], error) {
		run, err := a.findRun(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		run, err = a.o.Engine.Reject(ctx, run.ID, callerOf(ctx).actor)
		return &bodyOf[Run]{runOf(&run)}, err
	})
}

func (a *API) findRun(ctx context.Context, id string) (identity.Run, error) {
	run, err := a.o.Store.Run(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		err = notFound("there is no such run, or several begin so")
	}
	return run, err
}

func (a *API) showRun(ctx context.Context, in *ByID) (*bodyOf[Run], error) {
	run, err := a.findRun(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := runOf(&run)
	if run.Status == identity.RunHeld {
		out.Held, err = a.o.Store.HeldChanges(ctx, run.ID)
	}
	return &bodyOf[Run]{out}, err
}

func (a *API) startRuns(ctx context.Context, in *struct {
	Body *struct {
		Connectors       []string `json:"connectors,omitempty" nullable:"false" minItems:"1" maxItems:"100" doc:"Absent for all."`
		DryRun           bool     `json:"dry_run,omitempty" doc:"Find the drift and change nothing."`
		Full             bool     `json:"full,omitempty" doc:"Read and compare everything, not only what changed."`
		User             string   `json:"user,omitempty" maxLength:"1000" doc:"Only this person: immutable id, id, userName or externalId."`
		Group            string   `json:"group,omitempty" maxLength:"1000" doc:"Only this group with its members."`
		MaxDeactivations *int     `json:"max_deactivations,omitempty" minimum:"0" doc:"Hold deactivations if they are more, instead of the guard's limits for users."`
	}
},
) (*startedOut, error) {
	body := orZero(in.Body)
	switch {
	case body.User != "" && body.Group != "":
		return nil, invalid("body.group", "user and group: choose one")
	case (body.User != "" || body.Group != "") && body.Full:
		return nil, invalid("body.full", "full reads everything, user and group read one: choose one")
	}
	sources, err := a.chosen(body.Connectors)
	if err != nil {
		return nil, err
	}
	trigger := "api"
	if callerOf(ctx).operator {
		trigger = "cli"
	}
	var started Started
	var first error
	for _, source := range sources {
		run, err := a.startRun(ctx, reconcile.Request{
			Source: source, DryRun: body.DryRun, Full: body.Full, User: body.User, Group: body.Group, Trigger: trigger, By: callerOf(ctx).actor, MaxDeactivations: body.MaxDeactivations,
		})
		if err != nil && run.Status != identity.RunJoined {
			p := a.answer(ctx, err)
			started.Problems = append(started.Problems, NotStarted{source.Name, p.Detail})
			if first == nil {
				first = p
			}
			continue
		}
		started.Items = append(started.Items, runOf(&run))
	}
	switch len(started.Items) {
	case 0:
		return nil, first
	case 1:
		return &startedOut{Prefix + "/runs/" + started.Items[0].RunID, started}, nil
	}
	return &startedOut{Prefix + "/runs", started}, nil
}

// chosen returns the connectors that a request names, each once, or all.
func (a *API) chosen(names []string) ([]reconcile.Source, error) {
	sources, err := a.o.Sources(names...)
	if err != nil {
		return nil, invalid("body.connectors", err.Error())
	}
	if len(sources) == 0 {
		return nil, problem(http.StatusConflict, kindState, "no connector is configured")
	}
	seen := map[string]bool{}
	var once []reconcile.Source
	for _, s := range sources {
		if !seen[s.Name] {
			seen[s.Name] = true
			once = append(once, s)
		}
	}
	return once, nil
}

// startRun starts a run in the background and returns it as soon as it is written down, or the run of the connector that
// is going.
func (a *API) startRun(ctx context.Context, req reconcile.Request) (identity.Run, error) {
	return a.whenFree(ctx, req.Source.Name, func() (identity.Run, error) {
		return a.inBackground(ctx, func(ctx context.Context, begun func(identity.Run)) error {
			req.Begun = begun
			_, err := a.o.Engine.Run(ctx, req)
			return err
		})
	})
}

// A run that has just ended holds its connector for a moment longer.
const (
	freeWithin = 3 * time.Second
	freeEvery  = 50 * time.Millisecond
)

// whenFree starts what needs the connector for itself. Where a run of the connector is going it returns that, joined,
// with store.ErrBusy.
func (a *API) whenFree(ctx context.Context, connector string, start func() (identity.Run, error)) (identity.Run, error) {
	for began := time.Now(); ; {
		run, err := start()
		if !errors.Is(err, store.ErrBusy) {
			return run, err
		}
		going, found := a.o.Store.RunningRun(ctx, connector)
		if found == nil {
			going.Status = identity.RunJoined
			return going, err
		}
		if !errors.Is(found, store.ErrNotFound) || time.Since(began) > freeWithin {
			return run, err
		}
		timer := time.NewTimer(freeEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return run, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// inBackground starts what tells of a run when that has begun, and waits for that, or for the error that it began with.
func (a *API) inBackground(ctx context.Context, do func(ctx context.Context, begun func(identity.Run)) error) (identity.Run, error) {
	begun, ended := make(chan identity.Run, 1), make(chan error, 1)
	err := a.runner.start(ctx, func(ctx context.Context) {
		ended <- do(ctx, func(run identity.Run) { begun <- run })
	})
	if errors.Is(err, errFull) {
		return identity.Run{}, problem(http.StatusServiceUnavailable, kindBusy, "too many runs are going: try again later").with("Retry-After", "30")
	}
	if err != nil {
		return identity.Run{}, err
	}
	select {
	case run := <-begun:
		return run, nil
	case err := <-ended:
		select {
		case run := <-begun:
			return run, nil // and how it ended is told by the run
		default:
		}
		if err == nil {
			err = errors.New("a run ended without having begun")
		}
		return identity.Run{}, err
	case <-ctx.Done():
		return identity.Run{}, context.Cause(ctx)
	}
}

func (a *API) approveRun(ctx context.Context, in *struct {
	ByID
	Body struct {
		PlanHash string `json:"plan_hash" minLength:"1" maxLength:"100" doc:"The plan_hash of the run, as it was looked at."`
	}
},
) (*runOut, error) {
	run, err := a.findRun(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	sources, err := a.o.Sources(run.Connector)
	if err != nil {
		return nil, problem(http.StatusConflict, kindState, "it is a run of connector "+run.Connector+", which the configuration does not have")
	}
	approval := reconcile.Approval{Source: sources[0], RunID: run.ID, PlanHash: in.Body.PlanHash, By: callerOf(ctx).actor}
	run, err = a.whenFree(ctx, run.Connector, func() (identity.Run, error) {
		return a.inBackground(ctx, func(ctx context.Context, begun func(identity.Run)) error {
			approval.Begun = begun
			_, err := a.o.Engine.Approve(ctx, approval)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return &runOut{Prefix + "/runs/" + run.ID, runOf(&run)}, nil
}

func (a *API) listRuns(ctx context.Context, in *struct {
	Connector string `query:"connector" maxLength:"200"`
	Status    string `query:"status" enum:"running,done,planned,held,partial,failed"`
	Paging
},
) (*bodyOf[Page[Run]], error) {
	before, err := in.position("run")
	if err != nil {
		return nil, err
	}
	runs, err := a.o.Store.RunPage(ctx, store.RunQuery{Connector: in.Connector, Status: identity.RunStatus(in.Status), Before: before, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	return &bodyOf[Page[Run]]{pageOf(each(runs, runOf), in.Limit, "run", func(r *Run) string { return r.RunID })}, nil
}

func (a *API) listChanges(ctx context.Context, in *struct {
	ByID
	Object string `query:"object" enum:"user,group,member,grant"`
	Op     string `query:"op" enum:"create,update,deactivate,reactivate,convert,delete,add,remove,conflict"`
	State  string `query:"state" enum:"planned,staged,applied,skipped,failed"`
	Paging
},
) (*bodyOf[Page[Change]], error) {
	after, err := in.number("change")
	if err != nil {
		return nil, err
	}
	run, err := a.findRun(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	q := store.ChangeQuery{RunID: run.ID, After: after, Limit: in.Limit + 1}
	if in.Object != "" {
		q.Objects = []identity.Object{identity.Object(in.Object)}
	}
	if in.Op != "" {
		q.Ops = []identity.Op{identity.Op(in.Op)}
	}
	if in.State != "" {
		q.States = []identity.ChangeState{identity.ChangeState(in.State)}
	}
	changes, err := a.o.Store.Changes(ctx, q)
	if err != nil {
		return nil, err
	}
	list := each(changes, func(c *identity.Change) Change {
		return Change{
			c.Ord, string(c.Op), string(c.Object), c.SourceID, c.ID, c.Name, c.MemberSourceID, c.MemberID, fieldsOf(c.Fields), c.Reason, string(c.State),
		}
	})
	return &bodyOf[Page[Change]]{pageOf(list, in.Limit, "change", func(c *Change) string { return strconv.FormatInt(c.Ord, 10) })}, nil
}
