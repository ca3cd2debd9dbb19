package signin

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

//go:embed page
var pageFiles embed.FS

// Where the pages are.
const (
	pathSignIn   = "/sign-in"
	pathStyle    = "/sign-in/style.css"
	pathIcon     = "/sign-in/icon.svg"
	pathSignOut  = "/sign-out"
	pathAccount  = "/account"
	pathPassword = "/account/password"
	pathSessions = "/account/sessions"
)

// maxForm bounds what a form of ours may send.
const maxForm = 16 << 10

func parsePages() (*template.Template, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"instant": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
		"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}).ParseFS(pageFiles, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("read the pages: %w", err)
	}
	return t, nil
}

// secured sets what browsers are told of every page: nothing is loaded from elsewhere, nothing inline runs, nobody puts
// the page into a frame, and nothing of it is kept.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// view is what a page shows.
type view struct {
	Title   string
	Session *Session // nil: nobody is signed in
	Notice  string   // what came of something, "" for nothing
	Problem string   // what is wrong, "" for nothing
	ID      string   // of the request, for problems

	// The page to sign in.
	Passwords  bool
	SAML, OIDC string // where to begin, "" where there is none
	UserName   string
	ReturnTo   string

	// The account.
	Access      roles.Access
	Sessions    []store.Session
	MinPassword int
	Console     bool // they may see the console
}

// show answers with a page.
func (s *Service) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	var page bytes.Buffer
	if err := s.pages.ExecuteTemplate(&page, name+".html", v); err != nil {
		s.logger.ErrorContext(r.Context(), "page", "name", name, "error", err, "request_id", httpserver.RequestID(r.Context()))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the browser may be gone
}

// fail answers with what is wrong, and the id by which an operator finds the request in the log.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, status int, problem string) {
	s.show(w, r, status, "problem", view{Title: "Not done", Problem: problem, ID: httpserver.RequestID(r.Context())})
}

// internal answers for an error of our own, which is for the log.
func (s *Service) internal(w http.ResponseWriter, r *http.Request, doing string, err error) {
	s.logger.ErrorContext(r.Context(), doing, "error", err, "request_id", httpserver.RequestID(r.Context()))
	s.fail(w, r, http.StatusInternalServerError, "Something went wrong on our side. Please try again in a while.")
}

// file serves a file beside the pages.
func file(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		http.ServeFileFS(w, r, pageFiles, "page/"+name)
	}
}

// signInPage shows the ways to sign in; who is signed in already is sent on.
func (s *Service) signInPage(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if _, err := s.Session(r); err == nil {
		http.Redirect(w, r, landing(query.Get("return_to")), http.StatusSeeOther)
		return
	} else if !errors.Is(err, ErrNoSession) {
		s.internal(w, r, "read a session", err)
		return
	}
	v := s.signInView(query.Get("return_to"))
	if query.Has("signed_out") {
		v.Notice = "You are signed out here. Your identity provider may still know you."
	}
	s.show(w, r, http.StatusOK, "sign-in", v)
}

func (s *Service) signInView(returnTo string) view {
	v := view{Title: "Sign in", Passwords: s.passwords, ReturnTo: assertion.Local(returnTo)}
	begin := func(name, path string) string {
		if _, ok := s.providers[name]; !ok {
			return ""
		}
		return path + "?" + url.Values{"return_to": {v.ReturnTo}}.Encode()
	}
	v.SAML, v.OIDC = begin(assertion.SAML, assertion.PathSAML), begin(assertion.OIDC, assertion.PathOIDC)
	return v
}

// landing is where somebody goes who has signed in: where they came from, or to the console, which sends whoever may not
// see it to their account.
func landing(returnTo string) string { return assertion.Local(returnTo) }

// signIn answers the form with name and password.
func (s *Service) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, http.StatusBadRequest, "The form could not be read.")
		return
	}
	name, password := r.PostForm.Get("user_name"), r.PostForm.Get("password")
	v := s.signInView(r.PostForm.Get("return_to"))
	v.UserName, v.ID = cut(name, 320), httpserver.RequestID(r.Context())
	if name == "" || password == "" {
		v.Problem = "Type your e-mail address and your password."
		s.show(w, r, http.StatusUnprocessableEntity, "sign-in", v)
		return
	}
	in, err := s.withPassword(r, name, password)
	if err == nil {
		s.metrics.count(lifecycle.MethodPassword, outcomeSucceeded)
		s.setCookie(w, sessionCookie, in.token, 0)
		if in.browser != "" {
			s.setCookie(w, browserCookie, in.browser, browserLifetime)
		}
		http.Redirect(w, r, landing(v.ReturnTo), http.StatusSeeOther)
		return
	}
	status, outcome, problem := s.answer(w, err)
	s.metrics.count(lifecycle.MethodPassword, outcome)
	if problem == "" {
		s.internal(w, r, "sign in", err)
		return
	}
	v.Problem = problem
	s.show(w, r, status, "sign-in", v)
}

