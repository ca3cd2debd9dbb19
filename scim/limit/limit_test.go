package limit

import (
	"strconv"
	"testing"
	"time"
)

// Keys that are no longer used cost nothing for long, however many there have been.
func TestRule5_UnusedKeysAreForgotten(t *testing.T) {
	t.Parallel()
	l, now := New(60), time.Unix(1_800_000_000, 0)
	for i := range 20 * maxIdleKeys {
		if !l.Take("key "+strconv.Itoa(i), now).Allowed {
			t.Fatalf("the first request of key %d is refused", i)
		}
		now = now.Add(10 * time.Millisecond)
	}
	if n := len(l.keys); n > 2*maxIdleKeys {
		t.Errorf("%d keys are remembered", n)
	}
}

// A key in use is not forgotten: its limit would start anew.
func TestRule5_KeysInUseAreRemembered(t *testing.T) {
	t.Parallel()
	l, now := New(60), time.Unix(1_800_000_000, 0)
	allowed := 0
	for i := range 5 * maxIdleKeys {
		if l.Take("busy", now).Allowed {
			allowed++
		}
		l.Take("key "+strconv.Itoa(i), now)
		now = now.Add(2 * time.Millisecond)
	}
	if most := 60 + 10 + 1; allowed > most { // at once, and in the ten seconds that passed
		t.Errorf("%d requests of a key in use were allowed, want %d at most", allowed, most)
	}
}
