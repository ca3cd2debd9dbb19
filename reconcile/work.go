package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// work is one run at work. It is used by one goroutine.
type work struct {
	*Engine
	req            Request
	run            *identity.Run
	lease          store.Lease
	requestsBefore int64
	stages         stages

	seen     bitmap                // Seq of the held users whom the source states
	groups   map[string]*groupWork // stated groups, by immutable id
	drifted  []*groupWork          // groups whose members have to be compared one by one
	complete map[connectors.Phase]bool

	state         store.ConnectorState // as the run began
	checkpoint    string               // where the next incremental run goes on, "" to stay
	since         *since               // of an incremental run
	verified      map[string]absence   // who and what was read by id in vain already: see userKey and groupKey
	settled       []store.SettledGroup // groups whose members agree
	heldBefore    bool                 // what is held, the run before held too
	appliedBefore int                  // of an approved run: what was repaired before
	moved         map[string]bool      // groups whose members were changed, by immutable id: whether any change is left
	shownAt       time.Time            // when it was last written down how far the run has come

	conflicts   bool              // the connector has open conflicts
	ignoring    bool              // and records that are to be left alone
	rehired     map[string]rehire // who is taken over under another immutable id, by user id
	formerReads int               // people who were read by their former ids

	mapping *roles.Mapping // what groups are to grant
	hash    plan.Hash
	journal []identity.Change // planned and not yet written
	ord     int64
	tally   plan.Tally
}

// groupWork is a stated group and what is known of its members so far.
type groupWork struct {
	sourceID string
	id       string // held id, "" for a group yet to be created
	name     string
	mapped   bool // whether a role mapping speaks of it
	conflict bool // not ours to touch
	planned  bool // a change of the group itself is in the plan
	known    bool // the group's record was seen, not only its members
	held     identity.SetHash
	heldN    int

	hash    identity.SetHash
	count   int
	ids     []string
	spooled bool
	last    bool
	moves   int // planned changes of its members
}

// memberSpool is the number of one group's members that are kept in memory; beyond, they go to the database.
const memberSpool = 10_000

// journalBatch is the number of changes that are written at once.
const journalBatch = 1000

func newWork(e *Engine, req Request, run *identity.Run, lease store.Lease, state store.ConnectorState) *work {
	return &work{
		Engine: e, req: req, run: run, lease: lease, state: state, requestsBefore: req.Source.Connector.Requests(),
		groups: map[string]*groupWork{}, complete: map[connectors.Phase]bool{}, verified: map[string]absence{},
		moved: map[string]bool{}, rehired: map[string]rehire{},
		stages: stages{metrics: e.metrics, connector: run.Connector, tracer: e.tracer},
	}
}

func userKey(sourceID string) string  { return "user " + sourceID }
func groupKey(sourceID string) string { return "group " + sourceID }

func (w *work) actor() identity.Actor {
	return identity.Actor{Kind: "connector", ID: w.run.Connector, Name: w.run.Connector, RunID: w.run.ID}
}

// do is the life of a run.
func (w *work) do(ctx context.Context) error {
	err := w.lookAtConflicts(ctx)
	if err != nil {
		return err
	}
	if w.mapping, err = w.applier.Mapping(ctx); w.run.DryRun {
		w.mapping, err = w.applier.Wanted(ctx)
	}
	if err != nil {
		return err
	}
	w.tally.Users.Held, err = w.store.CountOwnedUsers(ctx, w.run.Connector)
	if err != nil {
		return err
	}
	if w.tally.Groups.Held, w.tally.Members.Held, err = w.store.CountOwned(ctx, w.run.Connector); err != nil {
		return err
	}
	for _, step := range []struct {
		phase string
		run   func(context.Context) error
	}{
		{"pull", w.pull},
		{"plan", w.dropSuperseded},
		{"plan", w.planMembers},
		{"plan", w.planDeltas},
		{"plan", w.planAbsent},
		{"plan", w.planGrants},
		{"guard", w.guard},
		{"verify", w.verify},
		{"apply", w.apply},
	} {
		if err := w.enter(ctx, step.phase); err != nil {
			return err
		}
		if err := step.run(w.stages.enter(ctx, step.phase)); err != nil {
			w.stages.end(err)
			return err
		}
	}
	w.stages.end(nil)
	return nil
}

// enter shows which phase a run is in, to those who look at it and to whoever waits for it.
func (w *work) enter(ctx context.Context, phase string) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	w.run.PlanHash = w.hash.String()
	if phase != w.run.Phase {
		w.run.Phase = phase
		if err := w.store.PutRun(ctx, w.run); err != nil {
			return err
		}
	}
	w.shownAt = w.now()
	w.progress(ctx, 0, 0)
	return nil
}

// showEvery is how often it is written down at most how far a run has come.
const showEvery = time.Second

// progress tells how far the run has come: whoever waits for it at once, and now and then those who look at it from
// elsewhere.
func (w *work) progress(ctx context.Context, done, total int) {
	if now := w.now(); now.Sub(w.shownAt) >= showEvery {
		w.shownAt = now
		shown := *w.run
		shown.Requests += w.req.Source.Connector.Requests() - w.requestsBefore
		if err := w.store.ShowProgress(ctx, &shown); err != nil && ctx.Err() == nil {
			// The run itself does not need it; what the run does need tells of a database that is gone.
			w.logger.WarnContext(ctx, "show the progress of a run", "connector", w.run.Connector, "run_id", w.run.ID, "error", err)
		}
	}
	if w.req.Progress == nil {
		return
	}
	c := w.run.Counts
	w.req.Progress(Progress{w.run.Phase, c.Users, c.Groups, c.Members, done, total})
}

// add appends changes to the journal.
func (w *work) add(ctx context.Context, changes ...identity.Change) error {
	for i := range changes {
		c := &changes[i]
		w.ord++
		c.RunID, c.Ord = w.run.ID, w.ord
		w.hash.Add(c)
		w.run.Counts.Changes[string(c.Object)+"."+string(c.Op)]++
		if c.Op == identity.OpConflict {
			w.run.Counts.Skipped++
		}
		if c.Op.Removal() {
			switch c.Object {
			case identity.ObjectUser:
				w.tally.Users.Removals++
			case identity.ObjectGroup:
				w.tally.Groups.Removals++
			case identity.ObjectMember:
				w.tally.Members.Removals++
			}
		}
		w.journal = append(w.journal, *c)
	}
	if len(w.journal) >= journalBatch {
		return w.flush(ctx)
	}
	return nil
}

func (w *work) flush(ctx context.Context) error {
	if len(w.journal) == 0 {
		return nil
	}
	err := w.store.InTx(ctx, func(tx *store.Tx) error { return tx.InsertChanges(ctx, w.journal) })
	w.journal = w.journal[:0]
	return err
}

// incomplete notes why a part of the pull cannot be trusted to be whole.
func (w *work) incomplete(reason string) {
	if w.run.Incomplete != "" {
		w.run.Incomplete += "; "
	}
	w.run.Incomplete += reason
}

// pull reads the source: what changed since the checkpoint where that will do, else everything.
func (w *work) pull(ctx context.Context) error {
	switch w.run.Kind {
	case identity.KindFull:
		return w.pullAll(ctx)
	case identity.KindObject:
		return w.pullOne(ctx)
	}
	err := w.pullChanges(ctx)
	var most *tooMuch
	if !errors.As(err, &most) {
		return err
	}
	w.logger.InfoContext(ctx, "a full run takes the place of an incremental one", "connector", w.run.Connector, "run_id", w.run.ID, "reason", most.reason)
	if err := w.beginAnew(ctx); err != nil {
		return err
	}
	return w.pullAll(ctx)
}

// beginAnew forgets what an incremental pull found.
func (w *work) beginAnew(ctx context.Context) error {
	if err := errors.Join(w.store.DropJournal(ctx, w.run.ID), w.store.DropSpool(ctx, w.run.ID, "")); err != nil {
		return err
	}
	users, groups, members := w.tally.Users.Held, w.tally.Groups.Held, w.tally.Members.Held
	w.tally = plan.Tally{Users: plan.Count{Held: users}, Groups: plan.Count{Held: groups}, Members: plan.Count{Held: members}}
	w.run.Kind, w.run.Incomplete, w.run.Counts = identity.KindFull, "", identity.Counts{Changes: map[string]int{}}
	w.since, w.checkpoint, w.groups, w.drifted, w.settled = nil, "", map[string]*groupWork{}, nil, nil
	w.hash, w.journal, w.ord, w.seen = plan.Hash{}, nil, 0, bitmap{}
	clear(w.complete)
	clear(w.verified)
	clear(w.rehired)
	return w.store.PutRun(ctx, w.run)
}

