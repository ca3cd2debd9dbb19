package oidcrp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/cmd/internal/signin/oidcrp"
)

func ana(a *app) *assertion.Assertion {
	return &assertion.Assertion{
		Provider: assertion.OIDC, Issuer: a.idp.Issuer, Subject: "00u1ana", UserName: "ana@example.com",
		GivenName: "Ana", FamilyName: "Ito", DisplayName: "Ana Ito",
		Groups: []string{"Engineering", "On call"}, GroupsStated: true, ReturnTo: "/runs?state=held",
	}
}

// TestSignIn signs in as providers and clients are set up in different ways.
func TestSignIn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		options  func(*oidcrp.Options)
		public   bool
		person   func(*idptest.Person)
		fault    idptest.OIDCFault
		want     func(*assertion.Assertion)
		userinfo bool
	}{
		{name: "a confidential client"},
		{name: "a public client", public: true},
		{name: "the secret in the form, where the provider knows nothing else", fault: idptest.OIDCFault{Discovery: func(d map[string]any) {
			d["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
		}}},
		{name: "nothing announced of the secret, nor of algorithms", fault: idptest.OIDCFault{Discovery: func(d map[string]any) {
			delete(d, "token_endpoint_auth_methods_supported")
			delete(d, "id_token_signing_alg_values_supported")
		}}},
		{name: "algorithms that are not to be trusted among those announced", fault: idptest.OIDCFault{Discovery: func(d map[string]any) {
			d["id_token_signing_alg_values_supported"] = []string{"none", "HS256", "RS256"}
		}}},
		{name: "in no group", person: func(p *idptest.Person) { p.Groups = []string{} }, want: func(a *assertion.Assertion) { a.Groups = []string{} }},
		{name: "groups not said", person: func(p *idptest.Person) { p.Groups = nil }, userinfo: true, want: func(a *assertion.Assertion) {
			a.Groups, a.GroupsStated = nil, false
		}},
		{name: "groups not asked for", options: func(o *oidcrp.Options) { o.Groups = "" }, want: func(a *assertion.Assertion) { a.Groups, a.GroupsStated = nil, false }},
		{name: "one group as a text", fault: claims(func(c map[string]any) { c["groups"] = "Engineering" }), want: func(a *assertion.Assertion) { a.Groups = []string{"Engineering"} }},
		{name: "groups of another shape", fault: claims(func(c map[string]any) { c["groups"] = []int{1} }), want: func(a *assertion.Assertion) { a.Groups, a.GroupsStated = nil, false }},
		{name: "groups too many to say, as Entra ID tells it", fault: claims(func(c map[string]any) {
			delete(c, "groups")
			c["_claim_names"] = map[string]any{"groups": "src1"}
			c["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": "https://graph.microsoft.com/v1.0/users/1/getMemberObjects"}}
		}), want: func(a *assertion.Assertion) { a.Groups, a.GroupsStated = nil, false }},
		{name: "groups of another claim", options: func(o *oidcrp.Options) { o.Groups = "roles" }, fault: claims(func(c map[string]any) { c["roles"] = []string{"a"} }), want: func(a *assertion.Assertion) { a.Groups = []string{"a"} }},
		{name: "groups at the userinfo endpoint", fault: claims(func(c map[string]any) { delete(c, "groups") }), userinfo: true},
		{name: "groups nowhere, for the userinfo endpoint is down", fault: idptest.OIDCFault{
			Claims: func(c map[string]any) { delete(c, "groups") }, Status: map[string]int{"/userinfo": http.StatusBadGateway},
		}, userinfo: true, want: func(a *assertion.Assertion) { a.Groups, a.GroupsStated = nil, false }},
		{name: "the address at the userinfo endpoint", fault: claims(func(c map[string]any) { delete(c, "email"); delete(c, "email_verified") }), userinfo: true},
		{name: "another claim as user name", options: func(o *oidcrp.Options) { o.UserName = "preferred_username" }, want: func(a *assertion.Assertion) { a.UserName = "ana" }},
		{name: "another claim as user name, and an address that does not matter", options: func(o *oidcrp.Options) { o.UserName = "preferred_username" }, person: func(p *idptest.Person) { p.EmailVerified = false }, want: func(a *assertion.Assertion) { a.UserName = "ana" }},
		{name: "blanks around the user name", person: func(p *idptest.Person) { p.Email = " ana@example.com " }},
		{name: "nothing said of the address", person: func(p *idptest.Person) { p.EmailVerified = nil }},
		{name: "verified as a text", person: func(p *idptest.Person) { p.EmailVerified = "true" }},
		{name: "not verified, where that does not matter", options: func(o *oidcrp.Options) { o.RequireVerifiedEmail = false }, person: func(p *idptest.Person) { p.EmailVerified = false }},
		{name: "a session id", fault: claims(func(c map[string]any) { c["sid"] = "s1" }), want: func(a *assertion.Assertion) { a.SessionIndex = "s1" }},
		{name: "names of two lines are left out", person: func(p *idptest.Person) { p.DisplayName = "Ana\nIto" }, want: func(a *assertion.Assertion) { a.DisplayName = "" }},
		{name: "two audiences and the authorized party", fault: claims(func(c map[string]any) { c["azp"] = audience(c); c["aud"] = []any{audience(c), "other"} })},
		{name: "no hash of the access token", fault: claims(func(c map[string]any) { delete(c, "at_hash") })},
		{name: "expired by a clock that is behind", fault: claims(func(c map[string]any) { c["exp"] = time.Now().Add(-40 * time.Second).Unix() })},
		{name: "issued in a minute by a clock that is ahead", fault: claims(func(c map[string]any) { c["iat"] = time.Now().Add(time.Minute).Unix() })},
		{name: "the issuer's name in the answer", fault: idptest.OIDCFault{Answer: func(q url.Values) { q.Set("iss", "") }}, options: nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, func(o *oidcrp.Options) {
				if tc.public {
					o.ClientSecret = ""
				}
				if tc.options != nil {
					tc.options(o)
				}
			})
			if tc.public {
				a.idp.PublicClient()
			}
			if tc.fault.Answer != nil { // the issuer is known now
				tc.fault.Answer = func(q url.Values) { q.Set("iss", a.idp.Issuer) }
			}
			person := idptest.Ana()
			if tc.person != nil {
				tc.person(&person)
			}
			a.idp.SignIn(person)
			a.idp.Misbehave(tc.fault)
			want := ana(a)
			if tc.want != nil {
				tc.want(want)
			}
			got := a.signIn(t)
			if diff := cmp.Diff(want, got.Assertion); diff != "" {
				t.Errorf("assertion (-want +got), %s:\n%s", got.Detail, diff)
			}
			if asked := slices.Contains(a.idp.Requests(), "/userinfo"); asked != tc.userinfo {
				t.Errorf("the userinfo endpoint was asked: %v, want %v", asked, tc.userinfo)
			}
			if n := a.memory.Len(assertion.KindOIDCState); n != 0 {
				t.Errorf("%d sign-ins are still open", n)
			}
		})
	}
}

