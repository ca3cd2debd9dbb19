// Package cli is the command line: it parses flags, calls the program's parts and prints what they return. Data goes to
// standard output, talk to standard error.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/telemetry"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/store/identity"
)

// defaultConfig is the configuration file that is read where none is named.
const defaultConfig = "idpsync.yaml"

// env is what the commands share: the streams and the persistent flags.
type env struct {
	in       io.Reader
	out, err io.Writer
	config   string
	output   string
	serverFlags
}

// Main runs the command line and returns the exit status. It ends when the command does, or soon after SIGINT or
// SIGTERM.
func Main(args []string, in io.Reader, out, errs io.Writer) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // a pull's heap is small and its garbage is not: memory for a third less collecting
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	return Run(ctx, args, in, out, errs)
}

// Run is Main with a context instead of signals.
func Run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	e := &env{in: in, out: out, err: errs}
	root := e.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	command, err := root.ExecuteContextC(ctx)
	var status exitStatus
	if err != nil && !errors.As(err, &status) {
		e.complain(err)
		var usage usageError
		if errors.As(err, &usage) {
			fmt.Fprintf(errs, "Run '%s --help' for usage.\n", command.CommandPath())
		}
	}
	return statusOf(err)
}

func (e *env) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "idpsync",
		Short: "Keep an application's people right: SCIM 2.0 push, Okta pull, drift repair",
		Long: "idpsync keeps an application's people right. Identity providers push users and groups to it over SCIM 2.0;\n" +
			"it pulls them on a schedule, compares what they state with what it holds, and repairs the drift.\n" +
			"It turns group membership into roles on teams and answers who may do what, and why.\n\n" +
			"Data goes to standard output, talk to standard error.\n\n" +
			"Exit status: 0 done, 1 error, 2 changes present (plan), 3 held by the guard, 4 partial, 5 busy, 64 wrong usage.",
		Example:       "  idpsync demo --once\n  idpsync plan --config idpsync.yaml\n  idpsync serve",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVar(&e.config, "config", "", "read the configuration from `FILE` (default "+defaultConfig+"; without one, SQLite in this folder)")
	root.PersistentFlags().StringVar(&e.output, "output", "text", "print data as `FORMAT`: text, or json with one object a line")
	e.serverFlags.add(root)
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if err := e.serverFlags.check(c, e.config); err != nil {
			return err
		}
		if e.output != "text" && e.output != "json" {
			return usageError{fmt.Errorf("--output %q: want text or json", e.output)}
		}
		return nil
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		e.serveCommand(), e.resyncCommand(), e.planCommand(), e.runsCommand(), e.conflictsCommand(), e.accessCommand(), e.usersCommand(),
		e.groupsCommand(), e.teamsCommand(), e.rolesCommand(), e.adminCommand(), e.sessionsCommand(), e.keysCommand(), e.scimCommand(), e.webhooksCommand(), e.auditCommand(), e.checkCommand(),
		e.migrateCommand(), e.versionCommand(), e.demoCommand(),
	)
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			completionExamples(c)
		}
	}
	// A command that only groups others is not run by itself, although wrongUsage makes cobra think so.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	wrongUsage(root)
	return root
}

// wrongUsage makes wrong arguments and unknown subcommands usage errors, which have an exit status of their own.
func wrongUsage(c *cobra.Command) {
	check := c.Args
	if check == nil || c.HasParent() && c.Parent().Name() == "completion" {
		check = noArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
	if c.HasSubCommands() && c.RunE == nil {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usageError{unknownCommand(c, args[0])}
		}
	}
	for _, sub := range c.Commands() {
		wrongUsage(sub)
	}
}

func unknownCommand(parent *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q for %q", name, parent.CommandPath())
	parent.SuggestionsMinimumDistance = 2
	if near := parent.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}

// noArgs takes no arguments.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// oneArg takes one argument, which the usage line calls what.
func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "" {
			return fmt.Errorf("%s is missing: %s %s", what, c.CommandPath(), what)
		}
		return noArgs(c, args[1:])
	}
}

// atLeast refuses a number of a flag that is too small.
func atLeast(flag string, n, least int) error {
	if n < least {
		return usageError{fmt.Errorf("--%s %d: want %d or more", flag, n, least)}
	}
	return nil
}

