package scim_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
)

const badgeURN = "urn:acme:params:2.0:Badge"

// badge is a site's own extension with every characteristic in it.
func badge(required bool) schema.Schema {
	return schema.Schema{
		ID: badgeURN, Name: "Badge", Description: "Badges", Required: required,
		Attributes: []schema.Attribute{
			{Name: "number", Type: schema.Integer, Required: true},
			{Name: "serial", Mutability: schema.Immutable, CaseExact: true},
			{Name: "colour", Mutability: schema.Immutable},
			{Name: "pin", Mutability: schema.WriteOnly},
			{Name: "hint", Returned: schema.Never},
			{Name: "door", Mutability: schema.ReadOnly},
			{Name: "kind", Returned: schema.Always},
			{Name: "note", Returned: schema.OnRequest},
			{Name: "issued", Type: schema.DateTime},
			{Name: "tags", MultiValued: true},
			{Name: "photo", Type: schema.Reference, ReferenceTypes: []string{"external"}},
			{Name: "home", Type: schema.Complex, SubAttributes: []schema.Attribute{
				{Name: "site", Required: true},
				{Name: "since", Mutability: schema.Immutable},
				{Name: "code", Mutability: schema.WriteOnly},
				{Name: "zone", Mutability: schema.ReadOnly},
				{Name: "level", Type: schema.Integer},
			}},
			{Name: "desks", Type: schema.Complex, MultiValued: true, SubAttributes: []schema.Attribute{
				{Name: "value", Required: true}, {Name: "type"}, {Name: "made", Mutability: schema.Immutable}, {Name: "lock", Mutability: schema.WriteOnly},
			}},
		},
	}
}

func withBadges(o *scim.Options) { o.Extensions = []schema.Schema{badge(false)} }

// having is the part of a user's body that states the extension.
func having(attributes string) string { return `,"` + badgeURN + `":{` + attributes + `}` }

func TestRule16_ExtensionRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		stated := `"number":7,"serial":"A1","kind":"plain","issued":"2026-01-02T03:04:05+01:00","tags":["x","Y"],"photo":"https://p.example/1",` +
			`"home":{"site":"North","level":3},"desks":[{"value":"d1","type":"main"},{"value":"d2"}]`
		r := e.do("POST", "/Users", person("ann", having(stated))).want(201)
		same := func(r *reply) {
			t.Helper()
			r.has(
				"schemas/1", badgeURN, badgeURN+"/number", 7, badgeURN+"/serial", "A1", badgeURN+"/issued", "2026-01-02T03:04:05+01:00",
				badgeURN+"/tags/1", "Y", badgeURN+"/photo", "https://p.example/1", badgeURN+"/home/level", 3, badgeURN+"/home/site", "North",
				badgeURN+"/desks/0/type", "main", badgeURN+"/desks/1/value", "d2",
			)
			if !strings.Contains(r.text, `"number":7,`) && !strings.Contains(r.text, `"number":7}`) {
				t.Errorf("the number is not one any more: %s", r.text)
			}
		}
		same(r)
		same(e.do("GET", "/Users/"+r.id(), "").want(200))
		same(e.do("PUT", "/Users/"+r.id(), r.text).want(200))

		e.do("GET", "/Schemas/"+badgeURN, "").want(200).has("id", badgeURN, "name", "Badge", "attributes/0/name", "number",
			"attributes/0/type", "integer", "attributes/0/required", true, "attributes/3/returned", "never", "attributes/11/subAttributes/0/name", "site")
		if all := e.do("GET", "/Schemas", "").want(200).text; !strings.Contains(all, badgeURN) {
			t.Errorf("/Schemas does not list %s", badgeURN)
		}
		e.do("GET", "/ResourceTypes/User", "").want(200).has("schemaExtensions/1/schema", badgeURN, "schemaExtensions/1/required", false)
	}, withBadges)
}

