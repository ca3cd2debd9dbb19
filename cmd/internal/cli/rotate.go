package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
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
			ctx, d, err := e.desk(c.Context())
			if err != nil {
				return err
			}
			defer d.close()
			old, err := d.findKey(ctx, args[0])
			if err != nil {
				return err
			}
			body := object{}
			if expires > 0 {
				body["expires"] = expires.String()
			}
			if expireIn > 0 {
				body["expire_in"] = expireIn.String()
			}
			next, err := post[api.NewKey](ctx, d, "/keys"+part(old.ID)+"/rotate", body)
			if answered(err, problemState) != nil && old.State != "live" {
				return fmt.Errorf("key %s is %s: create a new one with idpsync keys create --user %s", old.ID, old.State, old.User)
			}
			if err != nil {
				return err
			}
			old.Expires = next.OldExpires
			e.sayRotated(&old, &next)
			if e.json() {
				return e.print(map[string]any{
					"id": next.ID, "key": next.Secret, "expires": next.Expires, "old_id": old.ID, "old_expires": old.Expires,
				})
			}
			fmt.Fprintln(e.out, next.Secret)
			return nil
		},
	}
	c.Flags().DurationVar(&expireIn, "expire-in", 0, "end the old key after a `DURATION` such as 24h (default: when it is revoked)")
	c.Flags().DurationVar(&expires, "expires", 0, "lifetime of the new key, a `DURATION` such as 2160h (default: that of the old one)")
	return c
}

func (e *env) sayRotated(old *api.Key, next *api.NewKey) {
	text := fmt.Sprintf("Created key %s of %s. It is shown this once.", next.ID, next.User)
	if next.Expires != nil {
		text += " It ends at " + instant(*next.Expires) + "."
	}
	e.say("%s", text)
	if old.Expires == nil {
		e.say("Key %s lets in as well, until `idpsync keys revoke %s`.", old.ID, old.ID)
		return
	}
	e.say("Key %s lets in as well, until %s or `idpsync keys revoke %s`.", old.ID, instant(*old.Expires), old.ID)
}
