package app

import (
	"context"
	"time"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
)

const (
	noBreakGlass = "no active local admin on the root team"
	makeAdmin    = "run `idpsync admin create EMAIL`, and keep its password where it is found when the identity provider is down"
)

// SCIMStatus is what there is to know of the push endpoint's setting.
type SCIMStatus struct {
	lifecycle.SCIM
	AnswersFrom time.Time // by the database's clock; zero where it is off, or declared and no server has started yet
	Answering   bool
	LocalAdmins int // active ones on the root team: break glass
	LiveKeys    int // that the endpoint lets in
}

// SCIMStatus tells whether SCIM is on, and what it takes.
func (a *App) SCIMStatus(ctx context.Context) (SCIMStatus, error) {
	s, err := a.Applier.SCIM(ctx)
	if err != nil {
		return SCIMStatus{}, err
	}
	status := SCIMStatus{SCIM: s, Answering: s.On}
	if s.On && !s.Since.IsZero() {
		status.AnswersFrom = s.Since
		if !s.Declared {
			status.AnswersFrom = s.Since.Add(a.Config.SCIM.ActivationDelay)
		}
		status.Answering = !s.Read.Before(status.AnswersFrom)
	}
	if status.LocalAdmins, err = a.Store.CountLocalAdmins(ctx); err != nil {
		return SCIMStatus{}, err
	}
	status.LiveKeys, err = a.Store.CountSCIMKeys(ctx, s.Read)
	return status, err
}

// String says it in one line.
func (s SCIMStatus) String() string {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case s.Waiting:
		return "declared on, and off until there is break glass"
	case s.Declared && s.On:
		return "declared on"
	case s.Declared:
		return "declared off"
	case !s.On:
		return "off; `idpsync scim enable` switches it on"
	case !s.Answering:
		return "on since " + at(s.Since) + ", answers from " + at(s.AnswersFrom)
	}
	return "on since " + at(s.Since)
}

// DeclaredBy says where SCIM is declared, and what to do to have it decided elsewhere. It is for a configuration that
// declares it.
func (a *App) DeclaredBy() (where, remedy string) {
	if a.Config.FromFile() {
		return "scim.enabled in the configuration", "change it there and restart `idpsync serve`, or take it out there to decide with `idpsync scim`"
	}
	return "the built-in defaults, there being no configuration file", "write one (idpsync.yaml, it may be empty) to decide with `idpsync scim`"
}
