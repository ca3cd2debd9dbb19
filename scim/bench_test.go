package scim_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// fill makes users until there are n, and returns the ids of all.
func fill(b *testing.B, s *store.Store, ids []string, n int) []string {
	b.Helper()
	for len(ids) < n {
		var users []identity.User
		for range min(1000, n-len(ids)) {
			i := len(ids)
			id := uuid.NewString()
			ids = append(ids, id)
			users = append(users, identity.User{
				ID: id, UserName: fmt.Sprintf("user%d@x.example", i), ExternalID: fmt.Sprintf("00u%d", i), Active: true, Version: 1,
				Origin: identity.OriginSSO, Source: "scim:k1", Attributes: identity.Attributes{
					"name":   map[string]any{"givenName": "User", "familyName": fmt.Sprint(i)},
					"emails": []any{map[string]any{"value": fmt.Sprintf("user%d@x.example", i), "type": "work", "primary": true}},
				},
			})
		}
		if err := s.InTx(b.Context(), func(tx *store.Tx) error { return tx.InsertUsers(b.Context(), users) }); err != nil {
			b.Fatal(err)
		}
	}
	return ids
}

func databases(b *testing.B, f func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { f(b, storetest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { f(b, storetest.Postgres(b)) })
}

func (e *endpoint) bench(b *testing.B, method, target, body string, status int) {
	b.Helper()
	req := httptest.NewRequest(method, "/scim/v2"+target, strings.NewReader(body)).WithContext(b.Context())
	req.Header.Set("Authorization", "Bearer good")
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, req)
	if w.Code != status {
		b.Fatalf("%s %s = %d, want %d: %s", method, target, w.Code, status, w.Body)
	}
}

// BenchmarkRead measures the reads that identity providers do most, through the whole handler, with few and many users.
func BenchmarkRead(b *testing.B) {
	databases(b, func(b *testing.B, s *store.Store) {
		var ids []string
		for _, n := range []int{1000, 20000} {
			ids = fill(b, s, ids, n)
			e := serve(b, s)
			name := url.QueryEscape(fmt.Sprintf(`userName eq "USER%d@x.example"`, 500))
			b.Run(fmt.Sprintf("get/%d", n), func(b *testing.B) {
				for b.Loop() {
					e.bench(b, "GET", "/Users/"+ids[500], "", 200)
				}
			})
			b.Run(fmt.Sprintf("filter/%d", n), func(b *testing.B) {
				for b.Loop() {
					e.bench(b, "GET", "/Users?filter="+name, "", 200)
				}
			})
		}
	})
}

// BenchmarkPatchMember measures adding one member to groups of different sizes, and removing it.
func BenchmarkPatchMember(b *testing.B) {
	databases(b, func(b *testing.B, s *store.Store) {
		ids := fill(b, s, nil, 50001)
		e := serve(b, s)
		groups := map[int]string{}
		for _, n := range []int{10, 50000} {
			g, err := e.applier.CreateGroup(b.Context(), identity.Actor{}, "scim:k1", identity.Group{DisplayName: fmt.Sprint(n)}, ids[:n])
			if err != nil {
				b.Fatal(err)
			}
			groups[n] = g.ID
		}
		for _, n := range []int{10, 50000} {
			one := `"path":"members","value":[{"value":"` + ids[50000] + `"}]}]}`
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				for b.Loop() {
					e.bench(b, "PATCH", "/Groups/"+groups[n], `{"Operations":[{"op":"add",`+one, 204)
					e.bench(b, "PATCH", "/Groups/"+groups[n], `{"Operations":[{"op":"remove",`+one, 204)
				}
			})
		}
	})
}
