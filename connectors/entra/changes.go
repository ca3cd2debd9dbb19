package entra

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// mostComing bounds the people who are to be read one by one, because they were assigned to the application or let go; of
// more, a full pull costs less.
const mostComing = 500

// Changes yields what the two delta queries tell since the checkpoint.
//
// People are stated as far as the delta goes: an absent property did not change, null was cleared. Whoever was removed, is a
// guest while guests are left out, or changed in a part of what a value is made from (user name, e-mail addresses) is
// Doubtful, and so is who was assigned to the application or let go. Of groups without nested groups the members who came
// and left are stated; so are those who came to a group for the groups above it. Where somebody or some group left a
// nest of groups, the groups in scope above are read whole.
//
// A delta link that Graph does not know any more is ErrResync, before any page; a page behind the first one that it does not
// know is an error like any other, because the delta link leads to a new one. ErrResync is, too, a change of assignments that
// only a full pull can tell: of groups where groups are nested or the globs name other ones, or of many people at once; and so
// is a checkpoint that is older than connectors.CheckpointAge by Graph's clock.
//
// No phase is ever Complete: what is not stated did not change. Where all was read the last page carries the next
// checkpoint; a query that was not read to its end is a *connectors.IncompleteError, and there is no checkpoint.
func (c *Connector) Changes(ctx context.Context, checkpoint string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		p := &delta{run: newRun(c), groups: map[guid]*groupChange{}}
		var err error
		if p.at, p.state, p.nested, err = c.continued(checkpoint); err != nil {
			yield(connectors.Page{}, err)
			return
		}
		p.stream(ctx, yield, p.pull)
	}
}

// delta is one pull of changes under way.
type delta struct {
	*run
	at          time.Time // of the checkpoint
	state       state
	nested      nesting // as the checkpoint has it, then as it is now
	assignments *assignments
	came, left  assignments // since the checkpoint
	groups      map[guid]*groupChange
	order       []guid // of groups, as first met
	members     []identity.MemberRecord
	doubtful    []string // because of assignments
	links       struct{ users, groups string }
}

// groupChange is what a round tells of one group.
type groupChange struct {
	name     string
	gone     bool
	forGood  bool          // gone, and not restorable
	back     bool          // was gone, softly
	users    map[guid]bool // came or left, the last word
	children map[guid]bool
}

// firstPages are the first pages of both queries.
type firstPages struct {
	users  page[user]
	groups page[group]
	trails [2]*connectors.Trail
	errors [2]error
}

func (p *delta) pull(ctx context.Context) error {
	var err error
	if p.assignments, err = p.Connector.assignments(ctx, true, p.noteDate); err != nil {
		if err := p.fail(ctx, fmt.Errorf("assignments to the application: %w", err), phases[:]...); err != nil {
			return err
		}
		return p.incomplete()
	}
	var known bool
	if p.came, p.left, known = p.state.Assigned.changes(p.assignments); !known {
		return fmt.Errorf("%w: the assignments to the application changed", connectors.ErrResync)
	}
	first := p.firstPages(ctx)
	if age := p.start.Sub(p.at); !p.start.IsZero() && age > connectors.CheckpointAge {
		return fmt.Errorf("%w: the checkpoint is %s old", connectors.ErrResync, age.Round(time.Hour))
	}
	for i, phase := range []connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups} {
		switch err := first.errors[i]; {
		case err == nil:
		case ctx.Err() == nil && expired(err):
			return fmt.Errorf("%w: the delta link of %s: %w", connectors.ErrResync, phase, err)
		default:
			down := []connectors.Phase{phase, connectors.PhaseMembers}[:1+i]
			if err := p.fail(ctx, err, down...); err != nil {
				return err
			}
		}
	}
	var groups []identity.GroupRecord
	if first.errors[1] == nil {
		if groups, err = p.changedGroups(ctx, first); err != nil {
			return err
		}
	}
	if first.errors[0] == nil {
		if err := p.changedUsers(ctx, first); err != nil {
			return err
		}
	}
	if err := p.sendChanges(ctx, groups); err != nil {
		return err
	}
	if err := p.incomplete(); err != nil {
		return err
	}
	if next := p.nextCheckpoint(); next != "" {
		return p.send(ctx, connectors.Page{Phase: connectors.PhaseMembers, Checkpoint: next})
	}
	return nil
}

func (p *delta) nextCheckpoint() string {
	if p.start.IsZero() || p.links.users == "" || p.links.groups == "" {
		return ""
	}
	return p.checkpoint(p.start, state{Users: p.links.users, Groups: p.links.groups, Nesting: p.nested.String(), Asleep: p.nested.sleepers(), Assigned: newAssignedState(p.assignments)})
}

// firstPages reads the first page of each query before anything is yielded.
func (p *delta) firstPages(ctx context.Context) *firstPages {
	var f firstPages
	for i := range f.trails {
		f.trails[i] = connectors.NewTrail(p.base, "")
	}
	var both errgroup.Group
	both.Go(func() error {
		l := p.usersDelta()
		f.users, f.errors[0] = fetch[user](ctx, p.Connector, l, f.trails[0], l.follow(p.state.Users))
		p.noteDate(f.users.date)
		return nil
	})
	both.Go(func() error {
		l := p.Connector.groupsDelta()
		f.groups, f.errors[1] = fetch[group](ctx, p.Connector, l, f.trails[1], l.follow(p.state.Groups))
		p.noteDate(f.groups.date)
		return nil
	})
	_ = both.Wait()
	return &f
}

