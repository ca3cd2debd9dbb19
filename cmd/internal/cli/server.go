package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
)

// Variables that say which server commands work on, and with which key.
const (
	serverVariable  = "IDPSYNC_SERVER"
	keyVariable     = "IDPSYNC_KEY"
	keyFileVariable = "IDPSYNC_KEY_FILE"
	caFileVariable  = "IDPSYNC_CA_FILE"
)

// serverFlags are what says which server a command works on.
type serverFlags struct {
	server, keyFile, caFile string
}

// address is the server that a command works on, "" for none.
func (f *serverFlags) address() string {
	if f.server != "" {
		return f.server
	}
	return os.Getenv(serverVariable)
}

func (f *serverFlags) add(c *cobra.Command) {
	flags := c.PersistentFlags()
	flags.StringVar(&f.server, "server", "", "work on the server at `URL` through its API, instead of on a database (default: "+serverVariable+")")
	flags.StringVar(&f.keyFile, "key-file", "", "with --server, read the API key from `FILE` (default: the key in "+keyVariable+", or the file in "+keyFileVariable+")")
	flags.StringVar(&f.caFile, "ca-file", "", "with --server, trust the authority in `FILE` (PEM), beside public ones (default: "+caFileVariable+")")
}

// localOnly is the annotation of commands that work where the database is: why.
const localOnly = "local only"

// check refuses flags that contradict each other. A command that works where the database is minds the flag, and not the
// variable: that is meant for the others.
func (f *serverFlags) check(c *cobra.Command, config string) error {
	why, local := "", false
	for at := c; at != nil && !local; at = at.Parent() {
		why, local = at.Annotations[localOnly], at.Annotations[localOnly] != ""
	}
	given := c.Flags().Changed("server")
	switch {
	case given && f.server == "":
		return usageError{errors.New("--server: want the URL of a server, for example https://idpsync.example.com")}
	case local && (given || f.keyFile != "" || f.caFile != ""):
		return usageError{fmt.Errorf("%s takes no --server: %s", c.CommandPath(), why)}
	case local:
		return nil
	case f.address() == "" && (f.keyFile != "" || f.caFile != ""):
		return usageError{errors.New("--key-file and --ca-file go with --server")}
	case f.address() != "" && config != "" && !given:
		return usageError{fmt.Errorf("--config names a database, and %s a server: choose one", serverVariable)}
	case f.address() != "" && config != "":
		return usageError{errors.New("--config names a database, and --server a server: choose one")}
	}
	return nil
}

