package configs

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// SignIn configures how people sign in to the console.
type SignIn struct {
	Session   Session `yaml:"session"`
	SAML      SAML    `yaml:"saml"`
	OIDC      OIDC    `yaml:"oidc"`
	Passwords bool    `yaml:"passwords"` // local accounts may sign in with a password
}

// Session bounds how long somebody stays signed in.
type Session struct {
	Lifetime time.Duration `yaml:"lifetime"` // at most
	Idle     time.Duration `yaml:"idle"`     // without a request
}

// SAML configures the SAML 2.0 identity provider whose assertions are believed. Names of attributes are matched with
// an attribute's Name, and with its FriendlyName.
type SAML struct {
	MetadataURL     string `yaml:"metadata_url"`     // where the identity provider's metadata is fetched, and fetched again
	MetadataFile    string `yaml:"metadata_file"`    // or a file with it
	EntityID        string `yaml:"entity_id"`        // our own; "" for the address of our metadata
	CertificateFile string `yaml:"certificate_file"` // PEM; goes into our metadata
	KeyFile         string `yaml:"key_file"`         // PEM; signs requests, and opens encrypted assertions
	UserName        string `yaml:"user_name"`        // attribute with the e-mail address; "": see the example
	GivenName       string `yaml:"given_name"`       // attribute; "" for those that are in common use
	FamilyName      string `yaml:"family_name"`      // attribute; "" for those that are in common use
	DisplayName     string `yaml:"display_name"`     // attribute; "" for those that are in common use
	Groups          string `yaml:"groups"`           // attribute with the groups' names or ids
	AllowInitiated  bool   `yaml:"allow_idp_initiated"`
	JIT             bool   `yaml:"jit"`     // who is unknown gets an account
	CAFile          string `yaml:"ca_file"` // PEM, trusted besides the system's when metadata is fetched
}

// Enabled tells whether people sign in with SAML.
func (s *SAML) Enabled() bool { return s.MetadataURL != "" || s.MetadataFile != "" }

// OIDC configures the OpenID Connect provider whose ID tokens are believed.
type OIDC struct {
	Issuer           string   `yaml:"issuer"` // exactly as the provider's discovery document says it
	ClientID         string   `yaml:"client_id"`
	ClientSecret     Secret   `yaml:"client_secret"`      // "" for a public client
	ClientSecretFile string   `yaml:"client_secret_file"` // where ClientSecret was read from, or ""
	Scopes           []string `yaml:"scopes"`
	UserName         string   `yaml:"user_name"` // claim with the e-mail address
	Groups           string   `yaml:"groups"`    // claim with the groups' names or ids; "" for none
	// RequireVerifiedEmail refuses an address of which the provider says that it was not verified. One of which it says
	// nothing is accepted: directories of a company (Entra ID, AD FS, Keycloak by default) hold addresses that an
	// administrator gave out, and do not send the claim.
	RequireVerifiedEmail bool   `yaml:"require_verified_email"`
	JIT                  bool   `yaml:"jit"`     // who is unknown gets an account
	CAFile               string `yaml:"ca_file"` // PEM, trusted besides the system's
}

// Enabled tells whether people sign in with OpenID Connect.
func (o *OIDC) Enabled() bool { return o.Issuer != "" }

func defaultSignIn() SignIn {
	return SignIn{
		Session:   Session{Lifetime: 12 * time.Hour, Idle: time.Hour},
		SAML:      SAML{Groups: "groups", JIT: true},
		OIDC:      OIDC{Scopes: []string{"openid", "email", "profile"}, UserName: "email", Groups: "groups", RequireVerifiedEmail: true, JIT: true},
		Passwords: true,
	}
}

// Bounds of sessions.
const (
	shortestSession = time.Minute
	longestSession  = 30 * 24 * time.Hour
)

