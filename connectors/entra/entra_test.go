package entra_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

func TestOptionsThatAreWrong(t *testing.T) {
	t.Parallel()
	const id = "5e6f7a8b-9c0d-4e1f-a2b3-c4d5e6f7a8b9"
	good := entra.Options{TenantID: id, ClientID: id, ClientSecret: "secret"}
	if _, err := entra.New(good); err != nil {
		t.Fatalf("New = %v", err)
	}
	domain := good
	domain.TenantID = "acme.onmicrosoft.com"
	if _, err := entra.New(domain); err != nil {
		t.Fatalf("New = %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*entra.Options){
		"connector entra: tenant id: it is missing":                                               func(o *entra.Options) { o.TenantID = "" },
		`tenant id "acme/../x": it is neither an id nor a domain`:                                 func(o *entra.Options) { o.TenantID = "acme/../x" },
		`client id "idpsync": it is no id`:                                                        func(o *entra.Options) { o.ClientID = "idpsync" },
		"client secret: there is no credential":                                                   func(o *entra.Options) { o.ClientSecret = "" },
		"there is a certificate file as well; keep one":                                           func(o *entra.Options) { o.CertificateFile = "x.pem" },
		"certificate file: open none.pem":                                                         func(o *entra.Options) { o.ClientSecret, o.CertificateFile = "", "none.pem" },
		"want a certificate and its private key":                                                  func(o *entra.Options) { o.ClientSecret, o.CertificateFile = "", empty },
		`service principal id "0oa1"`:                                                             func(o *entra.Options) { o.ServicePrincipalID = "0oa1" },
		"graph url http://graph.test: tokens would travel in the clear; write https://graph.test": func(o *entra.Options) { o.GraphURL = "http://graph.test/v1.0" },
		"graph url: it is no web address":                                                         func(o *entra.Options) { o.GraphURL = "graph.microsoft.com" },
		"graph url: it goes on after the path":                                                    func(o *entra.Options) { o.GraphURL = "https://graph.test/v1.0?a=b" },
		"authority: it holds a user name or password":                                             func(o *entra.Options) { o.Authority = "https://me:hunter2@login.test" },
		"groups to include: glob 1 is empty":                                                      func(o *entra.Options) { o.GroupsInclude = []string{" "} },
		"exclude each other":                                                                      func(o *entra.Options) { o.CAFile, o.RootCAs = "ca.pem", x509.NewCertPool() },
		"read CA file":                                                                            func(o *entra.Options) { o.CAFile = "no-such-ca.pem" },
		"page size 1000":                                                                          func(o *entra.Options) { o.PageSize = 1000 },
	} {
		o := good
		change(&o)
		if _, err := entra.New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("New = %v, want %q", err, want)
		}
	}
}

// certificate writes a PEM file with a new key and its certificate.
func certificate(t *testing.T) (file string, c *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idpsync"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "client.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return file, c
}

func TestSignInWithACertificate(t *testing.T) {
	t.Parallel()
	file, c := certificate(t)
	tenant := &entratest.Tenant{Seed: 1}
	tenant.Fill(10, 2, 20)
	o := serve(t, tenant)
	o.ClientSecret, o.CertificateFile = "", file
	if s := collect(connect(t, o).Full(t.Context(), "")); !errors.Is(s.Err, connectors.ErrUnauthorized) || !strings.Contains(s.Err.Error(), "AADSTS700027") {
		t.Errorf("Full with an unknown certificate = %v", s.Err)
	}
	tenant.RegisterCertificate(c)
	wantAll(t, collect(connect(t, o).Full(t.Context(), "")), tenant)
}

