package entra

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/serviceprincipals"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/idpsync/idpsync/connectors"
)

// Endpoints, by which requests are counted.
const (
	endpointUsersDelta  = "GET /users/delta"
	endpointGroupsDelta = "GET /groups/delta"
	endpointUser        = "GET /users/{id}"
	endpointMemberOf    = "GET /users/{id}/memberOf"
	endpointTransitive  = "GET /users/{id}/transitiveMemberOf"
	endpointGroups      = "GET /groups"
	endpointGroup       = "GET /groups/{id}"
	endpointMembers     = "GET /groups/{id}/members"
	endpointPrincipal   = "GET /servicePrincipals/{id}"
	endpointAssigned    = "GET /servicePrincipals/{id}/appRoleAssignedTo"
)

// codeNotFound is Graph's code for a thing that does not exist.
const codeNotFound = "Request_ResourceNotFound"

// request makes one request. The SDK fills it in while it is sent, so every try needs a new one.
type request func(context.Context) (*abstractions.RequestInformation, error)

func (c *Connector) users() *users.UsersRequestBuilder {
	return users.NewUsersRequestBuilderInternal(map[string]string{}, c.adapter)
}

func (c *Connector) groups() *groups.GroupsRequestBuilder {
	return groups.NewGroupsRequestBuilderInternal(map[string]string{}, c.adapter)
}

func (c *Connector) servicePrincipals() *serviceprincipals.ServicePrincipalsRequestBuilder {
	return serviceprincipals.NewServicePrincipalsRequestBuilderInternal(map[string]string{}, c.adapter)
}

// send sends one request through the SDK and returns its answer, which the caller releases. Where Graph rejects the token,
// it is sent once more with a new one: tokens are revoked before their end. An internal error is tried again, as the
// transport does with other passing ones: a page of a delta query has no size that could be halved instead.
func (c *Connector) send(ctx context.Context, call connectors.Call, make request) (*connectors.Answer, error) {
	call.Take = true
	for renewed, failures := false, 0; ; {
		info, err := make(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", call.Endpoint, err)
		}
		native := abstractions.NewRequestHandlerOption()
		native.SetResponseHandler(ignore)
		info.AddRequestOptions([]abstractions.RequestOption{native})
		_, err = c.adapter.Send(connectors.WithCall(ctx, &call), info, nil, nil)
		if err == nil && call.Answer.Body == nil {
			err = fmt.Errorf("%s: the SDK sent nothing", call.Endpoint)
		}
		if err == nil {
			return &call.Answer, nil
		}
		err = connectors.Cause(err)
		used := info.Headers.Get("Authorization") // none where the authority refused
		var refused *connectors.ResponseError
		switch {
		case errors.Is(err, connectors.ErrUnauthorized) && !renewed && len(used) > 0:
			renewed = true
			c.tokens.drop(strings.TrimPrefix(used[0], "Bearer "))
		case errors.As(err, &refused) && refused.Status == http.StatusInternalServerError && len(used) > 0 && failures < c.tries500:
			if sleep(ctx, c.backoff<<failures) != nil {
				return nil, fmt.Errorf("%s: %w", call.Endpoint, context.Cause(ctx))
			}
			failures++
		default:
			return nil, err
		}
	}
}

// ignore stands in for the SDK's decoding: the answer was taken by the transport.
func ignore(response any, _ abstractions.ErrorMappings) (any, error) {
	if resp, ok := response.(*http.Response); ok {
		_ = resp.Body.Close()
	}
	return nil, nil
}

// object reads one object. The caller releases the answer.
func (c *Connector) object(ctx context.Context, endpoint string, make request) (*connectors.Answer, error) {
	return c.send(ctx, connectors.Call{Endpoint: endpoint, Shape: connectors.ShapeObject}, make)
}

// listing is one list to be read page by page.
type listing struct {
	endpoint string
	first    request
	follow   func(link string) request
	delta    bool // ends with a delta link
}

func (c *Connector) usersDelta() listing {
	config := &users.DeltaRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.DeltaRequestBuilderGetQueryParameters{Select: append(selectUser(), "manager")},
	}
	return listing{
		endpoint: endpointUsersDelta, delta: true,
		first: func(ctx context.Context) (*abstractions.RequestInformation, error) {
			return c.users().Delta().ToGetRequestInformation(ctx, config)
		},
		follow: func(link string) request {
			return func(ctx context.Context) (*abstractions.RequestInformation, error) {
				return c.users().Delta().WithUrl(link).ToGetRequestInformation(ctx, nil)
			}
		},
	}
}

func (c *Connector) groupsDelta() listing {
	config := &groups.DeltaRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.DeltaRequestBuilderGetQueryParameters{Select: []string{"id", "displayName", "visibility", "members"}},
	}
	return listing{
		endpoint: endpointGroupsDelta, delta: true,
		first: func(ctx context.Context) (*abstractions.RequestInformation, error) {
			return c.groups().Delta().ToGetRequestInformation(ctx, config)
		},
		follow: func(link string) request {
			return func(ctx context.Context) (*abstractions.RequestInformation, error) {
				return c.groups().Delta().WithUrl(link).ToGetRequestInformation(ctx, nil)
			}
		},
	}
}

func (c *Connector) membersOf(group string) listing {
	builder := c.groups().ByGroupId(group).Members()
	config := &groups.ItemMembersRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.ItemMembersRequestBuilderGetQueryParameters{Select: []string{"id", "userType"}, Top: c.top()},
	}
	return listing{
		endpoint: endpointMembers,
		first: func(ctx context.Context) (*abstractions.RequestInformation, error) {
			return builder.ToGetRequestInformation(ctx, config)
		},
		follow: func(link string) request {
			return func(ctx context.Context) (*abstractions.RequestInformation, error) {
				return builder.WithUrl(link).ToGetRequestInformation(ctx, nil)
			}
		},
	}
}

func (c *Connector) memberOf(user string) listing {
	builder := c.users().ByUserId(user).MemberOf()
	config := &users.ItemMemberOfRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMemberOfRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}, Top: c.top()},
	}
	return listing{
		endpoint: endpointMemberOf,
		first: func(ctx context.Context) (*abstractions.RequestInformation, error) {
			return builder.ToGetRequestInformation(ctx, config)
		},
		follow: func(link string) request {
			return func(ctx context.Context) (*abstractions.RequestInformation, error) {
				return builder.WithUrl(link).ToGetRequestInformation(ctx, nil)
			}
		},
	}
}

func (c *Connector) transitiveMemberOf(user string) listing {
	builder := c.users().ByUserId(user).TransitiveMemberOf()
	config := &users.ItemTransitiveMemberOfRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemTransitiveMemberOfRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}, Top: c.top()},
	}
	return listing{
		endpoint: endpointTransitive,
		first: func(ctx context.Context) (*abstractions.RequestInformation, error) {
			return builder.ToGetRequestInformation(ctx, config)
		},
		follow: func(link string) request {
			return func(ctx context.Context) (*abstractions.RequestInformation, error) {
				return builder.WithUrl(link).ToGetRequestInformation(ctx, nil)
			}
		},
	}
}

func (c *Connector) assignedTo() listing {
	builder := c.servicePrincipals().ByServicePrincipalId(c.principal).AppRoleAssignedTo()
	config := &serviceprincipals.ItemAppRoleAssignedToRequestBuilderGetRequestConfiguration{
		QueryParameters: &serviceprincipals.ItemAppRoleAssignedToRequestBuilderGetQueryParameters{Top: c.top()},
	}
	return listing{
		endpoint: endpointAssigned,
		first: func(ctx context.Context) (*abstractions.RequestInformation, error) {
			return builder.ToGetRequestInformation(ctx, config)
		},
		follow: func(link string) request {
			return func(ctx context.Context) (*abstractions.RequestInformation, error) {
				return builder.WithUrl(link).ToGetRequestInformation(ctx, nil)
			}
		},
	}
}

func (c *Connector) groupsNamed(name string) listing {
	filter := "displayName eq '" + strings.ReplaceAll(name, "'", "''") + "'"
	config := &groups.GroupsRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.GroupsRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}, Filter: &filter},
	}
	return listing{
		endpoint: endpointGroups,
		first: func(ctx context.Context) (*abstractions.RequestInformation, error) {
			return c.groups().ToGetRequestInformation(ctx, config)
		},
		follow: func(link string) request {
			return func(ctx context.Context) (*abstractions.RequestInformation, error) {
				return c.groups().WithUrl(link).ToGetRequestInformation(ctx, nil)
			}
		},
	}
}

func (c *Connector) userByID(id string) request {
	config := &users.UserItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: selectUser(), Expand: []string{"manager($select=id)"}},
	}
	return func(ctx context.Context) (*abstractions.RequestInformation, error) {
		return c.users().ByUserId(id).ToGetRequestInformation(ctx, config)
	}
}

func (c *Connector) groupByID(id string) request {
	config := &groups.GroupItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.GroupItemRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}},
	}
	return func(ctx context.Context) (*abstractions.RequestInformation, error) {
		return c.groups().ByGroupId(id).ToGetRequestInformation(ctx, config)
	}
}

func (c *Connector) principalByID() request {
	config := &serviceprincipals.ServicePrincipalItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &serviceprincipals.ServicePrincipalItemRequestBuilderGetQueryParameters{Select: []string{"id", "displayName", "accountEnabled"}},
	}
	return func(ctx context.Context) (*abstractions.RequestInformation, error) {
		return c.servicePrincipals().ByServicePrincipalId(c.principal).ToGetRequestInformation(ctx, config)
	}
}

func (c *Connector) top() *int32 { return new(int32(c.pageSize)) }

// refuse makes the error of an answer that came with status 200 and must not be taken at face value.
func refuse(endpoint string, h http.Header, err error) error {
	return &connectors.ResponseError{Endpoint: endpoint, Status: http.StatusOK, Summary: err.Error(), RequestID: h.Get("Request-Id")}
}

// refusePage is refuse for a page whose objects are not as they must be.
func refusePage[T any](l listing, p page[T], err error) error {
	return &connectors.ResponseError{Endpoint: l.endpoint, Status: http.StatusOK, Summary: err.Error(), RequestID: p.id}
}

// parseError reads Graph's error body.
func parseError(_ http.Header, body []byte) (code, summary string) {
	var e struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return "", htmlOrNothing(body)
	}
	return e.Error.Code, e.Error.Message
}

func htmlOrNothing(body []byte) string {
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		return "an HTML page"
	}
	return ""
}

// absent tells whether the error is Graph's own word that the thing asked for does not exist.
func absent(err error) bool {
	var e *connectors.ResponseError
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code == codeNotFound
}

// expired tells whether the error of a delta link means that it is not known any more.
func expired(err error) bool {
	var e *connectors.ResponseError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone:
		return true
	}
	for _, code := range []string{"syncStateNotFound", "resyncRequired", "Directory_ExpiredPageToken"} {
		if strings.EqualFold(e.Code, code) {
			return true
		}
	}
	return false
}

// sameHost tells whether a link of a checkpoint leads to where Graph is.
func (c *Connector) sameHost(link string) bool {
	u, err := url.Parse(link)
	return err == nil && u.Scheme == c.base.Scheme && strings.EqualFold(u.Host, c.base.Host) && u.User == nil
}
