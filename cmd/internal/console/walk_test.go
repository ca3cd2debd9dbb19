package console_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/cmd/internal/console/browsertest"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// gate holds requests for groups back for as long as it is closed: a run that is to be watched.
type gate struct {
	next   http.Handler
	mu     sync.Mutex
	closed chan struct{} // nil: open
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed != nil && strings.HasPrefix(r.URL.Path, "/api/v1/groups") {
		<-closed
	}
	g.next.ServeHTTP(w, r)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// gated serves a tenant behind a gate and returns the configuration of a connector that pulls it.
func gated(t *testing.T, tenant *oktatest.Tenant) (*gate, string) {
	t.Helper()
	g := &gate{next: tenant}
	server := httptest.NewTLSServer(g)
	t.Cleanup(server.Close)
	t.Cleanup(g.open) // before the server waits for its requests
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return g, fmt.Sprintf("connectors:\n  - {name: okta, type: okta, url: %q, api_token: %q, ca_file: %q, schedule: \"0 0 1 1 *\", full_schedule: \"0 0 1 1 *\"}\n",
		server.URL, oktatest.DefaultToken, ca)
}

// receiver takes webhooks, and returns the configuration by which it gets them.
func receiver(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(server.Close)
	return fmt.Sprintf("webhooks: [{name: payroll, url: %q, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, events: [\"grant.*\"], allow_private: true}]\n", server.URL)
}

// organization is a tenant with 60 people, three groups, and somebody whose address is that of an account owned by another
// source.
func organization() (tenant *oktatest.Tenant, people []string) {
	tenant = &oktatest.Tenant{Seed: 1}
	admins, payments, everyone := tenant.AddGroup("Platform Admins"), tenant.AddGroup("Payments"), tenant.AddGroup("Everyone at work")
	for i := range 60 {
		name := fmt.Sprintf("person%02d@acme.test", i)
		id := tenant.AddUser(map[string]any{"login": name, "email": name, "firstName": "Person", "lastName": fmt.Sprintf("Number %02d", i), "title": "Engineer"})
		people = append(people, id)
		tenant.AddMember(everyone, id)
		if i < 4 {
			tenant.AddMember(admins, id)
		}
		if i%3 == 0 {
			tenant.AddMember(payments, id)
		}
	}
	twice := tenant.AddUser(map[string]any{"login": "twice@acme.test", "email": "twice@acme.test", "firstName": "Twice", "lastName": "Known"})
	tenant.AddMember(everyone, twice)
	return tenant, people
}

const walkPassword = "correct horse battery staple"

// walker gives the world an admin who signs in with a password, and an account that a record may mean.
func walker(t *testing.T, w *apptest.World) {
	t.Helper()
	hash, err := signin.HashPassword(walkPassword)
	w.Must(err)
	_, err = w.App.Applier.CreateAdmin(t.Context(), apptest.By, "ops@acme.test", hash, true)
	w.Must(err)
	_, err = w.App.Applier.CreateUser(t.Context(), apptest.By, "scim:other", identity.User{UserName: "twice@acme.test", ExternalID: "t", Active: true})
	w.Must(err)
}

// TestWalk goes through the console in a real browser, as an operator does on a bad day.
func TestWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser is not looked at with the race detector")
	}
	t.Parallel()
	tenant, people := organization()
	g, config := gated(t, tenant)
	w := apptest.New(t, storetest.MigratedSQLiteDSN(t), config+receiver(t))
	walker(t, w)
	b := browsertest.New(t, w.URL)

	// Sign in: a wrong password is refused, the right one leads to where one wanted to go.
	b.Visit("/runs")
	b.Look("sign-in")
	b.Type("E-mail address", "ops@acme.test")
	b.Type("Password", "wrong")
	b.Press("Sign in")
	b.Wait("is wrong")
	b.Type("Password", walkPassword)
	b.Press("Sign in")
	b.Wait("Nothing has run yet")
	b.Visit("/")
	b.Wait("No run yet")
	b.LookBoth("overview-new")

	// Pull, and watch.
	g.shut()
	b.Press("Pull now from okta")
	b.Wait("Under way")
	b.Look("run-watched")
	g.open()
	b.Wait("Outcome") // by itself
	b.Look("run-first")

	watchHeld(b, w, tenant, people)
	changeMapping(b)
	lookSomebodyUp(b, w)
	manageKeys(b)
	decideConflict(b)
	lookAround(b, w)
	useKeyboard(b)

	b.Visit("/account")
	b.Look("account")
	b.Visit("/")
	b.PressIn(".side", "Sign out")
	b.Wait("You are signed out here")
	b.Visit("/people")
	if at := b.Location(); !strings.HasPrefix(at, "/sign-in?") {
		t.Errorf("after signing out /people leads to %s", at)
	}
}

