package signin

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/store"
)

// world keeps counters as the store does, with a clock of its own.
type world struct {
	now      time.Time
	counters map[store.FailureKey]store.Failures
}

func newWorld() *world {
	return &world{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), map[store.FailureKey]store.Failures{}}
}

// try makes a try and returns whether it was let in, and if not, when the next one may be.
func (w *world) try(p place, right bool) (bool, time.Time) {
	keys := p.keys()
	held := make([]store.Failures, len(keys))
	for i, k := range keys {
		held[i] = store.Failures{FailureKey: k, Since: w.now, Last: w.now}
		if c, ok := w.counters[k]; ok {
			held[i] = c
		}
	}
	if blocking, until := judge(w.now, held); blocking != nil {
		return false, until
	}
	spend(w.now, held)
	if right {
		refund(held, append([]store.Failures(nil), held...), true)
	}
	for i, k := range keys {
		if w.counters[k] = held[i]; held[i].Count == 0 {
			delete(w.counters, k)
		}
	}
	return true, time.Time{}
}

func TestWait(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{
		1: 0, 4: 0, 5: time.Second, 6: 2 * time.Second, 14: 512 * time.Second, 15: 15 * time.Minute, 16: 15 * time.Minute, 1000: 15 * time.Minute, 1 << 40: 15 * time.Minute,
	} {
		if got := wait(failures, freeInPlace); got != want {
			t.Errorf("wait(%d) = %s, want %s", failures, got, want)
		}
	}
}

// TestAttackForADay lets attackers try as often as they are let in, for a day, from several networks, and one account or
// many. It says how many tries they get, and that the admin gets in at the first try all along: on a network where
// nobody failed, and in a known browser on the attackers' own.
func TestAttackForADay(t *testing.T) {
	t.Parallel()
	const (
		// Of one account from one network: the free ones, the doubling waits up to 15 minutes, and one each 15 minutes.
		ofOne   = freeInPlace + 10 + 96
		windows = 24 * 4
	)
	for _, tc := range []struct {
		networks, accounts int
		most               int // tries at the admin's account in the day
	}{
		{1, 1, ofOne},
		{1, 50, freeOfNetwork + 10 + 96}, // the network's counter, over all accounts
		{20, 1, 20 * ofOne},
		// Beyond 50 in 15 minutes only networks that never failed get one try each.
		{2000, 1, windows*accountMost + 2000},
	} {
		t.Run(fmt.Sprintf("%d networks, %d accounts", tc.networks, tc.accounts), func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			begin, tries := w.now, 0
			free := make([]time.Time, tc.networks*tc.accounts) // when the next try may be, by network and account
			for i := 0; w.now.Sub(begin) < 24*time.Hour; i++ {
				next := w.now.Add(24 * time.Hour)
				for k := range free {
					if free[k].After(w.now) {
						next = earlier(next, free[k])
						continue
					}
					p := place{account: fmt.Sprint(k % tc.accounts), network: fmt.Sprint("attacker ", k/tc.accounts)}
					ok, until := w.try(p, false)
					if ok && p.account == "0" {
						tries++
					}
					if !ok {
						free[k] = until
						next = earlier(next, until)
					} else {
						next = w.now // at once again
					}
				}
				if i%7 == 0 {
					for what, p := range map[string]place{
						"a clean network": {account: "0", network: fmt.Sprint("clean ", i)},
						"a known browser": {account: "0", network: "attacker 0", browser: "known"},
					} {
						if ok, until := w.try(p, true); !ok {
							t.Fatalf("after %s the admin, on %s, waits until %s", w.now.Sub(begin), what, until)
						}
					}
				}
				w.now = later(next, w.now.Add(time.Millisecond))
			}
			t.Logf("%d tries at the account in a day", tries)
			if tries > tc.most {
				t.Errorf("%d tries at the account in a day, want at most %d", tries, tc.most)
			}
			if tries < tc.most/4 {
				t.Errorf("%d tries in a day: the attackers of this test do not try", tries)
			}
		})
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// TestNobodyIsLockedOut draws whatever attackers do, and expects that somebody gets in who tries for the first time: from
// a network that did not fail, whatever else did, and in a known browser.
func TestNobodyIsLockedOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for i := range rapid.IntRange(1, 300).Draw(t, "steps") {
			p := place{account: "admin", network: fmt.Sprint(rapid.IntRange(0, 80).Draw(t, "network"))}
			if rapid.Bool().Draw(t, "another account") {
				p.account = fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "account"))
			}
			w.try(p, false)
			w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(5*time.Minute)).Draw(t, "later")))
			if ok, until := w.try(place{account: "admin", network: fmt.Sprint("clean ", i)}, true); !ok {
				t.Fatalf("from a clean network: waits until %s", until)
			}
			if ok, until := w.try(place{account: "admin", network: p.network, browser: "known"}, true); !ok {
				t.Fatalf("in a known browser: waits until %s", until)
			}
		}
	})
}

