package identity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Status is what a source says of a person's account.
type Status string

// Statuses. Only StatusGone and StatusPending end the access of somebody known; StatusUnknown never changes anything.
const (
	StatusActive   Status = "active"   // may sign in
	StatusInactive Status = "inactive" // known, no access for now (Okta SUSPENDED, Entra accountEnabled=false)
	StatusPending  Status = "pending"  // not begun (Okta STAGED): is not created; if known, inactive
	StatusGone     Status = "gone"     // positive evidence of leaving (Okta DEPROVISIONED)
	StatusUnknown  Status = "unknown"  // a state we do not know: keep what is held
)

// Stated is one attribute of a record: a string or bool, or nil for "cleared".
type Stated struct {
	Path  Path
	Value any
}

// Record is a person as a source states it. One that states a change may be a part: what is empty, or missing among
// the attributes, is as it was.
type Record struct {
	SourceID   string // immutable id at the source; never empty
	UserName   string
	ExternalID string
	Status     Status
	RawStatus  string   // the source's own word, for reasons and logs
	Attributes []Stated // in the order of the source's mapping, each path once
	ReadAt     time.Time
}

// GroupRecord is a group as a source states it, without its members.
type GroupRecord struct {
	SourceID    string
	DisplayName string
	ExternalID  string
	Gone        bool // says that it was deleted or left the scope; nothing else is stated then
	ReadAt      time.Time
}

// MemberRecord is a part of one group's direct and flattened membership: users by immutable id. Several parts of one
// group may come one after the other or interleaved with other groups' parts; Last marks the part after which the
// group was listed to its end.
//
// With Delta the record states a change instead: UserIDs came, Removed left, all others are as they were.
type MemberRecord struct {
	GroupID string
	UserIDs []string
	Removed []string // with Delta only
	Last    bool
	Delta   bool
}

// Fingerprint is a 128-bit digest of everything that a record states.
type Fingerprint [16]byte

// IsZero tells whether there is no fingerprint.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// String prints the fingerprint in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Fingerprint digests the record. Two records have the same one exactly when they state the same (SHA-256, first
// 16 bytes); RawStatus and ReadAt do not count.
func (r *Record) Fingerprint() Fingerprint {
	var stack [2048]byte
	b := stack[:0]
	b = appendField(b, r.SourceID)
	b = appendField(b, r.UserName)
	b = appendField(b, r.ExternalID)
	b = appendField(b, string(r.Status))
	for i := range r.Attributes {
		s := &r.Attributes[i]
		b = appendPath(b, &s.Path)
		b = appendValue(b, s.Value)
	}
	sum := sha256.Sum256(b)
	return Fingerprint(sum[:16])
}

// AbsentFingerprint is that of somebody whom the source does not have any more: no record has it.
func AbsentFingerprint() Fingerprint {
	sum := sha256.Sum256([]byte("absent"))
	return Fingerprint(sum[:16])
}

// Fingerprint digests the group record.
func (r *GroupRecord) Fingerprint() Fingerprint {
	var stack [256]byte
	b := appendField(stack[:0], r.SourceID)
	b = appendField(b, r.DisplayName)
	b = appendField(b, r.ExternalID)
	sum := sha256.Sum256(b)
	return Fingerprint(sum[:16])
}

// appendPath writes the four lengths and then the four names: nothing else reads the same.
func appendPath(b []byte, p *Path) []byte {
	for _, n := range [...]int{len(p.Schema), len(p.Attr), len(p.Type), len(p.Sub)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = append(b, p.Schema...)
	b = append(b, p.Attr...)
	b = append(b, p.Type...)
	return append(b, p.Sub...)
}

func appendField(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'n')
	case string:
		return appendField(append(b, 's'), v)
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	default:
		j, err := json.Marshal(v)
		if err != nil {
			j = fmt.Appendf(nil, "%#v", v)
		}
		return appendField(append(b, 'j'), string(j))
	}
}

// SetHash is an order-free 128-bit hash of a set: the exclusive or of its members' keys. The empty set's is zero.
// The halves are signed because that is what databases have.
type SetHash struct{ Hi, Lo int64 }

// Toggle adds a member's key to the set, or takes it out when it is in.
func (h *SetHash) Toggle(key SetHash) {
	h.Hi ^= key.Hi
	h.Lo ^= key.Lo
}

// MemberKey returns the key of a member of a group: by the source's immutable id, or with source "" by the user's id.
func MemberKey(source, id string) SetHash {
	var stack [128]byte
	b := appendField(stack[:0], source)
	b = appendField(b, id)
	sum := sha256.Sum256(b)
	return SetHash{
		Hi: int64(binary.BigEndian.Uint64(sum[:8])),
		Lo: int64(binary.BigEndian.Uint64(sum[8:16])),
	}
}

// Normalize returns the form in which names that are unique without case are compared: trimmed, lower case.
func Normalize(name string) string { return strings.ToLower(strings.TrimSpace(name)) }
