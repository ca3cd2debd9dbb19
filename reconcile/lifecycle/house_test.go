package lifecycle_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// house is an applier over an empty database, with a clock that goes on by a second with each look at it.
type house struct {
	*testing.T
	*lifecycle.Applier
	s    *store.Store
	mu   sync.Mutex
	now  time.Time
	seen int64 // the last audit event that a test has asked for
	runs int
}

var (
	pusher = identity.Actor{Kind: "key", ID: "k1", Name: "push", RequestID: "req"}
	puller = identity.Actor{Kind: "connector", ID: "okta", Name: "okta"}
)

// each runs a test on each database.
func each(t *testing.T, f func(h *house), rules ...roles.Rule) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) { f(open(t, s, rules...)) })
}

func open(t *testing.T, s *store.Store, rules ...roles.Rule) *house {
	t.Helper()
	h := &house{T: t, s: s, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	h.remap(rules...)
	return h
}

// remap puts another role mapping in force.
func (h *house) remap(rules ...roles.Rule) {
	h.Helper()
	mapping, err := roles.Compile(roles.Options{Rules: rules, DefaultRole: identity.RoleViewer})
	h.must(err)
	h.Applier, err = lifecycle.New(lifecycle.Options{Store: h.s, Mapping: mapping, Now: h.tick})
	h.must(err)
}

func (h *house) tick() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(time.Second)
	return h.now
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// rule maps a group to "team:role" pairs.
func rule(group string, pairs ...string) roles.Rule {
	r := roles.Rule{Group: group}
	for _, p := range pairs {
		team, role, _ := strings.Cut(p, ":")
		r.Grants = append(r.Grants, identity.TeamRole{Team: team, Role: role})
	}
	return r
}

// person is what a client posts.
func person(name string, edit ...func(*identity.User)) identity.User {
	u := identity.User{UserName: name + "@acme.test", ExternalID: name, Active: true, Attributes: identity.Attributes{"title": "Engineer"}}
	for _, f := range edit {
		f(&u)
	}
	return u
}

func inactive(u *identity.User) { u.Active = false }

func withRoles(list ...string) func(*identity.User) {
	return func(u *identity.User) {
		u.Roles = list
		var values []any
		for _, role := range list {
			values = append(values, map[string]any{"value": role})
		}
		if u.Attributes == nil {
			u.Attributes = identity.Attributes{}
		}
		delete(u.Attributes, "roles")
		if values != nil {
			u.Attributes["roles"] = values
		}
	}
}

func (h *house) create(source, name string, edit ...func(*identity.User)) identity.User {
	h.Helper()
	u, err := h.CreateUser(h.Context(), pusher, source, person(name, edit...))
	h.must(err)
	return u
}

func (h *house) change(id string, edit func(*identity.User)) (identity.User, error) {
	return h.ChangeUser(h.Context(), pusher, "scim:k1", id, 0, func(u *identity.User) error {
		edit(u)
		return nil
	})
}

func (h *house) group(name string, members ...string) identity.Group {
	h.Helper()
	g, err := h.CreateGroup(h.Context(), pusher, "scim:k1", identity.Group{DisplayName: name, ExternalID: "x-" + name}, members)
	h.must(err)
	return g
}

func (h *house) rename(id, name string) identity.Group {
	h.Helper()
	g, err := h.ChangeGroup(h.Context(), pusher, "scim:k1", id, 0, lifecycle.GroupChange{DisplayName: &name})
	h.must(err)
	return g
}

func (h *house) members(id string, ops ...lifecycle.MemberOp) (identity.Group, error) {
	return h.ChangeGroup(h.Context(), pusher, "scim:k1", id, 0, lifecycle.GroupChange{Members: ops})
}

func (h *house) admin(name string, provisioner ...bool) identity.User {
	h.Helper()
	u, err := h.CreateAdmin(h.Context(), identity.Actor{Kind: "cli"}, name+"@acme.test", "hash", len(provisioner) > 0)
	h.must(err)
	return u
}

// key gives a user an API key, used once when live.
func (h *house) key(id, userID string, used bool) {
	h.Helper()
	h.must(h.CreateKey(h.Context(), identity.Actor{Kind: "cli"}, store.Key{ID: id, UserID: userID, Name: id, Source: "scim:" + id, Hash: []byte(id), Created: h.now}))
	if used {
		h.must(h.s.TouchKey(h.Context(), id, h.now))
	}
}

// local makes a local account without any role.
func (h *house) local(name string) identity.User {
	h.Helper()
	u := person(name)
	u.ID, u.ExternalID, u.Origin, u.Version = uuid.NewString(), "", identity.OriginLocal, 1
	u.Created, u.LastModified = h.now, h.now
	h.must(h.s.InTx(h.Context(), func(tx *store.Tx) error {
		if err := tx.InsertUsers(h.Context(), []identity.User{u}); err != nil {
			return err
		}
		return tx.SetPassword(h.Context(), u.ID, "hash", h.now)
	}))
	return h.held(u.ID)
}

func (h *house) held(id string) identity.User {
	h.Helper()
	u, err := h.s.User(h.Context(), id)
	h.must(err)
	return u
}

// same wants a user to be as before. Seq is the store's: who was just made does not have it yet.
func (h *house) same(before identity.User) {
	h.Helper()
	if diff := cmp.Diff(before, h.held(before.ID), cmpopts.IgnoreFields(identity.User{}, "Seq")); diff != "" {
		h.Errorf("%s changed (-before +after):\n%s", before.UserName, diff)
	}
}

// access lists what somebody may do, as "team:role via reason".
func (h *house) access(id string) []string {
	h.Helper()
	u := h.held(id)
	grants, err := h.s.EffectiveGrants(h.Context(), id)
	h.must(err)
	list := []string{}
	access := roles.Explain(&u, grants)
	for _, team := range access.Teams {
		for _, role := range team.Roles {
			for _, via := range role.Via {
				line := strings.TrimSpace(fmt.Sprintf("%s:%s via %s %s", team.Team, role.Role, via.Kind, via.Name))
				if via.Through != "" {
					line += " through " + via.Through
				}
				list = append(list, line)
			}
		}
	}
	slices.Sort(list)
	if !access.Active {
		list = append([]string{"suspended"}, list...)
	}
	return list
}

func (h *house) wantAccess(id string, want ...string) {
	h.Helper()
	if diff := cmp.Diff(append([]string{}, want...), h.access(id)); diff != "" {
		h.Errorf("access of %s (-want +got):\n%s", h.held(id).UserName, diff)
	}
}

// teams lists all teams but root, those of groups marked.
func (h *house) teams() []string {
	h.Helper()
	teams, err := h.s.Teams(h.Context())
	h.must(err)
	list := []string{}
	for _, team := range teams {
		switch {
		case team.ID == identity.RootTeamID:
		case team.GroupID != "":
			list = append(list, team.Name+" of a group")
		default:
			list = append(list, team.Name)
		}
	}
	return list
}

func (h *house) wantTeams(want ...string) {
	h.Helper()
	if diff := cmp.Diff(append([]string{}, want...), h.teams()); diff != "" {
		h.Errorf("teams (-want +got):\n%s", diff)
	}
}

// memberNames lists a group's members, sorted.
func (h *house) memberNames(id string) []string {
	h.Helper()
	ids, err := h.s.MemberIDs(h.Context(), id, "", 1000)
	h.must(err)
	names := []string{}
	for _, id := range ids {
		names = append(names, strings.TrimSuffix(h.held(id).UserName, "@acme.test"))
	}
	slices.Sort(names)
	return names
}

// memberName is the name of a user, or of a group, which is to be told from one.
func (h *house) memberName(id string) string {
	h.Helper()
	u, err := h.s.User(h.Context(), id)
	if err == nil {
		return strings.TrimSuffix(u.UserName, "@acme.test")
	}
	var g identity.Group
	if g, err = h.s.Group(h.Context(), id); errors.Is(err, store.ErrNotFound) {
		return "group gone"
	}
	h.must(err)
	return "group " + g.DisplayName
}

func (h *house) wantMembers(id string, want ...string) {
	h.Helper()
	if diff := cmp.Diff(append([]string{}, want...), h.memberNames(id)); diff != "" {
		h.Errorf("members (-want +got):\n%s", diff)
	}
}

// wantEvents wants exactly these audit events since it was last asked, and an outbox entry for each event there is.
func (h *house) wantEvents(want ...string) {
	h.Helper()
	all, err := h.s.Audit(h.Context(), store.AuditQuery{Limit: 100_000})
	h.must(err)
	var got []string
	for _, e := range slices.Backward(all) {
		if e.Seq <= h.seen {
			continue
		}
		h.seen = e.Seq
		line := strings.TrimSpace(fmt.Sprintf("%s %s", e.Type, strings.TrimSuffix(e.Name, "@acme.test")))
		if len(e.Members) > 0 {
			var names []string
			for _, id := range e.Members {
				names = append(names, h.memberName(id))
			}
			slices.Sort(names)
			line += " " + strings.Join(names, ",")
		}
		if e.Reason != "" {
			line += " (" + e.Reason + ")"
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.Errorf("audit events (-want +got):\n%s", diff)
	}
	if n, err := h.s.OutboxLen(h.Context()); err != nil || n != len(all) {
		h.Errorf("%d outbox entries for %d events (%v)", n, len(all), err)
	}
}

// skipEvents leaves out what happened so far.
func (h *house) skipEvents() {
	h.Helper()
	all, err := h.s.Audit(h.Context(), store.AuditQuery{Limit: 1})
	h.must(err)
	if len(all) > 0 {
		h.seen = all[0].Seq
	}
}

func (h *house) wantRefused(err error, reason string) {
	h.Helper()
	var refused *lifecycle.RefusedError
	if !errors.As(err, &refused) || refused.Reason != "break glass: "+reason {
		h.Errorf("%v, want a refusal because %s", err, reason)
	}
}

func (h *house) wantDuplicate(err error, attribute, id string) {
	h.Helper()
	var duplicate *store.DuplicateError
	if !errors.As(err, &duplicate) || duplicate.Attribute != attribute || id != "" && duplicate.ID != id {
		h.Errorf("%#v, want that %s is taken by %s", err, attribute, id)
	}
}

const (
	lastAdmin = "this would take away the last active local admin on the root team"
	keyOwner  = "this local account owns a SCIM key in use"
)
