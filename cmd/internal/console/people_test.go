package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/identity"
)

// by is who sets worlds up.
var by = identity.Actor{Kind: "cli", ID: "test", Name: "test"}

// hostile are names that pages have to show as they are.
var hostile = []string{
	`<script>alert("1")</script>`,
	`"' onmouseover='x' {{.}} &amp;`,
	"\u202eright to left \u0645\u0631\u062d\u0628\u0627",
	strings.Repeat("long", 250),
}

// someone makes a person whom a SCIM key pushes.
func (w world) someone(userName string, attributes map[string]any) identity.User {
	w.Helper()
	u, err := w.App.Applier.CreateUser(w.Context(), by, "scim:test", identity.User{UserName: userName, Active: true, Attributes: attributes})
	w.Must(err)
	return u
}

// group makes a group with members.
func (w world) group(name string, members ...string) identity.Group {
	w.Helper()
	g, err := w.App.Applier.CreateGroup(w.Context(), by, "scim:test", identity.Group{DisplayName: name}, members)
	w.Must(err)
	return g
}

func TestPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.someone("ana@example.com", map[string]any{"displayName": "Ana Lima"})
	w.get("viewer", "/people").want(http.StatusOK, "5 people", "Ana Lima", "ana@example.com", "admin@acme.test").has(`hx-get="/people"`)
	w.get("viewer", "/people?search=LIMA").want(http.StatusOK, "1 person matches", "Ana Lima").lacks("none@acme.test")
	w.get("viewer", "/people?origin=local").want(http.StatusOK, "1 person matches", "admin@acme.test").lacks("Ana Lima")
	w.get("viewer", "/people?active=false").want(http.StatusOK, "Nobody is like this")
	w.get("viewer", "/people?source=scim:test&search=ana").want(http.StatusOK, "Ana Lima").has(`<option selected>scim:test`)
	w.get("viewer", "/people?cursor=x").want(http.StatusUnprocessableEntity)
	w.part("viewer", "/people?search=ana", "part-people").want(http.StatusOK, "Ana Lima", "1 person matches").hasNot("<h1", "<form")
}

func TestPeople_PageByPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for i := range 60 {
		w.someone(fmt.Sprintf("p%02d@example.com", i), nil)
	}
	first := w.get("viewer", "/people?search=example.com").want(http.StatusOK, "More than 50 people match", "p49@example.com", "Next page").lacks("p50@example.com", "First page")
	next := link(first, "Next page")
	w.get("viewer", next).want(http.StatusOK, "p50@example.com", "p59@example.com", "First page").lacks("p49@example.com", "Next page")
}

// link returns where the link with a text leads.
func link(p *page, text string) string {
	p.Helper()
	before, _, found := strings.Cut(p.body, ">"+text+"</a>")
	at := strings.LastIndex(before, `href="`)
	if !found || at < 0 {
		p.Fatalf("%s has no link %q", p.what, text)
	}
	href, _, _ := strings.Cut(before[at+len(`href="`):], `"`)
	return strings.ReplaceAll(href, "&amp;", "&")
}

func TestPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	ana := w.someone("ana@example.com", map[string]any{
		"displayName": "Ana Lima", "name": map[string]any{"givenName": "Ana", "familyName": "Lima"},
		"emails":    []any{map[string]any{"value": "ana@example.com", "type": "work", "primary": true}},
		"addresses": []any{map[string]any{"locality": "Oslo", "type": "home"}},
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": map[string]any{"department": "Sales"},
	})
	inner := w.group("Inner", ana.ID)
	w.group("Outer", inner.ID)
	at := "/people/" + ana.ID

	p := w.get("viewer", at).want(
		http.StatusOK, "Ana Lima", "ana@example.com", "Active", "identity provider", "scim:test", ana.ID,
		"viewer because of group Inner", "viewer because of group Outer through Inner",
		"name.givenName Ana", "emails ana@example.com (primary, work)", "addresses locality Oslo (home)",
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", "department Sales", "created by the command line ( test )",
		"Outer through Inner", "Came into group Inner",
	)
	p.lacks("Deactivate", "Give a role by hand", "Resync this person now", "Take away")
	w.get("admin", at).want(http.StatusOK, "Give a role by hand", "do it at the identity provider").lacks("Resync this person now")
	w.get("viewer", at+"/history").want(http.StatusOK, "Came into group Inner", "Created", "displayName nothing")
	w.get("viewer", at+"/sign-in").want(http.StatusOK, "No API key is this person's", "Not signed in anywhere")
	w.get("viewer", at+"/resync").want(http.StatusOK, "No connector to ask")
	for _, rest := range []string{"", "/history", "/sign-in", "/resync", "/give"} {
		w.get("admin", "/people/nobody"+rest).want(http.StatusNotFound, "There is no such person")
		w.get("none", at+rest).want(http.StatusSeeOther)
	}
}

func TestPerson_WhatChangedLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	ana := w.someone("ana@example.com", map[string]any{"title": "Clerk", "locale": "pt"})
	_, err := w.App.Applier.ChangeUser(w.Context(), identity.Actor{Kind: "key", ID: "k1", Name: "the pusher"}, "scim:test", ana.ID, 0, func(u *identity.User) error {
		u.Attributes = map[string]any{"title": "Head of <b>Sales</b>", "locale": "pt"}
		return nil
	})
	w.Must(err)
	w.get("viewer", "/people/"+ana.ID).want(http.StatusOK, "title Head of <b>Sales</b> scim:test", "by API key the pusher", "locale pt scim:test").hasNot("<b>Sales")
	w.get("viewer", "/people/"+ana.ID+"/history").want(http.StatusOK, "title was Clerk → became Head of <b>Sales</b>")
}

func TestPerson_InThePast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	ana := w.someone("ana@example.com", nil)
	at := "/people/" + ana.ID
	w.get("viewer", at+"?at="+url.QueryEscape("yesterday")).want(http.StatusOK, "Want a date and a time").has(`aria-invalid="true"`, `value="yesterday"`)
	w.get("viewer", at+"?at=2001-01-01T10:00").want(http.StatusOK, "was not known yet").has(`value="2001-01-01T10:00"`)
	w.get("viewer", at+"?at=2999-01-01T10:00").want(http.StatusOK, "in the future")
	w.get("viewer", at+"?at="+time.Now().UTC().Add(time.Second).Format("2006-01-02T15:04:05")).want(http.StatusOK, "What this person might do", "No role on any team")
}

func TestPerson_GiveAndTake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	ana := w.someone("ana@example.com", map[string]any{"displayName": "Ana Lima"})
	at := "/people/" + ana.ID
	w.get("admin", at+"/give?team=Nowhere&role=viewer").want(http.StatusOK, "There is no such team").has(`value="Nowhere"`)
	w.get("admin", at+"/give?team=root&role=king").want(http.StatusOK, "There is no such role")
	w.get("admin", at+"/give?team=ROOT&role=operator").want(http.StatusOK, "Ana Lima holds operator on root", "start runs", "until somebody takes it away by hand")
	w.get("operator", at+"/give?team=root&role=operator").want(http.StatusForbidden)
	w.post("operator", at+"/give", "team", "root", "role", "operator").want(http.StatusForbidden)
	w.done("admin", at+"/give", "team", "root", "role", "operator").want(http.StatusOK, "ana@example.com holds operator on root now", "operator given by hand by admin@acme.test", "no longer holds operator on root")
	w.done("admin", at+"/give", "team", "root", "role", "operator").want(http.StatusOK, "by hand already")
	w.get("admin", at+"/give?team=root&role=operator").want(http.StatusOK, "It is held already, given by hand")
	w.post("admin", at+"/give", "team", "root", "role", "king").want(http.StatusUnprocessableEntity, "no role")
	w.post("operator", at+"/take", "team", "root", "role", "operator").want(http.StatusForbidden)
	w.done("admin", at+"/take", "team", "root", "role", "operator").want(http.StatusOK, "is taken away", "No role on any team")
	w.post("admin", at+"/take", "team", "root", "role", "operator").want(http.StatusNotFound, "by hand")
}

