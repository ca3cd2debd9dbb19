package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// line delivers to one endpoint. All but the sending happens in one goroutine.
type line struct {
	*turn
	sender  *Sender
	wake    <-chan struct{}
	results chan attempt
	queue   []parcel
	busy    map[int64]bool // being sent, or sent and not written down
	done    []attempt      // sent and not written down
	breaker breaker
}

// parcel is a delivery with its body.
type parcel struct {
	store.WebhookDelivery
	body []byte
}

type attempt struct {
	parcel
	response Response
	lost     bool // it was not sent, as nobody knows the event
}

// run delivers until ctx ends; sending is the context of the messages, which may go on for a little longer.
func (l *line) run(ctx, sending context.Context) error {
	ended := ctx.Done()
	look := true // at the database, for what is due
	for {
		if look && len(l.queue) == 0 && ctx.Err() == nil && l.room() > 0 {
			look = false
			if err := l.fill(ctx); err != nil && ctx.Err() == nil {
				l.o.Logger.WarnContext(ctx, "read webhook deliveries", "endpoint", l.sender.Name(), "error", err)
			}
		}
		for len(l.queue) > 0 && l.room() > 0 && ctx.Err() == nil && l.held() {
			l.start(sending)
		}
		if ctx.Err() != nil && len(l.busy) == len(l.done) {
			return l.settle(ctx, sending)
		}
		select {
		case a := <-l.results:
			l.done = append(l.done, a)
			look = true
		case <-l.wake:
			look = true
		case <-time.After(l.o.Poll):
			look = true
		case <-ended:
			ended = nil
		}
		if err := l.settle(ctx, sending); err != nil {
			return err
		}
	}
}

// room is how many more messages may be sent now.
func (l *line) room() int {
	flying := len(l.busy) - len(l.done)
	return min(l.o.Concurrency, l.breaker.allows(l.o.Now(), l.o.Concurrency)) - flying
}

func (l *line) start(sending context.Context) {
	p := l.queue[0]
	l.queue = l.queue[1:]
	l.busy[p.Seq] = true
	go func() { // results has room for all; run waits for each
		l.results <- attempt{parcel: p, response: l.send(sending, p)}
	}()
}

// send sends a message in a trace of its own, that says which endpoint it went to and how it ended.
func (l *line) send(ctx context.Context, p parcel) Response {
	ctx, span := l.o.Tracer.Start(ctx, "webhook deliver", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	r := l.sender.Send(ctx, p.EventID, p.body)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("idpsync.endpoint", l.sender.Name()), attribute.String("idpsync.event_id", p.EventID), attribute.Int("http.response.status_code", r.Status))
		if r.Err != nil || r.Status >= 300 {
			span.SetStatus(codes.Error, "")
		}
	}
	return r
}

