package scim_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// mapped gives the endpoint a role mapping: "group=team:role" for each rule, and viewer on the group's own team.
func mapped(rules ...string) func(*scim.Options) {
	return func(o *scim.Options) {
		var list []roles.Rule
		for _, text := range rules {
			group, grant, _ := strings.Cut(text, "=")
			team, role, _ := strings.Cut(grant, ":")
			list = append(list, roles.Rule{Group: group, Grants: []identity.TeamRole{{Team: team, Role: role}}})
		}
		mapping, err := roles.Compile(roles.Options{Rules: list, DefaultRole: identity.RoleViewer})
		if err != nil {
			panic(err)
		}
		if o.Applier, err = lifecycle.New(lifecycle.Options{Store: o.Store, Mapping: mapping}); err != nil {
			panic(err)
		}
	}
}

// access lists what a user may do, as "team:role by reason", sorted.
func (e *endpoint) access(user string) []string {
	e.t.Helper()
	grants, err := e.store.EffectiveGrants(e.t.Context(), user)
	if err != nil {
		e.t.Fatal(err)
	}
	list := []string{}
	for _, g := range grants {
		by := g.SourceName
		if g.Kind != identity.GrantGroup {
			by = string(g.Kind)
		}
		list = append(list, fmt.Sprintf("%s:%s by %s", g.TeamName, g.Role, by))
	}
	slices.Sort(list)
	return list
}

func (e *endpoint) wantAccess(user string, want ...string) {
	e.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), e.access(user)); diff != "" {
		e.t.Errorf("access (-want +got):\n%s", diff)
	}
}

func (e *endpoint) wantTeams(want ...string) {
	e.t.Helper()
	teams, err := e.store.Teams(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	var names []string
	for _, team := range teams {
		names = append(names, team.Name)
	}
	if diff := cmp.Diff(want, names); diff != "" {
		e.t.Errorf("teams (-want +got):\n%s", diff)
	}
}

func (e *endpoint) wantMembers(group string, want ...string) {
	e.t.Helper()
	if diff := cmp.Diff(set(want...), e.members(group)); diff != "" {
		e.t.Errorf("members (-want +got):\n%s", diff)
	}
}

func add(ids ...string) string {
	return `{"op":"add","path":"members","value":` + refsOf(ids...) + `}`
}

func remove(ids ...string) string {
	return `{"op":"remove","path":"members","value":` + refsOf(ids...) + `}`
}

func TestRule24_MembersAreUsersOrGroups(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann"), e.newUser("bob")
		inner := e.newGroup("Inner", bob)
		// What a client says of a member besides its id is not believed.
		body := fmt.Sprintf(`{"displayName":"Outer","members":[{"value":%q,"type":"User","$ref":"https://x.example/Users/1","display":"?"},{"value":%q,"type":"Group"}]}`, inner, ann)
		r := e.do("POST", "/Groups", body).want(201)
		outer := r.id()
		shown := []any{
			"members/0/value", ann, "members/0/type", "User", "members/0/display", "ann Lee", "members/0/$ref", base + "/scim/v2/Users/" + ann,
			"members/1/value", inner, "members/1/type", "Group", "members/1/display", "Inner", "members/1/$ref", base + "/scim/v2/Groups/" + inner,
			"members/2", nil,
		}
		r.has(shown...)
		e.do("GET", "/Groups/"+outer, "").want(200).has(shown...)
		if _, there := e.do("GET", "/Groups/"+outer+"?excludedAttributes=members", "").want(200).doc["members"]; there {
			t.Error("members are there although they are excluded")
		}
		e.do("GET", "/Groups", "").want(200).has("Resources/0/members/0/type", "User", "Resources/1/members/1/type", "Group")

		// Users come first, then groups, each in the order in which they came to be.
		later := e.newGroup("A later one")
		e.patch("/Groups/"+outer, add(later, bob)).want(204)
		e.do("GET", "/Groups/"+outer, "").want(200).has("members/0/value", ann, "members/1/value", bob, "members/2/value", inner, "members/3/value", later)
		// Who is deactivated stays a member; what is deleted does not.
		e.patch("/Users/"+ann, `{"op":"replace","path":"active","value":false}`).want(200)
		e.wantMembers(outer, ann, bob, inner, later)
		version := e.do("GET", "/Groups/"+outer, "").at("meta/version")
		e.do("DELETE", "/Groups/"+later, "").want(204)
		e.wantMembers(outer, ann, bob, inner)
		if after := e.do("GET", "/Groups/"+outer, "").at("meta/version"); after == version {
			t.Errorf("version %v, though a member is gone", after)
		}
	})
}

