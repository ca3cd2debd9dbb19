// Package storetest opens fresh databases for tests, on every database that the program runs on, and holds the
// conformance suite that all of them pass.
package storetest

import (
	"context"
	"hash/fnv"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// Each runs a test once on each database, in parallel subtests named after them. Where tests are to be short, under the
// race detector, it runs it on one of them: half of the tests on either.
func Each(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Helper()
	for name, open := range map[string]func(testing.TB) *store.Store{"sqlite": SQLite, "postgres": Postgres} {
		if testing.Short() && name != Short(t) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t))
		})
	}
}

// Short names the one database on which a test runs where tests are to be short. It is always the same one.
func Short(t testing.TB) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(t.Name())) // never fails
	return []string{"sqlite", "postgres"}[sum.Sum32()%2]
}

// SQLite opens a fresh, migrated SQLite database, which is closed and removed when the test ends.
func SQLite(t testing.TB) *store.Store {
	t.Helper()
	return open(t, MigratedSQLiteDSN(t))
}

// MigratedSQLiteDSN returns the DSN of a fresh, migrated SQLite database.
func MigratedSQLiteDSN(t testing.TB) string {
	t.Helper()
	dsn := SQLiteDSN(t)
	file, err := migratedSQLite()
	if err != nil {
		t.Fatalf("migrate SQLite: %v", err)
	}
	if err := os.WriteFile(dsn[len("sqlite://"):], file, 0o600); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// SQLiteDSN returns the DSN of a SQLite database that does not exist yet.
func SQLiteDSN(t testing.TB) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "test.db")
}

// Postgres opens a fresh, migrated PostgreSQL database, which is dropped when the test ends.
func Postgres(t testing.TB) *store.Store {
	t.Helper()
	return open(t, PostgresDSN(t))
}

// PostgresDSN returns the DSN of a fresh, migrated PostgreSQL database, which is dropped when the test ends.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	key, err := store.MigrationsDigest()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.Template(t, key, migrate)
}

func open(t testing.TB, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatalf("open %s: %v", dsn, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return s
}

func migrate(dsn string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	if _, err := s.Migrate(ctx); err != nil {
		_ = s.Close()
		return err
	}
	return s.Close()
}

// migratedSQLite returns the bytes of an empty, migrated database: copying them is faster than migrating each time.
var migratedSQLite = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "idpsync-storetest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "template.db")
	if err := migrate("sqlite://" + file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})
