package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store/identity"
)

// defaultLines is the number of changes that a run prints as text unless --lines says otherwise.
const defaultLines = 1000

func (e *env) resyncCommand() *cobra.Command {
	var want wanted
	c := &cobra.Command{
		Use:   "resync [CONNECTOR...]",
		Short: "Pull, compare and repair now",
		Long: "Pull the named connectors, or all, compare what they state with what is held, and repair the drift. Where a full\n" +
			"run succeeded within a day, only what changed since the last run is read: at the source, here, and what that run\n" +
			"left undone. --full reads and compares everything.\n\n" +
			"Exit status: 0 done and no drift left, 1 error, 2 changes present (--dry-run, or a connector in mode report),\n" +
			"3 removals held by the guard, 4 partial (the pull was not proven complete, a change failed, or drift is left that\n" +
			"needs an operator), 5 another run of the connector is going.",
		Example:           "  idpsync resync\n  idpsync resync okta --dry-run\n  idpsync resync --output json | jq 'select(.type==\"run\")'",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: e.completeConnectors,
		RunE: func(c *cobra.Command, args []string) error {
			if err := want.check(c); err != nil {
				return err
			}
			return e.runConnectors(c.Context(), args, want)
		},
	}
	c.Flags().StringVar(&want.user, "user", "", "only the person `ID|EMAIL`, step by step")
	c.Flags().StringVar(&want.group, "group", "", "only the group `ID|NAME` with its members, step by step")
	c.Flags().IntVar(&want.mostDeactivations, "max-deactivations", 0, "hold the deactivations of this run if they are more than `N`, instead of the guard's limits for users")
	c.Flags().BoolVar(&want.dryRun, "dry-run", false, "plan only: print the drift and change nothing (same as idpsync plan)")
	want.flags(c)
	return c
}

// wanted is what the flags of resync and plan ask for.
type wanted struct {
	dryRun, full      bool
	lines             int
	user, group       string
	mostDeactivations int
	limited           bool // mostDeactivations was given
}

// check refuses flags that contradict each other.
func (w *wanted) check(c *cobra.Command) error {
	w.limited = c.Flags().Changed("max-deactivations")
	switch {
	case w.user != "" && w.group != "":
		return usageError{errors.New("--user and --group: choose one")}
	case (w.user != "" || w.group != "") && w.full:
		return usageError{errors.New("--full reads everything, --user and --group read one: choose one")}
	case c.Flags().Changed("user") && w.user == "", c.Flags().Changed("group") && w.group == "":
		return usageError{errors.New("--user and --group want a name or an id")}
	}
	return atLeast("max-deactivations", w.mostDeactivations, 0)
}

// request is what is asked of the engine.
func (w *wanted) request(source reconcile.Source) reconcile.Request {
	req := reconcile.Request{
		Source: source, DryRun: w.dryRun, Full: w.full, User: w.user, Group: w.group, Trigger: "cli",
	}
	if w.limited {
		req.MaxDeactivations = &w.mostDeactivations
	}
	return req
}

func (w *wanted) flags(c *cobra.Command) {
	c.Flags().BoolVar(&w.full, "full", false, "read and compare everything, not only what changed")
	c.Flags().IntVar(&w.lines, "lines", defaultLines, "print at most `N` changes as text, 0 for all")
}

func (e *env) planCommand() *cobra.Command {
	want := wanted{dryRun: true}
	c := &cobra.Command{
		Use:   "plan [CONNECTOR...]",
		Short: "Print the drift as a diff and change nothing",
		Long: "Pull the named connectors, or all, and print what a resync would change.\n\n" +
			"Exit status: 0 no drift, 1 error, 2 changes present, 3 the guard would hold removals, 4 partial.",
		Example:           "  idpsync plan\n  idpsync plan okta --output json",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: e.completeConnectors,
		RunE: func(c *cobra.Command, args []string) error {
			return e.runConnectors(c.Context(), args, want)
		},
	}
	want.flags(c)
	return c
}

