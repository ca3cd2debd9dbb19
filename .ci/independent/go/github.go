package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-github/v89/github"
)

func client(s *server, prefix string) (*github.Client, error) {
	return github.NewClient(
		github.WithHTTPClient(&http.Client{Transport: s.behind(prefix)}), github.WithAuthToken(s.key),
	)
}

// refused wants an error with that status.
func refused(status int, err error) error {
	var e *github.ErrorResponse
	if !errors.As(err, &e) {
		return fmt.Errorf("want status %d, got %v", status, err)
	}
	return equal("status", e.Response.StatusCode, status)
}

const org = "octo"

func person() github.SCIMEnterpriseUserAttributes {
	return github.SCIMEnterpriseUserAttributes{
		Schemas: []string{github.SCIMSchemasURINamespacesUser}, UserName: "gopher@go.example", ExternalID: "go-1",
		DisplayName: "Go Gopher", Active: true,
		Name:   &github.SCIMEnterpriseUserName{GivenName: "Go", FamilyName: "Gopher", Formatted: github.Ptr("Go Gopher")},
		Emails: []*github.SCIMEnterpriseUserEmail{{Value: "gopher@go.example", Primary: true, Type: "work"}},
		Roles:  []*github.SCIMEnterpriseUserRole{{Value: "viewer", Primary: github.Ptr(true)}},
	}
}

func operations(ops ...*github.SCIMEnterpriseAttributeOperation) github.SCIMEnterpriseAttribute {
	return github.SCIMEnterpriseAttribute{Schemas: []string{github.SCIMSchemasURINamespacesPatchOp}, Operations: ops}
}

func operation(op, path string, value any) *github.SCIMEnterpriseAttributeOperation {
	return &github.SCIMEnterpriseAttributeOperation{Op: op, Path: &path, Value: value}
}

// enterprise is the life of a person and a group through the methods for enterprises.
func enterprise(c suite, s *server) {
	ctx := context.Background()
	gh, err := client(s, "/scim/v2/enterprises/"+org)
	if err != nil {
		c.check("NewClient", func() error { return err })
		return
	}
	api := gh.Enterprise
	user, group := "", ""

	c.check("ProvisionSCIMUser creates a user", func() error {
		got, _, err := api.ProvisionSCIMUser(ctx, org, person())
		if err != nil {
			return err
		}
		user = *got.ID
		want := person()
		want.ID, want.Meta, want.Groups = got.ID, got.Meta, got.Groups
		return errors.Join(same("user", got, &want), equal("type", got.Meta.ResourceType, "User"))
	})
	c.check("ProvisionSCIMUser again is 409", func() error {
		_, _, err := api.ProvisionSCIMUser(ctx, org, person())
		return refused(http.StatusConflict, err)
	})
	c.check("ListProvisionedSCIMUsers finds it by userName and externalId", func() error {
		for _, filter := range []string{`userName eq "Gopher@go.example"`, `externalId eq "go-1"`} {
			list, _, err := api.ListProvisionedSCIMUsers(ctx, org, &github.ListProvisionedSCIMUsersEnterpriseOptions{Filter: &filter})
			if err != nil {
				return err
			}
			if *list.TotalResults != 1 || *list.Resources[0].ID != user {
				return fmt.Errorf("%s: %d results", filter, *list.TotalResults)
			}
		}
		return nil
	})
	c.check("SetProvisionedSCIMUser replaces it by PUT", func() error {
		changed := person()
		changed.DisplayName, changed.Roles = "G. Gopher", nil
		got, _, err := api.SetProvisionedSCIMUser(ctx, org, user, changed)
		if err != nil {
			return err
		}
		changed.ID, changed.Meta, changed.Groups = &user, got.Meta, got.Groups
		return same("user", got, &changed)
	})
	c.check("UpdateSCIMUserAttribute changes by PATCH", func() error {
		got, _, err := api.UpdateSCIMUserAttribute(ctx, org, user, operations(
			operation("replace", "name.givenName", "Gordon"),
			operation("add", "emails", []map[string]any{{"value": "gopher@home.example", "type": "home"}}),
			operation("replace", "active", false),
		))
		if err != nil {
			return err
		}
		return equal("user", []any{got.Name.GivenName, got.Name.FamilyName, len(got.Emails), got.Active}, []any{"Gordon", "Gopher", 2, false})
	})
	c.check("UpdateSCIMUserAttribute activates again", func() error {
		got, _, err := api.UpdateSCIMUserAttribute(ctx, org, user, operations(&github.SCIMEnterpriseAttributeOperation{
			Op: "replace", Value: map[string]any{"active": true},
		}))
		if err != nil {
			return err
		}
		return equal("active", got.Active, true)
	})
	c.check("ProvisionSCIMGroup creates a group with a member", func() error {
		got, _, err := api.ProvisionSCIMGroup(ctx, org, github.SCIMEnterpriseGroupAttributes{
			Schemas: []string{github.SCIMSchemasURINamespacesGroups}, DisplayName: github.Ptr("Go Team"), ExternalID: github.Ptr("go-g"),
			Members: []*github.SCIMEnterpriseDisplayReference{{Value: user}},
		})
		if err != nil {
			return err
		}
		group = *got.ID
		return equal("members", members(got), []string{user})
	})
	groupLife(c, api, user, group)
	c.check("DeleteSCIMGroup and DeleteSCIMUser delete", func() error {
		if _, err := api.DeleteSCIMGroup(ctx, org, group); err != nil {
			return err
		}
		if _, err := api.DeleteSCIMUser(ctx, org, user); err != nil {
			return err
		}
		_, _, err := api.GetProvisionedSCIMUser(ctx, org, user)
		_, _, groupErr := api.GetProvisionedSCIMGroup(ctx, org, group, nil)
		return errors.Join(refused(http.StatusNotFound, err), refused(http.StatusNotFound, groupErr))
	})
}

