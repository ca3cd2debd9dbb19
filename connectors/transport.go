package connectors

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Defaults of TransportOptions.
const (
	DefaultShare          = 0.4
	DefaultRetries        = 5
	DefaultMaxWait        = 5 * time.Minute
	DefaultBackoff        = 500 * time.Millisecond
	DefaultAttemptTimeout = 2 * time.Minute
	DefaultMaxBody        = 64 << 20
)

// TransportOptions are the knobs of a Transport; the zero value of each one means its default.
type TransportOptions struct {
	Base           http.RoundTripper // sends the requests; default NewBase(nil)
	Share          float64           // part of each rate-limit bucket that may be used, above 0 and up to 1
	Retries        int               // tries after the first one; negative for none
	MaxWait        time.Duration     // bound of one request's waits between tries, pacing left out
	Backoff        time.Duration     // first wait where the provider names none; doubles up to 30 s
	AttemptTimeout time.Duration     // bound of one try, its body included
	MaxBody        int64             // bytes of a body; a larger one is refused
	Secrets        []Secret          // never to appear in an error, besides the request's own credential
	Logger         *slog.Logger      // hears of retries; default silent
	Now            func() time.Time  // default time.Now

	// ParseError reads the provider's error code and message out of a refused answer; default none.
	ParseError func(header http.Header, body []byte) (code, summary string)
}

// Transport is the http.RoundTripper under every connector's SDK. It hands up `200 application/json` answers of the
// shape that the request's Call expects, read to their end, and nothing else: every other answer is a typed error,
// so that no SDK can take one for an empty list. It paces requests, waits out throttling and retries what is worth
// it, within bounds. It is safe for concurrent use.
type Transport struct {
	options TransportOptions
	pacer   *pacer
	counts  counts
	skew    atomic.Int64 // of the provider's clock against ours, in nanoseconds

	throttled atomic.Int64 // nanoseconds waited between tries because of a 429
}

// NewTransport returns a Transport.
func NewTransport(o TransportOptions) *Transport {
	if o.Base == nil {
		o.Base = NewBase(nil)
	}
	if o.Share <= 0 || o.Share > 1 {
		o.Share = DefaultShare
	}
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	o.MaxWait = cmp.Or(o.MaxWait, DefaultMaxWait)
	o.Backoff = cmp.Or(o.Backoff, DefaultBackoff)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, DefaultAttemptTimeout)
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Transport{options: o, pacer: newPacer(o.Share, o.Now)}
}

// NewBase returns a plain HTTP/1.1 transport with kept-alive connections that trusts roots, or the system's
// authorities when roots is nil. One connection for each parallel request outruns HTTP/2's single one on bulk pages
// and loses one page, not all of them, when it breaks.
func NewBase(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   30 * time.Second,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       60 * time.Second,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        64 << 10,
	}
}

// Call tells the Transport what one request expects, and holds the answer. It travels in the request's context.
type Call struct {
	Endpoint  string // method and path with placeholders: names the counter and the error
	Bucket    string // the rate-limit bucket, which endpoints may share; "" means the endpoint has its own
	Shape     Shape  // nil accepts any JSON value but null
	PageParam string // query parameter with the page size, halved when the provider answers 500; "" for none
	Take      bool   // keep the body in Answer and give the SDK a stand-in: an SDK decodes again what we decode

	Answer Answer // set when the request succeeded
}

// Answer is what one request was answered.
type Answer struct {
	Header   http.Header
	Began    time.Time // when the try began that was answered
	PageSize int       // page size that was asked for in the end, where the call has a PageParam
	Body     []byte    // with Call.Take; valid until Release

	buffer *bytes.Buffer
}

// Release gives the body's memory back. Body must not be used afterwards.
func (a *Answer) Release() {
	if a.buffer != nil {
		buffers.Put(a.buffer)
	}
	a.buffer, a.Body = nil, nil
}

// bucket names what the pacer keeps to its share.
func (c *Call) bucket() string { return cmp.Or(c.Bucket, c.Endpoint) }

type callKey struct{}

// WithCall returns a context for the request that call describes. A call serves one request at a time.
func WithCall(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

func callOf(req *http.Request) *Call {
	if call, ok := req.Context().Value(callKey{}).(*Call); ok {
		return call
	}
	return &Call{Endpoint: req.Method + " " + req.URL.Path}
}

// ConnectionError says that no whole answer arrived. It never unwraps to io.EOF, which an SDK would retry for ever.
type ConnectionError struct {
	Endpoint string
	Message  string
	Err      error // nil where unwrapping it would do harm
}

func (e *ConnectionError) Error() string { return e.Endpoint + ": " + e.Message }

// Unwrap returns the cause, if it may be shown.
func (e *ConnectionError) Unwrap() error { return e.Err }

// Cause strips what net/http and an SDK wrap around the error of a Transport.
func Cause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// Requests returns the number of requests sent, tries included.
func (t *Transport) Requests() int64 { return t.counts.total() }

// Counts returns the number of requests sent by endpoint and status; status 0 stands for no answer.
func (t *Transport) Counts() map[RequestKey]int64 { return t.counts.snapshot() }

// ServerTime returns the time by the provider's clock, to the second, as the Date of its latest answer tells; before there
// was one, by ours.
func (t *Transport) ServerTime() time.Time {
	return t.options.Now().Add(time.Duration(t.skew.Load()))
}

// verdict is what one try came to.
type verdict struct {
	err       error
	retry     bool
	halve     bool          // try again with half the page
	throttled bool          // the provider asks for patience
	wait      time.Duration // before the next try, as the provider asks; 0 for our own backoff
	reset     time.Time
}

// RoundTrip sends the request, again where that may help, and returns an answer that can be taken at face value.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	call := callOf(req)
	ctx, span := begin(req.Context(), call)
	resp, err := t.send(ctx, req, call)
	end(span, err)
	return resp, err
}

