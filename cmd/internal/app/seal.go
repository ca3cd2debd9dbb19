package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/store"
)

const (
	sealEvery   = time.Second // how long an event waits for its seal, about
	headEvery   = time.Hour   // how often the log tells the head of the chain
	sealBackoff = time.Minute // after an error
)

// auditLog is what is sealed.
type auditLog interface {
	Seal(ctx context.Context, after string, limit int) (store.Sealed, string, error)
	AuditStanding(ctx context.Context) (store.AuditStanding, error)
}

var _ auditLog = (*store.Store)(nil)

// sealer gives the events of the audit log their places in its chain while a server runs. Of several replicas one does so
// at a time; the others find nothing left to do.
type sealer struct {
	log    auditLog
	logger *slog.Logger
	told   int64 // events that were sealed when the head was last told
	warned bool  // of events that are gone
}

// seal keeps the audit log sealed, and measured, until ctx ends.
func (a *App) seal(ctx context.Context) error {
	if err := a.Registry.Register(newAuditStanding(a.Store, a.Logger)); err != nil {
		return err
	}
	return (&sealer{log: a.Store, logger: a.Logger}).Run(ctx)
}

// Run seals until ctx ends, and then what is left. It tells the head at the start, every hour, and at the end: whoever
// keeps logs elsewhere keeps anchors of the chain.
func (s *sealer) Run(ctx context.Context) error {
	s.tell(ctx)
	ticker, hourly := time.NewTicker(sealEvery), time.NewTicker(headEvery)
	defer ticker.Stop()
	defer hourly.Stop()
	for {
		pause := time.Duration(0)
		if err := s.seal(ctx); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "seal the audit log", "error", err)
			pause = sealBackoff
		}
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := s.seal(ctx); err != nil {
				s.logger.WarnContext(ctx, "seal the audit log", "error", err)
			}
			s.tell(ctx)
			return nil
		case <-hourly.C:
			s.tell(ctx)
		case <-ticker.C:
		}
		if pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// seal seals what waits.
func (s *sealer) seal(ctx context.Context) error {
	for after := ""; ; {
		sealed, next, err := s.log.Seal(ctx, after, store.SealBatch)
		if errors.Is(err, store.ErrBusy) {
			return nil // another replica is at it
		}
		if err != nil {
			return err
		}
		if sealed.Missing > 0 && !s.warned {
			s.warned = true
			s.logger.ErrorContext(ctx, "events are gone from the audit log that were not sealed yet: see idpsync audit verify", "events", sealed.Missing)
		}
		if after = next; after == "" {
			return nil
		}
	}
}

// tell writes the head of the chain to the log, unless it did before.
func (s *sealer) tell(ctx context.Context) {
	standing, err := s.log.AuditStanding(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.logger.WarnContext(ctx, "read the audit log's head", "error", err)
		}
		return
	}
	if standing.Head.Count == s.told {
		return
	}
	s.told = standing.Head.Count
	s.logger.InfoContext(ctx, "audit log sealed", "head", standing.Head.String(), "unsealed", standing.Unsealed)
}

// auditStanding collects how far the audit log is sealed, from the store, whenever it is asked for.
type auditStanding struct {
	log                    auditLog
	logger                 *slog.Logger
	sealed, unsealed, wait *prometheus.Desc
}

var _ prometheus.Collector = (*auditStanding)(nil)

func newAuditStanding(log auditLog, logger *slog.Logger) *auditStanding {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &auditStanding{
		log: log, logger: logger,
		sealed:   desc("idpsync_audit_sealed", "Events of the audit log that are sealed by its chain."),
		unsealed: desc("idpsync_audit_unsealed", "Events of the audit log that wait to be sealed; 100000 stands for more."),
		wait:     desc("idpsync_audit_unsealed_age_seconds", "How long ago the event happened that waits longest to be sealed; 0 where none does."),
	}
}

// Describe lists the metrics.
func (a *auditStanding) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{a.sealed, a.unsealed, a.wait} {
		out <- desc
	}
}

// Collect reads the store.
func (a *auditStanding) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	standing, err := a.log.AuditStanding(ctx)
	if err != nil {
		a.logger.WarnContext(ctx, "read how far the audit log is sealed", "error", err)
		return
	}
	wait := 0.0
	if !standing.Oldest.IsZero() {
		wait = max(0, time.Since(standing.Oldest).Seconds())
	}
	for desc, value := range map[*prometheus.Desc]float64{a.sealed: float64(standing.Head.Count), a.unsealed: float64(standing.Unsealed), a.wait: wait} {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
}
