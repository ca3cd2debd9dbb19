package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/telemetry"
	"github.com/idpsync/idpsync/cmd/internal/telemetry/otlptest"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store/identity"
)

// logged is a log that may be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines returns the lines so far.
func (l *logged) lines(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []map[string]any
	for text := range bytes.Lines(l.b.Bytes()) {
		var line map[string]any
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, line)
	}
	return all
}

// watched is the program serving a tenant that it pulls when it is told to, with a log that can be read.
type watched struct {
	*site
	tenant *oktatest.Tenant
	log    *logged
	stop   func() error
}

// person is somebody whose name must never leave in a trace.
const person = "zebediah.quill"

func watch(t *testing.T, more string) *watched {
	t.Helper()
	w := &watched{tenant: &oktatest.Tenant{Seed: 1}, log: &logged{}}
	team := w.tenant.AddGroup("Zeppelin Crew")
	for i := range 40 {
		login := fmt.Sprintf("%s%d@acme.test", person, i)
		w.tenant.AddMember(team, w.tenant.AddUser(map[string]any{"login": login, "email": login, "firstName": "Zebediah", "lastName": "Quill"}))
	}
	config := configure(t, sqlite(t), w.tenant, "okta")
	config.Connectors[0].Schedule, config.Connectors[0].FullSchedule = "0 0 29 2 *", "0 0 29 2 *"
	if more != "" {
		extra, err := configs.Parse("more.yaml", []byte(more))
		if err != nil {
			t.Fatal(err)
		}
		config.Telemetry = extra.Telemetry
	}
	logger, err := telemetry.NewLogger(w.log, "debug", telemetry.JSON)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), config, logger)
	if err != nil {
		t.Fatal(err)
	}
	w.site = &site{T: t, app: a}
	ctx, cancel := context.WithCancel(t.Context())
	served, urls := make(chan error, 1), make(chan string, 1)
	go func() { served <- a.Serve(ctx, func(url string) { urls <- url }) }()
	select {
	case w.url = <-urls:
	case err := <-served:
		t.Fatalf("Serve: %v", err)
	}
	w.stop = sync.OnceValue(func() error {
		cancel()
		err := <-served
		return errorsJoin(err, a.Close())
	})
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func errorsJoin(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// run pulls the tenant, after the one that a server begins with.
func (w *watched) run(full bool, want identity.RunStatus) identity.Run {
	w.Helper()
	sources, err := w.app.Sources()
	w.must(err)
	for deadline := time.Now().Add(time.Minute); ; {
		run, err := w.app.Engine.Run(w.Context(), reconcile.Request{Source: sources[0], Full: full, Trigger: "cli"})
		switch {
		case err == nil && run.Status == want:
			return run
		case err != nil && !strings.Contains(err.Error(), reconcile.ErrBusy.Error()) || time.Now().After(deadline):
			w.Fatalf("run ended %s, want %s: %v %s", run.Status, want, err, run.Error)
		}
		time.Sleep(20 * time.Millisecond) // another run, or an attempt that found what the first one left
	}
}

// metrics returns the values of /metrics, by name with labels.
func (w *watched) metrics() map[string]float64 {
	w.Helper()
	answer, err := http.Get(w.url + "/metrics")
	w.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	w.must(err)
	values := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if values[line[:at]], err = strconv.ParseFloat(line[at+1:], 64); err != nil {
			w.Fatalf("%s: %v", line, err)
		}
	}
	return values
}

// wants compares some of the values.
func (w *watched) wants(when string, want map[string]float64) {
	w.Helper()
	got := w.metrics()
	for name, value := range want {
		if v, there := got[name]; !there || v != value {
			w.Errorf("%s: %s = %v (there: %t), want %v", when, name, v, there, value)
		}
	}
}

