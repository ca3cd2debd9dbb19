package cli_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// anyKey looks like a key; whether it is one is the server's to say.
const anyKey = "idps_3fK9x2QaB7c_secret"

// asks runs the program against a server, and returns its exit status and what it prints.
func asks(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "idpsync", args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = t.TempDir(), append(os.Environ(), env...), &out, &errs
	_ = cmd.Run() // its status is in ProcessState
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestServer_Refused sees that what is wrong with a server's address or key is told, with the remedy, before the key goes
// anywhere.
func TestServer_Refused(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	withKey := []string{"IDPSYNC_KEY=" + anyKey}
	for name, c := range map[string]struct {
		env    []string
		args   []string
		status int
		says   string
	}{
		"no URL":              {withKey, []string{"users", "list", "--server", "%"}, 64, "--server: it is no URL"},
		"empty":               {withKey, []string{"users", "list", "--server", ""}, 64, "--server: want the URL of a server"},
		"another scheme":      {withKey, []string{"users", "list", "--server", "ftp://idpsync.example.com"}, 64, "is no URL with https"},
		"no host":             {withKey, []string{"users", "list", "--server", "idpsync.example.com"}, 64, "is no URL with https"},
		"a password":          {withKey, []string{"users", "list", "--server", "https://me:hunter2@idpsync.example.com"}, 64, "--server: it holds a user or a password"},
		"a query":             {withKey, []string{"users", "list", "--server", "https://idpsync.example.com/?a=b"}, 64, "more than an address"},
		"plain http":          {withKey, []string{"users", "list", "--server", "http://idpsync.example.com"}, 64, "over plain http anybody on the way could read the API key"},
		"plain http, like us": {withKey, []string{"users", "list", "--server", "http://127.0.0.1.example.com"}, 64, "over plain http"},
		"config too":          {withKey, []string{"users", "list", "--server", "https://idpsync.example.com", "--config", "x.yaml"}, 64, "choose one"},
		"config, by variable": {append(withKey, "IDPSYNC_SERVER=https://idpsync.example.com"), []string{"users", "list", "--config", "x.yaml"}, 64, "IDPSYNC_SERVER a server: choose one"},
		"only a key":          {nil, []string{"users", "list", "--key-file", empty}, 64, "--key-file and --ca-file go with --server"},
		"serve":               {withKey, []string{"serve", "--server", "https://idpsync.example.com"}, 64, "idpsync serve takes no --server: it is the server"},
		"migrate":             {withKey, []string{"migrate", "--server", "https://idpsync.example.com"}, 64, "idpsync migrate takes no --server"},
		"demo":                {withKey, []string{"demo", "--once", "--server", "https://idpsync.example.com"}, 64, "idpsync demo takes no --server"},
		"help":                {withKey, []string{"help", "plan", "--server", "https://idpsync.example.com"}, 64, "idpsync help takes no --server"},
		"completion":          {withKey, []string{"completion", "bash", "--server", "https://idpsync.example.com"}, 64, "idpsync completion bash takes no --server"},
		"no key":              {nil, []string{"users", "list", "--server", "https://127.0.0.1:1"}, 1, "an API key is missing: make one with `idpsync keys create`"},
		"no file":             {nil, []string{"users", "list", "--server", "https://127.0.0.1:1", "--key-file", empty + "2"}, 1, "read the API key: open"},
		"empty file":          {nil, []string{"users", "list", "--server", "https://127.0.0.1:1", "--key-file", empty}, 1, "holds no API key"},
		"no key at all":       {[]string{"IDPSYNC_KEY=hunter2"}, []string{"users", "list", "--server", "https://127.0.0.1:1"}, 1, "IDPSYNC_KEY holds no API key"},
		"no authority":        {withKey, []string{"users", "list", "--server", "https://127.0.0.1:1", "--ca-file", empty}, 1, "it holds no certificate in PEM"},
		"nobody there":        {withKey, []string{"users", "list", "--server", "https://127.0.0.1:1"}, 1, "https://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused: see that the address is right"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out, errs := asks(t, c.env, c.args...)
			if status != c.status || out != "" || !strings.HasPrefix(errs, "Error: ") || !strings.Contains(errs, c.says) {
				t.Errorf("exit status %d, %q, want %d, %q", status, out+errs, c.status, c.says)
			}
			if strings.Contains(errs, "hunter2") || strings.Contains(errs, anyKey) {
				t.Errorf("a secret is told: %s", errs)
			}
		})
	}
}

