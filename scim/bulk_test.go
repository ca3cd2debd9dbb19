package scim_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

const location = base + "/scim/v2"

// op returns an operation of a bulk request; data is JSON text, "" for none, more are members with a comma before.
func op(method, path, bulkID, data string, more ...string) string {
	s := fmt.Sprintf(`{"method":%q,"path":%q`, method, path)
	if bulkID != "" {
		s += fmt.Sprintf(`,"bulkId":%q`, bulkID)
	}
	if data != "" {
		s += `,"data":` + data
	}
	return s + strings.Join(more, "") + "}"
}

// patchOf returns the data of a PATCH operation.
func patchOf(operations string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operations + `]}`
}

func groupOf(name string, members ...string) string {
	return fmt.Sprintf(`{"displayName":%q,"members":%s}`, name, refsOf(members...))
}

func managedBy(id string) string { return fmt.Sprintf(`,"%s:manager":{"value":%q}`, enterpriseURN, id) }

func bulkOf(operations ...string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[` + strings.Join(operations, ",") + `]}`
}

func (e *endpoint) bulk(operations ...string) *reply {
	e.t.Helper()
	return e.do("POST", "/Bulk", bulkOf(operations...)).want(200)
}

// outcome lists what a bulk request is answered with: for each operation its bulkId or method, and its status.
func (r *reply) outcome() []string {
	r.t.Helper()
	list, ok := r.at("Operations").([]any)
	if !ok || fmt.Sprint(r.at("schemas")) != "[urn:ietf:params:scim:api:messages:2.0:BulkResponse]" {
		r.t.Fatalf("%s is no BulkResponse", r.text)
	}
	var out []string
	for i, v := range list {
		o := v.(map[string]any)
		name, _ := o["bulkId"].(string)
		if name == "" {
			name, _ = o["method"].(string)
		}
		status, _ := o["status"].(string)
		out = append(out, name+" "+status)
		r.checkOutcome(i, status, o)
	}
	return out
}

// checkOutcome: what failed says so as a SCIM error, what did not says where it is (RFC 7644, section 3.7.3).
func (r *reply) checkOutcome(i int, status string, o map[string]any) {
	r.t.Helper()
	response, failed := o["response"].(map[string]any)
	if failed != (status >= "300") || failed && (response["status"] != status || response["detail"] == "" ||
		fmt.Sprint(response["schemas"]) != "[urn:ietf:params:scim:api:messages:2.0:Error]") {
		r.t.Errorf("operation %d: status %s with the response %v", i, status, o["response"])
	}
	if _, ok := o["location"].(string); !ok && !failed {
		r.t.Errorf("operation %d: no location in %v", i, o)
	}
}

func (r *reply) wantOutcome(want ...string) *reply {
	r.t.Helper()
	if diff := cmp.Diff(want, r.outcome()); diff != "" {
		r.t.Fatalf("outcome (-want +got):\n%s\n%s", diff, r.text)
	}
	return r
}

// made returns the id of what the i-th operation is on.
func (r *reply) made(i int) string {
	r.t.Helper()
	place, _ := r.at(fmt.Sprintf("Operations/%d/location", i)).(string)
	for _, endpoint := range []string{"/Users/", "/Groups/"} {
		if id, ok := strings.CutPrefix(place, location+endpoint); ok {
			return id
		}
	}
	r.t.Fatalf("operation %d has the location %q", i, place)
	return ""
}

func (e *endpoint) total(resource string) any {
	e.t.Helper()
	return e.do("GET", "/"+resource+"?count=0", "").want(200).at("totalResults")
}

func (e *endpoint) wantManager(user, manager string) {
	e.t.Helper()
	if got := e.do("GET", "/Users/"+user, "").want(200).at(enterpriseURN + "/manager/value"); got != manager {
		e.t.Errorf("manager %v, want %s", got, manager)
	}
}

// The methods in any letter case, paths in every form, references in paths and data; statuses, versions and locations
// as alone.
func TestRule15_BulkMixedMethods(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		old, staff := e.newUser("old"), e.newGroup("Staff")
		r := e.bulk(
			op("post", "/Users", "ann", person("ann")),
			op("POST", "Users", "bob", person("bob")),
			op("Put", "/Users/bulkId:ann", "", person("ann", `,"title":"Boss"`)),
			op("PATCH", "Users/bulkId:bob", "", patchOf(`{"op":"add","path":"`+enterpriseURN+`:manager","value":"bulkId:ann"}`)),
			op("patch", location+"/Groups/"+staff+"?attributes=displayName", "", patchOf(`{"op":"add","path":"members","value":[{"value":"bulkId:ann","$ref":"../Users/bulkId:ann"},{"value":"bulkId:bob"}]}`)),
			op("PATCH", "/scim/v2/Groups/"+staff+"/", "", patchOf(`{"op":"remove","path":"members[value eq \"bulkId:bob\"]"}`)),
			op("POST", "/Groups/", "crew", groupOf("Crew", "bulkId:bob", old)),
			op("delete", "//Users//"+old, "", ""),
		).wantOutcome("ann 201", "bob 201", "PUT 200", "PATCH 200", "PATCH 204", "PATCH 204", "crew 201", "DELETE 204")
		ann, bob, crew := r.made(0), r.made(1), r.made(6)
		r.has("Operations/0/method", "POST", "Operations/0/version", `W/"1"`, "Operations/2/location", location+"/Users/"+ann,
			"Operations/2/version", `W/"2"`, "Operations/3/method", "PATCH", "Operations/3/location", location+"/Users/"+bob,
			"Operations/4/location", location+"/Groups/"+staff, "Operations/7/location", location+"/Users/"+old,
			"Operations/7/version", nil)
		e.do("GET", "/Users/"+ann, "").want(200).has("title", "Boss", "userName", "ann@x.example")
		e.wantManager(bob, ann)
		if diff := cmp.Diff(set(ann), e.members(staff)); diff != "" {
			t.Error(diff)
		}
		if !e.members(crew)[bob] {
			t.Error("bob is not in Crew")
		}
		e.do("GET", "/Users/"+old, "").want(404)
	})
}

// The documents of RFC 7644, section 3.7.2, with what SCIM.md requires of a user.
func TestRule15_BulkReferencesOfTheRFC(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		r := e.bulk(
			op("POST", "/Users", "qwerty", person("alice")),
			op("POST", "/Groups", "ytrewq", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Tour Guides","members":[{"type":"User","value":"bulkId:qwerty"}]}`),
			op("POST", "/Users", "u:2", person("bob", managedBy("bulkId:qwerty"))),
		).wantOutcome("qwerty 201", "ytrewq 201", "u:2 201")
		alice := r.made(0)
		e.do("GET", "/Groups/"+r.made(1), "").want(200).has("members/0/value", alice, "members/0/$ref", location+"/Users/"+alice)
		e.wantManager(r.made(2), alice)

		// A $ref becomes the place of what it stands for.
		r = e.bulk(
			op("POST", "/Users", "boss", person("boss")),
			op("POST", "/Users", "a", person("a", `,"`+enterpriseURN+`":{"manager":{"value":"bulkId:boss","$ref":"bulkId:boss"}}`)),
			op("POST", "/Users", "b", person("b", `,"`+enterpriseURN+`":{"manager":{"value":"bulkId:boss","$ref":"../Users/bulkId:boss"}}`)),
		).wantOutcome("boss 201", "a 201", "b 201")
		boss := r.made(0)
		e.do("GET", "/Users/"+r.made(1), "").want(200).has(enterpriseURN+"/manager/$ref", location+"/Users/"+boss)
		e.do("GET", "/Users/"+r.made(2), "").want(200).has(enterpriseURN+"/manager/$ref", "../Users/"+boss, enterpriseURN+"/manager/value", boss)
	})
}

