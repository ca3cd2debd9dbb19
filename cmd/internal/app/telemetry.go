package app

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/idpsync/idpsync/cmd/internal/telemetry"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/store"
)

// traces builds what makes spans and sends them where the configuration says.
func (a *App) traces() (*telemetry.Traces, error) {
	c := &a.Config.Telemetry.Traces
	headers := map[string]string{}
	for name, value := range c.Headers {
		headers[name] = value.Reveal()
	}
	return telemetry.NewTraces(telemetry.TraceOptions{
		Endpoint: c.Endpoint, Headers: headers, Ratio: c.SampleRatio, CAFile: c.CAFile, Version: Program().Version,
		Logger: a.Logger, Metrics: a.Registry,
	})
}

// tracer returns the tracer of a part, or nil where nothing is traced.
func (a *App) tracer(part string) trace.Tracer {
	if !a.Traces.Enabled() {
		return nil
	}
	return a.Traces.Tracer(part)
}

// requestLevel returns the level at which requests are logged.
func (a *App) requestLevel() slog.Level {
	switch a.Config.Log.Requests {
	case configs.RequestsDebug:
		return slog.LevelDebug
	case configs.RequestsOff:
		return slog.LevelDebug - 100
	}
	return slog.LevelInfo
}

// told serves a part of the program: what it records is counted as come by this way, "" for none, and the route that it
// takes is noted for the log and for traces.
func told(origin string, part http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin != "" {
			r = r.WithContext(store.WithOrigin(r.Context(), origin))
		}
		defer func() {
			of := telemetry.RequestOf(r.Context())
			if of.Route() == "" {
				of.SetRoute(routeOf(r.Pattern))
			}
		}()
		part.ServeHTTP(w, r)
	})
}

// routeOf returns the path of a ServeMux's pattern, or "" for one that takes everything else.
func routeOf(pattern string) string {
	_, path, found := strings.Cut(pattern, " ")
	if !found {
		path = pattern
	}
	if path == "/" {
		return ""
	}
	return strings.TrimSuffix(path, "{$}")
}

// scimRequestID returns the id of a SCIM request: the one that the client chose, which the log has to know then, or the
// one that the request has.
func scimRequestID(ctx context.Context, wanted string) string {
	of := telemetry.RequestOf(ctx)
	if wanted == "" {
		return of.ID()
	}
	of.SetID(wanted)
	return wanted
}

// scimServed notes which SCIM request it was, and whose.
func scimServed(ctx context.Context, route, keyID string) {
	of := telemetry.RequestOf(ctx)
	of.SetRoute(route)
	if keyID != "" {
		of.SetCaller("key", keyID)
	}
}
