package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/idpsync/idpsync/store"
)

// Root is the path under which a Handler serves.
const Root = "/scim/v2"

// maxBody bounds the bodies of requests; maxNesting the objects and arrays within each other in them.
const (
	maxBody    = 1 << 20
	maxNesting = 32
)

// request is a request on its way.
type request struct {
	*http.Request
	id        string
	query     url.Values
	badQuery  bool
	segments  []string // of the path behind Root; nil when it is not under Root
	base      string   // absolute URL of Root
	principal Principal
	lookup    *store.UserLookup // what was read together with the key, or nil
	data      map[string]any    // the body, once it was read, or where an operation of a bulk request brought it
	writer    http.ResponseWriter
	header    http.Header // of the answer
}

func (h *Handler) newRequest(w http.ResponseWriter, req *http.Request) *request {
	query, err := url.ParseQuery(req.URL.RawQuery)
	r := &request{Request: req, query: query, badQuery: err != nil, writer: w, header: w.Header()}
	for _, values := range query {
		for _, v := range values {
			r.badQuery = r.badQuery || !utf8.ValidString(v)
		}
	}
	wanted := query.Get("id")
	if !validTraceID(wanted) {
		wanted = ""
	}
	r.id = h.opt.RequestID(req.Context(), wanted)
	r.segments = split(req.URL)
	r.base = h.baseURL(req) + Root
	return r
}

// validTraceID tells whether a client's trace id is fit to be echoed and logged.
func validTraceID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("-._~:/+=@", rune(c)) {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// Serves tells whether a path is under Root, whatever slashes are doubled in it or left at its end. Ask before a
// http.ServeMux does, which would redirect such a path.
func Serves(u *url.URL) bool { return split(u) != nil }

// split returns the segments of a path behind Root, empty ones left out, or nil when it is not under Root.
func split(u *url.URL) []string {
	rest, _ := behindRoot(segmentsOf(u.EscapedPath()))
	return rest
}

// segmentsOf returns the segments of an escaped path, empty ones left out.
func segmentsOf(path string) []string {
	segments := []string{}
	for s := range strings.SplitSeq(path, "/") {
		if s == "" {
			continue
		}
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
		segments = append(segments, s)
	}
	return segments
}

func behindRoot(segments []string) (rest []string, ok bool) {
	if len(segments) < 2 || segments[0] != "scim" || segments[1] != "v2" {
		return nil, false
	}
	return segments[2:], true
}

// baseURL returns the address that the client used, as far as it can be trusted.
func (h *Handler) baseURL(req *http.Request) string {
	base := *h.base
	if h.opt.TrustProxy {
		if proto := firstOf(req.Header.Get("X-Forwarded-Proto")); proto == "http" || proto == "https" {
			base.Scheme = proto
		}
		if host := firstOf(req.Header.Get("X-Forwarded-Host")); validHost(host) {
			base.Host = host
		}
	}
	return base.String()
}

func firstOf(header string) string {
	first, _, _ := strings.Cut(header, ",")
	return strings.TrimSpace(first)
}

func validHost(host string) bool {
	u, err := url.Parse("http://" + host)
	return err == nil && host != "" && len(host) <= 260 && u.Host == host && u.Hostname() != "" &&
		!strings.ContainsAny(host, " \"'<>\\%`{}|^")
}

// body reads the JSON object that a request carries.
func (r *request) body() (map[string]any, error) {
	if r.data != nil {
		return r.data, nil
	}
	data, err := r.content(maxBody)
	if err != nil {
		return nil, err
	}
	r.data, err = decode(data)
	return r.data, err
}

// content reads what a request carries, of limit bytes at most.
func (r *request) content(limit int64) ([]byte, error) {
	if kind := r.Request.Header.Get("Content-Type"); kind != "" {
		media, _, err := mime.ParseMediaType(kind)
		if err != nil || media != "application/scim+json" && media != "application/json" {
			return nil, &Error{
				Status: http.StatusUnsupportedMediaType,
				Detail: "the body must be application/scim+json or application/json",
			}
		}
	}
	if coding := r.Request.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Detail: "the body must not be compressed"}
	}
	if r.ContentLength > limit { // not to wait for what is not wanted
		return nil, &http.MaxBytesError{Limit: limit}
	}
	data, err := io.ReadAll(http.MaxBytesReader(r.writer, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return data, nil
	case errors.As(err, &tooLarge):
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Error{Status: http.StatusRequestTimeout, Detail: "the body did not come in time"}
	}
	return nil, badSyntax("the body cannot be read")
}

// decode reads a JSON object so that numbers keep their spelling, and refuses what a database cannot hold.
func decode(data []byte) (map[string]any, error) {
	object, err := parseObject(data)
	if err != nil {
		return nil, err
	}
	return object, check(object, maxNesting)
}

func parseObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, badSyntax("the body is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, badSyntax("the body must be a JSON object: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badSyntax("the body must be a single JSON object")
	}
	if object == nil {
		return nil, badSyntax("the body must be a JSON object")
	}
	return object, nil
}

func check(v any, depth int) error {
	if depth == 0 {
		return badSyntax("the body is nested deeper than %d", maxNesting)
	}
	switch v := v.(type) {
	case string:
		if strings.ContainsRune(v, 0) {
			return badValue("a text holds a NUL character")
		}
	case json.Number:
		// Spelled out as a decimal it must still be of a sensible length.
		_, exponent, _ := strings.Cut(strings.ToLower(v.String()), "e")
		if e, err := strconv.Atoi(exponent); len(v) > 300 || exponent != "" && (err != nil || e > 300 || e < -300) {
			return badValue("a number is too large or too precise")
		}
	case []any:
		for _, element := range v {
			if err := check(element, depth-1); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, member := range v {
			if strings.ContainsRune(key, 0) {
				return badValue("a name holds a NUL character")
			}
			if err := check(member, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// ifMatch returns the version that If-Match asks for, 0 for any; current reads the version held, where that is needed.
func (r *request) ifMatch(current func() (int64, error)) (int64, error) {
	tags := etags(r.Request.Header.Values("If-Match"))
	switch {
	case len(tags) == 0 || tags[0] == "*":
		return 0, nil
	case len(tags) == 1:
		version, ok := parseETag(tags[0])
		if !ok {
			version = -1 // nothing has it
		}
		return version, nil
	}
	held, err := current()
	if err != nil {
		return 0, err
	}
	for _, tag := range tags {
		if version, ok := parseETag(tag); ok && version == held {
			return held, nil
		}
	}
	return 0, store.ErrStale
}

// unchanged tells whether If-None-Match names the version.
func (r *request) unchanged(version int64) bool {
	for _, tag := range etags(r.Request.Header.Values("If-None-Match")) {
		if v, ok := parseETag(tag); tag == "*" || ok && v == version {
			return true
		}
	}
	return false
}

func etags(headers []string) []string {
	var tags []string
	for tag := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

// etag is the entity tag of a version. It is weak: the same version may be written in other bytes.
func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// parseETag reads an entity tag, also without its W/ or its quotes, which some clients lose.
func parseETag(tag string) (int64, bool) {
	tag = strings.TrimPrefix(strings.TrimPrefix(tag, "W/"), "w/")
	version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	return version, err == nil && version > 0
}
