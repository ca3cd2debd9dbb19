package oktatest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

const org = "https://acme.okta.test"

// get asks the tenant without a network.
func get(t *testing.T, tenant *oktatest.Tenant, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, org+path, nil)
	r.Header.Set("Authorization", "SSWS "+oktatest.DefaultToken)
	w := httptest.NewRecorder()
	tenant.ServeHTTP(w, r)
	return w
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return v
}

func ids(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	list := []string{}
	for _, item := range decode[[]struct{ ID string }](t, w) {
		list = append(list, item.ID)
	}
	return list
}

// all follows the next links.
func all(t *testing.T, tenant *oktatest.Tenant, path string) (list []string, pages int) {
	t.Helper()
	for path != "" {
		w := get(t, tenant, path)
		list = append(list, ids(t, w)...)
		pages++
		path = ""
		for _, link := range w.Header()["Link"] {
			if address, ok := strings.CutSuffix(link, `>; rel="next"`); ok {
				path = strings.TrimPrefix(address, "<"+org)
			}
		}
	}
	return list, pages
}

func TestLinksAreThoseThatWereRecorded(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	for i := range 3 {
		tenant.AddUser(map[string]any{"login": fmt.Sprintf("s%d@acme.test", i), "lastName": "Smith"})
	}
	first := tenant.Users()[0].ID
	w := get(t, tenant, "/api/v1/users?search="+url.QueryEscape(`profile.lastName eq "Smith"`)+"&limit=1&sortOrder=asc")
	want := []string{
		`<https://acme.okta.test/api/v1/users?limit=1&search=profile.lastName+eq+%22Smith%22>; rel="self"`,
		`<https://acme.okta.test/api/v1/users?after=` + first + `&limit=1&search=profile.lastName+eq+%22Smith%22>; rel="next"`,
	}
	if diff := cmp.Diff(want, w.Header()["Link"]); diff != "" {
		t.Errorf("Link (-want +got):\n%s", diff)
	}
}

func TestDefaultsAndLimits(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	tenant.Fill(450, 25, 450)
	app := tenant.AddApp("app")
	for _, g := range tenant.Groups() {
		tenant.AssignGroup(app, g.ID)
	}
	big := tenant.AddGroup("big")
	for _, u := range tenant.Users() {
		tenant.AddMember(big, u.ID)
	}
	for path, want := range map[string]struct{ limit, items, pages int }{
		"/api/v1/users":                              {200, 450, 3},
		"/api/v1/users?limit=1000":                   {200, 450, 3},
		"/api/v1/users?limit=100":                    {100, 450, 5},
		"/api/v1/groups":                             {10000, 26, 1},
		"/api/v1/groups/" + big + "/users":           {1000, 450, 1},
		"/api/v1/groups/" + big + "/users?limit=200": {200, 450, 3},
		"/api/v1/apps/" + app + "/users":             {50, 450, 9},
		"/api/v1/apps/" + app + "/users?limit=500":   {500, 450, 1},
		"/api/v1/apps/" + app + "/groups":            {20, 25, 2},
	} {
		if link := get(t, tenant, path).Header()["Link"][0]; !strings.Contains(link, "limit="+strconv.Itoa(want.limit)+">") {
			t.Errorf("%s: self link %s, want limit=%d", path, link, want.limit)
		}
		list, pages := all(t, tenant, path)
		if len(list) != want.items || pages != want.pages || !slices.IsSorted(list) {
			t.Errorf("%s: %d items on %d pages, want %d on %d", path, len(list), pages, want.items, want.pages)
		}
	}
	w := get(t, tenant, "/api/v1/groups?q=eng&limit=1")
	if _, linked := w.Header()["Link"]; linked || len(ids(t, w)) != 1 {
		t.Errorf("q on groups: links %v, body %s", w.Header()["Link"], w.Body)
	}
	if w := get(t, tenant, "/api/v1/users?limit=x"); w.Code != http.StatusBadRequest {
		t.Errorf("limit=x: status %d", w.Code)
	}
}

