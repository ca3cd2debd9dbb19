package okta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/okta"
	"github.com/idpsync/idpsync/connectors/okta/oktatest"
)

// What a fault comes to when one request meets it.
const (
	mended     = iota // the pull is whole
	incomplete        // the phase is incomplete, the others are whole
	fatal             // the pull ends
)

var faults = map[oktatest.FaultKind]int{
	oktatest.Throttle:           mended,
	oktatest.ThrottleRetryAfter: mended,
	oktatest.ThrottleBare:       mended,
	oktatest.ThrottleConcurrent: mended,
	oktatest.Internal:           mended, // by half the page
	oktatest.Unavailable:        mended,
	oktatest.GatewayTimeout:     mended,
	oktatest.GatewayHTML:        mended,
	oktatest.Slow:               mended,
	oktatest.Truncated:          mended,
	oktatest.Reset:              mended,
	oktatest.Closed:             mended,
	oktatest.Gzipped:            mended,
	oktatest.FoldedLinks:        mended,
	oktatest.DuplicateItem:      mended,
	oktatest.WrongClock:         mended,
	oktatest.PortalHTML:         incomplete,
	oktatest.Empty:              incomplete,
	oktatest.Blank:              incomplete,
	oktatest.Null:               incomplete,
	oktatest.Object:             incomplete,
	oktatest.NoContent:          incomplete,
	oktatest.NotModified:        incomplete,
	oktatest.RedirectNowhere:    incomplete,
	oktatest.Forbidden:          incomplete,
	oktatest.ForbiddenOAuth:     incomplete,
	oktatest.NotFound:           incomplete,
	oktatest.NotFoundHTML:       incomplete,
	oktatest.TruncatedSilently:  incomplete,
	oktatest.RepeatCursor:       incomplete,
	oktatest.NextToStart:        incomplete,
	oktatest.NoLinks:            incomplete,
	oktatest.MalformedLink:      incomplete,
	oktatest.ForeignNext:        incomplete,
	oktatest.PlainNext:          incomplete,
	oktatest.WrongType:          incomplete,
	oktatest.Garbled:            incomplete,
	oktatest.Unauthorized:       fatal,
}

// lists are the endpoints that a pull pages through, and the phases that fall with each.
var lists = map[string]struct {
	app    bool
	phases []connectors.Phase
}{
	oktatest.ListUsers:     {phases: []connectors.Phase{connectors.PhaseUsers}},
	oktatest.ListGroups:    {phases: []connectors.Phase{connectors.PhaseGroups, connectors.PhaseMembers}},
	oktatest.ListMembers:   {phases: []connectors.Phase{connectors.PhaseMembers}},
	oktatest.ListAppUsers:  {app: true, phases: []connectors.Phase{connectors.PhaseUsers}},
	oktatest.ListAppGroups: {app: true, phases: []connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers}},
}

// organizationOfPages has several pages of everything, every person in a group and every group assigned.
func organizationOfPages(t *testing.T, app bool) (*oktatest.Tenant, okta.Options) {
	t.Helper()
	tenant := &oktatest.Tenant{Seed: 11}
	return tenant, pages(tenant, serve(t, tenant), app)
}

func pages(tenant *oktatest.Tenant, o okta.Options, app bool) okta.Options {
	tenant.Fill(230, 7, 400)
	o.PageSizes = okta.PageSizes{Users: 40, Groups: 3, Members: 25, AppUsers: 40, AppGroups: 3}
	if app {
		o.AppID = tenant.AddApp("idpsync")
		for _, g := range tenant.Groups() {
			tenant.AssignGroup(o.AppID, g.ID)
		}
	}
	return o
}

