package oktatest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// cursor is where a list goes on.
type cursor struct {
	after string
	limit int
}

// page reads limit and after.
func (r *request) page(defaultLimit, most int) (cursor, *answer) {
	c := cursor{after: r.query.Get("after"), limit: defaultLimit}
	if s := r.query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			bad := failure(http.StatusBadRequest, "E0000001", "Api validation failed: limit")
			return c, &bad
		}
		c.limit = min(n, most)
	}
	return c, nil
}

// links returns the self link, with the limit that holds and without a sortOrder that sorts nothing, and the link
// after the given id, nil for "".
func (r *request) links(limit int, after string) (self, next *url.URL) {
	query := url.Values{}
	for key, values := range r.query {
		if key != "sortOrder" || r.query.Has("sortBy") {
			query[key] = values
		}
	}
	query.Set("limit", strconv.Itoa(limit))
	self = &url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
	if after != "" {
		query.Set("after", after)
		next = &url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
	}
	return self, next
}

// listed writes one page of items, which are in the order of their ids, those left out that skip says.
func listed[T any](r *request, c cursor, items []T, id func(T) string, skip func(T) bool, write func([]byte, T) []byte) answer {
	start := 0
	if c.after != "" {
		i, found := slices.BinarySearchFunc(items, c.after, func(item T, after string) int { return strings.Compare(id(item), after) })
		if start = i; found {
			start++
		}
	}
	var chosen []T
	more := false
	for _, item := range items[start:] {
		if skip != nil && skip(item) {
			continue
		}
		if more = len(chosen) == c.limit; more {
			break
		}
		chosen = append(chosen, item)
	}
	after := ""
	if more {
		after = id(chosen[len(chosen)-1])
	}
	if r.fault != nil {
		chosen = drift(r.fault.Kind, chosen)
	}
	body := make([]byte, 0, 64+len(chosen)*1200)
	body = append(body, '[')
	for i, item := range chosen {
		if i > 0 {
			body = append(body, ',')
		}
		body = write(body, item)
	}
	a := answer{status: http.StatusOK, body: append(body, ']')}
	a.self, a.next = r.links(c.limit, after)
	return a
}

// drift lets items come twice or not at all, as when a list changes while it is being paged through.
func drift[T any](kind FaultKind, items []T) []T {
	switch {
	case kind == DuplicateItem && len(items) > 0:
		return append([]T{items[len(items)-1]}, items...)
	case kind == MissingItem && len(items) > 0:
		return items[:len(items)-1]
	}
	return items
}

func userID(u *user) string { return u.id }

func (t *Tenant) listUsers(r *request) answer {
	c, bad := r.page(200, 200)
	if bad != nil {
		return *bad
	}
	write := func(b []byte, u *user) []byte { return u.appendListed(b, r.base) }
	switch {
	case r.query.Has("search"):
		match, err := parseFilter(r.query.Get("search"), searchable)
		if err != nil {
			return failure(http.StatusBadRequest, "E0000031", "Invalid search criteria.")
		}
		index := t.index()
		return listed(r, c, index, userID, func(u *user) bool { return !match(u) }, write)
	case r.query.Has("filter"):
		match, err := parseFilter(r.query.Get("filter"), filterable)
		if err != nil {
			return failure(http.StatusBadRequest, "E0000031", "Invalid search criteria.")
		}
		return listed(r, c, t.users, userID, func(u *user) bool { return !match(u) }, write)
	case r.query.Has("q"):
		q := strings.ToLower(r.query.Get("q"))
		match := func(u *user) bool {
			for _, name := range []string{"firstName", "lastName", "email"} {
				if strings.HasPrefix(strings.ToLower(u.profile.text(name)), q) {
					return true
				}
			}
			return false
		}
		return listed(r, c, t.users, userID, func(u *user) bool { return !match(u) }, write)
	}
	return listed(r, c, t.users, userID, func(u *user) bool { return u.status == "DEPROVISIONED" }, write)
}

// index returns the users as the search index holds them: without the changes of the last SearchLag.
func (t *Tenant) index() []*user {
	if t.SearchLag <= 0 {
		return t.users
	}
	now := t.now()
	var index []*user
	for _, u := range t.users {
		switch {
		case now.Sub(u.changedAt) >= t.SearchLag:
			index = append(index, u)
		case u.indexed != nil:
			index = append(index, u.indexed)
		}
	}
	for _, u := range t.gone {
		if now.Sub(u.deleted) < t.SearchLag {
			index = append(index, u)
		}
	}
	slices.SortFunc(index, func(x, y *user) int { return strings.Compare(x.id, y.id) })
	return index
}

