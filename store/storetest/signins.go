package storetest

import (
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var signinCases = []namedCase{
	{"failures are counted in turn", countFailures},
	{"failures of an account are forgotten", forgetFailures},
	{"browsers are known for somebody", knowBrowsers},
	{"remembered once, recalled once", remember},
	{"of two who recall, one is told", recallAtOnce},
	{"subjects are bound once", bindSubjects},
	{"stated groups", statedGroups},
	{"grants of a kind", grantsOfKind},
	{"a password's hash is renewed, not the password", renewHash},
}

func countFailures(f *fixture) {
	const turns = 8
	keys := []store.FailureKey{{Kind: store.FailuresOfPair, Account: "a", Place: "192.0.2.0/24"}, {Kind: store.FailuresOfNetwork, Place: "192.0.2.0/24"}}
	var wait sync.WaitGroup
	errs := make([]error, turns)
	for i := range turns {
		wait.Go(func() {
			errs[i] = f.s.InTx(f.ctx, func(tx *store.Tx) error {
				asked := keys
				if i%2 == 1 {
					asked = []store.FailureKey{keys[1], keys[0]} // the order of asking is nobody's trouble
				}
				found, err := tx.LockFailures(f.ctx, epoch, asked...)
				if err != nil {
					return err
				}
				for k := range found {
					if found[k].FailureKey != asked[k] {
						return errors.New("answers out of order")
					}
					found[k].Count++
					found[k].Last, found[k].Until = at(time.Second), at(time.Minute)
				}
				return tx.PutFailures(f.ctx, found...)
			})
		})
	}
	wait.Wait()
	f.check(errors.Join(errs...))
	f.tx(func(tx *store.Tx) error {
		found, err := tx.LockFailures(f.ctx, at(time.Hour), keys...)
		want := make([]store.Failures, len(keys))
		for i := range want {
			want[i] = store.Failures{FailureKey: keys[i], Count: turns, Since: epoch, Last: at(time.Second), Until: at(time.Minute)}
		}
		f.equal("LockFailures", found, want)
		return err
	})
}

func forgetFailures(f *fixture) {
	pair := store.FailureKey{Kind: store.FailuresOfPair, Account: "a", Place: "192.0.2.0/24"}
	account := store.FailureKey{Kind: store.FailuresOfAccount, Account: "a"}
	network := store.FailureKey{Kind: store.FailuresOfNetwork, Place: "192.0.2.0/24"}
	other := store.FailureKey{Kind: store.FailuresOfPair, Account: "b", Place: "192.0.2.0/24"}
	counts := func(what string, want ...int) {
		f.Helper()
		f.tx(func(tx *store.Tx) error {
			found, err := tx.LockFailures(f.ctx, epoch, pair, account, network, other)
			if err != nil {
				return err
			}
			var got []int
			for i := range found {
				got = append(got, found[i].Count)
			}
			f.equal(what, got, want)
			return tx.PutFailures(f.ctx, found...) // those at zero leave no row
		})
	}
	f.tx(func(tx *store.Tx) error {
		found, err := tx.LockFailures(f.ctx, epoch, pair, account, network, other)
		if err != nil {
			return err
		}
		for i := range found {
			found[i].Count = 3
		}
		return tx.PutFailures(f.ctx, found...)
	})
	counts("counted", 3, 3, 3, 3)
	f.tx(func(tx *store.Tx) error {
		n, err := tx.ForgetFailures(f.ctx, "a")
		if n != 2 {
			f.Errorf("ForgetFailures = %d, want 2", n)
		}
		if none, err := tx.ForgetFailures(f.ctx, ""); none != 0 || err != nil {
			f.Errorf("ForgetFailures of nobody = %d, %v, want 0", none, err)
		}
		return err
	})
	counts("after ForgetFailures", 0, 0, 3, 3)
	f.check(f.s.PruneSignIn(f.ctx, at(time.Hour), at(time.Minute), epoch))
	counts("after PruneSignIn", 0, 0, 0, 0)
	if n := f.raw().count("SELECT count(*) FROM signin_failures"); n != 0 {
		f.Errorf("%d counters at zero are kept", n)
	}
}

func knowBrowsers(f *fixture) {
	a, b := f.user(local), f.user(local)
	knows := func(what, token string, u identity.User, want bool) {
		f.Helper()
		got, err := f.s.KnowsBrowser(f.ctx, tokenHash(token), u.ID)
		f.check(err)
		if got != want {
			f.Errorf("%s: KnowsBrowser = %v, want %v", what, got, want)
		}
	}
	for range 2 {
		f.tx(func(tx *store.Tx) error { return tx.KnowBrowser(f.ctx, tokenHash("1"), a.ID, epoch) })
	}
	knows("the person's", "1", a, true)
	knows("another's", "1", b, false)
	knows("another browser", "2", a, false)
	f.tx(func(tx *store.Tx) error { return tx.RenameBrowser(f.ctx, tokenHash("1"), tokenHash("2")) })
	knows("the old token", "1", a, false)
	knows("the new token", "2", a, true)
	if got, err := f.s.KnowsBrowser(f.ctx, nil, a.ID); got || err != nil {
		f.Errorf("KnowsBrowser without a token = %v, %v, want false", got, err)
	}
}

func remember(f *fixture) {
	put := func(kind, key, value string, now, expires time.Duration, want bool) {
		f.Helper()
		got, err := f.s.Remember(f.ctx, kind, key, value, at(now), at(expires))
		f.check(err)
		if got != want {
			f.Errorf("Remember(%s, %s) at %s = %v, want %v", kind, key, now, got, want)
		}
	}
	take := func(kind, key string, now time.Duration, want string) {
		f.Helper()
		got, err := f.s.Recall(f.ctx, kind, key, at(now))
		if want == "" {
			f.isErr("Recall "+key, err, store.ErrNotFound)
			return
		}
		f.check(err)
		if got != want {
			f.Errorf("Recall(%s, %s) = %q, want %q", kind, key, got, want)
		}
	}
	put("state", "k", "one", 0, time.Minute, true)
	put("state", "k", "two", time.Minute-1, 2*time.Minute, false)
	put("other", "k", "three", 0, time.Minute, true)
	take("state", "k", time.Second, "one")
	take("state", "k", time.Second, "")
	take("state", "\x00", time.Second, "")
	put("state", "k", "four", time.Second, time.Minute, true)
	put("state", "k", "five", time.Minute, 2*time.Minute, true) // what expired is no more
	take("state", "k", 2*time.Minute, "")
	take("other", "k", time.Second, "three")
	put("state", "kept", "six", 0, time.Hour, true)
	put("state", "gone", "seven", 0, time.Minute, true)
	f.check(f.s.PruneSignIn(f.ctx, at(time.Minute), epoch, epoch))
	if n := f.raw().count("SELECT count(*) FROM signin_memory"); n != 1 {
		f.Errorf("%d are remembered after PruneSignIn, want 1", n)
	}
}

func recallAtOnce(f *fixture) {
	const many = 8
	if _, err := f.s.Remember(f.ctx, "state", "k", "v", epoch, at(time.Minute)); err != nil {
		f.Fatal(err)
	}
	var wait sync.WaitGroup
	told := make([]bool, many)
	for i := range many {
		wait.Go(func() {
			_, err := f.s.Recall(f.ctx, "state", "k", epoch)
			if told[i] = err == nil; err != nil && !errors.Is(err, store.ErrNotFound) {
				f.Errorf("Recall: %v", err)
			}
		})
	}
	wait.Wait()
	n := 0
	for _, one := range told {
		if one {
			n++
		}
	}
	if n != 1 {
		f.Errorf("%d were told, want 1", n)
	}
}

func bindSubjects(f *fixture) {
	a, b := f.user(), f.user()
	bind := func(s store.Subject) error {
		return f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.BindSubject(f.ctx, s, epoch) })
	}
	subject := store.Subject{Provider: "saml", Issuer: "https://idp", Subject: "S-1", UserID: a.ID}
	f.check(bind(subject))
	f.isErr("the subject of another", bind(store.Subject{Provider: "saml", Issuer: "https://idp", Subject: "S-1", UserID: b.ID}), store.ErrStale)
	f.isErr("another subject", bind(store.Subject{Provider: "saml", Issuer: "https://idp", Subject: "S-2", UserID: a.ID}), store.ErrStale)
	f.check(bind(store.Subject{Provider: "oidc", Issuer: "https://idp", Subject: "S-1", UserID: b.ID}))
	f.check(bind(store.Subject{Provider: "saml", Issuer: "https://other", Subject: "S-1", UserID: b.ID}))
	for _, c := range []struct {
		asked store.Subject
		want  string
	}{
		{subject, a.ID},
		{store.Subject{Provider: "saml", Issuer: "https://idp", Subject: "s-1"}, ""},
		{store.Subject{Provider: "oidc", Issuer: "https://idp", Subject: "S-1"}, b.ID},
		{store.Subject{Provider: "saml", Issuer: "https://idp", Subject: "a\x00b"}, ""},
	} {
		got, err := f.s.SubjectUser(f.ctx, c.asked)
		if got != c.want || (c.want == "") != errors.Is(err, store.ErrNotFound) {
			f.Errorf("SubjectUser(%v) = %q, %v, want %q", c.asked, got, err, c.want)
		}
	}
	if got, err := f.s.SubjectOf(f.ctx, a.ID, "saml", "https://idp"); got != "S-1" || err != nil {
		f.Errorf("SubjectOf = %q, %v, want S-1", got, err)
	}
	f.tx(func(tx *store.Tx) error {
		ids, err := tx.UnbindSubjects(f.ctx, []string{b.ID, "me"})
		f.equal("UnbindSubjects", ids, []string{b.ID})
		return err
	})
	_, err := f.s.SubjectOf(f.ctx, b.ID, "oidc", "https://idp")
	f.isErr("SubjectOf after UnbindSubjects", err, store.ErrNotFound)
	if _, err := f.s.SubjectUser(f.ctx, subject); err != nil {
		f.Errorf("SubjectUser of another: %v", err)
	}
}

