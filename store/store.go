// Package store keeps the state: PostgreSQL in production, embedded SQLite by default, through one code path on gorm.
// gorm's and the drivers' types never leave it; identity's types go in and out.
//
// State, audit event and outbox entry are written in one transaction (Tx). Rules about people are not here: the
// package writes what reconcile/lifecycle decided, and the database enforces uniqueness and references.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/idpsync/idpsync/store/identity"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	reader
	sql   *sql.DB
	watch func(statement string, args []any) // nil for nobody; of what goes past gorm
	turn  chan struct{}                      // SQLite: held by the one writer

	pooled atomic.Bool // a pooler in transaction mode stands in between
	tally  tally
}

// Tx is a transaction. It is used by one goroutine, inside the function given to Store.InTx.
type Tx struct {
	reader
	conn *sql.Conn // PostgreSQL: the connection under the transaction, for COPY

	recorded map[identity.EventType]int // events of the transaction, to be counted when it is committed
}

// reader has the reads that Store and Tx share.
type reader struct {
	db *gorm.DB
	d  dialect
}

func (r reader) raw(ctx context.Context, statement string, args ...any) *gorm.DB {
	return r.db.WithContext(ctx).Raw(statement, args...)
}

func (r reader) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	for _, arg := range args {
		if s, ok := arg.(string); ok && !holdable(s) {
			return 0, ErrText
		}
	}
	result := r.db.WithContext(ctx).Exec(statement, args...)
	return result.RowsAffected, translate(result.Error)
}

// scan is exec for a statement that returns rows.
func (r reader) scan(ctx context.Context, dest any, statement string, args ...any) error {
	for _, arg := range args {
		if s, ok := arg.(string); ok && !holdable(s) {
			return ErrText
		}
	}
	return translate(r.raw(ctx, statement, args...).Scan(dest).Error)
}

// Open opens the database that a DSN names: `sqlite://file.db`, or a PostgreSQL URL (`postgres://user@host/db`, with
// pgx's parameters). It neither creates tables nor waits for the server: call Migrate, or Ping.
func Open(ctx context.Context, dsn string) (*Store, error) {
	var (
		s         = &Store{}
		dialector gorm.Dialector
		config    = gorm.Config{
			SkipDefaultTransaction: true,
			DisableAutomaticPing:   true,
			Logger:                 logger.Discard,
			NowFunc:                func() time.Time { return time.Now().UTC() },
		}
		err error
	)
	switch scheme, rest, _ := strings.Cut(dsn, "://"); scheme {
	case "sqlite":
		if s.sql, err = openSQLite(rest); err != nil {
			return nil, fmt.Errorf("open SQLite: %w", err)
		}
		s.d = sqliteDialect
		s.turn = make(chan struct{}, 1)
		config.PrepareStmt, config.PrepareStmtMaxSize = true, maxPrepared
		dialector = liteDialector{s.sql}
	case "postgres", "postgresql":
		pg, err := pgx.ParseConfig(dsn)
		if err != nil {
			// pgx repeats the DSN, with the password in it.
			return nil, errors.New("open PostgreSQL: the database URL cannot be read, want postgres://user:password@host:5432/name")
		}
		pg.RuntimeParams["timezone"] = "UTC"
		if pg.RuntimeParams["application_name"] == "" {
			pg.RuntimeParams["application_name"] = "idpsync"
		}
		stated := strings.Contains(dsn, execMode+"=")
		keeps := pg.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
		s.sql = stdlib.OpenDB(*pg, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			pooled, err := behindPooler(ctx, conn)
			switch {
			case err != nil:
				return err
			case pooled && !stated:
				return ErrPooled
			case pooled && !keeps:
				s.pooled.Store(true)
				return nil // a setting would stay in a session that is not ours
			}
			return withoutJIT(ctx, conn)
		}))
		s.sql.SetMaxOpenConns(20)
		s.sql.SetMaxIdleConns(10)
		s.sql.SetConnMaxIdleTime(5 * time.Minute)
		s.d = postgresDialect
		dialector = postgres.New(postgres.Config{Conn: s.sql})
	default:
		return nil, fmt.Errorf("open database: scheme %q, want sqlite:// or postgres://", scheme)
	}
	if s.db, err = gorm.Open(dialector, &config); err != nil {
		_ = s.sql.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	return s, nil
}

