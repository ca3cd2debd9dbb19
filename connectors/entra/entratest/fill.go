package entratest

import (
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// Fill adds people, groups and memberships, the same for the same Seed. Every person is a member of as many groups as
// divides the memberships evenly, and groups are of about the same size; the first membership is in the group of the
// person's department, as far as there are such groups. Delta links given out before do not tell of them.
func (t *Tenant) Fill(users, groups, memberships int) {
	defer t.lock()()
	first := len(t.groups)
	created := idptest.Founded().Format("2006-01-02T15:04:05Z")
	for i := range groups {
		t.newObject(kindGroup).doc.fill(groupSchema, t.security(idptest.GroupName(i), created))
	}
	made := t.groups[first:]
	var scratch document
	for i := range users {
		u := t.person(i, &scratch)
		each := idptest.Memberships(i, users, groups, memberships)
		for _, k := range idptest.Choose(t.random, i%max(groups, 1), each, groups) {
			made[k].members = append(made[k].members, u)
		}
	}
}

// person draws a user.
func (t *Tenant) person(i int, scratch *document) *object {
	p := idptest.NewPerson(t.random, i, t.Domain, func(login string) bool { return t.upns[login] != nil })
	o := t.newObject(kindUser)
	phones := []byte("[]")
	if i%4 == 0 {
		phones = appendString([]byte("["), "+1 555 010 "+p.EmployeeNumber[3:])
		phones = append(phones, ']')
	}
	proxies := append(appendString([]byte("["), "SMTP:"+p.Login), ']')
	name, _, _ := strings.Cut(p.Login, "@")
	at := idptest.Founded().Add(time.Duration(i) * time.Second).Format("2006-01-02T15:04:05Z")
	d := document{fields: scratch.fields[:0], raw: scratch.raw[:0]}
	text := func(property, value string) {
		if value == "" {
			return
		}
		d.raw = appendString(d.raw, value)
		d.end(userSchema.numbers[property])
	}
	raw := func(property string, value []byte) { d.push(userSchema.numbers[property], value) }
	// In the order of the schema.
	raw("businessphones", phones)
	text("displayname", p.Given+" "+p.Family)
	text("givenname", p.Given)
	text("jobtitle", p.Title)
	text("mail", p.Login)
	text("mobilephone", p.Mobile)
	text("officelocation", p.City)
	text("preferredlanguage", strings.ReplaceAll(p.Locale, "_", "-"))
	text("surname", p.Family)
	text("userprincipalname", p.Login)
	raw("accountenabled", []byte("true"))
	text("city", p.City)
	text("companyname", "Acme")
	text("country", p.Country)
	text("createddatetime", at)
	text("department", p.Department)
	text("employeeid", p.EmployeeNumber)
	raw("employeeorgdata", append(appendString(append(appendString([]byte(`{"division":`), p.Department), `,"costCenter":`...), p.CostCenter), '}'))
	text("employeetype", "Employee")
	text("mailnickname", name)
	text("postalcode", p.Zip)
	raw("proxyaddresses", proxies)
	text("state", p.State)
	text("streetaddress", p.Street)
	text("usagelocation", p.Country)
	text("usertype", "Member")
	*scratch = d
	o.doc = d.compact()
	t.upns[strings.ToLower(p.Login)] = o
	if i > 0 {
		o.manager = t.users[len(t.users)-2-t.random.IntN(min(i, len(t.users)-1))]
	}
	return o
}
