package scim_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// people writes n users past the endpoint and returns their ids. Every third has a displayName, of which there are few.
func (e *endpoint) people(prefix string, n int) []string {
	e.t.Helper()
	ids := make([]string, n)
	users := make([]identity.User, n)
	now := time.Now()
	for i := range users {
		ids[i] = uuid.NewString()
		name := fmt.Sprintf("%s%05d@x.example", prefix, i*7919%n)
		users[i] = identity.User{
			ID: ids[i], UserName: name, Active: true, Origin: identity.OriginSSO, Version: 1, Created: now, LastModified: now,
			Attributes: identity.Attributes{"emails": []any{map[string]any{"value": name, "primary": true}}},
		}
		if i%3 == 0 {
			users[i].Attributes["displayName"] = fmt.Sprint("Name ", i%7)
		}
	}
	if err := e.store.InTx(e.t.Context(), func(tx *store.Tx) error { return tx.InsertUsers(e.t.Context(), users) }); err != nil {
		e.t.Fatal(err)
	}
	return ids
}

// walk reads all pages of a query and returns the ids in them. Between two pages it calls turn.
func (e *endpoint) walk(query string, turn func()) []string {
	e.t.Helper()
	var ids []string
	total, cursor := any(nil), ""
	for pages := 1; ; pages++ {
		r := e.do("GET", query+"&cursor="+cursor, "").want(200)
		ids = append(ids, r.listed("id")...)
		if total == nil {
			total = r.at("totalResults")
		}
		next, more := r.at("nextCursor").(string)
		if r.at("totalResults") != total || r.at("startIndex") != nil || more != strings.Contains(r.text, "nextCursor") {
			e.t.Fatalf("page %d of %s: %.300s", pages, query, r.text)
		}
		if !more {
			return ids
		}
		if next == "" || strings.Trim(next, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") != "" {
			e.t.Fatalf("cursor %q", next)
		}
		if cursor = next; pages > 1000 {
			e.t.Fatalf("%s does not end", query)
		}
		if turn != nil {
			turn()
		}
	}
}

func TestRule10_CursorsWalkToTheEnd(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ids := e.people("p", 10)
		for _, test := range []struct {
			count, pages int
		}{{1, 10}, {3, 4}, {5, 2}, {9, 2}, {10, 1}, {11, 1}, {1000, 1}} {
			pages := 1
			if got := e.walk(fmt.Sprintf("/Users?count=%d", test.count), func() { pages++ }); !slices.Equal(got, ids) || pages != test.pages {
				t.Errorf("count %d: %d users on %d pages, want 10 on %d", test.count, len(got), pages, test.pages)
			}
		}
		if got := e.walk("/Groups?count=3", nil); len(got) != 0 {
			t.Errorf("no groups: %v", got)
		}
		first := e.do("GET", "/Users?cursor&count=4", "").want(200).has("totalResults", 10, "itemsPerPage", 4, "startIndex", nil)
		// A count that is left out stays what it was; a name may be written in other letters.
		e.do("GET", "/Users?cursor="+first.at("nextCursor").(string), "").want(200).has("totalResults", 10, "itemsPerPage", 4, "Resources/0/id", ids[4])
		first = e.do("GET", "/Users?cursor=&count=4&sortBy=userName&filter="+url.QueryEscape(`userName sw "P"`), "").want(200)
		e.do("GET", "/Users?cursor="+first.at("nextCursor").(string)+"&count=4&attributes=userName&sortBy=USERNAME&sortOrder=ascending&filter="+url.QueryEscape(`username SW "P"`), "").
			want(200).has("Resources/0/userName", "p00004@x.example", "Resources/0/emails", nil)
		e.do("GET", "/Users?cursor=&count=0", "").want(200).has("totalResults", 10, "itemsPerPage", 0, "nextCursor", nil)
		e.do("GET", "/Users?cursor=&count=-1", "").want(200).has("totalResults", 10, "itemsPerPage", 0, "nextCursor", nil)
		// Without a cursor, pages are reached by indexes.
		e.do("GET", "/Users?count=4", "").want(200).has("nextCursor", nil, "startIndex", 1)
	})
}

