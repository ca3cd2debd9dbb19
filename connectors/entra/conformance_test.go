package entra_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/connectortest"
	"github.com/idpsync/idpsync/connectors/entra"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

// source is a fake tenant as the conformance suite knows it.
type source struct {
	*entratest.Tenant
	mu  sync.Mutex
	now time.Time
}

func newSource() connectortest.Source {
	s := &source{now: time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)}
	s.Tenant = &entratest.Tenant{DeltaPage: 3, DeltaLinks: 3, Now: s.clock, TokenLifetime: 100 * 24 * time.Hour, Uncompressed: true}
	return s
}

func (s *source) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *source) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *source) Connect(at connectortest.Address, scope connectortest.Scope) (connectors.Connector, error) {
	return entra.New(entra.Options{
		TenantID: entratest.DefaultTenantID, ClientID: entratest.DefaultClientID, ClientSecret: entratest.DefaultClientSecret, GraphURL: at.URL + "/v1.0",
		Authority: at.URL, RootCAs: at.RootCAs, GroupsExclude: scope.Exclude, RequireGroup: &scope.RequireGroup, PageSize: 3, Retries: 2,
		Backoff: time.Millisecond, Now: s.clock,
	})
}

func properties(p connectortest.Person) map[string]any {
	all := map[string]any{
		"userPrincipalName": p.UserName, "accountEnabled": !p.Disabled, "userType": "Member", "givenName": nil, "surname": nil, "jobTitle": nil,
	}
	for name, value := range map[string]string{"givenName": p.GivenName, "surname": p.FamilyName, "jobTitle": p.Title} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

func (s *source) AddPerson(p connectortest.Person) string { return s.AddUser(properties(p)) }

func (s *source) ChangePerson(id string, p connectortest.Person) { s.UpdateUser(id, properties(p)) }
func (s *source) DeletePerson(id string)                         { s.PurgeUser(id) }
func (s *source) AddGroup(name string) string                    { return s.Tenant.AddGroup(name) }
func (s *source) SoftDelete(id string)                           { s.DeleteUser(id) }
func (s *source) Restore(id string)                              { s.RestoreUser(id) }

func TestConformance(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, connectortest.Harness{
		New:           newSource,
		QuietRequests: 2,
		Secrets:       []string{entratest.DefaultClientSecret},
		Uncounted:     func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, "/v1.0/") },
	})
}
