package lifecycle

import (
	"context"

	"github.com/idpsync/idpsync/reconcile/roles"
)

// regrantSignIns brings what sign-ins gave in line with changed rules: for the people whose last sign-in stated one of
// the groups, or where the role that every group gives has changed, for all who stated any.
func (c *change) regrantSignIns(ctx context.Context, changes []roles.RuleChange, every bool) error {
	if every {
		users, err := c.tx.UsersWithStatedGroups(ctx)
		if err != nil {
			return err
		}
		for _, id := range users {
			if err := c.syncJIT(ctx, id); err != nil {
				return err
			}
		}
		return nil
	}
	references := make([]string, len(changes))
	for i := range changes {
		references[i] = changes[i].Group
	}
	return c.syncStating(ctx, references)
}
