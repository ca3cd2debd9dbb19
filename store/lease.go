package store

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Lease is the right to run one connector: whoever holds it may write, with its epoch as the fencing token.
type Lease struct {
	Name   string
	Holder string
	Epoch  int64
	TTL    time.Duration // for how long it was taken
}

// AcquireLease takes a lease for ttl, unless somebody else holds it: then it is ErrBusy. Every acquisition has a higher
// epoch than the one before.
func (s *Store) AcquireLease(ctx context.Context, name, holder string, ttl time.Duration) (Lease, error) {
	lease := Lease{Name: name, Holder: holder, TTL: ttl}
	err := s.InTx(ctx, func(tx *Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		var epochs []int64
		err = tx.raw(ctx, "INSERT INTO leases (name, holder, epoch, expires_at) VALUES (?, ?, 1, ?) "+
			"ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = leases.epoch + 1, expires_at = excluded.expires_at "+
			"WHERE leases.expires_at < ? RETURNING epoch", name, holder, stamp(now.Add(ttl)), stamp(now)).Scan(&epochs).Error
		if err != nil {
			return fmt.Errorf("acquire lease %s: %w", name, err)
		}
		if len(epochs) == 0 {
			return ErrBusy
		}
		lease.Epoch = epochs[0]
		return nil
	})
	return lease, err
}

// RenewLease prolongs a lease; ErrLeaseLost when it is no longer held.
func (s *Store) RenewLease(ctx context.Context, l Lease, ttl time.Duration) error {
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	n, err := s.exec(ctx, "UPDATE leases SET expires_at = ? WHERE name = ? AND holder = ? AND epoch = ?", stamp(now.Add(ttl)), l.Name, l.Holder, l.Epoch)
	if err == nil && n == 0 {
		err = ErrLeaseLost
	}
	return err
}

// ReleaseLease lets others have a lease at once. Losing it before is no error.
func (s *Store) ReleaseLease(ctx context.Context, l Lease) error {
	_, err := s.exec(ctx, "UPDATE leases SET expires_at = ? WHERE name = ? AND holder = ? AND epoch = ?", stamp(time.Unix(0, 0)), l.Name, l.Holder, l.Epoch)
	return err
}

// LeaseHeld tells whether anybody holds a lease.
func (s *Store) LeaseHeld(ctx context.Context, name string) (bool, error) {
	now, err := s.Now(ctx)
	if err != nil {
		return false, err
	}
	var n int
	err = s.raw(ctx, "SELECT count(*) FROM leases WHERE name = ? AND expires_at >= ?", name, stamp(now)).Scan(&n).Error
	if err != nil {
		return false, fmt.Errorf("look at lease %s: %w", name, err)
	}
	return n > 0, nil
}

// Fence fails with ErrLeaseLost unless the lease is still held, and keeps it from being taken until the transaction
// ends. The zero Lease fences nothing. A process that is paused in the transaction would keep others from the lease for as
// long as that lasts: PostgreSQL ends the transaction once it was left alone for longer than the lease.
func (tx *Tx) Fence(ctx context.Context, l Lease) error {
	if l.Name == "" {
		return nil
	}
	columns, args := "epoch", []any{l.Name, l.Holder, l.Epoch}
	if tx.d.postgres() && l.TTL > 0 {
		// Until the end of the transaction: nothing stays in the session, which with a pooler is not ours.
		columns += ", set_config('idle_in_transaction_session_timeout', ?, TRUE)"
		args = append([]any{strconv.FormatInt(l.TTL.Milliseconds(), 10)}, args...)
	}
	var rows []struct{ Epoch int64 }
	if err := tx.raw(ctx, "SELECT "+columns+" FROM leases WHERE name = ? AND holder = ? AND epoch = ?"+tx.d.forShare(), args...).Scan(&rows).Error; err != nil {
		return fmt.Errorf("check lease %s: %w", l.Name, err)
	}
	if len(rows) == 0 {
		return ErrLeaseLost
	}
	return nil
}
