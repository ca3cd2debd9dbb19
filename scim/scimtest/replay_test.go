package scimtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/scim/scimtest"
)

// replay says a conversation to a server that answers with f.
func replay(t *testing.T, text string, f http.HandlerFunc) (map[string]string, error) {
	t.Helper()
	c, err := scimtest.Parse("x", text)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f)
	defer server.Close()
	return scimtest.Replay(t.Context(), server.Client(), server.URL+"/scim/v2/", "s3cret", c)
}

// answering makes a server that answers everything alike; headers are name, value pairs.
func answering(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/scim+json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const id = "b6a2e9c0-1f7d-4a43-9d0e-5f6f0e2c7a11"

// Each wrong answer is found, and what is wrong with it is said. The right one beside it passes.
func TestReplayFindsWrongAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, want, right, wrong, says string }{
		{"a text", `{"a":"b"}`, `{"a":"b"}`, `{"a":"c"}`, `a: want "b", got "c"`},
		{"the case of a text", `{"a":"b"}`, `{"a":"b","c":1}`, `{"a":"B"}`, `a: want "b", got "B"`},
		{"a member that is not there", `{"a":"b"}`, `{"a":"b"}`, `{"A":"b"}`, `a: want "b", got none`},
		{"a member deep down", `{"a":{"b":[{"c":1}]}}`, `{"a":{"b":[{"c":1}]}}`, `{"a":{"b":[{"c":2}]}}`, `a.b[0].c: want 1, got 2`},
		{"a member of an extension", `{"urn:x:2.0:User":{"b":1}}`, `{"urn:x:2.0:User":{"b":1}}`, `{"urn:x:2.0:User":{}}`, `[urn:x:2.0:User].b: want 1, got none`},
		{"a number as a text", `{"n":1}`, `{"n":1}`, `{"n":"1"}`, `n: want 1, got "1"`},
		{"a number with a fraction", `{"n":1}`, `{"n":1}`, `{"n":1.0}`, `n: want 1, got 1.0`},
		{"a text as a number", `{"n":"1"}`, `{"n":"1"}`, `{"n":1}`, `n: want "1", got 1`},
		{"a boolean as a text", `{"n":false}`, `{"n":false}`, `{"n":"False"}`, `n: want false, got "False"`},
		{"null for a value", `{"n":"x"}`, `{"n":"x"}`, `{"n":null}`, `n: want "x", got null`},
		{"a value for null", `{"n":null}`, `{"n":null}`, `{"n":0}`, `n: want null, got 0`},
		{"an object for a list", `{"n":[]}`, `{"n":[]}`, `{"n":{}}`, `n: want a list, got {}`},
		{"a list for an object", `{"n":{}}`, `{"n":{}}`, `{"n":[]}`, `n: want an object, got []`},
		{"a list that is longer", `{"n":[1]}`, `{"n":[1]}`, `{"n":[1,2]}`, `n: want 1 elements, got 2: [1,2]`},
		{"a list that is shorter", `{"n":[1,2]}`, `{"n":[1,2]}`, `{"n":[1]}`, `n: want 2 elements, got 1`},
		{"a list in another order", `{"n":[1,2]}`, `{"n":[1,2]}`, `{"n":[2,1]}`, `n[0]: want 1, got 2`},
		{"any order: another element", `["{{in any order}}",1,2]`, `[2,1]`, `[2,3]`, `want an element 1, got [2,3]`},
		{"any order: one too many", `["{{in any order}}",1,2]`, `[1,2]`, `[1,2,3]`, `want 2 elements, got 3`},
		{"any order: one twice", `["{{in any order}}",1,2]`, `[1,2]`, `[1,1]`, `want an element 2, got [1,1]`},
		{"any order: each has its own", `["{{in any order}}","{{any integer}}",1]`, `[1,2]`, `[2,2]`, `want an element 1`},
		{"among others", `["{{among others}}",{"v":1}]`, `[{"v":2},{"v":1,"w":3}]`, `[{"v":2}]`, `want an element {"v":1}, got [{"v":2}]`},
		{"among others: fewer", `["{{among others}}",1,1]`, `[1,0,1]`, `[1]`, `want 2 elements, got 1`},
		{"any", `{"n":"{{any}}"}`, `{"n":false}`, `{"n":null}`, `n: want any, got null`},
		{"any: not there", `{"n":"{{any}}"}`, `{"n":[]}`, `{}`, `n: want any, got none`},
		{"any string: empty", `{"n":"{{any string}}"}`, `{"n":" "}`, `{"n":""}`, `n: want any string, got ""`},
		{"any string: a number", `{"n":"{{any string}}"}`, `{"n":"1"}`, `{"n":1}`, `n: want any string, got 1`},
		{"any uuid", `{"n":"{{any uuid}}"}`, `{"n":"` + id + `"}`, `{"n":"` + id + `0"}`, `n: want any uuid`},
		{"any timestamp", `{"n":"{{any timestamp}}"}`, `{"n":"2026-01-02T03:04:05.678Z"}`, `{"n":"2026-01-02T03:04:05"}`, `n: want any timestamp`},
		{"any timestamp: a day", `{"n":"{{any timestamp}}"}`, `{"n":"2026-01-02T03:04:05+01:00"}`, `{"n":"2026-01-02"}`, `n: want any timestamp`},
		{"any integer: a text", `{"n":"{{any integer}}"}`, `{"n":0}`, `{"n":"0"}`, `n: want any integer, got "0"`},
		{"any integer: a fraction", `{"n":"{{any integer}}"}`, `{"n":-12}`, `{"n":12.0}`, `n: want any integer, got 12.0`},
		{"any integer: an exponent", `{"n":"{{any integer}}"}`, `{"n":100}`, `{"n":1e2}`, `n: want any integer, got 1e2`},
		{"any boolean", `{"n":"{{any boolean}}"}`, `{"n":true}`, `{"n":"true"}`, `n: want any boolean, got "true"`},
		{"any list", `{"n":"{{any list}}"}`, `{"n":[1]}`, `{"n":null}`, `n: want any list, got null`},
		{"absent", `{"n":"{{absent}}"}`, `{"m":1}`, `{"n":null}`, `n: want none, got null`},
		{"unassigned", `{"n":"{{unassigned}}"}`, `{"n":[]}`, `{"n":[1]}`, `n: want none, got [1]`},
		{"unassigned: null is", `{"n":"{{unassigned}}"}`, `{"n":null}`, `{"n":""}`, `n: want none, got ""`},
		{"a value given in the same answer", `{"id":"{{ann = any uuid}}","ref":"/Users/{{ann}}"}`, `{"id":"` + id + `","ref":"/Users/` + id + `"}`, `{"id":"` + id + `","ref":"/Users/x"}`, `ref: want "/Users/` + id + `", got "/Users/x"`},
		{"a value that is no text", `{"id":"{{ann = any}}"}`, `{"id":"1"}`, `{"id":1}`, `id: want a string to call ann, got 1`},
		{"no JSON", `{}`, ` {} `, `<html>`, `the body: not JSON`},
		{"no body", `{}`, `{}`, ``, `the body: not JSON`},
		{"JSON and then some", `{}`, `{}`, `{}{}`, `something follows the value`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := "== A\nGET /Users\n\n-> 200\n\n" + tc.want + "\n"
			if _, err := replay(t, text, answering(200, tc.right)); err != nil {
				t.Errorf("the right answer %s: %v", tc.right, err)
			}
			_, err := replay(t, text, answering(200, tc.wrong))
			var f *scimtest.Failure
			if !errors.As(err, &f) || !strings.Contains(strings.Join(f.Differences, "\n"), tc.says) {
				t.Errorf("the wrong answer %s: %v, want %q", tc.wrong, err, tc.says)
			}
		})
	}
}

