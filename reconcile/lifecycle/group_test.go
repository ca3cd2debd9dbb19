package lifecycle_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func TestCreateGroup(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, ben := h.create("scim:k1", "ana"), h.create("scim:k1", "ben", inactive)
		h.skipEvents()
		g := h.group("Engineers", ana.ID, ben.ID, ana.ID)
		if g.MemberCount != 2 || g.Version != 1 || g.Source != "scim:k1" || g.TeamID == "" {
			h.Errorf("CreateGroup() = %+v", g)
		}
		h.wantMembers(g.ID, "ana", "ben")
		h.wantTeams("Engineers of a group", "Payments")
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "Payments:operator via group Engineers")
		h.wantAccess(ben.ID, "suspended", "Engineers:viewer via group Engineers", "Payments:operator via group Engineers")
		h.wantEvents("group.created Engineers", "grant.added Engineers (viewer on Engineers)", "grant.added Engineers (operator on Payments)", "membership.added Engineers ana,ben")

		_, err := h.CreateGroup(h.Context(), pusher, "scim:k1", identity.Group{DisplayName: "ENGINEERS"}, nil)
		h.wantDuplicate(err, "displayName", "")
		_, err = h.CreateGroup(h.Context(), pusher, "scim:k1", identity.Group{DisplayName: "New", ExternalID: "x-Engineers"}, nil)
		h.wantDuplicate(err, "externalId", "")
		_, err = h.CreateGroup(h.Context(), pusher, "scim:k1", identity.Group{DisplayName: "New"}, []string{ana.ID, "nobody"})
		var unknown *lifecycle.UnknownMemberError
		if !errors.As(err, &unknown) || !slices.Equal(unknown.IDs, []string{"nobody"}) {
			h.Errorf("a member who is nobody: %v", err)
		}
		h.wantTeams("Engineers of a group", "Payments")
		h.wantEvents()
	}, rule("engineers", "Payments:operator"))
}

func TestTeams_FollowTheirGroups(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		g := h.group("Engineers")
		h.skipEvents()
		renamed := h.rename(g.ID, "Builders")
		if renamed.TeamID != g.TeamID {
			h.Error("a rename made another team")
		}
		h.wantTeams("Builders of a group")
		h.wantEvents("group.updated Builders", "team.updated Builders")

		root := h.group("ROOT")
		h.wantTeams("Builders of a group", "ROOT (group "+root.ID[:8]+") of a group")
		h.rename(root.ID, "Admins")
		h.wantTeams("Admins of a group", "Builders of a group")
		h.rename(root.ID, "Root")
		if team, err := h.s.TeamByName(h.Context(), "root"); err != nil || team.GroupID != "" || team.ID != identity.RootTeamID {
			h.Errorf("the root team is %+v (%v)", team, err)
		}
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", root.ID, 0))
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", g.ID, 0))
		h.wantTeams()
	})
}

func TestTeams_LocalOnesAreAdoptedByANewGroup(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana")
		eng := h.group("Engineers", ana.ID)
		h.wantTeams("Engineers of a group", "Payments")
		pay := h.group("payments")
		h.wantTeams("Engineers of a group", "payments of a group")
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "payments:operator via group Engineers")

		// The team outlives its group while others hold grants on it, and goes with the last of them.
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", pay.ID, 0))
		h.wantTeams("Engineers of a group", "payments")
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "payments:operator via group Engineers")
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", eng.ID, 0))
		h.wantTeams()

		// A group that is renamed to a local team's name leaves that one alone.
		eng = h.group("Engineers")
		other := h.group("Other")
		h.rename(other.ID, "Payments")
		h.wantTeams("Engineers of a group", "Payments", "Payments (group "+other.ID[:8]+") of a group")
	}, rule("engineers", "Payments:operator"))
}

func TestTeams_ARenameTakesTheRulesOfItsNameAlong(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana")
		pay := h.group("Payments")
		h.group("Engineers", ana.ID)
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "Payments:operator via group Engineers")
		h.rename(pay.ID, "Billing")
		h.wantTeams("Billing of a group", "Engineers of a group", "Payments")
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "Payments:operator via group Engineers")
	}, rule("engineers", "Payments:operator"))
}

