package scim_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/scim"
)

func TestRule8_Paging(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		var ids []string
		for i := range 7 {
			ids = append(ids, e.newUser(fmt.Sprintf("u%d", i)))
			e.newGroup(fmt.Sprintf("g%d", i))
		}
		tests := []struct {
			query         string
			start, length int
		}{
			{"", 1, 5},
			{"startIndex=1&count=2", 1, 2},
			{"startIndex=3&count=2", 3, 2},
			{"start_index=3&count=2", 3, 2},
			{"startIndex=6&count=100", 6, 2},
			{"startIndex=8", 8, 0},
			{"startIndex=0&count=1", 1, 1},
			{"startIndex=-5&count=1", 1, 1},
			{"count=0", 1, 0},
			{"count=-3", 1, 0},
			{"count=1000000", 1, 5},
			{"startIndex=99999999999999999999", 2147483647, 0},
			{"startIndex=&count=&aadOptscim062020&payload=x&filter=", 1, 5},
			{"startIndex=%202%20", 2, 5},
		}
		for _, resource := range []string{"/Users", "/Groups"} {
			for _, test := range tests {
				r := e.do("GET", resource+"?"+test.query, "").want(200).has(
					"totalResults", 7, "itemsPerPage", test.length, "schemas/0", "urn:ietf:params:scim:api:messages:2.0:ListResponse")
				list, ok := r.at("Resources").([]any)
				if r.at("startIndex") != float64(test.start) || !ok || len(list) != test.length {
					t.Errorf("%s: startIndex %v, %d resources, want %d, %d", r.call+"?"+test.query, r.at("startIndex"), len(list), test.start, test.length)
				}
				if !strings.Contains(r.text, `"totalResults":7,`) {
					t.Errorf("totalResults is no JSON integer: %.200s", r.text)
				}
				if resource == "/Users" && test.length > 0 {
					r.has("Resources/0/id", ids[test.start-1])
				}
			}
			for _, wrong := range []string{"startIndex=x", "count=x", "startIndex=1.5", "count=1e2", "start_index=one"} {
				e.do("GET", resource+"?"+wrong, "").want(400, "invalidValue")
			}
		}
	}, func(o *scim.Options) { o.MaxResults = 5 })
}

func TestRule9_Filters(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann", `,"externalId":"00u1","displayName":"Ann Lee"`)
		bob := e.newUser("bob", `,"externalId":"00u2","active":false`)
		home := e.do("POST", "/Users", `{"userName":"cat@home.example","name":{"givenName":"Cat","familyName":"Lee"},
			"emails":[{"value":"cat@home.example","type":"home","primary":true}]}`).want(201).id()
		staff := e.newGroup("Staff", ann, bob)
		crew := e.do("POST", "/Groups", `{"displayName":"Crew \"A\"","externalId":"00g2","members":[{"value":"`+ann+`"}]}`).want(201).id()
		created := e.do("GET", "/Users/"+bob, "").at("meta/lastModified").(string)

		check := func(resource string, filters map[string][]string) {
			t.Helper()
			for filter, want := range filters {
				r := e.do("GET", resource+"?filter="+url.QueryEscape(filter), "").want(200).has("totalResults", len(want))
				got := []string{}
				for _, u := range r.at("Resources").([]any) {
					got = append(got, u.(map[string]any)["id"].(string))
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s = %v, want %v", filter, got, want)
				}
			}
		}
		check("/Users", map[string][]string{
			`userName eq "ANN@x.example"`:                               {ann},
			`USERNAME EQ "ann@x.example"`:                               {ann},
			userURN + `:userName eq "ann@x.example"`:                    {ann},
			`userName eq "nobody@x.example"`:                            {},
			`userName eq "0f8b1d1c-5b0e-4ac6-8f5e-2d8a7f1f6a11"`:        {},
			`externalId eq "00u1"`:                                      {ann},
			`externalId eq "00U1"`:                                      {},
			`id eq "` + bob + `"`:                                       {bob},
			`id eq "nonsense"`:                                          {},
			`displayName eq "ann lee"`:                                  {ann},
			`active eq true`:                                            {ann, home},
			`active eq "False"`:                                         {bob},
			`emails eq "Ann@X.example"`:                                 {ann},
			`emails.value eq "ann@x.example"`:                           {ann},
			`emails[type eq "work"].value eq "ann@x.example"`:           {ann},
			`emails[type eq "work" and value eq "cat@home.example"]`:    {},
			`emails[type eq "home"].value eq "CAT@home.example"`:        {home},
			`emails[value eq "cat@home.example"]`:                       {home},
			`emails[value eq "cat@home.example" and primary eq "True"]`: {home},
			`userName eq "ann@x.example" and active eq true`:            {ann},
			`userName eq "bob@x.example" and active eq true`:            {},

			`(userName eq "ann@x.example") and (externalId eq "00u1" and active eq "true")`: {ann},
			`meta.lastModified ge "` + created + `" and id eq "` + bob + `"`:                {bob},
			`meta.lastModified gt "` + created + `" and id eq "` + bob + `"`:                {},
			`meta.lastModified lt "2001-01-01T00:00:00Z"`:                                   {},
			`meta.created gt "2001-01-01T00:00:00Z"`:                                        {ann, bob, home},
			`groups.value eq "` + staff + `"`:                                               {ann, bob},
		})
		check("/Groups", map[string][]string{
			`displayName eq "staff"`:                                    {staff},
			`displayName eq "Crew \"A\""`:                               {crew},
			`externalId eq "00g2"`:                                      {crew},
			`id eq "` + staff + `"`:                                     {staff},
			`members.value eq "` + ann + `"`:                            {staff, crew},
			`members eq "` + bob + `"`:                                  {staff},
			`members[value eq "` + bob + `"]`:                           {staff},
			`displayName eq "staff" and members.value eq "` + ann + `"`: {staff},
			`id eq "` + crew + `" and members.value eq "` + bob + `"`:   {},
			`members.value eq "nonsense"`:                               {},
			`meta.lastModified gt "2001-01-01T00:00:00Z"`:               {staff, crew},
		})
		e.do("GET", `/Users?startIndex=2&count=1&filter=`+url.QueryEscape(`emails[type eq "work"].value eq "ann@x.example"`), "").want(200).has("totalResults", 1, "itemsPerPage", 0)
	})
}

