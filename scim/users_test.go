package scim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func TestRule17_RequiredAttributes(t *testing.T) {
	e := onSQLite(t)
	whole := map[string]string{
		"userName": `"userName":"ann@x.example"`, "givenName": `"givenName":"Ann"`, "familyName": `"familyName":"Lee"`,
		"emails": `"emails":[{"value":"ann@x.example","primary":true}]`,
	}
	body := func(change map[string]string) string {
		part := func(name string) string {
			if s, ok := change[name]; ok {
				return s
			}
			return whole[name]
		}
		return "{" + part("userName") + `,"name":{` + part("givenName") + "," + part("familyName") + "}," + part("emails") + "}"
	}
	tests := []struct{ attribute, text, detail string }{
		{"userName", `"x":1`, "userName is required"},
		{"userName", `"userName":" "`, "userName is required"},
		{"givenName", `"x":1`, "name.givenName is required"},
		{"familyName", `"familyName":""`, "name.familyName is required"},
		{"emails", `"emails":null`, "Email must be marked as primary"},
		{"emails", `"emails":[{"value":"ann@x.example","primary":true},{"value":"b@x.example","primary":true}]`, "Only one email may be marked as primary"},
		{"emails", `"emails":[{"primary":true}]`, "The primary email has no value"},
		{"emails", `"emails":[{"value":"bob@x.example","primary":true}]`, "userName must be the primary email: ann@x.example is not bob@x.example"},
		{"userName", `"userName":5`, "userName must be a string"},
		{"familyName", `"familyName":"` + strings.Repeat("x", 900) + `"`, "name.familyName is too long"},
	}
	for _, test := range tests {
		e.do("POST", "/Users", body(map[string]string{test.attribute: test.text})).want(400, "invalidValue").has("detail", test.detail)
	}
	id := e.do("POST", "/Users", body(map[string]string{"emails": `"emails":[{"value":"ANN@X.example","primary":"True"}]`})).want(201).id()
	for _, test := range tests {
		e.do("PUT", "/Users/"+id, body(map[string]string{test.attribute: test.text})).want(400, "invalidValue").has("detail", test.detail)
	}
}

func TestRule17_UserNameIsEmail(t *testing.T) {
	t.Run("warn", func(t *testing.T) {
		e := onSQLite(t, func(o *scim.Options) { o.UserNameIsEmail = scim.Warn })
		e.do("POST", "/Users", strings.Replace(person("ann"), "ann@x.example", "ann.upn@x.example", 1)).want(201)
		if !strings.Contains(e.log.String(), "userName is not the primary email") {
			t.Error("no warning")
		}
	})
	t.Run("off", func(t *testing.T) {
		e := onSQLite(t, func(o *scim.Options) { o.UserNameIsEmail = scim.Off })
		e.do("POST", "/Users", strings.Replace(person("ann"), "ann@x.example", "ann", 1)).want(201).has("userName", "ann")
		if e.log.Len() > 0 {
			t.Errorf("logged %s", e.log)
		}
	})
}

func TestRule17_CheckedOnTheFinalStateOnly(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		id := e.newUser("ann")
		e.patch("/Users/"+id, `{"op":"replace","path":"userName","value":"b@x.example"}`).want(400, "invalidValue")
		e.patch("/Users/"+id, `{"op":"replace","path":"userName","value":"b@x.example"},{"op":"replace","path":"emails[type eq \"work\"].value","value":"B@x.example"}`).
			want(200).has("userName", "b@x.example", "emails/0/value", "B@x.example", "emails/0/primary", true)
		e.patch("/Users/"+id, `{"op":"remove","path":"emails"},{"op":"add","path":"emails[type eq \"home\"].value","value":"b@x.example"}`).
			want(200).has("emails/0/primary", true, "emails/1", nil)
		e.patch("/Users/"+id, `{"op":"remove","path":"emails"}`).want(400, "mutability")
	})
}

