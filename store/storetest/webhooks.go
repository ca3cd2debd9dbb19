package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var webhookCases = []namedCase{
	{"an endpoint receives what happens from its registration on", registerWebhooks},
	{"of each object the first event that waits is due", dueDeliveries},
	{"nothing is written without the lease", webhookFence},
	{"a disabled endpoint receives nothing until it is enabled", disableWebhook},
	{"an event is delivered again", redeliver},
	{"deliveries are pruned", pruneDeliveries},
	{"events are found by their id", eventsByID},
}

// hooks is a fixture with the lease of who delivers.
type hooks struct {
	*fixture
	lease store.Lease
}

func newHooks(f *fixture, endpoints ...string) *hooks {
	f.Helper()
	h := &hooks{fixture: f, lease: f.acquire("a", ttl)}
	h.register(endpoints...)
	return h
}

// toAll gives events of people to everybody and others to those whose name begins with "all".
func toAll(names ...string) func(string) []string {
	return func(eventType string) (to []string) {
		for _, name := range names {
			if strings.HasPrefix(eventType, "user.") || strings.HasPrefix(name, "all") {
				to = append(to, name)
			}
		}
		return to
	}
}

func (h *hooks) register(names ...string) (added, removed []string) {
	h.Helper()
	added, removed, err := h.s.RegisterWebhooks(h.ctx, h.lease, names, epoch, toAll("all", "people", "late"))
	h.check(err)
	return added, removed
}

func (h *hooks) happens(objects ...string) {
	h.Helper()
	var events []identity.Event
	for _, object := range objects {
		h.n++
		events = append(events, identity.Event{At: epoch, Type: identity.EventUserUpdated, Object: identity.ObjectUser, ObjectID: object, Name: fmt.Sprint("event ", h.n)})
	}
	h.record(events...)
}

func (h *hooks) dispatch(limit int) int {
	h.Helper()
	n, err := h.s.DispatchWebhooks(h.ctx, h.lease, limit, epoch, toAll("all", "people", "late"))
	h.check(err)
	return n
}

func (h *hooks) due(endpoint string, now time.Time) []store.WebhookDelivery {
	h.Helper()
	due, err := h.s.DueDeliveries(h.ctx, endpoint, now, 100)
	h.check(err)
	return due
}

func (h *hooks) settle(d store.WebhookDelivery, state string, next time.Time) {
	h.Helper()
	d.State, d.Next, d.Attempts = state, next, d.Attempts+1
	if state != store.DeliveryWaiting {
		d.Finished = next
	}
	if state != store.DeliveryDelivered {
		d.Status, d.Error = 500, "status 500"
	}
	h.check(h.s.SettleDeliveries(h.ctx, h.lease, d.Endpoint, []store.WebhookDelivery{d}, next))
}

func (h *hooks) endpoint(name string) store.WebhookEndpoint {
	h.Helper()
	all, err := h.s.WebhookEndpoints(h.ctx)
	h.check(err)
	for _, e := range all {
		if e.Name == name {
			return e
		}
	}
	return store.WebhookEndpoint{}
}

func objectsOf(list []store.WebhookDelivery) (objects []string) {
	for _, d := range list {
		objects = append(objects, d.ObjectID)
	}
	return objects
}

func registerWebhooks(f *fixture) {
	h := newHooks(f)
	h.happens("history")
	added, removed := h.register("all", "people")
	h.equal("added", added, []string{"all", "people"})
	h.equal("removed", removed, []string{})
	if n, err := h.s.OutboxLen(h.ctx); err != nil || n != 0 {
		h.Errorf("OutboxLen = %d, %v, want 0: all of it is history", n, err)
	}
	h.record(identity.Event{At: epoch, Type: identity.EventRunFinished, ObjectID: "okta"})
	for range 3 {
		h.happens(strings.Split("abcdefghi", "")...) // enough for COPY
	}
	added, _ = h.register("all", "people", "late")
	h.equal("added later", added, []string{"late"})
	h.happens("x")
	if waits, err := h.s.OutboxWaits(h.ctx); err != nil || !waits {
		h.Errorf("OutboxWaits = %v, %v, want true", waits, err)
	}
	if n := h.dispatch(10); n != 1 {
		h.Errorf("dispatched %d, want 1", n)
	}
	for name, want := range map[string]int{"all": 29, "people": 28, "late": 1} {
		if e := h.endpoint(name); e.Waiting != want || !e.Created.Equal(epoch) || !e.Oldest.Equal(epoch) {
			h.Errorf("endpoint %+v, want %d waiting", e, want)
		}
	}
	_, removed = h.register("all", "late")
	h.equal("removed", removed, []string{"people"})
	if list, err := h.s.Deliveries(h.ctx, store.DeliveryQuery{Endpoint: "people", Limit: 10}); err != nil || len(list) != 0 {
		h.Errorf("%d deliveries of an endpoint that went, %v", len(list), err)
	}
	h.register("all", "late", "people")
	if e := h.endpoint("people"); e.Waiting != 0 {
		h.Errorf("endpoint that came back: %+v, want nothing waiting", e)
	}
}

