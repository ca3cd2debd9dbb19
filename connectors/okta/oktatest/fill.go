package oktatest

import (
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// Fill adds people, groups and memberships, the same for the same Seed. Every person is a member of as many groups
// as divides the memberships evenly, and groups are of about the same size; the first membership is in the group of
// the person's department, as far as there are such groups.
func (t *Tenant) Fill(users, groups, memberships int) {
	defer t.lock()()
	first, founded := len(t.groups), idptest.Founded()
	for i := range groups {
		g := &group{id: t.newID("00g"), name: idptest.GroupName(i), kind: "OKTA_GROUP", created: founded, lastUpdated: founded, lastMembershipUpdated: founded}
		t.groups = append(t.groups, g)
	}
	made := t.groups[first:]
	for i := range users {
		u := t.person(i)
		t.insert(u)
		each := idptest.Memberships(i, users, groups, memberships)
		for _, k := range idptest.Choose(t.random, i%max(groups, 1), each, groups) {
			made[k].members = append(made[k].members, u)
		}
	}
}

// person draws a user.
func (t *Tenant) person(i int) *user {
	who := idptest.NewPerson(t.random, i, "acme.test", func(login string) bool { return t.logins[login] != nil })
	p := profile{
		{"firstName", who.Given},
		{"lastName", who.Family},
		{"mobilePhone", nil},
		{"secondEmail", nil},
		{"login", who.Login},
		{"email", who.Login},
		{"displayName", who.Given + " " + who.Family},
		{"title", who.Title},
		{"department", who.Department},
		{"employeeNumber", who.EmployeeNumber},
		{"organization", "Acme"},
		{"costCenter", who.CostCenter},
		{"userType", "Employee"},
		{"locale", who.Locale},
		{"timezone", who.Zone},
		{"preferredLanguage", strings.ReplaceAll(who.Locale, "_", "-")},
		{"streetAddress", who.Street},
		{"city", who.City},
		{"zipCode", who.Zip},
		{"countryCode", who.Country},
	}
	if who.State != "" {
		p = append(p, attribute{"state", who.State})
	}
	if who.Mobile != "" {
		p[2].value = who.Mobile
	}
	if i > 0 {
		boss := t.users[len(t.users)-1-t.random.IntN(min(i, len(t.users)))]
		p = append(p, attribute{"manager", boss.profile.text("displayName")}, attribute{"managerId", boss.profile.text("employeeNumber")})
	}
	at := idptest.Founded().Add(time.Duration(i) * time.Second)
	return &user{status: "ACTIVE", profile: p, created: at, activated: at, statusChanged: at, lastUpdated: at.Add(time.Hour)}
}
