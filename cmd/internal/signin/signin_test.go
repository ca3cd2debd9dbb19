package signin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// cheap is a hash with parameters that are not ours any more, of the password "password": the reference
// implementation's vector.
const cheap = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// door is a Service over an empty database, and one local admin.
type door struct {
	*testing.T
	*signin.Service
	clock    *clock
	store    *store.Store
	admin    identity.User
	registry *prometheus.Registry
}

func newDoor(t *testing.T, edit ...func(*signin.Options)) *door {
	t.Helper()
	d := &door{T: t, clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, store: storetest.SQLite(t), registry: prometheus.NewRegistry()}
	applier, err := lifecycle.New(lifecycle.Options{Store: d.store, Now: d.clock.Now})
	d.must(err)
	o := signin.Options{
		Store: d.store, Applier: applier, Passwords: true, Lifetime: 12 * time.Hour, Idle: time.Hour, Now: d.clock.Now,
		Metrics: signin.NewMetrics(d.registry), Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range edit {
		f(&o)
	}
	d.Service, err = signin.New(o)
	d.must(err)
	d.admin, err = applier.CreateAdmin(t.Context(), identity.Actor{Kind: "cli"}, "glass@acme.test", cheap, false)
	d.must(err)
	return d
}

func (d *door) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// post sends a form and returns the answer.
func (d *door) post(path, form string, cookies ...*http.Cookie) *http.Response {
	d.Helper()
	r := httptest.NewRequestWithContext(d.Context(), http.MethodPost, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	return w.Result()
}

// signIn signs the admin in and returns a request of the browser's.
func (d *door) signIn() *http.Request {
	d.Helper()
	answer := d.post("/sign-in", "user_name=glass@acme.test&password=password")
	if answer.StatusCode != http.StatusSeeOther {
		d.Fatalf("POST /sign-in = %d, want 303", answer.StatusCode)
	}
	r := httptest.NewRequestWithContext(d.Context(), http.MethodGet, "/", nil)
	for _, c := range answer.Cookies() {
		r.AddCookie(c)
	}
	return r
}

func (d *door) wantSession(r *http.Request, want bool, when string) {
	d.Helper()
	s, err := d.Session(r)
	switch {
	case want && err != nil:
		d.Errorf("%s: Session: %v", when, err)
	case want && (s.UserID != d.admin.ID || !s.Has(identity.RoleAdmin) || s.Has(identity.RoleViewer) || s.Method != lifecycle.MethodPassword):
		d.Errorf("%s: Session = %+v", when, s)
	case !want && !errors.Is(err, signin.ErrNoSession):
		d.Errorf("%s: Session: error %v, want %v", when, err, signin.ErrNoSession)
	}
}

func TestSession_Ends(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	idle, used := d.signIn(), d.signIn()
	for range 12 {
		d.clock.advance(59 * time.Minute)
		d.wantSession(used, true, "while it is used")
	}
	d.wantSession(idle, false, "after it was idle")
	d.clock.advance(12 * time.Minute) // not idle for an hour, and 12 hours since it began
	d.wantSession(used, false, "after its lifetime")
	nothing := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	d.wantSession(nothing, false, "without a cookie")
	for _, value := range []string{"", "x", strings.Repeat("x", 43), strings.Repeat("x", 5000)} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: "idpsync", Value: value})
		d.wantSession(r, false, "with another token")
	}
}

func TestSession_IsInNoTable(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	r := d.signIn()
	for _, c := range r.Cookies() {
		for _, table := range []string{"sessions", "known_browsers", "audit_events"} {
			rows, err := d.store.DB().QueryContext(t.Context(), "SELECT * FROM "+table)
			d.must(err)
			columns, err := rows.Columns()
			d.must(err)
			for rows.Next() {
				values, targets := make([][]byte, len(columns)), make([]any, len(columns))
				for i := range values {
					targets[i] = &values[i]
				}
				d.must(rows.Scan(targets...))
				for i := range values {
					if strings.Contains(string(values[i]), c.Value) {
						t.Errorf("the token of the cookie %s is in %s.%s", c.Name, table, columns[i])
					}
				}
			}
			d.must(rows.Err())
			_ = rows.Close()
		}
	}
}

// TestSignIn_RenewsTheHash: an old hash is let in, and stored as hashes are made now.
func TestSignIn_RenewsTheHash(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.signIn()
	hash, err := d.store.PasswordHash(t.Context(), d.admin.ID)
	d.must(err)
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash after a sign-in: %s", hash)
	}
	d.signIn()
	if again, err := d.store.PasswordHash(t.Context(), d.admin.ID); again != hash || err != nil {
		t.Errorf("a hash of today was made anew: %s, %v", again, err)
	}
}