func TestReplayLooksAtStatusesHeadersAndBodies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, want string
		server     http.HandlerFunc
		says       string // "" for nothing
	}{
		{"status", "-> 201\n", answering(200, `{}`), "status: want 201, got 200"},
		{"exactly", "-> 200 exactly\n\n{\"a\":{}}\n", answering(200, `{"a":{"b":1}}`), "a.b: want none, got 1"},
		{"exactly, in a list", "-> 200 exactly\n\n[\"{{in any order}}\",{}]\n", answering(200, `[{"b":1}]`), "want an element {}"},
		{"no body wanted", "-> 204\n", answering(204, ""), ""},
		{"a body that does not matter", "-> 200\n", answering(200, `nonsense`), ""},
		{"media type", "-> 200\n\n{}\n", answering(200, `{}`, "Content-Type", "application/json"), "header Content-Type: want \"application/scim+json\", got \"application/json\""},
		{"media type with a parameter", "-> 200\n\n{}\n", answering(200, `{}`, "Content-Type", "application/scim+json; charset=utf-8"), ""},
		{"a media type of its own", "-> 200\nContent-Type: text/plain\n", answering(200, `x`, "Content-Type", "text/plain"), ""},
		{"header", "-> 200\nETag: W/\"1\"\n", answering(200, `{}`, "ETag", `W/"2"`), "header Etag: want \"W/\\\"1\\\"\", got \"W/\\\"2\\\"\""},
		{"no header", "-> 200\nETag: W/\"1\"\n", answering(200, `{}`), "header Etag: want W/\"1\", got none"},
		{"any header", "-> 200\nETag: {{any}}\n", answering(200, `{}`, "ETag", "x"), ""},
		{"an integer header", "-> 200\nRetry-After: {{any string}}\n", answering(200, `{}`), "header Retry-After: want {{any string}}, got none"},
		{"a header too many", "-> 200\nETag: {{absent}}\n", answering(200, `{}`, "ETag", "x"), "header Etag: want none, got \"x\""},
		{"a header that names what the body gave", "-> 200\nLocation: {{base}}/{{ann}}\n\n{\"id\":\"{{ann = any}}\"}\n", answering(200, `{"id":"7"}`, "Location", "/7"), "/scim/v2/7\", got \"/7\""},
		{"a connection that breaks", "-> 200\n", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"an answer that breaks off", "-> 200\n", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "{")
		}, "read the answer: unexpected EOF"},
		{"a body with 204", "-> 204\n", nil, "the body: want none, got {}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := "answer Content-Type: application/scim+json\n\n== A\nGET /Users\n\n" + tc.want
			var err error
			if tc.server != nil {
				_, err = replay(t, text, tc.server)
			} else { // net/http sends no such answer
				c, parseErr := scimtest.Parse("x", text)
				if parseErr != nil {
					t.Fatal(parseErr)
				}
				client := &http.Client{Transport: answer{204, "{}"}}
				_, err = scimtest.Replay(t.Context(), client, "http://x.example", "k", c)
			}
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("Replay = %v, want %q", err, tc.says)
			}
		})
	}
}

