package reconcile

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/store/identity"
)

// Metrics are what the engine counts of the runs of its own process; how connectors stand, whoever ran them, is told by
// Standing. Labels are small closed sets: connectors, kinds, outcomes, objects, operations.
type Metrics struct {
	runs       *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	phases     *prometheus.HistogramVec
	inProgress *prometheus.GaugeVec
	planned    *prometheus.CounterVec
	lost       *prometheus.CounterVec
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
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "idpsync_run_phase_duration_seconds", Help: "Duration of the phases of runs: pull, plan, guard, verify, apply, commit.", Buckets: prometheus.ExponentialBuckets(0.05, 3, 11),
		}, []string{"connector", "phase"}),
		inProgress: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "idpsync_runs_in_progress", Help: "Runs that are going in this process.",
		}, []string{"connector"}),
		planned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idpsync_planned_changes_total", Help: "Changes planned by runs, dry ones included, by object and operation.",
		}, []string{"connector", "change"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "idpsync_leases_lost_total", Help: "Runs of this process that another process took the connector from.",
		}, []string{"connector"}),
	}
	if registry != nil {
		registry.MustRegister(m.runs, m.duration, m.phases, m.inProgress, m.planned, m.lost)
	}
	return m
}

// begun counts a run that begins; what it returns counts its end.
func (m *Metrics) begun(connector string) (ended func()) {
	m.lost.WithLabelValues(connector) // so that the first shows as an increase
	m.inProgress.WithLabelValues(connector).Inc()
	return func() { m.inProgress.WithLabelValues(connector).Dec() }
}

func (m *Metrics) observe(run *identity.Run) {
	m.runs.WithLabelValues(run.Connector, run.Kind, string(run.Status)).Inc()
	m.duration.WithLabelValues(run.Connector, run.Kind).Observe(run.Finished.Sub(run.Started).Seconds())
	for change, n := range run.Counts.Changes {
		m.planned.WithLabelValues(run.Connector, change).Add(float64(n))
	}
}