// Somebody who was stated without a family name by another way can still be deactivated, but not made worse.
func TestRule17_WhatWasWrongBeforeDoesNotBlock(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		u, err := e.applier.CreateUser(t.Context(), identity.Actor{}, "okta", identity.User{UserName: "odd", Active: true})
		if err != nil {
			t.Fatal(err)
		}
		e.patch("/Users/"+u.ID, `{"op":"replace","path":"active","value":"False"}`).want(200).has("active", false, "userName", "odd")
		e.patch("/Users/"+u.ID, `{"op":"replace","path":"emails","value":[{"value":"a","primary":true},{"value":"b","primary":true}]}`).want(400, "invalidValue")
		e.do("PUT", "/Users/"+u.ID, `{"userName":"odd"}`).want(400, "invalidValue")
	})
}

func TestRule18_Uniqueness(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		e.newUser("ann", `,"externalId":"00u1"`)
		bob := e.newUser("bob", `,"externalId":"00u2"`)
		e.do("POST", "/Users", person("ANN")).want(409, "uniqueness")
		e.do("POST", "/Users", person("cat", `,"externalId":"00u1"`)).want(409, "uniqueness")
		e.do("PUT", "/Users/"+bob, person("ann")).want(409, "uniqueness")
		e.do("PUT", "/Users/"+bob, person("bob", `,"externalId":"00u1"`)).want(409, "uniqueness")
		e.patch("/Users/"+bob, `{"op":"replace","value":{"userName":"Ann@x.example","emails":[{"value":"ann@x.example","primary":true}]}}`).want(409, "uniqueness")
		e.newUser("dan", `,"externalId":"00U1"`) // another id: external ids are exact
	})
}

func TestRule18_PostRevives(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann", `,"externalId":"00u1"`)
		group := e.newGroup("Staff", ann)
		e.do("DELETE", "/Users/"+ann, "").want(204)
		r := e.do("POST", "/Users", person("ann", `,"externalId":"00u1","title":"back"`)).want(201)
		r.has("id", ann, "active", true, "title", "back", "groups/0/value", group)
		if r.header.Get("Location") != base+"/scim/v2/Users/"+ann {
			t.Errorf("Location %q", r.header.Get("Location"))
		}
		e.do("GET", "/Users/"+ann, "").want(200)

		bob := e.newUser("bob")
		e.patch("/Users/"+bob, `{"op":"replace","value":{"active":false}}`).want(200)
		e.do("POST", "/Users", person("BOB")).want(201).has("id", bob, "active", true)
		e.do("POST", "/Users", person("bob")).want(409, "uniqueness")
	})
}

func TestRule18_PostAdoptsLocalAccounts(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ctx := t.Context()
		admin, err := e.applier.CreateAdmin(ctx, identity.Actor{}, "root@x.example", "hash", false)
		if err != nil {
			t.Fatal(err)
		}
		// The last admin is kept from everything that would end break glass.
		e.do("POST", "/Users", person("root")).want(403)
		e.do("PUT", "/Users/"+admin.ID, person("root")).want(403)
		e.do("DELETE", "/Users/"+admin.ID, "").want(403)
		e.patch("/Users/"+admin.ID, `{"op":"replace","path":"active","value":false}`).want(403)
		if _, err := e.applier.CreateAdmin(ctx, identity.Actor{}, "second@x.example", "hash", false); err != nil {
			t.Fatal(err)
		}
		e.do("POST", "/Users", person("root")).want(201).has("id", admin.ID)
		u, err := e.store.User(ctx, admin.ID)
		if err != nil || u.Origin != identity.OriginSSO {
			t.Errorf("adopted: origin %s, %v", u.Origin, err)
		}
	})
}

