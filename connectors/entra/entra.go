// Package entra pulls users, groups and memberships from Entra ID through Microsoft Graph. The vendor's SDK carries the
// requests (request builders of msgraph-sdk-go, tokens of azidentity); connectors.Transport under it judges the answers,
// and the decoders here read them, because the SDK takes an empty or odd answer for nothing without an error and its
// models cannot tell null from absent.
//
// # Scope
//
// Without ServicePrincipalID every user is in scope, and every group that the globs let in. With it the people assigned to
// the application are in scope: those assigned themselves and the direct members of assigned groups, because Entra ID
// does not pass an assignment on to nested groups. Its groups are those that GroupsInclude names in the whole tenant, or
// where it is empty the assigned ones; GroupsExclude takes away from either. RequireGroup leaves out people who are a
// member, at any depth, of no group in scope; it is the default as soon as ServicePrincipalID or a glob narrows the scope.
// Guests (userType Guest) are left out unless Guests says otherwise.
//
// # Full and Changes
//
// A full pull is the first round of two delta queries, users and groups with their members: no request for each group.
// Nested groups are closed here, cycles included, so that a group's members are everybody below it. Its checkpoint holds
// the two delta links, from which Changes goes on: two requests when nothing changed. What a delta cannot tell is read by
// id, by this package or (Page.Doubtful) by the receiver.
//
// # Proof of completeness
//
// Every page of a delta but the last has a next link, and the last has a delta link. A listing counts as complete when it
// came to a delta link, no page was read twice, and no answer was refused. Whoever should be in the user list, because a
// group in scope or an assignment names them, and is not, is read by id: more than a few who exist after all show that
// the list was short.
package entra

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	kiotaauth "github.com/microsoft/kiota-authentication-azure-go"
	kiotahttp "github.com/microsoft/kiota-http-go"

	"github.com/idpsync/idpsync/connectors"
)

// Defaults of Options.
const (
	DefaultGraphURL  = "https://graph.microsoft.com/v1.0"
	DefaultAuthority = "https://login.microsoftonline.com"
	DefaultPageSize  = 999 // the most that Graph gives
)

// Options of a Connector. TenantID, ClientID and either ClientSecret or CertificateFile are required; the zero value of any
// other field means its default.
type Options struct {
	Name            string            // of the connector, for errors, logs and checkpoints; default "entra"
	TenantID        string            // the directory's id, or one of its domains
	ClientID        string            // the application's id
	ClientSecret    connectors.Secret //
	CertificateFile string            // PEM or PFX, with the private key and without a password

	ServicePrincipalID string   // object id of the enterprise application; narrows the scope to its assignments
	GroupsInclude      []string // globs over display names (without case) and ids; none means all
	GroupsExclude      []string // globs, taken away from the included
	RequireGroup       *bool    // nil: true when ServicePrincipalID or a glob is set
	Guests             bool     // let guests in

	GraphURL  string         // default DefaultGraphURL; national clouds have others
	Authority string         // default DefaultAuthority
	CAFile    string         // PEM file whose authorities are trusted besides the system's
	RootCAs   *x509.CertPool // trusted instead of the system's; not together with CAFile

	PageSize int     // of members and assignments; delta queries choose their own. Default DefaultPageSize
	Share    float64 // part of Graph's budget for the tenant that may be used, default connectors.DefaultShare

	Retries        int           // as in connectors.TransportOptions, like the next three
	MaxWait        time.Duration //
	Backoff        time.Duration //
	AttemptTimeout time.Duration //

	Logger *slog.Logger     // default silent
	Now    func() time.Time // default time.Now
}

// Connector pulls one Entra ID tenant. It is safe for concurrent use.
type Connector struct {
	name         string
	base         *url.URL // of Graph, with its version
	authority    string
	tenant       string
	adapter      *kiotahttp.NetHttpRequestAdapter
	transport    *connectors.Transport // to Graph
	identity     *connectors.Transport // to the authority
	tokens       *tokens
	scope        *connectors.Scope
	principal    string // service principal id, or ""
	requireGroup bool
	guests       bool
	pageSize     int
	scopeHash    string
	backoff      time.Duration
	tries500     int // after an internal error
	logger       *slog.Logger
	now          func() time.Time
	assigned     assignedCache
}

var (
	_ connectors.Metered     = (*Connector)(nil)
	_ connectors.Connector   = (*Connector)(nil)
	_ connectors.GroupLister = (*Connector)(nil)
)

// New returns a connector. It reads the certificate's file and sends no request; Check does.
func New(o Options) (*Connector, error) {
	c, err := newConnector(o)
	if err != nil {
		return nil, fmt.Errorf("connector %s: %w", cmp.Or(o.Name, "entra"), err)
	}
	return c, nil
}

