package entratest

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// page reads $top and $skiptoken.
func (r *request) page() (after, size int, bad *answer) {
	size = defaultPage
	if s := r.query.Get("$top"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostOnPage {
			a := failure(http.StatusBadRequest, "Request_UnsupportedQuery", "Invalid page size specified: '"+s+"'. Must be between 1 and 999 inclusive.")
			return 0, 0, &a
		}
		size = n
	}
	if s := r.query.Get("$skiptoken"); s != "" {
		serial, _, _ := strings.Cut(strings.TrimPrefix(s, skipPrefix), "~")
		n, err := strconv.ParseInt(serial, 36, 64)
		if !strings.HasPrefix(s, skipPrefix) || err != nil {
			a := failure(http.StatusBadRequest, "Directory_ExpiredPageToken", "The specified page token value has expired and can no longer be included in your request.")
			return 0, 0, &a
		}
		after = int(n)
	}
	return after, size, nil
}

const skipPrefix = "RFNwdAIAAQAAAD"

// nextLink returns the link to what comes after the serial number: it carries all parameters.
func (r *request) nextLink(after int) string {
	query := url.Values{}
	for name, values := range r.query {
		query[name] = values
	}
	token := skipPrefix + strconv.FormatInt(int64(after), 36)
	if r.faultKind() == EmptyPage { // goes on where this page did, by another link
		token += "~" + strconv.FormatInt(r.number, 36)
	}
	query.Set("$skiptoken", token)
	text := strings.ReplaceAll(query.Encode(), "%24", "$")
	return r.link("@odata.nextLink", r.base+r.URL.EscapedPath()+"?"+text)
}

// listed writes a page of the items, which are in the order of their serial numbers.
func listed[T any](r *request, context string, items []T, serial func(T) int, keep func(T) bool, write func([]byte, T) []byte) answer {
	after, size, bad := r.page()
	if bad != nil {
		return *bad
	}
	start, found := slices.BinarySearchFunc(items, after, func(item T, after int) int { return serial(item) - after })
	if found {
		start++
	}
	if r.faultKind() == EmptyPage {
		size = 0
	}
	body := make([]byte, 0, 512+min(size, len(items)-start)*700)
	body = append(body, `{"@odata.context":"`+r.root+`/$metadata#`+context+`",`...)
	if r.query.Get("$count") == "true" && after == 0 {
		n := 0
		for _, item := range items {
			if keep == nil || keep(item) {
				n++
			}
		}
		body = append(body, `"@odata.count":`+strconv.Itoa(n)+`,`...)
	}
	body = append(body, `"value":[`...)
	n, last, more := 0, after, false
	var item []byte
	for _, one := range items[start:] {
		if keep != nil && !keep(one) {
			continue
		}
		if more = n == size; more {
			break
		}
		if n > 0 {
			body = append(body, ',')
		}
		at := len(body)
		body = write(body, one)
		item = body[at:]
		last = serial(one)
		n++
	}
	if r.faultKind() == DuplicateItem && n > 0 {
		body = append(append(body, ','), item...)
	}
	if r.faultKind() == RepeatItem && n > 1 {
		last--
	}
	if r.faultKind() == MissingItem && n > 0 {
		body = bytes.TrimSuffix(body[:len(body)-len(item)], []byte(","))
	}
	body = append(body, ']')
	if more {
		body = append(body, `,"@odata.nextLink":`...)
		body = appendString(body, r.nextLink(last))
	}
	return answer{status: http.StatusOK, body: append(body, '}')}
}

func serialOf(o *object) int { return o.serial }

// list answers GET /users and GET /groups.
func (t *Tenant) list(r *request, k kind) answer {
	selected, context, bad := t.selection(r, k.schema(), k.schema().defaults)
	if bad != nil {
		return *bad
	}
	match, bad := parseFilter(r, k)
	if bad != nil {
		return *bad
	}
	objects := t.users
	if k == kindGroup {
		objects = t.groups
	}
	expand := expandsManager(r)
	return listed(r, k.name()+"s"+context, objects, serialOf, func(o *object) bool {
		v := t.present(o)
		return v != nil && (match == nil || match(o, v))
	}, func(b []byte, o *object) []byte { return t.appendObject(b, r, o, t.present(o), selected, "", expand) })
}

