package entra_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	kiotaauth "github.com/microsoft/kiota-authentication-azure-go"
	kiotahttp "github.com/microsoft/kiota-http-go"
	kiotajson "github.com/microsoft/kiota-serialization-json-go"
	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/serviceprincipals"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

// fixedToken is a credential of one token.
type fixedToken string

func (f fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(f)}, nil
}

// vendor returns the SDK's own adapter, which decodes into its models.
func vendor(t *testing.T, tenant *entratest.Tenant) abstractions.RequestAdapter {
	t.Helper()
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	auth, err := kiotaauth.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(fixedToken(tenant.Token()), nil, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.CAPool(), MinVersion: tls.VersionTLS12}}}
	json := serialization.NewParseNodeFactoryRegistry()
	json.ContentTypeAssociatedFactories["application/json"] = kiotajson.NewJsonParseNodeFactory()
	adapter, err := kiotahttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(auth, json, nil, client)
	if err != nil {
		t.Fatal(err)
	}
	adapter.SetBaseUrl(server.GraphURL())
	return adapter
}

// What the fake answers, the vendor's own calls read: the fake is not made for our decoders.
func TestTheVendorsModelsReadWhatTheFakeServes(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 7}
	tenant.Fill(5, 2, 10)
	person := everything()
	person["manager"] = tenant.Users()[0].ID
	id := tenant.AddUser(person)
	g := tenant.Groups()[0]
	tenant.AddMember(g.ID, id)
	tenant.AddMember(g.ID, tenant.Groups()[1].ID)
	app := tenant.AddServicePrincipal("idpsync")
	tenant.Assign(app, g.ID, "")
	deleted := tenant.Users()[1].ID
	adapter, ctx := vendor(t, tenant), t.Context()

	u, err := users.NewUsersRequestBuilderInternal(map[string]string{}, adapter).ByUserId(id).Get(ctx, &users.UserItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{
			Select: []string{"id", "userPrincipalName", "accountEnabled", "employeeOrgData", "businessPhones"}, Expand: []string{"manager($select=id)"},
		},
	})
	if err != nil || *u.GetUserPrincipalName() != "ada@acme.test" || !*u.GetAccountEnabled() || *u.GetEmployeeOrgData().GetCostCenter() != "CC1" || len(u.GetBusinessPhones()) != 2 || *u.GetManager().GetId() != tenant.Users()[0].ID {
		t.Errorf("user = %+v, %v", u, err)
	}
	page, err := users.NewUsersRequestBuilderInternal(map[string]string{}, adapter).Delta().GetAsDeltaGetResponse(ctx, nil)
	if err != nil || len(page.GetValue()) != 6 || page.GetOdataDeltaLink() == nil {
		t.Fatalf("users delta = %+v, %v", page, err)
	}
	tenant.DeleteUser(deleted)
	page, err = users.NewDeltaRequestBuilder(*page.GetOdataDeltaLink(), adapter).GetAsDeltaGetResponse(ctx, nil)
	if err != nil || len(page.GetValue()) == 0 || page.GetValue()[0].GetAdditionalData()["@removed"] == nil {
		t.Errorf("users delta, later = %+v, %v", page, err)
	}
	list, err := groups.NewGroupsRequestBuilderInternal(map[string]string{}, adapter).Delta().GetAsDeltaGetResponse(ctx, &groups.DeltaRequestBuilderGetRequestConfiguration{
		QueryParameters: &groups.DeltaRequestBuilderGetQueryParameters{Select: []string{"displayName", "members"}},
	})
	if err != nil || len(list.GetValue()) != 2 || list.GetValue()[0].GetAdditionalData()["members@delta"] == nil {
		t.Errorf("groups delta = %+v, %v", list, err)
	}
	members, err := groups.NewGroupsRequestBuilderInternal(map[string]string{}, adapter).ByGroupId(g.ID).Members().Get(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	people, nested := 0, 0
	for _, m := range members.GetValue() {
		switch m.(type) {
		case models.Userable:
			people++
		case models.Groupable:
			nested++
		}
	}
	if people == 0 || nested != 1 {
		t.Errorf("members = %d people, %d groups", people, nested)
	}
	memberOf, err := users.NewUsersRequestBuilderInternal(map[string]string{}, adapter).ByUserId(id).TransitiveMemberOf().Get(ctx, nil)
	if err != nil || len(memberOf.GetValue()) == 0 {
		t.Errorf("memberOf = %+v, %v", memberOf, err)
	}
	assigned, err := serviceprincipals.NewServicePrincipalsRequestBuilderInternal(map[string]string{}, adapter).ByServicePrincipalId(app).AppRoleAssignedTo().Get(ctx, nil)
	if err != nil || len(assigned.GetValue()) != 1 || *assigned.GetValue()[0].GetPrincipalType() != "Group" || assigned.GetValue()[0].GetCreatedDateTime() == nil {
		t.Errorf("appRoleAssignedTo = %+v, %v", assigned, err)
	}
	principal, err := serviceprincipals.NewServicePrincipalsRequestBuilderInternal(map[string]string{}, adapter).ByServicePrincipalId(app).Get(ctx, nil)
	if err != nil || *principal.GetDisplayName() != "idpsync" {
		t.Errorf("service principal = %+v, %v", principal, err)
	}
	_, err = users.NewUsersRequestBuilderInternal(map[string]string{}, adapter).ByUserId(deleted).Get(ctx, nil)
	if apiErr, ok := err.(abstractions.ApiErrorable); !ok || apiErr.GetStatusCode() != http.StatusNotFound {
		t.Errorf("a deleted user = %v", err)
	}
}
