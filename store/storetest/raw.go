package storetest

import (
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var constraintCases = []namedCase{
	{"the database refuses what must not be", violations},
	{"times are kept so that they sort", storedTimes},
}

func violations(f *fixture) {
	db := f.raw()
	u := f.user(named("Jo@example.com"), owned("okta", "1"), func(u *identity.User) { u.ExternalID = "e" })
	g := f.group(ownedGroup("okta", "1"), func(g *identity.Group) { g.DisplayName, g.ExternalID = "Alpha", "e" })
	v, h := f.user(), f.group()
	f.addMembers(g.ID, u.ID)
	f.key("k", u.ID)
	f.grant(identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: "viewer", Kind: identity.GrantDirect})
	nobody := uuid.NewString()
	for _, c := range []struct {
		name, statement string
		args            []any
	}{
		{"userName without case", "UPDATE users SET user_name_key = 'jo@example.com' WHERE id = ?", []any{v.ID}},
		{"user's id", "UPDATE users SET id = ? WHERE id = ?", []any{u.ID, v.ID}},
		{"user's external id", "UPDATE users SET source = 'okta', external_id = 'e' WHERE id = ?", []any{v.ID}},
		{"user's source id", "UPDATE users SET source = 'okta', source_id = '1' WHERE id = ?", []any{v.ID}},
		{"user's origin", "UPDATE users SET origin = 'ldap' WHERE id = ?", []any{v.ID}},
		{"no userName", "UPDATE users SET user_name = NULL WHERE id = ?", []any{v.ID}},
		{"user with memberships", "DELETE FROM users WHERE id = ?", []any{u.ID}},
		{"displayName without case", "UPDATE groups SET display_name_key = 'alpha' WHERE id = ?", []any{h.ID}},
		{"group's external id", "UPDATE groups SET source = 'okta', external_id = 'e' WHERE id = ?", []any{h.ID}},
		{"group's source id", "UPDATE groups SET source = 'okta', source_id = '1' WHERE id = ?", []any{h.ID}},
		{"member of no group", "INSERT INTO group_members (group_id, user_id) VALUES (?, ?)", []any{nobody, u.ID}},
		{"nobody as a member", "INSERT INTO group_members (group_id, user_id) VALUES (?, ?)", []any{g.ID, nobody}},
		{"member twice", "INSERT INTO group_members (group_id, user_id) VALUES (?, ?)", []any{g.ID, u.ID}},
		{"team's name", "INSERT INTO teams (id, name, name_key, created_at) VALUES (?, 'x', 'root', ?)", []any{nobody, epoch}},
		{"team of no group", "UPDATE teams SET group_id = ? WHERE name_key = 'root'", []any{nobody}},
		{"team with grants", "DELETE FROM teams WHERE name_key = 'root'", nil},
		{"grant of nobody", "INSERT INTO grants (user_id, team_id, role, kind, created_at) VALUES (?, ?, 'x', 'jit', ?)", []any{nobody, identity.RootTeamID, epoch}},
		{"grant on no team", "INSERT INTO grants (user_id, team_id, role, kind, created_at) VALUES (?, ?, 'x', 'jit', ?)", []any{u.ID, nobody, epoch}},
		{"grant of a kind that membership gives", "UPDATE grants SET kind = 'group'", nil},
		{"group's grant on no team", "INSERT INTO group_grants (group_id, team_id, role) VALUES (?, ?, 'x')", []any{g.ID, nobody}},
		{"group's grant of no group", "INSERT INTO group_grants (group_id, team_id, role) VALUES (?, ?, 'x')", []any{nobody, identity.RootTeamID}},
		{"key of nobody", "UPDATE api_keys SET user_id = ?", []any{nobody}},
		{"password of nobody", "INSERT INTO credentials (user_id, password_hash, updated_at) VALUES (?, 'x', ?)", []any{nobody, epoch}},
		{"spool of no run", "INSERT INTO run_members (run_id, group_source_id, user_source_id) VALUES ('x', 'y', 'z')", nil},
	} {
		if err := db.exec(c.statement, c.args...); err == nil {
			f.Errorf("%s: the database let it pass", c.name)
		}
	}
	f.checkHash(g.ID)
}

// storedTimes lets the database sort: what the program wrote must be in order whatever the fractions of a second.
func storedTimes(f *fixture) {
	var want []string
	for _, offset := range []time.Duration{-1e9, -876544000, -123456000, 0, 1000, 10000, 376544000, 876543000, 876544000, 1e9} {
		want = append(want, f.user(func(u *identity.User) { u.Created = at(offset) }).ID)
	}
	rows, err := f.raw().QueryContext(f.ctx, "SELECT id FROM users ORDER BY created_at, seq DESC")
	f.check(err)
	defer rows.Close()
	var got []string
	for rows.Next() {
		var id string
		f.check(rows.Scan(&id))
		got = append(got, id)
	}
	f.check(rows.Err())
	f.equal("ids in the order of created_at", got, want)
}

