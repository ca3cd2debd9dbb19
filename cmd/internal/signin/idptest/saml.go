package idptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	"github.com/crewjam/saml/xmlenc"
	dsig "github.com/russellhaering/goxmldsig"
)

// SAMLServer is a SAML 2.0 identity provider. An application that registers its metadata is known by it; any other is
// taken at its word.
type SAMLServer struct {
	URL string
	CA  *x509.Certificate

	server *httptest.Server
	idp    *saml.IdentityProvider

	mu       sync.Mutex
	person   Person
	fault    SAMLFault
	ahead    time.Duration
	known    map[string]*saml.EntityDescriptor
	requests []string // paths, in order
	signed   int      // of the requests that were signed
}

// SAMLFault is how an identity provider misbehaves, or somebody who holds what it answered in his hands. Functions that
// are nil change nothing.
type SAMLFault struct {
	Signed    string                                        // what is signed: one of the constants; "" is the assertion
	Method    string                                        // how, as XML Signature names it; "" is RSA with SHA-256
	Key       string                                        // with which key: "" the one of the metadata, or KeyOther
	Assertion func(*saml.Assertion)                         // edits the assertion before it is signed
	Response  func(*saml.Response)                          // edits the response before it is signed
	Tamper    func(response *etree.Element)                 // edits the response once all is signed
	Inside    func(assertion *etree.Element) *etree.Element // edits a signed assertion before it is encrypted
	Encrypt   string                                        // the cipher that the assertion is encrypted with: one of the constants; "" not
	Document  func(string) string                           // edits the response as it is written
	Metadata  func(string) string                           // edits the metadata as it is written
	Status    int                                           // answer with a status alone, whatever is asked for
}

// What is signed.
const (
	SignedAssertion = "assertion"
	SignedResponse  = "response"
	SignedBoth      = "both"
	SignedNothing   = "nothing"
)

// KeyOther is a key that is not in the metadata, in a certificate of the same names.
const KeyOther = "other"

// Ciphers.
const (
	EncryptGCM     = "aes256-gcm"
	EncryptCBC     = "aes256-cbc"
	EncryptPKCS    = "rsa-1_5" // AES-256-GCM, its key wrapped in a way that gives it away
	EncryptAnother = "another" // AES-256-GCM, for another's key
)

type keyPair struct {
	key         *rsa.PrivateKey
	certificate *x509.Certificate
}

// Keys are made once for all tests: that takes a while.
var (
	samlKey      = sync.OnceValues(func() (*keyPair, error) { return newKeyPair("idp.example") })
	samlOtherKey = sync.OnceValues(func() (*keyPair, error) { return newKeyPair("idp.example") })
)

func newKeyPair(name string) (*keyPair, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	certificate, err := selfSigned(name, key)
	return &keyPair{key, certificate}, err
}

