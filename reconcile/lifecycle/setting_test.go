package lifecycle_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var (
	operator      = identity.Actor{Kind: "cli", ID: "op", Name: "op"}
	configuration = identity.Actor{Kind: "system", ID: "configuration", Name: "configuration"}
)

// declares makes the house's configuration declare SCIM on or off, or with nothing leave it to the stored setting.
func (h *house) declares(on ...bool) {
	h.Helper()
	options := lifecycle.Options{Store: h.s, Now: h.tick}
	if len(on) > 0 {
		options.SCIM = &on[0]
	}
	var err error
	h.Applier, err = lifecycle.New(options)
	h.must(err)
}

// wantSCIM wants the setting to be so, whenever it was read.
func (h *house) wantSCIM(want lifecycle.SCIM) lifecycle.SCIM {
	h.Helper()
	got, err := h.SCIM(h.Context())
	h.must(err)
	plain := got
	plain.Since, plain.Read = want.Since, want.Read
	if diff := cmp.Diff(want, plain); diff != "" {
		h.Errorf("SCIM (-want +got):\n%s", diff)
	}
	if got.JITProvisioning() == want.On {
		h.Errorf("JITProvisioning() = %v with SCIM %v", got.JITProvisioning(), want.On)
	}
	if got.Read.IsZero() || got.Since.After(got.Read) {
		h.Errorf("since %s, read at %s", got.Since, got.Read)
	}
	return got
}

func (h *house) sync() {
	h.Helper()
	_, err := h.SyncSCIM(h.Context(), configuration)
	h.must(err)
}

func TestRule2_EnableNeedsBreakGlass(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		if s := h.wantSCIM(lifecycle.SCIM{}); !s.Since.IsZero() {
			h.Errorf("never decided, but since %s", s.Since)
		}
		provisioner := h.create("scim:k1", "ana", withRoles("admin"))
		h.skipEvents()
		if _, err := h.EnableSCIM(h.Context(), operator); !errors.Is(err, lifecycle.ErrNoBreakGlass) {
			h.Errorf("EnableSCIM without a local admin: %v, want %v", err, lifecycle.ErrNoBreakGlass)
		}
		h.wantSCIM(lifecycle.SCIM{})
		h.wantEvents("change.refused scim (enable SCIM: there is no active local admin on the root team (break glass))")

		h.admin("glass")
		h.skipEvents()
		changed, err := h.EnableSCIM(h.Context(), operator)
		h.must(err)
		first := h.wantSCIM(lifecycle.SCIM{On: true, By: operator})
		if age := first.Read.Sub(first.Since); !changed || age < 0 || age > time.Minute {
			h.Errorf("EnableSCIM() = %v, enabled %s ago by the database's clock", changed, age)
		}
		h.wantEvents("scim.enabled scim")

		changed, err = h.EnableSCIM(h.Context(), pusher)
		h.must(err)
		if again := h.wantSCIM(lifecycle.SCIM{On: true, By: operator}); changed || !again.Since.Equal(first.Since) {
			h.Errorf("enabled again = %v, since %s, want since %s", changed, again.Since, first.Since)
		}
		changed, err = h.DisableSCIM(h.Context(), pusher)
		h.must(err)
		who := pusher
		who.RequestID = "" // in the audit log
		h.wantSCIM(lifecycle.SCIM{By: who})
		again, err := h.DisableSCIM(h.Context(), operator)
		if err != nil || again || !changed {
			h.Errorf("DisableSCIM twice = %v, %v, %v", changed, again, err)
		}
		h.wantEvents("scim.disabled scim")
		h.same(provisioner)
	})
}

// TestRule2_EnabledOnce: of several who enable at the same time, one does.
func TestRule2_EnabledOnce(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.admin("glass")
		h.skipEvents()
		applier, err := lifecycle.New(lifecycle.Options{Store: h.s})
		h.must(err)
		var wait sync.WaitGroup
		changed, errs := make([]bool, 4), make([]error, 4)
		for i := range changed {
			wait.Go(func() { changed[i], errs[i] = applier.EnableSCIM(h.Context(), operator) })
		}
		wait.Wait()
		n := 0
		for i := range changed {
			h.must(errs[i])
			if changed[i] {
				n++
			}
		}
		if n != 1 {
			h.Errorf("%d of %d enabled it, want one", n, len(changed))
		}
		h.wantEvents("scim.enabled scim")
	})
}

func TestRule1_DeclaredIsReadOnly(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.admin("glass")
		for _, on := range []bool{true, false} {
			h.declares(on)
			for name, set := range map[string]func() (bool, error){
				"enable":  func() (bool, error) { return h.EnableSCIM(h.Context(), operator) },
				"disable": func() (bool, error) { return h.DisableSCIM(h.Context(), operator) },
			} {
				var declared *lifecycle.DeclaredError
				if changed, err := set(); changed || !errors.As(err, &declared) || declared.On != on {
					h.Errorf("declared %v, %s: %v, %v, want a *DeclaredError", on, name, changed, err)
				}
			}
			h.wantSCIM(lifecycle.SCIM{On: on, Declared: true})
		}
	})
}

