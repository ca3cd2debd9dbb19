package entratest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

func TestFirstRoundLeavesOutWhatWasNeverSet(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	id := tenant.AddUser(item{"userPrincipalName": "a@acme.test", "displayName": "A", "jobTitle": "Clerk"})
	tenant.UpdateUser(id, item{"jobTitle": nil})
	_, items := round(t, tenant, "/users/delta?$select=displayName,jobTitle,department,businessPhones,manager")
	want := []item{{"id": id, "displayName": "A", "jobTitle": nil, "businessPhones": []any{}}}
	if diff := cmp.Diff(want, items); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFormsOfTheDeltaQuery(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(2, 1, 2)
	for _, path := range []string{"/users/delta", "/users/delta()", "/users/microsoft.graph.delta()", "/users/microsoft.graph.delta", "/users/delta()?%24select=displayName"} {
		link, items := round(t, tenant, path)
		if len(items) != 2 || !strings.HasPrefix(link, root+"/users/delta?$deltatoken=") {
			t.Errorf("%s: %d items, %s", path, len(items), link)
		}
	}
	pages, items := list(t, tenant, "/users/delta")
	if got := keys(items[1]); !strings.Contains(got, "manager@delta") || strings.Contains(got, "department") || pages[0].Context != root+"/$metadata#users" {
		t.Errorf("without $select: %s in %s", got, pages[0].Context)
	}
	if pages, _ := list(t, tenant, "/users/delta?$select=id,manager"); pages[0].Context != root+"/$metadata#users(id,manager)" {
		t.Errorf("context = %s", pages[0].Context)
	}
}

func TestChangesOfManagers(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	a, b := tenant.AddUser(nil), tenant.AddUser(nil)
	worker := tenant.AddUser(item{"manager": a})
	link, items := round(t, tenant, "/users/delta?$select=manager")
	one := func(id string) item { return item{"@odata.type": "#microsoft.graph.user", "id": id} }
	left := func(id string) item {
		return item{"@odata.type": "#microsoft.graph.user", "id": id, "@removed": item{"reason": "deleted"}}
	}
	if diff := cmp.Diff([]item{{"id": a}, {"id": b}, {"id": worker, "manager@delta": []any{one(a)}}}, items); diff != "" {
		t.Errorf("first round (-want +got):\n%s", diff)
	}
	steps := []struct {
		name    string
		do      func()
		manager []any // nil for no key
	}{
		{"another one", func() { tenant.UpdateUser(worker, item{"manager": b}) }, []any{left(a), one(b)}},
		{"the same one", func() { tenant.UpdateUser(worker, item{"manager": b}) }, nil},
		{"none", func() { tenant.UpdateUser(worker, item{"manager": nil}) }, []any{left(b)}},
		{"one again", func() { tenant.UpdateUser(worker, item{"manager": a}) }, []any{one(a)}},
		{"there and back", func() {
			tenant.UpdateUser(worker, item{"manager": b})
			tenant.UpdateUser(worker, item{"manager": a})
		}, []any{one(a)}},
		{"deleted", func() { tenant.DeleteUser(a) }, []any{left(a)}},
		{"restored", func() { tenant.RestoreUser(a) }, []any{one(a)}},
	}
	for _, step := range steps {
		step.do()
		link, items = round(t, tenant, link)
		var got []any
		for _, i := range items {
			if i["id"] == worker {
				got = i["manager@delta"].([]any)
			}
		}
		if diff := cmp.Diff(step.manager, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestUnselectedChangesDoNotAppear(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	boss, id := tenant.AddUser(nil), tenant.AddUser(item{"displayName": "A", "jobTitle": "Clerk", "department": "Sales"})
	link, _ := round(t, tenant, "/users/delta?$select=displayName,jobTitle")
	tenant.UpdateUser(id, item{"department": "Legal", "manager": boss})
	link, items := round(t, tenant, link)
	if len(items) != 0 {
		t.Errorf("unselected changes: %v", items)
	}
	tenant.UpdateUser(id, item{"jobTitle": nil})
	minimal, items := round(t, tenant, link, "Prefer", "return=minimal")
	if diff := cmp.Diff([]item{{"id": id, "jobTitle": nil}}, items); diff != "" {
		t.Errorf("minimal (-want +got):\n%s", diff)
	}
	if _, items := round(t, tenant, link); !cmp.Equal(items, []item{{"id": id, "displayName": "A", "jobTitle": nil}}) {
		t.Errorf("the same link again = %v, want all that is selected", items)
	}
	if w := get(t, tenant, minimal, "Prefer", "return=minimal"); w.Header().Get("Preference-Applied") != "return=minimal" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestDeltaPages(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(450, 1, 0)
	for _, c := range []struct {
		prefer string
		pages  int
	}{{"", 3}, {"odata.maxpagesize=100", 5}, {"odata.maxpagesize=999", 3}, {"return=minimal,odata.maxpagesize=150", 3}} {
		pages, items := list(t, tenant, "/users/delta?$select=id", "Prefer", c.prefer)
		if len(pages) != c.pages || len(items) != 450 {
			t.Errorf("Prefer %q: %d items on %d pages, want %d", c.prefer, len(items), len(pages), c.pages)
		}
		if next := pages[0].Next; !strings.HasPrefix(next, root+"/users/delta?$skiptoken=") {
			t.Errorf("next link %s", next)
		}
	}
	link, _ := round(t, tenant, "/users/delta?$select=displayName")
	for _, u := range tenant.Users() {
		tenant.UpdateUser(u.ID, item{"displayName": "All new"})
	}
	if pages, items := list(t, tenant, link); len(pages) != 3 || len(items) != 450 {
		t.Errorf("%d changes on %d pages", len(items), len(pages))
	}
}

func TestChangesDuringTheRoundAreInTheNext(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{DeltaPage: 10}
	tenant.Fill(25, 1, 25)
	people := tenant.Users()
	p := decode[page](t, get(t, tenant, "/users/delta?$select=displayName"))
	tenant.UpdateUser(people[0].ID, item{"displayName": "Read already"})
	tenant.UpdateUser(people[20].ID, item{"displayName": "Not yet"})
	late := tenant.AddUser(nil)
	link, rest := round(t, tenant, p.Next)
	if len(rest) != 16 {
		t.Errorf("%d more, want 16", len(rest))
	}
	_, changed := round(t, tenant, link)
	if want := []string{people[0].ID, people[20].ID, late}; !cmp.Equal(ids(changed), want) {
		t.Errorf("next round = %v, want %v", ids(changed), want)
	}
}

func TestLatest(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(10, 1, 10)
	link, items := round(t, tenant, "/users/delta?$deltatoken=latest&$select=displayName")
	if len(items) != 0 {
		t.Errorf("latest = %v", items)
	}
	id := tenant.AddUser(item{"displayName": "New", "jobTitle": "Clerk"})
	if _, items := round(t, tenant, link); !cmp.Equal(items, []item{{"id": id, "displayName": "New"}}) {
		t.Errorf("since then = %v", items)
	}
}

func TestDeltaOfSomeIDs(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	a, b, c := tenant.AddUser(nil), tenant.AddUser(nil), tenant.AddUser(nil)
	link, items := round(t, tenant, "/users/delta?$select=displayName&$filter=id+eq+'"+a+"'+or+id+eq+'"+b+"'")
	if want := []string{a, b}; !cmp.Equal(ids(items), want) {
		t.Errorf("first round = %v, want %v", ids(items), want)
	}
	tenant.UpdateUser(b, item{"displayName": "B"})
	tenant.UpdateUser(c, item{"displayName": "C"})
	if _, items := round(t, tenant, link); !cmp.Equal(ids(items), []string{b}) {
		t.Errorf("changes = %v", ids(items))
	}
	if status, _ := code(t, get(t, tenant, "/users/delta?$filter=id+eq+'x'"+strings.Repeat("+or+id+eq+'x'", 50))); status != http.StatusBadRequest {
		t.Errorf("51 ids: status %d", status)
	}
}

func TestRemovedUsers(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{false, true} {
		tenant := &entratest.Tenant{RemovedAtFirst: told}
		soft, hard, there := tenant.AddUser(nil), tenant.AddUser(nil), tenant.AddUser(nil)
		link, _ := round(t, tenant, "/users/delta?$select=displayName")
		tenant.DeleteUser(soft)
		tenant.PurgeUser(hard)
		removed := []item{{"id": soft, "@removed": item{"reason": "changed"}}, {"id": hard, "@removed": item{"reason": "deleted"}}}
		link, items := round(t, tenant, link)
		if diff := cmp.Diff(removed, items); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		tenant.PurgeUser(soft)
		link, items = round(t, tenant, link)
		if diff := cmp.Diff([]item{{"id": soft, "@removed": item{"reason": "deleted"}}}, items); diff != "" {
			t.Errorf("purged (-want +got):\n%s", diff)
		}
		_, items = round(t, tenant, "/users/delta?$select=id")
		want := []string{there}
		if told {
			want = []string{soft, hard, there}
		}
		if !cmp.Equal(ids(items), want) {
			t.Errorf("first round, removed told %t: %v, want %v", told, ids(items), want)
		}
		back := tenant.AddUser(item{"displayName": "Back"})
		tenant.DeleteUser(back)
		_, _ = round(t, tenant, link)
		tenant.RestoreUser(back)
		if _, items := round(t, tenant, link); !cmp.Equal(items, []item{{"id": back, "displayName": "Back"}}) {
			t.Errorf("restored = %v", items)
		}
	}
}

func TestDeltaLinksExpire(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &entratest.Tenant{Now: func() time.Time { return now }}
	tenant.Fill(3, 1, 3)
	link, _ := round(t, tenant, "/users/delta")
	now = now.AddDate(0, 0, 6)
	link, _ = round(t, tenant, link)
	now = now.AddDate(0, 0, 8)
	if status, code := code(t, get(t, tenant, link)); status != 400 || code != "syncStateNotFound" {
		t.Errorf("after eight days: %d %s", status, code)
	}
	link, _ = round(t, tenant, "/users/delta")
	tenant.ExpireDeltas()
	if status, code := code(t, get(t, tenant, link)); status != 400 || code != "syncStateNotFound" {
		t.Errorf("expired: %d %s", status, code)
	}
	if _, items := round(t, tenant, "/users/delta?$deltatoken="); len(items) != 3 {
		t.Errorf("an empty token = %v, want a first round", items)
	}
	groups, _ := round(t, tenant, "/groups/delta")
	if status, _ := code(t, get(t, tenant, strings.Replace(groups, "/groups/", "/users/", 1))); status != 400 {
		t.Errorf("a link of groups at users: status %d", status)
	}
}

func TestMembersOfEveryKind(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Permissions: []string{"User.Read.All", "GroupMember.Read.All"}}
	g, inner := tenant.AddGroup("Outer"), tenant.AddGroup("Inner")
	u, d := tenant.AddUser(item{"userPrincipalName": "u@acme.test", "displayName": "U"}), tenant.AddDevice("Laptop")
	c, s := tenant.AddContact("Contact", "c@partner.test"), tenant.AddServicePrincipal("App")
	deep := tenant.AddUser(nil)
	for _, id := range []string{inner, u, d, c, s} {
		tenant.AddMember(g, id)
	}
	tenant.AddMember(inner, deep)
	tenant.AddMember(inner, g) // a cycle is legal
	_, items := round(t, tenant, "/groups/delta?$select=members&$filter=id+eq+'"+g+"'")
	types := map[string]string{inner: "group", u: "user", d: "device", c: "orgContact", s: "servicePrincipal"}
	for _, m := range items[0]["members@delta"].([]any) {
		id := m.(item)["id"].(string)
		if want := "#microsoft.graph." + types[id]; m.(item)["@odata.type"] != want || len(m.(item)) != 2 {
			t.Errorf("member %v, want %s", m, want)
		}
		delete(types, id)
	}
	if len(types) != 0 {
		t.Errorf("members left out: %v", types)
	}
	_, members := list(t, tenant, "/groups/"+g+"/members?$select=id,displayName,mail")
	limited := map[string]any{}
	for _, m := range members {
		limited[m["@odata.type"].(string)] = m["displayName"]
	}
	want := map[string]any{
		"#microsoft.graph.user": "U", "#microsoft.graph.group": "Inner",
		"#microsoft.graph.device": nil, "#microsoft.graph.orgContact": nil, "#microsoft.graph.servicePrincipal": nil,
	}
	if diff := cmp.Diff(want, limited); diff != "" {
		t.Errorf("what may not be read is not limited (-want +got):\n%s", diff)
	}
	_, people := list(t, tenant, "/groups/"+g+"/members/microsoft.graph.user?$select=displayName")
	if diff := cmp.Diff([]item{{"id": u, "displayName": "U"}}, people); diff != "" {
		t.Errorf("cast (-want +got):\n%s", diff)
	}
	_, all := list(t, tenant, "/groups/"+g+"/transitiveMembers?$select=id")
	if want := slices.Sorted(slices.Values([]string{inner, u, d, c, s, deep})); !cmp.Equal(slices.Sorted(slices.Values(ids(all))), want) {
		t.Errorf("transitive members = %v, want %v", ids(all), want)
	}
	for path, want := range map[string][]string{"memberOf": {inner}, "transitiveMemberOf": {g, inner}, "memberOf/microsoft.graph.group": {inner}} {
		if _, groups := list(t, tenant, "/users/"+deep+"/"+path); !cmp.Equal(ids(groups), want) {
			t.Errorf("%s = %v, want %v", path, ids(groups), want)
		}
	}
	w := do(t, tenant, "/users/"+deep+"/checkMemberGroups", item{"groupIds": []string{g, inner, "other"}})
	if got := decode[struct{ Value []string }](t, w).Value; !cmp.Equal(got, []string{g, inner}) {
		t.Errorf("checkMemberGroups = %v", got)
	}
	if status, _ := code(t, do(t, tenant, "/users/"+deep+"/checkMemberGroups", item{"groupIds": make([]string, 21)})); status != http.StatusBadRequest {
		t.Errorf("21 groups: status %d", status)
	}
}

func TestMembersWhoAreUsersWithoutThePermission(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Permissions: []string{"GroupMember.Read.All"}}
	g, u := tenant.AddGroup("G"), tenant.AddUser(item{"displayName": "U"})
	tenant.AddMember(g, u)
	_, items := list(t, tenant, "/groups/"+g+"/members?$select=displayName,accountEnabled")
	if diff := cmp.Diff([]item{{"@odata.type": "#microsoft.graph.user", "id": u, "displayName": nil, "accountEnabled": nil}}, items); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHiddenMembership(t *testing.T) {
	t.Parallel()
	for _, may := range []bool{false, true} {
		tenant := &entratest.Tenant{Permissions: []string{"Directory.Read.All"}}
		if may {
			tenant.Permissions = append(tenant.Permissions, "Member.Read.Hidden")
		}
		g := tenant.AddGroup("Secret", item{"groupTypes": []string{"Unified"}, "visibility": "HiddenMembership"})
		tenant.AddMember(g, tenant.AddUser(nil))
		_, items := round(t, tenant, "/groups/delta?$select=members")
		if _, told := items[0]["members@delta"]; told != may {
			t.Errorf("delta tells members %t, want %t", told, may)
		}
		if w := get(t, tenant, "/groups/"+g+"/members"); (w.Code == http.StatusOK) != may {
			t.Errorf("members: status %d, may %t", w.Code, may)
		}
	}
}

func TestMembersThatAreDeletedLeave(t *testing.T) {
	t.Parallel()
	for leaving, want := range map[entratest.Leaving]string{
		entratest.LeaveWhenPurged:  "purged:left purged-later:left",
		entratest.LeaveNever:       "",
		entratest.LeaveWhenDeleted: "deleted:left restored:came purged:left deleted-again:left",
	} {
		tenant := &entratest.Tenant{Leaving: leaving}
		g, u, other := tenant.AddGroup("G"), tenant.AddUser(nil), tenant.AddUser(nil)
		tenant.AddMember(g, u)
		tenant.AddMember(g, other)
		link, _ := round(t, tenant, "/groups/delta?$select=members")
		var told []string
		for _, step := range []struct {
			name string
			do   func(string)
			id   string
		}{
			{"deleted", tenant.DeleteUser, u},
			{"restored", tenant.RestoreUser, u},
			{"purged", tenant.PurgeUser, u},
			{"deleted-again", tenant.DeleteUser, other},
			{"purged-later", tenant.PurgeUser, other},
		} {
			step.do(step.id)
			var items []item
			link, items = round(t, tenant, link)
			for _, i := range items {
				m := i["members@delta"].([]any)[0].(item)
				if what := "came"; m["id"] == step.id {
					if _, left := m["@removed"]; left {
						what = "left"
					}
					told = append(told, step.name+":"+what)
				}
			}
		}
		if got := strings.Join(told, " "); got != want {
			t.Errorf("leaving %d: %s, want %s", leaving, got, want)
		}
	}
}

func TestGroupsThatAreDeletedLeaveGroups(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	g, security, unified := tenant.AddGroup("G"), tenant.AddGroup("S"), tenant.AddGroup("U", item{"groupTypes": []string{"Unified"}})
	tenant.AddMember(g, security)
	tenant.AddMember(g, unified)
	link, _ := round(t, tenant, "/groups/delta?$select=members&$filter=id+eq+'"+g+"'")
	tenant.DeleteGroup(security)
	tenant.DeleteGroup(unified)
	link, items := round(t, tenant, link)
	if left := items[0]["members@delta"].([]any); len(items) != 1 || len(left) != 2 || left[0].(item)["@removed"] == nil {
		t.Errorf("deleted: %v", items)
	}
	tenant.RestoreGroup(unified)
	_, items = round(t, tenant, link)
	want := []item{{"id": g, "members@delta": []any{item{"@odata.type": "#microsoft.graph.group", "id": unified}}}}
	if diff := cmp.Diff(want, items); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
}

func TestFirstRoundMayTellOfFormerMembers(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{RemovedAtFirst: true}
	g := tenant.AddGroup("G")
	a, b, c := tenant.AddUser(nil), tenant.AddUser(nil), tenant.AddUser(nil)
	for _, u := range []string{a, b, c} {
		tenant.AddMember(g, u)
	}
	tenant.RemoveMember(g, b)
	tenant.DeleteUser(c)
	_, items := round(t, tenant, "/groups/delta?$select=members")
	want := []any{
		item{"@odata.type": "#microsoft.graph.user", "id": a},
		item{"@odata.type": "#microsoft.graph.user", "id": b, "@removed": item{"reason": "deleted"}},
		item{"@odata.type": "#microsoft.graph.user", "id": c, "@removed": item{"reason": "deleted"}},
	}
	if diff := cmp.Diff(want, items[0]["members@delta"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestManagersThatAreNotTold(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{UntoldManagers: 2}
	tenant.Fill(20, 1, 0)
	_, items := round(t, tenant, "/users/delta?$select=manager")
	told := 0
	for _, i := range items {
		if _, ok := i["manager@delta"]; ok {
			told++
		}
	}
	if told < 9 || told > 10 {
		t.Errorf("%d managers told, want half of 19", told)
	}
}

func TestAnItemComesAgainOnTheNextPage(t *testing.T) {
	t.Parallel()
	for path, endpoint := range map[string]string{"/users/delta?$select=id": entratest.UsersDelta, "/users?$top=2&$select=id": entratest.ListUsers, "/groups/delta?$select=id": entratest.GroupsDelta} {
		tenant := &entratest.Tenant{DeltaPage: 2}
		tenant.Fill(5, 5, 5)
		tenant.Inject(entratest.Fault{Kind: entratest.RepeatItem, Endpoint: endpoint})
		_, items := list(t, tenant, path)
		if len(items) != 6 || items[1]["id"] != items[2]["id"] {
			t.Errorf("%s: %v, want the second again", path, ids(items))
		}
	}
}

func TestGroupsGo(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	security := tenant.AddGroup("Security")
	unified := tenant.AddGroup("Unified", item{"groupTypes": []string{"Unified"}})
	dynamic := tenant.AddGroup("Dynamic", item{"groupTypes": []string{"DynamicMembership"}, "membershipRule": "user.department -eq \"Sales\""})
	link, items := round(t, tenant, "/groups/delta?$select=displayName,groupTypes,membershipRule,description")
	want := []item{
		{"id": security, "displayName": "Security", "groupTypes": []any{}},
		{"id": unified, "displayName": "Unified", "groupTypes": []any{"Unified"}},
		{"id": dynamic, "displayName": "Dynamic", "groupTypes": []any{"DynamicMembership"}, "membershipRule": "user.department -eq \"Sales\""},
	}
	if diff := cmp.Diff(want, items); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	tenant.DeleteGroup(security)
	tenant.DeleteGroup(unified)
	tenant.RenameGroup(dynamic, "Renamed")
	link, items = round(t, tenant, link, "Prefer", "return=minimal")
	want = []item{
		{"id": security, "@removed": item{"reason": "deleted"}},
		{"id": unified, "@removed": item{"reason": "changed"}},
		{"id": dynamic, "displayName": "Renamed"},
	}
	if diff := cmp.Diff(want, items); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if _, deleted := list(t, tenant, "/directory/deletedItems/microsoft.graph.group"); !cmp.Equal(ids(deleted), []string{unified}) {
		t.Errorf("deleted groups %v, want the Microsoft 365 group alone", deleted)
	}
	tenant.RestoreGroup(unified)
	tenant.UpdateGroup(dynamic, item{"description": "D"})
	if _, items := round(t, tenant, link); !cmp.Equal(ids(items), []string{unified, dynamic}) {
		t.Errorf("restored and described = %v", items)
	}
	for id, status := range map[string]int{security: 404, unified: 200, dynamic: 200} {
		if w := get(t, tenant, "/groups/"+id); w.Code != status {
			t.Errorf("group %s: status %d, want %d", id, w.Code, status)
		}
	}
}

func TestLargeChangesOfMembersSpanPages(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{DeltaLinks: 10}
	tenant.Fill(30, 1, 0)
	g, other := tenant.Groups()[0].ID, tenant.AddGroup("Other")
	link, _ := round(t, tenant, "/groups/delta?$select=displayName,members")
	for _, u := range tenant.Users() {
		tenant.AddMember(g, u.ID)
	}
	tenant.RenameGroup(other, "Another")
	pages, items := list(t, tenant, link)
	if want := []string{g, g, g, other}; !cmp.Equal(ids(items), want) || len(pages) != 4 {
		t.Errorf("%v on %d pages, want %v", ids(items), len(pages), want)
	}
	seen := map[string]bool{}
	for _, i := range items[:3] {
		for _, m := range i["members@delta"].([]any) {
			seen[m.(item)["id"].(string)] = true
		}
	}
	if len(seen) != 30 {
		t.Errorf("%d different members, want 30", len(seen))
	}
}
