package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/idpsync/idpsync/connectors/webhook"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// WebhookEndpoint is how a receiver of events stands.
type WebhookEndpoint struct {
	Name           string     `json:"name"`
	State          string     `json:"state" enum:"enabled,disabled,new" doc:"new: no server has run with it yet."`
	DisabledReason string     `json:"disabled_reason,omitempty"`
	Waiting        int        `json:"waiting" doc:"Events that are neither delivered nor given up."`
	Oldest         *time.Time `json:"oldest"`
	Failed         int        `json:"failed" doc:"Events that were given up."`
	LastSuccess    *time.Time `json:"last_success"`
	LastFailure    *time.Time `json:"last_failure"`
	LastError      string     `json:"last_error,omitempty"`
}

// Delivery is an event on its way to one endpoint, or there.
type Delivery struct {
	EventID  string     `json:"event_id"`
	Endpoint string     `json:"endpoint"`
	Type     string     `json:"type"`
	ObjectID string     `json:"object_id"`
	State    string     `json:"state" enum:"waiting,delivered,failed"`
	Attempts int        `json:"attempts"`
	Status   int        `json:"status" doc:"Of the last answer; 0 for none."`
	Error    string     `json:"error,omitempty"`
	Created  time.Time  `json:"created"`
	Next     *time.Time `json:"next" doc:"Waiting: when it is tried again."`
	Finished *time.Time `json:"finished"`
}

// Redelivery is to whom an event is delivered again.
type Redelivery struct {
	EventID   string   `json:"event_id"`
	Endpoints []string `json:"endpoints" nullable:"false"`
}

// WebhookTest is what came of a test.
type WebhookTest struct {
	Delivered  bool   `json:"delivered"`
	Status     int    `json:"status" doc:"Of the answer; 0 for none."`
	DurationMS int64  `json:"duration_ms"`
	Error      string `json:"error,omitempty"`
}

// WebhookEnabled tells whether an endpoint was disabled before.
type WebhookEnabled struct {
	Name    string `json:"name"`
	Changed bool   `json:"changed" doc:"False: it was enabled already."`
}

// Webhooks is what the configuration has of receivers of events. The zero value has none.
type Webhooks struct {
	// Names returns how the endpoints are called.
	Names func() []string
	// Find returns the name of the endpoint that is called so or has this URL; an error for none.
	Find func(name string) (string, error)
	// Test sends an event of type webhook.test to an endpoint, once.
	Test func(ctx context.Context, by identity.Actor, name string) (webhook.Response, error)
}

const tagWebhooks = "webhooks"

func (a *API) registerWebhooks() {
	add(a, operation{
		id: "list-webhooks", method: http.MethodGet, path: "/webhooks", tag: tagWebhooks, need: needViewer, summary: "List who receives events, and how that goes",
	}, a.listWebhooks)
	add(a, operation{
		id: "list-deliveries", method: http.MethodGet, path: "/webhooks/deliveries", tag: tagWebhooks, need: needViewer,
		summary: "List deliveries, those of the newest events first", description: "What was delivered is told of for 7 days, what was given up for 30.",
	}, a.listDeliveries)
	add(a, operation{
		id: "redeliver-event", method: http.MethodPost, path: "/webhooks/redeliver", tag: tagWebhooks, need: needOperator, summary: "Deliver an event again",
		description: "To all endpoints that had it, or to one, whether it had it or not.",
	}, a.redeliver)
	add(a, operation{
		id: "enable-webhook", method: http.MethodPost, path: "/webhooks/enable", tag: tagWebhooks, need: needAdmin,
		summary: "Let an endpoint receive events again that answered 410 Gone", description: "Those that happen from now on.",
	}, a.enableWebhook)
	add(a, operation{
		id: "test-webhook", method: http.MethodPost, path: "/webhooks/test", tag: tagWebhooks, need: needOperator,
		summary: "Send an event of type webhook.test to an endpoint, once and from this server",
	}, a.testWebhook)
}

func (a *API) listWebhooks(ctx context.Context, _ *struct{}) (*bodyOf[Page[WebhookEndpoint]], error) {
	known, err := a.o.Store.WebhookEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]*store.WebhookEndpoint{}
	for i := range known {
		byName[known[i].Name] = &known[i]
	}
	page := Page[WebhookEndpoint]{Items: []WebhookEndpoint{}}
	if a.o.Webhooks.Names != nil {
		for _, name := range a.o.Webhooks.Names() {
			page.Items = append(page.Items, endpointOf(name, byName[name]))
		}
	}
	return &bodyOf[Page[WebhookEndpoint]]{page}, nil
}

func endpointOf(name string, known *store.WebhookEndpoint) WebhookEndpoint {
	if known == nil {
		return WebhookEndpoint{Name: name, State: "new"}
	}
	out := WebhookEndpoint{
		Name: name, State: "enabled", Waiting: known.Waiting, Oldest: orNil(known.Oldest), Failed: known.Failed,
		LastSuccess: orNil(known.LastSuccess), LastFailure: orNil(known.LastFailure), LastError: known.LastError,
	}
	if !known.Disabled.IsZero() {
		out.State, out.DisabledReason, out.LastError = "disabled", known.DisabledReason, ""
	}
	return out
}

