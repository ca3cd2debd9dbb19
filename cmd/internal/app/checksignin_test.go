package app_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
	"github.com/idpsync/idpsync/configs"
)

// TestCheckTriesWhereToSignIn: identity providers are asked what can be asked without a person.
func TestCheckTriesWhereToSignIn(t *testing.T) {
	t.Parallel()
	saml, oidc := idptest.SAML(t), idptest.OIDC(t)
	config, err := configs.Parse("idpsync.yaml", fmt.Appendf(nil, "database: sqlite://%s\nsign_in:\n  saml: {metadata_url: %q, ca_file: %q}\n  oidc: {issuer: %q, client_id: c, ca_file: %q}\n",
		t.TempDir()+"/check.db", saml.MetadataURL(), idptest.WriteCA(t, saml.CA), oidc.Issuer, idptest.WriteCA(t, oidc.CA)))
	if err != nil {
		t.Fatal(err)
	}
	check := func() (app.CheckItem, app.CheckItem) {
		items := app.Check(t.Context(), config, slog.New(slog.DiscardHandler))
		return find(items, "sign_in.saml", "metadata"), find(items, "sign_in.oidc", "discovery")
	}
	if s, o := check(); !s.OK || s.Detail != saml.MetadataURL() || !o.OK || o.Detail != oidc.Issuer {
		t.Errorf("all is well: %+v, %+v", s, o)
	}
	saml.Misbehave(idptest.SAMLFault{Status: http.StatusNotFound})
	oidc.Misbehave(idptest.OIDCFault{Discovery: func(d map[string]any) { d["issuer"] = "https://other.example" }})
	if s, o := check(); s.OK || !strings.Contains(s.Detail, "404") || s.Remedy == "" || o.OK || !strings.Contains(o.Detail, "https://other.example") || o.Remedy == "" {
		t.Errorf("both are wrong: %+v, %+v", s, o)
	}
	config.SignIn.SAML.CAFile, config.SignIn.OIDC.CAFile = "", ""
	if s, o := check(); s.OK || !strings.Contains(s.Detail, "certificate") || o.OK || !strings.Contains(o.Detail, "certificate") {
		t.Errorf("nobody vouches for them: %+v, %+v", s, o)
	}
}
