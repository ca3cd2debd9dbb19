package httpserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/telemetry"
)

// RequestID returns the id of the request that ctx belongs to, or "".
func RequestID(ctx context.Context) string { return telemetry.RequestOf(ctx).ID() }

// SetCaller notes for the log who makes the request that ctx belongs to: a kind, such as key or user, and an id.
func SetCaller(ctx context.Context, kind, id string) { telemetry.RequestOf(ctx).SetCaller(kind, id) }

// SetRoute notes for the log and for traces the pattern of the path that is served, such as /people/{id}.
func SetRoute(ctx context.Context, pattern string) { telemetry.RequestOf(ctx).SetRoute(pattern) }

type remoteKey struct{}

// Remote returns the address of the client whose request ctx belongs to, without a port, or "". Behind a proxy that is
// trusted it is what the proxy says.
func Remote(ctx context.Context) string {
	remote, _ := ctx.Value(remoteKey{}).(string)
	return remote
}

// handler puts the request's id, the log, the recovery and the probes around what is served.
func (s *Server) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		defer s.conns.work(r.Context())()
		id := s.requestID(r)
		ctx, span := s.trace(r)
		ctx, _ = telemetry.WithRequest(ctx, id)
		r = r.WithContext(context.WithValue(ctx, remoteKey{}, s.remote(r)))
		w.Header().Set("X-Request-Id", id)
		answer := &response{ResponseWriter: w}
		defer func() { endTrace(span, r, answer.statusOrOK()) }() // after what finish answers for who panicked
		defer func() { s.finish(answer, r, began, recover()) }()
		switch r.URL.Path {
		case "/healthz":
			s.probe(answer, r, nil)
		case "/readyz":
			s.probe(answer, r, s.ready)
		default:
			s.o.Handler.ServeHTTP(answer, r)
		}
	})
}

// finish answers for a handler that panicked, and logs the request.
func (s *Server) finish(w *response, r *http.Request, began time.Time, panicked any) {
	// A handler may have a better id: a trace id that the client gave.
	id := w.Header().Get("X-Request-Id")
	if panicked != nil && panicked != http.ErrAbortHandler {
		s.o.Logger.ErrorContext(r.Context(), "handler panicked", "panic", panicked, "stack", string(debug.Stack()), "request_id", id)
		if w.status == 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "internal error", "request_id": id}) // the client may be gone
			panicked = nil
		}
	}
	s.logRequest(w, r, began, id)
	if panicked != nil {
		panic(http.ErrAbortHandler) // the answer is half out: cut the connection, so that nobody takes it for whole
	}
}

// logRequest writes one line for a request. A known route takes the place of its path, whose ids may be people's; and of a
// query nothing is told: a filter has people's names in it.
func (s *Server) logRequest(w *response, r *http.Request, began time.Time, id string) {
	level := s.o.RequestLevel
	switch {
	case w.status == http.StatusInternalServerError: // 501 and 503 are answers, not accidents
		level = slog.LevelError
	case isProbe(r.URL.Path):
		level = min(level, slog.LevelDebug)
	}
	if !s.o.Logger.Enabled(r.Context(), level) {
		return
	}
	of := telemetry.RequestOf(r.Context())
	where := slog.String("route", of.Route())
	if of.Route() == "" {
		where = slog.String("path", r.URL.Path)
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), where, slog.Int("status", w.statusOrOK()), slog.Int64("bytes", w.bytes),
		slog.Float64("duration_ms", float64(time.Since(began).Microseconds())/1000), slog.String("remote", Remote(r.Context())),
	}
	if caller := of.Caller(); caller != "" {
		attrs = append(attrs, slog.String("caller", caller))
	}
	s.o.Logger.LogAttrs(r.Context(), level, "request", append(attrs, slog.String("request_id", id))...)
}

// isProbe tells whether machines ask for a path all the time.
func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" || path == "/metrics" }

// probe answers /healthz and /readyz. Why something is not ready is for the log: it may name hosts.
func (s *Server) probe(w http.ResponseWriter, r *http.Request, check func(context.Context) error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if check != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := check(ctx); err != nil {
			s.o.Logger.WarnContext(ctx, "not ready", "error", err)
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // the client may be gone
}

func (s *Server) ready(ctx context.Context) error {
	switch {
	case s.stopping.Load():
		return errStopping
	case s.o.Ready != nil:
		return s.o.Ready(ctx)
	}
	return nil
}

var errStopping = errors.New("the server stops")

// requestID takes the proxy's id where there is one to trust, else makes one.
func (s *Server) requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); s.o.TrustProxy && validID(id) {
		return id
	}
	return rand.Text()
}

func validID(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool {
		return (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("-._~:/+=@", c)
	})
}

// remote returns the client's address; behind a proxy the last one that X-Forwarded-For names, which is the proxy's
// own finding.
func (s *Server) remote(r *http.Request) string {
	if s.o.TrustProxy {
		list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if ip := net.ParseIP(strings.TrimSpace(list[len(list)-1])); ip != nil {
			return ip.String()
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// response notes what was answered.
type response struct {
	http.ResponseWriter
	status int // 0: nothing yet
	bytes  int64
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

func (w *response) statusOrOK() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
