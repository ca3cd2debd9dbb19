package entratest

import (
	"net/http"
	"slices"
	"strings"
)

// parseFilter reads the part of $filter that the tenant knows: id in, and clauses joined by " or " or by " and " of
// `property eq value`, `startswith(property,'x')` and `groupTypes/any(c:c eq 'x')`. It returns nil for no filter.
func parseFilter(r *request, k kind) (func(*object, *view) bool, *answer) {
	text := r.query.Get("$filter")
	if text == "" {
		return nil, nil
	}
	if strings.HasPrefix(text, "id in (") {
		if ids, ok := filteredIDs(text); ok {
			return func(o *object, _ *view) bool { return slices.Contains(ids, o.id) }, nil
		}
	}
	joint, all := " or ", false
	if strings.Contains(text, " and ") {
		joint, all = " and ", true
	}
	var clauses []func(*object, *view) bool
	for clause := range strings.SplitSeq(text, joint) {
		match := parseClause(strings.TrimSpace(clause), k)
		if match == nil {
			a := failure(http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified for property '"+strings.Fields(clause + " ?")[0]+"' of resource '"+r.typeOf+"'.")
			return nil, &a
		}
		clauses = append(clauses, match)
	}
	return func(o *object, v *view) bool {
		for _, match := range clauses {
			if match(o, v) != all {
				return !all
			}
		}
		return all
	}, nil
}

func parseClause(clause string, k kind) func(*object, *view) bool {
	if inner, ok := strings.CutPrefix(clause, "startswith("); ok {
		name, value, _ := strings.Cut(strings.TrimSuffix(inner, ")"), ",")
		n, known := k.schema().number(strings.TrimSpace(name))
		prefix, quoted := unquote(strings.TrimSpace(value))
		if !known || !quoted {
			return nil
		}
		return func(_ *object, v *view) bool {
			return strings.HasPrefix(strings.ToLower(v.doc.text(n)), strings.ToLower(prefix))
		}
	}
	if inner, ok := strings.CutPrefix(clause, "groupTypes/any(c:c eq "); ok && k == kindGroup {
		kind, quoted := unquote(strings.TrimSuffix(inner, ")"))
		if !quoted {
			return nil
		}
		return func(_ *object, v *view) bool {
			types, _ := v.doc.get(groupSchema.numbers["grouptypes"])
			return strings.Contains(string(types), `"`+kind+`"`)
		}
	}
	name, value, ok := strings.Cut(clause, " eq ")
	if !ok {
		return nil
	}
	text, quoted := unquote(strings.TrimSpace(value))
	if name == "id" && quoted {
		return func(o *object, _ *view) bool { return o.id == text }
	}
	n, known := k.schema().number(name)
	switch {
	case !known:
		return nil
	case quoted:
		return func(_ *object, v *view) bool { return strings.EqualFold(v.doc.text(n), text) }
	case value == "true" || value == "false":
		return func(_ *object, v *view) bool {
			raw, _ := v.doc.get(n)
			return string(raw) == value
		}
	}
	return nil
}

// filteredIDs reads `id eq 'a' or id eq 'b'` and `id in ('a','b')`.
func filteredIDs(filter string) ([]string, bool) {
	var ids []string
	if list, ok := strings.CutPrefix(filter, "id in ("); ok {
		list, ok = strings.CutSuffix(list, ")")
		for one := range strings.SplitSeq(list, ",") {
			id, quoted := unquote(strings.TrimSpace(one))
			if !quoted {
				return nil, false
			}
			ids = append(ids, id)
		}
		return ids, ok
	}
	for clause := range strings.SplitSeq(filter, " or ") {
		value, ok := strings.CutPrefix(strings.TrimSpace(clause), "id eq ")
		id, quoted := unquote(value)
		if !ok || !quoted {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}

// unquote reads an OData string.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return "", false
	}
	return strings.ReplaceAll(s[1:len(s)-1], "''", "'"), true
}
