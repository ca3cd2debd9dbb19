package connectortest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

var personCases = []namedCase{
	{"is read by id, and by user name without case", false, personByName},
	{"states the same as in a full pull", false, personAsInFull},
	{"is not found only where the source says so", false, personNotFound},
	{"out of scope is not found", false, personOutOfScope},
	{"is neither found nor not found when an answer goes wrong", false, personWithFaults},
}

var groupCases = []namedCase{
	{"is read by id and by display name, with its members", false, groupByName},
	{"is not found only where the source says so", false, groupNotFound},
	{"out of scope is not found", false, groupOutOfScope},
	{"is neither listed nor not found when an answer goes wrong", false, groupWithFaults},
}

func personByName(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, _ := w.populate()
	c := w.connect(t, whole)
	for _, id := range []string{people[0], people[3]} { // one is disabled
		name := w.people[id].UserName
		for _, key := range []string{id, name, strings.ToUpper(name)} {
			r, err := c.User(t.Context(), key)
			if err != nil || r.SourceID != id || r.ReadAt.IsZero() {
				t.Errorf("User(%s) = %+v, %v, want the person %s", key, r, err, id)
				continue
			}
			if got, want := describeRecord(&r), w.directory(whole).People[id]; got != want {
				t.Errorf("User(%s) = %s, want %s", key, got, want)
			}
		}
	}
	if r, err := c.User(t.Context(), people[3]); err == nil && r.Status != identity.StatusInactive {
		t.Errorf("somebody disabled has the status %s, want %s", r.Status, identity.StatusInactive)
	}
}

func personAsInFull(t *testing.T, h Harness) {
	for _, scope := range []Scope{whole, narrow} {
		w := newWorld(t, h)
		w.populate()
		c := w.connect(t, scope)
		s := collect(c.Full(t.Context(), ""))
		for id, full := range s.people {
			r, err := c.User(t.Context(), id)
			if err != nil || r.Fingerprint() != full.Fingerprint() {
				t.Errorf("User(%s): %v (-full +user):\n%s", id, err, cmp.Diff(full, r))
			}
		}
	}
}

func personNotFound(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, _ := w.populate()
	name := w.people[people[0]].UserName
	w.fire(people[0])
	c := w.connect(t, whole)
	for _, key := range []string{people[0], name, "nobody@acme.test"} {
		if r, err := c.User(t.Context(), key); !errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("User(%s), who was deleted or never was = %+v, %v, want ErrNotFound", key, r, err)
		}
	}
	// What cannot be the name of anybody reaches nothing else, such as the list of all.
	for _, key := range []string{"", ".", "..", "/", "?", "a/../b", "me"} {
		if r, err := c.User(t.Context(), key); err == nil {
			t.Errorf("User(%q) = %+v, want an error", key, r)
		}
	}
	if _, ok := w.Source.(SoftDeleter); !ok {
		return
	}
	w.softDelete(people[1])
	if r, err := c.User(t.Context(), people[1]); !errors.Is(err, connectors.ErrNotFound) && (err != nil || r.Status == identity.StatusActive) {
		t.Errorf("User(%s), who was deleted softly = %+v, %v, want ErrNotFound or a status without access", people[1], r, err)
	}
}

func personOutOfScope(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.populate()
	c, in := w.connect(t, narrow), w.directory(narrow).People
	for id := range w.people {
		_, err := c.User(t.Context(), id)
		if _, ok := in[id]; (err == nil) != ok || !ok && !errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("User(%s): %v, in scope: %t", id, err, ok)
		}
	}
}

func personWithFaults(t *testing.T, h Harness) {
	for _, f := range h.faults() {
		if f.repeats || f.empty {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, h)
			people, _ := w.populate()
			w.fire(people[0])
			// One who is there, one who is not, and one who is there and out of scope: the fault tells of none of them.
			for _, id := range []string{people[1], people[0], people[11]} {
				read := func() (identity.Record, error) { return w.connect(t, narrow).User(t.Context(), id) }
				w.line.reset()
				_, _ = read()
				sent, _ := w.line.requests()
				for i := range sent {
					w.line.arm(f, i, -1)
					r, err := read()
					if w.line.broken() == 0 {
						continue
					}
					if err == nil || errors.Is(err, connectors.ErrNotFound) {
						t.Errorf("with request %d of %q broken: User = %+v, %v, want another error", i+1, sent, r, err)
					}
					if secret := leak(err, h.Secrets); secret != "" {
						t.Errorf("the error tells a secret: %v", err)
					}
				}
			}
		})
	}
}

