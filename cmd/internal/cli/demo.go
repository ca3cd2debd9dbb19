package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// demoLines is the number of changes that the demo prints of each run.
const demoLines = 16

func (e *env) demoCommand() *cobra.Command {
	var once bool
	var dir, listen string
	var people, groups int
	c := &cobra.Command{
		Annotations: map[string]string{localOnly: "it makes its own database and server"},

		Use:   "demo",
		Short: "See the main job work: fake Okta and Entra ID tenants, pulled, changed and repaired",
		Long: "Start a fake Okta tenant and a fake Entra ID tenant, pull both into an embedded SQLite database, let people come, leave,\n" +
			"change their names and groups on both sides, show the drift, repair it, and show that nothing is left. Then serve until\n" +
			"Ctrl-C, with the console, and both tenants pulled every minute. Nothing outside a temporary folder and loopback is touched.",
		Example: "  idpsync demo\n  idpsync demo --once\n  idpsync demo --dir /tmp/idpsync-demo",
		RunE: func(c *cobra.Command, _ []string) error {
			if people < 10 || groups < 3 {
				return usageError{errors.New("--people wants at least 10, --groups at least 3")}
			}
			return e.demo(c.Context(), once, dir, listen, people, groups)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end after the repair instead of serving")
	c.Flags().StringVar(&dir, "dir", "", "keep configuration and database in `FOLDER` (default: a temporary one, removed at the end)")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "serve on `ADDRESS`; where it is taken, on a free port")
	c.Flags().IntVar(&people, "people", 500, "`N` people in the tenant")
	c.Flags().IntVar(&groups, "groups", 12, "`N` groups in the tenant")
	return c
}

// demo is one demonstration at work.
type demo struct {
	*env
	tenant   *oktatest.Tenant
	second   *entratest.Tenant
	app      *app.App
	file     string // configuration
	password string // of the admin
}

// demoAdmin is the break-glass admin of the demonstration.
const demoAdmin = "breakglass@demo.test"

func (e *env) demo(ctx context.Context, once bool, dir, listen string, people, groups int) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "idpsync-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if dir, err = filepath.Abs(dir); err != nil {
		return err
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d := &demo{env: e, tenant: &oktatest.Tenant{Seed: 1}, second: &entratest.Tenant{Seed: 2, Domain: "globex.test"}}
	d.tenant.Fill(people, groups, people*2)
	okta := d.tenant.StartTLS()
	defer okta.Close()
	e.head("A fake Okta tenant with %d people and %d groups answers on %s", people, groups, okta.URL)
	bought := d.fillSecond(people)
	entra := d.second.StartTLS()
	defer entra.Close()
	e.head("A fake Entra ID tenant, of a company that was bought, with %d people answers on %s", bought, entra.URL)
	if d.file, err = d.configure(dir, okta, entra, listen); err != nil {
		return err
	}
	config, err := configs.Load(d.file)
	if err != nil {
		return err
	}
	if d.app, err = e.openWith(ctx, config, true); err != nil {
		return err
	}
	defer d.app.Close()
	key, err := d.access(ctx)
	if err != nil {
		return err
	}
	if err := d.story(ctx); err != nil {
		return err
	}
	if once {
		e.head("Done. Without --once it would go on serving now.")
		return nil
	}
	return d.serve(ctx, config, key)
}

func (e *env) head(format string, args ...any) {
	p := e.palette()
	fmt.Fprintf(e.out, "\n%s\n", p.paint(bold, "== "+fmt.Sprintf(format, args...)))
}

// fillSecond makes the people of the second tenant, and returns how many there are. Names of groups are unique here: these
// are others than the first tenant's.
func (d *demo) fillSecond(people int) int {
	n := max(people/5, 20)
	d.second.Fill(n, 0, 0)
	users := d.second.Users()
	for i, name := range []string{"Globex Engineering", "Globex Sales", "Globex Support"} {
		group := d.second.AddGroup(name)
		for j := i; j < len(users); j += 3 {
			d.second.AddMember(group, users[j].ID)
		}
	}
	return n
}

