package okta_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

const keyID = "kid-of-the-test"

var allScopes = []string{"okta.users.read", "okta.groups.read", "okta.apps.read", "okta.logs.read"}

// rsaKey makes a key once: that takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pemOf(kind string, der []byte, err error) connectors.Secret {
	if err != nil {
		panic(err)
	}
	return connectors.Secret(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(key any) connectors.Secret {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemOf("PRIVATE KEY", der, err)
}

func pkcs1(key *rsa.PrivateKey) connectors.Secret {
	return pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
}

// service serves an organization to a service application.
func service(t *testing.T, tenant *oktatest.Tenant, scopes ...string) okta.Options {
	t.Helper()
	o := serve(t, tenant)
	o.APIToken, o.KeyID, o.PrivateKey = "", keyID, pkcs8(rsaKey())
	o.ClientID = tenant.AddService(rsaKey().Public(), keyID, scopes...)
	return o
}

func TestSignInWithAPrivateKey(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	cases := map[string]struct {
		text connectors.Secret
		key  crypto.PublicKey
	}{
		"RSA, PKCS#1": {pkcs1(rsaKey()), rsaKey().Public()},
		"RSA, PKCS#8": {pkcs8(rsaKey()), rsaKey().Public()},
		"EC, SEC 1":   {pemOf("EC PRIVATE KEY", sec1, err), ec.Public()},
		"EC, PKCS#8":  {pkcs8(ec), ec.Public()},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant, o := organizationOfPages(t, false)
			o.APIToken, o.KeyID, o.PrivateKey = "", keyID, c.text
			o.ClientID = tenant.AddService(c.key, keyID, "okta.users.read", "okta.groups.read", "okta.logs.read")
			connector := connect(t, o)
			wantAll(t, collect(connector.Full(t.Context(), "")), tenant)
			if report, err := connector.Check(t.Context()); err != nil || !report.OK() {
				t.Errorf("Check = %+v, %v", report, err)
			}
			if got := tenant.Requests(oktatest.FetchToken); got != 1 {
				t.Errorf("%d tokens were fetched, want one", got)
			}
			for _, r := range tenant.Log() {
				if strings.Contains(r.URI, "assertion") {
					t.Errorf("%s has the assertion in its address, where logs show it", r.URI)
				}
			}
		})
	}
}

// TestTokensAreFetchedOneAtATime, by many requests at once, at first and after Okta ended the token.
func TestTokensAreFetchedOneAtATime(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	tenant.Fill(20, 1, 20)
	o := service(t, tenant, allScopes...)
	tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Endpoint: oktatest.FetchToken, Times: -1, Delay: 50 * time.Millisecond})
	c := connect(t, o)
	for round := 1; round <= 3; round++ {
		var wait sync.WaitGroup
		for _, u := range tenant.Users() {
			wait.Go(func() {
				if _, err := c.User(t.Context(), u.ID); err != nil {
					t.Errorf("User = %v", err)
				}
			})
		}
		wait.Wait()
		if got := tenant.Requests(oktatest.FetchToken); got != round {
			t.Errorf("%d tokens were fetched in %d rounds", got, round)
		}
		tenant.RevokeTokens()
	}
}

// TestTokensAreRenewed shortly before they expire, by Okta's clock: ours stands still meanwhile.
func TestTokensAreRenewed(t *testing.T) {
	t.Parallel()
	c := newClock()
	tenant := &oktatest.Tenant{Seed: 1, Now: c.now, TokenLife: 10 * time.Minute}
	tenant.Fill(3, 1, 3)
	o := service(t, tenant, allScopes...)
	o.Now = c.now
	connector := connect(t, o)
	for i, want := range []int{1, 1, 2, 2, 3} {
		if _, err := connector.User(t.Context(), tenant.Users()[0].ID); err != nil {
			t.Fatal(err)
		}
		if got := tenant.Requests(oktatest.FetchToken); got != want {
			t.Errorf("after %d × 5 minutes %d tokens were fetched, want %d", i, got, want)
		}
		c.advance(5 * time.Minute)
	}
	for key, n := range connector.Counts() {
		if key.Status != 200 {
			t.Errorf("%d answers %v: an expired token was used", n, key)
		}
	}
}

