package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/store"
)

// Defaults of Options.
const (
	DefaultConcurrency = 8
	DefaultPoll        = time.Second
	DefaultLease       = 30 * time.Second
	DefaultGrace       = 5 * time.Second
)

// leaseName is the lease of who delivers.
const leaseName = "webhooks"

// batch bounds the events that are dispatched, or read for an endpoint, at a time.
const batch = 100

// Options are what a Deliverer is made of. What has a default may be zero.
type Options struct {
	Store       *store.Store // required
	Endpoints   []Endpoint
	Logger      *slog.Logger // required
	Metrics     *Metrics     // required
	Now         func() time.Time
	Concurrency int             // messages to one endpoint at a time
	Poll        time.Duration   // how often the outbox is looked into
	Lease       time.Duration   // how long others wait for a process that died
	Grace       time.Duration   // how long what is being sent may go on after the end
	Delays      []time.Duration // pauses after attempts that failed; default as docs/webhooks.md tells
	Tracer      trace.Tracer    // default: nothing is traced
}

// Deliverer delivers events. Each replica runs one; of these one is at work, and another takes over within Options.Lease
// when it dies.
type Deliverer struct {
	o       Options
	holder  string
	senders []*Sender
}

// New returns a Deliverer. What is wrong with an endpoint comes as an error that names it.
func New(o Options) (*Deliverer, error) {
	if o.Store == nil || o.Logger == nil || o.Metrics == nil {
		return nil, errors.New("webhook: Store, Logger and Metrics are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if len(o.Delays) == 0 {
		o.Delays = delays
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}
	d := &Deliverer{o: o, holder: uuid.NewString()}
	for i, endpoint := range o.Endpoints {
		sender, err := NewSender(endpoint, o.Now)
		if err != nil {
			return nil, fmt.Errorf("webhooks[%d]: %w", i, err)
		}
		if slices.Contains(d.names(), sender.Name()) {
			return nil, fmt.Errorf("webhooks[%d]: another endpoint is called %s too; give one a name", i, sender.Name())
		}
		d.senders = append(d.senders, sender)
		o.Metrics.expect(sender.Name())
	}
	return d, nil
}

func (d *Deliverer) names() []string {
	names := make([]string, len(d.senders))
	for i, s := range d.senders {
		names[i] = s.Name()
	}
	return names
}

// match returns the names of the endpoints that want a type of event.
func (d *Deliverer) match(eventType string) []string {
	var names []string
	for _, s := range d.senders {
		if s.endpoint.wants(eventType) {
			names = append(names, s.Name())
		}
	}
	return names
}

// Run delivers events until ctx ends; what is being sent then may go on for Options.Grace. Without endpoints it forgets those
// that were there before, and returns.
func (d *Deliverer) Run(ctx context.Context) error {
	defer func() {
		for _, s := range d.senders {
			s.Close()
		}
	}()
	if len(d.senders) == 0 {
		known, err := d.o.Store.WebhookEndpoints(ctx)
		if err == nil && len(known) == 0 {
			return nil
		}
	}
	for ctx.Err() == nil {
		taken := time.Now()
		lease, err := d.o.Store.AcquireLease(ctx, leaseName, d.holder, d.o.Lease)
		if err == nil {
			t := &turn{Deliverer: d, lease: lease}
			t.valid.Store(taken.Add(d.o.Lease).UnixNano())
			err = t.run(ctx)
			if len(d.senders) == 0 && err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, store.ErrBusy) && ctx.Err() == nil {
			d.o.Logger.WarnContext(ctx, "deliver webhooks", "error", err)
		}
		pause(ctx, max(d.o.Lease/6, d.o.Poll))
	}
	return nil
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// turn is the time for which a Deliverer holds the lease.
type turn struct {
	*Deliverer
	lease store.Lease
	valid atomic.Int64 // until when the lease is held for sure, in Unix nanoseconds
}

// run delivers until ctx ends or the lease is lost.
func (t *turn) run(ctx context.Context) error {
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.o.Grace)
		defer cancel()
		if err := t.o.Store.ReleaseLease(ending, t.lease); err != nil {
			t.o.Logger.WarnContext(ctx, "let others deliver webhooks", "error", err)
		}
	}()
	added, removed, err := t.o.Store.RegisterWebhooks(ctx, t.lease, t.names(), t.o.Now(), t.match)
	if err != nil {
		return err
	}
	for _, name := range added {
		t.o.Logger.InfoContext(ctx, "webhook endpoint added", "endpoint", name)
	}
	for _, name := range removed {
		t.o.Logger.InfoContext(ctx, "webhook endpoint removed", "endpoint", name)
	}
	if len(t.senders) == 0 {
		return nil
	}
	// Whoever lost the lease breaks off: the event is sent by another. Whoever ends lets what is being sent arrive.
	sending, breakOff := context.WithCancelCause(context.WithoutCancel(ctx))
	defer breakOff(nil)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(t.o.Grace, func() { breakOff(context.Canceled) }) })
	defer stop()
	group, working := errgroup.WithContext(ctx)
	wakes := make([]chan struct{}, len(t.senders))
	for i, s := range t.senders {
		wakes[i] = make(chan struct{}, 1)
		l := &line{turn: t, sender: s, wake: wakes[i], results: make(chan attempt, t.o.Concurrency), busy: map[int64]bool{}}
		group.Go(func() error { return l.run(working, sending) })
	}
	group.Go(func() error {
		err := t.renew(working)
		if err != nil {
			breakOff(err)
		}
		return err
	})
	group.Go(func() error { return t.dispatch(working, wakes) })
	return group.Wait()
}

// renew keeps the lease; an error is that it is lost.
func (t *turn) renew(ctx context.Context) error {
	for {
		if pause(ctx, t.o.Lease/3); ctx.Err() != nil {
			return nil
		}
		asked := time.Now()
		err := t.o.Store.RenewLease(ctx, t.lease, t.o.Lease)
		switch {
		case err == nil:
			t.valid.Store(asked.Add(t.o.Lease).UnixNano())
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrLeaseLost) || !t.held():
			return err
		}
	}
}

// held tells whether nobody else can have the lease. A process that was stopped for a while finds out by it.
func (t *turn) held() bool { return time.Now().UnixNano() < t.valid.Load() }

// dispatch gives events to endpoints, and wakes these.
func (t *turn) dispatch(ctx context.Context, wakes []chan struct{}) error {
	for {
		n, err := t.dispatchBatch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrLeaseLost):
			return err
		case err != nil:
			t.o.Logger.WarnContext(ctx, "dispatch webhooks", "error", err)
		}
		if n == 0 {
			pause(ctx, t.o.Poll)
			continue
		}
		for _, wake := range wakes {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	}
}

func (t *turn) dispatchBatch(ctx context.Context) (int, error) {
	if waits, err := t.o.Store.OutboxWaits(ctx); err != nil || !waits {
		return 0, err
	}
	return t.o.Store.DispatchWebhooks(ctx, t.lease, 10*batch, t.o.Now(), t.match)
}
