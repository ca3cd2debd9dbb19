package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

func TestViaText(t *testing.T) {
	t.Parallel()
	for want, via := range map[string]roles.Via{
		"group Admins":                          {Kind: identity.GrantGroup, ID: "g1", Name: "Admins"},
		"group Admins (through Engineers, Ops)": {Kind: identity.GrantGroup, ID: "g1", Name: "Admins", Through: "Engineers, Ops"},
		"given by hand":                         {Kind: identity.GrantManual, ID: "u1"},
		"stated by the identity provider":       {Kind: identity.GrantDirect, Name: "attribute roles"},
		"given at sign-in, for the group Eng":   {Kind: identity.GrantJIT, ID: "Eng"},
	} {
		if got := viaText(via); got != want {
			t.Errorf("viaText(%+v) = %q, want %q", via, got, want)
		}
	}
}

func TestChangeLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change identity.Change
		want   string
	}{
		{
			identity.Change{Op: identity.OpCreate, Object: identity.ObjectUser, Name: "ana", Fields: []identity.FieldChange{{Path: "title", After: "x"}}},
			"+ create     user   ana",
		},
		{
			identity.Change{Op: identity.OpUpdate, Object: identity.ObjectUser, Name: "ana", Fields: []identity.FieldChange{{Path: "title", Before: "a", After: "b <c>"}, {Path: "nickName", Before: "n"}}},
			`~ update     user   ana  title "a" -> "b <c>", nickName "n" -> null`,
		},
		{
			identity.Change{Op: identity.OpDeactivate, Object: identity.ObjectUser, Name: "ana", Reason: "absent, not found by id"},
			"- deactivate user   ana  (absent, not found by id)",
		},
		{
			identity.Change{Op: identity.OpDeactivate, Object: identity.ObjectUser, Name: "ana", Reason: "absent", State: identity.StateStaged},
			"! deactivate user   ana  (absent; held by the guard)",
		},
		{
			identity.Change{Op: identity.OpRemove, Object: identity.ObjectMember, Name: "Sales", Fields: []identity.FieldChange{{Path: "members", Before: "ana"}}, State: identity.StateSkipped, Reason: "kept"},
			". remove     member Sales  ana  (kept; skipped)",
		},
		{
			identity.Change{Op: identity.OpUpdate, Object: identity.ObjectGroup, Name: "Sales", State: identity.StateFailed, Reason: "why"},
			"x update     group  Sales  (why; failed)",
		},
	} {
		if got := changeLine(palette{}, &c.change); got != c.want {
			t.Errorf("changeLine = %q, want %q", got, c.want)
		}
		coloured := changeLine(palette{on: true}, &c.change)
		if !strings.Contains(coloured, "\x1b[") || !strings.Contains(coloured, c.change.Name) {
			t.Errorf("in colour: %q", coloured)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	run := func(edit func(*identity.Run)) *identity.Run {
		r := &identity.Run{
			Connector: "okta", Requests: 1, Started: start, Finished: start.Add(1234 * time.Millisecond),
			Counts: identity.Counts{Users: 1, Groups: 2, Members: 1, Changes: map[string]int{}},
		}
		edit(r)
		return r
	}
	const read = " Read 1 user, 2 groups, 1 membership in 1 request, 1.23s."
	for _, c := range []struct {
		run  *identity.Run
		want string
	}{
		{run(func(*identity.Run) {}), "No drift: what okta states is what is held." + read},
		{
			run(func(r *identity.Run) { r.Kind = identity.KindIncremental }),
			"No drift: what okta states is what is held. Read what changed: 1 user, 2 groups, 1 membership in 1 request, 1.23s.",
		},
		{run(func(r *identity.Run) { r.Incomplete = "users" }), "Run: nothing to change." + read},
		{run(func(r *identity.Run) { r.Incomplete, r.Counts.Skipped = "users", 3 }), "Run: nothing to change. 3 skipped." + read},
		{
			run(func(r *identity.Run) {
				r.DryRun, r.Counts.Changes["user.create"], r.Counts.Changes["member.remove"] = true, 2, 1
			}),
			"Plan: 2 to add, 0 to change, 1 to remove." + read,
		},
		{
			run(func(r *identity.Run) {
				r.Counts.Changes["user.update"], r.Counts.Changes["user.conflict"] = 4, 1
				r.Counts.Applied, r.Counts.Skipped, r.Counts.Failed = 2, 2, 1
			}),
			"Run: 0 to add, 4 to change, 0 to remove. 2 applied, 1 skipped, 1 failed. 1 conflict needs an operator." + read,
		},
		{
			run(func(r *identity.Run) { r.Counts.Changes["group.conflict"], r.Counts.Skipped = 2, 2 }),
			"Run: nothing to change. 2 conflicts need an operator." + read,
		},
	} {
		if got := summary(palette{}, c.run); got != c.want {
			t.Errorf("summary = %q\nwant      %q", got, c.want)
		}
	}
}

func TestDurationText(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		400 * time.Microsecond: "0s", 7 * time.Millisecond: "7ms", 1234 * time.Millisecond: "1.23s", 61 * time.Second: "1m1s",
	} {
		if got := durationText(d); got != want {
			t.Errorf("durationText(%s) = %s, want %s", d, got, want)
		}
	}
}
