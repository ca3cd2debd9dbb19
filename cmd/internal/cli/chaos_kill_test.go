package cli_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// outcome counts what became of processes that were to be ended in the middle of something.
type outcome map[string]int

// String is a table: what was going, in which phase the database says it was, how often.
func (o outcome) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(o)) {
		fmt.Fprintf(&b, "\n  %-52s %5d", key, o[key])
	}
	return b.String()
}

// TestChaos_Kills ends the program with SIGKILL, and now and then with SIGTERM, in whatever it is about: the next run puts
// everything right, nothing was done twice, and nobody lost anything.
func TestChaos_Kills(t *testing.T) {
	long(t)
	eachDatabase(t, func(t *testing.T, dsn string) {
		e := newEstate(t, dsn, 300, 12, "")
		found := outcome{}
		kills := 0
		// The first pull of all is the one with the most to lose.
		for range 2 {
			kills += e.killed(found, "resync --full", "okta")
		}
		e.repair("resync", "--full")
		n := episodes(t, 4)
		for i := range n {
			for range 3 + e.random.IntN(12) {
				e.live()
			}
			if e.random.IntN(2) == 0 {
				e.harm()
			}
			kills += e.episode(i, found)
		}
		t.Logf("seed %d: %d episodes, %d processes ended; lost or wrongly deactivated: 0\n ended in%s\n changed meanwhile%s", e.seed, n, kills, found, outcome(e.done))
	})
}

// episode ends one or more processes and repairs. It returns how many.
func (e *estate) episode(i int, found outcome) (kills int) {
	e.t.Helper()
	kinds := []string{"resync --full", "resync", "serve", "approve", "resync"}
	kind := kinds[i%len(kinds)]
	switch kind {
	case "approve":
		return e.killedApproving(found)
	case "serve":
		kills = e.killed(found, "serve")
	default:
		for range 1 + e.random.IntN(2) {
			kills += e.killed(found, kind, "okta")
			e.live()
		}
	}
	if e.random.IntN(2) == 0 {
		e.repair("resync", "--full")
	} else {
		e.repair("resync")
	}
	return kills
}

// phases are where a run can be met, in their order. "start" is before there is one, "finished" when it was written down.
var phases = []string{"start", "pull", "plan", "guard", "verify", "apply", "finished"}

// killed starts the program and ends it in a phase that is drawn, after a little while more. It returns 1 where it came to
// that before the program ended.
func (e *estate) killed(found outcome, command string, args ...string) int {
	e.t.Helper()
	e.lapse()
	e.slowly()
	defer e.tenant.Behave()
	before := e.rows("SELECT CAST(count(*) AS text) FROM runs")[0][0]
	p := start(e.t, e.dir, e.env, append(strings.Fields(command), args...)...)
	target := e.random.IntN(len(phases))
	e.meet(p, before, target)
	pause := 12 * time.Millisecond
	if target < 2 {
		pause = 100 * time.Millisecond // what is slow in it is the tenant
	}
	time.Sleep(rand.N(pause))
	signal, name := os.Signal(syscall.SIGKILL), "killed"
	if e.random.IntN(6) == 0 {
		signal, name = syscall.SIGTERM, "terminated"
	}
	_ = p.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(patience):
		e.t.Fatalf("still running %s after the signal", patience)
	}
	in, kills := e.lastPhase(before), 1
	if state, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); name == "killed" && ok && !state.Signaled() {
		in, kills = "it had ended", 0
	}
	found[command+", "+name+": "+in]++
	return kills
}

// meet waits until the newest run is in a phase or beyond, or the program ended.
func (e *estate) meet(p *process, before string, phase int) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(500 * time.Microsecond) {
		select {
		case <-p.ended:
			return
		default:
		}
		now, _, _ := strings.Cut(e.lastPhase(before), ",")
		if slices.Index(phases, now) >= phase {
			return
		}
	}
}

// lastPhase tells where the newest run is, if it is newer than some number of runs.
func (e *estate) lastPhase(before string) string {
	rows, err := e.query("SELECT status, phase, (SELECT CAST(count(*) AS text) FROM runs) FROM runs ORDER BY started_at DESC LIMIT 1")
	switch {
	case err != nil:
		return err.Error()
	case len(rows) == 0 || rows[0][2] == before:
		return "start"
	case rows[0][0] == "running":
		return rows[0][1]
	}
	return "finished, " + rows[0][0]
}

// killedApproving has the guard hold removals, and ends the program while it applies them.
func (e *estate) killedApproving(found outcome) int {
	e.t.Helper()
	e.repair("resync", "--full")
	for range 3 {
		somebody := e.one(e.people("ACTIVE"))
		e.leaves(somebody)
		e.tenant.DeleteUser(somebody)
	}
	status, out := e.status("resync", "--full", "--config", "tight.yaml", "--output", "json")
	if status != 3 {
		e.t.Fatalf("idpsync resync with three who left and a tight guard: exit status %d, want 3\n%s", status, out)
	}
	var held struct {
		RunID    string `json:"run_id"`
		PlanHash string `json:"plan_hash"`
		Type     string
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, `{`) && strings.Contains(line, `"type":"run"`) {
			if err := json.Unmarshal([]byte(line), &held); err != nil {
				e.t.Fatal(err)
			}
		}
	}
	e.slowly()
	p := start(e.t, e.dir, e.env, "runs", "approve", held.RunID, "--plan", held.PlanHash, "--config", "tight.yaml")
	target := e.random.IntN(3)
	await(e.t, "the approval", func() bool {
		row := e.rows("SELECT status, phase FROM runs WHERE id = '" + held.RunID + "'")[0]
		return row[0] == "running" && slices.Index(phases, row[1]) >= slices.Index(phases, "verify")+target || row[0] != "running" && row[0] != "held"
	})
	time.Sleep(rand.N(12 * time.Millisecond))
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	in := "finished"
	if row := e.rows("SELECT status, phase FROM runs WHERE id = '" + held.RunID + "'")[0]; row[0] == "running" {
		in = row[1]
	}
	found["runs approve, killed: "+in]++
	e.repair("resync")
	return 1
}
