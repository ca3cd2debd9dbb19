package webhook

import (
	"context"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// objectWebhook is the kind of object that events about endpoints are about.
const objectWebhook identity.Object = "webhook"

// Enable lets an endpoint receive events again. It tells whether it was disabled; store.ErrNotFound where no server knows it.
func Enable(ctx context.Context, s *store.Store, actor identity.Actor, name string, now time.Time) (bool, error) {
	var was bool
	err := s.InTx(ctx, func(tx *store.Tx) error {
		var err error
		if was, err = tx.EnableWebhook(ctx, name); err != nil || !was {
			return err
		}
		return tx.Record(ctx, []identity.Event{{
			At: now, Type: identity.EventWebhookEnabled, Actor: actor, Object: objectWebhook, ObjectID: name, Name: name,
			Fields: []identity.FieldChange{{Path: "enabled", Before: false, After: true}},
		}})
	})
	return was, err
}

// Redeliver lets an event be delivered again, to one endpoint or with "" to all that had it, and tells of it, once for each
// endpoint. What tells of it is an event as any other: it is delivered, and its delivery tells nothing. The errors are those
// of store.Tx.Redeliver.
func Redeliver(ctx context.Context, s *store.Store, actor identity.Actor, eventID, endpoint string, now time.Time) ([]string, error) {
	var to []string
	err := s.InTx(ctx, func(tx *store.Tx) error {
		var err error
		if to, err = tx.Redeliver(ctx, eventID, endpoint, now); err != nil {
			return err
		}
		events := make([]identity.Event, len(to))
		for i, name := range to {
			events[i] = identity.Event{
				At: now, Type: identity.EventWebhookAgain, Actor: actor, Object: objectWebhook, ObjectID: name, Name: name,
				Reason: "event " + eventID + " is delivered again",
			}
		}
		return tx.Record(ctx, events)
	})
	if err != nil {
		return nil, err
	}
	return to, nil
}

// Tested tells that somebody has an event of type webhook.test sent to an endpoint, which itself is in no log.
func Tested(ctx context.Context, s *store.Store, actor identity.Actor, name string, now time.Time) error {
	return s.InTx(ctx, func(tx *store.Tx) error {
		return tx.Record(ctx, []identity.Event{{
			At: now, Type: identity.EventWebhookTested, Actor: actor, Object: objectWebhook, ObjectID: name, Name: name,
			Reason: "an event webhook.test is sent to it, once",
		}})
	})
}
