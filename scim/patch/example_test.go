package patch_test

import (
	"fmt"

	"github.com/idpsync/idpsync/scim/patch"
	"github.com/idpsync/idpsync/scim/schema"
)

// What Entra sends to take one member out of a group.
func ExampleGroup() {
	ops, err := patch.Parse(map[string]any{"Operations": []any{map[string]any{
		"op": "Remove", "path": "members", "value": []any{map[string]any{"$ref": nil, "value": "f648f8d5"}},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	change, err := patch.Group(schema.Groups(), ops)
	fmt.Println(change.Members[0].Op == patch.MembersRemove, change.Members[0].IDs, err)
	// Output: true [f648f8d5] <nil>
}
