package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func (e *env) conflictsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "conflicts", Short: "Look at records that were not matched for sure, and say what they mean",
		Example: "  idpsync conflicts list\n  idpsync conflicts link 5f2c ana@acme.test\n  idpsync conflicts ignore 5f2c",
	}
	c.AddCommand(e.conflictsList(), e.conflictsLink(), e.conflictsIgnore())
	return c
}

func (e *env) conflictsList() *cobra.Command {
	var all bool
	var connector string
	list := &cobra.Command{
		Use: "list", Short: "List conflicts that wait for an operator, the oldest first",
		Example: "  idpsync conflicts list --connector okta\n  idpsync conflicts list --all --output json",
		RunE: e.with(func(ctx context.Context, d *desk, _ []string) error {
			which := ""
			if all {
				which = "true"
			}
			conflicts, _, err := listOf[api.Conflict](ctx, d, "/conflicts", 0, "connector", connector, "all", which)
			if err != nil {
				return err
			}
			head := []string{"CONFLICT", "CONNECTOR", "OBJECT", "NAME", "SOURCE ID", "STATUS", "SINCE", "REASON"}
			object := func(c *api.Conflict) any { return c }
			return printList(e, head, conflicts, object, func(c *api.Conflict) []string {
				status := c.Status
				if c.DecidedBy != "" {
					status += " by " + c.DecidedBy
				}
				return []string{c.ID, c.Connector, c.Object, c.Name, c.SourceID, status, c.FirstSeen.Format(time.RFC3339), c.Reason}
			})
		}),
	}
	list.Flags().BoolVar(&all, "all", false, "list linked, ignored and resolved ones too")
	list.Flags().StringVar(&connector, "connector", "", "list conflicts of the connector `NAME` only")
	_ = list.RegisterFlagCompletionFunc("connector", e.completeConnectors)
	return list
}

func (e *env) conflictsLink() *cobra.Command {
	return &cobra.Command{
		Use:   "link ID USER|GROUP",
		Short: "Say which held account, or group, a record is",
		Long: "Say which held account, or group, the record of a conflict is. It becomes the connector's, whoever owned it and\n" +
			"whatever it may do, and is compared at once where the connector is configured, else by its next run. Refused, with\n" +
			"the reason, for an account that is active under another record of the connector, and by break glass. The beginning\n" +
			"of the conflict's id is enough.\n\n" +
			"Exit status: 0 linked and compared, 1 refused or an error, else that of the comparison.",
		Example: "  idpsync conflicts link 5f2c ana@acme.test",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 || args[0] == "" || args[1] == "" {
				return fmt.Errorf("want a conflict and a user or group: %s ID USER", c.CommandPath())
			}
			return noArgs(c, args[2:])
		},
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			conflict, err := d.findConflict(ctx, args[0])
			if err != nil {
				return err
			}
			id, name, err := d.findHeld(ctx, conflict.Object, args[1])
			if err != nil {
				return err
			}
			conflict, err = post[api.Conflict](ctx, d, "/conflicts"+part(conflict.ID)+"/link", object{conflict.Object: id, "later": true})
			if err != nil {
				return err
			}
			e.say("Linked: %s's %s %s is %s.", conflict.Connector, conflict.Object, conflict.SourceID, name)
			return e.compareLinked(ctx, d, &conflict)
		}),
	}
}

// compareLinked compares what was linked, where the connector is configured.
func (e *env) compareLinked(ctx context.Context, d *desk, conflict *api.Conflict) error {
	names, err := e.connectorNames(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(names, conflict.Connector) {
		e.say("The configuration has no connector %s: it is compared when it has one again.", conflict.Connector)
		return e.printConflict(conflict)
	}
	want := wanted{user: conflict.SourceID}
	if conflict.Object == string(identity.ObjectGroup) {
		want.user, want.group = "", conflict.SourceID
	}
	run, err := d.run(ctx, conflict.Connector, &want, watch{step: func(reconcile.Step) {}})
	if errors.Is(err, store.ErrBusy) {
		e.say("A run of %s is going: the next one compares it.", conflict.Connector)
		return e.printConflict(conflict)
	}
	if err != nil {
		return fmt.Errorf("it is linked, and was not compared: %w", err)
	}
	if err := e.printConflict(conflict); err != nil {
		return err
	}
	if err := e.printJournal(d.changes(ctx, run.ID), &run, defaultLines); err != nil {
		return err
	}
	return asStatus(statusOfRuns([]identity.Run{run}, nil))
}

// printConflict prints a conflict that was decided, for programs.
func (e *env) printConflict(c *api.Conflict) error {
	if !e.json() {
		return nil
	}
	return e.print(c)
}

func (e *env) conflictsIgnore() *cobra.Command {
	var undo bool
	c := &cobra.Command{
		Use:   "ignore ID",
		Short: "Leave the record of a conflict alone",
		Long: "Leave the record of a conflict alone: no run makes anything of it, counts it or is partial for it. With --undo it is\n" +
			"looked at again by the next run. The beginning of the id is enough.",
		Example: "  idpsync conflicts ignore 5f2c\n  idpsync conflicts ignore 5f2c --undo",
		Args:    oneArg("ID"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			conflict, err := d.findConflict(ctx, args[0])
			if err != nil {
				return err
			}
			conflict, err = post[api.Conflict](ctx, d, "/conflicts"+part(conflict.ID)+"/ignore", object{"undo": undo})
			if err != nil {
				return err
			}
			if undo {
				e.say("Not ignored any more: the next run of %s looks at %s %s again.", conflict.Connector, conflict.Object, conflict.Name)
			} else {
				e.say("Ignored: %s leaves %s %s alone.", conflict.Connector, conflict.Object, conflict.Name)
			}
			return e.printConflict(&conflict)
		}),
	}
	c.Flags().BoolVar(&undo, "undo", false, "look at it again")
	return c
}

// findConflict returns the conflict that an id, or its beginning, means.
func (d *desk) findConflict(ctx context.Context, id string) (api.Conflict, error) {
	c, err := get[api.Conflict](ctx, d, "/conflicts"+part(id))
	if answered(err, problemNotFound) != nil {
		return c, fmt.Errorf("no conflict %s, or several begin so: see idpsync conflicts list --all", id)
	}
	return c, err
}

// findHeld returns the id and the name of the account or group that an operator means.
func (d *desk) findHeld(ctx context.Context, object, name string) (id, called string, err error) {
	if object == string(identity.ObjectGroup) {
		g, err := d.findGroup(ctx, name)
		return g.ID, g.DisplayName, err
	}
	u, err := d.findUser(ctx, name)
	return u.ID, u.UserName, err
}
