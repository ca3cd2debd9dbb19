package oidcrp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

// skew is how far the provider's clock and ours may differ.
const skew = 90 * time.Second

// tokens are what the provider gave for the code.
type tokens struct {
	access *oauth2.Token
	id     string
}

func (p *Provider) exchange(ctx context.Context, found *discovery, code, verifier string) (*tokens, error) {
	access, err := p.oauth(found).Exchange(oidc.ClientContext(ctx, p.client), code, oauth2.VerifierOption(verifier))
	var failed *oauth2.RetrieveError
	switch {
	case errors.As(err, &failed) && failed.ErrorCode == "invalid_grant":
		return nil, refuse(assertion.ReasonCode, "the provider does not take the code: %q", short(failed.ErrorDescription))
	case errors.As(err, &failed):
		// Its text would quote the answer.
		return nil, unavailable("exchange the code", errors.New(short("the provider says "+failed.ErrorCode+" "+failed.ErrorDescription)+"; see that client_id and client_secret are this application's"))
	case err != nil:
		return nil, unavailable("exchange the code", err)
	}
	id, ok := access.Extra("id_token").(string)
	if !ok || id == "" {
		return nil, refuse(assertion.ReasonMalformed, "the provider gave no ID token; the scope openid is needed")
	}
	return &tokens{access: access, id: id}, nil
}

// verify returns the claims of an ID token that is to be believed (OpenID Connect Core 1.0, section 3.1.3.7).
func (p *Provider) verify(ctx context.Context, found *discovery, token *tokens, nonce string) (claims, error) {
	if name := algorithmOf(token.id); !slices.Contains(found.algorithms, name) {
		return nil, refuse(assertion.ReasonAlgorithm, "the ID token is signed with %q, the provider announces %q", short(name), found.algorithms)
	}
	keys := &watchedKeys{KeySet: found.keys}
	// Signature and algorithm are checked there, the claims below: there they would be matched without case, and without
	// a reason to tell.
	parsed, err := oidc.NewVerifier(p.options.Issuer, keys, &oidc.Config{
		ClientID: p.options.ClientID, SupportedSigningAlgs: found.algorithms,
		SkipExpiryCheck: true, SkipIssuerCheck: true, SkipClientIDCheck: true,
	}).Verify(oidc.ClientContext(ctx, p.client), token.id)
	switch {
	case keys.unreachable != nil:
		return nil, unavailable("fetch the provider's keys", keys.unreachable)
	case err != nil && keys.verified:
		return nil, &assertion.RefusedError{Provider: assertion.OIDC, Reason: assertion.ReasonMalformed, Detail: "the ID token cannot be read", Err: err}
	case err != nil:
		return nil, &assertion.RefusedError{Provider: assertion.OIDC, Reason: assertion.ReasonSignature, Detail: "the ID token cannot be verified", Err: err}
	}
	stated := claims{}
	if err := parsed.Claims(&stated); err != nil {
		return nil, refuse(assertion.ReasonMalformed, "the ID token's claims are no object")
	}
	if err := p.checkClaims(stated, nonce); err != nil {
		return nil, err
	}
	if stated.has("at_hash") {
		if err := parsed.VerifyAccessToken(token.access.AccessToken); err != nil {
			return nil, refuse(assertion.ReasonSignature, "the ID token is of another access token")
		}
	}
	return stated, nil
}

// checkClaims checks who the token is of, for and by, when, and for which sign-in.
func (p *Provider) checkClaims(c claims, nonce string) error {
	issuer, _ := c.text("iss")
	subject, _ := c.text("sub")
	said, _ := c.text("nonce")
	party, hasParty := c.text("azp")
	audience, _ := c.texts("aud")
	switch {
	case issuer != p.options.Issuer:
		return refuse(assertion.ReasonIssuer, "the ID token is of %q, want %q", short(issuer), p.options.Issuer)
	case !slices.Contains(audience, p.options.ClientID):
		return refuse(assertion.ReasonAudience, "the ID token is for %q, want %q", short(strings.Join(audience, " ")), p.options.ClientID)
	case c.has("azp") && (!hasParty || party != p.options.ClientID):
		return refuse(assertion.ReasonAudience, "the ID token's authorized party is %q, want %q", short(party), p.options.ClientID)
	case len(audience) > 1 && !hasParty:
		return refuse(assertion.ReasonAudience, "the ID token is for %d, and does not say which of them asked for it", len(audience))
	case said != nonce:
		return refuse(assertion.ReasonNonce, "the ID token is of another sign-in")
	case subject == "" || len(subject) > 255:
		return refuse(assertion.ReasonSubject, "the ID token names nobody, or with more than 255 bytes")
	}
	return p.checkTimes(c)
}

func (p *Provider) checkTimes(c claims) error {
	now := p.options.Now()
	expires, ok := c.time("exp")
	if !ok {
		return refuse(assertion.ReasonConditions, "the ID token does not say when it expires")
	}
	if !now.Before(expires.Add(skew)) {
		return refuse(assertion.ReasonExpired, "the ID token expired at %s, %s ago", expires.UTC().Format(time.RFC3339), now.Sub(expires).Round(time.Second))
	}
	issued, ok := c.time("iat")
	if !ok {
		return refuse(assertion.ReasonConditions, "the ID token does not say when it was issued")
	}
	// One that was made for this sign-in is not older than it.
	if now.Sub(issued) > assertion.PendingFor+skew {
		return refuse(assertion.ReasonExpired, "the ID token was issued at %s, %s ago", issued.UTC().Format(time.RFC3339), now.Sub(issued).Round(time.Second))
	}
	for _, name := range []string{"iat", "nbf"} {
		from, ok := c.time(name)
		if !ok && c.has(name) {
			return refuse(assertion.ReasonConditions, "the ID token's %s is no time", name)
		}
		if ok && from.After(now.Add(skew)) {
			return refuse(assertion.ReasonNotYet, "the ID token's %s is %s, in %s; see that the clocks agree", name, from.UTC().Format(time.RFC3339), from.Sub(now).Round(time.Second))
		}
	}
	return nil
}

// algorithmOf returns the algorithm that the token's header names, or "". It proves nothing.
func algorithmOf(token string) string {
	encoded, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if json.Unmarshal(raw, &header) != nil {
		return ""
	}
	return header.Algorithm
}

// watchedKeys tells what is wrong with a token, which the verifier does not: keys that could not be fetched, a signature
// that none of them made, or what was signed.
type watchedKeys struct {
	oidc.KeySet
	unreachable error
	verified    bool
}

func (k *watchedKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	var unreachable *url.Error
	if errors.As(err, &unreachable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		k.unreachable = err
	}
	k.verified = err == nil
	return payload, err
}
