package entra_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
)

// What a fault comes to when one request meets it.
const (
	mended     = iota // the pull is whole
	incomplete        // phases are incomplete, and nothing says otherwise
	fatal             // the pull ends
)

var faults = map[entratest.FaultKind]int{
	entratest.ThrottleBare:      mended,
	entratest.Unavailable:       mended,
	entratest.GatewayTimeout:    mended,
	entratest.GatewayHTML:       mended,
	entratest.Slow:              mended,
	entratest.Truncated:         mended,
	entratest.Reset:             mended,
	entratest.Closed:            mended,
	entratest.Gzipped:           mended,
	entratest.EmptyPage:         mended,
	entratest.DuplicateItem:     mended,
	entratest.WrongClock:        mended,
	entratest.Unauthorized:      mended, // by a new token
	entratest.IdentityNotFound:  mended,
	entratest.Internal:          mended,
	entratest.RepeatItem:        mended,
	entratest.Throttle:          mended,
	entratest.ThrottleLong:      incomplete,
	entratest.BadRequest:        incomplete,
	entratest.EmptyCode:         incomplete,
	entratest.NotImplemented:    incomplete,
	entratest.PortalHTML:        incomplete,
	entratest.Empty:             incomplete,
	entratest.Blank:             incomplete,
	entratest.Null:              incomplete,
	entratest.Object:            incomplete,
	entratest.Array:             incomplete,
	entratest.NoContent:         incomplete,
	entratest.NotModified:       incomplete,
	entratest.RedirectNowhere:   incomplete,
	entratest.Forbidden:         incomplete,
	entratest.NotFound:          incomplete,
	entratest.NotFoundHTML:      incomplete,
	entratest.SyncStateNotFound: incomplete,
	entratest.SyncStateGone:     incomplete,
	entratest.SyncStateMissing:  incomplete,
	entratest.ResyncRequired:    incomplete,
	entratest.ResetDelta:        incomplete,
	entratest.ExpiredPageToken:  incomplete,
	entratest.TruncatedSilently: incomplete,
	entratest.RepeatCursor:      incomplete,
	entratest.NextToStart:       incomplete,
	entratest.MalformedNext:     incomplete,
	entratest.ForeignNext:       incomplete,
	entratest.PlainNext:         incomplete,
	entratest.BothLinks:         incomplete,
	entratest.MissingValue:      incomplete,
	entratest.WrongType:         incomplete,
	entratest.Garbled:           incomplete,
	entratest.NoNext:            incomplete,
}

// kinds returns the kinds of fault in order; where tests are to be short, every fourth.
func kinds() []entratest.FaultKind {
	all := slices.Sorted(maps.Keys(faults))
	if !testing.Short() {
		return all
	}
	var some []entratest.FaultKind
	for i := 0; i < len(all); i += 4 {
		some = append(some, all[i])
	}
	return some
}

// lists are the endpoints that a pull pages through, and the phases that fall with each, without and with a scope that the
// groups decide.
var lists = map[string]struct {
	app    bool
	phases []connectors.Phase
}{
	entratest.UsersDelta:            {phases: []connectors.Phase{connectors.PhaseUsers, connectors.PhaseMembers}},
	entratest.GroupsDelta:           {phases: []connectors.Phase{connectors.PhaseGroups, connectors.PhaseMembers}},
	entratest.ListAppRoleAssignedTo: {app: true, phases: []connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers}},
}

// tenantOfPages has several pages of everything, groups in groups, every person in a group and every group assigned.
func tenantOfPages(t *testing.T, app bool) (*entratest.Tenant, entra.Options) {
	t.Helper()
	tenant := &entratest.Tenant{Seed: 11, DeltaPage: 20, DeltaLinks: 45}
	tenant.Fill(110, 7, 200)
	groups := tenant.Groups()
	tenant.AddMember(groups[0].ID, groups[1].ID)
	tenant.AddMember(groups[1].ID, groups[2].ID)
	tenant.AddMember(groups[2].ID, groups[0].ID)
	o := serve(t, tenant)
	o.PageSize = 3
	if app {
		o.ServicePrincipalID = tenant.AddServicePrincipal("idpsync")
		for _, g := range groups {
			tenant.Assign(o.ServicePrincipalID, g.ID, "")
		}
	}
	return tenant, o
}

// Every kind of fault at every list: either everything arrives or the pull says what did not. Never a short list that passes
// for a whole one.
func TestFaults(t *testing.T) {
	t.Parallel()
	for endpoint, list := range lists {
		for _, kind := range kinds() {
			outcome := faults[kind]
			if list.app && (kind == entratest.BothLinks || kind == entratest.NoNext) {
				continue // of delta queries alone
			}
			t.Run(fmt.Sprintf("%s/%s", endpoint, kind), func(t *testing.T) {
				t.Parallel()
				tenant, o := tenantOfPages(t, list.app)
				tenant.Inject(entratest.Fault{Kind: kind, Endpoint: endpoint, Nth: 2, Delay: 5 * time.Millisecond})
				s := collect(connect(t, o).Full(t.Context(), ""))
				switch outcome {
				case mended:
					wantAll(t, s, tenant)
				case incomplete:
					wantIncomplete(t, s, list.phases)
				}
				noShortList(t, s, tenant)
			})
		}
	}
}

