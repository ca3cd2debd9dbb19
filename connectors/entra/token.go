package entra

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/idpsync/idpsync/connectors"
)

// Requests to the authority, by which they are counted.
const (
	endpointToken    = "POST token"
	endpointMetadata = "GET openid-configuration"
)

// tokenMargin is how long before its end a token is not handed out any more.
const tokenMargin = 5 * time.Minute

// tokens is the credential that the SDK asks for tokens. It fetches one at a time through azidentity, keeps it until
// shortly before its end, and drops it when Graph rejects it: azidentity's own cache goes with the credential.
type tokens struct {
	renew func() (azcore.TokenCredential, error)
	now   func() time.Time

	turn       chan struct{} // held by whoever touches what follows
	credential azcore.TokenCredential
	token      azcore.AccessToken
}

var _ azcore.TokenCredential = (*tokens)(nil)

func newTokens(o Options, authority string, transport http.RoundTripper, now func() time.Time) (*tokens, error) {
	wire := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: authority},
		Transport: &tokenClient{http.Client{Transport: transport}},
		Retry:     policy.RetryOptions{MaxRetries: -1}, // the transport's are bounded
		Telemetry: policy.TelemetryOptions{ApplicationID: "idpsync"},
	}
	// Instance discovery asks the public cloud which authorities there are; the one configured is meant, wherever it is.
	t := &tokens{now: now, turn: make(chan struct{}, 1)}
	t.renew = func() (azcore.TokenCredential, error) {
		return azidentity.NewClientSecretCredential(o.TenantID, o.ClientID, o.ClientSecret.Reveal(),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: wire, DisableInstanceDiscovery: true})
	}
	if o.CertificateFile != "" {
		pem, err := os.ReadFile(o.CertificateFile)
		if err != nil {
			return nil, fmt.Errorf("certificate file: %w; name a PEM or PFX file that this process may read", err)
		}
		certificates, key, err := azidentity.ParseCertificates(pem, nil)
		if err != nil {
			return nil, fmt.Errorf("certificate file %s: %w; want a certificate and its private key, without a password, in PEM or PFX", o.CertificateFile, err)
		}
		t.renew = func() (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential(o.TenantID, o.ClientID, certificates, key,
				&azidentity.ClientCertificateCredentialOptions{ClientOptions: wire, DisableInstanceDiscovery: true})
		}
	}
	var err error
	t.credential, err = t.renew()
	return t, err
}

// GetToken returns a token, fetching one where needed.
func (t *tokens) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return azcore.AccessToken{}, context.Cause(ctx)
	}
	if t.now().Add(tokenMargin).Before(t.token.ExpiresOn) {
		return t.token, nil
	}
	var failed failure
	ctx = context.WithValue(ctx, failureKey{}, &failed)
	token, err := t.credential.GetToken(ctx, options)
	if err != nil {
		if failed.err != nil { // what the vendor's error wraps around it is a page of text
			err = failed.err
		}
		return azcore.AccessToken{}, tokenError(err)
	}
	t.token = token
	return token, nil
}

// drop forgets a token that was rejected, unless another one is there already.
func (t *tokens) drop(rejected string) {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	if t.token.Token != rejected {
		return
	}
	t.token = azcore.AccessToken{}
	if fresh, err := t.renew(); err == nil {
		t.credential = fresh
	}
}

// roles returns what the current token says of the application's permissions; nil where it cannot be read.
func (t *tokens) roles() []string {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	return rolesOf(t.token.Token)
}

// tokenClient sends the requests of azidentity, and keeps the error of one for GetToken.
type tokenClient struct{ client http.Client }

type failure struct{ err error }

type failureKey struct{}

// Do sends one request.
func (c *tokenClient) Do(req *http.Request) (*http.Response, error) {
	endpoint := endpointToken
	if req.Method == http.MethodGet {
		endpoint = endpointMetadata
	}
	ctx := connectors.WithCall(req.Context(), &connectors.Call{Endpoint: endpoint, Shape: connectors.ShapeObject})
	resp, err := c.client.Do(req.WithContext(ctx))
	if err != nil {
		err = connectors.Cause(err)
		if f, ok := ctx.Value(failureKey{}).(*failure); ok {
			f.err = err
		}
	}
	return resp, err
}

// tokenError classes the error of a token request: what the authority refuses with a code of its own is a credential, or an
// application, that will not do.
func tokenError(err error) error {
	var refused *connectors.ResponseError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Code, "AADSTS") && !refused.Temporary && !errors.Is(err, connectors.ErrUnauthorized) {
		return fmt.Errorf("%w: %w", connectors.ErrUnauthorized, err)
	}
	return err
}

var aadsts = regexp.MustCompile(`^(AADSTS\d+): ?`)

// parseTokenError reads the authority's error body: the code stands in front of the description, and ids behind it.
func parseTokenError(_ http.Header, body []byte) (code, summary string) {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &e) != nil {
		return "", htmlOrNothing(body)
	}
	summary, _, _ = strings.Cut(strings.ReplaceAll(e.Description, "\r\n", "\n"), "\n")
	summary, _, _ = strings.Cut(summary, " Trace ID:")
	if match := aadsts.FindStringSubmatch(summary); match != nil {
		return match[1], strings.TrimSpace(summary[len(match[0]):])
	}
	return e.Error, summary
}

// rolesOf reads the permissions of an application out of an access token; nil where it cannot be read. The token is
// Graph's to understand: this is for telling people what is missing, never for deciding.
func rolesOf(token string) []string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims struct {
		Roles []string `json:"roles"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return append([]string{}, claims.Roles...)
}
