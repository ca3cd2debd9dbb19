package scim

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

const listURN = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

// listBody is a page of resources (RFC 7644, section 3.4.2).
type listBody struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	StartIndex   int      `json:"startIndex"`
	ItemsPerPage int      `json:"itemsPerPage"`
	Resources    []any    `json:"Resources"`
}

// page is the part of a result that a client wants.
type page struct{ start, count int }

func (p page) answer(total int, resources []any) answer {
	if resources == nil {
		resources = []any{}
	}
	return answer{status: http.StatusOK, body: listBody{
		Schemas: []string{listURN}, TotalResults: total, StartIndex: p.start, ItemsPerPage: len(resources), Resources: resources,
	}}
}

// page reads startIndex, also written start_index, and count.
func (r *request) page(maxResults int) (page, error) {
	name := "startIndex"
	if r.query.Get(name) == "" {
		name = "start_index"
	}
	start, err := r.number(name, 1)
	if err != nil {
		return page{}, err
	}
	count, err := r.number("count", maxResults)
	return page{start: max(1, start), count: min(max(0, count), maxResults)}, err
}

func (r *request) number(name string, unstated int) (int, error) {
	text := strings.TrimSpace(r.query.Get(name))
	if text == "" {
		return unstated, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		// One that is out of range is a number all the same, and as good as the largest.
		if e, ok := err.(*strconv.NumError); !ok || e.Err != strconv.ErrRange {
			return 0, badValue("%s must be a whole number", name)
		}
		if n < 0 {
			return math.MinInt32, nil
		}
		return math.MaxInt32, nil
	}
	return int(n), nil
}

func (h *Handler) listUsers(r *request, _ string) (answer, error) {
	p, where, err := h.listing(r, h.users)
	if err != nil {
		return answer{}, err
	}
	if where.check != nil {
		return h.listChecked(r, p, where)
	}
	users, total, err := h.opt.Store.Users(r.Context(), store.UserQuery{Where: where.expr, Offset: p.start - 1, Limit: p.count})
	if err != nil {
		return answer{}, err
	}
	docs, err := h.userDocs(r, users)
	return p.answer(total, docs), err
}

// maxChecked bounds the users who are read to be checked in memory.
const maxChecked = 1000

// listChecked answers a filter that the database only narrows down: those who have an e-mail address are few, and
// which of them has it as the work address is told from the documents.
func (h *Handler) listChecked(r *request, p page, where condition) (answer, error) {
	users, total, err := h.opt.Store.Users(r.Context(), store.UserQuery{Where: where.expr, Limit: maxChecked})
	if err != nil {
		return answer{}, err
	}
	if total > maxChecked {
		return answer{}, &Error{Status: http.StatusBadRequest, Type: tooMany, Detail: "too many users have this e-mail address"}
	}
	var matching []identity.User
	for i := range users {
		if where.check(h.userDoc(r, &users[i])) {
			matching = append(matching, users[i])
		}
	}
	from := min(p.start-1, len(matching))
	docs, err := h.userDocs(r, matching[from:min(from+p.count, len(matching))])
	return p.answer(len(matching), docs), err
}

func (h *Handler) listGroups(r *request, _ string) (answer, error) {
	p, where, err := h.listing(r, h.groups)
	if err != nil {
		return answer{}, err
	}
	groups, total, err := h.opt.Store.Groups(r.Context(), store.GroupQuery{Where: where.expr, Offset: p.start - 1, Limit: p.count})
	if err != nil {
		return answer{}, err
	}
	docs, err := h.groupDocs(r, groups)
	return p.answer(total, docs), err
}

func (h *Handler) listing(r *request, resource *schema.Resource) (page, condition, error) {
	p, err := r.page(h.opt.MaxResults)
	if err != nil {
		return page{}, condition{}, err
	}
	text := r.query.Get("filter")
	if strings.TrimSpace(text) == "" {
		return p, condition{}, nil
	}
	e, err := filter.Parse(text)
	if err != nil {
		return page{}, condition{}, err
	}
	where, err := compile(e, resource, r.base)
	return p, where, err
}