func groupLife(c suite, api *github.EnterpriseService, user, group string) {
	ctx := context.Background()
	read := func() ([]string, error) {
		got, _, err := api.GetProvisionedSCIMGroup(ctx, org, group, nil)
		return members(got), err
	}
	// PATCH of a group answers 204 without a body (RFC 7644, section 3.5.2), which this client takes for no group.
	c.check("UpdateSCIMGroupAttribute removes the member and adds it again", func() error {
		for _, step := range []struct {
			op   *github.SCIMEnterpriseAttributeOperation
			want []string
		}{
			{operation("remove", `members[value eq "`+user+`"]`, nil), nil},
			{operation("add", "members", []map[string]any{{"value": user}}), []string{user}},
			{operation("replace", "members", []map[string]any{}), nil},
		} {
			if _, _, err := api.UpdateSCIMGroupAttribute(ctx, org, group, operations(step.op)); err != nil {
				return err
			}
			got, err := read()
			if err := errors.Join(err, equal(step.op.Op+" members", got, step.want)); err != nil {
				return err
			}
		}
		return nil
	})
	c.check("SetProvisionedSCIMGroup replaces name and members by PUT", func() error {
		got, _, err := api.SetProvisionedSCIMGroup(ctx, org, group, github.SCIMEnterpriseGroupAttributes{
			Schemas: []string{github.SCIMSchemasURINamespacesGroups}, DisplayName: github.Ptr("Go Guild"), ExternalID: github.Ptr("go-g"),
			Members: []*github.SCIMEnterpriseDisplayReference{{Value: user}},
		})
		if err != nil {
			return err
		}
		return equal("group", []any{*got.DisplayName, members(got)}, []any{"Go Guild", []string{user}})
	})
	c.check("ListProvisionedSCIMGroups finds it, without members on request", func() error {
		list, _, err := api.ListProvisionedSCIMGroups(ctx, org, &github.ListProvisionedSCIMGroupsEnterpriseOptions{
			Filter: github.Ptr(`displayName eq "GO GUILD"`), ExcludedAttributes: github.Ptr("members"),
		})
		if err != nil {
			return err
		}
		return equal("result", []any{*list.TotalResults, *list.Resources[0].ID, len(list.Resources[0].Members)}, []any{1, group, 0})
	})
	c.check("GetProvisionedSCIMUser shows the group", func() error {
		got, _, err := api.GetProvisionedSCIMUser(ctx, org, user)
		if err != nil {
			return err
		}
		return equal("groups", []any{len(got.Groups), got.Groups[0].Value, *got.Groups[0].Display}, []any{1, group, "Go Guild"})
	})
}

