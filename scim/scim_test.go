package scim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

const (
	userURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	base          = "https://idpsync.example"
)

// keys is an Authenticator of a few fixed keys.
type keys map[string]scim.Principal

func (k keys) Authenticate(_ context.Context, bearer string, _ ...*store.UserLookup) (scim.Principal, error) {
	if bearer == "broken" {
		return scim.Principal{}, fmt.Errorf("dial tcp 10.0.0.1:5432: secret detail")
	}
	p, ok := k[bearer]
	if !ok {
		return scim.Principal{}, scim.ErrUnauthenticated
	}
	return p, nil
}

func someKeys() keys {
	return keys{
		"good":  {KeyID: "k1", KeyName: "okta push", UserID: "u1", UserName: "op@x.example", Source: "scim:k1", Provisioner: true},
		"other": {KeyID: "k2", KeyName: "entra push", UserID: "u2", UserName: "op2@x.example", Source: "scim:k2", Provisioner: true},
		"okta":  {KeyID: "k4", KeyName: "bound", UserID: "u1", UserName: "op@x.example", Source: "okta", Provisioner: true},
		"plain": {KeyID: "k3", KeyName: "viewer", UserID: "u3", UserName: "v@x.example", Source: "scim:k3"},
	}
}

// endpoint is the handler under test, and the client that talks to it.
type endpoint struct {
	t       testing.TB
	store   *store.Store
	applier *lifecycle.Applier
	handler *scim.Handler
	log     *bytes.Buffer
	key     string
}

// serve makes an endpoint over a store; options may change what it is made of.
func serve(t testing.TB, s *store.Store, options ...func(*scim.Options)) *endpoint {
	t.Helper()
	applier, err := lifecycle.New(lifecycle.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{t: t, store: s, applier: applier, log: &bytes.Buffer{}, key: "good"}
	o := scim.Options{
		Store: s, Applier: applier, Auth: someKeys(), BaseURL: base, RequestsPerMinute: -1,
		Logger: slog.New(slog.NewTextHandler(e.log, nil)),
	}
	for _, change := range options {
		change(&o)
	}
	if e.handler, err = scim.New(o); err != nil {
		t.Fatal(err)
	}
	return e
}

// each runs a test against a fresh endpoint on each database.
func each(t *testing.T, f func(t *testing.T, e *endpoint), options ...func(*scim.Options)) {
	t.Helper()
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) { f(t, serve(t, s, options...)) })
}

// onSQLite runs a test that is not about the database on one of them.
func onSQLite(t *testing.T, options ...func(*scim.Options)) *endpoint {
	t.Helper()
	t.Parallel()
	return serve(t, storetest.SQLite(t), options...)
}

// reply is what came back.
type reply struct {
	t      testing.TB
	call   string
	status int
	header http.Header
	text   string
	doc    map[string]any
}

// do sends a request; body is JSON text, "" for none; headers are name, value pairs.
func (e *endpoint) do(method, target, body string, headers ...string) *reply {
	e.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, "http://ignored.example/scim/v2"+target, reader).WithContext(e.t.Context())
	req.Header.Set("Authorization", "Bearer "+e.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	return e.send(req)
}

func (e *endpoint) send(req *http.Request) *reply {
	e.t.Helper()
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, req)
	r := &reply{t: e.t, call: req.Method + " " + req.URL.Path, status: w.Code, header: w.Header(), text: w.Body.String()}
	if r.text != "" {
		if err := json.Unmarshal(w.Body.Bytes(), &r.doc); err != nil {
			e.t.Errorf("%s: %v in %s", r.call, err, r.text)
		}
		if kind := r.header.Get("Content-Type"); kind != "application/scim+json" {
			e.t.Errorf("%s: Content-Type %q", r.call, kind)
		}
	}
	if r.header.Get("X-Request-Id") == "" {
		e.t.Errorf("%s: no X-Request-Id", r.call)
	}
	if r.status >= 400 {
		r.checkError()
	}
	return r
}

// checkError: every failure is a SCIM error (RFC 7644, section 3.12).
func (r *reply) checkError() {
	r.t.Helper()
	schemas, _ := r.doc["schemas"].([]any)
	detail, _ := r.doc["detail"].(string)
	if len(schemas) != 1 || schemas[0] != "urn:ietf:params:scim:api:messages:2.0:Error" ||
		r.doc["status"] != fmt.Sprint(r.status) || detail == "" {
		r.t.Errorf("%s: %d is no SCIM error: %s", r.call, r.status, r.text)
	}
}

// want checks the status, and for errors the scimType.
func (r *reply) want(status int, scimType ...string) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s = %d, want %d: %s", r.call, r.status, status, r.text)
	}
	if len(scimType) > 0 {
		if got, _ := r.doc["scimType"].(string); got != scimType[0] {
			r.t.Fatalf("%s: scimType %q, want %q: %s", r.call, got, scimType[0], r.text)
		}
	}
	return r
}

// at walks the answer: names and indexes joined by "/"; nil where there is nothing.
func (r *reply) at(path string) any {
	var v any = r.doc
	for step := range strings.SplitSeq(path, "/") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			i := 0
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// has checks values in the answer: path, want pairs.
func (r *reply) has(pairs ...any) *reply {
	r.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := r.at(pairs[i].(string)); fmt.Sprint(got) != fmt.Sprint(pairs[i+1]) {
			r.t.Errorf("%s: %s = %v, want %v in %s", r.call, pairs[i], got, pairs[i+1], r.text)
		}
	}
	return r
}

func (r *reply) id() string {
	id, _ := r.doc["id"].(string)
	return id
}

// person returns the body of a complete user.
func person(name string, more ...string) string {
	return fmt.Sprintf(`{"schemas":["%s"],"userName":"%s@x.example","name":{"givenName":"%s","familyName":"Lee"},
		"emails":[{"value":"%s@x.example","type":"work","primary":true}]%s}`, userURN, name, name, name, strings.Join(more, ""))
}

func (e *endpoint) newUser(name string, more ...string) string {
	e.t.Helper()
	return e.do("POST", "/Users", person(name, more...)).want(201).id()
}

func (e *endpoint) newGroup(name string, members ...string) string {
	e.t.Helper()
	return e.do("POST", "/Groups", fmt.Sprintf(`{"displayName":%q,"members":%s}`, name, refsOf(members...))).want(201).id()
}

func refsOf(ids ...string) string {
	list := []map[string]string{}
	for _, id := range ids {
		list = append(list, map[string]string{"value": id})
	}
	b, _ := json.Marshal(list)
	return string(b)
}

func (e *endpoint) patch(target, operations string, headers ...string) *reply {
	e.t.Helper()
	return e.do("PATCH", target, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+operations+`]}`, headers...)
}

// members returns the ids of a group's members.
func (e *endpoint) members(group string) map[string]bool {
	e.t.Helper()
	ids := map[string]bool{}
	list, _ := e.do("GET", "/Groups/"+group, "").want(200).at("members").([]any)
	for _, m := range list {
		ids[m.(map[string]any)["value"].(string)] = true
	}
	return ids
}

// clock is a clock that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }
