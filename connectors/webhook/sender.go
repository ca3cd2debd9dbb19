package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// Bounds of one attempt.
const (
	Timeout = 15 * time.Second // for all of it
	maxRead = 64 << 10         // bytes of an answer that are read, and thrown away
)

// Endpoint is a receiver of events.
type Endpoint struct {
	Name         string // tells it from the others; default the URL without its query
	URL          string
	Secrets      []connectors.Secret // whsec_...; several while they are rotated
	Events       []string            // globs over event types; empty: all
	AllowPrivate bool                // it may be in the own network, and without TLS
	CAFile       string              // PEM, trusted besides the system's
}

// wants tells whether the endpoint is to receive events of a type.
func (e *Endpoint) wants(eventType string) bool {
	for _, pattern := range e.Events {
		if ok, err := path.Match(pattern, eventType); err == nil && ok {
			return true
		}
	}
	return len(e.Events) == 0
}

// Response is what an attempt came to.
type Response struct {
	Status     int // 0: there was no answer
	RetryAfter time.Duration
	Err        error
	Took       time.Duration
}

// Text describes a response that is no success, without anything that the receiver wrote.
func (r *Response) Text() string {
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case r.Status >= 300 && r.Status < 400:
		return fmt.Sprintf("status %d: redirections are not followed", r.Status)
	}
	return fmt.Sprintf("status %d", r.Status)
}

// Sender sends signed messages to one endpoint. It is safe for concurrent use.
type Sender struct {
	endpoint Endpoint
	keys     [][]byte
	client   *http.Client
	now      func() time.Time
}

// NewSender returns a Sender; now is time.Now where nil.
func NewSender(e Endpoint, now func() time.Time) (*Sender, error) {
	at, err := url.Parse(e.URL)
	if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" {
		return nil, errors.New("url: this is no web address; write https://HOST/PATH")
	}
	if at.Scheme == "http" && !e.AllowPrivate {
		return nil, fmt.Errorf("url: http://%s is not encrypted; write https://, or set allow_private: true for a receiver in the own network", at.Host)
	}
	if e.Name == "" {
		at.User, at.RawQuery, at.Fragment = nil, "", ""
		e.Name = at.String()
	}
	if len(e.Secrets) == 0 {
		return nil, fmt.Errorf("secret: it is missing: %w", ErrSecret)
	}
	if now == nil {
		now = time.Now
	}
	s := &Sender{endpoint: e, now: now}
	for _, secret := range e.Secrets {
		k, err := key(secret)
		if err != nil {
			return nil, fmt.Errorf("secret: %w", err)
		}
		s.keys = append(s.keys, k)
	}
	roots, err := connectors.LoadRoots(e.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if !e.AllowPrivate {
		dialer.Control = onlyPublic
	}
	s.client = &http.Client{
		Timeout: Timeout,
		// Without a proxy, which would connect to what the dialer refuses.
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: DefaultConcurrency, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxRead,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// Name returns the endpoint's name.
func (s *Sender) Name() string { return s.endpoint.Name }

// Close closes connections that are not in use.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send sends a message once. id is the same for each attempt.
func (s *Sender) Send(ctx context.Context, id string, body []byte) Response {
	begun := s.now()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint.URL, bytes.NewReader(body))
	if err != nil {
		return Response{Err: plain(err)}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "idpsync-webhooks")
	r.Header.Set(HeaderID, id)
	r.Header.Set(HeaderTimestamp, strconv.FormatInt(begun.Unix(), 10))
	r.Header.Set(HeaderSignature, sign(s.keys, id, begun, body))
	resp, err := s.client.Do(r)
	if err != nil {
		return Response{Err: plain(err), Took: s.now().Sub(begun)}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxRead) // so that the connection can be used again; the status is what counts
	now := s.now()
	return Response{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now), Took: now.Sub(begun)}
}

// plain leaves out the address, whose query may be a secret.
func plain(err error) error {
	var wrapped *url.Error
	if !errors.As(err, &wrapped) {
		return err
	}
	if wrapped.Timeout() {
		return errors.New("no answer in time")
	}
	return wrapped.Err
}

// retryAfter reads the header of this name (RFC 9110 section 10.2.3): seconds, or a time.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
