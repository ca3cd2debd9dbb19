package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

// patience is for what has to happen soon, on a machine that may be busy.
const patience = 20 * time.Second

// oneKey is an Authenticator that knows the key "good".
type oneKey struct{}

func (oneKey) Authenticate(_ context.Context, bearer string, _ ...*store.UserLookup) (scim.Principal, error) {
	if bearer != "good" {
		return scim.Principal{}, scim.ErrUnauthenticated
	}
	return scim.Principal{KeyID: "k", UserID: "u", Source: "scim:k", Provisioner: true}, nil
}

// serveSCIM starts a server with the SCIM endpoint behind it.
func serveSCIM(t *testing.T, o httpserver.Options) *running {
	t.Helper()
	s := storetest.SQLite(t)
	applier, err := lifecycle.New(lifecycle.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	if o.Handler, err = scim.New(scim.Options{
		Store: s, Applier: applier, Auth: oneKey{}, BaseURL: "http://x.example", RequestsPerMinute: -1,
	}); err != nil {
		t.Fatal(err)
	}
	return start(t, o)
}

// client is a connection on which anything at all can be said.
type client struct {
	net.Conn
	t      *testing.T
	reader *bufio.Reader
}

func (r *running) dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{conn, t, bufio.NewReader(conn)}
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Errorf("write: %v", err)
	}
}

// answer reads a final answer with its body.
func (c *client) answer() (*http.Response, string) {
	c.t.Helper()
	for {
		res, err := http.ReadResponse(c.reader, nil)
		if err != nil {
			c.t.Fatalf("no answer: %v", err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			c.t.Fatalf("half an answer: %v", err)
		}
		if res.StatusCode >= 200 {
			return res, string(body)
		}
	}
}

// ends waits until the server has closed the connection.
func (c *client) ends() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.reader)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		c.t.Errorf("the connection is still open after %s", patience)
	}
}

// drip writes a text byte by byte until it is through or the connection ends.
func (c *client) drip(text string, every time.Duration) {
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(every)
	}
}

// isSCIMError wants an error of RFC 7644, section 3.12.
func isSCIMError(t *testing.T, res *http.Response, body string, status int) {
	t.Helper()
	var e struct {
		Schemas        []string
		Status, Detail string
	}
	err := json.Unmarshal([]byte(body), &e)
	if res.StatusCode != status || err != nil || e.Status != fmt.Sprint(status) || e.Detail == "" || len(e.Schemas) != 1 ||
		e.Schemas[0] != "urn:ietf:params:scim:api:messages:2.0:Error" || res.Header.Get("Content-Type") != "application/scim+json" {
		t.Errorf("answer %d %s %s, want a SCIM error %d", res.StatusCode, res.Header.Get("Content-Type"), body, status)
	}
}

const (
	auth = "Authorization: Bearer good\r\n"
	get  = "GET /scim/v2/Users?count=0 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n"
	ann  = `{"userName":"ann@x.example","name":{"givenName":"Ann","familyName":"Lee"},"emails":[{"value":"ann@x.example","primary":true}]}`
)

// Clients that take their time over a header are cut, while others are answered.
func TestSlowHeadersAreCut(t *testing.T) {
	t.Parallel()
	r := serveSCIM(t, httpserver.Options{Limits: httpserver.Limits{ReadHeader: 400 * time.Millisecond}})
	var slow sync.WaitGroup
	began := time.Now()
	for i := range 60 {
		c := r.dial(t)
		slow.Go(func() {
			switch i % 3 {
			case 0: // says nothing
			case 1:
				c.drip("GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-A: "+strings.Repeat("a", 1000), 20*time.Millisecond)
			case 2:
				for range 1000 {
					if _, err := io.WriteString(c, "X-A: b\r\n"); err != nil {
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
			c.ends()
		})
	}
	for range 10 {
		began := time.Now()
		if res, body := r.get(t, "/scim/v2/Users?count=0", "Authorization", "Bearer good"); res.StatusCode != http.StatusOK {
			t.Errorf("a request among slow ones: %d %s", res.StatusCode, body)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a request among slow ones took %s", took)
		}
	}
	slow.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("slow headers were cut after %s", took)
	}
}

// A TLS client that does not shake hands is cut as well.
func TestSlowHandshakesAreCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, 1)
	r := start(t, httpserver.Options{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		Limits: httpserver.Limits{ReadHeader: 200 * time.Millisecond},
	})
	silent, garbage := r.dial(t), r.dial(t)
	garbage.say("\x16\x03\x01\x02\x00\x01")
	silent.ends()
	garbage.ends()
	shaken, err := tls.Dial("tcp", r.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer shaken.Close()
	if err := shaken.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := shaken.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a client that shook hands and said nothing read %d bytes, %v", n, err)
	}
}

