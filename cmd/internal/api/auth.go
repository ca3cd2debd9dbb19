package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/scim/limit"
	"github.com/idpsync/idpsync/store/identity"
)

// need is what it takes to call an operation: a role on the root team, or one that may do more.
type need int

const (
	needNothing  need = iota // whoever is known; the operation itself looks at who is meant
	needViewer               // to look
	needOperator             // to run, approve and decide
	needAdmin                // to change who may do what
)

var needRoles = map[need]identity.Role{needViewer: identity.RoleViewer, needOperator: identity.RoleOperator, needAdmin: identity.RoleAdmin}

// describe says it for the document.
func (n need) describe(method string) string {
	switch {
	case n > needNothing:
		return "Takes the role " + needRoles[n] + " on the root team."
	case method == http.MethodGet:
		return "For everybody who is authenticated, of themselves; of others it takes the role viewer on the root team."
	}
	return "For everybody who is signed in, of themselves; of others, and with a key, it takes the role admin on the root team."
}

// caller is who makes a request.
type caller struct {
	actor            identity.Actor
	userID, userName string
	keyID            string // "" for a session
	level            need
	operator         bool // runs the program here
}

// session tells whether somebody signed in calls, not a key.
func (c *caller) session() bool { return c.keyID == "" }

// levelOf returns what roles on the root team allow.
func levelOf(rootRoles []identity.Role) need {
	for level := needAdmin; level > needNothing; level-- {
		if slices.Contains(rootRoles, needRoles[level]) {
			return level
		}
	}
	return needNothing
}

// may refuses what takes more than the caller has.
func (c *caller) may(n need) error {
	if c.level >= n {
		return nil
	}
	p := problem(http.StatusForbidden, kindBlank, "this takes the role "+needRoles[n]+" on the root team")
	p.Needs = needRoles[n]
	return p
}

// maySee refuses to tell of somebody else without the role that it takes.
func (c *caller) maySee(userID string) error {
	if userID == c.userID {
		return nil
	}
	return c.may(needViewer)
}

type callerKey struct{}

// callerOf returns who makes the request; every operation has one.
func callerOf(ctx context.Context) *caller {
	return ctx.Value(callerKey{}).(*caller)
}

// authenticate lets a request through to its operation when it is known who calls and they may.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	if c := operatorOf(r.Context()); c != nil {
		next(huma.WithValue(ctx, callerKey{}, c))
		return
	}
	c, err := a.caller(r)
	if err != nil {
		a.fail(w, r, a.answer(r.Context(), err))
		return
	}
	who := "user " + c.userID
	if !c.session() {
		who = "key " + c.keyID
	}
	state := a.limits.Take(who, a.now())
	state.SetHeaders(w.Header())
	if !state.Allowed {
		a.fail(w, r, problem(http.StatusTooManyRequests, kindBlank, "too many requests: api.requests_per_minute").with("Retry-After", limit.Seconds(state.RetryAfter)))
		return
	}
	if err := c.may(a.needs[ctx.Operation().OperationID]); err != nil {
		a.fail(w, r, a.answer(r.Context(), err))
		return
	}
	next(huma.WithValue(ctx, callerKey{}, c))
}

// caller tells who makes a request: by the key where there is one, whatever else comes with it, or by the session.
func (a *API) caller(r *http.Request) (*caller, error) {
	header := r.Header.Get("Authorization")
	if header == "" && a.o.Session != nil {
		return a.sessionCaller(r)
	}
	scheme, bearer, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, unauthenticated("an API key is missing: send Authorization: Bearer idps_...", "")
	}
	held, err := a.o.Key(r.Context(), strings.TrimSpace(bearer))
	if errors.Is(err, ErrUnauthenticated) {
		a.logger.InfoContext(r.Context(), "api key refused", "reason", err.Error(), "remote", httpserver.Remote(r.Context()), "request_id", httpserver.RequestID(r.Context()))
		return nil, unauthenticated("the API key is not valid: it may be mistyped, revoked, disabled or expired", `, error="invalid_token"`)
	}
	if err != nil {
		return nil, err
	}
	return &caller{
		actor:  identity.Actor{Kind: "key", ID: held.ID, Name: held.Name + " of " + held.UserName, RequestID: httpserver.RequestID(r.Context())},
		userID: held.UserID, userName: held.UserName, keyID: held.ID, level: levelOf(held.RootRoles),
	}, nil
}

func unauthenticated(detail, more string) *Problem {
	return problem(http.StatusUnauthorized, kindBlank, detail).with("WWW-Authenticate", `Bearer realm="idpsync"`+more)
}

func (a *API) sessionCaller(r *http.Request) (*caller, error) {
	s, err := a.o.Session(r)
	if errors.Is(err, ErrUnauthenticated) {
		return nil, unauthenticated("nobody is signed in: sign in, or send Authorization: Bearer idps_...", "")
	}
	if err != nil {
		return nil, err
	}
	// A browser sends the cookie whoever made it ask.
	if err := a.crossOrigin.Check(r); err != nil {
		return nil, problem(http.StatusForbidden, kindBlank, "this was asked for by a page of another site, and was not done")
	}
	return &caller{
		actor:  identity.Actor{Kind: "user", ID: s.UserID, Name: s.UserName, RequestID: httpserver.RequestID(r.Context())},
		userID: s.UserID, userName: s.UserName, level: levelOf(s.RootRoles),
	}, nil
}