func expandsManager(r *request) bool {
	name, _, _ := strings.Cut(r.query.Get("$expand"), "(")
	return strings.EqualFold(name, "manager")
}

// appendObject writes an object as reads show it, with its type unless that is "".
func (t *Tenant) appendObject(b []byte, r *request, o *object, v *view, selected set, typed string, expand bool) []byte {
	b = append(b, '{')
	if typed != "" {
		b = append(b, `"@odata.type":"#microsoft.graph.`...)
		b = append(b, typed...)
		b = append(b, `",`...)
	}
	b = v.doc.appendAll(b, o.kind.schema(), selected)
	b = append(b, `"id":"`...)
	b = append(b, o.id...)
	b = append(b, '"')
	if expand && v.manager != nil {
		if boss := t.present(v.manager); boss != nil {
			b = append(b, `,"manager":`...)
			b = t.appendObject(b, r, v.manager, boss, userSchema.defaults, "user", false)
		}
	}
	return append(b, '}')
}

// appendMember writes a member: of one whose type the application may not read, only id and type are told.
func (t *Tenant) appendMember(b []byte, r *request, o *object, selected set, typed bool) []byte {
	v := t.present(o)
	if !r.may(readers[o.kind]...) {
		v = &view{}
	}
	name := ""
	if typed {
		name = o.kind.name()
	}
	return t.appendObject(b, r, o, v, selected, name, false)
}

// readers lists, for a kind, the permissions of which one lets its properties be read.
var readers = [...][]string{
	kindUser:             {UserReadAll},
	kindGroup:            {GroupReadAll, GroupMemberReadAll},
	kindDevice:           {DeviceReadAll},
	kindContact:          {OrgContactReadAll},
	kindServicePrincipal: {ApplicationReadAll},
}

// findUser returns the user with the id or user principal name, as far as reads see it.
func (t *Tenant) findUser(key string) (*object, *view) {
	o := t.objects[key]
	if o == nil {
		o = t.upns[strings.ToLower(key)]
	}
	if o == nil || o.kind != kindUser {
		return nil, nil
	}
	return o, t.present(o)
}

// findGroup returns the group with the id, as far as reads see it.
func (t *Tenant) findGroup(id string) (*object, *view) {
	o := t.objects[id]
	if o == nil || o.kind != kindGroup {
		return nil, nil
	}
	return o, t.present(o)
}

// single answers with one object.
func (t *Tenant) single(r *request, o *object, v *view, set string) answer {
	s := o.kind.schema()
	selected, context, bad := t.selection(r, s, s.defaults)
	if bad != nil {
		return *bad
	}
	b := append(make([]byte, 0, 2048), `{"@odata.context":"`+r.root+`/$metadata#`+set+context+`/$entity",`...)
	b = append(b, t.appendObject(nil, r, o, v, selected, "", expandsManager(r))[1:]...)
	return answer{status: http.StatusOK, body: b}
}

func (t *Tenant) getUser(r *request) answer {
	o, v := t.findUser(r.id)
	if v == nil {
		return notFound(r.id)
	}
	return t.single(r, o, v, "users")
}

func (t *Tenant) getManager(r *request) answer {
	_, v := t.findUser(r.id)
	if v == nil {
		return notFound(r.id)
	}
	if v.manager == nil || t.present(v.manager) == nil {
		return notFound("manager")
	}
	selected, _, bad := t.selection(r, userSchema, userSchema.defaults)
	if bad != nil {
		return *bad
	}
	b := []byte(`{"@odata.context":"` + r.root + `/$metadata#directoryObjects/$entity",`)
	b = append(b, t.appendObject(nil, r, v.manager, t.present(v.manager), selected, "user", false)[1:]...)
	return answer{status: http.StatusOK, body: b}
}

func (t *Tenant) getGroup(r *request) answer {
	o, v := t.findGroup(r.id)
	if v == nil {
		return notFound(r.id)
	}
	return t.single(r, o, v, "groups")
}

// hidesMembers tells whether a group hides its members.
func hidesMembers(v *view) bool {
	return v.doc.text(groupSchema.numbers["visibility"]) == "HiddenMembership"
}

