package assertion

import "fmt"

// Reason says why a sign-in was refused, for logs, metrics and the audit trail. The set is closed.
type Reason string

// Reasons of a refusal.
const (
	ReasonMalformed       Reason = "malformed"        // not an answer of the protocol at all, or more than we read
	ReasonDenied          Reason = "denied"           // the identity provider says no, or the person did
	ReasonSignature       Reason = "signature"        // unsigned, signed by another, or not over what is read
	ReasonAlgorithm       Reason = "algorithm"        // signed with what is not to be trusted
	ReasonIssuer          Reason = "issuer"           // another identity provider's
	ReasonAudience        Reason = "audience"         // meant for another application
	ReasonRecipient       Reason = "recipient"        // meant for another address
	ReasonExpired         Reason = "expired"          // too late
	ReasonNotYet          Reason = "not_yet"          // too early
	ReasonConditions      Reason = "conditions"       // what an assertion has to say is missing, or cannot be met
	ReasonUnsolicited     Reason = "unsolicited"      // not the answer to a sign-in that was begun here and is open
	ReasonReplayed        Reason = "replayed"         // used before
	ReasonBrowser         Reason = "browser"          // begun in another browser
	ReasonSeveral         Reason = "several"          // more than one assertion, or one id twice: a signature could be of another than is read
	ReasonEncrypted       Reason = "encrypted"        // encrypted, and we have no key that opens it
	ReasonState           Reason = "state"            // no sign-in with this state was begun here, or it was used
	ReasonNonce           Reason = "nonce"            // an ID token of another sign-in
	ReasonCode            Reason = "code"             // the identity provider does not take the code
	ReasonSubject         Reason = "subject"          // nobody, or somebody else than before
	ReasonNoUserName      Reason = "no_username"      // no e-mail address where the configuration looks for it
	ReasonEmailUnverified Reason = "email_unverified" // the provider says that the address was not verified
)

// A RefusedError is an answer of an identity provider that is not to be believed, or that denies the sign-in.
type RefusedError struct {
	// Provider is SAML or OIDC.
	Provider string
	Reason   Reason
	// Detail is for the operator's log. It may name entity ids, times and attributes, never a token or an assertion.
	Detail string
	// Err is what was found, or nil. It is part of the text.
	Err error
}

// Error names the reason and what was found.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%s sign-in refused: %s", e.Provider, e.Reason)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what was found.
func (e *RefusedError) Unwrap() error { return e.Err }

// Public is what the person is told: no more than they can act on.
func (e *RefusedError) Public() string {
	switch e.Reason {
	case ReasonExpired, ReasonUnsolicited, ReasonState, ReasonReplayed, ReasonBrowser, ReasonCode:
		return "This sign-in has expired or was used already. Please sign in again."
	case ReasonDenied:
		return "Your identity provider did not sign you in. Please try again, or ask your administrator for access."
	case ReasonNoUserName:
		return "Your identity provider did not say your e-mail address. Please tell your administrator."
	case ReasonEmailUnverified:
		return "Your e-mail address is not verified at your identity provider. Verify it there, then sign in again."
	case ReasonMalformed, ReasonSignature, ReasonAlgorithm, ReasonIssuer, ReasonAudience, ReasonRecipient, ReasonNotYet,
		ReasonConditions, ReasonSeveral, ReasonEncrypted, ReasonNonce, ReasonSubject:
	}
	return "The sign-in was refused. Please tell your administrator."
}

// An UnavailableError says that the identity provider could not be asked: its metadata, its keys or its token endpoint
// did not answer. The person may try again.
type UnavailableError struct {
	// Provider is SAML or OIDC.
	Provider string
	Err      error
}

// Error names the provider and what failed.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("reach the %s identity provider: %v", e.Provider, e.Err)
}

// Unwrap returns what failed.
func (e *UnavailableError) Unwrap() error { return e.Err }
