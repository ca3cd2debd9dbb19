package okta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

const (
	// memberBatch is the number of memberships that a page of members gathers from small groups.
	memberBatch = 4096
	// mostMissing is the number of missing members that are read one by one; more of them show a short list.
	mostMissing = 25
)

// Full yields every record, group and membership in scope. It cannot be resumed: it begins anew, whatever resume
// says. Each phase that is proven complete ends with a page without content at the end of the pull, because the
// phases are held against each other first; the last of them carries the checkpoint for Changes. Where several phases are incomplete, the one error yielded is the first
// phase's *connectors.IncompleteError, and wraps the others'.
func (c *Connector) Full(ctx context.Context, _ string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		p := newPull(c)
		p.stream(ctx, yield, p.run)
	}
}

func newPull(c *Connector) *pull {
	return &pull{Connector: c, out: make(chan connectors.Page, 2), roster: newRoster(), failed: map[connectors.Phase]error{}, doubts: map[connectors.Phase]end{}}
}

// stream yields the pages that run sends, and then its error.
func (p *pull) stream(ctx context.Context, yield func(connectors.Page, error) bool, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, startKey{}, &p.start))
	defer cancel()
	var result error
	go func() {
		defer close(p.out)
		result = run(ctx)
	}()
	for page := range p.out {
		if !yield(page, nil) {
			cancel()
			for range p.out { // until the pull has wound up
			}
			return
		}
	}
	if result != nil {
		yield(connectors.Page{}, result)
	}
}

// pull is one pull under way.
type pull struct {
	*Connector
	out    chan connectors.Page
	roster *roster
	start  start

	mu      sync.Mutex
	failed  map[connectors.Phase]error // first cause of each incomplete phase
	next    bool                       // a next link was seen
	doubts  map[connectors.Phase]end   // a listing of the phase that ended on an exactly full page
	batch   []identity.MemberRecord
	batched int
}

// run reads all phases. With RequireGroup the members come first, because they decide about the users; otherwise
// both ways are gone at once, as they draw on different rate-limit buckets.
func (p *pull) run(ctx context.Context) error {
	if p.requireGroup {
		if err := p.groups(ctx); err != nil {
			return err
		}
		if err := p.users(ctx); err != nil {
			return err
		}
	} else {
		both, ctx := errgroup.WithContext(ctx)
		both.Go(func() error { return p.users(ctx) })
		both.Go(func() error { return p.groups(ctx) })
		if err := both.Wait(); err != nil {
			return err
		}
	}
	if err := p.crossCheck(ctx); err != nil {
		return err
	}
	if err := p.settleDoubts(ctx); err != nil {
		return err
	}
	return p.finish(ctx)
}

func (p *pull) send(ctx context.Context, page connectors.Page) error {
	select {
	case p.out <- page:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", page.Phase, context.Cause(ctx))
	}
}

// fail notes why the phase is incomplete. It returns err if that ends the whole pull: with the credential rejected
// or the context over, no other phase fares better.
func (p *pull) fail(ctx context.Context, phase connectors.Phase, err error) error {
	if ctx.Err() != nil || errors.Is(err, connectors.ErrUnauthorized) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed[phase] == nil {
		p.failed[phase] = err
	}
	return nil
}

// ended notes how a listing of the phase ended.
func (p *pull) ended(phase connectors.Phase, e end) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = p.next || e.next
	if _, known := p.doubts[phase]; e.full && !known {
		p.doubts[phase] = e
	}
}

// users reads the users phase.
func (p *pull) users(ctx context.Context) error {
	l := list(endpointUsers, "/api/v1/users", p.pages.Users)
	if p.appID != "" {
		l = list(endpointAppUsers, "/api/v1/apps/"+p.appID+"/users", p.pages.AppUsers, "expand", "user")
	}
	keep := func(id string) bool { return p.roster.list(id, p.requireGroup) }
	e, err := p.each(ctx, l, func(page page) (int, error) {
		records, items, err := decodeUsers(page.Body, p.appID != "", page.Began, keep)
		if err != nil {
			return 0, p.refuse(l.endpoint, page.Answer, err)
		}
		if len(records) == 0 {
			return items, nil
		}
		return items, p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Records: records})
	})
	if err != nil {
		return p.fail(ctx, connectors.PhaseUsers, err)
	}
	p.ended(connectors.PhaseUsers, e)
	return nil
}

