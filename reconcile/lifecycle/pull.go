package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Batch is a part of a run's journal, to be applied in one transaction.
type Batch struct {
	Lease   store.Lease // fences the transaction
	By      identity.Actor
	Source  string // the connector
	Changes []identity.Change
}

// Outcome is what became of one change of a batch.
type Outcome struct {
	State  identity.ChangeState // applied, skipped or failed
	Reason string               // why it was not applied
}

// Reasons for which a planned change is skipped: the next run finds what is left of it.
const (
	skipGone    = "no longer held"
	skipStale   = "changed since it was planned"
	skipPushed  = "pushed since it was read"
	skipNothing = "nothing left to do"
	skipHeld    = "held by now: pushed since it was read, or listed twice by the source"
)

// Apply carries a batch out and marks its changes in the journal, all in one transaction. Where that fails for what is
// in the batch (a name that is taken, a refusal, a text that the database does not hold), the halves get transactions
// of their own, down to the one change that it fails for, so that one cannot hold up the others. The error is for what
// concerns the whole run: the lease lost, the database out of reach; the outcomes are then of what was committed before.
func (a *Applier) Apply(ctx context.Context, b Batch) ([]Outcome, error) {
	outcomes, err := a.applyTogether(ctx, b)
	if err == nil {
		return outcomes, nil
	}
	if errors.Is(err, store.ErrLeaseLost) || ctx.Err() != nil || len(b.Changes) == 0 {
		return nil, err
	}
	if len(b.Changes) == 1 {
		if created, err := a.createdBefore(ctx, b); err != nil {
			return nil, err
		} else if created {
			return []Outcome{{identity.StateSkipped, skipHeld}}, nil
		}
		state := identity.StateFailed
		var refused *RefusedError
		if errors.As(err, &refused) {
			state = identity.StateSkipped
			if c := &b.Changes[0]; refused.UserID == "" && c.Object == identity.ObjectUser {
				refused.UserID, refused.UserName = c.ID, c.Name
			}
			a.recordRefusal(ctx, b.By, refused)
		}
		outcome := Outcome{state, err.Error()}
		if mark := a.store.MarkChange(ctx, b.Changes[0].RunID, b.Changes[0].Ord, outcome.State, outcome.Reason); mark != nil {
			return nil, errors.Join(err, mark) // not the change is at fault: nothing can be written
		}
		return []Outcome{outcome}, nil
	}
	outcomes = make([]Outcome, 0, len(b.Changes))
	half := len(b.Changes) / 2
	for _, changes := range [][]identity.Change{b.Changes[:half], b.Changes[half:]} {
		part := b
		part.Changes = changes
		o, err := a.Apply(ctx, part)
		outcomes = append(outcomes, o...)
		if err != nil {
			return outcomes, err
		}
	}
	return outcomes, nil
}

// createdBefore tells whether a batch of one creates somebody, or a group, that is there already, because it was pushed
// in the meantime or the source listed it twice, and marks it so.
func (a *Applier) createdBefore(ctx context.Context, b Batch) (bool, error) {
	c := &b.Changes[0]
	if c.Op != identity.OpCreate {
		return false, nil
	}
	there := false
	if c.Object == identity.ObjectUser {
		held, err := a.store.HeldUsers(ctx, b.Source, []string{c.SourceID})
		if err != nil {
			return false, err
		}
		_, there = held[c.SourceID]
	} else {
		held, err := a.store.HeldGroups(ctx, b.Source, []string{c.SourceID})
		if err != nil {
			return false, err
		}
		_, there = held[c.SourceID]
	}
	if !there {
		return false, nil
	}
	return true, a.store.MarkChange(ctx, c.RunID, c.Ord, identity.StateSkipped, skipHeld)
}

func (a *Applier) applyTogether(ctx context.Context, b Batch) ([]Outcome, error) {
	var outcomes []Outcome
	err := a.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Fence(ctx, b.Lease); err != nil {
			return err
		}
		return a.within(ctx, tx, b.By, func(c *change) error {
			c.pulled = true
			outcomes = make([]Outcome, len(b.Changes))
			p := &pull{change: c, source: b.Source, changes: b.Changes, outcomes: outcomes, made: map[int64]string{}}
			for _, step := range []func(context.Context) error{p.users, p.groups, p.members, p.grants} {
				if err := step(ctx); err != nil {
					return err
				}
			}
			return p.mark(ctx)
		})
	})
	return outcomes, err
}

// pull is a batch at work inside a transaction.
type pull struct {
	*change
	source   string
	changes  []identity.Change
	outcomes []Outcome
	made     map[int64]string // ids of what was created, by the change's Ord
}

func (p *pull) skip(i int, reason string) { p.outcomes[i] = Outcome{identity.StateSkipped, reason} }
func (p *pull) applied(i int)             { p.outcomes[i] = Outcome{State: identity.StateApplied} }

