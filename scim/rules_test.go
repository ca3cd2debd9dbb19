package scim_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryRuleHasATest: each rule that docs/scim.md promises is shown by a test of its number.
func TestEveryRuleHasATest(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/scim.md")
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	named := regexp.MustCompile(`(?m)^func TestRule(\d+(?:_And\d+)*)_`)
	err = fs.WalkDir(os.DirFS(".."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := fs.ReadFile(os.DirFS(".."), name)
		for _, found := range named.FindAllStringSubmatch(string(source), -1) {
			for number := range strings.SplitSeq(found[1], "_And") {
				tested[number] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(string(page), -1)
	if len(rules) != 33 {
		t.Errorf("docs/scim.md has %d rules, want 33", len(rules))
	}
	for _, rule := range rules {
		if !tested[rule[1]] {
			t.Errorf("no test is named TestRule%s_", rule[1])
		}
	}
}
