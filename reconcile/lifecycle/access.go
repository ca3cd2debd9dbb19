package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// AccessAt tells what a user might do at a moment in the past, and why, from the audit log. An *roles.UnknownError says
// that this is not known: the person was created later, or the log begins later.
func AccessAt(ctx context.Context, s *store.Store, userID string, at time.Time) (roles.PastAccess, error) {
	events, err := s.History(ctx, userID, at)
	if err != nil {
		return roles.PastAccess{}, err
	}
	access, err := roles.Past(userID, events, at.UTC())
	var unknown *roles.UnknownError
	if !errors.As(err, &unknown) || !unknown.First.IsZero() {
		return access, err
	}
	// Nothing until then: what came later says why.
	first, notFound := s.FirstEvent(ctx, userID)
	if errors.Is(notFound, store.ErrNotFound) {
		return access, err
	}
	if notFound != nil {
		return access, notFound
	}
	unknown.UserName, unknown.First, unknown.Created = first.Name, first.At, first.Type == identity.EventUserCreated
	return access, unknown
}
