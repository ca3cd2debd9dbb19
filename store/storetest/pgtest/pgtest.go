package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Env names the environment variable that holds the DSN of a server to use instead of starting one. The role in it
// needs the right to CREATE DATABASE.
const Env = "IDPSYNC_TEST_POSTGRES"

// timeout bounds each step: a server that does not answer must not hang a test run.
const timeout = 60 * time.Second

// server returns the DSN of the server that this process uses, starting one at the first call.
var server = sync.OnceValues(func() (string, error) {
	if dsn := os.Getenv(Env); dsn != "" {
		return dsn, nil
	}
	cluster, err := Start()
	if err != nil {
		return "", err
	}
	return cluster.DSN(), nil // never stopped here: it ends when this process does
})

// DSN returns the DSN of a fresh, empty database, which is dropped when the test ends.
func DSN(t testing.TB) string {
	t.Helper()
	// A clone of a template of ours takes a third of a clone of template0.
	return Template(t, "empty", func(string) error { return nil })
}

// Template returns the DSN of a fresh copy of the database that prepare made, which is dropped when the test ends.
// Prepare runs once for each key and server, in whichever process comes first; it must close its connections. The key
// names what prepare makes (a hash of the migrations, say): a server that outlives the run keeps its templates.
func Template(t testing.TB, key string, prepare func(dsn string) error) string {
	t.Helper()
	dsn := admin(t)
	name, err := template(t.Context(), dsn, key, prepare)
	if err != nil {
		t.Fatalf("prepare the template database %q: %v", key, err)
	}
	return clone(t, dsn, name)
}

func admin(t testing.TB) string {
	t.Helper()
	dsn, err := server()
	if err != nil {
		t.Fatalf("start a PostgreSQL for this test: %v", err)
	}
	return dsn
}

func clone(t testing.TB, adminDSN, from string) string {
	t.Helper()
	name := "idps_" + randomName()
	if err := create(t.Context(), adminDSN, name, from); err != nil {
		t.Fatalf("create a database for this test on %s: %v", where(adminDSN), err)
	}
	t.Cleanup(func() {
		if err := exec(context.Background(), adminDSN, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	dsn, err := withDatabase(adminDSN, name)
	if err == nil && os.Getenv(PooledEnv) != "" {
		var through string
		if through, err = pooler(); err == nil {
			dsn, err = withDatabase(through, name)
		}
	}
	if err != nil {
		t.Fatalf("read %s: %v", Env, err)
	}
	return dsn
}

// PooledEnv names the environment variable that has tests reach their databases through PgBouncer in transaction mode.
const PooledEnv = "IDPSYNC_TEST_POOLED"

// pooler returns the DSN of this process's pooler, starting it at the first call.
var pooler = sync.OnceValues(func() (string, error) {
	dsn, err := server()
	if err != nil {
		return "", err
	}
	p, err := StartPooler(dsn)
	if err != nil {
		return "", err
	}
	return p.DSN(), nil // it ends when this process does
})

// made remembers the templates that this process has seen, so that each is looked up once.
var made struct {
	sync.Mutex
	byKey map[string]func() (string, error)
}

func template(ctx context.Context, adminDSN, key string, prepare func(dsn string) error) (string, error) {
	made.Lock()
	if made.byKey == nil {
		made.byKey = map[string]func() (string, error){}
	}
	once := made.byKey[key]
	if once == nil {
		once = sync.OnceValues(func() (string, error) {
			// One test's end must not cancel what others wait for.
			return prepareTemplate(context.WithoutCancel(ctx), adminDSN, key, prepare)
		})
		made.byKey[key] = once
	}
	made.Unlock()
	return once()
}

// prepareTemplate makes the template for key unless the server has it. An advisory lock keeps other processes on the
// same server out; the rename at the end makes the template appear whole or not at all.
func prepareTemplate(ctx context.Context, adminDSN, key string, prepare func(dsn string) error) (string, error) {
	sum := sha256.Sum256([]byte(key))
	name := "idps_template_" + hex.EncodeToString(sum[:8])
	ctx, cancel := context.WithTimeout(ctx, 5*timeout)
	defer cancel()
	conn, err := connect(ctx, adminDSN)
	if err != nil {
		return "", err
	}
	defer closeConn(conn)
	lock := int64(binary.BigEndian.Uint64(sum[8:16]))
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
		return "", fmt.Errorf("wait for other processes: %w", err)
	}
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return "", err
	}
	if exists {
		return name, nil
	}
	draft := name + "_" + randomName()
	if err := create(ctx, adminDSN, draft, "template0"); err != nil {
		return "", err
	}
	dsn, err := withDatabase(adminDSN, draft)
	if err == nil {
		err = prepare(dsn)
	}
	if err == nil {
		err = retryWhileInUse(ctx, func() error {
			_, err := conn.Exec(ctx, "ALTER DATABASE "+draft+" RENAME TO "+name)
			return err
		})
	}
	if err != nil {
		_, dropErr := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+draft+" WITH (FORCE)")
		return "", errors.Join(err, dropErr)
	}
	return name, nil
}

func create(ctx context.Context, adminDSN, name, from string) error {
	return retryWhileInUse(ctx, func() error {
		return exec(ctx, adminDSN, "CREATE DATABASE "+name+" TEMPLATE "+from)
	})
}

// retryWhileInUse repeats do while the server says that a database has other sessions: one just closed by its client,
// or an autovacuum worker.
func retryWhileInUse(ctx context.Context, do func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := do()
		var pg *pgconn.PgError
		if err == nil || !errors.As(err, &pg) || pg.Code != "55006" || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func exec(ctx context.Context, dsn, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = conn.Exec(ctx, sql)
	return err
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return pgx.ConnectConfig(ctx, config)
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_ = conn.Close(ctx) // the session ends with the socket either way
}

// withDatabase returns dsn, a URL or keywords, with another database in it.
func withDatabase(dsn, name string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " dbname=" + name, nil // the last one counts
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the DSN is not a URL") // the parser's own text would repeat the password
	}
	u.Path = "/" + name
	query := u.Query()
	query.Del("dbname")
	query.Del("database")
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// where says which server is meant, without credentials.
func where(dsn string) string {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return Env
	}
	return fmt.Sprintf("%s port %d", config.Host, config.Port)
}

func randomName() string { return strings.ToLower(rand.Text()[:12]) }
