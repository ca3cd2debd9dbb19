package oktatest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// services are the tenant's service applications and the access tokens that they were given.
type services struct {
	mu     sync.Mutex
	all    map[string]*service // by client id
	tokens map[string]grant    // by token
	serial int
}

type service struct {
	key    crypto.PublicKey
	keyID  string
	scopes []string
}

type grant struct {
	scopes []string
	until  time.Time
}

// AddService adds a service application that signs in with the private key of the given public one, RSA or EC, and
// returns its client id. It is granted the scopes.
func (t *Tenant) AddService(key crypto.PublicKey, keyID string, scopes ...string) string {
	defer t.lock()()
	id := t.newID("0oa")
	t.services.mu.Lock()
	defer t.services.mu.Unlock()
	if t.services.all == nil {
		t.services.all = map[string]*service{}
	}
	t.services.all[id] = &service{key: key, keyID: keyID, scopes: scopes}
	return id
}

// Grant grants a service application these scopes and no others. Tokens that it has keep theirs.
func (t *Tenant) Grant(clientID string, scopes ...string) {
	t.services.mu.Lock()
	defer t.services.mu.Unlock()
	s := t.services.all[clientID]
	if s == nil {
		panic("oktatest: there is no service application " + clientID)
	}
	s.scopes = scopes
}

// RevokeTokens ends every access token that was issued.
func (t *Tenant) RevokeTokens() {
	t.services.mu.Lock()
	defer t.services.mu.Unlock()
	t.services.tokens = nil
}

// scopeOf names the scope that an endpoint needs.
func scopeOf(endpoint string) string {
	switch endpoint {
	case ListUsers, GetUser:
		return "okta.users.read"
	case ListGroups, GetGroup, ListMembers, ListUserGroups:
		return "okta.groups.read"
	case ListLogs:
		return "okta.logs.read"
	}
	return "okta.apps.read"
}

// authorize tells whether the request may go on, and else the answer: for an access token no body, only a challenge.
func (t *Tenant) authorize(r *request) (answer, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme != "Bearer" {
		return failure(http.StatusUnauthorized, "E0000011", "Invalid token provided"), scheme == "SSWS" && token == t.Token
	}
	t.services.mu.Lock()
	g, known := t.services.tokens[token]
	t.services.mu.Unlock()
	scope := scopeOf(r.endpoint)
	switch {
	case !known || !r.now.Before(g.until):
		return r.challenge(http.StatusUnauthorized, scope, "invalid_token", "The access token is invalid."), false
	case !slices.Contains(g.scopes, scope):
		return r.challenge(http.StatusForbidden, scope, "insufficient_scope", "The access token provided does not contain the required scopes."), false
	}
	return answer{}, true
}

func (r *request) challenge(status int, scope, code, description string) answer {
	return answer{status: status, header: http.Header{"Www-Authenticate": {fmt.Sprintf(
		`Bearer authorization_uri="%s/oauth2/v1/authorize", realm="%s", scope="%s", error="%s", error_description="%s"`, r.base, r.base, scope, code, description,
	)}}}
}

// issue answers the token endpoint. Its parameters come in the body, as documented, or in the query, as the vendor's SDK
// sends them.
func (t *Tenant) issue(r *request) answer {
	refuse := func(status int, code, description string) answer {
		body, _ := json.Marshal(map[string]string{"error": code, "error_description": description})
		return answer{status: status, body: body}
	}
	if err := r.ParseForm(); err != nil || r.Form.Get("grant_type") != "client_credentials" {
		return refuse(http.StatusBadRequest, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server.")
	}
	if r.Form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return refuse(http.StatusUnauthorized, "invalid_client", "Client authentication failed. Either the client or the client credentials are invalid.")
	}
	t.services.mu.Lock()
	defer t.services.mu.Unlock()
	s, complaint := t.services.verify(r.Form.Get("client_assertion"), r.base+"/oauth2/v1/token", r.now)
	if complaint != "" {
		return refuse(http.StatusUnauthorized, "invalid_client", complaint)
	}
	if t.DemandDPoP {
		return refuse(http.StatusBadRequest, "invalid_dpop_proof", "The DPoP proof JWT header is missing.")
	}
	scopes := strings.Fields(r.Form.Get("scope"))
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(s.scopes, scope) }) {
		return refuse(http.StatusBadRequest, "invalid_scope", "One or more scopes are not configured for the authorization server resource.")
	}
	life := t.TokenLife
	if life == 0 {
		life = time.Hour
	}
	t.services.serial++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", t.Seed, t.services.serial))
	token := "eyJraWQiOi" + hex.EncodeToString(sum[:])
	if t.services.tokens == nil {
		t.services.tokens = map[string]grant{}
	}
	t.services.tokens[token] = grant{scopes: scopes, until: r.now.Add(life)}
	body, _ := json.Marshal(map[string]any{"token_type": "Bearer", "expires_in": int(life.Seconds()), "access_token": token, "scope": strings.Join(scopes, " ")})
	return answer{status: http.StatusOK, body: body}
}

// verify returns the service application that signed the assertion, or what is wrong with it.
func (x *services) verify(assertion, audience string, now time.Time) (s *service, complaint string) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return nil, "The client_assertion is not a JWT."
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Aud string
		Iat, Exp      int64
	}
	for i, into := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return nil, "The client_assertion is malformed."
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	s = x.all[claims.Iss]
	switch {
	case s == nil || claims.Sub != claims.Iss:
		return nil, "Invalid value for 'client_id' parameter."
	case s.keyID != header.Kid:
		return nil, "The client_assertion is signed with an unknown key."
	case err != nil || !s.signed(header.Alg, parts[0]+"."+parts[1], signature):
		return nil, "The client_assertion signature is invalid."
	case claims.Aud != audience:
		return nil, "The audience claim for client_assertion must be the endpoint invoked for the request."
	case claims.Exp <= now.Unix():
		return nil, "The client_assertion token is expired."
	case claims.Exp > now.Add(time.Hour).Unix():
		return nil, "The client_assertion token has an expiration too far into the future."
	case claims.Iat > now.Add(5*time.Minute).Unix():
		return nil, "The client_assertion token was issued in the future."
	}
	return s, ""
}

func (s *service) signed(algorithm, text string, signature []byte) bool {
	digest := sha256.Sum256([]byte(text))
	switch key := s.key.(type) {
	case *rsa.PublicKey:
		return algorithm == "RS256" && rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		n := len(signature) / 2
		return algorithm == "ES256" && n == 32 && ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:]))
	}
	return false
}
