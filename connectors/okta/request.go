package okta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/connectors"
)

// Endpoints.
const (
	endpointUsers     = "GET /api/v1/users"
	endpointUser      = "GET /api/v1/users/{id}"
	endpointUserGroup = "GET /api/v1/users/{id}/groups"
	endpointGroups    = "GET /api/v1/groups"
	endpointGroup     = "GET /api/v1/groups/{id}"
	endpointMembers   = "GET /api/v1/groups/{id}/users"
	endpointApp       = "GET /api/v1/apps/{id}"
	endpointAppUsers  = "GET /api/v1/apps/{id}/users"
	endpointAppUser   = "GET /api/v1/apps/{id}/users/{id}"
	endpointAppGroups = "GET /api/v1/apps/{id}/groups"
	endpointAppGroup  = "GET /api/v1/apps/{id}/groups/{id}"
	endpointLogs      = "GET /api/v1/logs"
)

// bucketOf names the rate limit that the endpoint draws on, several of them on one: what is a share of it must be one of all
// together.
// Source: https://developer.okta.com/docs/reference/rl-global-mgmt/
func bucketOf(endpoint string) string {
	switch endpoint {
	case endpointUser, endpointUserGroup:
		return "/api/v1/users/{id}"
	case endpointGroup, endpointMembers:
		return "/api/v1/groups/{id}"
	case endpointApp, endpointAppUsers, endpointAppUser, endpointAppGroups, endpointAppGroup:
		return "/api/v1/apps"
	}
	return endpoint
}

// Okta's code for a thing that does not exist, and the kind that its message names when it is the application.
const (
	codeNotFound = "E0000007"
	kindApp      = "(AppInstance)"
)

// get sends one request through the SDK and returns its answer, which the caller releases.
func (c *Connector) get(ctx context.Context, call connectors.Call, path string) (*connectors.Answer, error) {
	call.Take, call.Bucket = true, bucketOf(call.Endpoint)
	executor := c.client.CloneRequestExecutor()
	req, err := executor.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	if _, err := executor.Do(connectors.WithCall(ctx, &call), req, nil); err != nil {
		return nil, connectors.Cause(err)
	}
	if start, ok := ctx.Value(startKey{}).(*start); ok {
		start.note(call.Answer.Header)
	}
	return &call.Answer, nil
}

// object reads one object.
func (c *Connector) object(ctx context.Context, endpoint, path string) (*connectors.Answer, error) {
	return c.get(ctx, connectors.Call{Endpoint: endpoint, Shape: connectors.ShapeObject}, path)
}

// listing is one list to be read page by page.
type listing struct {
	endpoint string
	path     string // of the first page, with its query
	size     int    // items in a page
	unpaged  bool   // the endpoint may come without links, whole
}

func list(endpoint, path string, size int, query ...string) listing {
	values := url.Values{"limit": {strconv.Itoa(size)}}
	for i := 0; i < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	return listing{endpoint: endpoint, path: path + "?" + values.Encode(), size: size}
}

// page is one page of a listing.
type page struct {
	*connectors.Answer
	path string
	next string // path of the next page, "" on the last
}

// fetch reads one page and its links.
func (c *Connector) fetch(ctx context.Context, l listing, trail *connectors.Trail, path string) (page, error) {
	answer, err := c.get(ctx, connectors.Call{Endpoint: l.endpoint, Shape: connectors.ShapeArray, PageParam: "limit"}, path)
	if err != nil {
		return page{}, err
	}
	next, err := nextPage(l, trail, answer.Header)
	if err != nil {
		answer.Release()
		return page{}, c.refuse(l.endpoint, answer, err)
	}
	return page{Answer: answer, path: path, next: next}, nil
}

// nextPage reads the path of the next page out of the links. The self link is there on every page that Okta sends:
// without it something on the way swallows links, and the next one with it.
func nextPage(l listing, trail *connectors.Trail, h http.Header) (string, error) {
	links, err := connectors.Links(h)
	if err != nil {
		return "", err
	}
	next, more := links["next"]
	if _, self := links["self"]; !self && !more && !l.unpaged {
		return "", errors.New("the page has no self link, so a missing next link proves nothing")
	}
	if !more {
		return "", nil
	}
	return trail.Next(next)
}

// each reads the listing and hands every page to use, in order, while the next one is on its way. What use returns
// is the number of items in the page. The end is returned for judging: see proof.
func (c *Connector) each(ctx context.Context, l listing, use func(page) (items int, err error)) (end, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type fetched struct {
		page page
		err  error
	}
	trail := connectors.NewTrail(c.base, l.path)
	current, err := c.fetch(ctx, l, trail, l.path)
	var e end
	for {
		if err != nil {
			return e, err
		}
		var ahead chan fetched
		if current.next != "" {
			e.next = true
			ahead = make(chan fetched, 1)
			go func(path string) {
				p, err := c.fetch(ctx, l, trail, path)
				ahead <- fetched{p, err}
			}(current.next)
		}
		items, err2 := use(current)
		e.full = current.PageSize > 0 && items >= current.PageSize
		e.listing, e.path, e.size, e.items = l, current.path, current.PageSize, items
		current.Release()
		if err2 != nil {
			cancel()
			if ahead != nil {
				if f := <-ahead; f.err == nil {
					f.page.Release()
				}
			}
			return e, err2
		}
		if ahead == nil {
			return e, nil
		}
		f := <-ahead
		current, err = f.page, f.err
	}
}

// end is how a listing ended: on which page, how many items that had of how many it might have, whether it was exactly
// full, and whether any page had a next link.
type end struct {
	listing listing
	path    string
	size    int
	items   int
	full    bool
	next    bool
}

// resized returns the path of the last page with another page size.
func (e end) resized(size int) (string, error) {
	u, err := url.Parse(e.path)
	if err != nil {
		return "", err
	}
	query := u.Query()
	query.Set("limit", strconv.Itoa(size))
	return u.Path + "?" + query.Encode(), nil
}

// refuse makes the error of an answer that came with status 200 and must not be taken at face value.
func (c *Connector) refuse(endpoint string, answer *connectors.Answer, err error) error {
	return &connectors.ResponseError{
		Endpoint: endpoint, Status: http.StatusOK, Summary: err.Error(), RequestID: answer.Header.Get("X-Okta-Request-Id"),
	}
}

// parseError reads Okta's error body, the token endpoint's, or the challenge that stands in for one with OAuth.
func parseError(h http.Header, body []byte) (code, summary string) {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`

		ErrorCode    string `json:"errorCode"`
		ErrorSummary string `json:"errorSummary"`
		ErrorCauses  []struct {
			ErrorSummary string `json:"errorSummary"`
		} `json:"errorCauses"`
	}
	known := json.Unmarshal(body, &e) == nil
	if known && e.Error != "" {
		return e.Error, e.Description
	}
	if known && e.ErrorCode != "" {
		summary = e.ErrorSummary
		for _, cause := range e.ErrorCauses {
			summary += "; " + cause.ErrorSummary
		}
		return e.ErrorCode, summary
	}
	if challenge := h.Get("Www-Authenticate"); strings.HasPrefix(challenge, "Bearer") {
		if _, rest, ok := strings.Cut(challenge, `error_description="`); ok {
			summary, _, _ = strings.Cut(rest, `"`)
			return "", summary
		}
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		return "", "an HTML page"
	}
	return "", ""
}

// absent tells whether the error is Okta's own word that the thing asked for does not exist. That the application
// does not exist says nothing about the people assigned to it.
func absent(err error) bool {
	var e *connectors.ResponseError
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code == codeNotFound && !strings.Contains(e.Summary, kindApp)
}