func TestRule19_GroupsAreReadOnly(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		stated := `,"groups":[{"value":"00g1","display":"Other"}]`
		id := e.newUser("ann", stated)
		group := e.newGroup("Staff", id)
		want := []any{"groups/0/value", group, "groups/0/display", "Staff", "groups/0/$ref", base + "/scim/v2/Groups/" + group, "groups/0/type", "direct", "groups/1", nil}
		e.do("PUT", "/Users/"+id, person("ann", stated)).want(200).has(want...)
		e.do("PUT", "/Users/"+id, person("ann", `,"groups":[]`)).want(200).has(want...)
		e.patch("/Users/"+id, `{"op":"replace","path":"groups","value":[{"value":"g"}]}`).want(200).has(want...)
		e.do("GET", "/Users/"+id, "").want(200).has(want...)

		strict := serve(t, e.store, func(o *scim.Options) { o.StrictReadOnly = true })
		strict.do("POST", "/Users", person("bob", stated)).want(400, "mutability")
		strict.do("PUT", "/Users/"+id, person("ann", stated)).want(400, "mutability")
		strict.patch("/Users/"+id, `{"op":"add","path":"groups","value":[{"value":"g"}]}`).want(400, "mutability")
		strict.do("PUT", "/Users/"+id, person("ann", `,"groups":[]`)).want(200)
	})
}

func TestRule20_PasswordsAreDropped(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		secret := "correct-horse-battery"
		stated := `,"password":"` + secret + `"`
		r := e.do("POST", "/Users", person("ann", stated)).want(201)
		id := r.id()
		answers := r.text
		answers += e.do("PUT", "/Users/"+id, person("ann", stated)).want(200).text
		answers += e.patch("/Users/"+id, `{"op":"replace","path":"password","value":"`+secret+`"}`).want(200).has("meta/version", `W/"1"`).text
		answers += e.do("GET", "/Users/"+id+"?attributes=password,title", "").want(200).text
		u, err := e.store.User(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(answers, secret) || strings.Contains(e.log.String(), secret) || strings.Contains(fmt.Sprint(u), secret) {
			t.Error("the password is kept, answered or logged")
		}
		strict := serve(t, e.store, func(o *scim.Options) { o.StrictReadOnly = true })
		strict.do("PUT", "/Users/"+id, person("ann", stated)).want(400, "mutability")
		strict.patch("/Users/"+id, `{"op":"replace","value":{"password":"x"}}`).want(400, "mutability")
		strict.do("POST", "/Users", person("bob", stated)).want(201)
	})
}

func TestRule21_PutReplaces(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		id := e.newUser("ann", `,"title":"Engineer","externalId":"e1","active":false,"roles":["viewer"],"`+enterpriseURN+`":{"department":"R&D"}`)
		r := e.do("GET", "/Users/"+id, "").want(200)
		// The whole answer echoed changes nothing.
		e.do("PUT", "/Users/"+id, r.text).want(200).has("meta/version", `W/"1"`, "title", "Engineer", "active", false)
		e.do("PUT", "/Users/"+id, person("ann", `,"nickName":"A","id":"other","meta":{"created":"x"}`)).want(200).has(
			"id", id, "nickName", "A", "title", nil, "externalId", nil, "roles", nil, enterpriseURN, nil, "active", false, "meta/version", `W/"2"`)
		u, err := e.store.User(t.Context(), id)
		if err != nil || len(u.Roles) != 0 {
			t.Errorf("roles %v, %v", u.Roles, err)
		}
		e.do("PUT", "/Users/"+id, person("ann", `,"active":"True"`)).want(200).has("active", true, "nickName", nil)
	})
}

