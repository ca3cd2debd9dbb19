package entratest

import (
	"cmp"
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// GraphResource is the audience of tokens for Microsoft Graph, besides the address that the tenant is served at.
const GraphResource = "https://graph.microsoft.com"

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// otherResource is an audience that tokens are given out for and that Graph refuses.
	otherResource = "https://management.azure.com"
)

// grants are the access tokens that were given out.
type grants struct {
	mu     sync.Mutex
	tokens map[string]*grant
	issued int
}

type grant struct {
	audience string
	roles    []string
	expires  time.Time
	revoked  bool
}

// RevokeTokens makes Graph refuse every access token given out so far.
func (t *Tenant) RevokeTokens() {
	t.init()
	t.grants.mu.Lock()
	defer t.grants.mu.Unlock()
	for _, g := range t.grants.tokens {
		g.revoked = true
	}
}

// SetPermissions changes what is granted to the application. It holds for access tokens given out from now on.
func (t *Tenant) SetPermissions(permissions ...string) {
	defer t.lock()()
	t.Permissions = append([]string{}, permissions...)
}

// SetClientSecret changes the application's secret.
func (t *Tenant) SetClientSecret(secret string) {
	defer t.lock()()
	t.ClientSecret = secret
}

// RegisterCertificate adds a certificate that client assertions may be signed with.
func (t *Tenant) RegisterCertificate(certificate *x509.Certificate) {
	defer t.lock()()
	t.Certificates = append(t.Certificates, certificate)
}

// Token gives out an access token for Graph, for tests of the tenant itself.
func (t *Tenant) Token() string {
	defer t.rlock()()
	return t.grant(GraphResource)
}

// issue answers for the token service.
func (t *Tenant) issue(r *request) answer {
	if a, done := t.instead(r); done {
		a.token = true
		return a
	}
	defer t.rlock()()
	if !strings.EqualFold(r.id, t.TenantID) && !strings.EqualFold(r.id, t.Domain) {
		return t.refuse(r, http.StatusBadRequest, "invalid_request", 90002, "Tenant '"+r.id+"' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.")
	}
	if r.endpoint == GetOpenIDConfiguration {
		tenant := r.base + "/" + t.TenantID
		body, _ := json.Marshal(map[string]any{
			"token_endpoint":                        tenant + "/oauth2/v2.0/token",
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
			"jwks_uri":                              tenant + "/discovery/v2.0/keys",
			"response_modes_supported":              []string{"query", "fragment", "form_post"},
			"subject_types_supported":               []string{"pairwise"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
			"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
			"issuer":                                tenant + "/v2.0",
			"request_uri_parameter_supported":       false,
			"authorization_endpoint":                tenant + "/oauth2/v2.0/authorize",
			"device_authorization_endpoint":         tenant + "/oauth2/v2.0/devicecode",
			"end_session_endpoint":                  tenant + "/oauth2/v2.0/logout",
			"tenant_region_scope":                   "EU",
			"cloud_instance_name":                   "microsoftonline.com",
			"msgraph_host":                          "graph.microsoft.com",
		})
		return answer{status: http.StatusOK, body: body, token: true}
	}
	return t.token(r)
}

// refuse returns an error as the token service writes it.
func (t *Tenant) refuse(r *request, status int, kind string, code int, message string) answer {
	now := t.Now().UTC().Format("2006-01-02 15:04:05Z")
	trace := requestID(r.number)
	correlation := trace
	if id := r.Header.Get("Client-Request-Id"); id != "" {
		correlation = id
	}
	number := itoa(code)
	body, _ := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
		Timestamp   string `json:"timestamp"`
		Trace       string `json:"trace_id"`
		Correlation string `json:"correlation_id"`
		URI         string `json:"error_uri"`
	}{
		kind, "AADSTS" + number + ": " + message + " Trace ID: " + trace + " Correlation ID: " + correlation + " Timestamp: " + now,
		[]int{code},
		now, trace, correlation, r.base + "/error?code=" + number,
	})
	return answer{status: status, body: body, token: true}
}

