package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/connectors/webhook"
	"github.com/idpsync/idpsync/store"
)

// endpointJSON is how a receiver of events stands.
type endpointJSON struct {
	Name           string     `json:"name"`
	State          string     `json:"state"` // enabled, disabled, or new: no server has run with it yet
	DisabledReason string     `json:"disabled_reason,omitempty"`
	Waiting        int        `json:"waiting"`
	Oldest         *time.Time `json:"oldest"`
	Failed         int        `json:"failed"`
	LastSuccess    *time.Time `json:"last_success"`
	LastFailure    *time.Time `json:"last_failure"`
	LastError      string     `json:"last_error,omitempty"`
}

type deliveryJSON struct {
	EventID  string     `json:"event_id"`
	Endpoint string     `json:"endpoint"`
	Type     string     `json:"type"`
	ObjectID string     `json:"object_id"`
	State    string     `json:"state"`
	Attempts int        `json:"attempts"`
	Status   int        `json:"status"` // of the last answer, 0 for none
	Error    string     `json:"error,omitempty"`
	Created  time.Time  `json:"created"`
	Next     *time.Time `json:"next"` // waiting: when it is tried again
	Finished *time.Time `json:"finished"`
}

func (e *env) webhooksCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "webhooks", Short: "See how events are delivered, and send them again",
		Example: "  idpsync webhooks list\n  idpsync webhooks deliveries --failed\n  idpsync webhooks test payroll",
	}
	c.AddCommand(e.webhooksList(), e.webhooksDeliveries(), e.webhooksRedeliver(), e.webhooksEnable(), e.webhooksTest())
	return c
}

// optional is a time, or nil for none.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (e *env) webhooksList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List who receives events, and how that goes",
		Example: "  idpsync webhooks list\n  idpsync webhooks list --output json",
		RunE: e.with(func(ctx context.Context, a *app.App, _ []string) error {
			known, err := a.Store.WebhookEndpoints(ctx)
			if err != nil {
				return err
			}
			byName := map[string]*store.WebhookEndpoint{}
			for i := range known {
				byName[known[i].Name] = &known[i]
			}
			endpoints := make([]endpointJSON, len(a.Config.Webhooks))
			for i := range a.Config.Webhooks {
				name := a.Config.Webhooks[i].Called()
				endpoints[i] = endpointOf(name, byName[name])
			}
			head := []string{"ENDPOINT", "STATE", "WAITING", "OLDEST", "GIVEN UP", "LAST SUCCESS", "LAST FAILURE", "ERROR"}
			return printList(e, head, endpoints, func(j *endpointJSON) any { return j }, func(j *endpointJSON) []string {
				return []string{
					j.Name, j.State, fmt.Sprint(j.Waiting), instantOf(j.Oldest), fmt.Sprint(j.Failed), instantOf(j.LastSuccess), instantOf(j.LastFailure),
					dash(j.DisabledReason + j.LastError),
				}
			})
		}),
	}
}

func instantOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return instant(*t)
}

func endpointOf(name string, known *store.WebhookEndpoint) endpointJSON {
	if known == nil {
		return endpointJSON{Name: name, State: "new"}
	}
	j := endpointJSON{
		Name: name, State: "enabled", Waiting: known.Waiting, Oldest: optional(known.Oldest), Failed: known.Failed,
		LastSuccess: optional(known.LastSuccess), LastFailure: optional(known.LastFailure), LastError: known.LastError,
	}
	if !known.Disabled.IsZero() {
		j.State, j.DisabledReason, j.LastError = "disabled", known.DisabledReason, ""
	}
	return j
}

func (e *env) webhooksDeliveries() *cobra.Command {
	var failed bool
	var endpoint string
	var limit int
	c := &cobra.Command{
		Use: "deliveries", Short: "List deliveries, those of the newest events first",
		Long:    "List deliveries, those of the newest events first. What was delivered is told of for 7 days, what was given up for 30.",
		Example: "  idpsync webhooks deliveries\n  idpsync webhooks deliveries --failed --endpoint payroll",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := atLeast("limit", limit, 1); err != nil {
				return err
			}
			return e.with(func(ctx context.Context, a *app.App, _ []string) error {
				q := store.DeliveryQuery{Limit: limit}
				if failed {
					q.State = store.DeliveryFailed
				}
				var err error
				if endpoint != "" {
					if q.Endpoint, err = a.FindWebhook(endpoint); err != nil {
						return err
					}
				}
				list, err := a.Store.Deliveries(ctx, q)
				if err != nil {
					return err
				}
				head := []string{"EVENT", "TYPE", "ENDPOINT", "STATE", "TRIES", "NEXT", "FINISHED", "ERROR"}
				return printList(e, head, list, func(d *store.WebhookDelivery) any { return deliveryOf(d) }, func(d *store.WebhookDelivery) []string {
					j := deliveryOf(d)
					return []string{d.EventID, d.Type, d.Endpoint, d.State, fmt.Sprint(d.Attempts), instantOf(j.Next), instantOf(j.Finished), dash(d.Error)}
				})
			})(c, nil)
		},
	}
	c.Flags().BoolVar(&failed, "failed", false, "only what was given up")
	c.Flags().StringVar(&endpoint, "endpoint", "", "only deliveries to the endpoint `NAME` (name or URL)")
	c.Flags().IntVar(&limit, "limit", 100, "list at most `N` deliveries")
	return c
}

