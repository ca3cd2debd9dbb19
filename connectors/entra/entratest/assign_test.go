package entratest_test

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

func TestAssignments(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	tenant := &entratest.Tenant{Now: func() time.Time { return now }}
	s, other := tenant.AddServicePrincipal("App"), tenant.AddServicePrincipal("Other")
	u, g := tenant.AddUser(item{"displayName": "U"}), tenant.AddGroup("G")
	member := tenant.AddUser(nil)
	tenant.AddMember(g, member)
	const role = "8d17fc57-4d3a-4e8b-8c69-4bb1e0a6f2d4"
	tenant.Assign(s, u, "")
	tenant.Assign(s, g, role)
	tenant.Assign(s, other, "")
	_, items := list(t, tenant, "/servicePrincipals/"+s+"/appRoleAssignedTo")
	fraction := regexp.MustCompile(`^2026-05-01T12:00:00\.\d{5,7}Z$`)
	for _, a := range items {
		if id := a["id"].(string); len(id) != 43 || !fraction.MatchString(a["createdDateTime"].(string)) {
			t.Errorf("assignment %v", a)
		}
		delete(a, "id")
		delete(a, "createdDateTime")
	}
	one := func(kind, id, name, role string) item {
		return item{
			"deletedDateTime": nil, "appRoleId": role, "principalDisplayName": name, "principalId": id, "principalType": kind,
			"resourceDisplayName": "App", "resourceId": s,
		}
	}
	want := []item{one("User", u, "U", entratest.DefaultRole), one("Group", g, "G", role), one("ServicePrincipal", other, "Other", entratest.DefaultRole)}
	if diff := cmp.Diff(want, items); diff != "" {
		t.Errorf("assigned (-want +got):\n%s", diff)
	}
	if pages, items := list(t, tenant, "/servicePrincipals(appId='"+tenant.AppID(s)+"')/appRoleAssignedTo?$top=1"); len(pages) != 3 || len(items) != 3 {
		t.Errorf("by appId: %d items on %d pages", len(items), len(pages))
	}
	if p := decode[item](t, get(t, tenant, "/servicePrincipals(appId='"+tenant.AppID(s)+"')?$select=appId,displayName")); p["id"] != s || p["displayName"] != "App" {
		t.Errorf("service principal %v", p)
	}
	if _, items := list(t, tenant, "/servicePrincipals?$filter=appId+eq+'"+tenant.AppID(other)+"'"); !cmp.Equal(ids(items), []string{other}) {
		t.Errorf("service principals = %v", items)
	}
	for id, want := range map[string]string{u: "User", member: "Group"} {
		if _, items := list(t, tenant, "/users/"+id+"/appRoleAssignments"); len(items) != 1 || items[0]["principalType"] != want {
			t.Errorf("assignments of a user = %v, want one by %s", items, want)
		}
	}
	tenant.DeleteUser(u)
	tenant.Unassign(s, g)
	if _, items := list(t, tenant, "/servicePrincipals/"+s+"/appRoleAssignedTo"); len(items) != 1 {
		t.Errorf("%v, want the service principal alone", items)
	}
	tenant.DeleteServicePrincipal(s)
	if w := get(t, tenant, "/servicePrincipals/"+s); w.Code != http.StatusNotFound {
		t.Errorf("deleted: status %d", w.Code)
	}
}

type part struct {
	ID      string
	Status  int
	Headers map[string]string
	Body    item
}

func TestBatches(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	u, g := tenant.AddUser(nil), tenant.AddGroup("G")
	tenant.AddMember(g, u)
	tenant.Inject(entratest.Fault{Kind: entratest.Throttle, Endpoint: entratest.GetGroup})
	w := do(t, tenant, "/$batch", item{"requests": []item{
		{"id": "1", "method": "GET", "url": "/users/" + u + "?$select=id"},
		{"id": "2", "method": "GET", "url": "/users/none"},
		{"id": "3", "method": "GET", "url": "/groups/" + g},
		{"id": "4", "method": "POST", "url": "/users/" + u + "/checkMemberGroups", "headers": item{"Content-Type": "application/json"}, "body": item{"groupIds": []string{g}}},
	}})
	got := map[string]part{}
	for _, p := range decode[struct{ Responses []part }](t, w).Responses {
		got[p.ID] = p
	}
	for id, status := range map[string]int{"1": 200, "2": 404, "3": 429, "4": 200} {
		if got[id].Status != status {
			t.Errorf("part %s: %+v, want %d", id, got[id], status)
		}
	}
	if got["1"].Body["id"] != u || got["3"].Headers["Retry-After"] != "1" || !cmp.Equal(got["4"].Body["value"], []any{g}) || !strings.HasPrefix(got["3"].Headers["x-ms-throttle-scope"], "Tenant_Application/") {
		t.Errorf("parts %+v", got)
	}
	if failed, _ := got["2"].Body["error"].(item); failed["code"] != "Request_ResourceNotFound" || strings.Contains(failed["innerError"].(item)["request-id"].(string), "\x00") {
		t.Errorf("part 2: %v", got["2"].Body)
	}
	if n := tenant.GraphRequests(); n != 1 {
		t.Errorf("%d requests, want one", n)
	}
	many := []item{}
	for i := range 21 {
		many = append(many, item{"id": strconv.Itoa(i), "method": "GET", "url": "/users"})
	}
	for name, body := range map[string]any{"21 parts": item{"requests": many}, "no parts": item{}, "no id": item{"requests": []item{{"method": "GET", "url": "/users"}}}} {
		if status, code := code(t, do(t, tenant, "/$batch", body)); status != 400 || code != "BadRequest" {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{TenantID: "7f1d", Domain: "other.test"}
	_, items := list(t, tenant, "/organization")
	if len(items) != 1 || items[0]["id"] != "7f1d" || items[0]["verifiedDomains"].([]any)[0].(item)["name"] != "other.test" {
		t.Errorf("organization %v", items)
	}
}
