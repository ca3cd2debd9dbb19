package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/app"
)

// checkMost bounds how long everything is tried.
const checkMost = 2 * time.Minute

func (e *env) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try configuration, database, clock, break glass and connectors; say what is wrong and the remedy",
		Long: "Try everything that an installation needs and print what was found, with the remedy where something is wrong. With\n" +
			"--server, the way there, the key and the clocks are tried from here, and all else by the server.\n\n" +
			"Exit status: 0 all is well, 1 something is wrong.",
		Example: "  idpsync check\n  idpsync check --config /etc/idpsync/idpsync.yaml --output json\n  idpsync check --server https://idpsync.example.com",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), checkMost)
			defer cancel()
			items, err := e.check(ctx)
			if err != nil {
				return err
			}
			return e.printChecks(items)
		},
	}
}

// check tries what there is to try.
func (e *env) check(ctx context.Context) ([]api.Check, error) {
	if e.address() != "" {
		return e.checkServer(ctx)
	}
	config, err := e.load()
	if err != nil {
		return nil, err
	}
	logger, err := e.logger(config, true)
	if err != nil {
		return nil, err
	}
	var items []api.Check
	for _, item := range app.Check(ctx, config, logger) {
		items = append(items, api.Check(item))
	}
	return items, nil
}

func (e *env) printChecks(items []api.Check) error {
	wrong, p := 0, e.palette()
	for _, item := range items {
		if !item.OK {
			wrong++
		}
		if e.json() {
			if err := e.print(item); err != nil {
				return err
			}
			continue
		}
		mark := p.paint(green, "ok   ")
		if !item.OK {
			mark = p.paint(red, "WRONG")
		}
		fmt.Fprintf(e.out, "%s  %s: %s: %s\n", mark, item.Of, item.Name, item.Detail)
		if item.Remedy != "" {
			fmt.Fprintf(e.out, "       %s\n", item.Remedy)
		}
	}
	if wrong > 0 {
		return exitStatus(exitError)
	}
	return nil
}

// mostApart is how far the clocks of a server and of this machine may be apart.
const mostApart = 5 * time.Second

// checkServer tries the way to the server, the key and the clocks, and has the server try the rest. What is wrong with one
// keeps it from trying what depends on it.
func (e *env) checkServer(ctx context.Context) ([]api.Check, error) {
	_, d, err := e.desk(ctx)
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	v, err := get[api.Version](ctx, d, "/version")
	took := time.Since(asked)
	if p := (*api.Problem)(nil); errors.As(err, &p) {
		return []api.Check{
			{Of: "server", Name: "reachable", OK: true, Detail: e.address()},
			{Of: "server", Name: "key", Detail: e.errorText(err)},
		}, nil
	}
	if err != nil {
		return []api.Check{{Of: "server", Name: "reachable", Detail: e.errorText(err)}}, nil
	}
	items := []api.Check{{Of: "server", Name: "reachable", OK: true, Detail: fmt.Sprintf("%s, idpsync %s, answered in %s", e.address(), v.Version, took.Round(time.Millisecond))}}
	me, err := get[api.Me](ctx, d, "/me")
	if err != nil {
		return append(items, api.Check{Of: "server", Name: "key", Detail: e.errorText(err)}), nil
	}
	key := api.Check{Of: "server", Name: "key", OK: true, Detail: fmt.Sprintf("%s of %s", me.KeyID, me.UserName)}
	role := api.Check{Of: "server", Name: "role", OK: true}
	switch {
	case me.MayChange:
		role.Detail = "admin: may do everything"
	case me.MayRun:
		role.Detail = "operator: may look, run, approve and decide"
	case me.MayView:
		role.Detail = "viewer: may look; all else is tried by who is operator"
	default:
		role.OK, role.Detail = false, "none on the root team: "+me.UserName+" may see nothing but what concerns them"
		role.Remedy = "let an admin run `idpsync roles grant " + me.UserName + " root:operator`"
	}
	// Half of the time that the answer took is the best guess at the way there.
	apart := asked.Add(took / 2).Sub(v.Time).Abs()
	clock := api.Check{Of: "server", Name: "clock", OK: apart <= mostApart+took/2, Detail: apart.Round(time.Millisecond).String() + " apart"}
	if !clock.OK {
		clock.Detail, clock.Remedy = "this machine's clock and the server's are "+clock.Detail, "synchronize both clocks (NTP)"
	}
	items = append(items, key, role, clock)
	if !me.MayRun {
		return items, nil
	}
	there, err := post[api.Checks](ctx, d, "/check", nil)
	if err != nil {
		return append(items, api.Check{Of: "server", Name: "check", Detail: e.errorText(err)}), nil
	}
	return append(items, there.Items...), nil
}

func (e *env) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  idpsync version --output json\n  idpsync version --server https://idpsync.example.com",
		Long: "Print the version of this program; with --server, that of the server too.",
		RunE: func(c *cobra.Command, _ []string) error {
			p := app.Program()
			here := api.Version{Version: p.Version, Revision: p.Revision, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if !e.json() {
				fmt.Fprintln(e.out, "idpsync "+versionText(&here))
			}
			out := versionJSON(&here)
			if e.address() != "" {
				_, d, err := e.desk(c.Context())
				if err != nil {
					return err
				}
				there, err := get[api.Version](c.Context(), d, "/version")
				if err != nil {
					return err
				}
				out["server"] = versionJSON(&there)
				if !e.json() {
					fmt.Fprintln(e.out, "server  "+versionText(&there))
				}
			}
			if e.json() {
				return e.print(out)
			}
			return nil
		},
	}
}

func versionJSON(v *api.Version) object {
	return object{"version": v.Version, "revision": v.Revision, "go": v.Go, "platform": v.Platform}
}

func versionText(v *api.Version) string {
	text := v.Version
	if v.Revision != "" {
		text += " (" + v.Revision[:min(12, len(v.Revision))] + ")"
	}
	return text + " " + v.Go + " " + v.Platform
}
