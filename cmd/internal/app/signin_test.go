package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

const password = "correct horse battery staple"

// hashed is the password's hash: making one takes a while.
var hashed = sync.OnceValues(func() (string, error) { return signin.HashPassword(password) })

var tester = identity.Actor{Kind: "cli", ID: "test", Name: "test"}

// site is the program serving, to be used by browsers.
type site struct {
	*testing.T
	app *app.App
	url string
}

// serve starts the program with a configuration besides the database, and stops it with the test.
func serve(t *testing.T, dsn, text string) *site {
	t.Helper()
	config, err := configs.Parse("idpsync.yaml", fmt.Appendf(nil, "listen: 127.0.0.1:0\ndatabase: %q\n%s", dsn, text))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, app: open(t, config)}
	ctx, stop := context.WithCancel(t.Context())
	served, urls := make(chan error, 1), make(chan string, 1)
	go func() { served <- s.app.Serve(ctx, func(url string) { urls <- url }) }()
	select {
	case s.url = <-urls:
	case err := <-served:
		t.Fatalf("Serve: %v", err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// admin makes a local admin with the password.
func (s *site) admin(email string) identity.User {
	s.Helper()
	hash, err := hashed()
	s.must(err)
	u, err := s.app.Applier.CreateAdmin(s.Context(), tester, email, hash, false)
	s.must(err)
	return u
}

// events returns the audit events of a type, the newest first, with reason.
func (s *site) events(kind identity.EventType) []string {
	s.Helper()
	all, err := s.app.Store.Audit(s.Context(), store.AuditQuery{Limit: 1000})
	s.must(err)
	var list []string
	for _, e := range all {
		if e.Type == kind {
			list = append(list, strings.TrimSpace(e.Name+" "+e.Reason))
		}
	}
	return list
}

// browser keeps cookies, and follows redirections on the site alone.
type browser struct {
	*site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	s.must(err)
	return &browser{s, &http.Client{Jar: jar, Timeout: time.Minute}}
}

// on is the same browser on another replica.
func (b *browser) on(s *site) *browser {
	other := &browser{s, b.client}
	from, err := url.Parse(b.url)
	b.must(err)
	to, err := url.Parse(s.url)
	b.must(err)
	b.client.Jar.SetCookies(to, b.client.Jar.Cookies(from))
	return other
}

// page is an answer, where redirections led.
type page struct {
	status int
	path   string
	body   string
	header http.Header
}

func (b *browser) do(r *http.Request, err error) page {
	b.Helper()
	b.must(err)
	answer, err := b.client.Do(r)
	b.must(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	b.must(err)
	return page{answer.StatusCode, answer.Request.URL.RequestURI(), string(body), answer.Header}
}

func (b *browser) get(path string) page {
	b.Helper()
	return b.do(http.NewRequestWithContext(b.Context(), http.MethodGet, b.url+path, nil))
}

func (b *browser) post(path string, form url.Values, header ...string) page {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.url+path, strings.NewReader(form.Encode()))
	b.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return b.do(r, nil)
}

func (b *browser) signIn(name, password string) page {
	b.Helper()
	return b.post("/sign-in", url.Values{"user_name": {name}, "password": {password}})
}

func (b *browser) want(p page, status int, path string, texts ...string) {
	b.Helper()
	if p.status != status || p.path != path {
		b.Errorf("%d at %s, want %d at %s:\n%s", p.status, p.path, status, path, p.body)
		return
	}
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			b.Errorf("%s is without %q:\n%s", path, text, p.body)
		}
	}
}

// signedIn tells whether the browser gets to see its account.
func (b *browser) signedIn() bool {
	b.Helper()
	return b.get("/account").path == "/account"
}

func (b *browser) wantSignedIn(want bool, when string) {
	b.Helper()
	if got := b.signedIn(); got != want {
		b.Errorf("%s: signed in is %v, want %v", when, got, want)
	}
}

