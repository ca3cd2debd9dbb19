package patch_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/scim/patch"
	"github.com/idpsync/idpsync/scim/schema"
)

func compile(t testing.TB, operations string) (patch.GroupChange, error) {
	t.Helper()
	ops, err := patch.Parse(decode(t, `{"Operations":[`+operations+`]}`))
	if err != nil {
		return patch.GroupChange{}, err
	}
	return patch.Group(schema.Groups(), ops)
}

func TestRule32_MemberDeltas(t *testing.T) {
	t.Parallel()
	add := func(ids ...string) patch.MemberDelta { return patch.MemberDelta{Op: patch.MembersAdd, IDs: ids} }
	remove := func(ids ...string) patch.MemberDelta { return patch.MemberDelta{Op: patch.MembersRemove, IDs: ids} }
	set := func(ids ...string) patch.MemberDelta { return patch.MemberDelta{Op: patch.MembersSet, IDs: ids} }
	tests := []struct {
		name, ops string
		want      []patch.MemberDelta
	}{
		{"add a list", `{"op":"Add","path":"members","value":[{"$ref":null,"value":"a"},{"value":"b"},{"value":"a"}]}`, []patch.MemberDelta{add("a", "b")}},
		{"add one object", `{"op":"add","path":"members","value":{"Value":"a"}}`, []patch.MemberDelta{add("a")}},
		{"add bare ids", `{"op":"add","path":"members","value":["a","b"]}`, []patch.MemberDelta{add("a", "b")}},
		{"add nothing", `{"op":"add","path":"members","value":[]}`, []patch.MemberDelta{add()}},
		{"remove a list removes only those", `{"op":"Remove","path":"members","value":[{"value":"a"}]}`, []patch.MemberDelta{remove("a")}},
		{"remove an empty list removes nobody", `{"op":"remove","path":"members","value":[]}`, []patch.MemberDelta{remove()}},
		{"remove by value path", `{"op":"remove","path":"members[value eq \"a\"]"}`, []patch.MemberDelta{remove("a")}},
		{"remove several by value path", `{"op":"remove","path":"members[value eq \"a\" or (VALUE EQ \"b\" or value eq \"c\")]"}`, []patch.MemberDelta{remove("a", "b", "c")}},
		{"remove by qualified value path", `{"op":"remove","path":"` + schema.GroupURN + `:members[value eq \"a\"]"}`, []patch.MemberDelta{remove("a")}},
		{"remove with no value empties", `{"op":"remove","path":"members"}`, []patch.MemberDelta{set()}},
		{"replace sets", `{"op":"replace","path":"members","value":[{"value":"a"}]}`, []patch.MemberDelta{set("a")}},
		{"replace by nothing empties", `{"op":"replace","path":"members","value":[]}`, []patch.MemberDelta{set()}},
		{"without a path", `{"op":"replace","value":{"id":"g","schemas":[],"members":[{"value":"a"}]}}`, []patch.MemberDelta{set("a")}},
		{"remove and add in one request", `{"op":"remove","path":"members[value eq \"a\"]"},{"op":"add","path":"members","value":[{"value":"b"}]}`, []patch.MemberDelta{remove("a"), add("b")}},
		{"neighbours are joined", `{"op":"add","path":"members","value":["a"]},{"op":"add","path":"members","value":["b"]},{"op":"remove","path":"members","value":["a"]}`, []patch.MemberDelta{add("a", "b"), remove("a")}},
		{"order is kept", `{"op":"replace","path":"members","value":["a"]},{"op":"add","path":"members","value":["b"]},{"op":"remove","path":"members"}`, []patch.MemberDelta{set("a"), add("b"), set()}},
	}
	for _, test := range tests {
		got, err := compile(t, test.ops)
		for i := range got.Members {
			if len(got.Members[i].IDs) == 0 {
				got.Members[i].IDs = nil
			}
		}
		if diff := cmp.Diff(patch.GroupChange{Members: test.want}, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", test.name, err, diff)
		}
	}
}

func TestRule25_OnlyThreeAttributes(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for ops, want := range map[string]patch.GroupChange{
		`{"op":"Replace","path":"displayName","value":"N"}`:                             {DisplayName: text("N")},
		`{"op":"add","path":"externalId","value":"e"}`:                                  {ExternalID: text("e")},
		`{"op":"remove","path":"externalId"}`:                                           {ExternalID: text("")},
		`{"op":"replace","value":{"displayName":"N","externalId":"e"}}`:                 {DisplayName: text("N"), ExternalID: text("e")},
		`{"op":"replace","value":{"` + schema.GroupURN + `:displayName":"N"}}`:          {DisplayName: text("N")},
		`{"op":"replace","path":"` + schema.GroupURN + `","value":{"displayName":"N"}}`: {DisplayName: text("N")},
		`{"op":"Replace","path":"displayName","value":[{"$ref":null,"value":"N"}]}`:     {DisplayName: text("N")},
	} {
		got, err := compile(t, ops)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", ops, err, diff)
		}
	}
	for ops, want := range map[string]patch.ScimType{
		`{"op":"replace","path":"roles","value":[{"value":"admin"}]}`:           patch.Mutability,
		`{"op":"replace","value":{"roles":["admin"]}}`:                          patch.Mutability,
		`{"op":"replace","path":"description","value":"x"}`:                     patch.Mutability,
		`{"op":"replace","path":"id","value":"x"}`:                              patch.Mutability,
		`{"op":"replace","path":"meta","value":{}}`:                             patch.Mutability,
		`{"op":"remove","path":"displayName"}`:                                  patch.Mutability,
		`{"op":"replace","path":"displayName","value":null}`:                    patch.Mutability,
		`{"op":"replace","path":"displayName","value":" "}`:                     patch.InvalidValue,
		`{"op":"replace","path":"displayName","value":5}`:                       patch.InvalidValue,
		`{"op":"replace","path":"externalId","value":5}`:                        patch.InvalidValue,
		`{"op":"replace","path":"displayName[value eq \"x\"]","value":"x"}`:     patch.InvalidPath,
		`{"op":"replace","path":"members[value eq \"x\"].display","value":"x"}`: patch.InvalidPath,
		`{"op":"replace","path":"members.display","value":"x"}`:                 patch.Mutability,
		`{"op":"remove","path":"members[display eq \"x\"]"}`:                    patch.InvalidFilter,
		`{"op":"remove","path":"members[value eq \"x\" and type eq \"User\"]"}`: patch.InvalidFilter,
		`{"op":"remove","path":"members[value eq"}`:                             patch.InvalidPath,
		`{"op":"add","path":"members","value":[{"display":"x"}]}`:               patch.InvalidValue,
		`{"op":"add","path":"members","value":[5]}`:                             patch.InvalidValue,
		`{"op":"add","path":"members","value":""}`:                              patch.InvalidValue,
		`{"op":"add","path":"members"}`:                                         patch.InvalidValue,
		`{"op":"add","value":5}`:                                                patch.InvalidValue,
		`{"op":"remove"}`:                                                       patch.NoTarget,
	} {
		_, err := compile(t, ops)
		var refused *patch.Error
		if !errors.As(err, &refused) || refused.Type != want {
			t.Errorf("%s: %#v, want %s", ops, err, want)
		}
	}
}
