package store_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

func openStore(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// onEmpty runs a test on an empty database of each kind.
func onEmpty(t *testing.T, f func(t *testing.T, dsn string)) {
	for name, dsn := range map[string]func(testing.TB) string{"postgres": pgtest.DSN, "sqlite": storetest.SQLiteDSN} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, dsn(t))
		})
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	onEmpty(t, func(t *testing.T, dsn string) {
		s := openStore(t, dsn)
		if err := s.CheckSchema(t.Context()); err == nil || !strings.Contains(err.Error(), "idpsync migrate") {
			t.Errorf("CheckSchema of an empty database: error %v, want what to run", err)
		}
		var versions []int64
		for range 2 {
			version, err := s.Migrate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			versions = append(versions, version)
		}
		if versions[0] == 0 || versions[0] != versions[1] {
			t.Errorf("Migrate twice = %v, want the same version", versions)
		}
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Errorf("CheckSchema: %v", err)
		}
		if _, err := s.TeamByName(t.Context(), "root"); err != nil {
			t.Errorf("the root team: %v", err)
		}
	})
}

// migrations returns what steps through the migrations of a database, and the database.
func migrations(t *testing.T, dsn string) (*goose.Provider, *store.Store) {
	t.Helper()
	s := openStore(t, dsn)
	dialect := goose.DialectPostgres
	if s.Dialect() == "sqlite" {
		dialect = goose.DialectSQLite3
	}
	provider, err := goose.NewProvider(dialect, s.DB(), os.DirFS("migrations/"+s.Dialect()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	return provider, s
}

// TestMigrations goes through the versions one by one: up, down to the one before, and up again.
func TestMigrations(t *testing.T) {
	t.Parallel()
	onEmpty(t, func(t *testing.T, dsn string) {
		provider, s := migrations(t, dsn)
		for _, source := range provider.ListSources() {
			for _, step := range []struct {
				name string
				do   func() error
			}{
				{"up", func() error { _, err := provider.UpByOne(t.Context()); return err }},
				{"down", func() error { _, err := provider.Down(t.Context()); return err }},
				{"up again", func() error { _, err := provider.UpByOne(t.Context()); return err }},
			} {
				if err := step.do(); err != nil {
					t.Fatalf("migration %d, %s: %v", source.Version, step.name, err)
				}
			}
		}
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Errorf("CheckSchema: %v", err)
		}
		if _, err := provider.DownTo(t.Context(), 0); err != nil {
			t.Fatalf("down to nothing: %v", err)
		}
		left := "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname NOT LIKE 'goose%'"
		if s.Dialect() == "sqlite" {
			left = "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'"
		}
		var n int
		if err := s.DB().QueryRowContext(t.Context(), left).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d tables and views are left, error %v, want none", n, err)
		}
	})
}

// TestMigrateEmails fills a database as the first version left it, and expects of the second to find the addresses that
// writing the same users finds.
func TestMigrateEmails(t *testing.T) {
	t.Parallel()
	onEmpty(t, func(t *testing.T, dsn string) {
		ctx := t.Context()
		provider, s := migrations(t, dsn)
		if _, err := provider.UpTo(ctx, 1); err != nil {
			t.Fatal(err)
		}
		for i, document := range []string{
			`{}`,
			`{"emails":[{"value":"A@x","primary":true}]}`,
			`{"emails":[{"value":"B@x"},{"value":"A@x","primary":true},{"value":" \u00a0\u3000C@x\t"},{"value":"c@X"},{"value":" "},{"type":"work"}]}`,
			`{"emails":["D@x","İΣ@x",null,5,{"value":5},[],{"value":["e@x"]}]}`,
			`{"emails":"F@x"}`,
			`{"emails":{"value":"G@x"}}`,
			`{"emails":null}`,
		} {
			primary := ""
			if i == 1 || i == 2 {
				primary = "a@x"
			}
			_, err := s.DB().ExecContext(ctx, "INSERT INTO users (id, user_name, user_name_key, active, origin, email_key, document, created_at, updated_at) "+
				"VALUES ($1, $2, $2, TRUE, 'sso', $3, $4, '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00')",
				fmt.Sprintf("00000000-0000-4000-8000-%012d", i), fmt.Sprint("u", i), primary, document)
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := provider.Up(ctx); err != nil {
			t.Fatal(err)
		}
		addresses := func() (list []string) {
			rows, err := s.DB().QueryContext(ctx, "SELECT CAST(user_id AS text), email_key FROM user_emails ORDER BY 1, 2")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for rows.Next() {
				var id, key string
				if err := rows.Scan(&id, &key); err != nil {
					t.Fatal(err)
				}
				list = append(list, id[35:]+" "+key)
			}
			return list
		}
		migrated := addresses()
		users, _, err := s.Users(ctx, store.UserQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		err = s.InTx(ctx, func(tx *store.Tx) error {
			for i := range users {
				version := users[i].Version
				users[i].Version++
				if err := tx.UpdateUser(ctx, &users[i], version); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"2 b@x", "2 c@x", "3 d@x", "3 iσ@x", "4 f@x", "5 g@x"}
		if written := addresses(); !slices.Equal(migrated, want) || !slices.Equal(written, want) {
			t.Errorf("addresses after the migration %q, after writing %q, want %q", migrated, written, want)
		}
	})
}

// TestMigrateAtOnce starts several replicas on one empty database.
func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	var wg sync.WaitGroup
	for range 3 {
		s := openStore(t, dsn)
		wg.Go(func() {
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Errorf("Migrate: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"":                                    `scheme ""`,
		"mysql://root:secret@host/db":         `scheme "mysql"`,
		"sqlite://":                           "path is missing",
		"postgres://user:secret@host:port/db": "cannot be read",
	} {
		_, err := store.Open(t.Context(), dsn)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): error %v, want one with %q", dsn, err, want)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q): the error tells the password: %v", dsn, err)
		}
	}
}
