package lifecycle_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// remapped does a change of the mapping and returns what it comes to, as lines.
func (h *house) remapped(r lifecycle.Remap) (lifecycle.MappingPlan, []string) {
	h.Helper()
	p, err := h.Remap(h.Context(), operator, r)
	h.must(err)
	return p, effectLines(p)
}

func effectLines(p lifecycle.MappingPlan) []string {
	lines := []string{}
	for i, list := range [][]lifecycle.RoleEffect{p.Gains, p.Losses} {
		for _, e := range list {
			lines = append(lines, fmt.Sprintf("%s%s %s:%s", []string{"+", "-"}[i], strings.TrimSuffix(e.UserName, "@acme.test"), e.Team, e.Role))
		}
	}
	return lines
}

func (h *house) wantLines(got []string, want ...string) {
	h.Helper()
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		h.Errorf("who gains and loses (-want +got):\n%s", diff)
	}
}

func (h *house) wantRules(want ...string) {
	h.Helper()
	mapping, err := h.Mapping(h.Context())
	h.must(err)
	got := []string{}
	for _, r := range mapping.Rules() {
		for _, g := range r.Grants {
			got = append(got, r.Group+" "+g.Team+":"+g.Role)
		}
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		h.Errorf("rules in force (-want +got):\n%s", diff)
	}
}

func TestRemap_GivesAndTakesInOneTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, bo := h.create("okta", "ana"), h.create("okta", "bo")
		h.create("okta", "zoe")
		idle := h.create("okta", "idle", inactive)
		eng := h.group("Eng", ana.ID, bo.ID, idle.ID)
		ops := h.group("Ops", bo.ID)
		h.skipEvents()

		edit := roles.Edit{Map: []roles.Rule{rule("eng", "Pay:operator"), rule("OPS", "pay:operator", "root:viewer"), rule("Not yet", "Pay:viewer")}}
		preview, lines := h.remapped(lifecycle.Remap{Edit: edit, DryRun: true})
		h.wantLines(lines, "+ana Pay:operator", "+bo Pay:operator", "+bo root:viewer")
		h.wantRules()
		h.wantAccess(ana.ID, "Eng:viewer via group Eng")
		h.wantEvents() // a preview writes nothing
		h.wantTeams("Eng of a group", "Ops of a group")

		done, lines := h.remapped(lifecycle.Remap{Edit: edit, Approve: preview.Hash})
		h.wantLines(lines, "+ana Pay:operator", "+bo Pay:operator", "+bo root:viewer")
		if !done.Applied || done.Hash != preview.Hash || done.Losing != 0 {
			h.Errorf("applied %v, hash %s, want that of the preview, %s", done.Applied, done.Hash, preview.Hash)
		}
		h.wantAccess(bo.ID, "Eng:viewer via group Eng", "Ops:viewer via group Ops", "Pay:operator via group Eng", "Pay:operator via group Ops", "root:viewer via group Ops")
		h.wantEvents("mapping.changed eng (role mapping)", "mapping.changed Not yet (role mapping)", "mapping.changed OPS (role mapping)",
			"grant.added Eng (operator on Pay)", "grant.added Ops (operator on Pay)", "grant.added Ops (viewer on root)")

		// Who holds a role for another reason keeps it.
		_, lines = h.remapped(lifecycle.Remap{Edit: roles.Edit{Unmap: []roles.Rule{rule("Eng")}}})
		h.wantLines(lines, "-ana Pay:operator")
		_, lines = h.remapped(lifecycle.Remap{Edit: roles.Edit{Unmap: []roles.Rule{rule("ops", "Pay:operator")}}})
		h.wantLines(lines, "-bo Pay:operator")
		h.wantRules("Not yet Pay:viewer", "OPS root:viewer")
		h.wantTeams("Eng of a group", "Ops of a group") // the mapping alone made Pay

		// A group that comes later finds its rule.
		late := h.group("not yet", ana.ID)
		h.wantAccess(ana.ID, "Eng:viewer via group Eng", "Pay:viewer via group not yet", "not yet:viewer via group not yet")

		// The same again is nothing.
		again, lines := h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("ops", "ROOT:viewer")}}})
		if !again.Empty() {
			h.Errorf("mapping what is mapped comes to %v", lines)
		}
		// Exactly what is written.
		all := []roles.Rule{rule(eng.ID, "Pay:operator")}
		_, lines = h.remapped(lifecycle.Remap{Edit: roles.Edit{All: &all}})
		h.wantLines(lines, "+ana Pay:operator", "+bo Pay:operator", "-ana Pay:viewer", "-bo root:viewer")
		_, _ = late, ops
	})
}