// TestA401DropsTheToken in the middle of a pull, of a page and of several at once.
func TestA401DropsTheToken(t *testing.T) {
	t.Parallel()
	t.Run("and the pull goes on", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		o.APIToken, o.KeyID, o.PrivateKey, o.ClientID = "", keyID, pkcs8(rsaKey()), tenant.AddService(rsaKey().Public(), keyID, allScopes...)
		c := connect(t, o)
		if _, err := c.User(t.Context(), tenant.Users()[0].ID); err != nil {
			t.Fatal(err)
		}
		tenant.RevokeTokens()
		wantAll(t, collect(c.Full(t.Context(), "")), tenant)
		if got := tenant.Requests(oktatest.FetchToken); got != 2 {
			t.Errorf("%d tokens were fetched, want 2", got)
		}
	})
	t.Run("but not for ever", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		o.APIToken, o.KeyID, o.PrivateKey, o.ClientID = "", keyID, pkcs8(rsaKey()), tenant.AddService(rsaKey().Public(), keyID, allScopes...)
		tenant.Inject(oktatest.Fault{Kind: oktatest.Unauthorized, Endpoint: oktatest.ListUsers, Times: -1})
		c := connect(t, o)
		s := collect(c.Full(t.Context(), ""))
		if !errors.Is(s.Err, connectors.ErrUnauthorized) || anyTrue(s.Complete) {
			t.Errorf("Full = %v, complete %v", s.Err, s.Complete)
		}
		if got := tenant.Requests(oktatest.ListUsers); got != 2 {
			t.Errorf("the users were asked for %d times, want twice", got)
		}
	})
}

// TestAClockThatIsOff signs assertions that are dated by Okta's clock, as soon as that is known.
func TestAClockThatIsOff(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"behind": -3 * time.Hour, "ahead": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant, o := organizationOfPages(t, false)
			o.APIToken, o.KeyID, o.PrivateKey, o.ClientID = "", keyID, pkcs8(rsaKey()), tenant.AddService(rsaKey().Public(), keyID, allScopes...)
			o.Now = func() time.Time { return time.Now().Add(skew) }
			c := connect(t, o)
			wantAll(t, collect(c.Full(t.Context(), "")), tenant)
			if got := tenant.Requests(oktatest.FetchToken); got != 2 {
				t.Errorf("%d tokens were asked for, want 2", got)
			}
			tenant.RevokeTokens()
			wantAll(t, collect(c.Full(t.Context(), "")), tenant)
			if got := tenant.Requests(oktatest.FetchToken); got != 3 {
				t.Errorf("%d tokens were asked for, want 3: Okta's clock is known by now", got)
			}
			report, err := c.Check(t.Context())
			if err != nil || !slices.ContainsFunc(report.Items, func(i connectors.Item) bool { return i.Name == "clock" && !i.OK }) {
				t.Errorf("Check = %+v, %v, want it to tell the clock", report, err)
			}
		})
	}
}

