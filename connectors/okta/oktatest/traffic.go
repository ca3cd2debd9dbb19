package oktatest

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// Buckets are the recorded rate limits, requests a minute by bucket.
var Buckets = map[string]int{
	"users": 600, "user": 2000, "groups": 500, "group": 1000, "apps": 100, "logs": 120, "token": 2000,
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
	case endpoint == FetchToken:
		return "token"
	}
	return "apps"
}

// plenty is the limit that headers show while none is enforced.
const plenty = 10_000_000

// Request is one request that the tenant got.
type Request = idptest.Request

// limiter keeps requests within limits.
type limiter struct {
	serial atomic.Int64

	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	reset time.Time
	used  int
}

type limitState struct {
	limit, remaining int
	reset            int64
	exceeded         bool
}

// spend takes the request out of its bucket.
func (x *limiter) spend(t *Tenant, r *request) limitState {
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
func (t *Tenant) Requests(endpoint string) int { return t.traffic.Requests(endpoint) }

// Counts returns the number of requests by endpoint.
func (t *Tenant) Counts() map[string]int { return t.traffic.Counts() }

// Log returns the requests that the tenant got, the first hundred thousand of them.
func (t *Tenant) Log() []Request { return t.traffic.Log() }

// ResetRequests forgets log and counters.
func (t *Tenant) ResetRequests() { t.traffic.ResetRequests() }
