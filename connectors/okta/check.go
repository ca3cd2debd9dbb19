package okta

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

const (
	// mostSkew is the difference between our clock and Okta's that Check lets pass.
	mostSkew = time.Minute
	// mostTried is the number of groups in scope of which Check looks for a member.
	mostTried = 20
)

// Check tries what a pull needs: the address, TLS, the credential, the clock, each right by the name of its scope, the
// application, and whether anybody is in scope. The error is only ever the context's.
func (c *Connector) Check(ctx context.Context) (connectors.Report, error) {
	k := &check{Connector: c}
	k.run(ctx)
	return k.report, ctx.Err()
}

// check is one check under way.
type check struct {
	*Connector
	report connectors.Report
	bad    map[string]bool // names of scopes that are missing
}

func (k *check) add(item connectors.Item) { k.report.Items = append(k.report.Items, item) }

// run goes on as long as what comes next could tell more.
func (k *check) run(ctx context.Context) {
	began := k.now()
	answer, err := k.get(ctx, connectors.Call{Endpoint: endpointUsers, Shape: connectors.ShapeArray}, "/api/v1/users?limit=1")
	if ctx.Err() != nil {
		return
	}
	connection := k.connection(err)
	k.add(connection)
	if !connection.OK {
		return
	}
	token := k.token(err)
	k.add(token)
	if !token.OK {
		k.grants(ctx, err)
		return
	}
	k.right(scopeUsers, err)
	if err == nil {
		k.add(clockItem(answer.Header, began, k.now()))
		answer.Release()
	}
	k.right(scopeGroups, k.try(ctx, connectors.ShapeArray, endpointGroups, "/api/v1/groups?limit=1"))
	k.right(scopeLogs, k.try(ctx, connectors.ShapeArray, endpointLogs, "/api/v1/logs?limit=1"))
	if k.appID != "" && !k.application(ctx) {
		return
	}
	if len(k.bad) == 0 && ctx.Err() == nil {
		k.add(k.scopeItem(ctx))
	}
}

// try sends one request whose answer does not matter.
func (c *Connector) try(ctx context.Context, shape connectors.Shape, endpoint, path string) error {
	answer, err := c.get(ctx, connectors.Call{Endpoint: endpoint, Shape: shape}, path)
	if err == nil {
		answer.Release()
	}
	return err
}

// connection tells whether Okta answers at the address. Its answers have an id each; what has none is somebody else's.
func (k *check) connection(err error) connectors.Item {
	item := connectors.Item{Name: "connection", OK: true, Detail: k.base.String()}
	var connection *connectors.ConnectionError
	var refused *connectors.ResponseError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case err == nil:
		return item
	case errors.As(err, &certificate):
		item.Remedy = "the certificate is not trusted: check the url, or name the authority in ca_file"
	case errors.As(err, &name):
		item.Remedy = "there is no such host: check the url, which is the organization's own, such as https://acme.okta.com"
	case errors.As(err, &record):
		item.Remedy = "no TLS is spoken there: check the host and the port of the url"
	case errors.As(err, &connection):
		item.Remedy = "check the url, the network and the proxy settings"
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		item.Remedy = "there is no such organization: check the url"
	case errors.As(err, &refused) && refused.RequestID == "" && refused.Endpoint != endpointToken:
		item.Remedy = "this is not Okta: check the url, which is the organization's own, and what a proxy or a sign-in page of the network puts in between"
	default:
		return item
	}
	item.OK, item.Detail = false, err.Error()
	return item
}

// token tells whether the credential is accepted.
func (k *check) token(err error) connectors.Item {
	if !errors.Is(err, connectors.ErrUnauthorized) {
		return connectors.Item{Name: "token", OK: true, Detail: "accepted"}
	}
	item := connectors.Item{Name: "token", Detail: err.Error()}
	item.Remedy = "create a new API token under Security > API > Tokens and put it into api_token; a token ends when nobody used it for 30 days, and with its owner's account: let that be an active read-only administrator"
	if k.auth != nil {
		item.Remedy = "see what Okta says above; client_id, key_id and private_key_file belong to one service application, under Applications"
	}
	return item
}

// grants tries the scopes of a service application one by one where it is not granted all that are needed.
func (k *check) grants(ctx context.Context, err error) {
	var refused *connectors.ResponseError
	if k.auth == nil || !errors.As(err, &refused) || refused.Code != "invalid_scope" {
		return
	}
	for _, scope := range k.auth.scopes {
		_, _, err := k.auth.fetch(ctx, []string{scope})
		if ctx.Err() != nil {
			return
		}
		item := connectors.Item{Name: "scope " + scope, OK: err == nil, Detail: "granted"}
		if err != nil {
			item.Detail, item.Remedy = err.Error(), "grant the service application "+scope+" under Okta API Scopes"
		}
		k.add(item)
	}
}

// right tells whether one scope is there.
func (k *check) right(scope string, err error) {
	item := connectors.Item{Name: "scope " + scope, OK: err == nil, Detail: "granted"}
	if err != nil {
		item.Detail, item.Remedy = err.Error(), remedy(scope, err)
		if k.bad == nil {
			k.bad = map[string]bool{}
		}
		k.bad[scope] = true
	}
	k.add(item)
}

