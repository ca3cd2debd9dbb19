package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
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

// ranks are what somebody may be on the root team.
var ranks = []string{"none", "viewer", "operator", "admin"}

var setUp = identity.Actor{Kind: "cli", ID: "test", Name: "test"}

// eachDatabase runs a test with the DSN of an empty database of each kind.
func eachDatabase(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, storetest.MigratedSQLiteDSN(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, storetest.PostgresDSN(t))
	})
}

// newWorld serves with a database and more configuration.
func newWorld(t testing.TB, dsn, yaml string) *world {
	t.Helper()
	if !strings.Contains(yaml, "api:") {
		yaml += "api: {requests_per_minute: 1000000000}\n" // tests ask until something is so
	}
	config, err := configs.Parse("idpsync.yaml", fmt.Appendf(nil, "listen: 127.0.0.1:0\ndatabase: %q\n%s", dsn, yaml))
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, app: a, users: map[string]identity.User{}, keys: map[string]string{}, keyIDs: map[string]string{}, cookies: map[string]string{}}
	for _, rank := range ranks {
		w.person(rank)
	}
	for _, c := range config.Connectors {
		// A server runs at once what nobody ran yet: here only tests start runs.
		if _, err := a.Store.ClaimSlot(t.Context(), c.Name, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	served, urls := make(chan error, 1), make(chan string, 1)
	go func() { served <- a.Serve(ctx, func(url string) { urls <- url }) }()
	select {
	case w.url = <-urls:
	case err := <-served:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		_ = a.Close()
	})
	return w
}

// person makes somebody of a rank, with a key and a session.
func (w *world) person(rank string) {
	w.Helper()
	ctx, name := w.Context(), rank+"@acme.test"
	var u identity.User
	var err error
	if rank == "admin" {
		u, err = w.app.Applier.CreateAdmin(ctx, setUp, name, "no password", false)
	} else {
		u, err = w.app.Applier.CreateUser(ctx, setUp, "scim:test", identity.User{UserName: name, ExternalID: rank, Active: true})
	}
	w.must(err)
	if rank == "viewer" || rank == "operator" {
		_, err = w.app.Applier.GiveRole(ctx, setUp, u.ID, identity.TeamRole{Team: identity.RootTeam, Role: rank})
		w.must(err)
	}
	key := apikey.Generate()
	w.must(w.app.Applier.CreateKey(ctx, setUp, store.Key{
		ID: key.ID(), UserID: u.ID, UserName: name, Name: "of " + rank, Source: "scim:" + key.ID(), Hash: key.Hash(), Created: time.Now(),
	}))
	w.users[rank], w.keys[rank], w.keyIDs[rank] = u, key.Reveal(), key.ID()
	w.signIn(rank)
}

// signIn opens a session for somebody of a rank. Whoever holds no role anywhere is given one on a team of their own.
func (w *world) signIn(rank string) {
	w.Helper()
	u, now := w.users[rank], time.Now()
	if rank == "none" {
		_, err := w.app.Applier.CreateTeam(w.Context(), setUp, "Nobodies", nil)
		w.must(err)
		_, err = w.app.Applier.GiveRole(w.Context(), setUp, u.ID, identity.TeamRole{Team: "Nobodies", Role: identity.RoleViewer})
		w.must(err)
	}
	token := (rand.Text() + rand.Text())[:43]
	hash := sha256.Sum256([]byte(token))
	method := "saml"
	if u.Origin == identity.OriginLocal {
		method = "password"
	}
	w.must(w.app.Store.InTx(w.Context(), func(tx *store.Tx) error {
		return tx.InsertSession(w.Context(), &store.Session{
			ID: uuid.NewString(), Hash: hash[:], UserID: u.ID, Method: method, Created: now, LastSeen: now,
			Expires: now.Add(time.Hour), IdleExpires: now.Add(time.Hour), Remote: "192.0.2.1", UserAgent: "test",
		})
	}))
	w.cookies[rank] = token
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

// okta returns the configuration of a connector that pulls a tenant.
func okta(t testing.TB, tenant *oktatest.Tenant, more string) string {
	t.Helper()
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := server.WriteCA(ca); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("connectors:\n  - {name: okta, type: okta, url: %q, api_token: %q, ca_file: %q, schedule: \"0 0 1 1 *\", full_schedule: \"0 0 1 1 *\"%s}\n",
		server.URL, oktatest.DefaultToken, ca, more)
}