// A body that comes byte by byte is cut, and changes nothing.
func TestSlowBodiesAreCut(t *testing.T) {
	t.Parallel()
	r := serveSCIM(t, httpserver.Options{Limits: httpserver.Limits{Read: 500 * time.Millisecond}})
	for _, length := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n", len(ann)), "Transfer-Encoding: chunked\r\n\r\n7f\r\n"} {
		c := r.dial(t)
		began := time.Now()
		c.say("POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\n" + auth + length)
		go c.drip(ann, 50*time.Millisecond)
		res, body := c.answer()
		isSCIMError(t, res, body, http.StatusRequestTimeout)
		c.ends()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a slow body was cut after %s", took)
		}
	}
	if _, body := r.get(t, "/scim/v2/Users", "Authorization", "Bearer good"); !strings.Contains(body, `"totalResults":0`) {
		t.Errorf("half a body made a user: %s", body)
	}
}

// Bodies of a gigabyte are refused with little of them read and none of them kept.
func TestHugeBodiesAreRefused(t *testing.T) { // not parallel: it measures memory
	r := serveSCIM(t, httpserver.Options{})
	const gigabyte = 1 << 30
	for name, tc := range map[string]struct {
		path, header string
		chunked      bool
		status       int
	}{
		"with its length":           {"/scim/v2/Users", auth + fmt.Sprintf("Content-Length: %d\r\n", gigabyte), false, http.StatusRequestEntityTooLarge},
		"in chunks":                 {"/scim/v2/Users", auth + "Transfer-Encoding: chunked\r\n", true, http.StatusRequestEntityTooLarge},
		"without a key":             {"/scim/v2/Users", fmt.Sprintf("Content-Length: %d\r\n", gigabyte), false, http.StatusUnauthorized},
		"without a key, in chunks":  {"/scim/v2/Users", "Transfer-Encoding: chunked\r\n", true, http.StatusUnauthorized},
		"where no body is expected": {"/scim/v2/nosuch", auth + "Transfer-Encoding: chunked\r\n", true, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			c := r.dial(t)
			before := allocated()
			c.say("POST " + tc.path + " HTTP/1.1\r\nHost: x\r\n" + tc.header + "\r\n")
			var sent atomic.Int64
			go func() { // until the server takes no more
				block := bytes.Repeat([]byte(" "), 64<<10)
				for sent.Load() < gigabyte {
					if tc.chunked {
						if _, err := fmt.Fprintf(c, "%x\r\n", len(block)); err != nil {
							return
						}
					}
					n, err := c.Write(block)
					sent.Add(int64(n))
					if err != nil {
						return
					}
					if tc.chunked {
						if _, err := io.WriteString(c, "\r\n"); err != nil {
							return
						}
					}
				}
			}()
			res, body := c.answer()
			isSCIMError(t, res, body, tc.status)
			c.ends()
			// What the kernel holds on the way counts as sent.
			if n := sent.Load(); n > 32<<20 {
				t.Errorf("%d bytes were taken", n)
			}
			if grown := allocated() - before; grown > 16<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
		})
	}
}

// allocated returns what was allocated since the start, freed or not.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// A client that does not read its answer does not hold the handler for longer than the write timeout.
func TestUnreadAnswersAreCut(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	r := start(t, httpserver.Options{
		Limits: httpserver.Limits{Write: 300 * time.Millisecond},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			block := make([]byte, 1<<20)
			for range 1 << 10 {
				if _, err := w.Write(block); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}),
	})
	c := r.dial(t)
	c.say(get)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a gigabyte went to a client that does not read")
		}
	case <-time.After(patience):
		t.Error("the handler still writes")
	}
}

