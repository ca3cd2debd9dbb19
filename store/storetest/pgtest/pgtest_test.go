package pgtest_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatalf("connect to %s: %v", dsn, err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func mustExec(t testing.TB, dsn, sql string) {
	t.Helper()
	if _, err := connect(t, dsn).Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestDSNIsAFreshDatabaseEachTime(t *testing.T) {
	t.Parallel()
	first, second := pgtest.DSN(t), pgtest.DSN(t)
	if first == second {
		t.Fatalf("DSN gave %s twice", first)
	}
	for _, dsn := range []string{first, second} {
		mustExec(t, dsn, "CREATE TABLE only_once (id int)") // fails where the other's table is seen
	}
}

func TestDSNDropsTheDatabaseAtTheEnd(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("inner", func(t *testing.T) {
		config, err := pgx.ParseConfig(pgtest.DSN(t))
		if err != nil {
			t.Fatal(err)
		}
		name = config.Database
	})
	var left int
	row := connect(t, pgtest.DSN(t)).QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", name)
	if err := row.Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("the database %s is still there", name)
	}
}

func TestTemplatePreparesOnceAndClones(t *testing.T) {
	t.Parallel()
	key := t.Name() + t.TempDir() // a server that outlives the run must not know it
	var prepared atomic.Int32
	prepare := func(dsn string) error {
		prepared.Add(1)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), "CREATE TABLE thing (id int PRIMARY KEY); INSERT INTO thing VALUES (1)")
		return err
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { mustExec(t, pgtest.Template(t, key, prepare), "INSERT INTO thing VALUES (2)") })
	}
	group.Wait()
	if got := prepared.Load(); got != 1 {
		t.Errorf("prepare ran %d times, want once", got)
	}
}

// failing records a failure instead of failing, so that a test can see how another would fail.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Fatalf(format string, args ...any) {
	if err, ok := args[len(args)-1].(error); ok {
		f.text = err.Error()
	}
	panic(f)
}

func TestTemplateTellsWhyPrepareFailed(t *testing.T) {
	t.Parallel()
	f := &failing{TB: t}
	defer func() {
		if recover() != any(f) || !strings.Contains(f.text, "broken migration") {
			t.Errorf("Template failed with %q, want the cause", f.text)
		}
	}()
	pgtest.Template(f, t.Name()+t.TempDir(), func(string) error { return errors.New("broken migration") })
}

func TestStopLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	c, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(c.DSN())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatalf("Stop: %v", err)
		}
	}
	if _, err := os.Stat(config.Host); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Stop, %s: %v, want no such directory", config.Host, err)
	}
	if conn, err := pgx.Connect(t.Context(), c.DSN()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the server still answers after Stop")
	}
}

// TestMain lets this test binary play the process that dies with a cluster on its hands.
func TestMain(m *testing.M) {
	if os.Getenv("PGTEST_DIE") != "" {
		c, err := pgtest.Start()
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString(c.DSN() + "\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestClusterEndsWithAKilledProcess(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PGTEST_DIE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("read the DSN: %v", err)
	}
	config, err := pgx.ParseConfig(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(config.Host, ".s.PGSQL.5432")); err != nil {
		t.Fatalf("no socket while the process lives: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(config.Host); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", config.Host)
		}
	}
}

func BenchmarkDSN(b *testing.B) {
	pgtest.DSN(b) // start the cluster outside of the measurement
	for b.Loop() {
		pgtest.DSN(b)
	}
}

func BenchmarkTemplate(b *testing.B) {
	key := b.Name() + b.TempDir()
	prepare := func(dsn string) error {
		conn, err := pgx.Connect(b.Context(), dsn)
		if err != nil {
			return err
		}
		defer conn.Close(b.Context())
		_, err = conn.Exec(b.Context(), "CREATE TABLE thing (id int PRIMARY KEY)")
		return err
	}
	pgtest.Template(b, key, prepare)
	for b.Loop() {
		pgtest.Template(b, key, prepare)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c, err := pgtest.Start()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}
