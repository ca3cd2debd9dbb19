package oktatest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// event is one entry of the system log.
type event struct {
	serial    int
	published time.Time
	stored    time.Time // published, or later: see Tenant.LogDelay
	kind      string
	targets   []target
}

type target struct{ id, kind, name string }

func (u *user) target() target  { return target{u.id, "User", u.profile.text("login")} }
func (g *group) target() target { return target{g.id, "UserGroup", g.name} }
func (a *app) target() target   { return target{a.id, "AppInstance", a.label} }
func (a *app) user(u *user) target {
	return target{"0ua" + u.id[3:], "AppUser", u.profile.text("login")}
}
func (e event) cursor() string { return fmt.Sprintf("%d_%d", e.published.UnixMilli(), e.serial) }
func (e event) outcome() []byte {
	return []byte(`,"severity":"INFO","outcome":{"result":"SUCCESS","reason":null}`)
}
func (t *Tenant) nextEvent() int { return len(t.events) + 1 }

// record writes an entry under the tenant's lock.
func (t *Tenant) record(kind string, targets ...target) {
	now := t.now()
	t.events = append(t.events, event{serial: t.nextEvent(), published: now, stored: now.Add(t.LogDelay), kind: kind, targets: targets})
}

// Tell writes an event about objects, by id, into the system log, whether it happened or not.
func (t *Tenant) Tell(eventType string, ids ...string) {
	defer t.lock()()
	kinds := map[string]string{"00u": "User", "00g": "UserGroup", "0oa": "AppInstance"}
	var targets []target
	for _, id := range ids {
		targets = append(targets, target{id, kinds[id[:3]], id})
	}
	t.record(eventType, targets...)
}

// ForgetEvents empties the system log, as after 90 days in which nothing happened.
func (t *Tenant) ForgetEvents() {
	defer t.lock()()
	t.events = nil
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
	case "target.id": // of any target
		return func(e event) any {
			ids := make([]string, len(e.targets))
			for i, t := range e.targets {
				ids[i] = t.id
			}
			return ids
		}
	}
	return nil
}}

// listLogs answers the system log in ascending order. A request without `until` polls: it goes by when events were stored,
// and there is always a next link. One with `until` is bounded, and goes by when they were published.
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
	chosen, last, more := t.choice(r.query.Get("after"), since, until, limit, match)
	if r.fault != nil {
		chosen = drift(r.fault.Kind, chosen)
	}
	body := []byte{'['}
	for i, e := range chosen {
		if i > 0 {
			body = append(body, ',')
		}
		body = e.append(body)
	}
	if until.IsZero() && last == "" {
		last = fmt.Sprintf("%d_%d", t.now().UnixMilli(), len(t.events))
	}
	if !until.IsZero() && !more {
		last = ""
	}
	a := answer{status: http.StatusOK, body: append(body, ']')}
	a.self, a.next = r.links(limit, last)
	return a
}

// choice returns the events of one page, the cursor after them, and whether there are more.
func (t *Tenant) choice(after string, since, until time.Time, limit int, match func(event) bool) (chosen []event, last string, more bool) {
	events, now := t.events, t.now()
	byStored := func(x, y event) int { return x.stored.Compare(y.stored) }
	if until.IsZero() && !slices.IsSortedFunc(events, byStored) {
		events = slices.Clone(events)
		slices.SortStableFunc(events, byStored)
	}
	begun := after == ""
	last = after
	for _, e := range events {
		switch {
		case !begun:
			begun = e.cursor() == after
			continue
		case e.stored.After(now) || !match(e):
			continue
		case until.IsZero() && e.stored.Before(since), !until.IsZero() && (e.published.Before(since) || !e.published.Before(until)):
			continue
		case len(chosen) == limit:
			return chosen, last, true
		}
		chosen, last = append(chosen, e), e.cursor()
	}
	return chosen, last, false
}
