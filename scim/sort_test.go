package scim_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// listed returns what a path, "/"-joined, leads to in each resource of a list.
func (r *reply) listed(path string) []string {
	r.t.Helper()
	got := []string{}
	list, _ := r.at("Resources").([]any)
	for i := range list {
		got = append(got, fmt.Sprint(r.at(fmt.Sprintf("Resources/%d/%s", i, path))))
	}
	return got
}

// names returns the userNames in a list without their domain.
func (r *reply) names() string {
	r.t.Helper()
	return strings.ReplaceAll(strings.Join(r.listed("userName"), " "), "@x.example", "")
}

func TestRule10_Sorting(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		enterprise := func(attributes string) string { return `,"` + enterpriseURN + `":{` + attributes + `}` }
		e.newUser("dan", `,"title":"beta","timezone":"Europe/Berlin","name":{"givenName":"D","familyName":"Ng"},"active":false,"externalId":"b"`,
			enterprise(`"department":"Sales","manager":{"value":"m2"}`))
		e.newUser("ann", `,"title":"Alpha","name":{"givenName":"A","familyName":"Zu"},"externalId":"B"`,
			`,"phoneNumbers":[{"value":"2","type":"work"},{"value":"1","type":"home"}]`, enterprise(`"manager":{"value":"m1"}`))
		e.newUser("eve", `,"name":{"givenName":"E","familyName":"Àb"},"externalId":"a"`,
			`,"phoneNumbers":[{"value":"3","type":"work"},{"value":"0","type":"home","primary":true}]`, enterprise(`"department":"art"`))
		e.newUser("bob", `,"title":"ärger","name":{"givenName":"B","familyName":"Óz"}`)
		e.newUser("cat", `,"title":"alpha","displayName":"Cat","name":{"givenName":"C","familyName":"ng"}`, enterprise(`"department":"ART"`))

		for _, test := range []struct{ by, want string }{
			{"userName", "ann bob cat dan eve"},
			{"USERNAME", "ann bob cat dan eve"},
			{userURN + ":userName", "ann bob cat dan eve"},
			// Without regard to case, in the order of Unicode; ties by creation; no value comes last.
			{"title", "ann cat dan bob eve"},
			{"name.familyName", "dan cat ann eve bob"},
			{enterpriseURN + ":department", "eve cat dan ann bob"},
			{enterpriseURN + ":manager.value", "ann dan eve bob cat"},
			{enterpriseURN + ":manager", "ann dan eve bob cat"},
			// With regard to case, where the schema says so.
			{"externalId", "ann eve dan bob cat"},
			// The primary value counts, else the first.
			{"emails", "ann bob cat dan eve"},
			{"emails.value", "ann bob cat dan eve"},
			{"phoneNumbers", "eve ann dan bob cat"},
			{"phoneNumbers.type", "eve ann dan bob cat"},
			{"active", "dan ann eve bob cat"},
			{"displayName", "cat dan ann eve bob"},
			{"meta.created", "dan ann eve bob cat"},
			// Nobody has one, or everybody the same.
			{"nickName", "dan ann eve bob cat"},
			{"meta.resourceType", "dan ann eve bob cat"},
			{"", "dan ann eve bob cat"},
		} {
			query := "/Users?sortBy=" + url.QueryEscape(test.by)
			ascending := e.do("GET", query, "").want(200).names()
			if ascending != test.want {
				t.Errorf("by %s: %s, want %s", test.by, ascending, test.want)
			}
			if again := e.do("GET", query+"&sortOrder=Ascending", "").want(200).names(); again != ascending {
				t.Errorf("by %s: %s, then %s", test.by, ascending, again)
			}
			paged := ""
			for i := range 5 {
				paged += e.do("GET", fmt.Sprintf("%s&startIndex=%d&count=1", query, i+1), "").want(200).names() + " "
			}
			if strings.TrimSpace(paged) != ascending {
				t.Errorf("by %s: %s in pages of one, want %s", test.by, paged, ascending)
			}
			if test.by == "" {
				continue
			}
			// Descending is the reverse: no value comes first, and ties begin with the latest.
			backwards := strings.Fields(ascending)
			slices.Reverse(backwards)
			if got := e.do("GET", query+"&sortOrder=DESCENDING", "").want(200).names(); got != strings.Join(backwards, " ") {
				t.Errorf("by %s descending: %s, want the reverse of %s", test.by, got, ascending)
			}
		}
		for _, by := range []string{"id", "meta.location"} {
			ids := e.do("GET", "/Users?sortBy="+by, "").want(200).listed("id")
			if !slices.IsSorted(ids) {
				t.Errorf("by %s: %v", by, ids)
			}
		}
		e.patch("/Users/"+e.do("GET", "/Users?sortBy=userName&count=1", "").listed("id")[0], `{"op":"replace","path":"nickName","value":"x"}`).want(200)
		for _, by := range []string{"meta.lastModified", "meta.version"} {
			if got := e.do("GET", "/Users?sortBy="+by, "").want(200).names(); !strings.HasSuffix(got, " ann") {
				t.Errorf("by %s: %s, want ann last", by, got)
			}
		}
		if got := e.do("GET", "/Users?sortBy=title&filter="+url.QueryEscape(`title pr`), "").want(200).names(); got != "ann cat dan bob" {
			t.Errorf("filtered and sorted: %s", got)
		}

		for _, name := range []string{"Zeta", "beta", "Éta", "alpha"} {
			e.newGroup(name)
		}
		for _, test := range []struct{ query, want string }{
			{"", "Zeta beta Éta alpha"},
			{"sortBy=displayName", "alpha beta Zeta Éta"},
			{"sortBy=displayName&sortOrder=descending", "Éta Zeta beta alpha"},
			{"sortOrder=descending", "Zeta beta Éta alpha"}, // of no attribute
			{"sortBy=externalId", "Zeta beta Éta alpha"},
		} {
			if got := strings.Join(e.do("GET", "/Groups?"+test.query, "").want(200).listed("displayName"), " "); got != test.want {
				t.Errorf("groups, %s: %s, want %s", test.query, got, test.want)
			}
		}
	})
}

