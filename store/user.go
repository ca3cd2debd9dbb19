package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store/identity"
)

// userRow is a row of the table users.
type userRow struct {
	ID          string
	Seq         int64
	UserName    string
	UserNameKey string
	ExternalID  string
	Active      bool
	Origin      string
	Source      string
	SourceID    string
	DisplayName string
	Email       string
	EmailKey    string
	Document    string
	Roles       string
	Fingerprint []byte
	KeyHi       int64
	KeyLo       int64
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
	LastPushAt  *time.Time
	ObservedAt  *time.Time
	DeletedAt   *time.Time
	Reason      string
	SortKey     *string // of an ordered result
}

const userColumnList = "id, seq, user_name, external_id, active, origin, source, source_id, document, roles, " +
	"fingerprint, version, created_at, updated_at, last_push_at, observed_at, deleted_at, reason"

// userInsert are the columns that values gives, in its order.
var userInsert = []string{
	"id", "user_name", "user_name_key", "external_id", "active", "origin", "source", "source_id", "display_name",
	"display_name_key", "email", "email_key", "more_emails", "document", "roles", "fingerprint", "key_hi", "key_lo", "version", "created_at",
	"updated_at", "last_push_at", "observed_at", "deleted_at", "reason",
}

func (row *userRow) user() (identity.User, error) {
	u := identity.User{
		ID: row.ID, Seq: row.Seq, UserName: row.UserName, ExternalID: row.ExternalID, Active: row.Active,
		Origin: identity.Origin(row.Origin), Source: row.Source, SourceID: row.SourceID,
		Fingerprint: fingerprint(row.Fingerprint), Version: row.Version,
		Created: row.CreatedAt.UTC(), LastModified: row.UpdatedAt.UTC(), LastPushAt: timeOf(row.LastPushAt),
		ObservedAt: timeOf(row.ObservedAt), DeletedAt: timeOf(row.DeletedAt), Reason: row.Reason,
	}
	var err error
	if u.Attributes, err = decodeAttributes(row.Document); err != nil {
		return u, fmt.Errorf("read user %s: %w", row.ID, err)
	}
	if row.Roles != "[]" {
		if err := json.Unmarshal([]byte(row.Roles), &u.Roles); err != nil {
			return u, fmt.Errorf("read user %s: roles: %w", row.ID, err)
		}
	}
	return u, nil
}

// decodeAttributes keeps numbers as they are written.
func decodeAttributes(document string) (identity.Attributes, error) {
	if document == "{}" || document == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	var a identity.Attributes
	if err := decoder.Decode(&a); err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	return a, nil
}

func encodeAttributes(a identity.Attributes) (string, error) {
	if len(a) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(a)
	if err == nil && holdsNUL(string(b)) {
		err = ErrText
	}
	return string(b), err
}

func encodeList(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(list) // strings marshal
	return string(b)
}

func fingerprint(b []byte) identity.Fingerprint {
	var f identity.Fingerprint
	copy(f[:], b)
	return f
}

func fingerprintBytes(f identity.Fingerprint) any {
	if f.IsZero() {
		return nil
	}
	return f[:]
}

// userValues are u's values in the order of userInsert.
func userValues(u *identity.User) ([]any, error) {
	document, err := encodeAttributes(u.Attributes)
	if err != nil {
		return nil, fmt.Errorf("write user %s: document: %w", u.ID, err)
	}
	key, name, email := u.MemberKey(), u.DisplayName(), u.Email()
	emailKey := identity.Normalize(email)
	return []any{
		u.ID, u.UserName, identity.Normalize(u.UserName), u.ExternalID, u.Active, string(u.Origin), u.Source,
		u.SourceID, name, identity.Normalize(name), email, emailKey, moreEmails(u, emailKey), document, encodeList(u.Roles),
		fingerprintBytes(u.Fingerprint), key.Hi, key.Lo, u.Version, stamp(u.Created), stamp(u.LastModified),
		utc(u.LastPushAt), utc(u.ObservedAt), utc(u.DeletedAt), u.Reason,
	}, nil
}

