package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// Order says how a result is ordered; the zero value is by Seq. Rows without a value come last ascending and first
// descending (RFC 7644, section 3.4.2.3); ties are broken by Seq. Descending is the reverse of ascending in all of it. Of
// a multi-valued attribute the primary value counts, else the first.
type Order struct {
	By         Operand
	Descending bool
}

// Position is the place behind a row in an ordered result.
type Position struct {
	Seq  int64
	Key  string // the value that the order is by, as text; "" when it is by Seq
	None bool   // the row has no value
}

// ErrPosition says that a Position is no place in the order that it is used with.
var ErrPosition = errors.New("no position in this order")

// UserQuery selects users. Limit 0 asks for the total only.
type UserQuery struct {
	Where         Expr
	Order         Order
	After         *Position // leaves out the rows up to a position of the same order
	Offset, Limit int
	Deleted       bool // deleted ones too
	NoTotal       bool // the total is not wanted
}

// UserPage is a part of a result. Total counts the whole of it, whatever After and Offset leave out; it is 0 when it is
// not wanted. Last is the position of the last of Users.
type UserPage struct {
	Users []identity.User
	Total int
	Last  Position
}

// GroupQuery selects groups, as UserQuery does users.
type GroupQuery struct {
	Where         Expr
	Order         Order
	After         *Position
	Offset, Limit int
	NoTotal       bool
}

// GroupPage is to groups what UserPage is to users.
type GroupPage struct {
	Groups []identity.Group
	Total  int
	Last   Position
}

// UserPage returns a page of the users that a query selects. A page that shows how many there are in all is not counted.
func (r reader) UserPage(ctx context.Context, q UserQuery) (UserPage, error) {
	sel := selection{
		scope: r.d.scope(userScope), where: q.Where, always: r.d.held(q.Deleted), seq: "users.seq", from: "FROM users", order: q.Order, after: q.After,
		offset: q.Offset, limit: q.Limit,
	}
	var (
		page UserPage
		rows []userRow
	)
	if q.Limit > 0 {
		statement, args, err := r.d.page(sel, userColumnList)
		if err != nil {
			return page, err
		}
		if err := r.raw(ctx, statement, args...).Scan(&rows).Error; err != nil {
			return page, fmt.Errorf("read users: %w", err)
		}
	}
	page.Users = make([]identity.User, len(rows))
	for i := range rows {
		var err error
		if page.Users[i], err = rows[i].user(); err != nil {
			return page, err
		}
	}
	if n := len(rows); n > 0 {
		page.Last = q.Order.position(rows[n-1].Seq, rows[n-1].SortKey, sel.scope)
	}
	if q.NoTotal {
		return page, nil
	}
	var err error
	page.Total, err = r.total(ctx, sel, len(rows))
	return page, err
}

// GroupPage returns a page of the groups that a query selects, as UserPage does.
func (r reader) GroupPage(ctx context.Context, q GroupQuery) (GroupPage, error) {
	sel := selection{
		scope: r.d.scope(groupScope), where: q.Where, always: "TRUE", seq: "g.seq", from: "FROM groups g", order: q.Order, after: q.After,
		offset: q.Offset, limit: q.Limit,
	}
	var (
		page GroupPage
		rows []groupRow
	)
	if q.Limit > 0 {
		columns := strings.TrimSuffix(strings.TrimPrefix(groupSelect, "SELECT "), " FROM groups g ")
		statement, args, err := r.d.page(sel, columns)
		if err != nil {
			return page, err
		}
		if err := r.raw(ctx, statement, args...).Scan(&rows).Error; err != nil {
			return page, fmt.Errorf("read groups: %w", err)
		}
	}
	page.Groups = make([]identity.Group, len(rows))
	for i := range rows {
		var err error
		if page.Groups[i], err = rows[i].group(); err != nil {
			return page, err
		}
	}
	if n := len(rows); n > 0 {
		page.Last = q.Order.position(rows[n-1].Seq, rows[n-1].SortKey, sel.scope)
	}
	if q.NoTotal {
		return page, nil
	}
	var err error
	page.Total, err = r.total(ctx, sel, len(rows))
	return page, err
}

