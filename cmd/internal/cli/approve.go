package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/store/identity"
)

func (e *env) runsApprove() *cobra.Command {
	var hash string
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Apply the removals that the guard held in a run",
		Long: "Apply just what the guard held in a run, once. The plan's hash, which the run and `runs show` print, says that you\n" +
			"looked at it. Who is to go for absence is read by id once more. Refused, with the reason, for another hash, after\n" +
			"24 hours, and where a later run planned something else.\n\n" +
			"Exit status: 0 all of it applied, 1 refused or an error, 4 a part of it was skipped or failed, 5 a run of the\n" +
			"connector is going.",
		Example: "  idpsync runs approve 0199a3f2 --plan sha256:5f2c...",
		Args:    oneArg("ID"),
		RunE: func(c *cobra.Command, args []string) error {
			if hash == "" {
				return usageError{errors.New("--plan is required: the hash that `idpsync runs show " + args[0] + "` prints")}
			}
			return e.with(func(ctx context.Context, d *desk, args []string) error {
				run, err := findRun(ctx, d, args[0])
				if err != nil {
					return err
				}
				bar, w := e.watch(run.Connector)
				run, err = d.approve(ctx, &run, hash, w)
				bar.done()
				if err != nil {
					return err
				}
				if err := e.printJournal(d.changes(ctx, run.ID), &run, defaultLines); err != nil {
					return err
				}
				return asStatus(statusOfRuns([]identity.Run{run}, nil))
			})(c, args)
		},
	}
	c.Flags().StringVar(&hash, "plan", "", "the plan's `HASH`, as the run printed it")
	return c
}

func (e *env) runsReject() *cobra.Command {
	return &cobra.Command{
		Use:   "reject ID",
		Short: "Let the removals be that the guard held in a run",
		Long: "Let the removals be that the guard held in a run. Later runs that plan the same hold it again, and do not tell\n" +
			"again: mend the cause at the identity provider or in the scope.",
		Example: "  idpsync runs reject 0199a3f2",
		Args:    oneArg("ID"),
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			run, err := findRun(ctx, d, args[0])
			if err != nil {
				return err
			}
			told, err := post[api.Run](ctx, d, "/runs"+part(run.ID)+"/reject", nil)
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(runJSONOf(&told))
			}
			e.say("Rejected what run %s held.", run.ID)
			return nil
		}),
	}
}

// findRun returns the run that an id, or its beginning, means.
func findRun(ctx context.Context, d *desk, id string) (identity.Run, error) {
	told, err := get[api.Run](ctx, d, "/runs"+part(id))
	if answered(err, problemNotFound) != nil {
		return identity.Run{}, fmt.Errorf("no run %s, or several runs begin so: see idpsync runs list", id)
	}
	return runFrom(&told), err
}
