package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Grant is a role given to a person by hand.
type Grant struct {
	User    string `json:"user" doc:"The person's userName."`
	UserID  string `json:"user_id"`
	Team    string `json:"team"`
	Role    string `json:"role"`
	Changed bool   `json:"changed" doc:"Whether it was not so before."`
}

// RoleInfo is a role that there is.
type RoleInfo struct {
	Role    string `json:"role"`
	BuiltIn bool   `json:"built_in" doc:"It needs no configuration."`
}

const tagRoles = "roles"

func (a *API) registerRoles() {
	add(a, operation{
		id: "list-roles", method: http.MethodGet, path: "/roles", tag: tagRoles, need: needViewer, summary: "List the roles that there are",
	}, func(ctx context.Context, _ *struct{}) (*bodyOf[Page[RoleInfo]], error) {
		mapping, err := a.o.Applier.Mapping(ctx)
		if err != nil {
			return nil, err
		}
		page := Page[RoleInfo]{Items: []RoleInfo{}}
		for _, role := range mapping.Roles() {
			page.Items = append(page.Items, RoleInfo{role, slices.Contains(identity.BuiltInRoles(), role)})
		}
		return &bodyOf[Page[RoleInfo]]{page}, nil
	})
	add(a, operation{
		id: "list-role-holders", method: http.MethodGet, path: "/roles/{team}/{role}/holders", tag: tagRoles, need: needViewer,
		summary: "List who holds a role on a team, with every reason, by userName",
	}, func(ctx context.Context, in *struct {
		Team string `path:"team" maxLength:"600" doc:"The team's name or id."`
		Role string `path:"role" maxLength:"64"`
		HoldersQuery
	},
	) (*bodyOf[Page[Holder]], error) {
		mapping, err := a.o.Applier.Mapping(ctx)
		if err != nil {
			return nil, err
		}
		if !mapping.Known(in.Role) {
			return nil, notFound("there is no such role: see /roles")
		}
		t, err := a.findTeam(ctx, in.Team)
		if err != nil {
			return nil, err
		}
		return a.holders(ctx, &t, in.Role, in.HoldersQuery)
	})
	type grantIn struct {
		User string `json:"user" query:"user" required:"true" minLength:"1" maxLength:"1000" doc:"The person, by userName or id."`
		Team string `json:"team" query:"team" required:"true" minLength:"1" maxLength:"200" doc:"The team, by name or id."`
		Role string `json:"role" query:"role" required:"true" minLength:"1" maxLength:"64"`
	}
	add(a, operation{
		id: "give-role", method: http.MethodPost, path: "/grants", tag: tagRoles, need: needAdmin, summary: "Give a person a role by hand",
		description: "It stands beside what groups and the identity provider give.",
	}, func(ctx context.Context, in *struct{ Body grantIn }) (*bodyOf[Grant], error) {
		return a.grant(ctx, in.Body.User, in.Body.Team, in.Body.Role, true)
	})
	add(a, operation{
		id: "take-role", method: http.MethodDelete, path: "/grants", tag: tagRoles, need: needAdmin, summary: "Take away a role that was given by hand",
		description: "What groups and the identity provider give stays. Break glass keeps the last local admin.",
	}, func(ctx context.Context, in *grantIn) (*bodyOf[Grant], error) {
		return a.grant(ctx, in.User, in.Team, in.Role, false)
	})
}

// findTeam returns the team that a name or an id means.
func (a *API) findTeam(ctx context.Context, name string) (identity.Team, error) {
	t, err := a.o.Store.TeamByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		t, err = a.o.Store.Team(ctx, name)
	}
	return t, noTeam(err)
}

// findUser returns the person whom an id or a userName means.
func (a *API) findUser(ctx context.Context, name string) (identity.User, error) {
	u, err := a.o.Store.User(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		u, err = a.o.Store.UserByName(ctx, name)
	}
	return u, nobody(err)
}

func (a *API) grant(ctx context.Context, user, team, role string, give bool) (*bodyOf[Grant], error) {
	u, err := a.findUser(ctx, user)
	if err != nil {
		return nil, err
	}
	t, err := a.findTeam(ctx, team)
	if p := (*Problem)(nil); errors.As(err, &p) && p.Status == http.StatusNotFound {
		return nil, notFound("team " + team + ": there is no such team")
	}
	if err != nil {
		return nil, err
	}
	do := a.o.Applier.GiveRole
	if !give {
		do = a.o.Applier.TakeRole
	}
	changed, err := do(ctx, callerOf(ctx).actor, u.ID, identity.TeamRole{Team: t.Name, Role: role})
	switch {
	case err != nil:
		return nil, nobody(err)
	case !changed && !give:
		return nil, notFound(fmt.Sprintf("%[1]s has no %[2]s:%[3]s by hand: idpsync access %[1]s tells why it is held, if it is", u.UserName, t.Name, role))
	}
	return &bodyOf[Grant]{Grant{u.UserName, u.ID, t.Name, role, changed}}, nil
}
