package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
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
	verb := "/deactivate"
	if active {
		verb = "/reactivate"
	}
	return e.with(func(ctx context.Context, d *desk, args []string) error {
		u, err := d.findUser(ctx, args[0])
		if err != nil {
			return err
		}
		u, err = post[api.User](ctx, d, "/users"+part(u.ID)+verb, nil)
		if answered(err, problemNotFound) != nil {
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
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			k, err := d.findKey(ctx, args[0])
			if err != nil {
				return err
			}
			disabled := k.State == "disabled"
			if _, err = post[api.Key](ctx, d, "/keys"+part(k.ID)+"/enable", nil); err != nil {
				return fmt.Errorf("key %s: %w", k.ID, err)
			}
			if !disabled {
				e.say("Key %s is not disabled.", k.ID)
				return nil
			}
			e.say("Key %s lets in again.", k.ID)
			return nil
		}),
	}
}

// findKey returns the key with an id, which may have its prefix.
func (d *desk) findKey(ctx context.Context, id string) (api.Key, error) {
	id = strings.TrimPrefix(id, "idps_")
	k, err := get[api.Key](ctx, d, "/keys"+part(id))
	if answered(err, problemNotFound) != nil {
		err = fmt.Errorf("no key %s: see idpsync keys list", id)
	}
	return k, err
}
