//go:build unix

package httpserver

import (
	"math"
	"syscall"
)

// openFiles returns how many files, connections among them, the process may have open at once.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt32 {
		return math.MaxInt32 // or more than matters
	}
	return int(limit.Cur)
}