func claims(edit func(map[string]any)) idptest.OIDCFault { return idptest.OIDCFault{Claims: edit} }

func audience(c map[string]any) any {
	if list, ok := c["aud"].([]any); ok {
		return list[0]
	}
	return c["aud"]
}

// TestRefused has the provider, or somebody between, answer what is not to be believed.
func TestRefused(t *testing.T) {
	t.Parallel()
	const (
		hour  = time.Hour
		issue = "https://evil.example"
	)
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, tc := range []struct {
		name  string
		fault idptest.OIDCFault
		want  assertion.Reason
	}{
		// Signatures.
		{"the algorithm none", idptest.OIDCFault{Sign: idptest.SignNone}, assertion.ReasonAlgorithm},
		{"none, announced", idptest.OIDCFault{Sign: idptest.SignNone, Discovery: announce("none", "RS256")}, assertion.ReasonAlgorithm},
		{"HS256 with the public key", idptest.OIDCFault{Sign: idptest.SignPublicKey}, assertion.ReasonAlgorithm},
		{"HS256 with the public key, announced", idptest.OIDCFault{Sign: idptest.SignPublicKey, Discovery: announce("HS256", "RS256")}, assertion.ReasonAlgorithm},
		{"HS256 with the client's secret", idptest.OIDCFault{Sign: idptest.SignSecret}, assertion.ReasonAlgorithm},
		{"an algorithm that was not announced", idptest.OIDCFault{Discovery: announce("ES256")}, assertion.ReasonAlgorithm},
		{"another key", idptest.OIDCFault{Sign: idptest.SignOther}, assertion.ReasonSignature},
		{"altered after it was signed", idptest.OIDCFault{Sign: idptest.SignAltered}, assertion.ReasonSignature},
		{"no token at all", token(func(body map[string]any) { body["id_token"] = "x" }), assertion.ReasonAlgorithm},
		{"no ID token", token(func(body map[string]any) { delete(body, "id_token") }), assertion.ReasonMalformed},
		{"another access token", token(func(body map[string]any) { body["access_token"] = "stolen" }), assertion.ReasonSignature},
		{"the hash of another access token", claims(func(c map[string]any) { c["at_hash"] = "x" }), assertion.ReasonSignature},

		// Who it is of, for and by.
		{"another issuer", claims(func(c map[string]any) { c["iss"] = issue }), assertion.ReasonIssuer},
		{"an issuer with a slash more", claims(func(c map[string]any) { c["iss"] = c["iss"].(string) + "/" }), assertion.ReasonIssuer},
		{"no issuer", claims(func(c map[string]any) { delete(c, "iss") }), assertion.ReasonIssuer},
		{"an issuer in another case of letters", claims(func(c map[string]any) { c["ISS"] = c["iss"]; c["iss"] = issue }), assertion.ReasonIssuer},
		{"another audience", claims(func(c map[string]any) { c["aud"] = "other" }), assertion.ReasonAudience},
		{"no audience", claims(func(c map[string]any) { delete(c, "aud") }), assertion.ReasonAudience},
		{"several audiences without ours", claims(func(c map[string]any) { c["aud"] = []string{"other", "another"} }), assertion.ReasonAudience},
		{"several audiences without an authorized party", claims(func(c map[string]any) { c["aud"] = []any{audience(c), "other"} }), assertion.ReasonAudience},
		{"another authorized party", claims(func(c map[string]any) { c["azp"] = "other" }), assertion.ReasonAudience},
		{"an authorized party that is no text", claims(func(c map[string]any) { c["azp"] = []any{audience(c)} }), assertion.ReasonAudience},
		{"nobody", claims(func(c map[string]any) { c["sub"] = "" }), assertion.ReasonSubject},
		{"a subject of 256 bytes", claims(func(c map[string]any) { c["sub"] = strings.Repeat("x", 256) }), assertion.ReasonSubject},
		{"the answer of another issuer", answer(func(q url.Values) { q.Set("iss", issue) }), assertion.ReasonIssuer},
		{"an answer without the issuer that was announced", idptest.OIDCFault{Discovery: func(d map[string]any) {
			d["authorization_response_iss_parameter_supported"] = true
		}}, assertion.ReasonIssuer},

		// When.
		{"expired", claims(func(c map[string]any) { c["exp"] = at(-100 * time.Second) }), assertion.ReasonExpired},
		{"no expiry", claims(func(c map[string]any) { delete(c, "exp") }), assertion.ReasonConditions},
		{"an expiry that is no time", claims(func(c map[string]any) { c["exp"] = "tomorrow" }), assertion.ReasonMalformed},
		{"issued later", claims(func(c map[string]any) { c["iat"] = at(100 * time.Second) }), assertion.ReasonNotYet},
		{"issued an hour ago", claims(func(c map[string]any) { c["iat"] = at(-hour) }), assertion.ReasonExpired},
		{"not issued", claims(func(c map[string]any) { delete(c, "iat") }), assertion.ReasonConditions},
		{"valid later", claims(func(c map[string]any) { c["nbf"] = at(100 * time.Second) }), assertion.ReasonNotYet},
		{"valid from what is no time", claims(func(c map[string]any) { c["nbf"] = 1e12 }), assertion.ReasonConditions},

		// Which sign-in.
		{"another nonce", claims(func(c map[string]any) { c["nonce"] = "other" }), assertion.ReasonNonce},
		{"no nonce", claims(func(c map[string]any) { delete(c, "nonce") }), assertion.ReasonNonce},
		{"another state", answer(func(q url.Values) { q.Set("state", assertion.Secret()) }), assertion.ReasonState},
		{"no state", answer(func(q url.Values) { q.Del("state") }), assertion.ReasonState},
		{"a state that is none of ours", answer(func(q url.Values) { q.Set("state", strings.Repeat("z", 64)) }), assertion.ReasonState},
		{"two states", answer(func(q url.Values) { q.Add("state", "x") }), assertion.ReasonMalformed},
		{"two codes", answer(func(q url.Values) { q.Add("code", "x") }), assertion.ReasonMalformed},
		{"a code that was never given", answer(func(q url.Values) { q.Set("code", "x") }), assertion.ReasonCode},
		{"no code", answer(func(q url.Values) { q.Del("code") }), assertion.ReasonMalformed},
		{"an answer of 16 KiB", answer(func(q url.Values) { q.Set("x", strings.Repeat("x", 16<<10)) }), assertion.ReasonMalformed},
		{"the person says no", answer(func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }), assertion.ReasonDenied},
		{"an error beside a code", answer(func(q url.Values) { q.Set("error", "server_error") }), assertion.ReasonDenied},

		// Whom it names.
		{"no address anywhere", idptest.OIDCFault{
			Claims: func(c map[string]any) { delete(c, "email") }, UserInfo: func(c map[string]any) { delete(c, "email") },
		}, assertion.ReasonNoUserName},
		{"an empty address", claims(func(c map[string]any) { c["email"] = " " }), assertion.ReasonNoUserName},
		{"an address that is no text", claims(func(c map[string]any) { c["email"] = []string{"ana@example.com"} }), assertion.ReasonNoUserName},
		{"an address with a line break", claims(func(c map[string]any) { c["email"] = "ana@example.com\nroot" }), assertion.ReasonNoUserName},
		{"an address that is not verified", claims(func(c map[string]any) { c["email_verified"] = false }), assertion.ReasonEmailUnverified},
		{"not verified, as a text", claims(func(c map[string]any) { c["email_verified"] = "false" }), assertion.ReasonEmailUnverified},
		{"not verified, as a number", claims(func(c map[string]any) { c["email_verified"] = 0 }), assertion.ReasonEmailUnverified},
		{"not verified, says the userinfo endpoint", idptest.OIDCFault{
			Claims: func(c map[string]any) { delete(c, "email"); c["email_verified"] = true }, UserInfo: func(c map[string]any) { c["email_verified"] = false },
		}, assertion.ReasonEmailUnverified},
		{"not verified, says the userinfo endpoint that was asked for groups", idptest.OIDCFault{
			Claims: func(c map[string]any) { delete(c, "groups"); delete(c, "email_verified") }, UserInfo: func(c map[string]any) { c["email_verified"] = false },
		}, assertion.ReasonEmailUnverified},
		{"the userinfo of somebody else", idptest.OIDCFault{
			Claims: func(c map[string]any) { delete(c, "email") }, UserInfo: func(c map[string]any) { c["sub"] = "root" },
		}, assertion.ReasonSubject},
		{"the groups of somebody else", idptest.OIDCFault{
			Claims: func(c map[string]any) { delete(c, "groups") }, UserInfo: func(c map[string]any) { c["sub"] = "root" },
		}, assertion.ReasonSubject},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, nil)
			a.idp.Misbehave(tc.fault)
			got := a.signIn(t)
			if got.Reason != tc.want || got.Assertion != nil {
				t.Errorf("refused: %q (%s), want %q; assertion %v", got.Reason, got.Detail, tc.want, got.Assertion)
			}
			if strings.Contains(got.Detail, "eyJ") {
				t.Errorf("the detail quotes a token: %s", got.Detail)
			}
		})
	}
}

