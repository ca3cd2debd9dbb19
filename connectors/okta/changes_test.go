package okta_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store/identity"
)

// clock is an organization's, which has little to do with ours.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2031, time.May, 5, 9, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// held is what a receiver of pulls holds: what it does with a page is what the contract says.
type held struct {
	t       *testing.T
	c       *okta.Connector
	people  map[string]identity.Record
	groups  map[string]string
	members map[string]map[string]bool
	read    map[string]int // by id, of people and groups
	removed []string
	lenient bool // errors are expected
}

func hold(t *testing.T, c *okta.Connector) *held {
	return &held{t: t, c: c, people: map[string]identity.Record{}, groups: map[string]string{}, members: map[string]map[string]bool{}, read: map[string]int{}}
}

// full takes in a full pull and returns its checkpoint.
func (h *held) full(ctx context.Context) string {
	h.t.Helper()
	s := collect(h.c.Full(ctx, ""))
	if s.Err != nil || !cmp.Equal(s.Complete, everyPhase) {
		h.t.Fatalf("Full = %v, complete %v", s.Err, s.Complete)
	}
	if s.Checkpoint == "" || s.CheckpointOn != s.Pages {
		h.t.Fatalf("Full has the checkpoint %q on page %d of %d, want one on the last", s.Checkpoint, s.CheckpointOn, s.Pages)
	}
	h.people, h.groups, h.members = s.Users, s.Groups, map[string]map[string]bool{}
	for id := range s.Groups {
		h.members[id] = set(s.Members[id])
	}
	return s.Checkpoint
}

