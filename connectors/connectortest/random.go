package connectortest

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var randomCases = []namedCase{
	{"leave what the source has", true, followAtRandom},
}

// followAtRandom changes a source at random, asks for the changes now and then, and wants what is held to be what the
// source has after each time.
func followAtRandom(t *testing.T, h Harness) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(r, h)
		for range rapid.IntRange(0, 6).Draw(r, "people") {
			w.hire("")
		}
		for range rapid.IntRange(0, 3).Draw(r, "groups") {
			w.drawGroup(r)
		}
		for range rapid.IntRange(0, 8).Draw(r, "memberships") {
			w.drawMembership(r)
		}
		k := track(r, w, rapid.SampledFrom([]Scope{whole, narrow}).Draw(r, "scope"))
		for range rapid.IntRange(1, 4).Draw(r, "rounds") {
			for range rapid.IntRange(1, 5).Draw(r, "changes") {
				rapid.SampledFrom(steps).Draw(r, "step").take(w, r)
				w.Advance(time.Duration(rapid.SampledFrom([]int{0, 1, 60, 3600}).Draw(r, "seconds")) * time.Second)
			}
			k.follow(r)
		}
	})
}

// step is one change of a source. It does nothing where there is nothing to do it to.
type step struct {
	name string
	take func(*world, *rapid.T)
}

// String prints the step's name.
func (s step) String() string { return s.name }

// steps are what a source is changed by at random, what happens often more than once.
var steps = []step{
	{"hire", func(w *world, _ *rapid.T) { w.hire("") }},
	{"hire into a group", func(w *world, r *rapid.T) {
		if group, ok := w.drawAnyGroup(r); ok {
			w.join(group, w.hire(""))
		}
	}},
	{"fire", onPerson(func(w *world, _ *rapid.T, id string) { w.fire(id) })},
	{"fire and hire again", onPerson(func(w *world, r *rapid.T, id string) {
		name := w.people[id].UserName
		w.fire(id)
		again := w.hire(name)
		if group, ok := w.drawAnyGroup(r); ok {
			w.join(group, again)
		}
	})},
	{"change the title", onPerson(func(w *world, r *rapid.T, id string) {
		title := rapid.SampledFrom([]string{"", "Captain", "Admiral"}).Draw(r, "title")
		w.change(id, func(p *Person) { p.Title = title })
	})},
	{"change the user name", onPerson(func(w *world, _ *rapid.T, id string) {
		name := w.newcomer()
		w.change(id, func(p *Person) { p.UserName = name })
	})},
	{"disable or enable", onPerson(func(w *world, _ *rapid.T, id string) { w.change(id, func(p *Person) { p.Disabled = !p.Disabled }) })},
	{"delete softly", onPerson(func(w *world, _ *rapid.T, id string) { w.softDeleteIfSo(id) })},
	{"restore", func(w *world, r *rapid.T) {
		if id, ok := draw(r, "away", w.present(true)); ok {
			w.restore(id)
		}
	}},
	{"found a group", func(w *world, r *rapid.T) { w.drawGroup(r) }},
	{"rename a group", onGroup(func(w *world, r *rapid.T, id string) { w.rename(id, w.groupName(drawPrefix(r))) })},
	{"dissolve a group", onGroup(func(w *world, _ *rapid.T, id string) { w.dissolve(id) })},
	{"join or leave", func(w *world, r *rapid.T) { w.drawMembership(r) }},
	{"join or leave", func(w *world, r *rapid.T) { w.drawMembership(r) }},
	{"join or leave", func(w *world, r *rapid.T) { w.drawMembership(r) }},
	{"nothing", func(*world, *rapid.T) {}},
}

func onPerson(change func(*world, *rapid.T, string)) func(*world, *rapid.T) {
	return func(w *world, r *rapid.T) {
		if id, ok := draw(r, "person", w.present(false)); ok {
			change(w, r, id)
		}
	}
}

func onGroup(change func(*world, *rapid.T, string)) func(*world, *rapid.T) {
	return func(w *world, r *rapid.T) {
		if id, ok := w.drawAnyGroup(r); ok {
			change(w, r, id)
		}
	}
}

// draw draws one of the ids, if there is any.
func draw(r *rapid.T, what string, ids []string) (string, bool) {
	if len(ids) == 0 {
		return "", false
	}
	return ids[rapid.IntRange(0, len(ids)-1).Draw(r, what)], true
}

// present returns the people who are there, or those who are away, in the order of ids.
func (w *world) present(away bool) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(w.people)) {
		if w.people[id].away == away {
			ids = append(ids, id)
		}
	}
	return ids
}

func (w *world) drawAnyGroup(r *rapid.T) (string, bool) {
	return draw(r, "group", slices.Sorted(maps.Keys(w.groups)))
}

func drawPrefix(r *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "out-"}).Draw(r, "prefix")
}

func (w *world) drawGroup(r *rapid.T) { w.found(w.groupName(drawPrefix(r))) }

// drawMembership begins a membership, or ends one.
func (w *world) drawMembership(r *rapid.T) {
	group, ok := w.drawAnyGroup(r)
	if !ok {
		return
	}
	person, ok := draw(r, "member", w.present(false))
	if !ok {
		return
	}
	if w.groups[group].members[person] {
		w.leave(group, person)
	} else {
		w.join(group, person)
	}
}
