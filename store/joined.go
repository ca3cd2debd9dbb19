package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/idpsync/idpsync/store/identity"
)

// joined is one statement that reads what takes several elsewhere: a key and the user that a request is about, or a user
// and what gives that user roles. What every other request asks for is read by one on PostgreSQL: one statement costs a
// server half of what three do, and read as text it costs us a third of what the driver's conversions do.
type joined struct{ name, text string }

func newJoined(name, user string) joined {
	columns := "t.id, t.seq, t.user_name, t.external_id, t.active, t.origin, t.source, t.source_id, t.document, t.roles, " +
		"t.fingerprint, t.version, t.created_at, t.updated_at, t.last_push_at, t.observed_at, t.deleted_at, t.reason"
	groups := "(SELECT json_agg(json_build_array(g.id, g.display_name, EXISTS (SELECT 1 FROM group_closure c WHERE c.member_id = g.id)) " +
		"ORDER BY g.display_name_key) FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = t.id)"
	return joined{name, "SELECT " + keyColumns + ", u.active AND u.deleted_at IS NULL, " +
		"(SELECT count(DISTINCT g.role) FROM grants g WHERE g.user_id = k.user_id AND g.team_id = $1 AND g.role IN ($2, $3)), " +
		columns + ", " + groups + " FROM api_keys k JOIN users u ON u.id = k.user_id " +
		"LEFT JOIN users t ON t." + user + " = $5 AND t.deleted_at IS NULL WHERE k.id = $4"}
}

var (
	holderAndUserByID   = newJoined("idpsync_holder_user_id", "id")
	holderAndUserByName = newJoined("idpsync_holder_user_name", "user_name_key")
)

// errNotJoined says that the statement cannot be used on this connection: the reads go one by one.
var errNotJoined = errors.New("not read in one statement")

// holderAndUser reads a key's holder, and a lookup along with it. found is false where there is no such key; the lookup is
// not answered then.
func (s *Store) holderAndUser(ctx context.Context, keyID string, lookup *UserLookup) (h Holder, found bool, err error) {
	statement, value := holderAndUserByID, lookup.ID
	if lookup.ID == "" {
		statement, value = holderAndUserByName, identity.Normalize(lookup.UserName)
	}
	if lookup.ID != "" && !isID(lookup.ID) || !holdable(value) {
		return h, false, errNotJoined
	}
	found, err = s.oneRow(ctx, statement, []string{identity.RootTeamID, identity.RoleSCIMProvisioner, identity.RoleAdmin, keyID, value}, func(row [][]byte) (err error) {
		h, err = readHolderAndUser(row, lookup)
		return err
	})
	return h, found, err
}

// oneRow runs a prepared statement on PostgreSQL and reads the row that it gives, if it gives one, as text.
func (s *Store) oneRow(ctx context.Context, statement joined, args []string, read func(row [][]byte) error) (found bool, err error) {
	params, watched := make([][]byte, len(args)), make([]any, len(args))
	for i, arg := range args {
		params[i], watched[i] = []byte(arg), arg
	}
	if s.watch != nil {
		s.watch(statement.text, watched)
	}
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("reach the database: %w", err)
	}
	defer conn.Close()
	err = conn.Raw(func(driver any) error {
		pg := driver.(*stdlib.Conn).Conn()
		if pg.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
			return errNotJoined // a pooler in between keeps no prepared statements
		}
		if _, err := pg.Prepare(ctx, statement.name, statement.text); err != nil {
			return err
		}
		result := pg.PgConn().ExecPrepared(ctx, statement.name, params, nil, nil)
		var unread error
		if result.NextRow() {
			found = true
			unread = read(result.Values())
		}
		if _, err := result.Close(); err != nil {
			var refused *pgconn.PgError
			if errors.As(err, &refused) && (refused.Code == "0A000" || refused.Code == "26000") {
				// The schema changed under the prepared statement, or somebody dropped it.
				return errors.Join(errNotJoined, pg.Deallocate(ctx, statement.name))
			}
			return err
		}
		return unread
	})
	return found, err
}

