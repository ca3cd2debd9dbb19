package entra

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

const (
	// memberBatch is the number of memberships in a page, or in a part of a large group.
	memberBatch = 4096
	// groupBatch is the number of groups in a page.
	groupBatch = 500
	// mostMissing are the people who may be found by id and not in the user list; more of them show a short list.
	mostMissing = 25
	// mostLookups bounds the reads by id that settle who is missing from a list; of more, so many are picked.
	mostLookups = 500
	// parallel is the number of reads by id at a time.
	parallel = 4
)

// Full yields every record, group and membership in scope. It cannot be resumed: it begins anew, whatever resume says.
// Members come last, because who is stated decides who of a group is. Each phase that is proven complete ends with a page
// without content at the end of the pull; the last of them carries the checkpoint. Where several phases are incomplete,
// the one error yielded is the first phase's *connectors.IncompleteError, and wraps the others'.
//
// A person whom Graph lists twice is stated twice, in that order: the later record holds.
func (c *Connector) Full(ctx context.Context, _ string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		p := &full{run: newRun(c), directory: newDirectory()}
		p.stream(ctx, yield, p.pull)
	}
}

// full is one full pull under way.
type full struct {
	*run
	*directory
	assignments *assignments // to the application; nil for none
	links       struct{ users, groups string }
	partial     []string // ids of people who came again with a part of what they have
	late        bool     // somebody was stated, and then said to be removed
}

// groupsFirst tells whether the groups decide about the users.
func (c *Connector) groupsFirst() bool { return c.requireGroup || c.principal != "" }

func (p *full) pull(ctx context.Context) error {
	var err error
	if p.assignments, err = p.Connector.assignments(ctx, true, p.noteDate); err != nil {
		if err := p.fail(ctx, fmt.Errorf("assignments to the application: %w", err), phases[:]...); err != nil {
			return err
		}
		return p.finish(ctx, "")
	}
	if p.groupsFirst() {
		if err = p.readGroups(ctx); err == nil {
			err = p.readUsers(ctx)
		}
	} else {
		both, ctx := errgroup.WithContext(ctx)
		both.Go(func() error { return p.readGroups(ctx) })
		both.Go(func() error { return p.readUsers(ctx) })
		err = both.Wait()
	}
	for _, step := range []func(context.Context) error{p.rereadPartial, p.lookForMissing, p.sendMembers} {
		if err == nil {
			err = step(ctx)
		}
	}
	if err != nil {
		return err
	}
	return p.finish(ctx, p.nextCheckpoint(ctx))
}

// nextCheckpoint returns where Changes goes on. There is none after somebody was stated and then said to be removed: the
// delta will not tell it again, so the next pull is a full one.
func (p *full) nextCheckpoint(ctx context.Context) string {
	if p.late {
		p.logger.InfoContext(ctx, "no checkpoint: somebody was removed while the users were listed")
	}
	if p.late || p.start.IsZero() || p.links.users == "" || p.links.groups == "" {
		return ""
	}
	nested := p.edges()
	return p.checkpoint(p.start, state{Users: p.links.users, Groups: p.links.groups, Nesting: nested.String(), Assigned: newAssignedState(p.assignments)})
}

var (
	errNoMemberID = errors.New("a member of a group has no id")
	errNoName     = errors.New("groups come without displayName: the permission GroupMember.Read.All is missing")
)

// readGroups reads the groups and their members, and sends the groups in scope.
func (p *full) readGroups(ctx context.Context) error {
	l := p.groupsDelta()
	link, err := each(ctx, p.Connector, l, func(page page[group]) error {
		p.noteDate(page.date)
		p.directory.mu.Lock()
		defer p.directory.mu.Unlock()
		for i := range page.items {
			g := &page.items[i]
			err := g.identify()
			if err == nil {
				err = p.addGroup(g)
			}
			if err != nil {
				return refusePage(l, page, err)
			}
		}
		return nil
	})
	p.links.groups = link
	if err == nil {
		err = p.settleGroups(ctx)
	}
	if err != nil {
		if err := p.fail(ctx, err, connectors.PhaseGroups, connectors.PhaseMembers); err != nil {
			return err
		}
	}
	p.directory.mu.Lock()
	p.chooseGroups(p.scope, p.limit(p.assignments))
	if p.groupsFirst() {
		p.markMembers()
	}
	if p.assignments != nil {
		p.markAssigned(p.assignments)
	}
	withheld := p.withheld()
	p.directory.mu.Unlock()
	if err := p.askForHidden(ctx, withheld); err != nil {
		if err := p.fail(ctx, err, connectors.PhaseMembers); err != nil {
			return err
		}
	}
	return p.sendGroups(ctx)
}