// Users returns a page of the users that a query selects, and how many there are in all.
func (r reader) Users(ctx context.Context, q UserQuery) ([]identity.User, int, error) {
	page, err := r.UserPage(ctx, q)
	return page.Users, page.Total, err
}

// Groups returns a page of the groups that a query selects, and how many there are in all.
func (r reader) Groups(ctx context.Context, q GroupQuery) ([]identity.Group, int, error) {
	page, err := r.GroupPage(ctx, q)
	return page.Groups, page.Total, err
}

// held returns the condition on users that they are not deleted, or with deleted none. Before it has statistics,
// PostgreSQL takes a column that IS NULL for rare, and would read and sort the whole table for each page; of a condition
// that it does not look into it expects every second row.
func (d dialect) held(deleted bool) string {
	switch {
	case deleted:
		return "TRUE"
	case d.postgres():
		return "coalesce(users.deleted_at IS NULL, FALSE)"
	}
	return "users.deleted_at IS NULL"
}

// selection is a query on either table.
type selection struct {
	scope         *scope
	where         Expr
	always        string
	seq           string
	from          string
	order         Order
	after         *Position
	offset, limit int
}

// total returns how many rows there are in all, of which n were read.
func (r reader) total(ctx context.Context, sel selection, n int) (int, error) {
	if sel.after == nil && n < sel.limit && (n > 0 || sel.offset == 0) {
		return sel.offset + n, nil
	}
	w := writer{d: r.d}
	w.put("SELECT count(*) " + sel.from + " WHERE " + sel.always + " AND (")
	if err := w.where(sel.where, sel.scope); err != nil {
		return 0, err
	}
	w.put(")")
	var total int
	if err := r.raw(ctx, w.sql.String(), w.args...).Scan(&total).Error; err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	return total, nil
}

// page returns the statement that reads a page.
func (d dialect) page(sel selection, columns string) (string, []any, error) {
	w := writer{d: d}
	key, err := d.sortKey(sel.order.By, sel.scope)
	if err != nil {
		return "", nil, err
	}
	w.put("SELECT " + columns)
	if key.sql != "" {
		w.put(", CAST(" + key.sql + " AS text) AS sort_key")
	}
	w.put(" " + sel.from + " WHERE " + sel.always + " AND (")
	if err := w.where(sel.where, sel.scope); err != nil {
		return "", nil, err
	}
	w.put(")")
	if sel.after != nil {
		w.put(" AND (")
		if err := w.behind(key, sel); err != nil {
			return "", nil, err
		}
		w.put(")")
	}
	w.orderBy(key, sel)
	w.put(" LIMIT ? OFFSET ?", sel.limit, sel.offset)
	return w.sql.String(), w.args, nil
}

func (w *writer) orderBy(key sortKey, sel selection) {
	direction := ""
	if sel.order.Descending {
		direction = " DESC"
	}
	w.put(" ORDER BY ")
	if key.sql != "" {
		w.put(key.sql + direction)
		switch {
		case !key.optional:
		case sel.order.Descending:
			w.put(" NULLS FIRST")
		default:
			w.put(" NULLS LAST")
		}
		w.put(", ")
	}
	if key.sql == "" && w.d.narrow(sel.where) {
		w.put("+")
	}
	w.put(sel.seq + direction)
}

// narrow tells whether a predicate names the few rows that it means. The order is then kept from being read off an
// index: a planner that expects some more of them would go through everybody in order until it has met enough. What
// changed since a time is mostly little; PostgreSQL knows by its statistics, SQLite has none.
func (d dialect) narrow(e Expr) bool {
	switch e := e.(type) {
	case And:
		return slices.ContainsFunc(e, d.narrow)
	case Or:
		return len(e) > 0 && !slices.ContainsFunc(e, func(part Expr) bool { return !d.narrow(part) })
	case Compare:
		switch e.Field {
		case FieldID, FieldUserName, FieldExternalID, FieldDisplayName, FieldEmail, FieldEmails:
			return e.Op == OpEq
		case FieldLastModified:
			return !d.postgres() && (e.Op == OpGt || e.Op == OpGe)
		}
	}
	return false
}

