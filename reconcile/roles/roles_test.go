package roles_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

func grants(pairs ...string) []identity.TeamRole {
	var list []identity.TeamRole
	for _, p := range pairs {
		team, role, _ := strings.Cut(p, ":")
		list = append(list, identity.TeamRole{Team: team, Role: role})
	}
	return list
}

func compile(t *testing.T, o roles.Options) *roles.Mapping {
	t.Helper()
	m, err := roles.Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCompile_NamesEveryProblem(t *testing.T) {
	t.Parallel()
	const known = "admin, viewer, operator, scim_provisioner, billing"
	for _, c := range []struct {
		name string
		o    roles.Options
		want string
	}{
		{"nothing", roles.Options{}, ""},
		{"a role of the configuration", roles.Options{Rules: []roles.Rule{{Group: "g", Grants: grants("root:billing")}}, DefaultRole: "billing"}, ""},
		{"default role", roles.Options{DefaultRole: "boss"}, `default role: no role "boss", want one of ` + known},
		{"role", roles.Options{Rules: []roles.Rule{{Group: "g", Grants: grants("root:Admin")}}}, `role mapping 1 (group "g"): no role "Admin", want one of ` + known},
		{"no role", roles.Options{Rules: []roles.Rule{{Group: "g", Grants: grants("root:")}}}, `role mapping 1 (group "g"): no role "", want one of ` + known},
		{"no team", roles.Options{Rules: []roles.Rule{{Group: "g", Grants: grants(" :admin")}}}, `role mapping 1 (group "g"): a grant has no team`},
		{"no group", roles.Options{Rules: []roles.Rule{{Group: " ", Grants: grants("root:admin")}}}, `role mapping 1 (group " "): the group is missing`},
		{"no grants", roles.Options{Rules: []roles.Rule{{Group: "g"}}}, `role mapping 1 (group "g"): it grants nothing`},
		{
			"all at once",
			roles.Options{Rules: []roles.Rule{{Grants: grants("root:admin")}, {Group: "a", Grants: grants("root:admin")}, {Group: "b"}}},
			"role mapping 1 (group \"\"): the group is missing\nrole mapping 3 (group \"b\"): it grants nothing",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.Roles = []string{"billing"}
			m, err := roles.Compile(c.o)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want || (m == nil) != (c.want != "") {
				t.Errorf("Compile() = %v, %q, want %q", m, got, c.want)
			}
		})
	}
}

