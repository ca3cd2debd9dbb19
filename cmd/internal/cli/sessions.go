package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// sessionJSON is a session as `--output json` prints it: never its token.
type sessionJSON struct {
	ID          string    `json:"id"`
	UserID      string    `json:"user_id"`
	User        string    `json:"user"`
	Method      string    `json:"method"`
	Created     time.Time `json:"created"`
	LastSeen    time.Time `json:"last_seen"`
	Expires     time.Time `json:"expires"`
	IdleExpires time.Time `json:"idle_expires"`
	Remote      string    `json:"remote"`
	UserAgent   string    `json:"user_agent"`
}

func (e *env) sessionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "sessions", Short: "List and end the sessions of who is signed in",
		Example: "  idpsync sessions list\n  idpsync sessions end --user ana@acme.test",
	}
	c.AddCommand(e.sessionsList(), e.sessionsEnd())
	return c
}

func (e *env) sessionsList() *cobra.Command {
	var user string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List who is signed in, the newest session first",
		Example: "  idpsync sessions list\n  idpsync sessions list --user ana@acme.test --output json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := atLeast("limit", limit, 1); err != nil {
				return err
			}
			return e.with(func(ctx context.Context, d *desk, _ []string) error {
				id, err := d.userID(ctx, user)
				if err != nil {
					return err
				}
				page, err := get[api.Page[api.SignedIn]](ctx, d, "/sessions", "user", id, "limit", strconv.Itoa(min(limit, mostUnpaged)))
				if err != nil {
					return err
				}
				head := []string{"USER", "BY", "SINCE", "LAST SEEN", "EXPIRES", "FROM", "ID"}
				object := func(s *api.SignedIn) any {
					return sessionJSON{s.ID, s.UserID, s.UserName, s.Method, s.Created, s.LastSeen, s.Expires, s.IdleExpires, s.Remote, s.UserAgent}
				}
				return printList(e, head, page.Items, object, func(s *api.SignedIn) []string {
					return []string{s.UserName, s.Method, instant(s.Created), instant(s.LastSeen), instant(s.Expires), dash(s.Remote), s.ID}
				})
			})(c, nil)
		},
	}
	c.Flags().StringVar(&user, "user", "", "only sessions of the person `USER` (userName, id or externalId)")
	c.Flags().IntVar(&limit, "limit", 100, "list at most `N` sessions")
	return c
}

// mostUnpaged is what lists have at most that are not paged.
const mostUnpaged = 10_000

// userID returns whose id an operator means, or "" for nobody in particular.
func (d *desk) userID(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	u, err := d.findUser(ctx, name)
	return u.ID, err
}

func (e *env) sessionsEnd() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use: "end [ID]", Short: "End a session, or with --user all sessions of a person",
		Long: "End a session by its id, or with --user all sessions of a person, from the next request on and on every server. The\n" +
			"person may sign in again: to keep somebody out, deactivate them.",
		Example: "  idpsync sessions end 5f0c1f0e-6c1b-4a55-9a57-0d6a53cf3c11\n  idpsync sessions end --user ana@acme.test",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case user == "" && len(args) == 0:
				return errors.New("name a session by its id, or a person with --user")
			case user != "" && len(args) > 0:
				return errors.New("name a session or --user, not both")
			case user != "":
				return nil
			}
			return oneArg("ID")(c, args)
		},
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			if user == "" {
				_, err := remove[struct{}](ctx, d, "/sessions"+part(args[0]))
				if answered(err, problemNotFound) != nil {
					return fmt.Errorf("no session %s: see idpsync sessions list", args[0])
				}
				if err != nil {
					return err
				}
				return e.ended(1)
			}
			id, err := d.userID(ctx, user)
			if err != nil {
				return err
			}
			ended, err := remove[api.SessionsEnded](ctx, d, "/sessions", "user", id)
			if err != nil {
				return err
			}
			return e.ended(ended.Ended)
		}),
	}
	c.Flags().StringVar(&user, "user", "", "all sessions of the person `USER` (userName, id or externalId)")
	return c
}

func (e *env) ended(n int) error {
	if e.json() {
		return e.print(map[string]any{"sessions_ended": n})
	}
	e.say("%s ended.", plural(n, "session"))
	return nil
}
