package scim

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store/identity"
)

// maxBulkOperations and maxBulkPayload bound one bulk request; ServiceProviderConfig tells them.
const (
	maxBulkOperations = 1000
	maxBulkPayload    = maxBody
)

// bulkResponseURN is the schema of what a bulk request is answered with.
const bulkResponseURN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"

// bulkAnswer is a BulkResponse.
type bulkAnswer struct {
	Schemas    []string     `json:"schemas"`
	Operations []bulkResult `json:"Operations"`
}

// bulkResult is the outcome of one operation. Response is there where it failed: what succeeded has its location.
type bulkResult struct {
	Location string `json:"location,omitempty"`
	Method   string `json:"method,omitempty"`
	BulkID   string `json:"bulkId,omitempty"`
	Version  string `json:"version,omitempty"`
	Status   string `json:"status"`
	Response any    `json:"response,omitempty"`
}

// bulk is a bulk request at work (RFC 7644, section 3.7). Each operation is a request of its own, with a transaction
// of its own, which ends as it would have ended alone; only those that refer to each other in a circle are one. To the
// rate limit all of it is one request.
type bulk struct {
	h          *Handler
	r          *request
	operations []*operation
	failOn     int // errors after which the rest is left, 0 for never
	errors     int
	declared   map[string]*operation // by bulkId
	made       map[string]string     // ids by bulkId
}

// bulkRequest runs a bulk request.
func (h *Handler) bulkRequest(r *request, _ string) (answer, error) {
	b := &bulk{h: h, r: r, made: map[string]string{}}
	if err := b.parse(); err != nil {
		return answer{}, err
	}
	b.refer()
	for _, unit := range b.order() {
		if b.failOn > 0 && b.errors >= b.failOn {
			break
		}
		b.run(unit)
	}
	results := []bulkResult{}
	for _, op := range b.operations {
		if op.result != nil {
			results = append(results, *op.result)
		}
	}
	return answer{status: http.StatusOK, body: bulkAnswer{Schemas: []string{bulkResponseURN}, Operations: results}}, nil
}

// run runs an operation, or several that refer to each other in a circle. Once the client is gone or its time is up no
// operation begins; the rest is answered with 503, so that it is known what was done.
func (b *bulk) run(unit []*operation) {
	if b.r.Context().Err() != nil {
		for _, op := range unit {
			b.failed(op, b.child(op), &Error{Status: http.StatusServiceUnavailable, Detail: "the request took too long: this operation was not begun"})
		}
		return
	}
	for _, op := range unit {
		if op.err == nil {
			op.err = b.unresolved(op, unit)
		}
	}
	if len(unit) > 1 || slices.Contains(unit[0].needs, unit[0]) {
		b.runTogether(unit)
		return
	}
	op := unit[0]
	if op.err == nil {
		b.resolve(op)
	}
	r := b.child(op)
	a, err := guarded(func() (answer, error) {
		if op.err != nil {
			return answer{}, op.err
		}
		return b.h.route(r)
	})
	b.done(op, r, a, err)
}

// child makes the request that an operation is. Of what succeeds no body is answered, so none of the lists that take
// their time to read is; query parameters in an operation's path, which could only ask for them, are left out.
func (b *bulk) child(op *operation) *request {
	req := (&http.Request{
		Method: op.method, URL: &url.URL{Path: Root + "/" + strings.Join(op.segments, "/")}, Header: http.Header{}, Body: http.NoBody,
	}).WithContext(b.r.Context())
	if op.version != "" && op.method != http.MethodPost {
		req.Header.Set("If-Match", op.version)
	}
	return &request{
		Request: req, id: b.r.id, query: url.Values{"excludedAttributes": {"groups,members"}}, segments: op.segments,
		base: b.r.base, principal: b.r.principal, data: op.data, writer: b.r.writer, header: http.Header{},
	}
}

// done notes how an operation ended.
func (b *bulk) done(op *operation, r *request, a answer, err error) {
	if err != nil {
		b.failed(op, r, err)
		return
	}
	op.result = &bulkResult{Method: op.method, BulkID: op.bulkID, Status: strconv.Itoa(a.status), Location: a.location}
	if a.version > 0 {
		op.result.Version = etag(a.version)
	}
	if op.method == http.MethodPost {
		b.made[op.bulkID] = path.Base(a.location)
		return
	}
	op.result.Location = b.locationOf(op)
}

