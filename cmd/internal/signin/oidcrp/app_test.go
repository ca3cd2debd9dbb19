package oidcrp_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/cmd/internal/signin/oidcrp"
)

// app is an application that people sign in to: a server of its own, with nothing in it but the provider under test.
type app struct {
	*httptest.Server
	idp    *idptest.OIDCServer
	memory *idptest.Memory
	ahead  atomic.Int64 // nanoseconds that the application's clock is ahead

	provider *oidcrp.Provider
}

// outcome is how a sign-in ended.
type outcome struct {
	Assertion   *assertion.Assertion
	Reason      assertion.Reason
	Unavailable bool
	Detail      string
}

func start(t *testing.T, change func(*oidcrp.Options)) *app {
	t.Helper()
	return startWith(t, httptest.NewTLSServer, change)
}

func startWith(t *testing.T, serve func(http.Handler) *httptest.Server, change func(*oidcrp.Options)) *app {
	t.Helper()
	a := &app{idp: idptest.OIDC(t), memory: &idptest.Memory{}}
	a.memory.Now = a.now
	mux := http.NewServeMux()
	a.Server = serve(mux)
	t.Cleanup(a.Close)
	options := oidcrp.Options{
		Issuer: a.idp.Issuer, ClientID: a.idp.ClientID, ClientSecret: a.idp.ClientSecret, RedirectURL: a.URL + assertion.PathOIDCAnswer,
		Scopes: []string{"openid", "email", "profile"}, UserName: "email", Groups: "groups", RequireVerifiedEmail: true,
		CAFile: idptest.WriteCA(t, a.idp.CA), Memory: a.memory, Now: a.now,
	}
	if change != nil {
		change(&options)
	}
	provider, err := oidcrp.New(options)
	if err != nil {
		t.Fatal(err)
	}
	a.provider = provider
	mux.HandleFunc("GET "+assertion.PathOIDC, func(w http.ResponseWriter, r *http.Request) {
		if err := provider.Begin(w, r, r.FormValue("return_to")); err != nil {
			report(w, nil, err)
		}
	})
	mux.HandleFunc(assertion.PathOIDCAnswer, func(w http.ResponseWriter, r *http.Request) {
		person, err := provider.Finish(w, r)
		report(w, person, err)
	})
	return a
}

func (a *app) now() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }

func report(w http.ResponseWriter, person *assertion.Assertion, err error) {
	var refused *assertion.RefusedError
	var unavailable *assertion.UnavailableError
	out := outcome{Assertion: person, Unavailable: errors.As(err, &unavailable)}
	if err != nil {
		out.Detail = err.Error()
	}
	if errors.As(err, &refused) {
		out.Reason = refused.Reason
	}
	_ = json.NewEncoder(w).Encode(out) // the browser may have gone
}

// browser returns one that trusts the application and the provider.
func (a *app) browser(t *testing.T) *idptest.Browser {
	t.Helper()
	b := idptest.NewBrowser(a.Certificate(), a.idp.CA)
	t.Cleanup(b.Close)
	return b
}

// begin goes to the provider and back, and returns the address with the answer, which is not visited yet.
func (a *app) begin(t *testing.T, b *idptest.Browser) string {
	t.Helper()
	page, err := b.Follow(a.URL+assertion.PathOIDC+"?return_to=%2Fruns%3Fstate%3Dheld", func(p *idptest.Page) bool {
		return strings.HasPrefix(p.Location, a.URL+assertion.PathOIDCAnswer)
	})
	if err != nil {
		t.Fatal(err)
	}
	if page.Location == "" {
		t.Fatalf("the provider did not send the browser back: %d %s", page.Status, page.Body)
	}
	return page.Location
}

// finish visits the address with the answer.
func (a *app) finish(t *testing.T, b *idptest.Browser, answer string) outcome {
	t.Helper()
	page, err := b.Get(answer)
	if err != nil {
		t.Fatal(err)
	}
	var out outcome
	if err := json.Unmarshal([]byte(page.Body), &out); err != nil {
		t.Fatalf("%d %q: %v", page.Status, page.Body, err)
	}
	return out
}

func (a *app) signIn(t *testing.T) outcome {
	t.Helper()
	b := a.browser(t)
	return a.finish(t, b, a.begin(t, b))
}
