//go:build unix

package httpserver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
)

// holdAddr is the environment variable that makes the test binary a client that holds connections: each end of a
// connection is an open file, and one process may not have enough of them for both.
const holdAddr = "IDPSYNC_HOLD_CONNECTIONS"

func TestMain(m *testing.M) {
	if addr := os.Getenv(holdAddr); addr != "" {
		if err := hold(addr); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// hold opens as many connections as the first line of its input says, uses each once, says how many there are, and for
// every line that follows how many the server has not closed.
func hold(addr string) error {
	input := bufio.NewReader(os.Stdin)
	var n int
	if _, err := fmt.Fscanln(input, &n); err != nil {
		return err
	}
	var open, up atomic.Int64
	var dialers sync.WaitGroup
	next := make(chan struct{})
	for range 64 {
		dialers.Go(func() {
			for range next {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					continue
				}
				if used(conn) != nil {
					_ = conn.Close()
					continue
				}
				up.Add(1)
				open.Add(1)
				go func() {
					_, _ = io.Copy(io.Discard, conn) // until the server closes it
					open.Add(-1)
				}()
			}
		})
	}
	for range n {
		next <- struct{}{}
	}
	close(next)
	dialers.Wait()
	fmt.Println(up.Load())
	for {
		if _, err := input.ReadString('\n'); err != nil {
			return nil // the test is over
		}
		fmt.Println(open.Load())
	}
}

// used says a request on a connection and reads the answer.
func used(conn net.Conn) error {
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// holder is the process that holds connections.
type holder struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startHolder(t *testing.T, addr string) *holder {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holdAddr+"="+addr)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // the context's end kills it
	})
	return &holder{t, in, bufio.NewReader(out)}
}

// ask says a line and returns the number that comes back.
func (h *holder) ask(line string) (n int) {
	h.t.Helper()
	_, err := io.WriteString(h.in, line+"\n")
	if err == nil {
		_, err = fmt.Fscanln(h.out, &n)
	}
	if err != nil {
		h.t.Fatalf("the process that holds connections: %v", err)
	}
	return n
}

// connections is how many a test can have: 10,000 where this process may have as many files open.
func connections(t *testing.T) int {
	t.Helper()
	n := min(10_000, openFiles(t)-500)
	if n < 2000 {
		t.Fatalf("%d files may be open, which is too few to tell anything", openFiles(t))
	}
	return n
}

func openFiles(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, 1<<20))
}

// Thousands of clients that keep their connections cost little memory and nobody's time, and lose them in the end.
func TestIdleConnections(t *testing.T) {
	n := connections(t)
	const idle = 3 * time.Second
	r := start(t, httpserver.Options{Limits: httpserver.Limits{Conns: n + 100, Idle: idle}}) // not parallel: it measures memory
	before := memory()
	began := time.Now()
	h := startHolder(t, r.Addr().String())
	if up := h.ask(fmt.Sprint(n)); up != n {
		t.Errorf("%d of %d connections were served", up, n)
	}
	held, took := h.ask(""), time.Since(began)
	perConn := (memory() - before) / int64(max(1, held))
	slowest := time.Duration(0)
	for range 20 {
		began := time.Now()
		c := r.dial(t)
		c.say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if res, body := c.answer(); res.StatusCode != http.StatusOK {
			t.Errorf("a request beside idle connections: %d %s", res.StatusCode, body)
		}
		slowest = max(slowest, time.Since(began))
	}
	still := h.ask("")
	t.Logf("%d connections in %s, %d idle at once and %d after the requests; %d bytes for each; a request took %s at most", n, took, held, still, perConn, slowest)
	// On a machine so slow that the first were dropped before the last had come, fewer are idle at once.
	if held < 2000 {
		t.Errorf("%d connections were idle at once, want 2,000 at least", held)
	}
	if slowest > 2*time.Second {
		t.Errorf("a request beside %d idle connections took %s", held, slowest)
	}
	if perConn > 64<<10 {
		t.Errorf("an idle connection takes %d bytes", perConn)
	}
	for deadline := time.Now().Add(idle + patience); h.ask("") > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open long after the idle timeout", h.ask(""))
		}
	}
	if took := time.Since(began); took < idle {
		t.Errorf("the connections were dropped after %s, before the idle timeout", took)
	}
}

// memory returns what the program holds, stacks included.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// Unless it is told otherwise, a server leaves files for the rest of the program.
func TestConnectionsAreBoundedByTheOpenFiles(t *testing.T) {
	t.Parallel()
	r := start(t, httpserver.Options{})
	r.awaitLog(t, fmt.Sprintf("max_connections=%d\n", min(10_000, openFiles(t)/2)))
}
