package plan_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store/identity"
)

var (
	pathTitle = identity.Path{Attr: "title"}
	readAt    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func record(id, name string, status identity.Status) identity.Record {
	return identity.Record{
		SourceID: id, UserName: name, ExternalID: id, Status: status, RawStatus: "RAW", ReadAt: readAt,
		Attributes: []identity.Stated{{Path: pathTitle, Value: "Engineer"}},
	}
}

// held is the user that a record was written as, and what the store says of it for the first comparison.
func held(r identity.Record, id string, edit ...func(*identity.User)) (identity.HeldUser, identity.User) {
	u := identity.User{
		ID: id, Seq: 7, UserName: r.UserName, ExternalID: r.ExternalID, Active: r.Status == identity.StatusActive,
		Origin: identity.OriginSSO, Source: "okta", SourceID: r.SourceID, Version: 3,
		Attributes: identity.Attributes{"title": "Engineer"},
	}
	for _, f := range edit {
		f(&u)
	}
	return identity.HeldUser{ID: u.ID, Seq: u.Seq, SourceID: r.SourceID, UserName: u.UserName, Active: u.Active, Version: u.Version, Fingerprint: u.Fingerprint}, u
}

func field(path string, before, after any) identity.FieldChange {
	return identity.FieldChange{Path: path, Before: before, After: after}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	active := record("00u1", "ana@acme.test", identity.StatusActive)
	digest := func(r identity.Record) identity.Fingerprint { return r.Fingerprint() }
	change := func(op identity.Op, reason string, fields ...identity.FieldChange) *identity.Change {
		return &identity.Change{
			Object: identity.ObjectUser, Op: op, SourceID: "00u1", ID: "1", Name: "ana@acme.test", Version: 3, Reason: reason,
			State: identity.StatePlanned, ReadAt: readAt, Fields: fields,
		}
	}
	type snapshot struct {
		held       func(*identity.User) // nil: nobody is held under the source's id
		gone       bool                 // the row went while the page was compared
		candidates []identity.User
		privileged string
	}
	as := func(edit func(*identity.User)) snapshot { return snapshot{held: edit} }
	equal := as(func(*identity.User) {})
	for _, c := range []struct {
		name   string
		record identity.Record
		s      snapshot
		want   *identity.Change
		seen   bool
	}{
		{
			name: "unknown and active", record: active,
			want: func() *identity.Change {
				c := change(identity.OpCreate, "", field("userName", nil, "ana@acme.test"), field("externalId", nil, "00u1"), field("title", nil, "Engineer"), field("active", nil, true))
				c.ID, c.Version = "", 0
				return c
			}(),
		},
		{
			name: "unknown and inactive", record: record("00u1", "ana@acme.test", identity.StatusInactive),
			want: func() *identity.Change {
				c := change(identity.OpCreate, "stated inactive", field("userName", nil, "ana@acme.test"), field("externalId", nil, "00u1"), field("title", nil, "Engineer"), field("active", nil, false))
				c.ID, c.Version = "", 0
				return c
			}(),
		},
		{name: "unknown and pending", record: record("00u1", "ana@acme.test", identity.StatusPending)},
		{name: "unknown and gone", record: record("00u1", "ana@acme.test", identity.StatusGone)},
		{name: "unknown in an unknown state", record: record("00u1", "ana@acme.test", identity.StatusUnknown)},
		{name: "the fingerprint agrees", record: active, s: as(func(u *identity.User) { u.Fingerprint, u.UserName = digest(active), "whatever" })},
		{name: "equal in full", record: active, s: equal, seen: true},
		{name: "a row that went meanwhile", record: active, s: snapshot{held: func(*identity.User) {}, gone: true}},
		{
			name: "an attribute differs", record: active, s: as(func(u *identity.User) { u.Attributes = identity.Attributes{"title": "CEO", "nickName": "An"} }),
			want: change(identity.OpUpdate, "", field("title", "CEO", "Engineer")),
		},
		{
			name: "the name differs by case", record: active, s: as(func(u *identity.User) { u.UserName = "Ana@acme.test" }),
			want: func() *identity.Change {
				c := change(identity.OpUpdate, "", field("userName", "Ana@acme.test", "ana@acme.test"))
				c.Name = "Ana@acme.test"
				return c
			}(),
		},
		{
			name: "stated inactive", record: record("00u1", "ana@acme.test", identity.StatusInactive), s: as(func(u *identity.User) { u.Active = true }),
			want: change(identity.OpDeactivate, "stated inactive: RAW", field("active", true, false)),
		},
		{
			name: "gone", record: record("00u1", "new@acme.test", identity.StatusGone), s: as(func(u *identity.User) { u.UserName, u.Active = "ana@acme.test", true }),
			want: change(identity.OpDeactivate, "gone at the source: RAW", field("active", true, false)),
		},
		{
			name: "not begun", record: record("00u1", "ana@acme.test", identity.StatusPending), s: as(func(u *identity.User) { u.Active = true }),
			want: change(identity.OpDeactivate, "not begun at the source: RAW", field("active", true, false)),
		},
		{name: "an unknown state keeps everything", record: record("00u1", "new@acme.test", identity.StatusUnknown), s: as(func(u *identity.User) { u.UserName, u.Active = "ana@acme.test", true }), seen: true},
		{name: "inactive and gone", record: record("00u1", "ana@acme.test", identity.StatusGone), s: equal, seen: true},
		{name: "inactive and stated so", record: record("00u1", "ana@acme.test", identity.StatusInactive), s: equal, seen: true},
		{
			name: "inactive and stated active", record: active, s: as(func(u *identity.User) { u.Active = false }),
			want: change(identity.OpReactivate, "stated active", field("active", false, true)),
		},
		{
			name: "deleted and stated active", record: active, s: as(func(u *identity.User) { u.Active, u.DeletedAt = false, readAt }),
			want: change(identity.OpReactivate, "stated again after it was deleted", field("active", false, true)),
		},
		{name: "deleted and stated inactive", record: record("00u1", "ana@acme.test", identity.StatusInactive), s: as(func(u *identity.User) { u.DeletedAt = readAt }), seen: true},
		{
			name: "taken over from a SCIM key, equal", record: active,
			s:    snapshot{candidates: []identity.User{{ID: "1", Version: 3, UserName: "ana@acme.test", ExternalID: "00u1", Source: "scim:k", Active: true, Origin: identity.OriginSSO, Attributes: identity.Attributes{"title": "Engineer"}}}},
			want: change(identity.OpUpdate, "taken over by okta"),
		},
		{
			name: "a local account of the name", record: active,
			s:    snapshot{candidates: []identity.User{{ID: "1", Version: 3, UserName: "ana@acme.test", Active: true, Origin: identity.OriginLocal, Attributes: identity.Attributes{"title": "Engineer"}}}},
			want: change(identity.OpConvert, "local account is stated by okta", field("externalId", nil, "00u1")),
		},
		{
			name: "a privileged account of the name", record: active,
			s: snapshot{candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Origin: identity.OriginLocal, Active: true}}, privileged: "1"},
			want: func() *identity.Change {
				c := change(identity.OpConflict, "ana@acme.test (1) is a privileged account")
				c.ID, c.Version, c.State, c.Candidates = "", 0, identity.StateSkipped, []string{"1"}
				return c
			}(),
		},
		{
			name: "nobody is deactivated for a name alone", record: record("00u1", "ana@acme.test", identity.StatusGone),
			s: snapshot{candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Active: true, Origin: identity.OriginLocal}}},
		},
		{
			name: "a conflict about somebody who is gone is none", record: record("00u1", "ana@acme.test", identity.StatusGone),
			s: snapshot{candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Active: true}}, privileged: "1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := plan.UserSnapshot{Candidates: c.s.candidates, Privileged: map[string]bool{c.s.privileged: true}}
			if c.s.held != nil {
				h, u := held(c.record, "1", c.s.held)
				s.Held, s.Users = map[string]identity.HeldUser{c.record.SourceID: h}, map[string]identity.User{"1": u}
				if c.s.gone {
					s.Users = nil
				}
			}
			changes, seen := plan.Users("okta", []identity.Record{c.record}, s)
			var want []identity.Change
			if c.want != nil {
				c.want.Status = c.record.Status
				if c.want.Op != identity.OpConflict {
					c.want.Fingerprint = digest(c.record)
				}
				want = append(want, *c.want)
			}
			if diff := cmp.Diff(want, changes, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Users() (-want +got):\n%s", diff)
			}
			var wantSeen []identity.Seen
			if c.seen {
				wantSeen = []identity.Seen{{ID: "1", Version: 3, Fingerprint: digest(c.record)}}
			}
			if diff := cmp.Diff(wantSeen, seen); diff != "" {
				t.Errorf("Users() saw (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnsettled(t *testing.T) {
	t.Parallel()
	same, differs, unknown := record("1", "a@acme.test", identity.StatusActive), record("2", "b@acme.test", identity.StatusActive), record("3", "c@acme.test", identity.StatusActive)
	unknown.Attributes = append(unknown.Attributes, identity.Stated{Path: identity.Path{Attr: "emails", Type: "work", Sub: "value"}, Value: "cleo@acme.test"})
	users, sourceIDs, names := plan.Unsettled([]identity.Record{same, differs, unknown}, map[string]identity.HeldUser{
		"1": {ID: "u1", Fingerprint: same.Fingerprint()}, "2": {ID: "u2", Fingerprint: same.Fingerprint()},
	}, nil)
	got := [][]string{users, sourceIDs, names}
	if diff := cmp.Diff([][]string{{"u2"}, {"3"}, {"c@acme.test", "cleo@acme.test"}}, got); diff != "" {
		t.Errorf("Unsettled() (-want +got):\n%s", diff)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	r := identity.GroupRecord{SourceID: "00g1", DisplayName: "Engineers", ExternalID: "00g1", ReadAt: readAt}
	digest := r.Fingerprint()
	group := func(edit ...func(*identity.Group)) identity.Group {
		g := identity.Group{ID: "1", DisplayName: "Engineers", ExternalID: "00g1", Source: "okta", SourceID: "00g1", Version: 3}
		for _, f := range edit {
			f(&g)
		}
		return g
	}
	change := func(op identity.Op, reason string, fields ...identity.FieldChange) *identity.Change {
		return &identity.Change{
			Object: identity.ObjectGroup, Op: op, SourceID: "00g1", ID: "1", Name: "Engineers", Version: 3, Reason: reason,
			State: identity.StatePlanned, ReadAt: readAt, Fields: fields, Fingerprint: digest,
		}
	}
	unheld := func(c *identity.Change) *identity.Change {
		c.ID, c.Version = "", 0
		return c
	}
	conflict := func(reason string) *identity.Change {
		c := unheld(change(identity.OpConflict, reason))
		c.State, c.Candidates = identity.StateSkipped, []string{"1"}
		return c
	}
	create := unheld(change(identity.OpCreate, "", field("displayName", nil, "Engineers"), field("externalId", nil, "00g1")))
	for _, c := range []struct {
		name       string
		held       *identity.Group
		candidates []identity.Group
		want       *identity.Change
		seen       bool
	}{
		{name: "unknown", want: create},
		{name: "fingerprint agrees", held: new(group(func(g *identity.Group) { g.Fingerprint, g.DisplayName = digest, "x" }))},
		{name: "equal in full", held: new(group()), seen: true},
		{
			name: "renamed", held: new(group(func(g *identity.Group) { g.DisplayName = "Old" })),
			want: func() *identity.Change {
				c := change(identity.OpUpdate, "", field("displayName", "Old", "Engineers"))
				c.Name = "Old"
				return c
			}(),
		},
		{
			name: "nobody's group of the name", candidates: []identity.Group{group(func(g *identity.Group) { g.Source, g.SourceID, g.ExternalID = "", "", "" })},
			want: change(identity.OpUpdate, "taken over by okta", field("externalId", nil, "00g1")),
		},
		{
			name:       "pushed by a key with the external id, before another of the name",
			candidates: []identity.Group{{ID: "2", DisplayName: "ENGINEERS"}, group(func(g *identity.Group) { g.Source, g.SourceID = "scim:k", "" })},
			want:       change(identity.OpUpdate, "taken over by okta"),
		},
		{
			name:       "the external id at another connector",
			candidates: []identity.Group{group(func(g *identity.Group) { g.Source = "entra" })},
			want:       conflict(`group "Engineers" (1) is owned by entra`),
		},
		{
			name:       "the name at another connector",
			candidates: []identity.Group{group(func(g *identity.Group) { g.Source, g.ExternalID = "entra", "x" })},
			want:       conflict(`the name "Engineers" belongs to a group (1) of entra`),
		},
		{
			name:       "the name pushed by a key",
			candidates: []identity.Group{group(func(g *identity.Group) { g.Source, g.ExternalID = "scim:k", "x" })},
			want:       conflict(`the name "Engineers" belongs to a group (1) of scim:k`),
		},
		{
			name:       "the name of an own group, which yields it in the same run",
			candidates: []identity.Group{group(func(g *identity.Group) { g.SourceID, g.ExternalID = "00g0", "00g0" })},
			want:       create,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := plan.GroupSnapshot{Candidates: c.candidates}
			if c.held != nil {
				s.Held = map[string]identity.Group{"00g1": *c.held}
			}
			changes, seen := plan.Groups("okta", []identity.GroupRecord{r}, s)
			var want []identity.Change
			if c.want != nil {
				want = append(want, *c.want)
			}
			if diff := cmp.Diff(want, changes, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Groups() (-want +got):\n%s", diff)
			}
			if c.seen != (len(seen) == 1) {
				t.Errorf("Groups() saw %v, want %v", seen, c.seen)
			}
		})
	}
}

// anyChange draws a change that may be of any kind.
var anyChange = rapid.Custom(func(t *rapid.T) identity.Change {
	text := rapid.SampledFrom([]string{"", "a", "b", "1"})
	c := identity.Change{
		Object:   rapid.SampledFrom([]identity.Object{identity.ObjectUser, identity.ObjectGroup, identity.ObjectMember, identity.ObjectGrant}).Draw(t, "object"),
		Op:       rapid.SampledFrom([]identity.Op{identity.OpCreate, identity.OpUpdate, identity.OpDeactivate, identity.OpRemove, identity.OpAdd}).Draw(t, "op"),
		SourceID: text.Draw(t, "source id"), ID: text.Draw(t, "id"), MemberSourceID: text.Draw(t, "member"),
		Version: rapid.Int64Range(0, 2).Draw(t, "version"),
	}
	if rapid.Bool().Draw(t, "with fields") {
		c.Fields = []identity.FieldChange{field(text.Draw(t, "path"), nil, text.Draw(t, "after"))}
	}
	return c
})

func TestHash_IsOfASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		changes := rapid.SliceOf(anyChange).Draw(t, "changes")
		var forward, shuffled, undone, empty plan.Hash
		for i := range changes {
			forward.Add(&changes[i])
		}
		order := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Perm(len(changes))
		for _, i := range order {
			shuffled.Add(&changes[i])
		}
		if forward.String() != shuffled.String() {
			t.Fatal("the hash depends on the order")
		}
		extra := anyChange.Draw(t, "extra")
		shuffled.Add(&extra)
		if forward.String() == shuffled.String() {
			t.Fatalf("one more change, %+v, has the same hash", extra)
		}
		shuffled.Remove(&extra)
		if forward.String() != shuffled.String() {
			t.Fatal("Remove does not undo Add")
		}
		for i := range changes {
			undone.Add(&changes[i])
		}
		for _, i := range order {
			undone.Remove(&changes[i])
		}
		if undone.String() != empty.String() {
			t.Fatal("a plan with everything taken out is not the empty plan")
		}
	})
}