// What is referred to is made first, everything else as stated, and the answer is in the stated order.
func TestRule15_BulkForwardReferences(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		e.newUser("old")
		r := e.bulk(
			op("PATCH", "/Groups/bulkId:crew", "", patchOf(`{"op":"replace","path":"displayName","value":"Band"}`)),
			op("POST", "/Groups", "crew", groupOf("Crew", "bulkId:ann", "bulkId:bob")),
			op("POST", "/Users", "ann", person("ann", managedBy("bulkId:bob"))),
			op("POST", "/Users", "bob", person("bob", managedBy("bulkId:cat"))),
			op("POST", "/Users", "cat", person("cat")),
		).wantOutcome("PATCH 204", "crew 201", "ann 201", "bob 201", "cat 201")
		e.wantManager(r.made(2), r.made(3))
		e.wantManager(r.made(3), r.made(4))
		e.do("GET", "/Groups/"+r.made(0), "").want(200).has("displayName", "Band", "members/2", nil)
		if diff := cmp.Diff(set(r.made(2), r.made(3)), e.members(r.made(0))); diff != "" {
			t.Error(diff)
		}

		// The second operation empties what the first filled, although the first had to wait for the third.
		band := r.made(0)
		e.bulk(
			op("PATCH", "/Groups/"+band, "", patchOf(`{"op":"add","path":"members","value":[{"value":"bulkId:dan"}]}`)),
			op("PATCH", "/Groups/"+band, "", patchOf(`{"op":"remove","path":"members"}`)),
			op("POST", "/Users", "dan", person("dan")),
		).wantOutcome("PATCH 204", "PATCH 204", "dan 201")
		if diff := cmp.Diff(set(), e.members(band)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRule15_BulkCircularManagers(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		gone := e.newUser("gone", `,"active":false`)
		r := e.bulk(
			op("POST", "/Groups", "crew", groupOf("Crew", "bulkId:a", "bulkId:self")),
			op("POST", "/Users", "a", person("a", managedBy("bulkId:b"))),
			op("POST", "/Users", "self", person("self", managedBy("bulkId:self"))),
			op("POST", "/Users", "b", person("b", managedBy("bulkId:gone"))),
			op("POST", "/Users", "boss", person("boss")),
			op("POST", "/Users", "gone", person("gone", `,"`+enterpriseURN+`":{"manager":{"value":"bulkId:a"},"department":"bulkId:boss"}`)),
		).wantOutcome("crew 201", "a 201", "self 201", "b 201", "boss 201", "gone 201")
		a, b := r.made(1), r.made(3)
		e.wantManager(a, b)
		e.wantManager(b, gone)
		e.wantManager(gone, a)
		e.wantManager(r.made(2), r.made(2))
		e.do("GET", "/Users/"+gone, "").want(200).has("active", true, enterpriseURN+"/department", r.made(4))
		if r.made(5) != gone {
			t.Errorf("somebody else than %s was revived", gone)
		}
		r.has("Operations/1/version", `W/"1"`, "Operations/5/version", `W/"2"`)
		e.do("GET", "/Users/"+a, "").want(200).has("meta/version", `W/"1"`)
		if diff := cmp.Diff(set(a, r.made(2)), e.members(r.made(0))); diff != "" {
			t.Error(diff)
		}
	})
}

