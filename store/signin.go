package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// Kinds of counter of failed sign-ins.
const (
	FailuresOfPair    = "pair"    // an account from a network
	FailuresOfNetwork = "network" // a network, over all accounts
	FailuresOfAccount = "account" // an account, over all networks
	FailuresOfBrowser = "browser" // an account in a browser that is known for it
)

// FailureKey names a counter of failed sign-ins.
type FailureKey struct {
	Kind    string
	Account string // a user's id, or a mark for a name that is nobody's; "" in a network's
	Place   string // the network, or the mark of the browser; "" in an account's
}

// Failures is a counter of failed sign-ins.
type Failures struct {
	FailureKey
	Count int
	Since time.Time // the first of them
	Last  time.Time // the last of them
	Until time.Time // no try before; zero: at any time
	Noted time.Time // the Until of which a refusal was recorded
}

type failuresRow struct {
	Failures         int
	Since, LastAt    time.Time
	UntilAt, NotedAt *time.Time
}

// LockFailures returns counters in the order of the keys, zero for those that are new, and keeps others from changing
// them until the transaction ends.
func (tx *Tx) LockFailures(ctx context.Context, now time.Time, keys ...FailureKey) ([]Failures, error) {
	found := make([]Failures, len(keys))
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	// Everybody locks in one order, so that nobody waits in a circle.
	slices.SortFunc(order, func(a, b int) int { return compareKeys(keys[a], keys[b]) })
	for _, i := range order {
		k := keys[i]
		var row failuresRow
		// The update changes nothing and locks the row, so that nobody deletes it before it is counted on.
		err := tx.scan(ctx, &row, "INSERT INTO signin_failures (kind, account, place, failures, since, last_at) VALUES (?, ?, ?, 0, ?, ?) "+
			"ON CONFLICT (kind, account, place) DO UPDATE SET kind = excluded.kind RETURNING failures, since, last_at, until_at, noted_at",
			k.Kind, k.Account, k.Place, stamp(now), stamp(now))
		if err != nil {
			return nil, fmt.Errorf("count failures: %w", err)
		}
		found[i] = Failures{k, row.Failures, row.Since.UTC(), row.LastAt.UTC(), timeOf(row.UntilAt), timeOf(row.NotedAt)}
	}
	return found, nil
}

func compareKeys(a, b FailureKey) int {
	return slices.Compare([]string{a.Kind, a.Account, a.Place}, []string{b.Kind, b.Account, b.Place})
}

// PutFailures writes counters that LockFailures returned; one at zero is forgotten.
func (tx *Tx) PutFailures(ctx context.Context, list ...Failures) error {
	for i := range list {
		f := &list[i]
		statement, args := "DELETE FROM signin_failures", []any{}
		if f.Count > 0 {
			statement = "UPDATE signin_failures SET failures = ?, since = ?, last_at = ?, until_at = ?, noted_at = ?"
			args = []any{f.Count, stamp(f.Since), stamp(f.Last), utc(f.Until), utc(f.Noted)}
		}
		if _, err := tx.exec(ctx, statement+" WHERE kind = ? AND account = ? AND place = ?", append(args, f.Kind, f.Account, f.Place)...); err != nil {
			return fmt.Errorf("count failures: %w", err)
		}
	}
	return nil
}

// ForgetFailures forgets what was counted for an account, everywhere, and returns how many counters there were.
func (tx *Tx) ForgetFailures(ctx context.Context, account string) (int64, error) {
	n, err := tx.exec(ctx, "DELETE FROM signin_failures WHERE account = ? AND account <> ''", account)
	if err != nil {
		return 0, fmt.Errorf("forget failures: %w", err)
	}
	return n, nil
}

// KnowsBrowser tells whether somebody signed in before in the browser whose token has a hash.
func (r reader) KnowsBrowser(ctx context.Context, hash []byte, userID string) (bool, error) {
	if len(hash) == 0 || !isID(userID) {
		return false, nil
	}
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM known_browsers WHERE token_hash = ? AND user_id = ?", hash, userID).Scan(&n).Error
	if err != nil {
		return false, fmt.Errorf("read browsers: %w", err)
	}
	return n > 0, nil
}

// KnowBrowser notes that somebody signed in, in a browser.
func (tx *Tx) KnowBrowser(ctx context.Context, hash []byte, userID string, now time.Time) error {
	// The hash is not the first value: after a parenthesis, gorm takes a slice for a list.
	_, err := tx.exec(ctx, "INSERT INTO known_browsers (user_id, token_hash, created_at, used_at) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (token_hash, user_id) DO UPDATE SET used_at = excluded.used_at", userID, hash, stamp(now), stamp(now))
	if err != nil {
		return fmt.Errorf("write browser: %w", err)
	}
	return nil
}

