package entra

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// assignmentsFresh is how long the list of assignments serves reads of single people.
	assignmentsFresh = 30 * time.Second
	// mostAssignments are kept in a checkpoint one by one; of more there is a digest.
	mostAssignments = 5000
)

// assignments are who is assigned to the application.
type assignments struct {
	users, groups map[guid]bool
}

// assignedCache are the assignments as last read.
type assignedCache struct {
	mu   sync.Mutex
	at   time.Time
	list *assignments
}

// assignments reads who is assigned to the application; nil where there is none. That the application is not found says
// nothing about the people assigned to it: it is an error like any other.
func (c *Connector) assignments(ctx context.Context, fresh bool, noteDate func(time.Time)) (*assignments, error) {
	if c.principal == "" {
		return nil, nil
	}
	c.assigned.mu.Lock()
	defer c.assigned.mu.Unlock()
	began := c.now()
	if age := began.Sub(c.assigned.at); !fresh && c.assigned.list != nil && age >= 0 && age < assignmentsFresh {
		return c.assigned.list, nil
	}
	all := &assignments{users: map[guid]bool{}, groups: map[guid]bool{}}
	l := c.assignedTo()
	_, err := each(ctx, c, l, func(p page[assignment]) error {
		noteDate(p.date)
		for _, a := range p.items {
			id, ok := parseGUID(a.PrincipalID)
			switch {
			case !ok || a.PrincipalType == "":
				return refusePage(l, p, errors.New("an assignment names nobody"))
			case a.PrincipalType == "User":
				all.users[id] = true
			case a.PrincipalType == "Group":
				all.groups[id] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.assigned.at, c.assigned.list = began, all
	return all, nil
}

func ignoreDate(time.Time) {}

// limit returns the groups that alone may be in scope, nil where all may.
func (c *Connector) limit(a *assignments) map[guid]bool {
	if a == nil || c.scope.Selects() {
		return nil
	}
	return a.groups
}

// list returns the ids, users before groups, each in order, and their digest.
func (a *assignments) list() (users, groups []string, digest string) {
	sum := sha256.New()
	for i, set := range []map[guid]bool{a.users, a.groups} {
		ids := make([]string, 0, len(set))
		for id := range set {
			ids = append(ids, id.String())
		}
		slices.Sort(ids)
		for _, id := range ids {
			sum.Write([]byte{byte(i)})
			sum.Write([]byte(id))
		}
		if i == 0 {
			users = ids
		} else {
			groups = ids
		}
	}
	return users, groups, hex.EncodeToString(sum.Sum(nil)[:16])
}
