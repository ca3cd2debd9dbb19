package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

// TeamRole is a role on a team.
type TeamRole struct {
	Team string `json:"team" minLength:"1" maxLength:"200"`
	Role string `json:"role" minLength:"1" maxLength:"64"`
}

func teamRoles(list []identity.TeamRole) []TeamRole {
	out := make([]TeamRole, len(list))
	for i, g := range list {
		out[i] = TeamRole{g.Team, g.Role}
	}
	return out
}

func identityRoles(list []TeamRole) []identity.TeamRole {
	out := make([]identity.TeamRole, len(list))
	for i, g := range list {
		out[i] = identity.TeamRole{Team: strings.TrimSpace(g.Team), Role: g.Role}
	}
	return out
}

// Rule gives the members of a group roles on teams.
type Rule struct {
	Group   string     `json:"group" minLength:"1" maxLength:"1000" doc:"The group's displayName, externalId or id; it need not be there yet."`
	Grants  []TeamRole `json:"grants" nullable:"false" maxItems:"1000"`
	GroupID string     `json:"group_id,omitempty" readOnly:"true" doc:"The held group that is meant; absent where there is none yet."`
	Members *int       `json:"members,omitempty" readOnly:"true"`
}

// Mapping is the role mapping in force.
type Mapping struct {
	Items       []Rule       `json:"items" nullable:"false"`
	DefaultRole string       `json:"default_role" doc:"What every group gives its members on its own team; empty for nothing."`
	Declared    bool         `json:"declared" doc:"The configuration declares it: it is changed there."`
	Waiting     *MappingPlan `json:"waiting,omitempty" doc:"What the configuration declares that is not in force."`
	Problem     string       `json:"problem,omitempty" doc:"Why what the configuration declares cannot be put in force."`
}

// MappingPlan is what a change of the role mapping comes to.
type MappingPlan struct {
	Status   string        `json:"status" enum:"done,planned,held" doc:"planned: a dry run. held: too many people would lose a role; approve it with its plan_hash."`
	Applied  bool          `json:"applied"`
	PlanHash string        `json:"plan_hash"`
	Guard    string        `json:"guard,omitempty" doc:"Why it is held."`
	Losing   int           `json:"losing" doc:"How many people lose a role."`
	Gaining  int           `json:"gaining" doc:"How many people gain a role."`
	Totals   []RoleTotal   `json:"totals" nullable:"false" doc:"How many gain and lose each role on each team."`
	Default  *DefaultRole  `json:"default_role,omitempty" doc:"Where what every group gives on its own team changes."`
	Rules    []RuleChange  `json:"rules" nullable:"false"`
	Groups   []GroupEffect `json:"groups" nullable:"false"`
	Gains    []RoleEffect  `json:"gains" nullable:"false"`
	Losses   []RoleEffect  `json:"losses" nullable:"false"`
}

// DefaultRole is what every group gives its members on its own team.
type DefaultRole struct {
	Before string `json:"before"`
	After  string `json:"after"`
}

// RuleChange is what a rule gives from then on, and no longer.
type RuleChange struct {
	Group   string     `json:"group"`
	Added   []TeamRole `json:"added" nullable:"false"`
	Removed []TeamRole `json:"removed" nullable:"false"`
}

// GroupEffect is what a held group gives from then on, and no longer.
type GroupEffect struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Members int        `json:"members"`
	Added   []TeamRole `json:"added" nullable:"false"`
	Removed []TeamRole `json:"removed" nullable:"false"`
}

// RoleEffect is somebody who gains or loses a role.
type RoleEffect struct {
	UserID   string `json:"user_id"`
	UserName string `json:"user_name"`
	Team     string `json:"team"`
	Role     string `json:"role"`
}

// RoleTotal is how many people gain a role on a team, and how many lose it.
type RoleTotal struct {
	Team   string `json:"team"`
	Role   string `json:"role"`
	Gains  int    `json:"gains"`
	Losses int    `json:"losses"`
}

// someOf is which of those who gain, and of those who lose, an answer names: at most so many of each, after so many; all
// of them where most is nil.
type someOf struct {
	most *int
	from int
}

func (s someOf) of(list []lifecycle.RoleEffect) []lifecycle.RoleEffect {
	list = list[min(max(s.from, 0), len(list)):]
	if s.most != nil {
		list = list[:min(*s.most, len(list))]
	}
	return list
}

