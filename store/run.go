package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

type runRow struct {
	ID, Connector, Kind, StartedBy, Status, Phase, PlanHash, Counts, Guard, Incomplete, Error string
	HeldHash, Decision, DecidedBy, Steps                                                      string
	DryRun                                                                                    bool
	Requests, LeaseEpoch                                                                      int64
	StartedAt                                                                                 time.Time
	FinishedAt, DecidedAt                                                                     *time.Time
}

const runSelect = "SELECT id, connector, kind, started_by, dry_run, status, phase, plan_hash, counts, guard, incomplete, requests, error, lease_epoch, started_at, finished_at, held_hash, decision, decided_by, decided_at, steps FROM runs "

func (row *runRow) run() (identity.Run, error) {
	run := identity.Run{
		ID: row.ID, Connector: row.Connector, Kind: row.Kind, Trigger: row.StartedBy, DryRun: row.DryRun,
		Status: identity.RunStatus(row.Status), Phase: row.Phase, PlanHash: row.PlanHash, Guard: row.Guard,
		Incomplete: row.Incomplete, Requests: row.Requests, Error: row.Error, LeaseEpoch: row.LeaseEpoch,
		Started: row.StartedAt.UTC(), Finished: timeOf(row.FinishedAt), HeldHash: row.HeldHash,
		Decision: identity.Decision{Kind: identity.DecisionKind(row.Decision), By: row.DecidedBy, At: timeOf(row.DecidedAt)},
	}
	if err := json.Unmarshal([]byte(row.Counts), &run.Counts); err != nil {
		return run, fmt.Errorf("read run %s: counts: %w", row.ID, err)
	}
	if err := json.Unmarshal([]byte(row.Steps), &run.Steps); err != nil {
		return run, fmt.Errorf("read run %s: steps: %w", row.ID, err)
	}
	return run, nil
}

// PutRun writes a run, new or known by its id.
func (r reader) PutRun(ctx context.Context, run *identity.Run) error {
	counts, err := json.Marshal(run.Counts)
	if err != nil {
		return fmt.Errorf("write run %s: %w", run.ID, err)
	}
	steps, err := jsonList(run.Steps)
	if err != nil {
		return fmt.Errorf("write run %s: %w", run.ID, err)
	}
	_, err = r.exec(ctx, "INSERT INTO runs (id, connector, kind, started_by, dry_run, status, phase, plan_hash, counts, guard, incomplete, requests, error, lease_epoch, started_at, finished_at, held_hash, decision, decided_by, decided_at, steps) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET connector = excluded.connector, kind = excluded.kind, "+
		"started_by = excluded.started_by, dry_run = excluded.dry_run, lease_epoch = excluded.lease_epoch, started_at = excluded.started_at, status = excluded.status, phase = excluded.phase, "+
		"plan_hash = excluded.plan_hash, counts = excluded.counts, guard = excluded.guard, incomplete = excluded.incomplete, requests = excluded.requests, "+
		"error = excluded.error, finished_at = excluded.finished_at, held_hash = excluded.held_hash, decision = excluded.decision, "+
		"decided_by = excluded.decided_by, decided_at = excluded.decided_at, steps = excluded.steps",
		run.ID, run.Connector, run.Kind, run.Trigger, run.DryRun, string(run.Status), run.Phase, run.PlanHash, string(counts), legible(run.Guard),
		legible(run.Incomplete), run.Requests, legible(run.Error), run.LeaseEpoch, stamp(run.Started), utc(run.Finished),
		run.HeldHash, string(run.Decision.Kind), legible(run.Decision.By), utc(run.Decision.At), legible(steps))
	if err != nil {
		return fmt.Errorf("write run %s: %w", run.ID, err)
	}
	return nil
}

