package oktatest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// event is one entry of the system log.
type event struct {
	serial    int
	published time.Time
	kind      string
	targets   []target
}

type target struct{ id, kind, name string }

func (u *user) target() target  { return target{u.id, "User", u.profile.text("login")} }
func (g *group) target() target { return target{g.id, "UserGroup", g.name} }
func (a *app) target() target   { return target{a.id, "AppInstance", a.label} }
func (e event) cursor() string  { return fmt.Sprintf("%d_%d", e.published.UnixMilli(), e.serial) }
func (e event) outcome() []byte {
	return []byte(`,"severity":"INFO","outcome":{"result":"SUCCESS","reason":null}`)
}
func (t *Tenant) nextEvent() int { return len(t.events) + 1 }

// record writes an entry under the tenant's lock.
func (t *Tenant) record(kind string, targets ...target) {
	t.events = append(t.events, event{serial: t.nextEvent(), published: t.now(), kind: kind, targets: targets})
}

func (e event) append(b []byte) []byte {
	b = append(b, `{"actor":{"id":"00uadmin000000000000","type":"User","alternateId":"admin@acme.test","displayName":"Admin"},"eventType":"`+e.kind+`","published":`...)
	b = appendTime(b, e.published)
	b = append(b, e.outcome()...)
	b = append(b, fmt.Sprintf(`,"uuid":"%08x-0000-11ef-9d1f-%012x","version":"0","target":[`, e.serial, e.serial)...)
	for i, t := range e.targets {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`+t.id+`","type":"`+t.kind+`","alternateId":`...)
		b = appendString(b, t.name)
		b = append(b, `,"displayName":`...)
		b = append(appendString(b, t.name), '}')
	}
	return append(b, "]}"...)
}

var eventFilterable = properties[event]{ops: []string{"eq", "gt", "ge", "lt", "le", "sw"}, find: func(name string) property[event] {
	switch name {
	case "eventType":
		return func(e event) any { return e.kind }
	case "published":
		return func(e event) any { return e.published }
	case "target.id":
		return func(e event) any {
			if len(e.targets) > 0 {
				return e.targets[0].id
			}
			return ""
		}
	}
	return nil
}}

// listLogs answers the system log in ascending order. A request without `until` polls: there is always a next link.
func (t *Tenant) listLogs(r *request) answer {
	limit := 100
	if s := r.query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return failure(http.StatusBadRequest, "E0000001", "Api validation failed: limit")
		}
		limit = min(n, 1000)
	}
	match := func(event) bool { return true }
	if r.query.Has("filter") {
		f, err := parseFilter(r.query.Get("filter"), eventFilterable)
		if err != nil {
			return failure(http.StatusBadRequest, "E0000031", "Invalid search criteria.")
		}
		match = f
	}
	since, until := time.Time{}, time.Time{}
	for name, at := range map[string]*time.Time{"since": &since, "until": &until} {
		if s := r.query.Get(name); s != "" {
			parsed, err := time.Parse(time.RFC3339, s)
			if err != nil {
				return failure(http.StatusBadRequest, "E0000001", "Api validation failed: "+name)
			}
			*at = parsed
		}
	}
	after := 0
	if _, serial, ok := strings.Cut(r.query.Get("after"), "_"); ok {
		after, _ = strconv.Atoi(serial)
	}
	body := []byte{'['}
	n, more, last := 0, false, r.query.Get("after")
	for _, e := range t.events[min(after, len(t.events)):] {
		if e.published.Before(since) || !until.IsZero() && !e.published.Before(until) || !match(e) {
			continue
		}
		if more = n == limit; more {
			break
		}
		if n > 0 {
			body = append(body, ',')
		}
		body = e.append(body)
		last = e.cursor()
		n++
	}
	a := answer{status: http.StatusOK, body: append(body, ']')}
	if until.IsZero() && last == "" {
		last = fmt.Sprintf("%d_%d", t.now().UnixMilli(), len(t.events))
	}
	if !until.IsZero() && !more {
		last = ""
	}
	a.self, a.next = r.links(limit, last)
	return a
}
