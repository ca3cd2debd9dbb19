// Package samlsp is the service provider of SAML 2.0: the web browser profile, with requests by redirection and answers
// by a form. It says what an assertion says, once it is to be believed, and knows nothing of our users or sessions.
//
// Signatures, conditions and encryption are checked by crewjam's library. Around it stands what is ours: before it, a
// reading of the document that refuses all shapes that no identity provider sends, and that wrapped signatures need
// (readOutline); behind it, times with less patience, each assertion once (over all replicas), each request once and in
// the browser that it was made for, and the choice of attributes.
package samlsp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
)

// Options configure a Provider.
type Options struct {
	MetadataURL     string // of the identity provider; or
	MetadataFile    string // a file with its metadata
	EntityID        string // our own; "" for the address of our metadata
	BaseURL         string // of the application as browsers see it, without a slash at the end
	CertificateFile string // PEM; "" for none
	KeyFile         string // PEM; signs requests and, if it is RSA, opens encrypted assertions
	Attributes      Attributes
	AllowInitiated  bool             // believe assertions that nobody asked for
	CAFile          string           // PEM file of authorities to trust besides the system's, or ""
	Memory          assertion.Memory // shared by all replicas
	Now             func() time.Time // nil: time.Now
	Logger          *slog.Logger     // nil: none
}

// Provider signs people in with SAML 2.0. Make one with New; it is safe for concurrent use.
type Provider struct {
	options  Options
	entityID string
	acs      url.URL
	own      url.URL // of our metadata
	client   *http.Client
	cookie   assertion.Cookie

	key         crypto.Signer // nil for none
	certificate *x509.Certificate

	// slots are those of documents that are verified at once: everybody can post one, and it takes a tenth of a second.
	slots chan struct{}

	mu    sync.Mutex
	known *metadata // nil until there was some
	tried time.Time // when it was last asked for
}

var (
	_ assertion.Provider = (*Provider)(nil)
	_ assertion.Runner   = (*Provider)(nil)
)

// New returns a provider. A metadata file is read, and has to be good. A metadata address is asked by Run, or by whoever
// signs in first.
func New(o Options) (*Provider, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case (o.MetadataURL == "") == (o.MetadataFile == ""):
		return nil, errors.New("samlsp: one of MetadataURL and MetadataFile is required")
	case o.Memory == nil:
		return nil, errors.New("samlsp: Memory is required")
	}
	base, err := url.Parse(o.BaseURL)
	if err != nil || fetch.Check(base) != nil {
		return nil, errors.New("samlsp: BaseURL is no https address, nor http on loopback")
	}
	p := &Provider{
		options: o, acs: *base.JoinPath(assertion.PathSAMLAnswer), own: *base.JoinPath(assertion.PathSAMLMetadata),
		slots:  make(chan struct{}, 2),
		cookie: assertion.Cookie{Name: "idpsync-saml", Secure: base.Scheme == "https", CrossSite: true},
	}
	if p.entityID = o.EntityID; p.entityID == "" {
		p.entityID = p.own.String()
	}
	if err := p.loadKey(); err != nil {
		return nil, fmt.Errorf("load the key for SAML: %w", err)
	}
	if p.client, err = fetch.New(o.CAFile); err != nil {
		return nil, fmt.Errorf("trust the SAML identity provider: %w", err)
	}
	if o.MetadataFile != "" {
		if err := p.Refresh(context.Background()); err != nil { // reads a file: there is nothing to wait for
			return nil, err
		}
	}
	return p, nil
}

func (p *Provider) loadKey() error {
	if p.options.KeyFile == "" && p.options.CertificateFile == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(p.options.CertificateFile, p.options.KeyFile)
	if err != nil {
		return err
	}
	switch key := pair.PrivateKey.(type) {
	case *rsa.PrivateKey:
		p.key = key
	case *ecdsa.PrivateKey:
		p.key = key
	default:
		return fmt.Errorf("the key in %s is of a kind that SAML has no signatures for; use RSA or ECDSA", p.options.KeyFile)
	}
	p.certificate = pair.Leaf
	return nil
}

// Name returns assertion.SAML.
func (*Provider) Name() string { return assertion.SAML }

// service returns the library's service provider as of now, for what is known of the identity provider (nil for our
// metadata, which does not tell of it).
func (p *Provider) service(idp *saml.EntityDescriptor) *saml.ServiceProvider {
	sp := &saml.ServiceProvider{
		EntityID: p.entityID, MetadataURL: p.own, AcsURL: p.acs, IDPMetadata: idp,
		// No wish: what identity providers send by default is an address, or an id that lasts.
		AuthnNameIDFormat:                saml.UnspecifiedNameIDFormat,
		AssertionConsumerServiceBindings: []string{saml.HTTPPostBinding},
		AllowIDPInitiated:                p.options.AllowInitiated,
		RejectUnknownConditions:          true,
		RejectExpiredIDPMetadata:         true,
		RejectSHA1Signatures:             true,
		MetadataOmitValidUntil:           true, // many import it once
		Clock:                            dsig.NewFakeClockAt(p.options.Now()),
	}
	if p.key != nil {
		sp.Key, sp.Certificate = p.key, p.certificate
		sp.SignatureMethod = dsig.RSASHA256SignatureMethod
		if _, ok := p.key.(*ecdsa.PrivateKey); ok {
			sp.SignatureMethod = dsig.ECDSASHA256SignatureMethod
		}
	}
	return sp
}

// Handler serves our metadata.
func (p *Provider) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body, err := xml.MarshalIndent(p.service(nil).Metadata(), "", "  ")
		if err != nil {
			p.options.Logger.Error("saml metadata cannot be written", "error", err)
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/samlmetadata+xml")
		_, _ = w.Write(append([]byte(xml.Header), body...)) // whoever asked may have gone
	})
}

