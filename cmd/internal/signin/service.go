package signin

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Provider is an identity provider at which people sign in.
type Provider struct {
	assertion.Provider
	Provision bool // who is unknown gets an account, while SCIM is off
}

// Options are what a Service is made of. Store, Applier, Logger, Lifetime and Idle are required.
type Options struct {
	Store     *store.Store
	Applier   *lifecycle.Applier
	Providers []Provider
	Passwords bool          // local accounts may sign in with a password
	Lifetime  time.Duration // of a session, at most
	Idle      time.Duration // of a session, without a request
	Secure    bool          // browsers reach the service over https: cookies are for https only
	BaseURL   string        // as browsers see it, or ""
	Metrics   *Metrics      // nil counts nothing
	Now       func() time.Time
	Logger    *slog.Logger
}

// Service signs people in and out, and knows who is signed in. It keeps nothing in memory: whatever ends a session
// counts from the next request on, on every replica. It is safe for concurrent use.
type Service struct {
	store       *store.Store
	applier     *lifecycle.Applier
	providers   map[string]Provider
	passwords   bool
	lifetime    time.Duration
	idle        time.Duration
	secure      bool
	now         func() time.Time
	logger      *slog.Logger
	metrics     *Metrics
	hasher      *hasher
	begins      begins
	pages       *template.Template
	crossOrigin *http.CrossOriginProtection
	unbelieved  *rate.Limiter // of what the audit log is told of answers that are not to be believed: anybody may post some
}

// unbelievedBurst is how many such answers are recorded at once; then it is one a second. All are logged and counted.
const unbelievedBurst = 60

// New returns a Service.
func New(o Options) (*Service, error) {
	if o.Store == nil || o.Applier == nil || o.Logger == nil || o.Lifetime <= 0 || o.Idle <= 0 {
		return nil, errors.New("signin: Store, Applier, Logger, Lifetime and Idle are required")
	}
	s := &Service{
		store: o.Store, applier: o.Applier, providers: map[string]Provider{}, passwords: o.Passwords, lifetime: o.Lifetime, idle: o.Idle,
		secure: o.Secure, now: o.Now, logger: o.Logger, metrics: o.Metrics, hasher: newHasher(), crossOrigin: http.NewCrossOriginProtection(),
		unbelieved: rate.NewLimiter(1, unbelievedBurst),
	}
	if s.now == nil {
		s.now = time.Now
	}
	for _, p := range o.Providers {
		s.providers[p.Name()] = p
	}
	var err error
	if s.pages, err = parsePages(); err != nil {
		return nil, err
	}
	s.crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusForbidden, "This was asked for by a page of another site, and was not done.")
	}))
	// The identity provider's page posts its answer from another site; what protects it is bound to the browser by a
	// cookie (assertion.Cookie).
	s.crossOrigin.AddInsecureBypassPattern("POST " + assertion.PathSAMLAnswer)
	if origin := originOf(o.BaseURL); origin != "" {
		// A proxy in front may call us by another name than the browser does.
		if err := s.crossOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func originOf(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// Protect refuses requests that change something and were made by another site's page. Whatever accepts a session has to
// stand behind it.
func (s *Service) Protect(next http.Handler) http.Handler { return s.crossOrigin.Handler(next) }

// Serves tells whether Handler has the page at a path.
func Serves(path string) bool {
	for _, own := range []string{pathSignIn, pathSignOut, pathAccount} {
		if path == own || strings.HasPrefix(path, own+"/") {
			return true
		}
	}
	return false
}

// Handler serves the pages /sign-in, /sign-out and /account, what is below them, and what single sign-on needs. It
// protects itself.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathStyle, file("style.css"))
	mux.HandleFunc("GET "+pathIcon, file("icon.svg"))
	mux.HandleFunc("GET "+pathSignIn, s.signInPage)
	if s.passwords {
		mux.HandleFunc("POST "+pathSignIn, s.signIn)
	}
	mux.HandleFunc("POST "+pathSignOut, s.signOut)
	mux.Handle("GET "+pathAccount, s.Require(http.HandlerFunc(s.account)))
	mux.Handle("POST "+pathPassword, s.Require(http.HandlerFunc(s.changePassword)))
	mux.Handle("POST "+pathSessions+"/{id}/end", s.Require(http.HandlerFunc(s.endSession)))
	for name, paths := range map[string][2]string{
		assertion.SAML: {"GET " + assertion.PathSAML, "POST " + assertion.PathSAMLAnswer},
		assertion.OIDC: {"GET " + assertion.PathOIDC, "GET " + assertion.PathOIDCAnswer},
	} {
		if p, ok := s.providers[name]; ok {
			mux.HandleFunc(paths[0], func(w http.ResponseWriter, r *http.Request) { s.beginSSO(w, r, p) })
			mux.HandleFunc(paths[1], func(w http.ResponseWriter, r *http.Request) { s.finishSSO(w, r, p) })
		}
	}
	if p, ok := s.providers[assertion.SAML]; ok && p.Handler() != nil {
		mux.Handle("GET "+assertion.PathSAMLMetadata, p.Handler())
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusNotFound, "There is nothing here.")
	})
	return secured(s.Protect(mux))
}

