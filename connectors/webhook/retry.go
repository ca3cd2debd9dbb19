package webhook

import (
	"net/http"
	"time"
)

// delays are the pauses after the first attempts that failed; the last one is for all later ones.
var delays = []time.Duration{
	5 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
}

const (
	// GiveUpAfter is how old an event may be, since it was given to an endpoint, for another attempt.
	GiveUpAfter = 72 * time.Hour
	// maxRetryAfter bounds what a receiver may ask for.
	maxRetryAfter = 12 * time.Hour
)

// verdict is what to do with an event after an attempt.
type verdict struct {
	delivered bool
	giveUp    bool
	gone      bool          // the endpoint wants no more events
	wait      time.Duration // neither of these: the pause before the next attempt
}

// judge says what an attempt comes to. attempts counts it, age is the event's, spread is in [0, 1) and makes pauses up to a
// fifth longer, so that what failed together does not come back together.
func judge(r *Response, attempts int, age time.Duration, delays []time.Duration, spread float64) verdict {
	switch {
	case r.Err == nil && r.Status >= 200 && r.Status < 300:
		return verdict{delivered: true}
	case r.Status == http.StatusGone:
		return verdict{giveUp: true, gone: true}
	}
	wait := delays[min(attempts, len(delays))-1]
	wait += time.Duration(spread * float64(wait) / 5)
	wait = max(wait, min(r.RetryAfter, maxRetryAfter))
	// The next attempt is made in any case before the event is too old: an event that waited behind others for long has one
	// attempt, not none.
	if age >= GiveUpAfter {
		return verdict{giveUp: true}
	}
	return verdict{wait: min(wait, GiveUpAfter-age)}
}
