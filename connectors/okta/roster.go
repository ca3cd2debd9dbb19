package okta

import (
	"iter"
	"math/bits"
	"math/rand/v2"
	"sync"
)

// roster holds the ids that the phases of a pull came across, so that they can be held against each other: a member
// of a group that is missing from the user list shows that the list was short. An id takes 16 bytes and no pointer:
// its letters and digits are packed into a table with open addressing, and unpacked when one is missing. A million
// ids take 32 MB; strings in a map take four times that.
type roster struct {
	mu     sync.Mutex
	slots  []packedID // of a length that is a power of two; the zero slot is empty
	used   int
	seed   uint64
	longer map[string]mark // ids of more than 20 characters
}

// packedID is an id of up to 20 letters and digits, six bits each, where 0 is no character. Ten characters take 60
// bits of a number; a slot's marks are in the four highest bits of the first.
type packedID [2]uint64

type mark uint8

const (
	listed mark = 1 << iota // seen in the user list
	member                  // seen in a group, and not deprovisioned
)

const markShift = 60

func newRoster() *roster {
	return &roster{slots: make([]packedID, 1<<10), seed: rand.Uint64() | 1, longer: map[string]mark{}}
}

// slot returns the index of the id's slot, or of the empty one where it belongs.
func (r *roster) slot(key packedID) int {
	most := uint64(len(r.slots) - 1)
	for i := bits.RotateLeft64((key[0]^bits.RotateLeft64(key[1], 29))*r.seed, 32) & most; ; i = (i + 1) & most {
		if s := r.slots[i]; s[0] == 0 || s[1] == key[1] && s[0]&(1<<markShift-1) == key[0] {
			return int(i)
		}
	}
}

func (r *roster) grow() {
	old := r.slots
	r.slots = make([]packedID, 2*len(old))
	for _, s := range old {
		if s[0] != 0 {
			r.slots[r.slot(packedID{s[0] & (1<<markShift - 1), s[1]})] = s
		}
	}
}

// add marks the id and returns the marks that it had before.
func (r *roster) add(id string, m mark) mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.put(id, m)
}

// addMembers marks the ids of members, those left out that are gone.
func (r *roster) addMembers(ids []string, gone []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, id := range ids {
		if !gone[i] {
			r.put(id, member)
		}
	}
}

func (r *roster) put(id string, m mark) mark {
	key, ok := pack(id)
	if !ok {
		before := r.longer[id]
		r.longer[id] = before | m
		return before
	}
	i := r.slot(key)
	if r.slots[i][0] == 0 {
		if r.used++; r.used > len(r.slots)/2 {
			r.grow()
			i = r.slot(key)
		}
		r.slots[i] = key
	}
	before := mark(r.slots[i][0] >> markShift)
	r.slots[i][0] |= uint64(m) << markShift
	return before
}

// list marks the id as listed and tells whether it is to be kept: it was not listed before and, where only members
// are wanted, is a member. Others are not remembered then.
func (r *roster) list(id string, members bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if members && r.marks(id)&member == 0 {
		return false
	}
	return r.put(id, listed)&listed == 0
}

func (r *roster) marks(id string) mark {
	if key, ok := pack(id); ok {
		return mark(r.slots[r.slot(key)][0] >> markShift)
	}
	return r.longer[id]
}

// missing yields the members that are not listed.
func (r *roster) missing() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, s := range r.slots {
			key := packedID{s[0] & (1<<markShift - 1), s[1]}
			if mark(s[0]>>markShift) == member && !yield(key.String()) {
				return
			}
		}
		for id, m := range r.longer {
			if m == member && !yield(id) {
				return
			}
		}
	}
}

// pack returns the id as a number, and false for an id that is too long or has other characters.
func pack(id string) (key packedID, ok bool) {
	if len(id) > 20 {
		return key, false
	}
	cut := min(len(id), 10)
	first, ok1 := sixBits(id[:cut])
	second, ok2 := sixBits(id[cut:])
	return packedID{first, second}, ok1 && ok2
}

// sixBits packs up to ten characters to the left, six bits each.
func sixBits(s string) (n uint64, ok bool) {
	ok = true
	for i := range len(s) {
		digit := digits[s[i]]
		ok = ok && digit != 0
		n = n<<6 | uint64(digit)
	}
	return n << (6 * (10 - len(s))), ok
}

// String returns the id.
func (k packedID) String() string {
	b := make([]byte, 0, 20)
	for _, n := range k {
		for shift := 54; shift >= 0; shift -= 6 {
			if digit := n >> shift & 63; digit > 0 {
				b = append(b, alphabet[digit-1])
			}
		}
	}
	return string(b)
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var digits = func() (table [256]uint8) {
	for i := range len(alphabet) {
		table[alphabet[i]] = uint8(i + 1)
	}
	return table
}()

// validID tells whether the id consists of letters and digits, as every Okta id does; it goes into a path, where the
// SDK escapes nothing.
func validID[T string | []byte](id T) bool {
	for i := range len(id) {
		if digits[id[i]] == 0 {
			return false
		}
	}
	return len(id) > 0
}
