package api_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func TestKeys(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		made := w.want(http.StatusCreated, "admin", "POST", "/keys", object{"user": "viewer@acme.test", "name": "tool", "expires": "1h"})
		id, secret := made.body["id"].(string), made.body["key"].(string)
		if !strings.HasPrefix(secret, "idps_"+id) || made.body["state"] != "live" || made.body["expires"] == nil {
			t.Fatalf("POST /keys = %s", made.text)
		}
		w.keys["tool"] = secret
		w.want(http.StatusOK, "tool", "GET", "/me", nil)
		list := w.want(http.StatusOK, "admin", "GET", "/keys?user=viewer@acme.test", nil)
		if len(items(list)) != 2 || strings.Contains(list.text, secret[20:]) || strings.Contains(list.text, "hash") {
			t.Errorf("GET /keys = %s, want two, without secrets", list.text)
		}
		rotated := w.want(http.StatusCreated, "admin", "POST", "/keys/"+id+"/rotate", object{"expire_in": "10m"})
		w.keys["next"] = rotated.body["key"].(string)
		if rotated.body["old_id"] != id || rotated.body["old_expires"] == nil {
			t.Errorf("rotate = %s", rotated.text)
		}
		w.want(http.StatusOK, "next", "GET", "/me", nil)
		w.want(http.StatusNoContent, "admin", "DELETE", "/keys/"+id, nil)
		w.want(http.StatusUnauthorized, "tool", "GET", "/me", nil)
		w.want(http.StatusConflict, "admin", "POST", "/keys/"+id+"/rotate", nil)
		w.want(http.StatusConflict, "admin", "POST", "/keys/"+id+"/enable", nil)
		w.want(http.StatusForbidden, "admin", "POST", "/keys/"+w.keyIDs["admin"]+"/enable", nil)
		w.want(http.StatusNotFound, "admin", "DELETE", "/keys/unknown", nil)
		w.want(http.StatusNotFound, "admin", "POST", "/keys", object{"user": "nobody@acme.test", "name": "x"})
		w.want(http.StatusUnprocessableEntity, "admin", "POST", "/keys", object{"name": "x", "connector": "unknown"})
		w.want(http.StatusUnprocessableEntity, "admin", "POST", "/keys", object{"name": "x", "expires": "soon"})

		// Disabled with its owner, and let in again.
		for _, active := range []bool{false, true} {
			w.must(onlyErr(w.app.Applier.ChangeUser(t.Context(), apptest.By, "scim:test", w.users["none"].ID, 0, func(u *identity.User) error {
				u.Active = active
				return nil
			})))
		}
		w.want(http.StatusUnauthorized, "none", "GET", "/me", nil)
		w.want(http.StatusOK, "admin", "POST", "/keys/"+w.keyIDs["none"]+"/enable", nil)
		w.want(http.StatusOK, "none", "GET", "/me", nil)

		events := items(w.want(http.StatusOK, "viewer", "GET", "/audit?type=key.*&actor="+w.keyIDs["admin"], nil))
		if len(events) != 5 { // created, rotated and created, revoked, enabled
			t.Errorf("the audit log tells of %d changes of keys by the admin's key, want 5: %v", len(events), events)
		}
		for _, e := range events {
			actor := e["actor"].(object)
			if actor["kind"] != "key" || actor["name"] != "of admin of admin@acme.test" || e["request_id"] == nil {
				t.Errorf("event %v, want the key with its owner, and the request", e)
			}
		}
	})
}

func onlyErr[T any](_ T, err error) error { return err }

