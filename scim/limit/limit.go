// Package limit bounds how many requests each caller makes in a minute, and tells it in RateLimit headers.
package limit

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter counts the requests of each caller: a minute's worth at once, then evenly. It is one process's own, and safe
// for concurrent use.
type Limiter struct {
	perMinute int

	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

// New returns a Limiter of so many requests a minute; below 0 there is no limit.
func New(perMinute int) *Limiter {
	return &Limiter{perMinute: perMinute, keys: map[string]*rate.Limiter{}}
}

// maxIdleKeys is the number of keys from which on those that are not in use are forgotten.
const maxIdleKeys = 1000

// State is what a Limiter says of one request.
type State struct {
	limited    bool // whether there is a limit at all
	Allowed    bool
	limit      int
	remaining  int
	RetryAfter time.Duration // until the next request is allowed
	full       time.Duration // until a whole minute's worth is
}

// Take counts a request of the caller with a key.
func (l *Limiter) Take(key string, now time.Time) State {
	if l.perMinute < 0 {
		return State{Allowed: true}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.keys[key]
	if !ok {
		if len(l.keys) >= maxIdleKeys {
			l.forgetIdle(now)
		}
		bucket = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
		l.keys[key] = bucket
	}
	s := State{limited: true, limit: l.perMinute, Allowed: bucket.AllowN(now, 1)}
	tokens := bucket.TokensAt(now)
	s.remaining = max(0, int(math.Floor(tokens)))
	s.RetryAfter = l.refill(1 - tokens)
	s.full = l.refill(float64(l.perMinute) - tokens)
	return s
}

func (l *Limiter) refill(tokens float64) time.Duration {
	return time.Duration(max(0, tokens) * 60 / float64(l.perMinute) * float64(time.Second))
}

func (l *Limiter) forgetIdle(now time.Time) {
	for key, bucket := range l.keys {
		if bucket.TokensAt(now) >= float64(l.perMinute) {
			delete(l.keys, key)
		}
	}
}

// SetHeaders tells the caller what is left.
func (s State) SetHeaders(h http.Header) {
	if !s.limited {
		return
	}
	h.Set("RateLimit-Limit", strconv.Itoa(s.limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(s.remaining))
	h.Set("RateLimit-Reset", Seconds(s.full))
}

// Seconds prints a duration in whole seconds, rounded up and at least one where there is anything to wait for. Okta
// reads nothing finer.
func Seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
