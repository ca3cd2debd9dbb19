package signin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestHasher_Turns: no more run at once than there are turns; whoever waits too long is told so, and a known browser has
// a turn of its own.
func TestHasher_Turns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHasher()
		release, ended := make(chan struct{}), make(chan error)
		hold := func() error {
			<-release
			return nil
		}
		for range cap(h.turns) {
			go func() { ended <- h.do(t.Context(), false, hold) }()
		}
		synctest.Wait()
		began := time.Now()
		if err := h.do(t.Context(), false, hold); !errors.Is(err, errOverloaded) || time.Since(began) != patience {
			t.Errorf("beyond the turns: %v after %s, want %v after %s", err, time.Since(began), errOverloaded, patience)
		}
		began = time.Now()
		if err := h.do(t.Context(), true, func() error { return nil }); err != nil || time.Since(began) != 0 {
			t.Errorf("in a known browser: %v after %s, want its own turn at once", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.do(ctx, false, hold); !errors.Is(err, context.Canceled) {
			t.Errorf("of somebody who left: %v", err)
		}
		close(release)
		for range cap(h.turns) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if err := h.do(t.Context(), false, func() error { return nil }); err != nil {
			t.Errorf("when all are done: %v", err)
		}
	})
}

func TestHasher_Nobody(t *testing.T) {
	t.Parallel()
	h := newHasher()
	if fits, err := h.check(t.Context(), false, "", "password"); fits || err != nil {
		t.Errorf("check against nobody = %v, %v", fits, err)
	}
	if _, err := h.check(t.Context(), false, "garbage", "password"); !errors.Is(err, ErrHash) {
		t.Errorf("check against garbage: %v, want %v", err, ErrHash)
	}
	if outdated(dummyHash()) {
		t.Error("nobody's hash is outdated: it takes another time than hashes of today")
	}
}
