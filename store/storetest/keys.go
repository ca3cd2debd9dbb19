package storetest

import (
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var keyCases = []namedCase{
	{"written, listed and read", readKeys},
	{"what the holder may do", holdKey},
	{"a user looked up along with the holder", lookUpAlong},
	{"used at most once a minute", touchKey},
	{"revoked once, disabled with the owner", endKeys},
	{"locked, and ending no later than before", expireKey},
	{"a live key of a provisioner", liveSCIMKey},
	{"passwords", passwords},
}

func (f *fixture) key(id, userID string, edit ...func(*store.Key)) store.Key {
	f.Helper()
	k := store.Key{ID: id, UserID: userID, Name: `key "1"`, Source: "scim:" + id, Hash: []byte{0, 1, 255, '\''}, Created: epoch}
	for _, e := range edit {
		e(&k)
	}
	f.tx(func(tx *store.Tx) error { return tx.InsertKey(f.ctx, k) })
	return f.readKey(id)
}

func (f *fixture) readKey(id string) store.Key {
	f.Helper()
	k, err := f.s.KeyByID(f.ctx, id)
	f.check(err)
	return k
}

func readKeys(f *fixture) {
	u := f.user()
	late := f.key("a", u.ID, func(k *store.Key) { k.Created = at(time.Hour) })
	early := f.key("b", u.ID, func(k *store.Key) { k.Connector, k.Source, k.Expires = "okta", "okta", at(time.Minute) })
	f.equal("KeyByID", early, store.Key{
		ID: "b", UserID: u.ID, UserName: u.UserName, Name: `key "1"`, Source: "okta", Connector: "okta",
		Hash: []byte{0, 1, 255, '\''}, Created: epoch, Expires: at(time.Minute),
	})
	keys, err := f.s.Keys(f.ctx)
	f.check(err)
	f.equal("Keys", keys, []store.Key{early, late})
	for _, id := range []string{"", "c", "\x00", "B"} {
		_, err := f.s.KeyByID(f.ctx, id)
		f.isErr("KeyByID "+id, err, store.ErrNotFound)
	}
	for _, c := range []struct {
		now  time.Time
		want bool
	}{{epoch, true}, {at(time.Minute), false}} {
		if got := early.Live(c.now); got != c.want {
			f.Errorf("Live(%s) = %v, want %v", c.now, got, c.want)
		}
	}
}

func expireKey(f *fixture) {
	k := f.key("a", f.user().ID)
	expire := func(d time.Duration) {
		f.Helper()
		f.tx(func(tx *store.Tx) error {
			locked, err := tx.LockKey(f.ctx, k.ID)
			f.equal("LockKey", locked, k)
			if err != nil {
				return err
			}
			return tx.ExpireKey(f.ctx, k.ID, at(d))
		})
		k = f.readKey(k.ID)
	}
	for _, step := range []struct{ ask, want time.Duration }{{2 * time.Hour, 2 * time.Hour}, {3 * time.Hour, 2 * time.Hour}, {time.Hour, time.Hour}} {
		if expire(step.ask); !k.Expires.Equal(at(step.want)) {
			f.Errorf("ExpireKey(%s): ends at %s, want %s", step.ask, k.Expires, at(step.want))
		}
	}
	f.tx(func(tx *store.Tx) error {
		for _, id := range []string{"", "b", "\x00"} {
			_, err := tx.LockKey(f.ctx, id)
			f.isErr("LockKey "+id, err, store.ErrNotFound)
		}
		return nil
	})
}

func holdKey(f *fixture) {
	u := f.user()
	k := f.key("a", u.ID)
	holds := func(what string, active, provisioner bool) {
		f.Helper()
		got, err := f.s.KeyHolder(f.ctx, k.ID)
		f.check(err)
		f.equal("KeyHolder "+what, got, store.Holder{Key: k, OwnerActive: active, Provisioner: provisioner})
	}
	grant := func(team, role string) {
		f.Helper()
		f.tx(func(tx *store.Tx) error {
			_, err := tx.PutGrant(f.ctx, identity.Grant{UserID: u.ID, TeamID: team, Role: role, Kind: identity.GrantManual}, epoch)
			return err
		})
	}
	holds("without roles", true, false)
	grant(identity.RootTeamID, identity.RoleSCIMProvisioner)
	holds("with one of two roles", true, false)
	grant(identity.RootTeamID, identity.RoleAdmin)
	holds("with both roles", true, true)
	f.tx(func(tx *store.Tx) error {
		after := u.Clone()
		after.Active, after.Version = false, u.Version+1
		return tx.UpdateUser(f.ctx, &after, u.Version)
	})
	holds("inactive", false, true)
	for _, id := range []string{"", "c", "\x00"} {
		_, err := f.s.KeyHolder(f.ctx, id)
		f.isErr("KeyHolder "+id, err, store.ErrNotFound)
	}
}

func lookUpAlong(f *fixture) {
	k := f.key("a", f.user().ID)
	u, gone := f.user(), f.user()
	g, inner, outer, nested := f.group(), f.group(), f.group(), f.user()
	f.tx(func(tx *store.Tx) error {
		for group, user := range map[string]string{g.ID: u.ID, inner.ID: nested.ID} {
			if _, err := tx.AddMembers(f.ctx, group, []string{user}); err != nil {
				return err
			}
		}
		if _, _, err := tx.AddNested(f.ctx, store.GroupRef{ID: outer.ID}, []string{inner.ID}); err != nil {
			return err
		}
		after := gone.Clone()
		after.DeletedAt, after.Version = epoch, gone.Version+1
		return tx.UpdateUser(f.ctx, &after, gone.Version)
	})
	for what, c := range map[string]struct {
		key    string
		lookup store.UserLookup
		want   bool
	}{
		"by id":                     {k.ID, store.UserLookup{ID: u.ID}, true},
		"by userName":               {k.ID, store.UserLookup{UserName: strings.ToUpper(u.UserName)}, true},
		"with a key that is none":   {"b", store.UserLookup{ID: u.ID}, true},
		"deleted":                   {k.ID, store.UserLookup{ID: gone.ID}, false},
		"deleted, by userName":      {k.ID, store.UserLookup{UserName: gone.UserName}, false},
		"by an id of nobody":        {k.ID, store.UserLookup{ID: uuid.NewString()}, false},
		"by what is no id":          {k.ID, store.UserLookup{ID: "me"}, false},
		"by what no database holds": {k.ID, store.UserLookup{UserName: "\x00"}, false},
	} {
		l := c.lookup
		if _, err := f.s.KeyHolder(f.ctx, c.key, &l); !errors.Is(err, store.ErrNotFound) {
			f.check(err)
		}
		if !l.Done || l.Found != c.want {
			f.Errorf("%s: Done %v, Found %v, want %v", what, l.Done, l.Found, c.want)
		}
		if c.want {
			f.equal(what, l.User, u)
			f.equal(what+", groups", l.Groups, []store.GroupRef{{ID: g.ID, DisplayName: g.DisplayName}})
		}
	}
	l := store.UserLookup{ID: nested.ID}
	_, err := f.s.KeyHolder(f.ctx, k.ID, &l)
	f.check(err)
	want, err := f.s.GroupsOfUsers(f.ctx, []string{nested.ID})
	f.check(err)
	if f.equal("groups, one nested", l.Groups, want[nested.ID]); len(l.Groups) != 2 {
		f.Errorf("groups of a user in a nested group: %v, want two", l.Groups)
	}
}

func touchKey(f *fixture) {
	f.key("k", f.user().ID)
	for _, c := range []struct{ now, want time.Duration }{
		{0, 0}, {59 * time.Second, 0}, {61 * time.Second, 61 * time.Second}, {62 * time.Second, 61 * time.Second}, {0, 61 * time.Second},
	} {
		f.check(f.s.TouchKey(f.ctx, "k", at(c.now)))
		if got := f.readKey("k").LastUsed; !got.Equal(at(c.want)) {
			f.Errorf("LastUsed = %s after a use at %s, want %s", got, at(c.now), at(c.want))
		}
	}
}

func endKeys(f *fixture) {
	u, other := f.user(), f.user()
	f.key("a", u.ID)
	f.key("b", u.ID)
	f.key("c", other.ID)
	for _, want := range []bool{true, false} {
		f.tx(func(tx *store.Tx) error {
			got, err := tx.RevokeKey(f.ctx, "a", epoch)
			if got != want {
				f.Errorf("RevokeKey = %v, want %v", got, want)
			}
			return err
		})
	}
	f.tx(func(tx *store.Tx) error {
		disabled, err := tx.DisableKeys(f.ctx, []string{u.ID, "me"}, at(time.Second))
		if len(disabled) != 1 || disabled[0].ID != "b" {
			f.Errorf("DisableKeys = %v, want b", disabled)
		}
		return err
	})
	f.tx(func(tx *store.Tx) error {
		disabled, err := tx.DisableKeys(f.ctx, []string{u.ID}, at(time.Minute))
		f.equal("DisableKeys again", disabled, []store.Key(nil))
		return err
	})
	a, b, c := f.readKey("a"), f.readKey("b"), f.readKey("c")
	if !a.Revoked.Equal(epoch) || !a.Disabled.IsZero() || !b.Disabled.Equal(at(time.Second)) || !c.Disabled.IsZero() {
		f.Errorf("keys are %+v, %+v, %+v", a, b, c)
	}
	if a.Live(epoch) || b.Live(epoch) || !c.Live(epoch) {
		f.Error("a revoked or disabled key is live, or the other is not")
	}
}

func liveSCIMKey(f *fixture) {
	u := f.user()
	owns := func(want bool) {
		f.Helper()
		f.tx(func(tx *store.Tx) error {
			got, err := tx.OwnsLiveSCIMKey(f.ctx, u.ID, at(time.Hour))
			if got != want {
				f.Errorf("OwnsLiveSCIMKey = %v, want %v", got, want)
			}
			return err
		})
	}
	f.key("k", u.ID, func(k *store.Key) { k.Expires = at(2 * time.Hour) })
	f.key("old", u.ID, func(k *store.Key) { k.Expires = at(time.Minute) })
	f.check(f.s.TouchKey(f.ctx, "old", epoch))
	owns(false) // no provisioner
	f.grant(identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleSCIMProvisioner, Kind: identity.GrantManual})
	owns(false) // the used one lapsed, the live one was never used
	f.check(f.s.TouchKey(f.ctx, "k", epoch))
	owns(true)
	f.tx(func(tx *store.Tx) error {
		_, err := tx.RevokeKey(f.ctx, "k", epoch)
		return err
	})
	owns(false)
}

func passwords(f *fixture) {
	a, b := f.user(local), f.user(local)
	_, err := f.s.PasswordHash(f.ctx, a.ID)
	f.isErr("PasswordHash", err, store.ErrNotFound)
	for _, hash := range []string{"$argon2id$1", "$argon2id$2"} {
		f.tx(func(tx *store.Tx) error {
			if err := tx.SetPassword(f.ctx, b.ID, "b", epoch); err != nil {
				return err
			}
			return tx.SetPassword(f.ctx, a.ID, hash, epoch)
		})
		got, err := f.s.PasswordHash(f.ctx, a.ID)
		f.check(err)
		if got != hash {
			f.Errorf("PasswordHash = %q, want %q", got, hash)
		}
	}
	f.tx(func(tx *store.Tx) error { return tx.DropPasswords(f.ctx, []string{a.ID, "me"}) })
	_, err = f.s.PasswordHash(f.ctx, a.ID)
	f.isErr("PasswordHash after DropPasswords", err, store.ErrNotFound)
	if _, err = f.s.PasswordHash(f.ctx, b.ID); err != nil {
		f.Errorf("PasswordHash of another: %v", err)
	}
}
