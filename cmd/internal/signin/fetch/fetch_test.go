package fetch_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
)

func client(t *testing.T, trusted *httptest.Server) *http.Client {
	t.Helper()
	file := ""
	if trusted != nil {
		file = filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := fetch.New(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestClient(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	mux.HandleFunc("/full", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, fetch.MaxBody)) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, fetch.MaxBody+1)) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://idp.example/ok", http.StatusFound)
	})
	mux.HandleFunc("/circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/circle", http.StatusFound) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })

	trusting := client(t, server)
	read := func(c *http.Client, path string) (int, error) {
		resp, err := c.Get(server.URL + path)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return len(body), err
	}
	for path, want := range map[string]int{"/ok": 4, "/moved": 4, "/full": fetch.MaxBody} {
		if n, err := read(trusting, path); err != nil || n != want {
			t.Errorf("%s: %d bytes, %v; want %d", path, n, err, want)
		}
	}
	if n, err := read(trusting, "/large"); !errors.Is(err, fetch.ErrTooLarge) || n != fetch.MaxBody {
		t.Errorf("/large: %d bytes, %v; want ErrTooLarge after %d", n, err, fetch.MaxBody)
	}
	for path, want := range map[string]int{"/away": 503, "/busy": 429} {
		var status *fetch.StatusError
		if _, err := read(trusting, path); !errors.As(err, &status) || status.Status != want {
			t.Errorf("%s: %v, want the status %d", path, err, want)
		}
	}
	for path, want := range map[string]string{"/plain": "is not https", "/circle": "more than three times"} {
		if _, err := read(trusting, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := read(client(t, nil), "/ok"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"https://idp.example/x": true, "http://127.0.0.1:80/": true, "http://localhost/": true, "http://[::1]:9/": true,
		"http://idp.example/": false, "http://127.0.0.1.evil.example/": false, "javascript:alert(1)": false, "/x": false, "": false, "ftp://idp.example/": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := fetch.Check(u); (err == nil) != want {
			t.Errorf("Check(%q) = %v, want accepted: %v", address, err, want)
		}
	}
}

func TestNewNeedsTheAuthorities(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".none"} {
		if _, err := fetch.New(file); err == nil {
			t.Errorf("New(%q) = nil", file)
		}
	}
}
