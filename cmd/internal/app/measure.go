package app

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// measure registers what is told of the store, of the connectors and of the program itself.
func (a *App) measure() {
	names := make([]string, len(a.sources))
	metered := map[string]connectors.Metered{}
	for i := range a.sources {
		names[i] = a.sources[i].Name
		if m, ok := a.sources[i].Connector.(connectors.Metered); ok {
			metered[names[i]] = m
		}
	}
	p := Program()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "idpsync_build_info", Help: "1; the labels say which program this is.",
		ConstLabels: prometheus.Labels{"version": p.Version, "revision": p.Revision, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	enforce := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "idpsync_connector_enforce", Help: "1 where drift is repaired, 0 where it is reported only.",
	}, []string{"connector"})
	for i := range a.sources {
		if gauge := enforce.WithLabelValues(names[i]); a.sources[i].Enforce {
			gauge.Set(1)
		}
	}
	a.Registry.MustRegister(
		build, enforce, reconcile.NewStanding(a.Store, names, time.Now, a.Logger), connectors.NewMeter(metered), newHoldings(a.Store, a.Logger),
	)
}

// certificateExpiry tells when the server's certificate ends; 0 without TLS.
func certificateExpiry(s *httpserver.Server) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "idpsync_certificate_expiry_timestamp_seconds", Help: "When the certificate that is served ends; 0 without TLS.",
	}, func() float64 {
		if at := s.CertificateExpiry(); !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	})
}

const (
	countTimeout = 10 * time.Second // for counting what is held
	countEvery   = time.Minute      // at most, however often metrics are asked for
	countShare   = 20               // and so rarely that counting takes a twentieth of the time at most,
	countLatest  = 5 * time.Minute  // but no more rarely than so
)

// holdings collects how much is held, and the events that this process recorded.
type holdings struct {
	store  *store.Store
	logger *slog.Logger

	up, users, groups, memberships, teams, changes *prometheus.Desc

	mu      sync.Mutex
	counted store.Holdings
	known   bool
	next    time.Time // when to count again
}

var _ prometheus.Collector = (*holdings)(nil)

func newHoldings(s *store.Store, logger *slog.Logger) *holdings {
	return &holdings{
		store: s, logger: logger,
		up:          prometheus.NewDesc("idpsync_database_up", "1 where the database answers.", nil, nil),
		users:       prometheus.NewDesc("idpsync_users", "People who are held, by source (a connector, scim or local) and state (active, inactive).", []string{"source", "state"}, nil),
		groups:      prometheus.NewDesc("idpsync_groups", "Groups that are held, by source.", []string{"source"}, nil),
		memberships: prometheus.NewDesc("idpsync_memberships", "Memberships of people in groups that are held.", nil, nil),
		teams:       prometheus.NewDesc("idpsync_teams", "Teams, root included.", nil, nil),
		changes:     prometheus.NewDesc("idpsync_changes_total", "Events that this process recorded in the audit log, by type and by the way they came.", []string{"type", "origin"}, nil),
	}
}

// Describe lists the metrics.
func (h *holdings) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{h.up, h.users, h.groups, h.memberships, h.teams, h.changes} {
		out <- desc
	}
}

// Collect reads the store, which counts now and then only.
func (h *holdings) Collect(out chan<- prometheus.Metric) {
	h.collectChanges(out)
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	if err := h.store.Ping(ctx); err != nil {
		gauge(h.up, 0)
		return
	}
	gauge(h.up, 1)
	held, ok := h.count(ctx)
	if !ok {
		return
	}
	for state, bySource := range map[string]map[string]int{"active": held.Active, "inactive": held.Inactive} {
		for source, n := range bySource {
			if source == "" {
				source = "local"
			}
			gauge(h.users, float64(n), source, state)
		}
	}
	for source, n := range held.Groups {
		if source == "" {
			source = "local"
		}
		gauge(h.groups, float64(n), source)
	}
	gauge(h.memberships, float64(held.Memberships))
	gauge(h.teams, float64(held.Teams))
}

// collectChanges tells what this process recorded. Refusals are there before there is one, so that the first shows as an
// increase.
func (h *holdings) collectChanges(out chan<- prometheus.Metric) {
	all := map[store.Recorded]int64{}
	for _, origin := range []string{"push", "pull", "api", "console", "sign_in", "system"} {
		all[store.Recorded{Type: identity.EventRefused, Origin: origin}] = 0
	}
	for event, n := range h.store.Recorded() {
		if event.Origin == "" {
			event.Origin = "system"
		}
		all[event] += n
	}
	for event, n := range all {
		out <- prometheus.MustNewConstMetric(h.changes, prometheus.CounterValue, float64(n), string(event.Type), event.Origin)
	}
}

// count returns what is held, as it was counted a moment ago or is counted now.
func (h *holdings) count(ctx context.Context) (store.Holdings, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	began := time.Now()
	if began.Before(h.next) {
		return h.counted, h.known
	}
	counted, err := h.store.Holdings(ctx)
	took := time.Since(began)
	h.next = time.Now().Add(min(max(countEvery, countShare*took), countLatest))
	if h.known = err == nil; err != nil {
		h.logger.WarnContext(ctx, "count what is held", "error", err)
		return h.counted, false
	}
	h.counted = counted
	return counted, true
}
