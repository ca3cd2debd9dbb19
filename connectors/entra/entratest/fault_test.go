package entratest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

func TestFaultsThatAnswerInstead(t *testing.T) {
	t.Parallel()
	cases := map[entratest.FaultKind]struct {
		status int
		code   string            // "-" for no error of Graph's
		header map[string]string // "" for absent
		body   string
	}{
		entratest.Throttle:          {429, "TooManyRequests", map[string]string{"Retry-After": "1"}, ""},
		entratest.ThrottleLong:      {429, "TooManyRequests", map[string]string{"Retry-After": "300"}, ""},
		entratest.ThrottleBare:      {429, "TooManyRequests", map[string]string{"Retry-After": ""}, ""},
		entratest.BadRequest:        {400, "Request_BadRequest", nil, ""},
		entratest.Internal:          {500, "InternalServerError", nil, ""},
		entratest.Unavailable:       {503, "serviceNotAvailable", map[string]string{"Retry-After": "1"}, ""},
		entratest.GatewayTimeout:    {504, "UnknownError", nil, ""},
		entratest.GatewayHTML:       {502, "-", map[string]string{"Content-Type": "text/html"}, "<html>"},
		entratest.PortalHTML:        {200, "-", map[string]string{"Content-Type": "text/html"}, "<html>"},
		entratest.Empty:             {200, "-", map[string]string{"Content-Length": "0"}, ""},
		entratest.Blank:             {200, "-", nil, " \n "},
		entratest.Null:              {200, "-", nil, "null"},
		entratest.Object:            {200, "-", nil, "{}"},
		entratest.Array:             {200, "-", nil, "[]"},
		entratest.NoContent:         {204, "-", map[string]string{"Content-Length": ""}, ""},
		entratest.NotModified:       {304, "-", map[string]string{"Content-Length": ""}, ""},
		entratest.RedirectNowhere:   {302, "-", map[string]string{"Location": ""}, ""},
		entratest.Unauthorized:      {401, "InvalidAuthenticationToken", nil, ""},
		entratest.IdentityNotFound:  {401, "Authorization_IdentityNotFound", nil, ""},
		entratest.Forbidden:         {403, "Authorization_RequestDenied", nil, "Insufficient privileges to complete the operation."},
		entratest.NotFound:          {404, "Request_ResourceNotFound", nil, ""},
		entratest.NotFoundHTML:      {404, "-", map[string]string{"Content-Type": "text/html"}, "<html>"},
		entratest.NotImplemented:    {501, "NotImplemented", nil, ""},
		entratest.EmptyCode:         {400, "", nil, ""},
		entratest.SyncStateNotFound: {400, "syncStateNotFound", nil, ""},
		entratest.SyncStateGone:     {410, "syncStateNotFound", nil, ""},
		entratest.SyncStateMissing:  {404, "syncStateNotFound", nil, ""},
		entratest.ResyncRequired:    {410, "resyncRequired", map[string]string{"Location": ""}, ""},
		entratest.ResetDelta:        {410, "resyncRequired", map[string]string{"Location": root + "/users/delta?$deltatoken="}, ""},
		entratest.ExpiredPageToken:  {400, "Directory_ExpiredPageToken", nil, ""},
	}
	for kind, c := range cases {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{}
			tenant.Inject(entratest.Fault{Kind: kind})
			w := get(t, tenant, "/users/delta")
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || c.code == "-" && c.body == "" && w.Body.Len() > 0 {
				t.Errorf("status %d: %q, want %d", w.Code, w.Body, c.status)
			}
			if c.code != "-" {
				if _, got := code(t, w); got != c.code {
					t.Errorf("code %q, want %q", got, c.code)
				}
			}
			for name, want := range c.header {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if w.Code == http.StatusUnauthorized && w.Header().Get("Www-Authenticate") == "" {
				t.Error("a 401 without a challenge")
			}
			if w := get(t, tenant, "/users/delta"); w.Code != http.StatusOK {
				t.Errorf("the next request: status %d", w.Code)
			}
		})
	}
}

