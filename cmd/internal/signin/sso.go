package signin

import (
	"errors"
	"net/http"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store/identity"
)

// beginSSO sends the browser to the identity provider.
func (s *Service) beginSSO(w http.ResponseWriter, r *http.Request, p Provider) {
	if !s.begins.allow(network(httpserver.Remote(r.Context())), s.now()) {
		s.metrics.count(p.Name(), outcomeBlocked)
		w.Header().Set("Retry-After", "1")
		s.fail(w, r, http.StatusTooManyRequests, "Too many people sign in from where you are at this moment. Please try again in a while.")
		return
	}
	if err := p.Begin(w, r, assertion.Local(r.URL.Query().Get("return_to"))); err != nil {
		s.refuseSSO(w, r, p.Name(), err)
	}
}

// finishSSO makes a session of what the identity provider says.
func (s *Service) finishSSO(w http.ResponseWriter, r *http.Request, p Provider) {
	said, err := p.Finish(w, r)
	if err != nil {
		s.refuseSSO(w, r, p.Name(), err)
		return
	}
	entry, token := s.entry(r, p.Name())
	if end := said.NotOnOrAfter; !end.IsZero() && end.Before(entry.Session.Expires) {
		entry.Session.Expires = end.UTC()
	}
	by := maker(r)
	by.ID, by.Name = p.Name(), said.Issuer
	_, err = s.applier.SignInStated(r.Context(), by, statement(said, p.Provision), entry)
	if err != nil {
		s.refuseSSO(w, r, p.Name(), err)
		return
	}
	s.metrics.count(p.Name(), outcomeSucceeded)
	s.setCookie(w, sessionCookie, token, 0)
	http.Redirect(w, r, assertion.Local(said.ReturnTo), http.StatusSeeOther)
}

// statement is an assertion in the words of the rules about people.
func statement(a *assertion.Assertion, provision bool) lifecycle.SignInStatement {
	return lifecycle.SignInStatement{
		Method: a.Provider, Issuer: a.Issuer, Subject: a.Subject, UserName: a.UserName,
		// A NameID that is the address itself says nothing that the address does not.
		Lasting:   a.Subject != "" && identity.Normalize(a.Subject) != identity.Normalize(a.UserName),
		GivenName: a.GivenName, FamilyName: a.FamilyName, DisplayName: a.DisplayName,
		Groups: a.Groups, GroupsStated: a.GroupsStated, Provision: provision,
	}
}

// refuseSSO answers for a sign-in at an identity provider that came to nothing. The person learns what they can act on.
func (s *Service) refuseSSO(w http.ResponseWriter, r *http.Request, method string, err error) {
	ctx, remote, id := r.Context(), httpserver.Remote(r.Context()), httpserver.RequestID(r.Context())
	var (
		unbelieved  *assertion.RefusedError
		unavailable *assertion.UnavailableError
		refused     *lifecycle.SignInError
	)
	switch {
	case errors.As(err, &refused): // recorded where it was decided
		s.metrics.count(method, outcomeRefused)
		s.logger.InfoContext(ctx, "sign-in refused", "method", method, "reason", refused.Reason, "user_id", refused.UserID, "remote", remote, "request_id", id)
		s.fail(w, r, http.StatusForbidden, publicReason(refused.Reason))
	case errors.As(err, &unbelieved):
		s.metrics.count(method, outcomeRefused)
		s.logger.WarnContext(ctx, "sign-in refused", "method", method, "reason", unbelieved.Reason, "error", unbelieved, "remote", remote, "request_id", id)
		if s.unbelieved.AllowN(s.now(), 1) {
			if err := s.applier.SignInFailed(ctx, maker(r), nil, method, remote, string(unbelieved.Reason)); err != nil {
				s.internal(w, r, "record a sign-in", err)
				return
			}
		}
		s.fail(w, r, http.StatusForbidden, unbelieved.Public())
	case errors.As(err, &unavailable):
		s.metrics.count(method, outcomeError)
		s.logger.ErrorContext(ctx, "identity provider not reached", "method", method, "error", unavailable, "request_id", id)
		s.fail(w, r, http.StatusBadGateway, "Your identity provider cannot be reached at the moment. Please try again in a while.")
	default:
		s.metrics.count(method, outcomeError)
		s.internal(w, r, "sign in", err)
	}
}

// publicReason is what the person is told for whom the identity provider vouched.
func publicReason(reason lifecycle.SignInReason) string {
	switch reason {
	case lifecycle.SignInUnknown:
		return "You have no account here. Ask your administrator to assign this application to you."
	case lifecycle.SignInInactive:
		return "Your account is deactivated. Ask your administrator."
	case lifecycle.SignInLocal:
		return "This account is not of your identity provider: it signs in with its password."
	case lifecycle.SignInNoRole:
		return "Your account has no role on any team. Ask your administrator to give you one."
	case lifecycle.SignInSubjectChanged, lifecycle.SignInSubjectTaken, lifecycle.SignInAmbiguous:
		return "Your identity provider's account does not match the one that is known here. Please tell your administrator."
	case lifecycle.SignInBadName:
		return "Your identity provider states a name that no account can have. Please tell your administrator."
	case lifecycle.SignInConverted, lifecycle.SignInWrongPassword, lifecycle.SignInRaced:
	}
	return "The sign-in was refused. Please tell your administrator."
}
