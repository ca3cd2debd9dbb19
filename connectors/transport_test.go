package connectors_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
)

// script answers requests one after the other, and notes when and what.
type script struct {
	answers []func(*http.Request) (*http.Response, error)
	at      []time.Time
	urls    []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.at = append(s.at, time.Now())
	s.urls = append(s.urls, r.URL.String())
	i := min(len(s.at), len(s.answers)) - 1
	return s.answers[i](r)
}

func answer(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r}, nil
	}
}

func broken(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// in returns a number of seconds from now as X-Rate-Limit-Reset writes it.
func in(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }

const token = "00secretTokenOfTheTest"

func send(ctx context.Context, t *connectors.Transport, call *connectors.Call, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(connectors.WithCall(ctx, call), http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "SSWS "+token)
	resp, err := (&http.Client{Transport: t}).Do(req)
	return resp, connectors.Cause(err)
}

const address = "https://acme.okta.test/api/v1/users?limit=200"

func users() *connectors.Call {
	return &connectors.Call{Endpoint: "GET /api/v1/users", Shape: connectors.ShapeArray, PageParam: "limit"}
}

func TestTransportRefusesWhatIsNoAnswer(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		shape  connectors.Shape
		want   string
	}{
		"no body":                {answer(200, ""), connectors.ShapeArray, "the body is empty"},
		"blanks":                 {answer(200, " \r\n\t"), connectors.ShapeArray, "the body is empty"},
		"null":                   {answer(200, "null"), connectors.ShapeArray, "the body is null"},
		"null, any shape":        {answer(200, " null "), nil, "the body is null"},
		"an object for a list":   {answer(200, "{}"), connectors.ShapeArray, "the body is not an array"},
		"a list for an object":   {answer(200, "[]"), connectors.ShapeObject, "the body is not an object"},
		"a list cut off":         {answer(200, `[{"id":"1"}`), connectors.ShapeArray, "ends before an array does"},
		"no value":               {answer(200, `{"error":{}}`), connectors.ShapeValue, `has no "value"`},
		"value is null":          {answer(200, `{"value":null}`), connectors.ShapeValue, `"value" is no array`},
		"value in a nested one":  {answer(200, `{"a":{"value":[]}}`), connectors.ShapeValue, `has no "value"`},
		"HTML":                   {answer(200, "<html>", "Content-Type", "text/html"), connectors.ShapeArray, `content type "text/html"`},
		"JSON that is not said":  {answer(200, "[]", "Content-Type", ""), connectors.ShapeArray, "content type"},
		"201":                    {answer(201, "[]"), connectors.ShapeArray, "status 201"},
		"204":                    {answer(204, ""), connectors.ShapeArray, "status 204"},
		"206":                    {answer(206, "[]"), connectors.ShapeArray, "status 206"},
		"304":                    {answer(304, ""), connectors.ShapeArray, "status 304"},
		"302 without a Location": {answer(302, ""), connectors.ShapeArray, "status 302"},
		"302 to elsewhere":       {answer(302, "", "Location", "https://login.acme.test/"), connectors.ShapeArray, "status 302"},
		"404 in HTML":            {answer(404, "<html>", "Content-Type", "text/html"), connectors.ShapeArray, "status 404"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := &script{answers: []func(*http.Request) (*http.Response, error){c.answer}}
			transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
			call := users()
			call.Shape = c.shape
			_, err := send(t.Context(), transport, call, address)
			var refused *connectors.ResponseError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want a *ResponseError with %q", err, c.want)
			}
			if len(base.at) != 1 {
				t.Errorf("%d requests, want 1: trying again does not make it better", len(base.at))
			}
		})
	}
}

func TestTransportHandsUpAnAnswer(t *testing.T) {
	t.Parallel()
	const body = ` {"@odata.context":"x","extra":{"value":1},"value":[{"id":"1"}]} `
	header := []string{"Content-Type", "application/json;odata.metadata=minimal;charset=utf-8", "Link", "<>"}
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		transport := connectors.NewTransport(connectors.TransportOptions{Base: &script{answers: []func(*http.Request) (*http.Response, error){answer(200, body, header...)}}})
		resp, err := send(t.Context(), transport, &connectors.Call{Shape: connectors.ShapeValue}, address)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != strings.TrimSpace(body) {
			t.Errorf("body = %q, %v", got, err)
		}
	})
	t.Run("taken", func(t *testing.T) {
		t.Parallel()
		transport := connectors.NewTransport(connectors.TransportOptions{Base: &script{answers: []func(*http.Request) (*http.Response, error){answer(200, body, header...)}}})
		call := &connectors.Call{Shape: connectors.ShapeValue, Take: true}
		resp, err := send(t.Context(), transport, call, address)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, _ := io.ReadAll(resp.Body)
		if string(got) != "{}" || resp.Header.Get("Link") != "" {
			t.Errorf("the SDK sees %q and Link %q, want a stand-in without links", got, resp.Header.Get("Link"))
		}
		if string(call.Answer.Body) != strings.TrimSpace(body) || call.Answer.Header.Get("Link") != "<>" {
			t.Errorf("answer = %q, Link %q", call.Answer.Body, call.Answer.Header.Get("Link"))
		}
		call.Answer.Release()
	})
}