// A circle is there as it was asked for, or not at all, and each of its operations says why.
func TestRule15_BulkCircleThatFails(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		gone := e.newUser("gone", `,"active":false,"title":"before"`)
		e.newUser("taken")
		users := e.total("Users")
		for name, failing := range map[string]string{
			"409": person("taken", managedBy("bulkId:a")),
			"400": `{"userName":"b@x.example","` + enterpriseURN + `:manager":"bulkId:a"}`,
		} {
			r := e.bulk(
				op("POST", "/Users", "a", person("a", managedBy("bulkId:gone"))),
				op("POST", "/Users", "gone", person("gone", `,"title":"after"`+managedBy("bulkId:b"))),
				op("POST", "/Users", "b", failing),
				op("POST", "/Users", "dependent", person("d", managedBy("bulkId:a"))),
				op("POST", "/Users", "free", person("free"+name)),
			).wantOutcome("a 409", "gone 409", "b "+name, "dependent 409", "free 201")
			detail, _ := r.at("Operations/0/response/detail").(string)
			if !strings.Contains(detail, `"b"`) || !strings.Contains(detail, "nothing was made") {
				t.Errorf("detail %q", detail)
			}
			r.has("Operations/0/location", nil)
		}
		if got := e.total("Users"); got != users.(float64)+2 {
			t.Errorf("%v users, want two more than %v", got, users)
		}
		e.do("GET", "/Users/"+gone, "").want(200).has("active", false, "title", "before", "meta/version", `W/"1"`)

		// Nobody is found by a name that depends on who it is.
		e.bulk(
			op("POST", "/Users", "a", person("a", managedBy("bulkId:b"))),
			op("POST", "/Users", "b", person("b", `,"externalId":"bulkId:a"`)),
		).wantOutcome("a 409", "b 409")
		// A circle that needs something that failed fails with it.
		e.bulk(
			op("POST", "/Users", "bad", `{}`),
			op("POST", "/Users", "a", person("a", managedBy("bulkId:b"))),
			op("POST", "/Users", "b", person("b", managedBy("bulkId:a"), `,"title":"bulkId:bad"`)),
		).wantOutcome("bad 400", "a 409", "b 409")
	})
}

