// Package okta pulls users, groups and memberships from Okta through the official SDK. The SDK carries the requests
// (addresses, credentials); connectors.Transport under it judges the answers, and the decoders here read them, because
// the SDK takes an empty or odd answer for an empty list.
//
// # Scope
//
// Without AppID every user is in scope, and every group that the globs let in. With AppID the users assigned to the
// application are in scope; its groups are those that GroupsInclude names in the whole organization, or where it is
// empty those assigned to the application; GroupsExclude takes away from either. RequireGroup leaves out users who
// are a member of no group in scope; it is the default as soon as AppID or a glob narrows the scope.
//
// # Proof of completeness
//
// Okta sends a self link with every page and a next link with every page but the last. A listing counts as complete
// when it came to a page with a self link and no next link, no page was read twice, and no answer was refused. Two
// more traps are looked for: where a page is exactly full and no next link was seen in the whole pull, the page is
// asked for once more with half its size, which must then have one; and members of groups who are missing from the
// user list are read one by one, or where they are many make the list incomplete.
package okta

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	sdk "github.com/okta/okta-sdk-golang/v2/okta"

	"github.com/idpsync/idpsync/connectors"
)

// DefaultParallel is the number of groups whose members are listed at a time.
const DefaultParallel = 4

// Options of a Connector. URL is required, and a credential: APIToken, or ClientID, PrivateKey and KeyID. The zero value of
// any other field means its default.
type Options struct {
	Name     string            // of the connector, for errors and logs; default "okta"
	URL      string            // https://acme.okta.com, without a path
	APIToken connectors.Secret // SSWS token of a read-only administrator

	ClientID   string            // of a service application with the scopes okta.users.read, okta.groups.read, okta.logs.read and, with AppID, okta.apps.read
	PrivateKey connectors.Secret // the application's, in PEM: RSA (PKCS#1 or PKCS#8) or EC
	KeyID      string            // the kid of its public key at Okta

	AppID         string   // narrows the scope to an application's assignments
	GroupsInclude []string // globs over display names (without case) and ids; none means all
	GroupsExclude []string // globs, taken away from the included
	RequireGroup  *bool    // nil: true when AppID or a glob is set

	CAFile  string            // PEM file whose authorities are trusted besides the system's
	RootCAs *x509.CertPool    // trusted instead of the system's; not together with CAFile
	Base    http.RoundTripper // sends the requests, whatever CAFile and RootCAs say; default connectors.NewBase

	PageSizes PageSizes
	Parallel  int     // groups whose members are listed at a time, default DefaultParallel
	Share     float64 // part of each rate-limit bucket that may be used, default connectors.DefaultShare

	Retries        int           // as in connectors.TransportOptions, like the next three
	MaxWait        time.Duration //
	Backoff        time.Duration //
	AttemptTimeout time.Duration //

	Logger *slog.Logger     // default silent
	Now    func() time.Time // default time.Now
}

// PageSizes are the items asked for in one page; 0 means the default, which is the most that Okta gives.
type PageSizes struct {
	Users     int // default 200
	Groups    int // default 200
	Members   int // default 1000
	AppUsers  int // default 500
	AppGroups int // default 200
	Events    int // default 1000
}

// Connector pulls one Okta organization. It is safe for concurrent use.
type Connector struct {
	name         string
	base         *url.URL
	client       *sdk.Client
	auth         *oauth // nil with an API token
	transport    *connectors.Transport
	scope        *connectors.Scope
	appID        string
	requireGroup bool
	pages        PageSizes
	parallel     int
	logger       *slog.Logger
	now          func() time.Time
	scopeHash    string
	assigned     assignedGroups
}

var (
	_ connectors.Connector   = (*Connector)(nil)
	_ connectors.GroupLister = (*Connector)(nil)
	_ connectors.Metered     = (*Connector)(nil)
)

// New returns a connector. It sends no request; Check does.
func New(o Options) (*Connector, error) {
	c, err := newConnector(o)
	if err != nil {
		return nil, fmt.Errorf("connector %s: %w", cmp.Or(o.Name, "okta"), err)
	}
	return c, nil
}