// RenameBrowser gives a browser a new token, for everybody who is known in it.
func (tx *Tx) RenameBrowser(ctx context.Context, old, hash []byte) error {
	if _, err := tx.exec(ctx, "UPDATE known_browsers SET token_hash = ? WHERE token_hash = ?", hash, old); err != nil {
		return fmt.Errorf("write browser: %w", err)
	}
	return nil
}

// Remember keeps a value under a key until it expires, and tells whether the key was free.
func (s *Store) Remember(ctx context.Context, kind, key, value string, now, expires time.Time) (bool, error) {
	n, err := s.exec(ctx, "INSERT INTO signin_memory (kind, key, value, expires_at) VALUES (?, ?, ?, ?) "+
		"ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at WHERE signin_memory.expires_at <= ?",
		kind, key, value, stamp(expires), stamp(now))
	if err != nil {
		return false, fmt.Errorf("remember %s: %w", kind, err)
	}
	return n > 0, nil
}

// Recall returns what was kept under a key and forgets it: of two who ask, one is told. ErrNotFound where there is
// nothing, or it has expired.
func (s *Store) Recall(ctx context.Context, kind, key string, now time.Time) (string, error) {
	if !holdable(key) {
		return "", ErrNotFound
	}
	var kept []struct {
		Value     string
		ExpiresAt time.Time
	}
	err := s.InTx(ctx, func(tx *Tx) error {
		kept = nil
		return tx.scan(ctx, &kept, "DELETE FROM signin_memory WHERE kind = ? AND key = ? RETURNING value, expires_at", kind, key)
	})
	if err != nil {
		return "", fmt.Errorf("recall %s: %w", kind, err)
	}
	if len(kept) == 0 || !now.Before(kept[0].ExpiresAt) {
		return "", ErrNotFound
	}
	return kept[0].Value, nil
}

// PruneSignIn forgets what has served its time: what single sign-on remembered, counters that were last touched before
// failures, and sessions that ended and browsers that were not used since before.
func (s *Store) PruneSignIn(ctx context.Context, now, failures, before time.Time) error {
	for _, prune := range []struct {
		statement string
		args      []any
	}{
		{"DELETE FROM signin_memory WHERE expires_at <= ?", []any{stamp(now)}},
		{"DELETE FROM signin_failures WHERE last_at < ? AND (until_at IS NULL OR until_at < ?)", []any{stamp(failures), stamp(now)}},
		{"DELETE FROM sessions WHERE expires_at < ?", []any{stamp(before)}},
		{"DELETE FROM known_browsers WHERE used_at < ?", []any{stamp(before)}},
	} {
		if _, err := s.exec(ctx, prune.statement, prune.args...); err != nil {
			return fmt.Errorf("prune sign-ins: %w", err)
		}
	}
	return nil
}

// Subject is a person's id at an identity provider where people sign in.
type Subject struct {
	Provider string // "saml" or "oidc"
	Issuer   string
	Subject  string
	UserID   string
}

// SubjectUser returns the id of the user whom an identity provider means by a subject; ErrNotFound.
func (r reader) SubjectUser(ctx context.Context, s Subject) (string, error) {
	if !holdable(s.Issuer) || !holdable(s.Subject) {
		return "", ErrNotFound
	}
	return r.oneText(ctx, "SELECT CAST(user_id AS text) FROM sso_subjects WHERE provider = ? AND issuer = ? AND subject = ?", s.Provider, s.Issuer, s.Subject)
}

// SubjectOf returns the subject by which an identity provider means a user; ErrNotFound.
func (r reader) SubjectOf(ctx context.Context, userID, provider, issuer string) (string, error) {
	if !isID(userID) || !holdable(issuer) {
		return "", ErrNotFound
	}
	return r.oneText(ctx, "SELECT subject FROM sso_subjects WHERE user_id = ? AND provider = ? AND issuer = ?", userID, provider, issuer)
}

func (r reader) oneText(ctx context.Context, statement string, args ...any) (string, error) {
	var found []string
	if err := r.raw(ctx, statement, args...).Scan(&found).Error; err != nil {
		return "", fmt.Errorf("read subjects: %w", err)
	}
	if len(found) == 0 {
		return "", ErrNotFound
	}
	return found[0], nil
}