func TestRule15_BulkCircularGroups(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		r := e.bulk(
			op("POST", "/Groups", "qwerty", groupOf("Group A", "bulkId:ytrewq")),
			op("POST", "/Groups", "ytrewq", groupOf("Group B", "bulkId:qwerty")),
			op("POST", "/Groups", "self", groupOf("Group C", "bulkId:self")),
			op("POST", "/Groups", "outer", groupOf("Group D", "bulkId:qwerty")),
			op("POST", "/Groups", "free", groupOf("Group E", "bulkId:inner")),
			op("POST", "/Groups", "inner", groupOf("Group F")),
			op("PATCH", "/Groups/bulkId:inner", "", patchOf(`{"op":"add","path":"members","value":[{"value":"bulkId:free"}]}`)),
		).wantOutcome("qwerty 409", "ytrewq 409", "self 409", "outer 409", "free 201", "inner 201", "PATCH 400")
		r.has("Operations/0/location", nil)
		if diff := cmp.Diff(set(r.made(5)), e.members(r.made(4))); diff != "" {
			t.Error(diff)
		}
		if got := e.total("Groups"); got != 2.0 {
			t.Errorf("%v groups, want 2", got)
		}
	})
}

// A user may name a group that has her as a member: in "groups", which is read-only, or elsewhere, which is a circle.
func TestRule15_BulkUsersAndGroupsThatNameEachOther(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		r := e.bulk(
			op("POST", "/Users", "ann", person("ann", `,"groups":[{"value":"bulkId:crew"}]`)),
			op("POST", "/Groups", "crew", groupOf("Crew", "bulkId:ann")),
			op("POST", "/Groups", "staff", groupOf("Staff", "bulkId:bob", "bulkId:ann")),
			op("POST", "/Users", "bob", person("bob", `,"title":"bulkId:staff"`)),
		).wantOutcome("ann 201", "crew 201", "staff 201", "bob 201")
		e.do("GET", "/Users/"+r.made(0), "").want(200).has("groups/0/value", r.made(1))
		e.do("GET", "/Users/"+r.made(3), "").want(200).has("title", r.made(2), "groups/0/value", r.made(2))
		e.bulk(
			op("POST", "/Groups", "staff", groupOf("STAFF", "bulkId:cat")),
			op("POST", "/Users", "cat", person("cat", `,"title":"bulkId:staff"`)),
		).wantOutcome("staff 409", "cat 409").has("Operations/0/response/scimType", "uniqueness")
		if got := e.total("Users"); got != 2.0 {
			t.Errorf("%v users, want 2", got)
		}
	})
}

func TestRule15_BulkReferencesToNothing(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, staff := e.newUser("ann"), e.newGroup("Staff")
		r := e.bulk(
			op("POST", "/Groups", "crew", groupOf("Crew", ann, "bulkId:nobody")),
			op("PUT", "/Users/bulkId:nobody", "", person("x")),
			op("DELETE", "/Users/bulkId:ann", "", ""),
			op("POST", "/Users", "ann", person("ann")),
			op("PATCH", "/Groups/"+staff, "", patchOf(`{"op":"replace","path":"displayName","value":"New"},{"op":"add","path":"members","value":["bulkId:ann"]}`)),
			op("PATCH", "/Groups/"+staff, "", patchOf(`{"op":"remove","path":"members[value eq \"bulkId:nobody\"]"}`)),
			op("POST", "/Users", "bob", person("bob", managedBy("bulkId:ann"))),
			op("POST", "/Groups", "band", groupOf("Band", "bulkId:bob")),
			op("PUT", "/Users/bulkId:", "", person("x")),
		).wantOutcome("crew 409", "PUT 409", "DELETE 409", "ann 409", "PATCH 409", "PATCH 409", "bob 409", "band 409", "PUT 404")
		r.has("Operations/3/response/scimType", "uniqueness", "Operations/4/location", location+"/Groups/"+staff,
			"Operations/1/location", nil, "Operations/3/location", nil,
			"Operations/0/response/detail", `no operation has the bulkId "nobody" that this refers to`,
			"Operations/4/response/detail", `the operation with the bulkId "ann" that this refers to failed`)
		e.do("GET", "/Groups/"+staff, "").want(200).has("displayName", "Staff", "members/0", nil)
		if got := e.total("Groups"); got != 1.0 {
			t.Errorf("%v groups, want 1", got)
		}
	})
}