func TestMapping_MeansAGroupByNameIDOrExternalID(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana")
		g := h.group("Engineers", ana.ID)
		h.skipEvents()
		own := "Builders:viewer via group Builders"
		h.rename(g.ID, "Builders")
		for _, reference := range []string{"BUILDERS", "X-engineers", g.ID} {
			h.remap(rule(reference, "root:operator"))
			h.rename(g.ID, "Temporary")
			h.rename(g.ID, "Builders")
			h.wantAccess(ana.ID, own, "root:operator via group Builders")
		}
		// A name that is mapped no more gives nothing any more.
		h.remap(rule("engineers", "root:operator"))
		h.rename(g.ID, "Engineers")
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "root:operator via group Engineers")
		h.skipEvents()
		h.rename(g.ID, "Builders")
		h.wantAccess(ana.ID, own)
		h.wantEvents("group.updated Builders", "team.updated Builders", "grant.revoked Builders (operator on root)")
	})
}

func TestChangeGroup(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		a, b := h.group("A"), h.group("B")
		h.skipEvents()
		got, err := h.ChangeGroup(h.Context(), pusher, "scim:k1", a.ID, a.Version, lifecycle.GroupChange{
			ExternalID: new("new"), Attributes: func(attributes identity.Attributes) { attributes["x"] = "y" },
		})
		h.must(err)
		if got.ExternalID != "new" || got.Attributes["x"] != "y" || got.Version != 2 || got.DisplayName != "A" {
			h.Errorf("ChangeGroup() = %+v", got)
		}
		h.wantEvents("group.updated A")
		if _, err := h.ChangeGroup(h.Context(), pusher, "scim:k1", a.ID, 1, lifecycle.GroupChange{}); !errors.Is(err, store.ErrStale) {
			h.Errorf("an old version: %v, want %v", err, store.ErrStale)
		}
		_, err = h.ChangeGroup(h.Context(), pusher, "scim:k1", b.ID, 0, lifecycle.GroupChange{DisplayName: new("a")})
		h.wantDuplicate(err, "displayName", "")
		if _, err := h.ChangeGroup(h.Context(), pusher, "scim:k1", uuid.NewString(), 0, lifecycle.GroupChange{}); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("nobody's id: %v, want %v", err, store.ErrNotFound)
		}
		// Nothing changes: no version, no event, and the push is noted.
		again, err := h.ChangeGroup(h.Context(), pusher, "scim:k1", b.ID, 0, lifecycle.GroupChange{DisplayName: new("B")})
		h.must(err)
		if again.Version != b.Version || !again.LastPushAt.After(b.LastPushAt) || !again.LastModified.Equal(b.LastModified) {
			h.Errorf("version %d, pushed %v, want version %d and a later push than %v", again.Version, again.LastPushAt, b.Version, b.LastPushAt)
		}
		h.wantEvents()
		if err := h.DeleteGroup(h.Context(), pusher, "scim:k1", a.ID, 1); !errors.Is(err, store.ErrStale) {
			h.Errorf("deleting an old version: %v, want %v", err, store.ErrStale)
		}
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", a.ID, 2))
		if err := h.DeleteGroup(h.Context(), pusher, "scim:k1", a.ID, 0); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("deleting twice: %v, want %v", err, store.ErrNotFound)
		}
		h.wantEvents("group.deleted A (deleted over SCIM)")
	})
}