func set(ids []string) map[string]bool {
	m := map[string]bool{}
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// changes takes in the changes since the checkpoint and returns the next one. The error is the sequence's.
func (h *held) changes(ctx context.Context, checkpoint string) (next string, err error) {
	h.t.Helper()
	whole := map[string][]string{}
	for page, err := range h.c.Changes(ctx, checkpoint) {
		switch {
		case err != nil:
			if next != "" {
				h.t.Errorf("a checkpoint and then %v", err)
			}
			return "", err
		case next != "":
			h.t.Error("a page after the checkpoint")
		case page.Complete:
			h.t.Errorf("phase %s is complete: what Changes does not state is not gone", page.Phase)
		}
		h.take(ctx, page, whole)
		next = page.Checkpoint
	}
	if len(whole) > 0 {
		h.t.Errorf("groups %v were not listed to their end", slices.Collect(maps.Keys(whole)))
	}
	return next, nil
}

func (h *held) take(ctx context.Context, page connectors.Page, whole map[string][]string) {
	for _, id := range page.Doubtful {
		h.readPerson(ctx, id)
	}
	for _, r := range page.Records {
		before, known := h.people[r.SourceID]
		switch {
		case !known && page.Unscoped:
			h.readPerson(ctx, r.SourceID)
		case r.Status == identity.StatusGone:
			h.remove(r.SourceID)
		default:
			if r.UserName == "" {
				r.UserName = before.UserName
			}
			h.people[r.SourceID] = r
		}
	}
	for _, g := range page.Groups {
		_, known := h.groups[g.SourceID]
		switch {
		case g.Gone && known:
			if s := h.readGroup(ctx, g.SourceID); !errors.Is(s.Err, connectors.ErrNotFound) {
				if !h.lenient {
					h.t.Errorf("group %s is said to be gone, and reads %v", g.SourceID, s.Err)
				}
				continue
			}
			h.setMembers(ctx, g.SourceID, nil)
			delete(h.groups, g.SourceID)
			delete(h.members, g.SourceID)
		case g.Gone:
		case !known:
			h.groups[g.SourceID] = g.DisplayName
			h.setMembers(ctx, g.SourceID, h.readGroup(ctx, g.SourceID).Members[g.SourceID])
		default:
			h.groups[g.SourceID] = g.DisplayName
		}
	}
	for _, m := range page.Members {
		if m.Delta || h.groups[m.GroupID] == "" {
			h.t.Errorf("members of group %s, delta %t: want the group first, and all of them", m.GroupID, m.Delta)
		}
		whole[m.GroupID] = append(whole[m.GroupID], m.UserIDs...)
		if m.Last {
			h.setMembers(ctx, m.GroupID, whole[m.GroupID])
			delete(whole, m.GroupID)
		}
	}
}

func (h *held) setMembers(ctx context.Context, group string, ids []string) {
	before, after := h.members[group], set(ids)
	h.members[group] = after
	for id := range after {
		if _, known := h.people[id]; !known {
			h.readPerson(ctx, id)
		}
	}
	for id := range before {
		if after[id] || slices.ContainsFunc(slices.Collect(maps.Values(h.members)), func(m map[string]bool) bool { return m[id] }) {
			continue
		}
		h.readPerson(ctx, id)
	}
}

func (h *held) readPerson(ctx context.Context, id string) {
	h.read[id]++
	switch r, err := h.c.User(ctx, id); {
	case errors.Is(err, connectors.ErrNotFound), err == nil && r.Status == identity.StatusGone:
		h.remove(id)
	case err != nil && !h.lenient:
		h.t.Errorf("User(%s) = %v", id, err)
	case err != nil: // no evidence of anything
	default:
		h.people[id] = r
	}
}

func (h *held) remove(id string) {
	if _, known := h.people[id]; known {
		h.removed = append(h.removed, id)
	}
	delete(h.people, id)
}

func (h *held) readGroup(ctx context.Context, id string) stated {
	h.read[id]++
	return collect(h.c.Group(ctx, id))
}

// want compares what is held with a full pull.
func (h *held) want(ctx context.Context) {
	h.t.Helper()
	other := hold(h.t, h.c)
	other.full(ctx)
	for id, r := range other.people {
		got, known := h.people[id]
		if !known {
			h.t.Errorf("%s (%s) is not held", id, r.UserName)
		} else if got.Fingerprint() != r.Fingerprint() {
			h.t.Errorf("%s (-full +held):\n%s", id, cmp.Diff(r, got))
		}
	}
	for id, r := range h.people {
		if _, known := other.people[id]; !known {
			h.t.Errorf("%s (%s) is held, and a full pull does not state them", id, r.UserName)
		}
	}
	if diff := cmp.Diff(other.groups, h.groups); diff != "" {
		h.t.Errorf("groups (-full +held):\n%s", diff)
	}
	if diff := cmp.Diff(other.members, h.members); diff != "" {
		h.t.Errorf("members (-full +held):\n%s", diff)
	}
}

// ways are the scopes that a connector may have.
var ways = map[string]func(o *okta.Options, app string){
	"whole directory":        func(*okta.Options, string) {},
	"members only":           func(o *okta.Options, _ string) { o.RequireGroup = new(bool); *o.RequireGroup = true },
	"globs":                  func(o *okta.Options, _ string) { o.GroupsExclude = []string{"*s"} },
	"application":            func(o *okta.Options, app string) { o.AppID = app },
	"application, all":       func(o *okta.Options, app string) { o.AppID, o.RequireGroup = app, new(bool) },
	"application, and globs": func(o *okta.Options, app string) { o.AppID, o.GroupsInclude = app, []string{"*s", "p*"} },
}

// organizationInTime has an application with some of the groups and people, and nothing in its log.
func organizationInTime(t *testing.T, seed uint64, way func(*okta.Options, string)) (*oktatest.Tenant, okta.Options, *clock, string) {
	t.Helper()
	c := newClock()
	tenant := &oktatest.Tenant{Seed: seed, Now: c.now}
	tenant.Fill(60, 9, 110)
	app := tenant.AddApp("idpsync")
	for i, g := range tenant.Groups() {
		if i%3 > 0 {
			tenant.AssignGroup(app, g.ID)
		}
	}
	tenant.AssignUser(app, tenant.Users()[0].ID, "zero")
	tenant.ForgetEvents()
	o := offline(tenant)
	o.PageSizes = okta.PageSizes{Users: 7, Groups: 4, Members: 5, AppUsers: 7, AppGroups: 4, Events: 3}
	way(&o, app)
	c.advance(time.Hour)
	return tenant, o, c, app
}

// TestChangesEndWhereAFullPullDoes changes an organization at random, again and again: who takes in the changes ends
// with the same as who pulls it all.
func TestChangesEndWhereAFullPullDoes(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				t.Parallel()
				tenant, o, c, app := organizationInTime(t, seed, way)
				h := hold(t, connect(t, o))
				checkpoint := h.full(t.Context())
				random := rand.New(rand.NewPCG(seed, 7))
				for range 6 {
					var log []string
					for range random.IntN(6) {
						log = append(log, change(tenant, app, random))
						c.advance(time.Duration(random.IntN(200)) * time.Second)
					}
					c.advance(time.Duration(random.IntN(600)) * time.Second)
					next, err := h.changes(t.Context(), checkpoint)
					if err != nil || next == "" {
						t.Fatalf("Changes = %v, checkpoint %q, after %q", err, next, log)
					}
					checkpoint = next
					if h.want(t.Context()); t.Failed() {
						t.Fatalf("after %q", log)
					}
				}
			})
		}
	}
}

