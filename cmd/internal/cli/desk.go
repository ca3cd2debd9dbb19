package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/configs"
)

// desk is where commands work: the administration API of a server, or of this process, which has the same rules. So a command
// is written once. What a process does itself better than by asking, running connectors, is runner's.
type desk struct {
	*client.Client
	runner
	app *app.App // nil: on a server
}

// remote tells whether a server is worked on.
func (d *desk) remote() bool { return d.app == nil }

// desk opens the desk: the server's where one is named, else that of the configuration's database. Use the returned context
// with it, and close it.
func (e *env) desk(ctx context.Context) (context.Context, *desk, error) {
	if e.address() == "" {
		config, err := e.load()
		if err != nil {
			return ctx, nil, err
		}
		return e.localDesk(ctx, config)
	}
	c, err := e.serverFlags.client()
	if err != nil {
		return ctx, nil, err
	}
	return ctx, &desk{Client: c, runner: &remoteRunner{env: e, client: c}}, nil
}

func (e *env) localDesk(ctx context.Context, config *configs.Config) (context.Context, *desk, error) {
	a, err := e.openWith(ctx, config, true)
	if err != nil {
		return ctx, nil, err
	}
	inside, err := a.Inside()
	if err != nil {
		return ctx, nil, errors.Join(err, a.Close())
	}
	c := client.New("http://inside", client.Inside{Handler: inside}, nil)
	return api.AsOperator(ctx, e.actor()), &desk{Client: c, runner: &localRunner{env: e, app: a}, app: a}, nil
}

func (d *desk) close() {
	if d.app != nil {
		_ = d.app.Close()
	}
}

// with makes the body of a command that works at the desk and prints what comes of it.
func (e *env) with(run func(ctx context.Context, d *desk, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		ctx, d, err := e.desk(c.Context())
		if err != nil {
			return err
		}
		defer d.close()
		return run(ctx, d, args)
	}
}

// get, post, send and remove call operations.
func get[T any](ctx context.Context, d *desk, path string, query ...string) (T, error) {
	return client.Get[T](ctx, d.Client, path, values(query...))
}

func post[T any](ctx context.Context, d *desk, path string, body any) (T, error) {
	return client.Do[T](ctx, d.Client, http.MethodPost, path, nil, body)
}

func remove[T any](ctx context.Context, d *desk, path string, query ...string) (T, error) {
	return client.Do[T](ctx, d.Client, http.MethodDelete, path, values(query...), nil)
}

// object is a JSON object to send.
type object = map[string]any

// values makes a query of names and values; "" is left out.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// mostPage is what a page has at most.
const mostPage = 500

// listOf returns the first items of a list, 0 for all, and how many there are: -1 for more than these, where that is all
// that is told.
func listOf[T any](ctx context.Context, d *desk, path string, limit int, query ...string) ([]T, int, error) {
	q, total := values(query...), -1
	var items []T
	for {
		size := mostPage
		if limit > 0 {
			size = min(size, limit-len(items))
		}
		q.Set("limit", strconv.Itoa(size))
		page, err := client.Get[api.Page[T]](ctx, d.Client, path, q)
		if err != nil {
			return nil, 0, err
		}
		if page.Total != nil {
			total = *page.Total
		}
		items = append(items, page.Items...)
		if page.NextCursor == "" && total < 0 {
			total = len(items)
		}
		if page.NextCursor == "" || limit > 0 && len(items) >= limit {
			return items, total, nil
		}
		if page.NextCursor == q.Get("cursor") {
			return nil, 0, errors.New("the server answers the same page again")
		}
		q.Set("cursor", page.NextCursor)
	}
}

// findUser returns whom an operator means: by id, userName or externalId.
func (d *desk) findUser(ctx context.Context, name string) (api.User, error) {
	page, err := get[api.Page[api.User]](ctx, d, "/users", "user", name)
	if err == nil && len(page.Items) != 1 {
		err = fmt.Errorf("%w: %s (by id, userName or externalId)", app.ErrNoUser, name)
	}
	if err != nil {
		return api.User{}, err
	}
	return page.Items[0], nil
}

// findGroup returns which group an operator means: by id, displayName or externalId.
func (d *desk) findGroup(ctx context.Context, name string) (api.Group, error) {
	page, err := get[api.Page[api.Group]](ctx, d, "/groups", "group", name)
	if err == nil && len(page.Items) != 1 {
		err = fmt.Errorf("%w: %s (by id, displayName or externalId)", app.ErrNoGroup, name)
	}
	if err != nil {
		return api.Group{}, err
	}
	return page.Items[0], nil
}

// errNoTeam says that there is no team of a name.
var errNoTeam = errors.New("no such team")

// findTeam returns the team that a name or an id means.
func (d *desk) findTeam(ctx context.Context, name string) (api.Team, error) {
	page, err := get[api.Page[api.Team]](ctx, d, "/teams", "team", name)
	if err == nil && len(page.Items) != 1 {
		err = fmt.Errorf("%w: %s (by name or id): see idpsync teams list", errNoTeam, name)
	}
	if err != nil {
		return api.Team{}, err
	}
	return page.Items[0], nil
}

// part makes a text a part of a path.
func part(text string) string { return "/" + url.PathEscape(text) }

// answered returns the problem that an operation answered, where its kind or status is one of these, or nil.
func answered(err error, kinds ...string) *api.Problem {
	var p *api.Problem
	if !errors.As(err, &p) {
		return nil
	}
	for _, kind := range kinds {
		if p.Type == "urn:idpsync:"+kind || strconv.Itoa(p.Status) == kind {
			return p
		}
	}
	return nil
}

// Kinds of problem that commands tell apart.
const (
	problemTaken    = "taken"
	problemHeld     = "held"
	problemChanged  = "plan-changed"
	problemBusy     = "busy"
	problemNotFound = "404"
	problemState    = "state"
)

// connectorNames returns how the connectors are called that the configuration, or the server, has.
func (e *env) connectorNames(ctx context.Context) ([]string, error) {
	if e.address() == "" {
		config, err := e.load()
		if err != nil {
			return nil, err
		}
		names := make([]string, len(config.Connectors))
		for i := range config.Connectors {
			names[i] = config.Connectors[i].Name
		}
		return names, nil
	}
	_, d, err := e.desk(ctx)
	if err != nil {
		return nil, err
	}
	page, err := get[api.Page[api.Connector]](ctx, d, "/connectors")
	names := make([]string, len(page.Items))
	for i := range page.Items {
		names[i] = page.Items[i].Name
	}
	return names, err
}

// knownConnector returns a usage error for a connector that is not there.
func knownConnector(names []string, name string) error {
	switch {
	case slices.Contains(names, name):
		return nil
	case len(names) == 0:
		return usageError{fmt.Errorf("unknown connector %q: the configuration has none", name)}
	}
	return usageError{fmt.Errorf("unknown connector %q: the configuration has %s", name, strings.Join(names, ", "))}
}
