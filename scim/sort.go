package scim

import (
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
)

// sort reads by what to sort (RFC 7644, section 3.4.2.3), and returns it as cursors are bound to it. Ties are in the
// order in which the resources were made; descending is the reverse of ascending in that too.
//
// A query over several types is sorted within each type, and users come before groups: their attributes are others for
// the most part, and where a page begins is then as cheap to find as in one type. A type that does not have the
// attribute has no values of it.
func (l *listing) sort(by, order string) (string, error) {
	order = strings.ToLower(strings.TrimSpace(order))
	if order == "" {
		order = "ascending"
	}
	if order != "ascending" && order != "descending" {
		return "", badValue("sortOrder must be ascending or descending")
	}
	if strings.TrimSpace(by) == "" {
		return "", nil
	}
	path, err := filter.ParsePath(by)
	if err != nil || path.Filter != nil {
		return "", badValue("sortBy: %q does not name an attribute", by)
	}
	known := false
	for i := range l.types {
		q := &l.types[i]
		ref, ok := q.resource.Lookup(path.Attr.Schema, path.Attr.Name, path.Attr.Sub)
		if !ok || ref.Attr == nil {
			continue
		}
		known = true
		c := compiler{resource: q.resource}
		if q.order.By, ok = c.sortBy(ref); !ok {
			return "", badValue("sortBy: resources have no order by %s", ref)
		}
		q.order.Descending = order == "descending"
	}
	if !known {
		return "", badValue("sortBy: there is no attribute %q", by)
	}
	return strings.ToLower(path.Attr.String()) + " " + order, nil
}
