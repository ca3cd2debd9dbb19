package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// begin makes a run whose journal changes go into.
func (h *house) begin() identity.Run {
	h.Helper()
	h.runs++
	run := identity.Run{ID: fmt.Sprint("run", h.runs), Connector: "okta", Status: identity.RunRunning, Started: h.now}
	h.must(h.s.PutRun(h.Context(), &run))
	return run
}

// apply journals changes, read just now, and applies them in one batch.
func (h *house) apply(run identity.Run, changes ...identity.Change) []lifecycle.Outcome {
	h.Helper()
	outcomes, err := h.tryApply(h.Context(), run, store.Lease{}, changes...)
	h.must(err)
	return outcomes
}

func (h *house) tryApply(ctx context.Context, run identity.Run, lease store.Lease, changes ...identity.Change) ([]lifecycle.Outcome, error) {
	h.Helper()
	for i := range changes {
		c := &changes[i]
		c.RunID, c.Ord, c.State = run.ID, int64(i+1), identity.StatePlanned
		if c.ReadAt.IsZero() {
			c.ReadAt = h.now
		}
	}
	h.must(h.s.InTx(h.Context(), func(tx *store.Tx) error { return tx.InsertChanges(h.Context(), changes) }))
	return h.Apply(ctx, lifecycle.Batch{Lease: lease, By: puller, Source: "okta", Changes: changes})
}

// wantStates wants outcomes, and the journal to have them.
func (h *house) wantStates(run identity.Run, outcomes []lifecycle.Outcome, want ...string) {
	h.Helper()
	var got []string
	for _, o := range outcomes {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s", o.State, o.Reason)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.Errorf("outcomes (-want +got):\n%s", diff)
	}
	journal, err := h.s.Changes(h.Context(), store.ChangeQuery{RunID: run.ID, Limit: 1000})
	h.must(err)
	for i, c := range journal {
		if i < len(outcomes) && (c.State != outcomes[i].State || outcomes[i].Reason != "" && c.Reason != outcomes[i].Reason) {
			h.Errorf("the journal has change %d %s (%s), the outcome is %+v", c.Ord, c.State, c.Reason, outcomes[i])
		}
	}
}

func set(path string, value any) identity.FieldChange {
	return identity.FieldChange{Path: path, After: value}
}

func stated(op identity.Op, status identity.Status, u identity.User, sourceID string, fields ...identity.FieldChange) identity.Change {
	return identity.Change{
		Object: identity.ObjectUser, Op: op, SourceID: sourceID, ID: u.ID, Name: u.UserName, Version: u.Version, Status: status, Fields: fields,
	}
}

func createdAs(sourceID, name string) identity.Change {
	return stated(identity.OpCreate, identity.StatusActive, identity.User{}, sourceID, set("userName", name+"@acme.test"), set("externalId", sourceID))
}

func absent(u identity.User) identity.Change {
	return identity.Change{Object: identity.ObjectUser, Op: identity.OpDeactivate, SourceID: u.SourceID, ID: u.ID, Version: u.Version, Absent: true, Reason: "absent, not found by id"}
}

func groupCreated(sourceID, name string) identity.Change {
	return identity.Change{Object: identity.ObjectGroup, Op: identity.OpCreate, SourceID: sourceID, Name: name, Fields: []identity.FieldChange{set("displayName", name), set("externalId", sourceID)}}
}

func (h *house) byName(name string) identity.User {
	h.Helper()
	u, err := h.s.UserByName(h.Context(), name+"@acme.test")
	h.must(err)
	return u
}