func statedGroups(f *fixture) {
	a, b := f.user(), f.user()
	put := func(u identity.User, names ...string) {
		f.Helper()
		f.tx(func(tx *store.Tx) error { return tx.PutStatedGroups(f.ctx, u.ID, names) })
	}
	put(a, "gone")
	put(a, "Sales", "sales ", "Admins", "", "a\x00b")
	put(b, "ADMINS")
	names, err := f.s.StatedGroups(f.ctx, a.ID)
	f.check(err)
	f.equal("StatedGroups", names, []string{"Admins", "Sales"})
	for _, c := range []struct {
		names []string
		want  []string
	}{
		{[]string{"admins"}, []string{min(a.ID, b.ID), max(a.ID, b.ID)}},
		{[]string{"Sales", "\x00"}, []string{a.ID}},
		{[]string{"gone"}, nil},
		{nil, nil},
	} {
		got, err := f.s.UsersStating(f.ctx, c.names)
		f.check(err)
		f.equal("UsersStating", got, c.want)
	}
	all, err := f.s.UsersWithStatedGroups(f.ctx)
	f.check(err)
	f.equal("UsersWithStatedGroups", all, []string{min(a.ID, b.ID), max(a.ID, b.ID)})
	put(a)
	names, err = f.s.StatedGroups(f.ctx, a.ID)
	f.check(err)
	f.equal("StatedGroups of none", names, []string(nil))
}

