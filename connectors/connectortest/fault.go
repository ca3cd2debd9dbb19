package connectortest

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// fault is a way in which an answer goes wrong. None of them is evidence of anything.
type fault struct {
	name    string
	serve   func(exchange)
	repeats bool // answers what was answered before, so that the first request cannot meet it
	subtle  bool // shows only to those who read all of the body
	empty   bool // what a list says that has nothing in it: alone it proves nothing, yet it is not wrong
}

// status answers a status with a body that shows what was sent.
func status(code int, headers ...string) func(exchange) {
	return func(x exchange) {
		header := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(headers); i += 2 {
			header.Set(headers[i], headers[i+1])
		}
		x.write(header, code, x.echo())
	}
}

// plain answers a status and a body.
func plain(code int, kind, body string) func(exchange) {
	return func(x exchange) { x.write(http.Header{"Content-Type": {kind}}, code, []byte(body)) }
}

// spoilt lets the source answer, and changes the answer.
func spoilt(spoil func(header http.Header, code int, body []byte) (http.Header, int, []byte)) func(exchange) {
	return func(x exchange) {
		rec := x.answer()
		header := rec.Header().Clone()
		header.Del("Content-Length")
		x.write(spoil(header, rec.Code, rec.Body.Bytes()))
	}
}

const (
	html = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Welcome to the network</p></body></html>"
	jsn  = "application/json"
)

// faults are what every answer is tried with.
var faults = []fault{
	{name: "status 400", serve: status(400)},
	{name: "status 401", serve: status(401, "Www-Authenticate", `Bearer realm=""`)},
	{name: "status 403", serve: status(403)},
	{name: "status 403 without a body", serve: plain(403, "", "")},
	{name: "status 404 of somebody else", serve: plain(404, jsn, `{"message":"no route","path":"/"}`)},
	{name: "status 404 as a page", serve: plain(404, "text/html", html)},
	{name: "status 404 without a body", serve: plain(404, "", "")},
	{name: "status 429 for ever", serve: status(429)},
	{name: "status 429 with a long wait", serve: status(429, "Retry-After", "86400")},
	{name: "status 500", serve: status(500)},
	{name: "status 501", serve: status(501)},
	{name: "status 502 as a page", serve: plain(502, "text/html", html)},
	{name: "status 503", serve: plain(503, jsn, `{"value":[]}`)},
	{name: "status 504 without a body", serve: plain(504, "", "")},
	{name: "an empty body", serve: plain(200, jsn, "")},
	{name: "a blank body", serve: plain(200, jsn, " \r\n\t ")},
	{name: "null", serve: plain(200, jsn, "null")},
	{name: "a number", serve: plain(200, jsn, "0")},
	{name: "an empty object", serve: plain(200, jsn, "{}")},
	{name: "an empty array", serve: plain(200, jsn, "[]"), subtle: true, empty: true},
	{name: "a page of a portal", serve: plain(200, "text/html", html)},
	{name: "a page said to be JSON", serve: plain(200, jsn, html)},
	{name: "status 202 without a body", serve: plain(202, jsn, "")},
	{name: "status 204", serve: plain(204, "", "")},
	{name: "status 304", serve: plain(304, "", "")},
	{name: "status 302 to nowhere", serve: plain(302, jsn, "[]")},
	{name: "status 206 with a part", serve: spoilt(func(h http.Header, _ int, body []byte) (http.Header, int, []byte) {
		return h, http.StatusPartialContent, body
	})},
	{name: "JSON said to be text", serve: spoilt(func(h http.Header, code int, body []byte) (http.Header, int, []byte) {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		if code != http.StatusOK { // an error's body is the provider's own, whatever it is said to be
			body = []byte("no")
		}
		return h, code, body
	})},
	{name: "text said to be gzip", serve: spoilt(func(h http.Header, code int, body []byte) (http.Header, int, []byte) {
		h.Set("Content-Encoding", "gzip")
		return h, code, body
	})},
	{name: "malformed JSON", subtle: true, serve: spoilt(func(h http.Header, code int, body []byte) (http.Header, int, []byte) {
		before, after, ok := bytes.Cut(body, []byte(`":`))
		if !ok {
			return h, code, []byte("{]")
		}
		return h, code, slices.Concat(before, []byte(`";`), after)
	})},
	{name: "a part of a body that begins and ends well", subtle: true, serve: spoilt(func(h http.Header, code int, body []byte) (http.Header, int, []byte) {
		before, _, ok := bytes.Cut(body, []byte(`":`))
		if !ok {
			return h, code, []byte("{]")
		}
		return h, code, slices.Concat(before, []byte(`":`), body[len(body)-1:])
	})},
	{name: "a body cut off", serve: func(x exchange) { x.breakOff(raw(x.answer(), true), false) }},
	{name: "a body cut off, of no declared length", serve: func(x exchange) { x.breakOff(raw(x.answer(), false), false) }},
	{name: "a connection reset", serve: func(x exchange) { x.breakOff("", true) }},
	{name: "a connection closed", serve: func(x exchange) { x.breakOff("", false) }},
	{name: "the previous page again", repeats: true, serve: func(x exchange) {
		x.write(x.previous.Header(), x.previous.Code, x.previous.Body.Bytes())
	}},
}

// faults returns what the harness wants tried.
func (h Harness) faults() []fault {
	if h.NoFaults {
		return nil
	}
	return faults
}

// hang answers when the request or the test is over.
var hang = fault{name: "no answer", serve: func(x exchange) {
	select {
	case <-x.r.Context().Done():
	case <-x.over:
	}
}}

// trial is one request of a sequence to be broken, once or for good.
type trial struct {
	request int // from 0
	times   int // -1 for good
}

// trials chooses which requests meet the fault of the number n: for good the first of each kind, and of all others a part
// that differs from fault to fault, as does the part that meets it once.
func trials(sent []string, n int) []trial {
	const part = 16
	var chosen []trial
	seen := map[string]bool{}
	for i, uri := range sent {
		path, _, _ := strings.Cut(uri, "?")
		kind := digits.ReplaceAllString(path, "{id}")
		if !seen[kind] || (n+i)%part == 0 {
			chosen = append(chosen, trial{i, -1})
		}
		if (n+i)%part == part/2 {
			chosen = append(chosen, trial{i, 1})
		}
		seen[kind] = true
	}
	return chosen
}

// digits finds what looks like an id in a path.
var digits = regexp.MustCompile(`[^/]*[0-9][^/]{3,}`)
