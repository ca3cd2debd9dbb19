package lifecycle

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Remap is a change of the role mapping.
type Remap struct {
	Edit   roles.Edit
	DryRun bool // say what would come of it, and change nothing

	// Guard says why so many of those who hold a role may not lose one, or "". Nil lets everything through.
	Guard func(losing, holding int) string
	// Approve is the hash of a plan that an operator has seen: exactly that is done, whatever the guard says.
	Approve string
}

// MappingPlan is what a change of the role mapping comes to. People are active ones; somebody who holds a role for
// another reason neither gains nor loses it.
type MappingPlan struct {
	Rules       []roles.RuleChange
	DefaultRole [2]identity.Role // before and after
	Groups      []GroupEffect    // held groups that give something else than before
	Gains       []RoleEffect
	Losses      []RoleEffect
	Losing      int // people who lose a role
	Holding     int // people who hold any role; counted where somebody loses one
	Guard       string
	Hash        string // "sha256:..." over all of the above
	Applied     bool
}

// GroupEffect is what a group gives from then on, and no longer.
type GroupEffect struct {
	ID      string              `json:"id"`
	Name    string              `json:"name"`
	Members int                 `json:"members"`
	Added   []identity.TeamRole `json:"added,omitempty"`
	Removed []identity.TeamRole `json:"removed,omitempty"`
}

// RoleEffect is somebody who gains or loses a role on a team.
type RoleEffect struct {
	UserID   string `json:"user_id"`
	UserName string `json:"user_name"`
	Team     string `json:"team"`
	Role     string `json:"role"`
}

// Empty tells whether the mapping is as it is wanted, and every group gives what it says.
func (p *MappingPlan) Empty() bool {
	return len(p.Rules)+len(p.Groups) == 0 && p.DefaultRole[0] == p.DefaultRole[1]
}

// Held tells whether the guard keeps the plan from being done.
func (p *MappingPlan) Held() bool { return p.Guard != "" && !p.Applied }

// ErrPlanChanged: what a change of the mapping comes to is not what the operator approved.
var ErrPlanChanged = errors.New("what would change is not what was approved")

// MappingDeclaredError says that the configuration declares the role mapping, so that it is not changed elsewhere.
type MappingDeclaredError struct{}

func (*MappingDeclaredError) Error() string {
	return "the configuration declares the role mapping: change role_mapping there"
}

// errNotApplied ends a transaction that only finds out what would come of it.
var errNotApplied = errors.New("not applied")

// Remap changes the stored role mapping and makes what all groups concerned give their members what it says, in one
// transaction. What the guard holds, and a dry run, change nothing: the plan tells what would. It is refused with a
// *MappingDeclaredError, a *RefusedError (break glass, protected roles), ErrPlanChanged, and for rules that are wrong.
func (a *Applier) Remap(ctx context.Context, by identity.Actor, r Remap) (MappingPlan, error) {
	if _, declared := a.Declared(); declared {
		return MappingPlan{}, &MappingDeclaredError{}
	}
	return a.remap(ctx, by, r, false)
}

// SyncMapping puts in force what the configuration declares: its rules where it has any, and the default role. A mapping
// that was declared and is no longer stays as it is, to be changed by hand from then on. Where nothing differs, nothing
// is written.
func (a *Applier) SyncMapping(ctx context.Context, by identity.Actor, r Remap) (MappingPlan, error) {
	held, err := a.store.Setting(ctx, store.RoleMappingSetting)
	if err != nil {
		return MappingPlan{}, err
	}
	now, err := a.compiled(ctx, a.store, held)
	if err != nil {
		return MappingPlan{}, err
	}
	r.Edit = roles.Edit{}
	declared, is := a.Declared()
	if is {
		rules := declared.Rules()
		r.Edit.All = &rules
	}
	if now.version > 0 && now.value == (mappingValue{declared.DefaultRole(), is}) && len(roles.Compare(now.rules, r.Edit.Apply(now.rules))) == 0 {
		return MappingPlan{}, nil
	}
	return a.remap(ctx, by, r, is)
}

// Wanted returns the mapping that will be in force once the configuration's part of it is: for plans that change nothing.
func (a *Applier) Wanted(ctx context.Context) (*roles.Mapping, error) {
	if declared, is := a.Declared(); is {
		return declared, nil
	}
	now, err := a.Mapping(ctx)
	if err != nil {
		return nil, err
	}
	return a.mapping.With(a.mapping.DefaultRole(), now.Rules()), nil
}

