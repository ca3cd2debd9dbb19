package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store/identity"
)

// fakeSetting is a setting in a database whose clock is ahead of ours.
type fakeSetting struct {
	mu    sync.Mutex
	s     lifecycle.SCIM
	err   error
	ahead time.Duration
	slow  time.Duration // how long an answer is under way
	reads int
	syncs int
}

func (f *fakeSetting) SCIM(context.Context) (lifecycle.SCIM, error) {
	f.mu.Lock()
	f.reads++
	s, err, slow := f.s, f.err, f.slow
	s.Read = time.Now().Add(f.ahead)
	f.mu.Unlock()
	time.Sleep(slow)
	return s, err
}

func (f *fakeSetting) SyncSCIM(ctx context.Context, _ identity.Actor) (lifecycle.SCIM, error) {
	f.mu.Lock()
	f.syncs++
	f.mu.Unlock()
	return f.SCIM(ctx)
}

// becomes changes what is read from now on.
func (f *fakeSetting) becomes(s lifecycle.SCIM, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s, f.err = s, err
}

func (f *fakeSetting) count() (reads, syncs int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads, f.syncs
}

// following runs a test in a bubble of time with a follower that runs.
func following(t *testing.T, f *fakeSetting, test func(t *testing.T, follower *follower, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		followed := &follower{setting: f, delay: 30 * time.Second, logger: slog.New(slog.NewTextHandler(&log, nil))}
		ctx, stop := context.WithCancel(t.Context())
		followed.read(ctx)
		ended := make(chan error, 1)
		go func() { ended <- followed.Run(ctx) }()
		test(t, followed, &log)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// pass lets time pass, and a reading that is due be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantClosed(t *testing.T, f *follower, status int, detail string) {
	t.Helper()
	err := f.closed(t.Context())
	if status == 0 {
		if err != nil {
			t.Errorf("closed() = %v, want nil", err)
		}
		return
	}
	var refusal *scim.Error
	if !errors.As(err, &refusal) || refusal.Status != status || !strings.Contains(refusal.Detail, detail) {
		t.Errorf("closed() = %v, want %d with %q", err, status, detail)
	}
}

// TestRule2_TheDatabasesClockCounts: the instant is the same whatever a server's own clock shows, and a slow answer
// does not put it off again.
func TestRule2_TheDatabasesClockCounts(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		f := &fakeSetting{ahead: ahead}
		following(t, f, func(t *testing.T, follower *follower, _ *bytes.Buffer) {
			wantClosed(t, follower, 0, "")
			if on, _ := follower.enabled(t.Context()); on {
				t.Error("on, want off")
			}
			enabled := time.Now()
			f.becomes(lifecycle.SCIM{On: true, Since: enabled.Add(ahead)}, nil)
			pass(followEvery)
			for _, slow := range []time.Duration{0, 500 * time.Millisecond, 0} {
				f.mu.Lock()
				f.slow = slow
				f.mu.Unlock()
				pass(2 * followEvery)
				on, readyAt := follower.enabled(t.Context())
				if want := enabled.Add(30 * time.Second); !on || !readyAt.Equal(want) {
					t.Errorf("%s ahead: enabled() = %v, %s, want %s", ahead, on, readyAt, want)
				}
			}
			f.becomes(lifecycle.SCIM{}, nil)
			pass(2 * followEvery)
			if on, _ := follower.enabled(t.Context()); on {
				t.Error("on after it was switched off")
			}
		})
	}
}

// TestRule1_AnUnreadableSetting keeps what was known for a while, then lets nobody in, and is logged once.
func TestRule1_AnUnreadableSetting(t *testing.T) {
	t.Parallel()
	f := &fakeSetting{s: lifecycle.SCIM{On: true}}
	following(t, f, func(t *testing.T, follower *follower, log *bytes.Buffer) {
		f.becomes(lifecycle.SCIM{}, errors.New("no connection"))
		pass(followStale - followEvery)
		wantClosed(t, follower, 0, "")
		if on, _ := follower.enabled(t.Context()); !on {
			t.Error("off, want what was known")
		}
		pass(2 * followEvery)
		wantClosed(t, follower, 503, "not known")
		if n := strings.Count(log.String(), "no connection"); n != 1 {
			t.Errorf("logged %d times, want once: %s", n, log)
		}
		f.becomes(lifecycle.SCIM{On: true}, nil)
		pass(followEvery)
		wantClosed(t, follower, 0, "")
		if !strings.Contains(log.String(), "read again") {
			t.Errorf("the recovery is not logged: %s", log)
		}
	})
	never := &follower{setting: &fakeSetting{err: errors.New("no connection")}, logger: slog.New(slog.DiscardHandler)}
	never.read(t.Context())
	wantClosed(t, never, 503, "not known")
}

// TestRule2_DeclaredIsReadUntilInForce: a declaration that waits is asked for each second, one that holds never again.
func TestRule2_DeclaredIsReadUntilInForce(t *testing.T) {
	t.Parallel()
	f := &fakeSetting{s: lifecycle.SCIM{Declared: true, Waiting: true}}
	following(t, f, func(t *testing.T, follower *follower, log *bytes.Buffer) {
		pass(3 * followEvery)
		wantClosed(t, follower, 403, "idpsync admin create EMAIL")
		if _, syncs := f.count(); syncs != 4 || strings.Count(log.String(), "answers 403") != 1 {
			t.Errorf("asked %d times, want 4; logged, want once: %s", syncs, log)
		}
		f.becomes(lifecycle.SCIM{On: true, Declared: true, Since: time.Now()}, nil)
		pass(followEvery)
		wantClosed(t, follower, 0, "")
		if on, readyAt := follower.enabled(t.Context()); !on || !readyAt.IsZero() {
			t.Errorf("enabled() = %v, %s, want at once", on, readyAt)
		}
		before, _ := f.count()
		f.becomes(lifecycle.SCIM{}, errors.New("no connection"))
		pass(time.Minute)
		wantClosed(t, follower, 0, "")
		if after, _ := f.count(); after != before {
			t.Errorf("read %d times more, want never", after-before)
		}
	})
}