// What is no proper request is refused or answered, and never takes the server down.
func TestImproperRequests(t *testing.T) {
	t.Parallel()
	// A body that is announced and does not come is waited for as long as a request may take.
	r := serveSCIM(t, httpserver.Options{Limits: httpserver.Limits{Read: time.Second}})
	post := "POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\n" + auth
	for _, tc := range []struct {
		name, say string
		want      []int // statuses, one for each answer
		scim      bool  // the last one is a SCIM error
		open      bool  // the connection stays open
	}{
		{"two requests at once", get + get, []int{200, 200}, false, true},
		{"a request and garbage", get + "\x00\x01garbage\r\n\r\n", []int{200, 400}, false, false},
		{"garbage", "garbage\r\n\r\n", []int{400}, false, false},
		{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}, false, false},
		{"HTTP/1.0", "GET /scim/v2/Users HTTP/1.0\r\n" + auth + "\r\n", []int{200}, false, false},
		{"HTTP/1.0 without a key", "GET /scim/v2/Users HTTP/1.0\r\n\r\n", []int{401}, true, false},
		{"HTTP/0.9", "GET /scim/v2/Users\r\n\r\n", []int{400}, false, false},
		{"HTTP/9.9", "GET /scim/v2/Users HTTP/9.9\r\nHost: x\r\n\r\n", []int{505}, false, false},
		{"no host", "GET /scim/v2/Users HTTP/1.1\r\n\r\n", []int{400}, false, false},
		{"two hosts", "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", []int{400}, false, false},
		{"a host of garbage", "GET /scim/v2/Users HTTP/1.1\r\nHost: x y\r\n\r\n", []int{400}, false, false},
		{"a header of a megabyte", "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", []int{431}, false, false},
		{"a megabyte of headers", "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 1<<17) + "\r\n", []int{431}, false, false},
		{"a path of a megabyte", "GET /scim/v2/" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{431}, false, false},
		{"a key of 30 kilobytes", "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("a", 30<<10) + "\r\n\r\n", []int{401}, true, true},
		{"NUL in a header", "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\nX-A: \x00\r\n\r\n", []int{400}, false, false},
		{"a header without a name", "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", []int{400}, false, false},
		{"a folded header", "GET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n" + strings.TrimRight(auth, "\r\n") + "\r\n \r\n\r\n", []int{200}, false, true},
		{"an absurd length", post + "Content-Length: 99999999999999999999\r\n\r\n", []int{400}, false, false},
		{"a length that just fits", post + "Content-Length: 9223372036854775807\r\n\r\n", []int{413}, true, false},
		{"a negative length", post + "Content-Length: -1\r\n\r\n", []int{400}, false, false},
		{"two lengths", post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", []int{400}, false, false},
		{"a length and chunks: the chunks count", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get, []int{400, 200}, false, true},
		{"an unknown encoding", post + "Transfer-Encoding: gzip\r\n\r\n", []int{501}, false, false},
		{"chunks of garbage", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", []int{400}, true, false},
		{"a chunk longer than can be", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", []int{400}, true, false},
		{"no body at all", post + "\r\n", []int{400}, true, true},
		{"gzip", post + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", []int{415}, true, true},
		{"a form", post + "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b", []int{415}, true, true},
		{"to be continued", post + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(ann)) + ann, []int{201}, false, true},
		{"to be continued, and too large", post + "Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n", []int{413}, true, false},
		{"to be continued, without a key", "POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", []int{401}, true, false},
		{"an expectation that cannot be met", post + "Expect: the Spanish Inquisition\r\nContent-Length: 2\r\n\r\n{}", []int{417}, false, false},
		{"a method nobody knows", "BREW /scim/v2/Users HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{405}, true, true},
		{"TRACE", "TRACE /scim/v2/Users HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{405}, true, true},
		{"a proxy's request", "GET http://other.example/scim/v2/Users?count=0 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{200}, false, true},
		{"CONNECT", "CONNECT db.internal:5432 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{404}, true, true},
		{"a path out of the root", "GET /scim/v2/../../etc/passwd HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{404}, true, true},
		{"bad escapes in the path", "GET /scim/v2/Users/%zz HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{400}, false, false},
		{"NUL in the path", "GET /scim/v2/Users/%00 HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{404}, true, true},
		{"bad escapes in the query", "GET /scim/v2/Users?filter=%zz HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", []int{400}, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := r.dial(t)
			go func() { _, _ = io.WriteString(c, tc.say) }() // it may be cut off
			var res *http.Response
			var body string
			for i, want := range tc.want {
				if res, body = c.answer(); res.StatusCode != want {
					t.Fatalf("answer %d is %d %s, want %d", i+1, res.StatusCode, body, want)
				}
			}
			if tc.scim {
				isSCIMError(t, res, body, tc.want[len(tc.want)-1])
			}
			if !tc.open {
				c.ends()
				return
			}
			c.say(get)
			if res, body := c.answer(); res.StatusCode != http.StatusOK {
				t.Errorf("the next request on the connection: %d %s", res.StatusCode, body)
			}
		})
	}
}

// With as many connections as there may be, those that wait longest make room: who has a request in work keeps it, and
// who comes with one is answered.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	entered, finish := make(chan struct{}), make(chan struct{})
	r := start(t, httpserver.Options{
		Limits: httpserver.Limits{Conns: 20},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/long" {
				close(entered)
				<-finish
			}
			_, _ = io.WriteString(w, "done")
		}),
	})
	long := r.dial(t)
	long.say("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	idle := r.dial(t)
	idle.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	idle.answer()
	var holding []*client
	for range 60 {
		c := r.dial(t)
		c.say("GET / HTTP/1.1\r\nX-Slow: ")
		holding = append(holding, c)
	}
	for range 40 { // each on a connection of its own
		c := r.dial(t)
		c.say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if res, body := c.answer(); res.StatusCode != http.StatusOK || body != "done" {
			t.Errorf("a client among those that hold connections: %d %s", res.StatusCode, body)
		}
	}
	idle.ends()
	for _, c := range holding[:40] {
		c.ends()
	}
	r.awaitLog(t, "too many connections")
	if n := strings.Count(r.log.String(), "too many connections"); n != 1 {
		t.Errorf("told %d times", n)
	}
	close(finish)
	if res, body := long.answer(); res.StatusCode != http.StatusOK || body != "done" {
		t.Errorf("the request in work: %d %s", res.StatusCode, body)
	}
}

// Thousands of requests with wrong keys leave nothing behind, and keep nobody from being answered.
func TestWrongKeysAreForgotten(t *testing.T) { // not parallel: it measures memory
	r := serveSCIM(t, httpserver.Options{})
	send := func(conn *http.Client, key string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL()+"/scim/v2/Users?count=0", nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := conn.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	attack := func(n int) {
		var guessers sync.WaitGroup
		for g := range 8 {
			guessers.Go(func() {
				conn := &http.Client{Transport: &http.Transport{}}
				defer conn.CloseIdleConnections()
				for i := range n / 8 {
					if status := send(conn, fmt.Sprintf("wrong-%d-%d", g, i)); status != http.StatusUnauthorized {
						t.Errorf("a wrong key: %d", status)
						return
					}
				}
			})
		}
		slowest := time.Duration(0)
		for range 20 {
			began := time.Now()
			if status := send(http.DefaultClient, "good"); status != http.StatusOK {
				t.Errorf("the right key among wrong ones: %d", status)
			}
			slowest = max(slowest, time.Since(began))
		}
		guessers.Wait()
		if slowest > 2*time.Second {
			t.Errorf("the right key among wrong ones waited %s", slowest)
		}
	}
	attack(800)
	before := inUse()
	attack(4000)
	// What the log has grown by is the test's own.
	if grown := inUse() - before - 4*int64(len(r.log.String())); grown > 8<<20 {
		t.Errorf("wrong keys left %d bytes behind", grown)
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// HTTP/2 has the same bounds.
func TestHTTP2IsBoundedToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writePair(t, dir, 1)
	r := serveSCIM(t, httpserver.Options{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		Limits: httpserver.Limits{Read: 500 * time.Millisecond},
	})
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	send := func(length int64, body io.Reader, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL()+"/scim/v2/Users", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Authorization", "Bearer good")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := client.Do(req)
		if err != nil {
			return nil, ""
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Errorf("half an answer: %v", err)
		}
		if res.ProtoMajor != 2 {
			t.Errorf("protocol %s", res.Proto)
		}
		return res, string(text)
	}
	for name, length := range map[string]int64{"with its length": 64 << 20, "without": -1} {
		res, body := send(length, io.LimitReader(spaces{}, 64<<20))
		if res == nil {
			t.Fatalf("a large body %s: no answer", name)
		}
		isSCIMError(t, res, body, http.StatusRequestEntityTooLarge)
	}
	slow, feed := io.Pipe()
	defer feed.Close()
	go func() { _, _ = io.WriteString(feed, ann[:10]) }()
	if res, body := send(-1, slow); res != nil {
		isSCIMError(t, res, body, http.StatusRequestTimeout)
	}
	if res, body := send(2, strings.NewReader("{}"), "X-A", strings.Repeat("a", 1<<20)); res != nil && res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of a megabyte: %d %s", res.StatusCode, body)
	}
	if res, body := send(int64(len(ann)), strings.NewReader(ann)); res == nil || res.StatusCode != http.StatusCreated {
		t.Errorf("a proper request afterwards: %v %s", res, body)
	}
}

// spaces reads as spaces without an end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