func TestRule15_BulkFailOnErrors(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		e.newUser("taken")
		operations := func(prefix string) string {
			return bulkOf(
				op("POST", "/Users", "a", person(prefix+"a")),
				op("POST", "/Users", "taken", person("taken")),
				op("POST", "/Users", "b", person(prefix+"b")),
				op("DELETE", "/Users/"+uuid.NewString(), "", ""),
				op("POST", "/Users", "c", person(prefix+"c")),
			)
		}
		for i, c := range []struct {
			failOnErrors string
			want         []string
		}{
			{"", []string{"a 201", "taken 409", "b 201", "DELETE 404", "c 201"}},
			{"0", []string{"a 201", "taken 409", "b 201", "DELETE 404", "c 201"}},
			{"-1", []string{"a 201", "taken 409", "b 201", "DELETE 404", "c 201"}},
			{"null", []string{"a 201", "taken 409", "b 201", "DELETE 404", "c 201"}},
			{"1", []string{"a 201", "taken 409"}},
			{"2", []string{"a 201", "taken 409", "b 201", "DELETE 404"}},
			{"3", []string{"a 201", "taken 409", "b 201", "DELETE 404", "c 201"}},
			{"999999999999", []string{"a 201", "taken 409", "b 201", "DELETE 404", "c 201"}},
		} {
			body := operations(fmt.Sprintf("n%d", i))
			if c.failOnErrors != "" {
				body = `{"failOnErrors":` + c.failOnErrors + "," + body[1:]
			}
			users := e.total("Users").(float64)
			e.do("POST", "/Bulk", body).want(200).wantOutcome(c.want...)
			made := float64(strings.Count(strings.Join(c.want, " "), "201"))
			if got := e.total("Users"); got != users+made {
				t.Errorf("failOnErrors %s: %v users, want %v", c.failOnErrors, got, users+made)
			}
		}
		// The errors count in the order in which operations are run.
		r := e.do("POST", "/Bulk", `{"failOnErrors":1,`+bulkOf(
			op("POST", "/Groups", "crew", groupOf("Crew", "bulkId:taken")),
			op("POST", "/Users", "late", person("late")),
			op("POST", "/Users", "taken", person("taken")),
		)[1:])
		r.want(200).wantOutcome("taken 409")
	})
}

func TestRule15_BulkVersion(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, staff := e.newUser("ann"), e.newGroup("Staff")
		title := func(s string) string { return patchOf(`{"op":"replace","path":"title","value":"` + s + `"}`) }
		r := e.bulk(
			op("PATCH", "/Users/"+ann, "", title("a"), `,"version":"W/\"1\""`),
			op("PATCH", "/Users/"+ann, "", title("b"), `,"version":"W/\"1\""`),
			op("PATCH", "/Users/"+ann, "", title("c"), `,"version":"2"`),
			op("PUT", "/Users/"+ann, "", person("ann"), `,"version":"nonsense"`),
			op("DELETE", "/Users/"+ann, "", "", `,"version":"W/\"9\""`),
			op("DELETE", "/Groups/"+staff, "", "", `,"version":"W/\"1\""`),
			op("POST", "/Users", "bob", person("bob"), `,"version":"W/\"7\""`),
			op("PATCH", "/Users/"+ann, "", title("d"), `,"version":null`),
		).wantOutcome("PATCH 200", "PATCH 412", "PATCH 200", "PUT 412", "DELETE 412", "DELETE 204", "bob 201", "PATCH 200")
		r.has("Operations/0/version", `W/"2"`, "Operations/1/version", nil, "Operations/1/location", location+"/Users/"+ann,
			"Operations/2/version", `W/"3"`, "Operations/7/version", `W/"4"`)
		e.do("GET", "/Users/"+ann, "").want(200).has("title", "d")
	})
}

