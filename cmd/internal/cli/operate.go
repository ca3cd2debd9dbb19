package cli

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/store"
)

func (e *env) serveCommand() *cobra.Command {
	return &cobra.Command{
		Annotations: map[string]string{localOnly: "it is the server"},
		Use:         "serve",
		Short:       "Run the SCIM endpoint, the scheduler and the probes in one process",
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
			return e.with(func(ctx context.Context, d *desk, args []string) error {
				made, err := post[api.NewAdmin](ctx, d, "/admins", object{"user_name": args[0], "scim_provisioner": provisioner})
				if err != nil {
					return err
				}
				if e.json() {
					return e.print(made)
				}
				e.say("Created the local admin %s. Its password, shown once:", made.UserName)
				fmt.Fprintln(e.out, made.Password)
				return nil
			})(c, args)
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
			if connector != "" {
				names, err := e.connectorNames(c.Context())
				if err == nil {
					err = knownConnector(names, connector)
				}
				if err != nil {
					return err
				}
			}
			return e.with(func(ctx context.Context, d *desk, _ []string) error {
				owner, err := d.findUser(ctx, user)
				if err != nil {
					return err
				}
				if !owner.Active {
					return fmt.Errorf("%s is not active: its keys would be of no use", owner.UserName)
				}
				body := object{"user": owner.ID, "name": name}
				if connector != "" {
					body["connector"] = connector
				}
				if expires > 0 {
					body["expires"] = expires.String()
				}
				made, err := post[api.NewKey](ctx, d, "/keys", body)
				if err != nil {
					return err
				}
				e.say("Created key %s of %s. It is shown this once.", made.ID, owner.UserName)
				if e.json() {
					return e.print(object{"id": made.ID, "key": made.Secret})
				}
				fmt.Fprintln(e.out, made.Secret)
				return nil
			})(c, nil)
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
		RunE: e.with(func(ctx context.Context, d *desk, _ []string) error {
			keys, _, err := listOf[api.Key](ctx, d, "/keys", 0)
			if err != nil {
				return err
			}
			head := []string{"KEY", "NAME", "OWNER", "CONNECTOR", "STATE", "CREATED", "LAST USED"}
			object := func(k *api.Key) any {
				return keyJSON{k.ID, k.Name, k.User, k.Connector, k.State, k.Created, k.Expires, k.LastUsed}
			}
			return printList(e, head, keys, object, func(k *api.Key) []string {
				used := "never"
				if k.LastUsed != nil {
					used = k.LastUsed.Format(time.RFC3339)
				}
				return []string{k.ID, k.Name, k.User, dash(k.Connector), k.State, k.Created.Format(time.RFC3339), used}
			})
		}),
	}
}

func (e *env) keysRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API key for good, from the next request on", Args: oneArg("ID"), Example: "  idpsync keys revoke 3fK9x2Qa",
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			k, err := d.findKey(ctx, args[0])
			if err != nil {
				return err
			}
			if _, err := remove[struct{}](ctx, d, "/keys"+part(k.ID)); err != nil {
				return err
			}
			e.say("Revoked key %s.", k.ID)
			return nil
		}),
	}
}

func (e *env) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Annotations: map[string]string{localOnly: "a schema is brought up to date where the database is, by the program that comes with it"},
		Use:         "migrate",
		Short:       "Bring the database's schema up to date",
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
