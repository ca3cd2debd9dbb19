// Package chain is the hash chain of the audit log: each sealed event has a place in it, and a hash over the event and
// the hash before it. Whoever changes the past has to change every hash after it, up to the head, which others may have
// noted. It decides only: events and lines in, hashes and verdicts out.
package chain

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// Hash is a link: SHA-256 over the hash before it in hexadecimal digits, a line feed, and the event's canonical form.
// The zero Hash is before the first event.
type Hash [sha256.Size]byte

// String returns the hash in 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String returned.
func ParseHash(text string) (Hash, error) {
	var h Hash
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, errors.New("a hash has 64 hexadecimal digits")
	}
	return Hash(b), nil
}

// Next returns the hash of what comes after prev, by its canonical form.
func Next(prev Hash, canonical []byte) Hash {
	b := make([]byte, 0, 2*len(prev)+1+len(canonical))
	b = append(hex.AppendEncode(b, prev[:]), '\n')
	return sha256.Sum256(append(b, canonical...))
}

// Of returns the hash of an event that comes after prev.
func Of(prev Hash, e *identity.Event) (Hash, error) {
	canonical, err := Canonical(e)
	if err != nil {
		return Hash{}, fmt.Errorf("event %d: %w", e.Seq, err)
	}
	return Next(prev, canonical), nil
}

// Head is how long the chain is, and its last hash. It stands for everything before it.
type Head struct {
	Count int64
	Hash  Hash
}

// String returns what ParseHead reads: COUNT:HASH.
func (h Head) String() string { return strconv.FormatInt(h.Count, 10) + ":" + h.Hash.String() }

// ParseHead reads COUNT:HASH.
func ParseHead(text string) (Head, error) {
	count, hash, _ := strings.Cut(text, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 0 {
		return Head{}, fmt.Errorf("head %q: want COUNT:HASH, as idpsync audit verify prints it", text)
	}
	h, err := ParseHash(hash)
	if err != nil {
		return Head{}, fmt.Errorf("head %q: %w; want COUNT:HASH, as idpsync audit verify prints it", text, err)
	}
	if n == 0 && h != (Hash{}) {
		return Head{}, fmt.Errorf("head %q: of no events the hash is all zeros", text)
	}
	return Head{n, h}, nil
}

// BrokenError tells where the log is not what was sealed, and what is wrong there.
type BrokenError struct {
	Position int64  // in the chain; 0 where it is no place in it
	Seq      int64  // of the event; 0 where it is not known
	EventID  string // "" where it is not known
	Line     int64  // in the file; 0 for a database
	Problem  string
}

func (e *BrokenError) Error() string {
	var at []string
	if e.Line > 0 {
		at = append(at, fmt.Sprintf("line %d", e.Line))
	}
	if e.Position > 0 {
		at = append(at, fmt.Sprintf("position %d of the chain", e.Position))
	}
	if e.Seq > 0 {
		at = append(at, fmt.Sprintf("event %d", e.Seq))
	}
	if e.EventID != "" {
		at = append(at, e.EventID)
	}
	if len(at) == 0 {
		return "the audit log is broken: " + e.Problem
	}
	return "the audit log is broken at " + strings.Join(at, ", ") + ": " + e.Problem
}
