package okta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// changeLists are the endpoints that a pull of changes pages through, and the phase that each of them is of.
var changeLists = map[string]connectors.Phase{
	oktatest.ListLogs:    connectors.PhaseUsers,
	oktatest.ListUsers:   connectors.PhaseUsers,
	oktatest.ListGroups:  connectors.PhaseGroups,
	oktatest.ListMembers: connectors.PhaseMembers,
}

// changedInPages is an organization of which much changed after a full pull: several pages of everything. It returns who
// was deleted.
func changedInPages(t *testing.T, kinds ...oktatest.FaultKind) (h *held, tenant *oktatest.Tenant, checkpoint string, deleted []string) {
	t.Helper()
	c := newClock()
	tenant = &oktatest.Tenant{Seed: 11, Now: c.now}
	tenant.Fill(36, 5, 60)
	o := reach(t, tenant, kinds...)
	o.PageSizes = okta.PageSizes{Users: 12, Groups: 2, Members: 3, Events: 2}
	h = hold(t, connect(t, o))
	checkpoint = h.full(t.Context())
	c.advance(time.Hour)
	for i, u := range tenant.Users() {
		if i%6 == 0 {
			tenant.DeleteUser(u.ID)
			deleted = append(deleted, u.ID)
			continue
		}
		tenant.UpdateUser(u.ID, map[string]any{"title": "Changed"})
	}
	for i, g := range tenant.Groups() {
		tenant.AddMember(g.ID, tenant.AddUser(map[string]any{"login": fmt.Sprintf("hire%d@acme.test", i)}))
		tenant.RemoveMember(g.ID, g.Members[0])
	}
	return h, tenant, checkpoint, deleted
}

// Every kind of fault at every list of changes: either all of them arrive, or the pull says what did not and has no
// checkpoint, so that the next one finds it. Nobody is removed but who was deleted.
func TestFaultsOfChanges(t *testing.T) {
	t.Parallel()
	for endpoint, phase := range changeLists {
		for kind, outcome := range faults {
			t.Run(fmt.Sprintf("%s/%s", endpoint, kind), func(t *testing.T) {
				t.Parallel()
				h, tenant, checkpoint, deleted := changedInPages(t, kind)
				inTime(t, kind, func(t *testing.T) {
					tenant.Inject(oktatest.Fault{Kind: kind, Endpoint: endpoint, Nth: 2, Delay: 5 * time.Millisecond})
					next, err := h.changes(t.Context(), checkpoint)
					tenant.Behave()
					var e *connectors.IncompleteError
					switch {
					case kind == oktatest.WrongClock && endpoint == oktatest.ListLogs:
						if !errors.Is(err, connectors.ErrResync) {
							t.Errorf("Changes = %v, want ErrResync from a clock before the checkpoint", err)
						}
					case outcome == mended:
						if err != nil || next == "" {
							t.Fatalf("Changes = %v, checkpoint %q", err, next)
						}
						h.want(t.Context())
					case outcome == incomplete:
						if !errors.As(err, &e) || e.Phase != phase || next != "" {
							t.Errorf("Changes = %v, checkpoint %q, want %s incomplete and none", err, next, phase)
						}
					case outcome == fatal:
						if !errors.Is(err, connectors.ErrUnauthorized) || errors.As(err, &e) || next != "" {
							t.Errorf("Changes = %v, checkpoint %q, want the end of it", err, next)
						}
					}
					for _, id := range h.removed {
						if !slices.Contains(deleted, id) {
							t.Errorf("%s was removed, and is there", id)
						}
					}
					if err == nil {
						return
					}
					if _, err := h.changes(t.Context(), checkpoint); err != nil {
						t.Fatalf("Changes again = %v", err)
					}
					h.want(t.Context())
				})
			})
		}
	}
}

