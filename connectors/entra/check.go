package entra

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

const (
	// mostSkew is the difference between our clock and Graph's that Check lets pass.
	mostSkew = time.Minute
	// mostSearched bounds the pages of groups in which Check looks for one that is in scope.
	mostSearched = 20
	// tryAgain is the remedy of what is not for us to mend.
	tryAgain = "see the answer above; try again when the service health of Microsoft 365 shows no incident"
)

// permission is one that the application needs, and others that hold it.
type permission struct {
	name string
	also []string
}

var (
	readUsers = permission{"User.Read.All", []string{"User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}}
	readGroup = permission{"GroupMember.Read.All", []string{
		"Group.Read.All", "Group.ReadWrite.All", "GroupMember.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All",
	}}
	readApps = permission{"Application.Read.All", []string{"Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}}
)

// in tells whether the token names the permission, or one that holds it; so does a token that cannot be read.
func (p permission) in(roles []string) bool {
	return roles == nil || slices.ContainsFunc(append([]string{p.name}, p.also...), func(name string) bool { return slices.Contains(roles, name) })
}

// Check tries what a pull needs with one request each: the authority, the tenant and the credential, the permissions to read
// users, groups and the application, the clock, and whether anybody is in scope. The error is only ever the context's.
func (c *Connector) Check(ctx context.Context) (connectors.Report, error) {
	var report connectors.Report
	add := func(items ...connectors.Item) bool {
		report.Items = append(report.Items, items...)
		return report.OK() && ctx.Err() == nil
	}
	_, err := c.tokens.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{c.base.Scheme + "://" + c.base.Host + "/.default"}})
	if ctx.Err() != nil {
		return report, ctx.Err()
	}
	if !add(checkSignIn(c.authority, c.tenant, err)...) {
		return report, ctx.Err()
	}
	began := c.now()
	answer, err := c.tryUsers(ctx)
	ended := c.now()
	if ctx.Err() != nil {
		return report, ctx.Err()
	}
	if !add(checkConnection("connection", c.base.String(), "graph_url", err)) {
		return report, nil
	}
	if errors.Is(err, connectors.ErrUnauthorized) {
		add(connectors.Item{Name: "token", Detail: err.Error(), Remedy: "let graph_url and authority belong to the same cloud, and the tenant be in it"})
		return report, nil
	}
	roles := c.tokens.roles()
	add(checkPermission(readUsers, roles, err))
	if answer != nil {
		add(checkClock(answer, began, ended))
	}
	name, err := c.tryGroups(ctx)
	add(checkPermission(readGroup, roles, err))
	readable := err == nil
	if c.principal != "" {
		add(c.checkPrincipal(ctx, roles)...)
	}
	if readable && c.scope.Selects() && ctx.Err() == nil {
		add(c.checkGlobs(ctx, name))
	}
	return report, ctx.Err()
}

// tryUsers reads one user, and returns the answer's headers.
func (c *Connector) tryUsers(ctx context.Context) (http.Header, error) {
	config := &users.UsersRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UsersRequestBuilderGetQueryParameters{Select: []string{"id", "userPrincipalName", "accountEnabled"}, Top: new(int32(1))},
	}
	answer, err := c.object(ctx, "GET /users", func(ctx context.Context) (*abstractions.RequestInformation, error) {
		return c.users().ToGetRequestInformation(ctx, config)
	})
	if err != nil {
		return nil, err
	}
	defer answer.Release()
	var list envelope[user]
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		return nil, refuse("GET /users", answer.Header, err)
	}
	for i := range list.Value {
		if u := &list.Value[i]; u.UserPrincipalName.value == "" || !u.AccountEnabled.told {
			return answer.Header, fmt.Errorf("%w: users come without userPrincipalName or accountEnabled", connectors.ErrForbidden)
		}
	}
	return answer.Header, nil
}

