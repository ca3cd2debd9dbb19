package fetch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/signin/fetch"
)

func TestKeep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls, failures := 0, 0
		var fail error
		done := make(chan error)
		go func() {
			done <- fetch.Keep(ctx, func(context.Context) error { calls++; return fail }, func(error) { failures++ })
		}()
		step := func(wait time.Duration, wantCalls, wantFailures int) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if calls != wantCalls || failures != wantFailures {
				t.Errorf("%d calls, %d failures; want %d, %d", calls, failures, wantCalls, wantFailures)
			}
		}
		step(0, 1, 0)
		step(fetch.RefreshEvery-1, 1, 0)
		fail = errors.New("away")
		step(1, 2, 1)
		step(fetch.RetryAfter, 3, 2)
		fail = nil
		step(fetch.RetryAfter, 4, 2)
		step(fetch.RetryAfter, 4, 2)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Keep = %v", err)
		}
	})
}
