package entra

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// graph answers every request with these headers.
type graph struct {
	status int
	header http.Header
	at     []time.Time
}

func (g *graph) RoundTrip(req *http.Request) (*http.Response, error) {
	g.at = append(g.at, time.Now())
	return &http.Response{StatusCode: g.status, Header: g.header, Body: io.NopCloser(strings.NewReader("{}")), Request: req}, nil
}

// The budget's units are how many requests may go in ten seconds; an inside is tested because only the clock shows it.
func TestBudget(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status    int
		header    http.Header
		share     float64
		requests  int
		least     time.Duration // until the last one was sent
		most      time.Duration
		seconds10 int // most requests within ten seconds
	}{
		"within its share":         {200, http.Header{"X-Ms-Resource-Unit": {"2"}}, 0.4, 1500, 0, 0, 1500},
		"beyond it":                {200, http.Header{"X-Ms-Resource-Unit": {"2"}}, 0.4, 1700, 10 * time.Second, 10 * time.Second, 1600},
		"of unknown cost":          {200, nil, 0.4, 1300, 20 * time.Second, 20 * time.Second, 640},
		"a tenth":                  {200, http.Header{"X-Ms-Resource-Unit": {"3"}}, 0.1, 300, 10 * time.Second, 10 * time.Second, 267},
		"others use it up":         {200, http.Header{"X-Ms-Resource-Unit": {"2"}, "X-Ms-Throttle-Limit-Percentage": {"0.85"}}, 0.4, 3, 20 * time.Second, 20 * time.Second, 1},
		"throttled":                {429, http.Header{"Retry-After": {"7"}}, 0.4, 2, 7 * time.Second, 7 * time.Second, 1},
		"throttled for very long":  {429, http.Header{"Retry-After": {"3600"}}, 0.4, 2, 0, 0, 2},
		"a reason not to be quick": {503, http.Header{"Retry-After": {"7"}}, 0.4, 2, 0, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &graph{status: tc.status, header: tc.header}
				b, start := newBudget(g, tc.share), time.Now()
				for range tc.requests {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://graph.test/", nil)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := b.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					_ = resp.Body.Close()
				}
				if took := time.Since(start); took < tc.least || took > tc.most {
					t.Errorf("took %s, want %s to %s", took, tc.least, tc.most)
				}
				early := 0
				for _, at := range g.at {
					if at.Sub(start) < 10*time.Second {
						early++
					}
				}
				if early > tc.seconds10 && tc.seconds10 > 2 {
					t.Errorf("%d requests in the first ten seconds, want at most %d", early, tc.seconds10)
				}
			})
		})
	}
}
