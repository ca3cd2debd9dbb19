package signin

import (
	"context"
	"errors"
	"net/http"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// errCredential is the one answer for whoever does not get in with a name and a password, whatever the reason.
var errCredential = errors.New("the name or the password is wrong")

// passwordEntry is somebody who got in, with what the browser has to keep.
type passwordEntry struct {
	token   string // of the session
	browser string // of the browser; "" where it keeps what it has
}

// withPassword signs somebody in, or returns errCredential, a *BlockedError, errOverloaded, a *lifecycle.SignInError for
// somebody whose password was right, or another error, which is the server's own.
func (s *Service) withPassword(r *http.Request, name, password string) (passwordEntry, error) {
	ctx, by, remote := r.Context(), maker(r), httpserver.Remote(r.Context())
	u, hash, err := s.accountOf(ctx, name)
	if err != nil {
		return passwordEntry{}, err
	}
	browser := s.cookie(r, browserCookie)
	p, err := s.placeOf(ctx, u, name, remote, browser)
	if err != nil {
		return passwordEntry{}, err
	}
	t, err := s.take(ctx, by, p, u, remote)
	if err != nil {
		return passwordEntry{}, err
	}
	fits, err := s.hasher.check(ctx, p.browser != "", hash, password)
	if err != nil {
		return passwordEntry{}, errors.Join(err, s.giveBack(context.WithoutCancel(ctx), t, false))
	}
	if !fits {
		reason := reasonAgainst(u)
		s.logger.InfoContext(ctx, "sign-in failed", "method", lifecycle.MethodPassword, "reason", reason, "user_id", idOf(u), "remote", remote, "request_id", by.RequestID)
		if err := s.applier.SignInFailed(ctx, by, u, lifecycle.MethodPassword, remote, string(reason)); err != nil {
			return passwordEntry{}, err
		}
		return passwordEntry{}, errCredential
	}
	return s.letIn(r, t, u, hash, password, browser)
}

// placeOf returns where a try with a name comes from. u is nil for nobody.
func (s *Service) placeOf(ctx context.Context, u *identity.User, name, remote, browser string) (place, error) {
	p := place{account: nobody(name), network: network(remote)}
	if u == nil {
		return p, nil
	}
	p.account = u.ID
	known, err := s.store.KnowsBrowser(ctx, hashOf(browser), u.ID)
	if known {
		p.browser = markOf(browser)
	}
	return p, err
}

// letIn opens the session of somebody whose password was right.
func (s *Service) letIn(r *http.Request, t *ticket, u *identity.User, hash, password, browser string) (passwordEntry, error) {
	ctx := r.Context()
	entry, token := s.entry(r, lifecycle.MethodPassword)
	in := passwordEntry{token: token}
	if t.place.browser == "" {
		in.browser = newToken()
		entry.Browser, entry.FormerBrowser = hashOf(in.browser), hashOf(browser)
	} else {
		entry.Browser = hashOf(browser)
	}
	_, err := s.applier.SignInWithPassword(ctx, maker(r), u.ID, hash, entry)
	var refused *lifecycle.SignInError
	if errors.As(err, &refused) {
		s.logger.InfoContext(ctx, "sign-in refused", "method", lifecycle.MethodPassword, "reason", refused.Reason, "user_id", u.ID,
			"remote", entry.Session.Remote, "request_id", httpserver.RequestID(ctx))
		if refused.Reason != lifecycle.SignInNoRole {
			return passwordEntry{}, errCredential // counted: who may not get in at all learns nothing
		}
	} else if err != nil {
		return passwordEntry{}, err
	}
	if back := s.giveBack(ctx, t, true); back != nil {
		s.logger.WarnContext(ctx, "a sign-in that succeeded stays counted as a failure", "error", back)
	}
	if err != nil {
		return passwordEntry{}, err
	}
	s.renew(ctx, u.ID, hash, password)
	return in, nil
}

// accountOf returns whose a name is, by userName or e-mail address, and the hash of their password; nil for nobody. Only
// an account that signs in with a password has one: what may be stored of another does not count.
func (s *Service) accountOf(ctx context.Context, name string) (*identity.User, string, error) {
	candidates, err := s.store.Candidates(ctx, nil, []string{name})
	if err != nil {
		return nil, "", err
	}
	u, _ := lifecycle.NamedBy(candidates, name)
	if u == nil || u.Origin != identity.OriginLocal {
		return u, "", nil
	}
	hash, err := s.store.PasswordHash(ctx, u.ID)
	if errors.Is(err, store.ErrNotFound) {
		return u, "", nil
	}
	return u, hash, err
}

func reasonAgainst(u *identity.User) lifecycle.SignInReason {
	switch {
	case u == nil:
		return lifecycle.SignInUnknown
	case u.Origin != identity.OriginLocal:
		return lifecycle.SignInConverted
	}
	return lifecycle.SignInWrongPassword
}

func idOf(u *identity.User) string {
	if u == nil {
		return ""
	}
	return u.ID
}

// renew stores the hash of a password anew that was made with other parameters than hashes are made with now.
func (s *Service) renew(ctx context.Context, userID, hash, password string) {
	if !outdated(hash) {
		return
	}
	var fresh string
	err := s.hasher.do(ctx, true, func() (err error) {
		fresh, err = HashPassword(password)
		return err
	})
	if err == nil {
		err = s.store.RenewPasswordHash(ctx, userID, hash, fresh)
	}
	if err != nil {
		s.logger.WarnContext(ctx, "password hash not renewed", "user_id", userID, "error", err)
	}
}

// newPassword changes the password of who is signed in, ends all sessions and begins another one, whose token it
// returns. The errors are those of withPassword, and a *WeakPasswordError.
func (s *Service) newPassword(r *http.Request, session *Session, old, chosen string) (string, error) {
	ctx, by, remote := r.Context(), session.Actor(r.Context()), httpserver.Remote(r.Context())
	if err := CheckChosen(chosen, session.UserName); err != nil {
		return "", err
	}
	hash, err := s.store.PasswordHash(ctx, session.UserID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	u := &identity.User{ID: session.UserID, UserName: session.UserName}
	p, err := s.placeOf(ctx, u, u.UserName, remote, s.cookie(r, browserCookie))
	if err != nil {
		return "", err
	}
	t, err := s.take(ctx, by, p, u, remote)
	if err != nil {
		return "", err
	}
	fits, err := s.hasher.check(ctx, true, hash, old)
	var fresh string
	if err == nil && fits {
		err = s.hasher.do(ctx, true, func() (err error) {
			fresh, err = HashPassword(chosen)
			return err
		})
	}
	if err != nil {
		return "", errors.Join(err, s.giveBack(context.WithoutCancel(ctx), t, false))
	}
	if !fits {
		if err := s.applier.SignInFailed(ctx, by, u, lifecycle.MethodPassword, remote, string(lifecycle.SignInWrongPassword)); err != nil {
			return "", err
		}
		return "", errCredential
	}
	entry, token := s.entry(r, lifecycle.MethodPassword)
	if err := s.applier.ChangePassword(ctx, by, session.UserID, hash, fresh, entry.Session); err != nil {
		return "", err
	}
	return token, s.giveBack(ctx, t, true)
}

// retryable tells what to answer to a try that was not made: the status and the seconds to wait, 0 for an error of
// another kind.
func (s *Service) retryable(err error) (status, seconds int) {
	var blocked *BlockedError
	switch {
	case errors.As(err, &blocked):
		return http.StatusTooManyRequests, max(1, int(blocked.Until.Sub(s.now()).Seconds()+0.999))
	case errors.Is(err, errOverloaded):
		return http.StatusServiceUnavailable, 5
	}
	return 0, 0
}
