package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/webhook"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// received is what a receiver reads of a message.
type received struct {
	Type string `json:"type"`
	Data struct {
		EventID  string `json:"event_id"`
		ObjectID string `json:"object_id"`
		Name     string `json:"name"`
	} `json:"data"`
}

// receiver is a server that tells the test of every message and answers what the test says.
func receiver(t *testing.T, answer func(w http.ResponseWriter, m received)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m received
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &m)
		}
		if err != nil || m.Data.EventID != r.Header.Get(webhook.HeaderID) {
			t.Errorf("message %s: %v", body, err)
		}
		answer(w, m)
	}))
	t.Cleanup(server.Close)
	return server
}

func endpoint(name, url string, events ...string) webhook.Endpoint {
	return webhook.Endpoint{Name: name, URL: url, Secrets: []connectors.Secret{secret(0)}, Events: events, AllowPrivate: true}
}

// running is a Deliverer at work.
type running struct {
	*webhook.Deliverer
	stop func() // and wait for it
}

func start(t *testing.T, o webhook.Options) *running {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	if o.Metrics == nil {
		o.Metrics = webhook.NewMetrics(nil)
	}
	if o.Poll == 0 {
		o.Poll = 5 * time.Millisecond
	}
	d, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := d.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	r := &running{d, func() { cancel(); <-ended }}
	t.Cleanup(r.stop)
	return r
}

// register makes the endpoints known before anything happens, as a server that ran before does.
func register(t *testing.T, s *store.Store, names ...string) {
	t.Helper()
	lease, err := s.AcquireLease(t.Context(), "webhooks", "before", time.Minute)
	if err == nil {
		_, _, err = s.RegisterWebhooks(t.Context(), lease, names, time.Now(), func(string) []string { return nil })
	}
	if err == nil {
		err = s.ReleaseLease(t.Context(), lease)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func record(t *testing.T, s *store.Store, events ...identity.Event) {
	t.Helper()
	for i := range events {
		events[i].At = time.Now()
		if events[i].Type == "" {
			events[i].Type = identity.EventUserUpdated
		}
	}
	if err := s.InTx(t.Context(), func(tx *store.Tx) error { return tx.Record(t.Context(), events) }); err != nil {
		t.Error(err)
	}
}

func event(object, name string) identity.Event {
	return identity.Event{Object: identity.ObjectUser, ObjectID: object, Name: name}
}

// next waits for a message.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came in a minute")
		panic("unreachable")
	}
}

// TestDeliverer_Order makes receivers fail at random and processes die in between. Each endpoint takes the events of each
// object in their order, and none is lost.
func TestDeliverer_Order(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": storetest.MigratedSQLiteDSN, "postgres": storetest.PostgresDSN} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testOrder(t, dsn(t))
		})
	}
}

const (
	objects = 8
	each    = 12 // events of each object
	deaths  = 2
)

