package patch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/scim/patch"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store/identity"
)

const enterprise = schema.EnterpriseURN

func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func users(t testing.TB) *schema.Resource {
	t.Helper()
	r, err := schema.Users()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ann is the user that the tests change.
func ann(t testing.TB) identity.User {
	return identity.User{
		ID: "1", UserName: "ann@x.example", ExternalID: "e1", Active: true,
		Attributes: decode(t, `{
			"name": {"givenName": "Ann", "familyName": "Lee"},
			"title": "Engineer",
			"emails": [{"value": "ann@x.example", "type": "work", "primary": true}, {"value": "ann@home.example", "type": "home"}],
			"`+enterprise+`": {"department": "R&D", "manager": {"value": "m1", "displayName": "Max"}}
		}`),
	}
}

// apply runs the operations, given as the text inside "Operations":[...].
func apply(t testing.TB, u *identity.User, operations string) (patch.Ignored, error) {
	t.Helper()
	ops, err := patch.Parse(decode(t, `{"schemas":["`+patch.URN+`"],"Operations":[`+operations+`]}`))
	if err != nil {
		return patch.Ignored{}, err
	}
	return patch.User(u, users(t), ops)
}

type userCase struct {
	name string
	ops  string
	want string // what differs afterwards: attributes as JSON, null for gone
}

func (c userCase) run(t *testing.T) {
	t.Parallel()
	u, want := ann(t), ann(t)
	for key, v := range decode(t, c.want) {
		switch key {
		case "userName":
			want.UserName = v.(string)
		case "externalId":
			want.ExternalID, _ = v.(string)
		case "active":
			want.Active = v.(bool)
		default:
			if delete(want.Attributes, key); v != nil {
				want.Attributes[key] = v
			}
		}
	}
	_, err := apply(t, &u, c.ops)
	if diff := cmp.Diff(want, u); err != nil || diff != "" {
		t.Errorf("%s: %v\n%s", c.ops, err, diff)
	}
}

func runAll(t *testing.T, cases []userCase) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, c.run)
	}
}