// TestRule2_DeclaredWaitsForBreakGlass: a declaration takes effect with the first local admin, and is recorded once.
func TestRule2_DeclaredWaitsForBreakGlass(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.declares(true)
		h.wantSCIM(lifecycle.SCIM{Declared: true, Waiting: true})
		h.sync()
		h.wantSCIM(lifecycle.SCIM{Declared: true, Waiting: true})
		h.wantEvents()

		h.admin("glass")
		h.skipEvents()
		h.sync()
		first := h.wantSCIM(lifecycle.SCIM{On: true, Declared: true, By: configuration})
		h.wantEvents("scim.enabled scim (declared in the configuration)")
		h.sync()
		h.declares(true) // another replica
		h.sync()
		if again := h.wantSCIM(lifecycle.SCIM{On: true, Declared: true, By: configuration}); !again.Since.Equal(first.Since) {
			h.Errorf("since %s, want %s", again.Since, first.Since)
		}
		h.wantEvents()
	})
}

// TestRule1_DeclarationComesAndGoes: what an operator decided stands again when nothing is declared any more.
func TestRule1_DeclarationComesAndGoes(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.admin("glass")
		h.skipEvents()
		for _, step := range []struct {
			name   string
			do     func()
			want   lifecycle.SCIM
			events []string
		}{
			{"declared on", func() { h.declares(true) }, lifecycle.SCIM{On: true, Declared: true, By: configuration}, []string{"scim.enabled scim (declared in the configuration)"}},
			{"no longer", func() { h.declares() }, lifecycle.SCIM{By: configuration}, []string{"scim.disabled scim (no longer declared in the configuration)"}},
			{"enabled", func() {
				_, err := h.EnableSCIM(h.Context(), operator)
				h.must(err)
			}, lifecycle.SCIM{On: true, By: operator}, []string{"scim.enabled scim"}},
			{"declared on as well", func() { h.declares(true) }, lifecycle.SCIM{On: true, Declared: true, By: configuration}, nil},
			{"declared off", func() { h.declares(false) }, lifecycle.SCIM{Declared: true, By: configuration}, []string{"scim.disabled scim (declared in the configuration)"}},
			{"no longer off", func() { h.declares() }, lifecycle.SCIM{On: true, By: configuration}, []string{"scim.enabled scim (no longer declared in the configuration)"}},
			{"disabled", func() {
				_, err := h.DisableSCIM(h.Context(), operator)
				h.must(err)
			}, lifecycle.SCIM{By: operator}, []string{"scim.disabled scim"}},
		} {
			step.do()
			h.sync()
			h.Logf("step %s", step.name)
			h.wantSCIM(step.want)
			h.wantEvents(step.events...)
		}
	})
}

func TestRule3_RotateKey(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		owner := h.admin("scim", true)
		old := store.Key{
			ID: "first", UserID: owner.ID, UserName: owner.UserName, Name: "push", Source: "okta", Connector: "okta",
			Hash: []byte("first"), Created: h.now, Expires: h.now.Add(24 * time.Hour),
		}
		h.must(h.CreateKey(h.Context(), operator, old))
		h.skipEvents()
		rotate := func(id, next string, expireIn time.Duration) (store.Key, store.Key, error) {
			return h.RotateKey(h.Context(), operator, id, store.Key{ID: next, Hash: []byte(next), Created: h.now, Name: "x", Source: "x"}, expireIn)
		}
		before, second, err := rotate("first", "second", 0)
		h.must(err)
		want := old
		want.ID, want.Hash, want.Created = "second", []byte("second"), second.Created
		want.Expires = second.Created.Add(24 * time.Hour)
		for id, want := range map[string]store.Key{"first": old, "second": want} {
			held, err := h.s.KeyByID(h.Context(), id)
			h.must(err)
			if diff := cmp.Diff(want, held); diff != "" {
				h.Errorf("key %s (-want +got):\n%s", id, diff)
			}
		}
		if diff := cmp.Diff(old, before); diff != "" {
			h.Errorf("the predecessor (-want +got):\n%s", diff)
		}
		h.wantEvents("key.rotated push (followed by second)", "key.created push (owner scim@acme.test, follows first)")

		before, _, err = rotate("second", "third", time.Hour)
		h.must(err)
		if left := before.Expires.Sub(h.now); left != time.Hour {
			h.Errorf("the predecessor has %s left, want 1h", left)
		}
		held, err := h.s.KeyByID(h.Context(), "second")
		if err != nil || !held.Expires.Equal(before.Expires) {
			h.Errorf("held until %s (%v), want %s", held.Expires, err, before.Expires)
		}
		if before, _, err = rotate("third", "fourth", 10000*time.Hour); err != nil || before.Expires.Sub(before.Created) != 24*time.Hour {
			h.Errorf("a long time to expire prolongs the predecessor: %+v, %v", before, err)
		}

		h.must(h.RevokeKey(h.Context(), operator, "first"))
		h.now = h.now.Add(2 * time.Hour) // the second is expired by now
		for id, want := range map[string]error{"first": lifecycle.ErrKeyEnded, "second": lifecycle.ErrKeyEnded, "none": store.ErrNotFound} {
			if _, _, err := rotate(id, "next-"+id, 0); !errors.Is(err, want) {
				h.Errorf("rotate %s: %v, want %v", id, err, want)
			}
		}
		keys, err := h.s.Keys(h.Context())
		if err != nil || len(keys) != 4 {
			h.Errorf("%d keys (%v), want 4", len(keys), err)
		}
	})
}
