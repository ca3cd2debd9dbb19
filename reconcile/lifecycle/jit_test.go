package lifecycle_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// said is what an identity provider says of somebody who is in some groups.
func said(name string, groups ...string) lifecycle.SignInStatement {
	return lifecycle.SignInStatement{
		Method: lifecycle.MethodOIDC, Issuer: "https://idp", Subject: "sub-" + name, Lasting: true, UserName: name + "@acme.test",
		GivenName: "Given", FamilyName: name, Groups: groups, GroupsStated: true, Provision: true,
	}
}

func (h *house) signIn(st lifecycle.SignInStatement) (identity.User, error) {
	return h.SignInStated(h.Context(), signer, st, h.entry(st.Method))
}

// wantRoles wants somebody to hold just these roles, as "team:role kind source".
func (h *house) wantRoles(u identity.User, want ...string) {
	h.Helper()
	grants, err := h.s.EffectiveGrants(h.Context(), u.ID)
	h.must(err)
	got := []string{}
	for _, g := range grants {
		got = append(got, g.TeamName+":"+g.Role+" "+string(g.Kind)+" "+g.SourceID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		h.Errorf("roles of %s (-want +got):\n%s", u.UserName, diff)
	}
}

func TestSignInStated_FirstSignIn(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.group("Held")
		h.skipEvents()
		u, err := h.signIn(said("ana", "Engineering", "held", "unmapped", "engineering "))
		h.must(err)
		got := h.held(u.ID)
		if got.Origin != identity.OriginSSO || got.Source != "" || !got.Active || got.Email() != "ana@acme.test" || got.DisplayName() != "Given ana" {
			t.Errorf("made %+v", got)
		}
		h.wantRoles(u, "root:operator jit Engineering", "Held:viewer jit held", "Pay:viewer jit Engineering")
		h.wantEvents(
			"user.created ana (first sign-in by oidc)",
			"grant.added ana (operator on root, for the group Engineering stated at sign-in)",
			"grant.added ana (viewer on Pay, for the group Engineering stated at sign-in)",
			"grant.added ana (viewer on Held, for the group held stated at sign-in)",
			"signin.succeeded ana")

		st := said("ana", "Held")
		st.GivenName, st.FamilyName, st.DisplayName = "New", "", "Ana the First"
		_, err = h.signIn(st)
		h.must(err)
		if got := h.held(u.ID).Attributes; got.Text(identity.PathGivenName) != "New" || got.Text(identity.PathFamilyName) != "ana" || got.Text(identity.PathDisplayName) != "Ana the First" {
			t.Errorf("the names after another sign-in: %v", got)
		}
		h.wantRoles(u, "Held:viewer jit Held")
		h.wantTeams("Held of a group") // Pay is nobody's
		h.skipEvents()

		st.GroupsStated, st.Groups = false, nil
		_, err = h.signIn(st)
		h.must(err)
		h.wantRoles(u, "Held:viewer jit Held")
		h.wantEvents("signin.succeeded ana")
		st.GroupsStated = true
		_, err = h.signIn(st)
		h.wantSignIn(err, lifecycle.SignInNoRole)
		h.wantRoles(u)
		h.wantEvents("grant.revoked ana (viewer on Held, for the group Held: no longer stated at sign-in, or mapped)", "signin.failed ana (no_role)")
	}, rule("engineering", "root:operator", "Pay:viewer"))
}

func TestSignInStated_NothingIsGranted(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		u, err := h.signIn(said("ana", "unmapped"))
		h.wantSignIn(err, lifecycle.SignInNoRole)
		if u.ID == "" || !h.held(u.ID).Active {
			t.Fatal("nobody was made")
		}
		h.wantSessions(u, 0)
		h.wantEvents("user.created ana (first sign-in by oidc)", "signin.failed ana (no_role)")
	})
}

