package scim

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
)

// maxWeight bounds what a filter may ask of every resource there is: so many comparisons with attributes that have no
// index, of which those in lists count as listWeight. With the most, a database reads twenty thousand users in a few
// seconds.
const (
	maxWeight  = 100
	listWeight = 4
)

// tooHeavy refuses a filter that would keep the database busy.
func (c *compiler) tooHeavy(e filter.Expr) error {
	if c.weight(e) <= maxWeight {
		return nil
	}
	return &Error{Status: http.StatusBadRequest, Type: tooMany, Detail: fmt.Sprintf(
		"this filter takes too much work: it may compare at most %d attributes that have no index, or %d in lists; "+
			`add what names a resource, as in id eq or userName eq, by "and"`, maxWeight, maxWeight/listWeight)}
}

// weight returns what a filter asks of each resource; nothing where it names the resources that it is about.
func (c *compiler) weight(e filter.Expr) int {
	if c.names(e) {
		return 0
	}
	switch e := e.(type) {
	case filter.And:
		return c.weightOf(e)
	case filter.Or:
		return c.weightOf(e)
	case filter.Not:
		return c.weight(e.Expr)
	case filter.ValuePath:
		return listWeight * leaves(e.Filter)
	case filter.Compare:
		ref, ok := c.resource.Lookup(e.Attr.Schema, e.Attr.Name, e.Attr.Sub)
		switch _, column := c.field(ref.String()); {
		case !ok || ref.Attr == nil || ref.Extension == nil && (column || ref.Attr.Name == "meta" || ref.Attr.Name == "schemas"):
			return 0
		case ref.Attr.MultiValued:
			return listWeight
		}
		return 1
	}
	return 0
}

func (c *compiler) weightOf(terms []filter.Expr) int {
	n := 0
	for _, term := range terms {
		n += c.weight(term)
	}
	return n
}

// leaves counts the comparisons of a filter.
func leaves(e filter.Expr) int {
	n := 0
	switch e := e.(type) {
	case filter.And:
		for _, term := range e {
			n += leaves(term)
		}
	case filter.Or:
		for _, term := range e {
			n += leaves(term)
		}
	case filter.Not:
		n = leaves(e.Expr)
	default:
		n = 1
	}
	return n
}

// names tells whether a filter says by equality, on an index, which few resources it is about.
func (c *compiler) names(e filter.Expr) bool {
	switch e := e.(type) {
	case filter.And:
		for _, term := range e {
			if c.names(term) {
				return true
			}
		}
	case filter.Or:
		for _, term := range e {
			if !c.names(term) {
				return false
			}
		}
		return true
	case filter.ValuePath:
		terms, ok := e.Filter.(filter.And)
		if !ok {
			terms = filter.And{e.Filter}
		}
		for _, term := range terms {
			if _, ok := term.(filter.Compare); ok && c.names(within(e.Attr, term)) {
				return true
			}
		}
	case filter.Compare:
		ref, ok := c.resource.Lookup(e.Attr.Schema, e.Attr.Name, e.Attr.Sub)
		if !ok || e.Op != filter.Eq || e.Value.Kind == filter.Null || strings.TrimSpace(e.Value.Text) == "" {
			return false
		}
		switch ref.String() {
		case "id", "externalId", "userName", "displayName", "meta.location":
			return true
		case "emails", "emails.value":
			return c.resource.Core.ID == schema.UserURN
		}
	}
	return false
}
