package entra_test

import (
	"errors"
	"fmt"
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

// began is a tenant that was pulled in full once.
type began struct {
	*entratest.Tenant
	c          *entra.Connector
	checkpoint string
	people     []entratest.User
	groups     []entratest.Group
}

// begin fills a tenant, lets prepare change it and the options, and pulls it.
func begin(t *testing.T, prepare func(*entratest.Tenant, *entra.Options)) *began {
	t.Helper()
	tenant := &entratest.Tenant{Seed: 3, DeltaPage: 20, DeltaLinks: 30}
	tenant.Fill(60, 6, 90)
	o := serve(t, tenant)
	if prepare != nil {
		prepare(tenant, &o)
	}
	b := &began{Tenant: tenant, c: connect(t, o), people: tenant.Users(), groups: tenant.Groups()}
	s := collect(b.c.Full(t.Context(), ""))
	if s.Err != nil || s.Checkpoint == "" {
		t.Fatalf("Full: %v, checkpoint %q", s.Err, s.Checkpoint)
	}
	b.checkpoint = s.Checkpoint
	return b
}

// changes pulls the changes, and goes on from the new checkpoint next time.
func (b *began) changes(t *testing.T) stated {
	t.Helper()
	s := collect(b.c.Changes(t.Context(), b.checkpoint))
	if s.Err != nil || s.Checkpoint == "" {
		t.Fatalf("Changes: %v, checkpoint %q", s.Err, s.Checkpoint)
	}
	for phase, complete := range s.Complete {
		if complete {
			t.Errorf("phase %s is complete: changes never are", phase)
		}
	}
	b.checkpoint = s.Checkpoint
	return s
}

// nothing wants a pull that states nothing, with two requests.
func (b *began) nothing(t *testing.T) {
	t.Helper()
	before := b.c.Requests()
	s := b.changes(t)
	if len(s.Users)+len(s.Groups)+len(s.Members)+len(s.Gone)+len(s.Doubtful) > 0 || b.c.Requests()-before > 2 {
		t.Errorf("changes after all were read: users %v, groups %v, gone %v, members %v, doubtful %v in %d requests", s.Users, s.Groups, s.Gone, s.Members, s.Doubtful, b.c.Requests()-before)
	}
}

// value returns what the record states at a path; stated is false where it states nothing.
func value(r identity.Record, path string) (v any, stated bool) {
	for _, s := range r.Attributes {
		if s.Path.String() == path {
			return s.Value, true
		}
	}
	return nil, false
}

func TestChangesWithOneProfileAndOneMembershipChanged(t *testing.T) {
	t.Parallel()
	tenant := &entratest.Tenant{Seed: 1}
	tenant.Fill(5000, 40, 15000)
	c := connect(t, serve(t, tenant))
	full := collect(c.Full(t.Context(), ""))
	people, g := tenant.Users(), tenant.Groups()[5]
	u := people[slices.IndexFunc(people, func(u entratest.User) bool { return u.Properties["mobilePhone"] != nil })]
	tenant.UpdateUser(u.ID, map[string]any{"jobTitle": "Head of Something", "mobilePhone": nil})
	joiner := tenant.AddUser(map[string]any{"userPrincipalName": "new@acme.test", "displayName": "New", "userType": "Member", "accountEnabled": true})
	tenant.AddMember(g.ID, joiner)
	tenant.RemoveMember(g.ID, g.Members[0])
	before := c.Requests()
	s := collect(c.Changes(t.Context(), full.Checkpoint))
	if s.Err != nil || s.Checkpoint == "" {
		t.Fatalf("Changes = %v, checkpoint %q", s.Err, s.Checkpoint)
	}
	if got := c.Requests() - before; got != 2 {
		t.Errorf("%d requests, want 2: %v", got, c.Counts())
	}
	if diff := gocmp.Diff([]string{u.ID, joiner}, inOrder(sortedKeys(s.Users), u.ID, joiner)); diff != "" {
		t.Errorf("people (-want +got):\n%s", diff)
	}
	if v, told := value(s.Users[u.ID], "title"); v != "Head of Something" || !told {
		t.Errorf("title = %v, %t", v, told)
	}
	if v, told := value(s.Users[u.ID], `phoneNumbers[type eq "mobile"].value`); v != nil || !told {
		t.Errorf("mobile phone = %v, %t, want it cleared", v, told)
	}
	if diff := gocmp.Diff(map[string][]string{g.ID: {joiner}}, s.Members); diff != "" {
		t.Errorf("who came (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(map[string][]string{g.ID: {g.Members[0]}}, s.Removed); diff != "" {
		t.Errorf("who left (-want +got):\n%s", diff)
	}
	if s.Last[g.ID] || !s.Delta[g.ID] || len(s.Doubtful)+len(s.Gone) > 0 {
		t.Errorf("last %v, delta %v, doubtful %v, gone %v", s.Last, s.Delta, s.Doubtful, s.Gone)
	}
	if s := collect(c.Changes(t.Context(), s.Checkpoint)); s.Err != nil || len(s.Users)+len(s.Members) > 0 {
		t.Errorf("once more: %v, users %v", s.Err, s.Users)
	}
}

// inOrder returns got in the order of want, if it has the same elements.
func inOrder(got []string, want ...string) []string {
	sorted := slices.Sorted(slices.Values(want))
	if slices.Equal(got, sorted) {
		return want
	}
	return got
}

// A person of whom changes were stated, one after the other, is who a read by id says.
func TestChangesAddUpToWhatIsThere(t *testing.T) {
	t.Parallel()
	steps := map[string]func(*began, string){
		"a new name": func(b *began, id string) {
			b.UpdateUser(id, map[string]any{"surname": "New", "displayName": "Some New"})
		},
		"a new login": func(b *began, id string) {
			b.UpdateUser(id, map[string]any{"userPrincipalName": "new.login@acme.test"})
		},
		"a new address":   func(b *began, id string) { b.UpdateUser(id, map[string]any{"mail": "new.address@acme.test"}) },
		"no address":      func(b *began, id string) { b.UpdateUser(id, map[string]any{"mail": nil}) },
		"other addresses": func(b *began, id string) { b.UpdateUser(id, map[string]any{"otherMails": []string{"home@other.test"}}) },
		"proxies": func(b *began, id string) {
			b.UpdateUser(id, map[string]any{"proxyAddresses": []string{"smtp:z@a.test", "SMTP:y@a.test", "smtp:b@a.test"}})
		},
		"disabled": func(b *began, id string) { b.UpdateUser(id, map[string]any{"accountEnabled": false}) },
		"cleared": func(b *began, id string) {
			b.UpdateUser(id, map[string]any{"jobTitle": nil, "department": nil, "employeeOrgData": nil, "companyName": nil})
		},
		"a manager": func(b *began, id string) { b.UpdateUser(id, map[string]any{"manager": b.people[51].ID}) },
		"phones":    func(b *began, id string) { b.UpdateUser(id, map[string]any{"businessPhones": []string{"1", "2"}}) },
		"no phones": func(b *began, id string) {
			b.UpdateUser(id, map[string]any{"businessPhones": []string{}, "faxNumber": "1", "surname": "Nophone"})
		},
		"an organization": func(b *began, id string) {
			b.UpdateUser(id, map[string]any{"employeeOrgData": map[string]any{"division": "D", "costCenter": nil}})
		},
		"disabled, enabled": func(b *began, id string) {
			b.UpdateUser(id, map[string]any{"accountEnabled": false})
			b.UpdateUser(id, map[string]any{"accountEnabled": true})
		},
	}
	b := begin(t, nil)
	ids := map[string]string{}
	for i, name := range sortedKeys(steps) {
		ids[name] = b.people[10+i].ID
		steps[name](b, ids[name])
	}
	s := b.changes(t)
	for name := range steps {
		t.Run(name, func(t *testing.T) {
			id := ids[name]
			want, err := b.c.User(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(s.Doubtful, id) {
				return // is read by id
			}
			if len(s.All[id]) == 0 {
				t.Fatal("nothing is stated")
			}
			held := identity.User{UserName: "before", Attributes: identity.Attributes{}}
			whole := want
			for _, r := range s.All[id] {
				apply(&held, r)
				if r.Status != "" && r.Status != want.Status {
					t.Errorf("status = %q, want %q", r.Status, want.Status)
				}
			}
			if held.UserName != want.UserName {
				t.Errorf("user name = %q, want %q", held.UserName, want.UserName)
			}
			for _, stated := range whole.Attributes {
				if got, told := value(s.All[id][0], stated.Path.String()); told && got != stated.Value {
					t.Errorf("%s = %v, want %v", stated.Path, got, stated.Value)
				}
			}
		})
	}
	if len(s.Doubtful) > 0 {
		t.Errorf("%d of %d are to be read by id, though each change tells all that there is", len(s.Doubtful), len(steps))
	}
	b.nothing(t)
}

func apply(u *identity.User, r identity.Record) {
	if r.UserName != "" {
		u.UserName = r.UserName
	}
	for _, s := range r.Attributes {
		u.Attributes.Set(s.Path, s.Value)
	}
}

func TestChangesOfPeopleThatOnlyAReadByIDTells(t *testing.T) {
	t.Parallel()
	b := begin(t, nil)
	deleted, purged, back, guest := b.people[0].ID, b.people[1].ID, b.people[2].ID, b.AddGuest("someone@else.test")
	b.DeleteUser(deleted)
	b.DeleteUser(purged)
	b.PurgeUser(purged)
	b.DeleteUser(back)
	b.RestoreUser(back)
	s := b.changes(t)
	want := slices.Sorted(slices.Values([]string{deleted, purged, guest}))
	if diff := gocmp.Diff(want, slices.DeleteFunc(slices.Clone(s.Doubtful), func(id string) bool { return id == back })); diff != "" {
		t.Errorf("doubtful (-want +got):\n%s", diff)
	}
	for _, id := range []string{deleted, purged, guest} {
		if _, told := s.Users[id]; told {
			t.Errorf("%s is stated", id)
		}
		if _, err := b.c.User(t.Context(), id); !errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("User(%s) = %v, want ErrNotFound", id, err)
		}
	}
	if r, err := b.c.User(t.Context(), back); err != nil || r.Status != identity.StatusActive {
		t.Errorf("User(restored) = %v, %v", r, err)
	}
	b.nothing(t)
	b.RestoreUser(deleted)
	if s := b.changes(t); s.Users[deleted].Status != identity.StatusActive {
		t.Errorf("restored: %+v, doubtful %v", s.Users[deleted], s.Doubtful)
	}
	for _, r := range s.All {
		for _, r := range r {
			if r.Status == identity.StatusGone {
				t.Errorf("%s is said to be gone", r.SourceID)
			}
		}
	}
}

func TestChangesOfGroups(t *testing.T) {
	t.Parallel()
	b := begin(t, nil)
	renamed, deleted := b.groups[0], b.groups[1]
	b.RenameGroup(renamed.ID, "Other Name")
	b.DeleteGroup(deleted.ID)
	made := b.AddGroup("Made")
	b.AddMember(made, b.people[0].ID)
	s := b.changes(t)
	if diff := gocmp.Diff(map[string]string{renamed.ID: "Other Name", made: "Made"}, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if !slices.Equal(s.Gone, []string{deleted.ID}) {
		t.Errorf("gone = %v, want %s", s.Gone, deleted.ID)
	}
	if diff := gocmp.Diff(map[string][]string{made: {b.people[0].ID}}, s.Members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	b.nothing(t)
}

// Names that leave and enter the scope of globs.
func TestChangesOfGroupsWithGlobs(t *testing.T) {
	t.Parallel()
	var inside, outside string
	b := begin(t, func(tenant *entratest.Tenant, o *entra.Options) {
		inside, outside = tenant.AddGroup("app-one"), tenant.AddGroup("other")
		for _, g := range []string{inside, outside} {
			tenant.AddMember(g, tenant.Users()[0].ID)
		}
		o.GroupsInclude = []string{"APP-*"}
	})
	b.RenameGroup(inside, "no more")
	b.RenameGroup(outside, "app-two")
	b.AddMember(b.groups[0].ID, b.people[40].ID) // of no interest
	s := b.changes(t)
	if diff := gocmp.Diff(map[string]string{outside: "app-two"}, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if !slices.Contains(s.Gone, inside) || slices.Contains(s.Gone, outside) {
		t.Errorf("gone = %v, want %s", s.Gone, inside)
	}
	if len(s.Members) > 0 {
		t.Errorf("members of %v are stated", s.Members)
	}
	if m := collect(b.c.Group(t.Context(), outside)); m.Err != nil || len(m.Members[outside]) != 1 || !m.Last[outside] {
		t.Errorf("Group = %v, %v", m.Err, m.Members)
	}
	if m := collect(b.c.Group(t.Context(), inside)); !errors.Is(m.Err, connectors.ErrNotFound) {
		t.Errorf("Group(out of scope) = %v, want ErrNotFound", m.Err)
	}
	if _, unscoped := s.Users[b.people[0].ID]; unscoped {
		t.Error("a person is stated who did not change")
	}
	b.UpdateUser(b.people[0].ID, map[string]any{"city": "Bergen"})
	if s := b.changes(t); !s.Unscoped[b.people[0].ID] {
		t.Error("whether the person is in scope was not looked at, and the page does not say so")
	}
}

// Groups in groups: after each step the closures that were stated, with what changes said, are what is there.
func TestChangesOfNestedGroups(t *testing.T) {
	t.Parallel()
	for name, leaving := range map[string]entratest.Leaving{"members leave when purged": entratest.LeaveWhenPurged, "never": entratest.LeaveNever, "when deleted": entratest.LeaveWhenDeleted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nestedGroups(t, leaving)
		})
	}
}

func nestedGroups(t *testing.T, leaving entratest.Leaving) {
	var top, middle, low string
	b := begin(t, func(tenant *entratest.Tenant, _ *entra.Options) {
		tenant.Leaving = leaving
		top, middle, low = tenant.AddGroup("top"), tenant.AddGroup("middle", map[string]any{"groupTypes": []string{"Unified"}}), tenant.AddGroup("low")
		tenant.AddMember(top, middle)
		tenant.AddMember(middle, low)
		for i, g := range []string{top, middle, low, low} {
			tenant.AddMember(g, tenant.Users()[i].ID)
		}
		tenant.AddMember(top, tenant.Users()[3].ID)
		tenant.AddMember(low, tenant.AddDevice("a device"))
		tenant.AddMember(low, tenant.AddGuest("guest@else.test"))
	})
	held := collect(b.c.Full(t.Context(), "")).Members
	steps := []struct {
		name string
		do   func()
		most int64 // requests
	}{
		{"somebody joins below", func() { b.AddMember(low, b.people[20].ID) }, 2},
		{"somebody leaves below", func() { b.RemoveMember(low, b.people[2].ID) }, 2 + 3},
		{"somebody leaves below and stays above", func() { b.RemoveMember(low, b.people[3].ID) }, 2 + 3},
		{"somebody leaves above", func() { b.RemoveMember(top, b.people[3].ID) }, 2 + 3},
		{"the nest is cut", func() { b.RemoveMember(middle, low) }, 2 + 2},
		{"and made anew, the other way round", func() { b.AddMember(low, top) }, 2 + 3},
		{"and becomes a cycle", func() { b.AddMember(middle, low) }, 2 + 3},
		{"in which somebody leaves", func() { b.RemoveMember(top, b.people[0].ID) }, 2 + 3},
		{"and somebody joins", func() { b.AddMember(middle, b.people[30].ID) }, 2},
		{"a group in it is deleted", func() { b.DeleteGroup(middle) }, 2 + 2},
		{"and restored", func() { b.RestoreGroup(middle) }, 2 + 3},
		{"somebody leaves and comes back", func() { b.RemoveMember(low, b.people[20].ID); b.AddMember(low, b.people[20].ID) }, 2 + 3},
		{"a group becomes its own member", func() { b.AddMember(b.groups[0].ID, b.groups[0].ID) }, 2 + 1},
	}
	for _, step := range steps {
		step.do()
		before := b.c.Requests()
		s := b.changes(t)
		for _, id := range s.Gone {
			delete(held, id)
		}
		for id := range s.Groups {
			if held[id] == nil { // the receiver reads a group of which it knows nothing
				held[id] = collect(b.c.Group(t.Context(), id)).Members[id]
			}
		}
		for id, came := range s.Members {
			if s.Last[id] {
				held[id] = came
				continue
			}
			held[id] = slices.DeleteFunc(slices.Concat(held[id], came), func(u string) bool { return slices.Contains(s.Removed[id], u) })
			slices.Sort(held[id])
			held[id] = slices.Compact(held[id])
		}
		want := closures(b.Tenant, notGuest)
		if diff := gocmp.Diff(want, held, equateEmpty); diff != "" {
			t.Fatalf("%s: members (-want +got):\n%s", step.name, diff)
		}
		if got := b.c.Requests() - before; got > step.most && len(s.Groups) == 0 {
			t.Errorf("%s: %d requests, want at most %d: %v", step.name, got, step.most, b.Counts())
		}
	}
	b.nothing(t)
}

// What Graph answers to a delta link that it does not know any more.
func TestExpiredDeltaLinksAskForAFullPull(t *testing.T) {
	t.Parallel()
	for _, kind := range []entratest.FaultKind{
		entratest.SyncStateNotFound, entratest.SyncStateGone, entratest.SyncStateMissing, entratest.ResyncRequired, entratest.ResetDelta, entratest.ExpiredPageToken,
		entratest.BadRequest, entratest.NotFound, entratest.EmptyCode,
	} {
		for _, endpoint := range []string{entratest.UsersDelta, entratest.GroupsDelta} {
			t.Run(fmt.Sprintf("%s/%s", endpoint, kind), func(t *testing.T) {
				t.Parallel()
				b := begin(t, nil)
				b.UpdateUser(b.people[0].ID, map[string]any{"city": "Bergen"})
				b.Inject(entratest.Fault{Kind: kind, Endpoint: endpoint})
				s := collect(b.c.Changes(t.Context(), b.checkpoint))
				if !errors.Is(s.Err, connectors.ErrResync) || s.Pages > 0 {
					t.Errorf("Changes = %v after %d pages, want ErrResync", s.Err, s.Pages)
				}
			})
		}
	}
	t.Run("for good", func(t *testing.T) {
		t.Parallel()
		b := begin(t, nil)
		b.ExpireDeltas()
		b.UpdateUser(b.people[0].ID, map[string]any{"city": "Bergen"})
		if s := collect(b.c.Changes(t.Context(), b.checkpoint)); !errors.Is(s.Err, connectors.ErrResync) || s.Pages > 0 {
			t.Errorf("Changes = %v after %d pages, want ErrResync", s.Err, s.Pages)
		}
		s := collect(b.c.Full(t.Context(), ""))
		wantAll(t, s, b.Tenant)
		b.checkpoint = s.Checkpoint
		b.nothing(t)
	})
	t.Run("behind the first page", func(t *testing.T) {
		t.Parallel()
		b := begin(t, nil)
		for i := range 30 {
			b.UpdateUser(b.people[i].ID, map[string]any{"city": "Bergen"})
		}
		b.Inject(entratest.Fault{Kind: entratest.ExpiredPageToken, Endpoint: entratest.UsersDelta, Nth: 2})
		s := collect(b.c.Changes(t.Context(), b.checkpoint))
		var e *connectors.IncompleteError
		if errors.Is(s.Err, connectors.ErrResync) || !errors.As(s.Err, &e) || s.Checkpoint != "" {
			t.Errorf("Changes = %v, checkpoint %q", s.Err, s.Checkpoint)
		}
		if s := b.changes(t); len(s.Users) != 30 {
			t.Errorf("once more: %d people", len(s.Users))
		}
	})
}

// Whatever else goes wrong, nothing is lost: the next pull goes on from the same checkpoint.
func TestChangesThatFailAreReadAgain(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds() {
		outcome := faults[kind]
		for _, endpoint := range []string{entratest.UsersDelta, entratest.GroupsDelta} {
			t.Run(fmt.Sprintf("%s/%s", endpoint, kind), func(t *testing.T) {
				t.Parallel()
				b := begin(t, nil)
				for i := range 30 {
					b.UpdateUser(b.people[i].ID, map[string]any{"city": "Bergen"})
				}
				b.AddMember(b.groups[0].ID, b.people[59].ID)
				b.Inject(entratest.Fault{Kind: kind, Endpoint: endpoint, Delay: 5 * time.Millisecond})
				s := collect(b.c.Changes(t.Context(), b.checkpoint))
				switch {
				case errors.Is(s.Err, connectors.ErrResync):
					if s.Pages > 0 {
						t.Errorf("%d pages before ErrResync", s.Pages)
					}
				case outcome == incomplete && kind != entratest.MalformedNext && kind != entratest.ForeignNext && kind != entratest.PlainNext && kind != entratest.NextToStart && kind != entratest.RepeatCursor:
					var e *connectors.IncompleteError
					if !errors.As(s.Err, &e) || s.Checkpoint != "" {
						t.Errorf("Changes = %v, checkpoint %q", s.Err, s.Checkpoint)
					}
				case s.Err == nil && (len(s.Users) != 30 || len(s.Members) != 1):
					t.Errorf("%d people and %d groups, and no error", len(s.Users), len(s.Members))
				}
				if len(s.Gone)+len(s.Doubtful) > 0 {
					t.Errorf("gone %v, doubtful %v", s.Gone, s.Doubtful)
				}
				b.Behave()
				if s := b.changes(t); len(s.Users) != 30 || len(s.Members) != 1 {
					t.Errorf("once more: %d people and %d groups", len(s.Users), len(s.Members))
				}
			})
		}
	}
}

func TestCheckpointsThatCannotBeContinued(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	b := begin(t, func(tenant *entratest.Tenant, _ *entra.Options) { tenant.Now = func() time.Time { return now } })
	resync := func(name string, c *entra.Connector, checkpoint string) {
		t.Helper()
		if s := collect(c.Changes(t.Context(), checkpoint)); !errors.Is(s.Err, connectors.ErrResync) || s.Pages > 0 {
			t.Errorf("%s: Changes = %v after %d pages, want ErrResync", name, s.Err, s.Pages)
		}
	}
	if at := connectors.CheckpointTime(b.checkpoint); !at.Equal(start) {
		t.Errorf("the checkpoint is of %s, want Graph's time %s", at, start)
	}
	resync("none", b.c, "")
	resync("of somebody else", b.c, connectors.Checkpoint{Connector: "okta"}.String())
	resync("to another host", b.c, strings.ReplaceAll(b.checkpoint, "https://127.0.0.1", "https://attacker.test"))
	resync("without links", b.c, connectors.Checkpoint{Connector: "entra", State: []byte(`{}`)}.String())
	o := serve(t, b.Tenant)
	for name, change := range map[string]func(*entra.Options){
		"guests":       func(o *entra.Options) { o.Guests = true },
		"globs":        func(o *entra.Options) { o.GroupsExclude = []string{"x"} },
		"the tenant":   func(o *entra.Options) { o.TenantID = "acme.test" },
		"requirement":  func(o *entra.Options) { o.RequireGroup = new(true) },
		"an app":       func(o *entra.Options) { o.ServicePrincipalID = b.groups[0].ID },
		"another name": func(o *entra.Options) { o.Name = "other" },
	} {
		changed := o
		change(&changed)
		resync(name, connect(t, changed), b.checkpoint)
	}
	now = start.Add(5 * 24 * time.Hour)
	if s := collect(b.c.Changes(t.Context(), b.checkpoint)); s.Err != nil {
		t.Errorf("after five days: %v", s.Err)
	}
	now = start.Add(6*24*time.Hour + time.Minute)
	resync("six days old", b.c, b.checkpoint)
}
