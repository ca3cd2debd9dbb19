package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var exprCases = []namedCase{
	{"every field and operator of users", userExprs},
	{"every field and operator of groups", groupExprs},
	{"and, or, not", nestedExprs},
	{"members of a group, groups of a member", memberExprs},
	{"attributes of the document", documentExprs},
	{"any of the e-mail addresses", emailExprs},
	{"what cannot be compared is an error", badExprs},
}

var allOps = []store.CompareOp{
	store.OpEq, store.OpNe, store.OpCo, store.OpSw, store.OpEw, store.OpGt, store.OpGe, store.OpLt, store.OpLe, store.OpPr,
}

// exprTexts are values that are held and compared with: letter case, wildcards, quotes, order beyond ASCII.
var exprTexts = []string{
	"", "Alpha", "alphabet", "ALPHA%", "alpha_x", `al\pha`, `\`, `%`, "_", "'", `"q"`, "Éa", "éab", "Z", "a", "ß", "日本", "👩‍👩‍👧", "alpha-b", "alpha b",
}

// compareOptional is compareText where "" says that there is no value: it is unequal to every text, and nothing else.
func compareOptional(op store.CompareOp, held, value string, folded bool) bool {
	if held == "" {
		return op == store.OpNe
	}
	return compareText(op, held, value, folded)
}

// compareText is what the operators mean, in Go.
func compareText(op store.CompareOp, held, value string, folded bool) bool {
	if folded {
		held = identity.Normalize(held)
		if op == store.OpCo || op == store.OpSw || op == store.OpEw {
			value = strings.ToLower(value)
		} else {
			value = identity.Normalize(value)
		}
	}
	switch op {
	case store.OpEq:
		return held == value
	case store.OpNe:
		return held != value
	case store.OpCo:
		return strings.Contains(held, value)
	case store.OpSw:
		return strings.HasPrefix(held, value)
	case store.OpEw:
		return strings.HasSuffix(held, value)
	case store.OpGt:
		return held > value
	case store.OpGe:
		return held >= value
	case store.OpLt:
		return held < value
	case store.OpLe:
		return held <= value
	}
	return held != ""
}

func compareTime(op store.CompareOp, held, value time.Time) bool {
	switch op {
	case store.OpEq:
		return held.Equal(value)
	case store.OpNe:
		return !held.Equal(value)
	case store.OpGt:
		return held.After(value)
	case store.OpGe:
		return !held.Before(value)
	case store.OpLt:
		return held.Before(value)
	case store.OpLe:
		return !held.After(value)
	}
	return true
}

func exprUsers(f *fixture) []identity.User {
	for i, text := range exprTexts {
		f.user(func(u *identity.User) {
			u.UserName = fmt.Sprintf("%s.%d", text, i)
			u.ExternalID = text
			u.Source = fmt.Sprint("s", i)
			if i%3 == 0 {
				u.Source = text
			}
			u.Active = i%2 == 0
			u.Attributes = identity.Attributes{"displayName": text, "emails": []any{map[string]any{"value": text}}}
			// Whole seconds, and fractions that end in zeros: a text that drops them must still sort.
			u.Created = at(time.Duration(i) * 125 * time.Millisecond).Truncate(time.Millisecond)
			u.LastModified = at(-time.Duration(i) * time.Hour)
		})
	}
	users, _, err := f.s.Users(f.ctx, store.UserQuery{Limit: 1000})
	f.check(err)
	return users
}

// checkUsers compares which users an expression selects with which it means.
func checkUsers(f *fixture, all []identity.User, e store.Expr, means func(*identity.User) bool) error {
	users, total, err := f.s.Users(f.ctx, store.UserQuery{Where: e, Limit: 1000})
	if err != nil {
		return fmt.Errorf("%+v: %w", e, err)
	}
	var got, want []string
	for i := range users {
		got = append(got, users[i].UserName)
	}
	for i := range all {
		if means(&all[i]) {
			want = append(want, all[i].UserName)
		}
	}
	if !slices.Equal(got, want) || total != len(want) {
		return fmt.Errorf("%+v selects %q (total %d), want %q", e, got, total, want)
	}
	return nil
}

func exprValues() []string {
	return append([]string{"a", "AL", "ha%", "é", "É", "l_p", " alpha ", "x\x00", "\xff", "alpha"}, exprTexts...)
}

func userExprs(f *fixture) {
	users := exprUsers(f)
	check := func(field store.Field, op store.CompareOp, value any, means func(*identity.User) bool) {
		f.Helper()
		if err := checkUsers(f, users, store.Compare{Field: field, Op: op, Value: value}, means); err != nil {
			f.Error(err)
		}
	}
	for _, field := range []struct {
		field  store.Field
		of     func(*identity.User) string
		folded bool
		means  func(op store.CompareOp, held, value string, folded bool) bool
	}{
		{store.FieldUserName, func(u *identity.User) string { return u.UserName }, true, compareText},
		{store.FieldExternalID, func(u *identity.User) string { return u.ExternalID }, false, compareOptional},
		{store.FieldDisplayName, func(u *identity.User) string { return u.DisplayName() }, true, compareText},
		{store.FieldEmail, func(u *identity.User) string { return u.Email() }, true, compareOptional},
		{store.FieldSource, func(u *identity.User) string { return u.Source }, false, compareText},
		{store.FieldOrigin, func(u *identity.User) string { return string(u.Origin) }, false, compareText},
	} {
		for _, op := range allOps {
			for _, value := range exprValues() {
				unheld := !utf8.ValidString(value) || strings.Contains(value, "\x00")
				check(field.field, op, value, func(u *identity.User) bool {
					if unheld && op != store.OpPr { // equal to nothing, part of nothing, before nothing
						return op == store.OpNe
					}
					return field.means(op, field.of(u), value, field.folded)
				})
			}
		}
	}
	for _, op := range []store.CompareOp{store.OpEq, store.OpNe, store.OpPr} {
		for _, value := range []bool{true, false} {
			check(store.FieldActive, op, value, func(u *identity.User) bool {
				return op == store.OpPr || (u.Active == value) == (op == store.OpEq)
			})
		}
	}
	for _, op := range allOps {
		for _, id := range append(notIDs(users[3].ID), users[3].ID, users[3].ID[:5], users[3].ID[30:]) {
			unheld := !utf8.ValidString(id) || strings.Contains(id, "\x00")
			check(store.FieldID, op, id, func(u *identity.User) bool {
				if unheld && op != store.OpPr {
					return op == store.OpNe
				}
				return compareText(op, u.ID, id, false)
			})
		}
	}
	zone := time.FixedZone("elsewhere", -9*3600)
	for _, op := range []store.CompareOp{store.OpEq, store.OpNe, store.OpGt, store.OpGe, store.OpLt, store.OpLe, store.OpPr} {
		for i := range users {
			for _, value := range []time.Time{users[i].Created, users[i].Created.In(zone), users[i].LastModified} {
				check(store.FieldCreated, op, value, func(u *identity.User) bool { return compareTime(op, u.Created, value) })
				check(store.FieldLastModified, op, value, func(u *identity.User) bool { return compareTime(op, u.LastModified, value) })
			}
		}
	}
}

func groupExprs(f *fixture) {
	for i, text := range exprTexts {
		f.group(func(g *identity.Group) {
			g.DisplayName = fmt.Sprintf("%s.%d", text, i)
			g.ExternalID, g.Source = text, fmt.Sprint("s", i)
			g.Created, g.LastModified = at(time.Duration(i)*125*time.Millisecond), at(-time.Duration(i)*time.Hour)
		})
	}
	all, _, err := f.s.Groups(f.ctx, store.GroupQuery{Limit: 1000})
	f.check(err)
	check := func(field store.Field, op store.CompareOp, value any, means func(*identity.Group) bool) {
		f.Helper()
		groups, total, err := f.s.Groups(f.ctx, store.GroupQuery{Where: store.Compare{Field: field, Op: op, Value: value}, Limit: 1000})
		if err != nil {
			f.Errorf("%s %s %q: %v", field, op, value, err)
			return
		}
		var got, want []string
		for i := range groups {
			got = append(got, groups[i].DisplayName)
		}
		for i := range all {
			if means(&all[i]) {
				want = append(want, all[i].DisplayName)
			}
		}
		if !slices.Equal(got, want) || total != len(want) {
			f.Errorf("%s %s %q selects %q (total %d), want %q", field, op, value, got, total, want)
		}
	}
	for _, op := range allOps {
		for _, value := range exprTexts {
			check(store.FieldDisplayName, op, value, func(g *identity.Group) bool { return compareText(op, g.DisplayName, value, true) })
			check(store.FieldExternalID, op, value, func(g *identity.Group) bool { return compareOptional(op, g.ExternalID, value, false) })
			check(store.FieldSource, op, value, func(g *identity.Group) bool { return compareText(op, g.Source, value, false) })
		}
	}
	check(store.FieldID, store.OpEq, all[2].ID, func(g *identity.Group) bool { return g.ID == all[2].ID })
	check(store.FieldID, store.OpNe, all[2].ID, func(g *identity.Group) bool { return g.ID != all[2].ID })
	check(store.FieldCreated, store.OpGt, all[2].Created, func(g *identity.Group) bool { return g.Created.After(all[2].Created) })
	check(store.FieldLastModified, store.OpLe, all[2].LastModified, func(g *identity.Group) bool { return !g.LastModified.After(all[2].LastModified) })
}

func nestedExprs(f *fixture) {
	users := exprUsers(f)
	type meaning struct {
		expr  store.Expr
		means func(*identity.User) bool
	}
	leaf := rapid.Custom(func(t *rapid.T) meaning {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			value := rapid.Bool().Draw(t, "active")
			return meaning{store.Compare{Field: store.FieldActive, Op: store.OpEq, Value: value}, func(u *identity.User) bool { return u.Active == value }}
		case 1:
			return meaning{nil, func(*identity.User) bool { return true }}
		}
		op, value := rapid.SampledFrom(allOps).Draw(t, "op"), rapid.SampledFrom(exprTexts).Draw(t, "value")
		return meaning{store.Compare{Field: store.FieldEmail, Op: op, Value: value}, func(u *identity.User) bool {
			return compareOptional(op, u.Email(), value, true)
		}}
	})
	var node func(depth int) *rapid.Generator[meaning]
	node = func(depth int) *rapid.Generator[meaning] {
		if depth == 0 {
			return leaf
		}
		return rapid.Custom(func(t *rapid.T) meaning {
			kind := rapid.SampledFrom([]string{"leaf", "not", "and", "or"}).Draw(t, "node")
			switch kind {
			case "leaf":
				return leaf.Draw(t, "leaf")
			case "not":
				m := node(depth-1).Draw(t, "negated")
				return meaning{store.Not{Expr: m.expr}, func(u *identity.User) bool { return !m.means(u) }}
			}
			parts := rapid.SliceOfN(node(depth-1), 0, 3).Draw(t, "parts")
			exprs := make([]store.Expr, len(parts))
			for i := range parts {
				exprs[i] = parts[i].expr
			}
			if kind == "and" {
				return meaning{store.And(exprs), func(u *identity.User) bool {
					return !slices.ContainsFunc(parts, func(m meaning) bool { return !m.means(u) })
				}}
			}
			return meaning{store.Or(exprs), func(u *identity.User) bool {
				return slices.ContainsFunc(parts, func(m meaning) bool { return m.means(u) })
			}}
		})
	}
	rapid.Check(f, func(t *rapid.T) {
		m := node(3).Draw(t, "expression")
		if err := checkUsers(f, users, m.expr, m.means); err != nil {
			t.Fatal(err)
		}
	})
}

func memberExprs(f *fixture) {
	g, empty := f.group(), f.group()
	in, out := f.user(), f.user()
	f.addMembers(g.ID, in.ID)
	users := []identity.User{in, out}
	isMember := func(id string) store.Expr {
		return store.Compare{Field: store.FieldMember, Op: store.OpEq, Value: id}
	}
	for id, want := range map[string]string{g.ID: in.ID, empty.ID: "", "me": "", "\x00": "", strings.ToUpper(g.ID): ""} {
		for _, err := range []error{
			checkUsers(f, users, isMember(id), func(u *identity.User) bool { return u.ID == want }),
			checkUsers(f, users, store.Not{Expr: isMember(id)}, func(u *identity.User) bool { return u.ID != want }),
		} {
			if err != nil {
				f.Error(err)
			}
		}
	}
	for id, want := range map[string]int{in.ID: 1, out.ID: 0, "me": 0} {
		groups, total, err := f.s.Groups(f.ctx, store.GroupQuery{Where: isMember(id), Limit: 10})
		f.check(err)
		if total != want || len(groups) != want {
			f.Errorf("groups of %s = %v, want %d", id, groups, want)
		}
	}
}

// documentExprs looks into documents; that every filter means the same here as in memory is tested where filters are.
func documentExprs(f *fixture) {
	door := store.Attribute{Extension: badgeURN, Name: "door", Kind: store.Number}
	users := []identity.User{}
	for _, attributes := range []identity.Attributes{
		nil,
		{"title": "Boss", "emails": []any{map[string]any{"value": "A@x", "type": "work"}, map[string]any{"value": "b@x", "type": "home"}}},
		{"title": []any{"x", "boss"}, "emails": []any{"A@x"}, badgeURN: map[string]any{"door": json.Number("7"), "since": "2026-01-02T03:04:05Z"}},
		{"title": 7, "emails": map[string]any{"value": "b@x", "primary": "True"}, badgeURN: map[string]any{"door": "7", "since": "then"}},
		{"title": "", "emails": "a@X", badgeURN: "x"},
	} {
		users = append(users, f.user(func(u *identity.User) { u.Attributes = attributes }))
	}
	element := func(name string, value any) store.Expr {
		kind := store.TextFold
		if _, ok := value.(bool); ok {
			kind = store.Bool
		}
		return store.Test{Attribute: store.Attribute{Name: name, Kind: kind}, Op: store.OpEq, Value: value}
	}
	emails := store.Attribute{Name: "emails"}
	for _, c := range []struct {
		expr store.Expr
		want string // of which users, by their numbers
	}{
		{store.Test{Attribute: store.Attribute{Name: "title"}, Op: store.OpEq, Value: "BOSS"}, "12"},
		{store.Test{Attribute: store.Attribute{Name: "title"}, Op: store.OpNe, Value: "boss"}, "0234"},
		{store.Not{Expr: store.Test{Attribute: store.Attribute{Name: "title"}, Op: store.OpEq, Value: "boss"}}, "034"},
		{store.Test{Attribute: store.Attribute{Name: "title"}, Op: store.OpPr}, "123"},
		{store.Test{Attribute: store.Attribute{Name: "title", Kind: store.TextExact}, Op: store.OpSw, Value: "B"}, "1"},
		{store.Test{Attribute: store.Attribute{Name: "title"}, Op: store.OpGe, Value: "\x00"}, ""},
		{store.Test{Attribute: store.Attribute{Name: "title"}, Op: store.OpLt, Value: "\xff"}, ""},
		{store.Test{Attribute: store.Attribute{Name: "emails", Sub: "value"}, Op: store.OpEq, Value: "a@x"}, "124"},
		{store.Test{Attribute: store.Attribute{Name: "emails", Sub: "primary", Kind: store.Bool}, Op: store.OpEq, Value: true}, "3"},
		{store.Some{Of: emails, Where: store.And{element("value", "a@x"), element("type", "home")}}, ""},
		{store.Some{Of: emails, Where: store.And{element("value", "b@x"), element("type", "home")}}, "1"},
		{store.Some{Of: emails, Where: store.Not{Expr: element("type", "work")}}, "1234"},
		{store.Some{Of: emails, Where: element("primary", true)}, "3"},
		{store.Some{Of: emails}, "1234"},
		{store.Not{Expr: store.Some{Of: emails}}, "0"},
		{store.Test{Attribute: door, Op: store.OpGe, Value: json.Number("7.0")}, "2"},
		{store.Test{Attribute: door, Op: store.OpNe, Value: json.Number("7")}, "0134"},
		{store.Test{Attribute: store.Attribute{Extension: badgeURN, Name: "since", Kind: store.Time}, Op: store.OpLe, Value: epoch}, "2"},
		{store.Has{Extension: badgeURN}, "234"},
		{store.Compare{Field: store.FieldVersion, Op: store.OpEq, Value: `W/"1"`, Before: `W/"`, After: `"`}, "01234"},
		{store.Compare{Field: store.FieldVersion, Op: store.OpEq, Value: `W/"01"`, Before: `W/"`, After: `"`}, ""},
		{store.Compare{Field: store.FieldID, Op: store.OpEq, Value: "?/" + users[2].ID, Before: "?/"}, "2"},
		{store.Compare{Field: store.FieldID, Op: store.OpEw, Value: users[3].ID[20:] + "@", Before: "?", After: "@"}, "3"},
	} {
		means := func(u *identity.User) bool {
			i := slices.IndexFunc(users, func(other identity.User) bool { return other.ID == u.ID })
			return strings.Contains(c.want, fmt.Sprint(i))
		}
		if err := checkUsers(f, users, c.expr, means); err != nil {
			f.Error(err)
		}
	}
}

// emailExprs follows the addresses of somebody through changes, which take no statement of their own.
func emailExprs(f *fixture) {
	at := func(address string) map[string]any { return map[string]any{"value": address} }
	u := f.user(func(u *identity.User) { u.Attributes = identity.Attributes{"emails": []any{at("one@x")}} })
	f.users(20, func(u *identity.User) {
		u.Attributes = identity.Attributes{"emails": []any{at(u.UserName), at("Shared@x"), "bare" + u.UserName}}
	})
	db := f.raw()
	check := func(emails any, want ...string) {
		f.Helper()
		u.Attributes = identity.Attributes{"emails": emails}
		u.Version++
		f.tx(func(tx *store.Tx) error { return tx.UpdateUser(f.ctx, &u, u.Version-1) })
		for _, address := range []string{"one@x", "TWO@x", " three@X ", "İΣ@x", "shared@x", "", " ", "\x00", "\xff"} {
			users, _, err := f.s.Users(f.ctx, store.UserQuery{Where: store.And{
				store.Compare{Field: store.FieldEmails, Op: store.OpEq, Value: address}, store.Compare{Field: store.FieldID, Op: store.OpEq, Value: u.ID},
			}, Limit: 10})
			f.check(err)
			if has := slices.Contains(want, address); has != (len(users) == 1) {
				f.Errorf("of %v, %q is an address: %v, want %v", emails, address, !has, has)
			}
		}
		if n := db.count("SELECT count(*) FROM user_emails WHERE user_id = ?", u.ID); n != max(0, len(want)-1) {
			f.Errorf("of %v, %d rows, want one for each of %q but the primary", emails, n, want)
		}
	}
	check([]any{at("One@x")}, "one@x")
	check([]any{at("one@X"), at("two@x"), at("TWO@x"), at(""), at(" ")}, "one@x", "TWO@x")
	check([]any{at("one@x"), at(" Three@x"), at("two@x"), nil, 7, map[string]any{"value": []any{"shared@x"}}}, "one@x", "TWO@x", " three@X ")
	check([]any{at("two@x"), map[string]any{"value": "iσ@x", "primary": true}, at("İΣ@x")}, "İΣ@x", "TWO@x")
	check(nil)
	check([]any{at("one@x")}, "one@x")
	everybody := func(address string) int {
		_, total, err := f.s.Users(f.ctx, store.UserQuery{Where: store.Compare{Field: store.FieldEmails, Op: store.OpEq, Value: address}})
		f.check(err)
		return total
	}
	if shared, bare := everybody("SHARED@x"), everybody("bareuser0003@example.com"); shared != 20 || bare != 1 {
		f.Errorf("%d people share an address and %d has one alone, want 20 and 1", shared, bare)
	}
	db.must("DELETE FROM users WHERE id = ?", u.ID)
	if everybody("one@x") != 0 {
		f.Error("the address of somebody who is gone is found")
	}
}

func badExprs(f *fixture) {
	for _, e := range []store.Expr{
		store.Compare{Field: "nickName", Op: store.OpEq, Value: "x"},
		store.Compare{Field: store.FieldUserName, Op: "xx", Value: "x"},
		store.Compare{Field: store.FieldUserName, Op: store.OpEq, Value: true},
		store.Compare{Field: store.FieldUserName, Op: store.OpEq},
		store.Compare{Field: store.FieldActive, Op: store.OpEq, Value: "true"},
		store.Compare{Field: store.FieldActive, Op: store.OpGt, Value: true},
		store.Compare{Field: store.FieldCreated, Op: store.OpCo, Value: epoch},
		store.Compare{Field: store.FieldCreated, Op: store.OpEq, Value: "2026"},
		store.Compare{Field: store.FieldID, Op: "xx", Value: "x"},
		store.Compare{Field: store.FieldMember, Op: store.OpNe, Value: "x"},
		store.And{store.Not{Expr: store.Compare{Field: "x", Op: store.OpPr}}},
		store.Compare{Field: store.FieldEmails, Op: store.OpSw, Value: "x"},
		store.Compare{Field: store.FieldEmails, Op: store.OpEq, Value: true},
		store.Compare{Field: store.FieldNested, Op: store.OpEq, Value: true},
		store.Compare{Field: store.FieldUserName, Op: store.OpEq, Value: "x", Before: "y"},
		store.Compare{Field: store.FieldVersion, Op: store.OpEq, Value: "1"},
		store.Compare{Field: store.FieldID, Op: "xx", Value: "x", Before: "y"},
		store.Test{Op: store.OpPr},
		store.Test{Attribute: store.Attribute{Name: "a'b"}, Op: store.OpPr},
		store.Test{Attribute: store.Attribute{Name: `a"b`}, Op: store.OpPr},
		store.Test{Attribute: store.Attribute{Name: "a", Sub: "?"}, Op: store.OpPr},
		store.Test{Attribute: store.Attribute{Extension: "urn:x@y", Name: "a"}, Op: store.OpPr},
		store.Test{Attribute: store.Attribute{Name: "a"}, Op: store.OpEq, Value: true},
		store.Test{Attribute: store.Attribute{Name: "a"}, Op: "xx", Value: "x"},
		store.Test{Attribute: store.Attribute{Name: "a", Kind: store.Bool}, Op: store.OpGt, Value: true},
		store.Test{Attribute: store.Attribute{Name: "a", Kind: store.Number}, Op: store.OpEq, Value: json.Number("seven")},
		store.Test{Attribute: store.Attribute{Name: "a", Kind: store.Number}, Op: store.OpEq, Value: json.Number("1e999999999")},
		store.Test{Attribute: store.Attribute{Name: "a", Kind: store.Number}, Op: store.OpCo, Value: json.Number("7")},
		store.Test{Attribute: store.Attribute{Name: "a", Kind: store.Time}, Op: store.OpSw, Value: epoch},
		store.Some{},
		store.Some{Of: store.FieldUserName},
		store.Some{Of: store.Attribute{Name: "a", Sub: "b"}},
		store.Some{Of: store.Attribute{Name: "a"}, Where: store.Compare{Field: store.FieldID, Op: store.OpPr}},
		store.Some{Of: store.Attribute{Name: "a"}, Where: store.Some{Of: store.FieldMember}},
		store.Some{Of: store.FieldMember, Where: store.Test{Attribute: store.Attribute{Name: "a"}, Op: store.OpPr}},
		store.Some{Of: store.FieldMember, Where: store.Compare{Field: store.FieldUserName, Op: store.OpPr}},
		store.Has{},
		store.Has{Extension: "urn:'"},
	} {
		if _, _, err := f.s.Users(f.ctx, store.UserQuery{Where: e, Limit: 1}); err == nil {
			f.Errorf("%+v: no error", e)
		}
	}
	for _, field := range []store.Field{store.FieldUserName, store.FieldEmail, store.FieldActive} {
		e := store.Compare{Field: field, Op: store.OpPr}
		if _, _, err := f.s.Groups(f.ctx, store.GroupQuery{Where: e, Limit: 1}); err == nil {
			f.Errorf("groups: %+v: no error", e)
		}
	}
}
