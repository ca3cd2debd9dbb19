package storetest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var userCases = []namedCase{
	{"a full user comes back as written", fullUser},
	{"times come back in UTC, to the microsecond", userTimes},
	{"reads by id and by name", readUser},
	{"unique without case", uniqueUsers},
	{"update over the expected version only", updateUser},
	{"pages in the order of Seq", pageUsers},
	{"by many ids", usersByID},
	{"held users of a source", heldUsers},
	{"owned users page by page", ownedUsers},
	{"a fingerprint is kept for the version seen", markUsersSeen},
	{"candidates by external id, name and e-mail", candidates},
	{"texts that cannot be kept are refused", refusedTexts},
}

// nasty are texts that a careless statement, pattern or encoding breaks on.
var nasty = []string{
	"", " ", "'", "''; DROP TABLE users; --", `"`, `\`, `\\`, `a\"b`, "%", "_", "100%_x", "{a,b}", `{"a"}`, "NULL", "null",
	"?", "$1", "@name", ":x", "a\tb\nc\r", "Zoë Ångström", "İstanbul ß ſ", "日本語", "👩‍👩‍👧", "e\u0301", "\u2028", "\ufffd", "<b>&amp;</b>",
	"\x7f", strings.Repeat("long ", 2000),
}

func nastyAttributes() identity.Attributes {
	list := make([]any, len(nasty))
	byKey := map[string]any{}
	for i, s := range nasty {
		list[i] = s
		byKey["k"+s] = s
	}
	return identity.Attributes{
		"displayName": "Zoë “Z” O'Neil\\",
		"name":        map[string]any{"givenName": "Zoë", "familyName": "O'Neil"},
		"emails": []any{
			map[string]any{"type": "home", "value": "Zoe@Home.example"},
			map[string]any{"type": "work", "value": "Zoe@Work.example", "primary": true},
		},
		identity.EnterpriseURN: map[string]any{"employeeNumber": "007", "manager": map[string]any{"value": "x"}},
		"x": map[string]any{
			"numbers": []any{
				json.Number("0"), json.Number("1.0"), json.Number("-1.50"), json.Number("12345678901234567890"),
				json.Number("0.1234567890123456789"), json.Number("9007199254740993"),
			},
			"bools": []any{true, false, nil},
			"empty": []any{"", []any{}, map[string]any{}},
			"nasty": list,
			"keys":  byKey,
		},
	}
}

func everything(u *identity.User) {
	u.ExternalID = `ext'"\%_ü`
	u.Active = false
	u.Attributes = nastyAttributes()
	u.Roles = []string{"admin", `we"ird, {role}`}
	u.Source, u.SourceID = "okta", "00u'1"
	u.Fingerprint = identity.Fingerprint{0, 1, 2, 0, 255, '\'', '\\', 7, 8, 9, 10, 11, 12, 13, 14, 15}
	u.Version = 1 << 40
	u.LastModified = at(time.Hour)
	u.LastPushAt = at(2 * time.Hour)
	u.ObservedAt = at(3 * time.Hour)
	u.DeletedAt = at(4 * time.Hour)
	u.Reason = "absent\n'quoted'"
}

func fullUser(f *fixture) {
	for _, edit := range []func(*identity.User){everything, local, func(*identity.User) {}} {
		want := f.newUser(edit)
		f.insert(want)
		got, err := f.s.User(f.ctx, want.ID)
		f.check(err)
		if got.Seq == 0 {
			f.Error("Seq = 0, want a number")
		}
		want.Seq = got.Seq
		f.equal("User", got, want)
	}
}

func userTimes(f *fixture) {
	zone := time.FixedZone("elsewhere", 5*3600+1800)
	u := f.user(func(u *identity.User) {
		u.Created = time.Date(2026, 7, 1, 3, 4, 5, 123456789, zone)
		u.LastPushAt = time.Date(1999, 12, 31, 23, 59, 59, 0, zone)
	})
	if want := "2026-06-30 21:34:05.123456 +0000 UTC"; u.Created.String() != want {
		f.Errorf("Created = %s, want %s", u.Created, want)
	}
	if want := "1999-12-31 18:29:59 +0000 UTC"; u.LastPushAt.String() != want {
		f.Errorf("LastPushAt = %s, want %s", u.LastPushAt, want)
	}
	if !u.ObservedAt.IsZero() || !u.DeletedAt.IsZero() {
		f.Errorf("ObservedAt, DeletedAt = %s, %s, want zero", u.ObservedAt, u.DeletedAt)
	}
	now, err := f.s.Now(f.ctx)
	f.check(err)
	if now.Location() != time.UTC || time.Since(now).Abs() > time.Hour {
		f.Errorf("Now() = %s, want the time in UTC", now)
	}
}

