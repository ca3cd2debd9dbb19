package lifecycle

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Lookup tells what somebody may do, by userName without case: what an application asks at sign-in, and before. The ETag,
// a strong one with its quotation marks, is a hash of everything that the answer says. Nobody of that name is
// store.ErrNotFound; of whoever is inactive the answer says so, and why.
func Lookup(ctx context.Context, s *store.Store, userName string) (access roles.Access, etag string, err error) {
	u, grants, err := s.Access(ctx, userName)
	if err != nil {
		return roles.Access{}, "", err
	}
	access = roles.Explain(&u, grants)
	etag, err = ETag(access)
	return access, etag, err
}

// ETag returns the strong entity tag (RFC 9110, section 8.8.3) of what somebody may do.
func ETag(access roles.Access) (string, error) {
	said, err := json.Marshal(access)
	if err != nil {
		return "", fmt.Errorf("hash the access of %s: %w", access.UserID, err)
	}
	hash := sha256.Sum256(said)
	return `"` + base64.RawURLEncoding.EncodeToString(hash[:]) + `"`, nil
}

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
	first, notFound := s.FirstUserEvent(ctx, userID)
	if errors.Is(notFound, store.ErrNotFound) {
		return access, err
	}
	if notFound != nil {
		return access, notFound
	}
	unknown.UserName, unknown.First, unknown.Created = first.Name, first.At, first.Type == identity.EventUserCreated
	return access, unknown
}
