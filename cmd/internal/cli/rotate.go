package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
)

func (e *env) keysRotate() *cobra.Command {
	var expires, expireIn time.Duration
	c := &cobra.Command{
		Use:   "rotate ID",
		Short: "Create a second key that pushes the same people, and print it once, alone, on standard output",
		Long: "Create a second API key with the owner, the name and the people of another. Both let in until the old one is revoked:\n" +
			"put the new one in at the identity provider, see in `idpsync keys list` that it is used, revoke the old one. With\n" +
			"--expire-in, the old one ends by itself. The new key lives as long as the old one was to, or as --expires says.",
		Example: "  idpsync keys rotate 3fK9x2QaB7c\n  idpsync keys rotate 3fK9x2QaB7c --expire-in 24h > key.txt",
		Args:    oneArg("ID"),
		RunE: func(c *cobra.Command, args []string) error {
			for name, d := range map[string]time.Duration{"expires": expires, "expire-in": expireIn} {
				if d < 0 || d == 0 && c.Flags().Changed(name) {
					return usageError{fmt.Errorf("--%s %s: want a positive duration, for example 720h", name, d)}
				}
			}
			a, err := e.open(c.Context(), true)
			if err != nil {
				return err
			}
			defer a.Close()
			id := strings.TrimPrefix(args[0], "idps_")
			key := apikey.Generate()
			next := store.Key{ID: key.ID(), Hash: key.Hash(), Created: time.Now().UTC()}
			if expires > 0 {
				next.Expires = next.Created.Add(expires)
			}
			old, next, err := a.Applier.RotateKey(c.Context(), e.actor(), id, next, expireIn)
			switch {
			case errors.Is(err, store.ErrNotFound):
				return fmt.Errorf("no key %s: see idpsync keys list", id)
			case errors.Is(err, lifecycle.ErrKeyEnded):
				return fmt.Errorf("key %s is %s: create a new one with idpsync keys create --user %s", id, keyState(&old, time.Now()), old.UserName)
			case err != nil:
				return err
			}
			e.sayRotated(&old, &next)
			if e.json() {
				return e.print(map[string]any{
					"id": next.ID, "key": key.Reveal(), "expires": orNil(next.Expires), "old_id": old.ID, "old_expires": orNil(old.Expires),
				})
			}
			fmt.Fprintln(e.out, key.Reveal())
			return nil
		},
	}
	c.Flags().DurationVar(&expireIn, "expire-in", 0, "end the old key after a `DURATION` such as 24h (default: when it is revoked)")
	c.Flags().DurationVar(&expires, "expires", 0, "lifetime of the new key, a `DURATION` such as 2160h (default: that of the old one)")
	return c
}

func (e *env) sayRotated(old, next *store.Key) {
	text := fmt.Sprintf("Created key %s of %s. It is shown this once.", next.ID, next.UserName)
	if !next.Expires.IsZero() {
		text += " It ends at " + instant(next.Expires) + "."
	}
	e.say("%s", text)
	if old.Expires.IsZero() {
		e.say("Key %s lets in as well, until `idpsync keys revoke %s`.", old.ID, old.ID)
		return
	}
	e.say("Key %s lets in as well, until %s or `idpsync keys revoke %s`.", old.ID, instant(old.Expires), old.ID)
}