// pending is what is remembered of a sign-in that was begun, under its request's id.
type pending struct {
	Mark     string `json:"mark"` // of the browser
	ReturnTo string `json:"return_to"`
}

// Begin does what assertion.Provider says.
func (p *Provider) Begin(w http.ResponseWriter, r *http.Request, returnTo string) error {
	ctx, cancel := p.bound(r.Context())
	defer cancel()
	known, err := p.metadata(ctx)
	if err != nil {
		return err
	}
	sp := p.service(known.entity)
	request, err := sp.MakeAuthenticationRequest(known.redirect, saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		return fmt.Errorf("make the SAML request: %w", err)
	}
	target, err := request.Redirect("", sp)
	if err != nil {
		return fmt.Errorf("make the SAML request: %w", err)
	}
	value, err := json.Marshal(pending{Mark: p.cookie.Bind(w, r), ReturnTo: assertion.Local(returnTo)})
	if err != nil {
		return fmt.Errorf("remember the sign-in: %w", err)
	}
	ok, err := p.options.Memory.Put(ctx, assertion.KindSAMLRequest, request.ID, string(value), p.options.Now().Add(assertion.PendingFor))
	if err != nil {
		return fmt.Errorf("remember the sign-in: %w", err)
	}
	if !ok {
		return errors.New("remember the sign-in: its id is taken")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, target.String(), http.StatusFound)
	return nil
}

// Finish does what assertion.Provider says.
func (p *Provider) Finish(w http.ResponseWriter, r *http.Request) (*assertion.Assertion, error) {
	ctx, cancel := p.bound(r.Context())
	defer cancel()
	document, relayState, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	read, err := readOutline(document)
	if err != nil {
		return nil, err
	}
	if read.encrypted && p.key == nil {
		return nil, refuse(assertion.ReasonEncrypted, "the assertion is encrypted; configure sign_in.saml.certificate_file and key_file with the certificate that the identity provider has, or have it send assertions unencrypted")
	}
	asserted, err := p.verify(ctx, document, read)
	if err != nil {
		return nil, err
	}
	if err := checkTimes(asserted, p.acs.String(), p.options.Now()); err != nil {
		return nil, err
	}
	person, err := p.options.Attributes.person(asserted)
	if err != nil {
		return nil, err
	}
	if err := p.use(ctx, asserted); err != nil {
		return nil, err
	}
	if read.inResponseTo == "" {
		person.ReturnTo = assertion.Local(relayState)
		return person, nil
	}
	begun, err := p.take(ctx, read.inResponseTo)
	if err != nil {
		return nil, err
	}
	if !p.cookie.Bound(r, begun.Mark) {
		return nil, refuse(assertion.ReasonBrowser, "the sign-in was begun in another browser, or the browser keeps no cookies")
	}
	person.ReturnTo = assertion.Local(begun.ReturnTo)
	return person, nil
}

// verify returns the assertion if it is to be believed. An unknown key may be one that the identity provider has only
// just taken into use: then its metadata is looked at once more.
func (p *Provider) verify(ctx context.Context, document []byte, read *outline) (*saml.Assertion, error) {
	known, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other answers to be verified: %w", context.Cause(ctx))
	}
	var requests []string
	if read.inResponseTo != "" {
		requests = []string{read.inResponseTo} // whether it is one of ours is asked of the memory, once all else is good
	}
	asserted, err := p.service(known.entity).ParseXMLResponse(document, requests, p.acs)
	if errors.Is(err, saml.ErrInvalidSignature) {
		renewed, renewErr := p.renew(ctx, known)
		if renewErr != nil {
			p.options.Logger.WarnContext(ctx, "saml metadata cannot be renewed", "error", renewErr)
		}
		if renewed != nil {
			asserted, err = p.service(renewed.entity).ParseXMLResponse(document, requests, p.acs)
		}
	}
	if err != nil {
		return nil, refusal(err, read)
	}
	return asserted, nil
}

// use marks the assertion as used, once: replays are refused by every replica.
func (p *Provider) use(ctx context.Context, asserted *saml.Assertion) error {
	if asserted.ID == "" {
		return refuse(assertion.ReasonConditions, "the assertion has no id")
	}
	ok, err := p.options.Memory.Put(ctx, assertion.KindSAMLAssertion, digest(asserted.Issuer.Value, asserted.ID), "", usableUntil(asserted, p.acs.String()))
	if err != nil {
		return fmt.Errorf("remember the assertion: %w", err)
	}
	if !ok {
		return refuse(assertion.ReasonReplayed, "the assertion %q was used before", short(asserted.ID))
	}
	return nil
}

// take returns what was begun under the request's id, once.
func (p *Provider) take(ctx context.Context, request string) (*pending, error) {
	none := refuse(assertion.ReasonUnsolicited, "no sign-in with the request %q is open: it was never begun, is older than %s, or was finished", short(request), assertion.PendingFor)
	if len(request) > 128 { // ours are not, and the memory takes no longer keys
		return nil, none
	}
	value, ok, err := p.options.Memory.Take(ctx, assertion.KindSAMLRequest, request)
	if err != nil {
		return nil, fmt.Errorf("recall the sign-in: %w", err)
	}
	if !ok {
		return nil, none
	}
	var begun pending
	if err := json.Unmarshal([]byte(value), &begun); err != nil {
		return nil, fmt.Errorf("recall the sign-in: %w", err)
	}
	return &begun, nil
}

// bound limits how long the identity provider is waited for.
func (p *Provider) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, 2*fetch.Timeout, errors.New("the SAML identity provider took too long"))
}
