package okta_test

import (
	"bytes"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-json"
	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

var (
	benchUsers       = flag.Int("bench.users", 20000, "people in the organization that benchmarks pull")
	benchGroups      = flag.Int("bench.groups", 200, "groups")
	benchMemberships = flag.Int("bench.memberships", 100000, "memberships")
)

// organization serves the fake tenant from a process of its own, so that its work is not counted as ours.
var organization = sync.OnceValues(func() (okta.Options, error) {
	dir, err := os.MkdirTemp("", "fakeidp")
	if err != nil {
		return okta.Options{}, err
	}
	binary, ca := filepath.Join(dir, "fakeidp"), filepath.Join(dir, "ca.pem")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/idpsync/idpsync/cmd/fakeidp").CombinedOutput(); err != nil {
		return okta.Options{}, fmt.Errorf("%w: %s", err, out)
	}
	cmd := exec.Command(binary, "--ca-out", ca, fmt.Sprintf("--users=%d", *benchUsers), fmt.Sprintf("--groups=%d", *benchGroups), fmt.Sprintf("--memberships=%d", *benchMemberships))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return okta.Options{}, err
	}
	if err := cmd.Start(); err != nil {
		return okta.Options{}, err
	}
	stopOrganization = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	var line string
	if _, err := fmt.Fscanf(stdout, "url=%s", &line); err != nil {
		return okta.Options{}, err
	}
	return okta.Options{URL: line, APIToken: oktatest.DefaultToken, CAFile: ca}, nil
})

var stopOrganization = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopOrganization()
	os.Exit(code)
}

// BenchmarkFull pulls an organization, and beside it fetches and decodes the same pages and does nothing else.
func BenchmarkFull(b *testing.B) {
	options, err := organization()
	if err != nil {
		b.Fatal(err)
	}
	yes := true
	for name, requireGroup := range map[string]*bool{"pull": nil, "pull,members-first": &yes} {
		b.Run(name, func(b *testing.B) {
			var requests int64
			before := cpuTime()
			for b.Loop() {
				o := options
				o.RequireGroup = requireGroup
				c, err := okta.New(o)
				if err != nil {
					b.Fatal(err)
				}
				users, complete := 0, 0
				for page, err := range c.Full(b.Context(), "") {
					if err != nil {
						b.Fatal(err)
					}
					users += len(page.Records)
					if page.Complete {
						complete++
					}
				}
				if users != *benchUsers || complete != 3 {
					b.Fatalf("%d users in %d complete phases", users, complete)
				}
				requests = c.Requests()
			}
			report(b, requests, cpuTime()-before)
		})
	}
	b.Run("fetch-and-decode-only", func(b *testing.B) {
		var requests int64
		before := cpuTime()
		for b.Loop() {
			requests = fetchAndDecode(b, options)
		}
		report(b, requests, cpuTime()-before)
	})
}

// BenchmarkChanges pulls the changes of an organization in which nothing changed.
func BenchmarkChanges(b *testing.B) {
	options, err := organization()
	if err != nil {
		b.Fatal(err)
	}
	c, err := okta.New(options)
	if err != nil {
		b.Fatal(err)
	}
	checkpoint := ""
	for page, err := range c.Full(b.Context(), "") {
		if err != nil {
			b.Fatal(err)
		}
		checkpoint = page.Checkpoint
	}
	before := c.Requests()
	for b.Loop() {
		for page, err := range c.Changes(b.Context(), checkpoint) {
			if err != nil || len(page.Records)+len(page.Groups)+len(page.Members)+len(page.Doubtful) > 0 {
				b.Fatalf("%+v, %v", page, err)
			}
		}
	}
	b.ReportMetric(float64(c.Requests()-before)/float64(b.N), "requests/op")
}

func report(b *testing.B, requests int64, cpu time.Duration) {
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N)/float64(*benchUsers)*100_000, "cpu-ms/100k-users")
	b.ReportMetric(float64(requests), "requests/op")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(*benchUsers), "ns/user")
	b.ReportMetric(peakRSS(), "MB-peak-RSS")
}

// cpuTime returns the processor time that this process has used, which other processes do not blur.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakRSS returns the most memory that this process ever had resident, in MB; 0 where the system does not tell.
func peakRSS() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb float64
	_, _ = fmt.Sscan(rest, &kb)
	return kb / 1024
}

// fetchAndDecode reads the same pages with net/http and goccy/go-json: users one page after the other, the members
// of four groups at a time beside them, as the connector does.
func fetchAndDecode(b *testing.B, o okta.Options) int64 {
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: connectors.NewBase(roots)}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var requests int64
	var buffers sync.Pool
	get := func(url string, into any) (next string, err error) {
		mu.Lock()
		requests++
		mu.Unlock()
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return "", err
		}
		req.Header.Set("Authorization", "SSWS "+o.APIToken.Reveal())
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		buffer, _ := buffers.Get().(*bytes.Buffer)
		if buffer == nil {
			buffer = new(bytes.Buffer)
		}
		defer buffers.Put(buffer)
		buffer.Reset()
		buffer.Grow(int(resp.ContentLength) + bytes.MinRead)
		if _, err := io.Copy(buffer, resp.Body); err != nil {
			return "", err
		}
		links, err := connectors.Links(resp.Header)
		if err != nil {
			return "", err
		}
		return links["next"], json.Unmarshal(buffer.Bytes(), into)
	}
	type user struct {
		ID, Status string
		Profile    struct {
			Login, Email, FirstName, LastName, DisplayName, Title, Department, EmployeeNumber, Organization, CostCenter, UserType, Locale,
			Timezone, PreferredLanguage, StreetAddress, City, ZipCode, CountryCode, State, Manager, ManagerID, MobilePhone string
		}
	}
	type onlyID struct {
		ID string `json:"id"`
	}
	var work errgroup.Group
	users := 0
	work.Go(func() error {
		for url := o.URL + "/api/v1/users?limit=200"; url != ""; {
			var page []user
			next, err := get(url, &page)
			if err != nil {
				return err
			}
			users += len(page)
			url = next
		}
		return nil
	})
	queue := make(chan string, 4096)
	work.Go(func() error {
		defer close(queue)
		for url := o.URL + "/api/v1/groups?limit=200"; url != ""; {
			var page []onlyID
			next, err := get(url, &page)
			if err != nil {
				return err
			}
			for _, g := range page {
				queue <- g.ID
			}
			url = next
		}
		return nil
	})
	for range okta.DefaultParallel {
		work.Go(func() error {
			for id := range queue {
				for url := o.URL + "/api/v1/groups/" + id + "/users?limit=1000"; url != ""; {
					var page []onlyID
					next, err := get(url, &page)
					if err != nil {
						return err
					}
					url = next
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
	if users != *benchUsers {
		b.Fatalf("%d users", users)
	}
	return requests
}