// TestMetrics_Values looks at what is told after a pull, a push, a provider that throttles, and a run that is held.
func TestMetrics_Values(t *testing.T) {
	t.Parallel()
	w := watch(t, "")
	began := float64(time.Now().UnixMilli()) / 1000
	w.run(true, identity.RunDone)
	w.run(true, identity.RunDone) // finds nothing
	w.wants("after a pull", map[string]float64{
		`idpsync_users{source="okta",state="active"}`: 40, `idpsync_groups{source="okta"}`: 1, `idpsync_memberships`: 40, `idpsync_teams`: 2,
		`idpsync_drift{connector="okta"}`: 0, `idpsync_drift_remaining{connector="okta"}`: 0, `idpsync_held_changes{connector="okta"}`: 0, `idpsync_conflicts{connector="okta"}`: 0,
		`idpsync_changes_total{origin="pull",type="user.created"}`: 40, `idpsync_planned_changes_total{change="user.create",connector="okta"}`: 40,
		`idpsync_last_run_status{connector="okta",status="done"}`: 1, `idpsync_last_run_status{connector="okta",status="failed"}`: 0,
		`idpsync_lease_held{connector="okta"}`: 0, `idpsync_runs_in_progress{connector="okta"}`: 0, `idpsync_connector_enforce{connector="okta"}`: 1,
		`idpsync_database_up`: 1, `idpsync_idp_throttled_seconds_total{connector="okta"}`: 0, `idpsync_leases_lost_total{connector="okta"}`: 0,
		`idpsync_idp_requests_total{code="200",connector="okta",endpoint="GET /api/v1/users"}`: float64(w.tenant.Requests("GET /api/v1/users")),
	})
	m := w.metrics()
	if at := m[`idpsync_last_success_timestamp_seconds{connector="okta"}`]; at < began-60 || at > began+120 {
		t.Errorf("last success at %v, and the run was after %v", at, began)
	}
	if age := m[`idpsync_full_run_age_seconds{connector="okta"}`]; age < 0 || age > 120 {
		t.Errorf("full run is %v s old", age)
	}
	runs := 0.0
	for name, n := range m {
		if strings.HasPrefix(name, `idpsync_runs_total{connector="okta"`) {
			runs += n
		}
	}
	for _, phase := range []string{"pull", "plan", "guard", "verify", "apply", "commit"} {
		if n := m[fmt.Sprintf(`idpsync_run_phase_duration_seconds_count{connector="okta",phase=%q}`, phase)]; n != runs {
			t.Errorf("phase %s was measured %v times in %v runs", phase, n, runs)
		}
	}

	key := w.scimKey("scim@acme.test")
	w.must(w.scim(key, http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"pushed@acme.test","name":{"givenName":"P","familyName":"U"},"emails":[{"value":"pushed@acme.test","primary":true}]}`))
	if err := w.scim(key, http.MethodGet, "/Users/nobody", ""); err == nil {
		t.Error("nobody was found")
	}
	w.wants("after a push", map[string]float64{
		`idpsync_changes_total{origin="push",type="user.created"}`:                  1,
		`idpsync_scim_requests_total{code="201",method="POST",route="/Users"}`:      1,
		`idpsync_scim_requests_total{code="404",method="GET",route="/Users/{id}"}`:  1,
		`idpsync_scim_request_duration_seconds_count{method="POST",route="/Users"}`: 1,
		`idpsync_changes_total{origin="push",type="change.refused"}`:                0,
	})

	w.tenant.Inject(oktatest.Fault{Kind: oktatest.ThrottleRetryAfter, Endpoint: "GET /api/v1/users", Times: 1})
	w.run(true, identity.RunDone)
	m = w.metrics()
	if n := m[`idpsync_idp_requests_total{code="429",connector="okta",endpoint="GET /api/v1/users"}`]; n != 1 {
		t.Errorf("429 was counted %v times", n)
	}
	if waited := m[`idpsync_idp_throttled_seconds_total{connector="okta"}`]; waited < 1 || waited > 30 {
		t.Errorf("throttled for %v s, want 1 or a little more", waited)
	}
	if left := m[`idpsync_idp_rate_limit_remaining_ratio{bucket="GET /api/v1/users",connector="okta"}`]; left <= 0 || left > 1 {
		t.Errorf("%v is left of the limit", left)
	}

	for _, u := range w.tenant.Users()[:20] {
		w.tenant.DeleteUser(u.ID)
	}
	held := w.run(true, identity.RunHeld)
	w.wants("after a run that was held", map[string]float64{
		`idpsync_held_changes{connector="okta"}`:                  float64(held.Counts.Held),
		`idpsync_drift_remaining{connector="okta"}`:               float64(held.Counts.Planned() - held.Counts.Applied),
		`idpsync_last_run_status{connector="okta",status="held"}`: 1,
		`idpsync_changes_total{origin="pull",type="run.held"}`:    1,
	})
	sources, err := w.app.Sources()
	w.must(err)
	// A dry run in between lets nothing go.
	if _, err := w.app.Engine.Run(t.Context(), reconcile.Request{Source: sources[0], Full: true, DryRun: true}); err != nil {
		t.Fatal(err)
	}
	w.wants("after a dry run", map[string]float64{`idpsync_held_changes{connector="okta"}`: float64(held.Counts.Held)})
	if _, err := w.app.Engine.Reject(t.Context(), held.ID, tester); err != nil {
		t.Fatal(err)
	}
	w.wants("after it was rejected", map[string]float64{`idpsync_held_changes{connector="okta"}`: 0})
	w.lint()
}

// lint has Prometheus' own tool look at names, units and help.
func (w *watched) lint() {
	w.Helper()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if promtool, err = filepath.Abs("../../../bin/promtool"); err == nil {
			_, err = os.Stat(promtool)
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" && !testing.Short() {
			w.Error("there is no promtool: run .ci/promtool, which puts it into bin/")
		}
		return
	}
	answer, err := http.Get(w.url + "/metrics")
	w.must(err)
	defer answer.Body.Close()
	check := exec.CommandContext(w.Context(), promtool, "check", "metrics")
	check.Stdin = answer.Body
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		w.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestMetrics_AnotherProcess: what a short process did shows in the gauges of one that serves.
func TestMetrics_AnotherProcess(t *testing.T) {
	t.Parallel()
	w := watch(t, "")
	w.run(true, identity.RunDone)
	other := open(t, w.app.Config)
	w.tenant.AddUser(map[string]any{"login": "late@acme.test", "email": "late@acme.test"})
	sources, err := other.Sources()
	w.must(err)
	run, err := other.Engine.Run(t.Context(), reconcile.Request{Source: sources[0], Full: true, Trigger: "cli"})
	w.must(err)
	w.wants("after a run elsewhere", map[string]float64{
		`idpsync_last_success_timestamp_seconds{connector="okta"}`: float64(run.Finished.UnixMilli()) / 1000,
		`idpsync_drift{connector="okta"}`:                          float64(run.Counts.Planned()),
	})
}

// TestMetrics_Documented holds the guide's table, the dashboard and the alert rules against what there is.
func TestMetrics_Documented(t *testing.T) {
	t.Parallel()
	config := configure(t, sqlite(t), &oktatest.Tenant{}, "okta")
	config.Webhooks = []configs.Webhook{{Name: "crm", URL: "https://crm.example.com", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
	a, err := app.New(t.Context(), config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served, urls := make(chan error, 1), make(chan string, 1)
	go func() { served <- a.Serve(ctx, func(url string) { urls <- url }) }()
	<-urls
	known := a.Registry.Known()
	for deadline := time.Now().Add(time.Minute); known["idpsync_audit_unsealed"] == nil && time.Now().Before(deadline); known = a.Registry.Known() {
		time.Sleep(10 * time.Millisecond) // registered by what runs beside
	}
	stop()
	if err := errorsJoin(<-served, a.Close()); err != nil {
		t.Error(err)
	}

	guide := text(t, "../../../docs/operations.md")
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(idpsync_[a-z_]+)` \\| (counter|gauge|histogram) \\| ([^|]*) \\|").FindAllStringSubmatch(guide, -1) {
		name, kind := row[1], row[2]
		told[name] = true
		labels, there := known[name]
		if !there {
			t.Errorf("the guide tells of %s, which there is not", name)
			continue
		}
		var documented []string
		for _, label := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[3], -1) {
			documented = append(documented, label[1])
		}
		slices.Sort(documented)
		labels = slices.Sorted(slices.Values(labels))
		if !slices.Equal(documented, labels) {
			t.Errorf("%s has the labels %v, and the guide says %v", name, labels, documented)
		}
		if counter := strings.HasSuffix(name, "_total"); counter != (kind == "counter") {
			t.Errorf("%s is no %s by its name", name, kind)
		}
	}
	for name := range known {
		if strings.HasPrefix(name, "idpsync_") && !told[name] {
			t.Errorf("the guide does not tell of %s", name)
		}
	}
	for _, file := range []string{"../../../configs/prometheus/alerts.yaml", "../../../configs/grafana/idpsync.json"} {
		for _, complaint := range asked(strings.ReplaceAll(text(t, file), `\"`, `"`), known) {
			t.Errorf("%s: %s", file, complaint)
		}
	}
	if got := asked(`sum by (nothing) (idpsync_users{color="red"}) + idpsync_none + idpsync_idp_requests_total_bucket`, known); len(got) != 4 {
		t.Errorf("the check lets mistakes pass: %q", got)
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	anyMetric = regexp.MustCompile(`\bidpsync_[a-z_]+`)
	selector  = regexp.MustCompile(`\b(idpsync_[a-z_]+)\{([^}]*)\}`)
	matcher   = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping  = regexp.MustCompile(`\b(?:by|on|without) \(([a-z_, ]*)\)`)
)