// changedUsers sends what the delta of users tells.
func (p *delta) changedUsers(ctx context.Context, first *firstPages) error {
	l := p.usersDelta()
	link, err := rest(ctx, p.Connector, l, first.trails[0], first.users, func(page page[user]) error {
		known, part, doubtful, err := p.takeChanges(page)
		if err != nil {
			return refusePage(l, page, err)
		}
		if len(known)+len(doubtful) > 0 {
			out := connectors.Page{Phase: connectors.PhaseUsers, Records: known, Doubtful: doubtful, Unscoped: p.groupsFirst()}
			if err := p.send(ctx, out); err != nil {
				return err
			}
		}
		if len(part) == 0 {
			return nil
		}
		return p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Records: part, Unscoped: true})
	})
	p.links.users = link
	if err != nil {
		return p.fail(ctx, err, connectors.PhaseUsers)
	}
	return nil
}

// takeChanges sorts a page of changed people: those stated with name and status and known not to be a guest who is left out;
// those of whom less is stated, which lets nobody in; and those to be read by id. Someone who comes twice is kept in order.
func (p *delta) takeChanges(page page[user]) (known, part []identity.Record, doubtful []string, err error) {
	m := mapper{readAt: page.began}
	doubt, parted := map[guid]bool{}, map[guid]bool{}
	for i := range page.items {
		u := &page.items[i]
		if err := u.identify(); err != nil {
			return nil, nil, nil, err
		}
		if u.Removed != nil || u.guest() && !p.guests {
			doubt[u.key] = true
			continue
		}
		r, certain := m.change(u)
		switch {
		case !certain || u.UserPrincipalName.known && u.UserPrincipalName.value == "":
			doubt[u.key] = true
		case r.UserName == "" || r.Status == "" || !p.guests && !u.UserType.known || parted[u.key]:
			parted[u.key] = true // what comes later goes behind it
			part = append(part, r)
		default:
			known = append(known, r)
		}
	}
	certain := func(r identity.Record) bool {
		id, _ := parseGUID(r.SourceID)
		return doubt[id]
	}
	known, part = slices.DeleteFunc(known, certain), slices.DeleteFunc(part, certain)
	for id := range doubt {
		doubtful = append(doubtful, id.String())
	}
	slices.Sort(doubtful)
	return known, part, doubtful, nil
}

// changedGroups reads the delta of groups to its end, because what a change means depends on the others, and works out what
// to state.
func (p *delta) changedGroups(ctx context.Context, first *firstPages) ([]identity.GroupRecord, error) {
	l := p.Connector.groupsDelta()
	link, err := rest(ctx, p.Connector, l, first.trails[1], first.groups, func(page page[group]) error {
		for i := range page.items {
			if err := p.takeGroup(&page.items[i]); err != nil {
				return refusePage(l, page, err)
			}
		}
		return nil
	})
	var records []identity.GroupRecord
	if err == nil {
		p.links.groups = link
		records, err = p.work(ctx)
	}
	if errors.Is(err, connectors.ErrResync) {
		return nil, err
	}
	if err != nil {
		p.members, p.doubtful = nil, nil
		return nil, p.fail(ctx, err, connectors.PhaseGroups, connectors.PhaseMembers)
	}
	return records, nil
}

// takeGroup adds what one object tells to what is known of the group's change.
func (p *delta) takeGroup(g *group) error {
	if err := g.identify(); err != nil {
		return err
	}
	c := p.groups[g.key]
	if c == nil {
		c = &groupChange{users: map[guid]bool{}, children: map[guid]bool{}}
		p.groups[g.key] = c
		p.order = append(p.order, g.key)
	}
	if c.gone = g.Removed != nil; c.gone {
		c.forGood = g.Removed.Reason == "deleted"
		clear(c.users)
		clear(c.children)
		return nil
	}
	if g.Name.value != "" {
		c.name = g.Name.value
	}
	for i := range g.Members {
		m := &g.Members[i]
		id, ok := parseGUID(m.ID)
		switch {
		case !ok:
			return errNoMemberID
		case m.Type == typeGroup:
			c.children[id] = m.Removed == nil
		case isUser(m.Type):
			c.users[id] = m.Removed == nil
		}
	}
	return nil
}

// sendChanges sends the groups, then their members, in pages.
func (p *delta) sendChanges(ctx context.Context, groups []identity.GroupRecord) error {
	if len(p.doubtful) > 0 {
		if err := p.send(ctx, connectors.Page{Phase: connectors.PhaseUsers, Doubtful: p.doubtful, Unscoped: true}); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(groups, groupBatch) {
		if err := p.send(ctx, connectors.Page{Phase: connectors.PhaseGroups, Groups: batch}); err != nil {
			return err
		}
	}
	var batch []identity.MemberRecord
	count := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		page := connectors.Page{Phase: connectors.PhaseMembers, Members: batch}
		batch, count = nil, 0
		return p.send(ctx, page)
	}
	for _, m := range p.members {
		batch, count = append(batch, m), count+len(m.UserIDs)+len(m.Removed)+1
		if count >= memberBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
