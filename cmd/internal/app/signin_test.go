package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func TestSignIn_Password(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := serve(t, dsn, "")
		s.admin("glass@acme.test")
		b := s.browser()
		b.want(b.get("/"), 200, "/sign-in?return_to=%2F", "Sign in", `name="password"`)
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
		b.want(b.get("/sign-in/icon.svg"), 200, "/sign-in/icon.svg", "<svg")
		b.want(b.get("/nowhere"), 404, "/nowhere", "There is no such page")
		b.want(b.get("/account/nowhere"), 404, "/account/nowhere", "There is nothing here")
		b.want(b.get("/sign-in"), 200, "/", "Overview")
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
			return b.post("/sign-in", url.Values{"user_name": {name}, "password": {secret}, "return_to": {"/account"}}, "X-Forwarded-For", remote)
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
	b.want(b.post("/sign-in", form, "Sec-Fetch-Site", "same-origin"), 200, "/", "Overview")
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
			if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/" {
				t.Errorf("%d to %s, want 303 to /", answer.StatusCode, answer.Header.Get("Location"))
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