// helpCommand is cobra's, except that it fails where there is nothing to help with.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Annotations: map[string]string{localOnly: "it explains this program"},
		Use:         "help [COMMAND...]", Short: "Explain a command", Long: "Explain a command, as --help after it does.",
		Example: "  idpsync help resync\n  idpsync help keys create", Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if at, rest, err := root.Find(args); err == nil && len(rest) == 0 {
				for _, c := range at.Commands() {
					if c.IsAvailableCommand() {
						names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			at := root
			for _, name := range args {
				i := slices.IndexFunc(at.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
				if i < 0 {
					return usageError{unknownCommand(at, name)}
				}
				at = at.Commands()[i]
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
	}
}

// completionExamples gives cobra's completion commands what all others have.
func completionExamples(c *cobra.Command) {
	c.Annotations = map[string]string{localOnly: "it is for the shell on this machine"}
	c.Example = "  source <(idpsync completion bash)"
	for _, sub := range c.Commands() {
		sub.Example = map[string]string{
			"bash":       "  idpsync completion bash > /etc/bash_completion.d/idpsync",
			"zsh":        "  idpsync completion zsh > \"${fpath[1]}/_idpsync\"",
			"fish":       "  idpsync completion fish > ~/.config/fish/completions/idpsync.fish",
			"powershell": "  idpsync completion powershell | Out-String | Invoke-Expression",
		}[sub.Name()]
	}
}

// complain prints an error.
func (e *env) complain(err error) {
	var wrong *configs.Error
	if errors.As(err, &wrong) && len(wrong.Problems) > 1 {
		e.say("Error: the configuration has %d problems:", len(wrong.Problems))
		e.say("%v", err)
		return
	}
	e.say("Error: %s", e.errorText(err))
}

// errorText is an error's text for people, with the remedy where the API or the way to it is at fault.
func (e *env) errorText(err error) string {
	var p *api.Problem
	var other *client.NotAPIError
	text := app.ErrorText(err)
	switch {
	case errors.As(err, &p):
		return strings.Replace(text, p.Error(), problemText(p), 1)
	case errors.As(err, &other):
		return notAPIText(e.address(), other)
	}
	return text
}

// load reads the configuration: the named file, else the default one where it exists, else the built-in defaults.
func (e *env) load() (*configs.Config, error) {
	if e.config != "" {
		return configs.Load(e.config)
	}
	config, err := configs.Load(defaultConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return configs.Default(), nil
	}
	return config, err
}

// open builds the program. quiet keeps the log silent, unless the configuration asks for level debug: such a command
// prints what there is to say itself.
func (e *env) open(ctx context.Context, quiet bool) (*app.App, error) {
	config, err := e.load()
	if err != nil {
		return nil, err
	}
	return e.openWith(ctx, config, quiet)
}

// withApp makes the body of a command that works on the database itself.
func (e *env) withApp(run func(ctx context.Context, a *app.App, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		a, err := e.open(c.Context(), true)
		if err != nil {
			return err
		}
		defer a.Close()
		return run(c.Context(), a, args)
	}
}

func (e *env) openWith(ctx context.Context, config *configs.Config, quiet bool) (*app.App, error) {
	logger, err := e.logger(config, quiet)
	if err != nil {
		return nil, err
	}
	return app.New(ctx, config, logger)
}

func (e *env) logger(config *configs.Config, quiet bool) (*slog.Logger, error) {
	if quiet && config.Log.Level != "debug" {
		return slog.New(slog.DiscardHandler), nil
	}
	return telemetry.NewLogger(e.err, config.Log.Level, config.Log.Format)
}

// json tells whether data is printed as JSON lines.
func (e *env) json() bool { return e.output == "json" }

// print prints one object on a line.
func (e *env) print(v any) error {
	encoder := json.NewEncoder(e.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// table prints rows in columns, the first row being the head.
func (e *env) table(rows [][]string) error {
	w := tabwriter.NewWriter(e.out, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return w.Flush()
}

// printList prints items: one object a line as JSON, else a table under head.
func printList[T any](e *env, head []string, items []T, object func(*T) any, row func(*T) []string) error {
	rows := [][]string{head}
	for i := range items {
		if !e.json() {
			rows = append(rows, row(&items[i]))
		} else if err := e.print(object(&items[i])); err != nil {
			return err
		}
	}
	if e.json() {
		return nil
	}
	return e.table(rows)
}

// sayOf says under a table how much of everything it shows; a total below zero is one that is not known.
func (e *env) sayOf(shown, total int) {
	switch {
	case e.json():
	case total < 0:
		e.say("the first %d of more", shown)
	default:
		e.say("%d of %d", shown, total)
	}
}

// say talks to the operator, on standard error.
func (e *env) say(format string, args ...any) { fmt.Fprintf(e.err, format+"\n", args...) }

// palette colours standard output where it is a terminal that wants colours.
func (e *env) palette() palette {
	return palette{on: isTerminal(e.out) && os.Getenv("NO_COLOR") == ""}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// actor is who does what a command does.
func (e *env) actor() identity.Actor {
	name := os.Getenv("USER")
	if name == "" {
		name = "operator"
	}
	return identity.Actor{Kind: "cli", ID: name, Name: name}
}
