package cli

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/store"
)

func (e *env) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the SCIM endpoint, the scheduler and the probes in one process",
		Long: "Run the SCIM 2.0 endpoint (/scim/v2), the administration API (/api/v1), the scheduled pulls, /healthz, /readyz and\n" +
			"/metrics, until SIGINT or SIGTERM; then let requests finish and stop the runs that are going: the next start repairs\n" +
			"what they left. Several processes may serve one PostgreSQL.",
		Example: "  idpsync serve\n  idpsync serve --config /etc/idpsync/idpsync.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := e.open(c.Context(), false)
			if err != nil {
				return err
			}
			defer a.Close()
			return a.Serve(c.Context(), nil)
		},
	}
}

func (e *env) adminCommand() *cobra.Command {
	c := &cobra.Command{Use: "admin", Short: "Make local administrators (break glass), and see to their passwords", Example: "  idpsync admin create you@example.com --scim\n  idpsync admin password you@example.com"}
	var provisioner bool
	create := &cobra.Command{
		Use:   "create EMAIL",
		Short: "Create a local admin on the root team and print its password once",
		Long: "Create a local account that is admin on the root team: break glass, for the day the identity provider is down.\n" +
			"With --scim it may also own the API key with which the identity provider pushes. The password is printed once,\n" +
			"alone, on standard output; only a hash of it is kept.",
		Example: "  idpsync admin create breakglass@example.com\n  idpsync admin create scim@example.com --scim",
		Args:    oneArg("EMAIL"),
		RunE: func(c *cobra.Command, args []string) error {
			address, err := mail.ParseAddress(args[0])
			if err != nil || address.Address != args[0] {
				return usageError{fmt.Errorf("%q is not an e-mail address", args[0])}
			}
			a, err := e.open(c.Context(), true)
			if err != nil {
				return err
			}
			defer a.Close()
			password := signin.NewPassword()
			hash, err := signin.HashPassword(password)
			if err != nil {
				return err
			}
			u, err := a.Applier.CreateAdmin(c.Context(), e.actor(), args[0], hash, provisioner)
			var taken *store.DuplicateError
			if errors.As(err, &taken) {
				return fmt.Errorf("%s exists already (%s): choose another e-mail address for the local admin", args[0], taken.ID)
			}
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(map[string]any{"id": u.ID, "user_name": u.UserName, "password": password, "scim_provisioner": provisioner})
			}
			e.say("Created the local admin %s. Its password, shown once:", u.UserName)
			fmt.Fprintln(e.out, password)
			return nil
		},
	}
	create.Flags().BoolVar(&provisioner, "scim", false, "also give scim_provisioner, to own SCIM keys")
	c.AddCommand(create, e.adminPassword(), e.adminUnlock())
	return c
}

// keyJSON is an API key as `--output json` prints it: never its secret.
type keyJSON struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	User      string     `json:"user"`
	Connector string     `json:"connector,omitempty"`
	State     string     `json:"state"`
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires"`
	LastUsed  *time.Time `json:"last_used"`
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func keyState(k *store.Key, now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case !k.Disabled.IsZero():
		return "disabled"
	case !k.Live(now):
		return "expired"
	}
	return "live"
}

func (e *env) keysCommand() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Make, list, rotate and revoke API keys", Example: "  idpsync keys create --user scim@example.com --name okta --connector okta\n  idpsync keys list"}
	c.AddCommand(e.keysCreate(), e.keysList(), e.keysRotate(), e.keysEnable(), e.keysRevoke())
	return c
}

func (e *env) keysCreate() *cobra.Command {
	var user, name, connector string
	var expires time.Duration
	c := &cobra.Command{
		Use:   "create --user EMAIL --name N",
		Short: "Create an API key and print it once, alone, on standard output",
		Long: "Create a personal API key. It is printed once; only a hash of it is kept. With --connector, what is pushed with it\n" +
			"and what the connector pulls are the same people: set it where one identity provider does both.",
		Example: "  idpsync keys create --user scim@example.com --name \"okta push\" --connector okta\n  idpsync keys create --user scim@example.com --name test --expires 24h > key.txt",
		RunE: func(c *cobra.Command, _ []string) error {
			if user == "" || name == "" {
				return usageError{errors.New("--user and --name are required")}
			}
			if expires < 0 {
				return usageError{fmt.Errorf("--expires %s: want a positive duration, for example 720h", expires)}
			}
			config, err := e.load()
			if err != nil {
				return err
			}
			if connector != "" {
				if err := knownConnector(config, connector); err != nil {
					return err
				}
			}
			a, err := e.openWith(c.Context(), config, true)
			if err != nil {
				return err
			}
			defer a.Close()
			owner, err := a.FindUser(c.Context(), user)
			if err != nil {
				return err
			}
			if !owner.Active {
				return fmt.Errorf("%s is not active: its keys would be of no use", owner.UserName)
			}
			key := apikey.Generate()
			held := store.Key{
				ID: key.ID(), UserID: owner.ID, UserName: owner.UserName, Name: name, Connector: connector,
				Source: connector, Hash: key.Hash(), Created: time.Now().UTC(),
			}
			if connector == "" {
				held.Source = "scim:" + key.ID()
			}
			if expires > 0 {
				held.Expires = held.Created.Add(expires)
			}
			if err := a.Applier.CreateKey(c.Context(), e.actor(), held); err != nil {
				return err
			}
			e.say("Created key %s of %s. It is shown this once.", key.ID(), owner.UserName)
			if e.json() {
				return e.print(map[string]any{"id": key.ID(), "key": key.Reveal()})
			}
			fmt.Fprintln(e.out, key.Reveal())
			return nil
		},
	}
	c.Flags().StringVar(&user, "user", "", "owner of the key, by userName or id: `EMAIL`")
	c.Flags().StringVar(&name, "name", "", "what the key is for: `N`")
	c.Flags().StringVar(&connector, "connector", "", "bind the key to the people of the connector `NAME`")
	c.Flags().DurationVar(&expires, "expires", 0, "lifetime, a `DURATION` such as 2160h (default: no end)")
	_ = c.RegisterFlagCompletionFunc("connector", e.completeConnectors)
	return c
}

