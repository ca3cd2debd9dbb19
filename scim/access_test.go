package scim_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/scim"
)

func TestRule1_DisabledAnswers403(t *testing.T) {
	e := onSQLite(t, func(o *scim.Options) {
		o.Enabled = func(context.Context) (bool, time.Time) { return false, time.Time{} }
	})
	for _, target := range []string{"/Users", "/Users/1", "/ServiceProviderConfig", "/nowhere", ""} {
		e.do("GET", target, "").want(403)
		e.do("GET", target, "", "Authorization", "").want(403)
	}
	e.do("POST", "/Users", person("ann")).want(403)
}

func TestRule2_503UntilActivated(t *testing.T) {
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	ready := c.now.Add(29*time.Second + time.Millisecond)
	e := onSQLite(t, func(o *scim.Options) {
		o.Now = c.Now
		o.Enabled = func(context.Context) (bool, time.Time) { return true, ready }
	})
	r := e.do("GET", "/Users", "").want(503)
	if got := r.header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After %q, want 30", got)
	}
	c.now = ready
	e.do("GET", "/Users", "").want(200)
}

// TestRule1_ClosedTellsWhy: what keeps SCIM closed, other than its being off, is the answer with its own words.
func TestRule1_ClosedTellsWhy(t *testing.T) {
	var why error
	e := onSQLite(t, func(o *scim.Options) { o.Closed = func(context.Context) error { return why } })
	e.do("GET", "/Users", "").want(200)
	why = &scim.Error{Status: 403, Detail: "there is no local admin"}
	for _, target := range []string{"/Users", "/Schemas", "/nowhere"} {
		e.do("GET", target, "").want(403).has("detail", "there is no local admin")
		e.do("GET", target, "", "Authorization", "").want(403)
	}
	why = &scim.Error{Status: 503, Detail: "not known", RetryAfter: 1500 * time.Millisecond}
	if got := e.do("GET", "/Users", "").want(503).header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want 2", got)
	}
}

func TestRule3_Keys(t *testing.T) {
	e := onSQLite(t)
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer nonsense", "Basic Z29vZA==", "good", "Bearer " + strings.Repeat("x", 2000)} {
		for _, target := range []string{"/Users", "/Schemas", "/nowhere"} {
			r := e.do("GET", target, "", "Authorization", header).want(401)
			if got := r.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer ") {
				t.Errorf("Authorization %.20q: WWW-Authenticate %q", header, got)
			}
		}
	}
	e.do("GET", "/Users", "", "Authorization", "bearer good").want(200)
	e.do("GET", "/Users", "", "Authorization", "Bearer plain").want(403)
	e.do("GET", "/Schemas", "", "Authorization", "Bearer plain").want(403)
}

