package app_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/storetest"
)

// TestOktaByPrivateKey checks a connector that signs in as a service application, and one whose key is none.
func TestOktaByPrivateKey(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tenant := &oktatest.Tenant{}
	tenant.Fill(3, 1, 3)
	client := tenant.AddService(key.Public(), "kid1", "okta.users.read", "okta.groups.read", "okta.logs.read")
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca, file := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem")
	if err := server.WriteCA(ca); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file string
		bad  string // part of what is wrong, "" for nothing
	}{
		"a key": {file: file}, "a certificate": {file: ca, bad: "not a private key"},
	} {
		text := fmt.Sprintf("database: %q\nconnectors:\n  - {name: okta, type: okta, url: %q, client_id: %s, key_id: kid1, private_key_file: %q, ca_file: %q}\n",
			storetest.SQLiteDSN(t), server.URL, client, c.file, ca)
		config, err := configs.Parse("idpsync.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		told := ""
		for _, item := range app.Check(t.Context(), config, slog.New(slog.DiscardHandler)) {
			if item.Of == "okta" && !item.OK {
				told += item.Detail + "; " + item.Remedy
			}
		}
		if (told == "") != (c.bad == "") || !strings.Contains(told, c.bad) {
			t.Errorf("%s: Check tells %q, want %q", name, told, c.bad)
		}
	}
}
