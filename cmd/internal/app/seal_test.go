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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/chain"
)

// fakeLog is an audit log in which events wait, and what is logged about it.
type fakeLog struct {
	mu              sync.Mutex
	waiting, sealed int
	missing         int
	err             error
	calls           int
	lines           bytes.Buffer
}

// set changes what the log is like.
func (f *fakeLog) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// state returns how many events wait, how often somebody sealed, and what was logged.
func (f *fakeLog) state() (waiting, calls int, lines string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting, f.calls, f.lines.String()
}

func (f *fakeLog) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines.Write(b)
}

func (f *fakeLog) Seal(_ context.Context, _ string, limit int) (store.Sealed, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.err != nil {
		return store.Sealed{}, "", f.err
	}
	n := min(f.waiting, limit)
	f.waiting, f.sealed = f.waiting-n, f.sealed+n
	next := ""
	if n == limit {
		next = "more"
	}
	return store.Sealed{Events: n, Missing: f.missing}, next, nil
}

func (f *fakeLog) AuditStanding(context.Context) (store.AuditStanding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return store.AuditStanding{Head: chain.Head{Count: int64(f.sealed)}, Unsealed: f.waiting, Oldest: time.Now().Add(-time.Hour)}, f.err
}

func TestSealer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{waiting: 2*store.SealBatch + 1}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- (&sealer{log: log, logger: slog.New(slog.NewTextHandler(log, nil))}).Run(ctx) }()
		told := func(what string) int {
			_, _, lines := log.state()
			return strings.Count(lines, what)
		}
		const head = "audit log sealed"
		synctest.Wait()
		if waiting, calls, _ := log.state(); waiting != 0 || calls != 3 {
			t.Errorf("at the start %d events wait after %d batches", waiting, calls)
		}
		log.set(func() { log.waiting = 5 })
		time.Sleep(2 * sealEvery)
		if waiting, _, _ := log.state(); waiting != 0 {
			t.Errorf("after two ticks %d events wait", waiting)
		}
		time.Sleep(2 * headEvery)
		if told(head) != 1 {
			t.Errorf("the head was told %d times, want once as it did not move", told(head))
		}
		log.set(func() { log.err, log.waiting = store.ErrBusy, 1 })
		time.Sleep(2 * sealEvery)
		log.set(func() { log.err = errors.New("gone away") })
		time.Sleep(sealEvery)
		_, before, _ := log.state()
		time.Sleep(sealBackoff / 2)
		if _, calls, _ := log.state(); calls > before+1 {
			t.Errorf("%d tries in half a minute of errors", calls-before)
		}
		log.set(func() { log.err, log.missing = nil, 1 })
		time.Sleep(2 * sealBackoff)
		if n := told("events are gone from the audit log"); n != 1 {
			t.Errorf("told %d times that events are gone, want once", n)
		}
		log.set(func() { log.waiting = 7 })
		stop()
		err := <-done
		waiting, _, lines := log.state()
		if err != nil || waiting != 0 || told(head) != 2 {
			t.Errorf("at the end: error %v, %d events wait, the head was told %d times, want 2:\n%s", err, waiting, told(head), lines)
		}
		if told("busy") != 0 {
			t.Errorf("the log tells that another one seals:\n%s", lines)
		}
	})
}

func TestAuditStanding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(newAuditStanding(&fakeLog{waiting: 3, sealed: 40}, slog.New(slog.DiscardHandler)))
		err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP idpsync_audit_sealed Events of the audit log that are sealed by its chain.
# TYPE idpsync_audit_sealed gauge
idpsync_audit_sealed 40
# HELP idpsync_audit_unsealed Events of the audit log that wait to be sealed; 100000 stands for more.
# TYPE idpsync_audit_unsealed gauge
idpsync_audit_unsealed 3
# HELP idpsync_audit_unsealed_age_seconds How long ago the event happened that waits longest to be sealed; 0 where none does.
# TYPE idpsync_audit_unsealed_age_seconds gauge
idpsync_audit_unsealed_age_seconds 3600
`))
		if err != nil {
			t.Error(err)
		}
	})
}
