package entra

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// user is what is read of a user object. Of every property it is kept whether it was there.
type user struct {
	key     guid
	ID      string   `json:"id"`
	Removed *removed `json:"@removed"`

	UserPrincipalName text    `json:"userPrincipalName"`
	AccountEnabled    flag    `json:"accountEnabled"`
	UserType          text    `json:"userType"`
	Mail              text    `json:"mail"`
	ProxyAddresses    list    `json:"proxyAddresses"`
	OtherMails        list    `json:"otherMails"`
	GivenName         text    `json:"givenName"`
	Surname           text    `json:"surname"`
	DisplayName       text    `json:"displayName"`
	MailNickname      text    `json:"mailNickname"`
	JobTitle          text    `json:"jobTitle"`
	EmployeeType      text    `json:"employeeType"`
	PreferredLanguage text    `json:"preferredLanguage"`
	MobilePhone       text    `json:"mobilePhone"`
	BusinessPhones    list    `json:"businessPhones"`
	StreetAddress     text    `json:"streetAddress"`
	City              text    `json:"city"`
	State             text    `json:"state"`
	PostalCode        text    `json:"postalCode"`
	Country           text    `json:"country"`
	EmployeeID        text    `json:"employeeId"`
	Department        text    `json:"department"`
	EmployeeOrgData   orgData `json:"employeeOrgData"`
	CompanyName       text    `json:"companyName"`

	Manager       reference   `json:"manager"`       // of an object read by id
	ManagerChange []reference `json:"manager@delta"` // of a delta
}

// removed stands on what was deleted: reason "changed" is a soft delete, "deleted" is for good.
type removed struct {
	Reason string `json:"reason"`
}

// reference is a member of a group, or a manager, in a delta.
type reference struct {
	Type    string   `json:"@odata.type"`
	ID      string   `json:"id"`
	Removed *removed `json:"@removed"`
}

// Types of reference that matter here.
const (
	typeUser  = "#microsoft.graph.user"
	typeGroup = "#microsoft.graph.group"
)

// isUser tells whether a member may be a person: what has no type is not said to be something else.
func isUser(kind string) bool { return kind == "" || kind == typeUser }

// group is what is read of a group object.
type group struct {
	key     guid
	ID      string      `json:"id"`
	Removed *removed    `json:"@removed"`
	Name    text        `json:"displayName"`
	Members []reference `json:"members@delta"`

	Visibility text `json:"visibility"`
}

// hidesMembers tells whether only who has the permission Member.Read.Hidden is told the members.
func (g *group) hidesMembers() bool { return strings.EqualFold(g.Visibility.value, "HiddenMembership") }

// directoryObject is what is read of a member of a group, or of a group that somebody is a member of.
type directoryObject struct {
	Type     string `json:"@odata.type"`
	ID       string `json:"id"`
	UserType text   `json:"userType"`
	Name     text   `json:"displayName"`
}

// assignment is what is read of an app role assignment.
type assignment struct {
	PrincipalID   string `json:"principalId"`
	PrincipalType string `json:"principalType"`
}

// text is a string that is known to be there: null and "" both mean that there is nothing.
type text struct {
	known bool
	value string
}

// UnmarshalJSON reads a string or null.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = text{known: true}
	var err error
	t.value, err = unquote(b)
	return err
}

func unquote(b []byte) (string, error) {
	if string(b) == "null" {
		return "", nil
	}
	if len(b) < 2 || b[0] != '"' {
		return "", errors.New("want a string or null")
	}
	for _, c := range b {
		if c == '\\' || c >= utf8.RuneSelf {
			var s string
			err := json.Unmarshal(b, &s)
			return s, err
		}
	}
	return string(b[1 : len(b)-1]), nil
}

// flag is a truth value: known when it is there, told when it is not null.
type flag struct{ known, told, value bool }

// UnmarshalJSON reads true, false or null.
func (f *flag) UnmarshalJSON(b []byte) error {
	*f = flag{known: true}
	switch string(b) {
	case "null":
	case "true", "false":
		f.told, f.value = true, b[0] == 't'
	default:
		return errors.New("want true, false or null")
	}
	return nil
}

// list is a list of strings.
type list struct {
	known  bool
	values []string
}

// UnmarshalJSON reads an array of strings, or null.
func (l *list) UnmarshalJSON(b []byte) error {
	*l = list{known: true}
	if string(b) == "[]" {
		return nil
	}
	return json.Unmarshal(b, &l.values)
}

// first returns the first value that is not empty.
func (l list) first() string {
	for _, v := range l.values {
		if v != "" {
			return v
		}
	}
	return ""
}

// orgData is a complex value, which comes whole or not at all.
type orgData struct {
	known                bool
	Division, CostCenter string
}

// UnmarshalJSON reads an object or null.
func (o *orgData) UnmarshalJSON(b []byte) error {
	var v struct {
		Division   text `json:"division"`
		CostCenter text `json:"costCenter"`
	}
	err := json.Unmarshal(b, &v)
	*o = orgData{known: true, Division: v.Division.value, CostCenter: v.CostCenter.value}
	return err
}

// manager returns the manager's id, "" where the manager left, and whether that is told. Graph was seen to leave managers
// out of delta queries: that there is none is told by one who left only, here and, so that records are alike, in objects
// read by id. A change of manager may come as one who left and one who came.
func (u *user) manager() (id string, told bool) {
	if u.Manager.ID != "" {
		return strings.ToLower(u.Manager.ID), true
	}
	for _, m := range u.ManagerChange {
		if m.Removed == nil {
			id = strings.ToLower(m.ID)
		}
	}
	return id, len(u.ManagerChange) > 0
}

// fill makes known what a whole object does not have, the manager left out.
func (u *user) fill() {
	for _, t := range []*text{
		&u.UserPrincipalName, &u.UserType, &u.Mail, &u.GivenName, &u.Surname, &u.DisplayName, &u.MailNickname, &u.JobTitle, &u.EmployeeType,
		&u.PreferredLanguage, &u.MobilePhone, &u.StreetAddress, &u.City, &u.State, &u.PostalCode, &u.Country, &u.EmployeeID, &u.Department, &u.CompanyName,
	} {
		t.known = true
	}
	u.AccountEnabled.known, u.EmployeeOrgData.known = true, true
	u.ProxyAddresses.known, u.OtherMails.known, u.BusinessPhones.known = true, true, true
}

// errLimited is the error of an object of which Graph tells no more than that it exists, as it does where the credential
// may not read the rest.
var errLimited = errors.New("users come without userPrincipalName: the permission User.Read.All is missing")

// identify parses the object's id, and refuses a whole one that tells nothing.
func (u *user) identify() error {
	var ok bool
	if u.key, ok = parseGUID(u.ID); !ok {
		return errors.New("a user has no id")
	}
	return nil
}

func (g *group) identify() error {
	var ok bool
	if g.key, ok = parseGUID(g.ID); !ok {
		return errors.New("a group has no id")
	}
	return nil
}