// TestOwnKeys sees what somebody without a role on root may do with a session: see, make, rotate and revoke their own.
func TestOwnKeys(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		made := w.browse("none", "POST", "/keys", object{"name": "mine"})
		if made.status != http.StatusCreated || made.body["user"] != "none@acme.test" {
			t.Fatalf("POST /keys = %d %s", made.status, made.text)
		}
		for _, as := range []struct {
			who  string
			body object
		}{{"none", object{"name": "x", "user": "admin@acme.test"}}, {"none", object{"name": "x", "connector": "okta"}}, {"none", object{"name": "x", "user": "nobody"}}} {
			if got := w.browse(as.who, "POST", "/keys", as.body); got.status != http.StatusForbidden {
				t.Errorf("POST /keys %v = %d, want 403", as.body, got.status)
			}
		}
		if got := items(w.browse("none", "GET", "/keys?user=admin@acme.test", nil)); len(got) != 2 {
			t.Errorf("GET /keys = %v, want their own two", got)
		}
		if got := w.browse("none", "DELETE", "/keys/"+w.keyIDs["admin"], nil); got.status != http.StatusNotFound {
			t.Errorf("DELETE of somebody else's key = %d, want 404", got.status)
		}
		if got := w.browse("none", "DELETE", "/keys/"+made.body["id"].(string), nil); got.status != http.StatusNoContent {
			t.Errorf("DELETE of their own key = %d %s", got.status, got.text)
		}
		events := items(w.want(http.StatusOK, "viewer", "GET", "/audit?type=key.revoked", nil))
		if actor := events[0]["actor"].(object); actor["kind"] != "user" || actor["id"] != w.users["none"].ID || actor["name"] != "none@acme.test" {
			t.Errorf("revoked by %v, want the person", actor)
		}
	})
}

// group pushes a group with these members.
func (w *world) group(name string, members ...string) identity.Group {
	w.Helper()
	g, err := w.app.Applier.CreateGroup(w.Context(), apptest.By, "scim:test", identity.Group{DisplayName: name, ExternalID: name}, members)
	w.must(err)
	return g
}

func TestRoleMappings(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "role_guard: {percent: 0, floor: 0, max: 1}\n")
		w.group("Engineering", w.users["none"].ID)
		rule := object{"group": "engineering", "grants": []any{object{"team": "Payments", "role": "operator"}}}
		dry := object{"dry_run": true, "group": rule["group"], "grants": rule["grants"]}
		plan := w.want(http.StatusOK, "admin", "POST", "/role-mappings", dry)
		if plan.body["status"] != "planned" || plan.body["applied"] != false || len(plan.body["gains"].([]any)) != 1 || len(plan.body["groups"].([]any)) != 1 {
			t.Errorf("a dry run = %s", plan.text)
		}
		if got := items(w.want(http.StatusOK, "viewer", "GET", "/role-mappings", nil)); len(got) != 0 {
			t.Errorf("after a dry run, %v", got)
		}
		if done := w.want(http.StatusOK, "admin", "POST", "/role-mappings", rule); done.body["status"] != "done" || done.body["plan_hash"] != plan.body["plan_hash"] {
			t.Errorf("POST = %s, want the plan of the dry run done", done.text)
		}
		more := object{"group": "Engineering", "grants": []any{object{"team": "root", "role": "viewer"}}, "add": true}
		w.want(http.StatusOK, "admin", "POST", "/role-mappings", more)
		list := items(w.want(http.StatusOK, "viewer", "GET", "/role-mappings", nil))
		if len(list) != 1 || len(list[0]["grants"].([]any)) != 2 || list[0]["members"] != 1.0 || list[0]["group_id"] == nil {
			t.Errorf("GET /role-mappings = %v", list)
		}

		held := w.want(http.StatusConflict, "admin", "DELETE", "/role-mappings?group=Engineering", nil)
		if held.kind() != "held" || len(held.body["plan"].(object)["losses"].([]any)) != 2 {
			t.Fatalf("DELETE = %s, want it held with the plan", held.text)
		}
		hash := held.body["plan"].(object)["plan_hash"].(string)
		if got := w.want(http.StatusConflict, "admin", "DELETE", "/role-mappings?group=Engineering&plan_hash=sha256:other", nil); got.kind() != "plan-changed" || got.body["plan"] == nil {
			t.Errorf("another hash = %s", got.text)
		}
		if got := w.want(http.StatusOK, "admin", "DELETE", "/role-mappings?group=Engineering&plan_hash="+hash, nil); got.body["status"] != "done" {
			t.Errorf("approved = %s", got.text)
		}
		w.want(http.StatusNotFound, "admin", "DELETE", "/role-mappings?group=Engineering", nil)
		w.want(http.StatusUnprocessableEntity, "admin", "DELETE", "/role-mappings?group=Engineering&team=root", nil)
		if got := w.want(http.StatusUnprocessableEntity, "admin", "POST", "/role-mappings", object{"group": "g", "grants": []any{object{"team": "t", "role": "unknown"}}}); !strings.Contains(got.text, "unknown") {
			t.Errorf("an unknown role = %s", got.text)
		}
		w.want(http.StatusOK, "admin", "PUT", "/role-mappings", object{"items": []any{rule}})
		if got := w.want(http.StatusOK, "admin", "DELETE", "/role-mappings?group=Engineering&team=payments&role=operator&dry_run=true", nil); got.body["status"] != "held" {
			t.Errorf("a dry run of what would be held = %s", got.text)
		}
	})
}

