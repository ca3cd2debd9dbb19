package lifecycle_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func (h *house) wantTeamError(err error, reason string) {
	h.Helper()
	var wrong *lifecycle.TeamError
	if !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, reason) {
		h.Errorf("%v, want a team's error that says %q", err, reason)
	}
}

func (h *house) team(name string) identity.Team {
	h.Helper()
	t, err := h.s.TeamByName(h.Context(), name)
	h.must(err)
	return t
}

func TestTeams_LocalOnesStayUntilDeleted(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ctx := h.Context()
		ana := h.create("okta", "ana")
		h.skipEvents()
		made, err := h.CreateTeam(ctx, operator, " Auditors ", []string{"github", "aws", "aws"})
		h.must(err)
		if diff := cmp.Diff([]string{"aws", "github"}, h.team("auditors").Scope); diff != "" || made.Name != "Auditors" {
			h.Errorf("made %v (-want +got):\n%s", made, diff)
		}
		_, err = h.CreateTeam(ctx, operator, "auditors", nil)
		h.wantDuplicate(err, "name", made.ID)
		for name, why := range map[string]string{"": "needs a name", "a:b": "no colon", strings.Repeat("x", 201): "at most 200"} {
			_, err := h.CreateTeam(ctx, operator, name, nil)
			h.wantTeamError(err, why)
		}
		_, err = h.CreateTeam(ctx, operator, "x", []string{"a,b"})
		h.wantTeamError(err, "without a comma")

		given, err := h.GiveRole(ctx, operator, ana.ID, identity.TeamRole{Team: "AUDITORS", Role: identity.RoleViewer})
		if h.must(err); !given {
			h.Error("a new role is not given")
		}
		h.wantTeamError(h.DeleteTeam(ctx, operator, made.ID), "1 people and 0 groups")
		renamed, err := h.RenameTeam(ctx, operator, made.ID, "Inspectors")
		h.must(err)
		h.wantAccess(ana.ID, "Inspectors:viewer via manual")
		taken, err := h.TakeRole(ctx, operator, ana.ID, identity.TeamRole{Team: "inspectors", Role: identity.RoleViewer})
		if h.must(err); !taken {
			h.Error("a role that is held is not taken")
		}
		h.wantTeams("Inspectors") // nothing is granted on it, and it stays
		_, err = h.SetTeamScope(ctx, operator, renamed.ID, nil)
		h.must(err)
		h.must(h.DeleteTeam(ctx, operator, made.ID))
		h.wantTeams()
		h.wantEvents("team.created Auditors", "grant.added ana (manual role viewer on Auditors)", "team.updated Inspectors",
			"grant.revoked ana (manual role viewer on Inspectors)", "team.updated Inspectors", "team.deleted Inspectors")
		if err := h.DeleteTeam(ctx, operator, made.ID); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("deleted twice: %v", err)
		}
	})
}

func TestTeams_GroupsAndRootHaveTheirOwn(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ctx := h.Context()
		ana := h.create("okta", "ana")
		eng := h.group("Eng", ana.ID)
		own, root := h.team("Eng"), h.team("root")
		_, err := h.RenameTeam(ctx, operator, own.ID, "X")
		h.wantTeamError(err, "goes with the group")
		h.wantTeamError(h.DeleteTeam(ctx, operator, own.ID), "goes with the group")
		h.wantTeamError(h.DeleteTeam(ctx, operator, root.ID), "never deleted")
		_, err = h.RenameTeam(ctx, operator, root.ID, "X")
		h.wantTeamError(err, "never renamed")
		// A scope is everybody's, and stays when the group has another name.
		_, err = h.SetTeamScope(ctx, operator, own.ID, []string{"aws"})
		h.must(err)
		h.rename(eng.ID, "Engineering")
		if got := h.team("Engineering"); got.ID != own.ID || len(got.Scope) != 1 {
			h.Errorf("after the rename the team is %+v, want %s for aws", got, own.ID)
		}
		// Deleting the group keeps its team while somebody holds a role on it for another reason.
		_, err = h.GiveRole(ctx, operator, ana.ID, identity.TeamRole{Team: "Engineering", Role: identity.RoleOperator})
		h.must(err)
		h.must(h.DeleteGroup(ctx, pusher, "okta", eng.ID, 0))
		h.wantTeams("Engineering")
		h.wantAccess(ana.ID, "Engineering:operator via manual")
		_, err = h.TakeRole(ctx, operator, ana.ID, identity.TeamRole{Team: "Engineering", Role: identity.RoleOperator})
		h.must(err)
		h.wantTeams()
	})
}

func TestTeams_AMappingStandsInTheWay(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ctx := h.Context()
		made, err := h.CreateTeam(ctx, operator, "Pay", nil)
		h.must(err)
		h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("Nobody", "Pay:viewer")}}})
		h.wantTeamError(h.DeleteTeam(ctx, operator, made.ID), "names it: unmap that first")
		_, err = h.RenameTeam(ctx, operator, made.ID, "Payments")
		h.must(err)
		h.wantRules("Nobody Payments:viewer")
		h.remap(rule("Nobody", "Payments:viewer"))
		_, err = h.SyncMapping(ctx, operator, lifecycle.Remap{})
		h.must(err)
		_, err = h.RenameTeam(ctx, operator, made.ID, "X")
		h.wantTeamError(err, "in the configuration names it")
	})
}