func TestRule5_RateLimit(t *testing.T) {
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	e := onSQLite(t, func(o *scim.Options) { o.Now, o.RequestsPerMinute = c.Now, 20 })
	for i := range 20 {
		r := e.do("GET", "/ServiceProviderConfig", "").want(200)
		if got := r.header.Get("RateLimit-Remaining"); got != fmt.Sprint(19-i) {
			t.Errorf("request %d: RateLimit-Remaining %s", i, got)
		}
	}
	r := e.do("POST", "/Users", person("ann")).want(429)
	for header, want := range map[string]string{
		"Retry-After": "3", "RateLimit-Limit": "20", "RateLimit-Remaining": "0", "RateLimit-Reset": "60",
	} {
		if got := r.header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	e.do("GET", "/Users", "", "Authorization", "Bearer other").want(200)
	c.now = c.now.Add(3 * time.Second)
	e.do("GET", "/Users", "").want(200)
	e.do("GET", "/Users", "").want(429)
	c.now = c.now.Add(time.Minute)
	for range 20 {
		e.do("GET", "/ServiceProviderConfig", "").want(200)
	}
	e.do("GET", "/Users", "").want(429)
}

func TestRule6_Discovery(t *testing.T) {
	e := onSQLite(t)
	for _, target := range []string{"/ServiceProviderConfig", "/ResourceTypes", "/ResourceTypes/User", "/Schemas", "/Schemas/" + userURN} {
		e.do("GET", target, "").want(200)
		e.do("GET", target, "", "Authorization", "").want(401)
		e.do("GET", target+"?filter="+url.QueryEscape(`id eq "User"`), "").want(403)
		e.do("POST", target, "{}").want(405)
	}
	e.do("GET", "/ResourceTypes/Car", "").want(404)
	e.do("GET", "/Schemas/urn:x", "").want(404)
	e.do("GET", "/ResourceTypes", "").want(200).has(
		"totalResults", 2, "Resources/0/id", "User", "Resources/0/endpoint", "/Users", "Resources/0/schema", userURN,
		"Resources/0/schemaExtensions/0/schema", enterpriseURN, "Resources/0/schemaExtensions/0/required", false,
		"Resources/1/name", "Group", "Resources/1/meta/location", base+"/scim/v2/ResourceTypes/Group",
	)
}

func TestRule7_TraceID(t *testing.T) {
	e := onSQLite(t)
	for sent, echoed := range map[string]bool{
		"trace-1.2_3:4/x=@~+": true, "": false, "a b": false, "a\r\nSet-Cookie: x": false, "ä": false,
		strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
	} {
		r := e.do("GET", "/Users?id="+url.QueryEscape(sent), "").want(200).has("totalResults", 0)
		got := r.header.Get("X-Request-Id")
		if (got == sent) != echoed || got == "" {
			t.Errorf("?id=%q: X-Request-Id %q", sent, got)
		}
	}
	e.newUser("ann")
	e.do("GET", "/Users?id=no-filter", "").want(200).has("totalResults", 1)
	r := e.do("GET", "/Users?id=trace-7", "", "Authorization", "Bearer broken").want(500)
	if detail := r.at("detail"); detail != "internal error, request id trace-7" {
		t.Errorf("detail %q", detail)
	}
	if !strings.Contains(e.log.String(), "trace-7") || !strings.Contains(e.log.String(), "secret detail") {
		t.Errorf("the cause is not logged under the request's id: %s", e.log)
	}
}

func TestRule11_BodiesTypesAndMethods(t *testing.T) {
	e := onSQLite(t)
	id := e.newUser("ann")
	for _, kind := range []string{"application/json", "application/scim+json; charset=utf-8", "Application/JSON", ""} {
		e.do("PUT", "/Users/"+id, person("ann"), "Content-Type", kind).want(200)
	}
	for _, kind := range []string{"text/plain", "application/xml", "application/x-www-form-urlencoded", "garbage/"} {
		e.do("PUT", "/Users/"+id, person("ann"), "Content-Type", kind).want(415)
	}
	e.do("PUT", "/Users/"+id, person("ann"), "Content-Encoding", "gzip").want(415)
	e.do("POST", "/Users", `{"title":"`+strings.Repeat("x", 1<<20)+`"}`).want(413)
	e.do("PATCH", "/Groups/x", `{"x":"`+strings.Repeat("x", 1<<20)+`"}`).want(413)
	for _, body := range []string{
		`{`, `[]`, `"x"`, `null`, `{} {}`, `{"userName":}`, "{\"title\":\"\xff\"}", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
	} {
		e.do("POST", "/Users", body).want(400, "invalidSyntax")
	}
	e.do("POST", "/Users", person("bob", `,"title":"a\u0000b"`)).want(400, "invalidValue")
	e.do("POST", "/Users", person("bob", `,"roles":[{"value":"admin","x":1e999999}]`)).want(400, "invalidValue")

	for call, allow := range map[string]string{
		"DELETE /Users": "GET, POST", "PUT /Groups": "GET, POST", "POST /Users/" + id: "GET, PUT, PATCH, DELETE",
		"OPTIONS /Users": "GET, POST", "TRACE /Users/1": "GET, PUT, PATCH, DELETE", "PATCH /Schemas": "GET", "GET /Bulk": "POST",
	} {
		method, target, _ := strings.Cut(call, " ")
		r := e.do(method, target, "").want(405)
		if got := r.header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q, want %q", call, got, allow)
		}
	}
	for _, target := range []string{"//Users", "/Users/", "///Users//", "/Users//" + id} {
		e.do("GET", target, "").want(200)
	}
	for _, target := range []string{"/users", "/Users/a/b", "/Nothing", "/Users/%00", "/Users/%ff", "/Users/" + strings.ToUpper(id), "/ServiceProviderConfig/x"} {
		e.do("GET", target, "").want(404)
	}
	e.do("GET", "/Users?filter=%zz", "").want(400, "invalidSyntax")
	e.do("GET", "/Users?filter=%ff", "").want(400, "invalidSyntax")
	if r := e.do("HEAD", "/Users/"+id, "").want(200); r.text != "" || r.header.Get("ETag") == "" {
		t.Errorf("HEAD: %q, ETag %q", r.text, r.header.Get("ETag"))
	}
}