// ShowProgress writes how far a run has come, for those who look at it. A run that ended meanwhile stays as it is.
func (r reader) ShowProgress(ctx context.Context, run *identity.Run) error {
	counts, err := json.Marshal(run.Counts)
	if err == nil {
		_, err = r.exec(ctx, "UPDATE runs SET counts = ?, requests = ? WHERE id = ? AND status = ?", string(counts), run.Requests, run.ID, string(identity.RunRunning))
	}
	if err != nil {
		return fmt.Errorf("show the progress of run %s: %w", run.ID, err)
	}
	return nil
}

// Run returns the run with an id, or the only one whose id begins with it; ErrNotFound.
func (r reader) Run(ctx context.Context, id string) (identity.Run, error) {
	if !holdable(id) {
		return identity.Run{}, ErrNotFound
	}
	var rows []runRow
	if err := r.raw(ctx, runSelect+"WHERE id = ? OR substr(id, 1, ?) = ? ORDER BY CASE WHEN id = ? THEN 0 ELSE 1 END, started_at DESC LIMIT 2",
		id, len(id), id, id).Scan(&rows).Error; err != nil {
		return identity.Run{}, fmt.Errorf("read run: %w", err)
	}
	if id == "" || len(rows) == 0 || len(rows) == 2 && rows[0].ID != id {
		return identity.Run{}, ErrNotFound
	}
	return rows[0].run()
}

