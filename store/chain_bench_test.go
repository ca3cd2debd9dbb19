package store_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// benchEvents is how many events the log has, unless AUDIT_EVENTS says otherwise.
const benchEvents = 50_000

// BenchmarkAudit measures how many events a second are recorded as a first pull does, sealed and verified.
func BenchmarkAudit(b *testing.B) {
	n := benchEvents
	if text := os.Getenv("AUDIT_EVENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for name, open := range map[string]func(testing.TB) *store.Store{"postgres": storetest.Postgres, "sqlite": storetest.SQLite} {
		b.Run(name, func(b *testing.B) {
			s, ctx := open(b), b.Context()
			for b.Loop() {
				measure := func(unit string, do func() error) {
					began := time.Now()
					if err := do(); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(n)/time.Since(began).Seconds(), unit)
				}
				measure("recorded/s", func() error { return recordMany(b, s, n) })
				measure("sealed/s", func() error {
					_, err := s.SealAll(ctx)
					return err
				})
				measure("verified/s", func() error {
					_, err := s.VerifyAudit(ctx, nil, nil)
					return err
				})
			}
		})
	}
}

func recordMany(b *testing.B, s *store.Store, n int) error {
	ctx := b.Context()
	for done := 0; done < n; done += 1000 {
		events := make([]identity.Event, 1000)
		for i := range events {
			events[i] = identity.Event{
				At: time.Now(), Type: identity.EventUserCreated, Actor: identity.Actor{Kind: "connector", ID: "okta", Name: "okta", RunID: "4d2f3c1e"},
				Object: identity.ObjectUser, ObjectID: uuid.NewString(), Name: fmt.Sprintf("user%d@example.com", done+i),
				Fields: []identity.FieldChange{
					{Path: "userName", After: fmt.Sprintf("user%d@example.com", done+i)},
					{Path: "displayName", After: fmt.Sprint("User ", done+i)},
					{Path: "emails", After: []any{map[string]any{"value": fmt.Sprintf("mail%d@example.com", done+i), "primary": true}}},
					{Path: "active", Before: false, After: true},
				},
			}
		}
		if err := s.InTx(ctx, func(tx *store.Tx) error { return tx.Record(ctx, events) }); err != nil {
			return err
		}
	}
	return nil
}
