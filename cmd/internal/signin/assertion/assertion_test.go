package assertion_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

func TestLocal(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"":                               "/",
		"/":                              "/",
		"/runs/7?state=held#top":         "/runs/7?state=held#top",
		"/a//b":                          "/a//b",
		"runs":                           "/",
		"//evil.example":                 "/",
		`/\evil.example`:                 "/",
		`\/evil.example`:                 "/",
		`/a\b`:                           "/",
		"/\t/evil.example":               "/",
		"/\n/evil.example":               "/",
		"https://evil.example/":          "/",
		"javascript:alert(1)":            "/",
		" /runs":                         "/",
		"/" + strings.Repeat("a", 2_048): "/",
	} {
		if got := assertion.Local(target); got != want {
			t.Errorf("Local(%q) = %q, want %q", target, got, want)
		}
	}
}

// TestCookie begins in one browser and finishes in it, in another one, and in one that made its cookie up.
func TestCookie(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		cookie   assertion.Cookie
		wantName string
		wantSame http.SameSite
	}{
		{"https, posted by another site", assertion.Cookie{Name: "x", Secure: true, CrossSite: true}, "__Host-x", http.SameSiteNoneMode},
		{"https, a link", assertion.Cookie{Name: "x", Secure: true}, "__Host-x", http.SameSiteLaxMode},
		{"loopback, posted by another site", assertion.Cookie{Name: "x", CrossSite: true}, "x", 0},
		{"loopback, a link", assertion.Cookie{Name: "x"}, "x", http.SameSiteLaxMode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			begin := func(with ...*http.Cookie) (string, *http.Cookie) {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				for _, c := range with {
					r.AddCookie(c)
				}
				w := httptest.NewRecorder()
				mark := tc.cookie.Bind(w, r)
				set := w.Result().Cookies()
				if len(set) != 1 {
					t.Fatalf("Bind set %d cookies, want 1", len(set))
				}
				return mark, set[0]
			}
			bound := func(mark string, with ...*http.Cookie) bool {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				for _, c := range with {
					r.AddCookie(c)
				}
				return tc.cookie.Bound(r, mark)
			}

			mark, cookie := begin()
			if cookie.Name != tc.wantName || cookie.SameSite != tc.wantSame || !cookie.HttpOnly || cookie.Secure != tc.cookie.Secure || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 600 {
				t.Errorf("Bind set %q", cookie)
			}
			if strings.Contains(mark, cookie.Value) {
				t.Error("the mark tells the cookie")
			}
			if !bound(mark, cookie) {
				t.Error("the browser that began is not bound")
			}
			second, again := begin(cookie)
			if again.Value != cookie.Value || !bound(mark, again) || !bound(second, cookie) {
				t.Error("a second tab ends the first one's sign-in")
			}
			other, otherCookie := begin()
			if other == mark || bound(mark, otherCookie) || bound(mark) {
				t.Error("another browser is bound, too")
			}
			short := &http.Cookie{Name: cookie.Name, Value: "00"}
			if made, fresh := begin(short); fresh.Value == "00" || bound(made, short) || bound(mark, short) {
				t.Error("a cookie of somebody else's making is kept")
			}
		})
	}
}

func TestErrorsSayWhatHappenedAndNoMoreToThePerson(t *testing.T) {
	t.Parallel()
	cause := errors.New("driver text")
	refused := &assertion.RefusedError{Provider: assertion.SAML, Reason: assertion.ReasonAudience, Detail: "for https://other.example", Err: cause}
	if got, want := refused.Error(), "saml sign-in refused: audience: for https://other.example: driver text"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(refused, cause) || !errors.Is(&assertion.UnavailableError{Err: cause}, cause) {
		t.Error("the cause is lost")
	}
	for _, reason := range []assertion.Reason{"", assertion.ReasonAudience, assertion.ReasonExpired, assertion.ReasonDenied, assertion.ReasonNoUserName, assertion.ReasonEmailUnverified} {
		refused.Reason = reason
		if got := refused.Public(); got == "" || strings.Contains(got, "driver") || strings.Contains(got, "other.example") {
			t.Errorf("%q: Public() = %q", reason, got)
		}
	}
}