func deliveryOf(d *store.WebhookDelivery) deliveryJSON {
	j := deliveryJSON{
		EventID: d.EventID, Endpoint: d.Endpoint, Type: d.Type, ObjectID: d.ObjectID, State: d.State, Attempts: d.Attempts,
		Status: d.Status, Error: d.Error, Created: d.Created, Finished: optional(d.Finished),
	}
	if d.State == store.DeliveryWaiting {
		j.Next = &d.Next
	}
	return j
}

func (e *env) webhooksRedeliver() *cobra.Command {
	var endpoint string
	c := &cobra.Command{
		Use: "redeliver EVENT", Short: "Deliver an event again",
		Long: "Deliver an event again, by its id: to all endpoints that had it, or with --endpoint to one, whether it had it or not. A\n" +
			"running server sends it, before later events of the same object that still wait.",
		Example: "  idpsync webhooks redeliver 0190b2c4-6c1b-7a55-9a57-0d6a53cf3c11\n  idpsync webhooks redeliver 0190b2c4-6c1b-7a55-9a57-0d6a53cf3c11 --endpoint payroll",
		Args:    oneArg("EVENT"),
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			name, err := "", error(nil)
			if endpoint != "" {
				if name, err = a.FindWebhook(endpoint); err != nil {
					return err
				}
			}
			to, err := a.Store.Redeliver(ctx, args[0], name, time.Now())
			switch {
			case errors.Is(err, store.ErrBusy):
				return fmt.Errorf("event %s is about to be delivered anyway", args[0])
			case errors.Is(err, store.ErrNotFound) && name != "":
				return fmt.Errorf("no event %s, or %s is disabled or new: see idpsync webhooks list", args[0], name)
			case errors.Is(err, store.ErrNotFound):
				return fmt.Errorf("no enabled endpoint had an event %s: see idpsync webhooks deliveries, or name one with --endpoint", args[0])
			case err != nil:
				return err
			case e.json():
				return e.print(map[string]any{"event_id": args[0], "endpoints": to})
			}
			e.say("Event %s is delivered again to %s.", args[0], strings.Join(to, ", "))
			return nil
		}),
	}
	c.Flags().StringVar(&endpoint, "endpoint", "", "to the endpoint `NAME` alone (name or URL)")
	return c
}

func (e *env) webhooksEnable() *cobra.Command {
	return &cobra.Command{
		Use: "enable NAME", Short: "Let an endpoint receive events again that answered 410 Gone",
		Long: "Let an endpoint receive events again that answered 410 Gone: those that happen from now on. What it missed is in\n" +
			"idpsync webhooks deliveries --failed as far as it was waiting then.",
		Example: "  idpsync webhooks enable payroll",
		Args:    oneArg("NAME"),
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			name, err := a.FindWebhook(args[0])
			if err != nil {
				return err
			}
			was, err := webhook.Enable(ctx, a.Store, e.actor(), name, time.Now())
			switch {
			case errors.Is(err, store.ErrNotFound):
				return fmt.Errorf("%s is new: it receives events once a server runs with this configuration", name)
			case err != nil:
				return err
			case e.json():
				return e.print(map[string]any{"name": name, "changed": was})
			case !was:
				e.say("%s is enabled already.", name)
			default:
				e.say("%s receives events again.", name)
			}
			return nil
		}),
	}
}

func (e *env) webhooksTest() *cobra.Command {
	return &cobra.Command{
		Use: "test NAME", Short: "Send an event of type webhook.test to an endpoint, once and from here",
		Example: "  idpsync webhooks test payroll\n  idpsync webhooks test https://hooks.example.com/idpsync",
		Args:    oneArg("NAME"),
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			r, err := a.TestWebhook(ctx, e.actor(), args[0])
			if err != nil {
				return err
			}
			ok := r.Err == nil && r.Status >= 200 && r.Status < 300
			if e.json() {
				object := map[string]any{"delivered": ok, "status": r.Status, "duration_ms": r.Took.Milliseconds()}
				if !ok {
					object["error"] = r.Text()
				}
				err = e.print(object)
			}
			if err != nil || ok {
				if ok && !e.json() {
					e.say("Delivered: status %d in %s.", r.Status, r.Took.Round(time.Millisecond))
				}
				return err
			}
			return fmt.Errorf("not delivered: %s", r.Text())
		}),
	}
}
