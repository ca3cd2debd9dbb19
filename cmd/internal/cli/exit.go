package cli

import (
	"errors"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Exit statuses.
const (
	exitOK      = 0  // done, no drift left
	exitError   = 1  // error
	exitChanges = 2  // plan: changes present
	exitHeld    = 3  // held by the guard
	exitPartial = 4  // partial
	exitBusy    = 5  // another run is going
	exitUsage   = 64 // wrong usage
)

// exitStatus ends the program with a status; what there was to say was said.
type exitStatus int

func (exitStatus) Error() string { return "exit" }

// usageError says that the command line is wrong.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// statusOf turns the outcome of a command into the exit status.
func statusOf(err error) int {
	var status exitStatus
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, store.ErrBusy), answered(err, problemBusy) != nil:
		return exitBusy
	}
	return exitError
}

// worse returns the graver of two exit statuses.
func worse(a, b int) int {
	for _, s := range []int{exitError, exitBusy, exitHeld, exitPartial, exitChanges} {
		if s == a || s == b {
			return s
		}
	}
	return exitOK
}

// statusOfRuns is the exit status of several runs: the gravest of them.
func statusOfRuns(runs []identity.Run, failures []error) int {
	status := exitOK
	for _, err := range failures {
		status = worse(status, statusOf(err))
	}
	for i := range runs {
		switch run := &runs[i]; run.Status {
		case identity.RunFailed:
			status = worse(status, exitError)
		case identity.RunJoined:
			status = worse(status, exitBusy)
		case identity.RunHeld:
			status = worse(status, exitHeld)
		case identity.RunPartial:
			status = worse(status, exitPartial)
		case identity.RunPlanned:
			if run.Counts.Planned() > 0 || run.Counts.Conflicts() > 0 {
				status = worse(status, exitChanges)
			}
		}
	}
	return status
}
