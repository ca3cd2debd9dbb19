package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// indexed are the queries that clients send again and again, and how each is answered: PostgreSQL's plan names these
// indexes, and SQLite's these searches.
var indexed = []struct {
	name             string
	query            func(d *directory) store.UserQuery
	postgres, sqlite []string
}{
	{"id eq", func(d *directory) store.UserQuery {
		return store.UserQuery{Where: eq(store.FieldID, d.userIDs[7])}
	}, []string{"users_pkey"}, []string{"(id=?)"}},
	{"userName eq", where(eq(store.FieldUserName, "USER7@example.com")), []string{"users_user_name_key"}, []string{"(user_name_key=?)"}},
	{
		"userName sw", where(store.Compare{Field: store.FieldUserName, Op: store.OpSw, Value: "user77"}),
		[]string{"users_user_name_key"},
		[]string{"(user_name_key>? AND user_name_key<?)"},
	},
	{"externalId eq", where(eq(store.FieldExternalID, sourceID(7))), []string{"users_external"}, []string{"(external_id=?)"}},
	{
		"displayName eq", where(store.And{eq(store.FieldDisplayName, "user 7"), test("displayName", "", store.OpEq, "user 7")}),
		[]string{"users_display_name"},
		[]string{"(display_name_key=?)"},
	},
	{
		"displayName sw", where(store.And{
			store.Compare{Field: store.FieldDisplayName, Op: store.OpSw, Value: "user 77"}, test("displayName", "", store.OpSw, "user 77"),
		}), []string{"users_display_name"}, []string{"(display_name_key>? AND display_name_key<?)"},
	},
	{
		"emails eq", where(store.And{eq(store.FieldEmails, "mail7@example.com"), test("emails", "value", store.OpEq, "mail7@example.com")}),
		[]string{"users_pkey", "users_email", "user_emails_pkey"},
		[]string{"(id=?)", "p USING INDEX users_email", "user_emails USING PRIMARY KEY (email_key=?)"},
	},
	{
		"emails[type eq and value eq]", where(store.And{eq(store.FieldEmails, "mail7@example.com"), store.Some{
			Of: store.Attribute{Name: "emails"}, Where: store.And{test("type", "", store.OpEq, "work"), test("value", "", store.OpEq, "mail7@example.com")},
		}}),
		[]string{"users_pkey", "users_email", "user_emails_pkey"},
		[]string{"(id=?)", "p USING INDEX users_email", "user_emails USING PRIMARY KEY (email_key=?)"},
	},
	{
		"userName or emails or externalId", where(store.Or{
			eq(store.FieldUserName, "user7@example.com"), eq(store.FieldEmails, "user7@example.com"), eq(store.FieldExternalID, "x"),
		}),
		[]string{"users_user_name_key", "users_email", "users_external"},
		[]string{"(user_name_key=?)", "(email_key=?)", "(external_id=?)"},
	},
	{
		"userName eq and active eq", where(store.And{eq(store.FieldUserName, "user7@example.com"), eq(store.FieldActive, true)}),
		[]string{"users_user_name_key"},
		[]string{"(user_name_key=?)"},
	},
	{"active eq false", where(eq(store.FieldActive, false)), []string{"users_inactive"}, []string{"users_inactive"}},
	{"everybody", where(nil), []string{"users_seq_key"}, []string{"SCAN users"}},
	{"everybody, later", sorted(store.Order{}, &store.Position{Seq: 19_000}), []string{"users_seq_key"}, []string{"INTEGER PRIMARY KEY (rowid>?)"}},
	{"by userName", sorted(store.Order{By: store.FieldUserName}, nil), []string{"users_user_name_key"}, []string{"sqlite_autoindex_users"}},
	{
		"by userName, later", sorted(store.Order{By: store.FieldUserName}, &store.Position{Key: "user77@example.com", Seq: 78}),
		[]string{"users_user_name_key"},
		[]string{"(user_name_key>?)"},
	},
	{
		"by userName, backwards", sorted(store.Order{By: store.FieldUserName, Descending: true}, &store.Position{Key: "user77@example.com", Seq: 78}),
		[]string{"Backward using users_user_name_key"},
		[]string{"(user_name_key<?)"},
	},
}

// changedLately is answered by an index where PostgreSQL knows how many rows it means.
var changedLately = []struct {
	name             string
	query            func(d *directory) store.UserQuery
	postgres, sqlite []string
}{
	{
		"meta.lastModified gt", where(store.Compare{Field: store.FieldLastModified, Op: store.OpGt, Value: time.Now().Add(time.Hour)}),
		[]string{"users_updated"},
		[]string{"(updated_at>?)"},
	},
}