// Run forgets what has served its time, now and then, and lets identity providers' parts keep up to date, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.prune(ctx) })
	for _, p := range s.providers {
		if runner, ok := p.Provider.(assertion.Runner); ok {
			group.Go(func() error { return runner.Run(ctx) })
		}
	}
	return group.Wait()
}

func (s *Service) prune(ctx context.Context) error {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		now := s.now()
		if err := s.store.PruneSignIn(ctx, now, now.Add(-forgetAfter), now.Add(-keepFor)); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "prune sign-ins", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

const (
	pruneEvery = 10 * time.Minute
	keepFor    = 90 * 24 * time.Hour // sessions after their end, and browsers after their last use
)

// maker is who acts before it is known who signs in.
func maker(r *http.Request) identity.Actor {
	return identity.Actor{Kind: "system", ID: "sign-in", Name: "sign-in", RequestID: httpserver.RequestID(r.Context())}
}

// Outcomes of a sign-in, as they are counted.
const (
	outcomeSucceeded = "succeeded"
	outcomeFailed    = "failed"  // the credential was wrong, or is nobody's
	outcomeRefused   = "refused" // the credential was right, or the identity provider's answer not to be believed
	outcomeBlocked   = "blocked" // not tried: too many failed before
	outcomeError     = "error"   // our own, or the identity provider could not be reached
)

// Metrics count sign-ins.
type Metrics struct{ signIns *prometheus.CounterVec }

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "idpsync_sign_ins_total", Help: "Sign-ins, by method (password, saml, oidc) and outcome (succeeded, failed, refused, blocked, error).",
	}, []string{"method", "outcome"})}
	r.MustRegister(m.signIns)
	return m
}

func (m *Metrics) count(method, outcome string) {
	if m != nil {
		m.signIns.WithLabelValues(method, outcome).Inc()
	}
}

// memory is what single sign-on remembers, in the store.
type memory struct {
	store *store.Store
	now   func() time.Time
}

// NewMemory returns what identity providers' parts remember by, shared by all replicas. A nil now is time.Now.
func NewMemory(s *store.Store, now func() time.Time) assertion.Memory {
	if now == nil {
		now = time.Now
	}
	return memory{s, now}
}

func (m memory) Put(ctx context.Context, kind, key, value string, expires time.Time) (bool, error) {
	return m.store.Remember(ctx, kind, key, value, m.now(), expires)
}

func (m memory) Take(ctx context.Context, kind, key string) (string, bool, error) {
	value, err := m.store.Recall(ctx, kind, key, m.now())
	if errors.Is(err, store.ErrNotFound) {
		return "", false, nil
	}
	return value, err == nil, err
}