// asked returns what expressions ask for that there is not.
func asked(text string, known map[string][]string) []string {
	var complaints []string
	metric := func(name string) ([]string, bool) {
		labels, there := known[name]
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && !there && strings.HasSuffix(base, "_seconds") {
				labels, there = known[base]
				labels = append(slices.Clone(labels), "le")
			}
		}
		return labels, there
	}
	all := map[string]bool{"le": true, "instance": true, "job": true}
	for _, labels := range known {
		for _, label := range labels {
			all[label] = true
		}
	}
	for _, name := range anyMetric.FindAllString(text, -1) {
		if _, there := metric(name); !there {
			complaints = append(complaints, "there is no metric "+name)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(text, -1) {
		labels, _ := metric(s[1])
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !slices.Contains(append([]string{"instance", "job"}, labels...), m[1]) {
				complaints = append(complaints, s[1]+" has no label "+m[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(text, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			if label = strings.TrimSpace(label); label != "" && !all[label] {
				complaints = append(complaints, "nothing has a label "+label)
			}
		}
	}
	return complaints
}

// TestTraces looks at the spans of a run and of a push, and for people in them.
func TestTraces(t *testing.T) {
	t.Parallel()
	collector := otlptest.Start()
	t.Cleanup(collector.Close)
	ca := filepath.Join(t.TempDir(), "collector.pem")
	if err := collector.WriteCA(ca); err != nil {
		t.Fatal(err)
	}
	w := watch(t, fmt.Sprintf("telemetry: {traces: {endpoint: %q, ca_file: %q, headers: {Authorization: Bearer otlp-secret}}}", collector.URL(), ca))
	run := w.run(true, identity.RunDone)
	w.tenant.Inject(oktatest.Fault{Kind: oktatest.NotFound, Endpoint: "GET /api/v1/users/{id}"})
	key := w.scimKey("scim@acme.test")
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	send := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
		w.must(err)
		r.Header.Set("Authorization", "Bearer "+key.Reveal())
		r.Header.Set("Content-Type", "application/scim+json")
		r.Header.Set("Traceparent", "00-"+parent+"-00f067aa0ba902b7-01")
		answer, err := http.DefaultClient.Do(r)
		w.must(err)
		_ = answer.Body.Close()
	}
	send(http.MethodPost, "/scim/v2/Users?id="+person+"@trace", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"pushed.`+person+`@acme.test","name":{"givenName":"Zebediah","familyName":"Quill"},"emails":[{"value":"pushed.`+person+`@acme.test","primary":true}]}`)
	send(http.MethodGet, "/scim/v2/Users?filter=userName+eq+%22pushed."+person+"@acme.test%22", "")
	send(http.MethodGet, "/scim/v2/Users/"+person, "")
	send(http.MethodGet, "/api/v1/access?user="+person+"0@acme.test", "")
	send(http.MethodGet, "/"+person, "")
	send("BREW"+strings.ToUpper(person[:4]), "/healthz/"+person, "")
	w.metrics()
	w.must(w.stop())

	spans := collector.Spans()
	byID := map[string]otlptest.Span{}
	for _, s := range spans {
		byID[s.ID] = s
	}
	// path names a span and what it is in.
	path := func(s otlptest.Span) string {
		names := []string{s.Name}
		for up, ok := byID[s.Parent]; ok; up, ok = byID[up.Parent] {
			names = append(names, up.Name)
		}
		slices.Reverse(names)
		return strings.Join(names, " > ")
	}
	seen := map[string]int{}
	for _, s := range spans {
		seen[path(s)]++
		if s.Server && s.Parent != "" && s.TraceID != parent {
			t.Errorf("%s goes on with a trace that is not the client's: %+v", s.Name, s)
		}
	}
	for _, want := range []string{
		"run", "run > pull", "run > pull > GET /api/v1/users", "run > pull > GET /api/v1/groups/{id}/users", "run > plan", "run > guard", "run > verify",
		"run > apply", "run > apply > apply batch", "run > apply > apply batch > transaction", "run > commit", "run > commit > transaction",
		"POST /scim/v2/Users", "POST /scim/v2/Users > transaction", "GET /scim/v2/Users", "GET /scim/v2/Users/{id}", "GET /api/v1/access",
	} {
		if seen[want] == 0 {
			t.Errorf("there is no span %q; there are %v", want, seen)
		}
	}
	for name := range seen {
		if strings.Contains(name, "metrics") {
			t.Errorf("%s is traced", name)
		}
	}
	runs := 0
	for _, s := range spans {
		if s.Name == "run" && s.Attributes["idpsync.run_id"] == run.ID {
			runs++
			if a := s.Attributes; a["idpsync.status"] != "done" || a["idpsync.connector"] != "okta" || a["idpsync.users"] != "40" {
				t.Errorf("the run's attributes are %v", a)
			}
		}
	}
	if runs != 1 {
		t.Errorf("%d spans of the run", runs)
	}
	raw := bytes.ToLower(collector.Raw())
	for _, secret := range []string{
		person, "zebediah", "quill", "zeppelin", "acme.test", "@trace", "filter", "username", key.Reveal(), oktatest.DefaultToken, "otlp-secret", "brewzebe",
	} {
		if at := bytes.Index(raw, []byte(strings.ToLower(secret))); at >= 0 {
			t.Errorf("%q is in what was exported: ...%q...", secret, raw[max(0, at-60):min(len(raw), at+60)])
		}
	}
	users, err := json.Marshal(w.tenant.Users())
	w.must(err)
	for _, id := range regexp.MustCompile(`00u[0-9A-Za-z]{17}`).FindAllString(string(users), -1) {
		if bytes.Contains(raw, []byte(strings.ToLower(id))) {
			t.Errorf("the id %s is in what was exported", id)
		}
	}
}

// TestLogs ties the answer to each kind of request to its line, and a run to its lines.
func TestLogs(t *testing.T) {
	t.Parallel()
	w := watch(t, "")
	run := w.run(true, identity.RunDone)
	key := w.scimKey("scim@acme.test")
	for _, tc := range []struct {
		method, path, key, body string
		status                  int
		route, chosen           string
	}{
		{"GET", "/scim/v2/Users?count=1", key.Reveal(), "", 200, "/scim/v2/Users", ""},
		{"GET", "/scim/v2/Users/nobody?id=mine-1", key.Reveal(), "", 404, "/scim/v2/Users/{id}", "mine-1"},
		{"GET", "/scim/v2/Users", "idps_wrong", "", 401, "/scim/v2/Users", ""},
		{"GET", "/scim/v2/nothing/of/this", key.Reveal(), "", 404, "", ""},
		{"POST", "/scim/v2/Users", key.Reveal(), "{", 400, "/scim/v2/Users", ""},
		{"GET", "/api/v1/runs/" + run.ID, key.Reveal(), "", 200, "/api/v1/runs/{id}", ""},
		{"GET", "/api/v1/runs", "", "", 401, "/api/v1/runs", ""},
		{"GET", "/sign-in", "", "", 200, "/sign-in", ""},
		{"GET", "/sign-in/nothing", "", "", 404, "", ""},
		{"GET", "/healthz", "", "", 200, "", ""},
		{"GET", "/metrics", "", "", 200, "/metrics", ""},
		{"DELETE", "/healthz", "", "", 405, "", ""},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tc.method, w.url+tc.path, strings.NewReader(tc.body))
			w.must(err)
			if tc.key != "" {
				r.Header.Set("Authorization", "Bearer "+tc.key)
			}
			if tc.body != "" {
				r.Header.Set("Content-Type", "application/scim+json")
			}
			answer, err := http.DefaultClient.Do(r)
			w.must(err)
			_, err = io.Copy(io.Discard, answer.Body)
			w.must(errorsJoin(err, answer.Body.Close()))
			id := answer.Header.Get("X-Request-Id")
			if answer.StatusCode != tc.status || id == "" || tc.chosen != "" && id != tc.chosen {
				t.Fatalf("%d, X-Request-Id %q, want %d, %q", answer.StatusCode, id, tc.status, tc.chosen)
			}
			line := w.requestLine(id)
			if line["status"] != float64(tc.status) || line["method"] != tc.method || line["duration_ms"] == nil || line["bytes"] == nil {
				t.Errorf("the line is %v", line)
			}
			route, _ := line["route"].(string)
			if _, path := line["path"]; route != tc.route || path == (tc.route != "") {
				t.Errorf("the line has route %q, want %q: %v", route, tc.route, line)
			}
			if known := tc.key == key.Reveal() && tc.status != 401; known != (line["caller"] == "key "+key.ID()) {
				t.Errorf("the line has caller %v", line["caller"])
			}
		})
	}
	refused, ran := false, false
	for _, line := range w.log.lines(t) {
		for name, value := range line {
			if text, ok := value.(string); ok && (strings.Contains(text, key.Reveal()) || strings.Contains(text, person)) {
				t.Errorf("%s has a name or a key: %v", name, line)
			}
		}
		if line["msg"] == "API key refused" {
			refused = line["request_id"] != nil && w.requestLine(line["request_id"].(string)) != nil
		}
		if line["msg"] == "run finished" && line["run_id"] == run.ID {
			ran = true
		}
	}
	if !refused || !ran {
		t.Errorf("a refused key is tied to its request: %t, a run to its id: %t", refused, ran)
	}
}

// requestLine returns the line of a request, which is written after its answer.
func (w *watched) requestLine(id string) map[string]any {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, line := range w.log.lines(w.T) {
			if line["msg"] == "request" && line["request_id"] == id {
				return line
			}
		}
	}
	w.Fatalf("no line of the request %s", id)
	return nil
}