// TestSignInStated_OthersStand: a sign-in takes its own grants away and nobody else's.
func TestSignInStated_OthersStand(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		u, err := h.signIn(said("ana", "Eng", "Ops"))
		h.must(err)
		manual := identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleOperator, Kind: identity.GrantManual, SourceID: "boss"}
		h.must(h.s.InTx(h.Context(), func(tx *store.Tx) error {
			_, err := tx.PutGrant(h.Context(), manual, h.now)
			return err
		}))
		h.wantRoles(u, "root:operator jit Eng", "root:operator jit Ops", "root:operator manual boss")
		_, err = h.signIn(said("ana", "Ops"))
		h.must(err)
		h.wantRoles(u, "root:operator jit Ops", "root:operator manual boss")
		_, err = h.signIn(said("ana"))
		h.must(err) // by hand is enough to get in
		h.wantRoles(u, "root:operator manual boss")
	}, rule("Eng", "root:operator"), rule("Ops", "root:operator"))
}

func TestSignInStated_WhoseGroups(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		held := h.group("Renamed")
		h.rename(held.ID, "Sales")
		byID, err := h.signIn(said("ana", held.ID))
		h.must(err)
		h.wantRoles(byID, "root:viewer jit "+held.ID, "Sales:viewer jit "+held.ID)
		byExternal, err := h.signIn(said("ben", "x-Renamed"))
		h.must(err)
		h.wantRoles(byExternal, "root:viewer jit x-Renamed", "Sales:viewer jit x-Renamed")
		byName, err := h.signIn(said("cleo", "SALES"))
		h.must(err)
		h.wantRoles(byName, "root:viewer jit SALES", "Sales:viewer jit SALES")
	}, rule("x-Renamed", "root:viewer"))
}

func TestSignInStated_Refused(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		glass := h.admin("glass")
		off := h.create("scim:k1", "off", inactive)
		gone := h.create("scim:k1", "gone")
		h.must(h.DeleteUser(h.Context(), pusher, "scim:k1", gone.ID, 0))
		email := func(u *identity.User) {
			u.Attributes["emails"] = []any{map[string]any{"value": "shared@acme.test", "primary": true}}
		}
		h.create("scim:k1", "one", email)
		h.create("scim:k1", "two", email)
		h.skipEvents()
		bad := said("x")
		bad.UserName = "a\u0007@acme.test"
		for _, tc := range []struct {
			st   lifecycle.SignInStatement
			want lifecycle.SignInReason
			told string
		}{
			{said("Glass", "Eng"), lifecycle.SignInLocal, "signin.failed glass (local_account)"},
			{said("off", "Eng"), lifecycle.SignInInactive, "signin.failed off (inactive)"},
			{said("gone", "Eng"), lifecycle.SignInInactive, "signin.failed gone (inactive)"},
			{said("shared", "Eng"), lifecycle.SignInAmbiguous, "signin.failed (ambiguous)"},
			{bad, lifecycle.SignInBadName, "signin.failed (bad_name)"},
		} {
			before := []identity.User{h.held(glass.ID), h.held(off.ID), h.held(gone.ID)}
			_, err := h.signIn(tc.st)
			h.wantSignIn(err, tc.want)
			h.wantEvents(tc.told)
			for _, u := range before {
				h.same(u)
				h.wantSessions(u, 0)
			}
		}
	}, rule("Eng", "root:admin"))
}

// TestSignInStated_SCIM: while SCIM is on, or a provider is not to, a sign-in makes nobody and changes nobody.
func TestSignInStated_SCIM(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.admin("glass")
		jit, err := h.signIn(said("jit", "Eng"))
		h.must(err)
		ana := h.create("scim:k1", "ana", withRoles("viewer"))
		check := func(provision bool) {
			h.Helper()
			st := said("unknown", "Eng")
			st.Provision = provision
			_, err := h.signIn(st)
			h.wantSignIn(err, lifecycle.SignInUnknown)
			for _, u := range []identity.User{jit, ana} {
				before := h.held(u.ID)
				st := said(u.UserName[:3])
				st.Provision = provision
				_, err := h.signIn(st)
				h.must(err)
				h.same(before)
			}
			h.wantRoles(jit, "root:viewer jit Eng")
		}
		check(false)
		_, err = h.EnableSCIM(h.Context(), operator)
		h.must(err)
		check(true)
	}, rule("Eng", "root:viewer"))
}

