package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store/identity"
)

func TestAccess(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "default_role: \"\"\n")
		w.want(http.StatusCreated, "admin", "POST", "/teams", object{"name": "Payments", "scope": []string{"aws-prod"}})
		w.want(http.StatusOK, "admin", "POST", "/grants", object{"user": "VIEWER@acme.test", "team": "payments", "role": "operator"})
		got := w.want(http.StatusOK, "viewer", "GET", "/access?user=Viewer@Acme.test", nil)
		via := func(id string) object {
			v := object{"kind": "manual"}
			if id != "" {
				v["id"] = id
			}
			return v
		}
		want := object{
			"user_id": w.users["viewer"].ID, "user_name": "viewer@acme.test", "active": true,
			"teams": []any{
				object{"team": "Payments", "scope": []any{"aws-prod"}, "roles": []any{object{"role": "operator", "via": []any{via("")}}}},
				object{"team": "root", "roles": []any{object{"role": "viewer", "via": []any{via("")}}}},
			},
		}
		if diff := cmp.Diff(want, got.body); diff != "" {
			t.Errorf("GET /access (-want +got):\n%s", diff)
		}
		byID := w.want(http.StatusOK, "viewer", "GET", "/users/"+w.users["viewer"].ID+"/access", nil)
		if diff := cmp.Diff(got.body, byID.body); diff != "" || byID.header.Get("ETag") != got.header.Get("ETag") {
			t.Errorf("by id another answer than by name:\n%s", diff)
		}
		if cache := got.header.Get("Cache-Control"); cache != "private, no-cache" {
			t.Errorf("Cache-Control = %q", cache)
		}

		etag := got.header.Get("ETag")
		for _, known := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
			again := w.want(http.StatusNotModified, "admin", "GET", "/access?user=viewer@acme.test", nil, "If-None-Match", known)
			if again.text != "" || again.header.Get("ETag") != etag {
				t.Errorf("304 with a body %q, or the ETag %q", again.text, again.header.Get("ETag"))
			}
		}
		// Whatever the answer says changes the ETag: what a team's roles are for, too.
		team := items(w.want(http.StatusOK, "viewer", "GET", "/teams", nil))
		for _, one := range team {
			if one["name"] == "Payments" {
				w.want(http.StatusOK, "admin", "PATCH", "/teams/"+one["id"].(string), object{"scope": []string{"github"}})
			}
		}
		changed := w.want(http.StatusOK, "viewer", "GET", "/access?user=viewer@acme.test", nil, "If-None-Match", etag)
		if changed.header.Get("ETag") == etag {
			t.Error("another scope and the same ETag")
		}
		w.want(http.StatusNotFound, "viewer", "GET", "/access?user=nobody@acme.test", nil)
		w.want(http.StatusUnprocessableEntity, "viewer", "GET", "/access", nil)
	})
}

func TestAccessInThePast(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		id := w.users["none"].ID
		before := time.Now().UTC()
		w.want(http.StatusOK, "admin", "POST", "/grants", object{"user": id, "team": "root", "role": "operator"})
		w.want(http.StatusForbidden, "viewer", "DELETE", "/grants?user="+id+"&team=root&role=operator", nil)
		held := time.Now().UTC()
		w.want(http.StatusOK, "admin", "DELETE", "/grants?user="+id+"&team=root&role=operator", nil)
		for _, c := range []struct {
			at    time.Time
			teams int
		}{{before, 1}, {held, 2}} {
			got := w.want(http.StatusOK, "viewer", "GET", "/access?user=none@acme.test&at="+url.QueryEscape(c.at.Format(time.RFC3339Nano)), nil)
			if teams := got.body["teams"].([]any); len(teams) != c.teams || got.body["at"] == nil {
				t.Errorf("access at %s = %s, want %d teams", c.at, got.text, c.teams)
			}
		}
		if got := w.want(http.StatusNotFound, "viewer", "GET", "/users/"+id+"/access?at=2001-02-03", nil); got.kind() != "not-known" {
			t.Errorf("access before there was anybody = %s", got.text)
		}
		for _, wrong := range []string{"yesterday", "2999-01-01", "0000-00-00"} {
			got := w.want(http.StatusUnprocessableEntity, "viewer", "GET", "/access?user=none@acme.test&at="+wrong, nil)
			if fmt.Sprint(got.body["errors"].([]any)[0].(object)["location"]) != "query.at" {
				t.Errorf("at=%s: %s, want it to name query.at", wrong, got.text)
			}
		}
	})
}

// TestSuspended sees that somebody deactivated is told so, and let in no more.
func TestSuspended(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		w.want(http.StatusOK, "operator", "GET", "/me", nil)
		if _, err := w.app.Applier.ChangeUser(t.Context(), apptest.By, "scim:test", w.users["operator"].ID, 0, func(u *identity.User) error {
			u.Active = false
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.want(http.StatusUnauthorized, "operator", "GET", "/me", nil)
		if got := w.browse("operator", "GET", "/me", nil); got.status != http.StatusUnauthorized {
			t.Errorf("a session of somebody deactivated = %d, want 401", got.status)
		}
		got := w.want(http.StatusOK, "viewer", "GET", "/access?user=operator@acme.test", nil)
		if got.body["active"] != false || got.body["reason"] == nil {
			t.Errorf("access of somebody deactivated = %s", got.text)
		}
	})
}

func TestMe(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		want := object{
			"user_id": w.users["operator"].ID, "user_name": "operator@acme.test", "key_id": w.keyIDs["operator"],
			"may_view": true, "may_operate": true, "may_administer": false, "root_roles": []any{"viewer", "operator"},
		}
		if diff := cmp.Diff(want, w.want(http.StatusOK, "operator", "GET", "/me", nil).body); diff != "" {
			t.Errorf("GET /me (-want +got):\n%s", diff)
		}
		delete(want, "key_id")
		if diff := cmp.Diff(want, w.browse("operator", "GET", "/me", nil).body); diff != "" {
			t.Errorf("GET /me with a session (-want +got):\n%s", diff)
		}
	})
}
