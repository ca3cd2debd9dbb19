package scim_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes properties look at fewer cases where tests are to be short: under the race detector each takes five times
// as long, and the races are in the first few.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
