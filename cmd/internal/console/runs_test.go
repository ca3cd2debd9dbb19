package console_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// people fills a tenant, and returns the ids.
func people(tenant *oktatest.Tenant, n int) []string {
	var ids []string
	for i := range n {
		name := fmt.Sprintf("p%d@acme.test", i)
		ids = append(ids, tenant.AddUser(map[string]any{"login": name, "email": name, "firstName": "P", "lastName": fmt.Sprint(i)}))
	}
	return ids
}

// started posts a form that starts runs, and returns the path of the run's page.
func (w world) started(fields ...string) string {
	w.Helper()
	p := w.post("operator", "/runs", fields...)
	at := p.header.Get("Location")
	if p.status != http.StatusSeeOther || !strings.HasPrefix(at, "/runs/") {
		w.Fatalf("%s = %d to %q, want a run:\n%s", p.what, p.status, at, p.text())
	}
	return at
}

// ended returns the page of a run when it has ended.
func (w world) ended(at string) *page {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if p := w.get("viewer", at).want(http.StatusOK); !strings.Contains(p.text(), "Under way") {
			return p
		}
	}
	w.Fatalf("run %s does not end", at)
	return nil
}

func TestRun_PlanThenRepair(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	ids := people(tenant, 12)
	group := tenant.AddGroup("Engineering")
	tenant.AddMember(group, ids[0])
	w := newWorld(t, apptest.Okta(t, tenant, ""))
	w.get("viewer", "/runs").want(http.StatusOK, "Nothing has run yet").lacks("Start a run")
	w.get("operator", "/runs").want(http.StatusOK, "Start a run", "Plan only")

	plan := w.started("connector", "okta", "dry_run", "true")
	w.ended(plan).want(http.StatusOK, "Plan for okta", "14 differences found, nothing changed", "Create people (12)", "Show all 12",
		"Create groups (1)", "Add memberships (1)", "p0@acme.test to Engineering", "Full, plan only").lacks("Pull and repair now").hasNot(`class="badge good"`)
	w.get("operator", plan).want(http.StatusOK, "Pull and repair now")

	run := w.started("connector", "okta")
	w.ended(run).want(http.StatusOK, "Run of okta", "14 differences found, 14 repaired", "12 people, 1 group, 1 membership").
		has(`<li class="add">`, `href="/groups/`)
	w.get("viewer", run+"?object=user&op=create&state=applied").want(http.StatusOK, "p11@acme.test").lacks("Add memberships (1)")
	w.get("viewer", run+"?state=failed").want(http.StatusOK, "No change is like this")
	w.get("viewer", run+"?op=nonsense").want(http.StatusUnprocessableEntity, "op")
	w.get("viewer", run+"?cursor=nonsense&object=user").want(http.StatusUnprocessableEntity)

	tenant.UpdateUser(ids[1], map[string]any{"lastName": "Lindqvist", "title": "Boss"})
	tenant.SetStatus(ids[2], "DEPROVISIONED")
	w.ended(w.started("connector", "okta", "full", "true")).want(http.StatusOK, "Update people (1)", "name.familyName 1 → becomes Lindqvist", "title nothing → becomes Boss",
		"Deactivate people (1)", "absent, DEPROVISIONED when read by id").has("<del><bdi>1</bdi></del>", "<ins><bdi>Lindqvist</bdi></ins>")

	one := w.started("connector", "okta", "user", "p3@acme.test")
	w.ended(one).want(http.StatusOK, "One person or group", "Step by step", "Matched: by immutable id "+ids[3], "No drift: both sides say the same of this one").
		has(`<dt>About</dt><dd><a href="/people/`)
	w.ended(w.started("user", "stranger@acme.test")).want(http.StatusOK, "It failed, and changed nothing", "knows no user", "Check the connector")

	list := w.get("viewer", "/runs?connector=okta").want(http.StatusOK, "Done", "Planned", "Failed", "One person or group", "asked for")
	list.has(`href="`+run+`"`, `data-label="Requests"`).hasNot("hx-get")
	w.get("viewer", "/runs?status=held").want(http.StatusOK, "No run is like this")
	w.get("viewer", "/runs?connector=gone").want(http.StatusOK).has("<option selected>gone</option>")
	w.get("viewer", "/runs?status=nonsense").want(http.StatusUnprocessableEntity)

	// The journal is pruned after 30 days, and the run stays.
	if _, err := w.App.Store.DB().ExecContext(t.Context(), "DELETE FROM run_changes"); err != nil {
		t.Fatal(err)
	}
	w.get("viewer", run).want(http.StatusOK, "Changes are kept for 30 days", "Create people 12")
}

