package apitest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/apitest"
	"github.com/idpsync/idpsync/store/storetest"
)

// FuzzAPI sends anything as an admin: what comes back is JSON, and never an accident.
func FuzzAPI(f *testing.F) {
	a, key := apitest.New(f, storetest.SQLite(f))
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(a.Document(), &document); err != nil {
		f.Fatal(err)
	}
	paths := strings.NewReplacer("{id}", "00000000-0000-4000-8000-000000000001", "{name}", "okta", "{team}", "root", "{role}", "admin")
	for path, methods := range document.Paths {
		for method := range methods {
			f.Add(strings.ToUpper(method), paths.Replace(path), "")
			f.Add(strings.ToUpper(method), paths.Replace(path)+"?limit=1&cursor=eDox", "{}")
		}
	}
	f.Add("POST", "/keys", `{"name":"x","expires":"1h"}`)
	f.Add("POST", "/teams", `{"name":"x","scope":["a"]}`)
	f.Add("PATCH", "/teams/00000000-0000-4000-8000-000000000001", `{"scope":["a","b"]}`)
	f.Add("POST", "/role-mappings", `{"group":"g","grants":[{"team":"t","role":"viewer"}],"add":true}`)
	f.Add("PUT", "/role-mappings", `{"items":[{"group":"g","grants":[{"team":"t","role":"viewer"}]}],"dry_run":true}`)
	f.Add("POST", "/grants", `{"user":"admin@acme.test","team":"root","role":"operator"}`)
	f.Add("POST", "/settings/scim", `{"enabled":true}`)
	f.Add("GET", "/access?user=admin@acme.test&at=2026-01-01", "")
	f.Add("GET", "/audit?user=admin@acme.test&from=2026-01-01T00:00:00Z&type=user.*", "")
	f.Add("GET", "/users?search=a&active=true&source=x&cursor=dXNlcjox", "")
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) || !strings.HasPrefix(path, "/") {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://idpsync.example"+api.Prefix+path, strings.NewReader(body))
		if err != nil {
			return // no address
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %q with %q = %d %s", method, path, body, w.Code, w.Body)
		}
		if kind := w.Header().Get("Content-Type"); strings.Contains(kind, "json") && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q with %q answers no JSON: %s", method, path, body, w.Body)
		}
	})
}