// pullAll reads everything and compares page by page. An error after something was read leaves what was read to be
// applied, without removals; an error before that ends the run.
func (w *work) pullAll(ctx context.Context) error {
	for page, err := range w.req.Source.Connector.Full(ctx, "") {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			var part *connectors.IncompleteError
			nothing := w.run.Counts.Users == 0 && w.run.Counts.Groups == 0
			if nothing || errors.Is(err, connectors.ErrUnauthorized) {
				return err
			}
			w.incomplete(err.Error())
			if errors.As(err, &part) {
				w.complete[part.Phase] = false
				continue
			}
			break
		}
		if err := w.page(ctx, page); err != nil {
			return err
		}
		if page.Complete {
			w.complete[page.Phase] = true
		}
		w.checkpoint = page.Checkpoint
		w.progress(ctx, 0, 0)
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if w.run.Incomplete == "" {
		for _, phase := range []connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers} {
			if !w.complete[phase] {
				w.incomplete(fmt.Sprintf("the listing of %s did not reach its end", phase))
			}
		}
	}
	if w.run.Incomplete != "" {
		w.checkpoint = ""
	}
	w.tally.Users.Stated, w.tally.Groups.Stated, w.tally.Members.Stated = w.run.Counts.Users, w.run.Counts.Groups, w.run.Counts.Members
	return nil
}

func (w *work) page(ctx context.Context, page connectors.Page) error {
	if len(page.Records) > 0 {
		if err := w.users(ctx, page.Records); err != nil {
			return err
		}
	}
	if len(page.Groups) > 0 {
		if err := w.groupRecords(ctx, page.Groups); err != nil {
			return err
		}
	}
	for i := range page.Members {
		if err := w.members(ctx, &page.Members[i]); err != nil {
			return err
		}
	}
	return nil
}

// users compares a page of records.
func (w *work) users(ctx context.Context, records []identity.Record) error {
	if w.since == nil { // what changed was counted as it was read
		w.run.Counts.Users += len(records)
	}
	local := w.req.Source.Local
	ids, digests := make([]string, len(records)), make([]identity.Fingerprint, len(records))
	for i := range records {
		ids[i], digests[i] = records[i].SourceID, local.Digest(&records[i])
	}
	if w.tally.Users.Held > 0 {
		agreeing, err := w.store.AgreeingUsers(ctx, w.run.Connector, ids, digests)
		if err != nil {
			return err
		}
		for _, seq := range agreeing {
			w.seen.set(seq)
		}
		if len(agreeing) == len(records) { // what nearly every page of nearly every run comes to
			return w.noteConflicts(ctx, identity.ObjectUser, ids, nil)
		}
	}
	s := plan.UserSnapshot{Local: local}
	var err error
	if s.Held, err = w.store.HeldUsers(ctx, w.run.Connector, ids); err != nil {
		return err
	}
	for _, h := range s.Held {
		w.seen.set(h.Seq)
	}
	ignored, err := w.ignored(ctx, identity.ObjectUser, ids)
	if err != nil {
		return err
	}
	if len(ignored) > 0 {
		records = slices.DeleteFunc(slices.Clone(records), func(r identity.Record) bool {
			_, held := s.Held[r.SourceID]
			return ignored[r.SourceID] && !held
		})
	}
	whole, unknown, names := plan.Unsettled(records, s.Held, local)
	if len(whole) > 0 {
		if s.Users, err = w.store.UsersByID(ctx, whole); err != nil {
			return err
		}
	}
	if err := w.candidates(ctx, records, &s, unknown, names); err != nil {
		return err
	}
	changes, seen := plan.Users(w.run.Connector, records, s)
	w.markAdopted(changes, s.Candidates)
	if err := w.markSeen(ctx, (*store.Tx).MarkUsersSeen, seen); err != nil {
		return err
	}
	if err := w.noteConflicts(ctx, identity.ObjectUser, ids, changes); err != nil {
		return err
	}
	return w.add(ctx, changes...)
}

