package okta

import "github.com/idpsync/idpsync/store/identity"

// mappingVersion changes whenever records state the same person otherwise than before: checkpoints of an older mapping
// are not continued.
const mappingVersion = 1

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

// profileOf is what is read of a user's profile.
type profileOf[T any] struct {
	Login             T `json:"login"`
	FirstName         T `json:"firstName"`
	LastName          T `json:"lastName"`
	MiddleName        T `json:"middleName"`
	HonorificPrefix   T `json:"honorificPrefix"`
	HonorificSuffix   T `json:"honorificSuffix"`
	DisplayName       T `json:"displayName"`
	NickName          T `json:"nickName"`
	Title             T `json:"title"`
	UserType          T `json:"userType"`
	PreferredLanguage T `json:"preferredLanguage"`
	Locale            T `json:"locale"`
	Timezone          T `json:"timezone"`
	Email             T `json:"email"`
	SecondEmail       T `json:"secondEmail"`
	MobilePhone       T `json:"mobilePhone"`
	PrimaryPhone      T `json:"primaryPhone"`
	StreetAddress     T `json:"streetAddress"`
	City              T `json:"city"`
	State             T `json:"state"`
	ZipCode           T `json:"zipCode"`
	CountryCode       T `json:"countryCode"`
	EmployeeNumber    T `json:"employeeNumber"`
	CostCenter        T `json:"costCenter"`
	Organization      T `json:"organization"`
	Division          T `json:"division"`
	Department        T `json:"department"`
	ManagerID         T `json:"managerId"`
	Manager           T `json:"manager"`
}

// values returns the attributes in their places.
func (p *profileOf[T]) values() [attributes]*T {
	return [attributes]*T{
		firstName:         &p.FirstName,
		lastName:          &p.LastName,
		middleName:        &p.MiddleName,
		honorificPrefix:   &p.HonorificPrefix,
		honorificSuffix:   &p.HonorificSuffix,
		displayName:       &p.DisplayName,
		nickName:          &p.NickName,
		title:             &p.Title,
		userType:          &p.UserType,
		preferredLanguage: &p.PreferredLanguage,
		locale:            &p.Locale,
		timezone:          &p.Timezone,
		email:             &p.Email,
		secondEmail:       &p.SecondEmail,
		mobilePhone:       &p.MobilePhone,
		primaryPhone:      &p.PrimaryPhone,
		streetAddress:     &p.StreetAddress,
		city:              &p.City,
		state:             &p.State,
		zipCode:           &p.ZipCode,
		countryCode:       &p.CountryCode,
		employeeNumber:    &p.EmployeeNumber,
		costCenter:        &p.CostCenter,
		organization:      &p.Organization,
		division:          &p.Division,
		department:        &p.Department,
		managerID:         &p.ManagerID,
		manager:           &p.Manager,
	}
}

const deprovisioned = "DEPROVISIONED"

// statusOf translates Okta's user status. The credential states leave assignments intact: they are active.
func statusOf(okta string) identity.Status {
	switch okta {
	case "STAGED":
		return identity.StatusPending
	case "PROVISIONED", "ACTIVE", "RECOVERY", "PASSWORD_EXPIRED", "LOCKED_OUT":
		return identity.StatusActive
	case "SUSPENDED":
		return identity.StatusInactive
	case deprovisioned:
		return identity.StatusGone
	}
	return identity.StatusUnknown
}