// BindSubject notes whom an identity provider means by a subject. One that is bound already, or another one of the same
// user, is ErrStale.
func (tx *Tx) BindSubject(ctx context.Context, s Subject, now time.Time) error {
	n, err := tx.exec(ctx, "INSERT INTO sso_subjects (provider, issuer, subject, user_id, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		s.Provider, s.Issuer, s.Subject, s.UserID, stamp(now))
	if err == nil && n == 0 {
		err = ErrStale
	}
	if err != nil {
		return fmt.Errorf("bind subject: %w", err)
	}
	return nil
}

// UnbindSubjects forgets the subjects of users, and returns the ids of those who had one.
func (tx *Tx) UnbindSubjects(ctx context.Context, userIDs []string) ([]string, error) {
	var ids []string
	err := tx.scan(ctx, &ids, "DELETE FROM sso_subjects WHERE "+tx.d.in("user_id", "uuid")+" RETURNING CAST(user_id AS text)", tx.d.list(validIDs(userIDs)))
	if err != nil {
		return nil, fmt.Errorf("unbind subjects: %w", err)
	}
	return uniqueSorted(ids), nil
}

// StatedGroups returns the names of the groups that the last sign-in of a user stated, in order.
func (r reader) StatedGroups(ctx context.Context, userID string) ([]string, error) {
	if !isID(userID) {
		return nil, nil
	}
	var names []string
	if err := r.raw(ctx, "SELECT name FROM jit_groups WHERE user_id = ? ORDER BY name_key", userID).Scan(&names).Error; err != nil {
		return nil, fmt.Errorf("read stated groups: %w", err)
	}
	return names, nil
}

// PutStatedGroups replaces them. Names that are one without case are one; names that no database holds are left out.
func (tx *Tx) PutStatedGroups(ctx context.Context, userID string, names []string) error {
	if _, err := tx.exec(ctx, "DELETE FROM jit_groups WHERE user_id = ?", userID); err != nil {
		return fmt.Errorf("write stated groups: %w", err)
	}
	var rows [][]any
	seen := map[string]bool{"": true}
	for _, name := range names {
		if key := identity.Normalize(name); !seen[key] && holdable(name) {
			seen[key] = true
			rows = append(rows, []any{userID, key, name})
		}
	}
	return tx.insertRows(ctx, "jit_groups", []string{"user_id", "name_key", "name"}, rows)
}

// UsersStating returns the ids of the users whose last sign-in stated a group of one of these names, compared without
// case, in order.
func (r reader) UsersStating(ctx context.Context, names []string) ([]string, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = identity.Normalize(name)
	}
	var ids []string
	err := r.raw(ctx, "SELECT DISTINCT CAST(user_id AS text) AS id FROM jit_groups WHERE "+r.d.in("name_key", "text")+" ORDER BY id", r.d.list(keys)).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("read stated groups: %w", err)
	}
	return ids, nil
}

// UsersWithStatedGroups returns the ids of all users whose last sign-in stated a group, in order.
func (r reader) UsersWithStatedGroups(ctx context.Context) ([]string, error) {
	var ids []string
	if err := r.raw(ctx, "SELECT DISTINCT CAST(user_id AS text) AS id FROM jit_groups ORDER BY id").Scan(&ids).Error; err != nil {
		return nil, fmt.Errorf("read stated groups: %w", err)
	}
	return ids, nil
}

// GrantsOfKind returns a user's own grants of a kind, in the order of team, role and source.
func (r reader) GrantsOfKind(ctx context.Context, userID string, kind identity.GrantKind) ([]identity.Grant, error) {
	if !isID(userID) {
		return nil, nil
	}
	var grants []identity.Grant
	err := r.raw(ctx, "SELECT g.user_id, g.team_id, t.name AS team_name, g.role, g.kind, g.source_id FROM grants g JOIN teams t ON t.id = g.team_id "+
		"WHERE g.user_id = ? AND g.kind = ? ORDER BY t.name_key, g.role, g.source_id", userID, string(kind)).Scan(&grants).Error
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	return grants, nil
}

// HasGrant tells whether a user, active or not, holds any role on any team.
func (r reader) HasGrant(ctx context.Context, userID string) (bool, error) {
	var held bool
	if err := r.raw(ctx, "SELECT EXISTS (SELECT 1 FROM effective_grants WHERE user_id = ?)", userID).Scan(&held).Error; err != nil {
		return false, fmt.Errorf("read grants: %w", err)
	}
	return held, nil
}

// RenewPasswordHash replaces the hash of a password by another one of the same password, unless it was changed meanwhile.
func (s *Store) RenewPasswordHash(ctx context.Context, userID, old, hash string) error {
	_, err := s.exec(ctx, "UPDATE credentials SET password_hash = ? WHERE user_id = ? AND password_hash = ?", hash, userID, old)
	return err
}

// LockPasswordHash is PasswordHash, and keeps others from changing it until the transaction ends.
func (tx *Tx) LockPasswordHash(ctx context.Context, userID string) (string, error) {
	if !isID(userID) {
		return "", ErrNotFound
	}
	hash, err := tx.oneText(ctx, "SELECT password_hash FROM credentials WHERE user_id = ?"+tx.d.forUpdate(), userID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("read password: %w", err)
	}
	return hash, err
}

func uniqueSorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
