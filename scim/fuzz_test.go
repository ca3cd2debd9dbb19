package scim_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/scim/scimtest"
	"github.com/idpsync/idpsync/store"
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
	e.any(req)
}

// standIns are put in place of ids in the seeds, which are others in each of the fuzzer's processes.
const (
	aUser  = "{{user}}"
	aGroup = "{{group}}"
)

// stage is an endpoint with a user and a group, whatever was done to those before.
type stage struct {
	*endpoint
	user, group string
	made        int
}

// keyOwner is an Authenticator of the key "good", which somebody owns.
type keyOwner struct{ user string }

func (k *keyOwner) Authenticate(_ context.Context, bearer string, _ ...*store.UserLookup) (scim.Principal, error) {
	if bearer != "good" {
		return scim.Principal{}, scim.ErrUnauthenticated
	}
	return scim.Principal{KeyID: "k1", KeyName: "push", UserID: k.user, Source: "scim:k1", Provisioner: true}, nil
}

// set returns what puts the ids of a user and a group that are there in place of their stand-ins.
func (s *stage) set() *strings.Replacer {
	s.t.Helper()
	s.made++
	if s.user == "" || s.do("GET", "/Users/"+s.user+"?attributes=id", "").status != http.StatusOK {
		s.user = s.newUser(fmt.Sprintf("ann%d", s.made))
	}
	if s.group == "" || s.do("GET", "/Groups/"+s.group+"?attributes=id", "").status != http.StatusOK {
		s.group = s.newGroup(fmt.Sprintf("Staff %d", s.made))
	}
	return strings.NewReplacer(aUser, s.user, aGroup, s.group)
}

// extension is a site's own schema, with an attribute of each kind.
func extension() schema.Schema {
	attribute := func(name string, t schema.Type, subs ...schema.Attribute) schema.Attribute {
		return schema.Attribute{Name: name, Type: t, SubAttributes: subs}
	}
	many := attribute("many", schema.Complex, attribute("value", schema.String), attribute("type", schema.String))
	many.MultiValued = true
	return schema.Schema{ID: "urn:example:2.0:Person", Name: "Person", Attributes: []schema.Attribute{
		attribute("text", schema.String), attribute("truth", schema.Boolean), attribute("count", schema.Integer),
		attribute("share", schema.Decimal), attribute("when", schema.DateTime), attribute("blob", schema.Binary),
		attribute("link", schema.Reference), attribute("one", schema.Complex, attribute("part", schema.String)), many,
	}}
}

// FuzzHandler sends requests as they come off the wire, headers and all.
func FuzzHandler(f *testing.F) {
	own := &keyOwner{}
	e := &stage{endpoint: serve(f, storetest.SQLite(f), func(o *scim.Options) {
		o.Auth, o.TrustProxy, o.Extensions = own, true, []schema.Schema{extension()}
	})}
	for _, seed := range handSeeds() {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	for _, seed := range conversationSeeds(f) {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, method, target, headers, body string) {
		e.t = t
		ids := e.set()
		own.user = e.user
		e.log.Reset()
		req := offTheWire(method, ids.Replace(target), ids.Replace(headers), ids.Replace(body))
		if req == nil {
			return
		}
		r := e.any(req.WithContext(t.Context()))
		e.putBack(req, r)
	})
}

// offTheWire returns a request as net/http makes it of what a client sends, or nil for what it refuses by itself.
func offTheWire(method, target, headers, body string) *http.Request {
	text := fmt.Sprintf("%s /scim/v2%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", method, target, len(body))
	if !strings.Contains(strings.ToLower(headers), "authorization:") {
		text += "Authorization: Bearer good\r\n"
	}
	for line := range strings.Lines(headers) {
		text += strings.TrimRight(line, "\r\n") + "\r\n"
	}
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text + "\r\n" + body)))
	if err != nil || req.ContentLength != int64(len(body)) {
		return nil
	}
	for _, values := range req.Header {
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				return nil
			}
		}
	}
	return req
}

