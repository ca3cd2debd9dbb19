package assertion

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// PendingFor is how long a sign-in that was begun waits for the identity provider's answer.
const PendingFor = 10 * time.Minute

// Local returns target if it is a path on this server that a browser may be sent to, otherwise "/". It begins with one
// slash: browsers read "//" and "/\" as another host, and take tabs and line feeds out before they do.
func Local(target string) string {
	if len(target) > 2048 || !strings.HasPrefix(target, "/") {
		return "/"
	}
	if len(target) > 1 && (target[1] == '/' || target[1] == '\\') {
		return "/"
	}
	if strings.ContainsFunc(target, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
		return "/"
	}
	return target
}

// Secret returns 256 random bits, in hexadecimal.
func Secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}

// A Cookie binds what was begun to the browser that began it, so that nobody can have another person's browser finish a
// sign-in to an account of their own. The cookie is one for each browser, shared by sign-ins that go on side by side in
// several tabs.
type Cookie struct {
	// Name is the cookie's, without a prefix.
	Name string
	// Secure is set where the application is reached over https: the cookie then gets the prefix __Host-, so that no
	// neighbouring host or plain connection can plant one.
	Secure bool
	// CrossSite is set where the answer comes as a form that another site's page posts. It needs Secure: without it,
	// browsers refuse SameSite=None, and the cookie is left with the browser's own default.
	CrossSite bool
}

func (c Cookie) name() string {
	if c.Secure {
		return "__Host-" + c.Name
	}
	return c.Name
}

// Bind makes sure that the browser has a cookie, and returns the mark to remember along with the sign-in. The mark does
// not tell the cookie.
func (c Cookie) Bind(w http.ResponseWriter, r *http.Request) (mark string) {
	secret := Secret()
	if had, err := r.Cookie(c.name()); err == nil && wellFormed(had.Value) {
		secret = had.Value
	}
	cookie := &http.Cookie{
		Name: c.name(), Value: secret, Path: "/", MaxAge: int(PendingFor.Seconds()),
		HttpOnly: true, Secure: c.Secure, SameSite: http.SameSiteLaxMode,
	}
	if c.CrossSite {
		cookie.SameSite = http.SameSiteDefaultMode
		if c.Secure {
			cookie.SameSite = http.SameSiteNoneMode
		}
	}
	http.SetCookie(w, cookie)
	return markOf(secret)
}

// Bound tells whether the mark is this browser's.
func (c Cookie) Bound(r *http.Request, mark string) bool {
	had, err := r.Cookie(c.name())
	return err == nil && wellFormed(had.Value) && subtle.ConstantTimeCompare([]byte(markOf(had.Value)), []byte(mark)) == 1
}

func wellFormed(secret string) bool {
	raw, err := hex.DecodeString(secret)
	return err == nil && len(raw) == 32
}

func markOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
