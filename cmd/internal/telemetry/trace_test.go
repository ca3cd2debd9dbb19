package telemetry_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/idpsync/idpsync/cmd/internal/telemetry"
	"github.com/idpsync/idpsync/cmd/internal/telemetry/otlptest"
)

// tracing is a collector, and what sends to it.
type tracing struct {
	*testing.T
	collector *otlptest.Collector
	traces    *telemetry.Traces
	log       *bytes.Buffer
	registry  *prometheus.Registry
}

func trace(t *testing.T) *tracing {
	t.Helper()
	c := otlptest.Start()
	t.Cleanup(c.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := c.WriteCA(ca); err != nil {
		t.Fatal(err)
	}
	tr := &tracing{T: t, collector: c, log: &bytes.Buffer{}, registry: prometheus.NewRegistry()}
	logger, err := telemetry.NewLogger(tr.log, "info", telemetry.JSON)
	if err != nil {
		t.Fatal(err)
	}
	tr.traces, err = telemetry.NewTraces(telemetry.TraceOptions{
		Endpoint: c.URL(), Headers: map[string]string{"Authorization": "Bearer secret"}, Ratio: 1, CAFile: ca, Version: "1.2.3",
		Logger: logger, Metrics: tr.registry, Batch: time.Hour, // nothing is sent before the end
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *tracing) span(name string) {
	ctx, outer := tr.traces.Tracer("test").Start(tr.Context(), name)
	_, inner := tr.traces.Tracer("test").Start(ctx, "inner")
	inner.SetAttributes(attribute.Int("n", 7), attribute.Bool("b", true), attribute.String("s", "text"))
	inner.AddEvent("tried again")
	inner.SetStatus(codes.Error, "")
	inner.End()
	outer.End()
}

func (tr *tracing) count(outcome string) float64 {
	tr.Helper()
	families, err := tr.registry.Gather()
	if err != nil {
		tr.Fatal(err)
	}
	for _, m := range families[0].Metric {
		if m.Label[0].GetValue() == outcome {
			return m.Counter.GetValue()
		}
	}
	return 0
}

func TestTracesArriveWhole(t *testing.T) {
	t.Parallel()
	tr := trace(t)
	tr.span("outer")
	if err := tr.traces.Close(); err != nil {
		t.Fatal(err)
	}
	spans := tr.collector.Spans()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2: %v\n%s", len(spans), spans, tr.log)
	}
	inner, outer := spans[0], spans[1]
	if outer.Name != "outer" || outer.Parent != "" || inner.Parent != outer.ID || inner.TraceID != outer.TraceID || !inner.Failed || outer.Failed {
		t.Errorf("spans = %+v", spans)
	}
	if a := inner.Attributes; a["n"] != "7" || a["b"] != "true" || a["s"] != "text" || len(inner.Events) != 1 {
		t.Errorf("inner = %+v", inner)
	}
	if r := inner.Resource; r["service.name"] != "idpsync" || r["service.version"] != "1.2.3" {
		t.Errorf("resource = %v", r)
	}
	if got := tr.collector.Header().Get("Authorization"); got != "Bearer secret" {
		t.Errorf("Authorization = %q", got)
	}
	if ended, exported := tr.count("ended"), tr.count("exported"); ended != 2 || exported != 2 {
		t.Errorf("ended %v, exported %v, want 2 each", ended, exported)
	}
}

// A collector that is down, or refuses, costs spans and nothing else; that is told once, and counted.
func TestTracesAreLostQuietly(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*otlptest.Collector){
		"down":    (*otlptest.Collector).Close,
		"refuses": func(c *otlptest.Collector) { c.Answer(http.StatusBadRequest) },
		"moved":   func(c *otlptest.Collector) { c.Answer(http.StatusTemporaryRedirect) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := trace(t)
			spoil(tr.collector)
			for range 3 {
				tr.span("outer")
			}
			if err := tr.traces.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			if n := strings.Count(tr.log.String(), "traces are lost"); n != 1 {
				t.Errorf("told %d times:\n%s", n, tr.log)
			}
			if strings.Contains(tr.log.String(), "secret") {
				t.Errorf("the log has a header: %s", tr.log)
			}
			if failed := tr.count("failed"); failed != 6 {
				t.Errorf("failed = %v, want 6", failed)
			}
		})
	}
}

