package identity_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/store/identity"
)

// records draws a record; few values, so that equal ones are drawn too.
var records = rapid.Custom(func(t *rapid.T) identity.Record {
	texts := rapid.SampledFrom([]string{"", "a", "b", "ab", "a\x01", "\x01a", "é"})
	r := identity.Record{
		SourceID: texts.Draw(t, "source id"), UserName: texts.Draw(t, "userName"), ExternalID: texts.Draw(t, "externalId"),
		Status:    rapid.SampledFrom([]identity.Status{identity.StatusActive, identity.StatusGone, ""}).Draw(t, "status"),
		RawStatus: texts.Draw(t, "raw status"),
		ReadAt:    time.Unix(rapid.Int64Range(0, 9).Draw(t, "read at"), 0),
	}
	for _, p := range leafPaths {
		if rapid.IntRange(0, 3).Draw(t, "stated") == 0 {
			r.Attributes = append(r.Attributes, identity.Stated{Path: p, Value: leafValues.Draw(t, p.String())})
		}
	}
	return r
})

// stated is what a record states, printed.
func stated(r identity.Record) string {
	return fmt.Sprintf("%q %q %q %q %#v", r.SourceID, r.UserName, r.ExternalID, r.Status, r.Attributes)
}

func TestFingerprintsAgreeWhenRecordsDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := records.Draw(t, "a")
		b := a
		b.Attributes = slices.Clone(a.Attributes)
		b.RawStatus, b.ReadAt = "other", time.Time{}
		if a.Fingerprint() != b.Fingerprint() {
			t.Fatal("what does not count changed the fingerprint")
		}
		switch rapid.IntRange(0, 3).Draw(t, "change") {
		case 0:
			b = records.Draw(t, "b")
		case 1:
			b.UserName, b.ExternalID = a.UserName+a.ExternalID, ""
		case 2:
			if len(b.Attributes) > 0 {
				b.Attributes[0].Value = leafValues.Draw(t, "value")
			}
		case 3:
			if n := len(b.Attributes); n > 0 {
				b.Attributes = b.Attributes[:n-1]
			}
		}
		if got, want := a.Fingerprint() == b.Fingerprint(), stated(a) == stated(b); got != want {
			t.Fatalf("equal fingerprints: %v\n%s\n%s", got, stated(a), stated(b))
		}
	})
}

func TestGroupFingerprint(t *testing.T) {
	t.Parallel()
	seen := map[identity.Fingerprint]identity.GroupRecord{}
	texts := []string{"", "a", "b", "ab", "\x01a"}
	for _, id := range texts {
		for _, name := range texts {
			for _, external := range texts {
				r := identity.GroupRecord{SourceID: id, DisplayName: name, ExternalID: external}
				if other, ok := seen[r.Fingerprint()]; ok {
					t.Errorf("%+v and %+v have one fingerprint", r, other)
				}
				seen[r.Fingerprint()] = r
			}
		}
	}
	if (&identity.GroupRecord{}).Fingerprint().IsZero() || len((&identity.GroupRecord{}).Fingerprint().String()) != 32 {
		t.Error("a fingerprint is zero, or not 32 digits")
	}
}

func TestSetHash(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfDistinct(rapid.String(), rapid.ID).Draw(t, "ids")
		shuffled := rapid.Permutation(ids).Draw(t, "shuffled")
		var a, b identity.SetHash
		for i := range ids {
			a.Toggle(identity.MemberKey("okta", ids[i]))
			b.Toggle(identity.MemberKey("okta", shuffled[i]))
		}
		if a != b {
			t.Fatalf("in another order the hash is %v, want %v", b, a)
		}
		for _, id := range ids {
			if a == (identity.SetHash{}) {
				t.Fatal("a set with members has the hash of the empty one")
			}
			a.Toggle(identity.MemberKey("okta", id))
		}
		if a != (identity.SetHash{}) {
			t.Fatalf("the emptied set has the hash %v", a)
		}
	})
	if identity.MemberKey("a", "bc") == identity.MemberKey("ab", "c") {
		t.Error("source and id run into one another")
	}
	u := identity.User{ID: "i", Source: "okta"}
	if u.MemberKey() != identity.MemberKey("", "i") {
		t.Error("without a source's id the key is not the user's own")
	}
	u.SourceID = "s"
	if u.MemberKey() != identity.MemberKey("okta", "s") {
		t.Error("with a source's id the key is not that id's")
	}
}

