package chain

import (
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

// Entry is a place in the chain with the event that it is of. Event is nil where the event is gone.
type Entry struct {
	Position int64
	Seq      int64 // of the event
	Hash     Hash
	Event    *identity.Event
}

// Walk follows the chain from its beginning. The zero Walk stands before it. Whoever has a head from outside asks to
// pass it.
type Walk struct {
	Expect *Head // what the chain has to pass; nil for nothing
	head   Head
	doubt  *doubt
	passed bool
}

// doubt is an entry whose hash is not that of its event. What follows tells which of the two is wrong.
type doubt struct {
	entry    Entry
	computed Hash
}

// Head is up to where the walk has come.
func (w *Walk) Head() Head { return w.head }

// Step goes on to the next entry. What is wrong with an entry may be told by the step after it, or by End.
func (w *Walk) Step(e Entry) error {
	if w.doubt != nil {
		return w.settle(&e, Hash{})
	}
	if e.Position != w.head.Count+1 {
		return &BrokenError{Position: w.head.Count + 1, Problem: fmt.Sprintf("the entry is missing: after %d comes %d", w.head.Count, e.Position)}
	}
	if e.Event == nil {
		return &BrokenError{Position: e.Position, Seq: e.Seq, Problem: "the event is gone from the log"}
	}
	computed, err := Of(w.head.Hash, e.Event)
	if err != nil {
		return &BrokenError{Position: e.Position, Seq: e.Seq, EventID: e.Event.ID, Problem: err.Error()}
	}
	if computed != e.Hash {
		w.doubt = &doubt{e, computed}
		return nil
	}
	w.head = Head{e.Position, e.Hash}
	return w.pass()
}

// pass compares with the head from outside, when the walk comes by.
func (w *Walk) pass() error {
	if w.Expect == nil || w.Expect.Count != w.head.Count {
		return nil
	}
	w.passed = true
	if w.Expect.Hash != w.head.Hash {
		return &BrokenError{Position: w.head.Count, Problem: fmt.Sprintf(
			"the hash is %s, expected was %s: something up to here was changed, and the hashes were computed anew", w.head.Hash, w.Expect.Hash)}
	}
	return nil
}

// settle says what is wrong with the entry in doubt, by the one after it or by the head that was written down.
func (w *Walk) settle(next *Entry, head Hash) error {
	d := w.doubt
	broken := &BrokenError{Position: d.entry.Position, Seq: d.entry.Seq, EventID: d.entry.Event.ID}
	follows := func(h Hash) bool {
		if next == nil {
			return h == head
		}
		if next.Event == nil {
			return false
		}
		after, err := Of(h, next.Event)
		return err == nil && after == next.Hash
	}
	switch {
	case follows(d.entry.Hash):
		broken.Problem = "the event is not the one that was sealed: it was altered, or another one stands in its place"
	case follows(d.computed):
		broken.Problem = "the entry of the chain was altered: its hash is not that of its event, which what follows agrees with"
	default:
		broken.Problem = "the event and its hash do not belong together, nor does what follows: it was altered, or another one stands in its place"
	}
	return broken
}

// End ends the walk: head is what the database says it has to have come to.
func (w *Walk) End(head Head) error {
	if w.doubt != nil {
		return w.settle(nil, head.Hash)
	}
	if w.head.Count < head.Count {
		return &BrokenError{Position: w.head.Count + 1, Problem: fmt.Sprintf(
			"the end of the chain is gone: %d entries are there, %d were sealed", w.head.Count, head.Count)}
	}
	if w.head != head {
		return &BrokenError{Position: w.head.Count, Problem: fmt.Sprintf("the chain ends at %s, the head that was written down is %s", w.head, head)}
	}
	return w.expected()
}

// expected says whether the head from outside was passed.
func (w *Walk) expected() error {
	if w.Expect == nil || w.passed || w.Expect.Count == 0 {
		return nil
	}
	return &BrokenError{Position: w.head.Count + 1, Problem: fmt.Sprintf(
		"the log is shorter than expected: %d events are sealed, %d were: the end is gone", w.head.Count, w.Expect.Count)}
}
