package oktatest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Endpoints as requests are counted, limited and disturbed by.
const (
	ListUsers      = "GET /api/v1/users"
	GetUser        = "GET /api/v1/users/{id}"
	ListUserGroups = "GET /api/v1/users/{id}/groups"
	ListGroups     = "GET /api/v1/groups"
	GetGroup       = "GET /api/v1/groups/{id}"
	ListMembers    = "GET /api/v1/groups/{id}/users"
	GetApp         = "GET /api/v1/apps/{id}"
	ListAppUsers   = "GET /api/v1/apps/{id}/users"
	GetAppUser     = "GET /api/v1/apps/{id}/users/{id}"
	ListAppGroups  = "GET /api/v1/apps/{id}/groups"
	GetAppGroup    = "GET /api/v1/apps/{id}/groups/{id}"
	ListLogs       = "GET /api/v1/logs"
	FetchToken     = "POST /oauth2/v1/token"
)

// answer is what a request is to be answered, before faults have their way with it.
type answer struct {
	status int
	body   []byte
	self   *url.URL // nil: no Link header
	next   *url.URL
	etag   string
	header http.Header // more headers
}

// request is one request on its way through the tenant.
type request struct {
	*http.Request
	endpoint string
	ids      []string // out of the path
	query    url.Values
	base     string
	now      time.Time
	fault    *Fault
}

// ServeHTTP answers as Okta does.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.init()
	endpoint, ids := route(r)
	req := &request{Request: r, endpoint: endpoint, ids: ids, query: r.URL.Query(), base: t.baseOf(r), now: t.Now()}
	arrived := Request{Endpoint: endpoint, URI: r.URL.RequestURI(), At: req.now}
	t.traffic.Arrive(arrived)
	req.fault = t.traffic.Meet(arrived, false)
	if req.fault != nil && req.fault.Delay > 0 {
		select {
		case <-time.After(req.fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	limit := t.limiter.spend(t, req)
	t.reply(w, req, t.answer(req, limit), limit)
}

// baseOf returns scheme and host as the client wrote them.
func (t *Tenant) baseOf(r *http.Request) string {
	if r.TLS == nil {
		return "http://" + r.Host
	}
	return "https://" + r.Host
}

// route names the endpoint and takes the ids out of the path.
func route(r *http.Request) (endpoint string, ids []string) {
	if r.URL.Path == "/oauth2/v1/token" {
		return r.Method + " /oauth2/v1/token", nil
	}
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/v1/")
	if !ok {
		return r.Method + " (unknown)", nil
	}
	parts := strings.Split(path, "/")
	for i := 1; i < len(parts); i += 2 {
		id, err := url.PathUnescape(parts[i])
		if err != nil || id == "" {
			return r.Method + " (unknown)", nil
		}
		ids = append(ids, id)
		parts[i] = "{id}"
	}
	return r.Method + " /api/v1/" + strings.Join(parts, "/"), ids
}

func (t *Tenant) answer(r *request, limit limitState) answer {
	if limit.exceeded {
		return failure(http.StatusTooManyRequests, "E0000047", "API call exceeded rate limit due to too many requests.")
	}
	if r.endpoint != FetchToken {
		if a, ok := t.authorize(r); !ok {
			return a
		}
	}
	if r.fault != nil {
		if a, done := instead(r); done {
			return a
		}
	}
	if r.endpoint == FetchToken {
		return t.issue(r)
	}
	defer t.rlock()()
	switch r.endpoint {
	case ListUsers:
		return t.listUsers(r)
	case GetUser:
		return t.getUser(r)
	case ListUserGroups:
		return t.listUserGroups(r)
	case ListGroups:
		return t.listGroups(r)
	case GetGroup:
		if g := t.findGroup(r.ids[0]); g != nil {
			return answer{status: http.StatusOK, body: g.append(nil, r.base, -1)}
		}
		return notFound(r.ids[0], "UserGroup")
	case ListMembers:
		return t.listMembers(r)
	case GetApp:
		if a := t.findApp(r.ids[0]); a != nil {
			return answer{status: http.StatusOK, body: a.append(nil, r.base)}
		}
		return notFound(r.ids[0], "AppInstance")
	case ListAppUsers:
		return t.listAppUsers(r)
	case GetAppUser:
		return t.getAppUser(r)
	case ListAppGroups:
		return t.listAppGroups(r)
	case GetAppGroup:
		return t.getAppGroup(r)
	case ListLogs:
		return t.listLogs(r)
	}
	if r.Method != http.MethodGet {
		return failure(http.StatusMethodNotAllowed, "E0000022", "The endpoint does not support the provided HTTP method")
	}
	return failure(http.StatusNotFound, "E0000007", "Not found: Resource not found: "+r.URL.Path+" (Path)")
}

func failure(status int, code, summary string) answer {
	body := append([]byte(`{"errorCode":"`+code+`","errorSummary":`), appendString(nil, summary)...)
	return answer{status: status, body: append(body, `,"errorLink":"`+code+`","errorId":"oae0t_sAPonSsSpbrfDK9jM4A","errorCauses":[]}`...)}
}

func notFound(id, kind string) answer {
	return failure(http.StatusNotFound, "E0000007", "Not found: Resource not found: "+id+" ("+kind+")")
}

// reply writes the answer with the headers that Okta sends, as far as the fault lets it.
func (t *Tenant) reply(w http.ResponseWriter, r *request, a answer, limit limitState) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h["x-okta-request-id"] = []string{fmt.Sprintf("reqid%08d", t.limiter.serial.Add(1))}
	h["x-rate-limit-limit"] = []string{strconv.Itoa(limit.limit)}
	h["x-rate-limit-remaining"] = []string{strconv.Itoa(limit.remaining)}
	h["x-rate-limit-reset"] = []string{strconv.FormatInt(limit.reset, 10)}
	h.Set("Date", t.Now().UTC().Format(http.TimeFormat))
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Strict-Transport-Security", "max-age=315360000; includeSubDomains")
	if a.etag != "" {
		h.Set("Etag", a.etag)
	}
	for name, values := range a.header {
		h[name] = values
	}
	if a.self != nil {
		h.Add("Link", "<"+r.base+a.self.RequestURI()+`>; rel="self"`)
		if a.next != nil {
			h.Add("Link", "<"+r.base+a.next.RequestURI()+`>; rel="next"`)
		}
	}
	if r.fault != nil && spoil(w, r, &a) {
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}
