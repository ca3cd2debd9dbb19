package scim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim/limit"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// How strictly a userName must be the primary e-mail address.
const (
	Strict = "strict"
	Warn   = "warn"
	Off    = "off"
)

// What happens to roles that are not known here.
const (
	Reject = "reject"
	Ignore = "ignore"
)

// Options are what a Handler is made of. Store, Applier, Auth and BaseURL are required.
type Options struct {
	Store   *store.Store
	Applier *lifecycle.Applier
	Auth    Authenticator

	// BaseURL is the address that clients use, without /scim/v2, as in "https://idpsync.example". With TrustProxy the
	// headers X-Forwarded-Proto and X-Forwarded-Host take precedence; the Host header never counts.
	BaseURL    string
	TrustProxy bool

	// Enabled tells whether SCIM is switched on, and since or from when it answers. Nil is always on.
	Enabled func(context.Context) (on bool, readyAt time.Time)

	// Closed is asked before Enabled. An error that it returns is the answer to every request: an *Error as it is. Nil is
	// never closed.
	Closed func(context.Context) error

	RequestsPerMinute int    // for each key; 0 means 200, below 0 no limit; Entra asks for 1,500
	MaxResults        int    // resources in one page; 0 means 200
	UserNameIsEmail   string // Strict (also ""), Warn or Off
	UnknownRoles      string // Reject (also "") or Ignore
	Roles             []string

	// StrictReadOnly answers 400 where a client states groups of a user or changes a password, which are otherwise
	// ignored.
	StrictReadOnly bool
	Extensions     []schema.Schema // the site's own, for users

	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil is time.Now
	NewID  func() string    // ids of requests; nil makes UUIDs

	Metrics *Metrics // nil counts nothing
	// RequestID returns the id of a request; wanted is the one that the client chose, or "". Nil: wanted, or NewID.
	RequestID func(ctx context.Context, wanted string) string
	// Served is told of each request that was served: the pattern of its path, and the id of its key, "" where it is not
	// known. Nil is told nothing.
	Served func(ctx context.Context, route, keyID string)
}

