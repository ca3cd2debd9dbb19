package scim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

const passURN = "urn:acme:2.0:Pass"

// withPass adds an extension that has something of each kind of "returned".
func withPass(o *scim.Options) {
	o.Extensions = []schema.Schema{{ID: passURN, Name: "Pass", Attributes: []schema.Attribute{
		{Name: "number", Returned: schema.Always},
		{Name: "color"},
		{Name: "pin", Returned: schema.OnRequest},
		{Name: "secret", Returned: schema.Never},
		{Name: "doors", Type: schema.Complex, MultiValued: true, SubAttributes: []schema.Attribute{
			{Name: "value"}, {Name: "floor", Returned: schema.Always}, {Name: "code", Returned: schema.OnRequest}, {Name: "key", Returned: schema.Never},
		}},
	}}}
}

// shape writes which attributes there are in a value: names in order, without values.
func shape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for name, member := range v {
			parts = append(parts, strings.TrimPrefix(name, "urn:acme:2.0:")+shape(member))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		var parts []string
		for _, element := range v {
			if _, ok := element.(map[string]any); ok {
				parts = append(parts, shape(element))
			}
		}
		return strings.Join(parts, "")
	}
	return ""
}

func TestRule10_Projection(t *testing.T) {
	e := onSQLite(t, withPass)
	pass := `,"` + passURN + `":{"number":"7","color":"red","pin":"1234","secret":"s","doors":[{"value":"A","floor":"1","code":"c","key":"k"},{"floor":"2"}]}`
	more := `,"title":"x","roles":["admin"],"phoneNumbers":[{"value":"1","type":"work"},{"value":"2"}]` + pass
	id := e.newUser("ann", more)
	e.newGroup("Staff", id)

	for query, want := range map[string]string{
		"":                                       "{Pass{color doors{floor value}{floor} number} active emails{primary type value} groups{$ref display type value} id meta{created lastModified location resourceType version} name{familyName givenName} phoneNumbers{type value}{value} roles schemas title userName}",
		"attributes=userName":                    "{Pass{number} id schemas userName}",
		"attributes=id":                          "{Pass{number} id schemas}",
		"attributes=unknown":                     "{Pass{number} id schemas}",
		"attributes=,":                           "{Pass{number} id schemas}",
		"attributes=name":                        "{Pass{number} id name{familyName givenName} schemas}",
		"attributes=NAME.GIVENNAME":              "{Pass{number} id name{givenName} schemas}",
		"attributes=name.givenName,name":         "{Pass{number} id name{familyName givenName} schemas}",
		"attributes=name.formatted":              "{Pass{number} id schemas}",
		"attributes=phoneNumbers.type":           "{Pass{number} id phoneNumbers{type} schemas}",
		"attributes=roles.display":               "{Pass{number} id schemas}",
		"attributes=roles.value":                 "{Pass{number} id roles schemas}",
		"attributes=title&attributes=name":       "{Pass{number} id name{familyName givenName} schemas title}",
		"attributes=" + userURN + ":title":       "{Pass{number} id schemas title}",
		"attributes=" + userURN:                  "{Pass{number} active emails{primary type value} groups{$ref display type value} id name{familyName givenName} phoneNumbers{type value}{value} roles schemas title userName}",
		"attributes=" + passURN:                  "{Pass{color doors{floor value}{floor} number} id schemas}",
		"attributes=" + passURN + ":color":       "{Pass{color number} id schemas}",
		"attributes=" + passURN + ":pin":         "{Pass{number pin} id schemas}",
		"attributes=" + passURN + ":secret":      "{Pass{number} id schemas}",
		"attributes=" + passURN + ":doors.value": "{Pass{doors{floor value}{floor} number} id schemas}",
		"attributes=" + passURN + ":doors.code":  "{Pass{doors{code floor}{floor} number} id schemas}",
		"attributes=" + passURN + ":doors.key":   "{Pass{doors{floor}{floor} number} id schemas}",
		"attributes=password":                    "{Pass{number} id schemas}",
		"excludedAttributes=emails,groups,meta,roles,phoneNumbers,active":                        "{Pass{color doors{floor value}{floor} number} id name{familyName givenName} schemas title userName}",
		"excludedAttributes=id,schemas,userName,name.familyName,meta,groups,roles":               "{Pass{color doors{floor value}{floor} number} active emails{primary type value} id name{givenName} phoneNumbers{type value}{value} schemas title}",
		"excludedAttributes=" + userURN + ",meta":                                                "{Pass{color doors{floor value}{floor} number} id schemas}",
		"excludedAttributes=" + userURN + ",meta," + passURN:                                     "{Pass{doors{floor}{floor} number} id schemas}",
		"excludedAttributes=" + userURN + ",meta," + passURN + ":doors.floor":                    "{Pass{color doors{floor value}{floor} number} id schemas}",
		"excludedAttributes=" + userURN + ",meta," + passURN + ":doors":                          "{Pass{color doors{floor}{floor} number} id schemas}",
		"excludedAttributes=" + userURN + ",meta," + passURN + ":number":                         "{Pass{color doors{floor value}{floor} number} id schemas}",
		"excludedAttributes=unknown,name.givenName,name.familyName,roles.value,meta&attributes=": "{Pass{color doors{floor value}{floor} number} active emails{primary type value} groups{$ref display type value} id phoneNumbers{type value}{value} schemas title userName}",
		"attributes=name,title,id&excludedAttributes=name.givenName,id,userName":                 "{Pass{number} id name{familyName} schemas title}",
		"attributes=title&excludedAttributes=title":                                              "{Pass{number} id schemas}",
	} {
		query = strings.ReplaceAll(query, ":", "%3A")
		one := e.do("GET", "/Users/"+id+"?"+query, "").want(200)
		if got := shape(one.doc); got != want {
			t.Errorf("%s:\n%s, want\n%s", query, got, want)
		}
		names := map[string]any{}
		for part := range strings.SplitSeq(strings.ReplaceAll(query, "%3A", ":"), "&") {
			if name, value, _ := strings.Cut(part, "="); value != "" {
				before, _ := names[name].([]string)
				names[name] = append(before, value)
			}
		}
		parameters := []any{}
		for name, value := range names {
			parameters = append(parameters, name, value)
		}
		for _, r := range []*reply{
			e.do("GET", "/Users?"+query, ""), e.search("/Users", parameters...), e.search("", append(parameters, "filter", "userName pr")...),
			e.do("GET", "/Users?cursor=&"+query, ""),
		} {
			if got := shape(r.want(200).at("Resources/0")); got != want {
				t.Errorf("%s of %s:\n%s, want\n%s", query, r.call, got, want)
			}
		}
	}
	// What is written is answered in the same way, and what is returned on request, when it is written.
	body := person("bob", more)
	made := e.do("POST", "/Users?attributes=title", body).want(201)
	if got := shape(made.doc); got != "{Pass{number} id schemas title}" {
		t.Errorf("POST: %s", got)
	}
	bob := made.id()
	for _, test := range []struct{ method, query, body, want string }{
		{"PUT", "excludedAttributes=emails,groups,meta,roles,phoneNumbers,active,name", body, "{Pass{color doors{code floor value}{floor} number pin} id schemas title userName}"},
		{"PATCH", "attributes=title", patchBody(`{"op":"replace","path":"title","value":"y"}`), "{Pass{number} id schemas title}"},
		{"PATCH", "excludedAttributes=emails,groups,meta,roles,phoneNumbers,active,name", patchBody(`{"op":"replace","path":"title","value":"z"}`), "{Pass{color doors{floor value}{floor} number} id schemas title userName}"},
		{"PATCH", "excludedAttributes=emails,groups,meta,roles,phoneNumbers,active,name", patchBody(`{"op":"replace","path":"` + passURN + `:pin","value":"1"}`), "{Pass{color doors{floor value}{floor} number pin} id schemas title userName}"},
		{"PATCH", "excludedAttributes=emails,groups,meta,roles,phoneNumbers,active,name", patchBody(`{"op":"replace","value":{"` + passURN + `":{"pin":"2"}}}`), "{Pass{color doors{floor value}{floor} number pin} id schemas title userName}"},
	} {
		if got := shape(e.do(test.method, "/Users/"+bob+"?"+test.query, test.body).want(200).doc); got != test.want {
			t.Errorf("%s %s:\n%s, want\n%s", test.method, test.query, got, test.want)
		}
	}
	group := e.do("POST", "/Groups?excludedAttributes=members", `{"displayName":"Crew","members":`+refsOf(id)+`}`).want(201).has("members", nil, "displayName", "Crew").id()
	e.do("PUT", "/Groups/"+group+"?attributes=members.value", `{"displayName":"Crew","members":`+refsOf(id)+`}`).want(200).has("members/0/value", id, "members/0/display", nil, "displayName", nil)
	e.patch("/Groups/"+group+"?attributes=displayName", `{"op":"replace","path":"displayName","value":"Band"}`).want(200).has("displayName", "Band", "members", nil, "meta", nil)
}

