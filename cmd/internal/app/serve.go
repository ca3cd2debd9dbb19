package app

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/console"
	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/scim"
)

// keepFor is how long journals of finished runs and undelivered outbox entries are kept.
const keepFor = 30 * 24 * time.Hour

// Serve runs the SCIM endpoint, the scheduler, the delivery of events and the probes until ctx ends, then lets what is
// going finish. listening, if not nil, is called with the server's URL once it accepts requests.
func (a *App) Serve(ctx context.Context, listening func(url string)) error {
	var routes http.Handler
	server, err := httpserver.New(httpserver.Options{
		Listen: a.Config.Listen, CertFile: a.Config.TLS.CertFile, KeyFile: a.Config.TLS.KeyFile,
		TrustProxy: a.Config.TrustProxy, Ready: a.Ready, Logger: a.Logger, Tracer: a.tracer("http"), RequestLevel: a.requestLevel(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { routes.ServeHTTP(w, r) }),
	})
	if err != nil {
		return err
	}
	// The URL is known only now, and nothing is served before Run.
	follower := &follower{setting: a.Applier, delay: a.Config.SCIM.ActivationDelay, logger: a.Logger}
	base := a.Config.BaseURL
	if base == "" {
		base = server.URL()
	}
	people, err := a.signIn(base)
	if err != nil {
		_ = server.Close()
		return err
	}
	scheduler, err := a.scheduler()
	if err != nil {
		_ = server.Close()
		return err
	}
	admin, err := a.api(base, people, scheduler)
	if err != nil {
		_ = server.Close()
		return err
	}
	if routes, err = a.routes(base, follower, people, admin); err != nil {
		_ = server.Close()
		return err
	}
	a.Registry.MustRegister(certificateExpiry(server))
	follower.read(ctx)
	if err := a.syncMapping(ctx); err != nil {
		_ = server.Close()
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error { return scheduler.Run(ctx) })
	group.Go(func() error { return follower.Run(ctx) })
	group.Go(func() error { return a.prune(ctx) })
	group.Go(func() error { return a.hooks.Run(ctx) })
	group.Go(func() error { return a.seal(ctx) })
	group.Go(func() error { return people.Run(ctx) })
	group.Go(func() error { return admin.Run(ctx) })
	if listening != nil {
		listening(server.URL())
	}
	return group.Wait()
}

// Ready tells whether requests can be served: the database answers, with the schema that this program wants.
func (a *App) Ready(ctx context.Context) error {
	if err := a.Store.Ping(ctx); err != nil {
		return err
	}
	return a.Store.CheckSchema(ctx)
}

// routes returns what is served; base is the address that clients use.
func (a *App) routes(base string, follower *follower, people *signin.Service, admin *api.API) (http.Handler, error) {
	handler, err := scim.New(scim.Options{
		Store: a.Store, Applier: a.Applier, Auth: apikey.NewAuthenticator(a.Store, a.Logger, nil), BaseURL: base,
		TrustProxy: a.Config.TrustProxy, Enabled: follower.enabled, Closed: follower.closed,
		RequestsPerMinute: a.Config.SCIM.RequestsPerMinute, MaxResults: a.Config.SCIM.MaxResults,
		UserNameIsEmail: a.Config.SCIM.UserNameIsEmail, UnknownRoles: a.Config.SCIM.UnknownRoles, Roles: a.Config.Roles,
		StrictReadOnly: a.Config.SCIM.StrictReadOnly, Extensions: extensions(a.Config.SCIM.Extensions), Logger: a.Logger,
		Metrics: scim.NewMetrics(a.Registry), RequestID: scimRequestID, Served: scimServed,
	})
	if err != nil {
		return nil, err
	}
	pages, err := console.New(console.Options{
		API: admin, People: people, Version: Program().Version, Secure: a.secure(base), Logger: a.Logger,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	signIn, operate := told("sign_in", people.Handler()), told("console", pages.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if signin.Serves(r.URL.Path) {
			signIn.ServeHTTP(w, r)
			return
		}
		operate.ServeHTTP(w, r)
	})
	mux.Handle(api.Prefix+"/", told("api", admin))
	mux.Handle("GET /metrics", told("", promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{})))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// ServeMux would redirect `//Users` and `/Users/`, which SCIM clients do not follow.
		if scim.Serves(r.URL) {
			handler.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

func (a *App) scheduler() (*reconcile.Scheduler, error) {
	var schedules []reconcile.Schedule
	for i, source := range a.sources {
		c := &a.Config.Connectors[i]
		schedule := reconcile.Schedule{Source: source, Every: c.Schedule, Full: c.FullSchedule, Jitter: c.Jitter}
		for _, w := range c.Windows {
			schedule.Windows = append(schedule.Windows, reconcile.Window{Deny: w.Kind == configs.WindowDeny, Begins: w.Schedule, Duration: w.Duration})
		}
		schedules = append(schedules, schedule)
	}
	return reconcile.NewScheduler(a.Engine, schedules)
}

// prune forgets old journals, outbox entries and deliveries, at the start and once a day.
func (a *App) prune(ctx context.Context) error {
	ticker := time.NewTicker(24 * time.Hour)
	defer ticker.Stop()
	for {
		now := time.Now()
		err := errors.Join(a.Store.Prune(ctx, now.Add(-keepFor)), a.Store.PruneDeliveries(ctx, now.Add(-keepDelivered), now.Add(-keepFor)))
		if err != nil && ctx.Err() == nil {
			a.Logger.WarnContext(ctx, "prune", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
