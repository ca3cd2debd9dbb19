package entra_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/entra"
	"github.com/idpsync/idpsync/connectors/entra/entratest"
	"github.com/idpsync/idpsync/store/identity"
)

// company is a small tenant: people by letter, and groups. all: a b c d; app-one: a, in it app-low: b; app-two: c; lost: e.
// The application has app-one, app-two, and d and f themselves. g is in no group, guest in app-one.
type company struct {
	*entratest.Tenant
	options entra.Options
	ids     map[string]string
}

func newCompany(t *testing.T) *company {
	t.Helper()
	tenant := &entratest.Tenant{Seed: 5}
	c := &company{Tenant: tenant, options: serve(t, tenant), ids: map[string]string{}}
	for _, letter := range strings.Fields("a b c d e f g") {
		c.ids[letter] = tenant.AddUser(map[string]any{"userPrincipalName": letter + "@acme.test", "accountEnabled": true, "userType": "Member"})
	}
	c.ids["guest"] = tenant.AddGuest("guest@else.test")
	for name, members := range map[string]string{"all": "a b c d", "app-low": "b", "app-one": "a guest", "app-two": "c", "lost": "e"} {
		c.ids[name] = tenant.AddGroup(name)
		for m := range strings.FieldsSeq(members) {
			tenant.AddMember(c.ids[name], c.ids[m])
		}
	}
	tenant.AddMember(c.ids["app-one"], c.ids["app-low"])
	c.ids["app"] = tenant.AddServicePrincipal("idpsync")
	for _, name := range []string{"app-one", "app-two", "d", "f"} {
		tenant.Assign(c.ids["app"], c.ids[name], "")
	}
	tenant.Assign(c.ids["app"], tenant.AddServicePrincipal("another application"), "")
	return c
}

