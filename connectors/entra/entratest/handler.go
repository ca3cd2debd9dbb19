package entratest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// Endpoints as requests are counted, metered and disturbed by. The first two are the token service's.
const (
	GetOpenIDConfiguration = "GET /{tenant}/v2.0/.well-known/openid-configuration"
	PostToken              = "POST /{tenant}/oauth2/v2.0/token"
	ListUsers              = "GET /users"
	UsersDelta             = "GET /users/delta"
	GetUser                = "GET /users/{id}"
	GetManager             = "GET /users/{id}/manager"
	ListMemberOf           = "GET /users/{id}/memberOf"
	ListTransitiveMemberOf = "GET /users/{id}/transitiveMemberOf"
	ListUserAssignments    = "GET /users/{id}/appRoleAssignments"
	CheckMemberGroups      = "POST /users/{id}/checkMemberGroups"
	ListGroups             = "GET /groups"
	GroupsDelta            = "GET /groups/delta"
	GetGroup               = "GET /groups/{id}"
	ListMembers            = "GET /groups/{id}/members"
	ListTransitiveMembers  = "GET /groups/{id}/transitiveMembers"
	ListServicePrincipals  = "GET /servicePrincipals"
	GetServicePrincipal    = "GET /servicePrincipals/{id}"
	ListAppRoleAssignedTo  = "GET /servicePrincipals/{id}/appRoleAssignedTo"
	ListDeletedUsers       = "GET /directory/deletedItems/microsoft.graph.user"
	ListDeletedGroups      = "GET /directory/deletedItems/microsoft.graph.group"
	GetDeletedItem         = "GET /directory/deletedItems/{id}"
	GetOrganization        = "GET /organization"
	PostBatch              = "POST /$batch"
)

const (
	unknownEndpoint         = "(unknown)"
	contentTypeOfValues     = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
	contentTypeOfErrors     = "application/json"
	mostInABatch            = 20
	defaultPage, mostOnPage = 100, 999
)

// answer is what a request is to be answered, before faults have their way with it.
type answer struct {
	status int
	body   []byte
	header http.Header // more headers
	token  bool        // of the token service
}

// request is one request to Graph on its way through the tenant.
type request struct {
	*http.Request
	endpoint string
	id       string // out of the path
	cast     string // for example "user", of a path that ends in microsoft.graph.user
	typeOf   string // of what is asked for, for messages
	query    url.Values
	base     string // scheme and host
	root     string // and version
	roles    []string
	fault    *idptest.Fault
	number   int64
}

func (r *request) faultKind() FaultKind {
	if r.fault == nil {
		return ""
	}
	return r.fault.Kind
}

