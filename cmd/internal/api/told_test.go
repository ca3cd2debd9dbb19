package api_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store"
)

// stateTables are what operators and identity providers change. What is not among them is of the program's own: what it
// counts, remembers, has under way or sends.
var stateTables = []string{
	"users", "groups", "group_members", "group_nested", "teams", "role_mappings", "group_grants", "grants", "credentials", "sessions", "sso_subjects", "jit_groups",
	"api_keys", "conflicts", "webhook_endpoints", "settings",
}

// moving are columns that change without anybody's doing.
const moving = "last_seen_at last_used_at idle_expires_at seq"

// state returns the rows of each table of state.
func (w *world) state() map[string]string {
	w.Helper()
	out := map[string]string{}
	for _, table := range stateTables {
		rows, err := w.app.Store.DB().QueryContext(w.Context(), "SELECT * FROM "+table+" ORDER BY 1, 2")
		w.must(err)
		out[table] = w.text(rows)
	}
	return out
}

func (w *world) text(rows *sql.Rows) string {
	w.Helper()
	defer rows.Close()
	columns, err := rows.Columns()
	w.must(err)
	var b strings.Builder
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		w.must(rows.Scan(into...))
		for i, column := range columns {
			if !strings.Contains(moving, column) {
				fmt.Fprintf(&b, "%s=%v ", column, values[i])
			}
		}
		b.WriteByte('\n')
	}
	w.must(rows.Err())
	return b.String()
}

// write is an operation that changes something, and which types of event tell of it.
type write struct {
	operation, method, path string
	body                    any
	told                    string
}

// toldElsewhere are operations that take more to set up, and the tests that want their events.
var toldElsewhere = map[string]string{
	"approve-run": "reconcile: TestRun_TellsOfWhatIsHeldAndWhatIsApproved", "reject-run": "reconcile: TestReject",
	"link-conflict": "reconcile/lifecycle: TestLink", "ignore-conflict": "reconcile/lifecycle: TestLink",
	"unlink-user": "reconcile/lifecycle: TestSignIn", "unlock-user": "reconcile/lifecycle: TestSignIn",
	"start-runs": "reconcile: TestRun_TellsWhoAsked", "apply-role-mappings": "the same as replace-role-mappings",
}

// changesNothing are operations that only ask.
var changesNothing = map[string]bool{"check": true, "check-connector": true}

// gone waits until the server knows the endpoint payroll, and disables it.
func (w *world) gone() {
	w.Helper()
	s := w.app.Store
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		known, err := s.WebhookEndpoints(w.Context())
		w.must(err)
		if len(known) > 0 {
			break
		}
		if time.Now().After(deadline) {
			w.Fatal("the server registered no endpoint in a minute")
		}
	}
	w.must(s.InTx(w.Context(), func(tx *store.Tx) error {
		_, err := tx.DisableWebhook(w.Context(), "payroll", "410 Gone", time.Now())
		return err
	}))
}

// dispatched returns an event that waits for nothing any more.
func (w *world) dispatched() string {
	w.Helper()
	_, err := w.app.Store.DB().ExecContext(w.Context(), "DELETE FROM outbox")
	w.must(err)
	events, err := w.app.Store.Audit(w.Context(), store.AuditQuery{Limit: 1})
	w.must(err)
	return events[0].ID
}

