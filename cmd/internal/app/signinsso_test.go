package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/store/identity"
)

// oidc configures a provider.
func oidc(t *testing.T, idp *idptest.OIDCServer, more string) string {
	t.Helper()
	return fmt.Sprintf("role_mapping:\n  - {group: Engineering, grants: [{team: root, role: operator}]}\nsign_in:\n  oidc: {issuer: %q, client_id: %q, client_secret: %q, ca_file: %q%s}\n",
		idp.Issuer, idp.ClientID, idp.ClientSecret, idptest.WriteCA(t, idp.CA), more)
}

// sso signs in at the identity provider and returns where that leads.
func (s *site) sso(b *idptest.Browser, path string) *idptest.Page {
	s.Helper()
	p, err := b.Follow(s.url+path, func(p *idptest.Page) bool {
		return strings.HasPrefix(p.URL, s.url) && (strings.HasPrefix(p.URL, s.url+"/account") || p.Status >= 400)
	})
	s.must(err)
	return p
}

func (s *site) wantSSO(p *idptest.Page, status int, text string) {
	s.Helper()
	if p.Status != status || !strings.Contains(p.Body, text) {
		s.Errorf("%d at %s, want %d with %q:\n%s", p.Status, p.URL, status, text, p.Body)
	}
}

func TestSignIn_OIDC(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		idp := idptest.OIDC(t)
		s := serve(t, dsn, oidc(t, idp, ""))
		glass := s.admin("glass@acme.test")
		b := idptest.NewBrowser(idp.CA)
		t.Cleanup(b.Close)
		signIn := func(p idptest.Person) *idptest.Page {
			t.Helper()
			idp.SignIn(p)
			fresh := idptest.NewBrowser(idp.CA)
			t.Cleanup(fresh.Close)
			return s.sso(fresh, "/sign-in/oidc?return_to=/account")
		}
		ana := idptest.Ana()
		s.wantSSO(s.sso(b, "/sign-in/oidc?return_to=/account?x=1"), 200, "<td>root</td><td>operator</td><td>given at sign-in, for the group Engineering</td>")
		u, err := s.app.Store.UserByName(t.Context(), ana.Email)
		s.must(err)
		if u.DisplayName() != "Ana Ito" || u.Origin != identity.OriginSSO {
			t.Errorf("made %+v", u)
		}
		none := ana
		none.Groups = []string{}
		s.wantSSO(signIn(none), 403, "has no role on any team")
		if p, err := b.Get(s.url + "/account"); err != nil || p.Status != http.StatusSeeOther {
			t.Errorf("the session goes on without a role: %d, %v", p.Status, err)
		}
		s.wantSSO(signIn(ana), 200, "Ana Ito")
		swapped := ana
		swapped.ID = "another"
		s.wantSSO(signIn(swapped), 403, "does not match")
		_, err = s.app.Applier.Unlink(t.Context(), tester, u.ID)
		s.must(err)
		s.wantSSO(signIn(swapped), 200, "Ana Ito")
		breakGlass := ana
		breakGlass.ID, breakGlass.Email = "x", glass.UserName
		s.wantSSO(signIn(breakGlass), 403, "signs in with its password")
		_, err = s.app.Applier.EnableSCIM(t.Context(), tester)
		s.must(err)
		unknown := ana
		unknown.ID, unknown.Email = "y", "unknown@example.com"
		s.wantSSO(signIn(unknown), 403, "no account here")
		s.wantSSO(signIn(swapped), 200, "Ana Ito")
		idp.Misbehave(idptest.OIDCFault{Sign: idptest.SignOther})
		s.wantSSO(signIn(swapped), 403, "refused")
		told := s.events(identity.EventSignInFailed)
		want := "[signature unknown glass@acme.test local_account ana@example.com subject_changed ana@example.com no_role]"
		if fmt.Sprint(told) != want {
			t.Errorf("failed sign-ins: %q, want %s", told, want)
		}
	})
}

// TestSignIn_SAML goes through what differs from OpenID Connect: the answer comes as a form that another site posts.
func TestSignIn_SAML(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		idp := idptest.SAML(t)
		s := serve(t, dsn, fmt.Sprintf("role_mapping:\n  - {group: Engineering, grants: [{team: root, role: operator}]}\n"+
			"sign_in: {saml: {metadata_url: %q, ca_file: %q}}\n", idp.URL+"/metadata", idptest.WriteCA(t, idp.CA)))
		glass := s.admin("glass@acme.test")
		metadata := s.browser().get("/sign-in/saml/metadata")
		if metadata.status != 200 || !strings.Contains(metadata.body, s.url+"/sign-in/saml/acs") {
			t.Errorf("metadata: %d\n%s", metadata.status, metadata.body)
		}
		signIn := func(p idptest.Person) *idptest.Page {
			t.Helper()
			idp.SignIn(p)
			b := idptest.NewBrowser(idp.CA)
			t.Cleanup(b.Close)
			return s.sso(b, "/sign-in/saml?return_to=/account")
		}
		ana := idptest.Ana()
		s.wantSSO(signIn(ana), 200, "<td>root</td><td>operator</td><td>given at sign-in, for the group Engineering</td>")
		u, err := s.app.Store.UserByName(t.Context(), ana.Email)
		s.must(err)
		none := ana
		none.Groups = []string{}
		s.wantSSO(signIn(none), 403, "has no role on any team")
		breakGlass := ana
		breakGlass.ID, breakGlass.Email = "x", glass.UserName
		s.wantSSO(signIn(breakGlass), 403, "signs in with its password")
		idp.Misbehave(idptest.SAMLFault{Signed: idptest.SignedNothing})
		s.wantSSO(signIn(ana), 403, "refused")
		idp.Misbehave(idptest.SAMLFault{})
		_, err = s.app.Applier.ChangeUser(t.Context(), tester, "scim:k", u.ID, 0, func(u *identity.User) error {
			u.Active = false
			return nil
		})
		s.must(err)
		s.wantSSO(signIn(ana), 403, "deactivated")
		// The answer is posted by another site, and is let through; everything else is not.
		b := s.browser()
		b.want(b.post("/sign-in/saml/acs", nil, "Sec-Fetch-Site", "cross-site"), 403, "/sign-in/saml/acs", "The sign-in was refused")
		b.want(b.post("/sign-out", nil, "Sec-Fetch-Site", "cross-site"), 403, "/sign-out", "page of another site")
	})
}
