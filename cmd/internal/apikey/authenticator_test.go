package apikey_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// stage is a database with one provisioner and one live key of hers.
type stage struct {
	*store.Store
	t    *testing.T
	now  time.Time
	key  apikey.Key
	user identity.User
}

func newStage(t *testing.T, s *store.Store) *stage {
	st := &stage{Store: s, t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), key: apikey.Generate()}
	st.user = identity.User{
		ID: "7d3c5d0e-8a57-4b8f-9a55-0c8a4a6a9f01", UserName: "ada@example.com", Active: true,
		Origin: identity.OriginLocal, Version: 1, Created: st.now, LastModified: st.now,
	}
	st.inTx(func(ctx context.Context, tx *store.Tx) error { return tx.InsertUsers(ctx, []identity.User{st.user}) })
	st.grant(identity.RootTeamID, identity.RoleAdmin)
	st.grant(identity.RootTeamID, identity.RoleSCIMProvisioner)
	st.insert(st.key, time.Time{})
	return st
}

func (st *stage) inTx(f func(context.Context, *store.Tx) error) {
	st.t.Helper()
	if err := st.InTx(st.t.Context(), func(tx *store.Tx) error { return f(st.t.Context(), tx) }); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) grantOf(team, role string) identity.Grant {
	return identity.Grant{UserID: st.user.ID, TeamID: team, Role: role, Kind: identity.GrantManual}
}

func (st *stage) grant(team, role string) {
	st.inTx(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutGrant(ctx, st.grantOf(team, role), st.now)
		return err
	})
}

func (st *stage) insert(key apikey.Key, expires time.Time) {
	st.inTx(func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertKey(ctx, store.Key{
			ID: key.ID(), UserID: st.user.ID, Name: "push", Source: "okta", Connector: "okta", Hash: key.Hash(), Created: st.now, Expires: expires,
		})
	})
}

func (st *stage) authenticate(text string) (scim.Principal, error) {
	st.t.Helper()
	a := apikey.NewAuthenticator(st.Store, slog.New(slog.DiscardHandler), func() time.Time { return st.now })
	return a.Authenticate(st.t.Context(), text)
}

// refuse wants a key to be refused, and the error to say why without the secret.
func (st *stage) refuse(name, text, reason string) {
	st.t.Helper()
	_, err := st.authenticate(text)
	if !errors.Is(err, scim.ErrUnauthenticated) || err.Error() != reason {
		st.t.Errorf("a key that is %s gives %q, want %q", name, err, reason)
	}
}

func TestAuthenticateNamesTheHolder(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		st := newStage(t, s)
		got, err := st.authenticate(st.key.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		want := scim.Principal{
			KeyID: st.key.ID(), KeyName: "push", UserID: st.user.ID, UserName: "ada@example.com", Source: "okta", Provisioner: true,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Authenticate (-want +got):\n%s", diff)
		}
	})
}

func TestAuthenticateNotesTheUse(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		st := newStage(t, s)
		for _, step := range []struct {
			after time.Duration
			want  time.Duration // since the first use
		}{{0, 0}, {30 * time.Second, 0}, {time.Minute, 90 * time.Second}} {
			first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			st.now = st.now.Add(step.after)
			if _, err := st.authenticate(st.key.Reveal()); err != nil {
				t.Fatal(err)
			}
			held, err := s.KeyByID(t.Context(), st.key.ID())
			if err != nil {
				t.Fatal(err)
			}
			if got := held.LastUsed.Sub(first); got != step.want {
				t.Errorf("at %s the last use is noted at %s, want %s", st.now.Sub(first), got, step.want)
			}
		}
	})
}