func TestRule24_NoCycles(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann")
		inner := e.newGroup("Inner")
		middle := e.newGroup("Middle", inner)
		outer := e.newGroup("Outer", middle)
		for _, member := range []string{outer, middle, inner} {
			for _, r := range []*reply{
				e.patch("/Groups/"+inner, `{"op":"replace","path":"displayName","value":"Renamed"},`+add(ann, member)),
				e.patch("/Groups/"+inner, `{"op":"replace","path":"members","value":`+refsOf(ann, member)+`}`),
				e.do("PUT", "/Groups/"+inner, `{"displayName":"Renamed","members":`+refsOf(ann, member)+`}`),
			} {
				r.want(400, "invalidValue")
				for _, id := range []string{inner, member} {
					if detail, _ := r.at("detail").(string); !strings.Contains(detail, id) {
						t.Errorf("detail %q, want %s in it", detail, id)
					}
				}
			}
		}
		e.do("GET", "/Groups/"+inner, "").want(200).has("displayName", "Inner", "members/0", nil, "meta/version", `W/"1"`)
		e.patch("/Groups/"+outer, remove(middle)).want(204)
		e.patch("/Groups/"+inner, add(outer)).want(204)
	})
}

func TestRule24_ParallelRequestsCloseNoCycle(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		const n = 8
		var ring [n]string
		for i := range ring {
			ring[i] = e.newGroup(fmt.Sprint("G", i))
		}
		var (
			wg      sync.WaitGroup
			mu      sync.Mutex
			refused int
		)
		for i := range ring {
			wg.Go(func() {
				r := e.patch("/Groups/"+ring[i], add(ring[(i+1)%n]))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case r.status == 400:
					refused++
				case r.status != 204:
					t.Errorf("%d: %s", r.status, r.text)
				}
			})
		}
		wg.Wait()
		if refused != 1 {
			t.Errorf("%d of %d were refused, want one", refused, n)
		}
	})
}

func TestRule24_UnknownNestedMember(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		inner := e.newGroup("Inner")
		group := e.newGroup("Staff", inner)
		other := e.newGroup("Other")
		for _, unknown := range []string{uuid.NewString(), "00g1", "A" + other[1:]} {
			list := refsOf(other, unknown)
			for _, r := range []*reply{
				e.do("POST", "/Groups", `{"displayName":"New","members":`+list+`}`),
				e.do("PUT", "/Groups/"+group, `{"displayName":"Crew","members":`+list+`}`),
				e.patch("/Groups/"+group, `{"op":"replace","path":"displayName","value":"Crew"},{"op":"remove","path":"members"},`+add(other, unknown)),
			} {
				r.want(400, "invalidValue")
				if detail, _ := r.at("detail").(string); !strings.Contains(detail, unknown) || strings.Contains(detail, other) {
					t.Errorf("detail %q, want the unknown one in it, alone", detail)
				}
			}
		}
		e.do("GET", "/Groups/"+group, "").want(200).has("displayName", "Staff", "members/0/value", inner, "members/1", nil, "meta/version", `W/"1"`)
		e.do("GET", "/Groups", "").want(200).has("totalResults", 3)
		e.patch("/Groups/"+group, remove(uuid.NewString(), other)).want(204)
	})
}