// totalsOf counts gains and losses by team and role, and those who gain anything.
func totalsOf(p *lifecycle.MappingPlan) (totals []RoleTotal, gaining int) {
	counts := map[TeamRole]*RoleTotal{}
	count := func(e *lifecycle.RoleEffect) *RoleTotal {
		key := TeamRole{e.Team, e.Role}
		if counts[key] == nil {
			counts[key] = &RoleTotal{Team: e.Team, Role: e.Role}
		}
		return counts[key]
	}
	people := map[string]bool{}
	for i := range p.Gains {
		count(&p.Gains[i]).Gains++
		people[p.Gains[i].UserID] = true
	}
	for i := range p.Losses {
		count(&p.Losses[i]).Losses++
	}
	totals = []RoleTotal{}
	for _, t := range counts {
		totals = append(totals, *t)
	}
	slices.SortFunc(totals, func(a, b RoleTotal) int { return cmp.Or(cmp.Compare(a.Team, b.Team), cmp.Compare(a.Role, b.Role)) })
	return totals, len(people)
}

func planOf(p *lifecycle.MappingPlan, some someOf) *MappingPlan {
	out := &MappingPlan{
		Status: "planned", Applied: p.Applied, PlanHash: p.Hash, Guard: p.Guard, Losing: p.Losing,
		Rules: []RuleChange{}, Groups: []GroupEffect{}, Gains: roleEffects(some.of(p.Gains)), Losses: roleEffects(some.of(p.Losses)),
	}
	out.Totals, out.Gaining = totalsOf(p)
	switch {
	case p.Applied:
		out.Status = "done"
	case p.Held():
		out.Status = "held"
	}
	if p.DefaultRole[0] != p.DefaultRole[1] {
		out.Default = &DefaultRole{p.DefaultRole[0], p.DefaultRole[1]}
	}
	for _, r := range p.Rules {
		out.Rules = append(out.Rules, RuleChange{r.Group, teamRoles(r.Added), teamRoles(r.Removed)})
	}
	for _, g := range p.Groups {
		out.Groups = append(out.Groups, GroupEffect{g.ID, g.Name, g.Members, teamRoles(g.Added), teamRoles(g.Removed)})
	}
	return out
}

func roleEffects(list []lifecycle.RoleEffect) []RoleEffect {
	out := make([]RoleEffect, len(list))
	for i, e := range list {
		out[i] = RoleEffect{e.UserID, e.UserName, e.Team, e.Role}
	}
	return out
}

// RemapOptions is what every change of the mapping takes.
type RemapOptions struct {
	DryRun   bool   `json:"dry_run,omitempty" doc:"Say who would gain and lose what, and change nothing."`
	PlanHash string `json:"plan_hash,omitempty" maxLength:"100" doc:"Approve the plan with this hash, which the guard held."`
	Effects  *int   `json:"effects,omitempty" minimum:"0" maximum:"100000" doc:"How many of gains, and of losses, the answer names at most; absent: all."`
	From     int    `json:"effects_from,omitempty" minimum:"0" doc:"How many of each it leaves out before."`
}

func (o *RemapOptions) some() someOf { return someOf{o.Effects, o.From} }

const tagMapping = "role mapping"

