package connectortest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// mostRequests is more than any pull of so few people may cost; a connector that goes on is going round.
const mostRequests = 1000

// line is what stands between connectors and a source: it counts the requests and breaks answers.
type line struct {
	source    http.Handler
	server    *httptest.Server
	uncounted func(*http.Request) bool
	over      chan struct{} // closed when answers that hang are to end

	mu      sync.Mutex
	arrived []string // method and URI of each request since the last reset
	counted int      // of those, what a connector counts
	fault   fault
	from    int // first request that meets the fault, from 0; -1 for none
	times   int // that many do, -1 for all that follow
	met     int // so many did
	endless bool
	last    map[string]*httptest.ResponseRecorder
}

func newLine(source http.Handler, uncounted func(*http.Request) bool) *line {
	l := &line{source: source, uncounted: uncounted, over: make(chan struct{}), from: -1, last: map[string]*httptest.ResponseRecorder{}}
	l.server = httptest.NewUnstartedServer(l)
	l.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	own, err := certificate()
	if err != nil {
		panic("connectortest: " + err.Error())
	}
	l.server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS13}
	l.server.StartTLS()
	return l
}

func (l *line) close() {
	close(l.over)
	l.server.CloseClientConnections()
	l.server.Close()
}

func (l *line) address() Address {
	roots := x509.NewCertPool()
	roots.AddCert(l.server.Certificate())
	return Address{URL: l.server.URL, RootCAs: roots}
}

// reset forgets requests and faults.
func (l *line) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived, l.counted, l.from, l.met, l.endless = nil, 0, -1, 0, false
	l.last = map[string]*httptest.ResponseRecorder{}
}

// arm forgets requests, and lets the request of the number from, counted from 0, and times in all meet the fault.
func (l *line) arm(f fault, from, times int) {
	l.reset()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.from, l.times = f, from, times
}

// requests returns the requests since the last reset, and how many of them a connector counts.
func (l *line) requests() (arrived []string, counted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.arrived), l.counted
}

// wentRound tells whether there were more requests than anybody needs.
func (l *line) wentRound() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endless
}

// broken returns how many requests met the fault.
func (l *line) broken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.met
}

// ServeHTTP lets the source answer, or breaks the answer.
func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	f, previous := l.arrive(r)
	if f.serve == nil {
		if f.name != "" { // armed, and not yet due: what is answered now may be repeated
			l.source.ServeHTTP(l.recording(w, r), r)
			return
		}
		l.source.ServeHTTP(w, r)
		return
	}
	f.serve(exchange{w: w, r: r, sent: string(body), source: l.source, previous: previous, over: l.over})
}

// arrive counts the request and returns the fault that it meets: one without a serve function where it meets none.
func (l *line) arrive(r *http.Request) (f fault, previous *httptest.ResponseRecorder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.arrived)
	if n >= mostRequests {
		l.endless = true
		return fault{serve: status(http.StatusBadRequest)}, nil
	}
	l.arrived = append(l.arrived, r.Method+" "+r.URL.RequestURI())
	if l.uncounted == nil || !l.uncounted(r) {
		l.counted++
	}
	if l.from < 0 {
		return fault{}, nil
	}
	previous = l.last[r.URL.Path]
	if n < l.from || l.times >= 0 && n >= l.from+l.times || l.fault.repeats && previous == nil {
		return fault{name: l.fault.name}, nil
	}
	l.met++
	return l.fault, previous
}

// recording returns a writer that keeps what it writes, to be repeated.
func (l *line) recording(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	rec := httptest.NewRecorder()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[r.URL.Path] = rec
	return &tee{w, rec}
}

type tee struct {
	http.ResponseWriter
	rec *httptest.ResponseRecorder
}

func (t *tee) WriteHeader(status int) {
	t.rec.Code = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(b []byte) (int, error) {
	t.rec.Body.Write(b)
	for name, values := range t.Header() {
		t.rec.Header()[name] = values
	}
	return t.ResponseWriter.Write(b)
}

// exchange is one request to be answered badly.
type exchange struct {
	w        http.ResponseWriter
	r        *http.Request
	sent     string // the request's body
	source   http.Handler
	previous *httptest.ResponseRecorder
	over     <-chan struct{}
}

// answer lets the source answer, for spoiling.
func (x *exchange) answer() *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	x.source.ServeHTTP(rec, x.r)
	return rec
}

// write answers what was recorded, with another status or body.
func (x *exchange) write(header http.Header, status int, body []byte) {
	for name, values := range header {
		x.w.Header()[name] = values
	}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body)
}

// echo is an error body that shows what was sent, in every form that providers' errors have.
func (x *exchange) echo() []byte {
	sent := strconv.Quote("refused: " + x.r.Header.Get("Authorization") + " " + x.sent + " " + x.r.URL.RawQuery)
	return []byte(`{"errorCode":"E0000001","errorSummary":` + sent + `,"errorCauses":[],"error":{"code":"badRequest","message":` + sent +
		`},"error_description":` + sent + `,"message":` + sent + `,"detail":` + sent + `}`)
}

// breakOff ends the connection after so much of the answer as raw holds.
func (x *exchange) breakOff(raw string, reset bool) {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, raw)
	if !reset {
		return
	}
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		if tcp, ok := secure.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	}
}

// raw writes an answer's first two thirds as they go over the wire.
func raw(rec *httptest.ResponseRecorder, declare bool) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\n")
	header := rec.Header().Clone()
	header.Del("Content-Length")
	header.Set("Connection", "close")
	if declare {
		header.Set("Content-Length", strconv.Itoa(rec.Body.Len()))
	}
	_ = header.Write(&b)
	b.WriteString("\r\n")
	b.Write(rec.Body.Bytes()[:rec.Body.Len()*2/3])
	return b.String()
}
