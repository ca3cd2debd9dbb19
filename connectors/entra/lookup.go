package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// User reads one person by object id or user principal name. A disabled account has identity.StatusInactive. ErrNotFound
// means that Graph says so itself (it does of deleted people, too), that the person is a guest and guests are left out, is
// not assigned to the application, or is a member of no group in scope where RequireGroup is in force.
func (c *Connector) User(ctx context.Context, id string) (identity.Record, error) {
	u, readAt, err := c.userObject(ctx, id)
	if absent(err) {
		err = connectors.ErrNotFound
	}
	if err == nil {
		err = c.inScope(ctx, u)
	}
	if err != nil {
		return identity.Record{}, fmt.Errorf("user %s: %w", id, err)
	}
	m := mapper{readAt: readAt}
	return m.whole(u), nil
}

// userObject reads one user, whatever the scope.
func (c *Connector) userObject(ctx context.Context, id string) (*user, time.Time, error) {
	switch strings.Trim(id, ".") {
	case "", "delta", "delta()", "me", "$count":
		return nil, time.Time{}, fmt.Errorf("%q is neither an id nor a user principal name", id)
	}
	answer, err := c.object(ctx, endpointUser, c.userByID(id))
	if err != nil {
		return nil, time.Time{}, err
	}
	defer answer.Release()
	var u user
	if err := json.Unmarshal(answer.Body, &u); err != nil {
		return nil, time.Time{}, refuse(endpointUser, answer.Header, err)
	}
	err = u.identify()
	if asked, isID := parseGUID(id); err == nil && isID && asked != u.key {
		err = errors.New("the user has another id")
	}
	if err == nil && u.UserPrincipalName.value == "" {
		err = errLimited
	}
	if err != nil {
		return nil, time.Time{}, refuse(endpointUser, answer.Header, err)
	}
	return &u, answer.Began, nil
}

// inScope returns ErrNotFound unless the person is in scope.
func (c *Connector) inScope(ctx context.Context, u *user) error {
	if u.guest() && !c.guests {
		return fmt.Errorf("a guest: %w", connectors.ErrNotFound)
	}
	a, err := c.assignments(ctx, false, ignoreDate)
	if err != nil {
		return err
	}
	if a != nil && !a.users[u.key] {
		if err := c.assignedByGroup(ctx, u.key, a); err != nil {
			return err
		}
	}
	if !c.requireGroup {
		return nil
	}
	found, err := c.groupsInScope(ctx, u.key, c.limit(a))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("member of no group in scope: %w", connectors.ErrNotFound)
	}
	return err
}

