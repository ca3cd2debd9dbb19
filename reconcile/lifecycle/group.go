package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// MemberOpKind is what a MemberOp does.
type MemberOpKind string

// Kinds of member operation.
const (
	MembersAdd    MemberOpKind = "add"
	MembersRemove MemberOpKind = "remove"
	MembersSet    MemberOpKind = "set" // exactly these; none empties the group
)

// MemberOp changes the members of a group by their ids, which are users' or groups'.
type MemberOp struct {
	Op  MemberOpKind
	IDs []string
}

// GroupChange is what a SCIM client asks to change in a group; nil and empty fields ask nothing.
type GroupChange struct {
	DisplayName *string
	ExternalID  *string
	Attributes  func(identity.Attributes) // edits a copy in place; may run twice
	Members     []MemberOp                // in this order
}

// CreateGroup makes the group that a SCIM client posts, with its team and what the mapping grants. A taken name is a
// *store.DuplicateError, a member that is neither a user nor a group an *UnknownMemberError, and then nothing is made.
func (a *Applier) CreateGroup(ctx context.Context, by identity.Actor, source string, g identity.Group, members []string) (identity.Group, error) {
	var result identity.Group
	err := a.inTx(ctx, by, func(c *change) error {
		after := g
		after.ID = c.newID()
		if err := c.postGroup(ctx, source, &after); err != nil {
			return err
		}
		var err error
		result, err = c.postMembers(ctx, &after, members)
		return err
	})
	return result, err
}

// postGroup writes a posted group under its id, still without members.
func (c *change) postGroup(ctx context.Context, source string, g *identity.Group) error {
	g.Fingerprint, g.LastPushAt = identity.Fingerprint{}, c.now
	ownGroup(g, source)
	return c.insertGroup(ctx, g, "")
}

// postMembers gives a posted group its members, and returns it as it is then.
func (c *change) postMembers(ctx context.Context, g *identity.Group, members []string) (identity.Group, error) {
	if len(members) > 0 {
		if _, err := c.changeMembers(ctx, g, []MemberOp{{MembersAdd, members}}); err != nil {
			return identity.Group{}, err
		}
	}
	return c.tx.Group(ctx, g.ID)
}

func ownGroup(g *identity.Group, source string) {
	if g.Source == "" || Pushed(g.Source) {
		g.Source = source
	}
	if g.Source == source && !Pushed(source) && g.ExternalID != "" {
		g.SourceID = g.ExternalID
	}
}

// insertGroup writes a new group, its team and its grants.
func (c *change) insertGroup(ctx context.Context, g *identity.Group, reason string) error {
	g.Version, g.Created, g.LastModified = 1, c.now, c.now
	if err := c.tx.InsertGroup(ctx, g); err != nil {
		return err
	}
	c.event(identity.Event{
		Type: identity.EventGroupCreated, Object: identity.ObjectGroup, ObjectID: g.ID, Name: g.DisplayName, Reason: reason,
		Fields: []identity.FieldChange{{Path: "displayName", After: g.DisplayName}},
	})
	return c.syncTeam(ctx, g)
}