func TestPerson_Deactivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	bo, err := w.App.Applier.CreateAdmin(w.Context(), by, "bo@acme.test", "no password", false)
	w.Must(err)
	cookie := w.SignIn(bo)
	at := "/people/" + bo.ID
	w.get("viewer", at).want(http.StatusOK, "local: made here").lacks("Deactivate")
	w.get("admin", at).want(http.StatusOK, "Deactivate", "1 session ends", "0 API keys are disabled", "suspended, and kept")
	w.post("operator", at+"/deactivate").want(http.StatusForbidden)
	w.done("admin", at+"/deactivate").want(http.StatusOK, "bo@acme.test is deactivated", "Deactivated", "Suspended: nothing of this is in force", "Reactivate")
	w.get("", "/people", "Cookie", "idpsync="+cookie).want(http.StatusSeeOther)
	w.post("admin", "/people/"+w.Users["admin"].ID+"/deactivate").want(http.StatusConflict, "last active local admin")
	w.done("admin", at+"/reactivate").want(http.StatusOK, "bo@acme.test is active again").lacks("Suspended")
	pushed := w.Users["viewer"].ID
	w.post("admin", "/people/"+pushed+"/deactivate").want(http.StatusConflict)
}

func TestPerson_KeysAndSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	at := "/people/" + w.Users["operator"].ID
	w.get("viewer", at+"/sign-in").want(http.StatusOK, "of operator", "192.0.2.1", "saml").lacks("Revoke", "End all sessions")
	w.get("admin", at+"/sign-in").want(http.StatusOK, "Revoke", "End all sessions", "1 session ends")
	w.post("viewer", at+"/revoke-key", "key", w.KeyIDs["operator"]).want(http.StatusForbidden)
	w.done("admin", at+"/revoke-key", "key", w.KeyIDs["operator"]).want(http.StatusOK, "The key is revoked", "Revoked")
	w.post("admin", at+"/revoke-key", "key", "nonsense").want(http.StatusNotFound, "There is no such key")
	w.done("admin", at+"/end-sessions").want(http.StatusOK, "1 session ended", "Not signed in anywhere")
	w.get("operator", "/people").want(http.StatusSeeOther)
	w.SignIn(w.Users["operator"])
	session := between(w.get("admin", at+"/sign-in"), `name="session" value="`, `"`)
	w.done("admin", at+"/end-sessions", "session", session).want(http.StatusOK, "The session has ended", "Not signed in anywhere")
	w.done("admin", at+"/unlock").want(http.StatusOK, "without waiting")
}

// between returns what a page has between two texts.
func between(p *page, before, after string) string {
	p.Helper()
	_, rest, found := strings.Cut(p.body, before)
	text, _, ended := strings.Cut(rest, after)
	if !found || !ended {
		p.Fatalf("%s has nothing between %q and %q", p.what, before, after)
	}
	return text
}

func TestPeople_HostileNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for i, name := range hostile {
		u := w.someone(fmt.Sprintf("u%d%s", i, name), map[string]any{"displayName": name, "title": name})
		g := w.group(fmt.Sprintf("g%d%s", i, name), u.ID)
		for _, path := range []string{
			"/people", "/people?search=" + url.QueryEscape(name[:12]), "/people/" + u.ID, "/people/" + u.ID + "/history", "/people/" + u.ID + "/resync",
			"/people/" + u.ID + "/give?team=root&role=viewer", "/groups", "/groups/" + g.ID, "/groups/" + g.ID + "/history", "/teams", "/teams/" + g.TeamID,
		} {
			w.get("admin", path).want(http.StatusOK, strings.Join(strings.Fields(name[:10]), " ")).hasNot("<script>alert", "' onmouseover='")
		}
		w.get("admin", "/teams/"+url.PathEscape(g.DisplayName)).want(http.StatusOK, "Who holds what")
		w.get("admin", "/teams?team="+url.QueryEscape(g.DisplayName)).want(http.StatusOK, "1 team of this name")
	}
}

