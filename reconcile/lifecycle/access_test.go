package lifecycle_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// wantLookup wants what an application is told to be what the operators' way of asking explains, and returns its ETag.
func (h *house) wantLookup(id, name string) string {
	h.Helper()
	u := h.held(id)
	grants, err := h.s.EffectiveGrants(h.Context(), id)
	h.must(err)
	got, etag, err := lifecycle.Lookup(h.Context(), h.s, name)
	h.must(err)
	if diff := cmp.Diff(roles.Explain(&u, identity.SortGrants(grants)), got); diff != "" {
		h.Errorf("Lookup(%s) (-explained +got):\n%s", name, diff)
	}
	return etag
}

func TestLookup(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana", withRoles("operator"))
		var tags []string
		look := func() { h.Helper(); tags = append(tags, h.wantLookup(ana.ID, " ANA@acme.test")) }
		look()
		inner, middle := h.group("Ünder", ana.ID), h.group("Middle", ana.ID)
		look()
		outer := h.group("Engineers \"x\" \\", inner.ID, middle.ID)
		look()
		other := h.group("Over", outer.ID)
		look()
		_, err := h.members(other.ID, adds(ana.ID)) // no longer through anything
		h.must(err)
		look()
		h.rename(inner.ID, "Renamed")
		look()
		_, err = h.change(ana.ID, func(u *identity.User) { u.Active = false })
		h.must(err)
		look()
		h.must(h.DeleteUser(h.Context(), pusher, "scim:k1", ana.ID, 0))
		look()
		seen := map[string]int{}
		for i, tag := range tags {
			if at, twice := seen[tag]; twice {
				h.Errorf("the answers %d and %d have the same ETag %s", at, i, tag)
			}
			seen[tag] = i
		}
		look()
		if tags[len(tags)-1] != tags[len(tags)-2] {
			h.Errorf("ETags %s and %s of one answer", tags[len(tags)-2], tags[len(tags)-1])
		}
		for _, nobody := range []string{"", " ", "nobody", "a\x00b", "\xff"} {
			if _, _, err := lifecycle.Lookup(h.Context(), h.s, nobody); !errors.Is(err, store.ErrNotFound) {
				h.Errorf("Lookup(%q): error %v, want ErrNotFound", nobody, err)
			}
		}
	}, rule("Engineers \"x\" \\", "root:operator", "Payments:viewer"))
}

// TestLookup_WithoutPreparedStatements asks as the program does where a pooler keeps none.
func TestLookup_WithoutPreparedStatements(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), storetest.PostgresDSN(t)+"&default_query_exec_mode=exec")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := open(t, s)
	ana := h.create("scim:k1", "ana", withRoles("operator"))
	h.group("Outer", h.group("Inner", ana.ID).ID)
	h.wantLookup(ana.ID, "ANA@acme.test")
	if _, _, err := lifecycle.Lookup(t.Context(), s, "nobody"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Lookup(nobody): error %v, want ErrNotFound", err)
	}
}

func TestLookup_SaysWhyNothingIsInForce(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.create("scim:k1", "ana")
		ben := h.create("scim:k1", "ben", withRoles("operator"))
		_, err := h.change(ben.ID, func(u *identity.User) { u.Active = false })
		h.must(err)
		for name, want := range map[string]string{"ana": "no group, direct role or manual grant gives any role", "ben": "deactivated: stated inactive"} {
			got, _, err := lifecycle.Lookup(h.Context(), h.s, name+"@acme.test")
			h.must(err)
			if got.Reason != want || got.Active != (name == "ana") {
				h.Errorf("Lookup(%s) = active %v because of %q, want %q", name, got.Active, got.Reason, want)
			}
		}
	})
}

// large is an estate of many people in many groups, made without the Applier: that would take minutes. Its log tells of
// everything as the Applier's does: batch after batch of a first pull.
type large struct {
	s     *store.Store
	began time.Time
	n     int // people
}

const largeGroups, largeEach, largeBatch = 1000, 500, 2000

func nameOf(i int) string { return fmt.Sprintf("user%d@x.example", i) }