func TestRule10_SortingThatIsRefused(t *testing.T) {
	e := onSQLite(t)
	for _, query := range []string{
		"sortBy=shoeSize", "sortBy=name", "sortBy=addresses", "sortBy=meta", "sortBy=userName.x", "sortBy=a%20b", "sortBy=[", "sortBy=" + userURN,
		"sortBy=" + enterpriseURN, "sortBy=" + url.QueryEscape(`emails[type eq "work"].value`), "sortBy=members", "sortBy=groups", "sortBy=password", "sortBy=schemas", "sortBy=groups.display", "sortBy=" + strings.Repeat("x", 9000),
		"sortBy=userName&sortOrder=up", "sortOrder=desc",
	} {
		e.do("GET", "/Users?"+query, "").want(400, "invalidValue")
	}
	e.do("GET", "/Groups?sortBy=userName", "").want(400, "invalidValue")
	e.do("GET", "/Groups?sortBy=members.value", "").want(400, "invalidValue")
}

// attributes names every attribute of a resource type that can be sorted by.
func (e *endpoint) attributes(schemas ...string) []string {
	e.t.Helper()
	names := []string{"id", "externalId", "meta.created", "meta.lastModified", "meta.version", "meta.location", "meta.resourceType"}
	for _, urn := range schemas {
		list, _ := e.do("GET", "/Schemas/"+urn, "").want(200).at("attributes").([]any)
		for _, a := range list {
			a, _ := a.(map[string]any)
			name := fmt.Sprint(urn, ":", a["name"])
			if slices.Contains([]any{"groups", "members", "password"}, a["name"]) {
				continue
			}
			subs, _ := a["subAttributes"].([]any)
			for _, sub := range subs {
				names = append(names, fmt.Sprint(name, ".", sub.(map[string]any)["name"]))
			}
			if subs == nil || slices.Contains(names, name+".value") {
				names = append(names, name)
			}
		}
	}
	return names
}

// Whatever it is sorted by, a walk sees what one page shows, and descending is the reverse; odd values do no harm.
func TestRule10_SortingByEveryAttribute(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		for i, more := range []string{
			``,
			`,"title":"Ünï","nickName":"","roles":"admin","active":false,"locale":"de","externalId":"x"`,
			`,"title":"ÜNÏ","roles":["viewer","admin"],"addresses":[{"country":"DE"},{"country":"AT","primary":true}],"preferredLanguage":"de"`,
			`,"title":"zz","roles":[{"value":"{\"value\":\"admin\"}","primary":true}],"x509Certificates":[{"value":"AAAA"}],"name":{"givenName":"x","familyName":"y","formatted":"\"'\\"}`,
			`,"title":"` + strings.Repeat("long ", 500) + `","photos":[{"value":"https://x.example/1","type":"photo"}],"phoneNumbers":["1",{"value":"2"}],"userType":"%_"`,
			`,"title":"\u2028😀","` + enterpriseURN + `":{"department":"D","employeeNumber":"10","manager":"9"}`,
			`,"title":"1","entitlements":[{"value":"b"},{"value":"a","primary":true}],"ims":[{"value":"q","primary":"True"}],"` + enterpriseURN + `":{"employeeNumber":"9"}`,
		} {
			e.newUser(fmt.Sprintf("u%d", (i*5)%7), more)
			e.newGroup(fmt.Sprintf("Grüppe %d", (i*3)%7))
		}
		for resource, names := range map[string][]string{
			"/Users": e.attributes(userURN, enterpriseURN), "/Groups": e.attributes("urn:ietf:params:scim:schemas:core:2.0:Group"),
		} {
			for _, name := range names {
				query := resource + "?sortBy=" + url.QueryEscape(name)
				want := e.do("GET", query, "").want(200).listed("id")
				if got := e.walk(query+"&count=2", nil); !slices.Equal(got, want) || len(want) != 7 {
					t.Errorf("%s: a walk sees %v, one page has %v", query, got, want)
				}
				slices.Reverse(want)
				if got := e.walk(query+"&count=3&sortOrder=descending", nil); !slices.Equal(got, want) {
					t.Errorf("%s: descending %v, want %v", query, got, want)
				}
			}
		}
	})
}