// tryGroups reads one group and its members, and returns the group's name.
func (c *Connector) tryGroups(ctx context.Context) (string, error) {
	config := &groups.GroupsRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.GroupsRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}, Top: new(int32(1))},
	}
	answer, err := c.object(ctx, endpointGroups, func(ctx context.Context) (*abstractions.RequestInformation, error) {
		return c.groups().ToGetRequestInformation(ctx, config)
	})
	if err != nil {
		return "", err
	}
	defer answer.Release()
	var list envelope[group]
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		return "", refuse(endpointGroups, answer.Header, err)
	}
	if len(list.Value) == 0 {
		return "", nil
	}
	g := &list.Value[0]
	if g.Name.value == "" {
		return "", fmt.Errorf("%w: groups come without displayName", connectors.ErrForbidden)
	}
	members := &groups.ItemMembersRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.ItemMembersRequestBuilderGetQueryParameters{Select: []string{"id"}, Top: new(int32(1))},
	}
	read, err := c.object(ctx, endpointMembers, func(ctx context.Context) (*abstractions.RequestInformation, error) {
		return c.groups().ByGroupId(g.ID).Members().ToGetRequestInformation(ctx, members)
	})
	if err == nil {
		read.Release()
	}
	return g.Name.value, err
}

// checkSignIn says what came of asking for a token: whether the authority was reached, knows the tenant, and takes the
// credential.
func checkSignIn(authority, tenant string, err error) []connectors.Item {
	items := []connectors.Item{checkConnection("authority", authority, "authority", err)}
	if !items[0].OK {
		return items
	}
	var refused *connectors.ResponseError
	if errors.As(err, &refused) && !strings.HasPrefix(refused.Code, "AADSTS") {
		return []connectors.Item{{Name: "authority", Detail: err.Error(), Remedy: "check authority: what answers there is not Entra ID, or is disturbed"}}
	}
	item := connectors.Item{Name: "tenant", OK: true, Detail: tenant}
	if refused != nil {
		switch refused.Code {
		case "AADSTS90002", "AADSTS900021", "AADSTS900023", "AADSTS90013":
			item.OK, item.Detail = false, err.Error()
			item.Remedy = "copy the tenant id from the tenant's overview into tenant_id, and check that authority is the tenant's cloud"
			return append(items, item)
		}
	}
	items = append(items, item)
	item = connectors.Item{Name: "credential", OK: err == nil, Detail: "accepted"}
	if err != nil {
		item.Detail, item.Remedy = err.Error(), tryAgain
		if refused != nil {
			item.Remedy = remedyOf(refused.Code)
		}
	}
	return append(items, item)
}

// remedyOf says what to do about an error code of the authority.
func remedyOf(code string) string {
	switch code {
	case "AADSTS7000222":
		return "the client secret expired: create a new one under Certificates & secrets of the app registration, and put its value into client_secret"
	case "AADSTS7000215":
		return "put the client secret's value, not its id, into client_secret"
	case "AADSTS700016":
		return "copy the application (client) id into client_id, and check that the app registration is in this tenant"
	case "AADSTS700027":
		return "upload the certificate of certificate_file under Certificates & secrets of the app registration"
	case "AADSTS700024":
		return "set this machine's clock, for example with NTP: a signed assertion holds for minutes"
	case "AADSTS7000112", "AADSTS7000111":
		return "the application is disabled in this tenant: enable it under Enterprise applications"
	case "AADSTS500011":
		return "check graph_url: the tenant's cloud knows no Microsoft Graph at that address"
	case "AADSTS53003":
		return "a Conditional Access policy blocks the application: exempt it, or let it in from here"
	}
	return "look the code up in Entra ID's sign-in logs (service principal sign-ins), which tell the reason"
}

// checkConnection says whether an address was reached.
func checkConnection(name, address, key string, err error) connectors.Item {
	item := connectors.Item{Name: name, OK: true, Detail: address}
	var certificate *tls.CertificateVerificationError
	var connection *connectors.ConnectionError
	switch {
	case errors.As(err, &certificate):
		item.OK, item.Detail = false, err.Error()
		item.Remedy = "the certificate is not trusted: check " + key + ", or name the authority in ca_file"
	case errors.As(err, &connection):
		item.OK, item.Detail = false, err.Error()
		item.Remedy = "check " + key + ", the network and the proxy settings"
	}
	return item
}

