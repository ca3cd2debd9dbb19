package lifecycle_test

import (
	"strings"
	"testing"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// protect makes root:admin a protected role.
func (h *house) protect(rules ...roles.Rule) {
	h.Helper()
	mapping, err := roles.Compile(roles.Options{Rules: rules, DefaultRole: identity.RoleViewer})
	h.must(err)
	h.Applier, err = lifecycle.New(lifecycle.Options{
		Store: h.s, Mapping: mapping, Now: h.tick, ProtectedRoles: []identity.TeamRole{{Team: "ROOT", Role: "admin"}},
	})
	h.must(err)
}

const lastHolder = "skipped refused: protected role: this would take away the last active holder of ROOT:admin"

// admins makes okta's group of admins with these people.
func (h *house) admins(names ...string) (identity.Group, []identity.User) {
	h.Helper()
	h.protect(rule("admins", "root:admin"))
	g, err := h.CreateGroup(h.Context(), pusher, "okta", identity.Group{DisplayName: "Admins", ExternalID: "g1"}, nil)
	h.must(err)
	var users []identity.User
	var ids []string
	for _, name := range names {
		u := h.create("okta", name)
		users, ids = append(users, u), append(ids, u.ID)
	}
	g, err = h.members(g.ID, lifecycle.MemberOp{Op: lifecycle.MembersAdd, IDs: ids})
	h.must(err)
	h.tick()
	return g, users
}

func leaves(g identity.Group, u identity.User) identity.Change {
	return identity.Change{Object: identity.ObjectMember, Op: identity.OpRemove, SourceID: g.SourceID, ID: g.ID, MemberSourceID: u.SourceID, MemberID: u.ID}
}

func TestProtectedRoles_KeepTheLastHolder(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *house, g identity.Group, u identity.User) identity.Change{
		"absent": func(_ *house, _ identity.Group, u identity.User) identity.Change { return absent(u) },
		"stated inactive": func(_ *house, _ identity.Group, u identity.User) identity.Change {
			return stated(identity.OpDeactivate, identity.StatusInactive, u, u.SourceID)
		},
		"no member": func(_ *house, g identity.Group, u identity.User) identity.Change { return leaves(g, u) },
		"no group": func(_ *house, g identity.Group, _ identity.User) identity.Change {
			return identity.Change{Object: identity.ObjectGroup, Op: identity.OpDelete, SourceID: g.SourceID, ID: g.ID, Version: g.Version}
		},
		"group renamed": func(_ *house, g identity.Group, _ identity.User) identity.Change {
			return identity.Change{Object: identity.ObjectGroup, Op: identity.OpUpdate, SourceID: g.SourceID, ID: g.ID, Version: g.Version, Fields: []identity.FieldChange{set("displayName", "Plain")}}
		},
		"no mapping": func(h *house, g identity.Group, _ identity.User) identity.Change {
			h.protect()
			return identity.Change{Object: identity.ObjectGrant, Op: identity.OpRemove, SourceID: g.SourceID, ID: g.ID}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(h *house) {
				g, users := h.admins("ana", "ben")
				ana, ben := users[0], users[1]
				// One of two may go.
				run := h.begin()
				h.wantStates(run, h.apply(run, absent(ben)), "applied")
				before := h.held(ana.ID)
				h.skipEvents()
				c := change(h, g, before)
				run = h.begin()
				h.wantStates(run, h.apply(run, c), lastHolder)
				h.same(before)
				held, err := h.s.RoleHeld(h.Context(), identity.TeamRole{Team: "root", Role: "admin"})
				h.must(err)
				if !held {
					t.Error("nobody is admin on root any more")
				}
				all, err := h.s.Audit(h.Context(), store.AuditQuery{Limit: 1})
				h.must(err)
				if all[0].Type != identity.EventRefused || !strings.Contains(all[0].Reason, "protected role") {
					t.Errorf("the refusal is recorded as %+v", all[0])
				}
			})
		})
	}
}

func TestProtectedRoles_TwoWhoWouldGoTogether(t *testing.T) {
	t.Parallel()
	for name, together := range map[string]bool{"in one batch": true, "in two batches": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(h *house) {
				g, users := h.admins("ana", "ben")
				run := h.begin()
				if together {
					h.wantStates(run, h.apply(run, absent(users[0]), leaves(g, users[1])), "applied", lastHolder)
				} else {
					h.wantStates(run, h.apply(run, absent(users[0])), "applied")
					run = h.begin()
					h.wantStates(run, h.apply(run, leaves(g, users[1])), lastHolder)
				}
				h.wantAccess(users[1].ID, "Admins:viewer via group Admins", "root:admin via group Admins")
			})
		})
	}
}

func TestProtectedRoles_OnlyOfPullsAndOnlyWhereThereWasAHolder(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		// Nobody is admin: everybody may go.
		h.protect()
		cleo := h.create("okta", "cleo")
		h.tick()
		run := h.begin()
		h.wantStates(run, h.apply(run, absent(cleo)), "applied")
		// A push may take the last one away.
		_, users := h.admins("ana")
		h.must(errorOf(h.change(users[0].ID, func(u *identity.User) { u.Active = false })))
		if h.held(users[0].ID).Active {
			t.Error("a push was refused")
		}
	})
}
