package entratest_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

// BenchmarkFirstRound reads the first round of users and groups of a large tenant without a network: what is left is
// what the fake itself takes of a benchmark of a connector.
func BenchmarkFirstRound(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tenant := &entratest.Tenant{}
	tenant.Fill(100_000, 1_000, 500_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	authorization := "Bearer " + tenant.Token()
	requests, sent := 0, 0
	for b.Loop() {
		for _, address := range []string{
			"/users/delta?$select=displayName,givenName,surname,userPrincipalName,mail,accountEnabled,userType,jobTitle,department,companyName,employeeId,employeeOrgData,employeeType,mobilePhone,businessPhones,preferredLanguage,streetAddress,city,state,postalCode,country,proxyAddresses,otherMails,mailNickname,manager",
			"/groups/delta?$select=displayName,members",
		} {
			address = root + address
			for address != "" {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, address, nil)
				r.Header.Set("Authorization", authorization)
				w := httptest.NewRecorder()
				tenant.ServeHTTP(w, r)
				body := w.Body.Bytes()
				requests++
				sent += len(body)
				if w.Code != http.StatusOK {
					b.Fatalf("status %d", w.Code)
				}
				address = nextOf(body)
			}
		}
	}
	b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
	b.ReportMetric(float64(sent)/float64(b.N)/1e6, "MB-sent/op")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-held")
	runtime.KeepAlive(tenant)
}

// nextOf finds the next link at the end of a page.
func nextOf(body []byte) string {
	_, link, found := bytes.Cut(body[max(0, len(body)-2000):], []byte(`"@odata.nextLink":"`))
	if !found {
		return ""
	}
	return string(link[:bytes.IndexByte(link, '"')])
}
