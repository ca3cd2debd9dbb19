package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// viewColumns is the contract with everybody who reads the database: names and order.
var viewColumns = map[string]string{
	"access_now":   "user_id user_key user_name team_id team role reason_kind reason_id reason_name",
	"team_members": "team_id team role user_id user_key user_name",
	"people": "user_id user_key user_name external_id email display_name active deleted reason origin source source_id " +
		"created_at updated_at",
}

// documented returns the SQL that the documentation shows to those who read access, statement by statement.
func documented(t *testing.T) (queries, script []string) {
	t.Helper()
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "### Reading access from the database\n")
	section, _, ends := strings.Cut(section, "\n### ")
	if !found || !ends {
		t.Fatal("docs/architecture.md has no section about reading access")
	}
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(section, -1) {
		if strings.HasPrefix(block[1], "SELECT") {
			queries = append(queries, block[1])
			continue
		}
		for statement := range strings.SplitSeq(strings.TrimSpace(block[1]), ";\n") {
			script = append(script, strings.TrimSuffix(statement, ";"))
		}
	}
	for view, columns := range viewColumns {
		if list := "| `" + strings.ReplaceAll(columns, " ", "`, `") + "` |"; !strings.Contains(section, "| `"+view+"` |") || !strings.Contains(section, list) {
			t.Errorf("the documentation does not list %s with the columns %s", view, list)
		}
	}
	return queries, script
}

// ask returns the columns of a query, and its rows as text.
func ask(t *testing.T, db *sql.DB, query string) (columns string, rows []string) {
	t.Helper()
	found, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values, targets := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	for found.Next() {
		if err := found.Scan(targets...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case nil:
				t.Errorf("%s: %s is NULL", query, names[i])
			case []byte:
				texts[i] = string(v)
			default:
				texts[i] = fmt.Sprint(v)
			}
		}
		rows = append(rows, strings.Join(texts, " "))
	}
	if err := found.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.Join(names, " "), rows
}

