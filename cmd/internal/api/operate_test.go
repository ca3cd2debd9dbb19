package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
)

// TestAdmins makes a local admin, gives them other passwords, and sees that all of it is written down with who did it.
func TestAdmins(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		made := w.want(201, "admin", "POST", "/admins", object{"user_name": "glass@acme.test", "scim_provisioner": true})
		id, _ := made.body["id"].(string)
		if password, _ := made.body["password"].(string); len(password) < 20 || made.body["scim_provisioner"] != true {
			t.Fatalf("POST /admins = %s, want a password", made.text)
		}
		access := w.want(200, "admin", "GET", "/users/"+id+"/access", nil)
		if !strings.Contains(access.text, "scim_provisioner") || !strings.Contains(access.text, `"admin"`) {
			t.Errorf("access of a new admin = %s", access.text)
		}
		if got := w.want(409, "admin", "POST", "/admins", object{"user_name": "Glass@acme.test"}); got.kind() != "taken" {
			t.Errorf("twice the same name = %s, want taken", got.text)
		}
		w.want(422, "admin", "POST", "/admins", object{"user_name": "Ana <ana@acme.test>"})

		path := "/users/" + id + "/password"
		if got := w.want(422, "admin", "PUT", path, object{"password": "short"}); !strings.Contains(got.text, "body.password") || strings.Contains(got.text, `"short"`) {
			t.Errorf("a weak password = %s, want it refused and not told back", got.text)
		}
		if got := w.want(200, "admin", "PUT", path, object{"password": "four words and more"}); strings.Contains(got.text, "four words") || got.body["password"] != nil {
			t.Errorf("a chosen password is told back: %s", got.text)
		}
		if got := w.want(200, "admin", "PUT", path, nil); got.body["password"] == nil || got.body["active"] != true {
			t.Errorf("PUT without a password = %s, want a new one", got.text)
		}
		if got := w.want(409, "admin", "PUT", "/users/"+w.users["viewer"].ID+"/password", nil); got.kind() != "owned" {
			t.Errorf("a password for an account of the identity provider = %s, want owned", got.text)
		}
		if got := w.want(200, "admin", "PUT", "/users/"+w.users["admin"].ID+"/password", nil); got.body["sessions_ended"] != 1.0 {
			t.Errorf("a password for somebody signed in = %s, want the session ended", got.text)
		}
		for verb, flag := range map[string]string{"unlock": "unlocked", "unlink": "unlinked"} {
			if got := w.want(200, "admin", "POST", "/users/"+id+"/"+verb, nil); got.body[flag] != false || got.body["user_name"] != "glass@acme.test" {
				t.Errorf("%s of somebody with nothing to forget = %s", verb, got.text)
			}
		}
		events := items(w.want(200, "admin", "GET", "/audit?object_id="+id+"&actor="+w.keyIDs["admin"], nil))
		if len(events) < 4 {
			t.Errorf("%d events by the key, want the account, its roles and its passwords", len(events))
		}
		for _, e := range events {
			if e["request_id"] == nil || e["request_id"] == "" {
				t.Errorf("an event without its request: %v", e)
			}
		}
	})
}

// TestNamed finds people, groups and teams by any of their names.
func TestNamed(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		viewer := w.users["viewer"]
		for path, want := range map[string]int{
			"/users?user=" + viewer.ID: 1, "/users?user=VIEWER@acme.test": 1, "/users?user=viewer": 1, "/users?user=nobody": 0,
			"/teams?team=ROOT": 1, "/teams?team=nowhere": 0, "/groups?group=nothing": 0,
		} {
			if got := w.want(200, "viewer", "GET", path, nil); len(items(got)) != want || got.body["total"] != float64(want) {
				t.Errorf("GET %s = %s, want %d", path, got.text, want)
			}
		}
		if got := w.want(200, "none", "GET", "/keys/"+w.keyIDs["none"], nil); got.body["state"] != "live" {
			t.Errorf("one's own key = %s", got.text)
		}
		w.want(404, "none", "GET", "/keys/"+w.keyIDs["admin"], nil)
		w.want(200, "viewer", "GET", "/keys/idps_"+w.keyIDs["admin"], nil)
		if got := w.want(200, "admin", "DELETE", "/sessions?user=viewer@acme.test", nil); got.body["sessions_ended"] != 1.0 {
			t.Errorf("DELETE /sessions of somebody with one = %s", got.text)
		}
	})
}

// TestUnmap takes several roles of a group away at once, and says what there is not.
func TestUnmap(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		role := func(team, role string) object { return object{"team": team, "role": role} }
		w.want(200, "admin", "POST", "/role-mappings", object{"group": "Sales", "grants": []any{role("A", "viewer"), role("B", "viewer"), role("C", "viewer")}})
		if got := w.want(404, "admin", "POST", "/role-mappings/unmap", object{"group": "Sales", "grants": []any{role("A", "viewer"), role("D", "viewer")}}); !strings.Contains(got.text, "not mapped to D:viewer, only to A:viewer, B:viewer, C:viewer") {
			t.Errorf("unmap of what is not mapped = %s", got.text)
		}
		w.want(200, "admin", "POST", "/role-mappings/unmap", object{"group": "sales", "grants": []any{role("A", "viewer"), role("B", "viewer")}})
		left := items(w.want(200, "admin", "GET", "/role-mappings", nil))
		if len(left) != 1 || len(left[0]["grants"].([]any)) != 1 {
			t.Errorf("left of the mapping: %v, want C:viewer", left)
		}
		w.want(200, "admin", "POST", "/role-mappings/unmap", object{"group": "Sales"})
		if left := items(w.want(200, "admin", "GET", "/role-mappings", nil)); len(left) != 0 {
			t.Errorf("left of the mapping: %v, want nothing", left)
		}
	})
}

// TestServerTells tells which program serves, and what it thinks of itself.
func TestServerTells(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "webhooks: [{name: payroll, url: \"http://127.0.0.1:1/hook\", secret: whsec_QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD, allow_private: true}]\n")
		told := w.want(200, "none", "GET", "/version", nil)
		at, err := time.Parse(time.RFC3339, told.body["time"].(string))
		if err != nil || time.Since(at).Abs() > time.Minute || told.body["go"] == "" {
			t.Errorf("GET /version = %s", told.text)
		}
		checked := w.want(200, "operator", "POST", "/check", nil)
		if checked.body["ok"] != true || !strings.Contains(checked.text, `"of":"database"`) || !strings.Contains(checked.text, `"name":"break glass"`) {
			t.Errorf("POST /check = %s", checked.text)
		}

		// Receivers of events.
		if list := items(w.want(200, "viewer", "GET", "/webhooks", nil)); len(list) != 1 || list[0]["name"] != "payroll" {
			t.Errorf("GET /webhooks = %v", list)
		}
		if got := w.want(200, "operator", "POST", "/webhooks/test", object{"name": "payroll"}); got.body["delivered"] != false || !strings.Contains(got.text, "refused") {
			t.Errorf("a test of nobody = %s", got.text)
		}
		for path, body := range map[string]object{
			"/webhooks/test": {"name": "nobody"}, "/webhooks/enable": {"name": "nobody"}, "/webhooks/redeliver": {"event_id": nothing},
		} {
			w.want(404, "admin", "POST", path, body)
		}
		w.want(404, "viewer", "GET", "/webhooks/deliveries?endpoint=nobody", nil)
		w.want(200, "viewer", "GET", "/webhooks/deliveries?state=failed&limit=10000", nil)
		w.want(422, "viewer", "GET", "/webhooks/deliveries?limit=10001", nil)
	})
}
