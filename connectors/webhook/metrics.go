package webhook

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/store"
)

// Outcomes of an attempt.
const (
	OutcomeDelivered = "delivered"
	OutcomeRetried   = "retried"
	OutcomeGivenUp   = "given_up"
)

// Metrics are what a Deliverer counts, by endpoint and outcome.
type Metrics struct {
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics makes the metrics and registers them; with a nil registerer they count for nobody.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idpsync_webhook_attempts_total", Help: "Attempts to deliver an event.",
		}, []string{"endpoint", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "idpsync_webhook_duration_seconds", Help: "Duration of attempts to deliver an event.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"endpoint"}),
	}
	if registry != nil {
		registry.MustRegister(m.attempts, m.duration)
	}
	return m
}

// expect has the counters of an endpoint there before anything was sent, so that the first failure shows as an increase.
func (m *Metrics) expect(endpoint string) {
	for _, outcome := range []string{OutcomeDelivered, OutcomeRetried, OutcomeGivenUp} {
		m.attempts.WithLabelValues(endpoint, outcome)
	}
}

func (m *Metrics) observe(endpoint, outcome string, took time.Duration) {
	m.attempts.WithLabelValues(endpoint, outcome).Inc()
	m.duration.WithLabelValues(endpoint).Observe(took.Seconds())
}

// Standing collects how endpoints stand, read from the store whenever it is asked for: all replicas say the same.
type Standing struct {
	store  *store.Store
	names  []string
	now    func() time.Time
	logger *slog.Logger

	waiting, oldest, disabled *prometheus.Desc
}

var _ prometheus.Collector = (*Standing)(nil)

// NewStanding returns a collector for the endpoints of a Deliverer.
func (d *Deliverer) NewStanding() *Standing {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"endpoint"}, nil)
	}
	return &Standing{
		store: d.o.Store, names: d.names(), now: d.o.Now, logger: d.o.Logger,
		waiting:  desc("idpsync_webhook_waiting", "Events that are neither delivered nor given up."),
		oldest:   desc("idpsync_webhook_oldest_age_seconds", "Age of the oldest event that waits."),
		disabled: desc("idpsync_webhook_disabled", "1 where the receiver wanted no more events."),
	}
}

// Describe lists the metrics.
func (s *Standing) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{s.waiting, s.oldest, s.disabled} {
		out <- desc
	}
}

// Collect reads the store.
func (s *Standing) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	endpoints, err := s.store.WebhookEndpoints(ctx)
	if err != nil {
		s.logger.WarnContext(ctx, "read how webhook endpoints stand", "error", err)
		return
	}
	for i := range endpoints {
		e := &endpoints[i]
		if !slices.Contains(s.names, e.Name) {
			continue
		}
		gauge := func(desc *prometheus.Desc, value float64) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, e.Name)
		}
		gauge(s.waiting, float64(e.Waiting))
		age, disabled := 0.0, 0.0
		if e.Waiting > 0 {
			age = s.now().Sub(e.Oldest).Seconds()
		}
		if !e.Disabled.IsZero() {
			disabled = 1
		}
		gauge(s.oldest, age)
		gauge(s.disabled, disabled)
	}
}
