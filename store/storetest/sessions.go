package storetest

import (
	"crypto/sha256"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var sessionCases = []namedCase{
	{"written, read with what its person may do", holdSession},
	{"it counts while its person does", sessionCounts},
	{"used at most once a minute", touchSession},
	{"ended once, all but one, listed", endSessions},
	{"pruned when it is long over", pruneSessions},
}

func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// session writes a session of an hour, idle after ten minutes, made at the epoch.
func (f *fixture) session(token string, u identity.User, edit ...func(*store.Session)) store.Session {
	f.Helper()
	s := store.Session{
		ID: uuid.NewString(), Hash: tokenHash(token), UserID: u.ID, UserName: u.UserName, Method: "saml", Created: epoch, LastSeen: epoch,
		Expires: at(time.Hour), IdleExpires: at(10 * time.Minute), Remote: "192.0.2.1", UserAgent: `Browser "1"`,
	}
	if u.Origin == identity.OriginLocal {
		s.Method = "password"
	}
	for _, e := range edit {
		e(&s)
	}
	f.tx(func(tx *store.Tx) error { return tx.InsertSession(f.ctx, &s) })
	s.Hash = nil // is not read
	return s
}

func holdSession(f *fixture) {
	u := f.user(named("ana@example.com"))
	s := f.session("token", u)
	holds := func(what string, granted bool, roles ...identity.Role) {
		f.Helper()
		got, err := f.s.SessionHolder(f.ctx, tokenHash("token"), at(time.Minute))
		f.check(err)
		f.equal(what, got, store.SessionHolder{Session: s, DisplayName: u.DisplayName(), Origin: identity.OriginSSO, Granted: granted, RootRoles: roles})
	}
	holds("without grants", false)
	g := f.group()
	f.addMembers(g.ID, u.ID)
	f.tx(func(tx *store.Tx) error {
		if err := tx.PutTeam(f.ctx, identity.Team{ID: uuid.NewString(), Name: "t", Created: epoch}); err != nil {
			return err
		}
		team, err := tx.TeamByName(f.ctx, "t")
		if err != nil {
			return err
		}
		return tx.AddGroupGrant(f.ctx, store.GroupGrant{GroupID: g.ID, TeamID: team.ID, Role: identity.RoleViewer})
	})
	holds("with a role on another team, by a group", true)
	for _, kind := range []identity.GrantKind{identity.GrantManual, identity.GrantDirect} {
		f.grant(identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleViewer, Kind: kind})
	}
	f.grant(identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleAdmin, Kind: identity.GrantManual})
	holds("with roles on root", true, identity.RoleAdmin, identity.RoleViewer)
	_, err := f.s.SessionHolder(f.ctx, tokenHash("another"), at(time.Minute))
	f.isErr("SessionHolder of another token", err, store.ErrNotFound)
}

// sessionCounts asks both reads, which have to agree.
func sessionCounts(f *fixture) {
	write := func(u *identity.User) {
		f.Helper()
		f.tx(func(tx *store.Tx) error {
			version := u.Version
			u.Version++
			return tx.UpdateUser(f.ctx, u, version)
		})
	}
	counts := func(what, token string, s store.Session, now time.Duration, want bool) {
		f.Helper()
		got, err := f.s.SessionCounts(f.ctx, s.ID, at(now))
		f.check(err)
		_, err = f.s.SessionHolder(f.ctx, tokenHash(token), at(now))
		if got != want || (err == nil) != want {
			f.Errorf("%s: SessionCounts = %v, SessionHolder: %v, want %v", what, got, err, want)
		}
	}
	u, l := f.user(), f.user(local)
	for _, user := range []identity.User{u, l} {
		f.grant(identity.Grant{UserID: user.ID, TeamID: identity.RootTeamID, Role: identity.RoleViewer, Kind: identity.GrantManual})
	}
	s, p := f.session("sso", u), f.session("password", l)
	counts("fresh", "sso", s, 0, true)
	counts("just before it is idle", "sso", s, 10*time.Minute-time.Microsecond, true)
	counts("idle", "sso", s, 10*time.Minute, false)
	long := f.session("long", u, func(s *store.Session) { s.IdleExpires = at(24 * time.Hour) })
	counts("expired", "long", long, time.Hour, false)
	counts("by password", "password", p, 0, true)
	l.Origin = identity.OriginSSO
	write(&l)
	counts("by password of a converted account", "password", p, 0, false)
	u.Active = false
	write(&u)
	counts("inactive", "sso", s, 0, false)
	u.Active, u.DeletedAt = true, epoch
	write(&u)
	counts("deleted", "sso", s, 0, false)
	u.DeletedAt = time.Time{}
	write(&u)
	counts("back", "sso", s, 0, true)
	f.tx(func(tx *store.Tx) error {
		_, err := tx.DeleteGrant(f.ctx, identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: identity.RoleViewer, Kind: identity.GrantManual})
		return err
	})
	if got, err := f.s.SessionCounts(f.ctx, s.ID, epoch); got || err != nil {
		f.Errorf("SessionCounts without a grant = %v, %v, want false", got, err)
	}
}

