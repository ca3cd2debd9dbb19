package store

import (
	"context"
	"maps"
	"sync"

	"github.com/idpsync/idpsync/store/identity"
)

// Recorded names events that are counted together. Both parts are small closed sets, fit for metric labels.
type Recorded struct {
	Type   identity.EventType
	Origin string // by which way they came, as WithOrigin says; "" for none
}

type originKey struct{}

// WithOrigin returns a context in which events are counted as come by this way: "push", "pull", "api".
func WithOrigin(ctx context.Context, origin string) context.Context {
	return context.WithValue(ctx, originKey{}, origin)
}

// tally counts the events of transactions that were committed.
type tally struct {
	mu  sync.Mutex
	all map[Recorded]int64
}

func (t *tally) add(ctx context.Context, events map[identity.EventType]int) {
	if len(events) == 0 {
		return
	}
	origin, _ := ctx.Value(originKey{}).(string)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[Recorded]int64{}
	}
	for kind, n := range events {
		t.all[Recorded{Type: kind, Origin: origin}] += int64(n)
	}
}

// note remembers events to be counted when the transaction is committed.
func (tx *Tx) note(events []identity.Event) {
	if tx.recorded == nil {
		tx.recorded = map[identity.EventType]int{}
	}
	for i := range events {
		tx.recorded[events[i].Type]++
	}
}

// Recorded returns how many events this process recorded since the store was opened. What was rolled back does not count.
func (s *Store) Recorded() map[Recorded]int64 {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	return maps.Clone(s.tally.all)
}