func remedy(scope string, err error) string {
	if errors.Is(err, connectors.ErrForbidden) {
		return "let the token's owner be a read-only administrator of the whole organization, or grant the service application " + scope + " and that role"
	}
	return "see the answer above; try again when Okta's status page shows no incident"
}

// application tries the application, and tells whether it is worth going on.
func (k *check) application(ctx context.Context) bool {
	item := connectors.Item{Name: "application " + k.appID, Detail: "found"}
	err := k.try(ctx, connectors.ShapeObject, endpointApp, "/api/v1/apps/"+k.appID)
	if err == nil {
		_, err = k.groupsOfApp(ctx, true)
	}
	var refused *connectors.ResponseError
	switch {
	case err == nil:
		item.OK = true
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		item.Detail = err.Error()
		item.Remedy = "copy the id (0oa...) from the application's address in the admin console into app_id"
	default:
		item.Detail, item.Remedy = err.Error(), remedy(scopeApps, err)
	}
	if errors.Is(err, connectors.ErrForbidden) {
		item.Name = "scope " + scopeApps
	}
	k.add(item)
	return item.OK
}

// scopeItem tells whether a pull would state anybody, and else what leaves all of them out.
func (k *check) scopeItem(ctx context.Context) connectors.Item {
	item := connectors.Item{Name: "in scope"}
	var err error
	item.Detail, item.Remedy, err = k.inside(ctx)
	switch {
	case err != nil:
		item.Detail, item.Remedy = err.Error(), remedy("the rights above", err)
	case item.Remedy == "":
		item.OK = true
	}
	return item
}

// inside returns what is found in scope, and a remedy where that is nothing.
func (k *check) inside(ctx context.Context) (found, remedy string, err error) {
	l := list(endpointUsers, "/api/v1/users", 1)
	if k.appID != "" {
		l = list(endpointAppUsers, "/api/v1/apps/"+k.appID+"/users", 1)
	}
	people, err := k.some(ctx, l)
	switch {
	case err != nil:
		return "", "", err
	case !people && k.appID != "":
		return "nobody is assigned to the application", "assign people or groups to the application", nil
	case !people:
		return "the credential sees no users", "let the token's owner be a read-only administrator of the whole organization", nil
	}
	groups, err := k.groupsInScope(ctx)
	switch {
	case err != nil:
		return "", "", err
	case len(groups) == 0 && k.appID != "" && !k.scope.Selects() && k.requireGroup:
		return "no group in scope is assigned to the application, so nobody is in scope", "assign a group to the application, name groups to include, or set require_group: false", nil
	case len(groups) == 0 && k.scope.Narrow():
		return "no group matches groups.include and groups.exclude", "correct the globs under groups: they match display names or ids of groups", nil
	case len(groups) == 0 && k.requireGroup:
		return "there are no groups, so nobody is in scope", "make groups, or set require_group: false", nil
	case len(groups) == 0:
		return "users, and no groups", "", nil
	case !k.requireGroup:
		return "users, and groups such as " + groups[0].DisplayName, "", nil
	}
	for _, g := range groups {
		some, err := k.some(ctx, list(endpointMembers, "/api/v1/groups/"+g.SourceID+"/users", 1))
		if err != nil {
			return "", "", err
		}
		if some {
			return "members of groups such as " + g.DisplayName, "", nil
		}
	}
	return fmt.Sprintf("%s and other groups in scope have no members", groups[0].DisplayName), "put people into the groups in scope, or set require_group: false", nil
}

// some tells whether the list, of pages of one item, has any.
func (k *check) some(ctx context.Context, l listing) (bool, error) {
	answer, err := k.get(ctx, connectors.Call{Endpoint: l.endpoint, Shape: connectors.ShapeArray}, l.path)
	if err != nil {
		return false, err
	}
	defer answer.Release()
	ids, _, err := decodeIDs(answer.Body)
	if err != nil {
		return false, k.refuse(l.endpoint, answer, err)
	}
	return len(ids) > 0, nil
}

// groupsInScope returns the first few groups in scope.
func (k *check) groupsInScope(ctx context.Context) ([]identity.GroupRecord, error) {
	assigned, err := k.groupsOfApp(ctx, false)
	if err != nil {
		return nil, err
	}
	var in []identity.GroupRecord
	l := list(endpointGroups, "/api/v1/groups", k.pages.Groups)
	_, err = k.each(ctx, l, func(page page) (int, error) {
		groups, err := decodeGroups(page.Body, page.Began)
		if err != nil {
			return 0, k.refuse(l.endpoint, page.Answer, err)
		}
		for _, g := range groups {
			if k.inScope(&g, assigned) {
				in = append(in, g)
			}
			if len(in) == mostTried {
				return 0, errStopped
			}
		}
		return len(groups), nil
	})
	if errors.Is(err, errStopped) {
		err = nil
	}
	return in, err
}

func clockItem(h http.Header, began, ended time.Time) connectors.Item {
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