// checkPermission says whether what needs the permission was answered, and whether the token names it.
func checkPermission(p permission, roles []string, err error) connectors.Item {
	item := connectors.Item{Name: "permission " + p.name, OK: true, Detail: "granted"}
	grant := "grant the application permission " + p.name + " (Microsoft Graph) in the app registration, and give admin consent"
	switch {
	case errors.Is(err, connectors.ErrForbidden):
		item.OK, item.Detail, item.Remedy = false, err.Error(), grant
	case err != nil:
		item.OK, item.Detail, item.Remedy = false, err.Error(), tryAgain
	case !p.in(roles):
		item.OK, item.Detail, item.Remedy = false, "the token does not name it", grant
	}
	return item
}

// checkPrincipal tries the application, and whether anybody is assigned to it.
func (c *Connector) checkPrincipal(ctx context.Context, roles []string) []connectors.Item {
	answer, err := c.object(ctx, endpointPrincipal, c.principalByID())
	item := connectors.Item{Name: "service principal " + c.principal, Detail: "found"}
	switch {
	case absent(err):
		item.Detail = err.Error()
		item.Remedy = "copy the object id, not the application id, from the enterprise application's properties into service_principal_id"
		return []connectors.Item{checkPermission(readApps, roles, nil), item}
	case err != nil:
		return []connectors.Item{checkPermission(readApps, roles, err)}
	}
	answer.Release()
	items := []connectors.Item{checkPermission(readApps, roles, nil)}
	a, err := c.assignments(ctx, true, ignoreDate)
	switch {
	case err != nil:
		item.Detail, item.Remedy = err.Error(), tryAgain
	case len(a.users)+len(a.groups) == 0:
		item.Detail = "nobody is assigned to it, so nobody is in scope"
		item.Remedy = "assign groups or people to the enterprise application"
	case c.requireGroup && len(a.groups) == 0 && !c.scope.Selects():
		item.Detail = "no group is assigned to it, so nobody is in scope"
		item.Remedy = "assign a group to the enterprise application, name groups to include, or set require_group: false"
	default:
		item.OK, item.Detail = true, fmt.Sprintf("found, %d people and %d groups are assigned to it", len(a.users), len(a.groups))
	}
	return append(items, item)
}

// checkGlobs tells whether the globs let any group in.
func (c *Connector) checkGlobs(ctx context.Context, example string) connectors.Item {
	item := connectors.Item{Name: "groups", OK: true}
	config := &groups.GroupsRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.GroupsRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}, Top: c.top()},
	}
	l := listing{
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
	pages, found := 0, ""
	_, err := each(ctx, c, l, func(p page[group]) error {
		for i := range p.items {
			g := &p.items[i]
			if found == "" && c.scope.Includes(&identity.GroupRecord{SourceID: strings.ToLower(g.ID), DisplayName: g.Name.value}) {
				found = g.Name.value
			}
		}
		if pages++; found != "" || pages >= mostSearched {
			return errSearched
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errSearched):
		item.OK, item.Detail, item.Remedy = false, err.Error(), tryAgain
	case found != "":
		item.Detail = fmt.Sprintf("%q is in scope", found)
	case pages >= mostSearched:
		item.Detail = fmt.Sprintf("none of the first %d groups is in scope", mostSearched*c.pageSize)
	default:
		item.OK, item.Detail = false, "no group has a name that groups.include lets in"
		item.Remedy = "correct groups.include: globs over display names and ids"
		if example != "" {
			item.Remedy += fmt.Sprintf("; there is for example %q", example)
		}
	}
	return item
}

var errSearched = errors.New("searched enough")

func checkClock(h http.Header, began, ended time.Time) connectors.Item {
	item := connectors.Item{Name: "clock", OK: true}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		item.Detail = "the answer has no date to compare with"
		return item
	}
	skew := began.Add(ended.Sub(began) / 2).Sub(date).Round(time.Second)
	item.Detail = fmt.Sprintf("differs from Graph's by %s", skew)
	if skew.Abs() > mostSkew {
		item.OK = false
		item.Remedy = "set this machine's clock, for example with NTP"
	}
	return item
}