var hash = regexp.MustCompile(`name="plan_hash" value="([^"]+)"`)

func TestRun_Held(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		tenant := &oktatest.Tenant{Seed: 1}
		ids := people(tenant, 12)
		tenant.AddMember(tenant.AddGroup("Engineering"), ids[0])
		w := world{apptest.New(t, dsn, apptest.Okta(t, tenant, ", guard: {users: {percent: 0, floor: 0, max: 1}}"))}
		w.ended(w.started("connector", "okta"))

		w.get("operator", w.heldPlan()).want(http.StatusOK).lacks("Approve")
		tenant.DeleteUser(ids[0])
		tenant.DeleteUser(ids[1])
		at := w.started("full", "true")
		w.ended(at).want(http.StatusOK, "Held by the guard", "users 16.7 % > 0 % (2 of 12)", "2 people are deactivated", "1 membership ends", "take the role operator").
			hasNot("plan_hash", "/approve")
		p := w.get("operator", at).want(http.StatusOK, "Approve 3 removals", "sessions end, their API keys are disabled, their roles are suspended", "lapses in 23 hours", "Reject 3 removals").
			has(`action="` + at + `/approve"`)
		found := hash.FindStringSubmatch(p.body)
		if found == nil {
			t.Fatal("the page names no plan to approve")
		}
		p.want(http.StatusOK, "The plan is "+found[1])
		w.post("viewer", at+"/approve", "plan_hash", found[1]).want(http.StatusForbidden, "operator")
		w.post("viewer", at+"/reject").want(http.StatusForbidden, "operator")
		w.post("operator", at+"/approve", "plan_hash", "sha256:other").want(http.StatusConflict, "look at the plan that you approve", "Approve 3 removals")
		w.post("operator", at+"/approve").want(http.StatusUnprocessableEntity, "plan_hash")

		tenant.DeleteUser(ids[2])
		later := w.started("full", "true")
		w.ended(later).want(http.StatusOK, "3 people are deactivated")
		w.get("operator", at).want(http.StatusOK, "A later run looked again").has(`href="` + later + `"`).hasNot("/approve")
		w.post("operator", at+"/approve", "plan_hash", found[1]).want(http.StatusConflict, "the plan changed").has(`href="` + later + `"`)

		w.done("operator", later+"/reject").want(http.StatusOK, "Rejected. What was held stays as it is", "Rejected by operator@acme.test").hasNot("/approve")
		w.post("operator", later+"/reject").want(http.StatusConflict, "rejected by operator@acme.test")

		again := w.started("full", "true")
		w.ended(again)
		found = hash.FindStringSubmatch(w.get("operator", again).body)
		w.done("operator", again+"/approve", "plan_hash", found[1]).want(http.StatusOK, "Approved. What was held is applied now")
		w.ended(again).want(http.StatusOK, "Held by the guard, and decided", "Approved by operator@acme.test", "Deactivate people (3)").lacks("waits for a decision")
	})
}

// heldPlan makes a plan of what the guard would hold, and returns its page's path. Nothing of a plan waits.
func (w world) heldPlan() string {
	w.Helper()
	at := w.started("dry_run", "true")
	w.ended(at)
	return at
}

func TestRun_Live(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	people(tenant, 3)
	tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Delay: time.Hour, Times: -1})
	w := newWorld(t, apptest.Okta(t, tenant, ""))
	at := w.started("connector", "okta")
	w.get("viewer", at).want(http.StatusOK, "Under way", "Running", "Read", "Apply").
		has(`hx-get="`+at+`"`, `class="now" aria-current="step"`, `http-equiv="refresh"`)
	w.part("viewer", at, "live-run").want(http.StatusOK, "Under way").has(`id="live-run"`, "hx-trigger").hasNot("<html", "hx-swap-oob")
	w.get("viewer", "/runs").want(http.StatusOK, "Running").has(`hx-get="/runs"`)
	w.part("viewer", "/runs", "live-runs").want(http.StatusOK, "Running").hasNot("<html")
	w.done("operator", "/runs", "connector", "okta").want(http.StatusOK, "A run of okta was going already", "Under way")

	failed := w.started("user", "x", "dry_run", "true") // a plan takes no lease; its first request never comes back
	w.part("viewer", failed, "live-run").want(http.StatusOK).has("hx-trigger")
	tenant.Behave()
}

