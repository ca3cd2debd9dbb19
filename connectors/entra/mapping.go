package entra

import (
	"slices"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// mappingVersion changes whenever records state the same person otherwise than before: checkpoints of an older mapping
// are not continued.
const mappingVersion = 1

// Attributes by their place in records. A record of a whole object states all of them, always in this order; one of a
// change states those that the change tells.
const (
	givenName = iota
	familyName
	displayName
	nickName
	title
	userType
	preferredLanguage
	workEmail
	otherEmail
	mobilePhone
	workPhone
	streetAddress
	city
	region
	postalCode
	country
	employeeNumber
	department
	division
	costCenter
	organization
	managerID
	attributes
)

var paths = [attributes]identity.Path{
	givenName:         identity.PathGivenName,
	familyName:        identity.PathFamilyName,
	displayName:       identity.PathDisplayName,
	nickName:          {Attr: "nickName"},
	title:             {Attr: "title"},
	userType:          {Attr: "userType"},
	preferredLanguage: {Attr: "preferredLanguage"},
	workEmail:         {Attr: "emails", Type: "work", Sub: "value"},
	otherEmail:        {Attr: "emails", Type: "other", Sub: "value"},
	mobilePhone:       {Attr: "phoneNumbers", Type: "mobile", Sub: "value"},
	workPhone:         {Attr: "phoneNumbers", Type: "work", Sub: "value"},
	streetAddress:     {Attr: "addresses", Type: "work", Sub: "streetAddress"},
	city:              {Attr: "addresses", Type: "work", Sub: "locality"},
	region:            {Attr: "addresses", Type: "work", Sub: "region"},
	postalCode:        {Attr: "addresses", Type: "work", Sub: "postalCode"},
	country:           {Attr: "addresses", Type: "work", Sub: "country"},
	employeeNumber:    {Schema: identity.EnterpriseURN, Attr: "employeeNumber"},
	department:        {Schema: identity.EnterpriseURN, Attr: "department"},
	division:          {Schema: identity.EnterpriseURN, Attr: "division"},
	costCenter:        {Schema: identity.EnterpriseURN, Attr: "costCenter"},
	organization:      {Schema: identity.EnterpriseURN, Attr: "organization"},
	managerID:         {Schema: identity.EnterpriseURN, Attr: "manager", Sub: "value"},
}

// selectUser lists the properties of a user that are read, the manager left out, which is a relationship.
func selectUser() []string {
	return []string{
		"id", "userPrincipalName", "accountEnabled", "userType", "mail", "proxyAddresses", "otherMails", "givenName", "surname", "displayName",
		"mailNickname", "jobTitle", "employeeType", "preferredLanguage", "mobilePhone", "businessPhones", "streetAddress", "city", "state",
		"postalCode", "country", "employeeId", "department", "employeeOrgData", "companyName",
	}
}

// guest tells whether the user is known to be a guest. The user principal name does not tell: members may have #EXT# in it.
func (u *user) guest() bool { return strings.EqualFold(u.UserType.value, "Guest") }

// external tells whether the user principal name was made up for somebody from elsewhere.
func (u *user) external() bool {
	return strings.Contains(strings.ToUpper(u.UserPrincipalName.value), "#EXT#")
}

// settled tells whether the object tells all that was ever set, so that what it lacks was never set: Graph's change rounds
// are like that unless asked for less. That it has the user principal name and accountEnabled, which everybody has and which
// hardly ever change at once, shows it. It decides between the sources of one value; of the others what is absent is not
// stated all the same.
func (u *user) settled() bool { return u.UserPrincipalName.known && u.AccountEnabled.known }

// userName is the user principal name, or of a guest from elsewhere, whose user principal name is made up, the mail
// address. ok is false where a change does not tell what it is.
func (u *user) userName() (name string, ok bool) {
	switch {
	case !u.UserPrincipalName.known:
		return "", !u.Mail.known && !u.UserType.known
	case !u.external():
		return u.UserPrincipalName.value, true
	case !u.UserType.known && !u.settled():
		return u.UserPrincipalName.value, false
	case !u.guest():
		return u.UserPrincipalName.value, true
	case u.Mail.value != "":
		return u.Mail.value, true
	}
	return u.UserPrincipalName.value, u.Mail.known || u.settled()
}

// workEmail is mail, or where there is none the primary one of proxyAddresses.
func (u *user) workEmail() (address string, stated, ok bool) {
	switch {
	case !u.Mail.known && !u.ProxyAddresses.known:
		return "", false, true
	case u.Mail.value != "":
		return u.Mail.value, true, true
	case u.settled(), u.Mail.known && u.ProxyAddresses.known:
		return proxy(u.ProxyAddresses.values, "SMTP:", ""), true, true
	}
	return "", false, false
}

// otherEmail is the first of otherMails, or where there is none an alias of proxyAddresses.
func (u *user) otherEmail() (address string, stated, ok bool) {
	switch {
	case !u.OtherMails.known && !u.ProxyAddresses.known:
		return "", false, true
	case u.OtherMails.first() != "":
		return u.OtherMails.first(), true, true
	case u.settled(), u.OtherMails.known && u.ProxyAddresses.known:
		work, _, _ := u.workEmail()
		return proxy(u.ProxyAddresses.values, "smtp:", work), true, true
	}
	return "", false, false
}

// proxy returns an address of proxyAddresses: SMTP: is the primary one, smtp: are aliases, of which the first by alphabet
// counts, because Graph lists them in any order.
func proxy(addresses []string, prefix, not string) string {
	var found []string
	for _, a := range addresses {
		if address, ok := strings.CutPrefix(a, prefix); ok && address != "" && !strings.EqualFold(address, not) {
			found = append(found, address)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.Min(found)
}

// mapper makes records of users.
type mapper struct {
	readAt time.Time
	slab   []identity.Stated // a few dozen records' attributes at a time
}

// whole makes the record of a whole object, in which absent and null both mean that there is nothing (of the manager, see
// user.manager). An object that does
// not even tell whether the account is enabled is not one that the credential may read whole: of it only values count.
func (m *mapper) whole(u *user) identity.Record {
	limited := !u.AccountEnabled.told
	u.fill()
	r, _ := m.change(u)
	if limited {
		r.Status = identity.StatusUnknown
		r.Attributes = slices.DeleteFunc(r.Attributes, func(s identity.Stated) bool { return s.Value == nil })
	}
	return r
}

// change makes the record of what a change tells. ok is false where it tells a part of what a value is made from: only the
// whole object tells the value then.
func (m *mapper) change(u *user) (r identity.Record, ok bool) {
	name, ok1 := u.userName()
	work, workStated, ok2 := u.workEmail()
	other, otherStated, ok3 := u.otherEmail()
	const slabRecords = 20
	if cap(m.slab)-len(m.slab) < attributes {
		m.slab = make([]identity.Stated, 0, attributes*slabRecords)
	}
	first := len(m.slab)
	state := func(attribute int, stated bool, value string) {
		if !stated {
			return
		}
		s := identity.Stated{Path: paths[attribute]}
		if value != "" {
			s.Value = value
		}
		m.slab = append(m.slab, s)
	}
	text := func(attribute int, t text) { state(attribute, t.known, t.value) }
	text(givenName, u.GivenName)
	text(familyName, u.Surname)
	text(displayName, u.DisplayName)
	text(nickName, u.MailNickname)
	text(title, u.JobTitle)
	text(userType, u.EmployeeType)
	text(preferredLanguage, u.PreferredLanguage)
	state(workEmail, workStated, work)
	state(otherEmail, otherStated, other)
	text(mobilePhone, u.MobilePhone)
	state(workPhone, u.BusinessPhones.known, u.BusinessPhones.first())
	text(streetAddress, u.StreetAddress)
	text(city, u.City)
	text(region, u.State)
	text(postalCode, u.PostalCode)
	text(country, u.Country)
	text(employeeNumber, u.EmployeeID)
	text(department, u.Department)
	state(division, u.EmployeeOrgData.known, u.EmployeeOrgData.Division)
	state(costCenter, u.EmployeeOrgData.known, u.EmployeeOrgData.CostCenter)
	text(organization, u.CompanyName)
	manager, managerStated := u.manager()
	state(managerID, managerStated, manager)
	r = identity.Record{
		SourceID: u.key.String(), ExternalID: u.key.String(), UserName: name, Attributes: m.slab[first:len(m.slab):len(m.slab)], ReadAt: m.readAt,
	}
	r.Status, r.RawStatus = u.status()
	return r, ok1 && ok2 && ok3
}

// status translates accountEnabled. Null says nothing about the account, absent that nothing about it changed.
func (u *user) status() (identity.Status, string) {
	switch e := u.AccountEnabled; {
	case !e.known:
		return "", ""
	case !e.told:
		return identity.StatusUnknown, "accountEnabled null"
	case e.value:
		return identity.StatusActive, "enabled"
	}
	return identity.StatusInactive, "disabled"
}
