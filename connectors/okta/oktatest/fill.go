package oktatest

import (
	"fmt"
	"strings"
	"time"
)

var (
	firstNames = strings.Fields(`Ada Alan Amara Aisha Andrés Anika Arjun Astrid Ben Björn Camila Carlos Chloé Chen Clara
		Dana Daniel Deepa Diego Ebba Elena Elif Emeka Emma Erik Fatima Felix Fiona Gabriel Grace Hana Hassan Hugo Ida Ines
		Ingrid Isaac Ivan Jade Jamal James Jana Jin Joana Jonas José Julia Kaito Karin Kofi Lars Laura Leila Liam Lina
		Łukasz Lucía Mads Maria Marek Maya Mei Mia Miguel Mohammed Naomi Nadia Nia Nina Noah Nora Olga Oliver Omar Owen
		Paolo Petra Priya Quinn Rahul Rania Rosa Ruth Sakura Samir Sara Sean Sofia Sven Tara Thabo Theo Tomás Uma Valeria
		Victor Wei Yara Yusuf Zoë`)
	lastNames = strings.Fields(`Abara Adeyemi Ahmed Almeida Andersson Bakker Bauer Becker Bennett Berg Bianchi Boateng
		Bose Brown Carter Castro Chan Chen Costa Cruz Dahl Das Demir Diaz Dubois Eriksen Evans Fischer Flores Foster Fuchs
		García Ghosh Gomez Gray Green Haddad Hansen Hernández Hill Hoffmann Hughes Ibrahim Ito Jansen Jensen Johansson
		Jones Kaur Keller Khan Kim Klein Kowalski Kumar Lambert Larsen Lee Lehmann Lewis Li Lindqvist López Mahmoud Malik
		Martin Mbeki Meyer Mishra Moreau Morgan Moretti Müller Murphy Nakamura Nguyen Novak O'Brien Okafor Olsen Osei
		Park Patel Pereira Petrov Popov Price Quist Rao Reed Rivera Rossi Roy Ruiz Sato Schmidt Schneider Shah Silva
		Singh Smith Sørensen Suzuki Tanaka Taylor Torres Tran Turner Vega Virtanen Vogel Wagner Walker Wang Weber White
		Wilson Wong Wright Yamamoto Yilmaz Young Zhang Zimmermann`)
	groupNames = []string{
		"Engineering", "Platform Admins", "Payments", "Sales", "Finance", "Support", "Marketing", "People", "Legal",
		"Security", "Design", "Data",
	}
	departments = []string{
		"Engineering", "Platform", "Payments", "Sales", "Finance", "Customer Support", "Marketing", "People Operations",
		"Legal", "Security", "Design", "Data",
	}
	titles = map[string][]string{
		"Engineering":       {"Software Engineer", "Senior Software Engineer", "Engineering Manager", "Staff Engineer"},
		"Platform":          {"Site Reliability Engineer", "Platform Engineer", "Cloud Architect"},
		"Payments":          {"Payments Engineer", "Payments Analyst", "Product Manager"},
		"Sales":             {"Account Executive", "Sales Engineer", "Sales Manager"},
		"Finance":           {"Accountant", "Financial Analyst", "Controller"},
		"Customer Support":  {"Support Engineer", "Support Specialist", "Support Lead"},
		"Marketing":         {"Marketing Manager", "Content Designer", "Brand Strategist"},
		"People Operations": {"Recruiter", "People Partner", "Payroll Specialist"},
		"Legal":             {"Counsel", "Paralegal", "Privacy Officer"},
		"Security":          {"Security Engineer", "Security Analyst", "Incident Responder"},
		"Design":            {"Product Designer", "UX Researcher", "Design Lead"},
		"Data":              {"Data Analyst", "Data Engineer", "Data Scientist"},
	}
	places = []struct{ city, state, zip, country, street, zone, locale string }{
		{"Oslo", "", "0155", "NO", "Dronning Eufemias gate 8", "Europe/Oslo", "nb_NO"},
		{"Berlin", "BE", "10117", "DE", "Friedrichstraße 68", "Europe/Berlin", "de_DE"},
		{"San Francisco", "CA", "94105", "US", "100 Mission Street", "America/Los_Angeles", "en_US"},
		{"New York", "NY", "10013", "US", "350 Hudson Street", "America/New_York", "en_US"},
		{"Singapore", "", "049315", "SG", "8 Collyer Quay", "Asia/Singapore", "en_SG"},
		{"London", "", "EC1V 2NX", "GB", "128 City Road", "Europe/London", "en_GB"},
	}
	projects = []string{"Atlas", "Beacon", "Cedar", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Iris", "Juniper"}
	ascii    = strings.NewReplacer("é", "e", "ö", "o", "Ł", "l", "ł", "l", "í", "i", "á", "a", "ë", "e", "ü", "u", "ø", "o", "'", "", "ß", "ss")
)

// founded is when everything was created that Fill makes: the same seed gives the same bytes.
var founded = time.Date(2024, time.March, 4, 9, 0, 0, 0, time.UTC)

// Fill adds people, groups and memberships, the same for the same Seed. Every person is a member of as many groups
// as divides the memberships evenly, and groups are of about the same size; the first membership is in the group of
// the person's department, as far as there are such groups.
func (t *Tenant) Fill(users, groups, memberships int) {
	defer t.lock()()
	first := len(t.groups)
	for i := range groups {
		g := &group{id: t.newID("00g"), name: groupName(i), kind: "OKTA_GROUP", created: founded, lastUpdated: founded, lastMembershipUpdated: founded}
		t.groups = append(t.groups, g)
	}
	made := t.groups[first:]
	for i := range users {
		u := t.person(i)
		t.insert(u)
		each := 0
		if groups > 0 {
			each = memberships / users
			if i < memberships%users {
				each++
			}
			each = min(each, groups)
		}
		for _, k := range t.choose(i%max(groups, 1), each, groups) {
			made[k].members = append(made[k].members, u)
		}
	}
}

// choose draws n different groups, the first one given.
func (t *Tenant) choose(first, n, groups int) []int {
	if n == 0 {
		return nil
	}
	chosen := make([]int, 1, n)
	chosen[0] = first
draw:
	for len(chosen) < n {
		k := t.random.IntN(groups)
		if n > groups/2 {
			k = (chosen[len(chosen)-1] + 1) % groups
		}
		for _, taken := range chosen {
			if taken == k {
				continue draw
			}
		}
		chosen = append(chosen, k)
	}
	return chosen
}

func groupName(i int) string {
	if i < len(groupNames) {
		return groupNames[i]
	}
	i -= len(groupNames)
	return fmt.Sprintf("Project %s %02d", projects[i%len(projects)], i/len(projects)+1)
}

// person draws a user.
func (t *Tenant) person(i int) *user {
	pick := func(list []string) string { return list[t.random.IntN(len(list))] }
	given, family := pick(firstNames), pick(lastNames)
	address := strings.ToLower(ascii.Replace(given) + "." + ascii.Replace(family))
	login := address + "@acme.test"
	for n := 2; t.logins[login] != nil; n += 1 + t.random.IntN(9) {
		login = fmt.Sprintf("%s%d@acme.test", address, n)
	}
	department := departments[i%len(departments)]
	place := places[t.random.IntN(len(places))]
	p := profile{
		{"firstName", given},
		{"lastName", family},
		{"mobilePhone", nil},
		{"secondEmail", nil},
		{"login", login},
		{"email", login},
		{"displayName", given + " " + family},
		{"title", pick(titles[department])},
		{"department", department},
		{"employeeNumber", fmt.Sprintf("E%06d", 100000+i)},
		{"organization", "Acme"},
		{"costCenter", fmt.Sprintf("CC-%d", 100+i%len(departments))},
		{"userType", "Employee"},
		{"locale", place.locale},
		{"timezone", place.zone},
		{"preferredLanguage", strings.ReplaceAll(place.locale, "_", "-")},
		{"streetAddress", place.street},
		{"city", place.city},
		{"zipCode", place.zip},
		{"countryCode", place.country},
	}
	if place.state != "" {
		p = append(p, attribute{"state", place.state})
	}
	if t.random.IntN(3) == 0 {
		p[2].value = fmt.Sprintf("+1 555 %03d %04d", t.random.IntN(1000), t.random.IntN(10000))
	}
	if i > 0 {
		boss := t.users[len(t.users)-1-t.random.IntN(min(i, len(t.users)))]
		p = append(p, attribute{"manager", boss.profile.text("displayName")}, attribute{"managerId", boss.profile.text("employeeNumber")})
	}
	at := founded.Add(time.Duration(i) * time.Second)
	return &user{status: "ACTIVE", profile: p, created: at, activated: at, statusChanged: at, lastUpdated: at.Add(time.Hour)}
}
