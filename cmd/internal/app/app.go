// Package app is the composition root: it builds the parts from a configuration, wires them together and runs them. It
// has no rules of its own.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/cmd/internal/telemetry"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/webhook"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// constructors is the one list of connector types.
var constructors = map[string]func(*configs.Connector, *slog.Logger) (connectors.Connector, error){
	configs.TypeOkta:  newOkta,
	configs.TypeEntra: newEntra,
}

func newOkta(c *configs.Connector, logger *slog.Logger) (connectors.Connector, error) {
	var key []byte
	if c.PrivateKeyFile != "" {
		var err error
		if key, err = os.ReadFile(c.PrivateKeyFile); err != nil {
			return nil, fmt.Errorf("private_key_file: %w; let it name the PEM file of the application's private key", err)
		}
	}
	requireGroup := c.RequiresGroup()
	return okta.New(okta.Options{
		Name: c.Name, URL: c.URL, APIToken: connectors.Secret(c.APIToken.Reveal()), AppID: c.AppID,
		ClientID: c.ClientID, PrivateKey: connectors.Secret(key), KeyID: c.KeyID,
		GroupsInclude: c.Groups.Include, GroupsExclude: c.Groups.Exclude, RequireGroup: &requireGroup,
		CAFile: c.CAFile, Logger: logger,
	})
}

func newEntra(c *configs.Connector, logger *slog.Logger) (connectors.Connector, error) {
	requireGroup := c.RequiresGroup()
	return entra.New(entra.Options{
		Name: c.Name, TenantID: c.TenantID, ClientID: c.ClientID, ClientSecret: connectors.Secret(c.ClientSecret.Reveal()), CertificateFile: c.CertificateFile,
		ServicePrincipalID: c.ServicePrincipalID, GroupsInclude: c.Groups.Include, GroupsExclude: c.Groups.Exclude, RequireGroup: &requireGroup, Guests: c.Guests,
		GraphURL: c.GraphURL, Authority: c.Authority, CAFile: c.CAFile, Logger: logger,
	})
}

// App is the program, built and not yet running. Close it when done.
type App struct {
	Config   *configs.Config
	Logger   *slog.Logger
	Store    *store.Store
	Mapping  *roles.Mapping
	Applier  *lifecycle.Applier
	Engine   *reconcile.Engine
	Registry *telemetry.Registry
	Traces   *telemetry.Traces
	sources  []reconcile.Source
	signIns  *signin.Metrics
	requests *api.Metrics
	hooks    *webhook.Deliverer
}