// assignedByGroup returns ErrNotFound unless the person is a direct member of an assigned group.
func (c *Connector) assignedByGroup(ctx context.Context, id guid, a *assignments) error {
	found := false
	if len(a.groups) > 0 {
		l := c.memberOf(id.String())
		_, err := each(ctx, c, l, func(p page[directoryObject]) error {
			for _, o := range p.items {
				group, ok := parseGUID(o.ID)
				if !ok {
					return refusePage(l, p, errors.New("a group has no id"))
				}
				found = found || a.groups[group]
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("not assigned to the application: %w", connectors.ErrNotFound)
	}
	return nil
}

// groupsInScope returns the groups in scope that the person is a member of, at any depth.
func (c *Connector) groupsInScope(ctx context.Context, id guid, only map[guid]bool) ([]guid, error) {
	var found []guid
	unnamed := false
	l := c.transitiveMemberOf(id.String())
	_, err := each(ctx, c, l, func(p page[directoryObject]) error {
		for _, o := range p.items {
			if o.Type != "" && o.Type != typeGroup {
				continue
			}
			group, ok := parseGUID(o.ID)
			if !ok {
				return refusePage(l, p, errors.New("a group has no id"))
			}
			if only != nil && !only[group] {
				continue
			}
			if o.Name.value == "" && c.scope.Narrow() {
				unnamed = true
				continue
			}
			if c.scope.Includes(&identity.GroupRecord{SourceID: group.String(), DisplayName: o.Name.value}) {
				found = append(found, group)
			}
		}
		return nil
	})
	if err == nil && unnamed {
		err = fmt.Errorf("%w: %w", connectors.ErrForbidden, errNoName)
	}
	return found, err
}

// GroupsOf returns the ids of the groups in scope that a person is a member of, at any depth, by object id. ErrNotFound where
// there is no such person.
func (c *Connector) GroupsOf(ctx context.Context, userID string) ([]string, error) {
	id, ok := parseGUID(userID)
	if !ok {
		return nil, fmt.Errorf("groups of user %s: %w", userID, connectors.ErrNotFound)
	}
	a, err := c.assignments(ctx, false, ignoreDate)
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", userID, err)
	}
	found, err := c.groupsInScope(ctx, id, c.limit(a))
	if absent(err) {
		err = connectors.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", userID, err)
	}
	return sortedTexts(found), nil
}

// Group yields one group, by object id or display name, and then its members: everybody in it or in a group below it, guests
// left out with Guests off. Complete is set on its last page. A group that does not exist, or that the scope leaves out, is
// ErrNotFound.
func (c *Connector) Group(ctx context.Context, id string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		g, err := c.group(ctx, id)
		if err != nil {
			yield(connectors.Page{}, fmt.Errorf("group %s: %w", id, err))
			return
		}
		if !yield(connectors.Page{Phase: connectors.PhaseGroups, Groups: []identity.GroupRecord{g}, Complete: true}, nil) {
			return
		}
		key, _ := parseGUID(g.SourceID)
		members, err := c.newReader().closure(ctx, key)
		if err != nil {
			yield(connectors.Page{}, &connectors.IncompleteError{Phase: connectors.PhaseMembers, Err: fmt.Errorf("group %s: %w", g.SourceID, err)})
			return
		}
		for first := 0; ; first += memberBatch {
			rest := members[first:]
			last := len(rest) <= memberBatch
			m := identity.MemberRecord{GroupID: g.SourceID, UserIDs: texts(rest[:min(memberBatch, len(rest))]), Last: last}
			if !yield(connectors.Page{Phase: connectors.PhaseMembers, Members: []identity.MemberRecord{m}, Complete: last}, nil) || last {
				return
			}
		}
	}
}

func texts(ids []guid) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}

// group reads one group in scope.
func (c *Connector) group(ctx context.Context, id string) (identity.GroupRecord, error) {
	g, err := identity.GroupRecord{}, connectors.ErrNotFound
	if _, isID := parseGUID(id); isID {
		g, err = c.groupObject(ctx, id)
	}
	if errors.Is(err, connectors.ErrNotFound) {
		g, err = c.groupNamed(ctx, id)
	}
	if err != nil {
		return identity.GroupRecord{}, err
	}
	a, err := c.assignments(ctx, false, ignoreDate)
	if err != nil {
		return identity.GroupRecord{}, err
	}
	if !c.chosen(&g, c.limit(a)) {
		return identity.GroupRecord{}, fmt.Errorf("not in scope: %w", connectors.ErrNotFound)
	}
	return g, nil
}

// chosen tells whether the group is in scope; only is what limit returned.
func (c *Connector) chosen(g *identity.GroupRecord, only map[guid]bool) bool {
	id, _ := parseGUID(g.SourceID)
	return c.scope.Includes(g) && (only == nil || only[id])
}

// groupObject reads a group by id, whatever the scope.
func (c *Connector) groupObject(ctx context.Context, id string) (identity.GroupRecord, error) {
	answer, err := c.object(ctx, endpointGroup, c.groupByID(id))
	if absent(err) {
		return identity.GroupRecord{}, connectors.ErrNotFound
	}
	if err != nil {
		return identity.GroupRecord{}, err
	}
	defer answer.Release()
	var g group
	if err := json.Unmarshal(answer.Body, &g); err != nil {
		return identity.GroupRecord{}, refuse(endpointGroup, answer.Header, err)
	}
	record, err := g.record(answer.Began)
	if err != nil {
		return identity.GroupRecord{}, refuse(endpointGroup, answer.Header, err)
	}
	return record, nil
}