// change does one thing to the organization and says what.
func change(tenant *oktatest.Tenant, app string, random *rand.Rand) string {
	users, groups := tenant.Users(), tenant.Groups()
	u, g := users[random.IntN(len(users))], groups[random.IntN(len(groups))]
	n := random.IntN(1_000_000)
	switch random.IntN(16) {
	case 0:
		tenant.UpdateUser(u.ID, map[string]any{"title": fmt.Sprint("Title ", n), "nickName": nil})
		return "title of " + u.ID
	case 1:
		tenant.UpdateUser(u.ID, map[string]any{"login": fmt.Sprintf("renamed%d@acme.test", n)})
		return "login of " + u.ID
	case 2:
		status := []string{"SUSPENDED", "ACTIVE", "LOCKED_OUT", "DEPROVISIONED", "STAGED"}[random.IntN(5)]
		tenant.SetStatus(u.ID, status)
		return status + " " + u.ID
	case 3:
		tenant.DeleteUser(u.ID)
		return "delete " + u.ID
	case 4:
		id := tenant.AddUser(map[string]any{"login": fmt.Sprintf("new%d@acme.test", n)})
		if n%2 == 0 {
			tenant.AddMember(g.ID, id)
		}
		return "create " + id
	case 5:
		name := []string{"Sales", "Plays", "Others"}[random.IntN(3)] + fmt.Sprint(n) + []string{"", "s"}[random.IntN(2)]
		tenant.RenameGroup(g.ID, name)
		return "rename " + g.ID + " " + name
	case 6:
		if len(groups) > 5 {
			tenant.DeleteGroup(g.ID)
		}
		return "delete " + g.ID
	case 7:
		id := tenant.AddGroup(fmt.Sprint("payers", n))
		tenant.AddMember(id, u.ID)
		return "create " + id
	case 8:
		tenant.AssignGroup(app, g.ID)
		return "assign " + g.ID
	case 9:
		tenant.UnassignGroup(app, g.ID)
		return "unassign " + g.ID
	case 10:
		if u.Status != "DEPROVISIONED" {
			tenant.AssignUser(app, u.ID, []string{"", fmt.Sprint("name", n)}[n%2])
		}
		return "assign " + u.ID
	case 11:
		tenant.UnassignUser(app, u.ID)
		return "unassign " + u.ID
	case 12, 13:
		if len(g.Members) > 0 {
			tenant.RemoveMember(g.ID, g.Members[random.IntN(len(g.Members))])
		}
		return "a member less of " + g.ID
	default:
		tenant.AddMember(g.ID, u.ID)
		return u.ID + " into " + g.ID
	}
}

func TestChangesCostThreeRequestsWhenNothingChanged(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant, o, c, _ := organizationInTime(t, 1, way)
			h := hold(t, connect(t, o))
			checkpoint := h.full(t.Context())
			for range 3 {
				c.advance(15 * time.Minute)
				tenant.ResetRequests()
				next, err := h.changes(t.Context(), checkpoint)
				if err != nil || !connectors.CheckpointTime(next).Equal(c.now()) {
					t.Fatalf("Changes = %v, checkpoint %q, want one of %s", err, next, c.now())
				}
				if diff := cmp.Diff(map[string]int{oktatest.ListUsers: 1, oktatest.ListGroups: 1, oktatest.ListLogs: 1}, tenant.Counts()); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				checkpoint = next
			}
			h.want(t.Context())
		})
	}
}

