package okta_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// consume has another client of the organization draw on every bucket, at an even pace, with its own token.
func consume(ctx context.Context, tenant *oktatest.Tenant, share float64) {
	paths := map[string]string{
		"users": "/api/v1/users?limit=1", "groups": "/api/v1/groups?limit=1", "group": "/api/v1/groups/00g", "user": "/api/v1/users/00u", "apps": "/api/v1/apps/0oa", "logs": "/api/v1/logs?limit=1",
	}
	for bucket, path := range paths {
		limit := oktatest.Buckets[bucket]
		if n, ok := tenant.Limits[bucket]; ok {
			limit = n
		}
		go func() {
			ticker := time.NewTicker(time.Duration(float64(time.Minute) / (share * float64(limit))))
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
					r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://acme.okta.test"+path, nil)
					r.Header.Set("Authorization", "SSWS "+oktatest.DefaultToken)
					tenant.ServeHTTP(httptest.NewRecorder(), r)
				}
			}
		}()
	}
}

// TestAPullKeepsToItsShareOfTheBuckets pulls 20,000 people and 300 groups from an organization that enforces its limits, the
// recorded ones and a tenth of them, alone and beside somebody who takes half of each. It is never told that it is too
// much, and takes no longer than its share allows.
func TestAPullKeepsToItsShareOfTheBuckets(t *testing.T) {
	t.Parallel()
	tenth := map[string]int{"users": 60, "user": 200, "groups": 50, "group": 100, "apps": 10, "logs": 12}
	cases := []struct {
		people int // with pages that make as many requests as 20,000 would take
		limits map[string]int
		app    bool
		others float64
		least  time.Duration
		most   time.Duration
	}{
		{people: 20_000, limits: oktatest.Buckets, most: time.Minute},
		{people: 1000, limits: oktatest.Buckets, others: 0.5, most: time.Minute},                               // the two have enough of it
		{people: 1000, limits: tenth, least: 7 * time.Minute, most: 8 * time.Minute},                           // 300 groups, 40 a minute
		{people: 1000, limits: tenth, others: 0.5, least: 11 * time.Minute, most: 18 * time.Minute},            // and about 20 a minute
		{people: 1000, limits: tenth, app: true, least: 15 * time.Minute, most: 18 * time.Minute},              // then 40 pages of the application's, 4 a minute
		{people: 1000, limits: tenth, app: true, others: 0.5, least: 25 * time.Minute, most: 45 * time.Minute}, // and about 2 a minute
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("group %d/application %t/others %g", c.limits["group"], c.app, c.others), func(t *testing.T) {
			t.Parallel()
			tenant := &oktatest.Tenant{EnforceLimits: true, Limits: c.limits}
			tenant.Fill(c.people, 300, c.people)
			o := okta.Options{URL: "https://acme.okta.test", APIToken: oktatest.DefaultToken, Base: inside{tenant: tenant, takes: 80 * time.Millisecond}}
			o.PageSizes = okta.PageSizes{Users: c.people / 100, AppUsers: c.people / 40}
			if c.app {
				o.AppID = tenant.AddApp("idpsync")
				for _, g := range tenant.Groups() {
					tenant.AssignGroup(o.AppID, g.ID)
				}
				tenant.ForgetEvents()
			}
			connector := connect(t, o) // outside: the SDK starts a goroutine that does not end
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				if c.others > 0 {
					consume(ctx, tenant, c.others)
				}
				began := time.Now()
				users, complete := 0, 0
				for page, err := range connector.Full(ctx, "") {
					if err != nil {
						t.Fatal(err)
					}
					users += len(page.Records)
					if page.Complete {
						complete++
					}
				}
				if users != c.people || complete != 3 {
					t.Errorf("%d users, %d phases complete", users, complete)
				}
				for key, n := range connector.Counts() {
					if key.Status != http.StatusOK {
						t.Errorf("%d answers %v", n, key)
					}
				}
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("took %s, want %s to %s", took, c.least, c.most)
				}
			})
		})
	}
}

// TestAPullBesideSomebodyWhoTakesMoreThanIsThere: it is told off now and then, waits, and ends.
func TestAPullBesideSomebodyWhoTakesItAll(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{EnforceLimits: true, Limits: map[string]int{"users": 60, "groups": 50, "group": 100}}
	tenant.Fill(1000, 20, 2000)
	connector := connect(t, okta.Options{URL: "https://acme.okta.test", APIToken: oktatest.DefaultToken, Base: inside{tenant: tenant, takes: 80 * time.Millisecond}})
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		consume(ctx, tenant, 1.05)
		time.Sleep(50 * time.Second) // little is left of the first minute
		wantAll(t, collect(connector.Full(ctx, "")), tenant)
		throttled, all := int64(0), int64(0)
		for key, n := range connector.Counts() {
			all += n
			if key.Status == http.StatusTooManyRequests {
				throttled += n
			}
		}
		if throttled*5 > all {
			t.Errorf("%d of %d requests were too many", throttled, all)
		}
	})
}
