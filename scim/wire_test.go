package scim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

// panicking is an Authenticator with a mistake in it.
type panicking struct{}

func (panicking) Authenticate(context.Context, string, ...*store.UserLookup) (scim.Principal, error) {
	panic("secret detail")
}

// Whatever fails, and however early, the answer on the wire is a SCIM error, with the headers that belong to it.
func TestRule12_EveryStatusIsASCIMError(t *testing.T) {
	t.Parallel()
	off := func(o *scim.Options) {
		o.Enabled = func(context.Context) (bool, time.Time) { return false, time.Time{} }
	}
	soon := func(o *scim.Options) {
		o.Enabled = func(context.Context) (bool, time.Time) { return true, time.Now().Add(time.Minute) }
	}
	one := func(o *scim.Options) { o.RequestsPerMinute = 1 }
	broken := func(o *scim.Options) { o.Auth = panicking{} }
	large := strings.Repeat(" ", 1<<20+1)
	for _, tc := range []struct {
		name           string
		option         func(*scim.Options)
		method, target string
		body           string
		headers        []string // name, value pairs
		status         int
		scimType       string
		wantHeader     string // one that has to be there
	}{
		{"bad syntax", nil, "POST", "/Users", `{`, nil, 400, "invalidSyntax", ""},
		{"bad value", nil, "POST", "/Users", `{}`, nil, 400, "invalidValue", ""},
		{"bad filter", nil, "GET", "/Users?filter=a+b+c", "", nil, 400, "invalidFilter", ""},
		{"bad cursor", nil, "GET", "/Users?cursor=x", "", nil, 400, "invalidCursor", ""},
		{"bad count", nil, "GET", "/Users?cursor=&count=x", "", nil, 400, "invalidCount", ""},
		{"bad query", nil, "GET", "/Users?filter=%zz", "", nil, 400, "invalidSyntax", ""},
		{"no key", nil, "GET", "/Users", "", []string{"Authorization", ""}, 401, "", "WWW-Authenticate"},
		{"no key, nowhere", nil, "GET", "/nowhere", "", []string{"Authorization", ""}, 401, "", "WWW-Authenticate"},
		{"an unknown key", nil, "GET", "/Users", "", []string{"Authorization", "Bearer x"}, 401, "", "WWW-Authenticate"},
		{"another scheme", nil, "GET", "/Users", "", []string{"Authorization", "Basic Z29vZDo="}, 401, "", "WWW-Authenticate"},
		{"a key without the role", nil, "GET", "/Users", "", []string{"Authorization", "Bearer plain"}, 403, "", ""},
		{"switched off", off, "GET", "/Users", "", nil, 403, "", ""},
		{"switched off, without a key", off, "GET", "/Users", "", []string{"Authorization", ""}, 403, "", ""},
		{"a filter on discovery", nil, "GET", "/Schemas?filter=id+pr", "", nil, 403, "", ""},
		{"nobody", nil, "GET", "/Users/nobody", "", nil, 404, "", ""},
		{"nowhere", nil, "GET", "/Printers", "", nil, 404, "", ""},
		{"the root", nil, "POST", "/", "{}", nil, 405, "", "Allow"},
		{"a method that is not there", nil, "PUT", "/Users", "{}", nil, 405, "", "Allow"},
		{"a method nobody knows", nil, "BREW", "/Users", "", nil, 405, "", "Allow"},
		{"taken", nil, "POST", "/Users", person("ann"), nil, 409, "uniqueness", ""},
		{"another version", nil, "DELETE", "/Users/{ann}", "", []string{"If-Match", `W/"99"`}, 412, "", ""},
		{"a large body", nil, "POST", "/Users", large, nil, 413, "", ""},
		{"a large body in chunks", nil, "POST", "/Users", large, []string{"Transfer-Encoding", "chunked"}, 413, "", ""},
		{"another media type", nil, "POST", "/Users", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "", ""},
		{"a compressed body", nil, "POST", "/Users", "\x1f\x8b", []string{"Content-Encoding", "gzip"}, 415, "", ""},
		{"too many requests", one, "GET", "/Users", "", nil, 429, "", "Retry-After"},
		{"a mistake of ours", broken, "GET", "/Users", "", nil, 500, "", ""},
		{"a database that is gone", nil, "GET", "/Users", "", []string{"Authorization", "Bearer broken"}, 500, "", ""},
		{"what cannot be", nil, "POST", "/Me", "{}", nil, 501, "", ""},
		{"not yet", soon, "GET", "/Users", "", nil, 503, "", "Retry-After"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := storetest.SQLite(t)
			held := serve(t, s).newUser("ann")
			var options []func(*scim.Options)
			if tc.option != nil {
				options = append(options, tc.option)
			}
			server := listen(t, s, options...)
			send := func() (*http.Response, []byte) {
				target := server.URL + scim.Root + strings.ReplaceAll(tc.target, "{ann}", held)
				req, err := http.NewRequestWithContext(t.Context(), tc.method, target, strings.NewReader(tc.body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer good")
				req.Header.Set("Content-Type", "application/scim+json")
				for i := 0; i < len(tc.headers); i += 2 {
					req.Header.Set(tc.headers[i], tc.headers[i+1])
				}
				if req.Header.Get("Transfer-Encoding") != "" {
					req.ContentLength = -1
				}
				res, err := server.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				text, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return res, text
			}
			res, body := send()
			if tc.status == http.StatusTooManyRequests {
				res, body = send()
			}
			var e map[string]any
			if err := json.Unmarshal(body, &e); err != nil {
				t.Fatalf("%d %s: %v", res.StatusCode, body, err)
			}
			detail, _ := e["detail"].(string)
			scimType, _ := e["scimType"].(string)
			schemas, _ := json.Marshal(e["schemas"])
			if res.StatusCode != tc.status || e["status"] != strconv.Itoa(tc.status) || detail == "" || scimType != tc.scimType ||
				string(schemas) != `["urn:ietf:params:scim:api:messages:2.0:Error"]` {
				t.Errorf("answer %d %s, want a SCIM error %d %s", res.StatusCode, body, tc.status, tc.scimType)
			}
			if _, typed := e["scimType"]; typed != (tc.scimType != "") || len(e) > 4 {
				t.Errorf("members that do not belong there: %s", body)
			}
			if kind := res.Header.Get("Content-Type"); kind != "application/scim+json" || res.Header.Get("X-Request-Id") == "" {
				t.Errorf("Content-Type %q, X-Request-Id %q", kind, res.Header.Get("X-Request-Id"))
			}
			if tc.wantHeader != "" && res.Header.Get(tc.wantHeader) == "" {
				t.Errorf("no %s", tc.wantHeader)
			}
			if bytes.Contains(body, []byte("secret detail")) {
				t.Errorf("the answer tells %s", body)
			}
		})
	}
}
