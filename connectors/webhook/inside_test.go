package webhook

import (
	"net/netip"
	"testing"
	"time"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "0.0.0.0", "0.1.2.3", "::", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"::ffff:192.168.1.1", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "100.64.0.1", "100.127.255.255",
		"192.0.0.8", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255",
		"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "::127.0.0.1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "4000::1", "100::1",
	} {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("public(%s) = true, want false", text)
		}
	}
	for _, text := range []string{"1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8"} {
		if !public(netip.MustParseAddr(text)) {
			t.Errorf("public(%s) = false, want true", text)
		}
	}
	if public(netip.Addr{}) {
		t.Error("public of no address = true, want false")
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	answer := func(status int) Response { return Response{Status: status} }
	for name, c := range map[string]struct {
		response Response
		attempts int
		age      time.Duration
		spread   float64
		want     verdict
	}{
		"200":                         {response: answer(200), attempts: 1, want: verdict{delivered: true}},
		"204, late":                   {response: answer(204), attempts: 9, age: 100 * time.Hour, want: verdict{delivered: true}},
		"a redirection is no success": {response: answer(302), attempts: 1, want: verdict{wait: 5 * time.Second}},
		"400 is tried again":          {response: answer(400), attempts: 2, want: verdict{wait: time.Minute}},
		"410":                         {response: answer(410), attempts: 1, want: verdict{giveUp: true, gone: true}},
		"no answer":                   {response: Response{Err: ErrPrivate}, attempts: 3, want: verdict{wait: 5 * time.Minute}},
		"the last pause is repeated":  {response: answer(500), attempts: 30, age: time.Hour, want: verdict{wait: 10 * time.Hour}},
		"spread":                      {response: answer(500), attempts: 1, spread: 0.5, want: verdict{wait: 5500 * time.Millisecond}},
		"Retry-After is longer":       {response: Response{Status: 429, RetryAfter: time.Hour}, attempts: 1, want: verdict{wait: time.Hour}},
		"Retry-After is shorter":      {response: Response{Status: 429, RetryAfter: time.Second}, attempts: 2, want: verdict{wait: time.Minute}},
		"Retry-After is a year":       {response: Response{Status: 503, RetryAfter: 365 * 24 * time.Hour}, attempts: 1, want: verdict{wait: 12 * time.Hour}},
		"one last try in time":        {response: answer(500), attempts: 7, age: 71 * time.Hour, want: verdict{wait: time.Hour}},
		"too old":                     {response: answer(500), attempts: 8, age: 72 * time.Hour, want: verdict{giveUp: true}},
	} {
		if got := judge(&c.response, c.attempts, c.age, delays, c.spread); got != c.want {
			t.Errorf("%s: judge = %+v, want %+v", name, got, c.want)
		}
	}
}

// TestJudge_Ends goes through the attempts of an event whose receiver never takes it.
func TestJudge_Ends(t *testing.T) {
	t.Parallel()
	age, attempts := time.Duration(0), 1
	for ; attempts < 100; attempts++ {
		v := judge(&Response{Status: 500}, attempts, age, delays, 0)
		if v.giveUp {
			break
		}
		age += v.wait
	}
	if attempts != 14 || age != GiveUpAfter {
		t.Errorf("given up after %d attempts in %v, want 14 in %v", attempts, age, GiveUpAfter)
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	var b breaker
	now := time.Unix(1e9, 0)
	wants := func(what string, want int) {
		t.Helper()
		if got := b.allows(now, 8); got != want {
			t.Errorf("%s: allows %d, want %d", what, got, want)
		}
	}
	wants("at first", 8)
	for i := range breakAfter {
		wants("before it breaks", 8)
		if broke := b.observe(now, &Response{Status: 500}); broke != (i == breakAfter-1) {
			t.Errorf("failure %d: observe = %v", i+1, broke)
		}
	}
	wants("broken", 0)
	now = now.Add(time.Second)
	wants("a second later", 1)
	for range 20 {
		b.observe(now, &Response{Err: ErrPrivate})
	}
	now = now.Add(longestBreak - 1)
	wants("within a minute", 0)
	now = now.Add(1)
	wants("a minute later", 1)
	b.observe(now, &Response{Status: 400})
	wants("after an answer", 8)
	b.observe(now, &Response{Status: 429, RetryAfter: time.Minute})
	wants("asked to wait", 0)
	now = now.Add(time.Minute)
	wants("having waited", 8)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999": maxRetryAfter,
		"Sun, 01 Mar 2026 12:01:00 GMT": time.Minute, "Sun, 01 Mar 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", text, got, want)
		}
	}
}
