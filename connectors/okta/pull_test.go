package okta_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/identity"
)

// serve starts the tenant and returns options of a connector for it, quick to try again.
func serve(t testing.TB, tenant *oktatest.Tenant) okta.Options {
	t.Helper()
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	return okta.Options{URL: server.URL, APIToken: oktatest.DefaultToken, RootCAs: server.CAPool(), Backoff: time.Millisecond, MaxWait: 20 * time.Second}
}

func connect(t testing.TB, o okta.Options) *okta.Connector {
	t.Helper()
	c, err := okta.New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

// stated is what a pull came to.
type stated struct {
	Users    map[string]identity.Record
	Groups   map[string]string              // name by id
	Members  map[string][]string            // by group, in order of ids
	Last     map[string]bool                // groups listed to their end
	Complete map[connectors.Phase]bool      //
	Seen     map[connectors.Phase]int       // items, repeated ones included
	Err      error                          //
	Pages    int                            //
	After    map[connectors.Phase]int       // pages that came after the complete one
	ReadAt   map[connectors.Phase]time.Time // of the first item

	Checkpoint   string
	CheckpointOn int // the page that it was on, from 1
	Unscoped     map[string]bool
	Doubtful     []string
	Gone         map[string]bool // groups
}

func collect(pages iter.Seq2[connectors.Page, error]) stated {
	s := stated{
		Users: map[string]identity.Record{}, Groups: map[string]string{}, Members: map[string][]string{}, Last: map[string]bool{},
		Complete: map[connectors.Phase]bool{}, Seen: map[connectors.Phase]int{connectors.PhaseUsers: 0, connectors.PhaseGroups: 0, connectors.PhaseMembers: 0}, After: map[connectors.Phase]int{}, ReadAt: map[connectors.Phase]time.Time{},
		Unscoped: map[string]bool{}, Gone: map[string]bool{},
	}
	for page, err := range pages {
		if err != nil {
			s.Err = err
			continue
		}
		s.Pages++
		if s.Complete[page.Phase] {
			s.After[page.Phase]++
		}
		for _, r := range page.Records {
			s.Users[r.SourceID] = r
			s.Seen[connectors.PhaseUsers]++
			s.ReadAt[connectors.PhaseUsers] = r.ReadAt
			s.Unscoped[r.SourceID] = page.Unscoped
		}
		s.Doubtful = append(s.Doubtful, page.Doubtful...)
		if page.Checkpoint != "" {
			s.Checkpoint, s.CheckpointOn = page.Checkpoint, s.Pages
		}
		for _, g := range page.Groups {
			if g.Gone {
				s.Gone[g.SourceID] = true
				continue
			}
			s.Groups[g.SourceID] = g.DisplayName
			s.Seen[connectors.PhaseGroups]++
		}
		for _, m := range page.Members {
			s.Members[m.GroupID] = append(s.Members[m.GroupID], m.UserIDs...)
			s.Seen[connectors.PhaseMembers] += len(m.UserIDs)
			s.Last[m.GroupID] = s.Last[m.GroupID] || m.Last
		}
		s.Complete[page.Phase] = s.Complete[page.Phase] || page.Complete
	}
	for _, ids := range s.Members {
		slices.Sort(ids)
	}
	return s
}

var everyPhase = map[connectors.Phase]bool{connectors.PhaseUsers: true, connectors.PhaseGroups: true, connectors.PhaseMembers: true}

// wantAll compares a pull of the whole directory with the tenant.
func wantAll(t *testing.T, s stated, tenant *oktatest.Tenant) {
	t.Helper()
	if s.Err != nil {
		t.Fatalf("Full: %v", s.Err)
	}
	if diff := cmp.Diff(everyPhase, s.Complete); diff != "" {
		t.Errorf("complete phases (-want +got):\n%s", diff)
	}
	var want []string
	for _, u := range tenant.Users() {
		if u.Status != "DEPROVISIONED" {
			want = append(want, u.ID)
		}
	}
	if diff := cmp.Diff(want, sortedKeys(s.Users)); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	groups, members := map[string]string{}, map[string][]string{}
	count := 0
	for _, g := range tenant.Groups() {
		groups[g.ID], members[g.ID] = g.Name, g.Members
		count += len(g.Members)
		if !s.Last[g.ID] {
			t.Errorf("group %s was not listed to its end", g.ID)
		}
	}
	if diff := cmp.Diff(groups, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(members, s.Members, equateEmpty); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	seen := map[connectors.Phase]int{connectors.PhaseUsers: len(want), connectors.PhaseGroups: len(groups), connectors.PhaseMembers: count}
	if diff := cmp.Diff(seen, s.Seen); diff != "" {
		t.Errorf("items, each stated once (-want +got):\n%s", diff)
	}
	if len(s.After) > 0 {
		t.Errorf("pages after the complete one: %v", s.After)
	}
}

var equateEmpty = cmp.Transformer("ids", func(ids []string) string { return strings.Join(ids, " ") })

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestFullStatesTheWholeDirectoryWithTheFewestRequests(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	tenant.Fill(5000, 40, 15000)
	c := connect(t, serve(t, tenant))
	wantAll(t, collect(c.Full(t.Context(), "")), tenant)
	if got := c.Requests(); got != 66 {
		t.Errorf("Requests() = %d, want 66 (25 pages of users, 1 of groups, 40 of members)", got)
	}
	if got := tenant.Requests(""); got != 66 {
		t.Errorf("the tenant got %d requests, want 66: %v", got, tenant.Counts())
	}
}

func TestFullWithASmallOrganization(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		fill func(*oktatest.Tenant)
		want int64
	}{
		"empty":                         {func(*oktatest.Tenant) {}, 2},
		"users only":                    {func(o *oktatest.Tenant) { o.Fill(3, 0, 0) }, 2},
		"groups only":                   {func(o *oktatest.Tenant) { o.Fill(0, 3, 0) }, 5},
		"one page exactly":              {func(o *oktatest.Tenant) { o.Fill(200, 0, 0) }, 3},                 // and one that proves that links arrive
		"one group of one page exactly": {func(o *oktatest.Tenant) { o.Fill(1000, 1, 1000) }, 5 + 1 + 1 + 2}, // and two that list it again
		"one group of a page and one":   {func(o *oktatest.Tenant) { o.Fill(1001, 1, 1001) }, 6 + 1 + 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &oktatest.Tenant{}
			c.fill(tenant)
			connector := connect(t, serve(t, tenant))
			wantAll(t, collect(connector.Full(t.Context(), "")), tenant)
			if got := connector.Requests(); got != c.want {
				t.Errorf("Requests() = %d, want %d: %v", got, c.want, connector.Counts())
			}
		})
	}
}