func TestRule32_NestedMemberDeltas(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, a, b, c := e.newUser("ann"), e.newGroup("A"), e.newGroup("B"), e.newGroup("C")
		group := e.newGroup("Staff", ann, a, b)
		for _, step := range []struct {
			ops  string
			want []string
		}{
			{add(c), []string{ann, a, b, c}},
			{remove(a), []string{ann, b, c}},
			{`{"op":"remove","path":"members","value":[]}`, []string{ann, b, c}},
			{`{"op":"Remove","path":"members[value eq \"` + b + `\"]"}`, []string{ann, c}},
			{remove(ann, c) + "," + add(a), []string{a}},
			{`{"op":"remove","path":"members[value eq \"` + a + `\"]"},` + add(ann, b), []string{ann, b}},
			{`{"op":"replace","path":"members","value":[{"value":"` + c + `","type":"Group","$ref":"../Groups/` + c + `"}]}`, []string{c}},
			{`{"op":"replace","value":{"members":` + refsOf(a, ann) + `}}`, []string{a, ann}},
			{`{"op":"remove","path":"members"}`, nil},
			{`{"op":"add","path":"members","value":["` + a + `","` + ann + `"]}`, []string{a, ann}},
			{add(a, ann), []string{a, ann}},
		} {
			before, old := e.members(group), e.do("GET", "/Groups/"+group, "").at("meta/version")
			e.patch("/Groups/"+group, step.ops).want(204)
			e.wantMembers(group, step.want...)
			changed := cmp.Diff(before, set(step.want...)) != ""
			if version := e.do("GET", "/Groups/"+group, "").at("meta/version"); changed != (version != old) {
				t.Errorf("%s: version %v after %v", step.ops, version, old)
			}
		}
	})
}

// Okta reads a group and puts all of it back.
func TestRule26_PutWhatWasRead(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, inner := e.newUser("ann"), e.newGroup("Inner")
		r := e.do("GET", "/Groups/"+e.newGroup("Staff", ann, inner), "").want(200)
		again := e.do("PUT", "/Groups/"+r.id(), r.text).want(200)
		if diff := cmp.Diff(r.doc, again.doc); diff != "" {
			t.Errorf("a PUT of what was read (-want +got):\n%s", diff)
		}
		e.do("PUT", "/Groups/"+r.id(), `{"displayName":"Staff","roles":["admin"]}`).want(400, "invalidValue")
		e.do("PUT", "/Groups/"+r.id(), `{"displayName":"inner"}`).want(409, "uniqueness")
		e.do("GET", "/Groups/"+uuid.NewString(), "").want(404)
	})
}

// Twenty thousand ids fill a body of 1 MiB: the largest group that one PUT can state.
func TestRule26_PutTwentyThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("it is about size")
	}
	each(t, func(t *testing.T, e *endpoint) {
		const n = 20_000
		ids, users := make([]string, n), make([]identity.User, n)
		for i := range users {
			ids[i] = uuid.NewString()
			users[i] = identity.User{ID: ids[i], UserName: fmt.Sprintf("u%d@x.example", i), Active: true, Origin: identity.OriginSSO, Version: 1}
		}
		if err := e.store.InTx(t.Context(), func(tx *store.Tx) error { return tx.InsertUsers(t.Context(), users) }); err != nil {
			t.Fatal(err)
		}
		inner := e.newGroup("Inner")
		group := e.newGroup("Staff", ids[0], inner)
		for _, size := range []int{n, n, n / 2} {
			r := e.do("PUT", "/Groups/"+group+"?excludedAttributes=members", `{"displayName":"Staff","members":`+refsOf(append(ids[:size:size], inner)...)+`}`).want(200)
			held, err := e.store.Group(t.Context(), group)
			if err != nil || held.MemberCount != size || fmt.Sprintf(`W/"%d"`, held.Version) != r.at("meta/version") {
				t.Errorf("%d members at version %d (%v), want %d at %v", held.MemberCount, held.Version, err, size, r.at("meta/version"))
			}
		}
		list, _ := e.do("GET", "/Groups/"+group, "").want(200).at("members").([]any)
		if len(list) != n/2+1 {
			t.Errorf("%d members, want %d", len(list), n/2+1)
		}
	})
}