func members(g *github.SCIMEnterpriseGroupAttributes) (ids []string) {
	if g == nil {
		return nil
	}
	for _, m := range g.Members {
		ids = append(ids, m.Value)
	}
	return ids
}

// same compares as JSON, which is what the client's types are for.
func same(what string, got, want any) error {
	a, err := json.Marshal(got)
	if err != nil {
		return err
	}
	b, err := json.Marshal(want)
	if err != nil {
		return err
	}
	return equal(what, string(a), string(b))
}

// organization is the life of a person through the older methods, for single organizations.
func organization(c suite, s *server) {
	ctx := context.Background()
	gh, err := client(s, "/scim/v2/organizations/"+org)
	if err != nil {
		c.check("NewClient", func() error { return err })
		return
	}
	api, user := gh.SCIM, ""
	name := github.SCIMUserName{GivenName: "Gina", FamilyName: "Gopher"}
	emails := []*github.SCIMUserEmail{{Value: "gina@go.example", Primary: github.Ptr(true), Type: github.Ptr("work")}}

	c.check("ProvisionAndInviteSCIMUser creates a user", func() error {
		got, _, err := api.ProvisionAndInviteSCIMUser(ctx, org, &github.SCIMUserAttributes{UserName: "gina@go.example", Name: name, Emails: emails})
		if err != nil {
			return err
		}
		user = *got.ID
		return equal("user", []any{got.UserName, *got.Active}, []any{"gina@go.example", true})
	})
	c.check("GetSCIMProvisioningInfoForUser reads it", func() error {
		got, _, err := api.GetSCIMProvisioningInfoForUser(ctx, org, user)
		if err != nil {
			return err
		}
		return equal("name", got.Name.GivenName, "Gina")
	})
	c.check("ListSCIMProvisionedIdentities pages", func() error {
		list, _, err := api.ListSCIMProvisionedIdentities(ctx, org, &github.ListSCIMProvisionedIdentitiesOptions{StartIndex: github.Ptr(1), Count: github.Ptr(1)})
		if err != nil {
			return err
		}
		return equal("page", []int{*list.StartIndex, *list.ItemsPerPage, len(list.Resources)}, []int{1, 1, 1})
	})
	c.check("UpdateAttributeForSCIMUser deactivates", func() error {
		got, _, err := api.UpdateAttributeForSCIMUser(ctx, org, user, github.UpdateAttributeForSCIMUserRequest{
			Schemas:    []string{github.SCIMSchemasURINamespacesPatchOp},
			Operations: []*github.UpdateAttributeForSCIMUserOperations{{Op: "replace", Path: github.Ptr("active"), Value: json.RawMessage("false")}},
		})
		if err != nil {
			return err
		}
		return equal("active", *got.Active, false)
	})
	c.check("UpdateProvisionedOrgMembership replaces", func() error {
		got, _, err := api.UpdateProvisionedOrgMembership(ctx, org, user, github.UpdateProvisionedOrgMembershipRequest{
			UserName: "gina@go.example", Name: github.SCIMUserName{GivenName: "Georgina", FamilyName: "Gopher"}, Emails: emails, Active: github.Ptr(true),
		})
		if err != nil {
			return err
		}
		return equal("user", []any{got.Name.GivenName, *got.Active}, []any{"Georgina", true})
	})
	c.check("DeleteSCIMUserFromOrg deletes", func() error {
		if _, err := api.DeleteSCIMUserFromOrg(ctx, org, user); err != nil {
			return err
		}
		_, _, err := api.GetSCIMProvisioningInfoForUser(ctx, org, user)
		return refused(http.StatusNotFound, err)
	})
}
