package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
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
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			asked, err := teamRole(args[0])
			if err != nil {
				return err
			}
			team, err := heldTeam(ctx, a, asked)
			if err != nil {
				return err
			}
			return e.printHolders(ctx, a, &team, store.HolderQuery{TeamID: team.ID, Role: asked.Role, Inactive: inactive})
		}),
	}
	c.Flags().BoolVar(&inactive, "inactive", false, "list inactive people too, whose role is suspended")
	return c
}

// heldTeam returns the team that is asked about, where it and the role exist.
func heldTeam(ctx context.Context, a *app.App, asked identity.TeamRole) (identity.Team, error) {
	mapping, err := a.Applier.Mapping(ctx)
	if err != nil {
		return identity.Team{}, err
	}
	if !mapping.Known(asked.Role) {
		return identity.Team{}, fmt.Errorf("no role %q, want one of %s", asked.Role, strings.Join(mapping.Roles(), ", "))
	}
	team, err := a.Store.TeamByName(ctx, asked.Team)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("no team %q: see idpsync teams list", asked.Team)
	}
	return team, err
}

// printHolders prints people as they are read. Columns are as wide as a screenful of rows needs them.
func (e *env) printHolders(ctx context.Context, a *app.App, team *identity.Team, q store.HolderQuery) error {
	const screenful = 200
	w := tabwriter.NewWriter(e.out, 0, 4, 2, ' ', 0)
	state := func(text string) string {
		if q.Inactive {
			return text + "\t"
		}
		return ""
	}
	n := 0
	err := a.Store.RoleHolders(ctx, q, func(h *store.RoleHolder) error {
		n++
		for i := range h.Grants {
			h.Grants[i].TeamName = team.Name
		}
		access := roles.Explain(&h.User, h.Grants)
		held := holderJSON{
			UserID: access.UserID, UserName: access.UserName, DisplayName: h.DisplayName, Active: access.Active, Reason: access.Reason,
			Team: team.Name, Role: q.Role, Via: access.Teams[0].Roles[0].Via,
		}
		if e.json() {
			return e.print(held)
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
			return w.Flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !e.json() {
		e.say("%d hold %s:%s", n, team.Name, q.Role)
	}
	return nil
}