// mark writes the outcomes into the journal.
func (p *pull) mark(ctx context.Context) error {
	var applied []int64
	for i, o := range p.outcomes {
		c := &p.changes[i]
		switch o.State {
		case identity.StateApplied:
			applied = append(applied, c.Ord)
		case "":
			return fmt.Errorf("apply: nobody saw to %s %s", c.Object, c.Op)
		default:
			if err := p.tx.MarkChange(ctx, c.RunID, c.Ord, o.State, o.Reason); err != nil {
				return err
			}
		}
	}
	if len(applied) == 0 {
		return nil
	}
	if err := p.tx.MarkApplied(ctx, p.changes[0].RunID, applied); err != nil {
		return err
	}
	return p.tx.MarkCreated(ctx, p.changes[0].RunID, p.made)
}

// overtaken says why a change must not be applied to a row as it is now, or "".
func overtaken(c *identity.Change, version int64, lastPush time.Time) string {
	switch {
	case !lastPush.IsZero() && !c.ReadAt.After(lastPush):
		return skipPushed
	case version != c.Version:
		return skipStale
	}
	return ""
}

// users applies the batch's changes to users.
func (p *pull) users(ctx context.Context) error {
	var ids []string
	removes := false
	for i := range p.changes {
		if c := &p.changes[i]; c.Object == identity.ObjectUser {
			removes = removes || c.Op == identity.OpDeactivate || c.Op == identity.OpConvert
			if c.ID != "" {
				ids = append(ids, c.ID)
			}
		}
	}
	var held map[string]identity.User
	if len(ids) > 0 {
		var err error
		if held, err = p.tx.LockUsers(ctx, ids); err != nil {
			return err
		}
	}
	if removes {
		return p.guarded(ctx, func() error { return p.writeUsers(ctx, held) })
	}
	return p.writeUsers(ctx, held)
}

func (p *pull) writeUsers(ctx context.Context, held map[string]identity.User) error {
	var fresh []identity.User
	for i := range p.changes {
		c := &p.changes[i]
		if c.Object != identity.ObjectUser {
			continue
		}
		var before *identity.User
		if c.ID != "" {
			u, ok := held[c.ID]
			if !ok {
				p.skip(i, skipGone)
				continue
			}
			if reason := overtaken(c, u.Version, u.LastPushAt); reason != "" {
				p.skip(i, reason)
				continue
			}
			before = &u
		}
		after, write, err := p.nextUser(ctx, i, before)
		if err != nil {
			return err
		}
		if !write {
			continue
		}
		if before == nil {
			fresh = append(fresh, after)
			p.made[c.Ord] = after.ID
		} else if err := p.tx.UpdateUser(ctx, &after, before.Version); err != nil {
			return err
		}
		p.applied(i)
	}
	return p.tx.InsertUsers(ctx, fresh)
}

// nextUser decides one change again, on the row as it is now, and returns the user's next state. Without anything to
// write it notes the outcome.
func (p *pull) nextUser(ctx context.Context, i int, before *identity.User) (identity.User, bool, error) {
	c := &p.changes[i]
	stated := c.Status
	if c.Absent {
		stated = StatedAbsent
	}
	protected, err := p.protected(ctx, before)
	if err != nil {
		return identity.User{}, false, err
	}
	d := Decide(stated, before, Facts{Way: Pull, Source: p.source, Protected: protected})
	if d.Refused {
		return identity.User{}, false, refuse(d, before)
	}
	if d.Op == "" {
		p.skip(i, skipNothing)
		return identity.User{}, false, nil
	}
	var after identity.User
	if before == nil {
		after = identity.User{ID: p.newID(), Origin: identity.OriginSSO}
	} else {
		after = before.Clone()
	}
	if d.Profile {
		for _, f := range c.Fields {
			path, err := identity.ParsePath(f.Path)
			if err != nil {
				return identity.User{}, false, fmt.Errorf("apply change %d: %w", c.Ord, err)
			}
			if path != identity.PathActive {
				after.Set(path, f.After)
			}
		}
		// Whoever the record was matched to is the source's from now on.
		after.Source, after.SourceID = p.source, c.SourceID
	}
	after.Fingerprint, after.ObservedAt = c.Fingerprint, c.ReadAt
	d.Reason = c.Reason
	if !p.finish(before, &after, d) {
		p.skip(i, skipNothing)
		return identity.User{}, false, nil
	}
	return after, true, nil
}