// wantGroup checks that one group was stated as it is.
func wantGroup(t *testing.T, s *stated, id string, want directory) {
	t.Helper()
	if s.err != nil {
		t.Errorf("Group(%s): %v", id, s.err)
		return
	}
	for _, wrong := range s.wrong {
		t.Errorf("Group(%s): %s", id, wrong)
	}
	if g, ok := s.groups[id]; !ok || len(s.groups) != 1 || g.DisplayName != want.Groups[id] {
		t.Errorf("Group(%s) states %+v, want %q", id, s.groups, want.Groups[id])
	}
	if !s.last[id] {
		t.Errorf("Group(%s): the members have no last part", id)
	}
	if diff := cmp.Diff(want.Members[id], want.known(s.members[id])); diff != "" {
		t.Errorf("Group(%s): members (-source +stated):\n%s", id, diff)
	}
}

func groupByName(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.populate()
	c, want := w.connect(t, whole), w.directory(whole)
	full := collect(c.Full(t.Context(), ""))
	for id, name := range want.Groups {
		s := collect(c.Group(t.Context(), id))
		wantGroup(t, s, id, want)
		wantGroup(t, collect(c.Group(t.Context(), name)), id, want)
		one, all := s.groups[id], full.groups[id]
		if one.Fingerprint() != all.Fingerprint() {
			t.Errorf("Group(%s) states %+v, and Full %+v", id, one, all)
		}
	}
}

func groupNotFound(t *testing.T, h Harness) {
	w := newWorld(t, h)
	_, groups := w.populate()
	name := w.groups[groups[0]].name
	w.dissolve(groups[0])
	c := w.connect(t, whole)
	for _, key := range []string{groups[0], name, "Never Heard Of"} {
		if s := collect(c.Group(t.Context(), key)); !errors.Is(s.err, connectors.ErrNotFound) || len(s.groups) > 0 {
			t.Errorf("Group(%s), which was deleted or never was: %+v, %v, want ErrNotFound", key, s.groups, s.err)
		}
	}
}

func groupOutOfScope(t *testing.T, h Harness) {
	w := newWorld(t, h)
	_, groups := w.populate()
	c, want := w.connect(t, narrow), w.directory(narrow)
	for _, id := range groups {
		s := collect(c.Group(t.Context(), id))
		if _, ok := want.Groups[id]; ok {
			wantGroup(t, s, id, want)
		} else if !errors.Is(s.err, connectors.ErrNotFound) {
			t.Errorf("Group(%s), which is out of scope: %+v, %v, want ErrNotFound", id, s.groups, s.err)
		}
	}
}

func groupWithFaults(t *testing.T, h Harness) {
	for _, f := range h.faults() {
		if f.empty {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, h)
			_, groups := w.populate()
			w.dissolve(groups[4])
			for _, id := range []string{groups[0], groups[4], "Two Of Them"} {
				read := func() *stated { return collect(w.connect(t, whole).Group(t.Context(), id)) }
				w.line.reset()
				read()
				sent, _ := w.line.requests()
				for i := range sent {
					w.line.arm(f, i, -1)
					s := read()
					if w.line.broken() == 0 {
						continue
					}
					if s.err == nil || errors.Is(s.err, connectors.ErrNotFound) || len(s.last) > 0 && s.last[id] {
						t.Errorf("with request %d of %q broken: Group ends with %v, last part stated: %v, want another error and none", i+1, sent, s.err, s.last)
					}
					if secret := leak(s.err, h.Secrets); secret != "" {
						t.Errorf("the error tells a secret: %v", s.err)
					}
				}
			}
		})
	}
}

var checkCases = []namedCase{
	{"says that all is well", false, checkIsWell},
	{"names what is wrong, and what to do", false, checkNames},
}

func checkIsWell(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.populate()
	report, err := w.connect(t, whole).Check(t.Context())
	if err != nil || !report.OK() || len(report.Items) == 0 {
		t.Errorf("Check = %+v, %v, want all in order", report, err)
	}
	for _, item := range report.Items {
		if item.Name == "" || item.Remedy != "" {
			t.Errorf("Check: item %+v, want a name and nothing to do", item)
		}
	}
}

func checkNames(t *testing.T, h Harness) {
	for _, f := range h.faults() {
		if f.repeats || f.subtle {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, h)
			w.populate()
			w.line.arm(f, 0, -1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			report, err := w.connect(t, whole).Check(ctx)
			if err == nil && report.OK() {
				t.Fatalf("Check = %+v, want something to be wrong", report)
			}
			if secret := leak(err, h.Secrets) + leak(fmt.Errorf("%+v", report), h.Secrets); secret != "" {
				t.Errorf("the report tells a secret: %+v, %v", report, err)
			}
			for _, item := range report.Items {
				if !item.OK && (item.Name == "" || item.Detail == "" || item.Remedy == "") {
					t.Errorf("item %+v, want a name, what was found and what to do", item)
				}
			}
		})
	}
}

func keys(m map[string]bool) func(func(string) bool) {
	return slices.Values(slices.Sorted(maps.Keys(m)))
}

// newcomer returns a user name that nobody has.
func (w *world) newcomer() string {
	w.made++
	return fmt.Sprintf("newcomer%d@acme.test", w.made)
}