func TestRule30_OperationsAndPaths(t *testing.T) {
	runAll(t, []userCase{
		{"op in any case", `{"op":"Replace","path":"title","value":"Lead"}`, `{"title":"Lead"}`},
		{"members in any case", `{"OP":"ADD","Path":"TITLE","VALUE":"Lead"}`, `{"title":"Lead"}`},
		{"dotted path", `{"op":"replace","path":"name.givenName","value":"Anna"}`, `{"name":{"givenName":"Anna","familyName":"Lee"}}`},
		{"path with spaces around", `{"op":"replace","path":" title ","value":"Lead"}`, `{"title":"Lead"}`},
		{
			"value path with its sub-attribute in another case", `{"op":"replace","path":"emails[type eq \"work\"].Value","value":"a@x.example"}`,
			`{"emails":[{"value":"a@x.example","type":"work","primary":true},{"value":"ann@home.example","type":"home"}]}`,
		},
		{
			"URN-qualified path", `{"op":"add","path":"` + enterprise + `:employeeNumber","value":"00701"}`,
			`{"` + enterprise + `":{"department":"R&D","employeeNumber":"00701","manager":{"value":"m1","displayName":"Max"}}}`,
		},
		{
			"URN-qualified path with a dot where the colon belongs", `{"op":"add","path":"` + enterprise + `.division","value":"d"}`,
			`{"` + enterprise + `":{"department":"R&D","division":"d","manager":{"value":"m1","displayName":"Max"}}}`,
		},
		{"core URN", `{"op":"replace","path":"` + schema.UserURN + `:title","value":"Lead"}`, `{"title":"Lead"}`},
		{
			"extension's own URN", `{"op":"add","path":"` + enterprise + `","value":{"costCenter":"7","DEPARTMENT":"Ops","manager.value":"m2","x":1}}`,
			`{"` + enterprise + `":{"department":"Ops","costCenter":"7","manager":{"value":"m2","displayName":"Max"}}}`,
		},
		{"remove the extension", `{"op":"remove","path":"` + enterprise + `"}`, `{"` + enterprise + `":null}`},
		{
			"core URN as an object", `{"op":"replace","value":{"` + schema.UserURN + `":{"title":"Lead","name.givenName":"Anna"}}}`,
			`{"title":"Lead","name":{"givenName":"Anna","familyName":"Lee"}}`,
		},
		{
			"without a path, keys are paths", `{"op":"replace","value":{"name.givenName":"Anna","displayName":"A","` + enterprise + `:employeeNumber":"7",
				"emails[type eq \"home\"].value":"h@x.example"}}`,
			`{"displayName":"A","name":{"givenName":"Anna","familyName":"Lee"},
			 "emails":[{"value":"ann@x.example","type":"work","primary":true},{"value":"h@x.example","type":"home"}],
			 "` + enterprise + `":{"department":"R&D","employeeNumber":"7","manager":{"value":"m1","displayName":"Max"}}}`,
		},
		{
			"without a path, a whole resource is echoed", `{"op":"replace","value":{"id":"1","schemas":["x"],"meta":{},"userName":"a@x.example","shoeSize":9,"externalId":"e2","odd name":1}}`,
			`{"userName":"a@x.example","externalId":"e2"}`,
		},
		{"complex value merges", `{"op":"replace","path":"name","value":{"GivenName":"Anna"}}`, `{"name":{"givenName":"Anna","familyName":"Lee"}}`},
		{"several operations in order", `{"op":"add","path":"title","value":"a"},{"op":"remove","path":"title"},{"op":"add","path":"nickName","value":"n"}`, `{"title":null,"nickName":"n"}`},
		{"simple value wrapped by Entra", `{"op":"Replace","path":"title","value":[{"$ref":null,"value":"Lead"}]}`, `{"title":"Lead"}`},
		{"null clears", `{"op":"replace","path":"title","value":null}`, `{"title":null}`},
		{"adding null says nothing", `{"op":"add","path":"title","value":null}`, `{}`},
		{"externalId goes", `{"op":"remove","path":"externalId"}`, `{"externalId":null}`},
		{"removing what is not there", `{"op":"remove","path":"nickName"},{"op":"remove","path":"phoneNumbers[type eq \"fax\"]"},{"op":"remove","path":"` + enterprise + `:division"}`, `{}`},
		{"removing the last attribute of an extension", `{"op":"remove","path":"` + enterprise + `:department"},{"op":"remove","path":"` + enterprise + `:manager"}`, `{"` + enterprise + `":null}`},
		{"multi-valued replace", `{"op":"replace","path":"emails","value":[{"value":"b@x.example","primary":true}]}`, `{"emails":[{"value":"b@x.example","primary":true}]}`},
		{"digits stay text", `{"op":"add","path":"title","value":"555"}`, `{"title":"555"}`},
	})
}

func TestRule30_AllOrNothing(t *testing.T) {
	t.Parallel()
	u := ann(t)
	_, err := apply(t, &u, `{"op":"replace","path":"emails[type eq \"work\"].value","value":"b"},{"op":"add","path":"emails","value":{"value":"c","primary":true}},
		{"op":"remove","path":"name.familyName"},{"op":"replace","path":"shoeSize","value":9}`)
	if err == nil {
		t.Fatal("an unknown attribute was accepted")
	}
	if diff := cmp.Diff(ann(t), u); diff != "" {
		t.Errorf("a refused request changed the user:\n%s", diff)
	}
}

