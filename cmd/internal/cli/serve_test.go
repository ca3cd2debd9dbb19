package cli_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

const (
	patience = 60 * time.Second // for what has to happen
	soon     = 15 * time.Second // for an end that is asked for: less than the grace that requests are given
)

// process is the program, running.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has
	mu     sync.Mutex
	stdout strings.Builder
	stderr strings.Builder
}

// start starts the program in a folder.
func start(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("idpsync", args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	var readers sync.WaitGroup
	read := func(pipe io.ReadCloser, err error, into *strings.Builder) {
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			for lines := bufio.NewScanner(pipe); lines.Scan(); {
				p.mu.Lock()
				into.WriteString(lines.Text() + "\n")
				p.mu.Unlock()
			}
		})
	}
	out, err := p.cmd.StdoutPipe()
	read(out, err, &p.stdout)
	errs, err := p.cmd.StderrPipe()
	read(errs, err, &p.stderr)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // its status is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		if t.Failed() {
			t.Logf("standard output:\n%s\nstandard error:\n%s", p.out(), p.errs())
		}
	})
	return p
}

func (p *process) out() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String()
}

func (p *process) errs() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// url waits for the address that the program serves on.
func (p *process) url() string {
	p.t.Helper()
	var found []string
	await(p.t, "the address", func() bool {
		found = regexp.MustCompile(`url"?[=:]"?(https?://[a-z0-9.:]+)`).FindStringSubmatch(p.errs())
		return found != nil
	})
	return found[1]
}

// end sends a signal and wants the program to end soon, with exit status 0.
func (p *process) end(signal os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	p.exits(0)
}

func (p *process) exits(want int) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(soon):
		p.t.Fatalf("still running after %s", soon)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		p.t.Fatalf("exit status %d, want %d", got, want)
	}
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !so(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// output runs the program to its end and returns what it prints.
func output(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "idpsync", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("idpsync %v: %v\n%s", args, err, out)
	}
	return string(out)
}

type run struct {
	Status   string
	Trigger  string
	Error    string
	Started  time.Time
	Finished time.Time
}

// runs returns the runs, the newest first.
func runs(t *testing.T, dir string, env []string) []run {
	t.Helper()
	var all []run
	for line := range strings.Lines(output(t, dir, env, "runs", "list", "--output", "json", "--limit", "100")) {
		var r run
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func count(all []run, status string) int {
	n := 0
	for _, r := range all {
		if r.Status == status {
			n++
		}
	}
	return n
}

// get returns the status and the body of an answer.
func get(t *testing.T, url, key string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// serving is the configuration of a server that pulls on a schedule.
func serving(schedule string) string {
	return `listen: 127.0.0.1:0
database: ${DATABASE}
scim: {enabled: true}
connectors:
  - {name: okta, type: okta, url: "${OKTA_URL}", api_token: "${OKTA_TOKEN}", ca_file: okta-ca.pem, schedule: "` + schedule + `"}
`
}

// furnished makes a folder with a configuration, and returns it with the environment that it refers to.
func furnished(t *testing.T, h *house, config string) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "idpsync.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	env, err := h.furnish(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, env
}

// eachDatabase runs a test on each database, "" being SQLite.
func eachDatabase(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, "")
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, pgtest.DSN(t))
	})
}

func TestServe(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		h.tenant.Fill(30, 4, 60)
		dir, env := furnished(t, h, serving("* * * * *"))
		output(t, dir, env, "admin", "create", "scim@acme.test", "--scim")
		key := strings.TrimSpace(output(t, dir, env, "keys", "create", "--user", "scim@acme.test", "--name", "push", "--connector", "okta"))

		p := start(t, dir, env, "serve")
		url := p.url()
		for _, path := range []string{"/healthz", "/readyz"} {
			if status, body := get(t, url+path, ""); status != http.StatusOK || body != "ok\n" {
				t.Errorf("GET %s = %d %q", path, status, body)
			}
		}
		if status, body := get(t, url+"/scim/v2/Users", ""); status != http.StatusUnauthorized || !strings.Contains(body, "urn:ietf:params:scim:api:messages:2.0:Error") {
			t.Errorf("GET /scim/v2/Users without a key = %d %s", status, body)
		}
		mistyped := key[:len(key)-1] + string('a'+(key[len(key)-1]+1)%26) // another letter than the last one
		if status, _ := get(t, url+"/scim/v2/Users", mistyped); status != http.StatusUnauthorized {
			t.Errorf("GET /scim/v2/Users with a mistyped key = %d", status)
		}
		if status, _ := get(t, url+"/api/v1/nosuch", key); status != http.StatusNotFound {
			t.Errorf("GET /api/v1/nosuch = %d", status)
		}
		// The slot that passed before the start is caught up: nobody has to wait for the next one.
		await(t, "a scheduled run", func() bool { return count(runs(t, dir, env), "done") > 0 })
		if first := runs(t, dir, env); first[len(first)-1].Trigger != "schedule" {
			t.Errorf("the run was triggered by %q, want schedule", first[len(first)-1].Trigger)
		}
		status, body := get(t, url+"/scim/v2/Users?count=1&filter="+"active%20eq%20true", key)
		if status != http.StatusOK || !strings.Contains(body, `"totalResults":31`) {
			t.Errorf("GET /scim/v2/Users = %d %s, want the 30 people pulled and the admin", status, body)
		}
		if status, body := get(t, url+"/metrics", ""); status != http.StatusOK || !strings.Contains(body, `connector="okta"`) {
			t.Errorf("GET /metrics = %d without a run of okta:\n%s", status, body)
		}
		p.end(syscall.SIGTERM)
		if p.out() != "" {
			t.Errorf("standard output: %s, want nothing", p.out())
		}
		for name, secret := range map[string]string{"key": key[17:60], "token": oktatest.DefaultToken} {
			if strings.Contains(p.errs(), secret) {
				t.Errorf("the log tells the %s", name)
			}
		}
	})
}

