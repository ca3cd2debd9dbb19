package scim_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/store/storetest"
)

// knock sends anything at all. Whatever it is, the answer is no 500, and a SCIM error where it is one (send checks).
func knock(t testing.TB, e *endpoint, method, target, body string) {
	t.Helper()
	u, err := url.Parse("/scim/v2" + target)
	if err != nil {
		return
	}
	req := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body)).WithContext(t.Context())
	req.Method, req.URL = method, u
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", "application/scim+json")
	r := e.send(req)
	failed := r.status == http.StatusInternalServerError
	if operations, ok := r.at("Operations").([]any); ok && r.status == http.StatusOK {
		failed = slices.ContainsFunc(operations, func(o any) bool { return o.(map[string]any)["status"] == "500" })
	}
	if failed {
		t.Errorf("%s %s\n%s\n= %s\n%s", method, target, body, r.text, e.log)
	}
}

func FuzzHandler(f *testing.F) {
	e := serve(f, storetest.SQLite(f))
	user, group := e.newUser("ann"), e.newGroup("Staff")
	for _, seed := range [][3]string{
		{"GET", "/Users?filter=" + url.QueryEscape(`emails[type eq "work"].value eq "ann@x.example" and active eq true`) + "&count=2&attributes=emails.value", ""},
		{"POST", "/Users", person("bob", `,"roles":["admin"],"active":"True"`)},
		{"PUT", "/Users/" + user, person("ann", `,"title":"x"`)},
		{"PATCH", "/Users/" + user, `{"Operations":[{"op":"add","path":"emails[type eq \"home\"].value","value":"h"}]}`},
		{"PATCH", "/Users/" + user, `{"Operations":[{"op":"replace","value":{"active":false,"name.givenName":"x","` + enterpriseURN + `:manager":[{"value":""}]}}]}`},
		{"PATCH", "/Groups/" + group, `{"Operations":[{"op":"add","path":"members","value":[{"value":"` + user + `"}]},{"op":"remove","path":"members[value eq \"x\"]"}]}`},
		{"PUT", "/Groups/" + group, `{"displayName":"Staff","members":[{"value":"` + user + `"}]}`},
		{"GET", "/Groups?filter=" + url.QueryEscape(`members.value eq "`+user+`"`), ""},
		{"GET", "/Schemas/" + userURN, ""},
		{"DELETE", "/Users/x?id=%00", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		e.t = t
		e.log.Reset()
		knock(t, e, method, target, body)
	})
}