func TestSignIn_Password(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := serve(t, dsn, "")
		s.admin("glass@acme.test")
		b := s.browser()
		b.want(b.get("/"), 200, "/sign-in?return_to=%2Faccount", "Sign in", `name="password"`)
		b.want(b.signIn("glass@acme.test", "wrong"), 403, "/sign-in", "is wrong", "Request <code>")
		b.want(b.signIn("", ""), 422, "/sign-in", "Type your e-mail address")
		b.wantSignedIn(false, "after a wrong password")
		b.want(b.signIn(" GLASS@acme.test ", password), 200, "/account", "glass@acme.test", "<td>root</td><td>admin</td><td>given by hand</td>", "this one")
		b.want(b.get("/sign-in?return_to=/account?x=1"), 200, "/account?x=1")
		own := b.get("/account")
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		} {
			if got := own.header.Get(header); got != want {
				t.Errorf("%s: %q, want %q", header, got, want)
			}
		}
		for _, inline := range []string{"<script", "<style", " style=", "onclick", "javascript:"} {
			if strings.Contains(own.body, inline) {
				t.Errorf("the page has %q", inline)
			}
		}
		b.want(b.get("/sign-in/style.css"), 200, "/sign-in/style.css", "prefers-color-scheme")
		b.want(b.get("/nowhere"), 404, "/nowhere", "There is nothing here")
		b.want(b.post("/sign-out", nil), 200, "/sign-in?signed_out", "You are signed out")
		b.wantSignedIn(false, "after signing out")
		failed := s.events(identity.EventSignInFailed)
		if fmt.Sprint(failed) != "[glass@acme.test wrong_password]" {
			t.Errorf("failed sign-ins: %q", failed)
		}
		if ended := s.events(identity.EventSessionEnded); fmt.Sprint(ended) != "[glass@acme.test signed out]" {
			t.Errorf("ended sessions: %q", ended)
		}
	})
}

// TestSignIn_OneAnswer: whoever does not get in learns nothing of why, and the audit log knows.
func TestSignIn_OneAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, sqlite(t), "")
	s.admin("glass@acme.test")
	off := s.admin("off@acme.test")
	sso, err := s.app.Applier.CreateUser(t.Context(), tester, "okta", identity.User{UserName: "sso@acme.test", ExternalID: "1", Active: true})
	s.must(err)
	hash, err := hashed()
	s.must(err)
	s.must(s.app.Store.InTx(t.Context(), func(tx *store.Tx) error {
		version := off.Version
		off.Active, off.Version = false, version+1
		if err := tx.UpdateUser(t.Context(), &off, version); err != nil {
			return err
		}
		return tx.SetPassword(t.Context(), sso.ID, hash, time.Now()) // by mistake
	}))
	id := regexp.MustCompile(`<code>[^<]*</code>|value="[^"]*"`)
	var first string
	for _, try := range []struct{ name, password, told string }{
		{"glass@acme.test", "hunter2 hunter2", "glass@acme.test wrong_password"},
		{"nobody@acme.test", password, "unknown"},
		{"off@acme.test", password, "off@acme.test inactive"},
		{"off@acme.test", "hunter2 hunter2", "off@acme.test wrong_password"},
		{"sso@acme.test", password, "sso@acme.test sso_account"},
		{"a\x00b", password, "unknown"},
		{"\xff", password, "unknown"},
	} {
		p := s.browser().signIn(try.name, try.password)
		body := id.ReplaceAllString(p.body, "")
		if first == "" {
			first = body
		}
		if p.status != http.StatusForbidden || body != first {
			t.Errorf("%q: %d, want 403 and the same page as for all others:\n%s", try.name, p.status, p.body)
		}
		if p.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: sets %s", try.name, p.header.Get("Set-Cookie"))
		}
		if told := s.events(identity.EventSignInFailed); len(told) == 0 || told[0] != try.told {
			t.Errorf("%q: told as %q, want %q", try.name, told, try.told)
		}
	}
	all, err := s.app.Store.Audit(t.Context(), store.AuditQuery{Limit: 1000})
	s.must(err)
	if text := fmt.Sprint(all); strings.Contains(text, "hunter2") || strings.Contains(text, "nobody@") {
		t.Errorf("the audit log tells what was typed: %s", text)
	}
}