// behind writes the condition that a row comes behind a position.
func (w *writer) behind(key sortKey, sel selection) error {
	than := " > "
	if sel.order.Descending {
		than = " < "
	}
	if key.sql == "" {
		w.put(sel.seq+than+"?", sel.after.Seq)
		return nil
	}
	if sel.after.None {
		if !key.optional {
			return ErrPosition
		}
		w.put(key.sql+" IS NULL AND "+sel.seq+than+"?", sel.after.Seq)
		if sel.order.Descending {
			w.put(" OR " + key.sql + " IS NOT NULL")
		}
		return nil
	}
	value, ok := key.read(sel.after.Key, w.d)
	if !ok {
		return ErrPosition
	}
	w.put("("+key.sql+", "+sel.seq+")"+than+"(?, ?)", value, sel.after.Seq)
	if key.optional && !sel.order.Descending {
		w.put(" OR " + key.sql + " IS NULL")
	}
	return nil
}

// sortKey is the value that a result is ordered by.
type sortKey struct {
	sql      string // "" by Seq
	kind     keyKind
	optional bool // NULL says that there is none
}

type keyKind uint8

const (
	keyText keyKind = iota
	keyID
	keyBool
	keyTime
	keyInt
	keyNumber
)

// sortKey returns what to order by.
func (d dialect) sortKey(by Operand, s *scope) (sortKey, error) {
	switch by := by.(type) {
	case nil:
		return sortKey{}, nil
	case Field:
		c, ok := s.columns[by]
		if !ok {
			return sortKey{}, fmt.Errorf("order by %q: no such field", by)
		}
		kinds := map[columnKind]keyKind{uuidKind: keyID, boolKind: keyBool, timeKind: keyTime, intKind: keyInt}
		key := sortKey{sql: c.sql, kind: kinds[c.kind], optional: c.optional}
		if c.optional {
			key.sql = "NULLIF(" + c.sql + ", '')"
		}
		return key, nil
	case Attribute:
		sql, err := d.sortValue(s, by)
		kinds := map[ValueKind]keyKind{Bool: keyBool, Number: keyNumber}
		return sortKey{sql: sql, kind: kinds[by.Kind], optional: true}, err
	}
	return sortKey{}, fmt.Errorf("order by %v: no such thing", by)
}

// How the databases write times.
const (
	sqliteTime   = "2006-01-02 15:04:05.999999999-07:00"
	postgresTime = "2006-01-02 15:04:05.999999999-07"
)

// position returns the place behind a row.
func (o Order) position(seq int64, key *string, s *scope) Position {
	p := Position{Seq: seq}
	if o.By == nil {
		return p
	}
	if key == nil {
		p.None = true
		return p
	}
	p.Key = *key
	if by, ok := o.By.(Field); ok && s.columns[by].kind == timeKind {
		for _, layout := range []string{sqliteTime, postgresTime} {
			if t, err := time.Parse(layout, p.Key); err == nil {
				p.Key = t.UTC().Format(time.RFC3339Nano)
			}
		}
	}
	return p
}

// read returns a position's key as a parameter, unless it is no value of its kind.
func (key sortKey) read(text string, d dialect) (any, bool) {
	switch key.kind {
	case keyID:
		return text, isID(text)
	case keyBool:
		b, err := strconv.ParseBool(text)
		return b, err == nil
	case keyTime:
		t, err := time.Parse(time.RFC3339Nano, text)
		return stamp(t), err == nil && t.UTC().Year() > 0 && t.UTC().Year() <= 9999
	case keyInt:
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	case keyNumber:
		if d.postgres() {
			return text, isNumber(text)
		}
		return text, strings.Trim(text, "0123456789~") == ""
	}
	return text, holdable(text)
}
