package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNotInstalled says that no PostgreSQL server was found, and what to install.
var ErrNotInstalled = errors.New(`no PostgreSQL server found (PATH, /usr/lib/postgresql/*/bin, pg_config --bindir); install one:
	Debian, Ubuntu:  apt-get install postgresql
	Fedora, RHEL:    dnf install postgresql-server
	Alpine:          apk add postgresql
	macOS:           brew install postgresql
or set ` + Env + ` to the DSN of a server on which databases may be created`)

// Installed returns nil where there is a PostgreSQL to test with, running or to be started; else ErrNotInstalled.
func Installed() error {
	if os.Getenv(Env) != "" {
		return nil
	}
	_, err := findBinaries()
	return err
}

// Program returns the path of one of PostgreSQL's own programs, such as pgbench; ErrNotInstalled where it is missing.
func Program(name string) (string, error) {
	dir, err := findBinaries()
	if err == nil && isExecutable(filepath.Join(dir, name)) {
		return filepath.Join(dir, name), nil
	}
	if path, err := osexec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotInstalled)
}

// Cluster is a running throwaway PostgreSQL cluster. It ends at Stop, or with the process that started it.
type Cluster struct {
	dir  string
	dsn  string
	life io.Closer // the write end of the pipe that keeps the server alive
	cmd  *osexec.Cmd
	done chan struct{} // closed when the server has ended
	err  error         // why it ended, readable once done is closed
}

// supervise runs the server as a child and removes its directory afterwards. Standard input is a pipe whose other end
// only the starting process holds: when it closes, by Stop or by that process's death, the server is told to quit.
// (Pdeathsig would do on Linux only, and there follows the thread that forked instead of the process.)
const supervise = `
dir=$1; shift
exec 3<&0
"$@" >"$dir/log" 2>&1 3<&- &
pid=$!
(cat <&3; kill -QUIT "$pid") >/dev/null 2>&1 &
wait "$pid"; status=$?
tail -n 20 "$dir/log" >&2
cd /; rm -rf "$dir"
exit $status`

// Start starts a cluster: superuser postgres, no password, reachable through a Unix socket in a private directory.
func Start() (*Cluster, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	owner, err := findOwner()
	if err != nil {
		return nil, err
	}
	dir, err := makeDir(owner)
	if err != nil {
		return nil, err
	}
	cluster, err := start(bin, dir, owner)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return cluster, nil
}

func start(bin, dir string, owner *owner) (*Cluster, error) {
	data := filepath.Join(dir, "data")
	if err := initdb(bin, dir, data, owner); err != nil {
		return nil, err
	}
	query := url.Values{"host": {dir}, "port": {"5432"}, "sslmode": {"disable"}}
	c := &Cluster{
		dir:  dir,
		dsn:  "postgres://postgres@/postgres?" + query.Encode(),
		done: make(chan struct{}),
	}
	settings := []string{
		"unix_socket_directories=" + dir,
		"listen_addresses=",
		"port=5432",
		"max_connections=300",
		"fsync=off", "synchronous_commit=off", "full_page_writes=off", // nothing here outlives a crash
		"shared_buffers=128MB",
		"max_wal_size=4GB", // no checkpoints in the middle of a measurement
		"logging_collector=off",
		"log_min_messages=fatal", // tests provoke errors on purpose
		"timezone=UTC",
	}
	args := []string{"-c", supervise, "sh", dir, filepath.Join(bin, "postgres"), "-D", data}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	c.cmd = command(dir, owner, "sh", args...)
	var stderr bytes.Buffer
	c.cmd.Stderr = &stderr
	life, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.life = life
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the PostgreSQL server: %w", err)
	}
	go func() {
		defer close(c.done)
		if err := c.cmd.Wait(); err != nil {
			c.err = fmt.Errorf("%w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
		}
	}()
	if err := c.awaitReady(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// DSN returns the DSN of the cluster's own database, from which others are created.
func (c *Cluster) DSN() string { return c.dsn }

// Crash kills one of the server's processes: the server throws everybody out, recovers, and takes connections again. It
// returns when everybody is out.
func (c *Cluster) Crash() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := connect(ctx, c.dsn)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	var pid int
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return err
	}
	witness, err := connect(ctx, c.dsn)
	if err != nil {
		return err
	}
	defer closeConn(witness)
	backend, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := backend.Kill(); err != nil {
		return err
	}
	for { // until the server has noticed
		if _, err := witness.Exec(ctx, "SELECT 1"); err != nil {
			return ctx.Err()
		}
	}
}

