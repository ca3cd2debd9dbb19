package entratest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// FaultKind is a way to misbehave.
type FaultKind = idptest.FaultKind

// Kinds of fault. Those of the first block answer instead of the tenant; the others spoil its answer.
const (
	Throttle          FaultKind = "429 with Retry-After"        // one second
	ThrottleLong      FaultKind = "429 with a long Retry-After" // five minutes
	ThrottleBare      FaultKind = "429 without a header"        //
	BadRequest        FaultKind = "400"                         //
	Internal          FaultKind = "500"                         //
	Unavailable       FaultKind = "503"                         // serviceNotAvailable with Retry-After
	GatewayTimeout    FaultKind = "504"                         // with Graph's body
	GatewayHTML       FaultKind = "502 with HTML"               //
	PortalHTML        FaultKind = "200 with HTML"               // of a proxy or captive portal
	Empty             FaultKind = "200 without a body"          //
	Blank             FaultKind = "200 with blanks"             //
	Null              FaultKind = "200 with null"               //
	Object            FaultKind = "200 with an empty object"    // no value where one is due
	Array             FaultKind = "200 with an array"           //
	NoContent         FaultKind = "204"                         //
	NotModified       FaultKind = "304"                         //
	RedirectNowhere   FaultKind = "302 without Location"        //
	Unauthorized      FaultKind = "401"                         // the token is not accepted any more
	IdentityNotFound  FaultKind = "401 Authorization_IdentityNotFound"
	Forbidden         FaultKind = "403"                                  //
	NotFound          FaultKind = "404 with Graph's body"                //
	NotFoundHTML      FaultKind = "404 with HTML"                        //
	NotImplemented    FaultKind = "501"                                  //
	EmptyCode         FaultKind = "400 with an empty code"               //
	SyncStateNotFound FaultKind = "400 syncStateNotFound"                // an expired delta link
	SyncStateGone     FaultKind = "410 syncStateNotFound"                //
	SyncStateMissing  FaultKind = "404 syncStateNotFound"                //
	ResyncRequired    FaultKind = "410 resyncRequired"                   //
	ResetDelta        FaultKind = "410 with Location"                    // and an empty $deltatoken: start again there
	ExpiredPageToken  FaultKind = "400 Directory_ExpiredPageToken"       //
	Slow              FaultKind = "slow"                                 // answers after Delay
	Truncated         FaultKind = "body cut off, length declared"        //
	TruncatedSilently FaultKind = "body cut off, length not declared"    // the connection closes
	Reset             FaultKind = "connection reset"                     // before the answer
	Closed            FaultKind = "connection closed"                    // before the answer: EOF
	RepeatCursor      FaultKind = "next link to the same page"           // also where no link is due
	NextToStart       FaultKind = "next link to the first page"          //
	NoNext            FaultKind = "next link dropped"                    // the delta link, too
	BothLinks         FaultKind = "next link and delta link"             // which Graph never sends
	MalformedNext     FaultKind = "malformed next link"                  //
	ForeignNext       FaultKind = "next link to another host"            //
	PlainNext         FaultKind = "next link without TLS"                //
	EmptyPage         FaultKind = "empty page with a next link"          // legal
	DuplicateItem     FaultKind = "an item twice on a page"              // legal in a delta query
	RepeatItem        FaultKind = "the last item again on the next page" // legal in a delta query
	MissingItem       FaultKind = "the last item of a page missing"      // as when something changes while it is listed
	MissingValue      FaultKind = "no value"                             //
	WrongClock        FaultKind = "server clock a day behind"            //
	Gzipped           FaultKind = "body said to be gzip and is not"      //
	WrongType         FaultKind = "JSON declared as text/plain"          //
	Garbled           FaultKind = "malformed JSON"                       //
)

// Fault is one misbehaviour. One without an endpoint is for any of Graph's; faults of the token service and of the
// parts of a batch have to name it.
type Fault = idptest.Fault

// Inject adds a fault. Of several that fit a request, the first one injected wins.
func (t *Tenant) Inject(f Fault) { t.traffic.Inject(f) }

// Behave takes all faults away.
func (t *Tenant) Behave() { t.traffic.Behave() }