// The headers of the bulk request are its own.
func TestRule15_BulkHeadersAreNotInherited(t *testing.T) {
	e := onSQLite(t)
	ann := e.newUser("ann")
	e.do("POST", "/Bulk", bulkOf(op("PATCH", "/Users/"+ann, "", patchOf(`{"op":"add","path":"title","value":"x"}`))), "If-Match", `W/"9"`).
		want(200).wantOutcome("PATCH 200")
	r := e.bulk(op("PUT", "/Users", "", "{}"), op("POST", "/Users", "b", person("bob")))
	for _, name := range []string{"Location", "Allow", "ETag", "Retry-After"} {
		if got := r.header.Get(name); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// What is wrong with one operation is its failure alone.
func TestRule15_BulkErrorsInside(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, unknown := e.newUser("ann"), uuid.NewString()
		deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
		for _, c := range []struct {
			operation string
			status    string
			scimType  string
			location  string
		}{
			{op("GET", "/Users/"+ann, "", ""), "400", "invalidValue", ""},
			{op("", "/Users", "b", person("bob")), "400", "invalidValue", ""},
			{`{"path":"/Users","bulkId":"b","data":{}}`, "400", "invalidValue", ""},
			{`{"method":5,"path":"/Users","bulkId":"b","data":{}}`, "400", "invalidSyntax", ""},
			{`{"method":"POST","path":["/Users"],"bulkId":"b","data":{}}`, "400", "invalidSyntax", ""},
			{`{"method":"POST","path":"/Users","bulkId":7,"data":{}}`, "400", "invalidSyntax", ""},
			{`{"method":"POST","bulkId":"b","data":{}}`, "400", "invalidValue", ""},
			{`{}`, "400", "invalidValue", ""},
			{op("POST", "/Users", "", person("bob")), "400", "invalidValue", ""},
			{op("POST", "/Users", "b", ""), "400", "invalidSyntax", ""},
			{op("POST", "/Users", "b", "[]"), "400", "invalidSyntax", ""},
			{op("POST", "/Users", "b", `"text"`), "400", "invalidSyntax", ""},
			{op("PATCH", "/Users/"+ann, "", ""), "400", "invalidSyntax", "/Users/" + ann},
			{op("PATCH", "/Users/"+ann, "", "{}"), "400", "invalidSyntax", "/Users/" + ann},
			{op("PATCH", "/Users/"+ann, "", patchOf(`{"op":"replace","path":"nope","value":1}`)), "400", "invalidPath", "/Users/" + ann},
			{op("PUT", "/Users/"+ann, "", person("ann"), `,"version":7`), "400", "invalidSyntax", ""},
			{op("POST", "/Users", "b", `{"userName":"b"}`), "400", "invalidValue", ""},
			{op("POST", "/Users", "b", person("bob", `,"title":"\u0000"`)), "400", "invalidValue", ""},
			{op("POST", "/Users", "b", person("bob", `,"x":1e999999`)), "400", "invalidValue", ""},
			{op("POST", "/Users", "b", deep), "400", "invalidSyntax", ""},
			{op("POST", "/Users", "b", person("ann")), "409", "uniqueness", ""},
			{op("POST", "/Users/"+ann, "b", person("bob")), "400", "invalidValue", ""},
			{op("POST", "/Users/.search", "b", "{}"), "400", "invalidValue", ""},
			{op("PUT", "/Users", "", person("bob")), "400", "invalidValue", ""},
			{op("DELETE", "/Users", "", ""), "400", "invalidValue", ""},
			{op("DELETE", "/Users/a/b", "", ""), "400", "invalidValue", ""},
			{op("DELETE", "/Users/"+unknown, "", ""), "404", "", "/Users/" + unknown},
			{op("DELETE", "/Users/a%20b%00", "", ""), "404", "", "/Users/a%20b%00"},
			{op("DELETE", "/Groups/"+ann, "", ""), "404", "", "/Groups/" + ann},
			{op("POST", "/Bulk", "b", bulkOf(op("POST", "/Users", "b", person("bob")))), "400", "invalidValue", ""},
			{op("PATCH", "/Me", "", patchOf(`{"op":"add","path":"title","value":"x"}`)), "400", "invalidValue", ""},
			{op("POST", "/.search", "b", "{}"), "400", "invalidValue", ""},
			{op("POST", "/Schemas", "b", "{}"), "400", "invalidValue", ""},
			{op("DELETE", "/ServiceProviderConfig", "", ""), "400", "invalidValue", ""},
			{op("POST", "/nowhere", "b", "{}"), "400", "invalidValue", ""},
			{op("POST", "", "b", "{}"), "400", "invalidValue", ""},
			{op("POST", "https://elsewhere.example/scim/v2/Users", "b", person("bob")), "400", "invalidValue", ""},
			{op("POST", "http://idpsync.example/scim/v2/Users", "b", person("bob")), "400", "invalidValue", ""},
			{op("POST", base+"/Users", "b", person("bob")), "400", "invalidValue", ""},
			{op("POST", "https://%zz/", "b", person("bob")), "400", "invalidValue", ""},
		} {
			r := e.bulk(c.operation, op("PATCH", "/Users/"+ann, "last", patchOf(`{"op":"add","path":"title","value":"Boss"}`)))
			outcome := r.outcome()
			if len(outcome) != 2 || !strings.HasSuffix(outcome[0], " "+c.status) || outcome[1] != "last 200" {
				t.Errorf("%.300s: %v, want %s and 200: %s", c.operation, outcome, c.status, r.text)
			}
			var place any
			if c.location != "" {
				place = location + c.location
			}
			var scimType any
			if c.scimType != "" {
				scimType = c.scimType
			}
			r.has("Operations/0/response/scimType", scimType, "Operations/0/location", place)
		}
		if got := e.total("Users"); got != 1.0 {
			t.Errorf("%v users, want 1", got)
		}
	})
}

