package client

import (
	"bytes"
	"io"
	"net/http"
)

// Inside carries requests out by a handler of this process.
type Inside struct{ Handler http.Handler }

// Do calls the handler. The answer is kept whole in memory.
func (i Inside) Do(r *http.Request) (*http.Response, error) {
	w := &written{header: http.Header{}}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	i.Handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// written keeps what a handler answers.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *written) Header() http.Header { return w.header }

func (w *written) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

func (w *written) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
