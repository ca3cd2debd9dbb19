package store_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

// oneKey lets everybody in.
type oneKey struct{}

func (oneKey) Authenticate(context.Context, string, ...*store.UserLookup) (scim.Principal, error) {
	return scim.Principal{KeyID: "k", Source: "scim:k", Provisioner: true}, nil
}

// push sends requests to an endpoint over the directory and returns the statements that each took.
func (d *directory) push(t *testing.T) func(method, target, body string, status int) []watched {
	t.Helper()
	applier, err := lifecycle.New(lifecycle.Options{Store: d.s})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := scim.New(scim.Options{Store: d.s, Applier: applier, Auth: oneKey{}, BaseURL: "https://idpsync.example", RequestsPerMinute: -1})
	if err != nil {
		t.Fatal(err)
	}
	return func(method, target, body string, status int) []watched {
		t.Helper()
		req := httptest.NewRequest(method, "/scim/v2"+target, strings.NewReader(body)).WithContext(t.Context())
		req.Header.Set("Authorization", "Bearer x")
		w := httptest.NewRecorder()
		return d.run(t, func(*store.Store) error {
			if handler.ServeHTTP(w, req); w.Code != status {
				return fmt.Errorf("%s %s = %d, want %d: %s", method, target, w.Code, status, w.Body)
			}
			return nil
		})
	}
}

// TestPushStatements counts the statements of a request, besides those that begin and commit: each is a round trip. A
// small group takes as many as a large one, and a user who is added costs nothing for groups being in groups.
func TestPushStatements(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": storetest.MigratedSQLiteDSN, "postgres": storetest.PostgresDSN} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := fill(t, dsn(t), 1000)
			groups, _, err := d.s.Groups(t.Context(), store.GroupQuery{Limit: 3})
			if err != nil {
				t.Fatal(err)
			}
			small, outer := groups[1].ID, groups[2].ID
			err = d.s.InTx(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.KeepMembers(t.Context(), small, d.userIDs[:10]); err != nil {
					return err
				}
				_, _, err := tx.AddNested(t.Context(), store.GroupRef{ID: outer}, []string{small, d.groupID})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			turn, record := 0, 3 // a lock that SQLite does not need; the audit log, what is to be sealed and the outbox
			if name == "postgres" {
				turn, record = 1, 1
			}
			send, unused := d.push(t), d.userIDs[1:2]
			for _, group := range []string{small, d.groupID} {
				patch := func(op, id string) []watched {
					body := fmt.Sprintf(`{"Operations":[{"op":%q,"path":"members","value":[{"value":%q}]}]}`, op, id)
					return send(http.MethodPatch, "/Groups/"+group, body, http.StatusNoContent)
				}
				patch("remove", unused[0])
				for _, c := range []struct {
					what string
					got  []watched
					want int
				}{
					{"adding a user", patch("add", unused[0]), 3 + record},
					{"adding who is in", patch("add", unused[0]), 4},
					{"removing a user", patch("remove", unused[0]), 4 + record + turn},
					{"reading without members", send(http.MethodGet, "/Groups/"+group+"?excludedAttributes=members", "", http.StatusOK), 1},
					{"reading", send(http.MethodGet, "/Groups/"+group, "", http.StatusOK), 2},
				} {
					if len(c.got) > c.want {
						t.Errorf("%s takes %d statements, want at most %d:", c.what, len(c.got), c.want)
						for _, statement := range c.got {
							t.Logf("%.120s", statement.text)
						}
					}
				}
			}
			for _, statement := range send(http.MethodGet, "/Groups?excludedAttributes=members", "", http.StatusOK) {
				if strings.Contains(statement.text, "group_members") || strings.Contains(statement.text, "group_nested") {
					t.Errorf("members are read although they are excluded: %s", statement.text)
				}
			}
		})
	}
}