// failed notes that an operation failed. Every operation has a location but a POST that made nothing (section 3.7.3).
func (b *bulk) failed(op *operation, r *request, err error) {
	b.errors++
	a := b.h.failure(r, err)
	op.result = &bulkResult{Method: op.method, BulkID: op.bulkID, Status: strconv.Itoa(a.status), Response: a.body, Location: b.locationOf(op)}
}

// locationOf returns where the resource is that an operation is on, "" where it is on none.
func (b *bulk) locationOf(op *operation) string {
	if len(op.segments) != 2 {
		return ""
	}
	id := op.segments[1]
	if name := op.pathRef(); name != "" {
		if id = b.made[name]; id == "" {
			return ""
		}
	}
	return b.r.base + "/" + op.segments[0] + "/" + url.PathEscape(id)
}

// runTogether runs the operations of a circle, in which each is a POST that needs what another makes: their ids are
// found before anything is written, and all is written in one transaction. So either all of it is there as it was
// asked for, or nothing is.
func (b *bulk) runTogether(unit []*operation) {
	answers, err := guarded(func() ([]answer, error) { return b.createTogether(unit) })
	var at *lifecycle.PartError
	if !errors.As(err, &at) {
		at = &lifecycle.PartError{Part: -1, Err: err}
	}
	for i, op := range unit {
		r := b.child(op)
		switch {
		case err == nil:
			b.done(op, r, answers[i], nil)
		case op.err != nil:
			b.failed(op, r, op.err)
		case at.Part < 0 || at.Part == i:
			b.failed(op, r, at.Err)
		default:
			b.failed(op, r, conflict("this refers in a circle to the operation with bulkId %q, which failed; nothing was made of either", unit[at.Part].bulkID))
		}
	}
}

func (b *bulk) createTogether(unit []*operation) ([]answer, error) {
	for i, op := range unit {
		if op.err != nil {
			return nil, &lifecycle.PartError{Part: i, Err: op.err}
		}
	}
	stated, err := b.parts(unit, b.made)
	if err != nil {
		return nil, err
	}
	made, err := b.h.opt.Applier.CreateTogether(b.r.Context(), b.r.actor(), b.r.principal.Source, stated, func(ids []string) ([]lifecycle.Part, error) {
		known := map[string]string{}
		for i, op := range unit {
			known[op.bulkID] = ids[i]
		}
		maps.Copy(known, b.made)
		parts, err := b.parts(unit, known)
		if err != nil {
			return nil, err
		}
		return parts, sameNames(stated, parts)
	})
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(made))
	for i, p := range made {
		answers[i] = b.created(p)
	}
	return answers, nil
}

// parts reads the bodies of POSTs as their actions do, references to what is known replaced.
func (b *bulk) parts(unit []*operation, known map[string]string) ([]lifecycle.Part, error) {
	parts := make([]lifecycle.Part, len(unit))
	for i, op := range unit {
		r := b.child(op)
		r.data = b.replace(op.data, known)
		var err error
		if parts[i], err = b.part(r); err != nil {
			return nil, &lifecycle.PartError{Part: i, Err: err}
		}
	}
	return parts, nil
}

func (b *bulk) part(r *request) (lifecycle.Part, error) {
	if r.segments[0] == "Groups" {
		g, err := b.h.readGroup(r)
		return lifecycle.Part{Group: &identity.Group{DisplayName: g.displayName, ExternalID: g.externalID}, Members: g.members}, err
	}
	u, err := b.h.postedUser(r)
	return lifecycle.Part{User: &u}, err
}

// sameNames refuses users whose very names are references in a circle: nobody can tell who they are before it is known
// who they are.
func sameNames(before, after []lifecycle.Part) error {
	for i := range before {
		a, b := before[i].User, after[i].User
		if a != nil && (a.UserName != b.UserName || a.ExternalID != b.ExternalID) {
			return &lifecycle.PartError{Part: i, Err: conflict("userName and externalId cannot refer to what refers back to them")}
		}
	}
	return nil
}

// created answers for what was made in a circle as for what was made alone.
func (b *bulk) created(p lifecycle.Part) answer {
	if p.User != nil {
		return answer{status: http.StatusCreated, version: p.User.Version, location: b.r.location(b.h.users, p.User.ID)}
	}
	return answer{status: http.StatusCreated, version: p.Group.Version, location: b.r.location(b.h.groups, p.Group.ID)}
}

func conflict(format string, args ...any) error {
	return &Error{Status: http.StatusConflict, Detail: fmt.Sprintf(format, args...)}
}