func (ch checker) signIn(c *Config) {
	s := &c.SignIn
	if s.Session.Lifetime < shortestSession || s.Session.Lifetime > longestSession {
		ch.bad("sign_in.session.lifetime", "%s is not between 1m and 720h; 12h is a working day", s.Session.Lifetime)
	}
	if s.Session.Idle < shortestSession || s.Session.Idle > s.Session.Lifetime {
		ch.bad("sign_in.session.idle", "%s is not between 1m and the lifetime (%s); 1h suits most", s.Session.Idle, s.Session.Lifetime)
	}
	ch.saml(&s.SAML)
	ch.oidc(&s.OIDC)
	if !s.SAML.Enabled() && !s.OIDC.Enabled() || c.BaseURL != "" || ch.covers("base_url") || ch.covers("listen") {
		return
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !isLoopback(host) {
		ch.bad("base_url", "it is missing, and the identity provider must be told where to send people back; write the address that browsers use, for example https://idpsync.example.com")
	}
}

func (ch checker) saml(s *SAML) {
	const field = "sign_in.saml"
	switch {
	case s.MetadataURL != "" && s.MetadataFile != "":
		ch.bad(field+".metadata_file", "there is a metadata_url as well; keep one")
	case !s.Enabled():
		for _, key := range []string{"entity_id", "certificate_file", "key_file", "user_name", "given_name", "family_name", "display_name", "groups", "allow_idp_initiated", "ca_file"} {
			if ch.where.has(field + "." + key) {
				ch.bad(field, "there is no metadata_url and no metadata_file; name the identity provider's metadata, or remove the section")
			}
		}
		return
	case s.MetadataURL != "":
		// Entra ID tells applications apart by a query.
		ch.webhookURL(field+".metadata_url", s.MetadataURL)
	case s.CAFile != "":
		ch.bad(field+".ca_file", "it is for metadata that is fetched, and there is a metadata_file; remove it")
	}
	if s.EntityID != "" && (len(s.EntityID) > 1024 || strings.ContainsFunc(s.EntityID, notInURI) || !strings.Contains(s.EntityID, ":")) {
		ch.bad(field+".entity_id", "it is no URI of up to 1024 characters; write what the identity provider calls this application (audience), or leave it out for the address of our metadata")
	}
	switch {
	case s.CertificateFile != "" && s.KeyFile == "":
		ch.bad(field+".key_file", "certificate_file needs it; name the file of the certificate's private key")
	case s.CertificateFile == "" && s.KeyFile != "":
		ch.bad(field+".certificate_file", "key_file needs it; name the file of the certificate, which the identity provider is to trust")
	}
}

func notInURI(r rune) bool { return r <= ' ' || r > '~' }

func (ch checker) oidc(o *OIDC) {
	const field = "sign_in.oidc"
	if !o.Enabled() {
		for _, key := range []string{"client_id", "client_secret", "client_secret_file", "scopes", "user_name", "groups", "require_verified_email", "ca_file"} {
			if ch.where.has(field + "." + key) {
				ch.bad(field, "there is no issuer; write the provider's address, or remove the section")
			}
		}
		return
	}
	ch.url(field+".issuer", o.Issuer, true)
	ch.issuer(field, o)
	ch.required(field+".client_id", o.ClientID, "the id that the provider gave this application")
	if strings.ContainsFunc(o.ClientID, notInURI) {
		ch.bad(field+".client_id", "it has blanks or line breaks; copy it again")
	}
	ch.token(field+".client_secret", o.ClientSecret)
	if !slices.Contains(o.Scopes, "openid") {
		ch.bad(field+".scopes", "openid is not among them, and without it there is no ID token; add it")
	}
	for i, scope := range o.Scopes {
		if scope == "" || strings.ContainsFunc(scope, notInURI) {
			ch.bad(fmt.Sprintf("%s.scopes[%d]", field, i), "%q is no scope; write one a line, without blanks", scope)
		}
	}
	ch.required(field+".user_name", o.UserName, "the claim with the e-mail address, for example email")
}

// issuer refuses those that speak for more than one organisation.
func (ch checker) issuer(field string, o *OIDC) {
	u, err := url.Parse(o.Issuer)
	if err != nil {
		return
	}
	host := strings.ToLower(u.Hostname())
	tenant, _, _ := strings.Cut(strings.ToLower(strings.Trim(u.Path, "/")), "/")
	switch {
	case isEntra(host) && slices.Contains([]string{"common", "organizations", "consumers"}, tenant):
		ch.bad(field+".issuer", "%q lets people of every organisation in; write your directory's id in its place: https://%s/TENANT-ID/v2.0", tenant, u.Host)
	case host == "accounts.google.com" && o.JIT:
		ch.bad(field+".jit", "everybody can have an account at %s; write jit: false, so that only who is known here gets in", host)
	}
}

func isEntra(host string) bool {
	return slices.Contains([]string{"login.microsoftonline.com", "login.microsoft.com", "sts.windows.net", "login.windows.net", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}, host)
}
