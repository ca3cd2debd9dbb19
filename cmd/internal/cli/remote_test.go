package cli_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/store/identity"
)

// local names the scripts that are about what happens on the machine itself: configurations, databases, processes, and the
// sealing of the audit log. TestServer_Served has what there is of them with a server.
var local = []string{"audit", "check", "completion", "config", "demo", "error", "help", "migrate", "remote", "roles", "signin", "usage", "version"}

// TestScripts_Remote runs the same scripts with a server between the program and the database: all that they say of text,
// JSON and exit statuses holds there too.
func TestScripts_Remote(t *testing.T) {
	long(t)
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if slices.Contains(local, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "")
			commands := h.commands()
			commands["exits"] = (&away{house: h, t: t, served: map[string]string{}}).exits
			testscript.Run(t, testscript.Params{
				Files: []string{file}, Setup: h.setup, Cmds: commands, RequireExplicitExec: true, RequireUniqueNames: true,
			})
		})
	}
}

// away runs commands on servers, one for each configuration.
type away struct {
	*house
	t      *testing.T
	served map[string]string // addresses
}

const awayKey = "idps_of_the_test"

// exits does what the function exits does, with --server in the place of --config.
func (h *away) exits(ts *testscript.TestScript, neg bool, args []string) {
	status, args := args[0], slices.Clone(args[1:])
	file := "idpsync.yaml"
	if i := slices.Index(args, "--config"); i >= 0 {
		file = args[i+1]
		args = slices.Delete(args, i, i+2)
	}
	if !slices.Contains([]string{"migrate", "serve", "demo"}, args[1]) {
		ts.Setenv("IDPSYNC_KEY", awayKey)
		ts.Setenv("IDPSYNC_CA_FILE", ts.MkAbs("server-ca.pem"))
		args = append(args, "--server", h.serve(ts, file))
	}
	exits(ts, neg, append([]string{status}, args...))
}

// serve serves the API with a configuration and returns the address. Whoever has the key is the operator of this machine, so
// that the scripts read the same.
func (h *away) serve(ts *testscript.TestScript, file string) string {
	environment := func(name string) (string, bool) { value := ts.Getenv(name); return value, value != "" }
	config, err := configs.Loader{LookupEnv: environment}.Load(ts.MkAbs(file))
	known := file + " " + ts.Getenv("OKTA_TOKEN")
	if errors.Is(err, fs.ErrNotExist) {
		known, config, err = "no file", configs.Default(), nil
	}
	ts.Check(err)
	if url := h.served[known]; url != "" {
		return url
	}
	if config.Database.Reveal() != h.dsn {
		config.Database = configs.Secret("sqlite://" + ts.MkAbs("other.db"))
	}
	a, err := app.New(context.Background(), config, slog.New(slog.DiscardHandler))
	ts.Check(err)
	admin, err := a.Inside()
	ts.Check(err)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+awayKey {
			http.Error(w, "who?", http.StatusTeapot)
			return
		}
		admin.ServeHTTP(w, r.WithContext(api.AsOperator(r.Context(), identity.Actor{Kind: "cli", ID: "operator", Name: "operator"})))
	}))
	var b bytes.Buffer
	ts.Check(pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	ts.Check(os.WriteFile(ts.MkAbs("server-ca.pem"), b.Bytes(), 0o600))
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- admin.Run(ctx) }()
	h.t.Cleanup(func() {
		server.Close()
		stop()
		if err := <-ran; err != nil {
			h.t.Errorf("Run = %v", err)
		}
		_ = a.Close()
	})
	h.served[known] = server.URL
	return server.URL
}
