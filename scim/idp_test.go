package scim_test

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/scim"
)

// The conversation of Microsoft Entra's provisioning service: connection test, create, updates leaf by leaf, groups
// without members, member changes in parallel, soft delete, hard delete.
func TestEntraConversation(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		filter := func(resource, f string) *reply {
			return e.do("GET", resource+url.QueryEscape(f), "", "User-Agent", "")
		}
		for _, resource := range []string{"/Users", "/Groups"} {
			name := map[string]string{"/Users": "userName", "/Groups": "displayName"}[resource]
			filter(resource+"?filter=", fmt.Sprintf("%s eq %q", name, uuid.NewString())).want(200).has("totalResults", 0, "Resources/0", nil)
			filter("/"+resource+"?excludedAttributes=members&filter=", `id eq "`+uuid.NewString()+`"`).want(200).has("totalResults", 0)
		}
		manager := e.newUser("max")
		r := e.do("POST", "/Users", `{
			"schemas": ["`+userURN+`", "`+enterpriseURN+`"],
			"externalId": "ann", "userName": "Ann@x.example", "active": true, "displayName": "Ann Lee",
			"emails": [{"primary": true, "type": "work", "value": "ann@x.example"}],
			"meta": {"resourceType": "User"},
			"name": {"formatted": "Ann Lee", "familyName": "Lee", "givenName": "Ann"},
			"roles": []
		}`).want(201).has("userName", "Ann@x.example", "active", true)
		ann := r.id()
		filter("/Users?filter=", `userName eq "ANN@X.example"`).want(200).has("totalResults", 1, "Resources/0/id", ann)
		filter("/Users?filter=", `externalId eq "ann"`).want(200).has("Resources/0/id", ann)

		e.patch("/Users/"+ann, `
			{"op": "Add", "path": "title", "value": "Engineer"},
			{"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "ann.lee@x.example"},
			{"op": "Replace", "path": "userName", "value": "ann.lee@x.example"},
			{"op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "555"},
			{"op": "Add", "path": "addresses[type eq \"work\"].formatted", "value": "Weg 1"},
			{"op": "Add", "path": "addresses[type eq \"work\"].country", "value": "DE"},
			{"op": "Replace", "path": "name.familyName", "value": "Lee-Li"},
			{"op": "Add", "path": "`+enterpriseURN+`:employeeNumber", "value": "0701"},
			{"op": "Add", "path": "`+enterpriseURN+`:manager", "value": [{"$ref": "http://x/scim/Users/`+manager+`", "value": "`+manager+`"}]},
			{"op": "Add", "path": "roles", "value": [{"primary": true, "value": "{\"id\":\"06b07648\",\"value\":\"viewer\",\"displayName\":\"Viewer\"}"}]}
		`).want(200).has(
			"title", "Engineer", "emails/0/value", "ann.lee@x.example", "userName", "ann.lee@x.example", "phoneNumbers/0/value", "555",
			"addresses/0/country", "DE", "addresses/0/formatted", "Weg 1", "addresses/1", nil, "name/familyName", "Lee-Li",
			enterpriseURN+"/employeeNumber", "0701", enterpriseURN+"/manager/value", manager)
		e.patch("/Users/"+ann+"?aadOptscim062020", `{"op": "replace", "value": {"displayName": "A", "active": true, "name.givenName": "Anna", "`+enterpriseURN+`:manager": "`+ann+`"}}`).
			want(200).has("displayName", "A", "name/givenName", "Anna", enterpriseURN+"/manager/value", ann)
		e.patch("/Users/"+ann, `{"op": "Remove", "path": "`+enterpriseURN+`:manager"}`).want(200).has(enterpriseURN+"/manager", nil)
		e.patch("/Users/"+ann, `{"op": "Replace", "path": "active", "value": "False"}`).want(200).has("active", false)
		filter("/Users?filter=", `userName eq "ann.lee@x.example"`).want(200).has("totalResults", 1, "Resources/0/active", false)
		e.patch("/Users/"+ann, `{"op": "Replace", "path": "active", "value": "True"}`).want(200).has("active", true)

		group := e.do("POST", "/Groups", `{
			"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
			"externalId": "8aa1a0c0", "displayName": "Staff", "meta": {"resourceType": "Group"}
		}`).want(201).id()
		filter("/Groups?excludedAttributes=members&filter=", `displayName eq "Staff"`).want(200).has("Resources/0/id", group, "Resources/0/members", nil)
		e.do("GET", "/Groups/"+group+"?excludedAttributes=members", "").want(200).has("members", nil, "externalId", "8aa1a0c0")
		var wg sync.WaitGroup
		want := set()
		for i := range 5 {
			id := e.newUser(fmt.Sprintf("m%d", i))
			want[id] = true
			wg.Go(func() {
				r := e.patch("/Groups/"+group, `{"op": "Add", "path": "members", "value": [{"$ref": null, "value": "`+id+`"}]}`)
				if r.status != 204 {
					t.Errorf("%d: %s", r.status, r.text)
				}
			})
		}
		wg.Wait()
		if diff := cmp.Diff(want, e.members(group)); diff != "" {
			t.Error(diff)
		}
		for id := range want {
			e.patch("/Groups/"+group, `{"op": "Remove", "path": "members", "value": [{"$ref": null, "value": "`+id+`"}]}`).want(204)
			delete(want, id)
			break
		}
		if diff := cmp.Diff(want, e.members(group)); diff != "" {
			t.Error(diff)
		}
		e.patch("/Groups/"+group, `{"op": "Replace", "path": "displayName", "value": "Crew"}`).want(204)
		e.do("DELETE", "/Users/"+ann, "").want(204)
		e.do("DELETE", "/Groups/"+group, "").want(204)
	})
}