func (e *env) completeConnectors(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
	defer cancel()
	names, err := e.connectorNames(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// runConnectors runs connectors one after the other and prints each run.
func (e *env) runConnectors(ctx context.Context, names []string, want wanted) error {
	if err := atLeast("lines", want.lines, 0); err != nil {
		return err
	}
	all, err := e.connectorNames(ctx)
	if err != nil {
		return err
	}
	var once []string
	for _, name := range names {
		if err := knownConnector(all, name); err != nil {
			return err
		}
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	switch {
	case len(all) == 0:
		return errors.New("no connector is configured: add one under `connectors:` (see configs/idpsync.example.yaml)")
	case len(once) == 0:
		once = all
	}
	ctx, d, err := e.desk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	held, err := e.syncMapping(ctx, d, want)
	if err != nil {
		return err
	}
	var runs []identity.Run
	var failures, strangers []error // strangers: the connectors that do not know whom or what was asked for
	for _, name := range once {
		run, err := e.runOne(ctx, d, name, want)
		var unknown *reconcile.NotFoundError
		if errors.As(err, &unknown) && len(once) > 1 {
			strangers = append(strangers, err)
			continue
		}
		if err != nil {
			failures = append(failures, err)
			if status := exitStatus(0); !errors.As(err, &status) { // said already
				e.complain(err)
			}
			if ctx.Err() != nil {
				break
			}
			continue
		}
		runs = append(runs, run)
	}
	if len(strangers) > 0 && len(strangers) == len(once) {
		for _, err := range strangers {
			e.complain(err)
		}
		failures = append(failures, strangers...)
	}
	status := statusOfRuns(runs, failures)
	if held {
		status = worse(status, exitHeld)
	}
	return asStatus(status)
}

// syncMapping puts in force what the configuration declares of the role mapping, before the runs that go by it, and
// tells whether the guard held it. A server did so when it started: what it held is told.
func (e *env) syncMapping(ctx context.Context, d *desk, want wanted) (held bool, err error) {
	if want.dryRun {
		return false, nil
	}
	mapping, err := get[api.Mapping](ctx, d, "/role-mappings")
	switch {
	case err != nil:
		return false, err
	case mapping.Problem != "":
		e.complain(errors.New(mapping.Problem))
		return false, nil
	case mapping.Waiting == nil:
		return false, nil
	case d.remote():
		if mapping.Waiting.Guard == "" {
			e.say("What the server's configuration declares of the role mapping is not in force: idpsync roles apply")
			return false, nil
		}
		return true, e.printRemap(mapping.Waiting, want.lines)
	}
	p, err := post[*api.MappingPlan](ctx, d, "/role-mappings/apply", object{})
	if held := answered(err, problemHeld); held != nil && held.Plan != nil {
		return true, e.printRemap(held.Plan, want.lines)
	}
	if err != nil || p.Empty() {
		return false, err
	}
	return false, e.printRemap(p, want.lines)
}

func asStatus(status int) error {
	if status == exitOK {
		return nil
	}
	return exitStatus(status)
}

// runOne runs one connector, with a progress bar on a terminal, and prints its changes and how it ended.
func (e *env) runOne(ctx context.Context, d runner, connector string, want wanted) (identity.Run, error) {
	bar, w := e.watch(connector)
	run, err := d.run(ctx, connector, &want, w)
	bar.done()
	return e.printEnd(ctx, d, run, err, want.lines)
}

// watch returns what is told of a run of a connector, and the bar that it moves: end that.
func (e *env) watch(connector string) (*bar, watch) {
	bar := newBar(e.err, connector)
	return bar, watch{
		progress: bar.update,
		step:     func(step reconcile.Step) { e.printStep(connector, step) },
		joined:   func() { e.say("%s: another run is going; joined it", connector) },
	}
}

// printEnd prints how a run ended, unless it never began.
func (e *env) printEnd(ctx context.Context, d runner, run identity.Run, err error, lines int) (identity.Run, error) {
	var unknown *reconcile.NotFoundError
	if errors.As(err, &unknown) {
		return run, err
	}
	if run.Status == identity.RunRunning || run.Finished.IsZero() {
		return run, err // it never began, or goes on
	}
	if printed := e.printJournal(d.changes(context.WithoutCancel(ctx), run.ID), &run, lines); err == nil {
		err = printed
	}
	return run, err
}

// printStep prints what a run of one person or group read and matched.
func (e *env) printStep(connector string, step reconcile.Step) {
	if e.json() {
		_ = e.print(map[string]any{"type": "step", "connector": connector, "step": step.Kind, "text": step.Text})
		return
	}
	fmt.Fprintf(e.out, "%-8s %s\n", step.Kind, step.Text)
}

// printJournal prints a run with its changes.
func (e *env) printJournal(changes iter.Seq2[identity.Change, error], run *identity.Run, lines int) error {
	p, n := e.palette(), 0
	for c, err := range changes {
		if err != nil {
			return err
		}
		n++
		switch {
		case e.json():
			if err := e.print(asChangeJSON(&c)); err != nil {
				return err
			}
		case lines == 0 || n <= lines:
			if _, err := fmt.Fprintln(e.out, changeLine(p, &c)); err != nil {
				return err
			}
		}
	}
	if e.json() {
		return e.print(asRunJSON(run))
	}
	if lines > 0 && n > lines {
		fmt.Fprintln(e.out, p.paint(dim, fmt.Sprintf("  ... and %d more: idpsync runs show %s", n-lines, run.ID)))
	}
	printRun(e.out, p, run)
	return nil
}

func (e *env) runsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "runs", Short: "Look at past runs and their changes; approve or reject what one held",
		Example: "  idpsync runs list\n  idpsync runs show 0199\n  idpsync runs approve 0199 --plan sha256:...",
	}
	var limit int
	var connector string
	list := &cobra.Command{
		Use: "list", Short: "List runs, the newest first", Example: "  idpsync runs list --limit 5\n  idpsync runs list --connector okta --output json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := atLeast("limit", limit, 1); err != nil {
				return err
			}
			ctx, d, err := e.desk(c.Context())
			if err != nil {
				return err
			}
			defer d.close()
			runs, _, err := listOf[api.Run](ctx, d, "/runs", limit, "connector", connector)
			if err != nil {
				return err
			}
			head := []string{"RUN", "CONNECTOR", "KIND", "TRIGGER", "STATUS", "CHANGES", "APPLIED", "STARTED", "DURATION"}
			object := func(run *api.Run) any { return runJSONOf(run) }
			return printList(e, head, runs, object, func(told *api.Run) []string {
				run := runFrom(told)
				duration := "-"
				if !run.Finished.IsZero() {
					duration = durationText(run.Finished.Sub(run.Started))
				}
				status := string(run.Status)
				if run.DryRun {
					status += " (dry run)"
				}
				return []string{
					run.ID, run.Connector, run.Kind, run.Trigger, status, fmt.Sprint(run.Counts.Planned()),
					fmt.Sprint(run.Counts.Applied), run.Started.Format(time.RFC3339), duration,
				}
			})
		},
	}
	list.Flags().IntVar(&limit, "limit", 20, "list at most `N` runs")
	list.Flags().StringVar(&connector, "connector", "", "list runs of the connector `NAME` only")
	show := &cobra.Command{
		Use: "show ID", Short: "Show a run with every change (the beginning of the id is enough)", Args: oneArg("ID"),
		Example: "  idpsync runs show 0199a3f2\n  idpsync runs show 0199a3f2 --output json",
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			run, err := findRun(ctx, d, args[0])
			if err != nil {
				return err
			}
			if !e.json() {
				fmt.Fprintf(e.out, "run %s of %s: %s, %s by %s, started %s\nplan %s\n",
					run.ID, run.Connector, run.Status, run.Kind, run.Trigger, run.Started.Format(time.RFC3339), run.PlanHash)
			}
			if err := e.printJournal(d.changes(ctx, run.ID), &run, 0); err != nil || e.json() || run.Error == "" {
				return err
			}
			fmt.Fprintln(e.out, e.palette().paint(red, "x failed ("+run.Error+")"))
			return nil
		}),
	}
	c.AddCommand(list, show, e.runsApprove(), e.runsReject())
	return c
}
