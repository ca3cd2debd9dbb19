package entra_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
	"github.com/idpsync/idpsync/store/identity"
)

// everything has every property that is read.
func everything() map[string]any {
	return map[string]any{
		"userPrincipalName": "ada@acme.test", "accountEnabled": true, "userType": "Member", "mail": "ada.lovelace@acme.test",
		"proxyAddresses": []string{"SMTP:ada.lovelace@acme.test", "smtp:al@acme.test"}, "otherMails": []string{"ada@home.test"}, "givenName": "Ada", "surname": "Lovelace",
		"displayName": ` Ada "the" Lovelace — ♥ `, "mailNickname": "ada", "jobTitle": "Analyst", "employeeType": "Employee", "preferredLanguage": "en-GB",
		"mobilePhone": "+44 1", "businessPhones": []string{"+44 2", "+44 3"}, "streetAddress": "12 St James's Square", "city": "London", "state": "LND",
		"postalCode": "SW1Y 4JH", "country": "GB", "employeeId": "1815", "department": "Research",
		"employeeOrgData": map[string]any{"division": "Engines", "costCenter": "CC1"}, "companyName": "Acme", "officeLocation": "not mapped",
	}
}

func TestEverythingThatTheTableMaps(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	boss := tenant.AddUser(map[string]any{"userPrincipalName": "boss@acme.test", "accountEnabled": true})
	properties := everything()
	properties["manager"] = boss
	id := tenant.AddUser(properties)
	start := time.Now()
	c := connect(t, serve(t, tenant))
	s := collect(c.Full(t.Context(), ""))
	if s.Err != nil {
		t.Fatal(s.Err)
	}
	const enterprise = identity.EnterpriseURN + ":"
	want := map[string]any{
		"name.givenName": "Ada", "name.familyName": "Lovelace", "displayName": ` Ada "the" Lovelace — ♥ `, "nickName": "ada", "title": "Analyst", "userType": "Employee",
		"preferredLanguage": "en-GB", `emails[type eq "work"].value`: "ada.lovelace@acme.test", `emails[type eq "other"].value`: "ada@home.test",
		`phoneNumbers[type eq "mobile"].value`: "+44 1", `phoneNumbers[type eq "work"].value`: "+44 2", `addresses[type eq "work"].streetAddress`: "12 St James's Square",
		`addresses[type eq "work"].locality`: "London", `addresses[type eq "work"].region`: "LND", `addresses[type eq "work"].postalCode`: "SW1Y 4JH",
		`addresses[type eq "work"].country`: "GB", enterprise + "employeeNumber": "1815", enterprise + "department": "Research", enterprise + "division": "Engines",
		enterprise + "costCenter": "CC1", enterprise + "organization": "Acme", enterprise + "manager.value": boss,
	}
	r := s.Users[id]
	if diff := gocmp.Diff(want, values(r)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if r.SourceID != id || r.ExternalID != id || r.UserName != "ada@acme.test" || r.Status != identity.StatusActive || r.RawStatus != "enabled" || r.ReadAt.Before(start) {
		t.Errorf("record = %+v", r)
	}
	bare := s.Users[boss]
	if len(bare.Attributes) != len(want)-1 {
		t.Errorf("a bare user states %d attributes, want all %d but the manager, cleared", len(bare.Attributes), len(want))
	}
	for _, stated := range bare.Attributes {
		if stated.Value != nil && stated.Value != "boss" { // the tenant's own doing
			t.Errorf("%s = %v, want it cleared", stated.Path, stated.Value)
		}
	}
}

func values(r identity.Record) map[string]any {
	all := map[string]any{}
	for _, s := range r.Attributes {
		all[s.Path.String()] = s.Value
	}
	return all
}

// However a record was read, the same facts have the same fingerprint: absent and null, first round and by id.
func TestFingerprintsAreTheSameHoweverARecordWasRead(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 8}
	tenant.Fill(40, 2, 60)
	people := tenant.Users()
	tenant.UpdateUser(people[0].ID, map[string]any{"jobTitle": nil, "mail": nil, "businessPhones": []string{}, "employeeOrgData": nil})
	tenant.UpdateUser(people[1].ID, map[string]any{"manager": people[2].ID})
	tenant.UpdateUser(people[3].ID, map[string]any{"manager": nil, "otherMails": []string{}, "proxyAddresses": []string{}})
	tenant.UpdateUser(people[4].ID, map[string]any{"accountEnabled": false})
	tenant.AddUser(everything())
	o := serve(t, tenant)
	o.Guests = true
	tenant.AddGuest("someone@else.test")
	c := connect(t, o)
	s := collect(c.Full(t.Context(), ""))
	for _, u := range tenant.Users() {
		for _, key := range []string{u.ID, u.UserPrincipalName()} {
			one, err := c.User(t.Context(), key)
			if err != nil {
				t.Errorf("User(%s): %v", key, err)
				continue
			}
			listed := s.Users[u.ID]
			if one.Fingerprint() != listed.Fingerprint() {
				t.Errorf("User(%s) differs (-listed +read):\n%s", key, gocmp.Diff(values(listed), values(one)))
			}
		}
	}
}