var tamperCases = []namedCase{
	{"an edited user is compared in full again", editedUser},
	{"an edited group is compared in full again", editedGroup},
	{"edited memberships move count and hash", editedMembers},
	{"a user's new key follows into every group", changedKey},
}

func editedUser(f *fixture) {
	db := f.raw()
	for column, value := range map[string]any{
		"user_name": "mallory", "external_id": "x", "active": false, "document": `{"title":"boss"}`, "source": "x", "source_id": "x",
	} {
		u := f.user(owned("okta", column), func(u *identity.User) { u.Fingerprint = identity.Fingerprint{1} })
		db.must("UPDATE users SET "+column+" = "+column+", version = version, last_push_at = ?, fingerprint = fingerprint WHERE id = ?", epoch, u.ID)
		got, err := f.s.User(f.ctx, u.ID)
		f.check(err)
		if got.Fingerprint != u.Fingerprint {
			f.Errorf("%s: an edit that changes nothing cleared the fingerprint", column)
		}
		db.must("UPDATE users SET "+column+" = ? WHERE id = ?", value, u.ID)
		got, err = f.s.User(f.ctx, u.ID)
		f.check(err)
		if !got.Fingerprint.IsZero() {
			f.Errorf("%s: the fingerprint is still there after an edit", column)
		}
		got.Fingerprint = identity.Fingerprint{2}
		got.UserName, got.Version = column, got.Version+1
		f.tx(func(tx *store.Tx) error { return tx.UpdateUser(f.ctx, &got, got.Version-1) })
		repaired, err := f.s.User(f.ctx, u.ID)
		f.check(err)
		if repaired.Fingerprint != got.Fingerprint {
			f.Errorf("%s: a change with a new fingerprint lost it", column)
		}
	}
}

func editedGroup(f *fixture) {
	db := f.raw()
	for column, value := range map[string]any{
		"display_name": "mallory", "external_id": "x", "document": `{"a":1}`, "source": "x", "source_id": "x",
	} {
		g := f.group(ownedGroup("okta", column), func(g *identity.Group) { g.Fingerprint = identity.Fingerprint{1} })
		f.addMembers(g.ID, f.users(1)...)
		if got := f.readGroup(g.ID); got.Fingerprint != g.Fingerprint {
			f.Errorf("%s: a new member cleared the fingerprint", column)
		}
		db.must("UPDATE groups SET "+column+" = ? WHERE id = ?", value, g.ID)
		if got := f.readGroup(g.ID); !got.Fingerprint.IsZero() {
			f.Errorf("%s: the fingerprint is still there after an edit", column)
		}
	}
}

func editedMembers(f *fixture) {
	db := f.raw()
	g, h := f.group(), f.group()
	users := f.users(6)
	f.addMembers(g.ID, users[:4]...)
	before := f.readGroup(g.ID)
	expect := func(what string, count int) {
		f.Helper()
		if got := f.readGroup(g.ID); got.MemberCount != count || got.MemberHash == before.MemberHash {
			f.Errorf("%s: %d members, want %d; hash moved: %v", what, got.MemberCount, count, got.MemberHash != before.MemberHash)
		}
		f.checkHash(g.ID)
		f.checkHash(h.ID)
	}
	db.must("DELETE FROM group_members WHERE group_id = ? AND user_id IN (?, ?)", g.ID, users[0], users[1])
	expect("deleted", 2)
	db.must("INSERT INTO group_members (group_id, user_id, key_hi, key_lo) SELECT g.id, u.id, u.key_hi, u.key_lo FROM users u, groups g WHERE g.id = ? AND u.id = ?", g.ID, users[5])
	expect("inserted", 3)
	db.must("UPDATE group_members SET group_id = ? WHERE group_id = ? AND user_id = ?", h.ID, g.ID, users[5])
	expect("moved", 2)
	db.must("INSERT INTO group_members (group_id, user_id) VALUES (?, ?)", g.ID, users[4]) // without the key
	if n := f.readGroup(g.ID).MemberCount; n != 3 {
		f.Errorf("MemberCount = %d, want 3", n)
	}
	db.must("DELETE FROM group_members")
	if got := f.readGroup(g.ID); got.MemberCount != 0 || got.MemberHash != (identity.SetHash{}) {
		f.Errorf("an emptied group carries %d members and hash %v", got.MemberCount, got.MemberHash)
	}
}

func changedKey(f *fixture) {
	u := f.user()
	groups := []identity.Group{f.group(), f.group(), f.group()}
	others := f.users(3)
	for _, g := range groups {
		f.addMembers(g.ID, append(others, u.ID)...)
	}
	for _, id := range []string{"1", "2", ""} {
		u.Source, u.SourceID = "okta", id
		u.Version++
		f.tx(func(tx *store.Tx) error { return tx.UpdateUser(f.ctx, &u, u.Version-1) })
		for _, g := range groups {
			f.checkHash(g.ID)
		}
	}
}
