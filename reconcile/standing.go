package reconcile

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store"
)

// Standing collects how connectors stand: what all replicas know of them together, read from the store whenever it is asked
// for.
type Standing struct {
	store  *store.Store
	names  []string
	now    func() time.Time
	logger *slog.Logger

	watermark, full, failures, nextTry, paused, lease *prometheus.Desc
}

var _ prometheus.Collector = (*Standing)(nil)

// NewStanding returns a collector for the connectors of these names.
func NewStanding(s *store.Store, names []string, now func() time.Time, logger *slog.Logger) *Standing {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"connector"}, nil)
	}
	return &Standing{
		store: s, names: names, now: now, logger: logger,
		watermark: desc("idpsync_watermark_age_seconds", "How far the last complete pull lies behind, by the provider's clock."),
		full:      desc("idpsync_full_run_age_seconds", "Time since everything was compared."),
		failures:  desc("idpsync_connector_failures", "Runs that failed in a row."),
		nextTry:   desc("idpsync_connector_next_try_timestamp_seconds", "Before, no scheduled run begins; 0 where the connector does not fail."),
		paused:    desc("idpsync_connector_paused", "1 where the credential was rejected."),
		lease:     desc("idpsync_lease_held", "1 where a run of the connector is going, in any process."),
	}
}

// Describe lists the metrics.
func (s *Standing) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{s.watermark, s.full, s.failures, s.nextTry, s.paused, s.lease} {
		out <- desc
	}
}

// Collect reads the store.
func (s *Standing) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, name := range s.names {
		state, err := s.store.ConnectorState(ctx, name)
		if err == nil {
			err = s.collect(ctx, out, name, &state)
		}
		if err != nil {
			s.logger.WarnContext(ctx, "read how a connector stands", "connector", name, "error", err)
			return
		}
	}
}

func (s *Standing) collect(ctx context.Context, out chan<- prometheus.Metric, name string, state *store.ConnectorState) error {
	held, err := s.store.LeaseHeld(ctx, "connector/"+name)
	if err != nil {
		return err
	}
	gauge := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, name)
	}
	flag := func(desc *prometheus.Desc, on bool) {
		if on {
			gauge(desc, 1)
		} else {
			gauge(desc, 0)
		}
	}
	if at := Watermark(state); !at.IsZero() {
		gauge(s.watermark, s.now().Sub(at).Seconds())
	}
	if !state.LastFull.IsZero() {
		gauge(s.full, s.now().Sub(state.LastFull).Seconds())
	}
	next := 0.0
	if q := state.Quarantine; q.Failures > 0 {
		next = float64(q.NextTry.Unix())
	}
	gauge(s.failures, float64(state.Quarantine.Failures))
	gauge(s.nextTry, next)
	flag(s.paused, state.Quarantine.Paused)
	flag(s.lease, held)
	return nil
}

// Watermark returns up to when a source is known: by the provider's clock where it gives checkpoints, else the end of the
// last full run; zero where nothing is known.
func Watermark(state *store.ConnectorState) time.Time {
	if at := connectors.CheckpointTime(state.Checkpoint); !at.IsZero() {
		return at
	}
	return state.LastFull
}