// configure writes the configuration that the demo runs with, for the operator to look at and to use.
func (d *demo) configure(dir string, okta *oktatest.Server, entra *entratest.Server, listen string) (string, error) {
	if l, err := net.Listen("tcp", listen); err == nil {
		_ = l.Close()
	} else {
		d.say("%s is taken, a free port is used instead", listen)
		listen = "127.0.0.1:0"
	}
	ca, secondCA := filepath.Join(dir, "okta-ca.pem"), filepath.Join(dir, "entra-ca.pem")
	if err := errors.Join(okta.WriteCA(ca), entra.WriteCA(secondCA)); err != nil {
		return "", err
	}
	names := d.tenant.Groups()
	text := fmt.Sprintf(`listen: %q
database: %q
scim: {enabled: true}
connectors:
  - name: okta
    type: okta
    url: %q
    api_token: %q
    ca_file: %q
    schedule: "* * * * *"
  - name: entra
    type: entra
    tenant_id: %q
    client_id: %q
    client_secret: %q
    graph_url: %q
    authority: %q
    ca_file: %q
    schedule: "* * * * *"
role_mapping:
  - group: %q
    grants: [{team: root, role: viewer}, {team: Payments, role: operator}]
  - group: %q
    grants: [{team: Payments, role: operator}]
log: {level: info, format: text}
`, listen, "sqlite://"+filepath.Join(dir, "idpsync.db"), okta.URL, oktatest.DefaultToken, ca,
		entratest.DefaultTenantID, entratest.DefaultClientID, entratest.DefaultClientSecret, entra.GraphURL(), entra.Authority(), secondCA, names[0].Name, names[1].Name)
	file := filepath.Join(dir, "idpsync.yaml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// access makes a break-glass admin with a key for the SCIM endpoint, bound to the connector.
func (d *demo) access(ctx context.Context) (string, error) {
	d.password = signin.NewPassword()
	hash, err := signin.HashPassword(d.password)
	if err != nil {
		return "", err
	}
	admin, err := d.app.Applier.CreateAdmin(ctx, d.actor(), demoAdmin, hash, true)
	var taken *store.DuplicateError
	if errors.As(err, &taken) { // a folder that was used before
		if admin, err = d.app.Store.UserByName(ctx, demoAdmin); err == nil {
			_, err = d.app.Applier.SetPassword(ctx, d.actor(), admin.ID, hash)
		}
	}
	if err != nil {
		return "", err
	}
	key := apikey.Generate()
	return key.Reveal(), d.app.Applier.CreateKey(ctx, d.actor(), store.Key{
		ID: key.ID(), UserID: admin.ID, UserName: admin.UserName, Name: "demo", Connector: "okta", Source: "okta",
		Hash: key.Hash(), Created: time.Now().UTC(),
	})
}

// story is what the demo shows.
func (d *demo) story(ctx context.Context) error {
	d.head("First pull into an empty database (the first changes of many)")
	if _, err := d.run(ctx, "okta", false); err != nil {
		return err
	}
	d.head("First pull of the second tenant")
	if _, err := d.run(ctx, "entra", false); err != nil {
		return err
	}
	who, err := d.drift(ctx)
	if err != nil {
		return err
	}
	d.head("The drift: idpsync plan")
	if _, err := d.run(ctx, "okta", true); err != nil {
		return err
	}
	d.head("The repair: idpsync resync")
	if _, err := d.run(ctx, "okta", false); err != nil {
		return err
	}
	d.head("Is anything left? idpsync plan")
	run, err := d.run(ctx, "okta", true)
	if err != nil {
		return err
	}
	if n := run.Counts.Planned(); n != 0 {
		return fmt.Errorf("the repair left %d changes", n)
	}
	d.head("What may %s do, and why? idpsync access", who)
	u, err := d.app.FindUser(ctx, who)
	if err != nil {
		return err
	}
	grants, err := d.app.Store.EffectiveGrants(ctx, u.ID)
	if err != nil {
		return err
	}
	return d.printAccess(roles.Explain(&u, grants))
}

func (d *demo) run(ctx context.Context, connector string, dryRun bool) (identity.Run, error) {
	sources, err := d.app.Sources(connector)
	if err != nil {
		return identity.Run{}, err
	}
	here := &localRunner{env: d.env, app: d.app}
	bar, w := d.watch("okta")
	run, err := here.request(ctx, reconcile.Request{Source: sources[0], DryRun: dryRun, Trigger: "demo"}, w)
	bar.done()
	run, err = d.printEnd(ctx, here, run, err, demoLines)
	if err != nil {
		return run, err
	}
	if run.Status != identity.RunDone && run.Status != identity.RunPlanned {
		return run, fmt.Errorf("the run ended %s", run.Status)
	}
	return run, nil
}

// drift changes people and groups on both sides, says what it did, and returns somebody worth asking about.
func (d *demo) drift(ctx context.Context) (string, error) {
	d.head("Life goes on, on both sides")
	groups := d.tenant.Groups()
	first, second := groups[0], groups[1]
	members := func(g oktatest.Group, n int) ([]oktatest.User, error) {
		if len(g.Members) < n {
			return nil, fmt.Errorf("group %s has %d members, the demo wants %d: ask for more people", g.Name, len(g.Members), n)
		}
		var users []oktatest.User
		for _, id := range g.Members[:n] {
			u, ok := d.tenant.User(id)
			if !ok {
				return nil, fmt.Errorf("no user %s in the tenant", id)
			}
			users = append(users, u)
		}
		return users, nil
	}
	people, err := members(first, 6)
	if err != nil {
		return "", err
	}
	tell := func(side, format string, args ...any) {
		fmt.Fprintf(d.out, "  %-6s %s\n", side, fmt.Sprintf(format, args...))
	}

	leaver, gone, renamed, mover, locked, victim := people[0], people[1], people[2], people[3], people[4], people[5]
	d.tenant.SetStatus(leaver.ID, "DEPROVISIONED")
	tell("okta", "%s leaves the company (DEPROVISIONED)", leaver.Login())
	d.tenant.DeleteUser(gone.ID)
	tell("okta", "%s is deleted for good", gone.Login())
	login := "married." + renamed.Login()
	d.tenant.UpdateUser(renamed.ID, map[string]any{"login": login, "email": login, "lastName": "Lindqvist"})
	tell("okta", "%s marries and becomes %s", renamed.Login(), login)
	d.tenant.RemoveMember(first.ID, mover.ID)
	d.tenant.AddMember(second.ID, mover.ID)
	tell("okta", "%s moves from %s to %s", mover.Login(), first.Name, second.Name)
	d.tenant.SetStatus(locked.ID, "LOCKED_OUT")
	tell("okta", "%s is locked out: a credential state, no reason to take anything away", locked.Login())
	d.tenant.AddUser(map[string]any{"login": "new.hire@acme.test", "email": "new.hire@acme.test", "firstName": "Nia", "lastName": "Hirsch"})
	if u, ok := d.tenant.User("new.hire@acme.test"); ok {
		d.tenant.AddMember(first.ID, u.ID)
	}
	tell("okta", "new.hire@acme.test joins %s", first.Name)
	d.tenant.RenameGroup(groups[2].ID, groups[2].Name+" & Friends")
	tell("okta", "the group %s is renamed", groups[2].Name)

	if _, err := d.app.Store.DB().ExecContext(ctx, "UPDATE users SET active = FALSE WHERE source_id = '"+victim.ID+"'"); err != nil {
		return "", err
	}
	tell("here", "somebody deactivates %s with an SQL statement", victim.Login())
	_, err = d.app.Store.DB().ExecContext(ctx, "DELETE FROM group_members WHERE user_id = (SELECT id FROM users WHERE source_id = '"+renamed.ID+"')")
	if err != nil {
		return "", err
	}
	tell("here", "somebody deletes the memberships of %s", renamed.Login())
	return mover.Login(), nil
}

// serve goes on as `idpsync serve` does, after saying how to look further.
func (d *demo) serve(ctx context.Context, config *configs.Config, key string) error {
	logger, err := d.logger(config, false)
	if err != nil {
		return err
	}
	a, err := app.New(ctx, config, logger)
	if err != nil {
		return err
	}
	defer a.Close()
	self, err := os.Executable()
	if err != nil {
		self = "idpsync"
	}
	gone := d.leaveSecond()
	return a.Serve(ctx, func(url string) {
		d.head("Serving on %s, and pulling both tenants every minute, until Ctrl-C", url)
		fmt.Fprintf(d.out, `The console: open %s/ and sign in as
  user name  %s
  password   %s
%d people have just left at once in Entra ID. The next pull holds that for you to decide: see the overview.

In another terminal:
  curl -H 'Authorization: Bearer %s' '%s/scim/v2/Users?count=2'
  %s --config %s runs list
  %s --config %s users list --inactive
  %s --config %s plan
  curl %s/metrics
`, url, demoAdmin, d.password, gone, key, url, self, d.file, self, d.file, self, d.file, url)
	})
}

// leaveSecond lets more people go in the second tenant than the guard lets through, and returns how many.
func (d *demo) leaveSecond() int {
	users := d.second.Users()
	n := max(len(users)*3/20, 12)
	for _, u := range users[:n] {
		d.second.DeleteUser(u.ID)
	}
	return n
}
