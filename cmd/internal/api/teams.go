package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Team is what roles are given on.
type Team struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Kind    string    `json:"kind" enum:"root,group,local" doc:"group: it has the name of its group, and goes with it."`
	GroupID string    `json:"group_id"`
	Scope   []string  `json:"scope" nullable:"false" doc:"What the team's roles are for; empty for everything."`
	Created time.Time `json:"created"`
}

func teamOf(t *identity.Team) Team {
	out := Team{ID: t.ID, Name: t.Name, Kind: "local", GroupID: t.GroupID, Scope: t.Scope, Created: t.Created}
	switch {
	case t.ID == identity.RootTeamID:
		out.Kind = "root"
	case t.GroupID != "":
		out.Kind = "group"
	}
	if out.Scope == nil {
		out.Scope = []string{}
	}
	return out
}

// Holder is somebody with what they hold on a team.
type Holder struct {
	UserID      string       `json:"user_id"`
	UserName    string       `json:"user_name"`
	DisplayName string       `json:"display_name,omitempty"`
	Active      bool         `json:"active"`
	Reason      string       `json:"reason,omitempty" doc:"Why nothing is in force, where that is so."`
	Roles       []RoleAccess `json:"roles" nullable:"false"`
}

const tagTeams = "teams"

func (a *API) registerTeams() {
	add(a, operation{
		id: "list-teams", method: http.MethodGet, path: "/teams", tag: tagTeams, need: needViewer, summary: "List teams, root first",
	}, a.listTeams)
	add(a, operation{
		id: "create-team", method: http.MethodPost, path: "/teams", tag: tagTeams, need: needAdmin, status: http.StatusCreated, summary: "Make a local team",
	}, func(ctx context.Context, in *struct {
		Body struct {
			Name  string   `json:"name" minLength:"1" maxLength:"200"`
			Scope []string `json:"scope,omitempty" nullable:"false" maxItems:"100" doc:"What the team's roles are for; absent for everything."`
		}
	},
	) (*bodyOf[Team], error) {
		t, err := a.o.Applier.CreateTeam(ctx, callerOf(ctx).actor, in.Body.Name, in.Body.Scope)
		if err != nil {
			return nil, badTeam(err)
		}
		return &bodyOf[Team]{teamOf(&t)}, nil
	})
	add(a, operation{
		id: "show-team", method: http.MethodGet, path: "/teams/{id}", tag: tagTeams, need: needViewer, summary: "Show a team",
	}, func(ctx context.Context, in *ByID) (*bodyOf[Team], error) {
		t, err := a.o.Store.Team(ctx, in.ID)
		if err != nil {
			return nil, noTeam(err)
		}
		return &bodyOf[Team]{teamOf(&t)}, nil
	})
	add(a, operation{
		id: "change-team", method: http.MethodPatch, path: "/teams/{id}", tag: tagTeams, need: needAdmin, summary: "Rename a local team, or say what a team's roles are for",
		description: "What is absent stays. The role mapping follows a new name. If both are given and the second is refused, the first is done.",
	}, a.changeTeam)
	add(a, operation{
		id: "delete-team", method: http.MethodDelete, path: "/teams/{id}", tag: tagTeams, need: needAdmin, summary: "Delete a local team on which nothing is granted",
	}, func(ctx context.Context, in *ByID) (*struct{}, error) {
		return nil, noTeam(a.o.Applier.DeleteTeam(ctx, callerOf(ctx).actor, in.ID))
	})
	add(a, operation{
		id: "list-team-members", method: http.MethodGet, path: "/teams/{id}/members", tag: tagTeams, need: needViewer,
		summary: "List who holds what on a team, with every reason, by userName",
	}, func(ctx context.Context, in *struct {
		ByID
		HoldersQuery
	},
	) (*bodyOf[Page[Holder]], error) {
		t, err := a.o.Store.Team(ctx, in.ID)
		if err != nil {
			return nil, noTeam(err)
		}
		return a.holders(ctx, &t, "", in.HoldersQuery)
	})
}

