package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// down lets every pull fail.
func (h *house) down(err error) {
	h.source.Fail = map[connectors.Phase]error{connectors.PhaseUsers: err, connectors.PhaseGroups: err, connectors.PhaseMembers: err}
	h.source.PerPage = 1000
}

func (h *house) state() store.ConnectorState {
	h.t.Helper()
	state, err := h.store.ConnectorState(context.WithoutCancel(h.t.Context()), "okta")
	if err != nil {
		h.t.Fatal(err)
	}
	return state
}

func TestQuarantine_WaitsLongerEachTime(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.down(errors.New("status 503"))
		for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
			if run, err := h.engine.Run(t.Context(), h.request(false)); err == nil || run.Status != identity.RunFailed {
				t.Fatalf("run %s, error %v", run.Status, err)
			}
			q := h.state().Quarantine
			if wait := time.Until(q.NextTry); q.Failures != i+1 || q.Paused || wait > want || wait < want-30*time.Second || !strings.Contains(q.Failure, "status 503") {
				t.Errorf("after %d failures: %+v, next try in %s, want %s", i+1, q, wait, want)
			}
		}
		h.source.Fail = nil
		h.run(identity.RunDone)
		if q := h.state().Quarantine; q != (store.Quarantine{}) {
			t.Errorf("after a success: %+v", q)
		}
		if n := h.events(identity.EventConnectorRestored); n != 1 {
			t.Errorf("told %d times that the connector is restored, want once", n)
		}
	})
}

func TestQuarantine_ARejectedCredentialPausesAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.small()
	h.down(fmt.Errorf("%w: E0000011", connectors.ErrUnauthorized))
	for range 2 {
		if _, err := h.engine.Run(t.Context(), h.request(false)); !errors.Is(err, connectors.ErrUnauthorized) {
			t.Fatal(err)
		}
	}
	if q := h.state().Quarantine; !q.Paused || time.Until(q.NextTry) < time.Hour || h.events(identity.EventConnectorPaused) != 1 {
		t.Errorf("%+v, told %d times, want once", q, h.events(identity.EventConnectorPaused))
	}
	h.source.Fail = nil
	h.run(identity.RunDone) // by hand: the pause is for scheduled runs
	if q := h.state().Quarantine; q.Paused || h.events(identity.EventConnectorRestored) != 1 {
		t.Errorf("after a success: %+v", q)
	}
}

func TestQuarantine_WhoIsNotFoundIsNoFailure(t *testing.T) {
	t.Parallel()
	h := incremental(t, storetest.SQLite(t), nil)
	if _, _, err := h.one("nobody", ""); err == nil {
		t.Fatal("nobody was found")
	}
	if q := h.state().Quarantine; q.Failures != 0 {
		t.Errorf("%+v", q)
	}
}

// slots runs a scheduler for a while and returns how many runs began.
func (h *house) slots(schedule reconcile.Schedule, during time.Duration) int {
	h.t.Helper()
	before, err := h.store.Runs(h.t.Context(), "okta", 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	schedule.Source = h.request(false).Source
	scheduler, err := reconcile.NewScheduler(h.engine, []reconcile.Schedule{schedule})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), during)
	defer cancel()
	_ = scheduler.Run(ctx)
	after, err := h.store.Runs(h.t.Context(), "okta", 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(after) - len(before)
}

func TestScheduler_LeavesAFailingConnectorAlone(t *testing.T) {
	t.Parallel()
	h := open(t, storetest.SQLite(t))
	h.small()
	h.down(errors.New("status 503"))
	every := reconcile.Schedule{Every: "@every 1s"}
	if n := h.slots(every, 4*time.Second); n != 1 {
		t.Errorf("%d runs of a connector that fails, want one", n)
	}
	h.source.Fail = nil
	if n := h.slots(every, 2500*time.Millisecond); n < 2 {
		t.Errorf("%d runs after a restart with what was missing, want one at once, and more", n)
	}
}

func TestScheduler_MindsWindows(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	cron := func(at time.Time) string { return fmt.Sprintf("%d %d * * *", at.Minute(), at.Hour()) }
	open, shut := cron(now.Add(-30*time.Minute)), cron(now.Add(2*time.Hour))
	hour := func(deny bool, begins string) reconcile.Window {
		return reconcile.Window{Deny: deny, Begins: begins, Duration: time.Hour}
	}
	for name, test := range map[string]struct {
		windows []reconcile.Window
		runs    bool
	}{
		"none":                      {nil, true},
		"one that is open":          {[]reconcile.Window{hour(false, open)}, true},
		"one that is shut":          {[]reconcile.Window{hour(false, shut)}, false},
		"one of two":                {[]reconcile.Window{hour(false, shut), hour(false, open)}, true},
		"one that denies":           {[]reconcile.Window{hour(true, open)}, false},
		"one that denies later":     {[]reconcile.Window{hour(true, shut)}, true},
		"both: denying counts more": {[]reconcile.Window{hour(false, open), hour(true, open)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := openHouse(t)
			if n := h.slots(reconcile.Schedule{Every: "@every 1h", Windows: test.windows}, time.Second); n > 0 != test.runs {
				t.Errorf("%d runs, want some: %v", n, test.runs)
			}
			h.run(identity.RunDone) // by hand, whatever the windows
		})
	}
}

