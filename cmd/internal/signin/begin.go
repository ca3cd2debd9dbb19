package signin

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many sign-ins at the identity provider one network may begin with one process. Each is remembered for some
// minutes, and anybody may ask: an office that comes in at nine is let through, who asks all day is not.
const (
	beginsPerSecond = 10
	beginsAtOnce    = 200
	networksKept    = 10_000
)

// begins bounds the sign-ins that are begun. The zero value is ready, and safe for concurrent use.
type begins struct {
	mu       sync.Mutex
	networks map[string]*rate.Limiter
}

// allow tells whether a network may begin another one now.
func (b *begins) allow(network string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter, ok := b.networks[network]
	if !ok {
		if b.networks == nil || len(b.networks) >= networksKept {
			b.networks = map[string]*rate.Limiter{} // begin anew: who comes from so many networks is not kept out by this
		}
		limiter = rate.NewLimiter(beginsPerSecond, beginsAtOnce)
		b.networks[network] = limiter
	}
	return limiter.AllowN(now, 1)
}
