package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// start runs the command, and returns what it says, and a client that trusts it.
func start(t *testing.T, args ...string) (said map[string]string, client *http.Client, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, append(args, "--ca-out", ca), write, io.Discard) }()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	said = map[string]string{}
	for field := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(field, "=")
		said[key] = value
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return said, client, func() error { cancel(); return <-done }
}

// fetch decodes what the address answers.
func fetch(t *testing.T, client *http.Client, address, authorization string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
}

func TestRunServesOktaUntilItIsStopped(t *testing.T) {
	t.Parallel()
	said, client, stop := start(t, "--users=7", "--groups=2", "--app")
	for path, want := range map[string]int{"/api/v1/users": 7, "/api/v1/groups": 2, "/api/v1/apps/" + said["app_id"] + "/users": 7} {
		var list []any
		if fetch(t, client, said["url"]+path, "SSWS "+said["token"], &list); len(list) != want {
			t.Errorf("%s: %d items, want %d", path, len(list), want)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("run = %v", err)
	}
}

func TestRunServesEntra(t *testing.T) {
	t.Parallel()
	said, client, stop := start(t, "--type=entra", "--users=7", "--groups=2", "--app", "--token=another")
	resp, err := client.PostForm(said["authority"]+"/"+said["tenant_id"]+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {said["client_id"]}, "client_secret": {said["client_secret"]},
		"scope": {"https://graph.microsoft.com/.default"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for path, want := range map[string]int{"/users": 7, "/groups/delta": 2, "/servicePrincipals/" + said["service_principal_id"] + "/appRoleAssignedTo": 2} {
		var list struct{ Value []any }
		if fetch(t, client, said["graph_url"]+path, "Bearer "+token.Access, &list); len(list.Value) != want {
			t.Errorf("%s: %d items, want %d", path, len(list.Value), want)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("run = %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--users=-1"}, {"extra"}, {"--nothing"}, {"--listen=nowhere"}, {"--type=entra", "--listen=nowhere"}, {"--type=ldap"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("run(%q) succeeds", args)
		}
	}
	if err := run(t.Context(), []string{"--help"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("run(--help) = %v", err)
	}
}

func TestRunServesWhereToSignIn(t *testing.T) {
	t.Parallel()
	said, client, stop := start(t, "--type=oidc", "--person=bo@example.com", "--person-groups=A,B")
	var discovery struct{ Issuer string }
	if fetch(t, client, said["issuer"]+"/.well-known/openid-configuration", "", &discovery); discovery.Issuer != said["issuer"] || said["client_id"] == "" || said["client_secret"] == "" {
		t.Errorf("it says %v, and serves %q", said, discovery.Issuer)
	}
	if err := stop(); err != nil {
		t.Errorf("run = %v", err)
	}

	said, client, stop = start(t, "--type=saml")
	resp, err := client.Get(said["metadata_url"])
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !strings.Contains(string(body), `entityID="`+said["metadata_url"]+`"`) {
		t.Errorf("%s: %v, %s", said["metadata_url"], err, body)
	}
	if err := stop(); err != nil {
		t.Errorf("run = %v", err)
	}

	for _, kind := range []string{"saml", "oidc"} {
		if err := run(t.Context(), []string{"--type=" + kind, "--listen=0.0.0.0:0"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s for everybody: run = %v", kind, err)
		}
	}
}
