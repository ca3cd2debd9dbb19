// Package apptest serves the whole program for tests, with one person of each rank who has a key and a session.
package apptest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
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

// Ranks are what somebody may be on the root team. Whoever is "none" holds a role on a team of their own.
var Ranks = []string{"none", "viewer", "operator", "admin"}

// World is a serving program. Maps are by rank; nothing changes them once it serves.
type World struct {
	testing.TB
	App     *app.App
	URL     string
	Users   map[string]identity.User // their userName is the rank at acme.test
	Keys    map[string]string
	KeyIDs  map[string]string
	Cookies map[string]string // tokens of sessions: Cookie: idpsync=TOKEN
}

// By is who sets a world up.
var By = identity.Actor{Kind: "cli", ID: "test", Name: "test"}

// New serves with a database and more configuration, until the test ends. Connectors run only when they are asked to.
func New(t testing.TB, dsn, yaml string) *World {
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
	w := &World{TB: t, App: a, Users: map[string]identity.User{}, Keys: map[string]string{}, KeyIDs: map[string]string{}, Cookies: map[string]string{}}
	for _, rank := range Ranks {
		w.person(rank)
	}
	for _, c := range config.Connectors {
		// A server runs at once what nobody ran yet.
		_, err := a.Store.ClaimSlot(t.Context(), c.Name, time.Now())
		w.Must(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served, urls := make(chan error, 1), make(chan string, 1)
	go func() { served <- a.Serve(ctx, func(url string) { urls <- url }) }()
	select {
	case w.URL = <-urls:
	case err := <-served:
		stop()
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
func (w *World) person(rank string) {
	w.Helper()
	ctx, name := w.Context(), rank+"@acme.test"
	var u identity.User
	var err error
	if rank == "admin" {
		u, err = w.App.Applier.CreateAdmin(ctx, By, name, "no password", false)
	} else {
		u, err = w.App.Applier.CreateUser(ctx, By, "scim:test", identity.User{UserName: name, ExternalID: rank, Active: true})
	}
	w.Must(err)
	switch rank {
	case "viewer", "operator":
		_, err = w.App.Applier.GiveRole(ctx, By, u.ID, identity.TeamRole{Team: identity.RootTeam, Role: rank})
		w.Must(err)
	case "none":
		_, err = w.App.Applier.CreateTeam(ctx, By, "Nobodies", nil)
		w.Must(err)
		_, err = w.App.Applier.GiveRole(ctx, By, u.ID, identity.TeamRole{Team: "Nobodies", Role: identity.RoleViewer})
		w.Must(err)
	}
	key := apikey.Generate()
	w.Must(w.App.Applier.CreateKey(ctx, By, store.Key{
		ID: key.ID(), UserID: u.ID, UserName: name, Name: "of " + rank, Source: "scim:" + key.ID(), Hash: key.Hash(), Created: time.Now(),
	}))
	w.Users[rank], w.Keys[rank], w.KeyIDs[rank] = u, key.Reveal(), key.ID()
	w.Cookies[rank] = w.SignIn(u)
}

// SignIn opens a session for somebody and returns its token.
func (w *World) SignIn(u identity.User) string {
	w.Helper()
	token, now := (rand.Text() + rand.Text())[:43], time.Now()
	hash := sha256.Sum256([]byte(token))
	method := "saml"
	if u.Origin == identity.OriginLocal {
		method = "password"
	}
	w.Must(w.App.Store.InTx(w.Context(), func(tx *store.Tx) error {
		return tx.InsertSession(w.Context(), &store.Session{
			ID: uuid.NewString(), Hash: hash[:], UserID: u.ID, Method: method, Created: now, LastSeen: now,
			Expires: now.Add(time.Hour), IdleExpires: now.Add(time.Hour), Remote: "192.0.2.1", UserAgent: "test",
		})
	}))
	return token
}

// Must ends the test where there is an error.
func (w *World) Must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// EachDatabase runs a test with the DSN of an empty database of each kind.
func EachDatabase(t *testing.T, f func(t *testing.T, dsn string)) {
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

// Okta serves a tenant until the test ends, and returns the configuration of connectors: one of that name, okta, which
// pulls it. more is more of its configuration and begins with a comma, or "".
func Okta(t testing.TB, tenant *oktatest.Tenant, more string) string {
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
