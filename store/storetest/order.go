package storetest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var orderCases = []namedCase{
	{"every order of users, page by page", userOrders},
	{"every order of groups, page by page", groupOrders},
	{"a position is of the order it came from", badPositions},
	{"totals and pages", pageTotals},
}

const badgeURN = "urn:acme:2.0:Badge"

// sortedBy is an order, and what it orders by in Go: nil for none.
type sortedBy struct {
	by store.Operand
	of func(*identity.User) any
}

func textOr(s string, fold bool) any {
	if s == "" {
		return nil
	}
	if fold {
		return strings.ToLower(s)
	}
	return s
}

func badge(u *identity.User) any {
	ext, _ := u.Attributes[badgeURN].(map[string]any)
	return ext["door"]
}

func titleOf(u *identity.User) string {
	v := u.Attributes["title"]
	if list, ok := v.([]any); ok {
		v = list[0]
	}
	text, _ := v.(string)
	return text
}

var orders = []sortedBy{
	{nil, func(*identity.User) any { return "" }},
	{store.FieldID, func(u *identity.User) any { return u.ID }},
	{store.FieldUserName, func(u *identity.User) any { return identity.Normalize(u.UserName) }},
	{store.FieldExternalID, func(u *identity.User) any { return textOr(u.ExternalID, false) }},
	{store.FieldDisplayName, func(u *identity.User) any { return identity.Normalize(u.DisplayName()) }},
	{store.FieldEmail, func(u *identity.User) any { return textOr(identity.Normalize(u.Email()), true) }},
	{store.FieldActive, func(u *identity.User) any { return fmt.Sprint(u.Active) }},
	{store.FieldCreated, func(u *identity.User) any { return u.Created.UnixMicro() }},
	{store.FieldLastModified, func(u *identity.User) any { return u.LastModified.UnixMicro() }},
	{store.FieldVersion, func(u *identity.User) any { return u.Version }},
	{store.Attribute{Name: "title"}, func(u *identity.User) any { return textOr(titleOf(u), true) }},
	{store.Attribute{Name: "title", Kind: store.TextExact}, func(u *identity.User) any { return textOr(titleOf(u), false) }},
	{store.Attribute{Name: "name", Sub: "familyName"}, func(u *identity.User) any { return textOr(u.Attributes.Text(identity.PathFamilyName), true) }},
	{store.Attribute{Name: "emails", Sub: "value"}, func(u *identity.User) any { return textOr(u.Email(), true) }},
	{store.Attribute{Extension: badgeURN, Name: "door", Kind: store.Number}, func(u *identity.User) any {
		n, ok := badge(u).(json.Number)
		if !ok {
			return nil
		}
		f, _ := n.Float64()
		return f
	}},
	{store.Attribute{Extension: badgeURN, Name: "since", Kind: store.Time}, func(u *identity.User) any {
		ext, _ := u.Attributes[badgeURN].(map[string]any)
		text, _ := ext["since"].(string)
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil
		}
		return t.UnixNano()
	}},
	{store.Attribute{Extension: badgeURN, Name: "lost", Kind: store.Bool}, func(u *identity.User) any {
		ext, _ := u.Attributes[badgeURN].(map[string]any)
		switch fmt.Sprint(ext["lost"]) {
		case "true", "True":
			return "1"
		case "false":
			return "0"
		}
		return nil
	}},
}