// Handler serves /scim/v2. It is safe for concurrent use.
type Handler struct {
	opt      Options
	base     *url.URL
	users    *schema.Resource
	groups   *schema.Resource
	allowed  []string // roles that a push may give
	limits   *limit.Limiter
	discover discovery
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(o Options) (*Handler, error) {
	if o.Store == nil || o.Applier == nil || o.Auth == nil {
		return nil, errors.New("scim: Store, Applier and Auth are required")
	}
	base, err := url.Parse(strings.TrimRight(o.BaseURL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("scim: base URL %q: want http(s)://host", o.BaseURL)
	}
	users, err := schema.Users(o.Extensions...)
	if err != nil {
		return nil, fmt.Errorf("scim: %w", err)
	}
	if err := setDefaults(&o); err != nil {
		return nil, err
	}
	h := &Handler{
		opt: o, base: base, users: users, groups: schema.Groups(),
		allowed: allowedRoles(o.Roles), limits: limit.New(o.RequestsPerMinute),
	}
	h.discover = newDiscovery(h)
	return h, nil
}

func setDefaults(o *Options) error {
	if o.RequestsPerMinute == 0 {
		o.RequestsPerMinute = 200
	}
	if o.MaxResults <= 0 {
		o.MaxResults = 200
	}
	if o.UserNameIsEmail == "" {
		o.UserNameIsEmail = Strict
	}
	if o.UnknownRoles == "" {
		o.UnknownRoles = Reject
	}
	if !slices.Contains([]string{Strict, Warn, Off}, o.UserNameIsEmail) {
		return fmt.Errorf("scim: user_name_is_email %q: want strict, warn or off", o.UserNameIsEmail)
	}
	if !slices.Contains([]string{Reject, Ignore}, o.UnknownRoles) {
		return fmt.Errorf("scim: unknown_roles %q: want reject or ignore", o.UnknownRoles)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	if o.RequestID == nil {
		newID := o.NewID
		o.RequestID = func(_ context.Context, wanted string) string {
			if wanted != "" {
				return wanted
			}
			return newID()
		}
	}
	return nil
}

// ServeHTTP answers a request, and one that makes the handler panic with 500.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := time.Now()
	req = req.WithContext(store.WithOrigin(req.Context(), "push"))
	r := h.newRequest(w, req)
	w.Header().Set("X-Request-Id", r.id)
	a, err := h.answer(r)
	if err != nil {
		a = h.failure(r, err)
	}
	h.served(r, a.status, time.Since(began))
	if err := a.write(w, req.Method == http.MethodHead); err != nil {
		// What was sent so far must not be taken for a whole answer.
		h.opt.Logger.ErrorContext(r.Context(), "answer broke off", "request_id", r.id, "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
}

func (h *Handler) answer(r *request) (answer, error) {
	return guarded(func() (answer, error) {
		if err := h.admit(r); err != nil {
			return answer{}, err
		}
		return h.route(r)
	})
}

// guarded runs f, and turns a panic into an error.
func guarded[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// admit lets a request in: the setting, the key, the rate limit.
func (h *Handler) admit(r *request) error {
	now := h.opt.Now()
	if h.opt.Closed != nil {
		if err := h.opt.Closed(r.Context()); err != nil {
			return err
		}
	}
	if h.opt.Enabled != nil {
		on, readyAt := h.opt.Enabled(r.Context())
		if !on {
			return &Error{Status: http.StatusForbidden, Detail: "SCIM provisioning is disabled"}
		}
		if wait := readyAt.Sub(now); wait > 0 {
			return &Error{
				Status: http.StatusServiceUnavailable, Detail: "SCIM provisioning was enabled and is about to begin",
				RetryAfter: wait,
			}
		}
	}
	if err := h.authenticate(r); err != nil {
		return err
	}
	state := h.limits.Take(r.principal.KeyID, now)
	state.SetHeaders(r.header)
	if !state.Allowed {
		return &Error{
			Status: http.StatusTooManyRequests, RetryAfter: state.RetryAfter,
			Detail: fmt.Sprintf("more than %d requests a minute with this key", h.opt.RequestsPerMinute),
		}
	}
	if r.badQuery {
		return &Error{Status: http.StatusBadRequest, Type: invalidSyntax, Detail: "the query string cannot be read"}
	}
	return nil
}

// action answers one method of one kind of path; id is the last segment where the path has one.
type action func(r *request, id string) (answer, error)

// route finds the action for a path and method.
func (h *Handler) route(r *request) (answer, error) {
	actions, id := h.actions(r.segments)
	if actions == nil {
		return answer{}, &Error{Status: http.StatusNotFound, Detail: "there is no such endpoint"}
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	act, ok := actions[method]
	if !ok {
		return answer{}, &Error{
			Status: http.StatusMethodNotAllowed, Detail: r.Method + " is not possible here", Allow: methods(actions),
		}
	}
	return act(r, id)
}

func methods(actions map[string]action) []string {
	allowed := []string{}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if actions[m] != nil {
			allowed = append(allowed, m)
		}
	}
	return allowed
}

func (h *Handler) actions(segments []string) (actions map[string]action, id string) {
	if segments == nil || len(segments) > 2 {
		return nil, ""
	}
	if len(segments) == 0 {
		return map[string]action{http.MethodGet: h.list(h.users, h.groups)}, ""
	}
	one := len(segments) == 2
	if one {
		id = segments[1]
	}
	switch {
	case segments[0] == ".search" && !one:
		return map[string]action{http.MethodPost: h.search(h.list(h.users, h.groups))}, ""
	case segments[0] == "Users" && id == ".search":
		return map[string]action{http.MethodPost: h.search(h.list(h.users))}, ""
	case segments[0] == "Groups" && id == ".search":
		return map[string]action{http.MethodPost: h.search(h.list(h.groups))}, ""
	case segments[0] == "Bulk" && !one:
		return map[string]action{http.MethodPost: h.bulkRequest}, ""
	case segments[0] == "Me" && !one:
		return map[string]action{
			http.MethodGet: h.me(h.getUser), http.MethodPost: h.me(h.postMe), http.MethodPut: h.me(h.replaceUser),
			http.MethodPatch: h.me(h.patchUser), http.MethodDelete: h.me(h.deleteMe),
		}, ""
	case segments[0] == "Users" && one:
		return map[string]action{
			http.MethodGet: h.getUser, http.MethodPut: h.replaceUser,
			http.MethodPatch: h.patchUser, http.MethodDelete: h.deleteUser,
		}, id
	case segments[0] == "Users":
		return map[string]action{http.MethodGet: h.list(h.users), http.MethodPost: h.createUser}, ""
	case segments[0] == "Groups" && one:
		return map[string]action{
			http.MethodGet: h.getGroup, http.MethodPut: h.replaceGroup,
			http.MethodPatch: h.patchGroup, http.MethodDelete: h.deleteGroup,
		}, id
	case segments[0] == "Groups":
		return map[string]action{http.MethodGet: h.list(h.groups), http.MethodPost: h.createGroup}, ""
	case segments[0] == "ServiceProviderConfig" && !one:
		return map[string]action{http.MethodGet: h.serviceProviderConfig}, ""
	case segments[0] == "ResourceTypes":
		return map[string]action{http.MethodGet: h.resourceTypes}, id
	case segments[0] == "Schemas":
		return map[string]action{http.MethodGet: h.schemas}, id
	}
	return nil, ""
}

func (r *request) actor() identity.Actor {
	return identity.Actor{Kind: "key", ID: r.principal.KeyID, Name: r.principal.KeyName, RequestID: r.id}
}
