package console

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/store/identity"
)

// People tells who is signed in. *signin.Service is one.
type People interface {
	Session(r *http.Request) (*signin.Session, error) // signin.ErrNoSession for nobody
	Protect(next http.Handler) http.Handler
}

var _ People = (*signin.Service)(nil)

// Options are what a Console is made of. API, People and Logger are required.
type Options struct {
	API     http.Handler // serves /api/v1, and reads the session from the request's context
	People  People
	Version string           // of the program, shown at the foot of every page
	Secure  bool             // browsers reach the service over https: cookies are for https only
	Now     func() time.Time // nil is time.Now
	Logger  *slog.Logger
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	o      Options
	now    func() time.Time
	logger *slog.Logger
	assets *assets
	pages  map[string]*template.Template
}

// New returns a Console.
func New(o Options) (*Console, error) {
	if o.API == nil || o.People == nil || o.Logger == nil {
		return nil, errors.New("console: API, People and Logger are required")
	}
	c := &Console{o: o, now: o.Now, logger: o.Logger}
	if c.now == nil {
		c.now = time.Now
	}
	var err error
	if c.assets, err = readAssets(); err != nil {
		return nil, err
	}
	c.pages, err = c.parsePages()
	return c, err
}

// Handler serves the console's pages at / and what they are made of below /assets/.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+assetPath, c.assets)
	c.get(mux, "/{$}", c.overview)
	c.get(mux, "/", c.nothing)
	c.registerRuns(mux)
	c.registerPeople(mux)
	c.registerGroups(mux)
	c.registerMapping(mux)
	c.registerConflicts(mux)
	c.registerAudit(mux)
	c.registerSettings(mux)
	c.post(mux, "/theme", levelNone, c.setTheme)
	return secured(c.o.People.Protect(mux))
}

// A viewer answers a request for a page. A doer changes something and returns where to go on; a view instead where there is
// something to show at once: what is wrong with a form, or a secret that is shown once.
type (
	viewer func(*request) (*view, error)
	doer   func(*request) (next string, v *view, err error)
)

// get registers a page. It takes the role viewer on the root team: whoever has none is sent to their own account.
func (c *Console) get(mux *http.ServeMux, path string, page viewer) {
	c.getAt(mux, path, levelViewer, page)
}

// getAt registers a page that takes another role, or none.
func (c *Console) getAt(mux *http.ServeMux, path string, needed level, page viewer) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		q := c.begin(w, r)
		if q == nil {
			return
		}
		if q.Level < needed {
			http.Redirect(w, r, "/account", http.StatusSeeOther)
			return
		}
		v, err := page(q)
		if err != nil {
			c.fail(q, err)
			return
		}
		c.show(q, v.statusOr(http.StatusOK), v)
	})
}

// post registers a change. needed is for the message only: the API decides.
func (c *Console) post(mux *http.ServeMux, path string, needed level, do doer) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		q := c.begin(w, r)
		if q == nil {
			return
		}
		q.Body = http.MaxBytesReader(w, q.Body, maxForm)
		if err := q.ParseForm(); err != nil {
			c.fail(q, &api.Problem{Status: http.StatusBadRequest, Title: "The form could not be read", Detail: "It is too long or broken: go back and try again."})
			return
		}
		if q.Level < needed {
			c.fail(q, &api.Problem{Status: http.StatusForbidden, Title: "Not allowed", Detail: "This takes the role " + needed.String() + " on the root team."})
			return
		}
		next, v, err := do(q)
		switch {
		case err != nil:
			c.fail(q, err)
		case v != nil:
			c.show(q, v.statusOr(http.StatusOK), v)
		default:
			q.setFlash()
			http.Redirect(w, r, next, http.StatusSeeOther)
		}
	})
}

// maxForm bounds what a form may send: a whole role mapping fits.
const maxForm = 1 << 20

// begin returns the request with who makes it, or answers it itself and returns nil.
func (c *Console) begin(w http.ResponseWriter, r *http.Request) *request {
	session, err := c.o.People.Session(r)
	switch {
	case errors.Is(err, signin.ErrNoSession):
		c.toSignIn(w, r)
		return nil
	case err != nil:
		c.fail(&request{Request: r, w: w, c: c}, err)
		return nil
	}
	ctx := signin.WithSession(r.Context(), session)
	// Protect has seen to where the request comes from; the API inside sees one from a page of its own.
	header := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	return &request{
		Request: r.WithContext(ctx), w: w, c: c, Session: session, Level: levelOf(session.RootRoles),
		API: client.New("http://console", client.Inside{Handler: c.o.API}, header),
	}
}

// toSignIn sends a browser to sign in and come back. htmx would put the page where a part of one belongs: it is told
// to go there as a whole.
func (c *Console) toSignIn(w http.ResponseWriter, r *http.Request) {
	back := r.URL.RequestURI()
	if isPart(r) || r.Method != http.MethodGet {
		back = "/"
		if at, err := url.Parse(r.Header.Get("HX-Current-URL")); err == nil && at.Path != "" {
			back = at.RequestURI()
		} else if at, err := url.Parse(r.Referer()); err == nil && at.Host == r.Host && at.Path != "" {
			back = at.RequestURI()
		}
	}
	to := "/sign-in?" + url.Values{"return_to": {back}}.Encode()
	if isPart(r) {
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (c *Console) nothing(*request) (*view, error) {
	return nil, &api.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no such page."}
}

// level is what somebody may do here, by their roles on the root team.
type level int

const (
	levelNone level = iota
	levelViewer
	levelOperator
	levelAdmin
)

var levelRoles = [...]identity.Role{levelViewer: identity.RoleViewer, levelOperator: identity.RoleOperator, levelAdmin: identity.RoleAdmin}

func (l level) String() string { return levelRoles[l] }

func levelOf(roles []identity.Role) level {
	for l := levelAdmin; l > levelNone; l-- {
		if slices.Contains(roles, levelRoles[l]) {
			return l
		}
	}
	return levelNone
}

// secured sets what browsers are told of every page: nothing is loaded from elsewhere, nothing inline runs, nobody puts
// the page into a frame, and nothing of it is kept.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
