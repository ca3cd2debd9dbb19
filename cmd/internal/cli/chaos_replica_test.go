package cli_test

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// lease is how long the runs of a dead or paused process keep their connector in these tests.
const lease = 3 * time.Second

// replicas are programs that serve one database, by the name that they have there.
type replicas map[string]*process

func (e *estate) replicas(names ...string) replicas {
	e.t.Helper()
	all := replicas{}
	for _, name := range names {
		all[name] = start(e.t, e.dir, append(e.env, "PGAPPNAME="+name), "serve")
	}
	return all
}

func (r replicas) end() {
	for _, p := range r {
		p.end(syscall.SIGTERM)
	}
}

func (e *estate) count(where string) int {
	e.t.Helper()
	return len(e.rows("SELECT CAST(id AS text) FROM runs WHERE " + where))
}

// TestChaos_Replicas lets three programs serve one database: each slot is run once, and where the one that runs is
// killed, another takes over.
func TestChaos_Replicas(t *testing.T) {
	long(t)
	t.Parallel()
	e := newEstate(t, pgtest.DSN(t), 60, 6, "run_lease: "+lease.String())
	all := e.replicas("one", "two", "three")
	await(t, "five runs", func() bool { e.live(); return e.count("status = 'done'") >= 5 })
	e.ranOnce()

	// Its answer would come in a minute: the run is killed in the middle of its pull.
	e.tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListLogs, Times: 1, Delay: time.Minute})
	e.tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListUsers, Times: 1, Delay: time.Minute})
	victim, run := e.runner()
	if err := all[victim].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	delete(all, victim)
	e.tenant.Behave()
	await(t, "another one to take over", func() bool { return e.count("status = 'done' AND id > '"+run+"'") > 0 })
	took := time.Since(died)
	if took > lease+10*time.Second {
		t.Errorf("another took over after %s, want %s at most", took, lease+10*time.Second)
	}
	if n := e.count("id = '" + run + "' AND status = 'failed' AND error LIKE 'interrupted: the process ended%'"); n != 1 {
		t.Errorf("the run of the process that was killed is not told of")
	}
	all.end()
	e.ranOnce()
	e.repair("resync", "--full")
	t.Logf("%d runs by 3 replicas, each slot once; taken over %s after a kill (lease %s); lost or wrongly deactivated: 0", e.count("TRUE"), took.Round(time.Millisecond), lease)
}

// ranOnce wants no two runs in one slot, and no two at the same time.
func (e *estate) ranOnce() {
	e.t.Helper()
	for _, row := range e.rows("SELECT CAST(a.id AS text), CAST(b.id AS text) FROM runs a JOIN runs b ON a.id < b.id AND a.started_at < b.finished_at AND b.started_at < a.finished_at " +
		"WHERE a.error NOT LIKE 'interrupted: the process ended%' AND a.error NOT LIKE '%lease was lost%' " +
		"AND b.error NOT LIKE 'interrupted: the process ended%' AND b.error NOT LIKE '%lease was lost%'") { // those end when that is found
		e.t.Errorf("two runs at the same time: %v", row)
	}
	// A slot comes each second. A run may begin late, and the first one is of the slot that passed before the start.
	row := e.rows("SELECT CAST(count(*) AS text), CAST(CAST(extract(epoch FROM max(started_at) - min(started_at)) + 2 AS integer) AS text) FROM runs WHERE started_by = 'schedule'")[0]
	ran, errRan := strconv.Atoi(row[0])
	slots, errSlots := strconv.Atoi(row[1])
	if errRan != nil || errSlots != nil || ran > slots {
		e.t.Errorf("%s runs in %s slots at most", row[0], row[1])
	}
}

