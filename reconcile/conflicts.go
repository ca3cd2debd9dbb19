package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// lookAtConflicts finds out which questions about conflicts need not be asked for each page: most connectors have none.
func (w *work) lookAtConflicts(ctx context.Context) error {
	counts, err := w.store.CountConflicts(ctx, w.run.Connector)
	w.conflicts, w.ignoring = counts[identity.ConflictOpen] > 0, counts[identity.ConflictIgnored] > 0
	return err
}

// ignored returns which of these records an operator wants to be left alone.
func (w *work) ignored(ctx context.Context, object identity.Object, ids []string) (map[string]bool, error) {
	if !w.ignoring || len(ids) == 0 {
		return nil, nil
	}
	return w.store.IgnoredRecords(ctx, w.run.Connector, object, ids)
}

// noteConflicts writes down the conflicts among the changes that comparing these records came to. Where not everything is
// read, whoever was compared without one has none any more; a full run tells it of everybody when it ends.
func (w *work) noteConflicts(ctx context.Context, object identity.Object, ids []string, changes []identity.Change) error {
	if w.run.DryRun {
		return nil
	}
	var found []identity.Conflict
	for i := range changes {
		c := &changes[i]
		if c.Op != identity.OpConflict {
			continue
		}
		now := w.now()
		found = append(found, identity.Conflict{
			ID: uuid.NewString(), Connector: w.run.Connector, Object: object, SourceID: c.SourceID, Name: c.Name, Reason: c.Reason,
			Candidates: c.Candidates, FirstSeen: now, LastSeen: now, LastRunID: w.run.ID, Status: identity.ConflictOpen,
		})
		ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == c.SourceID })
	}
	resolve := w.since != nil && w.conflicts && len(ids) > 0
	if len(found) == 0 && !resolve {
		return nil
	}
	return w.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Fence(ctx, w.lease); err != nil {
			return err
		}
		if err := tx.NoteConflicts(ctx, found); err != nil || !resolve {
			return err
		}
		_, err := tx.ResolveConflicts(ctx, w.run.Connector, object, ids, w.now())
		return err
	})
}

// openConflicts returns whom and what an incremental run reads again for a conflict, users and groups.
func (w *work) openConflicts(ctx context.Context) (users, groups []string, err error) {
	if !w.conflicts {
		return nil, nil, nil
	}
	if users, err = w.store.OpenConflicts(ctx, w.run.Connector, identity.ObjectUser, mostReads+1); err != nil {
		return nil, nil, err
	}
	groups, err = w.store.OpenConflicts(ctx, w.run.Connector, identity.ObjectGroup, mostReads+1)
	return users, groups, err
}

// resolveUnseen ends, after a full run that read everything, the conflicts that it did not meet.
func (w *work) resolveUnseen(ctx context.Context, tx *store.Tx) error {
	if w.run.Kind != identity.KindFull || w.run.Incomplete != "" || !w.conflicts {
		return nil
	}
	_, err := tx.ResolveUnseenConflicts(ctx, w.run.Connector, w.run.ID, w.now())
	return err
}

// rehire is somebody whose account a record takes over under another immutable id.
type rehire struct{ former, now string }

// goneFormer reads by id, once in a run, under which ids the source has nobody any more: those by which accounts are known
// that records of this page may take over. Only that they are not found, or stated to be gone, counts.
func (w *work) goneFormer(ctx context.Context, ids []string) (map[string]bool, error) {
	var unread []string
	for _, id := range ids {
		key := userKey(id)
		if _, read := w.verified[key]; read {
			continue
		}
		switch {
		case w.since != nil && w.since.absent[id]:
			w.verified[key] = absence{gone: true, reason: notFoundByID}
		case w.formerReads < mostReads:
			w.formerReads++
			unread = append(unread, id)
		}
	}
	found := make([]absence, len(unread))
	err := w.inParallel(ctx, unread, func(ctx context.Context, i int) error {
		found[i] = w.userAbsence(ctx, unread[i])
		return nil
	}, func(_ int, err error) error { return err })
	if err != nil {
		return nil, err
	}
	for i, id := range unread {
		w.verified[userKey(id)] = found[i]
	}
	gone := map[string]bool{}
	for _, id := range ids {
		gone[id] = w.verified[userKey(id)].gone
	}
	return gone, nil
}