func testOrder(t *testing.T, dsn string) {
	open := func() *store.Store {
		s, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open()
	names := []string{"one", "two"}
	register(t, s, names...)
	var mu sync.Mutex
	got := map[string][]string{} // of an endpoint and an object: the events that were taken, by name
	taken, total := 0, len(names)*objects*each
	deathAt, all := make(chan struct{}, deaths), make(chan struct{})
	var endpoints []webhook.Endpoint
	for _, name := range names {
		server := receiver(t, func(w http.ResponseWriter, m received) {
			switch n := rand.IntN(10); {
			case n < 2:
				w.WriteHeader(http.StatusBadRequest)
				return
			case n < 3:
				panic(http.ErrAbortHandler)
			}
			mu.Lock()
			defer mu.Unlock()
			lane := name + "/" + m.Data.ObjectID
			if slices.Contains(got[lane], m.Data.Name) {
				return
			}
			got[lane] = append(got[lane], m.Data.Name)
			if taken++; taken == total {
				close(all)
			} else if taken%(total/(deaths+1)) == 0 && len(deathAt) < deaths {
				deathAt <- struct{}{}
			}
		})
		endpoints = append(endpoints, endpoint(name, server.URL))
	}
	begun := time.Now()
	replica := func() (s *store.Store, r *running) {
		s = open()
		return s, start(t, webhook.Options{
			Store: s, Endpoints: endpoints, Concurrency: 4, Lease: 400 * time.Millisecond, Grace: 10 * time.Millisecond,
			Delays: []time.Duration{time.Second}, Now: func() time.Time { return begun.Add(200 * time.Since(begun)) },
		})
	}
	stores, replicas := make([]*store.Store, 3), make([]*running, 3)
	for i := range replicas {
		stores[i], replicas[i] = replica()
	}
	var writers sync.WaitGroup
	for object := range objects {
		writers.Go(func() { // one at a time for each object, as the lock of its row has it
			for i := 0; i < each; i += 2 {
				id := fmt.Sprint("object ", object)
				record(t, s, event(id, fmt.Sprint(i)), event(id, fmt.Sprint(i+1)))
			}
		})
	}
	for dead := 0; ; {
		select {
		case <-deathAt: // the database is gone from one moment to the next: the lease is not given back
			_ = stores[dead].Close()
			replicas[dead].stop()
			stores[dead], replicas[dead] = replica()
			dead = (dead + 1) % len(replicas)
			continue
		case <-all:
		case <-time.After(time.Minute):
			t.Error("not everything came in a minute")
		}
		break
	}
	writers.Wait()
	for _, r := range replicas {
		r.stop()
	}
	mu.Lock()
	defer mu.Unlock()
	for _, name := range names {
		for object := range objects {
			var want []string
			for i := range each {
				want = append(want, fmt.Sprint(i))
			}
			if diff := cmp.Diff(want, got[fmt.Sprint(name, "/object ", object)]); diff != "" {
				t.Errorf("object %d at endpoint %s (-want +got):\n%s", object, name, diff)
			}
		}
	}
}

func TestDeliverer_OthersGoOn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		register(t, s, "hook")
		var now atomic.Int64
		now.Store(time.Now().UnixNano())
		came := make(chan string, 10)
		var refused atomic.Bool
		server := receiver(t, func(w http.ResponseWriter, m received) {
			if m.Data.Name == "a1" && refused.CompareAndSwap(false, true) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusBadRequest)
			}
			came <- m.Data.Name
		})
		record(t, s, event("a", "a1"), event("a", "a2"), event("b", "b1"), event("b", "b2"))
		registry := prometheus.NewRegistry()
		d := start(t, webhook.Options{
			Store: s, Endpoints: []webhook.Endpoint{endpoint("hook", server.URL)}, Concurrency: 1, Metrics: webhook.NewMetrics(registry),
			Now: func() time.Time { return time.Unix(0, now.Load()) },
		})
		var order []string
		for range 3 {
			order = append(order, next(t, came))
		}
		now.Add(int64(59 * time.Second))
		record(t, s, event("c", "c1"))
		order = append(order, next(t, came)) // a1 would be before it, if it were due
		now.Add(int64(time.Second))
		for range 2 {
			order = append(order, next(t, came))
		}
		if diff := cmp.Diff([]string{"a1", "b1", "b2", "c1", "a1", "a2"}, order); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		d.stop() // writes down what was sent
		registry.MustRegister(d.NewStanding())
		counts := map[string]float64{}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				key := family.GetName()
				for _, label := range m.GetLabel() {
					key += " " + label.GetValue()
				}
				if m.GetHistogram() == nil {
					counts[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
		want := map[string]float64{
			"idpsync_webhook_attempts_total hook delivered": 5, "idpsync_webhook_attempts_total hook retried": 1, "idpsync_webhook_attempts_total hook given_up": 0,
			"idpsync_webhook_waiting hook": 0, "idpsync_webhook_oldest_age_seconds hook": 0, "idpsync_webhook_disabled hook": 0,
		}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		list, err := s.Deliveries(t.Context(), store.DeliveryQuery{Endpoint: "hook", State: store.DeliveryDelivered, Limit: 10})
		if err != nil || len(list) != 5 || list[4].Attempts != 2 || list[4].Status != 200 || list[4].Error != "" {
			t.Errorf("deliveries %+v, %v", list, err)
		}
	})
}

// TestDeliverer_Subscriptions gives each endpoint what it asks for, and a new one nothing of what was before.
func TestDeliverer_Subscriptions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		came := make(chan string, 10)
		server := func(name string) string {
			return receiver(t, func(_ http.ResponseWriter, m received) { came <- name + " " + m.Type + " " + m.Data.Name }).URL
		}
		people, groups := endpoint("people", server("people"), "user.*", "grant.revoked"), endpoint("groups", server("groups"), "group.*")
		register(t, s, "people")
		record(t, s, event("u", "1"), identity.Event{Type: identity.EventGroupCreated, ObjectID: "g", Name: "2"})
		d := start(t, webhook.Options{Store: s, Endpoints: []webhook.Endpoint{people, groups}})
		order := []string{next(t, came)} // from here on, both are registered
		record(t, s, identity.Event{Type: identity.EventGroupUpdated, ObjectID: "g", Name: "3"})
		order = append(order, next(t, came))
		record(t, s, identity.Event{Type: identity.EventGrantAdded, ObjectID: "u", Name: "4"}, identity.Event{Type: identity.EventGrantRevoked, ObjectID: "u", Name: "5"})
		order = append(order, next(t, came))
		if diff := cmp.Diff([]string{"people user.updated 1", "groups group.updated 3", "people grant.revoked 5"}, order); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		d.stop()
		none := start(t, webhook.Options{Store: s}) // nobody is configured any more
		none.stop()
		d2, err := webhook.New(webhook.Options{Store: s, Logger: slog.New(slog.DiscardHandler), Metrics: webhook.NewMetrics(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if err := d2.Run(t.Context()); err != nil {
			t.Errorf("Run without endpoints: %v", err)
		}
		if known, err := s.WebhookEndpoints(t.Context()); err != nil || len(known) != 0 {
			t.Errorf("endpoints %+v, %v, want none", known, err)
		}
	})
}