// What a change of the mapping comes to is counted whole, and named as far as is asked for.
func TestRoleMappings_NameSome(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		w.group("Engineering", w.users["none"].ID, w.users["viewer"].ID, w.users["operator"].ID)
		ask := func(more object) object {
			body := object{"dry_run": true, "group": "Engineering", "grants": []any{object{"team": "Payments", "role": "operator"}}}
			maps.Copy(body, more)
			return w.want(http.StatusOK, "admin", "POST", "/role-mappings", body).body
		}
		names := func(plan object) (names []string) {
			for _, gain := range plan["gains"].([]any) {
				names = append(names, gain.(object)["user_name"].(string))
			}
			return names
		}
		for _, c := range []struct {
			name string
			more object
			want []string
		}{
			{"all", nil, []string{"none@acme.test", "operator@acme.test", "viewer@acme.test"}},
			{"the first", object{"effects": 2}, []string{"none@acme.test", "operator@acme.test"}},
			{"the next", object{"effects": 2, "effects_from": 2}, []string{"viewer@acme.test"}},
			{"behind the last", object{"effects": 2, "effects_from": 9}, nil},
			{"none", object{"effects": 0}, nil},
		} {
			plan := ask(c.more)
			if got := names(plan); !slices.Equal(got, c.want) {
				t.Errorf("%s: gains of %v, want %v", c.name, got, c.want)
			}
			if total := plan["totals"].([]any)[0].(object); plan["gaining"] != 3.0 || total["team"] != "Payments" || total["role"] != "operator" || total["gains"] != 3.0 || total["losses"] != 0.0 {
				t.Errorf("%s: %v gain, %v, want all three counted", c.name, plan["gaining"], total)
			}
		}
		w.want(http.StatusUnprocessableEntity, "admin", "POST", "/role-mappings", object{"group": "g", "grants": []any{object{"team": "t", "role": "viewer"}}, "effects": -1})
	})
}

func TestDeclared(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "scim: {enabled: true}\nrole_mapping:\n  - {group: Ops, grants: [{team: root, role: operator}]}\n")
		got := w.want(http.StatusOK, "viewer", "GET", "/role-mappings", nil)
		if got.body["declared"] != true || len(items(got)) != 1 || got.body["waiting"] != nil {
			t.Errorf("GET /role-mappings = %s", got.text)
		}
		for _, refused := range []*answer{
			w.want(http.StatusConflict, "admin", "POST", "/role-mappings", object{"group": "g", "grants": []any{object{"team": "t", "role": "viewer"}}}),
			w.want(http.StatusConflict, "admin", "DELETE", "/role-mappings?group=Ops", nil),
			w.want(http.StatusConflict, "admin", "POST", "/settings/scim", object{"enabled": false}),
		} {
			if refused.kind() != "declared" || !strings.Contains(refused.body["detail"].(string), "configuration") {
				t.Errorf("what the configuration declares = %s, want it to say so, with the remedy", refused.text)
			}
		}
		w.want(http.StatusOK, "admin", "POST", "/role-mappings/apply", nil)
	})
}

