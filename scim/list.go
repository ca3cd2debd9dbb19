package scim

import (
	"errors"
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

// listBody is a page of resources (RFC 7644, section 3.4.2, and RFC 9865, section 2). Resources come last: where they
// are many, they are written one after the other behind the rest.
type listBody struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	StartIndex   int      `json:"startIndex,omitempty"` // 0 where pages are reached by cursors
	ItemsPerPage int      `json:"itemsPerPage"`
	NextCursor   string   `json:"nextCursor,omitempty"`
	Resources    []any    `json:"Resources"`
}

// listing is a query over resources of one or several types, one type after the other.
type listing struct {
	types  []typeQuery
	start  int     // 1-based
	count  int     // at most
	walk   bool    // whether pages are reached by cursors
	from   *cursor // where to go on; nil for the first page
	bounds string  // what a cursor of this query is good for
}

// typeQuery is what a listing asks of one type.
type typeQuery struct {
	resource *schema.Resource
	where    store.Expr
	order    store.Order
	none     bool // nothing of this type passes
}

// chunk is what a page holds of one type: how many resources, and how to read them.
type chunk struct {
	length  int
	total   int
	last    store.Position
	batches []batch
}

// batch reads some resources of a page, which have some members.
type batch struct {
	members int
	read    func() ([]any, error)
}

// list answers a query over types of resources.
func (h *Handler) list(types ...*schema.Resource) action {
	return func(r *request, _ string) (answer, error) {
		l, err := h.listing(r, types)
		if err != nil {
			return answer{}, err
		}
		if l.walk {
			return h.walkPage(r, l)
		}
		return h.indexPage(r, l)
	}
}

// indexPage answers with the page that begins at an index, counted over all types.
func (h *Handler) indexPage(r *request, l listing) (answer, error) {
	body := listBody{StartIndex: l.start}
	var batches []batch
	offset, left := l.start-1, l.count
	for _, q := range l.types {
		c, err := h.chunk(r, q, store.UserQuery{Offset: offset, Limit: left})
		if err != nil {
			return answer{}, err
		}
		body.TotalResults += c.total
		body.ItemsPerPage += c.length
		batches = append(batches, c.batches...)
		offset, left = max(0, offset-c.total), left-c.length
	}
	return listAnswer(body, batches)
}

// walkPage answers with the page that a cursor leads to. The total is counted when a walk begins, and told again on its
// other pages.
func (h *Handler) walkPage(r *request, l listing) (answer, error) {
	at, first := l.from, l.from == nil
	if first {
		at = &cursor{Count: l.count}
	}
	var (
		body    = listBody{TotalResults: at.Total}
		next    *cursor
		batches []batch
	)
	for i := at.Type; i < len(l.types) && (first || next == nil); i++ {
		after, left := at.After, l.count-body.ItemsPerPage
		if i > at.Type {
			after = nil
		}
		c, err := h.chunk(r, l.types[i], store.UserQuery{After: after, Limit: max(left, 1), NoTotal: !first})
		if err != nil {
			return answer{}, err
		}
		body.TotalResults += c.total
		switch {
		case next != nil:
		case left <= 0 && c.length > 0: // looked for only
			next = &cursor{Type: i}
		case left > 0:
			body.ItemsPerPage += c.length
			batches = append(batches, c.batches...)
			more, err := h.more(r, l.types[i], c, left, first)
			if err != nil {
				return answer{}, err
			}
			if more {
				next = &cursor{Type: i, After: &c.last}
			}
		}
	}
	if next != nil && l.count > 0 {
		next.Issued, next.Count, next.Total = h.opt.Now().Unix(), l.count, body.TotalResults
		var err error
		if body.NextCursor, err = r.seal(*next, l.bounds); err != nil {
			return answer{}, err
		}
	}
	return listAnswer(body, batches)
}

// more tells whether there are resources of a type behind those of a chunk: on the first page its total tells.
func (h *Handler) more(r *request, q typeQuery, c chunk, limit int, first bool) (bool, error) {
	if first || c.length < limit {
		return c.total > c.length, nil
	}
	next, err := h.chunk(r, q, store.UserQuery{After: &c.last, Limit: 1, NoTotal: true})
	return next.length > 0, err
}

// chunk reads the rows of one type that a page asks for.
func (h *Handler) chunk(r *request, q typeQuery, page store.UserQuery) (c chunk, err error) {
	switch {
	case q.none:
		return chunk{}, nil
	case q.resource == h.users:
		page.Where, page.Order = q.where, q.order
		var found store.UserPage
		found, err = h.userPage(r, page)
		read := func() ([]any, error) { return h.userDocs(r, found.Users) }
		c = chunk{length: len(found.Users), total: found.Total, last: found.Last, batches: []batch{{read: read}}}
	default:
		var found store.GroupPage
		found, err = h.opt.Store.GroupPage(r.Context(), store.GroupQuery{
			Where: q.where, Order: q.order, After: page.After, Offset: page.Offset, Limit: page.Limit, NoTotal: page.NoTotal,
		})
		c = chunk{length: len(found.Groups), total: found.Total, last: found.Last, batches: h.groupBatches(r, found.Groups)}
	}
	if errors.Is(err, store.ErrPosition) {
		err = errCursor() // of an attribute that has another type by now
	}
	return c, err
}

