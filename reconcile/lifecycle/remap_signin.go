package lifecycle

import (
	"context"

	"github.com/idpsync/idpsync/reconcile/roles"
)

func (c *change) regrantSignIns(ctx context.Context, changes []roles.RuleChange) error { return nil }
