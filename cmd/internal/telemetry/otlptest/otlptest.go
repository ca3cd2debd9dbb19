// Package otlptest is a collector of traces for tests: it speaks OTLP over HTTP, with TLS, and keeps what it is told.
package otlptest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector takes spans at /v1/traces. It is safe for concurrent use.
type Collector struct {
	server *httptest.Server
	mu     sync.Mutex
	spans  []Span
	raw    bytes.Buffer
	header http.Header
	status int
	wait   chan struct{}
	asked  int
}

// Span is a span that was sent.
type Span struct {
	TraceID, ID, Parent string // in hexadecimal; Parent is "" for a root
	Name                string
	Server, Failed      bool
	Attributes          map[string]string
	Events              []string
	Resource            map[string]string
}

// Start starts a collector. Close it when done.
func Start() *Collector {
	c := &Collector{status: http.StatusOK}
	c.server = httptest.NewTLSServer(c)
	return c
}

// URL returns the collector's address.
func (c *Collector) URL() string { return c.server.URL }

// WriteCA writes the authority that vouches for the collector to a file.
func (c *Collector) WriteCA(path string) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.Certificate().Raw}), 0o600)
}

// Close stops the collector.
func (c *Collector) Close() { c.server.Close() }

// Answer has requests answered with a status from now on; spans are kept with 200 alone.
func (c *Collector) Answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// Hang has requests wait until the channel is closed.
func (c *Collector) Hang(until chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wait = until
}

// Asked returns the number of requests.
func (c *Collector) Asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// Header returns the header of the last request.
func (c *Collector) Header() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header
}

// Spans returns what was taken so far, in its order.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span{}, c.spans...)
}

// Raw returns all that was sent, byte by byte, after compression was taken off.
func (c *Collector) Raw() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.raw.Bytes())
}

// ServeHTTP takes a request.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == elsewhere {
		return // 200, to whoever follows there
	}
	c.mu.Lock()
	c.asked++
	wait, status := c.wait, c.status
	c.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-r.Context().Done():
			return
		}
	}
	body, spans, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header
	if status == http.StatusOK {
		c.raw.Write(body)
		c.spans = append(c.spans, spans...)
	}
	if status >= 300 && status < 400 {
		w.Header().Set("Location", elsewhere)
	}
	w.WriteHeader(status)
}

// elsewhere is where redirections lead.
const elsewhere = "/elsewhere"

func read(r *http.Request) ([]byte, []Span, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, nil, fmt.Errorf("this is not how spans are sent: %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	packed, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(packed)
	if err != nil {
		return nil, nil, err
	}
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		return nil, nil, err
	}
	var spans []Span
	for _, of := range data.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				span := Span{
					TraceID: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId), Name: s.Name,
					Server: s.Kind == tracepb.Span_SPAN_KIND_SERVER, Failed: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR,
					Attributes: texts(s.Attributes), Resource: texts(of.Resource.GetAttributes()),
				}
				for _, e := range s.Events {
					span.Events = append(span.Events, e.Name)
				}
				spans = append(spans, span)
			}
		}
	}
	return body, spans, nil
}

func texts(attributes []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range attributes {
		switch v := a.Value.GetValue().(type) {
		case *commonpb.AnyValue_IntValue:
			out[a.Key] = strconv.FormatInt(v.IntValue, 10)
		case *commonpb.AnyValue_BoolValue:
			out[a.Key] = strconv.FormatBool(v.BoolValue)
		default:
			out[a.Key] = a.Value.GetStringValue()
		}
	}
	return out
}
