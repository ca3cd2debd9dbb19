// Package roles maps groups to roles on teams and explains why somebody holds them. It is pure: rules and grants go
// in, roles and reasons come out.
package roles

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// Rule gives the members of one group roles on teams.
type Rule = identity.RoleRule

// Options are what a mapping is made of.
type Options struct {
	Rules       []Rule
	DefaultRole identity.Role   // what a group's members get on the group's own team; "" for none
	Roles       []identity.Role // roles beyond the built-in ones
}

// Mapping is a compiled set of rules. It is immutable and safe for concurrent use; nil maps nothing.
type Mapping struct {
	rules       map[string][]identity.TeamRole // by normalized group reference
	defaultRole identity.Role
	known       []identity.Role
	listed      []Rule // the same rules in their normal form
}

// Compile checks the rules and returns the mapping, or an error that names every rule that is wrong.
func Compile(o Options) (*Mapping, error) {
	m := &Mapping{
		rules:       map[string][]identity.TeamRole{},
		defaultRole: o.DefaultRole,
		known:       slices.Concat(identity.BuiltInRoles(), o.Roles),
	}
	var problems []error
	if o.DefaultRole != "" && !m.Known(o.DefaultRole) {
		problems = append(problems, m.unknown("default role", o.DefaultRole))
	}
	problems = append(problems, m.Check(o.Rules))
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	m.add(o.Rules)
	return m, nil
}

// Check says what is wrong with rules, or returns nil.
func (m *Mapping) Check(rules []Rule) error {
	var problems []error
	for i, rule := range rules {
		where := fmt.Sprintf("role mapping %d (group %q)", i+1, rule.Group)
		if identity.Normalize(rule.Group) == "" {
			problems = append(problems, fmt.Errorf("%s: the group is missing", where))
			continue
		}
		if len(rule.Grants) == 0 {
			problems = append(problems, fmt.Errorf("%s: it grants nothing", where))
		}
		for _, g := range rule.Grants {
			switch {
			case identity.Normalize(g.Team) == "":
				problems = append(problems, fmt.Errorf("%s: a grant has no team", where))
			case !m.Known(g.Role):
				problems = append(problems, m.unknown(where, g.Role))
			}
		}
	}
	return errors.Join(problems...)
}

func (m *Mapping) add(rules []Rule) {
	m.listed = normal(append(m.listed, rules...))
	for _, rule := range rules {
		key := identity.Normalize(rule.Group)
		for _, g := range rule.Grants {
			if !slices.Contains(m.rules[key], g) {
				m.rules[key] = append(m.rules[key], g)
			}
		}
	}
}

// With returns a mapping that knows the same roles and goes by other rules, which are taken as they are: a rule that was
// right when it was written stays in force when its role is no longer configured.
func (m *Mapping) With(defaultRole identity.Role, rules []Rule) *Mapping {
	next := &Mapping{rules: map[string][]identity.TeamRole{}, defaultRole: defaultRole, known: m.Roles()}
	next.add(rules)
	return next
}

// Rules returns the rules in their normal form: one for each group, sorted.
func (m *Mapping) Rules() []Rule {
	if m == nil {
		return nil
	}
	return normal(m.listed)
}

// Names tells whether a rule names what is renamed by its former name.
func (m *Mapping) Names(r Rename) bool {
	if r.Team {
		return len(m.GroupsGranting(r.From)) > 0
	}
	return m != nil && len(m.rules[identity.Normalize(r.From)]) > 0
}

// Roles lists the roles that exist.
func (m *Mapping) Roles() []identity.Role {
	if m == nil {
		return identity.BuiltInRoles()
	}
	return slices.Clone(m.known)
}

// DefaultRole returns what a group's members get on the group's own team, "" for nothing.
func (m *Mapping) DefaultRole() identity.Role {
	if m == nil {
		return ""
	}
	return m.defaultRole
}

func (m *Mapping) unknown(where string, role identity.Role) error {
	return fmt.Errorf("%s: no role %q, want one of %s", where, role, strings.Join(m.known, ", "))
}

// Known tells whether a role exists.
func (m *Mapping) Known(role identity.Role) bool { return slices.Contains(m.Roles(), role) }

// Mapped tells whether a rule, beyond the default role, speaks of the group.
func (m *Mapping) Mapped(g *identity.Group) bool { return len(m.byRules(g)) > 0 }

