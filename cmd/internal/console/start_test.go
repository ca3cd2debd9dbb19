package console_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

const guide = "/start?"

func TestStart_Guides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.get("viewer", "/start").want(http.StatusOK, "Set up the first connector", "Where do people come from", "Pull Okta", "Pull Entra ID").lacks("Describe the connector")
	w.get("viewer", "/start?type=okta").want(http.StatusOK, "Read-only Administrator", "okta.logs.read", "Describe the connector").lacks("Put this into")
	w.get("viewer", "/start?type=entra").want(http.StatusOK, "User.Read.All", "GroupMember.Read.All", "admin consent")
	w.get("viewer", "/start?type=push").want(http.StatusOK, "/scim/v2?aadOptscim062020", "Switch the endpoint on", "Unique identifier field", w.URL+"/scim/v2")
	w.get("viewer", "/start?type=nonsense").want(http.StatusOK, "Choose one")
}

// TestStart_Configuration sees that the program reads what the guide tells to write, as it was meant.
func TestStart_Configuration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	const tenant, client, principal = "8f1d2c3b-4a59-4687-9a0b-1c2d3e4f5a6b", "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "5e6f7a8b-9c0d-4e1f-a2b3-c4d5e6f7a8b9"
	for _, c := range []struct {
		name   string
		fields []string
		text   string // that the page has besides
		want   func(*configs.Connector) bool
	}{
		{"a token from the environment", []string{"type", "okta", "name", "okta", "url", "https://acme.okta.com"}, "OKTA_API_TOKEN", func(c *configs.Connector) bool {
			return c.Type == "okta" && c.URL == "https://acme.okta.com" && c.APIToken.Reveal() == "of_OKTA_API_TOKEN" && c.Mode == configs.ModeReport
		}},
		{"a token from a file, a scope", []string{"type", "okta", "name", "hr-2", "url", "https://acme.okta.com", "app_id", "0oa1b2", "secret", "file", "mode", "enforce", "groups", `app-*, "Sales" & Co: #1, $HOME`}, "/run/secrets/hr-2-api-token", func(c *configs.Connector) bool {
			return c.APITokenFile == "/run/secrets/hr-2-api-token" && c.AppID == "0oa1b2" && c.Mode == configs.ModeEnforce && strings.Join(c.Groups.Include, "|") == `app-*|"Sales" & Co: #1|$HOME`
		}},
		{"a private key", []string{"type", "okta", "name", "okta", "url", "https://acme.okta.com", "client_id", "0oa1", "key_id", "SV", "secret", "key"}, "/run/secrets/okta.pem", func(c *configs.Connector) bool {
			return c.ClientID == "0oa1" && c.KeyID == "SV" && c.PrivateKeyFile == "/run/secrets/okta.pem" && c.APIToken == ""
		}},
		{"ids of a key beside a token", []string{"type", "okta", "name", "1st", "url", "https://acme.okta.com", "client_id", "0oa1", "key_id", "SV"}, "IDP_1ST_API_TOKEN", func(c *configs.Connector) bool {
			return c.Name == "1st" && c.ClientID == "" && c.APIToken.Reveal() == "of_IDP_1ST_API_TOKEN"
		}},
		{"a client secret", []string{"type", "entra", "name", "entra", "tenant_id", tenant, "client_id", client, "service_principal_id", principal}, "ENTRA_CLIENT_SECRET", func(c *configs.Connector) bool {
			return c.TenantID == tenant && c.ClientID == client && c.ServicePrincipalID == principal && c.ClientSecret.Reveal() == "of_ENTRA_CLIENT_SECRET"
		}},
		{"a certificate", []string{"type", "entra", "name", "entra", "tenant_id", "acme.onmicrosoft.com", "client_id", client, "secret", "key"}, "/run/secrets/entra.pem", func(c *configs.Connector) bool {
			return c.TenantID == "acme.onmicrosoft.com" && c.CertificateFile == "/run/secrets/entra.pem"
		}},
		{"names that YAML takes for something else", []string{"type", "okta", "name", "true", "url", "https://acme.okta.com", "app_id", "123"}, "TRUE_API_TOKEN", func(c *configs.Connector) bool {
			return c.Name == "true" && c.AppID == "123"
		}},
	} {
		p := w.get("viewer", guide+form(c.fields).Encode()).want(http.StatusOK, c.text, "idpsync check").lacks("not ready yet")
		loader := configs.Loader{
			LookupEnv: func(name string) (string, bool) { return "of_" + name, true },
			ReadFile:  func(string) ([]byte, error) { return []byte("secret"), nil },
		}
		yaml := shownYAML(p)
		config, err := loader.Parse("idpsync.yaml", []byte(yaml))
		if err != nil {
			t.Errorf("%s: %v:\n%s", c.name, err, yaml)
			continue
		}
		read := config.Connectors[0]
		if read.APITokenFile != "" {
			read.APIToken = ""
		}
		if len(config.Connectors) != 1 || !c.want(&read) {
			t.Errorf("%s: read as %+v:\n%s", c.name, read, yaml)
		}
	}
}