func (t *Tenant) getUser(r *request) answer {
	u := t.find(r.ids[0])
	if u == nil {
		return notFound(r.ids[0], "User")
	}
	return answer{status: http.StatusOK, body: u.appendSingle(nil, r.base), etag: `W/"` + strconv.FormatInt(u.lastUpdated.UnixMilli(), 36) + `"`}
}

func (t *Tenant) listUserGroups(r *request) answer {
	u := t.find(r.ids[0])
	if u == nil {
		return notFound(r.ids[0], "User")
	}
	c := cursor{limit: len(t.groups) + 1}
	return listed(r, c, t.groups, groupID, func(g *group) bool {
		_, in := g.find(u.id)
		return !in
	}, func(b []byte, g *group) []byte { return g.append(b, r.base, -1) })
}

func groupID(g *group) string { return g.id }

func (t *Tenant) listGroups(r *request) answer {
	c, bad := r.page(10000, 10000)
	if bad != nil {
		return *bad
	}
	match := func(*group) bool { return true }
	for _, name := range []string{"filter", "search"} {
		if r.query.Has(name) {
			f, err := parseFilter(r.query.Get(name), groupFilterable)
			if err != nil {
				return failure(http.StatusBadRequest, "E0000031", "Invalid search criteria.")
			}
			match = f
		}
	}
	q := strings.ToLower(r.query.Get("q"))
	stats := strings.Contains(r.query.Get("expand"), "stats")
	a := listed(r, c, t.groups, groupID, func(g *group) bool {
		return !match(g) || !strings.HasPrefix(strings.ToLower(g.name), q)
	}, func(b []byte, g *group) []byte {
		if stats {
			return g.append(b, r.base, t.appsOf(g))
		}
		return g.append(b, r.base, -1)
	})
	if r.query.Has("q") { // recorded: no links, no paging
		a.self, a.next = nil, nil
	}
	return a
}

func (t *Tenant) appsOf(g *group) int {
	n := 0
	for _, a := range t.apps {
		if slices.Contains(a.groups, g) {
			n++
		}
	}
	return n
}

func (t *Tenant) listMembers(r *request) answer {
	g := t.findGroup(r.ids[0])
	if g == nil {
		return notFound(r.ids[0], "UserGroup")
	}
	c, bad := r.page(1000, 1000)
	if bad != nil {
		return *bad
	}
	return listed(r, c, g.members, userID, nil, func(b []byte, u *user) []byte { return u.appendListed(b, r.base) })
}

func (t *Tenant) listAppUsers(r *request) answer {
	a := t.findApp(r.ids[0])
	if a == nil {
		return notFound(r.ids[0], "AppInstance")
	}
	c, bad := r.page(50, 500)
	if bad != nil {
		return *bad
	}
	expand, q := r.query.Get("expand") == "user", strings.ToLower(r.query.Get("q"))
	return listed(r, c, t.assignments(a), func(a *assignment) string { return a.user.id },
		func(a *assignment) bool { return !strings.HasPrefix(strings.ToLower(a.name()), q) },
		func(b []byte, item *assignment) []byte { return item.append(b, a, r.base, expand) })
}

func (t *Tenant) getAppUser(r *request) answer {
	a := t.findApp(r.ids[0])
	if a == nil {
		return notFound(r.ids[0], "AppInstance")
	}
	for _, item := range t.assignments(a) {
		if item.user.id == r.ids[1] {
			return answer{status: http.StatusOK, body: item.append(nil, a, r.base, r.query.Get("expand") == "user")}
		}
	}
	return notFound(r.ids[1], "AppUser")
}

func (t *Tenant) listAppGroups(r *request) answer {
	a := t.findApp(r.ids[0])
	if a == nil {
		return notFound(r.ids[0], "AppInstance")
	}
	c, bad := r.page(20, 200)
	if bad != nil {
		return *bad
	}
	return listed(r, c, a.groups, groupID, nil, func(b []byte, g *group) []byte { return appendAppGroup(b, g, a, r.base) })
}

func (t *Tenant) getAppGroup(r *request) answer {
	a := t.findApp(r.ids[0])
	if a == nil {
		return notFound(r.ids[0], "AppInstance")
	}
	for _, g := range a.groups {
		if g.id == r.ids[1] {
			return answer{status: http.StatusOK, body: appendAppGroup(nil, g, a, r.base)}
		}
	}
	return notFound(r.ids[1], "ApplicationGroupAssignment")
}
