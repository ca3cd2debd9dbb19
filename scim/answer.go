package scim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// answer is what a request is answered with.
type answer struct {
	status   int
	body     any     // nil for none
	rest     []batch // resources that follow those of a listBody, read while the answer is written
	version  int64
	location string // for the header
}

// write sends the answer. An error says that it broke off because the rest of it could not be read.
func (a answer) write(w http.ResponseWriter, headOnly bool) error {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if a.version > 0 {
		header.Set("ETag", etag(a.version))
	}
	if a.location != "" {
		header.Set("Location", a.location)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return nil
	}
	text, err := encode(a.body)
	if err != nil {
		// What is answered was read from JSON or is our own; it encodes.
		http.Error(w, "internal error", http.StatusInternalServerError)
		return nil
	}
	header.Set("Content-Type", "application/scim+json")
	if len(a.rest) == 0 {
		header.Set("Content-Length", strconv.Itoa(len(text)))
	}
	w.WriteHeader(a.status)
	if headOnly {
		return nil
	}
	if len(a.rest) > 0 {
		return a.writeAll(w, text)
	}
	_, _ = w.Write(text) // nobody is left to tell
	return nil
}

// writeAll writes a list, of which there is a first part, to its end.
func (a answer) writeAll(w io.Writer, first []byte) error {
	end := []byte("]}\n") // of Resources, which are a list's last member
	if _, err := w.Write(bytes.TrimSuffix(first, end)); err != nil {
		return nil // nobody is left to tell
	}
	for _, b := range a.rest {
		docs, err := b.read()
		if err != nil {
			return err
		}
		for _, doc := range docs {
			text, err := encode(doc)
			if err != nil {
				return err
			}
			if _, err := w.Write(append([]byte{','}, text...)); err != nil {
				return nil
			}
		}
	}
	_, _ = w.Write(end)
	return nil
}

func encode(body any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, fmt.Errorf("write answer: %w", err)
	}
	return b.Bytes(), nil
}