func TestTransportTriesAgain(t *testing.T) {
	t.Parallel()
	ok := answer(200, "[]")
	// Within a synctest bubble the clock stands still but for the waits, which are therefore exact.
	cases := map[string]struct {
		answers  []func() func(*http.Request) (*http.Response, error)
		wantErr  string
		requests int
		waited   [2]time.Duration // at least, at most
	}{
		"429 with Retry-After": {
			answers:  fixed(answer(429, "", "Retry-After", "7"), ok),
			requests: 2, waited: [2]time.Duration{7 * time.Second, 9 * time.Second},
		},
		"429 with a Retry-After date, our clock wrong": {
			answers: fixed(answer(429, "", "Date", "Mon, 02 Jan 2023 10:00:00 GMT", "Retry-After", "Mon, 02 Jan 2023 10:00:20 GMT"), ok),

			requests: 2, waited: [2]time.Duration{20 * time.Second, 23 * time.Second},
		},
		"429 with a reset by the server's clock": {
			answers: fixed(answer(429, "", "Date", "Mon, 02 Jan 2023 10:00:00 GMT", "X-Rate-Limit-Limit", "600", "X-Rate-Limit-Remaining", "0",
				"X-Rate-Limit-Reset", strconv.FormatInt(time.Date(2023, 1, 2, 10, 0, 42, 0, time.UTC).Unix(), 10)), ok),
			requests: 2, waited: [2]time.Duration{42 * time.Second, 50 * time.Second},
		},
		"429 without a header": {answers: fixed(answer(429, ""), answer(429, ""), ok), requests: 3, waited: [2]time.Duration{1500 * time.Millisecond, 2 * time.Second}},
		"429 for concurrency does not wait for its estimate": {
			answers:  fixed(answer(429, "", "X-Rate-Limit-Limit", "0", "X-Rate-Limit-Remaining", "0", "X-Rate-Limit-Reset", "4102444800"), ok),
			requests: 2, waited: [2]time.Duration{500 * time.Millisecond, time.Second},
		},
		"429 for ever":                  {answers: fixed(answer(429, "", "Retry-After", "1")), wantErr: "still throttled after waiting", requests: 6, waited: [2]time.Duration{5 * time.Second, 7 * time.Second}},
		"429 longer than we wait":       {answers: fixed(answer(429, "", "Retry-After", "3600")), wantErr: "still throttled after waiting", requests: 1, waited: [2]time.Duration{0, 0}},
		"502 in HTML":                   {answers: fixed(answer(502, "<html>", "Content-Type", "text/html"), ok), requests: 2, waited: [2]time.Duration{500 * time.Millisecond, time.Second}},
		"503 with Retry-After":          {answers: fixed(answer(503, "", "Retry-After", "30"), ok), requests: 2, waited: [2]time.Duration{30 * time.Second, 34 * time.Second}},
		"504 for ever":                  {answers: fixed(answer(504, "")), wantErr: "status 504", requests: 6, waited: [2]time.Duration{15 * time.Second, 20 * time.Second}},
		"EOF":                           {answers: fixed(broken(io.EOF), ok), requests: 2, waited: [2]time.Duration{500 * time.Millisecond, time.Second}},
		"EOF for ever":                  {answers: fixed(broken(io.EOF)), wantErr: "EOF", requests: 6, waited: [2]time.Duration{15 * time.Second, 20 * time.Second}},
		"connection reset":              {answers: fixed(broken(&net.OpError{Op: "read", Err: syscall.ECONNRESET}), ok), requests: 2, waited: [2]time.Duration{500 * time.Millisecond, time.Second}},
		"a body that breaks off":        {answers: fixed(cutOff, ok), requests: 2, waited: [2]time.Duration{500 * time.Millisecond, time.Second}},
		"a certificate is not tried on": {answers: fixed(broken(&tls.CertificateVerificationError{Err: errors.New("unknown authority")})), wantErr: "unknown authority", requests: 1},
		"no such host":                  {answers: fixed(broken(&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true})), wantErr: "no such host", requests: 1},
		"an answer that never comes":    {answers: fixed(hang, ok), requests: 2, waited: [2]time.Duration{2 * time.Minute, 2*time.Minute + 2*time.Second}},
		"404 is an answer":              {answers: fixed(answer(404, "{}")), wantErr: "status 404", requests: 1},
		"400 is an answer":              {answers: fixed(answer(400, "{}")), wantErr: "status 400", requests: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				base := &script{}
				for _, make := range c.answers {
					base.answers = append(base.answers, make())
				}
				transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
				began := time.Now()
				_, err := send(t.Context(), transport, users(), address)
				waited := time.Since(began)
				switch {
				case c.wantErr == "" && err != nil:
					t.Errorf("error = %v", err)
				case c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)):
					t.Errorf("error = %v, want %q", err, c.wantErr)
				case errors.Is(err, io.EOF):
					t.Error("the error is io.EOF, which the SDK tries again for ever")
				}
				if len(base.at) != c.requests {
					t.Errorf("%d requests, want %d", len(base.at), c.requests)
				}
				if waited < c.waited[0] || waited > c.waited[1] {
					t.Errorf("waited %s, want %s to %s", waited, c.waited[0], c.waited[1])
				}
			})
		})
	}
}