// notIDs are no ids, or other spellings of one.
func notIDs(id string) []string {
	return []string{
		"", "me", uuid.NewString(), strings.ToUpper(id), "urn:uuid:" + id, "{" + id + "}", strings.ReplaceAll(id, "-", ""),
		id + " ", id + "\x00", "\xff", "' OR TRUE --",
	}
}

func readUser(f *fixture) {
	u := f.user(func(u *identity.User) {
		u.ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
		u.UserName = "Åsa.Öberg@Example.com"
	})
	for _, name := range []string{"Åsa.Öberg@Example.com", "åsa.öberg@example.COM", " ÅSA.ÖBERG@EXAMPLE.COM\n"} {
		got, err := f.s.UserByName(f.ctx, name)
		f.check(err)
		f.equal("UserByName", got, u)
	}
	for _, name := range append([]string{"åsa", "%", "as\x00a", "\xff"}, nasty...) {
		_, err := f.s.UserByName(f.ctx, name)
		f.isErr("UserByName", err, store.ErrNotFound)
	}
	for _, id := range notIDs(u.ID) {
		_, err := f.s.User(f.ctx, id)
		f.isErr("User "+id, err, store.ErrNotFound)
		f.tx(func(tx *store.Tx) error {
			_, err := tx.LockUser(f.ctx, id)
			f.isErr("LockUser "+id, err, store.ErrNotFound)
			return nil
		})
	}
	f.tx(func(tx *store.Tx) error {
		got, err := tx.LockUser(f.ctx, u.ID)
		f.equal("LockUser", got, u)
		return err
	})
}

func uniqueUsers(f *fixture) {
	first := f.user(named("Straße@example.com"), owned("okta", "1"), func(u *identity.User) { u.ExternalID = "e1" })
	f.user(func(u *identity.User) { u.ExternalID = "e1" }) // unowned: another source
	f.user(owned("entra", "1"), func(u *identity.User) { u.ExternalID = "e1" })
	f.user(owned("okta", "")) // no id, twice
	f.user(owned("okta", ""))
	for _, c := range []struct {
		attribute string
		user      identity.User
	}{
		{"userName", f.newUser(named("STRAßE@example.com "))},
		{"externalId", f.newUser(owned("okta", "2"), func(u *identity.User) { u.ExternalID = "e1" })},
		{"externalId", f.newUser(owned("okta", "1"))},
	} {
		f.isDuplicate("InsertUsers", f.insertErr(c.user), identity.ObjectUser, c.attribute)
		many := []identity.User{c.user} // by COPY
		for range 20 {
			many = append(many, f.newUser())
		}
		f.isDuplicate("InsertUsers of many", f.insertErr(many...), identity.ObjectUser, c.attribute)
		other := f.user()
		err := f.s.InTx(f.ctx, func(tx *store.Tx) error {
			changed := c.user
			changed.ID = other.ID
			return tx.UpdateUser(f.ctx, &changed, 1)
		})
		f.isDuplicate("UpdateUser", err, identity.ObjectUser, c.attribute)
	}
	_, total, err := f.s.Users(f.ctx, store.UserQuery{})
	f.check(err)
	if want := 5 + 3; total != want {
		f.Errorf("%d users, want %d: a refused batch leaves nothing", total, want)
	}
	got, err := f.s.User(f.ctx, first.ID)
	f.check(err)
	f.equal("the first user", got, first)
}

func updateUser(f *fixture) {
	u := f.user()
	changed := u.Clone()
	everything(&changed)
	changed.Version = 2
	f.tx(func(tx *store.Tx) error { return tx.UpdateUser(f.ctx, &changed, 1) })
	got, err := f.s.User(f.ctx, u.ID)
	f.check(err)
	f.equal("the user", got, changed)
	f.isErr("UpdateUser at the old version", f.s.InTx(f.ctx, func(tx *store.Tx) error {
		return tx.UpdateUser(f.ctx, &u, 1)
	}), store.ErrStale)
	nobody := f.newUser()
	f.isErr("UpdateUser of nobody", f.s.InTx(f.ctx, func(tx *store.Tx) error {
		return tx.UpdateUser(f.ctx, &nobody, 1)
	}), store.ErrStale)
	cleared := u.Clone()
	cleared.Version = 3
	f.tx(func(tx *store.Tx) error { return tx.UpdateUser(f.ctx, &cleared, 2) })
	got, err = f.s.User(f.ctx, u.ID)
	f.check(err)
	f.equal("the user, cleared", got, cleared)
}