func selfSigned(name string, key crypto.Signer) (*x509.Certificate, error) {
	now := time.Now()
	draft := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, draft, draft, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// WriteKey writes a certificate and its key to PEM files in a directory of the test, and returns their names: RSA, or
// ECDSA where curve is set.
func WriteKey(t testing.TB, curve bool) (certificateFile, keyFile string) {
	t.Helper()
	certificate, key, err := keyPEM(curve)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificateFile, keyFile = filepath.Join(dir, "saml.crt"), filepath.Join(dir, "saml.key")
	for name, text := range map[string][]byte{certificateFile: certificate, keyFile: key} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificateFile, keyFile
}

// applicationKey is the RSA key of every application that has one.
var applicationKey = sync.OnceValues(func() (*keyPair, error) { return newKeyPair("application.example") })

func keyPEM(curve bool) (certificate, key []byte, err error) {
	var signer crypto.Signer
	var signed *x509.Certificate
	if curve {
		if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
		signed, err = selfSigned("application.example", signer)
	} else {
		var pair *keyPair
		if pair, err = applicationKey(); err == nil {
			signer, signed = pair.key, pair.certificate
		}
	}
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	return PEM(signed), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// SAML starts an identity provider that ends with the test. Ana signs in, until SignIn says otherwise.
func SAML(t testing.TB) *SAMLServer {
	t.Helper()
	s, err := StartSAML()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// StartSAML starts an identity provider that runs until Close.
func StartSAML() (*SAMLServer, error) {
	pair, err := samlKey()
	if err != nil {
		return nil, err
	}
	s := &SAMLServer{person: Ana(), known: map[string]*saml.EntityDescriptor{}}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	s.URL, s.CA = s.server.URL, s.server.Certificate()
	base, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	s.idp = &saml.IdentityProvider{
		Key: pair.key, Certificate: pair.certificate, Logger: log.New(io.Discard, "", 0),
		MetadataURL: *base.JoinPath("/metadata"), SSOURL: *base.JoinPath("/sso"),
		ServiceProviderProvider: s, SessionProvider: s, AssertionMaker: s, ResponseWriter: s,
	}
	return s, nil
}

// Close ends the identity provider and all connections.
func (s *SAMLServer) Close() { s.server.CloseClientConnections(); s.server.Close() }

// MetadataURL is where the metadata is.
func (s *SAMLServer) MetadataURL() string { return s.URL + "/metadata" }

// EntityID is what the identity provider calls itself.
func (s *SAMLServer) EntityID() string { return s.MetadataURL() }

// InitiatedURL is where somebody signs in to an application that did not ask: entity and acs are the application's.
func (s *SAMLServer) InitiatedURL(entity, acs, relayState string) string {
	return s.URL + "/initiated?" + url.Values{"entity": {entity}, "acs": {acs}, "relay": {relayState}}.Encode()
}

// Register makes an application known by its metadata: its requests have to be signed if it says so, and assertions can
// be encrypted for it.
func (s *SAMLServer) Register(metadata []byte) error {
	entity := &saml.EntityDescriptor{}
	if err := xml.Unmarshal(metadata, entity); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[entity.EntityID] = entity
	return nil
}

// SignIn says who signs in from now on.
func (s *SAMLServer) SignIn(p Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.person = p
}

// Misbehave has the identity provider misbehave from now on; the zero value has it behave.
func (s *SAMLServer) Misbehave(f SAMLFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Advance puts the identity provider's clock forward, or back.
func (s *SAMLServer) Advance(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += by
}

// Rotate has the identity provider sign with another key, and say so in its metadata.
func (s *SAMLServer) Rotate() error {
	pair, err := samlOtherKey()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idp.Key, s.idp.Certificate = pair.key, pair.certificate
	return nil
}

// Requests returns the paths that were asked for since the last call.
func (s *SAMLServer) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.requests
	s.requests = nil
	return list
}

// Signed counts the requests to sign in that were signed. The signatures were good: others are refused.
func (s *SAMLServer) Signed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signed
}

func (s *SAMLServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.URL.Path)
	s.idp.Clock = dsig.NewFakeClockAt(time.Now().Add(s.ahead))
	switch {
	case s.fault.Status != 0:
		w.WriteHeader(s.fault.Status)
	case r.URL.Path == "/metadata":
		recorded := answerOf(http.HandlerFunc(s.idp.ServeMetadata), r)
		body := recorded.Body.String()
		if s.fault.Metadata != nil {
			body = s.fault.Metadata(body)
		}
		send(w, recorded, []byte(body))
	case r.URL.Path == "/sso":
		if r.URL.Query().Has("Signature") {
			s.signed++
		}
		s.idp.ServeSSO(w, r)
	case r.URL.Path == "/initiated":
		s.idp.ServeIDPInitiated(w, r, r.FormValue("entity"), r.FormValue("relay"))
	default:
		http.NotFound(w, r)
	}
}

// GetServiceProvider returns a registered application, or what a request says of another.
func (s *SAMLServer) GetServiceProvider(r *http.Request, id string) (*saml.EntityDescriptor, error) {
	if entity := s.known[id]; entity != nil {
		return entity, nil
	}
	acs := r.FormValue("acs")
	if acs == "" {
		request, err := saml.NewIdpAuthnRequest(s.idp, r)
		if err != nil {
			return nil, err
		}
		if err := xml.Unmarshal(request.RequestBuffer, &request.Request); err != nil {
			return nil, err
		}
		acs = request.Request.AssertionConsumerServiceURL
	}
	if acs == "" || id == "" {
		return nil, os.ErrNotExist
	}
	return &saml.EntityDescriptor{EntityID: id, SPSSODescriptors: []saml.SPSSODescriptor{{
		AssertionConsumerServices: []saml.IndexedEndpoint{{Binding: saml.HTTPPostBinding, Location: acs, Index: 1}},
	}}}, nil
}

// GetSession signs the person in, without asking.
func (s *SAMLServer) GetSession(http.ResponseWriter, *http.Request, *saml.IdpAuthnRequest) *saml.Session {
	now := s.idp.Clock.Now()
	return &saml.Session{
		ID: s.person.ID, Index: "session-" + s.person.ID, CreateTime: now, ExpireTime: now.Add(time.Hour),
		NameID: s.person.Email, NameIDFormat: string(saml.EmailAddressNameIDFormat),
	}
}

// MakeAssertion says of the person what an administrator of Okta would have it say.
func (s *SAMLServer) MakeAssertion(req *saml.IdpAuthnRequest, session *saml.Session) error {
	if err := (saml.DefaultAssertionMaker{}).MakeAssertion(req, session); err != nil {
		return err
	}
	values := []saml.Attribute{
		Attribute("email", s.person.Email), Attribute("firstName", s.person.GivenName),
		Attribute("lastName", s.person.FamilyName), Attribute("displayName", s.person.DisplayName),
	}
	if s.person.Groups != nil {
		values = append(values, Attribute("groups", s.person.Groups...))
	}
	req.Assertion.AttributeStatements = []saml.AttributeStatement{{Attributes: values}}
	if s.fault.Assertion != nil {
		s.fault.Assertion(req.Assertion)
	}
	return nil
}

// Attribute returns an attribute of a name with values.
func Attribute(name string, values ...string) saml.Attribute {
	a := saml.Attribute{Name: name, NameFormat: "urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified"}
	for _, v := range values {
		a.Values = append(a.Values, saml.AttributeValue{Type: "xs:string", Value: v})
	}
	return a
}

var samlForm = template.Must(template.New("").Parse(`<!doctype html><title>Continue</title><body onload="document.forms[0].submit()">
<form method="post" action="{{.URL}}"><input type="hidden" name="SAMLResponse" value="{{.Response}}">
<input type="hidden" name="RelayState" value="{{.RelayState}}"><input type="submit" value="Continue"></form></body>
`))

// WriteResponse answers with a form that submits itself.
func (s *SAMLServer) WriteResponse(w http.ResponseWriter, req *saml.IdpAuthnRequest) error {
	document, err := s.document(req)
	if err != nil {
		return err
	}
	return samlForm.Execute(w, map[string]string{
		"URL": req.ACSEndpoint.Location, "Response": base64.StdEncoding.EncodeToString([]byte(document)), "RelayState": req.RelayState,
	})
}

// document is what the library would answer, but for the fault.
func (s *SAMLServer) document(req *saml.IdpAuthnRequest) (string, error) {
	signed := s.fault.Signed
	if signed == "" {
		signed = SignedAssertion
	}
	element := req.Assertion.Element()
	var err error
	if signed == SignedAssertion || signed == SignedBoth {
		if element, err = s.sign(element); err != nil {
			return "", err
		}
	}
	if s.fault.Inside != nil {
		element = s.fault.Inside(element)
	}
	if s.fault.Encrypt != "" {
		if element, err = s.encrypt(req, element); err != nil {
			return "", err
		}
	}
	response := &saml.Response{
		Destination: req.ACSEndpoint.Location, ID: "id-response-" + req.Assertion.ID, InResponseTo: req.Request.ID,
		IssueInstant: req.Now, Version: "2.0", Issuer: &saml.Issuer{Value: s.EntityID()},
		Status: saml.Status{StatusCode: saml.StatusCode{Value: saml.StatusSuccess}},
	}
	if s.fault.Response != nil {
		s.fault.Response(response)
	}
	root := response.Element()
	if response.Status.StatusCode.Value == saml.StatusSuccess {
		root.AddChild(element)
	}
	if signed == SignedResponse || signed == SignedBoth {
		if root, err = s.sign(root); err != nil {
			return "", err
		}
	}
	if s.fault.Tamper != nil {
		s.fault.Tamper(root)
	}
	document := etree.NewDocument()
	document.SetRoot(root)
	text, err := document.WriteToString()
	if err == nil && s.fault.Document != nil {
		text = s.fault.Document(text)
	}
	return text, err
}

// sign signs the element and puts the signature behind its issuer, where the schema wants it.
func (s *SAMLServer) sign(element *etree.Element) (*etree.Element, error) {
	key, _ := s.idp.Key.(*rsa.PrivateKey)
	certificate := s.idp.Certificate
	if s.fault.Key == KeyOther {
		pair, err := samlOtherKey()
		if err != nil {
			return nil, err
		}
		key, certificate = pair.key, pair.certificate
	}
	context, err := dsig.NewSigningContext(key, [][]byte{certificate.Raw})
	if err != nil {
		return nil, err
	}
	context.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	method := s.fault.Method
	if method == "" {
		method = dsig.RSASHA256SignatureMethod
	}
	if err := context.SetSignatureMethod(method); err != nil {
		return nil, err
	}
	signed, err := context.SignEnveloped(element)
	if err != nil {
		return nil, err
	}
	signature, ok := signed.Child[len(signed.Child)-1].(*etree.Element)
	issuer := signed.SelectElement("Issuer")
	if !ok || issuer == nil {
		return nil, errors.New("there is no signature, or no issuer to put it behind")
	}
	signed.Child = signed.Child[:len(signed.Child)-1] // the library appends without telling the signature so
	signed.InsertChildAt(issuer.Index()+1, signature)
	return signed, nil
}

// encrypt encrypts the assertion for the application, with the certificate in its metadata.
func (s *SAMLServer) encrypt(req *saml.IdpAuthnRequest, element *etree.Element) (*etree.Element, error) {
	certificate, err := encryptionCertificate(req.SPSSODescriptor)
	if err != nil {
		return nil, err
	}
	encrypter := xmlenc.OAEP()
	switch s.fault.Encrypt {
	case EncryptPKCS:
		encrypter = xmlenc.PKCS1v15()
	case EncryptAnother:
		pair, err := samlOtherKey()
		if err != nil {
			return nil, err
		}
		certificate = pair.certificate
	}
	encrypter.BlockCipher = xmlenc.AES256GCM
	if s.fault.Encrypt == EncryptCBC {
		encrypter.BlockCipher = xmlenc.AES256CBC
	}
	document := etree.NewDocument()
	document.SetRoot(element)
	plain, err := document.WriteToBytes()
	if err != nil {
		return nil, err
	}
	data, err := encrypter.Encrypt(certificate, plain, nil)
	if err != nil {
		return nil, err
	}
	data.CreateAttr("Type", "http://www.w3.org/2001/04/xmlenc#Element")
	encrypted := etree.NewElement("saml:EncryptedAssertion")
	encrypted.CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:2.0:assertion")
	encrypted.AddChild(data)
	return encrypted, nil
}

func encryptionCertificate(sp *saml.SPSSODescriptor) (*x509.Certificate, error) {
	i := slices.IndexFunc(sp.KeyDescriptors, func(k saml.KeyDescriptor) bool { return k.Use == "encryption" })
	if i < 0 {
		pair, err := samlOtherKey() // an application without a key gets what it cannot open
		if err != nil {
			return nil, err
		}
		return pair.certificate, nil
	}
	certificates := sp.KeyDescriptors[i].KeyInfo.X509Data.X509Certificates
	if len(certificates) != 1 {
		return nil, fmt.Errorf("the application has %d certificates to encrypt for", len(certificates))
	}
	der, err := base64.StdEncoding.DecodeString(certificates[0].Data)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