func TestHeadersAndErrors(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	tenant.Fill(2, 1, 2)
	w := get(t, tenant, "/api/v1/users/"+tenant.Users()[0].ID)
	for _, name := range []string{"x-okta-request-id", "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset", "Date", "Cache-Control", "Pragma", "Expires", "Vary", "Strict-Transport-Security", "Etag"} {
		if len(w.Header()[name]) != 1 {
			t.Errorf("header %s = %q, want one", name, w.Header()[name])
		}
	}
	cases := map[string]struct {
		path, token, body string
		status            int
	}{
		"no such user":   {"/api/v1/users/00uNobody", "", `"E0000007","errorSummary":"Not found: Resource not found: 00uNobody (User)"`, 404},
		"no such group":  {"/api/v1/groups/00gNone/users", "", `"Not found: Resource not found: 00gNone (UserGroup)"`, 404},
		"no such app":    {"/api/v1/apps/0oaNone/users", "", `"Not found: Resource not found: 0oaNone (AppInstance)"`, 404},
		"no such path":   {"/api/v1/nothing", "", `"E0000007"`, 404},
		"outside":        {"/", "", `"E0000007"`, 404},
		"wrong token":    {"/api/v1/users", "SSWS wrong", `"E0000011","errorSummary":"Invalid token provided"`, 401},
		"bad filter":     {"/api/v1/users?filter=profile.title+eq+%22x%22", "", `"E0000031"`, 400},
		"filter with ne": {"/api/v1/users?filter=status+ne+%22x%22", "", `"E0000031"`, 400},
	}
	for name, c := range cases {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, org+c.path, nil)
		r.Header.Set("Authorization", "SSWS "+oktatest.DefaultToken)
		if c.token != "" {
			r.Header.Set("Authorization", c.token)
		}
		w := httptest.NewRecorder()
		tenant.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestBodiesHaveWhatWasRecorded(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 4}
	tenant.Fill(40, 2, 40)
	app := tenant.AddApp("app")
	tenant.AssignUser(app, tenant.Users()[0].ID, "other-name")
	keys := func(m map[string]any) string {
		var names []string
		for name := range m {
			names = append(names, name)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	user := decode[[]map[string]any](t, get(t, tenant, "/api/v1/users?limit=2"))
	const common = "_links activated created credentials id lastLogin lastUpdated passwordChanged profile"
	if got := keys(user[0]) + "|" + keys(user[1]); !strings.Contains(got, common+" realmId status statusChanged type") || !strings.Contains(got, common+" status statusChanged type") {
		t.Errorf("users have %s, want one with a realm and one without", got)
	}
	if size := len(get(t, tenant, "/api/v1/users?limit=40").Body.Bytes()) / 40; size < 900 || size > 2000 {
		t.Errorf("a user object has %d bytes, want about 1 KB", size)
	}
	profile := user[0]["profile"].(map[string]any)
	for _, name := range []string{"firstName", "lastName", "mobilePhone", "secondEmail", "login", "email"} {
		if _, always := profile[name]; !always {
			t.Errorf("profile lacks %s, which is always there", name)
		}
	}
	if _, there := profile["nickName"]; there {
		t.Error("profile has a nickName, which shows only when it is set")
	}
	group := decode[[]map[string]any](t, get(t, tenant, "/api/v1/groups?expand=stats"))
	if got := keys(group[0]); got != "_embedded _links created id lastMembershipUpdated lastUpdated objectClass profile type" {
		t.Errorf("groups have %s", got)
	}
	assigned := decode[[]map[string]any](t, get(t, tenant, "/api/v1/apps/"+app+"/users?expand=user"))
	if got := keys(assigned[0]); got != "_embedded _links created credentials externalId id lastUpdated passwordChanged profile scope status statusChanged syncState" {
		t.Errorf("app users have %s", got)
	}
	if name := assigned[0]["credentials"].(map[string]any)["userName"]; name != "other-name" {
		t.Errorf("userName = %v", name)
	}
	id := regexp.MustCompile(`^00[ug][0-9A-Za-z]{17}$`)
	seen := map[string]bool{}
	for _, u := range tenant.Users() {
		if !id.MatchString(u.ID) || !strings.HasSuffix(u.Login(), "@acme.test") || seen[u.Login()] || u.Profile["firstName"] == "" || u.Profile["title"] == nil {
			t.Errorf("user %+v", u)
		}
		seen[u.Login()] = true
	}
}

func TestTheSameSeedMakesTheSameBytes(t *testing.T) {
	t.Parallel()
	fill := func(seed uint64) string {
		tenant := &oktatest.Tenant{Seed: seed}
		tenant.Fill(100, 5, 250)
		body := get(t, tenant, "/api/v1/users").Body.String()
		for _, g := range tenant.Groups() {
			body += g.Name + strings.Join(g.Members, ",")
		}
		return body
	}
	first, again := fill(7), fill(7)
	if first != again {
		t.Error("the same seed made other bytes")
	}
	if first == fill(8) {
		t.Error("another seed made the same bytes")
	}
	tenant := &oktatest.Tenant{}
	tenant.Fill(5000, 40, 15000)
	sum := 0
	for _, g := range tenant.Groups() {
		sum += len(g.Members)
		if len(g.Members) > 1000 || !slices.IsSorted(g.Members) || len(slices.Compact(slices.Clone(g.Members))) != len(g.Members) {
			t.Errorf("group %s has %d members", g.Name, len(g.Members))
		}
	}
	if sum != 15000 {
		t.Errorf("%d memberships, want 15000", sum)
	}
}

func TestStatusAndDeletion(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.Fill(3, 1, 3)
	app := tenant.AddApp("app")
	people, g := tenant.Users(), tenant.Groups()[0]
	tenant.AssignGroup(app, g.ID)
	tenant.AssignUser(app, people[0].ID, "")
	tenant.SetStatus(people[0].ID, "DEPROVISIONED")
	tenant.SetStatus(people[1].ID, "SUSPENDED")
	list, _ := all(t, tenant, "/api/v1/users")
	if want := []string{people[1].ID, people[2].ID}; !cmp.Equal(list, want) {
		t.Errorf("list = %v, want the deprovisioned left out", list)
	}
	filtered, _ := all(t, tenant, "/api/v1/users?filter="+url.QueryEscape(`status eq "DEPROVISIONED" or status eq "SUSPENDED"`))
	if want := []string{people[0].ID, people[1].ID}; !cmp.Equal(filtered, want) {
		t.Errorf("filter = %v, want the deprovisioned in it", filtered)
	}
	if members, _ := all(t, tenant, "/api/v1/groups/"+g.ID+"/users"); len(members) != 3 {
		t.Errorf("members = %v, want all three: memberships outlast deactivation", members)
	}
	if assigned, _ := all(t, tenant, "/api/v1/apps/"+app+"/users"); !cmp.Equal(assigned, []string{people[1].ID, people[2].ID}) {
		t.Errorf("assigned = %v, want the deprovisioned left out", assigned)
	}
	tenant.DeleteUser(people[2].ID)
	if w := get(t, tenant, "/api/v1/users/"+people[2].ID); w.Code != http.StatusNotFound {
		t.Errorf("deleted: status %d", w.Code)
	}
	if members, _ := all(t, tenant, "/api/v1/groups/"+g.ID+"/users"); len(members) != 2 {
		t.Errorf("members = %v, want two", members)
	}
	if got := tenant.GroupsOf(people[0].ID); !cmp.Equal(got, []string{g.ID}) {
		t.Errorf("GroupsOf = %v", got)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &oktatest.Tenant{Now: func() time.Time { return now }}
	a := tenant.AddUser(map[string]any{"login": "ann@acme.test", "firstName": "Ann", "lastName": `O"Hara`, "title": "Clerk"})
	now = now.Add(time.Hour)
	b := tenant.AddUser(map[string]any{"login": "bob@acme.test", "firstName": "Bob", "lastName": "Ray"})
	tenant.SetStatus(b, "SUSPENDED")
	for filter, want := range map[string][]string{
		`status eq "ACTIVE"`:                        {a},
		`lastUpdated gt "2026-05-01T12:30:00.000Z"`: {b},
		`lastUpdated ge "2026-05-01T12:00:00.000Z"`: {a, b},
		`lastUpdated lt "2026-05-01T13:00:00.000Z"`: {a},
		`id eq "` + a + `" or id eq "` + b + `"`:    {a, b},
		`profile.login eq "BOB@acme.test"`:          {b},
		`profile.lastName eq "O\"Hara"`:             {a},
		`(status eq "ACTIVE" and profile.firstName eq "Bob") or profile.email eq "ann@acme.test"`: {a},
	} {
		if got := ids(t, get(t, tenant, "/api/v1/users?filter="+url.QueryEscape(filter))); !cmp.Equal(got, want) {
			t.Errorf("filter %s = %v, want %v", filter, got, want)
		}
	}
	if got := ids(t, get(t, tenant, "/api/v1/users?search="+url.QueryEscape(`profile.title sw "cl"`))); !cmp.Equal(got, []string{a}) {
		t.Errorf("search = %v", got)
	}
	if got := ids(t, get(t, tenant, "/api/v1/users?q=bo")); !cmp.Equal(got, []string{b}) {
		t.Errorf("q = %v", got)
	}
	g := tenant.AddGroup("G")
	now = now.Add(time.Hour)
	tenant.AddMember(g, a)
	for filter, want := range map[string][]string{
		`lastMembershipUpdated gt "2026-05-01T13:30:00.000Z"`:                                              {g},
		`lastUpdated gt "2026-05-01T13:30:00.000Z"`:                                                        {},
		`lastUpdated gt "2026-05-01T13:30:00.000Z" or lastMembershipUpdated gt "2026-05-01T13:30:00.000Z"`: {g},
		`type eq "OKTA_GROUP"`: {g},
	} {
		if got := ids(t, get(t, tenant, "/api/v1/groups?filter="+url.QueryEscape(filter))); !cmp.Equal(got, want) {
			t.Errorf("groups, filter %s = %v, want %v", filter, got, want)
		}
	}
}

func TestSearchLagsBehind(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &oktatest.Tenant{Now: func() time.Time { return now }, SearchLag: 10 * time.Second}
	search := func(name string) int {
		return len(ids(t, get(t, tenant, "/api/v1/users?search="+url.QueryEscape(`profile.lastName eq "`+name+`"`))))
	}
	id := tenant.AddUser(map[string]any{"login": "a@acme.test", "lastName": "Old"})
	if search("Old") != 0 {
		t.Error("search sees a new user at once")
	}
	now = now.Add(time.Minute)
	tenant.UpdateUser(id, map[string]any{"lastName": "New"})
	if search("Old") != 1 || search("New") != 0 {
		t.Error("search sees a change at once")
	}
	if w := get(t, tenant, "/api/v1/users?filter="+url.QueryEscape(`profile.lastName eq "New"`)); len(ids(t, w)) != 1 {
		t.Error("filter does not see a change at once")
	}
	now = now.Add(time.Minute)
	tenant.DeleteUser(id)
	if search("New") != 1 {
		t.Error("search forgets a deleted user at once")
	}
	now = now.Add(time.Minute)
	if search("New") != 0 {
		t.Error("search never forgets a deleted user")
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &oktatest.Tenant{Now: func() time.Time { return now }, EnforceLimits: true, Limits: map[string]int{"users": 2}}
	header := func(w *httptest.ResponseRecorder, name string) string {
		return strings.Join(w.Header()["x-rate-limit-"+name], "")
	}
	for i, want := range []string{"1", "0"} {
		if w := get(t, tenant, "/api/v1/users"); w.Code != 200 || header(w, "remaining") != want || header(w, "limit") != "2" {
			t.Errorf("request %d: status %d, headers %v", i+1, w.Code, w.Header())
		}
	}
	w := get(t, tenant, "/api/v1/users")
	if w.Code != 429 || !strings.Contains(w.Body.String(), "E0000047") || header(w, "reset") != strconv.FormatInt(now.Add(time.Minute).Unix(), 10) {
		t.Errorf("beyond the limit: %d %s %v", w.Code, w.Body, w.Header())
	}
	if w := get(t, tenant, "/api/v1/groups"); w.Code != 200 || header(w, "limit") != "500" {
		t.Errorf("another bucket: %d, limit %s", w.Code, header(w, "limit"))
	}
	now = now.Add(time.Minute)
	if w := get(t, tenant, "/api/v1/users"); w.Code != 200 {
		t.Errorf("next window: %d", w.Code)
	}
}

func TestSystemLog(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &oktatest.Tenant{Now: func() time.Time { return now }}
	for i := range 3 {
		tenant.DeleteUser(tenant.AddUser(map[string]any{"login": fmt.Sprintf("%d@acme.test", i)}))
		now = now.Add(time.Hour)
	}
	type entry struct {
		EventType string
		Target    []struct{ ID, Type string }
	}
	filter := "&filter=" + url.QueryEscape(`eventType eq "user.lifecycle.delete.completed"`)
	w := get(t, tenant, "/api/v1/logs?since=2026-05-01T13:00:00Z&until=2026-05-01T20:00:00Z"+filter)
	if list := decode[[]entry](t, w); len(list) != 2 || list[0].Target[0].Type != "User" || len(w.Header()["Link"]) != 1 {
		t.Errorf("bounded: %+v, links %v, want two entries and no next link", list, w.Header()["Link"])
	}
	w = get(t, tenant, "/api/v1/logs?since=2030-01-01T00:00:00Z")
	if w.Body.String() != "[]" || len(w.Header()["Link"]) != 2 {
		t.Errorf("polling: %s, links %v, want a next link for ever", w.Body, w.Header()["Link"])
	}
	w = get(t, tenant, "/api/v1/logs?limit=2")
	next := strings.TrimSuffix(strings.TrimPrefix(w.Header()["Link"][1], "<"+org), `>; rel="next"`)
	if first, second := decode[[]entry](t, w), decode[[]entry](t, get(t, tenant, next)); len(first) != 2 || len(second) != 2 || first[0].EventType != "user.lifecycle.create" {
		t.Errorf("pages: %+v and %+v", first, second)
	}
}

func TestServerAndCounters(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	server := tenant.StartTLS()
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := server.WriteCA(file); err != nil {
		t.Fatal(err)
	}
	if pem, err := os.ReadFile(file); err != nil || !bytes.Contains(pem, []byte("BEGIN CERTIFICATE")) {
		t.Errorf("CA file: %s, %v", pem, err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			id := tenant.AddUser(nil)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/users/"+id, nil)
			req.Header.Set("Authorization", "SSWS "+oktatest.DefaultToken)
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(body, []byte(server.URL+"/api/v1/users/"+id)) {
				t.Errorf("%s, %v", body, err)
			}
		})
	}
	wait.Wait()
	if got := tenant.Requests(oktatest.GetUser); got != 4 || tenant.Requests("") != 4 || len(tenant.Log()) != 4 || tenant.Counts()[oktatest.GetUser] != 4 {
		t.Errorf("Requests = %d, Counts = %v, Log = %v", got, tenant.Counts(), tenant.Log())
	}
	tenant.ResetRequests()
	if tenant.Requests("") != 0 {
		t.Error("counters stand after ResetRequests")
	}
	if _, err := tenant.Listen("256.0.0.1:0"); err == nil {
		t.Error("Listen at an address that is none succeeds")
	}
}

func TestMistakesOfATestPanic(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.AddUser(map[string]any{"login": "a@acme.test"})
	for name, f := range map[string]func(){
		"user":  func() { tenant.SetStatus("x", "ACTIVE") },
		"group": func() { tenant.AddMember("x", "y") },
		"app":   func() { tenant.AssignUser("x", "y", "") },
		"login": func() { tenant.AddUser(map[string]any{"login": "A@acme.test"}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	if len(tenant.Users()) != 1 {
		t.Error("the tenant is locked or changed after a panic")
	}
}
