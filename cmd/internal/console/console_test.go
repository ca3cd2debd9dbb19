package console_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestWhoSeesTheConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	if p := w.get("", "/").want(http.StatusSeeOther); p.header.Get("Location") != "/sign-in?return_to=%2F" {
		t.Errorf("nobody is sent to %q, want to sign in and come back", p.header.Get("Location"))
	}
	if p := w.get("none", "/runs").want(http.StatusSeeOther); p.header.Get("Location") != "/account" {
		t.Errorf("whoever may not look is sent to %q, want to their account", p.header.Get("Location"))
	}
	for _, rank := range []string{"viewer", "operator", "admin"} {
		w.get(rank, "/").want(http.StatusOK, "Overview", rank+"@acme.test", "Sign out")
	}
	w.get("viewer", "/nowhere").want(http.StatusNotFound, "There is no such page")
}

func TestPart_OfSomebodySignedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	p := w.part("", "/", "live-overview").want(http.StatusUnauthorized)
	if got := p.header.Get("HX-Redirect"); got != "/sign-in?return_to=%2F" {
		t.Errorf("HX-Redirect: %q, want the page to sign in", got)
	}
}

func TestPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	p := w.part("viewer", "/", "live-overview").want(http.StatusOK, "People").hasNot("<html", "<nav")
	if got := p.header.Get("Vary"); !strings.Contains(got, "HX-Request") {
		t.Errorf("Vary: %q, want HX-Request in it", got)
	}
	w.part("viewer", "/", "live-nonsense").want(http.StatusInternalServerError)
	w.part("viewer", "/", "main").want(http.StatusOK).has("<html")
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, path := range []string{"/", "/nowhere", "/assets/none"} {
		p := w.get("admin", path)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := p.header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
		p.hasNot("<style", " style=", "onclick", "javascript:")
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	body := w.get("admin", "/").body
	for _, kind := range []struct{ end, mediaType string }{
		{"style.css", "text/css; charset=utf-8"},
		{"console.js", "text/javascript; charset=utf-8"},
		{"htmx.min.js", "text/javascript; charset=utf-8"},
		{"icon.svg", "image/svg+xml"},
	} {
		before, _, found := strings.Cut(body, "/"+kind.end)
		at := strings.LastIndex(before, "/assets/")
		if !found || at < 0 {
			t.Fatalf("no page loads %s", kind.end)
		}
		p := w.get("", before[at:]+"/"+kind.end).want(http.StatusOK)
		if got := p.header.Get("Content-Type"); got != kind.mediaType {
			t.Errorf("%s is sent as %q, want %q", kind.end, got, kind.mediaType)
		}
		if got := p.header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
			t.Errorf("%s: Cache-Control: %q, want it kept", kind.end, got)
		}
	}
}

func TestCrossSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://elsewhere.example"}} {
		p := w.send("admin", http.MethodPost, "/theme", map[string][]string{"theme": {"dark"}}, headers...)
		if p.status != http.StatusForbidden || p.header.Get("Set-Cookie") != "" {
			t.Errorf("a form of another site (%q) = %d, and sets %q, want 403 and nothing", headers, p.status, p.header.Get("Set-Cookie"))
		}
	}
}

func TestTheme(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.get("viewer", "/").has(`content="light dark"`).hasNot("data-theme")
	w.done("viewer", "/theme", "theme", "dark", "return_to", "/").want(http.StatusOK).has(`data-theme="dark"`, `content="dark"`)
	w.done("viewer", "/theme", "theme", "pink", "return_to", "/").want(http.StatusOK).hasNot("data-theme")
	for _, address := range []string{"https://elsewhere.example/", "//elsewhere.example", `/\elsewhere.example`, "javascript:alert(1)", ""} {
		if p := w.post("viewer", "/theme", "theme", "dark", "return_to", address); p.header.Get("Location") != "/" {
			t.Errorf("return_to %q leads to %q, want /", address, p.header.Get("Location"))
		}
	}
}

// TestFlash: what came of a change is said once, and what a browser makes up is text.
func TestFlash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	p := w.get("viewer", "/", "Cookie", "idpsync="+w.Cookies["viewer"]+"; idpsync-done=PHNjcmlwdD4x")
	p.want(http.StatusOK, "<script>1").hasNot("<script>1")
	if !strings.Contains(p.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("Set-Cookie: %q, want the message forgotten", p.header.Get("Set-Cookie"))
	}
	w.get("viewer", "/", "Cookie", "idpsync="+w.Cookies["viewer"]+"; idpsync-done=%%%").want(http.StatusOK)
}