func newConnector(o Options) (*Connector, error) {
	base, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	sign, err := o.signer()
	if err != nil {
		return nil, err
	}
	if o.AppID != "" && !validID(o.AppID) {
		return nil, fmt.Errorf("app id %q: want letters and digits, such as 0oa1gjh63g214q0Hq0g4", o.AppID)
	}
	scope, err := connectors.NewScope(o.GroupsInclude, o.GroupsExclude)
	if err != nil {
		return nil, err
	}
	roots := o.RootCAs
	if o.CAFile != "" {
		if roots != nil {
			return nil, errors.New("a CA file and root CAs exclude each other")
		}
		if roots, err = connectors.LoadRoots(o.CAFile); err != nil {
			return nil, err
		}
	}
	if o.Base == nil {
		o.Base = connectors.NewBase(roots)
	}
	transport := connectors.NewTransport(connectors.TransportOptions{
		Base:           o.Base,
		Share:          o.Share,
		Retries:        o.Retries,
		MaxWait:        o.MaxWait,
		Backoff:        o.Backoff,
		AttemptTimeout: o.AttemptTimeout,
		Secrets:        []connectors.Secret{o.APIToken, o.PrivateKey},
		Logger:         o.Logger,
		Now:            o.Now,
		ParseError:     parseError,
	})
	var auth *oauth
	mode, token, carrier := "SSWS", o.APIToken, http.RoundTripper(transport)
	if sign != nil {
		auth = newOAuth(transport, base, sign, o.ClientID, o.scopes())
		mode, token, carrier = "Bearer", "replaced by auth", auth
	}
	client, err := newClient(base, mode, token, carrier)
	if err != nil {
		return nil, err
	}
	c := &Connector{
		auth: auth,
		name: cmp.Or(o.Name, "okta"), base: base, client: client, transport: transport, scope: scope, appID: o.AppID,
		requireGroup: o.AppID != "" || scope.Narrow(), pages: o.PageSizes.orDefaults(),
		parallel: max(cmp.Or(o.Parallel, DefaultParallel), 1), logger: o.Logger, now: o.Now,
	}
	if o.RequireGroup != nil {
		c.requireGroup = *o.RequireGroup
	}
	c.scopeHash = connectors.ScopeHash(base.String(), o.AppID, append([]string{}, o.GroupsInclude...), append([]string{}, o.GroupsExclude...), c.requireGroup, mappingVersion)
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// signer returns what signs the assertions of a service application, nil with an API token.
func (o *Options) signer() (*signer, error) {
	switch key := o.ClientID != "" || o.PrivateKey != "" || o.KeyID != ""; {
	case o.APIToken != "" && key:
		return nil, errors.New("an API token and a private key exclude each other")
	case o.APIToken != "":
		return nil, nil
	case !key:
		return nil, errors.New("an API token is required, or a client id with its private key")
	case o.ClientID == "" || o.PrivateKey == "" || o.KeyID == "":
		return nil, errors.New("a client id, its private key and the key's id are required together")
	case !validClientID(o.ClientID):
		return nil, fmt.Errorf("client id %q: want printable letters, such as 0oa1gjh63g214q0Hq0g4", o.ClientID)
	}
	return newSigner([]byte(o.PrivateKey.Reveal()), o.KeyID)
}

// scopes are what a token must be granted.
func (o *Options) scopes() []string {
	scopes := []string{scopeUsers, scopeGroups, scopeLogs}
	if o.AppID != "" {
		scopes = append(scopes, scopeApps)
	}
	return scopes
}

// validClientID tells whether a client id is one: Okta's own are letters and digits, and an administrator may choose others.
func validClientID(id string) bool {
	return !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// newClient makes the SDK's client with every knob set: what is not set, the SDK takes from OKTA_CLIENT_*
// variables and ~/.okta/okta.yaml without a word.
func newClient(base *url.URL, mode string, token connectors.Secret, transport http.RoundTripper) (*sdk.Client, error) {
	_, client, err := sdk.NewClient(context.Background(),
		sdk.WithOrgUrl(base.String()),
		sdk.WithAuthorizationMode(mode),
		sdk.WithToken(token.Reveal()),
		sdk.WithClientId(""),
		sdk.WithClientAssertion(""),
		sdk.WithScopes(nil),
		sdk.WithPrivateKey(""),
		sdk.WithPrivateKeyId(""),
		sdk.WithPrivateKeySigner(nil),
		sdk.WithHttpClientPtr(&http.Client{Transport: transport}),
		sdk.WithCache(false),
		sdk.WithCacheManager(nil),
		sdk.WithCacheTtl(0),
		sdk.WithCacheTti(0),
		sdk.WithConnectionTimeout(0),
		sdk.WithRequestTimeout(0),
		sdk.WithRateLimitMaxRetries(0),
		sdk.WithRateLimitMaxBackOff(0),
		sdk.WithProxyHost(""),
		sdk.WithProxyPort(0),
		sdk.WithUserAgentExtra("idpsync"),
		sdk.WithTestingDisableHttpsCheck(false),
	)
	return client, err
}

// parseURL checks the organization's address. The SDK doubles a path on the second page of a list.
func parseURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("the URL of the organization is required")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("the URL of the organization is malformed")
	case u.Scheme != "https":
		return nil, errors.New("the URL of the organization must begin with https://")
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("the URL of the organization must be a scheme and a host, such as https://acme.okta.com")
	}
	if name, rest, _ := strings.Cut(u.Hostname(), "."); strings.HasSuffix(name, "-admin") {
		return nil, fmt.Errorf("the URL is the admin console's: the organization's own has no -admin, https://%s.%s", strings.TrimSuffix(name, "-admin"), rest)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func (p PageSizes) orDefaults() PageSizes {
	return PageSizes{
		Users:     cmp.Or(p.Users, 200),
		Groups:    cmp.Or(p.Groups, 200),
		Members:   cmp.Or(p.Members, 1000),
		AppUsers:  cmp.Or(p.AppUsers, 500),
		AppGroups: cmp.Or(p.AppGroups, 200),
		Events:    cmp.Or(p.Events, 1000),
	}
}

// Name returns the connector's name.
func (c *Connector) Name() string { return c.name }

// Requests returns the number of requests sent since New, tries included.
func (c *Connector) Requests() int64 { return c.transport.Requests() }

// Counts returns the number of requests sent by endpoint and status, for metrics.
func (c *Connector) Counts() map[connectors.RequestKey]int64 { return c.transport.Counts() }

// Traffic tells what was sent since New, and how Okta let it through.
func (c *Connector) Traffic() connectors.Traffic { return c.transport.Traffic() }
