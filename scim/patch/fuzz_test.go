package patch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/idpsync/idpsync/scim/patch"
	"github.com/idpsync/idpsync/scim/schema"
)

// FuzzApply: no request panics; a refusal is an *patch.Error and changes nothing; what is accepted gives the same
// again and is a document that the schema can read.
func FuzzApply(f *testing.F) {
	for _, s := range []string{
		`{"Operations":[{"op":"add","path":"emails[type eq \"work\"].value","value":"a"}]}`,
		`{"Operations":[{"op":"replace","value":{"active":"False","name.givenName":"x","emails":[{"value":"a","primary":true}]}}]}`,
		`{"Operations":[{"op":"remove","path":"members","value":[{"value":"a"}]},{"op":"add","path":"members","value":["b"]}]}`,
		`{"Operations":[{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":[{"value":""}]}]}`,
		`{"Operations":[{"op":"add","path":"roles","value":"admin"},{"op":"add","path":"roles[primary eq \"True\"].value","value":"b"},{"op":"remove","path":"roles[value pr]"}]}`,
		`{"Operations":[{"op":"remove","path":"addresses[type eq \"work\" or not (country sw \"D\")].locality"}]}`,
	} {
		f.Add([]byte(s))
	}
	resource := users(f)
	groups := schema.Groups()
	f.Fuzz(func(t *testing.T, body []byte) {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var doc map[string]any
		if d.Decode(&doc) != nil {
			return
		}
		ops, err := patch.Parse(doc)
		if err != nil {
			return
		}
		var refused *patch.Error
		if _, err := patch.Group(groups, ops); err != nil && !errors.As(err, &refused) {
			t.Fatalf("Group: %v", err)
		}
		before, u := ann(t), ann(t)
		if _, err := patch.User(&u, resource, ops); err != nil {
			if !errors.As(err, &refused) {
				t.Fatalf("User: %v", err)
			}
			if !reflect.DeepEqual(u, before) {
				t.Fatalf("refused with %v, but changed to %+v", err, u)
			}
			return
		}
		if _, err := patch.User(&before, resource, ops); err != nil || !reflect.DeepEqual(u, before) {
			t.Fatalf("the second time: %v\n%+v\n%+v", err, u, before)
		}
		canonical, err := resource.Canonical(u.Attributes)
		if err != nil || len(canonical) != len(u.Attributes) {
			t.Fatalf("left a document that cannot be read: %v\n%v", err, u.Attributes)
		}
	})
}
