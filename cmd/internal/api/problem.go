package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
)

const problemJSON = "application/problem+json"

// Problem is an error as the API answers it (RFC 9457).
type Problem struct {
	Type      string         `json:"type" doc:"What kind of problem it is: about:blank where the status says all, else urn:idpsync:KIND." example:"urn:idpsync:break-glass"`
	Title     string         `json:"title" doc:"The same for every problem of the type."`
	Status    int            `json:"status" doc:"The HTTP status."`
	Detail    string         `json:"detail,omitempty" doc:"What happened, and the remedy."`
	RequestID string         `json:"request_id" doc:"By which the log, and the audit log, know the request."`
	Errors    []ProblemField `json:"errors,omitempty" nullable:"false" doc:"What is wrong with the request, field by field."`
	Needs     string         `json:"needs,omitempty" doc:"With 403, the role on the root team that it takes."`
	Plan      *MappingPlan   `json:"plan,omitempty" doc:"What a change of the role mapping comes to that was not done."`

	headers http.Header
}

// ProblemField says what is wrong with one field of a request.
type ProblemField struct {
	Location string `json:"location" doc:"For example query.limit or body.grants[0].role."`
	Message  string `json:"message"`
}

var problemType = reflect.TypeFor[Problem]()

// Kinds of problem.
const (
	kindBlank       = ""
	kindInvalid     = "invalid-request"
	kindBreakGlass  = "break-glass"
	kindDeclared    = "declared"
	kindHeld        = "held"
	kindPlanChanged = "plan-changed"
	kindTaken       = "taken"
	kindOwned       = "owned"
	kindState       = "state" // what is asked for does not go with the state that things are in
	kindBusy        = "busy"
	kindNotKnown    = "not-known" // the past
)

var titles = map[string]string{
	kindInvalid:     "The request is not valid",
	kindBreakGlass:  "Refused, so that somebody can get in without the identity provider",
	kindDeclared:    "The configuration declares it",
	kindHeld:        "Held by the guard",
	kindPlanChanged: "The plan changed",
	kindTaken:       "Already taken",
	kindOwned:       "Owned by a source",
	kindState:       "Not possible as things are",
	kindBusy:        "Busy",
	kindNotKnown:    "Not known",
}

func problem(status int, kind, detail string) *Problem {
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
	if kind != kindBlank {
		p.Type, p.Title = "urn:idpsync:"+kind, titles[kind]
	}
	return p
}

// invalid is a problem with one field.
func invalid(location, message string) *Problem {
	p := problem(http.StatusUnprocessableEntity, kindInvalid, location+": "+message)
	p.Errors = []ProblemField{{location, message}}
	return p
}

func notFound(detail string) *Problem { return problem(http.StatusNotFound, kindBlank, detail) }

// Error returns what happened.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes a problem be sent as one.
func (p *Problem) ContentType(string) string { return problemJSON }

// GetHeaders returns what is sent with it.
func (p *Problem) GetHeaders() http.Header { return p.headers }

func (p *Problem) with(name, value string) *Problem {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(name, value)
	return p
}

// answer turns an error into the problem that is answered. What it does not know is the server's own: it is logged, and
// told to nobody.
func (a *API) answer(ctx context.Context, err error) *Problem {
	p := a.known(err)
	if p == nil {
		p = problem(http.StatusInternalServerError, kindBlank, "internal error")
		if a.o.Frank {
			p.Detail = err.Error()
		} else if ctx.Err() != nil {
			p = problem(http.StatusServiceUnavailable, kindBlank, "the request was broken off").with("Retry-After", "5")
		} else {
			a.logger.ErrorContext(ctx, "api request", "error", err, "request_id", httpserver.RequestID(ctx))
		}
	}
	p.RequestID = httpserver.RequestID(ctx)
	return p
}

