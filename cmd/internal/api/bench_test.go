package api_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// fill makes n people in 1,000 groups of 500, each of which has a team of its own.
func (w *world) fill(n int) {
	w.Helper()
	ctx, began, ids := w.Context(), time.Now(), make([]string, n)
	tx := func(f func(tx *store.Tx) error) { w.must(w.app.Store.InTx(ctx, f)) }
	for at := 0; at < n; at += 2000 {
		var users []identity.User
		for i := at; i < min(at+2000, n); i++ {
			ids[i] = uuid.NewString()
			users = append(users, identity.User{
				ID: ids[i], UserName: fmt.Sprintf("user%d@x.example", i), Active: true, Origin: identity.OriginSSO, Source: "okta", SourceID: fmt.Sprint("00u", i),
				Version: 1, Created: began, LastModified: began,
			})
		}
		tx(func(tx *store.Tx) error { return tx.InsertUsers(ctx, users) })
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		g := identity.Group{ID: uuid.NewString(), DisplayName: fmt.Sprint("Group ", i), Source: "okta", SourceID: fmt.Sprint("00g", i), Version: 1, Created: began, LastModified: began}
		team := identity.Team{ID: uuid.NewString(), Name: g.DisplayName, GroupID: g.ID, Created: began}
		members := make([]string, 500)
		for k := range members {
			members[k] = ids[random.IntN(n)]
		}
		tx(func(tx *store.Tx) error {
			if err := tx.InsertGroup(ctx, &g); err != nil {
				return err
			}
			if err := tx.PutTeam(ctx, team); err != nil {
				return err
			}
			if err := tx.AddGroupGrant(ctx, store.GroupGrant{GroupID: g.ID, TeamID: team.ID, Role: identity.RoleViewer}); err != nil {
				return err
			}
			_, err := tx.AddMembers(ctx, g.ID, members)
			return err
		})
	}
}

// BenchmarkAccessHTTP measures what an application asks at sign-in, over HTTP with a key, among 100,000 people in 1,000
// groups with 500,000 memberships; once for the answer, and once with the ETag of what is known. "p50-ms" is the median.
func BenchmarkAccessHTTP(b *testing.B) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": storetest.MigratedSQLiteDSN, "postgres": storetest.PostgresDSN} {
		b.Run(name, func(b *testing.B) {
			const n = 100_000
			w := newWorld(b, dsn(b), "api: {requests_per_minute: 1000000000}\n")
			w.fill(n)
			for _, known := range []bool{false, true} {
				b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
					ask := func(etag string) int {
						r, err := http.NewRequestWithContext(b.Context(), "GET", fmt.Sprintf("%s/api/v1/access?user=user%d@x.example", w.url, rand.IntN(n)), nil)
						w.must(err)
						r.Header.Set("Authorization", "Bearer "+w.keys["viewer"])
						r.Header.Set("If-None-Match", etag)
						got, err := http.DefaultClient.Do(r)
						w.must(err)
						_, err = io.Copy(io.Discard, got.Body)
						w.must(err)
						_ = got.Body.Close()
						return got.StatusCode
					}
					etag, want := "", http.StatusOK
					if known {
						etag, want = "*", http.StatusNotModified
					}
					var took []time.Duration
					for b.Loop() {
						began := time.Now()
						if status := ask(etag); status != want {
							b.Fatalf("GET /access = %d, want %d", status, want)
						}
						took = append(took, time.Since(began))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
					b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
				})
			}
		})
	}
}
