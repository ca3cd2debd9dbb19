package connectortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/connectortest"
	"github.com/idpsync/idpsync/store/identity"
)

// staff is a connector of a directory as many companies have one of their own: people and teams as JSON over HTTP, and a
// number that grows with each change. docs/adding-a-connector.md goes through it.
type staff struct {
	base         *url.URL
	token        connectors.Secret
	client       *http.Client
	transport    *connectors.Transport
	scope        *connectors.Scope
	requireGroup bool
	hash         string // of all that decides what is pulled, and how it is translated
	now          func() time.Time
	limit        int // items in a page
}

var _ connectors.Connector = (*staff)(nil)

const mappingVersion = 1

func newStaff(at connectortest.Address, token connectors.Secret, exclude []string, requireGroup bool, now func() time.Time) (*staff, error) {
	base, err := url.Parse(at.URL)
	if err != nil {
		return nil, err
	}
	scope, err := connectors.NewScope(nil, exclude)
	if err != nil {
		return nil, err
	}
	transport := connectors.NewTransport(connectors.TransportOptions{
		Base: connectors.NewBase(at.RootCAs), Secrets: []connectors.Secret{token}, ParseError: parseError, Now: now,
		Backoff: time.Millisecond, Retries: 2,
	})
	return &staff{
		base: base, token: token, client: &http.Client{Transport: transport}, transport: transport, scope: scope,
		requireGroup: requireGroup, hash: connectors.ScopeHash(mappingVersion, exclude, requireGroup), now: now, limit: 4,
	}, nil
}

// Requests returns the number of requests sent.
func (c *staff) Requests() int64 { return c.transport.Requests() }

// get reads one answer into v and returns when the directory gave it.
func (c *staff) get(ctx context.Context, endpoint, path string, query url.Values, v any) (time.Time, error) {
	address := c.base.JoinPath(path)
	address.RawQuery = query.Encode()
	call := connectors.Call{Endpoint: endpoint, Shape: connectors.ShapeObject, PageParam: "limit", Take: true}
	req, err := http.NewRequestWithContext(connectors.WithCall(ctx, &call), http.MethodGet, address.String(), nil)
	if err != nil {
		return time.Time{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	resp, err := c.client.Do(req)
	if err != nil {
		return time.Time{}, connectors.Cause(err)
	}
	defer resp.Body.Close()
	defer call.Answer.Release()
	if err := json.Unmarshal(call.Answer.Body, v); err != nil {
		return time.Time{}, refuse(endpoint, "the body cannot be read: "+err.Error())
	}
	at, err := http.ParseTime(call.Answer.Header.Get("Date"))
	if err != nil {
		return time.Time{}, refuse(endpoint, "the answer has no date")
	}
	return at, nil
}

func refuse(endpoint, why string) error {
	return &connectors.ResponseError{Endpoint: endpoint, Status: http.StatusOK, Summary: why}
}

type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func parseError(_ http.Header, body []byte) (code, summary string) {
	var f failure
	if json.Unmarshal(body, &f) != nil {
		return "", ""
	}
	return f.Code, f.Message
}

// absent tells whether the directory itself says that there is no such thing: a 404 alone may be anybody's.
func absent(err error, code string) bool {
	var e *connectors.ResponseError
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code == code
}

type person struct {
	ID       string `json:"id"`
	UserName string `json:"user_name"`
	Given    string `json:"given"`
	Family   string `json:"family"`
	Title    string `json:"title"`
	State    string `json:"state"`
	Deleted  bool   `json:"deleted"` // in a list of changes only
	Teams    []team `json:"teams"`   // without their members
}

type team struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Members []string `json:"members"`
	Deleted bool     `json:"deleted"`
}

// record translates a person. What cannot be somebody is an error: a page is good or bad as a whole.
func (p *person) record(at time.Time) (identity.Record, error) {
	if p.ID == "" || p.UserName == "" || p.State == "" {
		return identity.Record{}, errors.New("a person has no id, user name or state")
	}
	status := identity.StatusUnknown // a state that we do not know changes nothing
	switch p.State {
	case "employed":
		status = identity.StatusActive
	case "on_leave":
		status = identity.StatusInactive
	case "left":
		status = identity.StatusGone
	}
	r := identity.Record{SourceID: p.ID, ExternalID: p.ID, UserName: p.UserName, Status: status, RawStatus: p.State, ReadAt: at}
	for _, a := range []struct {
		path identity.Path
		text string
	}{{identity.PathGivenName, p.Given}, {identity.PathFamilyName, p.Family}, {identity.Path{Attr: "title"}, p.Title}} {
		stated := identity.Stated{Path: a.path} // nil: the directory states all, so what is empty was cleared
		if a.text != "" {
			stated.Value = a.text
		}
		r.Attributes = append(r.Attributes, stated)
	}
	return r, nil
}

func (t *team) record(at time.Time) (identity.GroupRecord, error) {
	if t.ID == "" || t.Name == "" {
		return identity.GroupRecord{}, errors.New("a team has no id or name")
	}
	return identity.GroupRecord{SourceID: t.ID, ExternalID: t.ID, DisplayName: t.Name, ReadAt: at}, nil
}

// includes tells whether the person is in scope.
func (c *staff) includes(p *person) bool {
	for _, t := range p.Teams {
		if c.scope.Includes(&identity.GroupRecord{SourceID: t.ID, DisplayName: t.Name}) {
			return true
		}
	}
	return !c.requireGroup
}