func TestTeams(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		made := w.want(http.StatusCreated, "admin", "POST", "/teams", object{"name": "Auditors"})
		id := made.body["id"].(string)
		if got := w.want(http.StatusConflict, "admin", "POST", "/teams", object{"name": "auditors"}); got.kind() != "taken" {
			t.Errorf("a name that is taken = %s", got.text)
		}
		w.want(http.StatusUnprocessableEntity, "admin", "POST", "/teams", object{"name": "a:b"})
		renamed := w.want(http.StatusOK, "admin", "PATCH", "/teams/"+id, object{"name": "External Auditors", "scope": []string{"b", "a"}})
		if renamed.body["name"] != "External Auditors" || len(renamed.body["scope"].([]any)) != 2 {
			t.Errorf("PATCH = %s", renamed.text)
		}
		w.want(http.StatusUnprocessableEntity, "admin", "PATCH", "/teams/"+id, object{})
		w.want(http.StatusConflict, "admin", "PATCH", "/teams/"+identity.RootTeamID, object{"name": "boot"})
		if got := w.want(http.StatusOK, "admin", "POST", "/grants", object{"user": "none@acme.test", "team": id, "role": "viewer"}); got.body["changed"] != true {
			t.Errorf("POST /grants = %s", got.text)
		}
		if got := w.want(http.StatusOK, "admin", "POST", "/grants", object{"user": "none@acme.test", "team": id, "role": "viewer"}); got.body["changed"] != false {
			t.Errorf("the same again = %s", got.text)
		}
		w.want(http.StatusUnprocessableEntity, "admin", "POST", "/grants", object{"user": "none@acme.test", "team": id, "role": "unknown"})
		w.want(http.StatusOK, "admin", "POST", "/grants", object{"user": "none@acme.test", "team": id, "role": "operator"})
		members := items(w.want(http.StatusOK, "viewer", "GET", "/teams/"+id+"/members", nil))
		if len(members) != 1 || len(members[0]["roles"].([]any)) != 2 {
			t.Errorf("GET members = %v, want one with two roles", members)
		}
		w.want(http.StatusConflict, "admin", "DELETE", "/teams/"+id, nil)
		for _, role := range []string{"viewer", "operator"} {
			w.want(http.StatusOK, "admin", "DELETE", "/grants?user=none@acme.test&team=External%20Auditors&role="+role, nil)
		}
		w.want(http.StatusNotFound, "admin", "DELETE", "/grants?user=none@acme.test&team=root&role=viewer", nil)
		w.want(http.StatusNoContent, "admin", "DELETE", "/teams/"+id, nil)
		w.want(http.StatusNotFound, "viewer", "GET", "/teams/"+id, nil)

		// Page by page, everybody comes once.
		seen := map[any]int{}
		cursor := ""
		for range 10 {
			page := w.want(http.StatusOK, "viewer", "GET", "/roles/root/viewer/holders?limit=1&cursor="+cursor, nil)
			for _, holder := range items(page) {
				seen[holder["user_name"]]++
			}
			if cursor, _ = page.body["next_cursor"].(string); cursor == "" {
				break
			}
		}
		if len(seen) != 1 || seen["viewer@acme.test"] != 1 {
			t.Errorf("holders of root:viewer = %v", seen)
		}
		w.want(http.StatusNotFound, "viewer", "GET", "/roles/root/unknown/holders", nil)
		w.want(http.StatusNotFound, "viewer", "GET", "/roles/unknown/viewer/holders", nil)
	})
}

// TestBreakGlass sees that the last local admin stays, whichever way somebody tries.
func TestBreakGlass(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		for _, got := range []*answer{
			w.want(http.StatusConflict, "admin", "DELETE", "/grants?user=admin@acme.test&team=root&role=admin", nil),
			w.want(http.StatusConflict, "admin", "POST", "/users/"+w.users["admin"].ID+"/deactivate", nil),
		} {
			if got.kind() != "break-glass" || got.body["request_id"] == "" {
				t.Errorf("the last local admin: %s, want a problem of type break-glass", got.text)
			}
		}
		if got := w.want(http.StatusConflict, "admin", "POST", "/users/"+w.users["viewer"].ID+"/deactivate", nil); got.kind() != "owned" {
			t.Errorf("an account that a key owns = %s", got.text)
		}
		if len(items(w.want(http.StatusOK, "viewer", "GET", "/audit?type=change.refused", nil))) == 0 {
			t.Error("the refusals are not in the audit log")
		}
		second, err := w.app.Applier.CreateAdmin(t.Context(), apptest.By, "second@acme.test", "x", false)
		w.must(err)
		if got := w.want(http.StatusOK, "admin", "POST", "/users/"+second.ID+"/deactivate", nil); got.body["active"] != false {
			t.Errorf("deactivate = %s", got.text)
		}
		if got := w.want(http.StatusOK, "admin", "POST", "/users/"+second.ID+"/reactivate", nil); got.body["active"] != true {
			t.Errorf("reactivate = %s", got.text)
		}
	})
}