func announce(algorithms ...string) func(map[string]any) {
	return func(d map[string]any) { d["id_token_signing_alg_values_supported"] = algorithms }
}

func token(edit func(map[string]any)) idptest.OIDCFault { return idptest.OIDCFault{Token: edit} }
func answer(edit func(url.Values)) idptest.OIDCFault    { return idptest.OIDCFault{Answer: edit} }
func (a *app) other(t *testing.T) (*idptest.Browser, string) {
	b := a.browser(t)
	return b, a.begin(t, b)
}

// TestBrowsers plays sign-ins of two people against each other.
func TestBrowsers(t *testing.T) {
	t.Parallel()
	refuse := func(t *testing.T, got outcome, want assertion.Reason) {
		t.Helper()
		if got.Reason != want || got.Assertion != nil {
			t.Errorf("refused: %q (%s), want %q", got.Reason, got.Detail, want)
		}
	}
	t.Run("an answer is used once", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b, answer := a.other(t)
		if got := a.finish(t, b, answer); got.Assertion == nil {
			t.Fatal(got.Detail)
		}
		refuse(t, a.finish(t, b, answer), assertion.ReasonState)
	})
	t.Run("an answer in another browser, which has signed in itself", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		_, answer := a.other(t)
		victim, own := a.other(t)
		refuse(t, a.finish(t, victim, answer), assertion.ReasonBrowser)
		if got := a.finish(t, victim, own); got.Assertion == nil {
			t.Errorf("the victim's own sign-in was refused: %s", got.Detail)
		}
	})
	t.Run("an answer in a browser without cookies", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		_, answer := a.other(t)
		refuse(t, a.finish(t, a.browser(t), answer), assertion.ReasonBrowser)
	})
	t.Run("a stolen code in one's own sign-in", func(t *testing.T) {
		t.Parallel()
		for _, public := range []bool{false, true} {
			a := start(t, func(o *oidcrp.Options) {
				if public {
					o.ClientSecret = ""
				}
			})
			if public {
				a.idp.PublicClient()
			}
			_, stolen := a.other(t)
			attacker, own := a.other(t)
			refuse(t, a.finish(t, attacker, swap(t, own, "code", stolen)), assertion.ReasonCode)
		}
	})
	t.Run("a stolen code and state", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		_, stolen := a.other(t)
		attacker, own := a.other(t)
		refuse(t, a.finish(t, attacker, swap(t, swap(t, own, "code", stolen), "state", stolen)), assertion.ReasonBrowser)
	})
	t.Run("two tabs of one browser", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b := a.browser(t)
		first, second := a.begin(t, b), a.begin(t, b)
		for _, answer := range []string{second, first} {
			if got := a.finish(t, b, answer); got.Assertion == nil {
				t.Error(got.Detail)
			}
		}
	})
	t.Run("a form instead of a link", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b, answer := a.other(t)
		page, err := b.Post(answer, url.Values{})
		if err != nil || !strings.Contains(page.Body, `"malformed"`) {
			t.Errorf("Post = %v, %v; want malformed", page, err)
		}
	})
}

