package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/webhook"
	"github.com/idpsync/idpsync/store/identity"
)

// keepDelivered is how long what was delivered is told of.
const keepDelivered = 7 * 24 * time.Hour

func webhookEndpoint(w *configs.Webhook) webhook.Endpoint {
	e := webhook.Endpoint{Name: w.Called(), URL: w.URL, Events: w.Events, AllowPrivate: w.AllowPrivate, CAFile: w.CAFile}
	for _, secret := range w.Signing() {
		e.Secrets = append(e.Secrets, connectors.Secret(secret.Reveal()))
	}
	return e
}

// webhooks returns who delivers events, with its metrics registered.
func (a *App) webhooks() (*webhook.Deliverer, error) {
	endpoints := make([]webhook.Endpoint, len(a.Config.Webhooks))
	for i := range a.Config.Webhooks {
		endpoints[i] = webhookEndpoint(&a.Config.Webhooks[i])
	}
	d, err := webhook.New(webhook.Options{Store: a.Store, Endpoints: endpoints, Logger: a.Logger, Metrics: webhook.NewMetrics(a.Registry), Tracer: a.Traces.Tracer("webhook")})
	if err == nil {
		err = a.Registry.Register(d.NewStanding())
	}
	return d, err
}

// ErrNoWebhook says that no endpoint of the configuration is meant.
var ErrNoWebhook = errors.New("no such endpoint in the configuration")

// FindWebhook returns the name of the endpoint that is called so, or has this URL; ErrNoWebhook.
func (a *App) FindWebhook(name string) (string, error) {
	w, err := a.findWebhook(name)
	if err != nil {
		return "", err
	}
	return w.Called(), nil
}

// webhookNames returns how the endpoints are called.
func (a *App) webhookNames() []string {
	names := make([]string, len(a.Config.Webhooks))
	for i := range a.Config.Webhooks {
		names[i] = a.Config.Webhooks[i].Called()
	}
	return names
}

func (a *App) findWebhook(name string) (*configs.Webhook, error) {
	for i := range a.Config.Webhooks {
		if w := &a.Config.Webhooks[i]; w.Called() == name || w.URL == name {
			return w, nil
		}
	}
	names := a.webhookNames()
	if len(names) == 0 {
		return nil, fmt.Errorf("%q: %w, which has none", name, ErrNoWebhook)
	}
	return nil, fmt.Errorf("%q: %w, which has %s", name, ErrNoWebhook, strings.Join(names, ", "))
}

// TestWebhook sends an event of type webhook.test to an endpoint, once, and returns what came of it. The audit log has it
// before it is sent.
func (a *App) TestWebhook(ctx context.Context, by identity.Actor, name string) (webhook.Response, error) {
	w, err := a.findWebhook(name)
	if err != nil {
		return webhook.Response{}, err
	}
	sender, err := webhook.NewSender(webhookEndpoint(w), nil)
	if err != nil {
		return webhook.Response{}, err
	}
	defer sender.Close()
	if err := webhook.Tested(ctx, a.Store, by, w.Called(), time.Now()); err != nil {
		return webhook.Response{}, err
	}
	id := uuid.NewString()
	body, err := webhook.Body(id, &identity.Event{
		At: time.Now(), Type: "webhook.test", Actor: by, Object: "webhook", ObjectID: w.Called(), Name: w.Called(), Reason: "a test, asked for by an operator",
	})
	if err != nil {
		return webhook.Response{}, err
	}
	return sender.Send(ctx, id, body), nil
}
