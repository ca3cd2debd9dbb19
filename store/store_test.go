package store_test

import (
	"testing"

	"github.com/idpsync/idpsync/store/storetest"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.TestStore(t, storetest.PostgresDSN)
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.TestStore(t, storetest.MigratedSQLiteDSN)
}
