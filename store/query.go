package store

import (
	"context"
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

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
		scope: r.d.scope(userScope), columns: userColumnList, from: "FROM users", seq: "users.seq", always: r.d.held(q.Deleted),
		where: q.Where, order: q.Order, after: q.After, offset: q.Offset, limit: q.Limit, noTotal: q.NoTotal,
	}
	rows, total, err := readPage[userRow](ctx, r, sel)
	if err != nil {
		return UserPage{}, fmt.Errorf("read users: %w", err)
	}
	page := UserPage{Users: make([]identity.User, len(rows)), Total: total}
	for i := range rows {
		if page.Users[i], err = rows[i].user(); err != nil {
			return UserPage{}, err
		}
	}
	if n := len(rows); n > 0 {
		page.Last = q.Order.position(rows[n-1].Seq, rows[n-1].SortKey, sel.scope)
	}
	return page, nil
}

// GroupPage returns a page of the groups that a query selects, as UserPage does.
func (r reader) GroupPage(ctx context.Context, q GroupQuery) (GroupPage, error) {
	sel := selection{
		scope: r.d.scope(groupScope), columns: groupColumnList, from: "FROM groups g", seq: "g.seq", always: "TRUE",
		where: q.Where, order: q.Order, after: q.After, offset: q.Offset, limit: q.Limit, noTotal: q.NoTotal,
	}
	rows, total, err := readPage[groupRow](ctx, r, sel)
	if err != nil {
		return GroupPage{}, fmt.Errorf("read groups: %w", err)
	}
	page := GroupPage{Groups: make([]identity.Group, len(rows)), Total: total}
	for i := range rows {
		if page.Groups[i], err = rows[i].group(); err != nil {
			return GroupPage{}, err
		}
	}
	if n := len(rows); n > 0 {
		page.Last = q.Order.position(rows[n-1].Seq, rows[n-1].SortKey, sel.scope)
	}
	return page, nil
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
	scope   *scope
	columns string
	from    string
	seq     string
	always  string // condition that holds besides where

	where         Expr
	order         Order
	after         *Position
	offset, limit int
	noTotal       bool
}

// readPage reads the rows of a page, and how many there are in all, where that is wanted.
func readPage[row any](ctx context.Context, r reader, sel selection) ([]row, int, error) {
	var rows []row
	if sel.limit > 0 {
		statement, args, err := r.d.page(sel)
		if err != nil {
			return nil, 0, err
		}
		if err := r.raw(ctx, statement, args...).Scan(&rows).Error; err != nil {
			return nil, 0, err
		}
	}
	n := len(rows)
	switch {
	case sel.noTotal:
		return rows, 0, nil
	case sel.after == nil && n < sel.limit && (n > 0 || sel.offset == 0):
		return rows, sel.offset + n, nil
	}
	statement, args, err := r.d.count(sel)
	if err != nil {
		return nil, 0, err
	}
	var total int
	err = r.raw(ctx, statement, args...).Scan(&total).Error
	return rows, total, err
}

// count returns the statement that counts the rows of a selection.
func (d dialect) count(sel selection) (string, []any, error) {
	w := writer{d: d}
	w.put("SELECT count(*)")
	err := w.selected(sel)
	return w.sql.String(), w.args, err
}

// selected writes which rows a selection has.
func (w *writer) selected(sel selection) error {
	w.put(" " + sel.from + " WHERE " + sel.always + " AND (")
	err := w.where(sel.where, sel.scope)
	w.put(")")
	return err
}

// page returns the statement that reads a page.
func (d dialect) page(sel selection) (string, []any, error) {
	w := writer{d: d}
	key, err := d.sortKey(sel.order.By, sel.scope)
	if err != nil {
		return "", nil, err
	}
	w.put("SELECT " + sel.columns)
	if key.sql != "" {
		w.put(", CAST(" + key.sql + " AS text) AS sort_key")
	}
	if err := w.selected(sel); err != nil {
		return "", nil, err
	}
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