// A collector that is busy is asked again.
func TestTracesAreSentAgain(t *testing.T) {
	t.Parallel()
	tr := trace(t)
	tr.collector.Answer(http.StatusServiceUnavailable)
	tr.span("outer")
	if err := tr.traces.Close(); err != nil {
		t.Fatal(err)
	}
	if n := tr.collector.Asked(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

// The end of a process waits for a collector that hangs, but not for long; and making spans never waits.
func TestTracesDoNotHoldUp(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits five seconds")
	}
	tr := trace(t)
	hang := make(chan struct{})
	tr.collector.Hang(hang)
	defer close(hang)
	began := time.Now()
	for range 20_000 { // more than wait
		tr.span("outer")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("making spans took %s", took)
	}
	began = time.Now()
	if err := tr.traces.Close(); err == nil {
		t.Error("Close tells nothing of what is lost")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Close took %s", took)
	}
}

func TestNewTracesRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []telemetry.TraceOptions{{Endpoint: "collector:4318"}, {Endpoint: "https://c.example", CAFile: "/no/such/file"}, {Endpoint: "https://c.example", CAFile: "trace_test.go"}} {
		if _, err := telemetry.NewTraces(o); err == nil {
			t.Errorf("NewTraces(%+v) gave no error", o)
		}
	}
	off, err := telemetry.NewTraces(telemetry.TraceOptions{})
	if err != nil || off.Enabled() || off.Close() != nil {
		t.Errorf("without an endpoint: %v, %v", off, err)
	}
}

// Lines tell what their context does, once.
func TestLinesTellTheirContext(t *testing.T) {
	t.Parallel()
	tr := trace(t)
	var b bytes.Buffer
	logger, err := telemetry.NewLogger(&b, "info", telemetry.JSON)
	if err != nil {
		t.Fatal(err)
	}
	ctx, request := telemetry.WithRequest(t.Context(), "r1")
	ctx, span := tr.traces.Tracer("test").Start(telemetry.WithRun(ctx, "run1"), "x")
	defer span.End()
	for _, step := range []struct {
		log  func()
		want map[string]string
	}{
		{func() { logger.Info("none") }, map[string]string{}},
		{func() { logger.InfoContext(ctx, "all") }, map[string]string{
			"request_id": "r1", "run_id": "run1", "trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String(),
		}},
		{func() { request.SetID("r2"); logger.With("a", 1).InfoContext(ctx, "changed") }, map[string]string{"request_id": "r2", "run_id": "run1"}},
		{func() { logger.InfoContext(ctx, "said", "request_id", "r3", "run_id", "run3") }, map[string]string{"request_id": "r3", "run_id": "run3"}},
	} {
		b.Reset()
		step.log()
		var line map[string]any
		if err := json.Unmarshal(b.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for key, want := range step.want {
			if line[key] != want {
				t.Errorf("%s: %s = %v, want %s", line["msg"], key, line[key], want)
			}
		}
		if len(step.want) == 0 && len(line) != 3 {
			t.Errorf("without a context: %v", line)
		}
		if n := strings.Count(b.String(), `"request_id"`); n > 1 {
			t.Errorf("the request's id is there %d times: %s", n, b.String())
		}
	}
}

func TestRegistryKnowsWhatThereIs(t *testing.T) {
	t.Parallel()
	r := telemetry.NewRegistry()
	r.MustRegister(
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x_total", Help: `With "quotes", and {braces}.`}, []string{"a", "b"}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "y", ConstLabels: prometheus.Labels{"c": "1"}}, func() float64 { return 1 }),
	)
	known := r.Known()
	if len(known) != 2 || strings.Join(known["x_total"], " ") != "a b" || strings.Join(known["y"], " ") != "c" {
		t.Errorf("Known() = %v", known)
	}
	if n, err := testutil.GatherAndCount(r); err != nil || n != 1 {
		t.Errorf("gathered %d, %v", n, err)
	}
}

// What is switched off costs next to nothing.
func BenchmarkSpanOff(b *testing.B) {
	off, err := telemetry.NewTraces(telemetry.TraceOptions{})
	if err != nil {
		b.Fatal(err)
	}
	tracer := off.Tracer("bench")
	for b.Loop() {
		_, span := tracer.Start(b.Context(), "x")
		span.End()
	}
}