func (e *env) keysList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List API keys; secrets are never shown", Example: "  idpsync keys list --output json",
		RunE: e.with(func(ctx context.Context, a *app.App, _ []string) error {
			keys, err := a.Store.Keys(ctx)
			if err != nil {
				return err
			}
			now := time.Now()
			head := []string{"KEY", "NAME", "OWNER", "CONNECTOR", "STATE", "CREATED", "LAST USED"}
			object := func(k *store.Key) any {
				return keyJSON{k.ID, k.Name, k.UserName, k.Connector, keyState(k, now), k.Created, orNil(k.Expires), orNil(k.LastUsed)}
			}
			return printList(e, head, keys, object, func(k *store.Key) []string {
				used := "never"
				if !k.LastUsed.IsZero() {
					used = k.LastUsed.Format(time.RFC3339)
				}
				return []string{k.ID, k.Name, k.UserName, dash(k.Connector), keyState(k, now), k.Created.Format(time.RFC3339), used}
			})
		}),
	}
}

func (e *env) keysRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API key for good, from the next request on", Args: oneArg("ID"), Example: "  idpsync keys revoke 3fK9x2Qa",
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			id := strings.TrimPrefix(args[0], "idps_")
			if err := a.Applier.RevokeKey(ctx, e.actor(), id); errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("no key %s: see idpsync keys list", id)
			} else if err != nil {
				return err
			}
			e.say("Revoked key %s.", id)
			return nil
		}),
	}
}

func (e *env) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try configuration, database, clock, break glass and connectors; say what is wrong and the remedy",
		Long: "Try everything that an installation needs and print what was found, with the remedy where something is wrong.\n\n" +
			"Exit status: 0 all is well, 1 something is wrong.",
		Example: "  idpsync check\n  idpsync check --config /etc/idpsync/idpsync.yaml --output json",
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := e.load()
			if err != nil {
				return err
			}
			logger, err := e.logger(config, true)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), 2*time.Minute)
			defer cancel()
			wrong := 0
			p := e.palette()
			for _, item := range app.Check(ctx, config, logger) {
				if !item.OK {
					wrong++
				}
				if e.json() {
					if err := e.print(item); err != nil {
						return err
					}
					continue
				}
				mark := p.paint(green, "ok   ")
				if !item.OK {
					mark = p.paint(red, "WRONG")
				}
				fmt.Fprintf(e.out, "%s  %s: %s: %s\n", mark, item.Of, item.Name, item.Detail)
				if item.Remedy != "" {
					fmt.Fprintf(e.out, "       %s\n", item.Remedy)
				}
			}
			if wrong > 0 {
				return exitStatus(exitError)
			}
			return nil
		},
	}
}

func (e *env) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: "Bring the database's schema up to date. A fresh database, and SQLite always, are set up by whichever command comes\n" +
			"first; a PostgreSQL that is in use is migrated by this command only.",
		Example: "  idpsync migrate --config /etc/idpsync/idpsync.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := e.load()
			if err != nil {
				return err
			}
			s, err := store.Open(c.Context(), config.Database.Reveal())
			if err != nil {
				return err
			}
			defer s.Close()
			version, err := s.Migrate(c.Context())
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(map[string]any{"schema_version": version, "dialect": s.Dialect()})
			}
			fmt.Fprintf(e.out, "%s schema at version %d\n", s.Dialect(), version)
			return nil
		},
	}
}

func (e *env) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  idpsync version --output json",
		RunE: func(*cobra.Command, []string) error {
			p := app.Program()
			if e.json() {
				return e.print(map[string]any{"version": p.Version, "revision": p.Revision, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			line := "idpsync " + p.Version
			if p.Revision != "" {
				line += " (" + p.Revision[:min(12, len(p.Revision))] + ")"
			}
			fmt.Fprintln(e.out, line, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
			return nil
		},
	}
}
