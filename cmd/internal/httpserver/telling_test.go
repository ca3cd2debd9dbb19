package httpserver_test

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
)

// The line of a request has the level that was asked for; an internal error is one at any.
func TestRequestLevels(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/people/7":
			httpserver.SetRoute(r.Context(), "/people/{id}")
			httpserver.SetCaller(r.Context(), "user", "u1")
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	for name, tc := range map[string]struct {
		level slog.Level
		want  string // of the line of a request, "" for none
	}{
		"info":  {slog.LevelInfo, "level=INFO"},
		"debug": {slog.LevelDebug, "level=DEBUG"},
		"off":   {slog.LevelDebug - 100, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, httpserver.Options{Handler: handler, RequestLevel: tc.level})
			r.get(t, "/people/7?q=ana")
			r.get(t, "/healthz")
			r.get(t, "/broken")
			r.awaitLog(t, "path=/broken")
			log := r.log.String()
			lines := 0
			for line := range strings.Lines(log) {
				if !strings.Contains(line, "msg=request ") {
					continue
				}
				lines++
				switch {
				case strings.Contains(line, "path=/broken"):
					if !strings.Contains(line, "level=ERROR") {
						t.Errorf("an internal error: %s", line)
					}
				case strings.Contains(line, "path=/healthz"):
					if !strings.Contains(line, "level=DEBUG") {
						t.Errorf("a probe: %s", line)
					}
				default:
					if !strings.Contains(line, tc.want) || !strings.Contains(line, `caller="user u1"`) || !strings.Contains(line, "route=/people/{id}") || strings.Contains(line, "ana") || strings.Contains(line, "people/7") {
						t.Errorf("a request: %s", line)
					}
				}
			}
			if want := map[bool]int{true: 3, false: 1}[tc.want != ""]; lines != want {
				t.Errorf("%d lines, want %d:\n%s", lines, want, log)
			}
		})
	}
}

func TestCertificateExpiry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, 1)
	r := start(t, httpserver.Options{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")})
	if left := time.Until(r.CertificateExpiry()); left < 50*time.Minute || left > 70*time.Minute {
		t.Errorf("the certificate lasts %s, want an hour", left)
	}
	if at := start(t, httpserver.Options{}).CertificateExpiry(); !at.IsZero() {
		t.Errorf("without TLS: %s", at)
	}
}

// A request that ends in a panic is traced as what it was answered; probes are not traced.
func TestRequestsAreTraced(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	r := start(t, httpserver.Options{
		Tracer: provider.Tracer("test"),
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			httpserver.SetRoute(r.Context(), "/people/{id}")
			panic("on purpose")
		}),
	})
	r.get(t, "/healthz")
	if res, _ := r.get(t, "/people/7"); res.StatusCode != http.StatusInternalServerError {
		t.Fatalf("status %d", res.StatusCode)
	}
	if err := r.stop(); err != nil { // a span ends after the answer
		t.Fatal(err)
	}
	all := spans.GetSpans()
	if len(all) != 1 {
		t.Fatalf("%d spans, want 1", len(all))
	}
	s := all[0]
	attributes := attribute.NewSet(s.Attributes...)
	status, _ := attributes.Value("http.response.status_code")
	if s.Name != "GET /people/{id}" || s.Status.Code != codes.Error || status.AsInt64() != 500 {
		t.Errorf("the span is %s, %v, %v", s.Name, s.Status, s.Attributes)
	}
}
