package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/cmd/internal/telemetry"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
)

// api builds the administration API. base is the address that browsers use.
func (a *App) api(base string, people *signin.Service, scheduler *reconcile.Scheduler) (*api.API, error) {
	keys := apikey.NewAuthenticator(a.Store, a.Logger, nil)
	o := a.apiOptions()
	o.Origin, o.NextSlot, o.RequestsPerMinute, o.Metrics = origin(base), scheduler.Next, a.Config.API.RequestsPerMinute, a.requests
	o.Key = func(ctx context.Context, bearer string) (store.Caller, error) {
		held, err := keys.Caller(ctx, bearer)
		if errors.Is(err, scim.ErrUnauthenticated) {
			err = fmt.Errorf("%w: %w", api.ErrUnauthenticated, err)
		}
		if err == nil {
			telemetry.RequestOf(ctx).SetCaller("key", held.ID)
		}
		return held, err
	}
	o.Session = func(r *http.Request) (api.Session, error) {
		// The console has looked already, and asks within the same request.
		s, err := signin.SessionFrom(r.Context()), error(nil)
		if s == nil {
			s, err = people.Session(r)
		}
		if errors.Is(err, signin.ErrNoSession) {
			return api.Session{}, api.ErrUnauthenticated
		}
		if err != nil {
			return api.Session{}, err
		}
		return api.Session{UserID: s.UserID, UserName: s.UserName, RootRoles: s.RootRoles}, nil
	}
	return api.New(o)
}

// Inside returns the administration API for who runs the program where the database is (api.AsOperator). Nobody else is let
// in, and errors are told with their text.
func (a *App) Inside() (*api.API, error) {
	o := a.apiOptions()
	o.Frank = true
	o.Key = func(context.Context, string) (store.Caller, error) { return store.Caller{}, api.ErrUnauthenticated }
	return api.New(o)
}

// apiOptions are what the API is made of, whoever calls it.
func (a *App) apiOptions() api.Options {
	return api.Options{
		Store: a.Store, Applier: a.Applier, Engine: a.Engine,
		Sources: a.Sources, Describe: a.describe, Remap: a.Remap, SyncMapping: a.SyncMapping, SCIM: a.scimSetting, DeclaredBy: a.DeclaredBy,
		Check: a.checkNamed, CheckAll: a.checkAll, Webhooks: api.Webhooks{Names: a.webhookNames, Find: a.FindWebhook, Test: a.TestWebhook},
		Logger: a.Logger, Program: Program(),
	}
}

// origin returns the scheme and host of an address.
func origin(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// scimSetting tells how SCIM is set, as the API says it.
func (a *App) scimSetting(ctx context.Context) (api.SCIMSetting, error) {
	s, err := a.SCIMStatus(ctx)
	if err != nil {
		return api.SCIMSetting{}, err
	}
	orNil := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	by := strings.TrimSpace(s.By.Kind + " " + s.By.Name)
	if s.By.Kind == "system" {
		by = s.By.Name
	}
	where := ""
	if s.Declared {
		where, _ = a.DeclaredBy()
	}
	return api.SCIMSetting{
		Enabled: s.On, DeclaredBy: where, Declared: s.Declared, Waiting: s.Waiting, Since: orNil(s.Since), ChangedBy: by, AnswersFrom: orNil(s.AnswersFrom),
		Answering: s.Answering, BreakGlass: s.LocalAdmins > 0, LocalAdmins: s.LocalAdmins, LiveKeys: s.LiveKeys, JITProvisioning: s.JITProvisioning(),
	}, nil
}

// checkNamed tries the connector of a name.
func (a *App) checkNamed(ctx context.Context, name string) []api.CheckItem {
	var items []api.CheckItem
	for i := range a.Config.Connectors {
		if c := &a.Config.Connectors[i]; c.Name == name {
			for _, item := range checkConnector(ctx, c, a.Logger) {
				items = append(items, api.CheckItem{Name: item.Name, OK: item.OK, Detail: item.Detail, Remedy: item.Remedy})
			}
		}
	}
	return items
}

// checkAll tries everything that the installation needs.
func (a *App) checkAll(ctx context.Context) []api.Check {
	var items []api.Check
	for _, item := range Check(ctx, a.Config, a.Logger) {
		items = append(items, api.Check(item))
	}
	return items
}

// describe returns what the configuration says of a connector, without secrets.
func (a *App) describe(name string) *api.ConnectorConfig {
	i := slices.IndexFunc(a.Config.Connectors, func(c configs.Connector) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	c := &a.Config.Connectors[i]
	out := &api.ConnectorConfig{
		Type: c.Type, Address: c.URL, Tenant: c.TenantID, Application: c.AppID + c.ServicePrincipalID, RequireGroup: c.RequiresGroup(),
		Include: append([]string{}, c.Groups.Include...), Exclude: append([]string{}, c.Groups.Exclude...),
		Schedule: c.Schedule, FullSchedule: c.FullSchedule, Local: []string{},
	}
	if c.Type == configs.TypeEntra {
		out.Address = c.GraphURL
	}
	switch {
	case c.PrivateKeyFile != "":
		out.Credential = "private key of client " + c.ClientID
	case c.CertificateFile != "":
		out.Credential = "certificate of client " + c.ClientID
	case c.Type == configs.TypeOkta:
		out.Credential = "API token"
	default:
		out.Credential = "client secret of client " + c.ClientID
	}
	for path, authority := range c.Attributes {
		if authority == configs.AuthorityLocal {
			out.Local = append(out.Local, path)
		}
	}
	slices.Sort(out.Local)
	return out
}