func (t *Transport) send(ctx context.Context, req *http.Request, call *Call) (*http.Response, error) {
	req, err := ownBody(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call.Endpoint, err)
	}
	var waited time.Duration
	for try := 0; ; try++ {
		if err := t.pacer.wait(ctx, call.bucket()); err != nil {
			closeBody(req)
			return nil, contextError(ctx, call.Endpoint)
		}
		resp, v := t.try(req, call)
		if v.err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, contextError(ctx, call.Endpoint)
		}
		wait := v.wait
		if wait == 0 {
			wait = min(t.options.Backoff<<min(try, 10), 30*time.Second)
		}
		wait += jitter(wait)
		next, again := t.rewind(req, call, v)
		if !v.retry || !again || try >= t.options.Retries || waited+wait > t.options.MaxWait {
			if v.throttled {
				return nil, &RateLimitError{Endpoint: call.Endpoint, Waited: waited, Reset: v.reset}
			}
			return nil, v.err
		}
		t.options.Logger.DebugContext(ctx, "request is tried again", "endpoint", call.Endpoint, "try", try+1, "wait", wait, "error", v.err)
		waits(trace.SpanFromContext(ctx), v, wait)
		if err := sleep(ctx, wait); err != nil {
			return nil, contextError(ctx, call.Endpoint)
		}
		if waited += wait; v.throttled {
			t.throttled.Add(int64(wait))
		}
		req = next
	}
}

// maxRequest bounds the body of a request: what is sent are a few parameters.
const maxRequest = 1 << 20

// ownBody returns the request with a body of our own. An SDK's GetBody may hand out one reader again and again, which the
// connection of a try that was given up may still be reading from.
func ownBody(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxRequest+1))
	closeBody(req)
	if err != nil {
		return nil, fmt.Errorf("read the request's body: %w", err)
	}
	if len(body) > maxRequest {
		return nil, errors.New("the request's body is too large")
	}
	own := req.Clone(req.Context())
	own.ContentLength = int64(len(body))
	own.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	own.Body, _ = own.GetBody()
	return own, nil
}

// rewind makes the request of the next try, with half the page where the verdict asks for it.
func (t *Transport) rewind(req *http.Request, call *Call, v verdict) (*http.Request, bool) {
	if req.GetBody != nil {
		req = req.Clone(req.Context())
		req.Body, _ = req.GetBody()
	}
	if !v.halve {
		return req, true
	}
	query := req.URL.Query()
	size, err := strconv.Atoi(query.Get(call.PageParam))
	if err != nil || size < 2 {
		return nil, false
	}
	query.Set(call.PageParam, strconv.Itoa(size/2))
	req = req.Clone(req.Context())
	req.URL.RawQuery = query.Encode()
	return req, true
}

func (t *Transport) try(req *http.Request, call *Call) (*http.Response, verdict) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), t.options.AttemptTimeout, errSlow)
	defer cancel()
	began := t.options.Now()
	resp, err := t.options.Base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.counts.add(call.Endpoint, 0)
		t.pacer.done(call.bucket(), nil)
		return nil, t.broken(ctx, req, call, err)
	}
	defer resp.Body.Close()
	t.counts.add(call.Endpoint, resp.StatusCode)
	t.pacer.done(call.bucket(), resp.Header)
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		t.skew.Store(int64(date.Sub(t.options.Now())))
	}
	if resp.StatusCode != http.StatusOK {
		return nil, t.refused(ctx, req, call, resp)
	}
	refuse := func(why string) verdict {
		return verdict{err: &ResponseError{Endpoint: call.Endpoint, Status: resp.StatusCode, Summary: why, RequestID: requestID(resp.Header)}}
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/json" {
		return nil, refuse(fmt.Sprintf("content type %q, want application/json", resp.Header.Get("Content-Type")))
	}
	buffer := buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	if resp.ContentLength > 0 && resp.ContentLength <= t.options.MaxBody {
		buffer.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	answer := Answer{Header: resp.Header, Began: began, buffer: buffer}
	if _, err := buffer.ReadFrom(io.LimitReader(resp.Body, t.options.MaxBody+1)); err != nil {
		answer.Release()
		return nil, t.broken(ctx, req, call, err)
	}
	if int64(buffer.Len()) > t.options.MaxBody {
		answer.Release()
		return nil, refuse("the body is too large")
	}
	body := bytes.TrimSpace(buffer.Bytes())
	if err := checkShape(call.Shape, body); err != nil {
		answer.Release()
		return nil, refuse(err.Error())
	}
	if call.PageParam != "" {
		answer.PageSize, _ = strconv.Atoi(req.URL.Query().Get(call.PageParam))
	}
	return t.handUp(req, resp, call, answer, body), verdict{}
}

