package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// settled waits for a run to end, and returns it.
func (w *world) settled(id string) object {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		run := w.want(http.StatusOK, "viewer", "GET", "/runs/"+id, nil).body
		if run["finished"] != nil && run["status"] != "running" {
			return run
		}
	}
	w.Fatalf("run %s does not end", id)
	return nil
}

// start starts a run of the only connector and waits for it.
func (w *world) start(body any) object {
	w.Helper()
	got := w.want(http.StatusAccepted, "operator", "POST", "/runs", body)
	id := items(got)[0]["run_id"].(string)
	if location := got.header.Get("Location"); location != "/api/v1/runs/"+id {
		w.Errorf("Location = %q, want the run", location)
	}
	return w.settled(id)
}

func people(tenant *oktatest.Tenant, n int) []string {
	var ids []string
	for i := range n {
		name := fmt.Sprintf("p%d@acme.test", i)
		ids = append(ids, tenant.AddUser(map[string]any{"login": name, "email": name, "firstName": "P", "lastName": fmt.Sprint(i)}))
	}
	return ids
}

func TestRuns(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		tenant := &oktatest.Tenant{Seed: 1}
		ids := people(tenant, 12)
		w := newWorld(t, dsn, apptest.Okta(t, tenant, ", guard: {users: {percent: 0, floor: 0, max: 1}}"))
		if fresh := items(w.want(http.StatusOK, "viewer", "GET", "/connectors", nil))[0]; fresh["status"] != "new" || fresh["last_success"] != nil || fresh["mode"] != "enforce" ||
			fresh["next_slot"] != time.Date(time.Now().UTC().Year()+1, 1, 1, 0, 0, 0, 0, time.UTC).Format(time.RFC3339) {
			t.Errorf("a connector that never ran = %v", fresh)
		}
		if is := items(w.want(http.StatusOK, "viewer", "GET", "/connectors", nil))[0]["configured"].(object); is["type"] != "okta" || is["credential"] != "API token" || !strings.HasPrefix(is["address"].(string), "https://") || is["require_group"] != false {
			t.Errorf("what is configured = %v", is)
		}
		if run := w.start(object{"dry_run": true}); run["status"] != "planned" || run["trigger"] != "api" {
			t.Errorf("a dry run = %v", run)
		}
		run := w.start(object{"connectors": []string{"okta", "okta"}})
		if run["status"] != "done" || run["counts"].(object)["applied"] != 12.0 {
			t.Fatalf("the first run = %v", run)
		}
		id := run["run_id"].(string)
		var names []string
		for cursor := ""; ; {
			page := w.want(http.StatusOK, "viewer", "GET", "/runs/"+id+"/changes?limit=5&object=user&op=create&state=applied"+cursor, nil)
			for _, c := range items(page) {
				names = append(names, c["name"].(string))
			}
			next, more := page.body["next_cursor"].(string)
			if !more {
				break
			}
			cursor = "&cursor=" + next
		}
		if len(names) != 12 {
			t.Errorf("changes = %v, want twelve", names)
		}
		if got := items(w.want(http.StatusOK, "viewer", "GET", "/runs/"+id+"/changes?state=failed", nil)); len(got) != 0 {
			t.Errorf("failed changes = %v", got)
		}

		for _, gone := range ids[:3] {
			tenant.DeleteUser(gone)
		}
		held := w.start(object{"full": true})
		heldID, hash := held["run_id"].(string), held["plan_hash"].(string)
		if held["status"] != "held" || held["guard"] == nil || fmt.Sprint(held["held"]) != "map[user.deactivate:3]" {
			t.Fatalf("a run with three removals = %v, want it held", held)
		}
		standing := items(w.want(http.StatusOK, "viewer", "GET", "/connectors", nil))[0]
		if standing["held_run"] != heldID || standing["status"] != "ok" || standing["last_success"] == nil {
			t.Errorf("GET /connectors = %v", standing)
		}
		if got := w.want(http.StatusConflict, "operator", "POST", "/runs/"+heldID+"/approve", object{"plan_hash": "sha256:other"}); !strings.Contains(got.text, hash) {
			t.Errorf("another hash = %s, want it to name the right one", got.text)
		}
		approved := w.want(http.StatusAccepted, "operator", "POST", "/runs/"+heldID+"/approve", object{"plan_hash": hash})
		if decision := approved.body["decision"].(object); decision["kind"] != "approved" || approved.header.Get("Location") == "" {
			t.Errorf("approve = %s", approved.text)
		}
		if run := w.settled(heldID); run["status"] != "done" || run["held"] != nil {
			t.Errorf("after the approval = %v", run)
		}
		w.want(http.StatusConflict, "operator", "POST", "/runs/"+heldID+"/approve", object{"plan_hash": hash})
		w.want(http.StatusConflict, "operator", "POST", "/runs/"+heldID+"/reject", nil)

		list := w.want(http.StatusOK, "viewer", "GET", "/runs?limit=2&connector=okta", nil)
		next, _ := list.body["next_cursor"].(string)
		rest := w.want(http.StatusOK, "viewer", "GET", "/runs?limit=2&connector=okta&cursor="+next, nil)
		if first, last := items(list), items(rest); len(first) != 2 || len(last) != 1 || first[0]["run_id"] != heldID || last[0]["dry_run"] != true {
			t.Errorf("GET /runs = %s, then %s", list.text, rest.text)
		}
		if got := items(w.want(http.StatusOK, "viewer", "GET", "/runs?status=failed", nil)); len(got) != 0 {
			t.Errorf("failed runs = %v", got)
		}

		if one := w.start(object{"user": "p5@acme.test"}); one["kind"] != "object" || one["status"] != "done" {
			t.Errorf("a run of one person = %v", one)
		}
		if one := w.start(object{"user": "stranger@acme.test"}); one["status"] != "failed" || one["error"] == nil {
			t.Errorf("a run of a stranger = %v", one)
		}
		check := w.want(http.StatusOK, "operator", "POST", "/connectors/okta/check", nil)
		if check.body["ok"] != true || len(check.body["items"].([]any)) == 0 {
			t.Errorf("check = %s", check.text)
		}
	})
}

