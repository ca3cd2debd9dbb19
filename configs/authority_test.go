package configs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/store/identity"
)

func TestLocalAttributes(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
connectors:
  - name: a
    type: okta
    url: https://a.example.com
    api_token: t
    attributes:
      title: local
      nickName: idp
      urn:ietf:params:scim:schemas:core:2.0:User:locale: local
      'emails[type eq "home"].value': local
      "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": local
`)
	want := []identity.Path{
		{Attr: "emails", Type: "home", Sub: "value"}, {Attr: "title"}, {Attr: "locale"}, {Schema: identity.EnterpriseURN, Attr: "department"},
	}
	if diff := cmp.Diff(want, c.Connectors[0].LocalAttributes()); diff != "" {
		t.Errorf("LocalAttributes() (-want +got):\n%s", diff)
	}
}

func TestProtectedRoles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]configs.Grant{
		"log: {level: info}":                               {{Team: "root", Role: "admin"}},
		"protected_roles: []":                              {},
		`protected_roles: ["Team: A:viewer", root:admin ]`: {{Team: "Team: A", Role: "viewer"}, {Team: "root", Role: "admin"}},
	} {
		if diff := cmp.Diff(want, mustParse(t, text).ProtectedRoles()); diff != "" {
			t.Errorf("%s: ProtectedRoles() (-want +got):\n%s", text, diff)
		}
	}
}
