// Command idpsync keeps an application's people right: identity providers push to it over SCIM 2.0, and it pulls them,
// finds the drift and repairs it.
package main

import (
	"os"

	"github.com/idpsync/idpsync/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