func TestRule16_ExtensionTypes(t *testing.T) {
	e := onSQLite(t, withBadges)
	id := e.newUser("ann", having(`"number":1`))
	for _, wrong := range []string{
		`"number":"1"`, `"number":1.5`, `"number":true`, `"number":1,"serial":5`, `"number":1,"issued":"yesterday"`, `"number":1,"tags":[1]`,
		`"number":1,"home":"North"`, `"number":1,"home":{"site":1}`, `"number":1,"desks":[{"value":2}]`, `"number":1,"photo":{}`,
	} {
		e.do("POST", "/Users", person("bob", having(wrong))).want(400, "invalidValue")
		e.do("PUT", "/Users/"+id, person("ann", having(wrong))).want(400, "invalidValue")
		e.patch("/Users/"+id, `{"op":"replace","path":"`+badgeURN+`","value":{`+wrong+`}}`).want(400, "invalidValue")
	}
	e.do("POST", "/Users", person("bob", `,"`+badgeURN+`":"x"`)).want(400, "invalidValue")
	e.patch("/Users/"+id, `{"op":"add","path":"`+badgeURN+`:number","value":"x"}`).want(400, "invalidValue")
	e.patch("/Users/"+id, `{"op":"add","path":"`+badgeURN+`:nosuch","value":"x"}`).want(400, "invalidPath")
	e.do("GET", "/Users/"+id, "").want(200).has(badgeURN+"/number", 1)
}

func TestRule16_ExtensionPatch(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		id := e.newUser("ann")
		path := func(name string) string { return `"path":"` + badgeURN + ":" + name + `"` }
		e.patch("/Users/"+id,
			`{"op":"add",`+path("NUMBER")+`,"value":1},{"op":"Add",`+path("home.site")+`,"value":"North"},`+
				`{"op":"add",`+path("tags")+`,"value":["a","b"]},{"op":"add",`+path("tags")+`,"value":["b","c"]},`+
				`{"op":"add",`+path(`desks[type eq \"main\"].value`)+`,"value":"d1"}`).want(200).
			has(badgeURN+"/number", 1, badgeURN+"/home/site", "North", badgeURN+"/tags", "[a b c]", badgeURN+"/desks/0/value", "d1", badgeURN+"/desks/0/type", "main")
		e.patch("/Users/"+id, `{"op":"remove",`+path("tags")+`,"value":["A"]},{"op":"replace",`+path("number")+`,"value":2}`).want(200).
			has(badgeURN+"/tags", "[b c]", badgeURN+"/number", 2)
		e.patch("/Users/"+id, `{"op":"replace","value":{"`+badgeURN+`":{"number":3},"`+badgeURN+`:kind":"new"}}`).want(200).
			has(badgeURN+"/number", 3, badgeURN+"/kind", "new", badgeURN+"/tags", "[b c]")
		e.patch("/Users/"+id, `{"op":"remove",`+path("tags")+`},{"op":"remove",`+path("home")+`}`).want(200).has(badgeURN+"/tags", nil, badgeURN+"/home", nil)
		e.patch("/Users/"+id, `{"op":"remove","path":"`+badgeURN+`"}`).want(200).has(badgeURN, nil, "schemas/1", nil)
		e.patch("/Users/"+id, `{"op":"add",`+path("number")+`,"value":1},{"op":"add",`+path("tags")+`,"value":[`+numbered(0, 600)+`]}`).want(200)
		e.patch("/Users/"+id, `{"op":"add",`+path("tags")+`,"value":[`+numbered(600, 1200)+`]}`).want(400, "invalidValue")
	}, withBadges)
}

// numbered returns JSON strings, separated by commas.
func numbered(from, to int) string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf(`"t%d"`, i))
	}
	return strings.Join(out, ",")
}

func TestRule16_ExtensionRequired(t *testing.T) {
	e := onSQLite(t, withBadges)
	for _, lacking := range []string{`"kind":"x"`, `"pin":"1"`, `"number":1,"home":{"level":1}`, `"number":1,"desks":[{"value":"a"},{"type":"b"}]`} {
		e.do("POST", "/Users", person("bob", having(lacking))).want(400, "invalidValue")
	}
	e.do("POST", "/Users", person("bob", having(`"kind":"x"`))).want(400).has("detail", badgeURN+":number is required")
	id := e.newUser("ann") // who does not state the extension lacks nothing
	e.do("POST", "/Users", person("cid", having(``))).want(201)
	e.do("POST", "/Users", person("dan", having(`"number":null,"door":"x"`))).want(201).has("schemas/1", nil)
	e.patch("/Users/"+id, `{"op":"add","path":"`+badgeURN+`:kind","value":"x"}`).want(400, "invalidValue")
	e.patch("/Users/"+id, `{"op":"add","path":"`+badgeURN+`","value":{"kind":"x","number":1}}`).want(200)
	e.patch("/Users/"+id, `{"op":"remove","path":"`+badgeURN+`:number"}`).want(400, "mutability")
	e.patch("/Users/"+id, `{"op":"add","path":"`+badgeURN+`:home.level","value":1}`).want(400, "invalidValue")
	e.do("PUT", "/Users/"+id, person("ann", having(`"kind":"x"`))).want(400, "invalidValue")
	e.do("PUT", "/Users/"+id, person("ann")).want(200).has(badgeURN, nil)
}