// markAdopted notes that the people who are about to be taken over are stated, under whatever id they were known so far.
func (w *work) markAdopted(changes []identity.Change, candidates []identity.User) {
	if len(candidates) == 0 {
		return
	}
	byID := make(map[string]*identity.User, len(candidates))
	for i := range candidates {
		byID[candidates[i].ID] = &candidates[i]
	}
	for i := range changes {
		u, ok := byID[changes[i].ID]
		if !ok {
			continue
		}
		w.seen.set(u.Seq)
		if u.Source == w.run.Connector && u.SourceID != "" && u.SourceID != changes[i].SourceID {
			w.rehired[u.ID] = rehire{u.SourceID, changes[i].SourceID}
		}
	}
}

// dropSuperseded takes the deactivations out of the plan of people who are taken over: that their former id is gone is why.
func (w *work) dropSuperseded(ctx context.Context) error {
	if len(w.rehired) == 0 {
		return nil
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	query := store.ChangeQuery{
		RunID: w.run.ID, Objects: []identity.Object{identity.ObjectUser}, Ops: []identity.Op{identity.OpDeactivate},
		States: []identity.ChangeState{identity.StatePlanned}, Limit: journalBatch,
	}
	var superseded []int64
	for c, err := range journal(ctx, w.store, query) {
		if err != nil {
			return err
		}
		if r, ok := w.rehired[c.ID]; ok && c.SourceID == r.former {
			w.hash.Remove(&c)
			w.tally.Users.Removals--
			w.uncount(&c)
			superseded = append(superseded, c.Ord)
		}
	}
	return w.store.InTx(ctx, func(tx *store.Tx) error { return tx.DropChanges(ctx, w.run.ID, superseded) })
}

// uncount takes a change out of the counts of what was planned.
func (w *work) uncount(c *identity.Change) {
	key := string(c.Object) + "." + string(c.Op)
	if w.run.Counts.Changes[key]--; w.run.Counts.Changes[key] == 0 {
		delete(w.run.Counts.Changes, key)
	}
}

// moveRehired says of the groups of those who are taken over whether they stay: what was stated of their former ids, and
// of the new ones, is about one person. A group of which the whole list is stated tells it by itself.
func (w *work) moveRehired(ctx context.Context) error {
	if len(w.rehired) == 0 {
		return nil
	}
	groups, err := w.store.GroupsOfUsers(ctx, slices.Collect(maps.Keys(w.rehired)))
	if err != nil {
		return err
	}
	for id, r := range w.rehired {
		for _, g := range groups[id] {
			if g.Indirect {
				continue
			}
			group, err := w.store.Group(ctx, g.ID)
			if errors.Is(err, store.ErrNotFound) {
				continue // deleted in this moment
			}
			if err != nil {
				return err
			}
			if group.Source == w.run.Connector && group.SourceID != "" {
				w.moveMember(group.SourceID, r)
			}
		}
	}
	return w.holdGroups(ctx)
}

// moveMember says whether somebody who is a member of a group under the former id stays one.
func (w *work) moveMember(group string, r rehire) {
	if _, gone := w.since.gone[group]; gone || w.group(group).last {
		return
	}
	delta := w.since.deltas[group]
	if delta == nil {
		delta = map[string]bool{}
		w.since.deltas[group] = delta
	}
	if delta[r.now] {
		delete(delta, r.now)
		delete(delta, r.former)
		return
	}
	delta[r.former] = false
}

// candidates reads whom unknown records may mean, who of them is privileged, and which of the ids are gone by which they are
// known.
func (w *work) candidates(ctx context.Context, records []identity.Record, s *plan.UserSnapshot, unknown, names []string) error {
	if len(unknown) == 0 {
		return nil
	}
	var err error
	if s.Candidates, err = w.store.Candidates(ctx, unknown, names); err != nil || len(s.Candidates) == 0 {
		return err
	}
	ids := make([]string, len(s.Candidates))
	for i := range s.Candidates {
		ids[i] = s.Candidates[i].ID
	}
	if s.Privileged, err = w.store.PrivilegedUsers(ctx, ids); err != nil {
		return err
	}
	s.Gone, err = w.goneFormer(ctx, plan.Former(w.run.Connector, records, *s))
	return err
}
