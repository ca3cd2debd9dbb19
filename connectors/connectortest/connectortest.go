// Package connectortest is the conformance suite of connectors: what connectors.Connector promises, tried on a connector
// and a fake of its identity provider. A connector's own test file describes the two in a Harness and calls Run; the suite
// stands between them, so that it can break answers and count requests without the fake knowing.
//
//	func TestConformance(t *testing.T) {
//		t.Parallel()
//		connectortest.Run(t, connectortest.Harness{
//			New:           func() connectortest.Source { return &source{tenant: &acmetest.Tenant{}} },
//			QuietRequests: 2,
//			Secrets:       []string{acmetest.DefaultToken},
//		})
//	}
//
// The suite knows nothing of what a connector does with the directory that it is given: what is particular to a
// provider (its states, its filters, its limits) is tested beside the connector.
package connectortest

import (
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// Harness describes a connector to the suite. New is required.
type Harness struct {
	// New returns a source that has nobody in it. The suite asks for some hundreds of them.
	New func() Source

	// QuietRequests is how many requests Changes may cost when nothing changed. It is required unless NoChanges is set.
	QuietRequests int
	// NoChanges says that Changes yields ErrResync whatever it is given: the connector only knows full pulls.
	NoChanges bool

	// NoFaults leaves out what happens when answers go wrong, most of what the suite costs: another harness tries it with
	// the same connector.
	NoFaults bool

	// Secrets are what Connect gives the connector to prove itself with: none may appear in an error.
	Secrets []string
	// Uncounted tells which requests Requests leaves out, those for a token for example; nil for none.
	Uncounted func(*http.Request) bool
}

// Source is a fake identity provider whose directory can be changed, and what makes a connector of it. It answers as
// the provider does, over HTTP. All its methods are called by one goroutine at a time, but for ServeHTTP. An id that
// is passed in is of something that exists.
type Source interface {
	http.Handler

	// Connect returns a new connector. It asks for the smallest pages that it can, two or three items where the fake
	// lets it, so that a dozen people fill several; its first wait between tries is a millisecond and it tries two or
	// three times, so that what lasts is soon given up; and its clock is the source's.
	Connect(at Address, scope Scope) (connectors.Connector, error)
	// Advance moves the clock of the source, and of its connectors.
	Advance(d time.Duration)

	AddPerson(p Person) (id string)
	// ChangePerson makes a person the one given: the user name, the other attributes and whether they are disabled.
	ChangePerson(id string, p Person)
	// DeletePerson deletes a person for good, with the memberships. Somebody else may have the user name afterwards.
	DeletePerson(id string)

	AddGroup(name string) (id string)
	RenameGroup(id, name string)
	DeleteGroup(id string)
	AddMember(groupID, personID string)
	RemoveMember(groupID, personID string)
}

// SoftDeleter is a Source that can delete a person so that they can come back, with the id and the memberships that
// they had. While away the person may be left out, or be stated as somebody who has no access any more.
type SoftDeleter interface {
	SoftDelete(personID string)
	Restore(personID string)
}

// Person is what the suite knows of somebody. Names are plain words, the user name is an e-mail address.
type Person struct {
	UserName   string
	GivenName  string
	FamilyName string
	Title      string // "" for none: cleared where there was one
	Disabled   bool   // known to the source and not let in: stated as identity.StatusInactive
}

// Scope is what a connector is told to pull; the zero Scope is the whole directory.
type Scope struct {
	Exclude      []string // globs over the display names of groups that are left out
	RequireGroup bool     // leave out people who are a member of no group in scope
}

// Address is where the suite serves a source, over TLS.
type Address struct {
	URL     string         // https://127.0.0.1:port
	RootCAs *x509.CertPool // that its certificate is trusted by
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	switch {
	case h.New == nil:
		t.Fatal("connectortest: Harness.New is required")
	case h.QuietRequests == 0 && !h.NoChanges:
		t.Fatal("connectortest: Harness.QuietRequests is required, or NoChanges")
	}
	for _, subject := range []struct {
		name  string
		cases []namedCase
	}{
		{"a full pull", fullCases},
		{"changes", changeCases},
		{"a person", personCases},
		{"a group", groupCases},
		{"stopping", stopCases},
		{"a check", checkCases},
		{"sequences of changes", randomCases},
	} {
		t.Run(subject.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range subject.cases {
				if h.NoChanges && c.changes {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, h)
				})
			}
		})
	}
}

type namedCase struct {
	name    string
	changes bool // needs a connector that can tell changes
	run     func(*testing.T, Harness)
}
