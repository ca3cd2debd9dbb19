package entra_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra"
)

var (
	benchUsers       = flag.Int("bench.users", 20000, "people in the tenant that benchmarks pull")
	benchGroups      = flag.Int("bench.groups", 200, "groups")
	benchMemberships = flag.Int("bench.memberships", 100000, "memberships")
)

// directory serves the fake tenant from a process of its own, so that its work is not counted as ours.
var directory = sync.OnceValues(func() (entra.Options, error) {
	var o entra.Options
	dir, err := os.MkdirTemp("", "fakeidp")
	if err != nil {
		return o, err
	}
	binary, ca := filepath.Join(dir, "fakeidp"), filepath.Join(dir, "ca.pem")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/idpsync/idpsync/cmd/fakeidp").CombinedOutput(); err != nil {
		return o, fmt.Errorf("%w: %s", err, out)
	}
	cmd := exec.Command(binary, "--type=entra", "--ca-out", ca, fmt.Sprintf("--users=%d", *benchUsers), fmt.Sprintf("--groups=%d", *benchGroups), fmt.Sprintf("--memberships=%d", *benchMemberships))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return o, err
	}
	if err := cmd.Start(); err != nil {
		return o, err
	}
	stopDirectory = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	var secret string
	if _, err := fmt.Fscanf(stdout, "tenant_id=%s client_id=%s client_secret=%s authority=%s graph_url=%s", &o.TenantID, &o.ClientID, &secret, &o.Authority, &o.GraphURL); err != nil {
		return o, err
	}
	o.ClientSecret, o.CAFile, o.Share = connectors.Secret(secret), ca, 1
	return o, nil
})

var stopDirectory = func() {}

// TestMain has properties look at fewer cases where tests are to be short, as under the race detector.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	stopDirectory()
	os.Exit(code)
}

// BenchmarkFull pulls a tenant, and beside it fetches and decodes the same pages and does nothing else.
func BenchmarkFull(b *testing.B) {
	options, err := directory()
	if err != nil {
		b.Fatal(err)
	}
	for name, requireGroup := range map[string]*bool{"pull": nil, "pull,groups-first": new(true)} {
		b.Run(name, func(b *testing.B) {
			var requests int64
			before := cpuTime()
			for b.Loop() {
				o := options
				o.RequireGroup = requireGroup
				c, err := entra.New(o)
				if err != nil {
					b.Fatal(err)
				}
				users, members, complete := 0, 0, 0
				for page, err := range c.Full(b.Context(), "") {
					if err != nil {
						b.Fatal(err)
					}
					users += len(page.Records)
					for _, m := range page.Members {
						members += len(m.UserIDs)
					}
					if page.Complete {
						complete++
					}
				}
				if users != *benchUsers || complete != 3 || members != *benchMemberships {
					b.Fatalf("%d users and %d memberships in %d complete phases", users, members, complete)
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

func report(b *testing.B, requests int64, cpu time.Duration) {
	b.ReportMetric(cpu.Seconds()*1000/float64(b.N)/float64(*benchUsers)*100_000, "cpu-ms/100k-users")
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

// fetchAndDecode reads the same pages with net/http and encoding/json, users and groups beside each other as the connector
// does.
func fetchAndDecode(b *testing.B, o entra.Options) int64 {
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: connectors.NewBase(roots)}
	defer client.CloseIdleConnections()
	resp, err := client.PostForm(o.Authority+"/"+o.TenantID+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {o.ClientID}, "client_secret": {o.ClientSecret.Reveal()}, "scope": {strings.TrimSuffix(o.GraphURL, "/v1.0") + "/.default"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var token struct {
		Text string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	var requests int64
	read := func(address string, into any) error {
		mu.Lock()
		requests++
		mu.Unlock()
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token.Text)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var buffer bytes.Buffer
		if _, err := io.Copy(&buffer, resp.Body); err != nil {
			return err
		}
		return json.Unmarshal(buffer.Bytes(), into)
	}
	type links struct {
		Next string `json:"@odata.nextLink"`
	}
	type user struct {
		ID, UserPrincipalName, UserType, Mail, GivenName, Surname, DisplayName, MailNickname, JobTitle, EmployeeType, PreferredLanguage, MobilePhone,
		StreetAddress, City, State, PostalCode, Country, EmployeeID, Department, CompanyName string
		AccountEnabled                             bool
		ProxyAddresses, OtherMails, BusinessPhones []string
		EmployeeOrgData                            struct{ Division, CostCenter string }
	}
	type group struct {
		ID, DisplayName string
		Members         []struct{ ID string } `json:"members@delta"`
	}
	var work errgroup.Group
	users := 0
	const properties = "id,userPrincipalName,accountEnabled,userType,mail,proxyAddresses,otherMails,givenName,surname,displayName,mailNickname,jobTitle,employeeType," +
		"preferredLanguage,mobilePhone,businessPhones,streetAddress,city,state,postalCode,country,employeeId,department,employeeOrgData,companyName,manager"
	work.Go(func() error {
		for address := o.GraphURL + "/users/delta?$select=" + properties; address != ""; {
			var page struct {
				links
				Value []user
			}
			if err := read(address, &page); err != nil {
				return err
			}
			users += len(page.Value)
			address = page.Next
		}
		return nil
	})
	work.Go(func() error {
		for address := o.GraphURL + "/groups/delta?$select=id,displayName,members"; address != ""; {
			var page struct {
				links
				Value []group
			}
			if err := read(address, &page); err != nil {
				return err
			}
			address = page.Next
		}
		return nil
	})
	if err := work.Wait(); err != nil {
		b.Fatal(err)
	}
	if users != *benchUsers {
		b.Fatalf("%d users", users)
	}
	return requests
}
