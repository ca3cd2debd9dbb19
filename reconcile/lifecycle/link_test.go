package lifecycle_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// conflict notes one of okta's.
func (h *house) conflict(object identity.Object, sourceID string, candidates ...string) identity.Conflict {
	h.Helper()
	c := identity.Conflict{
		ID: uuid.NewString(), Connector: "okta", Object: object, SourceID: sourceID, Name: "n", Reason: "r", Candidates: candidates,
		LastSeen: h.now, LastRunID: "r1",
	}
	h.must(h.s.InTx(h.Context(), func(tx *store.Tx) error { return tx.NoteConflicts(h.Context(), []identity.Conflict{c}) }))
	return c
}

func (h *house) status(c identity.Conflict, want identity.ConflictStatus) identity.Conflict {
	h.Helper()
	got, err := h.s.Conflict(h.Context(), c.ID)
	h.must(err)
	if got.Status != want {
		h.Errorf("the conflict is %s, want %s", got.Status, want)
	}
	return got
}

func TestLinkConflict_TheAccountBecomesTheRecords(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		for name, u := range map[string]identity.User{
			"owned by another source":   h.create("entra", "ana"),
			"pushed by a key":           h.create("scim:k1", "ben"),
			"nobody's and privileged":   h.create("", "cleo", withRoles("admin"), func(u *identity.User) { u.ExternalID = "" }),
			"of this source, and gone":  h.create("okta", "dan", inactive),
			"a local one like any else": h.local("eve"),
		} {
			c := h.conflict(identity.ObjectUser, "00u-"+u.UserName, u.ID)
			h.skipEvents()
			before := h.held(u.ID)
			got, err := h.LinkConflict(h.Context(), operator, c.ID, u.ID)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			after := h.held(u.ID)
			if after.Source != "okta" || after.SourceID != c.SourceID || after.Version != before.Version+1 || after.Active != before.Active || !after.Fingerprint.IsZero() {
				t.Errorf("%s: became %+v", name, after)
			}
			if got.Status != identity.ConflictLinked || got.DecidedBy != "op" || got.DecidedAt.IsZero() {
				t.Errorf("%s: decided as %+v", name, got)
			}
			h.status(c, identity.ConflictLinked)
			n, err := h.s.OutboxLen(h.Context())
			h.must(err)
			all, err := h.s.Audit(h.Context(), store.AuditQuery{Limit: 1000})
			h.must(err)
			if n != len(all) {
				t.Errorf("%s: %d outbox entries for %d events", name, n, len(all))
			}
			if all[1].Type != identity.EventUserUpdated || all[1].ObjectID != u.ID || len(all[1].Fields) != 1 || all[1].Actor.ID != "op" ||
				all[0].Type != identity.EventConflictLinked || all[0].ObjectID != c.ID {
				t.Errorf("%s: recorded as %+v and %+v", name, all[1], all[0])
			}
		}
	})
}

func TestLinkConflict_Refuses(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		active, other := h.create("okta", "ana"), h.create("entra", "ben")
		root := h.admin("root")
		held := h.conflict(identity.ObjectUser, active.SourceID)
		c := h.conflict(identity.ObjectUser, "00u9", active.ID)
		for name, link := range map[string]struct {
			conflict identity.Conflict
			user     string
			want     any
		}{
			"held under another record, active": {c, active.ID, new(*lifecycle.ConflictError)},
			"somebody holds the record":         {held, other.ID, new(*lifecycle.ConflictError)},
			"the last local admin":              {c, root.ID, new(*lifecycle.RefusedError)},
		} {
			before := h.held(link.user)
			_, err := h.LinkConflict(h.Context(), operator, link.conflict.ID, link.user)
			if !errors.As(err, link.want) {
				t.Errorf("%s: %v, want %T", name, err, link.want)
			}
			h.same(before)
			h.status(link.conflict, identity.ConflictOpen)
		}
		if _, err := h.LinkConflict(h.Context(), operator, c.ID, uuid.NewString()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("to nobody: %v", err)
		}
		if _, err := h.LinkConflict(h.Context(), operator, uuid.NewString(), other.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("no conflict: %v", err)
		}
		h.must(errorOf(h.LinkConflict(h.Context(), operator, c.ID, other.ID)))
		var done *lifecycle.ConflictError
		if _, err := h.LinkConflict(h.Context(), operator, c.ID, other.ID); !errors.As(err, &done) {
			t.Errorf("twice: %v", err)
		}
		if _, err := h.IgnoreConflict(h.Context(), operator, c.ID, false); !errors.As(err, &done) {
			t.Errorf("ignored after it was linked: %v", err)
		}
	})
}

func TestLinkConflict_Groups(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana")
		g := h.group("Engineers", ana.ID)
		c := h.conflict(identity.ObjectGroup, "00g1", g.ID)
		h.must(errorOf(h.LinkConflict(h.Context(), operator, c.ID, g.ID)))
		got, err := h.s.Group(h.Context(), g.ID)
		h.must(err)
		if got.Source != "okta" || got.SourceID != "00g1" || got.Version != g.Version+1 || got.MemberCount != 1 || got.TeamID != g.TeamID {
			t.Errorf("became %+v", got)
		}
		h.status(c, identity.ConflictLinked)
		var refused *lifecycle.ConflictError
		second := h.conflict(identity.ObjectGroup, "00g2", g.ID)
		if _, err := h.LinkConflict(h.Context(), operator, second.ID, g.ID); !errors.As(err, &refused) {
			t.Errorf("another record for the same group: %v", err)
		}
		again := h.conflict(identity.ObjectGroup, "00g1")
		other := h.group("Sales")
		if _, err := h.LinkConflict(h.Context(), operator, again.ID, other.ID); err == nil {
			t.Error("a record that is held was linked to another group")
		}
	})
}

func TestIgnoreConflict(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		c := h.conflict(identity.ObjectUser, "00u1")
		h.skipEvents()
		h.must(errorOf(h.IgnoreConflict(h.Context(), operator, c.ID, false)))
		if got := h.status(c, identity.ConflictIgnored); got.DecidedBy != "op" || got.DecidedAt.IsZero() {
			t.Errorf("ignored as %+v", got)
		}
		var refused *lifecycle.ConflictError
		if _, err := h.IgnoreConflict(h.Context(), operator, c.ID, false); !errors.As(err, &refused) {
			t.Errorf("ignored twice: %v", err)
		}
		h.must(errorOf(h.IgnoreConflict(h.Context(), operator, c.ID, true)))
		if got := h.status(c, identity.ConflictOpen); got.DecidedBy != "" || !got.DecidedAt.IsZero() {
			t.Errorf("reopened as %+v", got)
		}
		if _, err := h.IgnoreConflict(h.Context(), operator, c.ID, true); !errors.As(err, &refused) {
			t.Errorf("reopened twice: %v", err)
		}
		h.wantEvents("conflict.ignored n (r)", "conflict.reopened n (r)")
	})
}