func TestApply_OneOfEveryChange(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, ben := h.create("okta", "ana"), h.create("okta", "ben")
		cleo, dan := h.create("okta", "cleo", inactive), h.local("dan")
		h.tick()
		h.skipEvents()
		run := h.begin()
		outcomes := h.apply(run,
			createdAs("eve", "eve"),
			stated(identity.OpUpdate, identity.StatusActive, ana, "ana", set("title", "CEO")),
			absent(ben),
			stated(identity.OpReactivate, identity.StatusActive, cleo, "cleo", set("active", true)),
			stated(identity.OpConvert, identity.StatusActive, dan, "dan", set("externalId", "dan")),
			groupCreated("g1", "G"),
			identity.Change{Object: identity.ObjectMember, Op: identity.OpAdd, SourceID: "g1", MemberSourceID: "eve"},
			identity.Change{Object: identity.ObjectMember, Op: identity.OpAdd, SourceID: "g1", MemberSourceID: "ana", MemberID: ana.ID},
			identity.Change{Object: identity.ObjectMember, Op: identity.OpAdd, SourceID: "g1", MemberSourceID: "nobody"},
			identity.Change{Object: identity.ObjectMember, Op: identity.OpAdd, SourceID: "g9", MemberSourceID: "ana", MemberID: ana.ID},
		)
		h.wantStates(run, outcomes, "applied", "applied", "applied", "applied", "applied", "applied", "applied", "applied",
			"skipped the user is not held", "skipped the group is not held")
		h.wantEvents("user.created eve", "user.updated ana", "user.deactivated ben (absent, not found by id)", "user.reactivated cleo",
			"user.converted dan", "group.created G", "grant.added G (viewer on G)", "membership.added G ana,eve")
		eve := h.byName("eve")
		if eve.Source != "okta" || eve.SourceID != "eve" || eve.Origin != identity.OriginSSO || !eve.Active {
			h.Errorf("created %+v", eve)
		}
		if got := h.held(dan.ID); got.Origin != identity.OriginSSO || got.Source != "okta" || got.SourceID != "dan" {
			h.Errorf("converted to %+v", got)
		}
		if got := h.held(ben.ID); got.Active || got.Reason != "absent, not found by id" {
			h.Errorf("deactivated to %+v", got)
		}
		h.wantAccess(eve.ID, "G:viewer via group G")
	})
}

func TestApply_OneBadChangeDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.create("scim:k1", "taken", func(u *identity.User) { u.ExternalID = "" })
		root := h.admin("root")
		h.skipEvents()
		run := h.begin()
		var changes []identity.Change
		var want []string
		for i := range 20 {
			changes = append(changes, createdAs(fmt.Sprint("u", i), fmt.Sprint("u", i)))
			want = append(want, "applied")
		}
		changes[3] = createdAs("u3", "Taken")
		want[3] = "failed insert into users: user: userName is already taken"
		changes[11] = stated(identity.OpConvert, identity.StatusActive, root, "u11", set("externalId", "u11"))
		want[11] = "skipped refused: break glass: " + lastAdmin
		changes[17] = createdAs("u16", "u17")
		want[17] = "skipped held by now: pushed since it was read, or listed twice by the source"
		changes[18].Fields = append(changes[18].Fields, set("title", "a\x00b"))
		outcomes := h.apply(run, changes...)
		// The journal keeps no NUL, so the text comes from the source itself here; whoever holds it is named.
		if !strings.HasPrefix(outcomes[18].Reason, "write user") && !strings.Contains(outcomes[18].Reason, store.ErrText.Error()) {
			h.Errorf("a text that no database holds: %+v", outcomes[18])
		}
		want[18] = "failed " + outcomes[18].Reason
		h.wantStates(run, outcomes, want...)
		h.same(root)
		if n, err := h.s.CountOwnedUsers(h.Context(), "okta"); err != nil || n != 16 {
			h.Errorf("%d users were created (%v), want 16", n, err)
		}
		var refusals int
		all, err := h.s.Audit(h.Context(), store.AuditQuery{Limit: 1000})
		h.must(err)
		for _, e := range all {
			if e.Type == identity.EventRefused {
				refusals++
				if e.ObjectID != root.ID || e.Actor.ID != "okta" {
					h.Errorf("the refusal is recorded as %+v", e)
				}
			}
		}
		if refusals != 1 {
			h.Errorf("%d refusals are recorded, want 1", refusals)
		}
	})
}

