//go:build !unix

package httpserver

import "math"

// openFiles returns how many files the process may have open at once: there is no limit to be asked for.
func openFiles() int { return math.MaxInt32 }