func openHouse(t *testing.T) *house {
	h := open(t, storetest.SQLite(t))
	h.small()
	return h
}

func TestScheduler_TakesOverFromAProcessThatDied(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := incremental(t, s, nil)
		died := identity.Run{
			ID: "01900000-0000-7000-8000-000000000000", Connector: "okta", Kind: identity.KindFull, Trigger: "schedule",
			Status: identity.RunRunning, Started: time.Now(), Counts: identity.Counts{Changes: map[string]int{}},
		}
		if err := s.PutRun(t.Context(), &died); err != nil {
			t.Fatal(err)
		}
		if n := h.slots(reconcile.Schedule{Every: "@yearly"}, 14*time.Second); n < 1 {
			t.Error("nobody ran the connector")
		}
		if run, err := s.Run(t.Context(), died.ID); err != nil || run.Status != identity.RunFailed {
			t.Errorf("the run that died is %s, %v", run.Status, err)
		}
	})
}

func TestStanding(t *testing.T) {
	t.Parallel()
	h := incremental(t, storetest.SQLite(t), nil)
	if err := h.store.PutQuarantine(t.Context(), "entra", store.Quarantine{Failures: 2, NextTry: time.Unix(1_900_000_000, 0), Failure: "x", Paused: true}); err != nil {
		t.Fatal(err)
	}
	at := reconcile.Watermark(&store.ConnectorState{Checkpoint: h.state().Checkpoint})
	full := h.state().LastFull
	ended := float64(h.state().LastSuccess.UnixMilli()) / 1000
	now := func() time.Time { return at.Add(90 * time.Second) }
	standing := reconcile.NewStanding(h.store, []string{"okta", "entra"}, now, slog.New(slog.DiscardHandler))
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(standing)
	want := fmt.Sprintf(`
# HELP idpsync_conflicts Records that wait for an operator to say whom they mean.
# TYPE idpsync_conflicts gauge
idpsync_conflicts{connector="entra"} 0
idpsync_conflicts{connector="okta"} 0
# HELP idpsync_connector_failures Runs that failed in a row.
# TYPE idpsync_connector_failures gauge
idpsync_connector_failures{connector="entra"} 2
idpsync_connector_failures{connector="okta"} 0
# HELP idpsync_connector_next_try_timestamp_seconds Before, no scheduled run begins; 0 where the connector does not fail.
# TYPE idpsync_connector_next_try_timestamp_seconds gauge
idpsync_connector_next_try_timestamp_seconds{connector="entra"} 1.9e+09
idpsync_connector_next_try_timestamp_seconds{connector="okta"} 0
# HELP idpsync_connector_paused 1 where the credential was rejected.
# TYPE idpsync_connector_paused gauge
idpsync_connector_paused{connector="entra"} 1
idpsync_connector_paused{connector="okta"} 0
# HELP idpsync_drift Changes that the last comparison found.
# TYPE idpsync_drift gauge
idpsync_drift{connector="okta"} 8
# HELP idpsync_drift_remaining Changes that the last comparison found and that were not made.
# TYPE idpsync_drift_remaining gauge
idpsync_drift_remaining{connector="okta"} 0
# HELP idpsync_full_run_age_seconds Time since everything was compared.
# TYPE idpsync_full_run_age_seconds gauge
idpsync_full_run_age_seconds{connector="okta"} %v
# HELP idpsync_held_changes Removals that the guard holds, and about which nobody has decided.
# TYPE idpsync_held_changes gauge
idpsync_held_changes{connector="entra"} 0
idpsync_held_changes{connector="okta"} 0
# HELP idpsync_last_run_status 1 for how the last run ended, 0 for how it did not.
# TYPE idpsync_last_run_status gauge
idpsync_last_run_status{connector="okta",status="done"} 1
idpsync_last_run_status{connector="okta",status="failed"} 0
idpsync_last_run_status{connector="okta",status="held"} 0
idpsync_last_run_status{connector="okta",status="partial"} 0
# HELP idpsync_last_run_timestamp_seconds End of the last run.
# TYPE idpsync_last_run_timestamp_seconds gauge
idpsync_last_run_timestamp_seconds{connector="okta"} %v
# HELP idpsync_last_success_timestamp_seconds End of the last run that left no drift; 0 before there was one.
# TYPE idpsync_last_success_timestamp_seconds gauge
idpsync_last_success_timestamp_seconds{connector="entra"} 0
idpsync_last_success_timestamp_seconds{connector="okta"} %v
# HELP idpsync_lease_held 1 where a run of the connector is going, in any process.
# TYPE idpsync_lease_held gauge
idpsync_lease_held{connector="entra"} 0
idpsync_lease_held{connector="okta"} 0
# HELP idpsync_watermark_age_seconds How far the last complete pull lies behind, by the provider's clock.
# TYPE idpsync_watermark_age_seconds gauge
idpsync_watermark_age_seconds{connector="okta"} 90
`, now().Sub(full).Seconds(), ended, ended)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
