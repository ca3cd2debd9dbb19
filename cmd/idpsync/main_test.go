package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestProgram builds the program as `make build` does, without cgo, and sees its exit status reach the shell. Debug
// information is left out: linking it takes long.
func TestProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "idpsync")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		args   string
		status int
		out    string
	}{
		{"version", 0, "idpsync "},
		{"plan --config nosuch.yaml", 1, ""},
		{"nosuch", 64, ""},
	} {
		out, err := exec.Command(program, strings.Fields(c.args)...).Output()
		status := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != c.status || !strings.HasPrefix(string(out), c.out) {
			t.Errorf("idpsync %s: exit status %d and %q, want %d and %q", c.args, status, out, c.status, c.out)
		}
	}
}