// Stop ends the server and removes its files. It may be called more than once.
func (c *Cluster) Stop() error {
	_ = c.life.Close() // a second close reports an error of no interest
	select {
	case <-c.done:
	case <-time.After(timeout):
		return fmt.Errorf("the PostgreSQL server in %s did not end within %s", c.dir, timeout)
	}
	// The supervisor has removed the files, except where the directory's parent belongs to somebody else.
	return os.RemoveAll(c.dir)
}

func (c *Cluster) awaitReady() error {
	return awaitReady("the PostgreSQL server", c.dsn, c.done, func() error { return c.err })
}

// awaitReady waits until a server lets somebody in, or has ended.
func awaitReady(what, dsn string, done <-chan struct{}, ended func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		conn, err := connect(ctx, dsn)
		if err == nil {
			closeConn(conn)
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("%s ended at once: %w", what, ended())
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer within %s: %w", what, timeout, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func initdb(bin, dir, data string, owner *owner) error {
	// C.UTF-8 knows letter case beyond ASCII, as a production database does; not every system has it.
	var failures []error
	for _, locale := range []string{"C.UTF-8", "C"} {
		cmd := command(dir, owner, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "--auth=trust",
			"--encoding=UTF8", "--locale="+locale, "--no-sync", "--no-instructions")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("initdb with the locale %s: %w\n%s", locale, err, bytes.TrimSpace(out)))
	}
	return errors.Join(failures...)
}

// command returns a command that runs as owner in dir, in a process group of its own (an interrupt typed at the
// terminal must reach the tests first), with nothing of this process's PG* environment.
func command(dir string, owner *owner, name string, args ...string) *osexec.Cmd {
	cmd := osexec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + dir}
	cmd.SysProcAttr = owner.sysProcAttr()
	return cmd
}

// findBinaries returns the directory that holds both initdb and postgres: of PATH's, or else the newest installed.
func findBinaries() (string, error) {
	var candidates []string
	if path, err := osexec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			candidates = append(candidates, filepath.Dir(real))
		}
		candidates = append(candidates, filepath.Dir(path))
	}
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(installed, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	candidates = append(candidates, installed...)
	if out, err := osexec.Command("pg_config", "--bindir").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	for _, dir := range candidates {
		if isExecutable(filepath.Join(dir, "postgres")) && isExecutable(filepath.Join(dir, "initdb")) {
			return dir, nil
		}
	}
	return "", ErrNotInstalled
}

func majorVersion(bindir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bindir))) // what is no number sorts last
	return n
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// maxSocketDir leaves room for the socket's name in the 104 bytes that the tightest system grants a socket's path.
const maxSocketDir = 80

// makeDir makes the cluster's directory where its owner can reach it, and may remove it again.
func makeDir(owner *owner) (string, error) {
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm"} {
		if len(base) > maxSocketDir-20 || !owner.canUse(base) {
			continue
		}
		dir, err := os.MkdirTemp(base, "idps-pg-")
		if err != nil {
			continue
		}
		if err := owner.take(dir); err != nil {
			return "", errors.Join(err, os.Remove(dir))
		}
		return dir, nil
	}
	return "", fmt.Errorf("no temporary directory is usable by %s; set TMPDIR to one that everybody may write to", owner)
}
