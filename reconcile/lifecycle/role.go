package lifecycle

import (
	"context"
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

// heldRoles returns the protected roles that somebody active holds, where a pull is at work or the role mapping changes:
// only these are kept from taking the last holder away. Like break glass it is asked after LocalAdmins, which lets one transaction ask at a time.
func (c *change) heldRoles(ctx context.Context) ([]identity.TeamRole, error) {
	if !c.pulled && !c.protect {
		return nil, nil
	}
	var held []identity.TeamRole
	for _, role := range c.protectedRoles {
		is, err := c.tx.RoleHeld(ctx, role)
		if err != nil {
			return nil, err
		}
		if is {
			held = append(held, role)
		}
	}
	return held, nil
}

// keepRoles refuses what left one of these roles without an active holder.
func (c *change) keepRoles(ctx context.Context, held []identity.TeamRole) error {
	for _, role := range held {
		is, err := c.tx.RoleHeld(ctx, role)
		if err != nil {
			return err
		}
		if !is {
			return &RefusedError{Reason: fmt.Sprintf("protected role: this would take away the last active holder of %s:%s", role.Team, role.Role)}
		}
	}
	return nil
}
