package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store/storetest"
)

// call is an operation, as a test calls it. {self} in the path is the caller's id, {other} somebody else's.
type call struct {
	operation    string
	method, path string
	body         any
	least        string // the lowest rank that may, "none" for whoever is known
	session      string // the lowest rank that may with a session, where that is another one
}

const nothing = "00000000-0000-4000-8000-00000000dead"

// calls lists every operation, each so that it changes nothing where it is allowed.
var calls = []call{
	{"me", "GET", "/me", nil, "none", ""},
	{"access", "GET", "/access?user={self}@acme.test", nil, "none", ""},
	{"access", "GET", "/access?user=admin@acme.test&at=2020-01-01", nil, "viewer", ""},
	{"access", "GET", "/access?user=nobody@acme.test", nil, "viewer", ""},
	{"user-access", "GET", "/users/{selfid}/access", nil, "none", ""},
	{"user-access", "GET", "/users/" + nothing + "/access", nil, "viewer", ""},
	{"list-keys", "GET", "/keys", nil, "none", ""},
	{"create-key", "POST", "/keys", object{"name": " "}, "admin", "none"},
	{"create-key", "POST", "/keys", object{"name": " ", "user": "x" + nothing}, "admin", ""},
	{"revoke-key", "DELETE", "/keys/unknown", nil, "admin", "none"},
	{"rotate-key", "POST", "/keys/unknown/rotate", nil, "admin", "none"},
	{"enable-key", "POST", "/keys/unknown/enable", nil, "admin", ""},
	{"list-role-mappings", "GET", "/role-mappings", nil, "viewer", ""},
	{"set-role-mapping", "POST", "/role-mappings", object{"group": "g", "grants": []any{object{"team": "t", "role": "viewer"}}, "dry_run": true}, "admin", ""},
	{"replace-role-mappings", "PUT", "/role-mappings", object{"items": []any{}, "dry_run": true}, "admin", ""},
	{"delete-role-mapping", "DELETE", "/role-mappings?group=unknown", nil, "admin", ""},
	{"apply-role-mappings", "POST", "/role-mappings/apply", object{"dry_run": true}, "admin", ""},
	{"list-teams", "GET", "/teams", nil, "viewer", ""},
	{"create-team", "POST", "/teams", object{"name": "root"}, "admin", ""},
	{"show-team", "GET", "/teams/" + nothing, nil, "viewer", ""},
	{"change-team", "PATCH", "/teams/" + nothing, object{"name": "x"}, "admin", ""},
	{"delete-team", "DELETE", "/teams/" + nothing, nil, "admin", ""},
	{"list-team-members", "GET", "/teams/" + nothing + "/members", nil, "viewer", ""},
	{"list-roles", "GET", "/roles", nil, "viewer", ""},
	{"list-role-holders", "GET", "/roles/root/admin/holders", nil, "viewer", ""},
	{"give-role", "POST", "/grants", object{"user": nothing, "team": "root", "role": "viewer"}, "admin", ""},
	{"take-role", "DELETE", "/grants?user=" + nothing + "&team=root&role=viewer", nil, "admin", ""},
	{"show-scim", "GET", "/settings/scim", nil, "viewer", ""},
	{"set-scim", "POST", "/settings/scim", object{"enabled": false}, "admin", ""},
	{"list-users", "GET", "/users", nil, "viewer", ""},
	{"show-user", "GET", "/users/{selfid}", nil, "none", ""},
	{"show-user", "GET", "/users/" + nothing, nil, "viewer", ""},
	{"user-history", "GET", "/users/{selfid}/history", nil, "viewer", ""},
	{"deactivate-user", "POST", "/users/" + nothing + "/deactivate", nil, "admin", ""},
	{"reactivate-user", "POST", "/users/" + nothing + "/reactivate", nil, "admin", ""},
	{"list-groups", "GET", "/groups", nil, "viewer", ""},
	{"show-group", "GET", "/groups/" + nothing, nil, "viewer", ""},
	{"list-group-members", "GET", "/groups/" + nothing + "/members", nil, "viewer", ""},
	{"start-runs", "POST", "/runs", object{"connectors": []any{"unknown"}}, "operator", ""},
	{"list-runs", "GET", "/runs", nil, "viewer", ""},
	{"show-run", "GET", "/runs/unknown", nil, "viewer", ""},
	{"list-changes", "GET", "/runs/unknown/changes", nil, "viewer", ""},
	{"approve-run", "POST", "/runs/unknown/approve", object{"plan_hash": "x"}, "operator", ""},
	{"reject-run", "POST", "/runs/unknown/reject", nil, "operator", ""},
	{"list-conflicts", "GET", "/conflicts", nil, "viewer", ""},
	{"link-conflict", "POST", "/conflicts/unknown/link", object{"user": "x"}, "operator", ""},
	{"ignore-conflict", "POST", "/conflicts/unknown/ignore", nil, "operator", ""},
	{"list-connectors", "GET", "/connectors", nil, "viewer", ""},
	{"check-connector", "POST", "/connectors/unknown/check", nil, "operator", ""},
	{"list-audit", "GET", "/audit", nil, "viewer", ""},
	{"audit-head", "GET", "/audit/head", nil, "viewer", ""},
	{"list-sessions", "GET", "/sessions", nil, "none", ""},
	{"end-session", "DELETE", "/sessions/" + nothing, nil, "admin", "none"},
	{"end-sessions", "DELETE", "/sessions?user=" + nothing, nil, "admin", ""},
	{"show-key", "GET", "/keys/unknown", nil, "none", ""},
	{"unmap-roles", "POST", "/role-mappings/unmap", object{"group": "unknown"}, "admin", ""},
	{"create-admin", "POST", "/admins", object{"user_name": "nobody"}, "admin", ""},
	{"set-password", "PUT", "/users/" + nothing + "/password", nil, "admin", ""},
	{"unlock-user", "POST", "/users/" + nothing + "/unlock", nil, "admin", ""},
	{"unlink-user", "POST", "/users/" + nothing + "/unlink", nil, "admin", ""},
	{"list-webhooks", "GET", "/webhooks", nil, "viewer", ""},
	{"list-deliveries", "GET", "/webhooks/deliveries", nil, "viewer", ""},
	{"redeliver-event", "POST", "/webhooks/redeliver", object{"event_id": nothing}, "operator", ""},
	{"enable-webhook", "POST", "/webhooks/enable", object{"name": "unknown"}, "admin", ""},
	{"test-webhook", "POST", "/webhooks/test", object{"name": "unknown"}, "operator", ""},
	{"show-conflict", "GET", "/conflicts/unknown", nil, "viewer", ""},
	{"version", "GET", "/version", nil, "none", ""},
	{"check", "POST", "/check", nil, "operator", ""},
}

