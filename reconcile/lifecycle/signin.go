package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Ways to sign in.
const (
	MethodPassword = "password"
	MethodSAML     = "saml"
	MethodOIDC     = "oidc"
)

// SignInReason says why a sign-in was refused, for logs, metrics and the audit log. The set is closed.
type SignInReason string

// Reasons of a refusal.
const (
	SignInUnknown        SignInReason = "unknown"         // nobody of that name
	SignInWrongPassword  SignInReason = "wrong_password"  // or none was ever set
	SignInConverted      SignInReason = "sso_account"     // a password, for an account that signs in at the identity provider
	SignInLocal          SignInReason = "local_account"   // the identity provider, for an account that signs in with a password
	SignInInactive       SignInReason = "inactive"        // deactivated or deleted
	SignInNoRole         SignInReason = "no_role"         // nothing grants any role
	SignInAmbiguous      SignInReason = "ambiguous"       // several accounts have that e-mail address
	SignInSubjectChanged SignInReason = "subject_changed" // the name is of somebody whom the identity provider knew by another id
	SignInSubjectTaken   SignInReason = "subject_taken"   // the id is of somebody else than the name
	SignInBadName        SignInReason = "bad_name"        // a name that nobody can have
	SignInRaced          SignInReason = "changed"         // the password was changed meanwhile
)

// SignInError says that somebody may not sign in. It is recorded. UserID and UserName are empty for nobody held.
type SignInError struct {
	Reason           SignInReason
	UserID, UserName string
}

func (e *SignInError) Error() string { return "sign-in refused: " + string(e.Reason) }

// MaySignIn says why somebody held may not sign in in a way, or "". A local account signs in with its password and with
// nothing else, so that no identity provider can take break glass over; everybody else at the identity provider.
// Nobody does who is inactive, or holds no role.
func MaySignIn(u *identity.User, method string, granted bool) SignInReason {
	local := u.Origin == identity.OriginLocal
	switch {
	case local && method != MethodPassword:
		return SignInLocal
	case !local && method == MethodPassword:
		return SignInConverted
	case !u.Active || u.Deleted():
		return SignInInactive
	case !granted:
		return SignInNoRole
	}
	return ""
}

// Entry is a session to be, and the browser that it is for.
type Entry struct {
	Session store.Session // without a user
	Former  string        // id of the session that the browser had, which ends; or ""
	// The browser by the hash of its token, and by the hash of the token that it had before; nil where it is not to be
	// known again, or was not known.
	Browser, FormerBrowser []byte
}

// SignInWithPassword opens a session for somebody whose password fits a hash. It is refused with a *SignInError.
func (a *Applier) SignInWithPassword(ctx context.Context, by identity.Actor, userID, hash string, entry Entry) (identity.User, error) {
	return a.enter(ctx, by, entry, func(c *change) (*identity.User, SignInReason, error) {
		held, err := c.tx.LockUser(ctx, userID)
		if err != nil {
			return nil, "", err
		}
		now, err := c.tx.LockPasswordHash(ctx, userID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, "", err
		}
		if now != hash { // the session would outlive the change
			return &held, SignInRaced, nil
		}
		return &held, "", nil
	})
}

// enter opens a session for whom f finds, in the transaction in which f finds them, unless f says why not. What f
// changed stays, whatever comes of the sign-in.
func (a *Applier) enter(ctx context.Context, by identity.Actor, entry Entry, f func(*change) (*identity.User, SignInReason, error)) (identity.User, error) {
	var (
		who    identity.User
		reason SignInReason
	)
	err := a.inTx(ctx, by, func(c *change) error {
		who = identity.User{}
		u, why, err := f(c)
		if err != nil {
			return err
		}
		reason = why
		if u != nil {
			who = *u
		}
		if u != nil && reason == "" {
			granted, err := c.tx.HasGrant(ctx, u.ID)
			if err != nil {
				return err
			}
			reason = MaySignIn(u, entry.Session.Method, granted)
		}
		if reason != "" {
			c.signInEvent(identity.EventSignInFailed, &who, entry.Session.Method, entry.Session.Remote, string(reason))
			return nil
		}
		return c.openSession(ctx, u, entry)
	})
	if err == nil && reason != "" {
		err = &SignInError{Reason: reason, UserID: who.ID, UserName: who.UserName}
	}
	return who, err
}