// fixed makes answers afresh for each test, for bodies can be read once.
func fixed(answers ...func(*http.Request) (*http.Response, error)) []func() func(*http.Request) (*http.Response, error) {
	var makers []func() func(*http.Request) (*http.Response, error)
	for _, a := range answers {
		makers = append(makers, func() func(*http.Request) (*http.Response, error) { return a })
	}
	return makers
}

func cutOff(r *http.Request) (*http.Response, error) {
	resp, err := answer(200, "")(r)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`[{"id":`), errorReader{io.ErrUnexpectedEOF}))
	return resp, err
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTransportHalvesThePageOn500(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: []func(*http.Request) (*http.Response, error){answer(500, ""), answer(500, ""), answer(200, "[]")}}
		transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
		call := users()
		if _, err := send(t.Context(), transport, call, "https://acme.okta.test/api/v1/users?after=00u1&limit=200"); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"https://acme.okta.test/api/v1/users?after=00u1&limit=200",
			"https://acme.okta.test/api/v1/users?after=00u1&limit=100",
			"https://acme.okta.test/api/v1/users?after=00u1&limit=50",
		}
		if diff := cmp.Diff(want, base.urls); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if call.Answer.PageSize != 50 {
			t.Errorf("PageSize = %d, want 50", call.Answer.PageSize)
		}
	})
	t.Run("not where there is no page", func(t *testing.T) {
		t.Parallel()
		base := &script{answers: []func(*http.Request) (*http.Response, error){answer(500, "")}}
		transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
		_, err := send(t.Context(), transport, &connectors.Call{Endpoint: "GET /api/v1/users/{id}"}, "https://acme.okta.test/api/v1/users/1")
		if err == nil || len(base.at) != 1 {
			t.Errorf("error = %v after %d requests, want one and an error", err, len(base.at))
		}
	})
}

