package scim

import (
	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
)

// Filters on what no document has, because it is computed when a resource is served.

// schemas translates a filter on the URNs of the schemas that a resource uses: the core one, and those of the extensions
// that it has an object of.
func (c *compiler) schemas(e filter.Compare) store.Expr {
	match, err := filter.Compile(e, c.resource)
	passes := func(urn string) bool { return err == nil && match(map[string]any{"schemas": []any{urn}}) }
	if passes(c.resource.Core.ID) {
		return truth(true)
	}
	var has store.Or
	for _, extension := range c.resource.Extensions {
		if passes(extension.ID) {
			has = append(has, store.Has{Extension: extension.ID})
		}
	}
	return has
}

// meta translates a filter on what a resource tells of itself.
func (c *compiler) meta(ref schema.Ref, e filter.Compare) (store.Expr, error) {
	if field, ok := c.field(ref.String()); ok {
		return compareField(field, ref.Leaf(), e), nil
	}
	if asks, present := asksPresence(e); asks {
		return truth(present), nil
	}
	switch ref.String() {
	case "meta.version":
		return store.Compare{Field: store.FieldVersion, Op: storeOps[e.Op], Value: e.Value.Text, Before: `W/"`, After: `"`}, nil
	case "meta.location":
		return store.Compare{Field: store.FieldID, Op: storeOps[e.Op], Value: e.Value.Text, Before: c.base + c.resource.Endpoint + "/"}, nil
	case "meta.resourceType":
		match, err := filter.Compile(e, c.resource)
		return truth(err == nil && match(map[string]any{"meta": map[string]any{"resourceType": c.resource.Name}})), nil
	}
	return nil, refuseFilter(ref.String() + " cannot be filtered by")
}

// members translates a filter on the members of a group, or the groups of a user.
func (c *compiler) members(ref schema.Ref, e filter.Compare) store.Expr {
	anybody := store.Some{Of: store.FieldMember}
	asks, present := asksPresence(e)
	switch {
	case asks && ref.Sub == nil:
		return ifPresent(present, anybody)
	case asks:
		e.Op = filter.Pr
		return ifPresent(present, store.Some{Of: store.FieldMember, Where: c.member(ref, e)})
	case ref.Sub == nil:
		ref.Sub = ref.Attr.Sub("value")
	}
	some := store.Some{Of: store.FieldMember, Where: c.member(ref, e)}
	if e.Op == filter.Ne {
		return store.Or{some, store.Not{Expr: anybody}}
	}
	return some
}

// end is what is at the other end of a membership.
type end struct {
	nested         bool
	kind, endpoint string
}

// ends lists what there is: among the members of a group, users and the groups that are nested in it; among the groups
// of a user, those that it is in and those that these are in.
func (c *compiler) ends(attribute string) []end {
	if attribute == "members" {
		return []end{{false, "User", "/Users/"}, {true, "Group", "/Groups/"}}
	}
	return []end{{false, "direct", "/Groups/"}, {true, "indirect", "/Groups/"}}
}

// member translates a filter on one of them.
func (c *compiler) member(ref schema.Ref, e filter.Compare) store.Expr {
	asks, present := asksPresence(e)
	switch name := ref.Sub.Name; {
	case name == "display":
		return compareField(store.FieldDisplayName, ref.Sub, e)
	case asks:
		return truth(present)
	case name == "value":
		return compareField(store.FieldID, ref.Sub, e)
	}
	var either store.Or
	for _, end := range c.ends(ref.Attr.Name) {
		var test store.Expr = store.Compare{Field: store.FieldID, Op: storeOps[e.Op], Value: e.Value.Text, Before: c.base + end.endpoint}
		if ref.Sub.Name == "type" {
			match, err := filter.CompileElement(filter.Compare{Attr: filter.Attr{Name: "type"}, Op: e.Op, Value: e.Value}, ref.Attr)
			test = truth(err == nil && match(map[string]any{"type": end.kind}))
		}
		either = append(either, store.And{store.Compare{Field: store.FieldNested, Op: store.OpEq, Value: end.nested}, test})
	}
	return either
}