// syncTeam gives a group its team, under the group's name, and makes its grants what the mapping says. A local team of
// that name becomes the group's; the root team and another group's never do.
func (c *change) syncTeam(ctx context.Context, g *identity.Group) error {
	name := g.DisplayName
	team, err := c.tx.TeamByName(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		team = identity.Team{Created: c.now}
	case err != nil:
		return err
	case team.ID == identity.RootTeamID || team.GroupID != "" && team.GroupID != g.ID:
		name += " (group " + g.ID[:8] + ")"
		team = identity.Team{Created: c.now}
	}
	if g.TeamID != "" && team.ID != g.TeamID {
		if team.ID != "" {
			// The group was renamed to a local team's name: both keep their own.
			name += " (group " + g.ID[:8] + ")"
		}
		team = identity.Team{ID: g.TeamID, Created: c.now}
	}
	if team.ID == "" {
		team.ID = c.newID()
	}
	old, err := c.tx.Team(ctx, team.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err == nil {
		team.Kept, team.Scope, team.Created = old.Kept, old.Scope, old.Created
	}
	team.Name, team.GroupID, g.TeamID = name, g.ID, team.ID
	if err := c.tx.PutTeam(ctx, team); err != nil {
		return err
	}
	if old.Name != "" && old.Name != team.Name {
		c.teamRenamed(team.ID, old.Name, team.Name)
		if err := c.moved(ctx, roles.Rename{Team: true, From: old.Name, To: team.Name}); err != nil {
			return err
		}
	}
	if err := c.syncGroupGrants(ctx, g, team.Name); err != nil {
		return err
	}
	if old.Name == team.Name {
		return nil
	}
	return c.syncGranting(ctx, g.ID, old.Name, team.Name)
}

// syncGranting brings the grants of other groups in line whose rules name a team by a name that now means another team.
func (c *change) syncGranting(ctx context.Context, except string, teams ...string) error {
	mapping, err := c.mappingNow(ctx)
	if err != nil {
		return err
	}
	references := mapping.GroupsGranting(teams...)
	if len(references) == 0 {
		return nil
	}
	groups, err := c.tx.MappedGroups(ctx, references)
	if err != nil {
		return err
	}
	for i := range groups {
		g := &groups[i]
		if g.ID == except {
			continue
		}
		own, err := c.tx.Team(ctx, g.TeamID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := c.syncGroupGrants(ctx, g, own.Name); err != nil {
			return err
		}
	}
	return nil
}

// syncGroupGrants makes what a group grants what the mapping says.
func (c *change) syncGroupGrants(ctx context.Context, g *identity.Group, ownTeam string) error {
	mapping, err := c.mappingNow(ctx)
	if err != nil {
		return err
	}
	held, err := c.tx.GroupGrants(ctx, []string{g.ID})
	if err != nil {
		return err
	}
	add, remove := GrantDrift(held[g.ID], mapping.Grants(g, ownTeam))
	for _, want := range add {
		team, err := c.team(ctx, want.Team)
		if err != nil {
			return err
		}
		if err := c.tx.AddGroupGrant(ctx, store.GroupGrant{GroupID: g.ID, TeamID: team.ID, Role: want.Role}); err != nil {
			return err
		}
		grant := identity.Grant{TeamID: team.ID, TeamName: team.Name, Role: want.Role, Kind: identity.GrantGroup, SourceID: g.ID}
		c.granted(grant, g.DisplayName, want.Role+" on "+team.Name)
	}
	if len(remove) == 0 {
		return nil
	}
	return c.guarded(ctx, func() error {
		for _, have := range remove {
			if err := c.tx.RemoveGroupGrant(ctx, have); err != nil {
				return err
			}
			grant := identity.Grant{TeamID: have.TeamID, TeamName: have.TeamName, Role: have.Role, Kind: identity.GrantGroup, SourceID: g.ID}
			c.revoked(grant, g.DisplayName, have.Role+" on "+have.TeamName)
			if _, err := c.tx.DeleteTeamIfUnused(ctx, have.TeamID); err != nil {
				return err
			}
		}
		return nil
	})
}

// GrantDrift lists what a group should grant and does not, and what it grants and should not.
func GrantDrift(held []store.GroupGrant, want []identity.TeamRole) (add []identity.TeamRole, remove []store.GroupGrant) {
	same := func(h store.GroupGrant, w identity.TeamRole) bool {
		return h.Role == w.Role && identity.Normalize(h.TeamName) == identity.Normalize(w.Team)
	}
	for _, w := range want {
		if !slices.ContainsFunc(held, func(h store.GroupGrant) bool { return same(h, w) }) {
			add = append(add, w)
		}
	}
	for _, h := range held {
		if !slices.ContainsFunc(want, func(w identity.TeamRole) bool { return same(h, w) }) {
			remove = append(remove, h)
		}
	}
	return add, remove
}

// team returns the team that a mapping names, making a local one where there is none.
func (c *change) team(ctx context.Context, name string) (identity.Team, error) {
	team, err := c.tx.TeamByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		team = identity.Team{ID: c.newID(), Name: strings.TrimSpace(name), Created: c.now}
		err = c.tx.PutTeam(ctx, team)
	}
	return team, err
}

// ChangeGroup changes a group as a SCIM client asks. ifVersion is the version that the client saw, or 0 for any; another
// one held is store.ErrStale. Members are deltas: none is loaded, and adding costs the same in every group. A member
// that is neither a user nor a group is an *UnknownMemberError, a group that would be in itself a *store.CycleError.
func (a *Applier) ChangeGroup(ctx context.Context, by identity.Actor, source, id string, ifVersion int64, g GroupChange) (identity.Group, error) {
	var result identity.Group
	err := a.inTx(ctx, by, func(c *change) error {
		held, err := c.tx.LockGroup(ctx, id)
		if err != nil {
			return err
		}
		if ifVersion != 0 && held.Version != ifVersion {
			return store.ErrStale
		}
		after := held
		after.Attributes = held.Attributes.Clone()
		if g.DisplayName != nil {
			after.DisplayName = *g.DisplayName
		}
		if g.ExternalID != nil {
			after.ExternalID = *g.ExternalID
		}
		if g.Attributes != nil {
			if after.Attributes == nil {
				after.Attributes = identity.Attributes{}
			}
			g.Attributes(after.Attributes)
		}
		ownGroup(&after, source)
		after.LastPushAt, after.Fingerprint = c.now, identity.Fingerprint{}
		result, err = c.writeGroup(ctx, &held, after, g.Members, "")
		return err
	})
	return result, err
}

// writeGroup writes a group's next state and its member operations, and returns the group as it is then. Where nothing
// differs, only the time of the push is kept, as for users.
func (c *change) writeGroup(ctx context.Context, held *identity.Group, after identity.Group, members []MemberOp, reason string) (identity.Group, error) {
	fields := compareGroups(held, &after)
	moved, err := c.changeMembers(ctx, &after, members)
	if err != nil {
		return identity.Group{}, err
	}
	adopted := held.Source != after.Source || held.SourceID != after.SourceID
	if len(fields) == 0 && !moved && !adopted {
		noted := *held
		noted.LastPushAt = after.LastPushAt
		if noted.LastPushAt.Equal(held.LastPushAt) {
			return noted, nil
		}
		err := c.tx.UpdateGroup(ctx, &noted, held.Version)
		return noted, err
	}
	after.Version, after.LastModified = held.Version+1, c.now
	if err := c.tx.UpdateGroup(ctx, &after, held.Version); err != nil {
		return identity.Group{}, err
	}
	if len(fields) == 0 && !adopted {
		return after, nil
	}
	c.event(identity.Event{Type: identity.EventGroupUpdated, Object: identity.ObjectGroup, ObjectID: after.ID, Name: after.DisplayName, Fields: fields, Reason: reason})
	if err := c.moved(ctx, roles.Rename{From: held.DisplayName, To: after.DisplayName}); err != nil {
		return identity.Group{}, err
	}
	err = c.syncTeam(ctx, &after)
	return after, err
}

func compareGroups(a, b *identity.Group) []identity.FieldChange {
	return identity.Compare(
		&identity.User{Attributes: withName(a), ExternalID: a.ExternalID},
		&identity.User{Attributes: withName(b), ExternalID: b.ExternalID})
}

func withName(g *identity.Group) identity.Attributes {
	attributes := identity.Attributes{"displayName": g.DisplayName}
	for key, value := range g.Attributes {
		attributes[key] = value
	}
	return attributes
}

// changeMembers runs member operations in order and tells whether any changed something.
func (c *change) changeMembers(ctx context.Context, g *identity.Group, ops []MemberOp) (bool, error) {
	moved := false
	for _, op := range ops {
		added, removed, err := c.moveMembers(ctx, g, op)
		if err != nil {
			return false, err
		}
		c.memberEvents(g, added, removed)
		moved = moved || len(added) > 0 || len(removed) > 0
	}
	return moved, nil
}

// moveMembers runs one member operation and returns the users and groups that came and went.
func (c *change) moveMembers(ctx context.Context, g *identity.Group, op MemberOp) (added, removed []string, err error) {
	switch op.Op {
	case MembersRemove:
		err = c.guarded(ctx, func() error {
			removed, err = c.removeMembers(ctx, g, op.IDs)
			return err
		})
	case MembersSet:
		err = c.guarded(ctx, func() error {
			if removed, err = c.keepMembers(ctx, g, op.IDs); err != nil {
				return err
			}
			added, err = c.addMembers(ctx, g, op.IDs)
			return err
		})
	default:
		added, err = c.addMembers(ctx, g, op.IDs)
	}
	return added, removed, err
}

// addMembers looks for groups only among the ids that are no users': adding users costs the same where groups nest.
func (c *change) addMembers(ctx context.Context, g *identity.Group, ids []string) ([]string, error) {
	added, rest, err := c.tx.AddKnownMembers(ctx, g.ID, ids)
	if err != nil || len(rest) == 0 {
		return added, err
	}
	nested, unknown, err := c.tx.AddNested(ctx, store.GroupRef{ID: g.ID, DisplayName: g.DisplayName}, rest)
	if err != nil {
		return nil, err
	}
	if len(unknown) > 0 {
		return nil, &UnknownMemberError{unknown}
	}
	return append(added, nested...), nil
}

func (c *change) removeMembers(ctx context.Context, g *identity.Group, ids []string) ([]string, error) {
	removed, err := c.tx.RemoveMembers(ctx, g.ID, ids)
	if err != nil || len(removed) == len(ids) {
		return removed, err
	}
	nested, err := c.tx.RemoveNested(ctx, g.ID, ids)
	return append(removed, nested...), err
}

func (c *change) keepMembers(ctx context.Context, g *identity.Group, ids []string) ([]string, error) {
	removed, err := c.tx.KeepMembers(ctx, g.ID, ids)
	if err != nil {
		return nil, err
	}
	nested, err := c.tx.KeepNested(ctx, g.ID, ids)
	return append(removed, nested...), err
}

func (c *change) memberEvents(g *identity.Group, added, removed []string) {
	if len(added) > 0 {
		c.event(identity.Event{Type: identity.EventMembershipAdded, Object: identity.ObjectGroup, ObjectID: g.ID, Name: g.DisplayName, Members: added})
	}
	if len(removed) > 0 {
		c.event(identity.Event{Type: identity.EventMembershipRemoved, Object: identity.ObjectGroup, ObjectID: g.ID, Name: g.DisplayName, Members: removed})
	}
}

// DeleteGroup removes a group, its grants, and its team unless others hold grants on it; never users.
func (a *Applier) DeleteGroup(ctx context.Context, by identity.Actor, _, id string, ifVersion int64) error {
	return a.inTx(ctx, by, func(c *change) error {
		held, err := c.tx.LockGroup(ctx, id)
		if err != nil {
			return err
		}
		if ifVersion != 0 && held.Version != ifVersion {
			return store.ErrStale
		}
		return c.deleteGroup(ctx, &held, "deleted over SCIM")
	})
}

func (c *change) deleteGroup(ctx context.Context, held *identity.Group, reason string) error {
	grants, err := c.tx.GroupGrants(ctx, []string{held.ID})
	if err != nil {
		return err
	}
	outer, err := c.tx.TouchOuter(ctx, held.ID, c.now)
	if err != nil {
		return err
	}
	return c.guarded(ctx, func() error {
		if err := c.tx.DeleteGroup(ctx, held.ID); err != nil {
			return err
		}
		for _, o := range outer {
			c.memberEvents(&identity.Group{ID: o.ID, DisplayName: o.DisplayName}, nil, []string{held.ID})
		}
		c.event(identity.Event{Type: identity.EventGroupDeleted, Object: identity.ObjectGroup, ObjectID: held.ID, Name: held.DisplayName, Reason: reason})
		return c.deleteUnusedTeams(ctx, held, grants[held.ID])
	})
}

// deleteUnusedTeams deletes a group's team, and those on which it granted something, unless others hold grants on them.
func (c *change) deleteUnusedTeams(ctx context.Context, held *identity.Group, grants []store.GroupGrant) error {
	teams := []string{held.TeamID}
	for _, g := range grants {
		teams = append(teams, g.TeamID)
	}
	for _, team := range teams {
		if team == "" {
			continue
		}
		if _, err := c.tx.DeleteTeamIfUnused(ctx, team); err != nil {
			return err
		}
	}
	return nil
}
