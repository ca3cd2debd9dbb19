package scim_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
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
	if r := e.send(req); r.status == http.StatusInternalServerError {
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

// The same on both databases, with requests made of fragments that have meaning.
func TestNoRequestIsAnInternalError(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		user, group := e.newUser("ann"), e.newGroup("Staff")
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
				return `"` + pick(user, group) + `"`
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
		for i := range 4000 {
			target := pick("/Users", "/Groups", "/Users/"+user, "/Users/"+user, "/Groups/"+group, "/Groups/"+group, "/Users/nobody", "/Bulk", "/")
			query := pick("", "", "?attributes="+url.QueryEscape(name()), "?excludedAttributes="+url.QueryEscape(name()),
				"?startIndex="+pick("0", "-1", "9999999999", "x")+"&count="+pick("0", "1", "-1", "99999999999"),
				"?filter="+url.QueryEscape(pick("userName", "emails", "emails.value", "active", "meta.lastModified", "id", "externalId", "members", "groups.value", `emails[type eq "work"].value`)+
					pick(" eq ", " gt ", " co ", " ne ")+strings.ReplaceAll(value(0), `\u0000`, "")+pick("", ` and active eq true`, ` or id pr`)))
			body := ""
			switch method := pick("GET", "POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"); method {
			case "PATCH":
				var ops []string
				for range 1 + random.IntN(4) {
					ops = append(ops, fmt.Sprintf(`{"op":"%s","path":"%s","value":%s}`, pick("add", "Replace", "remove"), name(), value(2)))
				}
				if random.IntN(4) == 0 {
					ops = append(ops, fmt.Sprintf(`{"op":"%s","value":{"%s":%s,"%s":%s}}`, pick("add", "replace"), name(), value(2), name(), value(2)))
				}
				knock(t, e, method, target+query, `{"Operations":[`+strings.Join(ops, ",")+`]}`)
			case "POST", "PUT":
				more := fmt.Sprintf(`,"%s":%s,"%s":%s`, name(), value(2), name(), value(3))
				body = pick(person(fmt.Sprintf("u%d", random.IntN(50)), more), fmt.Sprintf(`{"displayName":%s,"members":%s%s}`, pick(`"Staff"`, value(0)), value(2), more))
				knock(t, e, method, target+query, body)
			default:
				if i%10 != 0 && method == "DELETE" {
					method = "GET"
				}
				knock(t, e, method, target+query, "")
			}
		}
	})
}
