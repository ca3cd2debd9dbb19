package entra_test

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
	"github.com/idpsync/idpsync/store/identity"
)

// serve starts the tenant and returns options of a connector for it, quick to try again.
func serve(t testing.TB, tenant *entratest.Tenant) entra.Options {
	t.Helper()
	server := tenant.StartTLS()
	t.Cleanup(server.Close)
	return entra.Options{
		TenantID: entratest.DefaultTenantID, ClientID: entratest.DefaultClientID, ClientSecret: entratest.DefaultClientSecret, GraphURL: server.GraphURL(),
		Authority: server.Authority(), RootCAs: server.CAPool(), Backoff: time.Millisecond, MaxWait: 20 * time.Second,
	}
}

func connect(t testing.TB, o entra.Options) *entra.Connector {
	t.Helper()
	c, err := entra.New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

// stated is what a pull came to.
type stated struct {
	Users      map[string]identity.Record
	Groups     map[string]string            // name by id
	Gone       []string                     // groups
	Members    map[string][]string          // by group, in order of ids
	Removed    map[string][]string          // by group, in order of ids
	Delta      map[string]bool              // groups of which changes were stated
	Last       map[string]bool              // groups listed to their end
	Complete   map[connectors.Phase]bool    //
	Seen       map[connectors.Phase]int     // items, repeated ones included
	Err        error                        //
	Pages      int                          //
	After      map[connectors.Phase]int     // pages that came after the complete one
	Order      []connectors.Phase           // of first pages
	Checkpoint string                       //
	Doubtful   []string                     //
	Unscoped   map[string]bool              // people
	All        map[string][]identity.Record // every record of a person, in order
}

func collect(pages iter.Seq2[connectors.Page, error]) stated {
	s := stated{
		Users: map[string]identity.Record{}, Groups: map[string]string{}, Members: map[string][]string{}, Removed: map[string][]string{}, Delta: map[string]bool{},
		Last: map[string]bool{}, Complete: map[connectors.Phase]bool{}, After: map[connectors.Phase]int{}, Unscoped: map[string]bool{}, All: map[string][]identity.Record{},
		Seen: map[connectors.Phase]int{connectors.PhaseUsers: 0, connectors.PhaseGroups: 0, connectors.PhaseMembers: 0},
	}
	for page, err := range pages {
		if err != nil {
			s.Err = err
			continue
		}
		s.Pages++
		if s.Complete[page.Phase] || s.Checkpoint != "" {
			s.After[page.Phase]++
		}
		if !slices.Contains(s.Order, page.Phase) && len(page.Records)+len(page.Groups)+len(page.Members) > 0 {
			s.Order = append(s.Order, page.Phase)
		}
		for _, r := range page.Records {
			s.Users[r.SourceID] = r
			s.All[r.SourceID] = append(s.All[r.SourceID], r)
			s.Seen[connectors.PhaseUsers]++
			s.Unscoped[r.SourceID] = page.Unscoped
		}
		for _, g := range page.Groups {
			if g.Gone {
				s.Gone = append(s.Gone, g.SourceID)
				continue
			}
			s.Groups[g.SourceID] = g.DisplayName
			s.Seen[connectors.PhaseGroups]++
		}
		for _, m := range page.Members {
			s.Members[m.GroupID] = append(s.Members[m.GroupID], m.UserIDs...)
			s.Removed[m.GroupID] = append(s.Removed[m.GroupID], m.Removed...)
			s.Seen[connectors.PhaseMembers] += len(m.UserIDs)
			s.Last[m.GroupID] = s.Last[m.GroupID] || m.Last
			s.Delta[m.GroupID] = s.Delta[m.GroupID] || m.Delta
		}
		s.Doubtful = append(s.Doubtful, page.Doubtful...)
		s.Complete[page.Phase] = s.Complete[page.Phase] || page.Complete
		s.Checkpoint = cmp.Or(s.Checkpoint, page.Checkpoint)
	}
	for _, lists := range []map[string][]string{s.Members, s.Removed} {
		for _, ids := range lists {
			slices.Sort(ids)
		}
	}
	slices.Sort(s.Doubtful)
	slices.Sort(s.Gone)
	return s
}

var everyPhase = map[connectors.Phase]bool{connectors.PhaseUsers: true, connectors.PhaseGroups: true, connectors.PhaseMembers: true}

// closures returns, by the tenant's own word, who is in each group at any depth, those left out whom keep leaves out.
func closures(tenant *entratest.Tenant, keep func(entratest.User) bool) map[string][]string {
	people, groups := map[string]bool{}, map[string]entratest.Group{}
	for _, u := range tenant.Users() {
		people[u.ID] = u.State == entratest.Present && keep(u)
	}
	for _, g := range tenant.Groups() {
		if g.State == entratest.Present {
			groups[g.ID] = g
		}
	}
	all := map[string][]string{}
	for id := range groups {
		seen, members := map[string]bool{}, map[string]bool{}
		var walk func(string)
		walk = func(id string) {
			if seen[id] {
				return
			}
			seen[id] = true
			for _, m := range groups[id].Members {
				if people[m] {
					members[m] = true
				} else if _, group := groups[m]; group {
					walk(m)
				}
			}
		}
		walk(id)
		all[id] = slices.Sorted(maps.Keys(members))
	}
	return all
}

func notGuest(u entratest.User) bool { return u.Properties["userType"] != "Guest" }

// wantAll compares a pull of the whole directory, without guests, with the tenant.
func wantAll(t *testing.T, s stated, tenant *entratest.Tenant) {
	t.Helper()
	if s.Err != nil {
		t.Fatalf("Full: %v", s.Err)
	}
	if diff := gocmp.Diff(everyPhase, s.Complete); diff != "" {
		t.Errorf("complete phases (-want +got):\n%s", diff)
	}
	var want []string
	for _, u := range tenant.Users() {
		if u.State == entratest.Present && notGuest(u) {
			want = append(want, u.ID)
		}
	}
	slices.Sort(want)
	if diff := gocmp.Diff(want, sortedKeys(s.Users)); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	groups, members := map[string]string{}, closures(tenant, notGuest)
	for _, g := range tenant.Groups() {
		if g.State == entratest.Present {
			groups[g.ID] = g.Name
			if !s.Last[g.ID] {
				t.Errorf("group %s was not listed to its end", g.ID)
			}
		}
	}
	if diff := gocmp.Diff(groups, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(members, s.Members, equateEmpty); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if len(s.After) > 0 {
		t.Errorf("pages after the complete one: %v", s.After)
	}
	if s.Checkpoint == "" {
		t.Error("no checkpoint, though everything was read")
	}
}

var equateEmpty = gocmp.Transformer("ids", func(ids []string) string { return strings.Join(ids, " ") })

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func TestFullStatesTheWholeDirectoryWithTheFewestRequests(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 1}
	tenant.Fill(5000, 40, 15000)
	c := connect(t, serve(t, tenant))
	s := collect(c.Full(t.Context(), ""))
	wantAll(t, s, tenant)
	if s.Seen[connectors.PhaseMembers] != 15000 {
		t.Errorf("%d memberships, want 15000", s.Seen[connectors.PhaseMembers])
	}
	// 200 people on a page, 500 memberships on a page.
	if got := c.Requests(); got != 25+30 {
		t.Errorf("Requests() = %d, want 55: %v", got, c.Counts())
	}
	if got := tenant.Requests(entratest.ListMembers) + tenant.Requests(entratest.GetGroup) + tenant.Requests(entratest.GetUser); got != 0 {
		t.Errorf("%d requests for single groups and people", got)
	}
	if got := tenant.Requests(entratest.PostToken); got != 1 {
		t.Errorf("%d requests for tokens", got)
	}
	before := c.Requests()
	n := collect(c.Changes(t.Context(), s.Checkpoint))
	if n.Err != nil || n.Checkpoint == "" || n.Pages != 1 || len(n.Complete) > 0 && n.Complete[connectors.PhaseMembers] {
		t.Errorf("Changes, nothing changed = %v, %d pages, checkpoint %q", n.Err, n.Pages, n.Checkpoint)
	}
	if got := c.Requests() - before; got != 2 {
		t.Errorf("%d requests where nothing changed, want 2", got)
	}
}
