package samlsp_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/cmd/internal/signin/samlsp"
)

func ana(a *app) *assertion.Assertion {
	return &assertion.Assertion{
		Provider: assertion.SAML, Issuer: a.idp.EntityID(), Subject: "ana@example.com", UserName: "ana@example.com",
		GivenName: "Ana", FamilyName: "Ito", DisplayName: "Ana Ito",
		Groups: []string{"Engineering", "On call"}, GroupsStated: true, SessionIndex: "session-00u1ana", ReturnTo: "/runs?state=held",
	}
}

func edit(f func(*saml.Assertion)) idptest.SAMLFault { return idptest.SAMLFault{Assertion: f} }

// attributes puts others in the place of the assertion's.
func attributes(list ...saml.Attribute) idptest.SAMLFault {
	return edit(func(a *saml.Assertion) { a.AttributeStatements = []saml.AttributeStatement{{Attributes: list}} })
}

func nameID(format saml.NameIDFormat, value string) func(*saml.Assertion) {
	return func(a *saml.Assertion) { a.Subject.NameID = &saml.NameID{Format: string(format), Value: value} }
}

const entra = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"

// TestSignIn signs in as identity providers are set up in different ways.
func TestSignIn(t *testing.T) {
	t.Parallel()
	ended := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, tc := range []struct {
		name    string
		options func(*samlsp.Options)
		fault   idptest.SAMLFault
		want    func(*assertion.Assertion)
	}{
		{name: "the assertion is signed"},
		{name: "the response is signed", fault: idptest.SAMLFault{Signed: idptest.SignedResponse}},
		{name: "both are signed", fault: idptest.SAMLFault{Signed: idptest.SignedBoth}},
		{name: "SHA-512", fault: idptest.SAMLFault{Method: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"}},
		{name: "lines of base64", fault: idptest.SAMLFault{Document: func(s string) string { return s + "\n" }}},
		{name: "no KeyInfo", fault: idptest.SAMLFault{Tamper: func(r *etree.Element) {
			signature := r.FindElement("./Assertion/Signature")
			signature.RemoveChild(signature.SelectElement("KeyInfo"))
		}}},
		{name: "nothing said of the destination", fault: idptest.SAMLFault{Response: func(r *saml.Response) { r.Destination = "" }}},
		{name: "the session's end", fault: edit(func(a *saml.Assertion) { a.AuthnStatements[0].SessionNotOnOrAfter = &ended }), want: func(a *assertion.Assertion) { a.NotOnOrAfter = ended }},
		{name: "an opaque NameID and an attribute of Okta's", fault: edit(nameID(saml.PersistentNameIDFormat, "00u1")), want: func(a *assertion.Assertion) { a.Subject = "00u1" }},
		{
			name: "Entra ID's attributes",
			fault: attributes(
				idptest.Attribute(entra+"givenname", "Ana"), idptest.Attribute(entra+"surname", "Ito"), idptest.Attribute(entra+"emailaddress", "ana.ito@example.com"),
				idptest.Attribute("http://schemas.microsoft.com/identity/claims/displayname", "Ana Ito"),
				idptest.Attribute("http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "Engineering", "On call"),
			),
		},
		{
			name: "Entra ID's user principal name, where the NameID is an id and there is no address",
			fault: edit(func(a *saml.Assertion) {
				nameID(saml.PersistentNameIDFormat, "x1")(a)
				a.AttributeStatements[0].Attributes = []saml.Attribute{idptest.Attribute(entra+"name", "ana@example.com")}
			}),
			want: func(a *assertion.Assertion) {
				*a = assertion.Assertion{Provider: a.Provider, Issuer: a.Issuer, Subject: "x1", UserName: "ana@example.com", SessionIndex: a.SessionIndex, ReturnTo: a.ReturnTo}
			},
		},
		{
			name: "groups too many to say, as Entra ID tells it",
			fault: edit(func(a *saml.Assertion) {
				a.AttributeStatements[0].Attributes = append(a.AttributeStatements[0].Attributes, idptest.Attribute("http://schemas.microsoft.com/claims/groups.link", "https://graph"))
			}),
			want: func(a *assertion.Assertion) { a.Groups, a.GroupsStated = nil, false },
		},
		{name: "in no group", fault: attributes(idptest.Attribute("groups")), want: func(a *assertion.Assertion) {
			a.GivenName, a.FamilyName, a.DisplayName, a.Groups = "", "", "", []string{}
		}},
		{name: "no attributes", fault: edit(func(a *saml.Assertion) { a.AttributeStatements = nil }), want: func(a *assertion.Assertion) {
			a.GivenName, a.FamilyName, a.DisplayName, a.Groups, a.GroupsStated = "", "", "", nil, false
		}},
		{
			name: "attributes of other names",
			options: func(o *samlsp.Options) {
				o.Attributes = samlsp.Attributes{UserName: "mail", GivenName: "gn", FamilyName: "fn", DisplayName: "dn", Groups: "memberOf"}
			},
			fault: attributes(idptest.Attribute("mail", " ana.ito@example.com "), idptest.Attribute("gn", "A"), idptest.Attribute("fn", "I"), idptest.Attribute("dn", "A I"),
				idptest.Attribute("memberOf", "a"), idptest.Attribute("memberOf", "", "b"), idptest.Attribute("groups", "c")),
			want: func(a *assertion.Assertion) {
				a.UserName, a.GivenName, a.FamilyName, a.DisplayName, a.Groups = "ana.ito@example.com", "A", "I", "A I", []string{"a", "b"}
			},
		},
		{
			name:    "a friendly name",
			options: func(o *samlsp.Options) { o.Attributes.UserName = "mail" },
			fault: edit(func(a *saml.Assertion) {
				friendly := idptest.Attribute("urn:oid:0.9.2342.19200300.100.1.3", "ana.ito@example.com")
				friendly.FriendlyName = "mail"
				a.AttributeStatements[0].Attributes = append(a.AttributeStatements[0].Attributes, friendly)
			}),
			want: func(a *assertion.Assertion) { a.UserName = "ana.ito@example.com" },
		},
		{name: "groups not asked for", options: func(o *samlsp.Options) { o.Attributes.Groups = "" }, want: func(a *assertion.Assertion) { a.Groups, a.GroupsStated = nil, false }},
		{name: "an entity id of our own", options: func(o *samlsp.Options) { o.EntityID = "urn:idpsync" }},
		{name: "a clock that is behind", fault: edit(func(a *saml.Assertion) { shift(a, -40*time.Second) })},
		{name: "a clock that is ahead", fault: edit(func(a *saml.Assertion) { shift(a, time.Minute) })},
		{name: "a confirmation of another kind beside", fault: edit(func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations = append([]saml.SubjectConfirmation{{Method: "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"}}, a.Subject.SubjectConfirmations...)
		})},
		// The comment changes nothing of what is signed, and nothing of what is read.
		{name: "a comment in the name", fault: idptest.SAMLFault{Tamper: idptest.Comment(len("ana"))}},
		{name: "a comment in the name, the response signed", fault: idptest.SAMLFault{Signed: idptest.SignedResponse, Tamper: idptest.Comment(len("ana@example"))}},
		{
			name: "a comment in the attribute", fault: idptest.SAMLFault{Assertion: nameID(saml.PersistentNameIDFormat, "00u1"), Tamper: idptest.Comment(2)},
			want: func(a *assertion.Assertion) { a.Subject = "00u1" },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, tc.options)
			a.idp.Misbehave(tc.fault)
			want := ana(a)
			if tc.want != nil {
				tc.want(want)
			}
			got := a.signIn(t)
			if diff := cmp.Diff(want, got.Assertion); diff != "" {
				t.Errorf("assertion (-want +got), %s:\n%s", got.Detail, diff)
			}
			if n := a.memory.Len(assertion.KindSAMLRequest); n != 0 {
				t.Errorf("%d sign-ins are still open", n)
			}
		})
	}
}