// smallHouse has Ana, who is an operator of Payments by a group, by a group around another, by hand and, on root, as stated;
// and Bo and Cy, who were too, of whom one is inactive and the other deleted.
func smallHouse(t *testing.T, s *store.Store) (ana identity.User) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	var users []identity.User
	for _, name := range []string{"Ana", "Bo", "Cy"} {
		users = append(users, identity.User{
			ID: uuid.NewString(), UserName: name + "@Example.com", Active: true, Origin: identity.OriginSSO, Version: 1, Created: now, LastModified: now,
			Attributes: identity.Attributes{"displayName": name},
		})
	}
	users[1].Active, users[1].Reason = false, "gone"
	users[2].Active, users[2].DeletedAt = false, now
	payments := identity.Team{ID: uuid.NewString(), Name: "Payments", Created: now}
	var groups []identity.Group
	for _, name := range []string{"Crew", "Inner", "Other", "Outer"} {
		groups = append(groups, identity.Group{ID: uuid.NewString(), DisplayName: name, Version: 1, Created: now, LastModified: now})
	}
	err := s.InTx(ctx, func(tx *store.Tx) error {
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check(tx.InsertUsers(ctx, users))
		check(tx.PutTeam(ctx, payments))
		for i := range groups {
			check(tx.InsertGroup(ctx, &groups[i]))
		}
		for _, g := range groups[:3] {
			_, err := tx.AddMembers(ctx, g.ID, []string{users[0].ID, users[1].ID, users[2].ID})
			check(err)
		}
		_, _, err := tx.AddNested(ctx, store.GroupRef{ID: groups[3].ID}, []string{groups[1].ID, groups[2].ID})
		check(err)
		for _, g := range []identity.Group{groups[0], groups[3]} {
			check(tx.AddGroupGrant(ctx, store.GroupGrant{GroupID: g.ID, TeamID: payments.ID, Role: "operator"}))
		}
		for _, u := range users {
			for _, g := range []identity.Grant{
				{TeamID: payments.ID, Role: "operator", Kind: identity.GrantManual, SourceID: users[1].ID},
				{TeamID: identity.RootTeamID, Role: "viewer", Kind: identity.GrantDirect},
			} {
				g.UserID = u.ID
				_, err := tx.PutGrant(ctx, g, now)
				check(err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return users[0]
}

// TestViews runs what the documentation tells those who read access to ask.
func TestViews(t *testing.T) {
	t.Parallel()
	queries, script := documented(t)
	if len(queries) != 4 || len(script) != 3 {
		t.Fatalf("the documentation shows %d queries and a script of %d statements, want 4 and 3", len(queries), len(script))
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ana := smallHouse(t, s)
		for view, want := range viewColumns {
			if got, _ := ask(t, s.DB(), "SELECT * FROM "+view); got != want {
				t.Errorf("%s has the columns %s, want %s", view, got, want)
			}
		}
		for i, want := range [][]string{
			{"Payments operator", "root viewer"},
			{"group Crew", "group Outer", "manual "},
			{"Ana@Example.com"},
			{"Ana@Example.com Ana "},
		} {
			_, got := ask(t, s.DB(), queries[i])
			if i == 1 {
				slices.Sort(got) // it asks for no order
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s(-want +got):\n%s", queries[i], diff)
			}
		}
		// Every reason that the program knows, and no other.
		grants, err := s.EffectiveGrants(t.Context(), ana.ID)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, g := range grants {
			want = append(want, fmt.Sprintf("%s %s %s %s %s", g.TeamID, g.TeamName, g.Role, g.Kind, g.SourceID))
		}
		slices.Sort(want)
		_, got := ask(t, s.DB(), "SELECT CAST(team_id AS text), team, role, reason_kind, reason_id FROM access_now")
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("access_now (-effective grants +got):\n%s", diff)
		}
		_, people := ask(t, s.DB(), "SELECT user_key, CASE WHEN active THEN 1 ELSE 0 END, CASE WHEN deleted THEN 1 ELSE 0 END, reason FROM people ORDER BY user_key")
		if diff := cmp.Diff([]string{"ana@example.com 1 0 ", "bo@example.com 0 0 gone", "cy@example.com 0 1 "}, people); diff != "" {
			t.Errorf("people (-want +got):\n%s", diff)
		}
	})
}

// TestViews_ReadOnly gives a role of PostgreSQL what the documentation says, and wants it to read the views and nothing else.
func TestViews_ReadOnly(t *testing.T) {
	t.Parallel()
	queries, script := documented(t)
	s := storetest.Postgres(t)
	smallHouse(t, s)
	role := "reader_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	exec := func(db interface {
		Exec(string, ...any) (sql.Result, error)
	}, statement string,
	) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	t.Cleanup(func() {
		exec(s.DB(), "DROP OWNED BY "+role)
		exec(s.DB(), "DROP ROLE "+role)
	})
	for _, statement := range script {
		exec(s.DB(), strings.ReplaceAll(statement, "access_reader", role))
	}
	as := func(statement string) error {
		tx, err := s.DB().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback() //nolint:errcheck // nothing is to stay
		if _, err := tx.ExecContext(t.Context(), "SET LOCAL ROLE "+role); err != nil {
			t.Fatal(err)
		}
		_, err = tx.ExecContext(t.Context(), statement)
		return err
	}
	for _, query := range queries {
		if err := as(query); err != nil {
			t.Errorf("the reader may not %s: %v", query, err)
		}
	}
	for _, statement := range []string{
		"SELECT * FROM users", "SELECT * FROM effective_grants", "SELECT * FROM group_members", "SELECT * FROM credentials", "SELECT * FROM api_keys",
		"SELECT * FROM audit_events", "DELETE FROM people", "UPDATE people SET user_name = 'x'", "INSERT INTO people (user_name) VALUES ('x')",
	} {
		if err := as(statement); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("the reader: %s: error %v, want permission denied", statement, err)
		}
	}
}

