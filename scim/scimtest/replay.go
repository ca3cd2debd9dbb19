package scimtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 32 << 20

// Replay says a conversation to the server at a base address such as "https://example.com/scim/v2", with a bearer token,
// and returns the values that the answers gave by their names. It ends at the first step whose answer is not what is
// wanted, with a *Failure, or where several of those sent together fail, with all of theirs joined. It is safe for concurrent use.
func Replay(ctx context.Context, client *http.Client, baseURL, bearer string, c *Conversation) (map[string]string, error) {
	baseURL = strings.TrimRight(baseURL, "/")
	values := map[string]string{"base": baseURL, "run": fmt.Sprintf("%08d", rand.N(100_000_000))}
	for steps := c.Steps; len(steps) > 0; {
		together := 1
		for together < len(steps) && steps[together].Joins {
			together++
		}
		calls := make([]call, together)
		var sent sync.WaitGroup
		for i := range calls {
			calls[i] = call{conversation: c, step: &steps[i], base: baseURL, bearer: bearer, values: maps.Clone(values)}
			sent.Go(func() { calls[i].failure = calls[i].do(ctx, client) })
		}
		sent.Wait()
		var failures []error
		for i := range calls {
			maps.Copy(values, calls[i].values)
			if f := calls[i].failure; f != nil {
				failures = append(failures, f)
			}
		}
		switch len(failures) {
		case 0:
		case 1:
			return values, failures[0]
		default:
			return values, errors.Join(failures...)
		}
		steps = steps[together:]
	}
	return values, nil
}

// call is a step on its way.
type call struct {
	conversation *Conversation
	step         *Step
	base, bearer string
	values       map[string]string
	failure      *Failure
}

func (c *call) do(ctx context.Context, client *http.Client) *Failure {
	f := &Failure{Conversation: c.conversation.Name, Step: c.step.Title, Line: c.step.Line, Want: c.wanted()}
	req, err := c.request(ctx)
	if err != nil {
		f.Err = err
		return f
	}
	f.Request = c.sent(req)
	res, err := client.Do(req)
	if err != nil {
		f.Err = err
		return f
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	f.Got = came(res, body)
	if err != nil {
		f.Err = fmt.Errorf("read the answer: %w", err)
		return f
	}
	if f.Differences = c.compare(res, body); len(f.Differences) > 0 {
		return f
	}
	return nil
}

func (c *call) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	if c.step.Body != "" {
		body = strings.NewReader(c.body())
	}
	req, err := http.NewRequestWithContext(ctx, c.step.Method, c.base+c.target(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	req.Header.Set("User-Agent", "") // net/http has one of its own
	for _, h := range c.step.Header {
		if h.Value == "" && h.Name != "User-Agent" {
			req.Header.Del(h.Name)
			continue
		}
		req.Header.Set(h.Name, expand(h.Value, c.values, nil))
	}
	return req, nil
}

func (c *call) target() string { return expand(c.step.Target, c.values, url.QueryEscape) }

func (c *call) body() string { return expand(c.step.Body, c.values, quoted) }

// quoted makes a value fit for the inside of a JSON string.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(b[1 : len(b)-1])
}

// compare returns how an answer differs from the one that is wanted.
func (c *call) compare(res *http.Response, body []byte) []string {
	want := c.step.Want
	cmp := &comparison{values: c.values, exact: want.Exact}
	if res.StatusCode != want.Status {
		cmp.differ("status", "want %d, got %d", want.Status, res.StatusCode)
	}
	body = bytes.TrimSpace(body)
	switch {
	case want.body != nil:
		got, err := decode(body)
		if err != nil {
			cmp.differ("", "%v", err)
			break
		}
		cmp.value("", want.body, got)
	case want.Status == http.StatusNoContent && len(body) > 0:
		cmp.differ("", "want none, got %s", clip(string(body)))
	}
	for _, f := range c.headers(len(body) > 0) { // after the body, whose values they may name
		cmp.header(f, res.Header.Get(f.Name))
	}
	c.values = cmp.values
	return cmp.differences
}

// headers returns those that are wanted: the step's own, and the conversation's where there is a body.
func (c *call) headers(body bool) []Field {
	headers := slices.Clone(c.step.Want.Header)
	for _, f := range c.conversation.answer {
		if body && !slices.ContainsFunc(headers, func(own Field) bool { return own.Name == f.Name }) {
			headers = append(headers, f)
		}
	}
	return headers
}
