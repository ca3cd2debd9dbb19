package lifecycle_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func adds(ids ...string) lifecycle.MemberOp {
	return lifecycle.MemberOp{Op: lifecycle.MembersAdd, IDs: ids}
}

func removes(ids ...string) lifecycle.MemberOp {
	return lifecycle.MemberOp{Op: lifecycle.MembersRemove, IDs: ids}
}

func sets(ids ...string) lifecycle.MemberOp {
	return lifecycle.MemberOp{Op: lifecycle.MembersSet, IDs: ids}
}

// wantListed wants a group's members, users and groups, by their names.
func (h *house) wantListed(id string, want ...string) {
	h.Helper()
	members, err := h.s.MembersOfGroups(h.Context(), []string{id})
	h.must(err)
	var got []string
	for _, m := range members[id] {
		got = append(got, h.memberName(m.ID))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		h.Errorf("members (-want +got):\n%s", diff)
	}
}

func TestNested_MembersAreUsersAndGroups(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, ben := h.create("scim:k1", "ana"), h.create("scim:k1", "ben")
		inner, other := h.group("Inner", ben.ID), h.group("Other")
		outer := h.group("Outer", ana.ID, inner.ID)
		if outer.MemberCount != 1 {
			h.Errorf("%d members are counted, want the one user", outer.MemberCount)
		}
		h.skipEvents()
		nobody := uuid.NewString()
		for _, c := range []struct {
			name   string
			op     lifecycle.MemberOp
			want   []string
			events []string
		}{
			{"add", adds(inner.ID, ben.ID, other.ID), []string{"ana", "ben", "group Inner", "group Other"}, []string{"membership.added Outer ben,group Other"}},
			{"add what is in", adds(other.ID), []string{"ana", "ben", "group Inner", "group Other"}, nil},
			{"remove", removes(other.ID, ana.ID, nobody), []string{"ben", "group Inner"}, []string{"membership.removed Outer ana,group Other"}},
			{"remove what is out", removes(other.ID), []string{"ben", "group Inner"}, nil},
			{"set", sets(other.ID, ben.ID), []string{"ben", "group Other"}, []string{"membership.added Outer group Other", "membership.removed Outer group Inner"}},
			{"set the same", sets(ben.ID, other.ID), []string{"ben", "group Other"}, nil},
			{"set none", sets(), nil, []string{"membership.removed Outer ben,group Other"}},
		} {
			before, err := h.s.Group(h.Context(), outer.ID)
			h.must(err)
			got, err := h.members(outer.ID, c.op)
			h.Log(c.name)
			h.must(err)
			held, err := h.s.Group(h.Context(), outer.ID)
			h.must(err)
			if diff := cmp.Diff(held, got); diff != "" {
				h.Errorf("%s: returned another group than the one held:\n%s", c.name, diff)
			}
			if changed := got.Version > before.Version; changed != (len(c.events) > 0) {
				h.Errorf("%s: version %d after %d", c.name, got.Version, before.Version)
			}
			h.wantListed(outer.ID, c.want...)
			h.wantEvents(c.events...)
		}
		h.wantListed(inner.ID, "ben")
	})
}

func TestNested_WhatIsUnknownChangesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, inner := h.create("scim:k1", "ana"), h.group("Inner")
		outer := h.group("Outer", ana.ID)
		h.skipEvents()
		nobody := uuid.NewString()
		for _, ops := range [][]lifecycle.MemberOp{
			{adds(inner.ID, nobody)},
			{adds(nobody)},
			{sets(inner.ID, nobody)},
			{removes(ana.ID), adds(inner.ID), adds(nobody)},
		} {
			_, err := h.members(outer.ID, ops...)
			var unknown *lifecycle.UnknownMemberError
			if !errors.As(err, &unknown) || !slices.Equal(unknown.IDs, []string{nobody}) {
				h.Errorf("%+v: error %v, want that %s is unknown", ops, err, nobody)
			}
		}
		h.wantListed(outer.ID, "ana")
		h.wantEvents()
	})
}