func TestFaultsThatSpoilTheAnswer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	const first = "/users/delta?$select=displayName"
	cases := map[entratest.FaultKind]func(p page, w *httptest.ResponseRecorder) bool{
		entratest.RepeatCursor: func(p page, _ *httptest.ResponseRecorder) bool { return p.Next == root+first },
		entratest.NoNext:       func(p page, _ *httptest.ResponseRecorder) bool { return p.Next == "" && p.Delta == "" },
		entratest.BothLinks:    func(p page, _ *httptest.ResponseRecorder) bool { return p.Next != "" && p.Delta != "" },
		entratest.ForeignNext: func(p page, _ *httptest.ResponseRecorder) bool {
			return strings.HasPrefix(p.Next, "https://graph.attacker.test/")
		},
		entratest.PlainNext: func(p page, _ *httptest.ResponseRecorder) bool {
			return strings.HasPrefix(p.Next, "http://graph.test/")
		},
		entratest.MalformedNext: func(p page, _ *httptest.ResponseRecorder) bool { _, err := url.Parse(p.Next); return err != nil },
		entratest.EmptyPage: func(p page, _ *httptest.ResponseRecorder) bool {
			return len(p.Value) == 0 && p.Next != "" && p.Value != nil
		},
		entratest.DuplicateItem: func(p page, _ *httptest.ResponseRecorder) bool {
			return len(p.Value) == 3 && cmp.Equal(p.Value[1], p.Value[2])
		},
		entratest.MissingItem:  func(p page, _ *httptest.ResponseRecorder) bool { return len(p.Value) == 1 && p.Next != "" },
		entratest.MissingValue: func(p page, _ *httptest.ResponseRecorder) bool { return p.Value == nil && p.Next != "" },
		entratest.WrongClock: func(p page, w *httptest.ResponseRecorder) bool {
			return w.Header().Get("Date") == now.AddDate(0, 0, -1).Format(http.TimeFormat) && len(p.Value) == 2
		},
		entratest.Gzipped: func(_ page, w *httptest.ResponseRecorder) bool { return w.Header().Get("Content-Encoding") == "gzip" },
		entratest.WrongType: func(_ page, w *httptest.ResponseRecorder) bool {
			return w.Header().Get("Content-Type") == "text/plain;charset=utf-8"
		},
		entratest.Garbled: func(_ page, w *httptest.ResponseRecorder) bool { return !json.Valid(w.Body.Bytes()) },
	}
	for kind, ok := range cases {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{DeltaPage: 2, Now: func() time.Time { return now }}
			tenant.Fill(3, 1, 3)
			tenant.Inject(entratest.Fault{Kind: kind, Endpoint: entratest.UsersDelta})
			w := get(t, tenant, first)
			var p page
			_ = json.Unmarshal(w.Body.Bytes(), &p)
			if w.Code != http.StatusOK || !ok(p, w) {
				t.Errorf("status %d, %v: %s", w.Code, w.Header(), w.Body)
			}
			if kind == entratest.EmptyPage {
				if _, items := round(t, tenant, p.Next); len(items) != 3 {
					t.Errorf("after the empty page: %d items, want all", len(items))
				}
			}
		})
	}
}

func TestNextLinksThatGoRound(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{DeltaPage: 2}
	tenant.Fill(3, 1, 3)
	tenant.Inject(entratest.Fault{Kind: entratest.NextToStart, Nth: 2})
	tenant.Inject(entratest.Fault{Kind: entratest.RepeatCursor, Endpoint: entratest.ListUsers})
	p := decode[page](t, get(t, tenant, "/users/delta?$select=displayName"))
	if p = decode[page](t, get(t, tenant, p.Next)); p.Next != root+"/users/delta?" || p.Delta != "" {
		t.Errorf("to the start: %+v", p)
	}
	if p := decode[page](t, get(t, tenant, "/users?$top=2")); p.Next != root+"/users?$top=2" {
		t.Errorf("to itself: %s", p.Next)
	}
}

func TestEmptyPagesLeadOn(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/users?$top=2&$select=id", "/users/delta?$select=id"} {
		tenant := &entratest.Tenant{DeltaPage: 2}
		tenant.Fill(5, 1, 5)
		tenant.Inject(entratest.Fault{Kind: entratest.EmptyPage, Nth: 2, Times: 2})
		pages, items := list(t, tenant, path)
		seen := map[string]bool{}
		for _, p := range pages {
			if seen[p.Next] {
				t.Errorf("%s: the next link %s comes twice", path, p.Next)
			}
			seen[p.Next] = true
		}
		if len(pages) != 5 || len(pages[1].Value)+len(pages[2].Value) != 0 || len(items) != 5 {
			t.Errorf("%s: %d items on %d pages", path, len(items), len(pages))
		}
	}
}

