package scimtest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/idpsync/idpsync/scim/scimtest"
)

// whole is a file with one of everything.
const whole = `# What it is,
# in two lines.
setting unknown_roles ignore
send User-Agent: Client 1.0
send Accept: application/scim+json
send body Content-Type: application/scim+json; charset=utf-8
answer Content-Type: application/scim+json
finally active ann
finally members staff bob ann

== Create Ann
# A comment among the headers.
POST /Users
accept: application/json
User-Agent:

{
  "userName": "ann.{{run}}@example.com"
}

-> 201
Location: {{base}}/Users/{{ann}}

{"id": "{{ann = any uuid}}"}

|| Create Bob
POST /Users

{"userName": "bob"}

-> 201 exactly

{"id": "{{bob = any string}}", "list": ["{{in any order}}", "x"]}

== Delete
DELETE /Groups/{{staff}}

-> 204
`

func TestParse(t *testing.T) {
	t.Parallel()
	text := strings.Replace(whole, `"list"`, `"staff": "{{staff = any}}", "list"`, 1)
	got, err := scimtest.Parse("x", text)
	if err != nil {
		t.Fatal(err)
	}
	body := scimtest.Field{Name: "Content-Type", Value: "application/scim+json; charset=utf-8"}
	agent := scimtest.Field{Name: "User-Agent", Value: "Client 1.0"}
	scimJSON := scimtest.Field{Name: "Accept", Value: "application/scim+json"}
	want := &scimtest.Conversation{
		Name: "x", About: "What it is, in two lines.", Settings: map[string]string{"unknown_roles": "ignore"},
		End: scimtest.End{Active: []string{"ann"}, Members: map[string][]string{"staff": {"ann", "bob"}}},
		Steps: []scimtest.Step{{
			Title: "Create Ann", Line: 11, Method: "POST", Target: "/Users",
			Header: []scimtest.Field{body, {Name: "Accept", Value: "application/json"}, {Name: "User-Agent"}},
			Body:   "{\n  \"userName\": \"ann.{{run}}@example.com\"\n}",
			Want: scimtest.Answer{
				Status: 201, Header: []scimtest.Field{{Name: "Location", Value: "{{base}}/Users/{{ann}}"}},
				Body: `{"id": "{{ann = any uuid}}"}`,
			},
		}, {
			Title: "Create Bob", Line: 26, Joins: true, Method: "POST", Target: "/Users",
			Header: []scimtest.Field{agent, scimJSON, body}, Body: `{"userName": "bob"}`,
			Want: scimtest.Answer{
				Status: 201, Exact: true,
				Body: `{"id": "{{bob = any string}}", "staff": "{{staff = any}}", "list": ["{{in any order}}", "x"]}`,
			},
		}, {
			Title: "Delete", Line: 35, Method: "DELETE", Target: "/Groups/{{staff}}",
			Header: []scimtest.Field{agent, scimJSON}, Want: scimtest.Answer{Status: 204},
		}},
	}
	ignore := cmpopts.IgnoreUnexported(scimtest.Conversation{}, scimtest.Answer{})
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	step := "== A\nGET /Users\n\n-> 200\n"
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", "", "line 1: no steps"},
		{"only a preamble", "send A: b\n", "no steps"},
		{"an unknown word", "sent A: b\n" + step, `line 1: "sent A: b": want setting`},
		{"a setting without a value", "setting a\n" + step, "want setting NAME VALUE"},
		{"a header without a colon", "send A\n" + step, `line 1: "A": want NAME: VALUE`},
		{"a header with a space in its name", "send A b: c\n" + step, "want NAME: VALUE"},
		{"the first step joins", "||" + step[2:], "the first step joins none"},
		{"no request", "== A\n\n-> 200\n", `want METHOD /TARGET`},
		{"no target", "== A\nGET\n\n-> 200\n", "want METHOD /TARGET"},
		{"a relative target", "== A\nGET Users\n\n-> 200\n", "want METHOD /TARGET"},
		{"a target that is not as on the wire", "== A\nGET /Users?filter=a eq \"b\"\n\n-> 200\n", "line 2: "},
		{"no answer", "== A\nGET /Users\n", "no answer"},
		{"an answer forgotten", "== A\nGET /Users\n" + step, "line 2: no answer"},
		{"no status", "== A\nGET /Users\n\n-> OK\n", "line 4: \"-> OK\": want -> STATUS"},
		{"a status that is none", "== A\nGET /Users\n\n-> 20\n", "want -> STATUS"},
		{"more after the status", "== A\nGET /Users\n\n-> 200 precisely\n", "want -> STATUS"},
		{"a wanted body that is not JSON", step + "\n{]\n", "line 1: \"A\": the wanted body: not JSON"},
		{"two wanted bodies", step + "\n{} {}\n", "something follows the value"},
		{"an unknown matcher", step + "\n{\"a\": \"{{any uid}}\"}\n", "{{any uid}}: no such matcher"},
		{"an order in the wrong place", step + "\n[1, \"{{in any order}}\"]\n", "{{in any order}}: no such matcher"},
		{"a matcher inside a text", step + "\n{\"a\": \"x{{any uuid}}\"}\n", "no such matcher"},
		{"a matcher in a request", "== A\nPOST /Users\n\n{\"a\": \"{{any uuid}}\"}\n\n-> 200\n", "{{any uuid}}, which no answer before it gives"},
		{"a value nobody gave, sent", "== A\nGET /Users/{{ann}}\n\n-> 200\n", "{{ann}}, which no answer before it gives"},
		{"a value nobody gave, in a header", "== A\nGET /Users\nIf-Match: {{v}}\n\n-> 200\n", "{{v}}, which no answer"},
		{"a value nobody gave, wanted", step + "\n{\"id\": \"{{ann}}\"}\n", "{{ann}}: no answer up to this one gives it"},
		{"a value nobody gave, in a wanted header", "== A\nGET /Users\n\n-> 200\nLocation: {{ann}}\n", "{{ann}}: no answer up to this one"},
		{"a value of a step at the same time", step + "\n{\"id\": \"{{ann = any}}\"}\n\n|| B\nGET /{{ann}}\n\n-> 200\n", "{{ann}}, which no answer before"},
		{"an end that nobody gave", "finally active ann\n" + step, "finally names ann"},
		{"an end that is none", "finally happy ann\n" + step, "want finally active"},
		{"an end without names", "finally active\n" + step, "and names"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := scimtest.Parse("x", tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "conversation x, line ") {
				t.Errorf("Parse = %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// The conversations that come with the package read, and say what they are, whom they leave behind and to whom they talk.
func TestAll(t *testing.T) {
	t.Parallel()
	all, err := scimtest.All()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
		if c.About == "" || len(c.End.Active) == 0 {
			t.Errorf("%s: about %q, active at the end: %v", c.Name, c.About, c.End.Active)
		}
		methods := map[string]bool{}
		for _, s := range c.Steps {
			methods[s.Method] = true
		}
		if !methods["GET"] || !methods["POST"] || !methods["PATCH"] && !methods["PUT"] {
			t.Errorf("%s says only %v", c.Name, methods)
		}
	}
	want := []string{
		"entra-aadOptscim062020", "entra-default", "jumpcloud", "microsoft-validator", "okta-custom-put", "okta-oin", "okta-spec-test",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
}
