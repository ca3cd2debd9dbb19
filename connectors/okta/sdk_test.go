package okta_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/okta/okta-sdk-golang/v2/okta"
	"github.com/okta/okta-sdk-golang/v2/okta/query"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// vendor returns the vendor's client of an organization, as its users make it.
func vendor(t *testing.T, url string, client *http.Client, more ...sdk.ConfigSetter) *sdk.Client {
	t.Helper()
	settings := append([]sdk.ConfigSetter{
		sdk.WithOrgUrl(url), sdk.WithHttpClientPtr(client), sdk.WithCache(false), sdk.WithRateLimitMaxRetries(0), sdk.WithRequestTimeout(30),
		sdk.WithAuthorizationMode("SSWS"), sdk.WithToken(oktatest.DefaultToken),
	}, more...)
	_, c, err := sdk.NewClient(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTheVendorsOwnCallsParseWhatTheFakeServes, every endpoint of it, into the types of the SDK, over pages.
func TestTheVendorsOwnCallsParseWhatTheFakeServes(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 3}
	tenant.Fill(7, 3, 14)
	app := tenant.AddApp("idpsync")
	people, groups := tenant.Users(), tenant.Groups()
	for _, g := range groups {
		tenant.AssignGroup(app, g.ID)
	}
	tenant.AssignUser(app, people[0].ID, "zero")
	tenant.SetStatus(people[1].ID, "SUSPENDED")
	tenant.DeleteUser(tenant.AddUser(nil))
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	c, ctx := vendor(t, server.URL, server.Client()), t.Context()

	t.Run("users", func(t *testing.T) {
		users, resp, err := c.User.ListUsers(ctx, query.NewQueryParams(query.WithLimit(3)))
		count := len(users)
		for err == nil && resp.HasNextPage() {
			var more []*sdk.User
			resp, err = resp.Next(ctx, &more)
			count += len(more)
		}
		if err != nil || count != 7 {
			t.Fatalf("ListUsers = %d users, %v, want 7", count, err)
		}
		u := users[0]
		if u.Id != people[0].ID || u.Status != "ACTIVE" || (*u.Profile)["login"] != people[0].Login() || u.Created == nil || u.LastUpdated == nil || u.Credentials == nil || u.Type == nil {
			t.Errorf("user = %+v", u)
		}
		if since, _, err := c.User.ListUsers(ctx, query.NewQueryParams(query.WithFilter(`lastUpdated gt "2025-01-01T00:00:00.000Z"`))); err != nil || len(since) != 1 || since[0].Status != "SUSPENDED" {
			t.Errorf("ListUsers by filter = %v, %v, want the suspended one", since, err)
		}
		if one, _, err := c.User.GetUser(ctx, people[2].Login()); err != nil || one.Id != people[2].ID {
			t.Errorf("GetUser = %+v, %v", one, err)
		}
		if of, _, err := c.User.ListUserGroups(ctx, people[0].ID); err != nil || len(of) != 2 || of[0].Profile.Name == "" {
			t.Errorf("ListUserGroups = %v, %v, want 2", of, err)
		}
		var refused *sdk.Error
		if _, resp, err := c.User.GetUser(ctx, "00uDoesNotExist00000"); !errors.As(err, &refused) || refused.ErrorCode != "E0000007" || resp.StatusCode != http.StatusNotFound {
			t.Errorf("GetUser(nobody) = %v", err)
		}
	})
	t.Run("groups", func(t *testing.T) {
		list, _, err := c.Group.ListGroups(ctx, query.NewQueryParams(query.WithExpand("stats")))
		if err != nil || len(list) != 3 {
			t.Fatalf("ListGroups = %d, %v, want 3", len(list), err)
		}
		g := list[0]
		if g.Id != groups[0].ID || g.Profile.Name != groups[0].Name || g.Type != "OKTA_GROUP" || g.LastMembershipUpdated == nil || g.LastUpdated == nil || len(g.ObjectClass) != 1 || g.Embedded == nil {
			t.Errorf("group = %+v", g)
		}
		if one, _, err := c.Group.GetGroup(ctx, g.Id); err != nil || one.Id != g.Id {
			t.Errorf("GetGroup = %+v, %v", one, err)
		}
		members, resp, err := c.Group.ListGroupUsers(ctx, g.Id, query.NewQueryParams(query.WithLimit(2)))
		if err != nil || len(members) != 2 || members[0].Profile == nil || !resp.HasNextPage() {
			t.Errorf("ListGroupUsers = %v, %v, want 2 and more", members, err)
		}
	})
	t.Run("application", func(t *testing.T) {
		if a, _, err := c.Application.GetApplication(ctx, app, sdk.NewOpenIdConnectApplication(), nil); err != nil || a.(*sdk.OpenIdConnectApplication).Id != app || a.(*sdk.OpenIdConnectApplication).Label != "idpsync" {
			t.Errorf("GetApplication = %+v, %v", a, err)
		}
		users, resp, err := c.Application.ListApplicationUsers(ctx, app, query.NewQueryParams(query.WithExpand("user"), query.WithLimit(5)))
		if err != nil || len(users) != 5 || !resp.HasNextPage() {
			t.Fatalf("ListApplicationUsers = %d, %v, want 5 and more", len(users), err)
		}
		if u := users[0]; u.Credentials.UserName != "zero" || u.Scope != "USER" || u.Status != "ACTIVE" || u.Created == nil || u.Embedded == nil {
			t.Errorf("app user = %+v", u)
		}
		if one, _, err := c.Application.GetApplicationUser(ctx, app, people[0].ID, nil); err != nil || one.Credentials.UserName != "zero" {
			t.Errorf("GetApplicationUser = %+v, %v", one, err)
		}
		if list, _, err := c.Application.ListApplicationGroupAssignments(ctx, app, nil); err != nil || len(list) != 3 || list[0].Id != groups[0].ID || list[0].LastUpdated == nil {
			t.Errorf("ListApplicationGroupAssignments = %v, %v, want 3", list, err)
		}
		if one, _, err := c.Application.GetApplicationGroupAssignment(ctx, app, groups[1].ID, nil); err != nil || one.Id != groups[1].ID {
			t.Errorf("GetApplicationGroupAssignment = %+v, %v", one, err)
		}
	})
	t.Run("log", func(t *testing.T) {
		events, resp, err := c.LogEvent.GetLogs(ctx, query.NewQueryParams(query.WithLimit(1000)))
		if err != nil || len(events) < 5 || !resp.HasNextPage() {
			t.Fatalf("GetLogs = %d events, %v, want some and always a next page", len(events), err)
		}
		kinds := map[string]bool{}
		for _, e := range events {
			kinds[e.EventType] = true
			if e.Published == nil || e.Uuid == "" || e.Outcome.Result != "SUCCESS" || e.Actor == nil || len(e.Target) == 0 || e.Target[0].Id == "" || e.Target[0].Type == "" {
				t.Errorf("event = %+v", e)
			}
		}
		for _, kind := range []string{"user.lifecycle.delete.completed", "application.user_membership.add", "group.application_assignment.add"} {
			if !kinds[kind] {
				t.Errorf("no event %s among %v", kind, kinds)
			}
		}
	})
	t.Run("sign-in of a service application", func(t *testing.T) {
		client := tenant.AddService(rsaKey().Public(), keyID, allScopes...)
		c := vendor(t, server.URL, server.Client(), sdk.WithAuthorizationMode("PrivateKey"), sdk.WithToken(""), sdk.WithClientId(client),
			sdk.WithScopes(allScopes), sdk.WithPrivateKeyId(keyID), sdk.WithPrivateKey(strings.TrimSpace(pkcs1(rsaKey()).Reveal())))
		if users, _, err := c.User.ListUsers(ctx, nil); err != nil || len(users) != 7 {
			t.Errorf("ListUsers = %d users, %v, want 7", len(users), err)
		}
		tenant.Grant(client, "okta.groups.read")
		c = vendor(t, server.URL, server.Client(), sdk.WithAuthorizationMode("PrivateKey"), sdk.WithToken(""), sdk.WithClientId(client),
			sdk.WithScopes([]string{"okta.groups.read"}), sdk.WithPrivateKeyId(keyID), sdk.WithPrivateKey(pkcs1(rsaKey()).Reveal()))
		if _, resp, err := c.User.ListUsers(ctx, nil); err == nil || resp.StatusCode != http.StatusForbidden || !strings.Contains(err.Error(), "required scopes") {
			t.Errorf("ListUsers without the scope = %v", err)
		}
	})
}
