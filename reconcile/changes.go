package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Bounds of an incremental run: what needs more than that is cheaper, and safer, to compare in full.
const (
	mostReads   = 1000   // people and groups that are read one by one
	mostChanged = 20_000 // records that are kept until all are known
)

// tooMuch ends an incremental pull that a full one has to take the place of.
type tooMuch struct{ reason error }

func (e *tooMuch) Error() string { return e.reason.Error() }

// since is what an incremental pull found: everything is kept until all of it is known, because a source may state the
// same object twice, and because reading by id overrides what was stated before.
type since struct {
	records   map[string]*identity.Record      // who changed, by immutable id
	groups    map[string]*identity.GroupRecord // which groups changed
	deltas    map[string]map[string]bool       // by group: who came (true) and who left
	doubtful  map[string]bool                  // people to read by id
	strangers map[string]bool                  // members who are not held: to be read by id unless they are stated
	unread    map[string]bool                  // groups to read by id
	absent    map[string]bool                  // people who were read by id and are not there
	gone      map[string]string                // groups that are not there; why, where they were read by id
	gained    map[string]bool                  // people who are about to become members, by immutable id
	moves     map[string]int                   // memberships that people are about to gain less those they lose, by user id
	failures  int                              // reads by id that failed
}

func newSince() *since {
	return &since{
		records: map[string]*identity.Record{}, groups: map[string]*identity.GroupRecord{}, deltas: map[string]map[string]bool{},
		doubtful: map[string]bool{}, strangers: map[string]bool{}, unread: map[string]bool{}, absent: map[string]bool{},
		gone: map[string]string{}, gained: map[string]bool{}, moves: map[string]int{},
	}
}

// pullChanges reads what changed since the checkpoint, then, by id, whom and what that leaves open, whom and what somebody
// changed here, and what the last run left undone.
func (w *work) pullChanges(ctx context.Context) error {
	w.since = newSince()
	for _, phase := range phases {
		w.complete[phase] = true // an incremental pull says so where it is not
	}
	for _, step := range []func(context.Context) error{
		w.readChanges, w.recall, w.readGroups, w.compareGroups, w.findMoves, w.findAffected, w.readUsers, w.readNewcomers, w.compareUsers, w.moveRehired,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if n := w.since.failures; n > 0 {
		w.incomplete(fmt.Sprintf("%d people or groups could not be read by id and were left as they are", n))
	}
	w.tally.Users.Stated, w.tally.Groups.Stated = w.tally.Users.Held, w.tally.Groups.Held
	w.progress(ctx, 0, 0)
	return nil
}

var phases = [...]connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers}

// readChanges keeps what the connector states.
func (w *work) readChanges(ctx context.Context) error {
	pages := 0
	for page, err := range w.req.Source.Connector.Changes(ctx, w.state.Checkpoint) {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			if errors.Is(err, connectors.ErrResync) {
				return &tooMuch{err}
			}
			if pages == 0 || errors.Is(err, connectors.ErrUnauthorized) {
				return err
			}
			w.checkpoint = ""
			w.incomplete(err.Error())
			var part *connectors.IncompleteError
			if errors.As(err, &part) {
				w.complete[part.Phase] = false
				continue
			}
			clear(w.complete)
			break
		}
		pages++
		if err := w.changesPage(ctx, &page); err != nil {
			return err
		}
		w.checkpoint = page.Checkpoint
		w.progress(ctx, 0, 0)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (w *work) changesPage(ctx context.Context, page *connectors.Page) error {
	w.run.Counts.Users += len(page.Records)
	w.run.Counts.Groups += len(page.Groups)
	if err := w.keepRecords(ctx, page.Records, page.Unscoped); err != nil {
		return err
	}
	for _, id := range page.Doubtful {
		w.since.doubtful[id] = true
	}
	for i := range page.Groups {
		w.since.groups[page.Groups[i].SourceID] = &page.Groups[i]
	}
	for i := range page.Members {
		if err := w.keepMembers(ctx, &page.Members[i]); err != nil {
			return err
		}
	}
	if len(w.since.records) > mostChanged {
		return &tooMuch{fmt.Errorf("more than %d people changed", mostChanged)}
	}
	return nil
}

// keepRecords keeps records of people who are held, or let in by the connector. Others are read by id: whether they are in
// scope was not looked at, or the record says too little to make somebody of it.
func (w *work) keepRecords(ctx context.Context, records []identity.Record, unscoped bool) error {
	if len(records) == 0 {
		return nil
	}
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].SourceID
	}
	held, err := w.store.HeldUsers(ctx, w.run.Connector, ids)
	if err != nil {
		return err
	}
	for i := range records {
		r := &records[i]
		h, known := held[r.SourceID]
		whole := r.UserName != "" && r.Status != ""
		returns := r.Status == identity.StatusActive || !known && r.Status == identity.StatusInactive || !known && !whole
		switch {
		case known && h.Active, known && !returns, whole && !unscoped:
			w.keepRecord(r)
		case returns:
			w.since.doubtful[r.SourceID] = true
		}
	}
	return nil
}

