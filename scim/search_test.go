package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// search sends a SearchRequest; parameters are name, value pairs.
func (e *endpoint) search(target string, parameters ...any) *reply {
	e.t.Helper()
	body := map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:SearchRequest"}}
	for i := 0; i < len(parameters); i += 2 {
		body[parameters[i].(string)] = parameters[i+1]
	}
	text, err := json.Marshal(body)
	if err != nil {
		e.t.Fatal(err)
	}
	return e.do("POST", target+"/.search", string(text))
}

func TestRule10_SearchIsTheSameAsGet(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann", `,"title":"x"`)
		bob := e.newUser("bob", `,"active":false`)
		e.newUser("cat", `,"title":"y"`)
		e.newGroup("Staff", ann, bob)
		e.newGroup("Crew")
		for _, test := range []struct {
			target string
			body   []any // name, value
		}{
			{"/Users", nil},
			{"/Users", []any{"filter", `title pr`}},
			{"/Users", []any{"filter", `active eq false or userName sw "c"`, "sortBy", "userName", "sortOrder", "descending"}},
			{"/Users", []any{"startIndex", 2, "count", 1}},
			{"/Users", []any{"startIndex", "2", "count", "1"}},
			{"/Users", []any{"start_index", 3}},
			{"/Users", []any{"startIndex", -1, "count", 0}},
			{"/Users", []any{"count", 1000000}},
			{"/Users", []any{"count", -1}},
			{"/Users", []any{"startIndex", 99999999999}},
			{"/Users", []any{"attributes", []string{"userName", "emails.value"}}},
			{"/Users", []any{"attributes", "userName,emails.value"}},
			{"/Users", []any{"excludedAttributes", []string{"emails", "groups", "name.givenName"}}},
			{"/Users", []any{"cursor", "", "count", 2}},
			{"/Users", []any{"cursor", "", "count", 5}},
			{"/Users", []any{"cursor", "x"}},
			{"/Users", []any{"cursor", "", "startIndex", 1}},
			{"/Users", []any{"filter", "x eq"}},
			{"/Users", []any{"filter", `shoeSize eq "9"`}},
			{"/Users", []any{"sortBy", "shoeSize"}},
			{"/Users", []any{"sortOrder", "up"}},
			{"/Users", []any{"count", "x"}},
			{"/Users", []any{"startIndex", 1.5}},
			{"/Users", []any{"unknown", "x"}},
			{"/Groups", []any{"filter", `displayName co "e"`, "excludedAttributes", "members"}},
			{"/Groups", []any{"filter", `members.value eq "` + ann + `"`}},
			{"/Groups", []any{"sortBy", "displayName", "count", 1, "cursor", ""}},
			{"", nil},
			{"", []any{"startIndex", 3, "count", 2, "attributes", []string{"displayName"}}},
			{"", []any{"filter", `meta.resourceType eq "Group"`}},
			{"", []any{"cursor", "", "count", 4}},
		} {
			query := url.Values{}
			for i := 0; i < len(test.body); i += 2 {
				switch v := test.body[i+1].(type) {
				case []string:
					query.Set(test.body[i].(string), strings.Join(v, ","))
				default:
					query.Set(test.body[i].(string), fmt.Sprint(v))
				}
			}
			get, search := e.do("GET", test.target+"/?"+query.Encode(), ""), e.search(test.target, test.body...)
			for _, r := range []*reply{get, search} {
				if _, ok := r.doc["nextCursor"]; ok {
					r.doc["nextCursor"] = "some"
				}
			}
			if get.status != search.status || !reflect.DeepEqual(get.doc, search.doc) {
				t.Errorf("%s %v: GET %d %v\nPOST %d %v", test.target, test.body, get.status, get.doc, search.status, search.doc)
			}
		}
		first := e.search("/Users", "cursor", "", "count", 2, "sortBy", "userName").want(200).has("itemsPerPage", 2)
		// What was begun by POST may go on by GET.
		next := first.at("nextCursor").(string)
		e.search("/Users", "cursor", next, "count", 2, "sortBy", "userName").want(200).has("itemsPerPage", 1, "nextCursor", nil, "Resources/0/userName", "cat@x.example")
		e.do("GET", "/Users?count=2&sortBy=userName&cursor="+next, "").want(200).has("Resources/0/userName", "cat@x.example")
	})
}