// InsertUsers writes new users. A name that is taken is a *DuplicateError and nothing is written.
func (tx *Tx) InsertUsers(ctx context.Context, users []identity.User) error {
	rows := make([][]any, len(users))
	for i := range users {
		values, err := userValues(&users[i])
		if err != nil {
			return err
		}
		rows[i] = values
	}
	return tx.insertRows(ctx, "users", userInsert, rows)
}

var userUpdate = "UPDATE users SET " + strings.Join(userInsert[1:], " = ?, ") + " = ? WHERE id = ? AND version = ?"

// UpdateUser writes u over the row whose version is the given one; ErrStale when it has another.
func (tx *Tx) UpdateUser(ctx context.Context, u *identity.User, version int64) error {
	values, err := userValues(u)
	if err != nil {
		return err
	}
	n, err := tx.exec(ctx, userUpdate, append(values[1:], u.ID, version)...)
	if err != nil {
		return fmt.Errorf("write user %s: %w", u.ID, err)
	}
	if n == 0 {
		return ErrStale
	}
	return nil
}

// MarkUsersSeen stores fingerprints of records that state just what is held. It changes no version, and no row that
// changed since it was compared.
func (tx *Tx) MarkUsersSeen(ctx context.Context, seen []identity.Seen) error {
	return tx.markSeen(ctx, "users", seen)
}

// MarkGroupsSeen does for groups what MarkUsersSeen does for users.
func (tx *Tx) MarkGroupsSeen(ctx context.Context, seen []identity.Seen) error {
	return tx.markSeen(ctx, "groups", seen)
}

func (tx *Tx) markSeen(ctx context.Context, table string, seen []identity.Seen) error {
	for _, s := range seen {
		_, err := tx.exec(ctx, "UPDATE "+table+" SET fingerprint = ? WHERE id = ? AND version = ?",
			fingerprintBytes(s.Fingerprint), s.ID, s.Version)
		if err != nil {
			return fmt.Errorf("mark %s as seen: %w", table, err)
		}
	}
	return nil
}

// User returns the user with an id, deleted ones too; ErrNotFound.
func (r reader) User(ctx context.Context, id string) (identity.User, error) {
	if !isID(id) {
		return identity.User{}, ErrNotFound
	}
	return r.oneUser(ctx, "id = ?", id)
}

// UserByName returns the user with a userName, compared without case, deleted ones too; ErrNotFound.
func (r reader) UserByName(ctx context.Context, name string) (identity.User, error) {
	if !holdable(name) {
		return identity.User{}, ErrNotFound
	}
	return r.oneUser(ctx, "user_name_key = ?", identity.Normalize(name))
}

// LockUser is User, and keeps others from changing the row until the transaction ends.
func (tx *Tx) LockUser(ctx context.Context, id string) (identity.User, error) {
	if !isID(id) {
		return identity.User{}, ErrNotFound
	}
	return tx.oneUser(ctx, "id = ?"+tx.d.forUpdate(), id)
}

func (r reader) oneUser(ctx context.Context, where string, args ...any) (identity.User, error) {
	users, err := r.scanUsers(ctx, "SELECT "+userColumnList+" FROM users WHERE "+where, args...)
	if err != nil {
		return identity.User{}, err
	}
	if len(users) == 0 {
		return identity.User{}, ErrNotFound
	}
	return users[0], nil
}

