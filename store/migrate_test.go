package store_test

import (
	"database/sql"
	"os"
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

// TestMigrations goes through the versions one by one: up, down to the one before, and up again.
func TestMigrations(t *testing.T) {
	t.Parallel()
	onEmpty(t, func(t *testing.T, dsn string) {
		driver, rawDSN, folder, dialect := "pgx", dsn, "postgres", goose.DialectPostgres
		if file, lite := strings.CutPrefix(dsn, "sqlite://"); lite {
			driver, rawDSN, folder, dialect = "sqlite", file, "sqlite", goose.DialectSQLite3
		}
		db, err := sql.Open(driver, rawDSN)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		provider, err := goose.NewProvider(dialect, db, os.DirFS("migrations/"+folder), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			t.Fatal(err)
		}
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
		s := openStore(t, dsn)
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Errorf("CheckSchema: %v", err)
		}
		if _, err := provider.DownTo(t.Context(), 0); err != nil {
			t.Fatalf("down to nothing: %v", err)
		}
		left := "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname NOT LIKE 'goose%'"
		if folder == "sqlite" {
			left = "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'"
		}
		var n int
		if err := db.QueryRowContext(t.Context(), left).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d tables and views are left, error %v, want none", n, err)
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