func TestMapping_Grants(t *testing.T) {
	t.Parallel()
	rules := []roles.Rule{
		{Group: "Engineers", Grants: grants("Payments:operator", "root:viewer")},
		{Group: "00g1", Grants: grants("root:admin", "payments:operator")},
		{Group: "engineers ", Grants: grants("root:viewer", "Infra:viewer")},
		{Group: "4b5fe2f6-53f3-4ad6-9ef8-44b7a9ab5d11", Grants: grants("Own:operator")},
	}
	group := identity.Group{ID: "4b5fe2f6-53f3-4ad6-9ef8-44b7a9ab5d11", ExternalID: "00G1", DisplayName: "ENGINEERS"}
	for _, c := range []struct {
		name        string
		group       identity.Group
		ownTeam     string
		defaultRole string
		want        []identity.TeamRole
	}{
		{"external id, id and name, each once", group, "ENGINEERS", "viewer", grants("ENGINEERS:viewer", "root:admin", "payments:operator", "Own:operator", "root:viewer", "Infra:viewer")},
		{"no default role", identity.Group{DisplayName: "Engineers"}, "Engineers", "", grants("Payments:operator", "root:viewer", "Infra:viewer")},
		{"no team", identity.Group{DisplayName: "Other"}, "", "viewer", nil},
		{"no rule", identity.Group{DisplayName: "Other"}, "Other", "viewer", grants("Other:viewer")},
		{"a rule that repeats the default role", identity.Group{DisplayName: "Engineers"}, "infra", "viewer", grants("infra:viewer", "Payments:operator", "root:viewer")},
		{"all references the same", identity.Group{ID: "x", DisplayName: "00g1", ExternalID: "00g1"}, "", "", grants("root:admin", "payments:operator")},
		{"an empty reference means no rule", identity.Group{}, "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := compile(t, roles.Options{Rules: rules, DefaultRole: c.defaultRole})
			if diff := cmp.Diff(c.want, m.Grants(&c.group, c.ownTeam)); diff != "" {
				t.Errorf("Grants() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMapping_GroupsGranting(t *testing.T) {
	t.Parallel()
	m := compile(t, roles.Options{Rules: []roles.Rule{
		{Group: "B", Grants: grants("Payments:operator")},
		{Group: "A", Grants: grants("root:admin", "payments:viewer")},
		{Group: "C", Grants: grants("root:viewer")},
	}, DefaultRole: "viewer"})
	for _, c := range []struct {
		teams, want []string
	}{
		{nil, nil},
		{[]string{"Infra"}, nil},
		{[]string{" PAYMENTS"}, []string{"a", "b"}},
		{[]string{"root", "Payments"}, []string{"a", "b", "c"}},
	} {
		if diff := cmp.Diff(c.want, m.GroupsGranting(c.teams...)); diff != "" {
			t.Errorf("GroupsGranting(%q) (-want +got):\n%s", c.teams, diff)
		}
	}
}

func TestMapping_NilMapsNothing(t *testing.T) {
	t.Parallel()
	var m *roles.Mapping
	g := &identity.Group{DisplayName: "g"}
	if m.Mapped(g) || m.Grants(g, "g") != nil || m.GroupsGranting("root") != nil || !m.Known(identity.RoleAdmin) || m.Known("billing") {
		t.Error("a nil mapping maps something, or knows other roles than the built-in ones")
	}
}

// Whatever the rules, a group gets each role on each team once, and exactly what its references are mapped to.
func TestMapping_GrantsAreASetWhateverTheOrderOfTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.Custom(func(t *rapid.T) roles.Rule {
			grant := rapid.Custom(func(t *rapid.T) identity.TeamRole {
				return identity.TeamRole{
					Team: rapid.SampledFrom([]string{"root", "Root", "Payments", "payments ", "Own"}).Draw(t, "team"),
					Role: rapid.SampledFrom(identity.BuiltInRoles()).Draw(t, "role"),
				}
			})
			return roles.Rule{
				Group:  rapid.SampledFrom([]string{"id", "External", "name", "NAME", "other"}).Draw(t, "group"),
				Grants: rapid.SliceOfN(grant, 1, 4).Draw(t, "grants"),
			}
		})
		rules := rapid.SliceOfN(rule, 0, 6).Draw(t, "rules")
		g := &identity.Group{ID: "id", ExternalID: "external", DisplayName: "Name"}
		set := func(rules []roles.Rule) []string {
			m, err := roles.Compile(roles.Options{Rules: rules, DefaultRole: "viewer"})
			if err != nil {
				t.Fatal(err)
			}
			var list []string
			for _, grant := range m.Grants(g, "own") {
				list = append(list, identity.Normalize(grant.Team)+":"+grant.Role)
			}
			slices.Sort(list)
			return list
		}
		want := []string{"own:viewer"}
		for _, r := range rules {
			if r.Group != "other" {
				for _, grant := range r.Grants {
					want = append(want, identity.Normalize(grant.Team)+":"+grant.Role)
				}
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if diff := cmp.Diff(want, set(rules)); diff != "" {
			t.Fatalf("Grants() (-want +got):\n%s", diff)
		}
		slices.Reverse(rules)
		if diff := cmp.Diff(want, set(rules)); diff != "" {
			t.Fatalf("Grants() of the reversed rules (-want +got):\n%s", diff)
		}
	})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	held := []identity.Grant{
		{TeamName: "Payments", Role: "operator", Kind: identity.GrantGroup, SourceID: "g1", SourceName: "Engineers"},
		{TeamName: "root", Role: "admin", Kind: identity.GrantDirect},
		{TeamName: "root", Role: "admin", Kind: identity.GrantGroup, SourceID: "g1", SourceName: "Engineers"},
		{TeamName: "root", Role: "admin", Kind: identity.GrantGroup, SourceID: "g2", SourceName: "Admins", Through: "Engineers, Ops"},
		{TeamName: "root", Role: "viewer", Kind: identity.GrantManual, SourceID: "u9"},
	}
	teams := []roles.TeamAccess{
		{Team: "Payments", Roles: []roles.RoleAccess{{Role: "operator", Via: []roles.Via{{Kind: "group", ID: "g1", Name: "Engineers"}}}}},
		{Team: "root", Roles: []roles.RoleAccess{
			{Role: "admin", Via: []roles.Via{{Kind: "direct", Name: "attribute roles"}, {Kind: "group", ID: "g1", Name: "Engineers"}, {Kind: "group", ID: "g2", Name: "Admins", Through: "Engineers, Ops"}}},
			{Role: "viewer", Via: []roles.Via{{Kind: "manual", ID: "u9"}}},
		}},
	}
	for _, c := range []struct {
		name   string
		user   identity.User
		grants []identity.Grant
		want   roles.Access
	}{
		{"every reason is listed", identity.User{Active: true}, held, roles.Access{Active: true, Teams: teams}},
		{"no grants", identity.User{Active: true}, nil, roles.Access{Active: true, Reason: "no group, direct role or manual grant gives any role", Teams: []roles.TeamAccess{}}},
		{"inactive: suspended, and listed", identity.User{Reason: "absent"}, held, roles.Access{Reason: "deactivated: absent", Teams: teams}},
		{"inactive without a reason or grants", identity.User{}, nil, roles.Access{Reason: "deactivated", Teams: []roles.TeamAccess{}}},
		{"deleted", identity.User{DeletedAt: time.Unix(1, 0), Reason: "x"}, held, roles.Access{Reason: "deleted over SCIM", Teams: teams}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.user.ID, c.user.UserName = "1", "ana@acme.test"
			c.want.UserID, c.want.UserName = "1", "ana@acme.test"
			if diff := cmp.Diff(c.want, roles.Explain(&c.user, c.grants)); diff != "" {
				t.Errorf("Explain() (-want +got):\n%s", diff)
			}
		})
	}
}

func ExampleExplain() {
	u := identity.User{UserName: "ana@acme.test", Active: true}
	access := roles.Explain(&u, []identity.Grant{
		{TeamName: "Payments", Role: "operator", Kind: identity.GrantGroup, SourceID: "g1", SourceName: "Engineers"},
		{TeamName: "root", Role: "admin", Kind: identity.GrantDirect},
		{TeamName: "root", Role: "admin", Kind: identity.GrantGroup, SourceID: "g2", SourceName: "Admins"},
	})
	for _, team := range access.Teams {
		for _, role := range team.Roles {
			fmt.Printf("%s on %s:", role.Role, team.Team)
			for _, via := range role.Via {
				fmt.Printf(" %s %s;", via.Kind, via.Name)
			}
			fmt.Println()
		}
	}
	// Output:
	// operator on Payments: group Engineers;
	// admin on root: direct attribute roles; group Admins;
}

func ExampleMapping_Grants() {
	m, err := roles.Compile(roles.Options{
		DefaultRole: identity.RoleViewer,
		Rules: []roles.Rule{{Group: "Platform Admins", Grants: []identity.TeamRole{
			{Team: identity.RootTeam, Role: identity.RoleAdmin}, {Team: "Payments", Role: identity.RoleOperator},
		}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range m.Grants(&identity.Group{DisplayName: "platform admins"}, "platform admins") {
		fmt.Println(g.Role, "on", g.Team)
	}
	// Output:
	// viewer on platform admins
	// admin on root
	// operator on Payments
}