// TestRule16_RequiredExtension: where every user must have it, those from before may still be changed otherwise.
func TestRule16_RequiredExtension(t *testing.T) {
	e := onSQLite(t)
	id := e.newUser("ann")
	strict := serve(t, e.store, func(o *scim.Options) { o.Extensions = []schema.Schema{badge(true)} })
	strict.do("GET", "/ResourceTypes/User", "").want(200).has("schemaExtensions/1/required", true)
	strict.do("POST", "/Users", person("bob")).want(400, "invalidValue").has("detail", badgeURN+" is required")
	strict.do("PUT", "/Users/"+id, person("ann")).want(400, "invalidValue")
	strict.patch("/Users/"+id, `{"op":"replace","path":"active","value":false}`).want(200).has("active", false)
	strict.patch("/Users/"+id, `{"op":"add","path":"`+badgeURN+`:number","value":4}`).want(200)
	strict.patch("/Users/"+id, `{"op":"remove","path":"`+badgeURN+`"}`).want(400, "invalidValue")
	strict.do("GET", "/Users/"+id, "").want(200).has(badgeURN+"/number", 4)
}

func TestRule16_ExtensionImmutable(t *testing.T) {
	e := onSQLite(t, withBadges)
	id := e.newUser("ann", having(`"number":1`))
	path := func(name string) string { return `"path":"` + badgeURN + ":" + name + `"` }
	// It can be set once, by PATCH or PUT.
	e.patch("/Users/"+id, `{"op":"add",`+path("serial")+`,"value":"A1"}`).want(200)
	first := `"number":1,"serial":"A1","colour":"Red","home":{"site":"N","since":"2020"},"desks":[{"value":"d1","made":"oak"},{"value":"d2"}]`
	e.do("PUT", "/Users/"+id, person("ann", having(first))).want(200).has(badgeURN+"/serial", "A1", badgeURN+"/colour", "Red")
	// The same again is no change; case counts where the schema says so.
	version := e.do("GET", "/Users/"+id, "").at("meta/version")
	e.do("PUT", "/Users/"+id, person("ann", having(first))).want(200).has("meta/version", version)
	e.patch("/Users/"+id, `{"op":"replace",`+path("serial")+`,"value":"A1"}`).want(200)
	e.patch("/Users/"+id, `{"op":"replace",`+path("colour")+`,"value":"RED"}`).want(200)
	for _, op := range []string{
		`{"op":"replace",` + path("serial") + `,"value":"A2"}`, `{"op":"replace",` + path("serial") + `,"value":"a1"}`,
		`{"op":"add",` + path("serial") + `,"value":"A2"}`, `{"op":"remove",` + path("serial") + `}`,
		`{"op":"replace",` + path("home.since") + `,"value":"2021"}`, `{"op":"remove",` + path("home.since") + `}`,
		`{"op":"replace",` + path(`desks[value eq \"d1\"].made`) + `,"value":"pine"}`,
		`{"op":"replace","value":{"` + badgeURN + `":{"serial":"A2"}}}`, `{"op":"remove","path":"` + badgeURN + `"}`,
	} {
		e.patch("/Users/"+id, op).want(400, "mutability")
	}
	for _, changed := range []string{
		strings.Replace(first, "A1", "A2", 1), strings.Replace(first, "Red", "Blue", 1), strings.Replace(first, "2020", "2021", 1),
		strings.Replace(first, "oak", "pine", 1),
	} {
		e.do("PUT", "/Users/"+id, person("ann", having(changed))).want(400, "mutability")
	}
	// What a PUT leaves out stays; elements may come and go.
	e.do("PUT", "/Users/"+id, person("ann", having(`"number":2,"home":{"site":"N"},"desks":[{"value":"d1"},{"value":"d3","made":"fir"}]`))).want(200).has(
		badgeURN+"/number", 2, badgeURN+"/serial", "A1", badgeURN+"/home/since", "2020", badgeURN+"/desks/0/made", "oak",
		badgeURN+"/desks/1/made", "fir", badgeURN+"/desks/2", nil)
	e.do("PUT", "/Users/"+id, person("ann")).want(200).has(badgeURN+"/serial", "A1", badgeURN+"/number", nil)
}

