package console_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

func TestSettings_SCIM(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "scim: {activation_delay: 1h}\n")
	w.get("viewer", "/settings").want(http.StatusOK, "SCIM push", "Off", "every push is refused", "/scim/v2", "Local admins 1").lacks("Switch SCIM push on")
	w.post("operator", "/settings/scim", "enabled", "true").want(http.StatusForbidden, "admin on the root team")
	w.done("admin", "/settings/scim", "enabled", "true").want(http.StatusOK, "SCIM push is on: all servers answer from", "Switch SCIM push off", "by user admin@acme.test")
	w.done("admin", "/settings/scim", "enabled", "true").want(http.StatusOK, "It was so already")
	w.done("admin", "/settings/scim", "enabled", "false").want(http.StatusOK, "SCIM push is off: identity providers are refused")
}

func TestSettings_SCIMDeclared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "scim: {enabled: true, activation_delay: 0s}\n")
	w.get("admin", "/settings").want(http.StatusOK, "declares it on: change it there").lacks("Switch SCIM push off")
	w.post("admin", "/settings/scim", "enabled", "false").want(http.StatusConflict, "The configuration declares it", "SCIM push")
}

// secret is a key as the page shows it, once.
var secret = regexp.MustCompile(`idps_([A-Za-z0-9]{8,16})_[A-Za-z0-9]{40,}`)

// made posts a form that makes a key, and returns its id and the key.
func (w world) made(as, path string, fields ...string) (id, key string) {
	w.Helper()
	p := w.post(as, path, fields...).want(http.StatusOK, "Copy it now")
	found := secret.FindStringSubmatch(p.body)
	if found == nil {
		w.Fatalf("%s shows no key:\n%s", p.what, p.text())
	}
	return found[1], found[0]
}

// letsIn tells whether the API lets a key in.
func (w world) letsIn(key string) bool {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.URL+"/api/v1/me", nil)
	w.Must(err)
	r.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(r)
	w.Must(err)
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func TestKeys(t *testing.T) {
	t.Parallel()
	_, config := tenant(t, "")
	w := newWorld(t, config)
	id, key := w.made("admin", "/settings/keys", "user", "viewer@acme.test", "name", "the tool", "connector", "okta", "expires", "24h")
	list := w.get("viewer", "/settings/keys").want(http.StatusOK, "the tool", "viewer@acme.test", "Live", "pushes okta").lacks("Make a key", "Revoke", "Rotate")
	list.hasNot(key)
	w.get("admin", "/settings/keys?user=viewer@acme.test").want(http.StatusOK, "2 keys", "the tool").lacks("of operator")
	w.get("admin", "/settings/keys?user=nobody").want(http.StatusOK, "Nobody of this name has a key")

	_, next := w.made("admin", "/settings/keys/"+id+"/rotate", "expire_in", "1h")
	if !w.letsIn(key) || !w.letsIn(next) {
		t.Error("after the rotation, want both keys to let in")
	}
	w.done("admin", "/settings/keys/"+id+"/revoke").want(http.StatusOK, "The key is revoked", "Revoked")
	if w.letsIn(key) || !w.letsIn(next) {
		t.Error("after the revocation, want the next key alone to let in")
	}
	w.post("admin", "/settings/keys/"+id+"/rotate").want(http.StatusConflict, "create a new one", "API keys")
	w.post("admin", "/settings/keys/"+id+"/enable").want(http.StatusConflict)
	for _, way := range []string{"rotate", "revoke", "enable"} {
		w.post("admin", "/settings/keys/nosuchkey000/"+way).want(http.StatusNotFound, "There is no such key")
		w.post("operator", "/settings/keys/"+id+"/"+way).want(http.StatusForbidden, "admin on the root team")
	}
	for _, tc := range []struct {
		name   string
		fields []string
		status int
		says   string
	}{
		{"no name", []string{"name", " "}, http.StatusUnprocessableEntity, "Say what the key is for"},
		{"nobody", []string{"name", "x", "user", "nobody"}, http.StatusNotFound, "API keys"},
		{"no such connector", []string{"name", "x", "connector", "entra"}, http.StatusUnprocessableEntity, "no such connector"},
		{"a lifetime of words", []string{"name", "x", "expires", "long"}, http.StatusUnprocessableEntity, "positive duration"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.post("admin", "/settings/keys", tc.fields...).want(tc.status, tc.says).has(`<details class="confirm" open>`)
		})
	}
}

// A key that was disabled with its owner lets in again once an admin enables it.
func TestKeys_Enable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	u, err := w.App.Applier.CreateAdmin(t.Context(), by, "second@acme.test", "no password", false)
	w.Must(err)
	id, key := w.made("admin", "/settings/keys", "user", u.ID, "name", "the tool")
	for _, active := range []bool{false, true} {
		_, err := w.App.Applier.SetActive(t.Context(), by, u.ID, active, "test")
		w.Must(err)
	}
	w.get("admin", "/settings/keys").want(http.StatusOK, "Off", "It was disabled when second@acme.test was deactivated")
	if w.letsIn(key) {
		t.Fatal("a disabled key lets in")
	}
	w.done("admin", "/settings/keys/"+id+"/enable").want(http.StatusOK, "Key the tool lets second@acme.test in again")
	if !w.letsIn(key) {
		t.Error("the enabled key does not let in")
	}
}

