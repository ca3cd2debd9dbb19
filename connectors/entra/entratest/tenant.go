// Package entratest is a Microsoft Entra ID tenant made of memory: a fake of the token endpoint and of Microsoft Graph
// that answers as the services were recorded to, for tests, demos and benchmarks. The zero Tenant is an empty tenant.
// It serves users, groups, members, delta queries, application role assignments and batches with Graph's paging,
// tokens, permissions, throttling, error bodies and headers, and can be told to misbehave (Inject). It imports nothing
// that it checks.
package entratest

import (
	"crypto/x509"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// What a Tenant that says nothing else has.
const (
	DefaultTenantID     = "5c2ea1d5-0b7e-4d3a-9a4c-6f1f0d7f3a10"
	DefaultClientID     = "3f0d3f5e-7d0b-4a52-8d1c-2b9f8f0f5b21"
	DefaultClientSecret = "fAk~8Q.SecretOfAnApplicationThatIsNotReal"
	DefaultDomain       = "acme.test"
)

// Permissions of Microsoft Graph that the tenant knows.
const (
	UserReadAll         = "User.Read.All"
	GroupReadAll        = "Group.Read.All"
	GroupMemberReadAll  = "GroupMember.Read.All"
	MemberReadHidden    = "Member.Read.Hidden"
	ApplicationReadAll  = "Application.Read.All"
	DeviceReadAll       = "Device.Read.All"
	OrgContactReadAll   = "OrgContact.Read.All"
	OrganizationReadAll = "Organization.Read.All"
	DirectoryReadAll    = "Directory.Read.All" // stands for all above but Member.Read.Hidden
)

// AllPermissions returns every permission that the tenant knows.
func AllPermissions() []string {
	return []string{
		UserReadAll, GroupReadAll, GroupMemberReadAll, MemberReadHidden, ApplicationReadAll, DeviceReadAll,
		OrgContactReadAll, OrganizationReadAll, DirectoryReadAll,
	}
}

// Tenant is a fake tenant. Set its fields before the first request. Its methods are safe for concurrent use; those that
// name an object panic when there is none, as that is a mistake of the test.
type Tenant struct {
	TenantID      string              // default DefaultTenantID
	Domain        string              // of user principal names, and another name of the tenant; default DefaultDomain
	ClientID      string              // of the application that asks; default DefaultClientID
	ClientSecret  string              // default DefaultClientSecret
	SecretExpires time.Time           // the zero time is never
	Certificates  []*x509.Certificate // what client assertions may be signed with
	Permissions   []string            // granted to the application; nil for AllPermissions
	TokenLifetime time.Duration       // default an hour

	Seed             uint64           // of ids, names and everything else that is drawn
	EnforceLimits    bool             // answer 429 beyond Budget
	Budget           int              // resource units in ten seconds; default 8000
	DeltaPage        int              // most objects on a page of a delta query; default 200
	DeltaLinks       int              // most members on a page of a delta query; default 500
	DeltaLifetime    time.Duration    // of delta links; default seven days
	RemovedAtFirst   bool             // the first round of a delta query tells of removed objects and members, too
	Leaving          Leaving          // when a delta query on groups tells that a deleted member left
	UntoldManagers   int              // every so many people, delta queries do not name the manager; 0 for never
	ReplicationDelay time.Duration    // how long reads do not see a change
	ClockOffset      time.Duration    // of the server's clock, as its Date header shows it
	Uncompressed     bool             // never compress an answer: a benchmark may leave that out
	Now              func() time.Time // default time.Now

	mu      sync.RWMutex
	once    sync.Once
	random  *rand.Rand
	serial  int
	users   []*object // in the order of creation, purged ones included
	groups  []*object
	objects map[string]*object // by id, purged ones included
	upns    map[string]*object // by user principal name in lower case
	log     []change
	epoch   int // of delta links
	grants  grants
	meter   meter
	traffic idptest.Traffic
}

// User is a copy of a user of the tenant.
type User struct {
	ID         string
	State      State
	Properties map[string]any // null for cleared, absent for never set
	Manager    string         // id, "" for none
}

// UserPrincipalName returns the property of that name.
func (u User) UserPrincipalName() string {
	s, _ := u.Properties["userPrincipalName"].(string)
	return s
}

// Group is a copy of a group of the tenant.
type Group struct {
	ID         string
	Name       string
	State      State
	Properties map[string]any
	Members    []string // ids of what is a direct member and not deleted, in the order of creation
}

// State tells whether an object is there.
type State int

// States of an object.
const (
	Present State = iota
	Deleted       // restorable
	Purged        // for good
)

// Leaving says when a delta query on groups tells that a deleted user left the groups. A deleted group leaves at once,
// unless nothing is told.
type Leaving int

// Ways to leave. Reads of members leave out whoever is deleted in any case.
const (
	LeaveWhenPurged  Leaving = iota // as documented: a softly deleted user keeps the memberships, and neither deletion nor restoring is told
	LeaveNever                      // as was seen of the service
	LeaveWhenDeleted                // and come back when restored
)

type kind uint8

const (
	kindUser kind = iota
	kindGroup
	kindDevice
	kindContact
	kindServicePrincipal
)

// object is anything in the directory.
type object struct {
	id     string
	serial int
	kind   kind
	view
	members []*object // of a group, by serial

	assigned []*assignment // to a service principal

	changedAt time.Time // with ReplicationDelay: of the last change
	before    *view     // and what is seen until the delay is over; nil for nothing
}

// view is what is seen of an object.
type view struct {
	state   State
	doc     document
	manager *object
}

func (t *Tenant) init() {
	t.once.Do(func() {
		orDefault(&t.TenantID, DefaultTenantID)
		orDefault(&t.Domain, DefaultDomain)
		orDefault(&t.ClientID, DefaultClientID)
		orDefault(&t.ClientSecret, DefaultClientSecret)
		orDefault(&t.TokenLifetime, time.Hour)
		orDefault(&t.Budget, 8000)
		orDefault(&t.DeltaPage, 200)
		orDefault(&t.DeltaLinks, 500)
		orDefault(&t.DeltaLifetime, 7*24*time.Hour)
		if t.Permissions == nil {
			t.Permissions = AllPermissions()
		}
		if t.Now == nil {
			t.Now = time.Now
		}
		t.random = rand.New(rand.NewPCG(t.Seed, 0xe47a))
		t.objects, t.upns = map[string]*object{}, map[string]*object{}
	})
}

func orDefault[T comparable](value *T, preset T) {
	var zero T
	if *value == zero {
		*value = preset
	}
}

// lock begins a change.
func (t *Tenant) lock() (unlock func()) {
	t.init()
	t.mu.Lock()
	return t.mu.Unlock
}

func (t *Tenant) rlock() (unlock func()) {
	t.init()
	t.mu.RLock()
	return t.mu.RUnlock
}

// newID draws a GUID.
func (t *Tenant) newID() string {
	var b [16]byte
	for i := range 2 {
		n := t.random.Uint64()
		for k := range 8 {
			b[i*8+k] = byte(n >> (8 * k))
		}
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var s [36]byte
	hex.Encode(s[0:], b[0:4])
	hex.Encode(s[9:], b[4:6])
	hex.Encode(s[14:], b[6:8])
	hex.Encode(s[19:], b[8:10])
	hex.Encode(s[24:], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

func (t *Tenant) newObject(k kind) *object {
	t.serial++
	o := &object{id: t.newID(), serial: t.serial, kind: k}
	t.objects[o.id] = o
	switch k {
	case kindUser:
		t.users = append(t.users, o)
	case kindGroup:
		t.groups = append(t.groups, o)
	}
	return o
}

func bySerial(o *object, serial int) int { return o.serial - serial }

func (o *object) find(member *object) (int, bool) {
	return slices.BinarySearchFunc(o.members, member.serial, bySerial)
}

// must returns the object of the kind that has the id.
func (t *Tenant) must(k kind, id string) *object {
	o := t.objects[id]
	if o == nil || o.kind != k || o.state == Purged {
		panic("entratest: there is no " + k.name() + " " + id)
	}
	return o
}

func (k kind) name() string {
	return [...]string{"user", "group", "device", "orgContact", "servicePrincipal"}[k]
}

func (k kind) schema() *schema {
	return [...]*schema{userSchema, groupSchema, deviceSchema, contactSchema, principalSchema}[k]
}

// seen returns what reads see of the object, nil for nothing.
func (t *Tenant) seen(o *object) *view {
	if t.ReplicationDelay > 0 && t.Now().Sub(o.changedAt) < t.ReplicationDelay {
		return o.before
	}
	return &o.view
}

// present returns what reads see of an object that is there, nil for one that is not.
func (t *Tenant) present(o *object) *view {
	if v := t.seen(o); v != nil && v.state == Present {
		return v
	}
	return nil
}

// membersOf returns the direct members of the group as reads see them, those that are not there left out.
func (t *Tenant) membersOf(g *object) []*object {
	members := g.members
	if t.ReplicationDelay > 0 {
		members = slices.Clone(members)
		for i, settled := len(t.log)-1, t.settled(); i >= settled; i-- {
			if c := &t.log[i]; c.object == g && c.member != nil {
				at, in := slices.BinarySearchFunc(members, c.member.serial, bySerial)
				switch {
				case c.added && !c.moved && in:
					members = slices.Delete(members, at, at+1)
				case !c.added && !c.moved && !in:
					members = slices.Insert(members, at, c.member)
				}
			}
		}
	}
	for i, m := range members {
		if t.present(m) == nil {
			kept := slices.Clone(members[:i])
			for _, m := range members[i:] {
				if t.present(m) != nil {
					kept = append(kept, m)
				}
			}
			return kept
		}
	}
	return members
}
