package lifecycle_test

import (
	"slices"
	"testing"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

// TestPermissionPersistence gives one role on one team for five reasons (groups of two connectors, a nested group, the
// attribute roles, by hand) and takes them away one after the other, in every order that begins elsewhere: the role is
// held until the last of them is gone, and back with the first that returns.
func TestPermissionPersistence(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ctx := h.Context()
		h.admin("glass")
		ana := h.create("okta", "ana", withRoles("admin"))
		group := func(source, name string, members ...string) identity.Group {
			g, err := h.CreateGroup(ctx, pusher, source, identity.Group{DisplayName: name, ExternalID: "x" + name}, members)
			h.must(err)
			return g
		}
		okta, entra, inner := group("okta", "O", ana.ID), group("entra", "E", ana.ID), group("entra", "Inner", ana.ID)
		outer := group("entra", "Outer", inner.ID)
		h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("O", "root:admin"), rule("E", "root:admin"), rule("Outer", "root:admin")}}})
		admin := identity.TeamRole{Team: "root", Role: identity.RoleAdmin}

		member := func(g identity.Group, in bool) {
			op := removes(ana.ID)
			if in {
				op = adds(ana.ID)
			}
			_, err := h.members(g.ID, op)
			h.must(err)
		}
		reasons := []func(in bool){
			func(in bool) { member(okta, in) },
			func(in bool) { member(entra, in) },
			func(in bool) { member(inner, in) },
			func(in bool) {
				_, err := h.ChangeUser(ctx, pusher, "okta", ana.ID, 0, func(u *identity.User) error {
					u.Roles = nil
					if in {
						u.Roles = []string{"admin"}
					}
					return nil
				})
				h.must(err)
			},
			func(in bool) {
				do := h.TakeRole
				if in {
					do = h.GiveRole
				}
				changed, err := do(ctx, operator, ana.ID, admin)
				if h.must(err); !changed {
					h.Errorf("by hand, %v: nothing changed", in)
				}
			},
		}
		reasons[4](true)
		held := func() int {
			n := 0
			for _, line := range h.access(ana.ID) {
				if len(line) > 10 && line[:10] == "root:admin" {
					n++
				}
			}
			return n
		}
		for first := range reasons {
			order := slices.Concat(reasons[first:], reasons[:first])
			for i, reason := range order {
				if want := len(order) - i; held() != want {
					t.Fatalf("beginning with %d: %d reasons, want %d: %v", first, held(), want, h.access(ana.ID))
				}
				reason(false)
			}
			if held() != 0 {
				t.Fatalf("beginning with %d: held without a reason: %v", first, h.access(ana.ID))
			}
			for i, reason := range order {
				reason(true)
				if held() != i+1 {
					t.Fatalf("beginning with %d: %d reasons, want %d: %v", first, held(), i+1, h.access(ana.ID))
				}
			}
		}
		_ = outer
	})
}
