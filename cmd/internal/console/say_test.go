package console

import (
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/store/identity"
)

func TestHealthOf(t *testing.T) {
	t.Parallel()
	run := func(status string, applied int, changes map[string]int) *api.Run {
		return &api.Run{Status: status, Counts: identity.Counts{Changes: changes, Applied: applied}}
	}
	two := map[string]int{"user.update": 2}
	for _, tc := range []struct {
		name string
		c    api.Connector
		last *api.Run
		want string
	}{
		{"never ran", api.Connector{Status: "new"}, nil, healthNew},
		{"nothing left", api.Connector{Status: "ok"}, run("done", 2, two), healthSynced},
		{"nothing found", api.Connector{Status: "ok"}, run("done", 0, nil), healthSynced},
		{"only looks", api.Connector{Status: "ok", Mode: "report"}, run("planned", 0, two), healthDrifted},
		{"one refused", api.Connector{Status: "ok"}, run("partial", 1, two), healthDrifted},
		{"not read whole", api.Connector{Status: "ok"}, run("partial", 0, nil), healthDrifted},
		{"a conflict", api.Connector{Status: "ok", Conflicts: 1}, run("done", 0, nil), healthDrifted},
		{"held", api.Connector{Status: "ok", Held: "r", Conflicts: 1}, run("held", 0, two), healthHeld},
		{"failing says more than held", api.Connector{Status: "failing", Held: "r"}, run("done", 0, nil), healthFailing},
		{"credential rejected", api.Connector{Status: "paused", Held: "r"}, nil, healthQuarantined},
	} {
		if got := healthOf(&tc.c, tc.last); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		before time.Duration
		want   string
	}{
		{0, "just now"},
		{time.Second, "1 second ago"},
		{59 * time.Second, "59 seconds ago"},
		{time.Minute, "1 minute ago"},
		{119 * time.Minute, "1 hour ago"},
		{47 * time.Hour, "47 hours ago"},
		{48 * time.Hour, "2 days ago"},
		{-90 * time.Second, "in 1 minute"},
	} {
		if got := ago(now, now.Add(-tc.before)); got != tc.want {
			t.Errorf("ago(%v) = %q, want %q", tc.before, got, tc.want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestLocal(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"/people?search=a&x=%2F": "/people?search=a&x=%2F", "": "/", "people": "/", "https://elsewhere.example/x": "/", "//elsewhere.example": "/",
		`/\elsewhere.example`: "/", "/\telsewhere": "/", "javascript:alert(1)": "/", "/a\r\nSet-Cookie: x": "/",
	} {
		if got := local(address); got != want {
			t.Errorf("local(%q) = %q, want %q", address, got, want)
		}
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "there is no such key": "There is no such key", "body.name: too long": "body.name: too long", "älter": "Älter", "a person": "A person",
		"ana@acme.test is taken": "ana@acme.test is taken",
	} {
		if got := sentence(text); got != want {
			t.Errorf("sentence(%q) = %q, want %q", text, got, want)
		}
	}
}