// TestTheWholeNameIsRead: who can have an account with a longer name does not get the account of the shorter one.
func TestTheWholeNameIsRead(t *testing.T) {
	t.Parallel()
	const whole = "ana@example.com.evil.example"
	for name, signed := range map[string]string{"assertion": idptest.SignedAssertion, "response": idptest.SignedResponse} {
		for kind, change := range map[string]func(*samlsp.Options){"NameID": nil, "attribute": func(o *samlsp.Options) { o.Attributes.UserName = "email" }} {
			a := start(t, change)
			person := idptest.Ana()
			person.Email = whole
			a.idp.SignIn(person)
			a.idp.Misbehave(idptest.SAMLFault{Signed: signed, Tamper: idptest.Comment(len("ana@example.com"))})
			got := a.signIn(t)
			if got.Assertion == nil || got.Assertion.UserName != whole || got.Assertion.Subject != whole {
				t.Errorf("%s signed, %s: %+v (%s), want %s", name, kind, got.Assertion, got.Detail, whole)
			}
		}
	}
}

// shift moves all times of an assertion, as a clock that goes wrong would.
func shift(a *saml.Assertion, by time.Duration) {
	a.IssueInstant = a.IssueInstant.Add(by)
	a.Conditions.NotBefore = a.Conditions.NotBefore.Add(by)
	a.Conditions.NotOnOrAfter = a.Conditions.NotOnOrAfter.Add(by)
	for i := range a.Subject.SubjectConfirmations {
		data := a.Subject.SubjectConfirmations[i].SubjectConfirmationData
		data.NotOnOrAfter = data.NotOnOrAfter.Add(by)
	}
}

func confirmation(a *saml.Assertion) *saml.SubjectConfirmationData {
	return a.Subject.SubjectConfirmations[0].SubjectConfirmationData
}

func tamper(f func(*etree.Element)) idptest.SAMLFault { return idptest.SAMLFault{Tamper: f} }

func document(old, replacement string) idptest.SAMLFault {
	return idptest.SAMLFault{Document: func(s string) string { return strings.Replace(s, old, replacement, 1) }}
}