// endpoint returns the name of the endpoint that is meant.
func (a *API) endpoint(name string) (string, error) {
	if a.o.Webhooks.Find == nil {
		return "", notFound("the configuration has no webhooks")
	}
	found, err := a.o.Webhooks.Find(name)
	if err != nil {
		return "", notFound(err.Error())
	}
	return found, nil
}

func (a *API) listDeliveries(ctx context.Context, in *struct {
	Endpoint string `query:"endpoint" maxLength:"2000" doc:"Only to this endpoint, by name or URL."`
	State    string `query:"state" enum:"waiting,delivered,failed" doc:"failed: what was given up."`
	Event    string `query:"event" maxLength:"200" doc:"Only of the event with this id."`
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"10000" doc:"How many at most."`
},
) (*bodyOf[Page[Delivery]], error) {
	q := store.DeliveryQuery{State: in.State, EventID: in.Event, Limit: in.Limit}
	if in.Endpoint != "" {
		var err error
		if q.Endpoint, err = a.endpoint(in.Endpoint); err != nil {
			return nil, err
		}
	}
	list, err := a.o.Store.Deliveries(ctx, q)
	if err != nil {
		return nil, err
	}
	return &bodyOf[Page[Delivery]]{Page[Delivery]{Items: each(list, deliveryOf)}}, nil
}

func deliveryOf(d *store.WebhookDelivery) Delivery {
	out := Delivery{
		EventID: d.EventID, Endpoint: d.Endpoint, Type: d.Type, ObjectID: d.ObjectID, State: d.State, Attempts: d.Attempts,
		Status: d.Status, Error: d.Error, Created: d.Created, Finished: orNil(d.Finished),
	}
	if d.State == store.DeliveryWaiting {
		out.Next = orNil(d.Next)
	}
	return out
}

func (a *API) redeliver(ctx context.Context, in *struct {
	Body struct {
		EventID  string `json:"event_id" minLength:"1" maxLength:"200"`
		Endpoint string `json:"endpoint,omitempty" maxLength:"2000" doc:"To this endpoint alone, by name or URL."`
	}
},
) (*bodyOf[Redelivery], error) {
	id, name := in.Body.EventID, ""
	if in.Body.Endpoint != "" {
		var err error
		if name, err = a.endpoint(in.Body.Endpoint); err != nil {
			return nil, err
		}
	}
	to, err := webhook.Redeliver(ctx, a.o.Store, callerOf(ctx).actor, id, name, a.now())
	switch {
	case errors.Is(err, store.ErrBusy):
		return nil, problem(http.StatusConflict, kindState, "event "+id+" is about to be delivered anyway")
	case errors.Is(err, store.ErrNotFound) && name != "":
		return nil, notFound("no event " + id + ", or " + name + " is disabled or new: see idpsync webhooks list")
	case errors.Is(err, store.ErrNotFound):
		return nil, notFound("no enabled endpoint had an event " + id + ": see idpsync webhooks deliveries, or name one with --endpoint")
	case err != nil:
		return nil, err
	}
	return &bodyOf[Redelivery]{Redelivery{id, to}}, nil
}

func (a *API) enableWebhook(ctx context.Context, in *struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"2000" doc:"The endpoint, by name or URL."`
	}
},
) (*bodyOf[WebhookEnabled], error) {
	name, err := a.endpoint(in.Body.Name)
	if err != nil {
		return nil, err
	}
	was, err := webhook.Enable(ctx, a.o.Store, callerOf(ctx).actor, name, a.now())
	if errors.Is(err, store.ErrNotFound) {
		return nil, problem(http.StatusConflict, kindState, name+" is new: it receives events once a server runs with this configuration")
	}
	if err != nil {
		return nil, err
	}
	return &bodyOf[WebhookEnabled]{WebhookEnabled{name, was}}, nil
}

// testMost bounds how long an endpoint may take to answer a test.
const testMost = 60 * time.Second

func (a *API) testWebhook(ctx context.Context, in *struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"2000" doc:"The endpoint, by name or URL."`
	}
},
) (*bodyOf[WebhookTest], error) {
	name, err := a.endpoint(in.Body.Name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, testMost, errors.New("the endpoint took too long"))
	defer cancel()
	r, err := a.o.Webhooks.Test(ctx, callerOf(ctx).actor, name)
	if err != nil {
		return nil, err
	}
	out := WebhookTest{Delivered: r.Err == nil && r.Status >= 200 && r.Status < 300, Status: r.Status, DurationMS: r.Took.Milliseconds()}
	if !out.Delivered {
		out.Error = r.Text()
	}
	return &bodyOf[WebhookTest]{out}, nil
}
