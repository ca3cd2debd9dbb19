package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// UnknownRoleError says that there is no such role.
type UnknownRoleError struct {
	Role  identity.Role
	Known []identity.Role
}

func (e *UnknownRoleError) Error() string {
	return fmt.Sprintf("no role %q, want one of %v", e.Role, e.Known)
}

// GiveRole gives a person a role on a team by hand, and tells whether it is new. A team that is not there is
// store.ErrNotFound with the team's name, as is somebody deleted or unknown; a role that is not there an
// *UnknownRoleError.
func (a *Applier) GiveRole(ctx context.Context, by identity.Actor, userID string, role identity.TeamRole) (given bool, err error) {
	err = a.inTx(ctx, by, func(c *change) error {
		if !c.mapping.Known(role.Role) {
			return &UnknownRoleError{role.Role, c.mapping.Roles()}
		}
		u, team, err := c.personAndTeam(ctx, userID, role.Team)
		if err != nil {
			return err
		}
		grant := identity.Grant{UserID: u.ID, TeamID: team.ID, TeamName: team.Name, Role: role.Role, Kind: identity.GrantManual, SourceID: byHand(by)}
		if given, err = c.tx.PutGrant(ctx, grant, c.now); err != nil || !given {
			return err
		}
		c.granted(grant, u.UserName, "manual role "+role.Role+" on "+team.Name)
		return nil
	})
	return given, err
}

// byHand is the source of a grant that somebody gives by hand: who, where that is one of the people held.
func byHand(by identity.Actor) string {
	if by.Kind == "user" {
		return by.ID
	}
	return ""
}

func (c *change) personAndTeam(ctx context.Context, userID, name string) (*identity.User, identity.Team, error) {
	u, err := c.lockLive(ctx, userID, 0)
	if err != nil {
		return nil, identity.Team{}, err
	}
	team, err := c.tx.TeamByName(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		err = &TeamError{name, "there is no such team"}
	}
	return u, team, err
}

// TakeRole takes away what was given by hand, whoever gave it, and tells whether there was anything. What a person holds for
// other reasons stays. Break glass refuses it with a *RefusedError.
func (a *Applier) TakeRole(ctx context.Context, by identity.Actor, userID string, role identity.TeamRole) (taken bool, err error) {
	err = a.inTx(ctx, by, func(c *change) error {
		taken = false
		u, team, err := c.personAndTeam(ctx, userID, role.Team)
		if err != nil {
			return err
		}
		grants, err := c.tx.GrantsOfKind(ctx, u.ID, identity.GrantManual)
		if err != nil {
			return err
		}
		err = c.guarded(ctx, func() error {
			for _, g := range grants {
				if g.TeamID != team.ID || g.Role != role.Role {
					continue
				}
				if _, err := c.tx.DeleteGrant(ctx, g); err != nil {
					return err
				}
				taken = true
				c.revoked(g, u.UserName, "manual role "+g.Role+" on "+team.Name)
			}
			return nil
		})
		if err != nil || !taken {
			return about(err, u)
		}
		_, err = c.tx.DeleteTeamIfUnused(ctx, team.ID)
		return err
	})
	return taken, err
}

// about names in a refusal whom it protects.
func about(err error, u *identity.User) error {
	var refused *RefusedError
	if errors.As(err, &refused) && refused.UserID == "" {
		refused.UserID, refused.UserName = u.ID, u.UserName
	}
	return err
}

// OwnedError says that an account is its source's to change.
type OwnedError struct{ UserName, Source string }

func (e *OwnedError) Error() string {
	return fmt.Sprintf("%s is owned by %s: change the account there, and resync", e.UserName, e.Source)
}

// SetActive deactivates or reactivates an account that no source owns, such as a local one. One that a source owns is an
// *OwnedError: the next run, or push, would undo it. Break glass refuses it with a *RefusedError.
func (a *Applier) SetActive(ctx context.Context, by identity.Actor, id string, active bool, reason string) (identity.User, error) {
	var result identity.User
	err := a.inTx(ctx, by, func(c *change) error {
		held, err := c.lockLive(ctx, id, 0)
		if err != nil {
			return err
		}
		result = *held
		if held.Source != "" {
			return &OwnedError{held.UserName, held.Source}
		}
		if held.Active == active {
			return nil
		}
		d := Decision{Op: identity.OpReactivate, Active: true, Reason: reason}
		if !active {
			protected, err := c.protected(ctx, held)
			if err != nil {
				return err
			}
			d = Decision{Op: identity.OpDeactivate, Reason: reason}
			if protected != "" {
				d.Reason = "break glass: " + protected
				return refuse(d, held)
			}
		}
		result, err = c.writeUser(ctx, held, held.Clone(), d)
		return about(err, held)
	})
	return result, err
}

// Errors of EnableKey.
var (
	ErrKeyRevoked    = errors.New("the key is revoked, which is for good: create another one")
	ErrOwnerInactive = errors.New("the owner of the key is not active")
)

// EnableKey lets in again with a key that was disabled with its owner, who is active by now. It tells whether the key was
// disabled. No such key is store.ErrNotFound.
func (a *Applier) EnableKey(ctx context.Context, by identity.Actor, id string) (enabled bool, err error) {
	err = a.inTx(ctx, by, func(c *change) error {
		k, err := c.tx.LockKey(ctx, id)
		if err != nil {
			return err
		}
		if !k.Revoked.IsZero() {
			return ErrKeyRevoked
		}
		owner, err := c.tx.LockUser(ctx, k.UserID)
		if err != nil {
			return err
		}
		if !owner.Active || owner.Deleted() {
			return ErrOwnerInactive
		}
		if enabled, err = c.tx.EnableKey(ctx, id); enabled {
			c.event(identity.Event{Type: identity.EventKeyEnabled, Object: "key", ObjectID: k.ID, Name: k.Name, Reason: "owner " + owner.UserName, Fields: turned("disabled", false)})
		}
		return err
	})
	return enabled, err
}
