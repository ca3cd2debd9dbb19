package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/idpsync/idpsync/store"
)

// SignedIn is somebody signed in with a browser.
type SignedIn struct {
	ID          string    `json:"id"`
	UserID      string    `json:"user_id"`
	UserName    string    `json:"user_name"`
	Method      string    `json:"method" enum:"password,saml,oidc"`
	Created     time.Time `json:"created"`
	LastSeen    time.Time `json:"last_seen"`
	Expires     time.Time `json:"expires"`
	IdleExpires time.Time `json:"idle_expires" doc:"When it ends without another request."`
	Remote      string    `json:"remote" doc:"The address from which it was made."`
	UserAgent   string    `json:"user_agent"`
}

func sessionOf(s *store.Session) SignedIn {
	return SignedIn{s.ID, s.UserID, s.UserName, s.Method, s.Created, s.LastSeen, s.Expires, s.IdleExpires, s.Remote, s.UserAgent}
}

// SessionsEnded tells how many sessions were ended.
type SessionsEnded struct {
	Ended int `json:"sessions_ended"`
}

const tagSessions = "sessions"

// mostSessions bounds where a person's own session is looked for.
const mostSessions = 1000

func (a *API) registerSessions() {
	add(a, operation{
		id: "list-sessions", method: http.MethodGet, path: "/sessions", tag: tagSessions, summary: "List who is signed in, the newest first",
		description: "Whoever is no viewer sees their own.",
	}, func(ctx context.Context, in *struct {
		User  string `query:"user" maxLength:"1000" doc:"Only this person's, by userName or id."`
		Limit int    `query:"limit" default:"100" minimum:"1" maximum:"10000" doc:"How many at most."`
	},
	) (*bodyOf[Page[SignedIn]], error) {
		c := callerOf(ctx)
		id := ""
		switch {
		case c.level < needViewer:
			id = c.userID
		case in.User != "":
			u, err := a.findUser(ctx, in.User)
			if err != nil {
				return nil, err
			}
			id = u.ID
		}
		sessions, err := a.o.Store.Sessions(ctx, id, a.now(), in.Limit)
		if err != nil {
			return nil, err
		}
		return &bodyOf[Page[SignedIn]]{Page[SignedIn]{Items: each(sessions, sessionOf)}}, nil
	})
	add(a, operation{
		id: "end-sessions", method: http.MethodDelete, path: "/sessions", tag: tagSessions, need: needAdmin, summary: "End all sessions of a person",
		description: "From the next request on, on every server. The person may sign in again: to keep somebody out, deactivate them.",
	}, func(ctx context.Context, in *struct {
		User string `query:"user" required:"true" minLength:"1" maxLength:"1000" doc:"The person, by userName or id."`
	},
	) (*bodyOf[SessionsEnded], error) {
		u, err := a.findUser(ctx, in.User)
		if err != nil {
			return nil, err
		}
		n, err := a.o.Applier.EndSessions(ctx, callerOf(ctx).actor, u.ID, "ended by an administrator")
		return &bodyOf[SessionsEnded]{SessionsEnded{n}}, err
	})
	add(a, operation{
		id: "end-session", method: http.MethodDelete, path: "/sessions/{id}", tag: tagSessions, summary: "Sign somebody out",
		description: "An admin ends any, somebody with a session their own.",
	}, func(ctx context.Context, in *ByID) (*struct{}, error) {
		c := callerOf(ctx)
		reason := "ended by an administrator"
		if err := c.may(needAdmin); err != nil {
			if !c.session() {
				return nil, err
			}
			own, err := a.o.Store.Sessions(ctx, c.userID, a.now(), mostSessions)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(own, func(s store.Session) bool { return s.ID == in.ID }) {
				return nil, notFound("there is no such session")
			}
			reason = "ended by its owner"
		}
		err := a.o.Applier.EndSession(ctx, c.actor, in.ID, reason)
		if errors.Is(err, store.ErrNotFound) {
			err = notFound("there is no such session")
		}
		return nil, err
	})
}