func TestRule31_ValuePathsMakeElements(t *testing.T) {
	const both = `{"value":"ann@x.example","type":"work","primary":true},{"value":"ann@home.example","type":"home"}`
	runAll(t, []userCase{
		{"add", `{"op":"add","path":"emails[type eq \"other\"].value","value":"o@x.example"}`, `{"emails":[` + both + `,{"type":"other","value":"o@x.example"}]}`},
		{"replace", `{"op":"Replace","path":"phoneNumbers[type eq \"mobile\"].value","value":"1"}`, `{"phoneNumbers":[{"type":"mobile","value":"1"}]}`},
		{"the only one becomes primary", `{"op":"remove","path":"emails"},{"op":"add","path":"emails[type eq \"work\"].value","value":"n@x.example"}`, `{"emails":[{"type":"work","value":"n@x.example","primary":true}]}`},
		{"several leaves of one element", `{"op":"Add","path":"addresses[type eq \"work\"].country","value":"DE"},{"op":"Add","path":"addresses[type eq \"work\"].locality","value":"Bonn"}`, `{"addresses":[{"type":"work","country":"DE","locality":"Bonn"}]}`},
		{"by primary", `{"op":"Add","path":"roles[primary eq \"True\"].value","value":"admin"}`, `{"roles":[{"primary":true,"value":"admin"}]}`},
		{"whole element", `{"op":"add","path":"ims[type eq \"xmpp\"]","value":{"value":"a@j","display":"A"}}`, `{"ims":[{"type":"xmpp","value":"a@j","display":"A"}]}`},
		{"whole element as a string", `{"op":"replace","path":"emails[type eq \"work\"]","value":"w@x.example"}`, `{"emails":[{"value":"w@x.example","type":"work","primary":true},{"value":"ann@home.example","type":"home"}]}`},
		{"replace of an element keeps type and primary", `{"op":"replace","path":"emails[type eq \"work\"]","value":[{"value":"w@x.example","display":"W"}]}`, `{"emails":[{"value":"w@x.example","display":"W","type":"work","primary":true},{"value":"ann@home.example","type":"home"}]}`},
		{"a new primary one demotes the old", `{"op":"replace","path":"emails[type eq \"home\"].primary","value":"True"}`, `{"emails":[{"value":"ann@x.example","type":"work","primary":false},{"value":"ann@home.example","type":"home","primary":true}]}`},
		{"by several facts", `{"op":"add","path":"emails[type eq \"other\" and primary eq true].value","value":"o@x.example"}`, `{"emails":[{"value":"ann@x.example","type":"work","primary":false},{"value":"ann@home.example","type":"home"},{"type":"other","primary":true,"value":"o@x.example"}]}`},
		{"no filter, none held", `{"op":"add","path":"photos.value","value":"https://x.example/p"}`, `{"photos":[{"value":"https://x.example/p"}]}`},
		{"removing a value removes its element", `{"op":"remove","path":"emails[type eq \"home\"].value"}`, `{"emails":[{"value":"ann@x.example","type":"work","primary":true}]}`},
		{"removing elements", `{"op":"remove","path":"emails[value ew \"@home.example\"]"}`, `{"emails":[{"value":"ann@x.example","type":"work","primary":true}]}`},
		{"removing a list removes only those", `{"op":"remove","path":"emails","value":[{"value":"ann@home.example"}]}`, `{"emails":[{"value":"ann@x.example","type":"work","primary":true}]}`},
		{"removing one fact of an element", `{"op":"remove","path":"emails[type eq \"work\"].primary"}`, `{"emails":[{"value":"ann@x.example","type":"work"},{"value":"ann@home.example","type":"home"}]}`},
	})
}