// A lost next link of any list shows, because a page that is exactly full is asked for again in smaller ones; and of the
// log, because it always has one.
func TestLostNextLinksOfChangesShow(t *testing.T) {
	t.Parallel()
	for endpoint, phase := range changeLists {
		for name, times := range map[string]int{"of one page": 1, "of all": -1} {
			t.Run(endpoint+"/"+name, func(t *testing.T) {
				t.Parallel()
				h, tenant, checkpoint, _ := changedInPages(t)
				tenant.Inject(oktatest.Fault{Kind: oktatest.NoNext, Endpoint: endpoint, Times: times})
				next, err := h.changes(t.Context(), checkpoint)
				var e *connectors.IncompleteError
				if !errors.As(err, &e) || e.Phase != phase || next != "" {
					t.Errorf("Changes = %v, checkpoint %q, want %s incomplete", err, next, phase)
				}
			})
		}
	}
}

// A clock of Okta's that goes back a day, after a checkpoint that it made.
func TestOktasClockGoesBack(t *testing.T) {
	t.Parallel()
	h, tenant, checkpoint, _ := changedInPages(t)
	tenant.Inject(oktatest.Fault{Kind: oktatest.WrongClock, Times: -1})
	if _, err := h.changes(t.Context(), checkpoint); !errors.Is(err, connectors.ErrResync) || !strings.Contains(err.Error(), "behind the checkpoint") {
		t.Errorf("Changes = %v, want ErrResync", err)
	}
}

// A group that vanishes between being listed and being read is not an empty one: its members stay until it is known to be
// gone.
func TestAGroupVanishesAmongChanges(t *testing.T) {
	t.Parallel()
	h, tenant, checkpoint, deleted := changedInPages(t)
	g := tenant.Groups()[2]
	before := len(h.members[g.ID])
	tenant.Inject(oktatest.Fault{Kind: oktatest.NotFound, Endpoint: oktatest.ListMembers, Contains: g.ID, Times: -1})
	_, err := h.changes(t.Context(), checkpoint)
	var e *connectors.IncompleteError
	if !errors.As(err, &e) || e.Phase != connectors.PhaseMembers || !strings.Contains(err.Error(), g.ID) || errors.Is(err, connectors.ErrNotFound) {
		t.Errorf("Changes = %v, want the members of %s incomplete", err, g.ID)
	}
	if len(h.members[g.ID]) != before || len(h.removed) > len(deleted) {
		t.Errorf("%d members of it are left of %d, removed are %v", len(h.members[g.ID]), before, h.removed)
	}
}

// The application vanishes, or the right to see it: nobody is unassigned for it.
func TestTheApplicationVanishesAmongChanges(t *testing.T) {
	t.Parallel()
	for _, kind := range []oktatest.FaultKind{"", oktatest.NotFound, oktatest.NotFoundHTML, oktatest.Forbidden, oktatest.ForbiddenOAuth} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			tenant, o, c, app := organizationInTime(t, 3, ways["application"])
			h := hold(t, connect(t, o))
			checkpoint := h.full(t.Context())
			c.advance(time.Hour)
			tenant.RenameGroup(tenant.Groups()[1].ID, "Renamed")
			tenant.UpdateUser(tenant.Users()[1].ID, map[string]any{"title": "X"})
			if kind == "" {
				tenant.DeleteApp(app)
			} else {
				tenant.Inject(oktatest.Fault{Kind: kind, Endpoint: oktatest.ListAppGroups, Times: -1})
			}
			before := len(h.people)
			_, err := h.changes(t.Context(), checkpoint)
			var e *connectors.IncompleteError
			if !errors.As(err, &e) || e.Phase != connectors.PhaseGroups || len(h.people) != before || len(h.removed) > 0 {
				t.Errorf("Changes = %v, removed %v, want groups incomplete", err, h.removed)
			}
		})
	}
}

func TestChangesStopWhenTheReceiverDoes(t *testing.T) {
	t.Parallel()
	h, _, checkpoint, _ := changedInPages(t)
	for after := 1; after < 12; after += 3 {
		n := 0
		for _, err := range h.c.Changes(t.Context(), checkpoint) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == after {
				break
			}
		}
		sent := h.c.Requests()
		time.Sleep(10 * time.Millisecond)
		if h.c.Requests() != sent {
			t.Error("requests go on after the receiver stopped")
		}
	}
}