// Every kind of fault at every list: either everything arrives or the pull says what did not. Never a short list
// that passes for a whole one.
func TestFaults(t *testing.T) {
	t.Parallel()
	for endpoint, list := range lists {
		for kind, outcome := range faults {
			t.Run(fmt.Sprintf("%s/%s", endpoint, kind), func(t *testing.T) {
				t.Parallel()
				tenant := &oktatest.Tenant{Seed: 11}
				c := connect(t, pages(tenant, reach(t, tenant, kind), list.app))
				inTime(t, kind, func(t *testing.T) {
					tenant.Inject(oktatest.Fault{Kind: kind, Endpoint: endpoint, Nth: 2, Delay: 5 * time.Millisecond})
					if kind == oktatest.WrongClock {
						tenant.Behave()
						tenant.Inject(oktatest.Fault{Kind: kind, Times: -1})
					}
					s := collect(c.Full(t.Context(), ""))
					if kind == oktatest.Garbled && (endpoint == oktatest.ListUsers || endpoint == oktatest.ListAppUsers) {
						noShortList(t, s, tenant) // which of the two is read first is the decoder's business
					}
					switch outcome {
					case mended:
						wantAll(t, s, tenant)
					case incomplete:
						var e *connectors.IncompleteError
						if !errors.As(s.Err, &e) || !slices.Contains(list.phases, e.Phase) {
							t.Errorf("error = %v, want one of %v incomplete", s.Err, list.phases)
						}
						down := map[connectors.Phase]bool{}
						for _, phase := range list.phases {
							down[phase] = true
						}
						if list.app && down[connectors.PhaseMembers] {
							down[connectors.PhaseUsers] = true
						}
						for _, phase := range []connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers} {
							if s.Complete[phase] == down[phase] {
								t.Errorf("phase %s complete = %t, want %t", phase, s.Complete[phase], !down[phase])
							}
						}
					case fatal:
						var e *connectors.IncompleteError
						if !errors.Is(s.Err, connectors.ErrUnauthorized) || errors.As(s.Err, &e) || len(s.Complete) > 0 && anyTrue(s.Complete) {
							t.Errorf("error = %v, complete %v, want the end of the pull", s.Err, s.Complete)
						}
					}
					noShortList(t, s, tenant)
				})
			})
		}
	}
}

func anyTrue(m map[connectors.Phase]bool) bool {
	for _, v := range m {
		if v {
			return true
		}
	}
	return false
}

// noShortList wants every phase that calls itself complete to be so.
func noShortList(t *testing.T, s stated, tenant *oktatest.Tenant) {
	t.Helper()
	people, groups, members := 0, 0, 0
	for _, u := range tenant.Users() {
		if u.Status != "DEPROVISIONED" {
			people++
		}
	}
	for _, g := range tenant.Groups() {
		groups++
		members += len(g.Members)
	}
	for phase, want := range map[connectors.Phase]int{connectors.PhaseUsers: people, connectors.PhaseGroups: groups, connectors.PhaseMembers: members} {
		if s.Complete[phase] && s.Seen[phase] != want {
			t.Errorf("phase %s is complete with %d of %d", phase, s.Seen[phase], want)
		}
	}
	if (s.Err == nil) != (s.Checkpoint != "") {
		t.Errorf("error %v and checkpoint %q: want one of them", s.Err, s.Checkpoint)
	}
	if s.Err == nil && !cmp.Equal(s.Complete, everyPhase) {
		t.Errorf("no error, and complete are only %v", s.Complete)
	}
	for phase := range s.After {
		t.Errorf("phase %s went on after it was complete", phase)
	}
}

// Faults that do not end: the retries are bounded, and the cause is told.
func TestLastingFaults(t *testing.T) {
	t.Parallel()
	for kind, want := range map[oktatest.FaultKind]string{
		oktatest.ThrottleBare: "still throttled", oktatest.ThrottleConcurrent: "still throttled", oktatest.Unavailable: "status 503", oktatest.GatewayHTML: "status 502: an HTML page",
		oktatest.Internal: "E0000009", oktatest.Truncated: "unexpected EOF", oktatest.Reset: "reset by peer", oktatest.Closed: "EOF", oktatest.Forbidden: "E0000006",
		oktatest.ForbiddenOAuth: "does not contain the required scopes",
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			tenant, o := organizationOfPages(t, false)
			tenant.Inject(oktatest.Fault{Kind: kind, Times: -1})
			c := connect(t, o)
			s := collect(c.Full(t.Context(), ""))
			if s.Err == nil || !strings.Contains(s.Err.Error(), want) || anyTrue(s.Complete) || s.Pages > 0 {
				t.Errorf("Full = %v after %d pages, want %q", s.Err, s.Pages, want)
			}
			if c.Requests() > 12 {
				t.Errorf("%d requests for two lists", c.Requests())
			}
			var refused *connectors.ResponseError
			if errors.As(s.Err, &refused) && refused.Endpoint == "" {
				t.Errorf("error = %#v, want the endpoint in it", refused)
			}
		})
	}
}

// A throttled beginning is waited out; it fails no run.
func TestTheFirst429IsWaitedOut(t *testing.T) {
	t.Parallel()
	tenant, o := organizationOfPages(t, false)
	tenant.Inject(oktatest.Fault{Kind: oktatest.Throttle, Endpoint: oktatest.ListUsers, Times: 2})
	tenant.Inject(oktatest.Fault{Kind: oktatest.ThrottleRetryAfter, Endpoint: oktatest.ListGroups})
	wantAll(t, collect(connect(t, o).Full(t.Context(), "")), tenant)
}