// maxPrepared bounds the statements that SQLite keeps prepared: clients' filters make ever new ones.
const maxPrepared = 500

// execMode is the parameter of a PostgreSQL URL that says whether statements are prepared, and kept in the session.
const execMode = "default_query_exec_mode"

// behindPooler tells whether somebody stands between this connection and the server: the process that the server says it
// is, is not the one that was introduced.
func behindPooler(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var pid uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		return false, fmt.Errorf("ask the server who it is: %w", err)
	}
	return pid != conn.PgConn().PID(), nil
}

// withoutJIT keeps PostgreSQL from compiling expressions of a filter, which takes many times what it saves. It is no
// parameter of the connection, which poolers in between may not know.
func withoutJIT(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "SET jit = off"); err != nil {
		return fmt.Errorf("switch compilation off: %w", err)
	}
	return nil
}

// Close closes the database.
func (s *Store) Close() error { return s.sql.Close() }

// DB returns the connection pool, for its statistics and for tests that work behind the store's back.
func (s *Store) DB() *sql.DB { return s.sql }

// Dialect returns "postgres" or "sqlite".
func (s *Store) Dialect() string { return s.d.name }

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.sql.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return nil
}

// InTx runs f in a transaction and commits it when f returns nil. Where the database asks for it (serialization
// failure, deadlock, busy), f runs again, at most five times: it must have no side effects of its own.
func (s *Store) InTx(ctx context.Context, f func(*Tx) error) (err error) {
	ctx, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("idpsync/store").Start(ctx, "transaction")
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, "") // the text may name people
		}
		span.End()
	}()
	for attempt := range 5 {
		if attempt > 0 {
			pause := time.Duration(1<<attempt)*5*time.Millisecond + rand.N(10*time.Millisecond)
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(pause):
			}
		}
		if err = s.tryTx(ctx, f); err == nil || !isRetryable(err) {
			return err
		}
	}
	return err
}

// writerTurn waits until no other goroutine writes to SQLite, in the order of coming, and returns what ends the turn.
// SQLite itself has no order: whoever writes one transaction after the other keeps the rest waiting until they give up,
// and among these is whoever renews the lease of the run that is writing.
func (s *Store) writerTurn(ctx context.Context) (end func(), err error) {
	if s.d.postgres() {
		return func() {}, nil
	}
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// exec is reader's, in its turn.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	end, err := s.writerTurn(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	return s.reader.exec(ctx, statement, args...)
}

func (s *Store) tryTx(ctx context.Context, f func(*Tx) error) (err error) {
	end, err := s.writerTurn(ctx)
	if err != nil {
		return err
	}
	defer end()
	if !s.d.postgres() {
		tx := &Tx{}
		err := s.db.WithContext(ctx).Transaction(func(db *gorm.DB) error {
			tx.reader = reader{db: db, d: s.d}
			return f(tx)
		})
		if err == nil {
			s.tally.add(ctx, tx.recorded)
		}
		return err
	}
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer conn.Close()
	begun, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer begun.Rollback() //nolint:errcheck // after a commit it reports ErrTxDone
	db := s.db.Session(&gorm.Session{NewDB: true, Context: ctx})
	db.Statement.ConnPool = begun
	tx := &Tx{reader: reader{db: db, d: s.d}, conn: conn}
	if err := f(tx); err != nil {
		return err
	}
	if err := begun.Commit(); err != nil {
		return translate(fmt.Errorf("commit: %w", err))
	}
	s.tally.add(ctx, tx.recorded)
	return nil
}

// Now returns the database's time, which all replicas share.
func (r reader) Now(ctx context.Context) (time.Time, error) {
	if !r.d.postgres() {
		return time.Now().UTC().Truncate(time.Microsecond), nil
	}
	var now time.Time
	if err := r.raw(ctx, "SELECT clock_timestamp()").Scan(&now).Error; err != nil {
		return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
	}
	return now.UTC(), nil
}

// utc is the form in which times are written: UTC, microseconds, NULL for zero.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Microsecond)
	return &t
}

// stamp is utc for columns that are never NULL.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// timeOf reads what utc wrote.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
