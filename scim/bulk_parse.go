package scim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/schema"
)

// operation is one operation of a bulk request.
type operation struct {
	method   string // in capitals
	bulkID   string
	version  string // for If-Match
	segments []string
	data     map[string]any // nil for none

	refs   []string     // the bulkIds that it refers to, each once, sorted
	needs  []*operation // which make what the refs mean
	err    error        // why it cannot be run
	result *bulkResult  // nil until it was run
}

// parse reads the request. What is wrong with an operation is that operation's failure alone, and noted in it.
func (b *bulk) parse() error {
	body, err := b.bulkBody()
	if err != nil {
		return err
	}
	if b.failOn, err = failOnErrors(schema.Member(body, "failOnErrors")); err != nil {
		return err
	}
	list, ok := schema.Member(body, "Operations").([]any)
	switch {
	case !ok:
		return badSyntax("Operations must be an array of operations")
	case len(list) == 0:
		return badValue("Operations must have at least one operation")
	case len(list) > maxBulkOperations:
		return &Error{
			Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("the number of operations, %d, exceeds maxOperations (%d)", len(list), maxBulkOperations),
		}
	}
	for i, v := range list {
		stated, ok := v.(map[string]any)
		if !ok {
			return badSyntax("Operations[%d] must be an object", i)
		}
		b.operations = append(b.operations, b.parseOperation(stated))
	}
	return nil
}

// bulkBody reads the request's body, whose operations are checked one by one later.
func (b *bulk) bulkBody() (map[string]any, error) {
	data, err := b.r.content(maxBulkPayload)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		// In these words RFC 7644, section 3.7.4, tells the limit.
		return nil, &Error{
			Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("the size of the bulk operation exceeds maxPayloadSize (%d)", maxBulkPayload),
		}
	}
	if err != nil {
		return nil, err
	}
	return parseObject(data)
}

// failOnErrors reads the number of errors to accept; clients say with a negative one that they accept any.
func failOnErrors(v any) (int, error) {
	if v == nil {
		return 0, nil
	}
	n, ok := v.(json.Number)
	count, err := n.Int64()
	if !ok || err != nil {
		return 0, badValue("failOnErrors must be an integer")
	}
	return int(min(max(count, 0), maxBulkOperations)), nil
}

var bulkMethods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func (b *bulk) parseOperation(stated map[string]any) *operation {
	op := &operation{}
	var err error
	text := func(name string) string {
		switch v := schema.Member(stated, name).(type) {
		case nil:
		case string:
			return v
		default:
			if err == nil {
				err = badSyntax("%s must be a string", name)
			}
		}
		return ""
	}
	op.method, op.bulkID, op.version = strings.ToUpper(text("method")), text("bulkId"), text("version")
	path := text("path")
	if err == nil {
		err = b.checkOperation(op, path, schema.Member(stated, "data"))
	}
	if !slices.Contains(bulkMethods, op.method) {
		op.method = clip(op.method)
	}
	op.err = err
	return op
}

// checkOperation says what is wrong with an operation as such, and finds what it is on.
func (b *bulk) checkOperation(op *operation, path string, data any) error {
	if !slices.Contains(bulkMethods, op.method) {
		return badValue("method must be POST, PUT, PATCH or DELETE")
	}
	segments := b.target(path)
	if len(segments) == 0 || segments[0] != "Users" && segments[0] != "Groups" {
		return badValue("path %.100q: the operations of a bulk request are on /Users and /Groups", path)
	}
	post := op.method == http.MethodPost
	if post && len(segments) != 1 || !post && len(segments) != 2 {
		return badValue("path %.100q: a POST names an endpoint such as /Users, the other methods a resource such as /Users/{id}", path)
	}
	op.segments = segments
	if post && op.bulkID == "" {
		return badValue("bulkId is required of a POST")
	}
	if op.method == http.MethodDelete {
		return nil
	}
	var ok bool
	if op.data, ok = data.(map[string]any); !ok {
		return badSyntax("data must be an object, as the body of a %s", op.method)
	}
	return check(op.data, maxNesting)
}

// target returns the segments of an operation's path behind Root. It may be relative to it, with or without a
// slash, begin with it, or be the absolute URL of a resource of ours; nil when it is somebody else's.
func (b *bulk) target(path string) []string {
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	if scheme, _, ok := strings.Cut(path, "://"); ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		u, err := url.Parse(path)
		base, baseErr := url.Parse(b.r.base)
		if err != nil || baseErr != nil || !strings.EqualFold(u.Scheme, base.Scheme) || !strings.EqualFold(u.Host, base.Host) {
			return nil
		}
		if path, ok = strings.CutPrefix(u.EscapedPath(), base.EscapedPath()); !ok {
			return nil
		}
	}
	segments := segmentsOf(path)
	if rest, ok := behindRoot(segments); ok {
		return rest
	}
	return segments
}
