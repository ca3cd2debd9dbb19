package scim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store"
)

// cursorTimeout is how long a cursor is good, counted from the answer that gave it.
const cursorTimeout = time.Hour

// cursor says where the next page of a list begins (RFC 9865): behind a row, wherever that row has gone meanwhile. So
// a page costs the same at any depth, and who is inserted or deleted between two pages moves nobody else.
//
// It is all that there is of a walk: nothing is kept on the server. A client gets it encrypted under its own API key,
// together with the query that it belongs to. What is changed in it, or taken to another query or key, does not open;
// and rows that it names are read under the same conditions as without it.
type cursor struct {
	Issued int64           `json:"t"` // in seconds of Unix time
	Count  int             `json:"c"` // of each page
	Total  int             `json:"n"` // how many there were when the walk began
	Type   int             `json:"y,omitempty"`
	After  *store.Position `json:"a,omitempty"` // nil for the beginning of the type
}

// seal writes a cursor for a query. The text has only characters that a URL may have.
func (r *request) seal(c cursor, query string) (string, error) {
	aead, err := r.cipher()
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write cursor: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, plain, []byte(query))), nil
}

// open reads a cursor that was sealed for the same query.
func (r *request) open(text, query string, now time.Time) (c cursor, err error) {
	aead, err := r.cipher()
	if err != nil {
		return c, err
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	// The decoder passes over line breaks and spare bits: only what was written is a cursor.
	if err != nil || base64.RawURLEncoding.EncodeToString(sealed) != text {
		return c, errCursor()
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(query))
	if err != nil || json.Unmarshal(plain, &c) != nil {
		return c, errCursor()
	}
	if now.Unix()-c.Issued > int64(cursorTimeout.Seconds()) {
		return c, &Error{
			Status: http.StatusBadRequest, Type: expiredCursor,
			Detail: fmt.Sprintf("the cursor is older than %d seconds: begin again with an empty one", int(cursorTimeout.Seconds())),
		}
	}
	return c, nil
}

func errCursor() error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidCursor,
		Detail: "the cursor is none that was given for this query and key: begin again with an empty one",
	}
}

// cipher encrypts under the API key of the request, which every replica learns from the request and nobody else knows.
func (r *request) cipher() (cipher.AEAD, error) {
	_, secret, _ := strings.Cut(r.Request.Header.Get("Authorization"), " ")
	key, err := hkdf.Key(sha256.New, []byte(strings.TrimSpace(secret)), nil, "idpsync scim cursor", 32)
	if err != nil {
		return nil, fmt.Errorf("derive cursor key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher of cursors: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}