// ServeHTTP answers as the token endpoint and Microsoft Graph do.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.init()
	req := t.newRequest(r)
	at := idptest.Request{Endpoint: req.endpoint, URI: r.URL.RequestURI(), At: t.Now()}
	t.traffic.Arrive(at)
	issuer := isIssuer(req.endpoint)
	req.fault = t.traffic.Meet(at, issuer)
	if req.fault != nil && req.fault.Delay > 0 {
		select {
		case <-time.After(req.fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	var a answer
	switch {
	case issuer:
		a = t.issue(req)
	case req.endpoint == PostBatch:
		a = t.batch(req)
	default:
		a = t.answer(req)
	}
	t.reply(w, req, a)
}

func isIssuer(endpoint string) bool {
	return endpoint == PostToken || endpoint == GetOpenIDConfiguration
}

func (t *Tenant) newRequest(r *http.Request) *request {
	base := "https://" + r.Host
	if r.TLS == nil && r.URL.Scheme != "https" {
		base = "http://" + r.Host
	}
	req := &request{Request: r, query: r.URL.Query(), base: base, number: t.meter.next()}
	req.route()
	return req
}

// route names the endpoint and takes version, id and cast out of the path.
func (r *request) route() {
	r.endpoint = r.Method + " " + unknownEndpoint
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i, part := range parts {
		plain, err := url.PathUnescape(part)
		if err != nil {
			return
		}
		parts[i] = plain
	}
	if parts[0] != "v1.0" && parts[0] != "beta" {
		r.id = parts[0]
		switch r.Method + " /{tenant}/" + strings.Join(parts[1:], "/") {
		case GetOpenIDConfiguration:
			r.endpoint = GetOpenIDConfiguration
		case PostToken:
			r.endpoint = PostToken
		}
		return
	}
	r.root = r.base + "/" + parts[0]
	parts = parts[1:]
	if len(parts) == 0 {
		return
	}
	if name, key, ok := strings.Cut(parts[0], "("); ok && strings.HasSuffix(key, ")") { // users('id'), servicePrincipals(appId='id')
		parts = slices.Insert(slices.Clone(parts), 1, strings.TrimSuffix(key, ")"))
		parts[0] = name
		parts[1] = strings.Trim(parts[1], "'")
	}
	for i := 1; i < len(parts); i++ {
		switch strings.TrimSuffix(parts[i], "()") {
		case "delta", "microsoft.graph.delta":
			parts[i] = "delta"
		case "microsoft.graph.checkMemberGroups", "checkMemberGroups":
			parts[i] = "checkMemberGroups"
		}
	}
	last := len(parts) - 1
	if cast, ok := strings.CutPrefix(parts[last], "microsoft.graph."); ok && parts[0] != "directory" {
		r.cast, parts = cast, parts[:last]
	}
	switch {
	case parts[0] == "directory" && len(parts) == 3 && !strings.HasPrefix(parts[2], "microsoft.graph."):
		r.id, parts[2] = parts[2], "{id}"
	case parts[0] != "directory" && len(parts) > 1 && parts[1] != "delta" && parts[1] != "":
		r.id, parts[1] = parts[1], "{id}"
	}
	r.endpoint = r.Method + " /" + strings.Join(parts, "/")
	r.typeOf = map[string]string{"users": "user", "groups": "group", "servicePrincipals": "servicePrincipal"}[parts[0]]
}

// answer answers a request to Graph.
func (t *Tenant) answer(r *request) answer {
	if bad := t.authenticate(r); bad != nil {
		return *bad
	}
	if a, done := t.instead(r); done {
		return a
	}
	if bad := t.meter.spend(t, r); bad != nil {
		return *bad
	}
	if !r.may(needs[r.endpoint]...) {
		return failure(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	if strings.Contains(r.endpoint, "{id}") && !strings.Contains(r.endpoint, "/users/") && !strings.HasPrefix(r.id, "appId='") && !isGUID(r.id) {
		return failure(http.StatusBadRequest, "Request_BadRequest", "Invalid object identifier '"+r.id+"'.")
	}
	defer t.rlock()()
	switch r.endpoint {
	case ListUsers:
		return t.list(r, kindUser)
	case UsersDelta:
		return t.delta(r, kindUser)
	case GetUser:
		return t.getUser(r)
	case GetManager:
		return t.getManager(r)
	case ListMemberOf, ListTransitiveMemberOf:
		return t.listMemberOf(r)
	case ListUserAssignments:
		return t.listUserAssignments(r)
	case CheckMemberGroups:
		return t.checkMemberGroups(r)
	case ListGroups:
		return t.list(r, kindGroup)
	case GroupsDelta:
		return t.delta(r, kindGroup)
	case GetGroup:
		return t.getGroup(r)
	case ListMembers, ListTransitiveMembers:
		return t.listMembers(r)
	case ListServicePrincipals:
		return t.listServicePrincipals(r)
	case GetServicePrincipal:
		return t.getServicePrincipal(r)
	case ListAppRoleAssignedTo:
		return t.listAssignedTo(r)
	case ListDeletedUsers:
		return t.listDeleted(r, kindUser)
	case ListDeletedGroups:
		return t.listDeleted(r, kindGroup)
	case GetDeletedItem:
		return t.getDeleted(r)
	case GetOrganization:
		return t.getOrganization(r)
	}
	if r.root == "" {
		return answer{status: http.StatusNotFound, header: http.Header{"Content-Type": {"text/html"}}, body: []byte("<html><body>404</body></html>")}
	}
	return failure(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+strings.TrimPrefix(r.URL.Path, "/v1.0/")+"'.")
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			return false
		}
	}
	return true
}

// failure returns an error as Graph writes it. The ids in innerError are filled in when it is sent.
func failure(status int, code, message string) answer {
	b := append(appendString([]byte(`{"error":{"code":`), code), `,"message":`...)
	b = append(appendString(b, message), `,"innerError":{"date":"`+innerDate+`","request-id":"`+innerRequest+`","client-request-id":"`+innerClient+`"}}}`...)
	return answer{status: status, body: b}
}

// What stands in an error for what is known when it is sent.
const (
	innerDate    = "\x00date"
	innerRequest = "\x00request"
	innerClient  = "\x00client"
)

func notFound(id string) answer {
	return failure(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '"+id+"' does not exist or one of its queried reference-property objects are not present.")
}

// requestID returns a GUID for the request.
func requestID(number int64) string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", uint32(number*2654435761), number>>16&0xffff, number&0xfff, number*7&0xfff, number)
}

// seal fills in what an error tells of its request.
func (t *Tenant) seal(r *request, a *answer) {
	if a.status < 400 || !bytes.Contains(a.body, []byte(innerDate)) {
		return
	}
	id := requestID(r.number)
	client := r.Header.Get("Client-Request-Id")
	if client == "" {
		client = id
	}
	quoted, _ := json.Marshal(client)
	a.body = bytes.Replace(a.body, []byte(innerDate), []byte(t.Now().UTC().Format("2006-01-02T15:04:05")), 1)
	a.body = bytes.Replace(a.body, []byte(innerRequest), []byte(id), 1)
	a.body = bytes.Replace(a.body, []byte(innerClient), quoted[1:len(quoted)-1], 1)
}

// reply writes the answer with the headers that the services send, as far as the fault lets it.
func (t *Tenant) reply(w http.ResponseWriter, r *request, a answer) {
	t.seal(r, &a)
	h := w.Header()
	id := requestID(r.number)
	h.Set("Date", t.Now().Add(t.ClockOffset).UTC().Format(http.TimeFormat))
	h.Set("Strict-Transport-Security", "max-age=31536000")
	if a.token {
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Cache-Control", "no-store, no-cache")
		h.Set("Pragma", "no-cache")
		h.Set("Expires", "-1")
		h.Set("X-Ms-Request-Id", id)
		h.Set("X-Ms-Ests-Server", "2.1.22203.6 - WEULR1 ProdSlices")
	} else {
		h.Set("Content-Type", contentTypeOfErrors)
		if a.status < 300 {
			h.Set("Content-Type", contentTypeOfValues)
			h["odata-version"] = []string{"4.0"}
			h["x-ms-resource-unit"] = []string{strconv.Itoa(r.cost())}
		}
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		h["request-id"] = []string{id}
		h["client-request-id"] = []string{id}
		if client := r.Header.Get("Client-Request-Id"); client != "" {
			h["client-request-id"] = []string{client}
		}
		h["x-ms-ags-diagnostic"] = []string{`{"ServerInfo":{"DataCenter":"West Europe","Slice":"E","Ring":"5","ScaleUnit":"004","RoleInstance":"AM4PEPF00028003"}}`}
	}
	for name, values := range a.header {
		h[name] = values
	}
	if r.fault != nil && spoil(w, r, &a) {
		return
	}
	if !t.Uncompressed && len(a.body) > 1024 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && h.Get("Content-Encoding") == "" {
		h.Set("Content-Encoding", "gzip")
		a.body = squeeze(a.body)
	}
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// squeezers are kept, as each has buffers of a megabyte.
var squeezers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return z
}}

func squeeze(body []byte) []byte {
	z := squeezers.Get().(*gzip.Writer)
	defer squeezers.Put(z)
	var b bytes.Buffer
	b.Grow(len(body) / 4)
	z.Reset(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}

// content returns the request's body, which may be compressed.
func (r *request) content() ([]byte, error) {
	var body io.Reader = http.MaxBytesReader(nil, r.Body, 4<<20)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = io.LimitReader(z, 4<<20)
	}
	return io.ReadAll(body)
}
