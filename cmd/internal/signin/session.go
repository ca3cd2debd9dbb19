package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Session is who is signed in with a request, and what they may do at this moment.
type Session struct {
	ID          string // of the session
	UserID      string
	UserName    string
	DisplayName string
	Method      string // "password", "saml" or "oidc"
	Created     time.Time
	Expires     time.Time       // at the latest
	RootRoles   []identity.Role // on the root team: what the console shows. Whoever holds any role anywhere may be signed in
}

// Has tells whether the person holds a role on the root team.
func (s *Session) Has(role identity.Role) bool { return slices.Contains(s.RootRoles, role) }

// Actor is the person as the audit log has them.
func (s *Session) Actor(ctx context.Context) identity.Actor {
	return identity.Actor{Kind: "user", ID: s.UserID, Name: s.UserName, RequestID: httpserver.RequestID(ctx)}
}

// ErrNoSession: the request is of nobody who is signed in, or is not any more.
var ErrNoSession = errors.New("not signed in")

type sessionKey struct{}

// SessionFrom returns the session that Require put into a request's context, or nil.
func SessionFrom(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// WithSession returns a context that SessionFrom reads.
func WithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// Session returns who is signed in with a request, as the database has it now; ErrNoSession. Any other error is the
// server's own.
func (s *Service) Session(r *http.Request) (*Session, error) {
	token := s.cookie(r, sessionCookie)
	if token == "" {
		return nil, ErrNoSession
	}
	now := s.now().UTC()
	held, err := s.store.SessionHolder(r.Context(), hashOf(token), now)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && !held.Granted:
		return nil, ErrNoSession
	case err != nil:
		return nil, err
	}
	if now.Sub(held.LastSeen) >= time.Minute {
		if err := s.store.TouchSession(r.Context(), held.ID, now, now.Add(s.idle)); err != nil {
			s.logger.WarnContext(r.Context(), "session use not noted", "session_id", held.ID, "error", err)
		}
	}
	httpserver.SetCaller(r.Context(), "user", held.UserID)
	return &Session{
		ID: held.ID, UserID: held.UserID, UserName: held.UserName, DisplayName: held.DisplayName, Method: held.Method,
		Created: held.Created, Expires: held.Expires, RootRoles: held.RootRoles,
	}, nil
}

// Require serves next for whoever is signed in, with the session in the request's context. A browser that looks for a
// page is sent to sign in and comes back; everything else gets 401.
func (s *Service) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := s.Session(r)
		switch {
		case errors.Is(err, ErrNoSession) && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			http.Redirect(w, r, pathSignIn+"?"+url.Values{"return_to": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		case errors.Is(err, ErrNoSession):
			s.fail(w, r, http.StatusUnauthorized, "You are not signed in any more. Sign in and try again.")
		case err != nil:
			s.internal(w, r, "read a session", err)
		default:
			next.ServeHTTP(w, r.WithContext(WithSession(r.Context(), session)))
		}
	})
}

// watchEvery is how often a session is looked at for as long as something of it is open.
const watchEvery = 500 * time.Millisecond

// Watch returns a context that ends with ctx, or within a second after the session has: it was ended or expired, its
// person was deactivated or holds no role any more. It is for answers that stay open. Call stop when done; it waits.
func (s *Service) Watch(ctx context.Context, session *Session) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-ticker.C:
			}
			counts, err := s.store.SessionCounts(watched, session.ID, s.now().UTC())
			switch {
			case err != nil && watched.Err() == nil:
				s.logger.WarnContext(ctx, "session not watched", "session_id", session.ID, "error", err)
				cancel(err) // who cannot be looked at is not served on
			case err == nil && !counts:
				cancel(ErrNoSession)
			}
		}
	}()
	return watched, func() {
		cancel(context.Canceled)
		<-done
	}
}

// Names of our cookies, without a prefix.
const (
	sessionCookie = "idpsync"
	browserCookie = "idpsync-browser"
)

// cookieName puts the prefix before a name by which browsers keep neighbouring hosts, and plain connections, from
// planting the cookie.
func (s *Service) cookieName(name string) string {
	if s.secure {
		return "__Host-" + name
	}
	return name
}

// cookie returns the value of a cookie of ours, or "".
func (s *Service) cookie(r *http.Request, name string) string {
	c, err := r.Cookie(s.cookieName(name))
	if err != nil || len(c.Value) != tokenLength {
		return ""
	}
	return c.Value
}

// setCookie sets a cookie of ours; with "" it takes it back. Without a lifetime it goes with the browser's session.
func (s *Service) setCookie(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	c := &http.Cookie{Name: s.cookieName(name), Value: value, Path: "/", Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	switch {
	case value == "":
		c.MaxAge = -1
	case lifetime > 0:
		c.MaxAge = int(lifetime.Seconds())
	}
	http.SetCookie(w, c)
}

// browserLifetime is how long a browser is known; each sign-in begins it anew.
const browserLifetime = keepFor

const tokenLength = 43 // 256 bits in base64

func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashOf is what is stored of a token; nil for none.
func hashOf(token string) []byte {
	if token == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

func markOf(token string) string { return hex.EncodeToString(hashOf(token)) }

// entry returns the session to be of a request's browser, with its token.
func (s *Service) entry(r *http.Request, method string) (lifecycle.Entry, string) {
	token := newToken()
	session := lifecycle.SessionIn(method, s.now().UTC(), s.lifetime, s.idle)
	session.ID, session.Hash = uuid.NewString(), hashOf(token)
	session.Remote, session.UserAgent = httpserver.Remote(r.Context()), cut(r.UserAgent(), 256)
	entry := lifecycle.Entry{Session: session}
	if former, err := s.Session(r); err == nil {
		entry.Former = former.ID
	}
	return entry, token
}

func cut(text string, most int) string {
	if len(text) > most {
		return text[:most]
	}
	return text
}