func TestRule22_Roles(t *testing.T) {
	shapes := map[string]string{
		"string":  `"admin"`,
		"strings": `["Admin"]`,
		"objects": `[{"value":"admin"}]`,
		"JSON":    `[{"primary":true,"value":"{\"id\":\"06b0\",\"value\":\"admin\",\"displayName\":\"Admin\"}"}]`,
	}
	each(t, func(t *testing.T, e *endpoint) {
		holds := func(id string, want ...string) {
			t.Helper()
			u, err := e.store.User(t.Context(), id)
			if err != nil || fmt.Sprint(u.Roles) != fmt.Sprint(want) {
				t.Errorf("roles %v, want %v: %v", u.Roles, want, err)
			}
		}
		for name, shape := range shapes {
			r := e.do("POST", "/Users", person(name, `,"roles":`+shape)).want(201)
			holds(r.id(), "admin")
			if diff := cmp.Diff(decodeText(t, shape), r.at("roles")); diff != "" {
				t.Errorf("%s does not come back as sent:\n%s", name, diff)
			}
		}
		id := e.newUser("path")
		e.patch("/Users/"+id, `{"op":"Add","path":"roles[primary eq \"True\"].value","value":"operator"}`).want(200).has("roles/0/value", "operator")
		holds(id, "operator")
		e.patch("/Users/"+id, `{"op":"add","path":"roles","value":["billing_admin"]}`).want(200)
		holds(id, "billing_admin", "operator")
		has, err := e.store.HasRole(t.Context(), id, identity.RootTeamID, "operator")
		if err != nil || !has {
			t.Errorf("operator on the root team: %v, %v", has, err)
		}
		for _, unknown := range []string{`"emperor"`, `["viewer","emperor"]`, `[{"value":"{\"value\":\"emperor\"}"}]`, `"scim_provisioner"`} {
			r := e.do("POST", "/Users", person("eve", `,"roles":`+unknown)).want(400, "invalidValue")
			if detail, _ := r.at("detail").(string); !strings.Contains(detail, "admin, billing_admin, operator, viewer") {
				t.Errorf("detail %q does not name the allowed roles", detail)
			}
		}
		e.patch("/Users/"+id, `{"op":"add","path":"roles","value":"emperor"}`).want(400, "invalidValue")
		e.do("POST", "/Users", person("eve", `,"roles":[5]`)).want(400, "invalidValue")
		e.patch("/Users/"+id, `{"op":"remove","path":"roles"}`).want(200).has("roles", nil)
		holds(id)

		lenient := serve(t, e.store, func(o *scim.Options) { o.UnknownRoles = scim.Ignore })
		r := lenient.do("POST", "/Users", person("fay", `,"roles":[{"value":"emperor"},{"value":"viewer"}]`)).want(201).has("roles/0/value", "emperor")
		holds(r.id(), "viewer")
	}, func(o *scim.Options) { o.Roles = []string{"billing_admin"} })
}

func TestRule23_WhatIsSentComesBack(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		body := `{
			"schemas": ["` + userURN + `", "` + enterpriseURN + `", "urn:unknown:1.0:User"],
			"userName": "Ann@X.example", "externalId": "00555", "displayName": "Ännchen <&> \u2028", "title": "555", "nickName": "",
			"locale": "de-DE", "timezone": "Europe/Berlin", "preferredLanguage": "de", "userType": "Employee", "profileUrl": "https://x.example/a?b=c&d",
			"name": {"givenName": "Ann", "familyName": "Lee", "formatted": "Ann Lee", "middleName": "B", "honorificPrefix": "Dr.", "honorificSuffix": "III"},
			"emails": [{"value": "ann@x.example", "type": "work", "primary": true, "display": "A"}, {"value": "h@x.example", "type": "home"}],
			"phoneNumbers": [{"value": "+49 228 555", "type": "mobile"}],
			"addresses": [{"type": "work", "streetAddress": "Weg 1\n2", "locality": "Bonn", "postalCode": "00053", "country": "DE", "region": "NW", "formatted": "x"}],
			"ims": [{"value": "a", "type": "xmpp"}], "photos": [{"value": "https://x.example/p", "type": "photo"}],
			"entitlements": [{"value": "e1"}], "roles": [{"value": "viewer", "primary": false}],
			"x509Certificates": [{"value": "MIIB"}],
			"` + enterpriseURN + `": {"employeeNumber": "000701", "costCenter": "4130", "organization": "O", "division": "D", "department": "T", "manager": {"value": "m", "displayName": "Max"}}
		}`
		id := e.do("POST", "/Users", body).want(201).id()
		got := e.do("GET", "/Users/"+id, "").want(200).doc
		want := decodeText(t, body).(map[string]any)
		want["schemas"] = []any{userURN, enterpriseURN}
		want["active"], want["id"], want["meta"], want["groups"] = true, id, got["meta"], []any{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		e.do("PUT", "/Users/"+id, person("ann", `,"shoeSize":9,"urn:unknown:1.0:User":{"a":1},"title":null,"photos":[],"urn:odd":null`)).want(200).has("title", nil, "shoeSize", nil)
		e.patch("/Users/"+id, `{"op":"add","path":"shoeSize","value":9}`).want(400, "invalidPath")
		e.do("PUT", "/Users/"+id, person("ann", `,"title":5`)).want(400, "invalidValue")
	})
}

