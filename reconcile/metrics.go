package reconcile

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/store/identity"
)

// Metrics are what the engine counts. Labels are small closed sets: connectors, kinds, outcomes, objects, operations.
type Metrics struct {
	runs        *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	lastSuccess *prometheus.GaugeVec
	inProgress  *prometheus.GaugeVec
	changes     *prometheus.CounterVec
	requests    *prometheus.CounterVec
	held        *prometheus.GaugeVec
	drift       *prometheus.GaugeVec
}

// NewMetrics makes the metrics and registers them; with a nil registerer they count for nobody.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idpsync_runs_total", Help: "Finished runs.",
		}, []string{"connector", "kind", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "idpsync_run_duration_seconds", Help: "Duration of runs.", Buckets: prometheus.ExponentialBuckets(0.25, 2, 14),
		}, []string{"connector", "kind"}),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "idpsync_last_success_timestamp_seconds", Help: "End of the last run that left no drift.",
		}, []string{"connector"}),
		inProgress: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "idpsync_runs_in_progress", Help: "Runs that are going.",
		}, []string{"connector"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idpsync_changes_total", Help: "Changes planned by runs.",
		}, []string{"connector", "change"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idpsync_idp_requests_total", Help: "Requests sent to identity providers by runs.",
		}, []string{"connector"}),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "idpsync_held_changes", Help: "Removals held by the guard in the last run.",
		}, []string{"connector"}),
		drift: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "idpsync_drift", Help: "Changes that the last run planned.",
		}, []string{"connector"}),
	}
	if registry != nil {
		registry.MustRegister(m.runs, m.duration, m.lastSuccess, m.inProgress, m.changes, m.requests, m.held, m.drift)
	}
	return m
}

func (m *Metrics) observe(run *identity.Run) {
	m.runs.WithLabelValues(run.Connector, run.Kind, string(run.Status)).Inc()
	m.duration.WithLabelValues(run.Connector, run.Kind).Observe(run.Finished.Sub(run.Started).Seconds())
	m.requests.WithLabelValues(run.Connector).Add(float64(run.Requests))
	m.held.WithLabelValues(run.Connector).Set(float64(run.Counts.Held))
	m.drift.WithLabelValues(run.Connector).Set(float64(run.Counts.Planned()))
	for change, n := range run.Counts.Changes {
		m.changes.WithLabelValues(run.Connector, change).Add(float64(n))
	}
	if run.Status == identity.RunDone {
		m.lastSuccess.WithLabelValues(run.Connector).Set(float64(run.Finished.Unix()))
	}
}
