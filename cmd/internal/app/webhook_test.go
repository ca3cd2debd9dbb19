package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/identity"
)

// TestServe_Webhooks runs a server whose endpoint hears of a person that another process made.
func TestServe_Webhooks(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		types := make(chan string, 100)
		receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var message struct{ Type string }
			if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
				t.Error(err)
			}
			types <- message.Type
		}))
		defer receiver.Close()
		config := configure(t, dsn, &oktatest.Tenant{})
		config.Webhooks = []configs.Webhook{{Name: "payroll", URL: receiver.URL, Secret: configs.Secret("whsec_" + strings.Repeat("QUJD", 10)), Events: []string{"user.*"}, AllowPrivate: true}}
		a := open(t, config)
		lease, err := a.Store.AcquireLease(t.Context(), "webhooks", "before", time.Minute)
		if err == nil {
			_, _, err = a.Store.RegisterWebhooks(t.Context(), lease, []string{"payroll"}, time.Now(), func(string) []string { return nil })
		}
		if err == nil {
			err = a.Store.ReleaseLease(t.Context(), lease)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Applier.CreateAdmin(t.Context(), identity.Actor{Kind: "cli"}, "glass@acme.test", "not a hash", false); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		served := make(chan error, 1)
		go func() { served <- a.Serve(ctx, nil) }()
		select {
		case got := <-types:
			if got != "user.created" {
				t.Errorf("the endpoint received %s, want user.created", got)
			}
		case <-time.After(time.Minute):
			t.Error("the endpoint received nothing in a minute")
		}
		response, err := a.TestWebhook(t.Context(), identity.Actor{Kind: "cli"}, receiver.URL)
		if got := <-types; err != nil || response.Status != http.StatusOK || got != "webhook.test" {
			t.Errorf("TestWebhook = %+v, %v, the endpoint received %s", response, err, got)
		}
		if _, err := a.TestWebhook(t.Context(), identity.Actor{Kind: "cli"}, "nobody"); !errors.Is(err, app.ErrNoWebhook) {
			t.Errorf("TestWebhook of nobody: %v, want ErrNoWebhook", err)
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}
