package connectors

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// longestPause bounds one pause of the pacer: windows are a minute long, a reset further away is a mistake.
const longestPause = 90 * time.Second

// pacer keeps each endpoint within its share of the bucket that the provider reports. It lets requests through as
// they come until the share of the current window is used, then holds them until the window ends: a small directory
// is never slowed down. What others leave of the bucket counts too: the last twentieth is theirs.
type pacer struct {
	share float64
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	limit     int // requests in a window; 0 while unknown
	remaining int
	reset     time.Time // end of the window by our clock; zero while unknown
	used      int       // requests of ours in the window
	flying    int       // of those, not yet answered
	held      time.Time // nothing is sent before, after a 429
}

func newPacer(share float64, now func() time.Time) *pacer {
	return &pacer{share: share, now: now, buckets: map[string]*bucket{}}
}

func (p *pacer) bucket(endpoint string) *bucket {
	b := p.buckets[endpoint]
	if b == nil {
		b = &bucket{}
		p.buckets[endpoint] = b
	}
	return b
}

// wait returns when a request to the endpoint may be sent; done must follow.
func (p *pacer) wait(ctx context.Context, endpoint string) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		pause := p.take(endpoint)
		if pause <= 0 {
			return nil
		}
		pause = min(pause, longestPause)
		if err := sleep(ctx, pause+jitter(pause)); err != nil {
			return err
		}
	}
}

// take counts a request and returns 0, or returns how long to wait before asking again.
func (p *pacer) take(endpoint string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, now := p.bucket(endpoint), p.now()
	if !b.reset.IsZero() && !now.Before(b.reset) {
		b.reset, b.used, b.remaining = time.Time{}, b.flying, b.limit
	}
	until := b.held
	if b.limit > 0 && !b.reset.IsZero() && b.spent(p.share) && b.reset.After(until) {
		until = b.reset
	}
	if pause := until.Sub(now); pause > 0 {
		return pause
	}
	b.used++
	b.flying++
	return 0
}

func (b *bucket) spent(share float64) bool {
	return b.used >= max(1, int(share*float64(b.limit))) || b.remaining-b.flying <= b.limit/20
}

// done takes in what an answer's headers say; nil when there was no answer.
func (p *pacer) done(endpoint string, h http.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, now := p.bucket(endpoint), p.now()
	b.flying--
	limit, err := strconv.Atoi(h.Get("X-Rate-Limit-Limit"))
	if err != nil || limit <= 0 {
		return
	}
	remaining, err := strconv.Atoi(h.Get("X-Rate-Limit-Remaining"))
	if err != nil {
		return
	}
	reset, ok := bucketReset(h, now)
	if !ok {
		return
	}
	// Date and reset are whole seconds, so the same window's end moves by up to one between answers.
	const sameWindow = 1500 * time.Millisecond
	switch {
	case b.reset.IsZero():
		b.reset, b.remaining = reset, remaining
	case reset.Sub(b.reset) > sameWindow:
		b.reset, b.remaining, b.used = reset, remaining, b.flying+1
	case b.reset.Sub(reset) <= sameWindow:
		b.remaining = min(b.remaining, remaining)
	}
	b.limit = limit
}

// hold lets nothing through to the endpoint before the given time.
func (p *pacer) hold(endpoint string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.bucket(endpoint); until.After(b.held) {
		b.held = until
	}
}
