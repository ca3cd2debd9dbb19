package oidcrp

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
)

// discovery is what the provider says of itself (OpenID Connect Discovery 1.0, section 3).
type discovery struct {
	provider   *oidc.Provider
	keys       oidc.KeySet
	algorithms []string

	Keys         string   `json:"jwks_uri"`
	Algorithms   []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods  []string `json:"token_endpoint_auth_methods_supported"`
	IssParameter bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

// Run does what assertion.Runner says.
func (p *Provider) Run(ctx context.Context) error {
	return fetch.Keep(ctx, p.Refresh, func(err error) {
		p.options.Logger.WarnContext(ctx, "openid connect provider cannot be discovered", "error", err, "retry_in", fetch.RetryAfter)
	})
}

// Refresh asks the provider what it says of itself. If that fails, what it said before goes on to hold.
func (p *Provider) Refresh(ctx context.Context) error {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	found, err := p.fetchDiscovery(ctx)
	if err != nil {
		return unavailable("discover "+p.options.Issuer, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = found
	return nil
}

// discover returns what the provider says of itself, and asks if that is not known.
func (p *Provider) discover(ctx context.Context) (*discovery, error) {
	p.mu.Lock()
	defer p.mu.Unlock() // whoever comes meanwhile waits for the same answer
	if p.found == nil {
		found, err := p.fetchDiscovery(ctx)
		if err != nil {
			return nil, unavailable("discover "+p.options.Issuer, err)
		}
		p.found = found
	}
	return p.found, nil
}

func (p *Provider) fetchDiscovery(ctx context.Context) (*discovery, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	provider, err := oidc.NewProvider(ctx, p.options.Issuer)
	if err != nil {
		return nil, err
	}
	found := &discovery{provider: provider}
	if err := provider.Claims(found); err != nil {
		return nil, fmt.Errorf("read the discovery document: %w", err)
	}
	for name, address := range map[string]string{
		"authorization_endpoint": provider.Endpoint().AuthURL, "token_endpoint": provider.Endpoint().TokenURL, "jwks_uri": found.Keys,
	} {
		u, err := url.Parse(address)
		if err == nil {
			err = fetch.Check(u)
		}
		if err != nil {
			return nil, fmt.Errorf("the discovery document's %s: %w", name, err)
		}
	}
	found.algorithms = asymmetric(found.Algorithms)
	if len(found.algorithms) == 0 {
		return nil, fmt.Errorf("the provider signs ID tokens with %q, none of which is to be trusted; have it sign them with RS256 or ES256", found.Algorithms)
	}
	found.keys = oidc.NewRemoteKeySet(ctx, found.Keys)
	return found, nil
}

// asymmetric returns those of the algorithms that only the provider can sign with: not `none`, and not HS256, for which
// our own secret, or the provider's public key, would be the key. RS256 is what every provider has to know.
func asymmetric(named []string) []string {
	if len(named) == 0 {
		return []string{oidc.RS256}
	}
	known := []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
	return slices.DeleteFunc(slices.Clone(named), func(name string) bool { return !slices.Contains(known, name) })
}

// oauth returns the client at the provider. How it proves itself is what the provider announces, so that no code is
// spent on finding out.
func (p *Provider) oauth(found *discovery) *oauth2.Config {
	endpoint := found.provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // what holds where nothing is announced
	basic := len(found.AuthMethods) == 0 || slices.Contains(found.AuthMethods, "client_secret_basic")
	if p.options.ClientSecret == "" || !basic {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: p.options.ClientID, ClientSecret: p.options.ClientSecret, Endpoint: endpoint,
		RedirectURL: p.options.RedirectURL, Scopes: p.options.Scopes,
	}
}