// swap returns the address with one parameter taken from another.
func swap(t *testing.T, address, name, from string) string {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	source, err := url.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	query := to.Query()
	query.Set(name, source.Query().Get(name))
	to.RawQuery = query.Encode()
	return to.String()
}

func TestASignInWaitsTenMinutes(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]assertion.Reason{9 * time.Minute: "", 11 * time.Minute: assertion.ReasonState} {
		a := start(t, nil)
		b, answer := a.other(t)
		a.ahead.Store(int64(wait))
		a.idp.Advance(wait)
		if got := a.finish(t, b, answer); got.Reason != want {
			t.Errorf("after %s: refused: %q (%s), want %q", wait, got.Reason, got.Detail, want)
		}
	}
}

// TestBegin looks at what the browser is sent away with.
func TestBegin(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	page, err := a.browser(t).Get(a.URL + assertion.PathOIDC + "?return_to=//evil.example")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(page.Location)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": a.idp.ClientID, "scope": "openid email profile", "code_challenge_method": "S256",
		"redirect_uri": a.URL + assertion.PathOIDCAnswer, "client_secret": "", "code_verifier": "", "prompt": "", "max_age": "",
	} {
		if got := query.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if len(query.Get("state")) != 64 || len(query.Get("nonce")) != 64 || len(query.Get("code_challenge")) != 43 || query.Get("state") == query.Get("nonce") {
		t.Errorf("state, nonce, code_challenge = %q, %q, %q", query.Get("state"), query.Get("nonce"), query.Get("code_challenge"))
	}
	cookies := page.Header.Values("Set-Cookie")
	if len(cookies) != 1 || !strings.HasPrefix(cookies[0], "__Host-idpsync-oidc=") || !strings.Contains(cookies[0], "SameSite=Lax") || !strings.Contains(cookies[0], "Secure") || !strings.Contains(cookies[0], "HttpOnly") {
		t.Errorf("cookies = %q", cookies)
	}
	if page.Header.Get("Cache-Control") != "no-store" {
		t.Error("the redirection may be kept in a cache")
	}
	b := a.browser(t)
	back, err := b.Follow(a.URL+assertion.PathOIDC+"?return_to=//evil.example", func(*idptest.Page) bool { return false })
	if err != nil || !strings.Contains(back.Body, `"ReturnTo":"/"`) {
		t.Errorf("ReturnTo: %v, %v; want /", back, err)
	}
}

