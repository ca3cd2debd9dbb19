package okta

import (
	"net/http"
	"sync"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// overlap is how far before its checkpoint a pull of changes begins. What Okta's own machines disagree about the time, and
// what was under way at the checkpoint, falls in it; what is stated twice is no change.
const overlap = 5 * time.Minute

// start is when a pull began, by Okta's clock: the earliest Date among its answers. It is safe for concurrent use.
type start struct {
	mu      sync.Mutex
	at      time.Time
	unknown bool // an answer came without a Date: whether it was the first one cannot be told
}

type startKey struct{}

func (s *start) note(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.unknown = true
	case s.at.IsZero() || date.Before(s.at):
		s.at = date
	}
}

// time returns the start, and false where it is not known.
func (s *start) time() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, !s.unknown && !s.at.IsZero()
}

// checkpoint returns where the next pull of changes goes on, "" where Okta did not tell the time. It holds nothing but the
// time: the system log is asked by time as well, for without an end it is ordered and bounded by when an event was
// stored, so that one which is stored late is not missed.
func (p *pull) checkpoint() string {
	at, ok := p.start.time()
	if !ok {
		return ""
	}
	return connectors.Checkpoint{Connector: p.name, Scope: p.scopeHash, At: at, State: []byte("{}")}.String()
}
