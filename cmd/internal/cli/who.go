package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

// holderJSON is somebody who holds a role as `--output json` prints it.
type holderJSON struct {
	UserID      string      `json:"user_id"`
	UserName    string      `json:"user_name"`
	DisplayName string      `json:"display_name,omitempty"`
	Active      bool        `json:"active"`
	Reason      string      `json:"reason,omitempty"` // why the role is suspended
	Team        string      `json:"team"`
	Role        string      `json:"role"`
	Via         []roles.Via `json:"via"`
}

func newRolesWho(e *env) *cobra.Command {
	var inactive bool
	c := &cobra.Command{
		Use: "who TEAM:ROLE", Short: "List everybody who holds a role on a team, with every reason",
		Long: "List every active person who holds a role on a team, in the order of their userNames, with every reason for it.\n" +
			"The people are listed as they are read: there may be a hundred thousand of them.",
		Example: "  idpsync roles who root:admin\n  idpsync roles who Payments:operator --inactive --output json",
		Args:    oneArg("TEAM:ROLE"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			asked, err := teamRole(args[0])
			if err != nil {
				return err
			}
			team, err := heldTeam(ctx, d, asked)
			if err != nil {
				return err
			}
			return e.printHolders(ctx, d, &team, asked.Role, inactive)
		}),
	}
	c.Flags().BoolVar(&inactive, "inactive", false, "list inactive people too, whose role is suspended")
	return c
}

// heldTeam returns the team that is asked about, where it and the role exist.
func heldTeam(ctx context.Context, d *desk, asked identity.TeamRole) (api.Team, error) {
	there, err := get[api.Page[api.RoleInfo]](ctx, d, "/roles")
	if err != nil {
		return api.Team{}, err
	}
	names := make([]string, len(there.Items))
	for i := range there.Items {
		names[i] = there.Items[i].Role
	}
	if !slices.Contains(names, asked.Role) {
		return api.Team{}, fmt.Errorf("no role %q, want one of %s", asked.Role, strings.Join(names, ", "))
	}
	team, err := d.findTeam(ctx, asked.Team)
	if errors.Is(err, errNoTeam) {
		err = fmt.Errorf("no team %q: see idpsync teams list", asked.Team)
	}
	return team, err
}

// holder is somebody who holds roles, as the API tells it.
type holder struct {
	UserID      string             `json:"user_id"`
	UserName    string             `json:"user_name"`
	DisplayName string             `json:"display_name"`
	Active      bool               `json:"active"`
	Reason      string             `json:"reason"`
	Roles       []roles.RoleAccess `json:"roles"`
}

// printHolders prints people as they are read. Columns are as wide as a screenful of rows needs them.
func (e *env) printHolders(ctx context.Context, d *desk, team *api.Team, role string, inactive bool) error {
	const screenful = 200
	w := tabwriter.NewWriter(e.out, 0, 4, 2, ' ', 0)
	state := func(text string) string {
		if inactive {
			return text + "\t"
		}
		return ""
	}
	n, printed := 0, error(nil)
	err := client.All(ctx, d.Client, "/roles"+part(team.ID)+part(role)+"/holders", values("inactive", strconv.FormatBool(inactive)), func(h holder) bool {
		n++
		held := holderJSON{
			UserID: h.UserID, UserName: h.UserName, DisplayName: h.DisplayName, Active: h.Active, Reason: h.Reason, Team: team.Name, Role: role,
		}
		for _, r := range h.Roles {
			held.Via = append(held.Via, r.Via...)
		}
		if e.json() {
			printed = e.print(held)
			return printed == nil
		}
		if n == 1 {
			fmt.Fprintf(w, "USER\tNAME\t%sBECAUSE OF\n", state("STATE"))
		}
		standing := "active"
		if !held.Active {
			standing = held.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s%s\n", held.UserName, dash(h.DisplayName), state(standing), viaTexts(held.Via))
		if n%screenful == 0 {
			printed = w.Flush()
		}
		return printed == nil
	})
	if err := errors.Join(err, printed); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !e.json() {
		e.say("%d hold %s:%s", n, team.Name, role)
	}
	return nil
}