func TestFullStatesEverythingThatTheTableMaps(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	id := tenant.AddUser(map[string]any{
		"login": "ada@acme.test", "email": "ada.lovelace@acme.test", "secondEmail": "ada@home.test", "firstName": "Ada", "lastName": "Lovelace", "middleName": "King",
		"honorificPrefix": "Countess", "honorificSuffix": "FRS", "displayName": " Ada \"the\" Lovelace — ♥ ", "nickName": "Ada", "title": "Analyst", "userType": "Employee",
		"preferredLanguage": "en-GB", "locale": "en_GB", "timezone": "Europe/London", "mobilePhone": "+44 1", "primaryPhone": "+44 2", "streetAddress": "12 St James's Square",
		"city": "London", "state": "LND", "zipCode": "SW1Y 4JH", "countryCode": "GB", "employeeNumber": "1815", "costCenter": "CC1", "organization": "Acme", "division": "Engines",
		"department": "Research", "managerId": "1791", "manager": "Charles Babbage", "customAttribute": "not mapped",
	})
	bare := tenant.AddUser(map[string]any{"login": "bare@acme.test", "firstName": "Bare", "lastName": ""})
	began := time.Now()
	s := collect(connect(t, serve(t, tenant)).Full(t.Context(), ""))
	if s.Err != nil {
		t.Fatal(s.Err)
	}
	const ent = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:"
	want := [][2]any{
		{"name.givenName", "Ada"},
		{"name.familyName", "Lovelace"},
		{"name.middleName", "King"},
		{"name.honorificPrefix", "Countess"},
		{"name.honorificSuffix", "FRS"},
		{"displayName", " Ada \"the\" Lovelace — ♥ "},
		{"nickName", "Ada"},
		{"title", "Analyst"},
		{"userType", "Employee"},
		{"preferredLanguage", "en-GB"},
		{"locale", "en_GB"},
		{"timezone", "Europe/London"},
		{`emails[type eq "work"].value`, "ada.lovelace@acme.test"},
		{`emails[type eq "other"].value`, "ada@home.test"},
		{`phoneNumbers[type eq "mobile"].value`, "+44 1"},
		{`phoneNumbers[type eq "work"].value`, "+44 2"},
		{`addresses[type eq "work"].streetAddress`, "12 St James's Square"},
		{`addresses[type eq "work"].locality`, "London"},
		{`addresses[type eq "work"].region`, "LND"},
		{`addresses[type eq "work"].postalCode`, "SW1Y 4JH"},
		{`addresses[type eq "work"].country`, "GB"},
		{ent + "employeeNumber", "1815"},
		{ent + "costCenter", "CC1"},
		{ent + "organization", "Acme"},
		{ent + "division", "Engines"},
		{ent + "department", "Research"},
		{ent + "manager.value", "1791"},
		{ent + "manager.displayName", "Charles Babbage"},
	}
	r := s.Users[id]
	if diff := cmp.Diff(want, attributesOf(r)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if r.UserName != "ada@acme.test" || r.ExternalID != id || r.Status != identity.StatusActive || r.RawStatus != "ACTIVE" {
		t.Errorf("record = %+v", r)
	}
	if r.ReadAt.Before(began) || r.ReadAt.After(time.Now()) {
		t.Errorf("ReadAt = %s, want when the request began", r.ReadAt)
	}
	// What a whole user object lacks is cleared: the same paths in the same order, most without a value.
	for i := range want {
		switch want[i][0] {
		case "name.givenName", "displayName":
			want[i][1] = "Bare"
		case `emails[type eq "work"].value`:
			want[i][1] = "bare@acme.test"
		default:
			want[i][1] = nil
		}
	}
	if diff := cmp.Diff(want, attributesOf(s.Users[bare])); diff != "" {
		t.Errorf("attributes of a bare user (-want +got):\n%s", diff)
	}
}

func attributesOf(r identity.Record) [][2]any {
	var list [][2]any
	for _, a := range r.Attributes {
		list = append(list, [2]any{a.Path.String(), a.Value})
	}
	return list
}

// An organization can make a base attribute of another type, and everybody's page must not fail for it.
func TestFullTakesAttributesOfOtherTypes(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	odd := tenant.AddUser(map[string]any{"login": "odd@acme.test", "employeeNumber": 4711, "title": true, "department": []string{"a"}, "division": map[string]any{"b": 1}, "costCenter": 1.5})
	plain := tenant.AddUser(map[string]any{"login": "plain@acme.test", "title": "Clerk"})
	s := collect(connect(t, serve(t, tenant)).Full(t.Context(), ""))
	if s.Err != nil {
		t.Fatal(s.Err)
	}
	got := map[string]any{}
	for _, a := range attributesOf(s.Users[odd]) {
		got[a[0].(string)] = a[1]
	}
	const ent = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:"
	if got[ent+"employeeNumber"] != "4711" || got["title"] != "true" || got[ent+"costCenter"] != "1.5" {
		t.Errorf("attributes = %v, want numbers and truth values as they are written", got)
	}
	for _, path := range []string{ent + "department", ent + "division"} {
		if value, stated := got[path]; stated {
			t.Errorf("%s is stated as %v, want it left alone", path, value)
		}
	}
	if len(attributesOf(s.Users[plain])) != 28 || s.Users[plain].Attributes[7].Value != "Clerk" {
		t.Errorf("the other user of the page = %v", attributesOf(s.Users[plain]))
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	want, ids := map[string]identity.Status{
		"STAGED": identity.StatusPending, "PROVISIONED": identity.StatusActive, "ACTIVE": identity.StatusActive, "RECOVERY": identity.StatusActive,
		"PASSWORD_EXPIRED": identity.StatusActive, "LOCKED_OUT": identity.StatusActive, "SUSPENDED": identity.StatusInactive,
		"DEPROVISIONED": identity.StatusGone, "ACTIVATING": identity.StatusUnknown,
	}, map[string]string{}
	for word := range want {
		ids[word] = tenant.AddUser(map[string]any{"login": strings.ToLower(word) + "@acme.test"})
		tenant.SetStatus(ids[word], word)
	}
	c := connect(t, serve(t, tenant))
	s := collect(c.Full(t.Context(), ""))
	if s.Err != nil {
		t.Fatal(s.Err)
	}
	for word, status := range want {
		r, listed := s.Users[ids[word]]
		if word == "DEPROVISIONED" {
			if listed {
				t.Error("the list has a deprovisioned user, which Okta leaves out")
			}
		} else if r.Status != status || r.RawStatus != word {
			t.Errorf("%s = %s (%s), want %s", word, r.Status, r.RawStatus, status)
		}
		if r, err := c.User(t.Context(), ids[word]); err != nil || r.Status != status {
			t.Errorf("User(%s) = %s, %v, want %s", word, r.Status, err, status)
		}
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	cases := map[string]struct {
		app              bool
		include, exclude []string
		require          *bool
		users            []string // logins' first letters
		groups           []string
		requests         int64
	}{
		"everything":               {users: []string{"a", "b", "c", "d", "e"}, groups: []string{"app-admins", "app-users", "Lunch [Oslo]"}, requests: 5},
		"include":                  {include: []string{"APP-*"}, users: []string{"a", "b", "c"}, groups: []string{"app-admins", "app-users"}, requests: 4},
		"include by name, literal": {include: []string{"lunch [oslo]"}, users: []string{"d"}, groups: []string{"Lunch [Oslo]"}, requests: 3},
		"exclude":                  {exclude: []string{"app-u*"}, users: []string{"a", "d"}, groups: []string{"app-admins", "Lunch [Oslo]"}, requests: 4},
		"include and exclude":      {include: []string{"app-*"}, exclude: []string{"*-admins"}, users: []string{"b", "c"}, groups: []string{"app-users"}, requests: 3},
		"include, all users":       {include: []string{"app-*"}, require: &no, users: []string{"a", "b", "c", "d", "e"}, groups: []string{"app-admins", "app-users"}, requests: 4},
		"members of any group":     {require: &yes, users: []string{"a", "b", "c", "d"}, groups: []string{"app-admins", "app-users", "Lunch [Oslo]"}, requests: 5},
		"nothing matches":          {include: []string{"nothing"}, requests: 2},
		"application":              {app: true, users: []string{"b", "c"}, groups: []string{"app-users"}, requests: 4},
		"application, all":         {app: true, require: &no, users: []string{"b", "c", "d", "e"}, groups: []string{"app-users"}, requests: 4},
		"application and include":  {app: true, include: []string{"lunch*"}, users: []string{"d"}, groups: []string{"Lunch [Oslo]"}, requests: 3},
		"application and exclude":  {app: true, exclude: []string{"app-users"}, requests: 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &oktatest.Tenant{}
			ids := map[string]string{}
			for _, letter := range []string{"a", "b", "c", "d", "e"} {
				ids[letter] = tenant.AddUser(map[string]any{"login": letter + "@acme.test"})
			}
			for group, letters := range map[string]string{"app-admins": "a", "app-users": "bc", "Lunch [Oslo]": "d"} {
				g := tenant.AddGroup(group)
				for _, letter := range letters {
					tenant.AddMember(g, ids[string(letter)])
				}
			}
			app := tenant.AddApp("idpsync")
			users, _ := tenant.Group("app-users")
			tenant.AssignGroup(app, users.ID)
			tenant.AssignUser(app, ids["d"], "")
			tenant.AssignUser(app, ids["e"], "")
			o := serve(t, tenant)
			o.GroupsInclude, o.GroupsExclude, o.RequireGroup = c.include, c.exclude, c.require
			if c.app {
				o.AppID = app
			}
			connector := connect(t, o)
			s := collect(connector.Full(t.Context(), ""))
			if s.Err != nil || !cmp.Equal(s.Complete, everyPhase) {
				t.Fatalf("Full: %v, complete %v", s.Err, s.Complete)
			}
			if got := connector.Requests(); got != c.requests {
				t.Errorf("Requests() = %d, want %d: %v", got, c.requests, connector.Counts())
			}
			var gotUsers, gotGroups []string
			for _, r := range s.Users {
				gotUsers = append(gotUsers, r.UserName[:1])
			}
			for _, name := range s.Groups {
				gotGroups = append(gotGroups, name)
			}
			slices.Sort(gotUsers)
			slices.Sort(gotGroups)
			slices.Sort(c.groups)
			if diff := cmp.Diff(c.users, gotUsers); diff != "" {
				t.Errorf("users (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.groups, gotGroups); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			// Reading one by one draws the same line.
			for letter, id := range ids {
				_, err := connector.User(t.Context(), id)
				if in := slices.Contains(c.users, letter); in != (err == nil) || !in && !errors.Is(err, connectors.ErrNotFound) {
					t.Errorf("User(%s) = %v, in scope %t", letter, err, in)
				}
			}
			for letter, id := range ids {
				var want []string
				for _, g := range tenant.GroupsOf(id) {
					if of, _ := tenant.Group(g); slices.Contains(c.groups, of.Name) {
						want = append(want, g)
					}
				}
				if got, err := connector.GroupsOf(t.Context(), id); err != nil || !cmp.Equal(got, want) {
					t.Errorf("GroupsOf(%s) = %v, %v, want %v", letter, got, err, want)
				}
			}
			if _, err := connector.GroupsOf(t.Context(), "00uDoesNotExist00000"); !errors.Is(err, connectors.ErrNotFound) {
				t.Errorf("GroupsOf(nobody) = %v, want ErrNotFound", err)
			}
			for _, g := range tenant.Groups() {
				s := collect(connector.Group(t.Context(), g.ID))
				if in := slices.Contains(c.groups, g.Name); in != (s.Err == nil) || !in && !errors.Is(s.Err, connectors.ErrNotFound) {
					t.Errorf("Group(%s) = %v, in scope %t", g.Name, s.Err, in)
				}
			}
		})
	}
}

func TestApplicationUsers(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 3}
	tenant.Fill(1200, 3, 1200)
	app := tenant.AddApp("idpsync")
	groups, people := tenant.Groups(), tenant.Users()
	tenant.AssignGroup(app, groups[0].ID)
	tenant.AssignGroup(app, groups[1].ID)
	member := groups[0].Members[0]
	tenant.AssignUser(app, member, "another-name")
	tenant.SetStatus(groups[1].Members[0], "DEPROVISIONED")
	tenant.SetStatus(groups[1].Members[1], "LOCKED_OUT")
	o := serve(t, tenant)
	o.AppID = app
	c := connect(t, o)
	s := collect(c.Full(t.Context(), ""))
	if s.Err != nil || !cmp.Equal(s.Complete, everyPhase) {
		t.Fatalf("Full: %v, complete %v", s.Err, s.Complete)
	}
	if want := 400 + 399; len(s.Users) != want {
		t.Errorf("%d users, want %d of %d", len(s.Users), want, len(people))
	}
	// 1 page of assigned groups, 1 of groups, 2 of members, 2 of assigned users
	if got := c.Requests(); got != 6 {
		t.Errorf("Requests() = %d, want 6: %v", got, c.Counts())
	}
	if r := s.Users[member]; r.UserName != "another-name" || r.ExternalID != member {
		t.Errorf("record = %s %s, want the user name of the assignment", r.UserName, r.ExternalID)
	}
	if r := s.Users[groups[1].Members[1]]; r.Status != identity.StatusActive || r.RawStatus != "LOCKED_OUT" {
		t.Errorf("status = %s %s, want the user's own", r.Status, r.RawStatus)
	}
	r, err := c.User(t.Context(), member)
	if err != nil || r.UserName != "another-name" {
		t.Errorf("User = %s, %v", r.UserName, err)
	}
	full, single := s.Users[member], r
	if full.Fingerprint() != single.Fingerprint() {
		t.Errorf("one read by id differs from the list:\n%s", cmp.Diff(full, single))
	}
	if _, err := c.User(t.Context(), groups[2].Members[0]); !errors.Is(err, connectors.ErrNotFound) {
		t.Errorf("User(not assigned) = %v, want ErrNotFound", err)
	}
	if r, err := c.User(t.Context(), groups[1].Members[0]); err != nil || r.Status != identity.StatusGone {
		t.Errorf("User(deprovisioned) = %s, %v, want gone", r.Status, err)
	}
	tenant.DeleteApp(app)
	if _, err := c.User(t.Context(), member); err == nil || errors.Is(err, connectors.ErrNotFound) {
		t.Errorf("User without the application = %v, want an error that is no evidence", err)
	}
	s = collect(c.Full(t.Context(), ""))
	var incomplete *connectors.IncompleteError
	if !errors.As(s.Err, &incomplete) || len(s.Complete) > 0 && (s.Complete[connectors.PhaseUsers] || s.Complete[connectors.PhaseMembers]) {
		t.Errorf("Full without the application = %v, complete %v", s.Err, s.Complete)
	}
}

func TestUserAndGroup(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 5}
	tenant.Fill(30, 2, 30)
	o := serve(t, tenant)
	o.PageSizes.Members = 4
	c := connect(t, o)
	u := tenant.Users()[7]
	for _, key := range []string{u.ID, u.Login(), strings.ToUpper(u.Login())} {
		if r, err := c.User(t.Context(), key); err != nil || r.SourceID != u.ID {
			t.Errorf("User(%s) = %s, %v", key, r.SourceID, err)
		}
	}
	for _, key := range []string{"00uDoesNotExist00000", "nobody@acme.test", "a/b?c#d@acme.test"} {
		if _, err := c.User(t.Context(), key); !errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("User(%s) = %v, want ErrNotFound", key, err)
		}
	}
	before := tenant.Requests("")
	for _, key := range []string{"", ".", "..", "me"} {
		if _, err := c.User(t.Context(), key); err == nil || errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("User(%q) = %v, want an error that is no evidence", key, err)
		}
	}
	if tenant.Requests("") != before {
		t.Error("a request was sent that would have asked for something else")
	}
	g := tenant.Groups()[1]
	for _, key := range []string{g.ID, g.Name, strings.ToLower(g.Name)} {
		s := collect(c.Group(t.Context(), key))
		if s.Err != nil || s.Groups[g.ID] != g.Name || !cmp.Equal(s.Members[g.ID], g.Members) || !s.Last[g.ID] || !s.Complete[connectors.PhaseMembers] {
			t.Errorf("Group(%s) = %v, %v", key, s, s.Err)
		}
	}
	for _, key := range []string{"00gDoesNotExist00000", "nothing", "Platform"} {
		if s := collect(c.Group(t.Context(), key)); !errors.Is(s.Err, connectors.ErrNotFound) {
			t.Errorf("Group(%s) = %v, want ErrNotFound", key, s.Err)
		}
	}
	// Only Okta's own word is evidence.
	for _, kind := range []oktatest.FaultKind{oktatest.NotFoundHTML, oktatest.Forbidden, oktatest.Unauthorized, oktatest.Internal, oktatest.Empty, oktatest.Null, oktatest.NoContent, oktatest.PortalHTML} {
		tenant.Behave()
		tenant.Inject(oktatest.Fault{Kind: kind, Times: -1})
		if r, err := c.User(t.Context(), u.ID); err == nil || errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("User with %s = %+v, %v, want an error that is no evidence", kind, r, err)
		}
		if s := collect(c.Group(t.Context(), g.ID)); s.Err == nil || errors.Is(s.Err, connectors.ErrNotFound) {
			t.Errorf("Group with %s = %v, want an error that is no evidence", kind, s.Err)
		}
	}
}