func TestRule16_ExtensionNeverReturned(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		secrets := `"number":1,"pin":"s3cret-1","hint":"s3cret-2","home":{"site":"N","code":"s3cret-3"},"desks":[{"value":"d","lock":"s3cret-4"}]`
		hidden := func(r *reply) {
			t.Helper()
			if strings.Contains(r.text, "s3cret") {
				t.Errorf("%s returns what is never returned: %s", r.call, r.text)
			}
		}
		r := e.do("POST", "/Users", person("ann", having(secrets))).want(201)
		hidden(r)
		names := url.QueryEscape(strings.Join([]string{badgeURN, badgeURN + ":pin", badgeURN + ":hint", badgeURN + ":home.code", badgeURN + ":desks.lock"}, ","))
		for _, target := range []string{"/Users/" + r.id(), "/Users", "/Users/" + r.id() + "?attributes=" + names, "/Users?attributes=" + names} {
			hidden(e.do("GET", target, "").want(200))
		}
		hidden(e.patch("/Users/"+r.id(), `{"op":"replace","path":"`+badgeURN+`:pin","value":"s3cret-5"}`).want(200))
		// A client cannot echo what it does not see: a PUT without it does not clear it.
		hidden(e.do("PUT", "/Users/"+r.id(), r.text).want(200))
		held, err := e.store.User(t.Context(), r.id())
		if err != nil {
			t.Fatal(err)
		}
		ext, _ := held.Attributes[badgeURN].(map[string]any)
		home, _ := ext["home"].(map[string]any)
		desks, _ := ext["desks"].([]any)
		if ext["pin"] != "s3cret-5" || ext["hint"] != "s3cret-2" || home["code"] != "s3cret-3" || len(desks) != 1 || desks[0].(map[string]any)["lock"] != "s3cret-4" {
			t.Errorf("held after a PUT: %v, want the values of before", ext)
		}
		events, err := e.store.Audit(t.Context(), store.AuditQuery{Limit: 9})
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			if strings.Contains(event.Reason, "password") {
				t.Errorf("a write-only attribute is taken for the password: %s", event.Reason)
			}
		}
		// Who has nothing else to show shows no empty object.
		e.do("GET", "/Users/"+r.id()+"?excludedAttributes="+url.QueryEscape(badgeURN+":number,"+badgeURN+":home,"+badgeURN+":desks"), "").want(200).has(badgeURN, nil)
	}, withBadges)
}

// TestRule16_NoLongerDeclared: what the configuration does not name any more is not served, whatever it was.
func TestRule16_NoLongerDeclared(t *testing.T) {
	e := onSQLite(t, withBadges)
	id := e.newUser("ann", having(`"number":7,"serial":"S","pin":"s3cret","home":{"site":"N","code":"s3cret"},"desks":[{"value":"d","lock":"s3cret"}]`))
	less := badge(false)
	less.Attributes = []schema.Attribute{
		{Name: "number", Type: schema.Integer},
		{Name: "home", Type: schema.Complex, SubAttributes: []schema.Attribute{{Name: "site"}}},
		{Name: "desks", Type: schema.Complex, MultiValued: true, SubAttributes: []schema.Attribute{{Name: "value"}}},
	}
	for name, extensions := range map[string][]schema.Schema{"part of it": {less}, "nothing of it": nil} {
		left := serve(t, e.store, func(o *scim.Options) { o.Extensions = extensions })
		for _, query := range []string{"", "?attributes=" + badgeURN + ":pin," + badgeURN, "?excludedAttributes=userName"} {
			r := left.do("GET", "/Users/"+id+query, "").want(200)
			if strings.Contains(r.text, "s3cret") || strings.Contains(r.text, "serial") {
				t.Errorf("%s is declared, and GET %s serves more: %s", name, query, r.text)
			}
			if extensions == nil {
				r.has(badgeURN, nil, "schemas/1", nil)
			} else if query == "" {
				r.has(badgeURN+"/number", 7, badgeURN+"/home/site", "N", badgeURN+"/desks/0/value", "d")
			}
		}
	}
	e.do("GET", "/Users/"+id, "").want(200).has(badgeURN+"/serial", "S")
}