// Enforced limits are kept to: the pull is never throttled, it waits for the next window.
func TestEnforcedLimitsAreKeptTo(t *testing.T) {
	t.Parallel()
	start := time.Now()
	tenant, o := organizationOfPages(t, false)
	tenant.EnforceLimits = true
	tenant.Limits = map[string]int{"users": 600, "groups": 600, "group": 600}
	c := connect(t, o)
	wantAll(t, collect(c.Full(t.Context(), "")), tenant)
	for key, n := range c.Counts() {
		if key.Status != 200 {
			t.Errorf("%d answers %v", n, key)
		}
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s, though a share of the limits was enough", took)
	}
}

// Next links that are lost everywhere show when a page is exactly full.
func TestLostNextLinksShow(t *testing.T) {
	t.Parallel()
	t.Run("of every answer", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		tenant.Inject(oktatest.Fault{Kind: oktatest.NoNext, Times: -1})
		s := collect(connect(t, o).Full(t.Context(), ""))
		if s.Err == nil || anyTrue(s.Complete) {
			t.Errorf("Full = %v, complete %v, want nothing complete", s.Err, s.Complete)
		}
	})
	t.Run("of an application's", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, true)
		tenant.Inject(oktatest.Fault{Kind: oktatest.NoNext, Times: -1})
		s := collect(connect(t, o).Full(t.Context(), ""))
		if s.Err == nil || anyTrue(s.Complete) {
			t.Errorf("Full = %v, complete %v, want nothing complete", s.Err, s.Complete)
		}
	})
	t.Run("of one page of users", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		tenant.Inject(oktatest.Fault{Kind: oktatest.NoNext, Endpoint: oktatest.ListUsers, Nth: 3})
		s := collect(connect(t, o).Full(t.Context(), ""))
		var e *connectors.IncompleteError
		if !errors.As(s.Err, &e) || e.Phase != connectors.PhaseUsers || s.Complete[connectors.PhaseUsers] || !s.Complete[connectors.PhaseMembers] {
			t.Errorf("Full = %v, complete %v, want users incomplete", s.Err, s.Complete)
		}
	})
	t.Run("of one page of one group's members", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		tenant.Inject(oktatest.Fault{Kind: oktatest.NoNext, Endpoint: oktatest.ListMembers, Nth: 2})
		s := collect(connect(t, o).Full(t.Context(), ""))
		var e *connectors.IncompleteError
		if !errors.As(s.Err, &e) || e.Phase != connectors.PhaseMembers || s.Complete[connectors.PhaseMembers] || !s.Complete[connectors.PhaseUsers] {
			t.Errorf("Full = %v, complete %v, want members incomplete", s.Err, s.Complete)
		}
	})
	t.Run("of a single group", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		tenant.Inject(oktatest.Fault{Kind: oktatest.NoNext, Times: -1})
		s := collect(connect(t, o).Group(t.Context(), tenant.Groups()[0].ID))
		var e *connectors.IncompleteError
		if !errors.As(s.Err, &e) || s.Complete[connectors.PhaseMembers] || s.Last[tenant.Groups()[0].ID] {
			t.Errorf("Group = %v, complete %v", s.Err, s.Complete)
		}
	})
}

// Pages drift while they are read: somebody whom no page of users shows, and who is a member of a group, is read by
// id.
func TestWhomPagesMissIsReadByID(t *testing.T) {
	t.Parallel()
	for name, requireGroup := range map[string]bool{"whole directory": false, "members only": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant, o := organizationOfPages(t, false)
			o.RequireGroup = &requireGroup
			tenant.Inject(oktatest.Fault{Kind: oktatest.MissingItem, Endpoint: oktatest.ListUsers, Nth: 2, Times: 2})
			c := connect(t, o)
			wantAll(t, collect(c.Full(t.Context(), "")), tenant)
			if got := tenant.Requests(oktatest.GetUser); got != 2 {
				t.Errorf("%d users read by id, want 2", got)
			}
		})
	}
	t.Run("unless they are gone", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		id := tenant.Users()[33].ID
		tenant.SetStatus(id, "DEPROVISIONED") // stays a member, as with Okta
		wantAll(t, collect(connect(t, o).Full(t.Context(), "")), tenant)
		if got := tenant.Requests(oktatest.GetUser); got != 0 {
			t.Errorf("%d users read by id, want none: the group's list tells the status", got)
		}
	})
	t.Run("and an error on the way is no evidence", func(t *testing.T) {
		t.Parallel()
		tenant, o := organizationOfPages(t, false)
		tenant.Inject(oktatest.Fault{Kind: oktatest.MissingItem, Endpoint: oktatest.ListUsers})
		tenant.Inject(oktatest.Fault{Kind: oktatest.Forbidden, Endpoint: oktatest.GetUser, Times: -1})
		s := collect(connect(t, o).Full(t.Context(), ""))
		if !errors.Is(s.Err, connectors.ErrForbidden) || s.Complete[connectors.PhaseUsers] || !s.Complete[connectors.PhaseMembers] {
			t.Errorf("Full = %v, complete %v, want users incomplete", s.Err, s.Complete)
		}
	})
}