func patchBody(operations string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operations + `]}`
}

// A list takes as many statements for many as for few, and what is not wanted is not read.
func TestRule10_StatementsOfAList(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ids := e.people("p", 200)
		for i := range 200 {
			e.newGroup(fmt.Sprintf("g%03d", i), ids[i], ids[(i+1)%200])
		}
		var statements []string
		if err := e.store.Watch(func(statement string, _ []any) { statements = append(statements, statement) }); err != nil {
			t.Fatal(err)
		}
		for target, without := range map[string]string{"/Users": "groups", "/Groups": "members", "/": "groups,members"} {
			var counts [2][2]int
			for i, count := range []int{10, 200} {
				for j, query := range []string{"", "&excludedAttributes=" + without} {
					statements = nil
					e.do("GET", fmt.Sprintf("%s?startIndex=1&count=%d%s", target, count, query), "").want(200).has("itemsPerPage", count)
					counts[i][j] = len(statements)
					if j == 1 && strings.Contains(strings.Join(statements, " "), "group_members") {
						t.Errorf("%s%s reads memberships: %s", target, query, statements)
					}
				}
			}
			if counts[0][0] == 0 || counts[0][0] > 6 || counts[1][0] > counts[0][0] || counts[0][1] >= counts[0][0] {
				t.Errorf("%s: %v statements for 10 and 200, with and without %s", target, counts, without)
			}
		}
		// A page far down a walk is not counted, and takes what the second one takes.
		statements = nil
		cursor, deep := "", []int{}
		for range 5 {
			statements = nil
			cursor, _ = e.do("GET", "/Users?count=20&excludedAttributes=groups&cursor="+cursor, "").want(200).at("nextCursor").(string)
			deep = append(deep, len(statements))
		}
		if deep[1] != deep[4] || strings.Contains(strings.Join(statements, " "), "count(*)") || strings.Contains(strings.Join(statements, " "), "group_members") {
			t.Errorf("a walk takes %v statements, at last %s", deep, statements)
		}
	})
}