func TestSignIn_NoRole(t *testing.T) {
	t.Parallel()
	s := serve(t, sqlite(t), "")
	s.admin("glass@acme.test")
	u := s.admin("ana@acme.test")
	b := s.browser()
	b.want(b.signIn("ana@acme.test", password), 200, "/account")
	s.must(s.app.Store.InTx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.DeleteGrant(t.Context(), identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleAdmin, Kind: identity.GrantManual})
		return err
	}))
	b.wantSignedIn(false, "without any role")
	b.want(b.signIn("ana@acme.test", password), 403, "/sign-in", "has no role on any team")
	b.want(b.signIn("ana@acme.test", "wrong"), 403, "/sign-in", "is wrong")
}

// TestSignIn_Replicas signs in on one replica and sees on the other that what ends the session here counts there from
// the next request on.
func TestSignIn_Replicas(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		const config = "scim: {enabled: true, activation_delay: 0s}\n"
		one := serve(t, dsn, config)
		key := one.scimKey("glass@acme.test")
		two := serve(t, dsn, config)
		for _, tc := range []struct {
			name string
			end  func(a *app.App, u identity.User) error
		}{
			{"deactivated", func(_ *app.App, u identity.User) error {
				return one.scim(key, http.MethodPatch, "/Users/"+u.ID, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],`+
					`"Operations":[{"op":"replace","path":"active","value":false}]}`)
			}},
			{"deleted", func(a *app.App, u identity.User) error {
				return a.Applier.DeleteUser(t.Context(), tester, "scim:k", u.ID, 0)
			}},
			{"converted", func(a *app.App, u identity.User) error {
				_, err := a.Applier.CreateUser(t.Context(), tester, "scim:k", identity.User{UserName: u.UserName, Active: true})
				return err
			}},
			{"password set", func(a *app.App, u identity.User) error {
				_, err := a.Applier.SetPassword(t.Context(), tester, u.ID, "another hash")
				return err
			}},
			{"session ended", func(a *app.App, u identity.User) error {
				_, err := a.Applier.EndSessions(t.Context(), tester, u.ID, "by hand")
				return err
			}},
			{"no grant left", func(a *app.App, u identity.User) error {
				return a.Store.InTx(t.Context(), func(tx *store.Tx) error {
					_, err := tx.DeleteGrant(t.Context(), identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleAdmin, Kind: identity.GrantManual})
					return err
				})
			}},
		} {
			u := one.admin(strings.ReplaceAll(tc.name, " ", "-") + "@acme.test")
			there := one.browser()
			there.want(there.signIn(u.UserName, password), 200, "/account")
			here := there.on(two)
			here.wantSignedIn(true, tc.name+": before")
			session := sessionOf(two, u)
			watched, stop := two.watch(session)
			if err := tc.end(one.app, u); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			here.wantSignedIn(false, tc.name+": after, on the other replica")
			there.wantSignedIn(false, tc.name+": after, on the same replica")
			select {
			case <-watched.Done():
				if cause := context.Cause(watched); !errors.Is(cause, signin.ErrNoSession) {
					t.Errorf("%s: the watch ended by %v", tc.name, cause)
				}
			case <-time.After(10 * time.Second): // it is one second on a machine that is not busy
				t.Errorf("%s: the watch goes on", tc.name)
			}
			stop()
		}
	})
}

// scimKey makes an admin with a key for the push endpoint, and waits until that answers.
func (s *site) scimKey(email string) apikey.Key {
	s.Helper()
	owner, err := s.app.Applier.CreateAdmin(s.Context(), tester, email, "hash", true)
	s.must(err)
	key := apikey.Generate()
	s.must(s.app.Applier.CreateKey(s.Context(), tester, store.Key{
		ID: key.ID(), UserID: owner.ID, Name: "k", Source: "scim:" + key.ID(), Hash: key.Hash(), Created: time.Now(),
	}))
	for deadline := time.Now().Add(time.Minute); ; {
		if err = s.scim(key, http.MethodGet, "/Users?count=1", ""); err == nil {
			return key
		}
		if time.Now().After(deadline) {
			s.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// scim asks the push endpoint.
func (s *site) scim(key apikey.Key, method, path, body string) error {
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+"/scim/v2"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+key.Reveal())
	r.Header.Set("Content-Type", "application/scim+json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		text, err := io.ReadAll(answer.Body)
		return errors.Join(fmt.Errorf("%s %s: %d %s", method, path, answer.StatusCode, text), err)
	}
	return nil
}

func sessionOf(s *site, u identity.User) *signin.Session {
	s.Helper()
	sessions, err := s.app.Store.Sessions(s.Context(), u.ID, time.Now(), 1)
	s.must(err)
	if len(sessions) != 1 {
		s.Fatalf("%s has no session", u.UserName)
	}
	return &signin.Session{ID: sessions[0].ID, UserID: u.ID}
}

func (s *site) watch(session *signin.Session) (context.Context, func()) {
	s.Helper()
	people, err := signin.New(signin.Options{Store: s.app.Store, Applier: s.app.Applier, Lifetime: time.Hour, Idle: time.Hour, Logger: s.app.Logger})
	s.must(err)
	return people.Watch(s.Context(), session)
}

// TestSignIn_Waits goes through the waits over HTTP: who fails waits, once in the audit log; a known browser does not,
// nor does anybody after `admin unlock`.
func TestSignIn_Waits(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := serve(t, dsn, "trust_proxy: true\nbase_url: http://127.0.0.1\n")
		glass := s.admin("glass@acme.test")
		known := s.browser()
		from := func(b *browser, remote, name, secret string) page {
			t.Helper()
			return b.post("/sign-in", url.Values{"user_name": {name}, "password": {secret}}, "X-Forwarded-For", remote)
		}
		if p := from(known, "192.0.2.1", glass.UserName, password); p.path != "/account" {
			t.Fatalf("%d at %s", p.status, p.path)
		}
		known.post("/sign-out", nil)
		attacker := s.browser()
		blocked := page{}
		for i := range 20 {
			if blocked = from(attacker, fmt.Sprintf("192.0.2.%d", 10+i), glass.UserName, "wrong"); blocked.status != 403 {
				break
			}
		}
		attacker.want(blocked, 429, "/sign-in", "Too many sign-ins failed")
		if after := blocked.header.Get("Retry-After"); after == "" || after == "0" {
			t.Errorf("Retry-After: %q", after)
		}
		from(attacker, "192.0.2.9", glass.UserName, password)
		if told := s.events(identity.EventSignInBlocked); len(told) == 0 || len(told) > 2 || !strings.Contains(told[0], "192.0.2.0/24") || !strings.HasPrefix(told[0], glass.UserName) {
			t.Errorf("blocked sign-ins: %q", told)
		}
		known.want(from(known, "192.0.2.1", glass.UserName, password), 200, "/account")
		elsewhere := s.browser()
		elsewhere.want(from(elsewhere, "198.51.100.1", glass.UserName, password), 200, "/account")
		for range 5 { // nobody's name waits alike
			blocked = from(attacker, "203.0.113.1", "nobody@acme.test", "wrong")
		}
		for blocked.status == 403 {
			blocked = from(attacker, "203.0.113.1", "nobody@acme.test", "wrong")
		}
		attacker.want(blocked, 429, "/sign-in", "Too many sign-ins failed")
		if _, err := s.app.Applier.UnblockSignIn(t.Context(), tester, glass.ID); err != nil {
			t.Fatal(err)
		}
		attacker.want(from(attacker, "192.0.2.9", glass.UserName, password), 200, "/account")
	})
}

func TestSignIn_ChangePassword(t *testing.T) {
	t.Parallel()
	s := serve(t, sqlite(t), "")
	glass := s.admin("glass@acme.test")
	b, other := s.browser(), s.browser()
	b.signIn(glass.UserName, password)
	other.signIn(glass.UserName, password)
	change := func(old, chosen, repeated string) page {
		t.Helper()
		return b.post("/account/password", url.Values{"old_password": {old}, "new_password": {chosen}, "repeated_password": {repeated}})
	}
	const next = "five words that nobody knows"
	b.want(change(password, next, "another"), 422, "/account/password", "differ")
	b.want(change(password, "short", "short"), 422, "/account/password", "fewer than 14")
	b.want(change(password, "glass@acme.test!", "glass@acme.test!"), 422, "/account/password", "holds the name")
	b.want(change("wrong", next, next), 403, "/account/password", "the old password is wrong")
	other.wantSignedIn(true, "while nothing has changed")
	b.want(change(password, next, next), 200, "/account?done=password", "Your password is changed")
	other.wantSignedIn(false, "after the password was changed")
	b.wantSignedIn(true, "after the password was changed")
	other.want(other.signIn(glass.UserName, password), 403, "/sign-in")
	other.want(other.signIn(glass.UserName, next), 200, "/account")
}

func TestSignIn_EndSessions(t *testing.T) {
	t.Parallel()
	s := serve(t, sqlite(t), "")
	glass, ana := s.admin("glass@acme.test"), s.admin("ana@acme.test")
	b, other, anas := s.browser(), s.browser(), s.browser()
	b.signIn(glass.UserName, password)
	other.signIn(glass.UserName, password)
	anas.signIn(ana.UserName, password)
	end := regexp.MustCompile(`/account/sessions/[0-9a-f-]{36}/end`)
	forms := end.FindAllString(b.get("/account").body, -1)
	if len(forms) != 1 {
		t.Fatalf("sessions to end: %q, want the other one", forms)
	}
	anas.want(anas.post(forms[0], nil), 404, forms[0], "no such session")
	other.wantSignedIn(true, "while somebody else tries")
	b.want(b.post(forms[0], nil), 200, "/account?done=session", "has ended")
	other.wantSignedIn(false, "after its end")
	b.want(other.post("/account/password", nil), 401, "/account/password", "not signed in")
}

// TestSignIn_CrossSite: what another site's page posts is refused, before anything is done.
func TestSignIn_CrossSite(t *testing.T) {
	t.Parallel()
	s := serve(t, sqlite(t), "")
	glass := s.admin("glass@acme.test")
	b := s.browser()
	form := url.Values{"user_name": {glass.UserName}, "password": {password}}
	b.want(b.post("/sign-in", form, "Sec-Fetch-Site", "cross-site"), 403, "/sign-in", "page of another site")
	b.want(b.post("/sign-in", form, "Origin", "https://evil.example"), 403, "/sign-in", "page of another site")
	b.wantSignedIn(false, "by another site")
	b.want(b.post("/sign-in", form, "Sec-Fetch-Site", "same-origin"), 200, "/account")
	b.want(b.post("/sign-out", nil, "Sec-Fetch-Site", "cross-site"), 403, "/sign-out")
	b.wantSignedIn(true, "after another site's sign-out")
}

// TestSignIn_Cookies: a new token with each sign-in, of no use after it; over https the cookie is bound to the host.
func TestSignIn_Cookies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ config, prefix string }{
		{"", ""}, {"trust_proxy: true\n", "__Host-"}, {"base_url: https://id.example.com\n", "__Host-"},
	} {
		s := serve(t, sqlite(t), tc.config)
		glass := s.admin("glass@acme.test")
		tokens := map[string]bool{}
		planted := strings.Repeat("A", 43)
		former := planted
		for range 2 {
			form := url.Values{"user_name": {glass.UserName}, "password": {password}, "return_to": {"//evil.example"}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/sign-in", strings.NewReader(form.Encode()))
			s.must(err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.AddCookie(&http.Cookie{Name: tc.prefix + "idpsync", Value: former})
			answer, err := http.DefaultTransport.RoundTrip(r)
			s.must(err)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/account" {
				t.Errorf("%d to %s, want 303 to /account", answer.StatusCode, answer.Header.Get("Location"))
			}
			set := map[string]*http.Cookie{}
			for _, c := range answer.Cookies() {
				set[c.Name] = c
			}
			session, known := set[tc.prefix+"idpsync"], set[tc.prefix+"idpsync-browser"]
			if session == nil || known == nil {
				t.Fatalf("cookies: %v", set)
			}
			for _, c := range []*http.Cookie{session, known} {
				if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != (tc.prefix != "") {
					t.Errorf("cookie %s", c)
				}
			}
			if tokens[session.Value] || session.Value == planted || session.MaxAge != 0 {
				t.Errorf("the token %q, want a new one for the browser's session", session)
			}
			tokens[session.Value], former = true, session.Value
		}
		sessions, err := s.app.Store.Sessions(t.Context(), glass.ID, time.Now(), 10)
		if err != nil || len(sessions) != 1 {
			t.Errorf("%d sessions, %v, want the last one alone", len(sessions), err)
		}
	}
}

func TestSignIn_NoPasswords(t *testing.T) {
	t.Parallel()
	s := serve(t, sqlite(t), "sign_in: {passwords: false}\n")
	glass := s.admin("glass@acme.test")
	b := s.browser()
	if p := b.get("/sign-in"); strings.Contains(p.body, "password") {
		t.Errorf("the page asks for a password:\n%s", p.body)
	}
	if p := b.signIn(glass.UserName, password); p.status < 400 {
		t.Errorf("%d at %s", p.status, p.path)
	}
	b.wantSignedIn(false, "by password")
}

// oidc configures a provider.
func oidc(t *testing.T, idp *idptest.OIDCServer, more string) string {
	t.Helper()
	return fmt.Sprintf("role_mapping:\n  - {group: Engineering, grants: [{team: root, role: operator}]}\nsign_in:\n  oidc: {issuer: %q, client_id: %q, client_secret: %q, ca_file: %q%s}\n",
		idp.Issuer, idp.ClientID, idp.ClientSecret, idptest.WriteCA(t, idp.CA), more)
}

// sso signs in at the identity provider and returns where that leads.
func (s *site) sso(b *idptest.Browser, path string) *idptest.Page {
	s.Helper()
	p, err := b.Follow(s.url+path, func(p *idptest.Page) bool {
		return strings.HasPrefix(p.URL, s.url) && (strings.HasPrefix(p.URL, s.url+"/account") || p.Status >= 400)
	})
	s.must(err)
	return p
}

func (s *site) wantSSO(p *idptest.Page, status int, text string) {
	s.Helper()
	if p.Status != status || !strings.Contains(p.Body, text) {
		s.Errorf("%d at %s, want %d with %q:\n%s", p.Status, p.URL, status, text, p.Body)
	}
}

func TestSignIn_OIDC(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		idp := idptest.OIDC(t)
		s := serve(t, dsn, oidc(t, idp, ""))
		glass := s.admin("glass@acme.test")
		b := idptest.NewBrowser(idp.CA)
		t.Cleanup(b.Close)
		signIn := func(p idptest.Person) *idptest.Page {
			t.Helper()
			idp.SignIn(p)
			fresh := idptest.NewBrowser(idp.CA)
			t.Cleanup(fresh.Close)
			return s.sso(fresh, "/sign-in/oidc?return_to=/account")
		}
		ana := idptest.Ana()
		s.wantSSO(s.sso(b, "/sign-in/oidc?return_to=/account?x=1"), 200, "<td>root</td><td>operator</td><td>given at sign-in, for the group Engineering</td>")
		u, err := s.app.Store.UserByName(t.Context(), ana.Email)
		s.must(err)
		if u.DisplayName() != "Ana Ito" || u.Origin != identity.OriginSSO {
			t.Errorf("made %+v", u)
		}
		none := ana
		none.Groups = []string{}
		s.wantSSO(signIn(none), 403, "has no role on any team")
		if p, err := b.Get(s.url + "/account"); err != nil || p.Status != http.StatusSeeOther {
			t.Errorf("the session goes on without a role: %d, %v", p.Status, err)
		}
		s.wantSSO(signIn(ana), 200, "Ana Ito")
		swapped := ana
		swapped.ID = "another"
		s.wantSSO(signIn(swapped), 403, "does not match")
		_, err = s.app.Applier.Unlink(t.Context(), tester, u.ID)
		s.must(err)
		s.wantSSO(signIn(swapped), 200, "Ana Ito")
		breakGlass := ana
		breakGlass.ID, breakGlass.Email = "x", glass.UserName
		s.wantSSO(signIn(breakGlass), 403, "signs in with its password")
		_, err = s.app.Applier.EnableSCIM(t.Context(), tester)
		s.must(err)
		unknown := ana
		unknown.ID, unknown.Email = "y", "unknown@example.com"
		s.wantSSO(signIn(unknown), 403, "no account here")
		s.wantSSO(signIn(swapped), 200, "Ana Ito")
		idp.Misbehave(idptest.OIDCFault{Sign: idptest.SignOther})
		s.wantSSO(signIn(swapped), 403, "refused")
		told := s.events(identity.EventSignInFailed)
		want := "[signature unknown glass@acme.test local_account ana@example.com subject_changed ana@example.com no_role]"
		if fmt.Sprint(told) != want {
			t.Errorf("failed sign-ins: %q, want %s", told, want)
		}
	})
}

// TestSignIn_SAML goes through what differs from OpenID Connect: the answer comes as a form that another site posts.
func TestSignIn_SAML(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		idp := idptest.SAML(t)
		s := serve(t, dsn, fmt.Sprintf("role_mapping:\n  - {group: Engineering, grants: [{team: root, role: operator}]}\n"+
			"sign_in: {saml: {metadata_url: %q, ca_file: %q}}\n", idp.URL+"/metadata", idptest.WriteCA(t, idp.CA)))
		glass := s.admin("glass@acme.test")
		metadata := s.browser().get("/sign-in/saml/metadata")
		if metadata.status != 200 || !strings.Contains(metadata.body, s.url+"/sign-in/saml/acs") {
			t.Errorf("metadata: %d\n%s", metadata.status, metadata.body)
		}
		signIn := func(p idptest.Person) *idptest.Page {
			t.Helper()
			idp.SignIn(p)
			b := idptest.NewBrowser(idp.CA)
			t.Cleanup(b.Close)
			return s.sso(b, "/sign-in/saml?return_to=/account")
		}
		ana := idptest.Ana()
		s.wantSSO(signIn(ana), 200, "<td>root</td><td>operator</td><td>given at sign-in, for the group Engineering</td>")
		u, err := s.app.Store.UserByName(t.Context(), ana.Email)
		s.must(err)
		none := ana
		none.Groups = []string{}
		s.wantSSO(signIn(none), 403, "has no role on any team")
		breakGlass := ana
		breakGlass.ID, breakGlass.Email = "x", glass.UserName
		s.wantSSO(signIn(breakGlass), 403, "signs in with its password")
		idp.Misbehave(idptest.SAMLFault{Signed: idptest.SignedNothing})
		s.wantSSO(signIn(ana), 403, "refused")
		idp.Misbehave(idptest.SAMLFault{})
		_, err = s.app.Applier.ChangeUser(t.Context(), tester, "scim:k", u.ID, 0, func(u *identity.User) error {
			u.Active = false
			return nil
		})
		s.must(err)
		s.wantSSO(signIn(ana), 403, "deactivated")
		// The answer is posted by another site, and is let through; everything else is not.
		b := s.browser()
		b.want(b.post("/sign-in/saml/acs", nil, "Sec-Fetch-Site", "cross-site"), 403, "/sign-in/saml/acs", "The sign-in was refused")
		b.want(b.post("/sign-out", nil, "Sec-Fetch-Site", "cross-site"), 403, "/sign-out", "page of another site")
	})
}

func sqlite(t *testing.T) string {
	t.Helper()
	return storetest.MigratedSQLiteDSN(t)
}
