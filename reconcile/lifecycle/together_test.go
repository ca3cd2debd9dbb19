package lifecycle_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// ring returns people who each have the next one's id as their title, and what puts it there.
func ring(people ...identity.User) ([]lifecycle.Part, func(ids []string) ([]lifecycle.Part, error)) {
	parts := make([]lifecycle.Part, len(people))
	for i := range people {
		parts[i].User = &people[i]
	}
	return parts, func(ids []string) ([]lifecycle.Part, error) {
		out := slices.Clone(parts)
		for i := range out {
			u := out[i].User.Clone()
			u.Attributes = identity.Attributes{"title": ids[(i+1)%len(ids)]}
			out[i].User = &u
		}
		return out, nil
	}
}

func TestCreateTogether_UsersWhoNameEachOther(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		gone := h.create("scim:k1", "ben", inactive)
		h.skipEvents()
		parts, resolve := ring(person("ana"), person("ben"), person("cleo"))
		made, err := h.CreateTogether(h.Context(), pusher, "scim:k1", parts, resolve)
		h.must(err)
		for i, p := range made {
			if next := made[(i+1)%3].User.ID; p.User.Attributes["title"] != next {
				h.Errorf("%s names %v, want %s", p.User.UserName, p.User.Attributes["title"], next)
			}
			h.same(*p.User)
		}
		if ben := made[1].User; ben.ID != gone.ID || !ben.Active {
			h.Errorf("ben is %s, active %v; want %s revived", ben.ID, ben.Active, gone.ID)
		}
		h.wantEvents("user.created ana", "user.reactivated ben (stated active)", "user.created cleo")
	})
}

func TestCreateTogether_GroupsAndTheirMembers(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := person("ana")
		parts := []lifecycle.Part{{Group: &identity.Group{DisplayName: "Crew"}}, {User: &ana}, {Group: &identity.Group{DisplayName: "Staff"}}}
		made, err := h.CreateTogether(h.Context(), pusher, "scim:k1", parts, func(ids []string) ([]lifecycle.Part, error) {
			u := ana.Clone()
			u.Attributes = identity.Attributes{"title": ids[0]}
			return []lifecycle.Part{
				{Group: parts[0].Group, Members: []string{ids[1]}}, {User: &u}, {Group: parts[2].Group},
			}, nil
		})
		h.must(err)
		h.wantMembers(made[0].Group.ID, "ana")
		h.wantMembers(made[2].Group.ID)
		h.wantTeams("Crew of a group", "Staff of a group")
		if made[0].Group.MemberCount != 1 || made[1].User.Attributes["title"] != made[0].Group.ID {
			h.Errorf("made %+v and %+v", made[0].Group, made[1].User)
		}
		h.wantEvents("user.created ana", "group.created Crew", "grant.added Crew (viewer on Crew)",
			"group.created Staff", "grant.added Staff (viewer on Staff)", "membership.added Crew ana")
	})
}

// Whatever one of them is refused for, nothing is left of any.
func TestCreateTogether_AllOrNone(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		taken, gone, boss := h.create("scim:k1", "taken"), h.create("scim:k1", "gone", inactive), h.admin("boss", true)
		h.group("Taken")
		h.skipEvents()
		for _, c := range []struct {
			name  string
			part  int
			parts []lifecycle.Part
			check func(error)
		}{
			{"a taken name", 1, people(person("gone"), person("taken")), func(err error) { h.wantDuplicate(err, "externalId", taken.ID) }},
			{"one name for two", 1, people(person("new"), person("NEW")), func(err error) { h.wantDuplicate(err, "userName", "") }},
			{"somebody held, twice", 1, people(person("gone"), person("gone")), func(err error) { h.wantDuplicate(err, "userName", gone.ID) }},
			{"the last admin", 1, people(person("new"), person("boss")), func(err error) { h.wantRefused(err, lastAdmin) }},
			{
				"a taken group", 1, append(people(person("new")), lifecycle.Part{Group: &identity.Group{DisplayName: "TAKEN"}}),
				func(err error) { h.wantDuplicate(err, "displayName", "") },
			},
			{
				"a member who is nobody", 1, append(people(person("gone")), lifecycle.Part{Group: &identity.Group{DisplayName: "New"}, Members: []string{"nobody"}}),
				func(err error) {
					var unknown *lifecycle.UnknownMemberError
					if !errors.As(err, &unknown) {
						h.Errorf("%v, want %T", err, unknown)
					}
				},
			},
		} {
			_, err := h.CreateTogether(h.Context(), pusher, "scim:k1", c.parts, func([]string) ([]lifecycle.Part, error) { return c.parts, nil })
			var at *lifecycle.PartError
			if !errors.As(err, &at) || at.Part != c.part {
				h.Errorf("%s: %v, want an error of part %d", c.name, err, c.part)
			}
			c.check(err)
			for _, u := range []identity.User{taken, gone, boss} {
				h.same(u)
			}
			if _, err := h.s.UserByName(h.Context(), "new@acme.test"); !errors.Is(err, store.ErrNotFound) {
				h.Errorf("%s: somebody new is there: %v", c.name, err)
			}
			h.wantTeams("Taken of a group")
		}
		h.wantEvents("change.refused boss (break glass: " + lastAdmin + ")")
	})
}

func people(users ...identity.User) []lifecycle.Part {
	parts, _ := ring(users...)
	return parts
}