func TestRequire(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	var seen *signin.Session
	handler := d.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = signin.SessionFrom(r.Context()) }))
	in := d.signIn()
	for _, tc := range []struct {
		method string
		in     bool
		status int
		to     string
	}{
		{http.MethodGet, false, http.StatusSeeOther, "/sign-in?return_to=%2Fruns%3Fa%3D1"},
		{http.MethodPost, false, http.StatusUnauthorized, ""},
		{http.MethodGet, true, http.StatusOK, ""},
		{http.MethodPost, true, http.StatusOK, ""},
	} {
		seen = nil
		r := httptest.NewRequestWithContext(t.Context(), tc.method, "/runs?a=1", nil)
		if tc.in {
			for _, c := range in.Cookies() {
				r.AddCookie(c)
			}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != tc.status || w.Header().Get("Location") != tc.to || (seen != nil) != tc.in {
			t.Errorf("%s, signed in %v: %d to %q, seen %v", tc.method, tc.in, w.Code, w.Header().Get("Location"), seen)
		}
	}
	if s := signin.SessionFrom(t.Context()); s != nil {
		t.Errorf("SessionFrom of another context = %v", s)
	}
}

func TestWatch_StopWaits(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	session, err := d.Session(d.signIn())
	d.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	watched, stop := d.Watch(ctx, session)
	cancel()
	<-watched.Done()
	stop()
	watched, stop = d.Watch(t.Context(), session)
	stop()
	if cause := context.Cause(watched); !errors.Is(cause, context.Canceled) {
		t.Errorf("the watch that was stopped ended by %v", cause)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.signIn()
	d.post("/sign-in", "user_name=glass@acme.test&password=wrong")
	for range 9 {
		d.post("/sign-in", "user_name=nobody&password=x") // mostly waits
	}
	const want = `
# HELP idpsync_sign_ins_total Sign-ins, by method (password, saml, oidc) and outcome (succeeded, failed, refused, blocked, error).
# TYPE idpsync_sign_ins_total counter
idpsync_sign_ins_total{method="password",outcome="blocked"} 4
idpsync_sign_ins_total{method="password",outcome="failed"} 6
idpsync_sign_ins_total{method="password",outcome="succeeded"} 1
`
	if err := testutil.GatherAndCompare(d.registry, strings.NewReader(want), "idpsync_sign_ins_total"); err != nil {
		t.Error(err)
	}
}

// provider is an identity provider whose answer is never to be believed, or that has none.
type provider struct {
	name string
	err  error
}

func (p provider) Name() string { return p.name }

func (p provider) Begin(http.ResponseWriter, *http.Request, string) error { return p.err }

func (p provider) Finish(http.ResponseWriter, *http.Request) (*assertion.Assertion, error) {
	return nil, p.err
}

func (provider) Handler() http.Handler { return nil }

// TestSSO_UnbelievedAnswers sees that anybody who posts answers of their own making fills no audit log.
func TestSSO_UnbelievedAnswers(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *signin.Options) {
		refused := &assertion.RefusedError{Provider: assertion.SAML, Reason: assertion.ReasonSignature, Detail: "for operators"}
		o.Providers = []signin.Provider{{Provider: provider{assertion.SAML, refused}}}
	})
	recorded := func() (n int) {
		d.must(d.store.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM audit_events WHERE type = 'signin.failed' AND reason = 'signature'").Scan(&n))
		return n
	}
	for _, want := range []int{60, 61} {
		for range 100 {
			answer := d.post("/sign-in/saml/acs", "SAMLResponse=x")
			body, err := io.ReadAll(answer.Body)
			d.must(err)
			if answer.StatusCode != http.StatusForbidden || strings.Contains(string(body), "operators") {
				t.Fatalf("%d\n%s", answer.StatusCode, body)
			}
		}
		if n := recorded(); n != want {
			t.Errorf("%d refusals are recorded, want %d", n, want)
		}
		d.clock.advance(time.Second)
	}
}

// TestSSO_Begins sees that who asks all day fills no memory, and keeps nobody else out.
func TestSSO_Begins(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *signin.Options) { o.Providers = []signin.Provider{{Provider: provider{assertion.SAML, nil}}} })
	handler := d.Handler()
	begin := func() (allowed int, last http.Header) {
		for range 300 {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/sign-in/saml", nil))
			if last = w.Header(); w.Code != http.StatusTooManyRequests {
				allowed++
			}
		}
		return allowed, last
	}
	if n, header := begin(); n != 200 || header.Get("Retry-After") != "1" {
		t.Errorf("%d of 300 sign-ins begin at once, Retry-After %q, want 200 and 1", n, header.Get("Retry-After"))
	}
	d.clock.advance(time.Second)
	if n, _ := begin(); n != 10 {
		t.Errorf("%d more begin a second later, want 10", n)
	}
}

func TestSSO_Unavailable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		status int
	}{
		{&assertion.UnavailableError{Provider: assertion.OIDC, Err: errors.New("dial tcp 192.0.2.1")}, http.StatusBadGateway},
		{errors.New("driver text"), http.StatusInternalServerError},
	} {
		d := newDoor(t, func(o *signin.Options) { o.Providers = []signin.Provider{{Provider: provider{assertion.OIDC, tc.err}}} })
		for _, path := range []string{"/sign-in/oidc", "/sign-in/oidc/callback"} {
			w := httptest.NewRecorder()
			d.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if w.Code != tc.status || strings.Contains(w.Body.String(), "driver") || strings.Contains(w.Body.String(), "dial") {
				t.Errorf("%v at %s: %d, want %d without the cause:\n%s", tc.err, path, w.Code, tc.status, w.Body)
			}
		}
	}
}

