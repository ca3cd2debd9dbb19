package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var txCases = []namedCase{
	{"an error leaves nothing", rollBack},
	{"a panic leaves nothing", panicInTx},
	{"run again when the database asks for it", retryTx},
	{"a transaction reads what it wrote, others do not", isolation},
	{"a cancelled context ends it", cancelTx},
}

// writeMuch writes to every table that a change of a person touches.
func (f *fixture) writeMuch(tx *store.Tx, g identity.Group, u identity.User) error {
	users := []identity.User{u}
	for range 20 {
		users = append(users, f.newUser())
	}
	steps := []func() error{
		func() error { return tx.InsertUsers(f.ctx, users) },
		func() error { return tx.InsertUsers(f.ctx, []identity.User{f.newUser()}) },
		func() error { return tx.InsertGroup(f.ctx, &g) },
		func() error { _, err := tx.AddMembers(f.ctx, g.ID, []string{u.ID}); return err },
		func() error {
			return tx.Record(f.ctx, []identity.Event{{At: epoch, Type: identity.EventUserCreated, ObjectID: u.ID}})
		},
		func() error {
			return tx.PutRun(f.ctx, &identity.Run{ID: "r", Connector: "okta", Started: epoch})
		},
		func() error { return tx.SetPassword(f.ctx, u.ID, "x", epoch) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixture) empty() {
	f.Helper()
	db := f.raw()
	for _, table := range []string{"users", "groups", "group_members", "audit_events", "outbox", "runs", "credentials"} {
		if n := db.count("SELECT count(*) FROM " + table); n != 0 {
			f.Errorf("%d rows in %s, want none", n, table)
		}
	}
}

func rollBack(f *fixture) {
	boom := errors.New("boom")
	f.isErr("InTx", f.s.InTx(f.ctx, func(tx *store.Tx) error {
		if err := f.writeMuch(tx, f.newGroup(), f.newUser()); err != nil {
			return err
		}
		return boom
	}), boom)
	f.empty()
	f.user() // the connection is in order
}

func panicInTx(f *fixture) {
	func() {
		defer func() {
			if recover() == nil {
				f.Error("the panic was swallowed")
			}
		}()
		_ = f.s.InTx(f.ctx, func(tx *store.Tx) error {
			f.check(f.writeMuch(tx, f.newGroup(), f.newUser()))
			panic("boom")
		})
	}()
	f.empty()
	for range 30 { // more than there are connections
		f.user()
	}
}

func retryTx(f *fixture) {
	retry := &pgconn.PgError{Code: "40001"}
	attempts := 0
	u := f.newUser()
	f.tx(func(tx *store.Tx) error {
		if err := tx.InsertUsers(f.ctx, []identity.User{u}); err != nil {
			return err
		}
		if attempts++; attempts < 3 {
			return retry
		}
		return nil
	})
	if attempts != 3 {
		f.Errorf("%d attempts, want 3", attempts)
	}
	attempts = 0
	err := f.s.InTx(f.ctx, func(*store.Tx) error { attempts++; return retry })
	f.isErr("InTx", err, retry)
	if attempts != 5 {
		f.Errorf("%d attempts, want 5", attempts)
	}
	attempts = 0
	_ = f.s.InTx(f.ctx, func(*store.Tx) error { attempts++; return store.ErrStale })
	if attempts != 1 {
		f.Errorf("%d attempts after an error that stays, want 1", attempts)
	}
}

func isolation(f *fixture) {
	u := f.newUser()
	f.tx(func(tx *store.Tx) error {
		if err := tx.InsertUsers(f.ctx, []identity.User{u}); err != nil {
			return err
		}
		if _, err := tx.User(f.ctx, u.ID); err != nil {
			f.Errorf("inside: %v", err)
		}
		_, err := f.s.User(f.ctx, u.ID)
		f.isErr("outside", err, store.ErrNotFound)
		return nil
	})
	_, err := f.s.User(f.ctx, u.ID)
	f.check(err)
}

func cancelTx(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx)
	u := f.newUser()
	err := f.s.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertUsers(ctx, []identity.User{u}); err != nil {
			return err
		}
		cancel()
		return tx.InsertUsers(ctx, []identity.User{f.newUser()})
	})
	if err == nil {
		f.Error("InTx: no error")
	}
	f.empty()
	f.user()
}

var concurrencyCases = []namedCase{
	{"parallel adders of one group lose none", parallelAdders},
	{"of parallel writers of one version, one wins", parallelWriters},
	{"of parallel creators of one name, one wins", parallelCreators},
	{"transactions that lock each other out both end", deadlock},
	{"a key that changes while its user is added", keyRace},
	{"the last local admin stays", lastAdmin},
}

