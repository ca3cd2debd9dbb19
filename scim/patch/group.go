package patch

import (
	"maps"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
)

// MemberOp is what a MemberDelta does to a group's members.
type MemberOp int

// What a MemberDelta does.
const (
	MembersAdd    MemberOp = iota + 1 // adds the members that are not in yet
	MembersRemove                     // removes the members that are in
	MembersSet                        // makes these the only members
)

// MemberDelta is one step of a group's membership change.
type MemberDelta struct {
	Op  MemberOp
	IDs []string
}

// GroupChange is what a PATCH request asks of a group. Pointers are nil where nothing is asked.
type GroupChange struct {
	DisplayName *string
	ExternalID  *string
	Members     []MemberDelta // in order
}

// Group compiles the operations; groups is the Group resource. Members are never looked at: which of the deltas'
// members are known and which are in the group already is for those to find out who apply them. Only displayName,
// externalId and members can be changed.
func Group(groups *schema.Resource, ops []Operation) (GroupChange, error) {
	c := compiler{groups: groups}
	for _, op := range ops {
		if err := c.apply(op); err != nil {
			return GroupChange{}, refusal(err)
		}
	}
	return c.change, nil
}

type compiler struct {
	groups *schema.Resource
	change GroupChange
}

func (c *compiler) apply(op Operation) error {
	if op.Path == "" {
		object, err := op.object()
		if err != nil {
			return err
		}
		return c.applyObject(op.Op, object)
	}
	path, err := filter.ParsePath(op.Path)
	if err != nil {
		return err
	}
	if op.Op != Remove && !op.Stated {
		return refuse(InvalidValue, "%s %s needs a value", op.Op, path)
	}
	return c.applyPath(op.Op, path, op.Value)
}

// applyObject applies the members of an object without a path; Okta echoes the id with them.
func (c *compiler) applyObject(op Op, object map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if strings.EqualFold(key, "id") || strings.EqualFold(key, "schemas") || strings.EqualFold(key, "meta") {
			continue
		}
		path, err := filter.ParsePath(key)
		if err != nil {
			return err
		}
		if err := c.applyPath(op, path, object[key]); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) applyPath(op Op, path filter.Path, value any) error {
	ref, ok := c.groups.Lookup(path.Attr.Schema, path.Attr.Name, path.Attr.Sub)
	switch {
	case ok && ref.Attr == nil:
		object, isObject := value.(map[string]any)
		if op == Remove || !isObject {
			return refuse(InvalidValue, "%s must be an object", path)
		}
		return c.applyObject(op, object)
	case ok && ref.Attr.Name == "members":
		return c.applyMembers(op, ref, path, value)
	case ok && path.Filter != nil:
		return refuse(InvalidPath, "%s has no elements to filter", ref)
	case ok && ref.Attr.Name == "displayName":
		return c.applyDisplayName(op, value)
	case ok && ref.Attr.Name == "externalId":
		return c.applyExternalID(op, value)
	}
	return refuse(Mutability, "%s cannot be changed: only displayName, members and externalId of a group can", path)
}

func (c *compiler) applyDisplayName(op Op, value any) error {
	if op == Remove || value == nil {
		return refuse(Mutability, "displayName is required and cannot be removed")
	}
	name, ok := unwrap(value).(string)
	if !ok || strings.TrimSpace(name) == "" {
		return refuse(InvalidValue, "displayName must be a string that is not empty")
	}
	c.change.DisplayName = &name
	return nil
}

func (c *compiler) applyExternalID(op Op, value any) error {
	id := ""
	if op != Remove && value != nil {
		var ok bool
		if id, ok = unwrap(value).(string); !ok {
			return refuse(InvalidValue, "externalId must be a string")
		}
	}
	c.change.ExternalID = &id
	return nil
}

func (c *compiler) applyMembers(op Op, ref schema.Ref, path filter.Path, value any) error {
	if path.Filter != nil {
		return c.removeSelected(op, ref, path)
	}
	if ref.Sub != nil {
		return refuse(Mutability, "%s cannot be changed: add and remove members instead", ref)
	}
	if op == Remove && value == nil {
		c.delta(MembersSet, nil)
		return nil
	}
	ids, err := MemberIDs(value)
	if err != nil {
		return err
	}
	switch op {
	case Add:
		c.delta(MembersAdd, ids)
	case Remove:
		// With a list only those go. Taking the path alone and emptying the group is the classic failure.
		c.delta(MembersRemove, ids)
	case Replace:
		c.delta(MembersSet, ids)
	}
	return nil
}

// removeSelected handles members[value eq "id"], which names members without looking at them.
func (c *compiler) removeSelected(op Op, ref schema.Ref, path filter.Path) error {
	if op != Remove || ref.Sub != nil {
		return refuse(InvalidPath, "%s: a filter on members is for remove; use the path members to add or replace", path)
	}
	ids, ok := selectedIDs(path.Filter)
	if !ok {
		return refuse(InvalidFilter, `%s: members can be selected by value eq "..." and "or" only`, path)
	}
	c.delta(MembersRemove, ids)
	return nil
}

func selectedIDs(e filter.Expr) ([]string, bool) {
	switch e := e.(type) {
	case filter.Compare:
		ok := e.Op == filter.Eq && e.Value.Kind == filter.Text && strings.EqualFold(e.Attr.Name, "value")
		return []string{e.Value.Text}, ok
	case filter.Or:
		var ids []string
		for _, term := range e {
			more, ok := selectedIDs(term)
			if !ok {
				return nil, false
			}
			ids = append(ids, more...)
		}
		return ids, true
	}
	return nil, false
}

// delta appends to the last step when it does the same.
func (c *compiler) delta(op MemberOp, ids []string) {
	if last := len(c.change.Members) - 1; last >= 0 && op != MembersSet && c.change.Members[last].Op == op {
		c.change.Members[last].IDs = append(c.change.Members[last].IDs, ids...)
		return
	}
	c.change.Members = append(c.change.Members, MemberDelta{Op: op, IDs: ids})
}

// MemberIDs reads the ids in a "members" value: an array of objects with "value", or of bare ids, or one of either.
// Each id is returned once, in the order of the value.
func MemberIDs(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	ids := make([]string, 0, len(list))
	seen := make(map[string]bool, len(list))
	for _, v := range list {
		if object, ok := v.(map[string]any); ok {
			v = schema.Member(object, "value")
		}
		id, ok := v.(string)
		if !ok || id == "" {
			return nil, refuse(InvalidValue, `members must be objects with the member's id as "value"`)
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}
