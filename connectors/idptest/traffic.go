package idptest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Request is one request that a tenant got.
type Request struct {
	Endpoint string
	URI      string // path and query
	At       time.Time
}

// FaultKind is a way to misbehave; the providers' packages name theirs.
type FaultKind string

// Fault is one misbehaviour: the Nth request that it fits (from 1, 0 being 1) and Times-1 more (0 being 1, negative
// being all) meet it.
type Fault struct {
	Kind     FaultKind
	Endpoint string // one of the endpoints, "" for any
	Contains string // part of the request's path and query, "" for any
	Nth      int
	Times    int
	Delay    time.Duration // waits before answering, with any kind
}

// mostLogged bounds the request log; the counters go on.
const mostLogged = 100_000

// Traffic counts requests and picks the faults that they meet. The zero value is ready, and safe for concurrent use.
type Traffic struct {
	mu     sync.Mutex
	log    []Request
	counts map[string]int
	faults []*armed
}

type armed struct {
	Fault
	seen int
}

// Arrive counts the request and logs it.
func (x *Traffic) Arrive(r Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.counts == nil {
		x.counts = map[string]int{}
	}
	x.counts[r.Endpoint]++
	if len(x.log) < mostLogged {
		x.log = append(x.log, r)
	}
}

// Meet returns the fault that a request meets, nil for none. A named request meets faults of its endpoint only, not
// those of any.
func (x *Traffic) Meet(r Request, named bool) *Fault {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.faults {
		if f.Endpoint == "" && named || f.Endpoint != "" && f.Endpoint != r.Endpoint || !strings.Contains(r.URI, f.Contains) {
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

// Inject adds a fault. Of several that fit a request, the first one injected wins.
func (x *Traffic) Inject(f Fault) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults = append(x.faults, &armed{Fault: f})
}

// Behave takes all faults away.
func (x *Traffic) Behave() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults = nil
}

// Requests returns the number of requests at the endpoint, or at all for "".
func (x *Traffic) Requests(endpoint string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if endpoint != "" {
		return x.counts[endpoint]
	}
	sum := 0
	for _, n := range x.counts {
		sum += n
	}
	return sum
}

// Counts returns the number of requests by endpoint.
func (x *Traffic) Counts() map[string]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.counts)
}

// Log returns the requests, the first hundred thousand of them.
func (x *Traffic) Log() []Request {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.log)
}

// ResetRequests forgets log and counters.
func (x *Traffic) ResetRequests() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.log, x.counts = nil, nil
}