// userPage reads users, unless the one that is looked for was read together with the key.
func (h *Handler) userPage(r *request, q store.UserQuery) (store.UserPage, error) {
	l := r.lookup
	if l == nil || !l.Done || l.UserName == "" {
		return h.opt.Store.UserPage(r.Context(), q)
	}
	var page store.UserPage
	if l.Found {
		page.Total = 1
	}
	if page.Total > q.Offset && q.Limit > 0 {
		page.Users = []identity.User{l.User}
	}
	return page, nil
}

// membersAtOnce bounds the members that are held in memory for one page of groups, unless a single group has more.
const membersAtOnce = 20_000

// groupBatches splits groups so that few members are read at a time.
func (h *Handler) groupBatches(r *request, groups []identity.Group) []batch {
	add := func(list []batch, groups []identity.Group, members int) []batch {
		return append(list, batch{members, func() ([]any, error) { return h.groupDocs(r, groups) }})
	}
	var list []batch
	from, members := 0, 0
	counts := r.selected(h.groups).wants("members")
	for i := range groups {
		n := 0
		if counts {
			n = groups[i].MemberCount
		}
		if i > from && members+n > membersAtOnce {
			list, from, members = add(list, groups[from:i], members), i, 0
		}
		members += n
	}
	return add(list, groups[from:], members)
}

// listAnswer reads the resources of a page. Where they have more members than are held at once, the answer begins
// before all are read.
func listAnswer(body listBody, batches []batch) (answer, error) {
	body.Schemas, body.Resources = []string{listURN}, []any{}
	members := 0
	for i, b := range batches {
		if members += b.members; len(body.Resources) > 0 && members > membersAtOnce {
			return answer{status: http.StatusOK, body: body, rest: batches[i:]}, nil
		}
		docs, err := b.read()
		if err != nil {
			return answer{}, err
		}
		body.Resources = append(body.Resources, docs...)
	}
	return answer{status: http.StatusOK, body: body}, nil
}

// listing reads the parameters of a query.
func (h *Handler) listing(r *request, types []*schema.Resource) (listing, error) {
	l := listing{types: make([]typeQuery, len(types)), walk: r.query.Has("cursor")}
	for i, resource := range types {
		l.types[i].resource = resource
	}
	text, err := l.filter(r.query.Get("filter"), r.base)
	if err != nil {
		return l, err
	}
	order, err := l.sort(r.query.Get("sortBy"), r.query.Get("sortOrder"))
	if err != nil {
		return l, err
	}
	for _, resource := range types {
		l.bounds += resource.Name + " "
	}
	l.bounds += order + " " + text
	return l, l.page(r, h)
}

// page reads where the page begins and how long it is: startIndex, also written start_index, or cursor, and count.
func (l *listing) page(r *request, h *Handler) error {
	name := "startIndex"
	if r.query.Get(name) == "" {
		name = "start_index"
	}
	start, err := r.number(name, 1, invalidValue)
	if err != nil {
		return err
	}
	wrong := invalidValue
	if l.walk {
		wrong = invalidCount
	}
	count, err := r.number("count", h.opt.MaxResults, wrong)
	if err != nil {
		return err
	}
	l.start, l.count = max(1, start), min(max(0, count), h.opt.MaxResults)
	if !l.walk {
		return nil
	}
	if r.query.Get(name) != "" {
		return badValue("state %s or cursor, not both", name)
	}
	text := r.query.Get("cursor")
	if text == "" {
		return nil
	}
	from, err := r.open(text, l.bounds, h.opt.Now())
	switch {
	case err != nil:
		return err
	case from.Type < 0 || from.Type >= len(l.types):
		return errCursor()
	case r.query.Get("count") == "":
		l.count = min(from.Count, h.opt.MaxResults)
	case l.count != from.Count:
		return &Error{Status: http.StatusBadRequest, Type: invalidCount, Detail: "count must be the one of the query's first page"}
	}
	l.from = &from
	return nil
}

func (r *request) number(name string, unstated int, wrong string) (int, error) {
	text := strings.TrimSpace(r.query.Get(name))
	if text == "" {
		return unstated, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		// One that is out of range is a number all the same, and as good as the largest.
		if e, ok := err.(*strconv.NumError); !ok || e.Err != strconv.ErrRange {
			return 0, &Error{Status: http.StatusBadRequest, Type: wrong, Detail: name + " must be a whole number"}
		}
		if n < 0 {
			return math.MinInt32, nil
		}
		return math.MaxInt32, nil
	}
	return int(n), nil
}

// filter reads a filter for each type and returns it as cursors are bound to it. A client may change the letter case of
// names between two pages (RFC 9865 does in its example).
func (l *listing) filter(text, base string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", nil
	}
	e, err := filter.Parse(text)
	if err != nil {
		return "", err
	}
	e = l.qualify(e)
	known := map[filter.Attr]bool{}
	for i := range l.types {
		q := &l.types[i]
		v := verdict{expr: e}
		if len(l.types) > 1 {
			v = reduce(e, func(a filter.Attr) bool {
				ref, ok := q.resource.Lookup(a.Schema, a.Name, a.Sub)
				ok = ok && ref.Attr != nil
				known[a] = known[a] || ok
				return ok
			})
		}
		if q.none = v.expr == nil && !v.holds; v.expr == nil {
			continue
		}
		if q.where, err = compile(v.expr, q.resource, base); err != nil {
			return "", err
		}
	}
	for a, ok := range known {
		if !ok {
			return "", &filter.UnsupportedError{Msg: "there is no attribute " + a.String()}
		}
	}
	return strings.ToLower(e.String()), nil
}
