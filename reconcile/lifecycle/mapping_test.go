package lifecycle_test

import (
	"testing"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

func TestSyncGroups(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, by := t.Context(), identity.Actor{Kind: "system"}
		applier := func(rules ...roles.Rule) *lifecycle.Applier {
			mapping, err := roles.Compile(roles.Options{Rules: rules})
			if err != nil {
				t.Fatal(err)
			}
			a, err := lifecycle.New(lifecycle.Options{Store: s, Mapping: mapping})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		var ids []string
		for _, g := range []struct{ source, name string }{{"scim:k1", "Pushed"}, {"okta", "Pulled"}} {
			made, err := applier().CreateGroup(ctx, by, g.source, identity.Group{DisplayName: g.name, ExternalID: g.name}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, made.ID)
		}
		operator := []identity.TeamRole{{Team: "Payments", Role: identity.RoleOperator}}
		changed := applier(roles.Rule{Group: "Pushed", Grants: operator}, roles.Rule{Group: "Pulled", Grants: operator})
		for _, want := range []int{1, 0} { // the second time nothing differs
			if n, err := changed.SyncGroups(ctx, by, []string{"okta"}); err != nil || n != want {
				t.Errorf("SyncGroups() = %d, %v, want %d", n, err, want)
			}
		}
		grants, err := s.GroupGrants(ctx, ids)
		if err != nil || len(grants[ids[0]]) != 1 || len(grants[ids[1]]) != 0 {
			t.Errorf("grants %v (%v), want one of the pushed group, none of the pulled one", grants, err)
		}
		if n, err := applier().SyncGroups(ctx, by, nil); err != nil || n != 1 {
			t.Errorf("SyncGroups() without rules = %d, %v, want 1", n, err)
		}
		if _, err := s.TeamByName(ctx, "Payments"); err == nil {
			t.Error("a team that only a mapping named is left behind")
		}
	})
}
