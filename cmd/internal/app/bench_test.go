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
	"net/url"
	"os/exec"
	"regexp"
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
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// rounds is how often two things are measured in turn; their medians are reported.
const rounds = 5

// BenchmarkPushRead measures the reads that identity providers do most against the whole program, over HTTP with a real
// key, beside pgbench's prepared select of one row on the same server: with one client, and with eight at once.
// "of-pgbench" is the program's requests a second over pgbench's transactions a second.
func BenchmarkPushRead(b *testing.B) {
	pgbench, err := pgtest.Program("pgbench")
	if err != nil {
		b.Fatal(err)
	}
	p := startPush(b, pgtest.DSN(b))
	p.run(b, pgbench, "-i", "-q", "-s", "1")
	alone := map[string]float64{} // requests a second with few users
	for _, n := range []int{1_000, 100_000} {
		p.fill(b, n)
		for _, read := range []struct{ name, target string }{
			{"get", "/Users/" + p.ids[n/2]},
			{"filter", "/Users?filter=" + url.QueryEscape(fmt.Sprintf(`userName eq "USER%d@x.example"`, n/2))},
		} {
			for _, clients := range []int{1, 8} {
				b.Run(fmt.Sprintf("%s/users=%d/clients=%d", read.name, n, clients), func(b *testing.B) {
					var ours, theirs []float64
					for range rounds {
						theirs = append(theirs, p.pgbench(b, pgbench, clients))
						ours = append(ours, p.load(b, read.target, clients))
					}
					mine := median(ours)
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(mine, "req/s")
					b.ReportMetric(median(theirs), "pgbench-tx/s")
					b.ReportMetric(mine/median(theirs), "of-pgbench")
					key := fmt.Sprint(read.name, clients)
					if before, ok := alone[key]; ok {
						b.ReportMetric(before/mine, "x-of-1000-users")
					} else {
						alone[key] = mine
					}
				})
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

// load sends a request for a second over as many connections as there are clients, each waiting for its answer before
// the next, and returns the requests a second. The client is lean, as pgbench is.
func (p *push) load(b *testing.B, target string, clients int) float64 {
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
			n, err := p.client(target, began.Add(time.Second))
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
