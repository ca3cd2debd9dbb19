package cli_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/idpsync/idpsync/cmd/internal/cli"
)

// TestMain makes the test binary the program itself where it is called idpsync: scripts and tests find it in PATH.
func TestMain(m *testing.M) {
	if url := os.Getenv(fetchURL); url != "" {
		if err := fetch(url, os.Getenv(fetchCA)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	testscript.Main(m, map[string]func(){
		"idpsync": func() {
			if err := limitFiles(os.Getenv(fileSize)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}
