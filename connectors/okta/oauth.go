package okta

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

const endpointToken = "POST /oauth2/v1/token"

// Scopes that the service application needs.
const (
	scopeUsers  = "okta.users.read"
	scopeGroups = "okta.groups.read"
	scopeApps   = "okta.apps.read" // with an application only
	scopeLogs   = "okta.logs.read"
)

// Where a clock that is off shows: an assertion lives five minutes.
const mostDoubtfulSkew = 30 * time.Second

// oauth is the http.RoundTripper between the SDK and the transport: it puts an access token on each request. The SDK
// fetches tokens itself, but several at a time, by our clock, without a context, and it never drops one.
type oauth struct {
	transport *connectors.Transport
	signer    *signer
	clientID  string
	address   string
	scopes    []string

	fetching chan struct{} // holds one value: who takes it may look at the token and fetch one
	token    connectors.Secret
	until    time.Time // by Okta's clock
}

func newOAuth(transport *connectors.Transport, base *url.URL, s *signer, clientID string, scopes []string) *oauth {
	o := &oauth{
		transport: transport, signer: s, clientID: clientID, address: base.String() + "/oauth2/v1/token", scopes: scopes,
		fetching: make(chan struct{}, 1),
	}
	o.fetching <- struct{}{}
	return o
}

// RoundTrip sends the request with an access token. One that Okta rejects is dropped, and the request sent once more with
// a new one.
func (o *oauth) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := o.access(req.Context(), "")
	if err != nil {
		return nil, err
	}
	resp, err := o.send(req, token)
	if !errors.Is(err, connectors.ErrUnauthorized) {
		return resp, err
	}
	if token, err = o.access(req.Context(), token); err != nil {
		return nil, err
	}
	return o.send(req, token)
}

func (o *oauth) send(req *http.Request, token connectors.Secret) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return o.transport.RoundTrip(req)
}

// access returns the token in use, or fetches one where there is none, where it is about to expire, or where it is the
// rejected one. One is fetched at a time.
func (o *oauth) access(ctx context.Context, rejected connectors.Secret) (connectors.Secret, error) {
	select {
	case <-o.fetching:
		defer func() { o.fetching <- struct{}{} }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if o.token != "" && o.token != rejected && o.transport.ServerTime().Before(o.until) {
		return o.token, nil
	}
	o.token = ""
	token, life, err := o.fetch(ctx, o.scopes)
	if err != nil {
		return "", err
	}
	o.token, o.until = token, o.transport.ServerTime().Add(life-min(life/5, time.Minute))
	return token, nil
}

// fetch asks for a token of the scopes. The assertion is dated by Okta's clock, which the first answer tells: where it
// differs from ours and the assertion was refused, it is made again.
func (o *oauth) fetch(ctx context.Context, scopes []string) (token connectors.Secret, life time.Duration, err error) {
	for range 2 {
		signed := o.transport.ServerTime()
		if token, life, err = o.ask(ctx, scopes, signed); err == nil {
			return token, life, nil
		}
		if off := o.transport.ServerTime().Sub(signed).Abs(); off < mostDoubtfulSkew || !errors.Is(err, connectors.ErrUnauthorized) {
			break
		}
	}
	return "", 0, err
}

func (o *oauth) ask(ctx context.Context, scopes []string, now time.Time) (token connectors.Secret, life time.Duration, err error) {
	assertion, err := o.signer.assertion(o.clientID, o.address, now)
	if err != nil {
		return "", 0, fmt.Errorf("sign the assertion: %w", err)
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "scope": {strings.Join(scopes, " ")},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
	call := connectors.Call{Endpoint: endpointToken, Shape: connectors.ShapeObject, Take: true}
	req, err := http.NewRequestWithContext(connectors.WithCall(ctx, &call), http.MethodPost, o.address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := o.transport.RoundTrip(req)
	if err != nil {
		return "", 0, tokenError(err, scopes)
	}
	defer resp.Body.Close()
	defer call.Answer.Release()
	type granted struct {
		AccessToken connectors.Secret `json:"access_token"`
		TokenType   string            `json:"token_type"`
		ExpiresIn   int               `json:"expires_in"`
	}
	g, err := decode[granted](call.Answer.Body)
	if err != nil || g.AccessToken == "" || g.ExpiresIn <= 0 || !strings.EqualFold(g.TokenType, "Bearer") {
		return "", 0, &connectors.ResponseError{Endpoint: endpointToken, Status: http.StatusOK, Summary: "the answer holds no bearer token with an expiry"}
	}
	return g.AccessToken, time.Duration(g.ExpiresIn) * time.Second, nil
}

// tokenError says what to do about what the token endpoint answered (RFC 6749, section 5.2). Whatever it refuses it refuses
// the credential: there is nothing to be read without a token.
func tokenError(err error, scopes []string) error {
	var refused *connectors.ResponseError
	if !errors.As(err, &refused) || refused.Status < 400 || refused.Status > 499 {
		return err
	}
	if advice := tokenAdvice(refused.Code, scopes); advice != "" {
		told := *refused
		told.Summary += "; " + advice
		refused = &told
	}
	return fmt.Errorf("%w: %w", connectors.ErrUnauthorized, refused)
}

func tokenAdvice(code string, scopes []string) string {
	switch code {
	case "invalid_client":
		return "check client_id, and that key_id names an active public key of that application"
	case "invalid_scope":
		return "grant the application " + strings.Join(scopes, ", ") + " (Okta API Scopes)"
	case "use_dpop_nonce", "invalid_dpop_proof":
		return "the application demands proof of possession: turn off \"Require Demonstrating Proof of Possession (DPoP)\""
	case "unauthorized_client", "access_denied":
		return "let the application be an active API service that uses client credentials, with a read-only administrator's role"
	}
	return ""
}