// Everybody makes and ends keys of their own, and sees and changes no others.
func TestKeys_Own(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	id, key := w.made("none", "/keys", "name", "mine", "user", "admin@acme.test", "connector", "okta")
	w.get("none", "/keys").want(http.StatusOK, "Your API keys", "mine", "of none").lacks("of admin", "Overview", "Owner").hasNot(`href="/people`)
	if got := w.get("admin", "/settings/keys?user=none@acme.test").want(http.StatusOK, "mine"); !strings.Contains(got.text(), "2 keys") {
		t.Error("the key is not of whoever made it")
	}
	if !w.letsIn(key) {
		t.Error("the key does not let in")
	}
	for _, way := range []string{"rotate", "revoke"} {
		w.post("none", "/keys/"+w.KeyIDs["admin"]+"/"+way).want(http.StatusNotFound, "There is no such key")
	}
	w.made("none", "/keys/"+id+"/rotate")
	w.done("none", "/keys/"+id+"/revoke").want(http.StatusOK, "The key is revoked")
	if w.letsIn(key) {
		t.Error("the revoked key lets in")
	}
	w.get("", "/keys").want(http.StatusSeeOther)
	w.get("none", "/settings/keys").want(http.StatusSeeOther)
}

// The account leads to the keys, and to the console whoever may see it.
func TestAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.get("none", "/account").want(http.StatusOK, "Your API keys").has(`href="/keys"`).lacks("Console")
	w.get("viewer", "/account").want(http.StatusOK, "Console").has(`href="/"`)
}

func TestConnectors(t *testing.T) {
	t.Parallel()
	_, config := tenant(t, ", groups: {include: [\"app-*\"]}")
	w := newWorld(t, config)
	w.get("viewer", "/settings/connectors").want(http.StatusOK, "okta", "Okta", "API token", "app-*", "members of a group in scope").lacks("Check now", oktatest.DefaultToken)
	w.post("viewer", "/settings/connectors/check", "connector", "okta").want(http.StatusForbidden, "operator on the root team")
	w.post("operator", "/settings/connectors/check", "connector", "okta").want(http.StatusOK, "works", "Tried", "connection")
	w.post("operator", "/settings/connectors/check", "connector", "entra").want(http.StatusNotFound, "no such connector", "okta")
	newWorld(t, "").get("viewer", "/settings/connectors").want(http.StatusOK, "No connector is configured", "Set up the first one")
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.get("viewer", "/settings/sessions").want(http.StatusOK, "admin@acme.test", "operator@acme.test", "192.0.2.1", "password", "SAML").hasNot("/settings/sessions/end")
	mine := w.get("admin", "/settings/sessions").want(http.StatusOK, "this one", "may sign in again")
	w.get("admin", "/settings/sessions?user=viewer@acme.test").want(http.StatusOK, "End all sessions of viewer@acme.test").lacks("operator@acme.test")
	w.get("admin", "/settings/sessions?user=nobody").want(http.StatusNotFound, "Who is signed in")
	w.post("operator", "/settings/sessions/end", "id", "x").want(http.StatusForbidden)
	w.post("admin", "/settings/sessions/end", "id", uuid.NewString()).want(http.StatusNotFound, "There is no such session")
	w.post("admin", "/settings/sessions/end-all", "user", "nobody").want(http.StatusNotFound)

	sessions, err := w.App.Store.Sessions(t.Context(), w.Users["operator"].ID, time.Now(), 10)
	w.Must(err)
	w.done("admin", "/settings/sessions/end", "id", sessions[0].ID).want(http.StatusOK, "The session has ended").lacks("operator@acme.test")
	w.get("operator", "/").want(http.StatusSeeOther)
	w.done("admin", "/settings/sessions/end-all", "user", "viewer@acme.test").want(http.StatusOK, "1 session has ended")
	w.get("viewer", "/").want(http.StatusSeeOther)
	mine.has(`name="id"`)
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	newWorld(t, "").get("viewer", "/settings/webhooks").want(http.StatusOK, "Nobody receives events", "webhooks:")

	w := newWorld(t, "webhooks:\n  - {name: payroll, url: \"https://127.0.0.1:1/hook\", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, allow_private: true}\n")
	w.get("viewer", "/settings/webhooks").want(http.StatusOK, "payroll", "Deliveries").lacks("Test", "Again").hasNot("whsec_")
	w.post("viewer", "/settings/webhooks/test", "endpoint", "payroll").want(http.StatusForbidden)
	w.post("operator", "/settings/webhooks/test", "endpoint", "payroll").want(http.StatusOK, "payroll did not take the test")
	w.post("operator", "/settings/webhooks/test", "endpoint", "other").want(http.StatusNotFound)
	w.post("operator", "/settings/webhooks/enable", "endpoint", "payroll").want(http.StatusForbidden, "admin on the root team")
	w.post("operator", "/settings/webhooks/redeliver", "event_id", uuid.NewString(), "endpoint", "payroll").want(http.StatusNotFound, "Webhooks")
	w.get("viewer", "/settings/webhooks?endpoint=other").want(http.StatusNotFound, "payroll")
	w.get("viewer", "/settings/webhooks?state=lost").want(http.StatusUnprocessableEntity, "payroll")
}

func TestSettings_HostileNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, name := range hostile {
		u := w.someone(name, map[string]any{"displayName": name})
		w.made("admin", "/settings/keys", "user", u.ID, "name", strings.ToValidUTF8(name[:min(len(name), 200)], ""))
		w.SignIn(u)
	}
	for _, path := range []string{"/settings/keys", "/settings/sessions"} {
		w.get("admin", path).want(http.StatusOK, hostile[0]).hasNot("<script>alert", "' onmouseover='")
	}
}