func TestSCIMSetting(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		if got := w.want(http.StatusOK, "viewer", "GET", "/settings/scim", nil); got.body["enabled"] != false || got.body["break_glass"] != true || got.body["jit_provisioning"] != true {
			t.Errorf("GET = %s", got.text)
		}
		if got := w.want(http.StatusOK, "admin", "POST", "/settings/scim", object{"enabled": true}); got.body["enabled"] != true || got.body["answers_from"] == nil {
			t.Errorf("POST = %s", got.text)
		}
		w.want(http.StatusOK, "admin", "POST", "/settings/scim", object{"enabled": false})
		w.want(http.StatusUnprocessableEntity, "admin", "POST", "/settings/scim", object{})
		// Nobody could get in without the identity provider.
		_, err := w.app.Store.DB().ExecContext(t.Context(), "UPDATE users SET origin = 'sso' WHERE user_name = 'admin@acme.test'")
		w.must(err)
		if got := w.want(http.StatusConflict, "admin", "POST", "/settings/scim", object{"enabled": true}); got.kind() != "break-glass" {
			t.Errorf("without break glass = %s", got.text)
		}
	})
}

func TestSessions(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		all := items(w.want(http.StatusOK, "viewer", "GET", "/sessions", nil))
		own := items(w.browse("none", "GET", "/sessions?user=admin@acme.test", nil))
		if len(all) != len(apptest.Ranks) || len(own) != 1 || own[0]["user_name"] != "none@acme.test" {
			t.Fatalf("sessions = %v; their own = %v", all, own)
		}
		admins := items(w.want(http.StatusOK, "viewer", "GET", "/sessions?user=admin@acme.test", nil))
		if got := w.browse("none", "DELETE", "/sessions/"+admins[0]["id"].(string), nil); got.status != http.StatusNotFound {
			t.Errorf("somebody else's session = %d, want 404", got.status)
		}
		if got := w.browse("none", "DELETE", "/sessions/"+own[0]["id"].(string), nil); got.status != http.StatusNoContent {
			t.Errorf("their own session = %d %s", got.status, got.text)
		}
		if got := w.browse("none", "GET", "/me", nil); got.status != http.StatusUnauthorized {
			t.Errorf("after that = %d, want 401", got.status)
		}
		w.want(http.StatusNoContent, "admin", "DELETE", "/sessions/"+admins[0]["id"].(string), nil)
		w.want(http.StatusNotFound, "admin", "DELETE", "/sessions/"+admins[0]["id"].(string), nil)
	})
}

