package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// Session is somebody signed in with a browser. The token that the browser shows is nowhere; Hash is its SHA-256.
type Session struct {
	ID          string // UUID: what operators name it by
	Hash        []byte // written, not read
	UserID      string
	UserName    string // filled on reads
	Method      string // "password", "saml" or "oidc"
	Created     time.Time
	LastSeen    time.Time // kept to the minute
	Expires     time.Time // when it ends however much it is used
	IdleExpires time.Time // when it ends unless it is used before
	Remote      string    // the address from which it was made
	UserAgent   string
}

// SessionHolder is a session with what its person may do at this moment.
type SessionHolder struct {
	Session
	DisplayName string
	Origin      identity.Origin
	Granted     bool            // holds some role on some team
	RootRoles   []identity.Role // on the root team, in order
}

type sessionRow struct {
	ID, UserID, UserName, Method, Remote, UserAgent string
	CreatedAt, LastSeenAt, ExpiresAt, IdleExpiresAt time.Time
}

func (row *sessionRow) session() Session {
	return Session{
		ID: row.ID, UserID: row.UserID, UserName: row.UserName, Method: row.Method, Remote: row.Remote, UserAgent: row.UserAgent,
		Created: row.CreatedAt.UTC(), LastSeen: row.LastSeenAt.UTC(), Expires: row.ExpiresAt.UTC(), IdleExpires: row.IdleExpiresAt.UTC(),
	}
}

const sessionColumns = "s.id, s.user_id, u.user_name, s.method, s.created_at, s.last_seen_at, s.expires_at, s.idle_expires_at, s.remote, s.user_agent"

// sessionLives is the condition on a session s of a user u that it counts: not ended, in time, and of somebody active who
// still signs in that way. A local account that became an SSO account is not signed in with its password any more.
const sessionLives = "s.ended_at IS NULL AND s.expires_at > ? AND s.idle_expires_at > ? AND u.active AND u.deleted_at IS NULL " +
	"AND (s.method = 'password') = (u.origin = 'local')"

// InsertSession writes a new session.
func (tx *Tx) InsertSession(ctx context.Context, s *Session) error {
	_, err := tx.exec(ctx, "INSERT INTO sessions (id, token_hash, user_id, method, created_at, last_seen_at, expires_at, idle_expires_at, remote, user_agent) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", s.ID, s.Hash, s.UserID, s.Method, stamp(s.Created), stamp(s.LastSeen), stamp(s.Expires),
		stamp(s.IdleExpires), legible(s.Remote), legible(s.UserAgent))
	if err != nil {
		return fmt.Errorf("write session: %w", err)
	}
	return nil
}

var sessionHolderText = newText("SELECT " + sessionColumns + ", u.display_name, u.origin, " +
	"EXISTS (SELECT 1 FROM effective_grants e WHERE e.user_id = s.user_id), " +
	"coalesce((SELECT string_agg(e.role, ',') FROM effective_grants e WHERE e.user_id = s.user_id AND e.team_id = ?), '') " +
	"FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_hash = ? AND " + sessionLives)

// SessionHolder returns the session whose token has a hash, if it counts at a time, with what its person may do, by one
// statement; ErrNotFound.
func (s *Store) SessionHolder(ctx context.Context, hash []byte, now time.Time) (SessionHolder, error) {
	var (
		h     SessionHolder
		found bool
	)
	args := []any{identity.RootTeamID, hash, stamp(now), stamp(now)}
	err := s.together(ctx, statement{sessionHolderText, args, func(r rows) error {
		if found = r.Next(); !found {
			return nil
		}
		var row sessionRow
		var roles string
		err := r.Scan(&row.ID, &row.UserID, &row.UserName, &row.Method, &row.CreatedAt, &row.LastSeenAt, &row.ExpiresAt, &row.IdleExpiresAt,
			&row.Remote, &row.UserAgent, &h.DisplayName, &h.Origin, &h.Granted, &roles)
		h.Session = row.session()
		if roles != "" {
			h.RootRoles = uniqueSorted(strings.Split(roles, ","))
		}
		return err
	}})
	switch {
	case err != nil:
		return SessionHolder{}, fmt.Errorf("read session: %w", err)
	case !found:
		return SessionHolder{}, ErrNotFound
	}
	return h, nil
}

