package okta

import "github.com/idpsync/idpsync/store/identity"

// Attributes of an Okta profile by their place in records. A record states all of them, always in this order: an
// Okta user object is whole, so what it lacks or has as null is cleared.
const (
	firstName = iota
	lastName
	middleName
	honorificPrefix
	honorificSuffix
	displayName
	nickName
	title
	userType
	preferredLanguage
	locale
	timezone
	email
	secondEmail
	mobilePhone
	primaryPhone
	streetAddress
	city
	state
	zipCode
	countryCode
	employeeNumber
	costCenter
	organization
	division
	department
	managerID
	manager
	attributes
)

var paths = [attributes]identity.Path{
	firstName:         identity.PathGivenName,
	lastName:          identity.PathFamilyName,
	middleName:        {Attr: "name", Sub: "middleName"},
	honorificPrefix:   {Attr: "name", Sub: "honorificPrefix"},
	honorificSuffix:   {Attr: "name", Sub: "honorificSuffix"},
	displayName:       identity.PathDisplayName,
	nickName:          {Attr: "nickName"},
	title:             {Attr: "title"},
	userType:          {Attr: "userType"},
	preferredLanguage: {Attr: "preferredLanguage"},
	locale:            {Attr: "locale"},
	timezone:          {Attr: "timezone"},
	email:             {Attr: "emails", Type: "work", Sub: "value"},
	secondEmail:       {Attr: "emails", Type: "other", Sub: "value"},
	mobilePhone:       {Attr: "phoneNumbers", Type: "mobile", Sub: "value"},
	primaryPhone:      {Attr: "phoneNumbers", Type: "work", Sub: "value"},
	streetAddress:     {Attr: "addresses", Type: "work", Sub: "streetAddress"},
	city:              {Attr: "addresses", Type: "work", Sub: "locality"},
	state:             {Attr: "addresses", Type: "work", Sub: "region"},
	zipCode:           {Attr: "addresses", Type: "work", Sub: "postalCode"},
	countryCode:       {Attr: "addresses", Type: "work", Sub: "country"},
	employeeNumber:    {Schema: identity.EnterpriseURN, Attr: "employeeNumber"},
	costCenter:        {Schema: identity.EnterpriseURN, Attr: "costCenter"},
	organization:      {Schema: identity.EnterpriseURN, Attr: "organization"},
	division:          {Schema: identity.EnterpriseURN, Attr: "division"},
	department:        {Schema: identity.EnterpriseURN, Attr: "department"},
	managerID:         {Schema: identity.EnterpriseURN, Attr: "manager", Sub: "value"},
	manager:           {Schema: identity.EnterpriseURN, Attr: "manager", Sub: "displayName"},
}

// slot returns the place of a profile attribute, or -1 for one that is not mapped.
func slot(name []byte) int {
	switch string(name) {
	case "firstName":
		return firstName
	case "lastName":
		return lastName
	case "middleName":
		return middleName
	case "honorificPrefix":
		return honorificPrefix
	case "honorificSuffix":
		return honorificSuffix
	case "displayName":
		return displayName
	case "nickName":
		return nickName
	case "title":
		return title
	case "userType":
		return userType
	case "preferredLanguage":
		return preferredLanguage
	case "locale":
		return locale
	case "timezone":
		return timezone
	case "email":
		return email
	case "secondEmail":
		return secondEmail
	case "mobilePhone":
		return mobilePhone
	case "primaryPhone":
		return primaryPhone
	case "streetAddress":
		return streetAddress
	case "city":
		return city
	case "state":
		return state
	case "zipCode":
		return zipCode
	case "countryCode":
		return countryCode
	case "employeeNumber":
		return employeeNumber
	case "costCenter":
		return costCenter
	case "organization":
		return organization
	case "division":
		return division
	case "department":
		return department
	case "managerId":
		return managerID
	case "manager":
		return manager
	}
	return -1
}

const deprovisioned = "DEPROVISIONED"

// status translates Okta's user status and gives the word back. The credential states leave assignments intact:
// they are active.
func status(t text) (identity.Status, string) {
	switch word := string(t.raw); word {
	case "STAGED":
		return identity.StatusPending, "STAGED"
	case "PROVISIONED":
		return identity.StatusActive, "PROVISIONED"
	case "ACTIVE":
		return identity.StatusActive, "ACTIVE"
	case "RECOVERY", "PASSWORD_EXPIRED", "LOCKED_OUT":
		return identity.StatusActive, word
	case "SUSPENDED":
		return identity.StatusInactive, "SUSPENDED"
	case deprovisioned:
		return identity.StatusGone, deprovisioned
	}
	return identity.StatusUnknown, t.String()
}
