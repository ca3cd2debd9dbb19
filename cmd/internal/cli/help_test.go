package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp walks all commands: each has an example that is one of its own, and says what its special exit statuses
// mean.
func TestHelp(t *testing.T) {
	t.Parallel()
	statuses := map[string][]string{
		"idpsync":              {"0", "1", "2", "3", "4", "5", "64"},
		"idpsync plan":         {"0", "1", "2", "3", "4"},
		"idpsync resync":       {"0", "1", "2", "3", "4", "5"},
		"idpsync check":        {"0", "1"},
		"idpsync audit verify": {"0", "1"},
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short = %q, want a phrase without a full stop", path, c.Short)
		}
		for line := range strings.Lines(c.Example) {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, path) {
				t.Errorf("%s: example %q, want two blanks and the command itself", path, line)
			}
		}
		if c.Example == "" {
			t.Errorf("%s: no example", path)
		}
		if _, list, ok := strings.Cut(c.Long, "Exit status:"); ok || statuses[path] != nil {
			for _, status := range statuses[path] {
				if !strings.Contains(list, status+" ") {
					t.Errorf("%s: the exit status %s is not explained", path, status)
				}
			}
		}
		var out, errs strings.Builder
		if status := Run(context.Background(), append(strings.Fields(path)[1:], "--help"), strings.NewReader(""), &out, &errs); status != exitOK {
			t.Errorf("%s --help: exit status %d", path, status)
		}
		if errs.Len() > 0 || !strings.Contains(out.String(), "Examples:") {
			t.Errorf("%s --help prints:\n%s\nand on standard error:\n%s", path, out.String(), errs.String())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&env{}).root())
}
