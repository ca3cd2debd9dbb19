package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// oktaEnvironment is what ../run sets: the fake, the program that pulls it, and Okta's own description of its interface.
type oktaEnvironment struct{ url, token, app, ca, idpsync, spec string }

// inspector stands between idpsync and the fake, and holds every request and answer against the description.
type inspector struct {
	router routers.Router
	proxy  *httputil.ReverseProxy

	mu    sync.Mutex
	good  map[string]int             // answers that are as described, by endpoint and status
	wrong map[string]map[string]bool // what is not, by endpoint and status
}

// knownOkta is where the fake differs from the description on purpose, by what the complaint is.
var knownOkta = map[string]string{
	"GET /api/v1/apps/{appId}/users: 200: Error at \"/*/externalId\": Value is not nullable":        "null in what the service was recorded to answer",
	"GET /api/v1/apps/{appId}/users/{userId}: 200: Error at \"/externalId\": Value is not nullable": "null in what the service was recorded to answer",
	"GET /api/v1/logs: 200: Error at \"/*/outcome/reason\": Value is not nullable":                  "null in the examples of Okta's documentation",
}

// index is the place of an item in a list.
var index = regexp.MustCompile(`/[0-9]+/`)

// okta lets idpsync pull the fake through the inspector, in each way that there is.
func okta(c suite, e oktaEnvironment) {
	var i *inspector
	c.check("Okta's OpenAPI description can be read", func() (err error) {
		i, err = newInspector(e)
		return err
	})
	if i == nil {
		return
	}
	server := httptest.NewTLSServer(i)
	defer server.Close()
	work, err := os.MkdirTemp("", "independent")
	if err != nil {
		c.check("a directory to work in", func() error { return err })
		return
	}
	defer os.RemoveAll(work)
	for name, scope := range map[string]string{"all": "", "app": ", app_id: " + e.app, "groups": `, groups: {include: ["P*"]}`} {
		c.check("idpsync pulls it, scope: "+name, func() error { return pull(e, server, filepath.Join(work, name), scope) })
	}
	c.check("errors are as described", func() error { return i.refusals(e, server) })
	i.report(c)
}

func newInspector(e oktaEnvironment) (*inspector, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(e.spec)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // {yourOktaDomain}
	for _, item := range doc.Paths.Map() {
		item.Servers = nil
		for _, operation := range item.Operations() {
			operation.Servers = nil
		}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(e.url)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(e.ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &inspector{
		router: router, good: map[string]int{}, wrong: map[string]map[string]bool{},
		proxy: &httputil.ReverseProxy{
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, DisableCompression: true},
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host // and Host stays, for the links
				r.Out.Host = r.In.Host
				r.Out.Header.Del("Accept-Encoding")
			},
		},
	}, nil
}