func TestTransportKeepsToItsShare(t *testing.T) {
	t.Parallel()
	// An honest bucket of 100 a minute, of which others took none.
	const limit = 100
	bucket := func(start time.Time, taken int) *script {
		s := &script{}
		counts := map[int64]int{}
		s.answers = append(s.answers, func(r *http.Request) (*http.Response, error) {
			window := int64(time.Since(start) / time.Minute)
			counts[window]++
			left := limit - taken - counts[window]
			reset := strconv.FormatInt(start.Add(time.Duration(window+1)*time.Minute).Unix(), 10)
			header := []string{"X-Rate-Limit-Limit", strconv.Itoa(limit), "X-Rate-Limit-Remaining", strconv.Itoa(max(left, 0)), "X-Rate-Limit-Reset", reset}
			if left < 0 {
				return answer(429, "", header...)(r)
			}
			return answer(200, "[]", header...)(r)
		})
		return s
	}
	for name, c := range map[string]struct {
		share  float64
		taken  int
		window int // requests of the first minute
	}{
		"40 % by default":            {share: 0, window: 40},
		"all of it, but a reserve":   {share: 1, window: 95},
		"its share of what is left":  {share: 0.4, taken: 50, window: 20},
		"and none of the last of it": {share: 1, taken: 80, window: 15},
		"one, where others have it":  {share: 0.4, taken: 96, window: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				base := bucket(start, c.taken)
				transport := connectors.NewTransport(connectors.TransportOptions{Base: base, Share: c.share})
				for range c.window + 1 {
					if _, err := send(t.Context(), transport, users(), address); err != nil {
						t.Fatal(err)
					}
				}
				first := 0
				for _, at := range base.at {
					if at.Sub(start) < time.Minute {
						first++
					}
				}
				if first != c.window {
					t.Errorf("%d requests in the first minute, want %d", first, c.window)
				}
				if last := base.at[len(base.at)-1].Sub(start); last < time.Minute || last > 70*time.Second {
					t.Errorf("the next one was sent after %s, want a minute and some jitter", last)
				}
				if n := transport.Counts()[connectors.RequestKey{Endpoint: "GET /api/v1/users", Status: 429}]; n != 0 {
					t.Errorf("%d times throttled, want none", n)
				}
				// Another endpoint has a bucket of its own.
				before := time.Now()
				if _, err := send(t.Context(), transport, &connectors.Call{Endpoint: "GET /api/v1/groups", Shape: connectors.ShapeArray}, address); err != nil || time.Since(before) > 0 {
					t.Errorf("another endpoint: %v after %s", err, time.Since(before))
				}
			})
		})
	}
}

func TestTransportHoldsTheEndpointBackAfterA429(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		throttled := answer(429, "", "Retry-After", "10")
		base := &script{answers: []func(*http.Request) (*http.Response, error){throttled, answer(200, "[]")}}
		transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := send(t.Context(), transport, users(), address)
			done <- err
		}()
		synctest.Wait()
		_, err := send(t.Context(), transport, users(), address)
		if err != nil || time.Since(began) < 10*time.Second {
			t.Errorf("another request: %v after %s, want it to wait too", err, time.Since(began))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTransportDoesNotHoldForLongerThanItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: []func(*http.Request) (*http.Response, error){answer(429, "", "Retry-After", "3600")}}
		transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
		began := time.Now()
		for range 2 {
			var limited *connectors.RateLimitError
			if _, err := send(t.Context(), transport, users(), address); !errors.As(err, &limited) {
				t.Errorf("error = %v, want a *RateLimitError", err)
			}
		}
		if waited := time.Since(began); waited > 0 || len(base.at) != 2 {
			t.Errorf("%d requests in %s, want two at once", len(base.at), waited)
		}
	})
}

func TestTransportObeysTheContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("the run was called off")
	for name, first := range map[string]func(*http.Request) (*http.Response, error){
		"while it waits to try again": answer(503, "", "Retry-After", "60"),
		"while it is throttled":       answer(429, "", "Retry-After", "60"),
		"during the request":          hang,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := connectors.NewTransport(connectors.TransportOptions{Base: &script{answers: []func(*http.Request) (*http.Response, error){first}}})
				ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, cause)
				defer cancel()
				began := time.Now()
				_, err := send(ctx, transport, users(), address)
				if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) {
					t.Errorf("error = %v, want the deadline and its cause", err)
				}
				if waited := time.Since(began); waited != 3*time.Second {
					t.Errorf("returned after %s, want 3s", waited)
				}
			})
		})
	}
	t.Run("while it paces itself", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ok := answer(200, "[]", "X-Rate-Limit-Limit", "2", "X-Rate-Limit-Remaining", "0", "X-Rate-Limit-Reset", in(50*time.Second))
			transport := connectors.NewTransport(connectors.TransportOptions{Base: &script{answers: []func(*http.Request) (*http.Response, error){ok}}})
			if _, err := send(t.Context(), transport, users(), address); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := send(ctx, transport, users(), address); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v, want the deadline", err)
			}
		})
	})
}