func newConnector(o Options) (*Connector, error) {
	base, authority, err := o.check()
	if err != nil {
		return nil, err
	}
	scope, err := connectors.NewScope(o.GroupsInclude, o.GroupsExclude)
	if err != nil {
		return nil, err
	}
	roots := o.RootCAs
	if o.CAFile != "" {
		if roots, err = connectors.LoadRoots(o.CAFile); err != nil {
			return nil, err
		}
	}
	c := &Connector{
		name: cmp.Or(o.Name, "entra"), base: base, authority: authority, tenant: o.TenantID, scope: scope, principal: strings.ToLower(o.ServicePrincipalID),
		requireGroup: o.ServicePrincipalID != "" || scope.Narrow(), guests: o.Guests, pageSize: cmp.Or(o.PageSize, DefaultPageSize), logger: o.Logger, now: o.Now,
	}
	if o.RequireGroup != nil {
		c.requireGroup = *o.RequireGroup
	}
	c.backoff, c.tries500 = cmp.Or(o.Backoff, connectors.DefaultBackoff), min(cmp.Or(o.Retries, connectors.DefaultRetries), 2)
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.scopeHash = connectors.ScopeHash(base.String(), strings.ToLower(o.TenantID), c.principal, o.GroupsInclude, o.GroupsExclude, c.requireGroup, o.Guests, mappingVersion)
	wire := connectors.TransportOptions{
		Base: connectors.NewBase(roots), Share: o.Share, Retries: o.Retries, MaxWait: o.MaxWait, Backoff: o.Backoff, AttemptTimeout: o.AttemptTimeout,
		Secrets: []connectors.Secret{o.ClientSecret}, Logger: o.Logger, Now: o.Now, ParseError: parseTokenError,
	}
	c.identity = connectors.NewTransport(wire)
	wire.ParseError = parseError
	wire.Base = newBudget(wire.Base, o.Share)
	c.transport = connectors.NewTransport(wire)
	if c.tokens, err = newTokens(o, authority, c.identity, c.now); err != nil {
		return nil, err
	}
	c.adapter, err = newAdapter(base, c.tokens, c.transport)
	return c, err
}

// newAdapter makes the SDK's request adapter. Its HTTP client has none of the vendor's middleware: retries, redirects and
// compression are the transport's. The host of Graph stands among the valid ones: to any other the SDK sends requests
// without a token, and says nothing.
func newAdapter(base *url.URL, credential *tokens, transport http.RoundTripper) (*kiotahttp.NetHttpRequestAdapter, error) {
	auth, err := kiotaauth.NewAzureIdentityAuthenticationProviderWithScopesAndValidHostsAndObservabilityOptionsAndIsCaeEnabled(
		credential, []string{base.Scheme + "://" + base.Host + "/.default"}, []string{base.Hostname()}, kiotaauth.ObservabilityOptions{}, false)
	if err != nil {
		return nil, err
	}
	adapter, err := kiotahttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		auth, nil, nil, &http.Client{Transport: transport})
	if err != nil {
		return nil, err
	}
	adapter.SetBaseUrl(base.String())
	return adapter, nil
}

var (
	uuidForm   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	domainForm = regexp.MustCompile(`^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$`)
)

// check tells what is wrong with the options, field by field, and returns the two addresses.
func (o *Options) check() (graph *url.URL, authority string, err error) {
	switch {
	case o.TenantID == "":
		return nil, "", errors.New("tenant id: it is missing; copy it from the tenant's overview")
	case !uuidForm.MatchString(o.TenantID) && !domainForm.MatchString(o.TenantID):
		return nil, "", fmt.Errorf("tenant id %q: it is neither an id nor a domain; write for example acme.onmicrosoft.com", o.TenantID)
	case !uuidForm.MatchString(o.ClientID):
		return nil, "", fmt.Errorf("client id %q: it is no id; copy the application (client) id from the app registration", o.ClientID)
	case o.ClientSecret == "" && o.CertificateFile == "":
		return nil, "", errors.New("client secret: there is no credential; set a client secret or a certificate file")
	case o.ClientSecret != "" && o.CertificateFile != "":
		return nil, "", errors.New("client secret: there is a certificate file as well; keep one")
	case o.ServicePrincipalID != "" && !uuidForm.MatchString(o.ServicePrincipalID):
		return nil, "", fmt.Errorf("service principal id %q: it is no id; copy the object id from the enterprise application's properties", o.ServicePrincipalID)
	case o.CAFile != "" && o.RootCAs != nil:
		return nil, "", errors.New("a CA file and root CAs exclude each other; keep one")
	case o.PageSize < 0 || o.PageSize > DefaultPageSize:
		return nil, "", fmt.Errorf("page size %d: it is not between 1 and %d", o.PageSize, DefaultPageSize)
	}
	if graph, err = parseAddress("graph url", cmp.Or(o.GraphURL, DefaultGraphURL)); err != nil {
		return nil, "", err
	}
	login, err := parseAddress("authority", cmp.Or(o.Authority, DefaultAuthority))
	if err != nil {
		return nil, "", err
	}
	return graph, login.String(), nil
}

// parseAddress checks an address and takes the slash off its end. It quotes nothing of one that may hold a password.
func parseAddress(field, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("%s: it is no web address; write https://HOST", field)
	case u.User != nil:
		return nil, fmt.Errorf("%s: it holds a user name or password; remove it", field)
	case u.Scheme != "https":
		return nil, fmt.Errorf("%s %s://%s: tokens would travel in the clear; write https://%s", field, u.Scheme, u.Host, u.Host)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("%s: it goes on after the path; remove what begins with ? or #", field)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}, nil
}

// Name returns the connector's name.
func (c *Connector) Name() string { return c.name }

// Requests returns the number of requests sent to Graph since New, tries included; those for tokens, one an hour, are left
// out.
func (c *Connector) Requests() int64 { return c.transport.Requests() }

// Traffic tells what was sent since New, tokens' requests included, and how Microsoft let it through.
func (c *Connector) Traffic() connectors.Traffic {
	return c.transport.Traffic().Add(c.identity.Traffic())
}

// Counts returns the number of requests sent by endpoint and status, those for tokens included, for metrics.
func (c *Connector) Counts() map[connectors.RequestKey]int64 {
	all := c.transport.Counts()
	if all == nil {
		all = map[connectors.RequestKey]int64{}
	}
	for key, n := range c.identity.Counts() {
		all[key] += n
	}
	return all
}
