package samlsp

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/crewjam/saml"
	"github.com/crewjam/saml/samlsp"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
)

// metadata is what is known of the identity provider. It does not change.
type metadata struct {
	entity   *saml.EntityDescriptor
	redirect string // where browsers are sent with a request
}

// Run does what assertion.Runner says.
func (p *Provider) Run(ctx context.Context) error {
	return fetch.Keep(ctx, p.Refresh, func(err error) {
		p.options.Logger.WarnContext(ctx, "saml metadata cannot be read", "error", err, "retry_in", fetch.RetryAfter)
	})
}

// Refresh looks at the metadata. If that fails, what was known goes on to hold.
func (p *Provider) Refresh(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.load(ctx)
}

// metadata returns what is known, and asks if nothing is.
func (p *Provider) metadata(ctx context.Context) (*metadata, error) {
	p.mu.Lock()
	defer p.mu.Unlock() // whoever comes meanwhile waits for the same answer
	if p.known == nil {
		if err := p.load(ctx); err != nil {
			return nil, err
		}
	}
	return p.known, nil
}

// renew returns metadata that is newer than what was used, or nil where there is none to be had now. Anybody can send
// something with an unknown key, so it asks once a minute at most.
func (p *Provider) renew(ctx context.Context, used *metadata) (*metadata, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != used {
		return p.known, nil
	}
	if since := p.options.Now().Sub(p.tried); since >= 0 && since < fetch.RetryAfter {
		return nil, nil
	}
	if err := p.load(ctx); err != nil {
		return nil, err
	}
	return p.known, nil
}

// load asks for the metadata. The mutex is held.
func (p *Provider) load(ctx context.Context) error {
	p.tried = p.options.Now()
	data, err := p.read(ctx)
	if err != nil {
		return &assertion.UnavailableError{Provider: assertion.SAML, Err: err}
	}
	loaded, err := parseMetadata(data)
	if err != nil {
		return &assertion.UnavailableError{Provider: assertion.SAML, Err: fmt.Errorf("the metadata: %w", err)}
	}
	if p.known != nil && p.known.entity.EntityID != loaded.entity.EntityID {
		// People are known by their issuer: another one is for an operator to decide, and to restart.
		return &assertion.UnavailableError{Provider: assertion.SAML, Err: fmt.Errorf("the metadata is of %q now, and was of %q; restart to change the identity provider", loaded.entity.EntityID, p.known.entity.EntityID)}
	}
	p.known = loaded
	return nil
}

func (p *Provider) read(ctx context.Context) ([]byte, error) {
	if p.options.MetadataFile != "" {
		data, err := os.ReadFile(p.options.MetadataFile)
		if err == nil && len(data) > fetch.MaxBody {
			err = fmt.Errorf("%s is larger than 4 MiB", p.options.MetadataFile)
		}
		return data, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.options.MetadataURL, nil)
	if err != nil {
		return nil, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the metadata: the server answered %s", response.Status)
	}
	return io.ReadAll(response.Body)
}

// parseMetadata reads the metadata of one identity provider, and sees that it can be used.
func parseMetadata(data []byte) (*metadata, error) {
	entity, err := samlsp.ParseMetadata(data)
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	if entity.EntityID == "" || len(entity.IDPSSODescriptors) == 0 {
		return nil, errors.New("it is of no identity provider; use the one that the identity provider has for this application")
	}
	certificates := 0
	for _, role := range entity.IDPSSODescriptors {
		for _, key := range role.KeyDescriptors {
			if key.Use == "encryption" {
				continue
			}
			for _, c := range key.KeyInfo.X509Data.X509Certificates {
				if err := checkCertificate(c.Data); err != nil {
					return nil, err
				}
				certificates++
			}
		}
	}
	if certificates == 0 {
		return nil, errors.New("it has no certificate to check signatures with")
	}
	redirect := (&saml.ServiceProvider{IDPMetadata: entity}).GetSSOBindingLocation(saml.HTTPRedirectBinding)
	if redirect == "" {
		return nil, errors.New("it has no SingleSignOnService for HTTP-Redirect")
	}
	u, err := url.Parse(redirect)
	if err == nil {
		err = fetch.Check(u)
	}
	if err != nil {
		return nil, fmt.Errorf("its SingleSignOnService: %w", err)
	}
	return &metadata{entity: entity, redirect: redirect}, nil
}

func checkCertificate(data string) error {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(data), ""))
	if err == nil {
		_, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return fmt.Errorf("its certificate: %w", err)
	}
	return nil
}
