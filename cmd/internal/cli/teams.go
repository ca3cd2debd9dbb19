package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
)

func scopeText(scope []string) string {
	if len(scope) == 0 {
		return "everything"
	}
	return strings.Join(scope, ", ")
}

func (e *env) teamsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "teams", Short: "Look at teams; make, scope, rename and delete local ones",
		Long: "Look at teams; make, scope, rename and delete local ones.\n\n" +
			"Every group has a team of its name, which goes with the group. Local teams are made here, or by a role mapping that\n" +
			"names one. A team's scope says what its roles are for, in your application's own words.",
		Example: "  idpsync teams list\n  idpsync teams create Auditors\n  idpsync teams scope Payments aws-prod github",
	}
	c.AddCommand(e.teamsList(), e.teamsCreate(), e.teamsScope(), e.teamsRename(), e.teamsDelete())
	return c
}

func (e *env) teamsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List teams, root first", Example: "  idpsync teams list --output json",
		RunE: e.with(func(ctx context.Context, d *desk, _ []string) error {
			teams, _, err := listOf[api.Team](ctx, d, "/teams", 0)
			if err != nil {
				return err
			}
			object := func(t *api.Team) any { return t }
			return printList(e, []string{"TEAM", "KIND", "SCOPE", "ID"}, teams, object, func(t *api.Team) []string {
				return []string{t.Name, t.Kind, scopeText(t.Scope), t.ID}
			})
		}),
	}
}

func (e *env) printTeam(t *api.Team, format string, args ...any) error {
	if e.json() {
		return e.print(t)
	}
	e.say(format, args...)
	return nil
}

func (e *env) teamsCreate() *cobra.Command {
	var scope []string
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a local team", Args: oneArg("NAME"),
		Long:    "Make a local team. It stays until it is deleted, whatever is granted on it.",
		Example: "  idpsync teams create Auditors --scope aws-prod",
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			t, err := post[api.Team](ctx, d, "/teams", object{"name": args[0], "scope": append([]string{}, scope...)})
			if answered(err, problemTaken) != nil {
				return fmt.Errorf("team %s exists already: idpsync teams list", args[0])
			}
			if err != nil {
				return err
			}
			return e.printTeam(&t, "Made the team %s.", t.Name)
		}),
	}
	c.Flags().StringSliceVar(&scope, "scope", nil, "what the team's roles are for: `NAME`, may be given several times (default everything)")
	return c
}

func (e *env) teamsScope() *cobra.Command {
	var everything bool
	c := &cobra.Command{
		Use: "scope TEAM NAME... | --everything", Short: "Say what a team's roles are for",
		Long: "Say what a team's roles are for: these names, which your application reads with a person's access, and no others.\n" +
			"--everything ends the restriction. Teams of groups have a scope too.",
		Example: "  idpsync teams scope Payments aws-prod github\n  idpsync teams scope Payments --everything",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 || everything == (len(args) > 1) {
				return usageError{errors.New("want a team and its scope: idpsync teams scope TEAM NAME..., or --everything")}
			}
			return e.with(func(ctx context.Context, d *desk, args []string) error {
				t, err := d.findTeam(ctx, args[0])
				if err != nil {
					return err
				}
				t, err = client.Do[api.Team](ctx, d.Client, http.MethodPatch, "/teams"+part(t.ID), nil, object{"scope": args[1:]})
				if err != nil {
					return err
				}
				return e.printTeam(&t, "Team %s is for %s.", t.Name, scopeText(t.Scope))
			})(c, args)
		},
	}
	c.Flags().BoolVar(&everything, "everything", false, "no restriction")
	return c
}

func (e *env) teamsRename() *cobra.Command {
	return &cobra.Command{
		Use: "rename TEAM NAME", Short: "Give a local team another name",
		Long:    "Give a local team another name. The role mapping follows. A group's team has the group's name.",
		Example: "  idpsync teams rename Auditors \"External Auditors\"",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{errors.New("want a team and its new name: idpsync teams rename TEAM NAME")}
			}
			return e.with(func(ctx context.Context, d *desk, args []string) error {
				t, err := d.findTeam(ctx, args[0])
				if err != nil {
					return err
				}
				renamed, err := client.Do[api.Team](ctx, d.Client, http.MethodPatch, "/teams"+part(t.ID), nil, object{"name": args[1]})
				if answered(err, problemTaken) != nil {
					return fmt.Errorf("team %s exists already: choose another name", args[1])
				}
				if err != nil {
					return err
				}
				return e.printTeam(&renamed, "Team %s is %s now.", t.Name, renamed.Name)
			})(c, args)
		},
	}
}

func (e *env) teamsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete TEAM", Short: "Delete a local team on which nothing is granted", Args: oneArg("TEAM"),
		Example: "  idpsync teams delete Auditors",
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			t, err := d.findTeam(ctx, args[0])
			if err != nil {
				return err
			}
			if _, err := remove[struct{}](ctx, d, "/teams"+part(t.ID)); err != nil {
				return err
			}
			return e.printTeam(&t, "Deleted the team %s.", t.Name)
		}),
	}
}