// GroupsGranting returns the groups, as the rules name them, that give a role on one of these teams.
func (m *Mapping) GroupsGranting(teams ...string) []string {
	if m == nil {
		return nil
	}
	var groups []string
	for group, grants := range m.rules {
		if slices.ContainsFunc(grants, func(g identity.TeamRole) bool {
			return slices.ContainsFunc(teams, func(t string) bool { return identity.Normalize(t) == identity.Normalize(g.Team) })
		}) {
			groups = append(groups, group)
		}
	}
	slices.Sort(groups)
	return groups
}

// Grants returns what the group gives its members: the default role on the group's own team, and what the rules say,
// each once, in a stable order. ownTeam is the name of the group's team, "" when it has none.
func (m *Mapping) Grants(g *identity.Group, ownTeam string) []identity.TeamRole {
	if m == nil {
		return nil
	}
	var grants []identity.TeamRole
	if m.defaultRole != "" && ownTeam != "" {
		grants = append(grants, identity.TeamRole{Team: ownTeam, Role: m.defaultRole})
	}
	for _, grant := range m.byRules(g) {
		if !slices.ContainsFunc(grants, func(have identity.TeamRole) bool {
			return have.Role == grant.Role && identity.Normalize(have.Team) == identity.Normalize(grant.Team)
		}) {
			grants = append(grants, grant)
		}
	}
	return grants
}

func (m *Mapping) byRules(g *identity.Group) []identity.TeamRole {
	if m == nil {
		return nil
	}
	var grants []identity.TeamRole
	seen := map[string]bool{"": true}
	for _, reference := range []string{g.ExternalID, g.ID, g.DisplayName} {
		key := identity.Normalize(reference)
		if !seen[key] {
			seen[key] = true
			grants = append(grants, m.rules[key]...)
		}
	}
	return grants
}

// Access is what a user may do, with the reason for everything.
type Access struct {
	UserID   string       `json:"user_id"`
	UserName string       `json:"user_name"`
	Active   bool         `json:"active"`
	Reason   string       `json:"reason,omitempty"` // why nothing is in force, where that is so
	Teams    []TeamAccess `json:"teams"`
}

// TeamAccess is what a user may do on one team.
type TeamAccess struct {
	Team  string       `json:"team"`
	Roles []RoleAccess `json:"roles"`
}

// RoleAccess is one role with every reason for it. The role is held while one reason stands.
type RoleAccess struct {
	Role string `json:"role"`
	Via  []Via  `json:"via"`
}

// Via is one reason for a role.
type Via struct {
	Kind identity.GrantKind `json:"kind"`
	ID   string             `json:"id,omitempty"`   // group id, or id of the administrator
	Name string             `json:"name,omitempty"` // group name, or the attribute
	// The nested groups by which the user is in the group; "" for a member of its own.
	Through string `json:"through,omitempty"`
}

// Explain sums grants up by team and role, in the grants' order. The grants of an inactive user are suspended: they
// are listed, and Active is false with the reason.
func Explain(u *identity.User, grants []identity.Grant) Access {
	access := Access{UserID: u.ID, UserName: u.UserName, Active: u.Active && !u.Deleted(), Teams: []TeamAccess{}}
	switch {
	case u.Deleted():
		access.Reason = "deleted over SCIM"
	case !u.Active && u.Reason != "":
		access.Reason = "deactivated: " + u.Reason
	case !u.Active:
		access.Reason = "deactivated"
	case len(grants) == 0:
		access.Reason = "no group, direct role or manual grant gives any role"
	}
	for _, g := range grants {
		team := lastOrNew(&access.Teams, func(t TeamAccess) bool { return t.Team == g.TeamName }, TeamAccess{Team: g.TeamName})
		role := lastOrNew(&team.Roles, func(r RoleAccess) bool { return r.Role == g.Role }, RoleAccess{Role: g.Role})
		via := Via{Kind: g.Kind, ID: g.SourceID, Name: g.SourceName, Through: g.Through}
		if g.Kind == identity.GrantDirect {
			via.Name = "attribute roles"
		}
		role.Via = append(role.Via, via)
	}
	return access
}

// lastOrNew returns the last element when it is the wanted one, else appends a new one.
func lastOrNew[T any](list *[]T, is func(T) bool, fresh T) *T {
	if n := len(*list); n > 0 && is((*list)[n-1]) {
		return &(*list)[n-1]
	}
	*list = append(*list, fresh)
	return &(*list)[len(*list)-1]
}