// instead returns the answer of a fault that takes the tenant's place.
func (t *Tenant) instead(r *request) (answer, bool) {
	plain := func(status int, body string) (answer, bool) {
		return answer{status: status, body: []byte(body)}, true
	}
	html := func(status int) (answer, bool) {
		return answer{
			status: status, header: http.Header{"Content-Type": {"text/html"}},
			body: []byte("<html><head><title>" + strconv.Itoa(status) + "</title></head><body><center>Microsoft-Azure-Application-Gateway/v2</center></body></html>"),
		}, true
	}
	switch r.faultKind() {
	case Throttle:
		return t.throttled(1), true
	case ThrottleLong:
		return t.throttled(300), true
	case ThrottleBare:
		return failure(http.StatusTooManyRequests, "TooManyRequests", "Too many requests."), true
	case BadRequest:
		return failure(http.StatusBadRequest, "Request_BadRequest", "Invalid object identifier."), true
	case Internal:
		return failure(http.StatusInternalServerError, "InternalServerError", "There was an internal server error while processing the request."), true
	case Unavailable:
		a := failure(http.StatusServiceUnavailable, "serviceNotAvailable", "The service is temporarily unavailable. Retry the request.")
		a.header = http.Header{"Retry-After": {"1"}}
		return a, true
	case GatewayTimeout:
		return failure(http.StatusGatewayTimeout, "UnknownError", ""), true
	case GatewayHTML:
		return html(http.StatusBadGateway)
	case PortalHTML:
		return html(http.StatusOK)
	case Empty:
		return plain(http.StatusOK, "")
	case Blank:
		return plain(http.StatusOK, " \n ")
	case Null:
		return plain(http.StatusOK, "null")
	case Object:
		return plain(http.StatusOK, "{}")
	case Array:
		return plain(http.StatusOK, "[]")
	case NoContent:
		return plain(http.StatusNoContent, "")
	case NotModified:
		return plain(http.StatusNotModified, "")
	case RedirectNowhere:
		return plain(http.StatusFound, "")
	case Unauthorized:
		return unauthorized("Access token has expired or is not yet valid."), true
	case IdentityNotFound:
		a := unauthorized("")
		body := failure(http.StatusUnauthorized, "Authorization_IdentityNotFound", "The identity of the calling application could not be established.")
		body.header = a.header
		return body, true
	case Forbidden:
		return failure(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."), true
	case NotFound:
		return notFound(r.id), true
	case NotFoundHTML:
		return html(http.StatusNotFound)
	case NotImplemented:
		return failure(http.StatusNotImplemented, "NotImplemented", "The requested property is not supported."), true
	case EmptyCode:
		return failure(http.StatusBadRequest, "", "An error has occurred."), true
	}
	return r.expired()
}

// syncStateGone is what the service says of an expired delta link.
const syncStateGone = "The sync state generation is not found. The delta token is expired and data must be synchronized again."

// expired returns the answer of a fault that ends a delta query.
func (r *request) expired() (answer, bool) {
	switch r.faultKind() {
	case SyncStateNotFound:
		return failure(http.StatusBadRequest, "syncStateNotFound", syncStateGone), true
	case SyncStateGone:
		return failure(http.StatusGone, "syncStateNotFound", syncStateGone), true
	case SyncStateMissing:
		return failure(http.StatusNotFound, "syncStateNotFound", syncStateGone), true
	case ResyncRequired:
		return failure(http.StatusGone, "resyncRequired", "Resync required. Replace any local items with the server's version (including deletes) if you're sure that the service was up to date with your local changes when you last sync'd."), true
	case ResetDelta:
		a := failure(http.StatusGone, "resyncRequired", "Resync required.")
		a.header = http.Header{"Location": {r.base + r.URL.Path + "?$deltatoken="}}
		return a, true
	case ExpiredPageToken:
		return failure(http.StatusBadRequest, "Directory_ExpiredPageToken", "The specified page token value has expired and can no longer be included in your request."), true
	}
	return answer{}, false
}

// spoil changes the answer, or does all the talking and returns true.
func spoil(w http.ResponseWriter, r *request, a *answer) bool {
	h := w.Header()
	switch r.faultKind() {
	case RepeatCursor, NextToStart:
		if !bytes.Contains(a.body, []byte(`"@odata.nextLink":`)) {
			a.withoutLinks()
			a.add(`"@odata.nextLink":` + string(appendString(nil, r.link("@odata.nextLink", r.base))))
		}
	case NoNext:
		a.withoutLinks()
	case BothLinks:
		if bytes.Contains(a.body, []byte(`"@odata.nextLink":`)) {
			a.add(`"@odata.deltaLink":"` + r.base + r.URL.Path + `?$deltatoken=both"`)
		} else {
			a.add(`"@odata.nextLink":` + string(appendString(nil, r.base+r.URL.RequestURI())))
		}
	case MissingValue:
		a.body = bytes.Replace(a.body, []byte(`"value":[`), []byte(`"values":[`), 1)
	case WrongClock:
		if at, err := http.ParseTime(h.Get("Date")); err == nil {
			h.Set("Date", at.Add(-24*time.Hour).Format(http.TimeFormat))
		}
	case Gzipped:
		h.Set("Content-Encoding", "gzip")
	case WrongType:
		h.Set("Content-Type", "text/plain;charset=utf-8")
	case Garbled:
		a.body = bytes.Replace(a.body, []byte(`"id":`), []byte(`"id";`), 1)
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

// withoutLinks drops the link at the end of the answer.
func (a *answer) withoutLinks() {
	body := string(a.body)
	for _, name := range []string{`,"@odata.nextLink":`, `,"@odata.deltaLink":`} {
		if i := strings.LastIndex(body, name); i >= 0 {
			a.body = append(a.body[:i:i], '}')
		}
	}
}

// add adds a member to the object that the answer is.
func (a *answer) add(member string) {
	if i := bytes.LastIndexByte(a.body, '}'); i >= 0 {
		a.body = append(append(a.body[:i:i], ","+member...), '}')
	}
}