func TestServe_StopInARun(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		h.tenant.Fill(30, 4, 60)
		h.tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListMembers, Times: -1, Delay: time.Minute})
		dir, env := furnished(t, h, serving("@every 1s"))
		p := start(t, dir, env, "serve")
		await(t, "a run in the middle of its pull", func() bool { return h.tenant.Requests(oktatest.ListMembers) > 0 })
		p.end(syscall.SIGTERM)
		all := runs(t, dir, env)
		if len(all) != 1 || all[0].Status != "failed" || all[0].Error == "" || all[0].Finished.IsZero() {
			t.Errorf("runs after the stop: %+v, want one that failed, with the reason", all)
		}

		h.tenant.Behave()
		p = start(t, dir, env, "serve")
		await(t, "a run that repairs", func() bool { return count(runs(t, dir, env), "done") > 0 })
		p.end(os.Interrupt)
		output(t, dir, env, "plan") // exits 0
	})
}

func TestServe_PortTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir, env := furnished(t, newHouse(t, ""), "listen: "+taken.Addr().String()+"\n")
	p := start(t, dir, env, "serve")
	p.exits(1)
	if errs := p.errs(); !strings.Contains(errs, "address already in use") || strings.Count(errs, "address already in use") != 1 {
		t.Errorf("standard error: %s, want it to say once that the address is in use", errs)
	}
}

// TestServe_Replicas lets two programs serve one database: over both, each slot runs once.
func TestServe_Replicas(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pgtest.DSN(t))
	h.tenant.Fill(30, 4, 60)
	const interval = 2 * time.Second
	dir, env := furnished(t, h, serving("@every "+interval.String()))
	output(t, dir, env, "migrate")
	first, second := start(t, dir, env, "serve"), start(t, dir, env, "serve")
	await(t, "three runs", func() bool { return count(runs(t, dir, env), "done") >= 3 })
	first.end(syscall.SIGTERM)
	second.end(syscall.SIGTERM)
	slots := map[time.Time]bool{}
	for _, r := range runs(t, dir, env) {
		slot := r.Started.Truncate(interval)
		if slots[slot] {
			t.Errorf("the slot %s ran twice", slot)
		}
		slots[slot] = true
	}
}

func TestDemo_ServesUntilInterrupted(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	p := start(t, t.TempDir(), []string{"TMPDIR=" + folder}, "demo", "--listen", "127.0.0.1:0", "--people", "30", "--groups", "3")
	url := p.url()
	if status, _ := get(t, url+"/readyz", ""); status != http.StatusOK {
		t.Errorf("GET /readyz = %d", status)
	}
	var example []string
	await(t, "the examples", func() bool {
		example = regexp.MustCompile(`curl -H 'Authorization: Bearer (\S+)' '(\S+)'`).FindStringSubmatch(p.out())
		return example != nil
	})
	if status, body := get(t, example[2], example[1]); status != http.StatusOK || !strings.Contains(body, "totalResults") {
		t.Errorf("the example: GET %s = %d %s", example[2], status, body)
	}
	signIn := regexp.MustCompile(`user name +(\S+)\n +password +(\S+)`).FindStringSubmatch(p.out())
	if signIn == nil {
		t.Fatalf("nothing says how to sign in to the console:\n%s", p.out())
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/sign-in", strings.NewReader(neturl.Values{"user_name": {signIn[1]}, "password": {signIn[2]}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther || len(answer.Cookies()) == 0 {
		t.Errorf("signing in as %s = %d, want a session", signIn[1], answer.StatusCode)
	}
	p.end(os.Interrupt)
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestResync_Interrupted: Ctrl-C ends a resync soon, says so, and leaves no lease behind.
func TestResync_Interrupted(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.tenant.Fill(30, 4, 60)
	h.tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListMembers, Times: -1, Delay: time.Minute})
	dir, env := furnished(t, h, configuration)
	p := start(t, dir, env, "resync")
	await(t, "a run in the middle of its pull", func() bool { return h.tenant.Requests(oktatest.ListMembers) > 0 })
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.exits(1)
	if errs := p.errs(); !strings.HasPrefix(errs, "Error: run okta: ") || !strings.Contains(errs, "interrupt") || strings.Count(errs, "\n") != 1 {
		t.Errorf("standard error: %s, want one line that says that it was interrupted", errs)
	}
	h.tenant.Behave()
	output(t, dir, env, "resync") // exits 0
}