// Microsoft's SCIM validator sends names that are no addresses and random roles; the two settings let it pass.
func TestEntraValidator(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		r := e.do("POST", "/Users", `{"userName":"RANDOM42","active":true,"displayName":"QWERTY","name":{"givenName":"a","familyName":"b"},
			"emails":[{"type":"work","value":"x@y.example","primary":true}],"roles":[{"primary":"True","display":"D","value":"WMQK","type":"T"}]}`).want(201)
		e.patch("/Users/"+r.id(), `{"op":"replace","path":"roles[primary eq \"True\"].value","value":"OTHER"},{"op":"replace","path":"userName","value":"RANDOM43"}`).
			want(200).has("roles/0/value", "OTHER", "roles/0/display", "D", "roles/1", nil, "userName", "RANDOM43")
		e.do("DELETE", "/Users/"+r.id(), "").want(204)
	}, func(o *scim.Options) { o.UserNameIsEmail, o.UnknownRoles = scim.Off, scim.Ignore })
}

// The conversation of Okta: connection test, import, create, profile update and deactivation as an OIN app (PATCH) and
// as a custom app (PUT), group push, reassignment by another POST.
func TestOktaConversation(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		e.do("GET", "/Users?startIndex=1&count=2", "").want(200).has("totalResults", 0, "startIndex", 1, "itemsPerPage", 0)
		e.do("GET", "/Groups?startIndex=1&count=100", "").want(200).has("totalResults", 0)
		find := "/Users?startIndex=1&count=100&filter=" + url.QueryEscape(`userName eq "ann@x.example"`)
		e.do("GET", find, "").want(200).has("totalResults", 0)
		body := `{"schemas":["` + userURN + `"],"userName":"ann@x.example","name":{"givenName":"Ann","familyName":"Lee"},
			"emails":[{"primary":true,"value":"ann@x.example","type":"work"}],"displayName":"Ann Lee","locale":"en-US",
			"externalId":"00u1","groups":[],"password":"1mz050nq","active":%s}`
		ann := e.do("POST", "/Users", fmt.Sprintf(body, "true")).want(201).id()
		r := e.do("GET", find, "").want(200).has("totalResults", 1, "Resources/0/id", ann)
		if strings.Contains(r.text, "1mz050nq") {
			t.Error("the password is answered")
		}
		e.do("POST", "/Users", fmt.Sprintf(body, "true")).want(409, "uniqueness")
		e.do("GET", "/Users/"+ann, "").want(200)
		e.do("PUT", "/Users/"+ann, fmt.Sprintf(strings.Replace(body, `"Lee"`, `"Li"`, 1), "true")).want(200).has("name/familyName", "Li")

		e.patch("/Users/"+ann, `{"op":"replace","value":{"active":false}}`).want(200).has("active", false)
		e.do("POST", "/Users", fmt.Sprintf(body, "true")).want(201).has("id", ann, "active", true)
		e.do("PUT", "/Users/"+ann, fmt.Sprintf(body, "false")).want(200).has("active", false)
		e.do("PUT", "/Users/"+ann, fmt.Sprintf(body, "true")).want(200).has("active", true)

		bob := e.newUser("bob")
		group := e.do("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Staff","members":[{"value":"`+ann+`","display":"ann@x.example"}]}`).want(201).id()
		e.patch("/Groups/"+group, `{"op":"replace","value":{"id":"`+group+`","displayName":"Crew"}}`).want(204)
		e.patch("/Groups/"+group, `{"op":"remove","path":"members[value eq \"`+ann+`\"]"},{"op":"add","path":"members","value":[{"value":"`+bob+`","display":"bob@x.example"}]}`).want(204)
		if diff := cmp.Diff(set(bob), e.members(group)); diff != "" {
			t.Error(diff)
		}
		e.do("PUT", "/Groups/"+group, `{"id":"`+group+`","displayName":"Crew","members":[{"value":"`+ann+`"},{"value":"`+bob+`"}]}`).want(200)
		e.do("GET", "/Users/"+ann, "").want(200).has("groups/0/display", "Crew")
		e.do("DELETE", "/Groups/"+group, "").want(204)
	})
}

// What Okta's Runscope SPEC test asks.
func TestOktaSpecTest(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		e.newUser("ann")
		r := e.do("GET", "/Users?count=1&startIndex=1", "").want(200)
		for _, path := range []string{"id", "name/givenName", "name/familyName", "userName", "active", "emails/0/value"} {
			if v := r.at("Resources/0/" + path); v == nil || v == "" {
				t.Errorf("no %s in %s", path, r.text)
			}
		}
		e.do("GET", "/Users?filter="+url.QueryEscape(`userName eq "non_existent@example.com"`), "").want(200).has("totalResults", 0)
		e.do("GET", "/Users/010101001010101011001010101011", "").want(404).has("status", "404")
		e.do("GET", "/Users", "", "Authorization", "").want(401).has("status", "401")
		e.do("GET", "/Users?filter="+url.QueryEscape(`userName eq "ANN@X.EXAMPLE"`), "").want(200).has("totalResults", 1)
		e.do("POST", "/Users", person("ann")).want(409).has("status", "409")
	})
}
