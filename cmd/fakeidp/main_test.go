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
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunServesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--users=7", "--groups=2", "--app", "--ca-out", ca}, write, io.Discard)
	}()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, field := range strings.Fields(line) {
		key, value, _ := strings.Cut(field, "=")
		said[key] = value
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	for path, want := range map[string]int{"/api/v1/users": 7, "/api/v1/groups": 2, "/api/v1/apps/" + said["app_id"] + "/users": 7} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, said["url"]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "SSWS "+said["token"])
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var list []any
		if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list) != want {
			t.Errorf("%s: %d items, %v, want %d", path, len(list), err, want)
		}
		resp.Body.Close()
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("run = %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--users=-1"}, {"extra"}, {"--nothing"}, {"--listen=nowhere"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("run(%q) succeeds", args)
		}
	}
	if err := run(t.Context(), []string{"--help"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("run(--help) = %v", err)
	}
}