// TestSignInStated_Owned: what a source states is the source's, whether SCIM is on or not.
func TestSignInStated_Owned(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("okta", "ana", withRoles("viewer"))
		h.skipEvents()
		_, err := h.signIn(said("ana", "Eng"))
		h.must(err)
		h.same(ana)
		h.wantRoles(ana, "root:viewer direct ")
		h.wantEvents("signin.succeeded ana")
	}, rule("Eng", "root:admin"))
}

func TestSignInStated_Subjects(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, err := h.signIn(said("ana", "Eng"))
		h.must(err)
		other := said("ana", "Eng")
		other.Subject = "sub-new"
		_, err = h.signIn(other)
		h.wantSignIn(err, lifecycle.SignInSubjectChanged)

		renamed := said("ana", "Eng")
		renamed.UserName = "anna@acme.test"
		u, err := h.signIn(renamed)
		h.must(err)
		if u.ID != ana.ID {
			t.Errorf("a new address under the known id is %s, want the same person", u.UserName)
		}
		ben, err := h.signIn(said("ben", "Eng"))
		h.must(err)
		swapped := said("ben", "Eng")
		swapped.Subject = "sub-ana"
		_, err = h.signIn(swapped)
		h.wantSignIn(err, lifecycle.SignInSubjectTaken)

		elsewhere := said("ana", "Eng")
		elsewhere.Issuer, elsewhere.Subject = "https://other", "sub-ben"
		_, err = h.signIn(elsewhere)
		h.must(err)
		fleeting := said("ana", "Eng")
		fleeting.Subject, fleeting.Lasting = "_transient", false
		_, err = h.signIn(fleeting)
		h.must(err)

		h.skipEvents()
		for _, want := range []bool{true, false} {
			if got, err := h.Unlink(h.Context(), operator, ana.ID); got != want || err != nil {
				t.Errorf("Unlink = %v, %v, want %v", got, err, want)
			}
		}
		h.wantEvents("user.unlinked ana (unlinked by an administrator)")
		u, err = h.signIn(other)
		h.must(err)
		if u.ID != ana.ID {
			t.Errorf("after Unlink: %s", u.UserName)
		}
		_, err = h.signIn(said("ana", "Eng"))
		h.wantSignIn(err, lifecycle.SignInSubjectChanged)
		if _, err = h.signIn(said("ben", "Eng")); err != nil || ben.ID == "" {
			t.Errorf("another after Unlink: %v", err)
		}
	}, rule("Eng", "root:viewer"))
}

// TestAdoptedBySource: from the moment that a source states somebody, the source says what groups there are.
func TestAdoptedBySource(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, err := h.signIn(said("ana", "Eng"))
		h.must(err)
		ben, err := h.signIn(said("ben", "Eng"))
		h.must(err)
		h.skipEvents()
		adopted := h.create("scim:k1", "ana")
		if adopted.ID != ana.ID {
			t.Fatalf("another account was made")
		}
		h.wantRoles(ana)
		const reason = "grant.revoked ana (viewer on root, for the group Eng: a source says what groups there are from now on)"
		h.wantEvents("user.updated ana", reason)
		h.wantRoles(ben, "root:viewer jit Eng")
		c := h.conflict(identity.ObjectUser, "00u1", ben.ID)
		_, err = h.LinkConflict(h.Context(), operator, c.ID, ben.ID)
		h.must(err)
		h.wantRoles(ben)
		if names, err := h.s.StatedGroups(h.Context(), ana.ID); len(names) > 0 || err != nil {
			t.Errorf("stated groups of %s: %v, %v", ana.UserName, names, err)
		}
		_, err = h.signIn(said("ana", "Eng"))
		h.wantSignIn(err, lifecycle.SignInNoRole)
	}, rule("Eng", "root:viewer"))
}

// TestRehiredIsAnotherSubject: under a new immutable id, the identity provider means the person by a new subject too.
func TestRehiredIsAnotherSubject(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.create("okta", "ana", withRoles("viewer"))
		_, err := h.signIn(said("ana"))
		h.must(err)
		again := said("ana")
		again.Subject = "sub-2"
		_, err = h.signIn(again)
		h.wantSignIn(err, lifecycle.SignInSubjectChanged)
		held, err := h.s.UserByName(h.Context(), "ana@acme.test")
		h.must(err)
		_, err = h.ChangeUser(h.Context(), pusher, "okta", held.ID, 0, func(u *identity.User) error {
			u.ExternalID = "another id"
			return nil
		})
		h.must(err)
		_, err = h.signIn(again)
		h.must(err)
	})
}

