package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/store"
)

// glass is an installation in which one account is all there is for the day that the identity provider is down: the only
// local admin, who also owns the SCIM key in use.
type glass struct {
	*testing.T
	h   *house
	dir string
	env []string
	url string
	key string
	id  string // the account's
}

const glassName = "scim@acme.test"

// call sends a request with the key and returns the status and the body.
func (g *glass) call(method, path, body string) (int, string) {
	g.Helper()
	req, err := http.NewRequestWithContext(g.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	kind := "application/json"
	if strings.HasPrefix(path, "/scim/") {
		kind = "application/scim+json"
	}
	req.Header.Set("Content-Type", kind)
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		g.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		g.Fatal(err)
	}
	return got.StatusCode, string(text)
}

// run runs a command and returns its exit status and what it prints.
func (g *glass) run(args ...string) (int, string) {
	g.Helper()
	cmd := exec.CommandContext(g.Context(), "idpsync", args...)
	cmd.Dir, cmd.Env = g.dir, append(os.Environ(), g.env...)
	text, _ := cmd.CombinedOutput() // its status says the same
	return cmd.ProcessState.ExitCode(), string(text)
}

// state is everything that must stay: the account, its roles, its password and its key.
func (g *glass) state() string {
	g.Helper()
	s, err := store.Open(g.Context(), g.h.dsn)
	if err != nil {
		g.Fatal(err)
	}
	defer s.Close()
	u, err := s.User(g.Context(), g.id)
	if err != nil {
		g.Fatal(err)
	}
	grants, err := s.EffectiveGrants(g.Context(), g.id)
	if err != nil {
		g.Fatal(err)
	}
	hash, err := s.PasswordHash(g.Context(), g.id)
	if err != nil {
		g.Errorf("the password is gone: %v", err)
	}
	keys, err := s.Keys(g.Context())
	if err != nil || len(keys) != 1 {
		g.Fatalf("%d keys, %v", len(keys), err)
	}
	return fmt.Sprintf("%s active %v, %s, deleted %v, source %q, version %d, %v, %.30s, key live %v", u.UserName, u.Active, u.Origin, u.Deleted(), u.Source, u.Version, grants, hash, keys[0].Live(keys[0].Created))
}

// TestBreakGlass_EveryWay tries to remove, demote, deactivate and convert the last local admin, who owns the SCIM key in
// use, by every way that there is. Each is refused, and the account is as it was.
func TestBreakGlass_EveryWay(t *testing.T) {
	long(t)
	eachDatabase(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		dir, env := furnished(t, h, `listen: 127.0.0.1:0
database: ${DATABASE}
scim: {enabled: true}
connectors:
  - {name: okta, type: okta, url: "${OKTA_URL}", api_token: "${OKTA_TOKEN}", ca_file: okta-ca.pem}
`)
		g := &glass{T: t, h: h, dir: dir, env: env}
		output(t, dir, env, "migrate")
		g.key = provisioner(t, dir, env)
		g.url = start(t, dir, env, "serve").url()
		await(t, "SCIM", func() bool { return ask(t, g.url, g.key).status == http.StatusOK })
		s, err := store.Open(t.Context(), h.dsn)
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.UserByName(t.Context(), glassName)
		if err != nil {
			t.Fatal(err)
		}
		g.id = u.ID
		_ = s.Close() // nothing was written
		before := g.state()

		h.tenant.AddUser(map[string]any{"login": glassName, "email": glassName, "firstName": "Other", "lastName": "Person"})
		for name, attack := range g.attacks() {
			status, text := attack()
			if reason := attackReason(name); status == 0 || status >= 200 && status < 300 || !strings.Contains(text, reason) {
				t.Errorf("%s: status %d, want a refusal that says %q:\n%s", name, status, reason, text)
			}
			if after := g.state(); after != before {
				t.Fatalf("%s changed it (status %d)\n%s\nto\n%s", name, status, before, after)
			}
		}
		if got := ask(t, g.url, g.key); got.status != http.StatusOK {
			t.Errorf("the key is no longer let in: %+v", got)
		}
	})
}

