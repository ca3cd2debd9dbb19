package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

func (e *env) webhooksCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "webhooks", Short: "See how events are delivered, and send them again",
		Example: "  idpsync webhooks list\n  idpsync webhooks deliveries --failed\n  idpsync webhooks test payroll",
	}
	c.AddCommand(e.webhooksList(), e.webhooksDeliveries(), e.webhooksRedeliver(), e.webhooksEnable(), e.webhooksTest())
	return c
}

func (e *env) webhooksList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List who receives events, and how that goes",
		Example: "  idpsync webhooks list\n  idpsync webhooks list --output json",
		RunE: e.with(func(ctx context.Context, d *desk, _ []string) error {
			page, err := get[api.Page[api.WebhookEndpoint]](ctx, d, "/webhooks")
			if err != nil {
				return err
			}
			head := []string{"ENDPOINT", "STATE", "WAITING", "OLDEST", "GIVEN UP", "LAST SUCCESS", "LAST FAILURE", "ERROR"}
			return printList(e, head, page.Items, func(j *api.WebhookEndpoint) any { return j }, func(j *api.WebhookEndpoint) []string {
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
			return e.with(func(ctx context.Context, d *desk, _ []string) error {
				state := ""
				if failed {
					state = "failed"
				}
				page, err := get[api.Page[api.Delivery]](ctx, d, "/webhooks/deliveries", "endpoint", endpoint, "state", state, "limit", strconv.Itoa(min(limit, mostUnpaged)))
				if err != nil {
					return err
				}
				head := []string{"EVENT", "TYPE", "ENDPOINT", "STATE", "TRIES", "NEXT", "FINISHED", "ERROR"}
				return printList(e, head, page.Items, func(j *api.Delivery) any { return j }, func(j *api.Delivery) []string {
					return []string{j.EventID, j.Type, j.Endpoint, j.State, fmt.Sprint(j.Attempts), instantOf(j.Next), instantOf(j.Finished), dash(j.Error)}
				})
			})(c, nil)
		},
	}
	c.Flags().BoolVar(&failed, "failed", false, "only what was given up")
	c.Flags().StringVar(&endpoint, "endpoint", "", "only deliveries to the endpoint `NAME` (name or URL)")
	c.Flags().IntVar(&limit, "limit", 100, "list at most `N` deliveries")
	return c
}

func (e *env) webhooksRedeliver() *cobra.Command {
	var endpoint string
	c := &cobra.Command{
		Use: "redeliver EVENT", Short: "Deliver an event again",
		Long: "Deliver an event again, by its id: to all endpoints that had it, or with --endpoint to one, whether it had it or not. A\n" +
			"running server sends it, before later events of the same object that still wait.",
		Example: "  idpsync webhooks redeliver 0190b2c4-6c1b-7a55-9a57-0d6a53cf3c11\n  idpsync webhooks redeliver 0190b2c4-6c1b-7a55-9a57-0d6a53cf3c11 --endpoint payroll",
		Args:    oneArg("EVENT"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			body := object{"event_id": args[0]}
			if endpoint != "" {
				body["endpoint"] = endpoint
			}
			again, err := post[api.Redelivery](ctx, d, "/webhooks/redeliver", body)
			switch {
			case err != nil:
				return err
			case e.json():
				return e.print(again)
			}
			e.say("Event %s is delivered again to %s.", again.EventID, strings.Join(again.Endpoints, ", "))
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
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			out, err := post[api.WebhookEnabled](ctx, d, "/webhooks/enable", object{"name": args[0]})
			switch {
			case err != nil:
				return err
			case e.json():
				return e.print(out)
			case !out.Changed:
				e.say("%s is enabled already.", out.Name)
			default:
				e.say("%s receives events again.", out.Name)
			}
			return nil
		}),
	}
}

func (e *env) webhooksTest() *cobra.Command {
	return &cobra.Command{
		Use: "test NAME", Short: "Send an event of type webhook.test to an endpoint, once, from here or the server",
		Example: "  idpsync webhooks test payroll\n  idpsync webhooks test https://hooks.example.com/idpsync",
		Args:    oneArg("NAME"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			out, err := post[api.WebhookTest](ctx, d, "/webhooks/test", object{"name": args[0]})
			if err != nil {
				return err
			}
			if e.json() {
				if err := e.print(out); err != nil {
					return err
				}
			}
			if !out.Delivered {
				return fmt.Errorf("not delivered: %s", out.Error)
			}
			if !e.json() {
				e.say("Delivered: status %d in %s.", out.Status, time.Duration(out.DurationMS)*time.Millisecond)
			}
			return nil
		}),
	}
}