func TestNested_NoCycles(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		inner := h.group("Inner")
		middle := h.group("Middle", inner.ID)
		outer := h.group("Outer", middle.ID)
		ana := h.create("scim:k1", "ana")
		h.skipEvents()
		for _, c := range []struct {
			group identity.Group
			op    lifecycle.MemberOp
			names []string
		}{
			{inner, adds(ana.ID, outer.ID), []string{"Inner", "Outer", inner.ID, outer.ID}},
			{inner, sets(middle.ID), []string{"Inner", "Middle"}},
			{outer, adds(outer.ID), []string{"Outer", "itself"}},
		} {
			_, err := h.members(c.group.ID, c.op)
			var cycle *store.CycleError
			if !errors.As(err, &cycle) {
				h.Errorf("%s in %s: error %v, want a *store.CycleError", c.op.IDs, c.group.DisplayName, err)
				continue
			}
			for _, name := range c.names {
				if !strings.Contains(cycle.Error(), name) {
					h.Errorf("Error() = %q, want %s in it", cycle.Error(), name)
				}
			}
		}
		h.wantListed(inner.ID)
		h.wantEvents()
		// What was in the way may go.
		h.must(errorOf(h.members(outer.ID, removes(middle.ID))))
		h.must(errorOf(h.members(inner.ID, adds(outer.ID))))
	})
}

func TestNested_GrantsFlowInwards(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, ben := h.create("scim:k1", "ana"), h.create("scim:k1", "ben")
		inner := h.group("Inner", ana.ID)
		middle := h.group("Middle", inner.ID)
		outer := h.group("Outer", middle.ID, ben.ID)
		inside := []string{"Inner:viewer via group Inner", "Middle:viewer via group Middle through Inner"}
		all := []string{"Outer:viewer via group Outer through Inner", "Payments:operator via group Outer through Inner"}
		h.wantAccess(ana.ID, slices.Concat(inside, all)...)
		h.wantAccess(ben.ID, "Outer:viewer via group Outer", "Payments:operator via group Outer")
		// A member of both has the outer group's reason once, as a member of its own.
		h.must(errorOf(h.members(outer.ID, adds(ana.ID))))
		h.wantAccess(ana.ID, slices.Concat(inside, []string{"Outer:viewer via group Outer", "Payments:operator via group Outer"})...)
		h.must(errorOf(h.members(outer.ID, removes(ana.ID))))
		h.wantAccess(ana.ID, slices.Concat(inside, all)...)
		// Two ways in are one reason.
		beside := h.group("Beside", ana.ID)
		h.must(errorOf(h.members(outer.ID, adds(beside.ID))))
		h.wantAccess(ana.ID, slices.Concat([]string{"Beside:viewer via group Beside"}, inside, []string{
			"Outer:viewer via group Outer through Beside, Inner", "Payments:operator via group Outer through Beside, Inner",
		})...)
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", beside.ID, 0))
		h.wantAccess(ana.ID, slices.Concat(inside, all)...)
		// The group between goes, and what came through it.
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", middle.ID, 0))
		h.wantAccess(ana.ID, "Inner:viewer via group Inner")
		h.wantListed(outer.ID, "ben")
		h.wantListed(inner.ID, "ana")
	}, rule("outer", "Payments:operator"))
}

func TestNested_DeletingTellsTheGroupsAround(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		inner := h.group("Inner")
		one, two := h.group("One", inner.ID), h.group("Two", inner.ID)
		h.skipEvents()
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", inner.ID, 0))
		for _, g := range []identity.Group{one, two} {
			after, err := h.s.Group(h.Context(), g.ID)
			h.must(err)
			if after.Version != g.Version+1 {
				h.Errorf("%s is at version %d, want %d: it lost a member", g.DisplayName, after.Version, g.Version+1)
			}
			h.wantListed(g.ID)
		}
		h.wantEvents("membership.removed One group gone", "membership.removed Two group gone", "group.deleted Inner (deleted over SCIM)")
	})
}