// watchHeld loses a third of the people at the source, sees the run held, and approves it.
func watchHeld(b *browsertest.Browser, w *apptest.World, tenant *oktatest.Tenant, people []string) {
	b.Helper()
	for _, id := range people[40:] {
		tenant.SetStatus(id, "DEPROVISIONED")
	}
	tenant.UpdateUser(people[0], map[string]any{"title": "Staff engineer"})
	b.Visit("/runs")
	b.Press("Start a run")
	b.Choose("Connector", "okta")
	b.Press("Pull and repair")
	b.Wait("Held by the guard")
	b.Wait("20 removals wait")
	b.LookBoth("run-held")
	if n := active(w); n != 66 {
		b.Errorf("%d people are active while the run is held, want all 66", n)
	}
	b.Visit("/")
	b.Wait("the guard held removals")
	b.LookBoth("overview-held")
	b.Press("Review")
	b.Press("Approve...")
	b.Wait("The approval lapses")
	b.Look("run-approve")
	b.Press("Approve 20 removals")
	b.Wait("Approved by ops@acme.test")
	b.Wait("Outcome")
	b.Look("run-approved")
	if n := active(w); n != 46 {
		b.Errorf("%d people are active after the approval, want 46", n)
	}
	b.Visit("/runs")
	b.Look("runs")
}

// active returns how many people are active.
func active(w *apptest.World) int {
	w.Helper()
	_, n, err := w.App.Store.Users(w.Context(), store.UserQuery{Where: store.Compare{Field: store.FieldActive, Op: store.OpEq, Value: true}, Limit: 1})
	w.Must(err)
	return n
}

// changeMapping makes a rule, sees who gains by it, applies it, and takes it back.
func changeMapping(b *browsertest.Browser) {
	b.Helper()
	b.Visit("/mapping")
	b.Look("mapping-empty")
	b.Press("Add the first rule")
	b.Type("Group", "Payments")
	b.Choose("Role", "operator")
	b.Type("On the team", "Ledger")
	b.Look("mapping-edit")
	b.Press("Preview the change")
	b.Wait("What would change")
	b.Wait("People who gain a role 14")
	b.LookBoth("mapping-preview")
	b.Press("Apply: 14 people gain a role")
	b.Wait("operator on Ledger")
	b.Look("mapping")
	b.Press("Edit what Payments gives")
	b.Press("Remove the rule")
	b.Press("Preview the removal")
	b.Wait("People who lose a role 14")
	b.Look("mapping-preview-loss")
	b.Press("Cancel")
	b.Wait("operator on Ledger")
}