// A group that vanishes while the pull is under way is not an empty one.
func TestAGroupVanishesMidPull(t *testing.T) {
	t.Parallel()
	for name, requireGroup := range map[string]bool{"whole directory": false, "members only": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant, o := organizationOfPages(t, false)
			o.RequireGroup = &requireGroup
			g := tenant.Groups()[2]
			tenant.Inject(oktatest.Fault{Kind: oktatest.NotFound, Endpoint: oktatest.ListMembers, Contains: g.ID, Times: -1})
			s := collect(connect(t, o).Full(t.Context(), ""))
			var e *connectors.IncompleteError
			if !errors.As(s.Err, &e) || !strings.Contains(s.Err.Error(), g.ID) {
				t.Errorf("error = %v, want the group in it", s.Err)
			}
			want := map[connectors.Phase]bool{connectors.PhaseGroups: true, connectors.PhaseUsers: !requireGroup, connectors.PhaseMembers: false}
			if diff := cmp.Diff(want, s.Complete); diff != "" {
				t.Errorf("complete (-want +got):\n%s", diff)
			}
			if s.Last[g.ID] || len(s.Members[g.ID]) > 0 {
				t.Error("the group is listed to its end")
			}
			if len(s.Users) == 0 {
				t.Error("no users are stated, though the others could be")
			}
			if requireGroup && e.Phase != connectors.PhaseUsers {
				t.Errorf("incomplete = %s, want users too", e.Phase)
			}
		})
	}
}

// An organization that is suddenly empty is stated as it is: the guard decides.
func TestASuddenlyEmptyOrganization(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{}
	c := connect(t, serve(t, tenant))
	s := collect(c.Full(t.Context(), ""))
	if s.Err != nil || !cmp.Equal(s.Complete, everyPhase) || len(s.Users)+len(s.Groups) > 0 {
		t.Errorf("Full = %v, complete %v", s.Err, s.Complete)
	}
}

// A rename, a new address and a rehire: identity goes by the immutable id.
func TestRenamesAndRehires(t *testing.T) {
	t.Parallel()
	tenant := &oktatest.Tenant{Seed: 2}
	tenant.Fill(10, 1, 10)
	c := connect(t, serve(t, tenant))
	before := collect(c.Full(t.Context(), ""))
	renamed, leaver := tenant.Users()[3], tenant.Users()[4]
	tenant.UpdateUser(renamed.ID, map[string]any{"login": "new.name@acme.test", "email": "new.name@acme.test", "lastName": "Name", "title": nil})
	tenant.DeleteUser(leaver.ID)
	rehired := tenant.AddUser(map[string]any{"login": leaver.Login(), "firstName": "Re", "lastName": "Hired"})
	g := tenant.Groups()[0]
	tenant.RenameGroup(g.ID, "Renamed")
	tenant.RemoveMember(g.ID, tenant.Users()[0].ID)
	tenant.AddMember(g.ID, rehired)
	after := collect(c.Full(t.Context(), ""))
	wantAll(t, after, tenant)
	if r := after.Users[renamed.ID]; r.UserName != "new.name@acme.test" || r.Fingerprint() == fingerprint(before, renamed.ID) {
		t.Errorf("renamed user = %s, want the same id with another fingerprint", r.UserName)
	}
	if r := after.Users[rehired]; r.UserName != leaver.Login() || rehired == leaver.ID {
		t.Errorf("rehired user = %s", r.UserName)
	}
	if _, err := c.User(t.Context(), leaver.ID); !errors.Is(err, connectors.ErrNotFound) {
		t.Errorf("User(deleted) = %v, want ErrNotFound", err)
	}
	for id, r := range after.Users {
		if old, known := before.Users[id]; known && id != renamed.ID && old.Fingerprint() != r.Fingerprint() {
			t.Errorf("the fingerprint of %s changed, though nothing else did", id)
		}
	}
	tenant.DeleteGroup(g.ID)
	if s := collect(c.Full(t.Context(), "")); s.Err != nil || len(s.Groups) != 0 || !s.Complete[connectors.PhaseGroups] {
		t.Errorf("after the group was deleted: %v, groups %v", s.Err, s.Groups)
	}
}

func fingerprint(s stated, id string) any {
	r := s.Users[id]
	return r.Fingerprint()
}
