package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/oidcrp"
	"github.com/idpsync/idpsync/cmd/internal/signin/samlsp"
	"github.com/idpsync/idpsync/configs"
)

// signIn builds what signs people in. base is the address that browsers use.
func (a *App) signIn(base string) (*signin.Service, error) {
	c := &a.Config.SignIn
	memory := signin.NewMemory(a.Store, nil)
	var providers []signin.Provider
	if c.SAML.Enabled() {
		p, err := newSAML(&c.SAML, base, memory, a.Logger)
		if err != nil {
			return nil, fmt.Errorf("sign_in.saml: %w", err)
		}
		providers = append(providers, signin.Provider{Provider: p, Provision: c.SAML.JIT})
	}
	if c.OIDC.Enabled() {
		p, err := newOIDC(&c.OIDC, base, memory, a.Logger)
		if err != nil {
			return nil, fmt.Errorf("sign_in.oidc: %w", err)
		}
		providers = append(providers, signin.Provider{Provider: p, Provision: c.OIDC.JIT})
	}
	return signin.New(signin.Options{
		Store: a.Store, Applier: a.Applier, Providers: providers, Passwords: c.Passwords, Lifetime: c.Session.Lifetime, Idle: c.Session.Idle,
		Secure: a.secure(base), BaseURL: base,
		Metrics: a.signIns, Logger: a.Logger,
	})
}

// secure tells whether browsers reach the service over https: then its cookies are for https only.
func (a *App) secure(base string) bool {
	return strings.HasPrefix(base, "https://") || a.Config.BaseURL == "" && a.Config.TrustProxy
}

func newSAML(c *configs.SAML, base string, memory assertion.Memory, logger *slog.Logger) (*samlsp.Provider, error) {
	return samlsp.New(samlsp.Options{
		MetadataURL: c.MetadataURL, MetadataFile: c.MetadataFile, EntityID: c.EntityID, BaseURL: base,
		CertificateFile: c.CertificateFile, KeyFile: c.KeyFile, CAFile: c.CAFile, AllowInitiated: c.AllowInitiated,
		Attributes: samlsp.Attributes{
			UserName: c.UserName, GivenName: c.GivenName, FamilyName: c.FamilyName, DisplayName: c.DisplayName, Groups: c.Groups,
		},
		Memory: memory, Logger: logger,
	})
}

func newOIDC(c *configs.OIDC, base string, memory assertion.Memory, logger *slog.Logger) (*oidcrp.Provider, error) {
	return oidcrp.New(oidcrp.Options{
		Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), RedirectURL: base + assertion.PathOIDCAnswer,
		Scopes: c.Scopes, UserName: c.UserName, Groups: c.Groups, CAFile: c.CAFile, Memory: memory,
		RequireVerifiedEmail: c.RequireVerifiedEmail, Logger: logger,
	})
}

// checkSignIn tries what can be tried of the identity providers that people sign in at without a person.
func checkSignIn(ctx context.Context, config *configs.Config, logger *slog.Logger) []CheckItem {
	c := &config.SignIn
	base := cmp.Or(config.BaseURL, "http://127.0.0.1") // goes into what a sign-in says, and none is begun
	unused := struct{ assertion.Memory }{}
	var items []CheckItem
	if c.SAML.Enabled() {
		p, err := newSAML(&c.SAML, base, unused, logger)
		if err == nil {
			err = p.Refresh(ctx)
		}
		items = append(items, item("sign_in.saml", "metadata", err, cmp.Or(c.SAML.MetadataURL, c.SAML.MetadataFile),
			"see that `sign_in.saml` names the metadata that the identity provider has for this application, and in ca_file the authority of a server that no public one vouches for"))
	}
	if c.OIDC.Enabled() {
		p, err := newOIDC(&c.OIDC, base, unused, logger)
		if err == nil {
			err = p.Refresh(ctx)
		}
		items = append(items, item("sign_in.oidc", "discovery", err, c.OIDC.Issuer,
			"write `sign_in.oidc.issuer` exactly as the provider does, and name in ca_file the authority of a server that no public one vouches for"))
	}
	return items
}
