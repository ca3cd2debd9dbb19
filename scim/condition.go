package scim

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
)

// compile turns a filter on a list into a predicate, which means what filter.Compile makes of it for the resources as
// they are served under a base URL.
func compile(e filter.Expr, resource *schema.Resource, base string) (store.Expr, error) {
	if _, err := filter.Compile(e, resource); err != nil {
		return nil, err
	}
	c := compiler{resource: resource, base: base}
	if err := c.tooHeavy(e); err != nil {
		return nil, err
	}
	return c.expr(e)
}

func refuseFilter(detail string) error {
	return &Error{Status: http.StatusBadRequest, Type: invalidFilter, Detail: detail}
}

// compiler translates filters that the schema allows. What has a column of its own, or is computed, goes by that; all
// else goes by the document.
type compiler struct {
	resource *schema.Resource
	base     string // URL of the resource types
}

// truth is a predicate that is known before any resource is.
func truth(holds bool) store.Expr {
	if holds {
		return store.And{}
	}
	return store.Or{}
}

func (c *compiler) expr(e filter.Expr) (store.Expr, error) {
	return combine(e, func(e filter.Expr) (store.Expr, error) {
		switch e := e.(type) {
		case filter.Compare:
			return c.compare(e)
		case filter.ValuePath:
			return c.valuePath(e)
		}
		return nil, refuseFilter("this filter is not supported")
	})
}

// combine translates what and, or and not join.
func combine(e filter.Expr, leaf func(filter.Expr) (store.Expr, error)) (store.Expr, error) {
	switch e := e.(type) {
	case filter.And:
		terms, err := combineAll(e, leaf)
		return store.And(terms), err
	case filter.Or:
		terms, err := combineAll(e, leaf)
		return store.Or(terms), err
	case filter.Not:
		inner, err := combine(e.Expr, leaf)
		return store.Not{Expr: inner}, err
	}
	return leaf(e)
}

