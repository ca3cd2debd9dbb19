package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Options are what a Server is made of. Listen, Handler and Logger are required.
type Options struct {
	Listen     string // host:port; port 0 takes a free one
	CertFile   string // PEM, with the chain; "" serves plain HTTP
	KeyFile    string // PEM
	TrustProxy bool   // a proxy in front ends TLS: plain HTTP is allowed anywhere, and X-Forwarded-For and X-Request-Id are believed
	Handler    http.Handler
	Ready      func(context.Context) error // nil: always ready
	Logger     *slog.Logger
	Grace      time.Duration // how long requests may take to finish at the end; 0 is 20 s
	Limits     Limits
	Tracer     trace.Tracer // nil traces nothing

	// RequestLevel is the level of the line that is logged for each request: an error is one, and a probe debug at most.
	RequestLevel slog.Level
}

// Limits are what clients cannot go beyond, whatever they send or leave out. Where one is 0, the default holds.
type Limits struct {
	ReadHeader time.Duration // for the header of a request; 10 s
	Read       time.Duration // for a whole request; a minute
	Write      time.Duration // from the end of the header to the end of the answer; two minutes
	Idle       time.Duration // between requests on a connection; two minutes
	Conns      int           // connections at once; 10,000, or half of the files that may be open where those are fewer
}

const (
	maxHeaderBytes = 64 << 10
	maxConns       = 10_000
	readyTimeout   = 5 * time.Second
	defaultGrace   = 20 * time.Second
)

func (l *Limits) setDefaults() {
	// A bulk request of a thousand operations on a busy database takes its minute.
	for limit, unstated := range map[*time.Duration]time.Duration{
		&l.ReadHeader: 10 * time.Second, &l.Read: time.Minute, &l.Write: 2 * time.Minute, &l.Idle: 2 * time.Minute,
	} {
		if *limit == 0 {
			*limit = unstated
		}
	}
	if l.Conns == 0 {
		// The other half is for the database, for what the program itself asks of others, and for its files.
		l.Conns = max(1, min(maxConns, openFiles()/2))
	}
}

// Server is a listening HTTP server. Run it once, or Close it.
type Server struct {
	o        Options
	listener net.Listener
	reloader *reloader // nil without TLS
	conns    *conns
	stopping atomic.Bool
}

// New checks the options, reads the certificate and listens, so that what is wrong with them shows before anything
// else starts.
func New(o Options) (*Server, error) {
	if o.Handler == nil || o.Logger == nil {
		return nil, errors.New("httpserver: Handler and Logger are required")
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	o.Limits.setDefaults()
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("a certificate needs its key, and a key its certificate")
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", o.Listen, err)
	}
	if o.CertFile == "" && !o.TrustProxy && !isLoopback(host) {
		return nil, fmt.Errorf("listen on %s: plain HTTP is for loopback, or for behind a proxy that ends TLS", o.Listen)
	}
	var config *tls.Config
	var certificate *reloader
	if o.CertFile != "" {
		certificate, err = newReloader(o.CertFile, o.KeyFile, o.Logger)
		if err != nil {
			return nil, err
		}
		config = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: certificate.get,
			NextProtos:     []string{"h2", "http/1.1"},
		}
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	return &Server{o: o, listener: listener, reloader: certificate, conns: newConns(o.Limits.Conns, o.Logger)}, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL returns the server's own address for a client on this machine.
func (s *Server) URL() string {
	scheme := "http"
	if s.o.CertFile != "" {
		scheme = "https"
	}
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	if ok && addr.IP.IsUnspecified() {
		return fmt.Sprintf("%s://localhost:%d", scheme, addr.Port)
	}
	return scheme + "://" + s.listener.Addr().String()
}

// CertificateExpiry returns when the certificate that is served ends; zero without TLS.
func (s *Server) CertificateExpiry() time.Time {
	if s.reloader == nil {
		return time.Time{}
	}
	certificate, err := s.reloader.get(nil)
	if err != nil || certificate.Leaf == nil {
		return time.Time{}
	}
	return certificate.Leaf.NotAfter
}

// Close stops listening. It is for a server that is not Run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends, then takes no more requests, lets those under way finish for as long as Grace, and
// returns nil. A request's context lives on until then.
func (s *Server) Run(ctx context.Context) error {
	requests, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	server := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: s.o.Limits.ReadHeader,
		ReadTimeout:       s.o.Limits.Read,
		WriteTimeout:      s.o.Limits.Write,
		IdleTimeout:       s.o.Limits.Idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       s.conns.add,
		ConnState:         s.conns.state,
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug), // scanners and broken clients
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	s.o.Logger.InfoContext(ctx, "listening", "url", s.URL(), "max_connections", s.o.Limits.Conns)
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.o.Listen, err)
	case <-ctx.Done():
	}
	s.stopping.Store(true) // connections kept alive see it in /readyz until theirs is closed
	began := time.Now()
	deadline, stop := context.WithTimeout(context.WithoutCancel(ctx), s.o.Grace)
	defer stop()
	if err := server.Shutdown(deadline); err != nil {
		s.o.Logger.WarnContext(ctx, "requests cut off", "grace", s.o.Grace.String())
		cancel(errStopping)
		_ = server.Close() // what it reports was cut off on purpose
	}
	<-served
	s.o.Logger.InfoContext(ctx, "stopped listening", "duration_ms", time.Since(began).Milliseconds())
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
