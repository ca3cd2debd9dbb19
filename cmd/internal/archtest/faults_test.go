package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFaultsAreTested sees that docs/faults.md names tests that there are, at least one for each kind of fault.
func TestFaultsAreTested(t *testing.T) {
	t.Parallel()
	const root = "../../.."
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range declared.FindAllSubmatch(text, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(root + "/docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	row := regexp.MustCompile(`^\| \d+ \|`)
	named := regexp.MustCompile("`(Test\\w+)`")
	for line := range strings.Lines(string(page)) {
		tests := named.FindAllStringSubmatch(line, -1)
		if row.MatchString(line) {
			kinds++
			if len(tests) == 0 {
				t.Errorf("docs/faults.md: no test in %s", line)
			}
		}
		for _, test := range tests {
			if !there[test[1]] {
				t.Errorf("docs/faults.md names %s, which is not there", test[1])
			}
		}
	}
	if kinds < 20 {
		t.Errorf("docs/faults.md has %d kinds of fault, want 20 at least", kinds)
	}
}
