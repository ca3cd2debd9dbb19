package scim_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/scimtest"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// TestConversations says what identity providers say (SCIM.md, section 6) to the endpoint over HTTP, on each database.
func TestConversations(t *testing.T) {
	t.Parallel()
	all, err := scimtest.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				server := listen(t, s, settings(t, c))
				values, err := scimtest.Replay(t.Context(), server.Client(), server.URL+scim.Root, "good", c)
				if err != nil {
					t.Fatal(err)
				}
				checkEnd(t, s, c.End, values)
			})
		})
	}
}

// listen serves an endpoint over a real connection; its base URL is the server's own.
func listen(t *testing.T, s *store.Store, options ...func(*scim.Options)) *httptest.Server {
	t.Helper()
	var e *endpoint
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	e = serve(t, s, append(options, func(o *scim.Options) { o.BaseURL = server.URL })...)
	return server
}

// settings are those that a conversation needs.
func settings(t *testing.T, c *scimtest.Conversation) func(*scim.Options) {
	t.Helper()
	return func(o *scim.Options) {
		for name, value := range c.Settings {
			switch name {
			case "user_name_is_email":
				o.UserNameIsEmail = value
			case "unknown_roles":
				o.UnknownRoles = value
			default:
				t.Fatalf("conversation %s needs a setting %s that is not known here", c.Name, name)
			}
		}
	}
}

// checkEnd looks into the store for what a conversation should have led to, and that nothing was refused.
func checkEnd(t *testing.T, s *store.Store, end scimtest.End, values map[string]string) {
	t.Helper()
	for state, names := range map[string][]string{"active": end.Active, "inactive": end.Inactive, "deleted": end.Deleted} {
		for _, name := range names {
			if u, err := s.User(t.Context(), values[name]); err != nil || stateOf(&u) != state {
				t.Errorf("%s is %s, %v, want %s", name, stateOf(&u), err, state)
			}
		}
	}
	for _, name := range end.Gone {
		if _, err := s.Group(t.Context(), values[name]); err == nil {
			t.Errorf("the group %s is still there", name)
		}
	}
	for group, names := range end.Members {
		want := []string{}
		for _, name := range names {
			want = append(want, values[name])
		}
		members, err := s.MembersOfGroups(t.Context(), []string{values[group]})
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, m := range members[values[group]] {
			got = append(got, m.ID)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
			t.Errorf("members of %s (-want +got):\n%s", group, diff)
		}
	}
	events, err := s.Audit(t.Context(), store.AuditQuery{Limit: 1000})
	if err != nil || len(events) == 0 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, e := range events {
		if e.Type == identity.EventRefused || e.Actor.Kind != "key" {
			t.Errorf("event %s of %s %q by %+v: %s", e.Type, e.Object, e.Name, e.Actor, e.Reason)
		}
	}
}

func stateOf(u *identity.User) string {
	switch {
	case u.Deleted():
		return "deleted"
	case u.Active:
		return "active"
	}
	return "inactive"
}