// orderUsers makes users with ties, gaps and odd values in everything that they can be ordered by.
func orderUsers(f *fixture) []identity.User {
	titles := []any{"b", "B", "Éclair", "", nil, "a", 7, "日本", "ab", "b", []any{"a"}, map[string]any{"x": "y"}, "z"}
	doors := []any{nil, json.Number("7"), json.Number("-3.5"), "7", json.Number("1e2"), json.Number("99"), true, json.Number("0"), json.Number("7.0"), json.Number("-40")}
	since := []any{"2026-01-02T03:04:05Z", "2026-01-02T04:04:05+02:00", nil, "yesterday", "2025-12-31T23:59:59.5Z", "2026-02-30T00:00:00Z"}
	lost := []any{true, "True", false, nil, "perhaps"}
	for i := range 26 {
		f.user(func(u *identity.User) {
			u.Attributes = identity.Attributes{
				"title": titles[i%len(titles)], "name": map[string]any{"familyName": string(rune('g' - i%5))},
				badgeURN: map[string]any{"door": doors[i%len(doors)], "since": since[i%len(since)], "lost": lost[i%len(lost)]},
			}
			switch i % 4 {
			case 0:
				u.Attributes["emails"] = []any{map[string]any{"value": fmt.Sprintf("B%d@x", i%3)}, map[string]any{"value": fmt.Sprintf("a%d@x", i), "primary": true}}
			case 1:
				u.Attributes["emails"] = []any{map[string]any{"type": "work"}, map[string]any{"value": "c@x"}}
			case 2:
				delete(u.Attributes, "name")
			}
			if i%3 == 0 {
				u.ExternalID, u.Source = fmt.Sprint("e", i/6), fmt.Sprint("s", i)
			}
			u.Active = i%2 == 0
			u.Version = int64(i % 4)
			u.Created, u.LastModified = at(time.Duration(i%7)*time.Millisecond), at(-time.Duration(i%5)*time.Hour)
		})
	}
	users, _, err := f.s.Users(f.ctx, store.UserQuery{Limit: 1000})
	f.check(err)
	return users
}

// compareValues compares two values to order by; none is the last.
func compareValues(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	switch a := a.(type) {
	case string:
		return cmp.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	}
	panic(fmt.Sprintf("a value of type %T", a))
}

func userOrders(f *fixture) {
	users := orderUsers(f)
	for _, o := range orders {
		for _, descending := range []bool{false, true} {
			want := slices.Clone(users)
			slices.SortStableFunc(want, func(a, b identity.User) int { return compareValues(o.of(&a), o.of(&b)) })
			if descending {
				slices.Reverse(want)
			}
			order := store.Order{By: o.by, Descending: descending}
			checkUserPages(f, order, userNames(want))
		}
	}
}

func userNames(users []identity.User) []string {
	names := make([]string, len(users))
	for i := range users {
		names[i] = users[i].UserName
	}
	return names
}

// checkUserPages reads a result whole, by offset, and behind the position that the page before ended at.
func checkUserPages(f *fixture, order store.Order, want []string) {
	f.Helper()
	whole, err := f.s.UserPage(f.ctx, store.UserQuery{Order: order, Limit: 100})
	if err != nil {
		f.Errorf("order by %+v: %v", order, err)
		return
	}
	f.equal(fmt.Sprintf("order by %+v", order), userNames(whole.Users), want)
	var byOffset, byPosition []string
	query := store.UserQuery{Order: order, Limit: 3}
	for offset := 0; offset < len(want); offset += 3 {
		page, err := f.s.UserPage(f.ctx, store.UserQuery{Order: order, Limit: 3, Offset: offset, NoTotal: true})
		f.check(err)
		byOffset = append(byOffset, userNames(page.Users)...)
		page, err = f.s.UserPage(f.ctx, query)
		f.check(err)
		if page.Total != len(want) {
			f.Errorf("order by %+v: total %d, want %d", order, page.Total, len(want))
		}
		byPosition = append(byPosition, userNames(page.Users)...)
		query.After = &page.Last
	}
	f.equal(fmt.Sprintf("order by %+v, by offset", order), byOffset, want)
	f.equal(fmt.Sprintf("order by %+v, by position", order), byPosition, want)
}

