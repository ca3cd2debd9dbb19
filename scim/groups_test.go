package scim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func decodeText(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func set(ids ...string) map[string]bool {
	out := map[string]bool{}
	for _, id := range ids {
		out[id] = true
	}
	return out
}

func TestRule24_CreateGroup(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann")
		off := e.newUser("off", `,"active":false`)
		r := e.do("POST", "/Groups", fmt.Sprintf(`{"schemas":["x"],"DisplayName":"Staff","externalId":"00g1","members":[{"value":%q,"$ref":"x","display":"y"},{"value":%q}]}`, ann, off)).want(201)
		r.has("displayName", "Staff", "externalId", "00g1", "members/0/value", ann, "members/0/$ref", base+"/scim/v2/Users/"+ann,
			"members/0/type", "User", "members/0/display", "ann Lee", "members/1/value", off, "meta/resourceType", "Group",
			"meta/location", base+"/scim/v2/Groups/"+r.id())
		if r.header.Get("Location") != base+"/scim/v2/Groups/"+r.id() {
			t.Errorf("Location %q", r.header.Get("Location"))
		}
		for _, members := range []string{``, `,"members":[]`, `,"members":null`} {
			e.do("POST", "/Groups", `{"displayName":"G`+fmt.Sprint(len(members))+`"`+members+`}`).want(201).has("members/0", nil)
		}
		e.do("POST", "/Groups", `{"displayName":"STAFF"}`).want(409, "uniqueness")
		e.do("POST", "/Groups", `{"members":[]}`).want(400, "invalidValue").has("detail", "displayName is required")
		e.do("POST", "/Groups", `{"displayName":"  "}`).want(400, "invalidValue")
		e.do("POST", "/Groups", `{"displayName":7}`).want(400, "invalidValue")
		e.do("POST", "/Groups", `{"displayName":"`+strings.Repeat("x", 900)+`"}`).want(400, "invalidValue")
		e.do("POST", "/Groups", `{"displayName":"R","roles":[{"value":"admin"}]}`).want(400, "invalidValue")
	})
}

func TestRule24_UnknownMember(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann"), e.newUser("bob")
		group := e.newGroup("Staff", ann)
		for _, unknown := range []string{uuid.NewString(), "00u1", "a\tb", strings.ToUpper(bob)} {
			list := refsOf(bob, unknown)
			e.do("POST", "/Groups", `{"displayName":"New","members":`+list+`}`).want(400, "invalidValue")
			e.do("PUT", "/Groups/"+group, `{"displayName":"Crew","members":`+list+`}`).want(400, "invalidValue")
			e.patch("/Groups/"+group, `{"op":"replace","path":"displayName","value":"Crew"},{"op":"remove","path":"members"},{"op":"add","path":"members","value":`+list+`}`).want(400, "invalidValue")
			e.patch("/Groups/"+group, `{"op":"replace","path":"members","value":`+list+`}`).want(400, "invalidValue")
		}
		e.do("GET", "/Groups/"+group, "").want(200).has("displayName", "Staff", "members/0/value", ann, "members/1", nil)
		e.do("GET", "/Groups", "").want(200).has("totalResults", 1)
		// Removing somebody unknown is no error: nobody has to be there to be gone.
		e.patch("/Groups/"+group, `{"op":"remove","path":"members","value":[{"value":"00u1"}]}`).want(204)
	})
}

func TestRule25_PatchGroupAttributes(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		group := e.newGroup("Staff")
		e.newGroup("Crew")
		e.patch("/Groups/"+group, `{"op":"Replace","path":"displayName","value":"Team"},{"op":"add","path":"externalId","value":"e"}`).want(204)
		e.do("GET", "/Groups/"+group, "").want(200).has("displayName", "Team", "externalId", "e")
		e.patch("/Groups/"+group, `{"op":"replace","value":{"id":"`+group+`","displayName":"Band"}}`).want(204)
		e.patch("/Groups/"+group, `{"op":"replace","path":"displayName","value":"crew"}`).want(409, "uniqueness")
		e.patch("/Groups/"+group, `{"op":"add","path":"roles","value":[{"value":"admin"}]}`).want(400, "mutability")
		e.patch("/Groups/"+group, `{"op":"replace","value":{"description":"x"}}`).want(400, "mutability")
		e.patch("/Groups/"+group, `{"op":"replace","path":"displayName","value":"`+strings.Repeat("x", 900)+`"}`).want(400, "invalidValue")
		e.do("GET", "/Groups/"+group, "").want(200).has("displayName", "Band")
		e.patch("/Groups/"+uuid.NewString(), `{"op":"replace","path":"displayName","value":"x"}`).want(404)
	})
}

