package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a certificate for 127.0.0.1 and its key into a folder, and returns who trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idpsync.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return pool
}

func TestRule4_TLS12OrLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	trusted := certificate(t, dir)
	config := "listen: 127.0.0.1:0\ndatabase: sqlite://idpsync.db\ntls: {cert_file: tls.crt, key_file: tls.key}\n"
	if err := os.WriteFile(filepath.Join(dir, "idpsync.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	url := start(t, dir, nil, "serve").url()
	address, secure := strings.CutPrefix(url, "https://")
	if !secure {
		t.Fatalf("serves on %s, want https", url)
	}
	dial := func(version uint16) (*tls.Conn, error) {
		return tls.Dial("tcp", address, &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS10, MaxVersion: version})
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if conn, err := dial(version); err == nil {
			_ = conn.Close()
			t.Errorf("%s is spoken", tls.VersionName(version))
		} else if !strings.Contains(err.Error(), "protocol version not supported") {
			t.Errorf("%s: %v, want that the server refuses the version", tls.VersionName(version), err)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := dial(version)
		if err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
			continue
		}
		if got := conn.ConnectionState().Version; got != version {
			t.Errorf("spoke %s, want %s", tls.VersionName(got), tls.VersionName(version))
		}
		_ = conn.Close()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MaxVersion: version}}}
		status, body := fetchWith(t, client, url+"/scim/v2/Users")
		if status != http.StatusForbidden || !strings.Contains(body, "SCIM provisioning is disabled") {
			t.Errorf("%s: GET /scim/v2/Users = %d %s", tls.VersionName(version), status, body)
		}
	}
	if status, body := fetchWith(t, http.DefaultClient, "http://"+address+"/scim/v2/Users"); status != http.StatusBadRequest || strings.Contains(body, "schemas") {
		t.Errorf("plain HTTP where TLS is spoken = %d %s, want 400 and nothing of SCIM", status, body)
	}
}

func fetchWith(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	return got.StatusCode, string(body)
}

func TestRule4_PlainHTTPOnlyOnLoopbackOrBehindAProxy(t *testing.T) {
	t.Parallel()
	serve := func(t *testing.T, config string) *process {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "idpsync.yaml"), []byte("database: sqlite://idpsync.db\n"+config), 0o600); err != nil {
			t.Fatal(err)
		}
		return start(t, dir, nil, "serve")
	}
	for _, listen := range []string{"0.0.0.0:0", ":0", "'[::]:0'"} {
		t.Run("refused on "+listen, func(t *testing.T) {
			t.Parallel()
			p := serve(t, "listen: "+listen+"\n")
			p.exits(1)
			for _, want := range []string{"idpsync.yaml:2:1: listen: ", "without TLS", "tls.cert_file", "trust_proxy: true", "127.0.0.1"} {
				if !strings.Contains(p.errs(), want) {
					t.Errorf("standard error: %s, want %q in it", p.errs(), want)
				}
			}
		})
	}
	for name, config := range map[string]string{
		"loopback":       "listen: 127.0.0.1:0\n",
		"behind a proxy": "listen: 0.0.0.0:0\ntrust_proxy: true\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, config).url()
			if !strings.HasPrefix(url, "http://") {
				t.Fatalf("serves on %s, want http", url)
			}
			if status, body := get(t, url+"/scim/v2/Users", ""); status != http.StatusForbidden || !strings.Contains(body, "urn:ietf:params:scim:api:messages:2.0:Error") {
				t.Errorf("GET /scim/v2/Users = %d %s", status, body)
			}
		})
	}
}
