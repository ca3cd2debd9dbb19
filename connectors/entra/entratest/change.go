package entratest

import (
	"encoding/json"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// change is one entry of the log that delta queries read.
type change struct {
	at      time.Time
	object  *object
	what    set
	member  *object // who came to the group or left it, nil for another change
	added   bool
	moved   bool    // the membership stands, the member was deleted or restored
	manager *object // whom the user had before
}

// settled returns how many entries of the log reads see.
func (t *Tenant) settled() int {
	if t.ReplicationDelay <= 0 {
		return len(t.log)
	}
	seen := t.Now().Add(-t.ReplicationDelay)
	return sort.Search(len(t.log), func(i int) bool { return t.log[i].at.After(seen) })
}

func (t *Tenant) record(c change) {
	c.at = t.Now()
	t.log = append(t.log, c)
}

// touch keeps what reads see of the object until the delay is over. It is called before a change.
func (t *Tenant) touch(o *object) {
	if t.ReplicationDelay <= 0 {
		return
	}
	now := t.Now()
	if now.Sub(o.changedAt) >= t.ReplicationDelay && o.doc.fields != nil {
		before := o.view
		o.before = &before
	}
	o.changedAt = now
}

func (t *Tenant) stamp() string { return t.Now().UTC().Format("2006-01-02T15:04:05Z") }

// AddUser adds an enabled member and returns its id. The user principal name defaults to mail, and a display name,
// accountEnabled, userType and createdDateTime are set unless the properties name them; nil is never set. A property
// "manager" holds the manager's id.
func (t *Tenant) AddUser(properties map[string]any) string {
	defer t.lock()()
	p := maps.Clone(properties)
	if p == nil {
		p = map[string]any{}
	}
	boss, _ := p["manager"].(string)
	delete(p, "manager")
	upn, _ := p["userPrincipalName"].(string)
	if upn == "" {
		if upn, _ = p["mail"].(string); upn == "" {
			upn = "user" + itoa(t.serial+1) + "@" + t.Domain
		}
		p["userPrincipalName"] = upn
	}
	name, _, _ := strings.Cut(upn, "@")
	for property, preset := range map[string]any{
		"displayName": name, "accountEnabled": true, "userType": "Member", "createdDateTime": t.stamp(),
		"businessPhones": []string{}, "mailNickname": name,
	} {
		if _, given := p[property]; !given {
			p[property] = preset
		}
	}
	o := t.newObject(kindUser)
	t.touch(o)
	o.doc.fill(userSchema, p)
	if boss != "" {
		o.manager = t.must(kindUser, boss)
	}
	t.name(o, upn)
	t.record(change{object: o, what: everything})
	return o.id
}

// AddGuest adds a guest whose user principal name is made of the address, and returns its id.
func (t *Tenant) AddGuest(mail string) string {
	t.init()
	return t.AddUser(map[string]any{
		"userPrincipalName": strings.ReplaceAll(mail, "@", "_") + "#EXT#@" + t.Domain, "displayName": mail, "mail": mail,
		"userType": "Guest", "externalUserState": "Accepted", "creationType": "Invitation",
	})
}

// name makes the user known by the user principal name.
func (t *Tenant) name(o *object, upn string) {
	key := strings.ToLower(upn)
	if other := t.upns[key]; other != nil && other != o {
		panic("entratest: the user principal name " + upn + " is taken")
	}
	t.upns[key] = o
}

func (t *Tenant) upn(o *object) string { return o.doc.text(userSchema.numbers["userprincipalname"]) }

// UpdateUser changes properties of a user; nil clears. A property "manager" holds the manager's id, or nil.
func (t *Tenant) UpdateUser(id string, properties map[string]any) {
	defer t.lock()()
	o := t.must(kindUser, id)
	t.touch(o)
	p := maps.Clone(properties)
	boss, named := p["manager"]
	delete(p, "manager")
	before := t.upn(o)
	c := change{object: o, what: o.doc.fill(userSchema, p)}
	if upn := t.upn(o); upn != before {
		t.name(o, upn)
		delete(t.upns, strings.ToLower(before))
		t.upns[strings.ToLower(upn)] = o
	}
	if named {
		var manager *object
		if id, _ := boss.(string); id != "" {
			manager = t.must(kindUser, id)
		}
		if manager != o.manager {
			c.manager, o.manager = o.manager, manager
			c.what |= bitRelation
		}
	}
	if c.what != 0 {
		t.record(c)
	}
}

// DeleteUser deletes a user softly: the user principal name gets a prefix, and the user can be restored.
func (t *Tenant) DeleteUser(id string) {
	defer t.lock()()
	o := t.must(kindUser, id)
	if o.state != Present {
		return
	}
	t.touch(o)
	upn := t.upn(o)
	delete(t.upns, strings.ToLower(upn))
	o.state = Deleted
	o.doc.fill(userSchema, map[string]any{
		"userPrincipalName": strings.ReplaceAll(o.id, "-", "") + upn, "deletedDateTime": t.stamp(),
	})
	t.name(o, t.upn(o))
	t.record(change{object: o, what: everything})
	t.moved(o, false, t.Leaving == LeaveWhenDeleted)
}

// RestoreUser brings a softly deleted user back, under the old name and with the memberships.
func (t *Tenant) RestoreUser(id string) {
	defer t.lock()()
	o := t.must(kindUser, id)
	if o.state != Deleted {
		panic("entratest: the user " + id + " is not deleted")
	}
	t.touch(o)
	upn := t.upn(o)
	delete(t.upns, strings.ToLower(upn))
	upn = strings.TrimPrefix(upn, strings.ReplaceAll(o.id, "-", ""))
	o.state = Present
	o.doc.fill(userSchema, map[string]any{"userPrincipalName": upn, "deletedDateTime": nil})
	t.name(o, upn)
	t.record(change{object: o, what: everything})
	t.moved(o, true, t.Leaving == LeaveWhenDeleted)
}

// PurgeUser deletes a user for good. Its id is never used again.
func (t *Tenant) PurgeUser(id string) {
	defer t.lock()()
	o := t.must(kindUser, id)
	t.touch(o)
	t.purge(o)
	delete(t.upns, strings.ToLower(t.upn(o)))
	t.forget(o)
	o.doc = document{}
}

// purge records that the object is gone for good.
func (t *Tenant) purge(o *object) {
	told := t.Leaving == LeaveWhenPurged || t.Leaving == LeaveWhenDeleted && o.state == Present
	if o.kind == kindGroup {
		told = t.Leaving != LeaveNever && o.state == Present
	}
	o.state = Purged
	t.record(change{object: o, what: everything})
	t.moved(o, false, told)
}

// moved records what a member's going or coming back means to its groups, as far as they are told, and to whom it
// manages.
func (t *Tenant) moved(o *object, back, told bool) {
	for _, g := range t.groups {
		if _, in := g.find(o); in && told {
			t.record(change{object: g, what: bitRelation, member: o, added: back, moved: true})
		}
	}
	for _, u := range t.users {
		if u.manager == o {
			c := change{object: u, what: bitRelation}
			if !back {
				c.manager = o
			}
			t.record(c)
		}
	}
}

// forget takes an object that is gone for good out of everything.
func (t *Tenant) forget(o *object) {
	for _, g := range t.groups {
		if i, in := g.find(o); in {
			g.members = slices.Delete(g.members, i, i+1)
		}
	}
	for _, u := range t.users {
		if u.manager == o {
			u.manager = nil
		}
	}
	for _, p := range t.objects {
		if p.kind == kindServicePrincipal {
			p.assigned = slices.DeleteFunc(p.assigned, func(a *assignment) bool { return a.principal == o })
		}
	}
}

func (t *Tenant) any(id string) *object {
	if o := t.objects[id]; o != nil && o.state != Purged {
		return o
	}
	panic("entratest: there is no object " + id)
}

// AddDevice adds a device and returns its id.
func (t *Tenant) AddDevice(name string) string {
	defer t.lock()()
	return t.add(kindDevice, map[string]any{"displayName": name, "deviceId": t.newID(), "accountEnabled": true, "operatingSystem": "Windows"})
}

// AddContact adds an organizational contact and returns its id.
func (t *Tenant) AddContact(name, mail string) string {
	defer t.lock()()
	return t.add(kindContact, map[string]any{"displayName": name, "mail": mail})
}

// AddServicePrincipal adds the service principal of an application and returns its id.
func (t *Tenant) AddServicePrincipal(name string) string {
	defer t.lock()()
	app := t.newID()
	return t.add(kindServicePrincipal, map[string]any{
		"displayName": name, "appDisplayName": name, "appId": app, "accountEnabled": true, "appRoleAssignmentRequired": true,
		"servicePrincipalType": "Application", "signInAudience": "AzureADMyOrg", "servicePrincipalNames": []string{app},
		"appOwnerOrganizationId": t.TenantID, "createdDateTime": t.stamp(),
	})
}

func (t *Tenant) add(k kind, properties map[string]any) string {
	o := t.newObject(k)
	o.doc.fill(k.schema(), properties)
	return o.id
}

// DeleteServicePrincipal deletes a service principal with its assignments.
func (t *Tenant) DeleteServicePrincipal(id string) {
	defer t.lock()()
	o := t.must(kindServicePrincipal, id)
	o.state = Purged
	t.forget(o)
	o.assigned = nil
}

// AppID returns the application id of a service principal.
func (t *Tenant) AppID(servicePrincipalID string) string {
	defer t.rlock()()
	return t.must(kindServicePrincipal, servicePrincipalID).doc.text(principalSchema.numbers["appid"])
}

func itoa(n int) string {
	j, _ := json.Marshal(n)
	return string(j)
}
