package entratest

import (
	"strings"
)

// Users returns all users in the order of creation, softly deleted ones included.
func (t *Tenant) Users() []User {
	defer t.rlock()()
	var users []User
	for _, o := range t.users {
		if o.state != Purged {
			users = append(users, o.user())
		}
	}
	return users
}

// User returns the user with the id or user principal name.
func (t *Tenant) User(key string) (User, bool) {
	defer t.rlock()()
	o := t.objects[key]
	if o == nil {
		o = t.upns[strings.ToLower(key)]
	}
	if o == nil || o.kind != kindUser || o.state == Purged {
		return User{}, false
	}
	return o.user(), true
}

func (o *object) user() User {
	u := User{ID: o.id, State: o.state, Properties: o.doc.toMap(userSchema)}
	if o.manager != nil {
		u.Manager = o.manager.id
	}
	return u
}

// Groups returns all groups in the order of creation, softly deleted ones included.
func (t *Tenant) Groups() []Group {
	defer t.rlock()()
	var groups []Group
	for _, o := range t.groups {
		if o.state != Purged {
			groups = append(groups, o.asGroup())
		}
	}
	return groups
}

// Group returns the group with the id or display name.
func (t *Tenant) Group(key string) (Group, bool) {
	defer t.rlock()()
	for _, o := range t.groups {
		if o.state != Purged && (o.id == key || o.doc.text(groupSchema.numbers["displayname"]) == key) {
			return o.asGroup(), true
		}
	}
	return Group{}, false
}

func (o *object) asGroup() Group {
	g := Group{
		ID: o.id, Name: o.doc.text(groupSchema.numbers["displayname"]), State: o.state,
		Properties: o.doc.toMap(groupSchema), Members: []string{},
	}
	for _, m := range o.members {
		if m.state == Present {
			g.Members = append(g.Members, m.id)
		}
	}
	return g
}

// GroupsOf returns the ids of the groups that the object is a direct member of.
func (t *Tenant) GroupsOf(id string) []string {
	defer t.rlock()()
	o := t.any(id)
	var ids []string
	for _, g := range t.groups {
		if _, in := g.find(o); in && g.state == Present {
			ids = append(ids, g.id)
		}
	}
	return ids
}