// Runs returns the newest runs, at most limit of them: of one connector, or with "" of all.
func (r reader) Runs(ctx context.Context, connector string, limit int) ([]identity.Run, error) {
	var rows []runRow
	if err := r.raw(ctx, runSelect+"WHERE ? = '' OR connector = ? ORDER BY started_at DESC, id DESC LIMIT ?", connector, connector, limit).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	runs := make([]identity.Run, len(rows))
	for i := range rows {
		var err error
		if runs[i], err = rows[i].run(); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// dryRunMost is how long a dry run may take: one that began before counts as interrupted. It holds no lease by which
// its process could be found dead.
const dryRunMost = 6 * time.Hour

// InterruptRuns ends runs of a connector that still count as running although their lease is gone: their process died.
// What they spooled is dropped. It is called by the holder of the lease and returns the runs' ids.
func (s *Store) InterruptRuns(ctx context.Context, connector string, now time.Time) ([]string, error) {
	var ids []string
	err := s.InTx(ctx, func(tx *Tx) error {
		ids = nil
		err := tx.raw(ctx, "UPDATE runs SET status = ?, error = ?, finished_at = ? WHERE connector = ? AND status = ? "+
			"AND (NOT dry_run OR started_at < ?) RETURNING id",
			string(identity.RunFailed), "interrupted: the process ended before the run did", stamp(now), connector,
			string(identity.RunRunning), stamp(now.Add(-dryRunMost))).Scan(&ids).Error
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := tx.DropSpool(ctx, id, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("end interrupted runs: %w", err)
	}
	return ids, nil
}

// LastPlanHash returns the hash of the plan of the run before one of the same kind: of dry runs the last one that was
// started the same way. "" where there is none.
func (r reader) LastPlanHash(ctx context.Context, run *identity.Run) (string, error) {
	var hashes []string
	err := r.raw(ctx, "SELECT plan_hash FROM runs WHERE connector = ? AND dry_run = ? AND (NOT dry_run OR started_by = ?) AND kind <> ? AND finished_at IS NOT NULL "+
		"AND status <> ? AND id < ? ORDER BY id DESC LIMIT 1", run.Connector, run.DryRun, run.Trigger, identity.KindObject, string(identity.RunFailed), run.ID).Scan(&hashes).Error
	if err != nil || len(hashes) == 0 {
		return "", err
	}
	return hashes[0], nil
}

var changeInsert = []string{
	"run_id", "ord", "object", "op", "source_id", "object_id", "name", "member_source_id", "member_id", "fields",
	"reason", "state", "version", "absent", "status", "fingerprint", "read_at",
}

// InsertChanges appends changes to their runs' journals.
func (tx *Tx) InsertChanges(ctx context.Context, changes []identity.Change) error {
	rows := make([][]any, len(changes))
	for i := range changes {
		c := &changes[i]
		fields, err := jsonList(c.Fields)
		if err != nil {
			return fmt.Errorf("journal %s %s: %w", c.Object, c.Op, err)
		}
		rows[i] = []any{
			c.RunID, c.Ord, string(c.Object), string(c.Op), c.SourceID, c.ID, legible(c.Name), c.MemberSourceID, c.MemberID,
			fields, legible(c.Reason), string(c.State), c.Version, c.Absent, string(c.Status), fingerprintBytes(c.Fingerprint),
			utc(c.ReadAt),
		}
	}
	return tx.insertRows(ctx, "run_changes", changeInsert, rows)
}

type changeRow struct {
	RunID                                                                  string
	Ord                                                                    int64
	Object, Op, SourceID, ObjectID, Name, MemberSourceID, MemberID, Fields string
	Reason, State, Status                                                  string
	Version                                                                int64
	Absent                                                                 bool
	Fingerprint                                                            []byte
	ReadAt                                                                 *time.Time
}

// ChangeQuery selects changes of one run's journal, in the order of Ord. Empty lists select everything.
type ChangeQuery struct {
	RunID   string
	Objects []identity.Object
	Ops     []identity.Op
	States  []identity.ChangeState
	After   int64 // Ord to go on after
	Limit   int
}

// Changes returns changes of a run's journal.
func (r reader) Changes(ctx context.Context, q ChangeQuery) ([]identity.Change, error) {
	statement := "SELECT run_id, ord, object, op, source_id, object_id, name, member_source_id, member_id, fields, reason, state, version, absent, status, fingerprint, read_at FROM run_changes WHERE run_id = ? AND ord > ?"
	args := []any{q.RunID, q.After}
	for _, in := range []struct {
		column string
		values []string
	}{{"object", texts(q.Objects)}, {"op", texts(q.Ops)}, {"state", texts(q.States)}} {
		switch len(in.values) {
		case 0:
		case 1: // with an equality the index of kinds has the order of Ord
			statement += " AND " + in.column + " = ?"
			args = append(args, in.values[0])
		default:
			statement += " AND " + r.d.in(in.column, "text")
			args = append(args, r.d.list(in.values))
		}
	}
	var rows []changeRow
	if err := r.raw(ctx, statement+" ORDER BY ord LIMIT ?", append(args, q.Limit)...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	changes := make([]identity.Change, len(rows))
	for i, row := range rows {
		c := &changes[i]
		*c = identity.Change{
			RunID: row.RunID, Ord: row.Ord, Object: identity.Object(row.Object), Op: identity.Op(row.Op),
			SourceID: row.SourceID, ID: row.ObjectID, Name: row.Name, Reason: row.Reason,
			State: identity.ChangeState(row.State), MemberSourceID: row.MemberSourceID, MemberID: row.MemberID,
			Version: row.Version, Absent: row.Absent, Status: identity.Status(row.Status),
			Fingerprint: fingerprint(row.Fingerprint), ReadAt: timeOf(row.ReadAt),
		}
		if err := json.Unmarshal([]byte(row.Fields), &c.Fields); err != nil {
			return nil, fmt.Errorf("read the journal: change %d: %w", row.Ord, err)
		}
	}
	return changes, nil
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// MarkChange writes the state and reason that a change of the journal came to.
func (r reader) MarkChange(ctx context.Context, runID string, ord int64, state identity.ChangeState, reason string) error {
	_, err := r.exec(ctx, "UPDATE run_changes SET state = ?, reason = ? WHERE run_id = ? AND ord = ?", string(state), legible(reason), runID, ord)
	return err
}

// MarkApplied marks changes as applied.
func (tx *Tx) MarkApplied(ctx context.Context, runID string, ords []int64) error {
	if len(ords) == 0 {
		return nil
	}
	b, err := json.Marshal(ords)
	if err != nil {
		return err
	}
	list := "SELECT value FROM json_each(?)"
	if tx.d.postgres() {
		list = "SELECT CAST(value AS bigint) FROM jsonb_array_elements_text(CAST(? AS jsonb)) AS t(value)"
	}
	_, err = tx.exec(ctx, "UPDATE run_changes SET state = ? WHERE run_id = ? AND ord IN ("+list+")", string(identity.StateApplied), runID, string(b))
	return err
}

// DropChanges takes changes out of a journal: they were found to be none.
func (tx *Tx) DropChanges(ctx context.Context, runID string, ords []int64) error {
	if len(ords) == 0 {
		return nil
	}
	list := make([]string, len(ords))
	for i, ord := range ords {
		list[i] = strconv.FormatInt(ord, 10)
	}
	if _, err := tx.exec(ctx, "DELETE FROM run_changes WHERE run_id = ? AND "+tx.d.in("ord", "bigint"), runID, tx.d.list(list)); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// MarkCreated notes the ids that creates of the journal led to, by Ord.
func (tx *Tx) MarkCreated(ctx context.Context, runID string, ids map[int64]string) error {
	if len(ids) == 0 {
		return nil
	}
	b, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	// SQLite, given a join, would go through the whole journal for each of the ids.
	statement, args := `UPDATE run_changes SET object_id = json_extract(?, '$."' || ord || '"') WHERE run_id = ? AND ord IN (SELECT CAST(key AS integer) FROM json_each(?))`,
		[]any{string(b), runID, string(b)}
	if tx.d.postgres() {
		statement = "UPDATE run_changes SET object_id = made.value FROM jsonb_each_text(CAST(? AS jsonb)) AS made WHERE run_id = ? AND ord = CAST(made.key AS bigint)"
		args = args[:2]
	}
	_, err = tx.exec(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// StageChanges marks the planned removals of one kind of object as held by the guard and returns how many they are.
func (r reader) StageChanges(ctx context.Context, runID string, object identity.Object) (int, error) {
	n, err := r.exec(ctx, "UPDATE run_changes SET state = ? WHERE run_id = ? AND object = ? AND state = ? AND op IN (?, ?, ?)",
		string(identity.StateStaged), runID, string(object), string(identity.StatePlanned),
		string(identity.OpDeactivate), string(identity.OpDelete), string(identity.OpRemove))
	return int(n), err
}

// UnstageChanges marks the removals that the guard held as planned again, and returns how many they are.
func (r reader) UnstageChanges(ctx context.Context, runID string) (int, error) {
	n, err := r.exec(ctx, "UPDATE run_changes SET state = ? WHERE run_id = ? AND state = ?",
		string(identity.StatePlanned), runID, string(identity.StateStaged))
	return int(n), err
}

// HeldChanges returns how many removals the guard holds in a run, by "<object>.<op>".
func (r reader) HeldChanges(ctx context.Context, runID string) (map[string]int, error) {
	var rows []struct {
		Object, Op string
		N          int
	}
	err := r.raw(ctx, "SELECT object, op, count(*) AS n FROM run_changes WHERE run_id = ? AND object IN ('user', 'group', 'member', 'grant') "+
		"AND op IN ('deactivate', 'delete', 'remove') AND state = ? GROUP BY object, op",
		runID, string(identity.StateStaged)).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("count what is held: %w", err)
	}
	held := make(map[string]int, len(rows))
	for _, row := range rows {
		held[row.Object+"."+row.Op] = row.N
	}
	return held, nil
}

// DismissStaged marks the removals that the guard held as skipped, with a reason, and returns how many they are.
func (r reader) DismissStaged(ctx context.Context, runID, reason string) (int, error) {
	n, err := r.exec(ctx, "UPDATE run_changes SET state = ?, reason = ? WHERE run_id = ? AND state = ?",
		string(identity.StateSkipped), legible(reason), runID, string(identity.StateStaged))
	return int(n), err
}

// RecentRemovals returns how many removals of each kind of object runs of a connector applied since a time, those left out
// that an operator approved or asked for by name.
func (r reader) RecentRemovals(ctx context.Context, connector string, since time.Time) (map[identity.Object]int, error) {
	var rows []struct {
		Object identity.Object
		N      int
	}
	err := r.raw(ctx, "SELECT c.object, count(*) AS n FROM runs r JOIN run_changes c ON c.run_id = r.id WHERE r.connector = ? AND NOT r.dry_run "+
		"AND r.started_at > ? AND r.decision <> ? AND r.kind <> ? AND c.op IN ('deactivate', 'delete', 'remove') AND c.state = ? GROUP BY c.object",
		connector, stamp(since), string(identity.DecisionApproved), identity.KindObject, string(identity.StateApplied)).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("count recent removals: %w", err)
	}
	counts := make(map[identity.Object]int, len(rows))
	for _, row := range rows {
		counts[row.Object] = row.N
	}
	return counts, nil
}

// RunningRun returns the run of a connector that holds its lease; ErrNotFound.
func (r reader) RunningRun(ctx context.Context, connector string) (identity.Run, error) {
	var rows []runRow
	if err := r.raw(ctx, runSelect+"WHERE connector = ? AND NOT dry_run AND status = ? ORDER BY id DESC LIMIT 1",
		connector, string(identity.RunRunning)).Scan(&rows).Error; err != nil {
		return identity.Run{}, fmt.Errorf("read runs: %w", err)
	}
	if len(rows) == 0 {
		return identity.Run{}, ErrNotFound
	}
	return rows[0].run()
}

// LastRun returns the newest finished run of a connector that compared the source with what is held, and was to repair the
// drift: neither a dry run nor one of a single person or group; ErrNotFound.
func (r reader) LastRun(ctx context.Context, connector string) (identity.Run, error) {
	var rows []runRow
	if err := r.raw(ctx, runSelect+"WHERE connector = ? AND NOT dry_run AND kind <> ? AND finished_at IS NOT NULL AND status <> ? ORDER BY id DESC LIMIT 1",
		connector, identity.KindObject, string(identity.RunFailed)).Scan(&rows).Error; err != nil {
		return identity.Run{}, fmt.Errorf("read runs: %w", err)
	}
	if len(rows) == 0 {
		return identity.Run{}, ErrNotFound
	}
	return rows[0].run()
}

// StageMembershipsOfHeld marks the planned removals of memberships of people whose own removal is held, and returns how
// many they are: whoever keeps the account keeps what it may do.
func (r reader) StageMembershipsOfHeld(ctx context.Context, runID string) (int, error) {
	n, err := r.exec(ctx, "UPDATE run_changes SET state = ? WHERE run_id = ? AND object = ? AND op = ? AND state = ? AND member_id IN ("+
		"SELECT object_id FROM run_changes WHERE run_id = ? AND object = ? AND state = ? AND object_id <> '')",
		string(identity.StateStaged), runID, string(identity.ObjectMember), string(identity.OpRemove), string(identity.StatePlanned),
		runID, string(identity.ObjectUser), string(identity.StateStaged))
	return int(n), err
}

// SkipRemovals marks the planned removals of one kind of object as skipped and returns how many they are.
func (r reader) SkipRemovals(ctx context.Context, runID string, object identity.Object, reason string) (int, error) {
	n, err := r.exec(ctx, "UPDATE run_changes SET state = ?, reason = ? WHERE run_id = ? AND object = ? AND state = ? AND op IN (?, ?, ?)",
		string(identity.StateSkipped), reason, runID, string(object), string(identity.StatePlanned),
		string(identity.OpDeactivate), string(identity.OpDelete), string(identity.OpRemove))
	return int(n), err
}
