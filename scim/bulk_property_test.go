package scim_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// company is what a client wants to be there: users, each with a manager or none, and groups of users and of the groups
// before them. Managers may manage each other in circles.
type company struct {
	managers []int // of each user, -1 for none
	groups   [][]int
	within   [][]int // the groups that are in each group
	late     []bool  // whether a group's members come by PATCH
}

func drawCompany(t *rapid.T) company {
	users := rapid.IntRange(1, 7).Draw(t, "users")
	c := company{managers: make([]int, users)}
	for i := range c.managers {
		c.managers[i] = rapid.IntRange(-1, users-1).Draw(t, "manager")
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "groups") {
		c.groups = append(c.groups, rapid.SliceOfNDistinct(rapid.IntRange(0, users-1), 0, users, rapid.ID[int]).Draw(t, "members"))
		c.late = append(c.late, rapid.Bool().Draw(t, "late"))
		within := []int{}
		for j := range i {
			if rapid.Bool().Draw(t, "within") {
				within = append(within, j)
			}
		}
		c.within = append(c.within, within)
	}
	return c
}

// operations returns the company as one bulk request in stated order; prefix keeps it apart from others in the database.
func (c company) operations(prefix string) []string {
	var out []string
	for i, manager := range c.managers {
		more := ""
		if manager >= 0 {
			more = managedBy(fmt.Sprintf("bulkId:u%d", manager))
		}
		out = append(out, op("POST", "/Users", fmt.Sprintf("u%d", i), person(fmt.Sprintf("%s-u%d", prefix, i), more)))
	}
	for i, users := range c.groups {
		var members []string
		for _, u := range users {
			members = append(members, fmt.Sprintf("bulkId:u%d", u))
		}
		for _, g := range c.within[i] {
			members = append(members, fmt.Sprintf("bulkId:g%d", g))
		}
		id := fmt.Sprintf("g%d", i)
		name := prefix + "-" + id
		if c.late[i] {
			out = append(out, op("PATCH", "/Groups/bulkId:"+id, "", patchOf(`{"op":"add","path":"members","value":`+refsOf(members...)+`}`)))
			members = nil
		}
		out = append(out, op("POST", "/Groups", id, groupOf(name, members...)))
	}
	return out
}

// singly sends the company request by request, each after those whose ids it needs: of a circle, the managers come
// last.
func (c company) singly(e *endpoint, prefix string) {
	ids := make([]string, len(c.managers))
	for i := range c.managers {
		ids[i] = e.newUser(fmt.Sprintf("%s-u%d", prefix, i))
	}
	for i, manager := range c.managers {
		if manager >= 0 {
			e.patch("/Users/"+ids[i], `{"op":"add","path":"`+enterpriseURN+`:manager.value","value":"`+ids[manager]+`"}`).want(200)
		}
	}
	groups := make([]string, len(c.groups))
	for i, users := range c.groups {
		var members []string
		for _, u := range users {
			members = append(members, ids[u])
		}
		for _, g := range c.within[i] {
			members = append(members, groups[g])
		}
		groups[i] = e.newGroup(fmt.Sprintf("%s-g%d", prefix, i), members...)
	}
}

// state returns every resource of a company, ids written as names, without what no two resources have in common.
func (c company) state(e *endpoint, prefix string) map[string]any {
	all := map[string]any{}
	ids := []string{prefix + "-", ""}
	find := func(resource, attribute, name string) {
		r := e.do("GET", resource+"?filter="+url.QueryEscape(fmt.Sprintf("%s eq %q", attribute, prefix+"-"+name)), "").want(200).has("totalResults", 1)
		doc, _ := r.at("Resources/0").(map[string]any)
		delete(doc, "meta")
		ids = append(ids, fmt.Sprint(doc["id"]), name)
		all[name] = doc
	}
	for i := range c.managers {
		find("/Users", "userName", fmt.Sprintf("u%d@x.example", i))
	}
	for i := range c.groups {
		find("/Groups", "displayName", fmt.Sprintf("g%d", i))
	}
	text, _ := json.Marshal(all)
	return decodeText(e.t, strings.NewReplacer(ids...).Replace(string(text))).(map[string]any)
}

// In whatever order the operations of a bulk request come, what is there in the end is what single requests in the
// order of their references make.
func TestRule15_BulkInAnyOrderEndsAsSingleRequests(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		n := 0
		rapid.Check(t, func(rt *rapid.T) {
			n++
			c := drawCompany(rt)
			bulk, single := fmt.Sprintf("b%d", n), fmt.Sprintf("s%d", n)
			operations := rapid.Permutation(c.operations(bulk)).Draw(rt, "order")
			for _, outcome := range e.bulk(operations...).outcome() {
				if !strings.HasSuffix(outcome, " 201") && outcome != "PATCH 204" {
					rt.Fatalf("%s of\n%s", outcome, strings.Join(operations, "\n"))
				}
			}
			c.singly(e, single)
			if diff := cmp.Diff(c.state(e, single), c.state(e, bulk), membersInAnyOrder); diff != "" {
				rt.Fatalf("singly and in bulk (-single +bulk):\n%s\n%s", diff, strings.Join(operations, "\n"))
			}
		})
	})
}

// membersInAnyOrder compares the lists in resources, which come in the order of ids, as sets.
var membersInAnyOrder = cmp.Transformer("set", func(list []any) map[string]int {
	out := map[string]int{}
	for _, v := range list {
		text, _ := json.Marshal(v)
		out[string(text)]++
	}
	return out
})
