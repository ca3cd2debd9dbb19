package lifecycle

import (
	"context"
	"errors"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// ErrKeyEnded: a key that is revoked, disabled or expired has no successor.
var ErrKeyEnded = errors.New("the key is revoked, disabled or expired")

// RotateKey stores a second key beside the one with an id: of k count ID, Hash, Created and Expires, all else is the
// predecessor's, so that both push the same people. Where k.Expires is zero, the successor lives as long as its
// predecessor was to. The predecessor stays live; with expireIn above zero, that long at most. It returns both as they are
// now. A key that is not there is store.ErrNotFound, one that has ended ErrKeyEnded.
func (a *Applier) RotateKey(ctx context.Context, by identity.Actor, id string, k store.Key, expireIn time.Duration) (old, successor store.Key, err error) {
	err = a.inTx(ctx, by, func(c *change) error {
		var err error
		if old, err = c.tx.LockKey(ctx, id); err != nil {
			return err
		}
		if !old.Live(c.now) {
			return ErrKeyEnded
		}
		successor = store.Key{
			ID: k.ID, UserID: old.UserID, UserName: old.UserName, Name: old.Name, Source: old.Source, Connector: old.Connector,
			Hash: k.Hash, Created: k.Created, Expires: k.Expires,
		}
		if k.Expires.IsZero() && !old.Expires.IsZero() {
			successor.Expires = k.Created.Add(old.Expires.Sub(old.Created))
		}
		rotated := identity.Event{Type: identity.EventKeyRotated, Object: "key", ObjectID: old.ID, Name: old.Name, Reason: "followed by " + k.ID}
		if end := c.now.Add(expireIn); expireIn > 0 && (old.Expires.IsZero() || end.Before(old.Expires)) {
			if err := c.tx.ExpireKey(ctx, old.ID, end); err != nil {
				return err
			}
			rotated.Fields = []identity.FieldChange{{Path: "expires", Before: orNever(old.Expires), After: orNever(end)}}
			old.Expires = end
		}
		c.event(rotated)
		c.event(identity.Event{Type: identity.EventKeyCreated, Object: "key", ObjectID: k.ID, Name: old.Name, Reason: "owner " + old.UserName + ", follows " + old.ID, Fields: keyFields(&successor)})
		return c.tx.InsertKey(ctx, successor)
	})
	return old, successor, err
}

// orNever is a time as the audit log has it, nil for none.
func orNever(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format(time.RFC3339)
}
