package scim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// answer is what a request is answered with.
type answer struct {
	status   int
	body     any // nil for none
	version  int64
	location string // for the header
}

func (a answer) write(w http.ResponseWriter, headOnly bool) {
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
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a.body); err != nil {
		// What is answered was read from JSON or is our own; it encodes.
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", "application/scim+json")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(a.status)
	if !headOnly {
		_, _ = w.Write(b.Bytes()) // nobody is left to tell
	}
}