// TestServer_Answers sees what is made of answers that are none of ours, or no success; and that the key goes nowhere else.
func TestServer_Answers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	problem := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			needs := ""
			if status == http.StatusForbidden {
				needs = `,"needs":"admin"`
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"type":"about:blank","title":"T","status":%d,"detail":"so it is","request_id":"R1"%s}`, status, needs)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"a redirection":  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/x", http.StatusFound) }, "redirections are not followed"},
		"another server": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "is not what this version expects"},
		"not found":      {http.NotFound, "something else than idpsync answers there, with status 404"},
		"wrong key":      {problem(http.StatusUnauthorized), "the server lets nobody in with this API key: so it is: make another with `idpsync keys create`"},
		"too little":     {problem(http.StatusForbidden), "so it is: the key's owner does not hold it; an admin gives it with `idpsync roles grant USER root:admin`"},
		"broken":         {problem(http.StatusInternalServerError), "so it is: the server's log has more under the request id R1"},
		"too many":       {problem(http.StatusTooManyRequests, "Retry-After", "3600"), "so it is: try again in a minute"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.handler)
			defer server.Close()
			status, out, errs := asks(t, []string{"IDPSYNC_KEY=" + anyKey, "IDPSYNC_SERVER=" + server.URL}, "users", "list")
			if status != 1 || out != "" || !strings.Contains(errs, c.says) {
				t.Errorf("exit status %d, %q, want 1, %q", status, out+errs, c.says)
			}
		})
	}
	t.Cleanup(func() {
		if elsewhere.Load() > 0 {
			t.Error("a redirection was followed with the key")
		}
	})
}

// TestServer_Waits sees that what only reads is asked again when the server says, and what writes is not.
func TestServer_Waits(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+anyKey {
			t.Errorf("Authorization: %q", r.Header.Get("Authorization"))
		}
		if asked.Add(1) < 3 || r.Method != http.MethodGet {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"items":[],"total":0}`)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(anyKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"IDPSYNC_KEY_FILE=" + file}
	if status, out, errs := asks(t, env, "users", "list", "--server", server.URL+"/api/v1/", "--output", "json"); status != 0 || out != "" || asked.Load() != 3 {
		t.Errorf("a read: exit status %d after %d requests, %q, want 0 after 3", status, asked.Load(), out+errs)
	}
	asked.Store(0)
	if status, _, _ := asks(t, env, "admin", "create", "glass@acme.test", "--server", server.URL); status != 1 || asked.Load() != 1 {
		t.Errorf("a write: exit status %d after %d requests, want 1 after 1", status, asked.Load())
	}
}

// TestServer_TellsHowMany says under a list how many there are, also where the server does not.
func TestServer_TellsHowMany(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"items":[{"user_name":"ana@acme.test"}],"next_cursor":"1","total":7}`: "1 of 7\n",
		`{"items":[{"user_name":"ana@acme.test"}],"next_cursor":"1"}`:           "the first 1 of more\n",
		`{"items":[{"user_name":"ana@acme.test"}]}`:                             "1 of 1\n",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
		t.Cleanup(server.Close)
		status, _, errs := asks(t, []string{"IDPSYNC_KEY=" + anyKey}, "users", "list", "--limit", "1", "--server", server.URL)
		if status != 0 || errs != want {
			t.Errorf("of %s: exit status %d, said %q, want %q", answer, status, errs, want)
		}
	}
}

// TestServer_TLS sees that a certificate of nobody we know is refused, and that the authority can be named.
func TestServer_TLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[],"total":0}`) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	env := []string{"IDPSYNC_KEY=" + anyKey}
	status, _, errs := asks(t, env, "users", "list", "--server", server.URL)
	if status != 1 || !strings.Contains(errs, "name the authority that vouches for the server with --ca-file") {
		t.Errorf("exit status %d, %q, want 1 and the remedy", status, errs)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := asks(t, env, "users", "list", "--server", server.URL, "--ca-file", file); status != 0 {
		t.Errorf("with the authority: exit status %d, %q", status, errs)
	}
	if status, _, errs := asks(t, env, "users", "list", "--server", strings.Replace(server.URL, "127.0.0.1", "localhost", 1), "--ca-file", file); status != 1 || !strings.Contains(errs, "certificate") {
		t.Errorf("under another name: exit status %d, %q", status, errs)
	}
}

