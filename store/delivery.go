package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// States of a delivery.
const (
	DeliveryWaiting   = "waiting"
	DeliveryDelivered = "delivered"
	DeliveryFailed    = "failed" // given up
)

// WebhookDelivery is an event for an endpoint.
type WebhookDelivery struct {
	Endpoint string
	Seq      int64  // of the event in the audit log
	EventID  string // what the receiver knows the event by
	Type     string
	ObjectID string
	State    string // DeliveryWaiting, DeliveryDelivered or DeliveryFailed
	Attempts int
	Created  time.Time // when it was given to the endpoint
	Next     time.Time // waiting: not before
	Finished time.Time // zero: waiting
	Status   int       // of the last answer; 0 for none
	Error    string    // of the last attempt
}

type deliveryRow struct {
	Endpoint, EventID, Type, ObjectID, State string
	Seq                                      int64
	Attempts                                 int
	CreatedAt, NextAt                        time.Time
	FinishedAt                               *time.Time
	Status                                   int
	Error                                    string
}

const deliveryColumns = "d.endpoint, d.seq, CAST(d.event_id AS text) AS event_id, d.type, d.object_id, d.state, d.attempts, d.created_at, d.next_at, d.finished_at, d.status, d.error"

func (r reader) deliveries(ctx context.Context, rest string, args ...any) ([]WebhookDelivery, error) {
	var rows []deliveryRow
	if err := r.raw(ctx, "SELECT "+deliveryColumns+" FROM webhook_deliveries d WHERE "+rest, args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read webhook deliveries: %w", err)
	}
	list := make([]WebhookDelivery, len(rows))
	for i, row := range rows {
		list[i] = WebhookDelivery{
			Endpoint: row.Endpoint, Seq: row.Seq, EventID: row.EventID, Type: row.Type, ObjectID: row.ObjectID, State: row.State,
			Attempts: row.Attempts, Created: row.CreatedAt.UTC(), Next: row.NextAt.UTC(), Finished: timeOf(row.FinishedAt), Status: row.Status, Error: row.Error,
		}
	}
	return list, nil
}

// DueDeliveries returns what may be sent to an endpoint now: of each object the first event that waits, where its time has
// come. What waited longest comes first.
func (r reader) DueDeliveries(ctx context.Context, endpoint string, now time.Time, limit int) ([]WebhookDelivery, error) {
	return r.deliveries(ctx, "d.endpoint = ? AND d.state = 'waiting' AND d.next_at <= ? AND d.seq = "+
		"(SELECT min(e.seq) FROM webhook_deliveries e WHERE e.endpoint = d.endpoint AND e.object_id = d.object_id AND e.state = 'waiting') "+
		"ORDER BY d.next_at, d.seq LIMIT ?", endpoint, stamp(now), limit)
}

// DeliveryQuery selects deliveries. What is zero selects everything.
type DeliveryQuery struct {
	Endpoint string
	State    string
	EventID  string
	Limit    int
}

// Deliveries returns deliveries, those of the newest events first.
func (r reader) Deliveries(ctx context.Context, q DeliveryQuery) ([]WebhookDelivery, error) {
	condition, args := "TRUE", []any{}
	for _, c := range []struct{ text, value string }{{"d.endpoint = ?", q.Endpoint}, {"d.state = ?", q.State}, {"CAST(d.event_id AS text) = ?", q.EventID}} {
		if c.value != "" {
			condition, args = condition+" AND "+c.text, append(args, c.value)
		}
	}
	return r.deliveries(ctx, condition+" ORDER BY d.seq DESC, d.endpoint LIMIT ?", append(args, q.Limit)...)
}