func (a *API) known(err error) *Problem {
	var (
		p          *Problem
		refused    *lifecycle.RefusedError
		taken      *store.DuplicateError
		role       *lifecycle.UnknownRoleError
		mapping    *lifecycle.InvalidMappingError
		declared   *lifecycle.DeclaredError
		owned      *lifecycle.OwnedError
		team       *lifecycle.TeamError
		conflict   *lifecycle.ConflictError
		decision   *reconcile.DecisionError
		stranger   *reconcile.NotFoundError
		past       *roles.UnknownError
		declaredMP *lifecycle.MappingDeclaredError
	)
	const conflicting, unprocessable = http.StatusConflict, http.StatusUnprocessableEntity
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &refused):
		return problem(conflicting, kindBreakGlass, refused.Error())
	case errors.Is(err, lifecycle.ErrNoBreakGlass):
		return problem(conflicting, kindBreakGlass, "SCIM is not enabled: "+err.Error()+": run `idpsync admin create EMAIL` first, and keep its password where it is found when the identity provider is down")
	case errors.As(err, &declaredMP):
		return problem(conflicting, kindDeclared, err.Error())
	case errors.As(err, &declared):
		where, remedy := a.o.DeclaredBy()
		word := "off"
		if declared.On {
			word = "on"
		}
		return problem(conflicting, kindDeclared, "SCIM is declared "+word+" by "+where+": "+remedy)
	case errors.As(err, &mapping):
		return problem(unprocessable, kindInvalid, mapping.Error())
	case errors.As(err, &role):
		return invalid("role", role.Error())
	case errors.As(err, &taken):
		return problem(conflicting, kindTaken, taken.Error())
	case errors.As(err, &owned):
		return problem(conflicting, kindOwned, owned.Error())
	case errors.As(err, &team):
		return problem(conflicting, kindState, team.Error())
	case errors.As(err, &conflict):
		return problem(conflicting, kindState, conflict.Error())
	case errors.As(err, &decision):
		return problem(conflicting, kindState, decision.Error())
	case errors.As(err, &stranger):
		return notFound(stranger.Error())
	case errors.As(err, &past):
		return problem(http.StatusNotFound, kindNotKnown, past.Error())
	case errors.Is(err, lifecycle.ErrKeyRevoked), errors.Is(err, lifecycle.ErrKeyEnded), errors.Is(err, lifecycle.ErrOwnerInactive):
		return problem(conflicting, kindState, err.Error())
	case errors.Is(err, store.ErrBusy):
		return problem(conflicting, kindBusy, "a run of the connector is going: try again when it has ended").with("Retry-After", "10")
	case errors.Is(err, store.ErrStale):
		return problem(conflicting, kindState, "it was changed in the meantime: read it again")
	case errors.Is(err, store.ErrText):
		return problem(unprocessable, kindInvalid, "a text holds a NUL or is not UTF-8")
	case errors.Is(err, store.ErrNotFound):
		return notFound("there is nothing of that name or id")
	case errors.Is(err, errStopping):
		return problem(http.StatusServiceUnavailable, kindBlank, "the server stops: try again").with("Retry-After", "5")
	}
	return nil
}

// transform makes huma's own errors, which say what is wrong with a request, problems of ours. They do not tell back
// what was sent.
func (a *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	theirs, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	kind, detail := kindInvalid, theirs.Detail
	if theirs.Status >= http.StatusInternalServerError {
		a.logger.ErrorContext(ctx.Context(), "api request", "error", theirs.Detail, "request_id", httpserver.RequestID(ctx.Context()))
		kind, detail = kindBlank, "internal error"
	}
	p := problem(theirs.Status, kind, detail)
	p.RequestID = httpserver.RequestID(ctx.Context())
	if kind == kindInvalid {
		for _, e := range theirs.Errors {
			if e != nil {
				p.Errors = append(p.Errors, ProblemField{e.Location, e.Message})
			}
		}
		if len(p.Errors) > 0 {
			p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
		}
	}
	return p, nil
}

// fail answers a problem where huma is not asked.
func (a *API) fail(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.RequestID = httpserver.RequestID(r.Context())
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemJSON)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}