// fillLarge makes n people in 1,000 groups of 500, each of which has a team of its own.
func fillLarge(b testing.TB, s *store.Store, n int) *large {
	b.Helper()
	ctx, l := b.Context(), &large{s, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), n}
	ids := make([]string, n)
	tx := func(f func(tx *store.Tx) error) {
		b.Helper()
		if err := s.InTx(ctx, f); err != nil {
			b.Fatal(err)
		}
	}
	by := identity.Actor{Kind: "connector", ID: "okta", Name: "okta"}
	for at := 0; at < n; at += largeBatch {
		var users []identity.User
		var events []identity.Event
		for i := at; i < min(at+largeBatch, n); i++ {
			ids[i] = uuid.NewString()
			users = append(users, identity.User{
				ID: ids[i], UserName: nameOf(i), Active: true, Origin: identity.OriginSSO, Source: "okta", SourceID: fmt.Sprint("00u", i),
				Version: 1, Created: l.began, LastModified: l.began, Attributes: identity.Attributes{"title": "Engineer", "displayName": fmt.Sprint("User ", i)},
			})
			events = append(events, identity.Event{
				At: l.began, Type: identity.EventUserCreated, Actor: by, Object: identity.ObjectUser, ObjectID: ids[i], Name: nameOf(i),
				Fields: identity.Compare(&identity.User{}, &users[i-at]),
			})
		}
		tx(func(tx *store.Tx) error {
			if err := tx.InsertUsers(ctx, users); err != nil {
				return err
			}
			return tx.Record(ctx, events)
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for g := range largeGroups {
		tx(func(tx *store.Tx) error { return l.addGroup(b, tx, g, by, ids, random) })
	}
	return l
}

func (l *large) addGroup(b testing.TB, tx *store.Tx, n int, by identity.Actor, users []string, random *rand.Rand) error {
	ctx, at := b.Context(), l.began.Add(time.Hour)
	g := identity.Group{
		ID: uuid.NewString(), DisplayName: fmt.Sprint("Group ", n), Source: "okta", SourceID: fmt.Sprint("00g", n), Version: 1, Created: at, LastModified: at,
	}
	team := identity.Team{ID: uuid.NewString(), Name: g.DisplayName, GroupID: g.ID, Created: at}
	grant := identity.Grant{TeamID: team.ID, TeamName: team.Name, Role: identity.RoleViewer, Kind: identity.GrantGroup, SourceID: g.ID}
	members := make([]string, largeEach)
	for i := range members {
		members[i] = users[random.IntN(len(users))]
	}
	if err := tx.InsertGroup(ctx, &g); err != nil {
		return err
	}
	if err := tx.PutTeam(ctx, team); err != nil {
		return err
	}
	if err := tx.AddGroupGrant(ctx, store.GroupGrant{GroupID: g.ID, TeamID: team.ID, Role: identity.RoleViewer}); err != nil {
		return err
	}
	added, err := tx.AddMembers(ctx, g.ID, members)
	if err != nil {
		return err
	}
	event := identity.GrantEvent(true, grant, g.DisplayName, "viewer on "+team.Name)
	event.At, event.Actor = at, by
	return tx.Record(ctx, []identity.Event{
		{At: at, Type: identity.EventGroupCreated, Actor: by, Object: identity.ObjectGroup, ObjectID: g.ID, Name: g.DisplayName},
		event,
		{At: at, Type: identity.EventMembershipAdded, Actor: by, Object: identity.ObjectGroup, ObjectID: g.ID, Name: g.DisplayName, Members: added},
	})
}

// BenchmarkAccess measures what an application asks at sign-in, among 100,000 people in 1,000 groups with 500,000
// memberships, and what somebody might do in the past, which their log tells.
func BenchmarkAccess(b *testing.B) {
	for name, open := range map[string]func(testing.TB) *store.Store{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		b.Run(name, func(b *testing.B) {
			l := fillLarge(b, open(b), 100_000)
			b.Run("now", func(b *testing.B) {
				for b.Loop() {
					if _, _, err := lifecycle.Lookup(b.Context(), l.s, nameOf(rand.IntN(l.n))); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("past", func(b *testing.B) {
				for b.Loop() {
					u, err := l.s.UserByName(b.Context(), nameOf(rand.IntN(l.n)))
					if err != nil {
						b.Fatal(err)
					}
					if _, err := lifecycle.AccessAt(b.Context(), l.s, u.ID, l.began.Add(2*time.Hour)); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