func TestRule16_OwnExtension(t *testing.T) {
	e := onSQLite(t, func(o *scim.Options) {
		o.Extensions = []schema.Schema{{
			ID: "urn:acme:2.0:Badge", Name: "Badge", Description: "Badges", Attributes: []schema.Attribute{
				{Name: "door", Type: schema.Integer},
				{Name: "pin", Returned: schema.OnRequest},
				{Name: "secret", Mutability: schema.WriteOnly, Returned: schema.Never},
			},
		}}
	})
	e.do("GET", "/Schemas/urn:acme:2.0:Badge", "").want(200).has("attributes/0/type", "integer")
	e.do("GET", "/ResourceTypes/User", "").want(200).has("schemaExtensions/1/schema", "urn:acme:2.0:Badge")
	id := e.newUser("ann", `,"urn:acme:2.0:badge":{"Door":12345678901234567,"pin":"1","secret":"s"}`)
	r := e.do("GET", "/Users/"+id, "").want(200).has("schemas/1", "urn:acme:2.0:Badge", "urn:acme:2.0:Badge/pin", nil, "urn:acme:2.0:Badge/secret", nil)
	if !strings.Contains(r.text, "12345678901234567") {
		t.Errorf("the number lost its spelling: %s", r.text)
	}
	e.do("GET", "/Users/"+id+"?attributes=urn:acme:2.0:Badge:pin,urn:acme:2.0:Badge:secret", "").want(200).
		has("urn:acme:2.0:Badge/pin", "1", "urn:acme:2.0:Badge/door", nil, "urn:acme:2.0:Badge/secret", nil)
	e.patch("/Users/"+id, `{"op":"replace","path":"urn:acme:2.0:Badge:door","value":"x"}`).want(400, "invalidValue")
	e.patch("/Users/"+id, `{"op":"replace","path":"urn:acme:2.0:Badge:door","value":8}`).want(200).has("urn:acme:2.0:Badge/door", 8)
}

func TestRule10_Attributes(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		id := e.newUser("ann", `,"title":"x","`+enterpriseURN+`":{"department":"R","division":"D"}`)
		e.newGroup("Staff", id)
		user := func(query string) *reply { return e.do("GET", "/Users/"+id+"?"+query, "").want(200) }
		only := func(r *reply, names ...string) {
			t.Helper()
			got := map[string]bool{}
			for name := range r.doc {
				got[name] = true
			}
			want := map[string]bool{"id": true, "schemas": true}
			for _, name := range names {
				want[name] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		only(user("attributes=userName"), "userName")
		only(user("attributes=USERNAME,%20emails.Value,unknown,,a%20b").has("emails/0/value", "ann@x.example", "emails/0/type", nil), "userName", "emails")
		only(user("attributes=emails.value,emails.type").has("emails/0/value", "ann@x.example", "emails/0/type", "work", "emails/0/primary", nil), "emails")
		only(user("attributes=name.givenName").has("name/familyName", nil), "name")
		only(user("attributes=groups").has("groups/0/display", "Staff"), "groups")
		only(user("attributes="+enterpriseURN).has(enterpriseURN+"/division", "D"), enterpriseURN)
		only(user("attributes="+enterpriseURN+":department").has(enterpriseURN+"/division", nil), enterpriseURN)
		only(user("attributes=unknown"))
		only(user("attributes=meta.version").has("meta/version", `W/"1"`, "meta/created", nil), "meta")
		user("excludedAttributes=title,id,schemas,emails.type,groups,"+enterpriseURN+":department").has(
			"title", nil, "id", id, "emails/0/type", nil, "emails/0/value", "ann@x.example", "groups", nil,
			enterpriseURN+"/department", nil, enterpriseURN+"/division", "D", "userName", "ann@x.example")
		user("excludedAttributes="+enterpriseURN).has(enterpriseURN, nil)
		e.do("PUT", "/Users/"+id+"?attributes=userName", person("ann", `,"title":"y"`)).want(200).has("title", nil, "userName", "ann@x.example")
		e.do("POST", "/Users?excludedAttributes=title", person("bob", `,"title":"y"`)).want(201).has("title", nil)
		e.do("GET", "/Groups?excludedAttributes=members", "").want(200).has("Resources/0/members", nil, "Resources/0/displayName", "Staff")
		e.do("GET", "/Groups?attributes=members.value", "").want(200).has("Resources/0/members/0/value", id, "Resources/0/members/0/display", nil)
		u, err := e.store.User(t.Context(), id)
		if err != nil || u.Attributes.Text(identity.Path{Attr: "title"}) != "y" {
			t.Errorf("selecting changed what is held: %v, %v", u, err)
		}
	})
}