func TestTransportTellsNoSecret(t *testing.T) {
	t.Parallel()
	const other = "client-secret-of-the-connector"
	leaks := "token 00secretTokenOfTheTest, Bearer eyJhbGciOi.J9, client_assertion=eyJ0eXAi.x&y=1, " + other
	for name, first := range map[string]func(*http.Request) (*http.Response, error){
		"in an answer":    answer(400, leaks),
		"in a connection": broken(errors.New(leaks)),
		"of a 401":        answer(401, leaks),
		"of a 429":        answer(429, leaks, "Retry-After", "3600"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var logs bytes.Buffer
				transport := connectors.NewTransport(connectors.TransportOptions{
					Base: &script{answers: []func(*http.Request) (*http.Response, error){first}}, Secrets: []connectors.Secret{other},
					Logger:     slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
					ParseError: func(_ http.Header, body []byte) (string, string) { return "E1", string(body) },
				})
				_, err := send(t.Context(), transport, users(), address)
				if err == nil {
					t.Fatal("want an error")
				}
				text := fmt.Sprintf("%v %+v %#v %s", err, err, err, logs.String())
				for e := err; e != nil; e = errors.Unwrap(e) {
					text += e.Error()
				}
				for _, secret := range []string{token, other, "eyJ"} {
					if strings.Contains(text, secret) {
						t.Errorf("%q is in the error or the log: %s", secret, text)
					}
				}
			})
		})
	}
}

func TestTransportTypesErrors(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{401: connectors.ErrUnauthorized, 403: connectors.ErrForbidden} {
		transport := connectors.NewTransport(connectors.TransportOptions{Base: &script{answers: []func(*http.Request) (*http.Response, error){answer(status, "{}", "X-Okta-Request-Id", "req1")}}})
		_, err := send(t.Context(), transport, users(), address)
		var refused *connectors.ResponseError
		if !errors.Is(err, want) || !errors.As(err, &refused) || refused.Status != status || refused.RequestID != "req1" {
			t.Errorf("status %d: error = %v, want %v with a *ResponseError", status, err, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		transport := connectors.NewTransport(connectors.TransportOptions{Base: &script{answers: []func(*http.Request) (*http.Response, error){answer(429, "", "Retry-After", "3600")}}})
		_, err := send(t.Context(), transport, users(), address)
		var limited *connectors.RateLimitError
		if !errors.As(err, &limited) || !limited.Reset.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("error = %#v, want a *RateLimitError that resets in an hour", err)
		}
	})
}

func TestTransportCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		base := &script{answers: []func(*http.Request) (*http.Response, error){answer(503, ""), broken(io.EOF), answer(200, "[]")}}
		transport := connectors.NewTransport(connectors.TransportOptions{Base: base})
		for range 2 {
			if _, err := send(t.Context(), transport, users(), address); err != nil {
				t.Fatal(err)
			}
		}
		want := map[connectors.RequestKey]int64{
			{Endpoint: "GET /api/v1/users", Status: 503}: 1, {Endpoint: "GET /api/v1/users", Status: 0}: 1, {Endpoint: "GET /api/v1/users", Status: 200}: 2,
		}
		if diff := cmp.Diff(want, transport.Counts()); diff != "" || transport.Requests() != 4 {
			t.Errorf("Requests() = %d, counts (-want +got):\n%s", transport.Requests(), diff)
		}
	})
}

