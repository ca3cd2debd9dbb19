package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/cmd/internal/signin"
)

func (e *env) adminPassword() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "password EMAIL",
		Short: "Give a local account another password and end its sessions",
		Long: "Give a local account another password: a new random one, printed once, alone, on standard output, or with\n" +
			"--password-file the first line of a file. All sessions of the account end, and what it failed at sign-in is forgotten.\n" +
			"Accounts of the identity provider have no password here.",
		Example: "  idpsync admin password breakglass@example.com\n  idpsync admin password breakglass@example.com --password-file /run/secrets/breakglass",
		Args:    oneArg("EMAIL"),
		RunE: func(c *cobra.Command, args []string) error {
			chosen, err := e.chosenPassword(file, args[0])
			if err != nil {
				return err
			}
			ctx, d, err := e.desk(c.Context())
			if err != nil {
				return err
			}
			defer d.close()
			u, err := d.findUser(ctx, args[0])
			if err != nil {
				return err
			}
			body := object{}
			if chosen != "" {
				body["password"] = chosen
			}
			set, err := client.Do[api.NewPassword](ctx, d.Client, http.MethodPut, "/users"+part(u.ID)+"/password", nil, body)
			if err != nil {
				return err
			}
			if e.json() {
				out := object{"id": set.ID, "user_name": set.UserName, "sessions_ended": set.SessionsEnded}
				if chosen == "" {
					out["password"] = set.Password
				}
				return e.print(out)
			}
			e.say("%s has another password; %s ended.", set.UserName, plural(set.SessionsEnded, "session"))
			if !set.Active {
				e.say("The account is not active: nobody signs in with it.")
			}
			if chosen == "" {
				e.say("The password, shown once:")
				fmt.Fprintln(e.out, set.Password)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "password-file", "", "take the password from the first line of `FILE` (- is standard input)")
	return c
}

// chosenPassword reads a password from a file, or returns "" where none is named.
func (e *env) chosenPassword(file, name string) (string, error) {
	if file == "" {
		return "", nil
	}
	from := e.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, 64<<10))
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	password, _, _ := strings.Cut(string(text), "\n")
	password = strings.TrimSuffix(password, "\r")
	if err := signin.CheckChosen(password, name); err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	return password, nil
}

func (e *env) adminUnlock() *cobra.Command {
	return &cobra.Command{
		Use:   "unlock EMAIL",
		Short: "Let an account sign in again without waiting for what failed before",
		Long: "Forget the sign-ins that failed with a name, so that nobody who uses it has to wait. What failed from a network over\n" +
			"all names is not forgotten; it does not keep a browser waiting in which somebody signed in before.",
		Example: "  idpsync admin unlock breakglass@example.com",
		Args:    oneArg("EMAIL"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			u, err := d.findUser(ctx, args[0])
			if err != nil {
				return err
			}
			out, err := post[api.Unlocked](ctx, d, "/users"+part(u.ID)+"/unlock", nil)
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(out)
			}
			if !out.Unlocked {
				e.say("No sign-in of %s has failed of late.", u.UserName)
				return nil
			}
			e.say("%s signs in without waiting.", u.UserName)
			return nil
		}),
	}
}

func (e *env) usersUnlink() *cobra.Command {
	return &cobra.Command{
		Use:   "unlink USER",
		Short: "Forget by which id the identity provider means a person at sign-in",
		Long: "Forget by which id the identity provider means a person at sign-in. It is kept from the first sign-in on, and another\n" +
			"id with the same e-mail address is refused (subject_changed): the address may have been given to somebody else. Run\n" +
			"this when it is the same person, for example after the account at the provider was made anew. USER is a userName, an\n" +
			"id or an externalId.",
		Example: "  idpsync users unlink ana@acme.test",
		Args:    oneArg("USER"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			u, err := d.findUser(ctx, args[0])
			if err != nil {
				return err
			}
			out, err := post[api.Unlinked](ctx, d, "/users"+part(u.ID)+"/unlink", nil)
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(out)
			}
			if !out.Unlinked {
				e.say("%s was not linked to an identity provider's id.", u.UserName)
				return nil
			}
			e.say("The next sign-in with the name of %s is taken for theirs.", u.UserName)
			return nil
		}),
	}
}