// A pull compares users, and removes none of the groups that a push has nested.
func TestNested_APullLeavesThem(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, ben := h.create("okta", "ana"), h.create("okta", "ben")
		inner := h.group("Inner")
		outer, err := h.CreateGroup(h.Context(), pusher, "okta", identity.Group{DisplayName: "Outer", ExternalID: "00g1"}, []string{ana.ID, inner.ID})
		h.must(err)
		run := h.begin()
		change := identity.Change{Object: identity.ObjectMember, Op: identity.OpRemove, SourceID: "00g1", ID: outer.ID, MemberID: ana.ID, ReadAt: h.tick()}
		add := change
		add.Op, add.MemberID = identity.OpAdd, ben.ID
		for _, o := range h.apply(run, add, change) {
			if o.State != identity.StateApplied {
				h.Errorf("%+v, want it applied", o)
			}
		}
		h.wantListed(outer.ID, "ben", "group Inner")
		extra, err := h.s.ExtraMembers(h.Context(), run.ID, "okta", "00g1", outer.ID, "", 10)
		h.must(err)
		if len(extra) != 1 || extra[0].UserID != ben.ID {
			h.Errorf("ExtraMembers = %+v, want ben alone: no group is drift", extra)
		}
	})
}

// The last local admin may be one by a group in a group in the one that gives the role.
func TestBreakGlass_TheAdminByNesting(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.local("ana")
		inner := h.group("Inner", ana.ID)
		middle := h.group("Middle", inner.ID)
		outer := h.group("Admins", middle.ID)
		h.skipEvents()
		before := h.held(ana.ID)
		want := []string{
			"Admins:viewer via group Admins through Inner", "Inner:viewer via group Inner",
			"Middle:viewer via group Middle through Inner", "root:admin via group Admins through Inner",
		}
		for name, op := range map[string]func() error{
			"take the nested group out":  func() error { return errorOf(h.members(outer.ID, removes(middle.ID))) },
			"set no members":             func() error { return errorOf(h.members(outer.ID, sets())) },
			"take out the group between": func() error { return errorOf(h.members(middle.ID, sets())) },
			"delete the outer group":     func() error { return h.DeleteGroup(h.Context(), pusher, "scim:k1", outer.ID, 0) },
			"delete the group between":   func() error { return h.DeleteGroup(h.Context(), pusher, "scim:k1", middle.ID, 0) },
			"delete the inner group":     func() error { return h.DeleteGroup(h.Context(), pusher, "scim:k1", inner.ID, 0) },
			"take the person out":        func() error { return errorOf(h.members(inner.ID, removes(ana.ID))) },
			"rename the group of the map": func() error {
				return errorOf(h.ChangeGroup(h.Context(), pusher, "scim:k1", outer.ID, 0, lifecycle.GroupChange{DisplayName: new("Other")}))
			},
		} {
			h.Log(name)
			h.wantRefused(op(), lastAdmin)
			h.wantEvents("change.refused (break glass: " + lastAdmin + ")")
			h.same(before)
			h.wantAccess(ana.ID, want...)
		}
		h.wantRefused(errorOf(h.change(ana.ID, inactive)), lastAdmin)
		h.same(before)
		h.admin("root")
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", middle.ID, 0))
		h.wantAccess(ana.ID, "Inner:viewer via group Inner")
	}, rule("admins", "root:admin"))
}

// Many requests at once try to close a cycle, from all sides. None does, and none fails otherwise.
func TestNested_NoCycleByParallelRequests(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		const n = 6
		var groups [n]identity.Group
		for i := range groups {
			groups[i] = h.group(string(rune('A' + i)))
		}
		applier, err := lifecycle.New(lifecycle.Options{Store: h.s})
		h.must(err)
		var wait sync.WaitGroup
		for i := range groups {
			for _, step := range []int{1, 2, 3} {
				wait.Go(func() {
					ops := []lifecycle.MemberOp{adds(groups[(i+step)%n].ID)}
					_, err := applier.ChangeGroup(h.Context(), pusher, "scim:k1", groups[i].ID, 0, lifecycle.GroupChange{Members: ops})
					var cycle *store.CycleError
					if err != nil && !errors.As(err, &cycle) {
						h.Errorf("ChangeGroup: %v", err)
					}
				})
			}
		}
		wait.Wait()
		var paths int
		h.must(h.s.DB().QueryRowContext(h.Context(), "WITH RECURSIVE up (a, b) AS (SELECT member_id, group_id FROM group_nested "+
			"UNION SELECT up.a, n.group_id FROM up JOIN group_nested n ON n.member_id = up.b) "+
			"SELECT count(*) FROM up WHERE a = b").Scan(&paths))
		if paths != 0 {
			h.Errorf("%d groups are in themselves", paths)
		}
	})
}