func (a *API) registerMapping() {
	add(a, operation{
		id: "list-role-mappings", method: http.MethodGet, path: "/role-mappings", tag: tagMapping, need: needViewer, summary: "Show the role mapping in force",
		description: "Where the configuration declares it and something else is in force, waiting says what.",
	}, a.showMapping)
	add(a, operation{
		id: "set-role-mapping", method: http.MethodPost, path: "/role-mappings", tag: tagMapping, need: needAdmin, summary: "Say what a group gives its members",
		description: "The group gives exactly this from then on, or with add, this too. What too many people would lose by is held: 409 with the plan and its hash.",
	}, func(ctx context.Context, in *struct {
		Body struct {
			Group  string     `json:"group" minLength:"1" maxLength:"1000" doc:"The group's displayName, externalId or id; it need not be there yet."`
			Grants []TeamRole `json:"grants" nullable:"false" minItems:"1" maxItems:"1000"`
			Add    bool       `json:"add,omitempty" doc:"Beside what it gives already."`
			RemapOptions
		}
	},
	) (*bodyOf[*MappingPlan], error) {
		rules := []roles.Rule{{Group: strings.TrimSpace(in.Body.Group), Grants: identityRoles(in.Body.Grants)}}
		edit := roles.Edit{Set: rules}
		if in.Body.Add {
			edit = roles.Edit{Map: rules}
		}
		return a.remap(ctx, edit, in.Body.RemapOptions)
	})
	add(a, operation{
		id: "replace-role-mappings", method: http.MethodPut, path: "/role-mappings", tag: tagMapping, need: needAdmin, summary: "Make the role mapping exactly this",
		description: "Groups that are not named give nothing but the default role any more.",
	}, func(ctx context.Context, in *struct {
		Body struct {
			Items []RuleIn `json:"items" nullable:"false" maxItems:"10000"`
			RemapOptions
		}
	},
	) (*bodyOf[*MappingPlan], error) {
		rules := []roles.Rule{}
		for _, r := range in.Body.Items {
			rules = append(rules, roles.Rule{Group: strings.TrimSpace(r.Group), Grants: identityRoles(r.Grants)})
		}
		return a.remap(ctx, roles.Edit{All: &rules}, in.Body.RemapOptions)
	})
	add(a, operation{
		id: "delete-role-mapping", method: http.MethodDelete, path: "/role-mappings", tag: tagMapping, need: needAdmin,
		summary: "Let a group no longer give roles, or this role",
	}, a.unmap)
	add(a, operation{
		id: "unmap-roles", method: http.MethodPost, path: "/role-mappings/unmap", tag: tagMapping, need: needAdmin,
		summary: "Let a group no longer give roles, or these roles", description: "As DELETE, with several roles at once.",
	}, func(ctx context.Context, in *struct {
		Body struct {
			Group  string     `json:"group" minLength:"1" maxLength:"1000" doc:"As the rule names it."`
			Grants []TeamRole `json:"grants,omitempty" nullable:"false" maxItems:"1000" doc:"Absent for all that it gives."`
			RemapOptions
		}
	},
	) (*bodyOf[*MappingPlan], error) {
		return a.unmapRule(ctx, roles.Rule{Group: in.Body.Group, Grants: identityRoles(in.Body.Grants)}, in.Body.RemapOptions)
	})
	add(a, operation{
		id: "apply-role-mappings", method: http.MethodPost, path: "/role-mappings/apply", tag: tagMapping, need: needAdmin,
		summary: "Put in force what the configuration declares", description: "A server does that when it starts, unless the guard holds it.",
	}, func(ctx context.Context, in *struct {
		Body *RemapOptions
	},
	) (*bodyOf[*MappingPlan], error) {
		options := orZero(in.Body)
		p, err := a.o.SyncMapping(ctx, callerOf(ctx).actor, options.DryRun, options.PlanHash)
		return remapped(&p, err, options)
	})
}

// RuleIn is a rule of the role mapping as requests state it.
type RuleIn struct {
	Group  string     `json:"group" minLength:"1" maxLength:"1000"`
	Grants []TeamRole `json:"grants" nullable:"false" minItems:"1" maxItems:"1000"`
}

func (a *API) showMapping(ctx context.Context, in *struct {
	Effects int `query:"effects" minimum:"-1" maximum:"100000" default:"-1" doc:"How many of waiting's gains, and of its losses, are named at most; -1: all."`
},
) (*bodyOf[Mapping], error) {
	mapping, err := a.o.Applier.Mapping(ctx)
	if err != nil {
		return nil, err
	}
	out := Mapping{Items: []Rule{}, DefaultRole: mapping.DefaultRole()}
	rules := mapping.Rules()
	references := make([]string, len(rules))
	for i, rule := range rules {
		references[i] = identity.Normalize(rule.Group)
	}
	var groups []identity.Group
	if len(references) > 0 {
		if groups, err = a.o.Store.MappedGroups(ctx, references); err != nil {
			return nil, err
		}
	}
	for i, rule := range rules {
		told := Rule{Group: rule.Group, Grants: teamRoles(rule.Grants)}
		for k := range groups {
			g := &groups[k]
			if slices.Contains([]string{identity.Normalize(g.ExternalID), identity.Normalize(g.ID), identity.Normalize(g.DisplayName)}, references[i]) {
				told.GroupID, told.Members = g.ID, &g.MemberCount
				break
			}
		}
		out.Items = append(out.Items, told)
	}
	if _, out.Declared = a.o.Applier.Declared(); !out.Declared {
		return &bodyOf[Mapping]{out}, nil
	}
	p, err := a.o.SyncMapping(ctx, callerOf(ctx).actor, true, "")
	switch {
	case err != nil && a.known(err) != nil:
		out.Problem = err.Error()
	case err != nil:
		return nil, err
	case !p.Empty():
		some := someOf{}
		if in.Effects >= 0 {
			some.most = &in.Effects
		}
		out.Waiting = planOf(&p, some)
	}
	return &bodyOf[Mapping]{out}, nil
}