// A bulkId that is stated twice stands for nothing, and neither operation is run.
func TestRule15_BulkIDsAreUnique(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		staff := e.newGroup("Staff")
		r := e.bulk(
			op("POST", "/Users", "x", person("ann")),
			op("POST", "/Users", "x", person("bob")),
			op("POST", "/Users", "X", person("cat")),
			op("PATCH", "/Groups/"+staff, "x", patchOf(`{"op":"add","path":"members","value":[{"value":"bulkId:x"}]}`)),
			op("PATCH", "/Groups/"+staff, "x", patchOf(`{"op":"add","path":"members","value":[{"value":"bulkId:X"}]}`)),
		).wantOutcome("x 400", "x 400", "X 201", "x 409", "x 204")
		r.has("Operations/0/response/scimType", "invalidValue")
		if diff := cmp.Diff(set(r.made(2)), e.members(staff)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRule15_BulkRequestsThatAreNone(t *testing.T) {
	e := onSQLite(t)
	for body, scimType := range map[string]string{
		`{}`:                                     "invalidSyntax",
		`[]`:                                     "invalidSyntax",
		`null`:                                   "invalidSyntax",
		`{"Operations":`:                         "invalidSyntax",
		`{"Operations":[{}]} {}`:                 "invalidSyntax",
		`{"Operations":{}}`:                      "invalidSyntax",
		`{"Operations":null}`:                    "invalidSyntax",
		`{"Operations":[1]}`:                     "invalidSyntax",
		`{"Operations":[null]}`:                  "invalidSyntax",
		`{"Operations":[[]]}`:                    "invalidSyntax",
		`{"Operations":[]}`:                      "invalidValue",
		"{\"Operations\":[{\"path\":\"\xff\"}]}": "invalidSyntax",
		`{"failOnErrors":"1","Operations":[{}]}`: "invalidValue",
		`{"failOnErrors":1.5,"Operations":[{}]}`: "invalidValue",
		`{"failOnErrors":[],"Operations":[{}]}`:  "invalidValue",
	} {
		e.do("POST", "/Bulk", body).want(400, scimType)
	}
	e.do("POST", "/Bulk", bulkOf(op("POST", "/Users", "a", person("ann"))), "Content-Type", "text/xml").want(415)
	e.do("GET", "/Bulk", "").want(405)
	e.do("POST", "/Bulk/1", "{}").want(404)
	// Names in any letter case, and no schemas.
	e.do("POST", "/Bulk", `{"operations":[{"METHOD":"POST","Path":"/Users","BulkID":"a","Data":`+person("ann")+`}]}`).want(200).wantOutcome("a 201")
}

func TestRule15_BulkLimits(t *testing.T) {
	e := onSQLite(t)
	operations := make([]string, 1001)
	for i := range operations {
		operations[i] = op("DELETE", "/Users/x", "", "")
	}
	r := e.do("POST", "/Bulk", bulkOf(operations...)).want(413, "")
	if detail, _ := r.at("detail").(string); !strings.Contains(detail, "maxOperations (1000)") {
		t.Errorf("detail %q", detail)
	}
	r = e.do("POST", "/Bulk", bulkOf(op("POST", "/Users", "a", person("ann", `,"title":"`+strings.Repeat("x", 1<<20)+`"`)))).want(413, "")
	if detail, _ := r.at("detail").(string); !strings.Contains(detail, "maxPayloadSize (1048576)") {
		t.Errorf("detail %q", detail)
	}
	if got := e.total("Users"); got != 0.0 {
		t.Errorf("%v users, want none", got)
	}
	e.do("GET", "/ServiceProviderConfig", "").want(200).has("bulk/supported", true, "bulk/maxOperations", 1000, "bulk/maxPayloadSize", float64(1048576))
	if got := len(e.bulk(operations[:1000]...).outcome()); got != 1000 {
		t.Errorf("%d outcomes, want 1000", got)
	}
}

// As many operations as there may be: users managed by each other along a line that ends where it began, in groups.
func TestRule15_BulkOfAThousand(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		var operations []string
		for g := range 10 {
			var members []string
			for i := range 99 {
				members = append(members, fmt.Sprintf("bulkId:u%d", g*99+i))
			}
			operations = append(operations, op("POST", "/Groups", fmt.Sprintf("g%d", g), groupOf(fmt.Sprintf("Group %d", g), members...)))
		}
		for i := range 990 {
			operations = append(operations, op("POST", "/Users", fmt.Sprintf("u%d", i), person(fmt.Sprintf("u%d", i), managedBy(fmt.Sprintf("bulkId:u%d", (i+1)%990)))))
		}
		r := e.bulk(operations...)
		for i, outcome := range r.outcome() {
			if !strings.HasSuffix(outcome, " 201") {
				t.Fatalf("operation %d: %s", i, outcome)
			}
		}
		if users, groups := e.total("Users"), e.total("Groups"); users != 990.0 || groups != 10.0 {
			t.Errorf("%v users in %v groups, want 990 in 10", users, groups)
		}
		e.wantManager(r.made(999), r.made(10))
		if got := len(e.members(r.made(9))); got != 99 {
			t.Errorf("%d members, want 99", got)
		}
	})
}