// A walk over a thousand users sees each of those who stay once, and nobody twice, whoever comes and goes meanwhile.
func TestRule10_CursorsAmongInsertsAndDeletions(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		for i, sorted := range []string{"", "&sortBy=userName&sortOrder=descending", "&sortBy=displayName"} {
			prefix := fmt.Sprintf("p%d-", i)
			ids := e.people(prefix, 1000)
			comings := e.comeAndGo(prefix, ids)
			seen := map[string]int{}
			for _, id := range e.walk("/Users?count=60&filter="+url.QueryEscape(`userName sw "`+prefix+`"`)+sorted, comings.some) {
				if seen[id]++; seen[id] > 1 {
					t.Errorf("%s: user %s was seen %d times", sorted, id, seen[id])
				}
			}
			gone := comings.end()
			for _, id := range ids {
				if !gone[id] && seen[id] != 1 {
					t.Errorf("%s: user %s stayed and was seen %d times", sorted, id, seen[id])
				}
			}
			if len(gone) < 10 || len(gone) > 900 {
				t.Errorf("%d users went during the walk", len(gone))
			}
		}
	})
}

// comings are inserts and deletions that go on beside a test.
type comings struct {
	t     testing.TB
	beats chan struct{}
	gone  map[string]bool // of those there were at first
	done  chan error
}

// comeAndGo begins to insert users and to delete others, of those with these ids, here and there in the order.
func (e *endpoint) comeAndGo(prefix string, ids []string) *comings {
	c := &comings{t: e.t, beats: make(chan struct{}, 1), gone: map[string]bool{}, done: make(chan error, 1)}
	ctx := e.t.Context()
	go func() {
		i := 0
		for range c.beats {
			for range 10 {
				i++
				name := fmt.Sprintf("%s%05d-new%d@x.example", prefix, i*7919%len(ids), i)
				err := e.store.InTx(ctx, func(tx *store.Tx) error {
					return tx.InsertUsers(ctx, []identity.User{{
						ID: uuid.NewString(), UserName: name, Active: true, Origin: identity.OriginSSO, Version: 1, Created: time.Now(), LastModified: time.Now(),
					}})
				})
				id := ids[i*331%len(ids)]
				if err == nil {
					_, err = e.store.DB().ExecContext(ctx, "DELETE FROM users WHERE id = '"+id+"'")
				}
				if c.gone[id] = true; err != nil {
					c.done <- err
					return
				}
			}
		}
		c.done <- nil
	}()
	return c
}

// some lets a few more come and go, while the test goes on.
func (c *comings) some() {
	select {
	case c.beats <- struct{}{}:
	case err := <-c.done:
		c.t.Fatal(err)
	}
}

// end waits until nobody comes or goes any more, and returns who went.
func (c *comings) end() map[string]bool {
	close(c.beats)
	if err := <-c.done; err != nil {
		c.t.Fatal(err)
	}
	return c.gone
}

func TestRule10_CursorsNeedNoServerState(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ids := e.people("p", 3)
		cursor := e.do("GET", "/Users?cursor=&count=2", "").want(200).at("nextCursor").(string)
		replica := serve(t, e.store)
		replica.do("GET", "/Users?count=2&cursor="+cursor, "").want(200).has("totalResults", 3, "itemsPerPage", 1, "Resources/0/id", ids[2], "nextCursor", nil)
		// Nor is it used up.
		replica.do("GET", "/Users?count=2&cursor="+cursor, "").want(200).has("Resources/0/id", ids[2])
	})
}