// Tokens are fetched once for many requests, again before their end, and again when Graph rejects one.
func TestTokens(t *testing.T) {
	t.Parallel()
	t.Run("one for many", func(t *testing.T) {
		t.Parallel()
		tenant, o := tenantOfPages(t, false)
		c := connect(t, o)
		done := make(chan error)
		for range 4 {
			go func() { done <- collect(c.Full(t.Context(), "")).Err }()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got := tenant.Requests(entratest.PostToken); got != 1 {
			t.Errorf("%d tokens were fetched, want 1", got)
		}
	})
	t.Run("rejected", func(t *testing.T) {
		t.Parallel()
		tenant, o := tenantOfPages(t, false)
		c := connect(t, o)
		full := collect(c.Full(t.Context(), ""))
		tenant.RevokeTokens()
		if s := collect(c.Changes(t.Context(), full.Checkpoint)); s.Err != nil {
			t.Errorf("Changes = %v", s.Err)
		}
		if got := tenant.Requests(entratest.PostToken); got != 2 {
			t.Errorf("%d tokens were fetched, want 2", got)
		}
	})
	t.Run("rejected for good", func(t *testing.T) {
		t.Parallel()
		tenant, o := tenantOfPages(t, false)
		c := connect(t, o)
		tenant.Inject(entratest.Fault{Kind: entratest.Unauthorized, Times: -1})
		s := collect(c.Full(t.Context(), ""))
		var e *connectors.IncompleteError
		if !errors.Is(s.Err, connectors.ErrUnauthorized) || errors.As(s.Err, &e) || s.Pages > 0 {
			t.Errorf("Full = %v after %d pages, want the end of the pull", s.Err, s.Pages)
		}
		if got := tenant.Requests(entratest.PostToken); got > 3 {
			t.Errorf("%d tokens were fetched", got)
		}
	})
	t.Run("short-lived", func(t *testing.T) {
		t.Parallel()
		tenant, o := tenantOfPages(t, false)
		tenant.TokenLifetime = 5*time.Minute + 100*time.Millisecond
		c := connect(t, o)
		if s := collect(c.Full(t.Context(), "")); s.Err != nil {
			t.Fatal(s.Err)
		}
		time.Sleep(150 * time.Millisecond)
		if s := collect(c.Full(t.Context(), "")); s.Err != nil || tenant.Requests(entratest.PostToken) < 2 {
			t.Errorf("Full = %v with %d tokens", s.Err, tenant.Requests(entratest.PostToken))
		}
	})
}

// A secret that expired ends the pull, with the authority's code in the text and no secret.
func TestCredentialsThatAreRejected(t *testing.T) {
	t.Parallel()
	tenant, o := tenantOfPages(t, false)
	tenant.SecretExpires = time.Now().Add(-time.Hour)
	s := collect(connect(t, o).Full(t.Context(), ""))
	var e *connectors.IncompleteError
	if !errors.Is(s.Err, connectors.ErrUnauthorized) || !strings.Contains(s.Err.Error(), "AADSTS7000222") || errors.As(s.Err, &e) {
		t.Errorf("Full = %v", s.Err)
	}
	if strings.Contains(s.Err.Error(), entratest.DefaultClientSecret) || strings.Contains(fmt.Sprintf("%+v %#v", o, o), entratest.DefaultClientSecret) {
		t.Error("the secret is told")
	}
}

// National clouds and gateways have other addresses, with other paths. Links are followed to the same host only.
func TestOtherAddresses(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 4, DeltaPage: 10}
	tenant.Fill(35, 3, 50)
	for name, path := range map[string]string{"beta": "/beta", "a slash at the end": "/v1.0/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serve(t, tenant)
			o.GraphURL = strings.TrimSuffix(o.GraphURL, "/v1.0") + path
			o.Authority += "/"
			o.TenantID = entratest.DefaultDomain
			c := connect(t, o)
			s := collect(c.Full(t.Context(), ""))
			wantAll(t, s, tenant)
			if s := collect(c.Changes(t.Context(), s.Checkpoint)); s.Err != nil {
				t.Errorf("Changes = %v", s.Err)
			}
		})
	}
	t.Run("an authority and a Graph of their own", func(t *testing.T) {
		t.Parallel()
		// What answers for Graph is another server than the authority, on another port.
		o, other := serve(t, tenant), serve(t, tenant)
		o.Authority = other.Authority
		o.RootCAs = nil
		if s := collect(connect(t, o).Full(t.Context(), "")); s.Err == nil || len(s.Complete) > 0 {
			t.Errorf("Full with an unknown authority = %v", s.Err)
		}
	})
}