// TestRuns_Wrong sees what a request for runs is refused for.
func TestRuns_Wrong(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		w.want(http.StatusConflict, "operator", "POST", "/runs", nil) // there is no connector
		for _, body := range []object{
			{"connectors": []string{"unknown"}},
			{"connectors": []string{}},
			{"user": "a", "group": "b"},
			{"user": "a", "full": true},
			{"max_deactivations": -1},
			{"dryrun": true},
		} {
			w.want(http.StatusUnprocessableEntity, "operator", "POST", "/runs", body)
		}
	})
}

// TestRuns_Joined sees that a run that is going is joined, and that the server's end is the run's.
func TestRuns_Joined(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		tenant := &oktatest.Tenant{Seed: 1}
		people(tenant, 3)
		tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Delay: time.Hour, Times: -1})
		w := newWorld(t, dsn, apptest.Okta(t, tenant, ""))
		first := w.want(http.StatusAccepted, "operator", "POST", "/runs", nil)
		going := items(first)[0]
		if going["status"] != "running" || going["finished"] != nil {
			t.Errorf("POST /runs = %s, want it running", first.text)
		}
		joined := items(w.want(http.StatusAccepted, "operator", "POST", "/runs", nil))[0]
		if joined["run_id"] != going["run_id"] || joined["status"] != "joined" {
			t.Errorf("POST /runs again = %v, want %s joined", joined, going["run_id"])
		}
		if standing := items(w.want(http.StatusOK, "viewer", "GET", "/connectors", nil))[0]; standing["running_run"] != going["run_id"] {
			t.Errorf("GET /connectors = %v", standing)
		}
		// Dry runs take no lease: only so many go at a time.
		codes := map[int]int{}
		for range 10 {
			codes[w.do("operator", "POST", "/runs", object{"dry_run": true}).status]++
		}
		if codes[http.StatusAccepted] != 7 || codes[http.StatusServiceUnavailable] != 3 {
			t.Errorf("ten dry runs beside one run = %v, want seven accepted and three refused with 503", codes)
		}
		// The world's cleanup waits for Serve, which waits for the run: a run that went on would hang it.
	})
}

func TestConflicts(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		tenant := &oktatest.Tenant{Seed: 1}
		tenant.AddUser(map[string]any{"login": "viewer@acme.test", "email": "viewer@acme.test"})
		other := tenant.AddUser(map[string]any{"login": "operator@acme.test", "email": "operator@acme.test"})
		w := newWorld(t, dsn, apptest.Okta(t, tenant, ""))
		if run := w.start(nil); run["status"] != "partial" {
			t.Fatalf("a run with conflicts = %v", run)
		}
		page := w.want(http.StatusOK, "viewer", "GET", "/conflicts?limit=1&connector=okta", nil)
		next, _ := page.body["next_cursor"].(string)
		list := append(items(page), items(w.want(http.StatusOK, "viewer", "GET", "/conflicts?limit=1&cursor="+next, nil))...)
		if len(list) != 2 || page.body["total"] != 2.0 {
			t.Fatalf("GET /conflicts = %v", list)
		}
		for _, c := range list {
			id := c["id"].(string)
			if c["name"] == "operator@acme.test" {
				w.want(http.StatusUnprocessableEntity, "operator", "POST", "/conflicts/"+id+"/link", object{"group": "x"})
				w.want(http.StatusNotFound, "operator", "POST", "/conflicts/"+id+"/link", object{"user": "nobody"})
				linked := w.want(http.StatusOK, "operator", "POST", "/conflicts/"+id+"/link", object{"user": "operator@acme.test"})
				if linked.body["status"] != "linked" || linked.body["run_id"] == nil || linked.body["decided_by"] == "" {
					t.Fatalf("link = %s", linked.text)
				}
				w.settled(linked.body["run_id"].(string))
				if got := w.want(http.StatusOK, "viewer", "GET", "/users/"+w.users["operator"].ID, nil); got.body["source"] != "okta" || got.body["source_id"] != other {
					t.Errorf("linked, it is %s", got.text)
				}
				w.want(http.StatusConflict, "operator", "POST", "/conflicts/"+id+"/link", object{"user": "operator@acme.test"})
				continue
			}
			if got := w.want(http.StatusOK, "operator", "POST", "/conflicts/"+id+"/ignore", nil); got.body["status"] != "ignored" {
				t.Errorf("ignore = %s", got.text)
			}
			w.want(http.StatusConflict, "operator", "POST", "/conflicts/"+id+"/ignore", nil)
			if got := w.want(http.StatusOK, "operator", "POST", "/conflicts/"+id+"/ignore", object{"undo": true}); got.body["status"] != "open" {
				t.Errorf("undo = %s", got.text)
			}
		}
		if got := items(w.want(http.StatusOK, "viewer", "GET", "/conflicts?all=true", nil)); len(got) != 2 {
			t.Errorf("GET /conflicts?all=true = %v", got)
		}
	})
}
