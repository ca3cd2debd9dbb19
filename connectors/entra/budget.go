package entra

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Graph's budget of a tenant, in resource units. The answers tell the units that each request took.
const (
	budgetUnits  = 8000
	budgetWindow = 10 * time.Second
	unknownUnits = 5 // taken for a request until its answer tells

	// highUse is the part of the whole budget, everybody's use counted, above which we leave the window to others.
	highUse = 0.8
	// longestHold bounds a pause of all requests. A request that is to wait longer waits, or gives up, by itself.
	longestHold = 30 * time.Second
)

// budget keeps all requests to Graph, tries included, within a share of the tenant's budget. It lets them through as they
// come until the share of the window is used, and then holds them until the window ends. It goes by how long things take, never
// by what time it is.
type budget struct {
	base  http.RoundTripper
	share float64

	mu   sync.Mutex
	end  time.Time // of the window
	used int
	held time.Time // nothing is sent before
}

func newBudget(base http.RoundTripper, share float64) *budget {
	if share <= 0 || share > 1 {
		share = 0.4
	}
	return &budget{base: base, share: share}
}

// RoundTrip sends the request when its turn has come.
func (b *budget) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		pause := b.take()
		if pause <= 0 {
			break
		}
		if err := sleep(req.Context(), pause); err != nil {
			return nil, err
		}
	}
	resp, err := b.base.RoundTrip(req)
	if err == nil {
		b.settle(resp.StatusCode, resp.Header)
	}
	return resp, err
}

// take counts a request and returns 0, or returns how long to wait before asking again.
func (b *budget) take() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !now.Before(b.end) {
		b.end, b.used = now.Add(budgetWindow), 0
	}
	until := b.held
	if float64(b.used+unknownUnits) > b.share*budgetUnits && b.end.After(until) {
		until = b.end
	}
	if pause := until.Sub(now); pause > 0 {
		return pause
	}
	b.used += unknownUnits
	return 0
}

// settle takes in what an answer tells.
func (b *budget) settle(status int, h http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if units, err := strconv.Atoi(h.Get("X-Ms-Resource-Unit")); err == nil && units >= 0 {
		b.used = max(0, b.used+units-unknownUnits)
	}
	now := time.Now()
	if part, err := strconv.ParseFloat(h.Get("X-Ms-Throttle-Limit-Percentage"), 64); err == nil && part >= highUse {
		b.hold(b.end)
	}
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && status == http.StatusTooManyRequests && seconds <= int(longestHold/time.Second) {
		b.hold(now.Add(time.Duration(seconds) * time.Second))
	}
}

func (b *budget) hold(until time.Time) {
	if until.After(b.held) {
		b.held = until
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
