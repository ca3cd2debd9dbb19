package connectors

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers branch on.
var (
	// ErrNotFound: the identity provider says, with its own error body, that there is no such object, or that it is
	// not in the connector's scope.
	ErrNotFound = errors.New("not found at the identity provider")
	// ErrResync: the checkpoint is of no use any more; do a full pull.
	ErrResync = errors.New("the checkpoint cannot be continued, a full pull is needed")
	// ErrUnauthorized: the credential was rejected.
	ErrUnauthorized = errors.New("the identity provider rejected the credential")
	// ErrForbidden: the credential lacks a permission.
	ErrForbidden = errors.New("the identity provider denied the permission")
)

// IncompleteError says that one phase of a pull ended before it was proven complete. Nothing may be taken for gone.
type IncompleteError struct {
	Phase Phase
	Err   error
}

func (e *IncompleteError) Error() string { return fmt.Sprintf("%s incomplete: %v", e.Phase, e.Err) }

// Unwrap returns the cause.
func (e *IncompleteError) Unwrap() error { return e.Err }

// RateLimitError says that the identity provider still throttled when the bounded retries were used up.
type RateLimitError struct {
	Endpoint string
	Waited   time.Duration
	Reset    time.Time // when the bucket fills again, zero when unknown
}

func (e *RateLimitError) Error() string {
	if e.Reset.IsZero() {
		return fmt.Sprintf("%s: still throttled after waiting %s", e.Endpoint, e.Waited.Round(time.Second))
	}
	return fmt.Sprintf("%s: still throttled after waiting %s, limit resets at %s",
		e.Endpoint, e.Waited.Round(time.Second), e.Reset.UTC().Format(time.RFC3339))
}

// ResponseError says that an answer was refused: a status, body or link that must not be taken at face value.
type ResponseError struct {
	Endpoint  string
	Status    int
	Code      string // the provider's error code, or ""
	Summary   string // the provider's message, or what was wrong with the answer
	RequestID string
	Temporary bool // worth another try
}

func (e *ResponseError) Error() string {
	s := fmt.Sprintf("%s: status %d", e.Endpoint, e.Status)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Summary != "" {
		s += ": " + e.Summary
	}
	if e.RequestID != "" {
		s += " (request id " + e.RequestID + ")"
	}
	return s
}
