package samlsp_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/cmd/internal/signin/samlsp"
)

// app is an application that people sign in to: a server of its own, with nothing in it but the provider under test.
type app struct {
	*httptest.Server
	idp      *idptest.SAMLServer
	memory   *idptest.Memory
	provider *samlsp.Provider
	ahead    atomic.Int64 // nanoseconds that the application's clock is ahead
}

// outcome is how a sign-in ended.
type outcome struct {
	Assertion   *assertion.Assertion
	Reason      assertion.Reason
	Unavailable bool
	Detail      string
}

func start(t *testing.T, change func(*samlsp.Options)) *app {
	t.Helper()
	return startAt(t, idptest.SAML(t), &idptest.Memory{}, change)
}

func startAt(t *testing.T, idp *idptest.SAMLServer, memory *idptest.Memory, change func(*samlsp.Options)) *app {
	t.Helper()
	return startWith(t, idp, memory, httptest.NewTLSServer, change)
}

func startWith(t *testing.T, idp *idptest.SAMLServer, memory *idptest.Memory, serve func(http.Handler) *httptest.Server, change func(*samlsp.Options)) *app {
	t.Helper()
	a := &app{idp: idp, memory: memory}
	memory.Now = a.now
	mux := http.NewServeMux()
	a.Server = serve(mux)
	t.Cleanup(a.Close)
	options := samlsp.Options{
		MetadataURL: idp.MetadataURL(), BaseURL: a.URL, CAFile: idptest.WriteCA(t, idp.CA), Memory: memory, Now: a.now,
		Attributes: samlsp.Attributes{Groups: "groups"},
	}
	if change != nil {
		change(&options)
	}
	var err error
	if a.provider, err = samlsp.New(options); err != nil {
		t.Fatal(err)
	}
	mux.HandleFunc("GET "+assertion.PathSAML, func(w http.ResponseWriter, r *http.Request) {
		if err := a.provider.Begin(w, r, r.FormValue("return_to")); err != nil {
			report(w, nil, err)
		}
	})
	mux.HandleFunc(assertion.PathSAMLAnswer, func(w http.ResponseWriter, r *http.Request) {
		person, err := a.provider.Finish(w, r)
		report(w, person, err)
	})
	mux.Handle("GET "+assertion.PathSAMLMetadata, a.provider.Handler())
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

// register tells the identity provider of the application.
func (a *app) register(t *testing.T) string {
	t.Helper()
	page, err := a.browser(t).Get(a.URL + assertion.PathSAMLMetadata)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.idp.Register([]byte(page.Body)); err != nil {
		t.Fatal(err)
	}
	return page.Body
}

// browser returns one that trusts the application and the identity provider.
func (a *app) browser(t *testing.T) *idptest.Browser {
	t.Helper()
	b := idptest.NewBrowser(a.Certificate(), a.idp.CA)
	t.Cleanup(b.Close)
	return b
}

// begin goes to the identity provider, and returns the form with the answer, which is not posted yet.
func (a *app) begin(t *testing.T, b *idptest.Browser) url.Values {
	t.Helper()
	return a.form(t, b, a.URL+assertion.PathSAML+"?return_to=%2Fruns%3Fstate%3Dheld")
}

// initiated has the identity provider begin.
func (a *app) initiated(t *testing.T, b *idptest.Browser, relayState string) url.Values {
	t.Helper()
	return a.form(t, b, a.idp.InitiatedURL(a.URL+assertion.PathSAMLMetadata, a.URL+assertion.PathSAMLAnswer, relayState))
}

func (a *app) form(t *testing.T, b *idptest.Browser, address string) url.Values {
	t.Helper()
	page, err := b.Follow(address, func(p *idptest.Page) bool { return p.Form != nil })
	if err != nil {
		t.Fatal(err)
	}
	if page.Form == nil || !strings.HasPrefix(page.Action, a.URL+assertion.PathSAMLAnswer) {
		t.Fatalf("the identity provider did not send the browser back: %d %s", page.Status, page.Body)
	}
	return page.Form
}

// finish posts the form with the answer.
func (a *app) finish(t *testing.T, b *idptest.Browser, form url.Values) outcome {
	t.Helper()
	page, err := b.Post(a.URL+assertion.PathSAMLAnswer, form)
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
