package idptest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
)

// OIDCServer is an OpenID Connect provider. Set its fields before the first sign-in, or between two.
type OIDCServer struct {
	Issuer       string
	ClientID     string
	ClientSecret string // "" after PublicClient
	CA           *x509.Certificate

	mock *mockoidc.MockOIDC

	mu       sync.Mutex
	person   Person
	fault    OIDCFault
	requests []string // paths, in order
}

// OIDCFault is how a provider misbehaves. Functions that are nil change nothing.
type OIDCFault struct {
	Sign      string               // how the ID token is signed: "" rightly, or one of the constants
	Claims    func(map[string]any) // edits what the ID token says
	Token     func(map[string]any) // edits the token endpoint's answer
	Answer    func(url.Values)     // edits what the browser brings back
	UserInfo  func(map[string]any) // edits the userinfo endpoint's answer
	Discovery func(map[string]any) // edits the discovery document
	Status    map[string]int       // by path below the issuer: answer with a status alone
}

// Ways to sign an ID token wrongly.
const (
	SignNone      = "none"       // with the algorithm none
	SignPublicKey = "public key" // HS256, with the public key in PEM as the secret
	SignSecret    = "secret"     // HS256, with the client's secret
	SignOther     = "other"      // RS256, with another key under the same id
	SignAltered   = "altered"    // rightly; then the claims are altered
)

// otherKey is made once for all tests: that takes a while.
var otherKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// OIDC starts a provider that ends with the test. Ana signs in, until SignIn says otherwise.
func OIDC(t testing.TB) *OIDCServer {
	t.Helper()
	s, err := StartOIDC()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// StartOIDC starts a provider that runs until Close.
func StartOIDC() (*OIDCServer, error) {
	mock, err := mockoidc.NewServer(nil)
	if err != nil {
		return nil, err
	}
	own, err := newAuthority()
	if err != nil {
		return nil, err
	}
	mock.ClientSecret += "+/%:" // which forms and headers have to encode
	s := &OIDCServer{mock: mock, CA: own.Certificate, person: Ana(), ClientID: mock.ClientID, ClientSecret: mock.ClientSecret}
	if err := mock.AddMiddleware(s.serve); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := mock.Start(tls.NewListener(listener, own.TLS), own.TLS); err != nil {
		return nil, err
	}
	s.Issuer = mock.Issuer()
	return s, nil
}

// Close ends the provider and all connections.
func (s *OIDCServer) Close() { _ = s.mock.Server.Close() }

// SignIn says who signs in from now on.
func (s *OIDCServer) SignIn(p Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.person = p
}

// Misbehave has the provider misbehave from now on; the zero value has it behave.
func (s *OIDCServer) Misbehave(f OIDCFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Advance puts the provider's clock forward, or back.
func (s *OIDCServer) Advance(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mock.FastForward(by)
}

// PublicClient has the client without a secret: it is taken at its word, and nothing but PKCE protects the code.
func (s *OIDCServer) PublicClient() { s.ClientSecret = "" }

// Requests returns the paths below the issuer that were asked for since the last call.
func (s *OIDCServer) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.requests
	s.requests = nil
	return list
}

// Codes returns how many codes were given out and not exchanged yet.
func (s *OIDCServer) Codes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, session := range s.mock.SessionStore.Store {
		if !session.Granted {
			n++
		}
	}
	return n
}

