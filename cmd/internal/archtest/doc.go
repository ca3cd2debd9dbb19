// Package archtest holds the import map of this repository as a test. The map is a table of text: a line that grows is
// a design decision, visible in review.
//
// The test parses the files in its own process. One that asked `go list` would be cached by the test runner, which
// does not know what such a child process read, and would pass while the code had changed.
package archtest
