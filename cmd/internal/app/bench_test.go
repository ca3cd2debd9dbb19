package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// rounds is how often two things are measured in turn; their medians are reported.
const rounds = 5

// BenchmarkPushRead measures the reads that identity providers do most, with a real key, beside pgbench's prepared select
// of one row on the same server: through the whole handler in this process, and over HTTP; with one client, and with eight
// at once. "of-pgbench" is requests a second over pgbench's transactions a second.
func BenchmarkPushRead(b *testing.B) {
	pgbench, err := pgtest.Program("pgbench")
	if err != nil {
		b.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(200)) // as the program does
	p := startPush(b, pgtest.DSN(b))
	p.run(b, pgbench, "-i", "-q", "-s", "1")
	few := map[string]float64{} // requests a second with few users
	for _, n := range []int{1_000, 100_000} {
		p.fill(b, n)
		for _, read := range []struct{ name, target string }{
			{"get", "/Users/" + p.ids[n/2]},
			{"filter", "/Users?filter=" + url.QueryEscape(fmt.Sprintf(`userName eq "USER%d@x.example"`, n/2))},
		} {
			for _, way := range []struct {
				name   string
				client func(target string, until time.Time) (int, error)
			}{{"handler", p.caller}, {"http", p.client}} {
				for _, clients := range []int{1, 8} {
					name := fmt.Sprintf("%s/%s/clients=%d", read.name, way.name, clients)
					b.Run(fmt.Sprintf("%s/users=%d", name, n), func(b *testing.B) {
						var ours, theirs []float64
						for range rounds {
							theirs = append(theirs, p.pgbench(b, pgbench, clients))
							ours = append(ours, load(b, clients, func(until time.Time) (int, error) { return way.client(read.target, until) }))
						}
						rate := median(ours)
						b.ReportMetric(0, "ns/op")
						b.ReportMetric(rate, "req/s")
						b.ReportMetric(median(theirs), "pgbench-tx/s")
						b.ReportMetric(rate/median(theirs), "of-pgbench")
						if before, ok := few[name]; ok {
							b.ReportMetric(before/rate, "x-of-1000-users")
						} else {
							few[name] = rate
						}
					})
				}
			}
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// push is the running program with a key.
type push struct {
	dsn, key string
	url      *url.URL
	app      *app.App
	handler  http.Handler
	ids      []string
}

func startPush(b *testing.B, dsn string) *push {
	b.Helper()
	config, err := configs.Parse("idpsync.yaml", fmt.Appendf(nil,
		"listen: 127.0.0.1:0\ndatabase: %q\nscim: {enabled: true, requests_per_minute: 1000000000}\n", dsn))
	if err != nil {
		b.Fatal(err)
	}
	p := &push{dsn: dsn}
	if p.app, err = app.New(b.Context(), config, slog.New(slog.DiscardHandler)); err != nil {
		b.Fatal(err)
	}
	by := identity.Actor{Kind: "system", ID: "bench"}
	admin, err := p.app.Applier.CreateAdmin(b.Context(), by, "admin@x.example", "-", true)
	if err != nil {
		b.Fatal(err)
	}
	key := apikey.Generate()
	p.key = key.Reveal()
	err = p.app.Applier.CreateKey(b.Context(), by, store.Key{ID: key.ID(), UserID: admin.ID, Name: "bench", Source: "scim:bench", Hash: key.Hash(), Created: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	p.handler, err = scim.New(scim.Options{
		Store: p.app.Store, Applier: p.app.Applier, Auth: apikey.NewAuthenticator(p.app.Store, p.app.Logger, nil),
		BaseURL: "https://idpsync.example", RequestsPerMinute: 1_000_000_000,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	listening, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- p.app.Serve(ctx, func(url string) { listening <- url }) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		_ = p.app.Close()
	})
	select {
	case text := <-listening:
		if p.url, err = url.Parse(text); err != nil {
			b.Fatal(err)
		}
	case err := <-done:
		b.Fatal(err)
	}
	return p
}

// fill makes users until there are n.
func (p *push) fill(b *testing.B, n int) {
	b.Helper()
	for len(p.ids) < n {
		var users []identity.User
		for range min(5000, n-len(p.ids)) {
			i, id := len(p.ids), uuid.NewString()
			p.ids = append(p.ids, id)
			users = append(users, identity.User{
				ID: id, UserName: fmt.Sprintf("user%d@x.example", i), ExternalID: fmt.Sprintf("00u%d", i), Active: true, Version: 1,
				Origin: identity.OriginSSO, Source: "scim:bench", Attributes: identity.Attributes{
					"name":   map[string]any{"givenName": "User", "familyName": fmt.Sprint(i)},
					"emails": []any{map[string]any{"value": fmt.Sprintf("user%d@x.example", i), "type": "work", "primary": true}},
				},
			})
		}
		if err := p.app.Store.InTx(b.Context(), func(tx *store.Tx) error { return tx.InsertUsers(b.Context(), users) }); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := p.app.Store.DB().ExecContext(b.Context(), "ANALYZE"); err != nil {
		b.Fatal(err)
	}
}

func (p *push) run(b *testing.B, program string, args ...string) string {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), program, append(args, p.dsn)...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v: %s", program, err, out)
	}
	return string(out)
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench returns the selects of one row a second.
func (p *push) pgbench(b *testing.B, program string, clients int) float64 {
	b.Helper()
	found := tps.FindStringSubmatch(p.run(b, program, "-S", "-n", "-M", "prepared", "-T", "1", "-j", strconv.Itoa(min(2, clients)), "-c", strconv.Itoa(clients)))
	if found == nil {
		b.Fatal("pgbench prints no tps")
	}
	rate, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return rate
}

// load lets clients work for a second, each waiting for an answer before it asks again, and returns the requests a
// second.
func load(b *testing.B, clients int, client func(until time.Time) (int, error)) float64 {
	b.Helper()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		total int
		errs  []error
	)
	began := time.Now()
	for range clients {
		group.Go(func() {
			n, err := client(began.Add(time.Second))
			mu.Lock()
			defer mu.Unlock()
			total += n
			errs = append(errs, err)
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return float64(total) / time.Since(began).Seconds()
}

// caller calls the handler, without a network.
func (p *push) caller(target string, until time.Time) (n int, err error) {
	request := httptest.NewRequest(http.MethodGet, "/scim/v2"+target, nil)
	request.Header.Set("Authorization", "Bearer "+p.key)
	for ; time.Now().Before(until); n++ {
		answer := httptest.NewRecorder()
		p.handler.ServeHTTP(answer, request.Clone(context.Background()))
		if answer.Code != http.StatusOK || answer.Body.Len() < 500 {
			return n, fmt.Errorf("answer %d of %d bytes holds no user", answer.Code, answer.Body.Len())
		}
	}
	return n, nil
}

// client asks over one connection. It is lean, as pgbench is.
func (p *push) client(target string, until time.Time) (n int, err error) {
	conn, err := net.Dial("tcp", p.url.Host)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	request := fmt.Appendf(nil, "GET /scim/v2%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", target, p.url.Host, p.key)
	reader := bufio.NewReader(conn)
	for ; time.Now().Before(until); n++ {
		if _, err := conn.Write(request); err != nil {
			return n, err
		}
		if err := readAnswer(reader); err != nil {
			return n, err
		}
	}
	return n, nil
}

// readAnswer reads an answer that has a Content-Length, and wants one found user or list in it.
func readAnswer(r *bufio.Reader) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "HTTP/1.1 200") {
		return fmt.Errorf("answer %q, want %d", line, http.StatusOK)
	}
	length := 0
	for line != "\r\n" {
		if line, err = r.ReadString('\n'); err != nil {
			return err
		}
		if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	if length < 500 {
		return fmt.Errorf("an answer of %d bytes holds no user", length)
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return err
}
