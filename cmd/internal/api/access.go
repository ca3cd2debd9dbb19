package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Access is what somebody may do, with the reason for everything.
type Access struct {
	UserID   string       `json:"user_id"`
	UserName string       `json:"user_name"`
	Active   bool         `json:"active" doc:"Where this is false, nothing below is in force."`
	Reason   string       `json:"reason,omitempty" doc:"Why nothing is in force, where that is so."`
	Teams    []TeamAccess `json:"teams" nullable:"false"`
	At       *time.Time   `json:"at,omitempty" doc:"The moment in the past that was asked about."`
}

// TeamAccess is what somebody may do on one team.
type TeamAccess struct {
	Team  string       `json:"team"`
	Roles []RoleAccess `json:"roles" nullable:"false"`
	Scope []string     `json:"scope,omitempty" nullable:"false" doc:"What the team's roles are for; absent for everything."`
}

// RoleAccess is one role with every reason for it.
type RoleAccess struct {
	Role string `json:"role"`
	Via  []Via  `json:"via" nullable:"false"`
}

// Via is one reason for a role.
type Via struct {
	Kind    string `json:"kind" enum:"group,direct,manual,jit"`
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Through string `json:"through,omitempty" doc:"The nested groups by which the person is in the group."`
}

func viaOf(v roles.Via) Via { return Via{string(v.Kind), v.ID, v.Name, v.Through} }

func vias(list []roles.Via) []Via {
	out := make([]Via, len(list))
	for i, v := range list {
		out[i] = viaOf(v)
	}
	return out
}

// Me is who calls.
type Me struct {
	UserID    string   `json:"user_id"`
	UserName  string   `json:"user_name"`
	KeyID     string   `json:"key_id,omitempty" doc:"The key that the request came with; absent for a session."`
	MayView   bool     `json:"may_view"`
	MayRun    bool     `json:"may_operate"`
	MayChange bool     `json:"may_administer"`
	Root      []string `json:"root_roles" nullable:"false" doc:"Of viewer, operator and admin, what the caller's rights amount to."`
}

// AccessQuery is what every question about access may ask.
type AccessQuery struct {
	At          string `query:"at" maxLength:"64" doc:"A moment in the past (RFC 3339), or a date, which begins at midnight UTC."`
	IfNoneMatch string `header:"If-None-Match" doc:"ETags that are known: 304 where one is still right."`
}

type accessOut struct {
	Status       int
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         *Access
}

const tagAccess = "access"

func (a *API) registerAccess() {
	add(a, operation{
		id: "me", method: http.MethodGet, path: "/me", tag: tagAccess, summary: "Tell who calls, and what they may do here",
	}, func(ctx context.Context, _ *struct{}) (*bodyOf[Me], error) {
		c := callerOf(ctx)
		me := Me{
			UserID: c.userID, UserName: c.userName, KeyID: c.keyID, Root: []string{},
			MayView: c.level >= needViewer, MayRun: c.level >= needOperator, MayChange: c.level >= needAdmin,
		}
		for level := needViewer; level <= c.level; level++ {
			me.Root = append(me.Root, needRoles[level])
		}
		return &bodyOf[Me]{me}, nil
	})
	add(a, operation{
		id: "access", method: http.MethodGet, path: "/access", tag: tagAccess, summary: "Tell what somebody may do, by userName",
		description: "What an application asks at sign-in. Send the ETag of the last answer as If-None-Match: 304 says that nothing changed.",
	}, func(ctx context.Context, in *struct {
		AccessQuery
		User string `query:"user" required:"true" minLength:"1" maxLength:"1000" doc:"The userName, compared without case."`
	},
	) (*accessOut, error) {
		if c := callerOf(ctx); identity.Normalize(in.User) != identity.Normalize(c.userName) {
			if err := c.may(needViewer); err != nil {
				return nil, err
			}
		}
		if in.At != "" {
			u, err := a.o.Store.UserByName(ctx, in.User)
			if err != nil {
				return nil, nobody(err)
			}
			return a.accessAt(ctx, u.ID, in.AccessQuery)
		}
		access, _, err := lifecycle.Lookup(ctx, a.o.Store, in.User)
		if err != nil {
			return nil, nobody(err)
		}
		return a.tellAccess(ctx, access, nil, in.IfNoneMatch)
	})
	add(a, operation{
		id: "user-access", method: http.MethodGet, path: "/users/{id}/access", tag: tagAccess, summary: "Tell what somebody may do, by id",
	}, func(ctx context.Context, in *struct {
		AccessQuery
		ByID
	},
	) (*accessOut, error) {
		if err := callerOf(ctx).maySee(in.ID); err != nil {
			return nil, err
		}
		if in.At != "" {
			return a.accessAt(ctx, in.ID, in.AccessQuery)
		}
		u, err := a.o.Store.User(ctx, in.ID)
		if err != nil {
			return nil, nobody(err)
		}
		grants, err := a.o.Store.EffectiveGrants(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		return a.tellAccess(ctx, roles.Explain(&u, identity.SortGrants(grants)), nil, in.IfNoneMatch)
	})
}

// nobody says of a user that is not there that it is a user.
func nobody(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound("there is nobody of that name or id")
	}
	return err
}

