package connectors_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/idpsync/idpsync/connectors"
)

// limits are the headers of a rate limit's bucket.
func limits(limit, remaining int, in time.Duration) []string {
	return []string{
		"X-Rate-Limit-Limit", strconv.Itoa(limit), "X-Rate-Limit-Remaining", strconv.Itoa(remaining),
		"X-Rate-Limit-Reset", strconv.FormatInt(time.Now().Add(in).Unix(), 10), "Date", time.Now().UTC().Format(http.TimeFormat),
	}
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: []func(*http.Request) (*http.Response, error){
			answer(429, "", "Retry-After", "10"), answer(200, "[]", limits(600, 450, 30*time.Second)...),
		}}
		transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
		if _, err := send(t.Context(), transport, users(), address); err != nil {
			t.Fatal(err)
		}
		got := transport.Traffic()
		if got.Throttled < 10*time.Second || got.Throttled > 15*time.Second || got.Paced != 0 {
			t.Errorf("throttled for %s and paced for %s, want 10 s and a little, and none", got.Throttled, got.Paced)
		}
		if diff := cmp.Diff(map[string]float64{"GET /api/v1/users": 0.75}, got.Remaining); diff != "" {
			t.Errorf("remaining (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute) // the window is over
		if left := transport.Traffic().Remaining["GET /api/v1/users"]; left != 1 {
			t.Errorf("%v is left in another window, want 1", left)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		// Of a bucket of which others left a twentieth nothing is taken until it is full again.
		base := &script{answers: []func(*http.Request) (*http.Response, error){
			answer(200, "[]", limits(600, 20, 30*time.Second)...), answer(200, "[]"),
		}}
		transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
		for range 2 {
			if _, err := send(t.Context(), transport, users(), address); err != nil {
				t.Fatal(err)
			}
		}
		if got := transport.Traffic(); got.Paced < 25*time.Second || got.Paced > 40*time.Second || got.Throttled != 0 {
			t.Errorf("paced for %s and throttled for %s, want 30 s or so, and none", got.Paced, got.Throttled)
		}
	})
}

func TestTrafficAdds(t *testing.T) {
	t.Parallel()
	key := connectors.RequestKey{Endpoint: "GET /x", Status: 200}
	a := connectors.Traffic{Requests: map[connectors.RequestKey]int64{key: 1}, Throttled: 1, Paced: 2, Remaining: map[string]float64{"b": 0.5}}
	b := connectors.Traffic{Requests: map[connectors.RequestKey]int64{key: 2}, Throttled: 10, Paced: 20, Remaining: map[string]float64{"b": 0.25, "c": 1}}
	want := connectors.Traffic{Requests: map[connectors.RequestKey]int64{key: 3}, Throttled: 11, Paced: 22, Remaining: map[string]float64{"b": 0.25, "c": 1}}
	if diff := cmp.Diff(want, a.Add(b)); diff != "" {
		t.Errorf("Add (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(a, connectors.Traffic{}.Add(a)); diff != "" {
		t.Errorf("nothing and a (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(a, a.Add(connectors.Traffic{}), cmpopts.EquateEmpty()); diff != "" || a.Requests[key] != 1 {
		t.Errorf("a and nothing (-want +got):\n%s", diff)
	}
}

type metered connectors.Traffic

func (m metered) Traffic() connectors.Traffic { return connectors.Traffic(m) }

func TestMeter(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(connectors.NewMeter(map[string]connectors.Metered{"okta": metered{
		Requests:  map[connectors.RequestKey]int64{{Endpoint: "GET /x/{id}", Status: 404}: 3, {Endpoint: "GET /x/{id}"}: 1},
		Throttled: 1500 * time.Millisecond, Paced: 2 * time.Second, Remaining: map[string]float64{"x": 0.25},
	}}))
	want := `
# HELP idpsync_idp_paced_seconds_total Time that requests waited so as to stay within our share of the identity provider's limits.
# TYPE idpsync_idp_paced_seconds_total counter
idpsync_idp_paced_seconds_total{connector="okta"} 2
# HELP idpsync_idp_rate_limit_remaining_ratio Part of a rate limit of the identity provider that is left in its window.
# TYPE idpsync_idp_rate_limit_remaining_ratio gauge
idpsync_idp_rate_limit_remaining_ratio{bucket="x",connector="okta"} 0.25
# HELP idpsync_idp_requests_total Requests sent to identity providers, tries included, by endpoint and status code (none: no answer).
# TYPE idpsync_idp_requests_total counter
idpsync_idp_requests_total{code="404",connector="okta",endpoint="GET /x/{id}"} 3
idpsync_idp_requests_total{code="none",connector="okta",endpoint="GET /x/{id}"} 1
# HELP idpsync_idp_throttled_seconds_total Time that requests waited because the identity provider refused them with 429.
# TYPE idpsync_idp_throttled_seconds_total counter
idpsync_idp_throttled_seconds_total{connector="okta"} 1.5
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
