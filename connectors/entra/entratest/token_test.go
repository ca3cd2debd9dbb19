package entratest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

const tokenEndpoint = origin + "/" + entratest.DefaultTenantID + "/oauth2/v2.0/token"

// credentials returns a whole request for a token, changed: a name and a value, "" for none.
func credentials(changes ...string) url.Values {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {entratest.DefaultClientID},
		"client_secret": {entratest.DefaultClientSecret}, "scope": {"https://graph.microsoft.com/.default openid offline_access profile"},
	}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			form.Del(changes[i])
		}
	}
	return form
}

func ask(t *testing.T, tenant *entratest.Tenant, address string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	return call(t, tenant, http.MethodPost, address, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
}

type granted struct {
	Type     string `json:"token_type"`
	Expires  int    `json:"expires_in"`
	Extended int    `json:"ext_expires_in"`
	Token    string `json:"access_token"`
}

type claims struct {
	Audience string   `json:"aud"`
	App      string   `json:"appid"`
	Tenant   string   `json:"tid"`
	Roles    []string `json:"roles"`
	Expires  int64    `json:"exp"`
}

func claimsOf(t *testing.T, token string) claims {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	j, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var c claims
	if err := json.Unmarshal(j, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOpenIDConfiguration(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{}
	for _, name := range []string{entratest.DefaultTenantID, entratest.DefaultDomain} {
		got := decode[map[string]any](t, get(t, tenant, origin+"/"+name+"/v2.0/.well-known/openid-configuration"))
		want := map[string]any{
			"issuer": origin + "/" + entratest.DefaultTenantID + "/v2.0", "token_endpoint": tokenEndpoint,
			"authorization_endpoint": origin + "/" + entratest.DefaultTenantID + "/oauth2/v2.0/authorize",
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s = %v, want %v", name, got[name], value)
			}
		}
	}
}

func TestTokenCarriesTheRoles(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &entratest.Tenant{Permissions: []string{"User.Read.All", "Group.Read.All"}, Now: func() time.Time { return now }}
	got := decode[granted](t, ask(t, tenant, tokenEndpoint, credentials()))
	if got.Type != "Bearer" || got.Expires != 3600 || got.Extended != 3600 {
		t.Errorf("%+v", got)
	}
	want := claims{
		Audience: "https://graph.microsoft.com", App: entratest.DefaultClientID, Tenant: entratest.DefaultTenantID,
		Roles: tenant.Permissions, Expires: now.Add(time.Hour).Unix(),
	}
	if diff := cmp.Diff(want, claimsOf(t, got.Token)); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	tenant.SetPermissions("User.Read.All")
	again := decode[granted](t, ask(t, tenant, tokenEndpoint, credentials("scope", origin+"/.default")))
	if c := claimsOf(t, again.Token); !slices.Equal(c.Roles, []string{"User.Read.All"}) || c.Audience != origin {
		t.Errorf("claims %+v", c)
	}
	if w := get(t, tenant, "/groups", "Authorization", "Bearer "+got.Token); w.Code != http.StatusOK {
		t.Errorf("a token given out before: status %d, want its roles to stand", w.Code)
	}
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		address string
		form    url.Values
		status  int
		kind    string
		code    int
		message string
	}{
		"unknown tenant":  {origin + "/b5d1-nowhere/oauth2/v2.0/token", credentials(), 400, "invalid_request", 90002, "Tenant 'b5d1-nowhere' not found."},
		"wrong client":    {tokenEndpoint, credentials("client_id", "other"), 400, "unauthorized_client", 700016, "Application with identifier 'other' was not found in the directory"},
		"wrong secret":    {tokenEndpoint, credentials("client_secret", "other"), 401, "invalid_client", 7000215, "Invalid client secret provided."},
		"no credential":   {tokenEndpoint, credentials("client_secret", ""), 401, "invalid_client", 7000216, "'client_assertion', 'client_secret'"},
		"no client":       {tokenEndpoint, credentials("client_id", ""), 400, "invalid_request", 900144, "'client_id'"},
		"wrong grant":     {tokenEndpoint, credentials("grant_type", "password"), 400, "unsupported_grant_type", 70003, "'password'"},
		"no default":      {tokenEndpoint, credentials("scope", "https://graph.microsoft.com/User.Read"), 400, "invalid_scope", 1002012, "/.default suffixed"},
		"no resource":     {tokenEndpoint, credentials("scope", "https://nowhere.test/.default"), 400, "invalid_resource", 500011, "named https://nowhere.test was not found"},
		"no JWT":          {tokenEndpoint, credentials("client_assertion", "x", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), 401, "invalid_client", 50027, "malformed"},
		"empty body":      {tokenEndpoint, url.Values{}, 400, "invalid_request", 900144, "'grant_type'"},
		"unknown openid":  {origin + "/b5d1-nowhere/oauth2/v2.0/token", url.Values{}, 400, "invalid_request", 90002, "not found"},
		"tenant by name":  {origin + "/ACME.test/oauth2/v2.0/token", credentials("client_secret", "other"), 401, "invalid_client", 7000215, "Invalid client secret"},
		"client and case": {tokenEndpoint, credentials("client_id", strings.ToUpper(entratest.DefaultClientID), "scope", "nothing"), 400, "invalid_scope", 1002012, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Now: func() time.Time { return now }}
			w := ask(t, tenant, c.address, c.form)
			var body struct {
				Error       string `json:"error"`
				Description string `json:"error_description"`
				Codes       []int  `json:"error_codes"`
				Timestamp   string `json:"timestamp"`
				Trace       string `json:"trace_id"`
				Correlation string `json:"correlation_id"`
				URI         string `json:"error_uri"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			number := regexp.MustCompile(`^AADSTS(\d+): `).FindStringSubmatch(body.Description)
			if w.Code != c.status || body.Error != c.kind || !slices.Equal(body.Codes, []int{c.code}) || number == nil || !strings.Contains(body.Description, c.message) {
				t.Errorf("status %d, %+v, want %d %s %d", w.Code, body, c.status, c.kind, c.code)
			}
			if body.Timestamp != "2026-05-01 12:00:00Z" || len(body.Trace) != 36 || body.Correlation == "" || !strings.HasSuffix(body.URI, "/error?code="+number[1]) {
				t.Errorf("%+v", body)
			}
		})
	}
}

func TestSecretExpires(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &entratest.Tenant{SecretExpires: now, Now: func() time.Time { return now }}
	if w := ask(t, tenant, tokenEndpoint, credentials()); w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	now = now.Add(time.Second)
	if w := ask(t, tenant, tokenEndpoint, credentials()); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "AADSTS7000222") {
		t.Errorf("expired: status %d: %s", w.Code, w.Body)
	}
	tenant.SetClientSecret("next")
	if w := ask(t, tenant, tokenEndpoint, credentials()); !strings.Contains(w.Body.String(), "AADSTS7000215") {
		t.Errorf("changed: %s", w.Body)
	}
}

// sign makes a client assertion.
func sign(t *testing.T, key *rsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(j)
	}
	text := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
	if header["alg"] == "RS256" {
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestClientAssertions(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	certificate, bundle := entratest.NewCertificate(now.AddDate(0, -1, 0), now.AddDate(1, 0, 0))
	_, rest := pem.Decode(bundle)
	block, _ := pem.Decode(rest)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := private.(*rsa.PrivateKey)
	long, short := sha256.Sum256(certificate.Raw), sha1.Sum(certificate.Raw)
	newer := map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(long[:])}
	older := map[string]any{"alg": "RS256", "typ": "JWT", "x5t": base64.RawURLEncoding.EncodeToString(short[:])}
	claims := func(changes ...any) map[string]any {
		c := map[string]any{
			"aud": tokenEndpoint, "iss": entratest.DefaultClientID, "sub": entratest.DefaultClientID, "jti": "1",
			"nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		}
		for i := 0; i < len(changes); i += 2 {
			c[changes[i].(string)] = changes[i+1]
		}
		return c
	}
	cases := map[string]struct {
		header, claims map[string]any
		later          time.Duration
		code           string // "" for a token
	}{
		"PS256 and x5t#S256":   {newer, claims(), 0, ""},
		"RS256 and x5t":        {older, claims(), 0, ""},
		"the issuer's address": {newer, claims("aud", origin+"/"+entratest.DefaultTenantID+"/v2.0"), 0, ""},
		"expired":              {newer, claims(), 16 * time.Minute, "AADSTS700024"},
		"not begun":            {newer, claims("nbf", now.Add(time.Hour).Unix()), 0, "AADSTS700024"},
		"without an end":       {newer, claims("exp", 0), 0, "AADSTS700024"},
		"another audience":     {newer, claims("aud", "https://login.test/token"), 0, "AADSTS700023"},
		"another subject":      {newer, claims("sub", "other", "iss", "other"), 0, "AADSTS700021"},
		"another issuer":       {newer, claims("iss", "other"), 0, "AADSTS700021"},
		"unknown certificate":  {map[string]any{"alg": "PS256", "x5t#S256": "AAAA"}, claims(), 0, "AADSTS700027"},
		"other algorithm":      {map[string]any{"alg": "none", "x5t#S256": newer["x5t#S256"]}, claims(), 0, "AADSTS700027"},
		"old certificate":      {newer, claims(), 400 * 24 * time.Hour, "AADSTS1000502"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := &entratest.Tenant{Certificates: []*x509.Certificate{certificate}, Now: func() time.Time { return now.Add(c.later) }}
			w := ask(t, tenant, tokenEndpoint, credentials("client_secret", "", "client_assertion", sign(t, key, c.header, c.claims),
				"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"))
			if c.code == "" && w.Code != http.StatusOK || c.code != "" && (w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), c.code+": ")) {
				t.Errorf("status %d: %s, want %q", w.Code, w.Body, c.code)
			}
		})
	}
}

func TestGraphRefusesTokens(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tenant := &entratest.Tenant{Now: func() time.Time { return now }}
	elsewhere := decode[granted](t, ask(t, tenant, tokenEndpoint, credentials("scope", "https://management.azure.com/.default"))).Token
	old := tenant.Token()
	now = now.Add(time.Hour)
	revoked := tenant.Token()
	tenant.RevokeTokens()
	for name, c := range map[string]struct{ authorization, message string }{
		"none":           {"", "Access token is empty."},
		"no bearer":      {"Basic eDp5", "Access token is empty."},
		"no JWT":         {"Bearer abc", "IDX14100: JWT is not well formed"},
		"nobody's":       {"Bearer a.b.c", "Invalid signature."},
		"other audience": {"Bearer " + elsewhere, "Invalid audience."},
		"expired":        {"Bearer " + old, "the token is expired."},
		"revoked":        {"Bearer " + revoked, "TokenIssuedBeforeRevocationTimestamp"},
	} {
		w := get(t, tenant, "/users", "Authorization", c.authorization)
		if status, code := code(t, w); status != 401 || code != "InvalidAuthenticationToken" || !strings.Contains(w.Body.String(), c.message) {
			t.Errorf("%s: status %d: %s", name, status, w.Body)
		}
		if challenge := w.Header().Get("Www-Authenticate"); !strings.HasPrefix(challenge, `Bearer realm="", authorization_uri="https://`) || !strings.Contains(challenge, `client_id="`) {
			t.Errorf("%s: challenge %q", name, challenge)
		}
	}
	if w := get(t, tenant, "/users"); w.Code != http.StatusOK {
		t.Errorf("a new token: status %d", w.Code)
	}
}
