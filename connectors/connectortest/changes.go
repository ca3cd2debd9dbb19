package connectortest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
)

var changeCases = []namedCase{
	{"are none where nothing changed, and cost little", true, changesOfNothing},
	{"of each kind are told", true, changesOfEachKind},
	{"can be asked for again", true, changesAgain},
	{"go on from each checkpoint to the next", true, changesInARow},
	{"are not told from a checkpoint that is foreign, garbled or old", true, changesOfOtherCheckpoints},
	{"are not whole when an answer goes wrong", true, changesWithFaults},
	{"are never told where the connector cannot", false, changesUnknown},
}

// tracker follows a source from a full pull on.
type tracker struct {
	*world
	scope Scope
	c     connectors.Connector
	held  *held
}

// track pulls the source in full.
func track(t tb, w *world, scope Scope) *tracker {
	t.Helper()
	k := &tracker{world: w, scope: scope, c: w.connect(t, scope)}
	s := collect(k.c.Full(t.Context(), ""))
	if s.err != nil || len(s.wrong) > 0 {
		t.Fatalf("Full: %v, %q", s.err, s.wrong)
	}
	k.held = hold(s)
	if diff := cmp.Diff(w.directory(scope), k.held.directory()); diff != "" {
		t.Fatalf("Full differs from the source (-source +stated):\n%s", diff)
	}
	return k
}

// follow asks for the changes and applies them, and wants what is held then to be what the source has.
func (k *tracker) follow(t tb) *changes {
	t.Helper()
	ctx := t.Context()
	stated := collectChanges(k.c.Changes(ctx, k.held.checkpoint))
	for _, wrong := range stated.wrong {
		t.Errorf("Changes: %s", wrong)
	}
	if stated.err != nil {
		t.Fatalf("Changes: %v", stated.err)
	}
	before := k.held.directory()
	if err := k.held.apply(ctx, k.c, stated); err != nil {
		t.Fatalf("apply what Changes stated: %v", err)
	}
	if diff := cmp.Diff(k.directory(k.scope), k.held.directory()); diff != "" {
		t.Errorf("what is held after Changes differs from the source (-source +held):\n%s\nstated were %s\nheld was %+v", diff, stated, before)
	}
	return stated
}

// String prints what was stated, for those who look for what was not.
func (c *changes) String() string {
	s := ""
	for _, p := range c.people {
		s += fmt.Sprintf("\n  person %s %s %s, unscoped: %t", p.SourceID, p.UserName, p.Status, p.unscoped)
	}
	s += fmt.Sprintf("\n  doubtful %q", c.doubtful)
	for _, g := range c.groups {
		s += fmt.Sprintf("\n  group %s %q, gone: %t", g.SourceID, g.DisplayName, g.Gone)
	}
	for _, m := range c.members {
		s += fmt.Sprintf("\n  members of %s: %q, removed %q, delta: %t, last: %t", m.GroupID, m.UserIDs, m.Removed, m.Delta, m.Last)
	}
	return s
}

func changesOfNothing(t *testing.T, h Harness) {
	for _, scope := range []Scope{whole, narrow} {
		w := newWorld(t, h)
		w.populate()
		w.Advance(time.Hour)
		k := track(t, w, scope)
		for range 3 {
			w.Advance(20 * time.Minute)
			w.line.reset()
			k.follow(t)
			if sent, counted := w.line.requests(); counted > h.QuietRequests {
				t.Errorf("%d requests although nothing changed, want at most %d: %q", counted, h.QuietRequests, sent)
			}
		}
	}
}