func TestRule19_GroupsByNestingAreIndirect(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann"), e.newUser("bob")
		inner := e.newGroup("C inner", ann)
		middle := e.newGroup("B middle", inner)
		outer := e.newGroup("A outer", middle, bob)
		shown := []any{
			"groups/0/value", outer, "groups/0/type", "indirect", "groups/0/display", "A outer", "groups/0/$ref", base + "/scim/v2/Groups/" + outer,
			"groups/1/value", middle, "groups/1/type", "indirect", "groups/2/value", inner, "groups/2/type", "direct", "groups/3", nil,
		}
		e.do("GET", "/Users/"+ann, "").want(200).has(shown...)
		e.do("GET", "/Users?filter=userName+eq+%22ann@x.example%22", "").want(200).has("Resources/0/groups/0/type", "indirect", "Resources/0/groups/2/type", "direct")
		e.do("GET", "/Users/"+bob, "").want(200).has("groups/0/value", outer, "groups/0/type", "direct", "groups/1", nil)
		// Who is a member of the outer group too is so directly.
		e.patch("/Groups/"+outer, add(ann)).want(204)
		e.do("GET", "/Users/"+ann, "").want(200).has("groups/0/type", "direct", "groups/1/type", "indirect", "groups/2/type", "direct", "groups/3", nil)
	})
}

func TestRule24_FilterByNestedMember(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann"), e.newUser("bob")
		e.newUser("eve")
		inner := e.newGroup("Inner", ann)
		middle := e.newGroup("Middle", inner, bob)
		outer := e.newGroup("Outer", middle)
		find := func(endpoint, filter string, want ...string) {
			t.Helper()
			r := e.do("GET", endpoint+"?filter="+strings.NewReplacer(" ", "+", `"`, "%22").Replace(filter), "").want(200)
			found := map[string]bool{}
			list, _ := r.at("Resources").([]any)
			for _, v := range list {
				found[v.(map[string]any)["id"].(string)] = true
			}
			if diff := cmp.Diff(set(want...), found); diff != "" || fmt.Sprint(r.at("totalResults")) != fmt.Sprint(len(want)) {
				t.Errorf("%s %s, %v in all (-want +got):\n%s", endpoint, filter, r.at("totalResults"), diff)
			}
		}
		find("/Groups", `members.value eq "`+inner+`"`, middle)
		find("/Groups", `members[value eq "`+middle+`"]`, outer)
		find("/Groups", `members.value eq "`+ann+`"`, inner)
		find("/Groups", `members.value eq "`+outer+`"`)
		find("/Groups", `members.value eq "`+bob+`" and displayName eq "middle"`, middle)
		// As GET shows them: members of the group, and of those in it.
		find("/Users", `groups.value eq "`+inner+`"`, ann)
		find("/Users", `groups.value eq "`+middle+`"`, ann, bob)
		find("/Users", `groups.value eq "`+outer+`"`, ann, bob)
		find("/Users", `groups[value eq "`+outer+`"] and userName eq "bob@x.example"`, bob)
		find("/Users", `groups.value eq "`+uuid.NewString()+`"`)
	})
}

func TestRule28_DeleteGroup(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann")
		inner := e.newGroup("Inner", ann)
		middle := e.newGroup("Middle", inner)
		outer := e.newGroup("Outer", middle)
		e.wantAccess(ann, "Inner:viewer by Inner", "Middle:viewer by Middle", "Outer:viewer by Outer", "Payments:operator by Middle", "root:operator by Outer")
		// The group between goes with its team, its grants, its mapping's effect and what passed through it.
		e.do("DELETE", "/Groups/"+middle, "").want(204)
		e.do("GET", "/Groups/"+middle, "").want(404)
		e.wantAccess(ann, "Inner:viewer by Inner")
		e.wantTeams("root", "Inner", "Outer")
		e.wantMembers(outer)
		e.wantMembers(inner, ann)
		e.do("GET", "/Users/"+ann, "").want(200).has("active", true, "groups/0/value", inner, "groups/1", nil)
		e.do("DELETE", "/Groups/"+middle, "").want(404)
	}, mapped("middle=Payments:operator", "outer=root:operator"))
}

// A team on which somebody holds a grant of another kind outlives its group, and so does that grant.
func TestRule28_TeamOfOthers(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann"), e.newUser("bob")
		staff := e.newGroup("Staff", ann)
		team, err := e.store.TeamByName(t.Context(), "staff")
		if err != nil {
			t.Fatal(err)
		}
		err = e.store.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.PutGrant(t.Context(), identity.Grant{UserID: bob, TeamID: team.ID, Role: identity.RoleOperator, Kind: identity.GrantManual}, team.Created)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		e.do("DELETE", "/Groups/"+staff, "").want(204)
		e.wantAccess(ann)
		e.wantAccess(bob, "Staff:operator by manual")
		e.wantTeams("root", "Staff")
	}, mapped())
}

