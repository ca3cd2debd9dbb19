package store

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/idpsync/idpsync/store/identity"
)

// Errors that callers branch on.
var (
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not found")
	// ErrStale: the row's version is not the expected one.
	ErrStale = errors.New("changed in the meantime")
	// ErrLeaseLost: the lease that a transaction was fenced with is held by somebody else, or by nobody.
	ErrLeaseLost = errors.New("the lease was lost")
	// ErrBusy: somebody else holds the lease.
	ErrBusy = errors.New("busy")
	// ErrPooled: PostgreSQL is reached through a pooler, and the URL does not say what that keeps.
	ErrPooled = errors.New("a pooler stands between idpsync and PostgreSQL: add default_query_exec_mode=exec to the database URL, because in transaction mode it keeps no prepared statements (in session mode: default_query_exec_mode=cache_statement)")
	// ErrMigratePooled: a migration takes a lock of the session.
	ErrMigratePooled = errors.New("a migration cannot go through a pooler in transaction mode, which does not keep its lock: run `idpsync migrate` with the database URL of PostgreSQL itself")
	// ErrText: a text to write holds a NUL or is not UTF-8, which PostgreSQL does not keep; SQLite is held to the same.
	ErrText = errors.New("a text holds a NUL or is not UTF-8")
)

// DuplicateError says that a value that must be unique is taken. ID is the owner's id where it is known.
type DuplicateError struct {
	Object    identity.Object
	Attribute string // SCIM attribute name
	Value     string
	ID        string
}

func (e *DuplicateError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s is already taken", e.Object, e.Attribute)
	}
	return fmt.Sprintf("%s: %s %q is already taken", e.Object, e.Attribute, e.Value)
}

// SQLite's extended result codes and PostgreSQL's SQLSTATEs that mean something to us.
const (
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteUnique     = 2067
	sqlitePrimaryKey = 1555
	sqliteForeignKey = 787

	pgUnique        = "23505"
	pgForeignKey    = "23503"
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
)

// constraintAttributes maps a unique index, as either database names it, to what it protects.
var constraintAttributes = []struct {
	fragments []string
	object    identity.Object
	attribute string
}{
	{[]string{"users_user_name_key", "users.user_name_key"}, identity.ObjectUser, "userName"},
	{[]string{"users_external_id", "users.external_id"}, identity.ObjectUser, "externalId"},
	{[]string{"users_source_id", "users.source_id"}, identity.ObjectUser, "externalId"},
	{[]string{"groups_display_name_key", "groups.display_name_key"}, identity.ObjectGroup, "displayName"},
	{[]string{"groups_external_id", "groups.external_id"}, identity.ObjectGroup, "externalId"},
	{[]string{"groups_source_id", "groups.source_id"}, identity.ObjectGroup, "externalId"},
	{[]string{"teams_name_key", "teams.name_key"}, "team", "name"},
}

// translate turns a driver's error into one of ours; what it does not know passes through.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var duplicate string
	var pg *pgconn.PgError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg) && pg.Code == pgUnique:
		duplicate = pg.ConstraintName
	case errors.As(err, &lite) && (lite.Code() == sqliteUnique || lite.Code() == sqlitePrimaryKey):
		duplicate = lite.Error()
	default:
		return err
	}
	for _, c := range constraintAttributes {
		for _, fragment := range c.fragments {
			if strings.Contains(duplicate, fragment) {
				return &DuplicateError{Object: c.object, Attribute: c.attribute}
			}
		}
	}
	return err
}

// Failed tells whether err is the database's: it said so itself, was not reached, or the connection to it broke off.
func Failed(err error) bool {
	var pg *pgconn.PgError
	var refused *pgconn.ConnectError
	var broken interface{ SafeToRetry() bool } // what else pgconn reports, of types that it does not export
	var lite *sqlite.Error
	return errors.As(err, &pg) || errors.As(err, &refused) || errors.As(err, &broken) || errors.As(err, &lite) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// isForeignKey tells whether err is the violation of a foreign key.
func isForeignKey(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	return errors.As(err, &pg) && pg.Code == pgForeignKey || errors.As(err, &lite) && lite.Code() == sqliteForeignKey
}

// isRetryable tells whether the same transaction may well succeed when run again.
func isRetryable(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg):
		return pg.Code == pgSerialization || pg.Code == pgDeadlock
	case errors.As(err, &lite):
		return lite.Code()&0xff == sqliteBusy || lite.Code()&0xff == sqliteLocked
	}
	return false
}