// SessionCounts tells whether the session with an id counts at a time, and its person still holds some role.
func (r reader) SessionCounts(ctx context.Context, id string, now time.Time) (bool, error) {
	if !isID(id) {
		return false, nil
	}
	var n int
	// The offset makes PostgreSQL ask for one person's grants, and not read everybody's to join them.
	err := r.raw(ctx, "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ? AND "+sessionLives+
		" AND EXISTS (SELECT 1 FROM effective_grants e WHERE e.user_id = s.user_id LIMIT 1 OFFSET 0)", id, stamp(now), stamp(now)).Scan(&n).Error
	if err != nil {
		return false, fmt.Errorf("read session: %w", err)
	}
	return n > 0, nil
}

// TouchSession notes that a session was used, so that it is idle from idle on only. It writes at most once a minute.
func (s *Store) TouchSession(ctx context.Context, id string, now, idle time.Time) error {
	_, err := s.exec(ctx, "UPDATE sessions SET last_seen_at = ?, idle_expires_at = ? WHERE id = ? AND ended_at IS NULL AND last_seen_at <= ?",
		stamp(now), stamp(idle), id, stamp(now.Add(-time.Minute)))
	return err
}

// Sessions returns the sessions that count at a time, of one user or with "" of all, the newest first, at most limit.
func (r reader) Sessions(ctx context.Context, userID string, now time.Time, limit int) ([]Session, error) {
	where, args := sessionLives, []any{stamp(now), stamp(now)}
	if userID != "" {
		if !isID(userID) {
			return nil, nil
		}
		where, args = where+" AND s.user_id = ?", append(args, userID)
	}
	var rows []sessionRow
	err := r.raw(ctx, "SELECT "+sessionColumns+" FROM sessions s JOIN users u ON u.id = s.user_id WHERE "+where+
		" ORDER BY s.created_at DESC, s.id LIMIT ?", append(args, limit)...).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	sessions := make([]Session, len(rows))
	for i := range rows {
		sessions[i] = rows[i].session()
	}
	return sessions, nil
}

// EndedSession is a session that has just ended.
type EndedSession struct{ ID, UserID, UserName string }

// EndSession ends one session, unless it has ended, and returns whose it was; ErrNotFound.
func (tx *Tx) EndSession(ctx context.Context, id, reason string, now time.Time) (EndedSession, error) {
	if !isID(id) {
		return EndedSession{}, ErrNotFound
	}
	ended, err := tx.endSessions(ctx, "id = ?", []any{id}, reason, now)
	if err == nil && len(ended) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return EndedSession{}, err
	}
	return ended[0], nil
}

// EndSessions ends all sessions of users, except the one with the id except, and returns them.
func (tx *Tx) EndSessions(ctx context.Context, userIDs []string, except, reason string, now time.Time) ([]EndedSession, error) {
	where, args := tx.d.in("user_id", "uuid"), []any{tx.d.list(validIDs(userIDs))}
	if isID(except) {
		where, args = where+" AND id <> ?", append(args, except)
	}
	return tx.endSessions(ctx, where, args, reason, now)
}

func (tx *Tx) endSessions(ctx context.Context, where string, args []any, reason string, now time.Time) ([]EndedSession, error) {
	var ended []EndedSession
	err := tx.scan(ctx, &ended, "UPDATE sessions SET ended_at = ?, ended_reason = ? WHERE ended_at IS NULL AND "+where+
		" RETURNING id, user_id, (SELECT u.user_name FROM users u WHERE u.id = sessions.user_id) AS user_name",
		append([]any{stamp(now), reason}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("end sessions: %w", err)
	}
	return ended, nil
}
