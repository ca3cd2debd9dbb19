package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/webhook"
	"github.com/idpsync/idpsync/store/identity"
)

func secret(n byte) connectors.Secret {
	return connectors.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string('a'+rune(n)), 32))))
}

func newSender(t *testing.T, e webhook.Endpoint) *webhook.Sender {
	t.Helper()
	if len(e.Secrets) == 0 {
		e.Secrets = []connectors.Secret{secret(0)}
	}
	s, err := webhook.NewSender(e, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestSender_Signature holds our signatures against the library of those who wrote the specification.
func TestSender_Signature(t *testing.T) {
	t.Parallel()
	var verified atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for n, want := range map[byte]bool{0: true, 1: true, 2: false} {
			receiver, err := standardwebhooks.NewWebhook(secret(n).Reveal())
			if err != nil {
				t.Error(err)
				return
			}
			if err := receiver.Verify(body, r.Header); (err == nil) != want {
				t.Errorf("the receiver with secret %d: %v, want it to accept: %v", n, err, want)
			}
			if err := receiver.Verify(append(body, ' '), r.Header); err == nil {
				t.Errorf("the receiver with secret %d accepts another body", n)
			}
		}
		if got := r.Header.Get("Content-Type"); got != "application/json" || r.Method != http.MethodPost || r.Header.Get("webhook-id") != "id-1" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		verified.Add(1)
	}))
	defer server.Close()
	s := newSender(t, webhook.Endpoint{URL: server.URL + "/hook?t=1", AllowPrivate: true, Secrets: []connectors.Secret{secret(0), secret(1)}})
	if r := s.Send(t.Context(), "id-1", []byte(`{"a":"ü"}`)); r.Err != nil || r.Status != 200 {
		t.Fatalf("Send = %+v", r)
	}
	if verified.Load() != 1 {
		t.Errorf("%d messages were verified, want 1", verified.Load())
	}
}

func TestSender_Answers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, want := range map[string]struct {
		status int
		after  time.Duration
		text   string
	}{
		"/moved":                 {status: 307, text: "status 307: redirections are not followed"},
		"/busy":                  {status: 429, after: 2 * time.Minute, text: "status 429"},
		"/endless":               {status: 200, text: "status 200"},
		"/nowhere":               {status: 404, text: "status 404"},
		"/broken?t=hunter-value": {text: "EOF"},
	} {
		r := newSender(t, webhook.Endpoint{URL: server.URL + path, AllowPrivate: true}).Send(t.Context(), "id", []byte("{}"))
		if r.Status != want.status || r.RetryAfter != want.after || r.Text() != want.text {
			t.Errorf("%s: %+v, %q, want %+v", path, r, r.Text(), want)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirection was followed")
	}
}

func TestSender_PrivateAddresses(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "https://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		s := newSender(t, webhook.Endpoint{URL: "https://" + host + ":" + port + "/?t=hunter-value", CAFile: file})
		r := s.Send(t.Context(), "id", []byte("{}"))
		if !errors.Is(r.Err, webhook.ErrPrivate) {
			t.Errorf("%s: %+v, want ErrPrivate", host, r)
		}
		if strings.Contains(r.Text()+s.Name(), "hunter-value") {
			t.Errorf("%s: the query is told: %s, %s", host, r.Text(), s.Name())
		}
	}
	if reached.Load() != 0 {
		t.Error("a private address was reached")
	}
	s := newSender(t, webhook.Endpoint{URL: server.URL, CAFile: file, AllowPrivate: true})
	if r := s.Send(t.Context(), "id", []byte("{}")); r.Err != nil || r.Status != 200 || reached.Load() != 1 {
		t.Errorf("with allow_private: %+v", r)
	}
	s = newSender(t, webhook.Endpoint{URL: server.URL, AllowPrivate: true})
	if r := s.Send(t.Context(), "id", []byte("{}")); r.Err == nil || reached.Load() != 1 {
		t.Errorf("a certificate of nobody was accepted: %+v", r)
	}
}

func TestNewSender_Refuses(t *testing.T) {
	t.Parallel()
	good := []connectors.Secret{secret(0)}
	for want, e := range map[string]webhook.Endpoint{
		"not encrypted":                        {URL: "http://hooks.example.com", Secrets: good},
		"no web address":                       {URL: "ftp://hooks.example.com", Secrets: good},
		"secret: it is missing":                {URL: "https://hooks.example.com"},
		"secret: a signing secret is whsec_":   {URL: "https://hooks.example.com", Secrets: []connectors.Secret{"whsec_hunter"}},
		"make one with: openssl rand -base64":  {URL: "https://hooks.example.com", Secrets: []connectors.Secret{secret(0), connectors.Secret(strings.TrimPrefix(secret(1).Reveal(), "whsec_"))}},
		"ca_file: read CA file: open /nowhere": {URL: "https://hooks.example.com", Secrets: good, CAFile: "/nowhere"},
	} {
		_, err := webhook.NewSender(e, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("NewSender: error %v, want one with %q", err, want)
		}
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.FixedZone("", 3600))
	full := identity.Event{
		Seq: 7, At: at, Type: identity.EventUserUpdated, Actor: identity.Actor{Kind: "key", ID: "k", Name: "Okta", RequestID: "q", RunID: "r"},
		Object: identity.ObjectUser, ObjectID: "u", Name: "ana@example.com", Reason: "why",
		Fields: []identity.FieldChange{{Path: "title", Before: nil, After: "Lead"}},
	}
	got, err := webhook.Body("e", &full)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"user.updated","timestamp":"2026-03-01T11:00:00.123456Z","data":{"event_id":"e","sequence":7,` +
		`"actor":{"kind":"key","id":"k","name":"Okta"},"object":"user","object_id":"u","name":"ana@example.com",` +
		`"fields":[{"path":"title","before":null,"after":"Lead"}],"members":[],"members_count":0,"members_truncated":false,` +
		`"reason":"why","request_id":"q","run_id":"r"}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("Body (-want +got):\n%s", diff)
	}
	for n, kept := range map[int]int{1000: 1000, 1001: 1000} {
		e := identity.Event{Members: make([]string, n)}
		for i := range e.Members {
			e.Members[i] = fmt.Sprint(i)
		}
		body, err := webhook.Body("e", &e)
		if err != nil {
			t.Fatal(err)
		}
		var message struct {
			Data struct {
				Members   []string `json:"members"`
				Count     int      `json:"members_count"`
				Truncated bool     `json:"members_truncated"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &message); err != nil {
			t.Fatal(err)
		}
		if d := message.Data; len(d.Members) != kept || d.Count != n || d.Truncated != (n > kept) || d.Members[kept-1] != "999" {
			t.Errorf("of %d members: %d, count %d, truncated %v", n, len(d.Members), d.Count, d.Truncated)
		}
	}
}
