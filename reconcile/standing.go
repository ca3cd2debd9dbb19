package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Standing collects how connectors stand: what all replicas know of them together, read from the store whenever it is asked
// for.
type Standing struct {
	store  *store.Store
	names  []string
	now    func() time.Time
	logger *slog.Logger

	watermark, full, failures, nextTry, paused, lease       *prometheus.Desc
	success, finished, status, drift, remaining, held, open *prometheus.Desc
}

var _ prometheus.Collector = (*Standing)(nil)

// NewStanding returns a collector for the connectors of these names.
func NewStanding(s *store.Store, names []string, now func() time.Time, logger *slog.Logger) *Standing {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"connector"}, more...), nil)
	}
	return &Standing{
		store: s, names: names, now: now, logger: logger,
		watermark: desc("idpsync_watermark_age_seconds", "How far the last complete pull lies behind, by the provider's clock."),
		full:      desc("idpsync_full_run_age_seconds", "Time since everything was compared."),
		failures:  desc("idpsync_connector_failures", "Runs that failed in a row."),
		nextTry:   desc("idpsync_connector_next_try_timestamp_seconds", "Before, no scheduled run begins; 0 where the connector does not fail."),
		paused:    desc("idpsync_connector_paused", "1 where the credential was rejected."),
		lease:     desc("idpsync_lease_held", "1 where a run of the connector is going, in any process."),
		success:   desc("idpsync_last_success_timestamp_seconds", "End of the last run that left no drift; 0 before there was one."),
		finished:  desc("idpsync_last_run_timestamp_seconds", "End of the last run."),
		status:    desc("idpsync_last_run_status", "1 for how the last run ended, 0 for how it did not.", "status"),
		drift:     desc("idpsync_drift", "Changes that the last comparison found."),
		remaining: desc("idpsync_drift_remaining", "Changes that the last comparison found and that were not made."),
		held:      desc("idpsync_held_changes", "Removals that the guard holds, and about which nobody has decided."),
		open:      desc("idpsync_conflicts", "Records that wait for an operator to say whom they mean."),
	}
}

// Describe lists the metrics.
func (s *Standing) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		s.watermark, s.full, s.failures, s.nextTry, s.paused, s.lease, s.success, s.finished, s.status, s.drift, s.remaining, s.held, s.open,
	} {
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
	success := 0.0
	if !state.LastSuccess.IsZero() {
		success = float64(state.LastSuccess.UnixMilli()) / 1000
	}
	gauge(s.success, success)
	if err := s.collectRuns(ctx, out, name); err != nil {
		return err
	}
	conflicts, err := s.store.CountConflicts(ctx, name)
	if err != nil {
		return err
	}
	gauge(s.open, float64(conflicts[identity.ConflictOpen]))
	return nil
}

// endings are the ways in which a run ends that is no dry one.
var endings = []identity.RunStatus{identity.RunDone, identity.RunPartial, identity.RunHeld, identity.RunFailed}

// collectRuns tells how the last runs went, whichever process ran them.
func (s *Standing) collectRuns(ctx context.Context, out chan<- prometheus.Metric, name string) error {
	runs, err := s.store.RunStanding(ctx, name)
	if err != nil {
		return err
	}
	gauge := func(desc *prometheus.Desc, value float64, more ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{name}, more...)...)
	}
	if last := &runs.Last; last.ID != "" {
		gauge(s.finished, float64(last.Finished.UnixMilli())/1000)
		for _, status := range endings {
			is := 0.0
			if status == last.Status {
				is = 1
			}
			gauge(s.status, is, string(status))
		}
	}
	if compared := &runs.Compared; compared.ID != "" {
		gauge(s.drift, float64(compared.Counts.Planned()))
		gauge(s.remaining, float64(max(0, compared.Counts.Planned()-compared.Counts.Applied)))
	}
	// A dry run in between does not let go what is held, nor does one that fails.
	last, err := s.store.LastRun(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	held := 0
	if last.Status == identity.RunHeld {
		held = last.Counts.Held
	}
	gauge(s.held, float64(held))
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