func pageUsers(f *fixture) {
	ids := f.users(25)
	f.user(func(u *identity.User) { u.DeletedAt, u.Active = epoch, false })
	var paged []string
	for offset := 0; offset < 40; offset += 10 {
		users, total, err := f.s.Users(f.ctx, store.UserQuery{Offset: offset, Limit: 10})
		f.check(err)
		if total != 25 {
			f.Errorf("total = %d at offset %d, want 25", total, offset)
		}
		for i := range users {
			paged = append(paged, users[i].ID)
		}
	}
	f.equal("ids", paged, ids)
	users, total, err := f.s.Users(f.ctx, store.UserQuery{})
	f.check(err)
	if len(users) != 0 || total != 25 {
		f.Errorf("Users without a limit = %d users of %d, want 0 of 25", len(users), total)
	}
	users, total, err = f.s.Users(f.ctx, store.UserQuery{Limit: 100, Deleted: true})
	f.check(err)
	if len(users) != 26 || total != 26 {
		f.Errorf("Users with deleted ones = %d of %d, want 26 of 26", len(users), total)
	}
}

func usersByID(f *fixture) {
	a, b := f.user(everything), f.user()
	ids := append(notIDs(a.ID), a.ID, b.ID, a.ID)
	want := map[string]identity.User{a.ID: a, b.ID: b}
	got, err := f.s.UsersByID(f.ctx, ids)
	f.check(err)
	f.equal("UsersByID", got, want)
	f.tx(func(tx *store.Tx) error {
		got, err := tx.LockUsers(f.ctx, ids)
		f.equal("LockUsers", got, want)
		return err
	})
	got, err = f.s.UsersByID(f.ctx, nil)
	f.check(err)
	f.equal("UsersByID of nobody", got, map[string]identity.User{})
	unknown, err := f.s.UnknownUsers(f.ctx, []string{"me", a.ID, b.ID, "\x00"})
	f.check(err)
	f.equal("UnknownUsers", unknown, []string{"me", a.ID, "\x00"}) // a was deleted
}

func heldUsers(f *fixture) {
	var sourceIDs []string
	want := map[string]identity.HeldUser{}
	for i, id := range nasty {
		if id == "" || len(id) > 1000 {
			continue
		}
		u := f.user(owned("okta", id), func(u *identity.User) {
			u.Fingerprint = identity.Fingerprint{byte(i)}
			u.Active = i%2 == 0
			u.Version = int64(i + 1)
		})
		f.user(owned("entra", id))
		sourceIDs = append(sourceIDs, id, id+"?")
		want[id] = identity.HeldUser{
			ID: u.ID, Seq: u.Seq, SourceID: id, UserName: u.UserName, Active: u.Active, Version: u.Version, Fingerprint: u.Fingerprint,
		}
	}
	f.user(owned("okta", ""))
	got, err := f.s.HeldUsers(f.ctx, "okta", append(sourceIDs, "", "a\x00b", "\xff"))
	f.check(err)
	f.equal("HeldUsers", got, want)
	resolved, err := f.s.ResolveUsers(f.ctx, "okta", sourceIDs)
	f.check(err)
	for id, held := range want {
		if resolved[id] != held.ID {
			f.Errorf("ResolveUsers()[%q] = %q, want %q", id, resolved[id], held.ID)
		}
	}
	var ids []string
	var digests []identity.Fingerprint
	var agreeing []int64
	for i, id := range slices.Sorted(maps.Keys(want)) {
		held := want[id]
		ids, digests = append(ids, id), append(digests, held.Fingerprint)
		if i%3 == 0 || held.Fingerprint.IsZero() {
			digests[len(digests)-1] = identity.Fingerprint{0xee} // differs, or is not known
			continue
		}
		agreeing = append(agreeing, held.Seq)
	}
	seqs, err := f.s.AgreeingUsers(f.ctx, "okta", append(ids, "nobody"), append(digests, identity.Fingerprint{1}))
	f.check(err)
	slices.Sort(seqs)
	slices.Sort(agreeing)
	f.equal("AgreeingUsers", seqs, agreeing)
	got, err = f.s.HeldUsers(f.ctx, "okta", nil)
	f.check(err)
	f.equal("HeldUsers of nobody", got, map[string]identity.HeldUser{})
}