func TestApplyingADiffLeavesNone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := records.Draw(t, "record")
		u := identity.User{UserName: "a", ExternalID: "b", Attributes: documents.Draw(t, "held")}
		before := u.Clone()
		changes := identity.Diff(&u, &r)
		if after := u.Clone(); !after.Attributes.Equal(before.Attributes) {
			t.Fatal("Diff changed the user")
		}
		for _, c := range changes {
			p, err := identity.ParsePath(c.Path)
			if err != nil {
				t.Fatal(err)
			}
			if got := u.Get(p); got != c.Before && (got != "" || c.Before != nil) {
				t.Fatalf("%s was %v, the change says %v", c.Path, got, c.Before)
			}
			u.Set(p, c.After)
		}
		if again := identity.Diff(&u, &r); len(again) != 0 {
			t.Fatalf("after applying %v there is still %v", changes, again)
		}
		if len(changes) == 0 && !u.Attributes.Equal(before.Attributes) {
			t.Fatal("no changes, and yet another user")
		}
	})
}

func TestCompare(t *testing.T) {
	t.Parallel()
	before := identity.User{UserName: "a", Active: true, Attributes: identity.Attributes{
		"title": "x", "name": map[string]any{"givenName": "Jo", "familyName": "X"}, "emails": []any{"a"},
		identity.EnterpriseURN: map[string]any{"department": "d"},
	}}
	after := before.Clone()
	if got := identity.Compare(&before, &after); len(got) != 0 {
		t.Errorf("Compare with a clone = %v, want nothing", got)
	}
	after.Active = false
	after.Set(identity.PathGivenName, "Joe")
	after.Set(identity.Path{Schema: identity.EnterpriseURN, Attr: "department"}, nil)
	after.Attributes["emails"] = []any{"b"}
	want := []identity.FieldChange{
		{Path: "active", Before: true, After: false},
		{Path: "emails", Before: []any{"a"}, After: []any{"b"}},
		{Path: "name.givenName", Before: "Jo", After: "Joe"},
		{Path: identity.EnterpriseURN + ":department", Before: "d"},
	}
	if diff := cmp.Diff(want, identity.Compare(&before, &after)); diff != "" {
		t.Errorf("Compare (-want +got):\n%s", diff)
	}
}

func TestDisplayName(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]identity.Attributes{
		"Jo":     {"displayName": "Jo", "name": map[string]any{"givenName": "x"}},
		"Jo Doe": {"name": map[string]any{"givenName": "Jo", "familyName": "Doe"}},
		"Doe":    {"displayName": "", "name": map[string]any{"familyName": "Doe"}},
		"user":   {"name": strings.Repeat("x", 3)},
	} {
		u := identity.User{UserName: "user", Attributes: a}
		if got := u.DisplayName(); got != want {
			t.Errorf("DisplayName of %v = %q, want %q", a, got, want)
		}
	}
}

func TestPlanned(t *testing.T) {
	t.Parallel()
	c := identity.Counts{Changes: map[string]int{"user.create": 2, "member.remove": 3, "user.conflict": 5, "group.conflict": 7}}
	if got := c.Planned(); got != 5 {
		t.Errorf("Planned = %d, want 5", got)
	}
	for op, want := range map[identity.Op]bool{identity.OpRemove: true, identity.OpDelete: true, identity.OpDeactivate: true, identity.OpAdd: false, identity.OpUpdate: false} {
		if op.Removal() != want {
			t.Errorf("%s.Removal() = %v, want %v", op, op.Removal(), want)
		}
	}
}