// handUp makes the response that the SDK sees. When the body was taken, it is an empty value of the same kind and
// has no Link header, on which an SDK may panic.
func (t *Transport) handUp(req *http.Request, resp *http.Response, call *Call, answer Answer, body []byte) *http.Response {
	up := *resp
	up.Request = req
	if call.Take {
		answer.Body = body
		up.Header = http.Header{"Content-Type": resp.Header["Content-Type"], "Date": resp.Header["Date"]}
		stand := "{}"
		if body[0] == '[' {
			stand = "[]"
		}
		up.Body, up.ContentLength = io.NopCloser(strings.NewReader(stand)), int64(len(stand))
	} else {
		whole := bytes.Clone(body)
		answer.Release()
		up.Body, up.ContentLength = io.NopCloser(bytes.NewReader(whole)), int64(len(whole))
	}
	call.Answer = answer
	return &up
}

var (
	errSlow = errors.New("no whole answer in time")
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// broken judges a try without a whole answer.
func (t *Transport) broken(ctx context.Context, req *http.Request, call *Call, err error) verdict {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	e := &ConnectionError{Endpoint: call.Endpoint, Message: t.redact(req, err.Error()), Err: err}
	if errors.Is(err, io.EOF) || e.Message != err.Error() {
		e.Err = nil
	}
	var certificate *tls.CertificateVerificationError
	var name *net.DNSError
	permanent := errors.As(err, &certificate) || (errors.As(err, &name) && name.IsNotFound)
	return verdict{err: e, retry: !permanent}
}

// refused judges an answer with a status other than 200.
func (t *Transport) refused(ctx context.Context, req *http.Request, call *Call, resp *http.Response) verdict {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	e := &ResponseError{Endpoint: call.Endpoint, Status: resp.StatusCode, RequestID: requestID(resp.Header)}
	if t.options.ParseError != nil {
		e.Code, e.Summary = t.options.ParseError(resp.Header, body)
		e.Summary = t.redact(req, e.Summary)
	}
	if e.Summary == "" {
		e.Summary = strings.ToLower(http.StatusText(resp.StatusCode))
	}
	v := verdict{err: e}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		v.err = fmt.Errorf("%w: %w", ErrUnauthorized, e)
	case http.StatusForbidden:
		v.err = fmt.Errorf("%w: %w", ErrForbidden, e)
	case http.StatusTooManyRequests:
		v.retry, v.throttled = true, true
		v.wait, v.reset = throttle(resp.Header, t.options.Now())
		if v.wait > 0 && v.wait <= t.options.MaxWait {
			t.pacer.hold(call.bucket(), t.options.Now().Add(v.wait))
		}
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		v.retry = true
		v.wait = retryAfter(resp.Header, t.options.Now())
	case http.StatusInternalServerError:
		v.retry, v.halve = call.PageParam != "", true
	}
	e.Temporary = v.retry
	return v
}

// throttle reads how long a 429 asks to wait. Okta's concurrency limit (Limit 0) only estimates its reset: that is
// left to the backoff.
func throttle(h http.Header, now time.Time) (wait time.Duration, reset time.Time) {
	if wait = retryAfter(h, now); wait > 0 {
		return wait, now.Add(wait)
	}
	if h.Get("X-Rate-Limit-Limit") == "0" {
		return 0, time.Time{}
	}
	if reset, ok := bucketReset(h, now); ok {
		return max(reset.Sub(now), time.Millisecond), reset
	}
	return 0, time.Time{}
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3), a date by the server's own clock.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return max(time.Duration(seconds)*time.Second, time.Millisecond)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(serverTime(h, now)), time.Millisecond)
	}
	return 0
}

// bucketReset reads X-Rate-Limit-Reset as a local time: the difference to the server's Date counts, never our clock.
func bucketReset(h http.Header, now time.Time) (time.Time, bool) {
	seconds, err := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return now.Add(time.Unix(seconds, 0).Sub(serverTime(h, now))), true
}

func serverTime(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		return date
	}
	return now
}

func requestID(h http.Header) string {
	return cmp.Or(h.Get("X-Okta-Request-Id"), h.Get("Request-Id"))
}

// jitter spreads waiters over a tenth of their wait, so that they do not come back as one.
func jitter(wait time.Duration) time.Duration {
	return rand.N(min(wait/10, 3*time.Second) + 10*time.Millisecond)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func contextError(ctx context.Context, endpoint string) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return fmt.Errorf("%s: %w", endpoint, err)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