// fill reads what is due, with its bodies. What the audit log does not have is given up.
func (l *line) fill(ctx context.Context) error {
	due, err := l.o.Store.DueDeliveries(ctx, l.sender.Name(), l.o.Now(), batch+len(l.busy))
	if err != nil {
		return err
	}
	var ids []string
	for i := range due {
		if !l.busy[due[i].Seq] {
			ids = append(ids, due[i].EventID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	events, err := l.o.Store.EventsByID(ctx, ids)
	if err != nil {
		return err
	}
	for _, d := range due {
		if l.busy[d.Seq] {
			continue
		}
		body, err := bodyOf(d.EventID, events)
		if err != nil {
			l.busy[d.Seq] = true
			l.done = append(l.done, attempt{parcel: parcel{d, nil}, response: Response{Err: err}, lost: true})
			continue
		}
		l.queue = append(l.queue, parcel{d, body})
	}
	return nil
}

var errNoEvent = errors.New("the audit log does not have the event")

func bodyOf(id string, events map[string]identity.Event) ([]byte, error) {
	e, ok := events[id]
	if !ok {
		return nil, errNoEvent
	}
	return Body(id, &e)
}

// settle writes down what was sent. What cannot be written down now is later; where that does not come to pass, it is sent
// again. An error is that the lease is lost.
func (l *line) settle(ctx, sending context.Context) error {
	for {
		select {
		case a := <-l.results:
			l.done = append(l.done, a)
			continue
		default:
		}
		break
	}
	if len(l.done) == 0 {
		return nil
	}
	now := l.o.Now()
	gone := false
	settled := make([]store.WebhookDelivery, 0, len(l.done))
	outcomes := make([]string, 0, len(l.done))
	for i := range l.done {
		d, outcome, isGone := l.settled(&l.done[i], now)
		gone = gone || isGone
		settled, outcomes = append(settled, d), append(outcomes, outcome)
	}
	// Not ctx: what was sent while everything ends is to be known.
	err := l.o.Store.SettleDeliveries(sending, l.lease, l.sender.Name(), settled, now)
	if err == nil && gone {
		err = l.disable(sending, now)
	}
	switch {
	case errors.Is(err, store.ErrLeaseLost):
		return err
	case err != nil && ctx.Err() != nil:
		l.o.Logger.WarnContext(ctx, "settle webhook deliveries: they will be sent again", "endpoint", l.sender.Name(), "deliveries", len(l.done), "error", err)
	case err != nil:
		l.o.Logger.WarnContext(ctx, "settle webhook deliveries", "endpoint", l.sender.Name(), "error", err)
		return nil
	}
	for i := range l.done {
		a := &l.done[i]
		if !a.lost && l.breaker.observe(now, &a.response) {
			l.o.Logger.WarnContext(ctx, "webhook endpoint does not work", "endpoint", l.sender.Name(), "error", a.response.Text())
		}
		l.o.Metrics.observe(l.sender.Name(), outcomes[i], a.response.Took)
		if outcomes[i] == OutcomeGivenUp {
			l.o.Logger.ErrorContext(ctx, "webhook delivery given up", "endpoint", l.sender.Name(), "event_id", a.EventID, "attempts", a.Attempts+1, "error", a.response.Text())
		}
		delete(l.busy, a.Seq)
	}
	l.done = l.done[:0]
	return nil
}

// settled returns a delivery as it is after an attempt.
func (l *line) settled(a *attempt, now time.Time) (d store.WebhookDelivery, outcome string, gone bool) {
	d = a.WebhookDelivery
	d.Attempts++
	d.Status, d.Error = a.response.Status, ""
	v := judge(&a.response, d.Attempts, now.Sub(d.Created), l.o.Delays, rand.Float64())
	if a.lost {
		v = verdict{giveUp: true}
	}
	switch {
	case v.delivered:
		d.State, d.Finished = store.DeliveryDelivered, now
		return d, OutcomeDelivered, false
	case v.giveUp:
		d.State, d.Finished, d.Error = store.DeliveryFailed, now, a.response.Text()
		return d, OutcomeGivenUp, v.gone
	}
	d.Next, d.Error = now.Add(v.wait), a.response.Text()
	return d, OutcomeRetried, false
}

// disable stops an endpoint that wants no more events, and leaves a word of it.
func (l *line) disable(ctx context.Context, now time.Time) error {
	const reason = "the receiver answered 410 Gone"
	var was bool
	err := l.o.Store.InTx(ctx, func(tx *store.Tx) error {
		var err error
		if err = tx.Fence(ctx, l.lease); err != nil {
			return err
		}
		if was, err = tx.DisableWebhook(ctx, l.sender.Name(), reason, now); err != nil || !was {
			return err
		}
		return tx.Record(ctx, []identity.Event{{
			At: now, Type: identity.EventWebhookDisabled, Actor: identity.Actor{Kind: "system"},
			Object: objectWebhook, ObjectID: l.sender.Name(), Name: l.sender.Name(), Reason: reason,
		}})
	})
	if err == nil && was {
		l.queue = nil
		l.o.Logger.ErrorContext(ctx, "webhook endpoint disabled", "endpoint", l.sender.Name(), "reason", reason, "remedy", "idpsync webhooks enable NAME")
	}
	return err
}
