package reconcile_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// reader is a directory that tells when it has read somebody by id.
type reader struct {
	*directory
	read func(id string)
}

func (r reader) User(ctx context.Context, id string) (identity.Record, error) {
	record, err := r.directory.User(ctx, id)
	r.read(id)
	return record, err
}

// push lets ana, who is u1, leave at the source, which pushes it: she is made where she is not held, then deactivated or
// deleted.
func (h *house) push(deleted bool) {
	h.t.Helper()
	h.source.Users["u1"].Status = identity.StatusInactive
	ctx := h.t.Context()
	u, err := h.store.UserByName(ctx, "ana@acme.test")
	if err != nil {
		if u, err = h.applier.CreateUser(ctx, pusher, "okta", identity.User{UserName: "ana@acme.test", ExternalID: "u1", Active: true}); err != nil {
			h.t.Error(err)
			return
		}
	}
	if u.Deleted() {
		return
	}
	if deleted {
		err = h.applier.DeleteUser(ctx, pusher, "okta", u.ID, 0)
	} else {
		_, err = h.applier.ChangeUser(ctx, pusher, "okta", u.ID, 0, func(u *identity.User) error {
			u.Active = false
			return nil
		})
	}
	if err != nil {
		h.t.Error(err)
	}
}

// TestTombstones pushes that somebody left after a pull has read that she is there, before it is compared or after, and
// wants the older read not to bring her back; a later one may.
func TestTombstones(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for _, held := range []string{"held", "held and inactive", "unknown"} {
			for _, kind := range []string{identity.KindFull, identity.KindIncremental, identity.KindObject} {
				for _, what := range []string{"deleted", "deactivated"} {
					for _, at := range []connectors.Phase{connectors.PhaseUsers, connectors.PhaseMembers} {
						if kind == identity.KindObject && at == connectors.PhaseMembers {
							continue // nothing comes after the one read
						}
						t.Run(fmt.Sprint(held, kind, what, at), func(t *testing.T) {
							wipe(t, s)
							tombstone(t, s, held, kind, what == "deleted", at)
						})
					}
				}
			}
		}
	})
}

// tombstone pushes at a phase of a run of a kind: at that of the users before they are compared, else after.
func tombstone(t *testing.T, s *store.Store, held, kind string, deleted bool, at connectors.Phase) {
	h := open(t, s)
	h.small()
	h.source.Incremental = true
	h.run(identity.RunDone)
	switch held {
	case "unknown":
		tamper(t, s, "DELETE FROM group_members")
		tamper(t, s, "DELETE FROM users WHERE source_id = 'u1'")
	case "held and inactive":
		h.source.Users["u1"].Status = identity.StatusInactive
		h.run(identity.RunDone)
	}
	*h.source.Users["u1"] = person{Name: "ana@acme.test", Title: "Director", Status: identity.StatusActive}
	pushes := 0
	push := func() {
		if pushes++; pushes == 1 {
			h.push(deleted)
		}
	}
	req := h.request(false)
	source := reader{h.source, func(string) {}}
	switch kind {
	case identity.KindFull:
		req.Full = true
		h.source.OnPage = func(phase connectors.Phase) {
			if phase == at {
				push()
			}
		}
	case identity.KindObject:
		req.User = "u1"
		source.read = func(string) { push() }
	}
	req.Source.Connector = changing{source, at, push}
	run, err := h.engine.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if pushes == 0 || run.Kind != kind {
		t.Fatalf("%d pushes in a %s run", pushes, run.Kind)
	}
	h.source.OnPage = nil
	got := h.user("ana@acme.test")
	if got.Active || got.Deleted() != deleted {
		t.Errorf("brought back: active %v, deleted %v; journal:\n%s", got.Active, got.Deleted(), strings.Join(h.journal(run), "\n"))
	}
	// A read that is newer than the push says what is so now.
	h.source.Users["u1"].Status = identity.StatusActive
	if _, err := h.engine.Run(t.Context(), h.request(false)); err != nil {
		t.Fatal(err)
	}
	if again := h.user("ana@acme.test"); again.ID != got.ID || !again.Active {
		t.Errorf("the next run left %+v", again)
	}
}

// changing is a reader that pushes at a phase of what changed.
type changing struct {
	reader
	at   connectors.Phase
	push func()
}

func (c changing) Changes(ctx context.Context, checkpoint string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		for page, err := range c.reader.Changes(ctx, checkpoint) {
			if page.Phase == c.at {
				c.push() // its records are read, and not handed out yet
			}
			if !yield(page, err) {
				return
			}
		}
	}
}