func (a *Applier) remap(ctx context.Context, by identity.Actor, r Remap, declared bool) (MappingPlan, error) {
	var plan MappingPlan
	inTx := a.inTx
	if r.DryRun { // what is only asked about was not tried: that it would be refused is no event
		inTx = func(ctx context.Context, by identity.Actor, f func(*change) error) error {
			return a.store.InTx(ctx, func(tx *store.Tx) error { return a.within(ctx, tx, by, f) })
		}
	}
	err := inTx(ctx, by, func(c *change) error {
		c.protect = true
		err := c.guarded(ctx, func() error {
			var err error
			plan, err = c.remap(ctx, r, declared)
			return err
		})
		if err != nil {
			return err
		}
		if r.DryRun || r.Approve == "" && plan.Guard != "" {
			return errNotApplied
		}
		if r.Approve != "" && r.Approve != plan.Hash {
			return ErrPlanChanged
		}
		plan.Applied = true
		return nil
	})
	if errors.Is(err, errNotApplied) {
		err = nil
	}
	return plan, err
}

func (c *change) remap(ctx context.Context, r Remap, declared bool) (MappingPlan, error) {
	held, now, err := c.lockMapping(ctx)
	if err != nil {
		return MappingPlan{}, err
	}
	rules := r.Edit.Apply(now.rules)
	plan := MappingPlan{Rules: roles.Compare(now.rules, rules), DefaultRole: [2]identity.Role{now.value.DefaultRole, c.mapping.DefaultRole()}}
	if err := c.checkNew(plan.Rules); err != nil {
		return plan, err
	}
	every := now.version == 0 || plan.DefaultRole[0] != plan.DefaultRole[1]
	groups, teams, err := c.concerned(ctx, plan.Rules, every)
	if err != nil {
		return plan, err
	}
	names := teamNames(plan.Rules, groups, teams)
	before, err := c.holdersOn(ctx, names)
	if err != nil {
		return plan, err
	}
	reason := "role mapping"
	if declared {
		reason = "declared in the configuration"
	}
	value := mappingValue{DefaultRole: plan.DefaultRole[1], Declared: declared}
	if err := c.putRules(ctx, held, now, rules, value, reason); err != nil {
		return plan, err
	}
	if plan.Groups, err = c.regrant(ctx, groups, teams); err != nil {
		return plan, err
	}
	if err := c.regrantSignIns(ctx, plan.Rules, every); err != nil {
		return plan, err
	}
	after, err := c.holdersOn(ctx, names)
	if err != nil {
		return plan, err
	}
	return plan, c.weigh(ctx, &plan, before, after, r.Guard)
}

// checkNew refuses rules that grant roles which do not exist. Rules that were there before are left alone.
func (c *change) checkNew(changes []roles.RuleChange) error {
	var fresh []roles.Rule
	for _, changed := range changes {
		if len(changed.Added) > 0 {
			fresh = append(fresh, roles.Rule{Group: changed.Group, Grants: changed.Added})
		}
	}
	if err := c.mapping.Check(fresh); err != nil {
		return &InvalidMappingError{err}
	}
	return nil
}

// InvalidMappingError says what is wrong with rules that were to be stored.
type InvalidMappingError struct{ Err error }

func (e *InvalidMappingError) Error() string { return e.Err.Error() }

func (e *InvalidMappingError) Unwrap() error { return e.Err }

// concerned returns the groups that changed rules speak of, or every group, and the names of all teams by their ids.
func (c *change) concerned(ctx context.Context, changes []roles.RuleChange, every bool) ([]identity.Group, map[string]string, error) {
	list, err := c.tx.Teams(ctx)
	if err != nil {
		return nil, nil, err
	}
	teams := make(map[string]string, len(list))
	for _, t := range list {
		teams[t.ID] = t.Name
	}
	if !every {
		references := make([]string, len(changes))
		for i, changed := range changes {
			references[i] = identity.Normalize(changed.Group)
		}
		if len(references) == 0 {
			return nil, teams, nil
		}
		groups, err := c.tx.MappedGroups(ctx, references)
		return groups, teams, err
	}
	const page = 1000
	var groups []identity.Group
	for after := int64(0); ; {
		some, err := c.tx.OwnedGroups(ctx, "", after, page)
		if err != nil {
			return nil, nil, err
		}
		groups = append(groups, some...)
		if len(some) < page {
			return groups, teams, nil
		}
		after = some[len(some)-1].Seq
	}
}

