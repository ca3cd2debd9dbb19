package okta_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// absent removes, as a receiver of full pulls does, who is missing from a phase that is complete and is not found by id.
func (h *held) absent(ctx context.Context) {
	s := collect(h.c.Full(ctx, ""))
	if s.Complete[connectors.PhaseUsers] {
		for _, id := range sortedKeys(h.people) {
			if _, stated := s.Users[id]; !stated {
				h.readPerson(ctx, id)
			}
		}
	}
	if s.Complete[connectors.PhaseGroups] {
		for _, id := range sortedKeys(h.groups) {
			if s.Groups[id] == "" && errors.Is(h.readGroup(ctx, id).Err, connectors.ErrNotFound) {
				h.removed = append(h.removed, id)
			}
		}
	}
}

// TestNobodyWhomOktaListsIsRemoved does to a pull, one by one, what is never evidence that somebody is gone, and what other
// programs took for it. Who takes in the changes, and then a full pull, removes nobody but who left in fact.
func TestNobodyWhomOktaListsIsRemoved(t *testing.T) {
	t.Parallel()
	type world struct {
		*oktatest.Tenant
		app string
	}
	always := func(kind oktatest.FaultKind, endpoints ...string) func(world) []string {
		return func(w world) []string {
			for _, endpoint := range endpoints {
				w.Inject(oktatest.Fault{Kind: kind, Endpoint: endpoint, Times: -1})
			}
			return nil
		}
	}
	later := func(kind oktatest.FaultKind, endpoints ...string) func(world) []string {
		return func(w world) []string {
			for _, endpoint := range endpoints {
				w.Inject(oktatest.Fault{Kind: kind, Endpoint: endpoint, Nth: 2, Times: -1})
			}
			return nil
		}
	}
	status := func(word string) func(world) []string {
		return func(w world) []string {
			for _, u := range w.Users() {
				w.SetStatus(u.ID, word)
			}
			return nil
		}
	}
	lists := []string{oktatest.ListUsers, oktatest.ListGroups, oktatest.ListMembers, oktatest.ListAppUsers, oktatest.ListAppGroups, oktatest.ListLogs}
	people := []string{oktatest.ListUsers, oktatest.ListAppUsers}
	traps := map[string]func(world) (left []string){
		// What is never "gone".
		"a listing that ends early":        always(oktatest.Truncated, lists...),
		"a page of it that does":           later(oktatest.TruncatedSilently, lists...),
		"an answer without a body":         always(oktatest.Empty, lists...),
		"a blank answer":                   later(oktatest.Blank, lists...),
		"null":                             always(oktatest.Null, lists...),
		"an object":                        later(oktatest.Object, lists...),
		"204":                              always(oktatest.NoContent, lists...),
		"304":                              later(oktatest.NotModified, lists...),
		"302":                              always(oktatest.RedirectNowhere, lists...),
		"a page of a portal":               always(oktatest.PortalHTML, ""),
		"404 on a page":                    later(oktatest.NotFound, lists...),
		"404 on all lists":                 always(oktatest.NotFound, lists...),
		"404 of somebody else, on all":     always(oktatest.NotFoundHTML, ""),
		"404 on a group":                   always(oktatest.NotFound, oktatest.ListMembers),
		"404 on the application":           always(oktatest.NotFound, oktatest.ListAppUsers, oktatest.ListAppGroups),
		"the application deleted":          func(w world) []string { w.DeleteApp(w.app); return nil },
		"401":                              always(oktatest.Unauthorized, ""),
		"403":                              always(oktatest.Forbidden, ""),
		"403 by OAuth, on reads of one":    always(oktatest.ForbiddenOAuth, oktatest.GetUser, oktatest.GetAppUser, oktatest.ListUserGroups, oktatest.GetGroup),
		"a sudden empty list of people":    always(oktatest.EmptyList, people...),
		"a sudden empty list of groups":    always(oktatest.EmptyList, oktatest.ListGroups),
		"sudden empty lists everywhere":    always(oktatest.EmptyList, lists...),
		"LOCKED_OUT":                       status("LOCKED_OUT"),
		"PASSWORD_EXPIRED":                 status("PASSWORD_EXPIRED"),
		"RECOVERY":                         status("RECOVERY"),
		"an unknown state":                 status("ACTIVATING"),
		"a deletion that was none":         func(w world) []string { w.Tell("user.lifecycle.delete.completed", w.Users()[3].ID); return nil },
		"a group's deletion that was none": func(w world) []string { w.Tell("group.lifecycle.delete", w.Groups()[1].ID); return nil },
		"an unassignment that was none": func(w world) []string {
			w.Tell("application.user_membership.remove", w.app, w.Users()[3].ID)
			w.Tell("group.application_assignment.remove", w.app, w.Groups()[1].ID)
			return nil
		},
		"an event of another application": func(w world) []string {
			w.Tell("group.application_assignment.remove", "0oaOther000000000000", w.Groups()[1].ID)
			return nil
		},
		// Traps seen in peers.
		"a page fails":                later(oktatest.Unavailable, lists...),
		"the first 429":               func(w world) []string { w.Inject(oktatest.Fault{Kind: oktatest.ThrottleBare, Times: 2}); return nil },
		"429 for ever":                always(oktatest.ThrottleBare, ""),
		"500 for ever":                always(oktatest.Internal, lists...),
		"somebody twice":              later(oktatest.DuplicateItem, lists...),
		"somebody missed by a page":   always(oktatest.MissingItem, people...),
		"members missed by pages":     always(oktatest.MissingItem, oktatest.ListMembers),
		"a folded Link header":        always(oktatest.FoldedLinks, ""),
		"a malformed Link header":     always(oktatest.MalformedLink, ""),
		"next links that are lost":    always(oktatest.NoNext, ""),
		"all links lost":              always(oktatest.NoLinks, ""),
		"a page that comes again":     always(oktatest.RepeatCursor, ""),
		"a listing that begins again": later(oktatest.NextToStart, lists...),
		"Okta's clock wrong":          always(oktatest.WrongClock, ""),
		"no clock at all":             always(oktatest.NoDate, ""),
		"a user object for a member":  always(oktatest.Garbled, oktatest.ListMembers),
		"everybody renamed": func(w world) []string {
			for i, u := range w.Users() {
				name := fmt.Sprintf("renamed%d@acme.test", i)
				w.UpdateUser(u.ID, map[string]any{"login": name, "email": name})
			}
			return nil
		},
		"a rehire with the old address": func(w world) []string {
			leaver, g := w.Users()[3], w.Groups()[1]
			w.DeleteUser(leaver.ID)
			w.AddMember(g.ID, w.AddUser(map[string]any{"login": leaver.Login()}))
			return []string{leaver.ID}
		},
		"a group deleted": func(w world) []string {
			g := w.Groups()[1]
			w.DeleteGroup(g.ID)
			return append([]string{g.ID}, g.Members...)
		},
		"a large group over many pages": func(w world) []string {
			g := w.Groups()[1]
			for i := range 30 {
				w.AddMember(g.ID, w.AddUser(map[string]any{"login": fmt.Sprintf("hire%d@acme.test", i)}))
			}
			return nil
		},
	}
	wires := map[string]oktatest.FaultKind{"a listing that ends early": oktatest.Truncated, "a page of it that does": oktatest.TruncatedSilently}
	for name, trap := range traps {
		for _, way := range []string{"whole directory", "members only", "application"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				c := newClock()
				w := world{Tenant: &oktatest.Tenant{Seed: 5, Now: c.now}}
				w.Fill(24, 4, 24)
				w.app = w.AddApp("idpsync")
				for _, g := range w.Groups() {
					w.AssignGroup(w.app, g.ID)
				}
				o := reach(t, w.Tenant, wires[name])
				o.PageSizes = okta.PageSizes{Users: 7, Groups: 2, Members: 4, AppUsers: 7, AppGroups: 3, Events: 3}
				o.Retries = 2
				ways[way](&o, w.app)
				c.advance(time.Hour)
				h := hold(t, connect(t, o))
				inTime(t, wires[name], func(t *testing.T) {
					checkpoint := h.full(t.Context())
					before := len(h.people)
					c.advance(time.Hour)
					w.UpdateUser(w.Users()[2].ID, map[string]any{"title": "X"})
					g := w.Groups()[0]
					w.AddMember(g.ID, w.AddUser(map[string]any{"login": "hire@acme.test"}))
					left := trap(w)
					h.lenient = true
					if _, err := h.changes(t.Context(), checkpoint); err != nil {
						t.Logf("Changes: %v", err)
					}
					h.absent(t.Context())
					for _, id := range h.removed {
						if !slices.Contains(left, id) {
							t.Errorf("%s was removed, and is there", id)
						}
					}
					if len(h.people) < before-len(left) {
						t.Errorf("%d people are held of %d", len(h.people), before)
					}
				})
			})
		}
	}
}
