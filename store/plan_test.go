package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// directory is a database with many people, whose statements are watched.
type directory struct {
	s          *store.Store
	db         *sql.DB
	userIDs    []string
	groupID    string // has every second user
	statements []watched
}

type watched struct {
	text string
	args []any
}

func sourceID(i int) string { return fmt.Sprintf("00u%08d", i) }

// fill makes a directory with n users, a group of half of them and twenty small ones, and a run whose spool differs
// from the large group a little. It has no statistics yet.
func fill(t *testing.T, dsn string, n int) *directory {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	d := &directory{s: s, groupID: uuid.NewString()}
	driverName, rawDSN := "pgx", dsn
	if file, lite := strings.CutPrefix(dsn, "sqlite://"); lite {
		driverName, rawDSN = "sqlite", file
	}
	if d.db, err = sql.Open(driverName, rawDSN); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.db.Close() })
	now := time.Now()
	users := make([]identity.User, n)
	for i := range users {
		users[i] = identity.User{
			ID: uuid.NewString(), UserName: fmt.Sprintf("user%d@example.com", i), ExternalID: sourceID(i), Active: i%20 != 0,
			Attributes: identity.Attributes{
				"displayName": fmt.Sprint("User ", i), "emails": []any{map[string]any{"value": fmt.Sprintf("mail%d@example.com", i), "primary": true}},
			},
			Origin: identity.OriginSSO, Source: "okta", SourceID: sourceID(i), Version: 1, Created: now, LastModified: now,
		}
		d.userIDs = append(d.userIDs, users[i].ID)
	}
	var stated, members []string
	for i := 0; i < n; i += 2 {
		members = append(members, d.userIDs[i])
		if i > 10 {
			stated = append(stated, sourceID(i))
		}
	}
	stated = append(stated, sourceID(1), sourceID(3))
	err = s.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertUsers(ctx, users); err != nil {
			return err
		}
		for i := range 21 {
			g := identity.Group{
				ID: uuid.NewString(), DisplayName: fmt.Sprint("Group ", i), Source: "okta", SourceID: fmt.Sprintf("00g%d", i),
				Version: 1, Created: now, LastModified: now,
			}
			ids := d.userIDs[i*10 : i*10+n/8] // the large group is a small part of all memberships
			if i == 0 {
				g.ID, ids = d.groupID, members
			}
			if err := tx.InsertGroup(ctx, &g); err != nil {
				return err
			}
			if _, err := tx.AddMembers(ctx, g.ID, ids); err != nil {
				return err
			}
		}
		if err := d.nest(ctx, tx); err != nil {
			return err
		}
		for i, id := range d.userIDs[:500] {
			session := store.Session{ID: uuid.NewString(), Hash: fmt.Append(nil, i), UserID: id, Method: "saml", Created: now, LastSeen: now, Expires: now.Add(time.Hour), IdleExpires: now.Add(time.Hour)}
			if err := tx.InsertSession(ctx, &session); err != nil {
				return err
			}
		}
		if err := tx.PutRun(ctx, &identity.Run{ID: "r", Connector: "okta", Started: now}); err != nil {
			return err
		}
		var changes []identity.Change
		for i := range n / 10 {
			changes = append(changes, identity.Change{
				RunID: "r", Ord: int64(i + 1), Object: identity.ObjectUser, Op: identity.OpUpdate, SourceID: sourceID(i), ID: d.userIDs[i],
			})
		}
		if err := tx.InsertChanges(ctx, changes); err != nil {
			return err
		}
		return tx.SpoolMembers(ctx, "r", "00g0", stated)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Watch(func(text string, args []any) {
		d.statements = append(d.statements, watched{text, args})
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

// nest puts the large group, and small ones by way of another, into a group that makes them admins.
func (d *directory) nest(ctx context.Context, tx *store.Tx) error {
	groups, _, err := tx.Groups(ctx, store.GroupQuery{Limit: 21})
	if err != nil {
		return err
	}
	between, outer := store.GroupRef{ID: groups[1].ID}, store.GroupRef{ID: groups[2].ID}
	if _, _, err := tx.AddNested(ctx, between, []string{groups[3].ID, groups[4].ID}); err != nil {
		return err
	}
	if _, _, err := tx.AddNested(ctx, outer, []string{between.ID, d.groupID}); err != nil {
		return err
	}
	return tx.AddGroupGrant(ctx, store.GroupGrant{GroupID: outer.ID, TeamID: identity.RootTeamID, Role: identity.RoleAdmin})
}

// tell writes what the audit log tells of everybody, and of the large group: a member at a time, after the first.
func (d *directory) tell(t *testing.T) {
	t.Helper()
	var events []identity.Event
	joined := identity.Event{At: time.Now(), Type: identity.EventMembershipAdded, Object: identity.ObjectGroup, ObjectID: d.groupID, Name: "Group 0"}
	for i, id := range d.userIDs {
		events = append(events, identity.Event{
			At: joined.At, Type: identity.EventUserCreated, Object: identity.ObjectUser, ObjectID: id, Name: fmt.Sprint("user", i),
		})
		if i%2 == 0 {
			joined.Members = []string{id}
			events = append(events, joined)
		}
	}
	joined.Members = d.userIDs
	events = append(events, joined)
	if err := d.s.InTx(t.Context(), func(tx *store.Tx) error { return tx.Record(t.Context(), events) }); err != nil {
		t.Fatal(err)
	}
	if _, err := d.s.SealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Some that wait to be sealed.
	if err := d.s.InTx(t.Context(), func(tx *store.Tx) error { return tx.Record(t.Context(), events[:1000]) }); err != nil {
		t.Fatal(err)
	}
	// An endpoint that is down.
	_, err := d.db.ExecContext(t.Context(), "INSERT INTO webhook_deliveries (endpoint, seq, event_id, type, object_id, state, created_at, next_at) "+
		"SELECT 'hook', seq, id, type, object_id, 'waiting', at, at FROM audit_events")
	if err != nil {
		t.Fatal(err)
	}
}

// analyze gathers the statistics that a database in use has.
func (d *directory) analyze(t *testing.T) {
	t.Helper()
	if _, err := d.db.ExecContext(t.Context(), "ANALYZE"); err != nil {
		t.Fatal(err)
	}
}

// run runs a read and returns the statements that it took.
func (d *directory) run(t *testing.T, read func(s *store.Store) error) []watched {
	t.Helper()
	d.statements = nil
	if err := read(d.s); err != nil {
		t.Fatal(err)
	}
	return d.statements
}

// literal writes a parameter into a statement.
func literal(t *testing.T, v any) string {
	t.Helper()
	if valuer, ok := v.(driver.Valuer); ok {
		var err error
		if v, err = valuer.Value(); err != nil {
			t.Fatal(err)
		}
	}
	switch v := v.(type) {
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case time.Time:
		return "'" + v.Format(time.RFC3339Nano) + "'"
	case []byte:
		return fmt.Sprintf(`'\x%x'`, v)
	case int, int64, bool:
		return fmt.Sprint(v)
	}
	t.Fatalf("a parameter of type %T", v)
	return ""
}

// page is what the reads below return and this test does not look at.
func page[T any](_ T, err error) error { return err }

// found forgives that there is nobody.
func found[T any](_ T, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func counted[T any](_ T, _ int, err error) error { return err }

func eq(field store.Field, value any) store.Expr {
	return store.Compare{Field: field, Op: store.OpEq, Value: value}
}

// reads are what has to stay fast whatever the number of people.
func reads(t *testing.T, d *directory) map[string]func(s *store.Store) error {
	ctx, id := t.Context(), d.userIDs[7]
	users := func(where store.Expr) func(s *store.Store) error {
		return func(s *store.Store) error { return counted(s.Users(ctx, store.UserQuery{Where: where, Limit: 100})) }
	}
	groups := func(where store.Expr) func(s *store.Store) error {
		return func(s *store.Store) error { return counted(s.Groups(ctx, store.GroupQuery{Where: where, Limit: 100})) }
	}
	var sourceIDs []string
	for i := range 200 {
		sourceIDs = append(sourceIDs, sourceID(i*7))
	}
	return map[string]func(s *store.Store) error{
		"key, and user by id": func(s *store.Store) error {
			return found(s.KeyHolder(ctx, "k", &store.UserLookup{ID: id}))
		},
		"key, and user by name": func(s *store.Store) error {
			return found(s.KeyHolder(ctx, "k", &store.UserLookup{UserName: "user7@example.com"}))
		},
		"user by id":           func(s *store.Store) error { return page(s.User(ctx, id)) },
		"user by name":         func(s *store.Store) error { return page(s.UserByName(ctx, "USER7@example.com")) },
		"users by id":          func(s *store.Store) error { return page(s.UsersByID(ctx, d.userIDs[:100])) },
		"id eq":                users(eq(store.FieldID, id)),
		"userName eq":          users(eq(store.FieldUserName, "user7@example.com")),
		"externalId eq":        users(eq(store.FieldExternalID, sourceID(7))),
		"email eq":             users(eq(store.FieldEmail, "mail7@example.com")),
		"displayName eq":       users(eq(store.FieldDisplayName, "user 7")),
		"userName or email eq": users(store.Or{eq(store.FieldUserName, "user7@example.com"), eq(store.FieldEmail, "user7@example.com")}),
		"groups of a member":   groups(eq(store.FieldMember, id)),
		"group by externalId":  groups(eq(store.FieldExternalID, "x")),
		"group by id":          func(s *store.Store) error { return page(s.Group(ctx, d.groupID)) },
		"group by name":        func(s *store.Store) error { return page(s.GroupByName(ctx, "group 7")) },
		"groups of users":      func(s *store.Store) error { return page(s.GroupsOfUsers(ctx, d.userIDs[:20])) },
		"member ids":           func(s *store.Store) error { return page(s.MemberIDs(ctx, d.groupID, id, 100)) },
		"held users":           func(s *store.Store) error { return page(s.HeldUsers(ctx, "okta", sourceIDs)) },
		"owned users":          func(s *store.Store) error { return page(s.OwnedUsers(ctx, "okta", 500, 200)) },
		"candidates": func(s *store.Store) error {
			return page(s.Candidates(ctx, sourceIDs[:20], []string{"user7@example.com"}))
		},
		"effective grants": func(s *store.Store) error { return page(s.EffectiveGrants(ctx, id)) },
		"access": func(s *store.Store) error {
			_, _, err := s.Access(ctx, "USER7@example.com")
			return err
		},
		"local admins":     func(s *store.Store) error { return page(s.CountLocalAdmins(ctx)) },
		"has role":         func(s *store.Store) error { return page(s.HasRole(ctx, id, identity.RootTeamID, identity.RoleAdmin)) },
		"key holder":       func(s *store.Store) error { return found(s.KeyHolder(ctx, "nobody's", &store.UserLookup{ID: id})) },
		"privileged users": func(s *store.Store) error { return page(s.PrivilegedUsers(ctx, d.userIDs[:20])) },
		"changes": func(s *store.Store) error {
			return page(s.Changes(ctx, store.ChangeQuery{RunID: "r", After: 50, Limit: 100}))
		},
		"missing members": func(s *store.Store) error {
			return page(s.MissingMembers(ctx, "r", "okta", "00g0", d.groupID, "", 100))
		},
		"missing members, later": func(s *store.Store) error {
			return page(s.MissingMembers(ctx, "r", "okta", "00g0", d.groupID, sourceID(900), 100))
		},
		"audit of an object": func(s *store.Store) error { return page(s.Audit(ctx, store.AuditQuery{ObjectID: id, Limit: 10})) },
		"audit of an actor":  func(s *store.Store) error { return page(s.Audit(ctx, store.AuditQuery{ActorID: "rare", Limit: 10})) },
		"audit of a type": func(s *store.Store) error {
			return page(s.Audit(ctx, store.AuditQuery{Type: "user.deleted", Limit: 10}))
		},
		"audit of types":     func(s *store.Store) error { return page(s.Audit(ctx, store.AuditQuery{Type: "team.*", Limit: 10})) },
		"audit of a request": func(s *store.Store) error { return page(s.Audit(ctx, store.AuditQuery{RequestID: "q", Limit: 10})) },
		"audit of a run":     func(s *store.Store) error { return page(s.Audit(ctx, store.AuditQuery{RunID: "r", Limit: 10})) },
		"places of events": func(s *store.Store) error {
			return page(s.Links(ctx, []identity.Event{{Seq: 7}, {Seq: 9}}))
		},
		"events of the chain": func(s *store.Store) error { return page(s.SealedAudit(ctx, store.AuditQuery{Limit: 10}, 5000)) },
		"what is to be sealed": func(s *store.Store) error {
			_, _, err := s.Seal(ctx, "", 10)
			return err
		},
		"history":             func(s *store.Store) error { return page(s.History(ctx, d.userIDs[8], time.Now())) },
		"session":             func(s *store.Store) error { return page(s.SessionHolder(ctx, []byte("7"), time.Now())) },
		"session that counts": func(s *store.Store) error { return page(s.SessionCounts(ctx, uuid.NewString(), time.Now())) },
		"sessions of a user":  func(s *store.Store) error { return page(s.Sessions(ctx, id, time.Now(), 10)) },
		"due deliveries":      func(s *store.Store) error { return page(s.DueDeliveries(ctx, "hook", time.Now(), 100)) },
		"any grant":           func(s *store.Store) error { return page(s.HasGrant(ctx, id)) },
		"grants of a kind":    func(s *store.Store) error { return page(s.GrantsOfKind(ctx, id, identity.GrantJIT)) },
		"unknown users":       func(s *store.Store) error { return page(s.UnknownUsers(ctx, d.userIDs[:50])) },
	}
}

// large are the tables that no read of a few rows may go through from end to end.
var large = []string{"users", "group_members", "run_members", "run_changes", "audit_events", "audit_chain", "webhook_deliveries"}

// TestPlans asks PostgreSQL how it runs each read, once knowing the parameters and once for any parameters, as it does
// after a statement was run a few times.
func TestPlans(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.PostgresDSN(t), 20_000)
	d.tell(t)
	d.analyze(t)
	conn, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, read := range reads(t, d) {
		for _, statement := range d.run(t, read) {
			args := make([]string, len(statement.args))
			for i, arg := range statement.args {
				args[i] = literal(t, arg)
			}
			execute := "EXPLAIN EXECUTE p"
			if len(args) > 0 {
				execute += "(" + strings.Join(args, ", ") + ")"
			}
			modes := []string{"force_custom_plan", "force_generic_plan"}
			if strings.Contains(statement.text, "ANY(") {
				modes = modes[:1] // of how many rows they are depends on the parameters: these stay custom by their cost
			}
			for _, mode := range modes {
				plan := explain(t, conn, "SET plan_cache_mode = "+mode, "PREPARE p AS "+statement.text, execute, "DEALLOCATE p")
				for _, table := range large {
					if strings.Contains(plan, "Seq Scan on "+table+" ") {
						t.Errorf("%s reads all of %s (%s):\n%s\n%s", name, table, mode, statement.text, plan)
					}
				}
			}
		}
	}
}

// explain runs the statements and returns the rows that they give.
func explain(t *testing.T, conn *sql.Conn, statements ...string) string {
	t.Helper()
	var b strings.Builder
	for _, statement := range statements {
		rows, err := conn.QueryContext(t.Context(), statement)
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			values := make([]any, len(columns))
			var text string
			for i := range values {
				values[i] = new(any)
			}
			values[len(values)-1] = &text // SQLite's detail, PostgreSQL's only column
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			b.WriteString(text + "\n")
		}
		if err := rows.Err(); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return b.String()
}

// TestSQLitePlans does for SQLite what TestPlans does for PostgreSQL.
func TestSQLitePlans(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.MigratedSQLiteDSN(t), 2000)
	d.tell(t)
	d.analyze(t)
	conn, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, read := range reads(t, d) {
		for _, statement := range d.run(t, read) {
			text := statement.text
			for _, arg := range statement.args {
				text = strings.Replace(text, "?", literal(t, arg), 1)
			}
			plan := explain(t, conn, "EXPLAIN QUERY PLAN "+text)
			for line := range strings.Lines(plan) {
				for _, table := range []string{"users", "u", "group_members", "m", "run_members", "s", "run_changes", "c", "o"} {
					if line := strings.TrimSpace(line); line == "SCAN "+table {
						t.Errorf("%s reads all of %s:\n%s\n%s", name, table, text, plan)
					}
				}
			}
		}
	}
}

// TestSQLiteJournalPlans: what a batch did is written into the journal by its rows' numbers, with statistics or without. A
// journal has as many rows as the first pull of a directory has people and memberships.
func TestSQLiteJournalPlans(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.MigratedSQLiteDSN(t), 2000)
	conn, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ords := []int64{1, 2, 3}
	for name, write := range map[string]func(tx *store.Tx) error{
		"created": func(tx *store.Tx) error {
			return tx.MarkCreated(t.Context(), "r", map[int64]string{1: "a", 2: "b", 3: "c"})
		},
		"applied": func(tx *store.Tx) error { return tx.MarkApplied(t.Context(), "r", ords) },
		"dropped": func(tx *store.Tx) error { return tx.DropChanges(t.Context(), "r", ords) },
	} {
		searched := 0
		for _, statement := range d.run(t, func(s *store.Store) error { return s.InTx(t.Context(), write) }) {
			text := statement.text
			for _, arg := range statement.args {
				text = strings.Replace(text, "?", literal(t, arg), 1)
			}
			if !strings.Contains(text, "run_changes") {
				continue
			}
			for line := range strings.Lines(explain(t, conn, "EXPLAIN QUERY PLAN "+text)) {
				if strings.Contains(line, " run_changes ") && strings.Contains(line, "(run_id=? AND ord=?)") {
					searched++
				} else if strings.Contains(line, "SEARCH run_changes") || strings.Contains(line, "SCAN run_changes") {
					t.Errorf("%s goes through the whole journal: %s\n%s", name, line, text)
				}
			}
		}
		if searched == 0 {
			t.Errorf("%s looks at no row of the journal", name)
		}
	}
}