func TestRule31_Refusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, ops string
		want      patch.ScimType
	}{
		{"replace where nothing matches and nothing tells the type", `{"op":"replace","path":"emails[value eq \"x\"].display","value":"d"}`, patch.NoTarget},
		{"the same with another operator", `{"op":"replace","path":"emails[type sw \"x\"].value","value":"d"}`, patch.NoTarget},
		{"the same with or", `{"op":"add","path":"emails[type eq \"x\" or type eq \"y\"].value","value":"d"}`, patch.NoTarget},
		{"remove without a path", `{"op":"remove"}`, patch.NoTarget},
		{"remove without a path but a value", `{"op":"remove","value":{"title":"x"}}`, patch.NoTarget},
		{"remove userName", `{"op":"remove","path":"userName"}`, patch.Mutability},
		{"remove a part of the name", `{"op":"remove","path":"name.familyName"}`, patch.Mutability},
		{"remove the name", `{"op":"remove","path":"name"}`, patch.Mutability},
		{"null for the name", `{"op":"replace","path":"name","value":null}`, patch.Mutability},
		{"remove all e-mails", `{"op":"remove","path":"emails"}`, patch.Mutability},
		{"remove all e-mails one by one", `{"op":"remove","path":"emails[type eq \"work\"]"},{"op":"remove","path":"emails[type eq \"home\"].value"}`, patch.Mutability},
		{"no e-mails", `{"op":"replace","path":"emails","value":[]}`, patch.Mutability},
		{"remove active", `{"op":"remove","path":"active"}`, patch.Mutability},
		{"id", `{"op":"replace","path":"id","value":"2"}`, patch.Mutability},
		{"meta", `{"op":"replace","path":"meta.version","value":"2"}`, patch.Mutability},
		{"the core schema", `{"op":"remove","path":"` + schema.UserURN + `"}`, patch.Mutability},
		{"unknown attribute", `{"op":"add","path":"shoeSize","value":9}`, patch.InvalidPath},
		{"unknown schema", `{"op":"add","path":"urn:acme:2.0:x","value":9}`, patch.InvalidPath},
		{"unknown sub-attribute", `{"op":"add","path":"name.first","value":"x"}`, patch.InvalidPath},
		{"broken path", `{"op":"add","path":"emails[type eq","value":"x"}`, patch.InvalidPath},
		{"broken path as a key", `{"op":"add","value":{"emails[type eq":"x"}}`, patch.InvalidPath},
		{"filter on a single value", `{"op":"add","path":"name[givenName eq \"x\"].familyName","value":"x"}`, patch.InvalidPath},
		{"filter on the unknown", `{"op":"add","path":"emails[shoe eq \"x\"].value","value":"x"}`, patch.InvalidFilter},
		{"wrong type", `{"op":"replace","path":"name.givenName","value":5}`, patch.InvalidValue},
		{"wrong type in an element", `{"op":"add","path":"emails","value":[{"value":5}]}`, patch.InvalidValue},
		{"wrong boolean", `{"op":"replace","path":"active","value":"perhaps"}`, patch.InvalidValue},
		{"no value", `{"op":"add","path":"title"}`, patch.InvalidValue},
		{"no object", `{"op":"add","value":"x"}`, patch.InvalidValue},
		{"extension that is no object", `{"op":"add","path":"` + enterprise + `","value":"x"}`, patch.InvalidValue},
		{"unknown op", `{"op":"move","path":"title"}`, patch.InvalidSyntax},
		{"op that is no string", `{"op":5,"path":"title"}`, patch.InvalidSyntax},
		{"path that is no string", `{"op":"add","path":5,"value":1}`, patch.InvalidSyntax},
		{"operation that is no object", `"add"`, patch.InvalidSyntax},
		{"no operation", ``, patch.InvalidSyntax},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := ann(t)
			_, err := apply(t, &u, test.ops)
			var refused *patch.Error
			if !errors.As(err, &refused) || refused.Type != test.want {
				t.Errorf("%s: %#v, want %s", test.ops, err, test.want)
			}
			if diff := cmp.Diff(ann(t), u); diff != "" {
				t.Errorf("%s changed the user:\n%s", test.ops, diff)
			}
		})
	}
}