func FuzzBulk(f *testing.F) {
	e := serve(f, storetest.SQLite(f))
	user, group := e.newUser("ann"), e.newGroup("Staff")
	e = e.ownedBy(user)
	for _, seed := range []string{
		bulkOf(op("POST", "/Users", "a", person("bob", managedBy("bulkId:b"))), op("post", "Users", "b", person("cat", managedBy("bulkId:a")))),
		bulkOf(op("PUT", "/Users/"+user, "", person("ann", managedBy("bulkId:a"))), op("POST", "/Users", "a", person("dan"))),
		bulkOf(op("PATCH", "/Groups/"+group, "", patchOf(`{"op":"remove","path":"members[value eq \"bulkId:a\"]"}`)), op("POST", "/Users", "a", person("bob"))),
		bulkOf(op("POST", "/Groups", "g", groupOf("Crew", "bulkId:h")), op("POST", "/Groups", "h", groupOf("Band", "bulkId:g"))),
		bulkOf(op("POST", "/Groups", "g", groupOf("Crew", "bulkId:a")), op("POST", "/Users", "a", person("eve", `,"title":"bulkId:g"`))),
		bulkOf(op("PATCH", "/Users/bulkId:a?x=%zz", "", patchOf(`{"op":"add","value":{"active":false}}`), `,"version":"W/\"1\""`), op("POST", "/Users", "a", person("fay"))),
		`{"failOnErrors":1,"Operations":[{"method":"DELETE","path":"/Users/x"},{"method":"DELETE","path":"` + base + `/scim/v2/Groups/` + group + `"}]}`,
		`{"Operations":[{"method":"POST","path":"/Users","bulkId":"","data":{}},{"method":7},{"path":"//"},null]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e.t = t
		e.log.Reset()
		knock(t, e, http.MethodPost, "/Bulk", body)
	})
}

// The same on both databases, with requests made of fragments that have meaning.
func TestNoRequestIsAnInternalError(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		user, group := e.newUser("ann"), e.newGroup("Staff")
		e = e.ownedBy(user)
		random := rand.New(rand.NewPCG(1, 2))
		pick := func(from ...string) string { return from[random.IntN(len(from))] }
		long := strings.Repeat("x", 3000)
		var value func(depth int) string
		value = func(depth int) string {
			kind := random.IntN(12)
			if depth == 0 {
				kind = random.IntN(9)
			}
			switch kind {
			case 0, 1, 2:
				return pick(`"a"`, `""`, `"ann@x.example"`, `"True"`, `"false"`, `"admin"`, `" "`, `"\ud800"`, `"\u0000"`, `"😀"`, `"`+long+`"`)
			case 3:
				return pick(`true`, `false`, `null`)
			case 4:
				return pick(`0`, `-1.5`, `1e999999999`, `12345678901234567890`, `1e300`, `1e-400`)
			case 5:
				return `"` + pick(user, group, "bulkId:a", "bulkId:b", "bulkId:c") + `"`
			case 6:
				return pick(`[]`, `{}`, `[null]`, `[[]]`, `[{}]`)
			case 7:
				return `"{\"value\":\"admin\"}"`
			case 8:
				return `"2026-01-02T03:04:05Z"`
			case 9, 10:
				return "[" + value(depth-1) + "," + value(depth-1) + "]"
			}
			return fmt.Sprintf(`{"value":%s,"type":%s,"primary":%s,"%s":%s}`, value(depth-1), pick(`"work"`, `"home"`, `5`), value(0), pick("display", "x", "givenName", "$ref"), value(depth-1))
		}
		name := func() string {
			return pick("userName", "externalId", "active", "title", "name", "name.givenName", "name.familyName", "emails", "emails.value",
				`emails[type eq \"work\"].value`, `emails[primary eq true]`, `emails[value pr]`, "roles", `roles[primary eq \"True\"].value`, "groups", "password",
				"members", `members[value eq \"`+user+`\"]`, "displayName", "id", "meta", "schemas", "addresses", `addresses[type eq \"work\"].country`,
				enterpriseURN, enterpriseURN+":manager", enterpriseURN+":manager.value", enterpriseURN+":department", userURN+":title", "photos", "x509Certificates", "", "x[", "a.b.c")
		}
		call := func() (method, target, body string) {
			target = pick("/Users", "/Groups", "/Users/"+user, "/Users/"+user, "/Groups/"+group, "/Groups/"+group, "/Users/nobody", "/Me", "/")
			query := pick("", "", "?attributes="+url.QueryEscape(name()), "?excludedAttributes="+url.QueryEscape(name()),
				"?startIndex="+pick("0", "-1", "9999999999", "x")+"&count="+pick("0", "1", "-1", "99999999999"),
				"?filter="+url.QueryEscape(pick("userName", "emails", "emails.value", "active", "meta.lastModified", "id", "externalId", "members", "groups.value", `emails[type eq "work"].value`)+
					pick(" eq ", " gt ", " co ", " ne ")+strings.ReplaceAll(value(0), `\u0000`, "")+pick("", ` and active eq true`, ` or id pr`)))
			switch method = pick("GET", "POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"); method {
			case "PATCH":
				var ops []string
				for range 1 + random.IntN(4) {
					ops = append(ops, fmt.Sprintf(`{"op":"%s","path":"%s","value":%s}`, pick("add", "Replace", "remove"), name(), value(2)))
				}
				if random.IntN(4) == 0 {
					ops = append(ops, fmt.Sprintf(`{"op":"%s","value":{"%s":%s,"%s":%s}}`, pick("add", "replace"), name(), value(2), name(), value(2)))
				}
				body = `{"Operations":[` + strings.Join(ops, ",") + `]}`
			case "POST", "PUT":
				more := fmt.Sprintf(`,"%s":%s,"%s":%s`, name(), value(2), name(), value(3))
				body = pick(person(fmt.Sprintf("u%d", random.IntN(50)), more), fmt.Sprintf(`{"displayName":%s,"members":%s%s}`, pick(`"Staff"`, value(0)), value(2), more))
			case "DELETE":
				if random.IntN(10) != 0 {
					method = "GET"
				}
			}
			return method, target + query, body
		}
		for i := range 4000 {
			method, target, body := call()
			if i%8 == 0 {
				var operations []string
				for range 1 + random.IntN(5) {
					method, target, body := call()
					if random.IntN(4) == 0 {
						target = pick("/Users/bulkId:a", "/Groups/bulkId:b", "/Bulk")
					}
					operations = append(operations, op(method, target, pick("", "a", "b", "c"), body, pick("", `,"version":"W/\"1\""`)))
				}
				method, target, body = "POST", "/Bulk", `{"failOnErrors":`+pick("0", "1", "2")+","+bulkOf(operations...)[1:]
			}
			knock(t, e, method, target, body)
		}
	})
}
