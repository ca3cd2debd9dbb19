package patch

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store/identity"
)

// MaxOperations bounds the operations on one user.
const MaxOperations = 1000

// Ignored tells what a request asked for that was deliberately not done.
type Ignored struct {
	Password bool // a password was stated; none is ever kept
	Groups   bool // "groups" was stated with something in it; it is read-only
}

// User applies the operations to u in order; users is the User resource. Either all are applied or, with an *Error, u
// is left alone. What must hold of a user as a whole is the caller's to check, on the final state; only a required
// attribute that was removed and not put back is refused here.
func User(u *identity.User, users *schema.Resource, ops []Operation) (Ignored, error) {
	if len(ops) > MaxOperations {
		return Ignored{}, refuse(InvalidValue, "more than %d operations", MaxOperations)
	}
	d := document{resource: users, root: open(u)}
	for _, op := range ops {
		if err := d.apply(op); err != nil {
			return Ignored{}, refusal(err)
		}
	}
	for _, ref := range d.removed {
		if d.holder(ref)[ref.Leaf().Name] == nil {
			return Ignored{}, refuse(Mutability, "%s is required and cannot be removed", ref)
		}
	}
	d.prune()
	closeInto(u, d.root)
	return d.ignored, nil
}

// open returns the user as one document, the hot attributes among the others.
func open(u *identity.User) map[string]any {
	root := map[string]any(u.Attributes.Clone())
	if root == nil {
		root = map[string]any{}
	}
	for _, p := range []identity.Path{identity.PathUserName, identity.PathExternalID, identity.PathActive} {
		if v := u.Get(p); v != nil {
			root[p.Attr] = v
		}
	}
	return root
}

func closeInto(u *identity.User, root map[string]any) {
	for _, p := range []identity.Path{identity.PathUserName, identity.PathExternalID, identity.PathActive} {
		u.Set(p, root[p.Attr])
		delete(root, p.Attr)
	}
	u.Attributes = root
}

// refusal gives the errors of the packages below their keyword.
func refusal(err error) error {
	var value *schema.ValueError
	var syntax *filter.SyntaxError
	var unsupported *filter.UnsupportedError
	switch {
	case errors.As(err, &value):
		return refuse(InvalidValue, "%v", err)
	case errors.As(err, &syntax):
		return refuse(InvalidPath, "path: %v", err)
	case errors.As(err, &unsupported):
		return refuse(InvalidFilter, "%v", err)
	}
	return err
}

// document is a user while operations are applied to it.
type document struct {
	resource *schema.Resource
	root     map[string]any
	removed  []schema.Ref // required attributes that an operation removed
	ignored  Ignored
}

func (d *document) apply(op Operation) error {
	if op.Path == "" {
		object, err := op.object()
		if err != nil {
			return err
		}
		return d.applyObject(op.Op, object)
	}
	path, err := filter.ParsePath(op.Path)
	if err != nil {
		return err
	}
	ref, ok := d.resource.Lookup(path.Attr.Schema, path.Attr.Name, path.Attr.Sub)
	if !ok {
		return refuse(InvalidPath, "%s has no attribute %s", d.resource.Name, path)
	}
	if op.Op != Remove && !op.Stated {
		return refuse(InvalidValue, "%s %s needs a value", op.Op, path)
	}
	if ref.Attr != nil && ref.Leaf().Mutability == schema.ReadOnly && !d.ignores(ref, op.Value) {
		return refuse(Mutability, "%s is read-only", ref)
	}
	return d.change(op.Op, ref, path.Filter, op.Value)
}

// applyObject applies the members of an object without a path. Each key is a path; as in a resource, keys that name
// nothing known, and read-only attributes that are echoed, are ignored.
func (d *document) applyObject(op Op, object map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		path, err := filter.ParsePath(key)
		if err != nil {
			if strings.ContainsRune(key, '[') {
				return err
			}
			continue
		}
		ref, ok := d.resource.Lookup(path.Attr.Schema, path.Attr.Name, path.Attr.Sub)
		if !ok {
			continue
		}
		if ref.Attr != nil && ref.Leaf().Mutability == schema.ReadOnly {
			d.ignores(ref, object[key])
			continue
		}
		if err := d.change(op, ref, path.Filter, object[key]); err != nil {
			return err
		}
	}
	return nil
}

