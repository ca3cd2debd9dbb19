// Package pgtest gives each test a database of its own on a real PostgreSQL.
//
// The server is the one that the environment variable IDPSYNC_TEST_POSTGRES names, or else a throwaway cluster that
// is started once in the test process from the PostgreSQL binaries found on this machine: initdb into a temporary
// directory, a Unix socket and no port, no fsync. Started as root it runs as the user postgres, else nobody, because
// PostgreSQL refuses to run as root. The cluster ends with the test process, however that ends, and leaves nothing
// behind. Where there is no PostgreSQL the test fails and says what to install; it is never skipped.
//
// `go run ./store/storetest/pgtest/run -- go test ./...` shares one cluster between all test binaries.
package pgtest