// client returns a client of the server.
func (f *serverFlags) client() (*client.Client, error) {
	base, err := serverURL(f.address())
	if err != nil {
		return nil, err
	}
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	transport, err := f.transport()
	if err != nil {
		return nil, err
	}
	caller := &caller{base: base, http: &http.Client{
		Transport: transport,
		// A key goes where it was meant to go, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return client.New(base, caller, http.Header{"Authorization": {"Bearer " + key}, "User-Agent": {"idpsync"}}), nil
}

// serverURL returns the address of a server without a slash at its end. Where it has no https, it is this machine's.
func serverURL(text string) (string, error) {
	u, err := url.Parse(text)
	wrong := func(what string) error {
		return usageError{fmt.Errorf("--server: %s; want the address of a server, for example https://idpsync.example.com", what)}
	}
	switch {
	case err != nil:
		return "", wrong("it is no URL")
	case u.User != nil:
		return "", wrong("it holds a user or a password")
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.Opaque != "":
		return "", wrong(fmt.Sprintf("%q is no URL with https", text))
	case u.RawQuery != "" || u.Fragment != "":
		return "", wrong(fmt.Sprintf("%q has more than an address", text))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", usageError{fmt.Errorf("--server %s: over plain http anybody on the way could read the API key: use https, or a tunnel that ends on this machine", text)}
	}
	return strings.TrimSuffix(strings.TrimRight(u.String(), "/"), api.Prefix), nil
}

// loopback tells whether a host is this machine, whatever a name server says.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}

// mostKey bounds what is read of a file with a key.
const mostKey = 4 << 10

// key returns the API key. It is never part of an error.
func (f *serverFlags) key() (string, error) {
	const remedy = "make one with `idpsync keys create`, and give it in " + keyVariable + ", or a file that holds it in " + keyFileVariable + " or with --key-file"
	from, key, file := keyVariable, os.Getenv(keyVariable), f.keyFile
	if file == "" && key == "" {
		file = os.Getenv(keyFileVariable)
	}
	if file != "" {
		from = file
		held, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read the API key: %w", err)
		}
		defer held.Close()
		text, err := io.ReadAll(io.LimitReader(held, mostKey))
		if err != nil {
			return "", fmt.Errorf("read the API key: %w", err)
		}
		key = string(text)
	}
	key = strings.TrimSpace(key)
	switch {
	case key == "" && file == "":
		return "", errors.New("an API key is missing: " + remedy)
	case !strings.HasPrefix(key, "idps_") || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("%s holds no API key (idps_...): %s", from, remedy)
	}
	return key, nil
}

// transport is what carries requests.
func (f *serverFlags) transport() (http.RoundTripper, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 2 * time.Minute,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	file := f.caFile
	if file == "" {
		file = os.Getenv(caFileVariable)
	}
	if file == "" {
		return transport, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca-file %s: it holds no certificate in PEM", file)
	}
	transport.TLSClientConfig.RootCAs = pool
	return transport, nil
}

// caller carries requests to a server out. What only reads is tried again where the server says when.
type caller struct {
	base string
	http *http.Client
}

const (
	mostTries = 4
	mostPause = 30 * time.Second // longer than that nobody is kept waiting
)

// Do is client.Doer.
func (c *caller) Do(r *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		answer, err := c.http.Do(r)
		if err != nil {
			return nil, c.unreachable(r.Context(), err)
		}
		again := answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable
		pause, told := retryAfter(answer.Header)
		if !again || !told || pause > mostPause || r.Method != http.MethodGet || try == mostTries {
			return answer, nil
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection is used again
		_ = answer.Body.Close()
		timer := time.NewTimer(pause)
		select {
		case <-r.Context().Done():
			timer.Stop()
			return nil, context.Cause(r.Context())
		case <-timer.C:
		}
	}
}

// retryAfter returns for how long a server asks to wait, in seconds.
func retryAfter(h http.Header) (time.Duration, bool) {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	return time.Duration(n) * time.Second, err == nil && n >= 0
}

// unreachableError says that there was no answer, and what to do.
type unreachableError struct {
	base, remedy string
	err          error
}

func (e *unreachableError) Error() string { return e.base + ": " + e.err.Error() + ": " + e.remedy }
func (e *unreachableError) Unwrap() error { return e.err }

// unreachable says why there was no answer.
func (c *caller) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the rest of it is the address of one operation
	}
	remedy := "see that the address is right (--server, " + serverVariable + ") and that `idpsync serve` runs there"
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknown):
		remedy = "name the authority that vouches for the server with --ca-file, or in " + caFileVariable
	case errors.As(err, &host):
		remedy = "write the server's address as its certificate does"
	case errors.As(err, &invalid):
		remedy = "the server needs another certificate"
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		remedy = "there is no TLS at that address: see that the port is right"
	}
	return &unreachableError{c.base, remedy, err}
}

// problemText is what an answer of the API says to people, with the remedy.
func problemText(p *api.Problem) string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	switch {
	case p.Status == http.StatusUnauthorized:
		return "the server lets nobody in with this API key: " + text + ": make another with `idpsync keys create`, and give it in " + keyVariable + " or with --key-file"
	case p.Status == http.StatusForbidden && p.Needs != "":
		return text + ": the key's owner does not hold it; an admin gives it with `idpsync roles grant USER root:" + p.Needs + "`"
	case p.Status == http.StatusTooManyRequests:
		return text + ": try again in a minute"
	case p.Status >= http.StatusInternalServerError && p.RequestID != "":
		return text + ": the server's log has more under the request id " + p.RequestID
	}
	return text
}

// notAPIText is what there is to say where something else than idpsync answered.
func notAPIText(address string, e *client.NotAPIError) string {
	text := fmt.Sprintf("%s: something else than idpsync answers there, with status %d", address, e.Status)
	if e.Location != "" {
		return text + "; it leads to " + e.Location + ": redirections are not followed, give the address itself with --server"
	}
	return text + ": see that the address is right (--server, " + serverVariable + ")"
}