func TestTransportRefusesAHugeBody(t *testing.T) {
	t.Parallel()
	transport := connectors.NewTransport(connectors.TransportOptions{MaxBody: 10, Base: &script{answers: []func(*http.Request) (*http.Response, error){answer(200, `["0123456789"]`)}}})
	if _, err := send(t.Context(), transport, users(), address); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error = %v, want too large", err)
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	const self, next = `<https://acme.okta.com/api/v1/users?limit=1&search=a+eq+%22x,y;z%22>; rel="self"`, `<https://acme.okta.com/api/v1/users?after=00u&limit=1>; rel="next"`
	want := map[string]string{"self": "https://acme.okta.com/api/v1/users?limit=1&search=a+eq+%22x,y;z%22", "next": "https://acme.okta.com/api/v1/users?after=00u&limit=1"}
	for name, lines := range map[string][]string{
		"lines":                   {self, next},
		"folded":                  {self + ", " + next},
		"folded without a space":  {self + "," + next},
		"more parameters":         {self, `<https://acme.okta.com/api/v1/users?after=00u&limit=1>; title="a, b"; rel=next; x=1`},
		"an empty part, capitals": {" , " + self + " , ", strings.Replace(next, "rel", "Rel", 1)},
	} {
		got, err := connectors.Links(http.Header{"Link": lines})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	for _, bad := range []string{
		`https://acme.okta.com>; rel="next"`, `<https://acme.okta.com; rel="next"`, `<>; rel="next"`, `<https://acme.okta.com>`, `<https://acme.okta.com>; rel="next`,
		`<https://acme.okta.com>; rel`, `<https://acme.okta.com> rel="next"`, `<a>; rel="next", <b>; rel="next"`, `next`, `<a>; type="x"`,
	} {
		if got, err := connectors.Links(http.Header{"Link": {bad}}); err == nil {
			t.Errorf("Links(%q) = %v, want an error", bad, got)
		}
	}
}

func FuzzLinks(f *testing.F) {
	f.Add(`<https://acme.okta.com/api/v1/users?limit=1>; rel="self", <https://acme.okta.com/?a>; rel=next`)
	f.Add(`<;>;rel="`)
	f.Fuzz(func(t *testing.T, s string) {
		links, err := connectors.Links(http.Header{"Link": {s}})
		if err != nil && links != nil {
			t.Errorf("Links(%q) = %v with %v", s, links, err)
		}
	})
}

func TestTrail(t *testing.T) {
	t.Parallel()
	base, err := url.Parse("https://acme.okta.com")
	if err != nil {
		t.Fatal(err)
	}
	trail := connectors.NewTrail(base, "/api/v1/users?limit=200")
	for _, c := range []struct{ link, want, err string }{
		{"https://acme.okta.com/api/v1/users?after=1&limit=200", "/api/v1/users?after=1&limit=200", ""},
		{"https://ACME.okta.com/api/v1/users?after=2&limit=200", "/api/v1/users?after=2&limit=200", ""},
		{"/api/v1/users?after=3&limit=200", "/api/v1/users?after=3&limit=200", ""},
		{"https://acme.okta.com/api/v1/users?limit=100&after=1", "", "read before"},
		{"https://acme.okta.com/api/v1/users?limit=200", "", "read before"},
		{"https://acme.okta.com.attacker.test/api/v1/users?after=4", "", "another host"},
		{"https://acme.okta.com:8443/api/v1/users?after=4", "", "another host"},
		{"http://acme.okta.com/api/v1/users?after=4", "", "another host"},
		{"//attacker.test/api/v1/users?after=4", "", "another host"},
		{"https://x@acme.okta.com/api/v1/users?after=4", "", "another host"},
		{"https://acme.okta.com/%zz", "", "no address"},
	} {
		got, err := trail.Next(c.link)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Next(%q) = %q, %v, want %q, %q", c.link, got, err, c.want, c.err)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	secret := connectors.Secret(token)
	text, err := secret.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%s %v %+v %#v %q %s", secret, secret, struct{ S connectors.Secret }{secret}, secret, secret, text)
	var logs bytes.Buffer
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "secret", secret)
	if strings.Contains(printed+logs.String(), token) {
		t.Errorf("printed %s %s", printed, logs.String())
	}
	if secret.Reveal() != token || connectors.Secret("").String() != "" {
		t.Error("Reveal is the text, and nothing is nothing")
	}
}

// rewound is a body that an SDK hands out again after putting it back to its beginning, as azcore does.
type rewound struct{ *bytes.Reader }

func (rewound) Close() error { return nil }

func TestTransportSendsABodyAgain(t *testing.T) {
	t.Parallel()
	const form = "grant_type=client_credentials"
	late := make(chan string, 1)
	var bodies []string
	read := func(r *http.Request) string {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the body: %v", err)
		}
		return string(b)
	}
	s := &script{answers: []func(*http.Request) (*http.Response, error){
		func(r *http.Request) (*http.Response, error) {
			go func() { late <- read(r) }() // a connection goes on reading after the try was given up
			return nil, errors.New("connection reset")
		},
		func(r *http.Request) (*http.Response, error) {
			bodies = append(bodies, read(r))
			return answer(200, `{"access_token":"x"}`)(r)
		},
	}}
	transport := connectors.NewTransport(connectors.TransportOptions{Base: s, Backoff: time.Millisecond})
	body := rewound{bytes.NewReader([]byte(form))}
	ctx := connectors.WithCall(t.Context(), &connectors.Call{Endpoint: "POST token", Shape: connectors.ShapeObject})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://login.test/token", body)
	if err != nil {
		t.Fatal(err)
	}
	req.GetBody = func() (io.ReadCloser, error) {
		_, err := body.Seek(0, io.SeekStart)
		return body, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-late; got != form || len(bodies) != 1 || bodies[0] != form {
		t.Errorf("the first try sent %q, the second %q, want %q both times", got, bodies, form)
	}
	huge, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://login.test/token", strings.NewReader(strings.Repeat("x", 1<<20+1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(huge); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a huge body: %v", err)
	}
}