// A manager of whom delta queries do not tell is not gone; one who left is.
func TestManagersThatDeltaQueriesLeaveOut(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{UntoldManagers: 1}
	boss := tenant.AddUser(map[string]any{"userPrincipalName": "boss@acme.test", "accountEnabled": true})
	id := tenant.AddUser(map[string]any{"userPrincipalName": "a@acme.test", "accountEnabled": true, "manager": boss})
	c := connect(t, serve(t, tenant))
	s := collect(c.Full(t.Context(), ""))
	if v, told := value(s.Users[id], identity.EnterpriseURN+":manager.value"); told {
		t.Errorf("manager = %v, though nobody told", v)
	}
	r, err := c.User(t.Context(), id)
	if v, told := value(r, identity.EnterpriseURN+":manager.value"); err != nil || v != boss || !told {
		t.Errorf("User: manager = %v, %t, %v", v, told, err)
	}
	b := begin(t, nil)
	employee := b.people[30]
	b.UpdateUser(employee.ID, map[string]any{"manager": b.people[31].ID})
	b.changes(t)
	b.UpdateUser(employee.ID, map[string]any{"manager": nil})
	if v, told := value(b.changes(t).Users[employee.ID], identity.EnterpriseURN+":manager.value"); v != nil || !told {
		t.Errorf("a manager who left: %v, %t, want it cleared", v, told)
	}
}

