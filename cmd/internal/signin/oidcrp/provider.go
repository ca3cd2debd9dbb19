// Package oidcrp is the relying party of OpenID Connect: the authorization code flow with PKCE (RFC 7636), state and
// nonce. It says what an ID token says, once it is to be believed, and knows nothing of our users or sessions.
//
// Whom it asks, and what it checks, in order: the state is one that was made here, not used before, and this browser's;
// the `iss` of the answer (RFC 9207), where there is one or the provider says that there is; the code, together with the
// verifier whose hash the browser carried there; the ID token's signature with a key of the provider and an asymmetric
// algorithm that its discovery document names; issuer, audience, authorized party, times, nonce; and the hash of the
// access token, where there is one.
package oidcrp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
)

// Options configure a Provider.
type Options struct {
	Issuer       string // exactly as the discovery document says it
	ClientID     string
	ClientSecret string           // "" for a public client
	RedirectURL  string           // where Finish is served, as browsers see it
	Scopes       []string         // openid among them
	UserName     string           // claim with the e-mail address
	Groups       string           // claim with the groups; "" for none
	CAFile       string           // PEM file of authorities to trust besides the system's, or ""
	Memory       assertion.Memory // shared by all replicas
	Now          func() time.Time // nil: time.Now
	Logger       *slog.Logger     // nil: none

	// RequireVerifiedEmail refuses an address of which the provider says that it is not verified. One of which it says
	// nothing is accepted: a company's directory holds addresses that an administrator gave out, and mostly leaves the
	// claim away.
	RequireVerifiedEmail bool
}

// Provider signs people in with OpenID Connect. Make one with New; it is safe for concurrent use.
type Provider struct {
	options Options
	client  *http.Client
	cookie  assertion.Cookie

	mu    sync.Mutex
	found *discovery // nil until the provider answered
}

var (
	_ assertion.Provider = (*Provider)(nil)
	_ assertion.Runner   = (*Provider)(nil)
)

// New returns a provider. It asks nobody: the provider is discovered by Run, or by whoever signs in first.
func New(o Options) (*Provider, error) {
	switch {
	case o.Issuer == "", o.ClientID == "", o.RedirectURL == "", o.UserName == "":
		return nil, errors.New("oidcrp: Issuer, ClientID, RedirectURL and UserName are required")
	case o.Memory == nil:
		return nil, errors.New("oidcrp: Memory is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	client, err := fetch.New(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("trust the OpenID Connect provider: %w", err)
	}
	return &Provider{
		options: o, client: client,
		cookie: assertion.Cookie{Name: "idpsync-oidc", Secure: isHTTPS(o.RedirectURL)},
	}, nil
}

// Name returns assertion.OIDC.
func (*Provider) Name() string { return assertion.OIDC }

// Handler returns nil: there is nothing else to serve.
func (*Provider) Handler() http.Handler { return nil }

// pending is what is remembered of a sign-in that was begun, under its state.
type pending struct {
	Mark     string `json:"mark"` // of the browser
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // PKCE
	ReturnTo string `json:"return_to"`
}

// Begin does what assertion.Provider says.
func (p *Provider) Begin(w http.ResponseWriter, r *http.Request, returnTo string) error {
	ctx, cancel := p.bound(r.Context())
	defer cancel()
	found, err := p.discover(ctx)
	if err != nil {
		return err
	}
	state := assertion.Secret()
	begun := pending{
		Mark: p.cookie.Bind(w, r), Nonce: assertion.Secret(), Verifier: oauth2.GenerateVerifier(), ReturnTo: assertion.Local(returnTo),
	}
	value, err := json.Marshal(begun)
	if err != nil {
		return fmt.Errorf("remember the sign-in: %w", err)
	}
	ok, err := p.options.Memory.Put(ctx, assertion.KindOIDCState, state, string(value), p.options.Now().Add(assertion.PendingFor))
	if err != nil {
		return fmt.Errorf("remember the sign-in: %w", err)
	}
	if !ok {
		return errors.New("remember the sign-in: its state is taken")
	}
	target := p.oauth(found).AuthCodeURL(state, oauth2.S256ChallengeOption(begun.Verifier), oauth2.SetAuthURLParam("nonce", begun.Nonce))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, target, http.StatusFound)
	return nil
}

// Finish does what assertion.Provider says.
func (p *Provider) Finish(_ http.ResponseWriter, r *http.Request) (*assertion.Assertion, error) {
	ctx, cancel := p.bound(r.Context())
	defer cancel()
	answer, err := readAnswer(r)
	if err != nil {
		return nil, err
	}
	begun, err := p.take(ctx, answer.state)
	if err != nil {
		return nil, err
	}
	if !p.cookie.Bound(r, begun.Mark) {
		return nil, refuse(assertion.ReasonBrowser, "the sign-in was begun in another browser, or the browser keeps no cookies")
	}
	found, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkIssuer(answer, p.options.Issuer, found.IssParameter); err != nil {
		return nil, err
	}
	switch {
	case answer.failure != "":
		return nil, refuse(assertion.ReasonDenied, "the provider says %q: %q", short(answer.failure), short(answer.description))
	case answer.code == "":
		return nil, refuse(assertion.ReasonMalformed, "the answer has neither a code nor an error")
	}
	token, err := p.exchange(ctx, found, answer.code, begun.Verifier)
	if err != nil {
		return nil, err
	}
	claims, err := p.verify(ctx, found, token, begun.Nonce)
	if err != nil {
		return nil, err
	}
	person, err := p.person(ctx, found, token, claims)
	if err != nil {
		return nil, err
	}
	person.ReturnTo = assertion.Local(begun.ReturnTo)
	return person, nil
}

// take returns what was begun under the state, once.
func (p *Provider) take(ctx context.Context, state string) (*pending, error) {
	value, ok, err := p.options.Memory.Take(ctx, assertion.KindOIDCState, state)
	if err != nil {
		return nil, fmt.Errorf("recall the sign-in: %w", err)
	}
	if !ok {
		return nil, refuse(assertion.ReasonState, "no sign-in with this state is open: it was never begun, is older than %s, or was finished", assertion.PendingFor)
	}
	var begun pending
	if err := json.Unmarshal([]byte(value), &begun); err != nil {
		return nil, fmt.Errorf("recall the sign-in: %w", err)
	}
	return &begun, nil
}

// bound limits how long the provider is waited for, all requests together.
func (p *Provider) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, 2*fetch.Timeout, errors.New("the OpenID Connect provider took too long"))
}

func refuse(reason assertion.Reason, format string, args ...any) error {
	return &assertion.RefusedError{Provider: assertion.OIDC, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func unavailable(doing string, err error) error {
	return &assertion.UnavailableError{Provider: assertion.OIDC, Err: fmt.Errorf("%s: %w", doing, err)}
}
