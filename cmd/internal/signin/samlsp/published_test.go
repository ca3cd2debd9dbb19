package samlsp

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
)

// TestMetadataAsItIsPublished reads metadata of the shapes that Okta and Entra ID publish. CERT stands for a certificate.
func TestMetadataAsItIsPublished(t *testing.T) {
	t.Parallel()
	const keyInfo = `<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>CERT</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`
	certificate := base64.StdEncoding.EncodeToString(idptest.SAML(t).CA.Raw)
	for _, tc := range []struct{ name, text, entity, redirect string }{
		{
			"Okta", `<?xml version="1.0" encoding="UTF-8"?><md:EntityDescriptor entityID="http://www.okta.com/exk1" xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">
<md:IDPSSODescriptor WantAuthnRequestsSigned="false" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<md:KeyDescriptor use="signing">` + keyInfo + `</md:KeyDescriptor>
<md:NameIDFormat>urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress</md:NameIDFormat>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://acme.okta.com/app/acme_idpsync_1/exk1/sso/saml"/>
<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://acme.okta.com/app/acme_idpsync_1/exk1/sso/saml"/>
</md:IDPSSODescriptor></md:EntityDescriptor>`,
			"http://www.okta.com/exk1", "https://acme.okta.com/app/acme_idpsync_1/exk1/sso/saml",
		},
		{
			"Entra ID, with a byte order mark, roles of WS-Federation and two keys", "\ufeff" + `<?xml version="1.0" encoding="utf-8"?><EntityDescriptor ID="_1" entityID="https://sts.windows.net/8f1d2c3b/" xmlns="urn:oasis:names:tc:SAML:2.0:metadata">
<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo><CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></SignedInfo><SignatureValue>AA==</SignatureValue></Signature>
<RoleDescriptor xsi:type="fed:SecurityTokenServiceType" protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/federation/200706" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706">
<KeyDescriptor use="signing">` + keyInfo + `</KeyDescriptor>
<fed:ClaimTypesOffered><auth:ClaimType Uri="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name" xmlns:auth="http://docs.oasis-open.org/wsfed/authorization/200706"><auth:DisplayName>Name</auth:DisplayName></auth:ClaimType></fed:ClaimTypesOffered>
</RoleDescriptor>
<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<KeyDescriptor use="signing">` + keyInfo + `</KeyDescriptor><KeyDescriptor use="signing">` + keyInfo + `</KeyDescriptor>
<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://login.microsoftonline.com/8f1d2c3b/saml2"/>
<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://login.microsoftonline.com/8f1d2c3b/saml2"/>
<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://login.microsoftonline.com/8f1d2c3b/saml2"/>
</IDPSSODescriptor></EntityDescriptor>`,
			"https://sts.windows.net/8f1d2c3b/", "https://login.microsoftonline.com/8f1d2c3b/saml2",
		},
	} {
		got, err := parseMetadata([]byte(strings.ReplaceAll(tc.text, "CERT", certificate)))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got.entity.EntityID != tc.entity || got.redirect != tc.redirect {
			t.Errorf("%s: %q at %q, want %q at %q", tc.name, got.entity.EntityID, got.redirect, tc.entity, tc.redirect)
		}
	}
}