func TestRule16_ExtensionReadOnly(t *testing.T) {
	e := onSQLite(t, withBadges)
	r := e.do("POST", "/Users", person("ann", having(`"number":1,"door":"x","home":{"site":"N","zone":"x"}`))).want(201).
		has(badgeURN+"/door", nil, badgeURN+"/home/zone", nil)
	e.do("PUT", "/Users/"+r.id(), person("ann", having(`"number":1,"door":"x"`))).want(200).has(badgeURN+"/door", nil)
	e.patch("/Users/"+r.id(), `{"op":"replace","value":{"`+badgeURN+`":{"door":"x","kind":"k"}}}`).want(200).has(badgeURN+"/door", nil, badgeURN+"/kind", "k")
	e.patch("/Users/"+r.id(), `{"op":"replace","path":"`+badgeURN+`:door","value":"x"}`).want(400, "mutability")
	e.patch("/Users/"+r.id(), `{"op":"add","path":"`+badgeURN+`:home.zone","value":"x"}`).want(400, "mutability")
}

func TestRule16_ExtensionReturned(t *testing.T) {
	e := onSQLite(t, withBadges)
	id := e.newUser("ann", having(`"number":1,"kind":"k","note":"n","tags":["t"]`))
	get := func(query string) *reply {
		t.Helper()
		return e.do("GET", "/Users/"+id+"?"+query, "").want(200)
	}
	get("").has(badgeURN+"/number", 1, badgeURN+"/kind", "k", badgeURN+"/note", nil)
	get("attributes=userName").has("userName", "ann@x.example", badgeURN+"/kind", "k", badgeURN+"/number", nil, badgeURN+"/note", nil)
	get("attributes="+badgeURN+":note").has(badgeURN+"/note", "n", badgeURN+"/kind", "k", badgeURN+"/number", nil, "userName", nil)
	get("attributes="+strings.ToUpper(badgeURN)).has(badgeURN+"/number", 1, badgeURN+"/kind", "k", "userName", nil)
	get("excludedAttributes="+badgeURN+":number").has(badgeURN+"/number", nil, badgeURN+"/tags/0", "t")
	get("excludedAttributes="+badgeURN+":kind").has(badgeURN+"/kind", "k")
	get("excludedAttributes="+badgeURN).has(badgeURN+"/kind", "k", badgeURN+"/number", nil, badgeURN+"/tags", nil)
}

func TestRule16_ExtensionFilter(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		e.newUser("ann", having(`"number":7,"serial":"A1","kind":"Blue","tags":["x"],"issued":"2026-01-02T03:04:05Z","desks":[{"value":"d1","type":"main"}]`))
		e.newUser("bob", having(`"number":12,"serial":"a1","kind":"red","home":{"site":"North"}`))
		e.newUser("cid")
		for filter, want := range map[string]string{
			`N:number eq 7`: "ann", `N:number gt 7`: "bob", `N:kind eq "blue"`: "ann", `N:KIND sw "r"`: "bob", `N:serial eq "A1"`: "ann",
			`N:serial eq "a1"`: "bob", `N:home.site eq "north"`: "bob", `N:tags eq "X"`: "ann", `N:desks[type eq "MAIN" and value eq "d1"]`: "ann",
			`N:issued lt "2026-01-02T04:04:06+01:00" and N:number pr`: "ann", `not (N:number pr)`: "cid",
		} {
			r := e.do("GET", "/Users?sortBy=userName&filter="+url.QueryEscape(strings.ReplaceAll(filter, "N:", badgeURN+":")), "").want(200)
			r.has("totalResults", 1, "Resources/0/userName", want+"@x.example")
		}
		e.do("GET", "/Users?filter="+url.QueryEscape(badgeURN+`:number eq "x"`), "").want(400, "invalidFilter")
	}, withBadges)
}