// parallel runs do n times at once.
func parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

func parallelAdders(f *fixture) {
	g := f.group()
	users := f.users(50)
	parallel(50, func(i int) {
		if err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
			_, err := tx.AddMembers(f.ctx, g.ID, []string{users[i], users[(i+1)%50]})
			return err
		}); err != nil {
			f.Errorf("AddMembers: %v", err)
		}
	})
	if n := f.readGroup(g.ID).MemberCount; n != 50 {
		f.Errorf("MemberCount = %d, want 50", n)
	}
	f.checkHash(g.ID)
	parallel(50, func(i int) {
		if err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
			_, err := tx.RemoveMembers(f.ctx, g.ID, []string{users[i]})
			return err
		}); err != nil {
			f.Errorf("RemoveMembers: %v", err)
		}
	})
	if got := f.readGroup(g.ID); got.MemberCount != 0 || got.MemberHash != (identity.SetHash{}) {
		f.Errorf("after all left the group carries %d members and hash %v", got.MemberCount, got.MemberHash)
	}
}

func parallelWriters(f *fixture) {
	u := f.user()
	var mu sync.Mutex
	won := 0
	parallel(20, func(int) {
		changed := u.Clone()
		changed.Version++
		err := f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.UpdateUser(f.ctx, &changed, u.Version) })
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			won++
		case !errors.Is(err, store.ErrStale):
			f.Errorf("UpdateUser: error %v, want ErrStale", err)
		}
	})
	if won != 1 {
		f.Errorf("%d writers won, want 1", won)
	}
}

func parallelCreators(f *fixture) {
	var mu sync.Mutex
	won := 0
	parallel(20, func(i int) {
		u := identity.User{
			ID: "00000000-0000-4000-8000-0000000000" + string(rune('a'+i/10)) + string(rune('0'+i%10)), UserName: "same@example.com",
			Origin: identity.OriginSSO, Version: 1, Created: epoch, LastModified: epoch,
		}
		err := f.insertErr(u)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			won++
			return
		}
		f.isDuplicate("InsertUsers", err, identity.ObjectUser, "userName")
	})
	if won != 1 {
		f.Errorf("%d creators won, want 1", won)
	}
}

func deadlock(f *fixture) {
	users := f.users(2)
	var met sync.WaitGroup
	met.Add(2)
	parallel(2, func(i int) {
		first := true
		err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
			if _, err := tx.LockUser(f.ctx, users[i]); err != nil {
				return err
			}
			if first && f.s.Dialect() == "postgres" { // SQLite has one writer at a time
				first = false
				met.Done()
				met.Wait()
			}
			_, err := tx.LockUser(f.ctx, users[1-i])
			return err
		})
		if err != nil {
			f.Errorf("InTx: %v", err)
		}
	})
}

func keyRace(f *fixture) {
	u := f.user()
	for range 20 {
		g := f.group()
		parallel(2, func(i int) {
			err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
				if i == 0 {
					_, err := tx.AddMembers(f.ctx, g.ID, []string{u.ID})
					return err
				}
				now, err := tx.LockUser(f.ctx, u.ID)
				if err != nil {
					return err
				}
				now.Source, now.SourceID = "okta", g.ID
				now.Version++
				return tx.UpdateUser(f.ctx, &now, now.Version-1)
			})
			if err != nil {
				f.Errorf("InTx: %v", err)
			}
		})
		f.checkHash(g.ID)
	}
}

// lastAdmin takes the role away from two admins at once, each time when the other is still there.
func lastAdmin(f *fixture) {
	errLast := errors.New("the last one")
	for range 10 {
		users := f.users(2, local)
		grants := make([]identity.Grant, 2)
		for i, id := range users {
			grants[i] = identity.Grant{UserID: id, TeamID: identity.RootTeamID, Role: identity.RoleAdmin, Kind: identity.GrantManual}
			f.grant(grants[i])
		}
		parallel(2, func(i int) {
			err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
				if _, err := tx.DeleteGrant(f.ctx, grants[i]); err != nil {
					return err
				}
				if admins, err := tx.LocalAdmins(f.ctx); err != nil {
					return err
				} else if len(admins) == 0 {
					return errLast
				}
				return nil
			})
			if err != nil && !errors.Is(err, errLast) {
				f.Errorf("InTx: %v", err)
			}
		})
		f.tx(func(tx *store.Tx) error {
			admins, err := tx.LocalAdmins(f.ctx)
			if len(admins) != 1 {
				f.Errorf("%d local admins are left, want 1", len(admins))
			}
			for _, grant := range grants {
				if _, err := tx.DeleteGrant(f.ctx, grant); err != nil {
					return err
				}
			}
			return err
		})
	}
}
