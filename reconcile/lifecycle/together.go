package lifecycle

import (
	"context"
	"fmt"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Part is one of those that CreateTogether makes: a user, or a group with its members.
type Part struct {
	User    *identity.User
	Group   *identity.Group
	Members []string // of the group
}

// PartError says at which part CreateTogether ended.
type PartError struct {
	Part int
	Err  error
}

func (e *PartError) Error() string { return fmt.Sprintf("part %d: %v", e.Part, e.Err) }

func (e *PartError) Unwrap() error { return e.Err }

// CreateTogether makes users and groups that name each other, all of them or none. It finds out who each is or will be
// as CreateUser and CreateGroup do, and hands their ids to resolve, which returns the parts as they are to be written,
// with the userNames and externalIds they came with; it may run twice. What one part is refused for comes as a
// *PartError.
func (a *Applier) CreateTogether(ctx context.Context, by identity.Actor, source string, parts []Part, resolve func(ids []string) ([]Part, error)) ([]Part, error) {
	var made []Part
	err := a.inTx(ctx, by, func(c *change) error {
		held, ids, err := c.meant(ctx, source, parts)
		if err != nil {
			return err
		}
		resolved, err := resolve(ids)
		if err != nil {
			return err
		}
		made = make([]Part, len(resolved))
		// Users come first, for they may be members.
		for i, p := range resolved {
			if p.User == nil {
				continue
			}
			u, err := c.postUser(ctx, source, held[i], ids[i], *p.User)
			if err != nil {
				return &PartError{Part: i, Err: err}
			}
			made[i].User = &u
		}
		return c.postGroups(ctx, source, ids, resolved, made)
	})
	return made, err
}

// meant finds who the parts are: for users those held, nil for nobody; for all their ids.
func (c *change) meant(ctx context.Context, source string, parts []Part) (held []*identity.User, ids []string, err error) {
	held, ids = make([]*identity.User, len(parts)), make([]string, len(parts))
	seen := map[string]bool{}
	for i, p := range parts {
		if p.User != nil {
			if held[i], err = c.heldForPost(ctx, source, p.User); err != nil {
				return nil, nil, &PartError{Part: i, Err: err}
			}
		}
		ids[i] = c.idFor(held[i])
		if seen[ids[i]] {
			return nil, nil, &PartError{Part: i, Err: &store.DuplicateError{
				Object: identity.ObjectUser, Attribute: "userName", Value: p.User.UserName, ID: ids[i],
			}}
		}
		seen[ids[i]] = true
	}
	return held, ids, nil
}

// postGroups writes the groups, and then their members, who may be groups as well.
func (c *change) postGroups(ctx context.Context, source string, ids []string, parts, made []Part) error {
	for i, p := range parts {
		if p.Group == nil {
			continue
		}
		after := *p.Group
		after.ID = ids[i]
		if err := c.postGroup(ctx, source, &after); err != nil {
			return &PartError{Part: i, Err: err}
		}
		made[i].Group = &after
	}
	for i, p := range parts {
		if p.Group == nil {
			continue
		}
		g, err := c.postMembers(ctx, made[i].Group, p.Members)
		if err != nil {
			return &PartError{Part: i, Err: err}
		}
		made[i].Group = &g
	}
	return nil
}
