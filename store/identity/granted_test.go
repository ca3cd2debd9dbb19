package identity_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/store/identity"
)

func TestGrantOf(t *testing.T) {
	t.Parallel()
	text := func(typ identity.EventType, object identity.Object, reason string) identity.Event {
		return identity.Event{Type: typ, Object: object, ObjectID: "o", Reason: reason}
	}
	group := identity.Grant{TeamID: "t", TeamName: "Payments", Role: "operator", Kind: identity.GrantGroup, SourceID: "g"}
	manual := identity.Grant{UserID: "u", TeamID: "t", TeamName: "Payments", Role: "admin", Kind: identity.GrantManual, SourceID: "a"}
	direct := identity.Grant{UserID: "u", TeamID: "t", TeamName: "root", Role: "admin", Kind: identity.GrantDirect}
	for _, c := range []struct {
		name  string
		event identity.Event
		want  identity.Grant
		ok    bool
	}{
		{"a group's, given", identity.GrantEvent(true, group, "Crew", "operator on Payments"), group, true},
		{"a group's, taken", identity.GrantEvent(false, group, "Crew", ""), group, true},
		{"by hand, given", identity.GrantEvent(true, manual, "ana", "any text"), manual, true},
		{"by hand, taken", identity.GrantEvent(false, manual, "ana", ""), manual, true},
		{"direct", identity.GrantEvent(true, direct, "ana", ""), direct, true},
		{
			"text of a group", text(identity.EventGrantAdded, identity.ObjectGroup, "operator on Sales on Tour"),
			identity.Grant{TeamName: "Sales on Tour", Role: "operator", Kind: identity.GrantGroup, SourceID: "o"},
			true,
		},
		{
			"text of a person", text(identity.EventGrantRevoked, identity.ObjectUser, "manual role scim_provisioner on root"),
			identity.Grant{UserID: "o", TeamName: "root", Role: "scim_provisioner", Kind: identity.GrantManual},
			true,
		},
		{"no text", text(identity.EventGrantAdded, identity.ObjectUser, ""), identity.Grant{UserID: "o"}, false},
		{"other text", text(identity.EventGrantAdded, identity.ObjectGroup, "because"), identity.Grant{Kind: identity.GrantGroup, SourceID: "o"}, false},
	} {
		// As the audit log gives it back.
		b, err := json.Marshal(c.event.Fields)
		if err != nil {
			t.Fatal(err)
		}
		c.event.Fields = nil
		if err := json.Unmarshal(b, &c.event.Fields); err != nil {
			t.Fatal(err)
		}
		got, ok := identity.GrantOf(&c.event)
		if diff := cmp.Diff(c.want, got); diff != "" || ok != c.ok {
			t.Errorf("%s: GrantOf = %v, want %v (-want +got):\n%s", c.name, ok, c.ok, diff)
		}
	}
}