// readHidden is the permission without which groups that hide their members seem to have none.
const readHidden = "Member.Read.Hidden"

// askForHidden tries whether the groups that hide their members have none, or whether they are kept from us.
func (p *full) askForHidden(ctx context.Context, ids []guid) error {
	roles := p.tokens.roles()
	if slices.Contains(roles, readHidden) {
		return nil
	}
	for _, id := range ids {
		m, err := p.newReader().members(ctx, id)
		if err == nil && (roles != nil || len(m.users)+len(m.groups) > 0) {
			err = fmt.Errorf("%w: its members are hidden", connectors.ErrForbidden)
		}
		if err != nil {
			return fmt.Errorf("members of group %s: %w; grant the permission %s, or leave the group out by name", id, err, readHidden)
		}
	}
	return nil
}

// settleGroups proves that the list of groups was whole: every group has a name, and every group that is in another one
// was listed, or does not exist any more.
func (p *full) settleGroups(ctx context.Context) error {
	if n := p.unnamed(); n > 0 {
		return &connectors.ResponseError{Endpoint: endpointGroupsDelta, Status: 200, Summary: errNoName.Error()}
	}
	missing := p.unknownChildren()
	if len(missing) > mostMissing {
		return fmt.Errorf("%d groups are in other groups and not in the group list", len(missing))
	}
	for _, id := range missing {
		answer, err := p.object(ctx, endpointGroup, p.groupByID(id.String()))
		if err == nil {
			answer.Release()
			err = errors.New("it exists")
		}
		if !absent(err) {
			return fmt.Errorf("group %s is in another group and not in the group list: %w", id, err)
		}
	}
	return nil
}

// sendGroups sends the groups in scope.
func (p *full) sendGroups(ctx context.Context) error {
	now := p.now()
	var batch []identity.GroupRecord
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		page := connectors.Page{Phase: connectors.PhaseGroups, Groups: batch}
		batch = nil
		return p.send(ctx, page)
	}
	for i := range p.directory.groups {
		n := &p.directory.groups[i]
		if !n.inScope {
			continue
		}
		p.directory.mu.Lock()
		id := p.ids[n.number].String()
		p.directory.mu.Unlock()
		batch = append(batch, identity.GroupRecord{SourceID: id, ExternalID: id, DisplayName: n.name, ReadAt: now})
		if len(batch) >= groupBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// readUsers reads the users and sends those in scope.
func (p *full) readUsers(ctx context.Context) error {
	l := p.usersDelta()
	link, err := each(ctx, p.Connector, l, func(page page[user]) error {
		p.noteDate(page.date)
		records, err := p.takeUsers(page)
		if err != nil {
			return refusePage(l, page, err)
		}
		if len(records) == 0 {
			return nil
		}
		return p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Records: records})
	})
	p.links.users = link
	if err != nil {
		return p.fail(ctx, err, connectors.PhaseUsers)
	}
	return nil
}

// takeUsers makes records of a page of users. All are looked at before the first is kept: a page is good or bad as a whole.
func (p *full) takeUsers(page page[user]) ([]identity.Record, error) {
	p.directory.mu.Lock()
	defer p.directory.mu.Unlock()
	here := map[guid]bool{}
	for i := range page.items {
		u := &page.items[i]
		if err := u.identify(); err != nil {
			return nil, err
		}
		if u.Removed == nil && u.UserPrincipalName.value == "" && !here[u.key] && p.marks[p.number(u.key)]&listed == 0 {
			return nil, errLimited
		}
		here[u.key] = true
	}
	m := mapper{readAt: page.began}
	records := make([]identity.Record, 0, len(page.items))
	for i := range page.items {
		u := &page.items[i]
		n := p.number(u.key)
		switch {
		case u.Removed != nil:
			p.late = p.late || p.marks[n]&stated != 0
			p.marks[n] = p.marks[n]&^(stated|listed) | gone
			continue
		case u.UserPrincipalName.value == "": // listed before
			p.partial = append(p.partial, u.key.String())
			continue
		}
		p.marks[n] = p.marks[n]&^gone | listed
		if p.wants(n, u) {
			p.marks[n] |= stated
			records = append(records, m.whole(u))
		}
	}
	return records, nil
}

