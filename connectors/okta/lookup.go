package okta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// assignmentsFresh is how long the list of the application's groups serves reads of single users.
const assignmentsFresh = 30 * time.Second

// assignedGroups are the ids of the groups assigned to the application, as last read.
type assignedGroups struct {
	reads singleflight.Group // the list is read once for all who want it at a time
	mu    sync.Mutex         // never held while a request is under way
	at    time.Time
	ids   map[string]bool
	tried map[string]bool // of an empty list: groups that were asked for one by one, and are not assigned
}

// User reads one person by immutable id or login. A deprovisioned one is returned with identity.StatusGone.
// ErrNotFound means that Okta says so itself, that the person is not assigned to the application, or that the
// person is a member of no group in scope where RequireGroup is in force.
func (c *Connector) User(ctx context.Context, id string) (identity.Record, error) {
	record, err := c.user(ctx, id)
	switch {
	case absent(err):
		return identity.Record{}, fmt.Errorf("user %s: %w", id, connectors.ErrNotFound)
	case err != nil:
		return identity.Record{}, fmt.Errorf("user %s: %w", id, err)
	case record.Status == identity.StatusGone:
		return record, nil
	}
	if c.appID != "" {
		if record.UserName, err = c.assignment(ctx, record); err != nil {
			return identity.Record{}, fmt.Errorf("user %s: %w", id, err)
		}
	}
	if c.requireGroup {
		if err := c.requireMembership(ctx, record.SourceID); err != nil {
			return identity.Record{}, fmt.Errorf("user %s: %w", id, err)
		}
	}
	return record, nil
}

// user reads one user object, whatever the scope.
func (c *Connector) user(ctx context.Context, id string) (identity.Record, error) {
	switch id {
	case "", ".", "..", "me": // "me" is whoever owns the token
		return identity.Record{}, fmt.Errorf("%q is neither an id nor a login", id)
	}
	answer, err := c.object(ctx, endpointUser, "/api/v1/users/"+url.PathEscape(id))
	if err != nil {
		return identity.Record{}, err
	}
	defer answer.Release()
	record, err := decodeUser(answer.Body, answer.Began)
	if err != nil {
		return identity.Record{}, c.refuse(endpointUser, answer, err)
	}
	return record, nil
}

