package idptest

import (
	"fmt"
	"math/rand/v2"
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

// Founded returns when everything was created that a tenant is filled with: the same seed gives the same bytes.
func Founded() time.Time { return time.Date(2024, time.March, 4, 9, 0, 0, 0, time.UTC) }

// Person is somebody who does not exist.
type Person struct {
	Given, Family, Login          string
	Title, Department, CostCenter string
	EmployeeNumber                string
	Street, City, State, Zip      string
	Country, Zone, Locale         string
	Mobile                        string // "" for two in three
}

// NewPerson draws the tenant's person number i, whose login at the domain is one that is not taken.
func NewPerson(r *rand.Rand, i int, domain string, taken func(login string) bool) Person {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	given, family := pick(firstNames), pick(lastNames)
	address := strings.ToLower(ascii.Replace(given) + "." + ascii.Replace(family))
	login := address + "@" + domain
	for n := 2; taken(login); n += 1 + r.IntN(9) {
		login = fmt.Sprintf("%s%d@%s", address, n, domain)
	}
	department := departments[i%len(departments)]
	place := places[r.IntN(len(places))]
	p := Person{
		Given: given, Family: family, Login: login,
		Title: pick(titles[department]), Department: department, CostCenter: fmt.Sprintf("CC-%d", 100+i%len(departments)),
		EmployeeNumber: fmt.Sprintf("E%06d", 100000+i),
		Street:         place.street, City: place.city, State: place.state, Zip: place.zip,
		Country: place.country, Zone: place.zone, Locale: place.locale,
	}
	if r.IntN(3) == 0 {
		p.Mobile = fmt.Sprintf("+1 555 %03d %04d", r.IntN(1000), r.IntN(10000))
	}
	return p
}

// GroupName returns the name of the tenant's group number i. The first ones are named after departments.
func GroupName(i int) string {
	if i < len(groupNames) {
		return groupNames[i]
	}
	i -= len(groupNames)
	return fmt.Sprintf("Project %s %02d", projects[i%len(projects)], i/len(projects)+1)
}

// Memberships tells how many groups the person number i is a member of, so that all memberships are divided evenly.
func Memberships(i, users, groups, memberships int) int {
	if groups == 0 {
		return 0
	}
	each := memberships / users
	if i < memberships%users {
		each++
	}
	return min(each, groups)
}

// Choose draws n different groups, the first one given.
func Choose(r *rand.Rand, first, n, groups int) []int {
	if n == 0 {
		return nil
	}
	chosen := make([]int, 1, n)
	chosen[0] = first
draw:
	for len(chosen) < n {
		k := r.IntN(groups)
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
