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
	object := map[string]any{
		"actor": map[string]any{"id": e.Actor.ID, "kind": e.Actor.Kind, "name": e.Actor.Name},
		"at":    e.At.UTC().Format(time.RFC3339Nano), "id": e.ID, "name": e.Name, "object": string(e.Object),
		"object_id": e.ObjectID, "seq": json.Number(strconv.FormatInt(e.Seq, 10)), "type": string(e.Type),
	}
	for key, value := range map[string]string{"request_id": e.Actor.RequestID, "run_id": e.Actor.RunID, "reason": e.Reason} {
		if value != "" {
			object[key] = value
		}
	}
	fields := make([]any, len(e.Fields))
	for i, f := range e.Fields {
		fields[i] = map[string]any{"after": f.After, "before": f.Before, "path": f.Path}
	}
	object["fields"] = fields
	if len(e.Members) > 0 {
		members := make([]any, len(e.Members))
		for i, m := range e.Members {
			members[i] = m
		}
		object["members"] = members
	}
	return appendCanonical(nil, object)
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
