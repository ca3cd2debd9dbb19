package samlsp_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/cmd/internal/signin/samlsp"
)

func asked(a *app) int {
	n := 0
	for _, path := range a.idp.Requests() {
		if path == "/metadata" {
			n++
		}
	}
	return n
}

// TestRotation: a key that the identity provider takes into use is believed at once, and asking for it has bounds.
func TestRotation(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	if got := a.signIn(t); got.Assertion == nil || asked(a) != 1 {
		t.Fatal(got.Detail)
	}
	if got := a.signIn(t); got.Assertion == nil || asked(a) != 0 {
		t.Fatalf("the metadata is asked for again, or %s", got.Detail)
	}
	if err := a.idp.Rotate(); err != nil {
		t.Fatal(err)
	}
	if got := a.signIn(t); got.Reason != assertion.ReasonSignature || asked(a) != 0 {
		t.Errorf("within the minute: %q (%s), want signature, and nobody asked", got.Reason, got.Detail)
	}
	a.ahead.Store(int64(fetch.RetryAfter))
	a.idp.Advance(fetch.RetryAfter)
	if got := a.signIn(t); got.Assertion == nil || asked(a) != 1 {
		t.Errorf("after a minute: %s", got.Detail)
	}
	a.idp.Misbehave(idptest.SAMLFault{Signed: idptest.SignedNothing})
	a.ahead.Store(int64(2 * fetch.RetryAfter))
	a.idp.Advance(fetch.RetryAfter)
	if got := a.signIn(t); got.Reason != assertion.ReasonSignature {
		t.Errorf("unsigned: %q (%s), want signature", got.Reason, got.Detail)
	}
}

// TestForgedSignaturesAskOnceAMinute: what anybody can send makes no traffic.
func TestForgedSignaturesAskOnceAMinute(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	a.idp.Misbehave(idptest.SAMLFault{Key: idptest.KeyOther})
	for range 5 {
		if got := a.signIn(t); got.Reason != assertion.ReasonSignature {
			t.Errorf("refused: %q (%s), want signature", got.Reason, got.Detail)
		}
	}
	if n := asked(a); n != 1 {
		t.Errorf("the metadata was asked for %d times, want once", n)
	}
}

// TestUnusableMetadata: no sign-in begins with metadata that cannot be used, and it goes on when it is mended.
func TestUnusableMetadata(t *testing.T) {
	t.Parallel()
	replace := func(pattern, with string) func(string) string {
		return func(s string) string { return regexp.MustCompile(pattern).ReplaceAllString(s, with) }
	}
	for name, fault := range map[string]idptest.SAMLFault{
		"no certificate":             {Metadata: replace(`(?s)<KeyDescriptor.*</KeyDescriptor>`, "")},
		"a certificate that is none": {Metadata: replace(`(?s)<X509Certificate[^>]*>.*?</X509Certificate>`, "<X509Certificate>AAAA</X509Certificate>")},
		"no redirection":             {Metadata: replace(`HTTP-Redirect`, "HTTP-Other")},
		"an address without TLS":     {Metadata: replace(`Location="https://127.0.0.1`, `Location="http://idp.example`)},
		"a script for an address":    {Metadata: replace(`Location="[^"]*"`, `Location="javascript:alert(1)"`)},
		"a service provider's":       {Metadata: replace(`IDPSSODescriptor`, "SPSSODescriptor")},
		"no entity id":               {Metadata: replace(`entityID="[^"]*"`, "")},
		"a web page":                 {Metadata: func(string) string { return "<html><body>Sign in</body></html>" }},
		"an entity": {Metadata: func(s string) string {
			return `<!DOCTYPE r [<!ENTITY a "b">]>` + strings.Replace(s, `entityID="`, `entityID="&a;`, 1)
		}},
		"nothing":  {Status: http.StatusNotFound},
		"trouble":  {Status: http.StatusBadGateway},
		"too much": {Metadata: func(s string) string { return s + strings.Repeat(" ", fetch.MaxBody) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, nil)
			a.idp.Misbehave(fault)
			b := a.browser(t)
			page, err := b.Get(a.URL + assertion.PathSAML)
			if err != nil || !strings.Contains(page.Body, `"Unavailable":true`) || page.Location != "" {
				t.Errorf("%v, %v; want unavailable", page, err)
			}
			if fault.Status != 0 && !strings.Contains(page.Body, strconv.Itoa(fault.Status)) {
				t.Errorf("%s does not tell the status", page.Body)
			}
			a.idp.Misbehave(idptest.SAMLFault{})
			if got := a.signIn(t); got.Assertion == nil {
				t.Errorf("and mended: %s", got.Detail)
			}
		})
	}
}

// TestMetadataThatChanges: what was known goes on to hold, until there is better.
func TestMetadataThatChanges(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	if got := a.signIn(t); got.Assertion == nil {
		t.Fatal(got.Detail)
	}
	for name, fault := range map[string]idptest.SAMLFault{
		"it is away":                   {Status: http.StatusServiceUnavailable},
		"it is another provider's now": {Metadata: func(s string) string { return strings.Replace(s, a.idp.EntityID(), "https://evil.example", 1) }},
	} {
		a.idp.Misbehave(fault)
		if err := a.provider.Refresh(t.Context()); err == nil {
			t.Errorf("%s: Refresh = nil", name)
		}
		a.idp.Misbehave(idptest.SAMLFault{})
		if got := a.signIn(t); got.Assertion == nil {
			t.Errorf("%s: %s", name, got.Detail)
		}
	}
}

// TestMetadataThatEnds: metadata with an end is not relied on after it.
func TestMetadataThatEnds(t *testing.T) {
	t.Parallel()
	a := start(t, nil) // the library's metadata is valid for two days
	if got := a.signIn(t); got.Assertion == nil {
		t.Fatal(got.Detail)
	}
	end := regexp.MustCompile(`validUntil="[^"]*"`)
	a.idp.Misbehave(idptest.SAMLFault{Metadata: func(s string) string {
		return end.ReplaceAllString(s, `validUntil="`+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)+`"`)
	}})
	if err := a.provider.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.signIn(t); got.Reason != assertion.ReasonSignature || !strings.Contains(got.Detail, "expired") {
		t.Errorf("refused: %q (%s), want signature, for the metadata expired", got.Reason, got.Detail)
	}
}

// TestMetadataFile: a file is read when the provider is made, and again when Run says so.
func TestMetadataFile(t *testing.T) {
	t.Parallel()
	idp := idptest.SAML(t)
	file := filepath.Join(t.TempDir(), "metadata.xml")
	write := func() {
		page, err := browserOf(t, idp).Get(idp.MetadataURL())
		if err == nil {
			err = os.WriteFile(file, []byte(page.Body), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write()
	a := startAt(t, idp, &idptest.Memory{}, func(o *samlsp.Options) { o.MetadataURL, o.MetadataFile, o.CAFile = "", file, "" })
	idp.Requests()
	if got := a.signIn(t); got.Assertion == nil || slices.Contains(idp.Requests(), "/metadata") {
		t.Errorf("%s; or the metadata was fetched", got.Detail)
	}
	if err := idp.Rotate(); err != nil {
		t.Fatal(err)
	}
	write()
	if got := a.signIn(t); got.Reason != assertion.ReasonSignature {
		t.Errorf("nobody read the file again yet: %q (%s)", got.Reason, got.Detail)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.provider.Run(ctx) }()
	for got := a.signIn(t); got.Assertion == nil; got = a.signIn(t) {
		if got.Reason != assertion.ReasonSignature {
			t.Fatalf("refused: %q (%s), want signature until the file was read", got.Reason, got.Detail)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}
