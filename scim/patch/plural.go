package patch

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
)

// changePlural adds to or replaces in a multi-valued complex attribute.
func (d *document) changePlural(op Op, ref schema.Ref, where filter.Expr, value any) error {
	whole := where == nil && ref.Sub == nil
	if whole && (op == Replace || d.container(ref)[ref.Attr.Name] == nil) {
		return d.replaceAll(op, ref, value)
	}
	before := d.container(ref)[ref.Attr.Name]
	held, err := elements(before), error(nil)
	if whole {
		held, err = addElements(ref, held, value)
	} else {
		held, err = changeElements(op, ref, where, held, value)
	}
	if err != nil {
		return err
	}
	if len(held) > schema.MaxValues {
		return &schema.ValueError{Path: ref.Attr.Name, Want: fmt.Sprintf("has more than %d values", schema.MaxValues)}
	}
	// A role that was sent bare and is still the only one stays bare.
	if !reflect.DeepEqual(held, elements(before)) {
		d.container(ref)[ref.Attr.Name] = held
	}
	return nil
}

// replaceAll puts a value in the place of all elements, or where there are none.
func (d *document) replaceAll(op Op, ref schema.Ref, value any) error {
	read, err := ref.Attr.Read(value)
	switch {
	case err != nil:
		return named(ref, err)
	case read == nil && op == Add:
		return nil
	case read == nil:
		return d.remove(ref, nil)
	}
	d.container(ref)[ref.Attr.Name] = read
	return nil
}

// elements returns the elements of a held value as a list of its own. Roles may be held bare, as they were sent.
func elements(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return slices.Clone(v)
	}
	return []any{v}
}

// addElements adds what is not there yet. An element with the value and type of one that is there is merged into it.
func addElements(ref schema.Ref, held []any, value any) ([]any, error) {
	read, err := ref.Attr.Read(value)
	if err != nil {
		return nil, named(ref, err)
	}
	for _, added := range elements(read) {
		at := slices.IndexFunc(held, func(e any) bool { return same(e, added) })
		if at < 0 {
			held = append(held, added)
			at = len(held) - 1
		} else if object, ok := held[at].(map[string]any); ok {
			if more, ok := added.(map[string]any); ok {
				maps.Copy(object, more)
			}
		}
		if primary(added) {
			demoteOthers(held, at)
		}
	}
	return held, nil
}

// same tells whether an element that is added is one that is held: the same value and type, or where there is no
// value, nothing stated that differs.
func same(held, added any) bool {
	h, hok := held.(map[string]any)
	a, aok := added.(map[string]any)
	if !hok || !aok {
		return reflect.DeepEqual(bare(held), bare(added))
	}
	if value, ok := a["value"]; ok {
		return reflect.DeepEqual(h["value"], value) && sameType(h["type"], a["type"])
	}
	return states(h, a)
}

func sameType(a, b any) bool {
	x, _ := a.(string)
	y, _ := b.(string)
	return strings.EqualFold(x, y)
}

// bare returns the value of an element that states nothing else.
func bare(v any) any {
	if object, ok := v.(map[string]any); ok && len(object) == 1 {
		if value, ok := object["value"]; ok {
			return value
		}
	}
	return v
}

func primary(v any) bool {
	object, _ := v.(map[string]any)
	yes, ok := schema.AsBool(object["primary"])
	return ok && yes
}

// demoteOthers keeps at most one element primary (RFC 7644, section 3.5.2).
func demoteOthers(held []any, keep int) {
	for i, e := range held {
		if i != keep && primary(e) {
			e.(map[string]any)["primary"] = false
		}
	}
}

// changeElements changes the elements that the filter selects, or all where there is none. Where nothing is selected
// it makes the element that the filter describes.
func changeElements(op Op, ref schema.Ref, where filter.Expr, held []any, value any) ([]any, error) {
	selected, err := matching(ref.Attr, where, held)
	if err != nil {
		return nil, err
	}
	if len(selected) == 0 {
		element, ok := template(ref.Attr, where)
		if !ok {
			return nil, refuse(NoTarget, "no element of %s matches %s", ref.Attr.Name, where)
		}
		// The only e-mail address is the primary one, whether or not the identity provider says so. Of anything else
		// it would be a fact that nobody stated: unstated is false (RFC 7643, section 2.4).
		if _, stated := element["primary"]; len(held) == 0 && !stated && ref.Extension == nil && ref.Attr.Name == "emails" {
			element["primary"] = true
		}
		held = append(held, element)
		selected = []int{len(held) - 1}
	}
	for _, i := range selected {
		element := asObject(held[i])
		held[i] = element
		if err := setElement(op, ref, element, value); err != nil {
			return nil, err
		}
		if primary(element) {
			demoteOthers(held, i)
		}
	}
	return held, nil
}

func asObject(e any) map[string]any {
	if object, ok := e.(map[string]any); ok {
		return object
	}
	return map[string]any{"value": e}
}

