package scim

import "github.com/idpsync/idpsync/scim/filter"

// qualify puts the schema in front of names in a filter that only an extension has: Entra asks whether somebody is
// still another's manager with `id eq "..." and manager eq "..."`. What a type has by itself comes first.
func (l *listing) qualify(e filter.Expr) filter.Expr {
	switch e := e.(type) {
	case filter.And:
		return filter.And(l.qualifyAll(e))
	case filter.Or:
		return filter.Or(l.qualifyAll(e))
	case filter.Not:
		return filter.Not{Expr: l.qualify(e.Expr)}
	case filter.Compare:
		e.Attr = l.qualified(e.Attr)
		return e
	case filter.ValuePath:
		e.Attr = l.qualified(e.Attr)
		return e
	}
	return e
}

func (l *listing) qualifyAll(terms []filter.Expr) []filter.Expr {
	out := make([]filter.Expr, len(terms))
	for i, term := range terms {
		out[i] = l.qualify(term)
	}
	return out
}

func (l *listing) qualified(a filter.Attr) filter.Attr {
	if a.Schema != "" {
		return a
	}
	for i := range l.types {
		if _, ok := l.types[i].resource.Lookup("", a.Name, ""); ok {
			return a
		}
	}
	for i := range l.types {
		for _, s := range l.types[i].resource.Extensions {
			if s.Attribute(a.Name) != nil {
				return filter.Attr{Schema: s.ID, Name: a.Name, Sub: a.Sub}
			}
		}
	}
	return a
}