func (c *call) as(w *world, rank string) (method, path string, body any) {
	return c.method, strings.NewReplacer("{selfid}", w.users[rank].ID, "{self}", rank).Replace(c.path), c.body
}

// TestPermissions calls every operation as everybody, with a key and with a session.
func TestPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.MigratedSQLiteDSN(t), "scim: {enabled: true}\n")
	for _, c := range calls {
		method, path, body := c.as(w, "none")
		for name, got := range map[string]*answer{
			"without a key": w.do("", method, path, body), "with a wrong key": w.do("", method, path, body, "Authorization", "Bearer idps_wrong"),
			"with a password": w.do("", method, path, body, "Authorization", "Basic YTpi", "Cookie", "idpsync="+w.cookies["admin"]),
		} {
			if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s %s = %d, want 401 with WWW-Authenticate: %s", method, path, name, got.status, got.text)
			}
		}
		for i, rank := range apptest.Ranks {
			method, path, body := c.as(w, rank)
			least := c.least
			check := func(way string, got *answer) {
				t.Helper()
				allowed := i >= slices.Index(apptest.Ranks, least)
				if refused := got.status == http.StatusForbidden; refused == allowed || got.status == http.StatusUnauthorized || got.status >= 500 {
					t.Errorf("%s %s as %s with a %s = %d, want it allowed: %v: %s", method, path, rank, way, got.status, allowed, got.text)
				} else if refused && (got.body["needs"] != least || got.body["request_id"] == "") {
					t.Errorf("%s %s as %s with a %s = %s, want it to say that it needs %s", method, path, rank, way, got.text, least)
				}
			}
			check("key", w.do(rank, method, path, body))
			if c.session != "" {
				least = c.session
			}
			check("session", w.browse(rank, method, path, body))
		}
	}
}

// TestPermissionsAreComplete sees that no operation is left out above.
func TestPermissionsAreComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.MigratedSQLiteDSN(t), "")
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	w.must(json.Unmarshal([]byte(w.send("GET", "/openapi.json", nil).text), &document))
	operations := 0
	for path, methods := range document.Paths {
		for method, op := range methods {
			operations++
			if !slices.ContainsFunc(calls, func(c call) bool { return c.operation == op.OperationID && strings.EqualFold(c.method, method) }) {
				t.Errorf("no call of %s (%s %s)", op.OperationID, method, path)
			}
		}
	}
	if operations < 40 {
		t.Errorf("the document has %d operations", operations)
	}
}

// TestOtherSites sees that a session's write from another site's page is refused, and a key's is not.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.MigratedSQLiteDSN(t), "")
	for _, origin := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
		if got := w.browse("admin", "POST", "/teams", object{"name": "Evil"}, origin...); got.status != http.StatusForbidden {
			t.Errorf("POST /teams with %v = %d, want 403", origin, got.status)
		}
	}
	if got := w.browse("admin", "POST", "/teams", object{"name": "Good"}, "Sec-Fetch-Site", "same-origin", "Origin", w.url); got.status != http.StatusCreated {
		t.Errorf("POST /teams from the console = %d: %s", got.status, got.text)
	}
	if got := w.do("admin", "POST", "/teams", object{"name": "Tool"}, "Origin", "https://tool.example"); got.status != http.StatusCreated {
		t.Errorf("POST /teams with a key = %d: %s", got.status, got.text)
	}
	// A key that is sent decides, whatever cookie comes with it.
	if got := w.do("viewer", "POST", "/teams", object{"name": "Both"}, "Cookie", "idpsync="+w.cookies["admin"]); got.status != http.StatusForbidden {
		t.Errorf("POST /teams with a viewer's key and an admin's cookie = %d, want 403", got.status)
	}
}