// A POST that brings somebody back answers with the id held, and references to it mean that one.
func TestRule15_BulkRevives(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann", `,"active":false`), e.newUser("bob")
		e.do("DELETE", "/Users/"+bob, "").want(204)
		r := e.bulk(
			op("POST", "/Groups", "crew", groupOf("Crew", "bulkId:ann", "bulkId:bob")),
			op("POST", "/Users", "ann", person("ann")),
			op("POST", "/Users", "bob", person("bob")),
		).wantOutcome("crew 201", "ann 201", "bob 201")
		if diff := cmp.Diff(set(ann, bob), e.members(r.made(0))); diff != "" || r.made(1) != ann || r.made(2) != bob {
			t.Errorf("revived %s and %s, want %s and %s\n%s", r.made(1), r.made(2), ann, bob, diff)
		}
	})
}

// Every operation is audited as one of the request, and one to the rate limit.
func TestRule15_BulkIsOneRequest(t *testing.T) {
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	each(t, func(t *testing.T, e *endpoint) {
		r := e.do("POST", "/Bulk?id=trace-7", bulkOf(
			op("POST", "/Users?id=other", "a", person("ann", managedBy("bulkId:b"))),
			op("POST", "/Users", "b", person("bob", managedBy("bulkId:a"))),
			op("POST", "/Groups", "g", groupOf("Staff")),
		)).want(200).wantOutcome("a 201", "b 201", "g 201")
		if got := r.header.Get("X-Request-Id"); got != "trace-7" {
			t.Errorf("X-Request-Id %s", got)
		}
		if got := r.header.Get("RateLimit-Remaining"); got != "19" {
			t.Errorf("RateLimit-Remaining %s, want 19", got)
		}
		events, err := e.store.Audit(t.Context(), store.AuditQuery{Limit: 100})
		if err != nil || len(events) < 3 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		for _, event := range events {
			if event.Actor.RequestID != "trace-7" || event.Actor.ID != "k1" {
				t.Errorf("%s by %+v", event.Type, event.Actor)
			}
		}
	}, func(o *scim.Options) { o.Now, o.RequestsPerMinute = c.Now, 20 })
}

// A client that goes away stops the rest; what panics is one operation.
func TestRule15_BulkThatIsCutShort(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		made := 0
		e := serve(t, s, func(o *scim.Options) {
			applier, err := lifecycle.New(lifecycle.Options{Store: s, NewID: func() string {
				made++
				return uuid.NewString()
			}, Now: func() time.Time {
				if made == 2 {
					made++
					panic("out of order")
				}
				return time.Now()
			}})
			if err != nil {
				t.Fatal(err)
			}
			o.Applier = applier
		})
		r := e.bulk(
			op("POST", "/Users", "a", person("a")), op("POST", "/Users", "b", person("b")),
			op("POST", "/Users", "c", person("c")), op("POST", "/Users", "d", person("d")),
		).wantOutcome("a 201", "b 201", "c 500", "d 201")
		detail, _ := r.at("Operations/2/response/detail").(string)
		if !strings.Contains(detail, r.header.Get("X-Request-Id")) || strings.Contains(r.text, "out of order") || !strings.Contains(e.log.String(), "out of order") {
			t.Errorf("detail %q, log %s", detail, e.log)
		}

		cancel()
		req := httptest.NewRequest("POST", "/scim/v2/Bulk", strings.NewReader(bulkOf(op("POST", "/Users", "e", person("e"))))).WithContext(ctx)
		req.Header.Set("Authorization", "Bearer good")
		e.send(req).want(200).wantOutcome("e 503")
		if got := e.total("Users"); got != 3.0 {
			t.Errorf("%v users, want 3", got)
		}
	})
}
