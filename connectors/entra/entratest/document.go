package entratest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// set is a set of properties by their number in a schema.
type set uint64

// Bits that are no property's.
const (
	bitID       set = 1 << 62
	bitRelation set = 1 << 63 // manager of a user, members of a group
	everything  set = 1<<64 - 1
)

// schema lists the properties of a type.
type schema struct {
	names    []string
	keys     []string         // `"name":`
	empty    []string         // what a read says of a property that was never set
	numbers  map[string]uint8 // by name in lower case
	defaults set
	relation string
}

// newSchema reads names, the default properties first and then, after a "|", the others. A name that ends in [] is a
// collection's.
func newSchema(relation, text string) *schema {
	s := &schema{numbers: map[string]uint8{}, relation: relation}
	more := false
	for name := range strings.FieldsSeq(text) {
		if name == "|" {
			more = true
			continue
		}
		name, list := strings.CutSuffix(name, "[]")
		n := len(s.names)
		s.names = append(s.names, name)
		s.keys = append(s.keys, `"`+name+`":`)
		s.empty = append(s.empty, map[bool]string{false: "null", true: "[]"}[list])
		s.numbers[strings.ToLower(name)] = uint8(n)
		if !more {
			s.defaults |= 1 << n
		}
	}
	s.defaults |= bitID
	return s
}

var (
	userSchema = newSchema("manager", `businessPhones[] displayName givenName jobTitle mail mobilePhone officeLocation
		preferredLanguage surname userPrincipalName | accountEnabled ageGroup assignedLicenses[] assignedPlans[] city
		companyName consentProvidedForMinor country createdDateTime creationType deletedDateTime department employeeHireDate
		employeeId employeeLeaveDateTime employeeOrgData employeeType externalUserState externalUserStateChangeDateTime
		faxNumber identities[] imAddresses[] lastPasswordChangeDateTime legalAgeGroupClassification mailNickname
		onPremisesDistinguishedName onPremisesDomainName onPremisesExtensionAttributes onPremisesImmutableId
		onPremisesLastSyncDateTime onPremisesSamAccountName onPremisesSecurityIdentifier onPremisesSyncEnabled
		onPremisesUserPrincipalName otherMails[] passwordPolicies postalCode proxyAddresses[] securityIdentifier
		showInAddressList signInSessionsValidFromDateTime state streetAddress usageLocation userType`)
	groupSchema = newSchema("members", `classification createdDateTime creationOptions[] deletedDateTime description
		displayName expirationDateTime groupTypes[] isAssignableToRole mail mailEnabled mailNickname membershipRule
		membershipRuleProcessingState onPremisesDomainName onPremisesLastSyncDateTime onPremisesNetBiosName
		onPremisesProvisioningErrors[] onPremisesSamAccountName onPremisesSecurityIdentifier onPremisesSyncEnabled
		preferredDataLocation preferredLanguage proxyAddresses[] renewedDateTime resourceBehaviorOptions[]
		resourceProvisioningOptions[] securityEnabled securityIdentifier serviceProvisioningErrors[] theme visibility |
		hideFromAddressLists hideFromOutlookClients`)
	deviceSchema    = newSchema("", `deletedDateTime accountEnabled deviceId displayName operatingSystem operatingSystemVersion trustType`)
	contactSchema   = newSchema("", `businessPhones[] companyName deletedDateTime displayName givenName mail proxyAddresses[] surname`)
	principalSchema = newSchema("", `deletedDateTime accountEnabled alternativeNames[] appDescription appDisplayName appId
		appOwnerOrganizationId appRoleAssignmentRequired createdDateTime description displayName homepage loginUrl logoutUrl
		notes notificationEmailAddresses[] preferredSingleSignOnMode replyUrls[] servicePrincipalNames[]
		servicePrincipalType signInAudience tags[] addIns[] appRoles[] keyCredentials[] oauth2PermissionScopes[]
		passwordCredentials[]`)
)