// wantIncomplete wants the phases incomplete, and all others complete.
func wantIncomplete(t *testing.T, s stated, phases []connectors.Phase) {
	t.Helper()
	var e *connectors.IncompleteError
	if !errors.As(s.Err, &e) || !slices.Contains(phases, e.Phase) {
		t.Errorf("error = %v, want one of %v incomplete", s.Err, phases)
	}
	for phase := range everyPhase {
		if s.Complete[phase] == slices.Contains(phases, phase) {
			t.Errorf("phase %s complete = %t", phase, s.Complete[phase])
		}
	}
	if s.Checkpoint != "" {
		t.Error("a checkpoint, though not everything was read")
	}
}

// noShortList wants every phase that calls itself complete to be so, and nothing that is there to be said to be gone.
func noShortList(t *testing.T, s stated, tenant *entratest.Tenant) {
	t.Helper()
	people := 0
	for _, u := range tenant.Users() {
		if u.State == entratest.Present && notGuest(u) {
			people++
		}
	}
	if s.Complete[connectors.PhaseUsers] && len(s.Users) != people {
		t.Errorf("users are complete with %d of %d", len(s.Users), people)
	}
	members := closures(tenant, notGuest)
	if s.Complete[connectors.PhaseGroups] && len(s.Groups) != len(members) {
		t.Errorf("groups are complete with %d of %d", len(s.Groups), len(members))
	}
	for id, want := range members {
		if s.Last[id] && !slices.Equal(s.Members[id], want) {
			t.Errorf("group %s is listed to its end with %d of %d", id, len(s.Members[id]), len(want))
		}
		if s.Complete[connectors.PhaseMembers] && !s.Last[id] {
			t.Errorf("members are complete, and group %s is not", id)
		}
		if slices.Contains(s.Gone, id) {
			t.Errorf("group %s is said to be gone", id)
		}
	}
	if s.Err == nil && len(s.Complete) < len(everyPhase) {
		t.Errorf("no error, and complete are only %v", s.Complete)
	}
	for phase := range s.After {
		t.Errorf("phase %s went on after it was complete", phase)
	}
}

// Faults that do not end: the retries are bounded, and the cause is told.
func TestLastingFaults(t *testing.T) {
	t.Parallel()
	for kind, want := range map[entratest.FaultKind]string{
		entratest.ThrottleBare: "still throttled", entratest.GatewayHTML: "status 502: an HTML page", entratest.Internal: "InternalServerError",
		entratest.Truncated: "unexpected EOF", entratest.Reset: "reset by peer", entratest.Closed: "EOF", entratest.Forbidden: "Authorization_RequestDenied",
		entratest.Unauthorized: "InvalidAuthenticationToken",
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			tenant, o := tenantOfPages(t, false)
			tenant.Inject(entratest.Fault{Kind: kind, Times: -1})
			c := connect(t, o)
			s := collect(c.Full(t.Context(), ""))
			if s.Err == nil || !strings.Contains(s.Err.Error(), want) || len(s.Complete) > 0 || s.Pages > 0 {
				t.Errorf("Full = %v after %d pages, want %q", s.Err, s.Pages, want)
			}
			if c.Requests() > 12 {
				t.Errorf("%d requests for two lists", c.Requests())
			}
		})
	}
}

// The token service misbehaves: the pull mends it or says so, and tells nobody's secret.
func TestTokenFaults(t *testing.T) {
	t.Parallel()
	for kind, outcome := range map[entratest.FaultKind]int{
		entratest.ThrottleBare: mended, entratest.Unavailable: mended, entratest.GatewayHTML: mended, entratest.Reset: mended, entratest.Closed: mended,
		entratest.Truncated: mended, entratest.PortalHTML: incomplete, entratest.Empty: incomplete, entratest.Null: incomplete, entratest.Object: incomplete,
		entratest.Array: incomplete, entratest.NoContent: incomplete, entratest.Internal: incomplete,
	} {
		for _, endpoint := range []string{entratest.PostToken, entratest.GetOpenIDConfiguration} {
			t.Run(fmt.Sprintf("%s/%s", endpoint, kind), func(t *testing.T) {
				t.Parallel()
				tenant, o := tenantOfPages(t, false)
				tenant.Inject(entratest.Fault{Kind: kind, Endpoint: endpoint, Times: map[bool]int{true: 1, false: -1}[outcome == mended]})
				s := collect(connect(t, o).Full(t.Context(), ""))
				if outcome == mended {
					wantAll(t, s, tenant)
					return
				}
				if s.Err == nil || len(s.Complete)+s.Pages > 0 || strings.Contains(s.Err.Error(), entratest.DefaultClientSecret) {
					t.Errorf("Full = %v after %d pages", s.Err, s.Pages)
				}
				noShortList(t, s, tenant)
			})
		}
	}
}