func (a *API) remap(ctx context.Context, edit roles.Edit, in RemapOptions) (*bodyOf[*MappingPlan], error) {
	p, err := a.o.Remap(ctx, callerOf(ctx).actor, edit, in.DryRun, in.PlanHash)
	return remapped(&p, err, in)
}

// remapped answers what a change of the mapping came to. What the guard held is a conflict that has the plan, so that it
// can be looked at and approved.
func remapped(p *lifecycle.MappingPlan, err error, in RemapOptions) (*bodyOf[*MappingPlan], error) {
	if errors.Is(err, lifecycle.ErrPlanChanged) {
		problem := problem(http.StatusConflict, kindPlanChanged, fmt.Sprintf("what would change is not what was approved: its hash is %s now; look at it again", p.Hash))
		problem.Plan = planOf(p, in.some())
		return nil, problem
	}
	if err != nil {
		return nil, err
	}
	if p.Held() && !in.DryRun {
		problem := problem(http.StatusConflict, kindHeld, p.Guard+": nothing was changed; to do it all the same, send the same with plan_hash "+p.Hash)
		problem.Plan = planOf(p, in.some())
		return nil, problem
	}
	return &bodyOf[*MappingPlan]{planOf(p, in.some())}, nil
}

func (a *API) unmap(ctx context.Context, in *struct {
	Group    string `query:"group" required:"true" minLength:"1" maxLength:"1000" doc:"As the rule names it."`
	Team     string `query:"team" maxLength:"200" doc:"With role: only this."`
	Role     string `query:"role" maxLength:"64"`
	DryRun   bool   `query:"dry_run" doc:"Say who would lose what, and change nothing."`
	PlanHash string `query:"plan_hash" maxLength:"100" doc:"Approve the plan with this hash, which the guard held."`
},
) (*bodyOf[*MappingPlan], error) {
	if (in.Team == "") != (in.Role == "") {
		return nil, invalid("query.role", "team and role go together")
	}
	rule := roles.Rule{Group: in.Group}
	if in.Team != "" {
		rule.Grants = []identity.TeamRole{{Team: in.Team, Role: in.Role}}
	}
	return a.unmapRule(ctx, rule, RemapOptions{DryRun: in.DryRun, PlanHash: in.PlanHash})
}

// unmapRule takes a rule out of the mapping, or a part of it. That there is no such thing is most likely a name that was
// mistyped.
func (a *API) unmapRule(ctx context.Context, rule roles.Rule, in RemapOptions) (*bodyOf[*MappingPlan], error) {
	if _, declared := a.o.Applier.Declared(); !declared { // else it is refused with that reason
		mapping, err := a.o.Applier.Mapping(ctx)
		if err != nil {
			return nil, err
		}
		if why := unmapped(mapping.Rules(), rule); why != "" {
			return nil, notFound(why)
		}
	}
	return a.remap(ctx, roles.Edit{Unmap: []roles.Rule{rule}}, in)
}

// unmapped says what of a rule the mapping does not have, or "".
func unmapped(rules []roles.Rule, rule roles.Rule) string {
	i := slices.IndexFunc(rules, func(r roles.Rule) bool { return identity.Normalize(r.Group) == identity.Normalize(rule.Group) })
	if i < 0 {
		return "the role mapping has no rule for group " + rule.Group + ": see idpsync roles list"
	}
	for _, g := range rule.Grants {
		if !slices.ContainsFunc(rules[i].Grants, func(x identity.TeamRole) bool {
			return x.Role == g.Role && identity.Normalize(x.Team) == identity.Normalize(g.Team)
		}) {
			return fmt.Sprintf("group %s is not mapped to %s:%s, only to %s", rule.Group, g.Team, g.Role, grantsText(rules[i].Grants))
		}
	}
	return ""
}

func grantsText(grants []identity.TeamRole) string {
	texts := make([]string, len(grants))
	for i, g := range grants {
		texts[i] = g.Team + ":" + g.Role
	}
	return strings.Join(texts, ", ")
}

// Empty tells whether there is nothing to change.
func (p *MappingPlan) Empty() bool { return len(p.Rules)+len(p.Groups) == 0 && p.Default == nil }
