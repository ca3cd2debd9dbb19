// Package apitest makes an administration API for tests that want it without the program around it: with a store, with
// one key of an admin, and with no connectors and nobody signed in.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// New returns an API on a store, and the key of the only admin.
func New(t testing.TB, s *store.Store) (a *api.API, key string) {
	t.Helper()
	applier, err := lifecycle.New(lifecycle.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := reconcile.New(reconcile.Options{Store: s, Applier: applier})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	keys := apikey.NewAuthenticator(s, logger, nil)
	a, err = api.New(api.Options{
		Store: s, Applier: applier, Engine: engine, Logger: logger, RequestsPerMinute: -1,
		Key: func(ctx context.Context, bearer string) (store.Caller, error) {
			held, err := keys.Caller(ctx, bearer)
			if errors.Is(err, scim.ErrUnauthenticated) {
				err = fmt.Errorf("%w: %w", api.ErrUnauthenticated, err)
			}
			return held, err
		},
		Sources: func(names ...string) ([]reconcile.Source, error) {
			if len(names) > 0 {
				return nil, fmt.Errorf("unknown connector %q", names[0])
			}
			return nil, nil
		},
		Remap: func(ctx context.Context, by identity.Actor, edit roles.Edit, dryRun bool, approve string) (lifecycle.MappingPlan, error) {
			return applier.Remap(ctx, by, lifecycle.Remap{Edit: edit, DryRun: dryRun, Approve: approve})
		},
		SyncMapping: func(ctx context.Context, by identity.Actor, dryRun bool, approve string) (lifecycle.MappingPlan, error) {
			return applier.SyncMapping(ctx, by, lifecycle.Remap{DryRun: dryRun, Approve: approve})
		},
		SCIM: func(ctx context.Context) (api.SCIMSetting, error) {
			setting, err := applier.SCIM(ctx)
			return api.SCIMSetting{Enabled: setting.On, Declared: setting.Declared}, err
		},
		DeclaredBy: func() (where, remedy string) { return "the test", "change it there" },
		Check:      func(context.Context, string) []api.CheckItem { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	by := identity.Actor{Kind: "cli", ID: "test", Name: "test"}
	admin, err := applier.CreateAdmin(t.Context(), by, "admin@acme.test", "no password", false)
	if err != nil {
		t.Fatal(err)
	}
	made := apikey.Generate()
	err = applier.CreateKey(t.Context(), by, store.Key{
		ID: made.ID(), UserID: admin.ID, Name: "test", Source: "scim:" + made.ID(), Hash: made.Hash(), Created: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, made.Reveal()
}
