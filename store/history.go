package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// The conditions of the indexes that the past is read by: migration 11.
const (
	ofMemberships    = "type IN ('membership.added', 'membership.removed')"
	notOfMemberships = "type NOT IN ('membership.added', 'membership.removed')"
	ofTeams          = "object = 'team'"
)

// ofAccounts is the condition on a person's events that they are about the account or a grant: of sign-ins there are many.
const ofAccounts = "(substr(type, 1, 5) = 'user.' OR substr(type, 1, 6) = 'grant.')"

// History returns what the audit log tells, up to a moment, of what a person might do: events of the person, of the
// groups around the person at that moment, themselves or by nested ones, and of teams that got other names, the oldest
// first. Membership events list of their members only the person and these groups.
func (r reader) History(ctx context.Context, userID string, until time.Time) ([]identity.Event, error) {
	if !isID(userID) {
		return nil, ErrNotFound
	}
	memberships, groups, err := r.pastGroups(ctx, userID, until)
	if err != nil {
		return nil, err
	}
	const columns = "seq, at, type, object, object_id, name, fields, reason"
	var rows []eventRow
	read := func(statement string, args ...any) {
		if err == nil {
			var found []eventRow
			err = r.raw(ctx, statement, args...).Scan(&found).Error
			rows = append(rows, found...)
		}
	}
	read("SELECT "+columns+" FROM audit_events WHERE object_id = ? AND object = 'user' AND "+ofAccounts+" AND at <= ?", userID, stamp(until))
	if len(groups) > 0 {
		statement, args := r.d.lookup(columns, "audit_events", "object = 'group' AND "+notOfMemberships+" AND at <= ?", []any{stamp(until)}, "object_id", "text", groups)
		if !r.d.postgres() {
			statement, args = "SELECT "+columns+" FROM audit_events WHERE object = 'group' AND "+notOfMemberships+" AND at <= ? AND "+
				r.d.in("object_id", "text"), []any{stamp(until), r.d.list(groups)}
		}
		read(statement, args...)
	}
	read("SELECT "+columns+" FROM audit_events WHERE "+ofTeams+" AND type = 'team.updated' AND at <= ?", stamp(until))
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	events := memberships
	for i := range rows {
		e := rows[i].event()
		if err := json.Unmarshal([]byte(rows[i].Fields), &e.Fields); err != nil {
			return nil, fmt.Errorf("read the audit log: event %d: %w", e.Seq, err)
		}
		events = append(events, e)
	}
	slices.SortFunc(events, func(a, b identity.Event) int { return int(a.Seq - b.Seq) })
	return events, nil
}

// event is what the audit log's row tells, but for fields and members.
func (row *eventRow) event() identity.Event {
	return identity.Event{
		Seq: row.Seq, ID: row.ID, At: row.At.UTC(), Type: identity.EventType(row.Type),
		Actor:  identity.Actor{Kind: row.ActorKind, ID: row.ActorID, Name: row.ActorName, RequestID: row.RequestID, RunID: row.RunID},
		Object: identity.Object(row.Object), ObjectID: row.ObjectID, Name: row.Name, Reason: row.Reason,
	}
}

// pastGroups returns the membership events that name a person, or a group around the person, and these groups. It goes
// on only from whom the last such event made a member: a group that was left, or is gone, has no more to tell.
func (r reader) pastGroups(ctx context.Context, userID string, until time.Time) (events []identity.Event, groups []string, err error) {
	seen := map[string]bool{}
	bySeq := map[int64]int{}
	for next := []string{userID}; len(next) > 0; {
		rows, err := r.membershipEvents(ctx, next, until)
		if err != nil {
			return nil, nil, fmt.Errorf("read the audit log: %w", err)
		}
		next = nil
		in := map[[2]string]bool{}
		for _, row := range rows {
			in[[2]string{row.ObjectID, row.Member}] = row.Type == string(identity.EventMembershipAdded)
			at, known := bySeq[row.Seq]
			if !known {
				at = len(events)
				bySeq[row.Seq], events = at, append(events, row.event())
			}
			events[at].Members = append(events[at].Members, row.Member)
		}
		for pair, is := range in {
			if is && !seen[pair[0]] {
				seen[pair[0]] = true
				next = append(next, pair[0])
			}
		}
		slices.Sort(next)
		groups = append(groups, next...)
	}
	return events, groups, nil
}

// membershipRow is an event by which somebody came into a group or left it.
type membershipRow struct {
	Seq                                  int64
	At                                   time.Time
	Type, Object, ObjectID, Name, Member string
}

func (row *membershipRow) event() identity.Event {
	return identity.Event{
		Seq: row.Seq, At: row.At.UTC(), Type: identity.EventType(row.Type),
		Object: identity.Object(row.Object), ObjectID: row.ObjectID, Name: row.Name,
	}
}

// membershipEvents returns the events by which these came into groups and left them, the oldest first: one row for each
// of them that an event names.
func (r reader) membershipEvents(ctx context.Context, ids []string, until time.Time) ([]membershipRow, error) {
	var rows []membershipRow
	if r.d.postgres() {
		err := r.raw(ctx, "SELECT found.*, wanted.value AS member FROM unnest(?::text[]) AS wanted (value) CROSS JOIN LATERAL ("+
			"SELECT seq, at, type, object, object_id, name FROM audit_events WHERE "+ofMemberships+
			" AND members @> jsonb_build_array(wanted.value) AND at <= ? OFFSET 0) found ORDER BY seq", r.d.list(ids), stamp(until)).Scan(&rows).Error
		return rows, err
	}
	// SQLite has no index of what is in a document. It looks through the texts of all membership events, which is faster
	// than to take each apart, and takes apart those that have one of the ids.
	named, args := strings.Repeat(" OR instr(e.members, ?) > 0", len(ids))[len(" OR "):], make([]any, 0, len(ids)+2)
	for _, id := range ids {
		args = append(args, id)
	}
	err := r.raw(ctx, "SELECT e.seq, e.at, e.type, e.object, e.object_id, e.name, j.value AS member FROM audit_events e, json_each(e.members) j WHERE e."+
		ofMemberships+" AND ("+named+") AND e.at <= ? AND j.value IN (SELECT value FROM json_each(?)) ORDER BY e.seq",
		append(args, stamp(until), r.d.list(ids))...).Scan(&rows).Error
	return rows, err
}

// FirstUserEvent returns the first event about an account; ErrNotFound.
func (r reader) FirstUserEvent(ctx context.Context, userID string) (identity.Event, error) {
	var rows []eventRow
	err := r.raw(ctx, "SELECT seq, at, type, object, object_id, name, reason FROM audit_events WHERE object_id = ? AND object = 'user' AND "+
		ofAccounts+" ORDER BY seq LIMIT 1", userID).Scan(&rows).Error
	if err != nil {
		return identity.Event{}, fmt.Errorf("read the audit log: %w", err)
	}
	if len(rows) == 0 {
		return identity.Event{}, ErrNotFound
	}
	return rows[0].event(), nil
}