func TestRule10_SearchRequests(t *testing.T) {
	e := onSQLite(t)
	e.newUser("ann")
	for _, body := range []string{
		`{}`, `{"schemas":null,"filter":null,"attributes":null,"cursor":null,"count":null,"sortBy":null}`,
		`{"schemas":"URN:ietf:params:scim:api:messages:2.0:SearchRequest","FILTER":"userName pr"}`, `{"schemas":[]}`,
		`{"attributes":[],"excludedAttributes":[]}`, `{"attributes":["userName,id"," title "]}`,
	} {
		e.do("POST", "/Users/.search?filter=nonsense&count=0", body).want(200).has("totalResults", 1, "itemsPerPage", 1)
	}
	e.do("POST", "/Users/.search", `{"count":1}`, "Content-Type", "application/json").want(200)
	for body, scimType := range map[string]string{
		`{"schemas":["` + userURN + `"]}`: "invalidSyntax", `{"schemas":[1]}`: "invalidSyntax", `[]`: "invalidSyntax", `x`: "invalidSyntax", ``: "invalidSyntax",
		`{"filter":1}`: "invalidValue", `{"sortBy":["userName"]}`: "invalidValue", `{"sortOrder":true}`: "invalidValue", `{"cursor":{}}`: "invalidValue",
		`{"attributes":[1]}`: "invalidValue", `{"excludedAttributes":{}}`: "invalidValue", `{"count":true}`: "invalidValue", `{"startIndex":[1]}`: "invalidValue",
		`{"filter":"userName eq"}`: "invalidFilter",
	} {
		for _, target := range []string{"/Users/.search", "/Groups/.search", "/.search"} {
			e.do("POST", target, body).want(400, scimType)
		}
	}
	e.do("POST", "/Users/.search", `{}`, "Content-Type", "text/plain").want(415)
	e.do("POST", "/Users/.search", `{"filter":"`+strings.Repeat("x", 1<<20)+`"}`).want(413)
	e.do("GET", "/Users/.search", "").want(405)
	e.do("DELETE", "/.search", "").want(405)
	e.do("POST", "/Schemas/.search", `{}`).want(405)
	e.do("POST", "/", `{}`).want(405)
	elsewhere := httptest.NewRequest("GET", "/api/v1", nil)
	elsewhere.Header.Set("Authorization", "Bearer good")
	e.send(elsewhere).want(404)
}

