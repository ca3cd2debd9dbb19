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
	checkNamedTests(t, "docs/faults.md", 20)
}

// TestStatementsAreTested does so for docs/access.md.
func TestStatementsAreTested(t *testing.T) {
	t.Parallel()
	checkNamedTests(t, "docs/access.md", 30)
}

// checkNamedTests wants each numbered row of a page's tables to name tests that there are, and at least so many rows.
func checkNamedTests(t *testing.T, name string, least int) {
	t.Helper()
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
	page, err := os.ReadFile(root + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	row := regexp.MustCompile(`^\| \d+ \|`)
	named := regexp.MustCompile("`(Test\\w+)`")
	for line := range strings.Lines(string(page)) {
		tests := named.FindAllStringSubmatch(line, -1)
		if row.MatchString(line) {
			rows++
			if len(tests) == 0 {
				t.Errorf("%s: no test in %s", name, line)
			}
		}
		for _, test := range tests {
			if !there[test[1]] {
				t.Errorf("%s names %s, which is not there", name, test[1])
			}
		}
	}
	if rows < least {
		t.Errorf("%s has %d rows, want %d at least", name, rows, least)
	}
}
