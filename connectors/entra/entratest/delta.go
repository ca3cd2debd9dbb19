package entratest

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// delta answers a delta query on users or groups.
func (t *Tenant) delta(r *request, k kind) answer {
	c, minimal, bad := t.deltaCursor(r, k)
	if bad != nil {
		return *bad
	}
	page := &deltaPage{tenant: t, request: r, kind: k, cursor: c, minimal: minimal, most: t.DeltaPage}
	if n := preference(r, "odata.maxpagesize"); n != "" {
		if size, err := strconv.Atoi(n); err == nil && size > 0 {
			page.most = min(size, t.DeltaPage)
		}
	}
	page.body = make([]byte, 0, 512+min(page.most*900, 256<<10))
	page.body = append(page.body, `{"@odata.context":"`+r.root+`/$metadata#`+c.Context+`","value":[`...)
	done := true
	switch {
	case r.query.Get("$deltatoken") == "latest":
	case r.faultKind() == EmptyPage:
		page.cursor.Nonce++
		done = false
	case c.First:
		done = page.first()
	default:
		done = page.later()
	}
	if r.faultKind() == RepeatItem && !done && page.items > 1 && page.cursor.Link == 0 {
		page.cursor.At--
	}
	if r.faultKind() == DuplicateItem && page.items > 0 {
		page.body = append(append(page.body, ','), page.last...)
	}
	if r.faultKind() == MissingItem && page.items > 0 {
		page.body = bytes.TrimSuffix(page.body[:len(page.body)-len(page.last)], []byte(","))
	}
	page.body = append(page.body, ']')
	next := page.cursor
	name := "@odata.nextLink"
	parameter := "$skiptoken"
	if done {
		name, parameter = "@odata.deltaLink", "$deltatoken"
		next = cursor{
			Resource: c.Resource, Selected: c.Selected, Context: c.Context, IDs: c.IDs, Epoch: t.epoch,
			Issued: t.Now().Unix(), From: c.To, Delta: true,
		}
	}
	page.body = append(page.body, `,"`+name+`":`...)
	page.body = appendString(page.body, r.link(name, r.root+"/"+c.Resource+"/delta?"+parameter+"="+next.encode()))
	page.body = append(page.body, '}')
	a := answer{status: http.StatusOK, body: page.body}
	if applied := page.applied(); applied != "" {
		a.header = http.Header{"Preference-Applied": {applied}}
	}
	return a
}

// deltaPage is one page of a delta query being written.
type deltaPage struct {
	tenant  *Tenant
	request *request
	kind    kind
	cursor  cursor
	minimal bool
	most    int
	body    []byte
	last    []byte // the last item
	items   int
	links   int
}

func (p *deltaPage) applied() string {
	var applied []string
	if p.minimal {
		applied = append(applied, "return=minimal")
	}
	if n := preference(p.request, "odata.maxpagesize"); n != "" {
		applied = append(applied, "odata.maxpagesize="+strconv.Itoa(p.most))
	}
	return strings.Join(applied, ",")
}

// item writes one item: open appends its properties, each with a comma behind it.
func (p *deltaPage) item(write func(b []byte) []byte) {
	if p.items > 0 {
		p.body = append(p.body, ',')
	}
	start := len(p.body)
	p.body = append(p.body, '{')
	p.body = write(p.body)
	p.body[len(p.body)-1] = '}'
	p.last = slices.Clip(p.body[start:])
	p.items++
}

func (p *deltaPage) removed(o *object, state State) {
	reason := "changed"
	if state == Purged {
		reason = "deleted"
	}
	p.item(func(b []byte) []byte { return append(b, `"id":"`+o.id+`","@removed":{"reason":"`+reason+`"},`...) })
}

// first writes a page of the first round, and tells whether it is the last one.
func (p *deltaPage) first() (done bool) {
	t, objects := p.tenant, p.tenant.users
	if p.kind == kindGroup {
		objects = t.groups
	}
	members := p.kind == kindGroup && p.cursor.Selected&bitRelation != 0
	for ; p.cursor.At < len(objects); p.cursor.At++ {
		o := objects[p.cursor.At]
		if p.cursor.IDs != nil && !slices.Contains(p.cursor.IDs, o.id) {
			continue
		}
		v := t.seen(o)
		if v == nil || v.state != Present && !t.RemovedAtFirst {
			continue
		}
		if p.items >= p.most || members && p.links >= t.DeltaLinks {
			return false
		}
		if v.state != Present {
			p.removed(o, v.state)
			continue
		}
		var links []link
		whole := true
		if members && !p.hidden(v) {
			links, whole = p.membersFrom(o)
		} else if p.kind == kindUser && p.cursor.Selected&bitRelation != 0 && v.manager != nil && t.present(v.manager) != nil {
			if !p.untold(o) {
				links = []link{{v.manager, true}}
			}
		}
		p.object(o, v, p.cursor.Selected, links)
		if !whole {
			return false
		}
		p.cursor.Link = 0
	}
	return true
}

// link is an object that came to another one, or left it.
type link struct {
	object *object
	added  bool
}