func TestRolesByHand(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ctx := h.Context()
		ana := h.create("okta", "ana", withRoles("viewer"))
		h.group("Eng", ana.ID)
		viewer := identity.TeamRole{Team: "root", Role: identity.RoleViewer}
		for _, want := range []bool{true, false} {
			if given, err := h.GiveRole(ctx, operator, ana.ID, viewer); err != nil || given != want {
				h.Errorf("GiveRole = %v, %v, want %v", given, err, want)
			}
		}
		// Another administrator's is another reason, and both go when it is taken away; what the IdP states stays.
		boss := h.admin("boss")
		if _, err := h.GiveRole(ctx, identity.Actor{Kind: "user", ID: boss.ID, Name: boss.UserName}, ana.ID, viewer); err != nil {
			h.Error(err)
		}
		h.wantAccess(ana.ID, "Eng:viewer via group Eng", "root:viewer via direct attribute roles", "root:viewer via manual", "root:viewer via manual")
		for _, want := range []bool{true, false} {
			if taken, err := h.TakeRole(ctx, operator, ana.ID, viewer); err != nil || taken != want {
				h.Errorf("TakeRole = %v, %v, want %v", taken, err, want)
			}
		}
		h.wantAccess(ana.ID, "Eng:viewer via group Eng", "root:viewer via direct attribute roles")
		_, err := h.GiveRole(ctx, operator, ana.ID, identity.TeamRole{Team: "nowhere", Role: identity.RoleViewer})
		h.wantTeamError(err, "no such team")
		var unknown *lifecycle.UnknownRoleError
		if _, err := h.GiveRole(ctx, operator, ana.ID, identity.TeamRole{Team: "root", Role: "owner"}); !errors.As(err, &unknown) {
			h.Errorf("%v, want that there is no such role", err)
		}
		h.must(h.DeleteUser(ctx, pusher, "okta", ana.ID, 0))
		if _, err := h.GiveRole(ctx, operator, ana.ID, viewer); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("a role for somebody deleted: %v", err)
		}
	})
}

func TestSetActive(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ctx := h.Context()
		one, two := h.admin("one"), h.admin("two")
		h.key("k2", two.ID, false)
		got, err := h.SetActive(ctx, operator, two.ID, false, "left")
		if h.must(err); got.Active || got.Reason != "left" {
			h.Errorf("deactivated: %+v", got)
		}
		_, err = h.SetActive(ctx, operator, one.ID, false, "left")
		h.wantRefused(err, lastAdmin)
		if _, err := h.EnableKey(ctx, operator, "k2"); !errors.Is(err, lifecycle.ErrOwnerInactive) {
			h.Errorf("enabling the key of somebody inactive: %v", err)
		}
		_, err = h.SetActive(ctx, operator, two.ID, true, "back")
		h.must(err)
		if k, err := h.s.KeyByID(ctx, "k2"); err != nil || k.Disabled.IsZero() {
			h.Errorf("the key came back with its owner: %+v, %v", k, err)
		}
		for _, want := range []bool{true, false} {
			if enabled, err := h.EnableKey(ctx, operator, "k2"); err != nil || enabled != want {
				h.Errorf("EnableKey = %v, %v, want %v", enabled, err, want)
			}
		}
		h.must(h.RevokeKey(ctx, operator, "k2"))
		if _, err := h.EnableKey(ctx, operator, "k2"); !errors.Is(err, lifecycle.ErrKeyRevoked) {
			h.Errorf("enabling a revoked key: %v", err)
		}
		ana := h.create("okta", "ana")
		var owned *lifecycle.OwnedError
		if _, err := h.SetActive(ctx, operator, ana.ID, false, "left"); !errors.As(err, &owned) || owned.Source != "okta" {
			h.Errorf("%v, want that okta owns her", err)
		}
	})
}

// What takes a role away by a way that is not a deactivation asks break glass as well.
func TestBreakGlass_OwnerOfASCIMKeyIsNotDemoted(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ctx := h.Context()
		h.admin("spare")
		scim := h.local("scim")
		keepers := h.group("Keepers", scim.ID)
		h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("Keepers", "root:admin", "root:scim_provisioner")}}})
		h.key("k1", scim.ID, true)
		const reason = keyOwner + ", which needs admin and scim_provisioner on the root team: revoke the key first"
		for name, demote := range map[string]func() error{
			"unmapped": func() error {
				_, err := h.Remap(ctx, operator, lifecycle.Remap{Edit: roles.Edit{Unmap: []roles.Rule{rule("Keepers", "root:scim_provisioner")}}})
				return err
			},
			"taken out of the group": func() error {
				_, err := h.members(keepers.ID, removes(scim.ID))
				return err
			},
			"group deleted": func() error { return h.DeleteGroup(ctx, pusher, "okta", keepers.ID, 0) },
			"group emptied": func() error {
				_, err := h.members(keepers.ID, lifecycle.MemberOp{Op: lifecycle.MembersSet})
				return err
			},
		} {
			err := demote()
			var refused *lifecycle.RefusedError
			if !errors.As(err, &refused) || refused.Reason != "break glass: "+reason || refused.UserID != scim.ID {
				h.Errorf("%s: %v, want a refusal because %s", name, err, reason)
			}
		}
		h.must(h.RevokeKey(ctx, operator, "k1"))
		_, err := h.members(keepers.ID, removes(scim.ID))
		h.must(err)
	})
}