func ownedUsers(f *fixture) {
	var want []string
	for i := range 23 {
		f.user(owned("entra", uuid.NewString()))
		u := f.user(owned("okta", uuid.NewString()), func(u *identity.User) { u.Active = i%4 != 0 })
		if u.Active {
			want = append(want, u.ID)
		}
	}
	var got []string
	var wantSeqs []int64
	for after := int64(0); ; {
		page, err := f.s.OwnedUsers(f.ctx, "okta", after, 5)
		f.check(err)
		if len(page) == 0 {
			break
		}
		for _, held := range page {
			got, wantSeqs = append(got, held.ID), append(wantSeqs, held.Seq)
			after = held.Seq
		}
	}
	f.equal("OwnedUsers", got, want)
	var seqs []int64
	for after := int64(0); ; {
		page, err := f.s.OwnedSeqs(f.ctx, "okta", after, 2)
		f.check(err)
		seqs = append(seqs, page...)
		if len(page) < 2 {
			break
		}
		after = page[1]
	}
	f.equal("OwnedSeqs", seqs, wantSeqs)
	n, err := f.s.CountOwnedUsers(f.ctx, "okta")
	f.check(err)
	if n != len(want) {
		f.Errorf("CountOwnedUsers = %d, want %d", n, len(want))
	}
}

func markUsersSeen(f *fixture) {
	a, b := f.user(), f.user(func(u *identity.User) { u.Version = 7 })
	fingerprint := identity.Fingerprint{1, 2, 3}
	f.tx(func(tx *store.Tx) error {
		return tx.MarkUsersSeen(f.ctx, []identity.Seen{{ID: a.ID, Version: 1, Fingerprint: fingerprint}, {ID: b.ID, Version: 6, Fingerprint: fingerprint}})
	})
	want := a
	want.Fingerprint = fingerprint
	got, err := f.s.User(f.ctx, a.ID)
	f.check(err)
	f.equal("the user seen", got, want)
	got, err = f.s.User(f.ctx, b.ID)
	f.check(err)
	f.equal("the user that changed since", got, b)
}

func candidates(f *fixture) {
	email := func(address string) func(*identity.User) {
		return func(u *identity.User) {
			u.Attributes = identity.Attributes{"emails": []any{map[string]any{"value": address}}}
		}
	}
	byExternal := f.user(func(u *identity.User) { u.ExternalID = "X1" })
	byName := f.user(named("Jo@Example.com"))
	byEmail := f.user(email("JO@example.com"))
	f.user(email("other@example.com"))
	f.user(func(u *identity.User) { u.ExternalID = "x1" }) // externalId is exact
	found, err := f.s.Candidates(f.ctx, []string{"X1", "X2", ""}, []string{" jo@EXAMPLE.com", "", "a\x00"})
	f.check(err)
	got := map[string]bool{}
	for i := range found {
		got[found[i].ID] = true
	}
	f.equal("Candidates", got, map[string]bool{byExternal.ID: true, byName.ID: true, byEmail.ID: true})
	if len(found) != 3 {
		f.Errorf("%d candidates, want each once", len(found))
	}
}

func refusedTexts(f *fixture) {
	known := f.user()
	for name, edit := range map[string]func(*identity.User){
		"NUL in userName":       func(u *identity.User) { u.UserName = "a\x00b" },
		"no UTF-8 in reason":    func(u *identity.User) { u.Reason = "\xff" },
		"NUL in the attributes": func(u *identity.User) { u.Attributes = identity.Attributes{"title": "a\x00b"} },
		"NUL in a key":          func(u *identity.User) { u.Attributes = identity.Attributes{"a\x00b": true} },
	} {
		u := f.newUser(edit)
		f.isErr(name, f.insertErr(u), store.ErrText)
		many := []identity.User{u}
		for range 20 {
			many = append(many, f.newUser())
		}
		f.isErr(name+", many", f.insertErr(many...), store.ErrText)
		changed := known
		edit(&changed)
		f.isErr(name+", update", f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.UpdateUser(f.ctx, &changed, 1) }), store.ErrText)
	}
	f.user(func(u *identity.User) { u.Attributes = identity.Attributes{"title": `a\u0000b`} }) // six letters
}