func TestRule26_PutGroup(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob, cat := e.newUser("ann"), e.newUser("bob"), e.newUser("cat")
		group := e.newGroup("Staff", ann, bob)
		put := func(members string) *reply {
			return e.do("PUT", "/Groups/"+group, `{"id":"`+group+`","displayName":"Staff"`+members+`}`).want(200)
		}
		put(`,"members":`+refsOf(bob, cat, bob)).has("members/0/value", bob, "members/1/value", cat, "members/2", nil)
		version := put(`,"members":` + refsOf(cat, bob)).at("meta/version")
		put(`,"members":`+refsOf(bob, cat)).has("meta/version", version)
		put(`,"members":`+refsOf(ann)).has("members/0/value", ann, "members/1", nil)
		put(``).has("members/0", nil)
		e.do("PUT", "/Groups/"+group, `{"members":[]}`).want(400, "invalidValue")
		e.do("PUT", "/Groups/"+uuid.NewString(), `{"displayName":"x"}`).want(404)
	})
}

func TestRule27_And32_MemberDeltas(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		a, b, c := e.newUser("a"), e.newUser("b"), e.newUser("c")
		group := e.newGroup("Staff", a, b)
		steps := []struct {
			ops  string
			want map[string]bool
		}{
			{`{"op":"Add","path":"members","value":[{"value":"` + c + `"}]}`, set(a, b, c)},
			{`{"op":"add","path":"members","value":[{"value":"` + c + `"}]}`, set(a, b, c)},
			{`{"op":"Remove","path":"members","value":[{"value":"` + a + `"}]}`, set(b, c)},
			{`{"op":"remove","path":"members","value":[]}`, set(b, c)},
			{`{"op":"remove","path":"members[value eq \"` + b + `\"]"}`, set(c)},
			{`{"op":"remove","path":"members[value eq \"` + c + `\"]"},{"op":"add","path":"members","value":[{"value":"` + a + `"}]}`, set(a)},
			{`{"op":"replace","path":"members","value":[{"value":"` + b + `"},{"value":"` + c + `"}]}`, set(b, c)},
			{`{"op":"replace","value":{"members":[{"value":"` + a + `"}]}}`, set(a)},
			{`{"op":"remove","path":"members"}`, set()},
			{`{"op":"add","path":"members","value":["` + a + `","` + b + `"]}`, set(a, b)},
		}
		for _, step := range steps {
			e.patch("/Groups/"+group, step.ops).want(204)
			if diff := cmp.Diff(step.want, e.members(group)); diff != "" {
				t.Errorf("%s:\n%s", step.ops, diff)
			}
		}
		version := e.do("GET", "/Groups/"+group, "").at("meta/version")
		e.patch("/Groups/"+group, `{"op":"add","path":"members","value":["`+a+`"]}`).want(204)
		e.do("GET", "/Groups/"+group, "").has("meta/version", version)
	})
}

func TestRule27_ParallelPatchesLoseNothing(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		const n = 50
		group := e.newGroup("Staff")
		ids := make([]string, n)
		for i := range ids {
			ids[i] = e.newUser(fmt.Sprintf("u%d", i))
		}
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() {
				if r := e.patch("/Groups/"+group, `{"op":"Add","path":"members","value":[{"value":"`+id+`"}]}`); r.status != 204 {
					t.Errorf("%d: %s", r.status, r.text)
				}
			})
		}
		wg.Wait()
		if diff := cmp.Diff(set(ids...), e.members(group)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRule28_DeleteGroupKeepsUsers(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann")
		group := e.newGroup("Staff", ann)
		e.do("DELETE", "/Groups/"+group, "").want(204)
		e.do("GET", "/Users/"+ann, "").want(200).has("groups/0", nil, "active", true)
		if e.newGroup("Staff") == group {
			t.Error("the id was given again")
		}
	})
}

// A group larger than a user's lists may be goes through PUT.
func TestRule26_ManyMembers(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann")
		ids := []string{ann}
		for range 1500 {
			ids = append(ids, uuid.NewString())
		}
		r := e.do("PUT", "/Groups/"+e.newGroup("Staff"), `{"displayName":"Staff","members":`+refsOf(ids...)+`}`).want(400, "invalidValue")
		if detail, _ := r.at("detail").(string); !strings.Contains(detail, "1495 more") || len(detail) > 400 {
			t.Errorf("detail %q", detail)
		}
	})
}
