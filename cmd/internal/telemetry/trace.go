package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// flushTimeout bounds how long the end of a process waits for its last spans to be taken.
const flushTimeout = 5 * time.Second

// TraceOptions say where traces go. The zero value is nowhere.
type TraceOptions struct {
	Endpoint string            // of OTLP over HTTP; /v1/traces is added where it has no path; "" traces nothing
	Headers  map[string]string // sent with each request
	Ratio    float64           // part of the traces that begin here that is kept, 0 to 1
	CAFile   string            // PEM, trusted besides the system's authorities
	Version  string            // of the program

	Logger  *slog.Logger          // required where there is an endpoint
	Metrics prometheus.Registerer // nil counts for nobody
	Batch   time.Duration         // how long spans wait for company; 0 is 5 s
}

// Traces make the program's spans and send them away.
type Traces struct {
	provider trace.TracerProvider
	shutdown func(context.Context) error
}

// NewTraces returns what makes spans: nothing but empty ones where there is no endpoint.
func NewTraces(o TraceOptions) (*Traces, error) {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "idpsync_trace_spans_total", Help: "Spans that ended, and of those the exported and the failed ones; the rest waits, or was dropped because too many waited.",
	}, []string{"outcome"})
	if o.Metrics != nil {
		if err := o.Metrics.Register(spans); err != nil {
			return nil, err
		}
	}
	if o.Endpoint == "" {
		return &Traces{provider: noop.NewTracerProvider(), shutdown: func(context.Context) error { return nil }}, nil
	}
	at, err := url.Parse(o.Endpoint)
	if err != nil || at.Host == "" {
		return nil, errors.New("telemetry.traces.endpoint: this is no web address; write https://HOST:4318")
	}
	if strings.Trim(at.Path, "/") == "" {
		at.Path = "/v1/traces"
	}
	roots, err := loadRoots(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("telemetry.traces.ca_file: %w", err)
	}
	e := newExporter(at, o.Headers, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, spans, o.Logger)
	batch := []sdktrace.BatchSpanProcessorOption{sdktrace.WithExportTimeout(exportTimeout), sdktrace.WithMaxQueueSize(8192)}
	if o.Batch > 0 {
		batch = append(batch, sdktrace.WithBatchTimeout(o.Batch))
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "idpsync"), attribute.String("service.version", o.Version), attribute.String("service.instance.id", uuid.NewString()))),
		sdktrace.WithSpanProcessor(ended{spans.WithLabelValues("ended")}),
		sdktrace.WithBatcher(e, batch...),
	)
	return &Traces{provider: provider, shutdown: provider.Shutdown}, nil
}

// Tracer returns what makes the spans of a part of the program.
func (t *Traces) Tracer(part string) trace.Tracer { return t.provider.Tracer("idpsync/" + part) }

// Enabled tells whether spans go anywhere.
func (t *Traces) Enabled() bool {
	_, off := t.provider.(noop.TracerProvider)
	return !off
}

// Close sends what waits, for as long as flushTimeout at most.
func (t *Traces) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// ended counts spans as they end.
type ended struct{ prometheus.Counter }

func (ended) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (e ended) OnEnd(sdktrace.ReadOnlySpan)                   { e.Inc() }
func (ended) Shutdown(context.Context) error                  { return nil }
func (ended) ForceFlush(context.Context) error                { return nil }

// loadRoots returns the system's authorities and those of a file, or nil where no file is named.
func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return roots, nil
}
