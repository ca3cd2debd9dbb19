package signin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// How often somebody may try passwords. Failures are counted for an account from one network, and for a network over all
// accounts; each from some number on makes the next try wait, twice as long each time. For an account over all networks
// there is no wait that would keep its owner out: beyond a bound, a network that failed for it before waits, and one
// that never did gets its try. A browser in which somebody signed in before has a counter of its own and minds no other.
const (
	freeInPlace   = 4  // failures of an account from one network, or in one known browser, without a wait
	freeOfNetwork = 19 // failures of a network without a wait
	longestWait   = 15 * time.Minute
	accountWindow = 15 * time.Minute // in which an account
	accountMost   = 50               // may fail so often before networks that failed for it wait
	forgetAfter   = 24 * time.Hour   // without a failure, what was counted is forgotten
)

// wait returns how long after a failure the next try waits, by the number of failures, of which some are free.
func wait(failures, free int) time.Duration {
	n := failures - free
	switch {
	case n <= 0:
		return 0
	case n > 10: // 2^10 s is beyond the longest
		return longestWait
	}
	return min(time.Second<<(n-1), longestWait)
}

// place is where a try comes from and whose it is: everything that the counters are found by.
type place struct {
	account string // a user's id, or the mark of a name that is nobody's
	network string
	browser string // the mark of the browser where it is known for the account, else ""
}

// keys are the counters that a try is held against, the one of account and place first.
func (p place) keys() []store.FailureKey {
	if p.browser != "" {
		return []store.FailureKey{{Kind: store.FailuresOfBrowser, Account: p.account, Place: p.browser}}
	}
	return []store.FailureKey{
		{Kind: store.FailuresOfPair, Account: p.account, Place: p.network},
		{Kind: store.FailuresOfNetwork, Place: p.network},
		{Kind: store.FailuresOfAccount, Account: p.account},
	}
}

// judge returns the counter for which a try has to wait, and until when; nil where it may be made. The counters are
// those of place.keys, in their order. What is to be forgotten of them is.
func judge(now time.Time, counters []store.Failures) (*store.Failures, time.Time) {
	var (
		blocking *store.Failures
		until    time.Time
	)
	for i := range counters {
		c := &counters[i]
		if c.Kind == store.FailuresOfAccount && !now.Before(c.Since.Add(accountWindow)) || !now.Before(c.Last.Add(forgetAfter)) {
			*c = store.Failures{FailureKey: c.FailureKey, Since: now, Last: now}
		}
		end := c.Until
		if c.Kind == store.FailuresOfAccount && c.Count >= accountMost && counters[0].Count > 0 {
			end = c.Since.Add(accountWindow)
		}
		if now.Before(end) && end.After(until) {
			blocking, until = c, end
		}
	}
	return blocking, until
}

// spend counts a failure. It is called before a password is checked, so that tries made at once do not all count as the
// first; refund takes it back.
func spend(now time.Time, counters []store.Failures) {
	for i := range counters {
		c := &counters[i]
		c.Count++
		if c.Count == 1 {
			c.Since = now
		}
		c.Last = now
		free := freeInPlace
		switch c.Kind {
		case store.FailuresOfNetwork:
			free = freeOfNetwork
		case store.FailuresOfAccount:
			continue
		}
		if d := wait(c.Count, free); d > 0 {
			c.Until = now.Add(d)
		}
	}
}

// refund takes a failure back that was spent and was none. spent are the counters as spend left them. With right, the
// password was the right one, and what was counted for the account in this place is forgotten; the network's other
// failures are not, or whoever has an account of their own could try others' for ever.
func refund(counters, spent []store.Failures, right bool) {
	for i := range counters {
		c := &counters[i]
		ofPlace := c.Kind == store.FailuresOfPair || c.Kind == store.FailuresOfBrowser
		switch {
		case c.Count == 0:
		case ofPlace && right:
			c.Count = 0
		default:
			c.Count--
			if c.Until.Equal(spent[i].Until) { // nobody failed since
				c.Until = time.Time{}
			}
		}
	}
}

// BlockedError says that passwords are not tried before a time.
type BlockedError struct{ Until time.Time }

func (e *BlockedError) Error() string {
	return "too many failed sign-ins: not before " + e.Until.UTC().Format(time.RFC3339)
}

// ticket is a try that was let in.
type ticket struct {
	place place
	spent []store.Failures
}

// take lets a try in and counts it, or returns a *BlockedError, which is recorded once for each block. u is nil for
// nobody.
func (s *Service) take(ctx context.Context, by identity.Actor, p place, u *identity.User, remote string) (*ticket, error) {
	now := s.now().UTC().Truncate(time.Microsecond) // as it is kept: refund compares
	var blocked *BlockedError
	t := &ticket{place: p}
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		blocked = nil
		counters, err := tx.LockFailures(ctx, now, p.keys()...)
		if err != nil {
			return err
		}
		blocking, until := judge(now, counters)
		if blocking == nil {
			spend(now, counters)
			t.spent = counters
			return tx.PutFailures(ctx, counters...)
		}
		blocked = &BlockedError{Until: until}
		noted := blocking.Noted
		blocking.Noted = until
		if err := tx.PutFailures(ctx, counters...); err != nil || noted.Equal(until) {
			return err
		}
		event := lifecycle.SignInEvent(identity.EventSignInBlocked, u, lifecycle.MethodPassword, remote, blockReason(blocking, until))
		event.At, event.Actor = now, by
		return tx.Record(ctx, []identity.Event{event})
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("count sign-ins: %w", err)
	case blocked != nil:
		return nil, blocked
	}
	return t, nil
}

func blockReason(c *store.Failures, until time.Time) string {
	where := map[string]string{
		store.FailuresOfPair: "of the account from " + c.Place, store.FailuresOfNetwork: "from " + c.Place,
		store.FailuresOfAccount: "of the account from many networks", store.FailuresOfBrowser: "of the account in a known browser",
	}[c.Kind]
	return fmt.Sprintf("%d failed tries %s: none before %s", c.Count, where, until.UTC().Format(time.RFC3339))
}

// giveBack takes a try back that was none, or that was right.
func (s *Service) giveBack(ctx context.Context, t *ticket, right bool) error {
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		counters, err := tx.LockFailures(ctx, s.now().UTC(), t.place.keys()...)
		if err != nil {
			return err
		}
		refund(counters, t.spent, right)
		return tx.PutFailures(ctx, counters...)
	})
	if err != nil {
		return fmt.Errorf("count sign-ins: %w", err)
	}
	return nil
}

// network returns the part of the internet that counts as one place: /24 of IPv4, /64 of IPv6.
func network(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return "elsewhere"
	}
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return "elsewhere"
	}
	return prefix.String()
}

// nobody returns the account of a name that is nobody's. It is short on purpose: what was typed may be a password, and
// cannot be found again from so little. Names that share it are counted together.
func nobody(name string) string {
	sum := sha256.Sum256([]byte(identity.Normalize(name)))
	return "nobody:" + hex.EncodeToString(sum[:3])
}