func TestMembers(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		id := map[string]string{"nobody": uuid.NewString(), "nonsense": "x"}
		for _, name := range []string{"ana", "ben", "cleo", "dan"} {
			id[name] = h.create("scim:k1", name).ID
		}
		id["gone"] = h.create("scim:k1", "gone").ID
		h.must(h.DeleteUser(h.Context(), pusher, "scim:k1", id["gone"], 0))
		g := h.group("G")
		h.skipEvents()
		op := func(kind lifecycle.MemberOpKind, names ...string) lifecycle.MemberOp {
			o := lifecycle.MemberOp{Op: kind}
			for _, name := range names {
				o.IDs = append(o.IDs, id[name])
			}
			return o
		}
		const add, remove, set = lifecycle.MembersAdd, lifecycle.MembersRemove, lifecycle.MembersSet
		for _, c := range []struct {
			name    string
			ops     []lifecycle.MemberOp
			want    []string
			events  []string
			unknown []string
		}{
			{"add", []lifecycle.MemberOp{op(add, "ana", "ben")}, []string{"ana", "ben"}, []string{"membership.added G ana,ben"}, nil},
			{"add who is in", []lifecycle.MemberOp{op(add, "ana")}, []string{"ana", "ben"}, nil, nil},
			{"add some who are in", []lifecycle.MemberOp{op(add, "ana", "cleo", "cleo")}, []string{"ana", "ben", "cleo"}, []string{"membership.added G cleo"}, nil},
			{"add nobody", []lifecycle.MemberOp{op(add)}, []string{"ana", "ben", "cleo"}, nil, nil},
			{"add who is nobody", []lifecycle.MemberOp{op(add, "dan"), op(add, "nobody", "dan", "nonsense")}, []string{"ana", "ben", "cleo"}, nil, []string{"nobody", "nonsense"}},
			{"add who was deleted", []lifecycle.MemberOp{op(add, "gone")}, []string{"ana", "ben", "cleo"}, nil, []string{"gone"}},
			{"remove", []lifecycle.MemberOp{op(remove, "ben", "dan", "nobody", "nonsense")}, []string{"ana", "cleo"}, []string{"membership.removed G ben"}, nil},
			{"remove who is out", []lifecycle.MemberOp{op(remove, "ben")}, []string{"ana", "cleo"}, nil, nil},
			{"remove and add", []lifecycle.MemberOp{op(remove, "ana"), op(add, "ben")}, []string{"ben", "cleo"}, []string{"membership.removed G ana", "membership.added G ben"}, nil},
			{"set", []lifecycle.MemberOp{op(set, "ana", "cleo", "dan")}, []string{"ana", "cleo", "dan"}, []string{"membership.added G ana,dan", "membership.removed G ben"}, nil},
			{"set the same", []lifecycle.MemberOp{op(set, "dan", "cleo", "ana")}, []string{"ana", "cleo", "dan"}, nil, nil},
			{"set who is nobody", []lifecycle.MemberOp{op(set, "ana", "nobody")}, []string{"ana", "cleo", "dan"}, nil, []string{"nobody"}},
			{"set nobody", []lifecycle.MemberOp{op(set)}, []string{}, []string{"membership.removed G ana,cleo,dan"}, nil},
		} {
			before, err := h.s.Group(h.Context(), g.ID)
			h.must(err)
			got, err := h.members(g.ID, c.ops...)
			h.Log(c.name)
			var unknown *lifecycle.UnknownMemberError
			if errors.As(err, &unknown) {
				var want []string
				for _, name := range c.unknown {
					want = append(want, id[name])
				}
				if diff := cmp.Diff(want, unknown.IDs); diff != "" {
					h.Errorf("unknown (-want +got):\n%s", diff)
				}
			} else if h.must(err); c.unknown != nil {
				h.Errorf("%s: no error", c.name)
			} else if changed := got.Version > before.Version; changed != (len(c.events) > 0) || got.MemberCount != len(c.want) {
				h.Errorf("%s: version %d after %d, %d members", c.name, got.Version, before.Version, got.MemberCount)
			}
			h.wantMembers(g.ID, c.want...)
			h.wantEvents(c.events...)
		}
	})
}

