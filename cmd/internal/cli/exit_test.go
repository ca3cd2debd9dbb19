package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func TestStatusOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{exitStatus(3), 3},
		{fmt.Errorf("run okta: %w", store.ErrBusy), 5},
		{fmt.Errorf("wrapped: %w", usageError{errors.New("--nosuch")}), 64},
		{usageError{store.ErrBusy}, 64},
	} {
		if got := statusOf(c.err); got != c.want {
			t.Errorf("statusOf(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

// TestStatusOfRuns: of several runs, the gravest outcome counts.
func TestStatusOfRuns(t *testing.T) {
	t.Parallel()
	run := func(status identity.RunStatus, change string) identity.Run {
		r := identity.Run{Status: status}
		if change != "" {
			r.Counts.Changes = map[string]int{change: 1}
		}
		return r
	}
	done, planned, same := run(identity.RunDone, "user.create"), run(identity.RunPlanned, "user.create"), run(identity.RunPlanned, "")
	conflict, held := run(identity.RunPlanned, "user.conflict"), run(identity.RunHeld, "user.deactivate")
	partial, failed := run(identity.RunPartial, ""), run(identity.RunFailed, "")
	for name, c := range map[string]struct {
		runs     []identity.Run
		failures []error
		want     int
	}{
		"none":                 {nil, nil, 0},
		"done":                 {[]identity.Run{done, same}, nil, 0},
		"changes":              {[]identity.Run{same, planned}, nil, 2},
		"a conflict is drift":  {[]identity.Run{conflict}, nil, 2},
		"held":                 {[]identity.Run{partial, held, planned}, nil, 3},
		"partial":              {[]identity.Run{planned, partial}, nil, 4},
		"busy":                 {[]identity.Run{held}, []error{fmt.Errorf("run a: %w", store.ErrBusy)}, 5},
		"error":                {[]identity.Run{held, done}, []error{store.ErrBusy, errors.New("no")}, 1},
		"error of a run alone": {[]identity.Run{failed, held}, nil, 1},
	} {
		if got := statusOfRuns(c.runs, c.failures); got != c.want {
			t.Errorf("%s: statusOfRuns = %d, want %d", name, got, c.want)
		}
	}
}