func TestRemap_FollowsNames(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("okta", "ana")
		eng, pay := h.group("Eng", ana.ID), h.group("Pay")
		h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("Eng", "Pay:operator")}}})
		h.rename(eng.ID, "Engineering")
		h.rename(pay.ID, "Payments")
		h.wantRules("Engineering Payments:operator")
		h.wantAccess(ana.ID, "Engineering:viewer via group Engineering", "Payments:operator via group Engineering")
		// Whoever takes a name that is free inherits nothing.
		bo := h.create("okta", "bo")
		for _, name := range []string{"Eng", "Pay"} {
			_, err := h.CreateGroup(h.Context(), pusher, "okta", identity.Group{DisplayName: name, ExternalID: "new " + name}, []string{bo.ID})
			h.must(err)
		}
		h.wantAccess(bo.ID, "Eng:viewer via group Eng", "Pay:viewer via group Pay")
		h.wantAccess(ana.ID, "Engineering:viewer via group Engineering", "Payments:operator via group Engineering")
	})
}

func TestRemap_TheGuardHolds(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		var ids []string
		for i := range 6 {
			ids = append(ids, h.create("okta", fmt.Sprintf("p%d", i)).ID)
		}
		h.group("Eng", ids[:4]...)
		h.group("Other", ids[4:]...)
		h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("Eng", "root:viewer")}}})
		var asked []int
		guard := func(losing, holding int) string {
			asked = append(asked, losing, holding)
			return "too many"
		}
		unmap := roles.Edit{Unmap: []roles.Rule{rule("Eng")}}
		held, _ := h.remapped(lifecycle.Remap{Edit: unmap, Guard: guard})
		if !held.Held() || held.Guard != "too many" || held.Losing != 4 || !slices.Equal(asked, []int{4, 6}) {
			h.Errorf("held %v (%s), asked of %v, want that 4 of 6 lose a role", held.Held(), held.Guard, asked)
		}
		h.wantRules("Eng root:viewer")
		// Another plan by the time of the approval is not done.
		bo := h.create("okta", "bo")
		mapped, err := h.s.GroupByName(h.Context(), "Eng")
		h.must(err)
		_, err = h.members(mapped.ID, adds(bo.ID))
		h.must(err)
		now, err := h.Remap(h.Context(), operator, lifecycle.Remap{Edit: unmap, Guard: guard, Approve: held.Hash})
		if !errors.Is(err, lifecycle.ErrPlanChanged) || now.Hash == held.Hash {
			h.Errorf("%v, want that the plan changed", err)
		}
		h.wantRules("Eng root:viewer")
		done, lines := h.remapped(lifecycle.Remap{Edit: unmap, Guard: guard, Approve: now.Hash})
		if !done.Applied || len(lines) != 5 {
			h.Errorf("applied %v: %v", done.Applied, lines)
		}
		h.wantRules()
		// Giving is never held.
		if given, _ := h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("Eng", "root:viewer")}}, Guard: guard}); !given.Applied {
			h.Error("a mapping by which nobody loses anything is held")
		}
	})
}

func TestRemap_IsRefused(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		local := h.local("glass")
		h.group("Admins", local.ID)
		h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("Admins", "root:admin")}}})
		var refused *lifecycle.RefusedError
		_, err := h.Remap(h.Context(), operator, lifecycle.Remap{Edit: roles.Edit{Unmap: []roles.Rule{rule("Admins")}}, DryRun: true})
		events, failed := h.s.Audit(h.Context(), store.AuditQuery{Type: string(identity.EventRefused), Limit: 1})
		h.must(failed)
		if !errors.As(err, &refused) || len(events) != 0 {
			h.Errorf("a dry run of what is refused: error %v, and recorded %v, want it told and not recorded", err, events)
		}
		_, err = h.Remap(h.Context(), operator, lifecycle.Remap{Edit: roles.Edit{Unmap: []roles.Rule{rule("Admins")}}})
		h.wantRefused(err, lastAdmin)
		h.wantRules("Admins root:admin")
		h.wantAccess(local.ID, "Admins:viewer via group Admins", "root:admin via group Admins")
		// To another group that gives the same in the same breath it may move.
		h.group("More", local.ID)
		all := []roles.Rule{rule("More", "root:admin")}
		h.remapped(lifecycle.Remap{Edit: roles.Edit{All: &all}})
		h.wantRules("More root:admin")

		for name, edit := range map[string]roles.Edit{
			`no role "owner"`:      {Map: []roles.Rule{rule("Admins", "root:owner")}},
			"a grant has no team":  {Map: []roles.Rule{rule("Admins", " :viewer")}},
			`no role "nobody"`:     {Set: []roles.Rule{rule("x", "y:nobody")}},
			"nothing to complain?": {},
		} {
			_, err := h.Remap(h.Context(), operator, lifecycle.Remap{Edit: edit})
			if strings.HasSuffix(name, "?") != (err == nil) || err != nil && !strings.Contains(err.Error(), name) {
				h.Errorf("%v: %v, want %s", edit, err, name)
			}
		}
	})
}