// lookSomebodyUp searches a person, reads why they may do what they may, and reads them again from the source.
func lookSomebodyUp(b *browsertest.Browser, w *apptest.World) {
	b.Helper()
	b.Visit("/people")
	b.Wait("66 people")
	b.Look("people")
	b.Type("Name, userName or e-mail address", "person00")
	b.Wait("1 person matches") // as one types
	b.Press("Person Number 00")
	b.Wait("Attributes, and where each came from")
	b.Wait("Ledger operator")
	b.LookBoth("person")
	b.Press("Resync this person now")
	b.Wait("okta states person00@acme.test")
	b.Wait("Decided: nothing is to be changed")
	b.Look("person-resync")
	u, err := w.App.Store.UserByName(w.Context(), "person00@acme.test")
	w.Must(err)
	b.Visit("/people/" + u.ID + "/history")
	b.Wait("Staff engineer")
	b.Look("person-history")
}

// manageKeys makes a key, which is shown once, and revokes it.
func manageKeys(b *browsertest.Browser) {
	b.Helper()
	b.Visit("/settings/keys")
	b.Press("Make a key")
	b.Type("What it is for", "deploy tool")
	b.Press("Make the key")
	b.Wait("Copy it now")
	b.Look("key-made")
	b.Press("I have it: back to the keys")
	b.Wait("deploy tool")
	b.Look("keys")
	b.Press("Revoke deploy tool")
	b.Wait("It cannot be undone")
	b.PressIn("confirm", "Revoke deploy tool")
}

// decideConflict says whom the record means that a run could not match.
func decideConflict(b *browsertest.Browser) {
	b.Helper()
	b.Visit("/conflicts")
	b.Wait("twice@acme.test")
	b.Press("It is this one: twice@acme.test")
	b.Look("conflicts")
	b.Press("Link to twice@acme.test")
	b.Wait("Linked: this run compares twice@acme.test")
	b.Wait("Decided and done")
	b.Look("run-of-one")
	b.Visit("/conflicts?all=true")
	b.Wait("Linked")
}

// lookAround looks at every page that nothing was done on.
func lookAround(b *browsertest.Browser, w *apptest.World) {
	b.Helper()
	group, err := w.App.Store.GroupByName(w.Context(), "Payments")
	w.Must(err)
	for _, page := range []struct{ path, name, says string }{
		{"/groups", "groups", "Everyone at work"},
		{"/groups/" + group.ID, "group", "operator"},
		{"/teams", "teams", "Ledger"},
		{"/teams/root", "team", "ops@acme.test"},
		{"/audit", "audit", "mapping.changed"},
		{"/audit?type=user.deactivated", "audit-filtered", "user.deactivated"},
		{"/settings", "settings", "SCIM push"},
		{"/settings/connectors", "settings-connectors", "okta"},
		{"/settings/sessions", "settings-sessions", "ops@acme.test"},
		{"/settings/webhooks", "settings-webhooks", "payroll"},
		{"/start", "start", "connector"},
		{"/nowhere", "not-found", "There is no such page"},
	} {
		b.Visit(page.path)
		b.Wait(page.says)
		b.Look(page.name)
	}
	b.Visit("/settings/connectors")
	b.Press("Check now whether okta works")
	b.Wait("okta")
	b.Look("settings-checked")
}

// useKeyboard gets to the content, opens what is to be confirmed and closes it again, without a mouse.
func useKeyboard(b *browsertest.Browser) {
	b.Helper()
	b.Visit("/settings")
	b.Key(kb.Tab)
	if on := b.Focused(); on != "Skip to the content" {
		b.Errorf("the first tab leads to %q, want to skip the navigation", on)
	}
	b.Key(kb.Enter)
	for range 20 { // through the tabs of the page, to what wants a second look
		b.Key(kb.Tab)
		if b.Focused() == "Switch SCIM push on" {
			break
		}
	}
	b.Key(kb.Enter)
	b.Wait("All servers begin to answer together")
	b.Key(kb.Escape)
	var open bool
	if b.Evaluate(`document.querySelector("details.confirm[open]") !== null`, &open); open || b.Focused() != "Switch SCIM push on" {
		b.Errorf("Escape leaves it open (%v), with the focus on %q", open, b.Focused())
	}
}