func TestChangesCostNoMoreThanWhatChanged(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(tenant *oktatest.Tenant, app string)
		want   int64 // of the whole directory's, then of the application's, what the receiver reads included
		app    int64
	}{
		"nothing":           {func(*oktatest.Tenant, string) {}, 3, 3},
		"a profile":         {func(o *oktatest.Tenant, _ string) { o.UpdateUser(o.Users()[7].ID, map[string]any{"title": "X"}) }, 3, 3},
		"a membership less": {func(o *oktatest.Tenant, _ string) { g := o.Groups()[3]; o.RemoveMember(g.ID, g.Members[0]) }, 3 + 1, 3 + 1 + 1},
		"a profile and a membership": {func(o *oktatest.Tenant, _ string) {
			o.UpdateUser(o.Users()[7].ID, map[string]any{"title": "X"})
			g := o.Groups()[3]
			o.RemoveMember(g.ID, g.Members[0])
		}, 3 + 1, 3 + 1 + 1},
		"a hire into two groups": {func(o *oktatest.Tenant, _ string) {
			id := o.AddUser(map[string]any{"login": "hire@acme.test"})
			o.AddMember(o.Groups()[3].ID, id)
			o.AddMember(o.Groups()[4].ID, id)
		}, 3 + 2, 3 + 2 + 1 + 3}, // the application's groups, and the person, the assignment and the person's groups
		"somebody deleted": {func(o *oktatest.Tenant, _ string) {
			o.DeleteUser(o.AddUser(map[string]any{"login": "short@acme.test"}))
		}, 3 + 1, 3 + 1},
		"a group renamed":                {func(o *oktatest.Tenant, _ string) { o.RenameGroup(o.Groups()[3].ID, "X") }, 3, 3 + 1},
		"a group deleted, of no members": {func(o *oktatest.Tenant, _ string) { o.DeleteGroup(o.AddGroup("short")) }, 3, 3 + 1},
	}
	for name, c := range cases {
		for _, app := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/application %t", name, app), func(t *testing.T) {
				t.Parallel()
				now := newClock()
				tenant := &oktatest.Tenant{Seed: 1, Now: now.now}
				o := offline(tenant)
				if name == "a profile and a membership" {
					tenant.Fill(5000, 40, 15000)
				} else { // as many pages, of a tenth of the size
					tenant.Fill(500, 40, 1500)
					o.PageSizes = okta.PageSizes{Users: 20, Members: 100, AppUsers: 50}
				}
				id := tenant.AddApp("idpsync")
				for _, g := range tenant.Groups() {
					tenant.AssignGroup(id, g.ID)
				}
				tenant.ForgetEvents()
				want, full := c.want, int64(66)
				if app {
					o.AppID, want, full = id, c.app, 1+1+40+10
				}
				connector := connect(t, o)
				h := hold(t, connector)
				checkpoint := h.full(t.Context())
				if got := connector.Requests(); got != full {
					t.Errorf("a full pull takes %d requests, want %d", got, full)
				}
				now.advance(time.Hour)
				c.change(tenant, id)
				before := connector.Requests()
				if _, err := h.changes(t.Context(), checkpoint); err != nil {
					t.Fatal(err)
				}
				if got := connector.Requests() - before; got != want {
					t.Errorf("%d requests, want %d: %v", got, want, tenant.Counts())
				}
			})
		}
	}
}

