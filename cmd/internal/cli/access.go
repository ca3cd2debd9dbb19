package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

func (e *env) accessCommand() *cobra.Command {
	var (
		c  *cobra.Command
		at string
	)
	c = &cobra.Command{
		Use:   "access USER",
		Short: "Show a person's teams and roles, now or in the past, with the reason for each",
		Long: "Show what a person may do, and every reason for it. A role is held while one of its reasons stands.\n" +
			"USER is a userName, an id or an externalId as they are now.\n\n" +
			"With --at the audit log, which is never pruned, tells what the person might do at that moment, and why; people, teams\n" +
			"and groups are called as they were then. TIME is a moment (2026-03-01T12:00:00Z), a date, which begins at midnight\n" +
			"UTC, or how long ago (90m, 48h, 7d). What was changed in the database by hand is not in the log.",
		Example: "  idpsync access ana@acme.test\n  idpsync access ana@acme.test --output json\n  idpsync access ana@acme.test --at 2026-03-01",
		Args:    oneArg("USER"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			var moment time.Time
			past := c.Flags().Changed("at")
			if past {
				var err error
				if moment, err = pastMoment(at, time.Now()); err != nil {
					return usageError{fmt.Errorf("--at %w", err)}
				}
			}
			u, err := d.findUser(ctx, args[0])
			if err != nil {
				return err
			}
			if past {
				return e.accessAt(ctx, d, u.ID, moment)
			}
			access, err := get[roles.Access](ctx, d, "/users"+part(u.ID)+"/access")
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(access)
			}
			return e.printAccess(access)
		}),
	}
	c.Flags().StringVar(&at, "at", "", "show what the person might do at `TIME`: a moment, a date, or how long ago")
	return c
}

// accessAt prints what somebody might do at a moment.
func (e *env) accessAt(ctx context.Context, d *desk, userID string, at time.Time) error {
	access, err := get[roles.PastAccess](ctx, d, "/users"+part(userID)+"/access", "at", at.Format(time.RFC3339Nano))
	if err != nil {
		return err
	}
	if e.json() {
		return e.print(access)
	}
	moment := access.At.Format(time.RFC3339)
	return e.printAccessWhile(access.Access, "active at "+moment, "inactive at "+moment+": nothing below was in force")
}

// pastMoment reads a moment up to now: RFC 3339, a date (midnight UTC), or a duration ago, in days too.
// The error begins with the text.
func pastMoment(text string, now time.Time) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		var ago time.Duration
		if ago, err = durationAgo(text); err == nil {
			at = now.Add(-ago)
		}
	}
	switch {
	case err != nil:
		return at, fmt.Errorf("%q: want a moment such as 2026-03-01T12:00:00Z, a date such as 2026-03-01, or how long ago, such as 48h or 7d", text)
	case at.After(now):
		return at, fmt.Errorf("%q is in the future: what will be is not known", text)
	}
	return at.UTC().Truncate(time.Microsecond), nil
}

func durationAgo(text string) (time.Duration, error) {
	if days, is := strings.CutSuffix(text, "d"); is {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	ago, err := time.ParseDuration(text)
	if err == nil && ago < 0 {
		err = errors.New("negative")
	}
	return ago, err
}

func (e *env) printAccess(access roles.Access) error {
	return e.printAccessWhile(access, "active", "inactive: nothing below is in force")
}

// printAccessWhile prints access as a table, under what is to be said of somebody active, or else.
func (e *env) printAccessWhile(access roles.Access, active, inactive string) error {
	state := active
	if !access.Active {
		state = inactive
	}
	fmt.Fprintf(e.out, "%s  (%s)\n", access.UserName, state)
	if access.Reason != "" {
		fmt.Fprintln(e.out, access.Reason)
	}
	if len(access.Teams) == 0 {
		fmt.Fprintln(e.out, "no role on any team")
		return nil
	}
	rows := [][]string{{"TEAM", "ROLE", "BECAUSE OF"}}
	for _, team := range access.Teams {
		for _, role := range team.Roles {
			rows = append(rows, []string{team.Team, role.Role, viaTexts(role.Via)})
		}
	}
	return e.table(rows)
}

func viaTexts(list []roles.Via) string {
	reasons := make([]string, len(list))
	for i, via := range list {
		reasons[i] = viaText(via)
	}
	return strings.Join(reasons, "; ")
}

// viaText is one reason for a role.
func viaText(via roles.Via) string {
	switch via.Kind {
	case identity.GrantManual:
		return "given by hand"
	case identity.GrantDirect:
		return "stated by the identity provider"
	case identity.GrantJIT:
		return "given at sign-in, for the group " + via.ID
	}
	reason := strings.TrimSpace(string(via.Kind) + " " + via.Name)
	if via.Through != "" {
		reason += " (through " + via.Through + ")"
	}
	return reason
}
