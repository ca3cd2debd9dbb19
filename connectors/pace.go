package connectors

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// window is how long a bucket lasts: Okta's limits are ones of a minute.
	window = time.Minute
	// longestPause bounds one pause of the pacer: a reset further away is a mistake.
	longestPause = 90 * time.Second
	// enough is how many requests a share has, at least, if the last of them may wait.
	enough = 10
	// earliest is how far into a window its rest can be told from what others did so far.
	earliest = 3 * time.Second
)

// pacer keeps requests within a share of the buckets that the provider reports. It lets them through as they come until
// the share of the current window is used, then holds them until the window ends: a small directory is never slowed
// down. Others may draw on the same bucket: the share is one of what they leave, by what shows in this window and, as that
// is known early on at best, by how the last one went; and the last twentieth is theirs.
type pacer struct {
	share float64
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket // by name

	throttled, paced time.Duration // that requests were held back for, after a 429 and for the share
}

type bucket struct {
	limit     int // requests in a window; 0 while unknown
	remaining int
	reset     time.Time // end of the window by our clock; zero while unknown
	used      int       // requests of ours in the window
	flying    int       // of those, not yet answered
	others    int       // requests of others in the window, as far as it shows
	pace      int       // what they come to in a window if they go on so
	expected  int       // pace of the window before
	held      time.Time // nothing is sent before, after a 429
}

func newPacer(share float64, now func() time.Time) *pacer {
	return &pacer{share: share, now: now, buckets: map[string]*bucket{}}
}

func (p *pacer) bucket(name string) *bucket {
	b := p.buckets[name]
	if b == nil {
		b = &bucket{}
		p.buckets[name] = b
	}
	return b
}

// wait returns when a request of the bucket may be sent; done must follow.
func (p *pacer) wait(ctx context.Context, name string) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		pause, refused := p.take(name)
		if pause <= 0 {
			return nil
		}
		pause = min(pause, longestPause)
		pause += jitter(pause)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		p.waited(pause, refused)
	}
}

// waited notes how long a request was held back, and whether the provider had refused one.
func (p *pacer) waited(pause time.Duration, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refused {
		p.throttled += pause
	} else {
		p.paced += pause
	}
}

// take counts a request and returns 0, or returns how long to wait before asking again, and whether that is because the
// provider refused one.
func (p *pacer) take(name string) (pause time.Duration, refused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, now := p.bucket(name), p.now()
	if !b.reset.IsZero() && !now.Before(b.reset) {
		b.turn(time.Time{}, b.flying, b.limit)
	}
	until, refused := b.held, true
	if wake := b.wake(p.share, now); wake.After(until) {
		until, refused = wake, false
	}
	if pause := until.Sub(now); pause > 0 {
		return pause, refused
	}
	b.used++
	b.flying++
	return 0, false
}

// wake returns when the next request may be sent, as far as the share goes; the past where it may be at once. The last
// request of a share is kept for the window's end: its answer tells what others did all the while, and so what they
// will leave of the next one.
func (b *bucket) wake(share float64, now time.Time) time.Time {
	if b.limit == 0 || b.reset.IsZero() {
		return now
	}
	budget := max(1, int(share*float64(b.limit-max(b.others, b.expected))))
	switch {
	case b.used >= budget || b.remaining-b.flying <= b.limit/20:
		return b.reset
	case b.used == budget-1 && budget >= enough:
		return b.reset.Add(-window / 10)
	}
	return now
}

// turn begins another window.
func (b *bucket) turn(reset time.Time, used, remaining int) {
	b.reset, b.used, b.remaining = reset, used, remaining
	b.expected, b.pace, b.others = b.pace, 0, 0
}

// done takes in what an answer's headers say; nil when there was no answer.
func (p *pacer) done(name string, h http.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, now := p.bucket(name), p.now()
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
		b.turn(reset, b.flying+1, remaining)
	case b.reset.Sub(reset) <= sameWindow:
		b.remaining = min(b.remaining, remaining)
	default: // the answer is of a window that is over
		return
	}
	b.limit = limit
	// Of our requests in flight some may have been counted there already: others made at least the rest.
	b.others = min(max(b.others, limit-b.remaining-b.used), limit)
	b.pace = b.others
	if passed := window - b.reset.Sub(now); passed > earliest && passed < window {
		b.pace = min(int(float64(b.others)*float64(window)/float64(passed)), limit)
	}
}

// hold lets nothing of the bucket through before the given time.
func (p *pacer) hold(name string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.bucket(name); until.After(b.held) {
		b.held = until
	}
}