// TestServer_Served works on a program that serves, as an operator does who has nothing but a key.
func TestServer_Served(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	dir := t.TempDir()
	quiet := strings.Replace(configuration, "ca_file: okta-ca.pem", `ca_file: okta-ca.pem, schedule: "0 0 1 1 *", full_schedule: "0 0 1 1 *"`, 1)
	if err := os.WriteFile(filepath.Join(dir, "idpsync.yaml"), []byte("listen: 127.0.0.1:0\n"+quiet), 0o600); err != nil {
		t.Fatal(err)
	}
	env, err := h.furnish(dir)
	if err != nil {
		t.Fatal(err)
	}
	h.tenant.AddUser(map[string]any{"login": "ana@acme.test", "email": "ana@acme.test", "firstName": "Ana", "lastName": "Diaz"})
	output(t, dir, env, "admin", "create", "glass@acme.test", "--scim")
	key := strings.TrimSpace(output(t, dir, env, "keys", "create", "--user", "glass@acme.test", "--name", "operator's"))
	output(t, dir, env, "resync")
	p := start(t, dir, append(env, "IDPSYNC_SERVER=https://not.minded.by.serve.example"), "serve", "--config", "idpsync.yaml")
	address := p.url()
	await(t, "the run that a new server begins with", func() bool {
		return slices.ContainsFunc(runs(t, dir, env), func(r run) bool { return r.Trigger == "schedule" && !r.Finished.IsZero() })
	})
	away := []string{"IDPSYNC_SERVER=" + address, "IDPSYNC_KEY=" + key}
	ask := func(want int, args ...string) string {
		t.Helper()
		status, out, errs := asks(t, away, args...)
		if status != want {
			t.Errorf("idpsync %v = exit status %d, want %d\n%s%s", args, status, want, out, errs)
		}
		return out + errs
	}
	for _, args := range [][]string{
		{"users", "list", "--output", "json"},
		{"users", "show", "ana@acme.test"},
		{"access", "glass@acme.test", "--output", "json"},
		{"teams", "list"},
		{"scim", "status"},
		{"roles", "who", "root:admin"},
		{"conflicts", "list"},
		{"webhooks", "list"},
		{"audit", "list", "--limit", "3"},
		{"audit", "list", "--user", "ana@acme.test", "--type", "user.*"},
	} {
		if got, want := ask(0, args...), output(t, dir, env, args...); !strings.HasPrefix(got, want) {
			t.Errorf("idpsync %v prints\n%s\nwith --server, and without it\n%s", args, got, want)
		}
	}
	exported := filepath.Join(dir, "audit.jsonl")
	_, lines, _ := asks(t, away, "audit", "export")
	if err := os.WriteFile(exported, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, dir, env, "audit", "verify", "--from-export", exported)
	if out := ask(0, "audit", "verify"); !strings.HasPrefix(out, "intact: ") {
		t.Errorf("audit verify prints\n%s", out)
	}
	ask(1, "audit", "verify", "--expect", "1:"+strings.Repeat("0", 64))
	h.tenant.AddUser(map[string]any{"login": "bo@acme.test", "email": "bo@acme.test", "firstName": "Bo", "lastName": "Lund"})
	if out := ask(2, "resync", "--dry-run", "--user", "bo@acme.test"); !strings.Contains(out, "read     okta states bo@acme.test") || !strings.Contains(out, "+ create     user   bo@acme.test") {
		t.Errorf("resync --dry-run --user prints\n%s", out)
	}
	if out := ask(1, "resync", "--user", "nobody@acme.test"); !strings.Contains(out, `Error: run okta: okta knows no user "nobody@acme.test"`) {
		t.Errorf("resync --user of nobody prints\n%s", out)
	}
	ask(0, "resync")
	ask(64, "plan", "nosuch")
	if out := ask(0, "check"); !strings.Contains(out, "ok     server: key: ") || !strings.Contains(out, "ok     server: role: admin") ||
		!strings.Contains(out, "ok     server: clock: ") || !strings.Contains(out, "ok     okta: token: accepted") || !strings.Contains(out, "ok     scim: break glass: ") {
		t.Errorf("check prints\n%s", out)
	}
	if out := ask(0, "version"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "\nserver  ") {
		t.Errorf("version prints\n%s", out)
	}
	// Whoever may only look is told what it takes.
	ask(0, "roles", "grant", "ana@acme.test", "root:viewer")
	viewer := strings.TrimSpace(output(t, dir, env, "keys", "create", "--user", "ana@acme.test", "--name", "to look"))
	away[1] = "IDPSYNC_KEY=" + viewer
	ask(0, "users", "list")
	if out := ask(1, "resync"); !strings.Contains(out, "this takes the role operator on the root team") {
		t.Errorf("resync of a viewer prints\n%s", out)
	}
	if out := ask(0, "check"); !strings.Contains(out, "viewer: may look") || strings.Contains(out, "okta") {
		t.Errorf("check of a viewer prints\n%s", out)
	}
	away[1] = "IDPSYNC_KEY=" + anyKey
	if out := ask(1, "check"); !strings.Contains(out, "WRONG  server: key: ") {
		t.Errorf("check with no key prints\n%s", out)
	}
	p.end(syscall.SIGTERM)
}

// TestServer_Interrupted sees that an interrupt ends the following of a run, says so, and asks nothing of the server.
func TestServer_Interrupted(t *testing.T) {
	t.Parallel()
	const going = `{"run_id":"r1","connector":"okta","status":"running","phase":"pull","counts":{},"finished":null}`
	followed := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /api/v1/connectors":
			fmt.Fprint(w, `{"items":[{"name":"okta"}]}`)
		case "GET /api/v1/role-mappings":
			fmt.Fprint(w, `{"items":[]}`)
		case "POST /api/v1/runs":
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"items":[`+going+`]}`)
		case "GET /api/v1/runs/r1":
			fmt.Fprint(w, going)
			select {
			case followed <- struct{}{}:
			default:
			}
		default:
			t.Errorf("%s %s was asked for", r.Method, r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	p := start(t, t.TempDir(), []string{"IDPSYNC_KEY=" + anyKey, "IDPSYNC_SERVER=" + server.URL}, "resync")
	select {
	case <-followed:
	case <-time.After(patience):
		t.Fatal("the run is not followed")
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.exits(1)
	if !strings.Contains(p.errs(), "The run goes on at the server: idpsync runs show r1") || strings.Contains(p.errs(), "Error:") {
		t.Errorf("standard error: %q, want it to say that the run goes on", p.errs())
	}
}
