package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
)

func (e *env) usersDeactivate() *cobra.Command {
	return &cobra.Command{
		Use: "deactivate USER", Short: "Deactivate an account that no source owns", Args: oneArg("USER"),
		Long: "Deactivate an account that no source owns, such as a local one: sessions end, API keys are disabled, roles are not in\n" +
			"force. An account that a connector or a SCIM key owns is deactivated there. Break glass keeps the last local admin.",
		Example: "  idpsync users deactivate old-admin@example.com",
		RunE:    e.setActive(false, "Deactivated %s."),
	}
}

func (e *env) usersReactivate() *cobra.Command {
	return &cobra.Command{
		Use: "reactivate USER", Short: "Reactivate an account that no source owns", Args: oneArg("USER"),
		Long:    "Reactivate an account that no source owns. Its API keys stay disabled: see idpsync keys enable.",
		Example: "  idpsync users reactivate old-admin@example.com",
		RunE:    e.setActive(true, "Reactivated %s."),
	}
}

func (e *env) setActive(active bool, done string) func(*cobra.Command, []string) error {
	return e.with(func(ctx context.Context, a *app.App, args []string) error {
		u, err := a.FindUser(ctx, args[0])
		if err != nil {
			return err
		}
		u, err = a.Applier.SetActive(ctx, e.actor(), u.ID, active, "by an administrator")
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s is deleted: push or pull the person again", args[0])
		}
		if err != nil {
			return err
		}
		if e.json() {
			return e.print(asUserJSON(&u))
		}
		e.say(done, u.UserName)
		return nil
	})
}

func (e *env) keysEnable() *cobra.Command {
	return &cobra.Command{
		Use: "enable ID", Short: "Let in again with a key that was disabled with its owner", Args: oneArg("ID"),
		Long: "Let in again with a key that was disabled because its owner was deactivated. The owner has to be active by now; a\n" +
			"revoked key stays revoked.",
		Example: "  idpsync keys enable 3fK9x2QaB7c",
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			enabled, err := a.Applier.EnableKey(ctx, e.actor(), args[0])
			switch {
			case errors.Is(err, store.ErrNotFound):
				return fmt.Errorf("no key %s: see idpsync keys list", args[0])
			case errors.Is(err, lifecycle.ErrOwnerInactive):
				return fmt.Errorf("key %s: %w", args[0], err)
			case err != nil:
				return err
			case !enabled:
				e.say("Key %s is not disabled.", args[0])
				return nil
			}
			e.say("Key %s lets in again.", args[0])
			return nil
		}),
	}
}
