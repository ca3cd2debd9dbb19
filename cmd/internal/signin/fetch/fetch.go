// Package fetch asks identity providers over HTTPS: what it reads is bounded in time and size, comes from a server that
// proved who it is, and never over a plain connection that leaves the machine.
package fetch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// Bounds of one request.
const (
	Timeout = 10 * time.Second // for all of it
	MaxBody = 4 << 20          // bytes of an answer
)

// ErrTooLarge says that an answer has more than MaxBody bytes.
var ErrTooLarge = errors.New("the answer is larger than 4 MiB")

// A StatusError is an answer that tells of trouble at the server, which may pass: 429, or 500 and above.
type StatusError struct {
	Status int
}

// Error names the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
}

// New returns a client that trusts the authorities of the PEM file caFile besides the system's; "" is the system's
// alone. A *StatusError comes as an error of Do, as does a redirection to a plain connection.
func New(caFile string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		roots, err := connectors.LoadRoots(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	return &http.Client{
		Timeout: Timeout,
		Transport: &transport{base: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: Timeout, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		}},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) >= 3 {
				return errors.New("it redirects more than three times")
			}
			return nil
		},
	}, nil
}

// Check returns an error unless u is an https address, or an http one on loopback.
func Check(u *url.URL) error {
	switch {
	case u.Host == "":
		return fmt.Errorf("%q names no host", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%s://%s is not https", u.Scheme, u.Host)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

type transport struct{ base http.RoundTripper }

// RoundTrip refuses plain connections, turns passing trouble into an error, and bounds what is read.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := Check(r.URL); err != nil {
		return nil, err
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		_ = resp.Body.Close() // the status is what counts
		return nil, &StatusError{Status: resp.StatusCode}
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: MaxBody}
	return resp, nil
}

// bounded fails with ErrTooLarge once more than left bytes were read.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}
