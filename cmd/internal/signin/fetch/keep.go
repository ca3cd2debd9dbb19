package fetch

import (
	"context"
	"time"
)

// How often what is known of an identity provider is looked at.
const (
	RefreshEvery = time.Hour
	RetryAfter   = time.Minute // when that failed
)

// Keep calls refresh now and every RefreshEvery, until ctx ends; then it returns nil. Where refresh fails, failed is told,
// and it is called again after RetryAfter.
func Keep(ctx context.Context, refresh func(context.Context) error, failed func(error)) error {
	for {
		wait := RefreshEvery
		if err := refresh(ctx); err != nil && ctx.Err() == nil {
			wait = RetryAfter
			failed(err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