// token answers a request for an access token by client credentials.
func (t *Tenant) token(r *request) answer {
	content, err := r.content()
	form, err2 := url.ParseQuery(string(content))
	if err != nil || err2 != nil || len(form) == 0 {
		return t.refuse(r, http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'grant_type'.")
	}
	client, scope := form.Get("client_id"), form.Get("scope")
	switch kind := form.Get("grant_type"); {
	case kind != "client_credentials":
		return t.refuse(r, http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '"+kind+"'.")
	case client == "":
		return t.refuse(r, http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'client_id'.")
	case !strings.EqualFold(client, t.ClientID):
		return t.refuse(r, http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '"+client+"' was not found in the directory 'Acme'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.")
	}
	if bad := t.credential(r, form); bad != nil {
		return *bad
	}
	var resource string
	for one := range strings.FieldsSeq(scope) { // azidentity adds openid, offline_access and profile
		if one != "openid" && one != "offline_access" && one != "profile" {
			resource = one
		}
	}
	audience, ok := strings.CutSuffix(resource, "/.default")
	audience = strings.TrimSuffix(audience, "/")
	switch {
	case !ok:
		return t.refuse(r, http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope "+scope+" is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).")
	case audience != GraphResource && audience != r.base && audience != otherResource:
		return t.refuse(r, http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named "+audience+" was not found in the tenant named Acme. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.")
	}
	seconds := int(t.TokenLifetime / time.Second)
	body, _ := json.Marshal(struct {
		Type     string `json:"token_type"`
		Expires  int    `json:"expires_in"`
		Extended int    `json:"ext_expires_in"`
		Token    string `json:"access_token"`
	}{"Bearer", seconds, seconds, t.grant(audience)})
	return answer{status: http.StatusOK, body: body, token: true}
}

// credential checks the client's secret or assertion.
func (t *Tenant) credential(r *request, form url.Values) *answer {
	refuse := func(code int, message string) *answer {
		a := t.refuse(r, http.StatusUnauthorized, "invalid_client", code, message)
		return &a
	}
	if assertion := form.Get("client_assertion"); assertion != "" {
		if form.Get("client_assertion_type") != assertionType {
			return refuse(700030, "Invalid certificate - the client_assertion_type is not valid.")
		}
		code, message := t.assertion(r, assertion)
		if code != 0 {
			return refuse(code, message)
		}
		return nil
	}
	secret := form.Get("client_secret")
	switch {
	case secret == "":
		return refuse(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	case !hmac.Equal([]byte(secret), []byte(t.ClientSecret)):
		return refuse(7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '"+t.ClientID+"'.")
	case !t.SecretExpires.IsZero() && t.Now().After(t.SecretExpires):
		return refuse(7000222, "The provided client secret keys for app '"+t.ClientID+"' are expired. Visit the Azure portal to create new keys for your app, or consider using certificate credentials for added security.")
	}
	return nil
}

// assertion checks a client assertion (RFC 7523) and returns what is wrong with it, code 0 for nothing.
func (t *Tenant) assertion(r *request, jwt string) (code int, message string) {
	var header struct {
		Algorithm string `json:"alg"`
		SHA1      string `json:"x5t"`
		SHA256    string `json:"x5t#S256"`
	}
	var claims struct {
		Audience  string `json:"aud"`
		Issuer    string `json:"iss"`
		Subject   string `json:"sub"`
		ID        string `json:"jti"`
		Expires   int64  `json:"exp"`
		NotBefore int64  `json:"nbf"`
	}
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || decodePart(parts[0], &header) != nil || decodePart(parts[1], &claims) != nil {
		return 50027, "JWT token is invalid or malformed."
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return 50027, "JWT token is invalid or malformed."
	}
	thumbprint := cmp.Or(header.SHA256, header.SHA1)
	thumb, _ := base64.RawURLEncoding.DecodeString(strings.NewReplacer("=", "", "+", "-", "/", "_").Replace(thumbprint)) // in either alphabet: the vendor's libraries differ
	shown := strings.ToUpper(hex.EncodeToString(thumb))
	i := slices.IndexFunc(t.Certificates, func(c *x509.Certificate) bool {
		long, short := sha256.Sum256(c.Raw), sha1.Sum(c.Raw)
		return header.SHA256 != "" && string(thumb) == string(long[:]) || header.SHA256 == "" && string(thumb) == string(short[:])
	})
	if i < 0 {
		return 700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '" + shown + "', Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '" + t.ClientID + "'.]"
	}
	now := t.Now()
	if t.Certificates[i].NotAfter.Before(now) {
		return 1000502, "The provided certificate is not within its specified validity window. Thumbprint of key used by client: '" + shown + "'."
	}
	key, ok := t.Certificates[i].PublicKey.(*rsa.PublicKey)
	if !ok || !verified(key, header.Algorithm, parts[0]+"."+parts[1], signature) {
		return 700027, "Client assertion contains an invalid signature. [Reason - The key was used but the signature does not match, Thumbprint of key used by client: '" + shown + "'.]"
	}
	tenant := []string{r.base + "/" + t.TenantID, r.base + "/" + t.Domain}
	expires, starts := time.Unix(claims.Expires, 0), time.Unix(claims.NotBefore, 0)
	const skew = 5 * time.Minute
	switch {
	case claims.Issuer != claims.Subject || !strings.EqualFold(claims.Subject, t.ClientID):
		return 700021, "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials."
	case !slices.Contains([]string{tenant[0] + "/oauth2/v2.0/token", tenant[1] + "/oauth2/v2.0/token", tenant[0] + "/v2.0"}, claims.Audience):
		return 700023, "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials."
	case claims.Expires == 0 || now.After(expires.Add(skew)) || claims.NotBefore != 0 && now.Before(starts.Add(-skew)):
		const form = "2006-01-02T15:04:05.0000000Z"
		return 700024, "Client assertion is not within its valid time range. Current time: " + now.UTC().Format(form) + ", assertion valid from " + starts.UTC().Format(form) + ", expiry time of assertion " + expires.UTC().Format(form) + ". Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials."
	}
	return 0, ""
}

func decodePart(part string, v any) error {
	j, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(j, v)
}

func verified(key *rsa.PublicKey, algorithm, signed string, signature []byte) bool {
	sum := sha256.Sum256([]byte(signed))
	switch algorithm {
	case "PS256":
		return rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, nil) == nil
	case "RS256":
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

// grant makes an access token. It is a JWT with the claims that Microsoft's have, signed with a key of no account:
// only the resource may look inside one, but its roles are what people look for.
func (t *Tenant) grant(audience string) string {
	now := t.Now()
	t.grants.mu.Lock()
	defer t.grants.mu.Unlock()
	t.grants.issued++
	roles := slices.Clone(t.Permissions)
	expires := now.Add(t.TokenLifetime)
	claims, _ := json.Marshal(map[string]any{
		"aud": audience, "iss": "https://sts.windows.net/" + t.TenantID + "/", "iat": now.Unix(), "nbf": now.Unix(), "exp": expires.Unix(),
		"aio": "E2ZgYFj" + itoa(t.grants.issued), "app_displayname": "idpsync", "appid": t.ClientID, "appidacr": "1",
		"idp": "https://sts.windows.net/" + t.TenantID + "/", "idtyp": "app", "roles": roles, "tid": t.TenantID,
		"uti": "uti" + itoa(t.grants.issued), "ver": "1.0",
	})
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256","kid":"entratest"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	mac := hmac.New(sha256.New, []byte("entratest"))
	mac.Write([]byte(head))
	token := head + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	if t.grants.tokens == nil {
		t.grants.tokens = map[string]*grant{}
	}
	t.grants.tokens[token] = &grant{audience: audience, roles: roles, expires: expires}
	return token
}

// authenticate checks the request's access token, and gives the request its roles.
func (t *Tenant) authenticate(r *request) *answer {
	refuse := func(message string) *answer {
		a := unauthorized(message)
		return &a
	}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token == "" || !strings.EqualFold(kind, "Bearer") {
		return refuse("Access token is empty.")
	}
	t.grants.mu.Lock()
	defer t.grants.mu.Unlock()
	g := t.grants.tokens[token]
	switch {
	case g == nil && strings.Count(token, ".") != 2:
		return refuse("IDX14100: JWT is not well formed, there are no dots (.).\nThe token needs to be in JWS or JWE Compact Serialization Format. (JWS): 'EncodedHeader.EncodedPayload.EncodedSignature'. (JWE): 'EncodedProtectedHeader.EncodedEncryptedKey.EncodedInitializationVector.EncodedCiphertext.EncodedAuthenticationTag'.")
	case g == nil:
		return refuse("Access token validation failure. Invalid signature.")
	case g.audience != GraphResource && g.audience != r.base:
		return refuse("Access token validation failure. Invalid audience.")
	case !t.Now().Before(g.expires):
		return refuse("Lifetime validation failed, the token is expired.")
	case g.revoked:
		return refuse("Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp")
	}
	r.roles = g.roles
	return nil
}

func unauthorized(message string) answer {
	a := failure(http.StatusUnauthorized, "InvalidAuthenticationToken", message)
	a.header = http.Header{"Www-Authenticate": {
		`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`,
	}}
	return a
}

// needs lists, for an endpoint, the permissions of which one is enough, besides Directory.Read.All.
var needs = map[string][]string{
	ListUsers:              {UserReadAll},
	UsersDelta:             {UserReadAll},
	GetUser:                {UserReadAll},
	GetManager:             {UserReadAll},
	ListMemberOf:           {UserReadAll},
	ListTransitiveMemberOf: {UserReadAll},
	ListUserAssignments:    {ApplicationReadAll},
	CheckMemberGroups:      {UserReadAll, GroupMemberReadAll},
	ListGroups:             {GroupReadAll, GroupMemberReadAll},
	GroupsDelta:            {GroupReadAll, GroupMemberReadAll},
	GetGroup:               {GroupReadAll, GroupMemberReadAll},
	ListMembers:            {GroupReadAll, GroupMemberReadAll},
	ListTransitiveMembers:  {GroupReadAll, GroupMemberReadAll},
	ListServicePrincipals:  {ApplicationReadAll},
	GetServicePrincipal:    {ApplicationReadAll},
	ListAppRoleAssignedTo:  {ApplicationReadAll},
	ListDeletedUsers:       {UserReadAll},
	ListDeletedGroups:      {GroupReadAll},
	GetDeletedItem:         {UserReadAll, GroupReadAll},
	GetOrganization:        {OrganizationReadAll},
}

// may tells whether the application has one of the permissions. Without a permission to have, everybody may.
func (r *request) may(permissions ...string) bool {
	if len(permissions) == 0 {
		return true
	}
	for _, p := range permissions {
		if slices.Contains(r.roles, p) || p != MemberReadHidden && slices.Contains(r.roles, DirectoryReadAll) {
			return true
		}
	}
	return false
}