func (w *work) markSeen(ctx context.Context, mark func(*store.Tx, context.Context, []identity.Seen) error, seen []identity.Seen) error {
	if w.run.DryRun || len(seen) == 0 {
		return nil
	}
	return w.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.Fence(ctx, w.lease); err != nil {
			return err
		}
		return mark(tx, ctx, seen)
	})
}

// groupRecords compares a page of group records.
func (w *work) groupRecords(ctx context.Context, records []identity.GroupRecord) error {
	if w.since == nil {
		w.run.Counts.Groups += len(records)
	}
	ids, names := make([]string, len(records)), make([]string, len(records))
	for i := range records {
		ids[i], names[i] = records[i].SourceID, records[i].DisplayName
	}
	var s plan.GroupSnapshot
	var err error
	if s.Held, err = w.store.HeldGroups(ctx, w.run.Connector, ids); err != nil {
		return err
	}
	if len(s.Held) < len(records) {
		if s.Candidates, err = w.store.GroupCandidates(ctx, ids, names); err != nil {
			return err
		}
	}
	ignored, err := w.ignored(ctx, identity.ObjectGroup, ids)
	if err != nil {
		return err
	}
	if len(ignored) > 0 {
		records = slices.DeleteFunc(slices.Clone(records), func(r identity.GroupRecord) bool {
			_, held := s.Held[r.SourceID]
			if ignored[r.SourceID] && !held {
				g := w.group(r.SourceID)
				g.known, g.name, g.conflict = true, r.DisplayName, true
			}
			return ignored[r.SourceID] && !held
		})
	}
	changes, seen := plan.Groups(w.run.Connector, records, s)
	for i := range records {
		g := w.group(records[i].SourceID)
		g.known, g.name = true, records[i].DisplayName
		if held, ok := s.Held[g.sourceID]; ok {
			w.hold(g, &held)
		}
	}
	for i := range changes {
		c := &changes[i]
		g := w.group(c.SourceID)
		g.planned = true
		g.conflict = c.Op == identity.OpConflict
		if g.id == "" && c.ID != "" {
			adopted, err := w.store.Group(ctx, c.ID)
			if err != nil {
				return err
			}
			w.hold(g, &adopted)
		}
	}
	if err := w.markSeen(ctx, (*store.Tx).MarkGroupsSeen, seen); err != nil {
		return err
	}
	if err := w.noteConflicts(ctx, identity.ObjectGroup, ids, changes); err != nil {
		return err
	}
	return w.add(ctx, changes...)
}

func (w *work) hold(g *groupWork, held *identity.Group) {
	g.id, g.held, g.heldN = held.ID, held.MemberHash, held.MemberCount
	g.mapped = w.mapping.Mapped(held)
}

func (w *work) group(sourceID string) *groupWork {
	g := w.groups[sourceID]
	if g == nil {
		g = &groupWork{sourceID: sourceID}
		w.groups[sourceID] = g
	}
	return g
}

// members takes a part of a group's membership in. Once the group was listed to its end, its set hash tells whether
// anything differs; only then are its members kept, to be compared one by one.
func (w *work) members(ctx context.Context, m *identity.MemberRecord) error {
	w.run.Counts.Members += len(m.UserIDs)
	g := w.group(m.GroupID)
	for _, id := range m.UserIDs {
		g.hash.Toggle(identity.MemberKey(w.run.Connector, id))
	}
	g.count += len(m.UserIDs)
	g.ids = append(g.ids, m.UserIDs...)
	g.last = g.last || m.Last
	if len(g.ids) > memberSpool {
		if err := w.spool(ctx, g); err != nil {
			return err
		}
	}
	if g.last && g.known && w.since == nil {
		return w.settle(ctx, g)
	}
	return nil
}

func (w *work) spool(ctx context.Context, g *groupWork) error {
	g.spooled = true
	err := w.store.SpoolMembers(ctx, w.run.ID, g.sourceID, g.ids)
	g.ids = g.ids[:0]
	return err
}