func TestApply_OvertakenChangesAreSkipped(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("okta", "ana")
		g, err := h.CreateGroup(h.Context(), pusher, "okta", identity.Group{DisplayName: "G", ExternalID: "g1"}, []string{ana.ID})
		h.must(err)
		h.tick()
		read := h.now
		update := func(u identity.User) identity.Change {
			c := stated(identity.OpUpdate, identity.StatusActive, u, "ana", set("title", "From the pull"))
			c.ReadAt = read
			return c
		}
		gone := absent(ana)
		gone.ReadAt = read
		leave := identity.Change{Object: identity.ObjectMember, Op: identity.OpRemove, SourceID: "g1", MemberSourceID: "ana", MemberID: ana.ID, ReadAt: read}
		renamed := identity.Change{Object: identity.ObjectGroup, Op: identity.OpUpdate, SourceID: "g1", ID: g.ID, Version: g.Version, ReadAt: read, Fields: []identity.FieldChange{set("displayName", "Old")}}

		// A push that confirms what is held counts like one that changes it.
		h.must(errorOf(h.ChangeUser(h.Context(), pusher, "okta", ana.ID, 0, func(*identity.User) error { return nil })))
		h.must(errorOf(h.members(g.ID, lifecycle.MemberOp{Op: lifecycle.MembersAdd, IDs: []string{ana.ID}})))
		h.skipEvents()
		before := h.held(ana.ID)
		run := h.begin()
		const pushed = "skipped pushed since it was read"
		// memberships carry no version of a user; the group's time of the last push decides
		h.wantStates(run, h.apply(run, update(ana), gone, renamed, leave), pushed, pushed, pushed, pushed)
		h.same(before)
		h.wantMembers(g.ID, "ana")

		// Whoever changed otherwise since the plan is left to the next one.
		stale := update(before)
		stale.Version--
		stale.ReadAt = h.tick()
		run = h.begin()
		unknown := update(identity.User{ID: "4b5fe2f6-53f3-4ad6-9ef8-44b7a9ab5d11", Version: 1})
		h.wantStates(run, h.apply(run, stale, unknown), "skipped changed since it was planned", "skipped no longer held")
		h.same(before)
		h.wantEvents()

		// Deciding again on the row as it is: nothing is left to do for somebody who is inactive already.
		h.must(errorOf(h.ChangeUser(h.Context(), pusher, "okta", ana.ID, 0, func(u *identity.User) error { u.Active = false; return nil })))
		again := absent(h.held(ana.ID))
		again.ReadAt = h.tick()
		run = h.begin()
		h.wantStates(run, h.apply(run, again), "skipped nothing left to do")
	})
}

func TestApply_PushedInTheMeantimeIsNotCreatedTwice(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("okta", "ana")
		g, err := h.CreateGroup(h.Context(), pusher, "okta", identity.Group{DisplayName: "G", ExternalID: "g1"}, nil)
		h.must(err)
		run := h.begin()
		const held = "skipped held by now: pushed since it was read, or listed twice by the source"
		h.wantStates(run, h.apply(run, createdAs("ana", "ana"), groupCreated("g1", "G"), createdAs("ben", "ben")), held, held, "applied")
		h.same(ana)
		if got, err := h.s.Group(h.Context(), g.ID); err != nil || got.Version != g.Version {
			h.Errorf("group %+v (%v)", got, err)
		}
	})
}

func TestApply_TakesOverWhatAnUnboundKeyPushed(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana", inactive)
		g := h.group("G", ana.ID)
		h.tick()
		h.skipEvents()
		run := h.begin()
		takeover := stated(identity.OpUpdate, identity.StatusInactive, ana, "00u1")
		takeover.Reason = "taken over by okta"
		h.wantStates(run, h.apply(run, takeover,
			identity.Change{Object: identity.ObjectGroup, Op: identity.OpUpdate, SourceID: "00g1", ID: g.ID, Version: g.Version, Reason: "taken over by okta"},
		), "applied", "applied")
		if got := h.held(ana.ID); got.Source != "okta" || got.SourceID != "00u1" || got.Version != ana.Version+1 || got.Reason != ana.Reason {
			h.Errorf("taken over as %+v", got)
		}
		if got, err := h.s.Group(h.Context(), g.ID); err != nil || got.Source != "okta" || got.SourceID != "00g1" || got.MemberCount != 1 {
			h.Errorf("taken over as %+v (%v)", got, err)
		}
		h.wantMembers(g.ID, "ana")
		h.wantEvents("user.updated ana (taken over by okta)", "group.updated G (taken over by okta)")
	})
}

