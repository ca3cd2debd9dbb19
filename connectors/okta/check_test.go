package okta_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// checked is what a check found: names of items that are well, and what is told of the others.
func checked(t *testing.T, c *okta.Connector) (ok []string, bad map[string]string) {
	t.Helper()
	report, err := c.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad = map[string]string{}
	for _, item := range report.Items {
		if item.OK != (item.Remedy == "") || item.Detail == "" {
			t.Errorf("item %+v: a remedy goes with what is not OK, and a detail with everything", item)
		}
		name := strings.TrimSpace(strings.TrimRight(item.Name, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
		if !strings.HasPrefix(item.Name, "application ") {
			name = item.Name
		}
		if item.OK {
			ok = append(ok, name)
		} else {
			bad[name] = item.Detail + ": " + item.Remedy
		}
	}
	if report.OK() != (len(bad) == 0) {
		t.Errorf("OK() = %t with %v", report.OK(), bad)
	}
	return ok, bad
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const users, groups, logs, apps = "scope okta.users.read", "scope okta.groups.read", "scope okta.logs.read", "scope okta.apps.read"
	forbid := func(endpoint string, kind oktatest.FaultKind) func(*oktatest.Tenant, *okta.Options) {
		return func(tenant *oktatest.Tenant, _ *okta.Options) {
			tenant.Inject(oktatest.Fault{Kind: kind, Endpoint: endpoint, Times: -1})
		}
	}
	organization := func(change func(*okta.Options)) func(*oktatest.Tenant, *okta.Options) {
		return func(_ *oktatest.Tenant, o *okta.Options) { change(o) }
	}
	cases := map[string]struct {
		change func(*oktatest.Tenant, *okta.Options)
		ok     []string
		bad    map[string]string // parts of what is told
	}{
		"all is well": {
			change: organization(func(*okta.Options) {}),
			ok:     []string{"connection", "token", users, "clock", groups, logs, "application", "in scope"},
		},
		"not trusted": {
			change: organization(func(o *okta.Options) { o.RootCAs = nil }),
			bad:    map[string]string{"connection": "name the authority in ca_file"},
		},
		"another host's certificate": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				base, address := connectors.NewBase(o.RootCAs), strings.TrimPrefix(o.URL, "https://")
				base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, address)
				}
				o.URL, o.Base = "https://other.okta.test", base
			},
			bad: map[string]string{"connection": "certificate is valid for"},
		},
		"nobody there": {
			change: organization(func(o *okta.Options) { o.URL, o.Retries = "https://127.0.0.1:1", -1 }),
			bad:    map[string]string{"connection": "the network and the proxy"},
		},
		"no such host": {
			change: organization(func(o *okta.Options) { o.URL = "https://acme.okta.invalid" }),
			bad:    map[string]string{"connection": "there is no such host"},
		},
		"no such organization": {
			change: forbid(oktatest.ListUsers, oktatest.NotFound),
			bad:    map[string]string{"connection": "there is no such organization"},
		},
		"no TLS": {
			change: organization(func(o *okta.Options) { o.URL, o.Retries = plainServer(t), -1 }),
			bad:    map[string]string{"connection": "no TLS is spoken there"},
		},
		"not Okta": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) { o.URL, o.Base = otherServer(t) },
			bad:    map[string]string{"connection": "this is not Okta"},
		},
		"wrong token": {
			change: organization(func(o *okta.Options) { o.APIToken = "wrong" }),
			ok:     []string{"connection"}, bad: map[string]string{"token": "an active read-only administrator"},
		},
		"no users": {
			change: forbid(oktatest.ListUsers, oktatest.Forbidden),
			ok:     []string{"connection", "token", groups, logs, "application"}, bad: map[string]string{users: "okta.users.read"},
		},
		"no groups, by OAuth": {
			change: forbid(oktatest.ListGroups, oktatest.ForbiddenOAuth),
			ok:     []string{"connection", "token", users, "clock", logs, "application"}, bad: map[string]string{groups: "okta.groups.read"},
		},
		"no log": {
			change: forbid(oktatest.ListLogs, oktatest.Forbidden),
			ok:     []string{"connection", "token", users, "clock", groups, "application"}, bad: map[string]string{logs: "okta.logs.read"},
		},
		"no applications": {
			change: forbid(oktatest.GetApp, oktatest.Forbidden),
			ok:     []string{"connection", "token", users, "clock", groups, logs}, bad: map[string]string{apps: "okta.apps.read"},
		},
		"no such application": {
			change: organization(func(o *okta.Options) { o.AppID = "0oaDoesNotExist00000" }),
			ok:     []string{"connection", "token", users, "clock", groups, logs}, bad: map[string]string{"application": "copy the id"},
		},
		"our clock is wrong": {
			change: organization(func(o *okta.Options) { o.Now = func() time.Time { return time.Now().Add(24 * time.Hour) } }),
			ok:     []string{"connection", "token", users, groups, logs, "application", "in scope"}, bad: map[string]string{"clock": "24h0m"},
		},
		"a page in between": {
			change: forbid("", oktatest.PortalHTML),
			ok:     []string{"connection", "token"}, bad: map[string]string{users: "text/html", groups: "text/html", logs: "text/html", "application": "text/html"},
		},
		"globs that match nothing": {
			change: organization(func(o *okta.Options) { o.GroupsInclude = []string{"app-*"} }),
			ok:     []string{"connection", "token", users, "clock", groups, logs, "application"}, bad: map[string]string{"in scope": "no group matches groups.include"},
		},
		"nobody assigned": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) { o.AppID = tenant.AddApp("another") },
			ok:     []string{"connection", "token", users, "clock", groups, logs, "application"}, bad: map[string]string{"in scope": "nobody is assigned"},
		},
		"no group assigned": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.AppID = tenant.AddApp("another")
				tenant.AssignUser(o.AppID, tenant.Users()[0].ID, "")
			},
			ok: []string{"connection", "token", users, "clock", groups, logs, "application"}, bad: map[string]string{"in scope": "nobody is in scope"},
		},
		"groups of nobody": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.GroupsInclude = []string{"hollow*"}
				tenant.AddGroup("hollow one")
				tenant.AddGroup("Hollow two")
			},
			ok: []string{"connection", "token", users, "clock", groups, logs, "application"}, bad: map[string]string{"in scope": "have no members"},
		},
		"one member in the last of them": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.GroupsInclude = []string{"hollow*"}
				tenant.AddGroup("hollow one")
				tenant.AddMember(tenant.AddGroup("Hollow two"), tenant.Users()[0].ID)
			},
			ok: []string{"connection", "token", users, "clock", groups, logs, "application", "in scope"},
		},
		"no groups at all": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.AppID, o.RequireGroup = "", new(bool)
				*o.RequireGroup = true
				tenant.DeleteGroup(tenant.Groups()[0].ID)
			},
			ok: []string{"connection", "token", users, "clock", groups, logs}, bad: map[string]string{"in scope": "there are no groups"},
		},
		"nobody at all": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.AppID = ""
				for _, u := range tenant.Users() {
					tenant.DeleteUser(u.ID)
				}
			},
			ok: []string{"connection", "token", users, "clock", groups, logs}, bad: map[string]string{"in scope": "sees no users"},
		},
		"users only": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.AppID = ""
				tenant.DeleteGroup(tenant.Groups()[0].ID)
			},
			ok: []string{"connection", "token", users, "clock", groups, logs, "in scope"},
		},
		"a service application without two scopes": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.APIToken, o.KeyID, o.PrivateKey = "", keyID, pkcs8(rsaKey())
				o.ClientID = tenant.AddService(rsaKey().Public(), keyID, "okta.users.read", "okta.apps.read")
			},
			ok:  []string{"connection", users, apps},
			bad: map[string]string{"token": "grant the application", groups: "okta.groups.read under Okta API Scopes", logs: "okta.logs.read under Okta API Scopes"},
		},
		"a service application of another key": {
			change: func(tenant *oktatest.Tenant, o *okta.Options) {
				o.APIToken, o.KeyID, o.PrivateKey = "", "another", pkcs8(rsaKey())
				o.ClientID = tenant.AddService(rsaKey().Public(), keyID, allScopes...)
			},
			ok: []string{"connection"}, bad: map[string]string{"token": "client_id, key_id and private_key_file belong"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &oktatest.Tenant{}
			tenant.Fill(3, 1, 3)
			app := tenant.AddApp("idpsync")
			tenant.AssignGroup(app, tenant.Groups()[0].ID)
			o := serve(t, tenant)
			o.AppID = app
			c.change(tenant, &o)
			ok, bad := checked(t, connect(t, o))
			if diff := cmp.Diff(c.ok, ok); diff != "" {
				t.Errorf("what is well (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(sortedKeys(c.bad), sortedKeys(bad)); diff != "" {
				t.Errorf("what is not (-want +got):\n%s\n%v", diff, bad)
			}
			for name, want := range c.bad {
				if !strings.Contains(bad[name], want) {
					t.Errorf("%s = %q, want %q in it", name, bad[name], want)
				}
			}
		})
	}
}

// plainServer is the address of a server that speaks no TLS, said to do so.
func plainServer(t *testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http:", "https:", 1)
}

// otherServer is another product, and what connects to it.
func otherServer(t *testing.T) (string, http.RoundTripper) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>Sign in</html>"))
	}))
	t.Cleanup(server.Close)
	return server.URL, server.Client().Transport
}

func TestCheckObeysTheContext(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	tenant.Inject(oktatest.Fault{Kind: oktatest.Slow, Times: -1, Delay: time.Minute})
	c := connect(t, serve(t, tenant))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if report, err := c.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Check = %+v, %v, want the deadline", report, err)
	}
}
