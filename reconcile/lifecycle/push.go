package lifecycle

import (
	"context"
	"errors"
	"slices"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// CreateUser makes the user that a SCIM client posts, owned by source (the connector that its key is bound to, or
// "scim:<key>"). Somebody held under the same externalId of that source or the same userName is revived when inactive
// or deleted, and adopted when a local account or nobody's; otherwise the answer is a *store.DuplicateError.
func (a *Applier) CreateUser(ctx context.Context, by identity.Actor, source string, u identity.User) (identity.User, error) {
	var result identity.User
	err := a.inTx(ctx, by, func(c *change) error {
		held, err := c.heldForPost(ctx, source, &u)
		if err != nil {
			return err
		}
		result, err = c.postUser(ctx, source, held, c.idFor(held), u)
		return err
	})
	return result, err
}

// idFor returns the id that a posted user has or gets.
func (c *change) idFor(held *identity.User) string {
	if held != nil {
		return held.ID
	}
	return c.newID()
}

// postUser writes a posted user: a new one under the id, or the next state of the one held.
func (c *change) postUser(ctx context.Context, source string, held *identity.User, id string, u identity.User) (identity.User, error) {
	after := u.Clone()
	after.Origin, after.Fingerprint = identity.OriginSSO, identity.Fingerprint{}
	if held == nil {
		after.ID = id
	} else {
		keepHeld(&after, held)
	}
	own(&after, source)
	after.LastPushAt = c.now
	protected, err := c.protected(ctx, held)
	if err != nil {
		return identity.User{}, err
	}
	d := Decide(statedActive(u.Active), held, Facts{Way: Push, Source: source, Protected: protected, Revive: true})
	if d.Refused {
		return identity.User{}, refuse(d, held)
	}
	return c.writeUser(ctx, held, after, d)
}

// heldForPost finds who is meant by a POST: nil for nobody, an error for somebody whom it may not touch.
func (c *change) heldForPost(ctx context.Context, source string, u *identity.User) (*identity.User, error) {
	var external []string
	if u.ExternalID != "" {
		external = append(external, u.ExternalID)
	}
	candidates, err := c.tx.Candidates(ctx, external, []string{u.UserName})
	if err != nil {
		return nil, err
	}
	var byName, byExternal *identity.User
	for i := range candidates {
		h := &candidates[i]
		if u.ExternalID != "" && h.Source == source && h.ExternalID == u.ExternalID {
			byExternal = h
		}
		if identity.Normalize(h.UserName) == identity.Normalize(u.UserName) {
			byName = h
		}
	}
	held, attribute, value := byExternal, "externalId", u.ExternalID
	if held == nil {
		held, attribute, value = byName, "userName", u.UserName
	}
	if held == nil {
		return nil, nil
	}
	if byName != nil && byExternal != nil && byName.ID != byExternal.ID {
		return nil, &store.DuplicateError{Object: identity.ObjectUser, Attribute: "userName", Value: u.UserName, ID: byName.ID}
	}
	locked, err := c.tx.LockUser(ctx, held.ID)
	if err != nil {
		return nil, err
	}
	// Asked of the locked row: of two who post the same person, one revives and the other finds somebody active.
	if locked.Active && locked.Origin != identity.OriginLocal && locked.Source != "" {
		return nil, &store.DuplicateError{Object: identity.ObjectUser, Attribute: attribute, Value: value, ID: held.ID}
	}
	return &locked, nil
}

// keepHeld gives the next state of a user what no client may change.
func keepHeld(after, held *identity.User) {
	after.ID, after.Seq, after.Created, after.DeletedAt = held.ID, held.Seq, held.Created, held.DeletedAt
	after.Source, after.SourceID, after.ObservedAt = held.Source, held.SourceID, held.ObservedAt
	after.Origin, after.Version = held.Origin, held.Version
}

// own makes source the owner of a user who has none or only a SCIM key. Under a connector, the externalId that is
// pushed is the immutable id by which the connector pulls the same person.
func own(u *identity.User, source string) {
	if u.Source == "" || Pushed(u.Source) {
		u.Source = source
	}
	if u.Source == source && !Pushed(source) && u.ExternalID != "" {
		u.SourceID = u.ExternalID
	}
}

func statedActive(active bool) Stated {
	if active {
		return identity.StatusActive
	}
	return identity.StatusInactive
}

// writeUser writes a user's next state. Of one that is the state held already, only the time of the push is kept, for
// a pull that read something else before must not undo what the push confirmed.
func (c *change) writeUser(ctx context.Context, before *identity.User, after identity.User, d Decision) (identity.User, error) {
	if !c.finish(before, &after, d) {
		noted := before.Clone()
		noted.LastPushAt = after.LastPushAt
		return noted, c.tx.UpdateUser(ctx, &noted, before.Version)
	}
	write := func() error {
		if before == nil {
			if err := c.tx.InsertUsers(ctx, []identity.User{after}); err != nil {
				return err
			}
		} else if err := c.tx.UpdateUser(ctx, &after, before.Version); err != nil {
			return err
		}
		return c.syncDirectRoles(ctx, before, &after)
	}
	var err error
	if before != nil && (!after.Active || before.Origin != after.Origin || !slices.Equal(before.Roles, after.Roles)) {
		err = c.guarded(ctx, write)
	} else {
		err = write()
	}
	return after, err
}

// ChangeUser changes a user as a SCIM client asks: change edits a copy, and may run twice. ifVersion is the version that
// the client saw, or 0 for any; another one held is store.ErrStale. What ends up as it was gets no new version. A local
// account becomes an SSO account. Somebody who is not there, or deleted, is store.ErrNotFound.
func (a *Applier) ChangeUser(ctx context.Context, by identity.Actor, source, id string, ifVersion int64, edit func(*identity.User) error) (identity.User, error) {
	var result identity.User
	err := a.inTx(ctx, by, func(c *change) error {
		held, err := c.lockLive(ctx, id, ifVersion)
		if err != nil {
			return err
		}
		after := held.Clone()
		if err := edit(&after); err != nil {
			return err
		}
		keepHeld(&after, held)
		own(&after, source)
		after.LastPushAt, after.Fingerprint = c.now, identity.Fingerprint{}
		protected, err := c.protected(ctx, held)
		if err != nil {
			return err
		}
		d := Decide(statedActive(after.Active), held, Facts{Way: Push, Source: source, Protected: protected})
		if d.Refused {
			return refuse(d, held)
		}
		result, err = c.writeUser(ctx, held, after, d)
		return err
	})
	return result, err
}

// lockLive locks a user who is not deleted, at a version.
func (c *change) lockLive(ctx context.Context, id string, ifVersion int64) (*identity.User, error) {
	held, err := c.tx.LockUser(ctx, id)
	if err != nil {
		return nil, err
	}
	if held.Deleted() {
		return nil, store.ErrNotFound
	}
	if ifVersion != 0 && held.Version != ifVersion {
		return nil, store.ErrStale
	}
	return &held, nil
}

// DeleteUser deactivates a user as a SCIM client's DELETE asks, and hides it from SCIM. Memberships are kept, for the
// day that the person is stated again.
func (a *Applier) DeleteUser(ctx context.Context, by identity.Actor, source, id string, ifVersion int64) error {
	return a.inTx(ctx, by, func(c *change) error {
		held, err := c.lockLive(ctx, id, ifVersion)
		if err != nil {
			return err
		}
		protected, err := c.protected(ctx, held)
		if err != nil {
			return err
		}
		d := Decide(StatedDeleted, held, Facts{Way: Push, Source: source, Protected: protected})
		if d.Refused {
			return refuse(d, held)
		}
		after := held.Clone()
		after.LastPushAt, after.Fingerprint = c.now, identity.Fingerprint{}
		_, err = c.writeUser(ctx, held, after, d)
		return err
	})
}

// CreateAdmin makes a local account that is admin on the root team, for breaking the glass; with provisioner it may
// also own SCIM keys. passwordHash is stored as it is. The account has the attributes that a user must have: SCIM clients
// list it like everybody, and Okta's SPEC test wants a name of the first one that it meets.
func (a *Applier) CreateAdmin(ctx context.Context, by identity.Actor, email, passwordHash string, provisioner bool) (identity.User, error) {
	u := identity.User{
		ID: a.newID(), UserName: email, Active: true, Origin: identity.OriginLocal,
		Attributes: identity.Attributes{
			"emails": []any{map[string]any{"value": email, "type": "work", "primary": true}},
			"name":   map[string]any{"givenName": "Local", "familyName": "Administrator"},
		},
	}
	err := a.inTx(ctx, by, func(c *change) error {
		if taken, err := c.tx.UserByName(ctx, email); err == nil {
			return &store.DuplicateError{Object: identity.ObjectUser, Attribute: "userName", Value: email, ID: taken.ID}
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		var err error
		if u, err = c.writeUser(ctx, nil, u, Decision{Op: identity.OpCreate, Active: true, Reason: "local administrator"}); err != nil {
			return err
		}
		if err := c.tx.SetPassword(ctx, u.ID, passwordHash, c.now); err != nil {
			return err
		}
		granted := []identity.Role{identity.RoleAdmin}
		if provisioner {
			granted = append(granted, identity.RoleSCIMProvisioner)
		}
		for _, role := range granted {
			grant := identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, TeamName: identity.RootTeam, Role: role, Kind: identity.GrantManual}
			if _, err := c.tx.PutGrant(ctx, grant, c.now); err != nil {
				return err
			}
			c.granted(grant, u.UserName, "manual role "+role+" on "+identity.RootTeam)
		}
		return nil
	})
	return u, err
}

// CreateKey stores a new API key. The hash is of the secret, which is nowhere else. An owner who is not there, or
// deleted, is store.ErrNotFound.
func (a *Applier) CreateKey(ctx context.Context, by identity.Actor, k store.Key) error {
	return a.inTx(ctx, by, func(c *change) error {
		owner, err := c.lockLive(ctx, k.UserID, 0)
		if err != nil {
			return err
		}
		c.event(identity.Event{Type: identity.EventKeyCreated, Object: "key", ObjectID: k.ID, Name: k.Name, Reason: "owner " + owner.UserName, Fields: keyFields(&k)})
		return c.tx.InsertKey(ctx, k)
	})
}

// keyFields are what the audit log tells of a new key.
func keyFields(k *store.Key) []identity.FieldChange {
	fields := []identity.FieldChange{{Path: "user_id", After: k.UserID}, {Path: "expires", After: orNever(k.Expires)}}
	if k.Connector != "" {
		fields = append(fields, identity.FieldChange{Path: "connector", After: k.Connector})
	}
	return fields
}

// turned is a flag that changed.
func turned(path string, to bool) []identity.FieldChange {
	return []identity.FieldChange{{Path: path, Before: !to, After: to}}
}

// RevokeKey ends an API key for good; store.ErrNotFound when there is none. Revoking twice is no error.
func (a *Applier) RevokeKey(ctx context.Context, by identity.Actor, id string) error {
	return a.inTx(ctx, by, func(c *change) error {
		k, err := c.tx.KeyByID(ctx, id)
		if err != nil {
			return err
		}
		revoked, err := c.tx.RevokeKey(ctx, id, c.now)
		if revoked {
			c.event(identity.Event{Type: identity.EventKeyRevoked, Object: "key", ObjectID: k.ID, Name: k.Name, Reason: "owner " + k.UserName, Fields: turned("revoked", true)})
		}
		return err
	})
}