func TestGroupEndsEarly(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.Fill(30, 1, 30)
	o := serve(t, tenant)
	o.PageSizes.Members = 4
	c := connect(t, o)
	for _, after := range []int{1, 2, 3} {
		n := 0
		for _, err := range c.Group(t.Context(), tenant.Groups()[0].ID) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == after {
				break
			}
		}
	}
	tenant.Inject(oktatest.Fault{Kind: oktatest.NotFound, Endpoint: oktatest.ListMembers, Nth: 3})
	s := collect(c.Group(t.Context(), tenant.Groups()[0].ID))
	var incomplete *connectors.IncompleteError
	if !errors.As(s.Err, &incomplete) || s.Complete[connectors.PhaseMembers] {
		t.Errorf("a group that vanishes between pages = %v, complete %v", s.Err, s.Complete)
	}
}

func TestFullStopsWhenTheReceiverDoes(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.Fill(400, 10, 800)
	o := serve(t, tenant)
	o.PageSizes = okta.PageSizes{Users: 10, Groups: 2, Members: 10}
	c := connect(t, o)
	for _, after := range []int{1, 5, 20} {
		n := 0
		for range c.Full(t.Context(), "") {
			if n++; n == after {
				break
			}
		}
		sent := c.Requests()
		time.Sleep(20 * time.Millisecond)
		if c.Requests() != sent {
			t.Error("requests go on after the receiver stopped")
		}
	}
}