// tenant returns a fake Okta and the configuration that pulls it.
func tenant(t testing.TB, more string) (*oktatest.Tenant, string) {
	t.Helper()
	o := &oktatest.Tenant{}
	server := o.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := server.WriteCA(ca); err != nil {
		t.Fatal(err)
	}
	return o, fmt.Sprintf("connectors:\n  - {name: okta, type: okta, url: %q, api_token: %q, ca_file: %q, schedule: \"0 0 1 1 *\", full_schedule: \"0 0 1 1 *\"%s}\n",
		server.URL, oktatest.DefaultToken, ca, more)
}

// followed posts a form that starts a run, and returns the page once the run has ended.
func (w world) followed(as, path string, fields ...string) *page {
	w.Helper()
	p := w.done(as, path, fields...)
	at := strings.TrimPrefix(p.what, "GET ")
	at, _, _ = strings.Cut(at, " as ")
	for w.Context().Err() == nil {
		if p = w.part(as, at, "live-resync").want(http.StatusOK); !strings.Contains(p.body, "hx-get") {
			return w.get(as, at)
		}
		time.Sleep(10 * time.Millisecond) // between two looks at what goes on by itself
	}
	w.Fatal("the run does not end")
	return nil
}

func TestPerson_Resync(t *testing.T) {
	t.Parallel()
	o, config := tenant(t, "")
	w := newWorld(t, config)
	id := o.AddUser(map[string]any{"login": "ana@example.com", "email": "ana@example.com", "firstName": "Ana", "lastName": "Lima"})
	w.pull()
	person := w.find("ana@example.com")
	at := "/people/" + person
	w.get("viewer", at).want(http.StatusOK, "Source okta", id).lacks("Resync this person now")
	w.get("viewer", at+"/resync").want(http.StatusOK, "takes the role operator")
	w.post("viewer", at+"/resync").want(http.StatusForbidden)
	w.followed("operator", at+"/resync").want(http.StatusOK, "Done", "Read at the source : okta states ana@example.com", "Matched with what is held : by immutable id "+id, "nothing is to be changed")

	o.UpdateUser(id, map[string]any{"lastName": "Souza"})
	w.followed("operator", at+"/resync", "dry_run", "true").want(http.StatusOK, "Planned", "update ana@example.com", "name.familyName was Lima → became Souza", "Changed nothing")
	w.get("viewer", at).want(http.StatusOK, "name.familyName Lima")
	w.followed("operator", at+"/resync").want(http.StatusOK, "Done : 1 change applied", "Applied", "Souza")
	w.get("viewer", at).want(http.StatusOK, "name.familyName Souza okta")

	o.DeleteUser(id)
	w.followed("operator", at+"/resync").want(http.StatusOK, "okta has nobody in scope for "+id, "deactivate ana@example.com", "Deactivated")
	w.get("viewer", at+"/resync?run=nonsense").want(http.StatusNotFound, "no such run")
	w.post("operator", "/people/"+w.Users["viewer"].ID+"/resync").want(http.StatusConflict, "nowhere to read it")
}

// pull pulls everything once and waits for it.
func (w world) pull() {
	w.Helper()
	p := w.done("operator", "/runs", "connector", "okta", "full", "true")
	at := strings.Fields(p.what)[1]
	for !strings.Contains(w.get("operator", at).want(http.StatusOK).body, "Outcome</h2>") {
		w.Must(w.Context().Err())
		time.Sleep(10 * time.Millisecond) // between two looks at what goes on by itself
	}
}

// find returns the id of the person with a userName.
func (w world) find(userName string) string {
	w.Helper()
	u, err := w.App.Store.UserByName(w.Context(), userName)
	w.Must(err)
	return u.ID
}