// A page of groups that have more members than are held in memory at once is written as it is read.
func TestRule10_ManyMembersInAPage(t *testing.T) {
	if testing.Short() {
		t.Skip("it is about size")
	}
	each(t, func(t *testing.T, e *endpoint) {
		const large = 50_000
		ids := make([]string, 0, large)
		for i := range 5 {
			ids = append(ids, e.people(fmt.Sprintf("p%d-", i), large/5)...)
		}
		groups := []struct {
			name    string
			members int
		}{{"small", 1}, {"large", large}, {"none", 0}, {"middling", 15_000}, {"another", 15_000}, {"last", 2}}
		for _, g := range groups {
			err := e.store.InTx(t.Context(), func(tx *store.Tx) error {
				group := identity.Group{ID: uuid.NewString(), DisplayName: g.name, Version: 1}
				if err := tx.InsertGroup(t.Context(), &group); err != nil {
					return err
				}
				_, err := tx.AddMembers(t.Context(), group.ID, ids[:g.members])
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		server := httptest.NewServer(e.handler)
		defer server.Close()
		only := "/?cursor=&count=100&attributes=displayName,members.value&filter=" + url.QueryEscape(`meta.resourceType eq "Group"`)
		for _, target := range []string{"/Groups", only} {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/scim/v2"+target, nil)
			req.Header.Set("Authorization", "Bearer good")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			var list struct {
				TotalResults, ItemsPerPage int
				Resources                  []struct {
					DisplayName string
					Members     []struct{ Value string }
				}
			}
			if err == nil {
				err = json.Unmarshal(text, &list)
			}
			if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/scim+json" {
				t.Fatalf("%s: %d, %d bytes, %v", target, resp.StatusCode, len(text), err)
			}
			if list.TotalResults != len(groups) || list.ItemsPerPage != len(groups) || len(list.Resources) != len(groups) {
				t.Fatalf("%s: %d resources of %d, itemsPerPage %d", target, len(list.Resources), list.TotalResults, list.ItemsPerPage)
			}
			for i, g := range groups {
				distinct := map[string]bool{}
				for _, m := range list.Resources[i].Members {
					distinct[m.Value] = true
				}
				if list.Resources[i].DisplayName != g.name || len(distinct) != g.members {
					t.Errorf("%s: group %d is %s with %d members, want %s with %d", target, i, list.Resources[i].DisplayName, len(distinct), g.name, g.members)
				}
			}
			if head := e.do("HEAD", target, ""); head.status != 200 || head.text != "" {
				t.Errorf("HEAD %s = %d %.100s", target, head.status, head.text)
			}
		}
		if r := e.do("GET", "/Groups?excludedAttributes=members", "").want(200); len(r.text) > 5000 {
			t.Errorf("a list without members of %d bytes", len(r.text))
		}
	})
}
