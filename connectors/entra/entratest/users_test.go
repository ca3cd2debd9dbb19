package entratest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

// keys returns the names of an object's members, sorted.
func keys(i item) string {
	var names []string
	for name := range i {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &entratest.Tenant{Now: func() time.Time { return now }, ClockOffset: -time.Hour}
	tenant.Fill(2, 1, 2)
	w := get(t, tenant, "/users", "client-request-id", "6f2b")
	h := map[string][]string(w.Header())
	want := map[string]string{
		"Content-Type":  "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
		"odata-version": "4.0", "client-request-id": "6f2b", "x-ms-resource-unit": "2", "Vary": "Accept-Encoding",
		"Date": "Fri, 01 May 2026 11:00:00 GMT", "Strict-Transport-Security": "max-age=31536000",
	}
	for name, value := range want {
		if !cmp.Equal(h[name], []string{value}) {
			t.Errorf("%s = %q, want %q", name, h[name], value)
		}
	}
	id := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	if len(h["request-id"]) != 1 || !id.MatchString(h["request-id"][0]) || !strings.Contains(h["x-ms-ags-diagnostic"][0], "ServerInfo") {
		t.Errorf("headers %v", h)
	}
	w = get(t, tenant, "/users/nobody")
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type of an error = %q", got)
	}
	var failed struct {
		Error struct {
			Code, Message string
			InnerError    struct {
				Date      string `json:"date"`
				RequestID string `json:"request-id"`
				ClientID  string `json:"client-request-id"`
			} `json:"innerError"`
		} `json:"error"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &failed); err != nil {
		t.Fatal(err)
	}
	request := map[string][]string(w.Header())["request-id"][0]
	if e := failed.Error; e.Code != "Request_ResourceNotFound" || !strings.HasPrefix(e.Message, "Resource 'nobody' does not exist") ||
		e.InnerError.Date != "2026-05-01T12:00:00" || e.InnerError.RequestID != request || e.InnerError.ClientID != request {
		t.Errorf("error %+v, request id %s", e, request)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/users/00000000-0000-0000-0000-000000000000": {404, "Request_ResourceNotFound"},
		"/users/nobody": {404, "Request_ResourceNotFound"},
		"/groups/00000000-0000-0000-0000-000000000000/members":                      {404, "Request_ResourceNotFound"},
		"/servicePrincipals/00000000-0000-0000-0000-000000000000/appRoleAssignedTo": {404, "Request_ResourceNotFound"},
		"/directory/deletedItems/00000000-0000-0000-0000-000000000000":              {404, "Request_ResourceNotFound"},
		"/servicePrincipals(appId='none')":                                          {404, "Request_ResourceNotFound"},
		"/groups/none/members":                                                      {400, "Request_BadRequest"},
		"/servicePrincipals/none/appRoleAssignedTo":                                 {400, "Request_BadRequest"},
		"/directory/deletedItems/none":                                              {400, "Request_BadRequest"},
		"/nothing":                                                                  {400, "BadRequest"},
		"/users?$select=id,nothing":                                                 {400, "BadRequest"},
		"/users/delta?$select=nothing":                                              {400, "BadRequest"},
		"/users?$top=1000":                                                          {400, "Request_UnsupportedQuery"},
		"/users?$top=0":                                                             {400, "Request_UnsupportedQuery"},
		"/users?$filter=jobTitle+ne+'x'":                                            {400, "Request_UnsupportedQuery"},
		"/users?$skiptoken=x":                                                       {400, "Directory_ExpiredPageToken"},
		"/users/delta?$top=5":                                                       {400, "Request_UnsupportedQuery"},
		"/users/delta?$expand=manager":                                              {400, "Request_UnsupportedQuery"},
		"/users/delta?$filter=mail+eq+'x'":                                          {400, "Request_UnsupportedQuery"},
		"/users/delta?$deltatoken=x":                                                {400, "Request_BadRequest"},
		"/users/delta?$skiptoken=x":                                                 {400, "Request_BadRequest"},
	} {
		if status, code := code(t, get(t, tenant, path)); status != want.status || code != want.code {
			t.Errorf("%s: %d %s, want %d %s", path, status, code, want.status, want.code)
		}
	}
	if w := get(t, tenant, origin+"/"); w.Code != http.StatusNotFound || !strings.Contains(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("outside: status %d, %s", w.Code, w.Header())
	}
}

func TestUsersHaveElevenPropertiesUnlessSelected(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	id := tenant.AddUser(item{"userPrincipalName": "ann@acme.test", "department": "Sales"})
	const few = "businessPhones displayName givenName id jobTitle mail mobilePhone officeLocation preferredLanguage surname userPrincipalName"
	p := decode[page](t, get(t, tenant, "/users"))
	if got := keys(p.Value[0]); got != few || p.Context != root+"/$metadata#users" {
		t.Errorf("a user has %s, context %s", got, p.Context)
	}
	if u := p.Value[0]; u["mail"] != nil || !cmp.Equal(u["businessPhones"], []any{}) || u["id"] != id {
		t.Errorf("%v, want null for what was never set, and empty collections", u)
	}
	for _, path := range []string{
		"/users?$select=Department,accountEnabled,proxyAddresses,employeeOrgData,manager",
		"/users?%24select=department,accountEnabled,proxyAddresses,employeeOrgData,id",
	} {
		want := []item{{"id": id, "department": "Sales", "accountEnabled": true, "proxyAddresses": []any{}, "employeeOrgData": nil}}
		if diff := cmp.Diff(want, decode[page](t, get(t, tenant, path)).Value); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	for _, key := range []string{id, "ann@acme.test", "ANN@acme.test"} {
		u := decode[item](t, get(t, tenant, "/users/"+key+"?$select=displayName"))
		want := item{"@odata.context": root + "/$metadata#users(displayName)/$entity", "id": id, "displayName": "ann"}
		if diff := cmp.Diff(want, u); diff != "" {
			t.Errorf("user %s (-want +got):\n%s", key, diff)
		}
	}
}

func TestListsArePaged(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 1}
	tenant.Fill(2500, 3, 2500)
	big := tenant.Groups()[0].ID
	for path, want := range map[string]struct{ pages, items int }{
		"/users":                               {25, 2500},
		"/users?$top=999&$select=id":           {3, 2500},
		"/groups":                              {1, 3},
		"/groups?$top=1":                       {3, 3},
		"/groups/" + big + "/members":          {9, 834},
		"/groups/" + big + "/members?$top=999": {1, 834},
	} {
		pages, items := list(t, tenant, path)
		if len(pages) != want.pages || len(items) != want.items || len(slices.Compact(slices.Sorted(slices.Values(ids(items))))) != want.items {
			t.Errorf("%s: %d items on %d pages, want %d on %d", path, len(items), len(pages), want.items, want.pages)
		}
	}
	p := decode[page](t, get(t, tenant, "/users?$top=10&$select=id&$count=true", "ConsistencyLevel", "eventual"))
	if p.Count == nil || *p.Count != 2500 || !strings.HasPrefix(p.Next, root+"/users?") {
		t.Errorf("count %v, next %s", p.Count, p.Next)
	}
	next, _ := url.Parse(p.Next)
	if q := next.Query(); q.Get("$top") != "10" || q.Get("$select") != "id" || q.Get("$skiptoken") == "" {
		t.Errorf("next link %s, want all parameters in it", p.Next)
	}
	if p := decode[page](t, get(t, tenant, p.Next)); p.Count != nil || len(p.Value) != 10 {
		t.Errorf("second page: count %v, %d items", p.Count, len(p.Value))
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	a := tenant.AddUser(item{"userPrincipalName": "a@acme.test", "mail": "a.mail@acme.test", "surname": "O'Hara"})
	b := tenant.AddUser(item{"userPrincipalName": "b@acme.test", "accountEnabled": false})
	g := tenant.AddGroup("Team", item{"groupTypes": []string{"Unified"}, "mailEnabled": true, "securityEnabled": false})
	s := tenant.AddGroup("Other")
	for filter, want := range map[string][]string{
		"id in ('" + b + "','x')":                         {b},
		"id eq '" + a + "' or id eq '" + b + "'":          {a, b},
		"userPrincipalName eq 'B@acme.test'":              {b},
		"surname eq 'O''Hara'":                            {a},
		"accountEnabled eq false":                         {b},
		"mail eq 'a.mail@acme.test'":                      {a},
		"startswith(userPrincipalName,'a')":               {a},
		"userType eq 'Member' and accountEnabled eq true": {a},
	} {
		if _, items := list(t, tenant, "/users?$filter="+url.QueryEscape(filter)); !cmp.Equal(ids(items), want) {
			t.Errorf("users, %s = %v, want %v", filter, ids(items), want)
		}
	}
	for filter, want := range map[string][]string{
		"displayName eq 'team'": {g}, "groupTypes/any(c:c eq 'Unified')": {g}, "securityEnabled eq true": {s},
	} {
		if _, items := list(t, tenant, "/groups?$filter="+url.QueryEscape(filter)); !cmp.Equal(ids(items), want) {
			t.Errorf("groups, %s = %v, want %v", filter, ids(items), want)
		}
	}
}

func TestManagers(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	boss := tenant.AddUser(item{"userPrincipalName": "boss@acme.test"})
	worker := tenant.AddUser(item{"userPrincipalName": "worker@acme.test", "manager": boss})
	if u := decode[item](t, get(t, tenant, "/users/"+worker+"?$expand=manager($select=id)&$select=id")); u["manager"].(item)["id"] != boss || u["manager"].(item)["@odata.type"] != "#microsoft.graph.user" {
		t.Errorf("expanded %v", u)
	}
	if u := decode[item](t, get(t, tenant, "/users/"+boss+"?$expand=manager")); u["manager"] != nil {
		t.Errorf("expanded %v, want no manager", u)
	}
	if u := decode[item](t, get(t, tenant, "/users/"+worker+"?$select=id,manager")); u["manager"] != nil {
		t.Errorf("selected %v, want the manager left out: it is no property", u)
	}
	if u := decode[item](t, get(t, tenant, "/users/"+worker+"/manager")); u["id"] != boss {
		t.Errorf("manager = %v", u)
	}
	if status, code := code(t, get(t, tenant, "/users/"+boss+"/manager")); status != 404 || code != "Request_ResourceNotFound" {
		t.Errorf("no manager: %d %s", status, code)
	}
	tenant.DeleteUser(boss)
	if w := get(t, tenant, "/users/"+worker+"/manager"); w.Code != http.StatusNotFound {
		t.Errorf("manager deleted: status %d", w.Code)
	}
}

func TestKindsOfUsers(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	guest := tenant.AddGuest("dana@partner.test")
	odd := tenant.AddUser(item{"userPrincipalName": "eve_partner.test#EXT#@acme.test", "userType": "Member"})
	untyped := tenant.AddUser(item{"userPrincipalName": "old@acme.test", "userType": nil, "accountEnabled": false})
	want := map[string][]any{
		guest:   {"dana_partner.test#EXT#@acme.test", "Guest", "dana@partner.test", true},
		odd:     {"eve_partner.test#EXT#@acme.test", "Member", nil, true},
		untyped: {"old@acme.test", nil, nil, false},
	}
	for id, want := range want {
		u := decode[item](t, get(t, tenant, "/users/"+id+"?$select=userPrincipalName,userType,mail,accountEnabled"))
		if diff := cmp.Diff(want, []any{u["userPrincipalName"], u["userType"], u["mail"], u["accountEnabled"]}); diff != "" {
			t.Errorf("user (-want +got):\n%s", diff)
		}
	}
	if u := decode[item](t, get(t, tenant, "/users/"+url.PathEscape("dana_partner.test#EXT#@acme.test"))); u["id"] != guest {
		t.Errorf("by name: %v", u)
	}
}

func TestSoftDeletion(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 2}
	id := tenant.AddUser(item{"userPrincipalName": "ann@acme.test"})
	g := tenant.AddGroup("G")
	tenant.AddMember(g, id)
	tenant.DeleteUser(id)
	for _, path := range []string{"/users/" + id, "/users/ann@acme.test"} {
		if w := get(t, tenant, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	renamed := strings.ReplaceAll(id, "-", "") + "ann@acme.test"
	_, deleted := list(t, tenant, "/directory/deletedItems/microsoft.graph.user?$select=userPrincipalName,deletedDateTime")
	if len(deleted) != 1 || deleted[0]["userPrincipalName"] != renamed || deleted[0]["deletedDateTime"] == nil {
		t.Errorf("deleted items %v, want %s", deleted, renamed)
	}
	if u := decode[item](t, get(t, tenant, "/directory/deletedItems/"+id)); u["userPrincipalName"] != renamed {
		t.Errorf("deleted item %v", u)
	}
	if _, members := list(t, tenant, "/groups/"+g+"/members"); len(members) != 0 {
		t.Errorf("members %v", members)
	}
	again := tenant.AddUser(item{"userPrincipalName": "ann@acme.test"})
	if again == id {
		t.Error("an id is used again")
	}
	tenant.PurgeUser(again)
	tenant.RestoreUser(id)
	if u := decode[item](t, get(t, tenant, "/users/ann@acme.test")); u["id"] != id {
		t.Errorf("restored %v", u)
	}
	if _, members := list(t, tenant, "/groups/"+g+"/members"); len(members) != 1 {
		t.Errorf("members %v, want the restored one", members)
	}
	tenant.PurgeUser(id)
	if w := get(t, tenant, "/directory/deletedItems/"+id); w.Code != http.StatusNotFound {
		t.Errorf("purged: status %d", w.Code)
	}
	if _, there := tenant.User(id); there {
		t.Error("a purged user is still there")
	}
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	build := func(permissions ...string) (*entratest.Tenant, map[string]string) {
		tenant := &entratest.Tenant{Permissions: append([]string{}, permissions...)}
		u, g, s := tenant.AddUser(nil), tenant.AddGroup("G"), tenant.AddServicePrincipal("S")
		return tenant, map[string]string{"{u}": u, "{g}": g, "{s}": s}
	}
	for path, permission := range map[string]string{
		"/users": "User.Read.All", "/users/delta": "User.Read.All", "/users/{u}": "User.Read.All", "/users/{u}/memberOf": "User.Read.All",
		"/directory/deletedItems/microsoft.graph.user": "User.Read.All",
		"/groups": "GroupMember.Read.All", "/groups/delta": "Group.Read.All", "/groups/{g}": "Group.Read.All",
		"/groups/{g}/members": "GroupMember.Read.All", "/groups/{g}/transitiveMembers": "GroupMember.Read.All",
		"/servicePrincipals/{s}": "Application.Read.All", "/servicePrincipals/{s}/appRoleAssignedTo": "Application.Read.All",
		"/users/{u}/appRoleAssignments": "Application.Read.All", "/organization": "Organization.Read.All",
	} {
		for _, granted := range []string{permission, "Directory.Read.All"} {
			tenant, ids := build(granted)
			if w := get(t, tenant, replace(path, ids)); w.Code != http.StatusOK {
				t.Errorf("%s with %s: status %d: %s", path, granted, w.Code, w.Body)
			}
		}
		tenant, ids := build("Member.Read.Hidden")
		if status, code := code(t, get(t, tenant, replace(path, ids))); status != 403 || code != "Authorization_RequestDenied" {
			t.Errorf("%s: %d %s, want 403", path, status, code)
		}
	}
}

func replace(path string, ids map[string]string) string {
	for name, id := range ids {
		path = strings.ReplaceAll(path, name, id)
	}
	return path
}

func TestReplicationDelay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &entratest.Tenant{Now: func() time.Time { return now }, ReplicationDelay: 10 * time.Second}
	id, g := tenant.AddUser(item{"displayName": "Old"}), tenant.AddGroup("G")
	if w := get(t, tenant, "/users/"+id); w.Code != http.StatusNotFound {
		t.Errorf("a new user is seen at once: status %d", w.Code)
	}
	now = now.Add(time.Minute)
	link, _ := round(t, tenant, "/users/delta?$select=displayName")
	groups, _ := round(t, tenant, "/groups/delta?$select=displayName,members")
	tenant.UpdateUser(id, item{"displayName": "New"})
	tenant.AddMember(g, id)
	name := func() any { return decode[item](t, get(t, tenant, "/users/"+id))["displayName"] }
	members := func() int { _, m := list(t, tenant, "/groups/"+g+"/members"); return len(m) }
	changes := func() int {
		var n [2][]item
		link, n[0] = round(t, tenant, link)
		groups, n[1] = round(t, tenant, groups)
		return len(n[0]) + len(n[1])
	}
	if name() != "Old" || members() != 0 || changes() != 0 {
		t.Errorf("at once: name %v, %d members", name(), members())
	}
	now = now.Add(11 * time.Second)
	if n := changes(); name() != "New" || members() != 1 || n != 2 {
		t.Errorf("later: name %v, %d members, %d changes", name(), members(), n)
	}
	tenant.DeleteUser(id)
	if name() != "New" || members() != 1 {
		t.Errorf("deleted at once: name %v, %d members", name(), members())
	}
	now = now.Add(11 * time.Second)
	if w := get(t, tenant, "/users/"+id); w.Code != http.StatusNotFound || members() != 0 {
		t.Errorf("deleted: status %d, %d members", w.Code, members())
	}
}

func TestBodiesAreCompressed(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(50, 1, 50)
	plain := get(t, tenant, "/users").Body.Bytes()
	w := get(t, tenant, "/users", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(w.Body)
	if err != nil || w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, headers %v", err, w.Header())
	}
	if body, err := io.ReadAll(z); err != nil || !bytes.Equal(body, plain) {
		t.Errorf("%v, %d bytes, want %d", err, len(body), len(plain))
	}
	tenant.Uncompressed = true
	if w := get(t, tenant, "/users", "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" || !bytes.Equal(w.Body.Bytes(), plain) {
		t.Errorf("uncompressed: headers %v", w.Header())
	}
	var b bytes.Buffer
	squeeze := gzip.NewWriter(&b)
	_, _ = squeeze.Write([]byte(`{"groupIds":["` + tenant.Groups()[0].ID + `"]}`))
	_ = squeeze.Close()
	w = call(t, tenant, http.MethodPost, "/users/"+tenant.Users()[0].ID+"/checkMemberGroups", b.String(), "Content-Encoding", "gzip")
	if got := decode[struct{ Value []string }](t, w).Value; !cmp.Equal(got, []string{tenant.Groups()[0].ID}) {
		t.Errorf("checkMemberGroups = %v", got)
	}
}

func TestTheSameSeedMakesTheSameBytes(t *testing.T) {
	t.Parallel()
	fill := func(seed uint64) string {
		tenant := &entratest.Tenant{Seed: seed}
		tenant.Fill(150, 5, 400)
		return get(t, tenant, "/users/delta?$select=displayName,employeeOrgData,proxyAddresses,manager").Body.String()[:20000] +
			get(t, tenant, "/groups/delta").Body.String()
	}
	first := fill(7)
	if again := fill(7); len(first) != len(again) || stripTokens(first) != stripTokens(again) {
		t.Error("the same seed made other bytes")
	}
	if stripTokens(first) == stripTokens(fill(8)) {
		t.Error("another seed made the same bytes")
	}
	tenant := &entratest.Tenant{}
	tenant.Fill(5000, 40, 15000)
	sum := 0
	for _, g := range tenant.Groups() {
		sum += len(g.Members)
		if n := len(slices.Compact(slices.Sorted(slices.Values(g.Members)))); n != len(g.Members) {
			t.Errorf("group %s: %d members, %d different", g.Name, len(g.Members), n)
		}
	}
	if sum != 15000 {
		t.Errorf("%d memberships, want 15000", sum)
	}
}

func stripTokens(body string) string {
	return regexp.MustCompile(`token=[^"]*`).ReplaceAllString(body, "")
}

var _ http.Handler = (*entratest.Tenant)(nil)

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(3, 1, 3)
	get(t, tenant, "/users/"+tenant.Users()[0].ID+"?$select=id")
	get(t, tenant, "/groups/"+tenant.Groups()[0].ID+"/transitiveMembers/microsoft.graph.user")
	get(t, tenant, "/users/microsoft.graph.delta()")
	ask(t, tenant, tokenEndpoint, credentials())
	want := map[string]int{entratest.GetUser: 1, entratest.ListTransitiveMembers: 1, entratest.UsersDelta: 1, entratest.PostToken: 1}
	if diff := cmp.Diff(want, tenant.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if n := tenant.GraphRequests(); n != 3 || tenant.Requests("") != 4 || tenant.Requests(entratest.GetUser) != 1 || tenant.Units() != 8 {
		t.Errorf("%d requests to Graph of %d, %d units", n, tenant.Requests(""), tenant.Units())
	}
	if log := tenant.Log(); len(log) != 4 || log[0].Endpoint != entratest.GetUser || !strings.HasSuffix(log[0].URI, "?$select=id") {
		t.Errorf("log %+v", log)
	}
	tenant.ResetRequests()
	if tenant.Requests("") != 0 || len(tenant.Log()) != 0 {
		t.Error("requests are not forgotten")
	}
}

// do sends a request that is not a GET with a body of JSON.
func do(t *testing.T, tenant *entratest.Tenant, path string, body any) *httptest.ResponseRecorder {
	t.Helper()
	j, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return call(t, tenant, http.MethodPost, path, string(j), "Content-Type", "application/json")
}

func TestRequestsAndChangesAtOnce(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{DeltaPage: 10, DeltaLinks: 10, ReplicationDelay: time.Microsecond}
	tenant.Fill(60, 3, 120)
	s := tenant.AddServicePrincipal("S")
	people, groups := tenant.Users(), tenant.Groups()
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			for k := range 10 {
				u := people[i*10+k].ID
				tenant.UpdateUser(u, item{"displayName": "N", "manager": people[59].ID})
				tenant.AddMember(groups[i%3].ID, u)
				tenant.Assign(s, u, "")
				tenant.DeleteUser(u)
				tenant.RemoveMember(groups[i%3].ID, u)
				tenant.PurgeUser(u)
				tenant.RevokeTokens()
			}
		})
		wait.Go(func() {
			for _, path := range []string{"/users/delta", "/groups/delta", "/users?$expand=manager", "/servicePrincipals/" + s + "/appRoleAssignedTo", "/groups/" + groups[0].ID + "/transitiveMembers"} {
				get(t, tenant, path) // may meet a revoked token
			}
		})
	}
	wait.Wait()
	if _, items := list(t, tenant, "/users?$top=999"); len(items) != 20 {
		t.Errorf("%d users, want 20", len(items))
	}
}
