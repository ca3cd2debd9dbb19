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
	KeyCaller(ctx context.Context, id string) (store.Caller, error)
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
func refusal(key Key, held *store.Key, ownerActive bool, now time.Time) string {
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
	case !ownerActive:
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
	if err := a.admit(ctx, key, &held.Key, held.OwnerActive); err != nil {
		return scim.Principal{}, err
	}
	return scim.Principal{
		KeyID: held.ID, KeyName: held.Name,
		UserID: held.UserID, UserName: held.UserName,
		Source:      held.Source,
		Provisioner: held.Provisioner,
	}, nil
}

// Caller returns the key with what its owner may do in administration, as Authenticate does for SCIM:
// scim.ErrUnauthenticated for a key that lets nobody in, any other error is the server's own.
func (a *Authenticator) Caller(ctx context.Context, bearer string) (store.Caller, error) {
	key, err := Parse(bearer)
	if err != nil {
		return store.Caller{}, &RefusedError{Reason: err.Error()}
	}
	held, err := a.store.KeyCaller(ctx, key.ID())
	switch {
	case errors.Is(err, store.ErrNotFound):
		held.Hash = unknownHash
	case err != nil:
		return store.Caller{}, fmt.Errorf("look up the API key %s: %w", key.ID(), err)
	}
	if err := a.admit(ctx, key, &held.Key, held.OwnerActive); err != nil {
		return store.Caller{}, err
	}
	return held, nil
}

// admit says whether a key is let in, as it is held, and notes its use.
func (a *Authenticator) admit(ctx context.Context, key Key, held *store.Key, ownerActive bool) error {
	now := a.now().UTC()
	if reason := refusal(key, held, ownerActive, now); reason != "" {
		return &RefusedError{KeyID: key.ID(), Reason: reason}
	}
	if now.Sub(held.LastUsed) >= time.Minute {
		if err := a.store.TouchKey(ctx, held.ID, now); err != nil {
			a.logger.WarnContext(ctx, "key use not noted", "key_id", held.ID, "error", err)
		}
	}
	return nil
}
