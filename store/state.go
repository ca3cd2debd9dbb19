package store

import (
	"context"
	"fmt"
	"time"
)

// ConnectorState is what is remembered of a connector between runs.
type ConnectorState struct {
	Connector       string
	Checkpoint      string // where incremental pulls go on; "" means only a full one will do
	CheckpointRunID string // the run that moved the checkpoint there
	LastRunID       string
	LastSlot        time.Time // the scheduled slot that was last claimed
	LastSuccess     time.Time // end of the last run that repaired everything
	LastFull        time.Time // end of the last full run whose pull was proven complete
	ComparedBy      string    // what that run went by besides the records: another value wants another full run
	Quarantine      Quarantine
}

// Quarantine is how a connector fails whose runs do. The zero value is that of one whose last run did not.
type Quarantine struct {
	Failures int       // runs that failed in a row
	Since    time.Time // when the first of them ended
	NextTry  time.Time // before, no scheduled run begins
	Failure  string    // why the last one failed
	Paused   bool      // the credential was rejected
}

type connectorStateRow struct {
	Connector, Checkpoint, CheckpointRunID, LastRunID              string
	Failure, ComparedBy                                            string
	LastSlotAt, LastSuccessAt, LastFullAt, NextTryAt, FailingSince *time.Time
	Failures                                                       int
	Paused                                                         bool
}

// ConnectorState returns what is remembered of a connector; of an unknown one, nothing.
func (r reader) ConnectorState(ctx context.Context, connector string) (ConnectorState, error) {
	var rows []connectorStateRow
	err := r.raw(ctx, "SELECT connector, checkpoint, checkpoint_run_id, last_run_id, last_slot_at, last_success_at, last_full_at, "+
		"compared_by, failures, next_try_at, failing_since, failure, paused FROM connector_states WHERE connector = ?", connector).Scan(&rows).Error
	if err != nil {
		return ConnectorState{}, fmt.Errorf("read state of connector %s: %w", connector, err)
	}
	if len(rows) == 0 {
		return ConnectorState{Connector: connector}, nil
	}
	row := rows[0]
	return ConnectorState{
		row.Connector, row.Checkpoint, row.CheckpointRunID, row.LastRunID,
		timeOf(row.LastSlotAt), timeOf(row.LastSuccessAt), timeOf(row.LastFullAt), row.ComparedBy,
		Quarantine{row.Failures, timeOf(row.FailingSince), timeOf(row.NextTryAt), row.Failure, row.Paused},
	}, nil
}

// FinishConnectorRun remembers how a run ended. Zero times, and an empty checkpoint, leave what is remembered; ComparedBy
// goes with LastFull.
func (r reader) FinishConnectorRun(ctx context.Context, state ConnectorState) error {
	_, err := r.exec(ctx, "INSERT INTO connector_states (connector, checkpoint, checkpoint_run_id, last_run_id, last_success_at, last_full_at, compared_by) VALUES (?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (connector) DO UPDATE SET last_run_id = excluded.last_run_id, "+
		"checkpoint = CASE WHEN excluded.checkpoint = '' THEN connector_states.checkpoint ELSE excluded.checkpoint END, "+
		"checkpoint_run_id = CASE WHEN excluded.checkpoint = '' THEN connector_states.checkpoint_run_id ELSE excluded.checkpoint_run_id END, "+
		"last_success_at = coalesce(excluded.last_success_at, connector_states.last_success_at), "+
		"compared_by = CASE WHEN excluded.last_full_at IS NULL THEN connector_states.compared_by ELSE excluded.compared_by END, "+
		"last_full_at = coalesce(excluded.last_full_at, connector_states.last_full_at)",
		state.Connector, state.Checkpoint, state.CheckpointRunID, state.LastRunID, utc(state.LastSuccess), utc(state.LastFull), state.ComparedBy)
	if err != nil {
		return fmt.Errorf("write state of connector %s: %w", state.Connector, err)
	}
	return nil
}

// PutQuarantine writes down how a connector fails; the zero value, that it does not.
func (r reader) PutQuarantine(ctx context.Context, connector string, q Quarantine) error {
	_, err := r.exec(ctx, "INSERT INTO connector_states (connector, failures, next_try_at, failing_since, failure, paused) VALUES (?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (connector) DO UPDATE SET failures = excluded.failures, next_try_at = excluded.next_try_at, "+
		"failing_since = excluded.failing_since, failure = excluded.failure, paused = excluded.paused",
		connector, q.Failures, utc(q.NextTry), utc(q.Since), legible(q.Failure), q.Paused)
	if err != nil {
		return fmt.Errorf("write state of connector %s: %w", connector, err)
	}
	return nil
}

// ClaimSlot claims a scheduled slot and tells whether it was unclaimed: over all replicas, one claim of a slot wins.
func (r reader) ClaimSlot(ctx context.Context, connector string, slot time.Time) (bool, error) {
	n, err := r.exec(ctx, "INSERT INTO connector_states (connector, last_slot_at) VALUES (?, ?) "+
		"ON CONFLICT (connector) DO UPDATE SET last_slot_at = excluded.last_slot_at "+
		"WHERE connector_states.last_slot_at IS NULL OR connector_states.last_slot_at < excluded.last_slot_at", connector, stamp(slot))
	if err != nil {
		return false, fmt.Errorf("claim slot of connector %s: %w", connector, err)
	}
	return n > 0, nil
}