// ignores tells whether a stated read-only attribute is one that identity providers echo or maintain on their side.
func (d *document) ignores(ref schema.Ref, value any) bool {
	switch ref.Attr.Name {
	case "groups":
		if len(filter.Elements(value)) > 0 {
			d.ignored.Groups = true
		}
		return true
	case "schemas":
		return true
	}
	return false
}

func (d *document) change(op Op, ref schema.Ref, where filter.Expr, value any) error {
	if ref.Attr == nil {
		return d.changeSchema(op, ref, where, value)
	}
	switch {
	case ref.Attr.Mutability == schema.ReadOnly:
		return nil
	case isPassword(ref):
		d.ignored.Password = true
		return nil
	case where != nil && (!ref.Attr.MultiValued || ref.Attr.Type != schema.Complex):
		return refuse(InvalidPath, "%s has no elements to filter", ref)
	case op == Add && value == nil:
		return nil
	}
	plural := ref.Attr.MultiValued && ref.Attr.Type == schema.Complex
	switch {
	case op == Remove && plural && where == nil && ref.Sub == nil && value != nil:
		return d.removeListed(ref, value)
	case op == Remove && !plural && ref.Attr.MultiValued && value != nil:
		return d.removeValues(ref, value)
	case op == Remove || value == nil:
		return d.remove(ref, where)
	case plural:
		return d.changePlural(op, ref, where, value)
	}
	return d.changeSingle(op, ref, value)
}

// changeSchema handles a path that is a schema's URN: its value is an object of attributes.
func (d *document) changeSchema(op Op, ref schema.Ref, where filter.Expr, value any) error {
	urn := d.resource.Core.ID
	if ref.Extension != nil {
		urn = ref.Extension.ID
	}
	if where != nil {
		return refuse(InvalidPath, "%s has no elements to filter", urn)
	}
	if op == Remove || value == nil {
		if ref.Extension == nil {
			return refuse(Mutability, "%s cannot be removed", urn)
		}
		delete(d.root, urn)
		return nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return refuse(InvalidValue, "%s must be an object", urn)
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		name, sub, _ := strings.Cut(key, ".")
		inner, ok := d.resource.Lookup(urn, name, sub)
		if !ok || inner.Attr == nil || inner.Leaf().Mutability == schema.ReadOnly {
			continue
		}
		if err := d.change(op, inner, nil, object[key]); err != nil {
			return err
		}
	}
	return nil
}

// container returns the object that holds the attribute: the document, or the extension's part of it. It is made
// where it is missing; prune takes it away again if nothing came into it.
func (d *document) container(ref schema.Ref) map[string]any {
	if ref.Extension == nil {
		return d.root
	}
	ext, ok := d.root[ref.Extension.ID].(map[string]any)
	if !ok {
		ext = map[string]any{}
		d.root[ref.Extension.ID] = ext
	}
	return ext
}

func (d *document) prune() {
	for _, s := range d.resource.Extensions {
		if ext, ok := d.root[s.ID].(map[string]any); ok && len(ext) == 0 {
			delete(d.root, s.ID)
		}
	}
}

// holder returns the object that holds what ref names, or nil, for looking only.
func (d *document) holder(ref schema.Ref) map[string]any {
	object := d.root
	if ref.Extension != nil {
		object, _ = object[ref.Extension.ID].(map[string]any)
	}
	if ref.Sub != nil {
		object, _ = object[ref.Attr.Name].(map[string]any)
	}
	return object
}

