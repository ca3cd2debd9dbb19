package okta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// mostHeld is the number of changed users of an organization, beyond whom the application's own list is read rather than
// each of them by id.
const mostHeld = 100

// stamp is how filters write a time.
const stamp = "2006-01-02T15:04:05.000Z"

// Changes yields what changed since the checkpoint. It asks for the users and the groups that were updated since, and the
// system log for what no list shows: deletions and, with AppID, assignments. Where nothing changed that is three requests.
// Members are listed only of groups whose membership changed.
//
// A user object does not tell whether its user is in scope, so where AppID or RequireGroup narrows the scope the users are
// Unscoped; nor does it tell the user's name at the application, so with AppID they are stated without one. Whoever was
// assigned, unassigned or renamed there is Doubtful, as is whoever was deleted. Without AppID a member of a group in scope
// is in scope, and is stated whole with the membership. Where many people of the organization changed, the application's own
// list is read for those of them who are assigned.
//
// No phase is ever Complete: what is not stated did not change. Where all was read the last page carries the next
// checkpoint; a listing that was not, is an *connectors.IncompleteError, and there is no checkpoint.
func (c *Connector) Changes(ctx context.Context, checkpoint string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		last, err := connectors.ParseCheckpoint(checkpoint, c.name, c.scopeHash, time.Time{}) // run judges the age, by Okta's clock
		if err != nil {
			yield(connectors.Page{}, err)
			return
		}
		p := &changes{pull: newPull(c), since: last.At.Add(-overlap)}
		p.stream(ctx, yield, func(ctx context.Context) error { return p.run(ctx, last.At) })
	}
}

// changes is one pull of changes under way.
type changes struct {
	*pull
	since time.Time
	told  told

	assigned map[string]bool // of groupsOfApp, once it is needed
	asked    bool

	held []identity.Record // see holdBack
	many map[string]bool

	stating sync.Mutex
}

// run reads the log first, because it may show that only a full pull will do, and groups before users, because a membership
// proves what a user object alone does not.
func (p *changes) run(ctx context.Context, last time.Time) error {
	var err error
	p.told, err = p.readLog(ctx, p.since)
	if errors.Is(err, connectors.ErrResync) {
		return err
	}
	now, ok := p.start.time()
	if !ok {
		now = p.now()
	}
	switch {
	case now.Sub(last) > connectors.CheckpointAge:
		return fmt.Errorf("%w: the checkpoint is %s old", connectors.ErrResync, now.Sub(last).Round(time.Hour))
	case last.Sub(now) > overlap && ok:
		return fmt.Errorf("%w: Okta's clock is %s behind the checkpoint", connectors.ErrResync, last.Sub(now).Round(time.Second))
	}
	if err != nil {
		err = p.fail(ctx, connectors.PhaseUsers, err)
	}
	for _, read := range []func(context.Context) error{p.doubt, p.changedGroups, p.changedUsers} {
		if err != nil {
			return err
		}
		err = read(ctx)
	}
	if err != nil {
		return err
	}
	if err := p.incomplete(); err != nil {
		return err
	}
	if next := p.checkpoint(); next != "" {
		return p.send(ctx, connectors.Page{Phase: connectors.PhaseMembers, Checkpoint: next})
	}
	return nil
}

// doubt states whom the log tells of. They are not stated again: who is read by id is known better than from a list.
func (p *changes) doubt(ctx context.Context) error {
	if len(p.told.people) == 0 {
		return nil
	}
	doubtful := slices.Sorted(maps.Keys(p.told.people))
	for _, id := range doubtful {
		p.roster.add(id, listed)
	}
	return p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Doubtful: doubtful})
}

// changedUsers states the users who were updated. A filter, unlike no filter, lists deprovisioned users too.
func (p *changes) changedUsers(ctx context.Context) error {
	keep := func(id string) bool { return p.roster.list(id, false) }
	l := list(endpointUsers, "/api/v1/users", p.pages.Users, "filter", `lastUpdated gt "`+p.since.UTC().Format(stamp)+`"`)
	err := p.proven(ctx, l, func(page page) (int, error) {
		records, items, err := decodeUsers(page.Body, false, page.Began, keep)
		if err != nil {
			return 0, p.refuse(l.endpoint, page.Answer, err)
		}
		if p.appID != "" {
			return items, p.holdBack(ctx, records)
		}
		return items, p.stateUsers(ctx, records)
	})
	if err == nil {
		err = p.stateAssigned(ctx)
	}
	if err != nil {
		return p.fail(ctx, connectors.PhaseUsers, err)
	}
	return nil
}

