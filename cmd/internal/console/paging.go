package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// listPages are the addresses of other parts of a list, "" for none.
type listPages struct{ First, Next string }

// withQuery returns the address of a page, with this request's parameters and one more, or without that where value is "".
func (q *request) withQuery(path, name, value string) string {
	query := q.URL.Query()
	query.Del(name)
	if value != "" {
		query.Set(name, value)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// cursorPages returns where the rest of a list is that the API gives page by page: here, by the parameter cursor.
func cursorPages(q *request, next string) listPages { return cursorPagesAt(q, q.URL.Path, next) }

// cursorPagesAt is cursorPages for a list at another address: that of a form is none to come back to.
func cursorPagesAt(q *request, path, next string) listPages {
	var p listPages
	if next != "" {
		p.Next = q.withQuery(path, "cursor", next)
	}
	if q.Query("cursor") != "" {
		p.First = q.withQuery(path, "cursor", "")
	}
	return p
}

// slicePage returns the part of a list that the parameter from asks for.
func slicePage[T any](q *request, path string, list []T, size int) ([]T, listPages) {
	from, err := strconv.Atoi(q.Query("from"))
	if err != nil || from < 0 || from >= len(list) {
		from = 0
	}
	var p listPages
	if from > 0 {
		p.First = q.withQuery(path, "from", "")
	}
	if end := from + size; end < len(list) {
		p.Next = q.withQuery(path, "from", strconv.Itoa(end))
		return list[from:end], p
	}
	return list[from:], p
}

// wrongField tells whether a problem names a field of the request that begins so.
func wrongField(p *api.Problem, location string) bool {
	if p == nil {
		return false
	}
	for _, e := range p.Errors {
		if strings.HasPrefix(e.Location, location) {
			return true
		}
	}
	return false
}

// notAllowed is what whoever lacks a role is told.
func notAllowed(needed level) *api.Problem {
	return &api.Problem{Status: http.StatusForbidden, Title: "Not allowed", Detail: "This takes the role " + needed.String() + " on the root team."}
}

// given returns the named parameters of the address that are not blank, for the API.
func (q *request) given(names ...string) url.Values {
	out := url.Values{}
	for _, name := range names {
		if value := q.Query(name); value != "" {
			out.Set(name, value)
		}
	}
	return out
}