// keepRecord keeps a record. What a later one states of the same person overrides what an earlier one did.
func (w *work) keepRecord(r *identity.Record) {
	before := w.since.records[r.SourceID]
	if before == nil {
		w.since.records[r.SourceID] = r
		return
	}
	before.UserName, before.ExternalID = orElse(r.UserName, before.UserName), orElse(r.ExternalID, before.ExternalID)
	if r.Status != "" {
		before.Status, before.RawStatus = r.Status, r.RawStatus
	}
	for _, s := range r.Attributes {
		i := slices.IndexFunc(before.Attributes, func(old identity.Stated) bool { return old.Path == s.Path })
		if i < 0 {
			before.Attributes = append(before.Attributes, s)
		} else {
			before.Attributes[i] = s
		}
	}
	if r.ReadAt.Before(before.ReadAt) {
		before.ReadAt = r.ReadAt // the oldest of what is in it decides whether a push is newer
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// keepMembers keeps who came to a group and who left, or the whole list; members of whom nobody knows are read by id.
func (w *work) keepMembers(ctx context.Context, m *identity.MemberRecord) error {
	if !m.Delta {
		if err := w.members(ctx, m); err != nil {
			return err
		}
		return w.findStrangers(ctx, m.UserIDs)
	}
	w.run.Counts.Members += len(m.UserIDs) + len(m.Removed)
	delta := w.since.deltas[m.GroupID]
	if delta == nil {
		delta = map[string]bool{}
		w.since.deltas[m.GroupID] = delta
	}
	for _, id := range m.UserIDs {
		delta[id] = true
	}
	for _, id := range m.Removed {
		delta[id] = false
	}
	return w.findStrangers(ctx, m.UserIDs)
}

// findStrangers has people read by id who are members and not held.
func (w *work) findStrangers(ctx context.Context, ids []string) error {
	for part := range slices.Chunk(ids, memberPage) {
		held, err := w.store.HeldUsers(ctx, w.run.Connector, part)
		if err != nil {
			return err
		}
		for _, id := range part {
			if _, known := held[id]; !known {
				w.since.strangers[id] = true
			}
		}
	}
	return nil
}

// recall adds what is not of the source's making: rows that were changed here, and what the last run left undone.
func (w *work) recall(ctx context.Context) error {
	users, err := w.store.UnsettledUsers(ctx, w.run.Connector, mostReads+1)
	if err != nil {
		return err
	}
	groups, err := w.store.UnsettledGroups(ctx, w.run.Connector, mostReads+1)
	if err != nil {
		return err
	}
	undone, undoneGroups, err := w.store.Unfinished(ctx, w.run.Connector, w.state.CheckpointRunID, mostReads+1)
	if err != nil {
		return err
	}
	open, openGroups, err := w.openConflicts(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Concat(users, undone, open) {
		w.since.doubtful[id] = true
	}
	for _, id := range slices.Concat(groups, undoneGroups, openGroups) {
		w.since.unread[id] = true
	}
	return nil
}

// readGroups reads groups by id: those in doubt, and those that are not held and of which too little was stated.
func (w *work) readGroups(ctx context.Context) error {
	stated := map[string]bool{}
	for id := range w.since.groups {
		stated[id] = true
	}
	for id := range w.since.deltas {
		stated[id] = true
	}
	for id := range w.groups {
		stated[id] = true
	}
	held, err := w.store.HeldGroups(ctx, w.run.Connector, slices.Collect(maps.Keys(stated)))
	if err != nil {
		return err
	}
	for id := range stated {
		_, known := held[id]
		record, g := w.since.groups[id], w.groups[id]
		switch {
		case known:
		case record != nil && record.Gone:
			delete(w.since.groups, id)
		case record == nil || g == nil || !g.last:
			w.since.unread[id] = true
		}
	}
	if err := w.affordable(len(w.since.unread)); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(w.since.unread)) {
		if err := w.readGroup(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) affordable(reads int) error {
	if reads > mostReads {
		return &tooMuch{fmt.Errorf("more than %d people or groups would have to be read by id", mostReads)}
	}
	return nil
}

// readGroup reads one group with its members, in place of what was stated of it.
func (w *work) readGroup(ctx context.Context, id string) error {
	delete(w.since.deltas, id)
	if g := w.groups[id]; g != nil {
		delete(w.groups, id)
		if g.spooled {
			if err := w.store.DropSpool(ctx, w.run.ID, id); err != nil {
				return err
			}
		}
	}
	for page, err := range w.req.Source.Connector.Group(ctx, id) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if errors.Is(err, connectors.ErrNotFound) {
			delete(w.since.groups, id)
			w.since.gone[id] = notFoundByID
			return nil
		}
		if err != nil {
			// What was read of the group says nothing about who is not in it.
			delete(w.groups, id)
			return errors.Join(w.unreadable(ctx, identity.ObjectGroup, id, err), w.store.DropSpool(ctx, w.run.ID, id))
		}
		for i := range page.Groups {
			w.run.Counts.Groups++
			w.since.groups[page.Groups[i].SourceID] = &page.Groups[i]
		}
		for i := range page.Members {
			if err := w.keepMembers(ctx, &page.Members[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareGroups compares the groups that were stated or read, and plans the deletion of held ones that are gone.
func (w *work) compareGroups(ctx context.Context) error {
	records := make([]identity.GroupRecord, 0, len(w.since.groups))
	for _, id := range slices.Sorted(maps.Keys(w.since.groups)) {
		if r := w.since.groups[id]; r.Gone {
			w.since.gone[id] = ""
		} else {
			records = append(records, *r)
		}
	}
	for part := range slices.Chunk(records, recordPage) {
		if err := w.groupRecords(ctx, part); err != nil {
			return err
		}
	}
	if err := w.planGone(ctx); err != nil {
		return err
	}
	return w.settleStated(ctx)
}

// planGone plans the deletion of held groups that are gone.
func (w *work) planGone(ctx context.Context) error {
	if err := w.noteConflicts(ctx, identity.ObjectGroup, slices.Collect(maps.Keys(w.since.gone)), nil); err != nil {
		return err
	}
	held, err := w.store.HeldGroups(ctx, w.run.Connector, slices.Collect(maps.Keys(w.since.gone)))
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(held)) {
		g := held[id]
		delete(w.since.deltas, id)
		c := plan.AbsentGroup(&g)
		c.ReadAt = w.run.Started
		if reason := w.since.gone[id]; reason != "" {
			c.Reason = reason
			w.verified[groupKey(id)] = absence{reason: reason}
		}
		if err := w.add(ctx, c); err != nil {
			return err
		}
		if w.mapping.Mapped(&g) && g.MemberCount > 0 {
			w.tally.Gone = append(w.tally.Gone, g.DisplayName)
		}
		for after := ""; ; {
			members, err := w.store.MemberIDs(ctx, g.ID, after, memberPage)
			if err != nil {
				return err
			}
			for _, member := range members {
				w.since.moves[member]--
			}
			if len(members) < memberPage {
				break
			}
			after = members[len(members)-1]
		}
	}
	return nil
}

// settleStated decides about the groups whose whole membership was stated, now that it is known what they are held as.
func (w *work) settleStated(ctx context.Context) error {
	for id := range w.since.deltas {
		w.group(id)
	}
	if err := w.holdGroups(ctx); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(w.groups)) {
		if g := w.groups[id]; g.last && g.known {
			if err := w.settle(ctx, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// holdGroups looks up what groups are held as of which nothing but members was stated.
func (w *work) holdGroups(ctx context.Context) error {
	var ids []string
	for id, g := range w.groups {
		if !g.known {
			ids = append(ids, id)
		}
	}
	held, err := w.store.HeldGroups(ctx, w.run.Connector, ids)
	if err != nil {
		return err
	}
	for id, h := range held {
		g := w.groups[id]
		g.known, g.name = true, h.DisplayName
		w.hold(g, &h)
	}
	return nil
}

// findMoves finds who is about to gain or lose memberships, by immutable id the one and by user id the other.
func (w *work) findMoves(ctx context.Context) error {
	for _, g := range w.drifted {
		err := w.eachMissing(ctx, g, func(rows []store.MemberDrift) error { w.gain(rows); return nil })
		if err == nil && g.id != "" {
			err = w.eachExtra(ctx, g, func(rows []store.MemberDrift) error { w.lose(rows); return nil })
		}
		if err != nil {
			return err
		}
	}
	for _, g := range w.changedGroups() {
		if err := w.eachDelta(ctx, g, func(joining, leaving []store.MemberDrift) error {
			w.gain(joining)
			w.lose(leaving)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) gain(rows []store.MemberDrift) {
	for _, m := range rows {
		w.since.gained[m.UserSourceID] = true
		if m.UserID != "" {
			w.since.moves[m.UserID]++
		}
	}
}

func (w *work) lose(rows []store.MemberDrift) {
	for _, m := range rows {
		w.since.moves[m.UserID]--
	}
}

// findAffected has people read by id whose memberships change: somebody inactive who gains one may be in scope again, and
// somebody who loses the last one may have left it.
func (w *work) findAffected(ctx context.Context) error {
	for part := range slices.Chunk(slices.Sorted(maps.Keys(w.since.gained)), memberPage) {
		held, err := w.store.HeldUsers(ctx, w.run.Connector, part)
		if err != nil {
			return err
		}
		for id, h := range held {
			if !h.Active {
				w.since.doubtful[id] = true
			}
		}
	}
	var losers []string
	for _, id := range slices.Sorted(maps.Keys(w.since.moves)) {
		if w.since.moves[id] < 0 {
			losers = append(losers, id)
		}
	}
	for part := range slices.Chunk(losers, memberPage) {
		counts, err := w.store.CountMemberships(ctx, w.run.Connector, part)
		if err != nil {
			return err
		}
		without := slices.DeleteFunc(slices.Clone(part), func(id string) bool { return counts[id]+w.since.moves[id] > 0 })
		users, err := w.store.UsersByID(ctx, without)
		if err != nil {
			return err
		}
		for _, u := range users {
			if u.Active && u.Source == w.run.Connector && u.SourceID != "" {
				w.since.doubtful[u.SourceID] = true
			}
		}
	}
	return nil
}

// readUsers reads people by id: what is read overrides what was stated, and who is not there is absent.
func (w *work) readUsers(ctx context.Context) error {
	for id := range w.since.strangers {
		if w.since.records[id] == nil {
			w.since.doubtful[id] = true
		}
	}
	if err := w.affordable(len(w.since.unread) + len(w.since.doubtful)); err != nil {
		return err
	}
	ids := slices.Sorted(maps.Keys(w.since.doubtful))
	read := make([]*identity.Record, len(ids))
	err := w.inParallel(ctx, ids, func(ctx context.Context, i int) error {
		r, err := w.req.Source.Connector.User(ctx, ids[i])
		if err == nil {
			read[i] = &r
		}
		return err
	}, func(i int, err error) error {
		if errors.Is(err, connectors.ErrNotFound) {
			w.since.absent[ids[i]] = true
			return nil
		}
		return w.unreadable(ctx, identity.ObjectUser, ids[i], err)
	})
	for i, id := range ids {
		delete(w.since.records, id)
		if r := read[i]; r != nil {
			w.run.Counts.Users++
			w.since.records[r.SourceID] = r
		}
	}
	return err
}

// readNewcomers reads the groups of those who are about to become known: of a membership that was there before nothing
// was stated.
func (w *work) readNewcomers(ctx context.Context) error {
	var newcomers []string
	for part := range slices.Chunk(slices.Sorted(maps.Keys(w.since.records)), memberPage) {
		held, err := w.store.HeldUsers(ctx, w.run.Connector, part)
		if err != nil {
			return err
		}
		for _, id := range part {
			_, known := held[id]
			if s := w.since.records[id].Status; !known && (s == identity.StatusActive || s == identity.StatusInactive) {
				newcomers = append(newcomers, id)
			}
		}
	}
	if len(newcomers) == 0 {
		return nil
	}
	lister, can := w.req.Source.Connector.(connectors.GroupLister)
	if !can {
		return &tooMuch{errors.New("somebody became known whose groups cannot be asked for")}
	}
	if err := w.affordable(len(w.since.unread) + len(w.since.doubtful) + len(newcomers)); err != nil {
		return err
	}
	groups := make([][]string, len(newcomers))
	err := w.inParallel(ctx, newcomers, func(ctx context.Context, i int) (err error) {
		groups[i], err = lister.GroupsOf(ctx, newcomers[i])
		return err
	}, func(i int, err error) error {
		delete(w.since.records, newcomers[i])
		return w.unreadable(ctx, identity.ObjectUser, newcomers[i], err)
	})
	if err != nil {
		return err
	}
	return w.joinGroups(ctx, newcomers, groups)
}

// joinGroups adds newcomers to what is stated of the groups that they are members of. A group of which the whole list is
// stated has them already.
func (w *work) joinGroups(ctx context.Context, newcomers []string, groups [][]string) error {
	for i, id := range newcomers {
		for _, group := range groups[i] {
			if w.group(group).last {
				continue
			}
			if w.since.deltas[group] == nil {
				w.since.deltas[group] = map[string]bool{}
			}
			w.since.deltas[group][id] = true
		}
	}
	return w.holdGroups(ctx)
}

// inParallel calls read for each id; what it returns goes to failed, one call at a time, unless it is the end of ctx.
func (w *work) inParallel(ctx context.Context, ids []string, read func(context.Context, int) error, failed func(int, error) error) error {
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(verifyParallel)
	for i := range ids {
		group.Go(func() error {
			err := read(groupCtx, i)
			if cause := context.Cause(groupCtx); cause != nil {
				return cause
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				return failed(i, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// unreadable notes in the journal that somebody or something could not be read by id: nothing happens to them, and the next
// run reads them again.
func (w *work) unreadable(ctx context.Context, object identity.Object, id string, err error) error {
	w.logger.WarnContext(ctx, "read by id", "connector", w.run.Connector, "object", object, "source_id", id, "error", err)
	w.since.failures++
	w.ord++
	w.journal = append(w.journal, identity.Change{
		RunID: w.run.ID, Ord: w.ord, Object: object, Op: identity.OpUpdate, SourceID: id, Name: id, State: identity.StateSkipped,
		Reason: unread(err).reason, ReadAt: w.run.Started,
	})
	return nil
}

// recordPage is the number of records that are compared at once.
const recordPage = 200

// compareUsers compares the people who were stated or read, and plans the deactivation of those who were read by id and
// are not there.
func (w *work) compareUsers(ctx context.Context) error {
	for part := range slices.Chunk(slices.Sorted(maps.Keys(w.since.records)), recordPage) {
		records := make([]identity.Record, len(part))
		for i, id := range part {
			records[i] = *w.since.records[id]
		}
		if err := w.users(ctx, records); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(w.since.absent)), recordPage) {
		if err := w.planAway(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// planAway plans the deactivation of people who are held and were read by id in vain.
func (w *work) planAway(ctx context.Context, ids []string) error {
	if err := w.noteConflicts(ctx, identity.ObjectUser, ids, nil); err != nil {
		return err
	}
	held, err := w.store.HeldUsers(ctx, w.run.Connector, ids)
	if err != nil {
		return err
	}
	var seen []identity.Seen
	for _, id := range ids {
		h, known := held[id]
		switch {
		case known && h.Active:
			found := absence{gone: true, reason: notFoundByID}
			w.verified[userKey(id)] = found
			c := plan.Absent(h)
			c.ReadAt, c.Reason = w.run.Started, found.reason
			if err := w.add(ctx, c); err != nil {
				return err
			}
		case known && h.Fingerprint.IsZero():
			seen = append(seen, identity.Seen{ID: h.ID, Version: h.Version, Fingerprint: identity.AbsentFingerprint()})
		}
	}
	return w.markSeen(ctx, (*store.Tx).MarkUsersSeen, seen)
}

// changedGroups returns the held groups of which it was stated who came and who left.
func (w *work) changedGroups() []*groupWork {
	var groups []*groupWork
	for _, id := range slices.Sorted(maps.Keys(w.since.deltas)) {
		if g := w.groups[id]; g != nil && g.id != "" && !g.conflict {
			groups = append(groups, g)
		}
	}
	return groups
}

// planDeltas plans who came to groups and who left them.
func (w *work) planDeltas(ctx context.Context) error {
	if w.since == nil {
		return nil
	}
	if err := w.flush(ctx); err != nil { // those about to be created are found in the journal
		return err
	}
	for _, g := range w.changedGroups() {
		stays := g.heldN
		err := w.eachDelta(ctx, g, func(joining, leaving []store.MemberDrift) error {
			if !w.complete[connectors.PhaseMembers] {
				leaving = nil
			}
			stays += len(joining) - len(leaving)
			if err := w.addMembers(ctx, g, identity.OpAdd, joining); err != nil {
				return err
			}
			return w.addMembers(ctx, g, identity.OpRemove, leaving)
		})
		if err != nil {
			return err
		}
		w.planned(g, stays)
	}
	return nil
}

// eachDelta calls use with those who came to a group and are provisioned, and those who left and are members, page by
// page.
func (w *work) eachDelta(ctx context.Context, g *groupWork, use func(joining, leaving []store.MemberDrift) error) error {
	delta := w.since.deltas[g.sourceID]
	for part := range slices.Chunk(slices.Sorted(maps.Keys(delta)), memberPage) {
		members, err := w.store.MembersAmong(ctx, w.run.Connector, g.id, part)
		if err != nil {
			return err
		}
		var came []string
		var leaving []store.MemberDrift
		for _, id := range part {
			m, is := members[id]
			switch {
			case delta[id] && !is:
				came = append(came, id)
			case !delta[id] && is:
				leaving = append(leaving, m)
			}
		}
		joining, err := w.store.Provisioned(ctx, w.run.ID, w.run.Connector, came)
		if err != nil {
			return err
		}
		if err := use(joining, leaving); err != nil {
			return err
		}
	}
	return nil
}
