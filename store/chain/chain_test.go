package chain_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/store/chain"
	"github.com/idpsync/idpsync/store/identity"
)

func event(seq int64) identity.Event {
	return identity.Event{
		Seq: seq, ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", seq), At: time.Date(2026, 3, 1, 12, 0, 0, 120_000_000, time.FixedZone("", 3600)), Type: identity.EventUserUpdated,
		Actor:  identity.Actor{Kind: "key", ID: "k", Name: "K <&>", RequestID: "q"},
		Object: identity.ObjectUser, ObjectID: "u", Name: "ü\x01\x7f\u2028\"\\/\b\f\n\r\t😀",
		Fields: []identity.FieldChange{
			{Path: "n", Before: json.Number("1.0"), After: json.Number("12345678901234567890")},
			{Path: "o", After: map[string]any{"z": []any{nil, true, "x"}, "ä": false, "a": map[string]any{}, "Z": []any{}}},
		},
		Members: []string{"m1", "m2"}, Reason: "because",
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	full, least := event(7), identity.Event{Seq: 1, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	for want, e := range map[string]identity.Event{
		`{"actor":{"id":"k","kind":"key","name":"K <&>"},"at":"2026-03-01T11:00:00.12Z","fields":[` +
			`{"after":12345678901234567890,"before":1.0,"path":"n"},{"after":{"Z":[],"a":{},"z":[null,true,"x"],"ä":false},"before":null,"path":"o"}],` +
			`"id":"00000000-0000-7000-8000-000000000007","members":["m1","m2"],"name":"ü\u0001` + "\x7f\u2028" + `\"\\/\b\f\n\r\t😀","object":"user","object_id":"u",` +
			`"reason":"because","request_id":"q","seq":7,"type":"user.updated"}`: full,
		`{"actor":{"id":"","kind":"","name":""},"at":"2026-03-01T12:00:00Z","fields":[],"id":"","name":"","object":"","object_id":"","seq":1,"type":""}`: least,
	} {
		got, err := chain.Canonical(&e)
		if err != nil || string(got) != want {
			t.Errorf("Canonical = %s, error %v, want %s", got, err, want)
		}
		if !json.Valid(got) {
			t.Errorf("Canonical = %s, which is no JSON", got)
		}
	}
	if _, err := chain.Canonical(&identity.Event{Fields: []identity.FieldChange{{Path: "x", After: 1}}}); err == nil {
		t.Error("Canonical of a number that was not read from a database: no error")
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	e, prev := event(7), chain.Hash{0xAB}
	canonical, err := chain.Canonical(&e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := chain.Of(prev, &e)
	if want := chain.Hash(sha256.Sum256([]byte("ab" + strings.Repeat("0", 62) + "\n" + string(canonical)))); err != nil || got != want {
		t.Errorf("Of = %s, error %v, want %s", got, err, want)
	}
}

func TestParseHead(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 32)
	for text, ok := range map[string]bool{
		"7:" + hash: true, "0:" + strings.Repeat("0", 64): true, "0:" + hash: false, "7": false, "": false, "x:" + hash: false, "-1:" + hash: false, "7:" + hash[2:]: false, "7:" + hash + "00": false,
	} {
		head, err := chain.ParseHead(text)
		if (err == nil) != ok || ok && head.String() != text {
			t.Errorf("ParseHead(%q) = %v, error %v", text, head, err)
		}
	}
}

// export returns the lines of a log of n events.
func export(t *testing.T, n int) ([]string, chain.Head) {
	t.Helper()
	var (
		lines []string
		head  chain.Head
	)
	for i := range n {
		e := event(int64(100 + i))
		hash, err := chain.Of(head.Hash, &e)
		if err != nil {
			t.Fatal(err)
		}
		line, err := chain.Line(&e, &chain.Link{Seq: head.Count + 1, Prev: head.Hash, Hash: hash})
		if err != nil {
			t.Fatal(err)
		}
		head = chain.Head{Count: head.Count + 1, Hash: hash}
		lines = append(lines, string(line))
	}
	return lines, head
}

func unsealed(t *testing.T) string {
	t.Helper()
	e := event(500)
	line, err := chain.Line(&e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

func TestVerifyFile(t *testing.T) {
	t.Parallel()
	lines, head := export(t, 6)
	replaced := func(i int, old, with string) []string {
		if !strings.Contains(lines[i], old) {
			t.Fatalf("%s has no %s", lines[i], old)
		}
		list := slices.Clone(lines)
		list[i] = strings.Replace(list[i], old, with, 1)
		return list
	}
	for _, c := range []struct {
		name    string
		lines   []string
		expect  *chain.Head
		partial bool
		want    string // in the error; "" for none
		line    int64
	}{
		{name: "whole", lines: lines, expect: &head},
		{name: "spaced otherwise", lines: replaced(2, `,"`, ` , "`)},
		{name: "with a blank line", lines: slices.Insert(slices.Clone(lines), 1, "\n")},
		{name: "empty"},
		{name: "empty, where something was expected", expect: &head, want: "is not in the file"},
		{name: "cut, where more was expected", lines: lines[:5], expect: &head, want: "position 6 is not in the file, which ends at 5"},
		{name: "of another log", lines: lines, expect: &chain.Head{Count: 4, Hash: head.Hash}, want: "expected was", line: 4},
		{name: "with events that are not sealed", lines: append(slices.Clone(lines), unsealed(t))},
		{name: "with an event that lost its place", lines: slices.Insert(slices.Clone(lines), 2, unsealed(t)), want: "without a place in the chain", line: 4},
		{name: "an event is altered", lines: replaced(2, "because", "whatever"), want: "not the one that was sealed", line: 3},
		{name: "a number is altered a little", lines: replaced(2, "12345678901234567890", "12345678901234567891"), want: "not the one that was sealed", line: 3},
		{name: "a key is added", lines: replaced(2, `"actor":`, `"x":1,"actor":`), want: "not the one that was sealed", line: 3},
		{name: "something comes after an event", lines: replaced(2, "}\n", "}{}\n"), want: "something comes after it", line: 3},
		{name: "a hash is altered", lines: replaced(2, `"hash":"`, `"hash":"00`), want: "64 hexadecimal digits", line: 3},
		{name: "more under chain", lines: replaced(2, `"chain":{`, `"chain":{"x":1,`)},
		{name: "no position", lines: replaced(2, `"seq":3`, `"seq":"3"`), want: "chain.seq is missing", line: 3},
		{name: "another position", lines: replaced(5, `"seq":6`, `"seq":7`), want: "after 5 comes 7", line: 6},
		{name: "no JSON", lines: replaced(2, `"actor"`, `actor`), want: "no JSON object", line: 3},
		{name: "an event is missing", lines: slices.Delete(slices.Clone(lines), 2, 3), want: "the event is missing: after 2 comes 4", line: 3},
		{name: "the first event is missing", lines: lines[1:], want: "the event is missing: after 0 comes 2", line: 1},
		{name: "an event is missing from a part", lines: slices.Delete(slices.Clone(lines), 2, 3), expect: &head, partial: true},
		{name: "an event is altered in a part", lines: slices.Delete(replaced(4, "because", "whatever"), 2, 3), partial: true, want: "not the one that was sealed", line: 4},
		{name: "an event twice", lines: slices.Insert(slices.Clone(lines), 2, lines[1]), want: "it comes after 2", line: 3},
		{name: "two events change places", lines: []string{lines[0], lines[2], lines[1]}, want: "the event is missing: after 1 comes 3", line: 2},
		{name: "the newest first", lines: []string{lines[2], lines[1]}, partial: true, want: "export in the order of the chain", line: 2},
	} {
		got, err := chain.VerifyFile(strings.NewReader(strings.Join(c.lines, "")), c.expect, c.partial)
		var broken *chain.BrokenError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: error %v, want none", c.name, err)
		case c.want == "":
			if len(c.lines) > 0 && got.Head != head {
				t.Errorf("%s: %+v, want head %s", c.name, got, head)
			}
		case !errors.As(err, &broken) || !strings.Contains(err.Error(), c.want) || broken.Line != c.line:
			t.Errorf("%s: error %v, want one of line %d with %q", c.name, err, c.line, c.want)
		}
	}
}

// TestVerifyFile_Forged links two events that do not belong together, each with a hash of its own that is right.
func TestVerifyFile_Forged(t *testing.T) {
	t.Parallel()
	lines, _ := export(t, 3)
	e := event(102)
	e.Reason = "forged"
	prev := chain.Hash{1}
	hash, err := chain.Of(prev, &e)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := chain.Line(&e, &chain.Link{Seq: 3, Prev: prev, Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.VerifyFile(strings.NewReader(lines[0]+lines[1]+string(forged)), nil, false)
	if err == nil || !strings.Contains(err.Error(), "the hash before it is not that of 2") {
		t.Errorf("VerifyFile: error %v", err)
	}
}

func FuzzVerifyFile(f *testing.F) {
	e := event(1)
	hash, err := chain.Of(chain.Hash{}, &e)
	if err != nil {
		f.Fatal(err)
	}
	line, err := chain.Line(&e, &chain.Link{Seq: 1, Hash: hash})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"chain":{"seq":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := chain.VerifyFile(bytes.NewReader(text), nil, true)
		if err == nil && got.Events > 0 && got.Head.Hash == (chain.Hash{}) {
			t.Errorf("VerifyFile = %+v of %q", got, text)
		}
	})
}
