package okta_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// inside carries requests to a tenant without a network, so that time can be a test's. Each takes a while, as one over a
// network does.
type inside struct {
	tenant *oktatest.Tenant
	takes  time.Duration
}

func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	if i.takes > 0 {
		time.Sleep(i.takes)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w, served := httptest.NewRecorder(), r.Clone(r.Context())
	served.TLS = &tls.ConnectionState{}
	i.tenant.ServeHTTP(w, served)
	resp := w.Result()
	for name, values := range resp.Header { // as a server writes and a client reads them
		delete(resp.Header, name)
		for _, value := range values {
			resp.Header.Add(name, value)
		}
	}
	return resp, nil
}

// offline returns options of a connector for the tenant that need no network.
func offline(tenant *oktatest.Tenant) okta.Options {
	return okta.Options{URL: "https://acme.okta.test", APIToken: oktatest.DefaultToken, Base: inside{tenant: tenant}, Backoff: time.Millisecond, MaxWait: 20 * time.Second}
}

// wired are the faults of connections.
var wired = []oktatest.FaultKind{oktatest.Truncated, oktatest.TruncatedSilently, oktatest.Reset, oktatest.Closed, oktatest.Gzipped}

// reach returns options of a connector for the tenant, over a network where the fault needs one.
func reach(t *testing.T, tenant *oktatest.Tenant, kinds ...oktatest.FaultKind) okta.Options {
	if slices.ContainsFunc(kinds, func(kind oktatest.FaultKind) bool { return slices.Contains(wired, kind) }) {
		return serve(t, tenant)
	}
	return offline(tenant)
}

// inTime runs a test, in a time of its own, where waits cost nothing, unless the fault needs a network.
func inTime(t *testing.T, kind oktatest.FaultKind, f func(*testing.T)) {
	if slices.Contains(wired, kind) {
		f(t)
		return
	}
	synctest.Test(t, f)
}