func TestRule10_CursorsThatAreRefused(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		now := &clock{now: time.Now()}
		e = serve(t, e.store, func(o *scim.Options) { o.Now = now.Now })
		e.people("p", 9)
		query := "/Users?count=3&sortBy=userName&filter=" + url.QueryEscape("active eq true")
		first := e.do("GET", query+"&cursor=", "").want(200)
		good := first.at("nextCursor").(string)
		page := "&cursor=" + good
		e.do("GET", query+page, "").want(200)

		for i := range good {
			for _, other := range []string{"A", "_", "~", "%00", "%0a", ""} {
				changed := good[:i] + other + good[i+1:]
				if changed != good {
					e.do("GET", query+"&cursor="+changed, "").want(400, "invalidCursor")
				}
			}
		}
		raw, _ := base64.RawURLEncoding.DecodeString(good)
		for _, bad := range []string{
			"x", "null", "0", "%20", good + good, good + "=", good + "%0A", strings.Repeat("A", 100_000), "..%2F..", "%F0%9F%98%80", "'%3B+DROP+TABLE+users",
			base64.URLEncoding.EncodeToString(raw[:len(raw)-1]), base64.RawURLEncoding.EncodeToString(nil) + "AA",
			base64.RawURLEncoding.EncodeToString([]byte(`{"t":9999999999,"c":3,"n":9,"a":{"Seq":1,"Key":"","None":false}}`)),
		} {
			e.do("GET", query+"&cursor="+bad, "").want(400, "invalidCursor")
		}
		for _, other := range []string{
			"/Users?count=3", "/Users?count=3&sortBy=userName", "/Users?count=3&sortBy=userName&sortOrder=descending&filter=" + url.QueryEscape("active eq true"),
			"/Users?count=3&sortBy=userName&filter=" + url.QueryEscape("active eq false"), "/Groups?count=3", "/?count=3",
		} {
			e.do("GET", other+page, "").want(400, "invalidCursor")
		}
		e.key = "other"
		e.do("GET", query+page, "").want(400, "invalidCursor")
		e.key = "good"

		other := strings.Replace(query, "count=3", "count=4", 1)
		e.do("GET", other+page, "").want(400, "invalidCount")
		e.do("GET", strings.Replace(query, "count=3", "count=three", 1)+page, "").want(400, "invalidCount")
		e.do("GET", "/Users?cursor=&count=1.5", "").want(400, "invalidCount")
		e.do("GET", "/Users?cursor=&startIndex=1", "").want(400, "invalidValue")
		e.do("GET", "/Users?start_index=2"+page, "").want(400, "invalidValue")

		timeout := e.do("GET", "/ServiceProviderConfig", "").want(200).has("pagination/cursor", true).at("pagination/cursorTimeout").(float64)
		now.now = now.now.Add(time.Duration(timeout) * time.Second)
		later := e.do("GET", query+page, "").want(200)
		now.now = now.now.Add(2 * time.Second)
		e.do("GET", query+page, "").want(400, "expiredCursor")
		e.do("GET", query+"&cursor="+later.at("nextCursor").(string), "").want(200).has("itemsPerPage", 3, "nextCursor", nil)
	})
}

// FuzzCursor: a text that was not given as a cursor is none, whatever it is, and however near to one. The text replaces
// a part of a cursor.
func FuzzCursor(f *testing.F) {
	e := serve(f, storetest.SQLite(f))
	e.people("p", 3)
	good := e.do("GET", "/Users?count=1&sortBy=userName&cursor=", "").want(200).at("nextCursor").(string)
	f.Add(uint8(0), uint8(0), "")
	f.Add(uint8(255), uint8(0), "A")
	f.Add(uint8(255), uint8(0), "\n")
	f.Add(uint8(7), uint8(1), "-")
	f.Add(uint8(0), uint8(255), "")
	f.Add(uint8(0), uint8(255), "AAAA")
	f.Add(uint8(0), uint8(255), "\x00=%")
	f.Fuzz(func(t *testing.T, from, length uint8, text string) {
		e.t = t
		start := min(int(from), len(good))
		text = good[:start] + text + good[min(start+int(length), len(good)):]
		want := 400
		if text == "" || text == good {
			want = 200
		}
		if r := e.do("GET", "/Users?count=1&sortBy=userName&cursor="+url.QueryEscape(text), ""); r.status != want {
			t.Errorf("cursor %q = %d, want %d: %s", text, r.status, want, r.text)
		}
	})
}
