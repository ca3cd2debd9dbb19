package connectortest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
)

var fullCases = []namedCase{
	{"lists everything once and proves that it did", false, fullListsEverything},
	{"lists what is in scope", false, fullListsScope},
	{"of an empty directory is complete", false, fullOfNobody},
	{"leaves out who was deleted, disabled softly or not", false, fullAfterDeleting},
	{"goes on after any page that says how", false, fullResumes},
	{"counts what it sends", false, fullCounts},
	{"is the same for many at once", false, fullAtOnce},
	{"is not complete when an answer goes wrong", false, fullWithFaults},
}

// wantFull checks that a pull is whole, right and in order.
func wantFull(t *testing.T, h Harness, s *stated, want directory) {
	t.Helper()
	if s.err != nil {
		t.Fatalf("Full: %v", s.err)
	}
	for _, wrong := range s.wrong {
		t.Error("Full: " + wrong)
	}
	for _, phase := range phases {
		if !s.complete[phase] {
			t.Errorf("Full: the phase %s is not complete", phase)
		}
	}
	if diff := cmp.Diff(want, s.directory()); diff != "" {
		t.Errorf("Full differs from the source (-source +stated):\n%s", diff)
	}
	for id := range s.groups {
		if !s.last[id] {
			t.Errorf("Full: the members of group %s have no last part", id)
		}
	}
	if (s.checkpoint == "") != h.NoChanges {
		t.Errorf("Full: checkpoint %q, with changes known to come: %t", s.checkpoint, !h.NoChanges)
	}
}

func fullListsEverything(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.populate()
	wantFull(t, h, collect(w.connect(t, whole).Full(t.Context(), "")), w.directory(whole))
}

func fullListsScope(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.populate()
	want := w.directory(narrow)
	if len(want.People) >= len(w.people) || len(want.Groups) >= len(w.groups) {
		t.Fatal("the narrow scope leaves nobody out")
	}
	wantFull(t, h, collect(w.connect(t, narrow).Full(t.Context(), "")), want)
}

func fullOfNobody(t *testing.T, h Harness) {
	w := newWorld(t, h)
	wantFull(t, h, collect(w.connect(t, whole).Full(t.Context(), "")), w.directory(whole))
}

func fullAfterDeleting(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, groups := w.populate()
	c := w.connect(t, whole)
	wantFull(t, h, collect(c.Full(t.Context(), "")), w.directory(whole))
	w.Advance(time.Hour)
	w.fire(people[0])
	w.dissolve(groups[3])
	w.change(people[1], func(p *Person) { p.Disabled, p.Title = true, "" })
	if _, ok := w.Source.(SoftDeleter); ok {
		w.softDelete(people[2])
	}
	w.rename(groups[1], "Nobody Yet")
	w.hire(w.newcomer())
	wantFull(t, h, collect(c.Full(t.Context(), "")), w.directory(whole))
}

func fullResumes(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.populate()
	pages := collect(w.connect(t, whole).Full(t.Context(), "")).resumes
	for i, resume := range pages {
		if resume == "" {
			continue
		}
		s, n := newStated(), 0
		for page, err := range w.connect(t, whole).Full(t.Context(), "") {
			if err != nil {
				t.Fatalf("Full: %v", err)
			}
			s.take(&page)
			if n++; n > i {
				break
			}
		}
		s.read(w.connect(t, whole).Full(t.Context(), s.resumes[i]))
		t.Logf("resumed after page %d of %d", i+1, len(pages))
		wantFull(t, h, s, w.directory(whole))
	}
}

func fullCounts(t *testing.T, h Harness) {
	w := newWorld(t, h)
	w.populate()
	c := w.connect(t, whole)
	if n := c.Requests(); n != 0 {
		t.Errorf("Requests() = %d before anything was asked", n)
	}
	for range 2 {
		w.line.reset()
		before := c.Requests()
		wantFull(t, h, collect(c.Full(t.Context(), "")), w.directory(whole))
		if arrived, counted := w.line.requests(); c.Requests()-before != int64(counted) || counted == 0 {
			t.Errorf("Requests() grew by %d, want %d; sent were %q", c.Requests()-before, counted, arrived)
		}
	}
}