// New builds the program: it opens the database, sets a fresh one up, and makes the connectors without calling them.
func New(ctx context.Context, config *configs.Config, logger *slog.Logger) (*App, error) {
	a := &App{Config: config, Logger: logger, Registry: telemetry.NewRegistry()}
	a.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.signIns, a.requests = signin.NewMetrics(a.Registry), api.NewMetrics(a.Registry)
	var err error
	if a.Mapping, err = mapping(config); err != nil {
		return nil, err
	}
	if a.Traces, err = a.traces(); err != nil {
		return nil, err
	}
	if a.Store, err = store.Open(ctx, config.Database.Reveal()); err != nil {
		return nil, err
	}
	if err := a.build(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) build(ctx context.Context) error {
	if err := a.Store.Ping(ctx); err != nil {
		return err
	}
	if err := prepare(ctx, a.Store, a.Logger); err != nil {
		return err
	}
	var err error
	if a.Applier, err = lifecycle.New(lifecycle.Options{
		Store: a.Store, Mapping: a.Mapping, SCIM: a.Config.SCIM.Enabled, Logger: a.Logger, ProtectedRoles: protectedRoles(a.Config),
	}); err != nil {
		return err
	}
	a.Engine, err = reconcile.New(reconcile.Options{
		Store: a.Store, Applier: a.Applier, Logger: a.Logger, Metrics: reconcile.NewMetrics(a.Registry), LeaseTTL: a.Config.RunLease,
		Tracer: a.Traces.Tracer("reconcile"), Context: telemetry.WithRun,
	})
	if err != nil {
		return err
	}
	var problems []error
	if a.hooks, err = a.webhooks(); err != nil {
		problems = append(problems, err)
	}
	for i := range a.Config.Connectors {
		c := &a.Config.Connectors[i]
		source, err := source(c, a.Logger)
		if err != nil {
			problems = append(problems, fmt.Errorf("connector %s: %w", c.Name, err))
			continue
		}
		a.sources = append(a.sources, source)
	}
	a.measure()
	return errors.Join(problems...)
}

// prepare sets a fresh database up, and an embedded one always; a PostgreSQL that others may use is migrated on request
// only.
func prepare(ctx context.Context, s *store.Store, logger *slog.Logger) error {
	at, want, err := s.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if at >= want || at > 0 && s.Dialect() == "postgres" {
		return s.CheckSchema(ctx)
	}
	version, err := s.Migrate(ctx)
	if err == nil {
		logger.InfoContext(ctx, "database set up", "dialect", s.Dialect(), "schema_version", version)
	}
	return err
}

// Close sends the traces that wait, and closes the database.
func (a *App) Close() error {
	if err := a.Traces.Close(); err != nil {
		a.Logger.Warn("traces are lost", "error", err)
	}
	return a.Store.Close()
}

func mapping(config *configs.Config) (*roles.Mapping, error) {
	options := roles.Options{DefaultRole: config.DefaultRole, Roles: config.Roles}
	for _, m := range config.RoleMapping {
		rule := roles.Rule{Group: m.Group}
		for _, g := range m.Grants {
			rule.Grants = append(rule.Grants, identity.TeamRole{Team: g.Team, Role: g.Role})
		}
		options.Rules = append(options.Rules, rule)
	}
	return roles.Compile(options)
}

func protectedRoles(config *configs.Config) []identity.TeamRole {
	var protected []identity.TeamRole
	for _, g := range config.ProtectedRoles() {
		protected = append(protected, identity.TeamRole{Team: g.Team, Role: g.Role})
	}
	return protected
}

func source(c *configs.Connector, logger *slog.Logger) (reconcile.Source, error) {
	construct, ok := constructors[c.Type]
	if !ok {
		return reconcile.Source{}, fmt.Errorf("type %s: nothing pulls it; write okta or entra, or let it push over SCIM", c.Type)
	}
	connector, err := construct(c, logger.With("connector", c.Name))
	if err != nil {
		return reconcile.Source{}, err
	}
	limits := func(l configs.Limit) plan.Limits { return plan.Limits{Percent: l.Percent, Floor: l.Floor, Max: l.Max} }
	return reconcile.Source{
		Name: c.Name, Connector: connector, Enforce: c.Mode != configs.ModeReport, Local: c.LocalAttributes(),
		Guard: plan.Guard{Users: limits(c.Guard.Users), Groups: limits(c.Guard.Groups), Members: limits(c.Guard.Members)},
	}, nil
}

// Sources returns the configured sources with these names, or with none all of them.
func (a *App) Sources(names ...string) ([]reconcile.Source, error) {
	if len(names) == 0 {
		return a.sources, nil
	}
	var chosen []reconcile.Source
	for _, name := range names {
		i := slices.IndexFunc(a.sources, func(s reconcile.Source) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown connector %q", name)
		}
		chosen = append(chosen, a.sources[i])
	}
	return chosen, nil
}

// Errors of FindUser and FindGroup: there is nothing of that name, or there are several.
var (
	ErrNoUser  = errors.New("no such user")
	ErrNoGroup = errors.New("no such group")
)

// FindUser returns whom an operator means: by id, userName or externalId.
func (a *App) FindUser(ctx context.Context, name string) (identity.User, error) {
	u, err := a.Store.User(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		u, err = a.Store.UserByName(ctx, name)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return u, err
	}
	users, _, err := a.Store.Users(ctx, store.UserQuery{Where: store.Compare{Field: store.FieldExternalID, Op: store.OpEq, Value: name}, Limit: 2, Deleted: true})
	if err != nil {
		return u, err
	}
	if len(users) != 1 {
		return u, fmt.Errorf("%w: %s (by id, userName or externalId)", ErrNoUser, name)
	}
	return users[0], nil
}

// FindGroup returns which group an operator means: by id, displayName or externalId.
func (a *App) FindGroup(ctx context.Context, name string) (identity.Group, error) {
	g, err := a.Store.Group(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		g, err = a.Store.GroupByName(ctx, name)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return g, err
	}
	groups, _, err := a.Store.Groups(ctx, store.GroupQuery{Where: store.Compare{Field: store.FieldExternalID, Op: store.OpEq, Value: name}, Limit: 2})
	if err != nil {
		return g, err
	}
	if len(groups) != 1 {
		return g, fmt.Errorf("%w: %s (by id, displayName or externalId)", ErrNoGroup, name)
	}
	return groups[0], nil
}