// crowd fills a database with 100,000 people in 200 groups of 100, each of which gives a role on its own team.
var crowd = map[string][]string{
	"postgres": {
		"INSERT INTO users (id, user_name, user_name_key, active, origin, created_at, updated_at) " +
			"SELECT gen_random_uuid(), 'user' || i || '@x', 'user' || i || '@x', TRUE, 'sso', now(), now() FROM generate_series(1, 100000) i",
		"INSERT INTO groups (id, display_name, display_name_key, created_at, updated_at) SELECT gen_random_uuid(), 'G' || i, 'g' || i, now(), now() FROM generate_series(1, 200) i",
		"INSERT INTO teams (id, name, name_key, group_id, created_at) SELECT gen_random_uuid(), display_name, display_name_key, id, now() FROM groups",
		"INSERT INTO group_members (group_id, user_id) SELECT g.id, u.id FROM groups g JOIN users u ON u.seq % 1000 = g.seq",
	},
	"sqlite": {
		"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) " +
			"INSERT INTO users (id, user_name, user_name_key, active, origin, created_at, updated_at) " +
			"SELECT lower(hex(randomblob(16))), 'user' || i || '@x', 'user' || i || '@x', TRUE, 'sso', '2026-01-01', '2026-01-01' FROM n",
		"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO groups (id, display_name, display_name_key, created_at, updated_at) " +
			"SELECT lower(hex(randomblob(16))), 'G' || i, 'g' || i, '2026-01-01', '2026-01-01' FROM n",
		"INSERT INTO teams (id, name, name_key, group_id, created_at) SELECT lower(hex(randomblob(16))), display_name, display_name_key, id, '2026-01-01' FROM groups",
		"INSERT INTO group_members (group_id, user_id) SELECT g.id, u.id FROM groups g JOIN users u ON u.seq % 1000 = g.seq",
	},
}

// TestViews_Plans wants no database to go through its people, or all their memberships, to tell what one of them may do.
func TestViews_Plans(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills databases with 100,000 people")
	}
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for _, statement := range append(crowd[s.Dialect()], "INSERT INTO group_grants (group_id, team_id, role) SELECT group_id, id, 'viewer' FROM teams WHERE group_id IS NOT NULL") {
			if _, err := s.DB().ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		explain := map[string]string{"postgres": "EXPLAIN ", "sqlite": "EXPLAIN QUERY PLAN "}[s.Dialect()]
		for _, statistics := range []bool{false, true} {
			if statistics {
				if _, err := s.DB().ExecContext(t.Context(), "ANALYZE"); err != nil {
					t.Fatal(err)
				}
			}
			for _, query := range []string{
				"SELECT team, role, reason_name FROM access_now WHERE user_key = 'user500@x'",
				"SELECT DISTINCT team, role FROM access_now WHERE user_key = 'user500@x' ORDER BY team, role",
				"SELECT user_id, active FROM people WHERE user_key = 'user500@x'",
			} {
				_, plan := ask(t, s.DB(), explain+query)
				if len(plan) == 0 {
					t.Fatalf("no plan of %s", query)
				}
				for _, line := range plan {
					for _, full := range []string{"Seq Scan on users", "Seq Scan on group_members", "SCAN u", "SCAN m", "SCAN o", "SCAN users"} {
						if strings.Contains(line+" ", full+" ") {
							t.Errorf("%s (statistics: %v) reads everything:\n%s", query, statistics, strings.Join(plan, "\n"))
						}
					}
				}
			}
		}
		if _, rows := ask(t, s.DB(), "SELECT team FROM access_now WHERE user_key = 'user500@x'"); len(rows) != 0 {
			t.Errorf("user500 has %v, want nothing", rows)
		}
		if _, rows := ask(t, s.DB(), "SELECT team FROM access_now WHERE user_key = 'user2100@x'"); len(rows) != 1 {
			t.Errorf("user2100 has %v, want one team", rows)
		}
	})
}
