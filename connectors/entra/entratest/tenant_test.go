package entratest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

const (
	origin = "https://graph.test"
	root   = origin + "/v1.0"
)

// call asks the tenant without a network. A header is a name and a value.
func call(t *testing.T, tenant *entratest.Tenant, method, address, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	if !strings.HasPrefix(address, "https://") {
		address = root + address
	}
	r := httptest.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+tenant.Token())
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	tenant.ServeHTTP(w, r)
	return w
}

func get(t *testing.T, tenant *entratest.Tenant, address string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, tenant, http.MethodGet, address, "", headers...)
}

type item = map[string]any

// page is one page of a list.
type page struct {
	Context string `json:"@odata.context"`
	Count   *int   `json:"@odata.count"`
	Next    string `json:"@odata.nextLink"`
	Delta   string `json:"@odata.deltaLink"`
	Value   []item `json:"value"`
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return v
}

// list reads a list to its end, and returns the pages.
func list(t *testing.T, tenant *entratest.Tenant, address string, headers ...string) (pages []page, items []item) {
	t.Helper()
	for address != "" {
		p := decode[page](t, get(t, tenant, address, headers...))
		if p.Next != "" && p.Delta != "" {
			t.Errorf("%s: a next link and a delta link", address)
		}
		if len(pages) > 200 {
			t.Fatalf("%s does not end", address)
		}
		pages, items = append(pages, p), append(items, p.Value...)
		address = p.Next
	}
	return pages, items
}

// round reads a delta query to its end, and returns its delta link.
func round(t *testing.T, tenant *entratest.Tenant, address string, headers ...string) (deltaLink string, items []item) {
	t.Helper()
	pages, items := list(t, tenant, address, headers...)
	deltaLink = pages[len(pages)-1].Delta
	if deltaLink == "" {
		t.Fatalf("%s ends without a delta link", address)
	}
	return deltaLink, items
}

// code returns the status and the error code of a refusal.
func code(t *testing.T, w *httptest.ResponseRecorder) (int, string) {
	t.Helper()
	var body struct {
		Error struct {
			Code    *string
			Message string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error.Code == nil {
		t.Fatalf("status %d, no error: %s", w.Code, w.Body)
	}
	return w.Code, *body.Error.Code
}

func ids(items []item) []string {
	list := []string{}
	for _, i := range items {
		list = append(list, i["id"].(string))
	}
	return list
}

func TestDeltaLinkTellsOfWhatChangedSince(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 3}
	tenant.Fill(450, 5, 900)
	link, first := round(t, tenant, "/users/delta?$select=displayName,userPrincipalName,manager")
	if len(first) != 450 {
		t.Fatalf("%d users, want 450", len(first))
	}
	link, none := round(t, tenant, link)
	if len(none) != 0 {
		t.Errorf("%d users changed, want none", len(none))
	}
	people := tenant.Users()
	tenant.UpdateUser(people[7].ID, item{"displayName": "New Name"})
	tenant.UpdateUser(people[8].ID, item{"jobTitle": "Not selected"})
	tenant.DeleteUser(people[9].ID)
	tenant.PurgeUser(people[10].ID)
	_, changed := round(t, tenant, link)
	got := map[string]any{}
	for _, i := range changed {
		if removed, ok := i["@removed"]; ok {
			got[i["id"].(string)] = removed.(item)["reason"]
		} else {
			got[i["id"].(string)] = i["displayName"]
		}
	}
	want := map[string]any{people[7].ID: "New Name", people[9].ID: "changed", people[10].ID: "deleted"}
	for _, u := range people { // those whom they managed changed, too
		if _, known := want[u.ID]; !known && (u.Manager == people[9].ID || u.Manager == people[10].ID) {
			delete(got, u.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestGroupsDeltaHasMembers(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 3, DeltaLinks: 100}
	tenant.Fill(300, 3, 600)
	empty := tenant.AddGroup("Empty")
	link, items := round(t, tenant, "/groups/delta?$select=displayName,members")
	members, times := map[string]map[string]bool{}, map[string]int{}
	for _, g := range items {
		id := g["id"].(string)
		times[id]++
		added, there := g["members@delta"].([]any)
		if there == (id == empty) {
			t.Errorf("group %v: members@delta is there: %t", g["displayName"], there)
		}
		if members[id] == nil {
			members[id] = map[string]bool{}
		}
		for _, m := range added {
			if m := m.(item)["id"].(string); members[id][m] {
				t.Errorf("member %s of group %s comes twice", m, id)
			} else {
				members[id][m] = true
			}
		}
	}
	for _, g := range tenant.Groups() {
		if len(g.Members) != len(members[g.ID]) {
			t.Errorf("group %s: %d members, want %d", g.Name, len(members[g.ID]), len(g.Members))
		}
		if g.ID != empty && times[g.ID] < 2 {
			t.Errorf("group %s comes %d times, want it repeated over pages", g.Name, times[g.ID])
		}
	}
	g, who := tenant.Groups()[0], tenant.Users()[1].ID
	gone := g.Members[0]
	tenant.RemoveMember(g.ID, gone)
	tenant.AddMember(empty, who)
	_, items = round(t, tenant, link)
	want := []item{
		{"id": g.ID, "displayName": g.Name, "members@delta": []any{item{"@odata.type": "#microsoft.graph.user", "id": gone, "@removed": item{"reason": "deleted"}}}},
		{"id": empty, "displayName": "Empty", "members@delta": []any{item{"@odata.type": "#microsoft.graph.user", "id": who}}},
	}
	if diff := cmp.Diff(want, items); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestServerGivesTokensAndAnswersOverTLS(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(3, 1, 3)
	server := tenant.StartTLS()
	defer server.Close()
	client := server.Client()
	resp, err := client.Get(server.Authority() + "/" + entratest.DefaultTenantID + "/v2.0/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	var configuration struct {
		Token string `json:"token_endpoint"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&configuration); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp, err = client.PostForm(configuration.Token, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {entratest.DefaultClientID},
		"client_secret": {entratest.DefaultClientSecret}, "scope": {server.URL + "/.default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.GraphURL()+"/users/delta()", nil)
	req.Header.Set("Authorization", "Bearer "+token.Access)
	resp, err = client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p page
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || len(p.Value) != 3 || !strings.HasPrefix(p.Delta, server.GraphURL()) {
		t.Errorf("%v, %+v", err, p)
	}
	if n := tenant.GraphRequests(); n != 1 {
		t.Errorf("%d requests to Graph, want 1", n)
	}
}
