// Package oktatest is an Okta organization made of memory: a fake that answers as the service was recorded to, for
// tests, demos and benchmarks. The zero Tenant is an empty organization. It serves lists of users, groups, members
// and application assignments with Okta's paging, filters, rate limits, error bodies and headers, and can be told to
// misbehave (Inject). It imports nothing that it checks.
package oktatest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// DefaultToken is the API token of a Tenant that has no other.
const DefaultToken = "00fAkeT0kenOfAnOrganizationThatIsNotReal42"

// Tenant is a fake organization. Set its fields before the first request. Its methods are safe for concurrent use;
// those that name an object panic when there is none, as that is a mistake of the test.
type Tenant struct {
	Token         string           // accepted as "Authorization: SSWS <Token>"; default DefaultToken
	Seed          uint64           // of ids, names and everything else that is drawn
	EnforceLimits bool             // answer 429 beyond Limits; otherwise the headers promise plenty
	Limits        map[string]int   // requests a minute by bucket (see Buckets); default the recorded ones
	SearchLag     time.Duration    // how long `search` does not see a change
	LogDelay      time.Duration    // how long after it happened an event is stored in the system log
	TokenLife     time.Duration    // of access tokens, default an hour
	DemandDPoP    bool             // refuse to issue tokens without proof of possession
	Now           func() time.Time // default time.Now

	mu      sync.RWMutex
	once    sync.Once
	random  *rand.Rand
	serial  uint64
	version uint64 // grows with each change
	users   []*user
	logins  map[string]*user
	groups  []*group
	apps    []*app
	gone    []*user // deleted, still in the search index
	events  []event

	limiter  limiter
	services services

	traffic idptest.Traffic
}

// User is a copy of a user of the tenant.
type User struct {
	ID          string
	Status      string
	Profile     map[string]any
	Created     time.Time
	LastUpdated time.Time
}

// Login returns the profile's login.
func (u User) Login() string { s, _ := u.Profile["login"].(string); return s }

// Group is a copy of a group of the tenant.
type Group struct {
	ID      string
	Name    string
	Members []string // ids of users, in order
}

type user struct {
	id            string
	serial        uint64
	status        string
	profile       profile
	created       time.Time
	activated     time.Time
	statusChanged time.Time
	lastUpdated   time.Time
	deleted       time.Time

	indexed   *user     // what the search index holds until the lag is over
	changedAt time.Time // of the last change, for the lag

	mu       sync.Mutex
	cached   []byte // as in a list
	cachedAt string // the base of cached's links
}

type group struct {
	id                    string
	name                  string
	description           string
	kind                  string
	created               time.Time
	lastUpdated           time.Time
	lastMembershipUpdated time.Time
	members               []*user // by id
}

type app struct {
	id     string
	label  string
	users  map[string]*assignment // direct, by user id
	groups []*group

	mu      sync.Mutex
	version uint64 // of the tenant when all was computed
	all     []*assignment
}

type assignment struct {
	user     *user
	scope    string // USER or GROUP
	userName string // "" means the login
	at       time.Time
}

func (t *Tenant) init() {
	t.once.Do(func() {
		if t.Token == "" {
			t.Token = DefaultToken
		}
		if t.Now == nil {
			t.Now = time.Now
		}
		t.random = rand.New(rand.NewPCG(t.Seed, 0x0c7a))
		t.logins = map[string]*user{}
	})
}

// lock begins a change.
func (t *Tenant) lock() (unlock func()) {
	t.init()
	t.mu.Lock()
	t.version++
	return t.mu.Unlock
}