// TestChangesWantAFullPull has every reason not to go on.
func TestChangesWantAFullPull(t *testing.T) {
	t.Parallel()
	tenant, o, c, app := organizationInTime(t, 1, ways["whole directory"])
	good := hold(t, connect(t, o)).full(t.Context())
	cases := map[string]struct {
		checkpoint string
		options    func(*okta.Options)
		advance    time.Duration
		want       string
		requests   int64
	}{
		"no checkpoint":      {checkpoint: "", want: "no checkpoint that can be read"},
		"no JSON":            {checkpoint: "checkpoint", want: "no checkpoint that can be read"},
		"another version":    {checkpoint: strings.Replace(good, `"v":1`, `"v":0`, 1), want: "another version"},
		"another name":       {checkpoint: good, options: func(o *okta.Options) { o.Name = "other" }, want: `connector "okta"`},
		"an application":     {checkpoint: good, options: func(o *okta.Options) { o.AppID = app }, want: "scope"},
		"other groups":       {checkpoint: good, options: func(o *okta.Options) { o.GroupsInclude = []string{"*"} }, want: "scope"},
		"no groups":          {checkpoint: good, options: func(o *okta.Options) { o.GroupsExclude = []string{"x"} }, want: "scope"},
		"members only":       {checkpoint: good, options: func(o *okta.Options) { o.RequireGroup = new(bool); *o.RequireGroup = true }, want: "scope"},
		"another address":    {checkpoint: good, options: func(o *okta.Options) { o.URL = "https://other.okta.test" }, want: "scope"},
		"too old":            {checkpoint: old(t, good, -connectors.CheckpointAge-time.Hour), want: "145h", requests: 1},
		"of a time to come":  {checkpoint: old(t, good, time.Hour), want: "behind the checkpoint", requests: 1},
		"just young enough":  {checkpoint: old(t, good, -connectors.CheckpointAge+time.Hour), requests: 3},
		"as fresh as it can": {checkpoint: good, requests: 3},
	}
	for name, test := range cases {
		o := o
		if test.options != nil {
			test.options(&o)
		}
		connector := connect(t, o)
		s := collect(connector.Changes(t.Context(), test.checkpoint))
		switch {
		case test.want == "" && s.Err != nil:
			t.Errorf("%s: Changes = %v", name, s.Err)
		case test.want != "" && (!errors.Is(s.Err, connectors.ErrResync) || !strings.Contains(s.Err.Error(), test.want) || s.Pages > 0):
			t.Errorf("%s: Changes = %v after %d pages, want ErrResync with %q", name, s.Err, s.Pages, test.want)
		}
		if got := connector.Requests(); got != test.requests {
			t.Errorf("%s: %d requests, want %d", name, got, test.requests)
		}
	}
	t.Run("more happened than is worth reading", func(t *testing.T) {
		for range 1001 {
			tenant.DeleteUser(tenant.AddUser(nil))
		}
		c.advance(time.Minute)
		o := o
		o.PageSizes.Events = 0
		if s := collect(connect(t, o).Changes(t.Context(), good)); !errors.Is(s.Err, connectors.ErrResync) || s.Pages > 0 {
			t.Errorf("Changes = %v after %d pages, want ErrResync", s.Err, s.Pages)
		}
	})
}

// old moves a checkpoint in time.
func old(t *testing.T, checkpoint string, by time.Duration) string {
	t.Helper()
	at := connectors.CheckpointTime(checkpoint)
	moved := strings.Replace(checkpoint, at.Format(time.RFC3339), at.Add(by).Format(time.RFC3339), 1)
	if moved == checkpoint {
		t.Fatalf("the checkpoint %s has no time", checkpoint)
	}
	return moved
}

// TestWatermarksAreOktas has our clock wrong by days, and the log late: nothing is missed, and nothing asked for by it.
func TestWatermarksAreOktas(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"ours is behind": -30 * 24 * time.Hour, "ours is ahead": 30 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant, o, c, _ := organizationInTime(t, 1, ways["whole directory"])
			o.Now = func() time.Time { return c.now().Add(skew) }
			tenant.LogDelay = 10 * time.Minute
			h := hold(t, connect(t, o))
			began := c.now()
			checkpoint := h.full(t.Context())
			if at := connectors.CheckpointTime(checkpoint); !at.Equal(began) {
				t.Errorf("the checkpoint is of %s, want %s, when Okta says that the pull began", at, began)
			}
			people := tenant.Users()
			tenant.DeleteUser(people[5].ID) // is in the log ten minutes later
			tenant.UpdateUser(people[6].ID, map[string]any{"title": "X"})
			c.advance(8 * time.Minute)
			h.c = connect(t, o) // another process
			checkpoint, err := h.changes(t.Context(), checkpoint)
			if err != nil || slices.Contains(h.removed, people[5].ID) && len(h.removed) > 1 {
				t.Fatalf("Changes = %v, removed %v", err, h.removed)
			}
			c.advance(8 * time.Minute)
			if _, err := h.changes(t.Context(), checkpoint); err != nil {
				t.Fatal(err)
			}
			h.want(t.Context())
			for _, r := range tenant.Log() {
				if strings.Contains(r.URI, "until") {
					t.Errorf("%s is bounded, and misses what is stored late", r.URI)
				}
			}
		})
	}
	t.Run("no time at all", func(t *testing.T) {
		t.Parallel()
		tenant, o, _, _ := organizationInTime(t, 1, ways["whole directory"])
		tenant.Inject(oktatest.Fault{Kind: oktatest.NoDate, Times: -1})
		s := collect(connect(t, o).Full(t.Context(), ""))
		if s.Err != nil || s.Checkpoint != "" {
			t.Errorf("Full = %v with the checkpoint %q, want none", s.Err, s.Checkpoint)
		}
	})
}

