package storetest

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var teamCases = []namedCase{
	{"written, renamed and listed, root first", putTeams},
	{"deleted only when unused", deleteTeams},
	{"every reason for a role is a grant", effectiveGrants},
	{"grants of a person's own", ownGrants},
	{"privileged users and local admins", privileged},
}

func (f *fixture) team(name string) identity.Team {
	f.Helper()
	team := identity.Team{ID: uuid.NewString(), Name: name, Created: epoch}
	f.tx(func(tx *store.Tx) error { return tx.PutTeam(f.ctx, team) })
	return team
}

func (f *fixture) grant(g identity.Grant) bool {
	f.Helper()
	var isNew bool
	f.tx(func(tx *store.Tx) (err error) {
		isNew, err = tx.PutGrant(f.ctx, g, epoch)
		return err
	})
	return isNew
}

func (f *fixture) groupGrant(group, team string, role identity.Role) {
	f.Helper()
	f.tx(func(tx *store.Tx) error {
		return tx.AddGroupGrant(f.ctx, store.GroupGrant{GroupID: group, TeamID: team, Role: role})
	})
}

func putTeams(f *fixture) {
	zoo, alpha := f.team("Zoo"), f.team("älpha")
	err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
		return tx.PutTeam(f.ctx, identity.Team{ID: uuid.NewString(), Name: " ÄLPHA", Created: epoch})
	})
	f.isDuplicate("PutTeam with a name that is taken", err, "team", "name")
	zoo.Name, zoo.GroupID = "zürich", f.group().ID
	f.tx(func(tx *store.Tx) error { return tx.PutTeam(f.ctx, zoo) })
	got, err := f.s.TeamByName(f.ctx, "ZÜRICH")
	f.check(err)
	f.equal("TeamByName", got, zoo)
	_, err = f.s.TeamByName(f.ctx, "Zoo\x00")
	f.isErr("TeamByName", err, store.ErrNotFound)
	teams, err := f.s.Teams(f.ctx)
	f.check(err)
	if len(teams) != 3 || teams[0].ID != identity.RootTeamID || teams[0].Created.IsZero() {
		f.Fatalf("Teams = %v, want root and two", teams)
	}
	f.equal("Teams", teams[1:], []identity.Team{zoo, alpha})
}

func deleteTeams(f *fixture) {
	unused, granted, given, grouped := f.team("unused"), f.team("granted"), f.team("given"), f.team("grouped")
	u, g := f.user(), f.group()
	grouped.GroupID = g.ID
	f.tx(func(tx *store.Tx) error { return tx.PutTeam(f.ctx, grouped) })
	f.grant(identity.Grant{UserID: u.ID, TeamID: granted.ID, Role: "viewer", Kind: identity.GrantJIT})
	f.groupGrant(g.ID, given.ID, "viewer")
	for id, want := range map[string]bool{
		unused.ID: true, granted.ID: false, given.ID: false, grouped.ID: false, identity.RootTeamID: false, uuid.NewString(): false,
	} {
		f.tx(func(tx *store.Tx) error {
			got, err := tx.DeleteTeamIfUnused(f.ctx, id)
			if got != want {
				f.Errorf("DeleteTeamIfUnused(%s) = %v, want %v", id, got, want)
			}
			return err
		})
	}
}