// TestRefused has the identity provider, or somebody who holds its answer, send what is not to be believed.
func TestRefused(t *testing.T) {
	t.Parallel()
	const other = "https://other.example"
	wrapped := func(way int) idptest.SAMLFault {
		fault := tamper(idptest.Wrap(way))
		if way <= 2 {
			fault.Signed = idptest.SignedResponse
		}
		return fault
	}
	both := func(f func(*etree.Element)) idptest.SAMLFault {
		return idptest.SAMLFault{Signed: idptest.SignedBoth, Tamper: f}
	}
	unsign := func(path string) func(*etree.Element) {
		return func(r *etree.Element) {
			signature := r.FindElement(path)
			signature.Parent().RemoveChild(signature)
		}
	}
	for _, tc := range []struct {
		name  string
		fault idptest.SAMLFault
		want  assertion.Reason
	}{
		// Signatures.
		{"unsigned", idptest.SAMLFault{Signed: idptest.SignedNothing}, assertion.ReasonSignature},
		{"another key under the same name", idptest.SAMLFault{Key: idptest.KeyOther}, assertion.ReasonSignature},
		{"another key, the response signed", idptest.SAMLFault{Key: idptest.KeyOther, Signed: idptest.SignedResponse}, assertion.ReasonSignature},
		{"another key, and our certificate said to be its", idptest.SAMLFault{Key: idptest.KeyOther, Tamper: func(r *etree.Element) {
			signature := r.FindElement("./Assertion/Signature")
			signature.RemoveChild(signature.SelectElement("KeyInfo"))
		}}, assertion.ReasonSignature},
		{"SHA-1", idptest.SAMLFault{Method: "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, assertion.ReasonAlgorithm},
		{"SHA-1, the response signed", idptest.SAMLFault{Method: "http://www.w3.org/2000/09/xmldsig#rsa-sha1", Signed: idptest.SignedResponse}, assertion.ReasonAlgorithm},
		{"altered, the assertion signed", tamper(idptest.Forge), assertion.ReasonSignature},
		{"altered, the response signed", idptest.SAMLFault{Signed: idptest.SignedResponse, Tamper: idptest.Forge}, assertion.ReasonSignature},
		{"altered, both signed", both(idptest.Forge), assertion.ReasonSignature},
		{"altered, both signed, the assertion's signature taken away", both(func(r *etree.Element) { unsign("./Assertion/Signature")(r); idptest.Forge(r) }), assertion.ReasonSignature},
		{"altered, both signed, the response's signature taken away", both(func(r *etree.Element) { unsign("./Signature")(r); idptest.Forge(r) }), assertion.ReasonSignature},
		{"altered, the signature taken away", tamper(func(r *etree.Element) { unsign("./Assertion/Signature")(r); idptest.Forge(r) }), assertion.ReasonSignature},
		{"an empty signature value", tamper(func(r *etree.Element) { r.FindElement(".//SignatureValue").SetText("") }), assertion.ReasonSignature},
		{"a signature of nothing", tamper(func(r *etree.Element) {
			info := r.FindElement(".//SignedInfo")
			info.RemoveChild(info.SelectElement("Reference"))
		}), assertion.ReasonSignature},
		{"a signature of the whole document", tamper(func(r *etree.Element) { r.FindElement(".//Reference").CreateAttr("URI", "") }), assertion.ReasonSignature},
		{"two references", tamper(func(r *etree.Element) {
			info := r.FindElement(".//SignedInfo")
			info.AddChild(info.SelectElement("Reference").Copy())
		}), assertion.ReasonSignature},
		{"a transformation by a script", tamper(func(r *etree.Element) {
			r.FindElement(".//Transforms").CreateElement("ds:Transform").CreateAttr("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")
		}), assertion.ReasonSignature},
		{"wrapped, 1", wrapped(1), assertion.ReasonSeveral},
		{"wrapped, 2", wrapped(2), assertion.ReasonSeveral},
		{"wrapped, 3", wrapped(3), assertion.ReasonSeveral},
		{"wrapped, 4", wrapped(4), assertion.ReasonSeveral},
		{"wrapped, 5", wrapped(5), assertion.ReasonSeveral},
		{"wrapped, 6", wrapped(6), assertion.ReasonSeveral},
		{"wrapped, 7", wrapped(7), assertion.ReasonSeveral},
		{"wrapped, 8", wrapped(8), assertion.ReasonSeveral},
		{"one id twice", tamper(func(r *etree.Element) { r.CreateAttr("ID", r.SelectElement("Assertion").SelectAttrValue("ID", "")) }), assertion.ReasonSeveral},
		{"two good assertions", idptest.SAMLFault{Signed: idptest.SignedBoth, Tamper: func(r *etree.Element) { r.AddChild(r.SelectElement("Assertion").Copy()) }}, assertion.ReasonSeveral},
		{"an assertion of another namespace before", tamper(func(r *etree.Element) {
			e := etree.NewElement("x:Assertion")
			e.CreateAttr("xmlns:x", "urn:x")
			r.InsertChildAt(0, e)
		}), assertion.ReasonSeveral},

		// Who it is of, and for.
		{"another issuer", edit(func(a *saml.Assertion) { a.Issuer.Value = other }), assertion.ReasonIssuer},
		{"another issuer of the response", idptest.SAMLFault{Response: func(r *saml.Response) { r.Issuer.Value = other }}, assertion.ReasonIssuer},
		{"another audience", edit(func(a *saml.Assertion) { a.Conditions.AudienceRestrictions[0].Audience.Value = other }), assertion.ReasonAudience},
		{"no audience", edit(func(a *saml.Assertion) { a.Conditions.AudienceRestrictions = nil }), assertion.ReasonAudience},
		{"two audiences that both have to be", edit(func(a *saml.Assertion) {
			a.Conditions.AudienceRestrictions = append(a.Conditions.AudienceRestrictions, saml.AudienceRestriction{Audience: saml.Audience{Value: other}})
		}), assertion.ReasonAudience},
		{"another recipient", edit(func(a *saml.Assertion) { confirmation(a).Recipient = other }), assertion.ReasonRecipient},
		{"no recipient", edit(func(a *saml.Assertion) { confirmation(a).Recipient = "" }), assertion.ReasonRecipient},
		{"another destination", idptest.SAMLFault{Response: func(r *saml.Response) { r.Destination = other }}, assertion.ReasonRecipient},
		{"no destination, the response signed", idptest.SAMLFault{Signed: idptest.SignedResponse, Response: func(r *saml.Response) { r.Destination = "" }}, assertion.ReasonRecipient},

		// When.
		{"expired", edit(func(a *saml.Assertion) { a.Conditions.NotOnOrAfter = time.Now().Add(-100 * time.Second) }), assertion.ReasonExpired},
		{"its confirmation expired", edit(func(a *saml.Assertion) { confirmation(a).NotOnOrAfter = time.Now().Add(-100 * time.Second) }), assertion.ReasonExpired},
		{"a confirmation without an end", edit(func(a *saml.Assertion) { confirmation(a).NotOnOrAfter = time.Time{} }), assertion.ReasonExpired},
		{"issued two minutes ago", edit(func(a *saml.Assertion) { a.IssueInstant = a.IssueInstant.Add(-2 * time.Minute) }), assertion.ReasonExpired},
		{"the response issued two minutes ago", idptest.SAMLFault{Response: func(r *saml.Response) { r.IssueInstant = r.IssueInstant.Add(-2 * time.Minute) }}, assertion.ReasonExpired},
		{"the identity provider's session ended", edit(func(a *saml.Assertion) {
			then := time.Now().Add(-100 * time.Second)
			a.AuthnStatements[0].SessionNotOnOrAfter = &then
		}), assertion.ReasonExpired},
		{"issued in 100 seconds", edit(func(a *saml.Assertion) { a.IssueInstant = a.IssueInstant.Add(100 * time.Second) }), assertion.ReasonNotYet},
		{"valid in 100 seconds", edit(func(a *saml.Assertion) { a.Conditions.NotBefore = time.Now().Add(100 * time.Second) }), assertion.ReasonNotYet},
		{"valid in an hour", edit(func(a *saml.Assertion) { a.Conditions.NotBefore = time.Now().Add(time.Hour) }), assertion.ReasonNotYet},

		// What it has to say.
		{"no conditions", edit(func(a *saml.Assertion) { a.Conditions = nil }), assertion.ReasonConditions},
		{"no subject", edit(func(a *saml.Assertion) { a.Subject = nil }), assertion.ReasonConditions},
		{"no confirmation", edit(func(a *saml.Assertion) { a.Subject.SubjectConfirmations = nil }), assertion.ReasonConditions},
		{"a confirmation of another kind", edit(func(a *saml.Assertion) {
			a.Subject.SubjectConfirmations[0].Method = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"
		}), assertion.ReasonConditions},
		{"no authentication", edit(func(a *saml.Assertion) { a.AuthnStatements = nil }), assertion.ReasonConditions},
		{"no id", edit(func(a *saml.Assertion) { a.ID = "" }), assertion.ReasonSignature},
		{"no id, the response signed", idptest.SAMLFault{Signed: idptest.SignedResponse, Assertion: func(a *saml.Assertion) { a.ID = "" }}, assertion.ReasonConditions},
		{"SAML 1.1", idptest.SAMLFault{Signed: idptest.SignedResponse, Inside: func(a *etree.Element) *etree.Element {
			a.CreateAttr("Version", "1.1")
			return a
		}}, assertion.ReasonConditions},
		{"a condition that we do not know", idptest.SAMLFault{Signed: idptest.SignedResponse, Inside: func(a *etree.Element) *etree.Element {
			a.SelectElement("Conditions").CreateElement("saml:Condition").CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:2.0:assertion")
			return a
		}}, assertion.ReasonConditions},
		{"no assertion", tamper(func(r *etree.Element) { r.RemoveChild(r.SelectElement("Assertion")) }), assertion.ReasonConditions},

		// Which sign-in.
		{"another request", edit(func(a *saml.Assertion) { confirmation(a).InResponseTo = "id-other" }), assertion.ReasonUnsolicited},
		{"another request of the response", idptest.SAMLFault{Response: func(r *saml.Response) { r.InResponseTo = "id-other" }}, assertion.ReasonUnsolicited},
		{"another request of both", idptest.SAMLFault{Response: func(r *saml.Response) { r.InResponseTo = "id-other" }, Assertion: func(a *saml.Assertion) { confirmation(a).InResponseTo = "id-other" }}, assertion.ReasonUnsolicited},
		{"a request that we never call so", idptest.SAMLFault{Response: func(r *saml.Response) { r.InResponseTo = "x" }, Assertion: func(a *saml.Assertion) { confirmation(a).InResponseTo = "x" }}, assertion.ReasonUnsolicited},
		{"no request", edit(func(a *saml.Assertion) { confirmation(a).InResponseTo = "" }), assertion.ReasonUnsolicited},
		{"no request of the response", idptest.SAMLFault{Response: func(r *saml.Response) { r.InResponseTo = "" }}, assertion.ReasonUnsolicited},

		// Whom it names.
		{"a name that changes", edit(nameID(saml.TransientNameIDFormat, "x1")), assertion.ReasonSubject},
		{"a name of a kilobyte", edit(nameID(saml.PersistentNameIDFormat, strings.Repeat("x", 1025))), assertion.ReasonSubject},
		{"an empty name", edit(nameID(saml.PersistentNameIDFormat, " ")), assertion.ReasonSubject},
		{"no address", idptest.SAMLFault{Assertion: func(a *saml.Assertion) { nameID(saml.PersistentNameIDFormat, "00u1")(a); a.AttributeStatements = nil }}, assertion.ReasonNoUserName},
		{"what is no address", idptest.SAMLFault{Assertion: func(a *saml.Assertion) {
			nameID(saml.EmailAddressNameIDFormat, "ana")(a)
			a.AttributeStatements = []saml.AttributeStatement{{Attributes: []saml.Attribute{idptest.Attribute("email", "ana"), idptest.Attribute("mail", "a@b@c")}}}
		}}, assertion.ReasonNoUserName},
		{"two addresses", idptest.SAMLFault{Assertion: func(a *saml.Assertion) {
			nameID(saml.PersistentNameIDFormat, "00u1")(a)
			a.AttributeStatements = []saml.AttributeStatement{{Attributes: []saml.Attribute{idptest.Attribute("email", "ana@example.com", idptest.Intruder)}}}
		}}, assertion.ReasonNoUserName},

		// No to begin with.
		{"the identity provider says no", idptest.SAMLFault{Response: func(r *saml.Response) {
			r.Status = saml.Status{
				StatusCode:    saml.StatusCode{Value: saml.StatusResponder, StatusCode: &saml.StatusCode{Value: saml.StatusAuthnFailed}},
				StatusMessage: &saml.StatusMessage{Value: "wrong password"},
			}
		}}, assertion.ReasonDenied},
		{"encrypted, and we have no key", idptest.SAMLFault{Encrypt: idptest.EncryptGCM}, assertion.ReasonEncrypted},
		{"no XML", idptest.SAMLFault{Document: func(string) string { return "hello" }}, assertion.ReasonMalformed},
		{"nothing", idptest.SAMLFault{Document: func(string) string { return "" }}, assertion.ReasonMalformed},
		{"XML that breaks off", idptest.SAMLFault{Document: func(s string) string { return s[:len(s)/2] }}, assertion.ReasonMalformed},
		{"a document type", idptest.SAMLFault{Document: func(s string) string { return "<!DOCTYPE r>" + s }}, assertion.ReasonMalformed},
		{"entities", idptest.SAMLFault{Document: func(s string) string {
			return `<!DOCTYPE r [<!ENTITY a "ana@example.com"><!ENTITY b "&a;&a;&a;&a;">]>` + strings.ReplaceAll(s, "ana@example.com", "&b;")
		}}, assertion.ReasonMalformed},
		{"an entity of a file", idptest.SAMLFault{Document: func(s string) string {
			return `<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + strings.ReplaceAll(s, "ana@example.com", "&a;")
		}}, assertion.ReasonMalformed},
		{"an entity without a document type", document("ana@example.com", "&b;"), assertion.ReasonMalformed},
		{"a processing instruction", document("</saml:NameID>", "<?x y?></saml:NameID>"), assertion.ReasonMalformed},
		{"a second root", idptest.SAMLFault{Document: func(s string) string { return s + s }}, assertion.ReasonMalformed},
		{"text behind the root", idptest.SAMLFault{Document: func(s string) string { return s + "x" }}, assertion.ReasonMalformed},
		{"another root", tamper(func(r *etree.Element) { r.Tag = "ArtifactResponse" }), assertion.ReasonMalformed},
		{"an assertion alone", idptest.SAMLFault{Document: func(s string) string {
			from, to := strings.Index(s, "<saml:Assertion"), strings.Index(s, "</samlp:Response>")
			return s[from:to]
		}}, assertion.ReasonMalformed},
		{"deep", document("</samlp:Status>", strings.Repeat("<x>", 60)+strings.Repeat("</x>", 60)+"</samlp:Status>"), assertion.ReasonMalformed},
		{"wide", document("</samlp:Status>", strings.Repeat("<x/>", 6_001)+"</samlp:Status>"), assertion.ReasonMalformed},
		{"large", document("</samlp:Status>", strings.Repeat("x", 700<<10)+"</samlp:Status>"), assertion.ReasonMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, nil)
			a.idp.Misbehave(tc.fault)
			got := a.signIn(t)
			if got.Reason != tc.want || got.Assertion != nil {
				t.Errorf("refused: %q (%s), want %q; assertion %v", got.Reason, got.Detail, tc.want, got.Assertion)
			}
			if tc.want == assertion.ReasonDenied && !strings.Contains(got.Detail, "Responder, AuthnFailed: wrong password") {
				t.Errorf("the detail does not tell what the identity provider says: %s", got.Detail)
			}
			if tc.want == assertion.ReasonEncrypted && !strings.Contains(got.Detail, "sign_in.saml.certificate_file") {
				t.Errorf("the detail does not tell the remedy: %s", got.Detail)
			}
			if strings.Contains(got.Detail, "<saml") || len(got.Detail) > 1500 {
				t.Errorf("the detail quotes what was sent: %s", got.Detail)
			}
		})
	}
}

// TestTheNamedAttributeIsTheUserName: nothing else is, and it says one name.
func TestTheNamedAttributeIsTheUserName(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]idptest.SAMLFault{
		"absent, and the NameID is an address": {},
		"empty":                                attributes(idptest.Attribute("upn", " ")),
		"two values":                           attributes(idptest.Attribute("upn", "ana@example.com", idptest.Intruder)),
		"said twice":                           attributes(idptest.Attribute("upn", "ana@example.com"), idptest.Attribute("upn", idptest.Intruder)),
		"with blanks":                          attributes(idptest.Attribute("upn", "ana ito")),
		"very long":                            attributes(idptest.Attribute("upn", strings.Repeat("x", 257))),
	} {
		a := start(t, func(o *samlsp.Options) { o.Attributes.UserName = "upn" })
		a.idp.Misbehave(fault)
		if got := a.signIn(t); got.Reason != assertion.ReasonNoUserName || !strings.Contains(got.Detail, `"upn"`) {
			t.Errorf("%s: refused: %q (%s), want no_username that names the attribute", name, got.Reason, got.Detail)
		}
	}
}

// TestForms posts what no identity provider does.
func TestForms(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	b := a.browser(t)
	good := a.begin(t, b)
	for name, form := range map[string]url.Values{
		"empty":                {},
		"no response":          {"RelayState": {"x"}},
		"two responses":        {"SAMLResponse": {good.Get("SAMLResponse"), good.Get("SAMLResponse")}},
		"no base64":            {"SAMLResponse": {"<xml>"}},
		"an artifact":          {"SAMLart": {"AAQAAMh48"}},
		"a detached signature": {"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte("<x/>"))}, "SigAlg": {"x"}, "Signature": {"x"}},
	} {
		if got := a.finish(t, b, form); got.Reason != assertion.ReasonMalformed {
			t.Errorf("%s: %q (%s), want malformed", name, got.Reason, got.Detail)
		}
	}
	page, err := b.Get(a.URL + assertion.PathSAMLAnswer + "?" + good.Encode())
	if err != nil || !strings.Contains(page.Body, `"malformed"`) {
		t.Errorf("as a link: %v, %v; want malformed", page, err)
	}
	page, err = b.Post(a.URL+assertion.PathSAMLAnswer+"?"+good.Encode(), url.Values{})
	if err != nil || !strings.Contains(page.Body, `"malformed"`) {
		t.Errorf("in the address: %v, %v; want malformed", page, err)
	}
	if got := a.finish(t, b, good); got.Assertion == nil {
		t.Errorf("the sign-in that was begun is spoilt: %s", got.Detail)
	}
}

// TestBrowsers plays sign-ins of two people against each other.
func TestBrowsers(t *testing.T) {
	t.Parallel()
	refuse := func(t *testing.T, got outcome, want assertion.Reason) {
		t.Helper()
		if got.Reason != want || got.Assertion != nil {
			t.Errorf("refused: %q (%s), want %q", got.Reason, got.Detail, want)
		}
	}
	t.Run("an assertion is used once", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b := a.browser(t)
		form := a.begin(t, b)
		if got := a.finish(t, b, form); got.Assertion == nil {
			t.Fatal(got.Detail)
		}
		refuse(t, a.finish(t, b, form), assertion.ReasonReplayed)
	})
	t.Run("a stolen assertion, in a browser that asked for one too", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		victim := a.browser(t)
		stolen := a.begin(t, victim)
		thief := a.browser(t)
		a.begin(t, thief)
		refuse(t, a.finish(t, thief, stolen), assertion.ReasonBrowser)
	})
	t.Run("somebody else's assertion, in a browser without cookies", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		refuse(t, a.finish(t, a.browser(t), a.begin(t, a.browser(t))), assertion.ReasonBrowser)
	})
	t.Run("an assertion for one request in a response to another", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b := a.browser(t)
		first := a.begin(t, b)
		second := a.begin(t, b)
		refuse(t, a.finish(t, b, answerTo(t, first, second)), assertion.ReasonUnsolicited)
	})
	t.Run("two tabs of one browser", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b := a.browser(t)
		first, second := a.begin(t, b), a.begin(t, b)
		for _, form := range []url.Values{second, first} {
			if got := a.finish(t, b, form); got.Assertion == nil {
				t.Error(got.Detail)
			}
		}
	})
	t.Run("many at once get it once", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b := a.browser(t)
		form := a.begin(t, b)
		const posts = 8
		got := make(chan string, posts)
		for range posts {
			go func() {
				page, err := b.Post(a.URL+assertion.PathSAMLAnswer, form)
				if err != nil {
					got <- err.Error()
					return
				}
				got <- page.Body
			}()
		}
		believed := 0
		for range posts {
			switch body := <-got; {
			case strings.Contains(body, `"UserName":"ana@example.com"`):
				believed++
			case !strings.Contains(body, `"replayed"`):
				t.Errorf("got %s, want replayed", body)
			}
		}
		if believed != 1 {
			t.Errorf("believed %d times, want once", believed)
		}
	})
}

// answerTo has the response of one form say that it answers the request of another. Responses are not signed here.
func answerTo(t *testing.T, form, other url.Values) url.Values {
	t.Helper()
	request := func(f url.Values) (text, id string) {
		raw, err := base64.StdEncoding.DecodeString(f.Get("SAMLResponse"))
		if err != nil {
			t.Fatal(err)
		}
		document := etree.NewDocument()
		if err := document.ReadFromBytes(raw); err != nil {
			t.Fatal(err)
		}
		return string(raw), document.Root().SelectAttrValue("InResponseTo", "")
	}
	text, own := request(form)
	_, another := request(other)
	text = strings.Replace(text, own, another, 1) // the response's comes first
	return url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(text))}}
}

// TestReplicas: what one process believed, another one with the same memory does not.
func TestReplicas(t *testing.T) {
	t.Parallel()
	idp, memory := idptest.SAML(t), &idptest.Memory{}
	first := startAt(t, idp, memory, nil)
	// The second stands behind the same address.
	second := startAt(t, idp, memory, func(o *samlsp.Options) { o.BaseURL = first.URL })
	b := first.browser(t)
	form := first.begin(t, b)
	if got := first.finish(t, b, form); got.Assertion == nil {
		t.Fatal(got.Detail)
	}
	other := idptest.NewBrowser(second.Certificate())
	t.Cleanup(other.Close)
	if got := second.finish(t, other, form); got.Reason != assertion.ReasonReplayed {
		t.Errorf("refused: %q (%s), want replayed", got.Reason, got.Detail)
	}
}

func TestASignInWaitsTenMinutes(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]assertion.Reason{9 * time.Minute: "", 11 * time.Minute: assertion.ReasonUnsolicited} {
		a := start(t, nil)
		// The request reaches the identity provider at once; there, the person takes their time.
		a.idp.Misbehave(idptest.SAMLFault{
			Assertion: func(s *saml.Assertion) { shift(s, wait) },
			Response:  func(r *saml.Response) { r.IssueInstant = r.IssueInstant.Add(wait) },
		})
		b := a.browser(t)
		form := a.begin(t, b)
		a.ahead.Store(int64(wait))
		if got := a.finish(t, b, form); got.Reason != want {
			t.Errorf("after %s: refused: %q (%s), want %q", wait, got.Reason, got.Detail, want)
		}
	}
}

// TestInitiated: assertions that nobody asked for.
func TestInitiated(t *testing.T) {
	t.Parallel()
	allow := func(o *samlsp.Options) { o.AllowInitiated = true }
	t.Run("refused by default", func(t *testing.T) {
		t.Parallel()
		a := start(t, nil)
		b := a.browser(t)
		if got := a.finish(t, b, a.initiated(t, b, "")); got.Reason != assertion.ReasonUnsolicited {
			t.Errorf("refused: %q (%s), want unsolicited", got.Reason, got.Detail)
		}
	})
	t.Run("allowed, once", func(t *testing.T) {
		t.Parallel()
		for relay, want := range map[string]string{"": "/", "/runs": "/runs", "https://evil.example": "/", "//evil.example": "/"} {
			a := start(t, allow)
			b := a.browser(t)
			form := a.initiated(t, b, relay)
			if got := a.finish(t, b, form); got.Assertion == nil || got.Assertion.ReturnTo != want || got.Assertion.UserName != "ana@example.com" {
				t.Errorf("%q: %+v (%s), want to return to %s", relay, got.Assertion, got.Detail, want)
			}
			if got := a.finish(t, a.browser(t), form); got.Reason != assertion.ReasonReplayed {
				t.Errorf("again: %q (%s), want replayed", got.Reason, got.Detail)
			}
		}
	})
	t.Run("allowed, and asked for in another browser", func(t *testing.T) {
		t.Parallel()
		a := start(t, allow)
		if got := a.finish(t, a.browser(t), a.begin(t, a.browser(t))); got.Reason != assertion.ReasonBrowser {
			t.Errorf("refused: %q (%s), want browser", got.Reason, got.Detail)
		}
	})
	t.Run("allowed, and the response says that nobody asked", func(t *testing.T) {
		t.Parallel()
		a := start(t, allow)
		a.idp.Misbehave(idptest.SAMLFault{Response: func(r *saml.Response) { r.InResponseTo = "" }})
		if got := a.finish(t, a.browser(t), a.begin(t, a.browser(t))); got.Reason != assertion.ReasonUnsolicited {
			t.Errorf("refused: %q (%s), want unsolicited", got.Reason, got.Detail)
		}
	})
}

// TestBegin looks at what the browser is sent away with.
func TestBegin(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	page, err := a.browser(t).Get(a.URL + assertion.PathSAML + "?return_to=//evil.example")
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != http.StatusFound || !strings.HasPrefix(page.Location, a.idp.URL+"/sso?SAMLRequest=") || strings.Contains(page.Location, "RelayState") {
		t.Errorf("Begin redirects to %d %s", page.Status, page.Location)
	}
	cookies := page.Header.Values("Set-Cookie")
	if len(cookies) != 1 || !strings.HasPrefix(cookies[0], "__Host-idpsync-saml=") || !strings.Contains(cookies[0], "SameSite=None") || !strings.Contains(cookies[0], "Secure") || !strings.Contains(cookies[0], "HttpOnly") {
		t.Errorf("cookies = %q", cookies)
	}
	if page.Header.Get("Cache-Control") != "no-store" {
		t.Error("the redirection may be kept in a cache")
	}
	b := a.browser(t)
	back := a.finish(t, b, a.form(t, b, a.URL+assertion.PathSAML+"?return_to=//evil.example"))
	if back.Assertion == nil || back.Assertion.ReturnTo != "/" {
		t.Errorf("%+v (%s), want to return to /", back.Assertion, back.Detail)
	}
}

// TestPlainLoopback signs in to an application without TLS, as one tries things out.
func TestPlainLoopback(t *testing.T) {
	t.Parallel()
	a := startWith(t, idptest.SAML(t), &idptest.Memory{}, httptest.NewServer, nil)
	b := idptest.NewBrowser(a.idp.CA)
	t.Cleanup(b.Close)
	form := a.begin(t, b)
	if got := a.finish(t, b, form); got.Assertion == nil {
		t.Error(got.Detail)
	}
	other := idptest.NewBrowser(a.idp.CA)
	t.Cleanup(other.Close)
	if got := a.finish(t, other, a.begin(t, b)); got.Reason != assertion.ReasonBrowser {
		t.Errorf("refused: %q (%s), want browser", got.Reason, got.Detail)
	}
}

// TestMemoryFails: what cannot be remembered is neither begun nor believed.
func TestMemoryFails(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	b := a.browser(t)
	form := a.begin(t, b)
	a.memory.Fail(errors.New("the database is away"))
	page, err := b.Get(a.URL + assertion.PathSAML)
	if err != nil || !strings.Contains(page.Body, "the database is away") || page.Location != "" {
		t.Errorf("Begin: %v, %v", page, err)
	}
	if got := a.finish(t, b, form); got.Assertion != nil || got.Reason != "" || got.Unavailable || !strings.Contains(got.Detail, "the database is away") {
		t.Errorf("Finish: %+v", got)
	}
	a.memory.Fail(nil)
	if got := a.finish(t, b, form); got.Assertion == nil {
		t.Errorf("and back: %s", got.Detail)
	}
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	idp := idptest.SAML(t)
	file := filepath.Join(t.TempDir(), "metadata.xml")
	page, err := browserOf(t, idp).Get(idp.MetadataURL())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(page.Body), 0o600); err != nil {
		t.Fatal(err)
	}
	good := samlsp.Options{MetadataFile: file, BaseURL: "https://a.example", Memory: &idptest.Memory{}}
	if p, err := samlsp.New(good); err != nil || p.Name() != assertion.SAML {
		t.Errorf("New = %v, %v", p, err)
	}
	for name, change := range map[string]func(*samlsp.Options){
		"metadata":             func(o *samlsp.Options) { o.MetadataFile = "" },
		"one metadata":         func(o *samlsp.Options) { o.MetadataURL = "https://idp.example" },
		"the file":             func(o *samlsp.Options) { o.MetadataFile += ".none" },
		"metadata in the file": func(o *samlsp.Options) { o.MetadataFile = idptest.WriteCA(t, idp.CA) },
		"base":                 func(o *samlsp.Options) { o.BaseURL = "" },
		"TLS":                  func(o *samlsp.Options) { o.BaseURL = "http://a.example" },
		"memory":               func(o *samlsp.Options) { o.Memory = nil },
		"authority":            func(o *samlsp.Options) { o.CAFile = file + ".none" },
		"key":                  func(o *samlsp.Options) { o.CertificateFile = file },
	} {
		o := good
		change(&o)
		if _, err := samlsp.New(o); err == nil {
			t.Errorf("New without %s = nil", name)
		}
	}
}

func browserOf(t *testing.T, idp *idptest.SAMLServer) *idptest.Browser {
	t.Helper()
	b := idptest.NewBrowser(idp.CA)
	t.Cleanup(b.Close)
	return b
}