// SettleDeliveries writes down what attempts of deliveries to one endpoint came to. What is no longer waiting stays as it is.
func (s *Store) SettleDeliveries(ctx context.Context, lease Lease, endpoint string, attempted []WebhookDelivery, now time.Time) error {
	return s.InTx(ctx, func(tx *Tx) error {
		if err := tx.Fence(ctx, lease); err != nil {
			return err
		}
		var delivered, refused string
		for i := range attempted {
			d := &attempted[i]
			_, err := tx.exec(ctx, "UPDATE webhook_deliveries SET state = ?, attempts = ?, next_at = ?, finished_at = ?, status = ?, error = ? "+
				"WHERE endpoint = ? AND seq = ? AND state = 'waiting'",
				d.State, d.Attempts, stamp(d.Next), utc(d.Finished), d.Status, legible(d.Error), endpoint, d.Seq)
			if err != nil {
				return fmt.Errorf("settle webhook deliveries: %w", err)
			}
			if d.State == DeliveryDelivered {
				delivered = d.State
			} else {
				refused = d.Error
			}
		}
		if delivered != "" {
			if _, err := tx.exec(ctx, "UPDATE webhook_endpoints SET last_success_at = ? WHERE name = ?", stamp(now), endpoint); err != nil {
				return fmt.Errorf("settle webhook deliveries: %w", err)
			}
		}
		if refused != "" {
			if _, err := tx.exec(ctx, "UPDATE webhook_endpoints SET last_failure_at = ?, last_error = ? WHERE name = ?", stamp(now), legible(refused), endpoint); err != nil {
				return fmt.Errorf("settle webhook deliveries: %w", err)
			}
		}
		return nil
	})
}

// Redeliver lets an event be delivered again: to one endpoint, or with "" to all that had it and are registered. It returns
// to whom; ErrNotFound where there is no such event or endpoint, ErrBusy where it waits for its first delivery anyway.
func (tx *Tx) Redeliver(ctx context.Context, eventID, endpoint string, now time.Time) ([]string, error) {
	if _, err := uuid.Parse(eventID); err != nil {
		return nil, ErrNotFound
	}
	var events []struct {
		Seq            int64
		Type, ObjectID string
		Waits          bool
	}
	err := tx.raw(ctx, "SELECT a.seq, a.type, a.object_id, EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = a.id) AS waits FROM audit_events a WHERE a.id = ?", eventID).Scan(&events).Error
	switch {
	case err != nil:
		return nil, fmt.Errorf("read event %s: %w", eventID, err)
	case len(events) == 0:
		return nil, ErrNotFound
	case events[0].Waits:
		return nil, ErrBusy
	}
	to, err := tx.again(ctx, events[0].Seq, endpoint)
	switch {
	case err != nil:
		return nil, err
	case len(to) == 0:
		return nil, ErrNotFound
	}
	for _, name := range to {
		_, err := tx.exec(ctx, "INSERT INTO webhook_deliveries (endpoint, seq, event_id, type, object_id, state, created_at, next_at) VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?) "+
			"ON CONFLICT (endpoint, seq) DO UPDATE SET state = 'waiting', attempts = 0, created_at = excluded.created_at, next_at = excluded.next_at, finished_at = NULL",
			name, events[0].Seq, eventID, events[0].Type, events[0].ObjectID, stamp(now), stamp(now))
		if err != nil {
			return nil, fmt.Errorf("deliver event %s again: %w", eventID, err)
		}
	}
	return to, nil
}

// again returns the endpoints that are meant, as far as they are registered and not disabled.
func (tx *Tx) again(ctx context.Context, seq int64, endpoint string) ([]string, error) {
	enabled, err := tx.endpointNames(ctx, true)
	if err != nil {
		return nil, err
	}
	if endpoint != "" {
		return slices.DeleteFunc(enabled, func(name string) bool { return name != endpoint }), nil
	}
	had, err := tx.deliveries(ctx, "d.seq = ? ORDER BY d.endpoint", seq)
	if err != nil {
		return nil, err
	}
	var to []string
	for i := range had {
		if slices.Contains(enabled, had[i].Endpoint) {
			to = append(to, had[i].Endpoint)
		}
	}
	return to, nil
}

// PruneDeliveries forgets deliveries: those that succeeded before a time, and whatever is from before another, older one.
func (s *Store) PruneDeliveries(ctx context.Context, delivered, all time.Time) error {
	for _, statement := range []struct {
		text   string
		before time.Time
	}{
		{"DELETE FROM webhook_deliveries WHERE state = 'delivered' AND finished_at < ?", delivered},
		{"DELETE FROM webhook_deliveries WHERE state <> 'waiting' AND finished_at < ?", all},
		{"DELETE FROM webhook_deliveries WHERE created_at < ?", all},
	} {
		if _, err := s.exec(ctx, statement.text, stamp(statement.before)); err != nil {
			return fmt.Errorf("prune webhook deliveries: %w", err)
		}
	}
	return nil
}
