package lifecycle_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var signer = identity.Actor{Kind: "system", ID: "sign-in", Name: "sign-in", RequestID: "req"}

// entry is a session to be, of an hour.
func (h *house) entry(method string) lifecycle.Entry {
	s := lifecycle.SessionIn(method, h.now, time.Hour, time.Hour)
	s.ID = uuid.NewString()
	hash := sha256.Sum256([]byte(s.ID))
	s.Hash, s.Remote = hash[:], "192.0.2.1"
	return lifecycle.Entry{Session: s}
}

func (h *house) wantSignIn(err error, reason lifecycle.SignInReason) {
	h.Helper()
	var refused *lifecycle.SignInError
	if !errors.As(err, &refused) || refused.Reason != reason {
		h.Errorf("sign-in: %v, want it refused because %s", err, reason)
	}
}

// sessions returns the number of sessions of a user that count.
func (h *house) wantSessions(u identity.User, want int) {
	h.Helper()
	sessions, err := h.s.Sessions(h.Context(), u.ID, h.now, 100)
	h.must(err)
	if len(sessions) != want {
		h.Errorf("%s has %d sessions, want %d", u.UserName, len(sessions), want)
	}
}

func TestMaySignIn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		origin  identity.Origin
		method  string
		active  bool
		deleted bool
		granted bool
		want    lifecycle.SignInReason
	}{
		{identity.OriginLocal, lifecycle.MethodPassword, true, false, true, ""},
		{identity.OriginSSO, lifecycle.MethodSAML, true, false, true, ""},
		{identity.OriginSSO, lifecycle.MethodOIDC, true, false, true, ""},
		{identity.OriginLocal, lifecycle.MethodSAML, true, false, true, lifecycle.SignInLocal},
		{identity.OriginLocal, lifecycle.MethodOIDC, false, false, false, lifecycle.SignInLocal},
		{identity.OriginSSO, lifecycle.MethodPassword, true, false, true, lifecycle.SignInConverted},
		{identity.OriginSSO, lifecycle.MethodSAML, false, false, true, lifecycle.SignInInactive},
		{identity.OriginSSO, lifecycle.MethodSAML, true, true, true, lifecycle.SignInInactive},
		{identity.OriginLocal, lifecycle.MethodPassword, false, false, false, lifecycle.SignInInactive},
		{identity.OriginLocal, lifecycle.MethodPassword, true, false, false, lifecycle.SignInNoRole},
	} {
		u := identity.User{Origin: tc.origin, Active: tc.active}
		if tc.deleted {
			u.DeletedAt = time.Unix(1, 0)
		}
		if got := lifecycle.MaySignIn(&u, tc.method, tc.granted); got != tc.want {
			t.Errorf("MaySignIn(%+v) = %q, want %q", tc, got, tc.want)
		}
	}
}

func TestSignInWithPassword(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		admin, nobody := h.admin("glass"), h.local("nobody")
		h.skipEvents()
		signIn := func(u identity.User, hash string, entry lifecycle.Entry) (identity.User, error) {
			return h.SignInWithPassword(h.Context(), signer, u.ID, hash, entry)
		}
		first := h.entry(lifecycle.MethodPassword)
		u, err := signIn(admin, "hash", first)
		h.must(err)
		if u.ID != admin.ID {
			t.Errorf("signed in as %s", u.UserName)
		}
		second := h.entry(lifecycle.MethodPassword)
		second.Former = first.Session.ID
		_, err = signIn(admin, "hash", second)
		h.must(err)
		h.wantSessions(admin, 1)
		h.wantEvents("signin.succeeded glass", "session.ended glass (signed in again)", "signin.succeeded glass")

		_, err = signIn(admin, "another hash", h.entry(lifecycle.MethodPassword))
		h.wantSignIn(err, lifecycle.SignInRaced)
		_, err = signIn(nobody, "hash", h.entry(lifecycle.MethodPassword))
		h.wantSignIn(err, lifecycle.SignInNoRole)
		_, err = signIn(h.create("scim:k1", "ana"), "", h.entry(lifecycle.MethodPassword))
		h.wantSignIn(err, lifecycle.SignInConverted)
		h.wantEvents("signin.failed glass (changed)", "signin.failed nobody (no_role)", "user.created ana", "signin.failed ana (sso_account)")
		h.wantSessions(admin, 1)
	})
}