func TestRule9_FiltersThatAreRefused(t *testing.T) {
	e := onSQLite(t)
	for _, filter := range []string{
		`userName`, `userName eq`, `userName xx "a"`, `(userName eq "a"`, `userName eq "a" and`, `userName eq 'a'`, `shoeSize eq 9`,
		`active eq "maybe"`, `meta.lastModified gt "yesterday"`, strings.Repeat("(", 40) + `id pr` + strings.Repeat(")", 40),
		`userName eq "` + strings.Repeat("x", 5000) + `"`, "userName eq \"\x00\"",
	} {
		e.do("GET", "/Users?filter="+url.QueryEscape(filter), "").want(400, "invalidFilter")
		e.do("GET", "/Groups?filter="+url.QueryEscape(filter), "").want(400, "invalidFilter")
	}
	r := e.do("GET", "/Users?filter="+url.QueryEscape(`userName eq "a" xor id pr`), "").want(400, "invalidFilter")
	if detail, _ := r.at("detail").(string); !strings.Contains(detail, "position 17") {
		t.Errorf("detail %q does not name the position", detail)
	}
	for filter, why := range map[string]string{
		`password eq "x"`:               "never returned",
		`title gt null`:                 "null is compared by eq and ne",
		`name eq "x"`:                   "sub-attributes",
		`shoeSize eq 9`:                 "no attribute shoeSize",
		`emails.shoe eq "x"`:            "no attribute emails.shoe",
		`emails[shoe eq "x"]`:           "no sub-attribute shoe",
		`active gt true`:                "eq or ne",
		`active eq "maybe"`:             "true or false",
		`x509Certificates.value gt "a"`: "no order",
		`meta.created co "2026"`:        "want a time",
	} {
		r := e.do("GET", "/Users?filter="+url.QueryEscape(filter), "").want(400, "invalidFilter")
		if detail, _ := r.at("detail").(string); !strings.Contains(detail, why) {
			t.Errorf("%s: detail %q does not say %q", filter, detail, why)
		}
	}
}

// A filter that would keep the database busy is refused, and one that names whom it is about is not.
func TestRule9_FiltersThatTakeTooMuchWork(t *testing.T) {
	e := onSQLite(t)
	repeat := func(term string, n int) string { return strings.Repeat(term+" or ", n-1) + term }
	for filter, status := range map[string]int{
		repeat(`title co "x"`, 100):                                             200,
		repeat(`title co "x"`, 101):                                             400,
		repeat(`emails.type co "x"`, 25):                                        200,
		repeat(`emails.type co "x"`, 26):                                        400,
		"emails[" + repeat(`type co "x"`, 26) + "]":                             400,
		"not (" + repeat(`roles[value eq "x" and not (type eq "y")]`, 13) + ")": 400,
		repeat(`userName eq "x"`, 199):                                          200,
		repeat(`emails[type eq "work"].value eq "x"`, 60):                       200,
		`userName eq "x" and (` + repeat(`title co "x"`, 150) + ")":             200,
		`userName sw "x" and (` + repeat(`title co "x"`, 150) + ")":             400,
		`userName eq "x" or ` + repeat(`title co "x"`, 150):                     400,
		`emails[value eq "x" and (` + repeat(`type co "x"`, 150) + ")]":         200,
		repeat(`meta.version eq "x"`, 150):                                      200,
		repeat(`userName sw "x"`, 150):                                          200,
	} {
		if status == 200 {
			e.do("GET", "/Users?filter="+url.QueryEscape(filter), "").want(200)
			continue
		}
		e.do("GET", "/Users?filter="+url.QueryEscape(filter), "").want(400, "tooMany")
	}
}