// TestEveryWriteIsTold carries out each operation that writes, and wants for each an event with who did it, by which
// request, and what changed or why; and for no operation a change of state without one.
func TestEveryWriteIsTold(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "webhooks: [{name: payroll, url: \"http://127.0.0.1:1/hook\", secret: whsec_QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD, events: [webhook.disabled], allow_private: true}]\n")
		w.gone()
		none, team := w.users["none"].ID, ""
		w.group("Engineering", none)
		grants := []any{object{"team": "Payments", "role": "operator"}}
		key, other := w.keyIDs["viewer"], w.keyIDs["operator"]
		seen := map[string]bool{}
		do := func(c write) *answer {
			t.Helper()
			before := w.state()
			got := w.do("admin", c.method, c.path, c.body)
			if got.status >= 300 {
				t.Fatalf("%s %s = %d: %s", c.method, c.path, got.status, got.text)
			}
			seen[c.operation] = true
			id := got.header.Get("X-Request-Id")
			events, err := w.app.Store.Audit(t.Context(), store.AuditQuery{RequestID: id, Limit: 100})
			w.must(err)
			var types []string
			for _, e := range events {
				types = append(types, string(e.Type))
				if e.Actor.Kind != "key" || e.Actor.ID != w.keyIDs["admin"] || e.Actor.Name == "" || e.Actor.RequestID != id || id == "" {
					t.Errorf("%s: %s is told to be by %+v in request %q", c.operation, e.Type, e.Actor, id)
				}
				if e.Object == "" || e.ObjectID == "" || e.Name == "" {
					t.Errorf("%s: %s does not tell what it is about: %+v", c.operation, e.Type, e)
				}
				if len(e.Fields) == 0 && len(e.Members) == 0 && e.Reason == "" {
					t.Errorf("%s: %s tells neither what changed nor why", c.operation, e.Type)
				}
			}
			for kind := range strings.FieldsSeq(c.told) {
				if !strings.Contains(" "+strings.Join(types, " ")+" ", " "+kind+" ") {
					t.Errorf("%s is told by %v, want %s", c.operation, types, kind)
				}
			}
			if len(events) > 0 {
				return got
			}
			for table, now := range w.state() {
				if now != before[table] {
					t.Errorf("%s changed %s, and nothing tells of it", c.operation, table)
				}
			}
			return got
		}
		created := do(write{"create-team", "POST", "/teams", object{"name": "Local", "scope": []any{"x"}}, "team.created"})
		team, _ = created.body["id"].(string)
		for _, c := range []write{
			{"change-team", "PATCH", "/teams/" + team, object{"name": "Other"}, "team.updated"},
			{"change-team", "PATCH", "/teams/" + team, object{"scope": []any{"y"}}, "team.updated"},
			{"give-role", "POST", "/grants", object{"user": none, "team": "Other", "role": "viewer"}, "grant.added"},
			{"take-role", "DELETE", "/grants?user=" + none + "&team=Other&role=viewer", nil, "grant.revoked"},
			{"delete-team", "DELETE", "/teams/" + team, nil, "team.deleted"},
			{"set-role-mapping", "POST", "/role-mappings", object{"group": "Engineering", "grants": grants}, "mapping.changed grant.added"},
			{"delete-role-mapping", "DELETE", "/role-mappings?group=Engineering", nil, "mapping.changed grant.revoked"},
			{"replace-role-mappings", "PUT", "/role-mappings", object{"items": []any{object{"group": "Engineering", "grants": grants}}}, "mapping.changed"},
			{"unmap-roles", "POST", "/role-mappings/unmap", object{"group": "Engineering"}, "mapping.changed"},
			{"set-scim", "POST", "/settings/scim", object{"enabled": true}, "scim.enabled"},
			{"set-scim", "POST", "/settings/scim", object{"enabled": false}, "scim.disabled"},
			{"create-key", "POST", "/keys", object{"name": "new", "user": none}, "key.created"},
			{"rotate-key", "POST", "/keys/" + key + "/rotate", object{}, "key.rotated key.created"},
			{"revoke-key", "DELETE", "/keys/" + other, nil, "key.revoked"},
			{"create-admin", "POST", "/admins", object{"user_name": "second@acme.test"}, "user.created"},
			{"enable-webhook", "POST", "/webhooks/enable", object{"name": "payroll"}, "webhook.enabled"},
			{"test-webhook", "POST", "/webhooks/test", object{"name": "payroll"}, "webhook.tested"},
			{"redeliver-event", "POST", "/webhooks/redeliver", object{"event_id": w.dispatched(), "endpoint": "payroll"}, "webhook.redelivered"},
		} {
			do(c)
		}
		second := w.wantUser("second@acme.test")
		w.must(w.app.Applier.CreateKey(t.Context(), apptest.By, store.Key{ID: "second", UserID: second, UserName: "second@acme.test", Name: "of second", Source: "scim:second", Hash: []byte("x")}))
		for _, c := range []write{
			{"set-password", "PUT", "/users/" + second + "/password", object{}, "password.changed"},
			{"end-sessions", "DELETE", "/sessions?user=" + w.users["operator"].ID, nil, "session.ended"},
			{"end-session", "DELETE", "/sessions/" + w.session("viewer"), nil, "session.ended"},
			{"deactivate-user", "POST", "/users/" + second + "/deactivate", nil, "user.deactivated key.disabled"},
			{"reactivate-user", "POST", "/users/" + second + "/reactivate", nil, "user.reactivated"},
			{"enable-key", "POST", "/keys/second/enable", nil, "key.enabled"},
		} {
			do(c)
		}
		for operation := range w.writes() {
			if !seen[operation] && toldElsewhere[operation] == "" && !changesNothing[operation] {
				t.Errorf("the operation %s writes, and nothing here wants it to be told of", operation)
			}
		}
		w.sealedHead()
		if _, err := w.app.Store.VerifyAudit(context.Background(), nil, nil); err != nil {
			t.Error(err)
		}
	})
}

// writes returns the operations that write, from the document.
func (w *world) writes() map[string]bool {
	w.Helper()
	text, err := os.ReadFile("testdata/openapi.json")
	w.must(err)
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	w.must(json.Unmarshal(text, &document))
	out := map[string]bool{}
	for _, methods := range document.Paths {
		for method, op := range methods {
			if method != "get" {
				out[op.OperationID] = true
			}
		}
	}
	return out
}

func (w *world) wantUser(name string) string {
	w.Helper()
	u, err := w.app.FindUser(w.Context(), name)
	w.must(err)
	return u.ID
}

// session returns the id of a session of somebody of a rank.
func (w *world) session(rank string) string {
	w.Helper()
	list := items(w.want(http.StatusOK, "admin", "GET", "/sessions?user="+w.users[rank].ID, nil))
	if len(list) == 0 {
		w.Fatalf("%s has no session", rank)
	}
	return list[0]["id"].(string)
}
