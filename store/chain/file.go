package chain

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line of an export. A membership event names all who came.
const maxLine = 256 << 20

// File is what an export came to.
type File struct {
	First    int64 // position of the first sealed event; 0 where there is none
	Head     Head  // of the last
	Events   int64 // sealed ones
	Unsealed int64 // events that were exported before they were sealed: nothing proves these
	Gaps     int64 // places at which events are left out; only where partial
}

// VerifyFile verifies an export, in the order of the chain: each line by itself, and that each is the successor of the one
// before. It has to begin with the first event, unless partial: then events may be left out, as filters do. A *BrokenError
// says what is wrong.
func VerifyFile(r io.Reader, expect *Head, partial bool) (File, error) {
	var f File
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	passed := expect == nil || expect.Count == 0
	n := int64(0)
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		at, err := f.line(lines.Bytes(), partial)
		var broken *BrokenError
		if errors.As(err, &broken) {
			broken.Line = n
		}
		if err != nil {
			return f, err
		}
		if expect != nil && at == expect.Count {
			passed = true
			if f.Head.Hash != expect.Hash {
				return f, &BrokenError{Line: n, Position: at, Problem: fmt.Sprintf("the hash is %s, expected was %s", f.Head.Hash, expect.Hash)}
			}
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return f, fmt.Errorf("line %d is longer than %d bytes", n+1, maxLine)
	case err != nil:
		return f, err
	case !passed:
		return f, &BrokenError{Problem: fmt.Sprintf("the event at position %d is not in the file, which ends at %d", expect.Count, f.Head.Count)}
	}
	return f, nil
}

// line looks at one line and returns its position, 0 for an event that was not sealed.
func (f *File) line(text []byte, partial bool) (int64, error) {
	var object map[string]any
	if err := parse(text, &object); err != nil {
		return 0, &BrokenError{Problem: "no JSON object: " + err.Error()}
	}
	id, _ := object["id"].(string)
	value, sealed := object["chain"]
	if !sealed {
		f.Unsealed++
		return 0, nil
	}
	if f.Unsealed > 0 && !partial {
		return 0, &BrokenError{EventID: id, Problem: "before it comes an event without a place in the chain, although this one has one"}
	}
	position, prev, hash, err := linkOf(value)
	if err != nil {
		return 0, &BrokenError{EventID: id, Problem: err.Error()}
	}
	delete(object, "chain")
	canonical, err := appendCanonical(nil, object)
	if err != nil {
		return 0, &BrokenError{Position: position, EventID: id, Problem: err.Error()}
	}
	if Next(prev, canonical) != hash {
		return 0, &BrokenError{Position: position, EventID: id, Problem: "the event is not the one that was sealed: it was altered, or its hashes were"}
	}
	switch {
	case position <= f.Head.Count:
		return 0, &BrokenError{Position: position, EventID: id, Problem: fmt.Sprintf("it comes after %d: export in the order of the chain", f.Head.Count)}
	case position != f.Head.Count+1 && !partial:
		return 0, &BrokenError{Position: f.Head.Count + 1, Problem: fmt.Sprintf("the event is missing: after %d comes %d", f.Head.Count, position)}
	case position != f.Head.Count+1:
		f.Gaps++
	case prev != f.Head.Hash:
		return 0, &BrokenError{Position: position, EventID: id, Problem: fmt.Sprintf("the hash before it is not that of %d", f.Head.Count)}
	}
	if f.First == 0 {
		f.First = position
	}
	f.Head = Head{position, hash}
	f.Events++
	return position, nil
}

func linkOf(value any) (position int64, prev, hash Hash, err error) {
	link, _ := value.(map[string]any)
	number, _ := link["seq"].(interface{ Int64() (int64, error) })
	if number == nil {
		return 0, prev, hash, errors.New("chain.seq is missing, or no number")
	}
	if position, err = number.Int64(); err != nil || position < 1 {
		return 0, prev, hash, errors.New("chain.seq is no position in the chain")
	}
	for name, into := range map[string]*Hash{"prev": &prev, "hash": &hash} {
		text, _ := link[name].(string)
		if *into, err = ParseHash(text); err != nil {
			return position, prev, hash, fmt.Errorf("chain.%s: %w", name, err)
		}
	}
	return position, prev, hash, nil
}