func TestRemap_WhatTheConfigurationDeclares(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("okta", "ana")
		h.group("Eng", ana.ID)
		h.wantAccess(ana.ID, "Eng:viewer via group Eng", "Pay:operator via group Eng") // before anything is stored
		sync := func(r lifecycle.Remap) lifecycle.MappingPlan {
			h.Helper()
			p, err := h.SyncMapping(h.Context(), operator, r)
			h.must(err)
			return p
		}
		if p := sync(lifecycle.Remap{}); len(p.Groups) != 0 {
			h.Errorf("storing what is in force changes %v", p.Groups)
		}
		var declared *lifecycle.MappingDeclaredError
		if _, err := h.Remap(h.Context(), operator, lifecycle.Remap{}); !errors.As(err, &declared) {
			h.Errorf("%v, want that the configuration declares it", err)
		}
		// A changed declaration is in force once it is stored, and not before: another process may not have read it.
		h.remap(rule("Eng", "Pay:viewer"))
		bo := h.create("okta", "bo")
		h.group("Eng2")
		h.wantRules("Eng Pay:operator")
		held := sync(lifecycle.Remap{Guard: func(int, int) string { return "held" }})
		h.wantLines(effectLines(held), "+ana Pay:viewer", "-ana Pay:operator")
		h.wantRules("Eng Pay:operator")
		sync(lifecycle.Remap{Guard: func(int, int) string { return "held" }, Approve: held.Hash})
		h.wantRules("Eng Pay:viewer")
		h.wantAccess(ana.ID, "Eng:viewer via group Eng", "Pay:viewer via group Eng")
		if p := sync(lifecycle.Remap{}); !p.Empty() || p.Applied {
			h.Error("the same again is done again")
		}
		// What is no longer declared stays, and is changed by hand.
		h.remap()
		if p := sync(lifecycle.Remap{}); !p.Empty() {
			h.Errorf("a declaration that is gone changes %v", effectLines(p))
		}
		h.wantRules("Eng Pay:viewer")
		h.remapped(lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule("Eng2", "Pay:operator")}}})
		h.wantRules("Eng Pay:viewer", "Eng2 Pay:operator")
		_ = bo
	}, rule("Eng", "Pay:operator"))
}

func TestRemap_DefaultRoleIsPartOfIt(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("okta", "ana")
		h.group("Eng", ana.ID)
		_, err := h.SyncMapping(h.Context(), operator, lifecycle.Remap{})
		h.must(err)
		none, err := roles.Compile(roles.Options{})
		h.must(err)
		h.Applier, err = lifecycle.New(lifecycle.Options{Store: h.s, Mapping: none, Now: h.tick})
		h.must(err)
		// A group that comes before the change is stored is like the others.
		h.group("Ops", ana.ID)
		h.wantAccess(ana.ID, "Eng:viewer via group Eng", "Ops:viewer via group Ops")
		p, err := h.SyncMapping(h.Context(), operator, lifecycle.Remap{})
		h.must(err)
		h.wantLines(effectLines(p), "-ana Eng:viewer", "-ana Ops:viewer")
		h.wantAccess(ana.ID)
	})
}

func TestRemap_GroupsThatComeMeanwhileMissNothing(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.skipEvents()
		const n = 12
		done := make(chan error, 2*n)
		for i := range n {
			go func() {
				_, err := h.Remap(h.Context(), operator, lifecycle.Remap{Edit: roles.Edit{Map: []roles.Rule{rule(fmt.Sprintf("G%d", i), "Pay:operator")}}})
				done <- err
			}()
			go func() {
				_, err := h.CreateGroup(h.Context(), pusher, "okta", identity.Group{DisplayName: fmt.Sprintf("G%d", i)}, nil)
				done <- err
			}()
		}
		for range 2 * n {
			h.must(<-done)
		}
		groups, _, err := h.s.Groups(h.Context(), store.GroupQuery{Limit: 100})
		h.must(err)
		for _, g := range groups {
			grants, err := h.s.GroupGrants(h.Context(), []string{g.ID})
			h.must(err)
			if len(grants[g.ID]) != 2 {
				h.Errorf("%s grants %v, want its own team and Pay", g.DisplayName, grants[g.ID])
			}
		}
	})
}
