package app

import (
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/oidcrp"
	"github.com/idpsync/idpsync/cmd/internal/signin/samlsp"
)

// signIn builds what signs people in. base is the address that browsers use.
func (a *App) signIn(base string) (*signin.Service, error) {
	c := &a.Config.SignIn
	memory := signin.NewMemory(a.Store, nil)
	var providers []signin.Provider
	if c.SAML.Enabled() {
		p, err := samlsp.New(samlsp.Options{
			MetadataURL: c.SAML.MetadataURL, MetadataFile: c.SAML.MetadataFile, EntityID: c.SAML.EntityID, BaseURL: base,
			CertificateFile: c.SAML.CertificateFile, KeyFile: c.SAML.KeyFile, CAFile: c.SAML.CAFile, AllowInitiated: c.SAML.AllowInitiated,
			Attributes: samlsp.Attributes{
				UserName: c.SAML.UserName, GivenName: c.SAML.GivenName, FamilyName: c.SAML.FamilyName, DisplayName: c.SAML.DisplayName, Groups: c.SAML.Groups,
			},
			Memory: memory, Logger: a.Logger,
		})
		if err != nil {
			return nil, fmt.Errorf("sign_in.saml: %w", err)
		}
		providers = append(providers, signin.Provider{Provider: p, Provision: c.SAML.JIT})
	}
	if c.OIDC.Enabled() {
		p, err := oidcrp.New(oidcrp.Options{
			Issuer: c.OIDC.Issuer, ClientID: c.OIDC.ClientID, ClientSecret: c.OIDC.ClientSecret.Reveal(), RedirectURL: base + assertion.PathOIDCAnswer,
			Scopes: c.OIDC.Scopes, UserName: c.OIDC.UserName, Groups: c.OIDC.Groups, CAFile: c.OIDC.CAFile, Memory: memory,
			RequireVerifiedEmail: c.OIDC.RequireVerifiedEmail, Logger: a.Logger,
		})
		if err != nil {
			return nil, fmt.Errorf("sign_in.oidc: %w", err)
		}
		providers = append(providers, signin.Provider{Provider: p, Provision: c.OIDC.JIT})
	}
	return signin.New(signin.Options{
		Store: a.Store, Applier: a.Applier, Providers: providers, Passwords: c.Passwords, Lifetime: c.Session.Lifetime, Idle: c.Session.Idle,
		Secure: strings.HasPrefix(base, "https://") || a.Config.BaseURL == "" && a.Config.TrustProxy, BaseURL: base,
		Metrics: a.signIns, Logger: a.Logger,
	})
}
