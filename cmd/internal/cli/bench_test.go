package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// The benchmark's own binary fetches and decodes, and nothing else, when these are set.
const (
	fetchURL = "IDPSYNC_BENCH_FETCH_URL"
	fetchCA  = "IDPSYNC_BENCH_FETCH_CA"
	token    = "bench"
)

// fetch reads every page of a tenant and throws it away.
func fetch(url, ca string) error {
	debug.SetGCPercent(200) // as the program does
	c, err := okta.New(okta.Options{URL: url, APIToken: connectors.Secret(token), CAFile: ca})
	if err != nil {
		return err
	}
	users, members := 0, 0
	for page, err := range c.Full(context.Background(), "") {
		if err != nil {
			return err
		}
		users += len(page.Records)
		for _, m := range page.Members {
			members += len(m.UserIDs)
		}
	}
	fmt.Println(users, members, c.Requests())
	return nil
}

// BenchmarkPull pulls 100,000 users, 1,000 groups and 500,000 memberships with the real program into PostgreSQL: first
// into an empty database, then with nothing changed, in turn with a process that fetches and decodes the same pages
// and does nothing else. The fake tenant is a process of its own. Each iteration is one such pair.
func BenchmarkPull(b *testing.B) {
	for _, size := range []struct{ users, groups, memberships int }{{5_000, 40, 20_000}, {100_000, 1_000, 500_000}} {
		b.Run(fmt.Sprintf("users=%d", size.users), func(b *testing.B) { benchmarkPull(b, size.users, size.groups, size.memberships) })
	}
}

func benchmarkPull(b *testing.B, users, groups, memberships int) {
	dir := b.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "github.com/idpsync/idpsync/cmd/idpsync", "github.com/idpsync/idpsync/cmd/fakeidp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	ca := filepath.Join(dir, "ca.pem")
	fake := exec.CommandContext(b.Context(), filepath.Join(dir, "fakeidp"), "-users", fmt.Sprint(users), "-groups", fmt.Sprint(groups),
		"-memberships", fmt.Sprint(memberships), "-token", token, "-ca-out", ca)
	out, err := fake.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := fake.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = fake.Process.Kill()
		_ = fake.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("the fake tenant says nothing: %v", err)
	}
	url := regexp.MustCompile(`https://\S+`).FindString(line)
	config := filepath.Join(dir, "idpsync.yaml")
	text := fmt.Sprintf("database: %q\nconnectors:\n  - {name: okta, type: okta, url: %q, api_token: %q, ca_file: %q}\n", pgtest.DSN(b), url, token, ca)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	pull := func() (time.Duration, float64, string) {
		return measure(b, nil, filepath.Join(dir, "idpsync"), "--config", config, "resync", "--output", "json")
	}
	first, firstRSS, _ := pull()
	var ratios, pulls, fetches []float64
	var rss, fetchRSS float64
	var summary string
	for b.Loop() {
		fetched, memory, _ := measure(b, []string{fetchURL + "=" + url, fetchCA + "=" + ca}, os.Args[0], "-test.run=^$")
		pulled, own, printed := pull()
		fetches, pulls, ratios = append(fetches, fetched.Seconds()), append(pulls, pulled.Seconds()), append(ratios, pulled.Seconds()/fetched.Seconds())
		rss, fetchRSS, summary = max(rss, own), max(fetchRSS, memory), printed
	}
	if !strings.Contains(summary, `"changes":{}`) {
		b.Fatalf("the second pull found drift: %s", summary)
	}
	requests := regexp.MustCompile(`"requests":(\d+)`).FindStringSubmatch(summary)
	if requests == nil {
		b.Fatalf("no number of requests in %s", summary)
	}
	var n float64
	_, _ = fmt.Sscan(requests[1], &n)
	b.ReportMetric(n, "requests")
	b.ReportMetric(median(pulls), "pull-s")
	b.ReportMetric(median(fetches), "fetch-s")
	b.ReportMetric(median(ratios), "pull/fetch")
	b.ReportMetric(rss, "pull-RSS-MB")
	b.ReportMetric(fetchRSS, "fetch-RSS-MB")
	b.ReportMetric(first.Seconds(), "first-s")
	b.ReportMetric(firstRSS, "first-RSS-MB")
}

// measure runs a command and returns its wall time, its peak memory in MB and what it printed last.
func measure(b *testing.B, env []string, name string, args ...string) (time.Duration, float64, string) {
	b.Helper()
	command := exec.CommandContext(b.Context(), name, args...)
	command.Env = append(os.Environ(), env...)
	// What it prints is not kept: a child's peak memory begins at its parent's.
	out, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	command.Stderr = os.Stderr
	began := time.Now()
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	last := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if line := lines.Bytes(); !bytes.HasPrefix(line, []byte(`{"type":"change"`)) {
			last = string(line)
		}
	}
	if err := command.Wait(); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	usage := command.ProcessState.SysUsage().(*syscall.Rusage)
	return time.Since(began), float64(usage.Maxrss) / 1024, last
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
