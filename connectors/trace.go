package connectors

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// begin starts the span of a request, in the trace that ctx belongs to; without one it is nobody's. It is named by the
// call's endpoint: addresses have people's ids in them, and their queries names.
func begin(ctx context.Context, call *Call) (context.Context, trace.Span) {
	ctx, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("idpsync/connectors").Start(ctx, call.Endpoint, trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		method, template, _ := strings.Cut(call.Endpoint, " ")
		span.SetAttributes(attribute.String("http.request.method", method), attribute.String("url.template", template))
	}
	return ctx, span
}

// end closes the span of a request. Of an error its status is told and not its text, which quotes the provider.
func end(span trace.Span, err error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	if status := statusOf(err); status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
}

// statusOf returns the status that a request was answered, 0 for none.
func statusOf(err error) int {
	var refused *ResponseError
	var limited *RateLimitError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &limited):
		return http.StatusTooManyRequests
	case errors.As(err, &refused):
		return refused.Status
	}
	return 0
}

// waits notes in a span that a request is tried again after a pause.
func waits(span trace.Span, v verdict, wait time.Duration) {
	if span.IsRecording() {
		span.AddEvent("tried again", trace.WithAttributes(
			attribute.Int("http.response.status_code", statusOf(v.err)), attribute.Int64("wait_ms", wait.Milliseconds())))
	}
}
