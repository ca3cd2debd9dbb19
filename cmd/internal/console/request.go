package console

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/cmd/internal/signin"
)

// request is one request of somebody who is signed in.
type request struct {
	*http.Request
	w       http.ResponseWriter
	c       *Console
	Session *signin.Session
	Level   level
	API     *client.Client // as the person

	flash string // what came of the change, for the next page
}

// fetch asks the API, as the person, for what is at a path below /api/v1.
func fetch[T any](q *request, path string, query url.Values) (T, error) {
	return client.Get[T](q.Context(), q.API, path, query)
}

// call calls an operation of the API as the person. Use struct{} as T where nothing is answered.
func call[T any](q *request, method, path string, query url.Values, body any) (T, error) {
	return client.Do[T](q.Context(), q.API, method, path, query, body)
}

// Query returns a parameter of the address, without blanks around it.
func (q *request) Query(name string) string { return strings.TrimSpace(q.URL.Query().Get(name)) }

// Form returns a field of the form that was sent, without blanks around it.
func (q *request) Form(name string) string { return strings.TrimSpace(q.PostForm.Get(name)) }

// Notify says, on the page that comes next, what came of a change.
func (q *request) Notify(text string) { q.flash = text }

// isPart tells whether htmx asks, for a part of a page.
func isPart(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

// part returns the name of the block that is asked for, or "" for the whole page.
func part(r *http.Request) string {
	target := r.Header.Get("HX-Target")
	if isPart(r) && (strings.HasPrefix(target, "live-") || strings.HasPrefix(target, "part-")) {
		return target
	}
	return ""
}

// Names of our cookies, without a prefix. None of them is a secret.
const (
	flashCookie = "idpsync-done"
	themeCookie = "idpsync-theme"
)

func (c *Console) cookieName(name string) string {
	if c.o.Secure {
		return "__Host-" + name
	}
	return name
}

func (c *Console) setCookie(w http.ResponseWriter, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: c.cookieName(name), Value: value, Path: "/", MaxAge: seconds, Secure: c.o.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (c *Console) cookie(r *http.Request, name string) string {
	cookie, err := r.Cookie(c.cookieName(name))
	if err != nil {
		return ""
	}
	return cookie.Value
}

// maxFlash bounds what a cookie carries.
const maxFlash = 1500

func (q *request) setFlash() {
	if q.flash != "" {
		q.c.setCookie(q.w, flashCookie, base64.RawURLEncoding.EncodeToString([]byte(q.flash[:min(len(q.flash), maxFlash)])), 60)
	}
}

// takeFlash returns what came of the change before, once.
func (q *request) takeFlash() string {
	value := q.c.cookie(q.Request, flashCookie)
	if value == "" {
		return ""
	}
	q.c.setCookie(q.w, flashCookie, "", -1)
	text, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(text), "")
}

func requestID(ctx context.Context) string { return httpserver.RequestID(ctx) }

// theme returns which colours somebody chose: "light", "dark", or "" for what the system says.
func (c *Console) theme(r *http.Request) string {
	switch chosen := c.cookie(r, themeCookie); chosen {
	case "light", "dark":
		return chosen
	}
	return ""
}

const themeKept = 365 * 24 * 3600 // seconds

func (c *Console) setTheme(q *request) (string, *view, error) {
	switch chosen := q.Form("theme"); chosen {
	case "light", "dark":
		c.setCookie(q.w, themeCookie, chosen, themeKept)
	default:
		c.setCookie(q.w, themeCookie, "", -1)
	}
	return local(q.Form("return_to")), nil, nil
}

// local returns an address on this server, whatever was given.
func local(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.ContainsAny(address, "\\\r\n") {
		return "/"
	}
	return u.RequestURI()
}