func touchSession(f *fixture) {
	s := f.session("token", f.user())
	for _, c := range []struct{ now, seen time.Duration }{
		{59 * time.Second, 0}, {time.Minute, time.Minute}, {90 * time.Second, time.Minute}, {3 * time.Minute, 3 * time.Minute},
	} {
		f.check(f.s.TouchSession(f.ctx, s.ID, at(c.now), at(c.now+10*time.Minute)))
		got, err := f.s.SessionHolder(f.ctx, tokenHash("token"), at(c.now))
		f.check(err)
		if !got.LastSeen.Equal(at(c.seen)) || !got.IdleExpires.Equal(at(c.seen+10*time.Minute)) {
			f.Errorf("touched at %s: last seen %s, idle from %s, want last seen at %s", c.now, got.LastSeen, got.IdleExpires, c.seen)
		}
	}
}

func endSessions(f *fixture) {
	a, b := f.user(), f.user()
	first := f.session("1", a)
	second := f.session("2", a, func(s *store.Session) { s.Created = at(time.Second) })
	third := f.session("3", a, func(s *store.Session) { s.Created = at(2 * time.Second) })
	other := f.session("4", b, func(s *store.Session) { s.Created = at(3 * time.Second) })
	listed := func(what, userID string, want ...store.Session) {
		f.Helper()
		got, err := f.s.Sessions(f.ctx, userID, at(time.Minute), 10)
		f.check(err)
		f.equal(what, got, want)
	}
	listed("all", "", other, third, second, first)
	listed("of one", a.ID, third, second, first)
	listed("of nobody", "me")
	f.tx(func(tx *store.Tx) error {
		ended, err := tx.EndSession(f.ctx, first.ID, "signed out", epoch)
		f.equal("EndSession", ended, store.EndedSession{ID: first.ID, UserID: a.ID, UserName: a.UserName})
		return err
	})
	for _, id := range []string{first.ID, "", "\x00", uuid.NewString()} {
		f.isErr("EndSession "+id, f.s.InTx(f.ctx, func(tx *store.Tx) error {
			_, err := tx.EndSession(f.ctx, id, "again", epoch)
			return err
		}), store.ErrNotFound)
	}
	f.tx(func(tx *store.Tx) error {
		ended, err := tx.EndSessions(f.ctx, []string{a.ID, "me"}, third.ID, "password changed", epoch)
		f.equal("EndSessions but one", ended, []store.EndedSession{{ID: second.ID, UserID: a.ID, UserName: a.UserName}})
		return err
	})
	listed("what is left", "", other, third)
	f.tx(func(tx *store.Tx) error {
		ended, err := tx.EndSessions(f.ctx, []string{a.ID}, "", "deactivated", epoch)
		f.equal("EndSessions", ended, []store.EndedSession{{ID: third.ID, UserID: a.ID, UserName: a.UserName}})
		return err
	})
	listed("the other's", "", other)
}

func pruneSessions(f *fixture) {
	u := f.user()
	f.session("old", u)
	f.session("new", u, func(s *store.Session) { s.Expires = at(48 * time.Hour) })
	f.tx(func(tx *store.Tx) error {
		if err := tx.KnowBrowser(f.ctx, tokenHash("old"), u.ID, epoch); err != nil {
			return err
		}
		return tx.KnowBrowser(f.ctx, tokenHash("new"), u.ID, at(48*time.Hour))
	})
	f.check(f.s.PruneSignIn(f.ctx, at(24*time.Hour), epoch, at(24*time.Hour)))
	db := f.raw()
	for _, table := range []string{"sessions", "known_browsers"} {
		if n := db.count("SELECT count(*) FROM " + table); n != 1 {
			f.Errorf("%s after PruneSignIn: %d rows, want 1", table, n)
		}
	}
}