// answer is a transport that has one answer to everything.
type answer struct {
	status int
	body   string
}

func (a answer) RoundTrip(*http.Request) (*http.Response, error) {
	header := http.Header{"Content-Type": {"application/scim+json"}}
	return &http.Response{StatusCode: a.status, Header: header, Body: io.NopCloser(strings.NewReader(a.body))}, nil
}

// What is sent is what the file says, with values in place of names, each made fit for its place.
func TestReplaySends(t *testing.T) {
	t.Parallel()
	var seen []string
	values, err := replay(t, `send User-Agent: Client 1.0
send Accept: application/scim+json
send body Content-Type: application/scim+json

== Learn
GET /Users?count=1

-> 200

{"id": "{{ann = any}}"}

== Use
POST /Users?filter=id%20eq%20%22{{ann}}%22
If-Match: {{ann}}

{"path": "members[value eq \"{{ann}}\"]", "n": 1.0}

-> 200

== With nothing of one's own
GET /x
User-Agent:
Accept:
Authorization: non-token

-> 200

== Without a token
GET /x
Authorization:

-> 200
`, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header
		seen = append(seen, fmt.Sprintf("%s %s|%s|%s|%s|%s|%s|%s", r.Method, r.URL.RequestURI(), h.Get("Authorization"), h.Get("User-Agent"),
			h.Get("Accept"), h.Get("Content-Type"), h.Get("If-Match"), body))
		answering(200, `{"id":"a\"&b"}`)(w, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /scim/v2/Users?count=1|Bearer s3cret|Client 1.0|application/scim+json|||",
		`POST /scim/v2/Users?filter=id%20eq%20%22a%22%26b%22|Bearer s3cret|Client 1.0|application/scim+json|application/scim+json|a"&b|{"path": "members[value eq \"a\"\u0026b\"]", "n": 1.0}`,
		"GET /scim/v2/x|non-token|||||",
		"GET /scim/v2/x||Client 1.0|application/scim+json|||",
	}
	for i := range want {
		if i >= len(seen) || seen[i] != want[i] {
			t.Errorf("request %d:\n%s\nwant\n%s", i+1, seen[i], want[i])
		}
	}
	if values["ann"] != `a"&b` || len(values["run"]) != 8 || !strings.HasSuffix(values["base"], "/scim/v2") {
		t.Errorf("values: %v", values)
	}
}

// Steps that join are under way at the same time, and those after them know what each of them gave.
func TestReplaySendsTogether(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	arrived, all := 0, make(chan struct{})
	values, err := replay(t, `== One
GET /1

-> 200

{"id": "{{one = any}}"}

|| Two
GET /2

-> 200

{"id": "{{two = any}}"}

|| Three
GET /3

-> 200

{"id": "{{three = any}}"}

== All
GET /{{one}}/{{two}}/{{three}}

-> 200

{"id": "/scim/v2/1/2/3"}
`, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if arrived++; arrived == 3 {
			close(all)
		}
		mu.Unlock()
		select {
		case <-all:
		case <-time.After(10 * time.Second):
			t.Error("the others do not come")
		}
		name := r.URL.Path
		if len(name) == len("/scim/v2/1") {
			name = name[len("/scim/v2/"):]
		}
		answering(200, `{"id":"`+name+`"}`)(w, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	if values["one"] != "1" || values["two"] != "2" || values["three"] != "3" {
		t.Errorf("values: %v", values)
	}
}

// A failure tells everything that is needed to find its cause, and no token. Nothing is sent after it.
func TestFailure(t *testing.T) {
	t.Parallel()
	requests := 0
	_, err := replay(t, `== One
GET /1

-> 200

== Two
POST /Users
X-Token: s3cret
Authorization: Token s3cret

{"userName": "ann"}

-> 201
Location: {{any}}

{"id": "{{any uuid}}", "n": 1}

== Three
GET /3

-> 200
`, func(w http.ResponseWriter, r *http.Request) {
		requests++
		answering(200, `{"id":"7","n":"1"}`, "X-Request-Id", "r-17")(w, r)
	})
	var f *scimtest.Failure
	if !errors.As(err, &f) {
		t.Fatalf("Replay = %v, want a Failure", err)
	}
	if f.Conversation != "x" || f.Step != "Two" || f.Line != 6 || len(f.Differences) != 4 || requests != 2 {
		t.Errorf("%+v after %d requests", f, requests)
	}
	for _, want := range []string{
		`x, line 6, "Two":`, "status: want 201, got 200", `id: want any uuid, got "7"`, `n: want 1, got "1"`, "header Location: want {{any}}, got none",
		"sent:\n    POST /scim/v2/Users", `{"userName": "ann"}`, "Authorization: Token [redacted]",
		"wanted:\n    201", `{"id": "{{any uuid}}", "n": 1}`, "came:\n    200", "X-Request-Id: r-17", `{"id":"7","n":"1"}`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if strings.Contains(f.Request, "Token s3cret") {
		t.Errorf("the token is told:\n%v", err)
	}
}

func TestReplayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, err := scimtest.Parse("x", "== A\nGET /1\n\n-> 200\n")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := scimtest.Replay(ctx, server.Client(), server.URL, "k", c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Replay = %v, want a deadline", err)
	}
}
