package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

const password = "correct horse battery staple"

// hashed is the password's hash: making one takes a while.
var hashed = sync.OnceValues(func() (string, error) { return signin.HashPassword(password) })

var tester = identity.Actor{Kind: "cli", ID: "test", Name: "test"}

// site is the program serving, to be used by browsers.
type site struct {
	*testing.T
	app *app.App
	url string
}

// serve starts the program with a configuration besides the database, and stops it with the test.
func serve(t *testing.T, dsn, text string) *site {
	t.Helper()
	config, err := configs.Parse("idpsync.yaml", fmt.Appendf(nil, "listen: 127.0.0.1:0\ndatabase: %q\n%s", dsn, text))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, app: open(t, config)}
	ctx, stop := context.WithCancel(t.Context())
	served, urls := make(chan error, 1), make(chan string, 1)
	go func() { served <- s.app.Serve(ctx, func(url string) { urls <- url }) }()
	select {
	case s.url = <-urls:
	case err := <-served:
		t.Fatalf("Serve: %v", err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// admin makes a local admin with the password.
func (s *site) admin(email string) identity.User {
	s.Helper()
	hash, err := hashed()
	s.must(err)
	u, err := s.app.Applier.CreateAdmin(s.Context(), tester, email, hash, false)
	s.must(err)
	return u
}

// events returns the audit events of a type, the newest first, with reason.
func (s *site) events(kind identity.EventType) []string {
	s.Helper()
	all, err := s.app.Store.Audit(s.Context(), store.AuditQuery{Limit: 1000})
	s.must(err)
	var list []string
	for _, e := range all {
		if e.Type == kind {
			list = append(list, strings.TrimSpace(e.Name+" "+e.Reason))
		}
	}
	return list
}

// browser keeps cookies, and follows redirections on the site alone.
type browser struct {
	*site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	s.must(err)
	return &browser{s, &http.Client{Jar: jar, Timeout: time.Minute}}
}

// on is the same browser on another replica.
func (b *browser) on(s *site) *browser {
	other := &browser{s, b.client}
	from, err := url.Parse(b.url)
	b.must(err)
	to, err := url.Parse(s.url)
	b.must(err)
	b.client.Jar.SetCookies(to, b.client.Jar.Cookies(from))
	return other
}

// page is an answer, where redirections led.
type page struct {
	status int
	path   string
	body   string
	header http.Header
}

func (b *browser) do(r *http.Request, err error) page {
	b.Helper()
	b.must(err)
	answer, err := b.client.Do(r)
	b.must(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	b.must(err)
	return page{answer.StatusCode, answer.Request.URL.RequestURI(), string(body), answer.Header}
}

func (b *browser) get(path string) page {
	b.Helper()
	return b.do(http.NewRequestWithContext(b.Context(), http.MethodGet, b.url+path, nil))
}

func (b *browser) post(path string, form url.Values, header ...string) page {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, b.url+path, strings.NewReader(form.Encode()))
	b.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return b.do(r, nil)
}

func (b *browser) signIn(name, password string) page {
	b.Helper()
	return b.post("/sign-in", url.Values{"user_name": {name}, "password": {password}, "return_to": {"/account"}})
}

func (b *browser) want(p page, status int, path string, texts ...string) {
	b.Helper()
	if p.status != status || p.path != path {
		b.Errorf("%d at %s, want %d at %s:\n%s", p.status, p.path, status, path, p.body)
		return
	}
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			b.Errorf("%s is without %q:\n%s", path, text, p.body)
		}
	}
}

// signedIn tells whether the browser gets to see its account.
func (b *browser) signedIn() bool {
	b.Helper()
	return b.get("/account").path == "/account"
}

func (b *browser) wantSignedIn(want bool, when string) {
	b.Helper()
	if got := b.signedIn(); got != want {
		b.Errorf("%s: signed in is %v, want %v", when, got, want)
	}
}

// scimKey makes an admin with a key for the push endpoint, and waits until that answers.
func (s *site) scimKey(email string) apikey.Key {
	s.Helper()
	owner, err := s.app.Applier.CreateAdmin(s.Context(), tester, email, "hash", true)
	s.must(err)
	key := apikey.Generate()
	s.must(s.app.Applier.CreateKey(s.Context(), tester, store.Key{
		ID: key.ID(), UserID: owner.ID, Name: "k", Source: "scim:" + key.ID(), Hash: key.Hash(), Created: time.Now(),
	}))
	for deadline := time.Now().Add(time.Minute); ; {
		if err = s.scim(key, http.MethodGet, "/Users?count=1", ""); err == nil {
			return key
		}
		if time.Now().After(deadline) {
			s.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// scim asks the push endpoint.
func (s *site) scim(key apikey.Key, method, path, body string) error {
	r, err := http.NewRequestWithContext(s.Context(), method, s.url+"/scim/v2"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+key.Reveal())
	r.Header.Set("Content-Type", "application/scim+json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		text, err := io.ReadAll(answer.Body)
		return errors.Join(fmt.Errorf("%s %s: %d %s", method, path, answer.StatusCode, text), err)
	}
	return nil
}

func sqlite(t *testing.T) string {
	t.Helper()
	return storetest.MigratedSQLiteDSN(t)
}