func dueDeliveries(f *fixture) {
	h := newHooks(f, "all", "people")
	h.happens("a", "b", "a", "c", "a")
	h.dispatch(100)
	due := h.due("all", epoch)
	h.equal("due", objectsOf(due), []string{"a", "b", "c"})
	h.settle(due[0], store.DeliveryWaiting, at(time.Minute))
	h.equal("due while a waits", objectsOf(h.due("all", epoch)), []string{"b", "c"})
	h.equal("due at the other endpoint", objectsOf(h.due("people", epoch)), []string{"a", "b", "c"})
	again := h.due("all", at(time.Minute))
	h.equal("due in a minute", objectsOf(again), []string{"b", "c", "a"})
	if got := again[2]; got.Seq != due[0].Seq || got.Attempts != 1 || got.Status != 500 || got.Error != "status 500" || !got.Created.Equal(epoch) {
		h.Errorf("a = %+v", got)
	}
	h.settle(again[2], store.DeliveryFailed, at(time.Minute))
	next := h.due("all", epoch)
	h.equal("due after a was given up", objectsOf(next), []string{"b", "a", "c"}) // a's next is the third event
	h.settle(next[1], store.DeliveryDelivered, at(time.Hour))
	e := h.endpoint("all")
	if e.Waiting != 3 || e.Failed != 1 || !e.LastSuccess.Equal(at(time.Hour)) || !e.LastFailure.Equal(at(time.Minute)) || e.LastError != "status 500" {
		h.Errorf("endpoint = %+v", e)
	}
	for state, want := range map[string]int{store.DeliveryFailed: 1, store.DeliveryDelivered: 1, store.DeliveryWaiting: 8} {
		list, err := h.s.Deliveries(h.ctx, store.DeliveryQuery{State: state, Limit: 100})
		if err != nil || len(list) != want {
			h.Errorf("%d %s, %v, want %d", len(list), state, err, want)
		}
	}
	list, err := h.s.Deliveries(h.ctx, store.DeliveryQuery{EventID: due[1].EventID, Limit: 100})
	if err != nil || len(list) != 2 {
		h.Errorf("%d deliveries of an event, %v, want 2", len(list), err)
	}
}

func webhookFence(f *fixture) {
	h := newHooks(f, "all")
	h.happens("a", "b")
	h.dispatch(1)
	due := h.due("all", epoch)
	old := h.lease
	h.check(h.s.ReleaseLease(h.ctx, old))
	h.acquire("b", ttl)
	_, err := h.s.DispatchWebhooks(h.ctx, old, 10, epoch, toAll("all"))
	h.isErr("DispatchWebhooks", err, store.ErrLeaseLost)
	h.isErr("SettleDeliveries", h.s.SettleDeliveries(h.ctx, old, "all", due, epoch), store.ErrLeaseLost)
	_, _, err = h.s.RegisterWebhooks(h.ctx, old, nil, epoch, toAll())
	h.isErr("RegisterWebhooks", err, store.ErrLeaseLost)
	if e := h.endpoint("all"); e.Waiting != 1 {
		h.Errorf("endpoint = %+v, want one waiting", e)
	}
}

func disableWebhook(f *fixture) {
	h := newHooks(f, "all")
	h.happens("a")
	h.dispatch(10)
	disable := func() (was bool) {
		h.tx(func(tx *store.Tx) (err error) {
			was, err = tx.DisableWebhook(h.ctx, "all", "410 Gone", at(time.Hour))
			return err
		})
		return was
	}
	if !disable() || disable() {
		h.Error("DisableWebhook: want true, then false")
	}
	h.happens("b")
	h.dispatch(10)
	if e := h.endpoint("all"); e.Waiting != 0 || e.Failed != 1 || !e.Disabled.Equal(at(time.Hour)) || e.DisabledReason != "410 Gone" {
		h.Errorf("disabled endpoint = %+v", e)
	}
	enable := func(name string) (was bool, err error) {
		err = h.s.InTx(h.ctx, func(tx *store.Tx) (err error) {
			was, err = tx.EnableWebhook(h.ctx, name)
			return err
		})
		return was, err
	}
	if was, err := enable("all"); err != nil || !was {
		h.Errorf("EnableWebhook = %v, %v, want true", was, err)
	}
	if was, err := enable("all"); err != nil || was {
		h.Errorf("EnableWebhook of an enabled one = %v, %v, want false", was, err)
	}
	_, err := enable("nobody")
	h.isErr("EnableWebhook", err, store.ErrNotFound)
	h.happens("c")
	h.dispatch(10)
	h.equal("due", objectsOf(h.due("all", epoch)), []string{"c"})
}

