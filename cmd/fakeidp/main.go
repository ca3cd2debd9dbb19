// Command fakeidp serves a fake Okta organization over TLS, for demos, benchmarks and development:
//
//	fakeidp --users 500 --groups 12 --memberships 1500 --seed 1 --ca-out ca.pem
//
// It prints one line, `url=... token=... app_id=...`, and serves until it is told to stop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "fakeidp:", err)
		}
		os.Exit(64)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("fakeidp", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		listen      = flags.String("listen", "127.0.0.1:0", "address to serve at")
		users       = flags.Int("users", 500, "people")
		groups      = flags.Int("groups", 12, "groups")
		memberships = flags.Int("memberships", 0, "memberships in all (default two for each person)")
		seed        = flags.Uint64("seed", 1, "the same seed makes the same people")
		caOut       = flags.String("ca-out", "", "file to write the certificate authority to, in PEM")
		enforce     = flags.Bool("enforce-limits", false, "answer 429 beyond the recorded rate limits")
		assign      = flags.Bool("app", false, "add an application with every group assigned to it")
		lag         = flags.Duration("search-lag", 0, "how long the search parameter does not see a change")
		token       = flags.String("token", oktatest.DefaultToken, "API token to accept")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *users < 0 || *groups < 0 || *memberships < 0 {
		return errors.New("want flags only, and no negative numbers")
	}
	if *memberships == 0 {
		*memberships = 2 * *users
	}
	tenant := &oktatest.Tenant{Token: *token, Seed: *seed, EnforceLimits: *enforce, SearchLag: *lag}
	tenant.Fill(*users, *groups, *memberships)
	app := ""
	if *assign {
		app = tenant.AddApp("idpsync")
		for _, g := range tenant.Groups() {
			tenant.AssignGroup(app, g.ID)
		}
	}
	server, err := tenant.Listen(*listen)
	if err != nil {
		return err
	}
	defer server.Close()
	if *caOut != "" {
		if err := server.WriteCA(*caOut); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("url=%s token=%s", server.URL, *token)
	if app != "" {
		line += " app_id=" + app
	}
	if _, err := fmt.Fprintln(stdout, line); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
