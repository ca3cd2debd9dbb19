package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/chain"
)

// fakeLog is an audit log in which events wait.
type fakeLog struct {
	waiting, sealed int
	missing         int
	err             error
	calls           int
}

func (f *fakeLog) Seal(_ context.Context, _ string, limit int) (store.Sealed, string, error) {
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
	return store.AuditStanding{Head: chain.Head{Count: int64(f.sealed)}, Unsealed: f.waiting, Oldest: time.Now().Add(-time.Hour)}, f.err
}

func TestSealer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		log := &fakeLog{waiting: 2*store.SealBatch + 1}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- (&sealer{log: log, logger: slog.New(slog.NewTextHandler(&lines, nil))}).Run(ctx) }()
		told := func() int { return strings.Count(lines.String(), "audit log sealed") }
		synctest.Wait()
		if log.waiting != 0 || log.calls != 3 {
			t.Errorf("at the start %d events wait after %d batches", log.waiting, log.calls)
		}
		log.waiting = 5
		time.Sleep(2 * sealEvery)
		if log.waiting != 0 {
			t.Errorf("after two ticks %d events wait", log.waiting)
		}
		time.Sleep(2 * headEvery)
		if told() != 1 {
			t.Errorf("the head was told %d times, want once as it did not move:\n%s", told(), &lines)
		}
		log.err, log.waiting = store.ErrBusy, 1
		time.Sleep(2 * sealEvery)
		log.err = errors.New("gone away")
		time.Sleep(sealEvery)
		before := log.calls
		time.Sleep(sealBackoff / 2)
		if log.calls > before+1 {
			t.Errorf("%d tries in half a minute of errors", log.calls-before)
		}
		log.err, log.missing = nil, 1
		time.Sleep(2 * sealBackoff)
		if n := strings.Count(lines.String(), "events are gone from the audit log"); n != 1 {
			t.Errorf("told %d times that events are gone, want once:\n%s", n, &lines)
		}
		log.waiting = 7
		stop()
		if err := <-done; err != nil || log.waiting != 0 || told() != 2 {
			t.Errorf("at the end: error %v, %d events wait, the head was told %d times, want 2:\n%s", err, log.waiting, told(), &lines)
		}
		if strings.Contains(lines.String(), "busy") {
			t.Errorf("the log tells that another one seals:\n%s", &lines)
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
