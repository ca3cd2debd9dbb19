package okta

import (
	"fmt"
	"strings"
	"testing"
)

// TestRosterUnpacksWhatItPacked covers ids of every length up to twenty, and one longer.
func TestRosterUnpacksWhatItPacked(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 20; n++ {
		for _, id := range []string{alphabet[:n], strings.Repeat("0", n), strings.Repeat("z", n)} {
			key, ok := pack(id)
			if !ok || key.String() != id {
				t.Errorf("pack(%q).String() = %q, %t", id, key.String(), ok)
			}
		}
	}
	long := strings.Repeat("A", 21)
	r := newRoster()
	r.add(long, member)
	r.add("00u1", member)
	r.add("00u2", member)
	r.add("00u2", listed)
	missing := map[string]bool{}
	for id := range r.missing() {
		missing[id] = true
	}
	if len(missing) != 2 || !missing[long] || !missing["00u1"] {
		t.Errorf("missing() = %v, want 00u1 and the long one", missing)
	}
	if r.list("00u3", true) || !r.list("00u1", true) || r.list("00u1", true) {
		t.Error("list keeps members, once")
	}
}

// TestRosterGrows keeps marks while the table grows.
func TestRosterGrows(t *testing.T) {
	t.Parallel()
	r := newRoster()
	id := func(i int) string { return fmt.Sprintf("00u%017d", i) }
	const n = 10_000
	for i := range n {
		if before := r.add(id(i), member); before != 0 {
			t.Fatalf("add(%s) = %d, want 0", id(i), before)
		}
	}
	for i := range n {
		if !r.list(id(i), true) || r.list(id(i), true) || r.list(id(n+i), true) {
			t.Fatalf("list(%s) does not keep members, once", id(i))
		}
	}
	for missing := range r.missing() {
		t.Fatalf("%s is missing", missing)
	}
}
