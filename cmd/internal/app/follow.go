package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store/identity"
)

const (
	followEvery  = time.Second      // how often a server reads whether SCIM is on
	followWithin = 5 * time.Second  // how long one reading may take
	followStale  = 10 * time.Second // how long the last one counts when it cannot be read again
)

// setting is what a follower reads. *lifecycle.Applier is one.
type setting interface {
	SCIM(ctx context.Context) (lifecycle.SCIM, error)
	SyncSCIM(ctx context.Context, by identity.Actor) (lifecycle.SCIM, error)
}

// follower knows whether SCIM is on, a second late at most, without asking the database for each request. Its methods
// scim.Options take are safe for concurrent use.
type follower struct {
	setting setting
	delay   time.Duration // from enabling to answering
	logger  *slog.Logger

	last    atomic.Pointer[followed]
	synced  bool // the configuration's declaration is in force
	failing bool // the last reading failed, which is logged
}

// followed is a setting as it was read.
type followed struct {
	lifecycle.SCIM
	at      time.Time // when, by this process's clock, as all times that it is compared with
	readyAt time.Time
}

// fixed tells whether a setting stays as it is while the process runs: the configuration is read once.
func (f *followed) fixed() bool { return f.Declared && !f.Waiting }

// Run follows the setting until ctx ends.
func (f *follower) Run(ctx context.Context) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for last := f.last.Load(); last == nil || !last.fixed(); last = f.last.Load() {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			f.read(ctx)
		}
	}
	<-ctx.Done()
	return nil
}

// read reads the setting. What it cannot read leaves the last one standing, and is logged once.
func (f *follower) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, followWithin)
	defer cancel()
	s, err := f.current(ctx)
	if err != nil {
		if !f.failing && !errors.Is(ctx.Err(), context.Canceled) {
			f.logger.ErrorContext(ctx, "the SCIM setting cannot be read", "error", err, "counts_for", followStale.String())
			f.failing = true
		}
		return
	}
	if f.failing {
		f.logger.InfoContext(ctx, "the SCIM setting is read again")
		f.failing = false
	}
	before, now := f.last.Load(), time.Now()
	next := &followed{SCIM: s, at: now}
	if s.On && !s.Declared {
		// The database's clock says how long it is until then, this process's monotonic one counts it down.
		next.readyAt = now.Add(s.Since.Add(f.delay).Sub(s.Read))
		if before != nil && before.On && before.Since.Equal(s.Since) && before.readyAt.Before(next.readyAt) {
			next.readyAt = before.readyAt // a slower reading does not put it off
		}
	}
	f.last.Store(next)
	if before == nil || before.On != s.On || before.Waiting != s.Waiting {
		f.tell(ctx, next)
	}
}

// current returns the setting, at first after putting in force what the configuration declares.
func (f *follower) current(ctx context.Context) (lifecycle.SCIM, error) {
	if f.synced {
		return f.setting.SCIM(ctx)
	}
	s, err := f.setting.SyncSCIM(ctx, identity.Actor{Kind: "system", ID: "configuration", Name: "configuration"})
	f.synced = err == nil && !s.Waiting
	return s, err
}

func (f *follower) tell(ctx context.Context, s *followed) {
	switch {
	case s.Waiting:
		f.logger.WarnContext(ctx, "SCIM is declared on and answers 403 until there is break glass: "+noBreakGlass, "remedy", makeAdmin)
	case !s.On:
		f.logger.InfoContext(ctx, "SCIM is off", "declared", s.Declared)
	case s.Declared:
		f.logger.InfoContext(ctx, "SCIM is on", "declared", true)
	default:
		f.logger.InfoContext(ctx, "SCIM is on", "declared", false, "answers_from", s.Since.Add(f.delay))
	}
}

// enabled is scim.Options.Enabled.
func (f *follower) enabled(context.Context) (on bool, readyAt time.Time) {
	if s := f.last.Load(); s != nil {
		return s.On, s.readyAt
	}
	return false, time.Time{}
}

// closed is scim.Options.Closed: it says why nobody is let in where the setting does not.
func (f *follower) closed(context.Context) error {
	s := f.last.Load()
	switch {
	case s == nil || !s.fixed() && time.Since(s.at) > followStale:
		return &scim.Error{
			Status: http.StatusServiceUnavailable, RetryAfter: followEvery,
			Detail: "it is not known at the moment whether SCIM provisioning is enabled",
		}
	case s.Waiting:
		return &scim.Error{
			Status: http.StatusForbidden,
			Detail: fmt.Sprintf("SCIM provisioning is disabled until there is break glass: %s; %s", noBreakGlass, makeAdmin),
		}
	}
	return nil
}
