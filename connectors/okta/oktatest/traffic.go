package oktatest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Buckets are the recorded rate limits, requests a minute by bucket.
var Buckets = map[string]int{
	"users": 600, "user": 2000, "groups": 500, "group": 1000, "apps": 100, "logs": 120,
}

func bucketOf(endpoint string) string {
	switch {
	case endpoint == ListUsers:
		return "users"
	case strings.HasPrefix(endpoint, GetUser):
		return "user"
	case endpoint == ListGroups:
		return "groups"
	case strings.HasPrefix(endpoint, GetGroup):
		return "group"
	case endpoint == ListLogs:
		return "logs"
	}
	return "apps"
}

// plenty is the limit that headers show while none is enforced.
const plenty = 10_000_000

// Request is one request that the tenant got.
type Request struct {
	Endpoint string
	URI      string // path and query
	At       time.Time
}

// mostLogged bounds the request log; the counters go on.
const mostLogged = 100_000

// traffic counts requests, keeps them within limits and picks the faults that they meet.
type traffic struct {
	serial atomic.Int64

	mu      sync.Mutex
	log     []Request
	counts  map[string]int
	faults  []*armed
	windows map[string]*window
}

type window struct {
	reset time.Time
	used  int
}

type armed struct {
	Fault
	seen int
}

type limitState struct {
	limit, remaining int
	reset            int64
	exceeded         bool
}

// arrive counts the request and returns the fault that it meets, if any.
func (x *traffic) arrive(r *request, now time.Time) *Fault {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.counts == nil {
		x.counts = map[string]int{}
	}
	x.counts[r.endpoint]++
	if len(x.log) < mostLogged {
		x.log = append(x.log, Request{Endpoint: r.endpoint, URI: r.URL.RequestURI(), At: now})
	}
	for _, f := range x.faults {
		if f.Endpoint != "" && f.Endpoint != r.endpoint || f.Contains != "" && !strings.Contains(r.URL.RequestURI(), f.Contains) {
			continue
		}
		f.seen++
		first, times := max(f.Nth, 1), f.Times
		if times == 0 {
			times = 1
		}
		if f.seen >= first && (times < 0 || f.seen < first+times) {
			return &f.Fault
		}
	}
	return nil
}

// spend takes the request out of its bucket.
func (x *traffic) spend(t *Tenant, r *request) limitState {
	x.mu.Lock()
	defer x.mu.Unlock()
	bucket, now := bucketOf(r.endpoint), t.Now()
	limit := plenty
	if t.EnforceLimits {
		limits := t.Limits
		if limits == nil {
			limits = Buckets
		}
		if n, ok := limits[bucket]; ok {
			limit = n
		} else {
			limit = Buckets[bucket]
		}
	}
	if x.windows == nil {
		x.windows = map[string]*window{}
	}
	w := x.windows[bucket]
	if w == nil || !now.Before(w.reset) {
		w = &window{reset: now.Truncate(time.Second).Add(time.Minute)}
		x.windows[bucket] = w
	}
	w.used++
	return limitState{limit: limit, remaining: max(limit-w.used, 0), reset: w.reset.Unix(), exceeded: w.used > limit}
}

// Requests returns the number of requests that the tenant got at the endpoint, or at all for "".
func (t *Tenant) Requests(endpoint string) int {
	t.traffic.mu.Lock()
	defer t.traffic.mu.Unlock()
	if endpoint != "" {
		return t.traffic.counts[endpoint]
	}
	sum := 0
	for _, n := range t.traffic.counts {
		sum += n
	}
	return sum
}

// Counts returns the number of requests by endpoint.
func (t *Tenant) Counts() map[string]int {
	t.traffic.mu.Lock()
	defer t.traffic.mu.Unlock()
	return maps.Clone(t.traffic.counts)
}

// Log returns the requests that the tenant got, the first hundred thousand of them.
func (t *Tenant) Log() []Request {
	t.traffic.mu.Lock()
	defer t.traffic.mu.Unlock()
	return slices.Clone(t.traffic.log)
}

// ResetRequests forgets log and counters.
func (t *Tenant) ResetRequests() {
	t.traffic.mu.Lock()
	defer t.traffic.mu.Unlock()
	t.traffic.log, t.traffic.counts = nil, nil
}