func TestSignIn_FormsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	if answer := d.post("/sign-in", "user_name=a&password="+strings.Repeat("x", 20<<10)); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a form of 20 KiB: %d, want 400", answer.StatusCode)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	m := signin.NewMemory(storetest.SQLite(t), c.Now)
	put := func(want bool) {
		t.Helper()
		if ok, err := m.Put(t.Context(), "state", "k", "v", c.Now().Add(time.Minute)); ok != want || err != nil {
			t.Errorf("Put = %v, %v, want %v", ok, err, want)
		}
	}
	take := func(want string, there bool) {
		t.Helper()
		if got, ok, err := m.Take(t.Context(), "state", "k"); got != want || ok != there || err != nil {
			t.Errorf("Take = %q, %v, %v, want %q, %v", got, ok, err, want, there)
		}
	}
	take("", false)
	put(true)
	put(false)
	take("v", true)
	take("", false)
	put(true)
	c.advance(time.Minute)
	take("", false)
}

func TestCheckChosen(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]string{
		"correct horse battery":       "",
		"пароль из слов":              "", // 14 characters
		"thirteen char":               "fewer than 14",
		"":                            "fewer than 14",
		"abcabcabcabcabcabc":          "repeats a few characters",
		"Glass@Acme.Test 2026":        "holds the name",
		"my glass is half full":       "holds the name",
		strings.Repeat("abcdef", 200): "longer than 1024 bytes",
	} {
		err := signin.CheckChosen(password, "glass@acme.test")
		var weak *signin.WeakPasswordError
		if want == "" && err != nil || want != "" && (!errors.As(err, &weak) || !strings.Contains(weak.Reason, want)) {
			t.Errorf("CheckChosen(%.30q) = %v, want %q", password, err, want)
		}
	}
}

func TestNew_Incomplete(t *testing.T) {
	t.Parallel()
	if _, err := signin.New(signin.Options{}); err == nil {
		t.Error("New without anything, want an error")
	}
}

// TestRun_Prunes sees that what is over is forgotten.
func TestRun_Prunes(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	old := lifecycle.SessionIn(lifecycle.MethodPassword, d.clock.Now().AddDate(-1, 0, 0), time.Hour, time.Hour)
	old.ID, old.Hash, old.UserID = uuid.NewString(), []byte("old"), d.admin.ID
	d.must(d.store.InTx(t.Context(), func(tx *store.Tx) error { return tx.InsertSession(t.Context(), &old) }))
	in := d.signIn()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- d.Service.Run(ctx) }()
	left := func() (n int) {
		d.must(d.store.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM sessions").Scan(&n))
		return n
	}
	for deadline := time.Now().Add(30 * time.Second); left() > 1; {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are left, want 1", left())
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	d.must(<-ran)
	d.wantSession(in, true, "after pruning")
}

// TestSignIn_AtOnce: tries made at once count each, before any of their passwords is checked, and the audit log has one
// event of the block.
func TestSignIn_AtOnce(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	handler := d.Handler()
	const tries = 20
	var wait sync.WaitGroup
	status := make([]int, tries)
	for i := range tries {
		wait.Go(func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/sign-in", strings.NewReader("user_name=glass@acme.test&password=wrong"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			status[i] = w.Code
		})
	}
	wait.Wait()
	count := map[int]int{}
	for _, code := range status {
		count[code]++
	}
	if count[http.StatusForbidden] != 5 || count[http.StatusTooManyRequests] != tries-5 {
		t.Errorf("answers by status: %v, want 5 of 403, the others 429", count)
	}
	events, err := d.store.Audit(t.Context(), store.AuditQuery{Limit: 100})
	d.must(err)
	blocked := 0
	for _, e := range events {
		if e.Type == identity.EventSignInBlocked {
			blocked++
			if e.ObjectID != d.admin.ID || e.Name != d.admin.UserName {
				t.Errorf("the block is told as %+v", e)
			}
		}
	}
	if blocked != 1 {
		t.Errorf("%d blocks are recorded, want 1", blocked)
	}
}

func BenchmarkSession(b *testing.B) {
	for name, open := range map[string]func(testing.TB) *store.Store{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			applier, err := lifecycle.New(lifecycle.Options{Store: s})
			if err != nil {
				b.Fatal(err)
			}
			people, err := signin.New(signin.Options{Store: s, Applier: applier, Passwords: true, Lifetime: time.Hour, Idle: time.Hour, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := applier.CreateAdmin(b.Context(), identity.Actor{Kind: "cli"}, "glass@acme.test", cheap, false); err != nil {
				b.Fatal(err)
			}
			in := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/sign-in", strings.NewReader("user_name=glass@acme.test&password=password"))
			in.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			people.Handler().ServeHTTP(w, in)
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/", nil)
			for _, c := range w.Result().Cookies() {
				r.AddCookie(c)
			}
			for b.Loop() {
				if _, err := people.Session(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