// answer turns what became of a try with a password into an answer; "" for an error of our own.
func (s *Service) answer(w http.ResponseWriter, err error) (status int, outcome, problem string) {
	var refused *lifecycle.SignInError
	if errors.As(err, &refused) {
		return http.StatusForbidden, outcomeRefused, publicReason(refused.Reason)
	}
	if errors.Is(err, errCredential) {
		return http.StatusForbidden, outcomeFailed, "The name or the password is wrong, or the account does not sign in with a password."
	}
	status, seconds := s.retryable(err)
	if status == 0 {
		return http.StatusInternalServerError, outcomeError, ""
	}
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	if status == http.StatusTooManyRequests {
		return status, outcomeBlocked, "Too many sign-ins failed from where you are. Try again in " + spell(seconds) + ", or in a browser in which you signed in before."
	}
	return status, outcomeError, "Too many people sign in at this moment. Try again in " + spell(seconds) + "."
}

func spell(seconds int) string {
	switch {
	case seconds == 1:
		return "a second"
	case seconds < 90:
		return strconv.Itoa(seconds) + " seconds"
	}
	return strconv.Itoa((seconds+59)/60) + " minutes"
}

// signOut ends the session, where there is one.
func (s *Service) signOut(w http.ResponseWriter, r *http.Request) {
	session, err := s.Session(r)
	if err == nil {
		err = s.applier.EndSession(r.Context(), session.Actor(r.Context()), session.ID, "signed out")
	}
	if err != nil && !errors.Is(err, ErrNoSession) && !errors.Is(err, store.ErrNotFound) {
		s.internal(w, r, "sign out", err)
		return
	}
	s.setCookie(w, sessionCookie, "", 0)
	http.Redirect(w, r, pathSignIn+"?signed_out", http.StatusSeeOther)
}

// account shows somebody who they are here, what they may do and why, and where they are signed in.
func (s *Service) account(w http.ResponseWriter, r *http.Request) {
	notice := ""
	switch r.URL.Query().Get("done") {
	case "password":
		notice = "Your password is changed. All other sessions have ended."
	case "session":
		notice = "The session has ended."
	}
	s.showAccount(w, r, http.StatusOK, SessionFrom(r.Context()), notice, "")
}

func (s *Service) showAccount(w http.ResponseWriter, r *http.Request, status int, session *Session, notice, problem string) {
	u, err := s.store.User(r.Context(), session.UserID)
	if err != nil {
		s.internal(w, r, "read an account", err)
		return
	}
	grants, err := s.store.EffectiveGrants(r.Context(), u.ID)
	if err != nil {
		s.internal(w, r, "read an account", err)
		return
	}
	sessions, err := s.store.Sessions(r.Context(), u.ID, s.now(), 100)
	if err != nil {
		s.internal(w, r, "read an account", err)
		return
	}
	s.show(w, r, status, "account", view{
		Title: "Your account", Session: session, Notice: notice, Problem: problem, ID: httpserver.RequestID(r.Context()),
		Access: roles.Explain(&u, grants), Sessions: sessions, Passwords: s.passwords && u.Origin == identity.OriginLocal, MinPassword: MinPassword,
		Console: slices.ContainsFunc(session.RootRoles, func(r identity.Role) bool {
			return r == identity.RoleViewer || r == identity.RoleOperator || r == identity.RoleAdmin
		}),
	})
}

// changePassword answers the form for another password.
func (s *Service) changePassword(w http.ResponseWriter, r *http.Request) {
	session := SessionFrom(r.Context())
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, http.StatusBadRequest, "The form could not be read.")
		return
	}
	if session.Method != lifecycle.MethodPassword || !s.passwords {
		s.fail(w, r, http.StatusForbidden, "Your password is at your identity provider.")
		return
	}
	old, chosen := r.PostForm.Get("old_password"), r.PostForm.Get("new_password")
	if chosen != r.PostForm.Get("repeated_password") {
		s.showAccount(w, r, http.StatusUnprocessableEntity, session, "", "The two new passwords differ.")
		return
	}
	token, err := s.newPassword(r, session, old, chosen)
	var weak *WeakPasswordError
	switch {
	case err == nil:
		s.setCookie(w, sessionCookie, token, 0)
		http.Redirect(w, r, pathAccount+"?done=password", http.StatusSeeOther)
		return
	case errors.As(err, &weak):
		s.showAccount(w, r, http.StatusUnprocessableEntity, session, "", "Not changed: "+weak.Reason+".")
		return
	case errors.Is(err, errCredential):
		s.showAccount(w, r, http.StatusForbidden, session, "", "Not changed: the old password is wrong.")
		return
	case errors.Is(err, store.ErrStale):
		s.showAccount(w, r, http.StatusConflict, session, "", "Not changed: the password was changed elsewhere in the meantime.")
		return
	}
	status, _, problem := s.answer(w, err)
	if problem == "" {
		s.internal(w, r, "change a password", err)
		return
	}
	s.showAccount(w, r, status, session, "", problem)
}

// endSession ends a session of the person's own.
func (s *Service) endSession(w http.ResponseWriter, r *http.Request) {
	session, id := SessionFrom(r.Context()), r.PathValue("id")
	sessions, err := s.store.Sessions(r.Context(), session.UserID, s.now(), 1000)
	if err != nil {
		s.internal(w, r, "read sessions", err)
		return
	}
	for i := range sessions {
		if sessions[i].ID != id {
			continue
		}
		err := s.applier.EndSession(r.Context(), session.Actor(r.Context()), id, "ended by its owner")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			s.internal(w, r, "end a session", err)
			return
		}
		http.Redirect(w, r, pathAccount+"?done=session", http.StatusSeeOther)
		return
	}
	s.fail(w, r, http.StatusNotFound, "You have no such session: it may have ended already.")
}