// matching returns the positions of the elements that pass the filter.
func matching(attr *schema.Attribute, where filter.Expr, held []any) ([]int, error) {
	match := func(map[string]any) bool { return true }
	if where != nil {
		m, err := filter.CompileElement(where, attr)
		if err != nil {
			return nil, err
		}
		match = m
	}
	var selected []int
	for i, e := range held {
		if match(asObject(e)) {
			selected = append(selected, i)
		}
	}
	return selected, nil
}

// template returns the element that a filter describes, when it says by equality what type it has or that it is the
// primary one; a filter on anything else selects and does not describe. Without a filter it is an empty element.
func template(attr *schema.Attribute, where filter.Expr) (map[string]any, bool) {
	element := map[string]any{}
	if where == nil {
		return element, true
	}
	terms, ok := where.(filter.And)
	if !ok {
		terms = filter.And{where}
	}
	for _, term := range terms {
		c, ok := term.(filter.Compare)
		if !ok || c.Op != filter.Eq || c.Value.Kind == filter.Null {
			return nil, false
		}
		sub := attr.Sub(c.Attr.Name)
		v, err := sub.Read(c.Value.Text)
		if err != nil {
			return nil, false
		}
		element[sub.Name] = v
	}
	_, typed := element["type"].(string)
	return element, typed || primary(element)
}

// setElement sets the sub-attribute that ref names, or merges an object into the element (add) or puts it in the
// element's place (replace), where type and primary stay unless the object states them.
func setElement(op Op, ref schema.Ref, element map[string]any, value any) error {
	if ref.Sub != nil {
		read, err := ref.Sub.Read(unwrap(value))
		if err != nil {
			return named(ref, err)
		}
		if read == nil {
			delete(element, ref.Sub.Name)
			return nil
		}
		element[ref.Sub.Name] = read
		return nil
	}
	if list, ok := value.([]any); ok && len(list) == 1 {
		value = list[0]
	}
	read, err := ref.Attr.ReadElement(value)
	if err != nil {
		return named(ref, err)
	}
	if read == nil {
		return nil
	}
	if _, ok := value.(map[string]any); ok && op == Replace {
		maps.DeleteFunc(element, func(key string, _ any) bool { return key != "type" && key != "primary" })
	}
	maps.Copy(element, asObject(read))
	return nil
}

// removeElements removes the elements that the filter selects, or one sub-attribute of them; an element that is left
// with nothing but a type goes with its last value. Where nothing is selected there is nothing to remove.
func (d *document) removeElements(ref schema.Ref, where filter.Expr) error {
	held := elements(d.container(ref)[ref.Attr.Name])
	selected, err := matching(ref.Attr, where, held)
	if err != nil {
		return err
	}
	left := held[:0]
	for i, e := range held {
		if len(selected) > 0 && selected[0] == i {
			selected = selected[1:]
			if ref.Sub == nil {
				continue
			}
			element := asObject(e)
			delete(element, ref.Sub.Name)
			if hollow(element) {
				continue
			}
			e = element
		}
		left = append(left, e)
	}
	d.keep(ref, left)
	return nil
}

// removeListed removes the elements that a value lists, each by everything that is stated of it.
func (d *document) removeListed(ref schema.Ref, value any) error {
	read, err := ref.Attr.Read(value)
	if err != nil {
		return named(ref, err)
	}
	listed := elements(read)
	held := elements(d.container(ref)[ref.Attr.Name])
	d.keep(ref, slices.DeleteFunc(held, func(e any) bool {
		return slices.ContainsFunc(listed, func(l any) bool { return states(asObject(e), asObject(l)) })
	}))
	return nil
}

// removeValues removes the listed ones of an attribute's simple values.
func (d *document) removeValues(ref schema.Ref, value any) error {
	read, err := ref.Attr.Read(value)
	if err != nil {
		return named(ref, err)
	}
	listed := elements(read)
	d.keep(ref, slices.DeleteFunc(elements(d.container(ref)[ref.Attr.Name]), func(held any) bool {
		return slices.ContainsFunc(listed, func(l any) bool { return sameSimple(ref.Attr, held, l) })
	}))
	return nil
}

func sameSimple(a *schema.Attribute, held, listed any) bool {
	x, isText := held.(string)
	y, areTexts := listed.(string)
	if isText && areTexts && !a.CaseExact {
		return strings.EqualFold(x, y)
	}
	return reflect.DeepEqual(held, listed)
}

func states(object, stated map[string]any) bool {
	for key, v := range stated {
		if !reflect.DeepEqual(object[key], v) {
			return false
		}
	}
	return true
}

// keep makes these the elements of the attribute.
func (d *document) keep(ref schema.Ref, left []any) {
	container := d.container(ref)
	if len(left) > 0 {
		container[ref.Attr.Name] = left
		return
	}
	delete(container, ref.Attr.Name)
	if ref.Attr.Required {
		d.removed = append(d.removed, schema.Ref{Extension: ref.Extension, Attr: ref.Attr})
	}
}

func hollow(element map[string]any) bool {
	for key := range element {
		if key != "type" && key != "primary" {
			return false
		}
	}
	return true
}
