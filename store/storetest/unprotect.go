package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/idpsync/idpsync/store"
)

// Unprotect lets a test change the audit log, as somebody can who owns the database.
func Unprotect(t testing.TB, s *store.Store) {
	t.Helper()
	if err := UnprotectAudit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// UnprotectAudit is Unprotect where there is no test at hand.
func UnprotectAudit(ctx context.Context, s *store.Store) error {
	statements := []string{"ALTER TABLE audit_events DISABLE TRIGGER USER", "ALTER TABLE audit_chain DISABLE TRIGGER USER"}
	if s.Dialect() == "sqlite" {
		statements = nil
		for _, table := range []string{"audit_events", "audit_chain"} {
			for _, done := range []string{"updated", "deleted", "replaced"} {
				statements = append(statements, "DROP TRIGGER IF EXISTS "+table+"_"+done)
			}
		}
	}
	for _, statement := range statements {
		if _, err := s.DB().ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