func (t *Tenant) rlock() (unlock func()) {
	t.init()
	t.mu.RLock()
	return t.mu.RUnlock
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newID returns an id of 20 characters. Ids ascend in the order of creation, as Okta's do.
func (t *Tenant) newID(prefix string) string {
	t.serial++
	var b [20]byte
	copy(b[:], prefix)
	n := 62*62*62*62*62*20 + t.serial*7
	for i := 9; i >= 3; i-- {
		b[i] = base62[n%62]
		n /= 62
	}
	for i := 10; i < 17; i++ {
		b[i] = base62[t.random.IntN(62)]
	}
	copy(b[17:], "0x7")
	return string(b[:])
}

func (t *Tenant) now() time.Time { return t.Now().UTC().Truncate(time.Millisecond) }

// AddUser adds an active user and returns its id. A profile without a login gets its email's, and the other way
// round.
func (t *Tenant) AddUser(profile map[string]any) string {
	defer t.lock()()
	now := t.now()
	u := &user{status: "ACTIVE", created: now, activated: now, statusChanged: now, lastUpdated: now, changedAt: now}
	u.profile.update(profile)
	t.insert(u)
	t.record("user.lifecycle.create", u.target())
	return u.id
}

func (t *Tenant) insert(u *user) {
	login, email := u.profile.text("login"), u.profile.text("email")
	switch {
	case login == "" && email == "":
		login = fmt.Sprintf("user%d@acme.test", t.serial+1)
		u.profile.set("login", login)
		u.profile.set("email", login)
	case login == "":
		u.profile.set("login", email)
	case email == "":
		u.profile.set("email", login)
	}
	u.profile.complete()
	key := strings.ToLower(u.profile.text("login"))
	if t.logins[key] != nil {
		panic("oktatest: the login " + key + " is taken")
	}
	t.logins[key] = u
	u.id = t.newID("00u")
	u.serial = t.serial
	t.users = append(t.users, u)
}

// UpdateUser changes attributes of a user's profile; nil clears.
func (t *Tenant) UpdateUser(id string, profile map[string]any) {
	defer t.lock()()
	t.change(id, func(u *user) {
		before := strings.ToLower(u.profile.text("login"))
		u.profile = slices.Clone(u.profile)
		u.profile.update(profile)
		u.profile.complete()
		if after := strings.ToLower(u.profile.text("login")); after != before {
			if t.logins[after] != nil {
				panic("oktatest: the login " + after + " is taken")
			}
			delete(t.logins, before)
			t.logins[after] = u
			for _, a := range t.apps {
				if own := a.users[id]; own == nil && a.byGroup(id) || own != nil && own.userName == "" {
					t.record("application.user_membership.change_username", a.user(u), a.target(), u.target())
				}
			}
		}
	})
	t.record("user.account.update_profile", t.user(id).target())
}

// SetStatus puts a user into one of Okta's states, for example SUSPENDED or DEPROVISIONED. Deprovisioning takes away
// the user's application assignments and leaves memberships alone, as Okta does.
func (t *Tenant) SetStatus(id, status string) {
	defer t.lock()()
	t.change(id, func(u *user) {
		u.status = status
		u.statusChanged = t.now()
	})
	if status == "DEPROVISIONED" {
		for _, a := range t.apps {
			delete(a.users, id)
		}
	}
	t.record(lifecycleEvent(status), t.user(id).target())
}

func lifecycleEvent(status string) string {
	switch status {
	case "SUSPENDED":
		return "user.lifecycle.suspend"
	case "DEPROVISIONED":
		return "user.lifecycle.deactivate"
	case "ACTIVE":
		return "user.lifecycle.activate"
	}
	return "user.lifecycle.status"
}

// change applies f to the user under the lock and moves its lastUpdated.
func (t *Tenant) change(id string, f func(*user)) {
	u, now := t.user(id), t.now()
	if t.SearchLag > 0 && now.Sub(u.changedAt) >= t.SearchLag {
		u.indexed = u.snapshot()
	}
	f(u)
	u.lastUpdated, u.changedAt = now, now
	u.mu.Lock()
	u.cached = nil
	u.mu.Unlock()
}

func (u *user) snapshot() *user {
	return &user{
		id: u.id, serial: u.serial, status: u.status, profile: u.profile, created: u.created, activated: u.activated,
		statusChanged: u.statusChanged, lastUpdated: u.lastUpdated,
	}
}

// DeleteUser deletes a user for good: no list has it any more, only the system log tells.
func (t *Tenant) DeleteUser(id string) {
	defer t.lock()()
	u := t.user(id)
	now := t.now()
	for _, g := range t.groups {
		if i, in := g.find(id); in {
			g.members = slices.Delete(g.members, i, i+1)
			g.lastMembershipUpdated = now
		}
	}
	for _, a := range t.apps {
		delete(a.users, id)
	}
	delete(t.logins, strings.ToLower(u.profile.text("login")))
	i, _ := slices.BinarySearchFunc(t.users, id, byUserID)
	t.users = slices.Delete(t.users, i, i+1)
	u.deleted = now
	t.gone = append(t.gone, u)
	t.record("user.lifecycle.delete.completed", u.target())
}

// AddGroup adds a group and returns its id.
func (t *Tenant) AddGroup(name string) string {
	defer t.lock()()
	now := t.now()
	g := &group{id: t.newID("00g"), name: name, kind: "OKTA_GROUP", created: now, lastUpdated: now, lastMembershipUpdated: now}
	t.groups = append(t.groups, g)
	t.record("group.lifecycle.create", g.target())
	return g.id
}

// RenameGroup changes a group's name.
func (t *Tenant) RenameGroup(id, name string) {
	defer t.lock()()
	g := t.group(id)
	g.name, g.lastUpdated = name, t.now()
	t.record("group.profile.update", g.target())
}

// DeleteGroup deletes a group.
func (t *Tenant) DeleteGroup(id string) {
	defer t.lock()()
	g := t.group(id)
	t.groups = slices.DeleteFunc(t.groups, func(other *group) bool { return other == g })
	t.record("group.lifecycle.delete", g.target())
	for _, a := range t.apps {
		if slices.Contains(a.groups, g) {
			t.release(a, g)
		}
	}
}

// AddMember makes a user a member of a group.
func (t *Tenant) AddMember(groupID, userID string) {
	defer t.lock()()
	g, u := t.group(groupID), t.user(userID)
	if i, in := g.find(userID); !in {
		before := t.through(g, u)
		g.members = slices.Insert(g.members, i, u)
		g.lastMembershipUpdated = t.now()
		t.record("group.user_membership.add", u.target(), g.target())
		for _, a := range before {
			t.record("application.user_membership.add", a.user(u), a.target(), u.target())
		}
	}
}

// RemoveMember ends a membership.
func (t *Tenant) RemoveMember(groupID, userID string) {
	defer t.lock()()
	g, u := t.group(groupID), t.user(userID)
	if i, in := g.find(userID); in {
		g.members = slices.Delete(g.members, i, i+1)
		g.lastMembershipUpdated = t.now()
		t.record("group.user_membership.remove", u.target(), g.target())
		for _, a := range t.through(g, u) {
			t.record("application.user_membership.remove", a.user(u), a.target(), u.target())
		}
	}
}

// AddApp adds an application and returns its id.
func (t *Tenant) AddApp(label string) string {
	defer t.lock()()
	a := &app{id: t.newID("0oa"), label: label, users: map[string]*assignment{}}
	t.apps = append(t.apps, a)
	return a.id
}

// DeleteApp deletes an application.
func (t *Tenant) DeleteApp(id string) {
	defer t.lock()()
	a := t.app(id)
	t.apps = slices.DeleteFunc(t.apps, func(other *app) bool { return other == a })
}

// AssignUser assigns a user to an application, under another user name there unless userName is "".
func (t *Tenant) AssignUser(appID, userID, userName string) {
	defer t.lock()()
	a, u := t.app(appID), t.user(userID)
	kind := "application.user_membership.add"
	if a.users[userID] != nil || a.byGroup(userID) {
		kind = "application.user_membership.change_username"
	}
	a.users[userID] = &assignment{user: u, scope: "USER", userName: userName, at: t.now()}
	t.record(kind, a.user(u), a.target(), u.target())
}

// UnassignUser takes a user's own assignment to an application away.
func (t *Tenant) UnassignUser(appID, userID string) {
	defer t.lock()()
	a, u := t.app(appID), t.user(userID)
	delete(a.users, userID)
	t.record("application.user_membership.remove", a.user(u), a.target(), u.target())
}

// AssignGroup assigns a group, and so its members, to an application.
func (t *Tenant) AssignGroup(appID, groupID string) {
	defer t.lock()()
	a, g := t.app(appID), t.group(groupID)
	if slices.Contains(a.groups, g) {
		return
	}
	t.record("group.application_assignment.add", g.target(), a.target())
	for _, u := range g.members {
		if a.users[u.id] == nil && !a.byGroup(u.id) {
			t.record("application.user_membership.add", a.user(u), a.target(), u.target())
		}
	}
	a.groups = append(a.groups, g)
	slices.SortFunc(a.groups, func(x, y *group) int { return strings.Compare(x.id, y.id) })
}

// UnassignGroup takes a group's assignment to an application away.
func (t *Tenant) UnassignGroup(appID, groupID string) {
	defer t.lock()()
	if a, g := t.app(appID), t.group(groupID); slices.Contains(a.groups, g) {
		t.release(a, g)
	}
}

// release takes the group from the application, and the people whom nothing else leads there.
func (t *Tenant) release(a *app, g *group) {
	a.groups = slices.DeleteFunc(a.groups, func(other *group) bool { return other == g })
	t.record("group.application_assignment.remove", g.target(), a.target())
	for _, u := range g.members {
		if a.users[u.id] == nil && !a.byGroup(u.id) {
			t.record("application.user_membership.remove", a.user(u), a.target(), u.target())
		}
	}
}

// byGroup tells whether a group of the user's is assigned to the application.
func (a *app) byGroup(userID string) bool {
	return slices.ContainsFunc(a.groups, func(g *group) bool { _, in := g.find(userID); return in })
}

// through returns the applications that the group alone leads the user to, or would as a member.
func (t *Tenant) through(g *group, u *user) []*app {
	var apps []*app
	for _, a := range t.apps {
		others := slices.ContainsFunc(a.groups, func(other *group) bool { _, in := other.find(u.id); return in && other != g })
		if slices.Contains(a.groups, g) && a.users[u.id] == nil && !others {
			apps = append(apps, a)
		}
	}
	return apps
}

// Users returns all users by id, deprovisioned ones included.
func (t *Tenant) Users() []User {
	defer t.rlock()()
	users := make([]User, len(t.users))
	for i, u := range t.users {
		users[i] = u.copy()
	}
	return users
}

// User returns the user with the id or login.
func (t *Tenant) User(idOrLogin string) (User, bool) {
	defer t.rlock()()
	if u := t.find(idOrLogin); u != nil {
		return u.copy(), true
	}
	return User{}, false
}

// Groups returns all groups by id.
func (t *Tenant) Groups() []Group {
	defer t.rlock()()
	groups := make([]Group, len(t.groups))
	for i, g := range t.groups {
		groups[i] = g.copy()
	}
	return groups
}

// Group returns the group with the id or name.
func (t *Tenant) Group(idOrName string) (Group, bool) {
	defer t.rlock()()
	for _, g := range t.groups {
		if g.id == idOrName || g.name == idOrName {
			return g.copy(), true
		}
	}
	return Group{}, false
}

// GroupsOf returns the ids of the groups that the user is a member of.
func (t *Tenant) GroupsOf(userID string) []string {
	defer t.rlock()()
	var ids []string
	for _, g := range t.groups {
		if _, in := g.find(userID); in {
			ids = append(ids, g.id)
		}
	}
	return ids
}

func (u *user) copy() User {
	return User{ID: u.id, Status: u.status, Profile: u.profile.toMap(), Created: u.created, LastUpdated: u.lastUpdated}
}

func (g *group) copy() Group {
	c := Group{ID: g.id, Name: g.name, Members: make([]string, len(g.members))}
	for i, u := range g.members {
		c.Members[i] = u.id
	}
	return c
}

func byUserID(u *user, id string) int { return strings.Compare(u.id, id) }

func (g *group) find(userID string) (int, bool) {
	return slices.BinarySearchFunc(g.members, userID, byUserID)
}

func (t *Tenant) user(id string) *user {
	if i, ok := slices.BinarySearchFunc(t.users, id, byUserID); ok {
		return t.users[i]
	}
	panic("oktatest: there is no user " + id)
}

// find returns the user with the id, the login, or the login's unambiguous part before the @.
func (t *Tenant) find(key string) *user {
	if i, ok := slices.BinarySearchFunc(t.users, key, byUserID); ok {
		return t.users[i]
	}
	if u := t.logins[strings.ToLower(key)]; u != nil || strings.Contains(key, "@") {
		return u
	}
	var found *user
	prefix := strings.ToLower(key) + "@"
	for login, u := range t.logins {
		if strings.HasPrefix(login, prefix) {
			if found != nil {
				return nil
			}
			found = u
		}
	}
	return found
}

func (t *Tenant) group(id string) *group {
	if g := t.findGroup(id); g != nil {
		return g
	}
	panic("oktatest: there is no group " + id)
}

func (t *Tenant) findGroup(id string) *group {
	if i, ok := slices.BinarySearchFunc(t.groups, id, func(g *group, id string) int { return strings.Compare(g.id, id) }); ok {
		return t.groups[i]
	}
	return nil
}

func (t *Tenant) app(id string) *app {
	if a := t.findApp(id); a != nil {
		return a
	}
	panic("oktatest: there is no application " + id)
}

func (t *Tenant) findApp(id string) *app {
	for _, a := range t.apps {
		if a.id == id {
			return a
		}
	}
	return nil
}

// assignments returns who is assigned to the application, by id: a user's own assignment hides one by group. It
// needs the tenant's lock.
func (t *Tenant) assignments(a *app) []*assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all != nil && a.version == t.version {
		return a.all
	}
	byID := map[string]*assignment{}
	for _, g := range a.groups {
		for _, u := range g.members {
			byID[u.id] = &assignment{user: u, scope: "GROUP", at: g.lastMembershipUpdated}
		}
	}
	maps.Copy(byID, a.users)
	all := make([]*assignment, 0, len(byID))
	for _, assigned := range byID {
		if assigned.user.status != "DEPROVISIONED" {
			all = append(all, assigned)
		}
	}
	slices.SortFunc(all, func(x, y *assignment) int { return strings.Compare(x.user.id, y.user.id) })
	a.all, a.version = all, t.version
	return all
}