func redeliver(f *fixture) {
	h := newHooks(f, "all", "people")
	h.happens("a")
	h.dispatch(10)
	first := h.due("all", epoch)[0]
	h.settle(first, store.DeliveryDelivered, epoch)
	h.settle(h.due("people", epoch)[0], store.DeliveryFailed, epoch)
	h.happens("a")
	redeliver := func(id, endpoint string) (to []string, err error) {
		err = h.s.InTx(h.ctx, func(tx *store.Tx) (err error) {
			to, err = tx.Redeliver(h.ctx, id, endpoint, at(time.Hour))
			return err
		})
		return to, err
	}
	again := func(id, endpoint string) []string {
		to, err := redeliver(id, endpoint)
		h.check(err)
		return to
	}
	h.equal("to one", again(first.EventID, "people"), []string{"people"})
	h.equal("to all", again(first.EventID, ""), []string{"all", "people"})
	h.dispatch(10)
	due := h.due("all", at(time.Hour))
	if len(due) != 1 || due[0].EventID != first.EventID || due[0].Attempts != 0 || !due[0].Created.Equal(at(time.Hour)) {
		h.Errorf("due = %+v, want the event that is sent again, before the later one", due)
	}
	for _, c := range []struct{ id, endpoint string }{{uuid.NewString(), ""}, {"x", ""}, {first.EventID, "nobody"}} {
		_, err := redeliver(c.id, c.endpoint)
		h.isErr("Redeliver "+c.id+" "+c.endpoint, err, store.ErrNotFound)
	}
	h.happens("b")
	var waiting string
	h.check(h.s.DB().QueryRowContext(h.ctx, "SELECT CAST(event_id AS text) FROM outbox").Scan(&waiting))
	_, err := redeliver(waiting, "all")
	h.isErr("Redeliver of what waits", err, store.ErrBusy)
}

func pruneDeliveries(f *fixture) {
	h := newHooks(f, "all")
	h.happens("a", "b", "c", "d")
	h.dispatch(10)
	due := h.due("all", epoch)
	h.settle(due[0], store.DeliveryDelivered, at(-3*time.Hour))
	h.settle(due[1], store.DeliveryFailed, at(-3*time.Hour))
	h.settle(due[2], store.DeliveryDelivered, at(-time.Hour))
	want := func(objects ...string) {
		h.Helper()
		list, err := h.s.Deliveries(h.ctx, store.DeliveryQuery{Limit: 10})
		h.check(err)
		h.equal("left", objectsOf(list), objects)
	}
	h.check(h.s.PruneDeliveries(h.ctx, at(-2*time.Hour), at(-24*time.Hour)))
	want("d", "c", "b")
	h.check(h.s.PruneDeliveries(h.ctx, at(-2*time.Hour), at(-2*time.Hour)))
	want("d", "c")
	h.check(h.s.PruneDeliveries(h.ctx, at(time.Hour), at(time.Hour)))
	want()
}

func eventsByID(f *fixture) {
	h := newHooks(f, "all")
	h.record(identity.Event{
		At: epoch, Type: identity.EventUserUpdated, Actor: identity.Actor{Kind: "key", ID: "k", Name: "n", RequestID: "q", RunID: "r"},
		Object: identity.ObjectUser, ObjectID: "a", Name: "ü", Fields: []identity.FieldChange{{Path: "title", Before: nil, After: "x"}},
		Members: []string{"m"}, Reason: "why",
	})
	h.happens("b")
	h.dispatch(10)
	id := h.due("all", epoch)[0].EventID
	got, err := h.s.EventsByID(h.ctx, []string{id, uuid.NewString()})
	h.check(err)
	h.equal("events", got, map[string]identity.Event{id: h.audit(store.AuditQuery{ObjectID: "a", Limit: 1})[0]})
}
