package scim_test

import (
	"slices"
	"testing"

	"github.com/idpsync/idpsync/store"
)

// TestEveryWriteIsTold wants for each write of an identity provider an event with the key, the request, and what changed.
func TestEveryWriteIsTold(t *testing.T) {
	e := onSQLite(t)
	told := func(r *reply, status int, types ...string) *reply {
		t.Helper()
		r.want(status)
		id := r.header.Get("X-Request-Id")
		events, err := e.store.Audit(t.Context(), store.AuditQuery{RequestID: id, Limit: 100})
		if err != nil || id == "" {
			t.Fatalf("%s: request %q, %v", r.call, id, err)
		}
		var got []string
		for _, event := range events {
			got = append(got, string(event.Type))
			if event.Actor.Kind != "key" || event.Actor.ID != "k1" || event.Actor.RequestID != id || event.ObjectID == "" || event.Name == "" {
				t.Errorf("%s: %s is told as %+v", r.call, event.Type, event)
			}
			if len(event.Fields) == 0 && len(event.Members) == 0 && event.Reason == "" {
				t.Errorf("%s: %s tells neither what changed nor why", r.call, event.Type)
			}
		}
		for _, kind := range types {
			if !slices.Contains(got, kind) {
				t.Errorf("%s is told by %v, want %s", r.call, got, kind)
			}
		}
		return r
	}
	user := told(e.do("POST", "/Users", person("ana")), 201, "user.created").id()
	group := told(e.do("POST", "/Groups", groupOf("Sales")), 201, "group.created").id()
	told(e.do("PUT", "/Users/"+user, person("ana", `,"title":"Lead"`)), 200, "user.updated")
	told(e.patch("/Users/"+user, `{"op":"replace","path":"title","value":"Boss"}`), 200, "user.updated")
	told(e.patch("/Users/"+user, `{"op":"replace","path":"active","value":false}`), 200, "user.deactivated")
	told(e.patch("/Users/"+user, `{"op":"replace","path":"active","value":true}`), 200, "user.reactivated")
	told(e.patch("/Groups/"+group, `{"op":"add","path":"members","value":`+refsOf(user)+`}`), 204, "membership.added")
	told(e.do("PUT", "/Groups/"+group, groupOf("Marketing")), 200, "group.updated", "membership.removed")
	told(e.do("POST", "/Bulk", bulkOf(
		op("POST", "/Users", "b", person("bob")), op("PATCH", "/Groups/"+group, "", patchOf(`{"op":"add","path":"members","value":[{"value":"bulkId:b"}]}`)),
	)), 200, "user.created", "membership.added")
	told(e.do("DELETE", "/Groups/"+group, ""), 204, "group.deleted")
	told(e.do("DELETE", "/Users/"+user, ""), 204, "user.deleted")
}
