package cli_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
)

// TestServe_HostileClients: whatever clients without a key do to the program, and one with a key sends, those who ask
// properly are answered soon, and its memory stays what it was.
func TestServe_HostileClients(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		dir, env := furnished(t, newHouse(t, dsn), "listen: 127.0.0.1:0\ndatabase: ${DATABASE}\nscim: {enabled: true}\n")
		output(t, dir, env, "admin", "create", "scim@acme.test", "--scim")
		key := strings.TrimSpace(output(t, dir, env, "keys", "create", "--user", "scim@acme.test", "--name", "push"))
		p := start(t, dir, env, "serve")
		v := &victim{t: t, url: p.url(), key: key}
		v.stillAnswers("at first")
		v.guess(400)
		before := resident(t, p)

		slow := v.holdHeaders(300)
		v.stillAnswers("with clients in the middle of their headers")
		v.guess(1600)
		v.stillAnswers("after wrong keys")
		const gigabyte = 1 << 30
		v.upload(gigabyte, fmt.Sprintf("Authorization: Bearer %s\r\nContent-Length: %d\r\n", key, gigabyte), "413")
		v.upload(gigabyte, "Authorization: Bearer "+key+"\r\nTransfer-Encoding: chunked\r\n", "413")
		v.upload(gigabyte, fmt.Sprintf("Content-Length: %d\r\n", gigabyte), "401")
		v.upload(0, "X-Long: "+strings.Repeat("a", 1<<20)+"\r\n", "431")
		v.stillAnswers("after large bodies")
		for _, conn := range slow {
			_ = conn.Close()
		}
		// A quarter of one of the bodies: the race detector needs room.
		if after := resident(t, p); after-before > gigabyte/4 {
			t.Errorf("the program holds %d MB, before it were %d MB", after>>20, before>>20)
		}
		p.end(syscall.SIGTERM)
		if strings.Contains(p.errs(), `"level":"ERROR"`) || strings.Contains(p.errs(), `"level":"WARN"`) {
			t.Error("the log complains")
		}
	})
}

// victim is a program under attack.
type victim struct {
	t        *testing.T
	url, key string
}

// stillAnswers asks properly, on a new connection.
func (v *victim) stillAnswers(when string) {
	v.t.Helper()
	began := time.Now()
	for range 5 {
		if status, body := get(v.t, v.url+"/scim/v2/Users?count=1", v.key); status != http.StatusOK {
			v.t.Errorf("%s: %d %s", when, status, body)
		}
	}
	if took := time.Since(began); took > soon {
		v.t.Errorf("%s five requests took %s", when, took)
	}
}

// guess tries keys that have the form of keys, each of which the program has to look for.
func (v *victim) guess(n int) {
	v.t.Helper()
	var guessers sync.WaitGroup
	for range 8 {
		guessers.Go(func() {
			for range n / 8 {
				if status, err := v.status(apikey.Generate().Reveal()); status != http.StatusUnauthorized {
					v.t.Errorf("a wrong key: %d, %v", status, err)
				}
			}
		})
	}
	began := time.Now()
	v.stillAnswers("among wrong keys")
	if took := time.Since(began); took > soon {
		v.t.Errorf("among wrong keys five requests took %s", took)
	}
	guessers.Wait()
}

func (v *victim) status(key string) (int, error) {
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.url+"/scim/v2/Users", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close() // what it held was read
	return res.StatusCode, err
}

func (v *victim) dial() net.Conn {
	v.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(v.url, "http://"))
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		v.t.Fatal(err)
	}
	return conn
}

// holdHeaders opens connections that stop in the middle of a header.
func (v *victim) holdHeaders(n int) []net.Conn {
	v.t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = v.dial()
		if _, err := io.WriteString(conns[i], "POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			v.t.Fatal(err)
		}
	}
	return conns
}

// upload sends a header and as much of a body as is taken, and wants a status.
func (v *victim) upload(size int, header, status string) {
	v.t.Helper()
	conn := v.dial()
	defer conn.Close()
	go func() { // until the program takes no more
		_, err := io.WriteString(conn, "POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\n"+header+"\r\n")
		block := bytes.Repeat([]byte(" "), 64<<10)
		chunked := strings.Contains(header, "chunked")
		for sent := 0; err == nil && sent < size; sent += len(block) {
			if chunked {
				_, err = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(block), block)
			} else {
				_, err = conn.Write(block)
			}
		}
	}()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+status) {
		v.t.Errorf("a body of %d bytes, %.40q: %q, %v, want %s", size, header, line, err, status)
	}
}

// resident returns the bytes of memory that a program holds, where the system tells it, else 0.
func resident(t *testing.T, p *process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmRSS in %s", status)
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