// attackReason is what the refusal of an attack says.
func attackReason(name string) string {
	switch {
	case strings.Contains(name, "root"):
		return "never deleted"
	case strings.Contains(name, "conflict, "):
		return "conflict" // with an account that is privileged: nothing is even tried
	case strings.Contains(name, "other method"):
		return "ethod"
	}
	return "break glass"
}

// attacks are the ways, by name. Each returns an exit status or an HTTP status, and what was said.
func (g *glass) attacks() map[string]func() (int, string) {
	user := "/scim/v2/Users/" + g.id
	http := func(method, path, body string) func() (int, string) {
		return func() (int, string) { return g.call(method, path, body) }
	}
	cli := func(args ...string) func() (int, string) {
		return func() (int, string) { return g.run(args...) }
	}
	patch := func(ops string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + ops + `]}`
	}
	bulk := func(op string) func() (int, string) {
		return func() (int, string) {
			_, text := g.call("POST", "/scim/v2/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[`+op+`]}`)
			if !strings.Contains(text, "break glass") {
				return 200, text
			}
			return 409, text
		}
	}
	whole := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"` + glassName + `","name":{"givenName":"A","familyName":"B"},"emails":[{"value":"` + glassName + `","primary":true}]`
	return map[string]func() (int, string){
		"SCIM: DELETE":                 http("DELETE", user, ""),
		"SCIM: PATCH active false":     http("PATCH", user, patch(`{"op":"replace","path":"active","value":false}`)),
		"SCIM: PATCH converts":         http("PATCH", user, patch(`{"op":"replace","path":"title","value":"Boss"}`)),
		"SCIM: PUT converts":           http("PUT", user, whole+`}`),
		"SCIM: PUT deactivates":        http("PUT", user, whole+`,"active":false}`),
		"SCIM: POST adopts":            http("POST", "/scim/v2/Users", whole+`,"externalId":"00u1"}`),
		"SCIM: bulk DELETE":            bulk(`{"method":"DELETE","path":"/Users/` + g.id + `"}`),
		"SCIM: bulk PATCH":             bulk(`{"method":"PATCH","path":"/Users/` + g.id + `","data":` + patch(`{"op":"replace","path":"active","value":"False"}`) + `}`),
		"CLI: revoke admin":            cli("roles", "revoke", glassName, "root:admin"),
		"CLI: revoke scim_provisioner": cli("roles", "revoke", glassName, "root:scim_provisioner"),
		"CLI: deactivate":              cli("users", "deactivate", glassName),
		"CLI: delete root":             cli("teams", "delete", "root"),
		"pull: conflict, full":         cli("resync", "--full"),
		"pull: conflict, one person":   cli("resync", "--user", glassName),
		"pull: conflict linked to it":  func() (int, string) { return g.linkConflict() },
		"API: deactivate":              http("POST", "/api/v1/users/"+g.id+"/deactivate", `{}`),
		"API: revoke admin":            http("DELETE", "/api/v1/grants?user="+glassName+"&team=root&role=admin", ""),
		"API: revoke scim_provisioner": http("DELETE", "/api/v1/grants?user="+glassName+"&team=root&role=scim_provisioner", ""),
		"API: delete root":             http("DELETE", "/api/v1/teams/00000000-0000-4000-8000-000000000001", ""),
		"API: an other method":         http("DELETE", "/api/v1/users/"+g.id, ""),
	}
}

// linkConflict makes an operator say that the identity provider's person of the same name is this account.
func (g *glass) linkConflict() (int, string) {
	g.Helper()
	g.run("resync", "--full")
	_, list := g.run("conflicts", "list", "--output", "json")
	id, _, _ := strings.Cut(strings.TrimPrefix(list, `{"id":"`), `"`)
	if len(id) != 36 {
		g.Fatalf("no conflict to link: %s", list)
	}
	status, text := g.run("conflicts", "link", id, glassName)
	if !strings.Contains(text, "break glass") {
		return 0, text
	}
	return status, text
}