func combineAll(terms []filter.Expr, leaf func(filter.Expr) (store.Expr, error)) ([]store.Expr, error) {
	out := make([]store.Expr, len(terms))
	for i, e := range terms {
		var err error
		if out[i], err = combine(e, leaf); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lookup finds what a name refers to. Attributes that are never returned would be told by a filter all the same.
func (c *compiler) lookup(a filter.Attr) (schema.Ref, error) {
	ref, ok := c.resource.Lookup(a.Schema, a.Name, a.Sub)
	if !ok || ref.Attr == nil {
		return ref, refuseFilter(c.resource.Name + " has no attribute " + a.String())
	}
	if ref.Attr.Returned == schema.Never || ref.Leaf().Returned == schema.Never {
		return ref, refuseFilter(ref.String() + " is never returned, and so cannot be filtered by")
	}
	return ref, nil
}

func (c *compiler) compare(e filter.Compare) (store.Expr, error) {
	ref, err := c.lookup(e.Attr)
	if err != nil {
		return nil, err
	}
	if ref.Extension == nil {
		switch ref.Attr.Name {
		case "schemas":
			return c.schemas(e), nil
		case "meta":
			return c.meta(ref, e)
		case "groups", "members":
			return c.members(ref, e), nil
		}
		if field, ok := c.field(ref.String()); ok {
			return compareField(field, ref.Leaf(), e), nil
		}
	}
	return c.narrowed(ref, e, c.test(ref, e)), nil
}

// field returns the column that holds just what is served as an attribute. A user's displayName has one that holds
// another name where there is none.
func (c *compiler) field(name string) (store.Field, bool) {
	users := c.resource.Core.ID == schema.UserURN
	switch name {
	case "id":
		return store.FieldID, true
	case "externalId":
		return store.FieldExternalID, true
	case "userName":
		return store.FieldUserName, true
	case "active":
		return store.FieldActive, true
	case "displayName":
		return store.FieldDisplayName, !users
	case "meta.created":
		return store.FieldCreated, true
	case "meta.lastModified":
		return store.FieldLastModified, true
	}
	return "", false
}

var storeOps = map[filter.Op]store.CompareOp{
	filter.Eq: store.OpEq, filter.Ne: store.OpNe, filter.Co: store.OpCo, filter.Sw: store.OpSw, filter.Ew: store.OpEw,
	filter.Gt: store.OpGt, filter.Ge: store.OpGe, filter.Lt: store.OpLt, filter.Le: store.OpLe, filter.Pr: store.OpPr,
}

// asksPresence tells whether a comparison asks only for whether there is a value, and for which of both.
func asksPresence(e filter.Compare) (asks, present bool) {
	if e.Op == filter.Pr {
		return true, true
	}
	return e.Value.Kind == filter.Null, e.Op == filter.Ne
}

// ifPresent returns what a comparison that asks for presence means, by the predicate that there is a value.
func ifPresent(wanted bool, present store.Expr) store.Expr {
	if wanted {
		return present
	}
	return store.Not{Expr: present}
}

func compareField(field store.Field, leaf *schema.Attribute, e filter.Compare) store.Expr {
	if asks, present := asksPresence(e); asks {
		return ifPresent(present, store.Compare{Field: field, Op: store.OpPr})
	}
	return store.Compare{Field: field, Op: storeOps[e.Op], Value: literal(leaf, e.Value)}
}

// literal reads a literal as a value of an attribute. That it is one was checked by filter.Compile.
func literal(a *schema.Attribute, v filter.Value) any {
	switch a.Type {
	case schema.Boolean:
		b, _ := schema.AsBool(v.Text)
		return b
	case schema.DateTime:
		t, _ := schema.AsTime(v.Text)
		return t
	case schema.Integer, schema.Decimal:
		return json.Number(v.Text)
	}
	return v.Text
}

func kindOf(a *schema.Attribute) store.ValueKind {
	switch a.Type {
	case schema.Boolean:
		return store.Bool
	case schema.DateTime:
		return store.Time
	case schema.Integer, schema.Decimal:
		return store.Number
	}
	if a.CaseExact {
		return store.TextExact
	}
	return store.TextFold
}

// test compares what the document has.
func (c *compiler) test(ref schema.Ref, e filter.Compare) store.Expr {
	if asks, present := asksPresence(e); asks {
		return ifPresent(present, store.Test{Attribute: attribute(ref), Op: store.OpPr})
	}
	ref = withValue(ref)
	return store.Test{Attribute: attribute(ref), Op: storeOps[e.Op], Value: literal(ref.Leaf(), e.Value)}
}

// attribute returns where an attribute is in the document.
func attribute(ref schema.Ref) store.Attribute {
	a := store.Attribute{Name: ref.Attr.Name, Kind: kindOf(ref.Leaf())}
	if ref.Extension != nil {
		a.Extension = ref.Extension.ID
	}
	if ref.Sub != nil {
		a.Sub = ref.Sub.Name
	}
	return a
}

// withValue names the "value" of a complex attribute, which is what it is compared by; there may be none.
func withValue(ref schema.Ref) schema.Ref {
	if ref.Sub == nil && ref.Attr.Type == schema.Complex {
		ref.Sub = ref.Attr.Sub("value")
	}
	return ref
}

// sortBy returns what resources are ordered by when they are by an attribute; nil for what is the same of all. Some
// cannot be: what is never returned, what belongs to a membership, and complex attributes without a "value".
func (c *compiler) sortBy(ref schema.Ref) (store.Operand, bool) {
	if ref.Attr == nil || ref.Attr.Returned == schema.Never || ref.Leaf().Returned == schema.Never {
		return nil, false
	}
	if ref = withValue(ref); ref.Leaf().Type == schema.Complex {
		return nil, false
	}
	if ref.Extension != nil {
		return attribute(ref), true
	}
	if field, ok := c.field(ref.String()); ok {
		return field, true
	}
	switch ref.String() {
	case "meta.version":
		return store.FieldVersion, true
	case "meta.location":
		return store.FieldID, true
	case "meta.resourceType":
		return nil, true
	}
	switch ref.Attr.Name {
	case "schemas", "groups", "members":
		return nil, false
	}
	return attribute(ref), true
}

// narrowed adds to a test what an index finds quickly, and which holds wherever the test does.
func (c *compiler) narrowed(ref schema.Ref, e filter.Compare, test store.Expr) store.Expr {
	text := strings.TrimSpace(e.Value.Text)
	if ref.Extension != nil || c.resource.Core.ID != schema.UserURN || e.Value.Kind == filter.Null || text == "" {
		return test
	}
	switch name := ref.String(); {
	case (name == "emails" || name == "emails.value") && e.Op == filter.Eq:
		return store.And{store.Compare{Field: store.FieldEmails, Op: store.OpEq, Value: text}, test}
	case name == "displayName" && (e.Op == filter.Eq || e.Op == filter.Sw):
		return store.And{store.Compare{Field: store.FieldDisplayName, Op: storeOps[e.Op], Value: text}, test}
	}
	return test
}

// valuePath translates what one element of an attribute has to pass.
func (c *compiler) valuePath(e filter.ValuePath) (store.Expr, error) {
	ref, err := c.lookup(e.Attr)
	if err != nil {
		return nil, err
	}
	switch name := ref.Attr.Name; {
	case ref.Extension == nil && name == "meta": // there is one, always
		return combine(e.Filter, func(inner filter.Expr) (store.Expr, error) { return c.compare(within(e.Attr, inner)) })
	case ref.Extension == nil && (name == "groups" || name == "members"):
		where, err := combine(e.Filter, func(inner filter.Expr) (store.Expr, error) {
			compare := within(e.Attr, inner)
			sub, err := c.lookup(compare.Attr)
			if err != nil {
				return nil, err
			}
			return c.member(sub, compare), nil
		})
		return store.Some{Of: store.FieldMember, Where: where}, err
	}
	where, err := combine(e.Filter, func(inner filter.Expr) (store.Expr, error) {
		compare := within(e.Attr, inner)
		sub, err := c.lookup(compare.Attr)
		if err != nil {
			return nil, err
		}
		return c.test(schema.Ref{Attr: sub.Sub}, compare), nil
	})
	if err != nil {
		return nil, err
	}
	of := attribute(ref)
	return c.narrowedPath(ref, e, store.Some{Of: of, Where: where})
}

// within names in full what a comparison in a value path is about.
func within(attr filter.Attr, e filter.Expr) filter.Compare {
	compare, _ := e.(filter.Compare)
	compare.Attr = filter.Attr{Schema: attr.Schema, Name: attr.Name, Sub: compare.Attr.Name}
	return compare
}

// narrowedPath is narrowed for a value path: emails[type eq "work" and value eq "a@x.example"].
func (c *compiler) narrowedPath(ref schema.Ref, e filter.ValuePath, some store.Expr) (store.Expr, error) {
	terms, ok := e.Filter.(filter.And)
	if !ok {
		terms = filter.And{e.Filter}
	}
	for _, term := range terms {
		if _, ok := term.(filter.Compare); !ok {
			continue
		}
		compare := within(e.Attr, term)
		sub, err := c.lookup(compare.Attr)
		if err != nil {
			return nil, err
		}
		some = c.narrowed(sub, compare, some)
	}
	return some, nil
}