func TestServes(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/scim/v2": true, "/scim/v2/Users": true, "//scim//v2//Users/": true, "/scim/v1/Users": false, "/scim": false, "/api/v1/users": false, "/": false,
	} {
		if got := scim.Serves(&url.URL{Path: path}); got != want {
			t.Errorf("Serves(%s) = %v, want %v", path, got, want)
		}
	}
}

func TestRule12_TheDocumentsSample(t *testing.T) {
	e := onSQLite(t)
	want := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"400","scimType":"invalidValue","detail":"Email must be marked as primary"}`
	for _, emails := range []string{`,"emails":[{"value":"ann@x.example","type":"work"}]`, ``, `,"emails":[]`, `,"emails":[{"value":"ann@x.example","primary":false}]`} {
		r := e.do("POST", "/Users", `{"userName":"ann@x.example","name":{"givenName":"Ann","familyName":"Lee"}`+emails+`}`).want(400)
		if got := strings.TrimSpace(r.text); got != want {
			t.Errorf("POST with %q = %s", emails, got)
		}
	}
}

func TestRule13_LocationsComeFromTrustedPlacesOnly(t *testing.T) {
	e := onSQLite(t)
	r := e.do("POST", "/Users", person("ann"), "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http").want(201)
	want := base + "/scim/v2/Users/" + r.id()
	r.has("meta/location", want, "meta/resourceType", "User", "meta/version", `W/"1"`)
	if r.header.Get("Location") != want {
		t.Errorf("Location %q, want %q", r.header.Get("Location"), want)
	}

	proxied := serve(t, e.store, func(o *scim.Options) { o.TrustProxy = true })
	get := func(headers ...string) *reply { return proxied.do("GET", "/Users/"+r.id(), "", headers...) }
	get().has("meta/location", want)
	get("X-Forwarded-Host", "scim.corp.example:8443", "X-Forwarded-Proto", "http").has("meta/location", "http://scim.corp.example:8443/scim/v2/Users/"+r.id())
	get("X-Forwarded-Host", "a.example, b.example").has("meta/location", "https://a.example/scim/v2/Users/"+r.id())
	for _, bad := range []string{"a.example/x", "a example", "<script>", "user@a.example", "a.example:x"} {
		get("X-Forwarded-Host", bad, "X-Forwarded-Proto", "gopher").has("meta/location", want)
	}
}

func TestRule13_Statuses(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		id := e.newUser("ann")
		e.do("PUT", "/Users/"+id, person("ann")).want(200).has("id", id)
		e.patch("/Users/"+id, `{"op":"add","path":"title","value":"x"}`).want(200).has("title", "x")
		g := e.newGroup("Staff")
		r := e.patch("/Groups/"+g, `{"op":"replace","path":"externalId","value":"e"}`).want(204)
		if r.text != "" || r.header.Get("ETag") == "" {
			t.Errorf("PATCH of a group: body %q, ETag %q", r.text, r.header.Get("ETag"))
		}
		e.patch("/Groups/"+g+"?attributes=displayName", `{"op":"replace","path":"displayName","value":"Crew"}`).want(200).has("displayName", "Crew", "members", nil)
		e.do("DELETE", "/Groups/"+g, "").want(204)
		e.do("GET", "/Groups/"+g, "").want(404)
		e.do("DELETE", "/Groups/"+g, "").want(404)
		e.do("DELETE", "/Users/"+id, "").want(204)
		for _, method := range []string{"GET", "DELETE"} {
			e.do(method, "/Users/"+id, "").want(404)
		}
		e.do("PUT", "/Users/"+id, person("ann")).want(404)
		e.patch("/Users/"+id, `{"op":"add","path":"title","value":"x"}`).want(404)
		e.do("GET", "/Users", "").want(200).has("totalResults", 0)
	})
}

func TestRule14_ETags(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		for _, target := range []string{"/Users/" + e.newUser("ann"), "/Groups/" + e.newGroup("Staff")} {
			rename := `{"op":"replace","path":"displayName","value":"%d"}`
			body := person("ann")
			if strings.HasPrefix(target, "/Groups") {
				body = `{"displayName":"Staff"}`
			}
			r := e.do("GET", target, "").want(200).has("meta/version", `W/"1"`)
			if r.header.Get("ETag") != `W/"1"` {
				t.Errorf("ETag %q", r.header.Get("ETag"))
			}
			for _, tag := range []string{`W/"1"`, `"1"`, `W/"9", W/"1"`, `*`} {
				if r := e.do("GET", target, "", "If-None-Match", tag).want(304); r.text != "" || r.header.Get("ETag") != `W/"1"` {
					t.Errorf("304 with %q, ETag %q", r.text, r.header.Get("ETag"))
				}
			}
			e.do("GET", target, "", "If-None-Match", `W/"2"`).want(200)
			for _, tag := range []string{`W/"2"`, `W/"7", W/"8"`, `garbage`} {
				e.patch(target, fmt.Sprintf(rename, 1), "If-Match", tag).want(412)
				e.do("PUT", target, body, "If-Match", tag).want(412)
				e.do("DELETE", target, "", "If-Match", tag).want(412)
			}
			e.patch(target, fmt.Sprintf(rename, 2), "If-Match", `W/"1"`).has()
			e.patch(target, fmt.Sprintf(rename, 3), "If-Match", `W/"1"`).want(412)
			e.patch(target, fmt.Sprintf(rename, 4), "If-Match", `W/"1", W/"2"`)
			e.do("GET", target, "").want(200).has("displayName", "4", "meta/version", `W/"3"`)
			e.do("DELETE", target, "", "If-Match", "*").want(204)
			e.do("DELETE", target, "", "If-Match", `W/"3"`).want(404)
		}
	})
}

func TestRule15_TheConfigurationSaysWhatIsSupported(t *testing.T) {
	e := onSQLite(t)
	e.do("GET", "/ServiceProviderConfig", "").want(200).has(
		"patch/supported", true, "bulk/supported", true, "bulk/maxOperations", 1000, "bulk/maxPayloadSize", float64(1<<20),
		"filter/supported", true, "filter/maxResults", 200, "changePassword/supported", false, "sort/supported", true,
		"etag/supported", true, "pagination/cursor", true, "pagination/index", true, "pagination/defaultPaginationMethod", "index",
		"pagination/defaultPageSize", 200, "pagination/maxPageSize", 200, "pagination/cursorTimeout", 3600,
		"authenticationSchemes/0/type", "oauthbearertoken",
	)
}

func TestRule16_Schemas(t *testing.T) {
	e := onSQLite(t)
	r := e.do("GET", "/Schemas", "").want(200).has("totalResults", 6, "itemsPerPage", 6)
	found := map[string]bool{}
	for _, s := range r.at("Resources").([]any) {
		found[s.(map[string]any)["name"].(string)] = true
	}
	for _, name := range []string{"User", "Group", "EnterpriseUser", "ServiceProviderConfig", "ResourceType", "Schema"} {
		if !found[name] {
			t.Errorf("no schema %s", name)
		}
	}
	e.do("GET", "/Schemas/"+strings.ToUpper(userURN), "").want(200).has(
		"id", userURN, "attributes/0/name", "userName", "attributes/0/required", true, "attributes/0/caseExact", false,
		"attributes/0/uniqueness", "server", "attributes/0/mutability", "readWrite", "attributes/0/returned", "default",
		"meta/location", base+"/scim/v2/Schemas/"+userURN,
	)
}

func TestNewRefusesWrongOptions(t *testing.T) {
	e := onSQLite(t)
	for name, change := range map[string]func(*scim.Options){
		"no store":        func(o *scim.Options) { o.Store = nil },
		"no base URL":     func(o *scim.Options) { o.BaseURL = "" },
		"bad base URL":    func(o *scim.Options) { o.BaseURL = "ftp://x" },
		"bad e-mail rule": func(o *scim.Options) { o.UserNameIsEmail = "maybe" },
		"bad roles rule":  func(o *scim.Options) { o.UnknownRoles = "maybe" },
	} {
		o := scim.Options{Store: e.store, Applier: e.applier, Auth: someKeys(), BaseURL: base}
		change(&o)
		if _, err := scim.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A panic is one request's failure.
func TestPanicIsAnInternalError(t *testing.T) {
	e := onSQLite(t, func(o *scim.Options) {
		o.Enabled = func(context.Context) (bool, time.Time) { panic("boom") }
	})
	e.do("GET", "/Users", "").want(500)
	if !strings.Contains(e.log.String(), "boom") {
		t.Error("the panic is not logged")
	}
}

func TestCanceledRequestIsNotOurFault(t *testing.T) {
	e := onSQLite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequest("GET", "/scim/v2/Users", nil).WithContext(ctx)
	req.Header.Set("Authorization", "Bearer good")
	e.send(req).want(503)
}
