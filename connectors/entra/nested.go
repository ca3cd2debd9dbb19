package entra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// work turns the changes of groups into records: of groups, returned, and of members, kept.
func (p *delta) work(ctx context.Context) ([]identity.GroupRecord, error) {
	if err := p.assignmentsTell(); err != nil {
		return nil, err
	}
	before := p.nested.clone()
	p.nest()
	records := p.groupRecords()
	whole := p.shaken(&before)
	if err := p.comings(); err != nil {
		return nil, err
	}
	more, err := p.newlyAssigned(ctx, whole)
	if err != nil {
		return nil, err
	}
	p.deltas(whole)
	return append(records, more...), p.readWhole(ctx, whole)
}

// assignmentsTell returns ErrResync where the assignments changed in a way that the changes do not tell. Where no groups are
// nested and those in scope are the assigned ones, who is a member of one is assigned: stating the group tells all.
func (p *delta) assignmentsTell() error {
	if len(p.came.groups)+len(p.left.groups) > 0 && !p.plain() {
		return fmt.Errorf("%w: groups were assigned to the application or taken from it", connectors.ErrResync)
	}
	for id, c := range p.groups {
		if c.gone && p.assignments != nil && p.assignments.groups[id] && !p.plain() {
			return fmt.Errorf("%w: a group that was assigned to the application was deleted", connectors.ErrResync)
		}
	}
	return nil
}

// plain tells whether to be a member of a group in scope and to be assigned by a group is the same thing.
func (p *delta) plain() bool {
	return p.requireGroup && !p.scope.Narrow() && p.nested.empty() && !p.nests()
}

// nests tells whether the round put a group into another one.
func (p *delta) nests() bool {
	for _, c := range p.groups {
		if len(c.children) > 0 {
			return true
		}
	}
	return false
}

// nest brings the nesting up to date.
func (p *delta) nest() {
	for _, id := range p.order {
		c := p.groups[id]
		if !c.gone {
			c.back = p.nested.wake(id)
		}
		for child, came := range c.children {
			if came {
				p.nested.add(id, child)
			} else {
				p.nested.remove(id, child)
			}
		}
	}
	for id, c := range p.groups { // which others may have named meanwhile
		switch {
		case c.gone && c.forGood:
			p.nested.drop(id)
		case c.gone:
			p.nested.sleep(id)
		}
	}
}

// inScope tells whether a group is in scope: known is false where its name would tell and is not told.
func (p *delta) inScope(id guid, name string) (in, known bool) {
	if only := p.limit(p.assignments); only != nil && !only[id] {
		return false, true
	}
	if name == "" && p.scope.Narrow() {
		return true, false
	}
	return p.scope.Includes(&identity.GroupRecord{SourceID: id.String(), DisplayName: name}), true
}

// groupRecords states the groups that changed. One whose name is out of scope may have been in scope under another.
func (p *delta) groupRecords() []identity.GroupRecord {
	now := p.now()
	var records []identity.GroupRecord
	for _, id := range p.order {
		c := p.groups[id]
		in, _ := p.inScope(id, c.name)
		switch {
		case c.gone || c.name != "" && !in && p.scope.Narrow():
			records = append(records, identity.GroupRecord{SourceID: id.String(), Gone: true, ReadAt: now})
		case c.name != "" && in:
			records = append(records, identity.GroupRecord{SourceID: id.String(), ExternalID: id.String(), DisplayName: c.name, ReadAt: now})
		}
	}
	return records
}

// shaken returns the groups whose members only reading them tells: somebody left a group below or came with a group, or a
// group left.
func (p *delta) shaken(before *nesting) map[guid]bool {
	whole := map[guid]bool{}
	for _, id := range p.order {
		c := p.groups[id]
		nests := len(before.children[id]) > 0 || len(p.nested.children[id]) > 0
		left := c.gone || c.back || len(c.children) > 0
		for _, came := range c.users {
			left = left || !came
		}
		if !left {
			continue
		}
		above := map[guid]bool{}
		before.ancestors(id, above)
		now := map[guid]bool{}
		p.nested.ancestors(id, now)
		maps.Copy(above, now)
		if !nests && !c.back || c.gone {
			delete(above, id)
		}
		maps.Copy(whole, above)
	}
	for id, c := range p.groups {
		if c.gone {
			delete(whole, id)
		}
	}
	return whole
}