func (d *document) remove(ref schema.Ref, where filter.Expr) error {
	if ref.Attr.Name == "active" && ref.Extension == nil {
		return refuse(Mutability, "active cannot be removed; set it to false")
	}
	if ref.Attr.MultiValued && ref.Attr.Type == schema.Complex && (where != nil || ref.Sub != nil) {
		return d.removeElements(ref, where)
	}
	if ref.Leaf().Required {
		d.removed = append(d.removed, ref)
	}
	if ref.Sub == nil {
		delete(d.container(ref), ref.Attr.Name)
	} else if object, ok := d.container(ref)[ref.Attr.Name].(map[string]any); ok {
		delete(object, ref.Sub.Name)
		if len(object) == 0 {
			delete(d.container(ref), ref.Attr.Name)
		}
	}
	return nil
}

// changeSingle sets an attribute that has one value, or a multi-valued one of simple values.
func (d *document) changeSingle(op Op, ref schema.Ref, value any) error {
	leaf := ref.Leaf()
	if leaf.Type != schema.Complex && !leaf.MultiValued {
		value = unwrap(value)
	}
	if isManager(ref) && emptyManager(value) {
		return d.remove(schema.Ref{Extension: ref.Extension, Attr: ref.Attr}, nil)
	}
	read, err := leaf.Read(value)
	if err != nil {
		return named(ref, err)
	}
	if read == nil {
		if op == Add {
			return nil
		}
		return d.remove(ref, nil)
	}
	container := d.container(ref)
	switch {
	case ref.Sub != nil:
		object, ok := container[ref.Attr.Name].(map[string]any)
		if !ok {
			object = map[string]any{}
			container[ref.Attr.Name] = object
		}
		object[ref.Sub.Name] = read
	case leaf.Type == schema.Complex:
		stated := read.(map[string]any)
		object, ok := container[ref.Attr.Name].(map[string]any)
		if !ok || isManager(ref) && stated["value"] != nil && stated["value"] != object["value"] {
			container[ref.Attr.Name] = stated // what was known of another manager does not hold for this one
			return nil
		}
		// Sub-attributes that are not named stay as they are, for add and replace alike (sections 3.5.2.1, 3.5.2.3).
		maps.Copy(object, stated)
	case leaf.MultiValued && op == Add:
		held, _ := container[ref.Attr.Name].([]any)
		for _, v := range read.([]any) {
			if !slices.Contains(held, v) {
				held = append(held, v)
			}
		}
		if len(held) > schema.MaxValues {
			return &schema.ValueError{Path: ref.String(), Want: fmt.Sprintf("has more than %d values", schema.MaxValues)}
		}
		container[ref.Attr.Name] = held
	default:
		container[ref.Attr.Name] = read
	}
	return nil
}

// named puts the path in front of what the schema says, which knows the attribute alone.
func named(ref schema.Ref, err error) error {
	var value *schema.ValueError
	if errors.As(err, &value) {
		_, inner, _ := strings.Cut(value.Path, ".")
		if inner != "" {
			inner = "." + inner
		}
		return &schema.ValueError{Path: ref.String() + inner, Want: value.Want}
	}
	return err
}

// unwrap takes a simple value out of the array and the object that Entra puts around it:
// [{"$ref":null,"value":"False"}].
func unwrap(v any) any {
	if list, ok := v.([]any); ok && len(list) == 1 {
		v = list[0]
	}
	if object, ok := v.(map[string]any); ok {
		if value, ok := schema.Stated(object, "value"); ok {
			return value
		}
	}
	return v
}

func isPassword(ref schema.Ref) bool { return ref.Extension == nil && ref.Attr.Name == "password" }

func isManager(ref schema.Ref) bool {
	return ref.Extension != nil && ref.Extension.ID == schema.EnterpriseURN && ref.Attr.Name == "manager" &&
		(ref.Sub == nil || ref.Sub.Name == "value")
}

// emptyManager tells whether the value says that there is no manager: "", [], {"value":""}, {"value":null}.
func emptyManager(v any) bool {
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			return true
		}
		v = list[0]
	}
	if object, ok := v.(map[string]any); ok {
		value, stated := schema.Stated(object, "value")
		return stated && (value == nil || value == "")
	}
	return v == "" || v == nil
}
