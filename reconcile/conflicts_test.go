package reconcile_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

func (h *house) conflicts(all bool) []identity.Conflict {
	h.t.Helper()
	list, err := h.store.Conflicts(h.t.Context(), "okta", all)
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// wantConflicts wants the open conflicts to be these.
func (h *house) wantConflicts(want ...string) {
	h.t.Helper()
	var got []string
	for _, c := range h.conflicts(false) {
		got = append(got, fmt.Sprintf("%s %s %s %s (%s)", c.Status, c.Object, c.SourceID, c.Name, c.Reason))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		h.t.Errorf("open conflicts (-want +got):\n%s", diff)
	}
}

// admin makes a local admin.
func (h *house) admin(name string) identity.User {
	h.t.Helper()
	u, err := h.applier.CreateAdmin(h.t.Context(), operator, name, "hash", false)
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

func TestConflicts_AreRowsUntilTheyAreNoneAnyMore(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		boss := h.admin("boss@acme.test")
		h.admin("other@acme.test")
		group, err := h.applier.CreateGroup(t.Context(), pusher, "scim:k1", identity.Group{DisplayName: "Bosses", ExternalID: "x"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.source.add("u8", "boss@acme.test")
		h.source.Groups["g8"] = "Bosses"
		dry, err := h.engine.Run(t.Context(), h.request(true))
		if err != nil || dry.Counts.Conflicts() != 2 {
			t.Fatalf("a plan found %d conflicts (%v), want 2", dry.Counts.Conflicts(), err)
		}
		h.wantConflicts()
		first := h.run(identity.RunPartial)
		about := []string{
			"open user u8 boss@acme.test (boss@acme.test (" + boss.ID + ") is a privileged account)",
			`open group g8 Bosses (the name "Bosses" belongs to a group (` + group.ID + ") of scim:k1)",
		}
		h.wantConflicts(about...)
		before := h.conflicts(false)
		for _, c := range before {
			want := []string{boss.ID}
			if c.Object == identity.ObjectGroup {
				want = []string{group.ID}
			}
			if diff := cmp.Diff(want, c.Candidates); diff != "" || c.LastRunID != first.ID {
				t.Errorf("noted as %+v", c)
			}
		}
		second := h.run(identity.RunPartial)
		h.wantConflicts(about...)
		for i, c := range h.conflicts(false) {
			if c.ID != before[i].ID || !c.FirstSeen.Equal(before[i].FirstSeen) || c.LastRunID != second.ID {
				t.Errorf("noted again as %+v, before as %+v", c, before[i])
			}
		}
		// One gets another name, the other is deleted.
		h.source.Users["u8"].Name = "somebody@acme.test"
		delete(h.source.Groups, "g8")
		h.run(identity.RunDone)
		h.wantConflicts()
		for _, c := range h.conflicts(true) {
			if c.Status != identity.ConflictResolved || c.DecidedAt.IsZero() || c.DecidedBy != "" {
				t.Errorf("ended as %+v", c)
			}
		}
		h.wantEmpty()
	})
}

func TestConflicts_AreKeptByRunsThatDoNotReadEverybody(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.source.Incremental = true
		boss := h.admin("boss@acme.test")
		h.source.add("u8", "boss@acme.test")
		h.run(identity.RunPartial)
		about := "open user u8 boss@acme.test (boss@acme.test (" + boss.ID + ") is a privileged account)"
		h.wantConflicts(about)
		delete(h.source.Users, "u8") // that is not known before somebody is read again
		if _, _, err := h.one("u1", ""); err != nil {
			t.Fatal(err)
		}
		h.wantConflicts(about)
		h.source.Fail[connectors.PhaseMembers] = errors.New("status 503")
		req := h.request(false)
		req.Full = true
		if _, err := h.engine.Run(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		h.wantConflicts(about) // not the whole of it was read
		clear(h.source.Fail)
		if run := h.run(identity.RunDone); run.Kind != identity.KindIncremental {
			t.Errorf("the run is %s", run.Kind)
		}
		h.wantConflicts()
	})
}

func TestConflicts_Ignored(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		h.admin("boss@acme.test")
		group, err := h.applier.CreateGroup(t.Context(), pusher, "scim:k1", identity.Group{DisplayName: "Bosses", ExternalID: "x"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.source.add("u8", "boss@acme.test")
		h.source.Groups["g8"] = "Bosses"
		h.source.join("g8", "u1", "u8")
		h.source.join("g1", "u8")
		h.run(identity.RunPartial)
		found := h.conflicts(false)
		if len(found) != 2 {
			t.Fatalf("%d conflicts, want 2", len(found))
		}
		for _, c := range found {
			if _, err := h.applier.IgnoreConflict(t.Context(), operator, c.ID, false); err != nil {
				t.Fatal(err)
			}
		}
		h.source.Users["u8"].Title = "CEO"
		for range 2 {
			run := h.run(identity.RunDone)
			if n := run.Counts.Conflicts(); n != 0 || run.Counts.Skipped != 0 {
				t.Errorf("%d conflicts, %d skipped, want none", n, run.Counts.Skipped)
			}
		}
		h.wantEmpty()
		h.source.leave("u8")
		h.source.Users["u8"].Name = "free@acme.test" // even then it is left alone
		for range 3 {                                // until the source has no more to say of it
			h.run(identity.RunDone)
		}
		if _, err := h.store.UserByName(t.Context(), "free@acme.test"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an ignored record made somebody: %v", err)
		}
		if g, err := h.store.Group(t.Context(), group.ID); err != nil || g.MemberCount != 0 || g.Source != "scim:k1" {
			t.Errorf("the group became %+v (%v)", g, err)
		}
		for _, c := range found {
			if _, err := h.applier.IgnoreConflict(t.Context(), operator, c.ID, true); err != nil {
				t.Fatal(err)
			}
		}
		run := h.run(identity.RunPartial)
		if run.Counts.Conflicts() != 1 {
			t.Errorf("journal %q, want the group's conflict again", h.journal(run))
		}
		if !h.user("free@acme.test").Active {
			t.Error("the record makes nobody after all")
		}
	})
}

func TestConflicts_Linked(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		h.admin("other@acme.test")
		boss := h.admin("boss@acme.test")
		group, err := h.applier.CreateGroup(t.Context(), pusher, "scim:k1", identity.Group{DisplayName: "Bosses", ExternalID: "x"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		h.source.add("u8", "boss@acme.test")
		h.source.Groups["g8"] = "Bosses"
		h.source.join("g8", "u8")
		h.run(identity.RunPartial)
		for _, c := range h.conflicts(false) {
			if _, err := h.applier.LinkConflict(t.Context(), operator, c.ID, c.Candidates[0]); err != nil {
				t.Fatal(err)
			}
		}
		h.wantConflicts()
		h.run(identity.RunDone)
		got := h.user("boss@acme.test")
		if got.ID != boss.ID || got.SourceID != "u8" || got.ExternalID != "u8" || got.Origin != identity.OriginSSO {
			t.Errorf("the account became %+v", got)
		}
		h.wantGroups("boss@acme.test", "Bosses")
		if g, err := h.store.Group(t.Context(), group.ID); err != nil || g.Source != "okta" || g.SourceID != "g8" || g.ExternalID != "g8" {
			t.Errorf("the group became %+v (%v)", g, err)
		}
		h.wantEmpty()
	})
}

func TestConflicts_OfOnePersonAreResolvedByARunOfOne(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		boss, other := h.admin("boss@acme.test"), h.admin("other@acme.test")
		h.source.add("u7", "other@acme.test")
		h.source.add("u8", "boss@acme.test")
		h.run(identity.RunPartial)
		about := "open user u7 other@acme.test (other@acme.test (" + other.ID + ") is a privileged account)"
		h.wantConflicts(about, "open user u8 boss@acme.test (boss@acme.test ("+boss.ID+") is a privileged account)")
		h.source.Users["u8"].Name = "free@acme.test"
		if run, _, err := h.one("u8", ""); err != nil || run.Status != identity.RunDone {
			t.Fatalf("the run ended %s (%v)", run.Status, err)
		}
		h.wantConflicts(about)
		if run, _, err := h.one("u7", ""); err != nil || run.Status != identity.RunPartial {
			t.Fatalf("the run ended %s (%v)", run.Status, err)
		}
		h.wantConflicts(about)
	})
}