// openSession writes the session of somebody who may have one.
func (c *change) openSession(ctx context.Context, u *identity.User, entry Entry) error {
	c.by = identity.Actor{Kind: "user", ID: u.ID, Name: u.UserName, RequestID: c.by.RequestID}
	if entry.Former != "" {
		if err := c.endSession(ctx, entry.Former, "signed in again"); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	session := entry.Session
	session.UserID = u.ID
	if err := c.tx.InsertSession(ctx, &session); err != nil {
		return err
	}
	if err := c.knowBrowser(ctx, u.ID, entry); err != nil {
		return err
	}
	c.signInEvent(identity.EventSignInSucceeded, u, session.Method, session.Remote, "")
	return nil
}

func (c *change) knowBrowser(ctx context.Context, userID string, entry Entry) error {
	if entry.Browser == nil {
		return nil
	}
	if entry.FormerBrowser != nil {
		if err := c.tx.RenameBrowser(ctx, entry.FormerBrowser, entry.Browser); err != nil {
			return err
		}
	}
	return c.tx.KnowBrowser(ctx, entry.Browser, userID, c.now)
}

// signInEvent tells of a sign-in by a way and from an address.
func (c *change) signInEvent(kind identity.EventType, u *identity.User, method, remote, reason string) {
	c.event(SignInEvent(kind, u, method, remote, reason))
}

// SignInEvent is an event about a sign-in, by a way and from an address. u is nil, or empty, where it is nobody's: what
// was typed for a name is not told, for it may be a password.
func SignInEvent(kind identity.EventType, u *identity.User, method, remote, reason string) identity.Event {
	e := identity.Event{
		Type: kind, Object: identity.ObjectUser, Reason: reason,
		Fields: []identity.FieldChange{{Path: "method", After: method}, {Path: "remote", After: remote}},
	}
	if u != nil {
		e.ObjectID, e.Name = u.ID, u.UserName
	}
	return e
}

// SignInFailed records a sign-in that came to nothing before it was known whose it was, or because of a password.
func (a *Applier) SignInFailed(ctx context.Context, by identity.Actor, u *identity.User, method, remote, reason string) error {
	return a.inTx(ctx, by, func(c *change) error {
		c.signInEvent(identity.EventSignInFailed, u, method, remote, reason)
		return nil
	})
}

// UnblockSignIn forgets the failures for which sign-ins to an account have to wait, and tells whether there were any.
func (a *Applier) UnblockSignIn(ctx context.Context, by identity.Actor, userID string) (bool, error) {
	forgotten := false
	err := a.inTx(ctx, by, func(c *change) error {
		u, err := c.lockLive(ctx, userID, 0)
		if err != nil {
			return err
		}
		n, err := c.tx.ForgetFailures(ctx, userID)
		if forgotten = n > 0; forgotten {
			c.event(identity.Event{Type: identity.EventSignInUnblocked, Object: identity.ObjectUser, ObjectID: u.ID, Name: u.UserName})
		}
		return err
	})
	return forgotten, err
}

// NotLocalError says that an account has no password: it signs in at the identity provider.
type NotLocalError struct{ UserName string }

func (e *NotLocalError) Error() string {
	return e.UserName + " signs in at the identity provider and has no password here"
}

// SetPassword gives a local account another password, ends its sessions and lets it sign in without waiting. Another
// account is a *NotLocalError; somebody not there, or deleted, is store.ErrNotFound. It returns how many sessions ended.
func (a *Applier) SetPassword(ctx context.Context, by identity.Actor, userID, hash string) (int, error) {
	ended := 0
	err := a.inTx(ctx, by, func(c *change) error {
		u, err := c.lockLocal(ctx, userID)
		if err != nil {
			return err
		}
		if _, err := c.tx.ForgetFailures(ctx, userID); err != nil {
			return err
		}
		ended, err = c.putPassword(ctx, u, hash, "set by an administrator")
		return err
	})
	return ended, err
}

// ChangePassword is SetPassword by the person, whose former password fits oldHash. All sessions end, and another one
// begins. A password that was changed meanwhile is store.ErrStale.
func (a *Applier) ChangePassword(ctx context.Context, by identity.Actor, userID, oldHash, hash string, session store.Session) error {
	return a.inTx(ctx, by, func(c *change) error {
		u, err := c.lockLocal(ctx, userID)
		if err != nil {
			return err
		}
		now, err := c.tx.LockPasswordHash(ctx, userID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if now != oldHash || !u.Active {
			return store.ErrStale
		}
		if _, err := c.putPassword(ctx, u, hash, "changed by its owner"); err != nil {
			return err
		}
		session.UserID = userID
		return c.tx.InsertSession(ctx, &session)
	})
}

func (c *change) lockLocal(ctx context.Context, userID string) (*identity.User, error) {
	u, err := c.lockLive(ctx, userID, 0)
	if err == nil && u.Origin != identity.OriginLocal {
		err = &NotLocalError{u.UserName}
	}
	return u, err
}

func (c *change) putPassword(ctx context.Context, u *identity.User, hash, reason string) (int, error) {
	if err := c.tx.SetPassword(ctx, u.ID, hash, c.now); err != nil {
		return 0, err
	}
	c.event(identity.Event{Type: identity.EventPasswordChanged, Object: identity.ObjectUser, ObjectID: u.ID, Name: u.UserName, Reason: reason})
	return c.endSessions(ctx, []string{u.ID}, "the password was changed")
}

// EndSession ends a session; store.ErrNotFound where there is none, or it has ended.
func (a *Applier) EndSession(ctx context.Context, by identity.Actor, id, reason string) error {
	return a.inTx(ctx, by, func(c *change) error { return c.endSession(ctx, id, reason) })
}

// EndSessions ends the sessions of a user and returns how many there were.
func (a *Applier) EndSessions(ctx context.Context, by identity.Actor, userID, reason string) (int, error) {
	ended := 0
	err := a.inTx(ctx, by, func(c *change) (err error) {
		ended, err = c.endSessions(ctx, []string{userID}, reason)
		return err
	})
	return ended, err
}

func (c *change) endSession(ctx context.Context, id, reason string) error {
	ended, err := c.tx.EndSession(ctx, id, reason, c.now)
	if err == nil {
		c.sessionEnded(ended, reason)
	}
	return err
}

func (c *change) endSessions(ctx context.Context, userIDs []string, reason string) (int, error) {
	if len(userIDs) == 0 {
		return 0, nil
	}
	ended, err := c.tx.EndSessions(ctx, userIDs, "", reason, c.now)
	for _, s := range ended {
		c.sessionEnded(s, reason)
	}
	return len(ended), err
}

func (c *change) sessionEnded(s store.EndedSession, reason string) {
	c.event(identity.Event{
		Type: identity.EventSessionEnded, Object: identity.ObjectUser, ObjectID: s.UserID, Name: s.UserName, Reason: reason,
		Fields: []identity.FieldChange{{Path: "session", Before: s.ID}},
	})
}

// restated notes what a change of a person's source means for how they sign in. A source that takes somebody over says
// from now on what they may do, in place of their sign-ins. A new immutable id is somebody hired again: the identity
// provider will mean them by another subject, too.
func (c *change) restated(before, after *identity.User) {
	if before == nil {
		return
	}
	if before.Source == "" && after.Source != "" {
		c.adopt = append(c.adopt, after.ID)
	}
	if before.Source == after.Source && before.SourceID != "" && before.SourceID != after.SourceID {
		c.unbind = append(c.unbind, after.ID)
	}
}

// settleSignIns does for sign-ins what a transaction's changes to people mean: who may not sign in any more is signed
// out.
func (c *change) settleSignIns(ctx context.Context) error {
	if _, err := c.endSessions(ctx, c.disable, "deactivated"); err != nil {
		return err
	}
	if _, err := c.endSessions(ctx, c.convert, "signs in at the identity provider from now on"); err != nil {
		return err
	}
	if err := c.unlink(ctx, c.unbind, "known to the source by another id"); err != nil {
		return err
	}
	return c.dropSignInGrants(ctx, c.adopt)
}

// Unlink forgets by which ids identity providers mean somebody at sign-in, so that the next sign-in by their name is
// taken for theirs. It tells whether there was one; store.ErrNotFound where there is no such user.
func (a *Applier) Unlink(ctx context.Context, by identity.Actor, userID string) (bool, error) {
	unlinked := false
	err := a.inTx(ctx, by, func(c *change) error {
		if _, err := c.tx.LockUser(ctx, userID); err != nil {
			return err
		}
		before := len(c.events)
		err := c.unlink(ctx, []string{userID}, "unlinked by an administrator")
		unlinked = len(c.events) > before
		return err
	})
	return unlinked, err
}

func (c *change) unlink(ctx context.Context, userIDs []string, reason string) error {
	if len(userIDs) == 0 {
		return nil
	}
	unbound, err := c.tx.UnbindSubjects(ctx, userIDs)
	if err != nil || len(unbound) == 0 {
		return err
	}
	users, err := c.tx.UsersByID(ctx, unbound)
	for _, id := range unbound {
		c.event(identity.Event{Type: identity.EventUserUnlinked, Object: identity.ObjectUser, ObjectID: id, Name: users[id].UserName, Reason: reason})
	}
	return err
}

// SessionIn returns a session to be, of so long at most, that ends when it is not used for idle.
func SessionIn(method string, now time.Time, lifetime, idle time.Duration) store.Session {
	return store.Session{Method: method, Created: now, LastSeen: now, Expires: now.Add(lifetime), IdleExpires: now.Add(idle)}
}