func TestDeliverer_Gone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		register(t, s, "gone", "watch")
		watched := make(chan received, 10)
		gone := receiver(t, func(w http.ResponseWriter, _ received) { w.WriteHeader(http.StatusGone) })
		watch := receiver(t, func(_ http.ResponseWriter, m received) { watched <- m })
		record(t, s, event("a", "1"), event("a", "2"))
		d := start(t, webhook.Options{Store: s, Endpoints: []webhook.Endpoint{endpoint("gone", gone.URL, "user.*"), endpoint("watch", watch.URL, "webhook.*")}})
		if m := next(t, watched); m.Type != "webhook.disabled" || m.Data.ObjectID != "gone" || m.Data.Name != "gone" {
			t.Errorf("message %+v, want webhook.disabled", m)
		}
		endpoints, err := s.WebhookEndpoints(t.Context())
		if err != nil || len(endpoints) != 2 || endpoints[0].Disabled.IsZero() || endpoints[0].Failed != 2 || endpoints[0].Waiting != 0 {
			t.Errorf("endpoints %+v, %v", endpoints, err)
		}
		for _, want := range []bool{true, false} {
			if was, err := webhook.Enable(t.Context(), s, identity.Actor{Kind: "cli", ID: "operator"}, "gone", time.Now()); err != nil || was != want {
				t.Errorf("Enable = %v, %v, want %v", was, err, want)
			}
		}
		if m := next(t, watched); m.Type != "webhook.enabled" {
			t.Errorf("message %+v, want webhook.enabled", m)
		}
		record(t, s, event("a", "3"))
		if m := next(t, watched); m.Type != "webhook.disabled" {
			t.Errorf("message %+v, want webhook.disabled again", m)
		}
		d.stop()
	})
}

// TestRedeliver: what is delivered again is told of, and telling of it ends there.
func TestRedeliver(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		register(t, s, "all")
		came := make(chan received, 10)
		all := receiver(t, func(_ http.ResponseWriter, m received) { came <- m })
		record(t, s, event("a", "1"))
		if _, err := s.DB().ExecContext(t.Context(), "DELETE FROM outbox"); err != nil {
			t.Fatal(err)
		}
		events, err := s.Audit(t.Context(), store.AuditQuery{Limit: 10})
		if err != nil || len(events) != 1 {
			t.Fatalf("%d events, %v, want 1", len(events), err)
		}
		first, by := events[0], identity.Actor{Kind: "user", ID: "u", Name: "ops@acme.test", RequestID: "q"}
		if to, err := webhook.Redeliver(t.Context(), s, by, first.ID, "all", time.Now()); err != nil || len(to) != 1 || to[0] != "all" {
			t.Fatalf("Redeliver = %v, %v, want all", to, err)
		}
		d := start(t, webhook.Options{Store: s, Endpoints: []webhook.Endpoint{endpoint("all", all.URL, "*")}})
		types := map[string]bool{}
		for range 2 {
			m := next(t, came)
			types[m.Type] = true
			if m.Type == string(first.Type) && m.Data.EventID != first.ID {
				t.Errorf("message %+v, want the event of before", m)
			}
		}
		if !types[string(first.Type)] || !types["webhook.redelivered"] {
			t.Errorf("messages %v, want the event again and webhook.redelivered", types)
		}
		d.stop()
		if waits, err := s.OutboxWaits(t.Context()); err != nil || waits {
			t.Errorf("OutboxWaits = %v, %v: a delivery told of itself", waits, err)
		}
		events, err = s.Audit(t.Context(), store.AuditQuery{Limit: 10})
		if err != nil || len(events) != 2 {
			t.Fatalf("%d events, %v, want the one and that it was delivered again", len(events), err)
		}
		e := events[0]
		if e.Type != identity.EventWebhookAgain || e.Actor != by || e.ObjectID != "all" || !strings.Contains(e.Reason, first.ID) {
			t.Errorf("event %+v", e)
		}
		if _, err := webhook.Redeliver(t.Context(), s, by, first.ID, "nobody", time.Now()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Redeliver to nobody: %v, want ErrNotFound", err)
		}
	})
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	if _, err := webhook.New(webhook.Options{}); err == nil {
		t.Error("New without a store: no error")
	}
	s := storetest.SQLite(t)
	twice := []webhook.Endpoint{endpoint("", "http://h.test/a?t=1"), endpoint("", "http://h.test/a?t=2")}
	_, err := webhook.New(webhook.Options{Store: s, Logger: slog.New(slog.DiscardHandler), Metrics: webhook.NewMetrics(nil), Endpoints: twice})
	if want := "webhooks[1]: another endpoint is called http://h.test/a too; give one a name"; err == nil || err.Error() != want {
		t.Errorf("New: %v, want %q", err, want)
	}
}
