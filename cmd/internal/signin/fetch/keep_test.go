package fetch_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
)

func TestKeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var calls, failures atomic.Int32
		var failing atomic.Bool
		done := make(chan error)
		go func() {
			done <- fetch.Keep(ctx, func(context.Context) error {
				calls.Add(1)
				if failing.Load() {
					return errors.New("away")
				}
				return nil
			}, func(error) { failures.Add(1) })
		}()
		step := func(wait time.Duration, wantCalls, wantFailures int32) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if calls.Load() != wantCalls || failures.Load() != wantFailures {
				t.Errorf("%d calls, %d failures; want %d, %d", calls.Load(), failures.Load(), wantCalls, wantFailures)
			}
		}
		step(0, 1, 0)
		step(fetch.RefreshEvery-1, 1, 0)
		failing.Store(true)
		step(1, 2, 1)
		step(fetch.RetryAfter, 3, 2)
		failing.Store(false)
		step(fetch.RetryAfter, 4, 2)
		step(fetch.RetryAfter, 4, 2)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Keep = %v", err)
		}
	})
}
