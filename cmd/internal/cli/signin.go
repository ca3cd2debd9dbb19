package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
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
			password := chosen
			if password == "" {
				password = signin.NewPassword()
			}
			a, err := e.open(c.Context(), true)
			if err != nil {
				return err
			}
			defer a.Close()
			u, err := a.FindUser(c.Context(), args[0])
			if err != nil {
				return err
			}
			hash, err := signin.HashPassword(password)
			if err != nil {
				return err
			}
			ended, err := a.Applier.SetPassword(c.Context(), e.actor(), u.ID, hash)
			if err != nil {
				return passwordProblem(err)
			}
			if e.json() {
				object := map[string]any{"id": u.ID, "user_name": u.UserName, "sessions_ended": ended}
				if chosen == "" {
					object["password"] = password
				}
				return e.print(object)
			}
			e.say("%s has another password; %s ended.", u.UserName, plural(ended, "session"))
			if !u.Active {
				e.say("The account is not active: nobody signs in with it.")
			}
			if chosen == "" {
				e.say("The password, shown once:")
				fmt.Fprintln(e.out, password)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "password-file", "", "take the password from the first line of `FILE` (- is standard input)")
	return c
}

func passwordProblem(err error) error {
	var notLocal *lifecycle.NotLocalError
	if errors.As(err, &notLocal) {
		return fmt.Errorf("%w: change it there", err)
	}
	return err
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
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			u, err := a.FindUser(ctx, args[0])
			if err != nil {
				return err
			}
			forgotten, err := a.Applier.UnblockSignIn(ctx, e.actor(), u.ID)
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(map[string]any{"id": u.ID, "user_name": u.UserName, "unlocked": forgotten})
			}
			if !forgotten {
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
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			u, err := a.FindUser(ctx, args[0])
			if err != nil {
				return err
			}
			unlinked, err := a.Applier.Unlink(ctx, e.actor(), u.ID)
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(map[string]any{"id": u.ID, "user_name": u.UserName, "unlinked": unlinked})
			}
			if !unlinked {
				e.say("%s was not linked to an identity provider's id.", u.UserName)
				return nil
			}
			e.say("The next sign-in with the name of %s is taken for theirs.", u.UserName)
			return nil
		}),
	}
}
