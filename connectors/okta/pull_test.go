package okta_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/identity"
)

// serve starts the tenant and returns options of a connector for it, quick to try again.
func serve(t testing.TB, tenant *oktatest.Tenant) okta.Options {
	t.Helper()
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	return okta.Options{URL: server.URL, APIToken: oktatest.DefaultToken, RootCAs: server.CAPool(), Backoff: time.Millisecond, MaxWait: 20 * time.Second}
}

func connect(t testing.TB, o okta.Options) *okta.Connector {
	t.Helper()
	c, err := okta.New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

// stated is what a pull came to.
type stated struct {
	Users    map[string]identity.Record
	Groups   map[string]string              // name by id
	Members  map[string][]string            // by group, in order of ids
	Last     map[string]bool                // groups listed to their end
	Complete map[connectors.Phase]bool      //
	Seen     map[connectors.Phase]int       // items, repeated ones included
	Err      error                          //
	Pages    int                            //
	After    map[connectors.Phase]int       // pages that came after the complete one
	ReadAt   map[connectors.Phase]time.Time // of the first item
}

func collect(pages iter.Seq2[connectors.Page, error]) stated {
	s := stated{
		Users: map[string]identity.Record{}, Groups: map[string]string{}, Members: map[string][]string{}, Last: map[string]bool{},
		Complete: map[connectors.Phase]bool{}, Seen: map[connectors.Phase]int{}, After: map[connectors.Phase]int{}, ReadAt: map[connectors.Phase]time.Time{},
	}
	for page, err := range pages {
		if err != nil {
			s.Err = err
			continue
		}
		s.Pages++
		if s.Complete[page.Phase] {
			s.After[page.Phase]++
		}
		for _, r := range page.Records {
			s.Users[r.SourceID] = r
			s.Seen[connectors.PhaseUsers]++
			s.ReadAt[connectors.PhaseUsers] = r.ReadAt
		}
		for _, g := range page.Groups {
			s.Groups[g.SourceID] = g.DisplayName
			s.Seen[connectors.PhaseGroups]++
		}
		for _, m := range page.Members {
			s.Members[m.GroupID] = append(s.Members[m.GroupID], m.UserIDs...)
			s.Seen[connectors.PhaseMembers] += len(m.UserIDs)
			s.Last[m.GroupID] = s.Last[m.GroupID] || m.Last
		}
		s.Complete[page.Phase] = s.Complete[page.Phase] || page.Complete
	}
	for _, ids := range s.Members {
		slices.Sort(ids)
	}
	return s
}

var everyPhase = map[connectors.Phase]bool{connectors.PhaseUsers: true, connectors.PhaseGroups: true, connectors.PhaseMembers: true}

// wantAll compares a pull of the whole directory with the tenant.
func wantAll(t *testing.T, s stated, tenant *oktatest.Tenant) {
	t.Helper()
	if s.Err != nil {
		t.Fatalf("Full: %v", s.Err)
	}
	if diff := cmp.Diff(everyPhase, s.Complete); diff != "" {
		t.Errorf("complete phases (-want +got):\n%s", diff)
	}
	var want []string
	for _, u := range tenant.Users() {
		if u.Status != "DEPROVISIONED" {
			want = append(want, u.ID)
		}
	}
	if diff := cmp.Diff(want, sortedKeys(s.Users)); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	groups, members := map[string]string{}, map[string][]string{}
	count := 0
	for _, g := range tenant.Groups() {
		groups[g.ID], members[g.ID] = g.Name, g.Members
		count += len(g.Members)
		if !s.Last[g.ID] {
			t.Errorf("group %s was not listed to its end", g.ID)
		}
	}
	if diff := cmp.Diff(groups, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(members, s.Members, equateEmpty); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	seen := map[connectors.Phase]int{connectors.PhaseUsers: len(want), connectors.PhaseGroups: len(groups), connectors.PhaseMembers: count}
	if diff := cmp.Diff(seen, s.Seen); diff != "" {
		t.Errorf("items, each stated once (-want +got):\n%s", diff)
	}
	if len(s.After) > 0 {
		t.Errorf("pages after the complete one: %v", s.After)
	}
}

var equateEmpty = cmp.Transformer("ids", func(ids []string) string { return strings.Join(ids, " ") })

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestFullStatesTheWholeDirectoryWithTheFewestRequests(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 1}
	tenant.Fill(5000, 40, 15000)
	c := connect(t, serve(t, tenant))
	wantAll(t, collect(c.Full(t.Context(), "")), tenant)
	if got := c.Requests(); got != 66 {
		t.Errorf("Requests() = %d, want 66 (25 pages of users, 1 of groups, 40 of members)", got)
	}
	if got := tenant.Requests(""); got != 66 {
		t.Errorf("the tenant got %d requests, want 66: %v", got, tenant.Counts())
	}
}

var (
	_ = context.Background
	_ = errors.New
	_ = fmt.Sprint
)
