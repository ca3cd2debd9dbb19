package scim

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter counts the requests of each key: a minute's worth at once, then evenly. It is one process's own.
type limiter struct {
	perMinute int

	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

func newLimiter(perMinute int) *limiter {
	return &limiter{perMinute: perMinute, keys: map[string]*rate.Limiter{}}
}

// maxIdleKeys is the number of keys from which on those that are not in use are forgotten.
const maxIdleKeys = 1000

// limitState is what the limiter says of one request.
type limitState struct {
	limited    bool // whether there is a limit at all
	allowed    bool
	limit      int
	remaining  int
	retryAfter time.Duration // until the next request is allowed
	full       time.Duration // until a whole minute's worth is
}

func (l *limiter) take(key string, now time.Time) limitState {
	if l.perMinute < 0 {
		return limitState{allowed: true}
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
	s := limitState{limited: true, limit: l.perMinute, allowed: bucket.AllowN(now, 1)}
	tokens := bucket.TokensAt(now)
	s.remaining = max(0, int(math.Floor(tokens)))
	s.retryAfter = l.refill(1 - tokens)
	s.full = l.refill(float64(l.perMinute) - tokens)
	return s
}

func (l *limiter) refill(tokens float64) time.Duration {
	return time.Duration(max(0, tokens) * 60 / float64(l.perMinute) * float64(time.Second))
}

func (l *limiter) forgetIdle(now time.Time) {
	for key, bucket := range l.keys {
		if bucket.TokensAt(now) >= float64(l.perMinute) {
			delete(l.keys, key)
		}
	}
}

func (s limitState) setHeaders(h http.Header) {
	if !s.limited {
		return
	}
	h.Set("RateLimit-Limit", strconv.Itoa(s.limit))
	h.Set("RateLimit-Remaining", strconv.Itoa(s.remaining))
	h.Set("RateLimit-Reset", seconds(s.full))
}

// seconds prints a duration in whole seconds, rounded up and at least one where there is anything to wait for. Okta
// reads nothing finer.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