// A query on the root covers users, then groups.
func TestRule10_SearchOverAllTypes(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		var users, groups []string
		for i := range 5 {
			users = append(users, e.newUser(fmt.Sprintf("u%d", 4-i), fmt.Sprintf(`,"displayName":"D%d"`, i%2)))
		}
		for i := range 4 {
			groups = append(groups, e.newGroup(fmt.Sprintf("D%d", i), users[i]))
		}
		all := slices.Concat(users, groups)
		created := e.do("GET", "/Users/"+users[2], "").at("meta/created").(string)
		for filter, want := range map[string][]string{
			"":                                              all,
			`id pr`:                                         all,
			`meta.resourceType eq "User"`:                   users,
			`meta.resourceType eq "Group"`:                  groups,
			`meta.resourceType ne "Group"`:                  users,
			`displayName eq "d1"`:                           {users[1], users[3], groups[1]},
			`userName eq "u4@x.example"`:                    {users[0]},
			`userName pr`:                                   users,
			`not (userName pr)`:                             groups,
			`userName eq null`:                              groups,
			`userName ne null`:                              users,
			`userName ne "u4@x.example"`:                    slices.Concat(users[1:], groups), // no value is another value
			`members pr`:                                    groups,
			`members.value eq "` + users[2] + `"`:           {groups[2]},
			`members[value eq "` + users[3] + `"]`:          {groups[3]},
			`not (members[value eq "` + users[3] + `"])`:    slices.Concat(users, groups[:3]),
			`emails[type eq "work"] or displayName eq "D3"`: slices.Concat(users, groups[3:]),
			`userName eq "u4@x.example" or members.value eq "` + users[1] + `"`:     {users[0], groups[1]},
			`userName eq "u4@x.example" and members.value eq "` + users[0] + `"`:    {},
			userURN + `:displayName eq "D0"`:                                        {users[0], users[2], users[4]},
			`active eq true and meta.created ge "` + created + `"`:                  users[2:],
			`id eq "` + groups[0] + `" or id eq "` + users[4] + `"`:                 {users[4], groups[0]},
			`meta.resourceType eq "Group" and (userName pr or displayName eq "D0")`: {groups[0]},
		} {
			r := e.search("", "filter", filter).want(200).has("totalResults", len(want), "itemsPerPage", len(want))
			if got := r.listed("id"); !slices.Equal(got, want) {
				t.Errorf("%s = %v, want %v", filter, got, want)
			}
		}
		for _, unknown := range []string{`shoeSize eq 9`, `userName pr or shoeSize pr`, `name.x pr`, `active gt true`, `members.value eq`} {
			e.search("", "filter", unknown).want(400, "invalidFilter")
		}
		for start := 1; start <= 11; start++ {
			for _, count := range []int{0, 1, 2, 5, 6, 100} {
				want := all[min(start-1, 9):min(start-1+count, 9)]
				r := e.search("", "startIndex", start, "count", count).want(200).has("totalResults", 9, "startIndex", start, "itemsPerPage", len(want))
				if got := r.listed("id"); !slices.Equal(got, want) {
					t.Errorf("from %d, %d: %v, want %v", start, count, got, want)
				}
			}
		}
		for _, count := range []int{1, 2, 3, 4, 5, 6, 8, 9, 10} {
			pages := 1
			if got := e.walk(fmt.Sprintf("/?count=%d", count), func() { pages++ }); !slices.Equal(got, all) || pages != (8+count)/count {
				t.Errorf("pages of %d: %d pages with %v, want %v", count, pages, got, all)
			}
		}
		filtered := "/?count=2&filter=" + url.QueryEscape(`displayName eq "D1"`)
		if got := e.walk(filtered, nil); !slices.Equal(got, []string{users[1], users[3], groups[1]}) {
			t.Errorf("a filtered walk: %v", got)
		}
		if got := e.walk("/?count=2&filter="+url.QueryEscape(`meta.resourceType eq "User"`), nil); !slices.Equal(got, users) {
			t.Errorf("a walk over users: %v", got)
		}
		// Sorted within each type; what a type does not have, it has no value of.
		sorted := slices.Concat([]string{users[4], users[3], users[2], users[1], users[0]}, groups)
		if got := e.search("", "sortBy", "userName").want(200).listed("id"); !slices.Equal(got, sorted) {
			t.Errorf("sorted: %v, want %v", got, sorted)
		}
		if got := e.walk("/?count=3&sortBy=userName", nil); !slices.Equal(got, sorted) {
			t.Errorf("a sorted walk: %v, want %v", got, sorted)
		}
		e.search("", "sortBy", "shoeSize").want(400, "invalidValue")
		e.search("", "attributes", []string{"displayName", "userName"}, "startIndex", 5, "count", 2).want(200).
			has("Resources/0/userName", "u0@x.example", "Resources/0/meta", nil, "Resources/1/displayName", "D0", "Resources/1/members", nil, "Resources/1/id", groups[0])
	})
}