// TestSQLiteJournaledPeoplePlan: whom a run is about to create is found by the source's ids, with statistics or without. A
// first pull asks so for each group, of a journal that has everybody.
func TestSQLiteJournaledPeoplePlan(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.MigratedSQLiteDSN(t), 2000)
	conn, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asked := 0
	for _, statement := range d.run(t, func(s *store.Store) error {
		_, err := s.Provisioned(t.Context(), "r", "okta", []string{"nobody1", "nobody2"})
		return err
	}) {
		if !strings.Contains(statement.text, "run_changes") {
			continue
		}
		asked++
		text := statement.text
		for _, arg := range statement.args {
			text = strings.Replace(text, "?", literal(t, arg), 1)
		}
		if plan := explain(t, conn, "EXPLAIN QUERY PLAN "+text); !strings.Contains(plan, "(run_id=? AND object=? AND source_id=?)") {
			t.Errorf("the whole journal is gone through:\n%s\n%s", text, plan)
		}
	}
	if asked != 1 {
		t.Errorf("the journal was asked %d times, want once", asked)
	}
}

// TestDriftAtScale compares a group of ten thousand with what was stated of it, right after it was written: without
// statistics, where PostgreSQL has to be kept from comparing each row with each value of a list.
func TestDriftAtScale(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.PostgresDSN(t), 20_000)
	began := time.Now()
	missing, err := d.s.MissingMembers(t.Context(), "r", "okta", "00g0", d.groupID, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	extra, err := d.s.ExtraMembers(t.Context(), "r", "okta", "00g0", d.groupID, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) != 2 || len(extra) != 6 {
		t.Errorf("%d missing and %d extra members, want 2 and 6", len(missing), len(extra))
	}
	if _, err := d.s.HeldUsers(t.Context(), "okta", []string{sourceID(1), sourceID(2)}); err != nil {
		t.Fatal(err)
	}
	for _, statement := range d.statements {
		if strings.Contains(statement.text, "= ANY(") {
			t.Errorf("a list is a filter here: %s", statement.text)
		}
	}
	took := time.Since(began)
	t.Logf("compared in %s", took)
	if took > time.Minute { // a join without statistics took longer on a machine that had nothing else to do
		t.Errorf("comparing took %s", took)
	}
}