// assignment reads the user's assignment to the application and returns the user name there.
func (c *Connector) assignment(ctx context.Context, r identity.Record) (string, error) {
	answer, err := c.object(ctx, endpointAppUser, "/api/v1/apps/"+c.appID+"/users/"+r.SourceID)
	if absent(err) {
		return "", fmt.Errorf("not assigned to application %s: %w", c.appID, connectors.ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	defer answer.Release()
	id, name, err := decodeAppUser(answer.Body)
	if err == nil && id != r.SourceID {
		err = errors.New("the app user has another id")
	}
	if err != nil {
		return "", c.refuse(endpointAppUser, answer, err)
	}
	if name == "" {
		return r.UserName, nil
	}
	return name, nil
}

// requireMembership returns ErrNotFound unless the user is a member of a group in scope.
func (c *Connector) requireMembership(ctx context.Context, id string) error {
	ids, err := c.groupsOf(ctx, id)
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("member of no group in scope: %w", connectors.ErrNotFound)
	}
	return err
}

// GroupsOf returns the immutable ids of the groups in scope that the user is a member of, by immutable id. ErrNotFound
// means that Okta says that there is no such user.
func (c *Connector) GroupsOf(ctx context.Context, userID string) ([]string, error) {
	if !validID(userID) {
		return nil, fmt.Errorf("groups of user %q: that is no id", userID)
	}
	ids, err := c.groupsOf(ctx, userID)
	switch {
	case absent(err):
		return nil, fmt.Errorf("groups of user %s: %w", userID, connectors.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("groups of user %s: %w", userID, err)
	}
	return ids, nil
}

func (c *Connector) groupsOf(ctx context.Context, id string) ([]string, error) {
	assigned, err := c.groupsOfApp(ctx, false)
	if err != nil {
		return nil, err // that the application is not there is no word on the user: see absent
	}
	var ids []string
	l := listing{endpoint: endpointUserGroup, path: "/api/v1/users/" + id + "/groups", unpaged: true}
	_, err = c.each(ctx, l, func(page page) (int, error) {
		groups, err := decodeGroups(page.Body, page.Began)
		if err != nil {
			return 0, c.refuse(l.endpoint, page.Answer, err)
		}
		for i := range groups {
			in, err := c.provenInScope(ctx, &groups[i], assigned)
			if err != nil {
				return 0, err
			}
			if in {
				ids = append(ids, groups[i].SourceID)
			}
		}
		return len(groups), nil
	})
	return ids, err
}

// inScope tells whether the group is in scope; assigned is what groupsOfApp returned.
func (c *Connector) inScope(g *identity.GroupRecord, assigned map[string]bool) bool {
	return c.scope.Includes(g) && (assigned == nil || assigned[g.SourceID])
}

// provenInScope tells what inScope does, as evidence. That the application has no groups at all is none by itself: the
// group's own assignment is asked for then.
func (c *Connector) provenInScope(ctx context.Context, g *identity.GroupRecord, assigned map[string]bool) (bool, error) {
	if assigned == nil || len(assigned) > 0 || !c.scope.Includes(g) {
		return c.inScope(g, assigned), nil
	}
	c.assigned.mu.Lock()
	tried := c.assigned.tried[g.SourceID]
	c.assigned.mu.Unlock()
	if tried {
		return false, nil
	}
	err := c.try(ctx, connectors.ShapeObject, endpointAppGroup, "/api/v1/apps/"+c.appID+"/groups/"+g.SourceID)
	if !absent(err) {
		if err == nil {
			err = fmt.Errorf("group %s is assigned to the application, whose list of groups is empty", g.SourceID)
		}
		return false, err
	}
	c.assigned.mu.Lock()
	defer c.assigned.mu.Unlock()
	if c.assigned.tried == nil {
		c.assigned.tried = map[string]bool{}
	}
	c.assigned.tried[g.SourceID] = true
	return false, nil
}

// groupsOfApp returns the ids of the groups assigned to the application, or nil where they do not limit the scope.
func (c *Connector) groupsOfApp(ctx context.Context, fresh bool) (map[string]bool, error) {
	if c.appID == "" || c.scope.Selects() {
		return nil, nil
	}
	c.assigned.mu.Lock()
	known, at := c.assigned.ids, c.assigned.at
	c.assigned.mu.Unlock()
	if !fresh && known != nil && c.now().Sub(at) < assignmentsFresh {
		return known, nil
	}
	read := c.assigned.reads.DoChan("", func() (any, error) { return c.readGroupsOfApp(ctx) })
	select {
	case r := <-read:
		if r.Shared && ctx.Err() == nil && (errors.Is(r.Err, context.Canceled) || errors.Is(r.Err, context.DeadlineExceeded)) {
			return c.readGroupsOfApp(ctx) // another one's context was over, not this one's
		}
		groups, _ := r.Val.(map[string]bool)
		return groups, r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *Connector) readGroupsOfApp(ctx context.Context) (map[string]bool, error) {
	began := c.now()
	groups := map[string]bool{}
	l := list(endpointAppGroups, "/api/v1/apps/"+c.appID+"/groups", c.pages.AppGroups)
	e, err := c.each(ctx, l, func(page page) (int, error) {
		ids, _, err := decodeIDs(page.Body)
		if err != nil {
			return 0, c.refuse(l.endpoint, page.Answer, err)
		}
		for _, id := range ids {
			groups[id] = true
		}
		return len(ids), nil
	})
	if err == nil && e.full && !e.next {
		err = c.probe(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	c.assigned.mu.Lock()
	defer c.assigned.mu.Unlock()
	c.assigned.at, c.assigned.ids, c.assigned.tried = began, groups, nil
	return groups, nil
}

// Group yields one group, by immutable id or display name, and then its members. Complete is set on its last page.
// A group that does not exist, or that the scope leaves out, is ErrNotFound.
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
		var held []connectors.Page // the last page waits for the proof
		stopped := false
		counted := 0
		e, err := c.eachMember(ctx, g.SourceID, c.pages.Members, func(page page, m identity.MemberRecord, _ []bool) error {
			counted += len(m.UserIDs)
			out := connectors.Page{Phase: connectors.PhaseMembers, Members: []identity.MemberRecord{m}, Complete: page.next == ""}
			if out.Complete {
				held = append(held, out)
				return nil
			}
			if !yield(out, nil) {
				stopped = true
				return errStopped
			}
			return nil
		})
		if stopped {
			return
		}
		if err == nil && e.full {
			err = c.recount(ctx, g.SourceID, counted)
		}
		if err != nil {
			yield(connectors.Page{}, &connectors.IncompleteError{Phase: connectors.PhaseMembers, Err: fmt.Errorf("group %s: %w", g.SourceID, err)})
			return
		}
		for _, page := range held {
			if !yield(page, nil) {
				return
			}
		}
	}
}

var errStopped = errors.New("the receiver stopped")

// group reads one group in scope.
func (c *Connector) group(ctx context.Context, id string) (identity.GroupRecord, error) {
	g, err := c.groupByID(ctx, id)
	if errors.Is(err, connectors.ErrNotFound) {
		g, err = c.groupByName(ctx, id)
	}
	if err != nil {
		return identity.GroupRecord{}, err
	}
	assigned, err := c.groupsOfApp(ctx, false)
	if err != nil {
		return identity.GroupRecord{}, err
	}
	in, err := c.provenInScope(ctx, &g, assigned)
	if err == nil && !in {
		err = fmt.Errorf("not in scope: %w", connectors.ErrNotFound)
	}
	return g, err
}

func (c *Connector) groupByID(ctx context.Context, id string) (identity.GroupRecord, error) {
	if !validID(id) {
		return identity.GroupRecord{}, connectors.ErrNotFound
	}
	answer, err := c.object(ctx, endpointGroup, "/api/v1/groups/"+id)
	if absent(err) {
		return identity.GroupRecord{}, connectors.ErrNotFound
	}
	if err != nil {
		return identity.GroupRecord{}, err
	}
	defer answer.Release()
	g, err := decodeGroup(answer.Body, answer.Began)
	if err != nil {
		return identity.GroupRecord{}, c.refuse(endpointGroup, answer, err)
	}
	return g, nil
}

// groupByName looks for a display name, without case. The parameter q finds names by their beginning, is answered
// from the directory itself, and comes without links.
func (c *Connector) groupByName(ctx context.Context, name string) (identity.GroupRecord, error) {
	var found []identity.GroupRecord
	l := listing{endpoint: endpointGroups, path: "/api/v1/groups?" + url.Values{"q": {name}}.Encode(), unpaged: true}
	_, err := c.each(ctx, l, func(page page) (int, error) {
		groups, err := decodeGroups(page.Body, page.Began)
		if err != nil {
			return 0, c.refuse(l.endpoint, page.Answer, err)
		}
		for _, g := range groups {
			if identity.Normalize(g.DisplayName) == identity.Normalize(name) {
				found = append(found, g)
			}
		}
		return len(groups), nil
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