func (r reader) scanUsers(ctx context.Context, statement string, args ...any) ([]identity.User, error) {
	var rows []userRow
	if err := r.raw(ctx, statement, args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	users := make([]identity.User, len(rows))
	for i := range rows {
		var err error
		if users[i], err = rows[i].user(); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// UsersByID returns the users with these ids, by id; ids that are nobody's are left out.
func (r reader) UsersByID(ctx context.Context, ids []string) (map[string]identity.User, error) {
	users, err := r.scanUsers(ctx, "SELECT "+userColumnList+" FROM users WHERE "+r.d.in("id", "uuid"), r.d.list(validIDs(ids)))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]identity.User, len(users))
	for _, u := range users {
		byID[u.ID] = u
	}
	return byID, nil
}

// LockUsers is UsersByID, and keeps others from changing the rows until the transaction ends.
func (tx *Tx) LockUsers(ctx context.Context, ids []string) (map[string]identity.User, error) {
	users, err := tx.scanUsers(ctx, "SELECT "+userColumnList+" FROM users WHERE "+tx.d.in("id", "uuid")+
		" ORDER BY seq"+tx.d.forUpdate(), tx.d.list(validIDs(ids)))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]identity.User, len(users))
	for _, u := range users {
		byID[u.ID] = u
	}
	return byID, nil
}

// isID tells whether s is an id as this package writes it. Ids are compared exactly, and PostgreSQL would read other
// spellings of a UUID as the same one, or refuse what is none.
func isID(s string) bool {
	return len(s) == 36 && uuid.Validate(s) == nil && s == strings.ToLower(s)
}

func validIDs(ids []string) []string {
	valid := make([]string, 0, len(ids))
	for _, id := range ids {
		if isID(id) {
			valid = append(valid, id)
		}
	}
	return valid
}

type heldRow struct {
	ID          string
	Seq         int64
	SourceID    string
	UserName    string
	Active      bool
	Version     int64
	Fingerprint []byte
}

// HeldUsers returns what is held of the people that a source knows by these ids, by the source's id.
func (r reader) HeldUsers(ctx context.Context, source string, sourceIDs []string) (map[string]identity.HeldUser, error) {
	statement, args := r.d.lookup("id, seq, source_id, user_name, active, version, fingerprint", "users",
		"source = ? AND source_id <> ''", []any{source}, "source_id", "text", sourceIDs)
	rows, err := r.raw(ctx, statement, args...).Rows()
	if err != nil {
		return nil, fmt.Errorf("read held users: %w", err)
	}
	defer rows.Close()
	// A pull reads every user this way: scanned by hand, which is three times as fast as by reflection.
	held := make(map[string]identity.HeldUser, len(sourceIDs))
	var row heldRow
	for rows.Next() {
		if err := rows.Scan(&row.ID, &row.Seq, &row.SourceID, &row.UserName, &row.Active, &row.Version, &row.Fingerprint); err != nil {
			return nil, fmt.Errorf("read held users: %w", err)
		}
		held[row.SourceID] = row.held()
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read held users: %w", err)
	}
	return held, nil
}

// AgreeingUsers returns the Seq of every user of a source whose fingerprint is the one given with its id. The lists are
// of the same length. It is HeldUsers for whoever expects that nothing differs: the database compares, and answers in
// one row.
func (r reader) AgreeingUsers(ctx context.Context, source string, sourceIDs []string, digests []identity.Fingerprint) ([]int64, error) {
	seqs := make([]int64, 0, len(sourceIDs))
	if !r.d.postgres() {
		held, err := r.HeldUsers(ctx, source, sourceIDs)
		if err != nil {
			return nil, err
		}
		for i, id := range sourceIDs {
			if h, ok := held[id]; ok && h.Fingerprint == digests[i] {
				seqs = append(seqs, h.Seq)
			}
		}
		return seqs, nil
	}
	texts := make([]string, len(digests))
	for i, digest := range digests {
		texts[i] = `\x` + digest.String()
	}
	for _, id := range sourceIDs {
		if !holdable(id) {
			return nil, nil // the lists must stay in step: let the caller look closer
		}
	}
	var list string
	err := r.raw(ctx, "SELECT coalesce(string_agg(CAST(found.seq AS text), ','), '') FROM unnest(?::text[], ?::bytea[]) AS wanted (id, digest) "+
		"CROSS JOIN LATERAL (SELECT seq, fingerprint FROM users WHERE source = ? AND source_id <> '' AND source_id = wanted.id OFFSET 0) found "+
		"WHERE found.fingerprint = wanted.digest", r.d.list(sourceIDs), r.d.list(texts), source).Row().Scan(&list)
	if err != nil {
		return nil, fmt.Errorf("compare users: %w", err)
	}
	for part := range strings.SplitSeq(list, ",") {
		if part == "" {
			continue
		}
		seq, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("compare users: %w", err)
		}
		seqs = append(seqs, seq)
	}
	return seqs, nil
}

