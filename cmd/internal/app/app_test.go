package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store/storetest"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// eachDatabase runs a test with the DSN of an empty database of each kind.
func eachDatabase(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, storetest.SQLiteDSN(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, pgtest.DSN(t))
	})
}

// configure returns the configuration that pulls a tenant once for each name.
func configure(t *testing.T, dsn string, tenant *oktatest.Tenant, names ...string) *configs.Config {
	t.Helper()
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := server.WriteCA(ca); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("listen: 127.0.0.1:0\ndatabase: %q\nscim: {enabled: true}\nconnectors:\n", dsn)
	for _, name := range names {
		text += fmt.Sprintf("  - {name: %s, type: okta, url: %q, api_token: %q, ca_file: %q}\n", name, server.URL, oktatest.DefaultToken, ca)
	}
	config, err := configs.Parse("idpsync.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func open(t *testing.T, config *configs.Config) *app.App {
	t.Helper()
	a, err := app.New(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func TestSources(t *testing.T) {
	t.Parallel()
	a := open(t, configure(t, storetest.SQLiteDSN(t), &oktatest.Tenant{}, "one", "two"))
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, "one two"},
		{[]string{"two"}, "two"},
		{[]string{"two", "one"}, "two one"},
	} {
		sources, err := a.Sources(c.names...)
		var got []string
		for _, s := range sources {
			got = append(got, s.Name)
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("Sources(%v) = %v, %v, want %s", c.names, got, err, c.want)
		}
	}
	if _, err := a.Sources("one", "three"); err == nil || !strings.Contains(err.Error(), `"three"`) {
		t.Errorf("Sources(one, three) = %v, want an error that names three", err)
	}
}

func TestFind(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		tenant := &oktatest.Tenant{Seed: 1}
		ana := tenant.AddUser(map[string]any{"login": "ana@acme.test", "email": "ana@acme.test"})
		sales := tenant.AddGroup("Sales")
		a := open(t, configure(t, dsn, tenant, "okta"))
		sources, err := a.Sources()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Engine.Run(t.Context(), reconcile.Request{Source: sources[0]}); err != nil {
			t.Fatal(err)
		}
		user, err := a.FindUser(t.Context(), "ANA@acme.test")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{user.ID, "ana@acme.test", ana} {
			if got, err := a.FindUser(t.Context(), name); err != nil || got.ID != user.ID {
				t.Errorf("FindUser(%q) = %s, %v, want %s", name, got.ID, err, user.ID)
			}
		}
		group, err := a.FindGroup(t.Context(), "sales")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{group.ID, "Sales", sales} {
			if got, err := a.FindGroup(t.Context(), name); err != nil || got.ID != group.ID {
				t.Errorf("FindGroup(%q) = %s, %v, want %s", name, got.ID, err, group.ID)
			}
		}
		for _, name := range []string{"", "nobody", "%", "00000000-0000-4000-8000-00000000dead", "a\x00b"} {
			if got, err := a.FindUser(t.Context(), name); !errors.Is(err, app.ErrNoUser) {
				t.Errorf("FindUser(%q) = %v, %v, want ErrNoUser", name, got.UserName, err)
			}
			if got, err := a.FindGroup(t.Context(), name); !errors.Is(err, app.ErrNoGroup) {
				t.Errorf("FindGroup(%q) = %v, %v, want ErrNoGroup", name, got.DisplayName, err)
			}
		}
	})
}

// TestServe_Ready sees that a server is ready once it listens, and returns when its context ends.
func TestServe_Ready(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		a := open(t, configure(t, dsn, &oktatest.Tenant{}))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		served := make(chan error, 1)
		urls := make(chan string, 1)
		go func() { served <- a.Serve(ctx, func(url string) { urls <- url }) }()
		answer, err := http.Get(<-urls + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("GET /readyz = %d, want 200", answer.StatusCode)
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v, want nil at the end of its context", err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if err := a.Ready(t.Context()); err == nil {
			t.Error("Ready with a closed database, want an error")
		}
	})
}

// TestNew_NewerSchema: a database that a newer program migrated is left alone.
func TestNew_NewerSchema(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		config := configure(t, dsn, &oktatest.Tenant{})
		a := open(t, config)
		if _, err := a.Store.DB().ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)"); err != nil {
			t.Fatal(err)
		}
		if _, err := app.New(t.Context(), config, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("New on a newer schema, want an error")
		}
		if err := a.Ready(t.Context()); err == nil {
			t.Error("Ready on a newer schema, want an error")
		}
		if item := find(app.Check(t.Context(), config, slog.New(slog.DiscardHandler)), "database", "schema"); item.OK || item.Remedy == "" {
			t.Errorf("Check = %+v, want the schema to be wrong, with a remedy", item)
		}
	})
}

func find(items []app.CheckItem, of, name string) app.CheckItem {
	for _, item := range items {
		if item.Of == of && item.Name == name {
			return item
		}
	}
	return app.CheckItem{OK: true}
}

// TestCheck sees that everything wrong comes with a remedy, and that one thing wrong does not hide the others.
func TestCheck(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.Inject(oktatest.Fault{Kind: oktatest.Unauthorized, Times: -1})
	config := configure(t, "sqlite:///no/such/folder/idpsync.db", tenant, "okta")
	config.Connectors = append(config.Connectors, configs.Connector{Name: "entra", Type: configs.TypeEntra})
	items := app.Check(t.Context(), config, slog.New(slog.DiscardHandler))
	for _, wrong := range []struct{ of, name string }{{"database", "reachable"}, {"okta", "token"}, {"entra", "configuration"}} {
		if item := find(items, wrong.of, wrong.name); item.OK || item.Detail == "" || item.Remedy == "" {
			t.Errorf("%s: %s: %+v, want it wrong, with a remedy; all: %+v", wrong.of, wrong.name, item, items)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"one":                            "one",
		"connect:\n\trefused\n\trefused": "connect: refused",
		"connect:\n\trefused\n\tno TLS":  "connect: refused no TLS",
		"first problem\nsecond problem":  "first problem\nsecond problem",
	} {
		if got := app.ErrorText(errors.New(in)); got != want {
			t.Errorf("ErrorText(%q) = %q, want %q", in, got, want)
		}
	}
}