func grantsOfKind(f *fixture) {
	u := f.user()
	has := func(want bool) {
		f.Helper()
		if got, err := f.s.HasGrant(f.ctx, u.ID); got != want || err != nil {
			f.Errorf("HasGrant = %v, %v, want %v", got, err, want)
		}
	}
	has(false)
	jit := identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleViewer, Kind: identity.GrantJIT, SourceID: "Sales"}
	f.grant(jit)
	f.grant(identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleViewer, Kind: identity.GrantManual})
	grants, err := f.s.GrantsOfKind(f.ctx, u.ID, identity.GrantJIT)
	f.check(err)
	jit.TeamName = identity.RootTeam
	f.equal("GrantsOfKind", grants, []identity.Grant{jit})
	has(true)
	if grants, err := f.s.GrantsOfKind(f.ctx, uuid.NewString(), identity.GrantJIT); len(grants) > 0 || err != nil {
		f.Errorf("GrantsOfKind of nobody = %v, %v", grants, err)
	}
}

func renewHash(f *fixture) {
	u := f.user(local)
	f.tx(func(tx *store.Tx) error { return tx.SetPassword(f.ctx, u.ID, "old", epoch) })
	for _, c := range []struct{ old, hash, want string }{{"another", "new", "old"}, {"old", "new", "new"}} {
		f.check(f.s.RenewPasswordHash(f.ctx, u.ID, c.old, c.hash))
		f.tx(func(tx *store.Tx) error {
			got, err := tx.LockPasswordHash(f.ctx, u.ID)
			if got != c.want {
				f.Errorf("the hash after renewing %q = %q, want %q", c.old, got, c.want)
			}
			return err
		})
	}
	f.tx(func(tx *store.Tx) error {
		_, err := tx.LockPasswordHash(f.ctx, f.newUser().ID)
		f.isErr("LockPasswordHash of nobody", err, store.ErrNotFound)
		return nil
	})
}