// serve stands around every endpoint. The library serves one request at a time: it is not made for more.
func (s *OIDCServer) serve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		path := strings.TrimPrefix(r.URL.Path, mockoidc.IssuerBase)
		s.requests = append(s.requests, path)
		if status := s.fault.Status[path]; status != 0 {
			w.WriteHeader(status)
			return
		}
		switch r.URL.Path {
		case mockoidc.AuthorizationEndpoint:
			s.mock.QueueUser(user{s.person})
			s.redirect(w, answerOf(next, r))
		case mockoidc.TokenEndpoint:
			if err := s.authenticate(r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			s.edit(w, answerOf(next, r), func(body map[string]any) error { return s.token(body) })
		case mockoidc.UserinfoEndpoint:
			s.edit(w, answerOf(next, r), func(body map[string]any) error { call(s.fault.UserInfo, body); return nil })
		case mockoidc.DiscoveryEndpoint:
			s.edit(w, answerOf(next, r), func(body map[string]any) error { call(s.fault.Discovery, body); return nil })
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func call(edit func(map[string]any), body map[string]any) {
	if edit != nil {
		edit(body)
	}
}

func answerOf(next http.Handler, r *http.Request) *httptest.ResponseRecorder {
	recorded := httptest.NewRecorder()
	next.ServeHTTP(recorded, r)
	return recorded
}

func send(w http.ResponseWriter, recorded *httptest.ResponseRecorder, body []byte) {
	maps.Copy(w.Header(), recorded.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(recorded.Code)
	_, _ = w.Write(body) // the browser may have gone
}

// redirect sends the browser back, with an answer that the fault may edit.
func (s *OIDCServer) redirect(w http.ResponseWriter, recorded *httptest.ResponseRecorder) {
	if u, err := url.Parse(recorded.Header().Get("Location")); err == nil && s.fault.Answer != nil && recorded.Code == http.StatusFound {
		query := u.Query()
		s.fault.Answer(query)
		u.RawQuery = query.Encode()
		recorded.Header().Set("Location", u.String())
	}
	send(w, recorded, recorded.Body.Bytes())
}

// authenticate puts the client's credential where the library looks for it, the secret of a public client with it.
func (s *OIDCServer) authenticate(r *http.Request) error {
	body, err := readAll(r)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return err
	}
	if id, secret, ok := r.BasicAuth(); ok {
		// RFC 6749, section 2.3.1: both are encoded like a form.
		if id, err = url.QueryUnescape(id); err != nil {
			return err
		}
		if secret, err = url.QueryUnescape(secret); err != nil {
			return err
		}
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	}
	if s.ClientSecret == "" && !form.Has("client_secret") {
		form.Set("client_secret", s.mock.ClientSecret)
	}
	r.Form, r.PostForm = nil, nil
	encoded := form.Encode()
	r.Body = http.NoBody
	r.Form, r.PostForm = form, form
	r.ContentLength = int64(len(encoded))
	return nil
}

func (s *OIDCServer) edit(w http.ResponseWriter, recorded *httptest.ResponseRecorder, edit func(map[string]any) error) {
	body := map[string]any{}
	if recorded.Code != http.StatusOK || json.Unmarshal(recorded.Body.Bytes(), &body) != nil {
		send(w, recorded, recorded.Body.Bytes())
		return
	}
	if err := edit(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, recorded, encoded)
}

// token signs the ID token anew, as the fault wants it.
func (s *OIDCServer) token(body map[string]any) error {
	body["expires_in"] = 600 // the library counts nanoseconds
	if token, ok := body["id_token"].(string); ok {
		claims, err := payloadOf(token)
		if err != nil {
			return err
		}
		access, _ := body["access_token"].(string)
		sum := sha256.Sum256([]byte(access))
		claims["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:16])
		call(s.fault.Claims, claims)
		if body["id_token"], err = s.sign(claims); err != nil {
			return err
		}
	}
	call(s.fault.Token, body)
	return nil
}

func payloadOf(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("the token has %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	return claims, json.Unmarshal(raw, &claims)
}

func (s *OIDCServer) sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	kid, err := s.mock.Keypair.KeyID()
	if err != nil {
		return "", err
	}
	key := jose.SigningKey{Algorithm: jose.RS256, Key: s.mock.Keypair.PrivateKey}
	switch s.fault.Sign {
	case SignNone:
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + ".", nil
	case SignPublicKey:
		der, err := x509.MarshalPKIXPublicKey(s.mock.Keypair.PublicKey)
		if err != nil {
			return "", err
		}
		key = jose.SigningKey{Algorithm: jose.HS256, Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
	case SignSecret:
		secret := sha256.Sum256([]byte(s.ClientSecret)) // long enough for the algorithm
		key = jose.SigningKey{Algorithm: jose.HS256, Key: secret[:]}
	case SignOther:
		if key.Key, err = otherKey(); err != nil {
			return "", err
		}
	}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	token, err := signed.CompactSerialize()
	if err != nil || s.fault.Sign != SignAltered {
		return token, err
	}
	parts := strings.Split(token, ".")
	claims = maps.Clone(claims)
	claims["email"] = "root@example.com"
	if payload, err = json.Marshal(claims); err != nil {
		return "", err
	}
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2], nil
}

// user is a Person as the library wants it.
type user struct{ Person }

// ID returns the subject.
func (u user) ID() string { return u.Person.ID }

// Claims returns what the ID token says.
func (u user) Claims(scopes []string, base *mockoidc.IDTokenClaims) (jwt.Claims, error) {
	raw, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	claims := jwt.MapClaims{}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return nil, err
	}
	maps.Copy(claims, u.claims(scopes))
	return claims, nil
}

// Userinfo returns what the userinfo endpoint says.
func (u user) Userinfo(scopes []string) ([]byte, error) {
	claims := u.claims(scopes)
	claims["sub"] = u.Person.ID
	return json.Marshal(claims)
}

func (u user) claims(scopes []string) map[string]any {
	claims := map[string]any{}
	if slices.Contains(scopes, "email") {
		claims["email"] = u.Email
		if u.EmailVerified != nil {
			claims["email_verified"] = u.EmailVerified
		}
	}
	if slices.Contains(scopes, "profile") {
		claims["preferred_username"] = u.UserName
		claims["given_name"] = u.GivenName
		claims["family_name"] = u.FamilyName
		claims["name"] = u.DisplayName
		if u.Groups != nil {
			claims["groups"] = u.Groups
		}
	}
	return claims
}