// settle decides whether a group's members have to be compared one by one.
func (w *work) settle(ctx context.Context, g *groupWork) error {
	same := g.id != "" && g.count == g.heldN && g.hash == g.held
	if same || g.conflict || g.id == "" && g.count == 0 {
		g.ids = nil
		if same {
			w.settled = append(w.settled, store.SettledGroup{ID: g.id, Count: g.heldN, Hash: g.held})
		} else if !g.conflict {
			w.moved[g.sourceID] = false // it is created without members
		}
		if g.spooled {
			return w.store.DropSpool(ctx, w.run.ID, g.sourceID)
		}
		return nil
	}
	if err := w.spool(ctx, g); err != nil {
		return err
	}
	g.ids = nil
	w.drifted = append(w.drifted, g)
	return nil
}

// memberPage is the number of memberships that are compared at once.
const memberPage = 2000

// planMembers compares the members of groups that drifted.
func (w *work) planMembers(ctx context.Context) error {
	for _, g := range w.drifted {
		stays := g.heldN // members who are left afterwards
		err := w.eachMissing(ctx, g, func(rows []store.MemberDrift) error {
			stays += len(rows)
			return w.addMembers(ctx, g, identity.OpAdd, rows)
		})
		if err == nil && g.id != "" && w.complete[connectors.PhaseMembers] {
			err = w.eachExtra(ctx, g, func(rows []store.MemberDrift) error {
				stays -= len(rows)
				return w.addMembers(ctx, g, identity.OpRemove, rows)
			})
		}
		if err != nil {
			return err
		}
		w.planned(g, stays)
	}
	return nil
}

// planned notes what planning a group's members came to: how many stay.
func (w *work) planned(g *groupWork, stays int) {
	if g.id != "" && w.complete[connectors.PhaseMembers] && g.mapped && stays <= 0 && g.heldN > 0 {
		w.tally.Emptied = append(w.tally.Emptied, g.name)
	}
	if g.moves == 0 && g.id != "" && g.last && w.complete[connectors.PhaseMembers] {
		// Whom the source lists beyond these is not provisioned.
		w.settled = append(w.settled, store.SettledGroup{ID: g.id, Count: g.heldN, Hash: g.held})
	}
}

