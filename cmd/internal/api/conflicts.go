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

// Conflict is a record that was not matched for sure.
type Conflict struct {
	ID         string     `json:"id"`
	Connector  string     `json:"connector"`
	Object     string     `json:"object" enum:"user,group"`
	SourceID   string     `json:"source_id"`
	Name       string     `json:"name"`
	Reason     string     `json:"reason"`
	Candidates []string   `json:"candidates" nullable:"false" doc:"Ids of the accounts, or groups, that may be meant."`
	Status     string     `json:"status" enum:"open,linked,ignored,resolved"`
	FirstSeen  time.Time  `json:"first_seen"`
	LastSeen   time.Time  `json:"last_seen"`
	LastRun    string     `json:"last_run"`
	DecidedBy  string     `json:"decided_by"`
	DecidedAt  *time.Time `json:"decided_at"`
	RunID      string     `json:"run_id,omitempty" doc:"The run that compares what was just linked."`
}

func conflictOf(c *identity.Conflict) Conflict {
	out := Conflict{
		ID: c.ID, Connector: c.Connector, Object: string(c.Object), SourceID: c.SourceID, Name: c.Name, Reason: c.Reason, Candidates: c.Candidates,
		Status: string(c.Status), FirstSeen: c.FirstSeen, LastSeen: c.LastSeen, LastRun: c.LastRunID, DecidedBy: c.DecidedBy, DecidedAt: orNil(c.DecidedAt),
	}
	if out.Candidates == nil {
		out.Candidates = []string{}
	}
	return out
}

const tagConflicts = "conflicts"

func (a *API) registerConflicts() {
	add(a, operation{
		id: "list-conflicts", method: http.MethodGet, path: "/conflicts", tag: tagConflicts, need: needViewer, summary: "List conflicts that wait for an operator, the oldest first",
	}, a.listConflicts)
	add(a, operation{
		id: "show-conflict", method: http.MethodGet, path: "/conflicts/{id}", tag: tagConflicts, need: needViewer, summary: "Show a conflict (the beginning of the id is enough)",
	}, func(ctx context.Context, in *ByID) (*bodyOf[Conflict], error) {
		c, err := a.findConflict(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &bodyOf[Conflict]{conflictOf(&c)}, nil
	})
	add(a, operation{
		id: "link-conflict", method: http.MethodPost, path: "/conflicts/{id}/link", tag: tagConflicts, need: needOperator, summary: "Say which account, or group, a record is",
		description: "It becomes the connector's, whoever owned it, and is compared at once where the connector is configured.",
	}, a.linkConflict)
	add(a, operation{
		id: "ignore-conflict", method: http.MethodPost, path: "/conflicts/{id}/ignore", tag: tagConflicts, need: needOperator, summary: "Leave a record alone, or look at it again",
	}, func(ctx context.Context, in *struct {
		ByID
		Body *struct {
			Undo bool `json:"undo,omitempty" doc:"Look at it again."`
		}
	},
	) (*bodyOf[Conflict], error) {
		c, err := a.findConflict(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		if c, err = a.o.Applier.IgnoreConflict(ctx, callerOf(ctx).actor, c.ID, orZero(in.Body).Undo); err != nil {
			return nil, err
		}
		return &bodyOf[Conflict]{conflictOf(&c)}, nil
	})
}

func (a *API) listConflicts(ctx context.Context, in *struct {
	Connector string `query:"connector" maxLength:"200"`
	All       bool   `query:"all" doc:"Linked, ignored and resolved ones too."`
	Paging
},
) (*bodyOf[Page[Conflict]], error) {
	conflicts, err := a.o.Store.Conflicts(ctx, in.Connector, in.All)
	if err != nil {
		return nil, err
	}
	total, id := len(conflicts), func(c *Conflict) string { return c.ID }
	list, err := behind(each(conflicts, conflictOf), in.Paging, "conflict", id)
	if err != nil {
		return nil, err
	}
	page := pageOf(list, in.Limit, "conflict", id)
	page.Total = &total
	return &bodyOf[Page[Conflict]]{page}, nil
}

func (a *API) findConflict(ctx context.Context, id string) (identity.Conflict, error) {
	c, err := a.o.Store.Conflict(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		err = notFound("there is no such conflict, or several begin so")
	}
	return c, err
}

func (a *API) linkConflict(ctx context.Context, in *struct {
	ByID
	Body struct {
		User  string `json:"user,omitempty" maxLength:"1000" doc:"Of a user's record: the account, by userName or id."`
		Group string `json:"group,omitempty" maxLength:"1000" doc:"Of a group's record: the group, by name or id."`
		Later bool   `json:"later,omitempty" doc:"Do not compare it at once: the next run does."`
	}
},
) (*bodyOf[Conflict], error) {
	c, err := a.findConflict(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	isGroup := c.Object == identity.ObjectGroup
	var id string
	switch {
	case isGroup && (in.Body.Group == "" || in.Body.User != ""):
		return nil, invalid("body.group", "it is the record of a group: say which group, and no user")
	case !isGroup && (in.Body.User == "" || in.Body.Group != ""):
		return nil, invalid("body.user", "it is the record of a person: say which account, and no group")
	case isGroup:
		g, err := a.o.Store.Group(ctx, in.Body.Group)
		if errors.Is(err, store.ErrNotFound) {
			g, err = a.o.Store.GroupByName(ctx, in.Body.Group)
		}
		if err != nil {
			return nil, noGroup(err)
		}
		id = g.ID
	default:
		u, err := a.findUser(ctx, in.Body.User)
		if err != nil {
			return nil, err
		}
		id = u.ID
	}
	if c, err = a.o.Applier.LinkConflict(ctx, callerOf(ctx).actor, c.ID, id); err != nil {
		return nil, err
	}
	out := conflictOf(&c)
	if !in.Body.Later {
		out.RunID = a.compareLinked(ctx, &c)
	}
	return &bodyOf[Conflict]{out}, nil
}

// compareLinked starts the comparison of what was linked, and returns its id. Where it cannot be started, the next run
// compares it.
func (a *API) compareLinked(ctx context.Context, c *identity.Conflict) string {
	sources, err := a.o.Sources(c.Connector)
	if err != nil {
		return ""
	}
	req := reconcile.Request{Source: sources[0], Trigger: "api", By: callerOf(ctx).actor, User: c.SourceID}
	if c.Object == identity.ObjectGroup {
		req.User, req.Group = "", c.SourceID
	}
	run, err := a.startRun(ctx, req)
	if err != nil { // a run that is going may have looked before it was linked
		a.logger.WarnContext(ctx, "a linked record is compared by the next run", "conflict_id", c.ID, "error", err)
		return ""
	}
	return run.ID
}
