package okta_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/connectortest"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, connectortest.Harness{
		New:           func() connectortest.Source { return newSource() },
		QuietRequests: 3,
		Secrets:       []string{oktatest.DefaultToken},
	})
}

// TestConformanceOfAnApplication narrows the scope to the people assigned to an application, whatever the groups: who is
// deleted softly is one who was unassigned.
func TestConformanceOfAnApplication(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, connectortest.Harness{
		New: func() connectortest.Source {
			s := newSource()
			s.app = s.AddApp("idpsync")
			return s
		},
		QuietRequests: 3,
		NoFaults:      true,
		Secrets:       []string{oktatest.DefaultToken},
	})
}

// source is a fake organization as the conformance suite changes it.
type source struct {
	*oktatest.Tenant
	ahead    atomic.Int64    // how far its clock was moved
	disabled map[string]bool // to be so again when they are restored
	app      string          // to which all are assigned, or ""
}

func newSource() *source {
	s := &source{disabled: map[string]bool{}}
	s.Tenant = &oktatest.Tenant{Now: s.now}
	return s
}

func (s *source) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func (s *source) Advance(d time.Duration) { s.ahead.Add(int64(d)) }

func (s *source) Connect(at connectortest.Address, scope connectortest.Scope) (connectors.Connector, error) {
	o := okta.Options{
		URL: at.URL, RootCAs: at.RootCAs, APIToken: oktatest.DefaultToken, AppID: s.app, GroupsExclude: scope.Exclude, RequireGroup: &scope.RequireGroup,
		PageSizes: okta.PageSizes{Users: 4, Groups: 2, Members: 4}, Backoff: time.Millisecond, Retries: 2, Now: s.now,
	}
	if s.app != "" {
		o.GroupsInclude = []string{"*"}
	}
	return okta.New(o)
}

func profile(p connectortest.Person) map[string]any {
	title := any(p.Title)
	if p.Title == "" {
		title = nil
	}
	return map[string]any{"login": p.UserName, "email": p.UserName, "firstName": p.GivenName, "lastName": p.FamilyName, "title": title}
}

func (s *source) AddPerson(p connectortest.Person) string {
	id := s.AddUser(profile(p))
	s.assign(id)
	return id
}

// assign assigns a person to the application.
func (s *source) assign(id string) {
	if s.app != "" {
		s.AssignUser(s.app, id, "")
	}
}

func (s *source) ChangePerson(id string, p connectortest.Person) {
	s.UpdateUser(id, profile(p))
	if s.disabled[id] != p.Disabled {
		s.disabled[id] = p.Disabled
		s.Restore(id)
	}
}

func (s *source) DeletePerson(id string) { s.DeleteUser(id) }

// SoftDelete deprovisions: whom Okta has deprovisioned it can activate again.
func (s *source) SoftDelete(id string) {
	if s.app != "" {
		s.UnassignUser(s.app, id)
	} else {
		s.SetStatus(id, "DEPROVISIONED")
	}
}

func (s *source) Restore(id string) {
	if s.disabled[id] {
		s.SetStatus(id, "SUSPENDED")
	} else {
		s.SetStatus(id, "ACTIVE")
	}
	s.assign(id)
}