// addMembers plans changes of a group's members.
func (w *work) addMembers(ctx context.Context, g *groupWork, op identity.Op, rows []store.MemberDrift) error {
	g.moves += len(rows)
	for _, m := range rows {
		c := plan.Member(op, g.sourceID, g.id, g.name, m.UserSourceID, m.UserID, m.UserName)
		c.ReadAt = w.run.Started
		if err := w.add(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// eachMissing calls use with those whom the source lists as members of a drifted group and who are not, page by page.
func (w *work) eachMissing(ctx context.Context, g *groupWork, use func([]store.MemberDrift) error) error {
	for after := ""; ; {
		rows, err := w.store.MissingMembers(ctx, w.run.ID, w.run.Connector, g.sourceID, g.id, after, memberPage)
		if err != nil {
			return err
		}
		if err := use(rows); err != nil {
			return err
		}
		if len(rows) < memberPage {
			return nil
		}
		after = rows[len(rows)-1].UserSourceID
	}
}

// eachExtra calls use with the members of a drifted group whom the source does not list, page by page.
func (w *work) eachExtra(ctx context.Context, g *groupWork, use func([]store.MemberDrift) error) error {
	for after := ""; ; {
		rows, err := w.store.ExtraMembers(ctx, w.run.ID, w.run.Connector, g.sourceID, g.id, after, memberPage)
		if err != nil {
			return err
		}
		if err := use(rows); err != nil {
			return err
		}
		if len(rows) < memberPage {
			return nil
		}
		after = rows[len(rows)-1].UserID
	}
}

// planAbsent plans the removal of whoever and whatever a complete listing does not have any more. Removals of a listing
// that is not complete, whatever found them, are taken out of the plan.
func (w *work) planAbsent(ctx context.Context) error {
	const page = 5000
	if w.since != nil {
		return w.withdrawUnproven(ctx)
	}
	if w.complete[connectors.PhaseUsers] {
		for after := int64(0); ; {
			owned, err := w.store.OwnedSeqs(ctx, w.run.Connector, after, page)
			if err != nil {
				return err
			}
			for _, seq := range owned {
				if w.seen.has(seq) {
					continue
				}
				if err := w.absent(ctx, seq); err != nil {
					return err
				}
			}
			if len(owned) < page {
				break
			}
			after = owned[len(owned)-1]
		}
	} else if err := w.withdraw(ctx, identity.ObjectUser, &w.tally.Users); err != nil {
		return err
	}
	if !w.complete[connectors.PhaseGroups] {
		return w.withdraw(ctx, identity.ObjectGroup, &w.tally.Groups)
	}
	for after := int64(0); ; {
		owned, err := w.store.OwnedGroups(ctx, w.run.Connector, after, page)
		if err != nil {
			return err
		}
		for i := range owned {
			g := &owned[i]
			if stated := w.groups[g.SourceID]; stated != nil && stated.known || g.SourceID == "" {
				continue
			}
			c := plan.AbsentGroup(g)
			c.ReadAt = w.run.Started
			if err := w.add(ctx, c); err != nil {
				return err
			}
			if w.mapping.Mapped(g) && g.MemberCount > 0 {
				w.tally.Gone = append(w.tally.Gone, g.DisplayName)
			}
		}
		if len(owned) < page {
			return nil
		}
		after = owned[len(owned)-1].Seq
	}
}

// withdrawUnproven takes the removals out of the plan that an incremental pull does not prove.
func (w *work) withdrawUnproven(ctx context.Context) error {
	if !w.complete[connectors.PhaseUsers] {
		if err := w.withdraw(ctx, identity.ObjectUser, &w.tally.Users); err != nil {
			return err
		}
	}
	if !w.complete[connectors.PhaseGroups] {
		return w.withdraw(ctx, identity.ObjectGroup, &w.tally.Groups)
	}
	return nil
}

// withdraw takes the planned removals of one kind of object out of the plan.
func (w *work) withdraw(ctx context.Context, object identity.Object, count *plan.Count) error {
	if count.Removals == 0 {
		return nil
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	query := store.ChangeQuery{
		RunID: w.run.ID, Objects: []identity.Object{object}, States: []identity.ChangeState{identity.StatePlanned},
		Ops: []identity.Op{identity.OpDeactivate, identity.OpDelete, identity.OpRemove}, Limit: 1000,
	}
	for c, err := range journal(ctx, w.store, query) {
		if err != nil {
			return err
		}
		w.hash.Remove(&c)
		w.uncount(&c)
	}
	n, err := w.store.SkipRemovals(ctx, w.run.ID, object, "not removed: the listing is not proven complete")
	w.run.Counts.Skipped += n
	count.Removals = 0
	return err
}

// absent plans the deactivation of the active user with a Seq, unless the user is not the source's any more.
func (w *work) absent(ctx context.Context, seq int64) error {
	users, err := w.store.OwnedUsers(ctx, w.run.Connector, seq-1, 1)
	if err != nil || len(users) == 0 || users[0].Seq != seq || users[0].SourceID == "" {
		return err
	}
	c := plan.Absent(users[0])
	c.ReadAt = w.run.Started
	return w.add(ctx, c)
}

// planGrants compares what the connector's groups grant with what the role mapping says.
func (w *work) planGrants(ctx context.Context) error {
	const page = 500
	teams, err := w.store.Teams(ctx)
	if err != nil {
		return err
	}
	names := make(map[string]string, len(teams))
	for _, t := range teams {
		names[t.ID] = t.Name
	}
	for after := int64(0); ; {
		owned, err := w.store.OwnedGroups(ctx, w.run.Connector, after, page)
		if err != nil {
			return err
		}
		ids := make([]string, len(owned))
		for i := range owned {
			ids[i] = owned[i].ID
		}
		held, err := w.store.GroupGrants(ctx, ids)
		if err != nil {
			return err
		}
		for i := range owned {
			g := &owned[i]
			stated := w.groups[g.SourceID]
			if stated != nil && stated.planned || stated == nil && (w.since == nil || w.req.single()) || w.isGone(g.SourceID) {
				continue // a group that changes gets its grants with the change
			}
			if err := w.groupGrants(ctx, g, names[g.TeamID], held[g.ID]); err != nil {
				return err
			}
		}
		if len(owned) < page {
			return nil
		}
		after = owned[len(owned)-1].Seq
	}
}

// isGone tells whether an incremental pull found a group to be gone.
func (w *work) isGone(sourceID string) bool {
	if w.since == nil {
		return false
	}
	_, gone := w.since.gone[sourceID]
	return gone
}
