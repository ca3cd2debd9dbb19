// Package assertion is the contract between the ways to sign in and what makes a session of it: what an identity
// provider says of somebody, what is remembered between the two halves of a sign-in, and how a refusal is told. It
// knows no protocol, and nothing of our users or sessions.
package assertion

import (
	"context"
	"net/http"
	"time"
)

// Assertion is what an identity provider says of somebody who signs in. It was checked: who has one may believe it to
// be the provider's word, for this application and for this browser, said once.
type Assertion struct {
	// Provider is the name of the protocol: "saml" or "oidc".
	Provider string
	// Issuer is who says it: the entity id of the SAML identity provider, or the OpenID Connect issuer.
	Issuer string
	// Subject is the issuer's own id of the person: the NameID, or the claim `sub`. It is compared with its case.
	Subject string
	// UserName is the e-mail address, from where the configuration says. It is never empty, and trimmed.
	UserName string

	// GivenName, FamilyName and DisplayName are empty where the provider does not state them.
	GivenName, FamilyName, DisplayName string
	// Groups are names or ids, whichever the provider is set up to send, in the order stated.
	Groups []string
	// GroupsStated tells an attribute that is there without a value (in no group) from one that is absent (nothing was
	// said). It is false, too, where the provider says that the groups are too many to list.
	GroupsStated bool

	// SessionIndex is the identity provider's id of its session, where it has one.
	SessionIndex string
	// NotOnOrAfter is when the provider wants the session to have ended, or zero where it does not say. It is not until
	// when the assertion is valid: that was checked.
	NotOnOrAfter time.Time
	// ReturnTo is where the browser wanted to go: a local path, checked by Local, "/" if it did not say.
	ReturnTo string
}

// Memory is kept across replicas: what was begun, and what was used. Kinds are constants of this repository, of
// letters and underscores; keys and values are opaque, keys at most 128 and values at most 4,096 bytes. It is safe for
// concurrent use.
type Memory interface {
	// Put keeps value under the key until it expires. It returns false, and changes nothing, where the key is there
	// already and has not expired.
	Put(ctx context.Context, kind, key, value string, expires time.Time) (bool, error)
	// Take returns the value and removes it: of two who take, one gets it. ok is false where there is none, or where it
	// has expired.
	Take(ctx context.Context, kind, key string) (value string, ok bool, err error)
}

// Kinds of what a Memory keeps.
const (
	KindSAMLRequest   = "saml_request"   // a sign-in that was begun, by the id of its AuthnRequest
	KindSAMLAssertion = "saml_assertion" // an assertion that was used, by issuer and id
	KindOIDCState     = "oidc_state"     // a sign-in that was begun, by its state
)

// Paths that the two protocols are told of when they are set up at the identity provider. The composition root mounts
// what answers there: Provider.Begin at PathSAML and PathOIDC (GET), Provider.Finish at PathSAMLAnswer (POST, from
// another site: it has to be exempt from cross-origin protection) and PathOIDCAnswer (GET), and the service provider's
// metadata at PathSAMLMetadata (GET).
const (
	PathSAML         = "/sign-in/saml"
	PathSAMLAnswer   = "/sign-in/saml/acs"
	PathSAMLMetadata = "/sign-in/saml/metadata"
	PathOIDC         = "/sign-in/oidc"
	PathOIDCAnswer   = "/sign-in/oidc/callback"
)

// Names of the providers.
const (
	SAML = "saml"
	OIDC = "oidc"
)

// Provider is a way to sign in. It is safe for concurrent use.
type Provider interface {
	// Name is SAML or OIDC.
	Name() string
	// Begin binds the sign-in to the browser with a cookie and redirects it to the identity provider. returnTo is where
	// the browser wants to go afterwards: whatever is not a local path becomes "/". When it returns an error, it has
	// written neither status nor body: an *UnavailableError, or another where the Memory fails.
	Begin(w http.ResponseWriter, r *http.Request, returnTo string) error
	// Finish reads the identity provider's answer. It writes no body; it may set cookies. The error is a *RefusedError
	// where the answer is not to be believed, an *UnavailableError where the identity provider could not be asked, or
	// another where the Memory fails.
	Finish(w http.ResponseWriter, r *http.Request) (*Assertion, error)
	// Handler serves what else the provider has, at PathSAMLMetadata: the metadata of SAML. It is nil where there is
	// nothing.
	Handler() http.Handler
}

// Runner is a Provider that keeps what it knows of the identity provider fresh: its metadata, keys and addresses. Both
// providers are. Without it they go on with what they learned first, but for keys that they meet and do not know.
type Runner interface {
	// Run returns nil when ctx ends. What fails meanwhile is logged and tried again.
	Run(ctx context.Context) error
}