func (a *API) accessAt(ctx context.Context, userID string, in AccessQuery) (*accessOut, error) {
	at, err := a.pastMoment(in.At)
	if err != nil {
		return nil, err
	}
	if _, err := a.o.Store.User(ctx, userID); err != nil {
		return nil, nobody(err)
	}
	past, err := lifecycle.AccessAt(ctx, a.o.Store, userID, at)
	if err != nil {
		return nil, err
	}
	return a.tellAccess(ctx, past.Access, &at, in.IfNoneMatch)
}

// clocksApart is how far a client's now may be ahead of ours.
const clocksApart = 5 * time.Second

// pastMoment reads a moment up to now.
func (a *API) pastMoment(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	switch at = at.UTC().Truncate(time.Microsecond); {
	case err != nil || at.Year() < 1 || at.Year() > 9999:
		return at, invalid("query.at", "want a moment such as 2026-03-01T12:00:00Z, or a date such as 2026-03-01")
	case at.After(a.now().Add(clocksApart)):
		return at, invalid("query.at", "it is in the future: what somebody may do then is not known")
	}
	return at, nil
}

// tellAccess answers what somebody may do, or that it is as the client knows it. Of the present it tells what the teams'
// roles are for.
func (a *API) tellAccess(ctx context.Context, access roles.Access, at *time.Time, known string) (*accessOut, error) {
	out := Access{UserID: access.UserID, UserName: access.UserName, Active: access.Active, Reason: access.Reason, Teams: []TeamAccess{}, At: at}
	names := make([]string, len(access.Teams))
	for i, team := range access.Teams {
		told := TeamAccess{Team: team.Team, Roles: make([]RoleAccess, len(team.Roles))}
		for k, role := range team.Roles {
			told.Roles[k] = RoleAccess{role.Role, vias(role.Via)}
		}
		out.Teams, names[i] = append(out.Teams, told), team.Team
	}
	if at == nil {
		scopes, err := a.o.Store.TeamScopes(ctx, names)
		if err != nil {
			return nil, err
		}
		for i, name := range names {
			out.Teams[i].Scope = scopes[identity.Normalize(name)]
		}
	}
	said, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(said)
	answer := &accessOut{Status: http.StatusOK, ETag: `"` + base64.RawURLEncoding.EncodeToString(hash[:]) + `"`, CacheControl: "private, no-cache", Body: &out}
	if matches(known, answer.ETag) {
		answer.Status, answer.Body = http.StatusNotModified, nil
	}
	return answer, nil
}

// matches tells whether an If-None-Match names an ETag, by the weak comparison (RFC 9110, section 13.1.2).
func matches(header, etag string) bool {
	for known := range strings.SplitSeq(header, ",") {
		known = strings.TrimSpace(known)
		if known == "*" || strings.TrimPrefix(known, "W/") == etag {
			return true
		}
	}
	return false
}

// bodyOf is an answer that is nothing but a body.
type bodyOf[T any] struct{ Body T }

// ByID is the id in a path.
type ByID struct {
	ID string `path:"id" maxLength:"200"`
}

var _ huma.StatusError = (*Problem)(nil)