// groups reads the groups phase and, beside it, the members of every group in scope.
func (p *pull) groups(ctx context.Context) error {
	assigned, err := p.groupsOfApp(ctx, true)
	if err != nil {
		if err := p.fail(ctx, connectors.PhaseGroups, err); err != nil {
			return err
		}
		return p.fail(ctx, connectors.PhaseMembers, err)
	}
	workers, workCtx := errgroup.WithContext(ctx)
	queue := make(chan string, 4096)
	for range p.parallel {
		workers.Go(func() error {
			for id := range queue {
				if err := p.members(workCtx, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = p.listGroups(workCtx, assigned, queue)
	close(queue)
	if failed := workers.Wait(); failed != nil {
		return failed
	}
	if err != nil {
		// Of the groups that were not read, the members were not either.
		if err := p.fail(ctx, connectors.PhaseGroups, err); err != nil {
			return err
		}
		return p.fail(ctx, connectors.PhaseMembers, err)
	}
	return p.flushMembers(ctx)
}

// listGroups sends the groups in scope and queues their ids.
func (p *pull) listGroups(ctx context.Context, assigned map[string]bool, queue chan<- string) error {
	seen := map[string]bool{}
	l := list(endpointGroups, "/api/v1/groups", p.pages.Groups)
	e, err := p.each(ctx, l, func(page page) (int, error) {
		groups, err := decodeGroups(page.Body, page.Began)
		if err != nil {
			return 0, p.refuse(l.endpoint, page.Answer, err)
		}
		items, in := len(groups), groups[:0]
		for _, g := range groups {
			if p.inScope(&g, assigned) && !seen[g.SourceID] {
				seen[g.SourceID] = true
				in = append(in, g)
			}
		}
		if len(in) == 0 {
			return items, nil
		}
		ids := make([]string, len(in))
		for i := range in {
			ids[i] = in[i].SourceID
		}
		if err := p.send(ctx, connectors.Page{Phase: connectors.PhaseGroups, Groups: in}); err != nil {
			return items, err
		}
		for _, id := range ids {
			select {
			case queue <- id:
			case <-ctx.Done():
				return items, context.Cause(ctx)
			}
		}
		return items, nil
	})
	if err == nil {
		p.ended(connectors.PhaseGroups, e)
	}
	return err
}

// members reads the members of one group. A group that vanished meanwhile is not an empty one: its phase is
// incomplete, and the next pull will not list it.
func (p *pull) members(ctx context.Context, groupID string) error {
	counted := 0
	e, err := p.eachMember(ctx, groupID, p.pages.Members, func(page page, m identity.MemberRecord, gone []bool) error {
		counted += len(m.UserIDs)
		p.roster.addMembers(m.UserIDs, gone)
		return p.addMembers(ctx, m)
	})
	if err == nil && e.full {
		err = p.recount(ctx, groupID, counted)
	}
	if err != nil {
		return p.fail(ctx, connectors.PhaseMembers, fmt.Errorf("group %s: %w", groupID, err))
	}
	p.ended(connectors.PhaseMembers, e)
	return nil
}

// recount lists a group's members again, in pages of another size, after a listing that ended on an exactly full page: a
// next link may have been lost there, and whoever came behind it must not be taken for gone.
func (c *Connector) recount(ctx context.Context, groupID string, counted int) error {
	if c.pages.Members < 2 {
		return nil
	}
	again := 0
	_, err := c.eachMember(ctx, groupID, c.pages.Members-1, func(_ page, m identity.MemberRecord, _ []bool) error {
		again += len(m.UserIDs)
		return nil
	})
	if err == nil && again != counted {
		err = fmt.Errorf("%d members were listed, and %d when listed again: a next link was lost, or members moved meanwhile", counted, again)
	}
	return err
}

// eachMember reads the pages, of a size, of one group's members. A user whom drifting pages show twice is stated once.
func (c *Connector) eachMember(ctx context.Context, groupID string, size int, use func(page, identity.MemberRecord, []bool) error) (end, error) {
	var stated distinct
	l := list(endpointMembers, "/api/v1/groups/"+groupID+"/users", size)
	return c.each(ctx, l, func(page page) (int, error) {
		ids, gone, err := decodeIDs(page.Body)
		if err != nil {
			return 0, c.refuse(l.endpoint, page.Answer, err)
		}
		items := len(ids)
		ids, gone = stated.only(ids, gone)
		return items, use(page, identity.MemberRecord{GroupID: groupID, UserIDs: ids, Last: page.next == ""}, gone)
	})
}

// addMembers gathers members until they make a page: a thousand groups of a dozen members are not a thousand pages.
func (p *pull) addMembers(ctx context.Context, m identity.MemberRecord) error {
	p.mu.Lock()
	p.batch = append(p.batch, m)
	p.batched += len(m.UserIDs) + 1
	full := p.batched >= memberBatch
	p.mu.Unlock()
	if !full {
		return nil
	}
	return p.flushMembers(ctx)
}

func (p *pull) flushMembers(ctx context.Context) error {
	p.mu.Lock()
	batch := p.batch
	p.batch, p.batched = nil, 0
	p.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	return p.send(ctx, connectors.Page{Phase: connectors.PhaseMembers, Members: batch})
}

// crossCheck reads by id the members of groups who are missing from the user list, because they came meanwhile or
// because pages drifted. More than a few of them mean that the list was short.
func (p *pull) crossCheck(ctx context.Context) error {
	if p.appID != "" || p.failed[connectors.PhaseUsers] != nil {
		return nil
	}
	var ids []string
	count := 0
	for id := range p.roster.missing() {
		if count++; count <= mostMissing {
			ids = append(ids, id)
		}
	}
	if count > mostMissing {
		return p.fail(ctx, connectors.PhaseUsers, fmt.Errorf("%d members of groups are missing from the user list", count))
	}
	var records []identity.Record
	for _, id := range ids {
		record, err := p.user(ctx, id)
		switch {
		case absent(err): // deleted meanwhile
		case err != nil:
			return p.fail(ctx, connectors.PhaseUsers, fmt.Errorf("user %s, a member missing from the user list: %w", id, err))
		case record.Status != identity.StatusGone:
			records = append(records, record)
		}
	}
	if len(records) == 0 {
		return nil
	}
	return p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Records: records})
}

// settleDoubts asks again for a page that was exactly full and had no next link, when no next link was seen at all:
// something on the way may keep the first line of a header only.
func (p *pull) settleDoubts(ctx context.Context) error {
	if p.next {
		return nil
	}
	for _, phase := range phases {
		e, doubtful := p.doubts[phase]
		if !doubtful || p.failed[phase] != nil {
			continue
		}
		if err := p.probe(ctx, e); err != nil {
			if err := p.fail(ctx, phase, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// probe asks for the last page of a listing with half its size: it must have a next link then.
func (c *Connector) probe(ctx context.Context, e end) error {
	half := e.size / 2
	if half == 0 {
		return nil
	}
	path, err := e.resized(half)
	if err != nil {
		return err
	}
	page, err := c.fetch(ctx, e.listing, connectors.NewTrail(c.base, ""), path)
	if err != nil {
		return err
	}
	defer page.Release()
	ids, _, err := decodeIDs(page.Body)
	if err != nil {
		return c.refuse(e.listing.endpoint, page.Answer, err)
	}
	if page.next == "" && len(ids) >= half {
		return c.refuse(e.listing.endpoint, page.Answer, errors.New("next links are lost on the way"))
	}
	return nil
}

var phases = [...]connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers}

// finish states which phases are complete, and returns why the others are not.
func (p *pull) finish(ctx context.Context) error {
	if missing := p.failed[connectors.PhaseMembers]; p.requireGroup && missing != nil && p.failed[connectors.PhaseUsers] == nil {
		p.failed[connectors.PhaseUsers] = fmt.Errorf("users in scope are the members of groups: %w", missing)
	}
	for i, phase := range phases {
		if p.failed[phase] != nil {
			continue
		}
		page := connectors.Page{Phase: phase, Complete: true}
		if i == len(phases)-1 && len(p.failed) == 0 {
			page.Checkpoint = p.checkpoint()
		}
		if err := p.send(ctx, page); err != nil {
			return err
		}
	}
	return p.incomplete()
}

// incomplete returns why phases are not complete, nil where all are.
func (p *pull) incomplete() error {
	var result error
	for i := len(phases) - 1; i >= 0; i-- {
		if cause := p.failed[phases[i]]; cause != nil {
			if result != nil {
				cause = fmt.Errorf("%w; %w", cause, result)
			}
			result = &connectors.IncompleteError{Phase: phases[i], Err: cause}
		}
	}
	return result
}

// distinct tells which ids of a listing are new. Okta lists in the order of ids: while that holds, it keeps but the
// last one in mind.
type distinct struct {
	last string
	seen map[string]bool // nil while the ids ascend
	all  [][]string
}

// only returns the ids that were not there before, and their marks. It changes the slices.
func (d *distinct) only(ids []string, gone []bool) ([]string, []bool) {
	for _, id := range ids {
		if d.seen == nil && id <= d.last {
			d.disorder(ids)
			break
		}
		d.last = id
	}
	if d.seen == nil {
		d.all = append(d.all, ids)
		return ids, gone
	}
	n := 0
	for i, id := range ids {
		if !d.seen[id] {
			d.seen[id] = true
			ids[n], gone[n] = id, gone[i]
			n++
		}
	}
	return ids[:n], gone[:n]
}

func (d *distinct) disorder(ids []string) {
	d.seen = make(map[string]bool, len(ids)*(len(d.all)+1))
	for _, page := range d.all {
		for _, id := range page {
			d.seen[id] = true
		}
	}
	d.all = nil
}
