package samlsp_test

import (
	"strings"
	"testing"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/cmd/internal/signin/samlsp"
)

// keyed starts an application with a key, of which the identity provider knows.
func keyed(t *testing.T, curve bool) *app {
	t.Helper()
	a := start(t, func(o *samlsp.Options) { o.CertificateFile, o.KeyFile = idptest.WriteKey(t, curve) })
	a.register(t)
	return a
}

func TestMetadataOfOurOwn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		options    func(*testing.T, *samlsp.Options)
		entity     string // "" for the address of the metadata
		signs      bool
		encryption bool
	}{
		{"without a key", nil, "", false, false},
		{"with an RSA key", func(t *testing.T, o *samlsp.Options) { o.CertificateFile, o.KeyFile = idptest.WriteKey(t, false) }, "", true, true},
		{"with an ECDSA key", func(t *testing.T, o *samlsp.Options) { o.CertificateFile, o.KeyFile = idptest.WriteKey(t, true) }, "", true, false},
		{"with a name", func(_ *testing.T, o *samlsp.Options) { o.EntityID = "urn:idpsync" }, "urn:idpsync", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, func(o *samlsp.Options) {
				if tc.options != nil {
					tc.options(t, o)
				}
			})
			page, err := a.browser(t).Get(a.URL + assertion.PathSAMLMetadata)
			if err != nil {
				t.Fatal(err)
			}
			if got := page.Header.Get("Content-Type"); got != "application/samlmetadata+xml" {
				t.Errorf("Content-Type = %q", got)
			}
			document := etree.NewDocument()
			if err := document.ReadFromString(page.Body); err != nil {
				t.Fatal(err)
			}
			if tc.entity == "" {
				tc.entity = a.URL + assertion.PathSAMLMetadata
			}
			role := document.Root().SelectElement("SPSSODescriptor")
			services := role.SelectElements("AssertionConsumerService")
			if got := document.Root().SelectAttrValue("entityID", ""); got != tc.entity || len(services) != 1 {
				t.Fatalf("entityID = %q with %d services, want %q with one", got, len(services), tc.entity)
			}
			if at, how := services[0].SelectAttrValue("Location", ""), services[0].SelectAttrValue("Binding", ""); at != a.URL+assertion.PathSAMLAnswer || !strings.HasSuffix(how, "HTTP-POST") {
				t.Errorf("AssertionConsumerService = %s by %s", at, how)
			}
			uses := map[string]bool{}
			for _, key := range role.SelectElements("KeyDescriptor") {
				uses[key.SelectAttrValue("use", "")] = true
			}
			if uses["signing"] != tc.signs || uses["encryption"] != tc.encryption || role.SelectAttrValue("AuthnRequestsSigned", "false") != map[bool]string{true: "true", false: "false"}[tc.signs] || role.SelectAttrValue("WantAssertionsSigned", "") != "true" {
				t.Errorf("keys %v, signs %s:\n%s", uses, role.SelectAttrValue("AuthnRequestsSigned", ""), page.Body)
			}
			if strings.Contains(page.Body, "validUntil") {
				t.Error("the metadata ends, and many import it once")
			}
		})
	}
}

// TestRequestsAreSigned: the identity provider checks the signature with the key in our metadata.
func TestRequestsAreSigned(t *testing.T) {
	t.Parallel()
	for name, curve := range map[string]bool{"RSA": false, "ECDSA": true} {
		a := keyed(t, curve)
		if got := a.signIn(t); got.Assertion == nil {
			t.Errorf("%s: %s", name, got.Detail)
		}
		if n := a.idp.Signed(); n != 1 {
			t.Errorf("%s: %d signed requests, want one", name, n)
		}
	}
	a := start(t, nil)
	a.register(t)
	if got := a.signIn(t); got.Assertion == nil || a.idp.Signed() != 0 {
		t.Errorf("without a key: %d signed requests; %s", a.idp.Signed(), got.Detail)
	}
}

