package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store/identity"
)

// world is a serving program with one person of each rank, who have a key and a session each.
type world struct {
	testing.TB
	app     *app.App
	url     string
	users   map[string]identity.User
	keys    map[string]string // by rank
	keyIDs  map[string]string
	cookies map[string]string
}

// newWorld serves with a database and more configuration.
func newWorld(t testing.TB, dsn, yaml string) *world {
	t.Helper()
	w := apptest.New(t, dsn, yaml)
	return &world{TB: t, app: w.App, url: w.URL, users: w.Users, keys: w.Keys, keyIDs: w.KeyIDs, cookies: w.Cookies}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// answer is what a request was answered.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func (a *answer) kind() string {
	kind, _ := a.body["type"].(string)
	return strings.TrimPrefix(kind, "urn:idpsync:")
}

// do makes a request as somebody of a rank, with the key; "" is nobody. A body of type string is sent as it is.
func (w *world) do(as, method, path string, body any, headers ...string) *answer {
	w.Helper()
	if key := w.keys[as]; key != "" {
		headers = append([]string{"Authorization", "Bearer " + key}, headers...)
	}
	return w.send(method, path, body, headers...)
}

// browse makes a request as somebody of a rank does who is signed in.
func (w *world) browse(as, method, path string, body any, headers ...string) *answer {
	w.Helper()
	return w.send(method, path, body, append([]string{"Cookie", "idpsync=" + w.cookies[as]}, headers...)...)
}

func (w *world) send(method, path string, body any, headers ...string) *answer {
	w.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		w.must(err)
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+"/api/v1"+path, reader)
	w.must(err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := http.DefaultClient.Do(r)
	w.must(err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	w.must(err)
	out := &answer{status: got.StatusCode, header: got.Header, text: string(text)}
	if len(text) > 0 && strings.Contains(got.Header.Get("Content-Type"), "json") && !strings.Contains(got.Header.Get("Content-Type"), "ndjson") {
		if err := json.Unmarshal(text, &out.body); err != nil {
			w.Fatalf("%s %s: answered %q: %v", method, path, text, err)
		}
	}
	return out
}

// want makes a request as do does, and fails the test where the status is another one.
func (w *world) want(status int, as, method, path string, body any, headers ...string) *answer {
	w.Helper()
	got := w.do(as, method, path, body, headers...)
	if got.status != status {
		w.Fatalf("%s %s as %s = %d, want %d: %s", method, path, as, got.status, status, got.text)
	}
	return got
}

// object is a JSON object to send.
type object = map[string]any

func items(a *answer) []object {
	list, _ := a.body["items"].([]any)
	out := make([]object, len(list))
	for i, item := range list {
		out[i] = item.(object)
	}
	return out
}
