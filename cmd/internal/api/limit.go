package api

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter counts the requests of each caller: a minute's worth at once, then evenly. It is one process's own.
type limiter struct {
	perMinute int

	mu      sync.Mutex
	callers map[string]*rate.Limiter
}

func newLimiter(perMinute int) *limiter {
	return &limiter{perMinute: perMinute, callers: map[string]*rate.Limiter{}}
}

// maxIdle is the number of callers from which on those that do not call are forgotten.
const maxIdle = 1000

// take counts a request, sets the headers that tell what is left, and tells how long to wait where it is one too many.
func (l *limiter) take(caller string, now time.Time, h http.Header) (wait time.Duration, allowed bool) {
	if l.perMinute < 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.callers[caller]
	if !ok {
		if len(l.callers) >= maxIdle {
			l.forget(now)
		}
		bucket = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
		l.callers[caller] = bucket
	}
	allowed = bucket.AllowN(now, 1)
	tokens := bucket.TokensAt(now)
	h.Set("RateLimit-Limit", strconv.Itoa(l.perMinute))
	h.Set("RateLimit-Remaining", strconv.Itoa(max(0, int(math.Floor(tokens)))))
	h.Set("RateLimit-Reset", seconds(l.refill(float64(l.perMinute)-tokens)))
	return l.refill(1 - tokens), allowed
}

func (l *limiter) refill(tokens float64) time.Duration {
	return time.Duration(max(0, tokens) * 60 / float64(l.perMinute) * float64(time.Second))
}

func (l *limiter) forget(now time.Time) {
	for caller, bucket := range l.callers {
		if bucket.TokensAt(now) >= float64(l.perMinute) {
			delete(l.callers, caller)
		}
	}
}

// seconds is a duration in whole seconds, rounded up.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }
