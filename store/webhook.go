package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// WebhookEndpoint is how a receiver of events stands.
type WebhookEndpoint struct {
	Name           string
	Created        time.Time
	Disabled       time.Time // zero: it receives events
	DisabledReason string
	LastSuccess    time.Time
	LastFailure    time.Time
	LastError      string // of LastFailure
	Waiting        int    // events that are neither delivered nor given up
	Oldest         time.Time
	Failed         int // events that were given up and are still remembered
}

type endpointRow struct {
	Name           string
	CreatedAt      time.Time
	DisabledAt     *time.Time
	DisabledReason string
	LastSuccessAt  *time.Time
	LastFailureAt  *time.Time
	LastError      string
	Waiting        int
	Failed         int
}

// WebhookEndpoints returns all endpoints that a server has registered, by name.
func (r reader) WebhookEndpoints(ctx context.Context) ([]WebhookEndpoint, error) {
	var rows []endpointRow
	err := r.raw(ctx, "SELECT e.*, "+
		"(SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = e.name AND d.state = 'waiting') AS waiting, "+
		"(SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint = e.name AND d.state = 'failed') AS failed "+
		"FROM webhook_endpoints e ORDER BY e.name").Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read webhook endpoints: %w", err)
	}
	endpoints := make([]WebhookEndpoint, len(rows))
	for i, row := range rows {
		endpoints[i] = WebhookEndpoint{
			Name: row.Name, Created: row.CreatedAt.UTC(), Disabled: timeOf(row.DisabledAt), DisabledReason: row.DisabledReason,
			LastSuccess: timeOf(row.LastSuccessAt), LastFailure: timeOf(row.LastFailureAt), LastError: row.LastError,
			Waiting: row.Waiting, Failed: row.Failed,
		}
		if row.Waiting == 0 {
			continue
		}
		// An event waits since it came; events come in the order of seq, but for those that are sent again.
		var oldest []time.Time
		err := r.raw(ctx, "SELECT created_at FROM webhook_deliveries WHERE endpoint = ? AND state = 'waiting' ORDER BY seq LIMIT 1", row.Name).Scan(&oldest).Error
		if err != nil {
			return nil, fmt.Errorf("read webhook endpoints: %w", err)
		}
		if len(oldest) > 0 {
			endpoints[i].Oldest = oldest[0].UTC()
		}
	}
	return endpoints, nil
}

// RegisterWebhooks makes the endpoints those of these names, and returns who came and who went. Who goes, goes with all
// that waits; who comes, receives what is committed from now on. match is DispatchWebhooks's.
func (s *Store) RegisterWebhooks(ctx context.Context, lease Lease, names []string, now time.Time, match func(eventType string) []string) (added, removed []string, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		added, removed = nil, nil
		if err := tx.Fence(ctx, lease); err != nil {
			return err
		}
		known, err := tx.endpointNames(ctx, false)
		if err != nil {
			return err
		}
		for _, name := range known {
			if slices.Contains(names, name) {
				continue
			}
			removed = append(removed, name)
			for _, statement := range []string{"DELETE FROM webhook_deliveries WHERE endpoint = ?", "DELETE FROM webhook_endpoints WHERE name = ?"} {
				if _, err := tx.exec(ctx, statement, name); err != nil {
					return fmt.Errorf("remove webhook endpoint %s: %w", name, err)
				}
			}
		}
		for _, name := range names {
			if !slices.Contains(known, name) {
				added = append(added, name)
			}
		}
		if len(added) == 0 {
			return nil
		}
		if err := tx.settleOutbox(ctx, len(removed) == len(known), now, match); err != nil {
			return err
		}
		for _, name := range added {
			if _, err := tx.exec(ctx, "INSERT INTO webhook_endpoints (name, created_at) VALUES (?, ?)", name, stamp(now)); err != nil {
				return fmt.Errorf("add webhook endpoint %s: %w", name, err)
			}
		}
		return nil
	})
	return added, removed, err
}

// settleOutbox empties the outbox before an endpoint comes, for which all this is history.
func (tx *Tx) settleOutbox(ctx context.Context, nobody bool, now time.Time, match func(string) []string) error {
	if nobody {
		if _, err := tx.exec(ctx, "DELETE FROM outbox"); err != nil {
			return fmt.Errorf("empty the outbox: %w", err)
		}
		return nil
	}
	for {
		if n, err := tx.dispatch(ctx, 1000, now, match); err != nil || n == 0 {
			return err
		}
	}
}

func (r reader) endpointNames(ctx context.Context, enabled bool) ([]string, error) {
	statement := "SELECT name FROM webhook_endpoints"
	if enabled {
		statement += " WHERE disabled_at IS NULL"
	}
	var names []string
	if err := r.raw(ctx, statement).Scan(&names).Error; err != nil {
		return nil, fmt.Errorf("read webhook endpoints: %w", err)
	}
	return names, nil
}

// OutboxWaits tells whether events wait to be dispatched.
func (r reader) OutboxWaits(ctx context.Context) (bool, error) {
	var seqs []int64
	if err := r.raw(ctx, "SELECT seq FROM outbox WHERE delivered_at IS NULL ORDER BY seq LIMIT 1").Scan(&seqs).Error; err != nil {
		return false, fmt.Errorf("look into the outbox: %w", err)
	}
	return len(seqs) > 0, nil
}

// DispatchWebhooks takes at most limit events from the outbox and gives each to the endpoints that match names for its
// type, as far as they are registered and not disabled. It returns how many it took.
//
// There is no position to go on from, which a transaction that commits late would come behind: the oldest that is there
// comes next. What one lock orders, the changes of one object, commits in that order, and is numbered in it.
func (s *Store) DispatchWebhooks(ctx context.Context, lease Lease, limit int, now time.Time, match func(eventType string) []string) (int, error) {
	n := 0
	err := s.InTx(ctx, func(tx *Tx) error {
		err := tx.Fence(ctx, lease)
		if err == nil {
			n, err = tx.dispatch(ctx, limit, now, match)
		}
		return err
	})
	return n, err
}

var deliveryInsert = []string{"endpoint", "seq", "event_id", "type", "object_id", "state", "created_at", "next_at"}

func (tx *Tx) dispatch(ctx context.Context, limit int, now time.Time, match func(string) []string) (int, error) {
	var entries []struct {
		Seq      int64
		EventID  string
		Type     string
		ObjectID string
		EventSeq int64 // 0: the audit log does not have it
	}
	err := tx.raw(ctx, "SELECT o.seq, CAST(o.event_id AS text) AS event_id, o.type, o.object_id, coalesce(a.seq, 0) AS event_seq "+
		"FROM (SELECT seq, event_id, type, object_id FROM outbox WHERE delivered_at IS NULL ORDER BY seq LIMIT ?) o "+
		"LEFT JOIN audit_events a ON a.id = o.event_id ORDER BY o.seq", limit).Scan(&entries).Error
	if err != nil {
		return 0, fmt.Errorf("read the outbox: %w", err)
	}
	if len(entries) == 0 {
		return 0, nil
	}
	enabled, err := tx.endpointNames(ctx, true)
	if err != nil {
		return 0, err
	}
	var rows [][]any
	seqs := make([]string, len(entries))
	for i, e := range entries {
		seqs[i] = strconv.FormatInt(e.Seq, 10)
		if e.EventSeq == 0 {
			continue
		}
		for _, endpoint := range match(e.Type) {
			if slices.Contains(enabled, endpoint) {
				rows = append(rows, []any{endpoint, e.EventSeq, e.EventID, e.Type, e.ObjectID, DeliveryWaiting, stamp(now), stamp(now)})
			}
		}
	}
	if err := tx.insertRows(ctx, "webhook_deliveries", deliveryInsert, rows); err != nil {
		return 0, err
	}
	if _, err := tx.exec(ctx, "DELETE FROM outbox WHERE "+tx.d.in("seq", "bigint"), tx.d.list(seqs)); err != nil {
		return 0, fmt.Errorf("take from the outbox: %w", err)
	}
	return len(entries), nil
}

// DisableWebhook stops an endpoint: what waits is given up, and no more events come. It tells whether it was enabled.
func (tx *Tx) DisableWebhook(ctx context.Context, name, reason string, now time.Time) (bool, error) {
	n, err := tx.exec(ctx, "UPDATE webhook_endpoints SET disabled_at = ?, disabled_reason = ? WHERE name = ? AND disabled_at IS NULL", stamp(now), legible(reason), name)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = tx.exec(ctx, "UPDATE webhook_deliveries SET state = ?, finished_at = ?, error = 'the endpoint was disabled' WHERE endpoint = ? AND state = ?",
		DeliveryFailed, stamp(now), name, DeliveryWaiting)
	if err != nil {
		return false, fmt.Errorf("disable webhook endpoint %s: %w", name, err)
	}
	return true, nil
}

// EnableWebhook lets an endpoint receive events again, those from now on. It tells whether it was disabled; ErrNotFound
// where no server has registered it.
func (tx *Tx) EnableWebhook(ctx context.Context, name string) (bool, error) {
	n, err := tx.exec(ctx, "UPDATE webhook_endpoints SET disabled_at = NULL, disabled_reason = '' WHERE name = ? AND disabled_at IS NOT NULL", name)
	if err != nil {
		return false, fmt.Errorf("enable webhook endpoint %s: %w", name, err)
	}
	if n > 0 {
		return true, nil
	}
	names, err := tx.endpointNames(ctx, false)
	if err == nil && !slices.Contains(names, name) {
		err = ErrNotFound
	}
	return false, err
}

// EventsByID returns events of the audit log by their id.
func (r reader) EventsByID(ctx context.Context, ids []string) (map[string]identity.Event, error) {
	statement, args := r.d.lookup(auditColumns, "audit_events", "TRUE", nil, "id", "uuid", ids)
	var rows []eventRow
	if err := r.raw(ctx, statement, args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	events := make(map[string]identity.Event, len(rows))
	for i := range rows {
		e, err := rows[i].decoded()
		if err != nil {
			return nil, err
		}
		events[rows[i].ID] = e
	}
	return events, nil
}
