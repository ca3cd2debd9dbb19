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
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

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
}

// Main runs the command line and returns the exit status. It ends when the command does, or soon after SIGINT or
// SIGTERM.
func Main(args []string, in io.Reader, out, errs io.Writer) int {
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
		fmt.Fprintln(errs, "Error:", err)
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
			"It turns group membership into roles on teams and answers who may do what, and why.",
		Example:           "  idpsync demo --once\n  idpsync plan --config idpsync.yaml\n  idpsync serve",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.PersistentFlags().StringVar(&e.config, "config", "", "configuration `FILE` (default "+defaultConfig+"; without one, SQLite in this folder)")
	root.PersistentFlags().StringVar(&e.output, "output", "text", "output `FORMAT`: text or json (one object a line)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if e.output != "text" && e.output != "json" {
			return usageError{fmt.Errorf("--output %q: want text or json", e.output)}
		}
		return nil
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		e.serveCommand(), e.resyncCommand(), e.planCommand(), e.runsCommand(), e.accessCommand(), e.usersCommand(),
		e.groupsCommand(), e.teamsCommand(), e.adminCommand(), e.keysCommand(), e.checkCommand(), e.migrateCommand(),
		e.versionCommand(), e.demoCommand(),
	)
	wrongUsage(root)
	return root
}

// wrongUsage makes wrong arguments and unknown subcommands usage errors, which have an exit status of their own.
func wrongUsage(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
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
			text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				text += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usageError{errors.New(text)}
		}
	}
	for _, sub := range c.Commands() {
		wrongUsage(sub)
	}
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

// open builds the program. quiet keeps everything below warnings out of the log, for commands that print themselves.
func (e *env) open(ctx context.Context, quiet bool) (*app.App, error) {
	config, err := e.load()
	if err != nil {
		return nil, err
	}
	return e.openWith(ctx, config, quiet)
}

func (e *env) openWith(ctx context.Context, config *configs.Config, quiet bool) (*app.App, error) {
	logger, err := e.logger(config, quiet)
	if err != nil {
		return nil, err
	}
	return app.New(ctx, config, logger)
}

func (e *env) logger(config *configs.Config, quiet bool) (*slog.Logger, error) {
	level := config.Log.Level
	if quiet && level != "debug" {
		level = "error" // what a command comes to, it prints
	}
	return telemetry.NewLogger(e.err, level, config.Log.Format)
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