// deltas states who came and left, for the groups that need not be read whole: leaving counts for the group itself, coming
// for all groups above it, too.
func (p *delta) deltas(whole map[guid]bool) {
	type pair struct{ came, left []guid }
	changes := map[guid]*pair{}
	change := func(id guid) *pair {
		if changes[id] == nil {
			changes[id] = &pair{}
		}
		return changes[id]
	}
	for _, id := range p.order {
		c := p.groups[id]
		if c.gone || len(c.users) == 0 {
			continue
		}
		above := map[guid]bool{}
		p.nested.ancestors(id, above)
		for user, came := range c.users {
			if !came {
				change(id).left = append(change(id).left, user)
				continue
			}
			for group := range above {
				change(group).came = append(change(group).came, user)
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(changes), guid.compare) {
		name := ""
		if c := p.groups[id]; c != nil {
			name = c.name
		}
		if in, _ := p.inScope(id, name); !in || whole[id] {
			continue
		}
		m := changes[id]
		p.members = append(p.members, identity.MemberRecord{GroupID: id.String(), UserIDs: sortedTexts(m.came), Removed: sortedTexts(m.left), Delta: true})
	}
}

func sortedTexts(ids []guid) []string {
	slices.SortFunc(ids, guid.compare)
	return texts(slices.Compact(ids))
}

// readWhole reads and states the groups in scope among those given, whole.
func (p *delta) readWhole(ctx context.Context, whole map[guid]bool) error {
	reader := p.newReader()
	for _, id := range slices.SortedFunc(maps.Keys(whole), guid.compare) {
		name := ""
		if c := p.groups[id]; c != nil {
			name = c.name
		}
		in, known := p.inScope(id, name)
		if !known {
			g, err := p.groupObject(ctx, id.String())
			if errors.Is(err, connectors.ErrNotFound) {
				continue // deleted meanwhile: the next round tells
			}
			if err != nil {
				return fmt.Errorf("group %s: %w", id, err)
			}
			in = p.chosen(&g, p.limit(p.assignments))
		}
		if !in {
			continue
		}
		members, err := reader.closure(ctx, id)
		if err != nil {
			return err
		}
		p.stateWhole(id, members)
	}
	return nil
}

func (p *delta) stateWhole(id guid, members []guid) {
	for {
		part := members[:min(memberBatch, len(members))]
		members = members[len(part):]
		p.members = append(p.members, identity.MemberRecord{GroupID: id.String(), UserIDs: texts(part), Last: len(members) == 0})
		if len(members) == 0 {
			return
		}
	}
}

// comings puts among the Doubtful who was assigned to the application or let go, by an assignment of their own or by a group,
// where membership of a group in scope does not tell it.
func (p *delta) comings() error {
	people := maps.Clone(p.came.users)
	if people == nil {
		people = map[guid]bool{}
	}
	maps.Copy(people, p.left.users)
	if p.assignments != nil && !p.plain() {
		for id := range p.assignments.groups {
			if c := p.groups[id]; c != nil {
				maps.Copy(people, c.users)
			}
		}
	}
	if len(people) > mostComing {
		return fmt.Errorf("%w: %d people were assigned to the application or let go", connectors.ErrResync, len(people))
	}
	p.doubtful = sortedTexts(slices.Collect(maps.Keys(people)))
	return nil
}

// newlyAssigned states the groups that were assigned to the application, and has their members read; those that were taken
// from it are gone from the scope.
func (p *delta) newlyAssigned(ctx context.Context, whole map[guid]bool) ([]identity.GroupRecord, error) {
	var records []identity.GroupRecord
	for _, id := range slices.SortedFunc(maps.Keys(p.came.groups), guid.compare) {
		g, err := p.groupObject(ctx, id.String())
		if errors.Is(err, connectors.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", id, err)
		}
		records = append(records, g)
		whole[id] = true
	}
	for _, id := range slices.SortedFunc(maps.Keys(p.left.groups), guid.compare) {
		records = append(records, identity.GroupRecord{SourceID: id.String(), Gone: true, ReadAt: p.now()})
	}
	return records, nil
}
