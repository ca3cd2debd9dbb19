package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// TestStore is the conformance suite: what every database that the program runs on does alike. dsn makes a fresh,
// migrated database.
func TestStore(t *testing.T, dsn func(testing.TB) string) {
	for _, subject := range []struct {
		name  string
		cases []namedCase
	}{
		{"users", userCases},
		{"groups", groupCases},
		{"members", memberCases},
		{"nested groups", nestedCases},
		{"spool", spoolCases},
		{"unsettled", unsettledCases},
		{"teams", teamCases},
		{"holders", holderCases},
		{"keys", keyCases},
		{"sessions", sessionCases},
		{"sign-ins", signinCases},
		{"audit", auditCases},
		{"audit chain", chainCases},
		{"webhooks", webhookCases},
		{"runs", runCases},
		{"standing", standingCases},
		{"conflicts", conflictCases},
		{"leases", leaseCases},
		{"state", stateCases},
		{"settings", settingCases},
		{"expressions", exprCases},
		{"orders", orderCases},
		{"bulk", bulkCases},
		{"transactions", txCases},
		{"concurrency", concurrencyCases},
		{"constraints", constraintCases},
		{"tampering", tamperCases},
	} {
		t.Run(subject.name, func(t *testing.T) {
			t.Parallel()
			shared := dsn(t) // a database takes longer to make than most cases to run
			for _, c := range subject.cases {
				t.Run(c.name, func(t *testing.T) {
					f := newFixture(t, shared)
					f.wipe()
					c.run(f)
				})
			}
		})
	}
}

type namedCase struct {
	name string
	run  func(*fixture)
}

// fixture is one test with an empty database, and what makes tests short.
type fixture struct {
	testing.TB
	ctx context.Context
	dsn string
	s   *store.Store
	n   int // numbers what is made, so that names differ
}

func newFixture(t testing.TB, dsn string) *fixture {
	return &fixture{TB: t, ctx: t.Context(), dsn: dsn, s: open(t, dsn)}
}

// wipe empties the database, but for what the migrations put there.
func (f *fixture) wipe() {
	f.Helper()
	db := f.raw()
	db.unlockAudit()
	for _, table := range []string{
		"webhook_deliveries", "webhook_endpoints", "jit_groups", "sso_subjects", "signin_memory", "signin_failures", "known_browsers", "sessions",
		"settings", "conflicts", "connector_states", "leases", "runs", "outbox", "audit_unsealed", "audit_chain", "audit_events", "api_keys", "credentials", "grants", "group_grants",
		"group_members", "teams WHERE name_key <> 'root'", "groups", "users",
	} {
		db.must("DELETE FROM " + table)
	}
	db.must("UPDATE audit_head SET count = 0, sealed_at = NULL, hash = ?", make([]byte, 32))
	db.lockAudit()
	f.check(db.Close())
}

func (f *fixture) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) tx(do func(tx *store.Tx) error) {
	f.Helper()
	f.check(f.s.InTx(f.ctx, do))
}

// equal fails the test unless got is want. Times compare as instants; what is empty equals nil.
func (f *fixture) equal(what string, got, want any) {
	f.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (f *fixture) isErr(what string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func (f *fixture) isDuplicate(what string, err error, object identity.Object, attribute string) {
	f.Helper()
	var duplicate *store.DuplicateError
	if !errors.As(err, &duplicate) {
		f.Errorf("%s: error %v, want a *store.DuplicateError", what, err)
		return
	}
	if duplicate.Object != object || duplicate.Attribute != attribute {
		f.Errorf("%s: duplicate %s %s, want %s %s", what, duplicate.Object, duplicate.Attribute, object, attribute)
	}
}

// epoch is when the tests' things were made: not a whole second, to the microsecond that both databases keep.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// newUser makes a user without writing it.
func (f *fixture) newUser(edit ...func(*identity.User)) identity.User {
	f.n++
	u := identity.User{
		ID: uuid.NewString(), UserName: fmt.Sprintf("user%04d@example.com", f.n), Active: true,
		Origin: identity.OriginSSO, Version: 1, Created: epoch, LastModified: epoch,
	}
	for _, e := range edit {
		e(&u)
	}
	return u
}

// user writes a user and returns it as read.
func (f *fixture) user(edit ...func(*identity.User)) identity.User {
	f.Helper()
	u := f.newUser(edit...)
	f.insert(u)
	got, err := f.s.User(f.ctx, u.ID)
	f.check(err)
	return got
}

func (f *fixture) insert(users ...identity.User) {
	f.Helper()
	f.tx(func(tx *store.Tx) error { return tx.InsertUsers(f.ctx, users) })
}

func (f *fixture) insertErr(users ...identity.User) error {
	return f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.InsertUsers(f.ctx, users) })
}

// users writes n users and returns their ids.
func (f *fixture) users(n int, edit ...func(*identity.User)) []string {
	f.Helper()
	list, ids := make([]identity.User, n), make([]string, n)
	for i := range list {
		list[i] = f.newUser(edit...)
		ids[i] = list[i].ID
	}
	f.insert(list...)
	return ids
}