func TestRule33_NoChangeNoVersion(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		id := e.newUser("ann", `,"title":"x"`)
		for _, ops := range []string{
			`{"op":"add","path":"title","value":"x"}`,
			`{"op":"replace","value":{"active":true,"name":{"givenName":"ann"}}}`,
			`{"op":"Replace","path":"emails[type eq \"work\"].value","value":"ann@x.example"}`,
			`{"op":"remove","path":"nickName"}`,
		} {
			e.patch("/Users/"+id, ops).want(200).has("meta/version", `W/"1"`)
		}
		e.do("PUT", "/Users/"+id, person("ann", `,"title":"x"`)).want(200).has("meta/version", `W/"1"`)
	})
}

func TestRule30_PatchIsAtomic(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		id := e.newUser("ann")
		for _, ops := range []string{
			`{"op":"add","path":"title","value":"x"},{"op":"add","path":"shoeSize","value":1}`,
			`{"op":"add","path":"title","value":"x"},{"op":"replace","path":"userName","value":"other@x.example"}`,
			`{"op":"add","path":"title","value":"x"},{"op":"replace","path":"phoneNumbers[value eq \"1\"].display","value":"x"}`,
		} {
			e.patch("/Users/"+id, ops).want(400)
		}
		e.do("GET", "/Users/"+id, "").want(200).has("title", nil, "meta/version", `W/"1"`)
		e.patch("/Users/"+id, `{"op":"replace","path":"phoneNumbers[value eq \"1\"].display","value":"x"}`).want(400, "noTarget")
		e.patch("/Users/"+id, `{"op":"remove"}`).want(400, "noTarget")
		e.patch("/Users/"+id, `{"op":"remove","path":"name.familyName"}`).want(400, "mutability")
	})
}

// A key that is bound to a connector pushes in the connector's name, and the audit log names the key and the request.
func TestRule7_ActorAndSource(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		e.key = "okta"
		id := e.do("POST", "/Users?id=trace-1", person("ann", `,"externalId":"00u1"`)).want(201).id()
		u, err := e.store.User(t.Context(), id)
		if err != nil || u.Source != "okta" || u.SourceID != "00u1" || u.Origin != identity.OriginSSO || u.LastPushAt.IsZero() {
			t.Errorf("held %+v, %v", u, err)
		}
		events, err := e.store.Audit(t.Context(), store.AuditQuery{Limit: 1})
		want := identity.Actor{Kind: "key", ID: "k4", Name: "bound", RequestID: "trace-1"}
		if err != nil || len(events) != 1 || events[0].Actor != want || events[0].ObjectID != id {
			t.Errorf("audit %+v, %v", events, err)
		}
		e.patch("/Users/"+id+"?id=trace-2", `{"op":"replace","path":"password","value":"x"}`).want(200)
		events, err = e.store.Audit(t.Context(), store.AuditQuery{Limit: 1})
		if err != nil || len(events) != 1 || events[0].Type != identity.EventRefused || events[0].Actor.RequestID != "trace-2" {
			t.Errorf("audit of a password %+v, %v", events, err)
		}
	})
}