// runner waits for a run that is in its pull, and names the replica whose it is, with the run. Whose it is tells the
// session that last renewed the lease.
func (e *estate) runner() (name, run string) {
	e.t.Helper()
	await(e.t, "a run in its pull", func() bool {
		rows := e.rows("SELECT a.application_name, CAST(r.id AS text) FROM runs r, pg_stat_activity a WHERE r.status = 'running' AND r.phase = 'pull' " +
			"AND a.datname = current_database() AND a.application_name IN ('one', 'two', 'three') " +
			"AND a.query LIKE 'UPDATE leases%' AND a.query_start > r.started_at + interval '300 ms' ORDER BY a.query_start DESC LIMIT 1")
		if len(rows) > 0 {
			name, run = rows[0][0], rows[0][1]
		}
		return name != ""
	})
	return name, run
}

// TestChaos_Paused stops a process for longer than its lease, while another one runs: when it wakes up, it changes nobody
// any more, whether it was about to apply or in the middle of a transaction.
func TestChaos_Paused(t *testing.T) {
	long(t)
	t.Parallel()
	e := newEstate(t, pgtest.DSN(t), 60, 6, "run_lease: "+lease.String())
	all := e.replicas("one", "two", "three")
	await(t, "a run", func() bool { return e.count("status = 'done'") > 0 })

	for range 20 {
		e.live()
	}
	e.tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListLogs, Times: 1, Delay: lease + time.Second})
	before := e.asleep(all, e.runner, func() {})

	// A row is locked: the run waits for it in the middle of a transaction.
	lock, err := e.store.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	somebody := e.people("ACTIVE")[0]
	for _, statement := range []string{"BEGIN", "SELECT 1 FROM users WHERE source_id = '" + somebody + "' FOR UPDATE"} {
		if _, err := lock.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	e.tenant.UpdateUser(somebody, map[string]any{"title": "Sleeper"})
	within := e.asleep(all, func() (name, run string) {
		await(t, "a run that waits in its transaction", func() bool {
			rows := e.rows("SELECT a.application_name, CAST(r.id AS text) FROM runs r, pg_stat_activity a WHERE r.status = 'running' AND r.phase = 'apply' " +
				"AND a.datname = current_database() AND a.application_name IN ('one', 'two', 'three') AND a.wait_event_type = 'Lock' AND a.query LIKE '%users%'")
			if len(rows) > 0 {
				name, run = rows[0][0], rows[0][1]
			}
			return name != ""
		})
		return name, run
	}, func() {
		if _, err := lock.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	})
	all.end()
	e.repair("resync", "--full")
	t.Logf("paused before it applied: %s; in a transaction: %s; lost or wrongly deactivated: 0", before, within)
}

// asleep stops the replica that find names, does something, waits until another one has run to its end, wakes the first
// up, and wants it to have changed nobody since. It returns how its run ended.
func (e *estate) asleep(all replicas, find func() (name, run string), then func()) string {
	e.t.Helper()
	name, run := find()
	signal := func(s syscall.Signal) {
		if err := all[name].cmd.Process.Signal(s); err != nil {
			e.t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	defer signal(syscall.SIGCONT)
	began := time.Now()
	then()
	await(e.t, "another one to take over", func() bool { return e.count("status = 'done' AND id > '"+run+"'") > 0 })
	took := time.Since(began)
	events := "SELECT CAST(id AS text) FROM audit_events WHERE run_id = '" + run + "' AND object <> 'run'"
	changed := len(e.rows(events))
	signal(syscall.SIGCONT)
	// Whoever took over has ended it in its place already: the one who wakes up says why.
	await(e.t, "the run that was paused to end, its lease being lost", func() bool {
		return e.count("id = '"+run+"' AND status = 'failed' AND error LIKE '%lease was lost%'") > 0
	})
	if now := len(e.rows(events)); now != changed {
		e.t.Errorf("the process that was paused changed %d people or groups after it woke up", now-changed)
	}
	return fmt.Sprintf("another took over after %s, %d changes before, 0 after, failed: the lease was lost", took.Round(time.Millisecond), changed)
}