// TestRefusedTokens say what is wrong and what to do, and nothing that is secret.
func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*oktatest.Tenant, *okta.Options)
		want   string
	}{
		"another key":         {change: func(_ *oktatest.Tenant, o *okta.Options) { o.PrivateKey = pkcs8(other) }, want: "key_id names an active public key"},
		"another key's id":    {change: func(_ *oktatest.Tenant, o *okta.Options) { o.KeyID = "other" }, want: "unknown key"},
		"another client":      {change: func(_ *oktatest.Tenant, o *okta.Options) { o.ClientID = "0oaOther" }, want: "check client_id"},
		"a scope not granted": {change: func(tenant *oktatest.Tenant, o *okta.Options) { tenant.Grant(o.ClientID, "okta.users.read") }, want: "grant the application okta.users.read, okta.groups.read, okta.logs.read"},
		"proof of possession": {change: func(tenant *oktatest.Tenant, _ *okta.Options) { tenant.DemandDPoP = true }, want: "turn off \"Require Demonstrating Proof of Possession"},
		"no answer": {change: func(tenant *oktatest.Tenant, _ *okta.Options) {
			tenant.Inject(oktatest.Fault{Kind: oktatest.GatewayHTML, Endpoint: oktatest.FetchToken, Times: -1})
		}, want: "status 502"},
		"an empty answer": {change: func(tenant *oktatest.Tenant, _ *okta.Options) {
			tenant.Inject(oktatest.Fault{Kind: oktatest.Object, Endpoint: oktatest.FetchToken, Times: -1})
		}, want: "no bearer token"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant, o := organizationOfPages(t, false)
			o.APIToken, o.KeyID, o.PrivateKey, o.ClientID = "", keyID, pkcs8(rsaKey()), tenant.AddService(rsaKey().Public(), keyID, allScopes...)
			c.change(tenant, &o)
			var logs strings.Builder
			o.Logger = slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
			s := collect(connect(t, o).Full(t.Context(), ""))
			if s.Err == nil || !strings.Contains(s.Err.Error(), c.want) || anyTrue(s.Complete) || s.Pages > 0 {
				t.Fatalf("Full = %v after %d pages, want %q", s.Err, s.Pages, c.want)
			}
			if known := strings.Contains(c.want, "status") || strings.Contains(c.want, "bearer"); errors.Is(s.Err, connectors.ErrUnauthorized) == known {
				t.Errorf("error = %v, the credential was rejected: %t", s.Err, !known)
			}
			if text := s.Err.Error() + logs.String(); strings.Contains(text, "eyJ") || strings.Contains(text, "PRIVATE KEY") {
				t.Errorf("a secret is in %s", text)
			}
		})
	}
}

func TestNewRefusesKeys(t *testing.T) {
	t.Parallel()
	good := okta.Options{URL: "https://acme.okta.com", ClientID: "0oaService", KeyID: keyID, PrivateKey: pkcs8(rsaKey())}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := good.PrivateKey.Reveal()
	cases := map[string]struct {
		change func(*okta.Options)
		want   string
	}{
		"a token as well":  {func(o *okta.Options) { o.APIToken = "x" }, "exclude each other"},
		"no key":           {func(o *okta.Options) { o.PrivateKey = "" }, "required together"},
		"no client":        {func(o *okta.Options) { o.ClientID = "" }, "required together"},
		"no key's id":      {func(o *okta.Options) { o.KeyID = "" }, "required together"},
		"a client's name":  {func(o *okta.Options) { o.ClientID = "my service" }, "client id"},
		"no PEM":           {func(o *okta.Options) { o.PrivateKey = "x" }, "not in PEM"},
		"a certificate":    {func(o *okta.Options) { o.PrivateKey = pemOf("CERTIFICATE", []byte("x"), nil) }, "not a private key"},
		"a public key":     {func(o *okta.Options) { o.PrivateKey = pemOf("PUBLIC KEY", []byte("x"), nil) }, "not a private key"},
		"an encrypted key": {func(o *okta.Options) { o.PrivateKey = pemOf("ENCRYPTED PRIVATE KEY", []byte("x"), nil) }, "encrypted"},
		"a damaged key": {func(o *okta.Options) {
			o.PrivateKey = connectors.Secret(strings.Replace(text, text[100:120], strings.Repeat("A", 20), 1))
		}, "damaged"},
		"a curve of old": {func(o *okta.Options) { o.PrivateKey = pkcs8(p224) }, "curve"},
	}
	for name, c := range cases {
		o := good
		c.change(&o)
		if _, err := okta.New(o); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), text[100:110]) {
			t.Errorf("%s: New = %v, want %q", name, err, c.want)
		}
	}
	if _, err := okta.New(good); err != nil {
		t.Errorf("New = %v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v", good, good, good); strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("the options print their key: %s", text)
	}
}
