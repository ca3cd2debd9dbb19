// Command fakeidp serves a fake Okta organization or a fake Entra ID tenant over TLS, for demos, benchmarks and
// development; or an identity provider to sign in at, which signs one person in without asking:
//
//	fakeidp --users 500 --groups 12 --memberships 1500 --seed 1 --ca-out ca.pem
//	fakeidp --type entra --users 500 --app --ca-out ca.pem
//	fakeidp --type saml --person ana@example.com --person-groups Engineering,Admins --ca-out ca.pem
//	fakeidp --type oidc --person ana@example.com --ca-out ca.pem
//
// It prints one line with what a connector, or sign_in, needs, and serves until it is told to stop:
//
//	url=... token=... app_id=...
//	tenant_id=... client_id=... client_secret=... authority=... graph_url=... service_principal_id=...
//	metadata_url=...
//	issuer=... client_id=... client_secret=...
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "fakeidp:", err)
		}
		os.Exit(64)
	}
}

// options are what the flags say.
type options struct {
	listen, caOut              string
	users, groups, memberships int
	seed                       uint64
	enforce, assign            bool
	lag                        time.Duration
	token                      string
	person, personGroups       string
}

// server is a fake that serves.
type server interface {
	Close()
	WriteCA(file string) error
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("fakeidp", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	kind := flags.String("type", "okta", "identity provider: okta or entra to pull from, saml or oidc to sign in at")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to serve at")
	flags.IntVar(&o.users, "users", 500, "people")
	flags.IntVar(&o.groups, "groups", 12, "groups")
	flags.IntVar(&o.memberships, "memberships", 0, "memberships in all (default two for each person)")
	flags.Uint64Var(&o.seed, "seed", 1, "the same seed makes the same people")
	flags.StringVar(&o.caOut, "ca-out", "", "file to write the certificate authority to, in PEM")
	flags.BoolVar(&o.enforce, "enforce-limits", false, "answer 429 beyond the recorded rate limits")
	flags.BoolVar(&o.assign, "app", false, "add an application with every group assigned to it")
	flags.DurationVar(&o.lag, "search-lag", 0, "how long Okta's search parameter, or any read of Entra ID's, does not see a change")
	flags.StringVar(&o.token, "token", "", "Okta API token or Entra ID client secret to accept (default a fixed one)")
	flags.StringVar(&o.person, "person", "ana@example.com", "e-mail address of the person whom saml or oidc signs in")
	flags.StringVar(&o.personGroups, "person-groups", "", "groups of that person, with commas between them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || o.users < 0 || o.groups < 0 || o.memberships < 0 {
		return errors.New("want flags only, and no negative numbers")
	}
	if o.memberships == 0 {
		o.memberships = 2 * o.users
	}
	serve := map[string]func(options) (server, string, error){"okta": serveOkta, "entra": serveEntra, "saml": serveSAML, "oidc": serveOIDC}[*kind]
	if serve == nil {
		return fmt.Errorf("want --type okta, entra, saml or oidc, not %q", *kind)
	}
	server, line, err := serve(o)
	if err != nil {
		return err
	}
	defer server.Close()
	if o.caOut != "" {
		if err := server.WriteCA(o.caOut); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(stdout, line); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// serveOkta returns a server and the line that a connector needs.
func serveOkta(o options) (server, string, error) {
	o.token = cmp.Or(o.token, oktatest.DefaultToken)
	tenant := &oktatest.Tenant{Token: o.token, Seed: o.seed, EnforceLimits: o.enforce, SearchLag: o.lag}
	tenant.Fill(o.users, o.groups, o.memberships)
	app := ""
	if o.assign {
		app = tenant.AddApp("idpsync")
		for _, g := range tenant.Groups() {
			tenant.AssignGroup(app, g.ID)
		}
		tenant.ForgetEvents() // the organization has been like this for long
	}
	server, err := tenant.Listen(o.listen)
	if err != nil {
		return nil, "", err
	}
	line := fmt.Sprintf("url=%s token=%s", server.URL, o.token)
	if app != "" {
		line += " app_id=" + app
	}
	return server, line, nil
}

// serveEntra returns a server and the line that a connector needs.
func serveEntra(o options) (server, string, error) {
	o.token = cmp.Or(o.token, entratest.DefaultClientSecret)
	tenant := &entratest.Tenant{ClientSecret: o.token, Seed: o.seed, EnforceLimits: o.enforce, ReplicationDelay: o.lag}
	tenant.Fill(o.users, o.groups, o.memberships)
	app := ""
	if o.assign {
		app = tenant.AddServicePrincipal("idpsync")
		for _, g := range tenant.Groups() {
			tenant.Assign(app, g.ID, "")
		}
	}
	server, err := tenant.Listen(o.listen)
	if err != nil {
		return nil, "", err
	}
	line := fmt.Sprintf("tenant_id=%s client_id=%s client_secret=%s authority=%s graph_url=%s",
		entratest.DefaultTenantID, entratest.DefaultClientID, o.token, server.Authority(), server.GraphURL())
	if app != "" {
		line += " service_principal_id=" + app
	}
	return server, line, nil
}

// serveSAML returns an identity provider and the line that sign_in.saml needs.
func serveSAML(o options) (server, string, error) {
	if err := onLoopback(o); err != nil {
		return nil, "", err
	}
	server, err := idptest.StartSAML()
	if err != nil {
		return nil, "", err
	}
	server.SignIn(personOf(o))
	return server, "metadata_url=" + server.MetadataURL(), nil
}

// serveOIDC returns a provider and the line that sign_in.oidc needs.
func serveOIDC(o options) (server, string, error) {
	if err := onLoopback(o); err != nil {
		return nil, "", err
	}
	server, err := idptest.StartOIDC()
	if err != nil {
		return nil, "", err
	}
	server.SignIn(personOf(o))
	return server, fmt.Sprintf("issuer=%s client_id=%s client_secret=%s", server.Issuer, server.ClientID, server.ClientSecret), nil
}

// onLoopback refuses other addresses: who reaches these identity providers is signed in.
func onLoopback(o options) error {
	if o.listen != "127.0.0.1:0" {
		return errors.New("saml and oidc sign in whoever asks, and listen on loopback alone: leave --listen away")
	}
	return nil
}

func personOf(o options) idptest.Person {
	name, _, _ := strings.Cut(o.person, "@")
	person := idptest.Person{ID: "00u-" + name, Email: o.person, EmailVerified: true, UserName: name, DisplayName: name}
	if o.personGroups != "" {
		person.Groups = strings.Split(o.personGroups, ",")
	}
	return person
}