// membersFrom returns as many members after the cursor as the page has room for, and whether these are the last ones.
func (p *deltaPage) membersFrom(g *object) (links []link, whole bool) {
	members := p.tenant.membersOf(g)
	i, found := slices.BinarySearchFunc(members, p.cursor.Link, bySerial)
	if found {
		i++
	}
	members = members[i:]
	whole = len(members) <= p.tenant.DeltaLinks-p.links
	if !whole {
		members = members[:p.tenant.DeltaLinks-p.links]
		p.cursor.Link = members[len(members)-1].serial
	}
	links = make([]link, len(members))
	for i, m := range members {
		links[i] = link{m, true}
	}
	if whole && p.tenant.RemovedAtFirst {
		links = append(links, p.tenant.former(g)...)
	}
	return links, whole
}

// former returns who was a member of the group once, as first rounds were seen to tell.
func (t *Tenant) former(g *object) (links []link) {
	told := map[*object]bool{}
	for _, m := range t.membersOf(g) {
		told[m] = true
	}
	leave := func(m *object) {
		if !told[m] {
			told[m] = true
			links = append(links, link{m, false})
		}
	}
	for _, c := range t.log[:t.settled()] {
		if c.object == g && c.member != nil {
			leave(c.member)
		}
	}
	for _, m := range g.members {
		if v := t.seen(m); v != nil && v.state != Present {
			leave(m)
		}
	}
	return links
}

// untold tells whether delta queries keep the user's manager to themselves.
func (p *deltaPage) untold(o *object) bool {
	return p.tenant.UntoldManagers > 0 && o.serial%p.tenant.UntoldManagers == 0
}

// hidden tells whether the group hides its members from the application.
func (p *deltaPage) hidden(v *view) bool { return hidesMembers(v) && !p.request.may(MemberReadHidden) }

// object writes an object that is there, with the selected properties that were ever set.
func (p *deltaPage) object(o *object, v *view, selected set, links []link) {
	p.item(func(b []byte) []byte {
		b = v.doc.appendSet(b, p.kind.schema(), selected)
		b = append(b, `"id":"`...)
		b = append(b, o.id...)
		b = append(b, `",`...)
		if len(links) == 0 {
			return b
		}
		b = append(b, `"`+p.kind.schema().relation+`@delta":[`...)
		for _, l := range links {
			b = append(b, `{"@odata.type":"#microsoft.graph.`...)
			b = append(b, l.object.kind.name()...)
			b = append(b, `","id":"`...)
			b = append(b, l.object.id...)
			if l.added {
				b = append(b, `"},`...)
			} else {
				b = append(b, `","@removed":{"reason":"deleted"}},`...)
			}
		}
		b[len(b)-1] = ']'
		return append(b, ',')
	})
	p.links += len(links)
}

// changed is an object of which the round has something to say.
type changed struct {
	object *object
	what   set
	boss   *object // before the round
	bossed bool
	links  []link // in the order of the log, each member once
}

// collect reads the round's part of the log.
func (p *deltaPage) collect() []*changed {
	var list []*changed
	byObject := map[*object]*changed{}
	type pair struct{ group, member *object }
	at := map[pair]int{}
	for _, entry := range p.tenant.log[p.cursor.From:p.cursor.To] {
		if entry.object.kind != p.kind || p.cursor.IDs != nil && !slices.Contains(p.cursor.IDs, entry.object.id) {
			continue
		}
		c := byObject[entry.object]
		if c == nil {
			c = &changed{object: entry.object}
			byObject[entry.object] = c
			list = append(list, c)
		}
		c.what |= entry.what
		if p.kind == kindUser && entry.what&bitRelation != 0 && !c.bossed {
			c.boss, c.bossed = entry.manager, true
		}
		if entry.member != nil {
			key := pair{entry.object, entry.member}
			if i, again := at[key]; again {
				c.links[i].added = entry.added
			} else {
				at[key] = len(c.links)
				c.links = append(c.links, link{entry.member, entry.added})
			}
		}
	}
	return list
}

// later writes a page of a round after the first one, and tells whether it is the last one.
func (p *deltaPage) later() (done bool) {
	t, list := p.tenant, p.collect()
	for ; p.cursor.At < len(list); p.cursor.At++ {
		c := list[p.cursor.At]
		v := t.seen(c.object)
		if v == nil || c.what&p.cursor.Selected == 0 {
			continue
		}
		if p.items >= p.most || p.links >= t.DeltaLinks {
			return false
		}
		if v.state != Present {
			p.removed(c.object, v.state)
			continue
		}
		selected := p.cursor.Selected
		if p.minimal {
			selected &= c.what
		}
		links, whole := p.linksOf(c, v)
		p.object(c.object, v, selected, links)
		if !whole {
			return false
		}
		p.cursor.Link = 0
	}
	return true
}

// linksOf returns what to say of the changed object's manager or members, as far as the page has room, and whether
// that is all.
func (p *deltaPage) linksOf(c *changed, v *view) (links []link, whole bool) {
	switch {
	case p.cursor.Selected&c.what&bitRelation == 0:
		return nil, true
	case p.kind == kindGroup:
		if p.hidden(v) {
			return nil, true
		}
		links = c.links[min(p.cursor.Link, len(c.links)):]
		if room := p.tenant.DeltaLinks - p.links; len(links) > room {
			p.cursor.Link += room
			return links[:room], false
		}
		return links, true
	}
	if p.untold(c.object) {
		return nil, true
	}
	now := v.manager
	if now != nil && p.tenant.present(now) == nil {
		now = nil
	}
	if c.boss != nil && c.boss != now {
		links = append(links, link{c.boss, false})
	}
	if now != nil {
		links = append(links, link{now, true})
	}
	return links, true
}
