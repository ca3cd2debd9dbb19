package roles_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store/identity"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// story is a log in which something happens every minute: the nth event at n minutes.
type story []identity.Event

func (s *story) tell(e identity.Event) {
	e.Seq, e.At = int64(len(*s)+1), epoch.Add(time.Duration(len(*s))*time.Minute)
	*s = append(*s, e)
}

func (s *story) user(t identity.EventType, name, reason string, fields ...identity.FieldChange) {
	s.tell(identity.Event{Type: t, Object: identity.ObjectUser, ObjectID: "u", Name: name, Reason: reason, Fields: fields})
}

func (s *story) group(t identity.EventType, id, name string, fields ...identity.FieldChange) {
	s.tell(identity.Event{Type: t, Object: identity.ObjectGroup, ObjectID: id, Name: name, Fields: fields})
}

func (s *story) members(t identity.EventType, id, name string, members ...string) {
	s.tell(identity.Event{Type: t, Object: identity.ObjectGroup, ObjectID: id, Name: name, Members: members})
}

// text is a grant event from before they had fields.
func (s *story) text(t identity.EventType, object identity.Object, id, reason string) {
	s.tell(identity.Event{Type: t, Object: object, ObjectID: id, Reason: reason})
}

func active(is bool) identity.FieldChange {
	return identity.FieldChange{Path: "active", Before: !is, After: is}
}

// at tells access after the first n events, as lines.
func (s story) at(t *testing.T, n int) string {
	t.Helper()
	got, err := roles.Past("u", s, epoch.Add(time.Duration(n-1)*time.Minute+time.Second))
	if err != nil {
		return err.Error()
	}
	line := got.UserName
	if !got.Active {
		line += " (" + got.Reason + ")"
	}
	for _, team := range got.Teams {
		for _, role := range team.Roles {
			for _, via := range role.Via {
				line += fmt.Sprintf("; %s:%s %s", team.Team, role.Role, strings.TrimSpace(string(via.Kind)+" "+via.Name))
				if via.Through != "" {
					line += " through " + via.Through
				}
			}
		}
	}
	return line
}

func TestPast(t *testing.T) {
	t.Parallel()
	given := func(kind identity.GrantKind, teamID, team, role, source string) identity.Event {
		return identity.GrantEvent(true, identity.Grant{UserID: "u", TeamID: teamID, TeamName: team, Role: role, Kind: kind, SourceID: source}, "ana", "")
	}
	var s story
	want := []string{}
	then := func(line string) {
		for len(want) < len(s) {
			want = append(want, line)
		}
	}
	s.user(identity.EventUserCreated, "ana", "", active(true))
	then("ana")
	s.group(identity.EventGroupCreated, "g", "Crew")
	s.members(identity.EventMembershipAdded, "g", "Crew", "other", "u")
	then("ana")
	s.tell(given(identity.GrantGroup, "t", "Crew", "viewer", "g"))
	then("ana; Crew:viewer group Crew")
	s.tell(given(identity.GrantManual, "t", "Crew", "viewer", ""))
	then("ana; Crew:viewer group Crew; Crew:viewer manual")
	// Renamed: the team follows with an event of its own.
	s.group(identity.EventGroupUpdated, "g", "Band", identity.FieldChange{Path: "displayName", Before: "Crew", After: "Band"})
	then("ana; Crew:viewer group Band; Crew:viewer manual")
	s.tell(identity.Event{Type: identity.EventTeamUpdated, Object: "team", ObjectID: "t", Name: "Band", Fields: []identity.FieldChange{{Path: "name", Before: "Crew", After: "Band"}}})
	then("ana; Band:viewer group Band; Band:viewer manual")
	// Nested, twice: one reason.
	s.members(identity.EventMembershipAdded, "o", "Outer", "g", "h")
	s.tell(given(identity.GrantGroup, "t", "Band", "operator", "o"))
	then("ana; Band:viewer group Band; Band:viewer manual")
	want[len(want)-1] = "ana; Band:operator group Outer through Band; Band:viewer group Band; Band:viewer manual"
	s.members(identity.EventMembershipAdded, "h", "Army", "u")
	then("ana; Band:operator group Outer through Army, Band; Band:viewer group Band; Band:viewer manual")
	s.user(identity.EventUserDeactivated, "anna", "absent", active(false))
	then("anna (deactivated: absent); Band:operator group Outer through Army, Band; Band:viewer group Band; Band:viewer manual")
	s.members(identity.EventMembershipRemoved, "h", "Army", "u")
	s.group(identity.EventGroupDeleted, "g", "Band")
	then("anna (deactivated: absent); Band:viewer manual")
	want[len(want)-2] = "anna (deactivated: absent); Band:operator group Outer through Band; Band:viewer group Band; Band:viewer manual"
	s.user(identity.EventUserDeleted, "anna", "deleted over SCIM")
	then("anna (deleted over SCIM); Band:viewer manual")
	s.user(identity.EventUserUpdated, "anna", "linked", identity.FieldChange{Path: "source", After: "okta 1"}) // by an operator
	then("anna (deleted over SCIM); Band:viewer manual")
	s.user(identity.EventUserUpdated, "anna", "stated again after it was deleted")
	then("anna (deactivated: stated again after it was deleted); Band:viewer manual")
	s.user(identity.EventUserUpdated, "Ana", "stated inactive")
	then("Ana (deactivated: stated again after it was deleted); Band:viewer manual")
	s.tell(identity.Event{Type: identity.EventSignInFailed, Object: identity.ObjectUser, ObjectID: "u", Name: "Ana"})
	then(want[len(want)-1])
	s.user(identity.EventUserReactivated, "Ana", "stated active", active(true))
	then("Ana; Band:viewer manual")
	s.tell(identity.GrantEvent(false, identity.Grant{UserID: "u", TeamID: "t", TeamName: "Band", Role: "viewer", Kind: identity.GrantManual}, "Ana", ""))
	then("Ana")
	for i, line := range want {
		if got := s.at(t, i+1); got != line {
			t.Errorf("after event %d, %s %s: %q, want %q", i+1, s[i].Type, s[i].Name, got, line)
		}
	}
}