func TestPeople(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		g := w.group("Engineering", w.users["none"].ID, w.users["viewer"].ID, w.users["operator"].ID)
		pages := func(path string) (names []any) {
			t.Helper()
			for cursor := ""; ; {
				page := w.want(http.StatusOK, "viewer", "GET", path+cursor, nil)
				for _, item := range items(page) {
					names = append(names, item["user_name"])
				}
				next, more := page.body["next_cursor"].(string)
				if !more {
					return names
				}
				cursor = "&cursor=" + next
			}
		}
		if got := pages("/users?limit=2"); len(got) != 4 {
			t.Errorf("GET /users in pages of two = %v, want four", got)
		}
		if got := pages("/users?limit=500&search=OPERATOR&active=true&source=scim:test"); len(got) != 1 || got[0] != "operator@acme.test" {
			t.Errorf("GET /users that match = %v", got)
		}
		if got := pages("/users?active=false"); len(got) != 0 {
			t.Errorf("GET /users that are inactive = %v", got)
		}
		if got := pages("/groups/" + g.ID + "/members?limit=2"); len(got) != 3 {
			t.Errorf("GET members in pages of two = %v, want three", got)
		}
		one := w.want(http.StatusOK, "viewer", "GET", "/users/"+w.users["none"].ID, nil)
		if groups := one.body["groups"].([]any); len(groups) != 1 || groups[0].(object)["display_name"] != "Engineering" || one.body["source"] != "scim:test" {
			t.Errorf("GET /users/ID = %s", one.text)
		}
		history := items(w.want(http.StatusOK, "viewer", "GET", "/users/"+w.users["none"].ID+"/history", nil))
		var types []string
		for _, e := range history {
			types = append(types, e["type"].(string))
		}
		if text := strings.Join(types, " "); !strings.Contains(text, "membership.added") || types[len(types)-1] != "user.created" {
			t.Errorf("history = %s", text)
		}
		groups := w.want(http.StatusOK, "viewer", "GET", "/groups?search=ngin", nil)
		if list := items(groups); len(list) != 1 || list[0]["members"] != 3.0 || groups.body["total"] != 1.0 {
			t.Errorf("GET /groups = %s", groups.text)
		}
		if got := w.want(http.StatusOK, "viewer", "GET", "/groups/"+g.ID, nil); len(got.body["grants"].([]any)) != 1 {
			t.Errorf("GET /groups/ID = %s, want the default role", got.text)
		}
		outer := w.group("All", g.ID)
		if got := w.want(http.StatusOK, "viewer", "GET", "/groups/"+outer.ID, nil).body["nested"].([]any); len(got) != 1 || got[0].(object)["display_name"] != "Engineering" {
			t.Errorf("nested = %v", got)
		}
		w.want(http.StatusNotFound, "viewer", "GET", "/users/"+nothing, nil)
		w.want(http.StatusNotFound, "viewer", "GET", "/groups/not-an-id", nil)
	})
}

func TestAudit(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		// More events than an export reads at a time.
		w.must(w.app.Store.InTx(t.Context(), func(tx *store.Tx) error {
			events := make([]identity.Event, 2500)
			for i := range events {
				events[i] = identity.Event{At: time.Now(), Type: "test.event", Actor: apptest.By, Object: "test", ObjectID: "one", Name: "<é>"}
			}
			return tx.Record(t.Context(), events)
		}))
		export := w.want(http.StatusOK, "viewer", "GET", "/audit?type=test.event", nil, "Accept", "application/x-ndjson")
		lines := strings.Split(strings.TrimSuffix(export.text, "\n"), "\n")
		if len(lines) != 2500 || !strings.Contains(lines[0], `"name":"<é>"`) || export.header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("an export has %d lines, the first %s, want 2500", len(lines), lines[0])
		}
		seen, cursor := map[any]bool{}, ""
		for range 20 {
			page := w.want(http.StatusOK, "viewer", "GET", "/audit?object_id=one&limit=500"+cursor, nil)
			for _, e := range items(page) {
				seen[e["seq"]] = true
			}
			next, more := page.body["next_cursor"].(string)
			if !more {
				break
			}
			cursor = "&cursor=" + next
		}
		if len(seen) != 2500 {
			t.Errorf("page by page there are %d events, want 2500", len(seen))
		}
		made := w.want(http.StatusCreated, "admin", "POST", "/teams", object{"name": "Audited"})
		events := items(w.want(http.StatusOK, "viewer", "GET", "/audit?request_id="+made.header.Get("X-Request-Id"), nil))
		if len(events) != 1 || events[0]["type"] != "team.created" {
			t.Errorf("by request = %v", events)
		}
		for query, want := range map[string]int{
			"from=2999-01-01T00:00:00Z": 0, "to=2001-01-01T00:00:00Z": 0, "run_id=unknown": 0, "type=team.created": 2, "type=team.*": 2,
			"user=none@acme.test&type=user.*": 1, "actor=unknown": 0,
		} {
			if got := items(w.want(http.StatusOK, "viewer", "GET", "/audit?"+query, nil)); len(got) != want {
				t.Errorf("GET /audit?%s has %d events, want %d", query, len(got), want)
			}
		}
		w.want(http.StatusNotFound, "viewer", "GET", "/audit?user=nobody", nil)
		w.want(http.StatusUnprocessableEntity, "viewer", "GET", "/audit?from=yesterday", nil)
	})
}