func TestRemapReachesSignIns(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		edit := func(e roles.Edit) {
			h.Helper()
			_, err := h.Remap(h.Context(), operator, lifecycle.Remap{Edit: e})
			h.must(err)
		}
		edit(roles.Edit{Map: []roles.Rule{rule("Eng", "root:viewer"), rule("x-Held", "root:operator")}})
		held := h.group("Held")
		u, err := h.signIn(said("ana", "eng", "held"))
		h.must(err)
		h.wantRoles(u, "root:operator jit held", "root:viewer jit eng", "Held:viewer jit held")
		edit(roles.Edit{Set: []roles.Rule{rule("Eng", "root:admin")}})
		h.wantRoles(u, "root:admin jit eng", "root:operator jit held", "Held:viewer jit held")
		edit(roles.Edit{Unmap: []roles.Rule{rule("x-Held")}})
		h.wantRoles(u, "root:admin jit eng", "Held:viewer jit held")
		edit(roles.Edit{Map: []roles.Rule{rule(held.ID, "root:operator")}})
		h.wantRoles(u, "root:admin jit eng", "root:operator jit held", "Held:viewer jit held")
	})
}

func TestSignInStated_TwiceAtOnce(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		const many = 4
		errs := make([]error, many)
		entries := make([]lifecycle.Entry, many)
		for i := range entries {
			entries[i] = h.entry(lifecycle.MethodOIDC)
		}
		mapping, err := roles.Compile(roles.Options{Rules: []roles.Rule{rule("Eng", "root:viewer")}})
		h.must(err)
		applier, err := lifecycle.New(lifecycle.Options{Store: h.s, Mapping: mapping}) // the house's clock is for one
		h.must(err)
		var wait sync.WaitGroup
		for i := range many {
			wait.Go(func() { _, errs[i] = applier.SignInStated(h.Context(), signer, said("ana", "Eng"), entries[i]) })
		}
		wait.Wait()
		h.must(errors.Join(errs...))
		u, err := h.s.UserByName(h.Context(), "ana@acme.test")
		h.must(err)
		h.wantSessions(u, many)
	})
}

func TestNamedBy(t *testing.T) {
	t.Parallel()
	user := func(id, name, email string) identity.User {
		return identity.User{ID: id, UserName: name, Attributes: identity.Attributes{"emails": []any{map[string]any{"value": email, "primary": true}}}}
	}
	deleted := user("d", "d", "a@x")
	deleted.DeletedAt = deleted.DeletedAt.AddDate(2000, 0, 0)
	for _, tc := range []struct {
		name       string
		candidates []identity.User
		want       string
		several    bool
	}{
		{"nobody", nil, "", false},
		{"by name", []identity.User{user("1", "A@X", "")}, "1", false},
		{"by address", []identity.User{user("1", "a", "A@x")}, "1", false},
		{"the name before an address", []identity.User{user("1", "a", "a@x"), user("2", "a@x", "b@x")}, "2", false},
		{"the name before two addresses", []identity.User{user("1", "a", "a@x"), user("2", "b", "a@x"), user("3", "a@x", "")}, "3", false},
		{"two addresses", []identity.User{user("1", "a", "a@x"), user("2", "b", "a@x")}, "", true},
		{"a deleted one's address", []identity.User{deleted, user("1", "a", "a@x")}, "1", false},
		{"another", []identity.User{user("1", "b@x", "b@x")}, "", false},
	} {
		u, several := lifecycle.NamedBy(tc.candidates, "a@x")
		got := ""
		if u != nil {
			got = u.ID
		}
		if got != tc.want || several != tc.several {
			t.Errorf("%s: NamedBy = %q, %v, want %q, %v", tc.name, got, several, tc.want, tc.several)
		}
	}
}