// TestPlainLoopback signs in to an application without TLS, as one tries things out.
func TestPlainLoopback(t *testing.T) {
	t.Parallel()
	a := startWith(t, httptest.NewServer, nil)
	b := idptest.NewBrowser(a.idp.CA)
	t.Cleanup(b.Close)
	answer := a.begin(t, b)
	if cookies := b.Cookies(a.URL); len(cookies) != 1 || cookies[0].Name != "idpsync-oidc" {
		t.Errorf("cookies = %v", cookies)
	}
	if got := a.finish(t, b, answer); got.Assertion == nil {
		t.Error(got.Detail)
	}
}

// TestUnavailable: the provider cannot be asked, which is not the person's fault, nor a refusal.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	down := func(path string, status int) idptest.OIDCFault {
		return idptest.OIDCFault{Status: map[string]int{path: status}}
	}
	t.Run("before the sign-in", func(t *testing.T) {
		t.Parallel()
		for name, fault := range map[string]idptest.OIDCFault{
			"no discovery document":              down("/.well-known/openid-configuration", http.StatusNotFound),
			"another issuer in it":               {Discovery: func(d map[string]any) { d["issuer"] = "https://evil.example" }},
			"a token endpoint without TLS":       {Discovery: func(d map[string]any) { d["token_endpoint"] = "http://evil.example/token" }},
			"a script for an authorization":      {Discovery: func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" }},
			"keys without TLS":                   {Discovery: func(d map[string]any) { d["jwks_uri"] = "http://evil.example/keys" }},
			"no algorithm that is to be trusted": {Discovery: announce("none", "HS256")},
		} {
			a := start(t, nil)
			a.idp.Misbehave(fault)
			page, err := a.browser(t).Get(a.URL + assertion.PathOIDC)
			if err != nil || !strings.Contains(page.Body, `"Unavailable":true`) {
				t.Errorf("%s: %v, %v; want unavailable", name, page, err)
			}
			a.idp.Misbehave(idptest.OIDCFault{})
			if got := a.signIn(t); got.Assertion == nil {
				t.Errorf("%s, and mended: %s", name, got.Detail)
			}
		}
	})
	t.Run("during the sign-in", func(t *testing.T) {
		t.Parallel()
		for name, fault := range map[string]idptest.OIDCFault{
			"no token endpoint": down("/token", http.StatusServiceUnavailable),
			"no keys":           down("/.well-known/jwks.json", http.StatusServiceUnavailable),
			"no userinfo endpoint, and it is needed": {
				Claims: func(c map[string]any) { delete(c, "email") }, Status: map[string]int{"/userinfo": http.StatusServiceUnavailable},
			},
			"a token endpoint that knows no code": down("/token", http.StatusForbidden),
		} {
			a := start(t, nil)
			b, answer := a.other(t)
			a.idp.Misbehave(fault)
			if got := a.finish(t, b, answer); !got.Unavailable || got.Reason != "" {
				t.Errorf("%s: %+v, want unavailable", name, got)
			}
		}
	})
	t.Run("the wrong secret", func(t *testing.T) {
		t.Parallel()
		a := start(t, func(o *oidcrp.Options) { o.ClientSecret = "wrong" })
		if got := a.signIn(t); !got.Unavailable || !strings.Contains(got.Detail, "client_secret") {
			t.Errorf("%+v, want unavailable with the remedy", got)
		}
	})
	t.Run("an authority that is not trusted", func(t *testing.T) {
		t.Parallel()
		a := start(t, func(o *oidcrp.Options) { o.CAFile = "" })
		page, err := a.browser(t).Get(a.URL + assertion.PathOIDC)
		if err != nil || !strings.Contains(page.Body, "certificate") {
			t.Errorf("%v, %v; want an unknown authority", page, err)
		}
	})
	t.Run("after it was discovered", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		if got := a.signIn(t); got.Assertion == nil {
			t.Fatal(got.Detail)
		}
		a.idp.Misbehave(down("/.well-known/openid-configuration", http.StatusServiceUnavailable))
		var unavailable *assertion.UnavailableError
		if err := a.provider.Refresh(t.Context()); !errors.As(err, &unavailable) {
			t.Errorf("Refresh = %v, want unavailable", err)
		}
		if got := a.signIn(t); got.Assertion == nil {
			t.Errorf("what the provider said before no longer holds: %s", got.Detail)
		}
	})
}