// TestStart_Wrong sees that the guide says what the program would say, and marks the field.
func TestStart_Wrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, apptest.Okta(t, &oktatest.Tenant{Seed: 1}, ""))
	w.get("viewer", "/start").want(http.StatusOK, "Set up a connector").lacks("the first connector")
	for _, c := range []struct {
		name, field, text string
		fields            []string
	}{
		{"the admin console", "url", "without -admin", []string{"type", "okta", "name", "other", "url", "https://acme-admin.okta.com"}},
		{"no address", "url", "it is missing", []string{"type", "okta", "name", "other"}},
		{"plain http", "url", "not encrypted", []string{"type", "okta", "name", "other", "url", "http://acme.okta.com"}},
		{"no name", "name", "needs a name", []string{"type", "okta", "name", "", "url", "https://acme.okta.com"}},
		{"a name that is taken", "name", "already", []string{"type", "okta", "name", "okta", "url", "https://acme.okta.com"}},
		{"no tenant", "tenant_id", "it is missing", []string{"type", "entra", "name", "entra", "client_id", "x"}},
		{"an application's id for its object's", "service_principal_id", "object id", []string{"type", "entra", "name", "entra", "tenant_id", "acme.test", "client_id", "x", "service_principal_id", "y"}},
		{"no key id", "key_id", "it is missing", []string{"type", "okta", "name", "other", "url", "https://acme.okta.com", "client_id", "0oa1", "secret", "key"}},
	} {
		p := w.get("viewer", guide+form(c.fields).Encode()).want(http.StatusOK, "not ready yet", c.text)
		_, input, _ := strings.Cut(p.body, `<input id="start-`+c.field+`"`)
		input, _, _ = strings.Cut(input, ">")
		if !strings.Contains(input, `aria-invalid="true"`) {
			t.Errorf("%s: the field %s is not marked: %s", c.name, c.field, input)
		}
	}
	hostile := "\"'><script>alert(1)</script>\n  - name: evil\n    type: okta${PATH}\u202e\x00"
	p := w.get("viewer", guide+form([]string{"type", "okta", "name", hostile, "url", hostile, "app_id", hostile, "groups", hostile, "secret", hostile, "mode", hostile}).Encode()).
		want(http.StatusOK, "not ready yet").hasNot("<script>alert")
	if yaml := shownYAML(p); strings.Count(yaml, "\n  - ") != 1 || strings.Contains(yaml, "${PATH}") && !strings.Contains(yaml, "$${PATH}") {
		t.Errorf("what was typed became more than a value:\n%s", yaml)
	}
}

func form(fields []string) url.Values {
	values := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return values
}

// shownYAML returns the configuration that a page shows.
func shownYAML(p *page) string {
	_, yaml, _ := strings.Cut(p.body, `<pre id="yaml"`)
	_, yaml, _ = strings.Cut(yaml, ">")
	yaml, _, _ = strings.Cut(yaml, "</pre>")
	return html.UnescapeString(yaml)
}
