package connectortest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(f func())
	Context() context.Context
}

// The scopes that connectors are tried with. A group whose name begins with "out-" is outside the narrow one.
var (
	whole  = Scope{}
	narrow = Scope{Exclude: []string{"out-*"}, RequireGroup: true}
)

// world is a source, what the suite put into it, and the line that connectors reach it by.
type world struct {
	Source
	line   *line
	people map[string]*somebody
	groups map[string]*someGroup
	made   int // numbers what is made, so that names differ
}

type somebody struct {
	Person
	away bool // deleted softly
}

type someGroup struct {
	name    string
	members map[string]bool
}

// newWorld returns an empty world, served until the test ends.
func newWorld(t tb, h Harness) *world {
	source := h.New()
	w := &world{Source: source, line: newLine(source, h.Uncounted), people: map[string]*somebody{}, groups: map[string]*someGroup{}}
	t.Cleanup(w.line.close)
	return w
}

// connect returns a new connector.
func (w *world) connect(t tb, scope Scope) connectors.Connector {
	t.Helper()
	c, err := w.Connect(w.line.address(), scope)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return c
}

var (
	givenNames  = []string{"Ada", "Bela", "Carla", "Dmitri", "Esra", "Farid", "Gudrun"}
	familyNames = []string{"Abara", "Berg", "Castro", "Dubois", "Evans"}
	titles      = []string{"Engineer", "", "Analyst", "Counsel"}
)

// hire adds somebody, under the user name of somebody deleted where one is given.
func (w *world) hire(userName string) string {
	w.made++
	p := Person{
		UserName:  cmp.Or(userName, fmt.Sprintf("person%d@acme.test", w.made)),
		GivenName: givenNames[w.made%len(givenNames)], FamilyName: familyNames[w.made%len(familyNames)], Title: titles[w.made%len(titles)],
	}
	id := w.AddPerson(p)
	w.people[id] = &somebody{Person: p}
	return id
}

func (w *world) change(id string, change func(*Person)) {
	change(&w.people[id].Person)
	w.ChangePerson(id, w.people[id].Person)
}

func (w *world) fire(id string) {
	w.DeletePerson(id)
	delete(w.people, id)
	for _, g := range w.groups {
		delete(g.members, id)
	}
}

func (w *world) softDelete(id string) {
	w.Source.(SoftDeleter).SoftDelete(id)
	w.people[id].away = true
}

func (w *world) restore(id string) {
	w.Source.(SoftDeleter).Restore(id)
	w.people[id].away = false
}

func (w *world) found(name string) string {
	id := w.AddGroup(name)
	w.groups[id] = &someGroup{name: name, members: map[string]bool{}}
	return id
}

func (w *world) groupName(prefix string) string {
	w.made++
	return fmt.Sprintf("%sTeam %d", prefix, w.made)
}

func (w *world) rename(id, name string) {
	w.RenameGroup(id, name)
	w.groups[id].name = name
}

func (w *world) dissolve(id string) {
	w.DeleteGroup(id)
	delete(w.groups, id)
}

func (w *world) join(groupID, personID string) {
	w.AddMember(groupID, personID)
	w.groups[groupID].members[personID] = true
}

func (w *world) leave(groupID, personID string) {
	w.RemoveMember(groupID, personID)
	delete(w.groups[groupID].members, personID)
}

// populate adds a dozen people and five groups: one that is large, one that is empty, one outside the narrow scope, and
// people who are disabled, in no group, or in several. It returns their ids in the order of creation.
func (w *world) populate() (people, groups []string) {
	for range 12 {
		people = append(people, w.hire(""))
	}
	w.change(people[3], func(p *Person) { p.Disabled = true })
	for _, name := range []string{"Everybody", "Nobody", "out-Siders", "Two Of Them", "Three Of Them"} {
		groups = append(groups, w.found(name))
	}
	for i, id := range people {
		if i < 9 {
			w.join(groups[0], id)
		}
		if i == 10 || i == 2 {
			w.join(groups[2], id)
		}
		if i < 2 {
			w.join(groups[3], id)
		}
		if i > 0 && i < 4 {
			w.join(groups[4], id)
		}
	}
	return people, groups
}

// directory is what is known of people, groups and memberships, in a form to compare. People who are gone are not in
// it, and are no members.
type directory struct {
	People  map[string]string
	Groups  map[string]string
	Members map[string][]string
}

func (s Scope) includes(groupName string) bool {
	return len(s.Exclude) == 0 || !strings.HasPrefix(groupName, "out-")
}

// directory returns what the source has in the scope.
func (w *world) directory(scope Scope) directory {
	d := directory{People: map[string]string{}, Groups: map[string]string{}, Members: map[string][]string{}}
	member := map[string]bool{}
	for id, g := range w.groups {
		if !scope.includes(g.name) {
			continue
		}
		d.Groups[id] = g.name
		d.Members[id] = []string{}
		for _, personID := range slices.Sorted(maps.Keys(g.members)) {
			if !w.people[personID].away {
				d.Members[id] = append(d.Members[id], personID)
				member[personID] = true
			}
		}
	}
	for id, p := range w.people {
		if !p.away && (member[id] || !scope.RequireGroup) {
			d.People[id] = describe(p.UserName, p.GivenName, p.FamilyName, p.Title, !p.Disabled)
		}
	}
	return d
}

func describe(userName, given, family, title string, active bool) string {
	return fmt.Sprintf("%s, %s %s, %q, active: %t", userName, given, family, title, active)
}

var pathTitle = identity.Path{Attr: "title"}

// describeRecord says of a record what describe says of a person.
func describeRecord(r *identity.Record) string {
	text := func(path identity.Path) string {
		for _, a := range r.Attributes {
			if s, ok := a.Value.(string); ok && a.Path == path {
				return s
			}
		}
		return ""
	}
	return describe(r.UserName, text(identity.PathGivenName), text(identity.PathFamilyName), text(pathTitle), r.Status == identity.StatusActive)
}

// gone tells whether the record is of somebody who is not to be known any more.
func gone(r *identity.Record) bool {
	return r.Status == identity.StatusGone || r.Status == identity.StatusPending
}