func fullAtOnce(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, groups := w.populate()
	c := w.connect(t, whole)
	want := w.directory(whole)
	pulls := make([]*stated, 4)
	var all sync.WaitGroup
	for i := range pulls {
		all.Go(func() { pulls[i] = collect(c.Full(t.Context(), "")) })
		all.Go(func() {
			if r, err := c.User(t.Context(), people[i]); err != nil || describeRecord(&r) != want.People[people[i]] {
				t.Errorf("User(%s) = %+v, %v", people[i], r, err)
			}
		})
		all.Go(func() {
			if s := collect(c.Group(t.Context(), groups[i])); s.err != nil || !s.last[groups[i]] {
				t.Errorf("Group(%s): %v", groups[i], s.err)
			}
		})
	}
	all.Wait()
	for _, s := range pulls {
		wantFull(t, h, s, want)
	}
}

// fullWithFaults lets requests of a pull meet each fault, once and for good.
func fullWithFaults(t *testing.T, h Harness) {
	for n, f := range h.faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, h)
			w.populate()
			want := w.directory(whole)
			wantFull(t, h, collect(w.connect(t, whole).Full(t.Context(), "")), want)
			sent, _ := w.line.requests()
			for _, trial := range trials(sent, n) {
				t.Run(fmt.Sprintf("request %d, %d times", trial.request+1, trial.times), func(t *testing.T) {
					c := w.connect(t, whole)
					w.line.arm(f, trial.request, trial.times)
					s := collect(c.Full(t.Context(), ""))
					wantUntouched(t, h, s, want)
					if w.line.wentRound() {
						t.Error("Full asked again and again, and would have for ever")
					}
					if trial.times < 0 && w.line.broken() > 0 && (s.err == nil || s.whole()) {
						t.Error("Full proved everything complete, although an answer went wrong for good")
					}
					if t.Failed() {
						arrived, _ := w.line.requests()
						t.Logf("error: %v\nrequests: %q", s.err, arrived)
					}
				})
			}
		})
	}
}

// wantUntouched checks what a pull must keep to whatever answers went wrong: what is complete is right, and an error tells
// what is not.
func wantUntouched(t *testing.T, h Harness, s *stated, want directory) {
	t.Helper()
	for _, wrong := range s.wrong {
		t.Error("Full: " + wrong)
	}
	if secret := leak(s.err, h.Secrets); secret != "" {
		t.Errorf("the error tells a secret: %v", s.err)
	}
	if s.err == nil && !s.whole() {
		t.Errorf("Full ends without an error, and complete are %v only", s.complete)
	}
	if s.err != nil && s.checkpoint != "" {
		t.Error("there is a checkpoint, and then an error")
	}
	if s.err != nil && !incomplete(s.err) && s.whole() {
		t.Errorf("every phase is complete, and then there is an error: %v", s.err)
	}
	got := s.directory()
	if s.complete[connectors.PhaseUsers] && !cmp.Equal(want.People, got.People) {
		t.Errorf("the users are complete, and differ (-source +stated):\n%s", cmp.Diff(want.People, got.People))
	}
	if s.complete[connectors.PhaseGroups] && !cmp.Equal(want.Groups, got.Groups) {
		t.Errorf("the groups are complete, and differ (-source +stated):\n%s", cmp.Diff(want.Groups, got.Groups))
	}
	for id, members := range want.Members {
		stated := slices.Collect(keys(s.members[id]))
		missing := slices.ContainsFunc(members, func(m string) bool { return !slices.Contains(stated, m) })
		if missing && (s.complete[connectors.PhaseMembers] || s.last[id]) {
			t.Errorf("the members of group %s are complete, and somebody is missing (-source +stated):\n%s", id, cmp.Diff(members, stated))
		}
	}
}
