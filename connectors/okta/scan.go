package okta

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// scanner walks a JSON text (RFC 8259) without building values: a page states a few names of the many that it
// carries, and group members are a whole user object each for the sake of one id. It accepts exactly the texts that
// encoding/json does, up to a depth of maxDepth; FuzzScanner holds the two against each other.
type scanner struct {
	data  []byte
	pos   int
	depth int
}

const maxDepth = 200

// text is a string as it stands between its quotes.
type text struct {
	raw   []byte
	plain bool // raw needs no unescaping
}

// String returns the string that t stands for.
func (t text) String() string {
	if t.plain {
		return string(t.raw)
	}
	var s string
	quoted := make([]byte, 0, len(t.raw)+2)
	quoted = append(append(append(quoted, '"'), t.raw...), '"')
	_ = json.Unmarshal(quoted, &s) // the scanner has checked it
	return s
}

func (t text) append(b []byte) []byte {
	if t.plain {
		return append(b, t.raw...)
	}
	return append(b, t.String()...)
}

func (t text) is(s string) bool {
	if t.plain {
		return string(t.raw) == s
	}
	return t.String() == s
}

func (s *scanner) fail(want string) error {
	if s.pos >= len(s.data) {
		return fmt.Errorf("the body ends at byte %d, want %s", s.pos, want)
	}
	return fmt.Errorf("malformed JSON at byte %d, want %s", s.pos, want)
}

// peek returns the next byte that is no space, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end returns an error unless nothing but space is left.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.data) {
		return s.fail("the end")
	}
	return nil
}

// array calls item at each item, which it must consume.
func (s *scanner) array(item func() error) error {
	if s.peek() != '[' {
		return s.fail("an array")
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail("less depth")
	}
	s.pos++
	if s.peek() == ']' {
		s.pos++
		s.depth--
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			s.depth--
			return nil
		default:
			return s.fail("',' or ']'")
		}
	}
}

// object calls field at each member's value, which it must consume.
func (s *scanner) object(field func(name text) error) error {
	if s.peek() != '{' {
		return s.fail("an object")
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail("less depth")
	}
	s.pos++
	if s.peek() == '}' {
		s.pos++
		s.depth--
		return nil
	}
	for {
		s.peek()
		name, err := s.text()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return s.fail("':'")
		}
		s.pos++
		if err := field(name); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			s.depth--
			return nil
		default:
			return s.fail("',' or '}'")
		}
	}
}

// skip passes over one value.
func (s *scanner) skip() error {
	switch c := s.peek(); c {
	case '"':
		_, err := s.text()
		return err
	case '{':
		return s.object(func(text) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *scanner) literal(word string) error {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return s.fail("a value")
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) number() error {
	at := func() byte {
		if s.pos < len(s.data) {
			return s.data[s.pos]
		}
		return 0
	}
	digits := func() bool {
		start := s.pos
		for c := at(); '0' <= c && c <= '9'; c = at() {
			s.pos++
		}
		return s.pos > start
	}
	if at() == '-' {
		s.pos++
	}
	if at() == '0' {
		s.pos++
	} else if !digits() {
		return s.fail("a value")
	}
	if at() == '.' {
		s.pos++
		if !digits() {
			return s.fail("a digit")
		}
	}
	if c := at(); c == 'e' || c == 'E' {
		s.pos++
		if c := at(); c == '+' || c == '-' {
			s.pos++
		}
		if !digits() {
			return s.fail("a digit")
		}
	}
	return nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// text reads the string at the scanner's place, eight bytes at a time: each step looks for a quote, a backslash, a
// control character or a byte that is not ASCII.
func (s *scanner) text() (text, error) {
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		return text{}, s.fail("a string")
	}
	data, start := s.data, s.pos+1
	ascii, plain := true, true
	for i := start; ; {
		for i+8 <= len(data) {
			word := binary.LittleEndian.Uint64(data[i:])
			quote, slash := word^(ones*'"'), word^(ones*'\\')
			stop := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((word - ones*0x20) &^ word) | word
			if stop &= highs; stop != 0 {
				i += bits.TrailingZeros64(stop) / 8
				break
			}
			i += 8
		}
		if i >= len(data) {
			s.pos = i
			return text{}, s.fail("a closing quote")
		}
		switch c := data[i]; {
		case c == '"':
			t := text{raw: data[start:i], plain: plain}
			if !ascii && plain {
				t.plain = utf8.Valid(t.raw)
			}
			s.pos = i + 1
			return t, nil
		case c == '\\':
			plain = false
			n := escape(data[i:])
			if n == 0 {
				s.pos = i
				return text{}, s.fail("a legal escape")
			}
			i += n
		case c < 0x20:
			s.pos = i
			return text{}, s.fail("no control character")
		default:
			if c >= utf8.RuneSelf {
				ascii = false
			}
			i++
		}
	}
}

// escape returns the length of the escape that b begins with, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if (c < '0' || '9' < c) && (c < 'a' || 'f' < c) && (c < 'A' || 'F' < c) {
				return 0
			}
		}
		return 6
	}
	return 0
}