func TestRule33_ActiveAndManager(t *testing.T) {
	const path = `"path":"` + enterprise + `:manager"`
	manager := func(v string) string { return `{"` + enterprise + `":{"department":"R&D"` + v + `}}` }
	runAll(t, []userCase{
		{"active False", `{"op":"Replace","path":"active","value":"False"}`, `{"active":false}`},
		{"active false", `{"op":"replace","path":"active","value":false}`, `{"active":false}`},
		{"active True", `{"op":"replace","path":"active","value":"False"},{"op":"replace","path":"active","value":"True"}`, `{}`},
		{"active without a path", `{"op":"replace","value":{"active":false}}`, `{"active":false}`},
		{"active wrapped", `{"op":"Replace","path":"active","value":[{"$ref":null,"value":"False"}]}`, `{"active":false}`},
		{"manager as a string", `{"op":"Add",` + path + `,"value":"m2"}`, manager(`,"manager":{"value":"m2"}`)},
		{"manager as an object", `{"op":"Add",` + path + `,"value":{"value":"m2","displayName":"Moe"}}`, manager(`,"manager":{"value":"m2","displayName":"Moe"}`)},
		{"manager as an array", `{"op":"Add",` + path + `,"value":[{"$ref":"../Users/m2","value":"m2"}]}`, manager(`,"manager":{"value":"m2","$ref":"../Users/m2"}`)},
		{"the same manager keeps its name", `{"op":"Replace",` + path + `,"value":"m1"}`, `{}`},
		{"manager empty", `{"op":"Replace",` + path + `,"value":""}`, manager(``)},
		{"manager of an empty value", `{"op":"Replace",` + path + `,"value":{"value":""}}`, manager(``)},
		{"manager of no value", `{"op":"Replace",` + path + `,"value":[{"value":null}]}`, manager(``)},
		{"manager of an empty array", `{"op":"Replace",` + path + `,"value":[]}`, manager(``)},
		{"manager.value empty", `{"op":"Replace","path":"` + enterprise + `:manager.value","value":""}`, manager(``)},
		{"manager removed", `{"op":"Remove",` + path + `}`, manager(``)},
		{"manager without a path", `{"op":"Replace","value":{"` + enterprise + `:manager":"m2"}}`, manager(`,"manager":{"value":"m2"}`)},
	})
}

func TestRule33_AddingWhatIsThereChangesNothing(t *testing.T) {
	runAll(t, []userCase{
		{"simple", `{"op":"add","path":"title","value":"Engineer"}`, `{}`},
		{"complex", `{"op":"add","path":"name","value":{"givenName":"Ann"}}`, `{}`},
		{"element", `{"op":"add","path":"emails","value":[{"type":"work","value":"ann@x.example"}]}`, `{}`},
		{"element in a list of one", `{"op":"add","path":"emails","value":{"type":"home","value":"ann@home.example"}}`, `{}`},
		{"value path", `{"op":"add","path":"emails[type eq \"work\"].value","value":"ann@x.example"}`, `{}`},
		{"extension", `{"op":"add","path":"` + enterprise + `:department","value":"R&D"}`, `{}`},
		{"a new element is appended", `{"op":"add","path":"emails","value":[{"value":"c@x.example","type":"home"}]}`, `{"emails":[{"value":"ann@x.example","type":"work","primary":true},{"value":"ann@home.example","type":"home"},{"value":"c@x.example","type":"home"}]}`},
		{"a new fact is merged", `{"op":"add","path":"emails","value":[{"value":"ann@home.example","type":"home","primary":true}]}`, `{"emails":[{"value":"ann@x.example","type":"work","primary":false},{"value":"ann@home.example","type":"home","primary":true}]}`},
	})
}

