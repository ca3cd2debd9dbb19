package connectors

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Meter collects the traffic of connectors, by the names that they have in the configuration.
type Meter struct {
	connectors                            map[string]Metered
	requests, throttled, paced, remaining *prometheus.Desc
}

var _ prometheus.Collector = (*Meter)(nil)

// NewMeter returns a collector of what these connectors sent. It reads their counters and asks nobody.
func NewMeter(connectors map[string]Metered) *Meter {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"connector"}, more...), nil)
	}
	return &Meter{
		connectors: connectors,
		requests:   desc("idpsync_idp_requests_total", "Requests sent to identity providers, tries included, by endpoint and status code (none: no answer).", "endpoint", "code"),
		throttled:  desc("idpsync_idp_throttled_seconds_total", "Time that requests waited because the identity provider refused them with 429."),
		paced:      desc("idpsync_idp_paced_seconds_total", "Time that requests waited so as to stay within our share of the identity provider's limits."),
		remaining:  desc("idpsync_idp_rate_limit_remaining_ratio", "Part of a rate limit of the identity provider that is left in its window.", "bucket"),
	}
}

// Describe lists the metrics.
func (m *Meter) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.requests, m.throttled, m.paced, m.remaining} {
		out <- desc
	}
}

// Collect reads the counters.
func (m *Meter) Collect(out chan<- prometheus.Metric) {
	for name, c := range m.connectors {
		t := c.Traffic()
		for key, n := range t.Requests {
			code := "none"
			if key.Status != 0 {
				code = strconv.Itoa(key.Status)
			}
			out <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), name, key.Endpoint, code)
		}
		out <- prometheus.MustNewConstMetric(m.throttled, prometheus.CounterValue, t.Throttled.Seconds(), name)
		out <- prometheus.MustNewConstMetric(m.paced, prometheus.CounterValue, t.Paced.Seconds(), name)
		for bucket, left := range t.Remaining {
			out <- prometheus.MustNewConstMetric(m.remaining, prometheus.GaugeValue, left, name, bucket)
		}
	}
}
