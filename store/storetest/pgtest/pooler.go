package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PoolerEnv names the environment variable that holds the path of pgbouncer, where it is not found by its name.
const PoolerEnv = "IDPSYNC_TEST_PGBOUNCER"

// ErrNoPooler says that there is no PgBouncer, and what to install.
var ErrNoPooler = errors.New("no pgbouncer found (PATH, /usr/sbin); install it (Debian, Ubuntu: apt-get install pgbouncer) or set " + PoolerEnv + " to its path")

// PoolerInstalled returns nil where there is a PgBouncer, else ErrNoPooler.
func PoolerInstalled() error {
	_, err := findPooler()
	return err
}

func findPooler() (string, error) {
	if path := os.Getenv(PoolerEnv); path != "" {
		return path, nil
	}
	if path, err := osexec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	if path := "/usr/sbin/pgbouncer"; isExecutable(path) {
		return path, nil
	}
	return "", ErrNoPooler
}

// Pooled returns the DSN of the database that another DSN names, through a PgBouncer in transaction mode that ends with
// the test. A test for which there is none is skipped.
func Pooled(t testing.TB, dsn string) string {
	t.Helper()
	p, err := StartPooler(dsn)
	if errors.Is(err, ErrNoPooler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.done:
			t.Errorf("pgbouncer ended before it was asked to: %v", p.err)
		default:
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p.DSN()
}

// Pooler is a running PgBouncer in transaction mode. It ends at Stop, or with the process that started it.
type Pooler struct {
	dir  string
	dsn  string
	life io.Closer
	done chan struct{}
	err  error
}

// StartPooler starts a PgBouncer before the server that a DSN names. Its few sessions are shared by all who connect.
func StartPooler(dsn string) (*Pooler, error) {
	program, err := findPooler()
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("start pgbouncer: the DSN cannot be read")
	}
	owner, err := findOwner()
	if err != nil {
		return nil, err
	}
	dir, err := makeDir(owner)
	if err != nil {
		return nil, err
	}
	password := ""
	if config.Password != "" {
		password = " password=" + config.Password
	}
	settings := fmt.Sprintf("[databases]\n* = host=%s port=%d user=%s%s\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = %s\n"+
		"auth_type = any\npool_mode = transaction\nmax_client_conn = 300\ndefault_pool_size = 6\n", config.Host, config.Port, config.User, password, dir)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	query := url.Values{"host": {dir}, "port": {"6432"}, "sslmode": {"disable"}, "default_query_exec_mode": {"exec"}}
	p := &Pooler{dir: dir, dsn: "postgres://" + url.User(config.User).String() + "@/" + config.Database + "?" + query.Encode(), done: make(chan struct{})}
	// A shell lets what it starts in the background ignore QUIT, and pgbouncer leaves it at that.
	script := strings.Replace(supervise, "-QUIT", "-TERM", 1)
	cmd := command(dir, owner, "sh", "-c", script, "sh", dir, program, file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if p.life, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start pgbouncer: %w", err), os.RemoveAll(dir))
	}
	go func() {
		defer close(p.done)
		if err := cmd.Wait(); err != nil {
			p.err = fmt.Errorf("%w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
		}
	}()
	if err := p.awaitReady(); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// DSN returns the DSN of the database through the pooler.
func (p *Pooler) DSN() string { return p.dsn }

// Stop ends the pooler and removes its files. It may be called more than once.
func (p *Pooler) Stop() error {
	_ = p.life.Close() // a second close reports an error of no interest
	select {
	case <-p.done:
	case <-time.After(timeout):
		return fmt.Errorf("pgbouncer in %s did not end within %s", p.dir, timeout)
	}
	return os.RemoveAll(p.dir)
}

func (p *Pooler) awaitReady() error {
	return awaitReady("pgbouncer", p.dsn, p.done, func() error { return p.err })
}