func TestApply_LeaseLostStopsEverything(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		lease, err := h.s.AcquireLease(h.Context(), "connector/okta", "me", time.Minute)
		h.must(err)
		run := h.begin()
		outcomes, err := h.tryApply(h.Context(), run, lease, createdAs("u1", "u1"))
		h.must(err)
		h.wantStates(run, outcomes, "applied")
		h.must(h.s.ReleaseLease(h.Context(), lease))
		_, err = h.s.AcquireLease(h.Context(), "connector/okta", "somebody else", time.Minute)
		h.must(err)
		h.skipEvents()
		run = h.begin()
		outcomes, err = h.tryApply(h.Context(), run, lease, createdAs("u2", "u2"), createdAs("u3", "u3"))
		if !errors.Is(err, store.ErrLeaseLost) || len(outcomes) != 0 {
			h.Errorf("Apply() = %v, %v, want %v", outcomes, err, store.ErrLeaseLost)
		}
		h.wantEvents()

		ctx, cancel := context.WithCancel(h.Context())
		cancel()
		run = h.begin()
		if outcomes, err := h.tryApply(ctx, run, store.Lease{}, createdAs("u4", "u4")); !errors.Is(err, context.Canceled) || len(outcomes) != 0 {
			h.Errorf("Apply() after the end = %v, %v, want %v", outcomes, err, context.Canceled)
		}
		if n, err := h.s.CountOwnedUsers(h.Context(), "okta"); err != nil || n != 1 {
			h.Errorf("%d users (%v), want the one from before", n, err)
		}
	})
}

func TestApply_GroupsAndGrants(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		run := h.begin()
		h.wantStates(run, h.apply(run, createdAs("ana", "ana"), groupCreated("g1", "Engineers"), groupCreated("g2", "Sales"),
			identity.Change{Object: identity.ObjectMember, Op: identity.OpAdd, SourceID: "g1", MemberSourceID: "ana"}), "applied", "applied", "applied", "applied")
		ana := h.byName("ana")
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "Payments:operator via group Engineers")
		groups, err := h.s.HeldGroups(h.Context(), "okta", []string{"g1", "g2"})
		h.must(err)
		h.skipEvents()

		// The mapping changes: the first grant change of a group brings it in line, its others find it done.
		h.remap(rule("engineers", "root:operator"))
		grant := func(op identity.Op) identity.Change {
			return identity.Change{Object: identity.ObjectGrant, Op: op, SourceID: "g1", ID: groups["g1"].ID}
		}
		run = h.begin()
		h.wantStates(run, h.apply(run, grant(identity.OpAdd), grant(identity.OpRemove)), "applied", "applied")
		h.wantAccess(ana.ID, "Engineers:viewer via group Engineers", "root:operator via group Engineers")
		h.wantEvents("grant.added Engineers (operator on root)", "grant.revoked Engineers (operator on Payments)")
		h.wantTeams("Engineers of a group", "Sales of a group")

		run = h.begin()
		gone := identity.Change{Object: identity.ObjectGroup, Op: identity.OpDelete, SourceID: "g2", ID: groups["g2"].ID, Version: groups["g2"].Version, Reason: "absent"}
		h.wantStates(run, h.apply(run, gone), "applied")
		h.wantEvents("group.deleted Sales (absent)")
		run = h.begin()
		lost := identity.Change{Object: identity.ObjectGrant, Op: identity.OpAdd, ID: groups["g2"].ID}
		h.wantStates(run, h.apply(run, gone, lost), "skipped no longer held", "skipped no longer held")

		run = h.begin()
		h.wantStates(run, h.apply(run, identity.Change{Object: identity.ObjectMember, Op: identity.OpRemove, SourceID: "g1", MemberSourceID: "ana", MemberID: ana.ID}), "applied")
		h.wantEvents("membership.removed Engineers ana")
		h.wantAccess(ana.ID)
	}, rule("engineers", "Payments:operator"))
}
