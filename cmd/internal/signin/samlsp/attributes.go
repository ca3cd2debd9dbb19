package samlsp

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/crewjam/saml"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

// Attributes says where an assertion says what. A name is that of an attribute, or its friendly name; "" is what is in
// common use.
type Attributes struct {
	UserName    string // the e-mail address; "" for the NameID if it is one, else a well-known attribute
	GivenName   string
	FamilyName  string
	DisplayName string
	Groups      string // "groups" means Entra ID's claim, too; "" for none
}

const claims = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"

// Attributes in common use: claims of Entra ID and AD FS, X.500, and what Okta's administrators write.
func wellKnownAddresses() []string {
	return []string{claims + "emailaddress", claims + "name", claims + "upn", "urn:oid:0.9.2342.19200300.100.1.3", "email", "mail", "emailAddress"}
}

func wellKnownGivenNames() []string {
	return []string{claims + "givenname", "urn:oid:2.5.4.42", "givenName", "given_name", "firstName", "first_name"}
}

func wellKnownFamilyNames() []string {
	return []string{claims + "surname", "urn:oid:2.5.4.4", "familyName", "family_name", "lastName", "last_name", "surname", "sn"}
}

func wellKnownDisplayNames() []string {
	return []string{"http://schemas.microsoft.com/identity/claims/displayname", "urn:oid:2.16.840.1.113730.3.1.241", "displayName", "display_name"}
}

// Entra ID's claim of groups, and the one that it sends in its place where they are too many.
const (
	entraGroups     = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
	entraGroupsLink = "http://schemas.microsoft.com/claims/groups.link"
)

// person says what the assertion says.
func (names Attributes) person(a *saml.Assertion) (*assertion.Assertion, error) {
	id := a.Subject.NameID
	if id == nil || strings.TrimSpace(id.Value) == "" {
		return nil, refuse(assertion.ReasonSubject, "the assertion names nobody")
	}
	if len(id.Value) > 1024 {
		return nil, refuse(assertion.ReasonSubject, "the NameID has %d bytes, want 1024 at most", len(id.Value))
	}
	if id.Format == string(saml.TransientNameIDFormat) {
		return nil, refuse(assertion.ReasonSubject, "the NameID is transient, another one at each sign-in; have the identity provider send a persistent one, or the e-mail address")
	}
	stated := attributesOf(a)
	person := &assertion.Assertion{
		Provider: assertion.SAML, Issuer: a.Issuer.Value, Subject: strings.TrimSpace(id.Value),
		GivenName:   line(stated.first(names.GivenName, wellKnownGivenNames())),
		FamilyName:  line(stated.first(names.FamilyName, wellKnownFamilyNames())),
		DisplayName: line(stated.first(names.DisplayName, wellKnownDisplayNames())),
	}
	var err error
	if person.UserName, err = names.userName(person.Subject, stated); err != nil {
		return nil, err
	}
	person.Groups, person.GroupsStated = names.groups(stated)
	for _, statement := range a.AuthnStatements {
		if person.SessionIndex == "" {
			person.SessionIndex = line(statement.SessionIndex)
		}
		if until := statement.SessionNotOnOrAfter; until != nil && (person.NotOnOrAfter.IsZero() || until.Before(person.NotOnOrAfter)) {
			person.NotOnOrAfter = until.UTC().Truncate(time.Microsecond)
		}
	}
	return person, nil
}

func (names Attributes) userName(nameID string, stated attributes) (string, error) {
	if names.UserName == "" {
		if isAddress(nameID) {
			return nameID, nil
		}
		for _, name := range wellKnownAddresses() {
			if values := stated.values(name); len(values) == 1 && isAddress(values[0]) {
				return values[0], nil
			}
		}
		return "", refuse(assertion.ReasonNoUserName, "neither the NameID (%q) nor a well-known attribute is one e-mail address; there are %s; name one with sign_in.saml.user_name", short(nameID), stated.names())
	}
	values := stated.values(names.UserName)
	switch {
	case len(values) == 0:
		return "", refuse(assertion.ReasonNoUserName, "there is no attribute %q with a value; there are %s", names.UserName, stated.names())
	case len(values) > 1:
		return "", refuse(assertion.ReasonNoUserName, "the attribute %q has %d values, want one", names.UserName, len(values))
	case len(values[0]) > 256 || strings.ContainsFunc(values[0], blank):
		return "", refuse(assertion.ReasonNoUserName, "the attribute %q has blanks, or more than 256 bytes", names.UserName)
	}
	return values[0], nil
}

// groups returns what is said of groups, if something is.
func (names Attributes) groups(stated attributes) ([]string, bool) {
	if names.Groups == "" || stated.has(entraGroupsLink) {
		return nil, false
	}
	for _, name := range []string{names.Groups, entraGroups} {
		if stated.has(name) && (name == names.Groups || names.Groups == "groups") {
			return slices.Clone(stated.values(name)), true
		}
	}
	return nil, false
}

// attributes are those of all statements, in order.
type attributes []saml.Attribute

func attributesOf(a *saml.Assertion) attributes {
	var all attributes
	for _, statement := range a.AttributeStatements {
		all = append(all, statement.Attributes...)
	}
	return all
}

func (as attributes) has(name string) bool {
	return slices.ContainsFunc(as, func(a saml.Attribute) bool { return a.Name == name || a.FriendlyName == name })
}

// values returns the values of the attributes of that name, without blanks around them, and without those that are
// nothing else. An attribute's own name goes before a friendly one, which nobody guards.
func (as attributes) values(name string) []string {
	for _, named := range []func(saml.Attribute) bool{
		func(a saml.Attribute) bool { return a.Name == name },
		func(a saml.Attribute) bool { return a.FriendlyName == name },
	} {
		found, values := false, []string{}
		for _, a := range as {
			if !named(a) {
				continue
			}
			found = true
			for _, v := range a.Values {
				if text := strings.TrimSpace(v.Value); text != "" {
					values = append(values, text)
				}
			}
		}
		if found {
			return values
		}
	}
	return nil
}

// first returns the first value of the attribute named, or where none is, of the first one that there is.
func (as attributes) first(name string, wellKnown []string) string {
	if name != "" {
		wellKnown = []string{name}
	}
	for _, name := range wellKnown {
		if values := as.values(name); len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// names lists the attributes' names for an operator.
func (as attributes) names() string {
	if len(as) == 0 {
		return "no attributes"
	}
	var b strings.Builder
	for i, a := range as[:min(len(as), 20)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(line(short(a.Name)))
	}
	return b.String()
}

func blank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// isAddress tells whether the text has the looks of an e-mail address.
func isAddress(text string) bool {
	local, domain, ok := strings.Cut(text, "@")
	return ok && local != "" && domain != "" && !strings.Contains(domain, "@") && len(text) <= 256 && !strings.ContainsFunc(text, blank)
}

// line returns a text of one line for people to read, or "".
func line(text string) string {
	if len(text) > 256 || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}