func TestFaultsMeetTheRequestsTheyFit(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(2, 1, 2)
	tenant.Inject(entratest.Fault{Kind: entratest.Internal, Endpoint: entratest.ListUsers, Nth: 2, Times: 2})
	tenant.Inject(entratest.Fault{Kind: entratest.Forbidden, Contains: "/members", Times: -1})
	var got []int
	for range 4 {
		got = append(got, get(t, tenant, "/users").Code)
	}
	got = append(got, get(t, tenant, "/groups").Code, get(t, tenant, "/groups/x/members").Code, get(t, tenant, "/groups/x/members").Code)
	if want := []int{200, 500, 500, 200, 200, 403, 403}; !cmp.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	tenant.Inject(entratest.Fault{Kind: entratest.Unavailable, Times: -1})
	if w := ask(t, tenant, tokenEndpoint, credentials()); w.Code != http.StatusOK {
		t.Errorf("the token service meets a fault of Graph: status %d", w.Code)
	}
	tenant.Inject(entratest.Fault{Kind: entratest.GatewayHTML, Endpoint: entratest.PostToken})
	if w := ask(t, tenant, tokenEndpoint, credentials()); w.Code != http.StatusBadGateway {
		t.Errorf("the token service: status %d", w.Code)
	}
	tenant.Behave()
	if w := get(t, tenant, "/groups/"+tenant.Groups()[0].ID+"/members"); w.Code != http.StatusOK {
		t.Errorf("behaving: status %d", w.Code)
	}
}

func TestDelaysAreWaited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tenant := &entratest.Tenant{}
		tenant.Inject(entratest.Fault{Kind: entratest.Slow, Delay: time.Minute})
		began := time.Now()
		if w := get(t, tenant, "/users"); w.Code != http.StatusOK || time.Since(began) != time.Minute {
			t.Errorf("status %d after %s", w.Code, time.Since(began))
		}
	})
}

func TestBudgetOfResourceUnits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &entratest.Tenant{EnforceLimits: true, Budget: 10, Now: func() time.Time { return now }}
	g := tenant.AddGroup("G")
	for path, units := range map[string]string{
		"/users": "2", "/users?$select=id": "1", "/users?$select=id&$expand=manager": "2", "/users?$top=5&$select=id": "1",
		"/groups/" + g + "/members": "3", "/groups/" + g + "/transitiveMembers": "5", "/groups": "1",
	} {
		now = now.Add(time.Minute)
		if got := map[string][]string(get(t, tenant, path).Header())["x-ms-resource-unit"]; !cmp.Equal(got, []string{units}) {
			t.Errorf("%s takes %v units, want %s", path, got, units)
		}
	}
	now = now.Add(time.Minute)
	var got []int
	for range 4 {
		got = append(got, get(t, tenant, "/groups/"+g+"/members").Code)
	}
	if want := []int{200, 200, 200, 429}; !cmp.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	now = now.Add(4 * time.Second)
	w := get(t, tenant, "/groups")
	if status, code := code(t, w); status != 429 || code != "TooManyRequests" || w.Header().Get("Retry-After") != "6" {
		t.Errorf("beyond the budget: %d %s, %v", status, code, w.Header())
	}
	now = now.Add(6 * time.Second)
	if w := get(t, tenant, "/groups"); w.Code != http.StatusOK {
		t.Errorf("later: status %d", w.Code)
	}
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	tenant.Fill(50, 1, 50)
	server := tenant.StartTLS()
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).DisableKeepAlives = true // net/http tries again on a kept connection
	read := func() error {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.GraphURL()+"/users", nil)
		req.Header.Set("Authorization", "Bearer "+tenant.Token())
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && !json.Valid(body) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	for kind, want := range map[entratest.FaultKind]error{
		entratest.Truncated: io.ErrUnexpectedEOF, entratest.TruncatedSilently: io.ErrUnexpectedEOF, entratest.Closed: io.EOF, entratest.Reset: nil,
	} {
		tenant.Inject(entratest.Fault{Kind: kind})
		if err := read(); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", kind, err, want)
		}
		if err := read(); err != nil {
			t.Errorf("after %s: %v", kind, err)
		}
	}
}