func effectiveGrants(f *fixture) {
	u := f.user(func(u *identity.User) { u.Active = false })
	a, b := f.team("Alpha"), f.team("beta")
	g, h := f.group(), f.group()
	f.addMembers(g.ID, u.ID)
	f.addMembers(h.ID, f.user().ID)
	f.groupGrant(g.ID, a.ID, "viewer")
	f.groupGrant(g.ID, a.ID, "viewer") // twice is once
	f.groupGrant(g.ID, b.ID, "operator")
	f.groupGrant(h.ID, b.ID, "admin") // not a member
	own := []identity.Grant{
		{UserID: u.ID, TeamID: a.ID, TeamName: "Alpha", Role: "viewer", Kind: identity.GrantManual, SourceID: uuid.NewString()},
		{UserID: u.ID, TeamID: identity.RootTeamID, TeamName: "root", Role: "admin", Kind: identity.GrantDirect},
	}
	for _, grant := range own {
		f.grant(grant)
	}
	byGroup := identity.Grant{UserID: u.ID, TeamID: a.ID, TeamName: "Alpha", Role: "viewer", Kind: identity.GrantGroup, SourceID: g.ID, SourceName: g.DisplayName}
	operator := byGroup
	operator.TeamID, operator.TeamName, operator.Role = b.ID, "beta", "operator"
	got, err := f.s.EffectiveGrants(f.ctx, u.ID)
	f.check(err)
	f.equal("EffectiveGrants", got, []identity.Grant{byGroup, own[0], operator, own[1]})
	for _, c := range []struct {
		team string
		role identity.Role
		want bool
	}{{a.ID, "viewer", true}, {a.ID, "operator", false}, {b.ID, "operator", true}, {b.ID, "admin", false}, {identity.RootTeamID, "admin", true}} {
		got, err := f.s.HasRole(f.ctx, u.ID, c.team, c.role)
		f.check(err)
		if got != c.want {
			f.Errorf("HasRole(%s, %s) = %v, want %v", c.team, c.role, got, c.want)
		}
	}
	_, err = f.s.EffectiveGrants(f.ctx, "me")
	f.isErr("EffectiveGrants of no id", err, store.ErrNotFound)
	given, err := f.s.GroupGrants(f.ctx, []string{g.ID, "me", f.group().ID})
	f.check(err)
	f.equal("GroupGrants", given, map[string][]store.GroupGrant{g.ID: {
		{GroupID: g.ID, TeamID: a.ID, TeamName: "Alpha", Role: "viewer"}, {GroupID: g.ID, TeamID: b.ID, TeamName: "beta", Role: "operator"},
	}})
	f.tx(func(tx *store.Tx) error { return tx.RemoveGroupGrant(f.ctx, given[g.ID][0]) })
	got, err = f.s.EffectiveGrants(f.ctx, u.ID)
	f.check(err)
	f.equal("EffectiveGrants after one went", got, []identity.Grant{own[0], operator, own[1]})
}

func ownGrants(f *fixture) {
	u := f.user()
	grant := identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: "viewer", Kind: identity.GrantDirect}
	other := grant
	other.SourceID = "somebody"
	for i, step := range []struct {
		do   func(tx *store.Tx) (bool, error)
		want bool
	}{
		{func(tx *store.Tx) (bool, error) { return tx.PutGrant(f.ctx, grant, epoch) }, true},
		{func(tx *store.Tx) (bool, error) { return tx.PutGrant(f.ctx, grant, epoch) }, false},
		{func(tx *store.Tx) (bool, error) { return tx.PutGrant(f.ctx, other, epoch) }, true},
		{func(tx *store.Tx) (bool, error) { return tx.DeleteGrant(f.ctx, grant) }, true},
		{func(tx *store.Tx) (bool, error) { return tx.DeleteGrant(f.ctx, grant) }, false},
	} {
		f.tx(func(tx *store.Tx) error {
			got, err := step.do(tx)
			if got != step.want {
				f.Errorf("step %d = %v, want %v", i, got, step.want)
			}
			return err
		})
	}
}

func privileged(f *fixture) {
	admin, provisioner := f.user(local), f.user()
	teamAdmin, byGroup, plain := f.user(local), f.user(local), f.user(local)
	inactive := f.user(local, func(u *identity.User) { u.Active = false })
	deleted := f.user(local, func(u *identity.User) { u.DeletedAt = epoch })
	for _, id := range []string{admin.ID, inactive.ID, deleted.ID} {
		f.grant(identity.Grant{UserID: id, TeamID: identity.RootTeamID, Role: identity.RoleAdmin, Kind: identity.GrantManual})
	}
	f.grant(identity.Grant{UserID: provisioner.ID, TeamID: identity.RootTeamID, Role: identity.RoleSCIMProvisioner, Kind: identity.GrantDirect})
	f.grant(identity.Grant{UserID: teamAdmin.ID, TeamID: f.team("t").ID, Role: identity.RoleAdmin, Kind: identity.GrantManual})
	g := f.group()
	f.addMembers(g.ID, byGroup.ID)
	f.groupGrant(g.ID, identity.RootTeamID, identity.RoleAdmin)
	got, err := f.s.PrivilegedUsers(f.ctx, []string{admin.ID, provisioner.ID, teamAdmin.ID, byGroup.ID, plain.ID, "me"})
	f.check(err)
	for role, want := range map[identity.TeamRole]bool{
		{Team: " ROOT ", Role: identity.RoleAdmin}: true, {Team: "root", Role: "none"}: false, {Team: "nowhere", Role: identity.RoleAdmin}: false,
	} {
		held, err := f.s.RoleHeld(f.ctx, role)
		f.check(err)
		f.equal(fmt.Sprintf("RoleHeld %v", role), held, want)
	}
	f.equal("PrivilegedUsers", got, map[string]bool{admin.ID: true, provisioner.ID: true, byGroup.ID: true})
	f.tx(func(tx *store.Tx) error {
		ids, err := tx.LocalAdmins(f.ctx)
		f.equal("LocalAdmins", ids, []string{admin.ID, byGroup.ID})
		return err
	})
}