// teamNames lists the teams on which somebody may gain or lose a role: those of the rules, and the groups' own.
func teamNames(changes []roles.RuleChange, groups []identity.Group, teams map[string]string) []string {
	seen := map[string]bool{}
	add := func(name string) {
		if key := identity.Normalize(name); key != "" {
			seen[key] = true
		}
	}
	for _, changed := range changes {
		for _, g := range slices.Concat(changed.Added, changed.Removed) {
			add(g.Team)
		}
	}
	for i := range groups {
		add(teams[groups[i].TeamID])
	}
	return slices.Sorted(maps.Keys(seen))
}

// holding is a role that somebody holds on a team.
type holding struct{ userID, team, role string }

// holdersOn returns every role that active people hold on teams with these names.
func (c *change) holdersOn(ctx context.Context, names []string) (map[holding]bool, error) {
	const page = 500
	all := map[holding]bool{}
	for len(names) > 0 {
		part := names[:min(page, len(names))]
		names = names[len(part):]
		rows, err := c.tx.HeldOn(ctx, part)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			all[holding{r.UserID, r.TeamName, r.Role}] = true
		}
	}
	return all, nil
}

// regrant makes what groups give what the mapping says, and tells how they differed. A group that is gone meanwhile is
// left out.
func (c *change) regrant(ctx context.Context, groups []identity.Group, teams map[string]string) ([]GroupEffect, error) {
	var effects []GroupEffect
	mapping, err := c.mappingNow(ctx)
	if err != nil {
		return nil, err
	}
	const page = 1000
	for len(groups) > 0 {
		part := groups[:min(page, len(groups))]
		groups = groups[len(part):]
		ids := make([]string, len(part))
		for i := range part {
			ids[i] = part[i].ID
		}
		grants, err := c.tx.GroupGrants(ctx, ids)
		if err != nil {
			return nil, err
		}
		for i := range part {
			g := &part[i]
			add, remove := GrantDrift(grants[g.ID], mapping.Grants(g, teams[g.TeamID]))
			if len(add)+len(remove) == 0 {
				continue
			}
			effect := GroupEffect{ID: g.ID, Name: g.DisplayName, Members: g.MemberCount, Added: add}
			for _, gone := range remove {
				effect.Removed = append(effect.Removed, identity.TeamRole{Team: gone.TeamName, Role: gone.Role})
			}
			effects = append(effects, effect)
			if err := c.syncGroupGrants(ctx, g, teams[g.TeamID]); err != nil {
				return nil, err
			}
		}
	}
	return effects, nil
}

// weigh fills in who gains and who loses what, asks the guard, and gives the plan its hash.
func (c *change) weigh(ctx context.Context, plan *MappingPlan, before, after map[holding]bool, guard func(losing, holding int) string) error {
	lost, gained := missing(before, after), missing(after, before)
	people := map[string]bool{}
	for _, h := range slices.Concat(lost, gained) {
		people[h.userID] = true
	}
	names, err := c.tx.UserNames(ctx, slices.Collect(maps.Keys(people)))
	if err != nil {
		return err
	}
	plan.Losses, plan.Gains = effects(lost, names), effects(gained, names)
	losing := map[string]bool{}
	for _, h := range lost {
		losing[h.userID] = true
	}
	if plan.Losing = len(losing); plan.Losing > 0 && guard != nil {
		if plan.Holding, err = c.tx.CountHolders(ctx); err != nil {
			return err
		}
		// Who loses the last role is no longer counted, and did hold one.
		still, err := c.tx.HoldAny(ctx, slices.Collect(maps.Keys(losing)))
		if err != nil {
			return err
		}
		plan.Holding += plan.Losing - still
		plan.Guard = guard(plan.Losing, plan.Holding)
	}
	plan.Hash, err = plan.hash()
	return err
}

// missing returns what is in one and not in the other, without order.
func missing(in, from map[holding]bool) []holding {
	var out []holding
	for h := range in {
		if !from[h] {
			out = append(out, h)
		}
	}
	return out
}

func effects(list []holding, names map[string]string) []RoleEffect {
	out := make([]RoleEffect, len(list))
	for i, h := range list {
		out[i] = RoleEffect{UserID: h.userID, UserName: names[h.userID], Team: h.team, Role: h.role}
	}
	slices.SortFunc(out, func(a, b RoleEffect) int {
		return cmp.Or(cmp.Compare(a.UserName, b.UserName), cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Team, b.Team), cmp.Compare(a.Role, b.Role))
	})
	return out
}

// hash tells plans apart.
func (p *MappingPlan) hash() (string, error) {
	text, err := json.Marshal([]any{p.Rules, p.DefaultRole, p.Groups, p.Gains, p.Losses})
	if err != nil {
		return "", fmt.Errorf("hash a plan: %w", err)
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
