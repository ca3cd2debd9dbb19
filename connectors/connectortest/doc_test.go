package connectortest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The guide's excerpts are those of the example, word for word.
func TestGuideQuotesTheExample(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/adding-a-connector.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var example strings.Builder
	for _, name := range files {
		if !strings.HasPrefix(name, "example_") && name != "connectortest_test.go" {
			continue
		}
		if !strings.Contains(string(guide), name) && name != "connectortest_test.go" {
			t.Errorf("the guide does not say that the example is in %s", name)
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		example.Write(source)
	}
	parts := strings.Split(string(guide), "\n```go\n")
	if len(parts) < 10 {
		t.Fatalf("the guide has %d excerpts", len(parts)-1)
	}
	for _, part := range parts[1:] {
		excerpt, _, closed := strings.Cut(part, "```")
		if !closed || !strings.Contains(example.String(), excerpt) {
			t.Errorf("not in the example:\n%s", excerpt)
		}
	}
}