func noTeam(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound("there is no such team")
	}
	return err
}

// badTeam makes what a new name or scope is refused for the request's fault.
func badTeam(err error) error {
	var team *lifecycle.TeamError
	if errors.As(err, &team) {
		return problem(http.StatusUnprocessableEntity, kindInvalid, team.Error())
	}
	return noTeam(err)
}

func (a *API) listTeams(ctx context.Context, in *struct {
	Team string `query:"team" maxLength:"2000" doc:"Only the team with this name or id."`
	Paging
},
) (*bodyOf[Page[Team]], error) {
	if in.Team != "" {
		t, err := a.findTeam(ctx, in.Team)
		page, n := Page[Team]{Items: []Team{}}, 0
		if err == nil {
			page.Items, n = append(page.Items, teamOf(&t)), 1
		} else if p := a.known(err); p == nil || p.Status != http.StatusNotFound {
			return nil, err
		}
		page.Total = &n
		return &bodyOf[Page[Team]]{page}, nil
	}
	teams, err := a.o.Store.Teams(ctx)
	if err != nil {
		return nil, err
	}
	total, id := len(teams), func(t *Team) string { return t.ID }
	list, err := behind(each(teams, teamOf), in.Paging, "team", id)
	if err != nil {
		return nil, err
	}
	page := pageOf(list, in.Limit, "team", id)
	page.Total = &total
	return &bodyOf[Page[Team]]{page}, nil
}

func (a *API) changeTeam(ctx context.Context, in *struct {
	ByID
	Body struct {
		Name  *string   `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Scope *[]string `json:"scope,omitempty" maxItems:"100" doc:"Empty for everything."`
	}
},
) (*bodyOf[Team], error) {
	by := callerOf(ctx).actor
	t, err := a.o.Store.Team(ctx, in.ID)
	if err != nil {
		return nil, noTeam(err)
	}
	if in.Body.Name == nil && in.Body.Scope == nil {
		return nil, invalid("body", "want a name, a scope or both")
	}
	if in.Body.Name != nil {
		if strings.TrimSpace(*in.Body.Name) == "" {
			return nil, invalid("body.name", "it is blank")
		}
		if t, err = a.o.Applier.RenameTeam(ctx, by, in.ID, *in.Body.Name); err != nil {
			return nil, noTeam(err)
		}
	}
	if in.Body.Scope != nil {
		if t, err = a.o.Applier.SetTeamScope(ctx, by, in.ID, *in.Body.Scope); err != nil {
			return nil, badTeam(err)
		}
	}
	return &bodyOf[Team]{teamOf(&t)}, nil
}

// HoldersQuery is what lists of people who hold roles take.
type HoldersQuery struct {
	Inactive bool `query:"inactive" doc:"Inactive people too, whose roles are suspended."`
	Paging
}

var errEnough = errors.New("enough")

// holders answers a page of who holds a role on a team, or any.
func (a *API) holders(ctx context.Context, team *identity.Team, role identity.Role, in HoldersQuery) (*bodyOf[Page[Holder]], error) {
	after, err := in.position("holder")
	if err != nil {
		return nil, err
	}
	var list []Holder
	q := store.HolderQuery{TeamID: team.ID, Role: role, Inactive: in.Inactive, After: after}
	err = a.o.Store.RoleHolders(ctx, q, func(h *store.RoleHolder) error {
		access := roles.Explain(&h.User, h.Grants)
		holder := Holder{UserID: access.UserID, UserName: access.UserName, DisplayName: h.DisplayName, Active: access.Active, Reason: access.Reason, Roles: []RoleAccess{}}
		for _, t := range access.Teams {
			for _, r := range t.Roles {
				holder.Roles = append(holder.Roles, RoleAccess{r.Role, vias(r.Via)})
			}
		}
		if list = append(list, holder); len(list) > in.Limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return &bodyOf[Page[Holder]]{pageOf(list, in.Limit, "holder", func(h *Holder) string { return h.UserName })}, nil
}