// Names and addresses that are made from more than one property, read whole and as a change.
func TestNamesAndAddresses(t *testing.T) {
	t.Parallel()
	type want struct{ name, work, other string }
	cases := map[string]struct {
		properties map[string]any
		want       want
	}{
		"a member":                      {map[string]any{"userPrincipalName": "a@acme.test", "mail": "b@acme.test", "userType": "Member"}, want{"a@acme.test", "b@acme.test", ""}},
		"a member with #EXT#":           {map[string]any{"userPrincipalName": "a_else.test#EXT#@acme.test", "mail": "b@acme.test", "userType": "Member"}, want{"a_else.test#EXT#@acme.test", "b@acme.test", ""}},
		"somebody of no type":           {map[string]any{"userPrincipalName": "c_else.test#EXT#@acme.test", "mail": "c@else.test"}, want{"c_else.test#EXT#@acme.test", "c@else.test", ""}},
		"a guest from elsewhere":        {map[string]any{"userPrincipalName": "d_else.test#EXT#@acme.test", "mail": "d@else.test", "userType": "Guest"}, want{"d@else.test", "d@else.test", ""}},
		"a guest without mail":          {map[string]any{"userPrincipalName": "e_else.test#EXT#@acme.test", "userType": "Guest"}, want{"e_else.test#EXT#@acme.test", "", ""}},
		"a guest of our own":            {map[string]any{"userPrincipalName": "f@acme.test", "mail": "f@else.test", "userType": "guest"}, want{"f@acme.test", "f@else.test", ""}},
		"without mail":                  {map[string]any{"userPrincipalName": "g@acme.test", "userType": "Member"}, want{"g@acme.test", "", ""}},
		"proxies instead of mail":       {map[string]any{"userPrincipalName": "h@acme.test", "proxyAddresses": []string{"x500:/o=x", "smtp:z@acme.test", "SMTP:h@acme.test", "smtp:y@acme.test"}}, want{"h@acme.test", "h@acme.test", "y@acme.test"}},
		"other mails before proxies":    {map[string]any{"userPrincipalName": "i@acme.test", "otherMails": []string{"", "i@home.test"}, "proxyAddresses": []string{"smtp:z@acme.test"}}, want{"i@acme.test", "", "i@home.test"}},
		"an alias that is the address":  {map[string]any{"userPrincipalName": "j@acme.test", "mail": "J@acme.test", "proxyAddresses": []string{"smtp:j@acme.test", "smtp:k@acme.test"}}, want{"j@acme.test", "J@acme.test", "k@acme.test"}},
		"proxies that are no addresses": {map[string]any{"userPrincipalName": "l@acme.test", "proxyAddresses": []string{"SIP:l@acme.test", "SMTP:", "smtp:"}}, want{"l@acme.test", "", ""}},
	}
	check := func(t *testing.T, name string, r identity.Record) {
		t.Helper()
		v := values(r)
		work, _ := v[`emails[type eq "work"].value`].(string)
		other, _ := v[`emails[type eq "other"].value`].(string)
		if got := (want{r.UserName, work, other}); got != cases[name].want {
			t.Errorf("%s: %+v, want %+v", name, got, cases[name].want)
		}
	}
	tenant := &entratest.Tenant{}
	tenant.AddUser(map[string]any{"userPrincipalName": "first@acme.test", "accountEnabled": true})
	o := serve(t, tenant)
	o.Guests = true
	c := connect(t, o)
	empty := collect(c.Full(t.Context(), ""))
	ids := map[string]string{}
	for name, tc := range cases {
		tc.properties["accountEnabled"] = true
		ids[name] = tenant.AddUser(tc.properties)
	}
	whole, changes := collect(c.Full(t.Context(), "")), collect(c.Changes(t.Context(), empty.Checkpoint))
	for name, id := range ids {
		check(t, name, whole.Users[id])
		if r, stated := changes.Users[id]; stated {
			check(t, name, r)
		} else {
			t.Errorf("%s: not stated as a change; doubtful: %v", name, slices.Contains(changes.Doubtful, id))
		}
	}
}