// TestSessionsEnd sees that whoever may not sign in any more is signed out in the transaction that makes it so.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.admin("glass")
		signedIn := func(name string, edit ...func(*identity.User)) identity.User {
			h.Helper()
			u := h.create("scim:k1", name, append(edit, withRoles("viewer"))...)
			for range 2 {
				_, err := h.SignInStated(h.Context(), signer, lifecycle.SignInStatement{Method: lifecycle.MethodSAML, UserName: u.UserName}, h.entry(lifecycle.MethodSAML))
				h.must(err)
			}
			h.wantSessions(u, 2)
			return u
		}
		off, gone, pulled, other := signedIn("off"), signedIn("gone"), signedIn("pulled", func(u *identity.User) { u.ExternalID = "p1" }), signedIn("other")
		local := h.admin("second")
		_, err := h.SignInWithPassword(h.Context(), signer, local.ID, "hash", h.entry(lifecycle.MethodPassword))
		h.must(err)

		h.skipEvents()
		_, err = h.change(off.ID, inactive)
		h.must(err)
		h.wantEvents("user.deactivated off (stated inactive)", "session.ended off (deactivated)", "session.ended off (deactivated)")
		h.must(h.DeleteUser(h.Context(), pusher, "scim:k1", gone.ID, 0))
		h.wantEvents("user.deleted gone (deleted over SCIM)", "session.ended gone (deactivated)", "session.ended gone (deactivated)")
		_, err = h.change(local.ID, func(u *identity.User) { u.Attributes["title"] = "x" })
		h.must(err)
		h.wantEvents("user.converted second (local account is stated by scim:k1)", "session.ended second (signs in at the identity provider from now on)")
		for _, u := range []identity.User{off, gone, local} {
			h.wantSessions(u, 0)
			h.must(h.s.InTx(h.Context(), func(tx *store.Tx) error { // back, as nobody is by mistake
				back := h.held(u.ID)
				version := back.Version
				back.Active, back.DeletedAt, back.Origin, back.Version = true, time.Time{}, u.Origin, version+1
				return tx.UpdateUser(h.Context(), &back, version)
			}))
			h.wantSessions(u, 0)
		}
		h.wantSessions(pulled, 2)
		h.wantSessions(other, 2)
	})
}

func TestEndSession(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		admin := h.admin("glass")
		entries := []lifecycle.Entry{h.entry(lifecycle.MethodPassword), h.entry(lifecycle.MethodPassword), h.entry(lifecycle.MethodPassword)}
		for _, entry := range entries {
			_, err := h.SignInWithPassword(h.Context(), signer, admin.ID, "hash", entry)
			h.must(err)
		}
		h.skipEvents()
		h.must(h.EndSession(h.Context(), operator, entries[0].Session.ID, "signed out"))
		if err := h.EndSession(h.Context(), operator, entries[0].Session.ID, "again"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("EndSession twice: %v, want %v", err, store.ErrNotFound)
		}
		h.wantEvents("session.ended glass (signed out)")
		n, err := h.EndSessions(h.Context(), operator, admin.ID, "by hand")
		if n != 2 || err != nil {
			t.Errorf("EndSessions = %d, %v, want 2", n, err)
		}
		h.wantEvents("session.ended glass (by hand)", "session.ended glass (by hand)")
		h.wantSessions(admin, 0)
	})
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		admin, sso := h.admin("glass"), h.create("scim:k1", "ana")
		hashIs := func(want string) {
			h.Helper()
			if hash, err := h.s.PasswordHash(h.Context(), admin.ID); hash != want || err != nil {
				t.Errorf("the hash = %q, %v, want %q", hash, err, want)
			}
		}
		signIn := func() {
			h.Helper()
			hash, err := h.s.PasswordHash(h.Context(), admin.ID)
			h.must(err)
			_, err = h.SignInWithPassword(h.Context(), signer, admin.ID, hash, h.entry(lifecycle.MethodPassword))
			h.must(err)
		}
		signIn()
		h.skipEvents()
		if n, err := h.SetPassword(h.Context(), operator, admin.ID, "second"); n != 1 || err != nil {
			t.Errorf("SetPassword = %d, %v, want that one session ended", n, err)
		}
		hashIs("second")
		h.wantSessions(admin, 0)
		h.wantEvents("password.changed glass (set by an administrator)", "session.ended glass (the password was changed)")
		signIn()
		h.skipEvents()
		fresh := h.entry(lifecycle.MethodPassword).Session
		if err := h.ChangePassword(h.Context(), signer, admin.ID, "first", "third", fresh); !errors.Is(err, store.ErrStale) {
			t.Errorf("ChangePassword over another one: %v, want %v", err, store.ErrStale)
		}
		hashIs("second")
		h.must(h.ChangePassword(h.Context(), signer, admin.ID, "second", "third", fresh))
		hashIs("third")
		h.wantSessions(admin, 1)
		h.wantEvents("password.changed glass (changed by its owner)", "session.ended glass (the password was changed)")
		var notLocal *lifecycle.NotLocalError
		if _, err := h.SetPassword(h.Context(), operator, sso.ID, "x"); !errors.As(err, &notLocal) {
			t.Errorf("SetPassword of an SSO account: %v", err)
		}
		if _, err := h.SetPassword(h.Context(), operator, uuid.NewString(), "x"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("SetPassword of nobody: %v", err)
		}
	})
}

func TestUnblockSignIn(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		admin := h.admin("glass")
		count := func() {
			h.Helper()
			h.must(h.s.InTx(h.Context(), func(tx *store.Tx) error {
				found, err := tx.LockFailures(h.Context(), h.now, store.FailureKey{Kind: store.FailuresOfPair, Account: admin.ID, Place: "n"})
				if err != nil {
					return err
				}
				found[0].Count = 7
				return tx.PutFailures(h.Context(), found...)
			}))
		}
		count()
		h.skipEvents()
		for _, want := range []bool{true, false} {
			if got, err := h.UnblockSignIn(h.Context(), operator, admin.ID); got != want || err != nil {
				t.Errorf("UnblockSignIn = %v, %v, want %v", got, err, want)
			}
		}
		h.wantEvents("signin.unblocked glass")
		count()
		_, err := h.SetPassword(h.Context(), operator, admin.ID, "second")
		h.must(err)
		if got, err := h.UnblockSignIn(h.Context(), operator, admin.ID); got || err != nil {
			t.Errorf("UnblockSignIn after another password = %v, %v, want nothing to forget", got, err)
		}
	})
}