// wants tells whether the person is in scope.
func (p *full) wants(n uint32, u *user) bool {
	return (p.guests || !u.guest()) && p.expected(n)
}

// expected tells whether assignments and groups have the person in scope.
func (p *full) expected(n uint32) bool {
	return (p.assignments == nil || p.marks[n]&assigned != 0) && (!p.requireGroup || p.marks[n]&inGroup != 0)
}

// rereadPartial reads by id who came again with a part of what they have: what is missing there is not cleared.
func (p *full) rereadPartial(ctx context.Context) error {
	if len(p.partial) > mostLookups {
		return p.fail(ctx, fmt.Errorf("%d people came again without userPrincipalName", len(p.partial)), connectors.PhaseUsers)
	}
	_, err := p.lookUp(ctx, p.partial)
	if err != nil {
		return p.fail(ctx, err, connectors.PhaseUsers)
	}
	return nil
}

// lookUp reads people by id, states those in scope, and returns how many exist.
func (p *full) lookUp(ctx context.Context, ids []string) (found int, err error) {
	var mu sync.Mutex
	var records []identity.Record
	workers, workCtx := errgroup.WithContext(ctx)
	workers.SetLimit(parallel)
	for _, id := range ids {
		workers.Go(func() error {
			u, readAt, err := p.userObject(workCtx, id)
			if absent(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("user %s, who was looked for by id: %w", id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			found++
			n := p.number(u.key)
			p.marks[n] |= listed
			if p.wants(n, u) {
				p.marks[n] |= stated
				m := mapper{readAt: readAt}
				records = append(records, m.whole(u))
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		return found, err
	}
	if len(records) > 0 {
		err = p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Records: records})
	}
	return found, err
}

// lookForMissing reads by id whom the groups in scope or the assignments name and the user list does not. Those may have
// come meanwhile, or be deleted and linger in a group; many who exist mean that the list was short.
func (p *full) lookForMissing(ctx context.Context) error {
	if p.hasFailed(connectors.PhaseUsers) {
		return nil
	}
	if !p.groupsFirst() {
		p.markMembers()
	}
	var missing []guid
	for n, m := range p.marks {
		if m&(listed|gone) == 0 && m&(assigned|inGroup) != 0 && p.expected(uint32(n)) {
			missing = append(missing, p.ids[n])
		}
	}
	if len(missing) > mostLookups {
		rand.Shuffle(len(missing), func(i, k int) { missing[i], missing[k] = missing[k], missing[i] })
		missing = missing[:mostLookups]
	}
	// A few first: where these exist already the list was short, and the others need not be read.
	for _, part := range [][]guid{missing[:min(2*mostMissing, len(missing))], missing[min(2*mostMissing, len(missing)):]} {
		ids := make([]string, len(part))
		for i, id := range part {
			ids[i] = id.String()
		}
		found, err := p.lookUp(ctx, ids)
		if err == nil && found > mostMissing {
			err = fmt.Errorf("at least %d people in scope are missing from the user list", found)
		}
		if err != nil {
			return p.fail(ctx, err, connectors.PhaseUsers)
		}
	}
	return nil
}

// sendMembers sends the members of the groups in scope who are stated. With a phase incomplete, no group is said to be
// listed to its end.
func (p *full) sendMembers(ctx context.Context) error {
	var err error
	switch users, members := p.failed[connectors.PhaseUsers], p.failed[connectors.PhaseMembers]; {
	case members != nil && p.groupsFirst():
		err = p.fail(ctx, fmt.Errorf("users in scope are told by their groups: %w", members), connectors.PhaseUsers)
	case users != nil:
		err = p.fail(ctx, fmt.Errorf("members are told among the users: %w", users), connectors.PhaseMembers)
	}
	if err != nil {
		return err
	}
	s := memberSender{send: func(m []identity.MemberRecord) error {
		return p.send(ctx, connectors.Page{Phase: connectors.PhaseMembers, Members: m})
	}}
	whole := p.failed[connectors.PhaseMembers] == nil
	w := p.walker()
	for place := range p.directory.groups {
		n := &p.directory.groups[place]
		if !n.inScope {
			continue
		}
		s.begin(p.ids[n.number].String())
		var failed error
		w.members(int32(place), func(number uint32) {
			if failed == nil && p.marks[number]&stated != 0 {
				failed = s.add(p.ids[number])
			}
		})
		if failed == nil {
			failed = s.end(whole)
		}
		if failed != nil {
			return failed
		}
	}
	return s.flush()
}