func (t *Tenant) listMembers(r *request) answer {
	g, v := t.findGroup(r.id)
	if v == nil {
		return notFound(r.id)
	}
	if hidesMembers(v) && !r.may(MemberReadHidden) {
		return failure(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	members := t.membersOf(g)
	if r.endpoint == ListTransitiveMembers {
		members = t.closure(g)
	}
	return t.listObjects(r, members)
}

// closure returns direct and indirect members by serial number. Groups may be members of each other.
func (t *Tenant) closure(g *object) []*object {
	seen := map[*object]bool{g: true}
	var all []*object
	for open := []*object{g}; len(open) > 0; {
		next := open[len(open)-1]
		open = open[:len(open)-1]
		for _, m := range t.membersOf(next) {
			if seen[m] {
				continue
			}
			seen[m] = true
			all = append(all, m)
			if m.kind == kindGroup {
				open = append(open, m)
			}
		}
	}
	slices.SortFunc(all, func(a, b *object) int { return a.serial - b.serial })
	return all
}

// listObjects answers with objects of several kinds, or of the kind that the path ends in.
func (t *Tenant) listObjects(r *request, objects []*object) answer {
	selected := map[kind]set{}
	known := false
	for k := kindUser; k <= kindServicePrincipal; k++ {
		r.typeOf = k.name()
		s, _, bad := t.selection(r, k.schema(), k.schema().defaults)
		if bad != nil { // a name that only another kind has
			continue
		}
		selected[k], known = s, true
	}
	if !known {
		r.typeOf = "directoryObject"
		_, _, bad := t.selection(r, &schema{}, 0)
		if bad != nil {
			return *bad
		}
	}
	var keep func(*object) bool
	context := "directoryObjects"
	if r.cast != "" {
		keep = func(o *object) bool { return o.kind.name() == r.cast }
		context = r.cast + "s"
	}
	return listed(r, context, objects, serialOf, keep, func(b []byte, o *object) []byte {
		return t.appendMember(b, r, o, selected[o.kind], r.cast == "")
	})
}

func (t *Tenant) listMemberOf(r *request) answer {
	o, v := t.findUser(r.id)
	if v == nil {
		return notFound(r.id)
	}
	var groups []*object
	for _, g := range t.groups {
		if t.present(g) == nil {
			continue
		}
		members := t.membersOf(g)
		if r.endpoint == ListTransitiveMemberOf {
			members = t.closure(g)
		}
		if _, in := slices.BinarySearchFunc(members, o.serial, bySerial); in {
			groups = append(groups, g)
		}
	}
	return t.listObjects(r, groups)
}

func (t *Tenant) listDeleted(r *request, k kind) answer {
	r.typeOf = k.name()
	objects := t.users
	if k == kindGroup {
		objects = t.groups
	}
	selected, context, bad := t.selection(r, k.schema(), k.schema().defaults|k.schema().bit("deletedDateTime"))
	if bad != nil {
		return *bad
	}
	return listed(r, k.name()+"s"+context, objects, serialOf, func(o *object) bool {
		v := t.seen(o)
		return v != nil && v.state == Deleted
	}, func(b []byte, o *object) []byte { return t.appendObject(b, r, o, t.seen(o), selected, "", false) })
}

func (t *Tenant) getDeleted(r *request) answer {
	o := t.objects[r.id]
	if o == nil {
		return notFound(r.id)
	}
	v := t.seen(o)
	if v == nil || v.state != Deleted {
		return notFound(r.id)
	}
	s := o.kind.schema()
	b := []byte(`{"@odata.context":"` + r.root + `/$metadata#directoryObjects/$entity",`)
	b = append(b, t.appendObject(nil, r, o, v, s.defaults|s.bit("deletedDateTime"), o.kind.name(), false)[1:]...)
	return answer{status: http.StatusOK, body: b}
}

func (t *Tenant) getOrganization(r *request) answer {
	b := []byte(`{"@odata.context":"` + r.root + `/$metadata#organization","value":[{"id":"` + t.TenantID + `","deletedDateTime":null,"businessPhones":[],"displayName":"Acme","tenantType":"AAD","verifiedDomains":[{"capabilities":"Email, OfficeCommunicationsOnline","isDefault":true,"isInitial":true,"name":`)
	b = appendString(b, t.Domain)
	return answer{status: http.StatusOK, body: append(b, `,"type":"Managed"}]}]}`...)}
}
