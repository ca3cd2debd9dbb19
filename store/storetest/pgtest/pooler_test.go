package pgtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

func TestPooledSharesSessions(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Pooled(t, pgtest.DSN(t))
	sessions := map[int]bool{}
	var conns []*pgx.Conn
	for range 10 {
		conns = append(conns, connect(t, dsn))
	}
	for _, conn := range conns {
		var pid int
		if err := conn.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		sessions[pid] = true
	}
	if len(sessions) == len(conns) {
		t.Errorf("%d connections have a session each, want them to share", len(conns))
	}
}
