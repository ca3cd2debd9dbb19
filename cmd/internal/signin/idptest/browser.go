package idptest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A Browser follows redirections by hand, keeps cookies, and submits the forms that pages submit by themselves.
type Browser struct {
	client *http.Client
}

// NewBrowser returns a browser without cookies that trusts the authorities.
func NewBrowser(authorities ...*x509.Certificate) *Browser {
	pool := x509.NewCertPool()
	for _, ca := range authorities {
		pool.AddCert(ca)
	}
	jar, _ := cookiejar.New(nil) // never fails without options
	return &Browser{client: &http.Client{
		Jar:           jar,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Get asks for the address, and does not follow where it redirects to.
func (b *Browser) Get(address string) (*Page, error) { return b.do(b.client.Get(address)) }

// Post posts a form, and does not follow where it redirects to.
func (b *Browser) Post(address string, form url.Values) (*Page, error) {
	return b.do(b.client.PostForm(address, form))
}

// Follow asks for the address, and goes where redirections and forms that submit themselves lead, as long as stop does
// not say that it is the page that was looked for.
func (b *Browser) Follow(address string, stop func(*Page) bool) (*Page, error) {
	page, err := b.Get(address)
	for range 10 {
		if err != nil || stop(page) {
			return page, err
		}
		switch {
		case page.Location != "":
			page, err = b.Get(page.Location)
		case page.Form != nil:
			page, err = b.Post(page.Action, page.Form)
		default:
			return page, nil
		}
	}
	return nil, errors.New("the browser is sent around in a circle")
}

// Cookies returns the cookies that the browser would send to the address.
func (b *Browser) Cookies(address string) []*http.Cookie {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return b.client.Jar.Cookies(u)
}

// Close ends the browser's connections.
func (b *Browser) Close() { b.client.CloseIdleConnections() }

// Page is what a server answered.
type Page struct {
	URL      string // asked for
	Status   int
	Header   http.Header
	Body     string
	Location string     // where it redirects to, in full, or ""
	Action   string     // where its form goes, in full
	Form     url.Values // of a page that submits one by itself; else nil
}

var (
	formTag  = regexp.MustCompile(`(?is)<form\b[^>]*>`)
	inputTag = regexp.MustCompile(`(?is)<input\b[^>]*>`)
	property = regexp.MustCompile(`(?is)\b(action|name|value|type)\s*=\s*"([^"]*)"`)
)

func (b *Browser) do(resp *http.Response, err error) (*Page, error) {
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	page := &Page{URL: resp.Request.URL.String(), Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	if at := resp.Header.Get("Location"); at != "" {
		if page.Location, err = resolve(resp.Request.URL, at); err != nil {
			return nil, err
		}
	}
	if form := formTag.Find(body); form != nil && strings.Contains(page.Body, "submit()") {
		if page.Action, err = resolve(resp.Request.URL, properties(form)["action"]); err != nil {
			return nil, err
		}
		page.Form = url.Values{}
		for _, input := range inputTag.FindAll(body, -1) {
			if p := properties(input); p["name"] != "" && p["type"] != "submit" {
				page.Form.Set(p["name"], p["value"])
			}
		}
	}
	return page, nil
}

func properties(tag []byte) map[string]string {
	found := map[string]string{}
	for _, match := range property.FindAllSubmatch(tag, -1) {
		found[strings.ToLower(string(match[1]))] = html.UnescapeString(string(match[2]))
	}
	return found
}

func resolve(base *url.URL, reference string) (string, error) {
	u, err := base.Parse(reference)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// authority is a TLS certificate for loopback that is its own authority.
type authority struct {
	Certificate *x509.Certificate
	TLS         *tls.Config
}

func newAuthority() (*authority, error) {
	// net/http/httptest has one, and no other way to it.
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.StartTLS()
	defer server.Close()
	return &authority{Certificate: server.Certificate(), TLS: &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS12}}, nil
}

// PEM returns the certificate in PEM.
func PEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// WriteCA writes the certificate to a PEM file in a directory of the test, and returns its name.
func WriteCA(t testing.TB, certificate *x509.Certificate) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, PEM(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// WriteCA writes the provider's authority to a PEM file.
func (s *OIDCServer) WriteCA(file string) error { return os.WriteFile(file, PEM(s.CA), 0o644) }

// WriteCA writes the identity provider's authority to a PEM file.
func (s *SAMLServer) WriteCA(file string) error { return os.WriteFile(file, PEM(s.CA), 0o644) }

// readAll returns a body again and again.
func readAll(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}
