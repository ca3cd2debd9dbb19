package okta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"sync"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// assignmentsFresh is how long the list of the application's groups serves reads of single users.
const assignmentsFresh = 30 * time.Second

// assignedGroups are the ids of the groups assigned to the application, as last read.
type assignedGroups struct {
	mu  sync.Mutex
	at  time.Time
	ids map[string]bool
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
			if c.inScope(&groups[i], assigned) {
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

// groupsOfApp returns the ids of the groups assigned to the application, or nil where they do not limit the scope.
func (c *Connector) groupsOfApp(ctx context.Context, fresh bool) (map[string]bool, error) {
	if c.appID == "" || c.scope.Selects() {
		return nil, nil
	}
	c.assigned.mu.Lock()
	defer c.assigned.mu.Unlock()
	began := c.now()
	if !fresh && c.assigned.ids != nil && began.Sub(c.assigned.at) < assignmentsFresh {
		return c.assigned.ids, nil
	}
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
	c.assigned.at, c.assigned.ids = began, groups
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
	if !c.inScope(&g, assigned) {
		return identity.GroupRecord{}, fmt.Errorf("not in scope: %w", connectors.ErrNotFound)
	}
	return g, nil
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
