package connectors

import (
	"maps"
	"time"
)

// Traffic is what was sent to an identity provider since the connector was made, and how it was let through.
type Traffic struct {
	Requests  map[RequestKey]int64
	Throttled time.Duration      // waited for because the provider answered 429
	Paced     time.Duration      // waited for so as to stay within our share of the provider's limits
	Remaining map[string]float64 // by rate-limit bucket: the part of its limit that is left in this window
}

// Metered is a Connector that tells of its traffic.
type Metered interface {
	Traffic() Traffic
}

// Add returns both together; of a bucket that is in both, what is left is the smaller part.
func (t Traffic) Add(other Traffic) Traffic {
	sum := Traffic{
		Requests: maps.Clone(t.Requests), Throttled: t.Throttled + other.Throttled, Paced: t.Paced + other.Paced,
		Remaining: maps.Clone(t.Remaining),
	}
	if sum.Requests == nil {
		sum.Requests = map[RequestKey]int64{}
	}
	if sum.Remaining == nil {
		sum.Remaining = map[string]float64{}
	}
	for key, n := range other.Requests {
		sum.Requests[key] += n
	}
	for bucket, left := range other.Remaining {
		if known, both := sum.Remaining[bucket]; both {
			left = min(left, known)
		}
		sum.Remaining[bucket] = left
	}
	return sum
}

// Traffic tells what was sent so far.
func (t *Transport) Traffic() Traffic {
	remaining, throttled, paced := t.pacer.standing()
	return Traffic{
		Requests: t.counts.snapshot(), Throttled: throttled + time.Duration(t.throttled.Load()), Paced: paced, Remaining: remaining,
	}
}

// standing tells what is left of each bucket whose limit is known, and how long requests were held back: because the
// provider asked for it, and for our own share.
func (p *pacer) standing() (remaining map[string]float64, throttled, paced time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	remaining = map[string]float64{}
	for name, b := range p.buckets {
		switch {
		case b.limit == 0:
		case b.reset.IsZero() || !p.now().Before(b.reset): // another window has begun, of which nothing is used
			remaining[name] = 1
		default:
			remaining[name] = float64(max(b.remaining, 0)) / float64(b.limit)
		}
	}
	return remaining, p.throttled, p.paced
}
