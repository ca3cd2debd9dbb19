package cli_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// answer is what a server says to a listing of one user.
type answer struct {
	status     int
	retryAfter string
	detail     string
}

func ask(t *testing.T, url, key string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/scim/v2/Users?count=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	var body struct {
		Schemas []string
		Detail  string
	}
	if err := json.NewDecoder(got.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if got.StatusCode >= 400 && !slices.Equal(body.Schemas, []string{"urn:ietf:params:scim:api:messages:2.0:Error"}) {
		t.Errorf("%d is no SCIM error: schemas %v", got.StatusCode, body.Schemas)
	}
	return answer{got.StatusCode, got.Header.Get("Retry-After"), body.Detail}
}

// provisioner makes an admin who may push, and returns a key of hers.
func provisioner(t *testing.T, dir string, env []string) string {
	t.Helper()
	output(t, dir, env, "admin", "create", "scim@acme.test", "--scim")
	return strings.TrimSpace(output(t, dir, env, "keys", "create", "--user", "scim@acme.test", "--name", "push"))
}

// countEvents returns how many events of a type are in the audit log.
func countEvents(t *testing.T, dsn, kind string) (n int) {
	t.Helper()
	s, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM audit_events WHERE type = '"+kind+"'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRule2_TwoReplicas enables SCIM while two servers run on one database: both say 403, then 503, and both answer from
// the same instant on.
func TestRule2_TwoReplicas(t *testing.T) {
	t.Parallel()
	const delay = 3 * time.Second
	h := newHouse(t, pgtest.DSN(t))
	dir, env := furnished(t, h, "listen: 127.0.0.1:0\ndatabase: ${DATABASE}\nscim: {activation_delay: "+delay.String()+"}\n")
	output(t, dir, env, "migrate")
	key := provisioner(t, dir, env)
	replicas := []string{start(t, dir, env, "serve").url(), start(t, dir, env, "serve").url()}
	for _, url := range replicas {
		if got := ask(t, url, key); got.status != http.StatusForbidden || got.detail != "SCIM provisioning is disabled" {
			t.Fatalf("before it is enabled: %+v, want 403", got)
		}
	}

	var setting struct {
		Since       time.Time `json:"since"`
		AnswersFrom time.Time `json:"answers_from"`
	}
	if err := json.Unmarshal([]byte(output(t, dir, env, "scim", "enable", "--output", "json")), &setting); err != nil {
		t.Fatal(err)
	}
	if got := setting.AnswersFrom.Sub(setting.Since); got != delay {
		t.Errorf("answers %s after it was enabled, want %s", got, delay)
	}
	seen, answered := make([][]int, len(replicas)), make([]bool, len(replicas))
	await(t, "both to answer", func() bool {
		for i, url := range replicas {
			asked := time.Now()
			got := ask(t, url, key)
			if len(seen[i]) == 0 || seen[i][len(seen[i])-1] != got.status {
				seen[i] = append(seen[i], got.status)
			}
			switch got.status {
			case http.StatusServiceUnavailable:
				if n, err := strconv.Atoi(got.retryAfter); err != nil || n < 1 || n > 3 {
					t.Errorf("503 with Retry-After %q, want 1 to 3 seconds", got.retryAfter)
				}
				if asked.After(setting.AnswersFrom.Add(time.Second / 2)) {
					t.Errorf("replica %d does not answer at %s, want from %s on", i, asked, setting.AnswersFrom)
				}
			case http.StatusOK:
				answered[i] = true
				if now := time.Now(); now.Before(setting.AnswersFrom) {
					t.Errorf("replica %d answers at %s, want not before %s", i, now, setting.AnswersFrom)
				}
			}
		}
		return answered[0] && answered[1]
	})
	for i, statuses := range seen {
		// The first 403 is of the second in which a server has not noticed yet.
		if statuses = slices.DeleteFunc(statuses, func(s int) bool { return s == http.StatusForbidden }); !slices.Equal(statuses, []int{503, 200}) {
			t.Errorf("replica %d: %v, want 503 and then 200", i, statuses)
		}
	}

	output(t, dir, env, "scim", "disable")
	disabled := time.Now()
	for i, url := range replicas {
		await(t, "403", func() bool { return ask(t, url, key).status == http.StatusForbidden })
		if took := time.Since(disabled); took > soon {
			t.Errorf("replica %d noticed after %s", i, took)
		}
	}
	for kind, want := range map[string]int{"scim.enabled": 1, "scim.disabled": 1} {
		if n := countEvents(t, h.dsn, kind); n != want {
			t.Errorf("%d events %s, want %d", n, kind, want)
		}
	}
}

// TestRule2_DeclaredWaitsForBreakGlass starts a server before there is any admin: it answers as soon as there is one.
func TestRule2_DeclaredWaitsForBreakGlass(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		dir, env := furnished(t, h, "listen: 127.0.0.1:0\ndatabase: ${DATABASE}\nscim: {enabled: true}\n")
		output(t, dir, env, "migrate")
		p := start(t, dir, env, "serve")
		url := p.url()
		got := ask(t, url, "none")
		if got.status != http.StatusForbidden || !strings.Contains(got.detail, "no active local admin on the root team") || !strings.Contains(got.detail, "idpsync admin create") {
			t.Errorf("without an admin: %+v, want 403 that says what is missing", got)
		}
		if errs := p.errs(); strings.Count(errs, "no active local admin") != 1 || !strings.Contains(errs, "remedy") {
			t.Errorf("the log does not warn once, with a remedy: %s", errs)
		}
		key := provisioner(t, dir, env)
		await(t, "the server to notice the admin", func() bool { return ask(t, url, key).status == http.StatusOK })
		p.end(syscall.SIGTERM)
		p = start(t, dir, env, "serve")
		if got := ask(t, p.url(), key); got.status != http.StatusOK {
			t.Errorf("after a restart: %+v, want 200 at once", got)
		}
		if n := countEvents(t, h.dsn, "scim.enabled"); n != 1 {
			t.Errorf("%d events scim.enabled, want one", n)
		}
	})
}