// any sends anything at all. Whatever it is, the answer is no 500, and a SCIM error where it is one (send checks).
func (e *endpoint) any(req *http.Request) *reply {
	e.t.Helper()
	sent, err := io.ReadAll(req.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Body = io.NopCloser(bytes.NewReader(sent))
	if req.Method == http.MethodHead { // answered without a body
		req.Method = http.MethodGet
	}
	r := e.send(req)
	failed := r.status == http.StatusInternalServerError
	if operations, ok := r.at("Operations").([]any); ok && r.status == http.StatusOK {
		failed = slices.ContainsFunc(operations, func(o any) bool { return o.(map[string]any)["status"] == "500" })
	}
	if failed {
		e.t.Errorf("%s %s\n%v\n%s\n= %s\n%s", req.Method, req.URL, req.Header, sent, r.text, e.log)
	}
	return r
}

// putBack puts what a write was answered with back, as Okta does: it is accepted, and changes nothing.
func (e *endpoint) putBack(req *http.Request, r *reply) {
	e.t.Helper()
	id, version := r.id(), r.at("meta/version")
	kind, _ := r.at("meta/resourceType").(string)
	query := strings.ToLower(req.URL.RawQuery)
	if r.status != http.StatusOK && r.status != http.StatusCreated || req.Method == http.MethodGet || id == "" || version == nil ||
		strings.Contains(query, "attributes") {
		return
	}
	again := e.do(http.MethodPut, "/"+kind+"s/"+id, r.text)
	if again.status != http.StatusOK || again.at("meta/version") != version {
		e.t.Errorf("%s %s was answered with\n%s\nput back, that is answered with %d\n%s", req.Method, req.URL, r.text, again.status, again.text)
	}
}

// conversationSeeds are what identity providers send, with ids that are there.
func conversationSeeds(t testing.TB) [][4]string {
	t.Helper()
	all, err := scimtest.All()
	if err != nil {
		t.Fatal(err)
	}
	placeholder := regexp.MustCompile(`\{\{[^{}]*\}\}`)
	var seeds [][4]string
	for _, c := range all {
		groups := slices.Concat(c.End.Gone, slices.Collect(maps.Keys(c.End.Members)))
		known := func(text string) string {
			return placeholder.ReplaceAllStringFunc(text, func(p string) string {
				switch name := p[2 : len(p)-2]; {
				case name == "run":
					return "1"
				case name == "base":
					return base + scim.Root
				case slices.Contains(groups, name):
					return aGroup
				}
				return aUser
			})
		}
		for _, s := range c.Steps {
			headers := ""
			for _, h := range s.Header {
				headers += h.Name + ": " + h.Value + "\n"
			}
			seeds = append(seeds, [4]string{s.Method, known(s.Target), headers, known(s.Body)})
		}
	}
	return seeds
}

// handSeeds are what identity providers do not send, and RFC 7644 and RFC 9865 have.
func handSeeds() [][4]string {
	const own = "urn:example:2.0:Person"
	filter := func(resource, f string) string { return resource + "?filter=" + url.QueryEscape(f) }
	patch := func(operations string) string { return `{"Operations":[` + operations + `]}` }
	return [][4]string{
		{"GET", filter("/Users", `emails[type eq "work"].value eq "ann@x.example" and active eq true`) + "&count=2&attributes=emails.value", "", ""},
		{"GET", filter("/Users", `not (userName sw "a" or name.familyName co "e") and emails[type eq "work" and value ew ".example"] and meta.lastModified gt "2020-01-02T03:04:05Z"`), "", ""},
		{"GET", filter("/Users", own+`:many[type eq "a" or not (value pr)] and `+own+`:count ge 1.5 and `+own+":when lt \"2020-01-02T03:04:05Z\""), "", ""},
		{"GET", filter("/Groups", `members.value eq "`+aUser+`" or members[type eq "User"]`), "", ""},
		{"GET", "/Users?sortBy=name.familyName&sortOrder=descending&startIndex=2&count=1&excludedAttributes=groups,name.givenName", "", ""},
		{"GET", "/Users?sortBy=emails.value&cursor=&count=1", "", ""},
		{"GET", "/Users?cursor=eyJ2IjoxfQ&count=1", "", ""},
		{"GET", "/Users/" + aUser + "?attributes=" + own + ",userName,meta.version", "If-None-Match: W/\"1\", *\n", ""},
		{"POST", "/Users/.search", "", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"attributes":["userName"],"filter":"userName sw \"a\"","sortBy":"userName","sortOrder":"ascending","startIndex":1,"count":10}`},
		{"POST", "/Groups/.search?count=1", "", `{"excludedAttributes":["members"],"filter":"displayName pr","cursor":"","count":"2"}`},
		{"POST", "/.search", "", `{"filter":"meta.resourceType eq \"Group\" or userName pr","count":1,"sortBy":"meta.created","cursor":null}`},
		{"POST", "/Bulk", "", `{"failOnErrors":1,"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":` + person("bob") + `},{"method":"POST","path":"/Groups","bulkId":"b","data":{"displayName":"B","members":[{"value":"bulkId:a"}]}},{"method":"PATCH","path":"/Users/` + aUser + `","version":"W/\"1\"","data":` + patch(`{"op":"replace","path":"active","value":"False"}`) + `},{"method":"DELETE","path":"/Groups/bulkId:b"}]}`},
		{"GET", "/Me?attributes=userName", "", ""},
		{"PATCH", "/Me", "If-Match: W/\"1\"\n", patch(`{"op":"add","path":"nickName","value":"A"}`)},
		{"POST", "/Users", "Content-Type: application/json; charset=utf-8\n", person("bob", `,"roles":["admin"],"active":"True","`+own+`":{"text":"a","truth":"True","count":1,"share":1.5,"when":"2020-01-02T03:04:05Z","blob":"AA==","link":"/x","one":{"part":"b"},"many":[{"value":"c","type":"d"}]}`)},
		{"PUT", "/Users/" + aUser, "If-Match: *\nX-Forwarded-Host: y.example\nX-Forwarded-Proto: https\n", person("ann", `,"title":"x","`+own+`":{"count":"1","many":{"value":"c"}}`)},
		{"PATCH", "/Users/" + aUser, "", patch(`{"op":"add","path":"emails[type eq \"home\"].value","value":"h"},{"op":"remove","path":"` + own + `:many[value eq \"c\" and type ne \"e\"]"}`)},
		{"PATCH", "/Users/" + aUser, "", patch(`{"op":"replace","value":{"active":false,"name.givenName":"x","` + enterpriseURN + `:manager":[{"value":""}]}}`)},
		{"PATCH", "/Groups/" + aGroup + "?attributes=members", "", patch(`{"op":"add","path":"members","value":[{"value":"` + aUser + `"},{"value":"` + aGroup + `","type":"Group"}]},{"op":"remove","path":"members[value eq \"x\"]"}`)},
		{"PUT", "/Groups/" + aGroup, "", `{"displayName":"Staff","members":[{"value":"` + aUser + `"}]}`},
		{"GET", "/Schemas/" + userURN, "Accept: text/html\n", ""},
		{"GET", "/ResourceTypes/User?filter=a", "", ""},
		{"DELETE", "/Users/x?id=%00", "Authorization: bearer  good\n", ""},
		{"DELETE", "/Users/" + aUser, "If-Match: W/\"1\", \"2\"\n", ""},
		{"POST", "/Users", "Content-Encoding: gzip\n", "\x1f\x8b"},
		{"OPTIONS", "//Users/?startIndex=-1&start_index=9&count=99999999999", "Content-Type: text/plain\n", "x"},
	}
}

func FuzzBulk(f *testing.F) {
	e := serve(f, storetest.SQLite(f))
	ids := strings.NewReplacer(aUser, e.newUser("ann"), aGroup, e.newGroup("Staff"))
	e = e.ownedBy(ids.Replace(aUser))
	const user, group = aUser, aGroup
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
		knock(t, e, http.MethodPost, "/Bulk", ids.Replace(body))
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