func TestAKnownBrowserIsCountedForItself(t *testing.T) {
	t.Parallel()
	w := newWorld()
	stolen := place{account: "admin", network: "n", browser: "stolen"}
	tries := 0
	for end := w.now.Add(24 * time.Hour); w.now.Before(end); {
		ok, until := w.try(stolen, false)
		if ok {
			tries++
			continue
		}
		w.now = until
	}
	if tries > freeInPlace+10+96 || tries < 50 {
		t.Errorf("%d tries in a day in one browser, want at most %d", tries, freeInPlace+10+96)
	}
	if ok, _ := w.try(place{account: "admin", network: "n"}, true); !ok {
		t.Error("what failed in a browser counts for its network")
	}
	if ok, _ := w.try(place{account: "admin", network: "n", browser: "another"}, true); !ok {
		t.Error("what failed in a browser counts for another")
	}
}

// TestTheNetworkIsNotForgiven: whoever has an account of their own cannot begin anew with it.
func TestTheNetworkIsNotForgiven(t *testing.T) {
	t.Parallel()
	w := newWorld()
	blocked := false
	for i := range 200 {
		if ok, _ := w.try(place{account: fmt.Sprint("victim ", i), network: "n"}, false); !ok {
			blocked = true
			break
		}
		w.try(place{account: "own", network: "n"}, true)
	}
	if !blocked {
		t.Error("200 accounts tried from one network, with right passwords of its own in between")
	}
}

func TestFailuresAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld()
	p := place{account: "a", network: "n"}
	for range freeInPlace + 1 {
		w.try(p, false)
	}
	if ok, until := w.try(p, true); ok || !until.Equal(w.now.Add(time.Second)) {
		t.Fatalf("after %d failures: %v until %s, want to wait a second", freeInPlace+1, ok, until)
	}
	w.now = w.now.Add(time.Second)
	if ok, _ := w.try(p, true); !ok {
		t.Fatal("the wait does not end")
	}
	if _, held := w.counters[p.keys()[0]]; held {
		t.Error("what failed before the right password is remembered")
	}
	for range freeInPlace + 1 {
		w.try(p, false)
	}
	w.now = w.now.Add(forgetAfter)
	for i := range freeInPlace {
		if ok, _ := w.try(p, false); !ok {
			t.Fatalf("a day later, try %d waits", i+1)
		}
	}
}

// TestRefund sees that a try that was none leaves no trace, and takes nobody else's failure back.
func TestRefund(t *testing.T) {
	t.Parallel()
	now := newWorld().now
	counters := make([]store.Failures, 3)
	for i, k := range (place{account: "a", network: "n"}).keys() {
		counters[i] = store.Failures{FailureKey: k, Count: freeOfNetwork, Since: now, Last: now}
	}
	spend(now, counters)
	mine := append([]store.Failures(nil), counters...)
	later := now.Add(time.Minute)
	spend(later, counters) // somebody else, meanwhile
	refund(counters, mine, false)
	for _, c := range counters {
		if c.Count != freeOfNetwork+1 {
			t.Errorf("%s: %d failures, want %d", c.Kind, c.Count, freeOfNetwork+1)
		}
		if c.Kind != store.FailuresOfAccount && !c.Until.After(later) {
			t.Errorf("%s: somebody else's wait was taken back", c.Kind)
		}
	}
	spend(later, counters)
	refund(counters, append([]store.Failures(nil), counters...), true)
	if counters[0].Count != 0 || counters[1].Count != freeOfNetwork+1 || !counters[1].Until.IsZero() {
		t.Errorf("after the right password: pair %d, network %d until %s", counters[0].Count, counters[1].Count, counters[1].Until)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.1": "192.0.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "elsewhere", "pipe": "elsewhere",
	} {
		if got := network(remote); got != want {
			t.Errorf("network(%q) = %q, want %q", remote, got, want)
		}
	}
}

func TestNobodySaysLittle(t *testing.T) {
	t.Parallel()
	if nobody("Ana@Acme.test ") != nobody("ana@acme.test") {
		t.Error("names differ by case")
	}
	names := map[string]bool{}
	for range 1000 {
		names[nobody(fmt.Sprint(rand.Uint64()))] = true
	}
	if len(names) < 990 {
		t.Errorf("1000 names have %d marks", len(names))
	}
	if got := nobody("hunter2 hunter2"); len(got) != len("nobody:")+6 {
		t.Errorf("nobody = %q, want 24 bits of a hash", got)
	}
}