// number returns the number of the property.
func (s *schema) number(name string) (uint8, bool) {
	n, ok := s.numbers[strings.ToLower(name)]
	return n, ok
}

// bit returns the property's set.
func (s *schema) bit(name string) set {
	n, ok := s.number(name)
	if !ok {
		panic("entratest: there is no property " + name)
	}
	return 1 << n
}

// document holds the properties that were ever set, as JSON.
type document struct {
	fields []field // by property
	raw    []byte
}

type field struct {
	property uint8
	end      uint16 // of the value in raw
}

func (d document) get(property uint8) (value []byte, ok bool) {
	start := uint16(0)
	for _, f := range d.fields {
		if f.property == property {
			return d.raw[start:f.end], true
		}
		start = f.end
	}
	return nil, false
}

// with returns the document with the property set to the JSON value.
func (d document) with(property uint8, value []byte) document {
	changed := document{fields: make([]field, 0, len(d.fields)+1), raw: make([]byte, 0, len(d.raw)+len(value))}
	start, done := uint16(0), false
	for _, f := range d.fields {
		if !done && f.property >= property {
			changed.push(property, value)
			done = true
		}
		if f.property != property {
			changed.push(f.property, d.raw[start:f.end])
		}
		start = f.end
	}
	if !done {
		changed.push(property, value)
	}
	return changed
}

func (d *document) push(property uint8, value []byte) {
	d.raw = append(d.raw, value...)
	d.end(property)
}

// end ends the value of the property that was just appended to raw.
func (d *document) end(property uint8) {
	if len(d.raw) > 1<<16-1 {
		panic("entratest: an object of more than 64 KB")
	}
	d.fields = append(d.fields, field{property, uint16(len(d.raw))})
}

// compact gives up memory that is not needed.
func (d document) compact() document {
	return document{fields: slices.Clip(slices.Clone(d.fields)), raw: slices.Clip(slices.Clone(d.raw))}
}

// text returns a string property, "" for none.
func (d document) text(property uint8) string {
	value, _ := d.get(property)
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	var s string
	_ = json.Unmarshal(value, &s)
	return s
}

func (d document) toMap(s *schema) map[string]any {
	m := make(map[string]any, len(d.fields))
	start := uint16(0)
	for _, f := range d.fields {
		var v any
		_ = json.Unmarshal(d.raw[start:f.end], &v)
		m[s.names[f.property]] = v
		start = f.end
	}
	return m
}

// appendSet appends the selected properties that were ever set, each with a comma behind it.
func (d document) appendSet(b []byte, s *schema, selected set) []byte {
	start := uint16(0)
	for _, f := range d.fields {
		if selected&(1<<f.property) != 0 {
			b = append(b, s.keys[f.property]...)
			b = append(b, d.raw[start:f.end]...)
			b = append(b, ',')
		}
		start = f.end
	}
	return b
}

// appendAll appends all the selected properties, each with a comma behind it.
func (d document) appendAll(b []byte, s *schema, selected set) []byte {
	for n, key := range s.keys {
		if selected&(1<<n) == 0 {
			continue
		}
		b = append(b, key...)
		if value, ok := d.get(uint8(n)); ok && (s.empty[n] == "null" || string(value) != "null") {
			b = append(b, value...)
		} else {
			b = append(b, s.empty[n]...)
		}
		b = append(b, ',')
	}
	return b
}

// fill sets properties; what is nil and was never set stays so. It returns what changed.
func (d *document) fill(s *schema, values map[string]any) (changed set) {
	for name, v := range values {
		n, ok := s.number(name)
		if !ok {
			panic("entratest: there is no property " + name)
		}
		before, had := d.get(n)
		if v == nil && !had {
			continue
		}
		value := idptest.AppendValue(nil, v)
		if had && string(before) == string(value) {
			continue
		}
		*d = d.with(n, value)
		changed |= 1 << n
	}
	return changed
}

// appendString appends the string in JSON.
func appendString(b []byte, s string) []byte { return idptest.AppendString(b, s) }