func owned(source, id string) func(*identity.User) {
	return func(u *identity.User) { u.Source, u.SourceID = source, id }
}

func named(name string) func(*identity.User) {
	return func(u *identity.User) { u.UserName = name }
}

func local(u *identity.User) { u.Origin = identity.OriginLocal }

func (f *fixture) newGroup(edit ...func(*identity.Group)) identity.Group {
	f.n++
	g := identity.Group{
		ID: uuid.NewString(), DisplayName: fmt.Sprintf("Group %04d", f.n), Version: 1, Created: epoch, LastModified: epoch,
	}
	for _, e := range edit {
		e(&g)
	}
	return g
}

func (f *fixture) insertGroup(g identity.Group) error {
	return f.s.InTx(f.ctx, func(tx *store.Tx) error { return tx.InsertGroup(f.ctx, &g) })
}

// group writes a group and returns it as read.
func (f *fixture) group(edit ...func(*identity.Group)) identity.Group {
	f.Helper()
	g := f.newGroup(edit...)
	f.check(f.insertGroup(g))
	return f.readGroup(g.ID)
}

func ownedGroup(source, id string) func(*identity.Group) {
	return func(g *identity.Group) { g.Source, g.SourceID = source, id }
}

func (f *fixture) readGroup(id string) identity.Group {
	f.Helper()
	g, err := f.s.Group(f.ctx, id)
	f.check(err)
	return g
}

func (f *fixture) addMembers(group string, users ...string) {
	f.Helper()
	f.tx(func(tx *store.Tx) error {
		_, err := tx.AddMembers(f.ctx, group, users)
		return err
	})
}

func (f *fixture) run(id, connector string, edit ...func(*identity.Run)) identity.Run {
	f.Helper()
	run := identity.Run{ID: id, Connector: connector, Kind: identity.KindFull, Trigger: "cli", Status: identity.RunRunning, Started: epoch}
	for _, e := range edit {
		e(&run)
	}
	f.check(f.s.PutRun(f.ctx, &run))
	return run
}

// database is the same database without the package under test.
type database struct {
	*sql.DB
	f        *fixture
	postgres bool
}

// raw opens the fixture's database for statements of the test's own, with "?" for parameters.
func (f *fixture) raw() database {
	f.Helper()
	driver, dsn := "pgx", f.dsn
	file, lite := strings.CutPrefix(f.dsn, "sqlite://")
	if lite {
		driver, dsn = "sqlite", "file:"+file+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)&_txlock=immediate&_time_format=sqlite"
	}
	db, err := sql.Open(driver, dsn)
	f.check(err)
	f.Cleanup(func() { _ = db.Close() })
	return database{db, f, !lite}
}

// unlockAudit lets the audit log be changed, as somebody can who owns the database.
func (db database) unlockAudit() {
	db.f.Helper()
	if db.postgres {
		db.must("ALTER TABLE audit_events DISABLE TRIGGER audit_append_only")
		db.must("ALTER TABLE audit_chain DISABLE TRIGGER audit_append_only")
		return
	}
	db.must("CREATE TABLE kept_triggers AS SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('audit_events', 'audit_chain')")
	for _, name := range db.texts("SELECT name FROM kept_triggers") {
		db.must("DROP TRIGGER " + name)
	}
}

// lockAudit undoes unlockAudit.
func (db database) lockAudit() {
	db.f.Helper()
	if db.postgres {
		db.must("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_append_only")
		db.must("ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_append_only")
		return
	}
	for _, statement := range db.texts("SELECT sql FROM kept_triggers") {
		db.must(statement)
	}
	db.must("DROP TABLE kept_triggers")
}

// texts returns the one column of a query.
func (db database) texts(query string) []string {
	db.f.Helper()
	rows, err := db.QueryContext(db.f.ctx, query)
	db.f.check(err)
	defer rows.Close()
	var list []string
	for rows.Next() {
		var text string
		db.f.check(rows.Scan(&text))
		list = append(list, text)
	}
	db.f.check(rows.Err())
	return list
}

func (db database) bind(statement string) string {
	if !db.postgres {
		return statement
	}
	var b strings.Builder
	n := 0
	for _, r := range statement {
		if r == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (db database) exec(statement string, args ...any) error {
	_, err := db.ExecContext(db.f.ctx, db.bind(statement), args...)
	return err
}

func (db database) must(statement string, args ...any) {
	db.f.Helper()
	if err := db.exec(statement, args...); err != nil {
		db.f.Fatalf("%s: %v", statement, err)
	}
}

func (db database) count(statement string, args ...any) int {
	db.f.Helper()
	var n int
	if err := db.QueryRowContext(db.f.ctx, db.bind(statement), args...).Scan(&n); err != nil {
		db.f.Fatalf("%s: %v", statement, err)
	}
	return n
}
