package cli_test

import (
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// TestChaos_Database takes the database away from a server in the middle of runs: sessions are ended one by one, and the
// server crashes and comes back. The program goes on serving, and a later slot puts everything right.
func TestChaos_Database(t *testing.T) {
	long(t)
	t.Parallel()
	cluster, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	e := newEstate(t, cluster.DSN(), 100, 8, "run_lease: "+lease.String())
	e.store.DB().SetMaxIdleConns(0) // the test's own sessions end as well
	p := start(t, e.dir, append(e.env, "PGAPPNAME=victim"), "serve")
	url := p.url()
	await(t, "a run", func() bool { return e.count("status = 'done'") > 0 })

	rounds := episodes(t, 2)
	for range rounds {
		for range 30 {
			e.live()
		}
		e.slowly()
		await(t, "a run", func() bool { return e.count("status = 'running'") > 0 })
		time.Sleep(rand.N(200 * time.Millisecond))
		e.rows("SELECT CAST(count(pg_terminate_backend(pid)) AS text) FROM pg_stat_activity WHERE application_name = 'victim'")
		e.recovers(p)
	}
	for range 30 {
		e.live()
	}
	e.tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListLogs, Times: -1, Delay: 700 * time.Millisecond})
	await(t, "a run in its pull", func() bool { return e.count("status = 'running'") > 0 })
	if err := cluster.Crash(); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(t, url+"/healthz", ""); status != 200 {
		t.Errorf("GET /healthz after the crash = %d, want 200", status)
	}
	e.back()
	e.recovers(p)

	// Nobody is let in for longer than a slot.
	admin, err := store.Open(t.Context(), strings.Replace(cluster.DSN(), "/postgres?", "/template1?", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	closed := func(is bool) {
		if _, err := admin.DB().ExecContext(t.Context(), "ALTER DATABASE postgres ALLOW_CONNECTIONS "+strconv.FormatBool(!is)); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		e.live()
	}
	closed(true)
	if _, err := admin.DB().ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	if status, _ := get(t, url+"/readyz", ""); status != 503 {
		t.Errorf("GET /readyz without a database = %d, want 503", status)
	}
	closed(false)
	e.back()
	e.recovers(p)
	p.end(syscall.SIGTERM)
	t.Logf("seed %d: sessions ended %d times, the server crashed once and was closed once: %d runs failed of %d; lost or wrongly deactivated: 0", e.seed, rounds, e.count("status = 'failed'"), e.count("TRUE"))
}

// back waits until the test reaches the database again.
func (e *estate) back() {
	e.t.Helper()
	await(e.t, "the database to be back", func() bool { _, err := e.query("SELECT CAST(1 AS text)"); return err == nil })
}

// recovers waits for a scheduled run that began after the fault and ends well, and wants everything to be right after it.
func (e *estate) recovers(p *process) {
	e.t.Helper()
	e.tenant.Behave()
	now := e.rows("SELECT CAST(now() AS text)")[0][0]
	await(e.t, "a run that repairs", func() bool { return e.count("status = 'done' AND started_at > '"+now+"'") > 0 })
	select {
	case <-p.ended:
		e.t.Fatal("the server ended")
	default:
	}
	e.check()
	if n := e.count("status = 'running' AND started_at < CAST('" + now + "' AS timestamptz) - interval '1 s'"); n > 0 {
		e.t.Errorf("%d runs from before the fault still count as running", n)
	}
}

// TestChaos_FullDisk lets every write to the database's files fail from some size on, in the middle of a run: it ends
// with an error that says so, nothing is half applied, and once there is room a run puts everything right.
func TestChaos_FullDisk(t *testing.T) {
	long(t)
	t.Parallel()
	e := newEstate(t, "", 300, 12, "")
	failures := 0
	errors := map[string]int{}
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(e.dir, name))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	for i := range 2 + episodes(t, 4) {
		for range 20 {
			e.live()
		}
		if i == 2 {
			e.repair("resync", "--full")
		}
		// The write-ahead log is written over from its beginning, and so are pages of the database: what is beyond fails.
		room := size("idpsync.db-wal") * int64(1+e.random.IntN(105)) / 100
		if i < 2 {
			room = int64(300+e.random.IntN(700)) << 10
		}
		status, out := e.limited(room, "resync", "--full")
		if status == 0 {
			continue // it was room enough
		}
		failures++
		switch {
		case strings.Contains(out, "full"):
			errors["database or disk is full"]++
		case strings.Contains(out, "disk I/O error"):
			errors["disk I/O error"]++
		default:
			t.Errorf("idpsync resync with %d bytes of room: exit status %d, %s; want it to tell of the disk", room, status, out)
		}
		if status != 1 {
			t.Errorf("idpsync resync with %d bytes of room: exit status %d, want 1\n%s", room, status, out)
		}
		if i >= 2 {
			e.checkEvents()
			e.repair("resync")
		}
	}
	if failures == 0 {
		t.Error("no run ran out of room")
	}
	e.repair("resync", "--full")
	t.Logf("seed %d: %d runs ran out of room %v; lost or wrongly deactivated: 0", e.seed, failures, errors)
}

// fileSize names the variable that limits the size of the files that the program writes.
const fileSize = "IDPSYNC_CHAOS_FILE_SIZE"

// limitFiles has writes beyond a size fail, as on a full disk.
func limitFiles(bytes string) error {
	if bytes == "" {
		return nil
	}
	n, err := strconv.ParseUint(bytes, 10, 64)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // it would end the process
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
}

// limited runs the program with a limit on the size of the files that it writes, and returns its exit status and what it
// printed.
func (e *estate) limited(bytes int64, args ...string) (int, string) {
	e.t.Helper()
	e.lapse() // of a run before, for which there was no room to give it back
	e.env = append(e.env, fileSize+"="+strconv.FormatInt(bytes, 10))
	defer func() { e.env = e.env[:len(e.env)-1] }()
	return e.status(args...)
}
