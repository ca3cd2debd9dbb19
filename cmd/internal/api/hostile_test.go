package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store/storetest"
)

// TestProblems sees that whatever is wrong with a request is told as a problem, by the field's name, and never as 500.
func TestProblems(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		long := strings.Repeat("x", 1<<20)
		for _, c := range []struct {
			name         string
			method, path string
			body         any
			status       int
			names        string // a location, or a word of the detail
		}{
			{"no such path", "GET", "/unknown", nil, 404, "openapi.json"},
			{"no path", "GET", "/", nil, 404, "openapi.json"},
			{"another method", "DELETE", "/teams", nil, 405, "DELETE"},
			{"an odd method", "BREW", "/teams", nil, 405, "BREW"},
			{"an unknown field", "POST", "/teams", object{"name": "x", "colour": "red"}, 422, "body.colour"},
			{"a missing field", "POST", "/teams", object{}, 422, "name"},
			{"another type", "POST", "/teams", object{"name": 1}, 422, "body.name"},
			{"null", "POST", "/teams", "null", 422, "body"},
			{"a list", "POST", "/teams", "[]", 422, "body"},
			{"no JSON", "POST", "/teams", "{", 400, "body"},
			{"no body", "POST", "/teams", nil, 400, "body"},
			{"a NUL", "POST", "/teams", `{"name": "a\u0000b"}`, 422, "NUL"},
			{"no UTF-8", "POST", "/teams", "{\"name\": \"\xff\"}", 422, "UTF-8"},
			{"too long", "POST", "/teams", object{"name": long}, 413, "1 MiB"},
			{"too deep", "POST", "/teams", strings.Repeat("[", 20_000), 400, "body"},
			{"a huge number", "POST", "/runs", `{"max_deactivations": 1e999}`, 400, "body"},
			{"a number too large", "POST", "/runs", `{"max_deactivations": 99999999999999999999}`, 422, "body"},
			{"an unknown parameter", "GET", "/teams?colour=red", nil, 422, "query.colour"},
			{"a limit of 0", "GET", "/teams?limit=0", nil, 422, "query.limit"},
			{"a limit too large", "GET", "/users?limit=501", nil, 422, "query.limit"},
			{"a limit that is none", "GET", "/users?limit=many", nil, 422, "query.limit"},
			{"a cursor that is none", "GET", "/users?cursor=x", nil, 422, "query.cursor"},
			{"a cursor of another list", "GET", "/users?cursor=Z3JvdXA6MQ", nil, 422, "query.cursor"},
			{"a cursor that is gone", "GET", "/teams?cursor=dGVhbTp4", nil, 422, "query.cursor"},
			{"a cursor with a NUL", "GET", "/runs?cursor=cnVuOgA", nil, 422, "query.cursor"},
			{"a status that is none", "GET", "/runs?status=great", nil, 422, "query.status"},
			{"a NUL in a path", "GET", "/users/a%00b", nil, 400, "NUL"},
			{"a NUL in a query", "GET", "/access?user=a%00b", nil, 400, "NUL"},
			{"no UTF-8 in a query", "GET", "/access?user=%ff", nil, 400, "UTF-8"},
			{"a query that is not encoded", "GET", "/access?user=%zz", nil, 400, "query"},
			{"a time that is none", "GET", "/audit?from=0", nil, 422, "query.from"},
		} {
			got := w.do("admin", c.method, c.path, c.body)
			if got.status != c.status || !strings.Contains(got.text, c.names) {
				t.Errorf("%s: %s %s = %d, want %d that names %s: %.300s", c.name, c.method, c.path, got.status, c.status, c.names, got.text)
			}
			if got.header.Get("Content-Type") != "application/problem+json" || got.body["request_id"] != got.header.Get("X-Request-Id") || got.body["status"] != float64(c.status) {
				t.Errorf("%s: %s %v, want a problem with the request's id", c.name, got.header.Get("Content-Type"), got.body)
			}
			if cache := got.header.Get("Cache-Control"); cache != "no-store" {
				t.Errorf("%s: Cache-Control = %q", c.name, cache)
			}
			if c.status == 405 && got.header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("%s: Allow = %q", c.name, got.header.Get("Allow"))
			}
		}
		if got := w.do("admin", "POST", "/teams", "name: x", "Content-Type", "application/yaml"); got.status != http.StatusUnsupportedMediaType {
			t.Errorf("YAML = %d %s, want 415", got.status, got.text)
		}
		if got := w.do("admin", "HEAD", "/teams", nil); got.status != http.StatusOK {
			t.Errorf("HEAD = %d", got.status)
		}
	})
}

// TestProblems_Internal sees that what is ours is not told.
func TestProblems_Internal(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		_, err := w.app.Store.DB().ExecContext(t.Context(), "ALTER TABLE conflicts RENAME TO lost")
		w.must(err)
		got := w.do("viewer", "GET", "/conflicts", nil)
		if got.status != http.StatusInternalServerError || got.body["detail"] != "internal error" || got.body["request_id"] == "" || strings.Contains(got.text, "conflicts") {
			t.Errorf("with a table missing = %d %s, want 500 that says nothing", got.status, got.text)
		}
	})
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.MigratedSQLiteDSN(t), "api: {requests_per_minute: 1}\n")
	if got := w.want(http.StatusOK, "viewer", "GET", "/me", nil); got.header.Get("RateLimit-Limit") != "1" || got.header.Get("RateLimit-Remaining") != "0" {
		t.Errorf("RateLimit headers: %v", got.header)
	}
	got := w.want(http.StatusTooManyRequests, "viewer", "GET", "/me", nil)
	if got.header.Get("Retry-After") == "" || got.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("429 = %v %s, want Retry-After", got.header, got.text)
	}
	// Each key, and each person who is signed in, for themselves.
	w.want(http.StatusOK, "operator", "GET", "/me", nil)
	if got := w.browse("viewer", "GET", "/me", nil); got.status != http.StatusOK {
		t.Errorf("with a session = %d", got.status)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.MigratedSQLiteDSN(t), "")
	w.do("viewer", "GET", "/users/"+nothing, nil)
	w.do("viewer", "GET", "/unknown/"+nothing, nil)
	w.do("", "BREW", "/teams", nil)
	got, err := http.Get(w.url + "/metrics")
	w.must(err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	w.must(err)
	for _, want := range []string{
		`idpsync_api_requests_total{code="404",method="GET",route="/users/{id}"} 1`,
		`idpsync_api_requests_total{code="404",method="other",route="other"} 1`,
		`idpsync_api_requests_total{code="405",method="other",route="other"} 1`,
		`idpsync_api_request_duration_seconds_count{method="GET",route="/users/{id}"} 1`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if strings.Contains(string(text), nothing) {
		t.Error("an id is in the metrics")
	}
}