// TestStatements counts the statements of a read: the same for one row and for hundreds.
func TestStatements(t *testing.T) {
	t.Parallel()
	d := fill(t, storetest.MigratedSQLiteDSN(t), 1000)
	ctx := t.Context()
	for name, c := range map[string]struct {
		read func(n int) error
		want int
	}{
		"users":  {func(n int) error { return counted(d.s.Users(ctx, store.UserQuery{Limit: n})) }, 2},
		"groups": {func(n int) error { return counted(d.s.Groups(ctx, store.GroupQuery{Limit: min(n, 20)})) }, 2},
		"userName eq": {func(n int) error {
			return counted(d.s.Users(ctx, store.UserQuery{Where: eq(store.FieldUserName, "user7@example.com"), Limit: n + 1}))
		}, 1},
		"key and user":      {func(int) error { return found(d.s.KeyHolder(ctx, "k", &store.UserLookup{ID: d.userIDs[7]})) }, 3},
		"groups of users":   {func(n int) error { return page(d.s.GroupsOfUsers(ctx, d.userIDs[:n])) }, 1},
		"members of groups": {func(n int) error { return page(d.s.MembersOfGroups(ctx, append(d.userIDs[:n:n], d.groupID))) }, 1},
		"users by id":       {func(n int) error { return page(d.s.UsersByID(ctx, d.userIDs[:n])) }, 1},
		"owned users":       {func(n int) error { return page(d.s.OwnedUsers(ctx, "okta", 0, n)) }, 1},
		"no page":           {func(int) error { return counted(d.s.Users(ctx, store.UserQuery{})) }, 1},
	} {
		for _, n := range []int{1, 500} {
			got := len(d.run(t, func(*store.Store) error { return c.read(n) }))
			if got != c.want {
				t.Errorf("%s: %d statements for %d, want %d", name, got, n, c.want)
			}
		}
	}
}
