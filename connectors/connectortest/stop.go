package connectortest

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
)

var stopCases = []namedCase{
	{"after any page leaves nothing running", false, stopAfterPages},
	{"a group after any page leaves nothing running", false, stopGroup},
	{"changes after any page leaves nothing running", true, stopChanges},
	{"nothing is sent once the context is over", false, stopBefore},
	{"while an answer is awaited ends everything", false, stopWhileAwaiting},
	{"while a try is awaited ends everything", false, stopWhileWaiting},
}

// labelled runs f and checks that no goroutine that it started outlives it. Goroutines inherit the label; the
// connections that net/http keeps open are left out.
func labelled(t *testing.T, w *world, what string, f func(ctx context.Context)) {
	t.Helper()
	label := what + " of " + t.Name()
	pprof.Do(t.Context(), pprof.Labels("connectortest", label), f)
	sent, _ := w.line.requests()
	var left []string
	for range 100 {
		if left = goroutines(label); len(left) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond) // what has been told to end may still have to
	}
	if len(left) > 0 {
		t.Fatalf("%s: goroutines are left:\n%s", what, strings.Join(left, "\n\n"))
	}
	time.Sleep(20 * time.Millisecond)
	// What was under way when it ended may arrive after it; whatever is sent then would be another one.
	settled, _ := w.line.requests()
	time.Sleep(20 * time.Millisecond)
	if after, _ := w.line.requests(); len(after) > len(settled) {
		t.Errorf("%s: %q were sent afterwards, besides %q", what, after[len(sent):], sent)
	}
}

// goroutines returns the goroutines with the label, but for those of net/http's connections.
func goroutines(label string) []string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return []string{err.Error()}
	}
	var left []string
	for block := range strings.SplitSeq(b.String(), "\n\n") {
		kept := strings.Contains(block, "net/http.(*persistConn)") || strings.Contains(block, "net/http.(*Transport).dial")
		// pprof.Do's own goroutine has its label back when f has returned.
		if strings.Contains(block, `"connectortest":"`+label+`"`) && !kept {
			left = append(left, block)
		}
	}
	return left
}

func stopAfterPages(t *testing.T, h Harness) {
	for _, scope := range []Scope{whole, narrow} {
		w := newWorld(t, h)
		w.populate()
		stopEverywhere(t, w, scope, func(ctx context.Context, c connectors.Connector) iter.Seq2[connectors.Page, error] {
			return c.Full(ctx, "")
		})
	}
}

func stopGroup(t *testing.T, h Harness) {
	w := newWorld(t, h)
	_, groups := w.populate()
	stopEverywhere(t, w, whole, func(ctx context.Context, c connectors.Connector) iter.Seq2[connectors.Page, error] {
		return c.Group(ctx, groups[0])
	})
}

func stopChanges(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, groups := w.populate()
	s := collect(w.connect(t, whole).Full(t.Context(), ""))
	w.Advance(time.Hour)
	for _, id := range people[:8] {
		w.change(id, func(p *Person) { p.Title = "Captain" })
	}
	w.leave(groups[0], people[0])
	w.rename(groups[1], "Nobody Else")
	w.fire(people[9])
	stopEverywhere(t, w, whole, func(ctx context.Context, c connectors.Connector) iter.Seq2[connectors.Page, error] {
		return c.Changes(ctx, s.checkpoint)
	})
}

// stopEverywhere stops the sequence after its first page, its second, and so on.
func stopEverywhere(t *testing.T, w *world, scope Scope, open func(context.Context, connectors.Connector) iter.Seq2[connectors.Page, error]) {
	t.Helper()
	pages := 0
	for _, err := range open(t.Context(), w.connect(t, scope)) {
		if err != nil {
			t.Fatal(err)
		}
		pages++
	}
	for stop := range pages {
		c := w.connect(t, scope)
		labelled(t, w, "stopping after a page", func(ctx context.Context) {
			seen := 0
			for _, err := range open(ctx, c) {
				if err != nil {
					t.Errorf("page %d: %v", seen+1, err)
				}
				if seen++; seen > stop {
					break
				}
			}
		})
	}
}

// everyMethod calls all that obeys a context and returns the errors.
func everyMethod(ctx context.Context, h Harness, c connectors.Connector, person, group, checkpoint string) map[string]error {
	errs := map[string]error{"Full": collect(c.Full(ctx, "")).err, "Group": collect(c.Group(ctx, group)).err}
	_, errs["User"] = c.User(ctx, person)
	if !h.NoChanges {
		errs["Changes"] = collectChanges(c.Changes(ctx, checkpoint)).err
	}
	return errs
}

func stopBefore(t *testing.T, h Harness) {
	w := newWorld(t, h)
	people, groups := w.populate()
	s := collect(w.connect(t, whole).Full(t.Context(), ""))
	w.line.reset()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range everyMethod(ctx, h, w.connect(t, whole), people[0], groups[0], s.checkpoint) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that is over: %v, want context.Canceled", name, err)
		}
	}
	if sent, _ := w.line.requests(); len(sent) > 0 {
		t.Errorf("%q were sent with a context that was over", sent)
	}
}

func stopWhileAwaiting(t *testing.T, h Harness) { stopDuring(t, h, hang) }

func stopWhileWaiting(t *testing.T, h Harness) {
	stopDuring(t, h, fault{name: "wait", serve: status(503, "Retry-After", "1")})
}

// stopDuring ends the context while a request of each number meets the fault, which takes longer than the test would.
func stopDuring(t *testing.T, h Harness, f fault) {
	w := newWorld(t, h)
	people, groups := w.populate()
	full := collect(w.connect(t, whole).Full(t.Context(), ""))
	sent, _ := w.line.requests()
	want := w.directory(whole)
	during := func(what string, i int, pull func(ctx context.Context, c connectors.Connector) error) {
		c := w.connect(t, whole)
		w.line.arm(f, i, -1)
		labelled(t, w, what, func(ctx context.Context) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				for w.line.broken() == 0 && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(5 * time.Millisecond)
				cancel()
			}()
			began := time.Now()
			err := pull(ctx, c)
			if w.line.broken() > 0 && !errors.Is(err, context.Canceled) {
				t.Errorf("%s, request %d: %v, want context.Canceled", what, i+1, err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s, request %d: ended after %s", what, i+1, took)
			}
		})
	}
	for i := range sent {
		during("Full", i, func(ctx context.Context, c connectors.Connector) error {
			s := collect(c.Full(ctx, ""))
			for _, wrong := range s.wrong {
				t.Error("Full: " + wrong)
			}
			if got := s.directory(); s.complete[connectors.PhaseUsers] && !cmp.Equal(want.People, got.People) {
				t.Errorf("Full, called off: users are complete, and differ:\n%s", cmp.Diff(want.People, got.People))
			}
			return s.err
		})
	}
	during("User", 0, func(ctx context.Context, c connectors.Connector) error {
		_, err := c.User(ctx, people[0])
		return err
	})
	during("Group", 0, func(ctx context.Context, c connectors.Connector) error { return collect(c.Group(ctx, groups[0])).err })
	if !h.NoChanges {
		during("Changes", 0, func(ctx context.Context, c connectors.Connector) error {
			return collectChanges(c.Changes(ctx, full.checkpoint)).err
		})
	}
}