// TestLeavingTheScope has people and groups leave in every way, one by one, and tells who was removed.
func TestLeavingTheScope(t *testing.T) {
	t.Parallel()
	type world struct {
		*oktatest.Tenant
		app, group, other string // group is in scope
		id                string // a member of group only
	}
	cases := map[string]struct {
		change func(w world)
		gone   map[string]bool // by way, whether the person is removed
	}{
		"deprovisioned":              {func(w world) { w.SetStatus(w.id, "DEPROVISIONED") }, map[string]bool{"whole directory": true, "members only": true, "application": true}},
		"deleted":                    {func(w world) { w.DeleteUser(w.id) }, map[string]bool{"whole directory": true, "members only": true, "application": true}},
		"suspended":                  {func(w world) { w.SetStatus(w.id, "SUSPENDED") }, nil},
		"locked out":                 {func(w world) { w.SetStatus(w.id, "LOCKED_OUT") }, nil},
		"an unknown state":           {func(w world) { w.SetStatus(w.id, "ACTIVATING") }, nil},
		"no member any more":         {func(w world) { w.RemoveMember(w.group, w.id) }, map[string]bool{"members only": true, "application": true}},
		"of another group":           {func(w world) { w.AddMember(w.other, w.id); w.RemoveMember(w.group, w.id) }, map[string]bool{"application": true}},
		"the group deleted":          {func(w world) { w.DeleteGroup(w.group) }, map[string]bool{"members only": true, "application": true}},
		"the group unassigned":       {func(w world) { w.UnassignGroup(w.app, w.group) }, map[string]bool{"application": true}},
		"unassigned, assigned again": {func(w world) { w.UnassignGroup(w.app, w.group); w.AssignGroup(w.app, w.group) }, nil},
		"assigned, though no member": {func(w world) { w.RemoveMember(w.group, w.id); w.AssignUser(w.app, w.id, "") }, map[string]bool{"members only": true, "application": true}},
	}
	for name, test := range cases {
		for _, way := range []string{"whole directory", "members only", "application"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				c := newClock()
				w := world{Tenant: &oktatest.Tenant{Now: c.now}}
				w.id, w.group, w.other, w.app = w.AddUser(nil), w.AddGroup("in"), w.AddGroup("other"), w.AddApp("idpsync")
				w.AddMember(w.group, w.id)
				w.AddMember(w.group, w.AddUser(nil))
				w.AddMember(w.other, w.AddUser(nil))
				w.AssignGroup(w.app, w.group)
				o := offline(w.Tenant)
				ways[way](&o, w.app)
				c.advance(time.Hour)
				h := hold(t, connect(t, o))
				checkpoint := h.full(t.Context())
				c.advance(time.Hour)
				test.change(w)
				if _, err := h.changes(t.Context(), checkpoint); err != nil {
					t.Fatal(err)
				}
				if slices.Contains(h.removed, w.id) != test.gone[way] || len(h.people) > 0 && len(h.read) > 4 {
					t.Errorf("removed %v, read %v, want the person removed: %t", h.removed, h.read, test.gone[way])
				}
				h.want(t.Context())
			})
		}
	}
}

