package samlsp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/crewjam/saml"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

// skew is how far the identity provider's clock and ours may differ. The library allows for more.
const skew = 90 * time.Second

// bearer is the confirmation of the web browser profile: who has the assertion is whom it names.
const bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

func refuse(reason assertion.Reason, format string, args ...any) error {
	return &assertion.RefusedError{Provider: assertion.SAML, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// refusal says why the library does not believe a response.
func refusal(err error, read *outline) error {
	var invalid *saml.InvalidResponseError
	if errors.As(err, &invalid) {
		err = invalid.PrivateErr // the other's text says nothing
	}
	refused := &assertion.RefusedError{Provider: assertion.SAML, Err: err}
	var status saml.ErrBadStatus
	switch {
	case errors.As(err, &status):
		said, _ := read.refused()
		refused.Reason, refused.Detail, refused.Err = assertion.ReasonDenied, fmt.Sprintf("the identity provider says %q", said), nil
	case errors.Is(err, saml.ErrInvalidSignature) && errors.Is(err, saml.ErrUnsupported):
		refused.Reason, refused.Detail = assertion.ReasonAlgorithm, "have the identity provider sign with SHA-256"
	case errors.Is(err, saml.ErrCertificateNotValidNow):
		refused.Reason, refused.Detail = assertion.ReasonSignature, "the identity provider signs with a certificate that is not valid now; renew it there"
	case errors.Is(err, saml.ErrUntrustedCertificate):
		refused.Reason, refused.Detail = assertion.ReasonSignature, "the certificate is not in the identity provider's metadata; renew that"
	case errors.Is(err, saml.ErrInvalidSignature):
		refused.Reason = assertion.ReasonSignature
	case errors.Is(err, saml.ErrDecryptionFailed):
		refused.Reason, refused.Detail = assertion.ReasonEncrypted, "see that the identity provider has our certificate, and encrypts with AES and RSA-OAEP"
	case errors.Is(err, saml.ErrExpired):
		refused.Reason = assertion.ReasonExpired
	case errors.Is(err, saml.ErrNotYetValid):
		refused.Reason, refused.Detail = assertion.ReasonNotYet, "see that the clocks agree"
	case errors.Is(err, saml.ErrIssuerMismatch):
		refused.Reason = assertion.ReasonIssuer
	case errors.Is(err, saml.ErrAudienceMismatch):
		refused.Reason, refused.Detail = assertion.ReasonAudience, "the identity provider has another audience (entity id) for this application than sign_in.saml.entity_id"
	case errors.Is(err, saml.ErrDestinationMismatch):
		refused.Reason, refused.Detail = assertion.ReasonRecipient, "the identity provider has another single sign-on (ACS) address for this application"
	case errors.Is(err, saml.ErrRequestIDMismatch):
		refused.Reason = assertion.ReasonUnsolicited
	case errors.Is(err, saml.ErrMissingElement), errors.Is(err, saml.ErrUnsupported):
		refused.Reason = assertion.ReasonConditions
	case errors.Is(err, saml.ErrMalformedMessage):
		refused.Reason = assertion.ReasonMalformed
	case read.signatures == 0:
		refused.Reason, refused.Detail = assertion.ReasonSignature, "neither the response nor the assertion is signed; have the identity provider sign one"
	default:
		refused.Reason = assertion.ReasonSignature
	}
	return refused
}

// checkTimes checks with our patience what the library checked with its own.
func checkTimes(a *saml.Assertion, acs string, now time.Time) error {
	earliest, latest := now.Add(-skew), now.Add(skew)
	late := func(what string, at time.Time) error {
		return refuse(assertion.ReasonExpired, "%s: %s, %s ago", what, at.UTC().Format(time.RFC3339), now.Sub(at).Round(time.Second))
	}
	early := func(what string, at time.Time) error {
		return refuse(assertion.ReasonNotYet, "%s: %s, in %s; see that the clocks agree", what, at.UTC().Format(time.RFC3339), at.Sub(now).Round(time.Second))
	}
	if a.IssueInstant.After(latest) {
		return early("the assertion was issued", a.IssueInstant)
	}
	if a.Conditions.NotBefore.After(latest) {
		return early("the assertion is valid from", a.Conditions.NotBefore)
	}
	if until := a.Conditions.NotOnOrAfter; !until.IsZero() && !until.After(earliest) {
		return late("the assertion is valid until", until)
	}
	if until := confirmedUntil(a, acs); !until.After(earliest) {
		return late("the confirmation of the subject is valid until", until)
	}
	for _, statement := range a.AuthnStatements {
		if until := statement.SessionNotOnOrAfter; until != nil && !until.After(earliest) {
			return late("the identity provider's session ended", *until)
		}
	}
	return nil
}

// confirmedUntil returns the end of the last confirmation by bearer that is for our address.
func confirmedUntil(a *saml.Assertion, acs string) time.Time {
	var last time.Time
	for _, confirmation := range a.Subject.SubjectConfirmations {
		data := confirmation.SubjectConfirmationData
		if confirmation.Method == bearer && data != nil && data.Recipient == acs && data.NotOnOrAfter.After(last) {
			last = data.NotOnOrAfter
		}
	}
	return last
}

// usableUntil returns until when the assertion could be believed once more.
func usableUntil(a *saml.Assertion, acs string) time.Time {
	until := a.IssueInstant.Add(saml.MaxIssueDelay)
	for _, other := range []time.Time{a.Conditions.NotOnOrAfter, confirmedUntil(a, acs)} {
		if other.After(until) {
			until = other
		}
	}
	return until.Add(saml.MaxClockSkew)
}

// digest returns a key of a length that does not depend on what others call things.
func digest(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// short keeps what others wrote from filling the log.
func short(text string) string {
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}