func (g *group) record(readAt time.Time) (identity.GroupRecord, error) {
	if err := g.identify(); err != nil {
		return identity.GroupRecord{}, err
	}
	if g.Name.value == "" {
		return identity.GroupRecord{}, errNoName
	}
	id := g.key.String()
	return identity.GroupRecord{SourceID: id, ExternalID: id, DisplayName: g.Name.value, ReadAt: readAt}, nil
}

// groupNamed looks for a display name, without case. Names may be shared by several groups.
func (c *Connector) groupNamed(ctx context.Context, name string) (identity.GroupRecord, error) {
	if identity.Normalize(name) == "" {
		return identity.GroupRecord{}, connectors.ErrNotFound
	}
	var found []identity.GroupRecord
	l := c.groupsNamed(name)
	_, err := each(ctx, c, l, func(p page[group]) error {
		for i := range p.items {
			record, err := p.items[i].record(p.began)
			if err != nil {
				return refusePage(l, p, err)
			}
			if identity.Normalize(record.DisplayName) == identity.Normalize(name) {
				found = append(found, record)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return identity.GroupRecord{}, err
	case len(found) == 0:
		return identity.GroupRecord{}, connectors.ErrNotFound
	case len(found) > 1:
		return identity.GroupRecord{}, fmt.Errorf("%d groups have this name, ask by id", len(found))
	}
	return found[0], nil
}

// reader reads groups' members, each group's once.
type reader struct {
	*Connector
	mu   sync.Mutex
	read map[guid]*membership
}

// membership is what is directly in a group.
type membership struct {
	users, groups []guid
}

func (c *Connector) newReader() *reader { return &reader{Connector: c, read: map[guid]*membership{}} }

// closure returns everybody in the group or in a group below it, once each, whatever cycles there are. It goes down level by
// level, several groups at a time. A group below that is not found is an error: its members may still be there.
func (r *reader) closure(ctx context.Context, id guid) ([]guid, error) {
	var members []guid
	seen, person := map[guid]bool{id: true}, map[guid]bool{}
	for level := []guid{id}; len(level) > 0; {
		read := make([]*membership, len(level))
		workers, workCtx := errgroup.WithContext(ctx)
		workers.SetLimit(parallel)
		for i, group := range level {
			workers.Go(func() (err error) {
				if read[i], err = r.members(workCtx, group); err != nil {
					return fmt.Errorf("members of %s: %w", group, err)
				}
				return nil
			})
		}
		if err := workers.Wait(); err != nil {
			return nil, err
		}
		level = nil
		for _, m := range read {
			for _, u := range m.users {
				if !person[u] {
					person[u] = true
					members = append(members, u)
				}
			}
			for _, g := range m.groups {
				if !seen[g] {
					seen[g] = true
					level = append(level, g)
				}
			}
		}
	}
	return members, nil
}

// members reads what is directly in the group.
func (r *reader) members(ctx context.Context, id guid) (*membership, error) {
	r.mu.Lock()
	m := r.read[id]
	r.mu.Unlock()
	if m != nil {
		return m, nil
	}
	m = &membership{}
	l := r.membersOf(id.String())
	_, err := each(ctx, r.Connector, l, func(p page[directoryObject]) error {
		for _, o := range p.items {
			member, ok := parseGUID(o.ID)
			switch {
			case !ok:
				return refusePage(l, p, errNoMemberID)
			case o.Type == typeGroup:
				m.groups = append(m.groups, member)
			case isUser(o.Type) && (r.guests || !strings.EqualFold(o.UserType.value, "Guest")):
				m.users = append(m.users, member)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read[id] = m
	return m, nil
}
