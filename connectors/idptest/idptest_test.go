package idptest_test

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/idptest"
)

func TestFaultsMeetTheRequestsTheyFit(t *testing.T) {
	t.Parallel()
	list, get := idptest.Request{Endpoint: "list", URI: "/users?a=1"}, idptest.Request{Endpoint: "get", URI: "/users/1"}
	cases := map[string]struct {
		faults   []idptest.Fault
		requests []idptest.Request
		named    bool
		want     string // the faults' kinds, "-" for none
	}{
		"once":               {[]idptest.Fault{{Kind: "x"}}, []idptest.Request{list, list}, false, "x -"},
		"the second, twice":  {[]idptest.Fault{{Kind: "x", Nth: 2, Times: 2}}, []idptest.Request{list, get, list, list}, false, "- x x -"},
		"for ever":           {[]idptest.Fault{{Kind: "x", Times: -1}}, []idptest.Request{list, list, list}, false, "x x x"},
		"of an endpoint":     {[]idptest.Fault{{Kind: "x", Endpoint: "get"}}, []idptest.Request{list, get, get}, false, "- x -"},
		"of an address":      {[]idptest.Fault{{Kind: "x", Contains: "a=1"}}, []idptest.Request{get, list, list}, false, "- x -"},
		"the first one wins": {[]idptest.Fault{{Kind: "x"}, {Kind: "y"}}, []idptest.Request{list, list, list}, false, "x y -"},
		"named only":         {[]idptest.Fault{{Kind: "x"}, {Kind: "y", Endpoint: "get"}}, []idptest.Request{list, get}, true, "- y"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var traffic idptest.Traffic
			for _, f := range c.faults {
				traffic.Inject(f)
			}
			var got []string
			for _, r := range c.requests {
				kind := "-"
				if f := traffic.Meet(r, c.named); f != nil {
					kind = string(f.Kind)
				}
				got = append(got, kind)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("met %v, want %s", got, c.want)
			}
			traffic.Inject(idptest.Fault{Kind: "z", Endpoint: "list", Times: -1})
			traffic.Behave()
			if f := traffic.Meet(list, c.named); f != nil {
				t.Errorf("behaving, met %v", f)
			}
		})
	}
}

func TestTrafficIsCounted(t *testing.T) {
	t.Parallel()
	var traffic idptest.Traffic
	for range 3 {
		traffic.Arrive(idptest.Request{Endpoint: "list", URI: "/a"})
	}
	traffic.Arrive(idptest.Request{Endpoint: "get", URI: "/b"})
	if diff := cmp.Diff(map[string]int{"list": 3, "get": 1}, traffic.Counts()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if traffic.Requests("") != 4 || traffic.Requests("list") != 3 || len(traffic.Log()) != 4 || traffic.Log()[3].URI != "/b" {
		t.Errorf("%d requests, log %v", traffic.Requests(""), traffic.Log())
	}
	traffic.ResetRequests()
	if traffic.Requests("") != 0 || len(traffic.Log()) != 0 {
		t.Error("requests are not forgotten")
	}
}

func TestServerIsTrustedThroughItsAuthority(t *testing.T) {
	t.Parallel()
	server, err := idptest.Serve("127.0.0.1:0", "a fake", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Errorf("%q, %v", body, err)
	}
	if resp, err := new(http.Client).Get(server.URL); err == nil {
		resp.Body.Close()
		t.Error("a stranger trusts the server")
	}
	if _, err := idptest.Serve("nowhere", "a fake", http.NotFoundHandler()); err == nil {
		t.Error("Serve(nowhere) succeeds")
	}
}

func TestMembershipsAreDividedEvenly(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct{ users, groups, memberships, want int }{{10, 4, 25, 25}, {3, 2, 100, 6}, {5, 0, 10, 0}, {7, 3, 0, 0}} {
		sum := 0
		for i := range c.users {
			n := idptest.Memberships(i, c.users, c.groups, c.memberships)
			chosen := idptest.Choose(random, i%max(c.groups, 1), n, c.groups)
			if len(slices.Compact(slices.Sorted(slices.Values(chosen)))) != n {
				t.Errorf("%+v: chosen %v, want %d different ones", c, chosen, n)
			}
			sum += n
		}
		if sum != c.want {
			t.Errorf("%+v: %d memberships", c, sum)
		}
	}
}

func TestPeopleHaveLoginsOfTheirOwn(t *testing.T) {
	t.Parallel()
	random, taken := rand.New(rand.NewPCG(1, 2)), map[string]bool{}
	for i := range 5000 {
		p := idptest.NewPerson(random, i, "acme.test", func(login string) bool { return taken[login] })
		if taken[p.Login] || !strings.HasSuffix(p.Login, "@acme.test") || p.Given == "" || p.Title == "" || p.City == "" {
			t.Fatalf("person %+v", p)
		}
		taken[p.Login] = true
	}
}

func TestAppendedJSONIsWhatTheLibraryReads(t *testing.T) {
	t.Parallel()
	for _, v := range []any{nil, "", "plain", `"quoted\`, "ünï", "a\nb", "\u2028<&>", 1.5, true, []any{"a"}, map[string]any{"a": nil}} {
		var got any
		if err := json.Unmarshal(idptest.AppendValue(nil, v), &got); err != nil || !cmp.Equal(got, v) {
			t.Errorf("%q becomes %q, %v", v, got, err)
		}
	}
}