// Attributes that are local are set once. Another choice of them is another comparison.
func TestRun_LocalAttributes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.source.Incremental = true
		var local []identity.Path
		run := func(kind string) identity.Run {
			t.Helper()
			req := h.request(false)
			req.Source.Local = local
			run, err := h.engine.Run(t.Context(), req)
			if err != nil || run.Status != identity.RunDone || run.Kind != kind {
				t.Fatalf("the run is %s and ended %s (%v), want %s and done: %q", run.Kind, run.Status, err, kind, h.journal(run))
			}
			return run
		}
		title := func(want string) {
			t.Helper()
			u := h.user("ana@acme.test")
			if got := u.Attributes.Text(pathTitle); got != want {
				t.Errorf("the title is %q, want %q", got, want)
			}
		}
		local = []identity.Path{pathTitle}
		run(identity.KindFull)
		title("Engineer")
		run(identity.KindIncremental)
		h.source.Users["u1"].Title = "Director"
		run(identity.KindIncremental)
		title("Engineer")
		tamper(t, s, `UPDATE users SET document = '{"title":"Mine"}' WHERE source_id = 'u1'`)
		run(identity.KindIncremental)
		title("Mine")
		if u := h.user("ana@acme.test"); u.Email() != "ana@acme.test" {
			t.Error("what is not local was not repaired")
		}
		// Its fingerprint says that it agrees; the change of the setting says that this means nothing.
		local = nil
		run(identity.KindFull)
		title("Director")
		run(identity.KindIncremental)
		local = []identity.Path{pathTitle}
		if n := run(identity.KindFull).Counts.Planned(); n != 0 {
			t.Errorf("%d changes, want none", n)
		}
		run(identity.KindIncremental)
	})
}
