package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const siteURN = "urn:ietf:params:scim:schemas:extension:acme:2.0:User"

// withExtension is the configuration of a server with a schema of the site's own.
const withExtension = `listen: 127.0.0.1:0
database: ${DATABASE}
scim:
  enabled: true
  strict_read_only: true
  extensions:
    - id: ` + siteURN + `
      name: AcmeUser
      description: What Acme knows of people
      attributes:
        - {name: badge, type: integer, required: true, description: Number of the badge}
        - {name: serial, mutability: immutable, case_exact: true}
        - {name: pin, mutability: writeOnly}
        - {name: hint, returned: never}
        - {name: door, mutability: readOnly}
        - {name: tags, multi_valued: true, canonical_values: [a, b]}
        - name: desks
          type: complex
          multi_valued: true
          sub_attributes: [{name: value, required: true}, {name: link, type: reference, reference_types: [external]}]
`

// call sends a request and wants a status; it returns the body.
func call(t *testing.T, method, target, key, body string, status int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/scim+json")
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != status {
		t.Fatalf("%s %s %s = %d, want %d: %s", method, target, body, got.StatusCode, status, text)
	}
	return string(text)
}

// TestRule16_DeclaredExtension goes through what a schema that the configuration declares promises.
func TestRule16_DeclaredExtension(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		dir, env := furnished(t, newHouse(t, dsn), withExtension)
		key := provisioner(t, dir, env)
		root := start(t, dir, env, "serve").url() + "/scim/v2"
		person := func(ext string) string {
			return `{"userName":"ana@acme.test","name":{"givenName":"Ana","familyName":"Diaz"},"emails":[{"value":"ana@acme.test","primary":true}],"` + siteURN + `":{` + ext + `}}`
		}
		has := func(text string, want ...string) {
			t.Helper()
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("no %s in %s", w, text)
				}
			}
		}
		has(call(t, "GET", root+"/Schemas/"+siteURN, key, "", 200), `"name":"AcmeUser"`, `"description":"Number of the badge"`, `"canonicalValues":["a","b"]`,
			`"referenceTypes":["external"]`, `"mutability":"writeOnly","returned":"never"`)
		has(call(t, "GET", root+"/ResourceTypes/User", key, "", 200), `{"schema":"`+siteURN+`","required":false}`)

		call(t, "POST", root+"/Users", key, person(`"badge":"7"`), 400)
		has(call(t, "POST", root+"/Users", key, person(`"serial":"S"`), 400), siteURN+":badge is required")
		stated := `"badge":7,"serial":"S-1","tags":["a","Z"],"desks":[{"value":"d1","link":"https://d.example/1"}]`
		created := call(t, "POST", root+"/Users", key, person(stated+`,"pin":"s3cret","hint":"s3cret","door":"x"`), 201)
		var user struct {
			ID  string         `json:"id"`
			Ext map[string]any `json:"urn:ietf:params:scim:schemas:extension:acme:2.0:User"`
		}
		if err := json.Unmarshal([]byte(created), &user); err != nil {
			t.Fatal(err)
		}
		has(created, `"`+siteURN+`":{"badge":7,"desks":[{"link":"https://d.example/1","value":"d1"}],"serial":"S-1","tags":["a","Z"]}`)
		one := root + "/Users/" + user.ID
		patch := func(status int, operation string) string {
			t.Helper()
			return call(t, "PATCH", one, key, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+operation+`]}`, status)
		}
		has(patch(200, `{"op":"replace","path":"`+siteURN+`:badge","value":8},{"op":"add","path":"`+siteURN+`:tags","value":["b"]}`), `"badge":8`, `"tags":["a","Z","b"]`)
		has(patch(400, `{"op":"replace","path":"`+siteURN+`:serial","value":"S-2"}`), `"mutability"`)
		has(patch(400, `{"op":"replace","path":"`+siteURN+`:badge","value":"x"}`), `"invalidValue"`)
		has(call(t, "PUT", one, key, person(`"badge":9,"serial":"S-2"`), 400), `"mutability"`)
		has(call(t, "PUT", one, key, person(`"badge":9`), 200), `"badge":9`, `"serial":"S-1"`)
		for filter, want := range map[string]string{`:badge eq 9`: `"totalResults":1`, `:badge gt 9`: `"totalResults":0`, `:serial eq "s-1"`: `"totalResults":0`, `:serial sw "S"`: `"totalResults":1`} {
			has(call(t, "GET", root+"/Users?filter="+url.QueryEscape(siteURN+filter), key, "", 200), want)
		}
		for _, target := range []string{one, one + "?attributes=" + siteURN + ":pin," + siteURN + ":hint"} {
			if text := call(t, "GET", target, key, "", 200); strings.Contains(text, "s3cret") {
				t.Errorf("GET %s returns what is never returned: %s", target, text)
			}
		}
		// The strict switch of rules 19 and 20.
		has(patch(400, `{"op":"replace","path":"password","value":"x"}`), `"mutability"`)
		has(call(t, "PUT", one, key, strings.Replace(person(`"badge":9`), `{`, `{"groups":[{"value":"g"}],`, 1), 400), `"mutability"`)
	})
}
