package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var settingCases = []namedCase{
	{"a setting that was never set", unsetSetting},
	{"set, and set again", putSetting},
	{"those who change a setting take turns", lockSetting},
	{"keys that the endpoint lets in are counted", countSCIMKeys},
}

// setting returns a setting without the time of the read, which must be the database's present time.
func (f *fixture) setting(name string) store.Setting {
	f.Helper()
	s, err := f.s.Setting(f.ctx, name)
	f.check(err)
	now, err := f.s.Now(f.ctx)
	f.check(err)
	if age := now.Sub(s.Read); age < 0 || age > time.Minute {
		f.Errorf("Setting(%s) was read %s ago", name, age)
	}
	s.Read = time.Time{}
	return s
}

func (f *fixture) putSetting(s store.Setting) {
	f.Helper()
	f.tx(func(tx *store.Tx) error {
		if _, err := tx.LockSetting(f.ctx, s.Name); err != nil {
			return err
		}
		return tx.PutSetting(f.ctx, s)
	})
}

func unsetSetting(f *fixture) {
	want := store.Setting{Name: "scim", Value: "{}"}
	f.equal("Setting", f.setting("scim"), want)
	f.tx(func(tx *store.Tx) error {
		_, err := tx.LockSetting(f.ctx, "scim")
		return err
	})
	f.equal("Setting that was locked and left alone", f.setting("scim"), want)
}

func putSetting(f *fixture) {
	by := identity.Actor{Kind: "cli", ID: "op", Name: `O'Op "\`}
	f.putSetting(store.Setting{Name: "scim", Value: `{"enabled": true}`, Changed: epoch, By: by})
	f.putSetting(store.Setting{Name: "other", Value: `{}`, Changed: epoch})
	f.equal("Setting", f.setting("scim"), store.Setting{Name: "scim", Value: `{"enabled": true}`, Version: 1, Changed: epoch, By: by})
	f.putSetting(store.Setting{Name: "scim", Value: `{"enabled": false}`, Changed: at(time.Hour), By: identity.Actor{Kind: "cli", Name: "a\x00b"}})
	f.equal("Setting", f.setting("scim"), store.Setting{
		Name: "scim", Value: `{"enabled": false}`, Version: 2, Changed: at(time.Hour), By: identity.Actor{Kind: "cli", Name: "a\ufffdb"},
	})
}

func lockSetting(f *fixture) {
	const turns = 8
	var wait sync.WaitGroup
	errs := make([]error, turns)
	for i := range turns {
		wait.Go(func() {
			errs[i] = f.s.InTx(f.ctx, func(tx *store.Tx) error {
				s, err := tx.LockSetting(f.ctx, "turns")
				if err != nil {
					return err
				}
				n := 0
				_, _ = fmt.Sscanf(s.Value, `{"n": %d}`, &n) // an empty object is zero turns
				s.Value, s.Changed = fmt.Sprintf(`{"n": %d}`, n+1), epoch
				return tx.PutSetting(f.ctx, s)
			})
		})
	}
	wait.Wait()
	for _, err := range errs {
		f.check(err)
	}
	f.equal("Setting", f.setting("turns"), store.Setting{Name: "turns", Value: fmt.Sprintf(`{"n": %d}`, turns), Version: turns, Changed: epoch})
}

func countSCIMKeys(f *fixture) {
	count := func(want int, what string) {
		f.Helper()
		n, err := f.s.CountSCIMKeys(f.ctx, at(time.Minute))
		f.check(err)
		if n != want {
			f.Errorf("CountSCIMKeys %s = %d, want %d", what, n, want)
		}
	}
	owner, viewer := f.user(), f.user()
	for _, role := range []identity.Role{identity.RoleAdmin, identity.RoleSCIMProvisioner} {
		f.key("k"+string(role), owner.ID)
		count(0, "before "+string(role))
		f.grant(identity.Grant{UserID: owner.ID, TeamID: identity.RootTeamID, Role: role, Kind: identity.GrantManual})
	}
	f.key("viewer", viewer.ID)
	f.key("expired", owner.ID, func(k *store.Key) { k.Expires = at(time.Minute) })
	f.key("later", owner.ID, func(k *store.Key) { k.Expires = at(time.Hour) })
	count(3, "with the roles")
	f.tx(func(tx *store.Tx) error {
		_, err := tx.RevokeKey(f.ctx, "later", epoch)
		return err
	})
	count(2, "after one was revoked")
	f.tx(func(tx *store.Tx) error {
		_, err := tx.DisableKeys(f.ctx, []string{owner.ID}, epoch)
		return err
	})
	count(0, "after all were disabled")
}