func TestRun_EndsItsPolling(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	w := newWorld(t, apptest.Okta(t, tenant, ""))
	at := w.started("user", "stranger@acme.test")
	w.ended(at).hasNot("hx-get", "http-equiv")
	w.part("viewer", at, "live-run").want(http.StatusOK, "The run has ended. It failed").hasNot("hx-get", "hx-trigger").has(`hx-swap-oob="true"`)
}

func TestRuns_FormRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, apptest.Okta(t, &oktatest.Tenant{Seed: 1}, ""))
	w.post("operator", "/runs", "connector", "okta", "user", `a"><script>`, "group", "Sales", "full", "true").
		want(http.StatusUnprocessableEntity, "choose one").
		has(`<details class="confirm" open>`, `value="a&#34;&gt;&lt;script&gt;"`, `value="Sales"`, `name="full" value="true" checked`, `aria-invalid="true"`).
		hasNot("<script>")
	w.post("operator", "/runs", "connector", "unknown").want(http.StatusUnprocessableEntity, "unknown")
	w.post("operator", "/runs", "user", strings.Repeat("x", 1001)).want(http.StatusUnprocessableEntity, "user")
	w.post("viewer", "/runs", "connector", "okta").want(http.StatusForbidden, "operator")
	w.post("none", "/runs", "connector", "okta").want(http.StatusForbidden)
	w.get("viewer", "/runs").want(http.StatusOK, "Nothing has run yet")
}

func TestRuns_WithoutConnectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.get("admin", "/runs").want(http.StatusOK, "No connector is configured").has(`href="/start"`).lacks("Start a run")
	w.post("operator", "/runs").want(http.StatusConflict, "No connector is configured")
	w.get("admin", "/").want(http.StatusOK, "No connector is set up yet").has(`href="/start?type=okta"`)
	for _, id := range []string{"unknown", "01a21887-30fe-79ac-937f-6ba9dc2fa1dd", "a%2Fb", "..", "%3Cscript%3E", strings.Repeat("a", 900)} {
		if p := w.get("admin", "/runs/"+id); p.status != http.StatusNotFound && p.status != http.StatusUnprocessableEntity && p.status != http.StatusMovedPermanently && p.status != http.StatusTemporaryRedirect {
			t.Errorf("GET /runs/%s = %d, want 404", id, p.status)
		}
	}
	w.get("admin", "/runs/unknown").want(http.StatusNotFound, "There is no such run")
	w.post("admin", "/runs/unknown/approve", "plan_hash", "x").want(http.StatusNotFound)
	w.post("admin", "/runs/unknown/reject").want(http.StatusNotFound)
}

func TestRun_HostileNames(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	long := strings.Repeat("long ", 200)
	id := tenant.AddUser(map[string]any{"login": "eve@acme.test", "email": "eve@acme.test", "firstName": `<script>alert(1)</script>`, "lastName": "\u202egnp.exe", "title": long})
	for _, name := range []string{`"><script>alert(2)</script>`, `'); DROP TABLE users; --`, "\u202eevil", strings.TrimSpace(long)[:250]} {
		tenant.AddMember(tenant.AddGroup(name), id)
	}
	w := newWorld(t, apptest.Okta(t, tenant, ""))
	p := w.ended(w.started("connector", "okta")).want(http.StatusOK, `"><script>alert(2)</script>`, `<script>alert(1)</script>`, "DROP TABLE").hasNot("<script>alert", "javascript:")
	p.has("<bdi>\u202eevil</bdi>")
	w.get("viewer", "/runs?connector="+`%22%3E%3Cscript%3E`).want(http.StatusOK).hasNot("<script>")
}