func TestEncrypted(t *testing.T) {
	t.Parallel()
	inside := func(edit func(*etree.Element)) func(*etree.Element) *etree.Element {
		return func(assertion *etree.Element) *etree.Element { edit(assertion); return assertion }
	}
	unsign := func(a *etree.Element) { a.RemoveChild(a.SelectElement("Signature")) }
	for _, tc := range []struct {
		name  string
		fault idptest.SAMLFault
		want  assertion.Reason
	}{
		{"AES-GCM", idptest.SAMLFault{Encrypt: idptest.EncryptGCM}, ""},
		{"AES-CBC, as Entra ID does", idptest.SAMLFault{Encrypt: idptest.EncryptCBC}, ""},
		{"the response signed, too", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Signed: idptest.SignedBoth}, ""},
		{"the response signed alone", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Signed: idptest.SignedResponse}, ""},
		{"not encrypted, which is as good", idptest.SAMLFault{}, ""},
		{"for another's key", idptest.SAMLFault{Encrypt: idptest.EncryptAnother}, assertion.ReasonEncrypted},
		{"the key wrapped with PKCS#1 1.5", idptest.SAMLFault{Encrypt: idptest.EncryptPKCS}, assertion.ReasonEncrypted},
		{"altered on the way", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Tamper: func(r *etree.Element) {
			values := r.FindElements(".//CipherValue")
			last := values[len(values)-1]
			text := last.Text()
			last.SetText("AAAA" + text[4:])
		}}, assertion.ReasonEncrypted},
		{"two of them", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Signed: idptest.SignedBoth, Tamper: func(r *etree.Element) {
			r.AddChild(r.SelectElement("EncryptedAssertion").Copy())
		}}, assertion.ReasonSeveral},
		{"one beside an open one", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Signed: idptest.SignedBoth, Tamper: func(r *etree.Element) {
			r.CreateElement("saml:Assertion").CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:2.0:assertion")
		}}, assertion.ReasonSeveral},
		// Everybody has our certificate, and can encrypt what they like.
		{"unsigned", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Signed: idptest.SignedNothing}, assertion.ReasonSignature},
		{"the signature taken away", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Inside: inside(unsign)}, assertion.ReasonSignature},
		{"altered before it was encrypted", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Inside: inside(idptest.Forge)}, assertion.ReasonSignature},
		{"another key", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Key: idptest.KeyOther}, assertion.ReasonSignature},
		{"wrapped: around the one that is signed", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Inside: wrapInside(false)}, assertion.ReasonSignature},
		{"wrapped: with the signature, and in it the one that was signed", idptest.SAMLFault{Encrypt: idptest.EncryptGCM, Inside: wrapInside(true)}, assertion.ReasonSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := keyed(t, false)
			a.idp.Misbehave(tc.fault)
			got := a.signIn(t)
			if got.Reason != tc.want || (got.Assertion == nil) != (tc.want != "") {
				t.Fatalf("refused: %q (%s), want %q; assertion %v", got.Reason, got.Detail, tc.want, got.Assertion)
			}
			if tc.want == "" {
				if diff := cmp.Diff(ana(a), got.Assertion); diff != "" {
					t.Errorf("assertion (-want +got):\n%s", diff)
				}
			}
		})
	}
	t.Run("for a key that cannot open it", func(t *testing.T) {
		t.Parallel()
		a := keyed(t, true)
		a.idp.Misbehave(idptest.SAMLFault{Encrypt: idptest.EncryptGCM})
		if got := a.signIn(t); got.Reason != assertion.ReasonEncrypted {
			t.Errorf("refused: %q (%s), want encrypted", got.Reason, got.Detail)
		}
	})
}

// wrapInside wraps an assertion before it is encrypted, where a first reading cannot count.
func wrapInside(withSignature bool) func(*etree.Element) *etree.Element {
	return func(signed *etree.Element) *etree.Element {
		response := etree.NewElement("samlp:Response")
		response.AddChild(signed)
		way := 4
		if withSignature {
			way = 6
		}
		idptest.Wrap(way)(response)
		forged := response.SelectElement("Assertion")
		response.RemoveChild(forged)
		return forged
	}
}
