package webhook

import (
	"net/http"
	"time"
)

// breaker keeps an endpoint that does not work from being tried with each of its objects: these have a pause of their own
// each, and may be a hundred thousand.
type breaker struct {
	failures int       // in a row
	until    time.Time // nothing is sent before
}

// Failures in a row after which an endpoint is spared, and the longest pause.
const (
	breakAfter   = 5
	longestBreak = time.Minute
)

// allows returns how many messages may be in the air: all, none, or one that tries whether it works again.
func (b *breaker) allows(now time.Time, all int) int {
	switch {
	case now.Before(b.until):
		return 0
	case b.failures >= breakAfter:
		return 1
	}
	return all
}

// observe takes note of a response, and tells whether it is the one from which on the endpoint is spared.
func (b *breaker) observe(now time.Time, r *Response) bool {
	busy := r.Status == http.StatusTooManyRequests || r.Status == http.StatusServiceUnavailable
	if busy && r.RetryAfter > 0 {
		b.until = now.Add(min(r.RetryAfter, maxRetryAfter))
	}
	// A receiver that refuses one message has answered, and may take the next.
	if r.Err == nil && r.Status < 500 && !busy {
		b.failures, b.until = 0, time.Time{}
		return false
	}
	b.failures++
	if b.failures >= breakAfter {
		if until := now.Add(min(time.Second<<min(b.failures-breakAfter, 10), longestBreak)); until.After(b.until) {
			b.until = until
		}
	}
	return b.failures == breakAfter
}
