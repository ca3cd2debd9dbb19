package apikey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
)

// Store is what an Authenticator reads, and where it notes a key's use. *store.Store is one.
type Store interface {
	KeyHolder(ctx context.Context, id string, along ...*store.UserLookup) (store.Holder, error)
	TouchKey(ctx context.Context, id string, now time.Time) error
}

var _ Store = (*store.Store)(nil)

// Authenticator tells who holds an API key. It keeps nothing in memory: a key revoked, an owner deactivated or a role
// lost counts from the next request, on every replica. It is safe for concurrent use.
type Authenticator struct {
	store  Store
	logger *slog.Logger
	now    func() time.Time
}

var _ scim.Authenticator = (*Authenticator)(nil)

// NewAuthenticator returns an Authenticator. A nil now is time.Now.
func NewAuthenticator(s Store, logger *slog.Logger, now func() time.Time) *Authenticator {
	if now == nil {
		now = time.Now
	}
	return &Authenticator{store: s, logger: logger, now: now}
}

// RefusedError says why a key is not let in, for the log: to the caller all reasons look the same. It is a
// scim.ErrUnauthenticated.
type RefusedError struct {
	KeyID  string // "" where the text has not the form of a key
	Reason string
}

func (e *RefusedError) Error() string {
	if e.KeyID == "" {
		return e.Reason
	}
	return "the API key " + e.KeyID + " " + e.Reason
}

// Is makes every refusal a scim.ErrUnauthenticated.
func (e *RefusedError) Is(target error) bool { return target == scim.ErrUnauthenticated }

// refusal says why a key is not let in, or "". held has unknownHash where there is no such key.
func refusal(key Key, held *store.Holder, now time.Time) string {
	matches := key.Matches(held.Hash) // first of all, and always
	switch {
	case held.ID == "":
		return "is not known"
	case !matches:
		return "comes with another secret"
	case !held.Revoked.IsZero():
		return "is revoked"
	case !held.Disabled.IsZero():
		return "is disabled, as its owner was deactivated"
	case !held.Live(now):
		return "is expired"
	case !held.OwnerActive:
		// Deactivation disables the keys of a user; one that was enabled by hand since gives no access either.
		return "has an owner who is not active"
	}
	return ""
}

// unknownHash is compared with where there is no key, so that an unknown id takes the time of a wrong secret.
var unknownHash = make([]byte, 32)

// Authenticate returns who holds the key, or scim.ErrUnauthenticated for a key that is garbled, mistyped, unknown,
// revoked, disabled, expired, or of an owner who is not active. Any other error is the server's own. The lookups are answered in the
// same round trip.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string, along ...*store.UserLookup) (scim.Principal, error) {
	key, err := Parse(bearer)
	if err != nil {
		return scim.Principal{}, &RefusedError{Reason: err.Error()}
	}
	held, err := a.store.KeyHolder(ctx, key.ID(), along...)
	switch {
	case errors.Is(err, store.ErrNotFound):
		held.Hash = unknownHash
	case err != nil:
		return scim.Principal{}, fmt.Errorf("look up the API key %s: %w", key.ID(), err)
	}
	now := a.now().UTC()
	if reason := refusal(key, &held, now); reason != "" {
		return scim.Principal{}, &RefusedError{KeyID: key.ID(), Reason: reason}
	}
	if now.Sub(held.LastUsed) >= time.Minute {
		if err := a.store.TouchKey(ctx, held.ID, now); err != nil {
			a.logger.WarnContext(ctx, "key use not noted", "key_id", held.ID, "error", err)
		}
	}
	return scim.Principal{
		KeyID: held.ID, KeyName: held.Name,
		UserID: held.UserID, UserName: held.UserName,
		Source:      held.Source,
		Provisioner: held.Provisioner,
	}, nil
}
