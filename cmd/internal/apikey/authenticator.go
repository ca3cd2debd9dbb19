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

// unknownHash is compared with where there is no key, so that an unknown id takes the time of a wrong secret.
var unknownHash = make([]byte, 32)

// Authenticate returns who holds the key, or scim.ErrUnauthenticated for a key that is garbled, mistyped, unknown,
// revoked, disabled, expired, or of an owner who is not active. Any other error is the server's own. The lookups are answered in the
// same round trip.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string, along ...*store.UserLookup) (scim.Principal, error) {
	key, err := Parse(bearer)
	if err != nil {
		return scim.Principal{}, fmt.Errorf("%w: %w", scim.ErrUnauthenticated, err)
	}
	held, err := a.store.KeyHolder(ctx, key.ID(), along...)
	switch {
	case errors.Is(err, store.ErrNotFound):
		held.Hash = unknownHash
	case err != nil:
		return scim.Principal{}, fmt.Errorf("look up the API key %s: %w", key.ID(), err)
	}
	now := a.now().UTC()
	if !key.Matches(held.Hash) || !held.Live(now) {
		return scim.Principal{}, fmt.Errorf("%w: the key %s is unknown, revoked, disabled or expired", scim.ErrUnauthenticated, key.ID())
	}
	if !held.OwnerActive {
		// Deactivation disables the keys of a user; one that was enabled by hand since gives no access either.
		return scim.Principal{}, fmt.Errorf("%w: the owner of the key %s is not active", scim.ErrUnauthenticated, key.ID())
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
