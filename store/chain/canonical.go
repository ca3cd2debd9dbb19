package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/idpsync/idpsync/store/identity"
)

// Canonical returns the canonical form of an event: the JSON object that an export has on the event's line, without
// `chain`, in UTF-8, with keys in the order of their code points, without blanks, with only those characters escaped that
// JSON cannot do without, and with numbers as they were written.
func Canonical(e *identity.Event) ([]byte, error) {
	b := make([]byte, 0, 1024+40*len(e.Members))
	pair := func(before, key, value string) {
		b = appendText(append(appendText(append(b, before...), key), ':'), value)
	}
	optional := func(key, value string) {
		if value != "" {
			pair(",", key, value)
		}
	}
	// Keys are written in their order.
	b = append(b, `{"actor":`...)
	pair("{", "id", e.Actor.ID)
	pair(",", "kind", e.Actor.Kind)
	pair(",", "name", e.Actor.Name)
	b = append(b, '}')
	pair(",", "at", e.At.UTC().Format(time.RFC3339Nano))
	b = append(b, `,"fields":[`...)
	for i := range e.Fields {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendField(b, &e.Fields[i]); err != nil {
			return nil, err
		}
	}
	b = append(b, ']')
	pair(",", "id", e.ID)
	for i, member := range e.Members {
		before := ","
		if i == 0 {
			before = `,"members":[`
		}
		b = appendText(append(b, before...), member)
	}
	if len(e.Members) > 0 {
		b = append(b, ']')
	}
	pair(",", "name", e.Name)
	pair(",", "object", string(e.Object))
	pair(",", "object_id", e.ObjectID)
	optional("reason", e.Reason)
	optional("request_id", e.Actor.RequestID)
	optional("run_id", e.Actor.RunID)
	b = strconv.AppendInt(append(b, `,"seq":`...), e.Seq, 10)
	pair(",", "type", string(e.Type))
	return append(b, '}'), nil
}

func appendField(b []byte, f *identity.FieldChange) (_ []byte, err error) {
	if b, err = appendCanonical(append(b, `{"after":`...), f.After); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	if b, err = appendCanonical(append(b, `,"before":`...), f.Before); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return append(appendText(append(b, `,"path":`...), f.Path), '}'), nil
}

// parse reads a JSON text with its numbers as they are written.
func parse(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something comes after it")
	}
	return nil
}

func appendCanonical(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendText(b, v), nil
	case json.Number:
		return append(b, v...), nil
	case []any:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendCanonical(b, v[i]); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys) // bytes of UTF-8 sort as code points
		b = append(b, '{')
		for i, key := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, key), ':')
			var err error
			if b, err = appendCanonical(b, v[key]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, fmt.Errorf("a value of type %T has no canonical form", value)
}

const hexDigits = "0123456789abcdef"

// appendText writes a string as RFC 8785 does (section 3.2.2.2).
func appendText(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c == '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(b, '"')
}