func TestMembers_ParallelAddersLoseNone(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		g := h.group("G")
		var ids []string
		for range 20 {
			ids = append(ids, h.create("scim:k1", uuid.NewString()).ID)
		}
		applier, err := lifecycle.New(lifecycle.Options{Store: h.s})
		h.must(err)
		var wait sync.WaitGroup
		for _, id := range ids {
			wait.Go(func() {
				_, err := applier.ChangeGroup(h.Context(), pusher, "scim:k1", g.ID, 0, lifecycle.GroupChange{Members: []lifecycle.MemberOp{{Op: lifecycle.MembersAdd, IDs: []string{id}}}})
				if err != nil {
					h.Error(err)
				}
			})
		}
		wait.Wait()
		if got, err := h.s.Group(h.Context(), g.ID); err != nil || got.MemberCount != len(ids) || got.Version != int64(len(ids))+1 {
			h.Errorf("%d members at version %d (%v), want %d at %d", got.MemberCount, got.Version, err, len(ids), len(ids)+1)
		}
	})
}

// The only local admin may be one by a group, and must not lose that.
func TestBreakGlass_TheAdminByAGroup(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, ben := h.local("ana"), h.create("scim:k1", "ben")
		g := h.group("Admins", ana.ID, ben.ID)
		other := h.group("Other", ana.ID)
		h.skipEvents()
		before := h.held(ana.ID)
		for name, op := range map[string]func() error{
			"remove the member": func() error {
				return errorOf(h.members(g.ID, lifecycle.MemberOp{Op: lifecycle.MembersRemove, IDs: []string{ana.ID}}))
			},
			"set others": func() error {
				return errorOf(h.members(g.ID, lifecycle.MemberOp{Op: lifecycle.MembersSet, IDs: []string{ben.ID}}))
			},
			"empty the group": func() error { return errorOf(h.members(g.ID, lifecycle.MemberOp{Op: lifecycle.MembersSet})) },
			"rename the group": func() error {
				return errorOf(h.ChangeGroup(h.Context(), pusher, "scim:k1", g.ID, 0, lifecycle.GroupChange{DisplayName: new("Renamed")}))
			},
			"delete the group": func() error { return h.DeleteGroup(h.Context(), pusher, "scim:k1", g.ID, 0) },
			"apply a mapping without it": func() error {
				h.remap()
				defer h.remap(rule("admins", "root:admin"))
				run := h.begin()
				c := identity.Change{Object: identity.ObjectGrant, Op: identity.OpRemove, ID: g.ID}
				outcomes := h.apply(run, c)
				if len(outcomes) != 1 || outcomes[0].State != identity.StateSkipped {
					h.Errorf("%+v, want it skipped", outcomes)
				}
				return &lifecycle.RefusedError{Reason: outcomes[0].Reason[len("refused: "):]}
			},
		} {
			h.Log(name)
			h.wantRefused(op(), lastAdmin)
			h.wantMembers(g.ID, "ana", "ben")
			h.wantEvents("change.refused (break glass: " + lastAdmin + ")")
			h.same(before)
			h.wantAccess(ana.ID, "Admins:viewer via group Admins", "Other:viewer via group Other", "root:admin via group Admins")
		}
		// Others may go, and groups that give no admin.
		h.must(errorOf(h.members(g.ID, lifecycle.MemberOp{Op: lifecycle.MembersRemove, IDs: []string{ben.ID}})))
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", other.ID, 0))
		// With a second local admin the first may.
		h.admin("root")
		h.must(h.DeleteGroup(h.Context(), pusher, "scim:k1", g.ID, 0))
	}, rule("admins", "root:admin"))
}

// An installation that has no local admin is not held to keep one.
func TestBreakGlass_WhereThereIsNoLocalAdmin(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana", withRoles("admin"))
		h.must(errorOf(h.change(ana.ID, withRoles())))
		h.must(h.DeleteUser(h.Context(), pusher, "scim:k1", ana.ID, 0))
	})
}

func TestUnknownMemberError_NamesAFew(t *testing.T) {
	t.Parallel()
	err := &lifecycle.UnknownMemberError{IDs: []string{"1", "2", "3", "4", "5", "6", "7"}}
	if got, want := err.Error(), "no such user or group: 1, 2, 3, 4, 5 and 2 more"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