func where(e store.Expr) func(*directory) store.UserQuery {
	return func(*directory) store.UserQuery { return store.UserQuery{Where: e} }
}

func sorted(o store.Order, after *store.Position) func(*directory) store.UserQuery {
	return func(*directory) store.UserQuery { return store.UserQuery{Order: o, After: after} }
}

func test(name, sub string, op store.CompareOp, value any) store.Expr {
	return store.Test{Attribute: store.Attribute{Name: name, Sub: sub}, Op: op, Value: value}
}

// secondAddresses gives some people of a directory more than one address.
func (d *directory) secondAddresses(t *testing.T) {
	t.Helper()
	users := make([]identity.User, 400)
	for i := range users {
		users[i] = identity.User{
			ID: uuid.NewString(), UserName: fmt.Sprintf("second%d@example.com", i), Active: true, Origin: identity.OriginSSO, Version: 1,
			Attributes: identity.Attributes{"emails": []any{
				map[string]any{"value": fmt.Sprintf("second%d@example.com", i), "primary": true}, map[string]any{"value": fmt.Sprintf("home%d@example.com", i)},
			}},
			Created: time.Now(), LastModified: time.Now().Add(-time.Duration(i) * time.Minute),
		}
	}
	if err := d.s.InTx(t.Context(), func(tx *store.Tx) error { return tx.InsertUsers(t.Context(), users) }); err != nil {
		t.Fatal(err)
	}
}

// eachPlan calls f with every statement of the common queries: of a full page, and of a single row, for which a planner
// is more easily led astray. Of a prefix, which may be everybody's, it is not for us to know what is better.
func (d *directory) eachPlan(t *testing.T, statistics bool, f func(name string, st watched, postgres, sqlite []string)) {
	t.Helper()
	cases := indexed
	if statistics || d.s.Dialect() == "sqlite" {
		cases = slices.Concat(indexed, changedLately)
	}
	for _, c := range cases {
		for _, limit := range []int{1, 100} {
			if limit == 1 && strings.HasSuffix(c.name, " sw") {
				continue
			}
			q := c.query(d)
			q.Limit, q.NoTotal = limit, true
			for _, st := range d.run(t, func(s *store.Store) error { return page(s.UserPage(t.Context(), q)) }) {
				f(fmt.Sprintf("%s, %d rows, statistics %v", c.name, limit, statistics), st, c.postgres, c.sqlite)
			}
		}
	}
}

func TestFilterPlans(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.PostgresDSN(t), 20_000)
	d.secondAddresses(t)
	conn, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statistics := range []bool{false, true} {
		if statistics {
			d.analyze(t)
		}
		d.eachPlan(t, statistics, func(name string, st watched, indexes, _ []string) {
			args := make([]string, len(st.args))
			for i, arg := range st.args {
				args[i] = literal(t, arg)
			}
			execute := "EXPLAIN EXECUTE p(" + strings.Join(args, ", ") + ")"
			modes := []string{"force_custom_plan", "force_generic_plan"}
			if strings.HasPrefix(name, "meta.") {
				modes = modes[:1] // how many rows these are depends on the parameters, and so does the plan, by its cost
			}
			for _, mode := range modes {
				plan := explain(t, conn, "SET plan_cache_mode = "+mode, "PREPARE p AS "+st.text, execute, "DEALLOCATE p")
				for _, index := range indexes {
					if !strings.Contains(plan, index) || strings.Contains(plan, "Seq Scan on users") {
						t.Errorf("%s, %s: want an index scan of %s\n%s\n%s", name, mode, index, st.text, plan)
					}
				}
			}
		})
	}
}

func TestSQLiteFilterPlans(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.MigratedSQLiteDSN(t), 2000)
	d.secondAddresses(t)
	conn, err := d.s.DB().Conn(t.Context()) // has the functions that filters use
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statistics := range []bool{false, true} {
		if statistics {
			d.analyze(t)
		}
		d.eachPlan(t, statistics, func(name string, st watched, _, searches []string) {
			text := st.text
			for _, arg := range st.args {
				text = strings.Replace(text, "?", literal(t, arg), 1)
			}
			plan := explain(t, conn, "EXPLAIN QUERY PLAN "+text)
			for _, search := range searches {
				if !strings.Contains(plan, search) {
					t.Errorf("%s: want %s\n%s\n%s", name, search, text, plan)
				}
			}
		})
	}
}
