package store

import (
	"context"
	"time"
)

// LockKey returns the key with an id and keeps others from changing it until the transaction ends; ErrNotFound.
func (tx *Tx) LockKey(ctx context.Context, id string) (Key, error) {
	if !holdable(id) {
		return Key{}, ErrNotFound
	}
	lock := tx.d.forUpdate()
	if lock != "" {
		lock += " OF k"
	}
	keys, err := tx.scanKeys(ctx, "WHERE k.id = ?"+lock, id)
	if err != nil {
		return Key{}, err
	}
	if len(keys) == 0 {
		return Key{}, ErrNotFound
	}
	return keys[0], nil
}

// ExpireKey lets a key end at a time, unless it ends before.
func (tx *Tx) ExpireKey(ctx context.Context, id string, at time.Time) error {
	_, err := tx.exec(ctx, "UPDATE api_keys SET expires_at = ? WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)", stamp(at), id, stamp(at))
	return err
}