// stateUsers sends the records, if any.
func (p *changes) stateUsers(ctx context.Context, records []identity.Record) error {
	if len(records) == 0 {
		return nil
	}
	return p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Records: records, Unscoped: p.appID != "" || p.requireGroup})
}

// holdBack keeps the records of an application's pull until it shows how many they are. Whoever of them is not known has
// to be read by id, and most of a large organization has nothing to do with the application: of many, only the ids are
// kept, for stateAssigned. Who is gone is assigned to nothing any more, and stated at once.
func (p *changes) holdBack(ctx context.Context, records []identity.Record) error {
	gone := records[:0:0]
	for _, r := range records {
		r.UserName = ""
		if r.Status == identity.StatusGone {
			gone = append(gone, r)
			continue
		}
		p.held = append(p.held, r)
	}
	if len(p.held) > mostHeld || len(p.many) > 0 {
		if p.many == nil {
			p.many = map[string]bool{}
		}
		for _, r := range p.held {
			p.many[r.SourceID] = true
		}
		p.held = nil
	}
	return p.stateUsers(ctx, gone)
}

// stateAssigned states what holdBack kept: a few as they are, of many those whom the application's own list has, with their
// names there.
func (p *changes) stateAssigned(ctx context.Context) error {
	if len(p.many) == 0 {
		return p.stateUsers(ctx, p.held)
	}
	l := list(endpointAppUsers, "/api/v1/apps/"+p.appID+"/users", p.pages.AppUsers, "expand", "user")
	return p.proven(ctx, l, func(page page) (int, error) {
		records, items, err := decodeUsers(page.Body, true, page.Began, func(id string) bool { return p.many[id] })
		if err != nil {
			return 0, p.refuse(l.endpoint, page.Answer, err)
		}
		return items, p.stateUsers(ctx, records)
	})
}

// proven reads a listing to its end. A last page that is exactly full is read again in smaller ones, from where it began:
// nothing else would ever show that a next link was lost there, and changes with it.
func (p *changes) proven(ctx context.Context, l listing, use func(page) (int, error)) error {
	e, err := p.each(ctx, l, use)
	if err != nil || !e.full {
		return err
	}
	again := listing{endpoint: l.endpoint, size: max(e.size-1, 1)}
	if e.size == 1 {
		again.size = 2
	}
	if again.path, err = e.resized(again.size); err != nil {
		return err
	}
	counted := 0
	_, err = p.each(ctx, again, func(page page) (int, error) {
		ids, _, err := decodeIDs(page.Body)
		if err != nil {
			return 0, p.refuse(l.endpoint, page.Answer, err)
		}
		counted += len(ids)
		return len(ids), nil
	})
	if err == nil && counted != e.items {
		err = fmt.Errorf("%s: the last page had %d items, and %d when read again: a next link was lost, or something changed meanwhile", l.endpoint, e.items, counted)
	}
	return err
}

