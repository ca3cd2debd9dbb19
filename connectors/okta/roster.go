package okta

import (
	"iter"
	"sync"
)

// roster holds the ids that the phases of a pull came across, so that they can be held against each other: a member
// of a group that is missing from the user list shows that the list was short. An id takes 17 bytes, not the hundred
// of a string in a map: its letters and digits are packed, and can be unpacked when one is missing.
type roster struct {
	mu     sync.Mutex
	packed map[packedID]mark
	longer map[string]mark // ids of more than 20 characters
}

// packedID is an id of up to 20 letters and digits as two numbers in base 63, where 0 is no character.
type packedID [2]uint64

type mark uint8

const (
	listed mark = 1 << iota // seen in the user list
	member                  // seen in a group, and not deprovisioned
)

func newRoster() *roster {
	return &roster{packed: map[packedID]mark{}, longer: map[string]mark{}}
}

// add marks the id and returns the marks that it had before.
func (r *roster) add(id string, m mark) mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok := pack(id); ok {
		before := r.packed[key]
		if before&m != m {
			r.packed[key] = before | m
		}
		return before
	}
	before := r.longer[id]
	r.longer[id] = before | m
	return before
}

// list marks the id as listed and tells whether it is to be kept: it was not listed before and, where only members
// are wanted, is a member. Others are not remembered then.
func (r *roster) list(id string, members bool) bool {
	if members && r.marks(id)&member == 0 {
		return false
	}
	return r.add(id, listed)&listed == 0
}

func (r *roster) marks(id string) mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok := pack(id); ok {
		return r.packed[key]
	}
	return r.longer[id]
}

// missing yields the members that are not listed.
func (r *roster) missing() iter.Seq[string] {
	return func(yield func(string) bool) {
		for key, m := range r.packed {
			if m == member && !yield(key.String()) {
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

func pack(id string) (packedID, bool) {
	var key packedID
	if len(id) > 20 {
		return key, false
	}
	for i := range 20 {
		digit := uint64(0)
		if i < len(id) {
			if digit = digits[id[i]]; digit == 0 {
				return key, false
			}
		}
		key[i/10] = key[i/10]*63 + digit
	}
	return key, true
}

// String returns the id.
func (k packedID) String() string {
	var b [20]byte
	n := 0
	for i := 19; i >= 0; i-- {
		digit := k[i/10] % 63
		k[i/10] /= 63
		if digit > 0 {
			b[i] = alphabet[digit-1]
			n++
		}
	}
	return string(b[:n])
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var digits = func() (table [256]uint64) {
	for i := range len(alphabet) {
		table[alphabet[i]] = uint64(i + 1)
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