func readHolderAndUser(values [][]byte, lookup *UserLookup) (Holder, error) {
	t := textRow{values: values}
	var key keyRow
	key.ID, key.UserID, key.UserName, key.Name, key.Source, key.Connector = t.text(), t.text(), t.text(), t.text(), t.text(), t.text()
	key.Hash, key.CreatedAt = t.bytes(), t.time()
	key.ExpiresAt, key.LastUsedAt, key.DisabledAt, key.RevokedAt = t.maybeTime(), t.maybeTime(), t.maybeTime(), t.maybeTime()
	h := Holder{Key: key.key(), OwnerActive: t.bool(), Provisioner: t.int() == 2}
	lookup.Found = !t.null()
	if !lookup.Found || t.err != nil {
		return h, t.err
	}
	row := userRow{
		ID: t.text(), Seq: t.int(), UserName: t.text(), ExternalID: t.text(), Active: t.bool(), Origin: t.text(), Source: t.text(),
		SourceID: t.text(), Document: t.text(), Roles: t.text(), Fingerprint: t.bytes(), Version: t.int(), CreatedAt: t.time(),
		UpdatedAt: t.time(), LastPushAt: t.maybeTime(), ObservedAt: t.maybeTime(), DeletedAt: t.maybeTime(), Reason: t.text(),
	}
	groups := t.bytesOf()
	if t.err != nil {
		return h, t.err
	}
	var err error
	if lookup.User, err = row.user(); err != nil || groups == nil {
		return h, err
	}
	return h, lookup.readGroups(groups)
}

// readGroups reads groups as the statement aggregates them: [[id, name, nested], ...].
func (l *UserLookup) readGroups(list []byte) error {
	var rows [][3]any
	if err := json.Unmarshal(list, &rows); err != nil {
		return fmt.Errorf("read groups of a user: %w", err)
	}
	for _, row := range rows {
		id, _ := row[0].(string)
		name, _ := row[1].(string)
		nested, _ := row[2].(bool)
		l.Groups, l.nested = append(l.Groups, GroupRef{ID: id, DisplayName: name}), l.nested || nested
	}
	return nil
}

// textRow reads the values of a row, which came as text, one after the other. After an error everything is zero.
type textRow struct {
	values [][]byte
	next   int
	err    error
}

func (t *textRow) take() []byte {
	if t.next >= len(t.values) {
		t.err = errors.New("the row is too short")
		return nil
	}
	t.next++
	return t.values[t.next-1]
}

// null tells whether the next value is NULL, and does not take it.
func (t *textRow) null() bool { return t.next >= len(t.values) || t.values[t.next] == nil }

func (t *textRow) text() string    { return string(t.take()) }
func (t *textRow) bytesOf() []byte { return t.take() }
func (t *textRow) bool() bool      { return string(t.take()) == "t" }

func (t *textRow) int() int64 {
	n, err := strconv.ParseInt(string(t.take()), 10, 64)
	t.fail(err)
	return n
}

// bytes reads a bytea, `\x` and hexadecimal digits; nil for NULL.
func (t *textRow) bytes() []byte {
	value := t.take()
	if value == nil {
		return nil
	}
	if len(value) < 2 || value[0] != '\\' || value[1] != 'x' {
		t.fail(errors.New("a bytea in another form than hex"))
		return nil
	}
	b := make([]byte, hex.DecodedLen(len(value)-2))
	_, err := hex.Decode(b, value[2:])
	t.fail(err)
	return b
}

func (t *textRow) time() time.Time {
	if at := t.maybeTime(); at != nil {
		return *at
	}
	t.fail(errors.New("a time is missing"))
	return time.Time{}
}

// maybeTime reads a timestamptz in ISO form, which every connection has with UTC as its time zone; nil for NULL.
func (t *textRow) maybeTime() *time.Time {
	value := t.take()
	if value == nil {
		return nil
	}
	at, err := time.Parse("2006-01-02 15:04:05.999999999Z07", string(value))
	t.fail(err)
	return &at
}

func (t *textRow) fail(err error) {
	if err != nil && t.err == nil {
		t.err = err
	}
}