func TestAuthenticateRefuses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		st := newStage(t, s)
		expiring := apikey.Generate()
		st.insert(expiring, st.now.Add(time.Hour))
		text := st.key.Reveal()
		if _, err := st.authenticate(expiring.Reveal()); err != nil {
			t.Errorf("before its end a key gives %v", err)
		}
		unknown := apikey.Generate()
		st.refuse("garbled", "abc", "not an idpsync API key: one begins with idps_ and has 66 characters")
		st.refuse("nul", "idps_\x00", "not an idpsync API key: one begins with idps_ and has 66 characters")
		other := "0" // in place of the last digit
		if strings.HasSuffix(text, other) {
			other = "1"
		}
		st.refuse("mistyped", text[:len(text)-1]+other, "the API key is mistyped or cut off: its checksum does not fit")
		st.refuse("unknown", unknown.Reveal(), "the API key "+unknown.ID()+" is not known")
		forged := apikey.Generate()
		st.inTx(func(ctx context.Context, tx *store.Tx) error {
			return tx.InsertKey(ctx, store.Key{ID: forged.ID(), UserID: st.user.ID, Name: "x", Source: "x", Hash: unknown.Hash(), Created: st.now})
		})
		st.refuse("of another secret", forged.Reveal(), "the API key "+forged.ID()+" comes with another secret")
		st.now = st.now.Add(time.Hour)
		st.refuse("expired", expiring.Reveal(), "the API key "+expiring.ID()+" is expired")
		revoked := apikey.Generate()
		st.insert(revoked, time.Time{})
		st.inTx(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.RevokeKey(ctx, revoked.ID(), st.now)
			return err
		})
		st.refuse("revoked", revoked.Reveal(), "the API key "+revoked.ID()+" is revoked")
		st.inTx(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.DisableKeys(ctx, []string{st.user.ID}, st.now)
			return err
		})
		st.refuse("disabled", text, "the API key "+st.key.ID()+" is disabled, as its owner was deactivated")
	})
}

func TestAuthenticateRefusesTheKeyOfAnInactiveOwner(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		st := newStage(t, s)
		st.inTx(func(ctx context.Context, tx *store.Tx) error {
			u, err := tx.LockUser(ctx, st.user.ID)
			if err != nil {
				return err
			}
			version := u.Version
			u.Active, u.Version = false, version+1
			return tx.UpdateUser(ctx, &u, version)
		})
		st.refuse("of an inactive owner", st.key.Reveal(), "the API key "+st.key.ID()+" has an owner who is not active")
	})
}

func TestALostRoleCountsAtOnce(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{identity.RoleAdmin, identity.RoleSCIMProvisioner} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				st := newStage(t, s)
				st.inTx(func(ctx context.Context, tx *store.Tx) error {
					_, err := tx.DeleteGrant(ctx, st.grantOf(identity.RootTeamID, lost))
					return err
				})
				team := identity.Team{ID: "7d3c5d0e-8a57-4b8f-9a55-0c8a4a6a9f02", Name: "Payments", Created: st.now}
				st.inTx(func(ctx context.Context, tx *store.Tx) error { return tx.PutTeam(ctx, team) })
				st.grant(team.ID, lost) // elsewhere is not on the root team
				p, err := st.authenticate(st.key.Reveal())
				if err != nil || p.Provisioner {
					t.Errorf("Authenticate = %+v, %v, want no provisioner", p, err)
				}
			})
		})
	}
}

// broken is a store whose database is away.
type broken struct{ apikey.Store }

func (broken) KeyHolder(context.Context, string, ...*store.UserLookup) (store.Holder, error) {
	return store.Holder{}, errors.New("connection refused")
}

func TestAFailingDatabaseIsTheServersOwnError(t *testing.T) {
	t.Parallel()
	a := apikey.NewAuthenticator(broken{}, slog.New(slog.DiscardHandler), nil)
	if _, err := a.Authenticate(t.Context(), apikey.Generate().Reveal()); err == nil || errors.Is(err, scim.ErrUnauthenticated) {
		t.Errorf("Authenticate = %v, want an error that is not ErrUnauthenticated", err)
	}
}

func TestCallerTellsRootRoles(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		st := newStage(t, s)
		a := apikey.NewAuthenticator(st.Store, slog.New(slog.DiscardHandler), func() time.Time { return st.now })
		got, err := a.Caller(t.Context(), st.key.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		want := []identity.Role{identity.RoleAdmin, identity.RoleSCIMProvisioner}
		if diff := cmp.Diff(want, got.RootRoles); diff != "" || got.UserID != st.user.ID || got.ID != st.key.ID() {
			t.Errorf("Caller = %+v; roles (-want +got):\n%s", got, diff)
		}
		st.inTx(func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.RevokeKey(ctx, st.key.ID(), st.now)
			return err
		})
		for name, bearer := range map[string]string{"revoked": st.key.Reveal(), "unknown": apikey.Generate().Reveal(), "garbled": "idps_"} {
			if _, err := a.Caller(t.Context(), bearer); !errors.Is(err, scim.ErrUnauthenticated) {
				t.Errorf("Caller with a key that is %s = %v, want ErrUnauthenticated", name, err)
			}
		}
	})
}
