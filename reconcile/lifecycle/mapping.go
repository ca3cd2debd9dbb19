package lifecycle

import (
	"context"
	"errors"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// SyncMapping makes what groups grant what the mapping says, group by group, and returns how many differed. It is for
// groups that no run sees to: those that the named connectors own are left to their runs, where the difference is
// planned and shown first.
func (a *Applier) SyncMapping(ctx context.Context, by identity.Actor, connectors []string) (int, error) {
	const page = 500
	pulled := map[string]bool{}
	for _, name := range connectors {
		pulled[name] = true
	}
	changed := 0
	for after := int64(0); ; {
		groups, err := a.store.OwnedGroups(ctx, "", after, page)
		if err != nil {
			return changed, err
		}
		for i := range groups {
			if pulled[groups[i].Source] {
				continue
			}
			differed, err := a.syncGroup(ctx, by, groups[i].ID)
			var refused *RefusedError
			if errors.As(err, &refused) {
				continue // break glass: the group keeps what it grants, and the refusal is recorded
			}
			if err != nil {
				return changed, err
			}
			if differed {
				changed++
			}
		}
		if len(groups) < page {
			return changed, nil
		}
		after = groups[len(groups)-1].Seq
	}
}

// syncGroup makes what one group grants what the mapping says.
func (a *Applier) syncGroup(ctx context.Context, by identity.Actor, id string) (bool, error) {
	differed := false
	err := a.inTx(ctx, by, func(c *change) error {
		g, err := c.tx.LockGroup(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		before := len(c.events)
		if err := c.syncTeam(ctx, &g); err != nil {
			return err
		}
		differed = len(c.events) > before
		return nil
	})
	return differed, err
}
