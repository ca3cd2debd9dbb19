package schema_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/scim/schema"
)

func users(t *testing.T, extensions ...schema.Schema) *schema.Resource {
	t.Helper()
	r, err := schema.Users(extensions...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestLookup(t *testing.T) {
	t.Parallel()
	r := users(t, schema.Schema{ID: "urn:acme:badge:2.0", Attributes: []schema.Attribute{{Name: "door"}}})
	tests := []struct{ urn, name, sub, want string }{
		{"", "USERNAME", "", "userName"},
		{"", "name", "GivenName", "name.givenName"},
		{"", "externalid", "", "externalId"},
		{"", "meta", "lastmodified", "meta.lastModified"},
		{strings.ToUpper(schema.UserURN), "emails", "value", "emails.value"},
		{schema.UserURN, "id", "", "id"},
		{schema.EnterpriseURN, "manager", "value", schema.EnterpriseURN + ":manager.value"},
		{"urn:ietf:params:scim:schemas:extension:enterprise:2.0", "user", "", schema.EnterpriseURN},
		{"urn:ietf:params:scim:schemas:extension:enterprise:2.0", "User", "department", schema.EnterpriseURN + ":department"},
		{"urn:acme:badge", "2", "0", "urn:acme:badge:2.0"},
		{"urn:acme:badge:2.0", "door", "", "urn:acme:badge:2.0:door"},
	}
	for _, test := range tests {
		ref, ok := r.Lookup(test.urn, test.name, test.sub)
		if !ok || ref.String() != test.want {
			t.Errorf("Lookup(%q, %q, %q) = %q, %v, want %q", test.urn, test.name, test.sub, ref, ok, test.want)
		}
	}
	for _, unknown := range [][3]string{
		{"", "shoeSize", ""}, {"", "name", "first"}, {"urn:other", "title", ""}, {schema.EnterpriseURN, "title", ""},
	} {
		if ref, ok := r.Lookup(unknown[0], unknown[1], unknown[2]); ok {
			t.Errorf("Lookup(%q) = %s, want nothing", unknown, ref)
		}
	}
}

func TestRule16_OwnExtensionSchemas(t *testing.T) {
	t.Parallel()
	var own schema.Schema
	definition := `{"id":"urn:acme:2.0:Badge","name":"Badge","attributes":[
		{"name":"door","type":"integer"},{"name":"keys","multiValued":true},
		{"name":"desk","type":"complex","subAttributes":[{"name":"floor","type":"integer"}]}]}`
	if err := json.Unmarshal([]byte(definition), &own); err != nil {
		t.Fatal(err)
	}
	r := users(t, own)
	got, err := r.Canonical(decode(t, `{"urn:acme:2.0:badge":{"DOOR":7,"keys":["a"],"desk":{"Floor":3}}}`).(map[string]any))
	want := map[string]any{"urn:acme:2.0:Badge": map[string]any{
		"door": json.Number("7"), "keys": []any{"a"}, "desk": map[string]any{"floor": json.Number("3")},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Canonical: %v\n%s", err, diff)
	}
	if own.Attributes[0].Mutability != "" {
		t.Error("Users changed the schema that it was given")
	}

	one := []schema.Attribute{{Name: "a"}}
	for name, bad := range map[string]schema.Schema{
		"no URN":           {ID: "acme", Attributes: one},
		"no attributes":    {ID: "urn:acme"},
		"taken":            {ID: schema.EnterpriseURN, Attributes: one},
		"core":             {ID: strings.ToLower(schema.UserURN), Attributes: one},
		"bad name":         {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a b"}}},
		"bad type":         {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Type: "text"}}},
		"bad mutability":   {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Mutability: "rw"}}},
		"bad returned":     {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Returned: "yes"}}},
		"unique":           {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Uniqueness: schema.Server}}},
		"unique part":      {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Type: schema.Complex, SubAttributes: []schema.Attribute{{Name: "b", Uniqueness: schema.Global}}}}},
		"returned secret":  {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Mutability: schema.WriteOnly, Returned: schema.OnRequest}}},
		"required to read": {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Mutability: schema.ReadOnly, Required: true}}},
		"bad uniqueness":   {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Uniqueness: "yes"}}},
		"twice":            {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a"}, {Name: "A"}}},
		"hollow complex":   {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Type: schema.Complex}}},
		"complex in that":  {ID: "urn:acme", Attributes: []schema.Attribute{{Name: "a", Type: schema.Complex, SubAttributes: []schema.Attribute{{Name: "b", Type: schema.Complex, SubAttributes: one}}}}},
	} {
		if _, err := schema.Users(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRule16_WhatIsLeftOut(t *testing.T) {
	t.Parallel()
	r := users(t, schema.Schema{ID: "urn:acme:x", Attributes: []schema.Attribute{
		{Name: "plain"}, {Name: "pin", Mutability: schema.WriteOnly}, {Name: "link", Type: schema.Reference}, {Name: "blob", Type: schema.Binary},
	}})
	want := []schema.Attribute{
		{Name: "plain", Type: schema.String, Mutability: schema.ReadWrite, Returned: schema.Default, Uniqueness: schema.None},
		{Name: "pin", Type: schema.String, Mutability: schema.WriteOnly, Returned: schema.Never, Uniqueness: schema.None},
		{Name: "link", Type: schema.Reference, CaseExact: true, Mutability: schema.ReadWrite, Returned: schema.Default, Uniqueness: schema.None},
		{Name: "blob", Type: schema.Binary, CaseExact: true, Mutability: schema.ReadWrite, Returned: schema.Default, Uniqueness: schema.None},
	}
	if diff := cmp.Diff(want, r.Extension("urn:acme:x").Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

// Every characteristic that RFC 7643, section 7 names is present and has one of its values.
func TestRule16_CharacteristicsAreComplete(t *testing.T) {
	t.Parallel()
	r := users(t)
	for _, s := range append(r.Extensions, r.Core, schema.Groups().Core) {
		// A schema that is complete already stays as it is, so reading it as a site's own finds every mistake.
		own := *s
		own.ID, own.Attributes = "urn:check:"+s.Name, notUnique(s.Attributes)
		again := users(t, own).Extensions[1]
		if diff := cmp.Diff(s.Attributes[0].Name, again.Attributes[0].Name); diff != "" {
			t.Error(diff)
		}
		check(t, s.ID, s.Attributes)
	}
}

// notUnique returns the attributes without the promise that only the service's own schemas make.
func notUnique(attributes []schema.Attribute) []schema.Attribute {
	attributes = slices.Clone(attributes)
	for i := range attributes {
		attributes[i].Uniqueness = schema.None
		attributes[i].SubAttributes = notUnique(attributes[i].SubAttributes)
	}
	return attributes
}

func check(t *testing.T, where string, attributes []schema.Attribute) {
	t.Helper()
	for _, a := range attributes {
		at := where + ":" + a.Name
		if a.Description == "" {
			t.Errorf("%s: no description", at)
		}
		if (a.Type == schema.Reference) != (len(a.ReferenceTypes) > 0) {
			t.Errorf("%s: reference types %v with type %s", at, a.ReferenceTypes, a.Type)
		}
		if a.Mutability == schema.WriteOnly && a.Returned != schema.Never {
			t.Errorf("%s: write-only but returned %s", at, a.Returned)
		}
		if a.Mutability == schema.ReadOnly && a.Required {
			t.Errorf("%s: read-only and required", at)
		}
		check(t, at, a.SubAttributes)
	}
}

func TestRule23_ValuesKeepTypeAndSpelling(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{
			"names in any case, digits stay text", `{"USERNAME":"Ann@X.example","name":{"GIVENNAME":"ann"},
				"urn:ietf:params:scim:schemas:extension:ENTERPRISE:2.0:user":{"employeenumber":"00555"}}`,
			`{"userName":"Ann@X.example","name":{"givenName":"ann"},
				"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"employeeNumber":"00555"}}`,
		},
		{"null, [] and {} say nothing", `{"title":null,"emails":[],"name":{},"phoneNumbers":[null],"roles":[]}`, `{}`},
		{"an empty string is a value", `{"title":""}`, `{"title":""}`},
		{"unknown attributes and schemas", `{"shoeSize":9,"urn:other:1.0":{"a":1},"urn:odd":5,"emails":[{"value":"a","x":1}]}`, `{"emails":[{"value":"a"}]}`},
		{"read-only ones", `{"id":"1","meta":{"version":"x"},"groups":[{"value":"g"}],"schemas":["x"]}`, `{}`},
		{"booleans as strings", `{"active":"False","emails":[{"value":"a","primary":"True"}]}`, `{"active":false,"emails":[{"value":"a","primary":true}]}`},
		{"bare elements", `{"emails":["a","b"],"phoneNumbers":"1"}`, `{"emails":[{"value":"a"},{"value":"b"}],"phoneNumbers":[{"value":"1"}]}`},
		{"roles as sent", `{"roles":"admin"}`, `{"roles":"admin"}`},
		{"roles as sent, objects", `{"roles":[{"Value":"admin","x":[1]}]}`, `{"roles":[{"Value":"admin","x":[1]}]}`},
		{
			"manager wrapped", `{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":[{"value":"1"}]}}`,
			`{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"1"}}}`,
		},
		{
			"manager bare", `{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":"1","department":null}}`,
			`{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"1"}}}`,
		},
		{
			"manager empty", `{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":""}}`,
			`{}`,
		},
		{
			"names behind their URN", `{"urn:ietf:params:scim:schemas:core:2.0:User:title":"x",
				"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:division":"d"}`,
			`{"title":"x","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"division":"d"}}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := users(t).Canonical(decode(t, test.in).(map[string]any))
			if diff := cmp.Diff(decode(t, test.want), any(got)); err != nil || diff != "" {
				t.Errorf("Canonical(%s): %v\n%s", test.in, err, diff)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`{"userName":5}`:                           "userName must be a string",
		`{"active":"maybe"}`:                       "active must be true or false",
		`{"name":"Ann"}`:                           "name must be an object",
		`{"emails":[5]}`:                           "emails must be an object",
		`{"emails":[{"value":["a"]}]}`:             "emails.value must be a string",
		`{"emails":[{"primary":1}]}`:               "emails.primary must be true or false",
		`{"title":"a","TITLE":"b"}`:                "title is stated twice",
		`{"name":{"givenName":"","givenname":""}}`: "name.givenName is stated twice",
		`{"x509Certificates":[{"value":"%%"}]}`:    "x509Certificates.value must be base64",
		`{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":"x"}`:           schema.EnterpriseURN + " must be an object",
		`{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":5}}`: schema.EnterpriseURN + ":manager must be an object",
		`{"emails":[` + strings.Repeat(`{},`, 1000) + `{}]}`:                           "emails has more than 1000 values",
		`{"roles":[` + strings.Repeat(`"a",`, 1000) + `"a"]}`:                          "roles has more than 1000 values",
	}
	for in, want := range tests {
		_, err := users(t).Canonical(decode(t, in).(map[string]any))
		var value *schema.ValueError
		if !errors.As(err, &value) || err.Error() != want {
			t.Errorf("Canonical(%.60s): %v, want %q", in, err, want)
		}
	}
}

func TestRule22_RolesInAllShapes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []string
	}{
		{`"admin"`, []string{"admin"}},
		{`["admin","viewer"]`, []string{"admin", "viewer"}},
		{`[{"value":"admin"},{"Value":" viewer "}]`, []string{"admin", "viewer"}},
		{`{"value":"admin"}`, []string{"admin"}},
		{`[{"value":"{\"id\":\"06b0\",\"value\":\"admin\",\"displayName\":\"Admin\"}"}]`, []string{"admin"}},
		{`"{\"value\":\"admin\"}"`, []string{"admin"}},
		{`[{"primary":"True","value":"operator","type":"WindowsAzureActiveDirectoryRole"}]`, []string{"operator"}},
		{`null`, nil},
		{`""`, nil},
		{`[{"value":""},{"display":"x"},null]`, nil},
		{`"{not json"`, []string{"{not json"}},
	}
	for _, test := range tests {
		got, err := schema.RoleNames(decode(t, test.in))
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("RoleNames(%s): %v\n%s", test.in, err, diff)
		}
	}
	for _, in := range []string{`5`, `[[]]`, `[{"value":{}}]`, `true`} {
		if got, err := schema.RoleNames(decode(t, in)); err == nil {
			t.Errorf("RoleNames(%s) = %v, want an error", in, got)
		}
	}
}
