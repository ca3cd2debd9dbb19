package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
)

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// ServeHTTP serves what is below Prefix.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	answer := &recorder{ResponseWriter: w}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	defer func() {
		a.recovered(answer, r, recover())
		method, route, found := strings.Cut(r.Pattern, " "+Prefix)
		if !found {
			method, route = "other", "other"
		}
		a.o.Metrics.observe(route, method, answer.status, time.Since(began))
	}()
	if p := legible(r); p != nil {
		a.fail(answer, r, p)
	} else if p := readBody(answer, r); p != nil {
		a.fail(answer, r, p)
	} else {
		a.mux.ServeHTTP(answer, r)
	}
}

// recovered answers for an operation that panicked, unless half of the answer is out: then the connection is cut.
func (a *API) recovered(w *recorder, r *http.Request, panicked any) {
	switch {
	case panicked == nil:
	case panicked != http.ErrAbortHandler && w.status == 0:
		a.logger.ErrorContext(r.Context(), "api operation panicked", "panic", panicked, "stack", string(debug.Stack()), "request_id", httpserver.RequestID(r.Context()))
		a.fail(w, r, problem(http.StatusInternalServerError, kindBlank, "internal error"))
	default:
		panic(panicked)
	}
}

func (a *API) serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(a.document) // the client may be gone
}

// legible refuses addresses with what no database keeps.
func legible(r *http.Request) *Problem {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil {
		return problem(http.StatusBadRequest, kindInvalid, "query: it is not percent-encoded as it should be")
	}
	for _, text := range []string{r.URL.Path, query} {
		if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
			return problem(http.StatusBadRequest, kindInvalid, "the address holds a NUL or is not UTF-8")
		}
	}
	return nil
}

// readBody reads a body whole, so that one that is too long or breaks off is the client's mistake and not ours.
func readBody(w http.ResponseWriter, r *http.Request) *Problem {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return problem(http.StatusRequestEntityTooLarge, kindInvalid, "the body is longer than 1 MiB")
	case err != nil:
		return problem(http.StatusBadRequest, kindInvalid, "the body broke off")
	case !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 || bytes.Contains(body, []byte(`\u0000`)):
		return problem(http.StatusUnprocessableEntity, kindInvalid, "the body holds a NUL or is not UTF-8")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// nothing answers where there is no operation: what other methods there are, or that there are none.
func (a *API) nothing(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := a.mux.Handler(&other); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	r.Pattern = ""
	if len(allowed) == 0 {
		a.fail(w, r, notFound("there is no such path: see "+Prefix+"/openapi.json"))
		return
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = slices.Insert(allowed, 1, http.MethodHead)
	}
	a.fail(w, r, problem(http.StatusMethodNotAllowed, kindBlank, r.Method+" is not possible here").with("Allow", strings.Join(allowed, ", ")))
}

// recorder notes the status that was answered.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
