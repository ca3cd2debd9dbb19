package httpserver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
)

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type running struct {
	*httpserver.Server
	log  *buffer
	stop func() error // ends it and returns what Run did
}

func start(t *testing.T, o httpserver.Options) *running {
	t.Helper()
	r := &running{log: &buffer{}}
	o.Logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Handler == nil {
		o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, httpserver.RequestID(r.Context()))
		})
	}
	var err error
	if r.Server, err = httpserver.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return r
}

func (r *running) get(t *testing.T, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// awaitLog waits for a line: it is written after the client has its answer.
func (r *running) awaitLog(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(r.log.String(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has no %q:\n%s", want, r.log)
		}
	}
}

func TestRequestsHaveAnID(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		proxy bool
		sent  string
		kept  bool
	}{
		"none":                      {true, "", false},
		"a client's":                {false, "abc-1", false},
		"a proxy's":                 {true, "abc-1", true},
		"a proxy's, unfit":          {true, "a b", false},
		"a proxy's, out of measure": {true, strings.Repeat("a", 129), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, httpserver.Options{TrustProxy: tc.proxy})
			res, seen := r.get(t, "/x", "X-Request-Id", tc.sent)
			if id := res.Header.Get("X-Request-Id"); id == "" || id != seen || (id == tc.sent) != tc.kept {
				t.Errorf("id %q in the answer, %q in the handler, sent %q", id, seen, tc.sent)
			}
		})
	}
}

func TestRequestsAreLoggedWithoutTheirQuery(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{TrustProxy: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "from-the-handler")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "12345")
	})})
	r.get(t, "/scim/v2/Users?filter=ada@example.com", "X-Forwarded-For", "10.0.0.1, 192.0.2.7")
	r.awaitLog(t, "method=GET path=/scim/v2/Users status=418 bytes=5")
	r.awaitLog(t, "remote=192.0.2.7 request_id=from-the-handler")
	if strings.Contains(r.log.String(), "ada") {
		t.Errorf("the query is in the log:\n%s", r.log)
	}
}

func TestAPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
		}
		panic("password hunter2")
	})})
	res, body := r.get(t, "/early")
	if res.StatusCode != http.StatusInternalServerError || !strings.Contains(body, `"error":"internal error"`) ||
		!strings.Contains(body, res.Header.Get("X-Request-Id")) || strings.Contains(body, "hunter2") {
		t.Errorf("answer %d %s", res.StatusCode, body)
	}
	r.awaitLog(t, "handler panicked")
	r.awaitLog(t, "server_test.go") // the stack
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL()+"/late", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil {
			t.Error("an answer that broke off in the middle reads as whole")
		}
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	r := start(t, httpserver.Options{Ready: func(context.Context) error {
		if broken.Load() {
			return errors.New("dial db.internal: refused")
		}
		return nil
	}})
	expect := func(path string, want int) string {
		t.Helper()
		res, body := r.get(t, path)
		if res.StatusCode != want {
			t.Errorf("%s = %d %q, want %d", path, res.StatusCode, body, want)
		}
		return body
	}
	expect("/healthz", 200)
	expect("/readyz", 200)
	broken.Store(true)
	expect("/healthz", 200)
	if body := expect("/readyz", 503); strings.Contains(body, "db.internal") {
		t.Errorf("/readyz tells %q", body)
	}
	r.awaitLog(t, "db.internal")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /healthz = %d, want 405", res.StatusCode)
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	entered, finish := make(chan struct{}), make(chan struct{})
	r := start(t, httpserver.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-finish
		if err := r.Context().Err(); err != nil {
			t.Errorf("the request's context ended: %v", err)
		}
		_, _ = io.WriteString(w, "whole")
	})})
	body := make(chan string, 1)
	go func() {
		_, b := r.get(t, "/")
		body <- b
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	// New connections are refused once the shutdown has begun, while the first request is still under way.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", r.Addr().String())
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still takes connections")
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("Run returned %v with a request under way", err)
	default:
	}
	close(finish)
	if got := <-body; got != "whole" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestShutdownCutsOffAfterTheGrace(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan error, 1)
	r := start(t, httpserver.Options{Grace: 10 * time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		left <- r.Context().Err()
	})})
	go func() {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, r.URL(), nil)
		if err != nil {
			return
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-entered
	if err := r.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the request's context ended with %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	handler, logger := http.NotFoundHandler(), slog.New(slog.DiscardHandler)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, o := range map[string]httpserver.Options{
		"no handler":            {Listen: "127.0.0.1:0", Logger: logger},
		"no logger":             {Listen: "127.0.0.1:0", Handler: handler},
		"no port":               {Listen: "127.0.0.1", Handler: handler, Logger: logger},
		"plain HTTP everywhere": {Listen: ":0", Handler: handler, Logger: logger},
		"plain HTTP outside":    {Listen: "0.0.0.0:0", Handler: handler, Logger: logger},
		"a certificate alone":   {Listen: ":0", Handler: handler, Logger: logger, CertFile: "x"},
		"no such certificate":   {Listen: ":0", Handler: handler, Logger: logger, CertFile: "x", KeyFile: "y"},
		"a port in use":         {Listen: taken.Addr().String(), Handler: handler, Logger: logger},
	} {
		if s, err := httpserver.New(o); err == nil {
			t.Errorf("%s: New accepted it", name)
			_ = s.Close()
		}
	}
	s, err := httpserver.New(httpserver.Options{Listen: "0.0.0.0:0", TrustProxy: true, Handler: handler, Logger: logger})
	if err != nil {
		t.Fatalf("behind a proxy: %v", err)
	}
	if !strings.HasPrefix(s.URL(), "http://localhost:") {
		t.Errorf("URL() = %s", s.URL())
	}
	_ = s.Close()
}

// writePair writes a fresh certificate for 127.0.0.1 with the serial number given.
func writePair(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "idpsync"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func serial(t *testing.T, r *running, version uint16) (int64, error) {
	t.Helper()
	conn, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestTLSFollowsItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, 1)
	cert := filepath.Join(dir, "cert.pem")
	r := start(t, httpserver.Options{CertFile: cert, KeyFile: filepath.Join(dir, "key.pem")})
	if !strings.HasPrefix(r.URL(), "https://") {
		t.Errorf("URL() = %s", r.URL())
	}
	if got, err := serial(t, r, tls.VersionTLS12); got != 1 || err != nil {
		t.Fatalf("serial = %d, %v, want 1", got, err)
	}
	if _, err := serial(t, r, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	await := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(r.log.String(), want); time.Sleep(50 * time.Millisecond) {
			if _, err := serial(t, r, 0); err != nil {
				t.Fatalf("while waiting for %q: %v", want, err)
			}
			if time.Now().After(deadline) {
				t.Fatalf("the log has no %q:\n%s", want, r.log)
			}
		}
	}
	if err := os.WriteFile(cert, []byte("half a certi"), 0o600); err != nil {
		t.Fatal(err)
	}
	await("certificate not reloaded, the old one stays")
	writePair(t, dir, 2)
	await("certificate reloaded")
	if got, err := serial(t, r, 0); got != 2 || err != nil {
		t.Errorf("serial = %d, %v, want 2", got, err)
	}
}

func TestHTTP2OverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, 1)
	r := start(t, httpserver.Options{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")})
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Errorf("protocol %s, want HTTP/2", res.Proto)
	}
}
