package oktatest

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// FaultKind is a way to misbehave.
type FaultKind = idptest.FaultKind

// Kinds of fault. Those of the first block answer instead of the tenant; the others spoil its answer.
const (
	Throttle           FaultKind = "429 with a reset"                    // Limit N, Remaining 0, Reset in a second
	ThrottleRetryAfter FaultKind = "429 with Retry-After"                // in Delay's place, one second
	ThrottleBare       FaultKind = "429 without a header"                //
	ThrottleConcurrent FaultKind = "429 for concurrency"                 // Limit 0, Remaining 0, Reset far away
	Internal           FaultKind = "500"                                 // E0000009
	Unavailable        FaultKind = "503"                                 //
	GatewayTimeout     FaultKind = "504"                                 //
	GatewayHTML        FaultKind = "502 with HTML"                       //
	PortalHTML         FaultKind = "200 with HTML"                       // of a proxy or captive portal
	Empty              FaultKind = "200 without a body"                  //
	Blank              FaultKind = "200 with blanks"                     //
	Null               FaultKind = "200 with null"                       //
	Object             FaultKind = "200 with an object"                  // where a list is due
	EmptyList          FaultKind = "200 with an empty list"              // and a self link
	NoContent          FaultKind = "204"                                 //
	NotModified        FaultKind = "304"                                 //
	RedirectNowhere    FaultKind = "302 without Location"                //
	Unauthorized       FaultKind = "401"                                 //
	Forbidden          FaultKind = "403"                                 //
	ForbiddenOAuth     FaultKind = "403 with a challenge and no body"    //
	NotFound           FaultKind = "404 with Okta's body"                //
	NotFoundHTML       FaultKind = "404 with HTML"                       //
	Slow               FaultKind = "slow"                                // answers after Delay
	Truncated          FaultKind = "body cut off, length declared"       //
	TruncatedSilently  FaultKind = "body cut off, length not declared"   // the connection closes
	Reset              FaultKind = "connection reset"                    // before the answer
	Closed             FaultKind = "connection closed"                   // before the answer: EOF
	RepeatCursor       FaultKind = "next link to the same page"          //
	NextToStart        FaultKind = "next link to the first page"         //
	NoNext             FaultKind = "next link dropped"                   //
	NoLinks            FaultKind = "all links dropped"                   //
	FoldedLinks        FaultKind = "links folded into one header"        //
	MalformedLink      FaultKind = "malformed next link"                 //
	ForeignNext        FaultKind = "next link to another host"           //
	PlainNext          FaultKind = "next link without TLS"               //
	DuplicateItem      FaultKind = "an item twice between pages"         //
	MissingItem        FaultKind = "an item missing between pages"       //
	WrongClock         FaultKind = "server clock a day behind"           //
	NoDate             FaultKind = "no Date"                             //
	Gzipped            FaultKind = "body said to be gzip and is not"     //
	WrongType          FaultKind = "JSON declared as text/plain"         //
	Garbled            FaultKind = "malformed JSON inside a whole array" //
)

// Fault is one misbehaviour.
type Fault = idptest.Fault

// Inject adds a fault. Of several that fit a request, the first one injected wins.
func (t *Tenant) Inject(f Fault) { t.traffic.Inject(f) }

// Behave takes all faults away.
func (t *Tenant) Behave() { t.traffic.Behave() }

// limitReset is the header's name as Okta spells it.
const limitReset = "x-rate-limit-reset"

const tooMany = "API call exceeded rate limit due to too many requests."