func (row heldRow) held() identity.HeldUser {
	return identity.HeldUser{
		ID: row.ID, Seq: row.Seq, SourceID: row.SourceID, UserName: row.UserName, Active: row.Active,
		Version: row.Version, Fingerprint: fingerprint(row.Fingerprint),
	}
}

// OwnedUsers returns the active users that a source owns, after a Seq, at most limit of them, in the order of Seq.
func (r reader) OwnedUsers(ctx context.Context, source string, after int64, limit int) ([]identity.HeldUser, error) {
	var rows []heldRow
	err := r.raw(ctx, "SELECT id, seq, source_id, user_name, active, version FROM users "+
		"WHERE source = ? AND active AND seq > ? ORDER BY seq LIMIT ?", source, after, limit).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read owned users: %w", err)
	}
	held := make([]identity.HeldUser, len(rows))
	for i, row := range rows {
		held[i] = row.held()
	}
	return held, nil
}

// OwnedSeqs returns the Seq of the active users that a source owns, after a Seq, at most limit of them, in order. It is
// what OwnedUsers finds, for whoever knows nearly all of them already.
func (r reader) OwnedSeqs(ctx context.Context, source string, after int64, limit int) ([]int64, error) {
	rows, err := r.raw(ctx, "SELECT seq FROM users WHERE source = ? AND active AND seq > ? ORDER BY seq LIMIT ?", source, after, limit).Rows()
	if err != nil {
		return nil, fmt.Errorf("read owned users: %w", err)
	}
	defer rows.Close()
	seqs := make([]int64, 0, limit)
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, fmt.Errorf("read owned users: %w", err)
		}
		seqs = append(seqs, seq)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read owned users: %w", err)
	}
	return seqs, nil
}

// CountOwnedUsers returns the number of active users that a source owns.
func (r reader) CountOwnedUsers(ctx context.Context, source string) (int, error) {
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM users WHERE source = ? AND active", source).Scan(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count owned users: %w", err)
	}
	return n, nil
}

// Candidates returns everybody whom one of the external ids, userNames or e-mail addresses may mean, without order.
func (r reader) Candidates(ctx context.Context, externalIDs, names []string) ([]identity.User, error) {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = identity.Normalize(name)
	}
	users, err := r.scanUsers(ctx, "SELECT "+userColumnList+" FROM users WHERE id IN ("+
		"SELECT id FROM users WHERE external_id <> '' AND "+r.d.in("external_id", "text")+
		" UNION SELECT id FROM users WHERE "+r.d.in("user_name_key", "text")+
		" UNION SELECT id FROM users WHERE email_key <> '' AND "+r.d.in("email_key", "text")+")",
		r.d.list(externalIDs), r.d.list(keys), r.d.list(keys))
	if err != nil {
		return nil, fmt.Errorf("find candidates: %w", err)
	}
	return users, nil
}

// moreEmails is a JSON list of the addresses that a user has besides the primary one, in the form that email_key has.
func moreEmails(u *identity.User, primary string) string {
	list, ok := u.Attributes["emails"].([]any)
	if !ok {
		list = []any{u.Attributes["emails"]}
	}
	var more []string
	for _, element := range list {
		if object, ok := element.(map[string]any); ok {
			element = object["value"]
		}
		text, _ := element.(string)
		if key := identity.Normalize(text); key != "" && key != primary && !slices.Contains(more, key) {
			more = append(more, key)
		}
	}
	return encodeList(more)
}
