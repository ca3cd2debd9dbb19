package scim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/limit"
	"github.com/idpsync/idpsync/scim/patch"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
)

const errorURN = "urn:ietf:params:scim:api:messages:2.0:Error"

// Detail error keywords (RFC 7644, table 9), besides those of package patch.
const (
	expiredCursor = "expiredCursor" // RFC 9865, section 2.1
	invalidCount  = "invalidCount"
	invalidCursor = "invalidCursor"
	invalidFilter = string(patch.InvalidFilter)
	invalidSyntax = string(patch.InvalidSyntax)
	invalidValue  = string(patch.InvalidValue)
	mutability    = string(patch.Mutability)
	tooMany       = "tooMany"
	uniqueness    = "uniqueness"
)

// Error is an answer that says what was wrong (RFC 7644, section 3.12). All of it reaches the client.
type Error struct {
	Status int
	Type   string // scimType, or ""
	Detail string

	RetryAfter   time.Duration // for the header, 0 for none
	Allow        []string      // methods, for the header
	Authenticate string        // WWW-Authenticate
}

func (e *Error) Error() string { return strconv.Itoa(e.Status) + ": " + e.Detail }

func badValue(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Type: invalidValue, Detail: fmt.Sprintf(format, args...)}
}

func badSyntax(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Type: invalidSyntax, Detail: fmt.Sprintf(format, args...)}
}

// failure turns any error into an answer: here ends its way. What is not known is "internal error" with the request's
// id, under which its cause is logged.
func (h *Handler) failure(r *request, err error) answer {
	e := describe(err)
	if e == nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e = &Error{Status: http.StatusServiceUnavailable, Detail: "the request took too long", RetryAfter: time.Second}
		} else {
			e = &Error{Status: http.StatusInternalServerError, Detail: "internal error, request id " + r.id}
		}
		h.opt.Logger.ErrorContext(r.Context(), "request failed", "request_id", r.id, "method", r.Method,
			"path", r.URL.Path, "status", e.Status, "key", r.principal.KeyID, "error", err)
	}
	if e.RetryAfter > 0 {
		r.header.Set("Retry-After", limit.Seconds(e.RetryAfter))
	}
	if len(e.Allow) > 0 {
		r.header.Set("Allow", strings.Join(e.Allow, ", "))
	}
	if e.Authenticate != "" {
		r.header.Set("WWW-Authenticate", e.Authenticate)
	}
	return answer{status: e.Status, body: errorBody{
		Schemas: []string{errorURN}, Status: strconv.Itoa(e.Status), ScimType: e.Type, Detail: clip(e.Detail),
	}}
}

// clip bounds a detail, which may quote what the client sent.
func clip(detail string) string {
	const most = 1000
	if len(detail) <= most {
		return detail
	}
	return strings.ToValidUTF8(detail[:most], "") + "..."
}

// errorBody is an error on the wire; the status is a string there.
type errorBody struct {
	Schemas  []string `json:"schemas"`
	Status   string   `json:"status"`
	ScimType string   `json:"scimType,omitempty"`
	Detail   string   `json:"detail"`
}

// describe returns the answer that an error asks for, or nil when it is nobody's business but ours.
func describe(err error) *Error {
	var (
		known       *Error
		patched     *patch.Error
		value       *schema.ValueError
		syntax      *filter.SyntaxError
		unsupported *filter.UnsupportedError
		duplicate   *store.DuplicateError
		refused     *lifecycle.RefusedError
		unknown     *lifecycle.UnknownMemberError
		cycle       *store.CycleError
		tooLarge    *http.MaxBytesError
	)
	bad := func(scimType, detail string) *Error {
		return &Error{Status: http.StatusBadRequest, Type: scimType, Detail: detail}
	}
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &patched):
		return bad(string(patched.Type), patched.Detail)
	case errors.As(err, &value):
		return bad(invalidValue, value.Error())
	case errors.As(err, &syntax):
		return bad(invalidFilter, "filter: "+syntax.Error())
	case errors.As(err, &unsupported):
		return bad(invalidFilter, "filter: "+unsupported.Error())
	case errors.As(err, &unknown):
		return bad(invalidValue, unknown.Error())
	case errors.As(err, &cycle):
		return bad(invalidValue, cycle.Error())
	case errors.Is(err, store.ErrText):
		return bad(invalidValue, store.ErrText.Error())
	case errors.As(err, &duplicate):
		return &Error{Status: http.StatusConflict, Type: uniqueness, Detail: duplicate.Error()}
	case errors.As(err, &refused):
		return &Error{Status: http.StatusForbidden, Detail: refused.Reason}
	case errors.Is(err, store.ErrNotFound):
		return &Error{Status: http.StatusNotFound, Detail: "there is no such resource"}
	case errors.Is(err, store.ErrStale):
		return &Error{Status: http.StatusPreconditionFailed, Detail: "the resource has changed: its version is not the one of If-Match"}
	case errors.As(err, &tooLarge):
		return &Error{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	}
	return nil
}