// kinds are changes of one kind each, of the directory that populate makes.
var kinds = []struct {
	name   string
	change func(w *world, people, groups []string)
}{
	{"somebody comes", func(w *world, _, _ []string) { w.hire("") }},
	{"somebody comes into a group", func(w *world, _, groups []string) { w.join(groups[0], w.hire("")) }},
	{"somebody gets a title", func(w *world, people, _ []string) { w.change(people[0], func(p *Person) { p.Title = "Captain" }) }},
	{"somebody loses the title", func(w *world, people, _ []string) {
		for _, id := range people[:4] {
			w.change(id, func(p *Person) { p.Title = "" })
		}
	}},
	{"somebody gets another name", func(w *world, people, _ []string) {
		w.change(people[1], func(p *Person) { p.UserName, p.FamilyName = "married@acme.test", "Newman" })
	}},
	{"somebody is disabled", func(w *world, people, _ []string) { w.change(people[1], func(p *Person) { p.Disabled = true }) }},
	{"somebody is enabled", func(w *world, people, _ []string) { w.change(people[3], func(p *Person) { p.Disabled = false }) }},
	{"somebody is deleted", func(w *world, people, _ []string) { w.fire(people[0]) }},
	{"somebody in no group is deleted", func(w *world, people, _ []string) { w.fire(people[11]) }},
	{"somebody is deleted, and somebody else gets the user name", func(w *world, people, groups []string) {
		name := w.people[people[2]].UserName
		w.fire(people[2])
		w.join(groups[0], w.hire(name))
	}},
	{"somebody comes and goes", func(w *world, _, groups []string) {
		id := w.hire("")
		w.join(groups[0], id)
		w.fire(id)
	}},
	{"a member is deleted softly", func(w *world, people, _ []string) { w.softDeleteIfSo(people[1]) }},
	{"somebody in no group is deleted softly", func(w *world, people, _ []string) { w.softDeleteIfSo(people[11]) }},
	{"somebody comes back at once", func(w *world, people, _ []string) {
		if w.softDeleteIfSo(people[1]) {
			w.restore(people[1])
		}
	}},
	{"a member comes", func(w *world, people, groups []string) { w.join(groups[1], people[4]) }},
	{"somebody in no group becomes a member", func(w *world, people, groups []string) { w.join(groups[3], people[11]) }},
	{"a member goes", func(w *world, people, groups []string) { w.leave(groups[3], people[1]) }},
	{"somebody loses the last group", func(w *world, people, groups []string) { w.leave(groups[0], people[7]) }},
	{"all members go", func(w *world, people, groups []string) {
		w.leave(groups[3], people[0])
		w.leave(groups[3], people[1])
	}},
	{"a member goes and comes back", func(w *world, people, groups []string) {
		w.leave(groups[3], people[0])
		w.join(groups[3], people[0])
	}},
	{"a group comes", func(w *world, _, _ []string) { w.found("Newcomers") }},
	{"a group with members comes", func(w *world, people, _ []string) {
		id := w.found("Newcomers")
		w.join(id, people[0])
		w.join(id, people[11])
	}},
	{"a group is renamed", func(w *world, _, groups []string) { w.rename(groups[0], "Nearly Everybody") }},
	{"groups swap their names", func(w *world, _, groups []string) {
		w.rename(groups[3], "In Between")
		w.rename(groups[4], "Two Of Them")
		w.rename(groups[3], "Three Of Them")
	}},
	{"a group is deleted", func(w *world, _, groups []string) { w.dissolve(groups[0]) }},
	{"an empty group is deleted", func(w *world, _, groups []string) { w.dissolve(groups[1]) }},
	{"a group is deleted, and another one gets its name", func(w *world, people, groups []string) {
		w.dissolve(groups[3])
		w.join(w.found("Two Of Them"), people[5])
	}},
	{"a group goes out of scope", func(w *world, _, groups []string) { w.rename(groups[0], "out-Everybody") }},
	{"a group comes into scope", func(w *world, _, groups []string) { w.rename(groups[2], "in-Siders") }},
	{"a group outside the scope changes", func(w *world, people, groups []string) {
		w.join(groups[2], people[11])
		w.leave(groups[2], people[10])
		w.rename(groups[2], "out-Castes")
	}},
	{"somebody moves from one group to another", func(w *world, people, groups []string) {
		w.join(groups[1], people[8])
		w.leave(groups[0], people[8])
	}},
}

// softDeleteIfSo deletes somebody softly, where the source can.
func (w *world) softDeleteIfSo(id string) bool {
	if _, ok := w.Source.(SoftDeleter); !ok {
		return false
	}
	w.softDelete(id)
	return true
}

func changesOfEachKind(t *testing.T, h Harness) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for _, scope := range []Scope{whole, narrow} {
				w := newWorld(t, h)
				people, groups := w.populate()
				w.Advance(time.Hour)
				k := track(t, w, scope)
				w.Advance(20 * time.Minute)
				kind.change(w, people, groups)
				w.Advance(20 * time.Minute)
				k.follow(t)
				w.Advance(20 * time.Minute)
				k.follow(t)
			}
		})
	}
	if _, ok := h.New().(SoftDeleter); !ok {
		return
	}
	t.Run("somebody comes back later", func(t *testing.T) {
		t.Parallel()
		for _, scope := range []Scope{whole, narrow} {
			w := newWorld(t, h)
			people, _ := w.populate()
			k := track(t, w, scope)
			w.Advance(time.Hour)
			w.softDelete(people[1])
			k.follow(t)
			w.Advance(time.Hour)
			w.restore(people[1])
			k.follow(t)
		}
	})
}

func changesAgain(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, groups := w.populate()
	k := track(t, w, whole)
	checkpoint := k.held.checkpoint
	w.Advance(time.Hour)
	w.change(people[0], func(p *Person) { p.Title = "Captain" })
	w.fire(people[4])
	w.rename(groups[1], "Nobody Else")
	k.follow(t)
	// A receiver that did not get as far as to keep the new checkpoint asks with the old one, maybe after a restart.
	k.c, k.held.checkpoint = w.connect(t, whole), checkpoint
	k.follow(t)
}

func changesInARow(t *testing.T, h Harness) {
	w := newWorld(t, h)
	_, groups := w.populate()
	k := track(t, w, whole)
	seen := map[string]bool{}
	for range 5 {
		w.Advance(10 * time.Minute)
		w.join(groups[1], w.hire(""))
		k.follow(t)
		if at := connectors.CheckpointTime(k.held.checkpoint); at.IsZero() {
			t.Errorf("the checkpoint %q does not say how far it goes", k.held.checkpoint)
		}
		if seen[k.held.checkpoint] {
			t.Errorf("the checkpoint %q is the same as before, although time went on", k.held.checkpoint)
		}
		seen[k.held.checkpoint] = true
	}
}

