package store_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"testing"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// TestFailed_IsTheDatabase: an error of the network is the database's or somebody else's.
func TestFailed_IsTheDatabase(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var pid int
	if err := conn.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB().ExecContext(t.Context(), "SELECT pg_terminate_backend($1, 10000)", pid); err != nil {
		t.Fatal(err)
	}
	_, ended := conn.ExecContext(t.Context(), "SELECT 1")
	_, wrong := s.DB().ExecContext(t.Context(), "SELECT nonsense")
	nobody, err := store.Open(t.Context(), "postgres://nobody@127.0.0.1:1/nothing")
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"a session that was ended": {ended, true},
		"a statement":              {wrong, true},
		"nobody there":             {nobody.Ping(t.Context()), true},
		"another network error":    {fmt.Errorf("pull: %w", &url.Error{Op: "Get", Err: &net.OpError{Op: "read", Err: errors.New("reset")}}), false},
		"no error":                 {nil, false},
	} {
		if got := store.Failed(c.err); got != c.want {
			t.Errorf("%s: Failed(%v) = %t, want %t", name, c.err, got, c.want)
		}
	}
}
