// Package client calls the administration API: over the network for the commands that work on a server, and inside the
// process for the console, which so has no rules and no rights of its own.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// maxAnswer bounds what is read of an answer that is no stream.
const maxAnswer = 64 << 20

// Client calls one server's API. It is safe for concurrent use.
type Client struct {
	base   string // without a slash at the end
	doer   Doer
	header http.Header
}

// Doer carries out a request, as *http.Client does. The answer's body is closed by whoever gets it.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// New returns a client of the server at base, for example https://idpsync.example.com. header goes with each request.
func New(base string, doer Doer, header http.Header) *Client {
	return &Client{base: strings.TrimRight(base, "/"), doer: doer, header: header}
}

// Get asks for what is at a path below /api/v1, for example /users. query may be nil. Problems that the server answers are
// *api.Problem.
func Get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return Do[T](ctx, c, http.MethodGet, path, query, nil)
}

// Do calls an operation. body is sent as JSON, nil for none. Use struct{} as T where nothing is answered.
func Do[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var out T
	answer, err := c.Open(ctx, method, path, query, body, "application/json")
	if err != nil {
		return out, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return out, fmt.Errorf("read the answer of %s %s: %w", method, path, err)
	case len(text) > maxAnswer:
		return out, fmt.Errorf("the answer of %s %s is longer than %d MiB", method, path, maxAnswer>>20)
	case len(text) == 0:
		return out, nil
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("the answer of %s %s is not what this version expects: %w", method, path, err)
	}
	return out, nil
}

// Open calls an operation and returns its answer to be read as it comes; close its body. accept is a media type.
func (c *Client) Open(ctx context.Context, method, path string, query url.Values, body any, accept string) (*http.Response, error) {
	address := c.base + api.Prefix + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return nil, err
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	r.Header.Set("Accept", accept)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.doer.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, problemOf(answer)
}

// problemOf returns what an answer says that is no success. Who answers something else than problems is not our API.
func problemOf(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20)) // what can be read of it will do
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	p := &api.Problem{}
	if kind == "application/problem+json" && json.Unmarshal(text, p) == nil && p.Status != 0 {
		return p
	}
	return &NotAPIError{Status: answer.StatusCode, Location: answer.Header.Get("Location")}
}

// NotAPIError is an answer that is neither success nor a problem as the API answers it: something else is at the address.
type NotAPIError struct {
	Status   int
	Location string // where a redirection leads, "" for none
}

func (e *NotAPIError) Error() string {
	text := fmt.Sprintf("answered %d %s, and not as idpsync does", e.Status, http.StatusText(e.Status))
	if e.Location != "" {
		text += "; it leads to " + e.Location
	}
	return text
}

// All asks for a list page by page, and calls yield with each item until it returns false or there are no more.
func All[T any](ctx context.Context, c *Client, path string, query url.Values, yield func(T) bool) error {
	next := url.Values{"limit": {"500"}}
	for name, values := range query {
		next[name] = values
	}
	for {
		page, err := Get[api.Page[T]](ctx, c, path, next)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if !yield(item) {
				return nil
			}
		}
		if page.NextCursor == "" {
			return nil
		}
		if next.Get("cursor") == page.NextCursor {
			return errors.New("the server answers the same page again")
		}
		next.Set("cursor", page.NextCursor)
	}
}