// TestRule3_KeysOnARunningServer: two keys at once, one that expires, one that is revoked; a role that is lost counts from
// the next request.
func TestRule3_KeysOnARunningServer(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		dir, env := furnished(t, h, "listen: 127.0.0.1:0\ndatabase: ${DATABASE}\nscim: {enabled: true}\n")
		first := provisioner(t, dir, env)
		p := start(t, dir, env, "serve")
		url := p.url()
		want := func(what, key string, status int) {
			t.Helper()
			if got := ask(t, url, key); got.status != status {
				t.Errorf("%s: %+v, want %d", what, got, status)
			}
		}
		rotate := func(key string, args ...string) string {
			t.Helper()
			return strings.TrimSpace(output(t, dir, env, append([]string{"keys", "rotate", key[5:16]}, args...)...))
		}
		want("the first key", first, http.StatusOK)
		second := rotate(first)
		want("the first of two", first, http.StatusOK)
		want("the second of two", second, http.StatusOK)
		output(t, dir, env, "keys", "revoke", first[5:16])
		want("the first, revoked", first, http.StatusUnauthorized)
		want("the second, alone", second, http.StatusOK)
		third := rotate(second, "--expire-in", "1s")
		await(t, "the second to expire", func() bool { return ask(t, url, second).status == http.StatusUnauthorized })
		want("the third", third, http.StatusOK)

		s, err := store.Open(t.Context(), h.dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, role := range []string{"scim_provisioner", "admin"} {
			if _, err := s.DB().ExecContext(t.Context(), "UPDATE grants SET role = 'not_"+role+"' WHERE role = '"+role+"'"); err != nil {
				t.Fatal(err)
			}
			want("without "+role, third, http.StatusForbidden)
			if _, err := s.DB().ExecContext(t.Context(), "UPDATE grants SET role = '"+role+"' WHERE role = 'not_"+role+"'"); err != nil {
				t.Fatal(err)
			}
			want("with "+role+" again", third, http.StatusOK)
		}
	})
}
