package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store/identity"
)

func local(t *testing.T, paths ...string) plan.Local {
	t.Helper()
	var l plan.Local
	for _, text := range paths {
		p, err := identity.ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		l = append(l, p)
	}
	return l
}

func TestLocal_Covers(t *testing.T) {
	t.Parallel()
	const enterprise = identity.EnterpriseURN + ":"
	for _, c := range []struct {
		local, path string
		want        bool
	}{
		{"title", "title", true},
		{"TITLE", "title", true},
		{"title", "nickName", false},
		{"name", "name.givenName", true},
		{"name.givenName", "name.givenName", true},
		{"name.givenName", "name.familyName", false},
		{"name.givenName", "name", false},
		{"phoneNumbers", `phoneNumbers[type eq "work"].value`, true},
		{`phoneNumbers[type eq "work"]`, `phoneNumbers[type eq "work"].value`, true},
		{`phoneNumbers[type eq "work"]`, `phoneNumbers[type eq "mobile"].value`, false},
		{`phoneNumbers[type eq "work"].value`, `phoneNumbers[type eq "work"]`, false},
		{"phoneNumbers.value", `phoneNumbers[type eq "work"].value`, true},
		{enterprise + "department", enterprise + "department", true},
		{enterprise + "department", "department", false},
		{enterprise + "manager", enterprise + "manager.value", true},
		{"department", enterprise + "department", false},
	} {
		p, err := identity.ParsePath(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := local(t, c.local).Covers(p); got != c.want {
			t.Errorf("%s covers %s: %v, want %v", c.local, c.path, got, c.want)
		}
	}
	if (plan.Local{}).Covers(pathTitle) {
		t.Error("nothing covers title")
	}
}

func TestLocal_DigestTellsOthersApart(t *testing.T) {
	t.Parallel()
	r := record("00u1", "ana@acme.test", identity.StatusActive)
	if got := (plan.Local{}).Digest(&r); got != r.Fingerprint() {
		t.Errorf("without local attributes the digest is %s, want the record's own %s", got, r.Fingerprint())
	}
	title, both, turned := local(t, "title"), local(t, "title", "nickName"), local(t, "nickname", "title", "title")
	if title.Digest(&r) == r.Fingerprint() || title.Digest(&r) == both.Digest(&r) {
		t.Error("other attributes give the same digest")
	}
	if both.Digest(&r) != turned.Digest(&r) || both.String() != turned.String() {
		t.Error("the order of the attributes counts")
	}
}

func TestUsers_LocalAttributesAreSetOnceAndLeftAlone(t *testing.T) {
	t.Parallel()
	r := record("00u1", "ana@acme.test", identity.StatusActive)
	differs := func(u *identity.User) { u.Attributes = identity.Attributes{"title": "CEO"} }
	title := local(t, "title")
	for _, c := range []struct {
		name string
		s    func() plan.UserSnapshot
		want []identity.FieldChange
		seen bool
	}{
		{"created", func() plan.UserSnapshot { return plan.UserSnapshot{} }, []identity.FieldChange{
			field("userName", nil, "ana@acme.test"), field("externalId", nil, "00u1"), field("title", nil, "Engineer"), field("active", nil, true),
		}, false},
		{"taken over", func() plan.UserSnapshot {
			_, u := held(r, "1", differs, func(u *identity.User) { u.Source, u.SourceID = "", "" })
			return plan.UserSnapshot{Candidates: []identity.User{u}}
		}, []identity.FieldChange{field("title", "CEO", "Engineer")}, false},
		{"held", func() plan.UserSnapshot {
			h, u := held(r, "1", differs)
			return plan.UserSnapshot{Held: map[string]identity.HeldUser{"00u1": h}, Users: map[string]identity.User{"1": u}}
		}, nil, true},
		{"held, and something else differs too", func() plan.UserSnapshot {
			h, u := held(r, "1", differs, func(u *identity.User) { u.ExternalID = "x" })
			return plan.UserSnapshot{Held: map[string]identity.HeldUser{"00u1": h}, Users: map[string]identity.User{"1": u}}
		}, []identity.FieldChange{field("externalId", "x", "00u1")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.s()
			s.Local = title
			changes, seen := plan.Users("okta", []identity.Record{r}, s)
			var got []identity.FieldChange
			if len(changes) > 0 {
				got = changes[0].Fields
				if changes[0].Fingerprint != title.Digest(&r) {
					t.Error("the change has another digest")
				}
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if c.seen != (len(seen) == 1) || c.seen && seen[0].Fingerprint != title.Digest(&r) {
				t.Errorf("seen %v, want %v", seen, c.seen)
			}
		})
	}
}

func TestUsers_HiredAgain(t *testing.T) {
	t.Parallel()
	r := record("00u9", "ana@acme.test", identity.StatusActive)
	_, former := held(record("00u1", "ana@acme.test", identity.StatusInactive), "1")
	s := plan.UserSnapshot{Candidates: []identity.User{former}}
	if diff := cmp.Diff([]string{"00u1"}, plan.Former("okta", []identity.Record{r, r}, s)); diff != "" {
		t.Errorf("Former() (-want +got):\n%s", diff)
	}
	gone := r
	gone.Status = identity.StatusGone
	if got := plan.Former("okta", []identity.Record{gone}, s); len(got) != 0 {
		t.Errorf("Former() = %v for somebody who is gone, want nobody", got)
	}
	if changes, _ := plan.Users("okta", []identity.Record{r}, s); len(changes) != 1 || changes[0].Op != identity.OpConflict {
		t.Errorf("as long as nothing is known of the former id: %+v, want a conflict", changes)
	}
	s.Gone = map[string]bool{"00u1": true}
	changes, _ := plan.Users("okta", []identity.Record{r}, s)
	want := []identity.Change{{
		Object: identity.ObjectUser, Op: identity.OpReactivate, SourceID: "00u9", ID: "1", Name: "ana@acme.test", Version: 3,
		Reason: "rehired: ana@acme.test was 00u1 before", State: identity.StatePlanned, Status: identity.StatusActive, ReadAt: readAt,
		Fingerprint: r.Fingerprint(), Fields: []identity.FieldChange{field("externalId", "00u1", "00u9"), field("active", false, true)},
	}}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("Users() (-want +got):\n%s", diff)
	}
	s.Privileged = map[string]bool{"1": true}
	if changes, _ := plan.Users("okta", []identity.Record{r}, s); len(changes) != 1 || changes[0].Op != identity.OpConflict {
		t.Errorf("a privileged account: %+v, want a conflict", changes)
	}
}