// TestANewGroupOfTheApplicationComesWithItsMembers, which no list of changes shows.
func TestANewGroupOfTheApplicationComesWithItsMembers(t *testing.T) {
	t.Parallel()
	tenant, o, c, app := organizationInTime(t, 2, ways["application"])
	checkpoint := hold(t, connect(t, o)).full(t.Context())
	c.advance(time.Hour)
	g := tenant.Groups()[0]
	tenant.AssignGroup(app, g.ID)
	s := collect(connect(t, o).Changes(t.Context(), checkpoint))
	if s.Err != nil || s.Groups[g.ID] != g.Name || !cmp.Equal(s.Members[g.ID], g.Members) || !s.Last[g.ID] {
		t.Errorf("Changes = %v, group %q with %v", s.Err, s.Groups[g.ID], s.Members[g.ID])
	}
	if len(s.Doubtful) == 0 || len(s.Users) > 0 {
		t.Errorf("people = %v, doubtful %v, want those who were assigned doubtful", sortedKeys(s.Users), s.Doubtful)
	}
}

// TestChangesStateNoOtherUserNameForAnApplication, whose user objects do not tell it.
func TestChangesStateNoOtherUserNameForAnApplication(t *testing.T) {
	t.Parallel()
	tenant, o, c, app := organizationInTime(t, 2, ways["application, all"])
	h := hold(t, connect(t, o))
	checkpoint := h.full(t.Context())
	c.advance(time.Hour)
	zero := tenant.Users()[0].ID // has a name of their own there
	tenant.UpdateUser(zero, map[string]any{"title": "X", "login": "other@acme.test"})
	s := collect(h.c.Changes(t.Context(), checkpoint))
	if r, stated := s.Users[zero]; s.Err != nil || !stated || r.UserName != "" || !s.Unscoped[zero] || len(s.Doubtful) > 0 {
		t.Errorf("Changes = %v, record %+v, doubtful %v", s.Err, r, s.Doubtful)
	}
	tenant.AssignUser(app, zero, "naught")
	checkpoint, err := h.changes(t.Context(), checkpoint)
	if err != nil || h.people[zero].UserName != "naught" || h.read[zero] == 0 {
		t.Errorf("Changes = %v, held is %q, read %d times", err, h.people[zero].UserName, h.read[zero])
	}
	other := tenant.Groups()[1].Members[0] // of a group that is assigned
	tenant.UpdateUser(other, map[string]any{"login": "moved@acme.test"})
	if _, err := h.changes(t.Context(), checkpoint); err != nil || h.people[other].UserName != "moved@acme.test" {
		t.Errorf("Changes = %v, held is %q", err, h.people[other].UserName)
	}
}

// TestManyChangesOfAnOrganizationAreFewOfAnApplication has everybody changed and few assigned: the application's list tells
// who, instead of hundreds of reads by id.
func TestManyChangesOfAnOrganizationAreFewOfAnApplication(t *testing.T) {
	t.Parallel()
	c := newClock()
	tenant := &oktatest.Tenant{Seed: 4, Now: c.now}
	tenant.Fill(300, 4, 300)
	app, people := tenant.AddApp("idpsync"), tenant.Users()
	g := tenant.Groups()[1]
	tenant.AssignGroup(app, g.ID)
	tenant.AssignUser(app, g.Members[0], "another-name")
	c.advance(time.Hour)
	o := offline(tenant)
	o.AppID = app
	h := hold(t, connect(t, o))
	checkpoint := h.full(t.Context())
	c.advance(time.Hour)
	for _, u := range people {
		tenant.UpdateUser(u.ID, map[string]any{"title": "Changed"})
	}
	tenant.SetStatus(g.Members[1], "DEPROVISIONED")
	tenant.SetStatus(g.Members[2], "SUSPENDED")
	tenant.ResetRequests()
	if _, err := h.changes(t.Context(), checkpoint); err != nil {
		t.Fatal(err)
	}
	if got := tenant.Requests(""); got > 12 || h.read[g.Members[3]] > 0 {
		t.Errorf("%d requests: %v", got, tenant.Counts())
	}
	if r := h.people[g.Members[0]]; r.UserName != "another-name" || !slices.Contains(h.removed, g.Members[1]) {
		t.Errorf("user name %q, removed %v", r.UserName, h.removed)
	}
	h.want(t.Context())
	tenant.Inject(oktatest.Fault{Kind: oktatest.Empty, Endpoint: oktatest.ListAppUsers, Times: -1})
	var e *connectors.IncompleteError
	if next, err := h.changes(t.Context(), checkpoint); !errors.As(err, &e) || e.Phase != connectors.PhaseUsers || next != "" {
		t.Errorf("Changes without the application's list = %v, checkpoint %q", err, next)
	}
}