// TestMemoryFails: what cannot be remembered is neither begun nor believed.
func TestMemoryFails(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	a.memory.Fail(errors.New("the database is away"))
	page, err := a.browser(t).Get(a.URL + assertion.PathOIDC)
	if err != nil || !strings.Contains(page.Body, "the database is away") || page.Location != "" {
		t.Errorf("Begin: %v, %v", page, err)
	}
	got := a.finish(t, a.browser(t), a.URL+assertion.PathOIDCAnswer+"?code=x&state="+assertion.Secret())
	if got.Assertion != nil || got.Reason != "" || got.Unavailable || !strings.Contains(got.Detail, "the database is away") {
		t.Errorf("Finish: %+v", got)
	}
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	good := oidcrp.Options{Issuer: "https://i.example", ClientID: "c", RedirectURL: "https://a.example/", UserName: "email", Memory: &idptest.Memory{}}
	if p, err := oidcrp.New(good); err != nil || p.Name() != assertion.OIDC || p.Handler() != nil {
		t.Errorf("New = %v, %v", p, err)
	}
	for name, change := range map[string]func(*oidcrp.Options){
		"issuer":    func(o *oidcrp.Options) { o.Issuer = "" },
		"client":    func(o *oidcrp.Options) { o.ClientID = "" },
		"redirect":  func(o *oidcrp.Options) { o.RedirectURL = "" },
		"user name": func(o *oidcrp.Options) { o.UserName = "" },
		"memory":    func(o *oidcrp.Options) { o.Memory = nil },
		"authority": func(o *oidcrp.Options) { o.CAFile = "testdata/none.pem" },
	} {
		o := good
		change(&o)
		if _, err := oidcrp.New(o); err == nil {
			t.Errorf("New without %s = nil", name)
		}
	}
}

// TestRun: what the provider says anew is heard.
func TestRun(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	if got := a.signIn(t); got.Assertion == nil {
		t.Fatal(got.Detail)
	}
	a.idp.Misbehave(idptest.OIDCFault{Discovery: announce("ES256")})
	if got := a.signIn(t); got.Assertion == nil {
		t.Fatalf("nobody has asked yet: %s", got.Detail)
	}
	asked := make(chan struct{}, 1)
	a.idp.Misbehave(idptest.OIDCFault{Discovery: func(d map[string]any) {
		announce("ES256")(d)
		select {
		case asked <- struct{}{}:
		default:
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.provider.Run(ctx) }()
	<-asked
	// The answer is under way; who signs in now waits for it, or goes by what was known.
	for got := a.signIn(t); got.Reason != assertion.ReasonAlgorithm; got = a.signIn(t) {
		if got.Assertion == nil {
			t.Fatalf("refused: %q (%s), want algorithm", got.Reason, got.Detail)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}