func TestHash_WhatCounts(t *testing.T) {
	t.Parallel()
	hash := func(c identity.Change) string {
		var h plan.Hash
		h.Add(&c)
		return h.String()
	}
	base := identity.Change{Object: identity.ObjectUser, Op: identity.OpUpdate, SourceID: "1", ID: "2", Version: 3, Fields: []identity.FieldChange{field("title", "a", "b")}}
	for name, edit := range map[string]func(*identity.Change){
		"object": func(c *identity.Change) { c.Object = identity.ObjectGroup }, "op": func(c *identity.Change) { c.Op = identity.OpDeactivate },
		"source id": func(c *identity.Change) { c.SourceID = "x" }, "id": func(c *identity.Change) { c.ID = "x" },
		"version": func(c *identity.Change) { c.Version = 4 }, "member": func(c *identity.Change) { c.MemberID = "x" },
		"member's source id": func(c *identity.Change) { c.MemberSourceID = "x" },
		"fields":             func(c *identity.Change) { c.Fields = []identity.FieldChange{field("title", "a", "c")} },
	} {
		other := base
		edit(&other)
		if hash(base) == hash(other) {
			t.Errorf("another %s has the same hash", name)
		}
	}
	for name, edit := range map[string]func(*identity.Change){
		"run": func(c *identity.Change) { c.RunID, c.Ord = "r", 9 }, "when it was read": func(c *identity.Change) { c.ReadAt = readAt },
		"reason": func(c *identity.Change) { c.Reason = "x" }, "state": func(c *identity.Change) { c.State = identity.StateApplied },
	} {
		other := base
		edit(&other)
		if hash(base) != hash(other) {
			t.Errorf("another %s has another hash", name)
		}
	}
	conflict := base
	conflict.Op = identity.OpConflict
	if hash(conflict) != new(plan.Hash).String() {
		t.Error("a conflict counts")
	}
}

