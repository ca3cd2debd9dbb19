package httpserver

import (
	"context"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/idpsync/idpsync/cmd/internal/telemetry"
)

// methods are those that a span is named by; others are as many as clients like.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// trace starts the span of a request, in the trace that the client says it belongs to (W3C Trace Context). Probes have
// none. Without a tracer the span is nil.
func (s *Server) trace(r *http.Request) (context.Context, trace.Span) {
	if s.o.Tracer == nil || isProbe(r.URL.Path) {
		return r.Context(), nil
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	return s.o.Tracer.Start(ctx, spanMethod(r), trace.WithSpanKind(trace.SpanKindServer))
}

// endTrace ends the span of a request. It is named by the route: a path has ids in it, and maybe names.
func endTrace(span trace.Span, r *http.Request, status int) {
	if span == nil {
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	of := telemetry.RequestOf(r.Context())
	span.SetAttributes(attribute.String("http.request.method", spanMethod(r)), attribute.Int("http.response.status_code", status))
	if id := of.OwnID(); id != "" {
		span.SetAttributes(attribute.String("idpsync.request_id", id))
	}
	if route := of.Route(); route != "" {
		span.SetName(spanMethod(r) + " " + route)
		span.SetAttributes(attribute.String("http.route", route))
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}

func spanMethod(r *http.Request) string {
	if slices.Contains(methods, r.Method) {
		return r.Method
	}
	return "_OTHER"
}