func TestRule22_RolesByPatch(t *testing.T) {
	runAll(t, []userCase{
		{"string", `{"op":"add","path":"roles","value":"admin"}`, `{"roles":"admin"}`},
		{"string again", `{"op":"add","path":"roles","value":"admin"},{"op":"add","path":"roles","value":[{"value":"admin"}]}`, `{"roles":"admin"}`},
		{"strings", `{"op":"replace","path":"roles","value":["admin","viewer"]}`, `{"roles":["admin","viewer"]}`},
		{"one more behind a string", `{"op":"add","path":"roles","value":"admin"},{"op":"add","path":"roles","value":[{"value":"viewer"}]}`, `{"roles":["admin",{"value":"viewer"}]}`},
		{"objects", `{"op":"add","path":"roles","value":[{"value":"admin","primary":true}]}`, `{"roles":[{"value":"admin","primary":true}]}`},
		{"JSON in a string", `{"op":"Add","path":"roles","value":[{"value":"{\"id\":\"1\",\"value\":\"admin\"}"}]}`, `{"roles":[{"value":"{\"id\":\"1\",\"value\":\"admin\"}"}]}`},
		{"value path, then another value", `{"op":"Add","path":"roles[primary eq \"True\"].value","value":"admin"},{"op":"Replace","path":"roles[primary eq \"True\"].value","value":"viewer"}`, `{"roles":[{"primary":true,"value":"viewer"}]}`},
		{"removing one that is held bare", `{"op":"add","path":"roles","value":["admin","viewer"]},{"op":"remove","path":"roles[value eq \"admin\"]"}`, `{"roles":["viewer"]}`},
		{"removing all", `{"op":"add","path":"roles","value":["admin"]},{"op":"remove","path":"roles"}`, `{}`},
	})
}

func TestRule19And20_IgnoredAndReported(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ops  string
		want patch.Ignored
	}{
		{`{"op":"replace","path":"password","value":"x"}`, patch.Ignored{Password: true}},
		{`{"op":"replace","value":{"password":"x","groups":[{"value":"g"}]}}`, patch.Ignored{Password: true, Groups: true}},
		{`{"op":"add","path":"groups","value":[{"value":"g"}]}`, patch.Ignored{Groups: true}},
		{`{"op":"replace","path":"groups","value":[]}`, patch.Ignored{}},
		{`{"op":"remove","path":"groups[value eq \"g\"]"}`, patch.Ignored{}},
	}
	for _, test := range tests {
		u := ann(t)
		got, err := apply(t, &u, test.ops)
		if err != nil || got != test.want {
			t.Errorf("%s = %+v, %v, want %+v", test.ops, got, err, test.want)
		}
		if diff := cmp.Diff(ann(t), u); diff != "" {
			t.Errorf("%s changed the user:\n%s", test.ops, diff)
		}
	}
}

// A change function may run again on a fresh row, so applying must leave the operations as they are.
func TestApplyingTwiceGivesTheSame(t *testing.T) {
	t.Parallel()
	ops, err := patch.Parse(decode(t, `{"Operations":[
		{"op":"add","path":"roles","value":[{"value":"admin","primary":true}]},
		{"op":"add","path":"roles","value":[{"value":"viewer","primary":true}]},
		{"op":"add","path":"emails","value":[{"value":"n@x.example","primary":true}]},
		{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	first, second := ann(t), ann(t)
	if _, err := patch.User(&first, users(t), ops); err != nil {
		t.Fatal(err)
	}
	if _, err := patch.User(&second, users(t), ops); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	u := ann(t)
	ops := strings.Repeat(`{"op":"add","path":"title","value":"x"},`, patch.MaxOperations)
	if _, err := apply(t, &u, ops+`{"op":"add","path":"title","value":"x"}`); err == nil {
		t.Error("too many operations were accepted")
	}
	if _, err := apply(t, &u, strings.TrimSuffix(ops, ",")); err != nil {
		t.Errorf("as many operations as are allowed: %v", err)
	}
	var many []string
	for i := range 600 {
		many = append(many, fmt.Sprintf(`{"value":"%d"}`, i))
	}
	add := `{"op":"add","path":"entitlements","value":[` + strings.Join(many, ",") + `]}`
	if _, err := apply(t, &u, add+","+strings.ReplaceAll(add, `"value":"`, `"value":"x`)); err == nil {
		t.Error("too many values were accepted")
	}
}
