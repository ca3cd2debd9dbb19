package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// Request is what is known of a request while it is served. It is safe for concurrent use; of a nil one nothing is known.
type Request struct {
	mu                sync.Mutex
	id, route, caller string
	chosen            bool // the id is the client's
}

type requestKey struct{}

// WithRequest returns a context of a request that has this id.
func WithRequest(ctx context.Context, id string) (context.Context, *Request) {
	r := &Request{id: id}
	return context.WithValue(ctx, requestKey{}, r), r
}

// RequestOf returns the request that ctx belongs to, or nil.
func RequestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

// ID returns the request's id, or "".
func (r *Request) ID() string { return r.get(func() string { return r.id }) }

// SetID gives the request another id: one that the client chose.
func (r *Request) SetID(id string) { r.set(func() { r.id, r.chosen = id, true }) }

// OwnID returns the request's id unless the client chose it, who may have put anything into it.
func (r *Request) OwnID() string {
	return r.get(func() string {
		if r.chosen {
			return ""
		}
		return r.id
	})
}

// Route returns the pattern of the path that is served, without the method, or "".
func (r *Request) Route() string { return r.get(func() string { return r.route }) }

// SetRoute notes the pattern of the path that is served, such as /api/v1/users/{id}.
func (r *Request) SetRoute(pattern string) { r.set(func() { r.route = pattern }) }

// Caller returns who makes the request, such as "key 1f0c" or "user 7d3a", or "".
func (r *Request) Caller() string { return r.get(func() string { return r.caller }) }

// SetCaller notes who makes the request: a kind and an id, never a name.
func (r *Request) SetCaller(kind, id string) { r.set(func() { r.caller = kind + " " + id }) }

func (r *Request) get(read func() string) string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return read()
}

func (r *Request) set(write func()) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	write()
}

type runKey struct{}

// WithRun returns a context of a run: lines that are logged with it tell the run's id.
func WithRun(ctx context.Context, runID string) context.Context {
	return context.WithValue(ctx, runKey{}, runID)
}

// contextHandler adds to each line what its context tells: request_id, run_id, trace_id and span_id.
type contextHandler struct{ slog.Handler }

func (h contextHandler) Handle(ctx context.Context, line slog.Record) error {
	var known []slog.Attr
	if id := RequestOf(ctx).ID(); id != "" {
		known = append(known, slog.String("request_id", id))
	}
	if id, ok := ctx.Value(runKey{}).(string); ok {
		known = append(known, slog.String("run_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		known = append(known, slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	line.Attrs(func(said slog.Attr) bool {
		known = slices.DeleteFunc(known, func(a slog.Attr) bool { return a.Key == said.Key })
		return len(known) > 0
	})
	if len(known) > 0 {
		line = line.Clone()
		line.AddAttrs(known...)
	}
	return h.Handler.Handle(ctx, line)
}

func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}
