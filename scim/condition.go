package scim

import (
	"net/http"
	"strings"
	"time"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
)

// condition is a filter as the database runs it. With check, the database's answer holds everything that passes and
// perhaps more.
type condition struct {
	expr  store.Expr
	check filter.Matcher
}

// compile turns a filter on a list into a condition. Supported are "eq" and "and" on what identity providers look for,
// and the order of meta.created and meta.lastModified.
func compile(e filter.Expr, resource *schema.Resource) (condition, error) {
	check, err := filter.Compile(e, resource)
	if err != nil {
		return condition{}, err
	}
	c := compiler{resource: resource}
	expr, ok := c.expr(e)
	if !ok {
		return condition{}, unsupportedFilter(resource)
	}
	if !c.narrowed {
		check = nil
	}
	return condition{expr: expr, check: check}, nil
}

func unsupportedFilter(resource *schema.Resource) error {
	attributes := "id, externalId, displayName, members.value"
	if resource.Core.ID == schema.UserURN {
		attributes = `id, externalId, userName, displayName, active, groups.value, emails.value, emails[type eq "..."].value`
	}
	return &Error{
		Status: http.StatusBadRequest, Type: invalidFilter,
		Detail: `this filter is not supported: filter by "eq", joined by "and", on ` + attributes +
			`, and by "eq", "gt", "ge", "lt" and "le" on meta.created and meta.lastModified`,
	}
}

type compiler struct {
	resource *schema.Resource
	narrowed bool // the result must be checked
}

func (c *compiler) expr(e filter.Expr) (store.Expr, bool) {
	switch e := e.(type) {
	case filter.And:
		terms := make(store.And, len(e))
		for i, term := range e {
			var ok bool
			if terms[i], ok = c.expr(term); !ok {
				return nil, false
			}
		}
		return terms, true
	case filter.Compare:
		return c.compare(e)
	case filter.ValuePath:
		return c.valuePath(e)
	}
	return nil, false
}

// userFields and groupFields say which attributes have columns of their own.
var (
	userFields = map[string]store.Field{
		"id": store.FieldID, "externalId": store.FieldExternalID, "userName": store.FieldUserName,
		"displayName": store.FieldDisplayName, "active": store.FieldActive, "emails": store.FieldEmail,
		"emails.value": store.FieldEmail, "groups": store.FieldMember, "groups.value": store.FieldMember,
		"meta.created": store.FieldCreated, "meta.lastModified": store.FieldLastModified,
	}
	groupFields = map[string]store.Field{
		"id": store.FieldID, "externalId": store.FieldExternalID, "displayName": store.FieldDisplayName,
		"members": store.FieldMember, "members.value": store.FieldMember,
		"meta.created": store.FieldCreated, "meta.lastModified": store.FieldLastModified,
	}
)

func (c *compiler) field(a filter.Attr) (store.Field, bool) {
	ref, ok := c.resource.Lookup(a.Schema, a.Name, a.Sub)
	if !ok {
		return "", false
	}
	fields := groupFields
	if c.resource.Core.ID == schema.UserURN {
		fields = userFields
	}
	field, ok := fields[ref.String()]
	return field, ok
}

var orderOps = map[filter.Op]store.CompareOp{
	filter.Eq: store.OpEq, filter.Gt: store.OpGt, filter.Ge: store.OpGe, filter.Lt: store.OpLt, filter.Le: store.OpLe,
}

func (c *compiler) compare(e filter.Compare) (store.Expr, bool) {
	field, ok := c.field(e.Attr)
	if !ok {
		return nil, false
	}
	switch field {
	case store.FieldCreated, store.FieldLastModified:
		at, err := schema.AsTime(e.Value.Text)
		op, known := orderOps[e.Op]
		// Times are kept in microseconds; finer ones would never be equal to what was served.
		return store.Compare{Field: field, Op: op, Value: at.Truncate(time.Microsecond)}, known && err == nil
	case store.FieldActive:
		active, known := schema.AsBool(e.Value.Text)
		return store.Compare{Field: field, Op: store.OpEq, Value: active}, known && e.Op == filter.Eq
	}
	return store.Compare{Field: field, Op: store.OpEq, Value: e.Value.Text}, e.Op == filter.Eq && e.Value.Kind != filter.Null
}

// valuePath handles members[value eq "..."], and filters that say by equality which e-mail address they mean, whatever
// else they say about it.
func (c *compiler) valuePath(e filter.ValuePath) (store.Expr, bool) {
	terms, ok := e.Filter.(filter.And)
	if !ok {
		terms = filter.And{e.Filter}
	}
	for _, term := range terms {
		inner, ok := term.(filter.Compare)
		if !ok || !strings.EqualFold(inner.Attr.Name, "value") || inner.Op != filter.Eq {
			continue
		}
		inner.Attr = filter.Attr{Schema: e.Attr.Schema, Name: e.Attr.Name, Sub: inner.Attr.Name}
		if field, _ := c.field(inner.Attr); field == store.FieldEmail || len(terms) == 1 {
			c.narrowed = c.narrowed || len(terms) > 1
			return c.compare(inner)
		}
	}
	return nil, false
}