// names returns the names of ids, in order.
func (c *company) names(ids []string) string {
	var names []string
	for name, id := range c.ids {
		if slices.Contains(ids, id) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// Who and what is in scope. Full, User, Group and GroupsOf agree on it.
func TestScope(t *testing.T) {
	t.Parallel()
	const app, no, yes = "app", "no", "yes"
	for name, tc := range map[string]struct {
		set     func(*entra.Options, map[string]string)
		people  string
		members map[string]string
	}{
		"the whole tenant": {
			func(*entra.Options, map[string]string) {}, "a b c d e f g",
			map[string]string{"all": "a b c d", "app-low": "b", "app-one": "a b", "app-two": "c", "lost": "e"},
		},
		"with guests": {
			func(o *entra.Options, _ map[string]string) { o.Guests = true }, "a b c d e f g guest",
			map[string]string{"all": "a b c d", "app-low": "b", "app-one": "a b guest", "app-two": "c", "lost": "e"},
		},
		"members of any group": {
			func(o *entra.Options, _ map[string]string) { o.RequireGroup = new(true) }, "a b c d e",
			map[string]string{"all": "a b c d", "app-low": "b", "app-one": "a b", "app-two": "c", "lost": "e"},
		},
		"globs": {
			func(o *entra.Options, _ map[string]string) {
				o.GroupsInclude, o.GroupsExclude = []string{"APP-*"}, []string{"app-low"}
			}, "a b c",
			map[string]string{"app-one": "a b", "app-two": "c"},
		},
		"globs over ids": {
			func(o *entra.Options, ids map[string]string) { o.GroupsInclude = []string{ids["lost"]} }, "e",
			map[string]string{"lost": "e"},
		},
		"globs, and whoever else": {
			func(o *entra.Options, _ map[string]string) {
				o.GroupsInclude, o.RequireGroup = []string{"app-*"}, new(false)
			}, "a b c d e f g",
			map[string]string{"app-low": "b", "app-one": "a b", "app-two": "c"},
		},
		// b is a member of an assigned group through another one: Entra ID does not assign the application to b.
		"an application": {
			func(o *entra.Options, ids map[string]string) { o.ServicePrincipalID = strings.ToUpper(ids[app]) }, "a c",
			map[string]string{"app-one": "a", "app-two": "c"},
		},
		"an application, whoever is assigned": {
			func(o *entra.Options, ids map[string]string) {
				o.ServicePrincipalID, o.RequireGroup = ids[app], new(false)
			}, "a c d f",
			map[string]string{"app-one": "a", "app-two": "c"},
		},
		"an application and globs": {
			func(o *entra.Options, ids map[string]string) {
				o.ServicePrincipalID, o.GroupsInclude = ids[app], []string{"all"}
			}, "a c d",
			map[string]string{"all": "a c d"},
		},
		"an application without a group": {
			func(o *entra.Options, ids map[string]string) {
				o.ServicePrincipalID, o.GroupsExclude = ids[app], []string{"app-one"}
			}, "c",
			map[string]string{"app-two": "c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := newCompany(t)
			o := tenant.options
			tc.set(&o, tenant.ids)
			c := connect(t, o)
			s := collect(c.Full(t.Context(), ""))
			if s.Err != nil || s.Checkpoint == "" {
				t.Fatalf("Full: %v, checkpoint %q", s.Err, s.Checkpoint)
			}
			if got := tenant.names(sortedKeys(s.Users)); got != tc.people {
				t.Errorf("people = %s, want %s", got, tc.people)
			}
			members := map[string]string{}
			for id := range s.Groups {
				members[tenant.names([]string{id})] = tenant.names(s.Members[id])
				if !s.Last[id] {
					t.Errorf("group %s is not listed to its end", id)
				}
			}
			if diff := gocmp.Diff(tc.members, members); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			for _, name := range strings.Fields("a b c d e f g guest") {
				id := tenant.ids[name]
				r, err := c.User(t.Context(), id)
				if in := slices.Contains(strings.Fields(tc.people), name); in && (err != nil || r.SourceID != id) || !in && !errors.Is(err, connectors.ErrNotFound) {
					t.Errorf("User(%s) = %v, in scope %t", name, err, in)
				}
				if !slices.Contains(strings.Fields(tc.people), name) {
					continue
				}
				groups, err := c.GroupsOf(t.Context(), id)
				var want []string
				for group, members := range tc.members {
					if slices.Contains(strings.Fields(members), name) {
						want = append(want, group)
					}
				}
				slices.Sort(want)
				if got := tenant.names(groups); err != nil || got != strings.Join(want, " ") {
					t.Errorf("GroupsOf(%s) = %s, %v, want %s", name, got, err, want)
				}
			}
			for _, name := range []string{"all", "app-low", "app-one", "app-two", "lost"} {
				for _, key := range []string{tenant.ids[name], strings.ToUpper(name)} {
					g := collect(c.Group(t.Context(), key))
					want, in := tc.members[name]
					if !in {
						if !errors.Is(g.Err, connectors.ErrNotFound) || g.Pages > 0 {
							t.Errorf("Group(%s) = %v, want ErrNotFound", name, g.Err)
						}
						continue
					}
					for member := range strings.FieldsSeq(want) {
						if !slices.Contains(g.Members[tenant.ids[name]], tenant.ids[member]) {
							t.Errorf("Group(%s) lacks %s", name, member)
						}
					}
					if g.Err != nil || !g.Last[tenant.ids[name]] || !g.Complete[connectors.PhaseMembers] || !g.Complete[connectors.PhaseGroups] {
						t.Errorf("Group(%s) = %v, complete %v", name, g.Err, g.Complete)
					}
				}
			}
			before := c.Requests()
			n := collect(c.Changes(t.Context(), s.Checkpoint))
			want := int64(2)
			if o.ServicePrincipalID != "" {
				want++
			}
			if got := c.Requests() - before; n.Err != nil || got != want || n.Pages != 1 {
				t.Errorf("Changes where nothing changed = %v, %d pages, %d requests, want %d", n.Err, n.Pages, got, want)
			}
		})
	}
}

// Losing sight of the application is not everybody's leaving.
func TestAnApplicationThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*company){
		"it is not found": func(c *company) { c.DeleteServicePrincipal(c.ids["app"]) },
		"it may not be read": func(c *company) {
			c.Inject(entratest.Fault{Kind: entratest.Forbidden, Endpoint: entratest.ListAppRoleAssignedTo, Times: -1})
		},
		"there is an error": func(c *company) {
			c.Inject(entratest.Fault{Kind: entratest.Internal, Endpoint: entratest.ListAppRoleAssignedTo, Times: -1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := newCompany(t)
			o := tenant.options
			o.ServicePrincipalID = tenant.ids["app"]
			c := connect(t, o)
			checkpoint := collect(c.Full(t.Context(), "")).Checkpoint
			lose(tenant)
			fresh := connect(t, o)
			for _, s := range []stated{collect(fresh.Full(t.Context(), "")), collect(fresh.Changes(t.Context(), checkpoint))} {
				if s.Err == nil || errors.Is(s.Err, connectors.ErrNotFound) || s.Pages > 0 || s.Checkpoint != "" {
					t.Errorf("%v after %d pages, complete %v", s.Err, s.Pages, s.Complete)
				}
			}
			if _, err := fresh.User(t.Context(), tenant.ids["a"]); err == nil || errors.Is(err, connectors.ErrNotFound) {
				t.Errorf("User = %v, want an error that is no evidence", err)
			}
			if s := collect(fresh.Group(t.Context(), tenant.ids["app-one"])); s.Err == nil || errors.Is(s.Err, connectors.ErrNotFound) {
				t.Errorf("Group = %v, want an error that is no evidence", s.Err)
			}
		})
	}
}

// What changes of assignments come to.
func TestAssignmentsThatChange(t *testing.T) {
	t.Parallel()
	one := func(set func(*company, *entra.Options), do func(*company)) func(*testing.T) (stated, *company) {
		return func(t *testing.T) (stated, *company) {
			tenant := newCompany(t)
			o := tenant.options
			o.ServicePrincipalID = tenant.ids["app"]
			if set != nil {
				set(tenant, &o)
			}
			c := connect(t, o)
			full := collect(c.Full(t.Context(), ""))
			if full.Err != nil {
				t.Fatal(full.Err)
			}
			do(tenant)
			return collect(c.Changes(t.Context(), full.Checkpoint)), tenant
		}
	}
	flat := func(c *company, _ *entra.Options) { c.RemoveMember(c.ids["app-one"], c.ids["app-low"]) }
	t.Run("somebody is assigned and somebody let go", func(t *testing.T) {
		t.Parallel()
		s, c := one(nil, func(c *company) { c.Assign(c.ids["app"], c.ids["b"], ""); c.Unassign(c.ids["app"], c.ids["d"]) })(t)
		if got := c.names(s.Doubtful); s.Err != nil || got != "b d" || s.Checkpoint == "" {
			t.Errorf("Changes = %v, doubtful %s, want b d", s.Err, got)
		}
	})
	t.Run("groups, where none are nested", func(t *testing.T) {
		t.Parallel()
		s, c := one(flat, func(c *company) {
			c.Assign(c.ids["app"], c.ids["lost"], "")
			c.Unassign(c.ids["app"], c.ids["app-two"])
		})(t)
		if s.Err != nil || s.Groups[c.ids["lost"]] != "lost" || c.names(s.Members[c.ids["lost"]]) != "e" || !s.Last[c.ids["lost"]] || c.names(s.Gone) != "app-two" {
			t.Errorf("Changes = %v, groups %v, members %v, gone %v", s.Err, s.Groups, s.Members, c.names(s.Gone))
		}
	})
	for name, do := range map[string]func(*company){
		"a group is assigned":               func(c *company) { c.Assign(c.ids["app"], c.ids["lost"], "") },
		"a group is taken from it":          func(c *company) { c.Unassign(c.ids["app"], c.ids["app-two"]) },
		"a group that has it is deleted":    func(c *company) { c.DeleteGroup(c.ids["app-two"]) },
		"hundreds of people are let go too": func(c *company) { c.Unassign(c.ids["app"], c.ids["app-one"]) },
	} {
		t.Run(name+", where groups are nested", func(t *testing.T) {
			t.Parallel()
			if s, _ := one(nil, do)(t); !errors.Is(s.Err, connectors.ErrResync) || s.Pages > 0 {
				t.Errorf("Changes = %v after %d pages, want ErrResync", s.Err, s.Pages)
			}
		})
	}
	t.Run("by a group that is not in scope itself", func(t *testing.T) {
		t.Parallel()
		s, c := one(func(c *company, o *entra.Options) { o.GroupsInclude = []string{"all"} }, func(c *company) {
			c.AddMember(c.ids["app-one"], c.ids["b"])
			c.RemoveMember(c.ids["app-two"], c.ids["c"])
		})(t)
		if got := c.names(s.Doubtful); s.Err != nil || got != "b c" || len(s.Members) > 0 {
			t.Errorf("Changes = %v, doubtful %s, want b c; members %v", s.Err, got, s.Members)
		}
	})
	t.Run("by a group that is in scope", func(t *testing.T) {
		t.Parallel()
		s, c := one(flat, func(c *company) {
			c.AddMember(c.ids["app-one"], c.ids["g"])
			c.RemoveMember(c.ids["app-two"], c.ids["c"])
		})(t)
		if s.Err != nil || len(s.Doubtful) > 0 || c.names(s.Members[c.ids["app-one"]]) != "g" || c.names(s.Removed[c.ids["app-two"]]) != "c" {
			t.Errorf("Changes = %v, doubtful %v, members %v, removed %v", s.Err, s.Doubtful, s.Members, s.Removed)
		}
	})
	t.Run("of thousands there is a digest", func(t *testing.T) {
		t.Parallel()
		fill := func(c *company, _ *entra.Options) {
			for i := range 5001 {
				c.Assign(c.ids["app"], c.AddUser(map[string]any{"userPrincipalName": fmt.Sprintf("x%d@acme.test", i), "accountEnabled": true}), "")
			}
		}
		if s, _ := one(fill, func(*company) {})(t); s.Err != nil || len(s.Checkpoint) > 20_000 {
			t.Errorf("Changes = %v, a checkpoint of %d bytes", s.Err, len(s.Checkpoint))
		}
		if s, _ := one(fill, func(c *company) { c.Unassign(c.ids["app"], c.ids["d"]) })(t); !errors.Is(s.Err, connectors.ErrResync) {
			t.Errorf("Changes = %v, want ErrResync", s.Err)
		}
	})
}

func TestUserAndGroupAnswerWithEvidenceOrErrors(t *testing.T) {
	t.Parallel()
	tenant := newCompany(t)
	c := connect(t, tenant.options)
	const nobody = "11111111-2222-4333-8444-555555555555"
	for name, err := range map[string]error{
		"an unknown id":    second(c.User(t.Context(), nobody)),
		"an unknown name":  second(c.User(t.Context(), "nobody#EXT#@acme.test")),
		"an unknown group": collect(c.Group(t.Context(), nobody)).Err,
		"no such name":     collect(c.Group(t.Context(), "it's not there")).Err,
		"no such person":   second(c.GroupsOf(t.Context(), nobody)),
	} {
		if !errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
	for _, id := range []string{"", "me", "delta", ".", ".."} {
		if _, err := c.User(t.Context(), id); err == nil || errors.Is(err, connectors.ErrNotFound) {
			t.Errorf("User(%q) = %v, want an error that is no evidence", id, err)
		}
	}
	for kind, outcome := range faults {
		if outcome != incomplete || kind == entratest.NotFound || kind == entratest.NoNext || kind == entratest.RepeatCursor || kind == entratest.MissingValue {
			continue
		}
		for _, endpoint := range []string{entratest.GetUser, entratest.GetGroup, entratest.ListMembers} {
			tenant.Behave()
			tenant.Inject(entratest.Fault{Kind: kind, Endpoint: endpoint, Times: -1})
			_, err := c.User(t.Context(), tenant.ids["a"])
			if endpoint != entratest.GetUser {
				err = collect(c.Group(t.Context(), tenant.ids["app-one"])).Err
			}
			if errors.Is(err, connectors.ErrNotFound) {
				t.Errorf("%s at %s: %v, which is no evidence", kind, endpoint, err)
			}
		}
	}
	tenant.Behave()
	tenant.AddGroup("twin")
	tenant.AddGroup("Twin")
	if s := collect(c.Group(t.Context(), "twin")); s.Err == nil || errors.Is(s.Err, connectors.ErrNotFound) {
		t.Errorf("Group(a name of two) = %v", s.Err)
	}
	quoted := tenant.AddGroup("it's one & only #1")
	if s := collect(c.Group(t.Context(), "It's one & only #1")); s.Err != nil || s.Groups[quoted] == "" {
		t.Errorf("Group(quoted) = %v", s.Err)
	}
	// A group below that is not found is no empty one.
	tenant.Inject(entratest.Fault{Kind: entratest.NotFound, Endpoint: entratest.ListMembers, Contains: tenant.ids["app-low"], Times: -1})
	s := collect(c.Group(t.Context(), tenant.ids["app-one"]))
	var e *connectors.IncompleteError
	if !errors.As(s.Err, &e) || s.Last[tenant.ids["app-one"]] {
		t.Errorf("Group = %v, want its members incomplete", s.Err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestDisabledAndReplaced(t *testing.T) {
	t.Parallel()
	tenant := newCompany(t)
	c := connect(t, tenant.options)
	id := tenant.ids["a"]
	tenant.UpdateUser(id, map[string]any{"accountEnabled": false})
	if r, err := c.User(t.Context(), id); err != nil || r.Status != identity.StatusInactive || r.RawStatus != "disabled" {
		t.Errorf("User(disabled) = %+v, %v", r, err)
	}
	// Somebody leaves, and somebody new gets the name.
	tenant.DeleteUser(tenant.ids["b"])
	heir := tenant.AddUser(map[string]any{"userPrincipalName": "b@acme.test", "accountEnabled": true})
	r, err := c.User(t.Context(), "b@acme.test")
	if err != nil || r.SourceID != heir {
		t.Errorf("User(a name again) = %+v, %v, want %s", r, err, heir)
	}
	if _, err := c.User(t.Context(), tenant.ids["b"]); !errors.Is(err, connectors.ErrNotFound) {
		t.Errorf("User(who left) = %v, want ErrNotFound", err)
	}
}

// A canceled context ends everything at once, with no evidence of anything.
func TestContextIsObeyed(t *testing.T) {
	t.Parallel()
	tenant := newCompany(t)
	c := connect(t, tenant.options)
	full := collect(c.Full(t.Context(), ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"Full": collect(c.Full(ctx, "")).Err, "Changes": collect(c.Changes(ctx, full.Checkpoint)).Err, "User": second(c.User(ctx, tenant.ids["a"])),
		"Group": collect(c.Group(ctx, tenant.ids["all"])).Err, "GroupsOf": second(c.GroupsOf(ctx, tenant.ids["a"])), "Check": second(c.Check(ctx)),
	} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, connectors.ErrNotFound) || errors.Is(err, connectors.ErrResync) {
			t.Errorf("%s = %v, want the context's error", name, err)
		}
	}
	for range c.Full(t.Context(), "") {
		break // and a receiver that stops is no leak
	}
	for range c.Changes(t.Context(), full.Checkpoint) {
		break
	}
}
