package roles

import (
	"cmp"
	"slices"

	"github.com/idpsync/idpsync/store/identity"
)

// Edit is a change of a set of rules.
type Edit struct {
	Set   []Rule   // these groups give exactly this, and nothing without grants
	Map   []Rule   // these groups give this too
	Unmap []Rule   // these groups give this no longer; without grants, nothing at all
	All   *[]Rule  // if not nil, exactly these rules are left, before all else
	Moved []Rename // groups and teams that go by another name now
}

// Rename is another name for what rules name.
type Rename struct {
	Team     bool // a team's name, not a group's
	From, To string
}

// Apply returns the rules as they are after the edit: one for each group, sorted, without those that grant nothing.
func (e Edit) Apply(rules []Rule) []Rule {
	if e.All != nil {
		rules = *e.All
	}
	next := normal(rules)
	for _, moved := range e.Moved {
		next = rename(next, moved)
	}
	for _, set := range e.Set {
		next = slices.DeleteFunc(next, func(r Rule) bool { return sameGroup(r, set) })
		next = append(next, set)
	}
	next = append(next, e.Map...)
	next = normal(next)
	for _, gone := range e.Unmap {
		for i := range next {
			if !sameGroup(next[i], gone) {
				continue
			}
			next[i].Grants = slices.DeleteFunc(next[i].Grants, func(g identity.TeamRole) bool {
				return len(gone.Grants) == 0 || slices.ContainsFunc(gone.Grants, func(x identity.TeamRole) bool { return sameGrant(x, g) })
			})
		}
	}
	return normal(next)
}

func sameGroup(a, b Rule) bool { return identity.Normalize(a.Group) == identity.Normalize(b.Group) }

func sameGrant(a, b identity.TeamRole) bool {
	return a.Role == b.Role && identity.Normalize(a.Team) == identity.Normalize(b.Team)
}

func rename(rules []Rule, r Rename) []Rule {
	from := identity.Normalize(r.From)
	for i := range rules {
		if !r.Team {
			if identity.Normalize(rules[i].Group) == from {
				rules[i].Group = r.To
			}
			continue
		}
		for k := range rules[i].Grants {
			if identity.Normalize(rules[i].Grants[k].Team) == from {
				rules[i].Grants[k].Team = r.To
			}
		}
	}
	return normal(rules)
}

// normal returns rules in the one form that is stored: a rule for each group and a grant for each team and role, all
// sorted, none empty. What it returns shares nothing with rules.
func normal(rules []Rule) []Rule {
	var out []Rule
	at := map[string]int{}
	for _, rule := range rules {
		key := identity.Normalize(rule.Group)
		if len(rule.Grants) == 0 || key == "" {
			continue
		}
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, Rule{Group: rule.Group})
		}
		for _, g := range rule.Grants {
			if !slices.ContainsFunc(out[i].Grants, func(have identity.TeamRole) bool { return sameGrant(have, g) }) {
				out[i].Grants = append(out[i].Grants, g)
			}
		}
	}
	for i := range out {
		slices.SortFunc(out[i].Grants, func(a, b identity.TeamRole) int {
			return cmp.Or(cmp.Compare(identity.Normalize(a.Team), identity.Normalize(b.Team)), cmp.Compare(a.Role, b.Role))
		})
	}
	slices.SortFunc(out, func(a, b Rule) int { return cmp.Compare(identity.Normalize(a.Group), identity.Normalize(b.Group)) })
	return out
}

// RuleChange is how one group's rule differs.
type RuleChange struct {
	Group   string              `json:"group"`
	Added   []identity.TeamRole `json:"added,omitempty"`
	Removed []identity.TeamRole `json:"removed,omitempty"`
}

// Compare returns how the rules after differ from those before, group by group.
func Compare(before, after []Rule) []RuleChange {
	before, after = normal(before), normal(after)
	var changes []RuleChange
	find := func(rules []Rule, like Rule) Rule {
		if i := slices.IndexFunc(rules, func(r Rule) bool { return sameGroup(r, like) }); i >= 0 {
			return rules[i]
		}
		return Rule{}
	}
	for _, now := range after {
		was := find(before, now)
		c := RuleChange{Group: now.Group, Added: without(now.Grants, was.Grants), Removed: without(was.Grants, now.Grants)}
		if len(c.Added)+len(c.Removed) > 0 {
			changes = append(changes, c)
		}
	}
	for _, was := range before {
		if find(after, was).Group == "" {
			changes = append(changes, RuleChange{Group: was.Group, Removed: was.Grants})
		}
	}
	slices.SortFunc(changes, func(a, b RuleChange) int {
		return cmp.Compare(identity.Normalize(a.Group), identity.Normalize(b.Group))
	})
	return changes
}

func without(all, some []identity.TeamRole) []identity.TeamRole {
	return slices.DeleteFunc(slices.Clone(all), func(g identity.TeamRole) bool {
		return slices.ContainsFunc(some, func(x identity.TeamRole) bool { return sameGrant(x, g) })
	})
}