// changedGroups states the groups that changed and, beside that, the members of those whose membership did.
func (p *changes) changedGroups(ctx context.Context) error {
	workers, workCtx := errgroup.WithContext(ctx)
	queue := make(chan string, 4096)
	for range p.parallel {
		workers.Go(func() error {
			for id := range queue {
				if err := p.changedMembers(workCtx, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := p.listChanged(workCtx, queue)
	close(queue)
	if failed := workers.Wait(); failed != nil {
		return failed
	}
	if err != nil {
		return p.fail(ctx, connectors.PhaseGroups, err)
	}
	return nil
}

// listChanged states the groups and queues those whose members are to be listed: of a group that was assigned to the
// application, all are new.
func (p *changes) listChanged(ctx context.Context, queue chan<- string) error {
	seen := map[string]bool{}
	since := p.since.UTC().Format(stamp)
	l := list(endpointGroups, "/api/v1/groups", p.pages.Groups, "filter", `lastUpdated gt "`+since+`" or lastMembershipUpdated gt "`+since+`"`)
	err := p.proven(ctx, l, func(page page) (int, error) {
		records, joined, err := decodeChanged(page.Body, page.Began, p.since)
		if err != nil {
			return 0, p.refuse(l.endpoint, page.Answer, err)
		}
		items, n := len(records), 0
		for i, g := range records {
			if !seen[g.SourceID] {
				seen[g.SourceID] = true
				records[n], joined[n] = g, joined[i] || p.told.groupsOfApp[g.SourceID]
				n++
			}
		}
		return items, p.stateGroups(ctx, records[:n], joined[:n], queue)
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(p.told.groupsOfApp)) {
		if seen[id] || p.told.groupsGone[id] {
			continue
		}
		g, err := p.groupByID(ctx, id)
		if errors.Is(err, connectors.ErrNotFound) {
			g, err = identity.GroupRecord{SourceID: id, Gone: true, ReadAt: p.now()}, nil
		}
		if err != nil {
			return fmt.Errorf("group %s, of which the system log tells: %w", id, err)
		}
		if err := p.stateGroups(ctx, []identity.GroupRecord{g}, []bool{true}, queue); err != nil {
			return err
		}
	}
	var gone []identity.GroupRecord
	for _, id := range slices.Sorted(maps.Keys(p.told.groupsGone)) {
		if !seen[id] {
			gone = append(gone, identity.GroupRecord{SourceID: id, Gone: true, ReadAt: p.now()})
		}
	}
	return p.stateGroups(ctx, gone, make([]bool, len(gone)), queue)
}

// stateGroups sends the groups: those that are not in scope, or not any more, as gone.
func (p *changes) stateGroups(ctx context.Context, groups []identity.GroupRecord, joined []bool, queue chan<- string) error {
	if len(groups) == 0 {
		return nil
	}
	if !p.asked {
		var err error
		if p.assigned, err = p.groupsOfApp(ctx, true); err != nil {
			return err
		}
		p.asked = true
	}
	var ids []string
	for i := range groups {
		g := &groups[i]
		switch {
		case g.Gone:
		case !p.inScope(g, p.assigned):
			*g = identity.GroupRecord{SourceID: g.SourceID, Gone: true, ReadAt: g.ReadAt}
		case joined[i]:
			ids = append(ids, g.SourceID)
		}
	}
	if err := p.send(ctx, connectors.Page{Phase: connectors.PhaseGroups, Groups: groups}); err != nil {
		return err
	}
	for _, id := range ids {
		select {
		case queue <- id:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// changedMembers states the whole membership of one group. The last part waits until the listing is proven: who is not in
// the whole list has left.
func (p *changes) changedMembers(ctx context.Context, groupID string) error {
	var last identity.MemberRecord
	counted := 0
	e, err := p.eachMember(ctx, groupID, p.pages.Members, func(page page, m identity.MemberRecord, _ []bool) error {
		counted += len(m.UserIDs)
		if err := p.stateMembers(ctx, page); err != nil {
			return err
		}
		if m.Last {
			last = m
			return nil
		}
		return p.send(ctx, connectors.Page{Phase: connectors.PhaseMembers, Members: []identity.MemberRecord{m}})
	})
	if err == nil && e.full {
		err = p.recount(ctx, groupID, counted)
	}
	if err != nil {
		return p.fail(ctx, connectors.PhaseMembers, fmt.Errorf("group %s: %w", groupID, err))
	}
	return p.send(ctx, connectors.Page{Phase: connectors.PhaseMembers, Members: []identity.MemberRecord{last}})
}

// stateMembers states the user objects that a page of members consists of, where membership is all that the scope asks for.
// One group's at a time: who was stated with another group was sent before this group's members are.
func (p *changes) stateMembers(ctx context.Context, page page) error {
	if p.appID != "" {
		return nil
	}
	p.stating.Lock()
	defer p.stating.Unlock()
	records, _, err := decodeUsers(page.Body, false, page.Began, func(id string) bool { return p.roster.list(id, false) })
	if err != nil {
		return p.refuse(endpointMembers, page.Answer, err)
	}
	if len(records) == 0 {
		return nil
	}
	return p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Records: records})
}
