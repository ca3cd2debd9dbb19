package cli_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// pooled opens an estate whose database is migrated directly, and reached by the program through a pooler in transaction
// mode.
func pooled(t *testing.T, users, groups int, more string) *estate {
	t.Helper()
	direct := pgtest.DSN(t)
	through := pgtest.Pooled(t, direct)
	e := newEstate(t, direct, users, groups, more)
	e.dsn = through
	for i, variable := range e.env {
		if strings.HasPrefix(variable, "DATABASE=") {
			e.env[i] = "DATABASE=" + through
		}
	}
	return e
}

// TestChaos_Pooled: behind a pooler in transaction mode, processes are killed and replicas share a database as they do
// without one.
func TestChaos_Pooled(t *testing.T) {
	long(t)
	t.Parallel()
	e := pooled(t, 100, 8, "run_lease: "+lease.String())
	found, kills := outcome{}, 0
	for range episodes(t, 2) {
		for range 10 {
			e.live()
		}
		e.harm()
		kills += e.killed(found, "resync --full", "okta")
		e.repair("resync")
	}
	all := e.replicas("one", "two")
	before := e.count("status = 'done'")
	await(t, "three runs", func() bool { e.live(); return e.count("status = 'done'") >= before+3 })
	all.end()
	e.repair("resync", "--full")
	t.Logf("seed %d: %d killed behind a pooler%s\n %d runs by 2 replicas; lost or wrongly deactivated: 0", e.seed, kills, found, e.count("status = 'done'")-before)
}

// TestChaos_PooledPaused: sessions are shared, and a process that was paused still writes nothing.
func TestChaos_PooledPaused(t *testing.T) {
	long(t)
	t.Parallel()
	e := pooled(t, 40, 4, "run_lease: "+lease.String())
	all := e.replicas("one", "two")
	await(t, "a run", func() bool { return e.count("status = 'done'") > 0 })
	e.tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListLogs, Times: 1, Delay: lease + time.Second})
	told := e.asleep(all, e.runner, func() {})
	all.end()
	e.repair("resync", "--full")
	t.Logf("paused behind a pooler: %s; lost or wrongly deactivated: 0", told)
}

// TestPooled_SaysWhatIsMissing: a pooler is noticed, and the program tells what the URL lacks, and that it does not migrate
// through one.
func TestPooled_SaysWhatIsMissing(t *testing.T) {
	long(t)
	t.Parallel()
	direct := pgtest.DSN(t)
	through, err := url.Parse(pgtest.Pooled(t, direct))
	if err != nil {
		t.Fatal(err)
	}
	with := func(mode string) string {
		u, query := *through, through.Query()
		query.Del("default_query_exec_mode")
		if mode != "" {
			query.Set("default_query_exec_mode", mode)
		}
		u.RawQuery = query.Encode()
		return u.String()
	}
	h := newHouse(t, direct)
	dir, env := furnished(t, h, configuration)
	e := &estate{house: h, t: t, dir: dir}
	for _, c := range []struct {
		database, command string
		status            int
		want              string
	}{
		{with(""), "migrate", 1, "add default_query_exec_mode=exec to the database URL"},
		{with("exec"), "migrate", 1, "a migration cannot go through a pooler"},
		{with("exec"), "runs list", 1, "a migration cannot go through a pooler"}, // of a fresh database
		{direct, "migrate", 0, ""},
		{with(""), "runs list", 1, "add default_query_exec_mode=exec to the database URL"},
		{with("exec"), "runs list", 0, ""},
		{with("simple_protocol"), "runs list", 0, ""},
	} {
		e.env = append(env[1:len(env):len(env)], "DATABASE="+c.database)
		status, out := e.status(strings.Fields(c.command)...)
		if status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("idpsync %s with %s: exit status %d, %s\nwant %d, %q", c.command, c.database, status, out, c.status, c.want)
		}
	}
}
