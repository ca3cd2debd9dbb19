package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

// TestWritersTakeTurns: one who writes a transaction right after the other, as a pull does, keeps nobody from renewing a
// lease.
func TestWritersTakeTurns(t *testing.T) {
	t.Parallel()
	s := storetest.SQLite(t)
	lease, err := s.AcquireLease(t.Context(), "connector/okta", "me", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	var writer sync.WaitGroup
	writer.Go(func() {
		for ctx.Err() == nil {
			err := s.InTx(t.Context(), func(*store.Tx) error {
				time.Sleep(50 * time.Millisecond) // the transaction's work
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	defer writer.Wait()
	defer stop()
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		began := time.Now()
		if err := s.RenewLease(t.Context(), lease, time.Minute); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("renewing a lease took %s", took)
		}
	}
	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.RenewLease(waiting, lease, time.Minute); err == nil {
		t.Error("who gave up waiting has written")
	}
}