// The token goes to Graph and nowhere else.
func TestTokensGoToGraphOnly(t *testing.T) {
	t.Parallel()
	stolen := make(chan string, 1)
	thief := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("Authorization") }))
	defer thief.Close()
	_, o := tenantOfPages(t, false)
	c := connect(t, o)
	full := collect(c.Full(t.Context(), ""))
	base := strings.TrimSuffix(o.GraphURL, "/v1.0")
	s := collect(c.Changes(t.Context(), strings.ReplaceAll(full.Checkpoint, base, thief.URL)))
	if !errors.Is(s.Err, connectors.ErrResync) {
		t.Errorf("Changes = %v, want ErrResync", s.Err)
	}
	select {
	case token := <-stolen:
		t.Errorf("a request went elsewhere, with %q", token[:min(10, len(token))])
	default:
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const elsewhere = "11111111-2222-4333-8444-555555555555"
	type item struct{ name, remedy string }
	for name, tc := range map[string]struct {
		set  func(*entratest.Tenant, *entra.Options)
		want item // what is wrong; none for the zero value
	}{
		"all is well": {func(*entratest.Tenant, *entra.Options) {}, item{}},
		"another tenant": {
			func(_ *entratest.Tenant, o *entra.Options) { o.TenantID = elsewhere },
			item{"tenant", "copy the tenant id"},
		},
		"a wrong secret": {
			func(_ *entratest.Tenant, o *entra.Options) { o.ClientSecret = "the-id-of-the-secret" },
			item{"credential", "the client secret's value, not its id"},
		},
		"an expired secret": {
			func(tenant *entratest.Tenant, _ *entra.Options) { tenant.SecretExpires = time.Now().Add(-time.Hour) },
			item{"credential", "the client secret expired"},
		},
		"another application": {
			func(_ *entratest.Tenant, o *entra.Options) { o.ClientID = elsewhere },
			item{"credential", "client_id"},
		},
		"an unknown certificate": {
			func(_ *entratest.Tenant, o *entra.Options) { o.ClientSecret = "" },
			item{"credential", "upload the certificate"},
		},
		"an authority nobody vouches for": {
			func(_ *entratest.Tenant, o *entra.Options) { o.RootCAs = nil },
			item{"authority", "ca_file"},
		},
		"nobody at the authority": {
			func(_ *entratest.Tenant, o *entra.Options) { o.Authority, o.Retries = "https://127.0.0.1:1", -1 },
			item{"authority", "check authority, the network"},
		},
		"no Graph at that address": {
			func(_ *entratest.Tenant, o *entra.Options) { o.GraphURL = "https://graph.acme.test/v1.0" },
			item{"credential", "check graph_url"},
		},
		"Graph does not answer": {
			func(tenant *entratest.Tenant, _ *entra.Options) {
				tenant.Inject(entratest.Fault{Kind: entratest.Closed, Endpoint: entratest.ListUsers, Times: -1})
			},
			item{"connection", "check graph_url, the network"},
		},
		"something else at the authority": {
			func(tenant *entratest.Tenant, _ *entra.Options) {
				tenant.Inject(entratest.Fault{Kind: entratest.PortalHTML, Endpoint: entratest.PostToken, Times: -1})
			},
			item{"authority", "what answers there is not Entra ID"},
		},
		"no right to read users": {
			func(tenant *entratest.Tenant, _ *entra.Options) {
				tenant.SetPermissions(entratest.GroupReadAll, entratest.ApplicationReadAll)
			},
			item{"permission User.Read.All", "grant the application permission User.Read.All"},
		},
		"no right to read groups": {
			func(tenant *entratest.Tenant, _ *entra.Options) {
				tenant.SetPermissions(entratest.UserReadAll, entratest.ApplicationReadAll)
			},
			item{"permission GroupMember.Read.All", "grant the application permission GroupMember.Read.All"},
		},
		"no right to read applications": {
			func(tenant *entratest.Tenant, o *entra.Options) {
				tenant.SetPermissions(entratest.UserReadAll, entratest.GroupMemberReadAll)
				o.ServicePrincipalID = tenant.AddServicePrincipal("idpsync")
			},
			item{"permission Application.Read.All", "grant the application permission Application.Read.All"},
		},
		"no such service principal": {
			func(_ *entratest.Tenant, o *entra.Options) { o.ServicePrincipalID = elsewhere },
			item{"service principal " + elsewhere, "copy the object id"},
		},
		"nobody is assigned": {
			func(tenant *entratest.Tenant, o *entra.Options) {
				o.ServicePrincipalID = tenant.AddServicePrincipal("idpsync")
			},
			item{"service principal ", "assign groups or people"},
		},
		"no group is assigned": {
			func(tenant *entratest.Tenant, o *entra.Options) {
				o.ServicePrincipalID = tenant.AddServicePrincipal("idpsync")
				tenant.Assign(o.ServicePrincipalID, tenant.Users()[0].ID, "")
			},
			item{"service principal ", "require_group: false"},
		},
		"no group has such a name": {
			func(_ *entratest.Tenant, o *entra.Options) { o.GroupsInclude = []string{"nothing-like-this-*"} },
			item{"groups", "correct groups.include"},
		},
		"a clock that is wrong": {
			func(_ *entratest.Tenant, o *entra.Options) {
				o.Now = func() time.Time { return time.Now().Add(5 * time.Minute) }
			},
			item{"clock", "set this machine's clock"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Seed: 6}
			tenant.Fill(5, 2, 5)
			o := serve(t, tenant)
			tc.set(tenant, &o)
			if o.ClientSecret == "" {
				o.CertificateFile, _ = certificate(t)
			}
			report, err := connect(t, o).Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var wrong []connectors.Item
			for _, i := range report.Items {
				if !i.OK {
					wrong = append(wrong, i)
				}
				if i.Detail == "" || i.OK != (i.Remedy == "") || strings.Contains(i.Detail+i.Remedy, entratest.DefaultClientSecret) {
					t.Errorf("item %+v", i)
				}
			}
			if tc.want.name == "" {
				if len(wrong) > 0 || len(report.Items) < 6 {
					t.Errorf("report = %+v, want it all in order", report.Items)
				}
				return
			}
			if len(wrong) != 1 || !strings.HasPrefix(wrong[0].Name, tc.want.name) || !strings.Contains(wrong[0].Remedy, tc.want.remedy) {
				t.Errorf("wrong = %+v, want %+v", wrong, tc.want)
			}
		})
	}
}

// An answer's cost counts against the budget: with a small share the pull takes its time, and is never throttled.
func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	tenant, o := tenantOfPages(t, false)
	tenant.EnforceLimits = true
	c := connect(t, o)
	wantAll(t, collect(c.Full(t.Context(), "")), tenant)
	counts := c.Counts()
	var sum int64
	for key, n := range counts {
		if key.Status != http.StatusOK {
			t.Errorf("%d answers %v", n, key)
		}
		if strings.HasPrefix(key.Endpoint, "GET /") {
			sum += n
		}
	}
	if sum != c.Requests() || sum != int64(tenant.GraphRequests()) {
		t.Errorf("Requests() = %d, counted %d, the tenant %d", c.Requests(), sum, tenant.GraphRequests())
	}
	endpoints := map[string]bool{}
	for key := range counts {
		endpoints[key.Endpoint] = true
	}
	want := []string{"GET /groups/delta", "GET /users/delta", "GET openid-configuration", "POST token"}
	if got := slices.Sorted(maps.Keys(endpoints)); !slices.Equal(got, want) {
		t.Errorf("endpoints = %q, want %q", got, want)
	}
}
