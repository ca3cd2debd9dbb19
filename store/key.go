package store

import (
	"context"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// Key is an API key as held: its secret is not.
type Key struct {
	ID        string
	UserID    string // the owner
	UserName  string // the owner's, filled on reads
	Name      string
	Source    string // what it pushes is owned by: a connector's name, or "scim:<id of the first key of its line>"
	Connector string // the connector that it is bound to, or ""
	Hash      []byte // SHA-256
	Created   time.Time
	Expires   time.Time // zero: never
	LastUsed  time.Time // zero: never; kept to the minute
	Disabled  time.Time // zero: not disabled; set when its owner is deactivated
	Revoked   time.Time // zero: not revoked
}

// Live tells whether the key may be used at a time.
func (k *Key) Live(now time.Time) bool {
	return k.Disabled.IsZero() && k.Revoked.IsZero() && (k.Expires.IsZero() || now.Before(k.Expires))
}

type keyRow struct {
	ID, UserID, UserName, Name, Source, Connector string
	Hash                                          []byte
	CreatedAt                                     time.Time
	ExpiresAt, LastUsedAt, DisabledAt, RevokedAt  *time.Time
}

const keyColumns = "k.id, k.user_id, u.user_name, k.name, k.source, k.connector, k.hash, k.created_at, k.expires_at, " +
	"k.last_used_at, k.disabled_at, k.revoked_at"

const keySelect = "SELECT " + keyColumns + " FROM api_keys k JOIN users u ON u.id = k.user_id "

func (row *keyRow) key() Key {
	return Key{
		row.ID, row.UserID, row.UserName, row.Name, row.Source, row.Connector, row.Hash, row.CreatedAt.UTC(),
		timeOf(row.ExpiresAt), timeOf(row.LastUsedAt), timeOf(row.DisabledAt), timeOf(row.RevokedAt),
	}
}

func (r reader) scanKeys(ctx context.Context, where string, args ...any) ([]Key, error) {
	var rows []keyRow
	if err := r.raw(ctx, keySelect+where, args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	keys := make([]Key, len(rows))
	for i := range rows {
		keys[i] = rows[i].key()
	}
	return keys, nil
}

// Keys returns all keys, the oldest first.
func (r reader) Keys(ctx context.Context) ([]Key, error) {
	return r.scanKeys(ctx, "ORDER BY k.created_at, k.id")
}

// KeyByID returns the key with an id; ErrNotFound.
func (r reader) KeyByID(ctx context.Context, id string) (Key, error) {
	if !holdable(id) {
		return Key{}, ErrNotFound
	}
	keys, err := r.scanKeys(ctx, "WHERE k.id = ?", id)
	if err != nil {
		return Key{}, err
	}
	if len(keys) == 0 {
		return Key{}, ErrNotFound
	}
	return keys[0], nil
}

// Holder is a key with what its owner may do at this moment.
type Holder struct {
	Key
	OwnerActive bool // the owner is active and not deleted
	Provisioner bool // the owner holds scim_provisioner and admin on the root team
}

// holderSelect reads a key with the number of the two roles that its owner holds by grants of her own.
const holderSelect = "SELECT " + keyColumns + ", u.active AND u.deleted_at IS NULL, " +
	"(SELECT count(DISTINCT g.role) FROM grants g WHERE g.user_id = k.user_id AND g.team_id = ? AND g.role IN (?, ?)) " +
	"FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = ?"

// isProvisioner tells whether a user holds scim_provisioner and admin on the root team, for whatever reason.
func (r reader) isProvisioner(ctx context.Context, userID string) (bool, error) {
	var held int
	err := r.raw(ctx, "SELECT count(DISTINCT role) FROM effective_grants WHERE user_id = ? AND team_id = ? AND role IN (?, ?)",
		userID, identity.RootTeamID, identity.RoleSCIMProvisioner, identity.RoleAdmin).Scan(&held).Error
	if err != nil {
		return false, fmt.Errorf("read the roles of a key's owner: %w", err)
	}
	return held == 2, nil
}

// InsertKey writes a new key.
func (tx *Tx) InsertKey(ctx context.Context, k Key) error {
	return tx.insertRows(ctx, "api_keys",
		[]string{"id", "user_id", "name", "source", "connector", "hash", "created_at", "expires_at"},
		[][]any{{k.ID, k.UserID, k.Name, k.Source, k.Connector, k.Hash, stamp(k.Created), utc(k.Expires)}})
}

// TouchKey notes that a key was used. It writes at most once a minute for each key.
func (s *Store) TouchKey(ctx context.Context, id string, now time.Time) error {
	_, err := s.exec(ctx, "UPDATE api_keys SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)",
		stamp(now), id, stamp(now.Add(-time.Minute)))
	return err
}

// RevokeKey ends a key for good and tells whether it was not yet revoked.
func (tx *Tx) RevokeKey(ctx context.Context, id string, now time.Time) (bool, error) {
	n, err := tx.exec(ctx, "UPDATE api_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", stamp(now), id)
	return n > 0, err
}

// DisableKeys disables the keys of users and returns the keys' ids.
func (tx *Tx) DisableKeys(ctx context.Context, userIDs []string, now time.Time) ([]Key, error) {
	keys, err := tx.scanKeys(ctx, "WHERE k.disabled_at IS NULL AND k.revoked_at IS NULL AND "+tx.d.in("k.user_id", "uuid"), tx.d.list(validIDs(userIDs)))
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	_, err = tx.exec(ctx, "UPDATE api_keys SET disabled_at = ? WHERE disabled_at IS NULL AND revoked_at IS NULL AND "+tx.d.in("user_id", "uuid"),
		stamp(now), tx.d.list(validIDs(userIDs)))
	return keys, err
}

// OwnsLiveSCIMKey tells whether a user owns a key with which somebody may be pushing: live, and the owner a
// provisioner.
func (tx *Tx) OwnsLiveSCIMKey(ctx context.Context, userID string, now time.Time) (bool, error) {
	var n int
	err := tx.raw(ctx, "SELECT count(*) FROM api_keys WHERE user_id = ? AND disabled_at IS NULL AND revoked_at IS NULL "+
		"AND (expires_at IS NULL OR expires_at > ?) AND last_used_at IS NOT NULL AND EXISTS (SELECT 1 FROM effective_grants e WHERE e.user_id = api_keys.user_id AND e.team_id = ? AND e.role = ?)",
		userID, stamp(now), identity.RootTeamID, identity.RoleSCIMProvisioner).Scan(&n).Error
	if err != nil {
		return false, fmt.Errorf("read keys: %w", err)
	}
	return n > 0, nil
}

// EnableKey lets a disabled key in again and tells whether it was disabled.
func (tx *Tx) EnableKey(ctx context.Context, id string) (bool, error) {
	n, err := tx.exec(ctx, "UPDATE api_keys SET disabled_at = NULL WHERE id = ? AND disabled_at IS NOT NULL AND revoked_at IS NULL", id)
	return n > 0, err
}

// SetPassword stores the hash of a local account's password.
func (tx *Tx) SetPassword(ctx context.Context, userID, hash string, now time.Time) error {
	_, err := tx.exec(ctx, "INSERT INTO credentials (user_id, password_hash, updated_at) VALUES (?, ?, ?) "+
		"ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, updated_at = excluded.updated_at",
		userID, hash, stamp(now))
	return err
}

// DropPasswords removes the passwords of users, who sign in at their identity provider from now on.
func (tx *Tx) DropPasswords(ctx context.Context, userIDs []string) error {
	_, err := tx.exec(ctx, "DELETE FROM credentials WHERE "+tx.d.in("user_id", "uuid"), tx.d.list(validIDs(userIDs)))
	return err
}

// PasswordHash returns the hash of a local account's password; ErrNotFound when it has none.
func (r reader) PasswordHash(ctx context.Context, userID string) (string, error) {
	if !isID(userID) {
		return "", ErrNotFound
	}
	var hashes []string
	if err := r.raw(ctx, "SELECT password_hash FROM credentials WHERE user_id = ?", userID).Scan(&hashes).Error; err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	if len(hashes) == 0 {
		return "", ErrNotFound
	}
	return hashes[0], nil
}
