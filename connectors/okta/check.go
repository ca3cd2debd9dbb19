package okta

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// mostSkew is the difference between our clock and Okta's that Check lets pass.
const mostSkew = time.Minute

// Check tries what a pull needs with one request each: the address, TLS and the token, the right to read users,
// groups and the application, and the clock. The error is only ever the context's.
func (c *Connector) Check(ctx context.Context) (connectors.Report, error) {
	var report connectors.Report
	add := func(item connectors.Item) { report.Items = append(report.Items, item) }

	began := c.now()
	answer, err := c.get(ctx, connectors.Call{Endpoint: endpointUsers, Shape: connectors.ShapeArray}, "/api/v1/users?limit=1")
	if ctx.Err() != nil {
		return report, ctx.Err()
	}
	reached, item := c.checkConnection(err)
	add(item)
	if !reached {
		return report, nil
	}
	if accepted, item := checkToken(err); !accepted {
		add(item)
		return report, nil
	} else {
		add(item)
	}
	add(checkScope("okta.users.read", err))
	if err == nil {
		add(checkClock(answer.Header, began, c.now()))
		answer.Release()
	}
	add(checkScope("okta.groups.read", c.try(ctx, connectors.ShapeArray, endpointGroups, "/api/v1/groups?limit=1")))
	if c.appID != "" {
		add(c.checkApp(ctx))
	}
	return report, ctx.Err()
}

// try sends one request whose answer does not matter.
func (c *Connector) try(ctx context.Context, shape connectors.Shape, endpoint, path string) error {
	answer, err := c.get(ctx, connectors.Call{Endpoint: endpoint, Shape: shape}, path)
	if err == nil {
		answer.Release()
	}
	return err
}

func (c *Connector) checkConnection(err error) (bool, connectors.Item) {
	item := connectors.Item{Name: "connection", OK: true, Detail: c.base.String()}
	var certificate *tls.CertificateVerificationError
	var connection *connectors.ConnectionError
	switch {
	case errors.As(err, &certificate):
		item.OK, item.Detail = false, err.Error()
		item.Remedy = "the certificate is not trusted: check the url, or name the authority in ca_file"
	case errors.As(err, &connection):
		item.OK, item.Detail = false, err.Error()
		item.Remedy = "check the url, the network and the proxy settings"
	}
	return item.OK, item
}

func checkToken(err error) (bool, connectors.Item) {
	if errors.Is(err, connectors.ErrUnauthorized) {
		return false, connectors.Item{
			Name: "token", Detail: err.Error(),
			Remedy: "create a new API token under Security > API > Tokens and put it into api_token",
		}
	}
	return true, connectors.Item{Name: "token", OK: true, Detail: "accepted"}
}

func checkScope(name string, err error) connectors.Item {
	item := connectors.Item{Name: "scope " + name, OK: err == nil, Detail: "granted"}
	switch {
	case errors.Is(err, connectors.ErrForbidden):
		item.Detail = err.Error()
		item.Remedy = "let the token's owner be a read-only administrator, or grant " + name
	case err != nil:
		item.Detail = err.Error()
		item.Remedy = "see the answer above; try again when Okta's status page shows no incident"
	}
	return item
}

// checkApp tries the application, and whether any group leads into the scope.
func (c *Connector) checkApp(ctx context.Context) connectors.Item {
	item := connectors.Item{Name: "application " + c.appID, Detail: "found"}
	err := c.try(ctx, connectors.ShapeObject, endpointApp, "/api/v1/apps/"+c.appID)
	var assigned map[string]bool
	if err == nil {
		assigned, err = c.groupsOfApp(ctx, true)
	}
	var refused *connectors.ResponseError
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		item.Detail = err.Error()
		item.Remedy = "copy the id (0oa...) from the application's address in the admin console into app_id"
	case errors.Is(err, connectors.ErrForbidden):
		item.Detail = err.Error()
		item.Remedy = "let the token's owner be a read-only administrator, or grant okta.apps.read"
	case err != nil:
		item.Detail = err.Error()
		item.Remedy = "see the answer above; try again when Okta's status page shows no incident"
	case c.requireGroup && assigned != nil && len(assigned) == 0:
		item.Detail = "no group is assigned to it, so nobody is in scope"
		item.Remedy = "assign a group to the application, name groups to include, or set require_group: false"
	default:
		item.OK = true
	}
	return item
}

func checkClock(h http.Header, began, ended time.Time) connectors.Item {
	item := connectors.Item{Name: "clock", OK: true}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		item.Detail = "the answer has no date to compare with"
		return item
	}
	skew := began.Add(ended.Sub(began) / 2).Sub(date).Round(time.Second)
	item.Detail = fmt.Sprintf("differs from Okta's by %s", skew)
	if skew.Abs() > mostSkew {
		item.OK = false
		item.Remedy = "set this machine's clock, for example with NTP"
	}
	return item
}
