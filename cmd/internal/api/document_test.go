package api_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/store/storetest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestDocument holds the OpenAPI document against the golden file, which is read in review.
func TestDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.MigratedSQLiteDSN(t), "")
	got := w.send("GET", "/openapi.json", nil)
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("GET /openapi.json = %d, %s", got.status, got.header.Get("Content-Type"))
	}
	const golden = "testdata/openapi.json"
	if *update {
		if err := os.WriteFile(golden, []byte(got.text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.text+"\n"); diff != "" {
		t.Errorf("the document changed; run the test with -update (-want +got):\n%s", diff)
	}
	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Responses   map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(got.text), &document); err != nil {
		t.Fatal(err)
	}
	if document.OpenAPI != "3.1.0" {
		t.Errorf("openapi = %q, want 3.1.0", document.OpenAPI)
	}
	seen := map[string]bool{}
	for path, operations := range document.Paths {
		for method, op := range operations {
			if op.OperationID == "" || seen[op.OperationID] {
				t.Errorf("%s %s: operationId %q is missing or not unique", method, path, op.OperationID)
			}
			seen[op.OperationID] = true
			for _, code := range []string{"401", "403", "500"} {
				if op.Responses[code] == nil {
					t.Errorf("%s %s does not tell of %s", method, path, code)
				}
			}
		}
	}
}

// TestDocs sees that docs/api.md has a line for every operation.
func TestDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	golden, err := os.ReadFile("testdata/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(golden, &document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method := range methods {
			if line := "| `" + strings.ToUpper(method) + " " + path + "` |"; !strings.Contains(string(text), line) {
				t.Errorf("docs/api.md has no line %s", line)
			}
		}
	}
}
