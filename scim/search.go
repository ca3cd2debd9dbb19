package scim

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
)

const searchURN = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"

// search answers a query that comes as a body (RFC 7644, section 3.4.3) as list answers it: the members of the body
// are the parameters, and those of the URL do not count.
func (h *Handler) search(list action) action {
	return func(r *request, id string) (answer, error) {
		doc, err := r.body()
		if err != nil {
			return answer{}, err
		}
		if r.query, err = searchQuery(doc); err != nil {
			return answer{}, err
		}
		r.data = nil // it states no resource
		return list(r, id)
	}
}

// searchQuery reads a SearchRequest.
func searchQuery(doc map[string]any) (url.Values, error) {
	if urns, ok := texts(schema.Member(doc, "schemas")); !ok || len(urns) > 0 && !slices.ContainsFunc(urns, isSearchURN) {
		return nil, badSyntax("schemas must be [%q]", searchURN)
	}
	query := url.Values{}
	for _, name := range []string{"attributes", "excludedAttributes"} {
		list, ok := texts(schema.Member(doc, name))
		if !ok {
			return nil, badValue("%s must be a list of names", name)
		}
		if len(list) > 0 {
			query[name] = list
		}
	}
	for _, name := range []string{"filter", "sortBy", "sortOrder", "cursor"} {
		switch v := schema.Member(doc, name).(type) {
		case nil:
		case string:
			query.Set(name, v)
		default:
			return nil, badValue("%s must be a string", name)
		}
	}
	for _, name := range []string{"startIndex", "start_index", "count"} {
		switch v := schema.Member(doc, name).(type) {
		case nil:
		case json.Number:
			query.Set(name, v.String())
		case string:
			query.Set(name, v)
		default:
			return nil, badValue("%s must be a whole number", name)
		}
	}
	return query, nil
}

func isSearchURN(urn string) bool { return strings.EqualFold(urn, searchURN) }

// texts reads a list of strings, or a single one.
func texts(v any) (list []string, ok bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case string:
		return []string{v}, true
	case []any:
		for _, element := range v {
			s, ok := element.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}

// verdict is what a filter comes to in a type of resource: an expression that is left of it, or when there is none,
// whether it holds for every resource.
type verdict struct {
	expr  filter.Expr
	holds bool
}

// reduce decides what a filter says about attributes that a type of resource does not have: they have no value there
// (RFC 7644, section 3.4.2.1). It is for queries over several types.
func reduce(e filter.Expr, has func(filter.Attr) bool) verdict {
	switch e := e.(type) {
	case filter.And:
		left, decided := reduceAll(e, false, has)
		switch {
		case decided, len(left) == 0:
			return verdict{holds: !decided}
		case len(left) == 1:
			return verdict{expr: left[0]}
		}
		return verdict{expr: filter.And(left)}
	case filter.Or:
		left, decided := reduceAll(e, true, has)
		switch {
		case decided, len(left) == 0:
			return verdict{holds: decided}
		case len(left) == 1:
			return verdict{expr: left[0]}
		}
		return verdict{expr: filter.Or(left)}
	case filter.Not:
		v := reduce(e.Expr, has)
		if v.expr != nil {
			return verdict{expr: filter.Not{Expr: v.expr}}
		}
		return verdict{holds: !v.holds}
	case filter.ValuePath:
		if !has(e.Attr) {
			return verdict{}
		}
	case filter.Compare:
		if !has(e.Attr) {
			absent := e.Value.Kind == filter.Null && e.Op == filter.Eq
			return verdict{holds: absent || e.Op == filter.Ne && e.Value.Kind != filter.Null}
		}
	}
	return verdict{expr: e}
}

// reduceAll reduces terms; decided tells whether one of them alone decides: it is always what is given.
func reduceAll(terms []filter.Expr, deciding bool, has func(filter.Attr) bool) (left []filter.Expr, decided bool) {
	for _, term := range terms {
		v := reduce(term, has)
		if v.expr != nil {
			left = append(left, v.expr)
			continue
		}
		decided = decided || v.holds == deciding
	}
	return left, decided
}