// instead returns the answer of a fault that takes the tenant's place.
func instead(r *request) (answer, bool) {
	json := func(status int, body string) (answer, bool) {
		return answer{status: status, body: []byte(body)}, true
	}
	html := func(status int) (answer, bool) {
		return answer{
			status: status, header: http.Header{"Content-Type": {"text/html"}},
			body: []byte("<html><head><title>" + strconv.Itoa(status) + "</title></head><body><center>nginx</center></body></html>"),
		}, true
	}
	switch r.fault.Kind {
	case Throttle:
		a := failure(http.StatusTooManyRequests, "E0000047", tooMany)
		a.header = http.Header{"x-rate-limit-limit": {"600"}, "x-rate-limit-remaining": {"0"}, "x-rate-limit-reset": {strconv.FormatInt(r.now.Unix()+1, 10)}}
		return a, true
	case ThrottleRetryAfter:
		a := bare(failure(http.StatusTooManyRequests, "E0000047", tooMany))
		a.header["Retry-After"] = []string{"1"}
		return a, true
	case ThrottleBare:
		return bare(failure(http.StatusTooManyRequests, "E0000047", tooMany)), true
	case ThrottleConcurrent:
		a := failure(http.StatusTooManyRequests, "E0000047", tooMany)
		a.header = http.Header{"x-rate-limit-limit": {"0"}, "x-rate-limit-remaining": {"0"}, "x-rate-limit-reset": {strconv.FormatInt(r.now.Unix()+60, 10)}}
		return a, true
	case Internal:
		return failure(http.StatusInternalServerError, "E0000009", "Internal Server Error"), true
	case Unavailable:
		return html(http.StatusServiceUnavailable)
	case GatewayTimeout:
		return html(http.StatusGatewayTimeout)
	case GatewayHTML:
		return html(http.StatusBadGateway)
	case PortalHTML:
		return html(http.StatusOK)
	case Empty:
		return json(http.StatusOK, "")
	case Blank:
		return json(http.StatusOK, " \n ")
	case Null:
		return json(http.StatusOK, "null")
	case Object:
		return json(http.StatusOK, "{}")
	case EmptyList:
		a := answer{status: http.StatusOK, body: []byte("[]")}
		a.self, _ = r.links(200, "")
		return a, true
	case NoContent:
		return json(http.StatusNoContent, "")
	case NotModified:
		return json(http.StatusNotModified, "")
	case RedirectNowhere:
		return json(http.StatusFound, "")
	case Unauthorized:
		return failure(http.StatusUnauthorized, "E0000011", "Invalid token provided: "+r.Header.Get("Authorization")), true
	case Forbidden:
		return failure(http.StatusForbidden, "E0000006", "You do not have permission to perform the requested action"), true
	case ForbiddenOAuth:
		return answer{status: http.StatusForbidden, header: http.Header{"Www-Authenticate": {
			`Bearer authorization_uri="` + r.base + `/oauth2/v1/authorize", realm="` + r.base + `", scope="okta.users.read", error="insufficient_scope", error_description="The access token provided does not contain the required scopes."`,
		}}}, true
	case NotFound:
		id := "unknown"
		if len(r.ids) > 0 {
			id = r.ids[0]
		}
		return notFound(id, "UserGroup"), true
	case NotFoundHTML:
		return html(http.StatusNotFound)
	}
	return answer{}, false
}

func bare(a answer) answer {
	a.header = http.Header{"x-rate-limit-limit": nil, "x-rate-limit-remaining": nil, "x-rate-limit-reset": nil}
	return a
}

// spoil changes the answer, or does all the talking and returns true.
func spoil(w http.ResponseWriter, r *request, a *answer) bool {
	h := w.Header()
	links := h["Link"]
	self := slices.Clone(links[:min(1, len(links))])
	next := func(link string) {
		if a.next != nil {
			links[1] = link
		}
	}
	switch r.fault.Kind {
	case RepeatCursor:
		h["Link"] = append(self, "<"+r.base+r.URL.RequestURI()+`>; rel="next"`)
	case NextToStart:
		query := r.URL.Query()
		query.Del("after")
		h["Link"] = append(self, "<"+r.base+r.URL.Path+"?"+query.Encode()+`>; rel="next"`)
	case NoNext:
		h["Link"] = self
	case NoLinks:
		h.Del("Link")
	case FoldedLinks:
		h["Link"] = []string{strings.Join(links, ", ")}
	case MalformedLink:
		next(`<http://[::1]:namedport/%zz; rel="next"`)
	case ForeignNext:
		if a.next != nil {
			next("<https://login.attacker.test" + a.next.RequestURI() + `>; rel="next"`)
		}
	case PlainNext:
		if a.next != nil {
			next("<http://" + r.Host + a.next.RequestURI() + `>; rel="next"`)
		}
	case WrongClock:
		h.Set("Date", r.now.Add(-24*time.Hour).UTC().Format(http.TimeFormat))
		for _, reset := range map[string][]string(h)[limitReset] {
			if at, err := strconv.ParseInt(reset, 10, 64); err == nil {
				h[limitReset] = []string{strconv.FormatInt(at-24*3600, 10)}
			}
		}
	case NoDate:
		h["Date"] = nil
	case Gzipped:
		h.Set("Content-Encoding", "gzip")
	case WrongType:
		h.Set("Content-Type", "text/plain;charset=utf-8")
	case Garbled:
		key := []byte(`"profile":`)
		if !bytes.Contains(a.body, key) {
			key = []byte(`":`)
		}
		a.body = bytes.Replace(a.body, key, bytes.Replace(key, []byte(":"), []byte(";"), 1), 1)
	case Truncated:
		idptest.BreakOff(w, idptest.BreakTruncated, a.body)
		return true
	case TruncatedSilently:
		idptest.BreakOff(w, idptest.BreakSilently, a.body)
		return true
	case Reset:
		idptest.BreakOff(w, idptest.BreakReset, nil)
		return true
	case Closed:
		idptest.BreakOff(w, idptest.BreakClosed, nil)
		return true
	}
	return false
}