func changesOfOtherCheckpoints(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, _ := w.populate()
	k := track(t, w, whole)
	good := k.held.checkpoint
	for name, text := range map[string]string{
		"none": "", "no JSON": "x", "an empty object": "{}", "null": "null", "half": good[:len(good)/2],
		"of another connector": altered(t, good, "connector", "somebody else's"),
		"of another scope":     altered(t, good, "scope", "0123456789abcdef"),
		"of another version":   altered(t, good, "v", 0),
	} {
		if c := collectChanges(k.c.Changes(t.Context(), text)); !errors.Is(c.err, connectors.ErrResync) || c.pages > 0 {
			t.Errorf("Changes from a checkpoint that is %s: %d pages, %v, want ErrResync and none", name, c.pages, c.err)
		}
	}
	if c := collectChanges(w.connect(t, narrow).Changes(t.Context(), good)); !errors.Is(c.err, connectors.ErrResync) || c.pages > 0 {
		t.Errorf("Changes from a checkpoint of another scope: %d pages, %v, want ErrResync and none", c.pages, c.err)
	}
	changesOfOddStates(t, k)
	w.Advance(time.Hour)
	w.fire(people[0])
	w.Advance(connectors.CheckpointAge)
	if c := collectChanges(k.c.Changes(t.Context(), good)); !errors.Is(c.err, connectors.ErrResync) || c.pages > 0 {
		t.Errorf("Changes from a checkpoint that is too old: %d pages, %v, want ErrResync and none", c.pages, c.err)
	}
}

// changesOfOddStates asks from checkpoints whose state is not what the connector wrote: it says so, or does not need it.
func changesOfOddStates(t *testing.T, k *tracker) {
	t.Helper()
	good := k.held.checkpoint
	k.change(slices.Min(slices.Collect(maps.Keys(k.people))), func(p *Person) { p.Title = "Captain" })
	for _, state := range []any{nil, []int{1}, map[string]any{}, "garbage"} {
		k.held.checkpoint = altered(t, good, "state", state)
		c := collectChanges(k.c.Changes(t.Context(), k.held.checkpoint))
		switch {
		case errors.Is(c.err, connectors.ErrResync) && c.pages == 0:
		case c.err != nil:
			t.Errorf("Changes from a checkpoint with the state %v: %d pages, %v, want ErrResync and none", state, c.pages, c.err)
		default:
			k.follow(t)
		}
	}
}

// altered returns the checkpoint with another value for a name.
func altered(t *testing.T, checkpoint, name string, value any) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(checkpoint), &fields); err != nil {
		t.Fatalf("the checkpoint %q is none of connectors.Checkpoint: %v", checkpoint, err)
	}
	fields[name] = value
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// changesWithFaults lets requests that changes cost meet each fault, once and for good.
func changesWithFaults(t *testing.T, h Harness) {
	for n, f := range h.faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, h)
			people, groups := w.populate()
			checkpoint := track(t, w, whole).held.checkpoint
			w.Advance(time.Hour)
			for _, id := range people[4:8] {
				w.change(id, func(p *Person) { p.Title = "Captain" })
			}
			w.fire(people[0])
			w.leave(groups[0], people[1])
			w.rename(groups[4], "Three And No More")
			w.dissolve(groups[3])
			w.line.reset()
			if c := collectChanges(w.connect(t, whole).Changes(t.Context(), checkpoint)); c.err != nil {
				t.Fatalf("Changes: %v", c.err)
			}
			sent, _ := w.line.requests()
			for _, trial := range trials(sent, n) {
				w.line.arm(f, trial.request, trial.times)
				c := collectChanges(w.connect(t, whole).Changes(t.Context(), checkpoint))
				for _, wrong := range c.wrong {
					t.Errorf("with request %d of %q broken, %d times: %s", trial.request+1, sent, trial.times, wrong)
				}
				if trial.times < 0 && w.line.broken() > 0 && c.err == nil {
					t.Errorf("with request %d of %q broken for good: Changes ends without an error", trial.request+1, sent)
				}
				if w.line.wentRound() {
					t.Errorf("with request %d of %q broken: Changes asked again and again, and would have for ever", trial.request+1, sent)
				}
				if secret := leak(c.err, h.Secrets); secret != "" {
					t.Errorf("the error tells a secret: %v", c.err)
				}
			}
		})
	}
}

func changesUnknown(t *testing.T, h Harness) {
	if !h.NoChanges {
		return
	}
	w := newWorld(t, h)
	w.populate()
	c := w.connect(t, whole)
	for _, checkpoint := range []string{"", collect(c.Full(t.Context(), "")).checkpoint} {
		if c := collectChanges(c.Changes(t.Context(), checkpoint)); !errors.Is(c.err, connectors.ErrResync) || c.pages > 0 {
			t.Errorf("Changes: %d pages, %v, want ErrResync and none", c.pages, c.err)
		}
	}
}
