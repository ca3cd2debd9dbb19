package app

import (
	"context"
	"fmt"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

// roleGuard says why so many of those who hold a role may not lose one, or "".
func (a *App) roleGuard(losing, holding int) string {
	l := a.Config.RoleGuard
	return plan.Limits{Percent: l.Percent, Floor: l.Floor, Max: l.Max}.Hold("people who lose a role", losing, holding)
}

// Remap changes the role mapping, or says what would come of it. See lifecycle.Applier.Remap.
func (a *App) Remap(ctx context.Context, by identity.Actor, edit roles.Edit, dryRun bool, approve string) (lifecycle.MappingPlan, error) {
	return a.Applier.Remap(ctx, by, lifecycle.Remap{Edit: edit, DryRun: dryRun, Approve: approve, Guard: a.roleGuard})
}

// SyncMapping puts in force what the configuration declares of the role mapping, unless the guard holds it.
func (a *App) SyncMapping(ctx context.Context, by identity.Actor, dryRun bool, approve string) (lifecycle.MappingPlan, error) {
	p, err := a.Applier.SyncMapping(ctx, by, lifecycle.Remap{DryRun: dryRun, Approve: approve, Guard: a.roleGuard})
	if err != nil {
		return p, fmt.Errorf("put the role mapping of the configuration in force: %w", err)
	}
	return p, nil
}

// syncMapping does so when a server starts, and brings the groups that no connector pulls in line with the mapping.
func (a *App) syncMapping(ctx context.Context) error {
	by := identity.Actor{Kind: "system", ID: "configuration", Name: "configuration"}
	p, err := a.SyncMapping(ctx, by, false, "")
	switch {
	case err != nil:
		// The mapping that was in force stays so: nobody is locked out because two lines of a file are at odds with
		// break glass. What is wrong is said, and `roles apply` says it again.
		a.Logger.ErrorContext(ctx, "role mapping not applied", "error", err)
	case p.Held():
		a.Logger.WarnContext(ctx, "role mapping held", "guard", p.Guard, "losing", p.Losing, "plan_hash", p.Hash,
			"remedy", "look at `idpsync roles apply --dry-run`, then `idpsync roles apply --plan HASH`")
	case !p.Empty():
		a.Logger.InfoContext(ctx, "role mapping applied", "rules", len(p.Rules), "groups", len(p.Groups), "gains", len(p.Gains), "losses", len(p.Losses))
	}
	names := make([]string, len(a.sources))
	for i, s := range a.sources {
		names[i] = s.Name
	}
	changed, err := a.Applier.SyncGroups(ctx, by, names)
	if err != nil {
		return fmt.Errorf("bring groups in line with the role mapping: %w", err)
	}
	if changed > 0 {
		a.Logger.InfoContext(ctx, "groups brought in line with the role mapping", "groups", changed)
	}
	return nil
}