// ServeHTTP passes the request on, and looks at both sides.
func (i *inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	i.proxy.ServeHTTP(rec, r)
	body := bytes.Clone(rec.Body.Bytes())
	i.inspect(r, rec.Code, rec.Header(), body)
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

func (i *inspector) inspect(r *http.Request, status int, header http.Header, body []byte) {
	plain := r.Clone(context.Background())
	plain.URL.Scheme, plain.URL.Host, plain.Host = "", "", ""
	route, params, err := i.router.FindRoute(plain)
	if err != nil {
		i.note(r.Method+" "+r.URL.Path, fmt.Errorf("is not described: %w", err))
		return
	}
	endpoint := fmt.Sprintf("%s %s: %d", r.Method, route.Path, status)
	options := &openapi3filter.Options{
		MultiError: true, IncludeResponseStatus: true,
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	in := &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
		i.note(endpoint, fmt.Errorf("the request: %w", err))
		return
	}
	// Okta's description takes a parameter that it does not know for none; whoever misspells one would not notice.
	for name := range r.URL.Query() {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil && route.PathItem.Parameters.GetByInAndName("query", name) == nil {
			i.note(endpoint, fmt.Errorf("the request: the parameter %q is not described", name))
			return
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: header, Options: options}
	out.SetBodyBytes(body)
	i.note(endpoint, openapi3filter.ValidateResponse(context.Background(), out))
}

func (i *inspector) note(endpoint string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err == nil {
		i.good[endpoint]++
		return
	}
	if i.wrong[endpoint] == nil {
		i.wrong[endpoint] = map[string]bool{}
	}
	var many openapi3.MultiError
	if !errors.As(err, &many) {
		many = openapi3.MultiError{err}
	}
	for _, one := range many {
		text, _, _ := strings.Cut(one.Error(), "\nSchema:")
		i.wrong[endpoint][index.ReplaceAllString(text, "/*/")] = true
	}
}

// pull runs idpsync against the inspector: a check, a full pull, one of the changes, and reads by id.
func pull(e oktaEnvironment, server *httptest.Server, work, scope string) error {
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	ca := filepath.Join(work, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		return err
	}
	config := filepath.Join(work, "idpsync.yaml")
	text := fmt.Sprintf("listen: 127.0.0.1:0\ndatabase: sqlite://%s\nconnectors:\n  - {name: okta, type: okta, url: %s, api_token: %s, ca_file: %s%s}\n",
		filepath.Join(work, "idpsync.db"), server.URL, e.token, ca, scope)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"admin", "create", "glass@independent.example"},
		{"check"},
		{"resync", "--full"},
		{"resync"},
		{"resync", "--user", "nobody@independent.example"},
		{"resync", "--group", "Platform Admins"},
	} {
		out, err := exec.Command(e.idpsync, append([]string{"--config", config}, args...)...).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !(errors.As(err, &exit) && exit.ExitCode() < 10 && slices.Contains(args, "--user")) {
			return fmt.Errorf("idpsync %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// refusals asks for what is not there, and without the right to.
func (i *inspector) refusals(e oktaEnvironment, server *httptest.Server) error {
	for _, ask := range []struct {
		path, token string
		status      int
	}{
		{"/api/v1/users/00u00000000000000000", e.token, 404},
		{"/api/v1/groups/00g00000000000000000", e.token, 404},
		{"/api/v1/groups/00g00000000000000000/users", e.token, 404},
		{"/api/v1/apps/0oa00000000000000000/users", e.token, 404},
		{"/api/v1/apps/" + e.app + "/users/00u00000000000000000", e.token, 404},
	} {
		req, err := http.NewRequest(http.MethodGet, server.URL+ask.path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "SSWS "+ask.token)
		resp, err := server.Client().Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != ask.status {
			return fmt.Errorf("GET %s: status %d, want %d: %s", ask.path, resp.StatusCode, ask.status, body)
		}
	}
	return nil
}

// wantedOkta are the endpoints that idpsync uses: one that was not asked for was not checked.
var wantedOkta = []string{
	"GET /api/v1/users: 200", "GET /api/v1/users/{userId}: 404", "GET /api/v1/users/{userId}/groups: 200",
	"GET /api/v1/groups: 200", "GET /api/v1/groups/{groupId}/users: 200", "GET /api/v1/apps/{appId}: 200",
	"GET /api/v1/apps/{appId}/users: 200", "GET /api/v1/apps/{appId}/groups: 200", "GET /api/v1/logs: 200",
}

func (i *inspector) report(c suite) {
	i.mu.Lock()
	defer i.mu.Unlock()
	endpoints := map[string]bool{}
	for _, list := range [][]string{wantedOkta, slices.Collect(maps.Keys(i.good)), slices.Collect(maps.Keys(i.wrong))} {
		for _, endpoint := range list {
			endpoints[endpoint] = true
		}
	}
	listed := maps.Clone(knownOkta)
	for _, endpoint := range slices.Sorted(maps.Keys(endpoints)) {
		var complaints []string
		for _, complaint := range slices.Sorted(maps.Keys(i.wrong[endpoint])) {
			why, known := knownOkta[endpoint+": "+complaint]
			delete(listed, endpoint+": "+complaint)
			if !known {
				complaints = append(complaints, complaint)
				continue
			}
			c.tally.known++
			c.print("KNOWN", endpoint+": "+complaint, why)
		}
		c.check(fmt.Sprintf("%s, %d answers without a complaint", endpoint, i.good[endpoint]), func() error {
			switch {
			case len(complaints) > 0:
				return errors.New(strings.Join(complaints, "; "))
			case i.good[endpoint] == 0 && len(i.wrong[endpoint]) == 0:
				return errors.New("it was not asked for")
			}
			return nil
		})
	}
	for difference := range listed {
		c.check(difference, func() error { return errors.New("is listed as a difference, and is none") })
	}
}
