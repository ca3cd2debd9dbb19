package entratest

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// window is what the budget of resource units is for.
const window = 10 * time.Second

// meter keeps requests within the budget.
type meter struct {
	serial atomic.Int64

	mu    sync.Mutex
	reset time.Time
	used  int
	total int64
}

func (m *meter) next() int64 { return m.serial.Add(1) }

// costs lists the base costs that are not 1.
var costs = map[string]int{
	ListUsers: 2, UsersDelta: 2, ListMembers: 3, ListTransitiveMembers: 5, ListMemberOf: 4, ListTransitiveMemberOf: 5,
	CheckMemberGroups: 4,
}

// cost returns the resource units that the request takes.
func (r *request) cost() int {
	cost := max(costs[r.endpoint], 1)
	if r.query.Has("$select") {
		cost--
	}
	if r.query.Has("$expand") {
		cost++
	}
	if top, err := strconv.Atoi(r.query.Get("$top")); err == nil && top < 20 {
		cost--
	}
	return max(cost, 1)
}

// spend takes the request's cost out of the budget, or answers that there is none left.
func (m *meter) spend(t *Tenant, r *request) *answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := t.Now()
	if !now.Before(m.reset) {
		m.reset, m.used = now.Add(window), 0
	}
	m.total += int64(r.cost())
	m.used += r.cost()
	if !t.EnforceLimits || m.used <= t.Budget {
		return nil
	}
	wait := max(1, int((m.reset.Sub(now)+time.Second-1)/time.Second))
	a := t.throttled(wait)
	return &a
}

// throttled returns a 429 with a Retry-After in seconds, without one for 0.
func (t *Tenant) throttled(seconds int) answer {
	a := failure(http.StatusTooManyRequests, "TooManyRequests", "Too many requests.")
	a.header = http.Header{
		"x-ms-throttle-scope":       {"Tenant_Application/ReadWrite/" + t.ClientID + "/" + t.TenantID},
		"x-ms-throttle-information": {"ResourceUnitLimitExceeded"},
	}
	if seconds > 0 {
		a.header.Set("Retry-After", strconv.Itoa(seconds))
	}
	return a
}

// Units returns the resource units that were spent.
func (t *Tenant) Units() int64 {
	t.meter.mu.Lock()
	defer t.meter.mu.Unlock()
	return t.meter.total
}

// Request is one request that the tenant got.
type Request = idptest.Request

// Requests returns the number of requests that the tenant got at the endpoint, or at all for "", those to the token
// service included.
func (t *Tenant) Requests(endpoint string) int { return t.traffic.Requests(endpoint) }

// GraphRequests returns the number of requests to Graph. A batch is one.
func (t *Tenant) GraphRequests() int {
	return t.traffic.Requests("") - t.traffic.Requests(PostToken) - t.traffic.Requests(GetOpenIDConfiguration)
}

// Counts returns the number of requests by endpoint.
func (t *Tenant) Counts() map[string]int { return t.traffic.Counts() }

// Log returns the requests that the tenant got, the first hundred thousand of them.
func (t *Tenant) Log() []Request { return slices.Clip(t.traffic.Log()) }

// ResetRequests forgets log and counters.
func (t *Tenant) ResetRequests() { t.traffic.ResetRequests() }