// groups applies the batch's changes to groups.
func (p *pull) groups(ctx context.Context) error {
	for i := range p.changes {
		c := &p.changes[i]
		if c.Object != identity.ObjectGroup {
			continue
		}
		if c.Op == identity.OpCreate {
			g := identity.Group{ID: p.newID(), Source: p.source, SourceID: c.SourceID, Fingerprint: c.Fingerprint, ObservedAt: c.ReadAt}
			setGroupFields(&g, c.Fields)
			if err := p.insertGroup(ctx, &g, c.Reason); err != nil {
				return err
			}
			p.made[c.Ord] = g.ID
			p.applied(i)
			continue
		}
		held, err := p.tx.LockGroup(ctx, c.ID)
		if errors.Is(err, store.ErrNotFound) {
			p.skip(i, skipGone)
			continue
		}
		if err != nil {
			return err
		}
		// The version also counts memberships, which are none of a rename's business: only a push overtakes it.
		if reason := overtaken(c, c.Version, held.LastPushAt); reason != "" {
			p.skip(i, reason)
			continue
		}
		if c.Op == identity.OpDelete {
			err = p.deleteGroup(ctx, &held, c.Reason)
		} else {
			after := held
			setGroupFields(&after, c.Fields)
			after.Source, after.SourceID = p.source, c.SourceID
			after.Fingerprint, after.ObservedAt = c.Fingerprint, c.ReadAt
			_, err = p.writeGroup(ctx, &held, after, nil, c.Reason)
		}
		if err != nil {
			return err
		}
		p.applied(i)
	}
	return nil
}

func setGroupFields(g *identity.Group, fields []identity.FieldChange) {
	for _, f := range fields {
		text, _ := f.After.(string)
		switch f.Path {
		case "displayName":
			g.DisplayName = text
		case "externalId":
			g.ExternalID = text
		}
	}
}

// members applies the batch's changes to memberships, group by group in the order of the batch.
func (p *pull) members(ctx context.Context) error {
	type work struct{ add, remove []int }
	var (
		order   []string
		byGroup = map[string]*work{}
		unknown []string // immutable ids of users who were yet to be created when the change was planned
	)
	for i := range p.changes {
		c := &p.changes[i]
		if c.Object != identity.ObjectMember {
			continue
		}
		w := byGroup[c.SourceID]
		if w == nil {
			w = &work{}
			byGroup[c.SourceID], order = w, append(order, c.SourceID)
		}
		if c.Op == identity.OpAdd {
			w.add = append(w.add, i)
		} else {
			w.remove = append(w.remove, i)
		}
		if c.MemberID == "" {
			unknown = append(unknown, c.MemberSourceID)
		}
	}
	if len(order) == 0 {
		return nil
	}
	resolved, err := p.tx.ResolveUsers(ctx, p.source, unknown)
	if err != nil {
		return err
	}
	groups, err := p.tx.HeldGroups(ctx, p.source, order)
	if err != nil {
		return err
	}
	for _, sourceID := range order {
		w := byGroup[sourceID]
		g, ok := groups[sourceID]
		if !ok {
			for _, i := range append(w.add, w.remove...) {
				p.skip(i, "the group is not held")
			}
			continue
		}
		if g, err = p.tx.LockGroup(ctx, g.ID); err != nil {
			return err
		}
		add, remove := p.memberIDs(&g, w.add, resolved), p.memberIDs(&g, w.remove, resolved)
		if err := p.moveUsers(ctx, &g, add, remove); err != nil {
			return err
		}
	}
	return nil
}

// memberIDs returns the users' ids that membership changes of one group speak of, and notes the changes' outcomes.
func (p *pull) memberIDs(g *identity.Group, indexes []int, resolved map[string]string) []string {
	var ids []string
	for _, i := range indexes {
		c := &p.changes[i]
		id := c.MemberID
		if id == "" {
			id = resolved[c.MemberSourceID]
		}
		if id == "" {
			p.skip(i, "the user is not held")
			continue
		}
		if reason := overtaken(c, c.Version, g.LastPushAt); reason != "" {
			p.skip(i, reason)
			continue
		}
		p.applied(i)
		ids = append(ids, id)
	}
	return ids
}

func (p *pull) moveUsers(ctx context.Context, g *identity.Group, add, remove []string) error {
	var added, removed []string
	var err error
	if len(add) > 0 {
		if added, err = p.tx.AddMembers(ctx, g.ID, add); err != nil {
			return err
		}
	}
	if len(remove) > 0 {
		err = p.guarded(ctx, func() (err error) {
			removed, err = p.tx.RemoveMembers(ctx, g.ID, remove)
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(added) == 0 && len(removed) == 0 {
		return nil
	}
	p.memberEvents(g, added, removed)
	return p.tx.TouchGroup(ctx, g.ID, p.now)
}

// grants applies the batch's changes to what groups grant: each makes its group grant what the mapping says now.
func (p *pull) grants(ctx context.Context) error {
	done := map[string]bool{}
	for i := range p.changes {
		c := &p.changes[i]
		if c.Object != identity.ObjectGrant {
			continue
		}
		if !done[c.ID] {
			g, err := p.tx.LockGroup(ctx, c.ID)
			if errors.Is(err, store.ErrNotFound) {
				p.skip(i, skipGone)
				continue
			}
			if err != nil {
				return err
			}
			if err := p.syncTeam(ctx, &g); err != nil {
				return err
			}
			done[c.ID] = true
		}
		p.applied(i)
	}
	return nil
}
