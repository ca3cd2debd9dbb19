package connectortest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/connectortest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, connectortest.Harness{
		New:           func() connectortest.Source { return newStaffDirectory() },
		QuietRequests: 1,
		Secrets:       []string{staffToken},
	})
}

func newStaffDirectory() *staffDirectory {
	return &staffDirectory{people: map[string]*person{}, teams: map[string]*team{}, changed: map[string]int64{}, left: map[string]string{}}
}

func (d *staffDirectory) Connect(at connectortest.Address, scope connectortest.Scope) (connectors.Connector, error) {
	c, err := newStaff(at, staffToken, scope.Exclude, scope.RequireGroup, d.now)
	if err != nil {
		return nil, err
	}
	return mutated(c), nil
}

// change changes the directory under its lock.
func (d *staffDirectory) change(id string, change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	d.touch(id)
}

func (d *staffDirectory) Advance(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ahead += by
}

func (d *staffDirectory) AddPerson(p connectortest.Person) string {
	id := d.newID("person")
	d.people[id] = &person{ID: id}
	d.ChangePerson(id, p)
	return id
}

func (d *staffDirectory) ChangePerson(id string, p connectortest.Person) {
	d.change(id, func() {
		state := map[bool]string{false: "employed", true: "on_leave"}[p.Disabled]
		*d.people[id] = person{ID: id, UserName: p.UserName, Given: p.GivenName, Family: p.FamilyName, Title: p.Title, State: state}
	})
}

func (d *staffDirectory) DeletePerson(id string) {
	for team, t := range d.teams {
		if slices.Contains(t.Members, id) {
			d.RemoveMember(team, id)
		}
	}
	d.change(id, func() { delete(d.people, id) })
}

func (d *staffDirectory) AddGroup(name string) string {
	id := d.newID("team")
	d.change(id, func() { d.teams[id] = &team{ID: id, Name: name} })
	return id
}

func (d *staffDirectory) RenameGroup(id, name string) {
	d.change(id, func() { d.teams[id].Name = name })
}

func (d *staffDirectory) DeleteGroup(id string) { d.change(id, func() { delete(d.teams, id) }) }

func (d *staffDirectory) AddMember(group, id string) {
	d.change(group, func() { d.teams[group].Members = append(d.teams[group].Members, id) })
}

func (d *staffDirectory) RemoveMember(group, id string) {
	d.change(group, func() {
		d.teams[group].Members = slices.DeleteFunc(slices.Clone(d.teams[group].Members), func(m string) bool { return m == id })
	})
}

// SoftDelete makes somebody one who left; the directory keeps them.
func (d *staffDirectory) SoftDelete(id string) {
	d.change(id, func() { d.left[id], d.people[id].State = d.people[id].State, "left" })
}

func (d *staffDirectory) Restore(id string) {
	d.change(id, func() { d.people[id].State = d.left[id] })
}
