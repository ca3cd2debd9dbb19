package scim_test

import (
	"net/url"
	"testing"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/schema"
)

// Entra asks by "manager" alone. A name that only an extension has needs no schema in front of it.
func TestRule9_NamesOfExtensionsMayStandAlone(t *testing.T) {
	own := schema.Schema{ID: "urn:example:2.0:Person", Name: "Person", Attributes: []schema.Attribute{
		{Name: "shoe", Type: schema.String}, {Name: "title", Type: schema.String}, {Name: "members", Type: schema.String},
	}}
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann")
		e.newUser("bob", `,"title":"boss","`+enterpriseURN+`":{"manager":{"value":"`+ann+`"},"department":"Sea"},
			"`+own.ID+`":{"shoe":"44","title":"Sir","members":"x"}`)
		e.newGroup("Staff")
		for target, want := range map[string]int{
			`/Users?filter=manager eq "` + ann + `"`:                                    1,
			`/Users?filter=Manager.Value eq "` + ann + `" and not (department pr)`:      0,
			`/Users?filter=manager pr or shoe eq "45"`:                                  1,
			`/Users?filter=manager[value eq "` + ann + `"] and SHOE sw "4"`:             1,
			`/Users?filter=title eq "Sir"`:                                              0, // a user has a title without any extension
			`/Users?filter=` + own.ID + `:title eq "Sir"`:                               1,
			`/?filter=department eq "Sea" or displayName eq "Staff"`:                    2,
			`/?filter=members.value pr`:                                                 0, // a group has members
			`/Users/?filter=urn:ietf:params:scim:schemas:core:2.0:User:title eq "boss"`: 1,
		} {
			u, err := url.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			filter := u.Query().Get("filter")
			e.do("GET", u.Path+"?filter="+url.QueryEscape(filter), "").want(200).has("totalResults", want)
		}
		for _, target := range []string{"/Users?filter=nosuch+pr", "/Groups?filter=manager+pr", "/Users?filter=manager.nosuch+pr"} {
			e.do("GET", target, "").want(400, "invalidFilter")
		}
		e.do("PATCH", "/Users/"+ann, `{"Operations":[{"op":"add","path":"department","value":"x"}]}`).want(400, "invalidPath")
	}, func(o *scim.Options) { o.Extensions = []schema.Schema{own} })
}
