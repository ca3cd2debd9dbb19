package entra_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
	"github.com/idpsync/idpsync/store/identity"
)

type object = map[string]any

// twisted serves the tenant with the objects of delta queries changed: twist gets each page's endpoint and objects.
func twisted(t *testing.T, tenant *entratest.Tenant, twist func(path string, objects []object) []object) entra.Options {
	t.Helper()
	tenant.Uncompressed = true
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "()"), "/delta") {
			tenant.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		tenant.ServeHTTP(answer, r)
		var page struct {
			Context string   `json:"@odata.context"`
			Value   []object `json:"value"`
			Next    string   `json:"@odata.nextLink,omitempty"`
			Delta   string   `json:"@odata.deltaLink,omitempty"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		page.Value = twist(strings.TrimSuffix(r.URL.Path, "()"), page.Value)
		body, _ := json.Marshal(page)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Date", answer.Header().Get("Date"))
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	return entra.Options{
		TenantID: entratest.DefaultTenantID, ClientID: entratest.DefaultClientID, ClientSecret: entratest.DefaultClientSecret, GraphURL: server.URL + "/v1.0",
		Authority: server.URL, RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, Backoff: time.Millisecond,
	}
}

// without leaves objects of a list out.
func without(list string, ids ...string) func(string, []object) []object {
	return func(path string, objects []object) []object {
		if !strings.HasSuffix(path, list) {
			return objects
		}
		return slices.DeleteFunc(objects, func(o object) bool { return slices.Contains(ids, o["id"].(string)) })
	}
}

func ids(users []entratest.User) []string {
	var list []string
	for _, u := range users {
		list = append(list, u.ID)
	}
	return list
}

// A user list that leaves people out shows by those whom groups and assignments name.
func TestWhomTheUserListMissesIsReadByID(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*entratest.Tenant, *entra.Options){
		"whole tenant": func(*entratest.Tenant, *entra.Options) {},
		"members only": func(_ *entratest.Tenant, o *entra.Options) { o.RequireGroup = new(true) },
		"an application": func(tenant *entratest.Tenant, o *entra.Options) {
			o.ServicePrincipalID = tenant.AddServicePrincipal("idpsync")
			for _, g := range tenant.Groups() {
				tenant.Assign(o.ServicePrincipalID, g.ID, "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Seed: 2, DeltaPage: 20}
			tenant.Fill(100, 5, 200)
			o := twisted(t, tenant, without("/users/delta", ids(tenant.Users()[10:13])...))
			set(tenant, &o)
			wantAll(t, collect(connect(t, o).Full(t.Context(), "")), tenant)
			if got := tenant.Requests(entratest.GetUser); got != 3 {
				t.Errorf("%d people were read by id, want 3", got)
			}
		})
		t.Run(name+", too many", func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Seed: 2, DeltaPage: 20}
			tenant.Fill(100, 5, 200)
			o := twisted(t, tenant, without("/users/delta", ids(tenant.Users()[10:60])...))
			set(tenant, &o)
			s := collect(connect(t, o).Full(t.Context(), ""))
			wantIncomplete(t, s, []connectors.Phase{connectors.PhaseUsers, connectors.PhaseMembers})
			for id, last := range s.Last {
				if last {
					t.Errorf("group %s is listed to its end", id)
				}
			}
		})
	}
	t.Run("and who does not exist was not missed", func(t *testing.T) {
		t.Parallel()
		tenant := &entratest.Tenant{Seed: 2, DeltaPage: 20}
		tenant.Fill(100, 5, 200)
		ghosts := []any{}
		for range 60 {
			ghosts = append(ghosts, object{"@odata.type": "#microsoft.graph.user", "id": strings.Replace("00000000-0000-4000-8000-000000000000", "0000-4", string(rune('a'+len(ghosts)%6))+strings.Repeat("0", 3)+"-4", 1)})
		}
		for i := range ghosts {
			ghosts[i].(object)["id"] = "00000000-0000-4000-8000-0000000000" + string("0123456789abcdef"[i/16]) + string("0123456789abcdef"[i%16])
		}
		first := true
		o := twisted(t, tenant, func(path string, objects []object) []object {
			if strings.HasSuffix(path, "/groups/delta") && first {
				first = false
				members, _ := objects[0]["members@delta"].([]any)
				objects[0]["members@delta"] = append(members, ghosts...)
			}
			return objects
		})
		wantAll(t, collect(connect(t, o).Full(t.Context(), "")), tenant)
	})
	t.Run("and an error on the way is no evidence", func(t *testing.T) {
		t.Parallel()
		tenant := &entratest.Tenant{Seed: 2}
		tenant.Fill(30, 2, 60)
		o := twisted(t, tenant, without("/users/delta", tenant.Users()[3].ID))
		tenant.Inject(entratest.Fault{Kind: entratest.Forbidden, Endpoint: entratest.GetUser, Times: -1})
		s := collect(connect(t, o).Full(t.Context(), ""))
		if !errors.Is(s.Err, connectors.ErrForbidden) || s.Complete[connectors.PhaseUsers] || s.Complete[connectors.PhaseMembers] || !s.Complete[connectors.PhaseGroups] {
			t.Errorf("Full = %v, complete %v", s.Err, s.Complete)
		}
	})
}

// A group that is in another one and not in the list shows that the list was short, unless it does not exist.
func TestWhichGroupTheGroupListMisses(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 2}
	tenant.Fill(30, 4, 60)
	groups := tenant.Groups()
	tenant.AddMember(groups[0].ID, groups[1].ID)
	s := collect(connect(t, twisted(t, tenant, without("/groups/delta", groups[1].ID))).Full(t.Context(), ""))
	wantIncomplete(t, s, []connectors.Phase{connectors.PhaseGroups, connectors.PhaseMembers})
	if s.Last[groups[0].ID] {
		t.Error("a group is listed to its end, though one in it is not known")
	}
	tenant.Inject(entratest.Fault{Kind: entratest.NotFound, Endpoint: entratest.GetGroup, Times: -1})
	if s := collect(connect(t, twisted(t, tenant, without("/groups/delta", groups[1].ID))).Full(t.Context(), "")); s.Err != nil || !s.Last[groups[0].ID] {
		t.Errorf("Full with a group that does not exist = %v", s.Err)
	}
}

// Somebody who comes again with a part of what they have is not cleared of the rest.
func TestPartialRepetitions(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 2, DeltaPage: 10}
	tenant.Fill(30, 2, 60)
	u, page := tenant.Users()[0], 0
	o := twisted(t, tenant, func(path string, objects []object) []object {
		if strings.HasSuffix(path, "/users/delta") {
			if page++; page == 2 {
				objects = append(objects, object{"id": u.ID, "manager@delta": []any{object{"@odata.type": "#microsoft.graph.user", "id": tenant.Users()[5].ID}}})
			}
		}
		return objects
	})
	c := connect(t, o)
	s := collect(c.Full(t.Context(), ""))
	wantAll(t, s, tenant)
	if n := len(s.All[u.ID]); n != 2 || s.All[u.ID][1].UserName != u.UserPrincipalName() || len(s.All[u.ID][1].Attributes) < 20 {
		t.Errorf("stated %d times: %+v", n, s.All[u.ID])
	}
}

// Somebody who is stated and then said to be removed in the same round would not be told of again: there is no checkpoint,
// so that the next pull is a full one.
func TestRemovedAfterStated(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]bool{"": false, " and back": true} {
		t.Run("removed"+name, func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Seed: 2, DeltaPage: 10}
			tenant.Fill(30, 2, 60)
			u, page := tenant.Users()[0], 0
			var whole object
			o := twisted(t, tenant, func(path string, objects []object) []object {
				if !strings.HasSuffix(path, "/users/delta") {
					return objects
				}
				switch page++; {
				case page == 1:
					whole = objects[0]
				case page == 2:
					objects = append(objects, object{"id": u.ID, "@removed": object{"reason": "changed"}})
				case page == 3 && back:
					objects = append(objects, whole)
				}
				return objects
			})
			s := collect(connect(t, o).Full(t.Context(), ""))
			if s.Err != nil || s.Checkpoint != "" || len(s.Complete) != 3 {
				t.Errorf("Full = %v, checkpoint %q", s.Err, s.Checkpoint)
			}
			in := false
			for _, members := range s.Members {
				in = in || slices.Contains(members, u.ID)
			}
			if in != back {
				t.Errorf("is a member: %t, want %t", in, back)
			}
		})
	}
}

// Who was removed before the first round is not stated, whether the round tells of them or not.
func TestRemovedInTheFirstRound(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 9, RemovedAtFirst: true, Leaving: entratest.LeaveNever}
	tenant.Fill(30, 2, 60)
	people := tenant.Users()
	tenant.DeleteUser(people[0].ID)
	tenant.PurgeUser(people[1].ID)
	tenant.RemoveMember(tenant.Groups()[0].ID, tenant.Groups()[0].Members[3])
	c := connect(t, serve(t, tenant))
	s := collect(c.Full(t.Context(), ""))
	wantAll(t, s, tenant)
	for _, u := range people[:2] {
		if _, stated := s.Users[u.ID]; stated {
			t.Errorf("%s is stated, though deleted", u.ID)
		}
	}
	if c.Requests() > 2 {
		t.Errorf("%d requests: nobody need be looked for", c.Requests())
	}
}

// Changes that tell less than all: what is not there did not change, and what it takes several properties to tell is
// read by id.
func TestChangesThatTellLittle(t *testing.T) {
	t.Parallel()
	const enterprise = identity.EnterpriseURN + ":"
	for name, tc := range map[string]struct {
		told     object
		guests   bool
		want     object // attributes
		userName string
		status   identity.Status
		doubtful bool
		unscoped bool // although nobody need be let in
	}{
		"one property":       {told: object{"jobTitle": "Boss"}, want: object{"title": "Boss"}, unscoped: true},
		"one that is null":   {told: object{"department": nil}, want: object{enterprise + "department": nil}, unscoped: true},
		"an empty one":       {told: object{"department": ""}, want: object{enterprise + "department": nil}, unscoped: true},
		"a complex one":      {told: object{"employeeOrgData": object{"division": "D"}}, want: object{enterprise + "division": "D", enterprise + "costCenter": nil}, unscoped: true},
		"enabled":            {told: object{"accountEnabled": false}, want: object{}, status: identity.StatusInactive, unscoped: true},
		"no word on it":      {told: object{"accountEnabled": nil}, want: object{}, status: identity.StatusUnknown, unscoped: true},
		"a name":             {told: object{"userPrincipalName": "x@acme.test"}, want: object{}, userName: "x@acme.test", unscoped: true},
		"a null name":        {told: object{"userPrincipalName": nil}, doubtful: true},
		"an external name":   {told: object{"userPrincipalName": "x#EXT#@acme.test"}, doubtful: true},
		"a guest's name":     {told: object{"userPrincipalName": "x#EXT#@acme.test", "userType": "Guest"}, guests: true, doubtful: true},
		"a guest, told":      {told: object{"userPrincipalName": "x#EXT#@acme.test", "userType": "Guest", "mail": "x@else.test"}, guests: true, userName: "x@else.test", want: object{`emails[type eq "work"].value`: "x@else.test"}, unscoped: true},
		"mail":               {told: object{"mail": "x@acme.test"}, guests: true, doubtful: true}, // may be a guest's name
		"a type":             {told: object{"userType": "Member"}, guests: true, doubtful: true},
		"a guest, left out":  {told: object{"userType": "Guest"}, doubtful: true},
		"mail cleared":       {told: object{"mail": nil, "userPrincipalName": "x@acme.test"}, doubtful: true},
		"mail and proxies":   {told: object{"mail": nil, "proxyAddresses": []string{"SMTP:y@acme.test"}, "userPrincipalName": "x@acme.test"}, doubtful: true}, // aliases depend on otherMails
		"all addresses":      {told: object{"mail": nil, "proxyAddresses": []string{"SMTP:y@acme.test"}, "otherMails": []string{}, "userPrincipalName": "x@acme.test"}, userName: "x@acme.test", want: object{`emails[type eq "work"].value`: "y@acme.test", `emails[type eq "other"].value`: nil}, unscoped: true},
		"a manager who left": {told: object{"manager@delta": []any{object{"id": "11111111-2222-4333-8444-555555555555", "@removed": object{"reason": "deleted"}}}}, want: object{enterprise + "manager.value": nil}, unscoped: true},
		"name and state":     {told: object{"userPrincipalName": "x@acme.test", "accountEnabled": true}, guests: true, want: object{}, userName: "x@acme.test", status: identity.StatusActive},
		"and not a guest":    {told: object{"userPrincipalName": "x@acme.test", "accountEnabled": true, "userType": "Member"}, want: object{}, userName: "x@acme.test", status: identity.StatusActive},
		"of no told type":    {told: object{"userPrincipalName": "x@acme.test", "accountEnabled": true}, want: object{}, userName: "x@acme.test", status: identity.StatusActive, unscoped: true},
		"nothing":            {told: object{}, want: object{}, unscoped: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Seed: 2}
			tenant.Fill(3, 1, 3)
			u, later := tenant.Users()[0], false
			o := twisted(t, tenant, func(path string, objects []object) []object {
				if later && strings.HasSuffix(path, "/users/delta") {
					told := object{"id": strings.ToUpper(u.ID)}
					for name, value := range tc.told {
						told[name] = value
					}
					return []object{told}
				}
				return objects
			})
			o.Guests = tc.guests
			c := connect(t, o)
			full := collect(c.Full(t.Context(), ""))
			later = true
			s := collect(c.Changes(t.Context(), full.Checkpoint))
			if s.Err != nil || s.Checkpoint == "" {
				t.Fatal(s.Err)
			}
			if tc.doubtful {
				if len(s.Users) > 0 || !slices.Equal(s.Doubtful, []string{u.ID}) {
					t.Errorf("stated %v, doubtful %v, want the latter", s.Users, s.Doubtful)
				}
				return
			}
			r, stated := s.Users[u.ID]
			got, want := values(r), tc.want
			if !stated || len(s.Doubtful) > 0 || len(got) != len(want) || r.UserName != tc.userName || r.Status != tc.status || s.Unscoped[u.ID] != tc.unscoped {
				t.Errorf("stated %+v, unscoped %t, doubtful %v, want %+v", r, s.Unscoped[u.ID], s.Doubtful, tc)
			}
			for path, value := range want {
				if v, told := got[path]; !told || v != value {
					t.Errorf("%s = %v, %t, want %v", path, v, told, value)
				}
			}
		})
	}
}

// Two words on one person on one page are stated in their order, whatever each of them tells.
func TestChangesOfOnePersonKeepTheirOrder(t *testing.T) {
	t.Parallel()
	whole := object{"userPrincipalName": "x@acme.test", "accountEnabled": true, "userType": "Member", "jobTitle": "whole"}
	part := object{"jobTitle": "part"}
	for name, order := range map[string][]object{"whole first": {whole, part}, "part first": {part, whole}, "between": {part, whole, part}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Seed: 2}
			tenant.Fill(3, 1, 3)
			u, later := tenant.Users()[0], false
			c := connect(t, twisted(t, tenant, func(path string, objects []object) []object {
				if !later || !strings.HasSuffix(path, "/users/delta") {
					return objects
				}
				var told []object
				for _, o := range order {
					o = maps.Clone(o)
					o["id"] = u.ID
					told = append(told, o)
				}
				return told
			}))
			full := collect(c.Full(t.Context(), ""))
			later = true
			var got []any
			for _, r := range collect(c.Changes(t.Context(), full.Checkpoint)).All[u.ID] {
				v, _ := value(r, "title")
				got = append(got, v)
			}
			var want []any
			for _, o := range order {
				want = append(want, o["jobTitle"])
			}
			if !slices.Equal(got, want) {
				t.Errorf("stated %v, want %v", got, want)
			}
		})
	}
}
