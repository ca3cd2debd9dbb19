package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	exportTimeout = 10 * time.Second // for a batch, tries included
	exportTries   = 3
	exportBackoff = 500 * time.Millisecond // after the first try; doubles
	tellEvery     = time.Minute            // how often the log says that traces are lost
)

// exporter sends spans by OTLP over HTTP, in protobuf's form. The one of OpenTelemetry brings gRPC along, whose code would
// be a third of the program.
type exporter struct {
	endpoint string
	headers  map[string]string
	client   *http.Client
	logger   *slog.Logger
	spans    *prometheus.CounterVec

	mu   sync.Mutex
	told time.Time
}

var _ sdktrace.SpanExporter = (*exporter)(nil)

func newExporter(at *url.URL, headers map[string]string, config *tls.Config, spans *prometheus.CounterVec, logger *slog.Logger) *exporter {
	return &exporter{
		endpoint: at.String(), headers: headers, spans: spans, logger: logger,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
				TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2,
			},
			// A redirection would take the headers elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// ExportSpans sends spans, again where that may help. What cannot be sent is lost, counted and told of; it is no error to
// the program, whose work does not depend on it.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	err := e.export(ctx, spans)
	outcome := "exported"
	if err != nil {
		outcome = "failed"
		e.tell(ctx, err)
	}
	e.spans.WithLabelValues(outcome).Add(float64(len(spans)))
	return nil
}

func (e *exporter) tell(ctx context.Context, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); e.told.IsZero() || now.Sub(e.told) >= tellEvery {
		e.told = now
		e.logger.WarnContext(ctx, "traces are lost", "error", err)
	}
}

func (e *exporter) export(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	body, err := encode(spans)
	if err != nil {
		return err
	}
	for try, wait := 1, exportBackoff; ; try, wait = try+1, 2*wait {
		again, err := e.send(ctx, body)
		if err == nil || !again || try == exportTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// send tells whether it may help to send again (OpenTelemetry protocol specification, "OTLP/HTTP Response").
func (e *exporter) send(ctx context.Context, body []byte) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.endpoint, bytes.NewReader(body))
	if err != nil {
		return false, plain(err)
	}
	for name, value := range e.headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("User-Agent", "idpsync")
	answer, err := e.client.Do(r)
	if err != nil {
		return ctx.Err() == nil, plain(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	switch answer.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("the collector answered %d", answer.StatusCode)
}

// plain leaves out the address, whose query may be a secret.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// Shutdown closes connections.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// encode makes a request of spans. A TracesData message is one, field by field.
func encode(spans []sdktrace.ReadOnlySpan) ([]byte, error) {
	scopes := map[string]*tracepb.ScopeSpans{}
	of := &tracepb.ResourceSpans{Resource: &resourcepb.Resource{Attributes: attributes(spans[0].Resource().Attributes())}}
	for _, s := range spans {
		name := s.InstrumentationScope().Name
		scope := scopes[name]
		if scope == nil {
			scope = &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: name}}
			scopes[name] = scope
			of.ScopeSpans = append(of.ScopeSpans, scope)
		}
		scope.Spans = append(scope.Spans, span(s))
	}
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{of}})
	if err != nil {
		return nil, fmt.Errorf("encode spans: %w", err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("pack spans: %w", err)
	}
	return packed.Bytes(), nil
}

func span(s sdktrace.ReadOnlySpan) *tracepb.Span {
	id, traceID := s.SpanContext().SpanID(), s.SpanContext().TraceID()
	out := &tracepb.Span{
		TraceId: traceID[:], SpanId: id[:], TraceState: s.SpanContext().TraceState().String(), Name: s.Name(),
		Kind: tracepb.Span_SpanKind(s.SpanKind()), StartTimeUnixNano: nanos(s.StartTime()), EndTimeUnixNano: nanos(s.EndTime()),
		Attributes: attributes(s.Attributes()), Flags: uint32(s.SpanContext().TraceFlags()),
		DroppedAttributesCount: uint32(s.DroppedAttributes()), DroppedEventsCount: uint32(s.DroppedEvents()),
	}
	if parent := s.Parent(); parent.SpanID().IsValid() {
		parentID := parent.SpanID()
		out.ParentSpanId = parentID[:]
	}
	for _, e := range s.Events() {
		out.Events = append(out.Events, &tracepb.Span_Event{TimeUnixNano: nanos(e.Time), Name: e.Name, Attributes: attributes(e.Attributes)})
	}
	if s.Status().Code == codes.Error {
		out.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: s.Status().Description}
	}
	return out
}

// The kinds of span have the same numbers in both.
var _ = [1]struct{}{}[int(trace.SpanKindConsumer)-int(tracepb.Span_SPAN_KIND_CONSUMER)]

func nanos(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

func attributes(all []attribute.KeyValue) []*commonpb.KeyValue {
	out := make([]*commonpb.KeyValue, len(all))
	for i, a := range all {
		v := &commonpb.AnyValue{}
		switch a.Value.Type() {
		case attribute.BOOL:
			v.Value = &commonpb.AnyValue_BoolValue{BoolValue: a.Value.AsBool()}
		case attribute.INT64:
			v.Value = &commonpb.AnyValue_IntValue{IntValue: a.Value.AsInt64()}
		case attribute.FLOAT64:
			v.Value = &commonpb.AnyValue_DoubleValue{DoubleValue: a.Value.AsFloat64()}
		default:
			v.Value = &commonpb.AnyValue_StringValue{StringValue: a.Value.String()}
		}
		out[i] = &commonpb.KeyValue{Key: string(a.Key), Value: v}
	}
	return out
}
