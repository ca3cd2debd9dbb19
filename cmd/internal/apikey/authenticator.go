package apikey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Store is what an Authenticator reads, and where it notes a key's use. *store.Store is one.
type Store interface {
	KeyByID(ctx context.Context, id string) (store.Key, error)
	User(ctx context.Context, id string) (identity.User, error)
	EffectiveGrants(ctx context.Context, userID string) ([]identity.Grant, error)
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
// revoked, disabled, expired, or of an owner who is not active. Any other error is the server's own.
func (a *Authenticator) Authenticate(ctx context.Context, bearer string) (scim.Principal, error) {
	key, err := Parse(bearer)
	if err != nil {
		return scim.Principal{}, fmt.Errorf("%w: %w", scim.ErrUnauthenticated, err)
	}
	held, err := a.store.KeyByID(ctx, key.ID())
	switch {
	case errors.Is(err, store.ErrNotFound):
		held = store.Key{Hash: unknownHash}
	case err != nil:
		return scim.Principal{}, fmt.Errorf("look up the API key %s: %w", key.ID(), err)
	}
	now := a.now().UTC()
	if !key.Matches(held.Hash) || !held.Live(now) {
		return scim.Principal{}, fmt.Errorf("%w: the key %s is unknown, revoked, disabled or expired", scim.ErrUnauthenticated, key.ID())
	}
	owner, err := a.store.User(ctx, held.UserID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (!owner.Active || owner.Deleted()) {
		// Deactivation disables the keys of a user; one that was enabled by hand since gives no access either.
		return scim.Principal{}, fmt.Errorf("%w: the owner of the key %s is not active", scim.ErrUnauthenticated, key.ID())
	}
	if err != nil {
		return scim.Principal{}, fmt.Errorf("look up the owner of the API key %s: %w", key.ID(), err)
	}
	grants, err := a.store.EffectiveGrants(ctx, held.UserID)
	if err != nil {
		return scim.Principal{}, fmt.Errorf("look up the roles of the owner of the API key %s: %w", key.ID(), err)
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
		Provisioner: holdsOnRoot(grants, identity.RoleSCIMProvisioner) && holdsOnRoot(grants, identity.RoleAdmin),
	}, nil
}

func holdsOnRoot(grants []identity.Grant, role identity.Role) bool {
	for _, g := range grants {
		if g.TeamID == identity.RootTeamID && g.Role == role {
			return true
		}
	}
	return false
}
