package entratest

import (
	"slices"
	"strings"
)

// AddGroup adds a security group and returns its id. More properties make it another one, for example groupTypes
// ["Unified"] or visibility "HiddenMembership".
func (t *Tenant) AddGroup(name string, more ...map[string]any) string {
	defer t.lock()()
	o := t.newObject(kindGroup)
	t.touch(o)
	o.doc.fill(groupSchema, t.security(name, t.stamp()))
	for _, p := range more {
		o.doc.fill(groupSchema, p)
	}
	t.record(change{object: o, what: everything})
	return o.id
}

// security returns the properties of a security group.
func (t *Tenant) security(name, created string) map[string]any {
	return map[string]any{
		"displayName": name, "createdDateTime": created, "renewedDateTime": created, "groupTypes": []string{},
		"mailEnabled": false, "mailNickname": strings.ReplaceAll(name, " ", ""), "securityEnabled": true,
		"creationOptions": []string{}, "proxyAddresses": []string{},
	}
}

// UpdateGroup changes properties of a group; nil clears.
func (t *Tenant) UpdateGroup(id string, properties map[string]any) {
	defer t.lock()()
	o := t.must(kindGroup, id)
	t.touch(o)
	if changed := o.doc.fill(groupSchema, properties); changed != 0 {
		t.record(change{object: o, what: changed})
	}
}

// RenameGroup changes a group's display name.
func (t *Tenant) RenameGroup(id, name string) {
	t.UpdateGroup(id, map[string]any{"displayName": name})
}

// DeleteGroup deletes a group: softly when it is a Microsoft 365 group, else for good.
func (t *Tenant) DeleteGroup(id string) {
	defer t.lock()()
	o := t.must(kindGroup, id)
	types, _ := o.doc.get(groupSchema.numbers["grouptypes"])
	if !strings.Contains(string(types), `"Unified"`) || o.state == Deleted {
		t.purgeGroup(o)
		return
	}
	t.touch(o)
	o.state = Deleted
	o.doc.fill(groupSchema, map[string]any{"deletedDateTime": t.stamp()})
	t.record(change{object: o, what: everything})
	t.moved(o, false, t.Leaving != LeaveNever)
}

// PurgeGroup deletes a group for good.
func (t *Tenant) PurgeGroup(id string) {
	defer t.lock()()
	t.purgeGroup(t.must(kindGroup, id))
}

func (t *Tenant) purgeGroup(o *object) {
	t.touch(o)
	t.purge(o)
	t.forget(o)
	o.members = nil
}

// RestoreGroup brings a softly deleted group back with its members.
func (t *Tenant) RestoreGroup(id string) {
	defer t.lock()()
	o := t.must(kindGroup, id)
	if o.state != Deleted {
		panic("entratest: the group " + id + " is not deleted")
	}
	t.touch(o)
	o.state = Present
	o.doc.fill(groupSchema, map[string]any{"deletedDateTime": nil})
	t.record(change{object: o, what: everything})
	for _, m := range o.members {
		if m.state == Present {
			t.record(change{object: o, what: bitRelation, member: m, added: true, moved: true})
		}
	}
	t.moved(o, true, t.Leaving != LeaveNever)
}

// AddMember makes a user, a group, a device, a contact or a service principal a member of a group.
func (t *Tenant) AddMember(groupID, memberID string) {
	defer t.lock()()
	g, m := t.must(kindGroup, groupID), t.any(memberID)
	if i, in := g.find(m); !in {
		g.members = slices.Insert(g.members, i, m)
		t.record(change{object: g, what: bitRelation, member: m, added: true})
	}
}

// RemoveMember ends a membership.
func (t *Tenant) RemoveMember(groupID, memberID string) {
	defer t.lock()()
	g, m := t.must(kindGroup, groupID), t.any(memberID)
	if i, in := g.find(m); in {
		g.members = slices.Delete(g.members, i, i+1)
		t.record(change{object: g, what: bitRelation, member: m})
	}
}
