package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Connector is how a connector stands: what all servers know of it together.
type Connector struct {
	Name         string     `json:"name"`
	Mode         string     `json:"mode" enum:"enforce,report"`
	Status       string     `json:"status" enum:"new,ok,failing,paused" doc:"paused: the credential was rejected. new: no run yet."`
	LastRun      string     `json:"last_run,omitempty"`
	LastSuccess  *time.Time `json:"last_success"`
	LastFull     *time.Time `json:"last_full" doc:"When everything was compared."`
	Watermark    *time.Time `json:"watermark" doc:"Up to when the source is known."`
	NextSlot     *time.Time `json:"next_slot" doc:"When the scheduler runs it next; null: it has no schedule."`
	Failures     int        `json:"failures" doc:"Runs that failed in a row."`
	FailingSince *time.Time `json:"failing_since,omitempty"`
	NextTry      *time.Time `json:"next_try,omitempty" doc:"Before, no scheduled run begins."`
	Failure      string     `json:"failure,omitempty"`
	Running      string     `json:"running_run,omitempty" doc:"The run that is going."`
	Held         string     `json:"held_run,omitempty" doc:"The run whose removals wait for an operator."`
	Conflicts    int        `json:"open_conflicts"`

	Configured *ConnectorConfig `json:"configured,omitempty" doc:"What the configuration says of it."`
}

// ConnectorConfig is what the configuration says of a connector, without secrets.
type ConnectorConfig struct {
	Type         string   `json:"type" enum:"okta,entra"`
	Address      string   `json:"address" doc:"Where the identity provider is."`
	Tenant       string   `json:"tenant,omitempty"`
	Credential   string   `json:"credential" doc:"Of which kind it is, and not what it is."`
	Application  string   `json:"application,omitempty" doc:"Only people assigned to it are provisioned; absent: everybody in the directory."`
	RequireGroup bool     `json:"require_group" doc:"Only members of a group in scope are provisioned."`
	Include      []string `json:"include" nullable:"false" doc:"Groups in scope; empty for all."`
	Exclude      []string `json:"exclude" nullable:"false"`
	Schedule     string   `json:"schedule,omitempty" doc:"Of incremental runs: cron, UTC."`
	FullSchedule string   `json:"full_schedule,omitempty" doc:"Of full runs: cron, UTC."`
	Local        []string `json:"local" nullable:"false" doc:"Attributes that the connector does not touch."`
}

// CheckItem is one thing that was tried.
type CheckItem struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Checked is what came of trying a connector.
type Checked struct {
	OK    bool        `json:"ok"`
	Items []CheckItem `json:"items" nullable:"false"`
}

const tagConnectors = "connectors"

// checkMost bounds how long a connector is tried.
const checkMost = 90 * time.Second

func (a *API) registerConnectors() {
	add(a, operation{
		id: "list-connectors", method: http.MethodGet, path: "/connectors", tag: tagConnectors, need: needViewer, summary: "Tell how connectors stand",
	}, func(ctx context.Context, _ *struct{}) (*bodyOf[Page[Connector]], error) {
		sources, err := a.o.Sources()
		if err != nil {
			return nil, err
		}
		page := Page[Connector]{Items: []Connector{}}
		for i := range sources {
			c, err := a.standing(ctx, &sources[i])
			if err != nil {
				return nil, err
			}
			page.Items = append(page.Items, c)
		}
		return &bodyOf[Page[Connector]]{page}, nil
	})
	add(a, operation{
		id: "check-connector", method: http.MethodPost, path: "/connectors/{name}/check", tag: tagConnectors, need: needOperator,
		summary: "Try a connector's credential and rights at the identity provider",
	}, func(ctx context.Context, in *struct {
		Name string `path:"name" maxLength:"200"`
	},
	) (*bodyOf[Checked], error) {
		if _, err := a.o.Sources(in.Name); err != nil {
			return nil, notFound("the configuration has no such connector")
		}
		ctx, cancel := context.WithTimeoutCause(ctx, checkMost, errors.New("the check took too long"))
		defer cancel()
		out := Checked{OK: true, Items: a.o.Check(ctx, in.Name)}
		for _, item := range out.Items {
			out.OK = out.OK && item.OK
		}
		if out.Items == nil {
			out.Items = []CheckItem{}
		}
		return &bodyOf[Checked]{out}, nil
	})
}

func (a *API) standing(ctx context.Context, source *reconcile.Source) (Connector, error) {
	state, err := a.o.Store.ConnectorState(ctx, source.Name)
	if err != nil {
		return Connector{}, err
	}
	q := state.Quarantine
	c := Connector{
		Name: source.Name, Mode: "enforce", Status: "ok", LastRun: state.LastRunID, LastSuccess: orNil(state.LastSuccess), LastFull: orNil(state.LastFull),
		Watermark: orNil(reconcile.Watermark(&state)), Failures: q.Failures, FailingSince: orNil(q.Since), NextTry: orNil(q.NextTry), Failure: q.Failure,
	}
	if !source.Enforce {
		c.Mode = "report"
	}
	if a.o.Describe != nil {
		c.Configured = a.o.Describe(source.Name)
	}
	if a.o.NextSlot != nil {
		c.NextSlot = orNil(a.o.NextSlot(source.Name, a.now()))
	}
	switch {
	case q.Paused:
		c.Status = "paused"
	case q.Failures > 0:
		c.Status = "failing"
	case state.LastRunID == "":
		c.Status = "new"
	}
	running, err := a.o.Store.RunningRun(ctx, source.Name)
	if err == nil {
		c.Running = running.ID
	} else if !errors.Is(err, store.ErrNotFound) {
		return c, err
	}
	last, err := a.o.Store.LastRun(ctx, source.Name)
	switch {
	case err == nil && last.Status == identity.RunHeld && last.Decision.Kind == "":
		c.Held = last.ID
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return c, err
	}
	counts, err := a.o.Store.CountConflicts(ctx, source.Name)
	c.Conflicts = counts[identity.ConflictOpen]
	return c, err
}