// TestPast_FromText reads a log from before grants had fields, when a team's other name was known from its group alone.
func TestPast_FromText(t *testing.T) {
	t.Parallel()
	var s story
	s.user(identity.EventUserCreated, "ana", "", active(true))
	s.group(identity.EventGroupCreated, "g", "Crew")
	s.text(identity.EventGrantAdded, identity.ObjectGroup, "g", "viewer on Crew")
	s.text(identity.EventGrantAdded, identity.ObjectGroup, "g", "operator on root")
	s.text(identity.EventGrantAdded, identity.ObjectUser, "u", "direct role admin on root")
	s.members(identity.EventMembershipAdded, "g", "Crew", "u")
	before := "ana; Crew:viewer group Crew; root:admin direct attribute roles; root:operator group Crew"
	if got := s.at(t, len(s)); got != before {
		t.Errorf("%q, want %q", got, before)
	}
	s.group(identity.EventGroupUpdated, "g", "Band", identity.FieldChange{Path: "displayName", Before: "Crew", After: "Band"})
	after := "ana; Band:viewer group Band; root:admin direct attribute roles; root:operator group Band"
	if got := s.at(t, len(s)); got != after {
		t.Errorf("renamed: %q, want %q", got, after)
	}
	// What was given by text is taken away by fields.
	s.tell(identity.GrantEvent(false, identity.Grant{TeamID: "t", TeamName: "Band", Role: "viewer", Kind: identity.GrantGroup, SourceID: "g"}, "Band", ""))
	s.text(identity.EventGrantRevoked, identity.ObjectUser, "u", "direct role admin on root")
	if got, want := s.at(t, len(s)), "ana; root:operator group Band"; got != want {
		t.Errorf("revoked: %q, want %q", got, want)
	}
}

func TestPast_Unknown(t *testing.T) {
	t.Parallel()
	created := identity.Event{At: epoch, Type: identity.EventUserCreated, Object: identity.ObjectUser, ObjectID: "u", Name: "ana"}
	updated := created
	updated.Type = identity.EventUserUpdated
	for _, c := range []struct {
		name   string
		events []identity.Event
		at     time.Time
		want   roles.UnknownError
	}{
		{"no log", nil, epoch, roles.UnknownError{UserID: "u", At: epoch}},
		{"before", []identity.Event{created}, epoch.Add(-1), roles.UnknownError{UserID: "u", At: epoch.Add(-1)}},
		{"somebody else", []identity.Event{{At: epoch, Type: identity.EventUserCreated, ObjectID: "v"}}, epoch, roles.UnknownError{UserID: "u", At: epoch}},
		{"without a beginning", []identity.Event{updated}, epoch, roles.UnknownError{UserID: "u", UserName: "ana", At: epoch, First: epoch}},
	} {
		_, err := roles.Past("u", c.events, c.at)
		var got *roles.UnknownError
		if !errors.As(err, &got) {
			t.Errorf("%s: error %v, want an UnknownError", c.name, err)
			continue
		}
		if diff := cmp.Diff(c.want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if _, err := roles.Past("u", []identity.Event{created}, epoch); err != nil {
		t.Errorf("at the very moment: %v", err)
	}
	texts := []string{
		(&roles.UnknownError{UserID: "u", At: epoch}).Error(),
		(&roles.UnknownError{UserName: "ana", At: epoch, First: epoch.Add(time.Hour), Created: true}).Error(),
		(&roles.UnknownError{UserName: "ana", At: epoch, First: epoch.Add(time.Hour)}).Error(),
	}
	want := []string{
		"u: the audit log tells nothing of this person",
		"ana was not known yet at 2026-03-01T12:00:00Z: first stated at 2026-03-01T13:00:00Z",
		"ana at 2026-03-01T12:00:00Z is not known: the audit log does not tell how the account was created, its first event about it is of 2026-03-01T13:00:00Z",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("the errors say %q, want %q", texts, want)
	}
}
