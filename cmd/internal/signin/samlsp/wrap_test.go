package samlsp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
)

// alone is a provider with metadata from a file and no server, and an identity provider to make answers.
func alone(t testing.TB, o Options) (*Provider, *idptest.SAMLServer, *idptest.Browser) {
	t.Helper()
	idp := idptest.SAML(t)
	b := idptest.NewBrowser(idp.CA)
	t.Cleanup(b.Close)
	page, err := b.Get(idp.MetadataURL())
	if err != nil {
		t.Fatal(err)
	}
	o.MetadataFile = filepath.Join(t.TempDir(), "metadata.xml")
	if err := os.WriteFile(o.MetadataFile, []byte(page.Body), 0o600); err != nil {
		t.Fatal(err)
	}
	o.BaseURL, o.Memory = "https://app.example", &idptest.Memory{}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p, idp, b
}

// answer returns the identity provider's answer to nobody's question.
func answer(t testing.TB, p *Provider, idp *idptest.SAMLServer, b *idptest.Browser) []byte {
	t.Helper()
	page, err := b.Get(idp.InitiatedURL(p.entityID, p.acs.String(), ""))
	if err != nil {
		t.Fatal(err)
	}
	document, err := base64.StdEncoding.DecodeString(page.Form.Get("SAMLResponse"))
	if err != nil || len(document) == 0 {
		t.Fatalf("%v in %s", err, page.Body)
	}
	return document
}

// TestTheLibraryAloneIsNotWrappedEither passes wrapped signatures by the first reading, which would refuse them all: what
// is behind it must not name the intruder either.
func TestTheLibraryAloneIsNotWrappedEither(t *testing.T) {
	t.Parallel()
	p, idp, b := alone(t, Options{AllowInitiated: true})
	verify := func(document []byte) (string, error) {
		asserted, err := p.verify(t.Context(), document, &outline{signatures: 1})
		if err != nil {
			return "", err
		}
		return asserted.Subject.NameID.Value, nil
	}
	if name, err := verify(answer(t, p, idp, b)); err != nil || name != "ana@example.com" {
		t.Fatalf("verify = %q, %v", name, err)
	}
	for way := 1; way <= 8; way++ {
		for _, signed := range []string{idptest.SignedResponse, idptest.SignedAssertion, idptest.SignedBoth} {
			if way <= 2 && signed == idptest.SignedAssertion || way > 2 && signed == idptest.SignedResponse {
				continue // there is no signature to wrap
			}
			idp.Misbehave(idptest.SAMLFault{Signed: signed, Tamper: idptest.Wrap(way)})
			document := answer(t, p, idp, b)
			if !strings.Contains(string(document), idptest.Intruder) {
				t.Fatalf("way %d does not name the intruder", way)
			}
			if name, err := verify(document); err == nil && name != "ana@example.com" {
				t.Errorf("way %d, %s signed: verify = %q", way, signed, name)
			}
			if _, err := readOutline(document); err == nil {
				t.Errorf("way %d, %s signed: the first reading finds nothing", way, signed)
			}
		}
	}
}

// TestPlainLoopback: without TLS, on loopback, the cookie is neither Secure nor for other sites.
func TestPlainLoopback(t *testing.T) {
	t.Parallel()
	p, _, _ := alone(t, Options{})
	p.cookie.Secure = false
	w := httptest.NewRecorder()
	if err := p.Begin(w, httptest.NewRequest(http.MethodGet, assertion.PathSAML, nil), "/"); err != nil {
		t.Fatal(err)
	}
	cookie := w.Header().Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "idpsync-saml=") || strings.Contains(cookie, "Secure") || strings.Contains(cookie, "SameSite") {
		t.Errorf("Set-Cookie = %q", cookie)
	}
}

// TestVerifyingHasItsTurn: as many as everybody can post are not verified at once.
func TestVerifyingHasItsTurn(t *testing.T) {
	t.Parallel()
	p, idp, b := alone(t, Options{AllowInitiated: true})
	document := answer(t, p, idp, b)
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the browser has gone"))
	if _, err := p.verify(ctx, document, &outline{}); err == nil || !strings.Contains(err.Error(), "the browser has gone") {
		t.Errorf("verify = %v, want that there was no turn", err)
	}
	<-p.slots
	if _, err := p.verify(t.Context(), document, &outline{}); err != nil {
		t.Errorf("verify = %v", err)
	}
	if len(p.slots) != cap(p.slots)-1 {
		t.Errorf("%d turns are taken, want %d", len(p.slots), cap(p.slots)-1)
	}
}

// FuzzFinish: nothing that is posted is believed, but what the identity provider signed; and nothing panics.
func FuzzFinish(f *testing.F) {
	p, idp, b := alone(f, Options{AllowInitiated: true})
	f.Add(answer(f, p, idp, b))
	for way := 1; way <= 8; way++ {
		signed := idptest.SignedAssertion
		if way <= 2 {
			signed = idptest.SignedResponse
		}
		idp.Misbehave(idptest.SAMLFault{Signed: signed, Tamper: idptest.Wrap(way)})
		f.Add(answer(f, p, idp, b))
	}
	f.Add([]byte("<x"))
	f.Add([]byte(fmt.Sprintf(`<p:Response xmlns:p=%q InResponseTo="id-1"><p:Status/></p:Response>`, protocolSpace)))
	f.Fuzz(func(t *testing.T, document []byte) {
		form := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(document)}}
		r := httptest.NewRequest(http.MethodPost, assertion.PathSAMLAnswer, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		person, err := p.Finish(httptest.NewRecorder(), r)
		if (person == nil) == (err == nil) {
			t.Fatalf("Finish = %v, %v", person, err)
		}
		if person != nil && (person.UserName != "ana@example.com" || person.Subject != "ana@example.com") {
			t.Errorf("Finish names %q, %q", person.UserName, person.Subject)
		}
	})
}