// Of whom the credential may read too little, nothing is taken for cleared or gone.
func TestLimitedInformation(t *testing.T) {
	t.Parallel()
	t.Run("users without a name", func(t *testing.T) {
		t.Parallel()
		tenant := &entratest.Tenant{}
		tenant.UpdateUser(tenant.AddUser(map[string]any{"displayName": "No Name At All", "accountEnabled": true}), map[string]any{"userPrincipalName": nil})
		s := collect(connect(t, serve(t, tenant)).Full(t.Context(), ""))
		var e *connectors.IncompleteError
		if !errors.As(s.Err, &e) || e.Phase != connectors.PhaseUsers || s.Complete[connectors.PhaseUsers] || len(s.Users) > 0 || s.Checkpoint != "" {
			t.Errorf("Full = %v, complete %v, users %v", s.Err, s.Complete, s.Users)
		}
	})
	t.Run("users of whom not even the state is told", func(t *testing.T) {
		t.Parallel()
		tenant := &entratest.Tenant{}
		id := tenant.AddUser(map[string]any{"userPrincipalName": "a@acme.test", "accountEnabled": nil, "displayName": "A"})
		c := connect(t, serve(t, tenant))
		s := collect(c.Full(t.Context(), ""))
		r := s.Users[id]
		if s.Err != nil || r.Status != identity.StatusUnknown || r.UserName != "a@acme.test" {
			t.Errorf("Full = %v, %+v", s.Err, r)
		}
		if diff := gocmp.Diff(map[string]any{"displayName": "A"}, withoutNickname(values(r))); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
		one, err := c.User(t.Context(), id)
		if err != nil || one.Fingerprint() != r.Fingerprint() {
			t.Errorf("User = %+v, %v", one, err)
		}
	})
	t.Run("groups without a name", func(t *testing.T) {
		t.Parallel()
		tenant := &entratest.Tenant{}
		tenant.Fill(3, 1, 3)
		tenant.AddGroup("", map[string]any{"displayName": nil})
		s := collect(connect(t, serve(t, tenant)).Full(t.Context(), ""))
		if s.Err == nil || s.Complete[connectors.PhaseGroups] || s.Complete[connectors.PhaseMembers] || !s.Complete[connectors.PhaseUsers] {
			t.Errorf("Full = %v, complete %v", s.Err, s.Complete)
		}
	})
	t.Run("groups that hide their members", func(t *testing.T) {
		t.Parallel()
		tenant := &entratest.Tenant{Permissions: []string{entratest.UserReadAll, entratest.GroupReadAll}}
		tenant.Fill(3, 1, 3)
		hidden := tenant.AddGroup("hidden", map[string]any{"visibility": "HiddenMembership"})
		tenant.AddMember(hidden, tenant.Users()[0].ID)
		o := serve(t, tenant)
		s := collect(connect(t, o).Full(t.Context(), ""))
		if !errors.Is(s.Err, connectors.ErrForbidden) || !strings.Contains(s.Err.Error(), "Member.Read.Hidden") || s.Last[hidden] || s.Complete[connectors.PhaseMembers] || !s.Complete[connectors.PhaseUsers] {
			t.Errorf("Full = %v, complete %v", s.Err, s.Complete)
		}
		if s := collect(connect(t, o).Group(t.Context(), hidden)); s.Err == nil || s.Last[hidden] {
			t.Errorf("Group = %v", s.Err)
		}
		o.RequireGroup = new(true)
		if s := collect(connect(t, o).Full(t.Context(), "")); s.Complete[connectors.PhaseUsers] || s.Complete[connectors.PhaseMembers] {
			t.Errorf("Full where members decide = %v, complete %v", s.Err, s.Complete)
		}
		o.GroupsExclude = []string{"hidden"}
		if s := collect(connect(t, o).Full(t.Context(), "")); s.Err != nil || len(s.Complete) != 3 {
			t.Errorf("Full without it = %v, complete %v", s.Err, s.Complete)
		}
		tenant.SetPermissions(entratest.UserReadAll, entratest.GroupReadAll, entratest.MemberReadHidden)
		o.GroupsExclude = nil
		if s := collect(connect(t, o).Full(t.Context(), "")); s.Err != nil || len(s.Members[hidden]) != 1 {
			t.Errorf("Full with the permission = %v, members %v", s.Err, s.Members[hidden])
		}
	})
	t.Run("members of whom only id and type are told", func(t *testing.T) {
		t.Parallel()
		tenant := &entratest.Tenant{Permissions: []string{entratest.GroupReadAll}}
		tenant.Fill(5, 1, 5)
		g := tenant.Groups()[0]
		s := collect(connect(t, serve(t, tenant)).Group(t.Context(), g.ID))
		if s.Err != nil || !s.Last[g.ID] || len(s.Members[g.ID]) != 5 {
			t.Errorf("Group = %v, members %v", s.Err, s.Members)
		}
	})
}

func withoutNickname(m map[string]any) map[string]any {
	delete(m, "nickName")
	return m
}