func groupOrders(f *fixture) {
	for i := range 11 {
		f.group(func(g *identity.Group) {
			g.DisplayName = fmt.Sprintf("%c%d", 'd'-i%3, i)
			g.LastModified = at(time.Duration(i%4) * time.Hour)
			if i%2 == 0 {
				g.ExternalID, g.Source = fmt.Sprint("e", i%3), fmt.Sprint(i)
			}
		})
	}
	all, _, err := f.s.Groups(f.ctx, store.GroupQuery{Limit: 100})
	f.check(err)
	for by, of := range map[store.Operand]func(*identity.Group) any{
		nil:                     func(*identity.Group) any { return "" },
		store.FieldDisplayName:  func(g *identity.Group) any { return identity.Normalize(g.DisplayName) },
		store.FieldLastModified: func(g *identity.Group) any { return g.LastModified.UnixMicro() },
		store.FieldExternalID:   func(g *identity.Group) any { return textOr(g.ExternalID, false) },
	} {
		for _, descending := range []bool{false, true} {
			sorted := slices.Clone(all)
			slices.SortStableFunc(sorted, func(a, b identity.Group) int { return compareValues(of(&a), of(&b)) })
			if descending {
				slices.Reverse(sorted)
			}
			var got, want []string
			for i := range sorted {
				want = append(want, sorted[i].DisplayName)
			}
			query := store.GroupQuery{Order: store.Order{By: by, Descending: descending}, Limit: 4}
			for range 3 {
				page, err := f.s.GroupPage(f.ctx, query)
				f.check(err)
				for i := range page.Groups {
					got = append(got, page.Groups[i].DisplayName)
				}
				query.After = &page.Last
			}
			f.equal(fmt.Sprintf("groups by %v, descending %v", by, descending), got, want)
		}
	}
}

func badPositions(f *fixture) {
	f.users(3)
	for _, c := range []struct {
		by store.Operand
		p  store.Position
	}{
		{store.FieldID, store.Position{Key: "x"}},
		{store.FieldActive, store.Position{Key: "perhaps"}},
		{store.FieldCreated, store.Position{Key: "yesterday"}},
		{store.FieldVersion, store.Position{Key: "1.5"}},
		{store.FieldUserName, store.Position{Key: "\x00"}},
		{store.FieldUserName, store.Position{None: true}},
		{store.Attribute{Name: "title"}, store.Position{Key: "\xff"}},
		{store.Attribute{Name: "door", Kind: store.Number}, store.Position{Key: "seven"}},
		{store.Attribute{Name: "door", Kind: store.Bool}, store.Position{Key: "seven"}},
	} {
		_, err := f.s.UserPage(f.ctx, store.UserQuery{Order: store.Order{By: c.by}, After: &c.p, Limit: 1})
		f.isErr(fmt.Sprintf("order by %v after %+v", c.by, c.p), err, store.ErrPosition)
	}
	for _, by := range []store.Operand{
		store.FieldMember, store.Field("x"), store.Attribute{}, store.Attribute{Name: "x'y"}, store.Attribute{Name: `x"`}, store.Attribute{Name: "x", Sub: "?"},
	} {
		if _, err := f.s.UserPage(f.ctx, store.UserQuery{Order: store.Order{By: by}, Limit: 1}); err == nil || errors.Is(err, store.ErrPosition) {
			f.Errorf("order by %+v: error %v", by, err)
		}
	}
}

func pageTotals(f *fixture) {
	f.users(5)
	for _, c := range []struct {
		q           store.UserQuery
		size, total int
	}{
		{store.UserQuery{}, 0, 5},
		{store.UserQuery{Limit: 2}, 2, 5},
		{store.UserQuery{Limit: 5}, 5, 5},
		{store.UserQuery{Limit: 6}, 5, 5},
		{store.UserQuery{Limit: 3, Offset: 3}, 2, 5},
		{store.UserQuery{Limit: 3, Offset: 5}, 0, 5},
		{store.UserQuery{Limit: 3, Offset: 50}, 0, 5},
		{store.UserQuery{Limit: 2, NoTotal: true}, 2, 0},
		{store.UserQuery{Limit: 9, After: &store.Position{}}, 5, 5},
	} {
		page, err := f.s.UserPage(f.ctx, c.q)
		f.check(err)
		if len(page.Users) != c.size || page.Total != c.total {
			f.Errorf("%+v: %d users of %d, want %d of %d", c.q, len(page.Users), page.Total, c.size, c.total)
		}
	}
}