func TestFullObeysTheContext(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.Fill(400, 10, 800)
	o := serve(t, tenant)
	o.PageSizes = okta.PageSizes{Users: 10, Groups: 2, Members: 10}
	tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.ListMembers, Times: -1, Delay: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	s := collect(connect(t, o).Full(ctx, ""))
	if !errors.Is(s.Err, context.DeadlineExceeded) || len(s.Complete) > 0 && (s.Complete[connectors.PhaseMembers] || s.Complete[connectors.PhaseUsers]) {
		t.Errorf("Full = %v, complete %v", s.Err, s.Complete)
	}
	if waited := time.Since(began); waited > 10*time.Second {
		t.Errorf("returned after %s", waited)
	}
}

// TestNewReadsNothingFromAround sets what the SDK would take from its surroundings. It is not parallel: it sets variables.
func TestNewReadsNothingFromAround(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".okta"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := "okta:\n  client:\n    orgUrl: https://attacker.test\n    token: stolen\n    cache: {enabled: true}\n    requestTimeout: 1\n    rateLimit: {maxRetries: 100}\n"
	if err := os.WriteFile(filepath.Join(home, ".okta", "okta.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "OKTA_CLIENT_ORGURL": "https://attacker.test", "OKTA_CLIENT_TOKEN": "stolen", "OKTA_CLIENT_AUTHORIZATIONMODE": "Bearer", "OKTA_CLIENT_CACHE_ENABLED": "true",
		"OKTA_CLIENT_REQUEST_TIMEOUT": "1", "OKTA_CLIENT_RATE_LIMIT_MAX_RETRIES": "100", "OKTA_CLIENT_PROXY_HOST": "attacker.test", "OKTA_CLIENT_PROXY_PORT": "1",
		"OKTA_CLIENT_SCOPES": "okta.users.manage", "OKTA_CLIENT_PRIVATEKEY": "x", "OKTA_CLIENT_CLIENTID": "x", "OKTA_TESTING_DISABLE_HTTPS_CHECK": "true",
	} {
		t.Setenv(name, value)
	}
	tenant := &oktatest.Tenant{}
	tenant.Fill(3, 1, 3)
	c := connect(t, serve(t, tenant))
	wantAll(t, collect(c.Full(t.Context(), "")), tenant)
	tenant.AddUser(map[string]any{"login": "new@acme.test"})
	wantAll(t, collect(c.Full(t.Context(), "")), tenant) // no cache
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := okta.Options{URL: "https://acme.okta.com", APIToken: "secret-of-the-test"}
	cases := map[string]struct {
		change func(*okta.Options)
		want   string
	}{
		"no URL":            {func(o *okta.Options) { o.URL = "" }, "URL of the organization is required"},
		"plain HTTP":        {func(o *okta.Options) { o.URL = "http://acme.okta.com" }, "https://"},
		"a path":            {func(o *okta.Options) { o.URL = "https://acme.okta.com/api/v1" }, "a scheme and a host"},
		"a query":           {func(o *okta.Options) { o.URL = "https://acme.okta.com?x" }, "a scheme and a host"},
		"a user":            {func(o *okta.Options) { o.URL = "https://me:secret-of-the-test@acme.okta.com" }, "a scheme and a host"},
		"no host":           {func(o *okta.Options) { o.URL = "https://" }, "a scheme and a host"},
		"malformed":         {func(o *okta.Options) { o.URL = "https://secret-of-the-test:%zz" }, "malformed"},
		"the admin console": {func(o *okta.Options) { o.URL = "https://acme-admin.okta.com" }, "-admin"},
		"no token":          {func(o *okta.Options) { o.APIToken = "" }, "API token is required"},
		"an app's name":     {func(o *okta.Options) { o.AppID = "../users" }, "app id"},
		"a bad glob":        {func(o *okta.Options) { o.GroupsInclude = []string{"a{"} }, "groups to include"},
		"an empty glob":     {func(o *okta.Options) { o.GroupsExclude = []string{" "} }, "groups to exclude"},
		"no CA file":        {func(o *okta.Options) { o.CAFile = "/does/not/exist.pem" }, "CA file"},
		"an empty CA file":  {func(o *okta.Options) { o.CAFile = "okta.go" }, "no certificate"},
	}
	for name, c := range cases {
		o := good
		c.change(&o)
		_, err := okta.New(o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret-of-the-test") {
			t.Errorf("%s: New = %v, want %q", name, err, c.want)
		}
	}
	if _, err := okta.New(good); err != nil {
		t.Errorf("New = %v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v", good, good, good); strings.Contains(text, "secret-of-the-test") {
		t.Errorf("the options print their token: %s", text)
	}
}

func TestCAFile(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := server.WriteCA(file); err != nil {
		t.Fatal(err)
	}
	c := connect(t, okta.Options{URL: server.URL, APIToken: oktatest.DefaultToken, CAFile: file})
	wantAll(t, collect(c.Full(t.Context(), "")), tenant)
}

// TestNoSecretInLogsOrErrors has the organization repeat the token in its answer.
func TestNoSecretInLogsOrErrors(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.Inject(oktatest.Fault{Kind: oktatest.Unauthorized, Times: -1})
	var logs strings.Builder
	o := serve(t, tenant)
	o.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := collect(connect(t, o).Full(t.Context(), ""))
	if !errors.Is(s.Err, connectors.ErrUnauthorized) || s.Pages > 0 {
		t.Fatalf("Full = %v after %d pages", s.Err, s.Pages)
	}
	if text := s.Err.Error() + logs.String(); strings.Contains(text, oktatest.DefaultToken) {
		t.Errorf("the token is in %s", text)
	}
}