// What a plan makes of a user is what the record states: applied, it leaves nothing to plan.
func TestUsers_AppliedPlanIsEmpty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := record("00u1", rapid.SampledFrom([]string{"a@acme.test", "b@acme.test"}).Draw(t, "name"),
			rapid.SampledFrom([]identity.Status{identity.StatusActive, identity.StatusInactive, identity.StatusPending, identity.StatusGone, identity.StatusUnknown}).Draw(t, "status"))
		r.Attributes[0].Value = rapid.SampledFrom([]any{nil, "", "CEO", "Engineer"}).Draw(t, "title")
		h, u := held(r, "1", func(u *identity.User) {
			u.UserName, u.Active = "a@acme.test", rapid.Bool().Draw(t, "active")
			u.Attributes = identity.Attributes{"title": rapid.SampledFrom([]string{"CEO", "Engineer"}).Draw(t, "held title")}
		})
		compare := func() []identity.Change {
			changes, _ := plan.Users("okta", []identity.Record{r}, plan.UserSnapshot{
				Held: map[string]identity.HeldUser{"00u1": h}, Users: map[string]identity.User{"1": u},
			})
			return changes
		}
		for _, c := range compare() {
			for _, f := range c.Fields {
				path, err := identity.ParsePath(f.Path)
				if err != nil {
					t.Fatal(err)
				}
				u.Set(path, f.After)
			}
		}
		if again := compare(); len(again) > 0 {
			t.Fatalf("a second plan has %+v", again)
		}
	})
}

func ExampleUsers() {
	r := identity.Record{SourceID: "00u1", UserName: "ana@acme.test", Status: identity.StatusInactive, RawStatus: "SUSPENDED"}
	changes, _ := plan.Users("okta", []identity.Record{r}, plan.UserSnapshot{
		Held:  map[string]identity.HeldUser{"00u1": {ID: "1"}},
		Users: map[string]identity.User{"1": {ID: "1", UserName: "ana@acme.test", Active: true, Source: "okta", SourceID: "00u1"}},
	})
	for _, c := range changes {
		fmt.Println(c.Op, c.Name, c.Reason)
	}
	// Output: deactivate ana@acme.test stated inactive: SUSPENDED
}