func TestRule29_RolesComeWithTheMembership(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann", `,"roles":["viewer"]`), e.newUser("bob")
		one := e.newGroup("One", ann)
		two := e.newGroup("Two", ann)
		direct := "root:viewer by direct"
		byOne := []string{"One:viewer by One", "Payments:operator by One"}
		byTwo := []string{"Payments:operator by Two", "Two:viewer by Two"}
		union := slices.Sorted(slices.Values(append(slices.Concat(byOne, byTwo), direct)))
		e.wantAccess(ann, union...)
		e.wantAccess(bob)

		// What fails changes neither the membership nor a role.
		for _, fail := range []func() *reply{
			func() *reply { return e.patch("/Groups/"+one, add(bob)+","+add(uuid.NewString())) },
			func() *reply { return e.patch("/Groups/"+one, remove(ann)+","+add(one)) },
			func() *reply {
				return e.patch("/Groups/"+one, remove(ann)+`,{"op":"replace","path":"displayName","value":""}`)
			},
			func() *reply {
				return e.do("PUT", "/Groups/"+one, `{"displayName":"One","members":`+refsOf(bob, "nobody")+`}`)
			},
		} {
			fail().want(400, "invalidValue")
			e.wantMembers(one, ann)
			e.wantAccess(ann, union...)
			e.wantAccess(bob)
		}
		// The role is held until the last of its reasons goes; the direct one stands beside.
		e.patch("/Groups/"+one, remove(ann)).want(204)
		e.wantAccess(ann, append(slices.Clone(byTwo), direct)...)
		e.patch("/Groups/"+one, add(bob)).want(204)
		e.wantAccess(bob, byOne...)
		e.do("DELETE", "/Groups/"+two, "").want(204)
		e.wantAccess(ann, direct)
		// A rename brings another rule's grants.
		e.patch("/Groups/"+one, `{"op":"replace","path":"displayName","value":"Three"}`).want(204)
		e.wantAccess(bob, "Three:viewer by Three", "root:operator by Three")
	}, mapped("one=Payments:operator", "two=Payments:operator", "three=root:operator"))
}

func TestRule29_RolesFlowThroughNesting(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann, bob := e.newUser("ann"), e.newUser("bob")
		inner, outer := e.newGroup("Inner", ann), e.newGroup("Outer", bob)
		inside := []string{"Inner:viewer by Inner"}
		both := append(slices.Clone(inside), "Outer:viewer by Outer", "Payments:operator by Outer")
		e.wantAccess(ann, inside...)
		e.patch("/Groups/"+outer, add(inner)).want(204)
		e.wantAccess(ann, both...)
		e.wantAccess(bob, "Outer:viewer by Outer", "Payments:operator by Outer")
		// A member of both has each reason once, and keeps it until the last way goes.
		e.patch("/Groups/"+outer, add(ann)).want(204)
		e.wantAccess(ann, both...)
		e.patch("/Groups/"+outer, remove(inner)).want(204)
		e.wantAccess(ann, both...)
		e.patch("/Groups/"+outer, remove(ann)).want(204)
		e.wantAccess(ann, inside...)
		e.patch("/Groups/"+outer, add(inner)).want(204)
		e.patch("/Groups/"+inner, remove(ann)+","+add(bob)).want(204)
		e.wantAccess(ann)
		e.wantAccess(bob, both...)
	}, mapped("outer=Payments:operator"))
}

// The audit log tells of nested members as of users.
func TestRule29_NestedMembersAreAudited(t *testing.T) {
	e := onSQLite(t)
	inner := e.newGroup("Inner")
	outer := e.newGroup("Outer", inner)
	e.patch("/Groups/"+outer, remove(inner)).want(204)
	events, err := e.store.Audit(t.Context(), store.AuditQuery{ObjectID: outer, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, event := range events {
		members, _ := json.Marshal(event.Members)
		got = append(got, string(event.Type)+" "+string(members))
	}
	want := []string{`membership.removed ["` + inner + `"]`, `membership.added ["` + inner + `"]`, "group.created []"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}
